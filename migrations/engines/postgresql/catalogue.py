"""PostgreSQL's catalogue: the query that reads it, and what it means.

It reads any number of tables at once, by the search path as SQL itself does. Peewee's introspection
tells neither an INVALID index nor a constraint that is NOT VALID, and takes a query per table and kind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from migrations.schema import UTC_NOW, Check, Column, ForeignKey, Index, Schema, Table, Type, literal_meaning

Query = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
Parts = Iterable[list[Any]]  # of a table
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
        ("fixed string", None, "bpchar"),
        ("fixed string", 1, "character, char"),
        ("boolean", None, "boolean, bool"),
        ("date", None, "date"),
        ("time", None, "time without time zone, time"),
        ("datetime", None, "timestamp without time zone, timestamp"),
        ("blob", None, "bytea"),
    )
    for name in names.split(", ")
}
_DIGITS = {"time": 6, "datetime": 6}  # of fractions of seconds, where none are told
_SIZED = re.compile(r"(.*?)\s*\(([\d\s,-]+)\)(.*)")
# As PostgreSQL writes back what we and others say, in lower case and without casts, blanks or parentheses.
_UTC_NOW = {"nowattimezone'utc'", "timezone'utc',now", "current_timestampattimezone'utc'",
            "timezone'utc',current_timestamp"}  # fmt: skip
_STRING = re.compile(r"('(?:[^']|'')*')")
_CAST = re.compile(r"::[\w.\"]+( varying| precision)?(\([\d, ]+\))?( with(out)? time zone)?(\[\])*", re.IGNORECASE)
_NUMBER = re.compile(r"'::(small|big)?(int|numeric|real|double|bool)", re.IGNORECASE)

# Settings that are made for the query end with it, outside of a transaction: to write an expression back,
# PostgreSQL locks its table. 100 is the collation that is meant where none is named.
_TABLES = """
SELECT c.relname,
       concat(CASE WHEN c.relpersistence = 't' THEN 'temporary ' WHEN c.relkind = 'p' THEN 'partitioned ' END,
              (pg_identify_object('pg_class'::regclass, c.oid, 0)).type),
       ARRAY(SELECT json_build_array(a.attname,
                        format_type(coalesce(y.typbasetype, a.atttypid), coalesce(y.typtypmod, a.atttypmod)),
                        NOT a.attnotnull OR EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid
                            AND k.contype = 'n' AND k.conkey[1] = a.attnum AND NOT k.convalidated),
                        pg_get_expr(d.adbin, d.adrelid), a.attidentity <> '', a.attgenerated <> '',
                        CASE WHEN a.attcollation NOT IN (0, 100) THEN a.attcollation::regcollation END)::text
             FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
                  LEFT JOIN pg_type y ON y.oid = a.atttypid AND y.typtype = 'd'  -- a domain is as good as its type
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
       ARRAY(SELECT json_build_array(i.relname,
                        ARRAY(SELECT concat(coalesce(a.attname, '(expression)'),
                                  CASE WHEN n.of NOT IN (0, a.attcollation) THEN ' COLLATE ' || n.of::regcollation END,
                                  CASE WHEN NOT o.opcdefault THEN ' ' || o.opcname END,
                                  CASE WHEN NOT x.indimmediate THEN ' DEFERRABLE' END,
                                  CASE WHEN m.amname <> 'btree' THEN ' USING ' || m.amname END,
                                  CASE WHEN n.option & 1 = 1 THEN ' DESC' END)
                              FROM unnest(x.indkey, x.indcollation, x.indclass, x.indoption)
                                   WITH ORDINALITY AS n (key, of, class, option, i)
                              JOIN pg_opclass o ON o.oid = n.class
                              LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = n.key ORDER BY n.i),
                        x.indisunique, x.indpred IS NOT NULL, x.indisvalid AND x.indisready,
                        EXISTS (SELECT FROM pg_constraint k
                                WHERE k.conrelid = c.oid AND k.conindid = i.oid AND k.contype = 'u'),
                        x.indisprimary)::text
             FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam
             WHERE x.indrelid = c.oid ORDER BY i.relname),
       ARRAY(SELECT json_build_array(
                        ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY AS n (key, i)
                              JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = n.key ORDER BY n.i),
                        CASE WHEN pg_table_is_visible(p.oid) THEN p.relname::text ELSE p.oid::regclass::text END,
                        ARRAY(SELECT a.attname FROM unnest(k.confkey) WITH ORDINALITY AS n (key, i)
                              JOIN pg_attribute a ON a.attrelid = p.oid AND a.attnum = n.key ORDER BY n.i),
                        k.confdeltype, k.confupdtype, k.conname, k.convalidated)::text
             FROM pg_constraint k JOIN pg_class p ON p.oid = k.confrelid
             WHERE k.conrelid = c.oid AND NOT EXISTS (  -- a key to a partitioned table has a copy for each partition
                 SELECT FROM pg_constraint o WHERE o.oid = k.conparentid AND o.conrelid = c.oid) ORDER BY k.conname),
       ARRAY(SELECT json_build_array(k.conname, pg_get_expr(k.conbin, k.conrelid), k.convalidated)::text
             FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c' ORDER BY k.conname)
FROM (SELECT count(set_config(name, value, true)) FROM unnest(%s::text[], %s::text[]) AS t (name, value)
      WHERE current_setting(name, true) IS NOT NULL) AS settings
CROSS JOIN unnest(%s::text[]) AS t (name) JOIN pg_class c ON c.oid = to_regclass(quote_ident(t.name))"""
# The transactions that wrote the rows of the catalogue which that rests on; no two of a server share a number.
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
    name, sizes = text.lower(), []
    if sized := _SIZED.fullmatch(name):
        name, sizes = sized[1] + sized[3], [int(size) for size in sized[2].split(",")]
    family, size = _TYPES.get(name, (name, None))
    if name == "float" and sizes:
        size = 4 if sizes[0] <= 24 else 8
    elif name in _TYPES and sizes and sizes[0] != _DIGITS.get(family):
        size = sizes[0]
    return Type(text, family, size, [*sizes, 0][1] if family == "decimal" and sizes else None)


def default_meaning(default: str) -> str:
    """Return what a column's default means; see `Engine.default_meaning`."""
    parts = _STRING.split(default)
    parts[::2] = [_CAST.sub("", part) for part in parts[::2]]
    bare = "".join(parts)
    if re.sub(r"[\s()]", "", bare.lower()) in _UTC_NOW:
        return UTC_NOW
    meaning = literal_meaning(bare)
    return literal_meaning(meaning) if _NUMBER.search(default) else meaning  # -0.50 reads '-0.50'::numeric


def tables(query: Query, names: Sequence[str], settings: Mapping[str, str]) -> Schema:
    """Return the tables of some names, and whatever else goes by them.

    :param settings: what is set for the query.
    """
    rows = query(_TABLES, ([*settings], [*settings.values()], names))
    return {name: _table(name, kind, *(map(json.loads, part) for part in parts)) for name, kind, *parts in rows}


def fingerprint(query: Query, names: Sequence[str]) -> tuple[object, ...]:
    """Return what is another as soon as anything is that `tables` tells of these names."""
    return tuple(query(_FINGERPRINT, (list(names),)))


def _table(name: str, kind: str, columns: Parts, indexes: Parts, keys: Parts, checks: Parts) -> Table:
    known = [(Index(index, tuple(of), *marks), primary) for index, of, *marks, primary in indexes]
    return Table(
        name, kind,
        columns={column[0]: _column(*column) for column in columns},
        primary_key=next((index.columns for index, primary in known if primary), ()),
        indexes=tuple(index for index, primary in known if not primary),
        foreign_keys=tuple(
            ForeignKey(tuple(of), table, tuple(target), _ACTIONS[delete], _ACTIONS[update], *named)
            for of, table, target, delete, update, *named in keys
        ),
        checks=tuple(Check(*check) for check in checks),
    )  # fmt: skip


def _column(
    name: str, type_: str, null: bool, default: str | None, identity: bool, generated: bool, collation: str | None
) -> Column:
    counts = (default or "").startswith("nextval(")
    default = "nextval()" if counts else default  # whatever the sequence is called
    return Column(
        name, parse_type(type_), null, None if generated else default, counts or identity, generated, collation
    )
