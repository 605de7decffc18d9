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
from collections.abc import Iterator
from typing import Any

import peewee

from db.command import Command
from db.models import MODELS, Category, HistoricalSales, Store, StoreCluster, Uploadable, WeeklyActuals, Workflow

_START = datetime.date(2025, 2, 17)  # of the season
_WEEK = datetime.timedelta(weeks=1)
_TIERS = ("PREMIUM", "MAINSTREAM", "VALUE")
_FORMATS = ("MALL", "STANDALONE", "SHOPPING_CENTER", "OUTLET")
_REGIONS = ("WEST", "NORTHEAST", "SOUTHEAST", "MIDWEST")


def init_db(database: peewee.Database, base_only: bool = False, sample_data: bool = False) -> list[str]:
    """Create what is missing and return the names of the tables created.

    :param base_only: leave `weekly_actuals` to the migration.
    :param sample_data: fill the tables that are empty with a small season.
    :raises migrations.report.MigrationError: a table cannot be made.
    """
    from migrations.phase import Phase  # only here does db reach up, as a command, not as a library

    models = [model for model in MODELS if not (base_only and model is WeeklyActuals)]
    # On an open database connection_context() would close the caller's connection, and what is in memory with it.
    with database.connection_context() if database.is_closed() else contextlib.nullcontext():
        created = Phase("Application", upon={}, builds=models).create_missing(database)
        if sample_data:
            with database.atomic():
                _fill(database, models)
    return created


def _fill(database: peewee.Database, models: list[type[Uploadable]]) -> None:
    from db.bulk_insert import UploadRefused

    for model, rows in _season():
        if model in models and not database.execute(model.select(peewee.SQL("1")).limit(1)).fetchone():
            try:
                model.bulk_insert(rows, database=database)
            except UploadRefused as error:
                if not error.rows:  # else they refer to sample rows that are not there, since somebody's own are
                    raise


def _season() -> Iterator[tuple[type[Uploadable], list[dict[str, Any]]]]:
    """Yield each model with its rows, the same every time."""
    rng = random.Random(45)
    weeks = range(1, 13)
    stores = [(f"S{number:03}", number % 4, (number > 10) + (number > 35)) for number in range(1, 51)]

    def units(week: int, tier: int) -> int:
        peak = 1 - abs(week - 5) * 0.07  # in the fifth week
        return round((350 - 100 * tier) * peak * rng.uniform(0.85, 1.15))

    yield Category, [{
        "category_id": "womens_dresses", "category_name": "Women's Dresses", "season_start_date": _START,
        "season_end_date": _START + len(weeks) * _WEEK - datetime.timedelta(days=1), "season_length_weeks": len(weeks),
        "archetype": "FASHION_RETAIL",
    }]  # fmt: skip
    yield StoreCluster, [{
        "cluster_id": tier.lower(), "cluster_name": f"{tier.title()} Tier", "fashion_tier": tier,
    } for tier in _TIERS]  # fmt: skip
    yield Store, [{
        "store_id": store, "store_name": f"Store {store}", "cluster": _TIERS[tier].lower(),
        "store_size_sqft": 14_000 - 3_000 * tier + rng.randrange(-1_500, 1_500, 100), "location_tier": "ABC"[tier],
        "median_income": 130_000 - 35_000 * tier + rng.randrange(-9_000, 9_000, 500), "store_format": _FORMATS[kind],
        "region": _REGIONS[kind], "avg_weekly_sales_12mo": float(900 - 250 * tier + rng.randrange(-80, 80)),
    } for store, kind, tier in stores]  # fmt: skip
    yield HistoricalSales, [{
        "sale_id": f"{store}_{week:02}", "week_start_date": _START + (week - 53) * _WEEK, "category": "womens_dresses",
        "store": store, "units_sold": units(week, tier),
    } for week in weeks for store, _, tier in stores]  # fmt: skip
    yield Workflow, [{
        "workflow_id": name, "workflow_type": "forecast", "category_id": "womens_dresses", "status": status,
        "forecast_horizon_weeks": len(weeks), "season_start_date": _START.isoformat(),
        "replenishment_strategy": "weekly", "dc_holdback_percentage": 0.45,
    } for name, status in (("wf_spring_2025", "running"), ("wf_autumn_2024", "completed"))]  # fmt: skip
    yield WeeklyActuals, [{
        "workflow": "wf_spring_2025", "week_number": week, "week_start_date": _START + (week - 1) * _WEEK,
        "week_end_date": _START + week * _WEEK - datetime.timedelta(days=1), "store": store,
        "category": "womens_dresses", "actual_units_sold": units(week, tier), "forecast_units_sold": units(week, tier),
    } for week in (1, 2) for store, _, tier in stores]  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    from migrations.report import MigrationError

    command = Command(__doc__ or "")
    command.add_argument("--base-only", action="store_true", help="stop before weekly_actuals")
    command.add_argument("--sample-data", action="store_true", help="fill every empty table with a small season")
    return command.run(argv, _act, (MigrationError,))


def _act(database: peewee.Database, options: argparse.Namespace) -> str:
    created = init_db(database, options.base_only, options.sample_data)
    return f"created {', '.join(created)}" if created else "every table is there"


if __name__ == "__main__":
    raise SystemExit(main())
