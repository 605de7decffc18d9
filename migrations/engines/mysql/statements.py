"""The statements of MariaDB: each commits by itself, so each is as much as one can be.

`playhouse.migrate` writes MODIFY without a column's collation, comment, CHECK and fractions of seconds, and
takes several statements where one does, between which a crash, or a writer, finds the table without a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import peewee

from migrations import operations as do
from migrations.engines.mysql import catalogue
from migrations.engines.mysql.values import STRINGS
from migrations.engines.statements import Statements
from migrations.report import Change, Refused
from migrations.schema import UTC_NOW, Column, Index, Table, Type

if TYPE_CHECKING:
    from migrations.engines.mysql.engine import MySQL

_ONLINE = "ALGORITHM=INPLACE, LOCK=NONE"
_LONGEST = 3072 // 4  # characters of a key, whose bytes are limited


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
            column = column._replace(type=self._kept(table, there.type, column.type), collation=there.collation)
        for key in declared.foreign_keys:
            if key.columns == (name,):
                parent = self.future(key.table, *key.target)
                where = f"{table}.{name} cannot refer to {key.table}.{parent.name}"
                if self.schema.get(key.table, declared).kind == "partitioned table":
                    raise Refused(f"{where}: {key.table} is a partitioned table")
                if parent.type.family == "integer":
                    if not parent.type.holds(declared.columns[name].type):
                        raise Refused(f"{where}: {parent.type.text} is narrower than {column.type}; make it as wide")
                    column = column._replace(type=parent.type)
                column = column._replace(collation=parent.collation or self.engine.collation)
        return column

    def _kept(self, table: str, actual: Type, wanted: Type) -> Type:
        """Return the type that is to come for another: a time keeps its fractions of seconds, a number its digits."""
        if actual.holds(wanted):
            return actual
        text = wanted.text
        if (actual.family, wanted.family) == ("timestamp", "datetime"):
            text += "".join(actual.text.partition("(")[1:])
        elif wanted.family == "float" and actual[1:3] != ("float", 4) and self.engine.count(table, up_to=1):
            text = "DOUBLE"  # as good
        return wanted._replace(text=text)

    def besides(self, operations: Sequence[do.Operation]) -> Iterator[do.Operation]:
        """Yield the operations without which others cannot be done, or would undo something."""
        for each in operations:
            declared, there = self.declared(each.table), self.schema.get(each.table, Table(each.table))
            if isinstance(each, do.AddForeignKey):
                (name,) = each.key.columns
                column = there.columns.get(name)
                if column and _shape(column) != _shape(self.future(each.table, name)):
                    yield do.AlterColumn(each.table, declared.columns[name], column, frozenset({"type"}))
            elif isinstance(each, do.AlterColumn) and "null" in each.what and not each.column.null:
                for key in there.foreign_keys:  # what sets NULL keeps a column nullable; a new type takes it away
                    if each.column.name in key.columns and "SET NULL" in (key.on_delete, key.on_update):
                        yield each._replace(what=frozenset({"type"}))
            elif isinstance(each, (do.AddIndex, do.SetPrimaryKey)):
                # An index that InnoDB made for a foreign key goes without a word once a longer one begins with its
                # columns; where it does the work of a declared one, that one has to come.
                columns = each.wanted.columns if isinstance(each, do.AddIndex) else each.columns
                for index in declared.indexes:
                    if index.columns == columns[: len(index.columns)] != columns and not there.index_named(index.name):
                        yield do.AddIndex(each.table, index)

    # -- the operations

    def create_table(self, operation: do.CreateTable) -> Iterator[Change]:
        """One complete statement: a crash leaves all of the table or nothing of it."""
        table = self.declared(operation.table)
        parts = [self._column(table.name, column) for column in table.columns.values()]
        parts.append(f"PRIMARY KEY {self.names(table.primary_key)}")
        self._is_hashed(table, Index("a primary key", table.primary_key))
        parts += [self._index(table, index) for index in table.indexes]
        parts += [f"CONSTRAINT {self.quote(check.name)} CHECK ({check.sql})" for check in table.checks]
        parts += map(self.reference, table.foreign_keys)
        sql = f"CREATE TABLE {self.quote(table.name)} ({', '.join(parts)}) ENGINE=InnoDB"
        yield Change(f"create table {table.name}", sql)

    def add_column(self, operation: do.AddColumn) -> Iterator[Change]:
        table, column = operation
        what, add = f"add column {column.name}", f"ADD COLUMN {self._column(table, column)}"
        computed = {each.name.lower() for each in self.schema[table].columns.values() if each.generated}
        parts = {part for index in self.schema[table].indexes for part in index.columns}
        # A value a row; or MariaDB has the table locked where it has a FULLTEXT index, or one of a computed column.
        copies = self.engine.default_meaning(column.default or "") == UTC_NOW or any(
            part in computed or part.endswith((" FULLTEXT", " SPATIAL")) for part in parts
        )
        if column.automatic:
            yield self._keyed(what, table, (column.name,), add)
        else:
            yield self._altered(what, table, [add] if copies else [add, _ONLINE], copies)

    def alter_column(self, operation: do.AlterColumn) -> Iterator[Change]:
        """All that is wrong with a column in one MODIFY, which keeps what is right and what is a user's own."""
        table, column, actual, what = operation
        clauses = catalogue.clauses(self.engine.texts([table])[table], column.name)
        where = f"{table}.{column.name}"
        if "VIRTUAL" in clauses.get("GENERATED", ""):
            raise Refused(f"{where} is a generated column, which stays one as long as it is VIRTUAL; drop it first")
        if actual.default and "type" in what and "default" not in what and not actual.type.holds(column.type):
            lost = self.engine.unconvertible(actual.default, actual.type, column.type)
            if self.engine.query(self.engine.literally(f"SELECT {lost}"))[0][0]:
                raise Refused(f"{where} has a DEFAULT {actual.default}, which is no {column.type}; drop it first")
        gone = {"", "NOT", "NULL", "DEFAULT"}
        longer = column.type.family == "string" and column.type.holds(actual.type)
        if "type" in what:
            users = [each for each in self.engine.dependents(table, column.name) if each.startswith("table ")]
            if users and not longer:
                text = f"{where} has to be converted, and the foreign key of the {users[0]} refers to it"
                raise Refused(f"{text}; drop that, run again, and make it anew")
            clauses[""] = _typed(self.future(table, column.name))
            # What only the old type had; MariaDB's JSON brings its CHECK with it.
            gone |= {"GENERATED", "ON" * (column.type.family != "datetime"), "CHECK" * (actual.type.family == "json")}
        default = _default(column) if "default" in what else f" DEFAULT {actual.default}" * bool(actual.default)
        null = "NULL" if (column if "null" in what else actual).null else "NOT NULL"
        kept = [text for word, text in clauses.items() if word not in gone]
        modify = " ".join([f"MODIFY {self.quote(column.name)} {clauses['']} {null}{default}", *kept])
        copies = "type" in what or any(each.generated for each in self.schema[table].columns.values())
        yield self._altered(f"correct {column.name}", table, [modify], copies)

    def set_primary_key(self, operation: do.SetPrimaryKey) -> Iterator[Change]:
        table, columns, counting, _ = operation
        modify = [f"MODIFY {self._column(table, self.declared(table).columns[columns[0]])}"] * counting
        yield self._keyed("correct the primary key", table, columns, *modify)

    def add_index(self, operation: do.AddIndex) -> Iterator[Change]:
        """Replace or add an index in one statement; a foreign key that leaned on the old one gets its own."""
        table, index, there = self.schema[operation.table], operation.wanted, operation.instead_of
        declared, parts = self.declared(table.name), []
        if there:
            parts.append(f"DROP INDEX {self.quote(there.name)}")
            left = [table.primary_key, index.columns, *(each.columns for each in table.indexes if each != there)]
            for key in table.foreign_keys:
                if key.columns not in [columns[: len(key.columns)] for columns in left]:
                    parts.append(f"ADD INDEX {self.names(key.columns)}")
        parts.append(f"ADD {self._index(declared, index)}")
        what = f"{'replace' if there else 'add'} index {index.name}"
        hashed = self._is_hashed(declared, index)
        yield self._altered(what, table.name, parts if hashed else [*parts, _ONLINE], hashed)

    def add_check(self, operation: do.AddCheck) -> Iterator[Change]:
        table, (name, condition, _) = operation
        sql = self.by_peewee("add_constraint", table, name, peewee.SQL(f"CHECK ({condition})"))
        yield self._altered(f"add the check {name}", table, [], copies=True)._replace(sql=sql)

    def drop_foreign_key(self, operation: do.DropForeignKey) -> Iterator[Change]:
        table, name = operation.table, operation.key.name or ""
        yield self._altered(f"drop the foreign key {name}", table, [f"DROP FOREIGN KEY {self.quote(name)}"])

    def add_foreign_key(self, operation: do.AddForeignKey) -> Iterator[Change]:
        """Its name is what tells two nodes of a cluster apart: who comes second gets "already exists"."""
        table, key, wrong = operation
        key = key._replace(name=key.name or f"fk_{table}_{'_'.join(key.columns)}"[:64])
        parts = [f"DROP FOREIGN KEY {self.quote(each.name or '')}" for each in wrong]
        if key.name in [each.name for each in wrong]:  # which cannot go and come in one statement
            yield self._altered(f"drop the foreign key {key.name}", table, parts)
            parts = []
        what = f"add the foreign key of {', '.join(key.columns)}"
        yield self._altered(what, table, [*parts, f"ADD {self.reference(key)}"], copies=True)

    # -- their parts

    def _altered(self, what: str, table: str, parts: Iterable[str], copies: bool = False) -> Change:
        """Return a change of a table; one that copies it keeps writers waiting, unless there are no rows."""
        held = "writers" if copies and self.engine.count(table, up_to=1) else None
        return Change(what, f"{self.alter(table)} {', '.join(parts)}", held)

    def _keyed(self, what: str, name: str, columns: Sequence[str], *counting: str) -> Change:
        """Return a change of a primary key, to one that may be `counting`; an old one's columns stay unique."""
        table, declared = self.schema[name], self.declared(name)
        for column in table.columns.values():
            if counting and column.automatic and column.name not in columns:
                raise Refused(f"{name}.{column.name} counts by itself, and no second one can; make it a plain column")
        own = table.primary_key
        parts = ["DROP PRIMARY KEY"] if own else []
        if own and own not in declared.unique_keys() and {*columns} - {*own}:  # else another key says so
            parts.append(f"ADD UNIQUE {self.names(own)}")
        return self._altered(what, name, [*parts, *counting, f"ADD PRIMARY KEY {self.names(columns)}"], bool(counting))

    def _column(self, table: str, declared: Column) -> str:
        """Return the definition of a new column."""
        null, counting = " NOT NULL" * (not declared.null), " AUTO_INCREMENT" * declared.automatic
        name, type_ = self.quote(declared.name), _typed(self.future(table, declared.name))
        return f"{name} {type_}{null}{counting}{_default(declared)}"

    def _index(self, table: Table, index: Index) -> str:
        self._is_hashed(table, index)
        return f"{'UNIQUE ' * index.unique}INDEX {self.quote(index.name)} {self.names(index.columns)}"

    def _is_hashed(self, table: Table, index: Index) -> bool:
        """Whether a column is longer than a key may be: MariaDB keeps a unique index of it as a hash; another,
        which it would cut short without a word, is refused."""
        long = [name for name in index.columns if (table.columns[name].type.size or 0) > _LONGEST]
        if long and not index.unique:
            where, type_ = f"{table.name}.{long[0]}", table.columns[long[0]].type.text
            raise Refused(f"{where}: {type_} is too long for {index.name}; give it a length of at most {_LONGEST}")
        return bool(long)


def _shape(column: Column) -> object:
    """Return what has to be the same on both ends of a foreign key."""
    if column.type.family in STRINGS:
        return column.collation
    return column.type.size, "unsigned" in column.type.text.lower()


def _typed(column: Column) -> str:
    """Return the type of a column with its collation; older servers tell only the character set that has it anyway."""
    if not column.collation or column.type.family not in STRINGS:
        return column.type.text
    return f"{column.type.text} {'COLLATE' if '_' in column.collation else 'CHARACTER SET'} {column.collation}"


def _default(column: Column) -> str:
    """Return the DEFAULT of a declared column; a backslash in it means itself."""
    return "" if column.default is None else " DEFAULT " + column.default.replace("\\", "\\\\")
