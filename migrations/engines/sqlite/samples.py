"""SQLite: rows on trial. A type is but a word there, and its affinity says what is stored."""

from __future__ import annotations

import peewee

from migrations.engines.samples import Samples as Base
from migrations.engines.samples import Values, moment, number, token
from migrations.engines.sqlite.catalogue import REFERRING, affinity
from migrations.engines.sqlite.engine import ADVICE, SQLite
from migrations.schema import Column, Table

_NEWS = ("locked", "interrupted", *ADVICE)  # of the file, or of the connection
_FEW = 800  # rows that may be read one by one
_SEARCHED = f"""
SELECT DISTINCT m.name FROM {REFERRING} AND f.seq = 0
  AND NOT EXISTS (SELECT 1 FROM pragma_table_info(m.name, 'main') c WHERE c.pk = 1 AND lower(c.name) = lower(f."from"))
  AND NOT EXISTS (SELECT 1 FROM pragma_index_list(m.name, 'main') i JOIN pragma_index_info(i.name, 'main') x
                  WHERE NOT i.partial AND x.seqno = 0 AND lower(x.name) = lower(f."from"))"""


class Samples(Base):
    """The rows that a smoke test makes in an SQLite file."""

    engine: SQLite

    def options(self, table: Table, column: Column, size: int, row: Values) -> list[str]:
        text = column.type.text.upper()
        if "DATE" in text or "TIME" in text:
            return [f"'{moment()}'"]
        if affinity(text) == "none":  # a STRICT table's BLOB would refuse a text
            return [f"x'{token().encode().hex()}'"]
        return [f"'{token()}'" if affinity(text) == "text" else number()]

    def refuses(self, error: Exception) -> bool:
        return isinstance(error, peewee.IntegrityError) or not any(word in str(error) for word in _NEWS)

    def searched(self, table: str) -> list[str]:
        found = [name for (name,) in self.engine.query(_SEARCHED, (table,))]
        return [name for name in found if self.query(f"SELECT 1 FROM {self.engine.quote(name)} LIMIT 1 OFFSET {_FEW}")]
