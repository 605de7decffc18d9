"""The new definition of a table, from its stored CREATE TABLE and some operations.

    definition = NewDefinition(ddl, table, operations, session)
    f"CREATE TABLE t {definition.sql()}"

Only what differs is replaced, so undeclared columns, defaults, CHECKs and collations
survive. Peewee's own rebuild loses AUTOINCREMENT.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from migrations import operations as do
from migrations.engines.ddl import DDL
from migrations.engines.sqlite.session import SQLiteSession
from migrations.engines.sqlite.table_text import (
    Clause,
    name_key,
    parse_create_table,
    unreadable_definition,
)
from migrations.errors import ChangeRefused
from migrations.operations import Operation
from migrations.schema import Index, Table
from migrations.sql_text import QUOTED, literal, masked, mentions

_AUTOINCREMENT = re.compile(r"\s+AUTOINCREMENT\b", re.IGNORECASE)
_DEFERRABLE = re.compile(
    r"\b(?:NOT\s+)?DEFERRABLE(?:\s+INITIALLY\s+\w+)?", re.IGNORECASE
)
# Of a DEFAULT, a word that SQLite takes for a text.
_WORD_AS_TEXT = re.compile(r"(?!current_|true$|false$|null$)[a-z_]\w*", re.IGNORECASE)
_WITHOUT_ROWID = re.compile(r"\bWITHOUT\s+ROWID\b", re.IGNORECASE)


class NewDefinition:
    """What follows a table's name in its CREATE TABLE once operations are executed.

    :param table: the table as it is.
    :param stored_schema: what the stored text is read from.
    :param operations: all on this table; the others have no effect on its definition.
    :raises ChangeRefused: the stored text cannot be read, or the table is STRICT and
        would need a type that STRICT does not allow.
    """

    def __init__(
        self,
        ddl: DDL,
        table: Table,
        operations: Sequence[Operation],
        stored_schema: SQLiteSession,
    ) -> None:
        self.ddl = ddl
        self.stored_schema = stored_schema
        self.declared = ddl.declared(operations[0].table)
        text = parse_create_table(self._stored_sql(table), table.name)
        self.clauses = text.clauses
        self.options = text.options
        self.comments = text.comments
        self._validate_columns(table)
        self.columns = tuple(table.columns.values())
        self.primary_key: tuple[str, ...] = ()  # a new one; () if it stays as it is
        self.auto_increment_column = ""  # its only column, if it is auto-increment
        self.added_id = ""  # that column, if the table does not have it yet
        self.altered: dict[str, do.AlterColumn] = {}
        self.added_indexes: list[Index] = []
        self._added_columns: list[str] = []
        # By column, the SQL of the value that rows without one get.
        self.filled: dict[str, str] = {}
        self._added_constraints: list[str] = []
        # Columns and parents of the foreign keys that others replace.
        self._replaced_keys: set[tuple[tuple[str, ...], str]] = set()
        self._replaced_checks: set[str] = set()  # keys of names
        self.dropped: list[str] = []  # keys of columns
        self.descriptions_of_drops: list[str] = []
        self.dropped_indexes: list[str] = []  # keys of names, also of constraints
        self._dropped_unique: list[Index] = []
        for operation in operations:
            self._take(operation)
        self._refuse_strict_table(table)

    def _stored_sql(self, table: Table) -> str:
        sql = "SELECT sql FROM main.sqlite_master WHERE type = 'table' AND name = ?"
        ((text,),) = self.stored_schema.query(sql, (table.name,))
        return str(text)

    def _validate_columns(self, table: Table) -> None:
        """Refuse a text that was understood in another way than SQLite does."""
        columns = [
            clause.column
            for clause in self.clauses
            if clause.column and not clause.kind
        ]
        if columns != [name_key(column.name) for column in table.columns.values()]:
            raise unreadable_definition(table.name)

    def _take(self, operation: Operation) -> None:
        if isinstance(operation, do.AddColumn):
            self._take_column(operation)
        elif isinstance(operation, do.AlterColumn):
            self._take_alteration(operation)
        elif isinstance(operation, do.SetPrimaryKey):
            self._take_primary_key(operation)
        elif isinstance(operation, do.AddIndex):
            self.added_indexes.append(operation.definition)
        elif isinstance(operation, do.AddCheck):
            if operation.replaces is not None:
                self._replaced_checks.add(name_key(operation.replaces.name))
            check = self.ddl.check_constraint(operation.check)
            self._added_constraints.append(check)
        elif isinstance(operation, do.AddForeignKey):
            self._take_foreign_key(operation)
        else:
            self._take_drop(operation)

    def _take_drop(self, operation: Operation) -> None:
        if isinstance(operation, do.DropColumn):
            self.dropped.append(name_key(operation.column.name))
            self.descriptions_of_drops.append(operation.description)
        elif isinstance(operation, do.DropIndex):
            self.dropped_indexes.append(name_key(operation.definition.name))
            if operation.definition.is_constraint:
                self._dropped_unique.append(operation.definition)
        elif isinstance(operation, do.DropCheck):
            self._replaced_checks.add(name_key(operation.check.name))
        elif isinstance(operation, do.DropForeignKey):
            self._replaced_keys.add((operation.key.columns, operation.key.parent))

    def _take_foreign_key(self, operation: do.AddForeignKey) -> None:
        """Take a foreign key; it keeps name and DEFERRABLE of one that it replaces."""
        key = operation.key
        deferrable = ""
        for replaced in operation.replaces:
            self._replaced_keys.add((replaced.columns, replaced.parent))
        for clause in self.clauses:
            if clause.kind not in ("FOREIGN", "REFERENCES"):
                continue
            if self._is_replaced(clause):
                key = key._replace(name=key.name or clause.name)
                found = _DEFERRABLE.search(masked(clause.text))
                if found:
                    deferrable = f" {found[0]}"
        constraint = self.ddl.foreign_key_constraint(key)
        if key.deferrable:
            deferrable = ""
        self._added_constraints.append(f"{constraint}{deferrable}")

    def _take_column(self, operation: do.AddColumn) -> None:
        column = operation.column
        definition = self.ddl.column_definition(operation.table, column)
        self._added_columns.append(definition)
        if column.backfill is not None and not column.auto_increment:
            self.filled[column.name] = column.backfill
        if column.auto_increment:
            key = name_key(column.name)
            self.primary_key = (key,)
            self.auto_increment_column = key
            self.added_id = key

    def _take_alteration(self, operation: do.AlterColumn) -> None:
        has_defaults = operation.column.default and operation.actual.default
        if operation.changes_type and has_defaults:
            # The DEFAULT of the old type may mean the same, and not be a value of the
            # new type.
            operation = operation._replace(changes_default=True)
        if operation.changes_type and not operation.changes_default:
            self._refuse_default(operation)
        self.altered[name_key(operation.column.name)] = operation
        if operation.filled_with is not None:
            self.filled[name_key(operation.column.name)] = operation.filled_with

    def _refuse_default(self, operation: do.AlterColumn) -> None:
        """Refuse to keep a DEFAULT that is not a value of the new type.

        One that is, such as '5' of an INTEGER, is converted whenever it is stored.
        """
        column, actual = operation.column, operation.actual
        if actual.default is None or column.auto_increment:
            return
        value = f"({actual.default})"
        if _WORD_AS_TEXT.fullmatch(actual.default):
            value = literal(actual.default)
        lossy = self.ddl.conversions.lossy_condition(value, actual.type, column.type)
        if self.ddl.session.query(f"SELECT 1 WHERE {lossy}"):
            raise ChangeRefused(
                f"{operation.table}.{column.name} has DEFAULT {actual.default}, which "
                f"is not a value of {column.type.text}; declare a DEFAULT in the "
                "model, or remove this one by hand, then run again"
            )

    def _take_primary_key(self, operation: do.SetPrimaryKey) -> None:
        self.primary_key = operation.columns
        if operation.auto_increment:  # it belongs to the definition of the column
            self.auto_increment_column = operation.columns[0]
        else:
            names = self.ddl.quote_all(operation.columns)
            self._added_constraints.append(f"PRIMARY KEY {names}")

    def _refuse_strict_table(self, table: Table) -> None:
        changes_types = any(each.changes_type for each in self.altered.values())
        writes_types = self.primary_key or self._added_columns or changes_types
        if "STRICT" in self.declared.options:
            return
        if writes_types and re.search(r"\bSTRICT\b", self.options, re.IGNORECASE):
            raise ChangeRefused(
                f"{table.name} is a STRICT table, which cannot have the declared types "
                "such as DATE; create it again without STRICT, or change it by hand, "
                "then run again"
            )

    # -- what a plan wants to know

    def generated_columns(self) -> dict[str, str]:
        """Return the expression of each generated column, by its name."""
        names = {name_key(column.name): column.name for column in self.columns}
        return {
            names[clause.column]: clause.text
            for clause in self.clauses
            if clause.kind in ("GENERATED", "AS")
        }

    def names_in_other_clause(self, column: str) -> bool:
        """Whether something else than a column's own definition names it.

        Its own UNIQUE and REFERENCES are something else as well.
        """
        for clause in self.clauses:
            if clause.column == name_key(column):
                if clause.kind in ("PRIMARY", "UNIQUE", "REFERENCES"):
                    return True
            elif mentions(clause.text, column) and clause.kind:
                return True
        return False

    @property
    def drops_unique(self) -> bool:
        """Whether a UNIQUE constraint goes, which has an index of its own."""
        for clause in self.clauses:
            if clause.kind == "UNIQUE" and self._is_replaced(clause):
                return True
        return False

    @property
    def has_autoincrement(self) -> bool:
        """Whether it says AUTOINCREMENT."""
        unquoted = re.sub(QUOTED, "", self.sql())
        return bool(re.search(r"\bAUTOINCREMENT\b", unquoted, re.IGNORECASE))

    @property
    def was_without_rowid(self) -> bool:
        """Whether the rows of the old table have no rowid."""
        return bool(_WITHOUT_ROWID.search(self.options))

    def has_rowid_key(self, table: Table) -> bool:
        """Whether the primary key of the new table is another name of its rowid.

        https://sqlite.org/lang_createtable.html#rowid
        """
        if self.auto_increment_column:
            return True
        key = self.primary_key or table.primary_key
        if len(key) != 1 or key[0] not in table.columns:
            return False
        column = table.columns[key[0]]
        change = self.altered.get(key[0])
        if change is not None and change.changes_type:
            return change.column.type.text.upper() == "INTEGER"
        if self.primary_key:
            return column.type.text.upper() == "INTEGER"
        return column.auto_increment

    def gives_new_rowids(self, table: Table) -> bool:
        """Whether a column with values of its own becomes the rowid."""
        if self.was_without_rowid or self.added_id or not self.has_rowid_key(table):
            return False
        key = self.primary_key or table.primary_key
        return not table.columns[key[0]].auto_increment

    def indexes_without_statistics(self, table: Table) -> str:
        """Return a condition, from AND on, that leaves out indexes that change.

        The indexes of keys are numbered, so a key more or less changes their names.
        """
        changed = [index.name for index in self.added_indexes if index.name]
        condition = ""
        if changed:
            names = ", ".join(literal(name) for name in changed)
            condition = f" AND coalesce(idx, '') NOT IN ({names})"
        adds_key = any(index.is_constraint for index in self.added_indexes)
        if self.primary_key or adds_key or self.drops_unique:
            condition += " AND coalesce(idx, '') NOT GLOB 'sqlite_autoindex_*'"
            condition += f" AND coalesce(idx, '') <> {literal(table.name)}"
        return condition

    # -- the text

    def add_unique_constraints(self) -> None:
        """Add the UNIQUE constraints among the added indexes.

        Only a rebuild can do that: a UNIQUE constraint has an index of its own.
        """
        for index in self.added_indexes:
            if index.is_constraint:
                constraint = f"UNIQUE {self.ddl.quote_all(index.columns)}"
                if index.name:
                    name = self.ddl.quote(index.name)
                    constraint = f"CONSTRAINT {name} {constraint}"
                self._added_constraints.append(constraint)

    def sql(self) -> str:
        """Return the text: columns, constraints, options, with their comments."""
        columns: dict[str, list[str]] = {}
        constraints: list[str] = []
        for clause in self.clauses:
            texts = self._new_texts(clause)
            if clause.column:
                columns.setdefault(clause.column, []).extend(texts)
            else:
                constraints += texts
        items = []
        for name, texts in columns.items():
            if name in self.dropped:
                continue
            items.append(" ".join([*texts, *self.comments.get(name, ())]))
        items += self._added_columns
        items += constraints
        items += self._added_constraints
        items[-1] = " ".join([items[-1], *self.comments.get("", ())])
        options = self.options
        if self.auto_increment_column:  # a table WITHOUT ROWID has no AUTOINCREMENT
            options = ""
        return f"({', '.join(items)}){options}"

    def _new_texts(self, clause: Clause) -> list[str]:
        """Return what takes a clause's place: itself, what is right, or nothing."""
        if self._is_dropped(clause):
            return []
        if clause.column and clause.column == self.auto_increment_column:
            return self._texts_of_auto_increment_column(clause)
        if clause.kind == "PRIMARY" and self.primary_key:
            return self._texts_of_old_primary_key(clause)
        if clause.column in self.altered:
            return self._texts_of_altered_column(clause, self.altered[clause.column])
        if self._is_replaced(clause):
            return []
        return [clause.text]

    def _is_dropped(self, clause: Clause) -> bool:
        """Whether a clause is of a dropped column, or of nothing without it."""
        for column in self.dropped:
            if clause.column == column or column in clause.columns:
                return True
            if clause.kind == "CHECK" and mentions(clause.text, column):
                return True
        return False

    def _texts_of_auto_increment_column(self, clause: Clause) -> list[str]:
        if not clause.kind:
            column = self.declared.columns[clause.column]
            return [self.ddl.column_definition(self.declared.name, column)]
        if self._is_replaced(clause):
            return []
        if clause.kind in ("CHECK", "REFERENCES"):
            return [clause.text]
        return []  # it is unique as the primary key, and has no default or collation

    def _texts_of_old_primary_key(self, clause: Clause) -> list[str]:
        """An undeclared primary key stays unique, unless another key implies it."""
        added_keys = [index.columns for index in self.added_indexes if index.unique]
        for key in [self.primary_key, *added_keys]:
            if set(clause.columns) == set(key):
                return []
        if clause.column:
            return ["UNIQUE"]
        return [f"UNIQUE ({clause.inner})"]

    def _texts_of_altered_column(
        self, clause: Clause, change: do.AlterColumn
    ) -> list[str]:
        if not clause.kind:
            return self._altered_column(change)
        if clause.kind == "NOT" and not change.changes_null:
            # Without its ON CONFLICT, which does something else than to refuse a row.
            return ["NOT NULL"]
        replaced_by = {
            "NOT": change.changes_null,
            "NULL": change.changes_null,
            "DEFAULT": change.changes_default,
            "COLLATE": change.changes_collation,
            "GENERATED": change.changes_type,
            "AS": change.changes_type,
        }
        if replaced_by.get(clause.kind, False) or self._is_replaced(clause):
            return []
        if clause.kind == "PRIMARY" and change.column.type.text.upper() != "INTEGER":
            return [_AUTOINCREMENT.sub("", clause.text)]  # is for an INTEGER only
        return [clause.text]

    def _altered_column(self, change: do.AlterColumn) -> list[str]:
        """Return name and type of a column, with all that is new of it."""
        column = change.column
        type_ = column.type if change.changes_type else change.actual.type
        texts = [f"{self.ddl.quote(column.name)} {type_.text}"]
        if change.changes_collation:
            texts.append(f"COLLATE {self.ddl.quote(column.collation or '')}")
        if change.changes_null and not column.null:
            texts.append("NOT NULL")
        if change.changes_default:
            texts.append(f"DEFAULT {column.default}")
        return texts

    def _is_replaced(self, clause: Clause) -> bool:
        """Whether a constraint is where a declared one is added."""
        if clause.kind in ("FOREIGN", "REFERENCES"):
            parent = self.ddl.catalog.table_key(clause.target)
            return (clause.columns, parent) in self._replaced_keys
        if clause.kind == "CHECK":
            return bool(clause.name) and name_key(clause.name) in self._replaced_checks
        if clause.kind != "UNIQUE":
            return False
        if any(clause.columns == index.columns for index in self._dropped_unique):
            return True
        for index in self.added_indexes:
            if clause.name and name_key(clause.name) == name_key(index.name):
                return True
            if index.is_constraint and clause.columns == index.columns:
                return True
        return False
