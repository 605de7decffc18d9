"""The rows that a smoke test makes, each with all that it refers to, and where to look for traces of them."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping
from functools import partial

from migrations.engines.base import Engine
from migrations.engines.samples import ATTEMPTS, Values
from migrations.schema import ForeignKey, Table


def one_line(error: object) -> str:
    """Return an error's text as one line."""
    return " ".join(str(error).split())


class Unmade(Exception):
    """A table takes no row."""

    def __init__(self, table: str, error: object) -> None:
        super().__init__(one_line(error))
        self.table = table


class Rows:
    """The rows that a smoke test makes; what they refer to is made with them."""

    def __init__(self, engine: Engine, tables: Mapping[str, Table]) -> None:
        self.engine, self.tables, self.samples = engine, tables, engine.samples()
        self._tried: list[str] = []  # where to look for traces
        self._open: list[str] = []  # tables whose row waits for one of another

    def make(
        self, table: Table, given: Values, filled: Collection[str] = (), sizes: Mapping[str, int] | None = None,
        unchecked: bool = False,
    ) -> Values:  # fmt: skip
        """Insert a row with the given values, the rest made up, and return it.

        :param filled: columns that get a value even where they need none.
        :param sizes: what other columns can take that are to have the same value.
        :param unchecked: as a last resort CHECKs are ignored, where the database can.
        :raises Unmade: it was refused, for the reason told.
        """
        given = given | self._references(table, given)
        own = {name: target for key in table.foreign_keys if key.table == table.name.lower()
               for name, target in zip(key.columns, key.target) if _needed(table, name, given)}  # fmt: skip
        refusal: Exception | None = None
        for attempt in [*range(ATTEMPTS), *([0] * unchecked)]:
            row = self.samples.values(table, given, {*filled, *own.values()}, sizes or {}, attempt)
            row |= {name: row[target] for name, target in own.items()}
            with self.engine.without_checks() if refusal and not attempt else contextlib.nullcontext():
                error = self.samples.tried(partial(self.insert, table, row), keep=True)
            if error is None:
                return row
            refusal = refusal or error
        raise Unmade(table.name, refusal or "")

    def parents(self, table: Table, keys: Iterable[ForeignKey]) -> Values:
        """Make a parent for each foreign key; return the values of a row that refers to them.

        :raises Unmade: one was refused.
        """
        return {name: value for key in keys for name, value in zip(key.columns, self._parent(table, key))}

    def _parent(self, table: Table, key: ForeignKey) -> list[str]:
        if key.table not in self.tables:
            raise Unmade(key.table, "there is no such table here")
        parent = self.tables[key.table]
        sizes = {target: self.samples.kind(table, table.columns[name]).size
                 for name, target in zip(key.columns, key.target)}  # fmt: skip
        row = self.make(parent, {}, key.target, sizes, unchecked=True)
        return [row[target] for target in key.target]

    def _references(self, table: Table, given: Values) -> Values:
        """Return values for the foreign keys that need one and are not given: of a row that is there, if any."""
        found: Values = {}
        unique = {name for columns in table.unique_keys() for name in columns}
        for key in table.foreign_keys:
            needed = any(_needed(table, name, {**given, **found}) for name in key.columns)
            if not needed or key.table in (table.name.lower(), *self._open) or key.table not in self.tables:
                continue
            self._open.append(table.name.lower())
            free = not unique & {*key.columns}
            own = self.samples.copies(table, key.columns) if free else {}  # who sees this table may see no other
            there = self.samples.copies(self.tables[key.table], key.target) if free and not own else {}
            values = [*own.values()] or [*there.values()] or self._parent(table, key)
            self._open.pop()
            found |= zip(key.columns, values)
        return found

    def insert(self, table: Table, row: Values) -> None:
        """Insert a row."""
        names = ", ".join(self.samples.quoted(table, name) for name in row)
        if where := self.where(table, row):
            self._tried.append(f"SELECT 1 FROM {self.engine.quote(table.name)} WHERE {where}")
        self.samples.execute(
            f"INSERT INTO {self.engine.quote(table.name)} ({names}){self.samples.override} "
            f"SELECT {', '.join(row.values())}"
        )

    def where(self, table: Table, row: Values) -> str | None:
        """Return a condition that finds a row by an index; None where it has no key of its own."""
        keys = (key for key in table.unique_keys() if key and row.keys() >= {*key})
        return next((self.same(table, {name: row[name] for name in key}) for key in keys), None)

    def same(self, table: Table, values: Values) -> str:
        """Return a condition that holds where columns have some values, which may be NULL."""
        pairs = {self.samples.quoted(table, name): value for name, value in values.items()}
        return " AND ".join(f"{name} {'IS' if value == 'NULL' else '='} {value}" for name, value in pairs.items())

    def count(self, table: Table, condition: str) -> int:
        """Return the number of rows that meet a condition."""
        return len(self.samples.query(f"SELECT 1 FROM {self.engine.quote(table.name)} WHERE {condition}"))

    def traces(self) -> bool:
        """Whether any row that was tried is there, by what is indexed."""
        with self.samples.trial():
            return bool(self._tried and self.samples.query(" UNION ALL ".join(dict.fromkeys(self._tried))))


def _needed(table: Table, name: str, given: Values) -> bool:
    return name not in given and not table.columns[name].optional
