"""What MariaDB and MySQL support of the models that a phase manages."""

from __future__ import annotations

from migrations.engines.model_support import ModelSupport
from migrations.engines.mysql.catalog import MySQLFamilyCatalog


class MySQLFamilyModelSupport(ModelSupport):
    """Finds what neither server can create, or a phase cannot compare there."""

    catalog: MySQLFamilyCatalog
