"""How a batch of rows is written into a table, in the fastest way of each database.

    writer = batch_writer(database, WeeklyActuals, key=())
    # A batch: values as `Column.convert` returns them.
    number_of_stored_rows = writer.write(columns)

SQLite gets a prepared statement, PostgreSQL a COPY, MySQL and MariaDB statements of
many rows.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Context, Decimal
from typing import Any

import peewee

from db.column_values import Columns, RowProblem
from db.refused_rows import UniqueKeyMissing, is_missing_privilege


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
        self.table_name: str = model._meta.table_name
        self.table = self._sql(model._meta.entity)
        # The position of the row that the latest `write` has failed at, if it is known.
        self.refused_position: int | None = None

    @abstractmethod
    def write(self, columns: Columns) -> int:
        """Insert a batch that has at least one row, in the transaction of the caller.

        Returns the number of rows that are stored; a trigger may skip some.

        :raises Exception: the error of the driver, if the database refuses a row.
        """

    def write_defaults(self, row_count: int) -> None:
        """Insert rows that have the table's defaults in all columns."""
        cursor = self.database.cursor()
        for _ in range(row_count):
            cursor.execute(f"INSERT INTO {self.table} DEFAULT VALUES")

    def truncated_values(self, columns: Columns) -> list[RowProblem]:
        """Return the values of a batch that the database would truncate or round.

        It would store those without an error.
        """
        return []

    def is_row_independent(self, error: Exception) -> bool:
        """Whether the database would refuse any row for the reason of an error."""
        return False

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

    def write(self, columns: Columns) -> int:
        names = self._name_list(columns)
        placeholders = ", ".join(["?"] * len(columns))
        rows = _CountedRows(zip(*map(_sqlite_values, columns.values())))
        cursor = self.database.cursor()
        self.refused_position = None
        try:
            cursor.executemany(
                # OR ABORT is in force in place of what a constraint of the table says,
                # such as UNIQUE ... ON CONFLICT REPLACE.
                f"INSERT OR ABORT INTO {self.table} ({names}) VALUES ({placeholders})"
                + self._on_conflict(columns),
                rows,
            )
        except Exception:
            if rows.count:
                self.refused_position = rows.count - 1
            raise
        stored: int = cursor.rowcount
        return stored


class _CountedRows:
    """An iterator that knows how many rows were taken from it."""

    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:
        self.rows = rows
        self.count = 0

    def __iter__(self) -> _CountedRows:
        return self

    def __next__(self) -> tuple[Any, ...]:
        row = next(self.rows)
        self.count += 1
        return row


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

    COPY cannot update, and is not allowed under row-level security. Then the rows are
    copied into a temporary table, and inserted from there.
    """

    def __init__(
        self, database: peewee.Database, model: type[peewee.Model], key: Sequence[str]
    ) -> None:
        super().__init__(database, model, key)
        # No other temporary table of the session has this name.
        self.staging_name = f"uploaded_rows_{uuid.uuid4().hex}"
        self.has_row_security: bool | None = None  # not known yet
        self.column_types: dict[str, str] = {}  # not known yet

    def write(self, columns: Columns) -> int:
        names = self._name_list(columns)
        rows = map("\t".join, _rows(columns, _copy_text))
        if not self.key and not self._is_under_row_security():
            return self._copy(f"{self.table} ({names})", rows)
        staging = f"pg_temp.{self.staging_name}"
        row_count = len(next(iter(columns.values())))
        last_rows = list(self._last_of_each_key(columns, rows))
        cursor = self.database.cursor()
        cursor.execute(
            f"CREATE TEMP TABLE {self.staging_name} AS "
            f"SELECT {names} FROM {self.table} WITH NO DATA"
        )
        self._copy(f"{staging} ({names})", last_rows)
        cursor.execute(
            f"INSERT INTO {self.table} ({names}) SELECT {names} FROM {staging}"
            + self._on_conflict(columns)
        )
        skipped: int = len(last_rows) - cursor.rowcount
        cursor.execute(f"DROP TABLE {staging}")
        return row_count - skipped

    def truncated_values(self, columns: Columns) -> list[RowProblem]:
        return _truncated_values(columns, self._types_of_columns)

    def is_row_independent(self, error: Exception) -> bool:
        # What row-level security refuses has the same SQLSTATE.
        return is_missing_privilege(error) and not self._is_under_row_security()

    def _is_under_row_security(self) -> bool:
        if self.has_row_security is None:
            cursor = self.database.cursor()
            cursor.execute("SELECT row_security_active(%s::regclass)", (self.table,))
            (self.has_row_security,) = cursor.fetchone()
        return bool(self.has_row_security)

    def _types_of_columns(self) -> dict[str, str]:
        if not self.column_types:
            cursor = self.database.cursor()
            cursor.execute(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
                "WHERE attrelid = %s::regclass AND attnum > 0",
                (self.table,),
            )
            self.column_types = dict(cursor.fetchall())
        return self.column_types

    def _copy(self, table: str, rows: Iterable[str]) -> int:
        """Copy rows into a table; return the number of those that it stores."""
        cursor = self.database.cursor()
        statement = f"COPY {table} FROM STDIN"
        text = "\n".join(rows) + "\n"
        if hasattr(cursor, "copy"):
            with cursor.copy(statement) as stream:
                stream.write(text)
        else:  # psycopg2
            cursor.copy_expert(statement, io.StringIO(text))
        stored: int = cursor.rowcount
        return stored

    def _last_of_each_key(self, columns: Columns, rows: Iterable[str]) -> Iterable[str]:
        """Return the rows without those that a later row of the batch replaces.

        A statement of PostgreSQL cannot update the same row twice.
        """
        if not self.key:
            return rows
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
    if isinstance(value, (list, dict, datetime.timedelta)):
        return _literal_text(value).translate(_COPY_ESCAPES)
    return str(value).translate(_COPY_ESCAPES)


def _literal_text(value: Any) -> str:
    """Return a value as PostgreSQL reads an array, an HSTORE or an INTERVAL.

    https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
    """
    if isinstance(value, list):
        return "{" + ",".join(map(_element_text, value)) + "}"
    if isinstance(value, dict):
        pairs = []
        for key, each in value.items():
            pairs.append(f"{_quoted_text(key)}=>{_element_text(each)}")
        return ",".join(pairs)
    if isinstance(value, datetime.timedelta):
        microseconds = value // datetime.timedelta(microseconds=1)
        return f"{microseconds} microseconds"
    return str(value)


def _element_text(value: Any) -> str:
    """Return a value of an array or an HSTORE."""
    if value is None:
        return "NULL"
    if isinstance(value, list):  # a further dimension
        return _literal_text(value)
    return _quoted_text(_literal_text(value))


def _quoted_text(value: Any) -> str:
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


# -- MySQL and MariaDB


class MySQLWriter(BatchWriter):
    """Executes statements of many rows."""

    # Every MariaDB accepts a statement of this size, and larger ones are not faster.
    max_statement_size = 1_000_000  # bytes

    def __init__(
        self, database: peewee.Database, model: type[peewee.Model], key: Sequence[str]
    ) -> None:
        super().__init__(database, model, key)
        self.unique_keys: dict[str, list[str]] = {}  # not known yet
        self.column_types: dict[str, str] = {}  # not known yet

    def write(self, columns: Columns) -> int:
        insert = f"INSERT INTO {self.table} ({self._name_list(columns)}) VALUES"
        on_duplicate_key = self._on_duplicate_key(columns)
        rows = list(map(",".join, _rows(columns, _mysql_literal)))
        cursor = self.database.cursor()
        with _strict_mode(cursor):
            if self.key:
                self._require_unique_key(cursor)
            for some in self._statement_sized(rows):
                statement = f"{insert} ({'),('.join(some)}){on_duplicate_key}"
                self._execute(cursor, statement, columns)
        return len(rows)  # no trigger can skip a row

    def write_defaults(self, row_count: int) -> None:
        cursor = self.database.cursor()
        for _ in range(row_count):
            cursor.execute(f"INSERT INTO {self.table} () VALUES ()")

    def truncated_values(self, columns: Columns) -> list[RowProblem]:
        return _truncated_values(columns, self._types_of_columns)

    def _types_of_columns(self) -> dict[str, str]:
        if not self.column_types:
            cursor = self.database.cursor()
            cursor.execute(f"SHOW COLUMNS FROM {self.table}")
            for name, type_text, *_ in cursor.fetchall():
                self.column_types[name] = type_text
        return self.column_types

    def _execute(self, cursor: Any, statement: str, columns: Columns) -> None:
        try:
            cursor.execute(statement)
        except Exception as error:
            if self.key and error.args[:1] == (_MORE_THAN_ONE_ROW,):
                raise peewee.IntegrityError(self._other_keys(columns)) from error
            raise

    def _require_unique_key(self, cursor: Any) -> None:
        """Refuse to update by columns that are not unique.

        :raises peewee.ProgrammingError: the table has no such unique key.
        """
        if not self.unique_keys:
            cursor.execute(f"SHOW INDEX FROM {self.table} WHERE Non_unique = 0")
            for _, _, key_name, _, column, _, _, prefix, *_ in cursor.fetchall():
                # Of an expression there is no column; a prefix is not the column.
                part = column or "an expression"
                if prefix is not None:
                    part = f"{column}({prefix})"
                self.unique_keys.setdefault(key_name, []).append(part)
        if not any(set(key) == set(self.key) for key in self.unique_keys.values()):
            raise UniqueKeyMissing(
                f"{self.table_name} has no unique key on ({', '.join(self.key)}) to "
                "find existing rows by"
            )

    def _other_keys(self, columns: Columns) -> str:
        """Return a message about a row that another unique key finds."""
        others = []
        for key_name, parts in self.unique_keys.items():
            has_new_number = len(parts) == 1 and parts[0] not in columns
            if set(parts) != set(self.key) and not has_new_number:
                others.append(f"{key_name} ({', '.join(parts)})")
        keys = " or ".join(others)
        return f"another row has the same values in the unique key {keys}"

    def _statement_sized(self, rows: list[str]) -> Iterator[list[str]]:
        """Split rows into lists that each fit into a statement."""
        size_of_row = max(map(len, rows)) + len("),(")
        count = max(1, self.max_statement_size // size_of_row)
        for start in range(0, len(rows), count):
            yield rows[start : start + count]

    def _on_duplicate_key(self, columns: Columns) -> str:
        """Return the clause that updates the row that has the same key.

        The server updates whichever row a unique key finds first:
        https://mariadb.com/kb/en/insert-on-duplicate-key-update/
        So the first assignment is an error if that row does not have the same key.
        """
        if not self.key:
            return ""
        key = self._quoted(self.key)
        same_key = " AND ".join(f"{name} = VALUES({name})" for name in key)
        two_rows = "(SELECT NULL UNION ALL SELECT NULL)"
        updates = [f"{key[0]} = IF({same_key}, {key[0]}, {two_rows})"]
        names = [name for name in columns if name not in self.key]
        updates += [f"{name} = VALUES({name})" for name in self._quoted(names)]
        return f" ON DUPLICATE KEY UPDATE {', '.join(updates)}"


_MORE_THAN_ONE_ROW = 1242  # of a subquery that may have one row


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


# -- For PostgreSQL, MySQL and MariaDB

_TIME_TYPE = re.compile(r"(?:timestamp|datetime|time)(?:\((?P<digits>\d+)\))?")
_DECIMAL_TYPE = re.compile(r"(?:numeric|decimal)\(\d+,(?P<scale>-?\d+)\)")
_TEXT_TYPE = re.compile(r"(?:character varying|varchar)\((?P<length>\d+)\)")
_MICROSECOND_DIGITS = 6
Types = dict[str, str]  # SQL types by column names


def _truncated_values(
    columns: Columns, types_of_columns: Callable[[], Types]
) -> list[RowProblem]:
    """Return the values of a batch that a server would truncate or round.

    :param types_of_columns: asks the server; called only if it may matter.
    """
    problems = []
    for name, values in columns.items():
        if not _have_hashes(values):
            continue
        suspects = {value for value in set(values) if _may_be_truncated(value)}
        if not suspects:
            continue
        type_text = types_of_columns().get(name, "")
        truncated = {each for each in suspects if not _keeps(type_text, each)}
        if not truncated:
            continue
        for position, value in enumerate(values):
            if value in truncated:
                reason = f"{name} is {value!s:.80}, which {type_text} does not keep"
                problems.append(RowProblem(position, reason))
    return problems


def _may_be_truncated(value: Any) -> bool:
    if isinstance(value, (datetime.datetime, datetime.time)):
        return value.microsecond != 0
    if isinstance(value, str):
        return value.endswith(" ")
    return isinstance(value, Decimal)


def _keeps(type_text: str, value: Any) -> bool:
    """Whether a column stores the whole value, or refuses it."""
    if isinstance(value, Decimal):
        type_ = _DECIMAL_TYPE.match(type_text)
        return type_ is None or _decimal_places(value) <= int(type_["scale"])
    if isinstance(value, str):
        type_ = _TEXT_TYPE.match(type_text)
        if type_ is None:
            return True
        # Only spaces are cut off silently.
        length = int(type_["length"])
        return len(value) <= length or len(value.rstrip(" ")) > length
    type_ = _TIME_TYPE.match(type_text)
    if type_ is None:
        return True
    digits = type_["digits"]
    if digits is None:  # in PostgreSQL's texts these types have more words
        digits = _MICROSECOND_DIGITS if " time zone" in type_text else 0
    unit = 10 ** (_MICROSECOND_DIGITS - int(digits))
    return bool(value.microsecond % unit == 0)


def _decimal_places(value: Decimal) -> int:
    """Return how many digits after the point a value needs."""
    exponent = value.normalize(Context(prec=len(value.as_tuple().digits))).as_tuple()
    return -int(exponent.exponent)


# -- For all of them


def _rows(columns: Columns, text_of: Callable[[Any], str]) -> Iterator[tuple[str, ...]]:
    """Return the texts of the values, row by row."""
    return zip(*[_map_distinct(text_of, values) for values in columns.values()])


def _map_distinct(
    text_of: Callable[[Any], Any], values: Sequence[Any]
) -> Iterator[Any]:
    """Return the text of each value; of equal values it is made once."""
    if not _have_hashes(values):
        return map(text_of, values)
    texts = {value: text_of(value) for value in set(values)}
    return map(texts.__getitem__, values)


def _have_hashes(values: Sequence[Any]) -> bool:
    """Whether values can be in a set, which lists and dicts cannot."""
    return not any(isinstance(value, (list, dict)) for value in values)
