"""SQL about values and rows: what a change would lose, and which rows conflict with it.

`Conversions` is the abstract base class; a subclass per database is in its package.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from migrations.engines.catalog import Catalog
from migrations.schema import Column, ForeignKey, Type


class Conversions(ABC):
    """Writes conditions and expressions. It executes nothing but reads of the catalog.

    Its methods are called while planning (preflight), and by the check for orphans. A
    `value` is always SQL, usually a column of the row `w`.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.session = catalog.session

    @abstractmethod
    def lossy_condition(self, value: str, source: Type, target: Type) -> str:
        """Return a condition that is true for values that `target` cannot hold.

        Called by preflight, for a column whose type changes.

        :param value: SQL of a value of the type `source`.
        """

    def may_collapse(self, source: Type, target: Type) -> bool:
        """Whether two different values may become equal when they are converted.

        Called by preflight, for columns of unique keys.
        """
        return True

    def cast(self, value: str, target: Type) -> str:
        """Return SQL of a value as a type. Called by preflight, for a DEFAULT.

        The value itself if the database compares it like a value of that type anyway.
        """
        return value

    def unfit_condition(self, value: str, target: Type) -> str:
        """Return a condition that is true for values that do not fit into a type.

        Called by preflight, for the value of a Backfill: one that a CAST would cut or
        round, that the server would refuse, or that is of another kind.
        """
        if target.size is None:
            return "1 = 0"
        if target.category in ("string", "fixed string"):
            return f"char_length({value}) > {target.size}"
        if target.category == "integer":
            limit = 1 << (8 * target.size - 1)
            too_large = f"{value} NOT BETWEEN {-limit} AND {limit - 1}"
            return f"{too_large} OR {value} <> round({value})"
        if target.category == "decimal" and target.scale is not None:
            number = self.exact_number(value)
            too_large = f"abs({number}) >= 1{'0' * (target.size - target.scale)}"
            return f"{too_large} OR {number} <> round({number}, {target.scale})"
        return "1 = 0"

    def exact_number(self, value: str) -> str:
        """Return SQL of a number as a decimal that has all of its digits.

        Called by `unfit_condition`. A server overrides it: by way of the text, 0.1 of a
        FLOAT is what people have read.
        """
        return value

    def converted(self, value: str, source: Type, target: Type) -> str:
        """Return SQL of what a column's value becomes when its type changes.

        Called by preflight, and where a statement converts with the same expression.
        """
        return self.cast(value, target)

    def with_collation(self, value: str, actual: Column, planned: Column) -> str:
        """Return SQL of a converted value that compares as its column will.

        Called by preflight.

        :param value: a CASE, whose collation or affinity may be another one.
        """
        return value

    def shown(self, value: str, type_: Type) -> str:
        """Return SQL of a value as people are shown it, which can be sorted.

        Called by preflight and by the check for orphans, for the key of a row.
        """
        return value

    def key_expression(self, part: str) -> str:
        """Return the SQL of what a part of an index compares, without its direction.

        Called by preflight, for a unique index that is more than one of columns.
        """
        # Imported only for indexes that are more than indexes of columns.
        from migrations.index_text import without_direction

        return without_direction(part)

    def row_with_nulls(self, values: Sequence[str]) -> str:
        """Return SQL of a value that is equal for rows that are, even with NULLs.

        Called by preflight, for a unique index in which NULLs are equal. Only a
        database that has such indexes overrides it.
        """
        return f"({', '.join(values)})"

    def not_usable_as_id(self, value: str) -> str:
        """Return a condition that is true for values that an id cannot have.

        Called by preflight, for a column that becomes an auto-increment key.
        """
        return f"{value} IS NULL"

    def orphan_condition(
        self,
        values: Sequence[str],
        key: ForeignKey,
        child_source: str,
        parent_source: str,
    ) -> str:
        """Return a condition that is true for rows `w` without a parent.

        Called by preflight, and by the check for orphans.

        :param values: SQL of the values in the foreign key's columns.
        :param child_source: where the rows `w` come from: a table, or a subquery.
        :param parent_source: where the parents come from.
        """
        given = [f"{value} IS NOT NULL" for value in values]
        matches = []
        for name, value in zip(key.parent_columns, values):
            matches.append(f"p.{self.session.quote(name)} = {value}")
        parents = f"SELECT 1 FROM {parent_source} p WHERE {' AND '.join(matches)}"
        return f"{' AND '.join(given)} AND NOT EXISTS ({parents})"

    def distinct_values(self, table: str, column: str, limit: int) -> str:
        """Return a query for the distinct values of an indexed column.

        It has one column, `v`, without NULL. Each value is found from the one before,
        along the index, so that no row is read. Called by the check for orphans.

        :param limit: the number of values, at most.
        """
        quoted_table = self.session.quote(table)
        quoted_column = self.session.quote(column)
        smallest = f"SELECT min({quoted_column}) FROM {quoted_table}"
        next_value = f"({smallest} WHERE {quoted_column} > d.v)"
        return (
            f"WITH RECURSIVE d (v) AS ({smallest} UNION ALL "
            f"SELECT {next_value} FROM d WHERE d.v IS NOT NULL) "
            f"SELECT v FROM d WHERE v IS NOT NULL LIMIT {limit}"
        )
