"""Concurrent processes of one phase, and processes that are killed at any moment."""

import collections
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from another_phase import MANAGED, MODELS, phase
from another_states import State, held, rows_of
from drivers import exhaustive
from oracle import created_by_peewee, definitions, differing_definitions
from states import ENGINES, REPAIRED

import db

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
NAMES = [model._meta.table_name for model in MANAGED]
PROCESSES = {"sqlite": 16, "postgresql": 12, "mysql": 12}
STATES = {
    "nothing": State("nothing", REPAIRED, dict.fromkeys(NAMES)),
    "half": State(
        "half",
        REPAIRED,
        {
            "articles": {"whole": None, "height": None, "label": "label VARCHAR(60)"},
            "movements": None,
            "order": {"unique": None},
            "order_lines": {"check": None, "primary": None},
        },
        without=("article_label_shelf", "order_number"),
    ),
}
# A kill between index and constraint leaves a unique index, which is equivalent.
EQUIVALENT = ("order.unique_order_of_depot UNIQUE",)
# One process imports everything, and forks many. They start when the pipe is closed.
RACER = """
import importlib, os, sys
from another_phase import phase
import migrations.command, migrations.preflight, migrations.smoke_test
import playhouse.migrate
engine, folder, processes, *arguments = sys.argv[1:]
importlib.import_module(f"migrations.engines.{engine}.engine")
importlib.import_module(f"migrations.engines.{engine}.ddl")
importlib.import_module(f"migrations.engines.{engine}.sample_rows")
start, starter = os.pipe()
children = []
for number in range(int(processes)):
    children.append(os.fork())
    if not children[-1]:
        os.close(starter)
        output = os.open(f"{folder}/{number}.json", os.O_CREAT | os.O_WRONLY)
        os.dup2(output, sys.stdout.fileno())
        os.read(start, 1)
        os._exit(phase.main(arguments))
os.close(starter)
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""
# For each line, forks a run of the phase, and kills it after so many seconds.
KILLER = """
import importlib, os, signal, sys, time
import db
from another_phase import phase
import migrations.preflight, playhouse.migrate
importlib.import_module(f"migrations.engines.{sys.argv[1]}.engine")
importlib.import_module(f"migrations.engines.{sys.argv[1]}.ddl")

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


@pytest.fixture(params=["half", *exhaustive("nothing")])
def state(request):
    return STATES[request.param]


@pytest.fixture
def made_by_peewee(world, engine):
    return created_by_peewee(world(engine), MODELS)


@pytest.fixture
def make(world, engine, state, made_by_peewee):
    """Return a function that makes the state again, with rows if it has tables."""

    def make_again():
        target = world(engine)
        if engine == "sqlite":
            target.execute(
                "PRAGMA foreign_keys = OFF",
                *(f'DROP TABLE IF EXISTS "{name}"' for name in (*NAMES, "depots")),
            )
        return state.make(target, filled=state.name == "half")

    return make_again


def start(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        env=ENVIRONMENT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def race(tmp_path):
    """Return a function that runs processes concurrently, and returns their reports."""

    def run(world, *options):
        arguments = (
            "--database",
            world.url,
            "--json",
            "-q",
            "--lock-timeout",
            60,
            *options,
        )
        racer = start(
            RACER, world.engine, tmp_path, PROCESSES[world.engine], *arguments
        )
        output, errors = racer.communicate(timeout=180)
        assert set(output.split()) == {"0"}, output + errors
        return [json.loads(file.read_text()) for file in tmp_path.glob("*.json")]

    return run


@pytest.mark.parametrize("engine", ENGINES)
def test_exactly_one_of_many_concurrent_processes_migrates(make, race, made_by_peewee):
    world = make()
    rows = rows_of(world)
    reports = race(world)
    assert collections.Counter(report["status"] for report in reports) == {
        "migrated": 1,
        "up_to_date": PROCESSES[world.engine] - 1,
    }
    assert differing_definitions(world, made_by_peewee, NAMES) == set()
    assert held(rows, rows_of(world))
    assert all(set(report["smoke_test"].values()) == {True} for report in reports)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("state", ["half"], indirect=True)
def test_exactly_one_of_many_concurrent_rollbacks_drops(make, race):
    world = make()
    phase.ensure(db.connect(world.url))
    statuses = collections.Counter(
        report["status"] for report in race(world, "--rollback", "--force")
    )
    assert statuses == {"rolled_back": 1, "up_to_date": PROCESSES[world.engine] - 1}
    assert set(definitions(world)) <= {"depots", ""}


def complete_after_kills(make, oracle, kills):
    """Kill a run at moments of its whole duration; each time, the next run completes.

    Return how many runs ended with which status, and left which state.
    """
    world, interrupted = make(), collections.Counter()
    rows, ends = rows_of(world), [world.dump()]
    with start(KILLER, world.engine, world.url) as killer:

        def work(seconds):
            killer.stdin.write(f"{seconds}\n")
            killer.stdin.flush()
            status, duration = killer.stdout.readline().split()
            return int(status), float(duration)

        assert work("never")[0] == 0
        ends.append(world.dump())
        duration = max(work("never")[1] for world in (make(), make()))
        moments = [1.1 * duration * number / kills for number in range(kills)]
        random.Random(45).shuffle(moments)
        for seconds in moments:
            world = make()
            status, _ = work(seconds)
            assert status in (0, signal.SIGKILL)
            assert held(rows, rows_of(world)), "a killed run lost rows"
            # One transaction: all or nothing.
            assert world.engine != "sqlite" or world.dump() in ends
            interrupted[status, phase.check(db.connect(world.url)).status] += 1
            phase.run(db.connect(world.url))
            assert differing_definitions(world, oracle, NAMES, EQUIVALENT) == set()
            assert held(rows, rows_of(world))
        killer.stdin.close()
    return interrupted


@pytest.mark.parametrize("engine", ENGINES)
def test_next_run_completes_after_a_kill_at_some_moments(make, made_by_peewee):
    assert complete_after_kills(make, made_by_peewee, kills=4)[
        signal.SIGKILL, "pending"
    ]


@pytest.mark.exhaustive
@pytest.mark.parametrize("engine", ENGINES)
def test_next_run_completes_after_a_kill_at_any_moment(make, made_by_peewee, capsys):
    interrupted = complete_after_kills(make, made_by_peewee, kills=120)
    with capsys.disabled():
        print(f"\n{interrupted}")
    assert interrupted[signal.SIGKILL, "pending"]
