"""The steps of a phase on one database.

    call = PhaseCall(engine, requires)
    found = call.validate()
    call.create_or_repair(found)
    call.smoke_test()
    call.count_rows(exact=False)
    call.report

Each step logs what it does and records its part of the report. What one step needs of
another is an argument.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import peewee

from db.plurals import plural
from db.url import describe
from migrations.comparison import Requires, compare, errors_of, shares_columns
from migrations.declaration import table_name
from migrations.drops import left_guards
from migrations.engines.engine import Engine
from migrations.engines.session import ValueWritten, logger
from migrations.errors import (
    ChangeRefused,
    MigrationError,
    SmokeTestFailed,
    VerificationFailed,
)
from migrations.operations import (
    CreateTable,
    DropColumn,
    DropForeignKey,
    DropTable,
    ForbidRows,
    Operation,
)
from migrations.refusals import refuse_what_cannot_be_repaired
from migrations.report import Change, Difference, Report, SmokeTestSteps
from migrations.schema import Schema, no_value

_COUNTED_VALUES = 10_000  # of a column that is to be dropped; each run counts them
_ATTEMPTS = 5  # of a run or a rollback that finds what others have written meanwhile
_MARKS = {"error": "✗", "warning": "!", "note": "-"}


class Comparison(NamedTuple):
    """The tables of a phase at one moment, and how they differ from the models."""

    schema: Schema
    differences: tuple[Difference, ...]

    @property
    def errors(self) -> list[Difference]:
        """The differences that have to be repaired, or stop the run."""
        return errors_of(self.differences)


class PhaseCall:
    """One call of a phase on one database: its steps, and the report of them.

    :param drops_values: whether columns are dropped that hold values.
    """

    def __init__(
        self, engine: Engine, requires: Requires, drops_values: bool = False
    ) -> None:
        self.engine = engine
        self.drops_values = drops_values
        self.session = engine.session
        self.requires = requires
        self.managed = engine.models.managed
        self.tables = ", ".join(self.managed)  # for messages
        self.database_url = describe(self.session.database)
        self.started = time.perf_counter()
        self.report = Report("up_to_date", self.session.backend, self.database_url)
        self._logged: set[str] = set()

    def finish(self) -> None:
        """Complete the report of a call that succeeded."""
        executed = tuple(self.session.executed)
        if executed:
            self.report = self.report._replace(changes=executed)
        if executed and self.report.status == "up_to_date":
            self.report = self.report._replace(status="migrated")
        self._record_duration()

    def fail(self, error: MigrationError) -> None:
        """Complete the report of a call that failed."""
        self.report = self.report._replace(
            status="failed",
            changes=tuple(self.session.executed),
            error={"type": type(error).__name__, "message": str(error)},
        )
        self._record_duration()

    def _record_duration(self) -> None:
        duration = (time.perf_counter() - self.started) * 1000
        self.report = self.report._replace(duration_ms=duration)

    # -- validate

    def validate(self) -> Comparison:
        """Compare the database with the models.

        :raises MigrationError: a difference that no run can repair.
        """
        logger.info("── Validate")
        found = self.session.retry_on_lock(self._compare_unlocked)
        self._log_differences(found)
        self._refuse_what_cannot_be_repaired(found)
        return found

    def _compare_unlocked(self) -> Comparison:
        """Compare, again if another run changes the tables in the meantime.

        A question to the database, such as how it reads a CHECK, then fails: its table
        or column has another name, or is gone.
        """
        while True:
            schema = self.engine.catalog.read()
            try:
                return self._compare_schema(schema)
            except peewee.DatabaseError:
                # After an error, nothing can be asked in the caller's transaction.
                if self.session.in_transaction():
                    raise
                if self.engine.catalog.read() == schema:
                    raise

    def _compare(self) -> Comparison:
        """Read the tables and compare them."""
        return self._compare_schema(self.engine.catalog.read())

    def _compare_schema(self, schema: Schema) -> Comparison:
        """Compare tables; the report has the latest comparison."""
        found = compare(schema, self.engine.catalog, self.requires)
        differences: list[Difference] = []
        for each in found:
            if isinstance(each.repaired_by, DropColumn):
                differences += self._drop_of_column(each, each.repaired_by, schema)
            else:
                differences.append(each)
        self.report = self.report._replace(differences=tuple(differences))
        return Comparison(schema, tuple(differences))

    def _drop_of_column(
        self, difference: Difference, drop: DropColumn, schema: Schema
    ) -> Iterator[Difference]:
        """Yield a difference; a warning in its place if the drop would lose values.

        :param drop: what repairs it.
        """
        if self.drops_values:
            yield difference._replace(repaired_by=drop._replace(drops_values=True))
            return
        catalog = self.engine.catalog
        table = catalog.under_new_names(schema).schema[drop.table]
        column = drop.column.current_name
        rows = catalog.count_values(
            table.current_name, column, up_to=_COUNTED_VALUES + 1
        )
        if not rows:
            yield difference
            return
        number = plural(rows, "row")
        if rows > _COUNTED_VALUES:
            number = f"more than {_COUNTED_VALUES} rows"
        verb = "holds" if rows == 1 else "hold"
        message = (
            f"{difference.object}: {number} {verb} a value, so the column is not "
            "dropped; save what is needed, then drop it with --force (force=True)"
        )
        if not drop.column.optional:
            message += "; until then inserts without it fail, as it is NOT NULL"
        yield difference._replace(severity="warning", message=message, repaired_by=None)
        yield from left_guards(table, drop.table, no_value(drop.column.name))

    def _log_differences(
        self, found: Comparison, level_of_errors: int = logging.INFO
    ) -> None:
        """Log each difference once per call; what stops the run is in its error."""
        fatal = [each for each in found.differences if each.stops_with is not None]
        if self.requires and not fatal:
            names = ", ".join(table_name(model) for model in self.requires)
            self._log_once(logging.INFO, f"✓ {names}")
        levels = {
            "error": level_of_errors,
            "warning": logging.WARNING,
            "note": logging.INFO,
        }
        for each in found.differences:
            if each not in fatal:
                text = f"{_MARKS[each.severity]} {each.message}"
                self._log_once(levels[each.severity], text)

    def _log_once(self, level: int, text: str) -> None:
        if text not in self._logged:
            self._logged.add(text)
            logger.log(level, "%s", text)

    def _refuse_what_cannot_be_repaired(self, found: Comparison) -> None:
        models = self.engine.models
        refuse_what_cannot_be_repaired(found.errors, models, self.database_url)

    # -- plan

    def plan(self) -> None:
        """Find out what a run would execute, and execute nothing of it.

        :raises MigrationError: what a run would raise.
        """
        logger.info("── Validate")
        found = self.session.retry_on_lock(self._compare_unlocked)
        while True:
            try:
                changes = self._planned_changes(found)
                break
            except (MigrationError, peewee.DatabaseError):
                # It holds no lock: a run may have changed the tables in the meantime.
                latest = self.session.retry_on_lock(self._compare_unlocked)
                if latest.schema == found.schema:
                    self._log_differences(found)
                    raise
                found = latest
        # Work that was found is what a check is for, so it is shown with --quiet, too.
        self._log_differences(found, level_of_errors=logging.WARNING)
        if changes:
            self._record_planned(changes)

    def _planned_changes(self, found: Comparison) -> list[Change]:
        self._refuse_what_cannot_be_repaired(found)

        def statements() -> list[Change]:
            with self.session.planning_settings():
                return self._statements(found)

        return self.session.retry_on_lock(statements)

    def _record_planned(self, changes: list[Change]) -> None:
        self.session.refuse_callers_transaction(changes)
        self.report = self.report._replace(
            status="pending",
            changes=tuple(changes),
            script=tuple(self.session.script(changes)),
        )
        logger.info("a run would execute %s", plural(len(changes), "statement"))

    def _statements(self, found: Comparison) -> list[Change]:
        """Return the statements that repair the errors.

        :raises ChangeRefused: one cannot be repaired; nothing was executed.
        """
        if not found.errors:
            return []
        # Under the names that the plan gives.
        schema = self.engine.catalog.under_new_names(found.schema).schema
        self._refuse_case_variants(schema)
        # Imported only where something changes.
        from migrations.planning import make_plan
        from migrations.preflight import conflicts

        ddl = self.engine.ddl(schema)
        plan = make_plan(found.errors, found.schema, ddl, self.engine.catalog)
        conflicting = list(conflicts(found.errors, plan, self.engine, ddl))
        if conflicting:
            separator = "\n  " if len(conflicting) > 1 else " "
            lines = separator.join(conflicting)
            raise ChangeRefused(
                f"rows conflict with the change, nothing was changed:{separator}{lines}"
            )
        changes = ddl.statements(plan.operations)
        if changes:
            self.engine.rehearse(plan, changes)
        return changes

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

    def create_or_repair(self, found: Comparison) -> None:
        """Repair the errors that were found, if any, and validate again.

        :raises VerificationFailed: differences are left after the changes.
        """
        verified = found
        if found.errors:
            logger.info("── Migrate")
            # What this run finds under the lock, in one or more attempts: another run
            # may have repaired the rest in the meantime.
            to_repair: list[Difference] = []
            verified = self._repair_under_lock(to_repair)
            repaired = _without_kept_columns(to_repair, verified)
            self.report = self.report._replace(repaired=repaired)
        self._log_result_of_validation(verified)

    def _repair_under_lock(self, to_repair: list[Difference]) -> Comparison:
        """Repair and verify; read again if a value was written to a dropped column.

        :param to_repair: gets the errors that were found under the lock.
        """
        for _ in range(_ATTEMPTS):
            verified = self._attempt_repair(to_repair)
            if verified is not None:
                return verified
        raise ChangeRefused(
            f"{self.tables}: other sessions write to a column that is in drops; stop "
            "them, then run again, or drop it with its values with --force (force=True)"
        )

    def _attempt_repair(self, to_repair: list[Difference]) -> Comparison | None:
        """Repair and verify; return None if a value was written to a dropped column."""
        try:
            return self.session.with_migration_lock(
                lambda: self._repair_and_verify(to_repair)
            )
        except ValueWritten:
            logger.info("  a value was written to a column that is in drops")
            return None

    def _repair_and_verify(self, to_repair: list[Difference]) -> Comparison:
        """Under the migration lock: compare again, change what is left, compare again.

        :param to_repair: gets the errors that were found here.
        """
        found = self._compare()
        self._refuse_what_cannot_be_repaired(found)
        changes = self._statements(found)
        if not changes:
            return found
        to_repair += [error for error in found.errors if error not in to_repair]
        self.session.execute_all(changes)
        verified = self._compare()
        if verified.errors:
            messages = "; ".join(each.message for each in verified.errors)
            raise VerificationFailed(
                f"after the changes there are still differences: {messages}"
            )
        return verified

    def _log_result_of_validation(self, verified: Comparison) -> None:
        self._log_differences(verified)
        warnings = [each for each in verified.differences if each.severity == "warning"]
        if warnings:
            number = plural(len(warnings), "warning")
            logger.warning("! %s: no errors, %s", self.tables, number)
            return
        verb = "is" if len(self.managed) == 1 else "are"
        logger.info("✓ %s %s as declared", self.tables, verb)

    # -- create only

    def create_missing(self) -> None:
        """Create the managed tables that are missing; leave the others as they are."""
        catalog = self.engine.catalog
        schema = catalog.under_new_names(
            self.session.retry_on_lock(catalog.read)
        ).schema
        for name in self.managed:
            if name not in schema or not schema[name].is_table:
                logger.info("── Create")
                created = self.session.with_migration_lock(self._create)
                self.report = self.report._replace(repaired=created)
                return

    def _create(self) -> tuple[Difference, ...]:
        """Under the migration lock: create what is still missing, and return it."""
        schema = self.engine.catalog.read()
        renamed = self.engine.catalog.under_new_names(schema).schema
        differences = compare(schema, self.engine.catalog, {})
        not_tables = [
            each
            for each in errors_of(differences)
            if each.object in renamed and not renamed[each.object].is_table
        ]
        missing = [
            each for each in differences if isinstance(each.repaired_by, CreateTable)
        ]
        found = Comparison(schema, (*not_tables, *missing))
        self._refuse_what_cannot_be_repaired(found)
        self.session.execute_all(self._statements(found))
        return tuple(missing)

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
            self._drop_unless_written_to(force)
        if self.session.executed:
            self.report = self.report._replace(status="rolled_back")
            logger.info("✓ dropped %s", self.tables)
        else:
            logger.info("there is no %s", self.tables)

    def plan_rollback(self, force: bool) -> None:
        """Find out what `roll_back` would execute, and execute nothing of it.

        :raises ChangeRefused: what `roll_back` would raise.
        """
        logger.info("── Roll back")
        changes = self.session.retry_on_lock(lambda: self._drop_statements(force))
        if changes:
            self._record_planned(changes)
        else:
            logger.info("there is no %s", self.tables)

    def _drop_statements(self, force: bool) -> list[Change]:
        """Return the statements that drop the managed tables.

        :raises ChangeRefused: one may not be dropped.
        """
        schema = self.engine.catalog.read()
        present = [name for name in self.managed if name in schema]
        if not present:
            return []
        self._refuse_unrelated_tables(schema, present)
        if not force:
            self._refuse_to_drop_rows(present)
        self._refuse_to_break_dependents(present)
        operations = _drops(schema, present)
        if not force:
            operations = [*map(ForbidRows, reversed(present)), *operations]
        return self.engine.ddl(schema).statements(operations)

    def _drop_unless_written_to(self, force: bool) -> None:
        """Drop the managed tables; start again if a row is written meanwhile.

        :raises ChangeRefused: a table holds rows.
        """
        for _ in range(_ATTEMPTS):
            if self._attempt_drop(force):
                return
        raise ChangeRefused(
            f"{self.tables}: other sessions write to it; stop them, then run again, or "
            "drop it with its rows with --force (force=True)"
        )

    def _attempt_drop(self, force: bool) -> bool:
        """Drop the managed tables; return False if a row was written meanwhile."""
        try:
            self.session.with_migration_lock(lambda: self._drop(force))
        except ValueWritten:
            logger.info("  a row was written to a table that is dropped")
            return False
        return True

    def _drop(self, force: bool) -> None:
        self.session.execute_all(self._drop_statements(force))
        left = [name for name in self.managed if name in self.engine.catalog.read()]
        if left:
            verb = "is" if len(left) == 1 else "are"
            tables = " and ".join(left)
            raise VerificationFailed(f"{tables} {verb} still there after the drop")

    def _refuse_unrelated_tables(self, schema: Schema, present: list[str]) -> None:
        catalog = self.engine.catalog
        # Not what is wrong with a column: the table is dropped with it.
        unrelated = [
            each.message
            for each in compare(schema, catalog, {})
            if each.stops_with is ChangeRefused and each.object in present
        ]
        renamed = catalog.under_new_names(schema).schema
        for name in present:
            declared = catalog.declared_by_name(name)
            if not unrelated and not shares_columns(declared, renamed[name]):
                unrelated.append(f"{name} has no column of its model, except the id")
        if unrelated:
            messages = "; ".join(unrelated)
            raise ChangeRefused(f"{messages}; it is not managed by this phase")

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

    def _refuse_to_break_dependents(self, present: list[str]) -> None:
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

    # -- check for orphans

    def check_for_orphans(self, thorough: bool) -> None:
        """Report rows that violate a foreign key; they are never deleted."""
        if not thorough and not self.engine.catalog.may_hold_orphans():
            return
        from migrations.orphans import OrphanCheck, find_orphans

        def find() -> OrphanCheck:
            schema = self.engine.catalog.read()
            return find_orphans(schema, self.engine, thorough)

        found = self.session.retry_on_lock(find)
        for each in found.warnings:
            logger.warning("! %s", each.message)
        self.report = self.report._replace(
            differences=(*self.report.differences, *found.warnings),
            orphan_checks_skipped=found.skipped,
        )

    # -- smoke test

    def smoke_test(self) -> None:
        """Test the tables with rows that are rolled back.

        :raises SmokeTestFailed: a step did not hold.
        """
        from migrations.smoke_test import smoke_test

        logger.info("── Smoke test")
        steps = self.session.retry_on_lock(lambda: smoke_test(self.engine))
        self._log_smoke_test(steps)
        self.report = self.report._replace(smoke_test=steps)
        failed = [step for step, held in steps.items() if held is False]
        if failed:
            where = f"{self.tables} in {self.database_url}"
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
        self.report = self.report._replace(
            row_counts=counts, estimated_counts=tuple(estimated)
        )


def _without_kept_columns(
    repaired: Sequence[Difference], verified: Comparison
) -> tuple[Difference, ...]:
    """Return differences without the drops that values stopped in a later attempt."""
    kept = {each.object for each in verified.differences if each.severity == "warning"}
    return tuple(
        each
        for each in repaired
        if not isinstance(each.repaired_by, DropColumn) or each.object not in kept
    )


def _drops(schema: Schema, names: Sequence[str]) -> list[Operation]:
    """Return the operations that drop tables, circular foreign keys first.

    :param names: the tables in the order of their creation.
    """
    keys: list[Operation] = []
    tables: list[Operation] = []
    dropped: set[str] = set()
    for name in reversed(names):
        keys += [
            DropForeignKey(name, key)
            for key in schema[name].foreign_keys
            if key.parent in dropped
        ]
        tables.append(DropTable(name))
        dropped.add(name)
    return [*keys, *tables]
