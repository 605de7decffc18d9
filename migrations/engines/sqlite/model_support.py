"""What SQLite supports of the models that a phase manages."""

from __future__ import annotations

from migrations.engines.model_support import ModelSupport


class SQLiteModelSupport(ModelSupport):
    """Finds what SQLite cannot create, or a phase cannot compare there."""

    database_name = "SQLite"
