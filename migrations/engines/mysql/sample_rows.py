"""The rows of the smoke test on MariaDB and MySQL."""

from __future__ import annotations

import re
import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterable
from decimal import Decimal

from migrations.engines.mysql.nontransactional import tables_without_transactions
from migrations.engines.mysql.server_errors import (
    CHECK_VIOLATED,
    DISCONNECTED,
    DOES_NOT_EXIST,
    INTERRUPTED,
    LOCKED,
    READ_ONLY,
    VALUE_ERRORS,
    error_code,
)
from migrations.engines.mysql.session import MySQLFamilySession
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


def _random_date() -> str:
    return random_datetime().partition(" ")[0]


def _random_time() -> str:
    return random_datetime().partition(" ")[2]


def _random_year() -> str:
    return str(1901 + random_below(255))  # https://mariadb.com/kb/en/year-data-type/


def _random_uuid() -> str:
    return str(uuid.uuid4())


def _random_ipv6_address() -> str:
    return f"::{random_ip_address()}"


# By the first word of a type.
_RANDOM: dict[str, Callable[[], str]] = {
    "date": _random_date,
    "time": _random_time,
    "datetime": random_datetime,
    "timestamp": random_datetime,
    "year": _random_year,
    "uuid": _random_uuid,
    "inet4": random_ip_address,
    "inet6": _random_ipv6_address,
}
_SHAPES = {
    "geometry": "POINT(0 0)",
    "point": "POINT(0 0)",
    "linestring": "LINESTRING(0 0,1 1)",
    "polygon": "POLYGON((0 0,0 1,1 1,0 0))",
    "multipoint": "MULTIPOINT(0 0)",
    "multilinestring": "MULTILINESTRING((0 0,1 1))",
    "multipolygon": "MULTIPOLYGON(((0 0,0 1,1 1,0 0)))",
    "geometrycollection": "GEOMETRYCOLLECTION(POINT(0 0))",
    "geomcollection": "GEOMETRYCOLLECTION(POINT(0 0))",
}
_MOST_RANDOM_DIGITS = 15
_MOST_RANDOM_BITS = 60
# Errors that are not about the row: of a lock, the connection, a limit or a right.
_NOT_ABOUT_THE_ROW = LOCKED | {DOES_NOT_EXIST} | INTERRUPTED | DISCONNECTED | READ_ONLY


class MySQLFamilySampleRows(SampleRows):
    """Makes the rows of one smoke test."""

    session: MySQLFamilySession

    def candidate_values(
        self, table: Table, column: Column, size: int, row: SampleRow
    ) -> list[str]:
        text = column.type.text.lower()
        word = re.split(r"[ (]", text)[0]
        if column.auto_increment:
            if "unsigned" in text:
                return self._free_ids(table, column)
            # A positive one would move the next number for good.
            return [f"-{random_number(size)}"]
        if word in ("enum", "set"):
            return re.findall("'(?:[^']|'')*'", column.type.text)
        if word in _SHAPES:
            return [f"ST_GeomFromText('{_SHAPES[word]}')"]
        if word == "vector":
            # The servers read a text by functions of different names.
            (dimensions,) = _numbers(text)
            zero = "00000000"  # the four bytes of a FLOAT
            return [f"x'{zero * dimensions}'"]
        number = self._random_number_of(column, word, size)
        if number:
            return [number]
        if word == "binary":
            # A shorter one would be padded with zero bytes, and not be found again.
            (length,) = _numbers(text)
            return [f"RPAD('{random_text(size)}', {length}, 'x')"]
        if word in _RANDOM:
            return [literal(_RANDOM[word]())]
        return [literal(random_text(size))]

    def _free_ids(self, table: Table, column: Column) -> list[str]:
        """Return ids below existing ones, which do not move the next number.

        Only for tables of the phase: what a key refers to must not be 0.
        """
        if table.name not in self.catalog.models.managed:
            return []
        name = self.quote(column.name)
        rows = self.session.query(
            f"SELECT {name} FROM {self.quote(table.name)} ORDER BY {name} LIMIT 500"
        )
        used = [number for (number,) in rows]
        last = max(used, default=0)
        return [str(number) for number in range(last + 1) if number not in used]

    def reason_not_to_try(self) -> str:
        """Return which tables keep rows although a transaction is rolled back.

        Those of the phase, and those that their triggers write to.
        """
        found = tables_without_transactions(self.session, self.tables)
        if not found:
            return ""
        return (
            f"{' and '.join(found)}: rows would stay, because its storage engine has "
            "no transactions"
        )

    def _random_number_of(self, column: Column, word: str, size: int) -> str:
        """Return a number that a column accepts; "" if it is not one of numbers."""
        text = column.type.text
        if column.type.scale is not None:
            digits, scale = _numbers(text)
            units = random_below(10 ** min(digits, _MOST_RANDOM_DIGITS))
            return f"{Decimal(units).scaleb(-scale):f}"
        if column.type.category in ("integer", "float"):
            return random_number(size)
        if word == "bit":
            (bits,) = _numbers(text)
            return str(random_below(2 ** min(bits, _MOST_RANDOM_BITS)))
        return ""

    def copied_values(
        self, table: Table, names: Iterable[str], source: str
    ) -> list[str]:
        """Return them as literals.

        An INSERT that selects from a row locks it, and waits for who has it locked.
        """
        literals = [self.literal_of(table.columns[name]) for name in names]
        rows = self.session.query(f"SELECT {', '.join(literals)} {source}")
        return [str(value) for row in rows for value in row]

    @abstractmethod
    def literal_of(self, column: Column) -> str:
        """Return an expression for a column's value as a literal of SQL."""

    def refused_by_expression(self, table: Table, error: Exception) -> bool:
        code = error_code(error)
        if code in CHECK_VIOLATED:
            return True
        is_generated = any(column.generated for column in table.columns.values())
        return is_generated and code in VALUE_ERRORS

    def is_refusal(self, error: Exception) -> bool:
        return error_code(error) not in _NOT_ABOUT_THE_ROW

    def checked_at_commit(self, table: Table, row: SampleRow) -> bool:
        return False  # InnoDB checks every key at once


def _numbers(type_text: str) -> list[int]:
    """Return the numbers in the parentheses of a type."""
    return [int(number) for number in re.findall(r"\d+", type_text)]
