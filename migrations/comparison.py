"""The comparison: what the models declare against what the database has.

    differences = compare(schema, engine.catalog, requires)

It changes nothing, and reads at most how the database writes a condition or a default.
A run succeeded if a second comparison finds no error. Required tables are compared
loosely, as they are validated but never changed; managed tables are compared strictly.
Each error either names the operation that repairs it, or the exception that stops the
run.

`playhouse.schema_diff` compares names of columns and the columns of indexes. It does
not look at types, nullability, defaults and foreign keys.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from migrations import operations as do
from migrations.declaration import Model
from migrations.drops import without_dropped, without_left_guards
from migrations.engines.catalog import Catalog
from migrations.errors import (
    ChangeRefused,
    IncompatibleTables,
    MissingTables,
)
from migrations.report import Difference, fatal, note, repairable
from migrations.schema import (
    NULLS_NOT_DISTINCT,
    Check,
    Column,
    ForeignKey,
    Index,
    Schema,
    Table,
)
from migrations.undeclared import undeclared_objects

# The required models, each with the columns that the phase relies on.
Requires = Mapping[Model, Sequence[str]]

# For a required column: each type category that is accepted in place of it.
_COMPATIBLE_CATEGORIES = {
    "float": {"decimal", "integer"},
    "decimal": {"float", "integer"},
    "string": {"fixed string"},
    "fixed string": {"string"},
}


def compare(
    schema: Schema, catalog: Catalog, requires: Requires
) -> tuple[Difference, ...]:
    """Return the differences between the models and a schema.

    What is to be renamed is one difference; everything else is compared as if it had
    its new name.

    :param schema: the tables of the phase, as they are or as they will be.
    :param requires: the required models; {} leaves their tables out.
    """
    managed = [catalog.declared_by_name(name) for name in catalog.models.managed]
    schema, renames = catalog.under_new_names(schema)
    found = list(renames)
    for model, columns in requires.items():
        table = catalog.declared(model)
        keys = _referenced_keys(table.name, managed)
        found += _compare_required(table, schema.get(table.name), columns, keys)
    for table in managed:
        found += _compare_managed(table, schema.get(table.name), catalog)
    return tuple(found)


def errors_of(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences that are errors."""
    return [each for each in differences if each.severity == "error"]


# -- required tables


def _referenced_keys(parent: str, managed: Sequence[Table]) -> list[tuple[str, ...]]:
    """Return the keys of a table that managed tables refer to."""
    keys = set()
    for table in managed:
        for key in table.foreign_keys:
            if key.parent == parent:
                keys.add(key.parent_columns)
    return sorted(keys)


def _compare_required(
    expected: Table,
    actual: Table | None,
    columns: Sequence[str],
    keys: Sequence[tuple[str, ...]],
) -> Iterator[Difference]:
    name = expected.name
    if actual is None:
        yield fatal(name, "a table", "nothing", MissingTables)
        return
    if actual.kind not in ("table", "partitioned table"):
        yield fatal(name, "a table", f"a {actual.kind}", IncompatibleTables)
        return
    if not keys and not columns and expected.primary_key:
        keys = [expected.primary_key]
    names = list(columns)
    for key in keys:
        names += key
    for column in dict.fromkeys(names):
        yield from _compare_required_column(expected, actual, column)
    for key in keys:
        exists = actual.columns.keys() >= set(key)
        if exists and key not in actual.unique_keys():
            where = f"{name}.{', '.join(key)}"
            expected_key = "a primary or unique key"
            yield fatal(where, expected_key, "no key", IncompatibleTables)


def _compare_required_column(
    expected: Table, actual: Table, column: str
) -> Iterator[Difference]:
    where = f"{expected.name}.{column}"
    key = expected.names.key(column)
    category = expected.columns[key].type.category
    existing = actual.columns.get(key)
    if existing is None:
        yield fatal(where, category, "no such column", IncompatibleTables)
        return
    accepted = {category} | _COMPATIBLE_CATEGORIES.get(category, set())
    if existing.type.category not in accepted:
        actual_type = existing.type.text or "no type"
        yield fatal(where, category, actual_type, IncompatibleTables)


# -- managed tables


def _compare_managed(
    expected: Table, actual: Table | None, catalog: Catalog
) -> Iterator[Difference]:
    name = expected.name
    if actual is None:
        yield repairable(name, "a table", "nothing", do.CreateTable(name, expected))
        return
    if actual.kind != expected.kind:
        wanted, found = f"a {expected.kind}", f"a {actual.kind}"
        yield fatal(name, wanted, found, ChangeRefused)
        return
    if _is_unrelated(expected, actual):
        found = "an unrelated table with that name"
        yield fatal(name, f"the columns of {name}", found, ChangeRefused)
        return
    # The declared spelling of the name, where the database ignores case.
    actual = _without_needless_suffixes(actual, expected)._replace(name=name)
    actual, drops = without_dropped(actual, name, catalog.models.drops.get(name, ()))
    yield from drops
    actual, left = without_left_guards(actual, name)
    yield from left
    for column in expected.columns.values():
        yield from _compare_column(expected, column, actual, catalog)
    yield from _compare_primary_key(expected, actual, catalog)
    for index in expected.indexes:
        yield from _compare_index(index, expected, actual, catalog)
    for check in expected.checks:
        yield from _compare_check(check, actual, catalog)
    for foreign_key in expected.foreign_keys:
        yield from _compare_foreign_key(foreign_key, actual)
    if expected.settings:
        settings = " ".join(expected.settings)
        message = f"{name}: Meta.table_settings is written once and never compared"
        yield Difference("note", name, settings, "not compared", message)
    undeclared = _without_declared_checks(expected, actual, catalog)
    undeclared = _without_accepted_indexes(expected, undeclared, catalog)
    yield from undeclared_objects(expected, undeclared)
    yield from catalog.undeclared(expected, actual)


def _without_accepted_indexes(
    expected: Table, actual: Table, catalog: Catalog
) -> Table:
    """Return a table without indexes that are accepted in place of declared ones.

    Those of columns are found by their columns; the others have to be compared.
    """
    special = [index for index in expected.indexes if not index.is_plain]
    if not special:
        return actual

    def is_accepted(candidate: Index) -> bool:
        accepts = catalog.is_equivalent
        return any(accepts(actual, index, candidate) for index in special)

    indexes = [index for index in actual.indexes if not is_accepted(index)]
    return actual._replace(indexes=tuple(indexes))


def _without_needless_suffixes(actual: Table, expected: Table) -> Table:
    """Return a table whose indexes say only what matters once it is as declared.

    Whether NULLs are distinct does not matter in a column that must not be NULL.
    """
    indexes = []
    for index in actual.indexes:
        columns = []
        for part in index.columns:
            name = part.removesuffix(NULLS_NOT_DISTINCT)
            column = expected.columns.get(name) or actual.columns.get(name)
            if column is not None and not column.null:
                part = name
            columns.append(part)
        indexes.append(index._replace(columns=tuple(columns)))
    return actual._replace(indexes=tuple(indexes))


def _is_unrelated(expected: Table, actual: Table) -> bool:
    """Whether a table has neither a column of the model nor its primary key.

    An auto-increment id alone does not make two tables the same, unless it is the
    primary key of both.
    """
    if actual.primary_key and actual.primary_key == expected.primary_key:
        return False
    return not shares_columns(expected, actual)


def shares_columns(expected: Table, actual: Table) -> bool:
    """Whether a table has a column of the model, apart from an auto-increment id."""
    characteristic = {
        name for name, column in expected.columns.items() if not column.auto_increment
    }
    return not characteristic or not characteristic.isdisjoint(actual.columns)


# -- columns


def _compare_column(
    table: Table, expected: Column, actual_table: Table, catalog: Catalog
) -> Iterator[Difference]:
    where = f"{table.name}.{expected.name}"
    actual = actual_table.column_named(expected.name)
    if actual is None:
        key = table.names.key(expected.name)
        checks = tuple(check for check in table.checks if check.column == key)
        add = do.AddColumn(table.name, expected, checks)
        yield repairable(where, expected.type.category, "no such column", add)
        return
    alter = do.AlterColumn(table.name, expected, actual)
    if actual.generated or not catalog.type_is_accepted(table, expected, actual):
        if catalog.is_known(expected.type):
            yield _type_difference(where, alter)
        else:
            yield _unknown_conversion(where, alter)
    elif not expected.type.covers(actual.type):
        yield note(where, expected.type, f"{actual.type}, which is wider")
    if expected.collation not in (None, actual.collation):
        wanted = f"COLLATE {expected.collation}"
        found = "no collation"
        if actual.collation:
            found = f"COLLATE {actual.collation}"
        recollate = alter._replace(changes_type=True)
        yield repairable(where, wanted, found, recollate)
    yield from _compare_null_and_default(where, alter, catalog)
    for attribute in expected.attributes:
        found = actual.attribute_like(attribute)
        if not found or not catalog.same_attribute(attribute, found):
            operation = alter._replace(changes_attributes=True)
            yield repairable(where, attribute, found or "no such clause", operation)
    if actual.ids_behind:
        advance = do.AdvanceIds(table.name, actual)
        wanted = "a next id after the highest one"
        yield repairable(where, wanted, "a next id that exists", advance)


def _compare_null_and_default(
    where: str, alter: do.AlterColumn, catalog: Catalog
) -> Iterator[Difference]:
    """Compare a column with the model and with the shapes that the phase accepts.

    What differs from the nearest of them has to be repaired.
    """
    declared = _null_and_default(where, alter.column, alter, catalog)
    nearest = declared
    for accepted in catalog.models.accepts:
        if accepted.column == where and accepted.may_be(alter.actual):
            shape = accepted.applied_to(alter.column)
            differences = _null_and_default(where, shape, alter, catalog)
            if len(differences) < len(nearest):
                nearest = differences
    yield from nearest
    if nearest is not declared:
        repaired = {each.expected for each in nearest}
        for each in declared:
            if each.expected not in repaired:
                yield note(where, each.expected, f"{each.actual}, which is accepted")


def _null_and_default(
    where: str, expected: Column, alter: do.AlterColumn, catalog: Catalog
) -> list[Difference]:
    """Return how a column differs in its nullability and its DEFAULT."""
    actual = alter.actual
    if expected.auto_increment:
        return []
    differences = []
    if expected.null != actual.null:
        operation = alter._replace(changes_null=True)
        wanted, found = _nullability(expected), _nullability(actual)
        differences.append(repairable(where, wanted, found, operation))
    operation = alter._replace(changes_default=True)
    if expected.default is not None:
        meaning = catalog.default_meaning(expected.default)
        wanted = f"a default of {meaning}"
        if actual.default is None:
            differences.append(repairable(where, wanted, "no default", operation))
        elif not catalog.same_default(expected, actual.default):
            found = f"DEFAULT {actual.default}"
            differences.append(repairable(where, wanted, found, operation))
    return differences


def _type_difference(where: str, alter: do.AlterColumn) -> Difference:
    expected = alter.column.type
    actual = alter.actual.type
    operation = alter._replace(changes_type=True)
    wanted = str(expected)
    if actual.category != expected.category:
        wanted = expected.category
    found = actual.text or "no type"
    if alter.actual.generated:
        found = "a generated column"
    return repairable(where, wanted, found, operation)


def _unknown_conversion(where: str, alter: do.AlterColumn) -> Difference:
    """Return the error about a type that no value is converted to."""
    expected = alter.column.type.text
    found = alter.actual.type.text or "no type"
    if alter.actual.generated:
        found = "a generated column"
    found += f", which this phase does not convert to {expected}"
    return fatal(where, expected, found, ChangeRefused)


def _nullability(column: Column) -> str:
    if column.null:
        return "NULL allowed"
    return "NOT NULL"


# -- keys, indexes, constraints


def _compare_primary_key(
    expected: Table, actual: Table, catalog: Catalog
) -> Iterator[Difference]:
    key = expected.primary_key
    if not key:
        return  # an undeclared one is reported with what else is undeclared
    auto_increment = any(expected.columns[name].auto_increment for name in key)
    if auto_increment and key[0] not in actual.columns:
        return  # adding the column makes it the primary key
    where = f"{expected.name}.{', '.join(key)}"
    difference = _difference_of_primary_key(expected, actual, auto_increment)
    if difference is None:
        return
    wanted, found = difference.expected, difference.actual
    if difference.reuses_ids and _accepts_reused_ids(where, catalog):
        yield note(where, wanted, f"{found}, which is accepted")
        return
    # An undeclared key stays unique, unless the new key implies it.
    replaces: tuple[str, ...] = ()
    if not set(key) <= set(actual.primary_key):
        replaces = actual.primary_key
    may_be_null = tuple(name for name in key if expected.columns[name].null)
    operation = do.SetPrimaryKey(
        expected.name, key, auto_increment, replaces, may_be_null
    )
    yield repairable(where, wanted, found, operation)


class _KeyDifference(NamedTuple):
    """How a primary key differs from the declared one, for messages."""

    expected: str
    actual: str
    reuses_ids: bool = False  # whether that is all that differs


def _difference_of_primary_key(
    expected: Table, actual: Table, auto_increment: bool
) -> _KeyDifference | None:
    """Return how a primary key differs from the declared one; None if it does not.

    :param auto_increment: whether its one column, which exists, is declared to be.
    """
    key = expected.primary_key
    wanted = f"PRIMARY KEY ({', '.join(key)})"
    if auto_increment:
        wanted = f"an auto-increment {wanted}"
    found = "no primary key"
    if actual.primary_key:
        found = f"PRIMARY KEY ({', '.join(actual.primary_key)})"
    if actual.primary_key != key:
        return _KeyDifference(wanted, found)
    if not auto_increment:
        return None
    column = actual.columns[key[0]]
    if not column.auto_increment:
        found += f", {column.type.text} without auto-increment"
        return _KeyDifference(wanted, found)
    if column.reuses_ids and not expected.columns[key[0]].reuses_ids:
        wanted += " that never reuses an id"
        return _KeyDifference(wanted, f"{found} without AUTOINCREMENT", reuses_ids=True)
    return None


def _accepts_reused_ids(where: str, catalog: Catalog) -> bool:
    for accepted in catalog.models.accepts:
        if accepted.column == where and accepted.reuses_ids:
            return True
    return False


def _compare_index(
    index: Index, expected: Table, actual: Table, catalog: Catalog
) -> Iterator[Difference]:
    """Compare an index.

    The one of its name must be right. If there is none, an equivalent one is accepted.
    So it is if the database chooses the name.
    """
    where = f"{expected.name}.{index.label}"
    named = actual.index_named(index.name)
    equivalent = _equivalent_indexes(index, expected, actual, catalog)
    # A UNIQUE constraint does not stand in for an index that is not unique: somebody
    # may drop the constraint, and not think of the index.
    usable = [each for each in equivalent if index.unique or not each.is_constraint]
    is_right = bool(usable)
    if named is not None:
        is_right = named in equivalent and named.unique == index.unique
    if not is_right:
        operation = do.AddIndex(expected.name, index, replaces=named)
        yield repairable(where, index, named or "no such index", operation)
    elif named is None and index.name and usable[0].name:
        # SQLite keeps no name of a constraint.
        other = usable[0].name
        text = f"{other} is equivalent and is accepted in its place"
        yield note(where, index, other, text)


def _equivalent_indexes(
    index: Index, expected: Table, actual: Table, catalog: Catalog
) -> list[Index]:
    """Return the indexes of a table that do all that a declared one does.

    Not those whose names are declared for other indexes: the plan replaces them.
    """
    key = actual.names.key
    reserved = {key(each.name) for each in expected.indexes if each != index}
    reserved.discard("")
    return [
        each
        for each in actual.indexes
        if key(each.name) not in reserved and catalog.is_equivalent(actual, index, each)
    ]


def _compare_check(
    check: Check, actual: Table, catalog: Catalog
) -> Iterator[Difference]:
    if check.column and check.column not in actual.columns:
        return  # it is added with its column
    where = actual.name
    if check.name:
        where = f"{actual.name}.{check.name}"
    wanted = f"CHECK ({check.condition})"
    existing = catalog.matching_check(actual, check)
    if existing is None:
        operation = do.AddCheck(actual.name, check)
        yield repairable(where, wanted, "no such CHECK", operation)
        return
    found = f"CHECK ({existing.condition})"
    is_right = not check.name or catalog.same_condition(
        actual, check.condition, existing.condition
    )
    if not is_right:
        operation = do.AddCheck(actual.name, check, replaces=existing)
        yield repairable(where, wanted, found, operation)
    elif not existing.valid:
        operation = do.AddCheck(actual.name, existing)
        yield repairable(where, wanted, f"{found}, not validated", operation)


def _without_declared_checks(expected: Table, actual: Table, catalog: Catalog) -> Table:
    """Return a table without its CHECK constraints that the model declares."""
    declared = [catalog.matching_check(actual, check) for check in expected.checks]
    left = tuple(check for check in actual.checks if check not in declared)
    return actual._replace(checks=left)


def _compare_foreign_key(expected: ForeignKey, actual: Table) -> Iterator[Difference]:
    """Compare a foreign key, whatever its name is.

    A key from the same columns to another table is replaced only if the declared one is
    missing.
    """
    where = f"{actual.name}.{', '.join(expected.columns)}"
    existing = [key for key in actual.foreign_keys if key.columns == expected.columns]
    matching = [key for key in existing if key.same_reference(expected)]
    if matching:
        wrong = [key for key in matching if not key.is_as_declared(expected)]
    else:
        wrong = existing
    if wrong or not matching:
        found = "; ".join(str(key) for key in wrong) or "no foreign key"
        operation = do.AddForeignKey(actual.name, expected, replaces=tuple(wrong))
        yield repairable(where, expected, found, operation)
        return
    for key in existing:
        if not key.valid:
            operation = do.AddForeignKey(actual.name, key, replaces=(key,))
            yield repairable(where, expected, key, operation)
    for key in matching:
        if key.deferrable and not expected.deferrable:
            yield note(where, expected, f"{key}, which is accepted")
    names = [key.name for key in matching if key.name]
    if expected.name and names and expected.name not in names:
        wanted = f"a foreign key named {expected.name}"
        yield note(where, wanted, f"one named {names[0]}")
