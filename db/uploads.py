"""Uploads at the speed of the database, all rows or none: `bulk_insert` of every model, and a command.

    WeeklyActuals.bulk_insert(rows, database=database)
    python -m db.uploads week_09.csv [--database URL] [--on-conflict update] [--table weekly_actuals]

Rows are taken batch by batch, and a batch column by column. No instances are made, no ids returned.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import peewee

from db.fields import UniqueKey
from db.values import BadValue, Column
from db.writers import Columns, writer

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


def bulk_insert(
    model: type[Uploadable], rows: Iterable[Any], fields: Sequence[Any], on_conflict: str | None,
    database: peewee.Database | None, batch_size: int,
) -> int:  # fmt: skip
    """Insert rows and return their number; see `Uploadable.bulk_insert`."""
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

    def __init__(self, model: type[Uploadable], database: peewee.Database, fields: Sequence[Any], update: bool) -> None:
        self.model, self.database, self.done = model, database, 0
        self.columns = {each.column_name: Column(each) for each in model._meta.sorted_fields if not each.auto_increment}
        self.keys = list(_unique_keys(model, self.columns))
        if update and not self.keys:
            raise ValueError(f"{model.__name__} has no unique key that tells which row to update")
        key = self.keys.pop(0) if update else None  # what is left are the keys that refuse
        for name in key or ():
            self.columns[name].optional = False
        self.writer = writer(database)(database, model, key)
        self.fields = list(self._keys_of(fields))

    def insert(self, batch: list[Any]) -> None:
        """Insert a batch, or nothing of it."""
        given, nothing = self._by_column(batch), [None] * len(batch)
        try:
            columns: Columns = {
                name: column.adapt(given.get(name, nothing))
                for name, column in self.columns.items()
                if name in given or not column.optional
            }
        except BadValue as bad:
            raise self._blamed((bad.position, str(bad))) from None
        self.model._fill_in(columns)
        try:
            self._write(columns)
        except (*_REFUSALS, peewee.DatabaseError) as error:
            raise self._explained(error, columns) from error
        self.done += len(batch)

    def _by_column(self, batch: list[Any]) -> Columns:
        if isinstance(batch[0], Mapping):
            self._demand(batch, "expected a dict", lambda row: isinstance(row, Mapping))
            keys = set().union(*batch)
            if None in keys:  # csv.DictReader's
                self._demand(batch, "more cells than columns are named", lambda row: None not in row)
            return {name: [row.get(key) for row in batch] for name, key in self._keys_of(keys).items()}
        many = len(self.fields)
        expected = f"expected {many} values, as fields has" if many else "expected a dict, or fields=[...]"
        self._demand(batch, expected, lambda row: _is_sequence(row) and len(row) == many)
        return dict(zip(self.fields, zip(*batch)))

    def _demand(self, batch: list[Any], expected: str, fits: Callable[[Any], bool]) -> None:
        for position, row in enumerate(batch):
            if not fits(row):
                raise self._blamed((position, f"{expected}: {row!r:.200}"))

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
            self.writer.write(columns)

    def _blamed(self, *rows: tuple[int, str]) -> UploadRefused:
        """Return the refusal of rows by their positions in the batch."""
        numbered = [(self.done + 1 + position, reason) for position, reason in rows]
        error = _refused("; ".join(f"row {number}: {reason}" for number, reason in numbered))
        error.rows = tuple(numbered)
        return error

    def _explained(self, error: Exception, columns: Columns) -> Exception:
        """Return what to raise for a batch that the database did not take."""
        codes, text = _codes(error), _text(error)
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
        """Halve a refused batch until one row is left, and say what the database has against it."""
        first, end, reason = 0, len(next(iter(columns.values()))), ""
        with self.database.atomic() as attempt:
            while first < end and not reason:
                middle = (first + end + 1) // 2
                try:
                    self._write({name: values[first:middle] for name, values in columns.items()})
                    first = middle
                except (*_REFUSALS, peewee.DatabaseError) as error:
                    reason = _text(error) if middle == first + 1 else ""
                    end = middle
            attempt.rollback()
        return first, reason


def _unique_keys(model: type[peewee.Model], columns: Mapping[str, Column]) -> Iterator[tuple[str, ...]]:
    """Return the unique keys of columns that rows can fill in: named ones, the primary key, others."""
    meta = model._meta
    keys = [each.columns for each in meta.constraints or () if isinstance(each, UniqueKey)]
    primary = getattr(meta.primary_key, "field_names", None) or getattr(meta.primary_key, "name", None)
    if primary:
        names = [primary] if isinstance(primary, str) else primary
        keys.append(tuple(meta.fields[name].column_name for name in names))
    for index in meta.fields_to_index():
        parts: Mapping[str, Any] = vars(index)  # of an SQL of one's own, others
        if parts.get("_unique") and parts["_where"] is None:
            keys.append(tuple(getattr(each, "column_name", "") for each in parts["_expressions"]))
    return (key for key in keys if columns.keys() >= {*key})


def _is_sequence(row: Any) -> bool:
    return isinstance(row, (tuple, list)) or (isinstance(row, Sequence) and not isinstance(row, (str, bytes)))


def _refused(text: str) -> UploadRefused:
    return UploadRefused(f"nothing was uploaded: {text}")


def _codes(error: Exception) -> set[object]:
    original = getattr(error, "orig", error)
    return {getattr(original, "sqlstate", None), getattr(original, "pgcode", None), *original.args[:1]}


def _text(error: Exception) -> str:
    """Return what a database says, in one line and without a number of a row that counts from elsewhere."""
    said = error.args[:2] if isinstance(error, peewee.PeeweeException) else ()  # the text, or a code and the text
    lines = str(said[-1] if said else error).splitlines()
    return re.sub(r" at row \d+$", "", lines[0]) if lines else type(error).__name__


if __name__ == "__main__":
    from db.csv_upload import main

    raise SystemExit(main())
