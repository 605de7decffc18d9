"""The statements of a plan on SQLite, table by table.

What `ALTER TABLE` and `CREATE INDEX` do is done by them. Else the text of the table is written anew, and
edited in place where the stored rows are not touched, or the table is rebuilt: see `rebuild.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from migrations import operations as do
from migrations.engines.sqlite.catalogue import affinity
from migrations.engines.sqlite.definition import Definition, bare
from migrations.engines.sqlite.rebuild import edit, rebuild
from migrations.engines.statements import Statements
from migrations.operations import Operation
from migrations.report import Change
from migrations.schema import UTC_NOW, Table

if TYPE_CHECKING:
    from migrations.engines.sqlite.engine import SQLite


class SQLiteStatements(Statements):
    """The statements of one plan."""

    engine: SQLite

    def of(self, operations: Sequence[Operation]) -> list[Change]:
        changes: list[Change] = []
        for name in dict.fromkeys(each.table for each in operations):
            changes += self._of_table(name, [each for each in operations if each.table == name], len(changes))
        if not any(change.description.startswith("rebuild ") for change in changes):
            return changes
        around = [("legacy_alter_table", "ON", "OFF")]
        if self.engine.enforced:
            around.insert(0, ("foreign_keys", "OFF", "ON"))
        prepare = [Change("prepare the rebuild", f"PRAGMA {name} = {on}", alone=True) for name, on, _ in around]
        return prepare + changes + [
            Change("end the rebuild", f"PRAGMA {name} = {off}", alone=True) for name, _, off in around
        ]  # fmt: skip

    def _of_table(self, name: str, operations: list[Operation], before: int) -> list[Change]:
        table = self.schema.get(name)
        if table is None or isinstance(operations[0], do.DropTable):
            return super().of(operations)
        operations = [self._whole(each, table) for each in operations]
        rewritten = [each for each in operations if not self._is_altered(each)]
        rest = [each for each in operations if each not in rewritten]
        if all(self._is_edited(each) for each in rewritten) and (not rewritten or self._can_edit):
            columns = super().of([each for each in rest if isinstance(each, do.AddColumn)])
            in_text = [each for each in operations if not isinstance(each, do.AddIndex)]
            edited = list(edit(self, table, in_text, before + len(columns))) if rewritten else []
            return columns + edited + super().of([each for each in rest if isinstance(each, do.AddIndex)])
        indexes = [each for each in operations if isinstance(each, do.AddIndex) and not each.wanted.constraint]
        made = [each._replace(instead_of=None) for each in indexes]  # what it stood for went with the old table
        return [*rebuild(self, table, operations), *super().of(made)]

    # -- which way

    def _whole(self, operation: Operation, table: Table) -> Operation:
        """Return an operation with the constraint that it has to take the place of: one without a name, under
        which a duplicate is no error."""
        if isinstance(operation, do.AddIndex) and operation.wanted.constraint and operation.instead_of is None:
            for each in table.indexes:
                if each.constraint and bare(each.columns) == operation.wanted.columns:
                    return operation._replace(instead_of=each)
        return operation

    def _is_altered(self, operation: Operation) -> bool:
        """Whether `ALTER TABLE` or `CREATE INDEX` does it."""
        if isinstance(operation, do.AddIndex):
            return not (operation.instead_of and operation.instead_of.constraint)
        if not isinstance(operation, do.AddColumn) or operation.key:
            return False
        default = operation.column.default
        changing = default is not None and self.engine.default_meaning(default) == UTC_NOW
        return not changing and (operation.column.null or default is not None)

    def _is_edited(self, operation: Operation) -> bool:
        """Whether the stored rows know nothing of it."""
        if isinstance(operation, do.AlterColumn) and "type" in operation.what:
            actual, column = operation.actual, operation.column
            same = affinity(actual.type.text.partition(" ON CONFLICT ")[0]) == affinity(column.type.text)
            return same and not actual.generated and not column.automatic
        return isinstance(operation, (do.AlterColumn, do.AddCheck, do.AddForeignKey))

    @cached_property
    def _can_edit(self) -> bool:
        """Whether the connection may write to the schema, found out without writing: in defensive mode, the
        pragma stays off.

        Before 3.34 a connection does not notice its own edit.
        """
        if self.engine.database.server_version < (3, 34):
            return False
        with self.engine.pragmas(writable_schema=1):
            return bool(self.engine.database.pragma("writable_schema"))

    def _holds_rows(self, table: str) -> bool:
        return bool(self.engine.count(table, 1))

    @cached_property
    def rebuild_holds_up(self) -> str:
        """Whom a rebuild keeps waiting: with a write-ahead log, readers go on."""
        return "writers" if self.engine.database.pragma("journal_mode") == "wal" else "everybody"

    # -- operations

    def create_table(self, operation: do.CreateTable) -> Iterator[Change]:
        self.engine.refuse_taken(operation.table, operation.table)
        yield from super().create_table(operation)

    def add_column(self, operation: do.AddColumn) -> Iterator[Change]:
        table, definition = self.schema[operation.table], self.definition(operation.table, operation.column)
        str(Definition(self, table, self.engine.text_of(table), [operation]))  # which refuses a STRICT table
        yield Change(f"add column {operation.column.name}", f"{self.alter(table.name)} ADD COLUMN {definition}")

    def add_index(self, operation: do.AddIndex) -> Iterator[Change]:
        index, there = operation.wanted, self.schema.get(operation.table)
        name = there.name if there else operation.table
        self.engine.refuse_taken(index.name, name)
        if operation.instead_of:
            drop = f"DROP INDEX {self.quote(operation.instead_of.name)}"  # Peewee 4.0's own cannot be shown, only run
            yield Change(f"drop index {index.name}", drop)
        kind = "UNIQUE INDEX" if index.unique else "INDEX"
        sql = f"CREATE {kind} {self.quote(index.name)} ON {self.quote(name)} {self.names(index.columns)}"
        holds_up = "writers" if there and self._holds_rows(name) else None
        yield Change(f"create {kind.lower()} {index.name}", sql, holds_up)

    def words_for(self, operation: Operation) -> str:
        """Return what an operation does to the text of a table."""
        if isinstance(operation, do.AlterColumn):
            what = " and the ".join(sorted(operation.what)).replace("null", "nullability")
            return f"correct the {what} of {operation.column.name}"
        if isinstance(operation, do.AddForeignKey):
            return f"add the foreign key of {', '.join(operation.key.columns)}"
        return f"add constraint {operation.check.name}" if isinstance(operation, do.AddCheck) else "add columns"
