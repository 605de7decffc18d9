"""The text of an SQLite `CREATE TABLE`, in tokens: what the PRAGMAs do not tell stands only there.

    items, options = split("CREATE TABLE t (a TEXT COLLATE NOCASE, UNIQUE (a) ON CONFLICT IGNORE) STRICT", "t")
    head, clauses = clauses_of(items[0])

It understands where an item and a clause begin and end, no more: comments, quotes and parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from migrations.report import Refused
from migrations.schema import Check

_COMMENT = ("--", "/*")
_TOKEN = re.compile(
    r"--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]"
    r"|[\w$\u0080-\U0010ffff]+|\s+|.",
    re.DOTALL,
)
CONSTRAINTS = {"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"}
_CLAUSES = CONSTRAINTS - {"FOREIGN"} | {"NOT", "NULL", "DEFAULT", "COLLATE", "REFERENCES", "GENERATED", "AS"}
_CONFLICT = re.compile(r" ON CONFLICT (REPLACE|IGNORE|FAIL|ROLLBACK)\b")  # ABORT is what refuses as it should

Tokens = list[str]


class Said(NamedTuple):
    """What only the text of a table says: the collations of its columns, constraints by their names, and the
    `ON CONFLICT` that makes something else of a refusal: of a UNIQUE or a primary key of several columns by
    these, else by the column and ""."""

    collations: dict[str, str] = {}
    conflicts: dict[tuple[str, ...], str] = {}
    uniques: dict[tuple[str, ...], str] = {}
    checks: tuple[Check, ...] = ()
    without_rowid: bool = False


def said(sql: str, table: str) -> Said:
    """Return what the text of a table says that no PRAGMA does."""
    collations: dict[str, str] = {}
    conflicts: dict[tuple[str, ...], str] = {}
    uniques: dict[tuple[str, ...], str] = {}
    checks = []
    items, options = split(sql, table)
    for column, kind, part in _parts(items):
        words = words_of(part)
        name, columns = name_of(part), columns_of(part) or (column,)
        if kind == "COLLATE":
            collations[column] = unquoted(words[-1]).upper()
        elif kind == "CHECK" and name:
            checks.append(Check(name, text_of(part[part.index("(") + 1 : -part[::-1].index(")") - 1])))
        elif kind == "UNIQUE" and name:
            uniques[columns] = name
        if kind != "CHECK" and (action := _CONFLICT.search(" ".join(words).upper())):  # there it says nothing
            by_column = kind != "UNIQUE" and len(columns) == 1
            conflicts[(columns[0], "") if by_column else columns] = action[0].strip()
    return Said(collations, conflicts, uniques, tuple(checks), "ROWID" in options.upper())


def _parts(items: Iterable[Tokens]) -> Iterator[tuple[str, str, Tokens]]:
    """Yield each constraint and each clause of a column: the column ("" for a table's constraint), the kind."""
    for item in items:
        if is_constraint(item):
            yield "", kind_of(item), item
        else:
            column = unquoted(words_of(item)[0]).lower()
            yield from ((column, kind, clause) for kind, clause in clauses_of(item)[1])


def is_constraint(item: Tokens) -> bool:
    """Whether an item is a table's constraint, and no column."""
    return words_of(item)[0].upper() in CONSTRAINTS


def kind_of(constraint: Tokens) -> str:
    """Return the kind of a table's constraint: "PRIMARY", "UNIQUE", "CHECK", "FOREIGN", or "" for a mere name."""
    kinds = (word.upper() for word in words_of(constraint))
    return next((kind for kind in kinds if kind in CONSTRAINTS - {"CONSTRAINT"}), "")


def name_of(constraint: Tokens) -> str:
    """Return the name of a constraint or a clause, "" where it has none."""
    words = words_of(constraint)
    return unquoted(words[1]) if words[0].upper() == "CONSTRAINT" and len(words) > 1 else ""


def columns_of(constraint: Tokens) -> tuple[str, ...]:
    """Return the columns that a table's constraint names first, in parentheses."""
    if "(" not in constraint:
        return ()
    inner = words_of(constraint[constraint.index("(") + 1 : constraint.index(")")])
    return tuple(unquoted(word).lower() for position, word in enumerate(inner) if [",", *inner][position] == ",")


def parent_of(reference: Tokens) -> str:
    """Return the table that a foreign key, or a column's clause, refers to."""
    words = words_of(reference)
    return unquoted(words[[word.upper() for word in words].index("REFERENCES") + 1]).lower()


def without_last_comment(sql: str) -> str:
    """Return a statement without the comment at its end, which would swallow the semicolon of a script."""
    tokens = _TOKEN.findall(sql)
    while tokens[-1].isspace() or tokens[-1].startswith(_COMMENT):
        del tokens[-1]
    return "".join(tokens)


def split(sql: str, table: str) -> tuple[list[Tokens], str]:
    """Return the items of a `CREATE TABLE`, each as its tokens without comments, and what follows them.

    Left out is the table's name before its columns, too: a replacement has another name.

    :raises Refused: it cannot be read.
    """
    depth, items = 0, [Tokens()]
    bare = (" " if token.startswith(_COMMENT) else token for token in _TOKEN.findall(sql))
    tokens = _unqualified(bare, table.lower())
    for position, token in enumerate(tokens):
        depth += (token == "(") - (token == ")")
        if token == ")" and depth == 0:
            return [item for item in items if words_of(item)], "".join(tokens[position + 1 :])
        if depth == 1 and (token == "," or token.upper() in CONSTRAINTS and _is_whole(items[-1])):
            items.append([] if token == "," else [token])
        elif depth and not (token == "(" and depth == 1):
            items[-1].append(token)
    raise Refused(f"the definition of {table} cannot be read; mend it by hand")


def _is_whole(item: Tokens) -> bool:
    """Whether an item is a table's constraint, after which the next one may begin without a comma."""
    words = [word.upper() for word in words_of(item)]
    return bool(words) and words[0] in CONSTRAINTS and (words[0] != "CONSTRAINT" or len(words) > 2)


def _unqualified(tokens: Iterable[str], table: str) -> Tokens:
    kept: Tokens = []
    for token in tokens:
        last = next((position for position in reversed(range(len(kept))) if not kept[position].isspace()), None)
        if token == "." and last is not None and unquoted(kept[last]).lower() == table:
            del kept[last:]
        else:
            kept.append(token)
    return kept


def clauses_of(item: Tokens) -> tuple[Tokens, list[tuple[str, Tokens]]]:
    """Return a column's name and type, and its constraint clauses with the kind of each."""
    head: Tokens = []
    clauses: list[tuple[str, Tokens]] = []
    depth, previous = 0, ""
    for position, token in enumerate(item):
        word = token.upper()
        depth += (token == "(") - (token == ")")
        if depth == 0 and head and word in _CLAUSES and not _continues(word, previous, item[position + 1 :], clauses):
            clauses.append((word, []))
        (clauses[-1][1] if clauses else head).append(token)
        if not token.isspace():
            previous = word
            if clauses and clauses[-1][0] == "CONSTRAINT" and word in _CLAUSES - {"CONSTRAINT"}:
                clauses[-1] = (word, clauses[-1][1])
    return head, clauses


def _continues(word: str, previous: str, rest: Tokens, clauses: list[tuple[str, Tokens]]) -> bool:
    """Whether a word that could begin a clause belongs to the one before it."""
    following = words_of(rest)[:1]
    return (
        (word == "NULL" and previous in ("NOT", "DEFAULT", "SET"))
        or (word == "DEFAULT" and previous == "SET")
        or (word == "NOT" and bool(following) and following[0].upper() == "DEFERRABLE")
        or (word == "AS" and previous == "ALWAYS")
        or bool(clauses and clauses[-1][0] == "CONSTRAINT")
    )


def words_of(tokens: Tokens) -> list[str]:
    """Return the tokens but blanks."""
    return [token for token in tokens if not token.isspace()]


def text_of(tokens: Tokens) -> str:
    """Return the text again."""
    return "".join(tokens).strip()


def unquoted(name: str) -> str:
    """Return a name without the quotes around it."""
    quotes = {'"': '"', "`": "`", "[": "]", "'": "'"}
    if name[0] in quotes:
        end = quotes[name[0]]
        return name[1:-1].replace(end + end, end)
    return name
