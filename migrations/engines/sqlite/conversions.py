"""SQL about values of an SQLite table, where any column may hold values of any type."""

from __future__ import annotations

from collections.abc import Sequence

from migrations.engines.conversions import Conversions
from migrations.engines.sqlite.column_types import affinity
from migrations.schema import Column, ForeignKey, Type

_INTEGER = Type("INTEGER", "integer")
# By category, the type of a CAST; other types hold text as it is.
_CAST_TYPES = {
    "integer": "INTEGER",
    "float": "REAL",
    "decimal": "NUMERIC",
    "string": "TEXT",
}
# What a float holds to the last digit.
_EXACT_IN_FLOAT = "BETWEEN -(1 << 53) AND 1 << 53"
# By category, a condition that is true for few values {v}: all others are lossless,
# which is known at once. Up to 17 characters have at most 15 significant digits, or a
# point among them.
_UNUSUAL = {
    "integer": "{v} IS NOT CAST({integer} AS TEXT)",
    "float": (
        "({v} <> {real} OR length({v}) > 17 OR abs({real}) NOT BETWEEN 1e-300 AND 9e15 "
        "OR {padded})"
    ),
}
# By category, the condition that is true for a value {v} which such a column holds
# without loss. A text that is a number equals that number as a float; 15 digits survive
# the way there and back, and below 2^53 so do the up to 17 digits that other programs
# write of a float. Without the modifier '+0 days', date() accepts 30 February.
_LOSSLESS = {
    "integer": "{kind} = 'integer' OR {kind} = 'real' AND {integer} = {v} OR {whole}",
    "float": (
        "{kind} = 'real' "
        "OR {integer} {exact} AND ({kind} = 'integer' OR {whole}) "
        "OR {decimal} AND NOT ({whole})"
    ),
    "decimal": "{kind} IN ('integer', 'real') OR {whole} OR {decimal}",
    "string": (
        "{kind} IN ('text', 'integer') "
        "OR {kind} = 'real' AND CAST(CAST({v} AS TEXT) AS REAL) = {v}"
    ),
    "date": "{kind} = 'text' AND date({v}, '+0 days') = {v}",
    "datetime": (
        "{kind} = 'text' "
        "AND datetime({v}, '+0 days') = replace(substr({v}, 1, 19), 'T', ' ')"
    ),
    "time": ("{kind} = 'text' AND time({v}, '+0 days') = substr({v} || ':00', 1, 8)"),
    "blob": "{kind} = 'blob'",
    "json": (
        "{kind} IN ('integer', 'real') "
        "OR {kind} = 'text' AND coalesce({v} <> {real}, 1) OR {whole} OR {decimal}"
    ),
}


class SQLiteConversions(Conversions):
    """Writes SQL about values."""

    def lossy_condition(self, value: str, source: Type, target: Type) -> str:
        parts = _parts_of(value)
        lossless = _LOSSLESS.get(target.category, "{kind} = 'text'").format(**parts)
        unusual = _UNUSUAL.get(target.category, "1").format(**parts)
        return f"{value} IS NOT NULL AND {unusual} AND coalesce(NOT ({lossless}), 1)"

    def may_collapse(self, source: Type, target: Type) -> bool:
        if affinity(source.text) != "text":
            return True  # 1 and '1' may both be there
        # A text of one of these may be a number, which has more than one notation.
        return target.category in ("float", "decimal", "json")

    def unfit_condition(self, value: str, target: Type) -> str:
        # No column is too short, but each one takes values of every kind.
        if target.category not in ("integer", "float", "decimal"):
            return "0"
        return self.lossy_condition(value, target, target)

    def cast(self, value: str, target: Type) -> str:
        if target.category == "json":
            # Its affinity is NUMERIC: of a text, only one that is a number becomes one.
            is_other = f"coalesce({value} <> CAST({value} AS REAL), 1)"
            number = f"CAST({value} AS NUMERIC)"
            return f"CASE WHEN {is_other} THEN {value} ELSE {number} END"
        cast_type = _CAST_TYPES.get(target.category)
        if cast_type is None:
            return value
        return f"CAST({value} AS {cast_type})"

    def with_collation(self, value: str, actual: Column, planned: Column) -> str:
        value = self.cast(value, planned.type)  # a CASE has no affinity
        collation = planned.collation or actual.collation
        if collation is None:
            return value
        return f"({value}) COLLATE {self.session.quote(collation)}"

    def not_usable_as_id(self, value: str) -> str:
        # Other columns hold values of any type, an INTEGER PRIMARY KEY integers only.
        lossy = self.lossy_condition(value, _INTEGER, _INTEGER)
        return f"({value} IS NULL OR {lossy})"

    def orphan_condition(
        self,
        values: Sequence[str],
        key: ForeignKey,
        child_source: str,
        parent_source: str,
    ) -> str:
        if parent_source.startswith("("):  # a subquery
            # The LIMIT keeps it whole, so that SQLite makes an index of it instead of
            # reading all parents for each value.
            parent_source = f"(SELECT * FROM {parent_source} LIMIT -1)"
        # Foreign keys compare with the type and the collation of the parent's column,
        # https://sqlite.org/foreignkeys.html#fk_basics; +v has no type of its own.
        if len(values) > 1 or values[0] != f"w.{self.session.quote(key.columns[0])}":
            plain_values = [f"+{value}" for value in values]
            return super().orphan_condition(
                plain_values, key, child_source, parent_source
            )
        # A parent is looked for once per value, not once per row. The LIMIT keeps
        # SQLite from merging the queries: https://sqlite.org/optoverview.html#flattening
        value = values[0]
        distinct = f"SELECT DISTINCT {value} AS v FROM {child_source} w LIMIT -1"
        orphan = super().orphan_condition(["+v"], key, child_source, parent_source)
        return f"{value} IN (SELECT v FROM ({distinct}) WHERE {orphan})"


def _parts_of(value: str) -> dict[str, str]:
    """Return what the conditions say about a value, by the names they use."""
    kind = f"typeof({value})"
    integer = f"CAST({value} AS INTEGER)"
    real = f"CAST({value} AS REAL)"
    # A text that is a number whose digits, from the first that is not 0, a float keeps.
    mantissa = f"substr({value}, 1, instr(lower({value}) || 'e', 'e') - 1)"
    digits = f"length(ltrim(replace({mantissa}, '.', ''), '-+0'))"
    kept_digits = (
        f"CASE WHEN {real} = 0 THEN 0 WHEN abs({real}) < 1 << 53 THEN 17 "
        f"WHEN abs({real}) < 9e999 THEN 15 ELSE 0 END"
    )
    # 007 and +7 may be codes and telephone numbers, which are not the same as 7.
    padded = (
        f"{kind} = 'text' AND ({value} GLOB '[+ ]*' "
        f"OR ltrim({value}, '-') GLOB '0[0-9]*')"
    )
    return {
        "v": value,
        "kind": kind,
        "integer": integer,
        "real": real,
        "exact": _EXACT_IN_FLOAT,
        "whole": f"{kind} = 'text' AND CAST({integer} AS TEXT) = {value}",
        "decimal": (
            f"{kind} = 'text' AND {value} = {real} AND {digits} <= {kept_digits} "
            f"AND NOT ({padded})"
        ),
        "padded": padded,
    }
