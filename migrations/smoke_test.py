"""The smoke test: do the tables behave as their schema says?

Everything happens in one transaction that is always undone, on rows of its own under random keys: for each
table a parent for each foreign key, then a row. No row of anybody else is changed or locked for deletion,
whatever ids are in use; afterwards the keys are looked for once more.

A step is True where it was tried and held for each table that has something to try, False where it did not
hold, and None where it cannot be tried: it never passes untried.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping
from functools import partial

import peewee

from migrations.declaration import in_order
from migrations.engines.base import Engine, logger
from migrations.engines.samples import ATTEMPTS, Values
from migrations.report import Steps
from migrations.schema import ForeignKey, Table

STEPS = ("insert", "select", "unique", "foreign_keys", "cascade", "cleanup")
_FOLLOWING = ("CASCADE", "SET NULL")


def smoke_test(engine: Engine) -> Steps:
    """Return the outcome of each of `STEPS`."""
    rows = _Rows(engine, _tables(engine))
    if hidden := rows.samples.hidden(rows.tables):
        logger.warning("  row-level security hides rows of %s from this user", " and ".join(hidden))
        return dict.fromkeys(STEPS)
    models = in_order(engine.models[name] for name in engine.builds)
    trials = [_Trial(rows, engine.declared(model)) for model in models]
    with rows.samples.trial() as enforced:
        for trial in trials:
            trial.run(enforced)
    steps: Steps = {}
    for step in STEPS:
        tried = [trial.steps[step] for trial in trials if step in trial.steps]
        steps[step] = _all(tried)
    steps["cleanup"] = not rows.traces()
    return steps


def _tables(engine: Engine) -> dict[str, Table]:
    """Return the built tables with all that they refer to, and all that those refer to.

    Before the transaction: where that is aborted, MariaDB's information_schema swallows the news, and
    what came next would stay.
    """
    found: dict[str, Table] = {}
    wanted = list(engine.builds)
    while wanted:
        name = wanted.pop()
        if name not in found and (table := engine.table(name)):
            found[name] = table
            wanted += [key.table for key in table.foreign_keys]
    return found


def _all(outcomes: Collection[bool | None]) -> bool | None:
    """Return what several outcomes are together: False before None before True, and None if there is none."""
    if False in outcomes:
        return False
    return None if None in outcomes or not outcomes else True


class _Unmade(Exception):
    """A table takes no row."""

    def __init__(self, table: str, error: object) -> None:
        super().__init__(_line(error))
        self.table = table


class _Rows:
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
        :raises _Unmade: it was refused, for the reason told.
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
        raise _Unmade(table.name, refusal or "")

    def parents(self, table: Table, keys: Iterable[ForeignKey]) -> Values:
        """Make a parent for each foreign key; return the values of a row that refers to them.

        :raises _Unmade: one was refused.
        """
        return {name: value for key in keys for name, value in zip(key.columns, self._parent(table, key))}

    def _parent(self, table: Table, key: ForeignKey) -> list[str]:
        if key.table not in self.tables:
            raise _Unmade(key.table, "there is no such table here")
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
            there = {} if unique & {*key.columns} else self.samples.copies(self.tables[key.table], key.target)
            values = [there[target] for target in key.target] if there else self._parent(table, key)
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
        """Return a condition that holds where columns have some values."""
        return " AND ".join(f"{self.samples.quoted(table, name)} = {value}" for name, value in values.items())

    def count(self, table: Table, *conditions: str) -> int:
        """Return the number of rows that meet some conditions."""
        found = f"SELECT 1 FROM {self.engine.quote(table.name)} WHERE {' AND '.join(conditions)}"
        return len(self.samples.query(found))

    def traces(self) -> bool:
        """Whether any row that was tried is there, by what is indexed."""
        with self.samples.trial():
            return any(self.samples.query(sql) for sql in dict.fromkeys(self._tried))


def _needed(table: Table, name: str, given: Values) -> bool:
    return name not in given and not table.columns[name].optional


class _Trial:
    """What is tried with one table, and what became of it: `steps` has those that there is something to try for."""

    def __init__(self, rows: _Rows, declared: Table) -> None:
        self.rows, self.samples, self.declared = rows, rows.samples, declared
        self.table = rows.tables[declared.name]
        counts = {name for name, column in declared.columns.items() if column.automatic}
        self.unique = [key for key in declared.unique_keys() if key and not counts & {*key}]
        self.steps: Steps = {"insert": None, "select": None}
        if self.unique:
            self.steps["unique"] = None
        if declared.foreign_keys:
            self.steps["foreign_keys"] = None
        if any(key.on_delete in _FOLLOWING for key in declared.foreign_keys):
            self.steps["cascade"] = None

    def run(self, enforced: bool) -> None:
        """Try the steps in order; one that rests on a failed one stays None."""
        filled = {name for key in self.unique for name in key}
        try:
            first, second = (self.rows.parents(self.table, self.declared.foreign_keys) for _ in range(2))
        except _Unmade as error:
            logger.warning("  the smoke test cannot make a row of %s: %s", error.table, error)
            return
        try:
            self.first = self.rows.make(self.table, first, filled)
        except _Unmade as error:
            logger.error("  insert: %s", error)
            self.steps["insert"] = False
            return
        self.steps["insert"] = True
        where = self.rows.where(self.table, self.first)
        self.steps["select"] = (self.rows.count(self.table, where) == 1) if where else None
        if where and self.steps["select"]:
            self._try_another(second, filled)
            if enforced:
                self._try_keys(where)
            elif self.declared.foreign_keys:
                logger.warning("  foreign keys are off or deferred in the caller's transaction: not tried")

    def _try_another(self, given: Values, filled: Collection[str]) -> None:
        """Try whether a second row, which the table takes, is refused with each key of the first one."""
        self.second: Values = {}
        try:
            self.samples.tried(lambda: self.second.update(self.rows.make(self.table, given, filled)))
        except _Unmade as error:
            logger.warning("  the smoke test cannot make a second row of %s: %s", error.table, error)
            return
        outcomes = [self._refused(self.second | {name: self.first[name] for name in key}) for key in self.unique]
        if self.unique:
            self.steps["unique"] = _all(outcomes)

    def _try_keys(self, where: str) -> None:
        """Try each foreign key with an orphan, and what it does where its parent goes."""
        held: list[bool | None] = []
        followed: list[bool | None] = []
        for key in self.declared.foreign_keys:
            orphan = self._orphan_refused(key)
            held.append(orphan)
            if orphan is not None and self._is_cheap(key):
                (followed if key.on_delete in _FOLLOWING else held).append(self._deleted(key, where))
        if self.declared.foreign_keys:
            self.steps["foreign_keys"] = _all(held)
        if "cascade" in self.steps:
            self.steps["cascade"] = _all(followed)

    def _orphan_refused(self, key: ForeignKey) -> bool | None:
        made = {name: self.samples.fresh(self.table, self.table.columns[name]) for name in key.columns}
        nowhere = {name: value for name, value in made.items() if value}
        return self._refused(self.second | nowhere) if self.second and nowhere else None

    def _refused(self, row: Values) -> bool | None:
        """Whether a row is refused for a key; None where for something else, or where it will be later."""
        late: list[bool] = []

        def insert() -> None:
            self.rows.insert(self.table, row)
            late.append(self.rows.engine.checked_at_commit(self.table.name))

        error = self.samples.tried(insert)
        if error is None:
            return None if late[0] else False
        if not isinstance(error, peewee.IntegrityError):
            logger.warning("  %s: %s", self.table.name, _line(error))
        return isinstance(error, peewee.IntegrityError) or None

    def _is_cheap(self, key: ForeignKey) -> bool:
        """Whether a deletion of the key's parent finds by an index, or among a few rows, what refers to it."""
        long = sorted({*self.samples.searched(key.table), *self.samples.searched(self.table.name)})
        if long:
            columns, read = ", ".join(key.columns), " and ".join(long)
            logger.info("  %s ON DELETE %s: not tried, it would read all of %s", columns, key.on_delete, read)
        return not long

    def _deleted(self, key: ForeignKey, where: str) -> bool | None:
        """Delete the first row's parent; whether the key did what it says."""
        parent = self.rows.tables[key.table]
        same = self.rows.same(parent, {target: self.first[name] for name, target in zip(key.columns, key.target)})
        nulls = [f"{self.samples.quoted(self.table, name)} IS NULL" for name in key.columns]
        left: list[int] = []

        def delete() -> None:
            self.samples.execute(f"DELETE FROM {self.rows.engine.quote(parent.name)} WHERE {same}")
            left.extend([self.rows.count(self.table, where), self.rows.count(self.table, where, *nulls)])

        error = self.samples.tried(delete)
        if error and self.samples.denied(error):
            raise error
        if key.on_delete not in _FOLLOWING:
            return isinstance(error, peewee.IntegrityError)
        if error:
            logger.error("  cascade: %s", _line(error))
            return False
        return left == ([0, 0] if key.on_delete == "CASCADE" else [1, 1])


def _line(error: object) -> str:
    return " ".join(str(error).split())
