"""How a batch of rows is written into a table, in the fastest way of each database.

    writer = batch_writer(database, WeeklyActuals, key=())
    writer.write(columns)  # a batch: values as `Column.convert` returns them

SQLite gets a prepared statement, PostgreSQL a COPY, MySQL and MariaDB statements of
many rows.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import peewee

from db.column_values import Columns


def batch_writer(
    database: peewee.Database, model: type[peewee.Model], key: Sequence[str]
) -> BatchWriter:
    """Return the writer for a database.

    :param key: the columns of a unique constraint or primary key. A row replaces those
        that have the same values in these columns; of several in one batch the last one
        counts. Without a key the database refuses such rows.
    """
    if isinstance(database, peewee.SqliteDatabase):
        return SQLiteWriter(database, model, key)
    if isinstance(database, peewee.MySQLDatabase):
        return MySQLWriter(database, model, key)
    return PostgreSQLWriter(database, model, key)


class BatchWriter(ABC):
    """Writes batches into the table of a model."""

    def __init__(
        self, database: peewee.Database, model: type[peewee.Model], key: Sequence[str]
    ) -> None:
        self.database = database
        self.key = key
        self.table = self._sql(model._meta.entity)

    @abstractmethod
    def write(self, columns: Columns) -> None:
        """Insert a batch that has at least one row, in the transaction of the caller.

        :raises Exception: the error of the driver, if the database refuses a row.
        """

    def _sql(self, node: peewee.Node) -> str:
        sql: str = self.database.get_sql_context().sql(node).query()[0]
        return sql

    def _quoted(self, names: Iterable[str]) -> list[str]:
        return [self._sql(peewee.Entity(name)) for name in names]

    def _name_list(self, names: Iterable[str]) -> str:
        return ", ".join(self._quoted(names))

    def _updated(self, columns: Columns) -> list[str]:
        """Return the quoted names of the columns that an update sets."""
        names = [name for name in columns if name not in self.key]
        if not names:
            names = list(columns)  # a table of key columns; SQL has no empty update
        return self._quoted(names)

    def _on_conflict(self, columns: Columns) -> str:
        """Return the clause that updates existing rows, on SQLite and PostgreSQL."""
        if not self.key:
            return ""
        updates = [f"{name} = excluded.{name}" for name in self._updated(columns)]
        key = self._name_list(self.key)
        return f" ON CONFLICT ({key}) DO UPDATE SET {', '.join(updates)}"


# -- SQLite


class SQLiteWriter(BatchWriter):
    """Executes one prepared statement for all rows."""

    def write(self, columns: Columns) -> None:
        names = self._name_list(columns)
        placeholders = ", ".join(["?"] * len(columns))
        rows = zip(*map(_sqlite_values, columns.values()))
        self.database.cursor().executemany(
            f"INSERT INTO {self.table} ({names}) VALUES ({placeholders})"
            + self._on_conflict(columns),
            rows,
        )


def _sqlite_values(values: Sequence[Any]) -> Iterable[Any]:
    """Return dates and decimals as the text that Peewee stores.

    sqlite3 would call an adapter, which is written in Python, for each value.
    """
    first = next((value for value in values if value is not None), None)
    if isinstance(first, (datetime.date, datetime.time, Decimal)):
        return _map_distinct(_text_or_none, values)
    return values


def _text_or_none(value: Any) -> str | None:
    if value is None:
        return None
    return str(value)


# -- PostgreSQL


class PostgreSQLWriter(BatchWriter):
    """Copies the rows into the table.

    COPY cannot update: rows that may replace others are copied into a temporary table,
    and inserted from there.
    """

    def write(self, columns: Columns) -> None:
        names = self._name_list(columns)
        rows = map("\t".join, _rows(columns, _copy_text))
        if not self.key:
            self._copy(f"{self.table} ({names})", rows)
            return
        staging = "pg_temp.uploaded_rows"
        cursor = self.database.cursor()
        cursor.execute(
            "CREATE TEMP TABLE uploaded_rows AS "
            f"SELECT {names} FROM {self.table} WITH NO DATA"
        )
        self._copy(f"{staging} ({names})", self._last_of_each_key(columns, rows))
        cursor.execute(
            f"INSERT INTO {self.table} ({names}) SELECT {names} FROM {staging}"
            + self._on_conflict(columns)
        )
        cursor.execute(f"DROP TABLE {staging}")

    def _copy(self, table: str, rows: Iterable[str]) -> None:
        cursor = self.database.cursor()
        statement = f"COPY {table} FROM STDIN"
        text = "\n".join(rows) + "\n"
        if hasattr(cursor, "copy"):
            with cursor.copy(statement) as stream:
                stream.write(text)
        else:  # psycopg2
            cursor.copy_expert(statement, io.StringIO(text))

    def _last_of_each_key(self, columns: Columns, rows: Iterable[str]) -> Iterable[str]:
        """Return the rows without those that a later row of the batch replaces.

        A statement of PostgreSQL cannot update the same row twice.
        """
        kept: dict[object, str] = {}
        keys = zip(*[columns[name] for name in self.key])
        for key, row in zip(keys, rows):
            if None in key:
                kept[object()] = row  # NULL is not equal to NULL: nothing replaces it
            else:
                kept[key] = row
        return kept.values()


_COPY_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def _copy_text(value: Any) -> str:
    """Return a value in the text format of COPY."""
    if value is None:
        return r"\N"
    if isinstance(value, bytes):
        return rf"\\x{value.hex()}"  # \x, with its backslash escaped
    return str(value).translate(_COPY_ESCAPES)


# -- MySQL and MariaDB


class MySQLWriter(BatchWriter):
    """Executes statements of many rows."""

    # Every MariaDB accepts a statement of this size, and larger ones are not faster.
    max_statement_size = 1_000_000  # bytes

    def write(self, columns: Columns) -> None:
        insert = f"INSERT INTO {self.table} ({self._name_list(columns)}) VALUES"
        on_duplicate_key = self._on_duplicate_key(columns)
        rows = list(map(",".join, _rows(columns, _mysql_literal)))
        cursor = self.database.cursor()
        with _strict_mode(cursor):
            for some in self._statement_sized(rows):
                cursor.execute(f"{insert} ({'),('.join(some)}){on_duplicate_key}")

    def _statement_sized(self, rows: list[str]) -> Iterator[list[str]]:
        """Split rows into lists that each fit into a statement."""
        size_of_row = max(map(len, rows)) + len("),(")
        count = max(1, self.max_statement_size // size_of_row)
        for start in range(0, len(rows), count):
            yield rows[start : start + count]

    def _on_duplicate_key(self, columns: Columns) -> str:
        if not self.key:
            return ""
        updates = [f"{name} = VALUES({name})" for name in self._updated(columns)]
        return f" ON DUPLICATE KEY UPDATE {', '.join(updates)}"


@contextlib.contextmanager
def _strict_mode(cursor: Any) -> Iterator[None]:
    """Have the server refuse values that do not fit, instead of changing them."""
    cursor.execute(
        "SET @mode_before_upload = @@sql_mode, sql_mode = 'STRICT_ALL_TABLES'"
    )
    try:
        yield
    finally:
        # If the connection is lost there is no mode to restore, and the error of this
        # statement would hide why.
        with contextlib.suppress(Exception):
            cursor.execute(
                "SET sql_mode = @mode_before_upload, @mode_before_upload = NULL"
            )


_NEEDS_ENCODING = re.compile(r"['\\\0]|[^\x00-\x7f]")


def _mysql_literal(value: Any) -> str:
    """Return a value as SQL in ASCII.

    It means the same in every mode of the server and character set of the connection.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, int):
        return str(int(value))  # of a bool 1 or 0
    text = str(value)
    if _NEEDS_ENCODING.search(text):
        return f"_utf8mb4 x'{text.encode().hex()}'"
    return f"'{text}'"


# -- For all of them


def _rows(columns: Columns, text_of: Callable[[Any], str]) -> Iterator[tuple[str, ...]]:
    """Return the texts of the values, row by row."""
    return zip(*[_map_distinct(text_of, values) for values in columns.values()])


def _map_distinct(
    text_of: Callable[[Any], Any], values: Sequence[Any]
) -> Iterator[Any]:
    """Return the text of each value; of equal values it is made once."""
    texts = {value: text_of(value) for value in set(values)}
    return map(texts.__getitem__, values)
