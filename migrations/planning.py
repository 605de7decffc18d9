"""The plan: from differences to operations and the schema that they lead to.

    plan = make_plan(differences, schema, ddl, catalog)

It is the same for every database; what a database needs in addition is asked of its
`ddl`. The plan is compared with the models before its first statement, so that it is
known to repair what it claims to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from migrations import operations as do
from migrations.comparison import compare, errors_of
from migrations.declaration import PhaseModels
from migrations.engines.catalog import Catalog
from migrations.engines.ddl import DDL
from migrations.errors import VerificationFailed
from migrations.operations import EXECUTION_ORDER, Operation
from migrations.plan import Plan
from migrations.report import Difference
from migrations.schema import ForeignKey, Schema


def make_plan(
    errors: Iterable[Difference], schema: Schema, ddl: DDL, catalog: Catalog
) -> Plan:
    """Return the plan that repairs errors.

    :param schema: the tables as they are.
    :raises VerificationFailed: the models and the planned schema would still differ.
    """
    operations = [each.repaired_by for each in errors if each.repaired_by is not None]
    if not ddl.may_refer_to_later_tables:
        operations = _with_later_keys(operations, catalog.models)
    operations += ddl.implied_operations(operations)
    operations = _merge_alterations(operations)
    if ddl.must_release_keys(operations):
        operations = _recreate_foreign_keys(operations, ddl.schema, catalog.models)
    plan = plan_of(operations, schema, catalog.models)
    verify_plan(plan, catalog)
    return plan


def plan_of(
    operations: Iterable[Operation], schema: Schema, models: PhaseModels
) -> Plan:
    """Return operations in order of execution, applied to a schema.

    :param schema: the tables as they are.
    """

    def position(operation: Operation) -> tuple[int, int]:
        step = EXECUTION_ORDER.index(type(operation))
        return step, models.managed.index(operation.table)

    ordered = sorted(operations, key=position)
    planned_operations: list[Operation] = []
    current = schema
    for operation in ordered:
        if isinstance(operation, do.Rename):
            current = operation.apply_to(current)
            planned_operations.append(operation)
    planned = current
    for operation in _with_children_first(ordered, current):
        if isinstance(operation, do.Rename):
            continue
        if isinstance(operation, do.DropColumn):
            # As the operations before it leave the table.
            operation = operation.with_dependents(planned)
        elif isinstance(operation, do.DropIndex) and operation.is_done(planned):
            continue  # it goes with a column
        planned = operation.apply_to(planned)
        planned_operations.append(operation)
    return Plan(tuple(planned_operations), current, planned)


def _with_children_first(
    operations: Sequence[Operation], schema: Schema
) -> list[Operation]:
    """Return operations so that a column goes before the one that it refers to.

    Its foreign key goes with it. A generated column goes before the others, of which it
    is made, and one that was added later before the earlier ones.

    :param operations: in order of execution.
    :param schema: the tables as they are, under their new names.
    """
    drops = [each for each in operations if isinstance(each, do.DropColumn)]
    generated = [each for each in drops if each.column.generated]
    generated.sort(key=lambda drop: _place_in_table(drop, schema), reverse=True)
    waiting = generated + [each for each in drops if each not in generated]
    ordered: list[Operation] = []
    for operation in operations:
        if not isinstance(operation, do.DropColumn):
            ordered.append(operation)
            continue
        ready = [each for each in waiting if not _is_parent(each, waiting, schema)]
        first = ready[0] if ready else waiting[0]  # of a circle, any
        waiting.remove(first)
        ordered.append(first)
    return ordered


def _place_in_table(drop: do.DropColumn, schema: Schema) -> int:
    table = schema[drop.table]
    return list(table.columns).index(table.names.key(drop.column.name))


def _is_parent(
    drop: do.DropColumn, others: Iterable[do.DropColumn], schema: Schema
) -> bool:
    """Whether one of some other columns that are dropped refers to a column."""
    for other in others:
        if other == drop:
            continue
        keys = schema[other.table].foreign_keys_with(other.column.name)
        if any(key in keys for key in drop.keys_to_it(schema, other.table)):
            return True
    return False


def verify_plan(plan: Plan, catalog: Catalog) -> None:
    """Check that the tables that a plan changes will be what the models declare.

    Other tables may differ: `create_missing` leaves them as they are.

    :raises VerificationFailed: they will not, so the plan has a defect; nothing was
        changed.
    """
    changed = {operation.table for operation in plan.operations}
    remaining = [
        error.message
        for error in errors_of(compare(plan.planned, catalog, {}))
        if error.repaired_by is not None
        and error.repaired_by.table in changed
        # A column that holds values is kept, unless the run is told otherwise.
        and not isinstance(error.repaired_by, do.DropColumn)
    ]
    if remaining:
        messages = "; ".join(remaining)
        raise VerificationFailed(
            f"the plan would leave differences, nothing was changed: {messages}"
        )


def _with_later_keys(
    operations: Iterable[Operation], models: PhaseModels
) -> list[Operation]:
    """Add a foreign key by itself if its parent is created after its table."""
    operations = list(operations)
    created = {each.table for each in operations if isinstance(each, do.CreateTable)}
    result: list[Operation] = []
    for operation in operations:
        if not isinstance(operation, do.CreateTable):
            result.append(operation)
            continue
        later = set(models.managed[models.managed.index(operation.table) + 1 :])
        inline = []
        for key in operation.declared.foreign_keys:
            if key.parent in created & later:
                result.append(do.AddForeignKey(operation.table, key))
            else:
                inline.append(key)
        declared = operation.declared._replace(foreign_keys=tuple(inline))
        result.append(operation._replace(declared=declared))
    return result


def _merge_alterations(operations: Iterable[Operation]) -> list[Operation]:
    """Make one operation of all that changes about a column; drop repetitions."""
    alterations: dict[tuple[str, str], do.AlterColumn] = {}
    others: list[Operation] = []
    for operation in operations:
        if isinstance(operation, do.AlterColumn):
            column = (operation.table, operation.column.name)
            earlier = alterations.get(column, operation)
            alterations[column] = earlier.merged_with(operation)
        elif operation not in others:
            others.append(operation)
    return [*others, *alterations.values()]


def _recreate_foreign_keys(
    operations: Sequence[Operation], schema: Schema, models: PhaseModels
) -> list[Operation]:
    """Drop foreign keys at either end of which a type changes, and add them again."""
    retyped = set()
    for operation in operations:
        if isinstance(operation, do.AlterColumn) and operation.changes_type:
            names = schema[operation.table].names
            retyped.add((operation.table, names.key(operation.column.name)))
    added = {
        (operation.table, operation.key.columns)
        for operation in operations
        if isinstance(operation, do.AddForeignKey)
    }
    dropped: set[tuple[str, ForeignKey]] = set()
    result: list[Operation] = []
    for table, key in _foreign_keys(schema, models):
        if retyped.isdisjoint(_columns_at_both_ends(table, key)):
            continue
        release = do.DropForeignKey(table, key)
        if release in operations:
            continue  # it is dropped for good
        dropped.add((table, key))
        result.append(release)
        if (table, key.columns) not in added:
            result.append(do.AddForeignKey(table, key))
    for operation in operations:
        if isinstance(operation, do.AddForeignKey):
            result.append(_without_dropped(operation, dropped))
        else:
            result.append(operation)
    return result


def _without_dropped(
    operation: do.AddForeignKey, dropped: set[tuple[str, ForeignKey]]
) -> do.AddForeignKey:
    """Return an operation that does not replace what is dropped before it."""
    replaces = [
        key for key in operation.replaces if (operation.table, key) not in dropped
    ]
    return operation._replace(replaces=tuple(replaces))


def _foreign_keys(
    schema: Schema, models: PhaseModels
) -> Iterator[tuple[str, ForeignKey]]:
    for name in models.managed:
        if name in schema:
            for key in schema[name].foreign_keys:
                yield name, key


def _columns_at_both_ends(table: str, key: ForeignKey) -> set[tuple[str, str]]:
    """Return the columns at both ends of a foreign key, each with its table."""
    child = {(table, column) for column in key.columns}
    parent = {(key.parent, column) for column in key.parent_columns}
    return child | parent
