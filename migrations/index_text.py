"""The parts of a CREATE INDEX, as Peewee, a model or a database writes it.

text = parse_create_index('CREATE INDEX "i" ON "t" (lower("a") DESC) WHERE "b" > 0')
text.parts == ('lower("a") DESC',)
text.condition == '"b" > 0'
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from migrations.sql_text import comparable, masked, split_sql, unquoted

# The patterns are for text that is masked: what is quoted or in parentheses is `x`.
# They are compiled when they are used, as most models have indexes of columns only.
_NAME = r'(?:"[^"]*"|`[^`]*`|\[[^\]]*\]|[\w$]+)'
_CREATE_INDEX = rf"""\s*CREATE\s+(?:(?P<kind>UNIQUE|FULLTEXT|SPATIAL)\s+)?INDEX\s+
        (?:CONCURRENTLY\s+)?(?:IF\s+NOT\s+EXISTS\s+)?
        (?:{_NAME}\s*\.\s*)?(?P<name>{_NAME})\s*
        (?:USING\s+(?P<early_method>\w+)\s+)?
        ON\s+(?:ONLY\s+)?(?P<table>{_NAME}(?:\s*\.\s*{_NAME})?)\s*
        (?:USING\s+(?P<method>\w+)\s*)?
        \((?P<parts>x*)\)
        (?P<suffix>.*?)
        (?:\bWHERE\b(?P<condition>.*?))?\s*;?\s*"""
_DIRECTION = (
    r"\s+(?:ASC|DESC)(?:\s+NULLS\s+(?:FIRST|LAST))?$|\s+NULLS\s+(?:FIRST|LAST)$"
)
_COLLATE = r"\bCOLLATE\b"
_PLAIN_NAME = rf"({_NAME})(?:\s+ASC)?"
# A column with a length, a collation, an operator class or a direction.
_COLUMN = rf"({_NAME})(\(x+\))?((?:\s+[\w.\"]+)*)"
# A column, a function with arguments or an expression, with its collation.
_EXPRESSION = rf"""(?: \(x*\) | {_NAME}(?:\.{_NAME})*(?:\(x*\))? )
    (?:\s+COLLATE\s+{_NAME}(?:\.{_NAME})*)?"""
_LENGTH = r"\(\s*\d+\s*\)"
_PLAIN_METHODS = ("", "btree")


class IndexText(NamedTuple):
    """A parsed CREATE INDEX."""

    kind: str  # "UNIQUE", "FULLTEXT", "SPATIAL" or ""
    name: str
    table: str  # as it stands there, perhaps with a schema and quotes
    method: str  # what follows USING, in lower case; "" if there is none
    parts: tuple[str, ...]  # as they stand there
    suffix: str  # what is between the parts and WHERE, such as INCLUDE (…)
    condition: str | None  # what follows WHERE

    @property
    def is_plain(self) -> bool:
        """Whether it is an index of whole columns, for every row, of the usual kind."""
        if self.kind not in ("", "UNIQUE") or self.method not in _PLAIN_METHODS:
            return False
        if self.suffix or self.condition is not None:
            return False
        return all(plain_name(part) is not None for part in self.parts)

    @property
    def nulls_are_equal(self) -> bool:
        """Whether rows with NULL in a unique key may be duplicates."""
        words = " ".join(self.suffix.upper().split())
        return "NULLS NOT DISTINCT" in words

    def normalized_parts(self) -> tuple[str, ...]:
        """Return the parts as `schema.Index` has them."""
        suffix = ""
        if self.kind in ("FULLTEXT", "SPATIAL"):
            suffix = f" {self.kind}"
        elif self.method not in _PLAIN_METHODS:
            suffix = f" USING {self.method}"
        return tuple(normalized_part(part) + suffix for part in self.parts)

    def definition(self, table: str) -> str:
        """Return the statement for a table, whose name is given as SQL."""
        sql = "CREATE "
        if self.kind:
            sql += f"{self.kind} "
        sql += f"INDEX {self.name} ON {table} "
        if self.method:
            sql += f"USING {self.method} "
        sql += f"({', '.join(self.parts)})"
        if self.suffix:
            sql += f" {self.suffix}"
        if self.condition is not None:
            sql += f" WHERE {self.condition}"
        return sql

    def clause(self) -> str:
        """Return the index as a part of a CREATE TABLE or an ALTER TABLE."""
        sql = f"INDEX {self.name} "
        if self.kind:
            sql = f"{self.kind} {sql}"
        if self.method:
            sql += f"USING {self.method} "
        sql += f"({', '.join(self.parts)}) {self.suffix}"
        return sql.strip()


def parse_create_index(sql: str) -> IndexText | None:
    """Return the parts of a CREATE INDEX; None if it is none, or has no name."""
    text = masked(sql)
    found = re.fullmatch(_CREATE_INDEX, text, re.IGNORECASE | re.VERBOSE | re.DOTALL)
    if found is None:
        return None

    def original(group: str) -> str:
        return sql[found.start(group) : found.end(group)].strip()

    method = found["method"] or found["early_method"] or ""
    condition = None
    if found["condition"] is not None:
        condition = original("condition")
    return IndexText(
        kind=(found["kind"] or "").upper(),
        name=original("name"),
        table=original("table"),
        method=method.lower(),
        parts=tuple(split_sql(original("parts"), "[^,]+")),
        suffix=original("suffix"),
        condition=condition,
    )


def plain_name(part: str) -> str | None:
    """Return the column of a part that is nothing else, without quotes; else None."""
    found = re.fullmatch(_PLAIN_NAME, masked(part), re.IGNORECASE)
    if found is None:
        return None
    return unquoted(part[: found.end(1)])


def normalized_part(part: str) -> str:
    """Return a part as `schema.Index` has it.

    A column has no quotes, and an expression has parentheses: `"a" DESC` becomes
    `a DESC`, and `lower("a") DESC` becomes `(lower("a")) DESC`.
    """
    column = plain_name(part)
    if column is not None:
        return column
    found = re.fullmatch(_COLUMN, masked(part))
    if found is not None:
        length = part[found.start(2) : found.end(2)] if found[2] else ""
        if not length or re.fullmatch(_LENGTH, length):
            name = unquoted(part[: found.end(1)])
            return f"{name}{length}{part[found.start(3) :]}"
    expression = without_direction(part)
    direction = part[len(expression) :]
    if not expression.startswith("("):
        expression = f"({expression})"
    return expression + direction


def without_direction(part: str) -> str:
    """Return a part without ASC, DESC and NULLS FIRST or LAST."""
    text = masked(part)
    found = re.search(_DIRECTION, text, re.IGNORECASE)
    if found is None:
        return part
    return part[: found.start()]


def without_operator_class(part: str) -> str:
    """Return a part without what follows its expression and its collation."""
    text = masked(part)
    found = re.match(_EXPRESSION, text, re.IGNORECASE | re.VERBOSE)
    if found is None:
        return part
    return part[: found.end()]


def same_definition(
    first: IndexText, second: IndexText, same_condition: Callable[[str, str], bool]
) -> bool:
    """Whether two statements create the same index, whatever its name is.

    :param same_condition: says it of two conditions or expressions.
    """
    methods = [each.method or _PLAIN_METHODS[-1] for each in (first, second)]
    if first.kind != second.kind or methods[0] != methods[1]:
        return False
    if comparable(first.suffix) != comparable(second.suffix):
        return False
    if len(first.parts) != len(second.parts):
        return False
    for one, other in zip(first.parts, second.parts):
        if not _same_part(one, other, same_condition):
            return False
    if first.condition is None or second.condition is None:
        return first.condition == second.condition
    return _same_expression(first.condition, second.condition, same_condition)


def _same_part(
    one: str, other: str, same_condition: Callable[[str, str], bool]
) -> bool:
    if comparable(one) == comparable(other):
        return True
    expressions = without_direction(one), without_direction(other)
    directions = []
    for part, expression in zip((one, other), expressions):
        direction = comparable(part[len(expression) :])
        directions.append(direction.replace("asc", ""))
    if directions[0] != directions[1]:
        return False
    # A collation is no part of what an expression returns.
    texts = " ".join(masked(each) for each in expressions)
    if re.search(_COLLATE, texts, re.IGNORECASE):
        return comparable(expressions[0]) == comparable(expressions[1])
    return _same_expression(expressions[0], expressions[1], same_condition)


def _same_expression(
    one: str, other: str, same_condition: Callable[[str, str], bool]
) -> bool:
    return comparable(one) == comparable(other) or same_condition(one, other)
