"""Batches go into a table in the way that is fastest on each engine.

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
_STATEMENT = 1_000_000  # bytes: every MariaDB takes as much, and with more it is no faster


def write(database: peewee.Database, model: type[peewee.Model], key: Sequence[str], columns: Columns) -> None:
    """Insert the rows of a batch, whose values `Column.adapt` has given.

    :param key: columns of a unique key: rows that have the same are replaced, and of a batch's own the last counts;
        none refuses them.
    """

    def named(names: Iterable[str], form: str = "{0}") -> str:
        return ", ".join(form.format(_sql(database, peewee.Entity(name))) for name in names)

    table, cursor = _sql(database, model._meta.entity), database.cursor()
    changed = [name for name in columns if name not in key] or key
    conflict = f" ON CONFLICT ({named(key)}) DO UPDATE SET {named(changed, '{0} = excluded.{0}')}" if key else ""
    if isinstance(database, peewee.SqliteDatabase):
        _sqlite(cursor, f"{table} ({named(columns)})", columns, conflict)
    elif isinstance(database, peewee.PostgresqlDatabase):
        _postgresql(cursor, table, named(columns), columns, key, conflict)
    else:
        conflict = f" ON DUPLICATE KEY UPDATE {named(changed, '{0} = VALUES({0})')}" if key else ""
        _mysql(cursor, f"{table} ({named(columns)})", columns, conflict)


def _sql(database: peewee.Database, node: peewee.Node) -> str:
    return str(database.get_sql_context().sql(node).query()[0])


def _sqlite(cursor: Any, into: str, columns: Columns, conflict: str) -> None:
    marks = ", ".join("?" * len(columns))
    cursor.executemany(f"INSERT INTO {into} VALUES ({marks}){conflict}", zip(*map(_bound, columns.values())))


def _bound(column: Sequence[Any]) -> Iterable[Any]:
    """Return dates and decimals as Peewee stores them; sqlite3 would call an adapter in Python for each."""
    if isinstance(next((value for value in column if value is not None), None), (*_TIMES, Decimal)):
        known = {value: value if value is None else str(value) for value in set(column)}
        return map(known.__getitem__, column)
    return column


def _postgresql(cursor: Any, table: str, names: str, columns: Columns, key: Sequence[str], conflict: str) -> None:
    rows: Iterable[str] = map("\t".join, zip(*_texts(columns, _COPY)))
    if not key:
        _copy(cursor, f"{table} ({names})", rows)
        return
    last = dict(zip(zip(*map(columns.__getitem__, key)), rows))  # a statement replaces a row but once
    cursor.execute(f"CREATE TEMP TABLE uploaded_rows AS SELECT {names} FROM {table} WITH NO DATA")
    _copy(cursor, f"pg_temp.uploaded_rows ({names})", last.values())
    cursor.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM pg_temp.uploaded_rows{conflict}")
    cursor.execute("DROP TABLE pg_temp.uploaded_rows")


def _copy(cursor: Any, into: str, rows: Iterable[str]) -> None:
    statement, text = f"COPY {into} FROM STDIN", "\n".join(rows) + "\n"
    if hasattr(cursor, "copy"):
        with cursor.copy(statement) as copy:
            copy.write(text)
    else:  # psycopg2
        cursor.copy_expert(statement, io.StringIO(text))


def _mysql(cursor: Any, into: str, columns: Columns, conflict: str) -> None:
    rows = list(map(",".join, zip(*_texts(columns, _LITERALS))))
    many = max(1, _STATEMENT // (max(map(len, rows)) + 3))
    cursor.execute("SET @mode = @@sql_mode, sql_mode = 'STRICT_ALL_TABLES'")  # another bends values until they fit
    try:
        for first in range(0, len(rows), many):
            cursor.execute(f"INSERT INTO {into} VALUES ({'),('.join(rows[first : first + many])}){conflict}")
    finally:
        cursor.execute("SET sql_mode = @mode, @mode = NULL")


def _texts(columns: Columns, texts: Texts) -> Iterator[Iterable[str]]:
    """Return for each column the texts of its values."""
    for column in columns.values():
        distinct = set(column)
        kinds = {kind: next(texts[base] for base in kind.__mro__ if base in texts) for kind in set(map(type, distinct))}
        known = {value: kinds[type(value)](value) for value in distinct}
        yield map(known.__getitem__, column)


def _unknown(value: object) -> str:
    raise peewee.DataError(f"a value of the type {type(value).__name__} cannot be uploaded")


def _copied(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


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
_COPY: Texts = {  # a bool is an int whose text every server understands
    type(None): lambda _: "\\N", int: str, float: repr, Decimal: str,
    str: _copied, bytes: lambda value: "\\\\x" + value.hex(), **dict.fromkeys(_TIMES, str), object: _unknown,
}  # fmt: skip
_LITERALS: Texts = {
    type(None): lambda _: "NULL", int: str, float: _double,
    Decimal: "{:f}".format, str: _quoted, bytes: lambda value: f"x'{value.hex()}'",
    **dict.fromkeys(_TIMES, "'{}'".format), object: _unknown,
}  # fmt: skip
