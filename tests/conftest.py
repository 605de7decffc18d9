"""Fixtures: the application's database, and the command as a user calls it."""

import logging
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import drivers
import hooks
import processes
import pytest
from application import APPLICATION_DATA, APPLICATION_TABLES, MEMORY, ROOT, execute

import db

hooks.provide()
if MEMORY:
    # Where pytest creates the folders of the tests.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)
# No test needs a certificate, and to read them takes longer than to connect.
os.environ["SSL_CERT_FILE"] = os.devnull
# A script that starts the tests in the background has them ignore SIGINT, which the
# commands that the tests start would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item):
    for engine in drivers.required(item):
        drivers.require(engine)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    """Write a last line with the engines that were not tested."""
    result = yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and (left_out := drivers.summary(reporter.stats.get("skipped", []))):
        reporter.write_line(f"left out: {left_out}", yellow=True)
    return result


def _configured_loggers():
    """Return the level, the propagation and the handlers of the project's loggers."""
    configured = {}
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(("db", "migrations", "peewee")):
            logger = logging.getLogger(name)
            configured[logger] = (logger.level, logger.propagate, logger.handlers[:])
    return configured


@pytest.fixture(autouse=True)
def _restore_loggers():
    """Restore the loggers: a command that runs in this process configures them."""
    before = _configured_loggers()
    yield
    for logger in _configured_loggers():
        level, propagate, handlers = before.get(logger, (logging.NOTSET, True, []))
        logger.setLevel(level)
        logger.propagate = propagate
        logger.handlers[:] = handlers


@pytest.fixture
def disk():
    """Yield a folder on the disk, for a test that waits for it as a user does."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def path(tmp_path):
    """Return the application's file with a few rows and no weekly_actuals."""
    file = tmp_path / "application.db"
    execute(file, APPLICATION_TABLES + APPLICATION_DATA)
    return file


@pytest.fixture
def empty_path(tmp_path):
    """Return a file with the application's tables, without rows."""
    file = tmp_path / "empty.db"
    execute(file, APPLICATION_TABLES)
    return file


@pytest.fixture
def database(path):
    """Return the application's database, not open."""
    return db.connect(f"sqlite:///{path}")


@pytest.fixture
def cli(path):
    """Return a function that runs the command on `path`, or on another `--database`.

    With an environment or options of subprocess, a new interpreter is started.
    """

    def run(*arguments, module=processes.PHASE, env=(), **options):
        if "--database" not in arguments and module == processes.PHASE:
            arguments = ("--database", f"sqlite:///{path}", *arguments)
        if not env and not options:
            return processes.run(module, *arguments)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **dict(env)}
        command = [sys.executable, "-m", module, *map(str, arguments)]
        options = {"cwd": ROOT, "text": True, "timeout": 120, **options}
        return subprocess.run(command, capture_output=True, env=environment, **options)

    return run
