"""Keys, indexes and CHECKs on PostgreSQL: beside rows each is built or checked while others go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from migrations import operations as do
from migrations.engines.postgresql import questions
from migrations.engines.statements import Statements
from migrations.report import Change, Refused
from migrations.schema import Index, Schema, literal

if TYPE_CHECKING:
    from migrations.engines.postgresql.engine import PostgreSQL

CONCURRENTLY = " CONCURRENTLY"  # a statement that says so takes no transaction around it
_LONGEST = 63  # characters of a name; PostgreSQL cuts the rest off


class Keys(Statements):
    """The statements of one plan, as far as they are about keys, indexes and CHECKs."""

    engine: PostgreSQL

    def __init__(self, engine: PostgreSQL, schema: Schema) -> None:
        super().__init__(engine, schema)
        self._with_rows: dict[str, bool] = {}
        self._proven: set[tuple[str, str]] = set()  # the columns that this plan makes NOT NULL

    def beside_rows(self, table: str) -> bool:
        """Whether a table holds rows, and so perhaps others at work on them."""
        if table not in self._with_rows:
            self._with_rows[table] = table in self.schema and self.engine.count(table, 1) > 0
        return self._with_rows[table]

    def demand_free(self, table: str, names: Sequence[str]) -> None:
        """Refuse where a name that is needed is another's."""
        if taken := self.engine.texts(questions.TAKEN, list(names), table):
            belong = f"name{'s' * (len(taken) > 1)} {', '.join(taken)} belong{'s' * (len(taken) == 1)}"
            raise Refused(f"the {belong} to something else in the schema; rename or drop it first")

    # -- indexes

    def add_index(self, operation: do.AddIndex) -> Iterator[Change]:
        table, index, there = operation
        if index.constraint:
            built, how = self._unique(table, index.name, index.columns)
            yield from built
            constraint = f"ADD CONSTRAINT {self.quote(index.name)} UNIQUE {how}"
            yield Change(f"add constraint {index.name}", f"{self.alter(table)} {constraint}")
        else:
            yield from self._out_of_the_way(table, index.name, there)
            yield self._create_index(table, index)

    def _unique(self, table: str, name: str, columns: tuple[str, ...]) -> tuple[list[Change], str]:
        """Return what builds a unique index beside rows, and upon what a constraint then rests."""
        there, index = self.schema[table].index_named(name), Index(name, columns, unique=True)
        built = [] if there == index else list(self._out_of_the_way(table, name, there))
        if there != index and not self.beside_rows(table):
            return built, self.names(columns)
        if there != index:  # a killed run may have left it whole
            built.append(self._create_index(table, index))
        return built, f"USING INDEX {self.quote(name)}"

    def _create_index(self, table: str, index: Index) -> Change:
        kind, beside = "UNIQUE INDEX" if index.unique else "INDEX", self.beside_rows(table)
        how = f"{CONCURRENTLY} IF NOT EXISTS" if beside else ""  # an INVALID one is out of the way by then
        sql = f"CREATE {kind}{how} {self.quote(index.name)} ON {self.quote(table)} {self.names(index.columns)}"
        return Change(f"create {kind.lower()} {index.name}", sql, alone=beside)

    def _out_of_the_way(self, table: str, name: str, there: Index | None) -> Iterator[Change]:
        if there is None:
            if table in self.schema:
                self.demand_free(table, [name])
        elif there.constraint:
            drop = f"{self.alter(table)} DROP CONSTRAINT {self.quote(there.name)}"
            yield Change(f"drop constraint {name}", drop)
        else:
            beside = self.beside_rows(table)
            how = f"{CONCURRENTLY} IF EXISTS" if beside else ""
            for path in self.engine.texts(questions.INDEX, table, there.name):
                yield Change(f"drop index {name}", f"DROP INDEX{how} {path}", alone=beside)

    # -- the primary key

    def set_primary_key(self, operation: do.SetPrimaryKey) -> Iterator[Change]:
        table, columns, counting, instead_of = operation
        if self.schema[table].primary_key != columns:
            prepared, parts = self.without_key(table, instead_of)
            built, how = self._unique(table, f"{table[:50]}_pkey_new", columns)
            yield from prepared + built
            for name in columns:
                column = self.schema[table].columns.get(name)
                if column and column.null and (table, name) not in self._proven:
                    yield from self.not_null(table, name)
            name = "" if how.startswith("(") else f"CONSTRAINT {self.quote(self._key_name(table))} "
            yield Change(
                "add the primary key", f"{self.alter(table)} {', '.join([*parts, f'ADD {name}PRIMARY KEY {how}'])}"
            )
        if counting:
            yield from self._counting(table, columns[0])

    def without_key(self, table: str, own: Sequence[str]) -> tuple[list[Change], list[str]]:
        """Return what is to be done before a table's primary key goes, and the parts of ALTER TABLE that drop it.

        :param own: the columns of a user's own key, which stays unique.
        """
        built: list[Change] = []
        parts: list[str] = []
        for name, child in self.engine.query(questions.PRIMARY_KEY, (table,)):
            if child:
                columns = ", ".join(self.declared(table).primary_key)
                raise Refused(
                    f"the primary key of {table} has to become {columns}, and the table {child} refers to the one "
                    "that it has; drop that foreign key, run again, and make it anew"
                )
            parts.append(f"DROP CONSTRAINT {self.quote(name)}")
        plain = self.schema[table].columns.keys() >= {*own}  # a DEFERRABLE one is no plain name
        if own and plain and tuple(own) not in self.declared(table).unique_keys():
            name = f"{table}_{'_'.join(own)}_key"[:_LONGEST]
            built, how = self._unique(table, name, tuple(own))
            parts.append(f"ADD CONSTRAINT {self.quote(name)} UNIQUE {how}")
        return built, parts

    def _key_name(self, table: str) -> str:
        """Return the name that PostgreSQL itself gives to a primary key."""
        name = f"{table[:58]}_pkey"
        if [name] != [there for there, _ in self.engine.query(questions.PRIMARY_KEY, (table,))]:
            self.demand_free(table, [name])
        return name

    def _counting(self, table: str, name: str) -> Iterator[Change]:
        column = self.schema[table].columns[name]
        if column.automatic:
            return
        alter = f"{self.alter(table)} ALTER COLUMN {self.quote(name)}"
        if column.default:
            yield Change(f"take the default from {name}", f"{alter} DROP DEFAULT")
        yield Change(f"let {name} count by itself", f"{alter} ADD GENERATED BY DEFAULT AS IDENTITY")
        sequence = f"pg_get_serial_sequence({literal(self.quote(table))}, {literal(name)})"
        highest = f"coalesce(max({self.quote(name)}), 0) + 1"
        yield Change(
            f"start after the highest {name}", f"SELECT setval({sequence}, {highest}, false) FROM {self.quote(table)}"
        )

    # -- NOT NULL, CHECKs and foreign keys

    def not_null(self, table: str, name: str) -> Iterator[Change]:
        """Prove that no row is NULL while others go on: then PostgreSQL believes it without a look."""
        self._proven.add((table, name))
        alter, column, what = self.alter(table), self.quote(name), f"correct the nullability of {name}"
        for unvalidated in self.engine.texts(questions.UNVALIDATED_NOT_NULL, table, name):
            yield self._validate(what, table, unvalidated)
            return
        proof, beside = f"not_null_{name}"[:_LONGEST], self.beside_rows(table)
        there = [check for check in self.schema[table].checks if check.name == proof]  # of a run that was killed
        if beside and not there:
            check = f"CHECK ({column} IS NOT NULL) NOT VALID"
            yield Change(f"refuse NULL for {name} from now on", f"{alter} ADD CONSTRAINT {self.quote(proof)} {check}")
        if beside and not (there and there[0].valid):
            yield self._validate(f"prove that {name} is never NULL", table, proof)
        not_null = f"{alter} ALTER COLUMN {column} SET NOT NULL"  # Peewee 4.0's own cannot be shown, only run
        yield Change(what, not_null)
        if beside or there:
            yield Change(f"drop the proof of {name}", f"{alter} DROP CONSTRAINT {self.quote(proof)}")

    def add_check(self, operation: do.AddCheck) -> Iterator[Change]:
        yield from self._add_check(operation.table, operation.check.name, "")

    def validate_check(self, operation: do.ValidateCheck) -> Iterator[Change]:
        table, check = operation
        if self.engine.texts(questions.NOT_ENFORCED, table, check.name):
            yield from self._add_check(table, check.name, f"DROP CONSTRAINT {self.quote(check.name)}, ")
        else:
            yield self._validate(f"validate the check {check.name}", table, check.name)

    def _add_check(self, table: str, name: str, instead: str) -> Iterator[Change]:
        check = next(each for each in self.declared(table).checks if each.name.lower() == name.lower())
        later = " NOT VALID" * self.beside_rows(table)
        added = f"{instead}ADD CONSTRAINT {self.quote(check.name)} CHECK ({check.sql}){later}"
        yield Change(f"add the check {check.name}", f"{self.alter(table)} {added}")
        if later:
            yield self._validate(f"validate the check {check.name}", table, check.name)

    def drop_foreign_key(self, operation: do.DropForeignKey) -> Iterator[Change]:
        what = f"drop the foreign key of {', '.join(operation.key.columns)}"
        yield Change(what, f"{self.alter(operation.table)} DROP CONSTRAINT {self.quote(operation.key.name or '')}")

    def add_foreign_key(self, operation: do.AddForeignKey) -> Iterator[Change]:
        table, key, instead_of = operation
        of = "_".join(key.columns)
        key = key._replace(name=key.name or f"fk_{table}_{of}"[:_LONGEST])
        parts = [f"DROP CONSTRAINT {self.quote(wrong.name or '')}" for wrong in instead_of]
        later = " NOT VALID" * self.beside_rows(table)
        parts.append(f"ADD {self.reference(key)}{later}")
        yield Change(f"add the foreign key of {', '.join(key.columns)}", f"{self.alter(table)} {', '.join(parts)}")
        if later:
            yield self._validate(f"validate the foreign key of {', '.join(key.columns)}", table, key.name or "")

    def validate_foreign_key(self, operation: do.ValidateForeignKey) -> Iterator[Change]:
        table, key = operation
        name = key.name or ""
        if self.engine.texts(questions.NOT_ENFORCED, table, name):
            yield from self.add_foreign_key(do.AddForeignKey(table, key._replace(valid=True), (key,)))
        else:
            yield self._validate(f"validate the foreign key of {', '.join(key.columns)}", table, name)

    def _validate(self, what: str, table: str, constraint: str) -> Change:
        """The look at the rows: in one transaction with its ADD, it would happen under that statement's lock."""
        sql = f"{self.alter(table)} VALIDATE CONSTRAINT {self.quote(constraint)}"
        return Change(what, sql, alone=self.beside_rows(table))
