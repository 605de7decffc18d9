"""Small functions on SQL as text, the same for every database."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

# Text and names in quotes, in every dialect except MySQL's.
QUOTED = r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]"""
# These are texts, not compiled patterns: `re` compiles one at its first use and keeps
# it. Every worker imports this module, and most calls use few of them.
# A number, and the part of it that is left without trailing zeros.
_NUMBER = r"(-?\d*(\.\d*[1-9])?)\.?0*"
_LITERAL = r"(?i)\s*(-?\d+(\.\d+)?|'([^']|'')*'|TRUE|FALSE|NULL)\s*"
_STRING = r"('(?:[^']|'')*')"
# A text, a quoted name, or a word.
_WORDS = r"""(?x)'(?:[^']|'')*' | "(?:[^"]|"")*" | `(?:[^`]|``)*` | [\w$]+"""
# A string, a quoted name, or a name that needs no quotes and is not a function's.
_NAMES = r"""(?ix)'(?:[^']|'')*'
    | "(?P<double>(?:[^"]|"")*)" | `(?P<back>(?:[^`]|``)*)` | \[(?P<square>[^\]]*)\]
    | (?<![\w$.:]) (?<!\bas\ ) (?P<plain>[^\W\d][\w$]*) (?![\w$]) (?!\s*\()"""
# A name that means the same without quotes on every database.
_PLAIN_NAME = r"[a-z_][a-z0-9_]*"


def is_literal(default: str) -> bool:
    """Whether a DEFAULT is a number, a text, TRUE, FALSE or NULL."""
    return re.fullmatch(_LITERAL, default) is not None


def literal(text: str) -> str:
    """Return a text as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def value_literal(value: object) -> str:
    """Return a value of Python as SQL."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, (int, float, Decimal)):
        return str(value)
    return literal(str(value))


def masked(sql: str, quoted: str = QUOTED) -> str:
    """Return SQL of the same length in which what is in quotes or parentheses is `x`.

    `CHECK (a > 'b')` becomes `CHECK (xxxxxxx)`. What is left can be searched for
    keywords, at the same positions.

    :param quoted: the pattern of quoted text in this dialect.
    """

    def mask_quoted(found: re.Match[str]) -> str:
        text = found[0]
        return text[0] + "x" * (len(text) - 2) + text[-1]

    depth = 0
    text = ""
    for part in re.split("([()])", re.sub(quoted, mask_quoted, sql)):
        if part == ")":
            depth = max(0, depth - 1)
        if depth:
            text += "x" * len(part)
        else:
            text += part
        if part == "(":
            depth += 1
    return text


def split_sql(sql: str, pattern: str, quoted: str = QUOTED) -> list[str]:
    """Return the parts of SQL that match a pattern, such as "[^,]+" for a list.

    What is in quotes or parentheses stays in one part; see `masked`.
    """
    parts = re.finditer(pattern, masked(sql, quoted))
    return [sql[part.start() : part.end()].strip() for part in parts]


def literal_meaning(default: str) -> str:
    """Return a comparable form of a DEFAULT that is a literal.

    It has no quotes and no outer parentheses; TRUE and FALSE are 1 and 0, and a number
    has its shortest form.
    """
    text = default.strip()
    while text.startswith("(") and text.endswith(")"):
        text = text[1:-1].strip()
    if len(text) > 1 and text.startswith("'") and text.endswith("'"):
        return text[1:-1].replace("''", "'")
    text = {"true": "1", "false": "0"}.get(text.lower(), text)
    number = re.fullmatch(_NUMBER, text)
    if number:
        return number[1]
    return text


def one_line(error: object) -> str:
    """Return the text of an error, or of anything else, in one line."""
    return " ".join(str(error).split())


def comparable(sql: str, ignored: str = r'[\s"`]') -> str:
    """Return SQL without letter case, blanks and quotes of names.

    String literals are kept as they are.

    :param ignored: a pattern of the characters that are left out.
    """
    text = ""
    for part in re.split(_STRING, sql):
        if part.startswith("'"):
            text += part
        else:
            text += re.sub(ignored, "", part).lower()
    return text


def comparable_condition(sql: str) -> str:
    """Return a condition like `comparable`, and without parentheses."""
    return comparable(sql, ignored=r'[\s()"`\[\]]')


def unquoted(name: str) -> str:
    """Return a name without its quotes."""
    quote = name[:1]
    if quote in ('"', "`"):
        return name[1:-1].replace(quote + quote, quote)
    if quote == "[":
        return name[1:-1]
    return name


def words_of(sql: str) -> set[str]:
    """Return all words and quoted names in SQL, in lower case and without quotes."""
    words = set()
    for found in re.finditer(_WORDS, sql):
        text = found[0]
        quote = text[0]
        if quote in ('"', "`"):
            text = text[1:-1].replace(2 * quote, quote)
        if quote != "'":
            words.add(text.lower())
    return words


def mentions(sql: str, name: str) -> bool:
    """Whether a name is among the words of SQL, in whatever case."""
    return name.lower() in words_of(sql)


def mentioned_names(sql: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return those of some names that SQL mentions, in whatever case."""
    words = words_of(sql)
    return tuple(name for name in names if name.lower() in words)


def with_renamed_column(sql: str, old: str, new: str) -> str:
    """Return an expression in which a column has another name.

    A server that writes backticks puts every column in them: there, a word without
    quotes is a keyword, such as the `day` of an INTERVAL.
    """
    has_backticks = "`" in sql

    def renamed(found: re.Match[str]) -> str:
        name = next((text for text in found.groups() if text is not None), None)
        if name is None or name.lower() != old.lower():
            return found[0]
        start = found[0][0]
        end = found[0][-1]
        if start in '"`[':
            return start + new.replace(end, 2 * end) + end
        if has_backticks:
            return found[0]
        if re.fullmatch(_PLAIN_NAME, new):
            return new
        return '"' + new.replace('"', '""') + '"'

    return re.sub(_NAMES, renamed, sql)
