"""Values for rows on trial, as SQL: the server makes them, none passes through a driver.

A column's value is that of a row that is there; where there is none, one that its type takes; and where
that is refused, the server is asked which of some candidates the CHECKs take and no row has.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import peewee

from migrations.engines.kinds import Kind, named, number
from migrations.schema import Column, Table, literal

if TYPE_CHECKING:
    from migrations.engines.base import Engine

Values = dict[str, str]  # SQL by the column's name in lower case
Rule = tuple[set[str], str]  # columns, and a condition that speaks of them
ATTEMPTS = 3  # what is copied or fits; what the server picks, copies among it; what it picks without
_FRESH = 40  # values tried before a unique column counts as full
_COMBINATIONS = 50_000
_TERMS = 400  # of a UNION; SQLite takes 500


class Samples:
    """Values for the rows of an engine's tables; a room beside this one says what differs there."""

    override = ""  # what an INSERT needs to give a key that counts by itself

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._has_rows: dict[str, bool] = {}

    # -- what an engine says

    def kind(self, table: Table, column: Column) -> Kind:
        """Return what a column can take."""
        raise NotImplementedError

    def conditions(self, table: Table) -> list[str]:
        """Return the conditions of a table's CHECKs."""
        return [check.sql for check in table.checks]

    def hints(self, table: Table, column: Column) -> list[str]:
        """Return conditions of a column's own type."""
        return []

    def refuses(self, error: Exception) -> bool:
        """Whether an error is a table's answer to a row, rather than news of the connection or of a limit."""
        raise NotImplementedError

    def denied(self, error: Exception) -> bool:
        """Whether an error tells of a right that is missing."""
        return False

    def typed(self, table: Table, column: Column, sql: str) -> str:
        """Return SQL that has a column's type."""
        return sql

    def literal(self, table: Table, column: Column, text: str) -> str:
        """Return a text as a literal for a column."""
        return text if self.kind(table, column).numeric else literal(text)

    def key(self, column: Column) -> str | None:
        """Return a value for a key that counts by itself, so that its counter stays; None if none does that."""
        return number(column.type.size or 4)

    def usable(self, values: Sequence[str]) -> Sequence[str]:
        """Return the values that their types take."""
        return values

    def hidden(self, tables: Iterable[str]) -> list[str]:
        """Return the names of the tables some of whose rows this user may not see."""
        return []

    def searched(self, table: str) -> list[str]:
        """Return the names of the long tables that are read row by row where a row of this one is deleted."""
        return []

    @contextmanager
    def trial(self) -> Iterator[bool]:
        """A transaction that is always undone; it yields whether foreign keys are enforced."""
        with self.engine.trial() as enforced:
            yield enforced

    def copies(self, table: Table, names: Collection[str]) -> Values:
        """Return the values of one of a table's rows; none where it has no row."""
        keys = (key for key in table.unique_keys() if key and {*key} <= table.columns.keys())
        order = ", ".join(self.quoted(table, name) for name in next(keys, ()))  # without, the table might be read
        row = f"FROM {self.engine.quote(table.name)}{f' ORDER BY {order}' if order else ''} LIMIT 1"
        if table.name not in self._has_rows:
            self._has_rows[table.name] = bool(self.query(f"SELECT 1 {row}"))
        return {name: f"(SELECT {self.quoted(table, name)} {row})" for name in names if self._has_rows[table.name]}

    # -- statements

    def quoted(self, table: Table, name: str) -> str:
        """Return a column's name as an identifier."""
        return self.engine.quote(table.columns[name].name)

    def execute(self, sql: str) -> None:
        """Execute a statement without parameters."""
        self.engine.database.execute_sql(self.engine.literally(sql))

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """Return the rows of a query without parameters."""
        return self.engine.query(self.engine.literally(sql))

    def tried(self, work: Callable[[], object], keep: bool = False) -> peewee.DatabaseError | None:
        """Do something in a savepoint; return what refused it, if anything did.

        :param keep: what was not refused stays done.
        """
        savepoint, error = f"smoke_test_{uuid.uuid4().hex}", None  # Peewee's own has no common form in 4.0 and 4.5
        self.execute(f"SAVEPOINT {savepoint}")
        try:
            work()
        except peewee.DatabaseError as refusal:
            if self.engine.is_lock_timeout(refusal) or not self.refuses(refusal):
                raise
            error = refusal
        try:
            self.execute(f"{'RELEASE' if keep and not error else 'ROLLBACK TO'} SAVEPOINT {savepoint}")
        except peewee.DatabaseError as gone:  # the whole transaction is: what came next would stay
            raise error or gone from None
        return error

    # -- values

    def fresh(self, table: Table, column: Column, size: int = 0) -> str | None:
        """Return a value that no row has; None where the type has none to spare.

        :param size: what another column can take that is to have the same value.
        """
        if column.automatic:
            return self.key(column)
        kind = self.kind(table, column)
        return self.literal(table, column, kind.makers[0](_smaller(kind.size, size))) if kind.makers else None

    def values(
        self, table: Table, given: Values, filled: Collection[str], sizes: Mapping[str, int], attempt: int
    ) -> Values:
        """Return a row that a table should take.

        :param given: values of columns, each in no row so far if it is in a unique key.
        :param filled: columns that get a value even where they need none.
        :param sizes: see `fresh`.
        :param attempt: counts from 0; later ones take more trouble.
        """
        wanted = {
            name: column for name, column in table.columns.items()
            if name not in given and not column.generated
            and (column.automatic or not column.optional or name in filled)
        }  # fmt: skip
        keys = [key for key in _unique(table) if not key & given.keys()]
        fresh = {name for key in keys for name in key}
        copied = [name for name, column in wanted.items() if name not in fresh and not column.automatic]
        copies = self.copies(table, copied) if copied and attempt < ATTEMPTS - 1 else {}
        rules = self._rules(table) if attempt else []
        choices = {}
        for name, column in wanted.items():
            choices[name] = [copies[name]] if name in copies else []
            if attempt or name not in copies:
                first = name in fresh or attempt == ATTEMPTS - 1
                many = _FRESH if name in fresh and attempt else 1
                choices[name] += self._options(table, column, rules, first, many, sizes.get(name, 0))
        choices = {name: options for name, options in choices.items() if options}
        if not attempt:
            return given | {name: options[0] for name, options in choices.items()}
        rules += [(key, self._is_new(table, key)) for key in keys if key <= choices.keys()]
        return given | self._solved(table, choices | {name: [value] for name, value in given.items()}, rules)

    def _options(
        self, table: Table, column: Column, rules: Sequence[Rule], first: bool, many: int, size: int = 0
    ) -> list[str]:
        """Return what a column might take, the best first.

        :param first: random values are better.
        :param many: how many of them.
        """
        if column.automatic:
            return [key for key in [self.key(column)] if key]
        kind = self.kind(table, column)
        size = _smaller(kind.size, size)
        own = [names for names, _ in rules if column.name.lower() in names]
        near = [sql for names, sql in rules if any(names & each for each in own)]
        suggested = named([*near, *self.hints(table, column)], kind, size)
        made = [maker(size) for maker in kind.makers[:1] for _ in range(many)]
        texts = [*made[:3], *suggested, *kind.texts, *made[3:]] if first else [*kind.texts, *suggested, *made]
        return [self.literal(table, column, text) for text in dict.fromkeys(texts) if "\\" not in text]

    def _rules(self, table: Table) -> list[Rule]:
        """Return the CHECKs that speak of no generated column: what that would be, only the table knows."""
        rules = []
        for sql in self.conditions(table):
            words = set(re.findall(r"\w+", sql.lower()))
            rules.append(({name for name in table.columns if name in words or self.quoted(table, name) in sql}, sql))
        known = {name for name, column in table.columns.items() if not column.generated}
        return [(names, sql) for names, sql in rules if names and names <= known]

    def _is_new(self, table: Table, key: Iterable[str]) -> str:
        """Return a condition that holds for values that no row has."""
        name = self.engine.quote(table.name)
        same = [f"r.{self.quoted(table, each)} = {_alias(table, each)}.{self.quoted(table, each)}" for each in key]
        return f"NOT EXISTS (SELECT 1 FROM {name} r WHERE {' AND '.join(same)})"

    def _solved(self, table: Table, choices: dict[str, list[str]], rules: Sequence[Rule]) -> Values:
        """Return one choice for each column so that the rules hold, as far as the server finds some."""
        for names, _ in rules:
            for name in names - choices.keys():  # it could be left to its default
                column = table.columns[name]
                options = self._options(table, column, rules, False, 1)
                choices[name] = [self.typed(table, column, column.default or "NULL"), *options]
        groups: list[set[str]] = []  # of columns that rules bind together
        for names, _ in rules:
            near = [group for group in groups if group & names]
            groups = [group for group in groups if group not in near] + [names.union(*near)]
        picked: dict[str, list[str]] = {}
        for group in groups:
            hold = [sql for names, sql in rules if names <= group]
            picked |= self._picked(table, {name: choices[name] for name in group}, hold)
        alone = {name: options for name, options in choices.items() if name not in picked and len(options) > 1}
        choices |= picked | {name: list(self.usable(options)) or options for name, options in alone.items()}
        return {name: options[0] for name, options in choices.items()}

    def _picked(
        self, table: Table, choices: Mapping[str, list[str]], conditions: Iterable[str]
    ) -> dict[str, list[str]]:
        """Return the combination that the server picks, each value as an only choice; nothing where none holds."""
        several = sum(len(options) > 1 for options in choices.values())
        most = min(_TERMS, max(2, int(_COMBINATIONS ** (1 / max(1, several)))))
        options = {name: self.usable(values)[:most] for name, values in choices.items()}
        positions = ", ".join(f"{_alias(table, name)}.smoke_test_position" for name in options)
        sources = " CROSS JOIN ".join(self._source(table, name, values) for name, values in options.items())
        holds = " AND ".join(f"({condition})" for condition in conditions)
        rows: list[tuple[object, ...]] = []
        sql = f"SELECT {positions} FROM {sources} WHERE {holds} LIMIT 1"
        if not all(options.values()) or self.tried(lambda: rows.extend(self.query(sql))) or not rows:
            return {}
        return {name: [options[name][int(str(position))]] for name, position in zip(options, rows[0])}

    def _source(self, table: Table, name: str, values: Iterable[str]) -> str:
        column = self.quoted(table, name)
        rows = [
            f"SELECT {position} AS smoke_test_position, {value} AS {column}" for position, value in enumerate(values)
        ]
        return f"({' UNION ALL '.join(rows)}) AS {_alias(table, name)}"


def _alias(table: Table, name: str) -> str:
    return f"smoke_test_{[*table.columns].index(name)}"


def _smaller(*sizes: int) -> int:
    return min(filter(None, sizes), default=0)


def _unique(table: Table) -> list[set[str]]:
    """Return the columns of each unique key and index of plain columns, but of those that count by themselves."""
    keys = [table.primary_key, *(index.columns for index in table.indexes if index.unique)]
    plain = [{each if each in table.columns else re.split("[ (]", each)[0] for each in key} for key in keys]
    counts = {name for name, column in table.columns.items() if column.automatic}
    return [key for key in plain if key and key <= table.columns.keys() and not key & counts]
