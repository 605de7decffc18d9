"""One module per database engine, for what really differs between them."""

from __future__ import annotations

import peewee

from migrations.engines.base import Engine
from migrations.report import MigrationError


def engine_for(database: peewee.Database, lock_timeout: float) -> Engine:
    """Return the engine of a database; only the module that is needed is imported."""
    if isinstance(database, peewee.Proxy):
        database = database.obj
    if isinstance(database, peewee.SqliteDatabase):
        from migrations.engines.sqlite import SQLite as engine_class
    elif isinstance(database, peewee.PostgresqlDatabase):
        from migrations.engines.postgresql import PostgreSQL as engine_class
    elif isinstance(database, peewee.MySQLDatabase):
        from migrations.engines.mysql import MySQL as engine_class
    else:
        raise MigrationError(
            f"expected an initialised Peewee database of SQLite, PostgreSQL, MariaDB or MySQL, "
            f"got {type(database).__name__}; see db.connect(url)"
        )
    return engine_class(database, lock_timeout)
