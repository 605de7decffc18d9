"""SQLite's types: a type is only a word, of which SQLite derives an affinity.

https://sqlite.org/datatype3.html#determination_of_column_affinity
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from migrations.schema import Type

# The first part that is found in a type's text decides; without one it is "numeric".
_AFFINITIES = {
    "INT": "integer",
    "CHAR": "text",
    "CLOB": "text",
    "TEXT": "text",
    "BLOB": "none",
    "REAL": "real",
    "FLOA": "real",
    "DOUB": "real",
}
# The category of some types by their words in lower case, without a length. SQLite
# knows no sizes, so the length of a string or the scale of a decimal does not matter.
_CATEGORIES = {
    "boolean": "integer",
    "bool": "integer",
    "numeric": "decimal",
    "timestamp": "datetime",
    "": "untyped",
}
# The category of other types by their affinity; any further type is a category of its
# own, such as "date".
_CATEGORIES_BY_AFFINITY = {"integer": "integer", "text": "string", "real": "float"}

_ROWID_NAMES = ("rowid", "_rowid_", "oid")


def rowid_name(columns: Collection[str]) -> str:
    """Return a name of the rowid that is not one of these columns; "" if there is none.

    https://sqlite.org/lang_createtable.html#rowid
    """
    for name in _ROWID_NAMES:
        if name not in columns:
            return name
    return ""


def affinity(text: str) -> str:
    """Return how a column of a type treats values.

    :param text: the type; it may have an " ON CONFLICT …" at its end.
    """
    word = text.partition(" ON CONFLICT ")[0].upper()
    if not word:
        return "none"
    for part, result in _AFFINITIES.items():
        if part in word:
            return result
    return "numeric"


@cache
def parse_type(text: str) -> Type:
    """Return the meaning of a type, as SQLite or Peewee writes it."""
    words = " ".join(text.lower().partition("(")[0].split())
    category = _CATEGORIES.get(words)
    if category is None:
        category = _CATEGORIES_BY_AFFINITY.get(affinity(words), words)
    return Type(text, category)
