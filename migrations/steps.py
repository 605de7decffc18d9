"""The steps of a phase on one database.

    call = Call(engine, requires)
    call.validate()
    call.create_or_repair()
    call.smoke_test()
    call.count_rows()
    call.report

Each step logs what it does and fills in its part of the report.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from db.url import describe
from migrations.comparison import Requires, compare, errors_of
from migrations.declaration import table_name
from migrations.engines.engine import Engine
from migrations.engines.session import logger
from migrations.errors import (
    ChangeRefused,
    IncompatibleTables,
    MigrationError,
    MissingTables,
    SmokeTestFailed,
    VerificationFailed,
)
from migrations.operations import DropTable
from migrations.report import Change, Difference, Report, SmokeTestSteps
from migrations.schema import Schema
from migrations.sql_text import plural

_MARKS = {"error": "✗", "warning": "!", "note": "-"}


class Call:
    """One call of a phase on one database: its steps, and the report they fill in."""

    def __init__(self, engine: Engine, requires: Requires) -> None:
        self.engine = engine
        self.session = engine.session
        self.requires = requires
        self.managed = engine.models.managed
        self.tables = ", ".join(self.managed)  # for messages
        self.started = time.perf_counter()
        self.report = Report("up_to_date", self.session.backend, self._database())
        self._logged: set[str] = set()

    def _database(self) -> str:
        return describe(self.session.database)

    def _update(self, **parts: object) -> None:
        """Fill in parts of the report."""
        duration = (time.perf_counter() - self.started) * 1000
        self.report = self.report._replace(
            duration_ms=duration,
            **parts,  # type: ignore[arg-type]
        )

    def finish(self) -> None:
        """Fill in what was executed. Called at the end of a call that succeeded."""
        executed = tuple(self.session.executed)
        if executed and self.report.status == "up_to_date":
            self._update(status="migrated")
        self._update(changes=self.report.changes or executed)

    def fail(self, error: MigrationError) -> None:
        """Fill in why the call failed."""
        text = {"type": type(error).__name__, "message": str(error)}
        executed = tuple(self.session.executed)
        self._update(status="failed", changes=executed, error=text)

    # -- validate

    def validate(self) -> None:
        """Compare the database with the models.

        :raises MigrationError: a difference that no run can repair.
        """
        logger.info("── Validate")
        self.session.retry_on_lock(self._read_and_compare)
        self._log_differences()
        self._refuse_what_cannot_be_repaired()

    def _read_and_compare(self) -> Schema:
        schema = self.engine.catalog.read()
        differences = compare(schema, self.engine.catalog, self.requires)
        self._update(differences=differences)
        return schema

    def _log_differences(self, level_of_errors: int = logging.INFO) -> None:
        """Log each difference once per call; what stops the run is in its error."""
        fatal = [
            each for each in self.report.differences if each.stops_with is not None
        ]
        if self.requires and not fatal:
            names = ", ".join(table_name(model) for model in self.requires)
            self._log_once(logging.INFO, f"✓ {names}")
        levels = {
            "error": level_of_errors,
            "warning": logging.WARNING,
            "note": logging.INFO,
        }
        for each in self.report.differences:
            if each not in fatal:
                text = f"{_MARKS[each.severity]} {each.message}"
                self._log_once(levels[each.severity], text)

    def _log_once(self, level: int, text: str) -> None:
        if text not in self._logged:
            self._logged.add(text)
            logger.log(level, "%s", text)

    def _refuse_what_cannot_be_repaired(self) -> None:
        errors = errors_of(self.report.differences)
        incompatible = self._incompatible_tables(errors)
        missing = [each.object for each in errors if each.stops_with is MissingTables]
        if missing:
            message = self._missing_tables(missing)
            if incompatible:
                message += f"; and {incompatible}"
            raise MissingTables(message)
        if incompatible:
            raise IncompatibleTables(incompatible)
        refused = [each.message for each in errors if each.stops_with is ChangeRefused]
        if refused:
            advice = "rename, convert or remove it, then run again"
            raise ChangeRefused(f"{'; '.join(refused)}; {advice}")

    def _incompatible_tables(self, errors: Iterable[Difference]) -> str:
        """Return a message about required tables that lack something, or ""."""
        messages = [
            each.message for each in errors if each.stops_with is IncompatibleTables
        ]
        if not messages:
            return ""
        return (
            f"{self._database()}: {self.tables} cannot be created or checked: "
            f"{'; '.join(messages)}; fix that by hand, then run again"
        )

    def _missing_tables(self, missing: list[str]) -> str:
        """Return a message about required tables that do not exist."""
        noun = "table" if len(missing) == 1 else "tables"
        message = f"{self._database()} lacks the {noun} {', '.join(missing)}; "
        command = self.engine.models.creation_command(missing)
        if command:
            return (
                f"{message}check the URL, or create what is missing with: "
                f"{command} --database {self._database()}"
            )
        return f"{message}check the URL, or create what is missing, then run again"

    # -- plan

    def plan(self) -> None:
        """Find out what a run would execute, and execute nothing of it.

        :raises MigrationError: what a run would raise.
        """
        logger.info("── Validate")
        schema = self.session.retry_on_lock(self._read_and_compare)
        try:
            self._refuse_what_cannot_be_repaired()
            changes = tuple(self.session.retry_on_lock(lambda: self._planned(schema)))
        except MigrationError:
            self._log_differences()
            raise
        # Work that was found is what a check is for, so it is shown with --quiet, too.
        self._log_differences(level_of_errors=logging.WARNING)
        if changes:
            script = tuple(self.session.script(changes))
            self._update(status="pending", changes=changes, script=script)
            number = plural(len(changes), "statement")
            logger.info("a run would execute %s", number)

    def _planned(self, schema: Schema) -> list[Change]:
        """Return the statements that repair the errors.

        :raises ChangeRefused: one cannot be repaired; nothing was executed.
        """
        errors = errors_of(self.report.differences)
        if not errors:
            return []
        self._refuse_case_variants(schema)
        # Imported only where something changes.
        from migrations.planning import make_plan
        from migrations.preflight import conflicts

        ddl = self.engine.ddl(schema)
        plan = make_plan(errors, schema, ddl, self.engine.catalog)
        found = list(conflicts(errors, plan, self.engine))
        if found:
            separator = " "
            if len(found) > 1:
                separator = "\n  "
            lines = separator.join(found)
            raise ChangeRefused(
                f"rows conflict with the change, nothing was changed:{separator}{lines}"
            )
        return ddl.statements(plan.operations)

    def _refuse_case_variants(self, schema: Schema) -> None:
        for name in self.managed:
            if name in schema:
                continue
            for other in self.engine.catalog.case_variants(name):
                raise ChangeRefused(
                    f"the table {other!r} differs from {name} only in case; rename one "
                    "of them, then run again"
                )

    # -- create or repair

    def create_or_repair(self) -> None:
        """Repair the errors that `validate` found, if any, and validate again.

        :raises VerificationFailed: differences are left after the changes.
        """
        errors = errors_of(self.report.differences)
        if errors:
            logger.info("── Migrate")
            self.session.with_migration_lock(self._repair_and_verify)
            if self.session.executed:  # otherwise another run was faster
                self._update(repaired=tuple(errors))
        self._log_result_of_validation()

    def _repair_and_verify(self) -> None:
        """Under the migration lock: read again, change what is left, validate again.

        Another run may have repaired it in the meantime.
        """
        schema = self._read_and_compare()
        self._refuse_what_cannot_be_repaired()
        changes = self._planned(schema)
        if not changes:
            return
        self.session.execute_all(changes)
        self._read_and_compare()
        left = errors_of(self.report.differences)
        if left:
            messages = "; ".join(each.message for each in left)
            raise VerificationFailed(
                f"after the changes there are still differences: {messages}"
            )

    def _log_result_of_validation(self) -> None:
        self._log_differences()
        warnings = [
            each for each in self.report.differences if each.severity == "warning"
        ]
        if warnings:
            number = plural(len(warnings), "warning")
            logger.warning("! %s: no errors, %s", self.tables, number)
            return
        verb = "is" if len(self.managed) == 1 else "are"
        logger.info("✓ %s %s as declared", self.tables, verb)

    # -- create only

    def create_missing(self) -> None:
        """Create the managed tables that are missing; leave the others as they are."""
        schema = self.session.retry_on_lock(self.engine.catalog.read)
        for name in self.managed:
            if name not in schema or not schema[name].kind.endswith("table"):
                logger.info("── Create")
                self.session.with_migration_lock(self._create)
                return

    def _create(self) -> None:
        schema = self.engine.catalog.read()
        # A view in place of a table is among them, and stops the run.
        missing = [
            each
            for each in compare(schema, self.engine.catalog, {})
            if each.expected == "a table" and not each.actual.endswith("table")
        ]
        self._update(differences=tuple(missing))
        self._refuse_what_cannot_be_repaired()
        self.session.execute_all(self._planned(schema))
        self._update(differences=(), repaired=tuple(missing))

    # -- roll back

    def roll_back(self, force: bool) -> None:
        """Drop the managed tables.

        :param force: drop tables that hold rows, too.
        :raises ChangeRefused: one holds rows, is not the phase's, or something depends
            on it.
        """
        logger.info("── Roll back")
        existing = self.session.retry_on_lock(self.engine.catalog.read)
        if not existing.keys().isdisjoint(self.managed):
            self.session.with_migration_lock(lambda: self._drop(force))
        if self.session.executed:
            self._update(status="rolled_back")
            logger.info("✓ dropped %s", self.tables)
        else:
            logger.info("there is no %s", self.tables)

    def _drop(self, force: bool) -> None:
        schema = self.engine.catalog.read()
        present = [name for name in self.managed if name in schema]
        self._refuse_to_drop(schema, present, force)
        drops = [DropTable(name) for name in reversed(present)]
        ddl = self.engine.ddl(schema)
        self.session.execute_all(ddl.statements(drops))
        left = [name for name in self.managed if name in self.engine.catalog.read()]
        if left:
            verb = "is" if len(left) == 1 else "are"
            tables = " and ".join(left)
            raise VerificationFailed(f"{tables} {verb} still there after the drop")

    def _refuse_to_drop(self, schema: Schema, present: list[str], force: bool) -> None:
        unrelated = [
            each.message
            for each in compare(schema, self.engine.catalog, {})
            if each.stops_with is ChangeRefused
        ]
        if unrelated:
            messages = "; ".join(unrelated)
            raise ChangeRefused(f"{messages}; it is not managed by this phase")
        if not force:
            self._refuse_to_drop_rows(present)
        dependents: list[str] = []
        for name in present:
            for dependent in self.engine.catalog.dependents(name):
                if dependent not in dependents:
                    dependents.append(dependent)
        if dependents:
            verb = "depends" if len(dependents) == 1 else "depend"
            raise ChangeRefused(
                f"the {' and the '.join(dependents)} {verb} on "
                f"{' and '.join(present)}; drop that first"
            )

    def _refuse_to_drop_rows(self, present: list[str]) -> None:
        held = []
        for name in present:
            count = self.engine.catalog.count(name)
            if count:
                held.append(f"{name} holds {plural(count, 'row')}")
        if held:
            raise ChangeRefused(
                f"{' and '.join(held)}; save them, or drop them too with --force "
                "(force=True)"
            )

    # -- look for orphans

    def look_for_orphans(self, thorough: bool) -> None:
        """Report rows that violate a foreign key; they are never deleted."""
        if not thorough and not self.engine.catalog.may_hold_orphans():
            return
        from migrations.orphans import OrphanCheck, find_orphans

        def look() -> OrphanCheck:
            schema = self.engine.catalog.read()
            return find_orphans(schema, self.engine, thorough)

        found = self.session.retry_on_lock(look)
        for each in found.warnings:
            logger.warning("! %s", each.message)
        differences = (*self.report.differences, *found.warnings)
        self._update(differences=differences, orphan_checks_skipped=found.skipped)

    # -- smoke test

    def smoke_test(self) -> None:
        """Test the tables with rows that are rolled back.

        :raises SmokeTestFailed: a step did not hold.
        """
        from migrations.smoke_test import smoke_test

        logger.info("── Smoke test")
        steps = self.session.retry_on_lock(lambda: smoke_test(self.engine))
        self._log_smoke_test(steps)
        self._update(smoke_test=steps)
        failed = [step for step, held in steps.items() if held is False]
        if failed:
            where = f"{self.tables} in {self._database()}"
            raise SmokeTestFailed(f"{where} failed the smoke test: {', '.join(failed)}")

    def _log_smoke_test(self, steps: SmokeTestSteps) -> None:
        for step, held in steps.items():
            if held is None:
                logger.warning("- %s: not tried", step)
            elif held:
                logger.info("✓ %s", step)
            else:
                logger.error("✗ %s", step)

    # -- statistics

    def count_rows(self, exact: bool) -> None:
        """Count the rows of all tables of the phase.

        :param exact: count every row, however long it takes.
        """
        from migrations.statistics import count_rows

        logger.info("── Statistics")
        counts = {}
        estimated = []
        names = list(self.engine.models.by_table)
        width = max(17, *(len(name) for name in names))
        for name in names:
            count = count_rows(self.engine, name, exact)
            counts[name] = count.rows
            text = plural(count.rows, "row")
            if count.is_estimate:
                estimated.append(name)
                text = f"~{text}"
            logger.info("%-*s %s", width, name, text)
        self._update(row_counts=counts, estimated_counts=tuple(estimated))
