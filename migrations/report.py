"""What a migration answers: the report with its parts, and the errors by their cases."""

from __future__ import annotations

from collections import namedtuple


class Change(namedtuple("Change", "description sql alone", defaults=(False,))):
    """One statement that changes the database.

    `alone` marks a statement that cannot share a transaction with the others.
    """

    __slots__ = ()


class Difference(namedtuple("Difference", "severity object expected actual message kind name", defaults=("note", ""))):
    """Something that is not as the models declare it; all parts are texts.

    `severity` is `error` (must be mended, or stops the run) or `warning` (stops nothing). `kind` and
    `name` say to the planner what it is and which column or index it is about.
    """

    __slots__ = ()

    def to_dict(self) -> dict[str, str]:
        """Return the public part, as in the JSON document."""
        return dict(zip(self._fields[:5], self))


class Report(
    namedtuple(
        "Report",
        "status backend database changes differences smoke_test row_counts estimated error duration_ms",
        defaults=((), (), None, None, (), None, 0.0),
    )
):
    """The outcome of `run`, `check` or `rollback`.

    `status` is `migrated`, `up_to_date`, `pending`, `rolled_back` or `failed`; `changes` and
    `differences` are tuples of `Change` and `Difference`; `smoke_test` maps a step to True, False or
    None (not tried), `row_counts` a table to its rows, each None where left out; `estimated` names the
    tables whose count is the catalogue's estimate; `error` has a `type` and a `message`; `duration_ms`
    is in milliseconds.
    """

    __slots__ = ()

    def to_dict(self) -> dict[str, object]:
        """Return the report as the JSON document has it."""
        document = {
            "status": self.status,
            "backend": self.backend,
            "database": self.database,
            "changes": [{"description": each.description, "sql": each.sql} for each in self.changes],
            "differences": [each.to_dict() for each in self.differences],
            "smoke_test": self.smoke_test,
            "row_counts": self.row_counts,
            "error": self.error,
            "duration_ms": round(self.duration_ms, 1),
        }
        if self.estimated:
            document["estimated"] = list(self.estimated)
        return document


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
    """Tables that `weekly_actuals` builds upon are not there."""


class UnfitTables(MigrationError):
    """Tables that `weekly_actuals` builds upon are there, but cannot carry it."""


class Refused(MigrationError):
    """What is there cannot be changed without loss; nothing was changed."""


class VerificationFailed(MigrationError):
    """The database still differs from the models after the changes."""


class SmokeTestFailed(MigrationError):
    """The table does not behave as its schema says."""
