"""What the text of SHOW CREATE TABLE means.

    definition = CreateTableText(text)
    table = definition.table("child")
    clauses = definition.clauses("parent_id")

The text has all that there is to know about a table, and the server writes it in one
way, however the table was created. Three queries of the `information_schema` return the
same, take ten times as long, have no common snapshot, and do not show foreign keys to a
user who may only read. Peewee's introspection makes several queries per table, does not
tell a prefix index or a descending one from a plain one, and has no collations.
"""

from __future__ import annotations

import functools
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping

from migrations.engines.mysql.column_types import STRINGS, parse_type
from migrations.errors import ChangeRefused
from migrations.schema import (
    Check,
    Column,
    ForeignKey,
    Index,
    NameRule,
    Table,
    Type,
)
from migrations.sql_text import literal, masked, split_sql, unquoted

# Of columns, indexes and constraints:
# https://mariadb.com/kb/en/identifier-case-sensitivity/
NAMES = NameRule.IGNORE_CASE
_NAME = r"`(?:[^`]|``)*`"
QUOTED = rf"'(?:[^'\\]|\\.|'')*'|{_NAME}"
# Where a clause of a column's definition begins; the type is what comes before.
_CLAUSE = re.compile(
    r" (NOT|(?<!NOT )(?<!DEFAULT )NULL|DEFAULT|ON|AUTO_INCREMENT|COMMENT|CHECK"
    r"|GENERATED|INVISIBLE|WITHOUT|/\*)"
)
# The clauses of a column that a model may declare in the words of the server.
_ATTRIBUTES = ("ON", "COMMENT")
_ON_UPDATE = re.compile(
    r"ON\s+UPDATE\s+(?:CURRENT_TIMESTAMP|NOW|LOCALTIME|LOCALTIMESTAMP)\s*"
    r"(?:\(\s*(?P<digits>\d*)\s*\))?",
    re.IGNORECASE,
)
_COMMENT = re.compile(
    r"""COMMENT\s*('(?:[^']|'')*'|"(?:[^"]|"")*")""", re.IGNORECASE | re.DOTALL
)
_COLLATION = re.compile(r"(?:CHARSET|CHARACTER SET|COLLATE)[ =](\w+)")
_ACTION = re.compile(r"ON (DELETE|UPDATE) (CASCADE|SET \w+)")
# The next number, which grows with every row.
_NEXT_NUMBER = re.compile(r"(\n\) ENGINE=\w+) AUTO_INCREMENT=\d+")
# Options that a temporary table cannot have.
_NOT_TEMPORARY = re.compile(
    r"\s*\b(?:ROW_FORMAT\s*=?\s*COMPRESSED|KEY_BLOCK_SIZE\s*=?\s*\d+)", re.IGNORECASE
)
# What the servers escape in a string; a backslash stays as they write it.
_UNESCAPED = {r"\'": "''", r"\n": "\n", r"\r": "\r"}
# How the servers mark an index that no query uses.
_UNUSED = {"IGNORED", "INVISIBLE"}
# Categories of types that have a collation.
_WITH_COLLATION = (*STRINGS, "enum", "set", "json")


def kind_of_table(engine: str) -> str:
    """Return what a table of a storage engine is called; one of InnoDB just so."""
    if engine == "InnoDB":
        return "table"
    return f"{engine} table"


def without_next_number(text: str) -> str:
    """Return a text that does not change with every inserted row."""
    return _NEXT_NUMBER.sub(r"\1", text)


def statement_of_temporary_table(text: str, name: str, further: str = "") -> str:
    """Return the statement that creates a temporary table like another one.

    It has no foreign keys and no FULLTEXT indexes, which a temporary table cannot have.

    :param text: the text of the other table.
    :param name: the quoted name of the temporary table.
    :param further: an index that it has in addition.
    """
    items = []
    for words in _items_of(text):
        is_foreign_key = words[0] == "CONSTRAINT" and words[2] == "FOREIGN"
        if not is_foreign_key and words[0] not in ("FULLTEXT", "VECTOR"):
            items.append(" ".join(words))
    if further:
        items.append(further)
    options = _NOT_TEMPORARY.sub("", text.rpartition("\n)")[2])
    return f"CREATE TEMPORARY TABLE {name} ({', '.join(items)}){options}"


def _lines(text: str) -> list[str]:
    """Return the lines after the first one, which only names the table."""
    return text.split("\n")[1:]


def _items_of(text: str) -> list[list[str]]:
    """Return the words of each column, index and constraint; each has its own line."""
    return [
        split_sql(line.strip().rstrip(","), r"\S+", QUOTED)
        for line in _lines(text)
        if line.startswith("  ")
    ]


def for_temporary_table(sql: str) -> str:
    """Return a CREATE TABLE of one line without what a temporary table cannot have."""
    start = masked(sql, QUOTED).index("(") + 1
    end = masked(sql, QUOTED).rindex(")")
    items = []
    for item in split_sql(sql[start:end], "[^,]+", QUOTED):
        is_named = item.startswith("CONSTRAINT ") and " FOREIGN KEY " in item
        is_foreign_key = is_named or item.startswith("FOREIGN KEY ")
        if not is_foreign_key and not item.startswith("FULLTEXT INDEX "):
            items.append(item)
    options = _NOT_TEMPORARY.sub("", sql[end:])
    return f"{sql[:start]}{', '.join(items)}{options}"


class CreateTableText(ABC):
    """A text of SHOW CREATE TABLE; a subclass knows how a server writes it."""

    def __init__(self, text: str) -> None:
        self.text = text
        # The words of each column, index and constraint.
        self.items = _items_of(text)
        # What follows them, such as ENGINE=InnoDB.
        options = [line for line in _lines(text) if not line.startswith("  ")]
        self.options = masked(" ".join(options), QUOTED)

    def table(self, name: str) -> Table:
        """Return the table, or what else has its name.

        :raises ChangeRefused: it is a temporary table.
        """
        if self.text.startswith("CREATE TEMPORARY"):
            raise ChangeRefused(
                f"the temporary table {name} hides the real one on this connection; "
                "drop it, then run again"
            )
        if not self.text.startswith("CREATE TABLE"):
            return Table(name, "view")
        columns = {}
        indexes = []
        primary_key: tuple[str, ...] = ()
        foreign_keys = []
        checks = []
        for words in self.items:
            if words[0].startswith("`"):
                column = self.column(words)
                columns[NAMES.key(column.name)] = column
                checks += self.checks_of_column(words)
            elif words[0] == "CONSTRAINT" and words[2] == "FOREIGN":
                foreign_keys.append(self.foreign_key(words))
            elif words[0] == "CONSTRAINT" and words[2] == "CHECK":
                checks.append(self.check(words))
            elif words[:2] == ["PRIMARY", "KEY"]:
                primary_key = self.index(words).columns
            elif "KEY" in words[:2]:
                indexes.append(self.index(words))
        return Table(
            name=name,
            kind=self.kind(),
            columns=columns,
            primary_key=primary_key,
            indexes=tuple(indexes),
            foreign_keys=tuple(foreign_keys),
            checks=tuple(checks),
            names=NAMES,
        )

    def kind(self) -> str:
        """Return what kind of table it is; only those of InnoDB keep foreign keys."""
        if "PARTITION BY" in self.options:
            return "partitioned table"
        return kind_of_table(self.options.partition("ENGINE=")[2].split(" ")[0])

    def usual_collation(self) -> str:
        """Return the collation of columns that are created without one."""
        return self.collation(self.options)

    # -- columns

    def column(self, words: list[str]) -> Column:
        """Return the column of some words."""
        clauses = self._clauses(words)
        type_text = re.split(" CHARACTER SET | COLLATE ", clauses[""])[0]
        type_ = self.type_of_column(parse_type(type_text), words[0], clauses)
        default = None
        clause = clauses.get("DEFAULT", "DEFAULT NULL")
        if clause != "DEFAULT NULL":
            default = self.default(clause.removeprefix("DEFAULT "), type_)
        collation = None
        if self.has_collation(type_):
            collation = self.collation(clauses[""]) or self.usual_collation()
        return Column(
            name=unquoted(words[0]),
            type=type_,
            null="NOT" not in clauses,
            default=default,
            auto_increment="AUTO_INCREMENT" in clauses,
            generated="GENERATED" in clauses,
            collation=collation,
            attributes=tuple(clauses[kind] for kind in _ATTRIBUTES if kind in clauses),
        )

    def clauses(self, column: str) -> dict[str, str]:
        """Return the clauses of a column as they stand there, by their first words.

        "" for the type with its collation; NOT, DEFAULT, COMMENT, CHECK …

        :param column: its name, in whatever case.
        """
        key = NAMES.key(column)
        for words in self.items:
            if words[0].startswith("`") and NAMES.key(unquoted(words[0])) == key:
                return self._clauses(words)
        raise KeyError(column)

    def _clauses(self, words: list[str]) -> dict[str, str]:
        definition = " ".join(words[1:])
        clauses = {}
        keyword = ""
        start = 0
        for found in _CLAUSE.finditer(masked(definition, QUOTED)):
            clauses[keyword] = definition[start : found.start()].strip()
            keyword = found[1]
            start = found.start()
        clauses[keyword] = definition[start:].strip()
        return clauses

    # -- indexes and constraints

    def index(self, words: list[str]) -> Index:
        """Return the index of some words; the primary key is one as well."""
        position = 0
        while not words[position].startswith("("):
            position += 1
        name = ""
        if words[0] != "PRIMARY":
            name = unquoted(words[position - 1])
        suffix = ""
        if words[0] not in ("PRIMARY", "UNIQUE", "KEY"):
            suffix = f" {words[0]}"  # FULLTEXT, SPATIAL
        elif not _UNUSED.isdisjoint(words[position:]):
            suffix = " IGNORED"  # it is kept up to date, and no query uses it
        columns = tuple(part + suffix for part in _columns(words[position]))
        definition = ""
        if columns != _plain_columns(words[position]):
            definition = " ".join(words)
        unique = words[0] == "UNIQUE"
        return Index(name, columns, unique=unique, definition=definition)

    def foreign_key(self, words: list[str]) -> ForeignKey:
        """Return the foreign key of some words."""
        # CONSTRAINT name FOREIGN KEY (columns) REFERENCES parent (columns) ...
        _, name, _, _, columns, _, parent, parent_columns, *_ = words
        actions = dict(_ACTION.findall(masked(" ".join(words), QUOTED)))
        return ForeignKey(
            columns=_columns(columns),
            # With the name of its database, if that is another one.
            parent=".".join(unquoted(name) for name in re.findall(_NAME, parent)),
            parent_columns=_columns(parent_columns),
            on_delete=actions.get("DELETE", "NO ACTION"),
            on_update=actions.get("UPDATE", "NO ACTION"),
            name=unquoted(name),
        )

    def check(self, words: list[str]) -> Check:
        """Return the CHECK constraint of some words."""
        _, name, _, condition, *_ = words  # CONSTRAINT name CHECK (condition)
        return Check(unquoted(name), condition[1:-1])

    # -- what the servers write in different ways

    def type_of_column(
        self, type_: Type, name: str, clauses: Mapping[str, str]
    ) -> Type:
        """Return the type of a column, which its clauses may tell more about.

        :param type_: the type that is shown.
        :param name: the quoted name of the column.
        """
        return type_

    def checks_of_column(self, words: list[str]) -> list[Check]:
        """Return the CHECK constraints that are written as a part of a column."""
        return []

    def has_collation(self, type_: Type) -> bool:
        """Whether columns of a type have a collation."""
        return type_.category in _WITH_COLLATION

    @abstractmethod
    def default(self, shown: str, type_: Type) -> str:
        """Return a DEFAULT as standard SQL, in whose strings a quote is written twice.

        :param shown: the DEFAULT as the server shows it.
        """

    def collation(self, sql: str) -> str:
        """Return the last collation that some SQL names, or ""."""
        found: list[str] = _COLLATION.findall(sql)
        if found:
            return found[-1]
        return ""


@functools.lru_cache(512)
def parsed_table(text_class: type[CreateTableText], name: str, text: str) -> Table:
    """Return the table of a text; each text is parsed once per process."""
    return text_class(text).table(name)


def _columns(group: str) -> tuple[str, ...]:
    """Return the parts of a key: keys of names, with what makes one not plain."""

    def name(found: re.Match[str]) -> str:
        return NAMES.key(unquoted(found[0]))

    parts = split_sql(group[1:-1], "[^,]+", QUOTED)
    return tuple(re.sub(_NAME, name, part) for part in parts)


def _plain_columns(group: str) -> tuple[str, ...]:
    """Return the parts of a key that are nothing but names, as keys of names."""
    parts = split_sql(group[1:-1], "[^,]+", QUOTED)
    names = [part for part in parts if re.fullmatch(_NAME, part)]
    return tuple(NAMES.key(unquoted(name)) for name in names)


def attribute_meaning(text: str) -> str | None:
    """Return a comparable form of ON UPDATE or COMMENT; None if it is neither."""
    found = _ON_UPDATE.fullmatch(text)
    if found is not None:
        digits = int(found["digits"] or 0)
        return f"ON UPDATE CURRENT_TIMESTAMP({digits})"
    found = _COMMENT.fullmatch(text)
    if found is not None:
        quoted = found[1]
        if quoted.startswith('"'):
            quoted = literal(quoted[1:-1].replace('""', '"'))
        return f"COMMENT {standard_strings(quoted)}"
    return None


def standard_strings(expression: str) -> str:
    r"""Return SQL in whose strings a quote is written twice, as in standard SQL.

    The servers write it so in a literal DEFAULT, but `\'` in an expression, which on
    MySQL the DEFAULT of a TEXT is. They write the end of a line as `\n`.
    """

    def unescaped(found: re.Match[str]) -> str:
        return _UNESCAPED.get(found[0], found[0])

    return re.sub(r"\\.", unescaped, expression)
