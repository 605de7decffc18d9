"""The new text of an SQLite table: its own, in which only what differs is replaced.

So a user's columns, defaults, CHECKs and collations survive. Peewee's rebuild reads `CREATE TABLE` with
regular expressions and loses AUTOINCREMENT.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from migrations import operations as do
from migrations.engines.sqlite.text import Clause, read
from migrations.operations import Operation
from migrations.report import Refused
from migrations.schema import Table

if TYPE_CHECKING:
    from migrations.engines.sqlite.statements import SQLiteStatements

_SAID_BY = {"NOT": "null", "NULL": "null", "DEFAULT": "default", "GENERATED": "type", "AS": "type"}


class Definition:
    """What follows a table's name in its text once operations are done to it.

    :raises Refused: the text cannot be read; a column of ours would have to stand in a STRICT table.
    """

    def __init__(self, statements: SQLiteStatements, table: Table, operations: Sequence[Operation]) -> None:
        self.statements, self.operations = statements, operations
        self.clauses, self.options = read(statements.engine.text_of(table), table.name)
        if [each.column for each in self.clauses if each.column and not each.kind] != [*table.columns]:
            raise Refused(f"the definition of {table.name} cannot be read; mend it by hand")  # no row would fit
        self.declared = statements.declared(operations[0].table)
        self.key: tuple[str, ...] = ()  # of a new primary key, if there is to be one
        self.counting = ""  # the column of it that counts by itself
        for each in operations:
            if isinstance(each, do.SetPrimaryKey):
                self.key, self.counting = each.columns, each.columns[0] * each.counting
            elif isinstance(each, do.AddColumn) and each.key:
                self.key, self.counting = (each.column.name,), each.column.name
        self.added = [each.column for each in operations if isinstance(each, do.AddColumn)]
        self.altered = {each.column.name: each for each in operations if isinstance(each, do.AlterColumn)}
        self.indexes = [each.wanted for each in operations if isinstance(each, do.AddIndex)]
        self.wrong_keys = {
            (key.columns, key.table) for each in operations if isinstance(each, do.AddForeignKey)
            for key in each.instead_of
        }  # fmt: skip
        self.loses_unique = any(each.kind == "UNIQUE" and self._gives_way(each) for each in self.clauses)
        typed = self.key or self.added or any("type" in each.what for each in self.altered.values())
        if typed and re.search(r"\bSTRICT\b", self.options, re.IGNORECASE):
            raise Refused(
                f"{table.name} is a STRICT table, which has no DATE; mend it by hand or create it without STRICT"
            )

    def __str__(self) -> str:
        columns: dict[str, list[str]] = {}
        constraints: list[str] = []
        for clause in self.clauses:
            (columns.setdefault(clause.column, []) if clause.column else constraints).extend(self._written(clause))
        items = [" ".join(words) for words in columns.values()]
        items += [self.statements.definition(self.declared.name, column) for column in self.added]
        options = "" if self.counting else self.options  # WITHOUT ROWID has no AUTOINCREMENT
        return f"({', '.join([*items, *constraints, *self._new_constraints()])}){options}"

    def _new_constraints(self) -> Iterator[str]:
        if self.key and not self.counting:
            yield f"PRIMARY KEY {self.statements.names(self.key)}"
        for each in self.operations:
            if isinstance(each, do.AddForeignKey):
                yield self.statements.reference(each.key)
            elif isinstance(each, do.AddCheck):
                yield f"CONSTRAINT {self.statements.quote(each.check.name)} CHECK ({each.check.sql})"

    def _written(self, clause: Clause) -> Iterator[str]:
        """Yield what is to stand for a clause: itself, what is right, or nothing."""
        if clause.column and clause.column == self.counting:  # which is unique by being the key
            if not clause.kind:
                yield self.statements.definition(self.declared.name, self.declared.columns[clause.column])
            elif clause.kind in ("CHECK", "REFERENCES"):
                yield clause.text
        elif clause.kind == "PRIMARY" and self.key:
            ours = [self.key, *(index.columns for index in self.indexes if index.unique)]
            if {*clause.columns} not in map(set, ours):  # a key of a user's own stays unique
                yield "UNIQUE" if clause.column else f"UNIQUE ({clause.inner})"
        elif clause.column in self.altered:
            yield from self._altered(clause, self.altered[clause.column])
        elif not self._gives_way(clause):
            yield clause.text

    def _altered(self, clause: Clause, change: do.AlterColumn) -> Iterator[str]:
        column, what = change.column, change.what
        if "type" in what and column.default:  # that of another type may mean the same, and be no value of ours
            what |= {"default"}
        if not clause.kind:
            type_ = column.type if "type" in what else change.actual.type
            yield f"{self.statements.quote(column.name)} {type_.text}"
            yield from ["NOT NULL"] * ("null" in what and not column.null)
            yield from [f"DEFAULT {column.default}"] * ("default" in what)
        elif clause.kind == "NOT" and "null" not in what:
            yield "NOT NULL"  # without an ON CONFLICT that makes something else of a refusal
        elif _SAID_BY.get(clause.kind) not in what and not self._gives_way(clause):
            yield clause.text

    def _gives_way(self, clause: Clause) -> bool:
        """Whether a UNIQUE or a foreign key stands where one of ours is about to."""
        if clause.kind != "UNIQUE":
            return (clause.columns, clause.other.lower()) in self.wrong_keys
        return any(
            clause.name.lower() == index.name.lower() or (index.constraint and clause.columns == index.columns)
            for index in self.indexes
        )
