"""The statements of MariaDB and MySQL: each commits by itself, so each is as much as one can be.

`playhouse.migrate` writes MODIFY without a column's collation, comment, CHECK and fractions of seconds, and
takes several statements where one does, between which a crash, or a writer, finds the table without a key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from migrations.engines.mysql.catalogue import default_meaning
from migrations.engines.mysql.keys import Keys, shape
from migrations.engines.mysql.values import STRINGS, fits_float
from migrations.engines.statements import Statements
from migrations.operations import (
    AddCheck,
    AddColumn,
    AddForeignKey,
    AddIndex,
    AlterColumn,
    CreateTable,
    DropForeignKey,
    Operation,
    SetPrimaryKey,
    ValidateCheck,
)
from migrations.report import Change
from migrations.schema import UTC_NOW, Column, Index, Schema, Table, Type

if TYPE_CHECKING:
    from migrations.engines.mysql.engine import MySQL

_ONLINE = ", ALGORITHM=INPLACE, LOCK=NONE"
_AS_UTC = Change("read timestamps as UTC", "SET time_zone = '+00:00'")
_ZERO = Change("keep an id of 0", "SET sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')")


class MySQLStatements(Statements):
    """A plan's statements. What the server does not do beside writers copies the table, and locks them out."""

    engine: MySQL

    def __init__(self, engine: MySQL, schema: Schema) -> None:
        super().__init__(engine, schema)
        self.keys = Keys(engine, schema)
        self.dropped: set[tuple[str, str | None]] = set()  # foreign keys, by their tables

    def of(self, operations: Sequence[Operation]) -> list[Change]:
        retyped = [each for each in operations if isinstance(each, AlterColumn) and "type" in each.what]
        times = any(each.actual.type.family == "timestamp" for each in retyped)
        return [_AS_UTC] * times + super().of(operations)

    def create_table(self, operation: CreateTable) -> Iterator[Change]:
        """One complete statement: a crash leaves all of the table or nothing of it."""
        table = self.declared(operation.table)
        self.keys.demand_short(table, "a primary key", table.primary_key)
        parts = [self._column(table.name, column) for column in table.columns.values()]
        parts.append(f"PRIMARY KEY {self.names(table.primary_key)}")
        parts += [self._index(table, index) for index in table.indexes]
        parts += [f"CONSTRAINT {self.quote(check.name)} CHECK ({check.sql})" for check in table.checks]
        for key in table.foreign_keys:
            self.keys.demand_referable(table.name, key)
            parts.append(self.reference(key))
        sql = f"CREATE TABLE {self.quote(table.name)} ({', '.join(parts)}) ENGINE=InnoDB"
        yield Change(f"create table {table.name}", sql)

    def _column(self, table: str, column: Column) -> str:
        """Return the definition of a new column."""
        parent, type_ = self.keys.parent_of(table, column.name), column.type.text
        if parent and shape(parent) != shape(column):
            type_ = _bare(parent.type) if parent.type.family == "integer" else type_ + _collated(parent.collation)
        null = "" if column.null else " NOT NULL"
        return f"{self.quote(column.name)} {type_}{null}{_default(column)}"

    def _index(self, table: Table, index: Index) -> str:
        """Return the definition of an index; MariaDB keeps a unique one of any length, as a hash."""
        if not (index.unique and self.engine.server.mariadb):
            self.keys.demand_short(table, index.name, index.columns)
        return f"{'UNIQUE ' * index.unique}INDEX {self.quote(index.name)} {self.names(index.columns)}"

    def add_column(self, operation: AddColumn) -> Iterator[Change]:
        definition, what = self._column(operation.table, operation.column), f"add column {operation.column.name}"
        start = f"{self.alter(operation.table)} "
        copies = operation.column.default and default_meaning(operation.column.default) == UTC_NOW  # a value a row
        if operation.key:
            self.keys.demand_no_other_counts(operation.table, ())
            there = self.schema[operation.table]
            known = {index.columns for index in self.declared(operation.table).indexes if index.unique}
            start += self._without_key(there, () if there.primary_key in known else there.primary_key)
            definition += " PRIMARY KEY"
        held = self._held(operation.table, "writers") if copies or operation.key else None
        online = "" if copies or operation.key else _ONLINE
        yield Change(what, f"{start}ADD COLUMN {definition}{online}", held)

    def alter_column(self, operation: AlterColumn) -> Iterator[Change]:
        """All that is wrong with a column in one MODIFY, which keeps what is right and what is a user's own."""
        self.keys.demand_alterable(operation)
        column, alter = operation.column, self.alter(operation.table)
        name = self.quote(column.name)
        if operation.what == {"default"}:
            statement = f"{alter} ALTER COLUMN {name} SET{_default(column)}"
            yield Change(f"correct the default of {column.name}", statement)
            return
        null = column.null if "null" in operation.what else operation.actual.null
        parts = self.engine.clauses(operation.table, column.name)
        for word in ("NOT", "NULL"):
            parts.pop(word, None)
        if "type" in operation.what:
            self._retype(parts, operation)
        own = parts.pop("DEFAULT", "")
        default = _default(column) if "default" in operation.what else own
        default = "" if default == " DEFAULT NULL" and not null else default
        definition = parts.pop("") + (" NULL" if null else " NOT NULL") + default + "".join(parts.values())
        copies = "type" in operation.what or any(each.generated for each in self._table(operation).columns.values())
        held = self._held(operation.table, "writers") if copies else None
        yield Change(f"correct {column.name}", f"{alter} MODIFY {name} {definition}", held)

    def _retype(self, parts: dict[str, str], operation: AlterColumn) -> None:
        """Put another type into a column's clauses, and take out those that only the old one had."""
        family = operation.column.type.family
        parts[""] = self._type(operation)
        parts.pop("GENERATED", None)
        if family != "datetime":
            parts.pop("ON", None)
        if family != "json" and operation.actual.type.family == "json":
            parts.pop("CHECK", None)
        if not operation.actual.automatic:
            parts.pop("AUTO_INCREMENT", None)

    def _type(self, operation: AlterColumn) -> str:
        """Return the type that a column is to have, as far as it is not as good as it is: a string keeps its
        collation but where a key needs another, a time keeps its fractions of seconds."""
        actual, wanted = operation.actual, operation.column.type
        parent = self.keys.parent_of(operation.table, operation.column.name)
        text = _bare(wanted)
        if parent and parent.type.family == "integer":
            text = _bare(parent.type)
        elif actual.type.holds(wanted):
            text = actual.type.text
        elif wanted.family == "float" and self._overflows(operation):
            text = "DOUBLE"  # as good, and no digit of what is there is lost
        elif wanted.family == "datetime" and actual.type.family in ("datetime", "timestamp"):
            text += "".join(actual.type.text.partition("(")[1:])
        if wanted.family in STRINGS:
            text += _collated(parent.collation if parent else actual.collation)
        return text

    def _overflows(self, operation: AlterColumn) -> bool:
        """Whether any row has a number with more digits than a FLOAT shows."""
        value = self.quote(operation.actual.name)
        lost = f"NOT ({fits_float(value)})"
        found = self.engine.query(f"SELECT 1 FROM {self.quote(operation.table)} WHERE {lost} LIMIT 1")
        return bool(found)

    def set_primary_key(self, operation: SetPrimaryKey) -> Iterator[Change]:
        table = self._table(operation)
        parts = [f"ADD PRIMARY KEY {self.names(operation.columns)}"]
        if operation.counting:
            self.keys.demand_no_other_counts(table.name, operation.columns)
            (name,) = operation.columns
            column, declared = table.columns[name], self.declared(table.name).columns[name]
            type_ = _bare(column.type if column.type.holds(declared.type) else declared.type)
            parts.insert(0, f"MODIFY {self.quote(name)} {type_} NOT NULL AUTO_INCREMENT")
            yield _ZERO
        statement = f"{self.alter(table.name)} {self._without_key(table, operation.instead_of)}{', '.join(parts)}"
        held = self._held(table.name, "writers") if operation.counting else None
        yield Change("correct the primary key", statement, held)

    def _without_key(self, table: Table, keep: Sequence[str]) -> str:
        """Return the beginning of what replaces a primary key, whose columns may have to stay unique."""
        unique = f"ADD UNIQUE {self.names(keep)}, " if keep else ""
        return f"DROP PRIMARY KEY, {unique}" if table.primary_key else ""

    def add_index(self, operation: AddIndex) -> Iterator[Change]:
        """Replace or add an index in one statement; a foreign key that leaned on the old one gets its own."""
        table, index, there = self._table(operation), operation.wanted, operation.instead_of
        declared = self.declared(table.name)
        parts = [f"ADD {self._index(declared, index)}"]
        if there:
            parts.insert(0, f"DROP INDEX {self.quote(there.name)}")
            left = [each.columns for each in table.indexes if each is not there and each != there]
            left += [table.primary_key, index.columns]
            for key in table.foreign_keys:
                width = len(key.columns)
                if there.columns[:width] == key.columns and key.columns not in [each[:width] for each in left]:
                    parts.append(f"ADD INDEX {self.names(key.columns)}")
        hashed = any(self.keys.is_too_long(declared.columns[column]) for column in index.columns)
        held = self._held(table.name, "writers") if hashed else None
        statement = f"{self.alter(table.name)} {', '.join(parts)}{'' if hashed else _ONLINE}"
        yield Change(f"{'replace' if there else 'add'} index {index.name}", statement, held)

    def add_check(self, operation: AddCheck) -> Iterator[Change]:
        constraint = f"ADD CONSTRAINT {self.quote(operation.check.name)} CHECK ({operation.check.sql})"
        held = self._held(operation.table, "writers")
        yield Change(f"add the check {operation.check.name}", f"{self.alter(operation.table)} {constraint}", held)

    def validate_check(self, operation: ValidateCheck) -> Iterator[Change]:
        enforced = f"ALTER CHECK {self.quote(operation.check.name)} ENFORCED"
        held = self._held(operation.table, "writers")
        yield Change(f"enforce the check {operation.check.name}", f"{self.alter(operation.table)} {enforced}", held)

    def drop_foreign_key(self, operation: DropForeignKey) -> Iterator[Change]:
        name, known = operation.key.name or "", (operation.table, operation.key.name)
        if known not in self.dropped:
            self.dropped.add(known)
            drop = f"{self.alter(operation.table)} DROP FOREIGN KEY {self.quote(name)}"
            yield Change(f"drop the foreign key {name}", drop)

    def add_foreign_key(self, operation: AddForeignKey) -> Iterator[Change]:
        """Its name is what tells two nodes of a cluster apart: who comes second gets "already exists"."""
        table, key = operation.table, operation.key
        if key in self.declared(table).foreign_keys:
            self.keys.demand_referable(table, key)
        key = key._replace(name=key.name or f"fk_{table}_{'_'.join(key.columns)}"[:64])
        wrong = [each for each in operation.instead_of if (table, each.name) not in self.dropped]
        if key.name in [each.name for each in wrong]:  # which cannot go and come in one statement
            for each in wrong:
                yield from self.drop_foreign_key(DropForeignKey(table, each))
            wrong = []
        drops = "".join(f"DROP FOREIGN KEY {self.quote(each.name or '')}, " for each in wrong)
        what = f"add the foreign key of {', '.join(key.columns)}"
        yield Change(what, f"{self.alter(table)} {drops}ADD {self.reference(key)}", self._held(table, "writers"))

    def _table(self, operation: Operation) -> Table:
        return self.schema[operation.table]

    def _held(self, table: str, who: str) -> str | None:
        """Return whom a statement keeps waiting: nobody where there are no rows."""
        return who if self.engine.count(table, up_to=1) else None


def _bare(type_: Type) -> str:
    """Return a type without what makes a column of it count by itself."""
    return type_.text.replace(" AUTO_INCREMENT", "")


def _collated(collation: str | None) -> str:
    """Return the clause of a collation; older servers tell only the character set that has it anyway."""
    return f" {'COLLATE' if '_' in collation else 'CHARACTER SET'} {collation}" if collation else ""


def _default(column: Column) -> str:
    """Return the DEFAULT of a declared column; a backslash in it means itself."""
    return "" if column.default is None else " DEFAULT " + column.default.replace("\\", "\\\\")
