"""MariaDB and MySQL, on one server or a Galera cluster: every DDL statement commits by itself.

A crash can leave some statements done and others not, which is one more state to mend. `GET_LOCK`
keeps runs on one server apart; on a cluster it holds on one node only, and there the DDL itself is
the mutex: who comes second gets "already exists", and looks again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

import peewee

from migrations.engines.base import Result
from migrations.engines.mysql import values
from migrations.engines.mysql.keys import Keys
from migrations.engines.mysql.reading import Reading, Server
from migrations.engines.mysql.statements import MySQLStatements
from migrations.engines.patience import Busy
from migrations.operations import Operation
from migrations.report import Change, MigrationError, Refused
from migrations.schema import ForeignKey, Schema, Table, Type, literal

if TYPE_CHECKING:
    from migrations.engines.mysql.samples import Samples

_MODE = "STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION"  # bend no value, keep an id of 0
# Modes in which SQL, or what the server says of its tables, is not what it says in others.
_ODD = {
    "ANSI_QUOTES", "ORACLE", "NO_TABLE_OPTIONS", "NO_KEY_OPTIONS", "NO_FIELD_OPTIONS", "NO_BACKSLASH_ESCAPES",
    "EMPTY_STRING_IS_NULL", "HIGH_NOT_PRECEDENCE", "PAD_CHAR_TO_FULL_LENGTH",
}  # fmt: skip
_SESSION = {  # what a run sets for itself, where the server knows it
    "sql_mode": literal(_MODE),
    "foreign_key_checks": "1",  # without it a new key lets orphans in
    "unique_checks": "1",
    "check_constraint_checks": "1",
    "time_zone": "'+00:00'",  # a TIMESTAMP that becomes a DATETIME
    "alter_algorithm": "'DEFAULT'",  # another refuses what copies the table
    "wsrep_sync_wait": "9",  # see what the other nodes have done
    "max_statement_time": "0",
    "innodb_lock_wait_timeout": "1",
    "lock_wait_timeout": "0",  # behind an ALTER TABLE that waits, everybody else queues up: try again instead
}
_LOCK = "CONCAT('migrations:', MD5(DATABASE()))"  # server-wide, and of at most 64 characters
_BUSY = {1205, 1213}  # lock timeout; aborted for a peer's change
_SAME_KEY = "errno: 121"  # how MariaDB says that a foreign key exists, behind a 1005 that means anything
_RACED = {1050, 1051, 1146, 1060, 1061, 1068, 1091, 1826, 1022}  # a peer was faster: it exists, or is gone
_AWAY = {0, 2003, 2006, 2013}
_NO_LOCK = 1235  # GET_LOCK on a node of a cluster up to MariaDB 10.6.14 and 10.11.4
_NO_LIMIT = 2**64 - 1
_SERVER = (
    "SELECT CONNECTION_ID(), VERSION(), DATABASE(), @@collation_database, @@sql_mode, @@sql_quote_show_create, "
    "@@sql_select_limit, @@{}, @@{} LIMIT 1"
)
_LIMITS = {  # of a statement's time, and of a walk along an index; by whether it is MariaDB
    True: ("max_statement_time", "max_recursive_iterations"),
    False: ("max_execution_time", "cte_max_recursion_depth"),
}


class MySQL(Reading):
    """A MariaDB or MySQL database."""

    backend = "mysql"
    statements_class = MySQLStatements
    parse_type = staticmethod(values.parse_type)
    keys_hold_types = True
    actions = {"RESTRICT": "NO ACTION"}  # InnoDB never waits for the end of the statement
    walks = False  # whether the session may follow an index as far as it goes

    # -- the connection

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Where the session is as the server comes, nothing is set."""
        limits = _LIMITS[self.database.server_version >= (10,)]
        server = self.server = Server(*self.query(_SERVER.format(*limits))[0])
        odd = {
            "sql_mode": (literal(_MODE), literal(server.modes)) if _ODD & {*server.modes.split(",")} else (),
            "sql_quote_show_create": ("1", "0") if not server.shows_quotes else (),
            "sql_select_limit": ("DEFAULT", str(server.select_limit)) if server.select_limit != _NO_LIMIT else (),
            limits[0]: ("0", str(server.time_limit)) if server.time_limit else (),
        }
        set_, before = ({name: pair[i] for name, pair in odd.items() if pair} for i in (0, 1))
        with self._cancelled_with_us(), self.session(set_, before):
            try:
                yield
            finally:
                if self.walks:
                    self._restore({limits[1]: str(server.walk_limit)})

    @contextmanager
    def session(self, wanted: Mapping[str, str], before: Mapping[str, str] | None = None) -> Iterator[None]:
        before = self._known(wanted) if before is None else before
        if not before:
            yield
            return
        self._set({name: value for name, value in wanted.items() if name in before})
        try:
            yield
        finally:
            self._restore(before)

    def _known(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Return the session's values of variables as SQL, of those that this server knows."""
        names, number = ", ".join(map(literal, wanted)), re.compile(r"[\d.]+")
        rows = self.query(f"SHOW SESSION VARIABLES WHERE Variable_name IN ({names})")
        return {name: old if number.fullmatch(old) else literal(old) for name, old in rows}

    def _set(self, values: Mapping[str, str]) -> None:
        self.database.execute_sql("SET " + ", ".join(f"SESSION {name} = {value}" for name, value in values.items()))

    def _restore(self, values: Mapping[str, str]) -> None:
        try:  # Peewee's is_connection_usable() asks the server, and swallows an answer that is about us
            self._set(values)
        except peewee.PeeweeException as error:
            if _code(error) == 1213:  # the news that the transaction was aborted, and nothing was set
                self._set(values)
            if _code(error) not in _AWAY:
                raise

    @contextmanager
    def _cancelled_with_us(self) -> Iterator[None]:
        """A context whose statement does not go on once the client is interrupted."""
        try:
            yield
        except Exception:
            raise
        except BaseException:
            with suppress(peewee.PeeweeException, OSError), (beside := self.another()).connection_context():
                beside.execute_sql(f"KILL QUERY {self.server.connection}")
            raise

    def in_transaction(self) -> bool:
        status = getattr(self.database.connection(), "server_status", None)  # PyMySQL's, of the last answer
        if status is None and self.server.mariadb:
            ((status,),) = self.query("SELECT @@in_transaction LIMIT 1")
        return self.database.in_transaction() or bool((status or 0) & 1)

    # -- rows

    def unconvertible(self, value: str, source: Type, target: Type) -> str:
        return values.unconvertible(value, source, target)

    def as_text(self, expression: str) -> str:
        return values.as_text(expression)

    def no_parent(self, values: Sequence[str], key: ForeignKey, table: Table, text: bool = False) -> str:
        """A value is compared in the collation of the parent's key, whose index would be of no use in another."""
        parent = None if text else self.seen.get(key.table)
        compared = []
        for value, column, target in zip(values, key.columns, key.target):
            wanted = parent.columns[target].collation if parent and target in parent.columns else None
            plain = value == f"w.{self.quote(column)}" and table.columns[column].collation == wanted
            if wanted and not plain:
                value = f"CONVERT({value} USING {wanted.partition('_')[0]}) COLLATE {wanted}"
            compared.append(value)
        return super().no_parent(compared, key, table, text)

    def all_rows(self) -> AbstractContextManager[None]:
        """A walk along an index ends without a word after so many values as the session allows."""
        if not self.walks:
            self.walks = True
            self._set({_LIMITS[self.server.mariadb][1]: str(2**32 - 1)})
        return nullcontext()

    # -- planning

    def refined(self, operations: Sequence[Operation], schema: Schema) -> Sequence[Operation]:
        keys = Keys(self, schema)
        if found := list(keys.impossible(operations)):
            raise Refused(f"{'; '.join(found)}; nothing was changed")
        return [*keys.released(operations), *keys.rematched(operations)]

    def script(self, changes: Sequence[Change]) -> list[str]:
        known = self._known(_SESSION)
        settings = [f"SET SESSION {name} = {value};" for name, value in _SESSION.items() if name in known]
        return settings + [f"{change.sql};" for change in changes]

    # -- changing

    def exclusively(self, work: Callable[[], Result]) -> Result:
        if self.in_transaction():
            raise Refused(
                f"{' and '.join(self.builds)} has to be changed, and every change commits the transaction that it "
                "finds itself in; run the migration outside of the caller's transaction"
            )

        def attempt() -> Result:
            locked = self._lock()
            try:
                return work()
            finally:
                if locked:
                    self.query(f"SELECT RELEASE_LOCK({_LOCK})")

        with self.session(_SESSION):
            return self.patiently(attempt, lambda error: _code(error) in _RACED | _BUSY or _SAME_KEY in str(error))

    def _lock(self) -> bool:
        """Take the lock; return whether there is one to be had on this server."""
        try:
            ((taken,),) = self.query(f"SELECT GET_LOCK({_LOCK}, 0)")
        except peewee.DatabaseError as error:
            if _code(error) != _NO_LOCK:
                raise
            return False
        if not taken:
            raise Busy
        return True

    def progress(self) -> tuple[str, float | None]:
        beside = self.another()
        with beside.connection_context():
            rows = beside.execute_sql(
                f"SELECT stage, max_stage, progress FROM information_schema.processlist "
                f"WHERE id = {self.server.connection} AND max_stage > 0"
            ).fetchall()
        for stage, stages, percent in rows:
            return f"stage {stage} of {stages}", (stage - 1 + float(percent) / 100) / stages
        return "", None

    def execute(self, change: Change) -> None:
        self.patiently(lambda: super(MySQL, self).execute(change), lambda error: _code(error) in _BUSY)

    # -- the smoke test

    def samples(self) -> Samples:
        """Return what makes values for rows on trial."""
        from migrations.engines.mysql.samples import Samples

        return Samples(self)

    @contextmanager
    def trial(self) -> Iterator[bool]:
        wait = str(max(1, int(self.patience.left)))
        wanted = {"lock_wait_timeout": wait, "innodb_lock_wait_timeout": wait}
        if not self.in_transaction():
            wanted["foreign_key_checks"] = "1"
        with self.session(wanted), super().trial() as enforced:
            yield enforced

    def without_checks(self) -> AbstractContextManager[None]:
        """Return a context in which CHECKs are not looked at, where the server has that."""
        return self.session({"check_constraint_checks": "0"})

    def enforces_keys(self) -> bool:
        return bool(self.query("SELECT @@foreign_key_checks LIMIT 1")[0][0])

    def checked_at_commit(self, table: str) -> bool:
        """Return False: InnoDB looks at each row as it comes."""
        return False

    # -- errors

    def is_lock_timeout(self, error: Exception) -> bool:
        return _code(error) in _BUSY

    def was_aborted(self, error: Exception) -> bool:
        # On a cluster the DDL of another node does that to whatever is open on this one; undoing what is undone
        # already fails with another error, and the only sign may be that a savepoint is gone.
        while _code(error) not in (1213, 1305) and error.__context__:
            error = error.__context__  # type: ignore[assignment]
        return _code(error) in (1213, 1305) and not self.in_transaction()

    def holders(self) -> str:
        try:
            ((run,),) = self.query(f"SELECT IS_USED_LOCK({_LOCK})")
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
        while _code(error) == 0 and error.__context__:  # undoing the work of a lost connection fails, and hides why
            error = error.__context__  # type: ignore[assignment]
        return super().explain(error)

    def _account(self, text: str) -> str:
        """Return the account as a GRANT names it; a connection that was refused is named by the text."""
        if self.database.is_closed():
            return text.partition("for user ")[2].partition(" to ")[0]
        name, _, host = self.query("SELECT CURRENT_USER()")[0][0].rpartition("@")
        return f"{literal(name)}@{literal(host)}"

    def advice(self, error: Exception, text: str) -> str:
        code = _code(error)
        if code in (1142, 1044, 1227):
            rights = "SELECT, INSERT, DELETE, CREATE, ALTER, INDEX, DROP, REFERENCES"
            where = f"{self.quote(str(self.database.database))}.*"
            return f"; an administrator has to run: GRANT {rights} ON {where} TO {self._account(text)}"
        return {
            1045: "; check the user and the password in the URL",
            1049: "; check the name in the URL, or create the database",
        }.get(code, "; check that the server runs and can be reached, then run again" if code in _AWAY else "")


def _code(error: Exception) -> int:
    """Return the server's error number behind Peewee's exception."""
    original = error.args[0] if error.args else error
    code = original.args[0] if getattr(original, "args", None) else original
    return code if isinstance(code, int) else 0
