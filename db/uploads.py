"""Uploads at the speed of the database, all rows or none: `bulk_insert` of every model, and a command.

    WeeklyActuals.bulk_insert(rows, database=database)
    python -m db.uploads week_09.csv [--database URL] [--on-conflict update]

Rows are taken batch by batch, and a batch column by column. No instances are made, no ids returned.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import peewee

from db.fields import UniqueConstraint
from db.values import BadValue, Column, Columns, write

if TYPE_CHECKING:
    from db.models import Uploadable

_REFUSALS = (peewee.IntegrityError, peewee.DataError, OverflowError, UnicodeError)
_CHECK_FAILED = {4025, 3819}  # MariaDB's and MySQL's, which their driver takes for a matter of operation
# A table or a column that is not there, or no unique key for ON CONFLICT: PostgreSQL's, then MariaDB's code.
_UNFIT = {"42P01", "42703", "42P10", 1146, 1054}
_UNFIT_SQLITE = re.compile("no such table|table .* has no column|ON CONFLICT clause does not match")


class UploadRefused(peewee.IntegrityError, ValueError):
    """Nothing was uploaded; the text names the rows to blame, and `rows` holds their numbers and the reasons."""

    rows: tuple[tuple[int, str], ...] = ()  # counted from 1


def progress(rows: Iterable[Any]) -> Iterable[Any]:
    """Return the rows with a progress bar, where tqdm is installed and standard error is a terminal."""
    try:
        from tqdm import tqdm
    except ImportError:
        return rows
    bar: Iterable[Any] = tqdm(rows, unit=" rows", disable=None)
    return bar


class Upload:
    """An upload of one model's rows; see `Uploadable.bulk_insert`. `done` counts those that are in."""

    def __init__(
        self, model: type[Uploadable], fields: Sequence[Any], on_conflict: str | None, database: peewee.Database | None
    ) -> None:
        if on_conflict not in (None, "update"):
            raise ValueError(f'on_conflict is None or "update", not {on_conflict!r}')
        database = database or model._meta.database
        self.database: Any = database.obj if isinstance(database, peewee.Proxy) else database
        if self.database is None:
            raise peewee.InterfaceError(f"{model.__name__} is bound to no database; bind it, or pass database=...")
        self.model, self.done = model, 0
        self.columns = {each.column_name: Column(each) for each in model._meta.sorted_fields if not each.auto_increment}
        keys = [each.columns for each in model._meta.constraints or () if isinstance(each, UniqueConstraint)]
        keys.append(tuple(each.column_name for each in model._meta.get_primary_keys()))
        self.keys = [key for key in keys if key and self.columns.keys() >= {*key}]
        if on_conflict and not self.keys:
            raise ValueError(f"{model.__name__} has no unique key that tells which row to update")
        self.key = self.keys.pop(0) if on_conflict else ()  # what is left are the keys that refuse
        for name in self.key:
            self.columns[name].optional = False
        self.fields = list(self._keys_of(fields))

    def insert(self, rows: Iterable[Any], batch_size: int) -> int:
        """Insert all of the rows, or none, and return their number."""
        rows, on_sqlite = iter(rows), isinstance(self.database, peewee.SqliteDatabase)
        # SQLite cannot turn a deferred transaction in which `rows` has read into one that writes.
        with self.database.atomic("IMMEDIATE") if on_sqlite else self.database.atomic():
            while batch := list(islice(rows, batch_size)):
                self._insert(batch)
                self.done += len(batch)
        return self.done

    def _insert(self, batch: list[Any]) -> None:
        given, nothing = self._by_column(batch), [None] * len(batch)
        try:
            columns: Columns = {
                name: column.adapt(given.get(name, nothing))
                for name, column in self.columns.items()
                if name in given or not column.optional
            }
        except BadValue as bad:
            raise self._blamed(bad.args) from None
        self.model._fill_in(columns)
        try:
            self._write(columns)
        except (*_REFUSALS, peewee.DatabaseError) as error:
            raise self._explained(error, columns) from error

    def _by_column(self, batch: list[Any]) -> Columns:
        dicts = isinstance(batch[0], Mapping)
        for position, row in enumerate(batch):
            if misfit := self._misfit(row, dicts):
                raise self._blamed((position, f"{misfit}: {row!r:.200}"))
        if dicts:
            keys = self._keys_of(set().union(*batch))
            return {name: [row.get(key) for row in batch] for name, key in keys.items()}
        return dict(zip(self.fields, zip(*batch)))

    def _misfit(self, row: Any, dicts: bool) -> str:
        if dicts:
            if not _is_a(row.__class__, Mapping):
                return "expected a dict"
            return "more cells than columns are named" if None in row else ""  # csv.DictReader's
        many = len(self.fields)
        if many and _is_a(row.__class__, Sequence) and len(row) == many and not isinstance(row, (str, bytes)):
            return ""
        return f"expected {many} values, as columns are named" if many else "expected a dict, or fields=[...]"

    def _keys_of(self, keys: Iterable[Any]) -> dict[str, Any]:
        """Return by column the key that stands for it: its name, the field's, or the field."""
        found: dict[str, Any] = {}
        for key in keys:
            field = key if isinstance(key, peewee.Field) else self.model._meta.combined.get(key)
            name = getattr(field, "column_name", "")
            if name not in self.columns or self.columns[name].field is not field:
                raise _refused(f"unknown column {key!r}; known are {', '.join(self.columns)}")
            if name in found:
                raise _refused(f"the column {name} is given twice, as {key} too")
            found[name] = key
        return found

    def _write(self, columns: Columns) -> None:
        with self.database.atomic(), peewee.__exception_wrapper__:
            write(self.database, self.model, self.key, columns)

    def _blamed(self, *rows: tuple[int, str]) -> UploadRefused:
        """Return the refusal of rows by their positions in the batch."""
        numbered = [(self.done + 1 + position, reason) for position, reason in rows]
        error = _refused("; ".join(f"row {number}: {reason}" for number, reason in numbered))
        error.rows = tuple(numbered)
        return error

    def _explained(self, error: Exception, columns: Columns) -> Exception:
        """Return what to raise for a batch that the database did not take."""
        original, text = getattr(error, "orig", error), _text(error)
        codes = {getattr(original, "sqlstate", None), getattr(original, "pgcode", None), *original.args[:1]}
        if codes & _UNFIT or _UNFIT_SQLITE.match(text):
            return _refused(f"{text}; run: {self.model._made_by}")
        if not (isinstance(error, _REFUSALS) or codes & _CHECK_FAILED):
            return error
        blamed = list(islice(self._blame(columns), 5)) if isinstance(error, peewee.IntegrityError) else []
        return self._blamed(*(blamed or [self._first_refused(columns)]))

    def _blame(self, columns: Columns) -> Iterator[tuple[int, str]]:
        """Say which rows of a refused batch point at nothing, and which are there already."""
        for name, values in columns.items():
            field = self.columns[name].field
            for value in dict.fromkeys(values) if isinstance(field, peewee.ForeignKeyField) else ():
                if value is not None and not self._is_there(field.rel_model, field.rel_field == value):
                    yield values.index(value), f"there is no {field.name} {value!r}"
        for key in (key for key in self.keys if columns.keys() >= {*key}):
            fields, seen = [self.columns[name].field for name in key], set()
            for position, values in enumerate(zip(*map(columns.__getitem__, key))):
                same = [field == value for field, value in zip(fields, values)]
                if None not in values and (values in seen or self._is_there(self.model, *same)):
                    named = ", ".join(f"{field.name} {value}" for field, value in zip(fields, values))
                    yield position, f"{named} is there already, or given twice"
                seen.add(values)

    def _is_there(self, model: type[peewee.Model], *where: Any) -> bool:
        query = model.select(peewee.SQL("1")).where(*where).limit(1)  # exists(database) is not in every Peewee
        return bool(list(query.tuples().execute(self.database)))

    def _first_refused(self, columns: Columns) -> tuple[int, str]:
        """Find the first row without which those before it are taken, and say what the database has against it."""
        reasons: dict[int, str] = {}

        def refused(end: int) -> bool:
            with self.database.atomic() as attempt:
                try:
                    self._write({name: values[:end] for name, values in columns.items()})
                except (*_REFUSALS, peewee.DatabaseError) as error:
                    reasons[end] = _text(error)
                attempt.rollback()
            return end in reasons

        ends = range(1, len(next(iter(columns.values()))) + 1)
        first = bisect_left(ends, True, key=refused)
        return first, reasons.get(first + 1, "")


_is_a = cache(issubclass)  # which asks an abstract class anew each time, and takes longer than all else about a row


def _refused(text: str) -> UploadRefused:
    return UploadRefused(f"nothing was uploaded: {text}")


def _text(error: Exception) -> str:
    """Return what a database says, in one line and without a number of a row that counts from elsewhere."""
    said = error.args[:2] if isinstance(error, peewee.PeeweeException) else ()  # the text, or a code and the text
    lines = str(said[-1] if said else error).splitlines()
    return re.sub(r" at row \d+$", "", lines[0]) if lines else type(error).__name__


if __name__ == "__main__":
    from db.csv_upload import main

    raise SystemExit(main())
