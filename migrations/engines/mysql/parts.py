"""The parts of an engine that differ between MariaDB and MySQL.

`EngineParts` is the abstract base class; a subclass per server is in its package.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from migrations.engines.mysql.catalog import MySQLFamilyCatalog
from migrations.engines.mysql.model_support import MySQLFamilyModelSupport
from migrations.engines.mysql.session import MySQLFamilySession
from migrations.schema import Schema

if TYPE_CHECKING:
    from migrations.engines.mysql.conversions import MySQLFamilyConversions
    from migrations.engines.mysql.ddl import MySQLFamilyDDL
    from migrations.engines.mysql.sample_rows import MySQLFamilySampleRows


class EngineParts(ABC):
    """Makes the parts. Those that only some calls need are imported by these calls."""

    @abstractmethod
    def catalog(self, session: MySQLFamilySession) -> MySQLFamilyCatalog:
        """Return what reads the catalog. Called once per call."""

    @abstractmethod
    def model_support(self, catalog: MySQLFamilyCatalog) -> MySQLFamilyModelSupport:
        """Return what knows which models the server supports. Called once per call."""

    def conversions(self, catalog: MySQLFamilyCatalog) -> MySQLFamilyConversions:
        """Return what writes SQL about values. Called once per call, if at all."""
        # Imported only where something changes, or may be an orphan.
        from migrations.engines.mysql.conversions import MySQLFamilyConversions

        return MySQLFamilyConversions(catalog)

    @abstractmethod
    def ddl(
        self,
        catalog: MySQLFamilyCatalog,
        conversions: MySQLFamilyConversions,
        schema: Schema,
    ) -> MySQLFamilyDDL:
        """Return what writes the statements of a plan. Called while planning."""

    @abstractmethod
    def sample_rows(self, catalog: MySQLFamilyCatalog) -> MySQLFamilySampleRows:
        """Return what makes the rows of the smoke test, before its transaction."""
