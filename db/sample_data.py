"""Sample data: a small season of one category, the same every time.

    insert_sample_data(database, MODELS)

50 stores of three tiers sell women's dresses. There are the sales of the previous
season, and two weeks of actual sales for the forecast of the current one.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Container
from typing import Any, NamedTuple

import peewee

from db.bulk_insert import UploadRefused
from db.models import (
    Category,
    HistoricalSales,
    Store,
    StoreCluster,
    Uploadable,
    WeeklyActuals,
    Workflow,
)

Rows = list[dict[str, Any]]

_SEASON_START = datetime.date(2025, 2, 17)
_SEASON_WEEKS = range(1, 13)
_PEAK_WEEK = 5
_UPLOADED_WEEKS = (1, 2)
_STORE_NUMBERS = range(1, 51)
_FORMATS = ("MALL", "STANDALONE", "SHOPPING_CENTER", "OUTLET")
_REGIONS = ("WEST", "NORTHEAST", "SOUTHEAST", "MIDWEST")
_CATEGORY_ID = "womens_dresses"
_WORKFLOW_ID = "wf_spring_2025"


class _Tier(NamedTuple):
    """What the stores of a tier have in common."""

    name: str
    last_store_number: int
    location_tier: str
    size_sqft: int
    median_income: int
    weekly_sales: int
    weekly_units: int


_TIERS = (
    _Tier("PREMIUM", 10, "A", 14_000, 130_000, 900, 350),
    _Tier("MAINSTREAM", 35, "B", 11_000, 95_000, 650, 250),
    _Tier("VALUE", 50, "C", 8_000, 60_000, 400, 150),
)


def insert_sample_data(
    database: peewee.Database, models: Container[type[Uploadable]]
) -> None:
    """Insert the sample data of some models into their tables, if these are empty."""
    for model, rows in _season():
        if model in models and _is_empty(database, model):
            _insert(database, model, rows)


def _is_empty(database: peewee.Database, model: type[Uploadable]) -> bool:
    query = model.select(peewee.SQL("1")).limit(1)
    return not database.execute(query).fetchone()


def _insert(database: peewee.Database, model: type[Uploadable], rows: Rows) -> None:
    try:
        model.bulk_insert(rows, database=database)
    except UploadRefused as error:
        if not error.rows:
            raise
        # The rows refer to sample rows of another table, which was not empty.


def _season() -> list[tuple[type[Uploadable], Rows]]:
    """Return the models with their rows, parents first."""
    rng = random.Random(45)
    return [
        (Category, _categories()),
        (StoreCluster, _clusters()),
        (Store, _stores(rng)),
        (HistoricalSales, _historical_sales(rng)),
        (Workflow, _workflows()),
        (WeeklyActuals, _weekly_actuals(rng)),
    ]


def _categories() -> Rows:
    return [
        {
            "category_id": _CATEGORY_ID,
            "category_name": "Women's Dresses",
            "season_start_date": _SEASON_START,
            "season_end_date": _week_end(_SEASON_WEEKS[-1]),
            "season_length_weeks": len(_SEASON_WEEKS),
            "archetype": "FASHION_RETAIL",
        }
    ]


def _clusters() -> Rows:
    return [
        {
            "cluster_id": tier.name.lower(),
            "cluster_name": f"{tier.name.title()} Tier",
            "fashion_tier": tier.name,
        }
        for tier in _TIERS
    ]


def _stores(rng: random.Random) -> Rows:
    stores = []
    for number in _STORE_NUMBERS:
        tier = _tier(number)
        store_id = _store_id(number)
        kind = number % len(_FORMATS)
        stores.append(
            {
                "store_id": store_id,
                "store_name": f"Store {store_id}",
                "cluster": tier.name.lower(),
                "store_size_sqft": tier.size_sqft + rng.randrange(-1_500, 1_500, 100),
                "location_tier": tier.location_tier,
                "median_income": tier.median_income + rng.randrange(-9_000, 9_000, 500),
                "store_format": _FORMATS[kind],
                "region": _REGIONS[kind],
                "avg_weekly_sales_12mo": float(
                    tier.weekly_sales + rng.randrange(-80, 80)
                ),
            }
        )
    return stores


def _historical_sales(rng: random.Random) -> Rows:
    one_year = datetime.timedelta(weeks=52)
    return [
        {
            "sale_id": f"{_store_id(number)}_{week:02}",
            "week_start_date": _week_start(week) - one_year,
            "category": _CATEGORY_ID,
            "store": _store_id(number),
            "units_sold": _units(rng, week, number),
        }
        for week in _SEASON_WEEKS
        for number in _STORE_NUMBERS
    ]


def _workflows() -> Rows:
    return [
        {
            "workflow_id": workflow_id,
            "workflow_type": "forecast",
            "category_id": _CATEGORY_ID,
            "status": status,
            "forecast_horizon_weeks": len(_SEASON_WEEKS),
            "season_start_date": _SEASON_START.isoformat(),
            "replenishment_strategy": "weekly",
            "dc_holdback_percentage": 0.45,
        }
        for workflow_id, status in (
            (_WORKFLOW_ID, "running"),
            ("wf_autumn_2024", "completed"),
        )
    ]


def _weekly_actuals(rng: random.Random) -> Rows:
    return [
        {
            "workflow": _WORKFLOW_ID,
            "week_number": week,
            "week_start_date": _week_start(week),
            "week_end_date": _week_end(week),
            "store": _store_id(number),
            "category": _CATEGORY_ID,
            "actual_units_sold": _units(rng, week, number),
            "forecast_units_sold": _units(rng, week, number),
        }
        for week in _UPLOADED_WEEKS
        for number in _STORE_NUMBERS
    ]


def _store_id(number: int) -> str:
    return f"S{number:03}"


def _tier(store_number: int) -> _Tier:
    return next(tier for tier in _TIERS if store_number <= tier.last_store_number)


def _week_start(week: int) -> datetime.date:
    return _SEASON_START + datetime.timedelta(weeks=week - 1)


def _week_end(week: int) -> datetime.date:
    return _week_start(week) + datetime.timedelta(days=6)


def _units(rng: random.Random, week: int, store_number: int) -> int:
    """Return the units that a store sells in a week, most of them at the peak."""
    peak = 1 - abs(week - _PEAK_WEEK) * 0.07
    return round(_tier(store_number).weekly_units * peak * rng.uniform(0.85, 1.15))
