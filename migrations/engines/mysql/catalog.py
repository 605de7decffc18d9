"""Reading: what MariaDB says of its tables."""

from __future__ import annotations

from collections.abc import Iterable

import peewee

from migrations.engines.catalog import Catalog
from migrations.engines.mysql.column_types import literal_cast, parse_type
from migrations.engines.mysql.server_errors import NOT_VISIBLE
from migrations.engines.mysql.session import CLUSTER_SYNC_SETTINGS, MySQLSession
from migrations.engines.mysql.show_create_table import (
    CreateTableText,
    parsed_table,
    without_next_number,
)
from migrations.schema import UTC_NOW, Column, Schema, Table, Type
from migrations.sql_text import literal, literal_meaning

# The name of a table, with its database if that is another one.
_PATH = (
    "IF(table_schema = DATABASE(), table_name, CONCAT(table_schema, '.', table_name))"
)
# Parameter: the table referred to.
_REFERRING_TABLES = (
    f"SELECT 'table', {_PATH} FROM information_schema.key_column_usage "
    "WHERE referenced_table_schema = DATABASE() AND referenced_table_name = %s"
)
# Parameter: the table that the view selects from.
_VIEWS = (
    f"SELECT 'view', {_PATH} FROM information_schema.views "
    "WHERE LOCATE(CONCAT('`', DATABASE(), '`.`', %s, '`'), view_definition)"
)


class MySQLCatalog(Catalog):
    """Reads the catalog."""

    session: MySQLSession
    # InnoDB checks both at once, never at the end of the statement:
    # https://mariadb.com/kb/en/foreign-keys/
    equivalent_actions = {"RESTRICT": "NO ACTION"}

    # -- tables

    def read(self) -> Schema:
        schema = self.tables(self.models.by_table)
        required = self.models.by_table.keys() - set(self.models.managed)
        if not required <= schema.keys():
            # Perhaps it was created on another node of a cluster a moment ago.
            with self.session.variables(CLUSTER_SYNC_SETTINGS):
                schema = self.tables(self.models.by_table)
        return schema

    def tables(self, names: Iterable[str]) -> Schema:
        tables = {}
        for name, text in self._texts(names).items():
            tables[name] = self.parse_table(name, text)
        return Schema(tables)

    def parse_table(self, name: str, text: str) -> Table:
        """Return the table of a text of SHOW CREATE TABLE."""
        return parsed_table(name, text)

    def table_text(self, name: str) -> CreateTableText:
        """Return the text of a table that exists."""
        return CreateTableText(self._texts([name])[name])

    def _texts(self, names: Iterable[str]) -> dict[str, str]:
        """Return the texts of tables, as far as they exist and this user may see them.

        One compound statement returns them all, so that it takes one round trip:
        https://mariadb.com/kb/en/begin-end/
        """
        names = list(names)
        queries = "; ".join(
            f"SHOW CREATE TABLE {self.session.quote(name)}" for name in names
        )
        errors = ", ".join(str(code) for code in sorted(NOT_VISIBLE))
        handler = f"DECLARE CONTINUE HANDLER FOR {errors} SELECT NULL, NULL"
        sql = f"BEGIN NOT ATOMIC {handler}; {queries}; END"
        with peewee.__exception_wrapper__:
            cursor = self.session.database.execute_sql(self.session.escape_percent(sql))
            rows = [cursor.fetchone()]
            while cursor.nextset():
                if cursor.description:  # the last result is that of the block
                    rows.append(cursor.fetchone())
        texts = {}
        for name, row in zip(names, rows):
            text = row[1]  # a view's row has more columns
            if text:
                texts[name] = without_next_number(text)
        return texts

    def case_variants(self, table: str) -> list[str]:
        rows = self.session.query(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND lower(table_name) = %s",
            (table,),
        )
        return [name for (name,) in rows if name != table]

    def dependents(self, table: str) -> list[str]:
        """Views would stay without the table, and fail.

        Another table's foreign key would keep it from being dropped.
        """
        rows = self.session.query(f"{_REFERRING_TABLES} UNION {_VIEWS}", (table, table))
        return [
            f"{kind} {name}" for kind, name in rows if name not in self.models.managed
        ]

    def referring_tables(self, table: str, column: str) -> list[str]:
        """Return the tables with a foreign key to a column.

        What the phase manages itself is left out.
        """
        rows = self.session.query(
            f"{_REFERRING_TABLES} AND referenced_column_name = %s", (table, column)
        )
        names = dict.fromkeys(name for _, name in rows)
        return [name for name in names if name not in self.models.managed]

    def estimated_count(self, table: str) -> int | None:
        ((count,),) = self.session.query(
            "SELECT max(table_rows) FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND table_name = %s",
            (table,),
        )
        if count is None:
            return None
        return int(count)

    # -- what models declare

    def parse_type(self, text: str) -> Type:
        return parse_type(text)

    def default_meaning(self, default: str) -> str:
        call = default.lower().replace("()", "").strip("()")
        if call == "utc_timestamp":
            return UTC_NOW
        return literal_meaning(default).replace("\\\\", "\\")

    def normalized_default(self, column: Column) -> Column:
        cast = literal_cast(column.type)
        if cast is None or column.default is None:
            return column
        if self.default_meaning(column.default) == UTC_NOW:
            return column
        ((text,),) = self.session.query_literally(
            f"SELECT CAST(CAST({column.default} AS {cast}) AS CHAR)"
        )
        if not text:  # not a value of that type
            return column
        if column.type.category in ("integer", "decimal"):
            return column._replace(default=text)
        return column._replace(default=literal(text))
