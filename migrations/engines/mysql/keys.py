"""What foreign keys and indexes ask of columns on InnoDB, and what of it cannot be had."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from migrations.engines.mysql.values import STRINGS
from migrations.operations import AddForeignKey, AddIndex, AlterColumn, DropForeignKey, Operation, SetPrimaryKey
from migrations.report import Refused
from migrations.schema import Column, ForeignKey, Schema, Table

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
        declared, parent = self.declared(table).columns[column], self.parent_of(table, column)
        if there and there.type.holds(declared.type):
            declared = declared._replace(type=there.type)
        own = there.collation if there else self.engine.server.collation
        collation = parent.collation if parent else own
        return declared._replace(collation=collation if declared.type.family in STRINGS else None)

    # -- what is to be done besides

    def besides(self, operations: Sequence[Operation]) -> Iterator[Operation]:
        """Yield the operations without which others cannot be done, or would undo something."""
        for each in operations:
            if isinstance(each, AddForeignKey) and each.table in self.schema:
                yield from self._matched(each)
            elif isinstance(each, AddIndex):
                yield from self._upheld(each.table, each.wanted.columns, operations)
            elif isinstance(each, SetPrimaryKey):
                yield from self._upheld(each.table, each.columns, operations)
            elif isinstance(each, AlterColumn) and "null" in each.what and not each.column.null:
                for key in self.schema[each.table].foreign_keys:  # what sets NULL keeps a column nullable
                    if each.column.name in key.columns and "SET NULL" in (key.on_delete, key.on_update):
                        yield DropForeignKey(each.table, key)

    def _matched(self, operation: AddForeignKey) -> Iterator[AlterColumn]:
        """InnoDB compares the character set, the collation, and the size and sign of an integer to the letter."""
        for name in operation.key.columns:
            there, declared = (table.columns.get(name) for table in (self.schema[operation.table],
                                                                     self.declared(operation.table)))  # fmt: skip
            parent = self.parent_of(operation.table, name)
            if there and declared and parent and shape(there) != shape(parent):
                yield AlterColumn(operation.table, declared, there, frozenset({"type"}))

    def _upheld(self, table: str, columns: Sequence[str], operations: Sequence[Operation]) -> Iterator[AddIndex]:
        """An index that InnoDB made for a foreign key goes without a word once a longer one begins with its
        columns; where it does the work of a declared one, that one has to come."""
        for index in self.declared(table).indexes:
            is_shorter = index.columns == columns[: len(index.columns)] and index.columns != columns
            added = AddIndex(table, index)
            if is_shorter and not self.schema[table].index_named(index.name) and added not in operations:
                yield added

    # -- what cannot be had, whatever the rows

    def is_too_long(self, column: Column) -> bool:
        """Whether a column is longer than a key may be."""
        of_character = _BYTES.get(self.engine.server.collation.partition("_")[0], 1)
        return (column.type.size or 0) * (of_character if column.type.family in STRINGS else 1) > _LONGEST

    def demand_short(self, table: Table, name: str, columns: Sequence[str]) -> None:
        """Refuse a key that is too long; MariaDB would cut it short without a word."""
        for column in columns:
            if self.is_too_long(table.columns[column]):
                raise Refused(
                    f"{table.name}.{column}: {table.columns[column].type.text} is too long here for {name}; give the "
                    f"field a length of at most {_LONGEST // 4}"
                )

    def demand_referable(self, table: str, key: ForeignKey) -> None:
        """Refuse a foreign key to what none can refer to."""
        where = f"{table}.{', '.join(key.columns)}"
        if key.table in self.schema and self.schema[key.table].kind == "partitioned table":
            raise Refused(f"{where}: no foreign key can refer to {key.table}, which is a partitioned table")
        for name in key.columns:
            parent, column = self.parent_of(table, name), self.declared(table).columns.get(name)
            if parent and column and parent.type.family == "integer" and not parent.type.holds(column.type):
                wanted = f"{key.table}.{parent.name} is {parent.type.text}, narrower than {column.type}"
                raise Refused(f"{where} cannot be as declared: {wanted}; make it as wide")

    def demand_alterable(self, operation: AlterColumn) -> None:
        """Refuse to make something else of what is to stay as it is computed, or of a default that does not convert."""
        actual, wanted = operation.actual, operation.column.type
        where = f"{operation.table}.{actual.name}"
        if actual.generated and "VIRTUAL" in self.engine.clauses(operation.table, actual.name)["GENERATED"]:
            raise Refused(f"{where} is a generated column, which stays one as long as it is VIRTUAL; drop it first")
        if actual.default and operation.what == {"type"} and not actual.type.holds(wanted):
            lost = self.engine.unconvertible(actual.default, actual.type, wanted)
            if self.engine.query(f"SELECT {lost}")[0][0]:
                raise Refused(f"{where} has a DEFAULT {actual.default}, which is no {wanted}; drop that default first")

    def demand_no_other_counts(self, table: str, ours: Sequence[str]) -> None:
        """Refuse a key that counts beside a column of a user's own that does."""
        for name, column in self.schema[table].columns.items():
            if column.automatic and name not in ours:
                raise Refused(f"{table}.{column.name} counts by itself, and no second one can; make it a plain column")


def shape(column: Column) -> object:
    """Return what has to be the same on both ends of a foreign key."""
    if column.type.family == "integer":
        return column.type.size, "unsigned" in column.type.text.lower()
    return column.collation
