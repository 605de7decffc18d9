"""What rows hold becomes what columns take, by the fields of a model, and goes into the table, a batch at a time.

    columns = {"week_start_date": Column(WeeklyActuals.week_start_date).adapt(["2025-03-03", date(2025, 3, 10)])}
    write(database, WeeklyActuals, (), columns)

A batch is made one column at a time. Values that have the column's Python type pass as they are; others go through
the field, and a text is made of them where one is needed, of equal ones once. Each engine gets a batch in the way that
is fastest there: SQLite prepared statements, PostgreSQL COPY, MariaDB and MySQL statements of many rows.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

import peewee

Columns = dict[str, Sequence[Any]]  # by the column's name, a value for each row of a batch
_TYPES: dict[str, type] = {  # of what goes into a column, by the type of its field
    **dict.fromkeys(("VARCHAR", "CHAR", "TEXT", "JSON", "JSONB", "UUID"), str),
    **dict.fromkeys(("INT", "BIGINT", "SMALLINT", "AUTO", "BIGAUTO"), int),
    **dict.fromkeys(("FLOAT", "DOUBLE"), float),
    **dict.fromkeys(("BLOB", "UUIDB"), bytes),
    **{"BOOL": bool, "DECIMAL": Decimal},
    **{"DATE": datetime.date, "TIME": datetime.time, "DATETIME": datetime.datetime},
}
_FORMED = {"JSON", "JSONB", "UUID", "UUIDB", "DECIMAL"}  # no value of that type goes in as it is
_WORDS = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})  # of COPY
_STATEMENT = 1_000_000  # bytes: every MariaDB takes as much, and with more it is no faster


class BadValue(ValueError):
    """A value is not what its column takes: the position of its row in the batch, from 0, and what is wrong."""


class Column:
    """A column that rows can fill in; `optional` where the database does it for those that do not."""

    def __init__(self, field: peewee.Field) -> None:
        self.field: Any = field
        self.target: Any = field
        while isinstance(self.target, peewee.ForeignKeyField):
            self.target = self.target.rel_field
        # What a field of another make converts, only it knows.
        known = type(self.target).__module__ in ("peewee", "db.fields") or "JSON" in self.target.field_type
        self.kind = self.target.field_type if known else "OWN"
        self.type: type = _TYPES.get(self.kind, object)
        self.default = field.default
        if callable(self.default) and issubclass(self.type, (datetime.date, datetime.time)):
            self.default = self.default()  # one time for the whole of an upload
        self.may_be_null = field.null and self.default is None
        self.optional = self.default is None and bool(field.constraints)  # perhaps a DEFAULT of the database's

    def adapt(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the values as the column takes them, its default where there is none.

        :raises BadValue: one cannot be converted, or is missing.
        """
        plain = {self.type, type(None) if self.may_be_null else self.type}
        fit = self.kind not in _FORMED and plain.issuperset(map(type, values))
        if fit and not (self.kind == "DATETIME" and any(value and value.tzinfo for value in set(values))):
            return values
        may_lack_a_hash = self.kind in ("JSON", "JSONB", "BLOB")
        adapt = self._adapted if may_lack_a_hash else lru_cache(maxsize=None, typed=True)(self._adapted)
        adapted = []
        for position, value in enumerate(values):
            if value is None:
                value = self.default() if callable(self.default) else self.default
            try:
                adapted.append(adapt(value))
            except (TypeError, ValueError, ArithmeticError, LookupError):
                raise BadValue(position, self._fault(value)) from None
        return adapted

    def _adapted(self, value: Any) -> Any:
        if isinstance(value, peewee.Model):
            value = value.__data__.get(self.field.rel_field.name)
        result = None if value is None else self._converted(value)
        if self.may_be_null if result is None else isinstance(result, self.type):
            return result
        raise TypeError

    def _converted(self, value: Any) -> Any:
        """Convert a value as Peewee does, but for what that would bend or let pass."""
        if self.kind in ("JSON", "JSONB"):
            return json.dumps(value, allow_nan=False)
        if self.kind in ("UUID", "UUIDB"):
            key = uuid.UUID(bytes=value) if isinstance(value, bytes) else uuid.UUID(str(value))
            return key.hex if self.kind == "UUID" else key.bytes
        if self.kind == "BLOB":
            return value.encode() if isinstance(value, str) else bytes(memoryview(value))
        if self.kind == "BOOL":
            return _WORDS[str(value).strip().lower()]
        if self.kind == "DECIMAL":
            value = Decimal(str(value))
            if not value.is_finite():
                raise ValueError
        if self.type is int and isinstance(value, (float, Decimal)) and value % 1:
            raise ValueError
        result = self.target.db_value(value)
        if isinstance(result, datetime.datetime) and result.tzinfo:
            return result.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return str.__str__(result) if isinstance(result, str) else result  # an Enum's value, not its name

    def _fault(self, value: Any) -> str:
        name = self.field.column_name
        if value is None:
            return f"{name} is missing"
        blanks = ", with blanks" if isinstance(value, str) and value != value.strip() else ""
        expected = self.kind[:4] if self.kind[:4] in ("JSON", "UUID") else self.type.__name__
        return f"{name} is {value!r:.80}{blanks}, expected {expected}"


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
