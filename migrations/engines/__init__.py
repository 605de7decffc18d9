"""One room per database engine, for what really differs between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

import peewee

from migrations.declaration import Model
from migrations.engines.base import Engine
from migrations.report import MigrationError

_ROOMS = {
    peewee.SqliteDatabase: ("sqlite", "SQLite"),
    peewee.PostgresqlDatabase: ("postgresql", "PostgreSQL"),
    peewee.MySQLDatabase: ("mysql", "MySQL"),
}
_UNFIT = {  # by the module of a class, which need not be imported to ask
    "playhouse.sqliteq": "writes in a thread of its own, without transactions; give peewee.SqliteDatabase of the file",
    "playhouse.pwasyncio": "wants an event loop at every statement; give a database of db.connect(url), in a thread of "
    "its own: await asyncio.to_thread(ensure, database)",
}
if not hasattr(peewee, "QueryEvent"):  # which came with 4.5, as did these classes' errors
    _RAW = "raises its driver's errors as they are before Peewee 4.5; run: pip install -U peewee"
    _UNFIT |= dict.fromkeys(("playhouse.apsw_ext", "playhouse.cysqlite_ext"), _RAW)


def engine_for(
    database: peewee.Database, lock_timeout: float, models: Mapping[str, Model], builds: Sequence[str]
) -> Engine:
    """Return the engine of a database; only the room that is needed is imported.

    :raises MigrationError: no phase can work with such a database; nothing was opened.
    """
    if isinstance(database, peewee.Proxy):
        database = database.obj
    for each in type(database).__mro__:
        if why := _UNFIT.get(each.__module__):
            raise MigrationError(f"{type(database).__name__} {why}")
        if each in _ROOMS:
            room, name = _ROOMS[each]
            engine: Engine = getattr(import_module(f"{__name__}.{room}"), name)(database, lock_timeout, models, builds)
            return engine
    raise MigrationError(
        f"expected an initialised Peewee database of SQLite, PostgreSQL, MariaDB or MySQL, "
        f"got {type(database).__name__}; see db.connect(url)"
    )
