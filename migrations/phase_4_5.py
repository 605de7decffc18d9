"""Phase 4.5: make the database ready for uploads of weekly actual sales.

    from migrations import phase_4_5

    phase_4_5.ensure(database)        # in a worker: True if something had to be changed
    report = phase_4_5.run(database)  # the whole chain, with a smoke test and statistics
    report = phase_4_5.check(database)  # looks, changes nothing

The migration keeps no history. It compares what the models declare with what the database says of
itself, plans the changes that close the difference, applies them under a lock, and compares again.
The command line is `python -m migrations.phase_4_5`; see `migrations.command`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import peewee

from db.url import describe
from migrations.comparison import compare
from migrations.engines import engine_for
from migrations.engines.base import READ, TABLE, Engine, logger
from migrations.report import (
    Change,
    DatabaseUnavailable,
    Difference,
    LockTimeout,
    MigrationError,
    MissingTables,
    Refused,
    Report,
    SmokeTestFailed,
    UnfitTables,
    VerificationFailed,
)
from migrations.schema import Schema

__all__ = [
    "DatabaseUnavailable", "LockTimeout", "MigrationError", "MissingTables", "Refused", "Report", "SmokeTestFailed",
    "UnfitTables", "VerificationFailed", "check", "ensure", "rollback", "run",
]  # fmt: skip


def ensure(database: peewee.Database, lock_timeout: float = 10.0) -> bool:
    """Validate the schema and create or repair it if need be; return whether anything was changed.

    Made for workers that start by the dozen: where there is nothing to do, it only reads the catalogue.

    :param lock_timeout: seconds to wait for a lock, in all.
    :raises MigrationError: see `run`.
    """
    with _report(database, lock_timeout) as (engine, outcome):
        _migrate(engine, outcome)
    return outcome["status"] == "migrated"


def run(
    database: peewee.Database, smoke_test: bool = True, statistics: bool = True, lock_timeout: float = 10.0,
    exact_counts: bool = False,
) -> Report:  # fmt: skip
    """Validate, create or repair, validate again, smoke-test, count; return a `Report`.

    :param database: any Peewee `Database`, or an initialised `DatabaseProxy`; left as it was found.
    :param lock_timeout: seconds to wait for locks, in all, before giving up.
    :param exact_counts: count the rows of large tables on a server rather than estimate them.
    :raises MigrationError: one of its subclasses says what could not be done; nothing is half-done.
    """
    with _report(database, lock_timeout) as (engine, outcome):
        _migrate(engine, outcome)
        outcome["differences"] += _orphans(engine)
        if smoke_test:
            _section("Smoke test")
            outcome["smoke_test"] = _smoke_test(engine)
        if statistics:
            _section("Statistics")
            outcome["row_counts"], outcome["estimated"] = _row_counts(engine, exact_counts)
    return Report(**outcome)


def check(database: peewee.Database, lock_timeout: float = 10.0) -> Report:
    """Return what a run would do, as `changes`; change nothing.

    :raises MigrationError: where a run would refuse.
    """
    with _report(database, lock_timeout) as (engine, outcome):
        _section("Validate")
        schema, outcome["differences"] = engine.patiently(lambda: _look(engine), engine.was_aborted)
        outcome["changes"] = tuple(
            engine.patiently(lambda: _plan(engine, schema, outcome["differences"]), engine.was_aborted)
        )
        logger.info("✓ %s", ", ".join(READ[1:]))
        _tell(outcome["differences"])
        if TABLE in schema:
            outcome["differences"] += _orphans(engine)
        outcome["status"] = "pending" if outcome["changes"] else "up_to_date"
        words = (
            ("a run would execute %d statements", len(outcome["changes"]))
            if outcome["changes"]
            else ("✓ there is nothing to do",)
        )
        logger.info(*words)
    return Report(**outcome)


def rollback(database: peewee.Database, force: bool = False, lock_timeout: float = 10.0) -> Report:
    """Drop `weekly_actuals`; fine where there is no table.

    :param force: drop a table that holds rows, with its rows.
    :raises Refused: the table holds rows, or is not ours to drop.
    """
    with _report(database, lock_timeout) as (engine, outcome):
        _section("Roll back")
        if TABLE in engine.patiently(engine.read, engine.was_aborted):
            engine.exclusively(lambda: _drop(engine, force))
        outcome["status"] = "rolled_back" if engine.applied else "up_to_date"
        logger.info(
            "%s", "✓ weekly_actuals is gone" if engine.applied else "✓ there is no weekly_actuals: nothing to do"
        )
    return Report(**outcome)


# -- the steps


def _migrate(engine: Engine, outcome: dict[str, object]) -> None:
    """Compare, and where there are errors change under the lock, until there are none."""
    _section("Validate")
    schema, outcome["differences"] = engine.patiently(lambda: _look(engine), engine.was_aborted)
    errors = _to_mend(engine, schema, outcome["differences"])
    logger.info("✓ %s", ", ".join(READ[1:]))
    if errors:
        _section("Migrate")
        outcome["differences"] = engine.exclusively(lambda: _converge(engine))
        outcome["status"] = "migrated" if engine.applied else "up_to_date"
    _tell(outcome["differences"])
    logger.info("✓ weekly_actuals is as declared")


def _look(engine: Engine) -> tuple[Schema, tuple[Difference, ...]]:
    schema = engine.read()
    return schema, compare(schema, engine)


def _to_mend(engine: Engine, schema: Schema, differences: tuple[Difference, ...]) -> list[Difference]:
    """Return the errors; refuse those that no run can mend, whatever the rows."""
    errors = [each for each in differences if each.severity == "error"]
    _demand_base_tables(engine, errors)
    if refused := [each.message for each in errors if each.kind == "refuse"]:
        raise Refused(f"{'; '.join(refused)}; rename, convert or remove it, then run again")
    if errors and TABLE not in schema:
        for (name,) in engine.lookalikes():
            raise Refused(f"the table {name!r} differs from {TABLE} only in case; rename one of them, then run again")
    return errors


def _plan(engine: Engine, schema: Schema, differences: tuple[Difference, ...]) -> list[Change]:
    """Return the statements that mend the errors; refuse before the first where one cannot be."""
    errors = _to_mend(engine, schema, differences)
    if not errors:
        return []
    from migrations.obstacles import obstacles  # nothing to mend, nothing to import

    table = schema.get(TABLE)
    if table is None:
        return engine.plan(None, errors, 0)
    if against := list(obstacles(table, errors, engine)):
        raise Refused(f"rows stand against the change, nothing was changed: {' | '.join(against)}")
    (rows,) = engine.query(f"SELECT count(*) FROM {engine.quote(TABLE)}")[0]
    return engine.plan(table, errors, rows)


def _demand_base_tables(engine: Engine, errors: list[Difference]) -> None:
    where = describe(engine.database)
    if missing := [each.name for each in errors if each.kind == "missing_base"]:
        raise MissingTables(
            f"{where} lacks the table{'s' * (len(missing) > 1)} {', '.join(missing)}; check the URL, "
            f"or create what is missing with: python -m db.init_db --base-only --database {where}"
        )
    if unfit := [each.message for each in errors if each.kind == "unfit_base"]:
        raise UnfitTables(f"{where} cannot carry weekly_actuals: {'; '.join(unfit)}; mend that by hand, then run again")


def _converge(engine: Engine) -> tuple[Difference, ...]:
    """Look again under the lock, change what is left to change, look again, demand agreement."""
    schema, differences = _look(engine)
    if changes := _plan(engine, schema, differences):
        engine.carry_out(changes)
        _, differences = _look(engine)
        if left := [each.message for each in differences if each.severity == "error"]:
            raise VerificationFailed(f"after the changes there are still differences: {'; '.join(left)}")
    return differences


def _smoke_test(engine: Engine) -> dict[str, bool | None]:
    from migrations.smoke_test import smoke_test

    steps = engine.patiently(lambda: smoke_test(engine), engine.was_aborted)
    words = {True: "✓ %s", False: "✗ %s", None: "- %s: not tried"}
    for step, held in steps.items():
        logger.log(40 if held is False else 20 if held else 30, words[held], step)
    if failed := [step for step, held in steps.items() if held is False]:
        error = SmokeTestFailed(
            f"weekly_actuals in {describe(engine.database)} failed the smoke test: {', '.join(failed)}"
        )
        error.steps = steps
        raise error
    return steps


def _orphans(engine: Engine) -> tuple[Difference, ...]:
    from migrations.obstacles import orphans

    if not engine.may_hold_orphans():
        return ()

    def look() -> tuple[Difference, ...]:
        table = engine.read().get(TABLE)  # a peer may have dropped it since
        return tuple(orphans(table, engine)) if table else ()

    found = engine.patiently(look, engine.was_aborted)
    _tell(found)
    return found


def _row_counts(engine: Engine, exact: bool) -> tuple[dict[str, int], tuple[str, ...]]:
    from migrations.statistics import row_counts

    counts, estimated = engine.patiently(lambda: row_counts(engine, exact), engine.was_aborted)
    for name, count in counts.items():
        logger.info("%-17s %s%s row%s", name, "~" * (name in estimated), f"{count:,}", "s" * (count != 1))
    return counts, estimated


def _drop(engine: Engine, force: bool) -> None:
    schema, differences = _look(engine)
    if TABLE not in schema:
        return
    if not_ours := [each.message for each in differences if each.kind == "refuse"]:
        raise Refused(f"{'; '.join(not_ours)}; this is not ours to drop")
    (rows,) = engine.query(f"SELECT count(*) FROM {engine.quote(TABLE)}")[0]
    if rows and not force:
        raise Refused(f"weekly_actuals holds {rows:,} row{'s' * (rows > 1)}; save them, or drop them too with --force")
    engine.carry_out(engine.drop_table())
    if TABLE in engine.read():
        raise VerificationFailed("weekly_actuals is still there after it was dropped")


# -- around the steps


@contextmanager
def _report(database: peewee.Database, lock_timeout: float) -> Iterator[tuple[Engine, dict[str, object]]]:
    """Yield an engine and the parts of a report; a failure carries those that there are."""
    started = time.perf_counter()
    engine = engine_for(database, lock_timeout)
    outcome: dict[str, object] = {
        "status": "up_to_date",
        "backend": engine.backend,
        "database": describe(engine.database),
        "differences": (),
    }
    logger.info("Phase 4.5: weekly_actuals in %s", outcome["database"])
    try:
        with engine.connected():
            yield engine, outcome
        outcome.setdefault("changes", tuple(engine.applied))
        outcome["duration_ms"] = (time.perf_counter() - started) * 1000
    except MigrationError as error:
        outcome |= {
            "status": "failed",
            "changes": tuple(engine.applied),
            "smoke_test": getattr(error, "steps", outcome.get("smoke_test")),
            "error": {"type": type(error).__name__, "message": str(error)},
            "duration_ms": (time.perf_counter() - started) * 1000,
        }
        error.report = Report(**outcome)
        raise


def _section(title: str) -> None:
    logger.info("── %s", title)


def _tell(differences: tuple[Difference, ...]) -> None:
    for each in differences:
        logger.warning("%s %s", "✗" if each.severity == "error" else "!", each.message)


if __name__ == "__main__":
    from migrations.command import main

    raise SystemExit(main())
