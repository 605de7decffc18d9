"""Values on their way from one type to another, as SQL of PostgreSQL.

Which values cannot be converted without loss is decided by their text. No pattern has a
backslash, so that it means the same whatever `standard_conforming_strings` is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from migrations.engines.conversions import Conversions
from migrations.engines.postgresql.column_types import (
    keeps_stored_rows,
    type_of_existing_column,
)
from migrations.index_text import without_operator_class
from migrations.schema import Type

_DATE = "[0-9]{4}-(0[1-9]|1[0-2])-[0-9]{2}"
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_INTEGER = "-?(0|[1-9][0-9]{0,130})"
_NUMBER = _INTEGER + "([.][0-9]{1,130})?(e[+-]?[0-9]{1,2})?"
_UUID = "[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}"
_NUMBERS = ("integer", "decimal", "float")
_SHOWN_AS_THEY_ARE = (*_NUMBERS, "string", "fixed string")
# Types that ::json or ::date, for example, cannot make directly of a number.
_DIRECTLY_FROM_NUMBERS = (*_NUMBERS, "string", "fixed string", "boolean")
# Conversions that no value gets lost in, by the category of either type.
_LOSSLESS = {
    # As everywhere in the project, a time without a time zone is in UTC.
    ("timestamp with time zone", "datetime"): "{} AT TIME ZONE 'utc'",
    ("string", "blob"): "convert_to({}, 'UTF8')",
    ("jsonb", "json"): "{}::json",
    ("boolean", "integer"): "{}::integer",
    ("boolean", "decimal"): "{}::integer",
    ("boolean", "float"): "{}::integer",
}
# The objects that a JSON value consists of, at any depth, with a key twice: JSONB keeps
# one of them. {} is the value.
_JSON_WITH_REPEATED_KEY = """EXISTS (
WITH RECURSIVE part (json) AS (
    SELECT {}::json
    UNION ALL
    SELECT inner_part.value FROM part CROSS JOIN LATERAL (
        SELECT value FROM json_each(
            CASE WHEN json_typeof(json) = 'object' THEN json ELSE '{{}}' END)
        UNION ALL
        SELECT value FROM json_array_elements(
            CASE WHEN json_typeof(json) = 'array' THEN json ELSE '[]' END)) inner_part)
SELECT FROM part
WHERE (SELECT count(*) > count(DISTINCT key) FROM json_object_keys(
    CASE WHEN json_typeof(json) = 'object' THEN json ELSE '{{}}' END) AS k (key)))"""
# What JSONB does not accept: the escaped character 0, half of a surrogate pair, and a
# number that NUMERIC cannot hold.
_BACKSLASH = "[[.backslash.]]"
_SURROGATE_PAIR = f"{_BACKSLASH}ud[89ab][0-9a-f]{{2}}{_BACKSLASH}ud[c-f][0-9a-f]{{2}}"
_NOT_IN_JSONB = f"{_BACKSLASH}u(0000|d[89a-f])|[0-9]e[+-]?[0-9]{{4}}"


class _Accepted(NamedTuple):
    """The texts that a type accepts and that it would read as what they say.

    The text 007, for example, is not accepted as a number.
    """

    pattern: str  # of the whole text
    condition: str = "true"  # about a text that has this pattern


class PostgreSQLConversions(Conversions):
    """SQL about values on PostgreSQL."""

    def key_expression(self, part: str) -> str:
        """The part without its operator class, too, which follows the expression."""
        return without_operator_class(super().key_expression(part))

    def row_with_nulls(self, values: Sequence[str]) -> str:
        return f"ROW({', '.join(values)})::text"

    def cast(self, value: str, target: Type) -> str:
        return f"CAST({value} AS {type_of_existing_column(target)})"

    def unfit_condition(self, value: str, target: Type) -> str:
        if target.category in ("string", "fixed string"):
            value = f"CAST({value} AS text)"  # as an UPDATE casts a number, too
        return super().unfit_condition(value, target)

    def exact_number(self, value: str) -> str:
        return f"CAST(CAST({value} AS text) AS numeric)"

    def converted(self, value: str, source: Type, target: Type) -> str:
        lossless = _LOSSLESS.get((source.category, target.category))
        if lossless:
            return lossless.format(value)
        if target.category == "boolean" and source.category in _NUMBERS:
            return f"{value} <> 0"
        type_ = type_of_existing_column(target)
        if (
            source.category in ("integer", "decimal")
            and target.category in _DIRECTLY_FROM_NUMBERS
        ):
            return f"{value}::{type_}"
        # By way of the text, which is what people have read: 0.1, not the float4 next
        # to it.
        return f"{_text_of(value, source)}::{type_}"

    def shown(self, value: str, type_: Type) -> str:
        if type_.category in _SHOWN_AS_THEY_ARE:
            return value
        # JSON has no order, and a driver cannot read each date, such as infinity.
        return f"{value}::text"

    def lossy_condition(self, value: str, source: Type, target: Type) -> str:
        both = (source.category, target.category)
        if keeps_stored_rows(source, target) or both in _LOSSLESS:
            return "false"
        if both == ("json", "jsonb"):
            return _lossy_as_jsonb(value)
        text = _text_of(value, source)
        accepted = _accepted(text, source, target)
        # CASE keeps the order: to cast a text of another pattern would be an error.
        return (
            f"{value} IS NOT NULL AND NOT CASE "
            f"WHEN {text} ~ '^({accepted.pattern})$' THEN {accepted.condition} "
            "ELSE false END"
        )


def _text_of(value: str, source: Type) -> str:
    """Return SQL of a value as the text that people have read of it."""
    if source.category == "inet":
        return f"abbrev({value})"  # ::text would add /32 to the address of a host
    return f"{value}::text"


def _lossy_as_jsonb(value: str) -> str:
    """Return a condition that is true for JSON of which JSONB would lose a part."""
    without_pairs = f"regexp_replace({value}::text, '{_SURROGATE_PAIR}', '', 'gi')"
    repeated_key = _JSON_WITH_REPEATED_KEY.format(value)
    return f"({without_pairs} ~* '{_NOT_IN_JSONB}' OR {' '.join(repeated_key.split())})"


def _accepted(text: str, source: Type, target: Type) -> _Accepted:
    """Return what a type accepts.

    :param text: SQL of a value of the type `source`, as text.
    """
    category = target.category
    if category in ("string", "fixed string"):
        return _accepted_as_string(text, target)
    if category in ("date", "datetime"):
        return _accepted_as_date(text, target)
    if category == "integer":
        return _accepted_as_integer(text, source, target)
    if category == "decimal":
        return _accepted_as_decimal(text, target)
    if category == "float":
        return _accepted_as_float(text, target)
    if category == "time":
        return _Accepted(_time_pattern(target))
    if category == "uuid":
        return _Accepted(_UUID)
    if category == "boolean":
        if source.category in _NUMBERS:
            return _Accepted("(-?0|1)([.]0*)?")
        return _Accepted("true|false|t|f|1|0")
    # Before PostgreSQL 16, there is no way to ask whether a text is JSON, for example.
    return _Accepted(".*", "false")


def _accepted_as_string(text: str, target: Type) -> _Accepted:
    condition = "true"
    if target.size:
        condition = f"char_length({text}) <= {target.size}"
    if target.category == "fixed string":  # blanks at the end would get lost
        condition += f" AND right({text}, 1) <> ' '"
    return _Accepted(".*", condition)


def _accepted_as_date(text: str, target: Type) -> _Accepted:
    month = f"(substr({text}, 1, 8) || '01')::date"
    last_day = f"extract(day FROM {month} + interval '1 month - 1 day')"
    day_exists = f"substr({text}, 9, 2)::int BETWEEN 1 AND {last_day}"
    time = "( 00:00:00)?"
    if target.category == "datetime":
        time = f"([ T]{_time_pattern(target)})?"
    return _Accepted(f"(?!0000){_DATE}{time}", day_exists)


def _time_pattern(target: Type) -> str:
    digits = 6 if target.size is None else target.size
    if digits:
        return f"{_TIME}([.][0-9]{{1,{digits}}})?"
    return _TIME


def _accepted_as_integer(text: str, source: Type, target: Type) -> _Accepted:
    pattern = _INTEGER
    if source.category in _NUMBERS:  # of a text such as 7.0, the cast makes no integer
        pattern += "([.]0*)?"
    limit = 2 ** (8 * (target.size or 4) - 1)
    return _Accepted(pattern, f"{text}::numeric BETWEEN -{limit} AND {limit - 1}")


def _accepted_as_decimal(text: str, target: Type) -> _Accepted:
    if target.size is None or target.scale is None:
        return _Accepted(_NUMBER)
    number = f"{text}::numeric"
    fits = f"abs({number}) < 1e{target.size - target.scale}"
    return _Accepted(_NUMBER, f"{fits} AND {number} = round({number}, {target.scale})")


def _accepted_as_float(text: str, target: Type) -> _Accepted:
    """A number that reads the same afterwards, in its shortest text.

    `extra_float_digits` is among the settings of a run.
    """
    type_ = "float8"
    range_ = "1e-300 AND 1e300"
    if target.size == 4:
        type_ = "float4"
        range_ = "1e-37 AND 3e38"
    number = f"{text}::numeric"
    is_kept = f"{number} = {text}::{type_}::text::numeric"
    return _Accepted(
        _NUMBER,
        f"CASE WHEN abs({number}) BETWEEN {range_} THEN {is_kept} "
        f"ELSE {number} = 0 END",
    )
