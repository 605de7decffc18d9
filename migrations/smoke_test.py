"""The smoke test: does the live table behave as its schema says?

Everything happens in one transaction that is always undone, on rows of its own under random keys:
a parent of each kind, then a row of `weekly_actuals`. No row of anybody else is changed or locked
for deletion, whatever ids are in use; afterwards the keys are looked for once more.

A step is True where it was tried and held, False where it did not hold, and None where it cannot be
tried: it never passes untried.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable

import peewee

from db.models import WeeklyActuals
from migrations.engines.base import Engine, logger
from migrations.schema import Column, Table, declared

STEPS = ("insert", "select", "unique", "foreign_keys", "cascade", "cleanup")
_DUMMIES = {
    "integer": 1, "float": 1.0, "decimal": 1, "boolean": False, "date": datetime.date(2000, 1, 3),
    "datetime": datetime.datetime(2000, 1, 3), "json": "{}", "jsonb": "{}",
    "blob": b"x",
}  # fmt: skip
_ATTEMPTS = 5  # one with what fits the types, then with what CHECKs name

Steps = dict[str, "bool | None"]


def smoke_test(engine: Engine) -> Steps:
    """Return the outcome of each of `STEPS`."""
    steps: Steps = dict.fromkeys(STEPS)
    tokens = {key.table: _token() for key in declared(WeeklyActuals).foreign_keys}
    trial = _Trial(engine, tokens, _tables(engine))
    with engine.trial() as enforced:
        with engine.without_checks():
            ready = trial.has_parents()
        if ready:
            trial.run(steps, enforced)
    steps["cleanup"] = not any(
        engine.query(*_find(engine, name, column, tokens[table])) for name, column, table in _places()
    )
    return steps


def _tables(engine: Engine) -> dict[str, Table]:
    """Return `weekly_actuals` with all that it refers to, and all that those refer to.

    Before the transaction: where that is aborted, MariaDB's information_schema swallows the news, and
    what came next would stay.
    """
    found: dict[str, Table] = {}
    wanted = ["weekly_actuals"]
    while wanted:
        name = wanted.pop()
        if name not in found and (table := engine.table(name)):
            found[name] = table
            wanted += [key.table for key in table.foreign_keys]
    return found


def _places() -> list[tuple[str, str, str]]:
    keys = declared(WeeklyActuals).foreign_keys
    return [(key.table, key.target[0], key.table) for key in keys] + [
        ("weekly_actuals", key.columns[0], key.table) for key in keys
    ]


def _find(engine: Engine, table: str, column: str, value: object) -> tuple[str, tuple]:
    return f"SELECT 1 FROM {engine.quote(table)} WHERE {engine.quote(column)} = {engine.database.param}", (value,)


def _number() -> int:
    return uuid.uuid4().int % 2**30 + 2**30


def _token() -> str:
    return "smoke_test_" + uuid.uuid4().hex


class _Trial:
    """The rows of one smoke test and what is done with them."""

    def __init__(self, engine: Engine, tokens: dict[str, str], tables: dict[str, Table]) -> None:
        self.engine, self.tokens, self.tables = engine, tokens, tables
        self.taken = 0  # the attempt whose row was taken last

    def has_parents(self) -> bool:
        """Make a parent of each kind; where a table does not take one, nothing can be tried."""
        for key in declared(WeeklyActuals).foreign_keys:
            table = self.tables[key.table]
            size = table.columns[key.target[0]].size
            self.tokens[key.table] = self.tokens[key.table][: size or None]
            if error := self._make(table, {key.target[0]: self.tokens[key.table]}):
                logger.warning("  the smoke test cannot make a row of %s: %s", key.table, _line(error))
                return False
        return True

    def run(self, steps: Steps, enforced: bool) -> None:
        """Try the steps in order; one that rests on a failed one stays None."""
        table = self.tables["weekly_actuals"]
        row = {key.columns[0]: self.tokens[key.table] for key in declared(WeeklyActuals).foreign_keys}
        row |= {"week_number": 1, "actual_units_sold": 1}
        error = self._make(table, self._identified(table, row))
        steps["insert"] = error is None
        if error:
            logger.error("  insert: %s", _line(error))
            return
        mine = _find(self.engine, "weekly_actuals", "workflow_id", row["workflow_id"])
        steps["select"] = len(self.engine.query(*mine)) == 1
        steps["unique"] = self._refused(table, row)
        if not enforced:
            logger.warning("  foreign keys are off or deferred in the caller's transaction: not tried")
            return
        steps["foreign_keys"] = True
        for column in ("workflow_id", "store_id", "category_id"):
            orphan = {**row, "week_number": 2, column: _token()[: len(row[column])]}
            if not self._refused(table, orphan):
                late = self.engine.checked_at_commit()
                steps["foreign_keys"] = None if late and steps["foreign_keys"] is not False else False
        sql, params = _find(self.engine, "workflows", "workflow_id", row["workflow_id"])
        try:
            with self.engine.database.savepoint():
                self.engine.database.execute_sql(sql.replace("SELECT 1", "DELETE", 1), params)
        except peewee.IntegrityError as error:  # a trigger's, say
            logger.error("  cascade: %s", _line(error))
        steps["cascade"] = not self.engine.query(*mine)

    def _refused(self, table: Table, row: dict[str, object]) -> bool:
        """Whether a row that is like the one taken last, but for what is on trial, is refused for it."""
        return isinstance(self._make(table, self._identified(table, row), (self.taken,)), peewee.IntegrityError)

    def _identified(self, table: Table, row: dict[str, object]) -> dict[str, object]:
        row_id = self.engine.trial_id(table.columns["id"])
        return row if row_id is None else {**row, "id": row_id}

    def _make(
        self, table: Table, given: dict[str, object], attempts: Iterable[int] = range(_ATTEMPTS)
    ) -> Exception | None:
        """Insert a row with the given values, the rest made up; return the error if it was refused."""
        error: Exception | None = None
        for attempt in attempts:
            savepoint = self.engine.database.savepoint()
            savepoint.__enter__()
            try:
                self._insert(table.name, self._row(table, given, attempt))
                savepoint.commit(begin=False)
                self.taken = attempt
                return None
            except peewee.DatabaseError as refusal:
                if self.engine.is_lock_timeout(refusal):
                    raise
                try:
                    savepoint.rollback(begin=False)
                except peewee.DatabaseError:  # the whole transaction is gone: what came next would stay
                    raise refusal from None
                error = error or refusal
        return error

    def _insert(self, table: str, row: dict[str, object]) -> None:
        names = ", ".join(map(self.engine.quote, row))
        marks = ", ".join([self.engine.database.param] * len(row))
        self.engine.database.execute_sql(
            f"INSERT INTO {self.engine.quote(table)} ({names}){self.engine.override} VALUES ({marks})",
            tuple(row.values()),
        )

    def _row(self, table: Table, given: dict[str, object], attempt: int) -> dict[str, object]:
        """Return a row that the table should take: the given values, then those of a real row, whose
        CHECKs hold, and on an empty table values that the CHECKs name."""
        needed = [
            column for column in table.columns.values()
            if column.name.lower() not in given and not column.optional
        ]  # fmt: skip
        unique = {name for index in table.indexes if index.unique for name in index.columns} | set(table.primary_key)
        sample = self._sample(table, needed)
        named = self.engine.check_literals(table.name) if attempt and needed and not sample else {}
        row = dict(given)
        for column in needed:
            name = column.name.lower()
            choices = named.get(name)
            if name not in unique and sample:
                row[column.name] = sample[name]
            elif choices:
                row[column.name] = choices[(attempt - 1) % len(choices)]
            else:
                row[column.name] = self._parent_of(table, name) or _made_up(column, name in unique)
        return row

    def _sample(self, table: Table, needed: list[Column]) -> dict[str, object]:
        names = ", ".join(self.engine.quote(column.name) for column in needed)
        rows = self.engine.query(f"SELECT {names} FROM {self.engine.quote(table.name)} LIMIT 1") if needed else []
        return dict(zip((column.name.lower() for column in needed), rows[0])) if rows else {}

    def _parent_of(self, table: Table, column: str) -> object:
        """Return a key that a made-up row's own foreign key can refer to, making that row if need be."""
        for key in table.foreign_keys:
            if key.columns == (column,) and key.table in self.tables and key.table != table.name.lower():
                parent, target = self.engine.quote(key.table), self.engine.quote(key.target[0])
                if not (rows := self.engine.query(f"SELECT {target} FROM {parent} LIMIT 1")):
                    made = self.tables[key.table]
                    self._make(made, {key.target[0]: _made_up(made.columns[key.target[0]], True)})
                    rows = self.engine.query(f"SELECT {target} FROM {parent} LIMIT 1")
                return rows[0][0] if rows else None
        return None


def _made_up(column: Column, unique: bool) -> object:
    if column.family in _DUMMIES:
        number = unique and column.family in ("integer", "decimal")
        return _number() if number else _DUMMIES[column.family]
    return _token()[: column.size or None] if unique else "x"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
