"""A column filled in batches: some rows in each transaction, in the order of a key.

    fill_in_batches(session, batches)

A transaction for all rows would lock each of them until its end. A run that was
interrupted begins again; rows that are filled stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from db.plurals import plural
from migrations.engines.session import Row, Session, logger
from migrations.report import Batches

_BATCH_SIZE = 5_000  # rows that are filled in one transaction


class _Condition(NamedTuple):
    """A condition on the columns of a key, and its parameters."""

    sql: str
    parameters: list[object]


def fill_in_batches(session: Session, batches: Batches) -> None:
    """Fill a column where it is NULL.

    Called while executing, outside of a transaction.
    """
    after: Row | None = None
    filled = 0
    while True:
        last = _last_of_batch(session, batches, after)
        if last is None:
            break
        filled += _fill_batch(session, batches, after, last)
        after = last
        session.activity = f"{plural(filled, 'row')} filled"
    session.activity = ""
    logger.info("  %s: filled %s", batches.column, plural(filled, "row"))


def _last_of_batch(session: Session, batches: Batches, after: Row | None) -> Row | None:
    """Return the key of the last row of the next batch; None if there is no row.

    :param after: the key of the last row of the batch before; None for the first one.
    """
    names = _key_names(session, batches)
    columns = ", ".join(names)
    where = ""
    parameters: list[object] = []
    if after is not None:
        condition = _greater(session, names, after)
        where = f"WHERE {condition.sql} "
        parameters = condition.parameters
    table = session.escape_percent(session.quote(batches.table))
    descending = ", ".join(f"{name} DESC" for name in names)
    sql = (
        f"SELECT {columns} FROM (SELECT {columns} FROM {table} {where}"
        f"ORDER BY {columns} LIMIT {_BATCH_SIZE}) AS b "
        f"ORDER BY {descending} LIMIT 1"
    )
    # Its names are written for a query with parameters, even if it has none.
    for row in session.retry_on_lock(lambda: session.query(sql, parameters)):
        return row
    return None


def _fill_batch(
    session: Session, batches: Batches, after: Row | None, last: Row
) -> int:
    """Fill the rows after one key, up to another; return their number."""
    names = _key_names(session, batches)
    table = session.quote(batches.table)
    column = session.quote(batches.column)
    update = f"UPDATE {table} SET {column} = ({batches.value}) WHERE {column} IS NULL"
    conditions = [_up_to(session, names, last)]
    if after is not None:
        conditions.append(_greater(session, names, after))
    sql = session.escape_percent(update)
    parameters: list[object] = []
    for condition in conditions:
        sql += f" AND {condition.sql}"
        parameters += condition.parameters

    def fill() -> int:
        return int(session.database.execute_sql(sql, parameters).rowcount)

    return session.in_batch_transaction(fill)


def _key_names(session: Session, batches: Batches) -> list[str]:
    """Return the columns of the key as SQL of a query with parameters."""
    return [session.escape_percent(session.quote(name)) for name in batches.key]


def _greater(session: Session, names: Sequence[str], values: Row) -> _Condition:
    """Return a condition that is true for keys after another one."""
    return _compared(session.database.param, names, values, ">", ">")


def _up_to(session: Session, names: Sequence[str], values: Row) -> _Condition:
    """Return a condition that is true for a key, and for those before it."""
    return _compared(session.database.param, names, values, "<", "<=")


def _compared(
    param: str, names: Sequence[str], values: Row, sign: str, last_sign: str
) -> _Condition:
    """Return a condition that compares a key with another one.

    Of (a, b) > (1, 2) it makes (a >= 1 AND (a > 1 OR (a = 1 AND b > 2))): not every
    database uses an index of the key for the short form.

    :param sign: compares all columns except the last one, that has `last_sign`.
    """
    name, value = names[0], values[0]
    if len(names) == 1:
        return _Condition(f"{name} {last_sign} {param}", [value])
    rest = _compared(param, names[1:], values[1:], sign, last_sign)
    sql = (
        f"({name} {sign}= {param} AND "
        f"({name} {sign} {param} OR ({name} = {param} AND {rest.sql})))"
    )
    return _Condition(sql, [value, value, value, *rest.parameters])
