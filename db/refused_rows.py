"""Which rows of a batch a database refuses, and why.

A database refuses the batch as a whole, and its error names a row in its own way, or
none. This module finds the rows with queries, or by trying parts of the batch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import peewee

from db.column_values import Columns, RowProblem

WRITE_ERRORS = (peewee.DatabaseError, OverflowError, UnicodeError)
"""What writing a batch may raise."""

_ROW_ERRORS = (peewee.IntegrityError, peewee.DataError, OverflowError, UnicodeError)
# MariaDB's and MySQL's codes for a failed CHECK; PyMySQL raises an OperationalError.
_CHECK_FAILED = {4025, 3819}
# A table or a column does not exist, or no unique constraint fits ON CONFLICT: codes of
# PostgreSQL, then of MariaDB and MySQL. SQLite has only texts for them.
_SCHEMA_ERRORS = {"42P01", "42703", "42P10", 1146, 1054}
_SQLITE_SCHEMA_ERROR = re.compile(
    "no such table|table .* has no column|ON CONFLICT clause does not match"
)


def is_row_error(error: Exception) -> bool:
    """Whether a database refuses a batch because of its rows."""
    return isinstance(error, _ROW_ERRORS) or bool(_codes(error) & _CHECK_FAILED)


def is_schema_error(error: Exception) -> bool:
    """Whether a database refuses a batch because the table is not the model's."""
    if _codes(error) & _SCHEMA_ERRORS:
        return True
    return bool(_SQLITE_SCHEMA_ERROR.match(error_text(error)))


def error_text(error: Exception) -> str:
    """Return the first line of what a database says.

    MariaDB's "at row 2" is cut off: it counts from the beginning of a statement.
    """
    text = str(error)
    if isinstance(error, peewee.PeeweeException):
        if len(error.args) > 1:
            text = str(error.args[1])  # MariaDB and MySQL have a code before it
        elif error.args:
            text = str(error.args[0])
    lines = text.splitlines()
    if not lines:
        return type(error).__name__
    return re.sub(r" at row \d+$", "", lines[0])


def _codes(error: Any) -> set[Any]:
    """Return the SQLSTATE of an error, and MySQL's number."""
    original = getattr(error, "orig", error)
    codes = {getattr(original, "sqlstate", None), getattr(original, "pgcode", None)}
    if original.args:
        codes.add(original.args[0])
    return codes


class ConflictSearch:
    """Finds rows of a batch that conflict with rows of the database or of the batch."""

    def __init__(
        self,
        database: peewee.Database,
        model: Any,
        unique_keys: Sequence[Sequence[str]],
    ) -> None:
        """Search in the table of a model, for duplicates of some unique keys."""
        self.database = database
        self.model = model
        self.fields: dict[str, Any] = model._meta.columns
        self.unique_keys = unique_keys

    def conflicting_rows(self, columns: Columns) -> Iterator[RowProblem]:
        """Yield, in order, rows with a parent that is missing, and duplicates.

        A missing parent is reported once, for the first row that refers to it.
        """
        checked_parents = self._parents_in_batch(columns)
        earlier_keys: set[tuple[Any, ...]] = set()
        for position, values in enumerate(zip(*columns.values())):
            row = dict(zip(columns, values))
            for name, value in self._references(row):
                if (name, value) in checked_parents:
                    continue
                checked_parents.add((name, value))
                field = self.fields[name]
                if not self._exists(field.rel_model, field.rel_field == value):
                    yield RowProblem(position, f"there is no {field.name} {value!r}")
            for key in self._complete_keys(row):
                same_key = tuple((name, row[name]) for name in key)
                if same_key in earlier_keys or self._is_in_table(same_key):
                    values_of_key = self._description(same_key)
                    reason = f"{values_of_key} already exists or is given twice"
                    yield RowProblem(position, reason)
                earlier_keys.add(same_key)

    def _references(self, row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield the columns of a row that refer to a parent, with their values."""
        for name, value in row.items():
            is_reference = isinstance(self.fields[name], peewee.ForeignKeyField)
            if is_reference and value is not None:
                yield name, value

    def _complete_keys(self, row: dict[str, Any]) -> Iterator[Sequence[str]]:
        """Yield the unique keys of which a row has all values."""
        for key in self.unique_keys:
            if all(row.get(name) is not None for name in key):
                yield key

    def _parents_in_batch(self, columns: Columns) -> set[tuple[str, Any]]:
        """Return references, as (column, value), to rows of the same batch."""
        found: set[tuple[str, Any]] = set()
        for name in columns:
            field = self.fields[name]
            is_reference = isinstance(field, peewee.ForeignKeyField)
            if is_reference and field.rel_model is self.model:
                parents = columns.get(field.rel_field.column_name, ())
                found.update((name, parent) for parent in parents)
        return found

    def _is_in_table(self, same_key: tuple[tuple[str, Any], ...]) -> bool:
        conditions = [self.fields[name] == value for name, value in same_key]
        return self._exists(self.model, *conditions)

    def _description(self, same_key: tuple[tuple[str, Any], ...]) -> str:
        return ", ".join(
            f"{self.fields[name].name} {value}" for name, value in same_key
        )

    def _exists(self, model: Any, *conditions: Any) -> bool:
        # Query.exists(database) is not in every Peewee.
        query = model.select(peewee.SQL("1")).where(*conditions).limit(1)
        return bool(list(query.tuples().execute(self.database)))


def first_refused_row(
    database: peewee.Database,
    write: Callable[[Columns], None],
    columns: Columns,
    reason: str,
) -> RowProblem:
    """Return the first row that a database refuses.

    :param write: writes rows into the table, or raises one of WRITE_ERRORS.
    :param columns: a batch that the database has refused.
    :param reason: why it has refused the batch.
    """
    accepted = 0  # this many rows, from the first one, are accepted
    refused = len(next(iter(columns.values())))  # this many are refused, for `reason`
    while refused - accepted > 1:
        middle = (accepted + refused) // 2
        first_rows = {name: values[:middle] for name, values in columns.items()}
        new_reason = _try_to_write(database, write, first_rows)
        if new_reason is None:
            accepted = middle
        else:
            refused = middle
            reason = new_reason
    return RowProblem(accepted, reason)


def _try_to_write(
    database: peewee.Database, write: Callable[[Columns], None], columns: Columns
) -> str | None:
    """Return why a database refuses rows, or None; leave the table as it is."""
    with database.atomic() as savepoint:
        try:
            write(columns)
        except WRITE_ERRORS as error:
            return error_text(error)
        finally:
            savepoint.rollback()
    return None
