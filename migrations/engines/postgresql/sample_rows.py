"""The rows of the smoke test on PostgreSQL.

The server reads a literal without a type as whatever type it is cast to. So a list of
texts is tried for each column, and the server says which of them fit.
"""

from __future__ import annotations

import re
import string
import uuid
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from migrations.engines.postgresql import catalog_queries
from migrations.engines.postgresql.catalog import PostgreSQLCatalog
from migrations.engines.postgresql.session import PostgreSQLSession, sqlstate
from migrations.engines.sample_rows import (
    SampleRow,
    SampleRows,
    random_below,
    random_datetime,
    random_ip_address,
    random_number,
    random_string,
    random_text,
)
from migrations.schema import Column, Table
from migrations.sql_text import literal

# Which of some values fit a type and conditions. An error that is caught writes no line
# to the server's log. WHEN OTHERS does not catch a cancellation.
_FIND_FITTING = """
DO $smoke_test$
DECLARE given text[] := ARRAY[{values}]; fit int[] := '{{}}'; fits boolean;
BEGIN
    FOR at IN 1 .. cardinality(given) LOOP
        BEGIN
            EXECUTE 'SELECT EXISTS (SELECT FROM (SELECT ' || given[at] || {rest} || ')'
            INTO fits;
            IF fits THEN fit := fit || (at - 1); END IF;
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    PERFORM set_config('smoke_test.fit', fit::text, true);
END $smoke_test$"""
_FITTING = "SELECT unnest(current_setting('smoke_test.fit')::int[])"
# With the random ones, some of these texts fit each type that PostgreSQL itself has.
_FIXED_TEXTS = (
    "1",
    "0",
    "0.5",
    "{}",
    "1:1:",
    "$",
    "<x/>",
    "(0,0)",
    "{1,1,1}",
    "[(0,0),(1,1)]",
    "(1,1),(0,0)",
    "((0,0))",
    "<(0,0),1>",
    "2000-01-03 08:00:00",
    "2000-01-09 17:00:00",
)
_READ_ONLY_TRANSACTION = "25006"
# A published table without a REPLICA IDENTITY accepts no UPDATE and DELETE.
_NOT_IN_PREREQUISITE_STATE = "55000"


class _ColumnType(NamedTuple):
    """The type of a column, as the smoke test needs it."""

    text: str
    checks: list[str]  # the CHECK constraints of its domain
    texts: list[str]  # that may be values


class _Rule(NamedTuple):
    """A CHECK constraint."""

    columns: set[str]
    condition: str  # true where the constraint accepts a row


class PostgreSQLSampleRows(SampleRows):
    """Makes the rows of a smoke test on PostgreSQL."""

    session: PostgreSQLSession
    overriding = " OVERRIDING SYSTEM VALUE"

    def __init__(self, catalog: PostgreSQLCatalog) -> None:
        super().__init__(catalog)
        self._types: dict[str, dict[str, _ColumnType]] = {}  # by table and column
        # By kind of column: the positions of the values that fit it.
        self._fitting: dict[tuple[object, ...], list[int]] = {}

    def checked_columns(self, table: Table) -> set[str]:
        columns: set[str] = set()
        for rule in _rules(table):
            columns |= rule.columns
        return columns

    def candidate_values(
        self, table: Table, column: Column, size: int, row: SampleRow
    ) -> list[str]:
        name = column.name.lower()
        type_ = self._column_type(table, name)
        rules: list[_Rule] = []
        if name in self.checked_columns(table):
            rules = _rules(table)
        conditions = [*type_.checks, *(rule.condition for rule in rules)]
        suggested = _suggested_values(conditions, type_.text)

        def draw() -> list[str]:
            texts = [*_random_texts(size), *_FIXED_TEXTS, *type_.texts]
            values = [*suggested, *(literal(text) for text in texts)]
            if column.null:
                values.append("NULL")
            return [f"CAST({value} AS {type_.text})" for value in values]

        values = draw()
        rest = self._rest_of_query(table, name, row, rules)
        kind = (type_.text, size, column.null, rest if rules else "")
        if kind not in self._fitting:
            fitting = self._find_fitting(values, draw(), rest)
            if not suggested:  # any value will do, so a random one is better
                number = len(_random_texts(size))
                random = [position for position in fitting if position < number]
                fitting = random or fitting
            self._fitting[kind] = fitting
        return [values[position] for position in self._fitting[kind]]

    def _column_type(self, table: Table, name: str) -> _ColumnType:
        if table.name not in self._types:
            rows = self.session.query(catalog_queries.COLUMN_TYPES, (table.name,))
            types = {}
            for column, text, checks, texts in rows:
                types[column.lower()] = _ColumnType(text, checks, texts)
            self._types[table.name] = types
        return self._types[table.name][name]

    def _rest_of_query(
        self, table: Table, name: str, row: SampleRow, rules: Sequence[_Rule]
    ) -> str:
        """Return how `SELECT FROM (SELECT value` goes on, to ask if the value fits.

        A rule is asked about if the row has the other columns that it names.
        """
        rules = [rule for rule in rules if name in rule.columns]
        named = {other for rule in rules for other in rule.columns}
        known = [other for other in row if other in named]
        columns = [f" AS {self.quoted_column(table, name)}"]
        columns += [
            f"{row[other]} AS {self.quoted_column(table, other)}" for other in known
        ]
        # A condition on the value itself, which is true, so that it is computed.
        conditions = [f"num_nulls({self.quoted_column(table, name)}) < 2"]
        conditions += [
            rule.condition for rule in rules if rule.columns <= {name, *known}
        ]
        return f"{', '.join(columns)}) AS t WHERE {' AND '.join(conditions)}"

    def _find_fitting(
        self, values: Sequence[str], others: Sequence[str], rest: str
    ) -> list[int]:
        """Return the positions at which both a value and another random one fit.

        One random number in thirty reads as a date, too.
        """
        both = [*values, *others]
        texts = ", ".join(literal(value) for value in both)
        self.execute(_FIND_FITTING.format(values=texts, rest=literal(rest)))
        found = {position for (position,) in self.session.query_literally(_FITTING)}
        return [
            position
            for position in range(len(values))
            if {position, position + len(values)} <= found
        ]

    def is_refusal(self, error: Exception) -> bool:
        code = sqlstate(error)
        if code == _NOT_IN_PREREQUISITE_STATE:
            return True
        if code == _READ_ONLY_TRANSACTION:
            return False
        return super().is_refusal(error)

    def reason_not_to_try(self) -> str:
        query = catalog_queries.TABLES_WITH_ROW_SECURITY
        hidden = self.session.query_texts(query, list(self.tables))
        if not hidden:
            return ""
        return f"row-level security hides rows of {' and '.join(hidden)} from this user"

    def tables_scanned_on_delete(self, table: str) -> list[str]:
        query = catalog_queries.TABLES_SCANNED_ON_DELETE
        return self.session.query_texts(query, table)

    def checked_at_commit(self, table: Table) -> bool:
        return False  # the transaction of the smoke test makes all of them IMMEDIATE


def _random_texts(size: int) -> list[str]:
    """Return a random text for each of many types, always in the same order."""
    number = random_number()
    day = random_datetime()
    low = random_below(2**30)
    return [
        random_text(size),
        str(uuid.uuid4()),
        random_number(size),
        random_number(2),
        day,
        random_ip_address(),
        f"{low % 100}.{low // 100 % 100:02}",  # numeric(4,2)
        f"0.{low:010}",
        f"{low:060b}"[::-1],  # bit strings
        f'"{random_text()}"',  # JSON
        f"[{number},{number}]",  # ranges
        f"[{day},{day}]",
        f"{{{number}}}",  # arrays
        f"{low:X}/{low:X}",  # pg_lsn
        f"({low},1)",  # points, tid
        f"{low} {number}",
        f"02{low % 2**16:04x}:{low % 2**24:06x}",  # macaddr
    ]


def _rules(table: Table) -> list[_Rule]:
    """Return the CHECK constraints of a table.

    Without those that name a generated column, whose value only the table knows.
    """
    rules = []
    for check in table.checks:
        condition = check.condition.lower()
        words = {*re.findall(r"\w+", condition), *re.findall('"([^"]+)"', condition)}
        columns = words & table.columns.keys()
        if not any(table.columns[name].generated for name in columns):
            rules.append(_Rule(columns, f"({check.condition}) IS NOT FALSE"))
    return rules


def _suggested_values(conditions: Iterable[str], type_: str) -> list[str]:
    """Return values that conditions may demand.

    The literals they name, what is next to those, and texts of the patterns and of the
    lengths they name.
    """
    text = " ".join(conditions)
    literals = re.findall("'(?:[^']|'')*'", text)
    numbers = re.findall(r"(?<![\w.])\d+(?:\.\d+)?", text)
    named = [f"CAST({each} AS {type_})" for each in literals] + numbers
    neighbours = []
    for value in named:
        neighbours += [f"{value} + 1", f"{value} - 1", f"{value} + 0.01"]
    matching = [_matching(each) for each in literals if "%" in each]
    return [*named, *neighbours, *matching, *_texts_of_lengths(numbers)]


def _matching(pattern: str) -> str:
    """Return a random text that a pattern of LIKE matches."""
    return pattern.replace("_", "a").replace("%", random_text(8))


def _texts_of_lengths(numbers: Iterable[str]) -> list[str]:
    """Return strings as long as the numbers say, and of one character more."""
    texts = []
    for number in numbers:
        if number.isdigit() and int(number) < 256:
            texts += _texts_of_length(int(number))
            texts += _texts_of_length(int(number) + 1)
    return texts


def _texts_of_length(size: int) -> list[str]:
    alphabets = (string.digits, string.ascii_uppercase, string.ascii_lowercase)
    return [literal(random_string(size, alphabet)) for alphabet in alphabets]
