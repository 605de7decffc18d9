"""The first call of a process, which is the one that a worker pays for.

Each call is a new process; the processes of both sides take turns. Their modules are
compiled, and each prints two times: of the call with its connection, and of the same
with the imports that come before it.
"""

import os
import statistics
import subprocess
import sys
import tempfile

from .common import compare, compiled_environment

IMPORTS = {
    "ensure": "import db\nfrom migrations import phase_4_5",
    "Runner.up()": "import db\nfrom playhouse.migrations import Runner",
}
CALLS = {
    "ensure": "phase_4_5.ensure(db.connect(url))",
    "Runner.up()": (
        "database = db.connect(url)\n"
        "with database.connection_context(): Runner(database, folder).up()"
    ),
}
PROCESS = """
import sys, time
url, folder = sys.argv[1:]
started = time.perf_counter()
{imports}
imported = time.perf_counter()
{call}
called = time.perf_counter()
print(called - imported, called - started)
"""
# By engine: the goals of the call, and of the call with its imports.
GOALS = {
    "sqlite": ("<= 2.5", "<= 1.05"),
    "postgresql": ("<= 1.4", "<= 1.04"),
    "mysql": ("<= 1.08", "<= 1.03"),
    "mysql97": ("<= 1.08", "<= 1.03"),
}


def write_migration(folder):
    """Write a migration for `Runner` that does nothing."""
    with open(os.path.join(folder, "0001_nothing.py"), "w") as file:
        file.write("def up(migrator, db):\n    pass\n")


def first_call(engine, url, rounds=25):
    """Compare the first `ensure` with the first `Runner.up()`; neither has work to do.

    The history of `Runner` is left in the database.
    """
    calls = {name: [] for name in CALLS}
    with_imports = {name: [] for name in CALLS}
    with tempfile.TemporaryDirectory() as folder:
        write_migration(folder)
        for turn in range(rounds + 1):
            for name in CALLS:
                call, both = _process(name, url, folder)
                if turn:  # the first turn compiles, and creates the history
                    calls[name].append(call)
                    with_imports[name].append(both)
    for what, times, goal in zip(
        ("", ", with imports"), (calls, with_imports), GOALS[engine]
    ):
        medians = {name: statistics.median(taken) for name, taken in times.items()}
        compare(
            f"{engine}: first call of a process{what}",
            medians,
            **{"Runner.up()": goal},
        )


def _process(name, url, folder):
    program = PROCESS.format(imports=IMPORTS[name], call=CALLS[name])
    printed = subprocess.run(
        [sys.executable, "-c", program, url, folder],
        env=compiled_environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    return [float(seconds) for seconds in printed.split()]
