"""The text of an SQLite `CREATE TABLE`, clause by clause: what the PRAGMAs do not tell stands only there.

    clauses, options = read("CREATE TABLE t (a TEXT COLLATE NOCASE, UNIQUE (a) ON CONFLICT IGNORE) STRICT", "t")
    f"CREATE TABLE t {Definition(statements, table, operations)}"

It understands where a clause begins and ends, no more. In the new text of a table only what differs is replaced,
so a user's columns, defaults, CHECKs and collations survive. Peewee's rebuild loses AUTOINCREMENT.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from migrations import operations as do
from migrations.operations import Operation
from migrations.report import Refused
from migrations.schema import Index, Table, masked

if TYPE_CHECKING:
    from migrations.engines.sqlite.statements import SQLiteStatements

_QUOTED = r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]"
_COMMENT = r"--[^\n]*|/\*.*?(?:\*/|\Z)"
_WORD = r"[\w$\u0080-\U0010ffff]"  # of a name that needs no quotes
_NAME = re.compile(rf"\s*({_QUOTED}|{_WORD}+)")
_CONSTRAINT = re.compile(rf"(?:CONSTRAINT|PRIMARY|UNIQUE|CHECK|FOREIGN)(?!{_WORD})", re.IGNORECASE)
_PARENTHESES = re.compile(r"\((x*)\)")  # of a masked text
_BEGINNING = re.compile(
    r"\bSET\s+(?:NULL|DEFAULT)\b|\bNOT\s+DEFERRABLE\b"  # which begin nothing
    rf"|(?:(?<!{_WORD})CONSTRAINT\s+(?P<name>[\"'`\[]?{_WORD}+[\"'`\]]?)\s*)?"
    rf"(?<!{_WORD})(?P<kind>PRIMARY|UNIQUE|CHECK|FOREIGN\b.*?\bREFERENCES|NOT\s+NULL|NULL|DEFAULT(?:\s+NULL)?|COLLATE|REFERENCES"
    rf"|GENERATED\s+ALWAYS\s+AS|AS)(?!{_WORD})",
    re.IGNORECASE | re.DOTALL,
)
_SAID_BY = {"NOT": "null", "NULL": "null", "DEFAULT": "default", "GENERATED": "type", "AS": "type"}


class Clause(NamedTuple):
    """A column's name and type, a clause of it, or a constraint of the table.

    `column` is "" for a table's constraint, `kind` the first word ("" for name and type), `inner` what it has in
    parentheses first, `other` the table or the collation that it names.
    """

    column: str
    kind: str
    text: str
    name: str = ""
    inner: str = ""
    other: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a key."""
        return (self.column,) if self.column else tuple(_name(each).lower() for each in _split(self.inner))


def read(sql: str, table: str) -> tuple[list[Clause], str]:
    """Return the clauses of a `CREATE TABLE` without comments, and what follows them.

    Left out is the table's name before its columns, too: a replacement has another name.

    :raises Refused: it cannot be read.
    """
    name = re.escape(table)
    text = uncommented(sql, rf"(?:\b{name}|[\"`\[]{name}[\"`\]])\s*\.")
    whole = _PARENTHESES.search(masked(text, _QUOTED))
    if not whole:
        raise Refused(f"the definition of {table} cannot be read; mend it by hand")
    inner = text[slice(*whole.span(1))]
    return [clause for item in _split(inner) for clause in _clauses(item)], text[whole.end() :]


def uncommented(sql: str, *left_out: str) -> str:
    """Return SQL without its comments, and without what else a pattern matches."""
    patterns = "|".join([*left_out, f"({_QUOTED})", _COMMENT])
    return re.sub(patterns, lambda found: found[1] or " ", sql, flags=re.IGNORECASE | re.DOTALL).rstrip()


def _split(text: str) -> list[str]:
    """Return the items of a list."""
    commas = [-1, *(found.start() for found in re.finditer(",", masked(text, _QUOTED))), len(text)]
    return [text[start + 1 : end].strip() for start, end in zip(commas, commas[1:])]


def _name(text: str, position: int = 0) -> str:
    """Return the name that stands at a position, without quotes, "" where there is none."""
    found = _NAME.match(text, position)
    name = found[1] if found else ""
    end = {'"': '"', "`": "`", "[": "]", "'": "'"}.get(name[:1])
    return name[1:-1].replace(end * 2, end) if end else name


def _clauses(item: str) -> Iterator[Clause]:
    """Yield the clauses of a column, or the constraints of a table, which may have no comma between them."""
    hidden = masked(item, _QUOTED)
    column = "" if _CONSTRAINT.match(item) else _name(item).lower()
    beginnings = [each for each in _BEGINNING.finditer(hidden, bool(column)) if each["kind"]]
    ends = [*(each.start() for each in beginnings), len(item)]
    if column:
        yield Clause(column, "", item[: ends[0]].strip())
    for begin, end in zip(beginnings, ends[1:]):
        inner = _PARENTHESES.search(hidden, begin.start(), end)
        yield Clause(
            column, begin["kind"].split()[0].upper(), item[begin.start() : end].strip(),
            _name(item, begin.start("name")) if begin["name"] else "",
            item[slice(*inner.span(1))].strip() if inner else "", _name(item, begin.end()),
        )  # fmt: skip


class Definition:
    """What follows a table's name in its text once operations are done to it.

    :raises Refused: the text cannot be read; a column of ours would have to stand in a STRICT table.
    """

    def __init__(self, statements: SQLiteStatements, table: Table, operations: Sequence[Operation]) -> None:
        self.statements, self.declared = statements, statements.declared(operations[0].table)
        kept = "SELECT sql FROM main.sqlite_master WHERE type = 'table' AND name = ?"
        ((text,),) = statements.engine.query(kept, (table.name,))
        self.clauses, self.options = read(text, table.name)
        if [each.column for each in self.clauses if each.column and not each.kind] != [*table.columns]:
            raise Refused(f"the definition of {table.name} cannot be read; mend it by hand")  # no row would fit
        self.key: tuple[str, ...] = ()  # of a new primary key, if there is to be one
        self.counting = ""  # the column of it that counts by itself
        self.columns, self.constraints = list[str](), list[str]()  # new ones
        self.altered: dict[str, do.AlterColumn] = {}
        self.indexes: list[Index] = []
        self.wrong_keys: set[object] = set()
        for each in operations:
            self._take(each)
        self.loses_unique = any(self._gives_way(each) for each in self.clauses if each.kind == "UNIQUE")
        typed = self.key or self.columns or any("type" in each.what for each in self.altered.values())
        if typed and re.search(r"\bSTRICT\b", self.options, re.IGNORECASE):
            raise Refused(
                f"{table.name} is a STRICT table, which has no DATE; mend it by hand or create it without STRICT"
            )

    def _take(self, operation: Operation) -> None:
        if isinstance(operation, do.AddColumn):
            self.columns.append(self.statements.definition(operation.table, operation.column))
            if operation.column.automatic:
                self.key, self.counting = (operation.column.name,), operation.column.name
        elif isinstance(operation, do.AlterColumn):
            self.altered[operation.column.name] = operation
        elif isinstance(operation, do.SetPrimaryKey):
            self.key, self.counting = operation.columns, operation.columns[0] * operation.counting
            self.constraints += [f"PRIMARY KEY {self.statements.names(self.key)}"] * (not self.counting)
        elif isinstance(operation, do.AddIndex):
            self.indexes.append(operation.wanted)
        elif isinstance(operation, do.AddCheck):
            name = self.statements.quote(operation.check.name)
            self.constraints.append(f"CONSTRAINT {name} CHECK ({operation.check.sql})")
        elif isinstance(operation, do.AddForeignKey):
            self.wrong_keys |= {(key.columns, key.table) for key in operation.instead_of}
            self.constraints.append(self.statements.reference(operation.key))

    def __str__(self) -> str:
        columns: dict[str, list[str]] = {}
        constraints: list[str] = []
        for clause in self.clauses:
            (columns.setdefault(clause.column, []) if clause.column else constraints).extend(self._written(clause))
        items = [*map(" ".join, columns.values()), *self.columns, *constraints, *self.constraints]
        return f"({', '.join(items)}){'' if self.counting else self.options}"  # WITHOUT ROWID has no AUTOINCREMENT

    @property
    def lasts(self) -> bool:
        """Whether it says AUTOINCREMENT."""
        return bool(re.search(r"\bAUTOINCREMENT\b", re.sub(_QUOTED, "", str(self)), re.IGNORECASE))

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
        if clause.kind in ("FOREIGN", "REFERENCES"):
            return (clause.columns, clause.other.lower()) in self.wrong_keys
        return clause.kind == "UNIQUE" and any(
            clause.name.lower() == index.name.lower() or (index.constraint and clause.columns == index.columns)
            for index in self.indexes
        )
