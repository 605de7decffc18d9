"""Many processes on one SQLite file: all succeed, exactly one of them migrates."""

import json
import subprocess
import sys
from pathlib import Path

import processes
import pytest
from engines.worlds import SQLite
from states import REPAIRED, State, row

PROCESSES = 16
STATES = {
    "fresh": State("fresh", REPAIRED),
    "to be rebuilt": State(
        "to be rebuilt", REPAIRED, items={"week_number": "week_number TEXT NOT NULL"}
    ),
    "to be edited": State(
        "to be edited",
        REPAIRED,
        items={"week_number": "week_number INTEGER", "unique": None},
    ),
    "an index missing": State(
        "an index missing", REPAIRED, items={}, without=("idx_weekly_actuals_date",)
    ),
}
WRITER = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
connection.execute("PRAGMA foreign_keys = ON")
print("ready", flush=True)
written = 0
while not os.path.exists(sys.argv[1] + ".stop"):
    written += 1
    connection.execute(
        "INSERT INTO historical_sales "
        "(sale_id, week_start_date, category_id, store_id, units_sold) "
        "VALUES (?, '2025-01-06', 'dresses', 'S001', 1)", (str(written),))
    connection.execute(
        "UPDATE stores SET store_size_sqft = ? WHERE store_id = 'S002'", (written,))
print(written)
"""


@pytest.fixture(params=STATES)
def world(request, disk):
    world = SQLite(disk / "app.db").make(STATES[request.param])
    if STATES[request.param].items is not None:
        world.execute("BEGIN")
        world.insert(*(row(id, week=id) for id in range(1, 201)))
        world.execute("COMMIT")
    yield world
    world.drop()


def race(world, *options):
    """Start the processes together and return the report of each."""
    started = processes.at_once(
        [[processes.PHASE, "--database", world.url, "--json", *options]] * PROCESSES
    )
    outputs = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0] * PROCESSES, outputs
    return [json.loads(output) for output, _ in outputs]


def test_exactly_one_of_sixteen_processes_migrates(world):
    before = world.rows() if world.columns() else {}
    statuses = sorted(report["status"] for report in race(world))
    assert statuses == ["migrated"] + ["up_to_date"] * (PROCESSES - 1)
    world.assert_specified()
    assert world.rows() == before
    assert world.query("PRAGMA integrity_check") == [("ok",)]


def test_exactly_one_process_migrates_a_file_in_wal_mode(world):
    world.query("PRAGMA journal_mode = wal")
    statuses = sorted(report["status"] for report in race(world, "--no-smoke-test"))
    assert statuses == ["migrated"] + ["up_to_date"] * (PROCESSES - 1)
    world.assert_specified()


@pytest.mark.exhaustive
def test_concurrent_writer_of_other_tables_loses_nothing(world):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, world.path],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert writer.stdout.readline() == "ready\n"
    race(world)
    Path(f"{world.path}.stop").touch()
    output, errors = writer.communicate(timeout=60)
    assert (writer.returncode, errors) == (0, "")
    written = int(output)
    assert world.query("SELECT count(*) FROM historical_sales") == [(written,)]
    assert world.query(
        "SELECT store_size_sqft FROM stores WHERE store_id = 'S002'"
    ) == [(written,)]


def test_run_waits_for_a_writer_that_commits_in_time(world):
    world.execute("BEGIN IMMEDIATE", "UPDATE stores SET median_income = 1")
    process = processes.Run(processes.PHASE, "--database", world.url, "--json")
    with pytest.raises(subprocess.TimeoutExpired):  # it waits for the lock
        process.wait(timeout=0.5)
    world.execute("COMMIT")
    output, _ = process.communicate()
    assert json.loads(output)["status"] == "migrated"
    assert world.query("SELECT DISTINCT median_income FROM stores") == [(1,)]
