"""The rows of the smoke test on PostgreSQL.

The server reads a literal without a type as whatever type it is cast to. So a list of
texts is tried for each column, and the server says which of them fit.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import NamedTuple

from migrations.engines.checked_values import (
    Candidate,
    Rule,
    checked_columns,
    constant,
    rules,
    suggested_values,
)
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
    random_text,
)
from migrations.schema import Column, Table
from migrations.sql_text import literal

# Stands for a value in a query. No condition that PostgreSQL prints has a comment.
_VALUE = "/* the value */"
# Which of some values a query accepts. An error that is caught writes no line to the
# server's log. WHEN OTHERS does not catch a cancellation.
_FIND_FITTING = """
DO $smoke_test$
DECLARE
    fit_query text := {query};
    candidate text;
    fits boolean;
    fitting text[] := '{{}}';
BEGIN
    FOREACH candidate IN ARRAY ARRAY[{values}] LOOP
        BEGIN
            EXECUTE replace(fit_query, {placeholder}, candidate) INTO fits;
            IF fits THEN fitting := fitting || candidate; END IF;
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    PERFORM set_config('smoke_test.fitting', fitting::text, true);
END $smoke_test$"""
_FITTING = "SELECT unnest(current_setting('smoke_test.fitting')::text[])"
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
_CHECK_VIOLATION = "23514"
_DATA_EXCEPTION = "22"  # the class of such errors
# A published table without a REPLICA IDENTITY accepts no UPDATE and DELETE.
_NOT_IN_PREREQUISITE_STATE = "55000"


# A whole row in a condition, as PostgreSQL writes it.
_WHOLE_ROW = re.compile(r'[\w"][.][*]')


class _ColumnType(NamedTuple):
    """The type of a column, as the smoke test needs it."""

    text: str
    checks: list[str]  # the CHECK constraints of its domain
    texts: list[str]  # that may be values


class PostgreSQLSampleRows(SampleRows):
    """Makes the rows of a smoke test on PostgreSQL."""

    session: PostgreSQLSession
    overriding = " OVERRIDING SYSTEM VALUE"

    def __init__(self, catalog: PostgreSQLCatalog) -> None:
        super().__init__(catalog)
        self._types: dict[str, dict[str, _ColumnType]] = {}  # by table and column
        # By kind of column: the names of the candidates that fit it.
        self._fitting: dict[tuple[object, ...], set[str]] = {}

    def checked_columns(self, table: Table) -> set[str]:
        if any(_WHOLE_ROW.search(check.condition) for check in table.checks):
            return set(table.columns)
        return checked_columns(table)

    def candidate_values(
        self, table: Table, column: Column, size: int, row: SampleRow
    ) -> list[str]:
        name = column.name
        type_ = self._column_type(table, name)
        rules_of_table: list[Rule] = []
        if name in self.checked_columns(table):
            rules_of_table = rules(table)
        conditions = [*type_.checks, *(rule.condition for rule in rules_of_table)]
        suggested = suggested_values(conditions, f"CAST({{}} AS {type_.text})")

        def draw() -> list[Candidate]:
            """Return the candidates, with other random texts each time."""
            drawn = [*suggested, *_candidates_of_any_type(size)]
            drawn += [constant(literal(text)) for text in type_.texts]
            if column.null:
                drawn.append(constant("NULL"))
            return [_cast(candidate, type_.text) for candidate in drawn]

        candidates = draw()
        query = self._fit_query(table, name, row, rules_of_table)
        kind: tuple[object, ...] = (type_.text, size, column.null)
        if rules_of_table:
            kind = (*kind, query)
        if kind not in self._fitting:
            fitting = self._find_fitting(query, candidates, draw())
            if not suggested:  # any value will do, so a random one is better
                random_names = {each.name for each in candidates if each.is_random}
                fitting = (fitting & random_names) or fitting
            self._fitting[kind] = fitting
        return [each.sql for each in candidates if each.name in self._fitting[kind]]

    def _column_type(self, table: Table, name: str) -> _ColumnType:
        if table.name not in self._types:
            rows = self.session.query(catalog_queries.COLUMN_TYPES, (table.name,))
            types = {}
            for column, text, checks, texts in rows:
                types[column] = _ColumnType(text, checks, texts)
            self._types[table.name] = types
        return self._types[table.name][name]

    def _fit_query(
        self, table: Table, name: str, row: SampleRow, rules_of_table: Sequence[Rule]
    ) -> str:
        """Return a query that is true if a value, written `_VALUE`, fits a column.

        It asks the rules whose other columns the row has.
        """
        about_it = [rule for rule in rules_of_table if name in rule.columns]
        named = {other for rule in about_it for other in rule.columns}
        known = [other for other in row if other in named]
        quoted_name = self.quoted_column(table, name)
        columns = [f"{_VALUE} AS {quoted_name}"]
        columns += [
            f"{row[other]} AS {self.quoted_column(table, other)}" for other in known
        ]
        # Always true of one value; the server computes the value to find that out.
        conditions = [f"num_nulls({quoted_name}) < 2"]
        conditions += [
            rule.condition for rule in about_it if rule.columns <= {name, *known}
        ]
        return (
            f"SELECT EXISTS (SELECT FROM (SELECT {', '.join(columns)}) AS t "
            f"WHERE {' AND '.join(conditions)})"
        )

    def _find_fitting(
        self, query: str, candidates: Sequence[Candidate], others: Sequence[Candidate]
    ) -> set[str]:
        """Return the names of candidates that fit, and whose others fit as well.

        One random number in thirty reads as a date, too.
        """
        values = [literal(each.sql) for each in (*candidates, *others)]
        self.execute(
            _FIND_FITTING.format(
                query=literal(query),
                placeholder=literal(_VALUE),
                values=", ".join(values),
            )
        )
        found = {value for (value,) in self.session.query(_FITTING)}
        fitting = {each.name for each in candidates if each.sql in found}
        return fitting & {each.name for each in others if each.sql in found}

    def is_refusal(self, error: Exception) -> bool:
        code = sqlstate(error)
        if code == _NOT_IN_PREREQUISITE_STATE:
            return True
        if code == _READ_ONLY_TRANSACTION:
            return False
        return super().is_refusal(error)

    def refused_by_expression(self, table: Table, error: Exception) -> bool:
        code = sqlstate(error)
        if code == _CHECK_VIOLATION:
            return True
        is_generated = any(column.generated for column in table.columns.values())
        return is_generated and code.startswith(_DATA_EXCEPTION)

    def reason_not_to_try(self) -> str:
        query = catalog_queries.TABLES_WITH_ROW_SECURITY
        hidden = self.session.query_texts(query, list(self.tables))
        if not hidden:
            return ""
        return f"row-level security hides rows of {' and '.join(hidden)} from this user"

    def tables_scanned_on_delete(self, table: str) -> list[str]:
        query = catalog_queries.TABLES_SCANNED_ON_DELETE
        return self.session.query_texts(query, table)

    def checked_at_commit(self, table: Table, row: SampleRow) -> bool:
        return False  # the transaction of the smoke test makes all of them IMMEDIATE


def _cast(candidate: Candidate, type_: str) -> Candidate:
    return candidate._replace(sql=f"CAST({candidate.sql} AS {type_})")


def _candidates_of_any_type(size: int) -> list[Candidate]:
    """Return a random value of each of many types, then some fixed ones."""
    candidates = []
    for name, text in _random_texts(size).items():
        candidates.append(Candidate(name, literal(text), is_random=True))
    candidates += [constant(literal(text)) for text in _FIXED_TEXTS]
    return candidates


def _random_texts(size: int) -> dict[str, str]:
    """Return a random text for each of many types, by a name for it."""
    number = random_number()
    day = random_datetime()
    low = random_below(2**30)
    return {
        "text": random_text(size),
        "uuid": str(uuid.uuid4()),
        "number": random_number(size),
        "smallint": random_number(2),
        "timestamp": day,
        "inet": random_ip_address(),
        "numeric(4,2)": f"{low % 100}.{low // 100 % 100:02}",
        "fraction": f"0.{low:010}",
        "bit string": f"{low:060b}"[::-1],
        "json": f'"{random_text()}"',
        "range of numbers": f"[{number},{number}]",
        "range of timestamps": f"[{day},{day}]",
        "array": f"{{{number}}}",
        "hstore": f"{number}=>1",
        "pg_lsn": f"{low:X}/{low:X}",
        "point or tid": f"({low},1)",
        "two numbers": f"{low} {number}",
        "macaddr": f"02{low % 2**16:04x}:{low % 2**24:06x}",
    }
