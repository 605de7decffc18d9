"""What an SQLite file says of its tables, read with PRAGMAs, all in main.

Peewee's `get_indexes` does not tell a partial, descending or expression index from a plain one, and
`get_columns` hides generated columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby

from migrations.engines.base import Engine
from migrations.engines.rows import Row
from migrations.engines.sqlite.text import Clause, read
from migrations.report import Refused
from migrations.schema import UTC_NOW, Check, Column, ForeignKey, Index, Schema, Table, Type, literal, literal_meaning

# How a type treats values: https://sqlite.org/datatype3.html#determination_of_column_affinity
_AFFINITIES = {"INT": "integer", "CHAR|CLOB|TEXT": "text", "BLOB|^$": "none", "REAL|FLOA|DOUB": "real"}
# What else means the same, by its words in lower case and without a length; another type is a family of its own.
# SQLite knows no sizes, and a string's length or a decimal's scale holds nobody up.
_FAMILIES = {"boolean": "integer", "bool": "integer", "numeric": "decimal", "timestamp": "datetime", "": "untyped"}
_OF_AFFINITY = {"integer": "integer", "text": "string", "real": "float"}
# All UTC: https://sqlite.org/lang_datefunc.html
_UTC_NOW = re.compile(
    r"[(\s]*((?i:current_timestamp)|(?i:datetime)\s*\(\s*'now'\s*\)"
    r"|(?i:strftime)\s*\(\s*'%Y-%m-%d %H:%M:%S'\s*,\s*'now'\s*\))[\s)]*"
)
_CONFLICT = re.compile(r"\bON\s+CONFLICT\s+(?!ABORT)(\w+)", re.IGNORECASE)  # ABORT is what refuses as it should
_STORED = "SELECT CASE WHEN type = 'table' AND rootpage = 0 THEN 'virtual table' ELSE type END, name, sql"
_INDEXES = """
SELECT i.name, i."unique", origin, partial, lower(x.name), "desc", coll
FROM pragma_index_list(?, 'main') i, pragma_index_xinfo(i.name, 'main') x WHERE key ORDER BY i.seq, seqno"""
# One that names no columns refers to the primary key.
_FOREIGN_KEYS = """
SELECT id, lower("from"), lower("table"), on_delete, on_update,
       lower(coalesce("to", (SELECT name FROM pragma_table_info(f."table", 'main') WHERE pk = f.seq + 1), ''))
FROM pragma_foreign_key_list(?, 'main') f ORDER BY id, seq"""
# The tables m that refer to one, each by its foreign keys f.
REFERRING = """main.sqlite_master m, pragma_foreign_key_list(m.name, 'main') f
WHERE m.type = 'table' AND f."table" = ?1 COLLATE NOCASE"""
_MEANING: dict[tuple[object, ...], Schema] = {}


@cache
def parse_type(text: str) -> Type:
    """Return what a type means, as SQLite or Peewee writes it."""
    bare = " ".join(text.lower().partition("(")[0].split())
    return Type(text, _FAMILIES.get(bare) or _OF_AFFINITY.get(affinity(bare), bare))


def affinity(text: str) -> str:
    """Return how a type treats values, with a mark for a conflict or without."""
    text = text.partition(" ON CONFLICT ")[0]
    return next((kind for words, kind in _AFFINITIES.items() if re.search(words, text.upper())), "numeric")


class Catalogue(Engine):
    """The queries that read the catalogue, and what they mean."""

    def read(self) -> Schema:
        # The texts are all there is to an SQLite schema: what they mean is worked out once a process.
        schema = _MEANING.get((*self.builds, *self._texts()))
        return self._meaning() if schema is None else schema

    def _texts(self) -> list[Row]:
        ours = " OR ".join(f"tbl_name = {literal(name)} COLLATE NOCASE" for name in self.models)
        return self.query(  # a temporary table comes first by its name
            f"{_STORED} FROM main.sqlite_master WHERE {ours} UNION ALL SELECT 'temporary', name, sql "
            f"FROM sqlite_temp_master WHERE type IN ('table', 'view') AND ({ours})"
        )

    def _meaning(self) -> Schema:
        """Read the tables in one snapshot, or a peer's change would come between a text and what it means."""
        with super().transaction():
            texts = self._texts()
            for kind, name, _ in texts:
                if kind == "temporary":
                    raise Refused(f"the temporary table {name} hides the real one on this connection; drop it first")
            schema = {row[1].lower(): self._table(*row) for row in texts if row[0] not in ("index", "trigger")}
        if len(_MEANING) >= 64:
            _MEANING.clear()
        _MEANING[(*self.builds, *texts)] = schema
        return schema

    def tables(self, names: Iterable[str]) -> Schema:
        sql = f"{_STORED} FROM main.sqlite_master WHERE type IN ('table', 'view') AND name = ? COLLATE NOCASE"
        return {name: self._table(*row) for name in names for row in self.query(sql, (name,))}

    # -- a table

    def _table(self, kind: str, name: str, sql: str) -> Table:
        if kind != "table":
            return Table(name, kind)
        clauses, ours = read(sql, name)[0], name.lower() in self.builds
        # What makes something else of a refusal; of the tables of others, nobody asks so much.
        conflicts = {(each.kind, each.columns): f" ON CONFLICT {found[1].upper()}"
                     for each in clauses if ours and (found := _CONFLICT.search(each.text))}  # fmt: skip
        rows = self.query(f"PRAGMA main.table_xinfo({self.quote(name)})")
        key = tuple(row[1].lower() for row in sorted(rows, key=lambda row: int(row[5])) if row[5])
        indexes = list(self._indexes(name, clauses, conflicts))
        own = next((index.columns for origin, index in indexes if origin == "pk"), ())
        counts = len(key) == 1 and not own  # the rowid under another name: no index of its own
        columns = {}
        for _, column, type_, notnull, default, position, hidden in rows:
            conflict = conflicts.get(("NOT", (column.lower(),)))
            refuses = notnull or position and (counts or not ours)  # a primary key takes NULL, unless told not to
            columns[column.lower()] = Column(
                column, Type(type_ + conflict, conflict) if conflict else parse_type(type_), not refuses,
                None if default in ("NULL", "null") else default, counts and position == 1, hidden > 1,
            )  # fmt: skip
        return Table(
            name, kind, columns, tuple(column + conflicts.get(("PRIMARY", key), "") for column in own or key),
            tuple(index for origin, index in indexes if origin != "pk"), tuple(self._foreign_keys(name)),
            tuple(Check(each.name, each.inner) for each in clauses if each.kind == "CHECK" and each.name),
        )  # fmt: skip

    def _indexes(
        self, name: str, clauses: Sequence[Clause], conflicts: Mapping[tuple[str, tuple[str, ...]], str]
    ) -> Iterator[tuple[str, Index]]:
        """Yield each index with where it comes from: "pk", "u" for a UNIQUE, "c" for `CREATE INDEX`."""
        collations = {each.column: each.other.upper() for each in clauses if each.kind == "COLLATE"}
        names = {each.columns: each.name for each in clauses if each.kind == "UNIQUE"}
        rows = self.query(_INDEXES, (name,))
        for (index, unique, origin, partial), parts in groupby(rows, lambda row: row[:4]):
            bare, marks = tuple[str, ...](), []
            for *_, column, descending, collation in parts:
                usual = column is None or collation.upper() == collations.get(column, "BINARY")
                bare += (column or "(expression)",)
                marks.append(f" COLLATE {collation}" * (not usual) + " DESC" * (descending and origin == "c"))
            if constraint := origin == "u":  # whose index has a name of SQLite's own
                index, marks = names.get(bare, ""), [mark + conflicts.get(("UNIQUE", bare), "") for mark in marks]
            columns = tuple(map("".join, zip(bare, marks)))
            yield origin, Index(index, columns, bool(unique), bool(partial), True, constraint)

    def _foreign_keys(self, name: str) -> Iterator[ForeignKey]:
        rows = self.query(_FOREIGN_KEYS, (name,))
        for _, parts in groupby(rows, lambda row: row[0]):
            _, columns, tables, on_delete, on_update, targets = zip(*parts)
            yield ForeignKey(columns, tables[0], targets, on_delete[0], on_update[0])

    def default_meaning(self, default: str) -> str:
        return UTC_NOW if _UTC_NOW.fullmatch(default) else literal_meaning(default)

    # -- what hangs on a table

    def dependents(self, name: str) -> list[str]:
        """SQLite would drop it under a view or a foreign key of another table, and leave them broken."""
        found = self.query(
            f"SELECT DISTINCT m.type, m.name, tbl_name FROM {REFERRING} AND m.tbl_name <> ?1 COLLATE NOCASE "
            "UNION SELECT type, name, tbl_name FROM main.sqlite_master WHERE type IN ('view', 'trigger') "
            "AND tbl_name <> ?1 COLLATE NOCASE AND ' ' || lower(sql) || ' ' GLOB ?2",
            (name, f"*[^a-z0-9_]{name}[^a-z0-9_]*"),
        )
        return [f"{kind} {other}" for kind, other, table in found if table.lower() not in self.builds]

    def refuse_taken(self, name: str, table: str = "") -> None:
        """Refuse to make for a table what bears a name that belongs to another: an index's is the schema's."""
        for kind, owner in self.query(
            "SELECT type, tbl_name FROM (SELECT * FROM main.sqlite_master UNION ALL SELECT * FROM sqlite_temp_master) "
            "WHERE type <> 'trigger' AND name = ? COLLATE NOCASE AND tbl_name <> ? COLLATE NOCASE", (name, table)
        ):  # fmt: skip
            raise Refused(f"the name {name} belongs to the {kind} of {owner}; rename or drop it first")
