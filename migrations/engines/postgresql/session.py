"""The session of a run: limits of its own, a lock that dies with its connection, and nothing left behind.

A pooler gives each transaction another session, so what is set is set in a transaction and goes with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import peewee

from migrations.engines.base import Engine
from migrations.engines.patience import Busy
from migrations.engines.rows import Row
from migrations.report import Refused

LOCK = 450_000_045  # the advisory lock of all runs on one database
_TRY = 0.2  # seconds that a statement waits for a table lock, and others behind it
_IDLE, _ACTIVE = 0, 1  # libpq's transaction status
# A role's limits would cancel what takes long and leave half of it; a client that was killed cancels nothing.
# The last is not a limit: without it a float's text would lack digits.
_LIMITS = {
    "statement_timeout": (0, "0"), "idle_in_transaction_session_timeout": (0, "0"),
    "transaction_timeout": (170000, "0"),
    "client_connection_check_interval": (140000, "2s"), "extra_float_digits": (0, "1"),
}  # fmt: skip
_SET = """
SELECT name, current_setting(name), set_config(name, value, %s)
FROM unnest(%s::text[], %s::text[]) AS t (name, value)"""


class Session(Engine):
    """A PostgreSQL connection at work, left as it was found."""

    online = False  # whether the changes are made one by one, beside writers
    _outer = False  # whether a trial is within the caller's transaction
    _driver = ""  # the package of the caller's driver

    @property
    def connection(self) -> Any:
        """The driver's connection, of psycopg 3 or psycopg2."""
        return self.database.connection()

    @property
    def version(self) -> int:
        """The server's version: 150004."""
        return int(self.connection.info.server_version)

    def in_transaction(self) -> bool:
        return bool(self.connection.info.transaction_status != _IDLE)

    @contextmanager
    def settings(self) -> Iterator[None]:
        # A statement that psycopg has prepared is known to one session, and a pooler may give us another.
        connection = self.connection
        self._driver = type(connection).__module__.partition(".")[0]
        prepared = getattr(connection, "prepare_threshold", None)
        if prepared is not None:
            connection.prepare_threshold = None
        before = self.configure(self.database, _unlike_ours(connection.info.parameter_status), local=False)
        recode = getattr(connection, "set_client_encoding", lambda encoding: None)  # psycopg2 sees no SET of ours
        try:
            if "client_encoding" in before:
                recode("LATIN1")
            yield
        finally:
            with contextlib.suppress(peewee.PeeweeException):  # a connection that was cut has nothing to restore
                self.configure(self.database, before, local=False)
            if prepared is not None:
                connection.prepare_threshold = prepared

    def query(self, sql: str, params: Sequence[object] | None = None) -> list[Row]:
        with self.cancelled_with_us():
            return super().query(sql, params)

    @contextmanager
    def cancelled_with_us(self) -> Iterator[None]:
        """Whoever interrupts us, does not mean that the server should go on. psycopg 3 itself sees to Ctrl-C."""
        try:
            yield
        except BaseException as interruption:
            connection = None if isinstance(interruption, Exception) else self.connection
            if connection and connection.info.transaction_status == _ACTIVE:
                connection.cancel()
                while connection.pgconn.get_result():
                    pass
            raise

    # -- limits

    def configure(self, database: peewee.Database, values: Mapping[str, str], local: bool = True) -> dict[str, str]:
        """Set settings for the transaction, or for the session; return what they were."""
        if not values:
            return {}
        found = database.execute_sql(_SET, (local, list(values), list(values.values()))).fetchall()
        return {name: before for name, before, _ in found}

    def limits(self, **others: str) -> dict[str, str]:
        limits = {name: value for name, (since, value) in _LIMITS.items() if self.version >= since}
        return {**limits, "lock_timeout": f"{max(self.patience.left, 0.001) * 1000:.0f}ms", **others}

    @contextmanager
    def limited(self, **others: str) -> Iterator[None]:
        """A transaction, or a savepoint in the caller's, under limits of ours, which are gone afterwards.

        :param others: further settings.
        """
        outer = self.in_transaction()
        with self.undone_with_errors(), self.transaction():
            before = self.configure(self.database, self.limits(**others))
            yield
            if outer:
                self.configure(self.database, before)

    def all_rows(self) -> AbstractContextManager[None]:
        return self.limited(row_security="off")

    def briefly(self) -> AbstractContextManager[None]:
        """A transaction that waits a moment for a lock of a table, since others wait behind it."""
        return self.limited(lock_timeout=f"{min(_TRY, max(self.patience.left, 0.001)) * 1000:.0f}ms")

    @contextmanager
    def unlimited(self) -> Iterator[None]:
        """A session under limits of ours, for what takes no transaction, and leaves half of itself at a timeout.

        Behind a pooler, what we set would stay with a session of somebody else's: see `advice`.
        """
        ((process,),) = self.query("SELECT pg_backend_pid()")
        pooled = process != self.connection.info.backend_pid
        before = {} if pooled else self.configure(self.database, self.limits(lock_timeout="0"), local=False)
        try:
            yield
        finally:
            with contextlib.suppress(peewee.PeeweeException):
                self.configure(self.database, before, local=False)

    # -- the lock

    def lock(self, database: peewee.Database) -> None:
        """Take the lock of all runs for the transaction.

        It is polled: who waited in the queue would deadlock with CREATE INDEX CONCURRENTLY.

        :raises Busy: another run has it.
        """
        with peewee.__exception_wrapper__:  # without parameters, whose portal would keep its snapshot
            cursor = database.cursor()
            cursor.execute(f"SELECT pg_try_advisory_xact_lock({LOCK})")
            if not cursor.fetchone()[0]:
                raise Busy

    @contextmanager
    def locked_beside(self) -> Iterator[None]:
        """The lock in a transaction of another connection, while this one's statements take none.

        Idle and without a snapshot, it holds up no CREATE INDEX CONCURRENTLY; a pooler leaves it to us until
        its end, and the server ends it with us.
        """
        if self.in_transaction():
            raise Refused(
                f"{' and '.join(self.builds)} holds rows, and its indexes and keys are added beside the writers, "
                "which cannot be done inside a transaction; run the migration outside of it"
            )
        with self.beside() as other:
            try:
                other.execute_sql("BEGIN ISOLATION LEVEL READ COMMITTED")  # another level would keep its snapshot
                self.configure(other, self.limits())
                self.lock(other)
                yield
            finally:
                with contextlib.suppress(peewee.PeeweeException):
                    other.execute_sql("ROLLBACK")

    def another(self) -> peewee.Database:
        # Peewee 4.0 takes psycopg2 unless told otherwise, and does not say what it was told.
        prefer = {"prefer_psycopg3": True} if self._driver == "psycopg" else {}
        other: peewee.Database = type(self.database)(
            self.database.database, **{**prefer, **self.database.connect_params}
        )
        return other

    @contextmanager
    def beside(self) -> Iterator[peewee.Database]:
        """Another connection to the same database."""
        other = self.another()
        other.connect()
        try:
            yield other
        finally:
            other.close()
            getattr(other, "close_idle", lambda: None)()  # a pool would keep it


def _unlike_ours(status: Any) -> dict[str, str]:
    """Return the settings that the driver or our queries could not live with; poolers know these, too.

    Text in an unknown encoding goes to and fro as it is in LATIN1.
    """
    found = {}
    if not (status("DateStyle") or "ISO").startswith("ISO"):
        found["DateStyle"] = "ISO"
    if status("standard_conforming_strings") == "off":
        found["standard_conforming_strings"] = "on"
    if status("client_encoding") == "SQL_ASCII":
        found["client_encoding"] = "LATIN1"
    return found
