"""Reading, in the way that only MySQL has."""

from __future__ import annotations

import re
from collections.abc import Iterable

import peewee

from migrations.engines.mysql.catalog import MySQLFamilyCatalog
from migrations.engines.mysql.mysql.show_create_table import MySQLTableText
from migrations.engines.mysql.server_errors import NOT_VISIBLE, error_code
from migrations.engines.mysql.show_create_table import QUOTED, without_next_number
from migrations.schema import Table

# The character set before a text in an expression, such as _utf8mb4'text'; or what is
# quoted, which may have the same characters.
_INTRODUCER = re.compile(rf"{QUOTED}|(?P<introducer>\b_[a-z]\w*(?='))", re.IGNORECASE)
# Names of CHECK constraints of a database are unique in it. Parameter: the name.
_CHECKS_NAMED = (
    "SELECT LOWER(table_name) FROM information_schema.table_constraints "
    "WHERE constraint_schema = DATABASE() AND constraint_type = 'CHECK' "
    "AND constraint_name = %s"
)


class MySQLCatalog(MySQLFamilyCatalog):
    """Reads the catalog of MySQL."""

    # By default, MySQL 9 explains as a tree, without the note.
    explain = "EXPLAIN FORMAT=TRADITIONAL"
    text_class = MySQLTableText

    def _texts(self, names: Iterable[str]) -> dict[str, str]:
        """One query each: MySQL has compound statements in routines only."""
        texts = {}
        for name in names:
            query = f"SHOW CREATE TABLE {self.session.quote(name)}"
            try:
                ((_, text, *_),) = self.session.query(query)
            except peewee.DatabaseError as error:
                if error_code(error) not in NOT_VISIBLE:
                    raise
                continue
            texts[name] = without_next_number(text)
        return texts

    def estimated_count(self, table: str) -> int | None:
        # Otherwise it may be a day old.
        with self.session.variables({"information_schema_stats_expiry": 0}):
            return super().estimated_count(table)

    def default_meaning(self, default: str) -> str:
        return super().default_meaning(_without_introducers(default))

    def same_condition(self, table: Table, declared: str, actual: str) -> bool:
        """Texts of a stored condition have their character set in front of them."""
        return super().same_condition(table, declared, _without_introducers(actual))

    def tables_with_check(self, name: str) -> list[str]:
        """Return the table that has a CHECK of a name, if there is one."""
        return [table for (table,) in self.session.query(_CHECKS_NAMED, (name,))]


def _without_introducers(expression: str) -> str:
    """Return an expression whose texts have no character set in front of them."""

    def without(found: re.Match[str]) -> str:
        if found["introducer"]:
            return ""
        return found[0]

    return _INTRODUCER.sub(without, expression)
