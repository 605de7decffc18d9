"""What can be done to a table: the same few operations on every engine, in one order.

An engine says how it does each of them (`statements.py` in its room); what it cannot do there, it does
in a way of its own (SQLite edits the text of the table, or rebuilds it).
"""

from __future__ import annotations

from typing import NamedTuple, get_args

from migrations.schema import Check, Column, ForeignKey, Index


class CreateTable(NamedTuple):
    table: str


class DropForeignKey(NamedTuple):
    """Take a foreign key away, since a column that it holds is about to change its type."""

    table: str
    key: ForeignKey


class AddColumn(NamedTuple):
    """Add a declared column; with `key` it becomes the primary key that counts by itself."""

    table: str
    column: Column
    key: bool = False


class AlterColumn(NamedTuple):
    """Make a column what is declared in one or more ways: of "type", "null", "default"."""

    table: str
    column: Column  # as declared
    actual: Column
    what: frozenset[str]


class SetPrimaryKey(NamedTuple):
    """Make columns the primary key, and with `counting` its one column count by itself.

    A primary key of a user's own, `instead_of`, stays unique.
    """

    table: str
    columns: tuple[str, ...]
    counting: bool
    instead_of: tuple[str, ...] = ()


class AddIndex(NamedTuple):
    """Make an index or a UNIQUE constraint, in the place of one that bears its name and is not right."""

    table: str
    wanted: Index
    instead_of: Index | None = None


class AddCheck(NamedTuple):
    table: str
    check: Check


class ValidateCheck(NamedTuple):
    """Have the rows checked that were there before a CHECK."""

    table: str
    check: Check


class AddForeignKey(NamedTuple):
    """Add a foreign key, in the place of those that say something else of its columns."""

    table: str
    key: ForeignKey
    instead_of: tuple[ForeignKey, ...] = ()


class ValidateForeignKey(NamedTuple):
    table: str
    key: ForeignKey


class DropTable(NamedTuple):
    """Drop a table with its indexes and triggers, and nothing that hangs on it."""

    table: str


# In the order of their execution: a column is there before what stands on it, a key is unique before it is referred to.
Operation = (
    CreateTable | DropForeignKey | AddColumn | AlterColumn | SetPrimaryKey | AddIndex | AddCheck | ValidateCheck
    | AddForeignKey | ValidateForeignKey | DropTable
)  # fmt: skip
ORDER = get_args(Operation)
