"""What a model declares, as a `Table`, and whether a phase can take it.

    table = declared(Order, database, parse_type)

The types are those of the DDL that Peewee writes for the fields on that database, read as the catalogue's
are. What a phase cannot take is refused by name, when the phase is made: see `demand`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import filterfalse

import peewee

from db.fields import DefaultUtcNow, UniqueConstraint
from migrations.report import UnfitModels
from migrations.schema import Check, Column, ForeignKey, Index, Table, Type

Model = type[peewee.Model]
_TYPES = {
    "AUTO", "BIGAUTO", "INT", "BIGINT", "SMALLINT", "VARCHAR", "CHAR", "TEXT", "BOOL", "DECIMAL", "FLOAT", "DOUBLE",
    "DATE", "TIME", "DATETIME", "UUID", "UUIDB", "BLOB", "JSON",
}  # fmt: skip
_ENDLESS = {"TEXT", "BLOB", "JSON"}  # MariaDB has no key of them, and PostgreSQL no equality of JSON
_ACTIONS = {"NO ACTION", "RESTRICT", "CASCADE", "SET NULL"}  # SET DEFAULT is none of InnoDB's
_FIELD = ("collation", "sequence", "unindexed")
_META = ("schema", "table_settings", "strict_tables", "without_rowid", "temporary", "options", "extension_module")
_NAME = re.compile(r"[a-z_][a-z0-9_$]{0,62}")  # engines disagree about case; PostgreSQL cuts after 63
_CHECK = re.compile(r'CONSTRAINT\s+(["`]?)(\w+)\1\s+CHECK\s*\((.*)\)\s*', re.IGNORECASE | re.DOTALL)
_DEFAULT = re.compile(r"DEFAULT\s+(-?\d+(\.\d+)?|'([^']|'')*'|(?P<truth>TRUE|FALSE))\s*", re.IGNORECASE)
_NOWHERE = peewee.Database(None)  # for what is declared on every database alike


def declared(
    model: Model, database: peewee.Database = _NOWHERE, parse_type: Callable[[str], Type] = lambda text: Type(text, "")
) -> Table:
    """Return the table that a model declares on a database.

    :param parse_type: the meaning of a type as that database writes it.
    """
    meta = model._meta
    constraints = meta.constraints or ()
    columns = {}
    for field in meta.sorted_fields:
        type_ = parse_type(_sql(field.ddl_datatype(database.get_sql_context()), database))
        default = next((_sql(each, database).partition(" ")[2] for each in field.constraints or ()), None)
        columns[field.column_name] = Column(field.column_name, type_, field.null, default, bool(field.auto_increment))
    primary_key = tuple(field.column_name for field in meta.get_primary_keys())
    indexes = [
        Index(index._name, tuple(field.column_name for field in index._expressions), bool(index._unique))
        for index in filter(_is_plain, meta.fields_to_index())
    ]
    unique = [
        Index(key.name, key.columns, True, constraint=True) for key in constraints if isinstance(key, UniqueConstraint)
    ]
    keys = [_foreign_key(field) for field in meta.sorted_fields if isinstance(field, peewee.ForeignKeyField)]
    checks = [Check(found[2], found[3]) for each in constraints if (found := _CHECK.fullmatch(_sql(each)))]
    return Table(meta.table_name, "table", columns, primary_key, (*indexes, *unique), tuple(keys), tuple(checks))


def _foreign_key(field: peewee.ForeignKeyField) -> ForeignKey:
    parent, target = field.rel_model._meta.table_name, (field.rel_field.column_name,)
    actions = (field.on_delete or "NO ACTION").upper(), (field.on_update or "NO ACTION").upper()
    return ForeignKey((field.column_name,), parent, target, *actions, field.constraint_name or None)


def _is_plain(index: peewee.Node) -> bool:
    """Whether an index is one of whole columns, for every row; another is refused."""
    parts = getattr(index, "_expressions", None) or [None]
    return all(isinstance(each, peewee.Field) for each in parts) and index._where is None and not index._using


def _sql(node: peewee.Node, database: peewee.Database = _NOWHERE) -> str:
    """Return a node as SQL, with its values in it as it has them."""
    text: str = database.get_sql_context().sql(node).query()[0]
    return text


def demand(upon: Mapping[Model, Iterable[str]], builds: Iterable[Model]) -> None:
    """Refuse by name what a phase cannot take.

    :raises UnfitModels: with one line for all of it.
    """
    built = list(builds)
    known = {model._meta.table_name for model in [*upon, *built]}
    names = [name for model in built for name in _names(declared(model))]
    found = [f"{model.__name__} is both built and built upon" for model in built if model in upon]
    for model, columns in upon.items():
        if isinstance(columns, str):
            found.append(f"{model.__name__} is built upon with {columns!r}; write ({columns!r},)")
            continue
        found += [f"{model.__name__} has no column {name}" for name in columns if name not in model._meta.columns]
    found += [f"{model.__name__}{text}" for model in built for text in _unfit(model, declared(model), known)]
    found += [f"the name {name} is given twice" for name in sorted({*names}) if names.count(name) > 1]
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
        for name, model in left.items():
            if not {field.rel_model._meta.table_name for field in model._meta.refs} & left.keys() - {name}:
                break
        else:
            raise UnfitModels(f"{' and '.join(left)} refer to each other in a circle; leave one reference out")
        ordered.append(left.pop(name))
    return ordered


def _names(table: Table) -> list[str]:
    """Return the names that a table gives: some of them no other may bear, on one engine or another."""
    keys = [key.name for key in table.foreign_keys if key.name]
    return [table.name, *(index.name for index in table.indexes), *(check.name for check in table.checks), *keys]


def _unfit(model: Model, table: Table, known: set[str]) -> Iterator[str]:
    meta = model._meta
    yield from (f": Meta.{what} is not understood" for what in _META if getattr(meta, what, None))
    for name in [*_names(table), *table.columns]:
        if not _NAME.fullmatch(name):
            yield f": the name {name!r} is not of at most 63 lower-case letters, digits and _"
    for each in meta.constraints or ():
        if not isinstance(each, UniqueConstraint) and not _CHECK.fullmatch(_sql(each)):
            yield f": the constraint {_sql(each)!r} is neither a UniqueConstraint nor a named CHECK"
    for index in filterfalse(_is_plain, meta.fields_to_index()):
        yield f": the index {getattr(index, '_name', _sql(index))} is not one of plain columns"
    if not meta.primary_key:
        yield ": it has no primary key"
    for name in filter(lambda name: table.columns[name].null, table.primary_key):
        yield f": {name} is in the primary key and may be NULL"
    keys = [("the primary key", table.primary_key)] if meta.primary_key else []
    for what, columns in [*keys, *((index.name, index.columns) for index in table.indexes)]:
        if not columns:
            yield f": {what} has no columns"
        for name in columns:
            if name not in table.columns:
                yield f": {what} has no column {name}"
            elif (kind := meta.columns[name].field_type) in _ENDLESS:
                yield f": {what} cannot be of {name}: no key of every engine is of a {kind}"
    for field in meta.sorted_fields:
        refusals = _of_field(field) | (_of_reference(field, known) if field in meta.refs else {})
        yield from (f".{field.name}: {text}" for text, holds in refusals.items() if holds)


def _of_field(field: peewee.Field) -> dict[str, bool]:
    """Return what may be wrong with a field, and whether it is."""
    kind, size, constraints = field.field_type, field.get_modifiers(), field.constraints or ()
    defaults = [_sql(each) for each in constraints if not isinstance(each, DefaultUtcNow)]
    return {
        f"a {type(field).__name__} is not a type of every engine": kind not in _TYPES,
        **{f"{what} is not understood": bool(getattr(field, what, None)) for what in _FIELD},
        "it needs a length": kind in ("VARCHAR", "CHAR") and not size,
        f"a decimal of {size} is not a type of every engine": kind == "DECIMAL" and not 0 <= size[1] <= size[0] <= 65,
        f"{' '.join(defaults)!r} is no DEFAULT of a literal or DefaultUtcNow()": not all(
            map(_DEFAULT.fullmatch, defaults)
        ),
        "TRUE and FALSE are the DEFAULT of a BooleanField": any(
            (kind == "BOOL") != bool(found["truth"]) for each in defaults if (found := _DEFAULT.fullmatch(each))
        ),
        "DefaultUtcNow() is for a DateTimeField": len(defaults) < len(constraints) and kind != "DATETIME",
        "it has more than one DEFAULT": len(constraints) > 1,
    }


def _of_reference(field: peewee.ForeignKeyField, known: set[str]) -> dict[str, bool]:
    """Return what may be wrong with a foreign key, and whether it is."""
    key, parent = _foreign_key(field), field.rel_model.__name__
    keys = declared(field.rel_model).unique_keys()
    wrong = [action for action in (field.on_delete, field.on_update) if action and action.upper() not in _ACTIONS]
    return {
        f"it refers to {parent}, which the phase neither builds nor builds upon": key.table not in known,
        f"it refers to {parent}.{field.rel_field.name}, which is no key": key.target not in keys,
        "DEFERRABLE is not understood": bool(field.deferrable),
        f"{' and '.join(wrong)} is not an action of every engine": bool(wrong),
        "SET NULL needs null=True": "SET NULL" in (key.on_delete, key.on_update) and not field.null,
    }
