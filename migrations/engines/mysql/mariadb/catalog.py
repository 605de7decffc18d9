"""Reading, in the way that only MariaDB has."""

from __future__ import annotations

from collections.abc import Iterable

import peewee

from migrations.engines.mysql.catalog import MySQLFamilyCatalog
from migrations.engines.mysql.mariadb.show_create_table import MariaDBTableText
from migrations.engines.mysql.server_errors import NOT_VISIBLE
from migrations.engines.mysql.show_create_table import without_next_number
from migrations.schema import ForeignKey


class MariaDBCatalog(MySQLFamilyCatalog):
    """Reads the catalog of MariaDB."""

    explain = "EXPLAIN EXTENDED"
    text_class = MariaDBTableText

    def _texts(self, names: Iterable[str]) -> dict[str, str]:
        """One compound statement returns them all, so that it takes one round trip:
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

    def implied_parent_columns(self, key: ForeignKey) -> tuple[str, ...]:
        """Return the columns of the same names, and not the primary key."""
        return key.columns
