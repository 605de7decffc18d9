"""The text of an SQLite `CREATE TABLE`, clause by clause: what the PRAGMAs do not tell stands only there.

    clauses, options = read("CREATE TABLE t (a TEXT COLLATE NOCASE, UNIQUE (a) ON CONFLICT IGNORE) STRICT", "t")

It understands where a clause begins and ends, no more: comments, quotes and parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from migrations.report import Refused

_QUOTED = r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]"
_COMMENT = r"--[^\n]*|/\*.*?(?:\*/|\Z)"
_NAME = re.compile(rf"\s*({_QUOTED}|[\w$]+)")
_CONSTRAINT = re.compile(r"(?:CONSTRAINT|PRIMARY|UNIQUE|CHECK|FOREIGN)\b", re.IGNORECASE)
_PARENTHESES = re.compile(r"\((x*)\)")  # of a masked text
_BEGINNING = re.compile(
    r"\bSET\s+(?:NULL|DEFAULT)\b|\bNOT\s+DEFERRABLE\b"  # which begin nothing
    r"|(?:\bCONSTRAINT\s+(?P<name>[\"'`\[]?[\w$]+[\"'`\]]?)\s*)?"
    r"\b(?P<kind>PRIMARY|UNIQUE|CHECK|FOREIGN\b.*?\bREFERENCES|NOT\s+NULL|NULL|DEFAULT(?:\s+NULL)?|COLLATE|REFERENCES"
    r"|GENERATED\s+ALWAYS\s+AS|AS)\b",
    re.IGNORECASE | re.DOTALL,
)


class Clause(NamedTuple):
    """A column's name and type, a clause of it, or a constraint of the table.

    `column` is "" for a table's constraint, `kind` the first word ("" for name and type), `inner` what it has in
    parentheses first, `other` the table or the collation that it names.
    """

    column: str
    kind: str
    text: str
    name: str = ""
    inner: str = ""
    other: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a key."""
        return (self.column,) if self.column else tuple(_name(each).lower() for each in _split(self.inner))


def read(sql: str, table: str) -> tuple[list[Clause], str]:
    """Return the clauses of a `CREATE TABLE` without comments, and what follows them.

    Left out is the table's name before its columns, too: a replacement has another name.

    :raises Refused: it cannot be read.
    """
    name = re.escape(table)
    text = uncommented(sql, rf"(?:\b{name}|[\"`\[]{name}[\"`\]])\s*\.")
    whole = _PARENTHESES.search(_masked(text))
    if not whole:
        raise Refused(f"the definition of {table} cannot be read; mend it by hand")
    inner = text[slice(*whole.span(1))]
    return [clause for item in _split(inner) for clause in _clauses(item)], text[whole.end() :]


def uncommented(sql: str, *left_out: str) -> str:
    """Return SQL without its comments, and without what else a pattern matches."""
    patterns = "|".join([*left_out, f"({_QUOTED})", _COMMENT])
    return re.sub(patterns, lambda found: found[1] or " ", sql, flags=re.IGNORECASE | re.DOTALL).rstrip()


def unquoted(name: str) -> str:
    """Return a name without the quotes around it."""
    end = {'"': '"', "`": "`", "[": "]", "'": "'"}.get(name[:1])
    return name[1:-1].replace(end * 2, end) if end else name


def _masked(text: str) -> str:
    """Return a text of the same length with nothing in its quotes and parentheses that could be taken for a word."""
    text = re.sub(_QUOTED, lambda found: found[0][0] + "x" * (len(found[0]) - 2) + found[0][-1], text)
    depth, masked = 0, ""
    for character in text:
        depth -= character == ")"
        masked += "x" if depth else character
        depth += character == "("
    return masked


def _split(text: str) -> list[str]:
    """Return the items of a list."""
    commas = [-1, *(found.start() for found in re.finditer(",", _masked(text))), len(text)]
    return [text[start + 1 : end].strip() for start, end in zip(commas, commas[1:])]


def _name(text: str, position: int = 0) -> str:
    found = _NAME.match(text, position)
    return unquoted(found[1]) if found else ""


def _clauses(item: str) -> Iterator[Clause]:
    """Yield the clauses of a column, or the constraints of a table, which may have no comma between them."""
    masked = _masked(item)
    column = "" if _CONSTRAINT.match(item) else _name(item).lower()
    beginnings = [each for each in _BEGINNING.finditer(masked, bool(column)) if each["kind"]]
    ends = [*(each.start() for each in beginnings), len(item)]
    if column:
        yield Clause(column, "", item[: ends[0]].strip())
    for begin, end in zip(beginnings, ends[1:]):
        inner = _PARENTHESES.search(masked, begin.start(), end)
        yield Clause(
            column, begin["kind"].split()[0].upper(), item[begin.start() : end].strip(),
            unquoted(item[slice(*begin.span("name"))]) if begin["name"] else "",
            item[slice(*inner.span(1))].strip() if inner else "", _name(item, begin.end()),
        )  # fmt: skip
