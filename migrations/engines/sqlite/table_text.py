"""The parser of a stored CREATE TABLE: what the PRAGMAs do not tell is only there.

    sql = "CREATE TABLE t (a TEXT COLLATE NOCASE, UNIQUE (a) ON CONFLICT IGNORE) STRICT"
    text = parse_create_table(sql, "t")

It finds where a clause begins and ends, and what the clause names; no more.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from migrations.errors import ChangeRefused
from migrations.schema import NameRule
from migrations.sql_text import QUOTED, masked

_COMMENT = r"--[^\n]*|/\*.*?(?:\*/|\Z)"
# A character of a name that needs no quotes: an ASCII letter or digit, _, $, and every
# character beyond ASCII. It is written as what it is not: with IGNORECASE, `re` takes
# 27 ms to compile a range up to \U0010ffff, as it folds the case of each character.
_WORD = r"[^\x00-#%-/:-@\[-^`{-\x7f]"
_NAME = re.compile(rf"\s*({QUOTED}|{_WORD}+)")
_CLOSING_QUOTES = {'"': '"', "`": "`", "[": "]", "'": "'"}
# The words that begin a table constraint.
_TABLE_CONSTRAINTS = ("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN")
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


def name_key(name: str) -> str:
    """Return what all names have in common that are the same for SQLite."""
    return NameRule.IGNORE_ASCII_CASE.key(name)


class Clause(NamedTuple):
    """A column's name and type, another clause of a column, or a table constraint."""

    column: str  # the key of its name; "" for a table constraint
    kind: str  # the first keyword; "" for name and type
    text: str
    name: str = ""  # of the constraint
    inner: str = ""  # what is in its first parentheses
    target: str = ""  # the table or the collation that it names

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a key, by the keys of their names."""
        if self.column:
            return (self.column,)
        items = _items_of(self.inner)
        return tuple(name_key(_name_at(item.text)) for item in items)


class TableText(NamedTuple):
    """A parsed CREATE TABLE."""

    clauses: tuple[Clause, ...]
    options: str  # what follows the parentheses, such as STRICT
    # By the key of a column, each so that text may follow it; "" stands for the table.
    comments: Mapping[str, tuple[str, ...]]


class _Item(NamedTuple):
    """What is between two commas of a list."""

    start: int
    end: int
    text: str  # without blanks around it
    masked: str  # the same text, masked


def parse_create_table(sql: str, table: str) -> TableText:
    """Return the parts of a CREATE TABLE, its comments apart from the rest.

    The table's name in front of its columns is left out, too: a table that replaces it
    has another name at first.

    :raises ChangeRefused: it cannot be read.
    """
    text = _with_blanks(sql, table)
    parentheses = _PARENTHESES.search(masked(text))
    if parentheses is None:
        raise unreadable_definition(table)
    start = parentheses.start(1)
    items = _items_of(text[start : parentheses.end(1)])
    clauses: list[Clause] = []
    for item in items:
        clauses += _clauses_of(item)
    comments: dict[str, tuple[str, ...]] = {}
    for position, comment in _comments_of(sql):
        column = _column_of_comment(items, position - start, sql[start:])
        earlier = comments.get(column, ())
        comments[column] = (*earlier, closed_comment(comment))
    return TableText(tuple(clauses), text[parentheses.end() :].rstrip(), comments)


def _column_of_comment(items: list[_Item], position: int, text: str) -> str:
    """Return the column that a comment belongs to; "" if it belongs to none.

    One that follows a comma on its line belongs to what is before the comma.

    :param text: what the items and the position are in.
    """
    before = ""
    for item in items:
        column = _column_of(item.text)
        if item.start <= position < item.end:
            in_front = text[item.start : position]
            follows_comma = not in_front.strip() and "\n" not in in_front
            if follows_comma and item.start > 0:
                return before
            return column
        before = column
    return ""


def unreadable_definition(table: str) -> ChangeRefused:
    """Return the error for a definition that the parser does not understand."""
    return ChangeRefused(
        f"the definition of {table} cannot be read; change the table by hand, "
        "then run again"
    )


def reads_content_of(sql: str, table: str) -> bool:
    """Whether a CREATE VIRTUAL TABLE names a table that holds its content."""
    return name_key(_option(sql, "content")) == name_key(table)


def refers_to_rowids(sql: str, table: str) -> bool:
    """Whether a CREATE VIRTUAL TABLE finds rows of a table by their rowids.

    https://sqlite.org/fts5.html#external_content_tables
    """
    return reads_content_of(sql, table) and (
        _option(sql, "content_rowid").lower() in ("", "rowid", "_rowid_", "oid")
    )


def _option(sql: str, name: str) -> str:
    """Return the value of an option of a virtual table; "" if it is not given."""
    pattern = rf"\b{name}\s*=\s*({QUOTED}|{_WORD}+)"
    found = re.search(pattern, sql, re.IGNORECASE)
    if found is None:
        return ""
    return _name_at(found[1])


def closed_comment(comment: str) -> str:
    """Return a comment so that text may follow it."""
    if comment.startswith("--"):
        return f"{comment}\n"
    if len(comment) < len("/**/") or not comment.endswith("*/"):
        return f"{comment} */"  # the end of the text has ended it
    return comment


def with_closed_comment(sql: str) -> str:
    """Return SQL so that a semicolon may follow it, even if it ends in a comment."""
    for position, comment in _comments_of(sql):
        if position + len(comment) == len(sql):
            return sql[:position] + closed_comment(comment)
    return sql


def _comments_of(sql: str) -> Iterator[tuple[int, str]]:
    """Yield the position of each comment in SQL, and its text."""
    if not _may_have_comments(sql):
        return
    pattern = rf"{QUOTED}|(?P<comment>{_COMMENT})"
    for found in re.finditer(pattern, sql, re.DOTALL):
        if found["comment"]:
            yield found.start(), found["comment"]


def _may_have_comments(sql: str) -> bool:
    """Whether it is worth to compile a pattern that finds comments, which is slow."""
    return "--" in sql or "/*" in sql


def without_comments(sql: str) -> str:
    """Return SQL with blanks for comments."""
    for start, comment in _comments_of(sql):
        end = start + len(comment)
        sql = f"{sql[:start]}{' ' * len(comment)}{sql[end:]}"
    return sql


def _with_blanks(sql: str, table: str) -> str:
    """Return SQL of the same length, with blanks for comments.

    :param table: a table whose name is left out, too, where a column follows it.
    """
    if not _may_have_comments(sql) and "." not in sql:
        return sql

    def keep_name(found: re.Match[str]) -> str:
        is_qualifier = found["name"] and found["point"] and is_name(found["name"])
        if found["name"] and not is_qualifier:
            return found[0]
        return " " * len(found[0])

    def is_name(text: str) -> bool:
        return name_key(_name_at(text)) == name_key(table)

    pattern = rf"(?P<name>{QUOTED}|{_WORD}+)(?P<point>\s*\.)?|{_COMMENT}"
    return re.sub(pattern, keep_name, sql, flags=re.DOTALL)


def names_and_words(sql: str) -> set[str]:
    """Return the keys of all names in SQL, and of the words that are none."""
    found = _NAME.findall(without_comments(sql))
    return {name_key(_name_at(text)) for text in found}


def _items_of(text: str) -> list[_Item]:
    """Return the items between the commas of a list."""
    items = []
    start = 0
    for masked_item in masked(text).split(","):
        end = start + len(masked_item)
        item = text[start:end]
        blanks = len(item) - len(item.lstrip())
        item = item.strip()
        items.append(_Item(start, end, item, masked_item[blanks : blanks + len(item)]))
        start = end + len(",")
    return items


def _name_at(text: str, position: int = 0) -> str:
    """Return the name at a position, without quotes; "" if there is none."""
    found = _NAME.match(text, position)
    if found is None:
        return ""
    return _unquoted(found[1])


def _unquoted(name: str) -> str:
    closing = _CLOSING_QUOTES.get(name[0])
    if closing is None:
        return name
    return name[1:-1].replace(closing + closing, closing)


def _column_of(item: str) -> str:
    """Return the column that an item defines; "" for a table constraint."""
    found = _NAME.match(item)
    if found is None or found[1].upper() in _TABLE_CONSTRAINTS:
        return ""
    return name_key(_unquoted(found[1]))


def _clauses_of(item: _Item) -> Iterator[Clause]:
    """Yield the clauses of a column, or table constraints.

    SQLite accepts table constraints without a comma between them.
    """
    text = item.text
    column = _column_of(text)
    search_from = 1 if column else 0  # a column may have the name of a keyword
    starts = [
        found
        for found in _CLAUSE_START.finditer(item.masked, search_from)
        if found["kind"]
    ]
    ends = [found.start() for found in starts[1:]]
    ends.append(len(text))
    if column:
        end = starts[0].start() if starts else len(text)
        yield Clause(column, "", text[:end].strip())
    for start, end in zip(starts, ends):
        yield _clause(column, item, start, end)


def _clause(column: str, item: _Item, start: re.Match[str], end: int) -> Clause:
    """Return the clause of an item that begins with a match and ends at a position."""
    name = ""
    if start["name"]:
        name = _name_at(item.text, start.start("name"))
    inner = ""
    parentheses = _PARENTHESES.search(item.masked, start.start(), end)
    if parentheses:
        inner = item.text[parentheses.start(1) : parentheses.end(1)].strip()
    return Clause(
        column=column,
        kind=start["kind"].split()[0].upper(),
        text=item.text[start.start() : end].strip(),
        name=name,
        inner=inner,
        target=_name_at(item.text, start.end()),
    )
