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
# By a family demanded of a table built upon, those that are as good.
_KIN = {"float": {"decimal", "integer"}, "decimal": {"float", "integer"}, "string": {"fixed string"},
        "fixed string": {"string"}}  # fmt: skip


def compare(schema: Schema, engine: Engine, upon: Upon) -> tuple[Difference, ...]:
    builds = [engine.declared(engine.models[name]) for name in engine.builds]
    found: list[Difference] = []
    for model, columns in upon.items():
        table = engine.declared(model)
        keys = {key.target for each in builds for key in each.foreign_keys if key.table == table.name}
        found += _upon(table, schema.get(table.name), columns, sorted(keys))
    for table in builds:
        found += _built(table, schema.get(table.name), engine)
    return tuple(found)


def _error(where: str, expected: object, actual: object, then: Operation | type[MigrationError]) -> Difference:
    """Return a difference that an operation mends, or that stops the run."""
    mended_by, stops = (None, then) if isinstance(then, type) else (then, None)
    expected, actual = str(expected), str(actual or "no type")
    message = f"{where}: expected {expected}, found {actual}"
    return Difference("error", where, expected, actual, message, mended_by, stops)


def _upon(
    expected: Table, table: Table | None, columns: Sequence[str], keys: Sequence[tuple[str, ...]]
) -> Iterator[Difference]:
    name = expected.name
    if table is None or table.kind not in ("table", "partitioned table"):
        found, case = (f"a {table.kind}", UnfitTables) if table else ("nothing", MissingTables)
        yield _error(name, "a table", found, case)
        return
    keys = keys or ([] if columns else [expected.primary_key])
    for column in dict.fromkeys([*columns, *(each for key in keys for each in key)]):
        there, family = table.columns.get(column), expected.columns[column].type.family
        if there is None:
            yield _error(f"{name}.{column}", family, "no such column", UnfitTables)
        elif there.type.family not in {family} | _KIN.get(family, set()):
            yield _error(f"{name}.{column}", family, there.type.text, UnfitTables)
    for key in keys:
        if table.columns.keys() >= {*key} and key not in table.unique_keys():
            yield _error(f"{name}.{', '.join(key)}", "a primary or unique key", "no key", UnfitTables)


def _built(expected: Table, table: Table | None, engine: Engine) -> Iterator[Difference]:
    name, counting = expected.name, {column.name for column in expected.columns.values() if column.automatic}
    own = expected.columns.keys() - counting  # any table may have a key that counts by itself
    if table is None:
        yield _error(name, "a table", "nothing", do.CreateTable(name))
    elif table.kind != "table":
        yield _error(name, "a table", f"a {table.kind}", Refused)
    elif own and own.isdisjoint(table.columns):
        yield _error(name, f"the columns of {name}", "a table of another purpose", Refused)
    else:
        table = table._replace(name=name)  # in our case, where names have none
        for column in expected.columns.values():
            yield from _column(name, column, table.columns.get(column.name), engine)
        yield from _primary_key(expected, table, counting)
        for index in expected.indexes:
            yield from _index(index, expected, table)
        for check in expected.checks:
            yield from _check(check, table)
        for foreign_key in expected.foreign_keys:
            yield from _foreign_key(foreign_key, table)
        yield from _extras(expected, table)


def _column(table: str, expected: Column, actual: Column | None, engine: Engine) -> Iterator[Difference]:
    where = f"{table}.{expected.name}"
    if actual is None:
        yield _error(where, expected.type.family, "no such column", do.AddColumn(table, expected))
        return

    def wrong(what: str, wanted: object, found: str) -> Difference:
        return _error(where, wanted, found, do.AlterColumn(table, expected, actual, frozenset({what})))

    if not actual.type.holds(expected.type) or actual.generated:
        wanted = expected.type if actual.type.family == expected.type.family else expected.type.family
        yield wrong("type", wanted, "a generated column" if actual.generated else actual.type.text)
    if expected.default is None:
        if not expected.automatic and expected.null != actual.null:
            words = ("NULL allowed", "NOT NULL")
            yield wrong("null", words[not expected.null], words[not actual.null])
        return
    # Either the database fills it in, or it is NOT NULL and forgetting it is an error: both are met.
    meaning = engine.default_meaning(expected.default)
    if actual.default is None and actual.null:
        yield wrong("default", f"a default of {meaning}", "no default, NULL allowed")
    elif actual.default is not None and engine.default_meaning(actual.default) != meaning:
        yield wrong("default", f"a default of {meaning}", f"DEFAULT {actual.default}")


def _primary_key(expected: Table, table: Table, counting: set[str]) -> Iterator[Difference]:
    key, count = expected.primary_key, not counting.isdisjoint(expected.primary_key)
    if count and key[0] not in table.columns:
        return  # the column that counts comes with its key
    if table.primary_key == key and (not count or table.columns[key[0]].automatic):
        return
    named = ", ".join(key)
    actual = f"PRIMARY KEY ({', '.join(table.primary_key)})" if table.primary_key else "no primary key"
    if table.primary_key == key:
        actual = f"{actual}, {table.columns[named].type.text} that does not count by itself"
    own = table.primary_key if {*key} - {*table.primary_key} else ()  # else the new one implies it
    words = f"{'an auto-increment ' * count}PRIMARY KEY ({named})"
    yield _error(f"{table.name}.{named}", words, actual, do.SetPrimaryKey(expected.name, key, count, own))


def _index(index: Index, expected: Table, table: Table) -> Iterator[Difference]:
    """An index of the right name must be right; one of another name may do its work."""
    where, named = f"{expected.name}.{index.name}", table.index_named(index.name)
    others = {each.name for each in expected.indexes} - {index.name}
    # A unique key must be one; another index must not be one under our name, but may be elsewhere.
    # An index under the name of another of ours is about to give way to that one.
    free = [each for each in table.indexes if each.full and each.name.lower() not in others]
    does_the_job = [each for each in free if each.columns == index.columns and (each.unique or not index.unique)]
    wrong = named and (named not in does_the_job or named.unique != index.unique)
    if wrong or not [each for each in does_the_job if index.unique or not each.constraint]:
        yield _error(where, index, named or "no such index", do.AddIndex(expected.name, index, named))
    elif not named and (other := does_the_job[0].name):  # SQLite keeps no name of a constraint
        yield Difference("warning", where, str(index), other, f"{other} does the work of {index.name}")


def _check(check: Check, table: Table) -> Iterator[Difference]:
    where, words = f"{table.name}.{check.name}", f"CHECK ({check.sql})"
    actual = next((each for each in table.checks if each.name.lower() == check.name.lower()), None)
    if actual is None or not actual.valid:
        found = f"CHECK ({actual.sql}), not validated" if actual else "no such CHECK"
        yield _error(where, words, found, do.AddCheck(table.name, actual or check))


def _foreign_key(expected: ForeignKey, table: Table) -> Iterator[Difference]:
    """A key of the same columns to another table is wrong only as long as the right one is missing."""
    where = f"{table.name}.{', '.join(expected.columns)}"
    there = [key for key in table.foreign_keys if key.columns == expected.columns]
    same = [key for key in there if (key.table, key.target) == (expected.table, expected.target)]
    wrong = tuple(key for key in same or there if key[:5] != expected[:5])  # whatever its name
    if wrong or not same:
        found = "; ".join(map(str, wrong)) or "no foreign key"
        yield _error(where, expected, found, do.AddForeignKey(table.name, expected, wrong))
        return
    for key in there:
        if not key.valid:
            yield _error(where, expected, key, do.AddForeignKey(table.name, key, (key,)))


def _extras(expected: Table, table: Table) -> Iterator[Difference]:
    """A user's own additions are welcome; two of them can stand in the way of an upload."""
    for name, column in table.columns.items():
        if name not in expected.columns and not column.optional:
            where = f"{expected.name}.{name}"
            text = f"every upload must give a value for the additional column {where}"
            yield Difference("warning", where, "NULL allowed or a default", "NOT NULL without a default", text)
    named, unique = {index.name for index in expected.indexes}, expected.unique_keys()
    for index in table.indexes:
        additional = index.unique and index.name.lower() not in named and index.columns not in unique
        if additional and {column.partition(" ")[0] for column in index.columns} <= expected.columns.keys():
            text = f"{index.name or index} refuses uploads that the specification allows"
            yield Difference("warning", f"{expected.name}.{index.name}", "no further unique key", str(index), text)
