"""The SQLite engine, composed of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import peewee

from migrations.declaration import PhaseModels
from migrations.engines.engine import Engine
from migrations.engines.sqlite.catalog import SQLiteCatalog
from migrations.engines.sqlite.model_support import SQLiteModelSupport
from migrations.engines.sqlite.session import SQLiteSession
from migrations.report import Change
from migrations.schema import Schema

if TYPE_CHECKING:
    from migrations.engines.sqlite.conversions import SQLiteConversions
    from migrations.engines.sqlite.ddl import SQLiteDDL
    from migrations.engines.sqlite.sample_rows import SQLiteSampleRows
    from migrations.plan import Plan


class SQLiteEngine(Engine):
    """An SQLite file, or a database in memory."""

    session: SQLiteSession

    def __init__(
        self, database: peewee.Database, models: PhaseModels, lock_timeout: float
    ) -> None:
        self.session = SQLiteSession(database, models, lock_timeout)

    @property
    def model_support(self) -> SQLiteModelSupport:
        return SQLiteModelSupport(self.catalog)

    @cached_property
    def catalog(self) -> SQLiteCatalog:
        return SQLiteCatalog(self.session)

    @cached_property
    def conversions(self) -> SQLiteConversions:
        # Imported only where something changes, or may be an orphan.
        from migrations.engines.sqlite.conversions import SQLiteConversions

        return SQLiteConversions(self.catalog)

    def ddl(self, schema: Schema) -> SQLiteDDL:
        from migrations.engines.sqlite.ddl import SQLiteDDL

        return SQLiteDDL(self.catalog, self.conversions, schema)

    def sample_rows(self) -> SQLiteSampleRows:
        from migrations.engines.sqlite.sample_rows import SQLiteSampleRows

        return SQLiteSampleRows(self.catalog, self.conversions)

    def rehearse(self, plan: Plan, changes: Sequence[Change]) -> None:
        from migrations.engines.sqlite.rehearsal import rehearse

        rehearse(self.catalog, plan, changes)
