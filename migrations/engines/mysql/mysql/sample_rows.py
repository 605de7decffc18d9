"""The rows of the smoke test, in the way that only MySQL has.

MySQL ignores a CHECK constraint only after an ALTER TABLE. So values are made that the
constraints of the table accept.
"""

from __future__ import annotations

from collections.abc import Sequence

from migrations.engines.checked_values import (
    Rule,
    checked_columns,
    rules,
    suggested_values,
)
from migrations.engines.mysql.column_types import STRINGS
from migrations.engines.mysql.conversions import cast_to
from migrations.engines.mysql.sample_rows import MySQLFamilySampleRows
from migrations.engines.sample_rows import SampleRow, random_text
from migrations.schema import Column, Table, Type
from migrations.sql_text import literal

# Thousands of queries in one statement would take gigabytes of the server's memory.
_QUERIES_AT_ONCE = 50
_ENOUGH = 9  # values
_DRAWS = 3  # of random values, of which each may be refused


class MySQLSampleRows(MySQLFamilySampleRows):
    """Makes the rows of one smoke test."""

    def checked_columns(self, table: Table) -> set[str]:
        return checked_columns(table)

    def candidate_values(
        self, table: Table, column: Column, size: int, row: SampleRow
    ) -> list[str]:
        name = table.names.key(column.name)
        about_it = [rule for rule in rules(table) if name in rule.columns]
        if not about_it or column.auto_increment:
            return self._random_values(table, column, size, row)
        conditions = [rule.condition for rule in about_it]
        values = [candidate.sql for candidate in suggested_values(conditions, "{}")]
        for _ in range(_DRAWS):
            values += self._random_values(table, column, size, row)
        values = [_cast(value, column.type) for value in values]
        if column.null:
            values.append("NULL")
        decidable = [rule for rule in about_it if rule.columns <= {name, *row}]
        if not decidable:
            return values
        return self._accepted(table, name, values, row, decidable)

    def _random_values(
        self, table: Table, column: Column, size: int, row: SampleRow
    ) -> list[str]:
        if column.type.category == "json":
            return [literal(f'"{random_text()}"')]
        return super().candidate_values(table, column, size, row)

    def _accepted(
        self,
        table: Table,
        name: str,
        values: Sequence[str],
        row: SampleRow,
        decidable: Sequence[Rule],
    ) -> list[str]:
        """Return those values of a column that some rules accept, until there are some.

        :param row: has the values of all other columns that the rules name.
        """
        column = self.quoted_column(table, name)
        others = {other for rule in decidable for other in rule.columns} - {name}
        known = "".join(
            f", {row[other]} AS {self.quoted_column(table, other)}" for other in others
        )
        conditions = " AND ".join(rule.condition for rule in decidable)
        queries = []
        for position, value in enumerate(values):
            query = (
                f"SELECT {position} FROM (SELECT {value} AS {column}{known}) AS t "
                f"WHERE {conditions}"
            )
            if value != "NULL":  # what a CAST cannot read becomes NULL
                query += f" AND {column} IS NOT NULL"
            queries.append(query)
        accepted: list[str] = []
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            some = queries[start : start + _QUERIES_AT_ONCE]
            found = self.session.query(" UNION ALL ".join(some))
            accepted += [values[int(position)] for (position,) in found]
            if len(accepted) >= _ENOUGH:
                break
        return accepted

    def literal_of(self, column: Column) -> str:
        """MySQL takes hexadecimal digits without a character set for a number."""
        name = self.quote(column.name)
        charset = f"charset({name})"
        if column.type.category == "json":
            charset = "'utf8mb4'"  # a JSON is not made of what is binary
        digits = f"hex(cast({name} AS BINARY))"
        return f"coalesce(concat('_', {charset}, ' x''', {digits}, ''''), 'NULL')"


def _cast(value: str, type_: Type) -> str:
    """Return SQL of a value as a column of a type would have it."""
    if type_.category in (*STRINGS, "enum", "set"):
        return f"CAST({value} AS CHAR)"
    if type_.category in ("json", "year"):
        return f"CAST({value} AS {type_.category})"
    return cast_to(value, type_)
