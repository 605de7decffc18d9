"""Crash tests: the file has no change or all of them, and the next run completes."""

import contextlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from engines.worlds import SQLite
from states import REPAIRED, State, row

import db
from migrations import phase_4_5

ROOT = Path(__file__).parents[1]
ROWS = 60_000
KILLS = 120
USED = (
    "CREATE INDEX mine ON weekly_actuals (actual_units_sold) WHERE variance_pct > 0",
    "CREATE TABLE notes (actual_id INTEGER REFERENCES weekly_actuals(id) "
    "ON DELETE CASCADE)",
    "CREATE VIEW totals AS SELECT sum(actual_units_sold) AS units FROM weekly_actuals",
)
FRESH = State("fresh", REPAIRED)
DRIFTED = [
    State(
        "to be rebuilt",
        REPAIRED,
        items={"week_number": "week_number TEXT NOT NULL"},
        sql=USED,
        without=("idx_weekly_actuals_date",),
    ),
    State(
        "to be edited",
        REPAIRED,
        items={"week_number": "week_number INTEGER", "store": None, "unique": None},
        sql=USED,
        without=("idx_weekly_actuals_date",),
    ),
]
MANY_ROWS = f"""
WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS + 96})
INSERT INTO weekly_actuals SELECT i, 'wf_1', i, '2025-01-06', '2025-01-12', 'S001',
    'dresses', i, i, 0.5, '2025-01-13'
FROM n"""
# Copies the file for each delay, starts a process that migrates it and sends SIGKILL.
# The first process is not killed: its duration is measured.
KILLER = """
import os, shutil, signal, sys, time
import db
from migrations import phase_4_5
import migrations.engines.sqlite.engine, migrations.engines.sqlite.ddl
import migrations.planning, migrations.preflight
folder = sys.argv[1]

def work(number):
    path = shutil.copy(f"{folder}/prepared.db", f"{folder}/killed{number}.db")
    child = os.fork()
    if not child:
        database = db.connect(f"sqlite:///{path}")
        phase_4_5.run(database, smoke_test=False, statistics=False)
        os._exit(0)
    return child

started = time.monotonic()
os.waitpid(work("never"), 0)
duration = time.monotonic() - started
for line in sys.stdin:
    number, share = line.split()
    child = work(number)
    time.sleep(float(share) * duration)
    os.kill(child, signal.SIGKILL)
    print(os.waitpid(child, 0)[1], flush=True)
"""
# Starts a process for each statement, which kills itself after that one.
SELF_KILLER = """
import os, shutil, signal, sys
import db
from migrations import phase_4_5
folder, statements = sys.argv[1], int(sys.argv[2])
for number in range(1, statements + 1):
    path = shutil.copy(f"{folder}/prepared.db", f"{folder}/killed{number}.db")
    if not os.fork():
        database = db.connect(f"sqlite:///{path}")
        left = number

        def hook(event):
            global left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

        database.query_hooks.append(hook)
        phase_4_5.run(database)
        os._exit(0)
    print(os.wait()[1])
"""


@pytest.fixture(params=[FRESH, *DRIFTED], ids=lambda state: state.name)
def prepared(request, tmp_path):
    """Yield a file to copy and to compare with."""
    world = SQLite(tmp_path / "prepared.db").make(request.param)
    if request.param is not FRESH:
        world.insert(*(row(id, week=id) for id in range(1, 8)))
        world.execute(
            "INSERT INTO notes VALUES (1), (7)",
            "DELETE FROM weekly_actuals WHERE id = 6",
        )
    yield world
    world.drop()


def copy(world, name):
    path = Path(world.path).with_name(name)
    shutil.copy(world.path, path)
    return path


def contents(path):
    """Return the schema and every row; a hot journal is rolled back first."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        schema = connection.execute(
            "SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2"
        ).fetchall()
        return schema, list(connection.iterdump())
    finally:
        connection.close()


def after(world):
    """Return the contents of the file after an undisturbed run."""
    path = copy(world, "after.db")
    phase_4_5.run(db.connect(f"sqlite:///{path}"))
    return contents(path)


def rerun(path):
    return phase_4_5.run(db.connect(f"sqlite:///{path}"))


SETTINGS = (
    "foreign_keys",
    "busy_timeout",
    "legacy_alter_table",
    "ignore_check_constraints",
    "writable_schema",
    "cache_size",
)


class Fault(Exception):
    """Raised by a test during a run; the smoke test may take it for a rejected row."""


def watched(path, fault_after=0):
    """Return a database that fails after its n-th statement, and the executed ones."""
    database, seen = db.connect(f"sqlite:///{path}"), []

    def hook(event):
        seen.append(event.sql)
        if len(seen) == fault_after:
            raise Fault

    database.query_hooks.append(hook)
    return database, seen


# The quick selection fails after one statement in seven.
EACH_OR_SOME = pytest.mark.parametrize(
    "step", [7, pytest.param(1, marks=pytest.mark.exhaustive)]
)


@pytest.fixture
def statements(prepared):
    """Return the number of statements of a run, except for some that depend on time."""
    database, seen = watched(copy(prepared, "counted.db"))
    phase_4_5.run(database)
    return len(seen) - 10


@EACH_OR_SOME
def test_fault_after_any_statement_leaves_no_partial_change(prepared, statements, step):
    ends = {"before": contents(prepared.path), "after": after(prepared)}
    met = set()
    for number in range(1, statements + 1, step):
        path = copy(prepared, f"fault{number}.db")
        with contextlib.suppress(Fault, phase_4_5.MigrationError):
            phase_4_5.run(watched(path, number)[0])
        (end,) = [end for end, expected in ends.items() if contents(path) == expected]
        assert rerun(path).status == ("migrated" if end == "before" else "up_to_date")
        assert contents(path) == ends["after"]
        met.add(end)
    assert met == {"before", "after"}


@EACH_OR_SOME
def test_fault_restores_the_settings_of_the_connection(prepared, statements, step):
    for number in range(1, statements + 1, step):
        database, _ = watched(
            copy(prepared, f"fault{number}.db"), len(SETTINGS) + number
        )
        with database.connection_context():
            before = [database.pragma(name) for name in SETTINGS]
            with contextlib.suppress(Fault, phase_4_5.MigrationError):
                phase_4_5.run(database)
            database.query_hooks.clear()
            assert [database.pragma(name) for name in SETTINGS] == before
            assert not database.connection().in_transaction


@pytest.mark.exhaustive
def test_sigkill_after_any_statement_leaves_no_partial_change(prepared, statements):
    ends = {"before": contents(prepared.path), "after": after(prepared)}
    folder = Path(prepared.path).parent
    command = [sys.executable, "-c", SELF_KILLER, str(folder), str(statements)]
    killed = subprocess.run(
        command, cwd=ROOT, timeout=300, capture_output=True, text=True
    ).stdout.split()
    assert killed == [str(signal.SIGKILL.value)] * statements
    met = set()
    for number in range(1, statements + 1):
        path = folder / f"killed{number}.db"
        (end,) = [end for end, expected in ends.items() if contents(path) == expected]
        assert rerun(path).status == ("migrated" if end == "before" else "up_to_date")
        met.add(end)
    assert met == {"before", "after"}


# -- SIGKILL at any moment


@pytest.fixture(params=DRIFTED, ids=lambda state: state.name)
def large(request, disk):
    """Yield a file to copy, with many rows in a table to rebuild or to edit."""
    world = SQLite(disk / "prepared.db").make(request.param)
    world.insert(row(1, week=1), row(2, week=2), row(3, week=3), row(97, week=97))
    world.execute("BEGIN", MANY_ROWS, "DELETE FROM weekly_actuals WHERE id = 97")
    world.execute(
        "INSERT INTO notes SELECT id FROM weekly_actuals LIMIT 1000", "COMMIT"
    )
    yield world
    world.drop()


def state_of(path):
    """Return the schema, and of the rows the count, the sums and the highest id."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        queries = (
            "SELECT count(*), sum(id), sum(week_number), sum(actual_units_sold), "
            "sum(variance_pct) FROM weekly_actuals",
            "SELECT count(*), sum(actual_id) FROM notes",
            "SELECT * FROM sqlite_sequence",
        )
        kept = [connection.execute(query).fetchall() for query in queries]
        schema = connection.execute(
            "SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2"
        ).fetchall()
        return schema, kept
    finally:
        connection.close()


@pytest.fixture
def killer(large):
    """Yield a function that kills a run on a copy after a share of its duration."""
    command = [sys.executable, "-c", KILLER, str(Path(large.path).parent)]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:

        def kill(number, share):
            process.stdin.write(f"{number} {share}\n")
            process.stdin.flush()
            process.stdout.readline()
            return Path(large.path).with_name(f"killed{number}.db")

        yield kill
        process.stdin.close()


@pytest.mark.exhaustive
def test_sigkill_at_any_moment_leaves_no_partial_change(large, killer, capsys):
    before = state_of(large.path)
    counts = {"as before": 0, "as after": 0, "with a hot journal": 0}
    shares = [1.3 * number / KILLS for number in range(KILLS)]
    # In random order, so that a slow period does not coincide with one part of the run.
    random.Random(45).shuffle(shares)
    for number, share in enumerate(shares):
        path = killer(number, share)
        if Path(f"{path}-journal").exists():
            counts["with a hot journal"] += 1
        after = state_of(path.with_name("killednever.db"))
        assert after[1] == before[1]
        found = state_of(path)
        assert found in (before, after)
        if found == before:
            end, status = "as before", "migrated"
        else:
            end, status = "as after", "up_to_date"
        counts[end] += 1
        if number % 10 == 0:
            assert rerun(path).status == status
            assert state_of(path) == after
        path.unlink()
    with capsys.disabled():
        print(f"\n{len(shares)} kills in a change of {ROWS:,} rows: {counts}")
    assert all(counts.values())


# -- Ctrl-C


def test_interrupt_during_a_statement_changes_nothing(large):
    before = state_of(large.path)
    command = [sys.executable, "-m", "migrations.phase_4_5", "--database", large.url]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stderr=subprocess.PIPE
    ) as process:
        for line in process.stderr:
            # The statement is logged before it is executed.
            if "copy " in line or "create unique index" in line:
                process.send_signal(signal.SIGINT)
                break
        lines = process.stderr.read()
    assert process.returncode == 1
    assert "interrupted" in lines
    assert "done in" not in lines
    assert state_of(large.path) == before
    assert rerun(large.path).status == "migrated"
