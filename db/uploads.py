"""Uploads of weekly actuals at the speed of the database, all rows or none: `WeeklyActuals.bulk_insert`.

Rows are taken batch by batch, and a batch column by column: values that have the column's Python type
pass as they are, others go through the model's field. No instances are made, no ids returned.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import peewee

_TYPES = {"VARCHAR": str, "INT": int, "DATE": datetime.date, "DATETIME": datetime.datetime, "DOUBLE": float}
_VARIANCE = ("variance_pct", "actual_units_sold", "forecast_units_sold")
_STAGE = "weekly_actuals__upload"
Columns = dict[str, Sequence[Any]]  # by the column's name, a value for each row of a batch


class UploadRefused(peewee.IntegrityError, ValueError):
    """Nothing was uploaded; the text names the rows to blame, counted from 1."""


def progress(rows: Iterable[Any]) -> Iterable[Any]:
    """Return the rows with a progress bar, where tqdm is installed and standard error is a terminal."""
    try:
        from tqdm import tqdm
    except ImportError:
        return rows
    return tqdm(rows, unit=" rows", disable=None)


def bulk_insert(
    model: type[peewee.Model], rows: Iterable[Any], fields: Sequence[Any], on_conflict: str | None,
    database: peewee.Database | None, batch_size: int,
) -> int:  # fmt: skip
    """Insert rows and return their number; see `WeeklyActuals.bulk_insert`."""
    if on_conflict not in (None, "update"):
        raise ValueError(f'on_conflict is None or "update", not {on_conflict!r}')
    database = database or model._meta.database
    database = database.obj if isinstance(database, peewee.Proxy) else database
    if database is None:
        raise peewee.InterfaceError(f"{model.__name__} is bound to no database; bind it, or pass database=...")
    upload, rows = _Upload(model, database, fields, on_conflict == "update"), iter(rows)
    # SQLite cannot turn a deferred transaction in which `rows` has read into one that writes.
    with database.atomic("IMMEDIATE") if isinstance(database, peewee.SqliteDatabase) else database.atomic():
        while batch := list(islice(rows, batch_size)):
            upload.insert(batch)
    return upload.done


class _Upload:
    """An upload under way: `insert` takes the next batch, `done` counts the rows."""

    def __init__(self, model: type[peewee.Model], database: peewee.Database, fields: Sequence, update: bool) -> None:
        self.model, self.database, self.update, self.done = model, database, update, 0
        self.columns = {field.column_name: field for field in model._meta.sorted_fields if not field.primary_key}
        self.key = model._meta.unique_key[1]
        self.uploaded_at = model.uploaded_at.default()  # one for all
        self.fields = list(self._columns(fields))

    def insert(self, batch: list[Any]) -> None:
        """Insert a batch, or nothing of it."""
        given = self._by_column(batch)
        columns = {name: self._adapted(name, given.get(name, [None] * len(batch))) for name in self.columns}
        columns["variance_pct"] = [
            (actual - forecast) / forecast if variance is None and forecast else variance
            for variance, actual, forecast in zip(*map(columns.get, _VARIANCE))
        ]
        try:
            with self.database.atomic(), peewee.__exception_wrapper__:
                self._write(columns)
        except (peewee.IntegrityError, peewee.DataError, OverflowError) as error:
            blame = self._blame(columns) if isinstance(error, peewee.IntegrityError) else ()
            rows = f"rows {self.done + 1} to {self.done + len(batch)}"
            reason = "; ".join(islice(blame, 5)) or f"{rows}: {' '.join(str(error).split())}"
            raise UploadRefused(f"nothing was uploaded: {reason}") from error
        self.done += len(batch)

    def _by_column(self, batch: list[Any]) -> Columns:
        if isinstance(batch[0], Mapping):
            self._demand(batch, "a dict", lambda row: isinstance(row, Mapping))
            keys = self._columns(set().union(*batch))
            return {name: [row.get(key) for row in batch] for name, key in keys.items()}
        many = len(self.fields)
        expected = f"{many} values, as fields has" if many else "a dict, or fields=[...]"
        self._demand(batch, expected, lambda row: isinstance(row, Sequence) and len(row) == many)
        return dict(zip(self.fields, zip(*batch)))

    def _demand(self, batch: list[Any], expected: str, fits: Callable[[Any], bool]) -> None:
        for position, row in enumerate(batch, self.done + 1):
            if not fits(row):
                raise UploadRefused(f"row {position}: expected {expected}: {row!r}")

    def _columns(self, keys: Iterable[Any]) -> dict[str, Any]:
        """Return by column the key that stands for it: its name, the field's, or the field."""
        found: dict[str, Any] = {}
        for key in keys:
            field = key if isinstance(key, peewee.Field) else self.model._meta.combined.get(key)
            if field is None or self.columns.get(field.column_name) is not field:
                raise UploadRefused(f"unknown column {key!r}; known are {', '.join(self.columns)}")
            if field.column_name in found:
                raise UploadRefused(f"the column {field.column_name} is given twice, as {key} too")
            found[field.column_name] = key
        return found

    def _adapted(self, name: str, values: Sequence[Any]) -> Sequence[Any]:
        """Return values of the column's Python type; equal ones are adapted once."""
        field, default = self.columns[name], self.uploaded_at if name == "uploaded_at" else None
        expected = _TYPES.get(getattr(field, "rel_field", field).field_type, object)
        if set(map(type, values)) <= {expected, type(None) if field.null else expected}:
            return values
        adapt = lru_cache(maxsize=None, typed=True)(field.db_value)
        adapted = []
        for position, value in enumerate(values, self.done + 1):
            try:
                result = adapt(default if value is None else value)
            except (TypeError, ValueError, OverflowError):
                result = ...
            if not isinstance(result, expected) and not (result is None and field.null):
                found = "missing" if value is None else f"{value!r}, expected {expected.__name__}"
                raise UploadRefused(f"row {position}: {name} is {found}")
            adapted.append(result)
        return adapted

    def _write(self, columns: Columns) -> None:
        if isinstance(self.database, peewee.SqliteDatabase):
            # sqlite3 would call an adapter in Python for each date: a third of an upload's time.
            for name in ("week_start_date", "week_end_date", "uploaded_at"):
                columns = {**columns, name: list(map(lru_cache(maxsize=None)(str), columns[name]))}
        rows: Iterable[tuple] = zip(*columns.values())
        if self.update:  # of equal keys the last one counts; PostgreSQL takes but one in a statement
            rows = dict(zip(zip(*map(columns.get, self.key)), rows)).values()
        cursor, fields = self.database.cursor(), list(self.columns.values())
        table, names = self.model._meta.table_name, ", ".join(columns)
        if not hasattr(cursor, "copy"):  # PyMySQL makes statements of many rows of it
            marks = ", ".join([self.database.param] * len(fields))
            statement = f"INSERT INTO {table} ({names}) VALUES ({marks})"
            if self.update:
                statement = self._sql(self.model.insert_many([[None] * len(fields)], fields))
            cursor.executemany(statement, rows)
            return
        if self.update:
            cursor.execute(f"CREATE TEMP TABLE {_STAGE} AS SELECT {names} FROM {table} WITH NO DATA")
        with cursor.copy(f"COPY {_STAGE if self.update else table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        if self.update:
            cursor.execute(self._sql(self.model.insert_from(peewee.SQL(f"SELECT {names} FROM {_STAGE}"), fields)))
            cursor.execute(f"DROP TABLE {_STAGE}")

    def _sql(self, query: peewee.Insert) -> str:
        """Return the statement of an insert that replaces what was there."""
        target = {} if isinstance(self.database, peewee.MySQLDatabase) else {"conflict_target": self.key}
        query = query.on_conflict(preserve=[name for name in self.columns if name not in self.key], **target)
        return self.database.get_sql_context().sql(query.returning()).query()[0]

    def _blame(self, columns: Columns) -> Iterator[str]:
        """Say which rows of a refused batch point at nothing, and which are there already."""
        for name, field in self.columns.items():
            for value in dict.fromkeys(columns[name]) if isinstance(field, peewee.ForeignKeyField) else ():
                if not field.rel_model.select().where(field.rel_field == value).exists(self.database):
                    yield f"row {self.done + 1 + columns[name].index(value)}: there is no {field.name} {value!r}"
        seen: set[tuple] = set()
        for position, key in enumerate(() if self.update else zip(*map(columns.get, self.key)), self.done + 1):
            same = [self.columns[name] == value for name, value in zip(self.key, key)]
            if key in seen or self.model.select().where(*same).exists(self.database):
                yield "row {}: workflow {}, week {}, store {} is there already, or given twice".format(position, *key)
            seen.add(key)
