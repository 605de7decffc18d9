"""The values that describe tables: what a database says of itself, and what a model declares.

Both sides of the comparison are a `Table`, so there is one language for them on every engine: a
type is a `Type` whether it was read from the catalogue or from the DDL that Peewee writes for a field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_NUMBER = re.compile(r"(-?\d*(\.\d*[1-9])?)\.?0*")  # and what of it counts


class Type(NamedTuple):
    text: str  # as the database or Peewee writes it
    family: str
    size: int | None = None  # in characters, bytes (integers, floats, binaries) or a decimal's digits; or no limit
    scale: int | None = None  # a decimal's digits behind the point

    def holds(self, other: Type) -> bool:
        """Whether a column of this type is as good as one of the other: a wider one is."""
        if self.family != other.family or self.scale != other.scale:
            return False
        return self.size is None or (other.size is not None and self.size >= other.size)

    def __str__(self) -> str:
        if self.scale is not None:
            return f"{self.family} of ({self.size}, {self.scale})"
        return self.family if self.size is None else f"{self.family} of {self.size}"


class Column(NamedTuple):
    name: str
    type: Type
    null: bool = True
    default: str | None = None  # as SQL
    automatic: bool = False  # whether it counts by itself
    generated: bool = False  # whether it is computed and cannot be written
    collation: str | None = None  # where it is one of its own

    @property
    def optional(self) -> bool:
        """Whether a row can be inserted without a value for it."""
        return self.null or self.default is not None or self.automatic or self.generated


class Index(NamedTuple):
    name: str
    columns: tuple[str, ...]  # in order; an expression or a descending one is no plain name
    unique: bool = False
    partial: bool = False
    valid: bool = True
    constraint: bool = False  # which tells a UNIQUE constraint from a unique index

    @property
    def full(self) -> bool:
        """Whether it holds every row."""
        return self.valid and not self.partial

    def __str__(self) -> str:
        marks = [("UNIQUE", self.unique), ("partial", self.partial), ("INVALID", not self.valid)]
        return " ".join([*(word for word, on in marks if on), f"({', '.join(self.columns)})"])


class ForeignKey(NamedTuple):
    columns: tuple[str, ...]
    table: str
    target: tuple[str, ...]
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"
    name: str | None = None
    valid: bool = True  # unless the database never checked the rows that were there

    def __str__(self) -> str:
        update = "" if self.on_update in ("NO ACTION", "RESTRICT") else f" ON UPDATE {self.on_update}"
        unchecked = "" if self.valid else ", not validated"
        return f"REFERENCES {self.table} ({', '.join(self.target)}) ON DELETE {self.on_delete}{update}{unchecked}"


class Check(NamedTuple):
    name: str
    sql: str
    valid: bool = True  # as with a foreign key


class Table(NamedTuple):
    name: str
    kind: str = "table"  # or what else goes by its name
    columns: Mapping[str, Column] = {}  # by lower-case name
    primary_key: tuple[str, ...] = ()
    indexes: tuple[Index, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()

    def index_named(self, name: str) -> Index | None:
        """Return the index or UNIQUE constraint of a name, in whatever case."""
        return next((index for index in self.indexes if index.name.lower() == name.lower()), None)

    def unique_keys(self) -> tuple[tuple[str, ...], ...]:
        """Return the columns of each key that no two rows share, the primary key first."""
        keys = [index.columns for index in self.indexes if index.unique and index.full]
        return tuple(dict.fromkeys([self.primary_key, *keys]))


Schema = dict[str, Table]  # by the table's lower-case name
UTC_NOW = "now in UTC"  # what a default means that is the time now in UTC; see Engine.default_meaning


def literal(text: str) -> str:
    """Return a text as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def masked(sql: str, quoted: str) -> str:
    """Return SQL of the same length with nothing in its quotes and parentheses that could be taken for a word.

    :param quoted: the pattern of what stands in quotes.
    """
    sql = re.sub(quoted, lambda found: found[0][0] + "x" * (len(found[0]) - 2) + found[0][-1], sql)
    depth, text = 0, ""
    for part in re.split("([()])", sql):
        depth = max(0, depth - (part == ")"))
        text += "x" * len(part) if depth else part
        depth += part == "("
    return text


def literal_meaning(default: str) -> str:
    """Return what a default means that is a literal: without quotes, 1 for TRUE, a number in its shortest form."""
    text = default.strip()
    while text.startswith("(") and text.endswith(")"):
        text = text[1:-1].strip()
    if text.startswith("'") and text.endswith("'") and len(text) > 1:
        return text[1:-1].replace("''", "'")
    text = {"true": "1", "false": "0"}.get(text.lower(), text)
    number = _NUMBER.fullmatch(text)
    return number[1] if number else text
