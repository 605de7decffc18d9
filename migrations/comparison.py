"""The comparison: what the models declare against what the database says of itself.

    differences = compare(engine.read(), engine)

It reads nothing and changes nothing. An empty list of errors is the only proof of success. The
tables that `weekly_actuals` builds upon are judged leniently (`historical_sales`, `stores`,
`categories`, `workflows`: they are validated, never changed), `weekly_actuals` to the letter.

`playhouse.schema_diff` compares names of columns and columns of indexes; it is silent on types,
nullability, defaults and foreign keys, which is where a deployed table goes wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

from db.models import Category, HistoricalSales, Store, WeeklyActuals, Workflow
from migrations.engines.base import TABLE, Engine
from migrations.report import Difference
from migrations.schema import Column, ForeignKey, Index, Schema, Table, declared

# Base table -> its model, and how many of the model's leading columns must be there.
_BASE = {
    "historical_sales": (HistoricalSales, 5),
    "stores": (Store, 9),
    "categories": (Category, 1),
    "workflows": (Workflow, 1),
}

_KIN = {("float", "decimal"), ("float", "integer")}  # a base table's number is a number


def compare(schema: Schema, engine: Engine) -> tuple[Difference, ...]:
    """Return every difference, errors and warnings, base tables first."""
    found = [each for name in _BASE for each in _base_table(schema.get(name), name, engine)]
    return tuple(found + list(_weekly_actuals(schema.get(TABLE), engine)))


def _error(object: str, expected: str, actual: str, kind: str, name: str = "") -> Difference:
    actual = actual or "no type"
    message = f"{object}: expected {expected}, found {actual}"
    return Difference("error", object, expected, actual, message, kind, name)


def _warning(object: str, expected: str, actual: str, message: str) -> Difference:
    return Difference("warning", object, expected, actual, message)


def _base_table(table: Table | None, name: str, engine: Engine) -> Iterator[Difference]:
    if table is None:
        yield _error(name, "a table", "nothing", "missing_base", name)
        return
    if table.kind != "table":
        yield _error(name, "a table", f"a {table.kind}", "unfit_base", name)
        return
    model, required = _BASE[name]
    columns = declared(model).columns
    demanded = list(columns)[:required]
    for key in demanded:
        there, family = table.columns.get(key), columns[key].family
        if there is None:
            yield _error(f"{name}.{key}", family, "no such column", "unfit_base", name)
        elif there.family != family and (family, there.family) not in _KIN:
            yield _error(f"{name}.{key}", family, there.type, "unfit_base", name)
    for key in sorted(columns.keys() - table.columns.keys() - {*demanded}):
        message = f"{name} has no column {key}; nothing here needs it"
        yield _warning(f"{name}.{key}", columns[key].family, "no such column", message)
    for foreign_key in declared(WeeklyActuals).foreign_keys:
        (key,) = foreign_key.target
        if foreign_key.table == name and key in table.columns and not table.is_unique(key):
            yield _error(f"{name}.{key}", "a primary or unique key", "no key", "unfit_base", name)


def _weekly_actuals(table: Table | None, engine: Engine) -> Iterator[Difference]:
    if table is None:
        yield _error(TABLE, "a table", "nothing", "missing_table")
        return
    expected = declared(WeeklyActuals)
    if table.kind != "table":
        yield _error(TABLE, "a table", f"a {table.kind}", "refuse")
    elif table.name != TABLE:
        yield _error(TABLE, f"the name {TABLE}", f"the name {table.name}", "refuse")
    elif not (table.columns.keys() & expected.columns.keys()) - {"id"}:
        yield _error(TABLE, "the columns of weekly actuals", "a table of another purpose", "refuse")
    else:
        for column in expected.columns.values():
            yield from _column(column, table.columns.get(column.name), engine)
        yield from _primary_key(expected, table)
        for index in expected.indexes:
            yield from _index(index, table)
        for foreign_key in expected.foreign_keys:
            yield from _foreign_key(foreign_key, table)
        yield from _extras(expected, table)


def _column(expected: Column, actual: Column | None, engine: Engine) -> Iterator[Difference]:
    where, name = f"{TABLE}.{expected.name}", expected.name
    if actual is None:
        yield _error(where, expected.family, "no such column", "missing_column", name)
        return
    narrow = actual.size is not None and expected.size is not None and actual.size < expected.size
    if actual.family != expected.family or narrow or actual.generated:
        kind = "a generated column" if actual.generated else actual.type
        yield _error(where, f"{expected.family}{f' of {expected.size}' if narrow else ''}", kind, "type", name)
    if name == "uploaded_at":
        yield from _uploaded_at(where, actual, engine)
    elif name != "id" and expected.null != actual.null:
        words = ("NULL allowed", "NOT NULL")
        kind = "not_null" if expected.null else "null"
        yield _error(where, words[not expected.null], words[not actual.null], kind, name)


def _uploaded_at(where: str, actual: Column, engine: Engine) -> Iterator[Difference]:
    """Either the database fills it in, or it is NOT NULL and forgetting it is an error: both are met."""
    if actual.default is None:
        if actual.null:
            yield _error(where, "a default of now in UTC", "no default, NULL allowed", "default", actual.name)
    elif not engine.is_utc_now(actual.default):
        yield _error(where, "a default of now in UTC", f"DEFAULT {actual.default}", "default", actual.name)


def _primary_key(expected: Table, table: Table) -> Iterator[Difference]:
    key = table.columns.get("id")
    if key and (table.primary_key != expected.primary_key or not key.automatic):
        columns = ", ".join(table.primary_key)
        actual = "no primary key" if not columns else f"PRIMARY KEY ({columns})"
        if table.primary_key == expected.primary_key:
            actual = f"{actual}, {key.type} that does not count by itself"
        yield _error(f"{TABLE}.id", "an auto-increment PRIMARY KEY (id)", actual, "primary_key", "id")


def _index(expected: Index, table: Table) -> Iterator[Difference]:
    """An index of the right name must be right; one of another name may do its work."""
    where = f"{TABLE}.{expected.name}"
    wanted = _words(expected)
    named = next((index for index in table.indexes if index.name.lower() == expected.name), None)
    others = {index.name for index in declared(WeeklyActuals).indexes} - {expected.name}
    # A unique key must be one; another index must not be one under our name, but may be elsewhere.
    # An index under the name of another of ours is about to give way to that one.
    does_the_job = [
        index
        for index in table.indexes
        if index.columns == expected.columns and not index.partial and index.valid
        and (index.unique or not expected.unique) and index.name.lower() not in others
    ]  # fmt: skip
    if named in does_the_job and named.unique == expected.unique:
        return
    kind = "unique" if expected.unique else "index"
    if named:
        yield _error(where, wanted, _words(named), kind, expected.name)
    elif not [index for index in does_the_job if expected.unique or not index.constraint]:
        yield _error(where, wanted, "no such index", kind, expected.name)
    elif does_the_job[0].name:  # SQLite keeps no name of a constraint
        other = does_the_job[0].name
        yield _warning(where, wanted, other, f"{other} does the work of {expected.name}")


def _words(index: Index) -> str:
    marks = [
        word for word, on in (("UNIQUE", index.unique), ("partial", index.partial), ("INVALID", not index.valid)) if on
    ]
    return " ".join([*marks, f"({', '.join(index.columns)})"])


def _foreign_key(expected: ForeignKey, table: Table) -> Iterator[Difference]:
    (column,) = expected.columns
    wrong = table.wrong_keys(expected)
    if wrong is None:
        wrong = tuple(key for key in table.foreign_keys if key.columns == expected.columns and not key.valid)
        if not wrong:
            return
    actual = "; ".join(_reference(key) for key in wrong) or "no foreign key"
    yield _error(f"{TABLE}.{column}", _reference(expected), actual, "foreign_key", column)


def _reference(key: ForeignKey) -> str:
    unchecked = "" if key.valid else ", not validated"
    return f"REFERENCES {key.table} ({', '.join(key.target)}) ON DELETE {key.on_delete}{unchecked}"


def _extras(expected: Table, table: Table) -> Iterator[Difference]:
    """A user's own additions are welcome; two of them can stand in the way of an upload."""
    for name, column in table.columns.items():
        if name not in expected.columns and not column.optional:
            yield _warning(
                f"{TABLE}.{name}", "NULL allowed or a default", "NOT NULL without a default",
                f"every upload must give a value for the additional column {name}",
            )  # fmt: skip
    named = {index.name for index in expected.indexes}
    unique = [index.columns for index in expected.indexes if index.unique] + [expected.primary_key]
    for index in table.indexes:
        additional = index.unique and index.name.lower() not in named and index.columns not in unique
        if additional and {column.partition(" ")[0] for column in index.columns} <= expected.columns.keys():
            yield _warning(
                f"{TABLE}.{index.name}", "no further unique key", _words(index),
                f"{index.name or _words(index)} refuses uploads that the specification allows",
            )  # fmt: skip
