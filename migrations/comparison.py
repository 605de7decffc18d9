"""The comparison: what the models declare against what the database says of itself.

    differences = compare(engine.read(), engine, upon)

It reads nothing and changes nothing. An empty list of errors is the only proof of success. The tables
that a phase builds upon are judged leniently (they are validated, never changed), those that it builds
to the letter. Each error names the operation that mends it.

`playhouse.schema_diff` compares names of columns and columns of indexes; it is silent on types,
nullability, defaults and foreign keys, which is where a deployed table goes wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from migrations import operations as do
from migrations.declaration import Model
from migrations.engines.base import Engine
from migrations.operations import Operation
from migrations.report import Difference, MigrationError, MissingTables, Refused, UnfitTables
from migrations.schema import Check, Column, ForeignKey, Index, Schema, Table

Upon = Mapping[Model, Sequence[str]]  # the models that must be there, and the columns demanded of each
_KIN = {("float", "decimal"), ("float", "integer"), ("decimal", "float"), ("decimal", "integer"),
        ("string", "fixed string"), ("fixed string", "string")}  # a table built upon: a number is a number  # fmt: skip


def compare(schema: Schema, engine: Engine, upon: Upon) -> tuple[Difference, ...]:
    """Return every difference, errors and warnings, the tables built upon first."""
    found: list[Difference] = []
    for model, columns in upon.items():
        found += _upon(engine.declared(model), columns, schema, engine)
    for name in engine.builds:
        found += _built(engine.declared(engine.models[name]), schema.get(name), engine)
    return tuple(found)


def _error(
    object: str, expected: object, actual: object, mended_by: Operation | None = None,
    stops: type[MigrationError] | None = None,
) -> Difference:  # fmt: skip
    message = f"{object}: expected {expected}, found {actual or 'no type'}"
    return Difference("error", object, str(expected), str(actual or "no type"), message, mended_by, stops)


def _warning(object: str, expected: str, actual: str, message: str) -> Difference:
    return Difference("warning", object, expected, actual, message)


# -- what a phase builds upon


def _upon(expected: Table, columns: Sequence[str], schema: Schema, engine: Engine) -> Iterator[Difference]:
    name, table = expected.name, schema.get(expected.name)
    if table is None:
        yield _error(name, "a table", "nothing", stops=MissingTables)
        return
    if table.kind not in ("table", "partitioned table"):
        yield _error(name, "a table", f"a {table.kind}", stops=UnfitTables)
        return
    keys = _demanded_keys(name, engine) or ([] if columns else [expected.primary_key])
    for column in dict.fromkeys([*columns, *(each for key in keys for each in key)]):
        there, type_ = table.columns.get(column), expected.columns[column].type
        if there is None:
            yield _error(f"{name}.{column}", type_.family, "no such column", stops=UnfitTables)
        elif there.type.family != type_.family and (type_.family, there.type.family) not in _KIN:
            yield _error(f"{name}.{column}", type_.family, there.type.text, stops=UnfitTables)
    for key in keys:
        if table.columns.keys() >= {*key} and not table.is_unique(key):
            yield _error(f"{name}.{', '.join(key)}", "a primary or unique key", "no key", stops=UnfitTables)


def _demanded_keys(name: str, engine: Engine) -> list[tuple[str, ...]]:
    """Return the keys of a table that the built ones refer to."""
    tables = [engine.declared(engine.models[each]) for each in engine.builds]
    return list(dict.fromkeys(key.target for table in tables for key in table.foreign_keys if key.table == name))


# -- what it builds


def _built(expected: Table, table: Table | None, engine: Engine) -> Iterator[Difference]:
    name = expected.name
    if table is None:
        yield _error(name, "a table", "nothing", do.CreateTable(name))
    elif table.kind != "table":
        yield _error(name, "a table", f"a {table.kind}", stops=Refused)
    elif not _is_ours(expected, table):
        yield _error(name, f"the columns of {name}", "a table of another purpose", stops=Refused)
    else:
        table = table._replace(name=name)  # in our case, where names have none
        for column in expected.columns.values():
            yield from _column(name, column, table.columns.get(column.name), engine)
        yield from _primary_key(expected, table)
        for index in expected.indexes:
            yield from _index(index, expected, table)
        for check in expected.checks:
            yield from _check(check, table)
        for foreign_key in expected.foreign_keys:
            yield from _foreign_key(foreign_key, table)
        yield from _extras(expected, table)


def _is_ours(expected: Table, table: Table) -> bool:
    """Whether a table has any of our columns but the one that counts by itself, which every table may have."""
    counting = {column.name for column in expected.columns.values() if column.automatic}
    return bool(table.columns.keys() & expected.columns.keys() - counting) or expected.columns.keys() == counting


def _column(table: str, expected: Column, actual: Column | None, engine: Engine) -> Iterator[Difference]:
    where = f"{table}.{expected.name}"
    if actual is None:
        yield _error(where, expected.type.family, "no such column", do.AddColumn(table, expected, expected.automatic))
        return

    def altered(what: str) -> do.AlterColumn:
        return do.AlterColumn(table, expected, actual, frozenset({what}))

    if not actual.type.holds(expected.type) or actual.generated:
        narrow = expected.type if actual.type.family == expected.type.family else expected.type.family
        kind = "a generated column" if actual.generated else actual.type.text
        yield _error(where, narrow, kind, altered("type"))
    if expected.default is not None:
        yield from _default(where, expected, actual, engine, altered("default"))
    elif not expected.automatic and expected.null != actual.null:
        words = ("NULL allowed", "NOT NULL")
        yield _error(where, words[not expected.null], words[not actual.null], altered("null"))


def _default(
    where: str, expected: Column, actual: Column, engine: Engine, mended_by: do.AlterColumn
) -> Iterator[Difference]:
    """Either the database fills it in, or it is NOT NULL and forgetting it is an error: both are met."""
    wanted = engine.default_meaning(expected.default or "")
    if actual.default is None:
        if actual.null:
            yield _error(where, f"a default of {wanted}", "no default, NULL allowed", mended_by)
    elif engine.default_meaning(actual.default) != wanted:
        yield _error(where, f"a default of {wanted}", f"DEFAULT {actual.default}", mended_by)


def _primary_key(expected: Table, table: Table) -> Iterator[Difference]:
    key = expected.primary_key
    counting = any(expected.columns[name].automatic for name in key)
    if not table.columns.keys() >= {*key} and counting:
        return  # the column that counts comes with its key
    if table.primary_key == key and (not counting or all(table.columns[name].automatic for name in key)):
        return
    named = ", ".join(key)
    actual = f"PRIMARY KEY ({', '.join(table.primary_key)})" if table.primary_key else "no primary key"
    if table.primary_key == key:
        actual = f"{actual}, {table.columns[named].type.text} that does not count by itself"
    own = table.primary_key if {*key} - {*table.primary_key} else ()  # else the new one implies it
    words = f"{'an auto-increment ' if counting else ''}PRIMARY KEY ({named})"
    yield _error(f"{table.name}.{named}", words, actual, do.SetPrimaryKey(expected.name, key, counting, own))


def _index(index: Index, expected: Table, table: Table) -> Iterator[Difference]:
    """An index of the right name must be right; one of another name may do its work."""
    where, named = f"{expected.name}.{index.name}", table.index_named(index.name)
    others = {each.name for each in expected.indexes} - {index.name}
    # A unique key must be one; another index must not be one under our name, but may be elsewhere.
    # An index under the name of another of ours is about to give way to that one.
    does_the_job = [
        each
        for each in table.indexes
        if each.columns == index.columns and not each.partial and each.valid
        and (each.unique or not index.unique) and each.name.lower() not in others
    ]  # fmt: skip
    if named in does_the_job and named is not None and named.unique == index.unique:
        return
    if named:
        yield _error(where, index, named, do.AddIndex(expected.name, index, named))
    elif not [each for each in does_the_job if index.unique or not each.constraint]:
        yield _error(where, index, "no such index", do.AddIndex(expected.name, index))
    elif does_the_job[0].name:  # SQLite keeps no name of a constraint
        other = does_the_job[0].name
        yield _warning(where, str(index), other, f"{other} does the work of {index.name}")


def _check(check: Check, table: Table) -> Iterator[Difference]:
    where, words = f"{table.name}.{check.name}", f"CHECK ({check.sql})"
    actual = next((each for each in table.checks if each.name.lower() == check.name.lower()), None)
    if actual is None:
        yield _error(where, words, "no such CHECK", do.AddCheck(table.name, check))
    elif not actual.valid:
        yield _error(where, words, f"CHECK ({actual.sql}), not validated", do.ValidateCheck(table.name, actual))


def _foreign_key(expected: ForeignKey, table: Table) -> Iterator[Difference]:
    where, wrong = f"{table.name}.{', '.join(expected.columns)}", table.wrong_keys(expected)
    if wrong is not None:
        actual = "; ".join(map(str, wrong)) or "no foreign key"
        yield _error(where, expected, actual, do.AddForeignKey(table.name, expected, wrong))
        return
    for key in table.foreign_keys:
        if key.columns == expected.columns and not key.valid:
            yield _error(where, expected, key, do.ValidateForeignKey(table.name, key))


def _extras(expected: Table, table: Table) -> Iterator[Difference]:
    """A user's own additions are welcome; two of them can stand in the way of an upload."""
    for name, column in table.columns.items():
        if name not in expected.columns and not column.optional:
            yield _warning(
                f"{expected.name}.{name}", "NULL allowed or a default", "NOT NULL without a default",
                f"every upload must give a value for the additional column {expected.name}.{name}",
            )  # fmt: skip
    named, unique = {index.name for index in expected.indexes}, expected.unique_keys()
    for index in table.indexes:
        additional = index.unique and index.name.lower() not in named and index.columns not in unique
        if additional and {column.partition(" ")[0] for column in index.columns} <= expected.columns.keys():
            yield _warning(
                f"{expected.name}.{index.name}", "no further unique key", str(index),
                f"{index.name or index} refuses uploads that the specification allows",
            )  # fmt: skip
