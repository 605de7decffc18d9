"""Reading the catalogue of MariaDB and MySQL: at most four exchanges, and one where nothing has changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import NamedTuple

import peewee

from migrations.engines.base import Engine
from migrations.engines.mysql.catalogue import clauses, default_meaning, meaning, query, without_counter
from migrations.report import Refused
from migrations.schema import Schema, Table

Texts = dict[str, "str | None"]  # of SHOW CREATE TABLE by a table's name, None where there is none to be had
_MEANINGS: dict[tuple[str, ...], Schema] = {}  # by the server's version, the database, and the tables' texts
_REMEMBERED = 256
_SYNCED = {"wsrep_sync_wait": "9"}  # before reading (1) and showing (8), see what the other nodes have done


class Server(NamedTuple):
    """What a session is and has set, as far as it matters to what it reads."""

    connection: int
    version: str
    database: str
    collation: str  # of the database
    modes: str
    shows_quotes: int
    select_limit: int
    time_limit: float
    walk_limit: int

    @property
    def mariadb(self) -> bool:
        """Whether it is MariaDB rather than MySQL."""
        return "mariadb" in self.version.lower()


class Reading(Engine):
    """An engine as far as it reads the catalogue."""

    server: Server
    texts: Texts
    seen: Schema  # what was read last

    def session(
        self, wanted: Mapping[str, str], before: Mapping[str, str] | None = None
    ) -> AbstractContextManager[None]:  # fmt: skip
        """Return a context with session variables, those that this server knows; it restores them.

        :param before: what they are now, where that is known.
        """
        raise NotImplementedError

    def read(self) -> Schema:
        self.texts = self._texts(self.models)
        for name, text in self.texts.items():
            if text and text.startswith("CREATE TEMPORARY"):
                raise Refused(f"the temporary table {name} hides the real one on this connection; drop it first")
        key = (self.server.version, self.server.database, *map(str, self.texts.values()))
        self.seen = _MEANINGS.get(key) or self._worked_out(key)
        return self.seen

    def _worked_out(self, key: tuple[str, ...]) -> Schema:
        schema = self._tables(self.models, self.texts)
        if self.models.keys() - self.builds - schema.keys():  # or it is on its way from another node of a cluster
            with self.session(_SYNCED):
                self.texts = self._texts(self.models)
                return self._tables(self.models, self.texts)
        if self._is_lasting(schema) and self._texts(self.models) == self.texts:  # they belong together
            if len(_MEANINGS) >= _REMEMBERED:
                _MEANINGS.clear()
            _MEANINGS[key] = schema
        return schema

    def _is_lasting(self, schema: Schema) -> bool:
        """Whether the texts say all that there is; a view's does not say its columns' types."""
        tables = [schema.get(name) for name in self.models]
        return all(table and table.kind == "table" and self.texts[table.name] for table in tables)

    def table(self, name: str) -> Table | None:
        return self._tables((name,), self._texts((name,))).get(name.lower())

    def _tables(self, names: Iterable[str], texts: Mapping[str, str | None]) -> Schema:
        rows = self.query(query(names, "mariadb" if self.server.mariadb else "mysql"))
        return meaning(rows, texts, self.understood)

    def _texts(self, names: Iterable[str]) -> Texts:
        """Return the tables' own texts; on MariaDB, whose clients all take several results, by one exchange."""
        statements = [f"SHOW CREATE TABLE {self.quote(name)}" for name in names]
        if self.server.mariadb and hasattr(self.database.cursor(), "nextset"):
            handler = "DECLARE CONTINUE HANDLER FOR SQLEXCEPTION SELECT NULL, NULL"
            rows = self._results("; ".join([f"BEGIN NOT ATOMIC {handler}", *statements, "END"]))
        else:
            rows = [self._shown(statement) for statement in statements]
        return {name: without_counter(row[1]) if row[1] else None for name, row in zip(names, rows)}

    def _shown(self, statement: str) -> tuple[str | None, ...]:
        with suppress(peewee.ProgrammingError, peewee.OperationalError):  # it is not there, or not to be seen
            return tuple(self.query(statement)[0])
        return None, None

    def _results(self, sql: str) -> list[tuple[str | None, ...]]:
        """Return the first row of each result of a statement that has several."""
        with peewee.__exception_wrapper__:
            cursor = self.database.execute_sql(sql)
            rows = [tuple(cursor.fetchone())]
            while cursor.nextset():
                if cursor.description:
                    rows.append(tuple(cursor.fetchone()))
            return rows

    def clauses(self, table: str, column: str) -> dict[str, str]:
        """Return the clauses of a column's definition; see `catalogue.clauses`."""
        return clauses(self.texts[table] or "", column)

    def default_meaning(self, default: str) -> str:
        return default_meaning(default)

    def estimate(self, table: str) -> int | None:
        found = self.query(
            "SELECT max(table_rows) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s",
            (table,),
        )
        return found[0][0]  # type: ignore[no-any-return]

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
