"""PostgreSQL's statements. They block nobody for long, where there is a way.

They are not those of `playhouse.migrate`, which takes a point in the name of a table
for the end of a schema's name.

If a table has rows, others may be writing to it. Then an index is built CONCURRENTLY; a
foreign key or a CHECK is added NOT VALID and validated afterwards; SET NOT NULL relies
on such a CHECK, and a primary or unique key on such an index. There is no such way for
a new auto-increment column and for most changes of type: those say what they block.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from migrations import operations as do
from migrations.engines.ddl import StatementDDL
from migrations.engines.postgresql import catalog_queries, column_types
from migrations.engines.postgresql.catalog import PostgreSQLCatalog
from migrations.engines.postgresql.column_types import (
    keeps_stored_rows,
    type_of_existing_column,
)
from migrations.engines.postgresql.conversions import PostgreSQLConversions
from migrations.engines.postgresql.names import name_of_constraint, shortened
from migrations.engines.postgresql.session import PostgreSQLSession
from migrations.engines.session import Row
from migrations.errors import ChangeRefused
from migrations.report import Change, Guard
from migrations.schema import (
    Check,
    Column,
    ForeignKey,
    Index,
    Schema,
)
from migrations.sql_text import literal

# Types whose storage can be chosen.
_STORED_OUT_OF_LINE = ("string", "fixed string", "blob", "json", "jsonb", "decimal")
_BLOCKS_ALL = "reads and writes"


class _Constraint(NamedTuple):
    """A constraint that is added or validated."""

    table: str
    name: str
    definition: str  # CONSTRAINT name …
    description: str
    replaces: Collection[str | None] = ()  # names of constraints
    exists: bool = False  # and needs validation only
    stays_unvalidated: bool = False
    comment: str | None = None


class _Details(NamedTuple):
    """What of an existing constraint a model does not say."""

    definition: str = ""
    deferral: str = ""  # DEFERRABLE …, or ""
    comment: str | None = None


class _KeySource(NamedTuple):
    """What a primary key or a UNIQUE constraint is made of."""

    changes: list[Change]  # that are needed before
    sql: str  # "USING INDEX name", or "(columns)"


class PostgreSQLDDL(StatementDDL):
    """The statements of one plan on PostgreSQL."""

    catalog: PostgreSQLCatalog
    conversions: PostgreSQLConversions
    session: PostgreSQLSession

    def __init__(
        self,
        catalog: PostgreSQLCatalog,
        conversions: PostgreSQLConversions,
        schema: Schema,
    ) -> None:
        super().__init__(catalog, conversions, schema)
        self.query_texts = catalog.session.query_texts
        # Tables with rows of which a column changes its type, in order.
        self._retyped: dict[str, None] = {}
        # Tables whose primary key is replaced.
        self._replaced_keys: set[str] = set()
        # Of constraints that have none in the model.
        self._chosen_names: set[str] = set()
        # By table, the names of constraints that earlier statements drop.
        self._dropped_constraints: dict[str, set[str]] = {}

    def statements(self, operations: Sequence[do.Operation]) -> list[Change]:
        for operation in operations:
            if not isinstance(operation, do.SetPrimaryKey):
                continue
            if self.schema[operation.table].primary_key != operation.columns:
                self._replaced_keys.add(operation.table)
        changes = super().statements(operations)
        for table in self._retyped:
            # ALTER TYPE drops what ANALYZE has found out, and autovacuum does not
            # notice. In the same transaction, ANALYZE would extend the lock.
            change = Change(f"analyze {table}", f"ANALYZE {self.quote(table)}")
            own_transaction = not self.session.in_callers_transaction
            changes.append(change._replace(own_transaction=own_transaction))
        return changes

    def must_release_keys(self, operations: Sequence[do.Operation]) -> bool:
        # ALTER TYPE recreates a foreign key by itself, but fails if the types at both
        # ends cannot be compared in the meantime.
        for operation in operations:
            if isinstance(operation, do.AlterColumn) and operation.changes_type:
                category = operation.column.type.category
                if operation.actual.type.category != category:
                    return True
        return False

    # -- helpers

    def _current(self, table: str, column: str) -> tuple[str, str]:
        """Return the names that a table and a column of it have until the plan."""
        return self.current_table(table), self.current_column(table, column)

    def _change_table(
        self, description: str, table: str, parts: Iterable[str], blocks: bool = False
    ) -> Change:
        """Return an ALTER TABLE.

        :param blocks: whether it blocks reads and writes for as long as it takes.
        """
        return Change(
            description,
            self.alter_table(table, parts),
            blocks=_BLOCKS_ALL if blocks else None,
        )

    def _alter_column(self, name: str, parts: Iterable[str]) -> list[str]:
        column = self.quote(name)
        return [f"ALTER COLUMN {column} {part}" for part in parts]

    def _drop_constraints(self, names: Iterable[str | None]) -> list[str]:
        return [f"DROP CONSTRAINT {self.quote(name or '')}" for name in names]

    def _refuse_taken_names(self, table: str, names: Collection[str]) -> None:
        """Refuse names that something else has: indexes share them with tables."""
        query = catalog_queries.TAKEN_NAMES
        existing_table = None
        if table in self.schema:
            existing_table = self.current_table(table)
        taken = self.query_texts(query, list(names), existing_table)
        if taken:
            raise ChangeRefused(
                f"{table}: the schema has something else of the name "
                f"{', '.join(taken)}; rename or drop it first, then run again"
            )

    def _note_dropped_constraint(self, table: str, name: str) -> None:
        """Remember for later statements that an earlier one drops a constraint."""
        self._dropped_constraints.setdefault(table, set()).add(name)

    def _refuse_taken_constraint(
        self, table: str, name: str, dropped: Collection[str | None]
    ) -> None:
        """Refuse a name that another constraint of the table has.

        :param dropped: names of constraints that are dropped before.
        """
        if name in dropped or table not in self.schema:
            return
        dropped_before = self._dropped_constraints.get(table, set())
        query = catalog_queries.CONSTRAINT
        for definition in self.query_texts(query, self.current_table(table), name):
            if name in dropped_before:
                continue
            rename = f"RENAME CONSTRAINT {self.quote(name)} TO …"
            raise ChangeRefused(
                f"{table}: the name {name} is needed for a constraint, and another one "
                f"has it: {definition}; rename or drop that, then run again: "
                f"{self.alter_table(table, [rename])}"
            )

    # -- renames

    def rename_table(self, operation: do.RenameTable) -> Iterator[Change]:
        old = self.current_table(operation.table)
        self._refuse_taken_names(operation.table, [operation.table])
        query = catalog_queries.FUNCTIONS_THAT_NAME
        functions = self.query_texts(query, _as_word(old))
        yield self.table_rename(operation, self.also_breaks(functions, old))

    def rename_column(self, operation: do.RenameColumn) -> Iterator[Change]:
        """Views, indexes and constraints follow, the text of a function does not."""
        table = self.current_table(operation.table)
        old = operation.column.current_name
        for trigger, function in self._triggers_that_name(table, old):
            raise ChangeRefused(
                f"{operation.table}.{old} has to be renamed to {operation.name}, and "
                f"the trigger {trigger} calls {function}, whose text names {old}; drop "
                "the trigger, run again, then create both again with the new name"
            )
        functions = self._functions_that_name(table, old)
        yield self.column_rename(
            operation, also_breaks=self.also_breaks(functions, old)
        )

    def _triggers_that_name(self, table: str, column: str) -> list[Row]:
        """Return the triggers of a table whose functions name a column of it.

        Each with its function.
        """
        query = catalog_queries.TRIGGERS_THAT_NAME
        return self.session.query(query, (table, _as_word(column)))

    def _functions_that_name(self, table: str, column: str) -> list[str]:
        query = catalog_queries.FUNCTIONS_THAT_NAME_BOTH
        return self.query_texts(query, _as_word(table), _as_word(column))

    # -- tables and columns

    def create_table(self, operation: do.CreateTable) -> Iterator[Change]:
        query = catalog_queries.TYPE_WITH_NAME
        for type_ in self.query_texts(query, operation.table):
            raise ChangeRefused(
                f"{operation.table}: the schema has a type of that name, {type_}; "
                f"rename it, then run again: ALTER TYPE {type_} RENAME TO …"
            )
        for key in operation.declared.foreign_keys:
            self._refuse_parent(operation.table, key.parent)
        names = [index.name for index in operation.declared.indexes if index.name]
        self._refuse_taken_names(operation.table, names)
        yield from super().create_table(operation)

    def add_plain_column(self, operation: do.AddColumn) -> Iterator[Change]:
        table = operation.table
        column = operation.column
        parts = []
        if column.auto_increment:
            replaced_key = self.schema[table].primary_key
            for use in self.catalog.uses_of_row_type(self.current_table(table)):
                raise ChangeRefused(
                    f"{table}.{column.name} has to be added to every row, and the "
                    f"{use} holds rows of the table; drop that, then run again"
                )
            yield from self._keep_unique(table, replaced_key)
            parts += self._drop_constraints(self._primary_key_names(table))
        has_rows = self.has_rows(table)
        definition = self.column_definition(table, column, with_checks=not has_rows)
        parts.append(f"ADD COLUMN {definition}")
        # A value of its own for each row rewrites the table.
        rewrites = column.auto_increment or column_types.is_volatile(column.default)
        blocks = rewrites and has_rows
        yield self._change_table(f"add column {column.name}", table, parts, blocks)
        if has_rows:
            for check in operation.checks:
                yield from self.add_check(do.AddCheck(table, check))

    def add_filled_column(
        self, operation: do.AddColumn, name: str, value: str
    ) -> Iterator[Change]:
        table, column = operation.table, operation.column
        yield from self.add_bare_column(operation, name)
        set_default = []
        if column.default is not None:
            set_default = self._alter_column(name, [f"SET DEFAULT {column.default}"])
        if set_default and not column.null:  # of rows that others insert meanwhile
            yield self._change_table(f"set the DEFAULT of {name}", table, set_default)
        yield from self._fill(table, name, value, null=column.null)
        if name != column.name:
            sql = f"RENAME COLUMN {self.quote(name)} TO {self.quote(column.name)}"
            rename = self.alter_table(table, [sql])
            yield Change(f"rename {name} to {column.name}", rename)
        if set_default and column.null:
            parts = self._alter_column(column.name, [f"SET DEFAULT {column.default}"])
            description = f"set the DEFAULT of {column.name}"
            yield self._change_table(description, table, parts)
        for check in operation.checks:
            yield from self.add_check(do.AddCheck(table, check))

    def _fill(self, table: str, name: str, value: str, null: bool) -> Iterator[Change]:
        """Fill a column, and set NOT NULL unless it may be NULL."""
        change = self.fill(table, name, value)
        if self.session.in_callers_transaction:
            yield Change(f"fill {name}", change.sql, blocks="writes")
            if not null:
                parts = self._alter_column(name, ["SET NOT NULL"])
                description = f"set NOT NULL on {name}"
                yield self._change_table(description, table, parts, blocks=True)
            return
        yield change
        if not null:
            again = Change(
                f"fill {name} in rows that others wrote meanwhile",
                change.sql,
                own_transaction=True,
            )
            yield from self._set_not_null(table, name, [again])

    def drop_column(self, operation: do.DropColumn) -> Iterator[Change]:
        """The server drops its indexes and constraints, and refuses anything else.

        The text of a function is nothing that depends on it.
        """
        table, column = operation.table, operation.column
        current = self._current(table, column.name)
        dropped = self.query_texts(
            catalog_queries.OTHER_COLUMNS, current[0], self._current_names(operation)
        )
        dependents = [
            each
            for each in self.catalog.dependents_of_column(*current)
            if each not in dropped
        ]
        for trigger, function in self._triggers_that_name(*current):
            dependents.append(f"trigger {trigger}, which calls {function},")
        self.refuse_to_drop(operation, dependents)
        guard = self.guard_of(operation)
        if guard is not None:
            is_left = guard in operation.checks
            yield from self._add_guard(table, column, guard, is_left)
        for key in operation.foreign_keys:
            self._note_dropped_constraint(table, key.name or "")
        sql = self.alter_table(table, [f"DROP COLUMN {self.quote(column.name)}"])
        functions = self._functions_that_name(*current)
        yield Change(self.drop_description(operation, functions), sql)

    def _current_names(self, operation: do.DropColumn) -> list[str]:
        """Return the columns that the table has afterwards, and the dropped one."""
        names = [*operation.left_columns, operation.column.name]
        return [self.current_column(operation.table, name) for name in names]

    def _add_guard(
        self, table: str, column: Column, guard: Check, is_left: bool
    ) -> Iterator[Change]:
        """Add the CHECK that a column holds no value, which is dropped with it.

        Inside the caller's transaction its rows are checked at once.

        :param is_left: whether an interrupted run has added it.
        """
        undo = self.alter_table(table, self._drop_constraints([guard.name]))
        validation = self._validate(table, guard.name, f"check {guard.name}")
        validation = validation._replace(guard=Guard(guard.name, undo))
        if is_left:
            if not guard.valid:
                yield validation
            return
        online = self.has_rows(table) and not self.session.in_callers_transaction
        description = f"let {column.name} hold no value until it is dropped"
        addition = f"ADD {self.check_constraint(guard)}"
        if not online:
            blocks = self.has_rows(table)
            change = self._change_table(description, table, [addition], blocks)
            yield change._replace(guard=Guard(guard.name))
            return
        yield self._change_table(description, table, [f"{addition} NOT VALID"])
        yield validation

    def alter_column(self, operation: do.AlterColumn) -> Iterator[Change]:
        """All changes of a column in one statement, except SET NOT NULL."""
        table = operation.table
        column = operation.column
        actual = operation.actual
        if self._allows_null_later(operation):
            operation = operation._replace(changes_null=False)
        if actual.generated:
            # In a statement of its own: until then, TYPE accepts no USING.
            yield self._make_plain_column(table, column.name)
        retyped = operation.changes_type and not actual.type.covers(column.type)
        if retyped or operation.changes_collation:
            yield from self._alter_type(operation)
        else:
            default = None
            if operation.changes_default:
                default = column.default
            parts = self._default_and_null_clauses(operation, default)
            if parts:
                description = f"change column {column.name}"
                parts = self._alter_column(column.name, parts)
                yield self._change_table(description, table, parts)
        if operation.changes_null and not column.null:
            if column.backfill is not None and self.has_rows(table):
                yield from self._fill(table, column.name, column.backfill, null=False)
            else:
                yield from self._set_not_null(table, column.name)

    def _allows_null_later(self, operation: do.AlterColumn) -> bool:
        """Whether NULL is allowed only once the primary key has been replaced."""
        table = operation.table
        if not operation.changes_null or not operation.column.null:
            return False
        key = self.schema[table].primary_key
        return table in self._replaced_keys and operation.column.name in key

    def _make_plain_column(self, table: str, name: str) -> Change:
        query = catalog_queries.KIND_OF_GENERATED_COLUMN
        if self.query_texts(query, *self._current(table, name)) == ["v"]:
            raise ChangeRefused(
                f"{table}.{name} is a virtual generated column, which cannot become a "
                "plain one; drop it, then run again"
            )
        parts = self._alter_column(name, ["DROP EXPRESSION"])
        return self._change_table(f"make {name} a plain column", table, parts)

    def _default_and_null_clauses(
        self, operation: do.AlterColumn, default: str | None
    ) -> list[str]:
        """Return SET DEFAULT and DROP NOT NULL, as far as they are needed.

        :param default: the DEFAULT to set, if any.
        """
        parts = []
        if default is not None:
            parts.append(f"SET DEFAULT {default}")
        if operation.changes_null and operation.column.null:
            parts.append("DROP NOT NULL")
        return parts

    def _alter_type(self, operation: do.AlterColumn) -> Iterator[Change]:
        """Change a column's type, and its DEFAULT and NULL with it."""
        table = operation.table
        column = operation.column
        actual = operation.actual
        type_ = type_of_existing_column(column.type)
        keeps_rows = keeps_stored_rows(actual.type, column.type)
        # Indexes are in the order of the collation.
        rebuilds = not keeps_rows or operation.changes_collation
        self._refuse_domain(table, actual, type_)
        self._refuse_sequence(table, actual, column)
        self._refuse_dependents(table, column.name, keeps_rows)
        parts = []
        default = None
        if actual.default and not actual.auto_increment:
            # It may not convert by itself, so it is dropped before and set afterwards.
            parts.append("DROP DEFAULT")
            default = column.default
            if default is None:
                default = self._converted_default(table, actual, column)
        elif operation.changes_default:
            default = column.default
        parts.append(self._type_clause(actual, column, keeps_rows))
        parts += self._storage_clauses(table, column)
        parts += self._default_and_null_clauses(operation, default)
        yield self._change_table(
            f"convert {column.name} to {type_}",
            table,
            self._alter_column(column.name, parts),
            blocks=rebuilds and self.has_rows(table),
        )
        yield from self._restored_statistics(table, column.name)
        if self.has_rows(table):
            self._retyped[table] = None
        if actual.auto_increment and actual.default:
            # The sequence of a SMALLSERIAL would end where its old type ends.
            query = catalog_queries.SEQUENCE
            current_table, current_column = self._current(table, column.name)
            quoted = self.quote(current_table)
            for sequence in self.query_texts(query, quoted, current_column):
                yield Change(
                    f"convert the sequence of {column.name} to {type_}",
                    f"ALTER SEQUENCE {sequence} AS {type_}",
                )

    def _converted_default(self, table: str, actual: Column, column: Column) -> str:
        """Return an undeclared DEFAULT that stays, as it is after a change of type.

        A literal is converted as the values are. An expression cannot be tried without
        executing it, so it stays only where every value of its type can be converted.
        """
        default = f"({actual.default})"
        source = actual.type
        lossy = self.conversions.lossy_condition(default, source, column.type)
        if column_types.is_literal(actual.default or ""):
            with self.session.settings_transaction():
                ((loses,),) = self.session.query(f"SELECT {lossy}")
        else:
            loses = lossy != "false" and not column_types.is_larger(source, column.type)
        if loses:
            type_ = type_of_existing_column(column.type)
            drop = self._current_alter_column(table, actual, "DROP DEFAULT")
            raise ChangeRefused(
                f"{table}.{actual.name} has to be converted to {type_}, which its "
                f"DEFAULT {actual.default} cannot be; drop it, then run again: {drop}"
            )
        return self.conversions.converted(default, source, column.type)

    def _refuse_domain(self, table: str, actual: Column, type_: str) -> None:
        """Refuse to take a column out of a domain that restricts its values."""
        domain = self.catalog.domain_of_column(*self._current(table, actual.name))
        if domain is None:
            return
        change = self._current_alter_column(table, actual, f"TYPE {type_}")
        raise ChangeRefused(
            f"{table}.{actual.name} has to be converted to {type_}, and would leave "
            f"the domain {domain}, which restricts its values; if that is meant, "
            f"run first: {change}"
        )

    def _refuse_sequence(self, table: str, actual: Column, column: Column) -> None:
        """Refuse to take its sequence from a column that is no integer any more."""
        if actual.default is None or not actual.auto_increment:
            return
        if column.type.category == "integer":
            return
        type_ = type_of_existing_column(column.type)
        drop = self._current_alter_column(table, actual, "DROP DEFAULT")
        raise ChangeRefused(
            f"{table}.{actual.name} has to be converted to {type_}, and takes its "
            "values from a sequence, which can only be one of integers; if it is no "
            f"longer meant to, run first: {drop}"
        )

    def _current_alter_column(self, table: str, actual: Column, action: str) -> str:
        """Return a statement that somebody can execute before the plan renames."""
        current_table, column = self._current(table, actual.name)
        return self.alter_table(current_table, self._alter_column(column, [action]))

    def _refuse_parent(self, table: str, parent: str) -> None:
        """Refuse a foreign key to a table that is temporary or UNLOGGED."""
        query = catalog_queries.LESS_PERMANENT
        tables = self.current_table(table), self.current_table(parent)
        for name in self.query_texts(query, *tables):
            raise ChangeRefused(
                f"{table} cannot refer to {name}, which is temporary or UNLOGGED; run "
                f"first: ALTER TABLE {self.quote(tables[1])} SET LOGGED"
            )

    def _storage_clauses(self, table: str, column: Column) -> list[str]:
        """Return what keeps the storage that was set for a column: TYPE resets it."""
        if column.type.category not in _STORED_OUT_OF_LINE:
            return []
        query = catalog_queries.STORAGE
        return self.query_texts(query, *self._current(table, column.name))

    def _restored_statistics(self, table: str, column: str) -> Iterator[Change]:
        """Restore what was set for statistics that ALTER TYPE makes again."""
        query = catalog_queries.STATISTICS_TARGETS
        for sql in self.query_texts(query, *self._current(table, column)):
            yield Change(f"keep the statistics target of {column}", sql)

    def _type_clause(self, actual: Column, column: Column, keeps_rows: bool) -> str:
        clause = f"TYPE {type_of_existing_column(column.type)}"
        collation = column.collation or actual.collation
        if collation and column.type.category == "string":
            clause += f" COLLATE {collation}"
        if not keeps_rows:
            value = self.quote(column.name)
            converted = self.conversions.converted(value, actual.type, column.type)
            clause += f" USING {converted}"
        return clause

    def _refuse_dependents(self, table: str, name: str, keeps_rows: bool) -> None:
        """Refuse to change the type of a column that something else depends on.

        PostgreSQL would refuse it as well, or fail.
        """
        dependents = self.catalog.dependents_of_column(*self._current(table, name))
        if keeps_rows:
            # ALTER TYPE recreates constraints. To another category it may fail, as
            # their conditions may have no operators for the new type.
            dependents = [
                each for each in dependents if not each.startswith("constraint ")
            ]
        else:
            dependents += self.catalog.uses_of_row_type(self.current_table(table))
        if not dependents:
            return
        if len(dependents) == 1:
            kind = dependents[0].partition(" ")[0]
            advice = f"depends on it; drop the {kind}, run again, then create it again"
        else:
            advice = "depend on it; drop them, run again, then create them again"
        raise ChangeRefused(
            f"{table}.{name} has to be converted, and the "
            f"{' and the '.join(dependents)} {advice}"
        )

    def _set_not_null(
        self, table: str, name: str, before_validation: Sequence[Change] = ()
    ) -> Iterator[Change]:
        """SET NOT NULL, after a CHECK has proven it while others go on.

        :param before_validation: executed once nobody can write a NULL any more.

        https://www.postgresql.org/docs/current/sql-altertable.html: with a valid CHECK
        that proves that no NULL can exist, the table scan is skipped.
        """
        # Since PostgreSQL 18, NOT NULL can exist without having been validated.
        query = catalog_queries.UNVALIDATED_NOT_NULL
        for constraint in self.query_texts(query, *self._current(table, name)):
            yield self._validate(table, constraint, f"NOT NULL of {name}")
            return
        check_name = shortened(f"not_null_{name}")
        condition = f"{self.quote(name)} IS NOT NULL"
        left = []
        existing = self.schema[table].check_named(check_name)
        if existing is not None:
            actual = self.schema[table]
            if self.catalog.same_condition(actual, condition, existing.condition):
                left.append(check_name)  # by a run that was killed
        uses_check = self.has_rows(table)
        if uses_check:
            definition = f"CONSTRAINT {self.quote(check_name)} CHECK ({condition})"
            description = f"check that {name} is not NULL"
            yield from self._add_constraint(
                _Constraint(table, check_name, definition, description, replaces=left),
                before_validation,
            )
        set_not_null = self._alter_column(name, ["SET NOT NULL"])
        yield self._change_table(f"set NOT NULL on {name}", table, set_not_null)
        if uses_check or left:
            drop = self._drop_constraints([check_name])
            description = f"drop the check that {name} is not NULL"
            yield self._change_table(description, table, drop)

    # -- indexes and keys

    def add_index(self, operation: do.AddIndex) -> Iterator[Change]:
        table = operation.table
        index = operation.definition
        if not index.is_constraint:
            yield from self._drop_replaced(table, index.name, operation.replaces)
            yield from self._build_index_as_it_was(table, index, operation.replaces)
            return
        if not index.name:
            index = index._replace(name=self._name_for_unique(table, index))
        if self.schema[table].index_named(index.name) is None:
            self._refuse_taken_constraint(table, index.name, [])
        source = self._key_source(table, index)
        yield from source.changes
        addition = f"ADD CONSTRAINT {self.quote(index.name)} UNIQUE {source.sql}"
        yield self._change_table(f"add constraint {index.name}", table, [addition])
        full_name = f"{self.quote(index.name)} ON {self.quote(table)}"
        comment = self._details(table, index.name).comment
        yield from self._comment("CONSTRAINT", full_name, comment)

    def _name_for_unique(self, table: str, index: Index) -> str:
        """Return a name for a UNIQUE constraint without one, as PostgreSQL chooses it.

        That of an invalid index, which a killed run has left, is used again.
        """
        actual = self.schema[table]
        declared = self.declared(table).columns
        columns = "_".join(declared[key].name for key in index.columns)
        number = 0
        while True:
            suffix = f"key{number or ''}"
            name = name_of_constraint(table, columns, suffix)
            existing = actual.index_named(name)
            if existing is not None:
                is_free = existing._replace(valid=True, name="") == index._replace(
                    is_constraint=existing.is_constraint
                )
            else:
                is_free = not self._is_taken(table, name)
            if is_free and name not in self._chosen_names:
                self._chosen_names.add(name)
                return name
            number += 1

    def _is_taken(self, table: str, name: str) -> bool:
        """Whether something has the name that an index and its constraint need."""
        taken = catalog_queries.TAKEN_NAMES
        current = self.current_table(table)
        if self.query_texts(taken, [name], current):
            return True
        return bool(self.query_texts(catalog_queries.CONSTRAINT, current, name))

    def _key_source(self, table: str, key: Index) -> _KeySource:
        """Return what a key is made of: an index, if the table has rows."""
        # ADD … USING INDEX turns an index that is no constraint yet into the key.
        index = key._replace(is_constraint=False)
        using_index = f"USING INDEX {self.quote(index.name)}"
        existing = self.schema[table].index_named(index.name)
        if existing == index:  # A killed run has already built this index.
            return _KeySource([], using_index)
        changes = list(self._drop_replaced(table, index.name, existing))
        if not self.has_rows(table):
            return _KeySource(changes, self.quote_all(index.columns))
        changes.append(self._build_index(table, index))
        return _KeySource(changes, using_index)

    def _build_index_as_it_was(
        self, table: str, index: Index, replaced: Index | None
    ) -> Iterator[Change]:
        """Build an index with the storage parameters and comment of the one before."""
        change = self._build_index(table, index)
        if replaced is None:
            yield change
            return
        query = catalog_queries.INDEX_DETAILS
        current = self.current_table(table)
        for storage, comment in self.session.query(query, (current, replaced.name)):
            yield change._replace(sql=change.sql + storage)
            yield from self._comment("INDEX", self.quote(index.name), comment)

    def _build_index(self, table: str, index: Index) -> Change:
        change = self.create_index(do.AddIndex(table, index))
        if not self.has_rows(table):
            return change
        # Peewee has no CONCURRENTLY. IF NOT EXISTS would be satisfied with an INVALID
        # index, but that was dropped before.
        concurrently = "INDEX CONCURRENTLY IF NOT EXISTS"
        sql = change.sql.replace("INDEX", concurrently, 1)
        return change._replace(sql=sql, own_transaction=True)

    def _drop_replaced(
        self, table: str, name: str, existing: Index | None
    ) -> Iterator[Change]:
        """Drop the index that has a name which is needed."""
        if existing is None:
            if table in self.schema:
                self._refuse_taken_names(table, [name])
            return
        yield from self._drop_index(table, name, existing, "recreated")

    def drop_index(self, operation: do.DropIndex) -> Iterator[Change]:
        index = operation.definition
        return self._drop_index(operation.table, index.name, index, "dropped")

    def _drop_index(
        self, table: str, name: str, existing: Index, purpose: str
    ) -> Iterator[Change]:
        query = catalog_queries.INDEX
        current = self.current_table(table)
        tables = []
        keys = []
        for other, names in self._dropped_constraints.items():
            tables += [self.current_table(other)] * len(names)
            keys += list(names)
        ((index, dependent),) = self.session.query(
            query, (tables, keys, current, existing.name)
        )
        if dependent:
            raise ChangeRefused(
                f"{table}.{name} has to be {purpose}, and {dependent} depends on it; "
                f"drop {dependent}, run again, then create it again"
            )
        if existing.is_constraint:
            drop = self._drop_constraints([existing.name])
            yield self._change_table(f"drop constraint {name}", table, drop)
            return
        online = self.has_rows(table)
        concurrently = " CONCURRENTLY" if online else ""
        yield Change(
            f"drop index {name}",
            f"DROP INDEX{concurrently} IF EXISTS {index}",
            own_transaction=online,
        )

    def set_primary_key(self, operation: do.SetPrimaryKey) -> Iterator[Change]:
        table = operation.table
        if self.schema[table].primary_key != operation.columns:
            yield from self._replace_primary_key(operation)
        column = self._existing_id_column(operation)
        if column is not None and not column.auto_increment:
            yield from self._add_identity(table, column)

    def _existing_id_column(self, operation: do.SetPrimaryKey) -> Column | None:
        """Return the column of an auto-increment key, if the table has it already."""
        if not operation.auto_increment:
            return None
        return self.schema[operation.table].columns.get(operation.columns[0])

    def _replace_primary_key(self, operation: do.SetPrimaryKey) -> Iterator[Change]:
        table = operation.table
        yield from self._keep_unique(table, operation.replaces)
        # The name of the index until it is the key's: short enough for any table.
        new_name = shortened(table, "_pkey_new")
        new_index = Index(new_name, operation.columns, unique=True)
        self._refuse_undeclared_index(table, new_index)
        source = self._key_source(table, new_index)
        yield from source.changes
        column = self._existing_id_column(operation)
        if column is not None and column.null:
            yield from self._set_not_null(table, column.name)
        replaced = self._primary_key_names(table)
        name = shortened(table, "_pkey")  # as PostgreSQL itself would call it
        if name not in replaced:
            self._refuse_taken_names(table, [name])
        parts = self._drop_constraints(replaced)
        parts.append(f"ADD CONSTRAINT {self.quote(name)} PRIMARY KEY {source.sql}")
        yield self._change_table("add the primary key", table, parts)
        for other in self._columns_to_allow_null(table, operation.columns):
            parts = self._alter_column(other, ["DROP NOT NULL"])
            yield self._change_table(f"change column {other}", table, parts)

    def _columns_to_allow_null(self, table: str, key: tuple[str, ...]) -> list[str]:
        """Return the columns of a replaced primary key that are declared with NULL."""
        declared = self.declared(table).columns
        replaced = [name for name in self.schema[table].primary_key if name not in key]
        return [name for name in replaced if name in declared and declared[name].null]

    def _keep_unique(self, table: str, key: tuple[str, ...]) -> Iterator[Change]:
        """Keep the columns of an undeclared primary key, which is replaced, unique."""
        actual = self.schema[table]
        # A part of a DEFERRABLE key is not the plain name of a column.
        if not key or not actual.columns.keys() >= set(key):
            return
        if key in actual._replace(primary_key=()).unique_keys():
            return
        if key in self.declared(table).unique_keys():
            return
        name = shortened(f"{table}_{'_'.join(key)}_key")
        constraint = Index(name, key, unique=True, is_constraint=True)
        existing = actual.index_named(name)
        if existing is not None:
            self._refuse_undeclared_index(table, constraint)
        yield from self.add_index(do.AddIndex(table, constraint))

    def _refuse_undeclared_index(self, table: str, needed: Index) -> None:
        """Refuse to replace an index that has a name which only this module uses.

        One of the same columns was left by a run that was killed.
        """
        existing = self.schema[table].index_named(needed.name)
        if existing is not None and existing._replace(valid=True) != needed:
            raise ChangeRefused(
                f"{table}: the name {needed.name} is needed, and another index "
                f"has it: {existing}; rename that, then run again: "
                f"ALTER INDEX {self.quote(needed.name)} RENAME TO …"
            )

    def _primary_key_names(self, table: str) -> list[str]:
        """Return the name of a table's primary key, if it has one."""
        names = []
        query = catalog_queries.PRIMARY_KEY
        for name, child in self.session.query(query, (self.current_table(table),)):
            if child:
                declared_key = ", ".join(self.declared(table).primary_key)
                raise ChangeRefused(
                    f"the primary key of {table} has to become {declared_key}, and a "
                    f"foreign key of {child} depends on the one it has; drop that "
                    "foreign key, run again, then create it again"
                )
            names.append(name)
        for dependent in self.catalog.dependents_of_primary_key(
            self.current_table(table)
        ):
            declared_key = ", ".join(self.declared(table).primary_key)
            raise ChangeRefused(
                f"the primary key of {table} has to become {declared_key}, and the "
                f"{dependent} depends on the one it has; drop that, run again, then "
                "create it again"
            )
        return names

    def _add_identity(self, table: str, column: Column) -> Iterator[Change]:
        name = column.name
        parts = []
        if column.default is not None:
            parts.append("DROP DEFAULT")
        parts.append("ADD GENERATED BY DEFAULT AS IDENTITY")
        description = f"make {name} an identity column"
        yield self._change_table(description, table, self._alter_column(name, parts))
        table_name = self.quote(table)
        sequence = f"pg_get_serial_sequence({literal(table_name)}, {literal(name)})"
        next_value = f"coalesce(max({self.quote(name)}), 0) + 1"
        yield Change(
            f"set the sequence of {name} to the next value",
            f"SELECT setval({sequence}, {next_value}, false) FROM {table_name}",
        )

    def advance_ids(self, operation: do.AdvanceIds) -> Iterator[Change]:
        table = operation.table
        name = operation.column.name
        highest = f"(SELECT max({self.quote(name)}) FROM {self.quote(table)})"
        query = catalog_queries.SEQUENCE_OF_IDS
        current = self._current(table, name)
        for sequence, increment in self.session.query(query, current):
            # Another session may have advanced it further in the meantime.
            next_value = f"greatest({highest}, last_value) + {increment}"
            yield Change(
                f"continue {name} after its highest value",
                f"SELECT setval({literal(sequence)}, {next_value}, false) "
                f"FROM {sequence}",
            )

    # -- CHECK constraints and foreign keys

    def drop_check(self, operation: do.DropCheck) -> Iterator[Change]:
        name = operation.check.name
        drop = self._drop_constraints([name])
        yield self._change_table(f"drop the check {name}", operation.table, drop)

    def add_check(self, operation: do.AddCheck) -> Iterator[Change]:
        check = operation.check
        if not check.name and self.has_rows(operation.table):
            # Its name has to be known, as it is validated by a statement of its own.
            check = check._replace(name=self._name_for_check(operation.table, check))
        details = self._details(operation.table, check.name)
        exists = not check.valid
        replaces = []
        if exists:
            replaces.append(check.name)
        elif operation.replaces is not None:
            replaces.append(operation.replaces.name)
        constraint = _Constraint(
            operation.table,
            check.name,
            definition=self.check_constraint(check),
            description=f"check {check.name or check.condition}",
            replaces=replaces,
            exists=exists,
            comment=details.comment,
        )
        return self._add_constraint(constraint)

    def _name_for_check(self, table: str, check: Check) -> str:
        """Return a name for a CHECK without one, such as PostgreSQL itself chooses."""
        base = table
        if check.column:
            base += f"_{check.column}"
        taken = {each.name for each in self.schema[table].checks}
        taken |= self._chosen_names
        name = shortened(base, "_check")
        number = 0
        while name in taken:
            number += 1
            name = shortened(base, f"_check{number}")
        self._chosen_names.add(name)
        return name

    def add_foreign_key(self, operation: do.AddForeignKey) -> Iterator[Change]:
        key = operation.key
        table = operation.table
        self._refuse_parent(table, key.parent)
        columns = ", ".join(key.columns)
        replaced = [other for other in operation.replaces if other != key]
        if self._is_released(operation):
            # One that was dropped for the time of a change: as it was.
            constraint = self._constraint_as_it_was(table, key.name or "")
        else:
            name = self._foreign_key_name(table, key, replaced)
            details = self._details(table, (replaced or [key])[0].name)
            definition = self.foreign_key_constraint(key._replace(name=name))
            constraint = _Constraint(
                table,
                name,
                definition=definition + ("" if key.deferrable else details.deferral),
                description="",
                comment=details.comment,
            )
        constraint = constraint._replace(
            description=f"foreign key of {columns}",
            replaces=[other.name for other in operation.replaces],
            exists=key in operation.replaces,
        )
        return self._add_constraint(constraint)

    def _is_released(self, operation: do.AddForeignKey) -> bool:
        if operation.table not in self.schema or operation.key in operation.replaces:
            return False
        return operation.key in self.schema[operation.table].foreign_keys

    def _foreign_key_name(
        self, table: str, key: ForeignKey, replaced: Sequence[ForeignKey]
    ) -> str:
        """Return the declared name, that of the key it replaces, or a new one."""
        if key.name:
            return key.name
        if len(replaced) == 1 and replaced[0].name:
            return replaced[0].name
        return shortened(f"fk_{table}_{'_'.join(key.columns)}")

    def _constraint_as_it_was(self, table: str, name: str) -> _Constraint:
        details = self._details(table, name)
        definition = details.definition.removesuffix(" NOT VALID")
        is_unchecked = definition.endswith(" NOT ENFORCED")
        return _Constraint(
            table,
            name,
            definition=f"CONSTRAINT {self.quote(name)} {definition}",
            description="",
            stays_unvalidated=is_unchecked or definition != details.definition,
            comment=details.comment,
        )

    def _details(self, table: str, name: str | None) -> _Details:
        query = catalog_queries.CONSTRAINT_DETAILS
        for row in self.session.query(query, (self.current_table(table), name)):
            return _Details(*row)
        return _Details()

    def _comment(self, kind: str, name: str, text: str | None) -> Iterator[Change]:
        """Restore the comment of something that was recreated.

        :param name: as SQL.
        """
        if text is not None:
            yield Change(
                f"restore the comment of the {kind.lower()}",
                f"COMMENT ON {kind} {name} IS {literal(text)}",
            )

    def drop_foreign_key(self, operation: do.DropForeignKey) -> Iterator[Change]:
        key = operation.key
        self._note_dropped_constraint(operation.table, key.name or "")
        description = f"drop the foreign key of {', '.join(key.columns)}"
        drop = self._drop_constraints([key.name])
        yield self._change_table(description, operation.table, drop)

    def _add_constraint(
        self, constraint: _Constraint, before_validation: Sequence[Change] = ()
    ) -> Iterator[Change]:
        """Add a constraint, and check the rows while others go on."""
        table = constraint.table
        exists = constraint.exists
        if exists:
            # What PostgreSQL 18 calls NOT ENFORCED cannot be validated.
            query = catalog_queries.NOT_ENFORCED
            current = self.current_table(table)
            exists = not self.query_texts(query, current, constraint.name)
        online = self.has_rows(table)
        if not exists:
            name = constraint.name
            if name:
                self._refuse_taken_constraint(table, name, constraint.replaces)
            addition = f"ADD {constraint.definition}"
            unchecked = constraint.definition.endswith(" NOT ENFORCED")
            if (online or constraint.stays_unvalidated) and not unchecked:
                addition += " NOT VALID"
            parts = [*self._drop_constraints(constraint.replaces), addition]
            yield self._change_table(f"add the {constraint.description}", table, parts)
            full_name = f"{self.quote(name)} ON {self.quote(table)}"
            yield from self._comment("CONSTRAINT", full_name, constraint.comment)
        yield from before_validation
        if (exists or online) and not constraint.stays_unvalidated:
            yield self._validate(table, constraint.name, constraint.description)

    def _validate(self, table: str, name: str, description: str) -> Change:
        """Check the rows, in a transaction of its own if there are any.

        In one with the ADD, its stronger lock would be held meanwhile.
        """
        validate = f"VALIDATE CONSTRAINT {self.quote(name)}"
        change = self._change_table(f"validate the {description}", table, [validate])
        return change._replace(own_transaction=self.has_rows(table))


def _as_word(name: str) -> str:
    """Return a regular expression of PostgreSQL for a name as a word.

    In quotes, the quotes in a name are doubled.
    """
    name = re.sub(r"(\W)", r"\\\1", name).replace('\\"', '("|"")')
    return rf"(?<![[:alnum:]_$]){name}(?![[:alnum:]_$])"
