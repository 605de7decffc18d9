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

from migrations.declaration import in_order
from migrations.engines.base import Engine, logger
from migrations.engines.samples import Samples, Unmade, Values, one_line
from migrations.report import Steps
from migrations.schema import ForeignKey, Table

STEPS = ("insert", "select", "unique", "foreign_keys", "cascade", "cleanup")
_FOLLOWING = {"CASCADE", "SET NULL"}
_Check = Callable[[], "bool | None"]


def smoke_test(engine: Engine) -> Steps:
    """Return the outcome of each of `STEPS`."""
    rows = engine.samples()
    if hidden := rows.hidden():
        logger.warning("  row-level security hides rows of %s from this user", " and ".join(hidden))
        return dict.fromkeys(STEPS)
    models = in_order(engine.models[name] for name in engine.builds if name in rows.tables)
    with rows.trial() as enforced:
        trials = [_Trial(rows, engine.declared(model)) for model in models]
        outcomes = [outcome for trial in trials for outcome in trial.outcomes(enforced)]
    steps = {step: _all([held for tried, held in outcomes if tried == step]) for step in STEPS}
    return steps | {"cleanup": not rows.traces()}


def _all(outcomes: Collection[bool | None]) -> bool | None:
    """Return what several outcomes are together: False before None before True, and None if there is none."""
    if False in outcomes:
        return False
    return None if None in outcomes or not outcomes else True


class _Trial:
    """What is tried with one table, by two rows that it takes, and by keys of parents that are not there."""

    def __init__(self, rows: Samples, declared: Table) -> None:
        self.rows, self.declared, self.table = rows, declared, rows.tables[declared.name]
        self.first: Values = {}
        self.second: Values = {}
        self.nowhere: Values = {}

    def outcomes(self, enforced: bool) -> Iterator[tuple[str, bool | None]]:
        """Yield what there is to try, and what came of it: None if it rests on what did not hold."""
        goes_on: bool | None = True
        for step, check in self._checks():
            of_keys = step in ("foreign_keys", "cascade")
            held = check() if goes_on and (enforced or not of_keys) else None
            yield step, held
            if step in ("insert", "select"):
                goes_on = held
        if self.declared.foreign_keys and not enforced:
            logger.warning("  foreign keys are off or deferred in the caller's transaction: not tried")

    def _checks(self) -> Iterator[tuple[str, _Check]]:
        yield "insert", self._inserted
        yield "select", self._selected
        counts = {name for name, column in self.declared.columns.items() if column.automatic}
        for columns in self.declared.unique_keys():
            if columns and not counts & {*columns}:
                yield "unique", partial(self._refused, self.first, columns)
        for key in self.declared.foreign_keys:
            yield "foreign_keys", partial(self._refused, self.nowhere, key.columns)
            if self._is_cheap(key):
                yield "cascade" if key.on_delete in _FOLLOWING else "foreign_keys", partial(self._deleted, key)
                if key.on_update in _FOLLOWING and key.table != self.declared.name:
                    yield "cascade", partial(self._renamed, key)

    def _inserted(self) -> bool | None:
        keys = self.declared.foreign_keys
        try:
            parents = self.rows.parents(self.table, keys)
            nowhere, _ = self.rows.tried(partial(self.rows.parents, self.table, keys))
            others = self.rows.parents(self.table, keys)
        except Unmade as error:
            logger.warning("  the smoke test cannot make a row of %s", error)
            return None
        try:
            self.first |= self.rows.make(self.table, parents)
        except Unmade as error:
            logger.error("  insert: %s", error)
            return False
        try:
            second, _ = self.rows.tried(partial(self.rows.make, self.table, others))
        except Unmade as error:
            logger.warning("  the smoke test cannot make a second row of %s", error)
        else:
            self.second |= second or {}
            self.nowhere |= nowhere or {}
        return True

    def _selected(self) -> bool | None:
        where = self.rows.where(self.table, self.first)
        return self.rows.count(self.table, where) == 1 if where else None

    def _refused(self, given: Values, columns: Collection[str]) -> bool | None:
        """Whether the second row is refused with others' values in a key; None where it will be later."""
        row = self.second | {name: given[name] for name in columns if self.second}
        if row == self.second:  # or a type has none to spare
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

    def _deleted(self, key: ForeignKey) -> bool | None:
        """Whether the first row keeps its parent from being deleted, or goes as the key says."""
        after = None if key.on_delete == "CASCADE" else dict.fromkeys(key.columns, "NULL")
        parent = self.rows.engine.quote(self.rows.tables[key.table].name)
        follows, error = self._changed(key, self.first, f"DELETE FROM {parent}", after)
        by_key = self._by_key(error) if error else False
        if key.on_delete not in _FOLLOWING or by_key is None:
            return by_key
        if error:
            logger.error("  cascade: %s", one_line(error))
        return bool(follows)

    def _renamed(self, key: ForeignKey) -> bool | None:
        """Whether the first row follows its parent's new key; None where the second's, without a child, takes none."""
        if not self.nowhere:
            return None
        parent = self.rows.tables[key.table]
        targets = [self.rows.quoted(parent, target) for target in key.target]
        new = ", ".join(f"{target} = {self.nowhere[name]}" for target, name in zip(targets, key.columns))
        rename = f"UPDATE {self.rows.engine.quote(parent.name)} SET {new}"
        after = {name: self.nowhere[name] if key.on_update == "CASCADE" else "NULL" for name in key.columns}
        _, refused = self._changed(key, self.second, rename, after)
        follows, error = self._changed(key, self.first, rename, after)
        return None if refused or error and not self._by_key(error) else bool(follows)

    def _changed(
        self, key: ForeignKey, row: Values, sql: str, after: Values | None
    ) -> tuple[bool | None, peewee.DatabaseError | None]:
        """Change a row's parent, and undo it; return whether the first row became what it should, and what refused it.

        :param after: what its key is then, None if it is gone.
        """
        parent = self.rows.tables[key.table]
        which = self.rows.same(parent, {target: row[name] for name, target in zip(key.columns, key.target)})
        expected = self.rows.where(self.table, self.first | (after or {}), after)

        def change() -> bool:
            self.rows.execute(f"{sql} WHERE {which}")
            return self.rows.count(self.table, str(expected)) == (after is not None)

        return self.rows.tried(change)
