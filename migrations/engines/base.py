"""What every engine can do; a room beside this one says how its database really does it."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

import peewee

from db.url import describe, without_password
from migrations.declaration import Model, declared, in_order
from migrations.engines.rows import Rows
from migrations.operations import Operation
from migrations.report import Change, DatabaseUnavailable, LockTimeout, MigrationError, Refused
from migrations.schema import Column, ForeignKey, Schema, Table, Type

if TYPE_CHECKING:
    from migrations.engines.samples import Samples
    from migrations.engines.statements import Statements

logger = logging.getLogger("migrations")
logger.addHandler(logging.NullHandler())  # or Python prints a library's warnings where nobody configured logging
Result = TypeVar("Result")
_EVERY = 10.0  # seconds between two words about a long change
_DECLARED: dict[tuple[str, Model], Table] = {}


class Busy(Exception):
    def __str__(self) -> str:
        return "another run is at work"


class Engine(Rows):
    """A database at work for a phase: it reads, plans, applies, and asks about rows.

    One engine serves one call on one connection. `models` are the phase's by the names of their tables,
    `builds` the names of those that it makes, each after those that it refers to. `applied` grows by each
    change that was made. `patience` is what is left of the `lock_timeout`, in seconds: waiting costs it, and an
    attempt that fails for a lock.
    """

    # What each engine has a way of its own for.
    backend: str
    statements_class: type[Statements]
    parse_type: Callable[[str], Type]  # the meaning of a type as this database, or Peewee for it, writes it
    settings: Callable[[], AbstractContextManager[None]]  # in which locks are waited for as asked; undone at its end
    in_transaction: Callable[[], bool]  # whether the caller has one open, by Peewee's means or by plain SQL
    read: Callable[[], Schema]  # the phase's tables as they are now; one that is not there is left out
    tables: Callable[[Iterable[str]], Schema]  # any tables by their names, as far as they are there
    default_meaning: Callable[[str], str]  # schema.UTC_NOW for the time now in UTC, else the literal or the expression
    dependents: Callable[[str], list[str]]  # what would break if a table were dropped: "view x", "table y"
    script: Callable[[Sequence[Change]], list[str]]  # with the transactions, limits and settings of a run around them
    exclusively: Callable[[Callable[[], Result]], Result]  # what is done under the lock that all runs here share
    holders: Callable[[], str]  # who holds the lock, as far as the database tells
    is_lock_timeout: Callable[[Exception], bool]  # whether it says that somebody else held a lock for too long
    advice: Callable[[Exception, str], str]  # what to do about a driver's error of a text, with its own punctuation
    keys_hold_types = False  # whether a column keeps its type as long as a foreign key holds it
    actions: Mapping[str, str] = {}  # the actions of foreign keys that are another here

    def __init__(
        self, database: peewee.Database, lock_timeout: float, models: Mapping[str, Model], builds: Iterable[str]
    ) -> None:
        self.database, self.models = database, models
        self.builds: Sequence[str] = [model._meta.table_name for model in in_order(models[name] for name in builds)]
        self.lock_timeout = self.patience = lock_timeout
        self.applied: list[Change] = []
        self._told: list[Change] = []
        self._has_told = False  # who is waited for
        self.opened = False  # whether the connection is ours, and goes with us

    # -- the connection

    @contextmanager
    def connected(self) -> Iterator[None]:
        """A context with an open connection, which it leaves as it found it.

        The database's errors become a `MigrationError` without the driver's chain, which may quote a password.
        """
        self.opened = self.database.is_closed()
        try:
            if self.opened:
                self.connect()
            with self.settings():
                yield
        except (peewee.PeeweeException, OSError, Busy) as error:
            raise self.explain(error) from None  # while the connection is open, to ask who holds a lock
        finally:
            if self.opened and not self.database.is_closed():
                self.database.close()

    def connect(self) -> None:
        try:
            self.database.connect()
        except TypeError as error:  # a driver's, for a parameter that it does not know
            raise DatabaseUnavailable(f"{describe(self.database)}: {error}; check the URL's options") from None

    # -- reading

    def declared(self, model: Model) -> Table:
        """Return the table that a model declares here."""
        key = self.backend, model  # whose meaning is worked out once a process
        if key not in _DECLARED:
            table = declared(model, self.database, type(self).parse_type)
            columns = {name: self.written(column) for name, column in table.columns.items()}
            foreign_keys = tuple(map(self.understood, table.foreign_keys))
            _DECLARED[key] = table._replace(columns=columns, foreign_keys=foreign_keys)
        return _DECLARED[key]

    def written(self, column: Column) -> Column:
        """Return a column whose default reads as the database will write it: of '8:00' it may make '08:00:00'."""
        return column

    def understood(self, key: ForeignKey) -> ForeignKey:
        """Return a foreign key with its actions as this database understands them."""
        on_delete, on_update = (self.actions.get(action, action) for action in (key.on_delete, key.on_update))
        return key._replace(on_delete=on_delete, on_update=on_update)

    def lookalikes(self, name: str) -> list[str]:
        """Return the names of tables that differ from a name only in case, where that is a difference."""
        return []

    # -- planning

    def refined(self, operations: Sequence[Operation], schema: Schema) -> Sequence[Operation]:
        """Return the operations with those that this engine needs besides."""
        return operations

    def statements(self, operations: Sequence[Operation], schema: Schema) -> list[Change]:
        """Return the statements of operations that are in order, on the tables that there are."""
        return self.statements_class(self, schema).of(operations)

    # -- changing

    @contextmanager
    def undone_with_errors(self) -> Iterator[None]:
        """A context for a transaction: what an error undoes was not applied."""
        before = len(self.applied)
        try:
            yield
        except BaseException:
            del self.applied[before:]
            raise

    def patiently(
        self, attempt: Callable[[], Result], again: Callable[[Exception], bool] | None = None, pause: float = 0.0
    ) -> Result:
        """Return what an attempt returns, made again while it fails for a lock and patience lasts.

        Between two attempts nothing is held but the transaction that they are made in, if there is one.

        :param again: whether an error is worth another attempt; default `was_aborted`.
        :param pause: seconds between two attempts; default a random time, so that those who wait do not meet again.
        """
        while True:
            started = time.monotonic()
            try:
                return attempt()
            except (Busy, peewee.DatabaseError) as error:
                if not (isinstance(error, Busy) or (again or self.was_aborted)(error)):
                    raise
                self._lose_patience(started)
                if not self.patience:
                    raise
            self._wait(pause)

    def _wait(self, seconds: float) -> None:
        """Sleep a moment; say once, after a second, that it takes patience, and who holds the lock."""
        started = time.monotonic()
        if not seconds:
            import random  # where nobody waits, its import would be a good part of the run

            seconds = random.uniform(0.05, 0.25)
        time.sleep(min(seconds, self.patience))
        self._lose_patience(started)
        if self.lock_timeout - self.patience >= 1 and not self._has_told:
            self._has_told = True
            logger.info("  waiting for a lock, up to %g s: %s", self.lock_timeout, self.holders())

    def _lose_patience(self, since: float) -> None:
        self.patience = max(0.0, self.patience - (time.monotonic() - since))

    def carry_out(self, changes: Iterable[Change]) -> None:
        """Make the changes, saying each before it starts, how a long one goes on, and how long it took."""
        for change in changes:
            waits = {"writers": "; writers wait", "everybody": "; everybody waits"}.get(change.holds_up or "", "")
            level = logging.DEBUG if change in self._told else logging.INFO  # again, after it gave way to a lock
            self._told.append(change)
            logger.log(level, "  %s: %s%s", change.description, change.sql, waits and f"{waits} until it is done")
            started, done = time.monotonic(), threading.Event()
            threading.Thread(target=self._tell, args=(change, started, done), daemon=True).start()
            try:
                self.execute(change)
            finally:
                done.set()
            self.applied.append(change)
            if (seconds := time.monotonic() - started) >= 0.5:
                logger.info("  %s: done in %.1f s", change.description, seconds)

    def _tell(self, change: Change, started: float, done: threading.Event) -> None:
        while not done.wait(_EVERY):
            what, share = "", None
            with contextlib.suppress(peewee.PeeweeException):  # what it is for goes on without it
                what, share = self.progress()
            percent = f"{100 * share:.0f} %" if share is not None else ""
            so_far = f"{time.monotonic() - started:.0f} s so far, {what} {percent}".rstrip(", ")
            logger.info("  %s: %s", change.description, so_far, extra={"progress": True})

    def execute(self, change: Change) -> None:
        self.database.execute_sql(self.literally(change.sql))

    def progress(self) -> tuple[str, float | None]:
        """Return, in another thread, what the running statement does and its share done, as far as that is told."""
        return "", None

    def another(self, **options: object) -> peewee.Database:
        """Return this database unopened, for a connection beside."""
        other: peewee.Database = type(self.database)(
            self.database.database, **{**options, **self.database.connect_params}
        )
        return other

    # -- the smoke test

    def samples(self) -> Samples:
        """Return what makes the rows on trial, from the engine's room."""
        made: Samples = import_module(f"{__package__}.{self.backend}.samples").Samples(self)
        return made

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction, or a savepoint in the caller's."""
        with self.database.savepoint() if self.in_transaction() else self.database.atomic():
            yield

    @contextmanager
    def trial(self) -> Iterator[bool]:
        """A transaction that is always undone; it yields whether foreign keys are enforced.

        CHECKs are ignored in it, where the database can.
        """
        with contextlib.suppress(_Undo), self.transaction():
            yield True
            raise _Undo

    def checked_at_commit(self, table: str) -> bool:
        """Whether the row inserted last may violate a foreign key that is enforced later."""
        return False

    # -- errors

    def explain(self, error: Exception) -> MigrationError:
        """Return a driver's error as one line: what, where, what to do next."""
        text = " ".join(without_password(self.database, str(error)).split())
        where = describe(self.database)
        if isinstance(error, Busy) or self.is_lock_timeout(error):
            waited = f"{self.lock_timeout - self.patience:.1f} s of {self.lock_timeout:g}"
            what = f"{' or '.join(self.builds)}, or a table referred to ({text}; {self.holders()})"
            advice = "try again, or raise --lock-timeout"
            return LockTimeout(f"{where} is locked: waited {waited} for {what}; {advice}")
        if isinstance(error, (peewee.IntegrityError, peewee.DataError)):
            done = "what was done before it stays, run again once that is mended"
            done = done if self.applied else "nothing was changed"
            return Refused(f"{where}: rows stand against the change ({text}); {done}")
        return DatabaseUnavailable(f"{where}: {text}{self.advice(error, text)}")

    def was_aborted(self, error: Exception) -> bool:
        """Whether a transaction of ours gave way to a peer's change, and is worth another try."""
        return False


class _Undo(Exception):
    """Leaves a trial's transaction by the way that undoes it."""
