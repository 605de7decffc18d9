"""The statements of MariaDB: each commits by itself, so each is as much as one can be.

`playhouse.migrate` writes MODIFY without a column's collation, comment, CHECK and fractions of seconds, and
takes several statements where one does, between which a crash, or a writer, finds the table without a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from migrations import operations as do
from migrations.engines.mysql import catalogue
from migrations.engines.mysql.values import STRINGS
from migrations.engines.statements import Statements
from migrations.operations import Operation
from migrations.report import Change, Refused
from migrations.schema import UTC_NOW, Column, ForeignKey, Index, Table

if TYPE_CHECKING:
    from migrations.engines.mysql.engine import MySQL

_ONLINE = "ALGORITHM=INPLACE, LOCK=NONE"
_AS_UTC = Change("read timestamps as UTC", "SET time_zone = '+00:00'")
_ZERO = Change("keep an id of 0", "SET sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')")
_LONGEST = 3072  # bytes of a key
_BYTES = {"utf8mb4": 4, "utf8mb3": 3, "utf8": 3}  # of a character; 1 is what no other has less of


class MySQLStatements(Statements):
    """A plan's statements. What the server does not do beside writers copies the table, and locks them out."""

    engine: MySQL

    # -- columns as foreign keys want them

    def future(self, table: str, name: str) -> Column:
        """Return a column as it will be: a foreign key's has the size and sign of its parent's, or its collation."""
        there = self.schema[table].columns.get(name) if table in self.schema else None
        if there and table not in self.engine.builds:
            return there
        declared = self.declared(table)
        column = declared.columns[name]
        if there:
            type_ = there.type if there.type.holds(column.type) else column.type
            column = column._replace(type=type_, collation=there.collation)
        for key in declared.foreign_keys:
            if key.columns == (name,):
                parent = self.future(key.table, *key.target)
                if parent.type.family == "integer":
                    column = column._replace(type=parent.type)
                column = column._replace(collation=parent.collation or self.engine.collation)
        return column

    def besides(self, operations: Sequence[Operation]) -> Iterator[Operation]:
        """Yield the operations without which others cannot be done, or would undo something."""
        for each in operations:
            declared, there = self.declared(each.table), self.schema.get(each.table)
            if there and isinstance(each, do.AddForeignKey):
                for name in each.key.columns:
                    column = there.columns.get(name)
                    if column and _shape(column) != _shape(self.future(each.table, name)):
                        yield do.AlterColumn(each.table, declared.columns[name], column, frozenset({"type"}))
            elif there and isinstance(each, (do.AddIndex, do.SetPrimaryKey)):
                # An index that InnoDB made for a foreign key goes without a word once a longer one begins with its
                # columns; where it does the work of a declared one, that one has to come.
                columns = each.wanted.columns if isinstance(each, do.AddIndex) else each.columns
                for index in declared.indexes:
                    if index.columns == columns[: len(index.columns)] != columns and not there.index_named(index.name):
                        yield do.AddIndex(each.table, index)
            elif there and isinstance(each, do.AlterColumn) and "null" in each.what and not each.column.null:
                for key in there.foreign_keys:  # what sets NULL keeps a column nullable
                    if each.column.name in key.columns and "SET NULL" in (key.on_delete, key.on_update):
                        yield do.DropForeignKey(each.table, key)

    # -- the operations

    def of(self, operations: Sequence[Operation]) -> list[Change]:
        operations = list(dict.fromkeys(operations))
        self.dropped = [each for each in operations if isinstance(each, do.DropForeignKey)]
        retyped = [each for each in operations if isinstance(each, do.AlterColumn) and "type" in each.what]
        times = any(each.actual.type.family == "timestamp" for each in retyped)
        return [_AS_UTC] * times + super().of(operations)

    def create_table(self, operation: do.CreateTable) -> Iterator[Change]:
        """One complete statement: a crash leaves all of the table or nothing of it."""
        table = self.declared(operation.table)
        self._demand_short(table, Index("a primary key", table.primary_key))
        parts = [self._column(table.name, column) for column in table.columns.values()]
        parts.append(f"PRIMARY KEY {self.names(table.primary_key)}")
        parts += [self._index(table, index) for index in table.indexes]
        parts += [f"CONSTRAINT {self.quote(check.name)} CHECK ({check.sql})" for check in table.checks]
        for key in table.foreign_keys:
            self._demand_referable(table.name, key)
            parts.append(self.reference(key))
        sql = f"CREATE TABLE {self.quote(table.name)} ({', '.join(parts)}) ENGINE=InnoDB"
        yield Change(f"create table {table.name}", sql)

    def add_column(self, operation: do.AddColumn) -> Iterator[Change]:
        column, table = operation.column, self.schema[operation.table]
        parts = [f"ADD COLUMN {self._column(table.name, column)}" + " PRIMARY KEY" * operation.key]
        if operation.key:
            known = {index.columns for index in self.declared(table.name).indexes if index.unique}
            parts = [*self._without_key(table, () if table.primary_key in known else table.primary_key), *parts]
            self._demand_no_other_counts(table, ())
        copies = operation.key or self.engine.default_meaning(column.default or "") == UTC_NOW  # a value a row
        yield self._altered(f"add column {column.name}", table.name, parts if copies else [*parts, _ONLINE], copies)

    def alter_column(self, operation: do.AlterColumn) -> Iterator[Change]:
        """All that is wrong with a column in one MODIFY, which keeps what is right and what is a user's own."""
        table, column, actual, what = operation
        clauses = catalogue.clauses(self.engine.texts([table])[table], column.name)
        self._demand_alterable(operation, clauses)
        gone = {"", "NOT", "NULL", "DEFAULT"}
        if "type" in what:
            clauses[""] = self._type(operation)
            # What only the old type had; MariaDB's JSON brings its CHECK with it.
            gone |= {"GENERATED", "ON" * (column.type.family != "datetime"), "CHECK" * (actual.type.family == "json")}
        default = _default(column) if "default" in what else actual.default and f"DEFAULT {actual.default}"
        null = column.null if "null" in what else actual.null
        kept = [text for word, text in clauses.items() if word not in gone]
        definition = [self.quote(column.name), clauses[""], "NULL" if null else "NOT NULL", default or "", *kept]
        copies = "type" in what or any(each.generated for each in self.schema[table].columns.values())
        yield self._altered(f"correct {column.name}", table, [f"MODIFY {' '.join(filter(None, definition))}"], copies)

    def set_primary_key(self, operation: do.SetPrimaryKey) -> Iterator[Change]:
        table = self.schema[operation.table]
        parts = [*self._without_key(table, operation.instead_of), f"ADD PRIMARY KEY {self.names(operation.columns)}"]
        if operation.counting:
            self._demand_no_other_counts(table, operation.columns)
            (name,) = operation.columns
            counting = f"MODIFY {self.quote(name)} {self.future(table.name, name).type.text} NOT NULL AUTO_INCREMENT"
            parts.insert(-1, counting)
            yield _ZERO
        yield self._altered("correct the primary key", table.name, parts, operation.counting)

    def add_index(self, operation: do.AddIndex) -> Iterator[Change]:
        """Replace or add an index in one statement; a foreign key that leaned on the old one gets its own."""
        table, index, there = self.schema[operation.table], operation.wanted, operation.instead_of
        declared = self.declared(table.name)
        parts = [f"ADD {self._index(declared, index)}"]
        if there:
            parts.insert(0, f"DROP INDEX {self.quote(there.name)}")
            left = [table.primary_key, index.columns, *(each.columns for each in table.indexes if each != there)]
            for key in table.foreign_keys:
                width = len(key.columns)
                if there.columns[:width] == key.columns and key.columns not in [each[:width] for each in left]:
                    parts.append(f"ADD INDEX {self.names(key.columns)}")
        hashed = bool(self._too_long(declared, index))
        what = f"{'replace' if there else 'add'} index {index.name}"
        yield self._altered(what, table.name, parts if hashed else [*parts, _ONLINE], hashed)

    def add_check(self, operation: do.AddCheck) -> Iterator[Change]:
        name, condition = operation.check.name, operation.check.sql
        add = f"ADD CONSTRAINT {self.quote(name)} CHECK ({condition})"
        yield self._altered(f"add the check {name}", operation.table, [add], True)

    def drop_foreign_key(self, operation: do.DropForeignKey) -> Iterator[Change]:
        name = operation.key.name or ""
        drop = f"DROP FOREIGN KEY {self.quote(name)}"
        yield self._altered(f"drop the foreign key {name}", operation.table, [drop], False)

    def add_foreign_key(self, operation: do.AddForeignKey) -> Iterator[Change]:
        """Its name is what tells two nodes of a cluster apart: who comes second gets "already exists"."""
        table, key = operation.table, operation.key
        if key in self.declared(table).foreign_keys:
            self._demand_referable(table, key)
        key = key._replace(name=key.name or f"fk_{table}_{'_'.join(key.columns)}"[:64])
        wrong = [each for each in operation.instead_of if do.DropForeignKey(table, each) not in self.dropped]
        parts = [f"DROP FOREIGN KEY {self.quote(each.name or '')}" for each in wrong]
        if key.name in [each.name for each in wrong]:  # which cannot go and come in one statement
            yield self._altered(f"drop the foreign key {key.name}", table, parts, False)
            parts = []
        what = f"add the foreign key of {', '.join(key.columns)}"
        yield self._altered(what, table, [*parts, f"ADD {self.reference(key)}"], True)

    # -- their parts

    def _altered(self, what: str, table: str, parts: Iterable[str], copies: bool) -> Change:
        """Return a change of a table; one that copies it keeps writers waiting, unless there are no rows."""
        held = "writers" if copies and self.engine.count(table, up_to=1) else None
        return Change(what, f"{self.alter(table)} {', '.join(parts)}", held)

    def _column(self, table: str, declared: Column) -> str:
        """Return the definition of a new column."""
        column, null = self.future(table, declared.name), "" if declared.null else " NOT NULL"
        counting = " AUTO_INCREMENT" * declared.automatic
        return f"{self.quote(column.name)} {_typed(column)}{null}{counting} {_default(declared)}".strip()

    def _type(self, operation: do.AlterColumn) -> str:
        """Return the type that a column is to have: a time keeps its fractions of seconds, a number its digits."""
        column, actual = self.future(operation.table, operation.column.name), operation.actual.type
        text = column.type.text
        if column.type.family == "float" != actual.family and self.engine.count(operation.table, up_to=1):
            text = "DOUBLE"  # as good, and no digit of what is there is lost
        if (column.type.family, actual.family) == ("datetime", "timestamp"):
            text += "".join(actual.text.partition("(")[1:])
        return _typed(column._replace(type=column.type._replace(text=text)))

    def _index(self, table: Table, index: Index) -> str:
        """Return the definition of an index; MariaDB keeps a unique one of any length, as a hash."""
        if not index.unique:
            self._demand_short(table, index)
        return f"{'UNIQUE ' * index.unique}INDEX {self.quote(index.name)} {self.names(index.columns)}"

    def _without_key(self, table: Table, keep: Sequence[str]) -> list[str]:
        """Return the beginning of what replaces a primary key, whose columns may have to stay unique."""
        unique = [f"ADD UNIQUE {self.names(keep)}"] if keep else []
        return ["DROP PRIMARY KEY", *unique] if table.primary_key else []

    # -- what cannot be had, whatever the rows

    def _too_long(self, table: Table, index: Index) -> list[Column]:
        """Return the columns of an index that are longer than a key may be."""
        of_character = _BYTES.get(self.engine.collation.partition("_")[0], 1)
        columns = [table.columns[name] for name in index.columns]
        return [
            each
            for each in columns
            if (each.type.size or 0) * (of_character if each.type.family in STRINGS else 1) > _LONGEST
        ]

    def _demand_short(self, table: Table, index: Index) -> None:
        """Refuse a key that is too long; MariaDB would cut it short without a word."""
        for column in self._too_long(table, index):
            raise Refused(
                f"{table.name}.{column.name}: {column.type.text} is too long here for {index.name}; give the "
                f"field a length of at most {_LONGEST // 4}"
            )

    def _demand_referable(self, table: str, key: ForeignKey) -> None:
        """Refuse a foreign key to what none can refer to."""
        (name,), (target,) = key.columns, key.target
        if key.table in self.schema and self.schema[key.table].kind == "partitioned table":
            raise Refused(f"{table}.{name}: no foreign key can refer to {key.table}, which is a partitioned table")
        parent, type_ = self.future(key.table, target).type, self.declared(table).columns[name].type
        if parent.family == "integer" and not parent.holds(type_):
            wanted = f"{key.table}.{target} is {parent.text}, narrower than {type_}"
            raise Refused(f"{table}.{name} cannot be as declared: {wanted}; make it as wide")

    def _demand_alterable(self, operation: do.AlterColumn, clauses: Mapping[str, str]) -> None:
        """Refuse to make something else of what is to stay as it is computed, or of a default that does not convert."""
        actual, wanted = operation.actual, operation.column.type
        where = f"{operation.table}.{actual.name}"
        if "VIRTUAL" in clauses.get("GENERATED", ""):
            raise Refused(f"{where} is a generated column, which stays one as long as it is VIRTUAL; drop it first")
        if actual.default and operation.what == {"type"} and not actual.type.holds(wanted):
            lost = self.engine.unconvertible(actual.default, actual.type, wanted)
            if self.engine.query(f"SELECT {lost}")[0][0]:
                raise Refused(f"{where} has a DEFAULT {actual.default}, which is no {wanted}; drop that default first")

    def _demand_no_other_counts(self, table: Table, ours: Sequence[str]) -> None:
        """Refuse a key that counts beside a column of a user's own that does."""
        for name, column in table.columns.items():
            if column.automatic and name not in ours:
                raise Refused(
                    f"{table.name}.{column.name} counts by itself, and no second one can; make it a plain column"
                )


def _shape(column: Column) -> object:
    """Return what has to be the same on both ends of a foreign key."""
    if column.type.family == "integer":
        return column.type.size, "unsigned" in column.type.text.lower()
    return column.collation


def _typed(column: Column) -> str:
    """Return the type of a column with its collation; older servers tell only the character set that has it anyway."""
    if not column.collation or column.type.family not in STRINGS:
        return column.type.text
    return f"{column.type.text} {'COLLATE' if '_' in column.collation else 'CHARACTER SET'} {column.collation}"


def _default(column: Column) -> str:
    """Return the DEFAULT of a declared column; a backslash in it means itself."""
    return "" if column.default is None else "DEFAULT " + column.default.replace("\\", "\\\\")
