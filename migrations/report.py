"""What a migration answers: the report with its parts, and the errors by their cases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from migrations.operations import Operation

Steps = dict[str, bool | None]  # of the smoke test: True held, False did not, None was not tried


class Change(NamedTuple):
    """One statement that changes the database; its first three parts are public."""

    description: str
    sql: str
    holds_up: str | None = None  # whom it keeps waiting for as long as it runs: "writers" or "everybody"
    alone: bool = False  # whether it cannot share a transaction with the others


class Difference(NamedTuple):
    """Something that is not as the models declare it; its first five parts are texts for people, and public.

    An error is mended by an operation, or by nothing: then `stops` names the case. A warning stops nothing.
    """

    severity: str  # error or warning
    object: str
    expected: str
    actual: str
    message: str
    mended_by: Operation | None = None
    stops: type[MigrationError] | None = None


class Report(NamedTuple):
    """The outcome of `run`, `check` or `rollback`; what was left out is None."""

    status: str  # migrated, up_to_date, pending, rolled_back or failed
    backend: str
    database: str
    changes: tuple[Change, ...] = ()
    differences: tuple[Difference, ...] = ()
    smoke_test: Steps | None = None
    row_counts: Mapping[str, int] | None = None  # by table
    error: Mapping[str, str] | None = None  # its type and its message
    duration_ms: float = 0.0
    estimated: tuple[str, ...] = ()  # tables whose count is the catalogue's
    unexamined: tuple[str, ...] = ()  # columns whose orphans were not looked for
    script: tuple[str, ...] = ()  # the changes with the transactions and limits that a run puts around them

    def to_dict(self) -> dict[str, object]:
        """Return the report as the JSON document has it."""
        document = self._asdict() | {
            "changes": [dict(zip(each._fields[:3], each)) for each in self.changes],
            "differences": [dict(zip(each._fields[:5], each)) for each in self.differences],
            "duration_ms": round(self.duration_ms, 1),
            "estimated": list(self.estimated),
            "unexamined": list(self.unexamined),
        }
        absent = {"script", *(name for name in ("estimated", "unexamined") if not document[name])}
        return {name: part for name, part in document.items() if name not in absent}


class MigrationError(Exception):
    """A migration could not be done; the text says what, where and what to do next.

    `report` holds what was found and done until then, with the status `failed`.
    """

    report: Report | None = None


class DatabaseUnavailable(MigrationError):
    """The database cannot be opened, reached, read or written."""


class LockTimeout(MigrationError):
    """Somebody else held a lock for longer than `lock_timeout`."""


class MissingTables(MigrationError):
    """Tables that the phase builds upon are not there."""


class UnfitTables(MigrationError):
    """Tables that the phase builds upon are there, but cannot carry what it builds."""


class UnfitModels(MigrationError, ValueError):
    """A model has what a phase cannot take; raised when the phase is made."""


class Refused(MigrationError):
    """What is there cannot be changed without loss; nothing was changed."""


class VerificationFailed(MigrationError):
    """The database still differs from the models after the changes."""


class SmokeTestFailed(MigrationError):
    """A table does not behave as its schema says."""
