"""PostgreSQL's statements, made so that nobody waits for longer than an instant where there is a way.

Beside rows an index is built CONCURRENTLY, a foreign key or a CHECK is added NOT VALID and then validated,
NOT NULL rests on such a CHECK, and a key on such an index: see `keys`. What has no such way, a column that
counts or another type, says whom it holds up.
"""

from __future__ import annotations

from collections.abc import Iterator

from migrations import operations as do
from migrations.engines.postgresql import questions, values
from migrations.engines.postgresql.keys import Keys
from migrations.report import Change, Refused


class PostgreSQLStatements(Keys):
    """The statements of one plan on PostgreSQL."""

    def create_table(self, operation: do.CreateTable) -> Iterator[Change]:
        self.demand_free(operation.table, [index.name for index in self.declared(operation.table).indexes])
        yield from super().create_table(operation)

    def add_column(self, operation: do.AddColumn) -> Iterator[Change]:
        table, column, key = operation
        own = self.schema[table].primary_key
        if key and own:
            built, parts = self.without_key(table, own)
            yield from built
            yield Change("drop the primary key", f"{self.alter(table)} {', '.join(parts)}")
        yield Change(
            f"add column {column.name}", f"{self.alter(table)} ADD COLUMN {self.definition(table, column)}",
            "everybody" if key and self.beside_rows(table) else None,  # each row is written anew, with its number
        )  # fmt: skip

    def alter_column(self, operation: do.AlterColumn) -> Iterator[Change]:
        table, column = operation.table, operation.column
        alter = f"{self.alter(table)} ALTER COLUMN {self.quote(column.name)}"
        if "type" in operation.what:
            self._demand_convertible(operation)
            yield from self._retype(operation, alter)
        if "default" in operation.what:
            yield Change(f"correct the default of {column.name}", f"{alter} SET DEFAULT {column.default}")
        if "null" in operation.what and column.null:
            yield Change(f"correct the nullability of {column.name}", f"{alter} DROP NOT NULL")
        elif "null" in operation.what:
            yield from self.not_null(table, column.name)

    def _retype(self, operation: do.AlterColumn, alter: str) -> Iterator[Change]:
        table, column, actual, _ = operation
        name, target = column.name, values.sql_of(column.type)
        if actual.generated:
            yield Change(f"make {name} a plain column", f"{alter} DROP EXPRESSION")
        if actual.type.holds(column.type):
            return
        default = None if actual.automatic else actual.default
        if default:
            yield Change(f"take the default from {name}", f"{alter} DROP DEFAULT")
        grows = values.only_grows(actual.type, column.type)
        collate = f" COLLATE {actual.collation}" if actual.collation and column.type.family == "string" else ""
        using = "" if grows else f" USING {values.converted(self.quote(name), actual.type, column.type)}"
        holds_up = "everybody" if self.beside_rows(table) and not grows else None
        yield Change(f"convert {name} to {target}", f"{alter} TYPE {target}{collate}{using}", holds_up)
        if actual.automatic and actual.default:  # a SMALLSERIAL's sequence would end where its type does
            for sequence in self.engine.texts(questions.SEQUENCE, self.quote(table), name):
                yield Change(f"let the sequence of {name} go on", f"ALTER SEQUENCE {sequence} AS {target}")
        if default:
            yield Change(
                f"give {name} its default", f"{alter} SET DEFAULT {column.default or f'({default})::{target}'}"
            )

    def _demand_convertible(self, operation: do.AlterColumn) -> None:
        """Refuse what PostgreSQL would refuse: a type upon which something else rests."""
        table, column, actual, _ = operation
        where = f"{table}.{column.name}"
        if actual.generated and self.engine.texts(questions.GENERATED, table, column.name) == ["v"]:
            raise Refused(
                f"{where} is a virtual generated column, which PostgreSQL cannot make a plain one; "
                "drop that column, run again, and fill it in"
            )
        if actual.type.holds(column.type):
            return
        users = self.engine.texts(questions.USERS, table, column.name)
        if not values.only_grows(actual.type, column.type):
            others = self.engine.texts(questions.REFERRING, table, column.name, list(self.engine.builds))
            users += [f"key of the table {other}" for other in others]
        if users:
            raise Refused(
                f"{where} has to be converted, and the {' and the '.join(users)} uses it; "
                f"drop the {users[0].split()[0]}, run again, and make it anew"
            )
