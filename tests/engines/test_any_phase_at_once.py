"""The same phase by many processes at once, and by processes that are killed at any moment."""

import collections
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from another_phase import BUILDS, phase
from another_states import State
from engines.test_any_phase import connect, held, made_by_peewee, rows_of, unlike  # noqa: F401 - a fixture
from oracle import in_words
from states import ENGINES, MENDED

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
NAMES = [model._meta.table_name for model in BUILDS]
PROCESSES = {"sqlite": 16, "postgresql": 12, "mysql": 12}
STATES = {
    "nothing": State("nothing", MENDED, dict.fromkeys(NAMES)),
    "half": State("half", MENDED, {
        "articles": {"whole": None, "height": None, "label": "label VARCHAR(60)"}, "movements": None,
        "order": {"unique": None}, "order_lines": {"check": None, "primary": None}},
        without=("article_label_shelf", "order_number")),
}  # fmt: skip
# Each process imports everything first, says so, and waits for the word to start.
WORKER = """
import importlib, sys
from another_phase import phase
import migrations.command, migrations.obstacles, migrations.smoke_test, playhouse.migrate
importlib.import_module("migrations.engines." + sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
raise SystemExit(phase.main(sys.argv[2:]))
"""
# For each line that is read, a process at work on the database, and SIGKILL after so many seconds.
KILLER = """
import importlib, os, signal, sys, time
import db
from another_phase import phase
import migrations.obstacles, playhouse.migrate
importlib.import_module("migrations.engines." + sys.argv[1])

for line in sys.stdin:
    child = os.fork()
    if not child:
        phase.run(db.connect(sys.argv[2]), smoke_test=False, statistics=False)
        os._exit(0)
    started = time.monotonic()
    if line != "never\\n":
        time.sleep(float(line))
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    print(status, time.monotonic() - started, flush=True)
"""


@pytest.fixture(params=STATES)
def state(request):
    return STATES[request.param]


@pytest.fixture
def make(world, engine, state, made_by_peewee):  # noqa: ARG001, F811
    """Return a function that makes the state anew, with rows where there are tables."""

    def anew():
        there = world(engine)
        if engine == "sqlite":
            there.execute(
                "PRAGMA foreign_keys = OFF", *(f'DROP TABLE IF EXISTS "{name}"' for name in (*NAMES, "depots"))
            )
        return state.make(there, filled=state.name == "half")

    return anew


def start(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, env=ENVIRONMENT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def race(world, *options):
    """Let the processes go together, and return what each of them reports."""
    arguments = (world.engine, "--database", world.url, "--json", "-q", "--lock-timeout", "60", *options)
    processes = [start(WORKER, *arguments) for _ in range(PROCESSES[world.engine])]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=180) for process in processes]
    assert {process.returncode for process in processes} == {0}, outputs
    return [json.loads(output) for output, _ in outputs]


@pytest.mark.parametrize("engine", ENGINES)
def test_of_many_processes_at_once_exactly_one_migrates(make, made_by_peewee):  # noqa: F811
    world = make()
    rows = rows_of(world)
    reports = race(world)
    assert collections.Counter(report["status"] for report in reports) == {
        "migrated": 1, "up_to_date": PROCESSES[world.engine] - 1}  # fmt: skip
    assert unlike(world, made_by_peewee) == set()
    assert held(rows, rows_of(world))
    assert all(set(report["smoke_test"].values()) == {True} for report in reports)


@pytest.mark.parametrize("engine", ENGINES)
def test_of_many_rollbacks_at_once_exactly_one_drops(make):
    world = make()
    phase.ensure(connect(world))
    statuses = collections.Counter(report["status"] for report in race(world, "--rollback", "--force"))
    assert statuses == {"rolled_back": 1, "up_to_date": PROCESSES[world.engine] - 1}
    assert set(in_words(world)) <= {"depots", ""}


def hold_through_kills(make, oracle, kills):
    """Kill a run at moments all over its duration; each time the next run ends where it should have ended."""
    world, interrupted = make(), collections.Counter()
    rows = rows_of(world)
    with start(KILLER, world.engine, world.url) as killer:

        def work(seconds):
            killer.stdin.write(f"{seconds}\n")
            killer.stdin.flush()
            status, duration = killer.stdout.readline().split()
            return int(status), float(duration)

        assert work("never")[0] == 0
        duration = max(work("never")[1] for world in (make(), make()))
        moments = [1.1 * duration * number / kills for number in range(kills)]
        random.Random(45).shuffle(moments)
        for seconds in moments:
            world = make()
            status, _ = work(seconds)
            assert status in (0, signal.SIGKILL)
            assert held(rows, rows_of(world)), "a killed run lost rows"
            interrupted[status, phase.check(connect(world)).status] += 1
            phase.run(connect(world))
            assert unlike(world, oracle) == set()
            assert held(rows, rows_of(world))
        killer.stdin.close()
    return interrupted


@pytest.mark.parametrize("engine", ENGINES)
def test_killed_at_some_moments_the_next_run_ends_right(make, made_by_peewee):  # noqa: F811
    assert hold_through_kills(make, made_by_peewee, kills=8)[signal.SIGKILL, "pending"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("engine", ENGINES)
def test_killed_at_any_moment_the_next_run_ends_right(make, made_by_peewee, capsys):  # noqa: F811
    interrupted = hold_through_kills(make, made_by_peewee, kills=120)
    with capsys.disabled():
        print(f"\n{interrupted}")
    assert interrupted[signal.SIGKILL, "pending"]
