"""The plan: from differences to operations in order, the same for every engine.

    operations = planned(differences, schema, engine)
    changes = engine.statements(operations, schema)

Nothing is executed here. What no operation mends has been refused before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from migrations import operations as do
from migrations.declaration import in_order
from migrations.engines.base import Engine
from migrations.operations import ORDER, Operation
from migrations.report import Difference
from migrations.schema import ForeignKey, Schema


def planned(differences: Iterable[Difference], schema: Schema, engine: Engine) -> list[Operation]:
    """Return the operations that mend the errors among the differences, in the order of their execution."""
    operations = _merged(each.mended_by for each in differences if each.mended_by and each.severity == "error")
    operations = list(engine.refined(operations, schema))
    if engine.keys_hold_types:
        operations = _released(_merged(operations), schema, engine)
    return _sorted(operations, engine)


def dropped(schema: Schema, engine: Engine) -> list[Operation]:
    """Return the operations that drop the built tables that are there, those that refer to others first."""
    models = reversed(in_order(engine.models[name] for name in engine.builds))
    names = [model._meta.table_name for model in models]
    return [do.DropTable(name) for name in names if name in schema]


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


def _released(operations: Sequence[Operation], schema: Schema, engine: Engine) -> list[Operation]:
    """Take away the foreign keys that hold a column whose type changes, and add them anew."""
    retyped = {(each.table, each.column.name) for each in operations
               if isinstance(each, do.AlterColumn) and "type" in each.what}  # fmt: skip
    renewed = {(each.table, each.key.columns) for each in operations if isinstance(each, do.AddForeignKey)}
    bound = list(_bound(retyped, schema, engine))
    drops: list[Operation] = [do.DropForeignKey(table, key) for table, key in bound]
    adds: list[Operation] = [
        do.AddForeignKey(table, key) for table, key in bound if (table, key.columns) not in renewed
    ]  # fmt: skip
    kept: list[Operation] = []
    for operation in operations:
        if isinstance(operation, do.AddForeignKey):
            gone = [key for table, key in bound if table == operation.table]
            operation = operation._replace(instead_of=tuple(key for key in operation.instead_of if key not in gone))
        if not (isinstance(operation, do.ValidateForeignKey) and (operation.table, operation.key) in bound):
            kept.append(operation)
    return [*drops, *kept, *adds]


def _bound(retyped: set[tuple[str, str]], schema: Schema, engine: Engine) -> Iterator[tuple[str, ForeignKey]]:
    """Yield the foreign keys of the built tables on either end of which a column changes its type."""
    for name in engine.builds:
        for key in schema[name].foreign_keys if name in schema else ():
            ends = [(name, column) for column in key.columns] + [(key.table, column) for column in key.target]
            if not retyped.isdisjoint(ends):
                yield name, key


def _sorted(operations: Iterable[Operation], engine: Engine) -> list[Operation]:
    tables = [model._meta.table_name for model in in_order(engine.models[name] for name in engine.builds)]
    return sorted(operations, key=lambda each: (ORDER.index(type(each)), tables.index(each.table)))
