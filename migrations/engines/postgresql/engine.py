"""The engine for PostgreSQL; CockroachDB is untested."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import peewee

from migrations.declaration import PhaseModels
from migrations.engines.engine import Engine
from migrations.engines.postgresql.catalog import PostgreSQLCatalog
from migrations.engines.postgresql.model_support import PostgreSQLModelSupport
from migrations.engines.postgresql.session import PostgreSQLSession
from migrations.report import Change
from migrations.schema import Schema

if TYPE_CHECKING:
    from migrations.engines.postgresql.conversions import PostgreSQLConversions
    from migrations.engines.postgresql.ddl import PostgreSQLDDL
    from migrations.engines.postgresql.sample_rows import PostgreSQLSampleRows
    from migrations.plan import Plan


class PostgreSQLEngine(Engine):
    """The parts of the engine for PostgreSQL."""

    session: PostgreSQLSession

    def __init__(
        self, database: peewee.Database, models: PhaseModels, lock_timeout: float
    ) -> None:
        self.session = PostgreSQLSession(database, models, lock_timeout)

    @property
    def model_support(self) -> PostgreSQLModelSupport:
        return PostgreSQLModelSupport(self.catalog)

    @cached_property
    def catalog(self) -> PostgreSQLCatalog:
        return PostgreSQLCatalog(self.session)

    @cached_property
    def conversions(self) -> PostgreSQLConversions:
        # Imported only where something changes, or may be an orphan.
        from migrations.engines.postgresql.conversions import PostgreSQLConversions

        return PostgreSQLConversions(self.catalog)

    def ddl(self, schema: Schema) -> PostgreSQLDDL:
        # Imported only where something changes.
        from migrations.engines.postgresql.ddl import PostgreSQLDDL

        return PostgreSQLDDL(self.catalog, self.conversions, schema)

    def sample_rows(self) -> PostgreSQLSampleRows:
        # Imported only for the smoke test.
        from migrations.engines.postgresql.sample_rows import PostgreSQLSampleRows

        return PostgreSQLSampleRows(self.catalog)

    def rehearse(self, plan: Plan, changes: Sequence[Change]) -> None:
        # Imported only where something changes.
        from migrations.engines.postgresql.rehearsal import Rehearsal

        Rehearsal(self.catalog, plan).execute(changes)
