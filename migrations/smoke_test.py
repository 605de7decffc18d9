"""The smoke test: do the tables behave as their schema says?

Everything happens in one transaction that is always undone, on rows of its own under random keys: for each
table a parent for each foreign key, then a row. No row of anybody else is changed or locked for deletion,
whatever ids are in use; afterwards the keys are looked for once more.

A step is True where it was tried and held for each table that has something to try, False where it did not
hold, and None where it cannot be tried: it never passes untried.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

import peewee

from migrations.declaration import in_order
from migrations.engines.base import Engine, logger
from migrations.engines.samples import Values
from migrations.report import Steps
from migrations.rows_on_trial import Rows, Unmade, one_line
from migrations.schema import ForeignKey, Table

STEPS = ("insert", "select", "unique", "foreign_keys", "cascade", "cleanup")
_FOLLOWING = {"CASCADE", "SET NULL"}


def smoke_test(engine: Engine) -> Steps:
    """Return the outcome of each of `STEPS`."""
    rows = Rows(engine, _tables(engine))
    if hidden := rows.samples.hidden(rows.tables):
        logger.warning("  row-level security hides rows of %s from this user", " and ".join(hidden))
        return dict.fromkeys(STEPS)
    models = in_order(engine.models[name] for name in engine.builds if name in rows.tables)
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


class _Trial:
    """What is tried with one table, and what became of it: `steps` has those that there is something to try for."""

    def __init__(self, rows: Rows, declared: Table) -> None:
        self.rows, self.samples, self.declared = rows, rows.samples, declared
        self.table = rows.tables[declared.name]
        counts = {name for name, column in declared.columns.items() if column.automatic}
        self.unique = [key for key in declared.unique_keys() if key and not counts & {*key}]
        self.steps: Steps = {"insert": None, "select": None}
        if self.unique:
            self.steps["unique"] = None
        if declared.foreign_keys:
            self.steps["foreign_keys"] = None
        if any({key.on_delete, key.on_update} & _FOLLOWING for key in declared.foreign_keys):
            self.steps["cascade"] = None

    def run(self, enforced: bool) -> None:
        """Try the steps in order; one that rests on a failed one stays None."""
        filled = {name for key in self.unique for name in key}
        try:
            first, second = (self.rows.parents(self.table, self.declared.foreign_keys) for _ in range(2))
        except Unmade as error:
            logger.warning("  the smoke test cannot make a row of %s: %s", error.table, error)
            return
        try:
            self.first = self.rows.make(self.table, first, filled)
        except Unmade as error:
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
        except Unmade as error:
            logger.warning("  the smoke test cannot make a second row of %s: %s", error.table, error)
            return
        outcomes = [self._refused(self.second | {name: self.first[name] for name in key}) for key in self.unique]
        if self.unique:
            self.steps["unique"] = _all(outcomes)

    def _try_keys(self, where: str) -> None:
        """Try each foreign key with an orphan, and what it does where its parent goes or is named anew."""
        held: list[bool | None] = []
        followed: list[bool | None] = []
        for key in self.declared.foreign_keys:
            orphan = self._orphan_refused(key)
            held.append(orphan)
            if not self._is_cheap(key):
                continue
            if key.on_delete in _FOLLOWING:
                followed.append(self._follows_deletion(key, where))
            elif orphan is not None:
                held.append(isinstance(self._deleted(key, bool), peewee.IntegrityError))
            if key.on_update in _FOLLOWING and key.table != self.declared.name and self.second:
                followed.append(self._follows_update(key))
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
            logger.warning("  %s: %s", self.table.name, one_line(error))
        return isinstance(error, peewee.IntegrityError) or None

    def _is_cheap(self, key: ForeignKey) -> bool:
        """Whether a deletion of the key's parent finds by an index, or among a few rows, what refers to it."""
        long = sorted({*self.samples.searched(key.table), *self.samples.searched(self.table.name)})
        if long:
            columns, read = ", ".join(key.columns), " and ".join(long)
            logger.info("  %s ON DELETE %s: not tried, it would read all of %s", columns, key.on_delete, read)
        return not long

    def _deleted(self, key: ForeignKey, look: Callable[[], object]) -> peewee.DatabaseError | None:
        """Delete the first row's parent, look, and undo it; return what refused it."""
        parent = self.rows.tables[key.table]
        gone = self.rows.same(parent, {target: self.first[name] for name, target in zip(key.columns, key.target)})

        def delete() -> None:
            self.samples.execute(f"DELETE FROM {self.rows.engine.quote(parent.name)} WHERE {gone}")
            look()

        error = self.samples.tried(delete)
        if error and self.samples.denied(error):
            raise error
        return error

    def _follows_deletion(self, key: ForeignKey, where: str) -> bool:
        left: list[int] = []
        emptied = self.rows.same(self.table, dict.fromkeys(key.columns, "NULL"))
        expected = where if key.on_delete == "CASCADE" else f"{where} AND {emptied}"
        if error := self._deleted(key, lambda: left.append(self.rows.count(self.table, expected))):
            logger.error("  cascade: %s", one_line(error))
        return left == [0 if key.on_delete == "CASCADE" else 1]

    def _follows_update(self, key: ForeignKey) -> bool | None:
        """Name the first row's parent anew; None where that is refused of the second's, which has no child."""
        parent = self.rows.tables[key.table]
        new: Values = {}
        for name, target in zip(key.columns, key.target):
            size = self.samples.kind(self.table, self.table.columns[name]).size
            new[target] = self.samples.fresh(parent, parent.columns[target], size) or "NULL"
        after = {name: new[target] if key.on_update == "CASCADE" else "NULL"
                 for name, target in zip(key.columns, key.target)}  # fmt: skip
        where = self.rows.where(self.table, self.first | after)
        found: list[int] = []

        def update(row: Values) -> None:
            named = self.rows.same(parent, {target: row[name] for name, target in zip(key.columns, key.target)})
            pairs = ", ".join(f"{self.samples.quoted(parent, name)} = {value}" for name, value in new.items())
            self.samples.execute(f"UPDATE {self.rows.engine.quote(parent.name)} SET {pairs} WHERE {named}")
            found.append(self.rows.count(self.table, f"{where} AND {self.rows.same(self.table, after)}"))

        if self.samples.tried(partial(update, self.second)):
            return None
        error = self.samples.tried(partial(update, self.first))
        return None if error and not isinstance(error, peewee.IntegrityError) else found == [0, 1]
