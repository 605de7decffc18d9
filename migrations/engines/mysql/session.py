"""A session on MariaDB: its settings, the end of its statements, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import peewee

from migrations.engines.base import Engine
from migrations.report import MigrationError
from migrations.schema import literal

MODE = literal("STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION")  # bend no value, keep an id of 0
# Modes in which SQL, or what the server says of its tables, is not what it says in others.
_ODD = {
    "ANSI_QUOTES", "ORACLE", "NO_TABLE_OPTIONS", "NO_KEY_OPTIONS", "NO_FIELD_OPTIONS", "NO_BACKSLASH_ESCAPES",
    "EMPTY_STRING_IS_NULL", "HIGH_NOT_PRECEDENCE", "PAD_CHAR_TO_FULL_LENGTH",
}  # fmt: skip
_PLAIN = {"sql_quote_show_create": 1, "sql_select_limit": 2**64 - 1, "max_statement_time": 0, "sql_big_selects": 1}
_ASK = f"SELECT CONNECTION_ID(), @@collation_database, @@sql_mode, {', '.join(f'@@{each}' for each in _PLAIN)} LIMIT 1"
LOCK = "CONCAT('migrations:', MD5(DATABASE()))"  # server-wide, and of at most 64 characters
BUSY = {1205, 1213}  # lock timeout; aborted for a peer's change
_ABORTED = {1213, 1305}  # or the only sign of it: a savepoint that is gone
_AWAY = {0, 2003, 2006, 2013}
READ_ONLY = {1290, 1792, 1836}  # by the server, by the session
_ADVICE = {
    1045: "; check the user and the password in the URL",
    1049: "; check the name in the URL, or create the database",
    1193: "; it takes MariaDB 10.6 or newer",
    4119: "; take the system versioning off, or run: SET GLOBAL system_versioning_alter_history = KEEP",
    **dict.fromkeys(READ_ONLY, "; connect to the primary, or end what makes it read-only"),
    **dict.fromkeys(_AWAY, "; check that the server runs and can be reached, then run again"),
}


class Session(Engine):
    """An engine as far as its session goes: the `number` of its connection, and the database's `collation`."""

    number: int
    collation: str

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Where the session is as the server comes, nothing is set."""
        self.number, self.collation, modes, *found = self.query(_ASK)[0]
        before = {name: str(value) for name, value in zip(_PLAIN, found) if value != _PLAIN[name]}
        if _ODD & {*modes.split(",")}:
            before["sql_mode"] = literal(modes)
        with self._cancelled_with_us(), self.session({**_PLAIN, "sql_mode": MODE}, before):
            yield

    @contextmanager
    def session(self, wanted: Mapping[str, object], before: Mapping[str, str] | None = None) -> Iterator[None]:
        """A context with session variables, those that this server knows; it restores them.

        :param before: what they are now, where that is known.
        """
        before = self.known(wanted) if before is None else before
        self._set({name: wanted[name] for name in before})
        try:
            yield
        finally:
            try:  # Peewee's is_connection_usable() asks the server, and swallows an answer that is about us
                self._set(before)
            except peewee.PeeweeException as error:
                if code(error) not in _AWAY:  # the news that the transaction was aborted, and nothing was set
                    self._set(before)

    def known(self, names: Iterable[str]) -> dict[str, str]:
        """Return the session's values of variables as SQL, of those that this server knows."""
        rows = self.query(f"SHOW SESSION VARIABLES WHERE Variable_name IN ({', '.join(map(literal, names))})")
        return {name: old if re.fullmatch(r"[\d.]+", old) else literal(old) for name, old in rows}

    def _set(self, values: Mapping[str, object]) -> None:
        if values:
            settings = ", ".join(f"SESSION {name} = {value}" for name, value in values.items())
            self.database.execute_sql(f"SET {settings}")

    @contextmanager
    def _cancelled_with_us(self) -> Iterator[None]:
        """A context whose statement does not go on once the client is interrupted.

        What undoes the work of a connection that was left in the middle fails, and hides the interrupt.
        """
        try:
            yield
        except BaseException as error:
            for reason in _causes(error):
                if not isinstance(reason, Exception):
                    with suppress(peewee.PeeweeException, OSError), (beside := self.another()).connection_context():
                        beside.execute_sql(f"KILL QUERY {self.number}")
                    raise reason from None
            raise

    def in_transaction(self) -> bool:
        status = getattr(self.database.connection(), "server_status", None)  # PyMySQL's, of the last answer
        if status is None:
            ((status,),) = self.query("SELECT @@in_transaction LIMIT 1")
        return self.database.in_transaction() or bool(status & 1)

    # -- errors

    def is_lock_timeout(self, error: Exception) -> bool:
        return code(error) in BUSY

    def was_aborted(self, error: Exception) -> bool:
        # On a cluster the DDL of another node does that to whatever is open on this one; undoing what is undone
        # already fails with another error.
        return any(code(cause) in _ABORTED for cause in _causes(error)) and not self.in_transaction()

    def holders(self) -> str:
        try:
            told = self.query(
                f"SELECT CONCAT('another run is connection ', IS_USED_LOCK({LOCK})) UNION "
                "(SELECT CONCAT('an open transaction is of connection ', trx_mysql_thread_id) "
                "FROM information_schema.innodb_trx WHERE trx_mysql_thread_id NOT IN (0, CONNECTION_ID()) "
                "ORDER BY trx_started LIMIT 5)"
            )
        except peewee.DatabaseError:  # it takes the PROCESS privilege
            return "who holds it is not told to this user"
        return ", ".join(text for (text,) in told if text) or "who held it is gone by now"

    def explain(self, error: Exception) -> MigrationError:
        # Undoing the work of a lost connection fails, and hides why.
        return super().explain(next((cause for cause in _causes(error) if code(cause)), error))

    def advice(self, error: Exception, text: str) -> str:
        if code(error) not in (1142, 1044, 1227):
            return _ADVICE.get(code(error), "")
        account = text.partition("for user ")[2].partition(" to ")[0]  # of a connection that was refused
        if not self.database.is_closed():
            name, _, host = self.query("SELECT CURRENT_USER()")[0][0].rpartition("@")
            account = f"{literal(name)}@{literal(host)}"
        rights = "SELECT, INSERT, DELETE, CREATE, ALTER, INDEX, DROP, REFERENCES"
        where = f"{self.quote(str(self.database.database))}.*"
        return f"; an administrator has to run: GRANT {rights} ON {where} TO {account}"


def _causes(error: BaseException | None) -> Iterator[Any]:
    """Yield an error and those in whose handling it came about."""
    while error:
        yield error
        error = error.__context__


def code(error: Exception) -> int:
    """Return the server's error number behind Peewee's exception."""
    original = error.args[0] if error.args else error
    number = original.args[0] if getattr(original, "args", None) else original
    return number if isinstance(number, int) else 0
