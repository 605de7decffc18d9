"""What MariaDB supports of the models that a phase manages."""

from __future__ import annotations

from migrations.engines.mysql.model_support import MySQLFamilyModelSupport


class MariaDBModelSupport(MySQLFamilyModelSupport):
    """Finds what MariaDB cannot create, or a phase cannot compare there."""

    has_unique_long_columns = True  # as a hash
