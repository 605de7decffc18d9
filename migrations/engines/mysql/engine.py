"""The engine of MariaDB and MySQL.

Every DDL statement commits by itself. So a run that is killed may leave some of its
statements executed and others not, which is one more state to repair.

`GET_LOCK` keeps runs on one server apart. On a Galera cluster it holds on one node
only, and there the DDL itself is the lock: the run that lost the race gets "already
exists", and reads the tables again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import peewee

from migrations.declaration import PhaseModels
from migrations.engines.engine import Engine
from migrations.engines.mysql.session import MySQLFamilySession
from migrations.schema import Schema

if TYPE_CHECKING:
    from migrations.engines.mysql.catalog import MySQLFamilyCatalog
    from migrations.engines.mysql.conversions import MySQLFamilyConversions
    from migrations.engines.mysql.ddl import MySQLFamilyDDL
    from migrations.engines.mysql.model_support import MySQLFamilyModelSupport
    from migrations.engines.mysql.parts import EngineParts
    from migrations.engines.mysql.sample_rows import MySQLFamilySampleRows
    from migrations.plan import Plan
    from migrations.report import Change


class MySQLFamilyEngine(Engine):
    """A MariaDB or MySQL database.

    Peewee has one class for both. So its parts, except the session, are chosen when
    they are first used, once the connection tells which server it leads to.
    """

    session: MySQLFamilySession

    def __init__(
        self, database: peewee.Database, models: PhaseModels, lock_timeout: float
    ) -> None:
        self.session = MySQLFamilySession(database, models, lock_timeout)

    @cached_property
    def _parts(self) -> EngineParts:
        if self.session.product == "MariaDB":
            from migrations.engines.mysql.mariadb.parts import MariaDBParts

            return MariaDBParts()
        from migrations.engines.mysql.mysql.parts import MySQLParts

        return MySQLParts()

    @property
    def model_support(self) -> MySQLFamilyModelSupport:
        return self._parts.model_support(self.catalog)

    @cached_property
    def catalog(self) -> MySQLFamilyCatalog:
        return self._parts.catalog(self.session)

    @cached_property
    def conversions(self) -> MySQLFamilyConversions:
        return self._parts.conversions(self.catalog)

    def ddl(self, schema: Schema) -> MySQLFamilyDDL:
        return self._parts.ddl(self.catalog, self.conversions, schema)

    def sample_rows(self) -> MySQLFamilySampleRows:
        return self._parts.sample_rows(self.catalog)

    def rehearse(self, plan: Plan, changes: Sequence[Change]) -> None:
        from migrations.engines.mysql.rehearsal import Rehearsal

        Rehearsal(self.catalog, plan).execute(changes)
