"""Which tables would keep rows of a transaction that is rolled back.

    tables_without_transactions(session, ["orders"])  # ["shop.audit"]

MyISAM, Aria and others have no transactions: https://mariadb.com/kb/en/rollback/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from migrations.engines.mysql.session import MySQLFamilySession

_TABLES = """
SELECT LOWER(t.table_schema), LOWER(t.table_name)
FROM information_schema.tables t
JOIN information_schema.engines e ON e.engine = t.engine
WHERE COALESCE(e.transactions, 'NO') <> 'YES'
  AND t.table_schema NOT IN
      ('mysql', 'information_schema', 'performance_schema', 'sys')"""
_TABLES_WITH_TRIGGERS = """
SELECT LOWER(event_object_table) FROM information_schema.triggers
WHERE event_object_schema = DATABASE()"""
# What is executed when something is written to, called or read, by its name.
_TEXTS = """
SELECT LOWER(event_object_schema), LOWER(event_object_table), action_statement
FROM information_schema.triggers
UNION ALL
SELECT LOWER(routine_schema), LOWER(routine_name), routine_definition
FROM information_schema.routines WHERE routine_schema NOT IN ('mysql', 'sys')
UNION ALL
SELECT LOWER(table_schema), LOWER(table_name), view_definition
FROM information_schema.views WHERE table_schema NOT IN ('mysql', 'sys')"""
_WORD = r"(?:`([^`]+)`|([\w$]+))"
_PATH = re.compile(rf"(?:{_WORD}\s*\.\s*)?{_WORD}")


class _Name(NamedTuple):
    """The name of a table, a view or a routine, in lower case."""

    database: str
    name: str

    def __str__(self) -> str:
        return f"{self.database}.{self.name}"


def tables_without_transactions(
    session: MySQLFamilySession, names: Iterable[str]
) -> list[str]:
    """Return the tables without transactions that a row of these tables may reach.

    :param names: tables of the database; their triggers are followed, with the
        routines, views and other tables that those name.
    """
    without = {_Name(*row) for row in session.query(_TABLES)}
    if not without:
        return []
    database = str(session.database.database).lower()
    started = [_Name(database, name.lower()) for name in names]
    texts: dict[_Name, list[str]] = {}
    with_triggers = {name for (name,) in session.query(_TABLES_WITH_TRIGGERS)}
    if not with_triggers.isdisjoint(each.name for each in started):
        for schema, name, text in session.query(_TEXTS):
            texts.setdefault(_Name(schema, name), []).append(text or "")
    return [str(each) for each in _reached(started, texts) if each in without]


def _reached(
    names: list[_Name], texts: Mapping[_Name, Sequence[str]]
) -> Iterator[_Name]:
    """Yield names, and all that the texts of a name that is reached may mean."""
    left = list(names)
    seen = set(names)
    while left:
        each = left.pop()
        yield each
        for text in texts.get(each, ()):
            for other in _names_in(text, each.database):
                if other not in seen:
                    seen.add(other)
                    left.append(other)


def _names_in(text: str, database: str) -> Iterator[_Name]:
    """Yield what the words of a text of a database may be the names of."""
    for quoted_first, first, quoted_second, second in _PATH.findall(text.lower()):
        qualifier = quoted_first or first
        name = quoted_second or second
        yield _Name(database, name)
        if qualifier:
            yield _Name(database, qualifier)
            yield _Name(qualifier, name)
