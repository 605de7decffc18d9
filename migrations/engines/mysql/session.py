"""The session on MariaDB or MySQL: settings, locks, transactions and errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import ClassVar

import peewee

from db.url import CRYPTOGRAPHY_ADVICE, describe
from migrations.engines.mysql.server import SQL_MODE, Server
from migrations.engines.mysql.server_errors import (
    CHECK_VIOLATED,
    DISCONNECTED,
    FOREIGN_KEY_EXISTS,
    LOCKED,
    NO_RIGHT,
    NOT_ONLINE,
    NOT_SUPPORTED_YET,
    NULL_FOUND,
    RACE_LOST,
    READ_ONLY,
    UNKNOWN_COLUMN,
    error_code,
    is_about_aborted_transaction,
    with_causes,
)
from migrations.engines.session import (
    MigrationLockHeld,
    Result,
    Session,
    ValueWritten,
    has_non_ascii,
    logger,
)
from migrations.errors import ChangeRefused, DatabaseUnavailable, MigrationError
from migrations.report import Change, Guard
from migrations.schema import NameRule
from migrations.sql_text import literal

# Modes in which SQL, or the server's description of a table, means or looks different.
_MISLEADING_MODES = {
    "ANSI_QUOTES",
    "EMPTY_STRING_IS_NULL",
    "HIGH_NOT_PRECEDENCE",
    "NO_BACKSLASH_ESCAPES",
    "NO_FIELD_OPTIONS",
    "NO_KEY_OPTIONS",
    "NO_TABLE_OPTIONS",
    "ORACLE",
    "PAD_CHAR_TO_FULL_LENGTH",
}
# How long the server's own threads (purge, statistics) may hold a table, in seconds. No
# user can avoid that, so it is waited for even if the lock timeout is shorter.
_BACKGROUND_TASK_DURATION = 0.5
_ADVICE = {
    1045: "; check the user and the password in the URL",
    1049: "; check the name in the URL, or create the database",
    4119: (
        "; remove the system versioning, or run: "
        "SET GLOBAL system_versioning_alter_history = KEEP"
    ),
}
_ADVICE_IF_DISCONNECTED = (
    "; check that the server runs and can be reached, then run again"
)
# The first with CHECK constraints.
OLDEST_MYSQL = (8, 0, 16)
_NEEDED_RIGHTS = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP, REFERENCES"
)
# How often NULLs that others write are filled before a column becomes NOT NULL.
_FILLS_AGAIN = 5


class MySQLFamilySession(Session):
    """The session of one call."""

    backend = "mysql"
    # What every query relies on, and the value in which nothing is limited or hidden.
    query_settings: ClassVar[Mapping[str, int]] = {
        "sql_quote_show_create": 1,
        "sql_select_limit": 2**64 - 1,
        "sql_big_selects": 1,
    }
    # The name of the lock that all runs on a database share. The names of locks are the
    # server's, not the database's, and have at most 64 characters.
    migration_lock_name: ClassVar[str] = (
        "CONCAT('migrations:', LEFT(SHA2(DATABASE(), 256), 32))"
    )

    server: Server  # set once the connection tells which one it leads to
    connection_id: int
    database_collation: str
    table_names: NameRule

    def connect(self) -> None:
        try:
            super().connect()
        except RuntimeError as error:  # PyMySQL's; see db.url
            raise DatabaseUnavailable(
                f"{describe(self.database)}: {error}; {CRYPTOGRAPHY_ADVICE}"
            ) from None

    # -- settings

    @contextmanager
    def connection_settings(self) -> Iterator[None]:
        """Set what differs from the server's usual settings, if anything does."""
        names = list(self.query_settings)
        values = ", ".join(f"@@{name}" for name in names)
        # Only MariaDB executes what is in a comment that begins with M!, and only MySQL
        # 8.0 and newer what is in one that begins with !80000. The LIMIT is needed
        # where sql_select_limit is 0.
        ((connection_id, version, collation, case, modes, *current),) = self.query(
            "SELECT CONNECTION_ID(), @@version, @@collation_database, "
            f"@@lower_case_table_names, @@sql_mode, {values} "
            "/*M! , @@max_statement_time */ /*!80000 , @@max_execution_time */ LIMIT 1"
        )
        self.connection_id = connection_id
        self.database_collation = collation
        # https://mariadb.com/kb/en/identifier-case-sensitivity/
        self.table_names = NameRule.IGNORE_CASE if case else NameRule.EXACT
        self.server = self._server_of(str(version))
        usual = {**self.query_settings, self.server.time_limit: 0}
        before = {}
        for (name, usual_value), value in zip(usual.items(), current):
            if value != usual_value:
                before[name] = str(value)
        if not _MISLEADING_MODES.isdisjoint(modes.split(",")):
            before["sql_mode"] = literal(modes)
        wanted = {**usual, "sql_mode": SQL_MODE}
        with self._statement_killed_on_interrupt(), self._variables_set(wanted, before):
            yield

    def _server_of(self, version: str) -> Server:
        """Return what this session's server does in its own way.

        :param version: such as "10.11.19-MariaDB-0+deb12u1" and "9.7.4-2".
        """
        if "MariaDB" in version:
            from migrations.engines.mysql.mariadb.server import MariaDBServer

            return MariaDBServer(self, self.connection_id)
        if _version_numbers(version) < OLDEST_MYSQL:
            oldest = ".".join(str(number) for number in OLDEST_MYSQL)
            raise DatabaseUnavailable(
                f"{describe(self.database)} is MySQL {version}; "
                f"MySQL {oldest} or newer is needed"
            )
        from migrations.engines.mysql.mysql.server import MySQLServer

        return MySQLServer(self, self.connection_id)

    @property
    def product(self) -> str:
        return self.server.product

    def planning_settings(self) -> AbstractContextManager[None]:
        # With MySQL's own modes, '0000-00-00' in a condition is an error.
        return self.variables({"sql_mode": SQL_MODE})

    @contextmanager
    def variables(self, wanted: Mapping[str, object]) -> Iterator[None]:
        """Set session variables, as far as this server knows them; restore them."""
        if not wanted:
            yield
            return
        with self._variables_set(wanted, self._known_variables(wanted)):
            yield

    @contextmanager
    def _variables_set(
        self, wanted: Mapping[str, object], before: Mapping[str, object]
    ) -> Iterator[None]:
        """Set those of the wanted variables that have a value to restore."""
        self._set({name: wanted[name] for name in before})
        try:
            yield
        finally:
            try:
                self._set(before)
            except peewee.PeeweeException as error:
                # On a cluster, the first statement after a transaction that was aborted
                # fails with that error, and sets nothing. Peewee's
                # is_connection_usable() would be that statement, and hide the error.
                if error_code(error) not in DISCONNECTED:
                    self._set(before)

    def _known_variables(self, names: Iterable[str]) -> dict[str, str]:
        """Return the values of session variables as SQL, of those that exist here."""
        listed = ", ".join(literal(name) for name in names)
        rows = self.query(f"SHOW SESSION VARIABLES WHERE Variable_name IN ({listed})")
        values = {}
        for name, value in rows:
            is_number = re.fullmatch(r"[\d.]+", value)
            values[name] = value if is_number else literal(value)
        return values

    def _set(self, values: Mapping[str, object]) -> None:
        if values:
            settings = ", ".join(
                f"SESSION {name} = {value}" for name, value in values.items()
            )
            self.database.execute_sql(f"SET {settings}")

    @contextmanager
    def _statement_killed_on_interrupt(self) -> Iterator[None]:
        """Kill the running statement if this process is interrupted while it waits.

        The connection is then in the middle of an answer: rolling back fails, and that
        error would hide the interrupt.
        """
        try:
            yield
        except BaseException as error:
            for cause in with_causes(error):
                if not isinstance(cause, Exception):
                    self._kill_running_statement()
                    raise cause from None
            raise

    def _kill_running_statement(self) -> None:
        with suppress(peewee.PeeweeException, OSError):
            second_connection = self.unopened_copy()
            with second_connection.connection_context():
                second_connection.execute_sql(f"KILL QUERY {self.connection_id}")

    # -- transactions

    def in_transaction(self) -> bool:
        if self.database.in_transaction():
            return True
        # PyMySQL and MySQL's connector have it from the server's last answer.
        connection = self.database.connection()
        status = getattr(connection, "server_status", None)
        if status is not None:
            return bool(status & 1)  # SERVER_STATUS_IN_TRANS
        known = getattr(connection, "in_transaction", None)
        if known is not None:
            return bool(known)
        return self.server.is_in_transaction()

    @contextmanager
    def smoke_test_transaction(self) -> Iterator[bool]:
        seconds = max(1, int(self.remaining_timeout))
        wanted = {
            "lock_wait_timeout": seconds,
            "innodb_lock_wait_timeout": seconds,
            "foreign_key_checks": 1,
            "check_constraint_checks": 0,
            "sql_mode": SQL_MODE,
        }
        with self.variables(wanted), super().smoke_test_transaction() as keys_enforced:
            yield keys_enforced

    # -- the migration lock

    def refuse_callers_transaction(self, changes: Sequence[Change]) -> None:
        if changes:
            self._refuse_transaction()

    def _refuse_transaction(self) -> None:
        if self.in_transaction():
            tables = " and ".join(self.models.managed)
            raise ChangeRefused(
                f"{tables}: every change commits the caller's transaction; run the "
                "migration outside of a transaction"
            )

    def with_migration_lock(self, work: Callable[[], Result]) -> Result:
        self._refuse_transaction()

        def work_under_lock() -> Result:
            with self._migration_lock():
                return work()

        self.remaining_timeout = max(self.remaining_timeout, _BACKGROUND_TASK_DURATION)
        with self.variables(self.server.run_settings):
            return self.retry_on_lock(work_under_lock, self._is_lock_or_race)

    def _is_lock_or_race(self, error: Exception) -> bool:
        """Whether something held a lock, or another run has made the same change."""
        if self.is_lock_timeout(error) or error_code(error) in RACE_LOST:
            return True
        return FOREIGN_KEY_EXISTS in str(error)

    @contextmanager
    def _migration_lock(self) -> Iterator[None]:
        """Hold the lock; without one where the server has no GET_LOCK.

        :raises MigrationLockHeld: another run holds it.
        """
        if not self._take_migration_lock():
            yield
            return
        try:
            yield
        finally:
            self.query(f"SELECT RELEASE_LOCK({self.migration_lock_name})")

    def _take_migration_lock(self) -> bool:
        """Return whether the lock was taken; False if the server has no GET_LOCK."""
        try:
            ((taken,),) = self.query(f"SELECT GET_LOCK({self.migration_lock_name}, 0)")
        except peewee.DatabaseError as error:
            if error_code(error) != NOT_SUPPORTED_YET:
                raise
            return False
        if not taken:
            raise MigrationLockHeld
        return True

    # -- changes

    def execute_all(self, changes: Iterable[Change]) -> None:
        """Each statement commits, so guards are dropped again if a later one fails."""
        guards: list[Guard] = []
        for change in changes:
            try:
                super().execute_all([change])
            except ValueWritten:
                for guard in guards:
                    undo = Change(f"drop the check {guard.name}", guard.undo)
                    super().execute_all([undo])
                raise
            if change.guard is not None and change.guard.undo:
                guards.append(change.guard)

    def execute_change(self, change: Change) -> None:
        if change.batches is not None:
            # Imported only where a column is filled in batches.
            from migrations.engines.backfill import fill_in_batches

            fill_in_batches(self, change.batches)
            return
        try:
            with self.variables(dict(change.settings)):
                self._execute_filling_again(change)
        except peewee.DatabaseError as error:
            guard = change.guard
            if guard is None or error_code(error) not in CHECK_VIOLATED:
                raise
            if guard.name not in str(error):  # another CHECK of the table
                raise
            raise ValueWritten from None

    def _execute_filling_again(self, change: Change) -> None:
        """Execute a change; fill NULLs that others have written, then try again."""
        for _ in range(_FILLS_AGAIN):
            try:
                self._execute_online_if_possible(change)
            except peewee.DatabaseError as error:
                if not change.fill_again or error_code(error) not in NULL_FOUND:
                    raise
            else:
                return
            logger.info("  %s: a NULL was written meanwhile", change.description)
            self._execute_without_waiting(change.fill_again)
        self._execute_online_if_possible(change)

    def _execute_online_if_possible(self, change: Change) -> None:
        try:
            self._execute_without_waiting(change.sql)
        except peewee.DatabaseError as error:
            is_rename = " RENAME COLUMN " in change.sql
            if is_rename and error_code(error) == UNKNOWN_COLUMN:
                # Another node of a cluster has renamed it: read again.
                raise MigrationLockHeld from None
            offline = change.sql.removesuffix(f", {self.server.online}")
            if error_code(error) not in NOT_ONLINE or offline == change.sql:
                raise
            # Which changes cannot be combined online depends on the server's version.
            logger.warning(
                "! %s: the server cannot do it online; blocks writes until it is done",
                change.description,
            )
            self._execute_without_waiting(offline)

    def _execute_without_waiting(self, sql: str) -> None:
        """Execute a statement; repeat it while it fails because of a lock."""
        self.retry_on_lock(lambda: self.server.execute(sql), self.is_lock_timeout)

    def script(self, changes: Sequence[Change]) -> list[str]:
        # Nobody executes a script again, so its statements wait a moment.
        wanted = {**self.server.run_settings, "lock_wait_timeout": "1"}
        lines = [
            f"SET SESSION {name} = {wanted[name]};"
            for name in self._known_variables(wanted)
        ]
        if has_non_ascii(changes):
            lines.append("SET NAMES utf8mb4;")
        for change in changes:
            lines += self._script_of(change, wanted)
        return lines

    def _script_of(self, change: Change, usual: Mapping[str, str]) -> Iterator[str]:
        """Yield a statement, with those that set its own settings, and reset them."""
        for name, value in change.settings:
            yield f"SET SESSION {name} = {value};"
        yield f"{change.sql};"
        for name, _ in change.settings:
            yield f"SET SESSION {name} = {usual[name]};"

    def progress(self) -> tuple[str, float | None]:
        second_connection = self.unopened_copy()
        with second_connection.connection_context():
            found = second_connection.execute_sql(
                self.server.progress_query()
            ).fetchall()
        if not found:
            return "", None
        ((stage, share),) = found
        return stage, share

    # -- errors

    def is_lock_timeout(self, error: Exception) -> bool:
        return error_code(error) in LOCKED

    def was_aborted(self, error: Exception) -> bool:
        # On a cluster, DDL on another node aborts the transactions that are open here.
        # Rolling back what was rolled back already fails with an error of its own.
        aborted = any(
            is_about_aborted_transaction(cause) for cause in with_causes(error)
        )
        return aborted and not self.in_transaction()

    def lock_holders(self) -> str:
        try:
            rows = self.query(
                "SELECT CONCAT('another run is connection ', "
                f"IS_USED_LOCK({self.migration_lock_name})) UNION "
                "(SELECT CONCAT('an open transaction is of connection ', "
                "trx_mysql_thread_id) FROM information_schema.innodb_trx "
                "WHERE trx_mysql_thread_id NOT IN (0, CONNECTION_ID()) "
                "ORDER BY trx_started LIMIT 5)"
            )
        except peewee.DatabaseError:
            return "this user cannot see who holds it, which needs the right PROCESS"
        holders = [text for (text,) in rows if text]
        return ", ".join(holders) or "nobody holds it any more"

    def translate_error(self, error: Exception) -> MigrationError:
        # Rolling back on a lost connection fails, and that error has no number.
        for cause in with_causes(error):
            if isinstance(cause, Exception) and error_code(cause):
                return super().translate_error(cause)
        return super().translate_error(error)

    def advice(self, error: Exception, text: str) -> str:
        code = error_code(error)
        if code in NO_RIGHT:
            return self._advice_to_grant(text)
        if code in READ_ONLY:
            return self._advice_if_read_only()
        if code in DISCONNECTED:
            return _ADVICE_IF_DISCONNECTED
        return _ADVICE.get(code, "")

    def _advice_if_read_only(self) -> str:
        primary = ""
        if not self.database.is_closed():
            primary = self.server.primary()
        if primary:
            return f"; connect to the primary, {primary}"
        return "; connect to the primary, or end what makes it read-only"

    def _advice_to_grant(self, text: str) -> str:
        """Return the statement that gives this user the rights of a run."""
        if self.database.is_closed():  # the account of a connection that was refused
            account = text.partition("for user ")[2].partition(" to ")[0]
        else:
            ((current_user,),) = self.query("SELECT CURRENT_USER()")
            name, _, host = current_user.rpartition("@")
            account = f"{literal(name)}@{literal(host)}"
        tables = f"{self.quote(str(self.database.database))}.*"
        return (
            "; an administrator has to run: "
            f"GRANT {_NEEDED_RIGHTS} ON {tables} TO {account}"
        )


def _version_numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with, of "8.0.36-cluster" (8, 0, 36)."""
    found = re.match(r"[\d.]*\d", version)
    if found is None:
        return ()
    return tuple(int(number) for number in found[0].split(".") if number)
