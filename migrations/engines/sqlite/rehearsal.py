"""The rehearsal: a plan's statements executed on a copy of the schema in memory.

    rehearse(catalog, plan, changes)

The copy has every table, index, view and trigger of the file, without rows. What the
statements make of it is read back and compared with the planned schema, and every view
and trigger that could be compiled before must be compiled afterwards. SQLite itself
reports a broken view only when it is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from migrations.engines.session import logger
from migrations.engines.sqlite.catalog import SQLiteCatalog
from migrations.engines.sqlite.schema_copy import NotCopied, copy_of_schema, error_of
from migrations.engines.sqlite.session import SQLiteSession
from migrations.engines.sqlite.table_text import name_key
from migrations.errors import ChangeRefused, VerificationFailed
from migrations.plan import Plan
from migrations.report import Change
from migrations.schema import Column, Index, Table


class _Probe(NamedTuple):
    """A statement that is only compiled, and what cannot be used if that fails."""

    subject: str  # under the names after the plan
    kind: str
    sql: str


# Why probes fail, or "", by their subjects and kinds.
_Errors = Mapping[tuple[str, str], str]


def rehearse(catalog: SQLiteCatalog, plan: Plan, changes: Sequence[Change]) -> None:
    """Execute changes on a copy of the schema. Called while planning.

    Where a function or a collation of the application is not known to the copy, the
    log says so, and nothing is refused.

    :raises ChangeRefused: a statement fails, or something could not be used any more.
    :raises VerificationFailed: the statements do not lead to the planned schema.
    """
    try:
        with copy_of_schema(catalog.session) as copied:
            copy = _Copy(copied.session, catalog.session, plan)
            copy.refuse_missing_tables(copied.missing)
            copy.execute(changes)
            copy.compare()
    except NotCopied as reason:
        logger.info("  the plan was not rehearsed: %s", reason)


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

    def refuse_missing_tables(self, missing: Mapping[str, str]) -> None:
        """Rehearse nothing if the copy lacks a table that changes.

        :param missing: by the lower-case name of a table, why it is not there.
        """
        for name in self.changed:
            table = self.plan.current.get(name)
            if table is None:
                continue
            key = name_key(table.current_name)
            if key in missing:
                raise NotCopied(missing[key])

    # -- the statements

    def execute(self, changes: Sequence[Change]) -> None:
        """Execute changes as a run does, and find out what they break."""
        probes = list(self._probes(self._new_names()))
        # With foreign keys, a key of another table that refers to nothing is an error
        # that would hide those of triggers.
        errors = self._errors_of(probes, foreign_keys=0)
        errors_with_keys = self._errors_of(probes, foreign_keys=1)
        self.session.with_migration_lock(partial(self._execute_all, changes))
        probes = list(self._probes({}))
        self._refuse_new_errors(errors, self._errors_of(probes, foreign_keys=0))
        with_keys = self._errors_of(probes, foreign_keys=1)
        self._refuse_new_errors(errors_with_keys, with_keys)

    def _new_names(self) -> dict[str, str]:
        """Return the new names of the tables that are renamed, by the old ones."""
        renamed = {}
        for name, table in self.plan.current.items():
            if table.old_name:
                renamed[table.old_name] = name
        return renamed

    def _errors_of(
        self, probes: Sequence[_Probe], foreign_keys: int
    ) -> dict[tuple[str, str], str]:
        """Return why each statement cannot be compiled, or ""."""
        errors = {}
        with self.session.pragmas(foreign_keys=foreign_keys):
            for probe in probes:
                error = error_of(self.session, probe.sql)
                errors[(probe.subject, probe.kind)] = error
        return errors

    def _refuse_new_errors(self, before: _Errors, after: _Errors) -> None:
        for probe, error in after.items():
            if error and not before.get(probe):
                subject, _ = probe
                raise ChangeRefused(
                    f"{subject} could not be used after the change ({error}), "
                    "nothing was changed; change or drop it, then run again"
                )

    def _execute_all(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.own_transaction:
                continue  # the session has set those pragmas
            error = error_of(self.session, change.sql)
            # This library may know less statistics than the one that made the file's.
            if error and "no such table: main.sqlite_stat" not in error:
                self._refuse(change, error)

    def _refuse(self, change: Change, error: str) -> None:
        if self.original.knows_what_is_missing(error):
            raise NotCopied(error)
        advice = self.original.advice_about(error)
        if not advice:
            advice = "; change or drop what is in its way, then run again"
        raise ChangeRefused(
            f"{change.description} would fail ({error}), nothing was changed{advice}"
        )

    # -- views and triggers

    def _probes(self, new_names: Mapping[str, str]) -> Iterator[_Probe]:
        """Yield statements that compile every view and every trigger.

        :param new_names: of the tables that are still to be renamed.
        """
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
            sql = f"EXPLAIN SELECT * FROM {quote(name)}"
            yield _Probe(f"the view {name}", "select", sql)
        old_names = {new: old for old, new in new_names.items()}
        for name in self.changed:
            if name in self.plan.current:
                table_name = self.plan.current[name].name
                triggers.setdefault(old_names.get(table_name, table_name), [])
        for table, names in triggers.items():
            new_name = new_names.get(table, table)
            subject = f"the table {new_name}"
            if names:
                subject = f"the trigger {' or '.join(sorted(names))} of {new_name}"
            for kind, sql in self._writing_statements(table):
                yield _Probe(subject, kind, sql)

    def _writing_statements(self, table: str) -> Iterator[tuple[str, str]]:
        """Yield statements that compile the triggers of a table or a view."""
        name = self.session.quote(table)
        yield "insert", f"EXPLAIN INSERT INTO {name} DEFAULT VALUES"
        yield "delete", f"EXPLAIN DELETE FROM {name}"
        columns = self.session.query(f"PRAGMA table_xinfo({name})")
        assignments = []
        for _, column, *_, hidden in columns:
            if not hidden:
                quoted = self.session.quote(column)
                assignments.append(f"{quoted} = {quoted}")
        yield "update", f"EXPLAIN UPDATE {name} SET {', '.join(assignments)}"

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
            if not self._has_equivalent(actual, index):
                yield f"{name}.{index.label}: expected {index}, found no such index"
        for key in declared.foreign_keys:
            if not any(key.equivalent(other) for other in actual.foreign_keys):
                yield f"{name}.{', '.join(key.columns)}: expected {key}"
        for check in declared.checks:
            if self.catalog.matching_check(actual, check) is None:
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
                made = actual.columns[column_name]
                if self.catalog.same_default(column, made.default or "NULL"):
                    made = made._replace(default=column.default)
                existing = self._described(made)
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

    def _has_equivalent(self, table: Table, index: Index) -> bool:
        """Whether a table has an index that is right, whatever its name is."""
        for other in table.indexes:
            if self.catalog.is_equivalent(table, index, other):
                return True
        return False
