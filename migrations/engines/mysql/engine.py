"""MariaDB and MySQL, on one server or a Galera cluster: every DDL statement commits by itself.

A crash can leave some statements done and others not, which is one more state to mend. `GET_LOCK`
keeps runs on one server apart; on a cluster it holds on one node only, and there the DDL itself is
the mutex: who comes second gets "already exists", and looks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import peewee

from migrations.engines.base import Result
from migrations.engines.mysql import catalogue, values
from migrations.engines.mysql.keys import Keys
from migrations.engines.mysql.session import BUSY, LOCK, MODE, Session, code
from migrations.engines.mysql.statements import MySQLStatements
from migrations.engines.patience import Busy
from migrations.operations import Operation
from migrations.report import Change, Refused
from migrations.schema import ForeignKey, Schema, Table, Type

if TYPE_CHECKING:
    from migrations.engines.mysql.samples import Samples

_SYNCED = {"wsrep_sync_wait": "9"}  # before reading (1) and showing (8), see what the other nodes have done
_SESSION = {  # what a run sets for itself, where the server knows it
    **_SYNCED,
    "sql_mode": MODE,
    "foreign_key_checks": "1",  # without it a new key lets orphans in
    "unique_checks": "1",
    "check_constraint_checks": "1",
    "time_zone": "'+00:00'",  # a TIMESTAMP that becomes a DATETIME
    "alter_algorithm": "'DEFAULT'",  # another refuses what copies the table
    "max_statement_time": "0",
    "innodb_lock_wait_timeout": "1",
    "lock_wait_timeout": "0",  # behind an ALTER TABLE that waits, everybody else queues up: try again instead
}
_SAME_KEY = "errno: 121"  # how MariaDB says that a foreign key exists, behind a 1005 that means anything
_RACED = {1050, 1051, 1146, 1060, 1061, 1068, 1091, 1826, 1022}  # a peer was faster: it exists, or is gone
_NO_LOCK = 1235  # GET_LOCK on a node of a cluster up to MariaDB 10.6.14 and 10.11.4
_UNSEEN = (1146, 1142)  # no such table, or no right to see it


class MySQL(Session):
    """A MariaDB or MySQL database."""

    backend = "mysql"
    statements_class = MySQLStatements
    parse_type = staticmethod(values.parse_type)
    keys_hold_types = True
    actions = {"RESTRICT": "NO ACTION"}  # InnoDB never waits for the end of the statement

    # -- reading

    def read(self) -> Schema:
        schema = self._shown()
        if self.models.keys() - self.builds - schema.keys():  # or it is on its way from another node of a cluster
            with self.session(_SYNCED):
                schema = self._shown()
        return schema

    def _shown(self) -> Schema:
        self.texts = self._texts(self.models)
        self.seen = {name: catalogue.meaning(text) for name, text in self.texts.items()}
        return dict(self.seen)

    def table(self, name: str) -> Table | None:
        texts = self._texts((name,))
        return catalogue.meaning(texts[name]) if texts else None

    def _texts(self, names: Iterable[str]) -> dict[str, str]:
        """Return the tables' own texts; on MariaDB, whose clients all take several results, by one exchange."""
        statements = [f"SHOW CREATE TABLE {self.quote(name)}" for name in names]
        if self.server.mariadb and hasattr(self.database.cursor(), "nextset"):
            handler = f"DECLARE CONTINUE HANDLER FOR {', '.join(map(str, _UNSEEN))} SELECT NULL, NULL"
            rows = self._results("; ".join([f"BEGIN NOT ATOMIC {handler}", *statements, "END"]))
        else:
            rows = [row for statement in statements for row in self._one(statement)]
        texts = {name: catalogue.without_counter(row[1]) for name, row in zip(names, rows) if row[1]}
        for name, text in texts.items():
            if text.startswith("CREATE TEMPORARY"):
                raise Refused(f"the temporary table {name} hides the real one on this connection; drop it first")
        return texts

    def _one(self, statement: str) -> list[tuple[str, ...]]:
        try:
            return self.query(statement)
        except peewee.DatabaseError as error:
            if code(error) not in _UNSEEN:
                raise
            return [("", "")]

    def _results(self, sql: str) -> list[tuple[str, ...]]:
        """Return the first row of each result of a statement that has several."""
        with peewee.__exception_wrapper__:
            cursor = self.database.execute_sql(sql)
            rows = [cursor.fetchone()]
            while cursor.nextset():
                if cursor.description:
                    rows.append(cursor.fetchone())
            return rows

    def clauses(self, table: str, column: str) -> dict[str, str]:
        """Return the clauses of a column's definition; see `catalogue.clauses`."""
        return catalogue.clauses(catalogue.definition(self.texts[table], column))

    def default_meaning(self, default: str) -> str:
        return catalogue.default_meaning(default)

    def lookalikes(self, name: str) -> list[str]:
        rows = self.query(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND lower(table_name) = %s AND BINARY table_name <> %s", (name, name)
        )  # fmt: skip
        return [other for (other,) in rows]

    def dependents(self, name: str) -> list[str]:
        """Views go on to be there without the table, and fail; a foreign key of another table's keeps it."""
        rows = self.query(
            "SELECT DISTINCT 'table', table_name FROM information_schema.key_column_usage "
            "WHERE table_schema = DATABASE() AND referenced_table_schema = DATABASE() AND referenced_table_name = %s "
            "UNION ALL SELECT 'view', table_name FROM information_schema.views WHERE table_schema = DATABASE() "
            "AND LOCATE(CONCAT('`', DATABASE(), '`.`', %s, '`'), view_definition)", (name, name)
        )  # fmt: skip
        return [f"{kind} {other}" for kind, other in rows if other not in self.builds]

    # -- rows

    def unconvertible(self, value: str, source: Type, target: Type) -> str:
        return values.unconvertible(value, source, target)

    def as_text(self, expression: str) -> str:
        return values.as_text(expression)

    def no_parent(self, values: Sequence[str], key: ForeignKey, table: Table, text: bool = False) -> str:
        """A value is compared in the collation of the parent's key, whose index would be of no use in another."""
        parent = None if text else self.seen.get(key.table)
        compared = []
        for value, column, target in zip(values, key.columns, key.target):
            wanted = parent.columns[target].collation if parent and target in parent.columns else None
            plain = value == f"w.{self.quote(column)}" and table.columns[column].collation == wanted
            if wanted and not plain:
                character_set, collated, _ = wanted.partition("_")
                value = f"CONVERT({value} USING {character_set})" + f" COLLATE {wanted}" * bool(collated)
            compared.append(value)
        return super().no_parent(compared, key, table, text)

    def values_of(self, table: str, column: str, up_to: int) -> str:
        """MariaDB reads the whole index for each step of a walk along it, but walks by itself for a DISTINCT."""
        source = f"SELECT DISTINCT {self.quote(column)} FROM {self.quote(table)} LIMIT {up_to + 1}"  # NULL is one
        return f"WITH d (v) AS ({source})"

    def estimate(self, table: str) -> int | None:
        found = self.query(
            "SELECT max(table_rows) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s",
            (table,),
        )
        return found[0][0]  # type: ignore[no-any-return]

    # -- planning

    def refined(self, operations: Sequence[Operation], schema: Schema) -> Sequence[Operation]:
        return [*operations, *Keys(self, schema).besides(operations)]

    def script(self, changes: Sequence[Change]) -> list[str]:
        known = self.known(_SESSION)
        wanted = {**_SESSION, "lock_wait_timeout": "1"}  # nobody tries a script again
        settings = [f"SET SESSION {name} = {value};" for name, value in wanted.items() if name in known]
        return settings + [f"{change.sql};" for change in changes]

    # -- changing

    def exclusively(self, work: Callable[[], Result]) -> Result:
        if self.in_transaction():
            raise Refused(
                f"{' and '.join(self.builds)} has to be changed, and every change commits the transaction that it "
                "finds itself in; run the migration outside of the caller's transaction"
            )

        def attempt() -> Result:
            locked = self._lock()
            try:
                return work()
            finally:
                if locked:
                    self.query(f"SELECT RELEASE_LOCK({LOCK})")

        with self.session(_SESSION):
            return self.patiently(attempt, lambda error: code(error) in _RACED | BUSY or _SAME_KEY in str(error))

    def _lock(self) -> bool:
        """Take the lock; return whether there is one to be had on this server."""
        try:
            ((taken,),) = self.query(f"SELECT GET_LOCK({LOCK}, 0)")
        except peewee.DatabaseError as error:
            if code(error) != _NO_LOCK:
                raise
            return False
        if not taken:
            raise Busy
        return True

    def progress(self) -> tuple[str, float | None]:
        beside = self.another()
        with beside.connection_context():
            rows = beside.execute_sql(
                f"SELECT stage, max_stage, progress FROM information_schema.processlist "
                f"WHERE id = {self.server.connection} AND max_stage > 0"
            ).fetchall()
        for stage, stages, percent in rows:
            return f"stage {stage} of {stages}", (stage - 1 + float(percent) / 100) / stages
        return "", None

    def execute(self, change: Change) -> None:
        self.patiently(lambda: super(MySQL, self).execute(change), lambda error: code(error) in BUSY)

    # -- the smoke test

    def samples(self) -> Samples:
        """Return what makes values for rows on trial."""
        from migrations.engines.mysql.samples import Samples

        return Samples(self)

    @contextmanager
    def trial(self) -> Iterator[bool]:
        wait = str(max(1, int(self.patience.left)))
        wanted = {"lock_wait_timeout": wait, "innodb_lock_wait_timeout": wait}
        if not self.in_transaction():
            wanted["foreign_key_checks"] = "1"
        with self.session(wanted), super().trial() as enforced:
            yield enforced

    def without_checks(self) -> AbstractContextManager[None]:
        return self.session({"check_constraint_checks": "0"})

    def enforces_keys(self) -> bool:
        return bool(self.query("SELECT @@foreign_key_checks LIMIT 1")[0][0])
