"""What no run can repair, as the error that says so."""

from __future__ import annotations

from collections.abc import Iterable

from db.url import shell_word
from migrations.declaration import PhaseModels
from migrations.errors import ChangeRefused, IncompatibleTables, MissingTables
from migrations.report import Difference


def refuse_what_cannot_be_repaired(
    errors: Iterable[Difference], models: PhaseModels, database: str
) -> None:
    """Raise an error if there is a difference that no operation repairs.

    :param database: the URL of the database, without a password.
    :raises MissingTables: required tables do not exist.
    :raises IncompatibleTables: required tables lack something.
    :raises ChangeRefused: something else has the name of a managed table.
    """
    errors = list(errors)
    missing = [each.object for each in errors if each.stops_with is MissingTables]
    incompatible = _incompatible_tables(errors, models, database)
    if missing:
        message = _missing_tables(missing, models, database)
        if incompatible:
            message += f"; and {incompatible}"
        raise MissingTables(message)
    if incompatible:
        raise IncompatibleTables(incompatible)
    refused = [each for each in errors if each.stops_with is ChangeRefused]
    if refused:
        raise ChangeRefused(_with_advice(refused))


def _with_advice(refused: Iterable[Difference]) -> str:
    """Return the messages, those with the same advice together."""
    messages: dict[str, list[str]] = {}
    for each in refused:
        advice = each.advice or "rename, convert or remove it"
        messages.setdefault(advice, []).append(each.message)
    parts = [f"{'; '.join(same)}; {advice}" for advice, same in messages.items()]
    return f"{'; '.join(parts)}, then run again"


def _missing_tables(missing: list[str], models: PhaseModels, database: str) -> str:
    noun = "table" if len(missing) == 1 else "tables"
    lacks = (
        f"{database} lacks the {noun} {', '.join(missing)}; check the URL, or create"
    )
    command = models.creation_command(missing)
    if command is None:
        return f"{lacks} what is missing, then run again"
    return f"{lacks} what is missing with: {command} --database {shell_word(database)}"


def _incompatible_tables(
    errors: list[Difference], models: PhaseModels, database: str
) -> str:
    """Return a message about required tables that lack something, or ""."""
    messages = [
        each.message for each in errors if each.stops_with is IncompatibleTables
    ]
    if not messages:
        return ""
    managed = ", ".join(models.managed)
    return (
        f"{database}: {managed} cannot be created or checked: {'; '.join(messages)}; "
        "fix that by hand, then run again"
    )
