"""The connection of one call of a phase: settings, locks, statements and errors.

`Session` is the abstract base class; a subclass per database is in its package.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import peewee

from db.url import describe, without_password
from migrations.declaration import PhaseModels
from migrations.errors import (
    ChangeRefused,
    DatabaseUnavailable,
    LockTimeout,
    MigrationError,
)
from migrations.report import Change
from migrations.sql_text import one_line

logger = logging.getLogger("migrations")
# Without a handler, Python prints a library's warnings where logging is not configured.
logger.addHandler(logging.NullHandler())

Result = TypeVar("Result")
Row = tuple[Any, ...]
_PROGRESS_INTERVAL = 10.0  # seconds between two log lines about a long statement
_REPORT_DURATION_FROM = 0.5  # seconds
_REPORT_WAIT_AFTER = 1.0  # seconds
_BLOCKS = {
    "writes": "; blocks writes until it is done",
    "reads and writes": "; blocks reads and writes until it is done",
}


class MigrationLockHeld(Exception):
    """Another run holds the lock that all runs on a database share."""

    def __str__(self) -> str:
        return "another migration is running"


class ValueWritten(Exception):
    """Another session has written a value to a column that would be dropped."""


class _RollBack(Exception):
    """Leaves a transaction in the way that rolls it back."""


class Session(ABC):
    """The open connection of one call, and what is done with it.

    `remaining_timeout` is what is left of `lock_timeout`, in seconds: waiting for a
    lock uses it up, and so does an attempt that fails because of one. `executed` grows
    by each change that was executed.
    """

    backend: str  # as in the report: "sqlite", "postgresql", "mysql"

    def __init__(
        self, database: peewee.Database, models: PhaseModels, lock_timeout: float
    ) -> None:
        self.database = database
        self.models = models
        self.lock_timeout = lock_timeout
        self.remaining_timeout = lock_timeout
        self.executed: list[Change] = []
        self.opened_here = False  # whether this call opened the connection
        self.in_callers_transaction = False  # whether the call came inside one
        self._announced: list[Change] = []
        self._wait_reported = False
        self.activity = ""  # what the running change does, if this run itself knows

    @property
    @abstractmethod
    def product(self) -> str:
        """The database's name in messages, such as "MariaDB"; known once connected."""

    # -- the connection

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Keep the connection open for a call; leave it as it was found.

        :raises MigrationError: instead of the database's errors, without the driver's
            chain of exceptions, which may quote a password.
        """
        self.opened_here = self.database.is_closed()
        try:
            if self.opened_here:
                self.connect()
            self.in_callers_transaction = self.in_transaction()
            with self.connection_settings():
                yield
        except (
            peewee.PeeweeException,
            OSError,
            UnicodeError,
            MigrationLockHeld,
        ) as error:
            # lock_holders() queries this connection, so before it is closed.
            raise self.translate_error(error) from None
        finally:
            if self.opened_here and not self.database.is_closed():
                self.database.close()

    def connect(self) -> None:
        """Open the connection. Called once, if the caller has not opened it."""
        try:
            self.database.connect()
        except TypeError as error:  # a driver's, for an unknown parameter
            where = describe(self.database)
            message = f"{where}: {error}; check the URL's options"
            raise DatabaseUnavailable(message) from None

    @abstractmethod
    def connection_settings(self) -> AbstractContextManager[None]:
        """Set what every query of a call relies on; restore it afterwards.

        Called once, right after connecting.
        """

    def planning_settings(self) -> AbstractContextManager[None]:
        """Set what a run sets before it plans changes, and restore it afterwards.

        Called by a check, so that its questions have the answers of a run.
        """
        return contextlib.nullcontext()

    @abstractmethod
    def in_transaction(self) -> bool:
        """Whether a transaction is open, by Peewee's means or by plain SQL.

        Called at any stage.
        """

    # -- statements

    def query(self, sql: str, params: Sequence[object] | None = None) -> list[Row]:
        """Execute a query and return its rows. Called at any stage.

        Without `params`, a percent sign in it is one. With `params`, no name may be in
        the text of the query, as that may have one.
        """
        if params is None:
            sql = self.escape_percent(sql)
        # Peewee translates a driver's errors around the call only, not around the
        # fetch.
        with peewee.__exception_wrapper__:
            cursor = self.database.execute_sql(sql, params)
            rows: list[Row] = cursor.fetchall()
            return rows

    def execute_literally(self, sql: str) -> None:
        """Execute a statement without parameters, which may contain percent signs."""
        self.database.execute_sql(self.escape_percent(sql))

    def escape_percent(self, sql: str) -> str:
        """Return SQL without parameters for a driver that looks for `%s` anyway."""
        if self.database.param == "%s":
            return sql.replace("%", "%%")
        return sql

    def quote(self, name: str) -> str:
        """Return a name as a quoted identifier."""
        start, end = self.database.quote
        return f"{start}{name.replace(end, end + end)}{end}"

    def quote_all(self, names: Iterable[str]) -> str:
        """Return names as a list of quoted identifiers in parentheses."""
        return f"({', '.join(self.quote(name) for name in names)})"

    # -- locks

    @abstractmethod
    def with_migration_lock(self, work: Callable[[], Result]) -> Result:
        """Do work under the lock that all runs on this database share.

        Called once per run that has something to change. The work is done again if it
        was interrupted by another connection's lock, until `remaining_timeout` is over.
        """

    def retry_on_lock(
        self,
        attempt: Callable[[], Result],
        should_retry: Callable[[Exception], bool] | None = None,
        pause: float | None = None,
    ) -> Result:
        """Return what an attempt returns; repeat it while it fails because of a lock.

        Between two attempts nothing is held, except a transaction that is open around
        them.

        :param should_retry: whether an error is worth another attempt; default
            `was_aborted`.
        :param pause: seconds between two attempts; default a random time, so that runs
            that wait for each other do not stay in step.
        """
        worth_retrying = should_retry or self.was_aborted
        while True:
            started = time.monotonic()
            try:
                return attempt()
            except (MigrationLockHeld, peewee.DatabaseError) as error:
                lock_held = isinstance(error, MigrationLockHeld)
                if not lock_held and not worth_retrying(error):
                    raise
                self._use_timeout(started)
                if not self.remaining_timeout:
                    raise
            self._pause_before_retry(pause)

    def _pause_before_retry(self, seconds: float | None) -> None:
        """Sleep; after a second, log once that this run waits, and for whom."""
        started = time.monotonic()
        if seconds is None:
            import random  # slow to import, and only needed by a run that waits

            seconds = random.uniform(0.05, 0.25)
        time.sleep(min(seconds, self.remaining_timeout))
        self._use_timeout(started)
        waited = self.lock_timeout - self.remaining_timeout
        if waited >= _REPORT_WAIT_AFTER and not self._wait_reported:
            self._wait_reported = True
            logger.info(
                "  waiting for a lock, up to %g s: %s",
                self.lock_timeout,
                self.lock_holders(),
            )

    def _use_timeout(self, since: float) -> None:
        spent = time.monotonic() - since
        self.remaining_timeout = max(0.0, self.remaining_timeout - spent)

    # -- changes

    @contextmanager
    def forget_executed_on_error(self) -> Iterator[None]:
        """Remove the changes of a transaction that is rolled back from `executed`."""
        before = len(self.executed)
        try:
            yield
        except BaseException:
            del self.executed[before:]
            raise

    @abstractmethod
    def refuse_callers_transaction(self, changes: Sequence[Change]) -> None:
        """Refuse changes that cannot be executed in the transaction of the caller.

        Called while planning, for a check; a run finds it out under the lock.

        :raises ChangeRefused: the caller has begun one, and a run would be refused.
        """

    def execute_all(self, changes: Iterable[Change]) -> None:
        """Execute changes, logging each one before it starts.

        Called while executing, under the migration lock.

        :raises ValueWritten: a guard found a value, and what it was for is undone.
        """
        for change in changes:
            self._announce(change)
            started = time.monotonic()
            with self._progress_logged(change, started):
                self.execute_change(change)
            self.executed.append(change)
            seconds = time.monotonic() - started
            if seconds >= _REPORT_DURATION_FROM:
                logger.info("  %s: done in %.1f s", change.description, seconds)

    def _announce(self, change: Change) -> None:
        level = logging.INFO
        if change in self._announced:  # repeated after it had to wait for a lock
            level = logging.DEBUG
        self._announced.append(change)
        effects = _BLOCKS.get(change.blocks or "", "")
        if change.note:
            effects += f"; {change.note}"
        logger.log(level, "  %s: %s%s", change.description, change.sql, effects)

    def execute_change(self, change: Change) -> None:
        """Execute one change. Called while executing."""
        self.execute_literally(change.sql)

    def in_batch_transaction(self, work: Callable[[], Result]) -> Result:
        """Fill a batch in a transaction of its own; repeat it while a row is locked.

        Called while executing, outside of a transaction.
        """

        def attempt() -> Result:
            with self.database.atomic():
                return work()

        return self.retry_on_lock(attempt, self.failed_because_of_lock)

    @contextmanager
    def _progress_logged(self, change: Change, started: float) -> Iterator[None]:
        done = threading.Event()
        arguments = (change, started, done)
        thread = threading.Thread(
            target=self._log_progress, args=arguments, daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            done.set()

    def _log_progress(
        self, change: Change, started: float, done: threading.Event
    ) -> None:
        while not done.wait(_PROGRESS_INTERVAL):
            activity = self.activity
            share = None
            # The change goes on, even if its progress cannot be read.
            with contextlib.suppress(peewee.PeeweeException):
                if not activity:
                    activity, share = self.progress()
            parts = [f"{time.monotonic() - started:.0f} s so far"]
            if activity:
                parts.append(activity)
            text = ", ".join(parts)
            if share is not None:
                text += f" {100 * share:.0f} %"
            logger.info("  %s: %s", change.description, text, extra={"progress": True})

    def progress(self) -> tuple[str, float | None]:
        """Return what the running statement does, and the share that is done (0 to 1).

        Called from another thread while a change runs, so it must use a connection of
        its own. "" and None if the database does not say.
        """
        return "", None

    def script(self, changes: Sequence[Change]) -> list[str]:
        """Return the lines of a script that executes changes as a run does.

        Called while planning, for `--dry-run`.
        """
        return [f"{change.sql};" for change in changes]

    def unopened_copy(self, **options: object) -> peewee.Database:
        """Return a new, unopened Database with the same parameters.

        For a second connection.
        """
        arguments = {**options, **self.database.connect_params}
        copy: peewee.Database = type(self.database)(self.database.database, **arguments)
        return copy

    # -- transactions

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction, or a savepoint in the caller's. Called at any stage."""
        if self.in_transaction():
            with self.database.savepoint():
                yield
        else:
            with self.database.atomic():
                yield

    @contextmanager
    def smoke_test_transaction(self) -> Iterator[bool]:
        """A transaction that is always rolled back. Called by the smoke test.

        It yields whether foreign keys are enforced at once in it. CHECK constraints are
        ignored in it, where the database can.
        """
        with contextlib.suppress(_RollBack), self.transaction():
            yield True
            raise _RollBack

    def all_rows(self) -> AbstractContextManager[None]:
        """Around queries from which row-level security must not hide rows.

        Called around every query whose answer decides something: row-level security
        hides rows without an error.
        """
        return contextlib.nullcontext()

    # -- errors

    def translate_error(self, error: Exception) -> MigrationError:
        """Return a database's error in one line: what, where, what to do next.

        Called after a call failed, while the connection may still be open.
        """
        text = one_line(without_password(self.database, str(error)))
        where = describe(self.database)
        if isinstance(error, UnicodeError):
            return DatabaseUnavailable(
                f"{where}: the encoding of the connection lacks a character of the "
                f"tables ({text}); use one that has it, such as UTF-8"
            )
        if isinstance(error, MigrationLockHeld) or self.is_lock_timeout(error):
            return self._lock_timeout_error(where, text)
        if isinstance(error, (peewee.IntegrityError, peewee.DataError)):
            done = "nothing was changed"
            if self.executed:
                done = "what was done before it stays; fix the rows, then run again"
            return ChangeRefused(
                f"{where}: rows conflict with the change ({text}); {done}"
            )
        return DatabaseUnavailable(f"{where}: {text}{self.advice(error, text)}")

    def _lock_timeout_error(self, where: str, text: str) -> LockTimeout:
        waited = self.lock_timeout - self.remaining_timeout
        tables = " or ".join(self.models.managed)
        return LockTimeout(
            f"{where} is locked: waited {waited:.1f} s of {self.lock_timeout:g} for "
            f"{tables}, or a table referred to ({text}; {self.lock_holders()}); "
            "try again, or raise --lock-timeout"
        )

    @abstractmethod
    def is_lock_timeout(self, error: Exception) -> bool:
        """Whether an error says that another connection held a lock for too long.

        Called after an attempt or a call failed.
        """

    def was_aborted(self, error: Exception) -> bool:
        """Whether another connection's lock or DDL made a transaction fail.

        Then the same work is worth another attempt. Called after an attempt failed.
        """
        return False

    def failed_because_of_lock(self, error: Exception) -> bool:
        """Whether the work failed, or was aborted, for the sake of another connection.

        It says nothing about the work itself. Called after an attempt failed.
        """
        return self.is_lock_timeout(error) or self.was_aborted(error)

    @abstractmethod
    def lock_holders(self) -> str:
        """Return who holds the lock that this run waits for, as far as is known.

        Called while a run waits, and after it gave up.
        """

    @abstractmethod
    def advice(self, error: Exception, text: str) -> str:
        """Return what to do about an error, beginning with "; ", or "".

        Called after a call failed. `text` is the error's text in one line.
        """


def has_non_ascii(changes: Iterable[Change]) -> bool:
    """Whether a script of changes must say in which encoding it is."""
    return not all(change.sql.isascii() for change in changes)
