"""The application's database, and the command as a user calls it."""

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
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)  # where pytest makes the folders of the tests
os.environ["SSL_CERT_FILE"] = os.devnull  # no test needs any, and to read them takes longer than to connect
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background of a script: so would be its children
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item):
    for engine in drivers.required(item):
        drivers.require(engine)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    """Have the last line name the engines that were left out."""
    result = yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and (left_out := drivers.summary(reporter.stats.get("skipped", []))):
        reporter.write_line(f"left out: {left_out}", yellow=True)
    return result


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """A command that runs in this process sets the log up for a process of its own."""
    logger = logging.getLogger("migrations")
    before = logger.level, list(logger.handlers), logger.propagate
    yield
    logger.setLevel(before[0])
    logger.handlers[:], logger.propagate = before[1:]


@pytest.fixture(autouse=True)
def _loggers():
    """Leave the loggers as they were found: the command, run in this process, configures its own."""

    def ours():
        names = [name for name in logging.root.manager.loggerDict if name.startswith(("db", "migrations", "peewee"))]
        return {
            logger: (logger.level, logger.propagate, logger.handlers[:]) for logger in map(logging.getLogger, names)
        }

    before = ours()
    yield
    for logger in ours():
        level, logger.propagate, logger.handlers[:] = before.get(logger, (logging.NOTSET, True, []))
        logger.setLevel(level)


@pytest.fixture
def disk():
    """A folder for a test that has to wait for the disk as a user does."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def path(tmp_path):
    """A file as the deployed application makes it, with a little data and no weekly_actuals."""
    file = tmp_path / "application.db"
    execute(file, APPLICATION_TABLES + APPLICATION_DATA)
    return file


@pytest.fixture
def empty_path(tmp_path):
    """The application's tables without a single row."""
    file = tmp_path / "empty.db"
    execute(file, APPLICATION_TABLES)
    return file


@pytest.fixture
def database(path):
    """The application's database, not open."""
    return db.connect(f"sqlite:///{path}")


@pytest.fixture
def cli(path):
    """Run the command on `path`, or on a `--database` of the test's own, in a process of its own.

    An environment or streams of the test's own are for an interpreter that starts with them.
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
