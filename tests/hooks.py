"""`query_hooks` as Peewee has them since 4.5, for tests on an older one: what is executed is told to each hook."""

from typing import Any, NamedTuple

import peewee


class Event(NamedTuple):
    sql: str
    params: Any
    exception: Exception | None = None


def failed_statements(database):
    """Return a list to which each statement that fails is added."""
    failed = []

    def note(event):
        if event.exception:
            failed.append(event.sql)

    database.query_hooks.append(note)
    return failed


def provide():
    """Give databases their hooks where Peewee has none."""
    if hasattr(peewee, "QueryEvent"):
        return
    execute_sql = peewee.Database.execute_sql

    def telling(database, sql, params=None, *args, **options):
        failed = None
        try:
            return execute_sql(database, sql, params, *args, **options)
        except Exception as error:
            failed = error
            raise
        finally:
            for hook in database.query_hooks:
                hook(Event(sql, params, failed))

    peewee.Database.query_hooks = property(lambda database: vars(database).setdefault("_query_hooks", []))
    peewee.Database.execute_sql = telling
