"""The smoke test's rows on SQLite, where a type's affinity says what is stored."""

from __future__ import annotations

import peewee

from migrations.engines.sample_rows import (
    SampleRow,
    SampleRows,
    random_datetime,
    random_number,
    random_text,
)
from migrations.engines.sqlite.catalog import REFERRING_TABLES, SQLiteCatalog
from migrations.engines.sqlite.column_types import affinity, rowid_name
from migrations.engines.sqlite.conversions import SQLiteConversions
from migrations.engines.sqlite.session import ADVICE
from migrations.schema import Column, Table

# Parts of errors that are about the file or the connection, not about a row.
_NOT_ABOUT_ROWS = ("locked", "interrupted", *ADVICE)
_FEW_ROWS = 800  # that may be read one by one
# The tables that refer to one in a column that begins no index.
_SCANNED = f"""
SELECT DISTINCT m.name FROM {REFERRING_TABLES} AND f.seq = 0
  AND NOT EXISTS (SELECT 1 FROM pragma_table_info(m.name, 'main') c
                  WHERE c.pk = 1 AND lower(c.name) = lower(f."from"))
  AND NOT EXISTS (SELECT 1 FROM pragma_index_list(m.name, 'main') i
                  JOIN pragma_index_info(i.name, 'main') x
                  WHERE NOT i.partial AND x.seqno = 0
                    AND lower(x.name) = lower(f."from"))"""


class SQLiteSampleRows(SampleRows):
    """Makes the rows of a smoke test in an SQLite file."""

    def __init__(self, catalog: SQLiteCatalog, conversions: SQLiteConversions) -> None:
        super().__init__(catalog)
        self.conversions = conversions

    def candidate_values(
        self, table: Table, column: Column, size: int, row: SampleRow
    ) -> list[str]:
        type_text = column.type.text.upper()
        if "DATE" in type_text or "TIME" in type_text:
            return [f"'{random_datetime()}'"]
        column_affinity = affinity(type_text)
        if column_affinity == "none":  # a BLOB of a STRICT table refuses text
            return [f"x'{random_text().encode().hex()}'"]
        if column_affinity == "text":
            return [f"'{random_text()}'"]
        return [random_number()]

    def is_refusal(self, error: Exception) -> bool:
        # A trigger's RAISE is an IntegrityError, whatever its text says.
        if isinstance(error, peewee.IntegrityError):
            return True
        text = str(error)
        return not any(part in text for part in _NOT_ABOUT_ROWS)

    def tables_scanned_on_delete(self, table: str) -> list[str]:
        long_tables = []
        for (name,) in self.session.query(_SCANNED, (table,)):
            row = f"SELECT 1 FROM {self.quote(name)} LIMIT 1 OFFSET {_FEW_ROWS}"
            if self.session.query(row):
                long_tables.append(name)
        return long_tables

    def refused_by_expression(self, table: Table, error: Exception) -> bool:
        return False  # CHECKs are ignored

    def checked_at_commit(self, table: Table, row: SampleRow) -> bool:
        own_key = self.key_of(table, row)
        rowid = rowid_name(table.columns)
        if own_key:
            is_row = self.condition(table, own_key)
        elif rowid and "WITHOUT ROWID" not in table.options:
            is_row = f"{rowid} = last_insert_rowid()"
        else:
            return True
        table_name = self.quote(table.name)
        orphans = []
        for key in table.foreign_keys:
            values = [f"+w.{self.quote(column)}" for column in key.columns]
            parent = self.quote(key.parent)
            orphan = self.conversions.orphan_condition(values, key, table_name, parent)
            orphans.append(f"({orphan})")
        is_orphan = " OR ".join(orphans) or "0"
        found = self.session.query(
            f"SELECT 1 FROM {table_name} w WHERE {is_row} AND ({is_orphan})"
        )
        return bool(found)
