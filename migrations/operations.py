"""What can be done to a table: the same few operations for every database.

An operation is a value. It says nothing about SQL: each engine's `ddl.py` writes its
statements. Each can apply itself to a schema, `operation.apply_to(schema)`, which gives
the schema as it will be afterwards; a plan is checked that way before its first
statement.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from migrations.schema import (
    Check,
    Column,
    ForeignKey,
    Index,
    Schema,
    Table,
)
from migrations.sql_text import with_renamed_column


class RenameTable(NamedTuple):
    """Give a table another name; what belongs to it and refers to it follows."""

    table: str  # its new name
    old_name: str  # in the schema
    # Names of its foreign keys that the database changes with it, each with the new.
    key_names: tuple[tuple[str, str], ...] = ()

    def apply_to(self, schema: Schema) -> Schema:
        old = schema[self.old_name]
        new_names = dict(self.key_names)
        own_keys = [
            key._replace(name=new_names.get(key.name or "", key.name))
            for key in old.foreign_keys
        ]
        renamed = old._replace(
            name=self.table,
            old_name=old.current_name,
            foreign_keys=tuple(own_keys),
        )
        tables = {}
        for name, table in schema.items():
            if name == self.old_name:
                tables[self.table] = renamed
            else:
                tables[name] = table
        return Schema(tables).with_changed_keys(self._with_new_parent)

    def _with_new_parent(self, key: ForeignKey) -> ForeignKey:
        if key.parent == self.old_name:
            return key._replace(parent=self.table)
        return key


class RenameColumn(NamedTuple):
    """Give a column another name; what belongs to it and refers to it follows."""

    table: str
    column: Column  # as it is
    name: str

    def apply_to(self, schema: Schema) -> Schema:
        table = schema[self.table]

        def with_new_parent_columns(key: ForeignKey) -> ForeignKey:
            if key.parent != self.table:
                return key
            columns = self._renamed(key.parent_columns, table)
            return key._replace(parent_columns=columns)

        renamed = schema.with_table(self.table, self._with_new_name(table))
        return renamed.with_changed_keys(with_new_parent_columns)

    def _with_new_name(self, table: Table) -> Table:
        columns = {}
        for name, column in table.columns.items():
            if column.name == self.column.name:
                old_name = column.current_name
                column = column._replace(name=self.name, old_name=old_name)
                name = table.names.key(self.name)
            columns[name] = column
        indexes = [self._renamed_index(index, table) for index in table.indexes]
        foreign_keys = [
            key._replace(columns=self._renamed(key.columns, table))
            for key in table.foreign_keys
        ]
        checks = []
        for check in table.checks:
            condition = with_renamed_column(
                check.condition, self.column.name, self.name
            )
            checks.append(check._replace(condition=condition))
        return table._replace(
            columns=columns,
            primary_key=self._renamed(table.primary_key, table),
            indexes=tuple(indexes),
            foreign_keys=tuple(foreign_keys),
            checks=tuple(checks),
        )

    def _renamed_index(self, index: Index, table: Table) -> Index:
        columns = self._renamed(index.columns, table)
        if index.is_plain:
            return index._replace(columns=columns)
        old, new = self.column.name, self.name
        condition = index.condition
        if condition is not None:
            condition = with_renamed_column(condition, old, new)
        return index._replace(
            columns=tuple(with_renamed_column(part, old, new) for part in columns),
            condition=condition,
            definition=with_renamed_column(index.definition, old, new),
        )

    def _renamed(self, parts: Iterable[str], table: Table) -> tuple[str, ...]:
        """Return the parts of a key; one that is not a plain column has a suffix.

        :param table: as it is before.
        """
        old = table.names.key(self.column.name)
        new = table.names.key(self.name)
        renamed = []
        for part in parts:
            if table.column_of_part(part) == old:
                renamed.append(new + part.removeprefix(old))
            else:
                renamed.append(part)
        return tuple(renamed)


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


class DropCheck(NamedTuple):
    """Drop a CHECK constraint."""

    table: str
    check: Check

    def apply_to(self, schema: Schema) -> Schema:
        table = schema[self.table]
        left = tuple(check for check in table.checks if check != self.check)
        return schema.with_table(self.table, table._replace(checks=left))


class AddColumn(NamedTuple):
    """Add a column; one with auto-increment becomes the primary key."""

    table: str
    column: Column  # as declared
    checks: tuple[Check, ...] = ()  # that belong to its definition

    @property
    def filled_with(self) -> str | None:
        """The SQL of the value of existing rows, if they are filled."""
        return self.column.backfill

    def apply_to(self, schema: Schema) -> Schema:
        table = schema[self.table].with_column(self.column)
        table = table._replace(checks=(*table.checks, *self.checks))
        if self.column.auto_increment:
            key = table.names.key(self.column.name)
            table = table._replace(primary_key=(key,))
        return schema.with_table(self.table, table)


class AlterColumn(NamedTuple):
    """Make a column what it is declared to be, in one or more respects."""

    table: str
    column: Column  # as declared
    actual: Column
    changes_type: bool = False
    changes_null: bool = False
    changes_default: bool = False
    changes_attributes: bool = False

    @property
    def changes_collation(self) -> bool:
        """Whether a column gets the collation that its model declares."""
        collation = self.column.collation
        return self.changes_type and collation not in (None, self.actual.collation)

    @property
    def converts_values(self) -> bool:
        """Whether stored values change; those of a generated column are kept."""
        return self.changes_type and not self.actual.generated

    @property
    def filled_with(self) -> str | None:
        """The SQL of the value that replaces NULL, if NULLs are replaced."""
        if self.changes_null and not self.column.null:
            return self.column.backfill
        return None

    def merged_with(self, other: "AlterColumn") -> "AlterColumn":
        """Return one operation that changes what this one or the other changes."""
        # The collation is known to the operation that makes it fit a foreign key.
        collation = self.column.collation or other.column.collation
        return self._replace(
            column=self.column._replace(collation=collation),
            changes_type=self.changes_type or other.changes_type,
            changes_null=self.changes_null or other.changes_null,
            changes_default=self.changes_default or other.changes_default,
            changes_attributes=self.changes_attributes or other.changes_attributes,
        )

    def apply_to(self, schema: Schema) -> Schema:
        table = schema[self.table]
        column = table.columns[table.names.key(self.column.name)]
        if self.changes_type:
            collation = self.column.collation or column.collation
            column = column._replace(
                type=self.column.type, generated=False, collation=collation
            )
        if self.changes_null:
            column = column._replace(null=self.column.null)
        if self.changes_default:
            column = column._replace(default=self.column.default)
        if self.changes_attributes:
            kept = [
                each
                for each in column.attributes
                if not self.column.attribute_like(each)
            ]
            attributes = (*kept, *self.column.attributes)
            column = column._replace(attributes=attributes)
        return schema.with_table(self.table, table.with_column(column))


class SetPrimaryKey(NamedTuple):
    """Make columns the primary key."""

    table: str
    columns: tuple[str, ...]
    auto_increment: bool  # whether its one column is to be auto-increment
    replaces: tuple[str, ...] = ()  # an undeclared primary key, which stays UNIQUE
    may_be_null: tuple[str, ...] = ()  # those of its columns that accept NULL

    def apply_to(self, schema: Schema) -> Schema:
        table = schema[self.table]._replace(primary_key=self.columns)
        for name in self.columns:
            column = table.columns[name]
            if name not in self.may_be_null:
                column = column._replace(null=False)
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
        key = table.names.key
        name = key(self.definition.name)
        # On SQLite a UNIQUE constraint and an index may have the same name.
        kept = table.indexes
        if name:
            kept = tuple(each for each in table.indexes if key(each.name) != name)
        table = table._replace(indexes=(*kept, self.definition))
        return schema.with_table(self.table, table)


class AdvanceIds(NamedTuple):
    """Let the ids of an auto-increment column continue after its highest value."""

    table: str
    column: Column  # as it is

    def apply_to(self, schema: Schema) -> Schema:
        table = schema[self.table]
        column = table.columns[table.names.key(self.column.name)]
        table = table.with_column(column._replace(ids_behind=False))
        return schema.with_table(self.table, table)


class AddCheck(NamedTuple):
    """Add a CHECK constraint, or validate the one that exists."""

    table: str
    check: Check  # the existing one if it is not validated
    replaces: Check | None = None  # one that has its name and another condition

    def apply_to(self, schema: Schema) -> Schema:
        table = schema[self.table]
        key = table.names.key
        name = key(self.check.name)
        kept = table.checks
        if name:
            kept = tuple(check for check in table.checks if key(check.name) != name)
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


class DropIndex(NamedTuple):
    """Drop an index or a UNIQUE constraint."""

    table: str
    definition: Index

    def apply_to(self, schema: Schema) -> Schema:
        table = schema[self.table]
        left = tuple(index for index in table.indexes if index != self.definition)
        return schema.with_table(self.table, table._replace(indexes=left))

    def is_done(self, schema: Schema) -> bool:
        """Whether a schema has no such index."""
        return self.definition not in schema[self.table].indexes


class DropColumn(NamedTuple):
    """Drop a column, with the indexes and constraints that it belongs to."""

    table: str
    column: Column
    drops_values: bool = False  # whether it is dropped even if it holds values
    # What is dropped with it; planning finds it out.
    indexes: tuple[Index, ...] = ()
    checks: tuple[Check, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    # What is in the way: the columns of foreign keys that refer to it, each with its
    # table. Planning finds it out, too.
    referring: tuple[str, ...] = ()
    left_columns: tuple[str, ...] = ()  # those that the table has afterwards

    def apply_to(self, schema: Schema) -> Schema:
        table = schema[self.table].with_column_dropped(self.column.name)
        return schema.with_table(self.table, table)

    def with_dependents(self, schema: Schema) -> "DropColumn":
        """Return the operation with what belongs to the column in a schema."""
        table = schema[self.table]
        name = self.column.name
        return self._replace(
            indexes=table.indexes_with(name),
            checks=table.checks_with(name),
            foreign_keys=table.foreign_keys_with(name),
            referring=tuple(self._referring_columns(schema)),
            left_columns=tuple(
                column.name for column in table.columns.values() if column.name != name
            ),
        )

    def _referring_columns(self, schema: Schema) -> Iterator[str]:
        """Yield the columns of foreign keys to the column that do not go with it."""
        own_keys = schema[self.table].foreign_keys_with(self.column.name)
        for name, table in schema.items():
            for key in self.keys_to_it(schema, name):
                if name != self.table or key not in own_keys:
                    yield f"{table.name}.{', '.join(key.columns)}"

    def keys_to_it(self, schema: Schema, table: str) -> Iterator[ForeignKey]:
        """Yield the foreign keys of a table that refer to the column."""
        name = schema[self.table].names.key(self.column.name)
        for key in schema[table].foreign_keys:
            if key.parent == self.table and name in key.parent_columns:
                yield key

    @property
    def description(self) -> str:
        """What is dropped, for people."""
        parts = [f"index {index.name}" for index in self.indexes if index.name]
        parts += [f"check {check.name}" for check in self.checks if check.name]
        for key in self.foreign_keys:
            parts.append(f"foreign key {key.name or ', '.join(key.columns)}")
        text = f"drop column {self.column.name}"
        if parts:
            text += f" with {', '.join(parts)}"
        return text


class ForbidRows(NamedTuple):
    """Let a table hold no row until it is dropped; it fails if there is one.

    Others may have written rows since they were counted.
    """

    table: str

    def apply_to(self, schema: Schema) -> Schema:
        return schema


class DropTable(NamedTuple):
    """Drop a table with its indexes and triggers."""

    table: str

    def apply_to(self, schema: Schema) -> Schema:
        return schema.without([self.table])


Rename = RenameTable | RenameColumn  # all other operations use the new names
Operation = (
    RenameTable
    | RenameColumn
    | CreateTable
    | ForbidRows
    | DropForeignKey
    | DropCheck
    | AddColumn
    | AlterColumn
    | SetPrimaryKey
    | AdvanceIds
    | AddIndex
    | AddCheck
    | AddForeignKey
    | DropIndex
    | DropColumn
    | DropTable
)
# The order of execution: a column exists before what is made of it, and a key is unique
# before a foreign key refers to it. A key is dropped after a column that refers to it.
EXECUTION_ORDER: tuple[type[Operation], ...] = (
    RenameTable,
    RenameColumn,
    CreateTable,
    ForbidRows,
    DropForeignKey,
    DropCheck,
    AddColumn,
    AlterColumn,
    SetPrimaryKey,
    AdvanceIds,
    AddIndex,
    AddCheck,
    AddForeignKey,
    DropColumn,
    DropIndex,
    DropTable,
)
