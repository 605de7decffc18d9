"""Rows on trial, each with all that it refers to, and where to look for traces of them. Values are SQL.

A column's value is that of a row that is there; where there is none, or none may be the same, one that its type
takes. CHECKs are ignored, where the database can.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import peewee

from migrations.schema import Column, ForeignKey, Table

if TYPE_CHECKING:
    from migrations.engines.base import Engine

Values = dict[str, str]  # SQL by the column's name in lower case
Result = TypeVar("Result")
_ATTEMPTS = 9  # at a row, where a type has few values


def below(limit: int) -> int:
    """Return a random number from 0 on."""
    return int.from_bytes(os.urandom(16), "big") % limit  # `random` takes long to import


def spelt(size: int, alphabet: str) -> str:
    """Return a random text of just `size` characters."""
    return "".join(alphabet[below(len(alphabet))] for _ in range(size))


def token(size: int = 0) -> str:
    """Return a random text of at most `size` characters, 0 for any number; no number in any notation."""
    return spelt(min(size or 20, 20), "ghijklmnopqrstuvwxyz")


def number(size: int = 0) -> str:
    """Return a random number that fits into `size` bytes and is none of the small ones."""
    half = 2 ** (8 * min(size or 4, 4) - 2)
    return str(half + below(half))


def moment() -> str:
    return str(datetime.datetime(1971, 1, 1) + datetime.timedelta(below(24_000), below(86_400)))


def address() -> str:
    return f"10.{below(256)}.{below(256)}.{below(256)}"


def one_line(error: object) -> str:
    return " ".join(str(error).split())


class Unmade(Exception):
    """A table takes no row."""


class Samples:
    """The rows that a smoke test makes; a room beside this one says what differs on an engine.

    `tables` are the built ones with all that they refer to, and all that those refer to.
    """

    override = ""  # what an INSERT needs to give a key that counts by itself

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._made: list[str] = []  # where to look for traces
        # Now, before the transaction: where that was aborted, MariaDB's catalogue swallows the news.
        self.tables: dict[str, Table] = {}
        wanted = {*engine.builds}
        while wanted:
            found = engine.tables(wanted)
            self.tables |= found
            wanted = {key.table for table in found.values() for key in table.foreign_keys} - self.tables.keys()

    # -- what an engine says

    def options(self, table: Table, column: Column, size: int, row: Values) -> list[str]:
        """Return values that a column takes, random ones if its type has any to spare.

        :param size: in characters or bytes, 0 without a limit.
        :param row: what the row has in other columns.
        """
        raise NotImplementedError

    def bound(self, table: Table) -> set[str]:
        """Return the columns that CHECKs speak of, if they are not ignored."""
        return set()

    def copied(self, columns: Iterable[str], row: str) -> list[str]:
        """Return a row's values; none where there is no row."""
        there = self.query(f"SELECT 1 {row}")
        return [f"(SELECT {column} {row})" for column in columns if there]

    def refuses(self, error: Exception) -> bool:
        """Whether an error is a table's answer to a row, rather than news of the connection or of a limit."""
        return not isinstance(error, peewee.OperationalError)

    def hidden(self) -> list[str]:
        """Return the names of the tables some of whose rows this user may not see."""
        return []

    def searched(self, table: str) -> list[str]:
        """Return the names of the long tables that are read row by row where a row of this one is deleted."""
        return []

    # -- statements, without parameters

    def execute(self, sql: str) -> None:
        self.engine.database.execute_sql(self.engine.literally(sql))

    def query(self, sql: str) -> list[tuple[object, ...]]:
        return self.engine.query(self.engine.literally(sql))

    def quoted(self, table: Table, name: str) -> str:
        return self.engine.quote(table.columns[name].name)

    def tried(
        self, work: Callable[[], Result], keep: bool = False
    ) -> tuple[Result | None, peewee.DatabaseError | None]:
        """Do something in a savepoint; return its result, and what refused it, if anything did.

        :param keep: what was not refused stays done.
        """
        savepoint, result, error = f"smoke_test_{token()}", None, None
        self.execute(f"SAVEPOINT {savepoint}")  # Peewee's own has no common form in 4.0 and 4.5
        try:
            result = work()
        except peewee.DatabaseError as refusal:
            if not self.refuses(refusal):
                raise
            error, cause = refusal, refusal
            while cause:  # whose frames hold it in turn, and the driver's cursor: in Python 3.10, for good
                cause.__traceback__, cause = None, cause.__context__
        try:
            self.execute(f"{'RELEASE' if keep and not error else 'ROLLBACK TO'} SAVEPOINT {savepoint}")
        except peewee.DatabaseError as gone:  # the whole transaction is: what came next would stay
            raise error or gone from None
        return result, error

    # -- rows

    def make(self, table: Table, given: Values, within: tuple[str, ...] = ()) -> Values:
        """Insert a row with the given values, the rest made up, and return it.

        :param within: the tables for one of whose rows it is made.
        :raises Unmade: it was refused, for the reason told.
        """
        within = (*within, table.name.lower())
        for key in table.foreign_keys:
            needed = any(name not in given and not table.columns[name].optional for name in key.columns)
            if needed and key.table != within[-1]:
                copies = {} if _unique(table) & {*key.columns} else self._copies(table, key.columns)
                given = given | (copies or self.parents(table, [key], within))
        refusals = []
        for attempt in range(_ATTEMPTS):
            row = self._row(table, given, attempt)
            _, error = self.tried(partial(self.insert, table, row), keep=True)
            if not error:
                return row
            refusals.append(error)
        raise Unmade(f"{table.name}: {one_line(refusals[0])}")

    def parents(self, table: Table, keys: Iterable[ForeignKey], within: tuple[str, ...] = ()) -> Values:
        """Make a parent for each foreign key; return the values of a row that refers to them.

        :raises Unmade: one was refused.
        """
        found: Values = {}
        for key in keys:
            if key.table not in self.tables or key.table in within:
                raise Unmade(f"{key.table}: there is no such table here, or it refers back to {table.name}")
            parent = self.make(self.tables[key.table], {}, within)
            if not parent.keys() >= {*key.target}:
                raise Unmade(f"{key.table}: what counts there would not count on as before")
            found |= {name: parent[target] for name, target in zip(key.columns, key.target)}
        return found

    def _copies(self, table: Table, names: Collection[str]) -> Values:
        """Return some values of one of a table's rows; none where it has no row."""
        key = self.key(table, dict.fromkeys(table.columns, ""))
        order = " ORDER BY " + ", ".join(self.quoted(table, name) for name in key) if key else ""
        row = f"FROM {self.engine.quote(table.name)}{order} LIMIT 1"  # without an order, the table might be read
        return dict(zip(names, self.copied([self.quoted(table, name) for name in names], row))) if names else {}

    def _row(self, table: Table, given: Values, attempt: int) -> Values:
        """Return a row with values for the columns that need one or are in a key: at the first attempt, those that
        others may have, too, of a row that is there."""
        unique = _unique(table)
        filled = (unique | self.bound(table)) - {name for key in table.foreign_keys for name in key.columns}
        wanted = [
            name for name, column in table.columns.items() if name not in given and not column.generated
            and (column.automatic or name in filled or not column.optional)
        ]  # fmt: skip
        copies = {} if attempt else self._copies(table, [name for name in wanted if name not in unique])
        row = given | copies
        for name in wanted:
            if name not in row and (options := self._options(table, name, row)):
                row[name] = options[attempt % len(options)]
        for key in table.foreign_keys:
            if key.table == table.name.lower():  # a row that needs a parent in its own table is its own
                row |= {name: row[target] for name, target in zip(key.columns, key.target) if name in wanted}
        return row

    def _options(self, table: Table, name: str, row: Values) -> list[str]:
        """Return values that a column takes, and those that refer to it."""
        columns = [table.columns[name]] + [
            other.columns[column] for other in self.tables.values() for key in other.foreign_keys
            for column, target in zip(key.columns, key.target) if (key.table, target) == (table.name.lower(), name)
        ]  # fmt: skip
        return self.options(table, columns[0], min(filter(None, (each.type.size for each in columns)), default=0), row)

    def insert(self, table: Table, row: Values) -> None:
        names = ", ".join(self.quoted(table, name) for name in row)
        values = f"{self.override} SELECT {', '.join(row.values())}"
        self.execute(f"INSERT INTO {self.engine.quote(table.name)} ({names}){values}")
        if key := self.key(table, row):
            self._made.append(f"SELECT 1 FROM {self.engine.quote(table.name)} WHERE {self.where(table, key)}")

    def key(self, table: Table, row: Values) -> Values:
        """Return what of a row finds it by an index."""
        keys = (key for key in table.unique_keys() if key and row.keys() >= {*key})
        return {name: row[name] for name in next(keys, ())}

    def where(self, table: Table, values: Values) -> str:
        """Return a condition that holds where columns have some values, which may be NULL."""
        pairs = {self.quoted(table, name): value for name, value in values.items()}
        return " AND ".join(f"{name} {'IS' if value == 'NULL' else '='} {value}" for name, value in pairs.items())

    def count(self, table: Table, values: Values) -> int:
        return len(self.query(f"SELECT 1 FROM {self.engine.quote(table.name)} WHERE {self.where(table, values)}"))

    def traces(self) -> bool:
        """Whether any row that was made is there, by what is indexed."""
        with self.engine.trial():
            return bool(self._made and self.query(" UNION ALL ".join(dict.fromkeys(self._made))))


def _unique(table: Table) -> set[str]:
    """Return the columns that are in the primary key, or by whatever expression in a unique index."""
    parts = [*table.primary_key, *(part for index in table.indexes if index.unique for part in index.columns)]
    return table.columns.keys() & {part if part in table.columns else re.split("[ (]", part)[0] for part in parts}
