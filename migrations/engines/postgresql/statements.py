"""PostgreSQL's statements, made so that nobody waits for longer than an instant where there is a way.

Beside rows an index is built CONCURRENTLY, a foreign key or a CHECK is added NOT VALID and then validated,
NOT NULL rests on such a CHECK, and a key on such an index. What has no such way, a column that counts or
another type, says whom it holds up.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import cache

import peewee

from migrations import operations as do
from migrations.engines.postgresql import questions, values
from migrations.engines.postgresql.session import Session
from migrations.engines.statements import Statements
from migrations.report import Change, Refused
from migrations.schema import Column, Index, Schema, literal

CONCURRENTLY = " CONCURRENTLY"  # a statement that says so takes no transaction around it
_LONGEST = 63  # characters of a name; PostgreSQL cuts the rest off


class PostgreSQLStatements(Statements):
    """The statements of one plan on PostgreSQL."""

    engine: Session

    def __init__(self, engine: Session, schema: Schema) -> None:
        super().__init__(engine, schema)
        # Whether a table holds rows, and so perhaps others at work on them.
        self.beside_rows = cache(lambda table: table in schema and engine.count(table, 1) > 0)

    def _alter(self, what: str, table: str, *parts: str, slow: bool = False, alone: bool = False) -> Change:
        return Change(what, f"{self.alter(table)} {', '.join(parts)}", "everybody" if slow else None, alone)

    def _alter_column(self, what: str, table: str, column: str, *parts: str, slow: bool = False) -> Change:
        return self._alter(what, table, *(f"ALTER COLUMN {self.quote(column)} {part}" for part in parts), slow=slow)

    def _drop(self, *constraints: str | None) -> list[str]:
        return [f"DROP CONSTRAINT {self.quote(name or '')}" for name in constraints]

    def _demand_free(self, table: str, *names: str) -> None:
        if taken := self.engine.texts(questions.TAKEN, [*names], table):
            raise Refused(f"the schema has something else of the name {', '.join(taken)}; rename or drop it first")

    # -- tables and columns

    def create_table(self, operation: do.CreateTable) -> Iterator[Change]:
        self._demand_free(operation.table, *(index.name for index in self.declared(operation.table).indexes))
        yield from super().create_table(operation)

    def add_column(self, operation: do.AddColumn) -> Iterator[Change]:
        table, column = operation
        parts = [f"ADD COLUMN {self.definition(table, column)}"]
        if column.automatic:
            yield from self._kept_unique(table, self.schema[table].primary_key)
            parts = self._drop(*self._key(table)) + parts
        slow = column.automatic and self.beside_rows(table)  # each row is written anew, with its number
        yield self._alter(f"add column {column.name}", table, *parts, slow=slow)

    def alter_column(self, operation: do.AlterColumn) -> Iterator[Change]:
        """All that is wrong with a column in one statement, but for NOT NULL."""
        table, column, actual, wrong = operation
        what, slow, parts = f"correct {column.name}", False, list[str]()
        if actual.generated:  # by itself: a type has no USING before
            if self.engine.texts(questions.GENERATED, table, column.name) == ["v"]:
                where = f"{table}.{column.name}"
                raise Refused(f"{where} is a virtual generated column, which cannot become a plain one; drop it first")
            yield self._alter_column(f"make {column.name} a plain column", table, column.name, "DROP EXPRESSION")
        default = column.default if "default" in wrong else None
        retyped = "type" in wrong and not actual.type.holds(column.type)
        if retyped:
            target, grows = values.sql_of(column.type), values.only_grows(actual.type, column.type)
            self._demand_unused(table, column.name, grows)
            if actual.default and not actual.automatic:
                parts.append("DROP DEFAULT")
                default = column.default or f"({actual.default})::{target}"
            collate = f" COLLATE {actual.collation}" if actual.collation and column.type.family == "string" else ""
            using = "" if grows else f" USING {values.converted(self.quote(column.name), actual.type, column.type)}"
            parts.append(f"TYPE {target}{collate}{using}")
            what, slow = f"convert {column.name} to {target}", not grows and self.beside_rows(table)
        if default is not None:
            parts.append(f"SET DEFAULT {default}")
        if "null" in wrong and column.null:
            parts.append("DROP NOT NULL")
        if parts:
            yield self._alter_column(what, table, column.name, *parts, slow=slow)
        if retyped and actual.automatic and actual.default:  # a SMALLSERIAL's sequence would end where its type does
            for sequence in self.engine.texts(questions.SEQUENCE, self.quote(table), column.name):
                yield Change(f"let {column.name} count on", f"ALTER SEQUENCE {sequence} AS {target}")
        if "null" in wrong and not column.null:
            yield from self._not_null(table, column.name)

    def _demand_unused(self, table: str, name: str, grows: bool) -> None:
        """Refuse what PostgreSQL would refuse: another type of a column upon which something else rests."""
        users = self.engine.texts(questions.USERS, table, [*self.engine.builds], name)
        users = [user for user in users if not (grows and user.startswith("constraint "))]
        if users:
            raise Refused(
                f"{table}.{name} has to be converted, and the {' and the '.join(users)} uses it; "
                f"drop the {users[0].split()[0]}, run again, and make it anew"
            )

    def _not_null(self, table: str, name: str) -> Iterator[Change]:
        """Prove that no row is NULL while others go on: then PostgreSQL believes it without a look."""
        for unproven in self.engine.texts(questions.UNVALIDATED_NOT_NULL, table, name):  # PostgreSQL 18
            yield self._validate(f"NOT NULL of {name}", table, unproven)
            return
        proof = f"not_null_{name}"[:_LONGEST]
        left = [check.name for check in self.schema[table].checks if check.name == proof]  # of a run that was killed
        beside = self.beside_rows(table)
        if beside:
            check = f"CONSTRAINT {self.quote(proof)} CHECK ({self.quote(name)} IS NOT NULL)"
            yield from self._constrain(f"proof that {name} is never NULL", table, proof, check, left)
        yield Change(f"correct the nullability of {name}", self.by_peewee("add_not_null", table, name))
        if beside or left:
            yield Change(f"drop the proof of {name}", self.by_peewee("drop_constraint", table, proof))

    # -- indexes and keys

    def add_index(self, operation: do.AddIndex) -> Iterator[Change]:
        table, index, there = operation
        if index.constraint:
            how = yield from self._unique(table, index._replace(constraint=False))
            key = peewee.SQL(f"UNIQUE {how}")
            yield Change(f"add constraint {index.name}", self.by_peewee("add_constraint", table, index.name, key))
        else:
            yield from self._out_of_the_way(table, index.name, there)
            yield self._create_index(table, index)

    def _unique(self, table: str, index: Index) -> Generator[Change, None, str]:
        """Build a unique index beside rows; return upon what a constraint then rests."""
        there = self.schema[table].index_named(index.name)
        if there != index:  # a killed run may have left it whole
            yield from self._out_of_the_way(table, index.name, there)
            if not self.beside_rows(table):
                return self.names(index.columns)
            yield self._create_index(table, index)
        return f"USING INDEX {self.quote(index.name)}"

    def _create_index(self, table: str, index: Index) -> Change:
        (change,) = super().add_index(do.AddIndex(table, index))
        if not self.beside_rows(table):
            return change
        # Peewee's has no CONCURRENTLY. An INVALID index is out of the way by then.
        return change._replace(sql=change.sql.replace("INDEX", f"INDEX{CONCURRENTLY} IF NOT EXISTS", 1), alone=True)

    def _out_of_the_way(self, table: str, name: str, there: Index | None) -> Iterator[Change]:
        if there is None:
            if table in self.schema:
                self._demand_free(table, name)
            return
        ((path, resting),) = self.engine.query(questions.INDEX, (table, there.name))
        if resting:
            raise Refused(f"{table}.{name} has to be made anew, and {resting} rests on it; take that off it first")
        if there.constraint:
            yield Change(f"drop constraint {name}", self.by_peewee("drop_constraint", table, there.name))
        else:
            beside = self.beside_rows(table)
            yield Change(f"drop index {name}", f"DROP INDEX{CONCURRENTLY * beside} IF EXISTS {path}", alone=beside)

    def set_primary_key(self, operation: do.SetPrimaryKey) -> Iterator[Change]:
        table, columns, counting, instead_of = operation
        first = self.schema[table].columns.get(columns[0])
        if self.schema[table].primary_key != columns:
            yield from self._kept_unique(table, instead_of)
            how = yield from self._unique(table, Index(f"{table[:50]}_pkey_new", columns, unique=True))
            if counting and first and first.null:
                yield from self._not_null(table, first.name)
            there, name = self._key(table), f"{table[:58]}_pkey"  # as PostgreSQL itself names it
            if name not in there:
                self._demand_free(table, name)
            key = f"ADD CONSTRAINT {self.quote(name)} PRIMARY KEY {how}"
            yield self._alter("add the primary key", table, *self._drop(*there), key)
        if counting and first and not first.automatic:
            yield from self._counting(table, first)

    def _kept_unique(self, table: str, own: tuple[str, ...]) -> Iterator[Change]:
        """A primary key of a user's own stays unique."""
        there, name = self.schema[table], f"{table}_{'_'.join(own)}_key"[:_LONGEST]
        plain = there.columns.keys() >= {*own}  # a DEFERRABLE one is no plain name
        known = own in there._replace(primary_key=()).unique_keys() or own in self.declared(table).unique_keys()
        if own and plain and not known:
            yield from self.add_index(do.AddIndex(table, Index(name, own, unique=True, constraint=True)))

    def _key(self, table: str) -> list[str]:
        """Return the name of a table's primary key, if it has one that can go."""
        found = self.engine.query(questions.PRIMARY_KEY, (table,))
        for _, child in found:
            if child:
                raise Refused(
                    f"the primary key of {table} has to become {', '.join(self.declared(table).primary_key)}, and the "
                    f"table {child} refers to the one that it has; drop that foreign key, run again, and make it anew"
                )
        return [name for name, _ in found]

    def _counting(self, table: str, column: Column) -> Iterator[Change]:
        name, default = column.name, ["DROP DEFAULT"] * (column.default is not None)
        count = "ADD GENERATED BY DEFAULT AS IDENTITY"
        yield self._alter_column(f"let {name} count by itself", table, name, *default, count)
        sequence = f"pg_get_serial_sequence({literal(self.quote(table))}, {literal(name)})"
        highest = f"SELECT setval({sequence}, coalesce(max({self.quote(name)}), 0) + 1, false) FROM {self.quote(table)}"
        yield Change(f"start after the highest {name}", highest)

    # -- CHECKs and foreign keys

    def _constrain(
        self, what: str, table: str, name: str, constraint: str, instead_of: Sequence[str | None], there: bool = False
    ) -> Iterator[Change]:
        """Add a constraint, and look at the rows that there are while others go on; one that is there is looked at
        alone, but for what PostgreSQL 18 calls NOT ENFORCED."""
        there = there and not self.engine.texts(questions.NOT_ENFORCED, table, name)
        later = " NOT VALID" * self.beside_rows(table)
        if not there:
            yield self._alter(f"add the {what}", table, *self._drop(*instead_of), f"ADD {constraint}{later}")
        if later or there:
            yield self._validate(what, table, name)

    def _validate(self, what: str, table: str, name: str) -> Change:
        """In one transaction with its ADD, the look at the rows would happen under that statement's lock."""
        validate = f"VALIDATE CONSTRAINT {self.quote(name)}"
        return self._alter(f"validate the {what}", table, validate, alone=self.beside_rows(table))

    def add_check(self, operation: do.AddCheck) -> Iterator[Change]:
        table, check = operation
        constraint = f"CONSTRAINT {self.quote(check.name)} CHECK ({check.sql})"
        there = not check.valid
        return self._constrain(f"check {check.name}", table, check.name, constraint, [check.name] * there, there)

    def add_foreign_key(self, operation: do.AddForeignKey) -> Iterator[Change]:
        table, key, instead_of = operation
        name = key.name or f"fk_{table}_{'_'.join(key.columns)}"[:_LONGEST]
        what, constraint = f"foreign key of {', '.join(key.columns)}", self.reference(key._replace(name=name))
        return self._constrain(what, table, name, constraint, [each.name for each in instead_of], key in instead_of)

    def drop_foreign_key(self, operation: do.DropForeignKey) -> Iterator[Change]:
        table, key = operation
        drop = self.by_peewee("drop_constraint", table, key.name)
        yield Change(f"drop the foreign key of {', '.join(key.columns)}", drop)
