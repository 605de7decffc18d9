"""PostgreSQL: it reads the catalogue, makes changes beside readers and writers, and says what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import peewee

from db.url import describe
from migrations.declaration import Model
from migrations.engines.base import Result
from migrations.engines.patience import Busy
from migrations.engines.postgresql import catalogue, questions, values
from migrations.engines.postgresql.keys import CONCURRENTLY
from migrations.engines.postgresql.session import LOCK, Session
from migrations.engines.postgresql.statements import PostgreSQLStatements
from migrations.operations import AlterColumn, Operation
from migrations.report import Change
from migrations.schema import Column, Schema, Table, Type, literal

if TYPE_CHECKING:
    from migrations.engines.postgresql.samples import Samples

_AGAIN = {"55P03", "40P01", "42P07", "42710", "23505"}  # lock timeout, deadlock, a peer was faster
_MEANINGS: dict[tuple[object, ...], Schema] = {}  # by the fingerprint of the catalogue
_MET: set[tuple[str, tuple[str, ...]]] = set()  # databases that have been read
_WRITTEN: dict[Model, Table] = {}
_REMEMBERED = 64  # databases, more or less


class _Online(Exception):
    """The changes cannot share a transaction."""


class PostgreSQL(Session):
    """A PostgreSQL database; CockroachDB by its likeness, untested."""

    backend = "postgresql"
    statements_class = PostgreSQLStatements
    parse_type = staticmethod(catalogue.parse_type)

    # -- reading

    def read(self) -> Schema:
        schema = self._read()
        while any(not index.valid for name in self.builds if name in schema for index in schema[name].indexes):
            # IF NOT EXISTS would be content with it; but a peer may be building it just now.
            if not self.query(questions.BUILDING, (list(self.builds),)):
                break
            if self.patience.left <= 0:
                raise Busy
            self.patience.pause()
            schema = self._read()
        return schema

    def _read(self) -> Schema:
        """Read the tables, or from the second time on remember what the same catalogue meant.

        In a transaction all that it wrote bears the same number, and nothing can be told apart by it.
        """
        names = tuple(self.models)
        met = describe(self.database), names
        if self.in_transaction() or met not in _MET:
            _MET.add(met)
            return self._tables(names)
        found = catalogue.fingerprint(self.query, names)
        if found not in _MEANINGS:
            schema = self._tables(names)
            if catalogue.fingerprint(self.query, names) != found:
                return schema
            if len(_MEANINGS) >= _REMEMBERED:
                _MEANINGS.clear()
            _MEANINGS[found] = schema
        return dict(_MEANINGS[found])

    def _tables(self, names: Sequence[str]) -> Schema:
        if not self.in_transaction():
            return catalogue.tables(self.query, names, self.limits()["lock_timeout"])
        with self.limited():
            return catalogue.tables(self.query, names)

    def table(self, name: str) -> Table | None:
        return self._tables([name]).get(name)

    def texts(self, sql: str, *params: object) -> list[str]:
        """Return the texts that a query finds."""
        return [text for (text, *_) in self.query(sql, params)]

    def declared(self, model: Model) -> Table:
        if model not in _WRITTEN:
            table = super().declared(model)
            _WRITTEN[model] = table._replace(columns={k: self._written(each) for k, each in table.columns.items()})
        return _WRITTEN[model]

    def _written(self, column: Column) -> Column:
        """Return a column whose default reads as PostgreSQL will write it: of '8:00' it makes '08:00:00'."""
        if not (column.default or "").startswith("'") or "string" in column.type.family:
            return column
        sql = f"SELECT CAST({column.default} AS {values.sql_of(column.type)})::text"
        ((text,),) = self.query(self.literally(sql))
        bare = column.type.family in ("integer", "float", "decimal", "boolean")
        return column._replace(default=text if bare else literal(text))

    def default_meaning(self, default: str) -> str:
        return catalogue.default_meaning(default)

    def lookalikes(self, name: str) -> list[str]:
        return self.texts(questions.LOOKALIKES, name, name, name)  # a peer may have made ours by now

    def dependents(self, name: str) -> list[str]:
        return self.texts(questions.DEPENDENTS, name, name, name, list(self.builds))

    # -- rows

    def unconvertible(self, value: str, source: Type, target: Type) -> str:
        return values.unconvertible(value, source, target)

    def typed(self, value: str, type_: Type) -> str:
        return f"CAST({value} AS {values.sql_of(type_)})"

    def may_hold_orphans(self) -> bool:
        return False  # a validated foreign key has none, and one that is not is a difference

    def estimate(self, table: str) -> int | None:
        ((rows,),) = self.query(questions.ESTIMATE, (table, table))
        return rows and int(rows)

    # -- planning

    def refined(self, operations: Sequence[Operation], schema: Schema) -> Sequence[Operation]:
        # By itself, PostgreSQL makes a key anew only as long as both its ends can be compared.
        self.keys_hold_types = any(
            isinstance(each, AlterColumn) and "type" in each.what and each.actual.type.family != each.column.type.family
            for each in operations
        )
        return operations

    def script(self, changes: Sequence[Change]) -> list[str]:
        lines = [r"\set ON_ERROR_STOP on"]
        if any("\\" in change.sql for change in changes):
            lines.append("SET standard_conforming_strings = on;")
        for group in _grouped(changes):
            alone = CONCURRENTLY in group[0].sql
            limits = ("lock_timeout", "0" if alone else "'200ms'"), ("statement_timeout", "0")
            lines += [] if alone else ["BEGIN;"]
            lines += [f"SET {'' if alone else 'LOCAL '}{name} = {value};" for name, value in limits]
            for change in group:
                lines += [f"-- holds up {change.holds_up} until it is done"] if change.holds_up else []
                lines.append(f"{change.sql};")
            lines += [f"RESET {name};" for name, _ in limits] if alone else ["COMMIT;"]
        return lines

    # -- changing

    def exclusively(self, work: Callable[[], Result]) -> Result:
        """One transaction with the lock in it, tried again where a table lock is not to be had; or, for what
        cannot share a transaction, the lock beside, and each step by itself."""

        def attempt() -> Result:
            if self.online:
                with self.locked_beside():
                    return work()
            try:
                with self.briefly():
                    self.lock(self.database)
                    return work()
            except _Online:
                self.online = True
                return attempt()

        return self.patiently(attempt, self._gave_way)

    def _gave_way(self, error: Exception) -> bool:
        return code_of(error) in _AGAIN and not self.in_transaction()

    def carry_out(self, changes: Iterable[Change]) -> None:
        changes = list(changes)
        if self.in_transaction():
            if any(change.alone for change in changes):
                raise _Online
            super().carry_out(changes)
            return
        for group in _grouped(changes):
            if CONCURRENTLY in group[0].sql:
                with self.unlimited():
                    super().carry_out(group)
            else:
                self.patiently(partial(self._together, group), self._gave_way)

    def _together(self, changes: Sequence[Change]) -> None:
        with self.briefly():
            super().carry_out(changes)

    def execute(self, change: Change) -> None:
        with self.cancelled_with_us():
            super().execute(change)

    def progress(self) -> tuple[str, float | None]:
        with self.beside() as other:
            for phase, done, total in other.execute_sql(questions.BUILDING, (list(self.builds),)).fetchall():
                return phase, done / total if total else None
        return "", None

    # -- the smoke test

    @contextmanager
    def trial(self) -> Iterator[bool]:
        self._outer = self.in_transaction()
        with super().trial() as enforced:
            if not self._outer:  # in the caller's, it would check what is pending there
                self.database.execute_sql("SET CONSTRAINTS ALL IMMEDIATE")
            self.configure(self.database, self.limits())
            yield enforced

    def enforces_keys(self) -> bool:
        return self.texts("SELECT current_setting('session_replication_role')") != ["replica"]

    def checked_at_commit(self, table: str) -> bool:
        return self._outer and bool(self.texts(questions.DEFERRABLE, table))

    def samples(self) -> Samples:
        from migrations.engines.postgresql.samples import Samples

        return Samples(self)

    # -- errors

    def is_lock_timeout(self, error: Exception) -> bool:
        return code_of(error) == "55P03"

    def holders(self) -> str:
        try:
            held = self.texts(questions.HOLDERS, list(self.models), LOCK)
        except peewee.DatabaseError:  # in a failed transaction nothing can be asked
            held = []
        return ", ".join(held) or "who held it is gone by now"

    def advice(self, error: Exception, text: str) -> str:
        user = self.quote(self.database.connect_params.get("user") or "the_user")
        if code_of(error) == "42501":
            return f"; an administrator has to run: {self._grant(user, text)}"
        if "statement timeout" in text:
            advice = (
                f"connect to the server itself, not to a pooler, or run: ALTER ROLE {user} SET statement_timeout = 0"
            )
            return f"; {advice}"
        if "does not exist" in text and "role" in text:
            return "; check the user in the URL, or create it with createuser"
        if "does not exist" in text and "database" in text:
            return "; check the name in the URL, or create it with createdb"
        if "password" in text:
            return "; check the user and the password in the URL"
        away = code_of(error)[:2] in ("", "08", "53", "57")  # no answer, connection, resources, operator
        return "; check that the server runs and can be reached, then run again" if away else ""

    def _grant(self, user: str, text: str) -> str:
        """Return the statement that gives a user the right that an error says is missing."""
        if "row-level security" in text:
            return f"ALTER ROLE {user} BYPASSRLS"  # who does not see every row cannot count them
        if "schema" in text:
            schema = self.quote(text.partition("schema ")[2].partition(" LINE ")[0])
            return f"GRANT CREATE, USAGE ON SCHEMA {schema} TO {user}"
        ours = [name for name in self.builds if name in text]
        if "owner" in text:
            return f"ALTER TABLE {self.quote((ours or self.builds)[0])} OWNER TO {user}"
        tables = [name for name in self.models if ours or name not in self.builds]
        _, of, denied = text.partition("denied for table ")
        tables = list(dict.fromkeys([*tables, *denied.split()[:1]])) if of else tables
        return f"GRANT SELECT, INSERT, DELETE, REFERENCES ON {', '.join(map(self.quote, tables))} TO {user}"


def _grouped(changes: Sequence[Change]) -> list[list[Change]]:
    """Return changes by transaction: all in one, unless there are some that stand alone; what holds others
    up holds no lock but its own then."""
    groups: list[list[Change]] = []
    alone = any(change.alone for change in changes)
    closed = True
    for change in changes:
        by_itself = alone and bool(change.alone or change.holds_up)
        if closed or by_itself:
            groups.append([])
        groups[-1].append(change)
        closed = by_itself
    return groups


def code_of(error: Exception) -> str:
    """Return the SQLSTATE behind Peewee's exception, of psycopg 3 or psycopg2."""
    while isinstance(error, peewee.PeeweeException) and hasattr(error, "orig"):
        error = error.orig
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
