"""A phase: the tables that some models declare, built upon tables that must be there.

    phase = Phase("Phase 5", upon={Customer: ("number",)}, builds=[Order, OrderLine])
    phase.ensure(database)

It keeps no history. It compares what the models declare with what the database says of itself, plans the
changes that close the difference, applies them under a lock, and compares again: creating, completing a
half-done run, mending drift, `check` and `--dry-run` are this one loop, stopped at different points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import peewee

from migrations.declaration import Model, demand
from migrations.engines import engine_for
from migrations.engines.base import logger
from migrations.report import MigrationError, Report
from migrations.work import Work


class Phase:
    """A page of the database's story: which models it builds upon, and which it builds.

    `upon` has each model whose table must be there, with the columns demanded of it (none: only that it is a
    table with its primary key): validated, never changed. The tables of `builds`, in any order, are created,
    mended and tested. What a model has that a phase cannot take is refused here, as `UnfitModels`.
    """

    def __init__(self, title: str, *, upon: Mapping[Model, Sequence[str]], builds: Iterable[Model]) -> None:
        self.title, self.upon, self.builds = title, dict(upon), tuple(builds)
        demand(self.upon, self.builds)
        self.names = [model._meta.table_name for model in self.builds]
        self.models: dict[str, Model] = {model._meta.table_name: model for model in [*self.upon, *self.builds]}

    def __repr__(self) -> str:
        return f"<Phase({self.title!r}, builds={', '.join(self.names)})>"

    def ensure(self, database: peewee.Database, lock_timeout: float = 10.0) -> bool:
        """Do what `run` does, without tests and counts; return whether anything was changed.

        Made for workers that start by the dozen: where there is nothing to do, it only reads the catalogue.
        """
        return self._report(database, lock_timeout, Work.migrate).status == "migrated"

    def run(
        self, database: peewee.Database, smoke_test: bool = True, statistics: bool = True, lock_timeout: float = 10.0,
        thorough: bool = False,
    ) -> Report:  # fmt: skip
        """Validate, create or repair, validate again, smoke-test, count; return a `Report`.

        :param database: any Peewee `Database`, or an initialised `DatabaseProxy`; left as it was found.
        :param lock_timeout: seconds to wait for locks, in all, before giving up.
        :param thorough: look at every row, for exact counts and orphans in columns without an index.
        :raises MigrationError: one of its subclasses says what could not be done; nothing is half-done.
        """

        def story(work: Work) -> None:
            work.migrate()
            work.look_for_orphans(thorough)
            if smoke_test:
                work.smoke_test()
            if statistics:
                work.count_rows(thorough)

        return self._report(database, lock_timeout, story)

    def check(self, database: peewee.Database, lock_timeout: float = 10.0, thorough: bool = False) -> Report:
        """Return what a run would do, as `changes`, or raise what it would; change nothing."""
        return self._report(database, lock_timeout, lambda work: work.foresee(thorough))

    def rollback(self, database: peewee.Database, force: bool = False, lock_timeout: float = 10.0) -> Report:
        """Drop the tables that the phase builds; one that holds rows only by `force`."""
        return self._report(database, lock_timeout, lambda work: work.roll_back(force))

    def create_missing(self, database: peewee.Database, lock_timeout: float = 10.0) -> list[str]:
        """Create the tables that are missing, whatever the others look like; return their names."""
        report = self._report(database, lock_timeout, Work.create_missing)
        return [each.object for each in report.differences]

    def main(self, argv: list[str] | None = None) -> int:
        from migrations.command import main  # workers need no command line

        return main(self, argv)

    def _report(self, database: peewee.Database, lock_timeout: float, story: Callable[[Work], None]) -> Report:
        """Return what comes of a story; a failure carries the parts of the report that there are."""
        engine = engine_for(database, lock_timeout, self.models, self.names)
        work = Work(engine, self.upon, self.names)
        logger.info("%s: %s in %s", self.title, ", ".join(self.names), work.report.database)
        try:
            with engine.connected():
                story(work)
        except MigrationError as error:
            told = {"type": type(error).__name__, "message": str(error)}
            work.note(status="failed", changes=tuple(engine.applied), error=told)
            error.report = work.report
            raise
        if engine.applied and work.report.status == "up_to_date":
            work.note(status="migrated")
        work.note(changes=work.report.changes or tuple(engine.applied))
        return work.report
