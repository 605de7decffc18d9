"""The two ways in which SQLite is changed where `ALTER TABLE` cannot, for tests that hold of both."""

import sqlite3

import peewee
import pytest

EDITED, REBUILT = "edited", "rebuilt"
both_ways = pytest.mark.parametrize("way", [EDITED, REBUILT])


class Unwritable(peewee.SqliteDatabase):
    """A database whose connections may not write to the schema, like those in defensive mode."""

    def _connect(self):
        connection = super()._connect()
        connection.set_authorizer(_ignore)
        return connection


def _ignore(action, name, value, *_):
    writes = action == sqlite3.SQLITE_PRAGMA and name == "writable_schema" and value is not None
    return sqlite3.SQLITE_IGNORE if writes else sqlite3.SQLITE_OK


def connect(path, way):
    """Return a database whose tables are edited, or rebuilt even for what an edit would do."""
    kind = peewee.SqliteDatabase if way == EDITED else Unwritable
    return kind(str(path), pragmas={"foreign_keys": 1})


def way_of(changes):
    """Return which of the two ways some changes go."""
    ways = {"edit": EDITED, "rebuild": REBUILT}
    (way,) = {ways[word] for change in changes if (word := change.description.partition(" ")[0]) in ways}
    return way
