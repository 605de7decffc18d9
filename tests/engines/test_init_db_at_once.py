"""Concurrent `python -m db.init_db`: each table is created once, and none fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from drivers import exhaustive
from states import ENGINES

import db
from db.models import MODELS
from migrations import phase_4_5

ROOT = Path(__file__).parents[2]
PROCESSES = {"sqlite": 16, "postgresql": 12, "mysql": 12}
# One process imports everything, and forks many. They start when the pipe is closed.
RACER = """
import os, sys, importlib
from db.init_db import main
import migrations.phase, playhouse.migrate
importlib.import_module(f"migrations.engines.{sys.argv[1]}.engine")
importlib.import_module(f"migrations.engines.{sys.argv[1]}.ddl")
folder, processes, *arguments = sys.argv[2:]
start, starter = os.pipe()
children = []
for number in range(int(processes)):
    children.append(os.fork())
    if not children[-1]:
        os.close(starter)
        output = os.open(f"{folder}/{number}.out", os.O_CREAT | os.O_WRONLY)
        os.dup2(output, sys.stdout.fileno())
        os.read(start, 1)
        status = main(arguments)
        sys.stdout.flush()
        os._exit(status)
os.close(starter)
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "options", [(), *exhaustive(("--base-only",))], ids=["all tables", "base only"]
)
def test_concurrent_processes_create_each_table_once(world, engine, options, tmp_path):
    target = world(engine)
    target.clear()
    arguments = [
        engine,
        tmp_path,
        PROCESSES[engine],
        "--database",
        target.url,
        *options,
    ]
    done = subprocess.run(
        [sys.executable, "-c", RACER, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (set(done.stdout.split()), done.stderr) == ({"0"}, "")
    reported = [
        file.read_text().partition(": created ")[2].strip()
        for file in tmp_path.glob("*.out")
    ]
    assert len(reported) == PROCESSES[engine]
    created = sorted(", ".join(filter(None, reported)).split(", "))
    names = sorted(model._meta.table_name for model in MODELS)
    assert created == [
        name for name in names if not (options and name == "weekly_actuals")
    ]
    assert phase_4_5.check(db.connect(target.url)).status == (
        "pending" if options else "up_to_date"
    )
