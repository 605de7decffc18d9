"""The statements of a plan on SQLite, table by table.

What `ALTER TABLE` and `CREATE INDEX` do is done by them. Else the text of the table is written anew:

    edit:    open the schema -> replace the text -> close it -> tell every connection
    rebuild: create new -> copy the rows -> drop old -> rename new -> indexes, triggers, sequence

An edit is for what the stored rows know nothing of, and costs the same however many there are. What it
demands of them was proven before, under the same lock: once the text says NOT NULL, SQLite no longer looks.
See https://sqlite.org/lang_altertable.html#otheralter. Peewee's rebuild loses triggers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

import peewee

from migrations import operations as do
from migrations.engines.sqlite.catalogue import REFERRING, affinity
from migrations.engines.sqlite.text import Definition, uncommented
from migrations.engines.statements import Statements
from migrations.operations import Operation
from migrations.report import Change, Refused
from migrations.schema import UTC_NOW, Table, literal

if TYPE_CHECKING:
    from migrations.engines.sqlite.engine import SQLite

_NEW = "__new"
_FURTHER = 100  # than one: whoever runs a script later finds no connection that knows the schema by this number


class SQLiteStatements(Statements):
    """The statements of one plan."""

    engine: SQLite

    def of(self, operations: Sequence[Operation]) -> list[Change]:
        changes: list[Change] = []
        for name in dict.fromkeys(each.table for each in operations):
            changes += self._of_table(name, [each for each in operations if each.table == name])
        if not any(change.description.startswith("rebuild ") for change in changes):
            return changes
        around = [("foreign_keys", "OFF", "ON")] * self.engine.enforced + [("legacy_alter_table", "ON", "OFF")]
        return [
            *(Change("prepare the rebuild", f"PRAGMA {name} = {on}", alone=True) for name, on, _ in around),
            *changes,
            *(Change("end the rebuild", f"PRAGMA {name} = {off}", alone=True) for name, _, off in around),
        ]

    def _of_table(self, name: str, operations: list[Operation]) -> list[Change]:
        table = self.schema.get(name)
        if table is None:
            self.engine.refuse_taken(name, name)
        if table is None or isinstance(operations[0], do.DropTable):
            return super().of(operations)
        indexes = [each for each in operations if isinstance(each, do.AddIndex)]
        if indexes == operations and not any(each.wanted.constraint or each.instead_of for each in indexes):
            return super().of(operations)
        definition = Definition(self, table, operations)
        columns = [each for each in operations if isinstance(each, do.AddColumn)]
        edited = [each for each in operations if isinstance(each, (do.AlterColumn, do.AddCheck, do.AddForeignKey))]
        moves = definition.loses_unique or any(map(self._moves, operations))
        if moves or (edited and not self._can_edit):
            # What one stood for went with the old table.
            made = [each._replace(instead_of=None) for each in indexes if not each.wanted.constraint]
            return [*self._rebuild(table, definition), *super().of(made)]
        edit = self._edit(table, definition) if edited else ()
        return [*super().of(columns), *edit, *super().of(indexes)]

    def _moves(self, operation: Operation) -> bool:
        """Whether the stored rows have to change, or what is stored beside them."""
        if isinstance(operation, do.AddColumn):
            default = operation.column.default
            given = operation.column.null if default is None else self.engine.default_meaning(default) != UTC_NOW
            return operation.column.automatic or not given
        if isinstance(operation, do.AlterColumn) and "type" in operation.what:
            actual = operation.actual
            return actual.generated or affinity(actual.type.text) != affinity(operation.column.type.text)
        return isinstance(operation, do.SetPrimaryKey)

    @cached_property
    def _can_edit(self) -> bool:
        """Whether the connection may write to the schema, found out without writing: not in defensive mode.

        Before 3.34 a connection does not notice its own edit.
        """
        if self.engine.database.server_version < (3, 34):
            return False
        with self.engine.pragmas(writable_schema=1), suppress(peewee.DatabaseError):
            return bool(self.engine.query("EXPLAIN UPDATE main.sqlite_master SET sql = sql"))
        return False

    # -- the edit

    def _edit(self, table: Table, definition: Definition) -> Iterator[Change]:
        text = literal(f"CREATE TABLE {self.quote(table.name)} {definition}")
        this = f"type = 'table' AND name = {literal(table.name)}"
        version = self.engine.database.pragma("schema_version") + _FURTHER
        for how, sql in (
            ("open the schema", "PRAGMA writable_schema = ON"),
            ("replace the text", f"UPDATE main.sqlite_master SET sql = {text} WHERE {this}"),
            ("close the schema", "PRAGMA writable_schema = OFF"),
            ("tell every connection", f"PRAGMA schema_version = {version}"),
        ):
            yield Change(f"edit {table.name}: {how}", sql)

    # -- the rebuild

    def _rebuild(self, table: Table, definition: Definition) -> list[Change]:
        self._refuse_rebuild(table, definition)
        for index in definition.indexes:
            if index.constraint:
                definition.constraints.append(f"CONSTRAINT {self.quote(index.name)} UNIQUE {self.names(index.columns)}")
        new, old, rows = self.quote(table.name + _NEW), self.quote(table.name), self.engine.count(table.name)
        copied = [each.name for key, each in table.columns.items() if not each.generated or key in definition.altered]
        names, holds_up = ", ".join(map(self.quote, copied)), None
        if rows:  # with a write-ahead log, readers go on
            holds_up = "writers" if self.engine.database.pragma("journal_mode") == "wal" else "everybody"
        changes = [
            ("create its replacement", f"CREATE TABLE {new} {definition}"),
            (f"copy {rows:,} rows", f"INSERT OR ABORT INTO {new} ({names}) SELECT {names} FROM {old}"),
            ("drop the old table", f"DROP TABLE {old}"),
            ("give the replacement its name", f"ALTER TABLE {new} RENAME TO {old}"),
            *self._restored(table, definition),
        ]
        if definition.lasts:  # copying the rows restores only the highest that is left
            last = f"SELECT seq FROM sqlite_sequence WHERE name = {literal(table.name)}"
            kept = f"UPDATE sqlite_sequence SET seq = coalesce(({last}), seq) WHERE name = {literal(table.name + _NEW)}"
            changes.insert(2, ("keep the highest id ever given out", kept))
        return [Change(f"rebuild {table.name}: {what}", sql, holds_up) for what, sql in changes]

    def _refuse_rebuild(self, table: Table, definition: Definition) -> None:
        if self.engine.in_transaction() and self.engine.database.pragma("foreign_keys"):
            raise Refused(  # to drop the old table would delete the rows of those that refer to it
                f"{table.name} has to be rebuilt, which is not safe inside a transaction that enforces foreign "
                "keys; run the migration outside of it, or execute PRAGMA foreign_keys = OFF before it begins"
            )
        self.engine.refuse_taken(table.name + _NEW)
        key = tuple(column.partition(" ")[0] for column in table.primary_key)
        if not definition.key or key in ((), definition.key):
            return
        for (other,) in self.engine.query(f'SELECT m.name FROM {REFERRING} AND f."to" IS NULL', (table.name,)):
            raise Refused(
                f"the primary key of {table.name} has to become {', '.join(definition.key)}, and the table {other} "
                "refers to the one that it has; name the column in that reference first"
            )

    def _restored(self, table: Table, definition: Definition) -> Iterator[tuple[str, str]]:
        """Yield the indexes and triggers that go with the old table and stay as they are, temporary ones too."""
        mended = {index.name for index in definition.indexes}
        of_table = "tbl_name = ?1 COLLATE NOCASE AND type IN ('index', 'trigger') AND sql IS NOT NULL"
        for kind, name, sql in self.engine.query(
            f"SELECT type, name, sql FROM main.sqlite_master WHERE {of_table} UNION ALL "  # which does not say TEMP
            f"SELECT type, name, 'CREATE TEMP' || substr(sql, 7) FROM sqlite_temp_master WHERE {of_table}",
            (table.name,),
        ):
            if kind == "trigger":
                yield f"restore trigger {name}", sql
            elif name.lower() not in mended:
                yield f"restore index {name}", uncommented(sql)  # one at the end would swallow a script's semicolon

    # -- operations

    def add_column(self, operation: do.AddColumn) -> Iterator[Change]:
        definition = self.definition(operation.table, operation.column)
        yield Change(f"add column {operation.column.name}", f"{self.alter(operation.table)} ADD COLUMN {definition}")

    def add_index(self, operation: do.AddIndex) -> Iterator[Change]:
        index, name = operation.wanted, operation.table
        self.engine.refuse_taken(index.name, name)
        if operation.instead_of:
            yield Change(f"drop index {index.name}", self.by_peewee("drop_index", name, operation.instead_of.name))
        holds_up = "writers" if name in self.schema and self.engine.count(name, 1) else None
        for change in super().add_index(operation):
            yield change._replace(holds_up=holds_up)
