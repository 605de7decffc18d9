"""What reports say, as a whole: recorded by engine and state in `reports/`.

A user reads these words and acts on them, so a difference is a mistake, or it is meant.
If it is meant, look at what changes in the files after

    RECORD_REPORTS=1 python -m pytest -q tests/engines/test_states.py \
        tests/engines/test_any_phase.py
"""

import json
import os
import sqlite3
from pathlib import Path

from states import ENGINES

from migrations.errors import MigrationError

_FOLDER = Path(__file__).parent / "reports"
_RECORD = "RECORD_REPORTS" in os.environ


def _lines_of(outcome):
    """Return the lines of a report, or of an error, without the name of the database.

    SQL is not among them: tests compare what it does.
    """
    if isinstance(outcome, MigrationError):
        lines = [f"{type(outcome).__name__}: {outcome}"]
        outcome = outcome.report
    else:
        lines = [outcome.status]
    for each in outcome.differences:
        line = f"{each.severity}: {each.message}"
        if not each.message.startswith(f"{each.object}: "):
            line += f" [{each.object}]"
        for part in (each.expected, each.actual):
            if str(part) not in each.message:
                line += f" [{part}]"
        lines.append(line)
    for change in outcome.changes:
        blocks = ""
        if change.blocks:
            blocks = f"; blocks {change.blocks}"
        lines.append(f"change: {change.description}{blocks}")
    return [line.replace(outcome.database, "DATABASE") for line in lines]


def assert_as_recorded(request, subject, outcome):
    """Compare a report, or an error that has one, with what is recorded.

    The cases of the quick run are recorded; with rows, as they have more to say.

    :param request: of a test with the parameters engine, state and filled.
    :param subject: what the name of the file begins with.
    """
    parameters = request.node.callspec.params
    engine, state = parameters["engine"], parameters["state"]
    if engine not in ENGINES or request.node.get_closest_marker("exhaustive"):
        return
    if not parameters["filled"] and True in state.filled:
        return
    if engine == "sqlite" and sqlite3.sqlite_version_info < (3, 34):
        return  # the stored definition cannot be changed there, so tables are rebuilt
    path = _FOLDER / f"{subject}_{engine}.json"
    recorded = json.loads(path.read_text("utf-8")) if path.exists() else {}
    lines = _lines_of(outcome)
    if _RECORD:
        path.parent.mkdir(exist_ok=True)
        recorded[state.name] = lines
        text = json.dumps(recorded, indent=1, sort_keys=True, ensure_ascii=False)
        path.write_text(f"{text}\n", "utf-8")
    assert lines == recorded.get(state.name), __doc__


def dropped_tables(report):
    """Return the tables that a call has dropped, in their order."""
    prefix = "drop table "
    return [
        each.description.removeprefix(prefix)
        for each in report.changes
        if each.description.startswith(prefix)
    ]
