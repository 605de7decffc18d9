"""Create the application's tables where they are missing; fill empty ones with sample data.

    python -m db.init_db [--database URL] [--base-only] [--sample-data]

They are made by the machine that the migration is a page of: in a race, one makes them and the others wait.
Tables that are there are left as they are, whatever they look like. Safe to run again.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import random
import sys
from collections.abc import Iterator
from typing import NoReturn

import peewee

from db.models import MODELS, Category, HistoricalSales, Store, StoreCluster, WeeklyActuals, Workflow
from db.url import UnusableURL, connect, describe, without_password, without_userinfo

_WEEKS = 12
_SEASON_START = datetime.date(2025, 2, 17)
_TIERS = ("PREMIUM", "MAINSTREAM", "VALUE")
_FORMATS = ("MALL", "STANDALONE", "SHOPPING_CENTER", "OUTLET")
Row = dict[str, object]  # by the field's name
_REGIONS = ("NORTHEAST", "SOUTHEAST", "MIDWEST", "WEST")


def init_db(database: peewee.Database, base_only: bool = False, sample_data: bool = False) -> list[str]:
    """Create what is missing and return the names of the tables created.

    :param base_only: leave `weekly_actuals` to the migration.
    :param sample_data: fill the tables that are empty with a small season.
    :raises migrations.report.MigrationError: a table cannot be made.
    """
    was_closed = database.is_closed()
    if was_closed:
        database.connect()
    try:
        return _init(database, base_only, sample_data)
    finally:  # Peewee's connection_context() would close the caller's connection, and an in-memory database with it
        if was_closed:
            database.close()


def _init(database: peewee.Database, base_only: bool, sample_data: bool) -> list[str]:
    from migrations.phase import Phase  # only here does db reach up, as a command, not as a library

    models = [model for model in MODELS if not (base_only and model is WeeklyActuals)]
    created = Phase("Application", upon={}, builds=models).create_missing(database)
    if sample_data:
        with database.atomic():
            _fill(database, database.get_tables())
    return created


def _fill(database: peewee.Database, present: list[str]) -> None:
    rng = random.Random(45)  # the same season every time
    for model, rows in (
        (Category, _categories()), (StoreCluster, _clusters()), (Store, _stores(rng)),
        (HistoricalSales, _sales(rng)), (Workflow, _workflows()), (WeeklyActuals, _actuals(rng)),
    ):  # fmt: skip
        if (
            model._meta.table_name in present
            and not database.execute(model.select(peewee.SQL("1")).limit(1)).fetchone()
        ):
            # They may refer to sample rows that are not there, since somebody's own are.
            with contextlib.suppress(peewee.IntegrityError), database.atomic():
                for batch in peewee.chunked(rows, 50):
                    model.insert_many(batch).execute(database)


def _categories() -> Iterator[Row]:
    yield {
        "category_id": "womens_dresses", "category_name": "Women's Dresses", "season_start_date": _SEASON_START,
        "season_end_date": _SEASON_START + datetime.timedelta(weeks=_WEEKS, days=-1), "season_length_weeks": _WEEKS,
        "archetype": "FASHION_RETAIL",
    }  # fmt: skip


def _clusters() -> Iterator[Row]:
    for tier in _TIERS:
        yield {"cluster_id": tier.lower(), "cluster_name": f"{tier.title()} Tier", "fashion_tier": tier}


def _stores(rng: random.Random) -> Iterator[Row]:
    for number in range(1, 51):
        tier = 0 if number <= 10 else 1 if number <= 35 else 2
        yield {
            "store_id": f"S{number:03}", "store_name": f"Store S{number:03}", "cluster": _TIERS[tier].lower(),
            "store_size_sqft": 14_000 - 3_000 * tier + rng.randrange(-1_500, 1_500, 100), "location_tier": "ABC"[tier],
            "median_income": 130_000 - 35_000 * tier + rng.randrange(-9_000, 9_000, 500),
            "store_format": _FORMATS[number % 4], "region": _REGIONS[number % 4 - 1],
            "avg_weekly_sales_12mo": float(900 - 250 * tier + rng.randrange(-80, 80)),
        }  # fmt: skip


def _week(number: int) -> datetime.date:
    return _SEASON_START + datetime.timedelta(weeks=number - 1)


def _units(rng: random.Random, store: int, week: int) -> int:
    tier = 0 if store <= 10 else 1 if store <= 35 else 2
    curve = 1.0 - abs(week - 5) * 0.07  # the season peaks in its fifth week
    return max(0, round((350 - 100 * tier) * curve * rng.uniform(0.85, 1.15)))


def _sales(rng: random.Random) -> Iterator[Row]:
    for week in range(1, _WEEKS + 1):
        day = _week(week) - datetime.timedelta(weeks=52)
        for store in range(1, 51):
            yield {
                "sale_id": f"S{store:03}_{day:%Y%m%d}", "week_start_date": day, "category": "womens_dresses",
                "store": f"S{store:03}", "units_sold": _units(rng, store, week),
            }  # fmt: skip


def _workflows() -> Iterator[Row]:
    for workflow_id, status in (("wf_spring_2025", "running"), ("wf_autumn_2024", "completed")):
        yield {
            "workflow_id": workflow_id, "workflow_type": "forecast", "category_id": "womens_dresses",
            "status": status, "forecast_horizon_weeks": _WEEKS, "season_start_date": _SEASON_START.isoformat(),
            "replenishment_strategy": "weekly", "dc_holdback_percentage": 0.45,
        }  # fmt: skip


def _actuals(rng: random.Random) -> Iterator[Row]:
    for week in (1, 2):
        for store in range(1, 51):
            forecast, actual = _units(rng, store, week), _units(rng, store, week)
            yield {
                "workflow": "wf_spring_2025", "week_number": week, "week_start_date": _week(week),
                "week_end_date": _week(week) + datetime.timedelta(days=6), "store": f"S{store:03}",
                "category": "womens_dresses", "actual_units_sold": actual, "forecast_units_sold": forecast,
                "variance_pct": (actual - forecast) / forecast,
            }  # fmt: skip


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(without_userinfo(message))


def main(argv: list[str] | None = None) -> int:
    """Run the command: 0 done, 1 it could not be done, 2 the call is wrong."""
    parser = _Parser(prog="python -m db.init_db", description=__doc__.partition("\n")[0])
    parser.add_argument("--database", metavar="URL", help="default $DATABASE_URL, else sqlite:///fashion_forecast.db")
    parser.add_argument("--base-only", action="store_true", help="stop before weekly_actuals")
    parser.add_argument("--sample-data", action="store_true", help="fill empty tables with a small season")
    options = parser.parse_args(argv)
    try:
        database = connect(options.database)
    except UnusableURL as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from migrations.report import MigrationError

    try:
        created = init_db(database, options.base_only, options.sample_data)
    except (peewee.PeeweeException, MigrationError, OSError) as error:
        text = " ".join(without_password(database, str(error)).split())
        print(f"error: {describe(database)}: {text}", file=sys.stderr)
        return 1
    print(f"{describe(database)}: " + (f"created {', '.join(created)}" if created else "every table is there"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
