"""Questions about rows, and the SQL for them, as far as it is the same on every engine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import peewee

from migrations.schema import ForeignKey, Table, Type

Row = tuple[Any, ...]  # of whatever the driver makes of a database's values


class Rows:
    """A database that answers questions about its rows."""

    database: peewee.Database
    # A condition that holds for the values, of the first type, that the second cannot take without loss.
    unconvertible: Callable[[str, Type, Type], str]

    def query(self, sql: str, params: Sequence[object] | None = None) -> list[Row]:
        with peewee.__exception_wrapper__:  # which Peewee puts around the call only
            rows: list[Row] = self.database.execute_sql(sql, params).fetchall()
            return rows

    def literally(self, sql: str) -> str:
        """Return a statement without parameters for a driver that looks for `%s` in it all the same."""
        return sql.replace("%", "%%") if self.database.param == "%s" else sql

    def quote(self, name: str) -> str:
        start, end = self.database.quote
        return f"{start}{name.replace(end, end + end)}{end}"

    def merges(self, source: Type, target: Type) -> bool:
        """Whether two values of a type that differ may be the same once they are of another."""
        return True

    def typed(self, value: str, type_: Type) -> str:
        """Return SQL that is a value as a type, for a CHECK; itself where the database compares it so anyway."""
        return value

    def as_text(self, expression: str) -> str:
        return f"CAST({expression} AS TEXT)"

    def uncountable(self, value: str) -> str:
        """Return a condition that holds for the values that cannot be in a key that counts by itself."""
        return f"{value} IS NULL"

    def no_parent(self, values: Sequence[str], key: ForeignKey, table: Table, text: bool = False) -> str:
        """Return a condition that holds for the rows `w` of a table whose values are no key of the parent.

        :param text: the values are given as text, and the parent's key is something else.
        """
        given = " AND ".join(f"{value} IS NOT NULL" for value in values)
        targets = [f"p.{self.quote(target)}" for target in key.target]
        same = [f"{self.as_text(each) if text else each} = {value}" for each, value in zip(targets, values)]
        return f"{given} AND NOT EXISTS (SELECT 1 FROM {self.quote(key.table)} p WHERE {' AND '.join(same)})"

    def values_of(self, table: str, column: str, up_to: int) -> str:
        """Return the beginning of a query in which `d` has the distinct values `v` of an indexed column, each
        found from the one before, so that no row is read for it.

        :param up_to: how many are wanted at most; there may be more of them in `d`.
        """
        name, column = self.quote(table), self.quote(column)
        following = f"(SELECT min({column}) FROM {name} WHERE {column} > d.v)"
        return (
            f"WITH RECURSIVE d (v) AS (SELECT min({column}) FROM {name} UNION ALL "
            f"SELECT {following} FROM d WHERE d.v IS NOT NULL)"
        )

    def all_rows(self) -> AbstractContextManager[None]:
        """Return a context in which a query sees every row there is, or is refused by the database."""
        return contextlib.nullcontext()

    def count(self, table: str, up_to: int | None = None) -> int:
        """Return the number of all rows of a table, or of the first of them."""
        source = self.quote(table) if up_to is None else f"(SELECT 1 FROM {self.quote(table)} LIMIT {up_to}) AS t"
        with self.all_rows():
            return int(self.query(f"SELECT count(*) FROM {source}")[0][0])

    def estimate(self, table: str) -> int | None:
        """Return the catalogue's idea of a table's rows, None where counting is the way."""
        return None

    def may_hold_orphans(self) -> bool:
        """Whether rows can violate a foreign key in the ordinary course of things."""
        return True
