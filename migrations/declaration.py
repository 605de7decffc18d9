"""What a model declares, as a `Table`, and whether a phase can take it.

    table = declared(Order, database, parse_type)

The types are those of the DDL that Peewee writes for the fields on that database, read as the catalogue's
are. What a phase cannot take is refused by name, when the phase is made: see `demand`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import peewee

from db.fields import UniqueKey, UtcNow
from migrations.report import UnfitModels
from migrations.schema import Check, Column, ForeignKey, Index, Table, Type

Model = type[peewee.Model]
_TYPES = {
    "AUTO", "BIGAUTO", "INT", "BIGINT", "SMALLINT", "VARCHAR", "CHAR", "TEXT", "BOOL", "DECIMAL", "FLOAT", "DOUBLE",
    "DATE", "TIME", "DATETIME", "UUID", "UUIDB", "BLOB", "JSON",
}  # fmt: skip
_ENDLESS = {"TEXT", "BLOB", "JSON"}  # MariaDB has no key of them, and PostgreSQL no equality of JSON
_ACTIONS = {None, "NO ACTION", "RESTRICT", "CASCADE", "SET NULL"}  # SET DEFAULT is none of InnoDB's
_META = ("schema", "table_settings", "strict_tables", "without_rowid", "temporary", "options", "extension_module")
_NAME = re.compile(r"[a-z_][a-z0-9_$]{0,62}")  # engines disagree about case; PostgreSQL cuts after 63
_CHECK = re.compile(r'CONSTRAINT\s+(["`]?)(\w+)\1\s+CHECK\s*\((.*)\)\s*', re.IGNORECASE | re.DOTALL)
_DEFAULT = re.compile(r"DEFAULT\s+(-?\d+(\.\d+)?|'([^']|'')*'|TRUE|FALSE)\s*", re.IGNORECASE)


def declared(model: Model, database: peewee.Database, parse_type: Callable[[str], Type]) -> Table:
    """Return the table that a model declares on a database.

    :param parse_type: the meaning of a type as that database writes it.
    """
    meta = model._meta
    fields = meta.sorted_fields
    columns = {field.column_name: _column(field, database, parse_type) for field in fields}
    primary_key = tuple(field.column_name for field in meta.get_primary_keys())
    keys = tuple(_foreign_key(field) for field in fields if isinstance(field, peewee.ForeignKeyField))
    checks = tuple(Check(*named) for each in meta.constraints or () if (named := named_check(each)))
    return Table(meta.table_name, "table", columns, primary_key, tuple(_indexes(model)), keys, checks)


def _column(field: peewee.Field, database: peewee.Database, parse_type: Callable[[str], Type]) -> Column:
    context = database.get_sql_context()
    text = context.sql(field.ddl_datatype(context)).query()[0]
    default = None
    for constraint in field.constraints or ():
        default = sql_of(constraint, database).partition(" ")[2]
    automatic = bool(field.auto_increment)
    return Column(field.column_name, parse_type(text), field.null, default, automatic)


def _foreign_key(field: peewee.ForeignKeyField) -> ForeignKey:
    name = field.get_constraint_name() if field.constraint_name else None
    target = (field.rel_field.column_name,)
    actions = (field.on_delete or "NO ACTION").upper(), (field.on_update or "NO ACTION").upper()
    return ForeignKey((field.column_name,), field.rel_model._meta.table_name, target, *actions, name)


def _indexes(model: Model) -> Iterator[Index]:
    for index in filter(_is_plain, model._meta.fields_to_index()):
        yield Index(index._name, tuple(field.column_name for field in index._expressions), bool(index._unique))
    for key in model._meta.constraints or ():
        if isinstance(key, UniqueKey):
            yield Index(key.name, key.columns, unique=True, constraint=True)


def _is_plain(index: peewee.Node) -> bool:
    """Whether an index is one of whole columns, for every row; another is refused."""
    parts = getattr(index, "_expressions", None) or [None]
    return all(isinstance(each, peewee.Field) for each in parts) and index._where is None and not index._using


def named_check(constraint: peewee.Node) -> tuple[str, str] | None:
    """Return the name and the condition of a named CHECK, None for another constraint."""
    found = _CHECK.fullmatch(sql_of(constraint)) if not isinstance(constraint, UniqueKey) else None
    return (found[2], found[3]) if found else None


def sql_of(node: peewee.Node, database: peewee.Database | None = None) -> str:
    """Return a node as SQL, with its values in it as it has them."""
    context = database.get_sql_context() if database else peewee.Context(quote='""')
    text: str = context.sql(node).query()[0]
    return text


# -- what a phase can take


def demand(upon: Mapping[Model, Iterable[str]], builds: Iterable[Model]) -> None:
    """Refuse by name what a phase cannot take.

    :raises UnfitModels: with one line for all of it.
    """
    built = list(builds)
    known = {model._meta.table_name for model in [*upon, *built]}
    found = [text for model, columns in upon.items() for text in _unknown(model, columns)]
    found += [f"{model.__name__} is both built and built upon" for model in built if model in upon]
    found += [text for model in built for text in _unfit(model, known)]
    names = [name for model in built for name in _names(model)]
    found += [f"the name {name} is given twice" for name in sorted({n for n in names if names.count(n) > 1})]
    if found:
        raise UnfitModels("; ".join(found))
    in_order(built)


def in_order(models: Iterable[Model]) -> list[Model]:
    """Return models so that each comes after those that it refers to.

    :raises UnfitModels: they refer to each other in a circle.
    """
    left = {model._meta.table_name: model for model in models}
    ordered: list[Model] = []
    while left:
        free = [name for name, model in left.items() if not (_parents(model) & left.keys()) - {name}]
        if not free:
            raise UnfitModels(f"{' and '.join(left)} refer to each other in a circle; leave one reference out")
        ordered.append(left.pop(free[0]))
    return ordered


def _parents(model: Model) -> set[str]:
    return {field.rel_model._meta.table_name for field in model._meta.refs}


def _names(model: Model) -> list[str]:
    """Return the names that a table gives: some of them no other may bear, on one engine or another."""
    meta = model._meta
    checks = [named[0] for each in meta.constraints or () if (named := named_check(each))]
    keys = [key.name for field in meta.refs if (key := _foreign_key(field)).name]
    return [meta.table_name, *(index.name for index in _indexes(model)), *checks, *keys]


def _unknown(model: Model, columns: Iterable[str]) -> Iterator[str]:
    for name in columns:
        if name not in model._meta.columns:
            yield f"{model.__name__} has no column {name}"


def _unfit(model: Model, known: set[str]) -> Iterator[str]:
    meta, name = model._meta, model.__name__
    for what in _META:
        if getattr(meta, what, None):
            yield f"{name}: Meta.{what} is not understood"
    for each in [*_names(model), *meta.columns]:
        if not _NAME.fullmatch(each):
            yield f"{name}: the name {each!r} is not of at most 63 lower-case letters, digits and _"
    for constraint in meta.constraints or ():
        if not isinstance(constraint, UniqueKey) and not named_check(constraint):
            yield f"{name}: the constraint {sql_of(constraint)!r} is neither a UniqueKey nor a named CHECK"
    for index in meta.fields_to_index():
        if not _is_plain(index):
            yield f"{name}: the index {getattr(index, '_name', sql_of(index))} is not one of plain columns"
    yield from (f"{name}: {text}" for text in _unfit_keys(model))
    for field in meta.sorted_fields:
        yield from (f"{name}.{field.name}: {text}" for text in _unfit_field(field))
        if isinstance(field, peewee.ForeignKeyField):
            yield from (f"{name}.{field.name}: {text}" for text in _unfit_reference(field, known))


def _unfit_keys(model: Model) -> Iterator[str]:
    meta = model._meta
    primary_key = [field.column_name for field in meta.get_primary_keys()]
    if not meta.primary_key:
        yield "it has no primary key"
    yield from (f"{each} is in the primary key and may be NULL" for each in primary_key if meta.columns[each].null)
    for name, columns in [("the primary key", primary_key), *((each.name, each.columns) for each in _indexes(model))]:
        if meta.primary_key and not columns:
            yield f"{name} has no columns"
        for column in columns:
            if column not in meta.columns:
                yield f"{name} has no column {column}"
            elif meta.columns[column].field_type in _ENDLESS:
                yield f"{name} cannot be of {column}: no key of every engine is of a {meta.columns[column].field_type}"


def _unfit_field(field: peewee.Field) -> Iterator[str]:
    if field.field_type not in _TYPES:
        yield f"a {type(field).__name__} is not a type of every engine"
    for what in ("collation", "sequence", "unindexed"):
        if getattr(field, what, None):
            yield f"{what} is not understood"
    if field.field_type in ("VARCHAR", "CHAR") and not field.get_modifiers():
        yield "it needs a length"
    if field.field_type == "DECIMAL" and not 0 <= field.get_modifiers()[1] <= field.get_modifiers()[0] <= 65:
        yield f"a decimal of {field.get_modifiers()} is not a type of every engine"
    for constraint in field.constraints or ():
        if not isinstance(constraint, UtcNow) and not _DEFAULT.fullmatch(sql_of(constraint)):
            yield f"{sql_of(constraint)!r} is no DEFAULT of a literal or UtcNow()"
        elif isinstance(constraint, UtcNow) and field.field_type != "DATETIME":
            yield "UtcNow() is for a DateTimeField"
    if len(field.constraints or ()) > 1:
        yield "it has more than one DEFAULT"


def _unfit_reference(field: peewee.ForeignKeyField, known: set[str]) -> Iterator[str]:
    parent, target = field.rel_model, field.rel_field
    if parent._meta.table_name not in known:
        yield f"it refers to {parent.__name__}, which the phase neither builds nor builds upon"
    keys = [tuple(field.column_name for field in parent._meta.get_primary_keys())]
    keys += [index.columns for index in _indexes(parent) if index.unique]
    if (target.column_name,) not in keys:
        yield f"it refers to {parent.__name__}.{target.name}, which is no key"
    if field.deferrable:
        yield "DEFERRABLE is not understood"
    for action in (field.on_delete, field.on_update):
        if (action.upper() if action else None) not in _ACTIONS:
            yield f"{action} is not an action of every engine"
        elif action and action.upper() == "SET NULL" and not field.null:
            yield "SET NULL needs null=True"
