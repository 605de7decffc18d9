"""Rows that violate a foreign key which the table has: reported, never deleted.

They are looked for without reading the rows: along an index of the column, from value to value. What
has no index, or more values than that pays for, is looked at only in a small table, or if asked to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from migrations.engines.base import Engine
from migrations.obstacles import rows_against
from migrations.report import Difference
from migrations.schema import ForeignKey, Schema, Table

SMALL = 100_000  # rows, or values of a column, that may be looked at one by one


class Orphans(NamedTuple):
    """What was found, and the columns that were not looked at: `table.column`."""

    found: tuple[Difference, ...]
    unexamined: tuple[str, ...]


def orphans(schema: Schema, engine: Engine, thorough: bool) -> Orphans:
    """Return a warning for each foreign key that rows violate.

    :param thorough: look at every row where there is no other way.
    """
    found: list[Difference] = []
    unexamined: list[str] = []
    with engine.all_rows():
        for name in engine.builds:
            declared, table = engine.declared(engine.models[name]), schema.get(name)
            for key in declared.foreign_keys if table else ():
                if table and table.columns.keys() >= {*key.columns} and key.table in schema:
                    look = _Look(engine, table, key)
                    if look.is_quick() or thorough:
                        found += look.found(declared)
                    else:
                        unexamined.append(look.where)
    return Orphans(tuple(found), tuple(unexamined))


class _Look:
    """A look for the rows of a table whose foreign key refers to nothing."""

    def __init__(self, engine: Engine, table: Table, key: ForeignKey) -> None:
        self.engine, self.table, self.key = engine, table, key
        self.where = f"{table.name}.{', '.join(key.columns)}"
        self.missing = 0  # values that are no key of the parent
        indexes = [index.columns for index in table.indexes if not index.partial and index.valid]
        self.indexed = any(columns[:1] == key.columns for columns in (table.primary_key, *indexes))

    def is_quick(self) -> bool:
        """Whether few steps told everything."""
        if not self.indexed:
            return self.engine.count(self.table.name, SMALL + 1) <= SMALL
        few = f"(SELECT v FROM d WHERE v IS NOT NULL LIMIT {SMALL}) AS t"
        missing = f"coalesce(sum(CASE WHEN {self._no_parent('t.v')} THEN 1 ELSE 0 END), 0)"
        ((values, self.missing),) = self.engine.query(f"{self._values()} SELECT count(*), {missing} FROM {few}")
        return bool(self.missing or values < SMALL)

    def found(self, declared: Table) -> Iterator[Difference]:
        """Yield a warning if there are such rows."""
        if self.indexed and not self.missing:
            return
        column = f"w.{self.engine.quote(self.key.columns[0])}"
        condition = self.engine.no_parent([column], self.key, self.table)
        quick = None
        if self.indexed:
            quick = f"{column} IN ({self._values()} SELECT v FROM d WHERE {self._no_parent('d.v')})"
        what = f"{self.where}: rows whose parent in {self.key.table} does not exist"
        for text in rows_against(what, condition, self.table, declared, self.engine, quick):
            yield Difference("warning", self.where, f"a row of {self.key.table}", "no such row", text)

    def _values(self) -> str:
        return self.engine.values_of(self.table.name, self.key.columns[0], SMALL)

    def _no_parent(self, value: str) -> str:
        return self.engine.no_parent([value], self.key, self.table)
