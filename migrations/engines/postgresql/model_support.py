"""What PostgreSQL supports of the models that a phase manages."""

from __future__ import annotations

from migrations.engines.model_support import ModelSupport


class PostgreSQLModelSupport(ModelSupport):
    """Finds what PostgreSQL cannot create, or a phase cannot compare there."""

    database_name = "PostgreSQL"
