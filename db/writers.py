"""Batches go into a table in the way that is fastest on each engine; `writer(database)` gives it.

SQLite takes prepared statements, PostgreSQL COPY, MariaDB and MySQL statements of many rows. Texts are made
a column at a time, those of equal values once.
"""

from __future__ import annotations

import datetime
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import peewee

Columns = dict[str, Sequence[Any]]  # by the column's name, a value for each row of a batch
Texts = dict[type, Callable[[Any], str]]


class Writer:
    """Inserts batches into a table.

    :param key: columns of a unique key: rows that have the same are replaced; None refuses them.
    """

    replaces = " ON CONFLICT ({key}) DO UPDATE SET {values}"
    value = "{0} = excluded.{0}"

    def __init__(self, database: peewee.Database, model: type[peewee.Model], key: Sequence[str] | None) -> None:
        self.database, self.key = database, key
        self.table = self._sql(model._meta.entity)
        self.stage = self._sql(peewee.Entity(f"{model._meta.table_name}__upload"))

    def write(self, columns: Columns) -> None:
        """Insert the rows of a batch, whose values `Column.adapt` has given; of equal keys the last counts."""
        raise NotImplementedError

    def _sql(self, node: peewee.Node) -> str:
        return str(self.database.get_sql_context().sql(node).query()[0])

    def _names(self, names: Iterable[str]) -> str:
        return self._sql(peewee.CommaNodeList([peewee.Entity(name) for name in names]))

    def _conflict(self, columns: Columns) -> str:
        """Return the clause that replaces what is there."""
        if self.key is None:
            return ""
        others = [name for name in columns if name not in self.key] or self.key
        values = ", ".join(self.value.format(self._names([name])) for name in others)
        return self.replaces.format(key=self._names(self.key), values=values)

    def _last(self, columns: Columns, rows: Iterable[Any]) -> Iterable[Any]:
        """Return the last of the rows that have a key in common; PostgreSQL takes but one in a statement."""
        return rows if self.key is None else dict(zip(zip(*map(columns.__getitem__, self.key)), rows)).values()


class _SQLite(Writer):
    def write(self, columns: Columns) -> None:
        values = [self._bound(column) for column in columns.values()]
        marks = ", ".join("?" * len(columns))
        statement = f"INSERT INTO {self.table} ({self._names(columns)}) VALUES ({marks}){self._conflict(columns)}"
        self.database.cursor().executemany(statement, self._last(columns, zip(*values)))

    def _bound(self, column: Sequence[Any]) -> Iterable[Any]:
        """Return dates and decimals as Peewee stores them; sqlite3 would call an adapter in Python for each."""
        if isinstance(next(filter(_is_given, column), None), (datetime.date, datetime.time, Decimal)):
            known = {value: str(value) if _is_given(value) else None for value in set(column)}
            return map(known.__getitem__, column)
        return column


class _PostgreSQL(Writer):
    def write(self, columns: Columns) -> None:
        rows = self._last(columns, map("\t".join, zip(*_texts(columns, _COPY))))
        names, cursor = self._names(columns), self.database.cursor()
        if self.key is None:
            self._copy(cursor, self.table, names, rows)
            return
        cursor.execute(f"CREATE TEMP TABLE {self.stage} AS SELECT {names} FROM {self.table} WITH NO DATA")
        self._copy(cursor, self.stage, names, rows)
        conflict = self._conflict(columns)
        cursor.execute(f"INSERT INTO {self.table} ({names}) SELECT {names} FROM {self.stage}{conflict}")
        cursor.execute(f"DROP TABLE {self.stage}")

    def _copy(self, cursor: Any, table: str, names: str, rows: Iterable[str]) -> None:
        statement, text = f"COPY {table} ({names}) FROM STDIN", "\n".join(rows) + "\n"
        if hasattr(cursor, "copy"):
            with cursor.copy(statement) as copy:
                copy.write(text)
        else:  # psycopg2
            cursor.copy_expert(statement, io.StringIO(text))


class _MySQL(Writer):
    replaces = " ON DUPLICATE KEY UPDATE {values}"
    value = "{0} = VALUES({0})"
    limit = 0  # characters of a statement: each is four bytes at most
    lenient = ""  # the session's mode where that would bend values to fit

    def write(self, columns: Columns) -> None:
        rows = list(map(",".join, zip(*_texts(columns, _LITERALS))))
        if not self.limit:
            ((packet, mode),) = self.database.execute_sql("SELECT @@max_allowed_packet, @@sql_mode").fetchall()
            self.limit, self.lenient = int(packet) // 4 - 10_000, "" if "STRICT_" in mode else f"'{mode}'"
        head, conflict = f"INSERT INTO {self.table} ({self._names(columns)}) VALUES ", self._conflict(columns)
        size, cursor = max(1, self.limit // (max(map(len, rows)) + 3)), self.database.cursor()
        try:
            if self.lenient:
                cursor.execute("SET sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')")
            for first in range(0, len(rows), size):
                cursor.execute(f"{head}({'),('.join(rows[first : first + size])}){conflict}")
        finally:
            if self.lenient:
                cursor.execute(f"SET sql_mode = {self.lenient}")


def writer(database: peewee.Database) -> type[Writer]:
    """Return the class that writes to this kind of database."""
    if isinstance(database, peewee.SqliteDatabase):
        return _SQLite
    return _PostgreSQL if isinstance(database, peewee.PostgresqlDatabase) else _MySQL


def _texts(columns: Columns, texts: Texts) -> Iterator[Iterable[str]]:
    """Return for each column the texts of its values."""
    for column in columns.values():
        distinct = set(column)
        kinds = {kind: _text_of(kind, texts) for kind in set(map(type, distinct))}
        known = {value: kinds[type(value)](value) for value in distinct}
        yield map(known.__getitem__, column)


def _text_of(kind: type, texts: Texts) -> Callable[[Any], str]:
    for base in kind.__mro__:
        if base in texts:
            return texts[base]
    raise peewee.DataError(f"a value of the type {kind.__name__} cannot be uploaded")


def _is_given(value: Any) -> bool:
    return value is not None


def _copied(text: str) -> str:
    if "\\" in text or "\t" in text or "\n" in text or "\r" in text:
        return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    return text


def _quoted(text: str) -> str:
    """Return a literal that means the same in every mode of the server and character set of the connection."""
    if text.isascii() and "'" not in text and "\\" not in text and "\0" not in text:
        return f"'{text}'"
    return f"_utf8mb4 x'{text.encode().hex()}'"


def _double(number: float) -> str:
    text = repr(number)
    if "n" in text:  # nan, inf
        raise peewee.DataError(f"{text} is no number of MariaDB or MySQL")
    return text if "e" in text else text + "e0"  # without an exponent it would be a decimal


_TIMES = (datetime.date, datetime.time)  # and datetime, which is a date
_COPY: Texts = {
    type(None): lambda _: "\\N", bool: lambda value: "t" if value else "f", int: str, float: repr, Decimal: str,
    str: _copied, bytes: lambda value: "\\\\x" + value.hex(), **dict.fromkeys(_TIMES, str),
}  # fmt: skip
_LITERALS: Texts = {
    type(None): lambda _: "NULL", bool: lambda value: "1" if value else "0", int: str, float: _double,
    Decimal: "{:f}".format, str: _quoted, bytes: lambda value: f"x'{value.hex()}'",
    **dict.fromkeys(_TIMES, "'{}'".format),
}  # fmt: skip
