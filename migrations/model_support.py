"""What no database supports of the models of a phase.

    validate_models(requires, manages)

It is checked when the phase is used, before a database is opened. What a database
decides is the matter of `migrations.engines.model_support`. Each problem is reported in
a line of its own that names the model, the field and what to write instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import peewee

from db.constraints import field_constraints, table_constraints
from migrations.declaration import (
    Model,
    declared_foreign_key,
    declared_table,
    table_name,
)
from migrations.drops import names_to_drop
from migrations.errors import refuse_unsupported
from migrations.schema import Table

_ACTIONS = {"NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT"}


def validate_models(
    requires: Mapping[Model, Iterable[str]],
    manages: Iterable[Model],
    drops: Iterable[str] = (),
) -> None:
    """Check that the models of a phase are complete and fit together.

    :raises UnsupportedModel: they do not; the text has a line for each problem.
    """
    managed = list(manages)
    refuse_unsupported(
        [
            *_problems_of_required(requires),
            *_problems_of_managed(requires, managed),
            *_problems_of_drops(managed, drops),
        ]
    )


def _problems_of_required(requires: Mapping[Model, Iterable[str]]) -> Iterator[str]:
    for model, columns in requires.items():
        name = model.__name__
        if isinstance(columns, str):
            yield f"{name} is required with {columns!r}; write ({columns!r},)"
            continue
        for column in columns:
            if column not in model._meta.columns:
                yield f"{name} has no column {column}"


def _problems_of_managed(
    requires: Mapping[Model, Iterable[str]], managed: list[Model]
) -> Iterator[str]:
    known_tables = {table_name(model) for model in [*requires, *managed]}
    models_of: dict[str, list[str]] = {}
    for model in managed:
        models_of.setdefault(table_name(model), []).append(model.__name__)
    for name, models in sorted(models_of.items()):
        if len(models) > 1:
            yield (
                f"the name {name} is given twice, by {' and '.join(models)}; manage "
                "only one of them, or rename a table"
            )
    for model in managed:
        if model in requires:
            yield f"{model.__name__} is both required and managed"
        yield from _problems_of_model(model, known_tables)
    yield from _problems_of_renamed_tables([*requires, *managed])


def _problems_of_model(model: Model, known_tables: set[str]) -> Iterator[str]:
    """Yield the problems of one model, each with its name."""
    name = model.__name__
    unreadable = [
        *_unknown_index_fields(model),
        *_kinds_without_a_table(model),
        *_undefined_parents(model),
    ]
    if unreadable:  # nothing else can be read of it
        for problem in unreadable:
            yield f"{name}: {problem}"
        return
    table = declared_table(model)
    for problem in [
        *_problems_of_keys(table),
        *_problems_of_references(model, table, known_tables),
        *_problems_of_renames(table),
        *_problems_of_backfills(model),
    ]:
        yield f"{name}: {problem}"
    for field in model._meta.sorted_fields:
        if isinstance(field, peewee.ForeignKeyField):
            for problem in _problems_of_reference(field, known_tables):
                yield f"{name}.{field.name}: {problem}"


def _unknown_index_fields(model: Model) -> Iterator[str]:
    """Yield the names in `Meta.indexes` that are not those of fields.

    Peewee raises no more than a KeyError about them.
    """
    meta = model._meta
    for index in meta.indexes:
        if isinstance(index, peewee.Node):
            continue
        for part in index[0]:
            if isinstance(part, str) and part not in meta.combined:
                known = ", ".join(meta.sorted_field_names)
                yield f"Meta.indexes names the unknown field {part!r}; it has {known}"


def _undefined_parents(model: Model) -> Iterator[str]:
    """Yield the fields whose model was named and never defined."""
    for field in model._meta.sorted_fields:
        if isinstance(field, peewee.DeferredForeignKey):
            yield (
                f"{field.name} refers to a model {field.rel_model_name!r}, which was "
                "never defined"
            )


def _kinds_without_a_table(model: Model) -> Iterator[str]:
    """Yield what makes a model something else than a table that is there to stay."""
    if not model._meta.sorted_fields:
        yield "it has no fields, and a table needs a column"
    if model._meta.temporary:
        yield "a temporary table is gone with its connection; remove Meta.temporary"
    module = getattr(model._meta, "extension_module", None)
    if module:
        yield (
            f"a virtual table (USING {module}) is not supported; create it apart from "
            "the phase"
        )


def _problems_of_keys(table: Table) -> Iterator[str]:
    keys = {index.label: index.columns for index in table.indexes if index.is_plain}
    for key, columns in keys.items():
        if not columns:
            yield f"{key} has no columns"


def _problems_of_references(
    model: Model, table: Table, known_tables: set[str]
) -> Iterator[str]:
    """Yield what is wrong with the foreign keys in `Meta.constraints`."""
    of_fields = {(field.column_name,) for field in model._meta.refs}
    for key in table.foreign_keys:
        if key.columns in of_fields:
            continue
        text = f"FOREIGN KEY ({', '.join(key.columns)})"
        if key.parent not in known_tables:
            yield (
                f"{text} refers to {key.parent}, which the phase neither requires nor "
                "manages"
            )
        for name in key.columns:
            if name not in table.columns:
                yield f"{text} has no column {name}"


def _problems_of_renames(table: Table) -> Iterator[str]:
    """Yield old names that are in use: nobody could tell what has such a name."""
    old_names: list[str] = []
    for column in table.columns.values():
        old = column.renamed_from
        if old is None:
            continue
        if old in table.columns:
            yield f"{column.name} is renamed from {old}, which is a column all the same"
        if old in old_names:
            yield f"two columns are renamed from {old}"
        old_names.append(old)


def _problems_of_renamed_tables(models: Iterable[Model]) -> Iterator[str]:
    """Yield old names of tables that are in use."""
    models = list(models)
    names = {table_name(model) for model in models}
    old_names: list[str] = []
    for model in models:
        old = table_constraints(model).renamed_from
        if old is None:
            continue
        name = model.__name__
        if old in names:
            yield f"{name}: it is renamed from {old}, which is a table all the same"
        if old in old_names:
            yield f"{name}: another table is renamed from {old}, too"
        old_names.append(old)


def _problems_of_backfills(model: Model) -> Iterator[str]:
    for field in model._meta.get_primary_keys():
        if field_constraints(field).backfill is not None:
            yield (
                f"{field.name} is in the primary key, and Backfill is for other "
                "columns; remove it"
            )


def _problems_of_drops(managed: list[Model], drops: Iterable[str]) -> Iterator[str]:
    """Yield what is dropped of an unknown table, or is declared as well."""
    models = {table_name(model): model for model in managed}
    for table, names in names_to_drop(drops, models).items():
        if not table:
            for entry in names:
                yield (
                    f"drops has {entry!r}, which names no managed table; write "
                    f"'table.name', with one of {', '.join(models)}"
                )
            continue
        declared = _declared_names(models[table])
        for name in names:
            if name.lower() in declared:
                yield f"drops has '{table}.{name}', which {table} declares"


def _declared_names(model: Model) -> set[str]:
    """Return the names of what a model declares, in lower case."""
    table = declared_table(model)
    names = list(table.columns)
    names += [index.name for index in table.indexes]
    names += [check.name for check in table.checks]
    names += [key.name for key in table.foreign_keys if key.name]
    return {name.lower() for name in names}


def _problems_of_reference(
    field: peewee.ForeignKeyField, known_tables: set[str]
) -> Iterator[str]:
    key = declared_foreign_key(field)
    parent = field.rel_model.__name__
    if key.parent not in known_tables:
        yield f"it refers to {parent}, which the phase neither requires nor manages"
    if key.parent_columns not in declared_table(field.rel_model).unique_keys():
        yield f"it refers to {parent}.{field.rel_field.name}, which is not a key"
    for action in (key.on_delete, key.on_update):
        if action not in _ACTIONS:
            yield f"{action} is not an action of a foreign key"
    if "SET NULL" in (key.on_delete, key.on_update) and not field.null:
        yield "SET NULL needs null=True"
