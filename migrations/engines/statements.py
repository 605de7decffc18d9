"""From operations to statements: what is the same on every engine, as Peewee writes it.

An engine's own `statements.py` has what differs there. A statement carries its promises with it: whether
it stands alone, and whom it holds up for as long as it runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import peewee

from migrations import operations as do
from migrations.engines.base import Engine
from migrations.operations import Operation
from migrations.report import Change
from migrations.schema import Column, ForeignKey, Schema, Table


class _Shown:
    """What a migrator takes for its database: a statement is written down there, and not executed.

    An operation of `playhouse.migrate` only runs itself; a plan has to show it first.
    """

    def __init__(self, database: peewee.Database) -> None:
        self.get_sql_context, self.statements = database.get_sql_context, list[str]()

    def execute(self, context: peewee.Context) -> None:
        self.statements.append(context.query()[0])


class Statements:
    """The statements of one plan: `schema` is what the database has, `engine` whom to ask about it.

    An operation has a method of its name: `AddIndex`'s is `add_index`. Here are those that Peewee writes right.
    """

    def __init__(self, engine: Engine, schema: Schema) -> None:
        self.engine, self.schema = engine, schema
        self.quote = engine.quote

    def of(self, operations: Sequence[Operation]) -> list[Change]:
        """Return the statements of operations, in their order."""
        changes: list[Change] = []
        for operation in operations:
            name = re.sub("(?<!^)(?=[A-Z])", "_", type(operation).__name__).lower()
            changes += getattr(self, name)(operation)
        return changes

    def create_table(self, operation: do.CreateTable) -> Iterator[Change]:
        """The table with its keys and CHECKs, then its indexes."""
        manager = peewee.SchemaManager(self.engine.models[operation.table], self.engine.database)
        yield Change(f"create table {operation.table}", manager._create_table(safe=False).query()[0])
        for index in self.declared(operation.table).indexes:
            if not index.constraint:
                yield from self.add_index(do.AddIndex(operation.table, index))

    def drop_table(self, operation: do.DropTable) -> Iterator[Change]:
        """What hangs on the table is not dropped with it: see `Engine.dependents`."""
        manager = peewee.SchemaManager(self.engine.models[operation.table], self.engine.database)
        yield Change(f"drop table {operation.table}", manager._drop_table(safe=False).query()[0])

    def add_index(self, operation: do.AddIndex) -> Iterator[Change]:
        """Peewee's own index, as `playhouse.migrate` gives it no name before Peewee 4.5."""
        table, index = peewee.Table(operation.table), operation.wanted
        columns = [getattr(table.c, name) for name in index.columns]
        context = self.engine.database.get_sql_context()
        sql = context.sql(peewee.Index(index.name, table, columns, unique=index.unique)).query()[0]
        yield Change(f"create {'unique ' * index.unique}index {index.name}", sql)

    def by_peewee(self, operation: str, *arguments: object) -> str:
        """Return the statement of an operation of `playhouse.migrate`."""
        from playhouse.migrate import SchemaMigrator  # only where there is something to change

        migrator = SchemaMigrator.from_database(self.engine.database)
        migrator.database = shown = _Shown(self.engine.database)
        getattr(migrator, operation)(*arguments).run()
        (sql,) = shown.statements
        return sql

    def alter(self, table: str) -> str:
        return f"ALTER TABLE {self.quote(table)}"

    def names(self, columns: Iterable[str]) -> str:
        return f"({', '.join(map(self.quote, columns))})"

    def declared(self, table: str) -> Table:
        return self.engine.declared(self.engine.models[table])

    def definition(self, table: str, column: Column) -> str:
        """Return the definition of a declared column, as `CREATE TABLE` has it."""
        context = self.engine.database.get_sql_context(scope=peewee.SCOPE_VALUES)
        field = self.engine.models[table]._meta.columns[column.name]
        return str(context.sql(field.ddl(context)).query()[0])

    def reference(self, key: ForeignKey) -> str:
        """Return a foreign key as a table's constraint, named where the key has a name."""
        name = f"CONSTRAINT {self.quote(key.name)} " if key.name else ""
        target = f"{self.quote(key.table)} {self.names(key.target)}"
        actions = f" ON DELETE {key.on_delete}" * (key.on_delete != "NO ACTION")
        actions += f" ON UPDATE {key.on_update}" * (key.on_update != "NO ACTION")
        return f"{name}FOREIGN KEY {self.names(key.columns)} REFERENCES {target}{actions}"
