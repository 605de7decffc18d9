"""SQLite: `BEGIN IMMEDIATE` is the lock, and what `ALTER TABLE` cannot do is a rebuild.

The catalogue is read with PRAGMAs, all in main: Peewee's `get_indexes` does not tell a partial,
descending or expression index from a plain one, and `get_columns` hides generated columns.
"""

from __future__ import annotations

import operator
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cached_property

import peewee

from db.models import MODELS, WeeklyActuals
from db.url import describe
from migrations.engines.base import INDEXES, READ, TABLE, Engine, column_ddl, literal
from migrations.report import Change, DatabaseUnavailable, Difference, Refused
from migrations.schema import Column, ForeignKey, Index, Schema, Table, family_of

_KEYS = {model._meta.table_name: (model._meta.primary_key.column_name,) for model in MODELS}
# All UTC: https://sqlite.org/lang_datefunc.html
_UTC_NOW = {"current_timestamp", "datetime('now')", "strftime('%Y-%m-%d %H:%M:%S','now')"}
_PAUSE = 0.003  # seconds
_OURS = " OR ".join(f"tbl_name = {literal(name)} COLLATE NOCASE" for name in READ)
_TEXTS = (  # a temporary table comes first by its name
    f"SELECT type, rootpage > 0, name, sql FROM main.sqlite_master WHERE {_OURS} UNION ALL "
    f"SELECT 'temporary', 0, name, sql FROM sqlite_temp_master WHERE type IN ('table', 'view') AND ({_OURS})"
)
_IS_TABLE = "type = 'table' AND name = ? COLLATE NOCASE"
_MEANING: dict[tuple, Schema] = {}
_position = operator.itemgetter(5)
_REBUILT_FOR = {"type", "null", "not_null", "default", "primary_key", "unique", "foreign_key"}


def _file(name: str, options: dict[str, object]) -> str:
    """Return the path of the file that a database's name stands for, empty where it is in memory."""
    if options.get("uri") and name.startswith("file:"):
        from urllib.parse import unquote, urlsplit

        location = urlsplit(name)
        name = "" if "mode=memory" in location.query or "vfs=memdb" in location.query else unquote(location.path)
    return "" if name == ":memory:" else name


class SQLite(Engine):
    """An SQLite file, or one in memory."""

    backend = "sqlite"
    within = False  # whether the call came inside the caller's transaction

    # -- the connection

    def connect(self) -> None:
        path = _file(str(self.database.database), self.database.connect_params)
        if path and not os.path.exists(path):
            raise DatabaseUnavailable(
                f"{describe(self.database)}: there is no such file; check the path, or create the tables "
                f"with: python -m db.init_db --base-only --database {describe(self.database)}"
            )
        super().connect()

    @contextmanager
    def settings(self) -> Iterator[None]:
        # Waiting is ours: SQLite's own starts anew with each statement, sleeps 100 ms and starves beside a writer.
        # In the caller's transaction it is SQLite's: only that tells a deadlock, which no waiting ends.
        self.within = self.in_transaction()
        with self.pragmas(busy_timeout=int(self.patience.left * 1000) * self.within):
            yield

    @contextmanager
    def pragmas(self, **values: int) -> Iterator[None]:
        """Set pragmas for a while. `foreign_keys` is ignored inside a transaction: set it before."""
        with ExitStack() as restored:
            for name, value in values.items():
                before = self.database.pragma(name)
                restored.callback(self.database.pragma, name, before)
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
            self._unlocked(lambda: self.database.execute_sql("BEGIN IMMEDIATE"))
            yield
            self._unlocked(lambda: self.database.execute_sql("COMMIT"))  # which waits for readers
        except BaseException:
            # On a full disk SQLite rolls back by itself; Peewee's atomic() would then fail in its place.
            self._rollback()
            raise

    def _rollback(self) -> None:
        with suppress(peewee.OperationalError):
            self.database.execute_sql("ROLLBACK")

    def _unlocked(self, attempt: Callable[[], object]) -> object:
        """Return what an attempt to take a lock returns, made again every few milliseconds while patience lasts."""
        while True:
            try:
                return attempt()
            except peewee.OperationalError as error:
                if not self.is_lock_timeout(error) or self.patience.left <= 0 or self.within:
                    raise
            with self.patience.spent():
                time.sleep(_PAUSE)

    def query(self, sql: str, params: Sequence | None = None) -> list[tuple]:
        ask = super().query
        return self._unlocked(lambda: ask(sql, params))

    # -- reading

    def read(self) -> Schema:
        # The texts are all there is to an SQLite schema: what they mean is worked out once a process.
        schema = _MEANING.get(tuple(self.query(_TEXTS)))
        return self._unlocked(self._meaning) if schema is None else schema

    def _meaning(self) -> Schema:
        """Read the tables in one snapshot, or a peer's change would come between a text and what it means."""
        with ExitStack() as snapshot:
            if not self.in_transaction():
                self.database.execute_sql("BEGIN")
                snapshot.callback(self._rollback)
            texts = tuple(self.query(_TEXTS))
            for _, _, name, _ in (row for row in texts if row[0] == "temporary"):
                raise Refused(f"the temporary table {name} hides the real one on this connection; drop it first")
            tables = [row for row in texts if row[0] in ("table", "view")]
            schema = {row[2].lower(): self._table(*row, row[2].lower() == TABLE) for row in tables}
        if len(_MEANING) >= 64:
            _MEANING.clear()
        _MEANING[texts] = schema
        return schema

    def table(self, name: str) -> Table | None:
        rows = self.query(f"SELECT type, rootpage, name, sql FROM main.sqlite_master WHERE {_IS_TABLE}", (name,))
        return next((self._table(*row) for row in rows), None)

    def _table(self, kind: str, rootpage: int, name: str, sql: str, keys: bool = True) -> Table:
        if kind == "view" or not rootpage:
            return Table(name, "view" if kind == "view" else "virtual table")
        rows = self.query(f"PRAGMA main.table_xinfo({self.quote(name)})")
        key = tuple(row[1].lower() for row in sorted(rows, key=_position) if row[5])
        if not keys and key == _KEYS[name.lower()]:  # that, and its columns' types, are all that is asked of it
            return Table(name, kind, {row[1].lower(): Column(row[1], row[2], family_of(row[2])) for row in rows}, key)
        indexes, own_index = self._indexes(name, sql)
        counts = len(key) == 1 and not own_index  # the rowid under another name: no index of its own
        columns = {
            column.lower(): Column(
                column, type_, family_of(type_), None, not (notnull or position),
                None if default in ("NULL", "null") else default, counts and position == 1, hidden > 1,
            )
            for _, column, type_, notnull, default, position, hidden in rows
        }  # fmt: skip
        if "conflict" in sql.lower():
            columns, indexes = _with_conflicts(columns, indexes, sql)
        return Table(name, kind, columns, key, indexes, self._foreign_keys(name))

    def _indexes(self, name: str, sql: str) -> tuple[tuple[Index, ...], bool]:
        """Return the indexes but that of the primary key, and whether that one exists."""
        indexes, own_index = [], False
        for _, index, unique, origin, partial in self.query(f"PRAGMA main.index_list({self.quote(name)})"):
            own_index |= origin == "pk"
            columns = tuple(
                "(expression)" if column is None
                else column.lower() + _other_collation(column, collation, sql) + " DESC" * descending
                for _, _, column, descending, collation, key in self.query(
                    f"PRAGMA main.index_xinfo({self.quote(index)})")
                if key
            )  # fmt: skip
            if origin != "pk":  # a constraint's index has a name of SQLite's own
                constraint = origin == "u"
                indexes.append(
                    Index("" if constraint else index, columns, bool(unique), bool(partial), True, constraint)
                )
        return tuple(indexes), own_index

    def _foreign_keys(self, name: str) -> tuple[ForeignKey, ...]:
        found: dict[int, list[tuple]] = {}
        for row in self.query(f"PRAGMA main.foreign_key_list({self.quote(name)})"):
            found.setdefault(row[0], []).append(row)
        keys = []
        for rows in found.values():
            parent = rows[0][2].lower()
            target = tuple(row[4].lower() for row in rows) if rows[0][4] else self._primary_key(parent)
            keys.append(ForeignKey(tuple(row[3].lower() for row in rows), parent, target, rows[0][6]))
        return tuple(keys)

    def _primary_key(self, name: str) -> tuple[str, ...]:
        """What a foreign key refers to that names no columns."""
        rows = self.query("SELECT lower(name) FROM pragma_table_info(?, 'main') WHERE pk ORDER BY pk", (name,))
        return tuple(column for (column,) in rows)

    def is_utc_now(self, default: str) -> bool:
        parts = re.split("('[^']*')", default)  # %m is the month and %M the minute
        text = "".join(part if part.startswith("'") else "".join(part.lower().split()) for part in parts)
        while text.startswith("("):
            text = text[1:-1]
        return text in _UTC_NOW

    def unconvertible(self, column: str, family: str, source: str) -> str:
        kind, as_integer, as_text = f"typeof({column})", f"CAST({column} AS INTEGER)", f"CAST({column} AS TEXT)"
        whole = f"{kind} = 'text' AND CAST({as_integer} AS TEXT) = {column}"
        real = f"{kind} = 'text' AND CAST(CAST({column} AS REAL) AS TEXT) = {column}"
        exact = f"{as_integer} BETWEEN -(1 << 53) AND 1 << 53"  # what a float holds to the last digit
        check = "'+0 days'"  # without a modifier, 30 February passes
        fits = {
            "integer": f"{kind} = 'integer' OR {kind} = 'real' AND {as_integer} = {column} OR {whole}",
            "float": f"{kind} = 'real' OR {exact} AND ({kind} = 'integer' OR {whole}) OR {real}",
            "string": f"{kind} IN ('text', 'integer') OR {kind} = 'real' AND CAST({as_text} AS REAL) = {column}",
            "date": f"{kind} = 'text' AND date({column}, {check}) = {column}",
            "datetime": f"{kind} = 'text' AND datetime({column}, {check}) = replace(substr({column}, 1, 19), 'T', ' ')",
        }[family]
        return f"{column} IS NOT NULL AND coalesce(NOT ({fits}), 1)"

    def no_id(self, column: str) -> str:
        # Any type holds any value here, but an INTEGER PRIMARY KEY holds whole numbers only.
        return f"{super().no_id(column)} OR {self.unconvertible(column, 'integer', '')}"

    def no_parent(self, value: str, key: ForeignKey, table: Table) -> str:
        # Once over the column's index, where NOT EXISTS takes a look-up a row: less than half the time.
        parents = f"SELECT {self.quote(key.target[0])} FROM {self.quote(key.table)}"
        return f"{value} IN (SELECT {value} FROM {self.quote(TABLE)} w EXCEPT {parents})"

    # -- planning

    def plan(self, table: Table | None, differences: Iterable[Difference], rows: int) -> list[Change]:
        if table is None:
            self._refuse_taken_names([TABLE, *INDEXES])
            return self.create_table()
        errors = [each for each in differences if each.severity == "error"]
        missing = [each.name for each in errors if each.kind == "missing_column"]
        self._refuse_taken_names([each.name for each in errors if each.kind == "index"])
        if any(each.kind in _REBUILT_FOR for each in errors) or any(
            not WeeklyActuals._meta.columns[name].null for name in missing
        ):
            from migrations.engines.sqlite_rebuild import rebuild

            changes = rebuild(self, table, errors, rows, self.enforced)
        else:
            changes = [
                Change(f"add column {name}", f"ALTER TABLE {self.quote(TABLE)} ADD COLUMN {column_ddl(self, name)}")
                for name in missing
            ]
            present = {index.name.lower(): index.name for index in table.indexes}
            changes += [
                Change(f"drop index {each.name}", self.sql_of(self.migrator.drop_index(TABLE, present[each.name])))
                for each in errors
                if each.kind == "index" and each.name in present
            ]
        return changes + [self.create_index(each.name) for each in errors if each.kind == "index"]

    def _refuse_taken_names(self, names: list[str]) -> None:
        """An index's name is the schema's: another table's index may hold it."""
        for name in names:
            taken = self.query(
                "SELECT type, tbl_name FROM main.sqlite_master "
                "WHERE type <> 'trigger' AND name = ? COLLATE NOCASE AND tbl_name <> ? COLLATE NOCASE", (name, TABLE)
            )  # fmt: skip
            if taken:
                raise Refused(f"the name {name} belongs to the {taken[0][0]} of {taken[0][1]}; rename or drop it first")

    def drop_table(self) -> list[Change]:
        """SQLite would drop it under a view or a foreign key of another table, and leave them broken."""
        dependent = self.query(
            "SELECT DISTINCT m.type, m.name FROM main.sqlite_master m, pragma_foreign_key_list(m.name) f "
            "WHERE m.type = 'table' AND f.\"table\" = ?1 COLLATE NOCASE AND m.tbl_name <> ?1 COLLATE NOCASE "
            "UNION SELECT type, name FROM main.sqlite_master WHERE type IN ('view', 'trigger') "
            "AND tbl_name <> ?1 COLLATE NOCASE AND ' ' || lower(sql) || ' ' GLOB ?2",
            (TABLE, f"*[^a-z0-9_]{TABLE}[^a-z0-9_]*"),
        )
        if dependent:
            raise Refused(
                f"the {' and the '.join(' '.join(each) for each in dependent)} depend"
                f"{'s' * (len(dependent) == 1)} on weekly_actuals; drop that first"
            )
        return super().drop_table()

    @cached_property
    def enforced(self) -> bool:
        """Whether the caller's connection enforces foreign keys."""
        return bool(self.database.pragma("foreign_keys"))

    # -- changing

    def exclusively(self, work: Callable[[], object]) -> object:
        # Enforcement off, or a rebuild's DROP TABLE deletes the rows of child tables; Peewee's own
        # migration_context() does so too, but is ignored where it finds itself in a transaction.
        # With legacy_alter_table off, views and triggers that name the table would fail its rename.
        suspended = {"legacy_alter_table": 1}
        if self.enforced and not self.in_transaction():
            suspended["foreign_keys"] = 0
        with self.pragmas(**suspended), self.undone_with_errors(), self.transaction():
            return work()

    def execute(self, change: Change) -> None:
        if change.description.startswith("rebuild") and change.sql.startswith("DROP TABLE"):
            from migrations.engines.sqlite_rebuild import NEW

            violations = self._violations(NEW)
            if violations and violations > self._violations(TABLE):
                raise Refused("the rebuilt table would violate foreign keys that hold now; nothing was changed")
        if not change.alone:  # a pragma around the transaction: `exclusively` sets it
            super().execute(change)

    def _violations(self, table: str) -> int:
        return self.query(f"SELECT count(*) FROM pragma_foreign_key_check({literal(table)})")[0][0]

    # -- the smoke test

    @contextmanager
    def trial(self) -> Iterator[bool]:
        with self.pragmas(**({} if self.in_transaction() else {"foreign_keys": 1})), super().trial() as enforced:
            yield enforced

    def without_checks(self) -> AbstractContextManager[None]:
        return self.pragmas(ignore_check_constraints=1)

    def check_literals(self, table: str) -> dict[str, list]:
        from migrations.engines.sqlite_text import check_literals

        ((sql,),) = self.query("SELECT sql FROM main.sqlite_master WHERE type = 'table' AND name = ?", (table,))
        return check_literals(sql)

    def checked_at_commit(self) -> bool:
        check = f"SELECT 1 FROM pragma_foreign_key_check({literal(TABLE)}) WHERE rowid = last_insert_rowid()"
        return bool(self.query(check))

    def enforces_keys(self) -> bool:
        # Deferred, they hold at COMMIT only; to end that would forget what the caller has pending.
        return bool(self.database.pragma("foreign_keys") and not self.database.pragma("defer_foreign_keys"))

    # -- errors

    def holders(self) -> str:
        return "by another connection, or by an unfinished statement of this one"

    def is_lock_timeout(self, error: Exception) -> bool:
        return isinstance(error, peewee.OperationalError) and "locked" in str(error)

    def advice(self, error: Exception, text: str) -> str:
        for part, advice in _ADVICE.items():
            if part in text:
                return advice
        return ""


def _other_collation(column: str, collation: str, sql: str) -> str:
    """Return a mark for a column of an index that is sorted in another way than the column itself."""
    if collation.upper() == "BINARY" and "collate" not in sql.lower():
        return ""
    from migrations.engines.sqlite_text import collations

    own = collations(sql).get(column.upper(), "BINARY")
    return "" if collation.upper() == own else f" COLLATE {collation}"


def _with_conflicts(columns: dict[str, Column], indexes: tuple[Index, ...], sql: str) -> tuple:
    """Mark what does not refuse a row as it should: the PRAGMAs are silent on ON CONFLICT."""
    from migrations.engines.sqlite_text import conflict_clauses

    found = conflict_clauses(sql)
    marked = tuple(
        index._replace(columns=(*index.columns[:-1], f"{index.columns[-1]} {found[index.columns]}"))
        if index.constraint and index.columns in found else index
        for index in indexes
    )  # fmt: skip
    return {
        name: column._replace(type=f"{column.type} {found[name]}", family=found[name]) if name in found else column
        for name, column in columns.items()
    }, marked


_ADVICE: dict[str, str] = {
    "unable to open": "; check that the path is a file in a folder that can be read and written",
    "file is not a database": "; check the path: this file is something else",
    "readonly": "; give the file and its folder write permission",
    "full": "; free some space and run again: nothing was changed",
    "disk I/O": "; check the disk and run again: nothing was changed",
    "malformed": "; restore the file from a backup",
}
