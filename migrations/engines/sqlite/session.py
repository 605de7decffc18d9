"""The connection to an SQLite file: its pragmas, its lock, transactions and errors."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import peewee

from db.url import describe, shell_word
from migrations.engines.session import Result, Row, Session
from migrations.errors import DatabaseUnavailable
from migrations.report import Change

_RETRY_PAUSE = 0.003  # seconds between two attempts at a locked file
_CACHE_SIZE = -65_536  # KiB; a negative number is no number of pages
# Instructions of SQLite's virtual machine between two checks for Ctrl-C.
_PROGRESS_INTERVAL = 1_000_000
# What an application registers with a database, for each of its connections.
_REGISTERED = (
    "_aggregates",
    "_collations",
    "_extensions",
    "_functions",
    "_table_functions",
    "_window_functions",
)
_DEFINED_BY_APPLICATION = (
    "; it is the application's own: run there, by ensure(database)"
)
# By a part of an error's text, what to do about it.
ADVICE = {
    "unable to open": (
        "; check that the path is a file in a folder that can be read and written"
    ),
    "file is not a database": "; check the path: this file is something else",
    "readonly": "; give the file and its folder write permission",
    "full": "; free some space and run again: nothing was changed",
    "disk I/O": "; check the disk and run again: nothing was changed",
    "malformed": "; restore the file from a backup",
    # Functions and collations are registered for a connection, not for a file.
    "such function": _DEFINED_BY_APPLICATION,
    "unknown function": _DEFINED_BY_APPLICATION,
    "such collation": _DEFINED_BY_APPLICATION,
}
# The name in the errors about those.
_UNKNOWN_NAME = r"(?:such|unknown) (function|collation)(?: sequence)?: (\w+)"


class SQLiteSession(Session):
    """The open connection of one call.

    `connection_settings` sets `enforces_foreign_keys`, whether the connection did when
    the call came.
    """

    backend = "sqlite"
    product = "SQLite"
    enforces_foreign_keys = True

    # -- the connection

    def connect(self) -> None:
        path = self._file_path()
        # SQLite would create it.
        if path and not os.path.exists(path):
            raise DatabaseUnavailable(self._no_such_file())
        super().connect()

    def _file_path(self) -> str:
        """Return the path of the file, or "" for a database in memory."""
        path = str(self.database.database)
        if path == ":memory:":
            return ""
        if path.startswith("file:") and self.database.connect_params.get("uri"):
            # Imported only for a URI: without a driver of a server, nothing else has
            # imported it.
            from urllib.parse import unquote, urlsplit

            location = urlsplit(path)
            options = location.query.split("&")
            if "mode=memory" in options or "vfs=memdb" in options:
                return ""
            return unquote(location.path)
        return path

    def _no_such_file(self) -> str:
        where = describe(self.database)
        message = f"{where}: there is no such file; check the path"
        command = self.models.creation_command(self.models.required)
        if command:
            url = shell_word(where)
            message += f", or create the tables with: {command} --database {url}"
        return message

    @contextmanager
    def connection_settings(self) -> Iterator[None]:
        self.enforces_foreign_keys = bool(self.database.pragma("foreign_keys"))
        # `query` waits for locks itself: SQLite's busy timeout starts again with each
        # statement, and its pauses of up to 100 ms lose against a busy writer. In the
        # caller's transaction SQLite waits, as only SQLite recognises a deadlock, which
        # no waiting ends: https://sqlite.org/c3ref/busy_handler.html
        timeout = 0
        if self.in_callers_transaction:
            timeout = int(self.remaining_timeout * 1000)
        with self.pragmas(busy_timeout=timeout):
            yield

    @contextmanager
    def pragmas(self, **values: int) -> Iterator[None]:
        """Set pragmas; restore them afterwards. Called at any stage.

        SQLite ignores a change of `foreign_keys` inside a transaction.
        """
        with ExitStack() as restored:
            for name, value in values.items():
                before = self.database.pragma(name)
                restored.callback(self._restore_pragma, name, before)
                if before != value:
                    self.database.pragma(name, value)
            yield

    def _restore_pragma(self, name: str, value: int) -> None:
        # A pragma that may not be set was not changed either.
        with suppress(peewee.DatabaseError):
            self.database.pragma(name, value)

    def in_transaction(self) -> bool:
        if self.database.in_transaction():
            return True
        # The driver knows of a transaction that was begun by plain SQL.
        return bool(getattr(self.database.connection(), "in_transaction", False))

    # -- statements

    def query(self, sql: str, params: Sequence[object] | None = None) -> list[Row]:
        """Execute a query and return its rows.

        While the file is locked it is repeated every few milliseconds, until
        `remaining_timeout` is over.
        """
        attempt = partial(super().query, sql, params)
        return self.retry_on_lock(attempt, self._may_wait, _RETRY_PAUSE)

    def _may_wait(self, error: Exception) -> bool:
        """Whether a run waits for a lock; in the caller's transaction SQLite does."""
        return self.is_lock_timeout(error) and not self.in_callers_transaction

    # -- transactions

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction that can write from the beginning, or a savepoint.

        A deferred transaction that reads first and then writes fails with "database is
        locked" at once, whatever the timeout: https://sqlite.org/lang_transaction.html
        """
        if self.in_transaction():
            with self.database.savepoint():
                yield
            return
        try:
            self.query("BEGIN IMMEDIATE")
            yield
            self.query("COMMIT")  # this may wait for readers
        except BaseException:
            # SQLite itself has rolled back if the disk is full, where Peewee's atomic()
            # would fail: https://sqlite.org/lang_transaction.html
            with suppress(peewee.OperationalError):
                self.database.execute_sql("ROLLBACK")
            raise

    @contextmanager
    def read_transaction(self) -> Iterator[None]:
        """A transaction in which all queries see the same state; it blocks no writer.

        Called at any stage.
        """
        with super().transaction():
            yield

    @contextmanager
    def smoke_test_transaction(self) -> Iterator[bool]:
        settings = self.pragmas(ignore_check_constraints=1, foreign_keys=1)
        with settings, super().smoke_test_transaction():
            enforced = bool(self.database.pragma("foreign_keys"))
            # Deferred foreign keys are checked at COMMIT. To switch that off would make
            # SQLite forget the violations of the caller's transaction.
            deferred = bool(self.database.pragma("defer_foreign_keys"))
            yield enforced and not deferred

    def in_memory(self) -> SQLiteSession:
        """Return a session on an empty database in memory, not connected.

        Its connection has the functions and collations that were registered with this
        database. Called while planning.
        """
        parameters = self.database.connect_params
        try:
            copy = type(self.database)(":memory:", **parameters)
        except TypeError:  # a class of the application, with parameters of its own
            copy = peewee.SqliteDatabase(":memory:")
        for name in _REGISTERED:
            if hasattr(self.database, name):
                setattr(copy, name, getattr(self.database, name))
        return SQLiteSession(copy, self.models, 0.0)

    def knows_what_is_missing(self, error: str) -> bool:
        """Whether this connection has the function or collation that another lacks.

        :param error: the text of the other connection's error.
        """
        found = re.search(_UNKNOWN_NAME, error)
        if found is None:
            return False
        kind, name = found.groups()
        sql = f"SELECT 1 FROM pragma_{kind}_list WHERE name = ? COLLATE NOCASE"
        return bool(self.query(sql, (name,)))

    # -- changes

    def with_migration_lock(self, work: Callable[[], Result]) -> Result:
        settings = self.pragmas(
            # Otherwise the DROP TABLE of a rebuild deletes the rows of child tables.
            # Peewee's migration_context() does this too, but has no effect inside a
            # transaction.
            foreign_keys=0,
            # What refers to a renamed table follows; a rebuild switches it on:
            # https://sqlite.org/lang_altertable.html#altertabrename
            legacy_alter_table=0,
            writable_schema=0,
            # In SQLite's own 2 MiB a rebuild writes its pages several times and takes a
            # tenth longer.
            cache_size=_CACHE_SIZE,
        )
        with settings, self.forget_executed_on_error(), self.transaction():
            return work()

    def execute_all(self, changes: Iterable[Change]) -> None:
        with self._interruptible():
            super().execute_all(changes)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let Ctrl-C end a long statement.

        Python notices Ctrl-C when SQLite calls back or returns, which may take minutes.
        The caller's connection may have a progress handler of its own.
        """
        set_handler = None
        if self.opened_here:
            connection = self.database.connection()
            set_handler = getattr(connection, "set_progress_handler", None)
        if set_handler is None:
            yield
            return
        set_handler(lambda: 0, _PROGRESS_INTERVAL)
        try:
            yield
        except peewee.OperationalError as error:
            if str(error) == "interrupted":
                raise KeyboardInterrupt from None
            raise
        finally:
            set_handler(None, 0)

    def execute_change(self, change: Change) -> None:
        # A pragma outside of the transaction: `with_migration_lock` has set it.
        if not change.own_transaction:
            super().execute_change(change)

    def refuse_callers_transaction(self, changes: Sequence[Change]) -> None:
        pass  # the DDL refuses the one change that is not safe in a transaction

    def script(self, changes: Sequence[Change]) -> list[str]:
        lines = ["-- stop at the first error, as sqlite3 -bail does"]
        transaction_is_open = False
        for change in changes:
            if change.own_transaction and transaction_is_open:
                lines.append("COMMIT;")
            elif not change.own_transaction and not transaction_is_open:
                lines.append("BEGIN IMMEDIATE;")
            transaction_is_open = not change.own_transaction
            lines.append(f"{change.sql};")
        if transaction_is_open:
            lines.append("COMMIT;")
        return lines

    # -- errors

    def lock_holders(self) -> str:
        return "another connection holds it, or an unfinished statement of this one"

    def is_lock_timeout(self, error: Exception) -> bool:
        return isinstance(error, peewee.OperationalError) and "locked" in str(error)

    def advice(self, error: Exception, text: str) -> str:
        return self.advice_about(text)

    def advice_about(self, text: str) -> str:
        """Return what to do about an error of a text, like `advice`."""
        for part, advice in ADVICE.items():
            if part in text:
                return advice
        return ""
