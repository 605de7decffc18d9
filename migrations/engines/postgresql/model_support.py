"""What PostgreSQL supports of the models that a phase manages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import peewee

from db.constraints import field_constraints
from migrations.declaration import Model, type_of
from migrations.engines.model_support import ModelSupport
from migrations.engines.postgresql.names import MAX_NAME_LENGTH, shortened
from migrations.schema import Table
from migrations.sql_text import is_literal, unquoted

if TYPE_CHECKING:
    from migrations.index_text import IndexText


_COLLATION = """
SELECT FROM pg_collation WHERE collname = %s AND pg_collation_is_visible(oid)"""


class PostgreSQLModelSupport(ModelSupport):
    """Finds what PostgreSQL cannot create, or a phase cannot compare there."""

    has_identity_columns = True
    max_decimal_digits = 1000
    supported_options = frozenset({"schema", "table_settings"})
    advice_about_types = (
        "; if it is one of an extension, run first: CREATE EXTENSION name"
    )
    advice_about_collations = "choose one of: SELECT collname FROM pg_collation"

    def problems_of_options(self, model: Model, table: Table) -> Iterator[str]:
        yield from super().problems_of_options(model, table)
        schema = model._meta.schema or ""
        if schema != self.models.managed_schema:
            yield (
                f"Meta.schema is {schema!r}, and that of another managed model is "
                f"{self.models.managed_schema!r}; make a phase for each schema"
            )
        elif schema and not self.catalog.session.query(
            "SELECT FROM pg_namespace WHERE nspname = %s", (schema,)
        ):
            quoted = self.catalog.session.quote(schema)
            yield (f"there is no schema {schema!r}; run first: CREATE SCHEMA {quoted}")

    def has_collation(self, collation: str) -> bool:
        # PostgreSQL folds a name without quotes, and Peewee writes it as it is.
        name = unquoted(collation)
        if name == collation:
            name = collation.lower()
        schema, _, last = name.rpartition(".")
        return bool(schema) or bool(self.catalog.session.query(_COLLATION, (last,)))

    def problem_of_key_column(self, field: peewee.Field, key: str) -> str:
        text = type_of(field, self.database)
        if text.lower() == "json":
            return "JSON cannot be compared; use JSONB"
        return ""

    def problems_of_index(self, index: IndexText) -> Iterator[str]:
        if index.kind not in ("", "UNIQUE"):
            yield f"PostgreSQL has no {index.kind} index; use USING gin or gist"

    def problems_of_names(self, model: Model, table: Table) -> Iterator[str]:
        indexes = [
            index._replace(name=shortened(index.name)) for index in table.indexes
        ]
        table = table._replace(indexes=tuple(indexes))
        yield from super().problems_of_names(model, table)

    def problem_of_name(self, name: str) -> str:
        length = len(name.encode())
        if length > MAX_NAME_LENGTH:
            return (
                f"has {length} bytes, and PostgreSQL would cut it after "
                f"{MAX_NAME_LENGTH}; give it a shorter one"
            )
        return ""

    def problems_of_field_constraints(self, field: peewee.Field) -> Iterator[str]:
        yield from super().problems_of_field_constraints(field)
        default = field_constraints(field, self.database).default
        if default is None or not is_literal(default):
            return
        word = default.strip().upper()
        says_boolean = word in ("TRUE", "FALSE")
        type_ = self.catalog.parse_type(type_of(field, self.database))
        is_boolean = type_.category == "boolean"  # an array of them is none
        if word != "NULL" and says_boolean != is_boolean:
            yield (
                "TRUE and FALSE are the DEFAULT of a BooleanField on PostgreSQL, and "
                "of no other"
            )

    def exclusive_names(self, tables: list[Table]) -> Iterator[list[str]]:
        """Tables and indexes of a schema share their names, constraints of a table."""
        names = []
        for table in tables:
            indexes = [index.name for index in table.indexes]
            names += [table.name, *indexes]
            checks = [check.name for check in table.checks]
            foreign_keys = [key.name for key in table.foreign_keys if key.name]
            unique = [each.name for each in table.indexes if each.is_constraint]
            yield [*checks, *foreign_keys, *unique]
        yield names
