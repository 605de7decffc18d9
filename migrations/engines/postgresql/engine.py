"""PostgreSQL: it reads the catalogue, makes changes beside readers and writers, and says what went wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from itertools import groupby

import peewee

from db.url import describe
from migrations.engines.base import Busy, Result
from migrations.engines.postgresql import catalogue, questions, values
from migrations.engines.postgresql.session import LOCK, TRY, Session
from migrations.engines.postgresql.statements import CONCURRENTLY, PostgreSQLStatements
from migrations.operations import AlterColumn, Operation
from migrations.report import Change
from migrations.schema import Column, Schema, Type, literal

_AGAIN = {"55P03", "40P01", "42P07", "42710", "23505"}  # lock timeout, deadlock, a peer was faster
_MET: dict[object, tuple[object, Schema]] = {}  # by database and tables: the catalogue's fingerprint, what it meant
_ADMINISTRATOR = "an administrator has to run: "
_ADVICE = {  # by what the text of an error has; {name} is what the pattern names
    "row-level security": _ADMINISTRATOR + "ALTER ROLE {user} BYPASSRLS",  # who does not see every row cannot count
    "for schema (.*?)($| LINE )": _ADMINISTRATOR + "GRANT CREATE, USAGE ON SCHEMA {name} TO {user}",
    "must be owner": _ADMINISTRATOR + "ALTER TABLE {built} OWNER TO {user}",
    "denied for table ([^ ]+)": _ADMINISTRATOR + "GRANT SELECT, INSERT, DELETE, REFERENCES ON {name}{others} TO {user}",
    "statement timeout": "connect to the server itself, not to a pooler, or run: "
    "ALTER ROLE {user} SET statement_timeout = 0",
    "read-only transaction": "connect to the primary, or run: "
    "ALTER ROLE {user} SET default_transaction_read_only = off",
    "too many connections|connection slots": "a run takes up to two; close some, or raise the limit",
    "only permanent tables": "run ALTER TABLE … SET LOGGED on what it refers to",
    "role .* does not exist": "check the user in the URL, or create it with createuser",
    "database .* does not exist": "check the name in the URL, or create it with createdb",
    "password": "check the user and the password in the URL",
}


class _Online(Exception):
    """The changes cannot share a transaction."""


class PostgreSQL(Session):
    """A PostgreSQL database; CockroachDB by its likeness, untested."""

    backend = "postgresql"
    statements_class = PostgreSQLStatements
    parse_type = staticmethod(catalogue.parse_type)
    default_meaning = staticmethod(catalogue.default_meaning)
    unconvertible = staticmethod(values.unconvertible)

    # -- reading

    def read(self) -> Schema:
        schema = self._read()
        unfinished = any(not index.valid for name in self.builds if name in schema for index in schema[name].indexes)
        if unfinished and self.query(questions.BUILDING, ([*self.builds],)):
            raise Busy  # IF NOT EXISTS would be content with what a peer is building just now
        return schema

    def _read(self) -> Schema:
        """Read the tables, or from the second time on remember what the same catalogue meant.

        In a transaction all that it wrote bears the same number, and nothing can be told apart by it.
        """
        names = tuple(self.models)
        if self.in_transaction():
            return self.tables(names)
        place = describe(self.database), names
        met = _MET.get(place)
        found = catalogue.fingerprint(self.query, names) if met else None
        if not met or met[0] != found:
            met = _MET[place] = found, self.tables(names)
        return dict(met[1])

    def tables(self, names: Iterable[str]) -> Schema:
        with self.limited() if self.in_transaction() else nullcontext():
            return catalogue.tables(self.query, [*names], self.ours())

    def written(self, column: Column) -> Column:
        if not re.match(r"['\d-]", column.default or "") or "string" in column.type.family:
            return column
        # PostgreSQL rounds a default to the digits of its column only once a row takes it.
        type_ = "numeric" if column.type.family == "decimal" else values.sql_of(column.type)
        with self.limited():
            (text,) = self.texts(self.literally(f"SELECT CAST({column.default} AS {type_})::text"))
        quoted = str(column.default).startswith("'")
        return column._replace(default=f"{literal(text)}::{type_}" if quoted else text)

    def lookalikes(self, name: str) -> list[str]:
        return self.texts(questions.LOOKALIKES, name, name)  # a peer may have made ours by now

    def dependents(self, name: str) -> list[str]:
        return self.texts(questions.DEPENDENTS, name, [*self.builds])

    # -- rows

    def typed(self, value: str, type_: Type) -> str:
        return f"CAST({value} AS {values.sql_of(type_)})"

    def may_hold_orphans(self) -> bool:
        return False  # but what was loaded with triggers off; a key that was never validated is a difference

    def estimate(self, table: str) -> int | None:
        ((rows,),) = self.query(questions.ESTIMATE, (table, table))
        return rows  # type: ignore[no-any-return]

    # -- planning

    def refined(self, operations: Sequence[Operation], schema: Schema) -> Sequence[Operation]:
        # By itself, PostgreSQL makes a key anew only as long as both its ends can be compared.
        retyped = [each for each in operations if isinstance(each, AlterColumn) and "type" in each.what]
        self.keys_hold_types = any(each.actual.type.family != each.column.type.family for each in retyped)
        return operations

    def script(self, changes: Sequence[Change]) -> list[str]:
        lines = [r"\set ON_ERROR_STOP on"]
        if any("\\" in change.sql for change in changes):
            lines.append("SET standard_conforming_strings = on;")
        for group in _grouped(changes):
            alone = CONCURRENTLY in group[0].sql
            local, wait = ("", "0") if alone else ("LOCAL ", "'200ms'")
            lines += [] if alone else ["BEGIN;"]
            lines += [f"SET {local}lock_timeout = {wait};", f"SET {local}statement_timeout = 0;"]
            for change in group:
                lines += [f"-- holds up {change.holds_up} until it is done"] if change.holds_up else []
                lines.append(f"{change.sql};")
            lines += ["RESET lock_timeout;", "RESET statement_timeout;"] if alone else ["COMMIT;"]
        return lines

    # -- changing

    def exclusively(self, work: Callable[[], Result]) -> Result:
        """One transaction with the lock in it, tried again where a table lock is not to be had; or, for what
        cannot share a transaction, the lock beside, and each step by itself."""

        @self.limited(brief=True)
        def together() -> Result:
            self.lock(self.database)
            return work()

        try:
            return self.patiently(together)
        except _Online:
            return self.patiently(self.locked_beside()(work))

    def was_aborted(self, error: Exception) -> bool:
        if code_of(error) not in _AGAIN or self.in_transaction():
            return False
        # An autovacuum gives way to who has waited for a deadlock's time; one against wraparound never does.
        gives_way = [] if self.brief > TRY else self.query(questions.AUTOVACUUM, ([*self.models],))
        self.brief = TRY + max((seconds for (seconds,) in gives_way), default=0.0)
        return True

    def carry_out(self, changes: Iterable[Change]) -> None:
        changes, made = list(changes), super().carry_out
        if self.in_transaction():
            if any(change.alone for change in changes):
                raise _Online
            made(changes)
            return
        for group in _grouped(changes):
            if CONCURRENTLY in group[0].sql:
                self.unlimited()(made)(group)
            else:
                self.patiently(partial(self.limited(brief=True)(made), group))

    def progress(self) -> tuple[str, float | None]:
        with self.beside() as other:
            for phase, done, total in other.execute_sql(questions.BUILDING, ([*self.builds],)).fetchall():
                return phase, done / total if total else None
        return "", None

    # -- the smoke test

    @contextmanager
    def trial(self) -> Iterator[bool]:
        with super().trial():
            self.database.execute_sql("SET CONSTRAINTS ALL IMMEDIATE")
            # By an index in a short table, too; the price of what has none would wake the compiler of expressions.
            self.configure(self.database, self.ours(enable_seqscan="off", jit="off"))
            yield self.texts("SELECT current_setting('session_replication_role')") != ["replica"]

    # -- errors

    def is_lock_timeout(self, error: Exception) -> bool:
        return code_of(error) == "55P03"

    def holders(self) -> str:
        held: list[str] = []
        with suppress(peewee.DatabaseError):  # in a failed transaction nothing can be asked
            held = self.texts(questions.HOLDERS, [*self.models], LOCK)
        return ", ".join(held) or "who held it is gone by now"

    def advice(self, error: Exception, text: str) -> str:
        ours = [name for name in self.builds if name in text]
        words = {"user": self.database.connect_params.get("user") or "the_user", "built": (ours or self.builds)[0]}
        for pattern, advice in _ADVICE.items():
            if found := re.search(pattern, text):
                words["name"] = found[1] if found.re.groups else ""
                others = [name for name in self.models if (ours or name not in self.builds) and name != words["name"]]
                quoted = {key: self.quote(word) for key, word in words.items()}
                return "; " + advice.format(**quoted, others="".join(f", {self.quote(name)}" for name in others))
        away = code_of(error)[:2] in ("", "08", "53", "57")  # no answer, connection, resources, operator
        return "; check that the server runs and can be reached, then run again" if away else ""


def _grouped(changes: Sequence[Change]) -> list[list[Change]]:
    """Return changes by transaction: all in one, unless there are some that stand alone; what holds others
    up holds no lock but its own then."""
    online = any(change.alone for change in changes)
    numbered = enumerate(changes)
    groups = groupby(numbered, lambda each: each[0] if online and (each[1].alone or each[1].holds_up) else None)
    return [[change for _, change in group] for _, group in groups]


def code_of(error: Exception) -> str:
    """Return the SQLSTATE behind Peewee's exception, of psycopg 3 or psycopg2."""
    while isinstance(original := getattr(error, "orig", None), Exception):
        error = original
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
