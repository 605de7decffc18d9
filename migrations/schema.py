"""The values that describe tables: what a database has, and what a model declares.

Both sides of a comparison are a `Table`, so a type, an index or a foreign key looks the
same whether it was read from a catalog or from a model. All of them are immutable.
"""

import enum
import string
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from migrations.sql_text import comparable_condition, mentioned_names, mentions

# The comparable form of a DEFAULT that is the current time in UTC, however a database
# writes it; see Catalog.default_meaning.
UTC_NOW = "now in UTC"
# The suffix of a part of a unique index in which two rows may not both be NULL.
NULLS_NOT_DISTINCT = " NULLS NOT DISTINCT"
# The end of the name of a CHECK that is added before a column or a table is dropped.
_GUARD = "__empty"
# The condition of a CHECK that no row satisfies.
NO_ROW = "1 = 0"
_LONGEST_NAME = 63  # in bytes, on every database
_LOWER_ASCII = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class NameRule(enum.Enum):
    """When two names of a column, an index or a constraint are the same."""

    EXACT = "if they are equal"
    IGNORE_ASCII_CASE = "if they are equal, whatever the case of ASCII letters is"
    IGNORE_CASE = "if they are equal, whatever the case of letters is"

    def key(self, name: str) -> str:
        """Return what all names have in common that are the same as this one."""
        if self is NameRule.EXACT:
            return name
        if self is NameRule.IGNORE_ASCII_CASE:
            return name.translate(_LOWER_ASCII)
        return name.lower()


def name_while_filled(column: str) -> str:
    """Return the name that a new column may have until all rows have a value.

    A run that finds it continues there.
    """
    return f"{column[:50]}__fill"


def name_of_guard(table: str, column: str = "") -> str:
    """Return the name of the CHECK that a column holds no value, until it is dropped.

    Without a column, that of the CHECK that a table holds no row. A run that finds it
    was preceded by one that was interrupted. It drops the column with it, or, if that
    stays, it alone.
    """
    name = f"{table}_{column}" if column else table
    short_name = name.encode()[: _LONGEST_NAME - len(_GUARD)]
    return short_name.decode(errors="ignore") + _GUARD


def no_value(column: str) -> str:
    """Return the condition that a column holds no value."""
    return f'"{column}" IS NULL'


class Type(NamedTuple):
    """A column type."""

    text: str  # as the database or Peewee writes it
    category: str  # "integer", "string", "datetime" …; types of one category compare
    # Characters, bytes (integers, floats, binaries) or a decimal's digits; None: no
    # limit.
    size: int | None = None
    scale: int | None = None  # a decimal's digits behind the point

    def covers(self, other: "Type") -> bool:
        """Whether a column of this type holds every value of the other type."""
        if self.category != other.category or self.scale != other.scale:
            return False
        if self.size is None:
            return True
        return other.size is not None and self.size >= other.size

    def __str__(self) -> str:
        if self.scale is not None:
            return f"{self.category} of ({self.size}, {self.scale})"
        if self.size is not None:
            return f"{self.category} of {self.size}"
        return self.category


class Column(NamedTuple):
    """A column of a table."""

    name: str
    type: Type
    null: bool = True
    default: str | None = None  # as SQL
    auto_increment: bool = False
    generated: bool = False  # computed from other columns, cannot be written
    collation: str | None = None  # if it is not the table's usual one
    reuses_ids: bool = False  # auto-increment that may give out a deleted id again
    ids_behind: bool = False  # its next id exists already, so that inserts fail
    # Of a declared column: the name that it had before, and the SQL of the value that
    # existing rows get.
    renamed_from: str | None = None
    backfill: str | None = None
    # Clauses that only some databases have, as SQL, such as COMMENT 'in grams'.
    attributes: tuple[str, ...] = ()
    # Of an existing column that a plan renames: its name until then.
    old_name: str | None = None

    @property
    def current_name(self) -> str:
        """The name in the database, until a plan is executed."""
        return self.old_name or self.name

    def attribute_like(self, text: str) -> str:
        """Return the attribute that begins with the same word as another one, or ""."""
        for each in self.attributes:
            if each.split()[0].upper() == text.split()[0].upper():
                return each
        return ""

    @property
    def optional(self) -> bool:
        """Whether a row can be inserted without a value for this column."""
        has_default = self.default is not None
        return self.null or has_default or self.auto_increment or self.generated


class Index(NamedTuple):
    """An index or a UNIQUE constraint.

    `columns` are keys of names (`NameRule.key`) in order. A part that is not a plain
    column has a suffix or is an expression ("name DESC", "(lower(name))"), so that it
    never equals a plain one.
    """

    name: str  # of a declared UNIQUE constraint "" if the database chooses it
    columns: tuple[str, ...]
    unique: bool = False
    condition: str | None = None  # of a partial index: what follows WHERE
    valid: bool = True
    is_constraint: bool = False  # a UNIQUE constraint rather than a unique index
    # The CREATE INDEX of one that is more than an index of columns; see
    # Catalog.same_index.
    definition: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether it is one of whole columns, for every row, of the usual kind."""
        return not self.definition and self.condition is None

    @property
    def label(self) -> str:
        """What to call it in messages: a UNIQUE constraint may have no name."""
        return self.name or f"UNIQUE ({', '.join(self.columns)})"

    @property
    def covers_all_rows(self) -> bool:
        """Whether every row of the table is in the index."""
        return self.valid and self.condition is None

    def columns_among(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of some columns that a key of the index is made of.

        An expression may be made of several; the condition does not matter.
        """
        if self.is_plain and set(self.columns) <= set(names):
            return self.columns
        return mentioned_names(" , ".join(self.columns), names)

    def __str__(self) -> str:
        words = []
        if self.unique:
            words.append("UNIQUE")
        if not self.valid:
            words.append("INVALID")
        words.append(f"({', '.join(self.columns)})")
        if self.condition is not None:
            words.append(f"WHERE {self.condition}")
        return " ".join(words)


class Exclusion(NamedTuple):
    """An EXCLUDE constraint: for no two rows are all of its operators true.

    A key WITHOUT OVERLAPS of PostgreSQL 18 is one, too.
    """

    name: str
    parts: tuple[str, ...]  # the SQL of what is compared
    operators: tuple[str, ...]  # of each part, as SQL between two of its values
    condition: str | None = None  # which rows it is about

    @property
    def sql(self) -> str:
        """All of its SQL that may mention columns."""
        return " , ".join([*self.parts, self.condition or ""])

    @property
    def is_unique_key(self) -> bool:
        """Whether it compares all of its parts for equality."""
        return set(self.operators) == {"="}

    def sql_except_equal(self, parts: Collection[str]) -> str:
        """Return `sql` without some of the parts, where they are compared with =."""
        texts = [self.condition or ""]
        for part, operator in zip(self.parts, self.operators):
            if part not in parts or operator != "=":
                texts.append(part)
        return " , ".join(texts)


class ForeignKey(NamedTuple):
    """A foreign key of a table. Columns are keys of names (`NameRule.key`)."""

    columns: tuple[str, ...]
    parent: str  # the referenced table, as `Catalog.table_key` calls it
    parent_columns: tuple[str, ...]  # in `declared_table` (), if it is the primary key
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"
    name: str | None = None
    valid: bool = True  # False: the database never checked the rows that exist
    deferrable: str = ""  # "DEFERRABLE" or "DEFERRABLE INITIALLY DEFERRED"

    def same_reference(self, other: "ForeignKey") -> bool:
        """Whether both refer from the same columns to the same columns."""
        mine = (self.columns, self.parent, self.parent_columns)
        return mine == (other.columns, other.parent, other.parent_columns)

    def equivalent(self, other: "ForeignKey") -> bool:
        """Whether both do the same, whatever their names are."""
        if not self.same_reference(other):
            return False
        return (self.on_delete, self.on_update) == (other.on_delete, other.on_update)

    def is_as_declared(self, declared: "ForeignKey") -> bool:
        """Whether it does what a declared one does.

        One that is checked later than declared is accepted.
        """
        if not self.equivalent(declared):
            return False
        return not declared.deferrable or self.deferrable == declared.deferrable

    def __str__(self) -> str:
        text = f"REFERENCES {self.parent} ({', '.join(self.parent_columns)})"
        text += f" ON DELETE {self.on_delete}"
        if self.on_update not in ("NO ACTION", "RESTRICT"):
            text += f" ON UPDATE {self.on_update}"
        if self.deferrable:
            text += f" {self.deferrable}"
        if not self.valid:
            text += ", not validated"
        return text


class Check(NamedTuple):
    """A CHECK constraint of a table."""

    name: str  # of a declared one "" if the database chooses it
    condition: str
    valid: bool = True  # False: the database never checked the rows that exist
    column: str = ""  # the key of the column whose field declares it, or ""


class Table(NamedTuple):
    """A table, or whatever else has its name.

    `names` says when two names are the same. Where a name identifies a column, in
    `columns`, keys and indexes, it is the key by that rule: `names.key(name)`.
    """

    name: str
    kind: str = "table"  # or "view", "partitioned table", …
    columns: Mapping[str, Column] = {}  # by the key of the name, in order
    primary_key: tuple[str, ...] = ()
    indexes: tuple[Index, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()
    names: NameRule = NameRule.IGNORE_CASE
    options: tuple[str, ...] = ()  # as SQL, sorted, of a database that compares them
    settings: tuple[str, ...] = ()  # of a declared table: further options, as SQL
    # Of a declared table: the name that it had before.
    renamed_from: str | None = None
    # Of an existing table that a plan renames: its name until then.
    old_name: str | None = None

    @property
    def current_name(self) -> str:
        """The name in the database, until a plan is executed."""
        return self.old_name or self.name

    @property
    def has_old_names(self) -> bool:
        """Whether a plan renames the table, or a column of it."""
        columns = self.columns.values()
        return bool(self.old_name) or any(column.old_name for column in columns)

    @property
    def is_table(self) -> bool:
        """Whether it is a table of any kind, and not a view."""
        return self.kind == "table" or self.kind.endswith(" table")

    def column_named(self, name: str) -> Column | None:
        """Return the column of a name."""
        return self.columns.get(self.names.key(name))

    def index_named(self, name: str) -> Index | None:
        """Return the index or UNIQUE constraint of a name."""
        if not name:
            return None
        for index in self.indexes:
            if self.names.key(index.name) == self.names.key(name):
                return index
        return None

    def check_named(self, name: str) -> Check | None:
        """Return the CHECK constraint of a name."""
        for check in self.checks:
            if self.names.key(check.name) == self.names.key(name):
                return check
        return None

    def column_of_part(self, part: str) -> str:
        """Return the key of the column in a part of an index, or "".

        Of "name DESC" it is "name", unless a column is named "name DESC".
        """
        if part in self.columns:
            return part
        found = ""
        for key in self.columns:
            if part.startswith((f"{key} ", f"{key}(")) and len(key) > len(found):
                found = key
        return found

    def unique_keys(self) -> tuple[tuple[str, ...], ...]:
        """Return the columns of the primary key and of each other unique key."""
        keys = [self.primary_key]
        for index in self.indexes:
            if index.unique and index.covers_all_rows and index.columns not in keys:
                keys.append(index.columns)
        return tuple(keys)

    def indexes_with(self, column: str) -> tuple[Index, ...]:
        """Return the indexes and UNIQUE constraints that name a column."""
        key = self.names.key(column)
        found = []
        for index in self.indexes:
            columns = [self.column_of_part(part) for part in index.columns]
            # What is before the parentheses are the names of the index and the table.
            in_definition = index.definition.partition("(")[2]
            if key in columns or mentions(in_definition, column):
                found.append(index)
        return tuple(found)

    def checks_with(self, column: str) -> tuple[Check, ...]:
        """Return the CHECK constraints that name a column."""
        return tuple(
            check for check in self.checks if mentions(check.condition, column)
        )

    def left_guards(self, condition: str) -> tuple[Check, ...]:
        """Return the CHECKs that were added before a drop that was interrupted.

        :param condition: `NO_ROW`, or that a column holds `no_value`.
        """
        guards = [check for check in self.checks if check.name.endswith(_GUARD)]
        if not guards:
            return ()
        wanted = comparable_condition(condition)
        return tuple(
            check for check in guards if comparable_condition(check.condition) == wanted
        )

    def foreign_keys_with(self, column: str) -> tuple[ForeignKey, ...]:
        """Return the foreign keys that a column is in."""
        name = self.names.key(column)
        return tuple(key for key in self.foreign_keys if name in key.columns)

    def with_column(self, column: Column) -> "Table":
        """Return the table with a column added, or with one of its name replaced."""
        key = self.names.key(column.name)
        return self._replace(columns={**self.columns, key: column})

    def with_column_dropped(self, column: str) -> "Table":
        """Return the table without a column, and without what belongs to it."""
        columns = {
            key: each for key, each in self.columns.items() if each.name != column
        }
        indexes = self.indexes_with(column)
        checks = self.checks_with(column)
        keys = self.foreign_keys_with(column)
        return self._replace(
            columns=columns,
            indexes=tuple(each for each in self.indexes if each not in indexes),
            checks=tuple(each for each in self.checks if each not in checks),
            foreign_keys=tuple(each for each in self.foreign_keys if each not in keys),
        )


class Schema(Mapping[str, Table]):
    """Tables by the names that `Catalog.table_key` gives them; immutable."""

    def __init__(self, tables: Mapping[str, Table] | None = None) -> None:
        self._tables = dict(tables or {})

    def __getitem__(self, name: str) -> Table:
        return self._tables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def __repr__(self) -> str:
        return f"Schema({', '.join(self._tables)})"

    def with_table(self, name: str, table: Table) -> "Schema":
        """Return a schema in which a name stands for this table."""
        return Schema({**self._tables, name: table})

    def with_changed_keys(self, change: Callable[[ForeignKey], ForeignKey]) -> "Schema":
        """Return a schema in which each foreign key is what a function makes of it."""
        tables = {}
        for name, table in self._tables.items():
            keys = tuple(change(key) for key in table.foreign_keys)
            tables[name] = table._replace(foreign_keys=keys)
        return Schema(tables)

    def without(self, names: Iterable[str]) -> "Schema":
        """Return a schema without some tables."""
        gone = set(names)
        left = {name: table for name, table in self._tables.items() if name not in gone}
        return Schema(left)
