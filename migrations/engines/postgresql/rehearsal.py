"""The rehearsal of a plan: its statements, executed on empty copies of the tables.

The copies are temporary tables with the names of the tables, first in the search path,
so the statements of the plan act on them. All of it is in a transaction, or a
savepoint, that is rolled back. A copy has the columns, defaults, constraints, indexes
and foreign keys of its table; it has no rows, triggers, policies, and nothing that
depends on it. Those are looked up in the catalog, see `PostgreSQLDDL`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

import peewee

from migrations.engines.postgresql import catalog_queries
from migrations.engines.postgresql.catalog import PostgreSQLCatalog
from migrations.engines.session import logger
from migrations.errors import ChangeRefused
from migrations.operations import CreateTable
from migrations.plan import Plan
from migrations.report import Change
from migrations.schema import Column
from migrations.sql_text import one_line

# A sequence does not take part in a transaction, and is not copied. What is about
# statistics would change those of the table itself.
_NOT_REHEARSED = ("ALTER SEQUENCE", "SELECT", "ALTER STATISTICS", "ANALYZE")
_DROPPED_INDEX = re.compile(
    r"""(DROP[ ]INDEX[ ](?:IF[ ]EXISTS[ ])?) (?:(?:"(?:[^"]|"")+"|\w+)[.])?""",
    re.VERBOSE,
)
_ALTERED_TYPE = re.compile(r'ALTER TABLE "((?:[^"]|"")+)" .*?"((?:[^"]|"")+)" TYPE ')


class _Undo(Exception):
    """Leaves a transaction in the way that rolls it back."""


class Rehearsal:
    """One plan on PostgreSQL, rehearsed while it is made."""

    def __init__(self, catalog: PostgreSQLCatalog, plan: Plan) -> None:
        self.catalog = catalog
        self.session = catalog.session
        self.plan = plan
        self.changed = list(dict.fromkeys(each.table for each in plan.operations))

    def execute(self, changes: Sequence[Change]) -> None:
        """Execute statements on the copies.

        :raises ChangeRefused: one fails, or the result is not what the models declare.
        """
        with self.session.rolled_back():
            try:
                self._make_copies()
            except peewee.DatabaseError as error:
                if self.session.is_interruption(error):
                    raise
                self._log_omission(error)
                return
            for change in changes:
                self._execute(change)
            self._compare()

    def _log_omission(self, error: Exception) -> None:
        level = logging.WARNING
        if self.session.is_read_only(error):  # where a run fails anyway
            level = logging.INFO
        text = "! the plan was not rehearsed on empty tables: %s"
        logger.log(level, text, one_line(error))

    # -- the copies

    def _make_copies(self) -> None:
        changed = [self._current(name) for name in self.changed]
        statements = self.session.query_texts(
            catalog_queries.COPIES_OF_TABLES, self._copied_tables(), changed
        )
        self.session.query(catalog_queries.PUT_TEMPORARY_TABLES_FIRST)
        for sql in statements:
            self.session.execute_literally(sql)

    def _copied_tables(self) -> list[str]:
        """Return the tables that change, and those that they refer to."""
        names = set()
        for name in self.changed:
            for schema in (self.plan.current, self.plan.planned):
                if name in schema:
                    names.add(name)
                    names.update(key.parent for key in schema[name].foreign_keys)
        for operation in self.plan.operations:
            if isinstance(operation, CreateTable):
                names.discard(operation.table)
        return sorted(self._current(name) for name in names)

    def _current(self, name: str) -> str:
        """Return the name that a table has before the plan."""
        table = self.plan.current.get(name)
        return name if table is None else table.current_name

    # -- the statements

    def _execute(self, change: Change) -> None:
        if change.sql.startswith(_NOT_REHEARSED):
            return
        # In a transaction there is no CONCURRENTLY.
        sql = change.sql.replace("INDEX CONCURRENTLY", "INDEX", 1)
        sql = _DROPPED_INDEX.sub(r"\1pg_temp.", sql)
        for schema in self.catalog.models.schemas:
            # The copies are found without it.
            sql = sql.replace(f"{self.session.quote(schema)}.", "")
        error = self._error_of(sql)
        if error is not None:
            reason = one_line(error).partition(" LINE 1:")[0]
            advice = self._advice(change.sql, sql)
            raise ChangeRefused(
                f"the change would fail, nothing was changed: {change.description}: "
                f"{reason}{advice} ({change.sql})"
            )

    def _error_of(self, sql: str, *before: str) -> peewee.DatabaseError | None:
        """Execute a statement; return its error, if it fails.

        :param before: statements that are executed before, and rolled back with it.
        """
        try:
            with self.session.transaction():
                for each in before:
                    self.session.execute_literally(each)
                self.session.execute_literally(sql)
                if before:
                    raise _Undo
        except _Undo:
            return None
        except peewee.DatabaseError as error:
            if self.session.is_interruption(error):
                raise
            return error
        return None

    def _advice(self, original: str, sql: str) -> str:
        """Return what to do about a statement that fails.

        :param sql: as it is executed on the copies.
        """
        for operation in self.plan.operations:
            if isinstance(operation, CreateTable) and operation.declared.settings:
                settings = " ".join(operation.declared.settings)
                if original.endswith(f") {settings}"):
                    return f"; correct Meta.table_settings {settings!r}, then run again"
        default = "; repair that by hand, then run again"
        return self._advice_about_column(sql) or default

    def _advice_about_column(self, sql: str) -> str:
        """Return which constraints or indexes of a column prevent its new type."""
        altered = _ALTERED_TYPE.match(sql)
        if altered is None:
            return ""
        table, column = (name.replace('""', '"') for name in altered.groups())
        query = catalog_queries.DROPS_FOR_COLUMN
        objects = self.session.query(query, (table, column))
        preventing = [
            description
            for description, drop in objects
            if self._error_of(sql, drop) is None
        ]
        if not preventing and objects:
            drops = [drop for _, drop in objects]
            if self._error_of(sql, *drops) is None:
                preventing = [description for description, _ in objects]
        if not preventing:
            return ""
        pronoun = "it" if len(preventing) == 1 else "them"
        return (
            f"; the {' and the '.join(preventing)} of {table} cannot be converted: "
            f"drop {pronoun}, run again, then create {pronoun} again"
        )

    # -- the result

    def _compare(self) -> None:
        """Compare the copies with the planned schema, as far as it is declared."""
        left: list[str] = []
        for name, table in self.catalog.tables(self.changed).items():
            planned = self.plan.planned[name]
            declared = self.catalog.declared_by_name(name)
            if table.primary_key != planned.primary_key:
                left.append(f"{name}: the primary key is {table.primary_key}")
            for column in declared.columns:
                # An undeclared DEFAULT is converted with its column.
                with_default = declared.columns[column].default is not None
                wanted, actual = planned.columns[column], table.columns[column]
                if self.catalog.same_default(wanted, actual.default or "NULL"):
                    actual = actual._replace(default=wanted.default)
                expected = self._description(wanted, with_default)
                found = self._description(actual, with_default)
                if found != expected:
                    left.append(f"{name}.{column}: expected {expected}, found {found}")
        if left:
            raise ChangeRefused(
                "the change would leave differences, nothing was changed: "
                f"{'; '.join(left)}"
            )

    def _description(self, column: Column, with_default: bool) -> str:
        """Return what of a column has to be as planned."""
        text = column.type.category
        if not column.null:
            text += " NOT NULL"
        if with_default and column.default is not None:
            text += f" DEFAULT {self.catalog.default_meaning(column.default)}"
        return text
