"""The parser of a stored CREATE TABLE: what the PRAGMAs do not tell is only there.

    sql = "CREATE TABLE t (a TEXT COLLATE NOCASE, UNIQUE (a) ON CONFLICT IGNORE) STRICT"
    text = parse_create_table(sql, "t")

It finds where a clause begins and ends, and what the clause names; no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from migrations.errors import ChangeRefused
from migrations.sql_text import masked

QUOTED = r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]"
_COMMENT = r"--[^\n]*|/\*.*?(?:\*/|\Z)"
# A character of a name that needs no quotes: an ASCII letter or digit, _, $, and every
# character beyond ASCII. It is written as what it is not: with IGNORECASE, `re` takes
# 27 ms to compile a range up to \U0010ffff, as it folds the case of each character.
_WORD = r"[^\x00-#%-/:-@\[-^`{-\x7f]"
_NAME = re.compile(rf"\s*({QUOTED}|{_WORD}+)")
_CLOSING_QUOTES = {'"': '"', "`": "`", "[": "]", "'": "'"}
_TABLE_CONSTRAINT = re.compile(
    rf"(?:CONSTRAINT|PRIMARY|UNIQUE|CHECK|FOREIGN)(?!{_WORD})", re.IGNORECASE
)
# An option of an FTS table: the table that holds its content, or its key there.
_CONTENT = re.compile(rf"\bcontent\s*=\s*({QUOTED}|{_WORD}+)", re.IGNORECASE)
_CONTENT_ROWID = re.compile(
    rf"\bcontent_rowid\s*=\s*({QUOTED}|{_WORD}+)", re.IGNORECASE
)
# The outermost parentheses of a masked text.
_PARENTHESES = re.compile(r"\((x*)\)")
_KEYWORDS = (
    "PRIMARY",
    "UNIQUE",
    "CHECK",
    r"FOREIGN\b.*?\bREFERENCES",
    r"NOT\s+NULL",
    "NULL",
    r"DEFAULT(?:\s+NULL)?",
    "COLLATE",
    "REFERENCES",
    r"GENERATED\s+ALWAYS\s+AS",
    "AS",
)
# SET NULL, SET DEFAULT and NOT DEFERRABLE belong to a foreign key and begin no clause:
# they are matched without a `kind`.
_CLAUSE_START = re.compile(
    r"\bSET\s+(?:NULL|DEFAULT)\b|\bNOT\s+DEFERRABLE\b"
    rf"|(?:(?<!{_WORD})CONSTRAINT\s+(?P<name>[\"'`\[]?{_WORD}+[\"'`\]]?)\s*)?"
    rf"(?<!{_WORD})(?P<kind>{'|'.join(_KEYWORDS)})(?!{_WORD})",
    re.IGNORECASE | re.DOTALL,
)


class Clause(NamedTuple):
    """A column's name and type, another clause of a column, or a table constraint."""

    column: str  # in lower case; "" for a table constraint
    kind: str  # the first keyword; "" for name and type
    text: str
    name: str = ""  # of the constraint
    inner: str = ""  # what is in its first parentheses
    target: str = ""  # the table or the collation that it names

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a key, in lower case."""
        if self.column:
            return (self.column,)
        return tuple(_name_at(item).lower() for item in _split_list(self.inner))


class TableText(NamedTuple):
    """A parsed CREATE TABLE."""

    clauses: tuple[Clause, ...]
    options: str  # what follows the parentheses, such as STRICT


def parse_create_table(sql: str, table: str) -> TableText:
    """Return the parts of a CREATE TABLE, without comments.

    The table's name in front of its columns is left out, too: a table that replaces it
    has another name at first.

    :raises ChangeRefused: it cannot be read.
    """
    name = re.escape(table)
    qualifier = rf"(?:\b{name}|[\"`\[]{name}[\"`\]])\s*\."
    text = without_comments(sql, qualifier)
    parentheses = _PARENTHESES.search(masked(text, QUOTED))
    if parentheses is None:
        raise unreadable_definition(table)
    clauses: list[Clause] = []
    for item in _split_list(text[parentheses.start(1) : parentheses.end(1)]):
        clauses += _clauses_of(item)
    return TableText(tuple(clauses), text[parentheses.end() :])


def unreadable_definition(table: str) -> ChangeRefused:
    """Return the error for a definition that the parser does not understand."""
    return ChangeRefused(
        f"the definition of {table} cannot be read; change the table by hand, "
        "then run again"
    )


def refers_to_rowids(sql: str, table: str) -> bool:
    """Whether a CREATE VIRTUAL TABLE finds rows of a table by their rowids.

    https://sqlite.org/fts5.html#external_content_tables
    """
    content = _CONTENT.search(sql)
    if content is None or _name_at(content[1]).lower() != table.lower():
        return False
    key = _CONTENT_ROWID.search(sql)
    return key is None or _name_at(key[1]).lower() in ("rowid", "_rowid_", "oid")


def without_comments(sql: str, *left_out: str) -> str:
    """Return SQL without its comments, and without what further patterns match."""

    def keep_quoted(found: re.Match[str]) -> str:
        return found["quoted"] or " "

    patterns = "|".join([*left_out, f"(?P<quoted>{QUOTED})", _COMMENT])
    flags = re.IGNORECASE | re.DOTALL
    return re.sub(patterns, keep_quoted, sql, flags=flags).rstrip()


def _split_list(text: str) -> list[str]:
    """Return the items between the commas of a list."""
    items = []
    start = 0
    for comma in re.finditer(",", masked(text, QUOTED)):
        items.append(text[start : comma.start()].strip())
        start = comma.end()
    items.append(text[start:].strip())
    return items


def _name_at(text: str, position: int = 0) -> str:
    """Return the name at a position, without quotes; "" if there is none."""
    found = _NAME.match(text, position)
    if found is None:
        return ""
    name = found[1]
    closing = _CLOSING_QUOTES.get(name[0])
    if closing is None:
        return name
    return name[1:-1].replace(closing + closing, closing)


def _clauses_of(item: str) -> Iterator[Clause]:
    """Yield the clauses of a column, or table constraints.

    SQLite accepts table constraints without a comma between them.
    """
    column = ""
    if not _TABLE_CONSTRAINT.match(item):
        column = _name_at(item).lower()
    masked_item = masked(item, QUOTED)
    search_from = 1 if column else 0  # a column may have the name of a keyword
    starts = [
        found
        for found in _CLAUSE_START.finditer(masked_item, search_from)
        if found["kind"]
    ]
    ends = [found.start() for found in starts[1:]]
    ends.append(len(item))
    if column:
        end = starts[0].start() if starts else len(item)
        yield Clause(column, "", item[:end].strip())
    for start, end in zip(starts, ends):
        yield _clause(column, item, masked_item, start, end)


def _clause(
    column: str, item: str, masked_item: str, start: re.Match[str], end: int
) -> Clause:
    """Return the clause of an item that begins with a match and ends at a position."""
    name = ""
    if start["name"]:
        name = _name_at(item, start.start("name"))
    inner = ""
    parentheses = _PARENTHESES.search(masked_item, start.start(), end)
    if parentheses:
        inner = item[parentheses.start(1) : parentheses.end(1)].strip()
    return Clause(
        column=column,
        kind=start["kind"].split()[0].upper(),
        text=item[start.start() : end].strip(),
        name=name,
        inner=inner,
        target=_name_at(item, start.end()),
    )
