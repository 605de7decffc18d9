"""What can be done to a table: the same few operations on every engine, in one order.

An engine says how it does each of them (`statements.py` in its room); what it cannot do there, it does
in a way of its own (SQLite edits the text of the table, or rebuilds it).
"""

from __future__ import annotations

from typing import NamedTuple, get_args

from migrations.schema import Check, Column, ForeignKey, Index


class CreateTable(NamedTuple):
    table: str


class DropForeignKey(NamedTuple):  # which holds a column that is about to change its type
    table: str
    key: ForeignKey


class AddColumn(NamedTuple):
    table: str
    column: Column  # as declared; one that counts by itself becomes the primary key


class AlterColumn(NamedTuple):
    table: str
    column: Column  # as declared
    actual: Column
    what: frozenset[str]  # is to be as declared: "type", "null", "default"


class SetPrimaryKey(NamedTuple):
    table: str
    columns: tuple[str, ...]
    counting: bool  # whether its one column is to count by itself
    instead_of: tuple[str, ...] = ()  # a user's own, which stays unique


class AddIndex(NamedTuple):
    table: str
    wanted: Index  # or UNIQUE constraint
    instead_of: Index | None = None  # which bears its name and is not right


class AddCheck(NamedTuple):
    table: str
    check: Check  # the one that is there, where it is not valid


class AddForeignKey(NamedTuple):
    table: str
    key: ForeignKey
    instead_of: tuple[ForeignKey, ...] = ()  # which say something else of its columns; or itself, not valid


class DropTable(NamedTuple):
    table: str


# In the order of their execution: a column is there before what stands on it, a key is unique before it is referred to.
Operation = (
    CreateTable | DropForeignKey | AddColumn | AlterColumn | SetPrimaryKey | AddIndex | AddCheck
    | AddForeignKey | DropTable
)  # fmt: skip
ORDER = get_args(Operation)
