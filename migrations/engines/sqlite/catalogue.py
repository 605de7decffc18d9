"""What an SQLite file says of its tables, read with PRAGMAs, all in main.

Peewee's `get_indexes` does not tell a partial, descending or expression index from a plain one, and
`get_columns` hides generated columns.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache

import peewee

from migrations.declaration import Model
from migrations.engines.rows import Row, Rows
from migrations.engines.sqlite.text import Said, said
from migrations.report import Refused
from migrations.schema import UTC_NOW, Column, ForeignKey, Index, Schema, Table, Type, literal, literal_meaning

# A type's words, in lower case and without a length; another type is a family of its own. SQLite knows no
# sizes, and a string's length or a decimal's scale holds nobody up.
_FAMILIES = {
    name: family
    for family, names in {
        "string": "varchar, char, text, nvarchar, nchar, character, clob, tinytext, mediumtext, longtext, "
        "character varying, varying character, native character",
        "integer": "int, integer, bigint, smallint, tinyint, mediumint, int2, int4, int8, boolean, bool",
        "float": "float, real, double, double precision",
        "decimal": "decimal, numeric",
        "datetime": "datetime, timestamp, timestamp without time zone",
    }.items()
    for name in names.split(", ")
}
# All UTC: https://sqlite.org/lang_datefunc.html
_UTC_NOW = {"current_timestamp", "datetime('now')", "strftime('%Y-%m-%d %H:%M:%S','now')"}
_MEANING: dict[tuple[object, ...], Schema] = {}
_position = operator.itemgetter(5)


@cache
def parse_type(text: str) -> Type:
    """Return what a type means, as SQLite or Peewee writes it."""
    bare = " ".join(text.lower().partition("(")[0].split())
    return Type(text, _FAMILIES.get(bare, bare or "untyped"))


def affinity(text: str) -> str:
    """Return how a type treats values: https://sqlite.org/datatype3.html#determination_of_column_affinity."""
    words = {"INT": "integer", "CHAR": "text", "CLOB": "text", "TEXT": "text", "BLOB": "none", "REAL": "real",
             "FLOA": "real", "DOUB": "real"}  # fmt: skip
    if not text:
        return "none"
    return next((kind for word, kind in words.items() if word in text.upper()), "numeric")


class Catalogue(Rows):
    """The queries that read the catalogue, and what they mean."""

    models: Mapping[str, Model]
    builds: Sequence[str]
    declared: Callable[[Model], Table]
    in_transaction: Callable[[], bool]
    unlocked: Callable[[Callable[[], Schema]], Schema]

    def read(self) -> Schema:
        # The texts are all there is to an SQLite schema: what they mean is worked out once a process.
        schema = _MEANING.get((*self.builds, *self.query(self._texts())))
        return self.unlocked(self._meaning) if schema is None else schema

    def _texts(self) -> str:
        ours = " OR ".join(f"tbl_name = {literal(name)} COLLATE NOCASE" for name in self.models)
        return (  # a temporary table comes first by its name
            f"SELECT type, rootpage > 0, name, sql FROM main.sqlite_master WHERE {ours} UNION ALL "
            f"SELECT 'temporary', 0, name, sql FROM sqlite_temp_master WHERE type IN ('table', 'view') AND ({ours})"
        )

    def _meaning(self) -> Schema:
        """Read the tables in one snapshot, or a peer's change would come between a text and what it means."""
        with ExitStack() as snapshot:
            if not self.in_transaction():
                self.database.execute_sql("BEGIN")
                snapshot.callback(self.roll_back)
            texts = self.query(self._texts())
            for _, _, name, _ in (row for row in texts if row[0] == "temporary"):
                raise Refused(f"the temporary table {name} hides the real one on this connection; drop it first")
            tables = [row for row in texts if row[0] in ("table", "view")]
            schema = {row[2].lower(): self._table(*row) for row in tables}
        if len(_MEANING) >= 64:
            _MEANING.clear()
        _MEANING[(*self.builds, *texts)] = schema
        return schema

    def roll_back(self) -> None:
        """Undo the transaction, if SQLite has not done so by itself."""
        with suppress(peewee.OperationalError):
            self.database.execute_sql("ROLLBACK")

    def table(self, name: str) -> Table | None:
        is_table = "type IN ('table', 'view') AND name = ? COLLATE NOCASE"
        rows = self.query(f"SELECT type, rootpage > 0, name, sql FROM main.sqlite_master WHERE {is_table}", (name,))
        return next((self._table(*row) for row in rows), None)

    def text_of(self, table: Table) -> str:
        """Return the `CREATE TABLE` that SQLite keeps of a table."""
        sql = "SELECT sql FROM main.sqlite_master WHERE type = 'table' AND name = ?"
        return str(self.query(sql, (table.name,))[0][0])

    # -- a table

    def _table(self, kind: str, stored: int, name: str, sql: str) -> Table:
        if kind == "view" or not stored:
            return Table(name, "view" if kind == "view" else "virtual table")
        ours = name.lower() in self.builds
        told = said(sql, name) if ours or "collate" in sql.lower() else Said()
        told = self._ours(name.lower(), told) if ours else Said(told.collations)  # of others, nobody asks so much
        rows = self.query(f"PRAGMA main.table_xinfo({self.quote(name)})")
        key = tuple(row[1].lower() for row in sorted(rows, key=_position) if row[5])
        indexes, own = self._indexes(name, told)
        counts = len(key) == 1 and not own  # the rowid under another name: no index of its own
        full = counts or told.without_rowid or not ours  # else a primary key takes NULL, unless told not to
        columns = {
            column.lower(): Column(
                column, _conflicting(parse_type(type_), told.conflicts.get((column.lower(), ""))),
                not (notnull or position and full), None if default in ("NULL", "null") else default,
                counts and position == 1, hidden > 1, told.collations.get(column.lower()),
            )
            for _, column, type_, notnull, default, position, hidden in rows
        }  # fmt: skip
        return Table(name, kind, columns, own or key, indexes, self._foreign_keys(name), told.checks)

    def _ours(self, name: str, told: Said) -> Said:
        """Leave out the names of UNIQUE constraints, which mean nothing here, but where one is in our way."""
        named = {index.name for index in self.declared(self.models[name]).indexes}
        return told._replace(uniques={key: name for key, name in told.uniques.items() if name.lower() in named})

    def _indexes(self, name: str, told: Said) -> tuple[tuple[Index, ...], tuple[str, ...]]:
        """Return the indexes but that of the primary key, and the columns of that one."""
        indexes, own = [], tuple[str, ...]()
        for _, index, unique, origin, partial in self.query(f"PRAGMA main.index_list({self.quote(name)})"):
            rows = [row for row in self.query(f"PRAGMA main.index_xinfo({self.quote(index)})") if row[5]]
            bare = tuple("(expression)" if row[2] is None else row[2].lower() for row in rows)
            marks = [_other_collation(row[2], row[4], told) if row[2] else "" for row in rows]
            if origin == "c":
                marks = [mark + " DESC" * row[3] for mark, row in zip(marks, rows)]
            elif conflict := told.conflicts.get(bare):
                marks[-1] += f" {conflict}"
            columns = tuple(map("".join, zip(bare, marks)))
            if origin == "pk":
                own = columns
            else:  # a constraint's index has a name of SQLite's own
                constraint = origin == "u"
                name_of = told.uniques.get(bare, "") if constraint else index
                indexes.append(Index(name_of, columns, bool(unique), bool(partial), True, constraint))
        return tuple(indexes), own

    def _foreign_keys(self, name: str) -> tuple[ForeignKey, ...]:
        found: dict[int, list[Row]] = {}
        for row in self.query(f"PRAGMA main.foreign_key_list({self.quote(name)})"):
            found.setdefault(row[0], []).append(row)
        keys = []
        for rows in found.values():
            _, _, parent, _, to, on_update, on_delete, _ = rows[0]
            target = tuple(row[4].lower() for row in rows) if to else self._primary_key(parent)
            keys.append(ForeignKey(tuple(row[3].lower() for row in rows), parent.lower(), target, on_delete, on_update))
        return tuple(keys)

    def _primary_key(self, name: str) -> tuple[str, ...]:
        """What a foreign key refers to that names no columns."""
        rows = self.query("SELECT lower(name) FROM pragma_table_info(?, 'main') WHERE pk ORDER BY pk", (name,))
        return tuple(column for (column,) in rows)

    def default_meaning(self, default: str) -> str:
        parts = re.split("('[^']*')", default)  # %m is the month and %M the minute
        text = "".join(part if part.startswith("'") else "".join(part.lower().split()) for part in parts)
        while text.startswith("(") and text.endswith(")"):
            text = text[1:-1]
        return UTC_NOW if text in _UTC_NOW else literal_meaning(default)

    # -- what hangs on a table

    def dependents(self, name: str) -> list[str]:
        """SQLite would drop it under a view or a foreign key of another table, and leave them broken."""
        found = self.query(
            "SELECT DISTINCT m.type, m.name, tbl_name FROM main.sqlite_master m, pragma_foreign_key_list(m.name) f "
            "WHERE m.type = 'table' AND f.\"table\" = ?1 COLLATE NOCASE AND m.tbl_name <> ?1 COLLATE NOCASE "
            "UNION SELECT type, name, tbl_name FROM main.sqlite_master WHERE type IN ('view', 'trigger') "
            "AND tbl_name <> ?1 COLLATE NOCASE AND ' ' || lower(sql) || ' ' GLOB ?2",
            (name, f"*[^a-z0-9_]{name}[^a-z0-9_]*"),
        )
        return [f"{kind} {other}" for kind, other, table in found if table.lower() not in self.builds]

    def refuse_taken(self, name: str, table: str) -> None:
        """Refuse to make for a table what bears a name that belongs to another: an index's is the schema's."""
        for kind, owner in self.query(
            "SELECT type, tbl_name FROM main.sqlite_master "
            "WHERE type <> 'trigger' AND name = ? COLLATE NOCASE AND tbl_name <> ? COLLATE NOCASE", (name, table)
        ):  # fmt: skip
            raise Refused(f"the name {name} belongs to the {kind} of {owner}; rename or drop it first")


def _conflicting(type_: Type, conflict: str | None) -> Type:
    """Return another type where a NOT NULL or a key does not refuse a row as it should."""
    return Type(f"{type_.text} {conflict}", conflict) if conflict else type_


def _other_collation(column: str, collation: str, told: Said) -> str:
    """Return a mark for a column of an index that is sorted in another way than the column itself."""
    own = told.collations.get(column.lower(), "BINARY")
    return "" if collation.upper() == own else f" COLLATE {collation}"
