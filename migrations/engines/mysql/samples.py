"""MariaDB and MySQL: values for rows on trial."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from migrations.engines.kinds import DAY, MOMENT, NUMBER, TIME, UUID, Kind, address, below, spelt, token
from migrations.engines.mysql.session import code as _code
from migrations.engines.samples import Samples as Base
from migrations.engines.samples import Values
from migrations.schema import Column, Table, literal

if TYPE_CHECKING:
    from migrations.engines.base import Engine

_BYTES = {"tinyint": 1, "smallint": 2, "mediumint": 3, "int": 4, "bigint": 4}
_KINDS = {
    "date": DAY, "time": TIME, "datetime": MOMENT, "timestamp": MOMENT, "uuid": UUID, "float": NUMBER,
    "double": NUMBER, "longtext": Kind(("x", "{}")), "json": Kind(("{}",)),
    "year": Kind(("2000", "2001"), (lambda size: str(1901 + below(255)),), numeric=True),
    "inet4": Kind(("192.0.2.1",), (address,)), "inet6": Kind(("2001:db8::1",), (lambda size: f"::{address()}",)),
}  # fmt: skip
_SHAPES = {
    "geometry": "POINT(0 0)", "point": "POINT(0 0)", "linestring": "LINESTRING(0 0,1 1)",
    "polygon": "POLYGON((0 0,0 1,1 1,0 0))", "multipoint": "MULTIPOINT(0 0)",
    "multilinestring": "MULTILINESTRING((0 0,1 1))", "multipolygon": "MULTIPOLYGON(((0 0,0 1,1 1,0 0)))",
    "geometrycollection": "GEOMETRYCOLLECTION(POINT(0 0))", "geomcollection": "GEOMETRYCOLLECTION(POINT(0 0))",
}  # fmt: skip
_CHECKS = """
SELECT table_name, check_clause FROM information_schema.check_constraints
WHERE constraint_schema = DATABASE() AND level = 'Column'"""
# The transaction is gone, the connection, or the time that the server allows a statement.
_NEWS = {0, 1205, 1213, 1305, 1317, 1969, 2003, 2006, 2013, 3024}
_DENIED = {1044, 1142, 1143, 1227}


class Samples(Base):
    """Values for the rows of a MariaDB or MySQL database."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._variables: list[str] = []
        # Now, before the transaction: where that was aborted, the catalogue swallows the news.
        mariadb = "mariadb" in str(self.query("SELECT version() LIMIT 1")).lower()
        self._checks = self.query(_CHECKS) if mariadb else []

    @contextmanager
    def trial(self) -> Iterator[bool]:
        with super().trial() as enforced:
            yield enforced
        if self._variables:
            self.execute(f"SET {', '.join(f'{each} = NULL' for each in self._variables)}")

    def kind(self, table: Table, column: Column) -> Kind:
        word, numbers, within = _parts(column.type.text)
        if word in ("enum", "set"):
            return Kind(tuple(each.replace("''", "'") for each in re.findall("'((?:[^']|'')*)'", within)), ())
        if word == "decimal":
            return _decimals(*numbers)
        if word == "bit":
            return Kind(("1", "0"), (lambda size: str(below(2 ** min(numbers[0], 60))),), numeric=True)
        if word == "binary":  # a shorter one would be filled up, and not be found as it was given
            return Kind(("x",), (lambda size: spelt(size, "0123456789abcdef"),), numbers[0])
        if word in _BYTES:
            return NUMBER._replace(size=_BYTES[word])
        if word in _SHAPES:
            return Kind((_SHAPES[word],), ())
        return _KINDS.get(word) or Kind(size=numbers[0] if numbers else 0)

    def literal(self, table: Table, column: Column, text: str) -> str:
        spatial = _parts(column.type.text)[0] in _SHAPES
        return f"ST_GeomFromText({literal(text)})" if spatial else super().literal(table, column, text)

    def conditions(self, table: Table) -> list[str]:
        own = [str(sql) for name, sql in self._checks if str(name).lower() == table.name.lower()]
        return [re.sub(r"(?<!\\)\\'", "''", sql) for sql in [*super().conditions(table), *own]]

    def key(self, column: Column) -> str | None:
        """A negative one: a positive one would move AUTO_INCREMENT for good."""
        key = super().key(column)
        return None if key is None or "unsigned" in column.type.text.lower() else f"-{key}"

    def copies(self, table: Table, names: Collection[str]) -> Values:
        """By variables of the session: an INSERT that reads a row locks it, and waits for who has it locked."""
        found = super().copies(table, names)
        variables = {name: f"@{token()}" for name in found}
        if found:
            row = next(iter(found.values())).partition(" FROM ")[2].removesuffix(")")
            columns = ", ".join(self.quoted(table, name) for name in found)
            self.execute(f"SELECT {columns} INTO {', '.join(variables.values())} FROM {row}")
            self._variables += variables.values()
        return variables

    def refuses(self, error: Exception) -> bool:
        return _code(error) not in _NEWS

    def denied(self, error: Exception) -> bool:
        return _code(error) in _DENIED


def _parts(text: str) -> tuple[str, list[int], str]:
    """Return a type's word, its numbers, and what is in its parentheses."""
    word, _, rest = text.lower().partition("(")
    return word.split()[0], [int(each) for each in re.findall(r"\d+", rest)], text[len(word) :]


def _decimals(digits: int, scale: int) -> Kind:
    def random(size: int) -> str:
        text = str(below(10 ** min(digits, 15))).rjust(scale + 1, "0")
        return f"{text[: len(text) - scale]}.{text[len(text) - scale :]}"

    return Kind(("1", "2", "0", "0.5") if digits > scale else ("0.5", "0"), (random,), numeric=True)
