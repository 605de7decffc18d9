"""The engine of MariaDB.

Every DDL statement commits by itself. So a run that is killed may leave some of its
statements executed and others not, which is one more state to repair.

`GET_LOCK` keeps runs on one server apart. On a Galera cluster it holds on one node
only, and there the DDL itself is the lock: the run that lost the race gets "already
exists", and reads the tables again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import peewee

from migrations.declaration import PhaseModels
from migrations.engines.engine import Engine
from migrations.engines.mysql.catalog import MySQLCatalog
from migrations.engines.mysql.conversions import MySQLConversions
from migrations.engines.mysql.session import MySQLSession
from migrations.schema import Schema

if TYPE_CHECKING:
    from migrations.engines.mysql.ddl import MySQLDDL
    from migrations.engines.mysql.sample_rows import MySQLSampleRows
    from migrations.plan import Plan
    from migrations.report import Change


class MySQLEngine(Engine):
    """A MariaDB database."""

    session: MySQLSession
    catalog: MySQLCatalog
    conversions: MySQLConversions

    def __init__(
        self, database: peewee.Database, models: PhaseModels, lock_timeout: float
    ) -> None:
        self.session = MySQLSession(database, models, lock_timeout)
        self.catalog = MySQLCatalog(self.session)
        self.conversions = MySQLConversions(self.catalog)

    def ddl(self, schema: Schema) -> MySQLDDL:
        from migrations.engines.mysql.ddl import MySQLDDL

        return MySQLDDL(self.catalog, self.conversions, schema)

    def sample_rows(self) -> MySQLSampleRows:
        from migrations.engines.mysql.sample_rows import MySQLSampleRows

        return MySQLSampleRows(self.catalog)

    def rehearse(self, plan: Plan, changes: Sequence[Change]) -> None:
        from migrations.engines.mysql.rehearsal import Rehearsal

        Rehearsal(self.catalog, plan).execute(changes)
