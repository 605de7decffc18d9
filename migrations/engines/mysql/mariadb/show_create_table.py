"""What SHOW CREATE TABLE means on MariaDB."""

from __future__ import annotations

from collections.abc import Mapping

from migrations.engines.mysql.show_create_table import (
    CreateTableText,
    standard_strings,
)
from migrations.schema import Check, Type
from migrations.sql_text import unquoted


class MariaDBTableText(CreateTableText):
    """A text of MariaDB."""

    def type_of_column(
        self, type_: Type, name: str, clauses: Mapping[str, str]
    ) -> Type:
        """MariaDB has JSON as a LONGTEXT with this CHECK."""
        if clauses.get("CHECK") == f"CHECK (json_valid({name}))":
            return type_._replace(category="json", size=None)
        return type_

    def checks_of_column(self, words: list[str]) -> list[Check]:
        """Return the CHECK of a column, which has no name but the column's.

        That of a JSON column is part of its type.
        """
        clause = self._clauses(words).get("CHECK", "")
        condition = clause.removeprefix("CHECK (").removesuffix(")")
        if not clause or condition == f"json_valid({words[0]})":
            return []
        return [Check(unquoted(words[0]), condition)]

    def default(self, shown: str, type_: Type) -> str:
        return standard_strings(shown)
