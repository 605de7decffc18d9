"""What the constraints of a model mean: `constraints` of its fields and of its `Meta`.

Peewee only copies constraints into the DDL. This module is the one place that reads
them: a new kind of constraint is one more attribute of `FieldConstraints` or
`TableConstraints`, and one more case in the loop of the function that returns it.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import peewee

from db.fields import DefaultUtcNow, RenamedFrom, UniqueConstraint

_DEFAULT = re.compile(r"\s*DEFAULT\b\s*(?P<value>.*\S)\s*", re.IGNORECASE | re.DOTALL)
_NAMED_CHECK = re.compile(
    r"""\s* CONSTRAINT \s+ (?P<quote>["`]?) (?P<name>\w+) (?P=quote)
        \s+ CHECK \s* \( (?P<condition>.*) \) \s*""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_NO_DATABASE = peewee.Database(None)  # writes SQL with the quotes of the SQL standard


class FieldConstraints(NamedTuple):
    """What the `constraints` of a field say."""

    default: str | None
    """The SQL after DEFAULT, or None if there is no DEFAULT."""
    default_is_utc_now: bool
    """Whether the default is a `DefaultUtcNow`."""
    unsupported: tuple[str, ...]
    """The SQL of all other constraints, among them a second DEFAULT."""
    renamed_from: str | None = None
    """The name that the column had before, or None."""


class NamedCheck(NamedTuple):
    """`CONSTRAINT name CHECK (condition)`."""

    name: str
    condition: str


class TableConstraints(NamedTuple):
    """What `Meta.constraints` of a model say, each kind in the order of the model."""

    unique: tuple[UniqueConstraint, ...]
    checks: tuple[NamedCheck, ...]
    unsupported: tuple[str, ...]
    """The SQL of all other constraints, among them a CHECK without a name."""
    renamed_from: str | None = None
    """The name that the table had before, or None."""


def field_constraints(
    field: peewee.Field, database: peewee.Database = _NO_DATABASE
) -> FieldConstraints:
    """Return the constraints of a field, as SQL for the given database.

    Whether that database accepts a default is not checked.
    """
    default = None
    default_is_utc_now = False
    unsupported = []
    renamed_from = None
    for constraint in field.constraints or ():
        if isinstance(constraint, RenamedFrom):
            renamed_from = constraint.name
            continue
        sql, _ = _written(constraint, database)
        found = _DEFAULT.fullmatch(sql)
        if found and default is None:
            default = found["value"]
            default_is_utc_now = isinstance(constraint, DefaultUtcNow)
        else:
            unsupported.append(sql)
    return FieldConstraints(
        default, default_is_utc_now, tuple(unsupported), renamed_from
    )


def table_constraints(model: type[peewee.Model]) -> TableConstraints:
    """Return the constraints of a model's table."""
    unique = []
    checks = []
    unsupported = []
    renamed_from = None
    for constraint in model._meta.constraints or ():
        if isinstance(constraint, RenamedFrom):
            renamed_from = constraint.name
            continue
        sql, parameters = _written(constraint, _NO_DATABASE)
        found = _NAMED_CHECK.fullmatch(sql)
        if isinstance(constraint, UniqueConstraint):
            unique.append(constraint)
        elif found and not parameters:  # the condition is incomplete without them
            checks.append(NamedCheck(found["name"], found["condition"]))
        else:
            unsupported.append(sql)
    return TableConstraints(
        tuple(unique), tuple(checks), tuple(unsupported), renamed_from
    )


def _written(
    constraint: peewee.Node, database: peewee.Database
) -> tuple[str, list[Any]]:
    """Return a constraint as SQL and its parameters."""
    sql, parameters = database.get_sql_context().sql(constraint).query()
    return sql, parameters
