"""Renames that the models declare, and tables under the names that they will have.

    renamed = under_new_names(schema, declared, table_key, drops, new_key_names)

Everything else of a comparison and a plan is about the new names. A table and a column
that are still called otherwise in the database know it: see `current_name`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from migrations.errors import ChangeRefused
from migrations.operations import Rename, RenameColumn, RenameTable
from migrations.report import Difference, fatal, repairable
from migrations.schema import Schema, Table

# Returns the name of a table as it is in a `Schema`.
TableKey = Callable[[str], str]
_BREAKS_OLD_RELEASE = "processes of the old release fail from then on"


class Renamed(NamedTuple):
    """Tables under their new names, and what has to be renamed for that."""

    schema: Schema
    differences: tuple[Difference, ...]


def under_new_names(
    schema: Schema,
    declared: Iterable[Table],
    table_key: TableKey,
    drops: Mapping[str, tuple[str, ...]],
    new_key_names: Callable[[Table, str], tuple[tuple[str, str], ...]],
) -> Renamed:
    """Return tables as if everything that can be renamed had its new name.

    :param declared: the managed tables.
    :param drops: by table, the names of what is dropped of it.
    :param new_key_names: see `Catalog.new_key_names`.
    """
    found: list[Difference] = []
    for table in declared:
        for difference in _rename_of_table(table, schema, table_key):
            operation = difference.repaired_by
            if isinstance(operation, RenameTable):
                names = new_key_names(schema[operation.old_name], table.name)
                operation = operation._replace(key_names=names)
                difference = difference._replace(repaired_by=operation)
                schema = operation.apply_to(schema)
            found.append(difference)
        if table.name not in schema:
            continue
        actual = schema[table.name]
        dropped = [actual.names.key(name) for name in drops.get(table.name, ())]
        for difference in _renames_of_columns(table, actual, dropped):
            found.append(difference)
            if difference.repaired_by is not None:
                schema = difference.repaired_by.apply_to(schema)
    return Renamed(schema, tuple(found))


def _rename_of_table(
    declared: Table, schema: Schema, table_key: TableKey
) -> Iterator[Difference]:
    """Yield the rename of a table, or why that is refused."""
    name, old = declared.name, declared.renamed_from
    if old is None:
        return
    if table_key(old) == table_key(name) and name in schema:
        return  # they are the same name to the database
    old_key = old if old in schema else table_key(old)
    if old_key not in schema:
        return
    if name not in schema:
        yield _rename(name, name, old, RenameTable(name, old_key))
    elif schema[old_key].is_table:  # a view may stand in for the old table
        advice = "move the rows, drop or rename the table that is not needed"
        yield _both_exist(name, "table", name, old, advice)


def _renames_of_columns(
    declared: Table, actual: Table, dropped: Sequence[str]
) -> Iterator[Difference]:
    """Yield the renames of a table's columns, or why one is refused.

    :param dropped: keys of columns. If both names exist, one of these may be old.
    """
    key_of = actual.names.key
    for column in declared.columns.values():
        name, old = column.name, column.renamed_from
        if old is None or key_of(old) == key_of(name):
            continue
        old_key = key_of(old)
        if old_key not in actual.columns:
            continue
        where = f"{declared.name}.{name}"
        if key_of(name) not in actual.columns:
            operation = RenameColumn(declared.name, actual.columns[old_key], name)
            yield _rename(where, name, old, operation)
            continue
        if old_key in dropped:
            continue
        advice = (
            f"move the values (UPDATE {declared.name} SET {name} = {old} "
            f"WHERE {name} IS NULL), list {declared.name}.{old} in drops"
        )
        yield _both_exist(where, "column", name, old, advice)


def _rename(where: str, name: str, old: str, operation: Rename) -> Difference:
    text = f"expected {name}, found its old name {old}; {_BREAKS_OLD_RELEASE}"
    return repairable(where, name, old, operation, text)


def _both_exist(where: str, kind: str, name: str, old: str, advice: str) -> Difference:
    text = f"the {kind} exists, and so does {old}, which it is renamed from"
    found = f"{name} and {old}"
    return fatal(where, name, found, ChangeRefused, text, advice)


def rename_description(kind: str, old: str, new: str) -> str:
    """Return what a statement renames, and what that breaks.

    :param kind: "table" or "column".
    """
    return f"rename {kind} {old} to {new}; {_BREAKS_OLD_RELEASE}"
