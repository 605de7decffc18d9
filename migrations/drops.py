"""What a phase drops: columns, indexes and constraints of managed tables, by name.

    found = without_dropped(actual, "suppliers", names)

A column goes with the indexes and constraints that it belongs to.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from migrations.errors import ChangeRefused
from migrations.operations import DropCheck, DropColumn, DropForeignKey, DropIndex
from migrations.report import Difference, fatal, repairable
from migrations.schema import NO_ROW, Schema, Table, no_value

_Drop = DropColumn | DropIndex | DropCheck | DropForeignKey


class Remaining(NamedTuple):
    """A table without what is dropped, and the differences that drop it."""

    table: Table
    differences: tuple[Difference, ...]


def names_to_drop(
    drops: Iterable[str], tables: Iterable[str]
) -> Mapping[str, tuple[str, ...]]:
    """Return what is dropped of each table, from the `drops` of a phase.

    An entry that belongs to none of the tables has the key "".
    """
    known = list(tables)
    names: dict[str, tuple[str, ...]] = {}
    for entry in drops:
        table, name = "", entry
        for each in known:
            if entry.startswith(f"{each}.") and len(each) > len(table):
                table, name = each, entry.removeprefix(f"{each}.")
        names[table] = (*names.get(table, ()), name)
    return names


def without_dropped(actual: Table, table: str, names: Iterable[str]) -> Remaining:
    """Return a table as it is without what is dropped of it.

    What does not exist has been dropped already. Indexes and constraints go before
    columns, so it does not matter in which order they are listed.

    :param table: the declared name of the table.
    """
    found: list[Difference] = []
    remaining = actual
    key = {actual.column_of_part(part) for part in actual.primary_key}
    columns_last = sorted(names, key=lambda name: actual.column_named(name) is not None)
    for name in columns_last:
        if actual.names.key(name) in key:
            found.append(_refused_key(f"{table}.{name}"))
            continue
        for operation, kind in _objects_named(remaining, table, name):
            where = f"{table}.{name}"
            text = f"expected nothing, as it is in drops, found {kind}"
            found.append(repairable(where, "nothing", kind, operation, text))
            schema = operation.apply_to(Schema({table: remaining}))
            remaining = schema[table]
    return Remaining(remaining, tuple(found))


def left_guards(actual: Table, table: str, condition: str) -> Iterator[Difference]:
    """Yield a difference for each CHECK that an interrupted drop has left.

    :param table: the declared name of the table.
    :param condition: as that of `Table.left_guards`.
    """
    for check in actual.left_guards(condition):
        kind = f"CHECK ({check.condition})"
        text = f"found {kind}, which a run that was interrupted has left"
        drop = DropCheck(table, check)
        yield repairable(f"{table}.{check.name}", "nothing", kind, drop, text)


def without_left_guards(actual: Table, table: str) -> Remaining:
    """Return a table without what interrupted drops have left of it, as it stays.

    :param table: the declared name of the table.
    """
    found: list[Difference] = []
    kept = actual.checks
    names = [column.name for column in actual.columns.values()]
    for condition in [NO_ROW, *map(no_value, names)]:
        left = actual.left_guards(condition)
        kept = tuple(check for check in kept if check not in left)
        found += left_guards(actual, table, condition)
    return Remaining(actual._replace(checks=kept), tuple(found))


def _refused_key(where: str) -> Difference:
    return fatal(
        where,
        "nothing",
        "a column of the primary key",
        ChangeRefused,
        text="it is in drops and in the primary key",
        advice="take it out of drops until a run has changed the key",
    )


def _objects_named(actual: Table, table: str, name: str) -> Iterator[tuple[_Drop, str]]:
    """Yield the operation that drops what has a name, and what it is.

    A foreign key and its index may have the same name.
    """
    column = actual.column_named(name)
    if column is not None:
        yield DropColumn(table, column), f"a column {column.type.text}".rstrip()
        return
    index = actual.index_named(name)
    if index is not None:
        yield DropIndex(table, index), f"an index {index}"
    check = actual.check_named(name)
    if check is not None:
        yield DropCheck(table, check), f"CHECK ({check.condition})"
    for key in actual.foreign_keys:
        key_of = actual.names.key
        if key.name is not None and key_of(key.name) == key_of(name):
            columns = ", ".join(key.columns)
            yield DropForeignKey(table, key), f"a foreign key of {columns}"
