"""A phase: the tables that some models declare, and the tables they require.

    phase = Phase("Phase 5", requires={Customer: ("number",)}, manages=[Order, Line])
    phase.ensure(database)

It keeps no history. It compares the models with the database, plans the changes that
remove the differences, executes them under a lock, and compares again. Creating tables,
completing an interrupted run, repairing drift, `check` and `--dry-run` are this one
loop, stopped at different points.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import peewee

from migrations.accepts import AcceptedColumn
from migrations.declaration import Model, PhaseModels, phase_models
from migrations.engines import engine_for
from migrations.engines.session import logger
from migrations.errors import MigrationError
from migrations.model_support import validate_models
from migrations.report import Report
from migrations.steps import PhaseCall


class Phase:
    """The tables that a set of models declares, on any database.

    :param title: its name, for people.
    :param requires: each model whose table must exist, with the names of the columns
        that the phase relies on; () checks only the table and its primary key. These
        tables are validated, never changed.
    :param manages: the models whose tables the phase creates, repairs and tests, in
        any order.
    :param accepts: documented exceptions; everything else is compared strictly.
    :param drops: columns, indexes and constraints of managed tables that are dropped,
        each as "table.name". A column that holds values is dropped with `force` only.

    The models are read when the phase is first used. If an application changes one
    afterwards (`Model._meta.set_table_name`), it makes another phase.

    A phase with a model that is not supported can be made, so that its command can
    report it. It raises `UnsupportedModel` when it is used: before a database is opened
    if no database supports the model, otherwise once it is connected.
    """

    def __init__(
        self,
        title: str,
        *,
        requires: Mapping[Model, Sequence[str]],
        manages: Iterable[Model],
        accepts: Iterable[AcceptedColumn] = (),
        drops: Iterable[str] = (),
    ) -> None:
        self.title = title
        self.requires = dict(requires)
        self.manages = tuple(manages)
        self.accepts = tuple(accepts)
        self.drops = (drops,) if isinstance(drops, str) else tuple(drops)
        self._models: PhaseModels | None = None

    def __repr__(self) -> str:
        return f"<Phase({self.title!r}, manages={self.tables})>"

    @property
    def models(self) -> PhaseModels:
        """The models, the managed ones in the order in which they are created.

        :raises UnsupportedModel: a model has something that no database supports.
        """
        if self._models is None:
            validate_models(self.requires, self.manages, self.drops)
            self._models = phase_models(
                self.requires, self.manages, self.accepts, self.drops
            )
        return self._models

    @property
    def tables(self) -> str:
        """The names of the managed tables, for messages."""
        return ", ".join(model._meta.table_name for model in self.manages)

    def ensure(self, database: peewee.Database, lock_timeout: float = 10.0) -> bool:
        """Validate, create or repair if necessary; return whether anything was changed.

        For the start of workers: if there is nothing to do, it only reads
        the catalog. Parameters and errors are those of `run`.
        """
        with self._call(database, lock_timeout) as call:
            found = call.validate()
            call.create_or_repair(found)
        return call.report.status == "migrated"

    def run(
        self,
        database: peewee.Database,
        smoke_test: bool = True,
        statistics: bool = True,
        lock_timeout: float = 10.0,
        thorough: bool = False,
        force: bool = False,
    ) -> Report:
        """Validate, create or repair, validate again, smoke test, statistics.

        :param database: any Peewee `Database`, or an initialised `DatabaseProxy`; it is
            left as it was found.
        :param smoke_test: test the tables with rows that are rolled back.
        :param statistics: count the rows.
        :param lock_timeout: seconds to wait for locks, in total, before giving up.
        :param thorough: read every row, for exact counts and for orphans in columns
            without an index.
        :param force: drop columns that are in `drops` and hold values, too.
        :returns: the report; its status is `migrated` or `up_to_date`.
        :raises MigrationError: one of its subclasses says what could not be done. Its
            `report` says what was found and done.
        """
        with self._call(database, lock_timeout, force) as call:
            found = call.validate()
            call.create_or_repair(found)  # and validate again
            call.check_for_orphans(thorough)
            if smoke_test:
                call.smoke_test()
            if statistics:
                call.count_rows(exact=thorough)
        return call.report

    def check(
        self,
        database: peewee.Database,
        lock_timeout: float = 10.0,
        thorough: bool = False,
        force: bool = False,
    ) -> Report:
        """Find out what a run would do; change nothing.

        :param force: as that of the run.
        :returns: the report; its status is `pending` or `up_to_date`, its `changes` are
            what a run would execute.
        :raises MigrationError: what a run would raise.
        """
        with self._call(database, lock_timeout, force) as call:
            call.plan()
            call.check_for_orphans(thorough)
        return call.report

    def rollback(
        self,
        database: peewee.Database,
        force: bool = False,
        lock_timeout: float = 10.0,
    ) -> Report:
        """Drop the managed tables; it is not an error if they do not exist.

        :param force: drop tables that hold rows, too.
        :returns: the report; its status is `rolled_back` or `up_to_date`.
        :raises ChangeRefused: a table holds rows, or something depends on it.
        """
        with self._call(database, lock_timeout) as call:
            call.roll_back(force)
        return call.report

    def check_rollback(
        self,
        database: peewee.Database,
        force: bool = False,
        lock_timeout: float = 10.0,
    ) -> Report:
        """Find out what a rollback would do; change nothing.

        :returns: the report; its status is `pending` or `up_to_date`, its `changes` are
            what a rollback would execute.
        :raises ChangeRefused: what a rollback would raise.
        """
        with self._call(database, lock_timeout) as call:
            call.plan_rollback(force)
        return call.report

    def create_missing(
        self, database: peewee.Database, lock_timeout: float = 10.0
    ) -> list[str]:
        """Create the managed tables that are missing; return their names.

        The others are left as they are, whatever they look like.
        """
        with self._call(database, lock_timeout) as call:
            call.create_missing()
        return [each.object for each in call.report.repaired]

    def main(self, argv: list[str] | None = None) -> int:
        """Run the command line of the phase; return its exit status."""
        # Workers need no command line, so they do not pay for its import.
        from migrations.command import main

        return main(self, argv)

    @contextmanager
    def _call(
        self,
        database: peewee.Database,
        lock_timeout: float,
        drops_values: bool = False,
    ) -> Iterator[PhaseCall]:
        """One call on an open connection; at its end, its report is complete."""
        engine = engine_for(database, self.models, lock_timeout)
        call = PhaseCall(engine, self.requires, drops_values)
        logger.info("%s: %s in %s", self.title, self.tables, call.report.database)
        try:
            with engine.session.connected():
                engine.model_support.validate()
                yield call
        except MigrationError as error:
            call.fail(error)
            error.report = call.report
            raise
        call.finish()
