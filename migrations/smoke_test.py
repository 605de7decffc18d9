"""The smoke test: do the tables behave as their schema says?

Everything happens in one transaction that is always rolled back, on rows of its own
under random keys: for each table a parent for each foreign key, then a row. No other
row is changed or locked for deletion, whatever ids are in use. Afterwards the inserted
keys are looked for once more.

A step is True if it was tried and held for every table that has something to try, False
if it did not hold, and None if it could not be tried: it never passes untried.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from itertools import islice, product
from typing import NamedTuple, TypeVar

import peewee

from migrations.engines.engine import Engine
from migrations.engines.sample_rows import RowNotInserted, SampleRow, SampleRows
from migrations.engines.session import logger
from migrations.report import SmokeTestSteps
from migrations.schema import ForeignKey, Index, Table
from migrations.sql_text import mentioned_names, one_line

STEPS = ("insert", "select", "unique", "foreign_keys", "cascade", "cleanup")
# What a table must have for a step to be tried.
_SUBJECTS = {
    "insert": "been created",
    "select": "been created",
    "unique": "a unique key except its id",
    "foreign_keys": "a foreign key",
    "cascade": "a foreign key with an action",
}
# How many combinations of values are tried for the columns of a condition.
_COMBINATIONS = 200
# Actions of a foreign key that change the child when its parent changes.
_PROPAGATING_ACTIONS = {"CASCADE", "SET NULL", "SET DEFAULT"}

Outcome = bool | None  # held, did not hold, or (None) could not be tried
Result = TypeVar("Result")


def smoke_test(engine: Engine) -> SmokeTestSteps:
    """Test the managed tables; return the outcome of each of `STEPS`."""
    rows = engine.sample_rows()
    reason = rows.reason_not_to_try()
    if reason:
        logger.warning("  the smoke test is not tried: %s", reason)
        return dict.fromkeys(STEPS)
    outcomes: dict[str, list[Outcome]] = {step: [] for step in STEPS}
    with engine.session.smoke_test_transaction() as keys_enforced:
        for name in engine.models.managed:
            if name in rows.tables:
                declared = engine.catalog.declared_by_name(name)
                test = _TableTest(rows, declared, keys_enforced)
                for step, outcome in test.outcomes():
                    outcomes[step].append(outcome)
    outcomes["cleanup"].append(not rows.has_leftovers())
    for step, results in outcomes.items():
        if not results:
            logger.warning("  %s: no table of the phase has %s", step, _SUBJECTS[step])
    return {step: worst(results) for step, results in outcomes.items()}


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Return False if one did not hold, None if one or all were not tried."""
    results = list(outcomes)
    if False in results:
        return False
    if None in results or not results:
        return None
    return True


class _TestRows(NamedTuple):
    """Rows of one table to test with; {} for one that there is not."""

    inserted: Outcome  # of the first
    first: SampleRow
    second: SampleRow  # accepted, and rolled back
    orphan_keys: SampleRow  # values of parents that were rolled back


class _TableTest:
    """What is tried with one table: two rows, and keys that have no parent."""

    def __init__(self, rows: SampleRows, declared: Table, keys_enforced: bool) -> None:
        self.rows = rows
        self.declared = declared
        self.table = rows.tables[declared.name]
        self.keys_enforced = keys_enforced
        # With those that hold a column of a declared unique key.
        self.foreign_keys = [*declared.foreign_keys, *self._undeclared_keys()]

    def outcomes(self) -> list[tuple[str, Outcome]]:
        """Return the outcome of everything that there is to try, by step."""
        rows = self._make_rows()
        results: list[tuple[str, Outcome]] = [("insert", rows.inserted)]
        if rows.inserted:
            selected = self._select(rows.first)
        else:
            selected = self._not_tried("the other steps", "there is no row to try with")
        results.append(("select", selected))
        for step, check in self._checks(rows):
            needs_keys = step in ("foreign_keys", "cascade")
            if selected and (self.keys_enforced or not needs_keys):
                results.append((step, check()))
            else:
                results.append((step, None))
        if self.declared.foreign_keys and not self.keys_enforced:
            logger.warning(
                "  foreign keys are off or deferred in the caller's transaction: "
                "not tried"
            )
        return results

    def _checks(self, rows: _TestRows) -> Iterable[tuple[str, Callable[[], Outcome]]]:
        """Yield the steps after "select", each with what has to be called for it."""
        refused = partial(self._is_refused_with, rows.second)
        for columns in self.declared.unique_keys():
            if not columns or not self.declared.columns.keys() >= set(columns):
                continue
            if not self._is_auto_increment(columns):
                yield "unique", partial(refused, rows.first, columns)
        for index in self.declared.indexes:
            if index.unique and not index.is_plain:
                yield "unique", partial(self._index_refuses, rows, index)
        for key in self.declared.foreign_keys:
            yield "foreign_keys", partial(refused, rows.orphan_keys, key.columns)
            if not self._is_quick_to_delete(key):
                continue
            step = "foreign_keys"
            if key.on_delete in _PROPAGATING_ACTIONS:
                step = "cascade"
            yield step, partial(self._follows_deletion, rows.first, key)
            updates = key.on_update in _PROPAGATING_ACTIONS
            if updates and key.parent != self.declared.name:
                yield "cascade", partial(self._follows_update, rows, key)

    def _undeclared_keys(self) -> list[ForeignKey]:
        """Return foreign keys of the database without which a unique key is not tried.

        A column of the unique key has no value if the row has no parent.
        """
        declared = {name for key in self.declared.foreign_keys for name in key.columns}
        unique = {name for key in self.declared.unique_keys() for name in key}
        found = []
        for key in self.table.foreign_keys:
            columns = set(key.columns)
            if columns & unique and columns.isdisjoint(declared):
                found.append(key)
        return found

    def _not_tried(self, what: str, reason: str) -> Outcome:
        """Log why something of the table is not tried; return that outcome."""
        logger.warning("  %s of %s: not tried, %s", what, self.table.name, reason)
        return None

    def _is_auto_increment(self, columns: Collection[str]) -> bool:
        return any(self.declared.columns[name].auto_increment for name in columns)

    # -- insert, select

    def _make_rows(self) -> _TestRows:
        """Insert a row; find a second one, and keys without a parent."""
        none = _TestRows(inserted=None, first={}, second={}, orphan_keys={})
        parents = self._logged(self._new_parents)
        if parents is None:
            return none
        try:
            first = self.rows.insert_row(self.table, parents)
        except RowNotInserted as error:
            logger.warning("  the smoke test cannot insert a row of %s", error)
            if error.tried:
                return none._replace(inserted=False)
            return none
        # First, as a type may have so few values that nothing is left for them later.
        orphan_keys: SampleRow = self._rolled_back(self._new_parents, {})
        rows = _TestRows(True, first, {}, orphan_keys)
        other_parents = self._logged(self._new_parents)
        if other_parents is None:
            return rows
        add_second_row = partial(self._with_second_row, rows, other_parents)
        return self._rolled_back(add_second_row, rows)

    def _with_second_row(self, rows: _TestRows, parents: SampleRow) -> _TestRows:
        """Insert a second row; return the rows with it, and keys that it does not have.

        :param parents: its values of foreign keys.
        """
        second = self._logged(partial(self.rows.insert_row, self.table, parents)) or {}
        orphan_keys = rows.orphan_keys
        if orphan_keys:
            # SELECT may be refused where INSERT is not.
            has_parent = partial(self._has_parent, orphan_keys)
            if self._rolled_back(has_parent, False):
                orphan_keys = self._rolled_back(self._new_parents, {})
        return rows._replace(second=second, orphan_keys=orphan_keys)

    def _new_parents(self) -> SampleRow:
        return self.rows.insert_parents(self.table, self.foreign_keys)

    def _has_parent(self, values: SampleRow) -> bool:
        """Whether there is a parent with these values of a foreign key."""
        for key in self.foreign_keys:
            parent = self.rows.tables[key.parent]
            if self.rows.count_matching(parent, _parent_values(key, values)):
                return True
        return False

    def _logged(self, make: Callable[[], Result]) -> Result | None:
        """Return what is made of rows; log why one is not inserted."""
        try:
            return make()
        except RowNotInserted as error:
            logger.warning("  the smoke test cannot insert a row of %s", error)
            return None

    def _rolled_back(self, make: Callable[[], Result], otherwise: Result) -> Result:
        """Make something of rows, and roll them back; return what was made.

        :param otherwise: returned if the database refuses it; the refusal is logged.
        """
        attempt = self.rows.attempt(partial(self._logged, make))
        if attempt.error is not None:
            logger.warning("  %s: %s", self.table.name, one_line(attempt.error))
        if attempt.result is None:
            return otherwise
        return attempt.result

    def _select(self, row: SampleRow) -> Outcome:
        key = self.rows.key_of(self.table, row)
        if not key:
            return self._not_tried("select", "no unique key finds the row again")
        return self.rows.count_matching(self.table, key) == 1

    # -- unique keys, foreign keys

    def _is_refused_with(
        self, accepted: SampleRow, values: SampleRow, columns: Collection[str]
    ) -> Outcome:
        """Whether a row that was accepted is refused with other values in a key.

        None if the database will refuse it later, or for another reason.
        """
        what = f"the key ({', '.join(columns)})"
        if not accepted:
            return self._not_tried(what, "there is no second row to try with")
        if not values.keys() >= set(columns):
            return self._not_tried(what, "there is no value for each of its columns")
        row = dict(accepted)
        for name in columns:
            row[name] = values[name]
        if row == accepted:
            return self._not_tried(what, "its type has no other value")

        def insert() -> bool:
            self.rows.insert(self.table, row)
            return self.rows.checked_at_commit(self.table, row)

        attempt = self.rows.attempt(insert)
        if attempt.error is not None:
            if self.rows.refused_by_expression(self.table, attempt.error):
                return self._not_tried(what, one_line(attempt.error))
            return self._is_key_violation(attempt.error)
        accepted_until_commit = attempt.result
        if accepted_until_commit:
            return self._not_tried(what, "it is checked at COMMIT only")
        return False

    def _index_refuses(self, rows: _TestRows, index: Index) -> Outcome:
        """Whether a partial or expression index refuses the first row's values again.

        None if the first row cannot be made one that the condition is true for.
        """
        key = index.columns_among(self.declared.columns)
        what = f"the index {index.name}"
        if not key:
            return self._not_tried(what, "its expressions name no column")
        in_condition = mentioned_names(index.condition or "", self.declared.columns)

        def refused_once_condition_holds() -> Outcome:
            values = self._satisfying(rows.first, index, in_condition)
            if values is None:
                reason = f"no row was found for WHERE {index.condition}"
                return self._not_tried(what, reason)
            columns = {*key, *(values.keys() & set(in_condition))}
            return self._is_refused_with(rows.second, values, columns)

        attempt = self.rows.attempt(refused_once_condition_holds)
        if attempt.error is not None:
            return self._not_tried(what, one_line(attempt.error))
        return attempt.result

    def _satisfying(
        self, row: SampleRow, index: Index, names: Sequence[str]
    ) -> SampleRow | None:
        """Change an inserted row until the condition of an index is true for it.

        :param names: the columns that may change.
        :return: the row as it is then; None if no value was found.
        """
        condition = index.condition
        if condition is None or self.rows.has_row(self.table, row, condition):
            return row
        values = [self._values_for(name, condition, row) for name in names]
        for combination in islice(product(*values), _COMBINATIONS):
            changes = dict(zip(names, combination))
            update = partial(self.rows.update, self.table, row, changes)
            if self.rows.attempt(update, keep=True).error is not None:
                continue
            row = {**row, **changes}
            if self.rows.has_row(self.table, row, condition):
                return row
        return None

    def _values_for(self, name: str, condition: str, row: SampleRow) -> list[str]:
        """Return values of a column for which a condition may be true.

        Those that stand in it are the most promising ones.
        """
        column = self.table.columns[name]
        size = column.type.size or 0
        values = [row[name]] if name in row else []
        values += re.findall(r"'(?:[^']|'')*'|\b\d+\b", condition)
        values += self.rows.candidate_values(self.table, column, size, row)[:3]
        values += ["NULL", "TRUE", "FALSE"]
        return list(dict.fromkeys(values))

    def _is_key_violation(self, error: peewee.DatabaseError) -> Outcome:
        """Whether a key was the reason of a refusal; None if there was another."""
        if isinstance(error, peewee.IntegrityError):
            return True
        logger.warning("  %s: %s", self.table.name, one_line(error))
        return None

    # -- actions

    def _is_quick_to_delete(self, key: ForeignKey) -> bool:
        """Whether deleting a parent reads no long table in full."""
        scanned = {
            *self.rows.tables_scanned_on_delete(key.parent),
            *self.rows.tables_scanned_on_delete(self.table.name),
        }
        if scanned:
            logger.info(
                "  %s ON DELETE %s: not tried, it would read all of %s",
                ", ".join(key.columns),
                key.on_delete,
                " and ".join(sorted(scanned)),
            )
        return not scanned

    def _follows_deletion(self, row: SampleRow, key: ForeignKey) -> Outcome:
        """Whether a row obeys its key when its parent is deleted."""
        parent = self.rows.tables[key.parent]
        condition = self.rows.condition(parent, _parent_values(key, row))
        delete = f"DELETE FROM {self.rows.quote(parent.name)} WHERE {condition}"
        return self._follows(row, key, key.on_delete, delete, None)

    def _follows_update(self, rows: _TestRows, key: ForeignKey) -> Outcome:
        """Whether the first row obeys its key when its parent's key changes."""
        if not rows.orphan_keys:
            what = f"ON UPDATE of ({', '.join(key.columns)})"
            return self._not_tried(what, "there is no other value for its parent")
        parent = self.rows.tables[key.parent]
        assignments = []
        for name, value in _parent_values(key, rows.orphan_keys).items():
            assignments.append(f"{self.rows.quoted_column(parent, name)} = {value}")
        condition = self.rows.condition(parent, _parent_values(key, rows.first))
        update = (
            f"UPDATE {self.rows.quote(parent.name)} SET {', '.join(assignments)} "
            f"WHERE {condition}"
        )
        updated = {name: rows.orphan_keys[name] for name in key.columns}
        return self._follows(rows.first, key, key.on_update, update, updated)

    def _follows(
        self,
        row: SampleRow,
        key: ForeignKey,
        action: str,
        statement: str,
        cascaded: SampleRow | None,
    ) -> Outcome:
        """Whether a row is afterwards what an action makes of it.

        :param statement: changes the row's parent.
        :param cascaded: what CASCADE changes in the row; None if it deletes the row.
        """
        changed = cascaded
        if action == "SET NULL":
            changed = dict.fromkeys(key.columns, "NULL")
        if action == "SET DEFAULT":
            changed = {}
            for name in key.columns:
                changed[name] = self.table.columns[name].default or "NULL"

        def change_parent() -> Outcome:
            self.rows.execute(statement)
            if action in _PROPAGATING_ACTIONS:
                return self._has_become(row, changed)
            if self.rows.checked_at_commit(self.table, row):
                what = f"ON DELETE {action} of ({', '.join(key.columns)})"
                return self._not_tried(what, "it is checked at COMMIT only")
            return False  # the parent should not have been changed

        attempt = self.rows.attempt(change_parent)
        if attempt.error is None:
            return attempt.result
        refused_by_key = self._is_key_violation(attempt.error)
        if action == "SET DEFAULT" and refused_by_key:
            what = f"SET DEFAULT of ({', '.join(key.columns)})"
            return self._not_tried(what, "there is no parent with the DEFAULT")
        if refused_by_key and action in _PROPAGATING_ACTIONS:
            logger.error("  cascade: %s", one_line(attempt.error))
            return False
        return refused_by_key

    def _has_become(self, row: SampleRow, changed: SampleRow | None) -> bool:
        """Whether an inserted row has changed values now; if None, it is deleted."""
        if changed is None:
            key = self.rows.key_of(self.table, row)
            return self.rows.count_matching(self.table, key) == 0
        key = self.rows.key_of(self.table, row | changed)
        return self.rows.count_matching(self.table, key | changed) == 1


def _parent_values(key: ForeignKey, row: SampleRow) -> SampleRow:
    """Return the values of a foreign key by the columns that they refer to."""
    values = {}
    for name, parent_name in zip(key.columns, key.parent_columns):
        values[parent_name] = row[name]
    return values
