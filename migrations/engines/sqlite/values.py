"""Questions about the rows of an SQLite table, where any column may hold values of any type."""

from __future__ import annotations

from collections.abc import Sequence

from migrations.engines.rows import Rows
from migrations.engines.sqlite.catalogue import affinity
from migrations.schema import ForeignKey, Table, Type

_INTEGER = Type("INTEGER", "integer")
_EXACT = "BETWEEN -(1 << 53) AND 1 << 53"  # what a float holds to the last digit


class Values(Rows):
    """The SQL that asks about values."""

    def unconvertible(self, value: str, source: Type, target: Type) -> str:
        kind, integer, real = f"typeof({value})", f"CAST({value} AS INTEGER)", f"CAST({value} AS REAL)"
        whole = f"{kind} = 'text' AND CAST({integer} AS TEXT) = {value}"
        # A text that is a number whose digits, from the first that counts, a float keeps.
        mantissa = f"substr({value}, 1, instr(lower({value}) || 'e', 'e') - 1)"
        digits = f"length(ltrim(replace({mantissa}, '.', ''), '-+0'))"
        keeps = f"WHEN {real} = 0 THEN 0 WHEN abs({real}) < 1 << 53 THEN 17 WHEN abs({real}) < 9e999 THEN 15 ELSE 0"
        decimal = f"{kind} = 'text' AND {value} = {real} AND {digits} <= CASE {keeps} END"
        fits = _FITS.get(target.family, "{kind} = 'text'").format(
            v=value, kind=kind, integer=integer, real=real, whole=whole, exact=_EXACT, decimal=decimal
        )
        unusual = _UNUSUAL.get(target.family, "1").format(v=value, integer=integer, real=real)
        return f"{value} IS NOT NULL AND {unusual} AND coalesce(NOT ({fits}), 1)"

    def merges(self, source: Type, target: Type) -> bool:
        # Not where all is text, and a number in its shortest form.
        return affinity(source.text) != "text" or target.family in ("float", "decimal", "json")

    def typed(self, value: str, type_: Type) -> str:
        words = {"integer": "INTEGER", "float": "REAL", "decimal": "NUMERIC", "string": "TEXT"}
        return f"CAST({value} AS {words[type_.family]})" if type_.family in words else value

    def uncountable(self, value: str) -> str:
        # Any type holds any value here, but an INTEGER PRIMARY KEY holds whole numbers only.
        return f"({value} IS NULL OR {self.unconvertible(value, _INTEGER, _INTEGER)})"

    def no_parent(self, values: Sequence[str], key: ForeignKey, table: Table, text: bool = False) -> str:
        # As enforcement compares: in the parent's type and collation, which a bare value, +v, takes on.
        if len(values) > 1 or values[0] != f"w.{self.quote(key.columns[0])}":
            return super().no_parent([f"+{value}" for value in values], key, table)
        # A parent is looked for once a value, and not once a row; LIMIT keeps SQLite from undoing that.
        distinct = f"SELECT DISTINCT {values[0]} AS v FROM {self.quote(table.name)} w LIMIT -1"
        return f"{values[0]} IN (SELECT v FROM ({distinct}) WHERE {super().no_parent(['+v'], key, table)})"


# By family, a condition that holds for few values {v}: all others fit, which is known at once. Up to 17 characters
# have at most 15 digits that count, or a point among them.
_UNUSUAL = {
    "integer": "{v} IS NOT CAST({integer} AS TEXT)",
    "float": "({v} <> {real} OR length({v}) > 17 OR abs({real}) NOT BETWEEN 1e-300 AND 9e15)",
}
# By family, the condition that holds for a value {v} that such a column holds without loss. A text that is
# a number equals what it is as a float; 15 digits survive the way there and back, and below 2^53 so do the
# up to 17 that others write of a float. Without the modifier, 30 February passes for a date.
_FITS = {
    "integer": "{kind} = 'integer' OR {kind} = 'real' AND {integer} = {v} OR {whole}",
    "float": "{kind} = 'real' OR {integer} {exact} AND ({kind} = 'integer' OR {whole}) OR {decimal} AND NOT ({whole})",
    "decimal": "{kind} IN ('integer', 'real') OR {whole} OR {decimal}",
    "string": "{kind} IN ('text', 'integer') OR {kind} = 'real' AND CAST(CAST({v} AS TEXT) AS REAL) = {v}",
    "date": "{kind} = 'text' AND date({v}, '+0 days') = {v}",
    "datetime": "{kind} = 'text' AND datetime({v}, '+0 days') = replace(substr({v}, 1, 19), 'T', ' ')",
    "time": "{kind} = 'text' AND time({v}, '+0 days') = substr({v} || ':00', 1, 8)",
    "blob": "{kind} = 'blob'",
    "json": "{kind} IN ('integer', 'real') OR {kind} = 'text' AND coalesce({v} <> {real}, 1) OR {whole} OR {decimal}",
}
