"""A session on MariaDB or MySQL: its settings, the end of its statements, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple

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
_SERVER = (
    "SELECT CONNECTION_ID(), VERSION(), @@collation_database, @@sql_mode, @@sql_quote_show_create, "
    "@@sql_select_limit, @@{}, @@{} LIMIT 1"
)
_LIMITS = {  # of a statement's time, and of a walk along an index; by whether it is MariaDB
    True: ("max_statement_time", "max_recursive_iterations"),
    False: ("max_execution_time", "cte_max_recursion_depth"),
}
_NO_LIMIT = 2**64 - 1
LOCK = "CONCAT('migrations:', MD5(DATABASE()))"  # server-wide, and of at most 64 characters
BUSY = {1205, 1213}  # lock timeout; aborted for a peer's change
_ABORTED = {1213, 1305}  # or the only sign of it: a savepoint that is gone
_AWAY = {0, 2003, 2006, 2013}
_UNKNOWN_VARIABLE = 1193


class Server(NamedTuple):
    """What a session is and has set, as far as it matters to what it reads."""

    connection: int
    version: str
    collation: str  # of the database
    modes: str
    shows_quotes: int
    select_limit: int
    time_limit: float
    walk_limit: int

    @property
    def mariadb(self) -> bool:
        """Whether it is MariaDB rather than MySQL."""
        return "mariadb" in self.version.lower()


class Session(Engine):
    """An engine as far as its session goes."""

    server: Server
    walks = False  # whether the session may follow an index as far as it goes

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Where the session is as the server comes, nothing is set."""
        server = self.server = self._asked()
        limits = _LIMITS[server.mariadb]
        odd, before = {}, {}
        if _ODD & {*server.modes.split(",")}:
            odd["sql_mode"], before["sql_mode"] = MODE, literal(server.modes)
        for name, wanted, found in (
            ("sql_quote_show_create", 1, server.shows_quotes), ("sql_select_limit", _NO_LIMIT, server.select_limit),
            (limits[0], 0, server.time_limit),
        ):  # fmt: skip
            if found != wanted:
                odd[name], before[name] = str(wanted), str(found)
        with self._cancelled_with_us(), self.session(odd, before):
            try:
                yield
            finally:
                if self.walks:
                    self._restore({limits[1]: str(server.walk_limit)})

    def _asked(self) -> Server:
        """Ask MariaDB's way first: drivers do not agree about a server's version."""
        try:
            return Server(*self.query(_SERVER.format(*_LIMITS[True]))[0])
        except peewee.DatabaseError as error:
            if code(error) != _UNKNOWN_VARIABLE:
                raise
        return Server(*self.query(_SERVER.format(*_LIMITS[False]))[0])

    @contextmanager
    def session(self, wanted: Mapping[str, str], before: Mapping[str, str] | None = None) -> Iterator[None]:
        """A context with session variables, those that this server knows; it restores them.

        :param before: what they are now, where that is known.
        """
        before = self.known(wanted) if before is None else before
        if not before:
            yield
            return
        self._set({name: value for name, value in wanted.items() if name in before})
        try:
            yield
        finally:
            self._restore(before)

    def known(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Return the session's values of variables as SQL, of those that this server knows."""
        names, number = ", ".join(map(literal, wanted)), re.compile(r"[\d.]+")
        rows = self.query(f"SHOW SESSION VARIABLES WHERE Variable_name IN ({names})")
        return {name: old if number.fullmatch(old) else literal(old) for name, old in rows}

    def walk(self) -> None:
        """Let a walk along an index go on for more than the thousand values after which it ends without a word."""
        if not self.walks:
            self.walks = True
            self._set({_LIMITS[self.server.mariadb][1]: str(2**32 - 1)})

    def _set(self, values: Mapping[str, str]) -> None:
        self.database.execute_sql("SET " + ", ".join(f"SESSION {name} = {value}" for name, value in values.items()))

    def _restore(self, values: Mapping[str, str]) -> None:
        try:  # Peewee's is_connection_usable() asks the server, and swallows an answer that is about us
            self._set(values)
        except peewee.PeeweeException as error:
            if code(error) == 1213:  # the news that the transaction was aborted, and nothing was set
                self._set(values)
            elif code(error) not in _AWAY:
                raise

    @contextmanager
    def _cancelled_with_us(self) -> Iterator[None]:
        """A context whose statement does not go on once the client is interrupted.

        What undoes the work of a connection that was left in the middle fails, and hides the interrupt.
        """
        try:
            yield
        except BaseException as error:
            reason: BaseException | None = error
            while isinstance(reason, Exception):
                reason = reason.__context__
            if reason is None:
                raise
            with suppress(peewee.PeeweeException, OSError), (beside := self.another()).connection_context():
                beside.execute_sql(f"KILL QUERY {self.server.connection}")
            raise reason from None

    def in_transaction(self) -> bool:
        status = getattr(self.database.connection(), "server_status", None)  # PyMySQL's, of the last answer
        if status is None and self.server.mariadb:
            ((status,),) = self.query("SELECT @@in_transaction LIMIT 1")
        return self.database.in_transaction() or bool((status or 0) & 1)

    # -- errors

    def is_lock_timeout(self, error: Exception) -> bool:
        return code(error) in BUSY

    def was_aborted(self, error: Exception) -> bool:
        # On a cluster the DDL of another node does that to whatever is open on this one; undoing what is undone
        # already fails with another error.
        while code(error) not in _ABORTED and error.__context__:
            error = error.__context__  # type: ignore[assignment]
        return code(error) in _ABORTED and not self.in_transaction()

    def holders(self) -> str:
        try:
            ((run,),) = self.query(f"SELECT IS_USED_LOCK({LOCK})")
            open_ = self.query(
                "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx "
                "WHERE trx_mysql_thread_id NOT IN (0, CONNECTION_ID()) ORDER BY trx_started LIMIT 5"
            )
        except peewee.DatabaseError:  # it takes the PROCESS privilege
            return "who holds it is not told to this user"
        told = [f"another run is connection {run}"] * bool(run)
        told += [f"an open transaction is of connection {thread}" for (thread,) in open_]
        return ", ".join(told) or "who held it is gone by now"

    def explain(self, error: Exception) -> MigrationError:
        while code(error) == 0 and error.__context__:  # undoing the work of a lost connection fails, and hides why
            error = error.__context__  # type: ignore[assignment]
        return super().explain(error)

    def _account(self, text: str) -> str:
        """Return the account as a GRANT names it; a connection that was refused is named by the text."""
        if self.database.is_closed():
            return text.partition("for user ")[2].partition(" to ")[0]
        name, _, host = self.query("SELECT CURRENT_USER()")[0][0].rpartition("@")
        return f"{literal(name)}@{literal(host)}"

    def advice(self, error: Exception, text: str) -> str:
        number = code(error)
        if number in (1142, 1044, 1227):
            rights = "SELECT, INSERT, DELETE, CREATE, ALTER, INDEX, DROP, REFERENCES"
            where = f"{self.quote(str(self.database.database))}.*"
            return f"; an administrator has to run: GRANT {rights} ON {where} TO {self._account(text)}"
        return {
            1045: "; check the user and the password in the URL",
            1049: "; check the name in the URL, or create the database",
        }.get(number, "; check that the server runs and can be reached, then run again" if number in _AWAY else "")


def code(error: Exception) -> int:
    """Return the server's error number behind Peewee's exception."""
    original = error.args[0] if error.args else error
    number = original.args[0] if getattr(original, "args", None) else original
    return number if isinstance(number, int) else 0
