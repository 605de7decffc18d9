"""What the constraints of a model mean: `constraints` of its fields and of its `Meta`.

Peewee only copies constraints into the DDL. This module is the one place that reads
them: a new kind of constraint is one more attribute of `FieldConstraints` or
`TableConstraints`, and one more case in the loop of the function that returns it.
"""

import re
from typing import Any, NamedTuple

import peewee

from db.fields import Backfill, DefaultUtcNow, RenamedFrom, UniqueConstraint

# A quoted text or name, a word, or any other character.
_TOKEN = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | `(?:[^`]|``)*` | [\w$]+ | \S""",
    re.DOTALL | re.VERBOSE,
)
# The words that begin a clause of a column.
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
    "AUTOINCREMENT",
)
# Those of clauses that only some databases have; what they mean is known to these.
_ATTRIBUTE_WORDS = ("ON", "COMMENT", "AUTOINCREMENT")
# The words of a clause that belong to it, even if they are words that begin one.
_LEADING_WORDS = {"CONSTRAINT": 3, "DEFAULT": 2, "NOT": 2}
_NAME = r'(?:"(?:[^"]|"")+"|`(?:[^`]|``)+`|[\w$]+)'
_NAME_LIST = rf"\(\s*{_NAME}(?:\s*,\s*{_NAME})*\s*\)"
_OF_CONSTRAINT = rf"\s*(?:CONSTRAINT\s+(?P<name>{_NAME})\s+)?"
_REFERENCES = rf"""REFERENCES\s+(?P<parent>{_NAME})\s*(?P<parent_columns>{_NAME_LIST})?
    (?P<options>(?:\s*ON\s+(?:DELETE|UPDATE)\s+
        (?:CASCADE|RESTRICT|NO\s+ACTION|SET\s+NULL|SET\s+DEFAULT)\b)*
        (?:\s*DEFERRABLE\b(?:\s+INITIALLY\s+(?:DEFERRED|IMMEDIATE)\b)?)?)"""
_FOREIGN_KEY = rf"""{_OF_CONSTRAINT}
    FOREIGN\s+KEY\s*(?P<columns>{_NAME_LIST})\s*{_REFERENCES}\s*"""
_KEY = rf"""{_OF_CONSTRAINT}
    (?P<kind>UNIQUE|PRIMARY\s+KEY)\s*(?P<columns>{_NAME_LIST})\s*"""
_NAME_OR_PERCENT = re.compile(r'"(?:[^"]|"")*"|`(?:[^`]|``)*`|%%')
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
    checks: tuple["CheckConstraint", ...] = ()
    backfill: str | None = None
    """The SQL of the value that existing rows get, or None."""
    unique: tuple[str, ...] = ()
    """The name of each UNIQUE, "" for one without a name."""
    foreign_keys: tuple["ForeignKeyConstraint", ...] = ()
    """Each REFERENCES."""
    collation: str | None = None
    not_null: bool = False
    """Whether they say NOT NULL."""
    attributes: tuple[str, ...] = ()
    """The SQL of clauses that only some databases have, such as ON UPDATE."""


_NO_CONSTRAINTS = FieldConstraints(None, False, ())


class CheckConstraint(NamedTuple):
    """`CONSTRAINT name CHECK (condition)`, or without a name."""

    name: str  # "" if it has none
    condition: str


class ForeignKeyConstraint(NamedTuple):
    """`CONSTRAINT name FOREIGN KEY (columns) REFERENCES parent (columns) …`."""

    name: str  # "" if it has none
    columns: tuple[str, ...]  # () for that of a field
    parent: str
    parent_columns: tuple[str, ...]  # () for the primary key
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
    primary_key: tuple[str, ...] = ()
    """The columns of a PRIMARY KEY, or ()."""


def field_constraints(
    field: peewee.Field, database: peewee.Database = _NO_DATABASE
) -> FieldConstraints:
    """Return the constraints of a field, as SQL for the given database.

    Whether that database accepts a default is not checked.
    """
    found = _NO_CONSTRAINTS
    for constraint in field.constraints or ():
        if isinstance(constraint, Backfill):
            found = found._replace(backfill=constraint.expression)
            continue
        if isinstance(constraint, RenamedFrom):
            found = found._replace(renamed_from=constraint.name)
            continue
        sql, parameters = _written(constraint, database)
        added = _with_clauses(found, sql, field)
        if added is None or parameters:
            # Without its parameters it would be incomplete.
            found = found._replace(unsupported=(*found.unsupported, sql))
        elif isinstance(constraint, DefaultUtcNow):
            found = added._replace(default_is_utc_now=True)
        else:
            found = added
    return found


def table_constraints(
    model: type[peewee.Model], database: peewee.Database = _NO_DATABASE
) -> TableConstraints:
    """Return the constraints of a model's table, as SQL for the given database."""
    unique = []
    foreign_keys = []
    checks: list[CheckConstraint] = []
    unsupported = []
    renamed_from = None
    primary_key: tuple[str, ...] = ()
    for constraint in model._meta.constraints or ():
        if isinstance(constraint, RenamedFrom):
            renamed_from = constraint.name
            continue
        if isinstance(constraint, UniqueConstraint):
            unique.append(constraint)
            continue
        sql, parameters = _written(constraint, database)
        foreign_key = _foreign_key(sql)
        if foreign_key is not None:
            foreign_keys.append(foreign_key)
            continue
        key = _key(sql)
        if key is not None and key.is_primary:
            primary_key = key.columns
        elif key is not None:
            unique.append(UniqueConstraint(key.name, *key.columns))
        else:
            found = _checks_of(sql)
            if found is None or parameters:
                unsupported.append(sql)  # without its parameters it is incomplete
            else:
                checks += found
    return TableConstraints(
        unique=tuple(unique),
        checks=tuple(checks),
        unsupported=tuple(unsupported),
        renamed_from=renamed_from,
        foreign_keys=tuple(foreign_keys),
        primary_key=primary_key,
    )


def _written(
    constraint: peewee.Node, database: peewee.Database
) -> tuple[str, list[Any]]:
    """Return a constraint as SQL and its parameters."""
    sql, parameters = database.get_sql_context().sql(constraint).query()
    return as_executed(sql, database), parameters


def as_executed(sql: str, database: peewee.Database) -> str:
    """Return DDL of Peewee's as its driver sends it, which makes `%` of `%%`.

    Names stay as they are.
    """
    if database.param != "%s":
        return sql

    def sent(found: re.Match[str]) -> str:
        return "%" if found[0] == "%%" else found[0]

    return _NAME_OR_PERCENT.sub(sent, sql)


class _Clause(NamedTuple):
    """A part of what stands in a column's definition behind its type."""

    name: str  # of the constraint, or ""
    kind: str  # its first word, in upper case
    text: str  # without the name of the constraint


_NULL = _Clause("", "NULL", "NULL")


def _with_clauses(
    found: FieldConstraints, sql: str, field: peewee.Field
) -> FieldConstraints | None:
    """Return constraints with those of some SQL; None if it has anything else."""
    clauses = _clauses_of(sql)
    if not clauses:
        return None
    for clause in clauses:
        if clause == _NULL and field.null:
            continue  # which Peewee leaves out, as it goes without saying
        added = _with_clause(found, clause)
        if added is None:
            return None
        found = added
    return found


def _with_clause(found: FieldConstraints, clause: _Clause) -> FieldConstraints | None:
    """Return constraints with one more; None if it is not supported."""
    words = clause.text.upper().split()
    rest = clause.text[len(clause.kind) :].strip()
    if clause.kind == "CHECK":
        check = _check(clause)
        return check and found._replace(checks=(*found.checks, check))
    if clause.kind == "REFERENCES":
        key = _reference(clause)
        return key and found._replace(foreign_keys=(*found.foreign_keys, key))
    if words == ["UNIQUE"]:
        return found._replace(unique=(*found.unique, clause.name))
    if clause.name:
        return None
    if clause.kind == "DEFAULT" and rest and found.default is None:
        return found._replace(default=rest)
    is_name = re.fullmatch(_NAME, rest) is not None
    if clause.kind == "COLLATE" and is_name and found.collation is None:
        return found._replace(collation=rest)
    if words == ["NOT", "NULL"]:
        return found._replace(not_null=True)
    if clause.kind in _ATTRIBUTE_WORDS:
        return found._replace(attributes=(*found.attributes, clause.text))
    return None


def _checks_of(sql: str) -> list[CheckConstraint] | None:
    """Return the CHECK constraints that some SQL consists of."""
    checks = []
    for clause in _clauses_of(sql):
        check = _check(clause)
        if check is None:
            return None
        checks.append(check)
    return checks or None


def _clauses_of(sql: str) -> list[_Clause]:
    """Return the clauses that some SQL consists of."""
    tokens = list(_TOKEN.finditer(sql))
    clauses = []
    position = 0
    while position < len(tokens):
        end = _end_of_clause(sql, tokens, position)
        name = ""
        if tokens[position][0].upper() == "CONSTRAINT" and position + 2 < end:
            name = _unquoted(tokens[position + 1][0])
            position += 2
        text = sql[tokens[position].start() : tokens[end - 1].end()]
        clauses.append(_Clause(name, tokens[position][0].upper(), text))
        position = end
    return clauses


def _end_of_clause(sql: str, tokens: list[re.Match[str]], start: int) -> int:
    """Return the position at which the next clause begins.

    A constraint's name and kind, and the value of a DEFAULT, belong to the clause, even
    if they are words that begin one: `CONSTRAINT check CHECK (…)`, `DEFAULT NULL`. So
    do the actions of a foreign key.
    """
    first_word = tokens[start][0].upper()
    kind = start
    if first_word == "CONSTRAINT":
        kind += 2
    first = start + _LEADING_WORDS.get(first_word, 1)
    end_of_reference = 0
    if kind < len(tokens) and tokens[kind][0].upper() == "REFERENCES":
        reference = re.compile(_REFERENCES, re.IGNORECASE | re.VERBOSE)
        found = reference.match(sql, tokens[kind].start())
        if found is not None:
            end_of_reference = found.end()
    depth = 0
    for position in range(start + 1, len(tokens)):
        token = tokens[position][0].upper()
        if token == "(":
            depth += 1
        elif token == ")":
            depth -= 1
        elif tokens[position].start() < end_of_reference:
            continue
        elif depth == 0 and position >= first and token in _CLAUSE_WORDS:
            return position
    return len(tokens)


def _check(clause: _Clause) -> CheckConstraint | None:
    """Return the CHECK constraint of a clause, if it is nothing else."""
    tokens = list(_TOKEN.finditer(clause.text))
    if clause.kind != "CHECK" or len(tokens) < 4:
        return None
    if tokens[1][0] != "(" or tokens[-1][0] != ")":
        return None
    condition = clause.text[tokens[1].end() : tokens[-1].start()]
    return CheckConstraint(clause.name, condition)


def _reference(clause: _Clause) -> ForeignKeyConstraint | None:
    """Return the foreign key of a field that a clause is, if it is nothing else."""
    found = re.fullmatch(_REFERENCES, clause.text, re.IGNORECASE | re.VERBOSE)
    if found is None:
        return None
    return ForeignKeyConstraint(
        name=clause.name,
        columns=(),
        parent=_unquoted(found["parent"]),
        parent_columns=_names(found["parent_columns"]),
        options=" ".join(found["options"].upper().split()),
    )


def _foreign_key(sql: str) -> ForeignKeyConstraint | None:
    """Return the foreign key that some SQL is; None if it is something else."""
    if "FOREIGN" not in sql.upper():
        return None  # to compile the pattern takes longer than all the rest
    found = re.fullmatch(_FOREIGN_KEY, sql, re.IGNORECASE | re.VERBOSE)
    if found is None:
        return None
    return ForeignKeyConstraint(
        name=_unquoted(found["name"] or ""),
        columns=_names(found["columns"]),
        parent=_unquoted(found["parent"]),
        parent_columns=_names(found["parent_columns"]),
        options=" ".join(found["options"].upper().split()),
    )


class _KeyConstraint(NamedTuple):
    """`CONSTRAINT name UNIQUE (columns)`, or PRIMARY KEY, or without a name."""

    name: str  # "" if it has none
    columns: tuple[str, ...]
    is_primary: bool


def _key(sql: str) -> _KeyConstraint | None:
    """Return the UNIQUE or PRIMARY KEY that some SQL is; None if it is neither."""
    if "UNIQUE" not in sql.upper() and "PRIMARY" not in sql.upper():
        return None  # as in `_foreign_key`
    found = re.fullmatch(_KEY, sql, re.IGNORECASE | re.VERBOSE)
    if found is None:
        return None
    return _KeyConstraint(
        name=_unquoted(found["name"] or ""),
        columns=_names(found["columns"]),
        is_primary=found["kind"].upper() != "UNIQUE",
    )


def _names(group: str | None) -> tuple[str, ...]:
    """Return the names in a list of names, without their quotes."""
    return tuple(_unquoted(name) for name in re.findall(_NAME, group or ""))


def _unquoted(name: str) -> str:
    """Return a name without the quotes that it may have."""
    quote = name[:1]
    if quote not in ('"', "`"):
        return name
    return name[1:-1].replace(2 * quote, quote)
