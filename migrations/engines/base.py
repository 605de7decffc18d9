"""What every engine can do; a module beside this one says how its database really does it."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property

import peewee

from db.models import WeeklyActuals
from db.url import describe, without_password
from migrations.report import Change, DatabaseUnavailable, Difference, LockTimeout, MigrationError, Refused
from migrations.schema import Column, ForeignKey, Schema, Table

TABLE = "weekly_actuals"
READ = (TABLE, "historical_sales", "stores", "categories", "workflows")  # what `read` returns
_TELL_EVERY = 10.0  # seconds
logger = logging.getLogger("migrations.phase_4_5")
logger.addHandler(logging.NullHandler())  # or Python prints a library's warnings where nobody configured logging


class Busy(Exception):
    """Another run holds the lock that all runs share."""


class Patience:
    """The seconds that are left for waiting; work itself costs none."""

    def __init__(self, seconds: float) -> None:
        self.seconds = self.left = seconds

    @contextmanager
    def spent(self) -> Iterator[None]:
        """A context whose time is taken off what is left."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.left = max(0.0, self.left - (time.monotonic() - started))

    def pause(self) -> None:
        """Sleep a moment, of a random length so that those who wait do not meet again."""
        import random  # where nobody waits, its import would be a good part of the run

        with self.spent():
            time.sleep(min(random.uniform(0.05, 0.25), self.left))


class Engine:
    """A database at work on `weekly_actuals`: it reads, plans, applies, and asks about rows.

    One engine serves one call on one connection. `applied` grows by each change that was made.
    """

    backend: str
    override = ""  # what an INSERT needs to set an identity column

    def __init__(self, database: peewee.Database, lock_timeout: float) -> None:
        self.database = database
        self.patience = Patience(lock_timeout)
        self.applied: list[Change] = []
        self.opened = False  # whether the connection is ours, and goes with us

    # -- the connection

    @contextmanager
    def connected(self) -> Iterator[None]:
        """A context with an open connection, which it leaves as it found it.

        The database's errors become a `MigrationError` without the driver's chain, which may quote
        a password.
        """
        self.opened = self.database.is_closed()
        try:
            if self.opened:
                try:
                    self.connect()
                except TypeError as error:  # a driver's, for a parameter that it does not know
                    raise DatabaseUnavailable(f"{describe(self.database)}: {error}; check the URL's options") from None
            with self.settings():
                yield
        except (peewee.PeeweeException, OSError) as error:
            raise self.explain(error) from None  # while the connection is open, to ask who holds a lock
        finally:
            if self.opened and not self.database.is_closed():
                self.database.close()

    def connect(self) -> None:
        """Open the connection; a missing SQLite file is refused."""
        self.database.connect()

    def settings(self) -> AbstractContextManager[None]:
        """Return a context in which locks are waited for as asked; it restores what it sets."""
        raise NotImplementedError

    def in_transaction(self) -> bool:
        """Whether the caller has a transaction open, by Peewee's means or by plain SQL."""
        raise NotImplementedError

    def query(self, sql: str, params: Sequence | None = None) -> list[tuple]:
        """Return all rows of a query."""
        with peewee.__exception_wrapper__:  # which Peewee puts around the call only
            return self.database.execute_sql(sql, params).fetchall()

    def quote(self, name: str) -> str:
        """Return a name as an identifier."""
        start, end = self.database.quote
        return start + name.replace(end, end + end) + end

    # -- reading

    def read(self) -> Schema:
        """Return `weekly_actuals` and the tables it builds upon, as they are now."""
        raise NotImplementedError

    def table(self, name: str) -> Table | None:
        """Return any one table with its keys."""
        raise NotImplementedError

    def is_utc_now(self, default: str) -> bool:
        """Whether a column's default is the time now in UTC."""
        raise NotImplementedError

    def unconvertible(self, column: str, family: str, source: str) -> str:
        """Return a condition that holds for the values that the family cannot take without loss.

        :param source: the family that the column has.
        """
        raise NotImplementedError

    def as_text(self, expression: str) -> str:
        """Return an expression that is the text of another."""
        return f"CAST({expression} AS TEXT)"

    def no_id(self, column: str) -> str:
        """Return a condition that holds for the values that cannot be a row's id."""
        return f"{column} IS NULL"

    def no_parent(self, value: str, key: ForeignKey, table: Table) -> str:
        """Return a condition that holds for the rows `w` of the table whose value is no key of the parent."""
        parent, column = self.quote(key.table), self.quote(key.target[0])
        return f"{value} IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {parent} p WHERE p.{column} = {value})"

    def check_literals(self, table: str) -> dict[str, list]:
        """Return the values that a table's CHECK constraints name, by column."""
        return {}

    def estimate(self, table: str) -> int | None:
        """Return the catalogue's idea of a table's rows, None where counting is the way."""
        return None

    def may_hold_orphans(self) -> bool:
        """Whether rows can violate a foreign key that the schema has."""
        return True

    def lookalikes(self) -> list[tuple[str]]:
        """Return the names of tables that differ from ours only in case."""
        return []

    # -- planning

    @cached_property
    def migrator(self) -> object:
        """Peewee's own writer of schema changes."""
        from playhouse.migrate import SchemaMigrator  # only where there is something to change

        return SchemaMigrator.from_database(self.database)

    def sql_of(self, operation: object) -> str:
        """Return the statement of an operation of `playhouse.migrate`, or of any SQL node.

        Such an operation only runs itself; a plan has to show it first.
        """
        while hasattr(operation, "fn"):
            operation = operation.fn(operation.migrator, *operation.args, **operation.kwargs)
        if not isinstance(operation, peewee.Context):
            operation = self.database.get_sql_context(scope=peewee.SCOPE_VALUES).sql(operation)
        return operation.query()[0]

    def plan(self, table: Table | None, differences: Iterable[Difference], rows: int) -> list[Change]:
        """Return the statements that mend the differences, in order."""
        raise NotImplementedError

    def create_table(self) -> list[Change]:
        """Return the statements that make the table from nothing."""
        manager = peewee.SchemaManager(WeeklyActuals, self.database)
        statement = self.sql_of(manager._create_table(safe=False))
        return [Change("create table weekly_actuals", statement), *map(self.create_index, INDEXES)]

    def create_index(self, name: str) -> Change:
        """Return the statement that makes one of the declared indexes."""
        operation = self.migrator.add_index("weekly_actuals", INDEXES[name], name=name)
        return Change(f"create index {name}", self.sql_of(operation))

    def drop_table(self) -> list[Change]:
        """Return the statement that drops the table; what hangs on it is not dropped with it."""
        return [Change("drop table weekly_actuals", self.sql_of(self.migrator.drop_table("weekly_actuals")))]

    # -- changing

    def exclusively(self, work: Callable[[], object]) -> object:
        """Return what `work` returns, done under the lock that all runs on this database share."""
        raise NotImplementedError

    @contextmanager
    def undone_with_errors(self) -> Iterator[None]:
        """A context for a transaction: what an error undoes was not applied."""
        before = len(self.applied)
        try:
            yield
        except BaseException:
            del self.applied[before:]
            raise

    def patiently(self, attempt: Callable[[], object], again: Callable[[Exception], bool]) -> object:
        """Return what an attempt returns, made again while it fails for a lock and patience lasts.

        Between two attempts nothing is held.
        """
        while True:
            started = time.monotonic()
            try:
                return attempt()
            except (Busy, peewee.DatabaseError) as error:
                if not (isinstance(error, Busy) or again(error)):
                    raise
                self.patience.left -= time.monotonic() - started
                if self.patience.left <= 0:
                    if isinstance(error, Busy) or self.is_lock_timeout(error):
                        raise self.timed_out() from None
                    raise  # no peer's doing after all
                self.patience.pause()

    def carry_out(self, changes: Iterable[Change]) -> None:
        """Make the changes, saying each before it starts, how a long one goes on, and how long it took."""
        for change in changes:
            logger.info("  %s: %s", change.description, change.sql)
            started, done = time.monotonic(), threading.Event()
            teller = threading.Timer(_TELL_EVERY, self._tell, (change, started, done))
            teller.daemon = True
            teller.start()
            try:
                self.execute(change)
            finally:
                done.set()
                teller.cancel()
            if (seconds := time.monotonic() - started) >= 0.5:
                logger.info("  %s: done in %.1f s", change.description, seconds)
            self.applied.append(change)

    def _tell(self, change: Change, started: float, done: threading.Event) -> None:
        while not done.is_set():
            progress = ""
            with contextlib.suppress(peewee.PeeweeException):  # what it is for goes on without it
                progress = self.progress()
            logger.info("  %s: %.0f s so far%s", change.description, time.monotonic() - started, progress)
            done.wait(_TELL_EVERY)

    def progress(self) -> str:
        """Return how far the running statement is, where the database tells; called in another thread."""
        return ""

    def ask_beside(self, sql: str, *params: object) -> list[tuple]:
        """Return the rows of a query on a connection of its own."""
        other = type(self.database)(self.database.database, **self.database.connect_params)
        with other.connection_context():
            return other.execute_sql(sql, params).fetchall()

    def execute(self, change: Change) -> None:
        """Make one change."""
        self.database.execute_sql(self.literally(change.sql))

    def literally(self, sql: str) -> str:
        """Return a statement without parameters for a driver that looks for `%s` in it all the same."""
        return sql.replace("%", "%%") if self.database.param == "%s" else sql

    # -- the smoke test

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction, or a savepoint in the caller's."""
        with self.database.savepoint() if self.in_transaction() else self.database.atomic():
            yield

    @contextmanager
    def trial(self) -> Iterator[bool]:
        """A transaction that is always undone; it yields whether foreign keys are enforced."""
        try:
            with self.transaction():
                yield self.enforces_keys()
                raise _Undo
        except _Undo:
            pass

    def without_checks(self) -> AbstractContextManager[None]:
        """A context in which CHECKs are ignored, where the database can: on an empty table nobody knows
        what those of a parent would take, and they are not on trial."""
        return contextlib.nullcontext()

    def trial_id(self, column: Column) -> int | None:
        """Return an id for a row on trial, so that no sequence moves; None to let the database give one."""
        return uuid.uuid4().int % 2**30 + 2**30

    def checked_at_commit(self) -> bool:
        """Whether the row inserted last violates a foreign key of `weekly_actuals` that is enforced later."""
        return False

    def enforces_keys(self) -> bool:
        """Whether the connection enforces foreign keys."""
        return True

    # -- errors

    def explain(self, error: Exception) -> MigrationError:
        """Return a driver's error as one line: what, where, what to do next."""
        text = " ".join(without_password(self.database, str(error)).split())
        where = describe(self.database)
        if self.is_lock_timeout(error):
            return LockTimeout(
                f"{where} is locked: waited {self.patience.seconds - self.patience.left:.1f} s of "
                f"{self.patience.seconds:g} ({text}; {self.holders()}); "
                "try again, or raise --lock-timeout"
            )
        if isinstance(error, (peewee.IntegrityError, peewee.DataError)):
            done = (
                "what was done before it stays, run again once that is mended"
                if self.applied
                else "nothing was changed"
            )
            return Refused(f"{where}: rows stand against the change ({text}); {done}")
        return DatabaseUnavailable(f"{where}: {text}{self.advice(error, text)}")

    def was_aborted(self, error: Exception) -> bool:
        """Whether a transaction of ours gave way to a peer's change, and is worth another try."""
        return False

    def timed_out(self) -> LockTimeout:
        """Return the error of a wait that was too long, with who holds the lock."""
        return LockTimeout(
            f"{describe(self.database)}: no lock on weekly_actuals or a table it refers to within "
            f"{self.patience.seconds:g} s; {self.holders()}; try again, or raise --lock-timeout"
        )

    def holders(self) -> str:
        """Return who holds the lock, as far as the database tells."""
        raise NotImplementedError

    def is_lock_timeout(self, error: Exception) -> bool:
        """Whether an error says that somebody else held a lock for too long."""
        raise NotImplementedError

    def advice(self, error: Exception, text: str) -> str:
        """Return what to do about a driver's error, with its own punctuation."""
        return ""


class _Undo(Exception):
    """Leaves a trial's transaction by the way that undoes it."""


def own_key(table: Table) -> tuple[str, ...]:
    """Return the columns of a primary key that gives way to ours, and has to stay unique."""
    return () if table.primary_key in ((), ("id",), WeeklyActuals._meta.unique_key[1]) else table.primary_key


INDEXES: dict[str, tuple[str, ...]] = {
    index._name: tuple(field.column_name for field in index._expressions)
    for index in WeeklyActuals._meta.fields_to_index()
}


def literal(text: str) -> str:
    """Return a text as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def literals(sql: str) -> list:
    """Return the values that a piece of SQL names, and for a number those next to it."""
    found: list = []
    for string, number in re.findall(r"'((?:[^']|'')*)'|\b(\d+(?:\.\d+)?)\b", sql):
        found += [float(number) + step for step in (0, 1, -1)] if number else [string.replace("''", "'")]
    return found


def column_ddl(engine: Engine, name: str, null: bool | None = None) -> str:
    """Return the definition of a declared column, as `CREATE TABLE` has it.

    :param null: another nullability than the declared one, for a column that keeps its own.
    """
    field = WeeklyActuals._meta.columns[name]
    if null is not None and null != field.null:
        field = field.clone()
        field.null = null
    context = engine.database.get_sql_context(scope=peewee.SCOPE_VALUES)
    return context.sql(field.ddl(context)).query()[0]
