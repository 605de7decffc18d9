"""What MariaDB and MySQL say of their tables, and what it means.

`SHOW CREATE TABLE` changes with every change of a table, and costs little; the `information_schema` is slow
and tells what the text means. So the meaning of the same texts is worked out once a process. Peewee's
introspection takes several queries per table, and tells neither a prefix or descending index from a plain
one nor a column's collation, which a foreign key depends on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from migrations.engines.mysql.values import parse_type
from migrations.schema import UTC_NOW, Check, Column, ForeignKey, Index, Schema, Table, literal, literal_meaning

# One SELECT a table and kind: the catalogue opens a table directly only by a constant name.
_TABLE = """
SELECT 'table', table_name, NULL, 0, table_type, engine, LOCATE('partitioned', create_options), NULL, NULL
FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = {0} UNION ALL
SELECT 'column', table_name, column_name, ordinal_position, column_type, is_nullable, {1}, extra, collation_name
FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = {0} UNION ALL
SELECT 'index', table_name, index_name, seq_in_index, column_name, non_unique, sub_part, collation, NULL
FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = {0} UNION ALL
SELECT 'key', table_name, constraint_name, ordinal_position, column_name, referenced_table_schema = DATABASE(),
       referenced_table_schema, referenced_table_name, referenced_column_name
FROM information_schema.key_column_usage
WHERE table_schema = DATABASE() AND table_name = {0} AND referenced_table_name IS NOT NULL UNION ALL """
_CHECKS = {
    "mariadb": """
SELECT 'check', table_name, constraint_name, 0, check_clause, level, 'YES', NULL, NULL
FROM information_schema.check_constraints WHERE constraint_schema = DATABASE() AND table_name = {0}""",
    "mysql": """
SELECT 'check', t.table_name, c.constraint_name, 0, c.check_clause, 'Table', t.enforced, NULL, NULL
FROM information_schema.table_constraints t JOIN information_schema.check_constraints c
     ON c.constraint_schema = t.constraint_schema AND c.constraint_name = t.constraint_name
WHERE t.table_schema = DATABASE() AND t.table_name = {0}""",
}
# A default as SQL; MySQL quotes nothing of itself, and QUOTE makes a word of NULL.
_DEFAULT = {
    "mariadb": "column_default",
    "mysql": "IF(LOCATE('DEFAULT_GENERATED', extra), column_default, QUOTE(column_default))",
}
# Where a clause of a column's definition begins, in a text without quoted parts and parentheses.
_CLAUSE = re.compile(
    r" (?:NOT NULL|DEFAULT NULL|NULL|DEFAULT|ON UPDATE|AUTO_INCREMENT|COMMENT|CHECK|GENERATED|INVISIBLE|WITHOUT|/\*!)"
    r"(?=[ ?\d]|$)"
)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.|'')*'|`(?:[^`]|``)*`")
_COUNTER = re.compile(r"(\n\) ENGINE=\w+) AUTO_INCREMENT=\d+")
_ACTION = re.compile(r" ON (DELETE|UPDATE) (CASCADE|SET NULL|SET DEFAULT|NO ACTION|RESTRICT)")


class _Fact(NamedTuple):
    """A row of the catalogue; what its last five parts are depends on `what`."""

    what: str
    table: str
    item: str
    place: int
    a: str
    b: str
    c: str
    d: str
    e: str


def query(names: Iterable[str], server: str) -> str:
    """Return the query for all that there is to know of tables, on a "mariadb" or a "mysql"."""
    select = _TABLE + _CHECKS[server]
    return " UNION ALL ".join(select.format(literal(name), _DEFAULT[server]) for name in names)


def without_counter(text: str) -> str:
    """Return the text of `SHOW CREATE TABLE` without the next number, which moves with every row."""
    return _COUNTER.sub(r"\1", text)


def meaning(
    rows: Iterable[tuple], texts: Mapping[str, str | None], understood: Callable[[ForeignKey], ForeignKey]
) -> Schema:  # fmt: skip
    """Return the tables that the rows of a `query` are about, by their lower-case names.

    The SELECTs have no snapshot in common: a table may come, go or change between two of them.

    :param texts: of `SHOW CREATE TABLE`, which shows a key's actions to whoever may read the table.
    :param understood: a foreign key with its actions as they are compared.
    """
    facts: dict[str, dict[str, list[_Fact]]] = {}
    for row in rows:
        fact = _Fact(*row[:3], int(row[3]), *row[4:])
        facts.setdefault(fact.table.lower(), {}).setdefault(fact.what, []).append(fact)
    schema: Schema = {}
    for name, of in facts.items():
        if "table" in of and ("column" in of or of["table"][0].a == "VIEW"):
            table = _table(of, texts.get(name) or "")
            schema[name] = table._replace(foreign_keys=tuple(map(understood, table.foreign_keys)))
    return schema


def _table(of: Mapping[str, list[_Fact]], text: str) -> Table:
    about = of["table"][0]
    keys = [_index(facts) for facts in _grouped(of.get("index", ()))]
    checks = of.get("check", ())
    json = {each.item for each in checks if each.a == f"json_valid(`{each.item}`)"}
    columns = {fact.item.lower(): _column(fact, json) for fact in sorted(of.get("column", ()), key=lambda f: f.place)}
    return Table(
        about.table, _kind(about), columns,
        next((key.columns for key in keys if key.name == "PRIMARY"), ()),
        tuple(key for key in keys if key.name != "PRIMARY"),
        tuple(_foreign_key(facts, text) for facts in _grouped(of.get("key", ()))),
        tuple(Check(each.item, each.a, each.c == "YES") for each in checks if each.b == "Table"),
    )  # fmt: skip


def _kind(about: _Fact) -> str:
    if int(about.c or 0):
        return "partitioned table"
    if about.a not in ("BASE TABLE", "SYSTEM VERSIONED"):
        return about.a.lower()
    return "table" if about.b == "InnoDB" else f"{about.b} table"  # no other engine keeps foreign keys


def _column(fact: _Fact, json: set[str]) -> Column:
    type_, extra = parse_type(fact.a), (fact.d or "").upper()
    if fact.item in json:  # what MariaDB makes of JSON: a LONGTEXT with a CHECK
        type_ = type_._replace(family="json", size=None)
    default = None if fact.c == "NULL" else fact.c
    generated = "GENERATED" in extra.replace("DEFAULT_GENERATED", "")
    counts = "AUTO_INCREMENT" in extra
    return Column(fact.item, type_, fact.b == "YES", default, counts, generated, fact.e)


def _grouped(facts: Iterable[_Fact]) -> list[list[_Fact]]:
    """Return the facts of each item, in order."""
    groups: dict[str, list[_Fact]] = {}
    for fact in sorted(facts, key=lambda each: (each.item, each.place)):
        groups.setdefault(fact.item, []).append(fact)
    return list(groups.values())


def _index(facts: list[_Fact]) -> Index:
    columns = []
    for each in facts:
        text = "(expression)" if each.a is None else each.a.lower() + f"({each.c})" * bool(each.c)
        columns.append(text + " DESC" * (each.d == "D"))
    return Index(facts[0].item, tuple(columns), unique=not int(facts[0].b))


def _foreign_key(facts: list[_Fact], text: str) -> ForeignKey:
    first = facts[0]
    parent = first.d.lower() if int(first.b) else f"{first.c}.{first.d}"
    start = f"CONSTRAINT `{first.item.replace('`', '``')}` FOREIGN KEY "
    line = next((line for line in _lines(text) if line.startswith(start)), "")
    actions = dict(_ACTION.findall(line))
    columns = (tuple(each.a.lower() for each in facts), parent, tuple(each.e.lower() for each in facts))
    return ForeignKey(*columns, actions.get("DELETE", "NO ACTION"), actions.get("UPDATE", "NO ACTION"), first.item)


def default_meaning(default: str) -> str:
    """Return what a column's default means."""
    if default.lower().replace("()", "").strip("()") == "utc_timestamp":
        return UTC_NOW
    return literal_meaning(literal_meaning(default).replace("\\\\", "\\"))  # '0.00' is 0, too


# -- a column's own definition, for a MODIFY that keeps what is not to change


def _lines(text: str) -> list[str]:
    return [line.strip().rstrip(",") for line in text.splitlines()]


def clauses(text: str, column: str) -> dict[str, str]:
    """Return the clauses of a column's definition in the text of its table, by their first words: "" is the
    type with its collation, then as they are there NOT, NULL, DEFAULT, ON, COMMENT, CHECK …"""
    start = f"`{column.replace('`', '``')}` "
    line = next(line for line in _lines(text) if line.lower().startswith(start.lower()))
    definition = line[len(start) :]
    bounds = [0, *(found.start() for found in _CLAUSE.finditer(_masked(definition))), len(definition)]
    parts = [definition[begin:end] for begin, end in zip(bounds, bounds[1:])]
    return {"": parts[0], **{part.split()[0]: part for part in parts[1:]}}


def _masked(sql: str) -> str:
    """Return SQL of the same length in which what is quoted or in parentheses is all question marks."""
    bare = _QUOTED.sub(lambda found: "?" * len(found[0]), sql)
    masked, depth = "", 0
    for character in bare:
        depth += character == "("
        masked += "?" if depth else character
        depth -= character == ")"
    return masked
