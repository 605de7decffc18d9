"""PostgreSQL's catalogue: the queries that read it, and what they mean.

Three queries read any number of tables, by the search path as SQL itself does. Peewee's introspection
tells neither an INVALID index nor a constraint that is NOT VALID, and takes a query per table and kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from migrations.schema import UTC_NOW, Check, Column, ForeignKey, Index, Schema, Table, Type, literal_meaning

Query = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
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

# To write an expression back, PostgreSQL locks its table; outside of a transaction the limit ends with the query.
_OF_TABLES = """
FROM (SELECT set_config('lock_timeout', coalesce(%s, current_setting('lock_timeout')), true)) AS patience
CROSS JOIN unnest(%s::text[]) AS t (name)
JOIN pg_class c ON c.oid = to_regclass(quote_ident(t.name))"""
# A NOT NULL that was never validated (PostgreSQL 18) may have NULLs under it.
_COLUMNS = f"""
SELECT c.relname, CASE WHEN c.relpersistence = 't' THEN 't' ELSE c.relkind END,
       a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull OR k.oid IS NOT NULL,
       CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
       a.attidentity <> '', a.attgenerated <> '',
       CASE WHEN a.attcollation <> y.typcollation THEN a.attcollation::regcollation::text END
{_OF_TABLES}
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_type y ON y.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'n' AND k.conkey[1] = a.attnum AND NOT k.convalidated
ORDER BY a.attnum"""
_INDEXES = f"""
SELECT c.relname, i.relname,
       ARRAY(SELECT coalesce(a.attname::text, '(expression)')
                    || CASE WHEN x.indcollation[k] <> a.attcollation THEN ' COLLATE ' || x.indcollation[k]::regcollation
                            ELSE '' END
                    || CASE WHEN o.opcdefault THEN '' ELSE ' ' || o.opcname END
                    || CASE WHEN x.indimmediate THEN '' ELSE ' DEFERRABLE' END
                    || CASE WHEN x.indoption[k] & 1 = 1 THEN ' DESC' ELSE '' END
                    || CASE WHEN m.amname <> 'btree' THEN ' USING ' || m.amname ELSE '' END
             FROM generate_series(0, x.indnkeyatts - 1) AS k
             JOIN pg_opclass o ON o.oid = x.indclass[k]
             LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.indkey[k] AND a.attnum > 0 ORDER BY k),
       x.indisunique, x.indpred IS NOT NULL, x.indisvalid AND x.indisready,
       EXISTS (SELECT FROM pg_constraint k
               WHERE k.conindid = x.indexrelid AND k.conrelid = c.oid AND k.contype <> 'f'), x.indisprimary
{_OF_TABLES}
JOIN pg_index x ON x.indrelid = c.oid JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam
ORDER BY i.relname"""
# A key to a partitioned table has a copy for each partition, which is none of ours.
_CONSTRAINTS = f"""
SELECT c.relname, k.conname, k.convalidated, pg_get_expr(k.conbin, k.conrelid),
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS n (key, i)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = n.key ORDER BY n.i),
       CASE WHEN p.oid = to_regclass(quote_ident(p.relname)) THEN p.relname::text ELSE p.oid::regclass::text END,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS n (key, i)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = n.key ORDER BY n.i),
       k.confdeltype, k.confupdtype
{_OF_TABLES}
JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype IN ('f', 'c')
LEFT JOIN pg_class p ON p.oid = k.confrelid
WHERE NOT EXISTS (SELECT FROM pg_constraint u WHERE u.oid = k.conparentid AND u.conrelid = k.conrelid)
ORDER BY k.conname"""
# The transactions that wrote the rows of the catalogue which those three rest on, and which server and
# database it is. It does not move with the name of a collation, of an operator class or of a function.
_FINGERPRINT = """
SELECT (SELECT oid FROM pg_database WHERE datname = current_database()), pg_postmaster_start_time()::text,
       t.name, c.oid, c.xmin::text,
       (SELECT string_agg(concat(a.xmin, '/', y.xmin), ',' ORDER BY a.attnum)
        FROM pg_attribute a LEFT JOIN pg_type y ON y.oid = a.atttypid AND a.atttypid >= 16384
        WHERE a.attrelid = c.oid AND a.attnum > 0),
       (SELECT string_agg(d.xmin::text, ',' ORDER BY d.adnum) FROM pg_attrdef d WHERE d.adrelid = c.oid),
       (SELECT string_agg(concat(x.xmin, '/', i.xmin), ',' ORDER BY i.oid)
        FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = c.oid),
       (SELECT string_agg(concat(k.xmin, '/', p.xmin), ',' ORDER BY k.oid)
        FROM pg_constraint k LEFT JOIN pg_class p ON p.oid = k.confrelid WHERE k.conrelid = c.oid)
FROM unnest(%s::text[]) AS t (name)
JOIN pg_class c ON c.oid = to_regclass(quote_ident(t.name))"""


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
    asked, found = (wait, list(names)), {}
    columns: dict[str, dict[str, Column]] = {}
    for name, kind, *column in query(_COLUMNS, asked):
        found[name] = Table(name, _KINDS.get(kind, "relation"), columns.setdefault(name, {}))
        if column[0] is not None:
            columns[name][column[0]] = _column(*column)
    of_indexes, of_constraints = query(_INDEXES, asked), query(_CONSTRAINTS, asked)
    for name, table in found.items():  # as they were at the first query
        indexes = [_index(*index) for of, *index in of_indexes if of == name]
        constraints = [_constraint(*constraint) for of, *constraint in of_constraints if of == name]
        found[name] = table._replace(
            primary_key=next((index.columns for index, primary in indexes if primary), ()),
            indexes=tuple(index for index, primary in indexes if not primary),
            foreign_keys=tuple(key for key in constraints if isinstance(key, ForeignKey)),
            checks=tuple(check for check in constraints if isinstance(check, Check)),
        )
    return found


def fingerprint(query: Query, names: Sequence[str]) -> tuple[object, ...]:
    """Return what is another as soon as anything is that `tables` tells of these names."""
    return tuple(query(_FINGERPRINT, (list(names),)))


def _column(
    name: str, type_: str, null: bool, default: str | None, identity: bool, generated: bool, collation: str | None
) -> Column:
    counts = (default or "").replace('"', "").startswith("nextval(")  # quote_all_identifiers
    default = "nextval()" if counts else default  # whatever the sequence is called
    return Column(name, parse_type(type_), null, default, counts or identity, generated, collation)


def _index(name: str, columns: list[str], unique: bool, partial: bool, valid: bool, constraint: bool,
           primary: bool) -> tuple[Index, bool]:  # fmt: skip
    return Index(name, tuple(columns), unique, partial, valid, constraint), primary


def _constraint(
    name: str, valid: bool, check: str | None, of: list[str], table: str, target: list[str], delete: str, update: str
) -> ForeignKey | Check:
    if check is not None:
        return Check(name, check, valid)
    return ForeignKey(tuple(of), table, tuple(target), _ACTIONS[delete], _ACTIONS[update], name, valid)
