"""`query_hooks` of Peewee 4.5, for tests with an older one."""

from typing import Any, NamedTuple

import peewee


class Event(NamedTuple):
    sql: str
    params: Any
    exception: Exception | None = None


def failed_statements(database):
    """Return a list that collects the statements that fail."""
    failed = []

    def record(event):
        if event.exception:
            failed.append(event.sql)

    database.query_hooks.append(record)
    return failed


def provide():
    """Add the hooks to databases if Peewee does not have them."""
    if hasattr(peewee, "QueryEvent"):
        return
    execute_sql = peewee.Database.execute_sql

    def execute_with_hooks(database, sql, params=None, *args, **options):
        failed = None
        try:
            return execute_sql(database, sql, params, *args, **options)
        except Exception as error:
            failed = error
            raise
        finally:
            for hook in database.query_hooks:
                hook(Event(sql, params, failed))

    peewee.Database.query_hooks = property(
        lambda database: vars(database).setdefault("_query_hooks", [])
    )
    peewee.Database.execute_sql = execute_with_hooks
