"""What MariaDB and MySQL support of the models that a phase manages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import peewee

from migrations.declaration import Model, declared_table, table_name, type_of
from migrations.engines.model_support import ModelSupport
from migrations.engines.mysql.catalog import (
    MySQLFamilyCatalog,
    UnknownEngine,
    declared_engine,
)
from migrations.engines.mysql.conversions import in_collation
from migrations.engines.mysql.server_errors import NO_COLLATION, error_code
from migrations.engines.mysql.show_create_table import attribute_meaning
from migrations.schema import Table
from migrations.sql_text import literal

if TYPE_CHECKING:
    from migrations.index_text import IndexText

# Types of which a key has to say how much of a value it contains.
_WITHOUT_LENGTH = {
    "TEXT",
    "BLOB",
    "JSON",
    "TINYTEXT",
    "MEDIUMTEXT",
    "LONGTEXT",
    "TINYBLOB",
    "MEDIUMBLOB",
    "LONGBLOB",
}
_MAX_NAME_LENGTH = 64  # https://mariadb.com/kb/en/identifier-names/


class MySQLFamilyModelSupport(ModelSupport):
    """Finds what neither server can create, or a phase cannot compare there."""

    catalog: MySQLFamilyCatalog
    # InnoDB refuses SET DEFAULT: https://mariadb.com/kb/en/foreign-keys/
    supported_actions = frozenset({"NO ACTION", "RESTRICT", "CASCADE", "SET NULL"})
    has_deferrable_keys = False
    advice_about_collations = "choose one of: SHOW COLLATION"
    max_decimal_digits = 65  # https://mariadb.com/kb/en/decimal/
    # Whether an index may be one of expressions.
    has_expression_indexes = False
    # Whether a column of any length may be unique.
    has_unique_long_columns = False

    def problems_of_type(self, field: peewee.Field) -> Iterator[str]:
        if field.field_type == "VARCHAR" and not field.get_modifiers():
            yield f"it needs a length on {self.product}; use CharField(n)"
            return
        yield from super().problems_of_type(field)

    def has_collation(self, collation: str) -> bool:
        """Ask the server for a text in it, as it is written with its character set."""
        session = self.catalog.session
        try:
            session.query(f"SELECT {in_collation(literal(''), collation)}")
        except peewee.DatabaseError as error:
            if error_code(error) not in NO_COLLATION:
                raise
            return False
        return True

    def problem_of_key_column(self, field: peewee.Field, key: str) -> str:
        text = type_of(field, self.database)
        if text.upper() not in _WITHOUT_LENGTH:
            return ""
        model = field.model
        indexes = declared_table(model, names=self.catalog.names).indexes
        unique = {index.label for index in indexes if index.unique}
        if key in unique and self.has_unique_long_columns:
            return ""
        part = f"{field.column_name}(100)"
        beginning = f"SQL('CREATE INDEX name ON {table_name(model)} ({part})')"
        advice = "use CharField(n)"
        if key != "the primary key":
            advice += f", or an index of its beginning in Meta.indexes: {beginning}"
        return f"{text} has no length for a key on {self.product}; {advice}"

    def problems_of_index(self, index: IndexText) -> Iterator[str]:
        where = self.product
        if index.condition is not None:
            yield f"{where} has no partial indexes; leave out where"
        if index.suffix:
            yield f"{where} has no {index.suffix}; leave it out"
        if index.method not in ("", "btree", "hash"):
            yield f"{where} has no USING {index.method}; leave out using"
        if self.has_expression_indexes:
            return
        for part in index.normalized_parts():
            if part.startswith("("):
                advice = "index a generated column, or a column with that value"
                yield f"{where} has no expression indexes, such as {part}; {advice}"

    def problems_of_options(self, model: Model, table: Table) -> Iterator[str]:
        yield from super().problems_of_options(model, table)
        try:
            engine = self.catalog.storage_engine(table)
        except UnknownEngine as error:
            yield f"the server has no storage engine {error}; use ENGINE=InnoDB"
            return
        if engine is not None:
            return
        for key in table.foreign_keys:
            if key.parent not in self.models.by_table:
                continue
            parent = declared_table(self.models.by_table[key.parent])
            if declared_engine(parent) not in ("", "innodb"):
                yield (
                    f"FOREIGN KEY ({', '.join(key.columns)}) refers to {key.parent}, "
                    "whose storage engine has no foreign keys; use ENGINE=InnoDB there"
                )

    def problem_of_attribute(self, field: peewee.Field, text: str) -> str:
        meaning = attribute_meaning(text)
        if meaning is None:
            return super().problem_of_attribute(field, text)
        type_ = self.catalog.parse_type(type_of(field, self.database))
        is_time = type_.category in ("datetime", "timestamp")
        if meaning.startswith("ON UPDATE") and not is_time:
            return "is for a DateTimeField"
        return ""

    def problem_of_name(self, name: str) -> str:
        if len(name) > _MAX_NAME_LENGTH:
            return (
                f"has {len(name)} characters, and {self.product} allows "
                f"{_MAX_NAME_LENGTH}; give it a shorter one"
            )
        if name != name.rstrip(" "):
            return f"ends with a blank, which {self.product} does not allow"
        return ""

    def exclusive_names(self, tables: list[Table]) -> Iterator[list[str]]:
        """Foreign keys of a database share their names, and indexes of a table.

        A foreign key is given an index of its name, unless there is one of its columns.
        """
        names = []
        for table in tables:
            indexes = [index.name for index in table.indexes]
            for key in table.foreign_keys:
                if not key.name:
                    continue
                names.append(key.name)
                index = table.index_named(key.name)
                if index is not None and index.columns != key.columns:
                    indexes.append(key.name)
            yield indexes
            yield [check.name for check in table.checks]
        yield names
