"""`python -m db.init_db` by many processes at once: each table is made once, and nobody fails."""

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
# One process imports everything; many are forked from it, and go when the last of them stands at the gate.
RACER = """
import os, sys, importlib
from db.init_db import main
import migrations.phase, playhouse.migrate
importlib.import_module(f"migrations.engines.{sys.argv[1]}.engine")
importlib.import_module(f"migrations.engines.{sys.argv[1]}.ddl")
folder, processes, *arguments = sys.argv[2:]
gate, word = os.pipe()
children = []
for number in range(int(processes)):
    children.append(os.fork())
    if not children[-1]:
        os.close(word)
        os.dup2(os.open(f"{folder}/{number}.out", os.O_CREAT | os.O_WRONLY), sys.stdout.fileno())
        os.read(gate, 1)
        status = main(arguments)
        sys.stdout.flush()
        os._exit(status)
os.close(word)
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", [(), *exhaustive(("--base-only",))], ids=["all tables", "base only"])
def test_of_many_processes_at_once_each_table_is_made_by_one(world, engine, options, tmp_path):
    there = world(engine)
    there.clear()
    arguments = [engine, tmp_path, PROCESSES[engine], "--database", there.url, *options]
    done = subprocess.run(
        [sys.executable, "-c", RACER, *map(str, arguments)], capture_output=True, text=True, timeout=180, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (set(done.stdout.split()), done.stderr) == ({"0"}, "")
    told = [file.read_text().partition(": created ")[2].strip() for file in tmp_path.glob("*.out")]
    assert len(told) == PROCESSES[engine]
    created = sorted(", ".join(filter(None, told)).split(", "))
    names = sorted(model._meta.table_name for model in MODELS)
    assert created == [name for name in names if not (options and name == "weekly_actuals")]
    assert phase_4_5.check(db.connect(there.url)).status == ("pending" if options else "up_to_date")
