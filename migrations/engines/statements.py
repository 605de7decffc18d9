"""From operations to statements: what is the same on every engine, by `playhouse.migrate` and Peewee.

An engine's own `statements.py` has what differs there. A statement carries its promises with it: whether
it stands alone, and whom it holds up for as long as it runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any  # of Peewee's

import peewee

from migrations import operations as do
from migrations.operations import Operation
from migrations.report import Change
from migrations.schema import Column, ForeignKey, Schema, Table

if TYPE_CHECKING:
    from migrations.engines.base import Engine


class Statements:
    """The statements of one plan: `schema` is what the database has, `engine` whom to ask about it.

    An operation has a method of its name: `AddIndex`'s is `add_index`. Here are those that Peewee writes right.
    """

    def __init__(self, engine: Engine, schema: Schema) -> None:
        self.engine, self.schema = engine, schema
        self.quote = engine.quote

    def of(self, operations: Sequence[Operation]) -> list[Change]:
        """Return the statements of operations, in their order."""
        return [change for operation in operations for change in self.of_one(operation)]

    def of_one(self, operation: Operation) -> Iterable[Change]:
        """Return the statements of an operation."""
        name = re.sub("(?<!^)(?=[A-Z])", "_", type(operation).__name__).lower()
        changes: Iterable[Change] = getattr(self, name)(operation)
        return changes

    def create_table(self, operation: do.CreateTable) -> Iterator[Change]:
        """The table with its keys and CHECKs, then its indexes."""
        manager = peewee.SchemaManager(self.engine.models[operation.table], self.engine.database)
        yield Change(f"create table {operation.table}", self.sql_of(manager._create_table(safe=False)))
        for index in self.declared(operation.table).indexes:
            if not index.constraint:
                yield from self.of_one(do.AddIndex(operation.table, index))

    def drop_table(self, operation: do.DropTable) -> Iterator[Change]:
        """What hangs on the table is not dropped with it: see `Engine.dependents`."""
        manager = peewee.SchemaManager(self.engine.models[operation.table], self.engine.database)
        yield Change(f"drop table {operation.table}", self.sql_of(manager._drop_table(safe=False)))

    # -- the words for it

    @cached_property
    def migrator(self) -> Any:
        """Peewee's own writer of schema changes."""
        from playhouse.migrate import SchemaMigrator  # only where there is something to change

        return SchemaMigrator.from_database(self.engine.database)

    def sql_of(self, operation: Any) -> str:
        """Return the statement of an operation of `playhouse.migrate`, or of any SQL node.

        Such an operation only runs itself; a plan has to show it first.
        """
        while hasattr(operation, "fn"):
            operation = operation.fn(operation.migrator, *operation.args, **operation.kwargs)
        if not isinstance(operation, peewee.Context):
            operation = self.engine.database.get_sql_context(scope=peewee.SCOPE_VALUES).sql(operation)
        text: str = operation.query()[0]
        return text

    def alter(self, table: str) -> str:
        """Return the beginning of a statement that alters a table."""
        return f"ALTER TABLE {self.quote(table)}"

    def names(self, columns: Iterable[str]) -> str:
        """Return columns as a list in parentheses."""
        return f"({', '.join(map(self.quote, columns))})"

    def declared(self, table: str) -> Table:
        """Return a table as its model declares it."""
        return self.engine.declared(self.engine.models[table])

    def definition(self, table: str, column: Column, null: bool | None = None) -> str:
        """Return the definition of a declared column, as `CREATE TABLE` has it.

        :param null: another nullability than the declared one, for a column that keeps its own.
        """
        field = self.engine.models[table]._meta.columns[column.name]
        if null is not None and null != field.null:
            field = field.clone()
            field.null = null
        return self.sql_of(field.ddl(self.engine.database.get_sql_context(scope=peewee.SCOPE_VALUES)))

    def reference(self, key: ForeignKey) -> str:
        """Return a foreign key as a table's constraint, named where the key has a name."""
        name = f"CONSTRAINT {self.quote(key.name)} " if key.name else ""
        actions = f" ON DELETE {key.on_delete}" * (key.on_delete != "NO ACTION")
        actions += f" ON UPDATE {key.on_update}" * (key.on_update != "NO ACTION")
        return (
            f"{name}FOREIGN KEY {self.names(key.columns)} REFERENCES {self.quote(key.table)} "
            f"{self.names(key.target)}{actions}"
        )
