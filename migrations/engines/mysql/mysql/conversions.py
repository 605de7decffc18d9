"""What only MySQL's conversions lose."""

from __future__ import annotations

from collections.abc import Mapping

from migrations.engines.mysql.conversions import (
    FITS,
    FitsCondition,
    MySQLFamilyConversions,
)
from migrations.schema import Type

_JSON_STRING = r"""'"[^"\\\\]*(\\\\.[^"\\\\]*)*"'"""
# A number that is not one of 64 bits becomes a DOUBLE in a JSON:
# https://dev.mysql.com/doc/refman/8.0/en/json.html
_NUMBERS_THAT_CHANGE = (
    "'[0-9]{19,}"  # too long for an integer
    "|(?=[0-9]*[.eE])[0-9.]{17,}"  # more digits than a DOUBLE has
    "|[eE][+-]?[0-9]{3,}'"  # too large, or too small
)


class MySQLConversions(MySQLFamilyConversions):
    """Writes conditions and expressions for MySQL."""

    def fits(self) -> Mapping[str, FitsCondition]:
        return {**FITS, "json": _fits_json}


def _fits_json(value: str, source: Type, target: Type) -> str:
    """A JSON is not kept as its text, so its numbers may change."""
    numbers = f"REGEXP_REPLACE(CAST({value} AS CHAR), {_JSON_STRING}, '')"
    return f"JSON_VALID({value}) AND NOT {numbers} REGEXP {_NUMBERS_THAT_CHANGE}"
