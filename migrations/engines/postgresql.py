"""PostgreSQL: an advisory lock, short waits for table locks, and nothing that blocks a writer for long.

Three queries read the catalogue, by the search path as SQL itself does. Peewee's introspection tells
neither an INVALID index nor a foreign key that is NOT VALID, and takes a query per table and kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import peewee

from db.models import WeeklyActuals
from migrations.engines.base import INDEXES, READ, TABLE, Busy, Engine, column_ddl, literals, own_key
from migrations.report import Change, Difference, Refused
from migrations.schema import Column, ForeignKey, Index, Schema, Table, declared_key, family_of

_LOCK = 450_000_045  # the advisory lock of all runs on one database
_TRY = 0.2  # seconds that a statement waits for a table lock, and others behind it
_KINDS = {"t": "temporary table",
          "r": "table", "p": "partitioned table", "v": "view", "m": "materialized view", "f": "foreign table",
          "i": "index", "S": "sequence", "c": "type"}  # fmt: skip
_ON_DELETE = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
# As PostgreSQL writes back what we and others say, in lower case and without blanks or outer parentheses.
_UTC_NOW = ("now()attimezone'utc'", "timezone('utc',now())", "current_timestampattimezone'utc'",
            "timezone('utc',current_timestamp)")  # fmt: skip

_COLUMNS = """
SELECT c.relname, CASE WHEN c.relpersistence = 't' THEN 't' ELSE c.relkind END,
       a.attname, format_type(a.atttypid, NULL), a.attlen, a.atttypmod, a.attnotnull,
       pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated,
       CASE WHEN a.attcollation <> y.typcollation THEN a.attcollation::regcollation::text END
FROM unnest(%s::text[]) AS t (name)
JOIN pg_class c ON c.oid = to_regclass(quote_ident(t.name))
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_type y ON y.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
ORDER BY a.attnum"""
_INDEXES = """
SELECT c.relname, i.relname, x.indisunique, x.indisprimary, x.indpred IS NOT NULL, x.indisvalid AND x.indisready,
       EXISTS (SELECT FROM pg_constraint k
               WHERE k.conindid = x.indexrelid AND k.conrelid = c.oid AND k.contype <> 'f'),
       ARRAY(SELECT coalesce(a.attname::text, '(expression)')
                    || CASE WHEN x.indcollation[k] <> a.attcollation THEN ' COLLATE ' || x.indcollation[k]::regcollation
                            ELSE '' END
                    || CASE WHEN o.opcdefault THEN '' ELSE ' ' || o.opcname END
                    || CASE WHEN x.indimmediate THEN '' ELSE ' DEFERRABLE' END
                    || CASE WHEN x.indoption[k] & 1 = 1 THEN ' DESC' ELSE '' END
                    || CASE WHEN m.amname <> 'btree' THEN ' USING ' || m.amname ELSE '' END
             FROM generate_series(0, x.indnkeyatts - 1) AS k
             JOIN pg_opclass o ON o.oid = x.indclass[k]
             LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.indkey[k] AND a.attnum > 0 ORDER BY k)
FROM unnest(%s::text[]) AS t (name)
JOIN pg_class c ON c.oid = to_regclass(quote_ident(t.name))
JOIN pg_index x ON x.indrelid = c.oid JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam
ORDER BY i.relname"""
_FOREIGN_KEYS = """
SELECT c.relname, k.conname,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS n (key, i)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = n.key ORDER BY n.i),
       CASE WHEN p.oid = to_regclass(quote_ident(p.relname)) THEN p.relname::text ELSE p.oid::regclass::text END,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS n (key, i)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = n.key ORDER BY n.i),
       k.confdeltype, k.convalidated
FROM unnest(%s::text[]) AS t (name)
JOIN pg_class c ON c.oid = to_regclass(quote_ident(t.name))
JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'f' JOIN pg_class p ON p.oid = k.confrelid
ORDER BY k.conname"""
_VIEWS = """
SELECT DISTINCT r.ev_class::regclass::text
FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_attribute a ON a.attnum = d.refobjsubid
WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.refobjid = to_regclass(%s) AND a.attrelid = d.refobjid AND a.attname = %s ORDER BY 1"""
_HOLDERS = """
SELECT DISTINCT coalesce(c.relname, 'the lock of another run') || ' is held by process ' || l.pid
FROM pg_locks l LEFT JOIN pg_class c ON c.oid = l.relation
WHERE l.granted AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.relation IN (SELECT to_regclass(quote_ident(name)) FROM unnest(%s::text[]) AS t (name))
       OR l.locktype = 'advisory' AND l.objid = %s)
ORDER BY 1 LIMIT 5"""


class _Online(Exception):
    """The changes cannot share a transaction."""


class PostgreSQL(Engine):
    """A PostgreSQL database; CockroachDB by its likeness, untested."""

    backend = "postgresql"
    override = " OVERRIDING SYSTEM VALUE"
    online = False  # whether the changes are made one by one, beside writers

    # -- the connection

    @contextmanager
    def settings(self) -> Iterator[None]:
        # What is set on the server is set in a transaction, and goes with it. A statement that psycopg has
        # prepared is known to one session, and a pooler in transaction mode gives us another each time.
        connection = self.database.connection()
        before = getattr(connection, "prepare_threshold", None)
        if before is not None:
            connection.prepare_threshold = None
        try:
            yield
        finally:
            if before is not None:
                connection.prepare_threshold = before

    def in_transaction(self) -> bool:
        adapter = self.database._adapter
        return self.database.in_transaction() or adapter.txn_status(self.database.connection()) != adapter.txn_idle

    # -- reading

    def read(self) -> Schema:
        schema = self._tables(READ)
        while TABLE in schema and not all(index.valid for index in schema[TABLE].indexes):
            # IF NOT EXISTS would be content with it; but a peer may be building it just now.
            if not self.query("SELECT FROM pg_stat_progress_create_index WHERE relid = to_regclass(%s)", (TABLE,)):
                break
            if self.patience.left <= 0:
                raise self.timed_out()
            self.patience.pause()
            schema = self._tables(READ)
        return schema

    def table(self, name: str) -> Table | None:
        return self._tables((name,)).get(name)

    def _tables(self, names: tuple[str, ...]) -> Schema:
        asked = (list(names),)
        kinds: dict[str, str] = {}
        columns: dict[str, dict[str, Column]] = {}
        for row in self.query(_COLUMNS, asked):
            name, kind, column, type_, length, modifier, notnull, default, identity, generated, collation = row
            kinds[name] = _KINDS.get(kind, "relation")
            family = family_of(type_)
            size = length if length > 0 else modifier - 4 if family == "string" and modifier > 4 else None
            columns.setdefault(name, {})[column] = Column(
                column, type_, family, size, not notnull, default,
                automatic=bool(identity) or (default or "").startswith("nextval("), generated=bool(generated),
                collation=collation,
            )  # fmt: skip
        indexes: dict[str, list[Index]] = {}
        primary: dict[str, tuple[str, ...]] = {}
        for name, index, unique, is_primary, partial, valid, constraint, keys in self.query(_INDEXES, asked):
            if is_primary:
                primary[name] = tuple(keys)
            else:
                indexes.setdefault(name, []).append(Index(index, tuple(keys), unique, partial, valid, constraint))
        foreign_keys: dict[str, list[ForeignKey]] = {}
        for name, key, of, parent, target, on_delete, valid in self.query(_FOREIGN_KEYS, asked):
            foreign_keys.setdefault(name, []).append(
                ForeignKey(tuple(of), parent, tuple(target), _ON_DELETE[on_delete], key, valid)
            )
        return {
            name: Table(
                name,
                kind,
                columns[name],
                primary.get(name, ()),
                tuple(indexes.get(name, ())),
                tuple(foreign_keys.get(name, ())),
            )
            for name, kind in kinds.items()
        }

    def is_utc_now(self, default: str) -> bool:
        text = re.sub(r"::\w+|[\s()]", "", default.lower())
        return text in {re.sub(r"[()]", "", known) for known in _UTC_NOW}

    def unconvertible(self, column: str, family: str, source: str) -> str:
        if source == "timestamp with time zone":
            return "false"  # each is a moment, and that moment in UTC
        text, tail = f"{column}::text", "" if source == "string" else r"(\.0*)?"
        month = f"(substr({text}, 1, 8) || '01')::date"
        day = f"substr({text}, 9, 2)::int BETWEEN 1 AND extract(day FROM {month} + interval '1 month - 1 day')"
        date, time_ = r"\d{4}-(0[1-9]|1[0-2])-\d\d", r"[ T]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?"
        # Of a form, and then (CASE keeps the order: a cast of another form is an error) of a value.
        form, value = {
            "integer": (r"-?(0|[1-9]\d{0,9})" + tail, f"{text}::numeric BETWEEN -2147483648 AND 2147483647"),
            "float": (r"-?\d{1,15}(\.\d*)?(e[+-]?\d{1,2})?", f"{text}::numeric = {text}::float8::numeric"),
            "string": (".{0,50}", "true"),
            "date": (date + "( 00:00:00)?", day),
            "datetime": (f"{date}({time_})?", day),
        }[family]
        return f"{column} IS NOT NULL AND NOT CASE WHEN {text} ~ '^({form})$' THEN {value} ELSE false END"

    def may_hold_orphans(self) -> bool:
        return False  # a validated foreign key has none, and one that is not is a difference

    def check_literals(self, table: str) -> dict[str, list]:
        found: dict[str, list] = {}
        for column, text in self.query(
            "SELECT a.attname, pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_attribute a "
            "ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) "
            "WHERE k.contype = 'c' AND k.conrelid = to_regclass(quote_ident(%s))", (table,)
        ):  # fmt: skip
            found.setdefault(column, []).extend(literals(text))
        return found

    def estimate(self, table: str) -> int | None:
        ((rows,),) = self.query(
            "SELECT max(reltuples) FROM pg_class WHERE oid = to_regclass(quote_ident(%s))", (table,)
        )
        return rows and int(rows)

    def lookalikes(self) -> list[tuple[str]]:
        return self.query(
            "SELECT relname FROM pg_class WHERE lower(relname) = %s AND relname <> %s "  # a peer may have made it now
            "AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())",
            (TABLE, TABLE),
        )

    # -- planning

    def plan(self, table: Table | None, differences: Iterable[Difference], rows: int) -> list[Change]:
        if table is None:
            for name in (WeeklyActuals._meta.unique_key[0], *INDEXES):
                if self.query("SELECT FROM pg_class WHERE relname = %s AND relnamespace::regnamespace::text = "
                              "quote_ident(current_schema())", (name,)):  # fmt: skip
                    raise Refused(f"the name {name} belongs to something else in the schema; rename or drop it first")
            return self.create_table()
        errors = [each for each in differences if each.severity == "error"]
        changes = [change for each in sorted(errors, key=_order) for change in self._mend(table, each, rows)]
        self.online = any(change.alone for change in changes)
        return changes

    def _mend(self, table: Table, each: Difference, rows: int) -> Iterator[Change]:
        alter, column = f"ALTER TABLE {self.quote(TABLE)}", self.quote(each.name)
        if each.kind == "missing_column":
            if each.name == "id":
                yield from self._drop_primary_key(table, alter)
            yield Change(f"add column {each.name}", f"{alter} ADD COLUMN {column_ddl(self, each.name)}")
        elif each.kind == "type":
            yield from self._retype(table.columns[each.name], f"{alter} ALTER COLUMN {column}")
        elif each.kind in ("null", "not_null"):
            operation = self.migrator.add_not_null if each.kind == "null" else self.migrator.drop_not_null
            yield Change(f"correct the nullability of {each.name}", self.sql_of(operation(TABLE, each.name)))
        elif each.kind == "default":
            yield Change(
                f"correct the default of {each.name}",
                f"{alter} ALTER COLUMN {column} SET {_default_of(self, each.name)}",
            )
        elif each.kind == "primary_key":
            yield from self._primary_key(table, alter)
        elif each.kind in ("index", "unique"):
            yield from self._index(table, each, alter, rows)
        elif each.kind == "foreign_key":
            yield from self._foreign_key(table, each, alter, rows)

    def _retype(self, column: Column, alter: str) -> Iterator[Change]:
        field = WeeklyActuals._meta.columns[column.name]
        if views := [name for (name,) in self.query(_VIEWS, (TABLE, column.name))]:
            raise Refused(
                f"weekly_actuals.{column.name} has to be converted, and the view {' and '.join(views)} uses it; "
                "drop the view, run again, and make it anew"
            )
        target = self.database.get_sql_context().sql(field.ddl_datatype(self.database.get_sql_context())).query()[0]
        if column.name == "id":
            target = "INTEGER"  # SERIAL is no type, it is an INTEGER with a sequence
        quoted, what = self.quote(column.name), f"convert {column.name} to {target}"
        if column.generated:
            yield Change(f"make {column.name} a plain column", f"{alter} DROP EXPRESSION")
        if column.default and not column.automatic:
            yield Change(f"take the default from {column.name}", f"{alter} DROP DEFAULT")
        if column.family == "timestamp with time zone":
            value = f"{quoted} AT TIME ZONE 'utc'"
        elif column.family in ("integer", "float", "decimal"):
            value = f"{quoted}::{target}"
        else:
            value = f"{quoted}::text::{target}"
        collate = f" COLLATE {column.collation}" if column.collation and target.startswith("VARCHAR") else ""
        yield Change(what, f"{alter} TYPE {target}{collate} USING {value}")
        if column.automatic and column.default:  # a SMALLSERIAL's sequence would end where its type does
            ((sequence,),) = self.query("SELECT pg_get_serial_sequence(%s, %s)", (TABLE, column.name))
            if sequence:
                yield Change(f"let the sequence of {column.name} go on", f"ALTER SEQUENCE {sequence} AS {target}")
        if column.default and not column.automatic:
            default = _default_of(self, column.name) or f"DEFAULT ({column.default})::{target}"
            yield Change(f"give {column.name} its default", f"{alter} SET {default}")

    def _drop_primary_key(self, table: Table, alter: str) -> Iterator[Change]:
        for name, child in self.query(
            "SELECT conname, (SELECT min(f.conrelid::regclass::text) FROM pg_constraint f WHERE f.contype = 'f' "
            "AND f.conindid = k.conindid) FROM pg_constraint k WHERE conrelid = to_regclass(%s) AND contype = 'p'",
            (TABLE,)
        ):  # fmt: skip
            if child:
                raise Refused(
                    f"the primary key of weekly_actuals has to become id, and the table {child} refers to the one "
                    "that it has; drop that foreign key, run again, and make it anew"
                )
            names = ", ".join(map(self.quote, own_key(table)))
            keep = f", ADD UNIQUE ({names})" if names else ""
            yield Change("drop the primary key", f"{alter} DROP CONSTRAINT {self.quote(name)}{keep}")

    def _primary_key(self, table: Table, alter: str) -> Iterator[Change]:
        if table.primary_key != ("id",):
            yield from self._drop_primary_key(table, alter)
            yield Change("add the primary key", f"{alter} ADD PRIMARY KEY (id)")
        if not table.columns["id"].automatic:
            if table.columns["id"].default:
                yield Change("take the default from id", f"{alter} ALTER COLUMN id DROP DEFAULT")
            yield Change("let id count by itself", f"{alter} ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY")
            yield Change(
                "start after the highest id",
                f"SELECT setval(pg_get_serial_sequence('{TABLE}', 'id'), coalesce(max(id), 0) + 1, false) "
                f"FROM {self.quote(TABLE)}",
            )

    def _index(self, table: Table, each: Difference, alter: str, rows: int) -> Iterator[Change]:
        name, unique = each.name, each.kind == "unique"
        columns = WeeklyActuals._meta.unique_key[1] if unique else INDEXES[name]
        there = next((index for index in table.indexes if index.name.lower() == name), None)
        beside = " CONCURRENTLY" if rows else ""
        if there is None and self.query(
            "SELECT FROM pg_class c JOIN pg_class t ON t.relnamespace = c.relnamespace "
            "WHERE c.relname = %s AND t.oid = to_regclass(%s)", (name, TABLE)
        ):  # fmt: skip
            raise Refused(f"the name {name} belongs to something else in the schema; rename or drop it first")
        if there and there.constraint:
            yield Change(f"drop constraint {name}", f"{alter} DROP CONSTRAINT {self.quote(there.name)}")
        elif there:
            yield Change(f"drop index {name}", f"DROP INDEX{beside} {self.quote(there.name)}", bool(rows))
        names = f"({', '.join(map(self.quote, columns))})"
        if rows or not unique:
            kind = "UNIQUE INDEX" if unique else "INDEX"
            statement = f"CREATE {kind}{beside} {self.quote(name)} ON {self.quote(TABLE)} {names}"
            yield Change(f"create {kind.lower()} {name}", statement, bool(rows))
        if unique:
            how = f"USING INDEX {self.quote(name)}" if rows else names
            yield Change(f"add constraint {name}", f"{alter} ADD CONSTRAINT {self.quote(name)} UNIQUE {how}")

    def _foreign_key(self, table: Table, each: Difference, alter: str, rows: int) -> Iterator[Change]:
        expected = declared_key(each.name)
        wrong = table.wrong_keys(expected)
        if wrong is not None:
            name = f"fk_{TABLE}_{each.name}"
            parts = [f"DROP CONSTRAINT {self.quote(key.name)}" for key in wrong]
            parts.append(
                f"ADD CONSTRAINT {self.quote(name)} FOREIGN KEY ({self.quote(each.name)}) "
                f"REFERENCES {self.quote(expected.table)} ({self.quote(expected.target[0])}) "
                f"ON DELETE CASCADE{' NOT VALID' * bool(rows)}"
            )
            yield Change(f"add the foreign key of {each.name}", f"{alter} {', '.join(parts)}")
            unchecked = [name] if rows else []
        else:
            unchecked = [key.name for key in table.foreign_keys if key.columns == (each.name,) and not key.valid]
        for name in unchecked:
            # Alone: in one transaction with its ADD, the scan would happen under that statement's lock.
            yield Change(
                f"validate the foreign key of {each.name}", f"{alter} VALIDATE CONSTRAINT {self.quote(name)}", True
            )

    # -- changing

    def exclusively(self, work: Callable[[], object]) -> object:
        """One transaction with the lock in it, tried again where a table lock is not to be had; or, for
        what cannot share a transaction, a lock of the session and each statement by itself."""

        def attempt() -> object:
            if self.online:
                with self._session_lock():
                    return work()
            try:
                with self.undone_with_errors(), self._transaction_lock():
                    return work()
            except _Online:
                self.online = True
                return attempt()

        return self.patiently(attempt, lambda error: _code(error) in _AGAIN and not self.in_transaction())

    @contextmanager
    def _transaction_lock(self) -> Iterator[None]:
        with self.transaction():
            before = self.query("SELECT current_setting('lock_timeout')")[0][0]
            self._set_lock_timeout(f"{min(_TRY, max(self.patience.left, 0.001)) * 1000:.0f}ms")
            if not self.query("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,))[0][0]:
                raise Busy
            yield
            self._set_lock_timeout(before)  # in the caller's transaction it would stay

    def _set_lock_timeout(self, value: str, local: bool = True) -> None:
        self.query("SELECT set_config('lock_timeout', %s, %s)", (value, local))

    @contextmanager
    def _session_lock(self) -> Iterator[None]:
        if self.in_transaction():
            raise Refused(
                "weekly_actuals holds rows, and its indexes and keys are added beside the writers, "
                "which cannot be done inside a transaction; run the migration outside of it"
            )
        if not self.query("SELECT pg_try_advisory_lock(%s)", (_LOCK,))[0][0]:
            raise Busy
        before = self.query("SELECT current_setting('lock_timeout')")[0][0]
        try:
            self._set_lock_timeout("0", False)  # a timeout would leave an INVALID index
            yield
        finally:
            if not self.database.is_closed() and self.database.is_connection_usable():
                self._set_lock_timeout(before, False)
                self.query("SELECT pg_advisory_unlock(%s)", (_LOCK,))

    def carry_out(self, changes: Iterable[Change]) -> None:
        changes = list(changes)
        if any(change.alone for change in changes) and self.in_transaction():
            raise _Online
        super().carry_out(changes)

    def execute(self, change: Change) -> None:
        if change.alone or self.in_transaction():
            self.database.execute_sql(self.literally(change.sql))
            return

        def attempt() -> None:  # beside writers: a short wait for the table lock, again and again
            with self.database.atomic():
                self._set_lock_timeout(f"{_TRY * 1000:.0f}ms")
                self.database.execute_sql(self.literally(change.sql))

        self.patiently(attempt, lambda error: _code(error) in _AGAIN)

    def progress(self) -> str:
        for phase, done, total in self.ask_beside(
            "SELECT phase, greatest(blocks_done, tuples_done), greatest(blocks_total, tuples_total) "
            "FROM pg_stat_progress_create_index WHERE datname = current_database() AND relid = to_regclass(%s)", TABLE
        ):  # fmt: skip
            return f", {phase}" + (f" ({100 * done // total} %)" if total else "")
        return ""

    # -- the smoke test

    @contextmanager
    def trial(self) -> Iterator[bool]:
        outer = self.in_transaction()
        with super().trial() as enforced:
            if not outer:  # in the caller's, it would check what is pending there
                self.database.execute_sql("SET CONSTRAINTS ALL IMMEDIATE")
            self._set_lock_timeout(f"{max(self.patience.left, 0.001) * 1000:.0f}ms")
            yield enforced

    # -- errors

    def is_lock_timeout(self, error: Exception) -> bool:
        return _code(error) == "55P03"

    def holders(self) -> str:
        try:
            held = [text for (text,) in self.query(_HOLDERS, (list(READ), _LOCK))]
        except peewee.DatabaseError:  # in a failed transaction nothing can be asked
            held = []
        return ", ".join(held) or "who held it is gone by now"

    def advice(self, error: Exception, text: str) -> str:
        user = self.quote(self.database.connect_params.get("user") or "the_user")
        if _code(error) == "42501":
            if "schema" in text:
                schema = self.quote(text.partition("schema ")[2].partition(" LINE ")[0])
                return f"; an administrator has to run: GRANT CREATE, USAGE ON SCHEMA {schema} TO {user}"
            if "owner" in text:
                return f"; an administrator has to run: ALTER TABLE {TABLE} OWNER TO {user}"
            rights, tables = "SELECT, INSERT, DELETE, REFERENCES", ", ".join(READ[TABLE not in text :])
            return f"; an administrator has to run: GRANT {rights} ON {tables} TO {user}"
        if "does not exist" in text and "database" in text:
            return "; check the name in the URL, or create it with createdb"
        if "password" in text:
            return "; check the user and the password in the URL"
        away = _code(error)[:2] in ("", "08", "53", "57")  # no answer, connection, resources, operator
        return "; check that the server runs and can be reached, then run again" if away else ""


_AGAIN = {"55P03", "40P01", "42P07", "42710", "23505"}  # lock timeout, deadlock, a peer was faster


def _code(error: Exception) -> str:
    """Return the SQLSTATE behind Peewee's exception, of psycopg 3 or psycopg2."""
    while isinstance(error, peewee.PeeweeException) and hasattr(error, "orig"):
        error = error.orig
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""


def _order(each: Difference) -> int:
    kinds = ("missing_column", "type", "default", "null", "not_null", "primary_key", "unique", "index", "foreign_key")
    return kinds.index(each.kind)


def _default_of(engine: Engine, column: str) -> str:
    return "DEFAULT " + column_ddl(engine, column).partition(" DEFAULT ")[2] if column == "uploaded_at" else ""
