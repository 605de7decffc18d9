"""The rows of the smoke test: how they are made, and where to look for leftovers.

`SampleRows` is the abstract base class; a subclass per database is in its package.

A row is a dict from column names to SQL values. A column gets the value of a row that
exists; if there is none, or none may be the same, it gets one that its type accepts.
CHECK constraints are ignored where the database can.
"""

from __future__ import annotations

import datetime
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Generic, TypeVar

import peewee

from migrations.engines.catalog import Catalog
from migrations.schema import Column, ForeignKey, Index, Table
from migrations.sql_text import one_line

SampleRow = dict[str, str]  # SQL values by the keys of columns
Result = TypeVar("Result")
_ATTEMPTS = 9  # to insert a row whose types have few values
# To insert one whose keys exist already: what a key of one character is drawn of.
_ONE_CHARACTER = "abcdefghijklmnopqrstuvwxyz0123456789"
_MOST_ATTEMPTS = _ATTEMPTS + len(_ONE_CHARACTER)
# Without letters that could be part of a hexadecimal number.
_LETTERS = "ghijklmnopqrstuvwxyz"
_DEFAULT_LENGTH = 20  # characters of a random text
_QUERIES_AT_ONCE = 100  # SQLite accepts 500 terms of a compound SELECT
# Parts of a DEFAULT that takes the next value of a sequence.
_NEXT_VALUE = re.compile(r"\b(nextval|next\s+value)\b", re.IGNORECASE)


def random_below(limit: int) -> int:
    """Return a random number from 0 to limit - 1."""
    # The module random takes longer to import than this takes.
    return int.from_bytes(os.urandom(16), "big") % limit


def random_string(size: int, alphabet: str) -> str:
    """Return a random text of exactly `size` characters."""
    return "".join(alphabet[random_below(len(alphabet))] for _ in range(size))


def random_text(max_size: int = 0) -> str:
    """Return a random text that reads as a number in no notation.

    :param max_size: in characters; 0 is no limit.
    """
    size = min(max_size or _DEFAULT_LENGTH, _DEFAULT_LENGTH)
    return random_string(size, _LETTERS)


def random_number(size: int = 0) -> str:
    """Return a random number that fits into `size` bytes and is not a small one."""
    half = 2 ** (8 * min(size or 4, 4) - 2)
    return str(half + random_below(half))


def random_datetime() -> str:
    """Return a random time between 1971 and 2036."""
    start = datetime.datetime(1971, 1, 1)
    offset = datetime.timedelta(random_below(24_000), random_below(86_400))
    return str(start + offset)


def random_ip_address() -> str:
    """Return a random private IPv4 address."""
    return f"10.{random_below(256)}.{random_below(256)}.{random_below(256)}"


class RowNotInserted(Exception):
    """A table did not accept a row; the text says which table, and why.

    `tried` is False if no row was sent to the table.
    """

    tried = True


class RowNotPossible(RowNotInserted):
    """No row of a table is known that can be inserted without a permanent effect."""

    tried = False


class Attempt(Generic[Result]):
    """What came of something that was done in a savepoint."""

    def __init__(
        self,
        result: Result | None = None,
        error: peewee.DatabaseError | None = None,
    ) -> None:
        self.result = result  # None if it was refused
        self.error = error  # what refused it


class SampleRows(ABC):
    """Makes the rows of one smoke test.

    It is created, and reads the tables, before the smoke test's transaction; everything
    else is called inside it. `tables` are the managed tables with all that they refer
    to, and all that those refer to.
    """

    # What an INSERT needs to give a value to an auto-increment column.
    overriding = ""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.session = catalog.session
        self.quote = self.session.quote
        self._leftover_queries: list[str] = []
        # Read before the transaction: where that was aborted, MariaDB's
        # information_schema hides the error.
        self.tables: dict[str, Table] = {}
        wanted = set(catalog.models.managed)
        while wanted:
            found = catalog.tables(wanted)
            self.tables.update(found)
            parents = {
                key.parent for table in found.values() for key in table.foreign_keys
            }
            wanted = parents - self.tables.keys()

    # -- what an engine decides

    @abstractmethod
    def candidate_values(
        self, table: Table, column: Column, size: int, row: SampleRow
    ) -> list[str]:
        """Return values that a column accepts, random ones if its type has enough.

        :param size: in characters or bytes, 0 without a limit.
        :param row: what the row has in other columns.
        """

    def checked_columns(self, table: Table) -> set[str]:
        """Return the columns that CHECK constraints name, if those are not ignored."""
        return set()

    def copied_values(
        self, table: Table, names: Iterable[str], source: str
    ) -> list[str]:
        """Return some values of an existing row, or [] if there is none.

        :param source: `FROM …` up to `LIMIT 1`.
        """
        if not self.session.query(f"SELECT 1 {source}"):
            return []
        columns = [self.quoted_column(table, name) for name in names]
        return [f"(SELECT {column} {source})" for column in columns]

    def is_refusal(self, error: Exception) -> bool:
        """Whether an error is a table's answer to a row.

        Otherwise it is about the connection, a lock or a limit, and ends the smoke
        test.
        """
        return not isinstance(error, peewee.OperationalError)

    @abstractmethod
    def refused_by_expression(self, table: Table, error: Exception) -> bool:
        """Whether a CHECK refused a row, or the expression of a generated column.

        Such a refusal is about the values that were tried: others may be accepted.
        """

    def reason_not_to_try(self) -> str:
        """Return why the smoke test must not be tried at all, or "".

        Called before the smoke test's transaction.
        """
        return ""

    def tables_scanned_on_delete(self, table: str) -> list[str]:
        """Return the long tables that are read in full to delete a row of this one."""
        return []

    @abstractmethod
    def checked_at_commit(self, table: Table, row: SampleRow) -> bool:
        """Whether a row may violate a foreign key that is checked at COMMIT.

        :param row: one that was inserted, or the one inserted last if nothing finds it.
        """

    # -- statements

    def execute(self, sql: str) -> None:
        """Execute a statement without parameters."""
        self.session.execute_literally(sql)

    def _key_of_table(self, table: Table) -> str:
        """Return what foreign keys call a table."""
        return self.catalog.table_key(table.name)

    def quoted_column(self, table: Table, name: str) -> str:
        """Return the quoted name of a table's column."""
        return self.quote(table.columns[name].name)

    def attempt(
        self, work: Callable[[], Result], keep: bool = False
    ) -> Attempt[Result]:
        """Do something in a savepoint; return its result, or what refused it.

        :param keep: what was not refused stays done; otherwise it is rolled back.
        """
        savepoint = f"smoke_test_{random_text()}"
        # Peewee's own savepoints have no interface that is the same in 4.0 and 4.5.
        self.execute(f"SAVEPOINT {savepoint}")
        done = self._do(work)
        end = "ROLLBACK TO"
        if keep and done.error is None:
            end = "RELEASE"
        try:
            self.execute(f"{end} SAVEPOINT {savepoint}")
        except peewee.DatabaseError as gone:
            # The whole transaction is gone: what is done next would stay.
            if done.error is not None:
                raise done.error from None
            raise gone from None
        return done

    def _do(self, work: Callable[[], Result]) -> Attempt[Result]:
        """Do something; return its result, or what refused it."""
        try:
            return Attempt(result=work())
        except peewee.DatabaseError as refusal:
            if not self.is_refusal(refusal):
                raise
            _forget_tracebacks(refusal)
            return Attempt(error=refusal)

    # -- rows

    def insert_row(
        self,
        table: Table,
        given: SampleRow,
        within: tuple[str, ...] = (),
        needed: Collection[str] = (),
    ) -> SampleRow:
        """Insert a row with the given values and made-up ones; return it.

        :param within: the tables for one of whose rows it is made.
        :param needed: the columns that it must have a value for.
        :raises RowNotInserted: every attempt was refused, or none was possible.
        """
        within = (*within, self._key_of_table(table))
        for key in table.foreign_keys:
            if key.parent == self._key_of_table(table):
                continue  # a row that needs a parent in its own table is its own parent
            if self._needs_parent(table, key, given):
                given = given | self._parent_values(table, key, within)
        first_refusal = None
        exists = False  # whether one of its keys did, by chance
        for attempt_number in range(_MOST_ATTEMPTS):
            if attempt_number == _ATTEMPTS and not exists:
                break
            row = self._make_row(table, given, attempt_number)
            if not row or not row.keys() >= set(needed):
                raise RowNotPossible(
                    f"{table.name}: a value for its id would use up ids of the table"
                )
            inserted = self.attempt(partial(self.insert, table, row), keep=True)
            if inserted.error is None:
                return row
            exists = exists or self._has_key_of(table, row)
            if first_refusal is None:
                first_refusal = inserted.error
        if exists:
            raise RowNotPossible(
                f"{table.name}: each key that was tried exists already"
            )
        self._refuse_without_fitting_values(table, row, first_refusal)
        raise RowNotInserted(f"{table.name}: {one_line(first_refusal)}")

    def _refuse_without_fitting_values(
        self, table: Table, row: SampleRow, refusal: Exception | None
    ) -> None:
        """Refuse to insert a row for which only values are missing.

        :param row: the last one that was tried.
        :param refusal: that of the first one.
        """
        for name in self.checked_columns(table):
            if name not in row and not table.columns[name].optional:
                raise RowNotPossible(
                    f"{table.name}: no value for {table.columns[name].name} was found "
                    "that its CHECK constraints accept"
                )
        if refusal is not None and self.refused_by_expression(table, refusal):
            raise RowNotPossible(
                f"{table.name}: no row was found that it accepts: {one_line(refusal)}"
            )

    def _has_key_of(self, table: Table, row: SampleRow) -> bool:
        """Whether a table has the values that a row has in one of its keys."""
        for key in table.unique_keys():
            if key and row.keys() >= set(key):
                values = {name: row[name] for name in key}
                if "NULL" not in values.values() and self.count_matching(table, values):
                    return True
        return False

    def _needs_parent(self, table: Table, key: ForeignKey, given: SampleRow) -> bool:
        """Whether a row needs a value for a foreign key that it was not given."""
        for name in key.columns:
            column = table.columns[name]
            if name not in given and (_has_default(column) or not column.optional):
                return True
        return False

    def _parent_values(
        self, table: Table, key: ForeignKey, within: tuple[str, ...]
    ) -> SampleRow:
        """Return values for a foreign key: those of another row, or of a new parent."""
        if _columns_in_unique_keys(table).isdisjoint(key.columns):
            copies = self._copies(table, key.columns)
            if copies:
                return copies
        return self.insert_parents(table, [key], within)

    def insert_parents(
        self, table: Table, keys: Iterable[ForeignKey], within: tuple[str, ...] = ()
    ) -> SampleRow:
        """Insert a parent for each foreign key; return the values that refer to them.

        :raises RowNotInserted: one was refused.
        """
        values: SampleRow = {}
        for key in keys:
            if key.parent not in self.tables or key.parent in within:
                raise RowNotInserted(
                    f"{key.parent}: there is no such table here, or it refers back to "
                    f"{table.name}"
                )
            parent = self.insert_row(
                self.tables[key.parent], {}, within, key.parent_columns
            )
            for name, parent_name in zip(key.columns, key.parent_columns):
                values[name] = parent[parent_name]
        return values

    def _copies(self, table: Table, names: Collection[str]) -> SampleRow:
        """Return some values of an existing row; {} if there is none."""
        if not names:
            return {}
        source = f"FROM {self.quote(table.name)}"
        key = self.key_of(table, dict.fromkeys(table.columns, ""))
        if key:  # without an order, the whole table might be read
            order = ", ".join(self.quoted_column(table, name) for name in key)
            source += f" ORDER BY {order}"
        values = self.copied_values(table, names, f"{source} LIMIT 1")
        return dict(zip(names, values))

    def _make_row(
        self, table: Table, given: SampleRow, attempt_number: int
    ) -> SampleRow:
        """Return a row with a value for each column that needs one or is in a key.

        At the first attempt, columns whose values may repeat get those of an existing
        row.
        """
        names = self._columns_to_fill(table, given)
        row: SampleRow = {}
        if attempt_number == 0:
            unique = _columns_in_unique_keys(table)
            repeatable = [name for name in names if name not in unique]
            row.update(self._copies(table, repeatable))
        row.update(given)
        for name in names:
            if name in row:
                continue
            candidates = self._candidates(table, name, row)
            size = self._smallest_size(table, name)
            is_text = "string" in table.columns[name].type.category
            if attempt_number >= _ATTEMPTS and is_text and size == 1:
                candidates = [f"'{character}'" for character in _ONE_CHARACTER]
            if candidates:
                # Each attempt takes the next one; after the last, the first again.
                position = attempt_number % len(candidates)
                row[name] = candidates[position]
            else:
                self._refuse_unknown_type(table, name)
        for key in table.foreign_keys:
            if key.parent != self._key_of_table(table):
                continue
            # A row refers to itself: the parent's values are its own.
            for name, parent_name in zip(key.columns, key.parent_columns):
                if name in names:
                    row[name] = row[parent_name]
        return row

    def _refuse_unknown_type(self, table: Table, name: str) -> None:
        """Refuse to insert a row that needs a value of a type without known values."""
        column = table.columns[name]
        if not column.optional and not self.catalog.is_known(column.type):
            raise RowNotPossible(
                f"{table.name}: no value is known for {name}, of type "
                f"{column.type.text}"
            )

    def _columns_to_fill(self, table: Table, given: SampleRow) -> list[str]:
        in_foreign_keys = {name for key in table.foreign_keys for name in key.columns}
        in_keys = _columns_in_unique_keys(table) | self.checked_columns(table)
        in_keys -= in_foreign_keys
        names = []
        for name, column in table.columns.items():
            if name in given or column.generated:
                continue
            refers_by_default = name in in_foreign_keys and _has_default(column)
            # Otherwise the default would use up a value of the sequence.
            is_numbered = _NEXT_VALUE.search(column.default or "")
            if (
                column.auto_increment
                or name in in_keys
                or refers_by_default
                or is_numbered
                or not column.optional
            ):
                names.append(name)
        return names

    def _candidates(self, table: Table, name: str, row: SampleRow) -> list[str]:
        """Return values that fit a column and all columns that refer to it."""
        size = self._smallest_size(table, name)
        return self.candidate_values(table, table.columns[name], size, row)

    def _smallest_size(self, table: Table, name: str) -> int:
        """Return the size of a column, or of one that refers to it; 0 without any."""
        columns = [table.columns[name], *self._referring_columns(table, name)]
        sizes = [column.type.size for column in columns if column.type.size]
        return min(sizes, default=0)

    def _referring_columns(self, table: Table, name: str) -> list[Column]:
        """Return the columns whose foreign keys refer to a column."""
        columns = []
        for other in self.tables.values():
            for key in other.foreign_keys:
                if key.parent != self._key_of_table(table):
                    continue
                for child, parent_name in zip(key.columns, key.parent_columns):
                    if parent_name == name:
                        columns.append(other.columns[child])
        return columns

    def insert(self, table: Table, row: SampleRow) -> None:
        """Insert a row, and remember how to look for it afterwards."""
        names = ", ".join(self.quoted_column(table, name) for name in row)
        values = ", ".join(row.values())
        table_name = self.quote(table.name)
        self.execute(
            f"INSERT INTO {table_name} ({names}){self.overriding} SELECT {values}"
        )
        key = self.key_of(table, row)
        if key:
            condition = self.condition(table, key)
            query = f"SELECT 1 FROM {table_name} WHERE {condition}"
            self._leftover_queries.append(query)

    def key_of(self, table: Table, row: SampleRow) -> SampleRow:
        """Return the part of a row that finds it by an index; {} if there is none."""
        for key in table.unique_keys():
            if key and row.keys() >= set(key):
                return {name: row[name] for name in key}
        return {}

    def condition(self, table: Table, values: SampleRow) -> str:
        """Return a condition that is true where columns have these values."""
        parts = []
        for name, value in values.items():
            operator = "IS" if value == "NULL" else "="
            parts.append(f"{self.quoted_column(table, name)} {operator} {value}")
        return " AND ".join(parts)

    def count_matching(self, table: Table, values: SampleRow) -> int:
        """Return the number of rows that have these values."""
        condition = self.condition(table, values)
        query = f"SELECT 1 FROM {self.quote(table.name)} WHERE {condition}"
        return len(self.session.query(query))

    def has_row(self, table: Table, row: SampleRow, condition: str) -> bool:
        """Whether an inserted row satisfies a condition."""
        key = self.condition(table, self.key_of(table, row) or row)
        query = f"SELECT 1 FROM {self.quote(table.name)} WHERE {key} AND ({condition})"
        return bool(self.session.query(query))

    def update(self, table: Table, row: SampleRow, values: SampleRow) -> None:
        """Change values of an inserted row."""
        key = self.condition(table, self.key_of(table, row) or row)
        assignments = []
        for name, value in values.items():
            assignments.append(f"{self.quoted_column(table, name)} = {value}")
        self.execute(
            f"UPDATE {self.quote(table.name)} SET {', '.join(assignments)} WHERE {key}"
        )

    def has_leftovers(self) -> bool:
        """Whether any inserted row exists, by what is indexed.

        Called after the smoke test's transaction was rolled back.
        """
        if not self._leftover_queries:
            return False
        queries = list(dict.fromkeys(self._leftover_queries))
        found: list[tuple[object, ...]] = []
        with self.session.smoke_test_transaction():
            for start in range(0, len(queries), _QUERIES_AT_ONCE):
                some = queries[start : start + _QUERIES_AT_ONCE]
                found += self.session.query(" UNION ALL ".join(some))
        return bool(found)


def _has_default(column: Column) -> bool:
    """Whether a column gets a value other than NULL if a row has none for it."""
    return column.default is not None and column.default.upper() != "NULL"


def _columns_in_unique_keys(table: Table) -> set[str]:
    """Return the columns in the primary key, or in a unique index in whatever way."""
    keys = [Index("", table.primary_key)]
    keys += [index for index in table.indexes if index.unique]
    names: set[str] = set()
    for key in keys:
        names.update(key.columns_among(table.columns))
    return names


def _forget_tracebacks(error: BaseException) -> None:
    """Drop the tracebacks of an error and its causes.

    Their frames refer to the error and to the driver's cursor in a ring, which Python
    3.10 may collect in another thread once the connection is gone.
    """
    cause: BaseException | None = error
    while cause is not None:
        cause.__traceback__ = None
        cause = cause.__context__
