"""The rehearsal: a plan's statements, executed on temporary tables.

A temporary table hides the real one of its name on this connection, so that the
statements are those of the run. It has the definition of the real one and a few of its
rows, as some errors come only with a row: a CHECK that compares what is a number now
with a text. It has no foreign keys and no FULLTEXT indexes, which the server does not
support on temporary tables; the catalog is asked about those while the statements are
written.

ALTER TABLE commits the open transaction even for a temporary table, so nothing is
rehearsed inside a caller's transaction, in which a run would be refused anyway.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import peewee

from migrations import operations as do
from migrations.engines.mysql.catalog import MySQLFamilyCatalog
from migrations.engines.mysql.server_errors import (
    COLUMN_TOO_LONG,
    DISCONNECTED,
    KEY_TOO_LONG,
    LOCKED,
    NO_RIGHT,
    READ_ONLY,
    ROW_TOO_LONG,
    error_code,
)
from migrations.engines.mysql.show_create_table import (
    QUOTED,
    for_temporary_table,
    statement_of_temporary_table,
)
from migrations.engines.session import logger
from migrations.errors import ChangeRefused
from migrations.plan import Plan
from migrations.report import Change
from migrations.schema import Column, Table
from migrations.sql_text import masked, one_line

_COPIED_ROWS = 20
_SHOWN_COLUMNS = 3  # of those whose row is too long
_ROWS = "rows of a rehearsal"  # a table that has them until the copy exists
_ADDED_FOREIGN_KEY = re.compile(r"ADD CONSTRAINT \S+ FOREIGN KEY ")
_DROPPED_FOREIGN_KEY = re.compile(r"(^ALTER TABLE \S+|,) DROP FOREIGN KEY `x*`")
_RENAMED_TABLE = re.compile(r"^ALTER TABLE \S+ RENAME TO ")
_FULLTEXT_ONLY = re.compile(r"ADD FULLTEXT INDEX \S+ ")


class Rehearsal:
    """The rehearsal of one plan."""

    def __init__(self, catalog: MySQLFamilyCatalog, plan: Plan) -> None:
        self.catalog = catalog
        self.session = catalog.session
        self.plan = plan
        self.quote = self.session.quote
        self._temporary: list[str] = []

    def execute(self, changes: Sequence[Change]) -> None:
        """Execute the statements, and look at what they lead to.

        :raises ChangeRefused: one fails, or the tables differ from the plan.
        """
        if self.session.in_transaction():
            logger.info("- the plan was not rehearsed inside the open transaction")
            return
        server = self.session.server
        settings = {
            **server.run_settings,
            "innodb_lock_wait_timeout": server.shortest_lock_wait,
        }
        with self.session.variables(settings), self._dropped():
            try:
                self._copy_tables()
                for change in changes:
                    self._execute(change)
            except peewee.DatabaseError as error:
                if error_code(error) in LOCKED | DISCONNECTED:
                    raise
                text = _server_text(error)
                logger.info("- the plan was not rehearsed: %s", text)
                return
            self._compare()

    @contextmanager
    def _dropped(self) -> Iterator[None]:
        """Drop the temporary tables at the end."""
        try:
            yield
        finally:
            for name in self._temporary:
                self.session.execute_literally(
                    f"DROP TEMPORARY TABLE IF EXISTS {self.quote(name)}"
                )

    # -- the tables

    def _copy_tables(self) -> None:
        names = {operation.table for operation in self.plan.operations}
        for name in self.catalog.models.managed:
            if name in names and name in self.plan.current:
                self._copy_table(self.plan.current[name])

    def _copy_table(self, table: Table) -> None:
        text = self.catalog.text_of(table.current_name)
        rows = self.quote(_ROWS)
        self._temporary += [_ROWS, table.name]
        self.session.execute_literally(statement_of_temporary_table(text, rows))
        columns = [
            self.quote(column.current_name)
            for column in table.columns.values()
            if not column.generated
        ]
        listed = ", ".join(columns)
        try:
            with self.session.all_rows():
                self.session.execute_literally(
                    f"INSERT IGNORE INTO {rows} ({listed}) SELECT {listed} "
                    f"FROM {self.quote(table.current_name)} LIMIT {_COPIED_ROWS}"
                )
        except peewee.DatabaseError as error:
            # It waits for nobody: without rows, the rehearsal finds nearly as much.
            if error_code(error) not in LOCKED:
                raise
        # Not by renaming the first one: after that, MariaDB does not find the columns
        # of a CHECK when one of them is renamed.
        copy = self.quote(table.name)
        self.session.execute_literally(statement_of_temporary_table(text, copy))
        self.session.execute_literally(
            f"INSERT IGNORE INTO {copy} ({listed}) SELECT {listed} FROM {rows}"
        )
        self.session.execute_literally(f"DROP TEMPORARY TABLE {rows}")

    # -- the statements

    def _execute(self, change: Change) -> None:
        sql = change.sql
        if _FULLTEXT_ONLY.search(masked(sql, QUOTED)):
            return
        if _ADDED_FOREIGN_KEY.search(masked(sql, QUOTED)) and "ALTER" in sql:
            return
        sql = _without_dropped_keys(sql)
        if not sql:
            return
        if _RENAMED_TABLE.search(masked(sql, QUOTED)):
            return  # the copy has the new name
        if sql.startswith("CREATE TABLE "):
            self._temporary += [
                operation.table
                for operation in self.plan.operations
                if isinstance(operation, do.CreateTable)
            ]
            sql = for_temporary_table(sql)
            sql = sql.replace("CREATE TABLE ", "CREATE TEMPORARY TABLE ", 1)
        try:
            # Temporary tables cannot be changed online.
            offline = sql.removesuffix(f", {self.session.server.online}")
            self.session.execute_literally(offline)
        except peewee.DatabaseError as error:
            if error_code(error) in LOCKED | DISCONNECTED | NO_RIGHT | READ_ONLY:
                raise
            where = self._place_of_limit(change, error) or change.description
            raise ChangeRefused(
                f"{where}: the server refuses this: {_server_text(error)}"
                f"{self._advice(change)}; nothing was changed: {change.sql}"
            ) from None

    def _place_of_limit(
        self, change: Change, error: peewee.DatabaseError
    ) -> str | None:
        """Return the columns that are too long together, with their table.

        The server names one column, or none.
        """
        code = error_code(error)
        if code not in (KEY_TOO_LONG, COLUMN_TOO_LONG, ROW_TOO_LONG):
            return None
        for operation in self.plan.operations:
            if f" TABLE {self.quote(operation.table)} " not in change.sql:
                continue
            declared = self.catalog.declared_by_name(operation.table)
            columns = _longest_columns(declared)
            if code == KEY_TOO_LONG:
                columns = _longest_key(declared)
            elif code == COLUMN_TOO_LONG:
                columns = columns[:1]
            described = [f"{each.name} {each.type.text}" for each in columns]
            return f"{declared.name}.{', '.join(described)}"
        return None

    def _advice(self, change: Change) -> str:
        """Return what may be why: table_settings, or CHECKs of a changed column."""
        found = []
        for operation in self.plan.operations:
            if isinstance(operation, do.CreateTable) and operation.declared.settings:
                settings = " ".join(operation.declared.settings)
                if change.sql.endswith(f" {settings}"):
                    return f"; correct Meta.table_settings {settings!r}"
            if not isinstance(operation, do.AlterColumn):
                continue
            column = self.quote(operation.actual.name)
            table = self.plan.current[operation.table]
            declared = self.catalog.declared_by_name(operation.table)
            if f" {column}" not in change.sql:
                continue
            for check in table.checks:
                is_declared = declared.check_named(check.name) is not None
                if column in check.condition and not is_declared:
                    found.append(check.name)
        if not found:
            return ""
        return f"; if the reason is the CHECK {' or '.join(found)}, drop it"

    # -- what they lead to

    def _compare(self) -> None:
        """Compare what the server made of the statements with the plan.

        :raises ChangeRefused: it made something else of a DEFAULT, a type or a key.
        """
        for operation in self.plan.operations:
            if isinstance(operation, do.AddForeignKey | do.DropForeignKey):
                continue
            made = self.catalog.temporary_table(operation.table)
            for difference in self._differences(operation, made):
                raise ChangeRefused(
                    f"{operation.table}.{difference}; nothing was changed"
                )

    def _differences(self, operation: do.Operation, made: Table) -> Iterator[str]:
        if isinstance(operation, do.AlterColumn) and not operation.changes_default:
            return
        if isinstance(operation, do.AddIndex):
            if "FULLTEXT INDEX" in operation.definition.definition:
                return
            declared = operation.definition
            index = made.index_named(declared.name)
            candidates = made.indexes if not declared.name else (index,)
            if not any(
                each is not None and self.catalog.is_equivalent(made, declared, each)
                for each in candidates
            ):
                found = index or "no index"
                yield f"{declared.label}: the server would make {found} of it"
        elif isinstance(operation, do.AlterColumn | do.AddColumn):
            yield from self._differences_of(operation.column, made)
        elif isinstance(operation, do.CreateTable):
            for column in operation.declared.columns.values():
                yield from self._differences_of(column, made)

    def _differences_of(self, declared: Column, made: Table) -> Iterator[str]:
        column = made.columns[made.names.key(declared.name)]
        if declared.default is None:
            return
        if column.default is None:
            yield f"{column.name}: the server ignores DEFAULT {declared.default}"
        elif not self.catalog.same_default(declared, column.default):
            yield (
                f"{column.name}: the server makes DEFAULT {column.default} of "
                f"{declared.default}; write it so in the model"
            )


def _without_dropped_keys(sql: str) -> str:
    """Return an ALTER TABLE that drops no foreign keys; "" if that is all it does.

    The first parts of a statement drop them; other statements are returned as they are.
    """
    text = masked(sql, QUOTED)
    found = _DROPPED_FOREIGN_KEY.match(text)
    if found is None:
        return sql
    start = end = len(found[1])
    while found is not None:
        end = found.end()
        found = _DROPPED_FOREIGN_KEY.match(text, end)
    rest = sql[end:].removeprefix(",")
    return f"{sql[:start]}{rest}" if rest else ""


def _longest_columns(table: Table) -> list[Column]:
    """Return the columns of a limited length, from the longest one on.

    The values of a TEXT or BLOB are not stored in the row.
    """
    limited = []
    for column in table.columns.values():
        is_apart = re.search("text|blob", column.type.text, re.IGNORECASE)
        if column.type.size and not is_apart:
            limited.append(column)
    return sorted(limited, key=_length, reverse=True)[:_SHOWN_COLUMNS]


def _longest_key(table: Table) -> list[Column]:
    """Return the columns of the longest key that is not a hash."""
    keys = [table.primary_key]
    keys += [index.columns for index in table.indexes if not index.unique]
    columns = [
        [table.columns[name] for name in key if name in table.columns] for key in keys
    ]
    return max(columns, key=lambda key: sum(map(_length, key)))


def _length(column: Column) -> int:
    return column.type.size or 0


def _server_text(error: peewee.PeeweeException) -> str:
    """Return the message of an error without its number."""
    original = error.args[0] if error.args else error
    if isinstance(original, Exception) and len(original.args) > 1:
        return one_line(original.args[1])
    if len(error.args) > 1:
        return one_line(error.args[1])
    return one_line(error)
