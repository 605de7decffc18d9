"""MariaDB, on one server or a Galera cluster: every DDL statement commits by itself.

A crash can leave some statements done and others not, which is one more state to mend. `GET_LOCK`
keeps runs on one server apart; on a cluster it holds on one node only, and there the DDL itself is
the mutex: who comes second gets "already exists", and looks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import peewee

from migrations.engines.base import Busy, Result
from migrations.engines.mysql import catalogue, values
from migrations.engines.mysql.session import BUSY, LOCK, MODE, Session, code
from migrations.engines.mysql.statements import MySQLStatements
from migrations.operations import Operation
from migrations.report import Change, Refused
from migrations.schema import UTC_NOW, Column, ForeignKey, Schema, Table, literal

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
_INSTANT = 0.5  # seconds for which the server's own threads (purge, statistics) may have a table, whoever waits
_SAME_KEY = "errno: 121"  # how MariaDB says that a foreign key exists, behind a 1005 that means anything
_RACED = {1050, 1051, 1146, 1060, 1061, 1068, 1091, 1826, 1022}  # a peer was faster: it exists, or is gone
_NO_LOCK = 1235  # GET_LOCK on a node of a cluster up to MariaDB 10.6.14 and 10.11.4
_PATH = "IF(table_schema = DATABASE(), table_name, CONCAT(table_schema, '.', table_name))"
_UNSEEN = "1146, 1142"  # no such table, or no right to see it


class MySQL(Session):
    """A MariaDB database."""

    backend = "mysql"
    statements_class = MySQLStatements
    parse_type = staticmethod(values.parse_type)
    default_meaning = staticmethod(catalogue.default_meaning)
    unconvertible = staticmethod(values.unconvertible)
    keys_hold_types = True
    actions = {"RESTRICT": "NO ACTION"}  # InnoDB never waits for the end of the statement

    # -- reading

    def read(self) -> Schema:
        schema = self.tables(self.models)
        if self.models.keys() - self.builds - schema.keys():  # or it is on its way from another node of a cluster
            with self.session(_SYNCED):
                schema = self.tables(self.models)
        return schema

    def tables(self, names: Iterable[str]) -> Schema:
        return {name: catalogue.meaning(name, text) for name, text in self.texts(names).items()}

    def texts(self, names: Iterable[str]) -> dict[str, str]:
        """Return the tables' own texts, by one exchange: the results of a statement that has several."""
        shown = "; ".join(f"SHOW CREATE TABLE {self.quote(name)}" for name in names)
        sql = f"BEGIN NOT ATOMIC DECLARE CONTINUE HANDLER FOR {_UNSEEN} SELECT NULL, NULL; {shown}; END"
        with peewee.__exception_wrapper__:
            cursor = self.database.execute_sql(sql)
            rows = [cursor.fetchone()]
            while cursor.nextset():
                if cursor.description:
                    rows.append(cursor.fetchone())
        return {name: catalogue.COUNTER.sub("", row[1]) for name, row in zip(names, rows) if row[1]}

    def lookalikes(self, name: str) -> list[str]:
        tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
        return [other for (other,) in self.query(f"{tables} AND lower(table_name) = %s", (name,)) if other != name]

    def dependents(self, name: str, column: str = "") -> list[str]:
        """Views go on to be there without the table, and fail; a foreign key of another table's keeps it.

        :param column: leave out the foreign keys that refer to others.
        """
        rows = self.query(
            f"SELECT 'table', {_PATH} FROM information_schema.key_column_usage "
            "WHERE referenced_table_schema = DATABASE() AND referenced_table_name = %s "
            "AND %s IN ('', referenced_column_name) "
            f"UNION SELECT 'view', {_PATH} FROM information_schema.views "
            "WHERE LOCATE(CONCAT('`', DATABASE(), '`.`', %s, '`'), view_definition)", (name, column, name)
        )  # fmt: skip
        return [f"{kind} {other}" for kind, other in rows if other not in self.builds]

    def written(self, column: Column) -> Column:
        cast = values.CASTS.get(column.type.family)
        if not cast or column.default is None or self.default_meaning(column.default) == UTC_NOW:
            return column
        type_ = cast.format(*column.type[2:])
        ((text,),) = self.query(self.literally(f"SELECT CAST(CAST({column.default} AS {type_}) AS CHAR)"))
        default = text if column.type.family in ("integer", "decimal") else text and literal(text)
        return column._replace(default=default or column.default)

    # -- rows

    def as_text(self, expression: str) -> str:
        return f"CAST({expression} AS CHAR)"

    def no_parent(self, values: Sequence[str], key: ForeignKey, table: Table, text: bool = False) -> str:
        """A value is compared in the collation of the parent's key, whose index would be of no use in another."""
        parent, compared = self.tables([key.table]).get(key.table), []
        for value, target in zip(values, key.target):
            if parent and (collation := parent.columns[target].collation):
                character_set, _, more = collation.partition("_")
                value = f"CONVERT({value} USING {character_set})" + f" COLLATE {collation}" * bool(more)
            compared.append(value)
        return super().no_parent(compared, key, table, text)

    def values_of(self, table: str, column: str, up_to: int) -> str:
        """MariaDB reads the whole index for each step of a walk along it, but walks by itself for a DISTINCT."""
        source = f"SELECT DISTINCT {self.quote(column)} FROM {self.quote(table)} LIMIT {up_to + 1}"  # NULL is one
        return f"WITH d (v) AS ({source})"

    def estimate(self, table: str) -> int | None:
        tables = "SELECT max(table_rows) FROM information_schema.tables WHERE table_schema = DATABASE()"
        ((rows,),) = self.query(f"{tables} AND table_name = %s", (table,))
        return rows and int(rows)

    # -- planning

    def refined(self, operations: Sequence[Operation], schema: Schema) -> Sequence[Operation]:
        return [*operations, *MySQLStatements(self, schema).besides(operations)]

    def script(self, changes: Sequence[Change]) -> list[str]:
        wanted = {**_SESSION, "lock_wait_timeout": "1"}  # nobody tries a script again
        settings = [f"SET SESSION {name} = {wanted[name]};" for name in self.known(wanted)]
        return settings + [f"{change.sql};" for change in changes]

    # -- changing

    def exclusively(self, work: Callable[[], Result]) -> Result:
        if self.in_transaction():
            names = " and ".join(self.builds)
            raise Refused(f"{names}: every change commits the caller's transaction; run the migration outside of it")

        def attempt() -> Result:
            with ExitStack() as afterwards:
                try:
                    ((taken,),) = self.query(f"SELECT GET_LOCK({LOCK}, 0)")
                except peewee.DatabaseError as error:
                    if code(error) != _NO_LOCK:
                        raise
                else:
                    if not taken:
                        raise Busy
                    afterwards.callback(self.query, f"SELECT RELEASE_LOCK({LOCK})")
                return work()

        self.patience = max(self.patience, _INSTANT)
        with self.session(_SESSION):
            return self.patiently(attempt, lambda error: code(error) in _RACED | BUSY or _SAME_KEY in str(error))

    def execute(self, change: Change) -> None:
        self.patiently(lambda: super(MySQL, self).execute(change), lambda error: code(error) in BUSY)

    def progress(self) -> tuple[str, float | None]:
        with (beside := self.another()).connection_context():
            stages = beside.execute_sql(
                "SELECT CONCAT('stage ', stage, ' of ', max_stage), (stage - 1 + progress / 100) / max_stage "
                f"FROM information_schema.processlist WHERE id = {self.number} AND max_stage > 0"
            ).fetchall()
        return stages[0] if stages else ("", None)

    # -- the smoke test

    @contextmanager
    def trial(self) -> Iterator[bool]:
        wait = max(1, int(self.patience))
        wanted = {"lock_wait_timeout": wait, "innodb_lock_wait_timeout": wait}
        wanted |= {"foreign_key_checks": 1, "check_constraint_checks": 0}
        with self.session(wanted), super().trial() as enforced:
            yield enforced
