"""The two ways to change a table that `ALTER TABLE` of SQLite cannot change."""

import sqlite3

import peewee
import pytest

EDITED, REBUILT = "edited", "rebuilt"
both_ways = pytest.mark.parametrize("way", [EDITED, REBUILT])


class Unwritable(peewee.SqliteDatabase):
    """A database that may not set writable_schema, as in defensive mode."""

    def _connect(self):
        connection = super()._connect()
        connection.set_authorizer(_ignore)
        return connection


def _ignore(action, name, value, *_):
    if (
        action == sqlite3.SQLITE_PRAGMA
        and name == "writable_schema"
        and value is not None
    ):
        return sqlite3.SQLITE_IGNORE
    return sqlite3.SQLITE_OK


def connect(path, way):
    """Return a database whose tables are edited if possible, or always rebuilt."""
    kind = peewee.SqliteDatabase if way == EDITED else Unwritable
    return kind(str(path), pragmas={"foreign_keys": 1})


def way_of(changes):
    """Return which of the two ways some changes take."""
    ways = {"edit": EDITED, "rebuild": REBUILT}
    words = {change.description.partition(" ")[0] for change in changes}
    (way,) = {ways[word] for word in words if word in ways}
    return way
