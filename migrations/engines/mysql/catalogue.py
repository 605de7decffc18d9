"""What `SHOW CREATE TABLE` means: all that there is to know of a table, in one text, which MariaDB writes in one
way whatever the table was made by.

Three queries of the `information_schema` say the same and take ten times as long; they have no snapshot in
common, and keep the foreign keys from a user who may only read. Peewee's introspection, which makes several
per table, tells neither a prefix or descending index from a plain one nor a column's collation.
"""

from __future__ import annotations

import functools
import re
from itertools import pairwise

from migrations.engines.mysql.values import STRINGS, parse_type
from migrations.report import Refused
from migrations.schema import UTC_NOW, Check, Column, ForeignKey, Index, Table, literal_meaning, masked

COUNTER = re.compile(r"(?<=\n\) ENGINE=InnoDB) AUTO_INCREMENT=\d+")  # the next number, which moves with every row
_NAME = r"`(?:[^`]|``)*`"
_QUOTED = rf"'(?:[^'\\]|\\.|'')*'|{_NAME}"
# Where a clause of a column's definition begins; the type is what comes before.
_CLAUSE = re.compile(
    r" (NOT|(?<!NOT )(?<!DEFAULT )NULL|DEFAULT|ON|AUTO_INCREMENT|COMMENT|CHECK|GENERATED|INVISIBLE|WITHOUT|/\*)"
)


@functools.lru_cache(512)
def meaning(name: str, text: str) -> Table:
    """Return the table that a text of `SHOW CREATE TABLE` shows; worked out once a process."""
    if text.startswith("CREATE TEMPORARY"):
        raise Refused(f"the temporary table {name} hides the real one on this connection; drop it first")
    if not text.startswith("CREATE TABLE"):
        return Table(name, "view")
    items = _items(text)
    options = masked(" ".join(line for line in text.split("\n")[1:] if not line.startswith("  ")), _QUOTED)
    engine = options.partition("ENGINE=")[2].split(" ")[0]
    kind = "table" if engine == "InnoDB" else f"{engine} table"  # no other keeps foreign keys
    columns = [_column(item, _collation(options)) for item in items if item[0].startswith("`")]
    indexes = {index.name: index for index in (_index(item) for item in items if "KEY" in item[:2])}
    primary_key = indexes.pop("PRIMARY", Index("", ())).columns
    keys = [item for item in items if item[0] == "CONSTRAINT"]
    return Table(
        name, "partitioned table" if "PARTITION BY" in options else kind,
        {column.name.lower(): column for column in columns}, primary_key, tuple(indexes.values()),
        tuple(_foreign_key(item) for item in keys if item[2] == "FOREIGN"),
        tuple(Check(_name(item[1]), item[3][1:-1]) for item in keys if item[2] == "CHECK"),
    )  # fmt: skip


def _items(text: str) -> list[list[str]]:
    """Return the words of each column, index and key in the text of a table."""
    return [words(line.strip().rstrip(",")) for line in text.split("\n") if line.startswith("  ")]


def _collation(options: str) -> str:
    """Return a collation, or where it is the one that its character set has anyway, that."""
    found: list[str] = re.findall(r"(?:CHARSET|CHARACTER SET|COLLATE)[ =](\w+)", options)
    return found[-1] if found else ""


def _column(item: list[str], of_table: str) -> Column:
    clauses = _clauses(item)
    type_ = parse_type(re.split(" CHARACTER SET | COLLATE ", clauses[""])[0])
    default = clauses.get("DEFAULT", "DEFAULT NULL").removeprefix("DEFAULT ")
    if clauses.get("CHECK") == f"CHECK (json_valid({item[0]}))":  # what MariaDB makes of JSON, over a LONGTEXT
        type_ = type_._replace(family="json", size=None)
    text = type_.family in (*STRINGS, "enum", "set", "json")
    return Column(
        _name(item[0]), type_, "NOT" not in clauses, None if default == "NULL" else default,
        "AUTO_INCREMENT" in clauses, "GENERATED" in clauses,
        (_collation(clauses[""]) or of_table) if text else None,
    )  # fmt: skip


def _clauses(item: list[str]) -> dict[str, str]:
    definition = " ".join(item[1:])
    starts = [(0, ""), *((found.start() + 1, found[1]) for found in _CLAUSE.finditer(masked(definition, _QUOTED)))]
    return {word: definition[start:end].strip() for (start, word), (end, _) in pairwise([*starts, (None, "")])}


def clauses(text: str, column: str) -> dict[str, str]:
    """Return the clauses of a column in the text of its table, as they stand there, by the words that they
    begin with: "" for the type with its collation, NOT, DEFAULT, COMMENT, CHECK …"""
    return next(_clauses(item) for item in _items(text) if _name(item[0]).lower() == column)


def _index(item: list[str]) -> Index:
    at = next(place for place, word in enumerate(item) if word.startswith("("))
    name = "PRIMARY" if item[at - 1] == "KEY" else _name(item[at - 1])
    kind = "" if item[0] in ("PRIMARY", "UNIQUE", "KEY") else f" {item[0]}"
    return Index(name, tuple(column + kind for column in _columns(item[at])), unique=item[0] == "UNIQUE")


def _foreign_key(item: list[str]) -> ForeignKey:
    actions = dict(re.findall(r"ON (DELETE|UPDATE) (CASCADE|SET \w+)", masked(" ".join(item), _QUOTED)))
    on_delete, on_update = (actions.get(event, "NO ACTION") for event in ("DELETE", "UPDATE"))
    parent = item[6].replace("`", "").lower()  # with the name of its database, if that is another
    return ForeignKey(_columns(item[4]), parent, _columns(item[7]), on_delete, on_update, _name(item[1]))


def _columns(group: str) -> tuple[str, ...]:
    """Return the parts of a key: the names of columns, with whatever makes one no plain one."""
    return tuple(re.sub(_NAME, lambda found: _name(found[0]).lower(), part) for part in words(group[1:-1], "[^,]+"))


def default_meaning(default: str) -> str:
    """Return what a column's default means."""
    if default.lower().replace("()", "").strip("()") == "utc_timestamp":
        return UTC_NOW
    return literal_meaning(default).replace("\\\\", "\\")


# -- the words of a text


def words(sql: str, pattern: str = r"\S+") -> list[str]:
    """Return the parts of SQL between blanks, or of another pattern; what is quoted or in parentheses is whole."""
    return [sql[found.start() : found.end()].strip() for found in re.finditer(pattern, masked(sql, _QUOTED))]


def _name(quoted: str) -> str:
    return quoted[1:-1].replace("``", "`")
