"""The parts of the engine of MariaDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrations.engines.mysql.catalog import MySQLFamilyCatalog
from migrations.engines.mysql.mariadb.catalog import MariaDBCatalog
from migrations.engines.mysql.mariadb.model_support import MariaDBModelSupport
from migrations.engines.mysql.parts import EngineParts
from migrations.engines.mysql.session import MySQLFamilySession
from migrations.schema import Schema

if TYPE_CHECKING:
    from migrations.engines.mysql.conversions import MySQLFamilyConversions
    from migrations.engines.mysql.mariadb.ddl import MariaDBDDL
    from migrations.engines.mysql.mariadb.sample_rows import MariaDBSampleRows


class MariaDBParts(EngineParts):
    """Makes the parts."""

    def catalog(self, session: MySQLFamilySession) -> MariaDBCatalog:
        return MariaDBCatalog(session)

    def model_support(self, catalog: MySQLFamilyCatalog) -> MariaDBModelSupport:
        return MariaDBModelSupport(catalog)

    def ddl(
        self,
        catalog: MySQLFamilyCatalog,
        conversions: MySQLFamilyConversions,
        schema: Schema,
    ) -> MariaDBDDL:
        from migrations.engines.mysql.mariadb.ddl import MariaDBDDL

        return MariaDBDDL(catalog, conversions, schema)

    def sample_rows(self, catalog: MySQLFamilyCatalog) -> MariaDBSampleRows:
        from migrations.engines.mysql.mariadb.sample_rows import MariaDBSampleRows

        return MariaDBSampleRows(catalog)
