"""The rows that stand against a change, found before the first statement.

    for text in obstacles(differences, operations, schema, engine): ...

A change that would lose or bend a value is refused, with up to five of the rows by key, their
number, and the query that shows them all. Each query reads a table once or twice, whatever it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from migrations import operations as do
from migrations.engines.base import Engine, logger
from migrations.operations import Operation
from migrations.report import Difference
from migrations.schema import Check, ForeignKey, Schema, Table

_SHOWN = 5


def obstacles(
    differences: Iterable[Difference], operations: Iterable[Operation], schema: Schema, engine: Engine
) -> Iterator[str]:
    """Yield one line for each difference that the rows do not let mend, and for what is done besides to mend it."""
    planned = [(each.message, each.mended_by) for each in differences if each.mended_by]
    mended = {_place(operation) for _, operation in planned}
    for each in operations:
        if (place := _place(each)) not in mended:
            planned.append(("{}.{}: the {} has to be made anew for that".format(*place), each))
    names = dict.fromkeys(operation.table for _, operation in planned if operation.table in schema)
    if names:  # which may take a while
        logger.info("looking for rows that stand against the change")
    for name in names:
        changes = [(message, operation) for message, operation in planned if operation.table == name]
        look = _Look(engine, schema, engine.declared(engine.models[name]), [operation for _, operation in changes])
        with engine.all_rows():
            for what, operation in [*changes, *look.keys_at_stake()]:
                if isinstance(operation, do.AddColumn):
                    yield from look.missing(operation)
                if isinstance(operation, do.AlterColumn) and "type" in operation.what:
                    what += ", and values that do not convert without loss"
                for condition in look.conditions(operation):
                    yield from rows_against(what, condition, look.table, engine)


def _place(operation: Operation) -> tuple[str, str, str]:
    """Return what an operation is about: the table, the name in it, and of what."""
    if isinstance(operation, do.AlterColumn):
        return operation.table, operation.column.name, "column"
    if isinstance(operation, (do.DropForeignKey, do.AddForeignKey)):
        return operation.table, ", ".join(operation.key.columns), "foreign key"
    return operation.table, str(operation), "rest"


class _Look:
    """A look at one table's rows as they will be once its columns have the types that they are to have."""

    def __init__(self, engine: Engine, schema: Schema, declared: Table, operations: Sequence[Operation]) -> None:
        self.engine, self.schema, self.table, self.declared = engine, schema, schema[declared.name], declared
        alterations = [each for each in operations if isinstance(each, do.AlterColumn) and "type" in each.what]
        self.retyped = {each.column.name for each in alterations}
        merging = [each for each in alterations if engine.merges(each.actual.type, each.column.type)]
        self.merging = {each.column.name for each in merging}  # two of whose values may become one
        self.added = {each.wanted.columns for each in operations if isinstance(each, do.AddIndex)}

    def keys_at_stake(self) -> Iterator[tuple[str, Operation]]:
        """Yield the unique keys that hold so far, as if they were to be added."""
        for index in self.declared.indexes:
            if index.unique and index.columns not in self.added and self.merging & {*index.columns}:
                what = f"{self.table.name}.{index.name}: rows that become equal once they are converted"
                yield what, do.AddIndex(self.table.name, index)

    def missing(self, operation: do.AddColumn) -> Iterator[str]:
        column, table, quote = operation.column, self.table.name, self.engine.quote
        if not column.optional and (rows := self.engine.count(table)):
            yield (
                f"{table}.{column.name} is missing, must not be NULL, and {rows:,} row{'s' * (rows > 1)} would have "
                f"no value; add it with its values first: ALTER TABLE {quote(table)} ADD COLUMN {quote(column.name)} "
                f"{column.type.text}; UPDATE {quote(table)} SET {quote(column.name)} = ..."
            )

    def conditions(self, operation: Operation) -> Iterator[str]:
        """Yield the conditions of the rows that stand against an operation."""
        there = self.table.columns.keys()
        if isinstance(operation, do.AlterColumn):
            column, value = operation.actual, f"w.{self.engine.quote(operation.actual.name)}"
            if "null" in operation.what and not operation.column.null:
                yield f"{value} IS NULL"
            if "type" in operation.what and not column.generated:
                yield self.engine.unconvertible(value, column.type, operation.column.type)
        elif isinstance(operation, do.SetPrimaryKey) and there >= {*operation.columns}:
            for value in (f"w.{self.engine.quote(name)}" for name in operation.columns):
                yield self.engine.uncountable(value) if operation.counting else f"{value} IS NULL"
            yield from self._repeated(operation.columns)
        elif isinstance(operation, do.AddIndex) and operation.wanted.unique:
            yield from self._repeated(operation.wanted.columns)
        elif isinstance(operation, do.AddForeignKey) and there >= {*operation.key.columns}:
            yield self._no_parent(operation.key)
        elif isinstance(operation, do.AddCheck):
            yield self._against(operation.check)

    def _against(self, check: Check) -> str:
        """A column that is about to be added, or to change its type, counts with the value that it will have."""
        values = []
        for name, column in self.declared.columns.items():
            if not re.search(rf"\b{re.escape(name)}\b", check.sql):
                continue
            value = f"w.{self.engine.quote(name)}"
            if name not in self.table.columns:
                values.append(f"{self.engine.typed(column.default or 'NULL', column.type)} AS {value[2:]}")
            elif name in self.retyped and (typed := self.engine.typed(value, column.type)) != value:
                lossy = self.engine.unconvertible(value, self.table.columns[name].type, column.type)
                values.append(f"CASE WHEN NOT ({lossy}) THEN {typed} END AS {value[2:]}")
        if not values:
            return f"NOT ({check.sql})"
        return f"EXISTS (SELECT 1 FROM (SELECT {', '.join(values)}) AS changed WHERE NOT ({check.sql}))"

    def _value(self, column: str, value: str) -> str:
        return self.engine.as_text(value) if column in self.retyped else value  # 1 and '1' become equal

    def _no_parent(self, key: ForeignKey) -> str:
        values = [self._value(column, f"w.{self.engine.quote(column)}") for column in key.columns]
        if key.table not in self.schema or key.target[0] not in self.schema[key.table].columns:
            return " AND ".join(f"{value} IS NOT NULL" for value in values)  # as yet there is no parent at all
        parent = self.engine.declared(self.engine.models[key.table])
        text = bool(self.retyped & {*key.columns}) and parent.columns[key.target[0]].type.family != "string"
        return self.engine.no_parent(values, key, self.table, text)

    def _repeated(self, columns: Sequence[str]) -> Iterator[str]:
        """A column that is about to be added is the same in every row, or NULL."""
        for key in self.table.unique_keys():  # what is unique in fewer columns, or in stricter ones, is in these
            if key and {column.partition(" ")[0] for column in key} <= {*columns} - self.merging:
                return
        there = [name for name in columns if name in self.table.columns]
        added = [self.declared.columns[name] for name in columns if name not in there]
        if there and all(column.default is not None for column in added):
            quoted = [self.engine.quote(name) for name in there]
            names = ", ".join(map(self._value, there, quoted))
            given = " AND ".join(f"{name} IS NOT NULL" for name in quoted)
            rows = f"FROM {self.engine.quote(self.table.name)} WHERE {given}"
            yield f"({names}) IN (SELECT {names} {rows} GROUP BY {names} HAVING count(*) > 1)"


def rows_against(what: str, condition: str, table: Table, engine: Engine, quick: str | None = None) -> Iterator[str]:
    """Yield one line that shows the rows of a table that fulfil a condition, if there are any.

    :param condition: SQL about the row `w`.
    :param quick: another condition for the same rows, which is quicker and less fit to be read.
    """
    declared = engine.declared(engine.models[table.name.lower()])
    unique = [column for key in declared.unique_keys() for column in key]
    keys = [name for name in dict.fromkeys(unique) if name in table.columns]
    names = ", ".join(f"w.{engine.quote(name)}" for name in keys) or "1"
    rows = f"FROM {engine.quote(table.name)} w WHERE"
    source = f"{rows} {quick or condition}"
    examples = engine.query(engine.literally(f"SELECT {names} {source} ORDER BY {names} LIMIT {_SHOWN}"))
    if examples:
        count = len(examples)
        if count == _SHOWN:
            count = engine.query(engine.literally(f"SELECT count(*) {source}"))[0][0]
        shown = "; ".join(", ".join(f"{key} {value}" for key, value in zip(keys, row)) for row in examples)
        number = f"{count:,} row{'s' * (count != 1)}"
        yield f"{what}: {number} ({shown}{'; ...' * (count > _SHOWN)}); see: SELECT * {rows} {condition}"
