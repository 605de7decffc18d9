"""Uploads at the speed of the database, all rows or none: `bulk_insert` of the models.

    BulkInsert(WeeklyActuals, (), "update", database).insert(rows, batch_size=10_000)

Rows are taken in batches, and a batch is converted one column at a time. No instances
are made, and no ids are returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any, Protocol

import peewee

from db.batch_writers import batch_writer
from db.column_values import BadValue, Column, Columns, RowProblem
from db.constraints import field_constraints, table_constraints
from db.refused_rows import (
    WRITE_ERRORS,
    ConflictSearch,
    error_text,
    first_refused_row,
    is_connection_lost,
    is_row_error,
    is_schema_error,
    savepoint,
)
from db.url import describe, shell_word

_SHOWN_ROWS = 5  # of the refused rows in an error message


# Parameter: a table.
_ENGINE_WITHOUT_TRANSACTIONS = """
SELECT t.engine FROM information_schema.tables t
JOIN information_schema.engines e ON e.engine = t.engine
WHERE t.table_schema = DATABASE() AND t.table_name = %s
  AND COALESCE(e.transactions, 'NO') <> 'YES'"""


class UploadRefused(peewee.IntegrityError, ValueError):
    """Nothing was uploaded; the text says why.

    `rows` has the number of each row that the text names, counted from 1, and what is
    wrong with it. `more_rows` is the number of further refused rows; None if there are
    some that were not counted.
    """

    rows: tuple[tuple[int, str], ...] = ()
    more_rows: int | None = 0


class UnknownColumn(UploadRefused):
    """The rows name a column that cannot be uploaded, or one twice."""

    reason: str


class UploadUncertain(peewee.OperationalError):
    """The connection was lost while the upload was committed."""


def describe_rows(
    rows: Iterable[tuple[int, str]],
    more_rows: int | None,
    name_of: Callable[[int], str],
) -> str:
    """Return the rows of an `UploadRefused` as one line of text.

    :param name_of: returns what to call the row of a number, such as "row 3".
    """
    parts = [f"{name_of(number)}: {reason}" for number, reason in rows]
    if more_rows is None:
        parts.append("and more")
    elif more_rows > 0:
        parts.append(f"and {more_rows:,} more")
    return "; ".join(parts)


def progress(rows: Iterable[Any]) -> Iterable[Any]:
    """Return the rows, with a progress bar on standard error while they are read.

    There is no bar if tqdm is not installed or standard error is not a terminal.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        return rows
    bar: Iterable[Any] = tqdm(rows, unit=" rows", disable=None)
    return bar


class UploadableModel(Protocol):
    """What an upload needs of a model, in addition to what Peewee gives it."""

    _meta: Any
    created_by: str  # the command that creates the table

    @classmethod
    def compute_columns(cls, columns: Columns) -> None:
        """Complete a batch with values that depend on others."""


class BulkInsert:
    """An upload of rows into the table of one model; see `Uploadable.bulk_insert`."""

    def __init__(
        self,
        model: type[UploadableModel],
        fields: Sequence[Any],
        on_conflict: str | None,
        database: peewee.Database | None,
    ) -> None:
        if on_conflict not in (None, "update"):
            raise ValueError(f'on_conflict is None or "update", not {on_conflict!r}')
        self.model = model
        self.database = self._resolve_database(database)
        self.columns = {
            field.column_name: Column(field)
            for field in self.model._meta.sorted_fields
            if not field.auto_increment
        }
        self.unique_keys = self._unique_keys()  # a duplicate is refused
        self.update_key: Sequence[str] = ()  # a duplicate is updated
        if on_conflict == "update":
            if not self.unique_keys:
                raise ValueError(
                    f"{model.__name__} has no unique key to find existing rows by; "
                    "declare a UniqueConstraint, or leave out on_conflict"
                )
            self.update_key = self.unique_keys.pop(0)
        self.tuple_columns = list(self._match_columns(fields))
        self.writer = batch_writer(self.database, self.model, self.update_key)
        self.previous_rows = 0  # of the batches before the latest one
        self.is_last_batch = False

    def insert(self, rows: Iterable[Any], batch_size: int) -> int:
        """Insert all of the rows, or none; return the number of those stored.

        :raises UploadRefused: a row cannot be inserted.
        :raises UploadUncertain: the server did not say whether it has stored them.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self._refuse_table_without_transactions()
        remaining = iter(rows)
        stored = 0
        columns: Columns = {}
        all_written = False
        try:
            with savepoint(self._transaction()):
                row_count = 0
                while batch := list(islice(remaining, batch_size)):
                    self.previous_rows += row_count
                    row_count = len(batch)
                    self.is_last_batch = row_count < batch_size
                    columns = self._columns_of(batch)
                    if columns:
                        stored += self._insert_batch(columns)
                    else:  # each of them has a default in the database
                        stored += self._insert_defaults(row_count)
                all_written = True
        except WRITE_ERRORS as error:
            if all_written:
                raise self._commit_error(error, columns) from error
            raise
        return stored

    def _resolve_database(self, database: peewee.Database | None) -> Any:
        """Return the given database, or the one that the model is bound to."""
        database = database or self.model._meta.database
        if isinstance(database, peewee.Proxy):
            database = database.obj
        if database is None:
            name = self.model.__name__
            raise peewee.InterfaceError(
                f"{name} is bound to no database; bind it, or pass database=..."
            )
        return database

    def _unique_keys(self) -> list[tuple[str, ...]]:
        """Return the columns of the unique constraints, primary key, unique indexes.

        A key with an auto-increment column is left out, and an index that is partial or
        one of expressions.
        """
        constraints = table_constraints(self.model)
        keys = [unique.columns for unique in constraints.unique]
        keys += [
            (field.column_name,)
            for field in self.model._meta.sorted_fields
            if field_constraints(field).unique
        ]
        keys.append(constraints.primary_key)
        primary_key = self.model._meta.get_primary_keys()
        keys.append(tuple(field.column_name for field in primary_key))
        keys += [
            tuple(field.column_name for field in index._expressions)
            for index in self.model._meta.fields_to_index()
            if _is_unique_key(index)
        ]
        return [key for key in keys if key and self.columns.keys() >= set(key)]

    def _match_columns(self, keys: Iterable[Any]) -> dict[str, Any]:
        """Return the given keys by the names of the columns that they stand for.

        A key is the name of a column, the name of a field, or a field.
        """
        found: dict[str, Any] = {}
        for key in keys:
            field = key
            if not isinstance(key, peewee.Field):
                field = self.model._meta.combined.get(key)
            name = getattr(field, "column_name", "")
            if name not in self.columns or self.columns[name].field is not field:
                known = ", ".join(self.columns)
                raise _unknown_column(f"unknown column {key!r}; known are {known}")
            if name in found:
                both = f"{found[name]}, {key}"
                raise _unknown_column(f"the column {name} is given twice: {both}")
            found[name] = key
        return found

    def _refuse_table_without_transactions(self) -> None:
        """Refuse a table that would keep some rows of an upload that fails.

        https://mariadb.com/kb/en/rollback/
        """
        if not isinstance(self.database, peewee.MySQLDatabase):
            return
        table = self.model._meta.table_name
        for (engine,) in self.database.execute_sql(
            _ENGINE_WITHOUT_TRANSACTIONS, (table,)
        ):
            raise _refused(
                f"the storage engine of {table} is {engine}, which has no transactions "
                "and would keep some rows of an upload that fails; run first: ALTER "
                f"TABLE {table} ENGINE=InnoDB"
            )

    def _transaction(self) -> Any:
        if isinstance(self.database, peewee.SqliteDatabase):
            # The rows may be read from the same database. A deferred transaction that
            # has read cannot write once another connection has written.
            return self.database.atomic("IMMEDIATE")
        return self.database.atomic()

    def _columns_of(self, batch: list[Any]) -> Columns:
        columns = self._convert(self._by_column(batch), len(batch))
        self.model.compute_columns(columns)
        return columns

    def _insert_batch(self, columns: Columns) -> int:
        """Insert a batch and return the number of rows that are stored."""
        try:
            with savepoint(self.database.atomic()):
                self._refuse_truncated_values(columns)
                return self._write(columns)
        except UploadRefused:
            raise
        except WRITE_ERRORS as error:
            refusal = self._translate_error(error, columns)
            if refusal is None:
                raise
            raise refusal from error

    def _insert_defaults(self, row_count: int) -> int:
        """Insert rows that have nothing but defaults; return their number."""
        with savepoint(self.database.atomic()), peewee.__exception_wrapper__:
            self.writer.write_defaults(row_count)
        return row_count

    def _refuse_truncated_values(self, columns: Columns) -> None:
        with peewee.__exception_wrapper__:
            problems = self.writer.truncated_values(columns)
        if problems:
            raise self._refuse_rows(problems, counted=self.is_last_batch)

    def _write(self, columns: Columns) -> int:
        with peewee.__exception_wrapper__:
            return self.writer.write(columns)

    # -- from rows to columns

    def _by_column(self, batch: list[Any]) -> Columns:
        """Return the values of a batch, as the rows give them, by column name."""
        has_dicts = isinstance(batch[0], Mapping)
        row_problem = self._dict_problem if has_dicts else self._tuple_problem
        problems = []
        for position, row in enumerate(batch):
            problem = row_problem(row)
            if problem:
                problems.append(RowProblem(position, f"{problem}: {row!r:.200}"))
        if problems:
            raise self._refuse_rows(problems, counted=self.is_last_batch)
        if not has_dicts:
            return dict(zip(self.tuple_columns, zip(*batch)))
        first_keys = list(batch[0])
        other_keys = set().union(*batch).difference(first_keys)
        keys = self._match_columns(first_keys + sorted(other_keys, key=str))
        return {name: [row.get(key) for row in batch] for name, key in keys.items()}

    def _dict_problem(self, row: Any) -> str | None:
        """Return what is wrong with a row, in a batch of dicts."""
        if not _is_subclass(row.__class__, Mapping):
            return "expected a dict"
        if None in row:  # csv.DictReader's key for the rest of a line
            return "more values than columns"
        return None

    def _tuple_problem(self, row: Any) -> str | None:
        """Return what is wrong with a row, in a batch of tuples or other sequences."""
        expected = len(self.tuple_columns)
        if not expected:
            return "expected a dict, or fields=[...] for tuples"
        is_sequence = _is_subclass(row.__class__, Sequence)
        if not is_sequence or isinstance(row, (str, bytes)) or len(row) != expected:
            return f"expected {expected} values, one for each column"
        return None

    def _convert(self, given: Columns, row_count: int) -> Columns:
        """Return the columns of a batch with values as the database stores them."""
        missing = [None] * row_count
        columns: Columns = {}
        problems: list[RowProblem] = []
        for name, column in self.columns.items():
            if column.optional and name not in given and name not in self.update_key:
                continue
            try:
                columns[name] = column.convert(given.get(name, missing))
            except BadValue as error:
                problems += error.problems
        if problems:
            raise self._refuse_rows(problems, counted=self.is_last_batch)
        return columns

    # -- why a batch is refused

    def _translate_error(
        self, error: Exception, columns: Columns
    ) -> UploadRefused | None:
        """Return the refusal for an error, or None if it is not about rows or table."""
        text = error_text(error)
        if is_schema_error(error):
            url = shell_word(describe(self.database))
            return _refused(f"{text}; run: {self.model.created_by} --database {url}")
        if not is_row_error(error) or self.writer.is_row_independent(error):
            return None
        problems: list[RowProblem] = []
        if isinstance(error, peewee.IntegrityError):
            problems = self._conflicts(columns)
        if not problems:
            problems = [self._first_problem(columns, text)]
        return self._refuse_rows(problems, counted=False)

    def _conflicts(self, columns: Columns) -> list[RowProblem]:
        """Return the first rows of a batch with a missing parent or a duplicate."""
        unique_keys = self.unique_keys
        if self.update_key:
            # Which rows have the key of another one depends on the updates before.
            unique_keys = []
        search = ConflictSearch(self.database, self.model, unique_keys)
        # One more than is shown tells whether there are more.
        return list(islice(search.conflicting_rows(columns), _SHOWN_ROWS + 1))

    def _first_problem(self, columns: Columns, text: str) -> RowProblem:
        """Return the first row of a batch that the database refuses.

        :param text: why it has refused the batch.
        """
        if self.writer.refused_position is not None:
            return RowProblem(self.writer.refused_position, text)
        return first_refused_row(self.database, self._write, columns, text)

    def _commit_error(self, error: Exception, columns: Columns) -> Exception:
        """Return the exception for an error of COMMIT.

        :param columns: the latest batch; a constraint that is deferred may refuse it.
        """
        text = error_text(error)
        if is_connection_lost(error):
            return UploadUncertain(
                f"it is not known whether the rows were uploaded: {text}"
            )
        problems: list[RowProblem] = []
        if isinstance(error, peewee.IntegrityError):
            problems = self._conflicts(columns)
        if problems:
            return self._refuse_rows(problems, counted=False)
        return _refused(text)

    def _refuse_rows(self, problems: list[RowProblem], counted: bool) -> UploadRefused:
        """Return the refusal of some rows of a batch.

        :param counted: whether these are all of the rows that are refused.
        """
        in_order = sorted(problems, key=lambda problem: problem.position)
        rows = [
            (self.previous_rows + 1 + problem.position, problem.reason)
            for problem in in_order[:_SHOWN_ROWS]
        ]
        more_rows: int | None = len(in_order) - len(rows)
        if more_rows and not counted:
            more_rows = None
        refusal = _refused(describe_rows(rows, more_rows, "row {}".format))
        refusal.rows = tuple(rows)
        refusal.more_rows = more_rows
        return refusal


def _is_unique_key(index: Any) -> bool:
    """Whether an index of a model makes whole columns unique in all rows."""
    if not isinstance(index, peewee.Index) or not index._unique:
        return False
    parts = index._expressions
    is_plain = all(isinstance(part, peewee.Field) for part in parts)
    return is_plain and index._where is None


_is_subclass = cache(issubclass)  # of abstract classes, which are slow to ask


def _refused(text: str) -> UploadRefused:
    return UploadRefused(f"nothing was uploaded: {text}")


def _unknown_column(reason: str) -> UnknownColumn:
    refusal = UnknownColumn(f"nothing was uploaded: {reason}")
    refusal.reason = reason
    return refusal
