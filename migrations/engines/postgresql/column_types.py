"""PostgreSQL's types and defaults: what the catalog's words mean, and Peewee's."""

from __future__ import annotations

import re
from functools import cache

from migrations.schema import UTC_NOW, Type
from migrations.sql_text import literal_meaning


def _types_by_name() -> dict[str, tuple[str, int | None]]:
    """Return the category and the size in bytes, or None, of each type."""
    names = {
        ("integer", 2): "smallint, int2, smallserial",
        ("integer", 4): "integer, int, int4, serial",
        ("integer", 8): "bigint, int8, bigserial",
        ("float", 4): "real, float4",
        ("float", 8): "double precision, float8, float",
        ("decimal", None): "numeric, decimal",
        ("string", None): "character varying, varchar, text",
        ("fixed string", None): "bpchar",
        ("fixed string", 1): "character, char",
        ("boolean", None): "boolean, bool",
        ("date", None): "date",
        ("time", None): "time without time zone, time",
        ("datetime", None): "timestamp without time zone, timestamp",
        ("blob", None): "bytea",
    }
    by_name = {}
    for meaning, text in names.items():
        for name in text.split(", "):
            by_name[name] = meaning
    return by_name


# By what PostgreSQL and Peewee call a type. Any other type is a category of its own.
_TYPES = _types_by_name()
# The digits of fractions of a second that a type has if it names none.
_DEFAULT_DIGITS = {"time": 6, "datetime": 6}
_ALL_DIGITS = r"^(time|timestamp)\(6\)"  # as many as without a number
_WITH_SIZE = re.compile(r"(.*?)\s*\(([\d\s,-]+)\)(.*)")
# Not types of an existing column: they create a sequence, too.
_SERIAL_TYPES = {"SERIAL": "INTEGER", "BIGSERIAL": "BIGINT", "SMALLSERIAL": "SMALLINT"}

# The expressions, in lower case and without casts, blanks and parentheses.
_UTC_NOW_EXPRESSIONS = {
    "nowattimezone'utc'",
    "timezone'utc',now",
    "current_timestampattimezone'utc'",
    "timezone'utc',current_timestamp",
}
# These are texts, as in `migrations.sql_text`.
_STRING = r"('(?:[^']|'')*')"
_CAST = r"""(?ix)::[\w."]+ ([ ]varying|[ ]precision)? (\([\d, ]+\))?
    ([ ]with(out)?[ ]time[ ]zone)? (\[\])*"""
# As PostgreSQL writes it: 'text'::type, 3, '-3'::integer, true, NULL::type.
_LITERAL = r"""(?ix)\(? ('([^']|'')*' | -?[\d.]+ | true | false | null) \)?
    (::[\w\s."()\[\],]+)?"""
_QUOTED_NUMBER = r"(?i)'::(small|big)?(int|numeric|real|double|bool)"


@cache
def parse_type(text: str) -> Type:
    """Return the meaning of a type, as PostgreSQL or as Peewee writes it."""
    # Peewee's IdentityField has more than a type.
    text = text.partition(" GENERATED ")[0]
    name = text.lower()
    numbers: list[int] = []
    with_size = _WITH_SIZE.fullmatch(name)
    if with_size:
        name = with_size[1] + with_size[3]
        numbers = [int(number) for number in with_size[2].split(",")]
    category, size = _TYPES.get(name, (name, None))
    if not numbers or name not in _TYPES:
        return Type(text, category, size)
    if name == "float":  # its number is one of binary digits
        return Type(text, category, 4 if numbers[0] <= 24 else 8)
    if category == "decimal":
        scale = numbers[1] if len(numbers) > 1 else 0
        return Type(text, category, numbers[0], scale)
    if numbers[0] == _DEFAULT_DIGITS.get(category):
        return Type(text, category, size)
    return Type(text, category, numbers[0])


def default_meaning(default: str) -> str:
    """Return a comparable form of a DEFAULT; see `Catalog.default_meaning`."""
    text = ""
    for part in re.split(_STRING, default):
        if part.startswith("'"):
            text += part
        else:
            text += re.sub(_CAST, "", part)
    if re.sub(r"[\s()]", "", text.lower()) in _UTC_NOW_EXPRESSIONS:
        return UTC_NOW
    meaning = literal_meaning(text)
    if re.search(_QUOTED_NUMBER, default):  # -0.50 is written as '-0.50'::numeric
        meaning = literal_meaning(meaning)
    return meaning


def type_of_existing_column(declared: Type) -> str:
    """Return a declared type as an existing column can have it."""
    return _SERIAL_TYPES.get(declared.text.upper(), declared.text)


def keeps_stored_rows(source: Type, target: Type) -> bool:
    """Whether a change of type leaves the rows as they are stored.

    https://www.postgresql.org/docs/current/sql-altertable.html, Notes: the new type is
    binary coercible, or the same one without a limit or with a wider one.
    """
    growing = ("string", "decimal", "time", "datetime")
    return source.category in growing and target.covers(source)


def same_name(actual: Type, declared: Type) -> bool:
    """Whether two types that are not known are the same, by the server's names."""
    names = {re.sub(_ALL_DIGITS, r"\1", each.text) for each in (actual, declared)}
    return len(names) == 1


def holds_values(actual: Type, declared: Type) -> bool:
    """Whether a column of a type holds every value of a declared type as it is.

    NUMERIC without a precision keeps all digits, so it is wider than one with them.
    """
    if actual.category == declared.category == "decimal" and actual.size is None:
        return True
    return actual.covers(declared)


def is_literal(default: str) -> bool:
    """Whether a DEFAULT is a constant, so that its value can be asked for.

    Text like 'now' or a number of a sequence is none.
    """
    if "regclass" in default:
        return False
    return re.fullmatch(_LITERAL, default) is not None


def is_volatile(default: str | None) -> bool:
    """Whether a DEFAULT may have another value for each row, as far as it tells.

    The functions of the current time have one value in a statement.
    """
    if default is None:
        return False
    calls = re.findall(r"(\w+)\s*\(", default)
    return not {call.lower() for call in calls} <= {"now", "timezone"}


def is_larger(source: Type, target: Type) -> bool:
    """Whether a number of a type is also one of another type, which is larger."""
    if source.category != "integer":
        return False
    if target.category == "integer":
        return (target.size or 4) >= (source.size or 4)
    return target.category == "decimal" and target.size is None


def is_generator(type_: str, default: str | None) -> bool:
    """Whether a DEFAULT gives a new integer to each row: the result of a function.

    It may be the application's own, or nextval() within an expression.
    """
    if default is None or parse_type(type_).category != "integer":
        return False
    return re.search(r"[\w\"]\(", default) is not None
