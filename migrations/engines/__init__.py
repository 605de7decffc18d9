"""One package per database engine, for what really differs between them."""

from __future__ import annotations

from importlib import import_module

import peewee

from migrations.declaration import PhaseModels
from migrations.engines.engine import Engine
from migrations.errors import MigrationError

# By Peewee's class: the package in this folder and the class of its engine.
_ENGINES = {
    peewee.SqliteDatabase: ("sqlite", "SQLiteEngine"),
    peewee.PostgresqlDatabase: ("postgresql", "PostgreSQLEngine"),
    peewee.MySQLDatabase: ("mysql", "MySQLFamilyEngine"),
}
# By the module of a class, which need not be imported to ask: why it is not supported.
_UNSUPPORTED = {
    "playhouse.sqliteq": (
        "writes in a thread of its own, without transactions; "
        "pass a peewee.SqliteDatabase of the file"
    ),
    "playhouse.pwasyncio": (
        "needs an event loop for every statement; pass a database of db.connect(url), "
        "in a thread of its own: await asyncio.to_thread(ensure, database)"
    ),
}
if not hasattr(peewee, "QueryEvent"):
    # Before Peewee 4.5 these raise their driver's errors without translating them.
    for _module in ("playhouse.apsw_ext", "playhouse.cysqlite_ext"):
        _UNSUPPORTED[_module] = (
            "raises its driver's own errors before Peewee 4.5; "
            "run: pip install -U peewee"
        )


def engine_for(
    database: peewee.Database, models: PhaseModels, lock_timeout: float
) -> Engine:
    """Return the engine of a database; only the package that is needed is imported.

    :param lock_timeout: seconds to wait for locks, in total.
    :raises MigrationError: no phase can work with such a database; nothing was opened.
    """
    if isinstance(database, peewee.Proxy):
        database = database.obj
    for each in type(database).__mro__:
        reason = _UNSUPPORTED.get(each.__module__)
        if reason:
            raise MigrationError(f"{type(database).__name__} {reason}")
        if each in _ENGINES:
            package, class_name = _ENGINES[each]
            engine_class = getattr(
                import_module(f"{__name__}.{package}.engine"), class_name
            )
            engine: Engine = engine_class(database, models, lock_timeout)
            return engine
    raise MigrationError(
        "expected an initialised Peewee database of SQLite, PostgreSQL, MariaDB or "
        f"MySQL, got {type(database).__name__}; see db.connect(url)"
    )
