"""What PostgreSQL supports of the models that a phase manages."""

from __future__ import annotations

from collections.abc import Iterator

import peewee

from migrations.declaration import sql_of
from migrations.engines.model_support import ModelSupport
from migrations.index_text import IndexText


class PostgreSQLModelSupport(ModelSupport):
    """Finds what PostgreSQL cannot create, or a phase cannot compare there."""

    database_name = "PostgreSQL"
    max_decimal_digits = 1000
    advice_about_types = (
        "; if it is one of an extension, run first: CREATE EXTENSION name"
    )

    def problem_of_key_column(self, field: peewee.Field, key: str) -> str:
        text = sql_of(field.ddl_datatype(self.database.get_sql_context()))
        if text.lower() == "json":
            return "JSON cannot be compared; use JSONB"
        return ""

    def problems_of_index(self, index: IndexText) -> Iterator[str]:
        if index.kind not in ("", "UNIQUE"):
            yield f"PostgreSQL has no {index.kind} index; use USING gin or gist"
