"""The steps of a phase on one database, in the order of its story: look, plan, change, look again, try, count.

Each takes what the one before has found, and fills in its part of the report.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import peewee

from db.url import describe
from migrations.comparison import Upon, compare
from migrations.engines.base import Engine, logger
from migrations.operations import DropTable
from migrations.planning import planned
from migrations.report import (
    Change,
    Difference,
    MissingTables,
    Refused,
    Report,
    SmokeTestFailed,
    UnfitTables,
    VerificationFailed,
)
from migrations.schema import Schema

COUNTED_UP_TO = 10_000_000  # rows


class Work:
    """One call of a phase on one database: the steps, and the report that they fill in."""

    def __init__(self, engine: Engine, upon: Upon, names: Sequence[str]) -> None:
        self.engine, self.upon, self.names, self.called = engine, upon, names, ", ".join(names)
        self.started = time.perf_counter()
        self.report = Report("up_to_date", engine.backend, describe(engine.database))

    def note(self, **parts: object) -> None:
        """Fill in parts of the report."""
        duration = (time.perf_counter() - self.started) * 1000
        self.report = self.report._replace(duration_ms=duration, **parts)  # type: ignore[arg-type]

    def migrate(self) -> None:
        """Compare, and where there are errors change under the lock, until there are none."""
        logger.info("── Validate")
        errors = self._to_mend(self.engine.patiently(self._look))
        self._tell(mended=True)
        if errors:
            logger.info("── Migrate")
            self.engine.exclusively(self._converge)
            self.note(differences=(*errors, *self.report.differences))
        logger.info("✓ %s %s as declared", self.called, "is" if len(self.names) == 1 else "are")

    def foresee(self, thorough: bool) -> None:
        """Plan what a run would do, and do nothing of it."""
        logger.info("── Validate")
        schema = self.engine.patiently(self._look)
        changes = tuple(self.engine.patiently(lambda: self._plan(schema)))
        self.note(changes=changes, script=tuple(self.engine.script(changes)) if changes else ())
        self._tell()
        self.look_for_orphans(thorough)
        if changes:
            self.note(status="pending")
            logger.info("a run would execute %d statement%s", len(changes), "s" * (len(changes) != 1))

    def create_missing(self) -> None:
        """Create the tables that are missing, and look at no other."""
        schema = self.engine.patiently(self.engine.read)
        if not all(name in schema and schema[name].kind.endswith("table") for name in self.names):
            logger.info("── Create")
            self.engine.exclusively(self._create)

    def roll_back(self, force: bool) -> None:
        """Drop the built tables under the lock."""
        logger.info("── Roll back")
        if not self.engine.patiently(self.engine.read).keys().isdisjoint(self.names):
            self.engine.exclusively(lambda: self._drop(force))
        if self.engine.applied:
            self.note(status="rolled_back")
            logger.info("✓ dropped %s", self.called)
        else:
            logger.info("there is no %s", self.called)

    def look_for_orphans(self, thorough: bool) -> None:
        """Report the rows that violate a foreign key."""
        if not (thorough or self.engine.may_hold_orphans()):
            return
        from migrations.orphans import orphans

        found, unexamined = self.engine.patiently(lambda: orphans(self.engine.read(), self.engine, thorough))
        for each in found:
            logger.warning("! %s", each.message)
        self.note(differences=(*self.report.differences, *found), unexamined=unexamined)

    def smoke_test(self) -> None:
        """Try the tables with rows that do not stay."""
        from migrations.smoke_test import smoke_test

        logger.info("── Smoke test")
        steps = self.engine.patiently(lambda: smoke_test(self.engine))
        words = {True: "✓ %s", False: "✗ %s", None: "- %s: not tried"}
        for step, held in steps.items():
            logger.log(40 if held is False else 20 if held else 30, words[held], step)
        self.note(smoke_test=steps)
        if failed := [step for step, held in steps.items() if held is False]:
            where = f"{self.called} in {self.report.database}"
            raise SmokeTestFailed(f"{where} failed the smoke test: {', '.join(failed)}")

    def count_rows(self, thorough: bool) -> None:
        """Count the rows of all tables."""
        logger.info("── Statistics")
        counts, estimated = {}, []
        width = max(17, *map(len, self.engine.models))
        for name in self.engine.models:
            counts[name], guessed = self.engine.patiently(partial(self._count, name, thorough))
            estimated += [name] * guessed
            rows = f"{counts[name]:,} row{'s' * (counts[name] != 1)}"
            logger.info("%-*s %s%s", width, name, "~" * guessed, rows)
        self.note(row_counts=counts, estimated=tuple(estimated))

    def _count(self, name: str, thorough: bool) -> tuple[int, bool]:
        """Return the number of a table's rows, and whether it is the catalogue's idea: of a very long table, or
        of one whose rows this user may not all see."""
        guess = 0 if thorough else self.engine.estimate(name) or 0
        if guess > COUNTED_UP_TO:
            return guess, True
        try:
            return self.engine.count(name), False
        except peewee.ProgrammingError:
            return self.engine.estimate(name) or 0, True

    def _look(self) -> Schema:
        schema = self.engine.read()
        self.note(differences=compare(schema, self.engine, self.upon))
        return schema

    def _errors(self) -> list[Difference]:
        return [each for each in self.report.differences if each.severity == "error"]

    def _tell(self, mended: bool = False) -> None:
        """Tell differences; those that are about to be mended are nothing to worry about."""
        if self.upon:
            logger.info("✓ %s", ", ".join(model._meta.table_name for model in self.upon))
        for each in self.report.differences:
            error = each.severity == "error"
            logger.log(20 if error and mended else 30, "%s %s", "✗" if error else "!", each.message)

    def _to_mend(self, schema: Schema) -> list[Difference]:
        """Return the errors; refuse those that no run can mend, whatever the rows."""
        errors = self._errors()
        missing = [each.object for each in errors if each.stops is MissingTables]
        unfit = [each.message for each in errors if each.stops is UnfitTables]
        refused = [each.message for each in errors if each.stops is Refused]
        where = self.report.database
        cannot = f"{where} cannot carry {self.called}: {'; '.join(unfit)}; mend that by hand, then run again"
        if missing:
            lacks = f"{where} lacks the table{'s' * (len(missing) > 1)} {', '.join(missing)}; check the URL, or create"
            advice = f"what is missing with: python -m db.init_db --base-only --database {where}"
            raise MissingTables(f"{lacks} {advice}" + f"; and {cannot}" * bool(unfit))
        if unfit:
            raise UnfitTables(cannot)
        if refused:
            raise Refused(f"{'; '.join(refused)}; rename, convert or remove it, then run again")
        for name in self.names if errors else ():
            for other in self.engine.lookalikes(name) if name not in schema else ():
                what = f"the table {other!r} differs from {name} only in case"
                raise Refused(f"{what}; rename one of them, then run again")
        return errors

    def _plan(self, schema: Schema) -> list[Change]:
        """Return the statements that mend the errors; refuse before the first where one cannot be."""
        errors = self._to_mend(schema)
        if not errors:
            return []
        from migrations.obstacles import obstacles  # nothing to mend, nothing to import

        operations = planned(errors, schema, self.engine)
        if against := list(obstacles(errors, operations, schema, self.engine)):
            between = "\n  " if len(against) > 1 else " "
            raise Refused(f"rows stand against the change, nothing was changed:{between}{between.join(against)}")
        return self.engine.statements(operations, schema)

    def _converge(self) -> None:
        """Look again under the lock, change what is left to change, look again, demand agreement."""
        if changes := self._plan(self._look()):
            self.engine.carry_out(changes)
            self._look()
            if left := [each.message for each in self._errors()]:
                raise VerificationFailed(f"after the changes there are still differences: {'; '.join(left)}")

    def _create(self) -> None:
        """Create the tables that are still missing, under the lock; a view is no table."""
        schema = self.engine.read()
        errors = [each for each in compare(schema, self.engine, {}) if each.expected == "a table"]
        self.note(differences=tuple(each for each in errors if not each.actual.endswith("table")))
        self.engine.carry_out(self._plan(schema))

    def _drop(self, force: bool) -> None:
        schema = self.engine.read()
        present = [name for name in self.names if name in schema]
        if not_ours := [each.message for each in compare(schema, self.engine, {}) if each.stops is Refused]:
            raise Refused(f"{'; '.join(not_ours)}; this is not ours to drop")
        counts = {name: self.engine.count(name) for name in present if not force}
        if held := [f"{name} holds {rows:,} row{'s' * (rows > 1)}" for name, rows in counts.items() if rows]:
            raise Refused(f"{' and '.join(held)}; save them, or drop them too with --force")
        if dependent := [text for name in present for text in self.engine.dependents(name)]:
            words = f"depend{'s' * (len(dependent) == 1)} on {' and '.join(present)}; drop that first"
            raise Refused(f"the {' and the '.join(dict.fromkeys(dependent))} {words}")
        drops = [DropTable(name) for name in reversed(self.engine.builds) if name in schema]
        self.engine.carry_out(self.engine.statements(drops, schema))
        if left := self.engine.read().keys() & {*self.names}:
            raise VerificationFailed(f"{' and '.join(left)} is still there after it was dropped")
