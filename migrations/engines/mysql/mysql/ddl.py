"""The statements that only MySQL has in this form."""

from __future__ import annotations

import re
from collections.abc import Iterator

from migrations import operations as do
from migrations.engines.mysql.catalog import MySQLFamilyCatalog
from migrations.engines.mysql.conversions import MySQLFamilyConversions
from migrations.engines.mysql.ddl import MySQLFamilyDDL
from migrations.engines.mysql.mysql.catalog import MySQLCatalog
from migrations.errors import ChangeRefused
from migrations.report import Change
from migrations.schema import Check, Column, Index, Schema, Type, name_of_guard
from migrations.sql_text import QUOTED, with_renamed_column

# A column of such a type has an expression for a DEFAULT, in parentheses.
_EXPRESSIONS_ONLY = ("text", "blob", "json", "geometry")
_DATES = ("date", "datetime", "timestamp")
_ZERO = re.compile(r"(?<![\w.])0(?![\w.])")
_WITHOUT_KEY_CHECKS = (("foreign_key_checks", "0"),)


class MySQLDDL(MySQLFamilyDDL):
    """Writes the statements of one plan on MySQL.

    A statement that copies a table checks its foreign keys for each row: it opens the
    parent each time, which takes ten times as long as the copy, and locks the parent's
    rows. Who changes such a row then waits with a lock on this table, which the
    statement needs at its end. So the keys are not checked by what touches no key.
    """

    catalog: MySQLCatalog
    used = "VISIBLE"
    drop_check_words = "DROP CHECK"

    def __init__(
        self,
        catalog: MySQLFamilyCatalog,
        conversions: MySQLFamilyConversions,
        schema: Schema,
    ) -> None:
        super().__init__(catalog, conversions, schema)
        # Columns that an earlier statement has renamed, by table and new name.
        self._renamed: set[tuple[str, str]] = set()
        # The names of CHECKs that are added before tables are dropped, in lower case.
        self._guards: set[str] = set()

    def may_index_long_columns(self, index: Index) -> bool:
        return False

    def may_be_referred_to(self, index: Index, columns: tuple[str, ...]) -> bool:
        """Only to a unique key, and to all of its columns.

        https://dev.mysql.com/doc/refman/8.4/en/server-system-variables.html
        #sysvar_restrict_fk_on_non_standard_key
        """
        return index.unique and index.columns == columns

    # -- renames

    def rename_column(self, operation: do.RenameColumn) -> Iterator[Change]:
        """The CHECKs that name the column are recreated in the same statement.

        MySQL refuses to rename a column of a CHECK, in error 3959.
        """
        table = operation.table
        self._renamed.add((table, operation.name))
        checks = self._existing(table).checks_with(operation.name)
        for change in super().rename_column(operation):
            if not checks:
                yield change
                continue
            rename = change.sql.removesuffix(f", {self.session.server.online}")
            added = [self._check_between_renames(table, check) for check in checks]
            dropped = [
                f"{self.drop_check_words} {self.quote(check.name)}" for check in checks
            ]
            sql = ", ".join([rename, *dropped, *added])
            blocks = self._blocked_by_copy(table)
            yield self._without_key_checks(change._replace(sql=sql, blocks=blocks))

    def _check_between_renames(self, table: str, check: Check) -> str:
        """Return what adds a CHECK while some columns still have their old names."""
        condition = check.condition
        for column in self._existing(table).columns.values():
            if column.old_name and (table, column.name) not in self._renamed:
                condition = with_renamed_column(condition, column.name, column.old_name)
        sql = f"ADD CONSTRAINT {self.quote(check.name)} CHECK ({condition})"
        return sql if check.valid else f"{sql} NOT ENFORCED"

    # -- columns

    def adding_copies(self, table: str, column: Column) -> bool:
        """Also for an expression as its DEFAULT, which each row gets."""
        if self._default_clause(column).startswith(" DEFAULT ("):
            return True
        return super().adding_copies(table, column)

    def add_column(self, operation: do.AddColumn) -> Iterator[Change]:
        for change in super().add_column(operation):
            yield self._without_key_checks(change)

    def alter_column(self, operation: do.AlterColumn) -> Iterator[Change]:
        self._refuse_zero_date(operation)
        is_in_key = self._is_in_kept_key(operation.table, operation.actual.name)
        for change in super().alter_column(operation):
            if not is_in_key:
                change = self._without_key_checks(change)
            yield change

    def _refuse_zero_date(self, operation: do.AlterColumn) -> None:
        """Refuse a change to a date where a CHECK compares the column with 0.

        MySQL would write a zero date in place of the 0, and a session with the usual
        NO_ZERO_DATE could not open the table any more (error 1525).
        """
        column = operation.column
        if not operation.changes_type or column.type.category not in _DATES:
            return
        table = self._existing(operation.table)
        for check in table.checks_with(operation.actual.name):
            if _ZERO.search(re.sub(QUOTED, " ", check.condition)):
                raise ChangeRefused(
                    f"{operation.table}.{column.name} has to become a "
                    f"{column.type.category}, and the CHECK {check.name} "
                    f"({check.condition}) compares with 0, of which MySQL would make a "
                    "zero date that most sessions cannot read; drop it, then run again"
                )

    def _is_in_kept_key(self, table: str, column: str) -> bool:
        """Whether a foreign key that the plan does not drop is about a column."""
        for key in self._existing(table).foreign_keys:
            is_kept = (table, key.name) not in self._dropped_keys
            if is_kept and self.catalog.names.key(column) in key.columns:
                return True
        current_column = self.catalog.names.key(self.current_column(table, column))
        for referring in self.catalog.referring_keys(self.current_table(table)):
            is_kept = (referring.table, referring.name) not in self._dropped_keys
            if is_kept and current_column in referring.parent_columns:
                return True
        return False

    def new_name_of_guard(self, table: str) -> str:
        """A CHECK has its name in the whole database, in whatever case."""
        name = name_of_guard(table)
        if name.lower() in self._guards:
            name = name_of_guard(f"{len(self._guards)}_{table}")
        self._guards.add(name.lower())
        return name

    def forbid_rows(self, operation: do.ForbidRows) -> Iterator[Change]:
        for change in super().forbid_rows(operation):
            yield self._without_key_checks(change)

    def drop_column(self, operation: do.DropColumn) -> Iterator[Change]:
        for change in super().drop_column(operation):
            if change.guard is not None:
                change = self._without_key_checks(change)
            yield change

    def set_primary_key(self, operation: do.SetPrimaryKey) -> Iterator[Change]:
        """Without checks, as a column that is referred to cannot be auto-increment.

        Its values and its type stay as they are.
        """
        for change in super().set_primary_key(operation):
            yield self._without_key_checks(change)

    def typed(self, table: str, type_: Type, collation: str | None) -> str:
        """Without the table's usual collation: MySQL shows that it was asked for."""
        if collation == self._usual_collation(table):
            collation = None
        return super().typed(table, type_, collation)

    def _usual_collation(self, table: str) -> str:
        if table not in self.schema:
            return self.session.database_collation
        text = self.catalog.text_of(self.current_table(table))
        return self.catalog.text_class(text).usual_collation()

    def _without_key_checks(self, change: Change) -> Change:
        if change.sql.startswith("UPDATE "):  # whose values may be those of a key
            return change
        return change._replace(settings=_WITHOUT_KEY_CHECKS)

    def _default_clause(self, column: Column) -> str:
        clause = super()._default_clause(column)
        default = clause.removeprefix(" DEFAULT ")
        if not default or default.startswith("(") or not _needs_parentheses(column):
            return clause
        return f" DEFAULT ({default})"

    def kept_default(self, operation: do.AlterColumn) -> str:
        default = super().kept_default(operation)
        planned = self.planned_columns.column(operation.table, operation.column.name)
        is_call = default.lower().startswith("utc_timestamp")
        if is_call or not default.startswith("(") and _needs_parentheses(planned):
            return f"({default})"
        return default

    # -- constraints

    def add_check(self, operation: do.AddCheck) -> Iterator[Change]:
        table = operation.table
        check = operation.check
        if not check.valid:
            part = f"ALTER CHECK {self.quote(check.name)} ENFORCED"
            change = self._alter(
                f"enforce the check {check.name}", table, [part], copies=True
            )
            yield self._without_key_checks(change)
            return
        self._refuse_name_of_another_check(table, check.name)
        for change in super().add_check(operation):
            yield self._without_key_checks(change)

    def create_table(self, operation: do.CreateTable) -> Iterator[Change]:
        for check in self.declared(operation.table).checks:
            self._refuse_name_of_another_check(operation.table, check.name)
        yield from super().create_table(operation)

    def _refuse_name_of_another_check(self, table: str, name: str) -> None:
        """Refuse the name of a CHECK of another table: they are the database's."""
        for other in self.catalog.tables_with_check(name):
            if other == self.catalog.table_key(self.current_table(table)):
                continue
            raise ChangeRefused(
                f"{table}: a CHECK has to be named {name}, and a CHECK of the table "
                f"{other} has that name; drop it, and add it under another name: ALTER "
                f"TABLE {self.quote(other)} {self.drop_check_words} {self.quote(name)}"
            )

    def add_foreign_key(self, operation: do.AddForeignKey) -> Iterator[Change]:
        parent = operation.key.parent
        for change in super().add_foreign_key(operation):
            if change.blocks is None:
                yield change
            else:
                yield change._replace(
                    note=f"checks each row, and blocks writes to {parent} as well"
                )


def _needs_parentheses(column: Column) -> bool:
    """Whether a DEFAULT of a column must be an expression."""
    return _first_word(column.type).endswith(_EXPRESSIONS_ONLY)


def _first_word(type_: Type) -> str:
    return type_.text.lower().partition("(")[0].split()[0]
