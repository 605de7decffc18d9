"""The statements of a plan on SQLite, table by table.

What `ALTER TABLE` and `CREATE INDEX` can do is done by them. Otherwise the table gets a
new definition, in one of two ways:

    edit:    set writable_schema -> replace the stored definition -> reset it
             -> increase schema_version
    rebuild: create the new table -> copy the rows -> drop the old table
             -> rename the new one -> restore indexes, triggers, sequence

An edit is for what does not concern how rows are stored, and takes the same time
however many there are. That the rows satisfy what it adds was checked before, under the
same lock: once the definition says NOT NULL, SQLite does not look at them again. See
https://sqlite.org/lang_altertable.html#otheralter. Peewee's own rebuild loses triggers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import NamedTuple

import peewee

from db.plurals import plural
from migrations import operations as do
from migrations.engines.ddl import DDL
from migrations.engines.session import Row
from migrations.engines.sqlite.catalog import REFERRING_TABLES, SQLiteCatalog
from migrations.engines.sqlite.column_types import affinity, rowid_name
from migrations.engines.sqlite.conversions import SQLiteConversions
from migrations.engines.sqlite.schema_copy import NotCopied, copy_of_schema, error_of
from migrations.engines.sqlite.session import SQLiteSession
from migrations.engines.sqlite.table_rewrite import NewDefinition
from migrations.engines.sqlite.table_text import (
    name_key,
    reads_content_of,
    refers_to_rowids,
    with_closed_comment,
)
from migrations.errors import ChangeRefused
from migrations.operations import Operation
from migrations.report import Change
from migrations.schema import Index, Schema, Table
from migrations.sql_text import is_literal, literal

_NEW_TABLE = "__new"  # at the end of its name
# More than 1, as a script may be executed much later: no connection that is open then
# shall know the schema by the new number.
_SCHEMA_VERSION_STEP = 100


class _CopiedRowid(NamedTuple):
    """What a rebuild copies, in addition to the columns, to keep the rowids."""

    target: str  # in the new table
    source: str  # in the old one


class _TableChanges(NamedTuple):
    """The statements for one table."""

    changes: list[Change]
    is_rebuild: bool = False


class SQLiteDDL(DDL):
    """Writes the statements of one plan."""

    session: SQLiteSession
    may_refer_to_later_tables = True  # ALTER TABLE cannot add a foreign key

    def __init__(
        self, catalog: SQLiteCatalog, conversions: SQLiteConversions, schema: Schema
    ) -> None:
        super().__init__(catalog, conversions, schema)

        # The schema whose stored texts are read: that of the connection, or a copy in
        # which SQLite itself has renamed what the plan renames.
        self.stored_schema: SQLiteSession = catalog.session

    def copies_rows(self, operations: Sequence[Operation], table: str) -> bool:
        try:
            renames = self._rename_statements(operations)
            changes_by_table = self._changes_by_table(operations, renames)
        except ChangeRefused:
            return False  # the plan will be refused, whatever its rows are
        return table in changes_by_table and changes_by_table[table].is_rebuild

    def statements(self, operations: Sequence[Operation]) -> list[Change]:
        circular_keys = _keys_of_dropped_tables(operations)
        operations = [each for each in operations if each not in circular_keys]
        renames = self._rename_statements(operations)
        changes: list[Change] = []
        is_rebuild = False
        for of_table in self._changes_by_table(operations, renames).values():
            changes += of_table.changes
            is_rebuild = is_rebuild or of_table.is_rebuild
        if is_rebuild:
            return self._with_rebuild_settings(renames, changes)
        if circular_keys:
            return self._without_immediate_keys(changes)
        return [*renames, *changes]

    def _changes_by_table(
        self, operations: Iterable[Operation], renames: Sequence[Change]
    ) -> dict[str, _TableChanges]:
        """Return the statements for each table, except its renames.

        :param renames: the statements that are executed before.
        """
        by_table: dict[str, list[Operation]] = {}
        for operation in operations:
            if not isinstance(operation, do.Rename):
                by_table.setdefault(operation.table, []).append(operation)
        if not by_table:
            return {}
        with self._schema_after(renames, by_table):
            return {
                name: self._table_changes(name, of_table)
                for name, of_table in by_table.items()
            }

    @contextmanager
    def _schema_after(
        self, renames: Sequence[Change], tables: Iterable[str]
    ) -> Iterator[None]:
        """Let `stored_schema` be what it will be after some renames.

        :param tables: the tables that are also changed in another way.
        """
        if not renames:
            yield
            return
        try:
            with copy_of_schema(self.session) as copy:
                for rename in renames:
                    self._execute_in_copy(copy.session, rename)
                self.stored_schema = copy.session
                yield
        except NotCopied as reason:
            names = " and ".join(tables)
            raise ChangeRefused(
                f"{names}: a table cannot be renamed and changed in one run here "
                f"({reason}); rename in one run, and change in the next one"
            ) from None
        finally:
            self.stored_schema = self.session

    def _without_immediate_keys(self, changes: Iterable[Change]) -> list[Change]:
        """Let foreign keys be checked once all tables are dropped.

        DROP TABLE deletes its rows, to which another one of the tables may refer.
        """
        off = "PRAGMA defer_foreign_keys = OFF"
        return [
            Change("check foreign keys later", "PRAGMA defer_foreign_keys = ON"),
            *changes,
            Change("check foreign keys at once", off),
        ]

    def _execute_in_copy(self, copy: SQLiteSession, change: Change) -> None:
        error = error_of(copy, change.sql)
        if error and "sqlite_stat" not in error:
            advice = self.session.advice_about(error)
            raise ChangeRefused(
                f"{change.description} would fail ({error}), nothing was changed"
                f"{advice or '; change or drop what is in its way, then run again'}"
            )

    def _rename_statements(self, operations: Iterable[Operation]) -> list[Change]:
        changes: list[Change] = []
        for operation in operations:
            if isinstance(operation, do.RenameTable):
                changes += self._rename_table(operation)
            elif isinstance(operation, do.RenameColumn):
                table = self.current_table(operation.table)
                self._refuse_full_text_search(table, operation.column.current_name)
                changes.append(self.column_rename(operation))
        return changes

    def _rename_table(self, operation: do.RenameTable) -> Iterator[Change]:
        table = self.schema[operation.table]
        self._refuse_full_text_search(table.current_name)
        self._refuse_taken_name(operation.table, table.current_name)
        yield self.table_rename(operation)
        for name in self._statistics_tables(table):
            # What ANALYZE has found out does not follow.
            moved = f"UPDATE main.{name} SET tbl = {literal(table.name)} "
            moved += f"WHERE tbl = {literal(table.current_name)}"
            yield Change(f"keep the statistics of {table.name}", moved)

    def _virtual_tables(self) -> list[Row]:
        """Return the name and the CREATE VIRTUAL TABLE of each one."""
        return self.session.query(
            "SELECT name, sql FROM main.sqlite_master "
            "WHERE type = 'table' AND rootpage = 0"
        )

    def _refuse_full_text_search(self, table: str, column: str = "") -> None:
        """Refuse a rename that an FTS table with external content does not notice.

        https://sqlite.org/fts5.html#external_content_tables
        """
        for name, sql in self._virtual_tables():
            if not reads_content_of(sql, table):
                continue
            where = f"{table}.{column}" if column else table
            raise ChangeRefused(
                f"{where} has to be renamed, and the virtual table {name} reads its "
                "content by the old name; drop it, run again, then create it again"
            )

    def _with_rebuild_settings(
        self, renames: Iterable[Change], changes: Iterable[Change]
    ) -> list[Change]:
        """Add the pragmas that a rebuild needs.

        That of foreign keys has an effect outside of a transaction only, see
        `SQLiteSession.with_migration_lock`. With the other one, views and triggers may
        name the old table while the new one is renamed.
        """
        name = "legacy_alter_table"
        legacy_on = Change("prepare the rebuild", f"PRAGMA {name} = ON")
        legacy_off = Change("finish the rebuild", f"PRAGMA {name} = OFF")
        inside = [*renames, legacy_on, *changes, legacy_off]
        if not self.session.enforces_foreign_keys:
            return inside
        foreign_keys = "PRAGMA foreign_keys"
        return [
            Change(
                "prepare the rebuild", f"{foreign_keys} = OFF", own_transaction=True
            ),
            *inside,
            Change("finish the rebuild", f"{foreign_keys} = ON", own_transaction=True),
        ]

    def _table_changes(
        self, name: str, operations: Sequence[Operation]
    ) -> _TableChanges:
        table = self.schema.get(name)
        if table is None:
            self._refuse_taken_name(name, name)
            return _TableChanges(self._own_statements(operations))
        if all(_needs_no_definition(operation) for operation in operations):
            return _TableChanges(self._own_statements(operations))
        definition = NewDefinition(self, table, operations, self.stored_schema)
        for operation in operations:
            if isinstance(operation, do.DropColumn):
                self._refuse_what_breaks(operation, definition)
        edits = any(_is_edit(operation) for operation in operations)
        rebuilds = self._needs_rebuild(operations, definition)
        if rebuilds or (edits and not self._schema_is_writable):
            indexes = [each for each in operations if isinstance(each, do.AddIndex)]
            return self._rebuild_changes(table, definition, indexes)
        return _TableChanges(self._changes_without_rebuild(table, operations, edits))

    def _changes_without_rebuild(
        self, table: Table, operations: Sequence[Operation], edits: bool
    ) -> list[Change]:
        """Return the statements of a table that is not rebuilt, in their order.

        A column is added before the definition names it, and dropped once nothing does.

        :param edits: whether the stored definition has to be replaced.
        """
        columns = [each for each in operations if isinstance(each, do.AddColumn)]
        changes = self._own_statements(columns)
        for operation in operations:
            if isinstance(operation, do.AlterColumn) and operation.filled_with:
                column, value = operation.column.name, operation.filled_with
                changes.append(self._fill(operation.table, column, value))
        drops = [each for each in operations if isinstance(each, do.DropColumn)]
        if edits:
            others = [each for each in operations if each not in drops]
            definition = NewDefinition(self, table, others, self.stored_schema)
            changes += self._edit_statements(table, definition)
        indexes = [each for each in operations if isinstance(each, do.AddIndex)]
        changes += self._own_statements(indexes)
        dropped = [each for each in operations if isinstance(each, do.DropIndex)]
        changes += self._own_statements(dropped)
        for drop in drops:
            changes += self._drop_column(drop)
        return changes

    def _rebuild_changes(
        self, table: Table, definition: NewDefinition, indexes: Iterable[do.AddIndex]
    ) -> _TableChanges:
        changes = self._rebuild_statements(table, definition)
        for operation in indexes:
            if not operation.definition.is_constraint:
                # The index that it replaces went with the old table.
                changes += self._index_statements(operation._replace(replaces=None))
        return _TableChanges(changes, is_rebuild=True)

    def _needs_rebuild(
        self, operations: Iterable[Operation], definition: NewDefinition
    ) -> bool:
        """Whether the stored rows change, or the index of a key in the definition."""
        if definition.drops_unique:
            return True
        for operation in operations:
            if isinstance(operation, do.SetPrimaryKey):
                return True
            if isinstance(operation, do.AddColumn) and not self._is_addable(operation):
                return True
            if isinstance(operation, do.AlterColumn) and _changes_values(operation):
                return True
            if isinstance(operation, do.DropColumn) and not (
                self._is_droppable(operation, definition)
            ):
                return True
        return False

    def _is_addable(self, operation: do.AddColumn) -> bool:
        """Whether ALTER TABLE can add a column.

        It adds no primary key, no DEFAULT that is an expression, and no NOT NULL
        without a DEFAULT: https://sqlite.org/lang_altertable.html#altertabaddcol
        """
        column = operation.column
        if column.auto_increment:
            return False
        if column.backfill is not None:
            return True  # without NOT NULL and DEFAULT, which an edit adds
        if column.default is None:
            return column.null
        return is_literal(column.default)

    def _is_droppable(
        self, operation: do.DropColumn, definition: NewDefinition
    ) -> bool:
        """Whether ALTER TABLE can drop a column, once its indexes are dropped.

        It drops none that another clause of the definition names:
        https://sqlite.org/lang_altertable.html#altertabdropcol
        """
        if self.session.database.server_version < (3, 35):
            return False
        return not definition.names_in_other_clause(operation.column.name)

    @cached_property
    def _schema_is_writable(self) -> bool:
        """Whether the connection may write to the schema, found out without writing.

        It may not in defensive mode, https://sqlite.org/c3ref/c_dbconfig_defensive.html.
        Before 3.34 a connection does not notice its own edit.
        """
        if self.session.database.server_version < (3, 34):
            return False
        update = "EXPLAIN UPDATE main.sqlite_master SET sql = sql"
        with self.session.pragmas(writable_schema=1), suppress(peewee.DatabaseError):
            return bool(self.session.query(update))
        return False

    # -- what has a statement of its own

    def _own_statements(self, operations: Iterable[Operation]) -> list[Change]:
        changes: list[Change] = []
        for operation in operations:
            if isinstance(operation, do.CreateTable):
                changes += self.create_table(operation)
            elif isinstance(operation, do.DropTable):
                # Nobody writes between the count of its rows and this, so `ForbidRows`
                # is nothing to do.
                changes += self.drop_table(operation)
            elif isinstance(operation, do.AddColumn):
                changes += self._add_column(operation)
            elif isinstance(operation, do.AddIndex):
                changes += self._index_statements(operation)
            elif isinstance(operation, do.DropIndex):
                changes.append(self._drop_index(operation.definition.name))
        return changes

    def _drop_index(self, name: str) -> Change:
        return Change(f"drop index {name}", f"DROP INDEX {self.quote(name)}")

    def _drop_column(self, operation: do.DropColumn) -> Iterator[Change]:
        """Drop the indexes that a column still has, then the column."""
        for index in operation.indexes:
            if not index.is_constraint:
                yield self._drop_index(index.name)
        column = self.quote(operation.column.name)
        sql = self.alter_table(operation.table, [f"DROP COLUMN {column}"])
        change = Change(operation.description, sql)
        yield self._blocking_writes(change, operation.table)

    def _refuse_what_breaks(
        self, operation: do.DropColumn, definition: NewDefinition
    ) -> None:
        """Refuse to drop what a foreign key or a generated column needs.

        SQLite would drop the parent of a foreign key all the same.
        """
        sql = (
            f"SELECT DISTINCT m.name FROM {REFERRING_TABLES} "
            'AND f."to" = ?2 COLLATE NOCASE'
        )
        current = self.current_table(operation.table)
        names = (current, operation.column.current_name)
        managed = self.models.managed_or_old
        found = [
            f"foreign key of {name}"
            for (name,) in self.session.query(sql, names)
            if self.catalog.table_key(name) not in managed
        ]
        found += self.generated_from(operation, definition.generated_columns())
        self.refuse_to_drop(operation, found)

    def _add_column(self, operation: do.AddColumn) -> Iterator[Change]:
        table, column = operation.table, operation.column
        if column.backfill is None:
            definition = self.column_definition(table, column)
        else:
            definition = self.bare_definition(table, column, column.name)
        sql = self.alter_table(table, [f"ADD COLUMN {definition}"])
        yield Change(f"add column {column.name}", sql)
        if column.backfill is not None:
            yield self._fill(table, column.name, column.backfill)

    def _fill(self, table: str, name: str, value: str) -> Change:
        """Fill a column; it is in the transaction of the whole plan."""
        change = Change(f"fill {name}", self.fill_statement(table, name, value))
        return self._blocking_writes(change, table)

    def _blocking_writes(self, change: Change, table: str) -> Change:
        """Return a change that takes longer the more rows a table has."""
        if self.has_rows(table):
            return change._replace(blocks="writes")
        return change

    def _index_statements(self, operation: do.AddIndex) -> Iterator[Change]:
        create = self.create_index(operation)
        if operation.replaces is not None:
            drop = f"DROP INDEX {self.quote(operation.replaces.name)}"
            yield Change(f"drop index {operation.definition.name}", drop)
        yield create

    def create_index(self, operation: do.AddIndex) -> Change:
        table = operation.table
        if not operation.definition.name:
            name = self._name_for_unique(table, operation.definition)
            definition = operation.definition._replace(name=name)
            operation = operation._replace(definition=definition)
        self._refuse_taken_name(operation.definition.name, table)
        return self._blocking_writes(super().create_index(operation), table)

    def _name_for_unique(self, table: str, index: Index) -> str:
        """Return a name for the index in place of a UNIQUE constraint without one."""
        columns = [self.declared(table).columns[key].name for key in index.columns]
        base = f"{table}_{'_'.join(columns)}_key"
        sql = "SELECT 1 FROM main.sqlite_master WHERE name = ? COLLATE NOCASE"
        name = base
        number = 0
        while self.stored_schema.query(sql, (name,)):
            number += 1
            name = f"{base}{number}"
        return name

    def _refuse_taken_name(self, name: str, table: str) -> None:
        """Refuse to create for a table what has the name of something of another table.

        Tables and indexes of a schema share their names.
        """
        found = self.stored_schema.query(
            "SELECT type, tbl_name FROM (SELECT * FROM main.sqlite_master "
            "UNION ALL SELECT * FROM sqlite_temp_master) "
            "WHERE type <> 'trigger' AND name = ? COLLATE NOCASE "
            "AND tbl_name <> ? COLLATE NOCASE",
            (name, table),
        )
        for kind, owner in found:
            raise ChangeRefused(
                f"the name {name} belongs to the {kind} of {owner}; "
                "rename or drop it first, then run again"
            )

    # -- the edit

    def _edit_statements(
        self, table: Table, definition: NewDefinition
    ) -> Iterator[Change]:
        text = literal(f"CREATE TABLE {self.quote(table.name)} {definition.sql()}")
        condition = f"type = 'table' AND name = {literal(table.name)}"
        version = self.session.database.pragma("schema_version")
        version += _SCHEMA_VERSION_STEP
        steps = {
            "set writable_schema": "PRAGMA writable_schema = ON",
            "replace it": (
                f"UPDATE main.sqlite_master SET sql = {text} WHERE {condition}"
            ),
            "reset writable_schema": "PRAGMA writable_schema = OFF",
            # Every connection then reads the schema again.
            "increase schema_version": f"PRAGMA schema_version = {version}",
        }
        for step, sql in steps.items():
            yield Change(f"edit the definition of {table.name}: {step}", sql)

    # -- the rebuild

    def _rebuild_statements(
        self, table: Table, definition: NewDefinition
    ) -> list[Change]:
        self._refuse_rebuild(table, definition)
        definition.add_unique_constraints()
        rows = self.catalog.count(table.current_name)
        blocks = self._blocked_by_rebuild(rows)
        changes = []
        for step, sql in self._rebuild_steps(table, definition, rows):
            change = Change(f"rebuild {table.name}: {step}", sql, blocks)
            changes.append(change)
        return changes

    def _blocked_by_rebuild(self, rows: int) -> str | None:
        if not rows:
            return None
        if self.session.database.pragma("journal_mode") == "wal":
            return "writes"
        return "reads and writes"

    def _rebuild_steps(
        self, table: Table, definition: NewDefinition, rows: int
    ) -> Iterator[tuple[str, str]]:
        """Yield what each statement does, and the statement."""
        new_name = table.name + _NEW_TABLE
        new = self.quote(new_name)
        old = self.quote(table.name)
        targets, sources = self._copied_columns(table, definition)
        step = ", ".join(["create the new table", *definition.descriptions_of_drops])
        yield step, f"CREATE TABLE {new} {definition.sql()}"
        yield (
            f"copy {plural(rows, 'row')}",
            f"INSERT OR ABORT INTO {new} ({', '.join(targets)}) "
            f"SELECT {', '.join(sources)} FROM {old}",
        )
        if definition.has_autoincrement:
            # Copying the rows restores only the highest id that is still there.
            highest = (
                f"SELECT seq FROM sqlite_sequence WHERE name = {literal(table.name)}"
            )
            yield (
                "keep the highest id ever used",
                f"UPDATE sqlite_sequence SET seq = coalesce(({highest}), seq) "
                f"WHERE name = {literal(new_name)}",
            )
        statistics = self._statistics_tables(table)
        lost = definition.indexes_without_statistics(table)
        for name in statistics:
            # DROP TABLE deletes what ANALYZE has found out about the table.
            moved = f"UPDATE main.{name} SET tbl = {literal(new_name)} "
            moved += f"WHERE tbl = {literal(table.name)}{lost}"
            yield "keep the statistics", moved
        yield "drop the old table", f"DROP TABLE {old}"
        yield "rename the new table", f"ALTER TABLE {new} RENAME TO {old}"
        for name in statistics:
            moved = f"UPDATE main.{name} SET tbl = {literal(table.name)} "
            moved += f"WHERE tbl = {literal(new_name)}"
            yield "restore the statistics", moved
        yield from self._restored_objects(table, definition)

    def _copied_columns(
        self, table: Table, definition: NewDefinition
    ) -> tuple[list[str], list[str]]:
        """Return the columns of the new table that get values, and these values."""
        targets = []
        sources = []
        rowid = self._copied_rowid(table, definition)
        if rowid is not None:
            targets.append(rowid.target)
            sources.append(rowid.source)
        for name, column in table.columns.items():
            if name in definition.dropped:
                continue
            if not column.generated or name in definition.altered:
                source = self.quote(column.name)
                targets.append(source)
                if name in definition.filled:
                    source = f"coalesce({source}, ({definition.filled[name]}))"
                sources.append(source)
        for name, value in definition.filled.items():
            if name not in table.columns:
                targets.append(self.quote(name))
                sources.append(f"({value})")
        return targets, sources

    def _copied_rowid(
        self, table: Table, definition: NewDefinition
    ) -> _CopiedRowid | None:
        """Return how rows keep their rowids; None if a key is the rowid, or none is.

        Other tables may refer to rows by it, as an FTS5 table with external content
        does: https://sqlite.org/fts5.html#external_content_tables
        """
        name = self._rowid_name(table)
        if definition.was_without_rowid or not name:
            return None
        if definition.added_id:  # the rowid becomes the id
            return _CopiedRowid(self.quote(definition.added_id), name)
        if definition.has_rowid_key(table):
            return None
        return _CopiedRowid(name, name)

    def _rowid_name(self, table: Table) -> str:
        """Return a name of the rowid, before and after the rebuild; "" if none."""
        declared = self.declared(self.catalog.table_key(table.name))
        return rowid_name([*table.columns, *declared.columns])

    def _statistics_tables(self, table: Table) -> list[str]:
        """Return the tables that hold statistics of a table, as ANALYZE made them."""
        stored = self.session.query(
            "SELECT name FROM main.sqlite_master "
            "WHERE type = 'table' AND name GLOB 'sqlite_stat[134]' ORDER BY name"
        )
        found = []
        for (name,) in stored:
            rows = f"SELECT 1 FROM main.{name} WHERE tbl = ? LIMIT 1"
            if self.session.query(rows, (table.current_name,)):
                found.append(name)
        return found

    def _refuse_rebuild(self, table: Table, definition: NewDefinition) -> None:
        pragma = self.session.database.pragma
        if self.session.in_transaction() and pragma("foreign_keys"):
            # DROP TABLE would delete the rows of child tables.
            raise ChangeRefused(
                f"{table.name} has to be rebuilt, which is not safe inside a "
                "transaction that enforces foreign keys; run the migration outside of "
                "it, or execute PRAGMA foreign_keys = OFF before it begins"
            )
        self._refuse_taken_name(table.name + _NEW_TABLE, "")
        current_key = tuple(table.column_of_part(part) for part in table.primary_key)
        if definition.gives_new_rowids(table):
            self._refuse_new_rowids(table)
        if not definition.primary_key or not current_key:
            return
        if definition.primary_key != current_key:
            self._refuse_implicit_references(table, definition.primary_key)

    def _refuse_new_rowids(self, table: Table) -> None:
        """Refuse to change rowids by which an FTS table finds its content.

        An id that becomes the rowid may have the same values; then nothing changes.
        """
        declared = self.declared(self.catalog.table_key(table.name))
        (key,) = declared.primary_key
        name = self._rowid_name(table)
        if not name or key not in table.columns:
            return
        key = self.quote(table.columns[key].current_name)
        source = self.quote(table.current_name)
        differs = f"SELECT 1 FROM {source} WHERE {key} <> {name}"
        if not self.session.query(f"{differs} LIMIT 1"):
            return
        for other, sql in self._virtual_tables():
            if refers_to_rowids(sql, table.current_name):
                raise ChangeRefused(
                    f"the virtual table {other} finds rows of {table.name} by their "
                    f"rowid, which would become {key}; drop it, run again, then "
                    "create it again"
                )

    def _refuse_implicit_references(
        self, table: Table, primary_key: Sequence[str]
    ) -> None:
        """Refuse to change a primary key to which keys without columns refer."""
        sql = f'SELECT m.name FROM {REFERRING_TABLES} AND f."to" IS NULL'
        for (other,) in self.stored_schema.query(sql, (table.name,)):
            raise ChangeRefused(
                f"the primary key of {table.name} has to become "
                f"{', '.join(primary_key)}, and the table {other} refers to the "
                "current one; name the column in that reference, then run again"
            )

    def _restored_objects(
        self, table: Table, definition: NewDefinition
    ) -> Iterator[tuple[str, str]]:
        """Yield the indexes and triggers that are dropped with the old table and kept.

        Temporary triggers are among them; their stored text does not say TEMP.
        """
        gone = {name_key(index.name) for index in definition.added_indexes}
        for column in definition.dropped:
            gone |= {name_key(index.name) for index in table.indexes_with(column)}
        gone |= set(definition.dropped_indexes)
        of_table = (
            "tbl_name = ?1 COLLATE NOCASE AND type IN ('index', 'trigger') "
            "AND sql IS NOT NULL"
        )
        stored = self.stored_schema.query(
            f"SELECT type, name, sql FROM main.sqlite_master WHERE {of_table} "
            "UNION ALL SELECT type, name, 'CREATE TEMP' || substr(sql, 7) "
            f"FROM sqlite_temp_master WHERE {of_table}",
            (table.name,),
        )
        for kind, name, sql in stored:
            if kind == "trigger":
                yield f"restore trigger {name}", sql
            elif name_key(name) not in gone:
                yield f"restore index {name}", with_closed_comment(sql)


def _keys_of_dropped_tables(operations: Iterable[Operation]) -> list[Operation]:
    """Return the operations that drop a foreign key of a table that is dropped."""
    operations = list(operations)
    tables = {each.table for each in operations if isinstance(each, do.DropTable)}
    return [
        each
        for each in operations
        if isinstance(each, do.DropForeignKey) and each.table in tables
    ]


def _needs_no_definition(operation: Operation) -> bool:
    """Whether DROP TABLE or CREATE INDEX is enough."""
    if isinstance(operation, do.AddIndex):
        return operation.replaces is None and not operation.definition.is_constraint
    if isinstance(operation, do.DropIndex):
        return not operation.definition.is_constraint
    return isinstance(operation, do.ForbidRows | do.DropTable)


def _changes_values(operation: do.AlterColumn) -> bool:
    """Whether a change of a column's type changes its stored values."""
    if not operation.changes_type:
        return False
    actual = operation.actual
    if actual.generated or operation.changes_collation:
        return True
    return affinity(actual.type.text) != affinity(operation.column.type.text)


def _is_edit(operation: Operation) -> bool:
    """Whether an operation changes the stored definition and has no statement."""
    if isinstance(operation, do.AddColumn):
        column = operation.column
        if column.backfill is None:
            return False
        # It was added without all of this.
        return not column.null or column.default is not None or bool(operation.checks)
    edits = do.AlterColumn | do.AddCheck | do.AddForeignKey
    return isinstance(operation, edits | do.DropCheck | do.DropForeignKey)
