"""The connection to an SQLite file, its lock and its patience, and what happens under them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import groupby
from urllib.parse import unquote, urlsplit

import peewee

from db.url import describe
from migrations.engines.base import Result
from migrations.engines.rows import Row
from migrations.engines.sqlite.catalogue import Catalogue, parse_type
from migrations.engines.sqlite.statements import SQLiteStatements
from migrations.engines.sqlite.values import Values
from migrations.report import Change, DatabaseUnavailable

_PAUSE = 0.003  # seconds
_CACHE = -65_536  # KiB, as SQLite wants them
_STEPS = 1_000_000  # of SQLite's machine between two looks at whether somebody pressed Ctrl-C
_REGISTERED = ("such function", "unknown function", "such collation")  # what a connection lacks, and another has
ADVICE: dict[str, str] = {
    "unable to open": "; check that the path is a file in a folder that can be read and written",
    "file is not a database": "; check the path: this file is something else",
    "readonly": "; give the file and its folder write permission",
    "full": "; free some space and run again: nothing was changed",
    "disk I/O": "; check the disk and run again: nothing was changed",
    "malformed": "; restore the file from a backup",
    **dict.fromkeys(_REGISTERED, "; it is the application's own: run there, by ensure(database)"),
}


class SQLite(Values, Catalogue):
    """An SQLite file, or one in memory."""

    backend = "sqlite"
    statements_class = SQLiteStatements
    parse_type = staticmethod(parse_type)
    within = False  # whether the call came inside the caller's transaction
    enforced = True  # whether the caller's connection enforces foreign keys

    # -- the connection

    def connect(self) -> None:
        path, where = str(self.database.database), describe(self.database)
        if path.startswith("file:") and self.database.connect_params.get("uri"):
            location = urlsplit(path)
            in_memory = {"mode=memory", "vfs=memdb"} & {*location.query.split("&")}
            path = "" if in_memory else unquote(location.path)
        if path not in ("", ":memory:") and not os.path.exists(path):
            raise DatabaseUnavailable(
                f"{where}: there is no such file; check the path, or create the tables "
                f"with: python -m db.init_db --base-only --database {where}"
            )
        super().connect()

    @contextmanager
    def settings(self) -> Iterator[None]:
        # Waiting is ours: SQLite's own starts anew with each statement, sleeps 100 ms and starves beside a writer.
        # In the caller's transaction it is SQLite's: only that tells a deadlock, which no waiting ends.
        self.within, self.enforced = self.in_transaction(), bool(self.database.pragma("foreign_keys"))
        with self.pragmas(busy_timeout=int(self.patience * 1000) * self.within):
            yield

    @contextmanager
    def pragmas(self, **values: int) -> Iterator[None]:
        """Set pragmas for a while, but for `foreign_keys` inside a transaction, where SQLite ignores it."""

        def restore(name: str, before: int) -> None:
            with suppress(peewee.DatabaseError):  # that it may not be set: then it was not
                self.database.pragma(name, before)

        with ExitStack() as restored:
            for name, value in values.items():
                before = self.database.pragma(name)
                restored.callback(restore, name, before)
                if before != value:
                    self.database.pragma(name, value)
            yield

    def in_transaction(self) -> bool:
        return self.database.in_transaction() or bool(getattr(self.database.connection(), "in_transaction", False))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A write transaction from its first statement on, or a savepoint in the caller's.

        A deferred one that reads and then writes gets "database is locked" at once.
        """
        if self.in_transaction():
            with self.database.savepoint():
                yield
            return
        try:
            self.query("BEGIN IMMEDIATE")
            yield
            self.query("COMMIT")  # which waits for readers
        except BaseException:
            with suppress(peewee.OperationalError):  # on a full disk, SQLite has done so itself; atomic() would fail
                self.database.execute_sql("ROLLBACK")
            raise

    def query(self, sql: str, params: Sequence[object] | None = None) -> list[Row]:
        """Return the rows, asked for again every few milliseconds while there is a lock and patience lasts."""
        ask = partial(super().query, sql, params)
        return self.patiently(ask, lambda error: self.is_lock_timeout(error) and not self.within, _PAUSE)

    # -- changing

    def exclusively(self, work: Callable[[], Result]) -> Result:
        # Enforcement off, or a rebuild's DROP TABLE deletes the rows of child tables; Peewee's own
        # migration_context() does so too, but is ignored where it finds itself in a transaction.
        # With legacy_alter_table off, views and triggers that name the table would fail its rename. In SQLite's own
        # 2 MiB of cache, a rebuild writes its pages many times, and takes a tenth longer.
        suspended = self.pragmas(foreign_keys=0, legacy_alter_table=1, writable_schema=0, cache_size=_CACHE)
        with suspended, self.undone_with_errors(), self.transaction():
            return work()

    def carry_out(self, changes: Iterable[Change]) -> None:
        # Python hears of Ctrl-C once SQLite returns, which may take minutes, or calls back.
        handle = getattr(self.database.connection(), "set_progress_handler", None) if self.opened else None
        if handle:
            handle(lambda: 0, _STEPS)
        try:
            super().carry_out(changes)
        except peewee.OperationalError as error:
            if str(error) == "interrupted":
                raise KeyboardInterrupt from None
            raise
        finally:
            if handle:
                handle(None, 0)

    def execute(self, change: Change) -> None:
        if not change.alone:  # a pragma around the transaction: `exclusively` sets it
            super().execute(change)

    def script(self, changes: Sequence[Change]) -> list[str]:
        lines = ["-- for a driver, or sqlite3 -bail: after an error, nothing more may be executed"]
        for alone, together in groupby(changes, lambda change: change.alone):
            statements = [f"{change.sql};" for change in together]
            lines += statements if alone else ["BEGIN IMMEDIATE;", *statements, "COMMIT;"]
        return lines

    # -- the smoke test

    @contextmanager
    def trial(self) -> Iterator[bool]:
        with self.pragmas(ignore_check_constraints=1, foreign_keys=1), super().trial():
            # Deferred, they hold at COMMIT only; to end that would forget what the caller has pending.
            yield bool(self.database.pragma("foreign_keys") and not self.database.pragma("defer_foreign_keys"))

    def checked_at_commit(self, table: str) -> bool:
        there, name = self.read()[table.lower()], self.quote(table)
        values = {key: [f"+w.{self.quote(column)}" for column in key.columns] for key in there.foreign_keys}
        orphan = " OR ".join(f"({self.no_parent(values[key], key, there)})" for key in values) or "0"
        return bool(self.query(f"SELECT 1 FROM {name} w WHERE w.rowid = last_insert_rowid() AND ({orphan})"))

    # -- errors

    def holders(self) -> str:
        return "another connection has it, or an unfinished statement of this one"

    def is_lock_timeout(self, error: Exception) -> bool:
        return isinstance(error, peewee.OperationalError) and "locked" in str(error)

    def advice(self, error: Exception, text: str) -> str:
        return next((advice for part, advice in ADVICE.items() if part in text), "")
