"""The statements that only MariaDB has in this form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from migrations.engines.mysql.ddl import LONGEST_KEY_COLUMN, MySQLFamilyDDL
from migrations.schema import Index, Table


class MariaDBDDL(MySQLFamilyDDL):
    """Writes the statements of one plan on MariaDB."""

    used = "NOT IGNORED"
    drop_check_words = "DROP CONSTRAINT"

    def may_index_long_columns(self, index: Index) -> bool:
        """A unique one: MariaDB has it as a hash.

        It cuts another one short, and says no more than a note about it.
        """
        return index.unique

    def may_be_referred_to(self, index: Index, columns: tuple[str, ...]) -> bool:
        return index.columns[: len(columns)] == columns

    def adds_index_online(self, table: str, added: Index) -> bool:
        """Not if the table has a unique index that is too long for a key.

        MariaDB has hashes of it in a hidden column, and changes no index online beside
        that. A column may be longer than declared, or become as long as declared.
        """
        existing = self._existing(table)
        unique = [index.columns for index in existing.indexes if index.unique]
        unique.append(existing.primary_key)
        if added.unique:
            unique.append(added.columns)
        return not any(self._may_be_hash(table, columns) for columns in unique)

    def may_serve_key(self, table: str, index: Index, columns: tuple[str, ...]) -> bool:
        # A hash of several columns says nothing about the first of them.
        if index.unique and self._may_be_hash(table, index.columns):
            return False
        return super().may_serve_key(table, index, columns)

    def _may_be_hash(self, table: str, columns: Sequence[str]) -> bool:
        """Whether a unique index of some columns is too long for a key."""
        shapes = (self._existing(table), self.declared(table))
        return any(_is_too_long_together(shape, columns) for shape in shapes)


def _is_too_long_together(table: Table, parts: Iterable[str]) -> bool:
    """Whether the columns of an index are longer than a key may be."""
    length = 0
    for part in parts:
        column = table.columns.get(table.column_of_part(part))
        if column is not None:
            length += column.type.size or 0
    return length > LONGEST_KEY_COLUMN
