"""The new text of an SQLite table: its own, in which only what differs is replaced.

So a user's columns, defaults, CHECKs and collations survive. Peewee's rebuild reads `CREATE TABLE` with
regular expressions and loses AUTOINCREMENT; this one splits it into tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from migrations.engines.sqlite.text import (
    Tokens,
    clauses_of,
    columns_of,
    is_constraint,
    kind_of,
    parent_of,
    split,
    text_of,
    unquoted,
    without_conflict,
    words_of,
)
from migrations.engines.statements import Statements
from migrations import operations as do
from migrations.operations import Operation
from migrations.report import Refused
from migrations.schema import Column, Table


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
        self.items, self.options = split(sql, table.name)
        self.altered = {each.column.name: each for each in operations if isinstance(each, do.AlterColumn)}
        self.added = [each.column for each in operations if isinstance(each, do.AddColumn)]
        indexes = [each for each in operations if isinstance(each, do.AddIndex)]
        self.unique = [each.wanted for each in indexes if each.wanted.constraint]
        self.wrong = [each.instead_of for each in indexes if each.instead_of and each.instead_of.constraint]
        self.key = new_key(operations)
        declared = statements.declared(operations[0].table).columns
        self.counting = self.key[0] if self.key and declared[self.key[0]].automatic else ""
        wrong = [key for each in operations if isinstance(each, do.AddForeignKey) for key in each.instead_of]
        self.wrong_keys = {(key.columns, key.table) for key in wrong}

    def __str__(self) -> str:
        """What follows the table's name.

        :raises Refused: a column of ours would have to stand in a STRICT table.
        """
        strict = "STRICT" in self.options.upper().replace(",", " ").split()
        if strict and (self.added or self.key or any("type" in each.what for each in self.altered.values())):
            raise Refused(
                f"{self.table.name} is a STRICT table, which has no DATE; mend it by hand or create it without STRICT"
            )
        columns = [self._column(item) for item in self.items if not is_constraint(item)]
        columns += [self.statements.definition(self.table.name.lower(), column) for column in self.added]
        constraints = [text for item in self.items if is_constraint(item) for text in self._constraint(item)]
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

    # -- what gives way

    def _is_wrong(self, columns: tuple[str, ...], reference: Tokens) -> bool:
        return bool(self.wrong_keys) and (columns, parent_of(reference)) in self.wrong_keys

    def _gives_way(self, columns: tuple[str, ...], name: str = "") -> bool:
        """Whether a UNIQUE stands where one of ours is about to."""
        named = bool(name) and name in [each.name.lower() for each in self.wrong]
        return named or columns in [bare(each.columns) for each in (*self.unique, *self.wrong)]

    def _column(self, item: Tokens) -> str:
        """Return a column's definition: its own text but for what is to be corrected."""
        name = unquoted(words_of(item)[0]).lower()
        head, clauses = clauses_of(item)
        if name == self.counting:  # which is unique by being the key
            ours = self.statements.definition(self.table.name.lower(), self._declared(name))
            return ours + "".join(f" {text_of(clause)}" for kind, clause in clauses if kind in ("CHECK", "REFERENCES"))
        change = self.altered.get(name)
        if not change:
            return " ".join(map(text_of, [head, *self._kept(name, clauses, frozenset())]))
        column, what = change.column, change.what
        if "type" in what and column.default:  # that of another type may mean the same, and be no value of ours
            what |= {"default"}
        type_ = column.type.text if "type" in what else change.actual.type.text.partition(" ON CONFLICT ")[0]
        texts = [f"{self.statements.quote(name)} {type_}"]
        texts += ["NOT NULL"] * ("null" in what and not column.null)
        texts += [f"DEFAULT {column.default}"] * ("default" in what and column.default is not None)
        return " ".join([*texts, *(text_of(clause) for clause in self._kept(name, clauses, what))])

    def _kept(self, name: str, clauses: list[tuple[str, Tokens]], what: frozenset[str]) -> Iterator[Tokens]:
        """Yield the clauses of a column that stay."""
        replaced = {"NOT": "null", "NULL": "null", "DEFAULT": "default", "GENERATED": "type", "AS": "type"}
        for kind, clause in clauses:
            if kind == "PRIMARY" and self.key:
                yield from [["UNIQUE"]] * self._stays_unique((name,))
            elif not (
                replaced.get(kind) in what
                or kind == "REFERENCES" and self._is_wrong((name,), clause)
                or kind == "UNIQUE" and self._gives_way((name,))
            ):  # fmt: skip
                yield without_conflict(clause) if "type" in what else clause

    def _constraint(self, item: Tokens) -> Iterator[str]:
        """Yield a table's constraint, or nothing where it gives way to one of ours."""
        words, kind, columns = words_of(item), kind_of(item), columns_of(item)
        name = unquoted(words[1]).lower() if words[0].upper() == "CONSTRAINT" else ""
        if kind == "PRIMARY" and self.key:
            yield from [f"UNIQUE {text_of(item[item.index('(') :])}"] * self._stays_unique(columns)
        elif not (
            kind == "FOREIGN" and self._is_wrong(columns, item)
            or kind == "UNIQUE" and self._gives_way(columns, name)
        ):  # fmt: skip
            yield text_of(item)

    def _stays_unique(self, columns: tuple[str, ...]) -> bool:
        """Whether a primary key of a user's own, which gives way to ours, is not of the same columns as ours."""
        return {*columns} not in ({*self.key}, *({*each.columns} for each in self.unique))

    def _declared(self, name: str) -> Column:
        return self.statements.declared(self.table.name.lower()).columns[name]
