"""What a table has and its model does not: reported, never removed.

Something undeclared that rejects rows, or hides a renamed column, is a warning.
Anything else is a note.
"""

from __future__ import annotations

from collections.abc import Iterator

from migrations.report import Difference, note, warning
from migrations.schema import Column, Table, name_while_filled

_REJECTS_ROWS = "rejects rows that the model allows; it is not in the model"
_MAY_REJECT_ROWS = "may reject rows that the model allows; it is not in the model"


def undeclared_objects(expected: Table, actual: Table) -> Iterator[Difference]:
    """Yield a warning or a note for everything that the model does not declare.

    :param actual: the table as it is, without the CHECK constraints that are declared.
    """
    yield from _columns(expected, actual)
    yield from _defaults(expected, actual)
    yield from _primary_key(expected, actual)
    yield from _indexes(expected, actual)
    yield from _checks(expected, actual)
    yield from _foreign_keys(expected, actual)


def _columns(expected: Table, actual: Table) -> Iterator[Difference]:
    missing = [
        column
        for name, column in expected.columns.items()
        if name not in actual.columns and not column.auto_increment
    ]
    key = actual.names.key
    being_filled = [key(name_while_filled(column.name)) for column in missing]
    for name, column in actual.columns.items():
        if name in expected.columns or name in being_filled:
            continue
        where = f"{expected.name}.{name}"
        renamed_to = _possible_new_name(column, missing)
        if renamed_to is not None:
            message = (
                f"the column is not in the model and {renamed_to} is missing; if it "
                f"was renamed, add to the constraints of {renamed_to}: "
                f'RenamedFrom("{column.name}")'
            )
            yield warning(where, "no such column", column.type.text, message)
        if not column.optional:
            message = (
                "inserts will fail; the column is NOT NULL, has no default and is not "
                "in the model"
            )
            wanted = "NULL allowed or a default"
            yield warning(where, wanted, "NOT NULL without a default", message)
        elif renamed_to is None:
            message = f"{column.type.text} is not in the model"
            yield note(where, "no such column", column.type.text, message)


def _possible_new_name(column: Column, missing: list[Column]) -> str | None:
    """Return the first missing column of the same type category, if there is one."""
    for candidate in missing:
        if candidate.type.category == column.type.category:
            return candidate.name
    return None


def _defaults(expected: Table, actual: Table) -> Iterator[Difference]:
    for name, column in expected.columns.items():
        existing = actual.columns.get(name)
        if existing is None or existing.default is None:
            continue
        if column.default is None and not column.auto_increment:
            where = f"{expected.name}.{name}"
            found = f"DEFAULT {existing.default}"
            yield note(where, "no default", found, f"{found} is not in the model")


def _primary_key(expected: Table, actual: Table) -> Iterator[Difference]:
    if actual.primary_key and not expected.primary_key:
        found = f"PRIMARY KEY ({', '.join(actual.primary_key)})"
        text = f"{found} {_REJECTS_ROWS}"
        yield warning(expected.name, "no primary key", found, text)


def _indexes(expected: Table, actual: Table) -> Iterator[Difference]:
    declared_names = {expected.names.key(index.name) for index in expected.indexes}
    declared_names.discard("")
    declared_keys = expected.unique_keys()
    declared_columns = {index.columns for index in expected.indexes}
    # A database may have made an index for a foreign key by itself.
    declared_columns |= {key.columns for key in expected.foreign_keys}
    for index in actual.indexes:
        if expected.names.key(index.name) in declared_names:
            continue
        name = index.name or ", ".join(index.columns)
        where = f"{expected.name}.{name}"
        columns = {actual.column_of_part(part) for part in index.columns}
        if index.unique and index.columns not in declared_keys:
            if columns <= expected.columns.keys():
                message = f"{index} {_REJECTS_ROWS}"
                yield warning(where, "no further unique key", index, message)
            else:
                message = f"{index} is not in the model"
                yield note(where, "no further unique key", index, message)
        elif not index.unique and index.columns not in declared_columns:
            message = f"the index {index} is not in the model"
            yield note(where, "no such index", index, message)


def _checks(expected: Table, actual: Table) -> Iterator[Difference]:
    for check in actual.checks:
        where = expected.name
        if check.name:
            where = f"{expected.name}.{check.name}"
        found = f"CHECK ({check.condition})"
        message = f"{found} {_MAY_REJECT_ROWS}"
        yield warning(where, "no such CHECK", found, message)


def _foreign_keys(expected: Table, actual: Table) -> Iterator[Difference]:
    declared = [key.columns for key in expected.foreign_keys]
    for key in actual.foreign_keys:
        if key.columns in declared:
            continue
        where = f"{expected.name}.{', '.join(key.columns)}"
        message = f"{key} {_MAY_REJECT_ROWS}"
        yield warning(where, "no foreign key", key, message)
