"""From operations to statements.

`DDL` is the abstract base class with what every database shares; `StatementDDL` is the
one for databases that have a statement for each operation. A subclass per database is
in its package.
"""

from __future__ import annotations

import copy
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import peewee

from db.constraints import FieldConstraints, as_executed, field_constraints
from migrations import operations as do
from migrations.engines.catalog import Catalog
from migrations.engines.conversions import Conversions
from migrations.errors import ChangeRefused
from migrations.operations import Operation
from migrations.renames import rename_description
from migrations.report import Batches, Change, Guard
from migrations.schema import (
    NO_ROW,
    Check,
    Column,
    ForeignKey,
    Schema,
    Table,
    name_of_guard,
    name_while_filled,
    no_value,
)
from migrations.sql_text import masked, mentions


class DDL(ABC):
    """Writes the statements of one plan; it changes nothing.

    :param schema: the tables as they are before the plan, under the names that it gives
        them: its renames are executed first. Questions to the database are about
        `current_table` and `current_column`.
    """

    # Whether a table may be created before one that it refers to.
    may_refer_to_later_tables: ClassVar[bool] = False

    def __init__(
        self, catalog: Catalog, conversions: Conversions, schema: Schema
    ) -> None:
        self.catalog = catalog
        self.conversions = conversions
        self.session = catalog.session
        self.models = catalog.models
        self.schema = schema
        self.quote = self.session.quote
        self.quote_all = self.session.quote_all
        self._tables_with_rows: dict[str, bool] = {}

    def current_table(self, table: str) -> str:
        """Return the name that a table has until the plan is executed."""
        existing = self.schema.get(table)
        if existing is None:
            return table
        return existing.current_name

    def current_column(self, table: str, column: str) -> str:
        """Return the name that a column has until the plan is executed."""
        existing = self.schema.get(table)
        found = None
        if existing is not None:
            found = existing.column_named(column)
        return column if found is None else found.current_name

    def declared(self, table: str) -> Table:
        """Return what the model of a table declares."""
        return self.catalog.declared_by_name(table)

    def has_rows(self, table: str) -> bool:
        """Whether a table exists and has rows, so that others may be writing to it."""
        if table not in self._tables_with_rows:
            existing = self.schema.get(table)
            self._tables_with_rows[table] = (
                existing is not None and self.catalog.has_rows(existing.current_name)
            )
        return self._tables_with_rows[table]

    # -- planning

    def must_release_keys(self, operations: Sequence[Operation]) -> bool:
        """Whether foreign keys must be dropped while a column changes its type.

        Called while planning, with the merged operations.
        """
        return False

    def implied_operations(self, operations: Sequence[Operation]) -> list[Operation]:
        """Return operations that are needed in addition to these.

        Called while planning, with one operation per difference.
        """
        return []

    def copies_rows(self, operations: Sequence[Operation], table: str) -> bool:
        """Whether rows of a table are copied, so that each CHECK is asked again.

        Called while planning, with the operations of the whole plan.
        """
        return False

    @abstractmethod
    def statements(self, operations: Sequence[Operation]) -> list[Change]:
        """Return the statements of operations that are in order of execution.

        Called while planning, and by a rollback.

        :raises ChangeRefused: one cannot be done here; the text says what to do.
        """

    # -- statements that are the same on every database

    def create_table(self, operation: do.CreateTable) -> Iterator[Change]:
        """The table with its keys and CHECK constraints, then its indexes."""
        model = self.models.by_table[operation.table]
        manager = peewee.SchemaManager(model, self.session.database)
        sql = self._with_deferred_keys(
            as_executed(
                manager._create_table(safe=False).query()[0], self.session.database
            ),
            operation.declared,
        )
        yield Change(f"create table {operation.table}", sql)
        for index in operation.declared.indexes:
            if not index.is_constraint:
                yield self.create_index(do.AddIndex(operation.table, index))

    def _with_deferred_keys(self, sql: str, declared: Table) -> str:
        """Return Peewee's CREATE TABLE with the keys of its DeferredForeignKeys.

        Peewee leaves them out, and never adds them by itself.
        """
        constraints = ""
        for field in self.models.by_table[declared.name]._meta.sorted_fields:
            if not isinstance(field, peewee.ForeignKeyField) or not field.deferred:
                continue
            for key in declared.foreign_keys:
                if key.columns == (declared.names.key(field.column_name),):
                    constraints += f", {self.foreign_key_constraint(key)}"
        # Options of the table follow its columns and constraints.
        columns = re.search(r"\(x*\)", masked(sql))
        assert columns is not None
        end = columns.end() - 1
        return f"{sql[:end]}{constraints}{sql[end:]}"

    def drop_table(self, operation: do.DropTable) -> Iterator[Change]:
        """The table alone; what depends on it was looked for before.

        It is written here, as Peewee 4.0 doubles the wrong quotes in a name on servers
        that quote names with backticks.
        """
        name = self.quote(operation.table)
        schema = self.models.by_table[operation.table]._meta.schema
        if schema:
            name = f"{self.quote(schema)}.{name}"
        yield Change(f"drop table {operation.table}", f"DROP TABLE {name}")

    def table_rename(self, operation: do.RenameTable, also_breaks: str = "") -> Change:
        """Return the statement that renames a table.

        Peewee's `rename_table` executes queries, so it cannot be shown before.

        :param also_breaks: what does not follow, for the description.
        """
        old, new = self.current_table(operation.table), operation.table
        sql = self.alter_table(old, [f"RENAME TO {self.quote(new)}"])
        return Change(rename_description("table", old, new) + also_breaks, sql)

    def column_rename(
        self,
        operation: do.RenameColumn,
        parts: Iterable[str] = (),
        also_breaks: str = "",
    ) -> Change:
        """Return the statement that renames a column.

        Peewee's `rename_column` recreates the table on SQLite, and loses the clauses
        of a column on MySQL.

        :param parts: further parts of the statement.
        :param also_breaks: what does not follow, for the description.
        """
        old, new = operation.column.current_name, operation.name
        rename = f"RENAME COLUMN {self.quote(old)} TO {self.quote(new)}"
        sql = self.alter_table(operation.table, [rename, *parts])
        return Change(rename_description("column", old, new) + also_breaks, sql)

    def create_index(self, operation: do.AddIndex) -> Change:
        """Peewee's own index: `playhouse.migrate` names it only from Peewee 4.5 on."""
        index = operation.definition
        sql = index.definition
        if not sql:
            table = peewee.Table(operation.table)
            # Not `table.c`, which has attributes of its own, such as `node`.
            columns = [peewee.Entity(name) for name in index.columns]
            node = peewee.Index(index.name, table, columns, unique=index.unique)
            sql = self.session.database.get_sql_context().sql(node).query()[0]
        kind = "unique index" if index.unique else "index"
        return Change(f"create {kind} {index.name}", sql)

    def also_breaks(self, routines: Sequence[str], name: str) -> str:
        """Return what does not follow a rename, for the description of a change.

        :param routines: functions and procedures whose text names it.
        """
        if not routines:
            return ""
        verb = "does" if len(routines) == 1 else "do"
        return f", and so {verb} {' and '.join(routines)}, whose text names {name}"

    # -- what depends on a dropped column

    def drop_description(
        self, operation: do.DropColumn, routines: Sequence[str]
    ) -> str:
        """Return what is dropped, and what fails then.

        :param routines: functions and procedures whose text names the column.
        """
        if not routines:
            return operation.description
        verb = "fails" if len(routines) == 1 else "fail"
        return (
            f"{operation.description}; {' and '.join(routines)}, whose text names "
            f"{operation.column.name}, {verb} from then on"
        )

    def refuse_to_drop(self, operation: do.DropColumn, dependents: list[str]) -> None:
        """Refuse to drop a column that something else depends on.

        :param dependents: such as "view x"; those that the phase does not manage.
        """
        dependents += [f"foreign key of {name}" for name in operation.referring]
        if not dependents:
            return
        verb = "depends" if len(dependents) == 1 else "depend"
        pronoun = "it" if len(dependents) == 1 else "them"
        raise ChangeRefused(
            f"{operation.table}.{operation.column.name} has to be dropped, and the "
            f"{' and the '.join(dependents)} {verb} on it; drop {pronoun}, then run "
            "again"
        )

    def generated_from(
        self, operation: do.DropColumn, expressions: Mapping[str, str]
    ) -> list[str]:
        """Return the generated columns of a table that are made of a dropped column.

        Without those that the plan drops.

        :param expressions: by name, the definition of each generated column.
        """
        return [
            f"generated column {name}"
            for name, expression in expressions.items()
            if name in operation.left_columns
            and mentions(expression, operation.column.name)
        ]

    def guard_of(self, operation: do.DropColumn) -> Check | None:
        """Return the CHECK that a column holds no value, or None if it may.

        That was looked up while others may write to the table. It is added before the
        column is dropped, so that a value that was written meanwhile is not lost. What
        the database computes is none. An interrupted run may have left one.
        """
        if operation.drops_values or operation.column.generated:
            return None
        column = operation.column.name
        for left in self.schema[operation.table].left_guards(no_value(column)):
            return left
        name = name_of_guard(operation.table, column)
        return Check(name, f"{self.quote(column)} IS NULL")

    # -- the values of existing rows

    def fill_statement(self, table: str, name: str, value: str) -> str:
        """Return the UPDATE that fills a column where it is NULL."""
        column = self.quote(name)
        return (
            f"UPDATE {self.quote(table)} SET {column} = ({value}) "
            f"WHERE {column} IS NULL"
        )

    def fill(self, table: str, name: str, value: str) -> Change:
        """Fill a column where it is NULL, in batches if the table has a key for them.

        :param name: the column, which may have another name while it is filled.
        """
        sql = self.fill_statement(table, name, value)
        key = self._key_of_batches(table)
        if not key:
            return Change(f"fill {name}", sql, "writes", own_transaction=True)
        batches = Batches(table, name, value, key)
        return Change(
            f"fill {name} in batches", sql, own_transaction=True, batches=batches
        )

    def _key_of_batches(self, table: str) -> tuple[str, ...]:
        """Return the primary key, if rows can be read in its order; else ()."""
        existing = self.schema[table]
        for part in existing.primary_key:
            column = existing.columns.get(part)
            # A float need not equal what the driver makes of it.
            if column is None or column.type.category == "float":
                return ()
        return tuple(existing.columns[part].name for part in existing.primary_key)

    # -- parts of statements

    def alter_table(self, table: str, parts: Iterable[str]) -> str:
        """Return an ALTER TABLE of some parts."""
        return f"ALTER TABLE {self.quote(table)} {', '.join(parts)}"

    def column_definition(
        self, table: str, column: Column, with_checks: bool = True
    ) -> str:
        """Return the definition of a declared column that is added to a table.

        Without UNIQUE and REFERENCES, which are added by operations of their own.

        :param with_checks: with the CHECK constraints that its field declares.
        """
        database = self.session.database
        context = database.get_sql_context(scope=peewee.SCOPE_VALUES)
        field = copy.copy(self.models.by_table[table]._meta.columns[column.name])
        if not column.auto_increment:
            field.primary_key = False  # which an operation of its own makes of it
        declared = field_constraints(field, database)
        if declared.unique or declared.foreign_keys or not with_checks:
            clauses = self._clauses_of_added_column(column, declared, with_checks)
            field.constraints = [peewee.SQL(clause) for clause in clauses]
        return as_executed(context.sql(field.ddl(context)).query()[0], database)

    def _clauses_of_added_column(
        self, column: Column, declared: FieldConstraints, with_checks: bool
    ) -> Iterator[str]:
        """Yield what belongs to the column alone of the constraints of its field."""
        if column.default is not None:
            yield f"DEFAULT {column.default}"
        if declared.not_null:
            yield "NOT NULL"
        if with_checks:
            for check in declared.checks:
                yield self.check_constraint(Check(check.name, check.condition))
        if declared.collation is not None:
            yield f"COLLATE {declared.collation}"
        yield from declared.attributes

    def bare_definition(self, table: str, column: Column, name: str) -> str:
        """Return the definition of a declared column without NOT NULL and DEFAULT."""
        database = self.session.database
        context = database.get_sql_context(scope=peewee.SCOPE_VALUES)
        field = copy.copy(self.models.by_table[table]._meta.columns[column.name])
        field.column_name = name
        field.null = True
        declared = field_constraints(field, database)
        field.collation = field.collation or declared.collation
        field.constraints = None
        return as_executed(context.sql(field.ddl(context)).query()[0], database)

    def check_constraint(self, check: Check) -> str:
        """Return a CHECK as a constraint of a table."""
        sql = f"CHECK ({check.condition})"
        if check.name:
            sql = f"CONSTRAINT {self.quote(check.name)} {sql}"
        return sql

    def foreign_key_constraint(self, key: ForeignKey) -> str:
        """Return a foreign key as a constraint of a table."""
        sql = ""
        if key.name:
            sql = f"CONSTRAINT {self.quote(key.name)} "
        sql += f"FOREIGN KEY {self.quote_all(key.columns)} REFERENCES "
        sql += f"{self.quote(key.parent)} {self.quote_all(key.parent_columns)}"
        if key.on_delete != "NO ACTION":
            sql += f" ON DELETE {key.on_delete}"
        if key.on_update != "NO ACTION":
            sql += f" ON UPDATE {key.on_update}"
        if key.deferrable:
            sql += f" {key.deferrable}"
        return sql


class StatementDDL(DDL):
    """DDL of a database that has statements for each operation.

    Each abstract method returns the statements of one operation. Called while planning.
    """

    def statements(self, operations: Sequence[Operation]) -> list[Change]:
        changes: list[Change] = []
        for operation in operations:
            changes += self._statements_of(operation)
        return changes

    def _statements_of(self, operation: Operation) -> Iterable[Change]:
        # Each operation has a method of its own.
        methods: dict[type[Operation], Callable[[Any], Iterable[Change]]] = {
            do.RenameTable: self.rename_table,
            do.RenameColumn: self.rename_column,
            do.CreateTable: self.create_table,
            do.ForbidRows: self.forbid_rows,
            do.DropForeignKey: self.drop_foreign_key,
            do.DropCheck: self.drop_check,
            do.AddColumn: self.add_column,
            do.AlterColumn: self.alter_column,
            do.SetPrimaryKey: self.set_primary_key,
            do.AdvanceIds: self.advance_ids,
            do.AddIndex: self.add_index,
            do.AddCheck: self.add_check,
            do.AddForeignKey: self.add_foreign_key,
            do.DropIndex: self.drop_index,
            do.DropColumn: self.drop_column,
            do.DropTable: self.drop_table,
        }
        return methods[type(operation)](operation)

    @abstractmethod
    def rename_table(self, operation: do.RenameTable) -> Iterable[Change]:
        """Rename a table; refuse what would break and does not follow by itself."""

    @abstractmethod
    def rename_column(self, operation: do.RenameColumn) -> Iterable[Change]:
        """Rename a column; refuse what would break and does not follow by itself."""

    def forbid_rows(self, operation: do.ForbidRows) -> Iterable[Change]:
        """Add a CHECK that no row satisfies, unless an interrupted run has done so."""
        table = operation.table
        if self.schema[table].left_guards(NO_ROW):
            return
        guard = Check(self.new_name_of_guard(table), NO_ROW)
        sql = self.alter_table(table, [f"ADD {self.check_constraint(guard)}"])
        change = Change(f"let {table} hold no row until it is dropped", sql)
        yield change._replace(guard=Guard(guard.name))

    def new_name_of_guard(self, table: str) -> str:
        """Return a name that no other CHECK of the plan has."""
        return name_of_guard(table)

    @abstractmethod
    def drop_foreign_key(self, operation: do.DropForeignKey) -> Iterable[Change]:
        """Drop a foreign key."""

    @abstractmethod
    def drop_check(self, operation: do.DropCheck) -> Iterable[Change]:
        """Drop a CHECK constraint."""

    def add_column(self, operation: do.AddColumn) -> Iterable[Change]:
        """Add a column; if there are rows and a value for them, fill it."""
        column, value = operation.column, operation.filled_with
        if value is None or not self.has_rows(operation.table):
            return self.add_plain_column(operation)
        name = column.name
        if column.null and not self.session.in_callers_transaction:
            # A later run could not tell a NULL that is not filled yet from another one.
            name = name_while_filled(column.name)
        return self.add_filled_column(operation, name, value)

    @abstractmethod
    def add_plain_column(self, operation: do.AddColumn) -> Iterable[Change]:
        """Add a column; one with auto-increment becomes the primary key."""

    @abstractmethod
    def add_filled_column(
        self, operation: do.AddColumn, name: str, value: str
    ) -> Iterable[Change]:
        """Add a column without values, fill it, then complete it.

        :param name: its name until it is filled. With another name than its own, it is
            found by the next run if this one is interrupted.
        :param value: as SQL.
        """

    @abstractmethod
    def alter_column(self, operation: do.AlterColumn) -> Iterable[Change]:
        """Change a column's type, nullability and DEFAULT, as far as asked for."""

    @abstractmethod
    def set_primary_key(self, operation: do.SetPrimaryKey) -> Iterable[Change]:
        """Replace the primary key; an undeclared one stays UNIQUE."""

    def advance_ids(self, operation: do.AdvanceIds) -> Iterable[Change]:
        """Continue an auto-increment column's ids after the highest one that exists.

        Never called where the catalog reports no column's ids as behind.
        """
        return []

    @abstractmethod
    def add_index(self, operation: do.AddIndex) -> Iterable[Change]:
        """Add an index or a UNIQUE constraint, replacing a different one."""

    @abstractmethod
    def add_check(self, operation: do.AddCheck) -> Iterable[Change]:
        """Add a CHECK constraint, replace a different one, or validate it."""

    @abstractmethod
    def add_foreign_key(self, operation: do.AddForeignKey) -> Iterable[Change]:
        """Add a foreign key, or validate the one that exists."""

    @abstractmethod
    def drop_index(self, operation: do.DropIndex) -> Iterable[Change]:
        """Drop an index or a UNIQUE constraint; refuse if something depends on it."""

    @abstractmethod
    def drop_column(self, operation: do.DropColumn) -> Iterable[Change]:
        """Drop a column with what belongs to it; refuse if something else does not."""

    # -- what they share

    def add_bare_column(self, operation: do.AddColumn, name: str) -> Iterator[Change]:
        """Add a column without NOT NULL and DEFAULT, which is filled afterwards.

        One that a run has begun to fill before it was interrupted is kept.

        :param name: the name of the column until it is filled.
        """
        table, column = operation.table, operation.column
        definition = self.bare_definition(table, column, name)
        add = self.alter_online(
            f"add column {name}", table, [f"ADD COLUMN {definition}"]
        )
        begun = self.schema[table].column_named(name_while_filled(column.name))
        if begun is None or name != begun.name:
            yield add
            return
        # The two are written in different ways.
        same_type = begun.type.covers(column.type) and column.type.covers(begun.type)
        if not same_type:  # the model has changed since
            drop = f"DROP COLUMN {self.quote(name)}"
            yield self.alter_online(f"drop column {name}", table, [drop])
            yield add

    def alter_online(
        self, description: str, table: str, parts: Iterable[str]
    ) -> Change:
        """Return a change of a table that blocks nobody for long."""
        return Change(description, self.alter_table(table, parts))
