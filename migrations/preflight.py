"""Preflight: the rows that conflict with a plan, found before its first statement.

    for line in conflicts(errors, plan, engine, ddl): ...

Every question is asked of the rows as they will be (`PlannedRows`): an added column
with its DEFAULT, a converted column with its converted value. A change that would lose
or change a value is refused, with up to five of the rows by key, their number, and the
query that shows them all. Each query reads a table once or twice, whatever it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import peewee

from db.plurals import plural
from migrations import operations as do
from migrations.engines.ddl import DDL
from migrations.engines.engine import Engine
from migrations.errors import ChangeRefused
from migrations.index_text import parse_create_index
from migrations.operations import Operation
from migrations.plan import Plan
from migrations.report import Difference
from migrations.schema import Column, Exclusion, ForeignKey, Index, Table
from migrations.sql_text import mentioned_names, one_line

_ABOUT_A_COLUMN = do.AlterColumn | do.AddColumn | do.AdvanceIds | do.DropColumn
_SHOWN = 5  # rows of each conflict


class Question(NamedTuple):
    """Which rows `w` of a source conflict with a change."""

    source: str
    condition: str
    advice: str = ""  # what to do about them


def conflicts(
    errors: Iterable[Difference], plan: Plan, engine: Engine, ddl: DDL
) -> Iterator[str]:
    """Yield one line for each change that rows conflict with."""
    reasons = _reasons(errors, plan)
    tables = dict.fromkeys(operation.table for operation in plan.operations)
    for name in tables:
        if name not in plan.current:
            continue
        checks = _TableChecks(name, plan, engine)
        copied = ddl.copies_rows(plan.operations, name)
        with engine.session.all_rows():
            for operation, reason in reasons:
                if operation.table == name:
                    yield from checks.conflicts_with(operation, reason)
            yield from checks.conflicts_of_collapsing_keys()
            yield from checks.conflicts_with_exclusions()
            yield from checks.conflicts_with_existing_checks(copied)


def _reasons(errors: Iterable[Difference], plan: Plan) -> list[tuple[Operation, str]]:
    """Return each operation with what it is for.

    The errors' own operations are taken, since the plan merges several into one. A
    further operation of the plan was added for the sake of another one.
    """
    reasons = []
    subjects = set()
    for error in errors:
        if error.repaired_by is not None:
            reasons.append((error.repaired_by, error.message))
            subjects.add(_subject(error.repaired_by))
    for operation in plan.operations:
        subject = _subject(operation)
        if subject not in subjects:
            table, name, kind = subject
            reason = f"{table}.{name}: the {kind} has to be recreated for the change"
            reasons.append((operation, reason))
    return reasons


def _subject(operation: Operation) -> tuple[str, str, str]:
    """Return what an operation is about: the table, the name in it, and its kind."""
    table = operation.table
    if isinstance(operation, do.RenameColumn):
        return table, operation.name, "name"
    if isinstance(operation, _ABOUT_A_COLUMN):
        return table, operation.column.name, "column"
    if isinstance(operation, do.DropForeignKey | do.AddForeignKey):
        return table, ", ".join(operation.key.columns), "foreign key"
    if isinstance(operation, do.AddIndex):
        return table, operation.definition.label, "index"
    if isinstance(operation, do.DropIndex):
        return table, operation.definition.name, "dropped index"
    if isinstance(operation, do.AddCheck | do.DropCheck):
        return table, operation.check.name, "CHECK"
    if isinstance(operation, do.SetPrimaryKey):
        return table, ", ".join(operation.columns), "primary key"
    return table, "", "table"


class PlannedRows:
    """The rows of one table as they will be once a plan is executed."""

    def __init__(self, name: str, plan: Plan, engine: Engine) -> None:
        self.engine = engine
        self.table = plan.current[name]
        # Where a column or the table is renamed, a subquery with the new names.
        self.current_source = engine.catalog.current_source(self.table)
        # By the key of a column: the SQL of its planned value, if that is not what it
        # is now.
        self.changed: dict[str, str] = {}
        for operation in plan.operations:
            if operation.table != name:
                continue
            if isinstance(operation, do.AddColumn):
                key = self.table.names.key(operation.column.name)
                self.changed[key] = self._value_of_added(operation)
            elif isinstance(operation, do.AlterColumn):
                value = self._value_of_altered(operation)
                if value is not None:
                    key = self.table.names.key(operation.column.name)
                    self.changed[key] = value

    def _value_of_added(self, operation: do.AddColumn) -> str:
        column = operation.column
        # An auto-increment column has no duplicates: NULL stands for its values.
        value = column.default or "NULL"
        if operation.filled_with is not None:
            value = f"({operation.filled_with})"
        return self.engine.conversions.cast(value, column.type)

    def _value_of_altered(self, operation: do.AlterColumn) -> str | None:
        """Return the SQL of a column's new value; None if it stays as it is."""
        value = None
        if operation.converts_values:
            value = self._converted(operation)
        if operation.filled_with is not None:
            stored = value or self.engine.session.quote(operation.actual.name)
            conversions = self.engine.conversions
            filled = conversions.cast(
                f"({operation.filled_with})", operation.column.type
            )
            value = f"coalesce({stored}, {filled})"
        return value

    def _converted(self, operation: do.AlterColumn) -> str:
        """The converted value; NULL if it cannot be converted, which is a conflict."""
        conversions = self.engine.conversions
        source, target = operation.actual.type, operation.column.type
        value = self.engine.session.quote(operation.actual.name)
        lossy = conversions.lossy_condition(value, source, target)
        converted = conversions.converted(value, source, target)
        planned = f"CASE WHEN NOT ({lossy}) THEN {converted} END"
        return conversions.with_collation(planned, operation.actual, operation.column)

    def has(self, columns: Iterable[str]) -> bool:
        """Whether the rows have all of these columns."""
        known = self.table.columns.keys() | self.changed.keys()
        return known >= set(columns)

    def source(self, columns: Iterable[str]) -> str:
        """Return what to select from for a question about some columns.

        The table itself if none of them changes, which is quicker and easier to read.
        """
        if self.changed.keys().isdisjoint(columns):
            return self.current_source
        quote = self.engine.session.quote
        values = []
        for name, column in self.table.columns.items():
            if name in self.changed:
                values.append(f"{self.changed[name]} AS {quote(column.name)}")
            else:
                values.append(quote(column.name))
        for name, value in self.changed.items():
            if name not in self.table.columns:
                values.append(f"{value} AS {quote(name)}")
        return f"(SELECT {', '.join(values)} FROM {self.named_source})"

    @property
    def named_source(self) -> str:
        """What to select from for values that may name the table.

        A Backfill does in a subquery: "(SELECT p.x FROM p WHERE p.id = things.p_id)".
        """
        if not self.current_source.startswith("("):
            return self.current_source
        return f"{self.current_source} AS {self.engine.session.quote(self.table.name)}"


class _TableChecks:
    """The questions about the rows of one table."""

    def __init__(self, name: str, plan: Plan, engine: Engine) -> None:
        self.engine = engine
        self.conversions = engine.conversions
        self.quote = engine.session.quote
        self.plan = plan
        self.table = plan.current[name]
        self.declared = engine.catalog.declared_by_name(name)
        self.rows = PlannedRows(name, plan, engine)
        # Columns in which two different values may become equal.
        self.collapsing: set[str] = set()
        self.added_indexes: set[tuple[str, ...]] = set()
        for operation in plan.operations:
            if operation.table != name:
                continue
            if isinstance(operation, do.AlterColumn) and self._collapses(operation):
                key = self.table.names.key(operation.column.name)
                self.collapsing.add(key)
            elif isinstance(operation, do.AddIndex):
                self.added_indexes.add(operation.definition.columns)

    def _collapses(self, operation: do.AlterColumn) -> bool:
        """Whether two different values of a column may become equal."""
        if operation.filled_with is not None or operation.changes_collation:
            return True
        if not operation.changes_type:
            return False
        return self.conversions.may_collapse(
            operation.actual.type, operation.column.type
        )

    def conflicts_with(self, operation: Operation, reason: str) -> Iterator[str]:
        """Yield a line for each reason why rows conflict with an operation."""
        if isinstance(operation, do.AddColumn | do.AlterColumn):
            self._refuse_unusable_backfill(operation)
        if isinstance(operation, do.AddColumn) and operation.filled_with is None:
            yield from self._rows_without_value(operation)
        if isinstance(operation, do.AlterColumn) and operation.changes_type:
            reason += ", and values that do not convert without loss"
        for question in self._questions(operation):
            yield from conflicting_rows(reason, question, self.table, self.engine)

    def conflicts_of_collapsing_keys(self) -> Iterator[str]:
        """Yield a line for each existing unique key that conversions would violate.

        Those that are not declared stay, too.
        """
        for index in self.table.indexes:
            recreated = index.columns in self.added_indexes
            if recreated or not index.unique or not index.valid:
                continue
            columns = index.columns_among(self.declared.columns)
            # The rows of a partial index may become others.
            decisive = mentioned_names(index.condition or "", self.declared.columns)
            if self.collapsing.isdisjoint((*columns, *decisive)):
                continue
            name = index.name or ", ".join(columns)
            reason = (
                f"{self.table.name}.{name}: rows that become equal once they are "
                "converted or filled"
            )
            for question in self._questions_about_index(index):
                yield from self._conflicts_if_possible(reason, question)

    def conflicts_with_exclusions(self) -> Iterator[str]:
        """Yield a line for each EXCLUDE constraint that conversions would violate.

        :raises ChangeRefused: the rows of one cannot be compared as they will be.
        """
        if not self.collapsing:
            return
        for exclusion in self.engine.catalog.exclusions(self.table):
            columns = mentioned_names(exclusion.sql, self.table.columns)
            if self.collapsing.isdisjoint(columns):
                continue
            session = self.engine.session
            try:
                with session.transaction():
                    lines = list(self._rows_that_are_excluded(exclusion, columns))
            except peewee.DatabaseError as error:
                if session.failed_because_of_lock(error):
                    raise
                raise ChangeRefused(
                    f"{self.table.name}.{exclusion.name}: the rows of the constraint "
                    "cannot be compared as they are once they are converted or filled, "
                    f"nothing was changed: {one_line(error)}; drop it, run again, then "
                    "create it again"
                ) from None
            yield from lines

    def _rows_that_are_excluded(
        self, exclusion: Exclusion, columns: Sequence[str]
    ) -> Iterator[str]:
        """Yield a line for the rows that an EXCLUDE constraint would reject.

        :param columns: those that the constraint mentions.
        """
        source = self.rows.source(columns)
        if exclusion.is_unique_key:
            question = self._question_about_equal_keys(
                source, exclusion.parts, exclusion.condition
            )
        elif self._keeps_what_is_equal(exclusion, columns):
            return
        else:
            question = self._question_about_pairs(exclusion, source)
        reason = (
            f"{self.table.name}.{exclusion.name}: rows that exclude each other once "
            "they are converted or filled"
        )
        yield from conflicting_rows(reason, question, self.table, self.engine)

    def _keeps_what_is_equal(
        self, exclusion: Exclusion, columns: Sequence[str]
    ) -> bool:
        """Whether an EXCLUDE constraint compares after the conversions as before.

        So it is where a column is only compared for equality, and different values
        stay different. This spares most tables the comparison of rows in pairs.
        """
        for name in self.collapsing.intersection(columns):
            quoted = self.quote(name)
            if mentioned_names(exclusion.sql_except_equal((name, quoted)), [name]):
                return False
            counts = []
            for source in (self.rows.current_source, self.rows.source([name])):
                counts += self.engine.session.query(
                    f"SELECT count({quoted}), count(DISTINCT {quoted}) "
                    f"FROM {source} AS s"
                )
            if counts[0] != counts[1]:
                return False
        return True

    def _question_about_pairs(self, exclusion: Exclusion, source: str) -> Question:
        """Ask for rows that an EXCLUDE constraint rejects together with another one."""
        values = ['s.*, row_number() OVER () AS "row number"']
        conditions = ['b."row number" <> a."row number"']
        for number, part in enumerate(exclusion.parts, start=1):
            name = self.quote(f"compared {number}")
            operator = exclusion.operators[number - 1]
            values.append(f"{part} AS {name}")
            conditions.append(f"a.{name} {operator} b.{name}")
        where = ""
        if exclusion.condition is not None:
            where = f" WHERE {exclusion.condition}"
        rows = f"SELECT {', '.join(values)} FROM {source} AS s{where}"
        others = f"SELECT 1 FROM compared AS b WHERE {' AND '.join(conditions)}"
        return Question(
            f"(WITH compared AS ({rows}) "
            f"SELECT * FROM compared AS a WHERE EXISTS ({others}))",
            "1 = 1",
        )

    def conflicts_with_existing_checks(self, copied: bool) -> Iterator[str]:
        """Yield a line for each existing CHECK that rows will violate.

        Declared or not, it is asked again for each row whose value is converted.

        :param copied: every CHECK is asked again for every row.
        """
        for check in self.table.checks:
            names = _named_columns(check.condition, self.table)
            is_converted = not self.rows.changed.keys().isdisjoint(names)
            if not check.valid or not (is_converted or copied):
                continue
            label = check.name or f"({check.condition})"
            reason = f"{self.table.name}: rows that violate the CHECK {label}"
            if is_converted:
                reason += " once they are converted"
            question = Question(self.rows.source(names), f"NOT ({check.condition})")
            yield from self._conflicts_if_possible(reason, question)

    def _conflicts_if_possible(self, reason: str, question: Question) -> Iterator[str]:
        """Yield a line for the rows that a question finds, if it can be asked.

        A condition may have no meaning for the new type of its column: then the change
        fails in the rehearsal.
        """
        session = self.engine.session
        try:
            with session.transaction():
                lines = list(
                    conflicting_rows(reason, question, self.table, self.engine)
                )
        except peewee.DatabaseError as error:
            if session.failed_because_of_lock(error):
                raise
            return
        yield from lines

    def _refuse_unusable_backfill(
        self, operation: do.AddColumn | do.AlterColumn
    ) -> None:
        """Evaluate the value of a backfill for every row.

        :raises ChangeRefused: that fails, or a value does not fit into the column.
        """
        column = operation.column
        value = operation.filled_with
        if value is None:
            return
        source = self.rows.named_source
        where = f"{operation.table}.{column.name}: Backfill({value!r})"
        cast = self.conversions.cast(f"({value})", column.type)
        unfit = self.conversions.unfit_condition(f"({value})", column.type)
        missing = f"{self.quote(column.name)} IS NULL"
        if isinstance(operation, do.AddColumn):
            missing = "1 = 1"
        session = self.engine.session
        try:
            with session.transaction():
                session.query(f"SELECT count({cast}) FROM {source} WHERE {missing}")
                found = session.query(
                    f"SELECT 1 FROM {source} WHERE {missing} AND ({unfit}) LIMIT 1"
                )
        except peewee.DatabaseError as error:
            if session.failed_because_of_lock(error):
                raise
            raise ChangeRefused(
                f"{where} cannot be evaluated, nothing was changed: {one_line(error)}; "
                "correct it, then run again"
            ) from None
        if found:
            raise ChangeRefused(
                f"{where} gives values that {column.type.text} does not hold, nothing "
                "was changed; correct it, then run again"
            )

    def _rows_without_value(self, operation: do.AddColumn) -> Iterator[str]:
        column = operation.column
        if column.optional:
            return
        count = self.engine.catalog.count(self.table.current_name)
        if not count:
            return
        yield (
            f"{operation.table}.{column.name} is missing, must not be NULL, and "
            f"{plural(count, 'row')} would have no value; declare a DEFAULT in the "
            f"model, or {_advice_to_backfill(column)}"
        )

    def _questions(self, operation: Operation) -> Iterator[Question]:
        if isinstance(operation, do.AlterColumn):
            yield from self._questions_about_column(operation)
        elif isinstance(operation, do.AddColumn):
            for check in operation.checks:
                yield self._question_about_check(check.condition)
            column = operation.column
            if operation.filled_with is not None and not column.null:
                source = self.rows.source([self.table.names.key(column.name)])
                yield Question(
                    source,
                    f"w.{self.quote(column.name)} IS NULL",
                    f"Backfill({operation.filled_with!r}) is NULL there; correct it",
                )
        elif isinstance(operation, do.SetPrimaryKey):
            yield from self._questions_about_primary_key(operation)
        elif isinstance(operation, do.AddIndex):
            yield from self._questions_about_index(operation.definition)
        elif isinstance(operation, do.AddForeignKey):
            yield from self._questions_about_foreign_key(operation.key)
        elif isinstance(operation, do.AddCheck):
            yield self._question_about_check(operation.check.condition)

    def _questions_about_column(self, operation: do.AlterColumn) -> Iterator[Question]:
        actual = operation.actual
        value = f"w.{self.quote(actual.name)}"
        if operation.filled_with is not None:
            key = self.table.names.key(actual.name)
            yield Question(
                self.rows.source([key]),
                f"{value} IS NULL",
                f"Backfill({operation.filled_with!r}) is NULL there; correct it",
            )
            yield from self._questions_about_kept_keys(key)
        elif operation.changes_null and not operation.column.null:
            yield Question(
                self.rows.current_source,
                f"{value} IS NULL",
                f"fill or delete them, or {_advice_to_backfill(operation.column)}",
            )
        if operation.converts_values:
            lossy = self.conversions.lossy_condition(
                value, actual.type, operation.column.type
            )
            yield Question(self.rows.current_source, lossy)

    def _questions_about_kept_keys(self, column: str) -> Iterator[Question]:
        """Ask for rows whose new value has no parent in a foreign key that stays."""
        for key in self.table.foreign_keys:
            if key.columns == (column,) and key.parent in self.plan.current:
                yield from self._questions_about_foreign_key(key)

    def _questions_about_primary_key(
        self, operation: do.SetPrimaryKey
    ) -> Iterator[Question]:
        if not self.rows.has(operation.columns):
            return
        source = self.rows.source(operation.columns)
        for name in operation.columns:
            value = f"w.{self.quote(name)}"
            if name in operation.may_be_null:
                continue
            if operation.auto_increment:
                condition = self.conversions.not_usable_as_id(value)
            else:
                condition = f"{value} IS NULL"
            yield Question(source, condition)
        yield from self._duplicates(operation.columns)

    def _questions_about_index(self, index: Index) -> Iterator[Question]:
        if index.unique and index.is_plain:
            yield from self._duplicates(index.columns)
        elif index.unique and parse_create_index(index.definition) is not None:
            yield from self._duplicates_of_index(index)
        elif index.unique:  # with a suffix such as DESC, which makes no difference here
            columns = []
            for part in index.columns:
                column = self.table.column_of_part(part)
                columns.append(column or self.declared.column_of_part(part))
            yield from self._duplicates(columns)

    def _duplicates(self, columns: Sequence[str]) -> Iterator[Question]:
        """Ask for rows that share the values of a key."""
        if not self.rows.has(columns) or self._is_known_to_be_unique(columns):
            return
        keys = [self.quote(name) for name in columns]
        yield self._question_about_equal_keys(self.rows.source(columns), keys)

    def _duplicates_of_index(self, index: Index) -> Iterator[Question]:
        """Ask for rows that share the values of a partial or expression index."""
        text = parse_create_index(index.definition)
        columns = mentioned_names(index.definition, self.declared.columns)
        if text is None or not self.rows.has(columns):
            return
        yield self._question_about_equal_keys(
            self.rows.source(columns),
            [self.conversions.key_expression(part) for part in text.parts],
            text.condition,
            text.nulls_are_equal,
        )

    def _question_about_equal_keys(
        self,
        source: str,
        keys: Sequence[str],
        condition: str | None = None,
        nulls_are_equal: bool = False,
    ) -> Question:
        """Ask for rows with a key that another row has, too.

        :param keys: the SQL of the parts of the key.
        :param condition: that of a partial index.
        :param nulls_are_equal: whether NULL is a value like any other.
        """
        grouped = ", ".join(keys)
        compared = f"({grouped})"
        conditions = [f"{key} IS NOT NULL" for key in keys]
        if nulls_are_equal:
            grouped = compared = self.conversions.row_with_nulls(keys)
            conditions = []
        if condition is not None:
            conditions.append(f"({condition})")
        where = ""
        if conditions:
            where = f"WHERE {' AND '.join(conditions)} "
        repeated = (
            f"SELECT {grouped} FROM {source} AS s {where}"
            f"GROUP BY {grouped} HAVING count(*) > 1"
        )
        is_repeated = f"{compared} IN ({repeated})"
        if condition is not None:
            is_repeated = f"({condition}) AND {is_repeated}"
        return Question(source, is_repeated)

    def _is_known_to_be_unique(self, columns: Sequence[str]) -> bool:
        """Whether a key of the table, of fewer columns or the same, says so already."""
        unchanged = set(columns) - self.collapsing
        for key in self.table.unique_keys():
            names = {self.table.column_of_part(part) for part in key}
            if names and names <= unchanged:
                return True
        return False

    def _questions_about_foreign_key(self, key: ForeignKey) -> Iterator[Question]:
        if not self.rows.has(key.columns):
            return
        values = [f"w.{self.quote(name)}" for name in key.columns]
        source = self.rows.source(key.columns)
        if key.parent in self.plan.current:
            parents = PlannedRows(key.parent, self.plan, self.engine)
            parent_source = parents.source(key.parent_columns)
        elif key.parent in self.engine.catalog.tables([key.parent]):
            parent_source = self.quote(key.parent)
        else:  # it has no rows, as it does not exist yet
            condition = " AND ".join(f"{value} IS NOT NULL" for value in values)
            yield Question(source, condition)
            return
        condition = self.conversions.orphan_condition(
            values, key, source, parent_source
        )
        yield Question(source, condition)

    def _question_about_check(self, condition: str) -> Question:
        names = _named_columns(condition, self.declared)
        return Question(self.rows.source(names), f"NOT ({condition})")


def _advice_to_backfill(column: Column) -> str:
    return f'add to the constraints of {column.name}: Backfill("SQL expression")'


def _named_columns(condition: str, table: Table) -> list[str]:
    """Return the columns of a table that a condition names."""
    return list(mentioned_names(condition, table.columns))


def conflicting_rows(
    reason: str,
    question: Question,
    table: Table,
    engine: Engine,
    quick_condition: str | None = None,
) -> Iterator[str]:
    """Yield one line that shows the rows a question finds, if there are any.

    :param quick_condition: another condition for the same rows, which is quicker and
        not fit to be read.
    """
    session = engine.session
    keys = _key_columns(table, engine)
    shown_keys = []
    for name in keys:
        value = f"w.{session.quote(name)}"
        shown_keys.append(engine.conversions.shown(value, table.columns[name].type))
    names = ", ".join(shown_keys) or "1"
    rows = f"FROM {question.source} w WHERE"
    source = f"{rows} {quick_condition or question.condition}"
    examples = session.query(f"SELECT {names} {source} ORDER BY {names} LIMIT {_SHOWN}")
    if not examples:
        return
    count = len(examples)
    if count == _SHOWN:
        ((count,),) = session.query(f"SELECT count(*) {source}")
    shown = [_described(keys, row) for row in examples]
    if count > _SHOWN:
        shown.append("...")
    listed = f" ({'; '.join(shown)})" if keys else ""
    advice = f"{question.advice}; " if question.advice else ""
    yield (
        f"{reason}: {plural(count, 'row')}{listed}; {advice}"
        f"see: SELECT * {rows} {question.condition}"
    )


def _described(columns: Sequence[str], row: Sequence[object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(columns, row))


def _key_columns(table: Table, engine: Engine) -> list[str]:
    """Return the columns that identify a row of a table to its user."""
    declared = engine.catalog.declared_by_name(engine.catalog.table_key(table.name))
    names = []
    for key in declared.unique_keys():
        for name in key:
            if name in table.columns and name not in names:
                names.append(name)
    return names
