"""The rehearsal: a plan's statements executed on a copy of the schema in memory.

    rehearse(catalog, plan, changes)

The copy has every table, index, view and trigger of the file, without rows and without
virtual tables. What the statements make of it is read back and compared with the
planned schema, and every view and trigger that could be compiled before must be
compiled afterwards. SQLite itself reports a broken view only when it is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import peewee

from migrations.engines.session import Row, logger
from migrations.engines.sqlite.catalog import SQLiteCatalog
from migrations.engines.sqlite.session import SQLiteSession
from migrations.errors import ChangeRefused, VerificationFailed
from migrations.plan import Plan
from migrations.report import Change
from migrations.schema import Column, Index, Table
from migrations.sql_text import one_line

# Tables before what is made of them, and views before their triggers.
_STORED = """
SELECT type, name, sql FROM (
    SELECT type, name, sql FROM main.sqlite_master
    WHERE sql IS NOT NULL AND NOT (type = 'table' AND rootpage = 0)
    UNION ALL
    SELECT type, name, 'CREATE TEMP' || substr(sql, 7) FROM sqlite_temp_master
    WHERE type = 'trigger')
ORDER BY instr('table index view trigger', type)"""


class _Probe(NamedTuple):
    """A statement that is only compiled, and what cannot be used if that fails."""

    subject: str
    sql: str


class _NotRehearsed(Exception):
    """The schema, or what a plan needs of it, cannot be copied; the text says why."""


def rehearse(catalog: SQLiteCatalog, plan: Plan, changes: Sequence[Change]) -> None:
    """Execute changes on a copy of the schema. Called while planning.

    Where a function or a collation of the application is not known to the copy, the
    log says so, and nothing is refused.

    :raises ChangeRefused: a statement fails, or something could not be used any more.
    :raises VerificationFailed: the statements do not lead to the planned schema.
    """
    stored = catalog.session.query(_STORED)
    session = catalog.session.in_memory()
    try:
        with session.connected():
            copy = _Copy(session, catalog.session, plan)
            copy.refuse_file()
            copy.create(stored)
            copy.execute(changes)
            copy.compare()
    except _NotRehearsed as reason:
        logger.info("  the plan was not rehearsed: %s", reason)
    finally:
        close_pool = getattr(session.database, "close_all", None)
        if close_pool is not None:
            close_pool()


class _Copy:
    """The schema in memory.

    :param session: on the database in memory.
    :param original: on the file.
    """

    def __init__(
        self, session: SQLiteSession, original: SQLiteSession, plan: Plan
    ) -> None:
        self.session = session
        self.original = original
        self.plan = plan
        self.changed = sorted({operation.table for operation in plan.operations})
        self.catalog = SQLiteCatalog(session)

    # -- before

    def refuse_file(self) -> None:
        """Make sure that the copy is in memory.

        A class of the application may open its file whatever it is told.
        """
        for _, name, file in self.session.query("PRAGMA database_list"):
            if name == "main" and file:
                raise _NotRehearsed(f"a database in memory became {file}")

    def create(self, stored: Sequence[Row]) -> None:
        """Execute the stored texts; leave out what this connection cannot create."""
        with self.session.pragmas(foreign_keys=0, legacy_alter_table=1):
            names = {name for _, name, _ in stored}
            if "sqlite_stat1" in names:
                self.session.database.execute_sql("ANALYZE")  # it makes that table
            for kind, name, sql in stored:
                if name.startswith("sqlite_"):
                    continue
                error = self._error_of(sql)
                if error and kind == "table" and name.lower() in self.changed:
                    raise _NotRehearsed(error)

    # -- the statements

    def execute(self, changes: Sequence[Change]) -> None:
        """Execute changes as a run does, and find out what they break."""
        probes = list(self._probes())
        # With foreign keys, a key of another table that refers to nothing is an error
        # that would hide those of triggers.
        errors = self._errors_of(probes, foreign_keys=0)
        errors_with_keys = self._errors_of(probes, foreign_keys=1)
        self.session.with_migration_lock(partial(self._execute_all, changes))
        self._refuse_new_errors(errors, self._errors_of(probes, foreign_keys=0))
        with_keys = self._errors_of(probes, foreign_keys=1)
        self._refuse_new_errors(errors_with_keys, with_keys)

    def _errors_of(
        self, probes: Sequence[_Probe], foreign_keys: int
    ) -> dict[_Probe, str]:
        """Return why each statement cannot be compiled, or ""."""
        with self.session.pragmas(foreign_keys=foreign_keys):
            return {probe: self._error_of(probe.sql) for probe in probes}

    def _refuse_new_errors(
        self, before: Mapping[_Probe, str], after: Mapping[_Probe, str]
    ) -> None:
        for probe, error in after.items():
            if error and not before[probe]:
                raise ChangeRefused(
                    f"{probe.subject} could not be used after the change ({error}), "
                    "nothing was changed; change or drop it, then run again"
                )

    def _execute_all(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.own_transaction:
                continue  # the session has set those pragmas
            error = self._error_of(change.sql)
            # This library may know less statistics than the one that made the file's.
            if error and "no such table: main.sqlite_stat" not in error:
                self._refuse(change, error)

    def _refuse(self, change: Change, error: str) -> None:
        if self.original.knows_what_is_missing(error):
            raise _NotRehearsed(error)
        advice = self.original.advice_about(error)
        if not advice:
            advice = "; change or drop what is in its way, then run again"
        raise ChangeRefused(
            f"{change.description} would fail ({error}), nothing was changed{advice}"
        )

    def _error_of(self, sql: str) -> str:
        """Execute a statement; return why it fails, or ""."""
        try:
            self.session.execute_literally(sql)
        except peewee.DatabaseError as error:
            return one_line(error)
        return ""

    # -- views and triggers

    def _probes(self) -> Iterator[_Probe]:
        """Yield statements that compile every view and every trigger."""
        quote = self.session.quote
        triggers: dict[str, list[str]] = {}
        for name, table in self.session.query(
            "SELECT name, tbl_name FROM main.sqlite_master WHERE type = 'trigger' "
            "UNION ALL SELECT name, tbl_name FROM sqlite_temp_master "
            "WHERE type = 'trigger'"
        ):
            triggers.setdefault(table, []).append(name)
        views = self.session.query(
            "SELECT name FROM main.sqlite_master WHERE type = 'view'"
        )
        for (name,) in views:
            yield _Probe(f"the view {name}", f"EXPLAIN SELECT * FROM {quote(name)}")
        for name in self.changed:
            if name in self.plan.current:
                triggers.setdefault(self.plan.current[name].name, [])
        for table, names in triggers.items():
            subject = f"the table {table}"
            if names:
                subject = f"the trigger {' or '.join(sorted(names))} of {table}"
            for sql in self._writing_statements(table):
                yield _Probe(subject, sql)

    def _writing_statements(self, table: str) -> Iterator[str]:
        """Yield statements that compile the triggers of a table or a view."""
        name = self.session.quote(table)
        yield f"EXPLAIN INSERT INTO {name} DEFAULT VALUES"
        yield f"EXPLAIN DELETE FROM {name}"
        columns = self.session.query(f"PRAGMA table_xinfo({name})")
        assignments = []
        for _, column, *_, hidden in columns:
            if not hidden:
                quoted = self.session.quote(column)
                assignments.append(f"{quoted} = {quoted}")
        yield f"EXPLAIN UPDATE {name} SET {', '.join(assignments)}"

    # -- after

    def compare(self) -> None:
        """Compare what the statements have made with the planned schema."""
        actual = self.catalog.read()
        planned = self.plan.planned
        differences: list[str] = []
        for name in self.changed:
            if name not in actual:
                differences.append(f"{name}: expected a table, found nothing")
            else:
                differences += self._differences(name, planned[name], actual[name])
        if differences:
            raise VerificationFailed(
                "the plan would leave differences, nothing was changed: "
                + "; ".join(differences)
            )

    def _differences(self, name: str, planned: Table, actual: Table) -> Iterator[str]:
        """Yield how a table differs from the planned one in what is declared of it."""
        yield from self._differences_of_columns(name, planned, actual)
        declared = self.catalog.declared_by_name(name)
        for index in declared.indexes:
            if not _has_equivalent(actual, index):
                yield f"{name}.{index.name}: expected {index}, found no such index"
        for key in declared.foreign_keys:
            if not any(key.equivalent(other) for other in actual.foreign_keys):
                yield f"{name}.{', '.join(key.columns)}: expected {key}"
        for check in declared.checks:
            if actual.check_named(check.name) is None:
                yield f"{name}.{check.name}: expected CHECK ({check.condition})"

    def _differences_of_columns(
        self, name: str, planned: Table, actual: Table
    ) -> Iterator[str]:
        if planned.primary_key != actual.primary_key:
            wanted, found = planned.primary_key, actual.primary_key
            yield f"{name}: expected PRIMARY KEY {wanted}, found {found}"
        for column_name, column in planned.columns.items():
            expected = self._described(column)
            existing = "no such column"
            if column_name in actual.columns:
                existing = self._described(actual.columns[column_name])
            if existing != expected:
                where = f"{name}.{column_name}"
                yield f"{where}: expected {expected}, found {existing}"

    def _described(self, column: Column) -> str:
        """Return what of a column has to be as planned."""
        text = column.type.category
        if not column.null:
            text += " NOT NULL"
        if column.default is not None:
            text += f" DEFAULT {self.catalog.default_meaning(column.default)}"
        return text


def _has_equivalent(table: Table, index: Index) -> bool:
    """Whether a table has an index that is right, whatever its name is."""
    for other in table.indexes:
        is_usable = other.covers_all_rows and (other.unique or not index.unique)
        if is_usable and other.columns == index.columns:
            return True
    return False
