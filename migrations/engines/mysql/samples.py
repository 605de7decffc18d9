"""MariaDB and MySQL: rows on trial."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from decimal import Decimal

from migrations.engines.mysql.session import READ_ONLY, code
from migrations.engines.samples import Samples as Base
from migrations.engines.samples import Values, address, below, moment, number, token
from migrations.schema import Column, Table, literal

_RANDOM: dict[str, Callable[[], str]] = {
    "date": lambda: moment()[:10],
    "time": lambda: moment()[11:],
    "datetime": moment,
    "timestamp": moment,
    "year": lambda: str(1901 + below(255)),
    "uuid": lambda: str(uuid.uuid4()),
    "inet4": address,
    "inet6": lambda: f"::{address()}",
}
_SHAPES = {
    "geometry": "POINT(0 0)", "point": "POINT(0 0)", "linestring": "LINESTRING(0 0,1 1)",
    "polygon": "POLYGON((0 0,0 1,1 1,0 0))", "multipoint": "MULTIPOINT(0 0)",
    "multilinestring": "MULTILINESTRING((0 0,1 1))", "multipolygon": "MULTIPOLYGON(((0 0,0 1,1 1,0 0)))",
    "geometrycollection": "GEOMETRYCOLLECTION(POINT(0 0))",
}  # fmt: skip
# The transaction is gone, the connection, the time that the server allows a statement, or the right to write.
_NEWS = {0, 1205, 1213, 1305, 1317, 1969, 2003, 2006, 2013, 3024, *READ_ONLY}


class Samples(Base):
    """The rows that a smoke test makes in a MariaDB or MySQL database."""

    def options(self, table: Table, column: Column, size: int, row: Values) -> list[str]:
        text = column.type.text
        word, numbers = text.lower().partition("(")[0].split()[0], [int(each) for each in re.findall(r"\d+", text)]
        if column.automatic:  # a negative one or none: a positive one would move AUTO_INCREMENT for good
            return [] if "unsigned" in text.lower() else [f"-{number(size)}"]
        if word in ("enum", "set"):
            return re.findall("'(?:[^']|'')*'", text)
        if word in _SHAPES:
            return [f"ST_GeomFromText('{_SHAPES[word]}')"]
        if column.type.scale is not None:
            digits, scale = numbers
            return [f"{Decimal(below(10 ** min(digits, 15))).scaleb(-scale):f}"]
        if column.type.family in ("integer", "float"):
            return [number(size)]
        if word == "bit":
            return [str(below(2 ** min(numbers[0], 60)))]
        if word == "binary":  # a shorter one would be filled up, and not be found as it was given
            return [f"RPAD('{token(size)}', {numbers[0]}, 'x')"]
        return [literal(_RANDOM.get(word, lambda: token(size))())]

    def copied(self, columns: Iterable[str], row: str) -> list[str]:
        """As literals: an INSERT that reads a row locks it, and waits for who has it locked."""
        binary = [f"coalesce(concat('x''', hex(cast({column} AS BINARY)), ''''), 'NULL')" for column in columns]
        return [str(value) for values in self.query(f"SELECT {', '.join(binary)} {row}") for value in values]

    def refuses(self, error: Exception) -> bool:
        return code(error) not in _NEWS
