"""The plan: from differences to operations in order, the same for every engine.

    operations = planned(differences, schema, engine)
    changes = engine.statements(operations, schema)

What no operation mends has been refused before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from migrations import operations as do
from migrations.engines.base import Engine
from migrations.operations import ORDER, Operation
from migrations.report import Difference
from migrations.schema import Schema


def planned(differences: Iterable[Difference], schema: Schema, engine: Engine) -> list[Operation]:
    """Return the operations that mend the differences, in the order of their execution."""
    operations = _merged(engine.refined([each.mended_by for each in differences if each.mended_by], schema))
    if engine.keys_hold_types:
        operations = [*_released(operations, schema, engine)]
    return sorted(operations, key=lambda each: (ORDER.index(type(each)), engine.builds.index(each.table)))


def _merged(operations: Iterable[Operation]) -> list[Operation]:
    """Make one of all that is to be altered about a column."""
    merged: dict[object, Operation] = {}
    for operation in operations:
        key: object = operation
        if isinstance(operation, do.AlterColumn):
            key = do.AlterColumn, operation.table, operation.column.name
            if isinstance(before := merged.get(key), do.AlterColumn):
                operation = operation._replace(what=operation.what | before.what)
        merged[key] = operation
    return list(merged.values())


def _released(operations: Sequence[Operation], schema: Schema, engine: Engine) -> Iterator[Operation]:
    """Take away the foreign keys on either end of which a column changes its type, and add them anew."""
    alterations = [each for each in operations if isinstance(each, do.AlterColumn) and "type" in each.what]
    retyped = {(each.table, each.column.name) for each in alterations}
    renewed = {(each.table, each.key.columns) for each in operations if isinstance(each, do.AddForeignKey)}
    gone = set()
    for name in engine.builds:
        for key in schema[name].foreign_keys if name in schema else ():
            ends = [*((name, column) for column in key.columns), *((key.table, column) for column in key.target)]
            if not retyped.isdisjoint(ends):
                gone.add((name, key))
                yield do.DropForeignKey(name, key)
                if (name, key.columns) not in renewed:
                    yield do.AddForeignKey(name, key)
    for each in operations:
        if isinstance(each, do.AddForeignKey):
            each = each._replace(instead_of=tuple(key for key in each.instead_of if (each.table, key) not in gone))
        yield each
