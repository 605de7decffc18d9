"""What one database supports of the models that a phase manages.

`ModelSupport` is the base class; a subclass per database is in its package.
What no database supports is the matter of `migrations.model_support`.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

import peewee

from db.constraints import field_constraints, table_constraints
from migrations.declaration import (
    Model,
    circular_tables,
    declared_foreign_key,
    declared_table,
    has_plain_columns,
    index_text,
    sql_of,
    type_of,
)
from migrations.engines.catalog import Catalog, UnknownType
from migrations.errors import refuse_unsupported
from migrations.schema import ForeignKey, Table
from migrations.sql_text import unquoted

if TYPE_CHECKING:
    from migrations.index_text import IndexText

# Of `Meta.constraints`.
_INDEX = re.compile(
    r"(CONSTRAINT\s+\S+\s+)?(UNIQUE|KEY|INDEX|FULLTEXT|SPATIAL)\b", re.IGNORECASE
)
_EXCLUDE = re.compile(r"(CONSTRAINT\s+\S+\s+)?EXCLUDE\b", re.IGNORECASE)
# Of `Meta.table_settings`: a partitioned table, and one that inherits, is refused.
_UNSUPPORTED_SETTINGS = re.compile(r"\b(?:PARTITION\s+BY|INHERITS)\b", re.IGNORECASE)
_FIELD_OPTIONS = ("sequence", "unindexed")
_META_OPTIONS = (
    "schema",
    "table_settings",
    "strict_tables",
    "without_rowid",
    "options",
)


class ModelSupport(ABC):
    """Finds what a database cannot create of the managed models, or not compare.

    It is asked once per call of a phase, right after connecting and before anything is
    read. Its methods may query settings of the server, and change nothing. Each yields
    a text per problem, which says what to write instead; the caller puts the name of
    the model, and of the field, in front of it.

    The methods of this class refuse whatever is not supported on every database. A
    subclass overrides one to allow more.
    """

    # Actions of foreign keys that this database has.
    supported_actions = frozenset(
        {"NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT"}
    )
    # Whether a foreign key may be checked at COMMIT.
    has_deferrable_keys = True
    # Whether tables may refer to each other without a DeferredForeignKey: Peewee then
    # creates one before its parent.
    has_circular_keys = False
    max_decimal_digits: float = math.inf
    # What to do about a type that the server does not know.
    advice_about_types = ""
    # Of _META_OPTIONS and _FIELD_OPTIONS, what this database has.
    supported_options = frozenset({"table_settings"})

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.models = catalog.models
        self.database = catalog.session.database
        self.product = catalog.session.product  # its name for messages

    def validate(self) -> None:
        """Check that this database supports the managed models.

        :raises UnsupportedModel: it does not; the text has a line for each problem.
        """
        refuse_unsupported(list(self._problems()))

    def _problems(self) -> Iterator[str]:
        tables = []
        for name in self.models.managed:
            model = self.models.by_table[name]
            table = declared_table(
                model, self.database, self.catalog.parse_type, self.catalog.names
            )
            tables.append(table)
            yield from self._problems_of_model(model, table)
        yield from self.problems_of_shared_names(tables)
        models = [self.models.by_table[name] for name in self.models.managed]
        circle = circular_tables(models)
        if circle and not self.has_circular_keys:
            yield (
                f"{' and '.join(circle)} have circular foreign keys; use a "
                "DeferredForeignKey for one of them"
            )

    def _problems_of_model(self, model: Model, table: Table) -> Iterator[str]:
        """Yield the problems of one model, each with its name."""
        name = model.__name__
        for check in (
            self.problems_of_options,
            self.problems_of_names,
            self.problems_of_constraints,
            self.problems_of_indexes,
            self.problems_of_keys,
        ):
            for problem in check(model, table):
                yield f"{name}: {problem}"
        for field in model._meta.sorted_fields:
            for problem in self._problems_of_field(field, table):
                yield f"{name}.{field.name}: {problem}"

    def _problems_of_field(self, field: peewee.Field, table: Table) -> Iterator[str]:
        yield from self.problems_of_type(field)
        for option in _FIELD_OPTIONS:
            if getattr(field, option, None) and option not in self.supported_options:
                yield f"{option} is not supported on {self.product}; leave it out"
        yield from self.problems_of_field_constraints(field)
        if isinstance(field, peewee.ForeignKeyField):
            yield from self.problems_of_foreign_key(field)

    # -- tables

    def problems_of_options(self, model: Model, table: Table) -> Iterator[str]:
        """Yield the options in `Meta` that this database does not have."""
        for option in _META_OPTIONS:
            is_used = getattr(model._meta, option, None)
            if is_used and option not in self.supported_options:
                yield f"Meta.{option} is not supported on {self.product}"

        for clause in _UNSUPPORTED_SETTINGS.findall(" ".join(table.settings)):
            words = " ".join(clause.upper().split())
            yield f"{words} in Meta.table_settings is not supported; remove it"

    @abstractmethod
    def problem_of_name(self, name: str) -> str:
        """Return what is wrong with a name, beginning with "is", or "".

        Called for the names of tables, columns, indexes and constraints.
        """

    def problems_of_names(self, model: Model, table: Table) -> Iterator[str]:
        """Yield the names that this database would cut, or does not accept."""
        names = _object_names(table)
        keys = set()
        for field in model._meta.sorted_fields:
            name = field.column_name
            names.append(name)
            if table.names.key(name) in keys:
                where = f"{self.product}, which ignores the case"
                yield f"two columns are named {name} on {where}; rename one of them"
            keys.add(table.names.key(name))
        for name in names:
            problem = self.problem_of_name(name)
            if problem:
                yield f"the name {name!r} {problem}"

    def problems_of_shared_names(self, tables: list[Table]) -> Iterator[str]:
        """Yield the names that two of the objects have, where that is not possible."""
        for names in self.exclusive_names(tables):
            given = [name for name in names if name]
            keys = [self.catalog.names.key(name) for name in given]
            for name, key in dict(zip(given, keys)).items():
                if keys.count(key) > 1:
                    yield (
                        f"the name {name} is given twice on {self.product}; rename or "
                        "remove one of the two"
                    )

    @abstractmethod
    def exclusive_names(self, tables: list[Table]) -> Iterator[list[str]]:
        """Yield groups of names; the names of a group must differ from each other.

        "" stands for a name that the database chooses.
        """

    def problems_of_constraints(self, model: Model, table: Table) -> Iterator[str]:
        """Yield what is in `Meta.constraints` and is not supported."""
        for sql in table_constraints(model).unsupported:
            yield f"the constraint {sql!r} is not supported; {_instead_of(sql)}"
        of_fields = {
            (table.names.key(field.column_name),) for field in model._meta.refs
        }
        for key in table.foreign_keys:
            if key.columns not in of_fields:
                for problem in self._problems_of_reference(key):
                    yield f"FOREIGN KEY ({', '.join(key.columns)}): {problem}"

    def problems_of_indexes(self, model: Model, table: Table) -> Iterator[str]:
        """Yield the indexes that cannot be read, or that this database lacks."""
        for node in model._meta.fields_to_index():
            if has_plain_columns(node):
                continue
            text = index_text(node, self.database)
            if text is None:
                sql = sql_of(node)
                advice = "write SQL('CREATE INDEX name ON table (columns)')"
                yield f"the index {sql!r} cannot be read; {advice}"
                continue
            name = unquoted(text.name)
            owner = unquoted(text.table.rpartition(".")[2].strip())
            if owner != table.name:
                yield f"the index {name} is one of another table, {owner}"
            for problem in self.problems_of_index(text):
                yield f"the index {name}: {problem}"

    def problems_of_index(self, index: IndexText) -> Iterator[str]:
        """Yield what this database lacks of an index that is not one of columns."""
        yield from ()

    def problems_of_keys(self, model: Model, table: Table) -> Iterator[str]:
        """Yield what is wrong with the columns of the primary key and of indexes."""
        keys = {index.label: index.columns for index in table.indexes}
        expressions = {index.label for index in table.indexes if not index.is_plain}
        if model._meta.primary_key:
            keys["the primary key"] = table.primary_key
        for key, columns in keys.items():
            for name in columns:
                if name not in table.columns:
                    if key not in expressions:
                        yield f"{key} has no column {name}"
                    continue
                field = model._meta.columns[table.columns[name].name]
                problem = self.problem_of_key_column(field, key)
                if problem:
                    yield f"{key} cannot contain {name}: {problem}"

    @abstractmethod
    def problem_of_key_column(self, field: peewee.Field, key: str) -> str:
        """Return why the column of a field cannot be in a key, or "".

        :param key: the label of an index or a UNIQUE constraint, or "the primary key".
        """

    # -- fields

    def problems_of_type(self, field: peewee.Field) -> Iterator[str]:
        """Yield what is wrong with the type of a field."""
        text = type_of(field, self.database)
        try:
            self.catalog.declared_type(text)
        except UnknownType as reason:
            yield (
                f"the type {text} is not supported on {self.product}: {reason}"
                f"{self.advice_about_types}"
            )
        modifiers = field.get_modifiers()
        if field.field_type == "DECIMAL" and modifiers:  # those of an array have none
            digits, scale = modifiers
            if not 0 <= scale <= digits <= self.max_decimal_digits:
                yield (
                    f"a decimal of {digits, scale} is not supported on {self.product}"
                )

    def problems_of_field_constraints(self, field: peewee.Field) -> Iterator[str]:
        """Yield what is wrong with the `constraints` of a field."""
        constraints = field_constraints(field, self.database)
        for sql in constraints.unsupported:
            yield (
                f"the constraint {sql!r} is not supported here; a field takes one "
                "DEFAULT, CHECK (condition), UNIQUE, REFERENCES table (column), "
                "COLLATE name and NOT NULL"
            )
        for text in constraints.attributes:
            problem = self.problem_of_attribute(field, text)
            if problem:
                yield f"{text} {problem}"
        if constraints.default_is_utc_now and field.field_type != "DATETIME":
            yield "DefaultUtcNow() is for a DateTimeField"

    def problem_of_attribute(self, field: peewee.Field, text: str) -> str:
        """Return why a column cannot have a clause such as COMMENT 'text', or ""."""
        return f"is not supported on {self.product}; leave it out"

    def problems_of_foreign_key(self, field: peewee.ForeignKeyField) -> Iterator[str]:
        """Yield what is wrong with a foreign key."""
        yield from self._problems_of_reference(declared_foreign_key(field))

    def _problems_of_reference(self, key: ForeignKey) -> Iterator[str]:
        if key.deferrable and not self.has_deferrable_keys:
            yield (
                f"DEFERRABLE is not supported on {self.product}; leave out deferrable"
            )
        for action in (key.on_delete, key.on_update):
            if action not in self.supported_actions:
                yield (
                    f"{action} is not supported on {self.product}; use SET NULL "
                    "or CASCADE"
                )


def _instead_of(sql: str) -> str:
    """Return what to write in place of a constraint in `Meta.constraints`."""
    if _INDEX.match(sql):
        return (
            "write it in Meta.indexes: SQL('CREATE INDEX name ON table (columns)'), or "
            "CREATE UNIQUE INDEX"
        )
    if _EXCLUDE.match(sql):
        return "add it after a run, by hand: it stays there"
    return (
        'write UniqueConstraint(name, *columns), SQL("CONSTRAINT name CHECK '
        '(condition)") or Check("condition")'
    )


def _object_names(table: Table) -> list[str]:
    """Return the names of a table, its indexes and its constraints."""
    indexes = [index.name for index in table.indexes]
    checks = [check.name for check in table.checks]
    foreign_keys = [key.name for key in table.foreign_keys if key.name]
    return [table.name, *indexes, *checks, *foreign_keys]
