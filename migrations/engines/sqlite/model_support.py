"""What SQLite supports of the models that a phase manages."""

from __future__ import annotations

from collections.abc import Iterator

import peewee

from migrations.engines.model_support import ModelSupport
from migrations.index_text import IndexText


class SQLiteModelSupport(ModelSupport):
    """Finds what SQLite cannot create, or a phase cannot compare there."""

    database_name = "SQLite"

    def problem_of_key_column(self, field: peewee.Field, key: str) -> str:
        return ""

    def problems_of_index(self, index: IndexText) -> Iterator[str]:
        if index.method:
            yield f"SQLite has no USING {index.method}; leave out using"
        if index.suffix:
            yield f"SQLite has no {index.suffix}; leave it out"
        if index.kind not in ("", "UNIQUE"):
            yield f"SQLite has no {index.kind} index; use CREATE INDEX"
