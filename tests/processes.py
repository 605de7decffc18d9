"""Commands in separate processes, without starting an interpreter each time.

One process imports everything and is forked for each command, which it runs as
`python -m` does. Tests of the interpreter itself, its streams or its environment use
`subprocess`.
"""

import contextlib
import importlib
import multiprocessing
import os
import pkgutil
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from multiprocessing import forkserver
from pathlib import Path

ROOT = Path(__file__).parents[1]
PHASE = "migrations.phase_4_5"
CONTEXT = multiprocessing.get_context("forkserver")
TIMEOUT = 120  # seconds; a process that needs more hangs


class Run:
    """A running command, with the methods of `subprocess.Popen`."""

    def __init__(self, module, *arguments, cwd=ROOT, barrier=None):
        _serve()
        self.args = [module, *map(str, arguments)]
        self._folder = tempfile.mkdtemp(prefix="run_")
        self.stdout, self.stderr = Path(self._folder, "out"), Path(self._folder, "err")
        call = (
            self.args,
            dict(os.environ),
            str(cwd),
            str(self.stdout),
            str(self.stderr),
            barrier,
        )
        self._barrier = barrier  # it exists as long as it is referenced here
        self._process = CONTEXT.Process(target=_command, args=call, daemon=True)
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self.returncode

    def wait(self, timeout=TIMEOUT):
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def communicate(self, timeout=TIMEOUT):
        """Wait for the end; return the texts of standard output and standard error."""
        self.wait(timeout)
        written = [
            path.read_text("utf-8") if path.exists() else ""
            for path in (self.stdout, self.stderr)
        ]
        shutil.rmtree(self._folder)
        return tuple(written)

    def first_line(self):
        """Wait for a line on standard error, or for the end of the process."""
        while self.poll() is None and not self._has_line():
            time.sleep(0.001)

    def _has_line(self):
        return self.stderr.exists() and b"\n" in self.stderr.read_bytes()

    def send_signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def run(module, *arguments, **options):
    """Run a command to its end and return what `subprocess.run` returns."""
    started = Run(module, *arguments, **options)
    out, err = started.communicate()
    return subprocess.CompletedProcess(started.args, started.returncode, out, err)


def at_once(calls):
    """Start a command for each list of arguments; each waits until all have started."""
    barrier = CONTEXT.Barrier(len(calls))
    return [Run(*arguments, barrier=barrier) for arguments in calls]


_starting = threading.Lock()


def _serve():
    """Start the process that is forked, with the tests on its path."""
    with _starting:
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(
            filter(None, (str(ROOT), str(ROOT / "tests"), before))
        )
        try:
            CONTEXT.set_forkserver_preload(["processes_preload"])
            forkserver.ensure_running()
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before


def preload():
    """Import the project and the installed drivers."""
    for package in map(importlib.import_module, ("db", "migrations")):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            with contextlib.suppress(ImportError):  # of a driver that is not installed
                importlib.import_module(module.name)
    for name in ("psycopg", "pymysql", "playhouse.migrate"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _command(arguments, environment, cwd, stdout, stderr, barrier):
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for target, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), target)
    sys.argv = arguments
    # The module is imported already, on purpose.
    warnings.filterwarnings("ignore", ".* found in sys.modules", RuntimeWarning)
    if barrier:
        barrier.wait(TIMEOUT)
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
