"""The new text of an SQLite table: its own, in which only what differs is replaced.

So a user's columns, defaults, CHECKs and collations survive. Peewee's rebuild reads `CREATE TABLE` with
regular expressions and loses AUTOINCREMENT; this one splits it into tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from migrations import operations as do
from migrations.engines.sqlite import text
from migrations.engines.sqlite.text import Tokens, text_of, words_of
from migrations.engines.statements import Statements
from migrations.operations import Operation
from migrations.report import Refused
from migrations.schema import Table

_CONFLICT = re.compile(r"\s+ON\s+CONFLICT\s+\w+", re.IGNORECASE)
_REPLACED = {"NOT": "null", "NULL": "null", "DEFAULT": "default", "GENERATED": "type", "AS": "type"}


def bare(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of an index without the marks for what is odd about them."""
    return tuple(column.partition(" ")[0] for column in columns)


def new_key(operations: Sequence[Operation]) -> tuple[str, ...]:
    """Return the columns of the primary key that operations make; none if they leave it alone."""
    for each in operations:
        if isinstance(each, do.SetPrimaryKey):
            return each.columns
        if isinstance(each, do.AddColumn) and each.key or isinstance(each, do.AlterColumn) and each.column.automatic:
            return (each.column.name,)
    return ()


class Definition:
    """A table's text once operations are done to it."""

    def __init__(self, statements: Statements, table: Table, sql: str, operations: Sequence[Operation]) -> None:
        self.statements, self.table, self.operations = statements, table, operations
        self.items, self.options = text.split(sql, table.name)
        columns = [text.unquoted(words_of(item)[0]).lower() for item in self.items if not text.is_constraint(item)]
        if columns != [*table.columns]:  # or the rows would not fit the text
            raise Refused(f"the definition of {table.name} cannot be read; mend it by hand")
        self.declared = statements.declared(operations[0].table)
        self.altered = {each.column.name: each for each in operations if isinstance(each, do.AlterColumn)}
        self.added = [each.column for each in operations if isinstance(each, do.AddColumn)]
        indexes = [each for each in operations if isinstance(each, do.AddIndex)]
        self.unique = [each.wanted for each in indexes if each.wanted.constraint]
        self.wrong = [each.instead_of for each in indexes if each.instead_of and each.instead_of.constraint]
        keys = [key for each in operations if isinstance(each, do.AddForeignKey) for key in each.instead_of]
        self.wrong_keys = {(key.columns, key.table) for key in keys}
        self.key = new_key(operations)
        self.counting = self.key[0] if self.key and self.declared.columns[self.key[0]].automatic else ""

    def __str__(self) -> str:
        """What follows the table's name.

        :raises Refused: a column of ours would have to stand in a STRICT table.
        """
        strict = "STRICT" in self.options.upper().replace(",", " ").split()
        if strict and (self.added or self.key or any("type" in each.what for each in self.altered.values())):
            raise Refused(
                f"{self.table.name} is a STRICT table, which has no DATE; mend it by hand or create it without STRICT"
            )
        columns = [self._column(item) for item in self.items if not text.is_constraint(item)]
        columns += [self.statements.definition(self.declared.name, column) for column in self.added]
        constraints = [each for item in self.items if text.is_constraint(item) for each in self._constraint(item)]
        options = "" if self.counting else self.options  # WITHOUT ROWID has no AUTOINCREMENT
        return f"({', '.join([*columns, *constraints, *self._new_constraints()])}){options}"

    def _new_constraints(self) -> Iterator[str]:
        names, quote = self.statements.names, self.statements.quote
        if self.key and not self.counting:
            yield f"PRIMARY KEY {names(self.key)}"
        for each in self.operations:
            if isinstance(each, do.AddForeignKey):
                yield self.statements.reference(each.key)
            elif isinstance(each, do.AddCheck):
                yield f"CONSTRAINT {quote(each.check.name)} CHECK ({each.check.sql})"
        for index in self.unique:
            yield f"CONSTRAINT {quote(index.name)} UNIQUE {names(index.columns)}"

    def _column(self, item: Tokens) -> str:
        """Return a column's definition: its own text but for what is to be corrected."""
        name = text.unquoted(words_of(item)[0]).lower()
        head, clauses = text.clauses_of(item)
        if name == self.counting:  # which is unique by being the key
            ours = self.statements.definition(self.declared.name, self.declared.columns[name])
            return " ".join([ours, *(text_of(clause) for kind, clause in clauses if kind in ("CHECK", "REFERENCES"))])
        change = self.altered.get(name)
        if not change:
            return " ".join([text_of(head), *self._kept(name, clauses, frozenset())])
        column, what = change.column, change.what
        if "type" in what and column.default:  # that of another type may mean the same, and be no value of ours
            what |= {"default"}
        type_ = column.type.text if "type" in what else change.actual.type.text.partition(" ON CONFLICT ")[0]
        texts = [f"{self.statements.quote(name)} {type_}"]
        texts += ["NOT NULL"] * ("null" in what and not column.null)
        texts += [f"DEFAULT {column.default}"] * ("default" in what and column.default is not None)
        return " ".join([*texts, *self._kept(name, clauses, what)])

    def _kept(self, name: str, clauses: list[tuple[str, Tokens]], what: frozenset[str]) -> Iterator[str]:
        """Yield the clauses of a column that stay."""
        for kind, clause in clauses:
            if kind == "PRIMARY" and self.key:
                yield from ["UNIQUE"] * self._stays_unique((name,))
            elif _REPLACED.get(kind) not in what and not self._gives_way(kind, (name,), clause):
                refuses = "type" in what and kind in ("NOT", "UNIQUE", "PRIMARY")
                yield _CONFLICT.sub("", text_of(clause)) if refuses else text_of(clause)

    def _constraint(self, item: Tokens) -> Iterator[str]:
        """Yield a table's constraint, or nothing where it gives way to one of ours."""
        kind, columns = text.kind_of(item), text.columns_of(item)
        if kind == "PRIMARY" and self.key:
            yield from [f"UNIQUE {text_of(item[item.index('(') :])}"] * self._stays_unique(columns)
        elif not self._gives_way(kind, columns, item):
            yield text_of(item)

    def _gives_way(self, kind: str, columns: tuple[str, ...], part: Tokens) -> bool:
        """Whether a UNIQUE or a foreign key stands where one of ours is about to."""
        if kind in ("FOREIGN", "REFERENCES"):
            return bool(self.wrong_keys) and (columns, text.parent_of(part)) in self.wrong_keys
        named = text.name_of(part).lower() in [each.name.lower() for each in self.wrong if each.name]
        return kind == "UNIQUE" and (named or columns in [bare(each.columns) for each in (*self.unique, *self.wrong)])

    def _stays_unique(self, columns: tuple[str, ...]) -> bool:
        """Whether a primary key of a user's own, which gives way to ours, is not of the same columns as ours."""
        return {*columns} not in ({*self.key}, *({*each.columns} for each in self.unique))
