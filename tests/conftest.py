"""The application's database, and the command as a user calls it."""

import os
import subprocess
import sys

import pytest
from application import APPLICATION_DATA, APPLICATION_TABLES, ROOT, execute

import db


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
    """Run the command on `path`, or on a `--database` of the test's own, in a process of its own."""

    def run(*arguments, module="migrations.phase_4_5", env=(), **options):
        if "--database" not in arguments and module == "migrations.phase_4_5":
            arguments = ("--database", f"sqlite:///{path}", *arguments)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **dict(env)}
        command = [sys.executable, "-m", module, *map(str, arguments)]
        options = {"cwd": ROOT, "text": True, "timeout": 120, **options}
        return subprocess.run(command, capture_output=True, env=environment, **options)

    return run
