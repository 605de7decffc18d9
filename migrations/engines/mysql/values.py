"""Types as MariaDB and Peewee for it write them, and what of a value another type would lose."""

from __future__ import annotations

import re

from migrations.schema import Type

STRINGS = ("string", "fixed string")
# By the type's first word: its family, and its size where the word alone tells.
_FAMILIES: dict[str, tuple[str, int | None]] = {
    "bool": ("integer", 1), "tinyint": ("integer", 1), "smallint": ("integer", 2), "mediumint": ("integer", 3),
    "int": ("integer", 4), "integer": ("integer", 4), "bigint": ("integer", 8),
    "float": ("float", 4), "double": ("float", 8), "decimal": ("decimal", 10), "numeric": ("decimal", 10),
    "varchar": ("string", None), "tinytext": ("string", 2**8 - 1), "text": ("string", 2**16 - 1),
    "mediumtext": ("string", 2**24 - 1), "longtext": ("string", 2**32 - 1), "char": ("fixed string", 1),
    "varbinary": ("blob", None), "binary": ("blob", 1), "tinyblob": ("blob", 2**8 - 1), "blob": ("blob", 2**16 - 1),
    "mediumblob": ("blob", 2**24 - 1), "longblob": ("blob", 2**32 - 1),
}  # fmt: skip
# How the server reads a literal for a column of {0} digits, {1} of them behind the point.
CASTS = {"integer": "SIGNED", "decimal": "DECIMAL({}, {})", "date": "DATE", "time": "TIME", "datetime": "DATETIME"}
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = "[0-9]{2}:[0-5][0-9]:[0-5][0-9]"


def parse_type(text: str) -> Type:
    """Return what a type means; `INT(11)` is as wide as `INT`, `FLOAT(7, 4)` keeps four digits."""
    text = text.removesuffix(" AUTO_INCREMENT")  # Peewee's; it is no part of a type
    word = re.split(r"\W", text.lower())[0]
    family, size = _FAMILIES.get(word, (word, None))
    scale = 0 if family == "decimal" else None
    numbers = [int(number) for number in re.findall(r"\d+", text.partition("(")[2])]
    if family in (*STRINGS, "blob", "decimal"):
        size = next(iter(numbers), size)
    if family in ("decimal", "float"):
        scale = next(iter(numbers[1:]), scale)
    return Type(text, family, size, scale)


def unconvertible(value: str, source: Type, target: Type) -> str:
    """Return a condition that holds for the values that a type cannot take without loss."""
    text = f"CAST({value} AS CHAR)"
    exact = f"CAST({text} AS DECIMAL(65, 30))"
    limit = 2 ** (8 * min(target.size or 4, 8) - 1)
    tail = "" if "string" in source.family else "([.]0*)?"  # "12.0" is no text of a number that stays
    fraction = "([.][0-9]+)?" if source.family in ("timestamp", "datetime") else "([.]0*)?"
    kept = {
        "integer": f"{text} REGEXP '^(-?(0|[1-9][0-9]{{0,18}}){tail})$' AND {exact} BETWEEN -{limit} AND {limit - 1}",
        "float": f"{text} REGEXP '^(-?[0-9]{{1,15}}([.][0-9]*)?(e[+-]?[0-9]{{1,2}})?)$' "
        f"AND CAST(CAST({text} AS DOUBLE) AS DECIMAL(65, 30)) = {exact}",
        "decimal": f"{text} REGEXP '^(-?(0|[1-9][0-9]*)([.][0-9]*)?)$' "
        f"AND CAST({exact} AS DECIMAL({target.size}, {target.scale})) = {exact}",
        "string": f"CHAR_LENGTH({text}) <= {target.size}",
        "fixed string": f"CHAR_LENGTH({text}) <= {target.size} AND CHAR_LENGTH(RTRIM({text})) = CHAR_LENGTH({text})",
        "blob": f"LENGTH({value}) <= {target.size}",
        "json": f"JSON_VALID({value})",
        "date": f"{text} REGEXP '^({_DATE}( 00:00:00([.]0*)?)?)$' AND DAYOFYEAR({text}) > 0",
        "time": f"{text} REGEXP '^({_TIME}([.]0*)?)$' AND TIME_TO_SEC({text}) IS NOT NULL",
        "datetime": f"{text} REGEXP '^({_DATE}([ T]{_TIME}{fraction})?)$' AND DAYOFYEAR({text}) > 0 "
        f"AND SECOND({text}) IS NOT NULL",
    }.get(target.family, "FALSE")
    return f"{value} IS NOT NULL AND NOT coalesce({kept}, FALSE)"
