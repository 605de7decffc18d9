"""What MySQL supports of the models that a phase manages."""

from __future__ import annotations

from migrations.engines.mysql.model_support import MySQLFamilyModelSupport


class MySQLModelSupport(MySQLFamilyModelSupport):
    """Finds what MySQL cannot create, or a phase cannot compare there."""

    has_expression_indexes = True
