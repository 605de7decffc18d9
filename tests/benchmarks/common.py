"""Rows to measure with, and medians of functions that take turns."""

import datetime
import os
import statistics
import time

import peewee

from db.models import HistoricalSales, Store, WeeklyActuals, Workflow

FIELDS = [
    field.column_name
    for field in WeeklyActuals._meta.sorted_fields
    if field.name != "id"
]
SALES = [
    "sale_id",
    "week_start_date",
    "category_id",
    "store_id",
    "units_sold",
    "created_at",
]
SEASON = 163_944  # rows of a real sales history
STORES, WEEKS = 1_000, 52
_MONDAY = datetime.date(2025, 1, 6)
_NOW = datetime.datetime(2025, 1, 6, 12)


def compiled_environment():
    """Return an environment in which a new process finds its modules compiled."""
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def medians(rounds, functions, before=lambda: None):
    """Return the median seconds of each function.

    They take turns, so that a slow moment affects all of them.
    """
    times = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, function in functions.items():
            before()
            started = time.perf_counter()
            function()
            if turn:  # the first turn warms up
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(taken) for name, taken in times.items()}


def show(what, project, reference, ratio, goal=""):
    print(f"{what:<74} {project:>11} {reference:>11} {ratio:>6} {goal}", flush=True)


def compare(what, times, speed=False, **goals):
    """Show the first time and each other one, with the ratio of times or of speeds."""
    (_, project), *others = times.items()
    for name, seconds in others:
        ratio = seconds / project if speed else project / seconds
        goal = goals.get(name.split()[0], "")
        show(
            f"{what} / {name}",
            readable(project),
            readable(seconds),
            f"{ratio:.2f}",
            goal,
        )


def readable(seconds):
    return f"{seconds * 1000:,.2f} ms" if seconds < 1 else f"{seconds:,.2f} s"


def actuals(count, first=0):
    """Yield tuples in the order of FIELDS, by workflow, week and store."""
    for number in range(first, first + count):
        week, store = divmod(number, STORES)
        workflow, week = divmod(week, WEEKS)
        monday = _MONDAY + datetime.timedelta(weeks=week)
        yield (
            f"wf_{workflow:05}", week + 1, monday, monday + datetime.timedelta(days=6),
            f"T{store:05}", "womens_dresses", number % 300, 200,
            (number % 300 - 200) / 200, _NOW,
        )  # fmt: skip


def sales(count):
    """Yield tuples in the order of SALES: week by week, store by store."""
    for number in range(count):
        week, store = divmod(number, 50)
        monday = datetime.date(1963, 1, 7) + datetime.timedelta(weeks=week)
        yield (
            f"S{store:03}_{monday:%Y%m%d}",
            monday,
            "womens_dresses",
            f"T{store:05}",
            number % 300,
            _NOW,
        )


def parents(database, count):
    """Create the stores and the workflows that so many actuals refer to."""
    with database.connection_context(), database.atomic():
        for model, names in (
            (Store, (f"T{number:05}" for number in range(STORES))),
            (
                Workflow,
                (f"wf_{number:05}" for number in range(count // STORES // WEEKS + 2)),
            ),
        ):
            key = model._meta.primary_key
            sample = model.select().dicts().limit(1).execute(database)[0]
            for batch in peewee.chunked(names, 50):
                rows = [{**sample, key.name: name} for name in batch]
                model.insert_many(rows).on_conflict_ignore().execute(database)


def upload(database, rows):
    """Fill weekly_actuals with so many rows."""
    parents(database, rows)
    with database.connection_context():
        WeeklyActuals.bulk_insert(actuals(rows), FIELDS, database=database)


def history(database, rows):
    """Fill historical_sales with so many rows."""
    names = ", ".join(
        field.column_name for field in HistoricalSales._meta.sorted_fields[:5]
    )
    with database.connection_context(), database.atomic():
        database.execute_sql(
            f"INSERT INTO historical_sales ({names}) "
            "WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n "
            f"WHERE n + 1 < {rows}) "
            "SELECT 'H' || n, '2024-01-01', 'womens_dresses', 'T00001', n % 90 FROM n"
        )
