"""Batches go into a table in the way that is fastest on each engine.

SQLite takes prepared statements, PostgreSQL COPY, MariaDB and MySQL statements of many rows. Texts are made
a column at a time, those of equal values once.
"""

from __future__ import annotations

import contextlib
import datetime
import io
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import peewee

Columns = dict[str, Sequence[Any]]  # by the column's name, a value for each row of a batch
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})  # of COPY
_STATEMENT = 1_000_000  # bytes: every MariaDB takes as much, and with more it is no faster


def write(database: peewee.Database, model: type[peewee.Model], key: Sequence[str], columns: Columns) -> None:
    """Insert the rows of a batch, whose values `Column.adapt` has given.

    :param key: columns of a unique key: rows that have the same are replaced, and of a batch's own the last counts;
        none refuses them.
    """

    def sql(*nodes: peewee.Node) -> str:
        return str(database.get_sql_context().sql(peewee.CommaNodeList(nodes)).query()[0])

    def conflict(clause: str, assignment: str) -> str:
        names = [sql(peewee.Entity(name)) for name in columns if name not in key or columns.keys() == {*key}]
        return clause + ", ".join(assignment.format(name) for name in names) if key else ""

    cursor, table, names = database.cursor(), sql(model._meta.entity), sql(*map(peewee.Entity, columns))
    if isinstance(database, peewee.MySQLDatabase):
        _mysql(cursor, f"{table} ({names})", columns, conflict(" ON DUPLICATE KEY UPDATE ", "{0} = VALUES({0})"))
        return
    clause = conflict(f" ON CONFLICT ({sql(*map(peewee.Entity, key))}) DO UPDATE SET ", "{0} = excluded.{0}")
    if isinstance(database, peewee.SqliteDatabase):
        marks = ", ".join("?" * len(columns))
        rows = zip(*map(_bound, columns.values()))
        cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks}){clause}", rows)
    else:
        _postgresql(cursor, table, names, columns, key, clause)


def _bound(column: Sequence[Any]) -> Iterable[Any]:
    """Return dates and decimals as Peewee stores them; sqlite3 would call an adapter in Python for each."""
    first = next((value for value in column if value is not None), None)
    if isinstance(first, (datetime.date, datetime.time, Decimal)):
        return _texts(column, lambda value: value if value is None else str(value))
    return column


def _postgresql(cursor: Any, table: str, names: str, columns: Columns, key: Sequence[str], clause: str) -> None:
    rows: Iterable[str] = map("\t".join, zip(*(_texts(column, _copied) for column in columns.values())))
    into = table
    if key:
        rows = dict(zip(zip(*map(columns.__getitem__, key)), rows)).values()  # a statement replaces a row but once
        into = "pg_temp.uploaded_rows"
        cursor.execute(f"CREATE TEMP TABLE uploaded_rows AS SELECT {names} FROM {table} WITH NO DATA")
    copy, text = f"COPY {into} ({names}) FROM STDIN", "\n".join(rows) + "\n"
    if hasattr(cursor, "copy"):
        with cursor.copy(copy) as stream:
            stream.write(text)
    else:  # psycopg2
        cursor.copy_expert(copy, io.StringIO(text))
    if key:
        cursor.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM {into}{clause}")
        cursor.execute(f"DROP TABLE {into}")


def _mysql(cursor: Any, into: str, columns: Columns, clause: str) -> None:
    rows = list(map(",".join, zip(*(_texts(column, _literal) for column in columns.values()))))
    many = max(1, _STATEMENT // (max(map(len, rows)) + 3))
    # Another mode bends values until they fit.
    cursor.execute("SET @mode_before_upload = @@sql_mode, sql_mode = 'STRICT_ALL_TABLES'")
    try:
        for first in range(0, len(rows), many):
            cursor.execute(f"INSERT INTO {into} VALUES ({'),('.join(rows[first : first + many])}){clause}")
    finally:
        with contextlib.suppress(Exception):  # a connection that was lost has nothing to restore, and hides why
            cursor.execute("SET sql_mode = @mode_before_upload, @mode_before_upload = NULL")


def _texts(column: Sequence[Any], text_of: Callable[[Any], Any]) -> Iterable[Any]:
    known = {value: text_of(value) for value in set(column)}
    return map(known.__getitem__, column)


def _copied(value: Any) -> str:
    """Return a value in the text format of COPY."""
    if value is None:
        return "\\N"
    return ("\\x" + value.hex() if isinstance(value, bytes) else str(value)).translate(_ESCAPES)


def _literal(value: Any) -> str:
    """Return a literal that means the same in every mode of the server and character set of the connection."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, int):  # a bool, too
        return str(int(value))
    text = str(value)
    if text.isascii() and "'" not in text and "\\" not in text and "\0" not in text:
        return f"'{text}'"
    return f"_utf8mb4 x'{text.encode().hex()}'"
