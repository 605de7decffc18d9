"""A copy of the schema of a file in memory, without its rows.

    with copy_of_schema(session) as copy:
        copy.session.execute_literally("ALTER TABLE a RENAME TO b")

It has every table, index, view and trigger of the file. In the place of a virtual
table, whose module may not be there, is an ordinary one with its columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import peewee

from migrations.engines.sqlite.session import SQLiteSession
from migrations.engines.sqlite.table_text import name_key
from migrations.sql_text import one_line

# Tables before what is made of them, and views before their triggers.
_STORED = """
SELECT type, name, sql FROM (
    SELECT type, name, sql FROM main.sqlite_master
    WHERE sql IS NOT NULL AND NOT (type = 'table' AND rootpage = 0)
    UNION ALL
    SELECT type, name, 'CREATE TEMP' || substr(sql, 7) FROM sqlite_temp_master
    WHERE type = 'trigger')
ORDER BY instr('table index view trigger', type)"""
_VIRTUAL_TABLES = """
SELECT name FROM main.sqlite_master WHERE type = 'table' AND rootpage = 0"""


class NotCopied(Exception):
    """The schema, or what is needed of it, cannot be copied; the text says why."""


class SchemaCopy(NamedTuple):
    """The copy."""

    session: SQLiteSession
    # By the lower-case name of a table that could not be created: the error.
    missing: Mapping[str, str]


@contextmanager
def copy_of_schema(original: SQLiteSession) -> Iterator[SchemaCopy]:
    """Copy the schema of a connection. Called while planning.

    :raises NotCopied: the copy would not be in memory.
    """
    session = original.in_memory()
    try:
        with session.connected():
            _refuse_file(session)
            yield SchemaCopy(session, _create(session, original))
    finally:
        close_pool = getattr(session.database, "close_all", None)
        if close_pool is not None:
            close_pool()


def _refuse_file(session: SQLiteSession) -> None:
    """Make sure that the copy is in memory.

    A class of the application may open its file whatever it is told.
    """
    for _, name, file in session.query("PRAGMA database_list"):
        if name == "main" and file:
            raise NotCopied(f"a database in memory became {file}")


def _create(session: SQLiteSession, original: SQLiteSession) -> dict[str, str]:
    """Execute the stored texts; return the tables that this connection cannot have."""
    missing = {}
    stored = original.query(_STORED)
    with session.pragmas(foreign_keys=0, legacy_alter_table=1):
        if any(name == "sqlite_stat1" for _, name, _ in stored):
            session.database.execute_sql("ANALYZE")  # it makes that table
        for (name,) in original.query(_VIRTUAL_TABLES):
            error_of(session, _stand_in(original, name))
        for kind, name, sql in stored:
            if name.startswith("sqlite_"):
                continue
            error = error_of(session, sql)
            if error and kind == "table":
                missing[name_key(name)] = error
    return missing


def _stand_in(original: SQLiteSession, name: str) -> str:
    """Return a table that has the columns of a virtual one, hidden ones as well."""
    quoted = original.quote(name)
    columns = []
    try:
        for _, column, *_ in original.query(f"PRAGMA main.table_xinfo({quoted})"):
            columns.append(original.quote(column))
    except peewee.DatabaseError:
        pass  # its module is missing here, too
    return f"CREATE TABLE {quoted} ({', '.join(columns) or 'unknown'})"


def error_of(session: SQLiteSession, sql: str) -> str:
    """Execute a statement; return why it fails, or ""."""
    try:
        session.execute_literally(sql)
    except peewee.DatabaseError as error:
        return one_line(error)
    return ""
