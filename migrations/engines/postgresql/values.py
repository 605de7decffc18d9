"""Values on their way from one type to another: which cannot go without loss, and how the others go.

No pattern here has a backslash in it: they mean the same whatever `standard_conforming_strings` is.
"""

from __future__ import annotations

from migrations.schema import Type

_DATE, _TIME = "[0-9]{4}-(0[1-9]|1[0-2])-[0-9]{2}", "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_WHOLE = "-?(0|[1-9][0-9]{0,130})"
_NUMBER = _WHOLE + "([.][0-9]{1,130})?(e[+-]?[0-9]{1,2})?"
_UUID = "[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}"
_SERIAL = {"SERIAL": "INTEGER", "BIGSERIAL": "BIGINT", "SMALLSERIAL": "SMALLINT"}  # no types: they have a sequence
_NUMBERS = {"integer", "decimal", "float"}


def sql_of(type_: Type) -> str:
    """Return a declared type as an existing column can have it."""
    return _SERIAL.get(type_.text.upper(), type_.text)


def only_grows(source: Type, target: Type) -> bool:
    """Whether a change of type leaves the rows as they are stored."""
    return source.family in ("string", "decimal", "time", "datetime") and target.holds(source)


def converted(value: str, source: Type, target: Type) -> str:
    """Return SQL that makes of a value what it is in another type."""
    to = sql_of(target)
    if source.family == "timestamp with time zone" and target.family == "datetime":
        return f"{value} AT TIME ZONE 'utc'"
    if target.family == "boolean" and source.family in _NUMBERS:
        return f"{value} <> 0"
    if target.family == "blob":
        return f"convert_to({value}::text, 'UTF8')"
    if source.family == "boolean" and target.family in _NUMBERS:
        return f"{value}::integer::{to}"
    direct = source.family in ("integer", "decimal", "json", "jsonb")  # another's text is what people have read
    return f"{value}::{to}" if direct and target.family not in ("string", "fixed string") else f"{value}::text::{to}"


def unconvertible(value: str, source: Type, target: Type) -> str:
    """Return a condition that holds for the values that a type cannot take without loss."""
    if only_grows(source, target) or _is_lossless(source, target):
        return "false"
    form, holds = _taken(f"{value}::text", source, target)
    # Of a form, and then (CASE keeps the order: a cast of another form is an error) of a value.
    return f"{value} IS NOT NULL AND NOT CASE WHEN {value}::text ~ '^({form})$' THEN {holds} ELSE false END"


def _is_lossless(source: Type, target: Type) -> bool:
    """Whether every value goes: a moment is that moment in UTC, and an integer finds room in a larger one."""
    pair = source.family, target.family
    if source.family in ("integer", "float", "fixed string") and pair[0] == pair[1]:
        return target.holds(source)
    return pair in {
        ("timestamp with time zone", "datetime"), ("boolean", "integer"), ("boolean", "decimal"), ("boolean", "float"),
        ("string", "blob"), ("json", "jsonb"), ("jsonb", "json"),
    }  # fmt: skip


def _taken(text: str, source: Type, target: Type) -> tuple[str, str]:
    """Return the form of the texts that a type takes, and a condition for one of that form.

    A text that would read otherwise afterwards, say 007 as a number, is none.
    """
    family = target.family
    if family in _NUMBERS:
        return _number(text, source, target)
    if family == "boolean":
        return ("(-?0|1)([.]0*)?" if source.family in _NUMBERS else "true|false|t|f|1|0"), "true"
    if family in ("string", "fixed string"):
        fits = f"char_length({text}) <= {target.size}" if target.size else "true"
        padded = f" AND right({text}, 1) <> ' '" if family == "fixed string" else ""  # blanks that would go
        return ".*", fits + padded
    if family in ("date", "datetime"):
        month = f"(substr({text}, 1, 8) || '01')::date"
        day = f"substr({text}, 9, 2)::int BETWEEN 1 AND extract(day FROM {month} + interval '1 month - 1 day')"
        clock = "( 00:00:00)?" if family == "date" else f"([ T]{_TIME}{_fraction(target)})?"
        return f"(?!0000){_DATE}{clock}", day
    if family == "time":
        return f"{_TIME}{_fraction(target)}", "true"
    return (_UUID, "true") if family == "uuid" else (".*", "false")  # before 16, nobody can say whether a text is JSON


def _fraction(type_: Type) -> str:
    digits = 6 if type_.size is None else type_.size
    return f"([.][0-9]{{1,{digits}}})?" if digits else ""


def _number(text: str, source: Type, target: Type) -> tuple[str, str]:
    number = f"{text}::numeric"
    if target.family == "integer":
        bits = 8 * (target.size or 4) - 1
        tail = "" if source.family == "string" else "([.]0*)?"
        return _WHOLE + tail, f"{number} BETWEEN -{2**bits} AND {2**bits - 1}"
    if target.family == "decimal":
        if target.size is None or target.scale is None:
            return _NUMBER, "true"
        return _NUMBER, f"abs({number}) < 1e{target.size - target.scale} AND {number} = round({number}, {target.scale})"
    # As the shortest text of the float reads; extra_float_digits is ours.
    if target.size == 4:
        return _NUMBER, (
            f"CASE WHEN abs({number}) BETWEEN 1e-37 AND 3e38 THEN {number} = {text}::float4::text::numeric "
            f"ELSE {number} = 0 END"
        )  # fmt: skip
    return _NUMBER, (
        f"CASE WHEN abs({number}) BETWEEN 1e-300 AND 1e300 THEN {number} = {text}::float8::text::numeric "
        f"ELSE {number} = 0 END"
    )  # fmt: skip
