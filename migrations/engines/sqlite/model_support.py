"""What SQLite supports of the models that a phase manages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import peewee

from db.constraints import field_constraints
from migrations.declaration import Model
from migrations.engines.model_support import ModelSupport
from migrations.schema import Table

if TYPE_CHECKING:
    from migrations.index_text import IndexText


class SQLiteModelSupport(ModelSupport):
    """Finds what SQLite cannot create, or a phase cannot compare there."""

    has_circular_keys = True
    supported_options = frozenset({"strict_tables", "without_rowid", "table_settings"})

    def problems_of_options(self, model: Model, table: Table) -> Iterator[str]:
        yield from super().problems_of_options(model, table)
        if table.settings:
            yield (
                f"Meta.table_settings {' '.join(table.settings)!r} is not supported on "
                "SQLite; use Meta.strict_tables and Meta.without_rowid"
            )
        if "STRICT" in table.options and self.database.server_version < (3, 37):
            version = ".".join(str(number) for number in self.database.server_version)
            yield f"SQLite {version} has no STRICT tables; 3.37 is needed"

    def problems_of_field_constraints(self, field: peewee.Field) -> Iterator[str]:
        yield from super().problems_of_field_constraints(field)
        default = field_constraints(field, self.database).default
        if default is None or "(" not in default:
            return
        try:
            self.catalog.session.query(f"SELECT {default}")
        except peewee.DatabaseError as error:
            # SQLite creates the table, and then no row can be inserted.
            yield f"DEFAULT {default} has no value on SQLite: {error}"

    def problem_of_attribute(self, field: peewee.Field, text: str) -> str:
        if text.upper() != "AUTOINCREMENT":
            return super().problem_of_attribute(field, text)
        if not field.auto_increment:
            return "is for an AutoField; use db.fields.AutoIncrementField"
        return ""

    def problem_of_key_column(self, field: peewee.Field, key: str) -> str:
        return ""

    def problems_of_index(self, index: IndexText) -> Iterator[str]:
        if index.method:
            yield f"SQLite has no USING {index.method}; leave out using"
        if index.suffix:
            yield f"SQLite has no {index.suffix}; leave it out"
        if index.kind not in ("", "UNIQUE"):
            yield f"SQLite has no {index.kind} index; use CREATE INDEX"

    def problem_of_name(self, name: str) -> str:
        if self.catalog.names.key(name).startswith("sqlite_"):
            return "is reserved for SQLite itself; use one that begins otherwise"
        return ""

    def exclusive_names(self, tables: list[Table]) -> Iterator[list[str]]:
        """Tables and indexes share their names.

        Constraints may even have the same, but could not be told apart then.
        """
        names = []
        for table in tables:
            yield [check.name for check in table.checks]
            yield [each.name for each in table.indexes if each.is_constraint]
            names.append(table.name)
            names += [each.name for each in table.indexes if not each.is_constraint]
        yield names
