"""The rows of the smoke test, in the way that only MariaDB has."""

from __future__ import annotations

from migrations.engines.mysql.sample_rows import MySQLFamilySampleRows
from migrations.schema import Column


class MariaDBSampleRows(MySQLFamilySampleRows):
    """Makes the rows of one smoke test. MariaDB can ignore CHECK constraints."""

    def literal_of(self, column: Column) -> str:
        digits = f"hex(cast({self.quote(column.name)} AS BINARY))"
        return f"coalesce(concat('x''', {digits}, ''''), 'NULL')"
