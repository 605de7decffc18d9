"""The type and the collation that a column will have.

They are not always as declared: both ends of a foreign key must have the same size and
sign, or the same character set and collation, or InnoDB refuses it
(https://mariadb.com/kb/en/foreign-keys/). A user's own collation is kept otherwise.
"""

from __future__ import annotations

from migrations.engines.mysql.catalog import MySQLFamilyCatalog
from migrations.engines.mysql.column_types import (
    STRINGS,
    is_single_precision,
    is_unsigned,
)
from migrations.errors import ChangeRefused
from migrations.schema import Column, ForeignKey, Schema, Type


class PlannedColumns:
    """The columns of a phase's tables after a plan.

    :param schema: the tables as they are before the plan.
    """

    def __init__(self, catalog: MySQLFamilyCatalog, schema: Schema) -> None:
        self.catalog = catalog
        self.session = catalog.session
        self.models = catalog.models
        self.schema = schema

    def column(self, table: str, name: str) -> Column:
        """Return a declared column with the type and the collation that it will have.

        One of a table that is not managed is returned as it is.

        :raises ChangeRefused: it cannot have a foreign key that it is declared to have.
        """
        existing = None
        if table in self.schema:
            existing = self.schema[table].column_named(name)
        if existing is not None and table not in self.models.managed:
            return existing
        declared = self.catalog.declared_by_name(table)
        key_of_column = declared.names.key(name)
        column = declared.columns[key_of_column]
        if existing is not None:
            type_ = self._type_in_place_of(table, existing.type, column.type)
            if column.auto_increment and existing.type.covers(column.type):
                type_ = existing.type  # which may be unsigned
            collation = column.collation or existing.collation
            column = column._replace(type=type_, collation=collation)
        for key in declared.foreign_keys:
            if key.columns == (key_of_column,):
                column = self._fitted_to_parent(table, column, key)
        return column

    def has_another_shape(self, table: str, existing: Column) -> bool:
        """Whether a column must change for its declared foreign key."""
        planned = self.column(table, existing.name)
        return _shape(existing) != _shape(planned)

    def _type_in_place_of(self, table: str, actual: Type, declared: Type) -> Type:
        """Return the type that replaces another one.

        A time keeps its fractions of seconds, and a number its digits.
        """
        if actual.covers(declared) and is_unsigned(actual) == is_unsigned(declared):
            return actual
        text = declared.text
        if (actual.category, declared.category) == ("timestamp", "datetime"):
            _, parenthesis, digits = actual.text.partition("(")
            text += parenthesis + digits
        elif declared.category == "float" and self._has_more_digits(table, actual):
            # FLOAT shows six digits of a value; DOUBLE is accepted instead.
            return declared._replace(text="DOUBLE", size=8)
        return declared._replace(text=text)

    def _has_more_digits(self, table: str, actual: Type) -> bool:
        """Whether a column may hold values with more digits than a FLOAT shows."""
        if actual.scale is None and is_single_precision(actual):
            return False
        return self.catalog.has_rows(self.schema[table].current_name)

    def _fitted_to_parent(self, table: str, column: Column, key: ForeignKey) -> Column:
        """Return a column as the column that its foreign key refers to wants it."""
        (parent_column,) = key.parent_columns
        parent = self.column(key.parent, parent_column)
        where = f"{table}.{column.name} cannot refer to {key.parent}.{parent.name}"
        existing = self.schema.get(key.parent)
        if existing is not None and existing.kind == "partitioned table":
            raise ChangeRefused(
                f"{where}: {key.parent} is a partitioned table; remove its partitions"
            )
        if parent.type.category == "integer":
            declared = self.catalog.declared_by_name(table).column_named(column.name)
            assert declared is not None
            if not parent.type.covers(declared.type):
                raise ChangeRefused(
                    f"{where}: {parent.type.text} is narrower than {column.type}; "
                    f"change {key.parent}.{parent.name} to {declared.type.text} first"
                )
            column = column._replace(type=parent.type)
        collation = parent.collation or self.session.database_collation
        return column._replace(collation=collation)


def _shape(column: Column) -> tuple[object, ...]:
    """Return what must be the same at both ends of a foreign key."""
    if column.type.category in STRINGS:
        return (column.collation,)
    return column.type.size, is_unsigned(column.type)
