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
_NUMBERS = ("integer", "decimal", "float")
_LOSSLESS = {  # how the values go of which every one does: a moment is that moment in UTC
    ("timestamp with time zone", "datetime"): "{} AT TIME ZONE 'utc'", ("string", "blob"): "convert_to({}, 'UTF8')",
    ("json", "jsonb"): "{}::jsonb", ("jsonb", "json"): "{}::json",
    **{("boolean", family): "{}::integer" for family in _NUMBERS},
}  # fmt: skip


def sql_of(type_: Type) -> str:
    """Return a declared type as an existing column can have it."""
    return _SERIAL.get(type_.text.upper(), type_.text)


def only_grows(source: Type, target: Type) -> bool:
    """Whether a change of type leaves the rows as they are stored."""
    return source.family in ("string", "decimal", "time", "datetime") and target.holds(source)


def converted(value: str, source: Type, target: Type) -> str:
    """Return SQL that makes of a value what it is in another type."""
    if lossless := _LOSSLESS.get((source.family, target.family)):
        return lossless.format(value)
    if target.family == "boolean" and source.family in _NUMBERS:
        return f"{value} <> 0"
    text = "" if source.family in ("integer", "decimal") else "::text"  # another's text is what people have read
    return f"{value}{text}::{sql_of(target)}"


def unconvertible(value: str, source: Type, target: Type) -> str:
    """Return a condition that holds for the values that a type cannot take without loss."""
    if only_grows(source, target) or (source.family, target.family) in _LOSSLESS:
        return "false"
    form, holds = _taken(f"{value}::text", source, target)
    # Of a form, and then (CASE keeps the order: a cast of another form is an error) of a value.
    return f"{value} IS NOT NULL AND NOT CASE WHEN {value}::text ~ '^({form})$' THEN {holds} ELSE false END"


def _taken(text: str, source: Type, target: Type) -> tuple[str, str]:
    """Return the form of the texts that a type takes, and a condition for one of that form.

    A text that would read otherwise afterwards, say 007 as a number, is none.
    """
    family, number = target.family, f"{text}::numeric"
    digits = 6 if target.size is None else target.size
    clock = _TIME + (f"([.][0-9]{{1,{digits}}})?" if digits else "")
    if family in ("string", "fixed string"):
        padded = f" AND right({text}, 1) <> ' '" if family == "fixed string" else ""  # blanks that would go
        return ".*", (f"char_length({text}) <= {target.size}" if target.size else "true") + padded
    if family in ("date", "datetime"):
        month = f"(substr({text}, 1, 8) || '01')::date"
        day = f"substr({text}, 9, 2)::int BETWEEN 1 AND extract(day FROM {month} + interval '1 month - 1 day')"
        return f"(?!0000){_DATE}" + ("( 00:00:00)?" if family == "date" else f"([ T]{clock})?"), day
    if family == "integer":
        limit = 2 ** (8 * (target.size or 4) - 1)
        tail = "" if source.family == "string" else "([.]0*)?"
        return _WHOLE + tail, f"{number} BETWEEN -{limit} AND {limit - 1}"
    if family == "decimal" and target.size is not None and target.scale is not None:
        return _NUMBER, f"abs({number}) < 1e{target.size - target.scale} AND {number} = round({number}, {target.scale})"
    if family == "float":  # as its shortest text reads; extra_float_digits is ours
        range_, type_ = ("1e-37 AND 3e38", "float4") if target.size == 4 else ("1e-300 AND 1e300", "float8")
        kept = f"{number} = {text}::{type_}::text::numeric"
        return _NUMBER, f"CASE WHEN abs({number}) BETWEEN {range_} THEN {kept} ELSE {number} = 0 END"
    truth = "(-?0|1)([.]0*)?" if source.family in _NUMBERS else "true|false|t|f|1|0"
    forms = {"decimal": _NUMBER, "boolean": truth, "time": clock, "uuid": _UUID}
    # Before 16, nobody can say whether a text is JSON.
    return (forms[family], "true") if family in forms else (".*", "false")
