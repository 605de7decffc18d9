"""The PostgreSQL connection of a run: its settings, the migration lock, its errors.

A transaction pooler gives each transaction another server session. So settings are made
in a transaction and end with it, and the migration lock belongs to a transaction, too.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, NamedTuple

import peewee

from db.url import describe, without_password
from migrations.declaration import PhaseModels
from migrations.engines.postgresql import catalog_queries
from migrations.engines.session import (
    MigrationLockHeld,
    Result,
    Row,
    Session,
    ValueWritten,
    has_non_ascii,
)
from migrations.errors import ChangeRefused, MigrationError
from migrations.report import Change
from migrations.sql_text import one_line

MIGRATION_LOCK = 450_000_045  # the advisory lock of all runs on one database
# Seconds that a statement waits for a table lock. Later statements on that table queue
# behind it for as long.
SHORT_LOCK_WAIT = 0.2
_LONGEST_WAIT = 2_000_000.0  # seconds; lock_timeout is a 32-bit number of milliseconds
# https://www.postgresql.org/docs/current/libpq-status.html, PQtransactionStatus
_IDLE = 0
_ACTIVE = 1
# The server's settings that a run relies on; older servers do not know all of them.
_SERVER_SETTINGS = {
    # A role's limits would cancel a long statement and leave half of its work. A client
    # that was killed cannot cancel its statement: the server looks for it.
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "transaction_timeout": "0",
    "client_connection_check_interval": "2s",
    # How values and expressions are written, and how the run's own SQL is read.
    "extra_float_digits": "1",
    "DateStyle": "ISO",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
}
_SET = """
SELECT name, current_setting(name), set_config(name, value, %s)
FROM unnest(%s::text[], %s::text[]) AS t (name, value)
WHERE current_setting(name, true) IS NOT NULL"""
# Statements that PostgreSQL refuses to execute in a transaction.
_CONCURRENTLY = r"(CREATE (UNIQUE )?INDEX|DROP INDEX) CONCURRENTLY "

# SQLSTATEs, https://www.postgresql.org/docs/current/errcodes-appendix.html
_LOCK_NOT_AVAILABLE = "55P03"
_DEADLOCK = "40P01"
_READ_ONLY = "25006"
_ABORTED_BY_OTHERS = {
    _LOCK_NOT_AVAILABLE,
    _DEADLOCK,
    # Another run created the same at the same time.
    "42P07",  # duplicate_table
    "42710",  # duplicate_object
    "23505",  # unique_violation, in the catalog
}
_CHECK_VIOLATION = "23514"
# What only SQL of a model can cause, as the project's own is valid.
_INVALID_SQL = {
    "42601",  # syntax_error
    "42703",  # undefined_column
    "42883",  # undefined_function
}
_CONNECTION_CLASSES = {
    "",  # the driver's own error
    "08",  # connection exception
    "53",  # insufficient resources
    "57",  # operator intervention
}


class _RollBack(Exception):
    """Leaves a transaction in the way that rolls it back."""


class _Advice(NamedTuple):
    """What to do about an error, by a pattern of its text.

    Fields of the template: {user}, {managed} (a managed table), {name} (the pattern's
    group "name") and {tables} (that name, and the other tables that need the right).
    """

    pattern: str
    template: str


_ADMINISTRATOR = "an administrator has to run: "
_ADVICE = [
    _Advice(
        "row-level security",
        _ADMINISTRATOR + "ALTER ROLE {user} BYPASSRLS",
    ),
    _Advice(
        "for schema (?P<name>.*?)($| LINE )",
        _ADMINISTRATOR + "GRANT CREATE, USAGE ON SCHEMA {name} TO {user}",
    ),
    _Advice(
        "must be owner",
        _ADMINISTRATOR + "ALTER TABLE {managed} OWNER TO {user}",
    ),
    _Advice(
        "denied for table (?P<name>[^ ]+)",
        _ADMINISTRATOR
        + "GRANT SELECT, INSERT, DELETE, REFERENCES ON {tables} TO {user}",
    ),
    _Advice(
        "statement timeout",
        "connect to the server itself, not to a pooler, or run: "
        "ALTER ROLE {user} SET statement_timeout = 0",
    ),
    _Advice(
        "read-only transaction",
        "connect to the primary, or run: "
        "ALTER ROLE {user} SET default_transaction_read_only = off",
    ),
    _Advice(
        "too many connections|connection slots",
        "a run uses up to two connections; close some, or raise the limit",
    ),
    _Advice(
        "only permanent tables",
        "run ALTER TABLE … SET LOGGED on the table referred to",
    ),
    _Advice(
        "role .* does not exist",
        "check the user in the URL, or create it with createuser",
    ),
    _Advice(
        "database .* does not exist",
        "check the name in the URL, or create it with createdb",
    ),
    _Advice("password", "check the user and the password in the URL"),
]
_CONNECTION_ADVICE = "check that the server runs and can be reached, then run again"


class _NeedsOwnTransactions(Exception):
    """A change cannot share a transaction. Ends that of `with_migration_lock`."""


def sqlstate(error: BaseException) -> str:
    """Return the SQLSTATE of a database error, or "".

    Peewee's exception has the driver's in `orig`; psycopg 3 calls the code `sqlstate`,
    psycopg2 `pgcode`.
    """
    original = getattr(error, "orig", None)
    while isinstance(original, Exception):
        error = original
        original = getattr(error, "orig", None)
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""


class PostgreSQLSession(Session):
    """A connection to PostgreSQL, which is left as it was found.

    Changes, queries of rows (`all_rows`) and a model's SQL run under `server_settings`,
    inside `settings_transaction`, or inside `without_timeouts` if CONCURRENTLY. TABLES
    and IDS_BEHIND set them themselves. Other queries run under them only while such a
    transaction is open.
    """

    backend = "postgresql"
    product = "PostgreSQL"

    def __init__(
        self, database: peewee.Database, models: PhaseModels, lock_timeout: float
    ) -> None:
        super().__init__(database, models, lock_timeout)
        self._short_lock_wait = SHORT_LOCK_WAIT
        # Whether that is long enough for PostgreSQL to cancel an autovacuum.
        self._waits_for_autovacuum = False
        self.in_callers_transaction = False  # whether the call came inside of one
        self._uses_psycopg3 = False  # known once there is a connection
        # Of a phase whose models have schemas: the search path that it uses, and the
        # schemas that are not in the caller's.
        self.search_path = ""
        self.added_schemas: frozenset[str] = frozenset()

    @property
    def connection(self) -> Any:
        """The driver's connection, of psycopg 3 or psycopg2."""
        return self.database.connection()

    def in_transaction(self) -> bool:
        return bool(self.connection.info.transaction_status != _IDLE)

    @contextmanager
    def connection_settings(self) -> Iterator[None]:
        """Settings of the driver: no prepared statements, a known encoding."""
        connection = self.connection
        self.in_callers_transaction = self.in_transaction()
        self._uses_psycopg3 = type(connection).__module__.partition(".")[0] == "psycopg"
        with (
            _without_prepared_statements(connection),
            _with_known_encoding(connection),
            self._search_path_of_models(),
        ):
            yield

    @contextmanager
    def _search_path_of_models(self) -> Iterator[None]:
        """Put the schemas of the models (`Meta.schema`) into the search path.

        So an unqualified name is the table of the model everywhere. Where the managed
        models have a schema, it comes first, as new tables are created there.
        """
        schemas = self.models.schemas
        if not schemas:
            yield
            return
        if self._is_pooled():
            raise MigrationError(
                f"{describe(self.database)}: Meta.schema needs a session of its own; "
                "connect to the server itself, not to a pooler"
            )
        ((before, visible),) = self.query(
            "SELECT current_setting('search_path'), current_schemas(true)::text[]"
        )
        self.added_schemas = frozenset(schemas) - frozenset(visible)
        parts = [before] if before else []
        for schema in reversed(schemas):
            if schema == self.models.managed_schema:
                parts.insert(0, self.quote(schema))
            else:
                parts.append(self.quote(schema))
        self.search_path = ", ".join(parts)
        self._set_search_path(self.search_path)
        try:
            yield
        finally:
            # The end of a transaction that was aborted restores it.
            with contextlib.suppress(peewee.PeeweeException):
                self._set_search_path(before)

    def _set_search_path(self, value: str) -> None:
        self.query("SELECT set_config('search_path', %s, false)", (value,))

    # -- statements

    def query(self, sql: str, params: Sequence[object] | None = None) -> list[Row]:
        with self._cancelled_on_interrupt():
            return super().query(sql, params)

    def query_texts(self, sql: str, *params: object) -> list[str]:
        """Return the texts that a query of one column finds."""
        return [text for (text,) in self.query(sql, params or None)]

    @contextmanager
    def _cancelled_on_interrupt(self) -> Iterator[None]:
        """Cancel the running statement if an exception interrupts this run.

        Otherwise the server would finish it. psycopg 3 itself cancels for Ctrl-C only.
        """
        try:
            yield
        except BaseException:
            if self.connection.info.transaction_status == _ACTIVE:
                self.connection.cancel()
                while self.connection.pgconn.get_result():
                    pass
            raise

    # -- settings

    def server_settings(
        self, short_lock_wait: bool = False, **others: str
    ) -> dict[str, str]:
        """Return the server's settings for a run's queries, without setting them.

        :param short_lock_wait: wait for a lock only for a moment, because others wait
            behind the statement; otherwise as long as `remaining_timeout`.
        :param others: further settings.
        """
        longest = self._short_lock_wait if short_lock_wait else _LONGEST_WAIT
        wait = min(self.remaining_timeout, longest)
        milliseconds = 1000 * max(wait, 0.001)  # 0 would be without a limit
        return {**_SERVER_SETTINGS, "lock_timeout": f"{milliseconds:.0f}ms", **others}

    @contextmanager
    def settings_transaction(
        self, short_lock_wait: bool = False, **others: str
    ) -> Iterator[None]:
        """A transaction, or a savepoint in the caller's, with `server_settings`.

        They are restored afterwards. The parameters are those of that method.
        """
        in_callers_transaction = self.in_transaction()
        with (
            self.forget_executed_on_error(),
            self.transaction(),
            self._cancelled_on_interrupt(),
        ):
            values = self.server_settings(short_lock_wait, **others)
            before = _configure(self.database, values)
            yield
            if in_callers_transaction:  # otherwise they end with the transaction
                _configure(self.database, before)

    @contextmanager
    def rolled_back(self) -> Iterator[None]:
        """`settings_transaction`, but what is done in it is rolled back."""
        with contextlib.suppress(_RollBack), self.settings_transaction():
            yield
            raise _RollBack

    def all_rows(self) -> AbstractContextManager[None]:
        return self.settings_transaction(row_security="off")

    @contextmanager
    def without_timeouts(self) -> Iterator[None]:
        """`server_settings` for CONCURRENTLY, which a timeout would leave half done.

        It cannot run in a transaction, so they are set for the session. Behind a pooler
        nothing is set: it would hand the changed session to another client.
        """
        values = {}
        if not self._is_pooled():
            values = self.server_settings(lock_timeout="0")
        before = _configure(self.database, values, for_transaction=False)
        try:
            with self._cancelled_on_interrupt():
                yield
        finally:
            # A connection that was cut has nothing to restore.
            with contextlib.suppress(peewee.PeeweeException):
                _configure(self.database, before, for_transaction=False)

    def _is_pooled(self) -> bool:
        """Whether a pooler is in between, so that another session may come next."""
        ((process,),) = self.query("SELECT pg_backend_pid()")
        return bool(process != self.connection.info.backend_pid)

    # -- the migration lock

    def with_migration_lock(self, work: Callable[[], Result]) -> Result:
        """Do work in one transaction with the lock, or step by step under the lock.

        The transaction is repeated while a table is locked. If a change cannot share a
        transaction, it is rolled back, and the work is done again from its start: the
        changes one by one, while a second connection holds the lock.
        """

        def in_one_transaction() -> Result:
            self._take_migration_lock(self.database)
            return work()

        def step_by_step() -> Result:
            with self._second_connection_with_lock():
                return work()

        try:
            return self._retry_with_short_lock_wait(in_one_transaction)
        except _NeedsOwnTransactions:
            # From execute_all: a change cannot share a transaction. This one was rolled
            # back; read and plan again outside of it.
            pass
        if self.in_transaction():
            raise self._not_in_transaction()
        return self.retry_on_lock(step_by_step)

    def _take_migration_lock(self, database: peewee.Database) -> None:
        """Take the lock of all runs until the end of the transaction.

        It is polled: a run that waited for it in a query would deadlock with CREATE
        INDEX CONCURRENTLY, which waits for all older snapshots. The query has no
        parameters, as the portal of a query with parameters keeps its snapshot.
        """
        query = f"SELECT pg_try_advisory_xact_lock({MIGRATION_LOCK})"
        ((taken,),) = database.execute_sql(query).fetchall()
        if not taken:
            raise MigrationLockHeld

    def refuse_callers_transaction(self, changes: Sequence[Change]) -> None:
        if not self.in_callers_transaction:
            return
        if any(change.own_transaction for change in changes):
            raise self._not_in_transaction()

    def _not_in_transaction(self) -> ChangeRefused:
        names = " and ".join(self.models.managed)
        return ChangeRefused(
            f"{names}: a table with rows is changed online, which is not possible "
            "inside a transaction; end the transaction, then run again"
        )

    @contextmanager
    def _second_connection_with_lock(self) -> Iterator[None]:
        """Hold the lock in a transaction of a second connection.

        It is idle and has no snapshot, so that CREATE INDEX CONCURRENTLY does not wait
        for it. A pooler leaves the server session to it until its end, and the server
        ends it if this process is killed.
        """
        with self.second_connection() as database, database.atomic():
            # REPEATABLE READ and SERIALIZABLE would keep a snapshot.
            database.execute_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            _configure(database, self.server_settings())
            self._take_migration_lock(database)
            yield

    @contextmanager
    def second_connection(self) -> Iterator[peewee.Database]:
        """Another connection to the same database. Called while executing."""
        # Peewee prefers psycopg2 unless told otherwise, and keeps no record of that.
        database = self.unopened_copy(prefer_psycopg3=self._uses_psycopg3)
        try:
            with database.connection_context():
                yield database
        finally:
            close_idle = getattr(database, "close_idle", None)
            if close_idle is not None:  # of a pool, which would keep the connection
                close_idle()

    # -- waiting for table locks

    def _retry_with_short_lock_wait(self, work: Callable[[], Result]) -> Result:
        """Do work in a transaction whose statements wait for locks for a moment only.

        While a statement waits for an exclusive lock, all statements that come after it
        wait, too. So the attempt is given up, and repeated a little later.
        """

        def attempt() -> Result:
            try:
                with self.settings_transaction(short_lock_wait=True):
                    return work()
            except peewee.DatabaseError as error:
                if self.was_aborted(error):
                    self._adjust_short_lock_wait()
                raise

        return self.retry_on_lock(attempt)

    def was_aborted(self, error: Exception) -> bool:
        if sqlstate(error) not in _ABORTED_BY_OTHERS:
            return False
        return not self.in_transaction()

    def _adjust_short_lock_wait(self) -> None:
        """After an attempt failed: choose how long the next one waits for a lock.

        PostgreSQL cancels an autovacuum for a statement that has waited for
        deadlock_timeout, so the next attempt waits longer than that. It does not cancel
        one that prevents the wraparound of transaction ids, so the attempt after that
        is short again (https://www.postgresql.org/docs/current/routine-vacuuming.html).
        """
        waited_for_autovacuum = self._waits_for_autovacuum
        self._short_lock_wait = SHORT_LOCK_WAIT
        self._waits_for_autovacuum = False
        if waited_for_autovacuum:
            return
        tables = list(self.models.tables_to_read)
        locks = self.query(catalog_queries.AUTOVACUUM_LOCKS, (tables,))
        if locks:
            (deadlock_timeout,) = locks[0]
            self._short_lock_wait = SHORT_LOCK_WAIT + deadlock_timeout
            self._waits_for_autovacuum = True

    # -- changes

    def execute_all(self, changes: Iterable[Change]) -> None:
        """Execute changes in the open transaction, or each group in its own.

        :raises _NeedsOwnTransactions: a transaction is open that they cannot share.
        """
        changes = list(changes)
        if self.in_transaction():
            if any(change.own_transaction for change in changes):
                raise _NeedsOwnTransactions
            super().execute_all(changes)
            return
        for group in _grouped_by_transaction(changes):
            self._execute_group(group)

    def _execute_group(self, group: Sequence[Change]) -> None:
        execute = partial(super().execute_all, group)
        if _is_concurrent(group):
            with self.without_timeouts():
                execute()
        elif any(change.batches for change in group):
            execute()  # each batch is a transaction
        else:
            self._execute_in_transaction(group)

    def _execute_in_transaction(self, group: Sequence[Change]) -> None:
        """Execute changes in a transaction; undo what was done before a guard's.

        :raises ValueWritten: a guard found a value.
        """
        execute = super().execute_all
        try:
            self._retry_with_short_lock_wait(partial(execute, group))
        except ValueWritten:
            guards = [change.guard for change in group if change.guard is not None]
            undo = [
                Change(f"drop the check {guard.name}", guard.undo)
                for guard in guards
                if guard.undo
            ]
            self._retry_with_short_lock_wait(partial(execute, undo))
            raise

    def execute_change(self, change: Change) -> None:
        if change.batches is not None:
            # Imported only where a column is filled in batches.
            from migrations.engines.backfill import fill_in_batches

            fill_in_batches(self, change.batches)
            return
        try:
            super().execute_change(change)
        except peewee.IntegrityError as error:
            if change.guard is None or sqlstate(error) != _CHECK_VIOLATION:
                raise
            raise ValueWritten from None

    def in_batch_transaction(self, work: Callable[[], Result]) -> Result:
        return self._retry_with_short_lock_wait(work)

    def progress(self) -> tuple[str, float | None]:
        managed = list(self.models.managed_or_old)
        query = catalog_queries.INDEXES_BEING_BUILT
        with self.second_connection() as database:
            rows = database.execute_sql(query, (managed,)).fetchall()
        for phase, done, total in rows:
            return phase, done / total if total else None
        return "", None

    def script(self, changes: Sequence[Change]) -> list[str]:
        """Return the lines of a script for psql."""
        lines = [r"\set ON_ERROR_STOP on"]
        if any("\\" in change.sql for change in changes):
            lines.append("SET standard_conforming_strings = on;")
        if has_non_ascii(changes) or not self.search_path.isascii():
            lines.append("SET client_encoding = 'UTF8';")
        if self.search_path:
            lines.append(f"SET search_path = {self.search_path};")
        for group in _grouped_by_transaction(changes):
            if _is_concurrent(group):
                lines += [
                    "SET lock_timeout = 0;",
                    "SET statement_timeout = 0;",
                    *_script_of(group),
                    "RESET lock_timeout;",
                    "RESET statement_timeout;",
                ]
            else:
                lines += [
                    "BEGIN;",
                    f"SET LOCAL lock_timeout = '{1000 * SHORT_LOCK_WAIT:.0f}ms';",
                    "SET LOCAL statement_timeout = 0;",
                    *_script_of(group),
                    "COMMIT;",
                ]
        return lines

    # -- the smoke test

    @contextmanager
    def smoke_test_transaction(self) -> Iterator[bool]:
        with super().smoke_test_transaction():
            is_immediate = self._check_constraints_at_once()
            # Rows are found by an index in a short table, too. Where there is none, the
            # price of a sequential scan would start the JIT compiler.
            values = self.server_settings(enable_seqscan="off", jit="off")
            _configure(self.database, values)
            # In the role of a replica, the triggers that enforce foreign keys are off.
            query = "SELECT current_setting('session_replication_role')"
            (role,) = self.query_texts(query)
            yield is_immediate and role != "replica"

    def _check_constraints_at_once(self) -> bool:
        """Let deferred constraints be checked at once, if that is possible.

        It is not if the caller's transaction has rows that violate one at this moment.
        """
        try:
            with self.transaction():
                self.database.execute_sql("SET CONSTRAINTS ALL IMMEDIATE")
        except peewee.IntegrityError:
            return False
        return True

    # -- errors

    def is_lock_timeout(self, error: Exception) -> bool:
        return sqlstate(error) == _LOCK_NOT_AVAILABLE

    def is_interruption(self, error: Exception) -> bool:
        """Whether an error comes from other sessions or the connection.

        The same statement may succeed another time.
        """
        code = sqlstate(error)
        waits = code in (_LOCK_NOT_AVAILABLE, _DEADLOCK)
        return waits or code[:2] in _CONNECTION_CLASSES

    def is_read_only(self, error: Exception) -> bool:
        """Whether an error says that the server or the session may only read."""
        return sqlstate(error) == _READ_ONLY

    def lock_holders(self) -> str:
        tables = list(self.models.tables_to_read)
        holders: list[str] = []
        # In a failed transaction nothing can be asked.
        with contextlib.suppress(peewee.DatabaseError):
            holders = self.query_texts(
                catalog_queries.LOCK_HOLDERS, tables, MIGRATION_LOCK
            )
        return ", ".join(holders) or "whoever held it has released it"

    def translate_error(self, error: Exception) -> MigrationError:
        if sqlstate(error) in _INVALID_SQL:
            text = one_line(without_password(self.database, str(error)))
            return ChangeRefused(
                f"{describe(self.database)}: a CHECK or a DEFAULT of the model is not "
                f"valid here: {text}; correct the model, then run again"
            )
        return super().translate_error(error)

    def advice(self, error: Exception, text: str) -> str:
        for advice in _ADVICE:
            found = re.search(advice.pattern, text)
            if found:
                name = found.groupdict().get("name", "")
                names = self._names_for_advice(text, name)
                return f"; {advice.template.format(**names)}"
        if sqlstate(error)[:2] in _CONNECTION_CLASSES:
            return f"; {_CONNECTION_ADVICE}"
        return ""

    def _names_for_advice(self, text: str, name: str) -> dict[str, str]:
        """Return the words for an advice, as SQL.

        :param name: the schema or table that the error names, or "".
        """
        managed = self.models.managed
        named = [table for table in managed if table in text]
        others = [table for table in self.models.by_table if table != name]
        if not named:  # then the rights on managed tables do not matter
            others = [table for table in others if table not in managed]
        return {
            "user": self.quote(self.database.connect_params.get("user") or "the_user"),
            "managed": self.quote(named[0] if named else managed[0]),
            "name": self.quote(name),
            "tables": ", ".join(self.quote(table) for table in [name, *others]),
        }


def _configure(
    database: peewee.Database, values: Mapping[str, str], for_transaction: bool = True
) -> dict[str, str]:
    """Set settings that the server knows; return what they were.

    :param for_transaction: until the end of the transaction, not for the session.
    """
    parameters = (for_transaction, list(values), list(values.values()))
    rows = database.execute_sql(_SET, parameters).fetchall()
    return {name: before for name, before, _ in rows}


@contextmanager
def _without_prepared_statements(connection: Any) -> Iterator[None]:
    """psycopg 3 prepares no statements: a pooler's next session would not know them."""
    threshold = getattr(connection, "prepare_threshold", None)
    if threshold is None:  # psycopg2, or it prepares none
        yield
        return
    connection.prepare_threshold = None
    try:
        yield
    finally:
        connection.prepare_threshold = threshold


@contextmanager
def _with_known_encoding(connection: Any) -> Iterator[None]:
    """Where the encoding is unknown, read and write bytes as they are, as LATIN1."""
    if connection.info.parameter_status("client_encoding") != "SQL_ASCII":
        yield
        return
    _set_client_encoding(connection, "LATIN1")
    try:
        yield
    finally:
        _set_client_encoding(connection, "SQL_ASCII")


def _set_client_encoding(connection: Any, encoding: str) -> None:
    if hasattr(connection, "set_client_encoding"):  # psycopg2 does not notice a SET
        connection.set_client_encoding(encoding)
    else:
        connection.execute(f"SET client_encoding = {encoding}")


def _is_concurrent(group: Sequence[Change]) -> bool:
    """Whether a group is a statement that refuses to run in a transaction."""
    return any(re.match(_CONCURRENTLY, change.sql) for change in group)


def _grouped_by_transaction(changes: Sequence[Change]) -> list[list[Change]]:
    """Return changes in groups, each of which is one transaction.

    If none needs one of its own, all share one. Otherwise a change that blocks others
    is alone, too, so that no other lock is held meanwhile.
    """
    if not any(change.own_transaction for change in changes):
        return [list(changes)] if changes else []
    groups: list[list[Change]] = []
    shared: list[Change] = []
    for change in changes:
        if change.own_transaction or change.blocks:
            if shared:
                groups.append(shared)
                shared = []
            groups.append([change])
        else:
            shared.append(change)
    if shared:
        groups.append(shared)
    return groups


def _script_of(group: Sequence[Change]) -> list[str]:
    lines = []
    for change in group:
        if change.blocks:
            lines.append(f"-- blocks {change.blocks} until it is done")
        lines.append(f"{change.sql};")
    return lines
