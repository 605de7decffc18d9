"""What foreign keys and indexes ask of columns on InnoDB, and what of it cannot be had."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from migrations.engines.mysql.values import STRINGS
from migrations.operations import (
    AddColumn,
    AddForeignKey,
    AddIndex,
    AlterColumn,
    CreateTable,
    DropForeignKey,
    Operation,
    SetPrimaryKey,
)
from migrations.schema import Column, ForeignKey, Index, Schema, Table

if TYPE_CHECKING:
    from migrations.engines.mysql.engine import MySQL


_LONGEST = 3072  # bytes of a key
_BYTES = {"utf8mb4": 4, "utf8mb3": 3, "utf8": 3}  # of a character; 1 is what no other has less of


class Keys:
    """A plan's keys: `schema` is what the database has, the declared tables what it will have."""

    def __init__(self, engine: MySQL, schema: Schema) -> None:
        self.engine, self.schema = engine, schema

    def declared(self, table: str) -> Table:
        """Return a table as its model declares it."""
        return self.engine.declared(self.engine.models[table])

    def parent_of(self, table: str, column: str) -> Column | None:
        """Return the column that a declared foreign key of a column refers to, as it will be."""
        for key in self.declared(table).foreign_keys:
            if column in key.columns:
                return self._as_it_will_be(key.table, key.target[key.columns.index(column)])
        return None

    def _as_it_will_be(self, table: str, column: str) -> Column | None:
        there = self.schema[table].columns.get(column) if table in self.schema else None
        if table not in self.engine.builds:
            return there
        declared = self.declared(table).columns[column]
        if there and there.type.holds(declared.type):
            declared = declared._replace(type=there.type)
        parent, is_text = self.parent_of(table, column), declared.type.family in STRINGS
        own = there.collation if there else self.engine.server.collation * is_text or None
        return declared._replace(collation=parent.collation if parent else own)

    def rematched(self, operations: Iterable[Operation]) -> Iterator[AlterColumn]:
        """Yield what makes columns what the keys need that they are to refer to: InnoDB compares the character
        set, the collation, and the size and sign of an integer to the letter."""
        for operation in operations:
            if not isinstance(operation, AddForeignKey) or operation.table not in self.schema:
                continue
            for name in operation.key.columns:
                there = self.schema[operation.table].columns.get(name)
                parent = self.parent_of(operation.table, name)
                declared = self.declared(operation.table).columns.get(name)
                if there and parent and declared and not _fits(there, parent):
                    yield AlterColumn(operation.table, declared, there, frozenset({"type"}))

    def released(self, operations: Sequence[Operation]) -> list[Operation]:
        """Return the operations with a key that sets NULL dropped before its column becomes NOT NULL."""
        dropped: list[Operation] = []
        for operation in operations:
            if isinstance(operation, AlterColumn) and "null" in operation.what and not operation.column.null:
                for key in self.schema[operation.table].foreign_keys:
                    if operation.column.name in key.columns and "SET NULL" in (key.on_delete, key.on_update):
                        dropped.append(DropForeignKey(operation.table, key))
        gone = {each.key for each in dropped}
        kept = [
            each._replace(instead_of=tuple(key for key in each.instead_of if key not in gone))
            if isinstance(each, AddForeignKey) else each
            for each in operations
        ]  # fmt: skip
        return [*dropped, *kept]

    def impossible(self, operations: Iterable[Operation]) -> Iterator[str]:
        """Yield a line for each operation that InnoDB refuses, whatever the rows."""
        for operation in operations:
            table = self.declared(operation.table)
            if isinstance(operation, CreateTable):
                yield from self._unindexable(table, table.indexes, table.primary_key)
                yield from (line for key in table.foreign_keys for line in self._unreferable(table, key))
            elif isinstance(operation, AddIndex):
                yield from self._unindexable(table, [operation.wanted], ())
            elif isinstance(operation, AddForeignKey) and operation.key in table.foreign_keys:
                yield from self._unreferable(table, operation.key)
            elif isinstance(operation, AlterColumn):
                yield from self._unalterable(operation)
            elif isinstance(operation, SetPrimaryKey) or (isinstance(operation, AddColumn) and operation.key):
                yield from self._unkeyable(operation)

    def _unindexable(self, table: Table, indexes: Sequence[Index], primary: Sequence[str]) -> Iterator[str]:
        """MariaDB would cut a plain index short without a word; a unique one it keeps whole, as a hash."""
        hashes = self.engine.server.mariadb
        keys = [(index.name, index.columns) for index in indexes if not (index.unique and hashes)]
        for name, columns in [*keys, ("PRIMARY KEY", primary)]:
            for column in columns:
                if self.is_too_long(table.columns[column]):
                    yield (
                        f"{table.name}.{column}: {table.columns[column].type.text} is too long for {name} ({column}) "
                        f"here; give the field a length of at most {_LONGEST // 4}"
                    )

    def is_too_long(self, column: Column) -> bool:
        """Whether a column is longer than a key may be."""
        of_character = _BYTES.get(self.engine.server.collation.partition("_")[0], 1)
        bytes_ = (column.type.size or 0) * (of_character if column.type.family in STRINGS else 1)
        return bytes_ > _LONGEST

    def _unreferable(self, table: Table, key: ForeignKey) -> Iterator[str]:
        where = f"{table.name}.{', '.join(key.columns)}"
        if key.table in self.schema and self.schema[key.table].kind == "partitioned table":
            yield f"{where}: no foreign key can refer to {key.table}, which is a partitioned table"
        for name in key.columns:
            parent, column = self.parent_of(table.name, name), table.columns[name]
            if parent and parent.type.family == "integer" and not parent.type.holds(column.type):
                yield (
                    f"{where} has to be of the type of {key.table}.{parent.name}, {parent.type.text}, "
                    f"which is narrower than {column.type}"
                )

    def _unalterable(self, operation: AlterColumn) -> Iterator[str]:
        actual, wanted = operation.actual, operation.column.type
        where = f"{operation.table}.{actual.name}"
        if actual.generated and "VIRTUAL" in self.engine.clauses(operation.table, actual.name).get("GENERATED", ""):
            yield f"{where} is a generated column, which cannot become a plain one as long as it is VIRTUAL; drop it"
        if actual.default and operation.what == {"type"} and not actual.type.holds(wanted):
            lost = self.engine.unconvertible(actual.default, actual.type, wanted)
            if self.engine.query(f"SELECT {lost}")[0][0]:
                yield f"{where} has a DEFAULT {actual.default}, which is no {wanted}; drop that default"

    def _unkeyable(self, operation: AddColumn | SetPrimaryKey) -> Iterator[str]:
        ours = operation.columns if isinstance(operation, SetPrimaryKey) else (operation.column.name,)
        for name, column in self.schema[operation.table].columns.items():
            if column.automatic and name not in ours:
                yield f"{operation.table}.{column.name} counts by itself, and no second one can; make it a plain column"


def _fits(column: Column, parent: Column) -> bool:
    """Whether a column can refer to another without a change."""
    if column.type.family == parent.type.family == "integer":
        return column.type.size == parent.type.size and is_unsigned(column) == is_unsigned(parent)
    return column.collation == parent.collation


def is_unsigned(column: Column) -> bool:
    """Whether a column has no negative numbers."""
    return "unsigned" in column.type.text.lower()
