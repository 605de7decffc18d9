"""The statements of MariaDB and MySQL: each commits, so each does as much as it can.

`playhouse.migrate` writes MODIFY without a column's collation, comment, CHECK and
fractions of seconds. And it takes several statements where one is enough, between which
a crash, or another session, finds the table without a key.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from migrations import operations as do
from migrations.engines.ddl import StatementDDL
from migrations.engines.mysql.catalog import MySQLFamilyCatalog
from migrations.engines.mysql.column_types import (
    STRINGS,
    fit_together,
    is_single_precision,
    longest_text,
    text_with_collation,
)
from migrations.engines.mysql.conversions import (
    MySQLFamilyConversions,
    escape_backslashes,
    is_converted_by_text,
)
from migrations.engines.mysql.planned_columns import PlannedColumns
from migrations.engines.mysql.session import MySQLFamilySession
from migrations.errors import ChangeRefused
from migrations.index_text import parse_create_index
from migrations.operations import Operation
from migrations.report import Change, Guard
from migrations.schema import (
    Check,
    Column,
    ForeignKey,
    Index,
    Schema,
    Table,
    Type,
)
from migrations.sql_text import is_literal, literal, with_renamed_column

# Characters of four bytes in a key of InnoDB, which has at most 3072 bytes.
LONGEST_KEY_COLUMN = 3072 // 4
_LONGEST_NAME = 64
# A part of a key: a column, or the beginning of one, and its direction.
_KEY_PART = re.compile(r"(?P<name>.*?)(?P<suffix>(\(\d+\))?( DESC)?)")
# Clauses of a column's definition that are written from the column, and not kept.
_REWRITTEN_CLAUSES = {"", "NOT", "NULL", "DEFAULT"}


class MySQLFamilyDDL(StatementDDL):
    """Writes the statements of one plan.

    A change that the server cannot make online copies the table, and blocks writes.
    """

    catalog: MySQLFamilyCatalog
    conversions: MySQLFamilyConversions
    session: MySQLFamilySession
    # What ALTER INDEX makes of an index that no query uses.
    used: ClassVar[str]
    # The words that drop a CHECK constraint, before its name.
    drop_check_words: ClassVar[str]

    def __init__(
        self,
        catalog: MySQLFamilyCatalog,
        conversions: MySQLFamilyConversions,
        schema: Schema,
    ) -> None:
        super().__init__(catalog, conversions, schema)
        self.planned_columns = PlannedColumns(catalog, schema)
        # The foreign keys that the plan drops, by table and name.
        self._dropped_keys: set[tuple[str, str | None]] = set()
        # The indexes that earlier statements drop, by table.
        self._dropped_indexes: dict[str, list[Index]] = {}
        # By table, the names of UNIQUE constraints that have none in the model.
        self._chosen_names: dict[str, list[str]] = {}

    # -- planning

    def copies_rows(self, operations: Sequence[do.Operation], table: str) -> bool:
        for operation in operations:
            if operation.table != table:
                continue
            if isinstance(operation, do.SetPrimaryKey | do.AddCheck | do.AddForeignKey):
                return True
            if isinstance(operation, do.AlterColumn) and operation.changes_type:
                return True
            if isinstance(operation, do.DropColumn) and self.guard_of(operation):
                return True
        return False

    def must_release_keys(self, operations: Sequence[Operation]) -> bool:
        # A column keeps its type as long as a foreign key has it (errors 1832, 1833).
        return True

    def implied_operations(self, operations: Sequence[Operation]) -> list[Operation]:
        """Return operations without which others fail, or undo something."""
        implied: list[Operation] = []
        for operation in operations:
            if isinstance(operation, do.AddForeignKey):
                implied += self._alterations_for_foreign_key(operation)
            elif isinstance(operation, do.AlterColumn):
                implied += self._alterations_for_not_null(operation)
            elif isinstance(operation, do.AddIndex):
                columns = operation.definition.columns
                implied += self._implicit_indexes(operation.table, columns)
            elif isinstance(operation, do.SetPrimaryKey):
                implied += self._implicit_indexes(operation.table, operation.columns)
        return implied

    def _existing(self, table: str) -> Table:
        """Return a table as it is, or one without anything."""
        return self.schema.get(table, Table(table))

    def _alterations_for_foreign_key(
        self, operation: do.AddForeignKey
    ) -> Iterator[Operation]:
        """The column must have the shape of the parent's."""
        table = operation.table
        if len(operation.key.columns) > 1:
            return  # declared as they are in the parent
        (name,) = operation.key.columns
        column = self._existing(table).columns.get(name)
        if column is None:
            return
        if self.planned_columns.has_another_shape(table, column):
            planned = self.planned_columns.column(table, name)
            declared = self.declared(table).columns[name]
            declared = declared._replace(collation=planned.collation)
            yield do.AlterColumn(table, declared, column, changes_type=True)

    def _alterations_for_not_null(
        self, operation: do.AlterColumn
    ) -> Iterator[Operation]:
        """A foreign key that sets NULL keeps its column nullable.

        A change of the type releases it.
        """
        if not operation.changes_null or operation.column.null:
            return
        for key in self._existing(operation.table).foreign_keys:
            if self.catalog.names.key(operation.column.name) not in key.columns:
                continue
            if "SET NULL" in (key.on_delete, key.on_update):
                yield do.AlterColumn(
                    operation.table,
                    operation.column,
                    operation.actual,
                    changes_type=True,
                )

    def _implicit_indexes(
        self, table: str, columns: tuple[str, ...]
    ) -> Iterator[Operation]:
        """Declared indexes in whose place the index of a foreign key was accepted.

        InnoDB drops an index that it made for a foreign key, without a word, once a
        longer one begins with its columns:
        https://dev.mysql.com/doc/refman/8.4/en/create-table-foreign-keys.html
        """
        existing = self._existing(table)
        for index in self.declared(table).indexes:
            is_beginning = index.columns == columns[: len(index.columns)]
            is_shorter = len(index.columns) < len(columns)
            if not index.name:
                continue  # it is unique, and the index of a foreign key is not
            if is_beginning and is_shorter and not existing.index_named(index.name):
                yield do.AddIndex(table, index)

    def statements(self, operations: Sequence[Operation]) -> list[Change]:
        reason = self.session.server.reason_not_to_change()
        if reason:
            raise ChangeRefused(reason)
        self._dropped_keys = _dropped_foreign_keys(operations)
        self._refuse_two_keys_of_a_name(operations)
        return super().statements(self._in_order(operations))

    def _in_order(self, operations: Sequence[Operation]) -> list[Operation]:
        """Return operations so that a column of an old key becomes nullable after it.

        Before that, MODIFY would leave it NOT NULL without a word.
        """
        old_keys = set()
        for operation in operations:
            if isinstance(operation, do.SetPrimaryKey):
                for name in self._existing(operation.table).primary_key:
                    old_keys.add((operation.table, name))
        waiting = []
        for operation in operations:
            if not isinstance(operation, do.AlterColumn) or not operation.column.null:
                continue
            if (operation.table, operation.column.name) in old_keys:
                waiting.append(operation)
        ordered: list[Operation] = []
        for operation in operations:
            if operation not in waiting:
                ordered.append(operation)
            if isinstance(operation, do.SetPrimaryKey):
                ordered += [each for each in waiting if each.table == operation.table]
        return ordered

    # -- tables

    def create_table(self, operation: do.CreateTable) -> Iterator[Change]:
        """One complete statement: a crash leaves all of the table or nothing of it."""
        table = self.declared(operation.table)
        name = table.name
        columns = [self._new_column(name, each) for each in table.columns.values()]
        self._refuse_index_that_is_too_long(
            table, Index("a primary key", table.primary_key)
        )
        keys_of_table = []
        if table.primary_key:
            keys_of_table.append(f"PRIMARY KEY {self.quote_all(table.primary_key)}")
        indexes = [self._new_index(table, index) for index in table.indexes]
        checks = [
            self.check_constraint(check)
            for check in table.checks
            if not _belongs_to_column(check)
        ]
        inline_keys = operation.declared.foreign_keys
        for number, key in enumerate(inline_keys, start=1):
            # The server's own name is the next one of these.
            self._refuse_name_that_is_taken(name, key.name or f"{name}_ibfk_{number}")
        keys = [self.foreign_key_constraint(key) for key in inline_keys]
        parts = [*columns, *keys_of_table, *indexes, *checks, *keys]
        settings = " ".join(table.settings)
        if "ENGINE" not in settings.upper():
            settings = f"ENGINE=InnoDB {settings}".rstrip()
        sql = f"CREATE TABLE {self.quote(table.name)} ({', '.join(parts)}) {settings}"
        yield Change(f"create table {table.name}", sql)

    # -- renames

    def rename_table(self, operation: do.RenameTable) -> Iterator[Change]:
        old = self.current_table(operation.table)
        self._refuse_what_breaks(f"{old} has to become {operation.table}", old)
        routines = self.catalog.routines_that_name(old)
        yield self.table_rename(operation, self.also_breaks(routines, old))

    def rename_column(self, operation: do.RenameColumn) -> Iterator[Change]:
        table = operation.table
        old = operation.column.current_name
        reason = f"{table}.{old} has to become {operation.name}"
        current = self.current_table(table)
        self._refuse_what_breaks(reason, current, old)
        routines = self.catalog.routines_that_name(current, old)
        also_breaks = self.also_breaks(routines, old)
        yield self.column_rename(operation, self._online(table), also_breaks)

    def _refuse_what_breaks(
        self, reason: str, table: str, column: str | None = None
    ) -> None:
        found = self.catalog.breaks_if_renamed(table, column)
        if found:
            verb = "names" if len(found) == 1 else "name"
            pronoun = "it" if len(found) == 1 else "them"
            raise ChangeRefused(
                f"{reason}, and the {' and the '.join(found)} {verb} the old name; "
                f"drop {pronoun}, run again, then create {pronoun} with the new name"
            )

    def _clauses(self, table: str, column: str) -> dict[str, str]:
        """Return the clauses of a column, with the new names of those it refers to."""
        text = self.catalog.table_text(self.current_table(table))
        clauses = text.clauses(self.current_column(table, column))
        for other in self.schema[table].columns.values():
            if other.old_name:
                for keyword, clause in clauses.items():
                    clauses[keyword] = with_renamed_column(
                        clause, other.old_name, other.name
                    )
        return clauses

    # -- columns

    def add_plain_column(self, operation: do.AddColumn) -> Iterator[Change]:
        table = operation.table
        column = operation.column
        description = f"add column {column.name}"
        part = f"ADD COLUMN {self._new_column(table, column)}"
        if column.auto_increment:
            key = (self.catalog.names.key(column.name),)
            yield self._replace_primary_key(description, table, key, part)
        elif self.adding_copies(table, column):
            yield self._alter(description, table, [part], copies=True)
        else:
            yield self.alter_online(description, table, [part])

    def adding_copies(self, table: str, column: Column) -> bool:
        """Whether adding a column copies the table."""
        existing = self.schema[table]
        if column.default is not None and not is_literal(column.default):
            return True  # each row gets a value of its own
        if self._checks_of_column(table, column):
            return True
        generated = set()
        for other in existing.columns.values():
            if other.generated:
                generated.add(self.catalog.names.key(other.name))
        for index in existing.indexes:
            for part in index.columns:
                if part in generated or part.endswith((" FULLTEXT", " SPATIAL")):
                    return True
        return False

    def add_filled_column(
        self, operation: do.AddColumn, name: str, value: str
    ) -> Iterator[Change]:
        table, column = operation.table, operation.column
        yield from self.add_bare_column(operation, name)
        default = self._default_clause(column)
        set_default = f"ALTER COLUMN {self.quote(column.name)} SET{default}"
        if default and not column.null:  # of rows that others insert meanwhile
            yield self._alter(f"set the DEFAULT of {name}", table, [set_default])
        fill = self.fill(table, name, value)
        yield fill
        if not column.null:
            modify = f"MODIFY {self._new_column(table, column)}"
            description = f"set NOT NULL on {name}"
            copies = bool(operation.checks)
            change = self._alter(description, table, [modify], copies)
            yield change._replace(fill_again=fill.sql)
            return
        rename = f"RENAME COLUMN {self.quote(name)} TO {self.quote(column.name)}"
        yield self.alter_online(f"rename {name} to {column.name}", table, [rename])
        if default or operation.checks or column.attributes:
            modify = f"MODIFY {self._new_column(table, column)}"
            description = f"complete column {column.name}"
            yield self._alter(description, table, [modify], bool(operation.checks))

    def bare_definition(self, table: str, column: Column, name: str) -> str:
        planned = self.planned_columns.column(table, column.name)
        type_ = self.typed(table, planned.type, planned.collation)
        return f"{self.quote(name)} {type_}"

    def alter_online(
        self, description: str, table: str, parts: Iterable[str]
    ) -> Change:
        online = self._online(table)
        return self._alter(description, table, [*parts, *online], copies=not online)

    def _online(self, table: str) -> list[str]:
        """Return the part that lets others write meanwhile, which only InnoDB can."""
        if self._existing(table).kind == "table":
            return [self.session.server.online]
        return []

    def drop_column(self, operation: do.DropColumn) -> Iterator[Change]:
        """One statement drops all that the column belongs to, and the column.

        The server itself would take the column out of its indexes.
        """
        table, column = operation.table, operation.column
        current = self.current_table(table)
        dependents = self.catalog.breaks_if_renamed(current, column.current_name)
        for other in self.catalog.referring_tables(current, column.current_name):
            dependents.append(f"foreign key of {other}")
        expressions = {
            other.name: self._clauses(table, other.name).get("GENERATED", "")
            for other in self.schema[table].columns.values()
            if other.generated
        }
        dependents += self.generated_from(operation, expressions)
        self.refuse_to_drop(operation, dependents)
        parts = [
            f"DROP FOREIGN KEY {self.quote(key.name or '')}"
            for key in operation.foreign_keys
        ]
        guard = self.guard_of(operation)
        if guard is not None and guard not in operation.checks:
            # A column of a foreign key that sets NULL cannot be in a CHECK.
            yield self._add_guard(operation, guard, parts)
            parts = [f"{self.drop_check_words} {self.quote(guard.name)}"]
        for index in operation.indexes:
            parts += self._parts_to_drop_index(table, index, operation.foreign_keys)
        for check in operation.checks:
            key = self.catalog.names.key
            if key(check.name) != key(column.name):  # in its own definition
                parts.append(f"{self.drop_check_words} {self.quote(check.name)}")
        parts.append(f"DROP COLUMN {self.quote(column.name)}")
        routines = self.catalog.routines_that_name(current, column.current_name)
        description = self.drop_description(operation, routines)
        yield self.alter_online(description, table, parts)

    def guard_of(self, operation: do.DropColumn) -> Check | None:
        if operation.column.auto_increment:
            return None  # its values are the server's, and may not be in a CHECK
        return super().guard_of(operation)

    def _add_guard(
        self, operation: do.DropColumn, guard: Check, parts: Sequence[str]
    ) -> Change:
        """Add the CHECK that a column holds no value.

        :param parts: what the same statement drops.
        """
        change = self._alter(
            f"let {operation.column.name} hold no value until it is dropped",
            operation.table,
            [*parts, f"ADD {self.check_constraint(guard)}"],
            copies=True,
        )
        return change._replace(guard=Guard(guard.name))

    def alter_column(self, operation: do.AlterColumn) -> Iterator[Change]:
        """All that changes, in one MODIFY unless NULLs are filled before."""
        table, value = operation.table, operation.column.backfill
        sets_not_null = operation.changes_null and not operation.column.null
        if value is None or not sets_not_null or not self.has_rows(table):
            yield from self._modify(operation)
            return
        before = operation._replace(changes_null=False)
        if before.changes_type or before.changes_default:
            yield from self._modify(before)
        fill = self.fill(table, operation.column.name, value)
        yield fill
        *_, change = self._modify(operation)
        yield change._replace(fill_again=fill.sql)

    def _modify(self, operation: do.AlterColumn) -> Iterator[Change]:
        """One MODIFY, which keeps the clauses that nobody declared.

        MODIFY drops whatever it does not repeat.
        """
        table = operation.table
        column = operation.column
        clauses = self._clauses(table, column.name)
        if "VIRTUAL" in clauses.get("GENERATED", ""):
            raise ChangeRefused(
                f"{table}.{column.name} is a generated column, and a VIRTUAL one "
                "cannot become a plain one; drop it, then run again"
            )
        rewritten = set(_REWRITTEN_CLAUSES)
        definition = clauses[""]
        if operation.changes_type:
            self._refuse_auto_increment(operation, clauses)
            self._refuse_default_that_is_lost(operation)
            self._refuse_update_in_local_time(operation, clauses)
            self._refuse_if_referred_to(operation)
            self._refuse_fulltext_index(operation)
            planned = self.planned_columns.column(table, column.name)
            definition = self.typed(table, planned.type, planned.collation)
            rewritten |= self._clauses_of_old_type(operation)
        if operation.changes_attributes:
            rewritten |= {text.split()[0].upper() for text in column.attributes}
        kept = [text for keyword, text in clauses.items() if keyword not in rewritten]
        if operation.changes_type:
            yield from self._changes_to_text(operation, kept)
        definition += self._null_and_default(operation)
        if operation.changes_attributes:
            definition += "".join(f" {text}" for text in column.attributes)
        modify = " ".join([f"MODIFY {self.quote(column.name)} {definition}", *kept])
        others = self.schema[table].columns.values()
        has_generated = any(other.generated for other in others)
        yield self._alter(
            f"change column {column.name}",
            table,
            [modify],
            copies=operation.changes_type or has_generated,
        )

    def _changes_to_text(
        self, operation: do.AlterColumn, kept: Sequence[str]
    ) -> Iterator[Change]:
        """A column whose values MODIFY would change becomes a VARCHAR first.

        If the run ends between the two statements, the next one continues there.
        """
        table = operation.table
        actual = operation.actual
        planned = self.planned_columns.column(table, operation.column.name)
        if not is_converted_by_text(actual.type, planned.type):
            return
        text = Type(f"VARCHAR({longest_text(actual.type)})", "string")
        definition = self.typed(table, text, actual.collation)
        definition += self._null_and_default(
            operation._replace(changes_null=False, changes_default=False)
        )
        modify = " ".join([f"MODIFY {self.quote(actual.name)} {definition}", *kept])
        yield self._alter(
            f"change column {actual.name} to text", table, [modify], copies=True
        )

    def _refuse_auto_increment(
        self, operation: do.AlterColumn, clauses: Mapping[str, str]
    ) -> None:
        """Refuse to make something else than a number of an auto-increment column."""
        column, actual = operation.column, operation.actual
        if "AUTO_INCREMENT" not in clauses or column.auto_increment:
            return
        if column.type.category in ("integer", "float"):
            return
        table = self.current_table(operation.table)
        name = self.quote(actual.current_name)
        modify = f"MODIFY {name} {actual.type.text} NOT NULL"
        raise ChangeRefused(
            f"{operation.table}.{actual.name} has to be converted to "
            f"{column.type.text}, and is AUTO_INCREMENT, which is for numbers; if it "
            f"is no longer meant to be, run first: {self.alter_table(table, [modify])}"
        )

    def _refuse_default_that_is_lost(self, operation: do.AlterColumn) -> None:
        """Refuse a new type that cannot hold the DEFAULT that the column has."""
        actual = operation.actual
        target = operation.column.type
        if not actual.default or operation.changes_default:
            return
        if actual.type.covers(target):
            return
        value = actual.default
        if is_single_precision(actual.type):
            value = f"CAST({value} AS FLOAT)"
        lossy = self.conversions.lossy_condition(value, actual.type, target)
        ((is_lost,),) = self.session.query(f"SELECT {lossy}")
        if is_lost:
            where = f"{operation.table}.{actual.name}"
            raise ChangeRefused(
                f"{where} has a DEFAULT {actual.default}, which is no {target}; "
                f"drop it, then run again: ALTER TABLE {self.quote(operation.table)} "
                f"ALTER COLUMN {self.quote(actual.name)} DROP DEFAULT"
            )

    def _refuse_update_in_local_time(
        self, operation: do.AlterColumn, clauses: Mapping[str, str]
    ) -> None:
        """Refuse to keep ON UPDATE for what was a TIMESTAMP, which is in UTC.

        A DATETIME gets the time of the session, and there is no ON UPDATE in UTC.
        """
        actual = operation.actual
        types = actual.type.category, operation.column.type.category
        if types != ("timestamp", "datetime") or "ON" not in clauses:
            return
        table = self.quote(operation.table)
        name = self.quote(actual.name)
        default = " NULL"
        if not actual.null:
            default = " NOT NULL"
        if actual.default:
            default += f" DEFAULT {actual.default}"
        raise ChangeRefused(
            f"{operation.table}.{actual.name} has ON UPDATE CURRENT_TIMESTAMP, which "
            "is local time in a DATETIME, and its values will be in UTC; remove it, "
            f"then run again: ALTER TABLE {table} MODIFY {name} "
            f"{actual.type.text}{default}"
        )

    def _refuse_if_referred_to(self, operation: do.AlterColumn) -> None:
        """Refuse a change of a type that another table's foreign key depends on.

        A string may become longer all the same.
        """
        table = operation.table
        column = operation.column
        target = column.type
        if target.category == "string" and target.covers(operation.actual.type):
            return
        for other in self.catalog.referring_tables(
            self.current_table(table), self.current_column(table, column.name)
        ):
            raise ChangeRefused(
                f"{table}.{column.name} has to be converted, and the foreign key of "
                f"the table {other} depends on it; drop that foreign key, run again, "
                "then create it again"
            )

    def _refuse_fulltext_index(self, operation: do.AlterColumn) -> None:
        if operation.column.type.category in STRINGS:
            return
        part = f"{self.catalog.names.key(operation.actual.name)} FULLTEXT"
        for index in self._existing(operation.table).indexes:
            if part in index.columns:
                table = operation.table
                raise ChangeRefused(
                    f"{table}.{operation.actual.name} is in the FULLTEXT index "
                    f"{index.name}, which is for texts; drop it, then run again: ALTER "
                    f"TABLE {self.quote(table)} DROP INDEX {self.quote(index.name)}"
                )

    def _clauses_of_old_type(self, operation: do.AlterColumn) -> set[str]:
        """Return the clauses that only the old type of a column had."""
        clauses = {"GENERATED"}
        if operation.column.type.category != "datetime":
            clauses.add("ON")  # ON UPDATE CURRENT_TIMESTAMP
        if operation.actual.type.category == "json":
            clauses.add("CHECK")  # the one that MariaDB's JSON has by itself
        return clauses

    def _null_and_default(self, operation: do.AlterColumn) -> str:
        """Return these clauses: as declared if they change, otherwise as they are."""
        null = operation.actual.null
        if operation.changes_null:
            null = operation.column.null
        sql = " NOT NULL"
        if null:
            sql = " NULL"
        if operation.changes_default:
            sql += self._default_clause(operation.column)
        elif operation.actual.default:
            sql += f" DEFAULT {self.kept_default(operation)}"
        return sql

    def kept_default(self, operation: do.AlterColumn) -> str:
        """Return an undeclared DEFAULT that means the same in the planned type.

        Times of a TIMESTAMP are stored in UTC, and its DEFAULT is shown in the time
        zone of the session. Any other type keeps what the DEFAULT says.
        """
        default = operation.actual.default or ""
        is_timestamp = operation.actual.type.category == "timestamp"
        if not is_timestamp or not operation.changes_type:
            return default
        if default.lower().startswith("current_timestamp"):
            return default.lower().replace("current_timestamp", "utc_timestamp")
        if not default.startswith("'"):
            return default
        ((text,),) = self.session.query(
            f"SELECT CAST(CONVERT_TZ({default}, @@time_zone, '+00:00') AS CHAR)"
        )
        return literal(text)

    # -- keys and indexes

    def set_primary_key(self, operation: do.SetPrimaryKey) -> Iterator[Change]:
        table = operation.table
        modify = None
        if operation.auto_increment:
            column = self.declared(table).columns[operation.columns[0]]
            modify = f"MODIFY {self._new_column(table, column)}"
        yield self._replace_primary_key(
            "replace the primary key", table, operation.columns, modify
        )

    def _replace_primary_key(
        self,
        description: str,
        name: str,
        columns: Sequence[str],
        auto_increment_part: str | None,
    ) -> Change:
        """Return a change of the primary key; the columns of an old one stay unique.

        :param auto_increment_part: makes or adds its column, if that is auto-increment.
        """
        table = self.schema[name]
        if auto_increment_part:
            self._refuse_second_auto_increment(table, columns)
        parts = []
        old_key = table.primary_key
        if old_key:
            parts.append("DROP PRIMARY KEY")
            is_implied = set(columns) <= set(old_key)
            left = [_unique_key(key) for key in self.declared(name).unique_keys()]
            left += [_unique_key(columns), *table.indexes]
            if not is_implied and old_key not in self.declared(name).unique_keys():
                parts.append(f"ADD UNIQUE ({self._key_parts(old_key)})")
                left.append(_unique_key(old_key))
            self._refuse_if_key_is_needed(name, old_key, left)
        if auto_increment_part:
            parts.append(auto_increment_part)
        parts.append(f"ADD PRIMARY KEY {self.quote_all(columns)}")
        copies = auto_increment_part is not None
        return self._alter(description, name, parts, copies)

    def _key_parts(self, parts: Iterable[str]) -> str:
        """Return the parts of an existing key as SQL: names, prefixes, DESC."""
        written = []
        for part in parts:
            found = _KEY_PART.fullmatch(part)
            assert found is not None
            written.append(f"{self.quote(found['name'])}{found['suffix']}")
        return ", ".join(written)

    def _refuse_second_auto_increment(
        self, table: Table, columns: Sequence[str]
    ) -> None:
        for column in table.columns.values():
            is_key = self.catalog.names.key(column.name) in columns
            if column.auto_increment and not is_key:
                raise ChangeRefused(
                    f"{table.name}.{column.name} is auto-increment, and no table has "
                    "two such columns; make it a plain column, then run again"
                )

    def add_index(self, operation: do.AddIndex) -> Iterator[Change]:
        """Replace or add an index in one statement."""
        table = operation.table
        index = operation.definition
        if not index.name:
            index = index._replace(name=self._name_for_unique(table, index))
        declared = self.declared(table)
        self._refuse_name_of_check(table, index)
        verb = "add"
        parts = []
        if operation.replaces is not None:
            if _is_the_same_ignored(index, operation.replaces):
                # The server would take DROP and ADD for no change.
                part = f"ALTER INDEX {self.quote(operation.replaces.name)} {self.used}"
                yield self._alter(f"use index {index.name}", table, [part])
                return
            verb = "replace"
            existing = self._existing(table)
            left = [_unique_key(existing.primary_key), index]
            left += [each for each in existing.indexes if each != operation.replaces]
            columns = operation.replaces.columns
            self._refuse_if_key_is_needed(existing.name, columns, left)
            parts.append(f"DROP INDEX {self.quote(operation.replaces.name)}")
            parts += self._indexes_for_foreign_keys(table, existing.foreign_keys, left)
        parts.append(f"ADD {self._new_index(declared, index)}")
        description = f"{verb} index {index.name}"
        if self.adds_index_online(table, index):
            yield self.alter_online(description, table, parts)
        else:
            yield self._alter(description, table, parts, copies=True)

    def _name_for_unique(self, table: str, index: Index) -> str:
        """Return a name for a UNIQUE constraint without one, as the server chooses it.

        A statement without a name would succeed on each node of a cluster.
        """
        base = self.declared(table).columns[index.columns[0]].name
        key = self.catalog.names.key
        indexes = [*self._existing(table).indexes, *self.declared(table).indexes]
        taken = {key(each.name) for each in indexes}
        taken |= {key(each.name) for each in self._existing(table).checks}
        taken |= {key(each) for each in self._chosen_names.get(table, ())}
        taken.add(key("PRIMARY"))
        name = base
        number = 1
        while key(name) in taken:
            number += 1
            name = f"{base[: _LONGEST_NAME - len(f'_{number}')]}_{number}"
        self._chosen_names.setdefault(table, []).append(name)
        return name

    def adds_index_online(self, table: str, added: Index) -> bool:
        """Whether the server adds an index to a table without copying it."""
        return True

    def _refuse_name_of_check(self, table: str, index: Index) -> None:
        """Refuse the name of a CHECK for a unique index: both are constraints."""
        check = self._existing(table).check_named(index.name)
        if check is not None and index.unique:
            raise ChangeRefused(
                f"{table}: a unique index has to be named {index.name}, and a CHECK of "
                "the table has that name; drop it, and add it under another name: "
                f"ALTER TABLE {self.quote(table)} {self.drop_check_words} "
                f"{self.quote(check.name)}"
            )

    def _indexes_for_foreign_keys(
        self, table: str, keys: Iterable[ForeignKey], left: Sequence[Index]
    ) -> Iterator[str]:
        """Yield an index for each foreign key that used the one that is dropped.

        Without one, the statement would fail (error 1553).

        :param left: the indexes that the table will have.
        """
        for key in keys:
            if not any(self.may_serve_key(table, each, key.columns) for each in left):
                yield f"ADD INDEX {self.quote_all(key.columns)}"

    def may_serve_key(self, table: str, index: Index, columns: tuple[str, ...]) -> bool:
        """Whether a foreign key of some columns may use an index of its table."""
        return index.columns[: len(columns)] == columns

    def drop_index(self, operation: do.DropIndex) -> Iterator[Change]:
        index = operation.definition
        parts = self._parts_to_drop_index(operation.table, index)
        yield self.alter_online(f"drop index {index.name}", operation.table, parts)

    def _parts_to_drop_index(
        self, table: str, index: Index, dropped_keys: Collection[ForeignKey] = ()
    ) -> list[str]:
        """Return what drops an index, and adds one for each foreign key that needs it.

        :param dropped_keys: foreign keys that are dropped with it.
        """
        existing = self._existing(table)
        left = [_unique_key(existing.primary_key), *self.declared(table).indexes]
        dropped = self._dropped_indexes.setdefault(table, [])
        dropped.append(index)
        left += [each for each in existing.indexes if each not in dropped]
        self._refuse_if_key_is_needed(existing.name, index.columns, left)
        parts = [f"DROP INDEX {self.quote(index.name)}"]
        kept_keys = [
            key
            for key in existing.foreign_keys
            if key not in dropped_keys and (table, key.name) not in self._dropped_keys
        ]
        parts += self._indexes_for_foreign_keys(table, kept_keys, left)
        return parts

    # -- constraints

    def forbid_rows(self, operation: do.ForbidRows) -> Iterator[Change]:
        """It is committed, so it is undone if another table holds a row."""
        for change in super().forbid_rows(operation):
            assert change.guard is not None
            name = change.guard.name
            drop = f"{self.drop_check_words} {self.quote(name)}"
            undo = self.alter_table(operation.table, [drop])
            yield change._replace(guard=Guard(name, undo))

    def drop_check(self, operation: do.DropCheck) -> Iterator[Change]:
        name = operation.check.name
        part = f"{self.drop_check_words} {self.quote(name)}"
        yield self._alter(f"drop the check {name}", operation.table, [part])

    def add_check(self, operation: do.AddCheck) -> Iterator[Change]:
        table = operation.table
        check = operation.check
        verb = "add"
        parts = []
        if operation.replaces is not None:
            verb = "replace"
            parts.append(
                f"{self.drop_check_words} {self.quote(operation.replaces.name)}"
            )
        parts.append(f"ADD {self.check_constraint(check)}")
        description = f"{verb} the check {check.name or check.condition}"
        yield self._alter(description, table, parts, copies=True)

    def drop_foreign_key(self, operation: do.DropForeignKey) -> Iterator[Change]:
        name = operation.key.name or ""
        part = f"DROP FOREIGN KEY {self.quote(name)}"
        yield self._alter(f"drop the foreign key {name}", operation.table, [part])

    def add_foreign_key(self, operation: do.AddForeignKey) -> Iterator[Change]:
        """Add a foreign key, under a name.

        The name makes the statement fail on all nodes of a cluster except the first:
        the run that lost the race gets "already exists".
        """
        table = operation.table
        key = operation.key
        columns = ", ".join(key.columns)
        if not key.name:
            name = f"fk_{table}_{'_'.join(key.columns)}"
            key = key._replace(name=name[:_LONGEST_NAME])
        self._refuse_name_that_is_taken(table, key.name or "")
        self._refuse_key_of_other_types(table, key)
        names = [replaced.name or "" for replaced in operation.replaces]
        parts = [f"DROP FOREIGN KEY {self.quote(name)}" for name in names]
        if key.name in names:  # it cannot be dropped and added in one statement (1826)
            yield self._alter(f"drop the foreign key {key.name}", table, parts)
            parts = []
        parts.append(f"ADD {self.foreign_key_constraint(key)}")
        yield self._alter(
            f"add the foreign key of {columns}", table, parts, copies=True
        )

    def _refuse_two_keys_of_a_name(self, operations: Iterable[Operation]) -> None:
        """Refuse a declared name that another foreign key has to be recreated under."""
        keys: dict[tuple[str, str], ForeignKey] = {}
        for operation in operations:
            if not isinstance(operation, do.AddForeignKey) or not operation.key.name:
                continue
            table, name = operation.table, operation.key.name
            other = keys.setdefault((table, name), operation.key)
            if other != operation.key:
                raise ChangeRefused(
                    f"{table}: two foreign keys have to be named {name}, of "
                    f"{', '.join(other.columns)} and {', '.join(operation.key.columns)}"
                    "; drop the one that is not in the model, then run again: ALTER "
                    f"TABLE {self.quote(table)} DROP FOREIGN KEY {self.quote(name)}"
                )

    def _refuse_key_of_other_types(self, table: str, key: ForeignKey) -> None:
        """Refuse to recreate an undeclared foreign key that no longer fits its parent.

        The server would fail only after it was dropped.
        """
        declared = self.declared(table)
        if any(key.same_reference(other) for other in declared.foreign_keys):
            return
        parents = self.schema.get(key.parent)
        if parents is None:
            parents = self.catalog.tables([key.parent]).get(key.parent)
        for name, parent_name in zip(key.columns, key.parent_columns):
            if name not in declared.columns or parents is None:
                continue
            column = self.planned_columns.column(table, name)
            parent = parents.columns[parent_name]
            is_managed = parents.name in self.models.managed
            if is_managed and parent_name in self.declared(parents.name).columns:
                parent = self.planned_columns.column(parents.name, parent_name)
            if not fit_together(column.type, parent.type):
                raise ChangeRefused(
                    f"{table}.{name} has to become {column.type.text}, and its foreign "
                    f"key {key.name} refers to {key.parent}.{parent_name}, which is "
                    f"{parent.type.text}; drop it, then run again: ALTER TABLE "
                    f"{self.quote(table)} DROP FOREIGN KEY {self.quote(key.name or '')}"
                )

    def _refuse_name_that_is_taken(self, table: str, name: str) -> None:
        """Refuse the name of a foreign key that another one has.

        It is unique in the database. The server tells no more than "errno: 121".
        """
        for other in self.catalog.tables_with_foreign_key(name):
            if (table, name) in self._dropped_keys:
                continue
            known = [key.name for key in self._existing(table).foreign_keys]
            current = self.catalog.table_key(self.current_table(table))
            if other == current and name not in known:
                continue  # another run has added it in the meantime
            quoted = self.quote(name)
            where = f"a foreign key of the table {other}"
            if other == current:
                where = "another foreign key of this table"
            raise ChangeRefused(
                f"{table}: a foreign key has to be named {name}, and {where} has that "
                f"name; drop it, and add it under another name: ALTER TABLE "
                f"{self.quote(other)} DROP FOREIGN KEY {quoted}"
            )
        check = self._existing(table).check_named(name)
        if check is not None:
            raise ChangeRefused(
                f"{table}: a foreign key has to be named {name}, and a CHECK of the "
                "table has that name; drop it, and add it under another name: ALTER "
                f"TABLE {self.quote(table)} {self.drop_check_words} {self.quote(name)}"
            )

    def _refuse_if_key_is_needed(
        self, table: str, dropped: Sequence[str], left: Iterable[Index]
    ) -> None:
        """Refuse to drop an index that a foreign key of another table refers to.

        Such a foreign key would reject every row, and no longer protect its parents.

        :param left: the indexes that the table will have.
        """
        new_names = {}
        for column in self._existing(table).columns.values():
            names = self.catalog.names
            new_names[names.key(column.current_name)] = names.key(column.name)
        for key in self.catalog.referring_keys(self.current_table(table)):
            if (key.table, key.name) in self._dropped_keys:
                continue
            referred = tuple(new_names.get(name, name) for name in key.parent_columns)
            length = len(referred)
            if referred != tuple(dropped[:length]):
                continue
            if any(self.may_be_referred_to(each, referred) for each in left):
                continue
            columns = ", ".join(referred)
            raise ChangeRefused(
                f"{table}: an index on ({columns}) has to be replaced, and the foreign "
                f"key {key.name} of the table {key.table} refers to it; drop that "
                "foreign key, run again, then create it again"
            )

    @abstractmethod
    def may_be_referred_to(self, index: Index, columns: tuple[str, ...]) -> bool:
        """Whether a foreign key may refer to some columns because of an index."""

    # -- parts of statements

    def _alter(
        self, description: str, table: str, parts: Iterable[str], copies: bool = False
    ) -> Change:
        """Return a change of a table.

        :param copies: whether the server copies the table for it.
        """
        blocks = None
        if copies:
            blocks = self._blocked_by_copy(table)
        return Change(description, self.alter_table(table, parts), blocks)

    def _blocked_by_copy(self, table: str) -> str | None:
        """Return what copying a table blocks: nothing for long if it has no rows."""
        if self.has_rows(table):
            return "writes"
        return None

    def _new_column(self, table: str, declared: Column) -> str:
        """Return the definition of a new column."""
        planned = self.planned_columns.column(table, declared.name)
        sql = self.quote(declared.name)
        sql += f" {self.typed(table, planned.type, planned.collation)}"
        if not declared.null:
            sql += " NOT NULL"
        if declared.auto_increment:
            sql += " AUTO_INCREMENT"
        sql += self._default_clause(declared)
        sql += "".join(f" {text}" for text in declared.attributes)
        for check in self._checks_of_column(table, declared):
            if _belongs_to_column(check):
                sql += f" {self.check_constraint(check)}"
        return sql

    def _checks_of_column(self, table: str, column: Column) -> list[Check]:
        """Return the CHECK constraints that the field of a column declares."""
        key = self.catalog.names.key(column.name)
        return [check for check in self.declared(table).checks if check.column == key]

    def typed(self, table: str, type_: Type, collation: str | None) -> str:
        """Return a type as the definition of a column has it."""
        return text_with_collation(type_, collation)

    def _default_clause(self, column: Column) -> str:
        """Return the DEFAULT of a declared column, or ""."""
        if column.default is None:
            return ""
        return f" DEFAULT {escape_backslashes(column.default)}"

    def _new_index(self, table: Table, index: Index) -> str:
        """Return the definition of a declared index."""
        self._refuse_index_that_is_too_long(table, index)
        text = parse_create_index(index.definition)
        if text is not None:
            return text.clause()
        sql = f"INDEX {self.quote_all(index.columns)}"
        if index.name:
            sql = f"INDEX {self.quote(index.name)} {self.quote_all(index.columns)}"
        if index.unique:
            return f"UNIQUE {sql}"
        return sql

    def _refuse_index_that_is_too_long(self, table: Table, index: Index) -> None:
        """Refuse an index of a column that is longer than a key may be."""
        if self.may_index_long_columns(index):
            return
        for name in index.columns:
            column = table.columns.get(name)
            if column is not None and _is_too_long(column):
                raise ChangeRefused(
                    f"{table.name}.{name}: {column.type.text} is too long for "
                    f"{index.name}; give it a length of at most {LONGEST_KEY_COLUMN}"
                )

    @abstractmethod
    def may_index_long_columns(self, index: Index) -> bool:
        """Whether an index may have columns that are longer than a key may be."""


def _unique_key(columns: Iterable[str]) -> Index:
    """Return a primary key or a unique key as an index."""
    return Index("", tuple(columns), unique=True)


def _dropped_foreign_keys(
    operations: Iterable[Operation],
) -> set[tuple[str, str | None]]:
    """Return the foreign keys that operations drop, by table and name."""
    dropped = set()
    for operation in operations:
        if isinstance(operation, do.DropForeignKey):
            dropped.add((operation.table, operation.key.name))
        elif isinstance(operation, do.DropColumn):
            for key in operation.foreign_keys:
                dropped.add((operation.table, key.name))
        elif isinstance(operation, do.AddForeignKey):
            for key in operation.replaces:
                dropped.add((operation.table, key.name))
    return dropped


def _is_the_same_ignored(declared: Index, existing: Index) -> bool:
    """Whether an index differs from the declared one only in being ignored."""
    columns = tuple(f"{name} IGNORED" for name in declared.columns)
    return existing.columns == columns and existing.unique == declared.unique


def _belongs_to_column(check: Check) -> bool:
    """Whether a CHECK is a part of its column's definition: one with a name is not."""
    return bool(check.column) and not check.name


def _is_too_long(column: Column) -> bool:
    """Whether a column is longer than a key may be."""
    size = column.type.size
    return size is not None and size > LONGEST_KEY_COLUMN
