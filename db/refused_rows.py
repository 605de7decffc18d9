"""Which rows of a batch a database refuses, and why.

A database refuses the batch as a whole, and its error names a row in its own way, or
none. This module finds the rows with queries, or by trying parts of the batch.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import peewee

from db.column_values import Columns, RowProblem

WRITE_ERRORS = (peewee.DatabaseError, OverflowError, UnicodeError)
"""What writing a batch may raise."""

_ROW_ERRORS = (peewee.IntegrityError, peewee.DataError, OverflowError, UnicodeError)
# Classes of SQLSTATEs on PostgreSQL that are not about a row. A trigger may raise any
# other: https://www.postgresql.org/docs/current/errcodes-appendix.html
_NOT_ABOUT_ROWS = {
    "08",  # connection
    "0A",  # feature not supported
    "25",  # transaction state
    "28",  # authorization
    "3D",  # invalid catalog name
    "40",  # deadlock, serialization failure
    "42",  # syntax, access rule
    "53",  # resources
    "55",  # prerequisite state, lock
    "57",  # operator intervention, timeout
    "58",  # system error
    "XX",  # internal error
}
_INSUFFICIENT_PRIVILEGE = "42501"  # also of a row that row-level security refuses
# Codes of MariaDB and MySQL that are not about a row. A trigger may raise any other.
_MYSQL_NOT_ABOUT_ROWS = {
    *(1021, 1036, 1114, 1290, 1792, 1836),  # disk full, read-only
    *(1037, 1038, 1040, 1041, 1206, 1226),  # memory, connections, limits
    *(1044, 1045, 1142, 1143, 1227, 1370),  # rights
    *(1030, 1178, 1180),  # storage engine
    *(1064, 1046, 1049),  # syntax, no database
    *(1205, 1213),  # locks
    *(1047, 1053, 1317, 1927, 1969, 3024),  # shutdown, interruption, timeout
    *(1153, 1158, 1159, 1160, 1161),  # connection
}
_MYSQL_CLIENT_ERRORS = range(2000, 3000)
_MYSQL_CONNECTION_LOST = {0, 1053, 1927, 2006, 2013, 2055, 4031}
# A table or a column does not exist, or no unique constraint fits ON CONFLICT: codes of
# PostgreSQL, then of MariaDB and MySQL. SQLite has only texts for them.
_SCHEMA_ERRORS = {"42P01", "42703", "42P10", 1146, 1054}
_SQLITE_SCHEMA_ERROR = re.compile(
    "no such table|table .* has no column|ON CONFLICT clause does not match"
)


class UniqueKeyMissing(peewee.ProgrammingError):
    """A table has no unique key to find existing rows by."""


def is_row_error(error: Exception) -> bool:
    """Whether a database refuses a batch because of its rows."""
    if isinstance(error, _ROW_ERRORS):
        return True
    number = _mysql_code(error)
    if number is not None:
        is_of_client = number in _MYSQL_CLIENT_ERRORS or number == 0
        return not is_of_client and number not in _MYSQL_NOT_ABOUT_ROWS
    sqlstate = _sqlstate(error)
    if sqlstate is None:  # SQLite's errors of triggers are IntegrityErrors
        return False
    if sqlstate == _INSUFFICIENT_PRIVILEGE:
        return True
    error_class = sqlstate[:2]
    return error_class not in _NOT_ABOUT_ROWS


def is_connection_lost(error: Exception) -> bool:
    """Whether a server has not said what became of the latest statement."""
    if not isinstance(error, (peewee.OperationalError, peewee.InterfaceError)):
        return False
    if isinstance(_original(error), peewee.sqlite3.Error):
        return False
    number = _mysql_code(error)
    if number is not None:
        return number in _MYSQL_CONNECTION_LOST
    return _sqlstate(error) is None


def is_missing_privilege(error: Exception) -> bool:
    """Whether PostgreSQL says that a right is missing, or a policy refuses a row."""
    return _sqlstate(error) == _INSUFFICIENT_PRIVILEGE


def is_schema_error(error: Exception) -> bool:
    """Whether a database refuses a batch because the table is not the model's."""
    if isinstance(_original(error), UniqueKeyMissing):
        return True
    if _sqlstate(error) in _SCHEMA_ERRORS or _mysql_code(error) in _SCHEMA_ERRORS:
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


def _original(error: Any) -> Any:
    """Return the error of the driver that Peewee has translated."""
    return getattr(error, "orig", error)


def _sqlstate(error: Exception) -> str | None:
    """Return the SQLSTATE of an error of PostgreSQL."""
    original = _original(error)
    found = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    if isinstance(found, str):
        return found
    return None


def _mysql_code(error: Exception) -> int | None:
    """Return the number of an error of MariaDB and MySQL."""
    arguments = _original(error).args
    if arguments and isinstance(arguments[0], int):
        return arguments[0]
    return None


@contextlib.contextmanager
def savepoint(transaction: Any) -> Iterator[None]:
    """Enter a transaction or savepoint of Peewee that does not hide an error.

    Where a database has rolled the whole transaction back, or the connection is lost,
    the rollback fails too, and its error would take the place of the first one.
    """
    first_error: BaseException | None = None
    try:
        with transaction:
            try:
                yield
            except BaseException as error:
                first_error = error
                raise
    except peewee.PeeweeException:
        if first_error is not None:
            raise first_error from first_error.__cause__
        raise


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
    write: Callable[[Columns], object],
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
    database: peewee.Database, write: Callable[[Columns], object], columns: Columns
) -> str | None:
    """Return why a database refuses rows, or None; leave the table as it is."""
    with database.atomic() as attempt:
        try:
            write(columns)
        except WRITE_ERRORS as error:
            return error_text(error)
        finally:
            attempt.rollback()
    return None
