"""What a call of a phase returns: the report and its parts."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from migrations.errors import MigrationError
from migrations.operations import Operation

# By step of the smoke test: True it was tried and held, False it did not hold, None it
# could not be tried.
SmokeTestSteps = dict[str, bool | None]


class Batches(NamedTuple):
    """How a run executes an UPDATE that fills a column: some rows at a time."""

    table: str
    column: str
    value: str  # as SQL
    key: tuple[str, ...]  # columns by which the rows are read in order


class Guard(NamedTuple):
    """A CHECK by which a change finds values that were written meanwhile.

    A run that finds one reads and plans again.
    """

    name: str  # of the CHECK
    undo: str = ""  # what drops the CHECK, if a transaction does not roll it back


class Change(NamedTuple):
    """One statement that changes the database.

    `description`, `sql` and `blocks` are in the JSON document.
    """

    description: str
    sql: str
    # What it blocks for as long as it runs: None, "writes" or "reads and writes".
    blocks: str | None = None
    own_transaction: bool = False  # whether it must not share a transaction
    # Variables of the session for this statement alone, by name, as SQL.
    settings: tuple[tuple[str, str], ...] = ()
    batches: Batches | None = None  # how a run does it, if not at once
    # What is executed before it is tried again, if it finds a NULL that another session
    # has written since the column was filled.
    fill_again: str | None = None
    guard: Guard | None = None  # the CHECK that it adds or validates before a drop
    note: str = ""  # what else somebody has to know while it runs; for the log

    def to_dict(self) -> dict[str, Any]:
        """Return the change as the JSON document has it."""
        return {"description": self.description, "sql": self.sql, "blocks": self.blocks}


class Difference(NamedTuple):
    """One difference between a model and the database.

    An `error` is either repaired by an operation (`repaired_by`) or stops the run with
    an exception of the class `stops_with`. A `warning` needs somebody's attention, a
    `note` is harmless; neither stops a run. The first five parts are in the JSON
    document.
    """

    severity: str  # "error", "warning" or "note"
    object: str
    expected: str
    actual: str
    message: str
    repaired_by: Operation | None = None
    stops_with: type[MigrationError] | None = None
    advice: str = ""  # what to do about an error that stops the run

    def to_dict(self) -> dict[str, Any]:
        """Return the difference as the JSON document has it."""
        return {
            "severity": self.severity,
            "object": self.object,
            "expected": self.expected,
            "actual": self.actual,
            "message": self.message,
        }


def repairable(
    where: str, expected: object, actual: object, operation: Operation, text: str = ""
) -> Difference:
    """Return an error that an operation repairs.

    :param where: the table, or "table.name" of a part of it.
    :param text: what the message says after that; "" for "expected …, found …".
    """
    difference = _difference("error", where, expected, actual, text)
    return difference._replace(repaired_by=operation)


def fatal(
    where: str,
    expected: object,
    actual: object,
    stops_with: type[MigrationError],
    text: str = "",
    advice: str = "",
) -> Difference:
    """Return an error that stops the run; see `repairable` for the parameters.

    :param advice: what to do about it, before the next run.
    """
    difference = _difference("error", where, expected, actual, text)
    return difference._replace(stops_with=stops_with, advice=advice)


def warning(where: str, expected: object, actual: object, text: str) -> Difference:
    """Return a difference that somebody has to look at."""
    return _difference("warning", where, expected, actual, text)


def note(where: str, expected: object, actual: object, text: str = "") -> Difference:
    """Return a difference that is harmless; see `repairable` for the parameters."""
    return _difference("note", where, expected, actual, text)


def _difference(
    severity: str, where: str, expected: object, actual: object, text: str
) -> Difference:
    if not text:
        text = f"expected {expected}, found {actual}"
    return Difference(severity, where, str(expected), str(actual), f"{where}: {text}")


class Report(NamedTuple):
    """The outcome of `run`, `check` or `rollback`; a step that was skipped is None."""

    status: str  # migrated, up_to_date, pending, rolled_back or failed
    backend: str
    database: str  # its URL, without a password
    changes: tuple[Change, ...] = ()  # executed; with `check`, what a run would execute
    differences: tuple[Difference, ...] = ()  # what differs now
    repaired: tuple[Difference, ...] = ()  # the errors that this run repaired
    smoke_test: SmokeTestSteps | None = None
    row_counts: Mapping[str, int] | None = None  # by table
    estimated_counts: tuple[str, ...] = ()  # tables whose count is an estimate
    orphan_checks_skipped: tuple[str, ...] = ()  # "table.column"
    error: Mapping[str, str] | None = None  # its type and its message
    duration_ms: float = 0.0
    # The changes as a script, with the transactions and timeouts of a run around them.
    script: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the report as the JSON document has it."""
        return {
            "status": self.status,
            "backend": self.backend,
            "database": self.database,
            "changes": [change.to_dict() for change in self.changes],
            "differences": [each.to_dict() for each in self.differences],
            "repaired": [each.to_dict() for each in self.repaired],
            "smoke_test": self.smoke_test,
            "row_counts": self.row_counts,
            "estimated_counts": list(self.estimated_counts),
            "orphan_checks_skipped": list(self.orphan_checks_skipped),
            "error": self.error,
            "duration_ms": round(self.duration_ms, 1),
        }
