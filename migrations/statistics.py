"""Statistics: how many rows the phase's tables have."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import peewee

from migrations.engines.engine import Engine

# A table with more rows, by the catalog's estimate, is not counted but estimated.
COUNTED_UP_TO = 10_000_000


class RowCount(NamedTuple):
    """The number of rows of a table."""

    rows: int
    is_estimate: bool


def count_rows(engine: Engine, table: str, exact: bool) -> RowCount:
    """Return the number of rows of a table.

    It is the catalog's estimate if the table is very long, or if this user may not see
    all of its rows.

    :param exact: count every row, however long it takes.
    """
    return engine.session.retry_on_lock(partial(_count, engine, table, exact))


def _count(engine: Engine, table: str, exact: bool) -> RowCount:
    if not exact:
        estimate = engine.catalog.estimated_count(table) or 0
        if estimate > COUNTED_UP_TO:
            return RowCount(estimate, is_estimate=True)
    try:
        return RowCount(engine.catalog.count(table), is_estimate=False)
    except peewee.ProgrammingError:
        # This user may not read the table, or not all of its rows.
        estimate = engine.catalog.estimated_count(table) or 0
        return RowCount(estimate, is_estimate=True)
