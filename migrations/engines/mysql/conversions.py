"""SQL about values on MariaDB: what conversions lose, and which rows have no parent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from migrations.engines.conversions import Conversions
from migrations.engines.mysql.catalog import MySQLFamilyCatalog
from migrations.engines.mysql.column_types import (
    STRINGS,
    is_single_precision,
    is_unsigned,
)
from migrations.engines.mysql.session import MySQLFamilySession
from migrations.schema import Column, ForeignKey, Type

# A number with all digits that any type of a number or its text may have.
_EXACT_NUMBER = "DECIMAL(65, 30)"
# What reads as a number, with the leading zeros of ZEROFILL.
_ANY_NUMBER = "^(-?[0-9]+([.][0-9]*)?(e[+-]?[0-9]+)?)\\\\z"
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = "[0-9]{2}:[0-5][0-9]:[0-5][0-9]"
_ZERO_FRACTION = "([.]0*)?"
# The patterns end with \\z, as $ also matches before a last end of line.
# By category, the type for CAST that has every value of such a column.
_CASTS = {
    "integer": "SIGNED",
    "float": "DOUBLE",
    "decimal": "DECIMAL({size}, {scale})",
    "date": "DATE",
    "time": "TIME(6)",
    "datetime": "DATETIME(6)",
    "blob": "BINARY",
}


# A part of an index that is the beginning of a column.
_PREFIX = re.compile(r"(?P<name>`(?:[^`]|``)*`|\w+)\((?P<length>\d+)\)")
# Writes the condition under which a value of the first type fits into the second.
FitsCondition = Callable[[str, Type, Type], str]
# Categories whose values have the right meaning as a text only.
_ONLY_TO_TEXT = ("enum", "set", "uuid", "inet4", "inet6")
# Categories whose values have a text that people have read. A POINT or a VECTOR is
# bytes of a form of the server's own, and CAST refuses it.
_WITH_TEXT = frozenset(
    {
        *STRINGS,
        *_ONLY_TO_TEXT,
        "integer",
        "float",
        "decimal",
        "bit",
        "blob",
        "json",
        "date",
        "time",
        "datetime",
        "timestamp",
        "year",
    }
)


class MySQLFamilyConversions(Conversions):
    """Writes conditions and expressions."""

    catalog: MySQLFamilyCatalog
    session: MySQLFamilySession

    def lossy_condition(self, value: str, source: Type, target: Type) -> str:
        if source.category not in _WITH_TEXT:
            return f"{value} IS NOT NULL"
        condition = "FALSE"
        fits = self.fits().get(target.category)
        if fits is not None:
            condition = fits(_readable(value, source), source, target)
        if is_converted_by_text(source, target) and source.category == "float":
            # The text has six digits of a FLOAT, which may have more.
            condition += f" AND CAST({_text(value)} AS FLOAT) = {value}"
        # What the server cannot read as that type may become NULL in a condition.
        return f"{value} IS NOT NULL AND NOT coalesce({condition}, FALSE)"

    def fits(self) -> Mapping[str, FitsCondition]:
        """Return the functions that write when a value fits, by category."""
        return FITS

    def unfit_condition(self, value: str, target: Type) -> str:
        """Neither is a text a number that does not read as one; CAST makes 0 of it."""
        condition = super().unfit_condition(value, target)
        if target.category not in ("integer", "decimal", "float"):
            return condition
        return f"{condition} OR {_text(value)} NOT REGEXP '{_ANY_NUMBER}'"

    def exact_number(self, value: str) -> str:
        return _exact_number(value)

    def cast(self, value: str, target: Type) -> str:
        return cast_to(escape_backslashes(value), target)

    def converted(self, value: str, source: Type, target: Type) -> str:
        if source.category in STRINGS and target.category in STRINGS:
            return value  # and keeps its collation
        if source.category not in _WITH_TEXT:
            return "NULL"
        value = _readable(value, source)
        if target.category in STRINGS:
            return _text(value)
        if is_converted_by_text(source, target):
            value = _text(value)
        return cast_to(value, target)

    def with_collation(self, value: str, actual: Column, planned: Column) -> str:
        if planned.collation:  # of the parent that the column will refer to
            return in_collation(value, planned.collation)
        return value

    def key_expression(self, part: str) -> str:
        """What a part compares: of `name(10)` the first ten characters."""
        expression = super().key_expression(part)
        prefix = _PREFIX.fullmatch(expression)
        if prefix is None:
            return expression
        return f"LEFT({prefix['name']}, {prefix['length']})"

    def orphan_condition(
        self,
        values: Sequence[str],
        key: ForeignKey,
        child_source: str,
        parent_source: str,
    ) -> str:
        """The values are compared in the collations of the parent's columns.

        In another one, the index of the parent would not be used.
        """
        compared = []
        for value, name in zip(values, key.parent_columns):
            collation = self._collation_of_parent(key.parent, name)
            if collation:
                value = in_collation(value, collation)
            compared.append(value)
        return super().orphan_condition(compared, key, child_source, parent_source)

    def _collation_of_parent(self, table: str, column: str) -> str | None:
        """Return the collation of a column that is referred to, if it is a string."""
        parent = self.catalog.tables([table]).get(table)
        existing = parent and parent.columns.get(column)
        if existing and existing.collation:
            return existing.collation
        if table in self.catalog.models.by_table:
            declared = self.catalog.declared_by_name(table).columns.get(column)
            if declared and declared.type.category in STRINGS:
                return self.session.database_collation
        return None

    def distinct_values(self, table: str, column: str, limit: int) -> str:
        """Return a query with a plain DISTINCT.

        MariaDB would read the whole index for each step of the recursive query; for a
        DISTINCT it goes along the index from value to value by itself ("loose index
        scan").
        """
        name = self.session.quote(column)
        rows = f"{self.session.quote(table)} WHERE {name} IS NOT NULL"
        return f"SELECT DISTINCT {name} AS v FROM {rows} LIMIT {limit}"


def is_converted_by_text(source: Type, target: Type) -> bool:
    """Whether a column has to become a VARCHAR before it can become another type.

    MODIFY converts an ENUM or a SET to a number by the index of its value, and a FLOAT
    to a DOUBLE or DECIMAL with digits that nobody has seen: 0.1 would become
    0.10000000149011612. A BIT becomes the character of that code in a TEXT. A UUID or
    an address becomes bytes in a BLOB, and nothing else but a text.
    """
    if source.category in _ONLY_TO_TEXT:
        return target.category not in STRINGS
    if source.category == "bit":
        return target.category not in ("integer", "decimal", "float")
    return is_single_precision(source) and not is_single_precision(target)


def escape_backslashes(default: str) -> str:
    """Return a declared DEFAULT in which a backslash stands for itself."""
    return default.replace("\\", "\\\\")


def in_collation(value: str, collation: str) -> str:
    """Return a text in a collation, whose name begins with its character set."""
    character_set, separator, _ = collation.partition("_")
    sql = f"CONVERT({value} USING {character_set})"
    if separator:
        sql += f" COLLATE {collation}"
    return sql


def cast_to(value: str, target: Type) -> str:
    """Return SQL of a value as a type, or as it is if there is no such CAST."""
    cast = _CASTS.get(target.category)
    if cast is None:
        return value
    return f"CAST({value} AS {cast.format(size=target.size, scale=target.scale)})"


def _readable(value: str, source: Type) -> str:
    """Return a value whose text is what MODIFY converts."""
    if source.category == "bit":  # its text would be a character of that code
        return f"({value} + 0)"
    return value


def _text(value: str) -> str:
    return f"CAST({value} AS CHAR)"


def _exact_number(value: str) -> str:
    return f"CAST({_text(value)} AS {_EXACT_NUMBER})"


# -- the conditions under which a value fits into a type: a function per category


def _fits_integer(value: str, source: Type, target: Type) -> str:
    text = _text(value)
    limit = 2 ** (8 * min(target.size or 4, 8) - 1)
    lowest, highest = -limit, limit - 1
    if is_unsigned(target):
        lowest, highest = 0, 2 * limit - 1
    fraction = _ZERO_FRACTION
    if source.category in STRINGS:
        fraction = ""  # "12.0" would become "12"
    return (
        f"{text} REGEXP '^(-?(0|[1-9][0-9]{{0,18}}){fraction})\\\\z' "
        f"AND {_exact_number(value)} BETWEEN {lowest} AND {highest}"
    )


def _fits_float(value: str, source: Type, target: Type) -> str:
    if source.category == "float" and (target.size or 8) >= (source.size or 8):
        return "TRUE"
    text = _text(value)
    whole = "[0-9]{1,15}"  # ZEROFILL writes a number with leading zeros
    if source.category in STRINGS:
        whole = "(0|[1-9][0-9]{0,14})"
    return (
        f"{text} REGEXP '^(-?{whole}([.][0-9]*)?(e[+-]?[0-9]{{1,2}})?)\\\\z' "
        f"AND CAST(CAST({text} AS DOUBLE) AS {_EXACT_NUMBER}) = {_exact_number(value)}"
    )


def _fits_decimal(value: str, source: Type, target: Type) -> str:
    exact = _exact_number(value)
    return (
        f"{_text(value)} REGEXP '^(-?(0|[1-9][0-9]*)([.][0-9]*)?)\\\\z' "
        f"AND CAST({exact} AS DECIMAL({target.size}, {target.scale})) = {exact}"
    )


def _fits_string(value: str, source: Type, target: Type) -> str:
    condition = f"CHAR_LENGTH({_text(value)}) <= {target.size}"
    if source.category == "blob":
        # MODIFY reads the bytes in the character set of the new column, whichever that
        # is. Only ASCII means the same in all of them: as UTF-8, any other character of
        # latin1 has two bytes or more.
        in_utf8 = f"CONVERT(CONVERT({value} USING latin1) USING utf8mb4)"
        condition += f" AND LENGTH({in_utf8}) = LENGTH({value})"
    return condition


def _fits_fixed_string(value: str, source: Type, target: Type) -> str:
    text = _text(value)
    without_blanks = f"CHAR_LENGTH(RTRIM({text})) = CHAR_LENGTH({text})"
    return f"{_fits_string(value, source, target)} AND {without_blanks}"


def _fits_blob(value: str, source: Type, target: Type) -> str:
    condition = f"LENGTH({value}) <= {target.size}"
    if source.category in STRINGS:
        # MODIFY keeps the bytes of the column's character set; whoever reads them
        # expects UTF-8, which every client and every other database writes.
        text = f"CONVERT({value} USING utf8mb4)"
        condition += f" AND CAST({text} AS BINARY) = CAST({value} AS BINARY)"
    return condition


def _fits_json(value: str, source: Type, target: Type) -> str:
    return f"JSON_VALID({value})"


# DAYOFYEAR, TIME_TO_SEC and SECOND are NULL for what looks like a date or a time and is
# not one, such as 2025-02-30.


def _fits_date(value: str, source: Type, target: Type) -> str:
    text = _text(value)
    return (
        f"{text} REGEXP '^({_DATE}( 00:00:00{_ZERO_FRACTION})?)\\\\z' "
        f"AND DAYOFYEAR({text}) > 0"
    )


def _fits_time(value: str, source: Type, target: Type) -> str:
    text = _text(value)
    return (
        f"{text} REGEXP '^({_TIME}{_ZERO_FRACTION})\\\\z' "
        f"AND TIME_TO_SEC({text}) IS NOT NULL"
    )


def _fits_datetime(value: str, source: Type, target: Type) -> str:
    text = _text(value)
    fraction = _ZERO_FRACTION
    if source.category in ("timestamp", "datetime"):
        fraction = "([.][0-9]+)?"  # the new type keeps the digits of the old one
    return (
        f"{text} REGEXP '^({_DATE}([ T]{_TIME}{fraction})?)\\\\z' "
        f"AND DAYOFYEAR({text}) > 0 AND SECOND({text}) IS NOT NULL"
    )


FITS: dict[str, FitsCondition] = {
    "integer": _fits_integer,
    "float": _fits_float,
    "decimal": _fits_decimal,
    "string": _fits_string,
    "fixed string": _fits_fixed_string,
    "blob": _fits_blob,
    "json": _fits_json,
    "date": _fits_date,
    "time": _fits_time,
    "datetime": _fits_datetime,
}
