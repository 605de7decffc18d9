"""Which models a phase supports.

    validate_models(requires, manages)

What is not supported is reported when the phase is used, each problem in a line of its
own that names the model, the field and what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import peewee

from db.constraints import field_constraints, table_constraints
from db.plurals import plural
from migrations.declaration import (
    Model,
    declared_foreign_key,
    declared_table,
    has_plain_columns,
    in_reference_order,
    sql_of,
    table_name,
)
from migrations.errors import UnsupportedModel
from migrations.schema import Table

_SUPPORTED_TYPES = {
    "AUTO",
    "BIGAUTO",
    "BIGINT",
    "BLOB",
    "BOOL",
    "CHAR",
    "DATE",
    "DATETIME",
    "DECIMAL",
    "DOUBLE",
    "FLOAT",
    "INT",
    "JSON",
    "SMALLINT",
    "TEXT",
    "TIME",
    "UUID",
    "UUIDB",
    "VARCHAR",
}
# MariaDB has no key of these, and PostgreSQL does not compare JSON.
_NOT_INDEXABLE = {"TEXT", "BLOB", "JSON"}
# SET DEFAULT is missing: InnoDB does not support it.
_SUPPORTED_ACTIONS = {"NO ACTION", "RESTRICT", "CASCADE", "SET NULL"}
_UNSUPPORTED_FIELD_OPTIONS = ("collation", "sequence", "unindexed")
_UNSUPPORTED_META_OPTIONS = (
    "schema",
    "table_settings",
    "strict_tables",
    "without_rowid",
    "temporary",
    "options",
    "extension_module",
)
# Databases disagree about upper case, and PostgreSQL cuts names after 63 characters.
_NAME = re.compile(r"[a-z_][a-z0-9_$]{0,62}")
_LITERAL = re.compile(r"(-?\d+(\.\d+)?|'([^']|'')*'|TRUE|FALSE)\s*", re.IGNORECASE)
_SHOWN_PROBLEMS = 10
_MAX_DECIMAL_DIGITS = 65  # https://mariadb.com/kb/en/decimal/


def validate_models(
    requires: Mapping[Model, Iterable[str]], manages: Iterable[Model]
) -> None:
    """Check that a phase supports its models.

    :raises UnsupportedModel: it does not; the text has a line for each problem.
    """
    managed = list(manages)
    problems = [
        *_problems_of_required(requires),
        *_problems_of_managed(requires, managed),
    ]
    if problems:
        raise UnsupportedModel("\n".join(_shown(problems)))
    in_reference_order(managed)  # raises the error about circular foreign keys


def _shown(problems: list[str]) -> list[str]:
    """Return the first problems, and how many more there are."""
    shown = problems[:_SHOWN_PROBLEMS]
    left_out = len(problems) - len(shown)
    if left_out:
        shown.append(f"and {plural(left_out, 'more problem')}")
    return shown


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
    names: list[str] = []
    for model in managed:
        table = declared_table(model)
        names += _object_names(table)
        if model in requires:
            yield f"{model.__name__} is both required and managed"
        for problem in _problems_of_table(model, table):
            yield f"{model.__name__}: {problem}"
        for field in model._meta.sorted_fields:
            for problem in _problems_of_field(field, known_tables):
                yield f"{model.__name__}.{field.name}: {problem}"
    for name in sorted(set(names)):
        if names.count(name) > 1:
            yield f"the name {name} is given twice"


def _object_names(table: Table) -> list[str]:
    """Return the names that a table uses, which on some databases must be unique."""
    indexes = [index.name for index in table.indexes]
    checks = [check.name for check in table.checks]
    foreign_keys = [key.name for key in table.foreign_keys if key.name]
    return [table.name, *indexes, *checks, *foreign_keys]


def _problems_of_table(model: Model, table: Table) -> Iterator[str]:
    meta = model._meta
    for option in _UNSUPPORTED_META_OPTIONS:
        if getattr(meta, option, None):
            yield f"Meta.{option} is not supported"
    for name in [*_object_names(table), *table.columns]:
        if not _NAME.fullmatch(name):
            yield (
                f"the name {name!r} is not supported; use at most 63 lower-case "
                "letters, digits, _ and $"
            )
    for sql in table_constraints(model).unsupported:
        yield (
            f"the constraint {sql!r} is not supported; write UniqueConstraint(name, "
            '*columns) or SQL("CONSTRAINT name CHECK (condition)")'
        )
    for index in meta.fields_to_index():
        if not has_plain_columns(index):
            name = getattr(index, "_name", None) or sql_of(index)
            yield (
                f"the index {name} is not supported: partial, descending and "
                "expression indexes and other kinds than the usual one are not"
            )
    yield from _problems_of_keys(model, table)


def _problems_of_keys(model: Model, table: Table) -> Iterator[str]:
    keys = {index.name: index.columns for index in table.indexes}
    if model._meta.primary_key:
        keys["the primary key"] = table.primary_key
    else:
        yield "it has no primary key"
    for name in table.primary_key:
        if table.columns[name].null:
            yield f"{name} is in the primary key and may be NULL; remove null=True"
    for key, columns in keys.items():
        if not columns:
            yield f"{key} has no columns"
        for name in columns:
            if name not in table.columns:
                yield f"{key} has no column {name}"
                continue
            field_type = model._meta.columns[name].field_type
            if field_type in _NOT_INDEXABLE:
                yield (
                    f"{key} cannot contain {name}: {field_type} cannot be indexed "
                    "or unique on every database; use CharField(n)"
                )


def _problems_of_field(field: peewee.Field, known_tables: set[str]) -> Iterator[str]:
    field_type = field.field_type
    modifiers = field.get_modifiers()
    # The field_type of playhouse's ArrayField is that of its elements.
    is_array = hasattr(field, "dimensions")
    if is_array or field_type not in _SUPPORTED_TYPES:
        yield f"{type(field).__name__} is not supported on every database"
    for option in _UNSUPPORTED_FIELD_OPTIONS:
        if getattr(field, option, None):
            yield f"{option} is not supported"
    if field_type in ("VARCHAR", "CHAR") and not modifiers:
        yield "it needs a length"
    if field_type == "DECIMAL":
        digits, scale = modifiers
        if not 0 <= scale <= digits <= _MAX_DECIMAL_DIGITS:
            yield f"a decimal of {modifiers} is not supported on every database"
    yield from _problems_of_default(field)
    if isinstance(field, peewee.ForeignKeyField):
        yield from _problems_of_reference(field, known_tables)


def _problems_of_default(field: peewee.Field) -> Iterator[str]:
    constraints = field_constraints(field)
    for sql in constraints.unsupported:
        yield (
            f"the constraint {sql!r} is not supported here; a field takes one DEFAULT "
            "of a literal or DefaultUtcNow(), a CHECK belongs to Meta.constraints"
        )
    if constraints.default_is_utc_now:
        if field.field_type != "DATETIME":
            yield "DefaultUtcNow() is for a DateTimeField"
        return
    default = constraints.default
    if default is None:
        return
    if not _LITERAL.fullmatch(default):
        yield (f"DEFAULT {default} is not supported; use a literal or DefaultUtcNow()")
        return
    is_boolean = default.strip().upper() in ("TRUE", "FALSE")
    if is_boolean != (field.field_type == "BOOL"):
        yield "TRUE and FALSE are the DEFAULT of a BooleanField"


def _problems_of_reference(
    field: peewee.ForeignKeyField, known_tables: set[str]
) -> Iterator[str]:
    key = declared_foreign_key(field)
    parent = field.rel_model.__name__
    if key.parent not in known_tables:
        yield f"it refers to {parent}, which the phase neither requires nor manages"
    if key.parent_columns not in declared_table(field.rel_model).unique_keys():
        yield f"it refers to {parent}.{field.rel_field.name}, which is not a key"
    if field.deferrable:
        yield "DEFERRABLE is not supported"
    for action in (key.on_delete, key.on_update):
        if action not in _SUPPORTED_ACTIONS:
            yield f"{action} is not supported on every database"
    if "SET NULL" in (key.on_delete, key.on_update) and not field.null:
        yield "SET NULL needs null=True"
