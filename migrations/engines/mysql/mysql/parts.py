"""The parts of the engine of MySQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrations.engines.mysql.catalog import MySQLFamilyCatalog
from migrations.engines.mysql.mysql.catalog import MySQLCatalog
from migrations.engines.mysql.mysql.model_support import MySQLModelSupport
from migrations.engines.mysql.parts import EngineParts
from migrations.engines.mysql.session import MySQLFamilySession
from migrations.schema import Schema

if TYPE_CHECKING:
    from migrations.engines.mysql.conversions import MySQLFamilyConversions
    from migrations.engines.mysql.mysql.conversions import MySQLConversions
    from migrations.engines.mysql.mysql.ddl import MySQLDDL
    from migrations.engines.mysql.mysql.sample_rows import MySQLSampleRows


class MySQLParts(EngineParts):
    """Makes the parts."""

    def catalog(self, session: MySQLFamilySession) -> MySQLCatalog:
        return MySQLCatalog(session)

    def model_support(self, catalog: MySQLFamilyCatalog) -> MySQLModelSupport:
        return MySQLModelSupport(catalog)

    def conversions(self, catalog: MySQLFamilyCatalog) -> MySQLConversions:
        # Imported only where something changes, or may be an orphan.
        from migrations.engines.mysql.mysql.conversions import MySQLConversions

        return MySQLConversions(catalog)

    def ddl(
        self,
        catalog: MySQLFamilyCatalog,
        conversions: MySQLFamilyConversions,
        schema: Schema,
    ) -> MySQLDDL:
        from migrations.engines.mysql.mysql.ddl import MySQLDDL

        return MySQLDDL(catalog, conversions, schema)

    def sample_rows(self, catalog: MySQLFamilyCatalog) -> MySQLSampleRows:
        from migrations.engines.mysql.mysql.sample_rows import MySQLSampleRows

        return MySQLSampleRows(catalog)
