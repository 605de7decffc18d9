"""What `SHOW CREATE TABLE` means: all that there is to know of a table, in one text, which MariaDB and MySQL
write in one way whatever the table was made by.

Three queries of the `information_schema` say the same and take ten times as long; they have no snapshot in
common, and keep the foreign keys from a user who may only read. Peewee's introspection, which makes several
per table, tells neither a prefix or descending index from a plain one nor a column's collation.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from migrations.engines.mysql.values import STRINGS, parse_type
from migrations.schema import UTC_NOW, Check, Column, ForeignKey, Index, Table, literal_meaning

_QUOTED = re.compile(r"'(?:[^'\\]|\\.|'')*'|`(?:[^`]|``)*`")
_COUNTER = re.compile(r"(\n\) ENGINE=\w+) AUTO_INCREMENT=\d+")
_COLUMN = re.compile(r"(`(?:[^`]|``)+`)(\(\d+\))?")
# The words that begin a clause of a column's definition; the type is what comes before.
_CLAUSES = {"NOT", "NULL", "DEFAULT", "ON", "AUTO_INCREMENT", "COMMENT", "CHECK", "GENERATED", "INVISIBLE", "WITHOUT"}
_KEYS = {"PRIMARY", "UNIQUE", "KEY", "FULLTEXT", "SPATIAL", "VECTOR"}


def without_counter(text: str) -> str:
    """Return the text of a table without the next number, which moves with every row."""
    return _COUNTER.sub(r"\1", text)


@functools.lru_cache(512)
def meaning(text: str) -> Table:
    """Return the table that a text of `SHOW CREATE TABLE` shows; worked out once a process."""
    head, *lines = text.split("\n")
    name = _name(next(token for token in tokens(head) if token.startswith("`")))
    if not head.startswith("CREATE TABLE"):
        return Table(name, "view")
    items = [tokens(line.strip().rstrip(",")) for line in lines if line.startswith("  ")]
    options = masked(" ".join(line.lstrip(")") for line in lines if not line.startswith("  ")))
    columns = [_column(item, _collation(options)) for item in items if item[0].startswith("`")]
    indexes = [_index(item) for item in items if item[0] in _KEYS]
    keys = [item for item in items if item[0] == "CONSTRAINT"]
    return Table(
        name, _kind(options), {column.name.lower(): column for column in columns},
        next((index.columns for index in indexes if index.name == "PRIMARY"), ()),
        tuple(index for index in indexes if index.name != "PRIMARY"),
        tuple(_foreign_key(item) for item in keys if item[2] == "FOREIGN"),
        tuple(Check(_name(item[1]), item[3][1:-1], "NOT" not in item) for item in keys if item[2] == "CHECK"),
    )  # fmt: skip


def _kind(options: str) -> str:
    if "PARTITION BY" in options:
        return "partitioned table"
    engine = options.partition("ENGINE=")[2].split(" ")[0]
    return "table" if engine == "InnoDB" else f"{engine} table"  # no other keeps foreign keys


def _collation(options: str) -> str:
    """Return a collation, or where it is the one that its character set has anyway, that."""
    words = dict(re.findall(r"(CHARSET|COLLATE|CHARACTER SET)[ =](\w+)", options))
    return words.get("COLLATE") or words.get("CHARSET") or words.get("CHARACTER SET") or ""


def _column(item: list[str], of_table: str) -> Column:
    name, parts = _name(item[0]), clauses(item)
    bare = parts[""].partition(" CHARACTER SET ")[0].partition(" COLLATE ")[0]
    type_, default = parse_type(bare), parts.get("DEFAULT", " DEFAULT NULL").removeprefix(" DEFAULT ")
    if parts.get("CHECK") == f" CHECK (json_valid({item[0]}))":  # what MariaDB makes of JSON, over a LONGTEXT
        type_ = type_._replace(family="json", size=None)
    text = type_.family in (*STRINGS, "enum", "set", "json")
    return Column(
        name, type_, "NOT" not in parts, None if default == "NULL" else default, "AUTO_INCREMENT" in parts,
        "GENERATED" in parts, (_collation(parts[""]) or of_table) if text else None,
    )  # fmt: skip


def _index(item: list[str]) -> Index:
    at = next(place for place, token in enumerate(item) if token.startswith("("))
    name = _name(item[at - 1]) if item[at - 1].startswith("`") else "PRIMARY"
    kind = "" if item[0] in ("PRIMARY", "UNIQUE", "KEY") else f" {item[0]}"
    columns = tuple(_part(part) + kind for part in _split(item[at]))
    return Index(name, columns, unique=item[0] == "UNIQUE")


def _part(part: str) -> str:
    """Return a part of an index: the name of a column, with whatever makes it no plain one."""
    first, *order = tokens(part)
    if not (column := _COLUMN.fullmatch(first)):
        return "(expression)"
    return _name(column[1]).lower() + (column[2] or "") + "".join(f" {word}" for word in order)


def _foreign_key(item: list[str]) -> ForeignKey:
    target = item.index("REFERENCES") + 1
    actions = {"DELETE": "NO ACTION", "UPDATE": "NO ACTION"}
    for word, action, more in zip(item[target + 2 :], item[target + 3 :], [*item[target + 4 :], ""]):
        if word in actions and action != "RESTRICT":
            actions[word] = f"{action} {more}" if action in ("SET", "NO") else action
    columns, targets = (tuple(_part(part) for part in _split(item[at])) for at in (4, target + 1))
    parent = ".".join(_name(part) for part in _split(f"({item[target]})", "."))
    parent = parent if "." in item[target] else parent.lower()
    return ForeignKey(columns, parent, targets, actions["DELETE"], actions["UPDATE"], _name(item[1]))


def clauses(item: list[str]) -> dict[str, str]:
    """Return the clauses of a column's definition, as they stand there, by the words that they begin with:
    "" for the type with its collation, NOT, DEFAULT, COMMENT, CHECK …"""
    parts, word, words = {"": item[1]}, "", 1
    for token in item[2:]:
        if token in _CLAUSES and not (word and words == 1 and word in ("NOT", "DEFAULT")) or token.startswith("/*"):
            word, words = token, 0
            parts[word] = ""
        parts[word] += f" {token}"
        words += 1
    return parts


def definition(text: str, column: str) -> list[str]:
    """Return the tokens of a column's definition in the text of its table."""
    lines = (tokens(line.strip().rstrip(",")) for line in text.split("\n") if line.startswith("  `"))
    return next(item for item in lines if _name(item[0]).lower() == column.lower())


def default_meaning(default: str) -> str:
    """Return what a column's default means."""
    if default.lower().replace("()", "").strip("()") == "utc_timestamp":
        return UTC_NOW
    return literal_meaning(literal_meaning(default).replace("\\\\", "\\"))  # '0.00' is 0, too


# -- the words of a text


def tokens(sql: str) -> list[str]:
    """Return the parts of SQL between blanks; what is quoted or in parentheses is whole."""
    return [sql[found.start() : found.end()] for found in re.finditer(r"\S+", masked(sql))]


def masked(sql: str) -> str:
    """Return SQL of the same length in which what is quoted or in parentheses is all question marks."""
    bare = _QUOTED.sub(lambda found: "?" * len(found[0]), sql)
    if "(" not in bare:
        return bare
    parts, depth = [], 0
    for character in bare:
        depth += character == "("
        parts.append("?" if depth else character)
        depth -= character == ")"
    return "".join(parts)


def _split(group: str, at: str = ",") -> Iterator[str]:
    """Yield the parts of what is in parentheses."""
    inner, start = group[1:-1], 0
    for place, character in enumerate(masked(inner) + at):
        if character == at:
            yield inner[start:place].strip()
            start = place + 1


def _name(quoted: str) -> str:
    return quoted[1:-1].replace("``", "`")
