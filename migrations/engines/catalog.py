"""Reading: what a database says of its tables, and what it means.

`Catalog` is the abstract base class; a subclass per database is in its package.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import ClassVar

from migrations.declaration import Model, declared_table
from migrations.engines.session import Session
from migrations.errors import UnsupportedModel
from migrations.renames import Renamed, under_new_names
from migrations.report import Difference
from migrations.schema import (
    Check,
    Column,
    Exclusion,
    ForeignKey,
    Index,
    NameRule,
    Schema,
    Table,
    Type,
)
from migrations.sql_text import comparable_condition, is_literal


class UnknownType(Exception):
    """The database has no type of a name; the text says so in its words."""


class UnusableDefault(Exception):
    """A DEFAULT is no value of its column; the text says why."""


class Catalog(ABC):
    """Reads the catalog. Its methods are called at any stage and change nothing."""

    # When two names of columns, indexes or constraints are the same, and when two
    # names of tables are.
    names: ClassVar[NameRule]
    table_names: NameRule
    # Actions of foreign keys that this database treats as another one.
    equivalent_actions: ClassVar[Mapping[str, str]] = {}

    # Categories of types whose values are known; see `is_known`.
    known_categories: ClassVar[frozenset[str]] = frozenset(
        {
            "integer",
            "float",
            "decimal",
            "string",
            "fixed string",
            "boolean",
            "date",
            "time",
            "datetime",
            "blob",
            "json",
            "uuid",
        }
    )

    def __init__(self, session: Session) -> None:
        self.session = session
        self.models = session.models

    # -- tables

    @abstractmethod
    def read(self) -> Schema:
        """Return the phase's tables as they are now, without those that are missing.

        Called before planning, again under the migration lock, and after the changes.
        """

    @abstractmethod
    def tables(self, names: Iterable[str]) -> Schema:
        """Return any tables by their names; one that is missing is left out.

        Called while planning, and by the smoke test.
        """

    def table_key(self, name: str) -> str:
        """Return the name by which a phase knows a table.

        That is the name that a model of the phase declares for it, otherwise the key
        of its own. `Schema` and `ForeignKey.parent` have tables by it.
        """
        key = self.table_names.key(name)
        return self._declared_tables.get(key, key)

    @cached_property
    def _declared_tables(self) -> dict[str, str]:
        """The names of the phase's tables as they are declared, by their keys."""
        return {self.table_names.key(name): name for name in self.models.by_table}

    @abstractmethod
    def case_variants(self, table: str) -> list[str]:
        """Return the names of other tables that differ from a name only in case.

        None where the database takes them for the same name. Called while planning.
        """

    @abstractmethod
    def dependents(self, table: str) -> list[str]:
        """Return what would break if a table were dropped, such as "view x".

        What the phase manages itself is left out. Called by a rollback.
        """

    def exclusions(self, table: Table) -> list[Exclusion]:
        """Return the EXCLUDE constraints of a table, if the database has such.

        Called by preflight, for a table with values that are converted or filled.
        """
        return []

    def under_new_names(self, schema: Schema) -> Renamed:
        """Return tables as if all that the models rename had its new name."""
        declared = [self.declared_by_name(name) for name in self.models.managed]
        return under_new_names(
            schema, declared, self.table_key, self.models.drops, self.new_key_names
        )

    def new_key_names(self, table: Table, name: str) -> tuple[tuple[str, str], ...]:
        """Return the foreign keys of a table that change their names with it.

        :param name: the new name of the table.
        :return: pairs of the old and the new name.
        """
        return ()

    def current_source(self, table: Table) -> str:
        """Return what to select from to get rows under the names that a plan gives.

        The table itself, unless something of it is to be renamed.
        """
        quote = self.session.quote
        source = quote(table.current_name)
        if not table.has_old_names:
            return source
        values = []
        for column in table.columns.values():
            value = quote(column.current_name)
            if column.old_name:
                value += f" AS {quote(column.name)}"
            values.append(value)
        return f"(SELECT {', '.join(values)} FROM {source})"

    # -- rows

    def count(self, table: str, up_to: int | None = None) -> int:
        """Return the number of rows of a table, or of the first `up_to` of them.

        Called while planning, by a rollback, and for the statistics.
        """
        source = self.session.quote(table)
        if up_to is not None:
            source = f"(SELECT 1 FROM {source} LIMIT {up_to}) AS t"
        with self.session.all_rows():
            ((count,),) = self.session.query(f"SELECT count(*) FROM {source}")
        return int(count)

    def count_values(self, table: str, column: str, up_to: int) -> int:
        """Return the number of rows with a value in a column, or `up_to`.

        Called at each comparison, for a column that the phase drops.
        """
        quote = self.session.quote
        rows = f"SELECT 1 FROM {quote(table)} WHERE {quote(column)} IS NOT NULL"
        with self.session.all_rows():
            ((count,),) = self.session.query(
                f"SELECT count(*) FROM ({rows} LIMIT {up_to}) AS t"
            )
        return int(count)

    def has_rows(self, table: str) -> bool:
        """Whether a table has at least one row."""
        return self.count(table, up_to=1) > 0

    def estimated_count(self, table: str) -> int | None:
        """Return the catalog's estimate of a table's rows; None if it has none.

        Called for the statistics.
        """
        return None

    def may_hold_orphans(self) -> bool:
        """Whether rows can violate a foreign key in the ordinary course of things.

        Called before the check for orphans.
        """
        return True

    # -- what models declare on this database

    @abstractmethod
    def parse_type(self, text: str) -> Type:
        """Return the meaning of a type, as this database or Peewee writes it.

        Called while reading, for types of the catalog and of models.
        """

    def declared_type(self, text: str) -> Type:
        """Return the meaning of a type that a model declares.

        One that this project does not know is looked up: the server is asked how it
        writes it. Called before the first read, and once per process and model.

        :raises UnknownType: the server has no such type.
        """
        return self.parse_type(text)

    def is_known(self, type_: Type) -> bool:
        """Whether it is known what values a type has, and how they are converted.

        A type that is not is compared by its name, and nothing is converted to it.
        """
        return type_.category in self.known_categories

    def type_is_accepted(self, table: Table, expected: Column, actual: Column) -> bool:
        """Whether a column's type holds every value that the model allows.

        :param table: the declared table.
        """
        return actual.type.covers(expected.type)

    def same_condition(self, table: Table, declared: str, actual: str) -> bool:
        """Whether two CHECK conditions are the same, in whatever form.

        The default compares texts without letter case, blanks, quotes of names and
        parentheses. A database that writes conditions in a form of its own is asked.

        :param table: the table as it is.
        """
        return comparable_condition(declared) == comparable_condition(actual)

    def is_equivalent(self, table: Table, index: Index, candidate: Index) -> bool:
        """Whether an index does all that a declared one does, whatever its name is.

        It serves every query, and rejects every row, that the declared one does. Called
        while comparing.

        :param table: the table as it is.
        """
        if not index.is_plain:
            if candidate.is_plain or not candidate.valid:
                return False
            return self.same_index(table, index, candidate)
        if not candidate.covers_all_rows or candidate.columns != index.columns:
            return False
        return candidate.unique or not index.unique

    def same_index(self, table: Table, declared: Index, actual: Index) -> bool:
        """Whether an index is what a model declares, whatever its name is.

        Called while comparing, for a declared index that is more than one of columns.
        The default compares the statements, and their conditions and expressions as
        those of CHECKs.

        :param table: the table as it is.
        """
        if declared.definition == actual.definition:
            return True
        # Imported only for indexes that are more than indexes of columns.
        from migrations.index_text import parse_create_index, same_definition

        texts = [
            parse_create_index(declared.definition),
            parse_create_index(actual.definition),
        ]
        first, second = texts
        if first is None or second is None:
            return False
        same_condition = functools.partial(self.same_condition, table)
        return same_definition(first, second, same_condition)

    def matching_check(self, table: Table, check: Check) -> Check | None:
        """Return the CHECK constraint of a table that a declared one is.

        One of its name; or, if the database chooses the name, one of its condition.
        """
        if check.name:
            return table.check_named(check.name)
        for other in table.checks:
            if other.condition == check.condition:
                return other
        for other in table.checks:
            if self.same_condition(table, check.condition, other.condition):
                return other
        return None

    def same_default(self, column: Column, default: str) -> bool:
        """Whether a DEFAULT has the meaning of the one that a column is declared with.

        A database that writes expressions in a form of its own is asked.
        """
        declared = column.default or "NULL"
        if self.default_meaning(declared) == self.default_meaning(default):
            return True
        if is_literal(declared):
            return False
        return self.same_expression(column.type, declared, default)

    def same_attribute(self, declared: str, actual: str) -> bool:
        """Whether two clauses of a column are the same, such as two COMMENTs.

        See `Column.attributes`. Called while comparing.
        """
        return declared == actual

    @abstractmethod
    def same_expression(self, type_: Type, declared: str, actual: str) -> bool:
        """Whether the database reads two DEFAULTs of a type as the same expression.

        It is asked without executing them. Called for what `default_meaning` leaves
        different.
        """

    def undeclared(self, expected: Table, actual: Table) -> Iterable[Difference]:
        """Return warnings and notes about what only this database has.

        `migrations.undeclared` has those of all databases.

        :param expected: the declared table.
        """
        return []

    @abstractmethod
    def default_meaning(self, default: str) -> str:
        """Return a comparable form of a DEFAULT.

        `schema.UTC_NOW` for the current time in UTC, otherwise the literal without
        quotes or the expression.
        """

    def declared(self, model: Model) -> Table:
        """Return the table that a model declares on this database.

        It may query the database, once per phase and model: see `normalized_default`.
        """
        declared = self.models.declared
        cache_key = (self.session.product, model)
        if cache_key not in declared:
            table = declared_table(
                model, self.session.database, self.declared_type, self.names
            )
            columns = {}
            for name, column in table.columns.items():
                try:
                    column = self.normalized_default(column)
                except UnusableDefault as error:
                    raise UnsupportedModel(
                        f"{model.__name__}.{column.name}: DEFAULT {column.default} has "
                        f"no value on {self.session.product}: {error}"
                    ) from None
                if column.collation:
                    collation = self.normalized_collation(column.collation)
                    column = column._replace(collation=collation)
                columns[name] = column
            foreign_keys = [self.normalized_key(key) for key in table.foreign_keys]
            table = table._replace(columns=columns, foreign_keys=tuple(foreign_keys))
            declared[cache_key] = self.normalized_table(table)
        return declared[cache_key]

    def declared_by_name(self, table: str) -> Table:
        """Return what the phase's model of a table declares on this database."""
        return self.declared(self.models.by_table[table])

    def normalized_default(self, column: Column) -> Column:
        """Return a declared column with its DEFAULT as the database will write it back.

        Of '8:00' it may make '08:00:00'.

        :raises UnusableDefault: no row could have it.
        """
        return column

    def normalized_collation(self, collation: str) -> str:
        """Return a declared collation as this database writes it."""
        return collation

    def normalized_table(self, table: Table) -> Table:
        """Return a declared table with what this database makes of its options.

        The columns of a primary key refuse NULL, whatever they are declared with.
        """
        for name in table.primary_key:
            column = table.columns[name]._replace(null=False)
            table = table.with_column(column)
        return table

    def normalized_key(self, key: ForeignKey) -> ForeignKey:
        """Return a declared foreign key with the actions that this database has."""
        actions = self.equivalent_actions
        if not key.parent_columns:
            key = key._replace(parent_columns=self.implied_parent_columns(key))
        return key._replace(
            on_delete=actions.get(key.on_delete, key.on_delete),
            on_update=actions.get(key.on_update, key.on_update),
        )

    def implied_parent_columns(self, key: ForeignKey) -> tuple[str, ...]:
        """Return the columns that a foreign key refers to if it names none.

        The default returns the primary key, as the SQL standard says.
        """
        if key.parent not in self.models.by_table:
            return ()
        parent = declared_table(self.models.by_table[key.parent], names=self.names)
        return parent.primary_key
