"""The smoke test: do the tables behave as their schema says?

Everything happens in one transaction that is always undone, on rows of its own under random keys: for each
table a parent for each foreign key, then a row. No row of anybody else is changed or locked for deletion,
whatever ids are in use; afterwards the keys are looked for once more.

A step is True where it was tried and held for each table that has something to try, False where it did not
hold, and None where it cannot be tried: it never passes untried.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial

import peewee

from migrations.engines.base import Engine, logger
from migrations.engines.samples import Samples, Unmade, Values, one_line
from migrations.report import Steps
from migrations.schema import ForeignKey, Table

STEPS = ("insert", "select", "unique", "foreign_keys", "cascade", "cleanup")
_FOLLOWING = {"CASCADE", "SET NULL"}


def smoke_test(engine: Engine) -> Steps:
    """Return the outcome of each of `STEPS`."""
    rows = engine.samples()
    if hidden := rows.hidden():
        logger.warning("  row-level security hides rows of %s from this user", " and ".join(hidden))
        return dict.fromkeys(STEPS)
    with engine.trial() as enforced:
        trials = [_Trial(rows, engine.declared(engine.models[name])) for name in engine.builds if name in rows.tables]
        outcomes = [outcome for trial in trials for outcome in trial.outcomes(enforced)]
    # One that failed comes before one that was not tried, and that before those that held.
    steps: Steps = {
        step: min((held for tried, held in outcomes if tried == step), key=(False, None, True).index, default=None)
        for step in STEPS
    }
    return steps | {"cleanup": not rows.traces()}


class _Trial:
    """What is tried with one table, by two rows that it takes, and by keys of parents that are nowhere."""

    def __init__(self, rows: Samples, declared: Table) -> None:
        self.rows, self.declared, self.table = rows, declared, rows.tables[declared.name]
        self.first: Values = {}
        self.second: Values = {}
        self.nowhere: Values = {}

    def outcomes(self, enforced: bool) -> Iterator[tuple[str, bool | None]]:
        """Yield what there is to try, and what came of it: None if it rests on what did not hold."""
        goes_on: bool | None = True
        for step, check in self._checks():
            held = check() if goes_on and (enforced or step not in ("foreign_keys", "cascade")) else None
            yield step, held
            if step in ("insert", "select"):
                goes_on = held
        if self.declared.foreign_keys and not enforced:
            logger.warning("  foreign keys are off or deferred in the caller's transaction: not tried")

    def _checks(self) -> Iterator[tuple[str, Callable[[], bool | None]]]:
        yield "insert", self._inserted
        yield "select", self._selected
        counts = {name for name, column in self.declared.columns.items() if column.automatic}
        for columns in self.declared.unique_keys():
            if columns and not counts & {*columns}:
                yield "unique", partial(self._refused, self.first, columns)
        for key in self.declared.foreign_keys:
            yield "foreign_keys", partial(self._refused, self.nowhere, key.columns)
            if self._is_cheap(key):
                yield "cascade" if key.on_delete in _FOLLOWING else "foreign_keys", partial(self._obeyed, key)
                if key.on_update in _FOLLOWING and key.table != self.declared.name:
                    yield "cascade", partial(self._obeyed, key, self.nowhere)

    def _inserted(self) -> bool | None:
        keys, parents = self.declared.foreign_keys, None
        try:
            parents = self.rows.parents(self.table, keys)
            self.first = self.rows.make(self.table, parents)
            nowhere, _ = self.rows.tried(partial(self.rows.parents, self.table, keys))
            others = self.rows.parents(self.table, keys)
            second, _ = self.rows.tried(partial(self.rows.make, self.table, others))
            self.nowhere, self.second = nowhere or {}, second or {}
        except Unmade as error:
            logger.warning("  the smoke test cannot make a row of %s", error)
        return True if self.first else None if parents is None else False

    def _selected(self) -> bool | None:
        key = self.rows.key(self.table, self.first)
        return self.rows.count(self.table, key) == 1 if key else None

    def _refused(self, given: Values, columns: Collection[str]) -> bool | None:
        """Whether the second row is refused with others' values in a key; None where it will be later."""
        row = self.second | {name: given[name] for name in columns if self.second}
        if row == self.second:  # there is none, or a type has none to spare
            return None

        def insert() -> bool:
            self.rows.insert(self.table, row)
            return self.rows.engine.checked_at_commit(self.table.name)

        late, error = self.rows.tried(insert)
        return self._by_key(error) if error else None if late else False

    def _by_key(self, error: peewee.DatabaseError) -> bool | None:
        """Whether something was refused for a key; None where for something else."""
        if isinstance(error, peewee.IntegrityError):
            return True
        logger.warning("  %s: %s", self.table.name, one_line(error))
        return None

    def _is_cheap(self, key: ForeignKey) -> bool:
        """Whether a deletion of the key's parent finds by an index, or among a few rows, what refers to it."""
        long = sorted({*self.rows.searched(key.table), *self.rows.searched(self.table.name)})
        if long:
            columns, read = ", ".join(key.columns), " and ".join(long)
            logger.info("  %s ON DELETE %s: not tried, it would read all of %s", columns, key.on_delete, read)
        return not long

    def _obeyed(self, key: ForeignKey, new: Values | None = None) -> bool | None:
        """Whether the first row does as a key says where its parent is deleted, or has a new one."""
        parent, targets = self.rows.tables[key.table], dict(zip(key.columns, key.target))
        action, change = key.on_delete, f"DELETE FROM {self.rows.engine.quote(parent.name)}"
        after: Values = {}
        if new is not None:
            if not new:
                return None
            after = {name: new[name] for name in targets}
            pairs = ", ".join(f"{self.rows.quoted(parent, target)} = {new[name]}" for name, target in targets.items())
            action, change = key.on_update, f"UPDATE {self.rows.engine.quote(parent.name)} SET {pairs}"
        if action == "SET NULL":
            after = dict.fromkeys(targets, "NULL")
        which = self.rows.where(parent, {target: self.first[name] for name, target in targets.items()})

        def follows() -> bool:
            self.rows.execute(f"{change} WHERE {which}")
            there = self.rows.count(self.table, self.rows.key(self.table, self.first | after) | after)
            return there == bool(after)

        followed, error = self.rows.tried(follows)
        by_key = self._by_key(error) if error else False
        if action not in _FOLLOWING or by_key is None:
            return by_key
        if error:
            logger.error("  cascade: %s", one_line(error))
        return bool(followed)
