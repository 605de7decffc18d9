"""The errors of a migration, one class per case that a caller may want to tell apart.

Each text says what is wrong, where, and what to do next, in one line for each problem.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from db.plurals import plural

if TYPE_CHECKING:
    from typing import Any

_SHOWN_PROBLEMS = 10


class MigrationError(Exception):
    """A migration could not be done; base class of everything that a phase raises.

    `report` is the `migrations.report.Report` of what was found and done until then,
    with the status `failed`; None if the database was never looked at.
    """

    report: Any = None


class DatabaseUnavailable(MigrationError):
    """The database cannot be opened, reached, read or written."""


class LockTimeout(MigrationError):
    """Another connection held a lock for longer than `lock_timeout`."""


class MissingTables(MigrationError):
    """Tables that the phase requires do not exist."""


class IncompatibleTables(MigrationError):
    """Tables that the phase requires exist, but lack a column, a type or a key."""


class UnsupportedModel(MigrationError, ValueError):
    """A phase cannot create or compare a model on a database; nothing was changed.

    The text has a line for each problem, at most ten, and the number of the others.
    """


class ChangeRefused(MigrationError):
    """A change would lose data, or cannot be done.

    Nothing was changed, unless the text says what was done before.
    """


class VerificationFailed(MigrationError):
    """The database, or the plan for it, still differs from the models afterwards."""


class SmokeTestFailed(MigrationError):
    """A table does not behave as its schema says."""


def refuse_unsupported(problems: list[str]) -> None:
    """Raise the error about some problems of models, if there are any.

    :raises UnsupportedModel: with the first ten, and how many more there are.
    """
    if not problems:
        return
    shown = problems[:_SHOWN_PROBLEMS]
    left_out = len(problems) - len(shown)
    if left_out:
        shown.append(f"and {plural(left_out, 'more problem')}")
    raise UnsupportedModel("\n".join(shown))
