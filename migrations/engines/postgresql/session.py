"""The session of a run: settings of its own, a lock that dies with its connection, and nothing left behind.

A pooler gives each transaction another session, so what is set is set in a transaction and goes with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import peewee

from migrations.engines.base import Busy, Engine
from migrations.engines.rows import Row
from migrations.report import Refused

LOCK = 450_000_045  # the advisory lock of all runs on one database
TRY = 0.2  # seconds that a statement waits for a table lock, and others behind it
_MONTH = 2_000_000.0  # seconds, more or less as many as PostgreSQL can wait
_IDLE, _ACTIVE = 0, 1  # libpq's transaction status
_SETTINGS = {  # as far as the server knows them
    # A role's limits would cancel what takes long and leave half of it; a client that was killed cancels nothing.
    "statement_timeout": "0", "idle_in_transaction_session_timeout": "0", "transaction_timeout": "0",
    "client_connection_check_interval": "2s",
    # What values and expressions look like, and how ours are read.
    "extra_float_digits": "1", "DateStyle": "ISO", "standard_conforming_strings": "on", "quote_all_identifiers": "off",
}  # fmt: skip
_SET = """
SELECT name, current_setting(name), set_config(name, value, %s) FROM unnest(%s::text[], %s::text[]) AS t (name, value)
WHERE current_setting(name, true) IS NOT NULL"""


class Session(Engine):
    """A PostgreSQL connection at work, left as it was found."""

    brief = TRY  # what a statement waits that others wait behind
    _driver = ""  # the package of the caller's driver

    @property
    def connection(self) -> Any:
        """The driver's connection, of psycopg 3 or psycopg2."""
        return self.database.connection()

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
        # Text in an unknown encoding goes to and fro as it is in LATIN1. psycopg2 sees no SET of ours.
        unknown = connection.info.parameter_status("client_encoding") == "SQL_ASCII"
        recode = getattr(
            connection, "set_client_encoding", lambda to: connection.execute(f"SET client_encoding = {to}")
        )
        try:
            if unknown:
                recode("LATIN1")
            yield
        finally:
            if unknown:
                recode("SQL_ASCII")
            if prepared is not None:
                connection.prepare_threshold = prepared

    def query(self, sql: str, params: Sequence[object] | None = None) -> list[Row]:
        with self.cancelled_with_us():
            return super().query(sql, params)

    def texts(self, sql: str, *params: object) -> list[str]:
        """Return the texts that a query finds."""
        return [text for (text,) in self.query(sql, params)]

    @contextmanager
    def cancelled_with_us(self) -> Iterator[None]:
        """Whoever interrupts us, does not mean that the server should go on. psycopg 3 itself sees to Ctrl-C."""
        try:
            yield
        except BaseException:
            if self.connection.info.transaction_status == _ACTIVE:
                self.connection.cancel()
                while self.connection.pgconn.get_result():
                    pass
            raise

    # -- settings

    def configure(self, database: peewee.Database, values: Mapping[str, str], local: bool = True) -> dict[str, str]:
        """Set settings for the transaction, or for the session; return what they were."""
        found = database.execute_sql(_SET, (local, [*values], [*values.values()])).fetchall()
        return {name: before for name, before, _ in found}

    def ours(self, brief: bool = False, **others: str) -> dict[str, str]:
        """Return our settings; a lock is waited for as long as patience lasts, or a `brief` while."""
        wait = max(min(self.patience, self.brief if brief else _MONTH), 0.001)  # 0 would be for ever
        return {**_SETTINGS, "lock_timeout": f"{wait * 1000:.0f}ms", **others}

    @contextmanager
    def limited(self, brief: bool = False, **others: str) -> Iterator[None]:
        """A transaction, or a savepoint in the caller's, under settings of ours, which are gone afterwards."""
        outer = self.in_transaction()
        with self.undone_with_errors(), self.transaction(), self.cancelled_with_us():
            before = self.configure(self.database, self.ours(brief, **others))
            yield
            if outer:
                self.configure(self.database, before)

    def all_rows(self) -> AbstractContextManager[None]:
        return self.limited(row_security="off")

    @contextmanager
    def unlimited(self) -> Iterator[None]:
        """A session under settings of ours, for what takes no transaction, and leaves half of itself at a timeout."""
        ((process,),) = self.query("SELECT pg_backend_pid()")
        pooled = process != self.connection.info.backend_pid  # where they would stay with somebody else's session
        ours = {} if pooled else self.ours(lock_timeout="0")
        before = self.configure(self.database, ours, local=False)
        try:
            with self.cancelled_with_us():
                yield
        finally:
            with contextlib.suppress(peewee.PeeweeException):  # a connection that was cut has nothing to restore
                self.configure(self.database, before, local=False)

    # -- the lock

    def lock(self, database: peewee.Database) -> None:
        """Take the lock of all runs for the transaction.

        It is polled: who waited in the queue would deadlock with CREATE INDEX CONCURRENTLY. The query has no
        parameters, whose portal would keep its snapshot.
        """
        ((taken,),) = database.execute_sql(f"SELECT pg_try_advisory_xact_lock({LOCK})").fetchall()
        if not taken:
            raise Busy

    @contextmanager
    def locked_beside(self) -> Iterator[None]:
        """The lock in a transaction of another connection, while this one's statements take none.

        Idle and without a snapshot, it holds up no CREATE INDEX CONCURRENTLY; a pooler leaves it to us until
        its end, and the server ends it with us.
        """
        if self.in_transaction():
            names = " and ".join(self.builds)
            how = "mended beside its writers, which cannot be done inside a transaction"
            raise Refused(f"{names} holds rows and is {how}; run the migration outside of it")
        with self.beside() as other, other.atomic():
            other.execute_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")  # another would keep its snapshot
            self.configure(other, self.ours())
            self.lock(other)
            yield

    @contextmanager
    def beside(self) -> Iterator[peewee.Database]:
        """Another connection to the same database."""
        # Peewee takes psycopg2 unless told otherwise, and does not say what it was told.
        other = self.another(prefer_psycopg3=self._driver == "psycopg")
        try:
            with other.connection_context():
                yield other
        finally:
            getattr(other, "close_idle", lambda: None)()  # a pool would keep it
