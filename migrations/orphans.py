"""Rows that violate a foreign key which the table has: reported, never deleted.

They are looked for without reading the rows: along an index of the column, from value to value. What
has no index, or more values than that pays for, is looked at only in a small table, or if asked to.
"""

from __future__ import annotations

from migrations.engines.base import Engine
from migrations.obstacles import rows_against
from migrations.report import Difference
from migrations.schema import ForeignKey, Schema, Table

SMALL = 100_000  # rows, or values of a column, that may be looked at one by one


def orphans(schema: Schema, engine: Engine, thorough: bool) -> tuple[tuple[Difference, ...], tuple[str, ...]]:
    """Return a warning for each foreign key that rows violate, and the columns that were not looked at.

    :param thorough: look at every row where there is no other way.
    """
    found: list[Difference] = []
    unexamined: list[str] = []
    with engine.all_rows():
        for name in (name for name in engine.builds if name in schema):
            table = schema[name]
            for key in engine.declared(engine.models[name]).foreign_keys:
                if table.columns.keys() >= {*key.columns} and key.table in schema:
                    where = f"{table.name}.{', '.join(key.columns)}"
                    orphaned = _orphaned(engine, table, key, where, thorough)
                    found += orphaned or []
                    unexamined += [where] * (orphaned is None)
    return tuple(found), tuple(unexamined)


def _orphaned(engine: Engine, table: Table, key: ForeignKey, where: str, thorough: bool) -> list[Difference] | None:
    """Return a warning if there are rows whose foreign key refers to nothing; None where that was not looked at."""
    column, quick = f"w.{engine.quote(key.columns[0])}", None
    indexes = [table.primary_key, *(index.columns for index in table.indexes if index.full)]
    if any(columns[:1] == key.columns for columns in indexes):
        values = engine.values_of(table.name, key.columns[0], SMALL)
        missing = f"coalesce(sum(CASE WHEN {engine.no_parent(['t.v'], key, table)} THEN 1 ELSE 0 END), 0)"
        few = f"(SELECT v FROM d WHERE v IS NOT NULL LIMIT {SMALL}) AS t"
        ((seen, parentless),) = engine.query(f"{values} SELECT count(*), {missing} FROM {few}")
        if parentless:
            quick = f"{column} IN ({values} SELECT v FROM d WHERE {engine.no_parent(['d.v'], key, table)})"
        elif seen < SMALL:
            return []
        elif not thorough:
            return None
    elif not thorough and engine.count(table.name, SMALL + 1) > SMALL:
        return None
    what = f"{where}: rows whose parent in {key.table} does not exist"
    texts = rows_against(what, engine.no_parent([column], key, table), table, engine, quick)
    return [Difference("warning", where, f"a row of {key.table}", "no such row", text) for text in texts]
