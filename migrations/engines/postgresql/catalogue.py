"""PostgreSQL's catalogue: the queries that read it, and what they mean.

Three queries read any number of tables, by the search path as SQL itself does. Peewee's introspection
tells neither an INVALID index nor a constraint that is NOT VALID, and takes a query per table and kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from migrations.schema import UTC_NOW, Check, Column, ForeignKey, Index, Schema, Table, Type, literal_meaning

Query = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
Parts = list[Any]  # of a row, but for the table's name
_KINDS = {"t": "temporary table",
          "r": "table", "p": "partitioned table", "v": "view", "m": "materialized view", "f": "foreign table",
          "i": "index", "S": "sequence", "c": "type"}  # fmt: skip
_ACTIONS = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
# What PostgreSQL and Peewee call a type -> its family, and its bytes. Another type is a family of its own.
_TYPES: dict[str, tuple[str, int | None]] = {
    name: (family, size)
    for family, size, names in (
        ("integer", 2, "smallint, int2, smallserial"),
        ("integer", 4, "integer, int, int4, serial"),
        ("integer", 8, "bigint, int8, bigserial"),
        ("float", 4, "real, float4"),
        ("float", 8, "double precision, float8, float"),
        ("decimal", None, "numeric, decimal"),
        ("string", None, "character varying, varchar, text"),
        ("fixed string", None, "character, char, bpchar"),
        ("boolean", None, "boolean, bool"),
        ("date", None, "date"),
        ("time", None, "time without time zone, time"),
        ("datetime", None, "timestamp without time zone, timestamp"),
        ("blob", None, "bytea"),
    )
    for name in names.split(", ")
}
_SIZED = re.compile(r"(.*?)\s*\(([\d\s,-]+)\)(.*)")
# As PostgreSQL writes back what we and others say, in lower case and without casts, blanks or parentheses.
_UTC_NOW = {"nowattimezone'utc'", "timezone'utc',now", "current_timestampattimezone'utc'",
            "timezone'utc',current_timestamp"}  # fmt: skip
_STRING = re.compile(r"('(?:[^']|'')*')")
_CAST = re.compile(r"::[\w.]+( varying| precision)?(\([\d, ]+\))?( with(out)? time zone)?(\[\])*", re.IGNORECASE)
_NUMBER = re.compile(r"'::(small|big)?(int|numeric|real|double)", re.IGNORECASE)

_USUAL, _BTREE = 100, 403  # the collation and the kind of index that are meant where none is named
# To write an expression back, PostgreSQL locks its table; outside of a transaction the limit ends with the query.
_OF_TABLES = """
FROM (SELECT set_config('lock_timeout', coalesce(%s, current_setting('lock_timeout')), true)) AS patience
CROSS JOIN unnest(%s::text[]) AS t (name)
JOIN pg_class c ON c.oid = to_regclass(quote_ident(t.name))"""
_COLUMNS = f"""
SELECT c.relname, CASE WHEN c.relpersistence = 't' THEN 't' ELSE c.relkind END, a.attnum, a.attname,
       format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
       a.attidentity <> '', a.attgenerated <> '',
       CASE WHEN a.attcollation NOT IN (0, {_USUAL}) THEN a.attcollation::regcollation::text END
{_OF_TABLES}
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
ORDER BY a.attnum"""
_INDEXES = f"""
SELECT c.relname, i.relname, x.indkey::text, x.indnkeyatts,
       ARRAY(SELECT CASE WHEN n NOT IN (0, {_USUAL}) THEN n::regcollation::text END FROM unnest(x.indcollation) AS n),
       ARRAY(SELECT CASE WHEN o.opcdefault THEN '' ELSE ' ' || o.opcname END
             FROM unnest(x.indclass) WITH ORDINALITY AS n (oid, i) JOIN pg_opclass o ON o.oid = n.oid ORDER BY n.i),
       x.indoption::text,
       concat(CASE WHEN NOT x.indimmediate THEN ' DEFERRABLE' END, CASE WHEN i.relam <> {_BTREE}
              THEN substring(pg_get_indexdef(i.oid) FROM ' USING [a-z0-9_]+') END),
       x.indisunique, x.indpred IS NOT NULL, x.indisvalid AND x.indisready, x.indisprimary
{_OF_TABLES}
JOIN pg_index x ON x.indrelid = c.oid JOIN pg_class i ON i.oid = x.indexrelid
ORDER BY i.relname"""
_CONSTRAINTS = f"""
SELECT c.relname, k.contype, k.oid::bigint, k.conparentid::bigint, k.conname, k.convalidated,
       pg_get_expr(k.conbin, k.conrelid), k.conkey,
       CASE WHEN p.oid = to_regclass(quote_ident(p.relname)) THEN p.relname::text ELSE p.oid::regclass::text END,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS n (key, i)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = n.key ORDER BY n.i),
       k.confdeltype, k.confupdtype
{_OF_TABLES}
JOIN pg_constraint k ON k.conrelid = c.oid LEFT JOIN pg_class p ON p.oid = k.confrelid
ORDER BY k.conname"""
# The transactions that wrote the rows of the catalogue which those three rest on; no two of a server share a number.
# It does not move with the name of a collation, of an operator class or of a function.
_FINGERPRINT = """
SELECT pg_postmaster_start_time()::text, t.name, c.oid, c.xmin::text,
       (SELECT string_agg(concat(a.xmin, CASE WHEN a.atttypid >= 16384 THEN format_type(a.atttypid, NULL) END), ',')
        FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0),
       (SELECT string_agg(d.xmin::text, ',') FROM pg_attrdef d WHERE d.adrelid = c.oid),
       (SELECT string_agg(concat(x.xmin, '/', i.xmin), ',')
        FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = c.oid),
       (SELECT string_agg(concat(k.xmin, CASE WHEN k.contype = 'f' THEN k.confrelid::regclass END), ',')
        FROM pg_constraint k WHERE k.conrelid = c.oid)
FROM unnest(%s::text[]) AS t (name) JOIN pg_class c ON c.oid = to_regclass(quote_ident(t.name))"""


@cache
def parse_type(text: str) -> Type:
    """Return the meaning of a type, as PostgreSQL or as Peewee writes it for PostgreSQL."""
    name = text.lower() if text == '"char"' else text.lower().replace('"', "")  # quote_all_identifiers
    sized = _SIZED.fullmatch(name)
    name, sizes = (sized[1] + sized[3], [int(size) for size in sized[2].split(",")]) if sized else (name, [])
    family, size = _TYPES.get(name, (name, None))
    if family in ("string", "fixed string", "decimal"):
        size = sizes[0] if sizes else 1 if name in ("character", "char") else None
    elif name == "float" and sizes and sizes[0] <= 24:
        size = 4
    elif family in ("time", "datetime") and sizes and sizes[0] < 6:
        size = sizes[0]
    scale = (sizes[1:] or [0])[0] if family == "decimal" and sizes else None
    return Type(text, family, size, scale)


def default_meaning(default: str) -> str:
    """Return what a column's default means; see `Engine.default_meaning`."""
    parts = _STRING.split(default)
    parts[::2] = [_CAST.sub("", part.replace('"', "")) for part in parts[::2]]
    bare = "".join(parts)
    if re.sub(r"[\s()]", "", bare.lower()) in _UTC_NOW:
        return UTC_NOW
    meaning = literal_meaning(bare)
    return literal_meaning(meaning) if _NUMBER.search(default) else meaning  # -0.50 reads '-0.50'::numeric


def tables(query: Query, names: Sequence[str], wait: str | None = None) -> Schema:
    """Return the tables of some names, and whatever else goes by them.

    :param wait: how long to wait for a lock, outside of a transaction.
    """
    asked = wait, list(names)
    columns, indexes, constraints = query(_COLUMNS, asked), query(_INDEXES, asked), query(_CONSTRAINTS, asked)
    kinds = {name: kind for name, kind, *_ in columns}  # as they were at the first query
    return {
        name: _table(
            Table(name, _KINDS.get(kind, "relation")), [column for of, _, *column in columns if of == name],
            [index for of, *index in indexes if of == name], [each for of, *each in constraints if of == name],
        )
        for name, kind in kinds.items()
    }  # fmt: skip


def fingerprint(query: Query, names: Sequence[str]) -> tuple[object, ...]:
    """Return what is another as soon as anything is that `tables` tells of these names."""
    return tuple(query(_FINGERPRINT, (list(names),)))


def _table(table: Table, columns: list[Parts], indexes: list[Parts], constraints: list[Parts]) -> Table:
    found = {number: _column(*column) for number, *column in columns if number is not None}
    own = {oid for _, oid, *_ in constraints}  # a key to a partitioned table has a copy for each partition
    unique, keys, checks = set(), [], []
    for kind, _, parent, name, valid, condition, numbers, *reference in constraints:
        if kind in "fn" and not found.keys() >= {*numbers}:
            continue  # its column was added since
        if kind == "f" and parent not in own:
            keys.append(_foreign_key(tuple(found[number].name for number in numbers), name, valid, *reference))
        elif kind == "c":
            checks.append(Check(name, condition, valid))
        elif kind == "n" and not valid:  # PostgreSQL 18: there may be NULLs under it
            found[numbers[0]] = found[numbers[0]]._replace(null=True)
        elif kind == "u":
            unique.add(name)
    known = {name: (_index(name, found, *index), primary) for name, *index, primary in indexes}
    return table._replace(
        columns={column.name: column for column in found.values()},
        primary_key=next((index.columns for index, primary in known.values() if primary), ()),
        indexes=tuple(
            index._replace(constraint=index.name in unique) for index, primary in known.values() if not primary
        ),
        foreign_keys=tuple(keys), checks=tuple(checks),
    )  # fmt: skip


def _column(
    name: str, type_: str, null: bool, default: str | None, identity: bool, generated: bool, collation: str | None
) -> Column:
    counts = (default or "").replace('"', "").startswith("nextval(")  # quote_all_identifiers
    default = "nextval()" if counts else default  # whatever the sequence is called
    default = None if generated else default
    return Column(name, parse_type(type_), null, default, counts or identity, generated, collation)


def _index(
    name: str, columns: Mapping[int, Column], keys: str, length: int, collations: Sequence[str | None],
    classes: Sequence[str], options: str, kind: str, unique: bool, partial: bool, valid: bool,
) -> Index:  # fmt: skip
    """An index; what is no plain column says so in the column's place."""
    parts = []
    for key, collation, class_, option in zip(keys.split()[:length], collations, classes, options.split()):
        column = columns.get(int(key))
        other = f" COLLATE {collation}" if column and collation != column.collation else ""
        descending = " DESC" if int(option) & 1 else ""
        parts.append(f"{column.name if column else '(expression)'}{other}{class_}{kind}{descending}")
    return Index(name, tuple(parts), unique, partial, valid)


def _foreign_key(
    of: tuple[str, ...], name: str, valid: bool, table: str, target: list[str], delete: str, update: str
) -> ForeignKey:
    return ForeignKey(of, table, tuple(target), _ACTIONS[delete], _ACTIONS[update], name, valid)
