"""The text of an SQLite `CREATE TABLE`, in tokens: what the PRAGMAs do not tell stands only there.

    items, options = split("CREATE TABLE t (a TEXT COLLATE NOCASE, UNIQUE (a) ON CONFLICT IGNORE) STRICT")
    head, clauses = clauses_of(items[0])

It understands where an item and a clause begin and end, no more: comments, quotes and parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from migrations.engines.base import TABLE, literals
from migrations.report import Refused

_COMMENT = ("--", "/*")
_TOKEN = re.compile(
    r"--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]"
    r"|[\w$\u0080-\U0010ffff]+|\s+|.",
    re.DOTALL,
)
CONSTRAINTS = {"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"}
_CLAUSES = CONSTRAINTS - {"FOREIGN"} | {"NOT", "NULL", "DEFAULT", "COLLATE", "REFERENCES", "GENERATED", "AS"}

Tokens = list[str]


def check_literals(sql: str) -> dict[str, list]:
    """Return by column the values that the CHECKs of a `CREATE TABLE` name together with it."""
    found: dict[str, list] = {}
    for item in split(sql)[0]:
        words = words_of(item)
        if "CHECK" in map(str.upper, words):
            values = [value for word in words for value in literals(word)]
            for word in words:
                found.setdefault(unquoted(word).lower(), []).extend(values)
    return found


def collations(sql: str) -> dict[str, str]:
    """Return the collations that a `CREATE TABLE` gives to columns, by column, both in upper case."""
    found = {}
    for item in split(sql)[0]:
        for kind, clause in clauses_of(item)[1]:
            if kind == "COLLATE":
                found[unquoted(words_of(item)[0]).upper()] = unquoted(words_of(clause)[-1]).upper()
    return found


def conflict_clauses(sql: str) -> dict[str | tuple[str, ...], str]:
    """Return the `ON CONFLICT` of a `CREATE TABLE` that make something else of a refusal.

    Those of NOT NULL and of a primary key of one column are by that column, those of UNIQUE by its columns.
    """
    found: dict[str | tuple[str, ...], str] = {}
    for item in split(sql)[0]:
        first = words_of(item)[0]
        parts = [item] if first.upper() in CONSTRAINTS else [clause for _, clause in clauses_of(item)[1]]
        for part in parts:
            words = [word.upper() for word in words_of(part)]
            action = re.search(r" ON CONFLICT (REPLACE|IGNORE|FAIL|ROLLBACK)\b", " ".join(words))
            if action and "CHECK" not in words:  # where it says nothing
                columns = columns_of(part) or (unquoted(first).lower(),)
                by_column = "UNIQUE" not in words and len(columns) == 1
                found[columns[0] if by_column else columns] = action[0].strip()
    return found


def columns_of(constraint: Tokens) -> tuple[str, ...]:
    """Return the columns that a table's constraint names first, in parentheses."""
    if "(" not in constraint:
        return ()
    inner = words_of(constraint[constraint.index("(") + 1 : constraint.index(")")])
    return tuple(unquoted(word).lower() for position, word in enumerate(inner) if [",", *inner][position] == ",")


def without_last_comment(sql: str) -> str:
    """Return a statement without the comment at its end, which would swallow the semicolon of a script."""
    tokens = _TOKEN.findall(sql)
    while tokens[-1].isspace() or tokens[-1].startswith(_COMMENT):
        del tokens[-1]
    return "".join(tokens)


def split(sql: str) -> tuple[list[Tokens], str]:
    """Return the items of a `CREATE TABLE`, each as its tokens without comments, and what follows them.

    Left out is the table's name before its columns, too: a replacement has another name.
    """
    depth, items = 0, [[]]
    tokens = _unqualified(" " if token.startswith(_COMMENT) else token for token in _TOKEN.findall(sql))
    for position, token in enumerate(tokens):
        depth += (token == "(") - (token == ")")
        if token == ")" and depth == 0:
            return [item for item in items if words_of(item)], "".join(tokens[position + 1 :])
        if depth == 1 and (token == "," or token.upper() in CONSTRAINTS and _is_whole(items[-1])):
            items.append([] if token == "," else [token])
        elif depth and not (token == "(" and depth == 1):
            items[-1].append(token)
    raise Refused("the definition of weekly_actuals cannot be read; mend it by hand")


def _is_whole(item: Tokens) -> bool:
    """Whether an item is a table's constraint, after which the next one may begin without a comma."""
    words = [word.upper() for word in words_of(item)]
    return bool(words) and words[0] in CONSTRAINTS and (words[0] != "CONSTRAINT" or len(words) > 2)


def _unqualified(tokens: Iterable[str]) -> Tokens:
    kept: Tokens = []
    for token in tokens:
        last = next((position for position in reversed(range(len(kept))) if not kept[position].isspace()), None)
        if token == "." and last is not None and unquoted(kept[last]).lower() == TABLE:
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
        or (word == "NOT" and following and following[0].upper() == "DEFERRABLE")
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
