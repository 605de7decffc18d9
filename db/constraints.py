"""What the constraints of a model mean: `constraints` of its fields and of its `Meta`.

Peewee only copies constraints into the DDL. This module is the one place that reads
them: a new kind of constraint is one more attribute of `FieldConstraints` or
`TableConstraints`, and one more case in the loop of the function that returns it.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import peewee

from db.fields import Backfill, DefaultUtcNow, RenamedFrom, UniqueConstraint

# A quoted text or name, a word, or any other character.
_TOKEN = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | `(?:[^`]|``)*` | [\w$]+ | \S""",
    re.DOTALL | re.VERBOSE,
)
# The words that begin a clause; only those of the first three are read.
_CLAUSE_WORDS = (
    "CONSTRAINT",
    "CHECK",
    "DEFAULT",
    "UNIQUE",
    "PRIMARY",
    "REFERENCES",
    "COLLATE",
    "GENERATED",
    "NOT",
    "NULL",
    "ON",
    "COMMENT",
)
_NAME = r'(?:"(?:[^"]|"")+"|`(?:[^`]|``)+`|[\w$]+)'
_NAME_LIST = rf"\(\s*{_NAME}(?:\s*,\s*{_NAME})*\s*\)"
_FOREIGN_KEY = rf"""\s*(?:CONSTRAINT\s+(?P<name>{_NAME})\s+)?
    FOREIGN\s+KEY\s*(?P<columns>{_NAME_LIST})\s*
    REFERENCES\s+(?P<parent>{_NAME})\s*(?P<parent_columns>{_NAME_LIST})
    (?P<options>(?:\s+ON\s+(?:DELETE|UPDATE)\s+
        (?:CASCADE|RESTRICT|NO\s+ACTION|SET\s+NULL|SET\s+DEFAULT))*
        (?:\s+DEFERRABLE(?:\s+INITIALLY\s+(?:DEFERRED|IMMEDIATE))?)?)\s*"""
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
    checks: tuple[CheckConstraint, ...] = ()
    backfill: str | None = None
    """The SQL of the value that existing rows get, or None."""


class CheckConstraint(NamedTuple):
    """`CONSTRAINT name CHECK (condition)`, or without a name."""

    name: str  # "" if it has none
    condition: str


class ForeignKeyConstraint(NamedTuple):
    """`CONSTRAINT name FOREIGN KEY (columns) REFERENCES parent (columns) …`."""

    name: str  # "" if it has none
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    options: str  # ON DELETE …, ON UPDATE …, DEFERRABLE …, in upper case


class TableConstraints(NamedTuple):
    """What `Meta.constraints` of a model say, each kind in the order of the model."""

    unique: tuple[UniqueConstraint, ...]
    checks: tuple[CheckConstraint, ...]
    unsupported: tuple[str, ...]
    """The SQL of all other constraints."""
    renamed_from: str | None = None
    """The name that the table had before, or None."""
    foreign_keys: tuple[ForeignKeyConstraint, ...] = ()


def field_constraints(
    field: peewee.Field, database: peewee.Database = _NO_DATABASE
) -> FieldConstraints:
    """Return the constraints of a field, as SQL for the given database.

    Whether that database accepts a default is not checked.
    """
    default = None
    default_is_utc_now = False
    checks: list[CheckConstraint] = []
    unsupported = []
    renamed_from = None
    backfill = None
    for constraint in field.constraints or ():
        if isinstance(constraint, Backfill):
            backfill = constraint.expression
            continue
        if isinstance(constraint, RenamedFrom):
            renamed_from = constraint.name
            continue
        sql, parameters = _written(constraint, database)
        clauses = _clauses_of(sql)
        has_second_default = default is not None and clauses.defaults
        if parameters or not clauses.complete or has_second_default:
            unsupported.append(sql)
            continue
        checks += clauses.checks
        for value in clauses.defaults:
            default = value
            default_is_utc_now = isinstance(constraint, DefaultUtcNow)
    return FieldConstraints(
        default=default,
        default_is_utc_now=default_is_utc_now,
        unsupported=tuple(unsupported),
        renamed_from=renamed_from,
        checks=tuple(checks),
        backfill=backfill,
    )


def table_constraints(model: type[peewee.Model]) -> TableConstraints:
    """Return the constraints of a model's table."""
    unique = []
    foreign_keys = []
    checks: list[CheckConstraint] = []
    unsupported = []
    renamed_from = None
    for constraint in model._meta.constraints or ():
        if isinstance(constraint, RenamedFrom):
            renamed_from = constraint.name
            continue
        sql, parameters = _written(constraint, _NO_DATABASE)
        clauses = _clauses_of(sql)
        foreign_key = _foreign_key(sql)
        if isinstance(constraint, UniqueConstraint):
            unique.append(constraint)
        elif foreign_key is not None:
            foreign_keys.append(foreign_key)
        elif parameters or not clauses.complete or clauses.defaults:
            unsupported.append(sql)  # without its parameters it would be incomplete
        else:
            checks += clauses.checks
    return TableConstraints(
        unique=tuple(unique),
        checks=tuple(checks),
        unsupported=tuple(unsupported),
        renamed_from=renamed_from,
        foreign_keys=tuple(foreign_keys),
    )


def _written(
    constraint: peewee.Node, database: peewee.Database
) -> tuple[str, list[Any]]:
    """Return a constraint as SQL and its parameters."""
    sql, parameters = database.get_sql_context().sql(constraint).query()
    return sql, parameters


class _Clauses(NamedTuple):
    """What some SQL consists of."""

    complete: bool  # it has nothing else
    defaults: tuple[str, ...] = ()
    checks: tuple[CheckConstraint, ...] = ()


def _clauses_of(sql: str) -> _Clauses:
    """Return the DEFAULT and the CHECK constraints that some SQL consists of."""
    tokens = list(_TOKEN.finditer(sql))
    defaults = []
    checks = []
    position = 0
    while position < len(tokens):
        end = _end_of_clause(tokens, position)
        clause = tokens[position:end]
        if clause[0][0].upper() == "DEFAULT":
            if len(clause) < 2:
                return _Clauses(complete=False)
            defaults.append(sql[clause[1].start() : clause[-1].end()])
        else:
            check = _check(sql, clause)
            if check is None:
                return _Clauses(complete=False)
            checks.append(check)
        position = end
    if not tokens or len(defaults) > 1:
        return _Clauses(complete=False)
    return _Clauses(True, tuple(defaults), tuple(checks))


def _end_of_clause(tokens: list[re.Match[str]], start: int) -> int:
    """Return the position at which the next clause begins.

    A constraint's name and kind, and the value of a DEFAULT, belong to the clause, even
    if they are words that begin one: `CONSTRAINT check CHECK (…)`, `DEFAULT NULL`.
    """
    words_of_clause = {"CONSTRAINT": 3, "DEFAULT": 2}
    first = start + words_of_clause.get(tokens[start][0].upper(), 1)
    depth = 0
    for position in range(start + 1, len(tokens)):
        token = tokens[position][0].upper()
        if token == "(":
            depth += 1
        elif token == ")":
            depth -= 1
        elif depth == 0 and position >= first and token in _CLAUSE_WORDS:
            return position
    return len(tokens)


def _check(sql: str, clause: list[re.Match[str]]) -> CheckConstraint | None:
    """Return the CHECK constraint of a clause, if it is nothing else."""
    name = ""
    if clause[0][0].upper() == "CONSTRAINT" and len(clause) > 2:
        name = _unquoted(clause[1][0])
        clause = clause[2:]
    if clause[0][0].upper() != "CHECK" or len(clause) < 4:
        return None
    if clause[1][0] != "(" or clause[-1][0] != ")":
        return None
    condition = sql[clause[1].end() : clause[-1].start()]
    return CheckConstraint(name, condition)


def _foreign_key(sql: str) -> ForeignKeyConstraint | None:
    """Return the foreign key that some SQL is; None if it is something else."""
    found = re.fullmatch(_FOREIGN_KEY, sql, re.IGNORECASE | re.VERBOSE)
    if found is None:
        return None

    name = ""
    if found["name"]:
        name = _unquoted(found["name"])

    def names(group: str) -> tuple[str, ...]:
        return tuple(_unquoted(name) for name in re.findall(_NAME, found[group]))

    return ForeignKeyConstraint(
        name=name,
        columns=names("columns"),
        parent=_unquoted(found["parent"]),
        parent_columns=names("parent_columns"),
        options=" ".join(found["options"].upper().split()),
    )


def _unquoted(name: str) -> str:
    """Return a name without the quotes that it may have."""
    quote = name[0]
    if quote not in ('"', "`"):
        return name
    return name[1:-1].replace(2 * quote, quote)
