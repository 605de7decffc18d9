"""Orphans: rows that violate a foreign key which the table has.

They are reported, never deleted. No row is read for it: a recursive query takes each
distinct value from an index of the column (a loose index scan). A column without an
index, or with too many values, is checked only in a small table, or if a thorough check
was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from migrations.engines.engine import Engine
from migrations.preflight import Question, conflicting_rows
from migrations.report import Difference
from migrations.schema import ForeignKey, Schema, Table

# Rows of a table, or values of a column, that may be looked at one by one.
SMALL = 100_000


class OrphanCheck(NamedTuple):
    """A warning per foreign key that rows violate, and the columns not checked."""

    warnings: tuple[Difference, ...]
    skipped: tuple[str, ...]  # "table.column"


class _KeyCheck(NamedTuple):
    """What came of one foreign key."""

    warnings: list[Difference]
    skipped: bool = False


def find_orphans(schema: Schema, engine: Engine, thorough: bool) -> OrphanCheck:
    """Return the orphans of the managed tables.

    :param thorough: read every row where there is no quicker way.
    """
    warnings: list[Difference] = []
    skipped: list[str] = []
    with engine.session.all_rows():
        for name in engine.models.managed:
            if name not in schema:
                continue
            table = schema[name]
            declared = engine.catalog.declared_by_name(name)
            for key in declared.foreign_keys:
                exists = table.columns.keys() >= set(key.columns)
                if not exists or key.parent not in schema:
                    continue
                if not schema[key.parent].columns.keys() >= set(key.parent_columns):
                    continue  # a check found it before it is renamed
                if _must_be_converted(table, declared, key):
                    continue
                check = _check_key(engine, table, key, thorough)
                warnings += check.warnings
                if check.skipped:
                    skipped.append(_place(table, key))
    return OrphanCheck(tuple(warnings), tuple(skipped))


def _must_be_converted(table: Table, declared: Table, key: ForeignKey) -> bool:
    """Whether a column has values of another kind than its parents have.

    They may not be comparable. The preflight looks for the parents of what they become.
    """
    for name in key.columns:
        actual = table.columns[name].type.category
        if actual != declared.columns[name].type.category:
            return True
    return False


def _place(table: Table, key: ForeignKey) -> str:
    return f"{table.name}.{', '.join(key.columns)}"


def _check_key(
    engine: Engine, table: Table, key: ForeignKey, thorough: bool
) -> _KeyCheck:
    if len(key.columns) > 1 or not _begins_an_index(table, key):
        may_scan = thorough or engine.catalog.count(table.name, SMALL + 1) <= SMALL
        if may_scan:
            return _KeyCheck(_warnings(engine, table, key))
        return _KeyCheck([], skipped=True)
    values = engine.conversions.distinct_values(table.name, key.columns[0], SMALL)
    missing = _orphan_condition(engine, table, key, ["d.v"])
    seen, without_parent = _count_values(engine, values, missing)
    if without_parent:
        column = f"w.{engine.session.quote(key.columns[0])}"
        quick = f"{column} IN (SELECT v FROM ({values}) AS d WHERE {missing})"
        return _KeyCheck(_warnings(engine, table, key, quick))
    if seen < SMALL:
        return _KeyCheck([])
    if thorough:
        return _KeyCheck(_warnings(engine, table, key))
    return _KeyCheck([], skipped=True)


def _begins_an_index(table: Table, key: ForeignKey) -> bool:
    """Whether an index of the table begins with the foreign key's column."""
    indexes = [index.columns for index in table.indexes if index.covers_all_rows]
    indexes.append(table.primary_key)
    column = key.columns[0]
    return any(columns and columns[0] == column for columns in indexes)


def _count_values(engine: Engine, values: str, missing: str) -> tuple[int, int]:
    """Return the number of values, and of those without a parent.

    :param values: a query for values `v`.
    :param missing: a condition that is true for `d.v` without a parent.
    """
    without_parent = f"coalesce(sum(CASE WHEN {missing} THEN 1 ELSE 0 END), 0)"
    query = f"SELECT count(*), {without_parent} FROM ({values}) AS d"
    ((seen, missing_count),) = engine.session.query(query)
    return seen, missing_count


def _orphan_condition(
    engine: Engine, table: Table, key: ForeignKey, values: Sequence[str]
) -> str:
    quote = engine.session.quote
    sources = quote(table.name), quote(key.parent)
    return engine.conversions.orphan_condition(values, key, *sources)


def _warnings(
    engine: Engine, table: Table, key: ForeignKey, quick_condition: str | None = None
) -> list[Difference]:
    where = _place(table, key)
    values = [f"w.{engine.session.quote(name)}" for name in key.columns]
    condition = _orphan_condition(engine, table, key, values)
    question = Question(engine.session.quote(table.name), condition)
    reason = f"{where}: rows whose parent in {key.parent} does not exist"
    lines = conflicting_rows(reason, question, table, engine, quick_condition)
    expected = f"a row of {key.parent}"
    return [
        Difference("warning", where, expected, "no such row", line) for line in lines
    ]
