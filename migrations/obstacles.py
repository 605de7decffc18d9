"""The rows that stand against a change, found before the first statement.

    for text in obstacles(table, differences, engine): ...

A change that would lose or bend a value is refused, with up to five of the rows by key, their
number, and the query that shows them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from db.models import WeeklyActuals
from migrations.engines.base import TABLE, Engine, column_ddl
from migrations.report import Difference
from migrations.schema import Table, declared, declared_key

_SHOWN = 5


def obstacles(table: Table, differences: Iterable[Difference], engine: Engine) -> Iterator[str]:
    """Yield one line for each difference that the rows do not let mend."""
    differences = list(differences)
    retyped = {each.name for each in differences if each.kind == "type"}
    for each in differences:
        if each.kind == "missing_column" and each.name == "id":
            continue  # the database numbers the rows
        if each.kind == "missing_column" and not declared(WeeklyActuals).columns[each.name].null:
            yield from _missing_column(each.name, engine)
        elif condition := _condition(each, table, retyped, engine):
            what = each.message
            if each.kind == "type":
                what += ", and values that do not convert without loss"
            yield from _rows_against(what, condition, table, engine)
    name, columns = WeeklyActuals._meta.unique_key  # where it holds, so far
    if retyped.intersection(columns) and name not in {each.name for each in differences}:
        what = f"{TABLE}.{name}: rows that become equal once they are converted"
        yield from _rows_against(what, _repeated(columns, retyped, engine), table, engine)


def orphans(table: Table, engine: Engine) -> Iterator[Difference]:
    """Yield a warning for each foreign key that rows violate; nothing is deleted."""
    for key in declared(WeeklyActuals).foreign_keys:
        (column,) = key.columns
        if column not in table.columns:
            continue
        condition = _no_parent(column, table, False, engine)
        for text in _rows_against(
            f"{TABLE}.{column}: rows whose parent in {key.table} does not exist", condition, table, engine
        ):
            yield Difference("warning", f"{TABLE}.{column}", f"a row of {key.table}", "no such row", text)


def _missing_column(name: str, engine: Engine) -> Iterator[str]:
    if rows := engine.query(f"SELECT count(*) FROM {engine.quote(TABLE)}")[0][0]:
        ddl = column_ddl(engine, name, null=True).partition(" DEFAULT ")[0]
        yield (
            f"{TABLE}.{name} is missing, must not be NULL, and {rows:,} row{'s' * (rows > 1)} would have no value; "
            f"add it with its values first: ALTER TABLE {TABLE} ADD COLUMN {ddl}; UPDATE {TABLE} SET {name} = ..."
        )


def _condition(each: Difference, table: Table, retyped: set[str], engine: Engine) -> str | None:
    """Return the condition that a row against the change fulfils."""
    column = f"w.{engine.quote(each.name)}"
    if each.kind == "null":
        return f"{column} IS NULL"
    if each.kind == "type" and not table.columns[each.name].generated:
        family, source = declared(WeeklyActuals).columns[each.name].family, table.columns[each.name].family
        return engine.unconvertible(column, family, source)
    if each.kind == "primary_key":
        return f"({engine.no_id(column)} OR {_repeated(['id'], retyped, engine)})"
    if each.kind == "unique":
        columns = WeeklyActuals._meta.unique_key[1]
        return _repeated(columns, retyped, engine) if table.columns.keys() >= set(columns) else None
    if each.kind == "foreign_key" and each.name in table.columns:
        return _no_parent(each.name, table, each.name in retyped, engine)
    return None


def _repeated(columns: Iterable[str], retyped: set[str], engine: Engine) -> str:
    quoted = {column: engine.quote(column) for column in columns}  # 1 and '1' become equal
    names = ", ".join(engine.as_text(name) if column in retyped else name for column, name in quoted.items())
    return f"({names}) IN (SELECT {names} FROM {engine.quote(TABLE)} GROUP BY {names} HAVING count(*) > 1)"


def _no_parent(column: str, table: Table, retyped: bool, engine: Engine) -> str:
    value = f"w.{engine.quote(column)}"
    value = engine.as_text(value) if retyped else value  # as it will be once it is a string
    return engine.no_parent(value, declared_key(column), table)


def _rows_against(what: str, condition: str, table: Table, engine: Engine) -> Iterator[str]:
    keys = [name for name in ("id", "workflow_id", "week_number", "store_id") if name in table.columns]
    names = ", ".join(f"w.{engine.quote(name)}" for name in keys)
    source = f"FROM {engine.quote(TABLE)} w WHERE {condition}"
    examples = engine.query(f"SELECT {names} {source} ORDER BY {names} LIMIT {_SHOWN}")
    if examples:
        count = len(examples)
        if count == _SHOWN:
            count = engine.query(f"SELECT count(*) {source}")[0][0]
        shown = "; ".join(", ".join(f"{key} {value}" for key, value in zip(keys, row)) for row in examples)
        yield f"{what}: {count:,} row{'s' * (count != 1)} ({shown}{'; ...' * (count > _SHOWN)}); see: SELECT * {source}"
