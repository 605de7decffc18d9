"""Types as MariaDB, MySQL and Peewee for them write them, and what of a value another type would lose."""

from __future__ import annotations

import re

from migrations.schema import Type

STRINGS = ("string", "fixed string")
# By the type's bare word: its family, and its size where the word alone tells.
_FAMILIES: dict[str, tuple[str, int | None]] = {
    "bool": ("integer", 1), "boolean": ("integer", 1), "tinyint": ("integer", 1), "smallint": ("integer", 2),
    "mediumint": ("integer", 3), "int": ("integer", 4), "integer": ("integer", 4), "bigint": ("integer", 8),
    "float": ("float", 4), "double": ("float", 8), "double precision": ("float", 8),
    "varchar": ("string", None), "tinytext": ("string", 2**8 - 1), "text": ("string", 2**16 - 1),
    "mediumtext": ("string", 2**24 - 1), "longtext": ("string", 2**32 - 1), "char": ("fixed string", 1),
    "varbinary": ("blob", None), "binary": ("blob", 1), "tinyblob": ("blob", 2**8 - 1), "blob": ("blob", 2**16 - 1),
    "mediumblob": ("blob", 2**24 - 1), "longblob": ("blob", 2**32 - 1),
    "decimal": ("decimal", 10), "numeric": ("decimal", 10),
}  # fmt: skip
_SIZED = {"varchar", "char", "varbinary", "binary", "decimal", "numeric"}
_TYPE = re.compile(r"([a-z_0-9]+(?: precision)?)\s*(?:\(([^)]*)\))?", re.IGNORECASE)
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = "[0-9]{2}:[0-5][0-9]:[0-5][0-9]"


def parse_type(text: str) -> Type:
    """Return what a type means; `INT(11)` is as wide as `INT`, `FLOAT(7, 4)` keeps four digits."""
    found = _TYPE.match(text.strip())
    word, numbers = (found[1].lower(), found[2] or "") if found else (text.lower(), "")
    family, size = _FAMILIES.get(word, (word, None))
    given = [int(number) for number in numbers.split(",") if number.strip().isdigit()]
    scale = 0 if family == "decimal" else None
    if given and word in _SIZED:
        size = given[0]
    if len(given) > 1 and family in ("decimal", "float"):
        scale = given[1]
    return Type(text, family, size, scale)


def as_text(expression: str) -> str:
    """Return an expression that is the text of another."""
    return f"CAST({expression} AS CHAR)"


def unconvertible(value: str, source: Type, target: Type) -> str:
    """Return a condition that holds for the values that a type cannot take without loss."""
    text = as_text(value)
    kept = _kept(value, text, source, target)
    return f"{value} IS NOT NULL AND NOT coalesce({kept}, FALSE)"


def fits_float(value: str) -> str:
    """Return a condition that holds for the numbers that a FLOAT of four bytes shows as they are."""
    shown = f"CAST(CAST({as_text(value)} AS FLOAT) AS CHAR)"
    return f"CAST({shown} AS DECIMAL(65, 30)) = CAST({as_text(value)} AS DECIMAL(65, 30))"


def _kept(value: str, text: str, source: Type, target: Type) -> str:
    """Return a condition that holds for the values that are the same in the other type."""
    exact = f"CAST({text} AS DECIMAL(65, 30))"
    if target.family == "integer":
        limit = 2 ** (8 * (target.size or 4) - 1)
        tail = "" if "string" in source.family else "([.]0*)?"  # "12.0" is no text of a number that stays
        return f"{text} REGEXP '^(-?(0|[1-9][0-9]{{0,18}}){tail})$' AND {exact} BETWEEN -{limit} AND {limit - 1}"
    if target.family == "float":
        form = "-?[0-9]{1,15}([.][0-9]*)?(e[+-]?[0-9]{1,2})?"
        return f"{text} REGEXP '^({form})$' AND CAST(CAST({text} AS DOUBLE) AS DECIMAL(65, 30)) = {exact}"
    if target.family == "decimal":
        form = "-?(0|[1-9][0-9]*)([.][0-9]*)?"
        return f"{text} REGEXP '^({form})$' AND CAST({exact} AS DECIMAL({target.size}, {target.scale})) = {exact}"
    return _kept_otherwise(value, text, source, target)


def _kept_otherwise(value: str, text: str, source: Type, target: Type) -> str:
    """The same, for a type that is no number."""
    fraction = "([.][0-9]+)?" if source.family in ("timestamp", "datetime") else "([.]0*)?"
    at_midnight = "( 00:00:00([.]0*)?)?"
    return {
        "string": f"CHAR_LENGTH({text}) <= {target.size}",
        "fixed string": f"CHAR_LENGTH({text}) <= {target.size} AND CHAR_LENGTH(RTRIM({text})) = CHAR_LENGTH({text})",
        "blob": f"LENGTH({value}) <= {target.size}",
        "json": f"JSON_VALID({value})",
        "date": f"{text} REGEXP '^({_DATE}{at_midnight})$' AND DAYOFYEAR({text}) > 0",
        "time": f"{text} REGEXP '^({_TIME}([.]0*)?)$' AND TIME_TO_SEC({text}) IS NOT NULL",
        "datetime": f"{text} REGEXP '^({_DATE}([ T]{_TIME}{fraction})?)$' AND DAYOFYEAR({text}) > 0 "
        f"AND SECOND({text}) IS NOT NULL",
    }.get(target.family, "FALSE")
