"""What can be done to a table: the same few operations for every database.

An operation is a value. It says nothing about SQL: each engine's `ddl.py` writes its
statements. Each can apply itself to a schema, `operation.apply_to(schema)`, which gives
the schema as it will be afterwards; a plan is checked that way before its first
statement.
"""

from __future__ import annotations

from typing import NamedTuple

from migrations.schema import Check, Column, ForeignKey, Index, Schema, Table


class CreateTable(NamedTuple):
    """Create a table with its indexes, constraints and foreign keys."""

    table: str
    declared: Table

    def apply_to(self, schema: Schema) -> Schema:
        return schema.with_table(self.table, self.declared)


class DropForeignKey(NamedTuple):
    """Drop a foreign key, for example before one of its columns changes its type."""

    table: str
    key: ForeignKey

    def apply_to(self, schema: Schema) -> Schema:
        table = schema[self.table]
        left = tuple(key for key in table.foreign_keys if key != self.key)
        return schema.with_table(self.table, table._replace(foreign_keys=left))


class AddColumn(NamedTuple):
    """Add a column; one with auto-increment becomes the primary key."""

    table: str
    column: Column  # as declared

    def apply_to(self, schema: Schema) -> Schema:
        table = schema[self.table].with_column(self.column)
        if self.column.auto_increment:
            table = table._replace(primary_key=(self.column.name,))
        return schema.with_table(self.table, table)


class AlterColumn(NamedTuple):
    """Make a column what it is declared to be, in one or more respects."""

    table: str
    column: Column  # as declared
    actual: Column
    changes_type: bool = False
    changes_null: bool = False
    changes_default: bool = False

    @property
    def converts_values(self) -> bool:
        """Whether stored values change; those of a generated column are kept."""
        return self.changes_type and not self.actual.generated

    def merged_with(self, other: AlterColumn) -> AlterColumn:
        """Return one operation that changes what this one or the other changes."""
        # The collation is known to the operation that makes it fit a foreign key.
        collation = self.column.collation or other.column.collation
        return self._replace(
            column=self.column._replace(collation=collation),
            changes_type=self.changes_type or other.changes_type,
            changes_null=self.changes_null or other.changes_null,
            changes_default=self.changes_default or other.changes_default,
        )

    def apply_to(self, schema: Schema) -> Schema:
        table = schema[self.table]
        column = table.columns[self.column.name.lower()]
        if self.changes_type:
            collation = self.column.collation or column.collation
            column = column._replace(
                type=self.column.type, generated=False, collation=collation
            )
        if self.changes_null:
            column = column._replace(null=self.column.null)
        if self.changes_default:
            column = column._replace(default=self.column.default)
        return schema.with_table(self.table, table.with_column(column))


class SetPrimaryKey(NamedTuple):
    """Make columns the primary key."""

    table: str
    columns: tuple[str, ...]
    auto_increment: bool  # whether its one column is to be auto-increment
    replaces: tuple[str, ...] = ()  # an undeclared primary key, which stays UNIQUE

    def apply_to(self, schema: Schema) -> Schema:
        table = schema[self.table]._replace(primary_key=self.columns)
        for name in self.columns:
            column = table.columns[name]._replace(null=False)
            if self.auto_increment:
                column = column._replace(
                    auto_increment=True,
                    reuses_ids=False,
                    ids_behind=False,
                    default=None,
                )
            table = table.with_column(column)
        if self.replaces:
            kept = Index("", self.replaces, unique=True, is_constraint=True)
            table = table._replace(indexes=(*table.indexes, kept))
        return schema.with_table(self.table, table)


class AddIndex(NamedTuple):
    """Add an index or a UNIQUE constraint."""

    table: str
    definition: Index  # as declared
    replaces: Index | None = None  # one that has its name and is different

    def apply_to(self, schema: Schema) -> Schema:
        table = schema[self.table]
        # On SQLite a UNIQUE constraint and an index may have the same name.
        name = self.definition.name.lower()
        kept = tuple(index for index in table.indexes if index.name.lower() != name)
        table = table._replace(indexes=(*kept, self.definition))
        return schema.with_table(self.table, table)


class AdvanceIds(NamedTuple):
    """Let the ids of an auto-increment column continue after its highest value."""

    table: str
    column: Column  # as it is

    def apply_to(self, schema: Schema) -> Schema:
        table = schema[self.table]
        column = table.columns[self.column.name.lower()]._replace(ids_behind=False)
        return schema.with_table(self.table, table.with_column(column))


class AddCheck(NamedTuple):
    """Add a CHECK constraint, or validate the one that exists."""

    table: str
    check: Check  # the existing one if it is not validated
    replaces: Check | None = None  # one that has its name and another condition

    def apply_to(self, schema: Schema) -> Schema:
        table = schema[self.table]
        name = self.check.name.lower()
        kept = tuple(check for check in table.checks if check.name.lower() != name)
        checks = (*kept, self.check._replace(valid=True))
        return schema.with_table(self.table, table._replace(checks=checks))


class AddForeignKey(NamedTuple):
    """Add a foreign key, or validate the one that exists."""

    table: str
    key: ForeignKey
    # Keys that it replaces; or itself, if it exists and is not validated.
    replaces: tuple[ForeignKey, ...] = ()

    def apply_to(self, schema: Schema) -> Schema:
        table = schema[self.table]
        kept = tuple(key for key in table.foreign_keys if key not in self.replaces)
        keys = (*kept, self.key._replace(valid=True))
        return schema.with_table(self.table, table._replace(foreign_keys=keys))


class DropTable(NamedTuple):
    """Drop a table with its indexes and triggers."""

    table: str

    def apply_to(self, schema: Schema) -> Schema:
        return schema.without([self.table])


Operation = (
    CreateTable
    | DropForeignKey
    | AddColumn
    | AlterColumn
    | SetPrimaryKey
    | AdvanceIds
    | AddIndex
    | AddCheck
    | AddForeignKey
    | DropTable
)
# The order of execution: a column exists before what is made of it, and a key is unique
# before a foreign key refers to it.
EXECUTION_ORDER: tuple[type[Operation], ...] = (
    CreateTable,
    DropForeignKey,
    AddColumn,
    AlterColumn,
    SetPrimaryKey,
    AdvanceIds,
    AddIndex,
    AddCheck,
    AddForeignKey,
    DropTable,
)
