"""The progress of a long change in the log, on every engine."""

import contextlib
import fcntl
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest
from application import ROOT
from engines.servers import NO_DATE_INDEX
from engines.worlds import SQLite
from states import REPAIRED, State, row

import db
from migrations import phase_4_5
from migrations.engines import engine_for
from migrations.report import Change

SECONDS = 10  # a test that waits for longer fails
# The seconds between two reports of a change.
INTERVAL = "migrations.engines.session._PROGRESS_INTERVAL"
AS_TEXT = "week_number VARCHAR(20) NOT NULL"
WRITE = "UPDATE weekly_actuals SET week_number = week_number"


@pytest.fixture
def frequent_reports(monkeypatch):
    """Have the progress of a change reported many times a second."""
    monkeypatch.setattr(INTERVAL, 0.02)


class Reactions(logging.Handler):
    """For each pattern in turn, does something once a message of the log has it."""

    def __init__(self, *reactions):
        super().__init__(logging.INFO)
        self.left = list(reactions)
        self.met = []

    def emit(self, record):
        message = record.getMessage()
        if self.left and re.search(self.left[0][0], message):
            _, react = self.left.pop(0)
            self.met.append(message)
            react()


@contextlib.contextmanager
def reacting(give_up, *reactions):
    """Yield what the log had of each pattern; `give_up` ends what is not reported."""
    logger, handler = logging.getLogger("migrations"), Reactions(*reactions)
    timer = threading.Timer(SECONDS, give_up)
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    timer.start()
    try:
        yield handler.met
    finally:
        timer.cancel()
        logger.removeHandler(handler)
        logger.setLevel(level)


# -- what is reported


@pytest.mark.parametrize(
    ("activity", "progress", "line"),
    [
        ("", ("", None), "  rebuild t: 0 s so far"),
        ("", ("copy", None), "  rebuild t: 0 s so far, copy"),
        ("", ("copy", 0.256), "  rebuild t: 0 s so far, copy 26 %"),
        ("filling", ("copy", 0.5), "  rebuild t: 0 s so far, filling"),
    ],
)
def test_line_about_progress(
    file_and_database, frequent_reports, monkeypatch, caplog, activity, progress, line
):
    session = engine_for(file_and_database[1], phase_4_5.phase.models, 1.0).session
    done = threading.Event()

    def answer():
        done.set()
        return progress

    monkeypatch.setattr(session, "progress", answer)
    session.activity = activity
    if activity:
        caplog.handler.addFilter(lambda record: done.set() or True)
    with caplog.at_level(logging.INFO, "migrations"):
        session._log_progress(Change("rebuild t", ""), time.monotonic(), done)
    (record,) = caplog.records
    assert record.getMessage() == line
    assert record.progress is True


def slow_file(tmp_path):
    """Make a file whose row is converted as slowly as the function `wait` returns."""
    check = "CONSTRAINT slow CHECK (wait(week_number))"
    made = SQLite(tmp_path / "app.db")
    made.connection.create_function("wait", 1, lambda _: True)
    state = State("slow", REPAIRED, items={"week_number": AS_TEXT, "slow": check})
    return made.make(state, filled=True)


def test_elapsed_time_is_reported_on_sqlite(tmp_path, frequent_reports):
    made = slow_file(tmp_path)
    started, reported = threading.Event(), threading.Event()

    def wait_while_rows_are_copied(_):
        return not started.is_set() or reported.wait(SECONDS)

    database = db.connect(made.url)
    database.register_function(wait_while_rows_are_copied, "wait", 1)
    reactions = [
        (r": copy \d+ rows", started.set),
        (r": \d+ s so far$", reported.set),
    ]
    with reacting(reported.set, *reactions) as met:
        assert phase_4_5.ensure(database) is True
    _, message = met
    assert message.strip().startswith("rebuild weekly_actuals")


@pytest.fixture
def writers(world, hold):
    """A world without the date index, and two connections: the first has written."""
    made = world("postgresql").make(NO_DATE_INDEX, filled=True)
    return made, hold(made, WRITE), hold(made)


def test_phase_and_share_are_reported_on_postgresql(writers, frequent_reports):
    made, first, second = writers

    def let_the_second_write():
        second.execute("LOCK TABLE weekly_actuals IN ROW EXCLUSIVE MODE")
        first.rollback()

    def give_up():
        first.rollback()
        second.rollback()

    with reacting(
        give_up,
        (r"\d s so far, waiting for writers before build$", let_the_second_write),
        (r"\d s so far, waiting for writers before validation 100 %$", second.rollback),
    ) as met:
        assert phase_4_5.ensure(db.connect(made.url)) is True
    assert len(met) == 2
    made.assert_specified()


@pytest.mark.mariadb_only
def test_stage_and_share_are_reported_on_mariadb(world, frequent_reports, engine):
    slow = "CONSTRAINT slow CHECK (SHA2(REPEAT(week_number, 8000000), 512) <> '')"
    state = State("slow", REPAIRED, items={"week_number": AS_TEXT, "slow": slow})
    made = world(engine).make(state)
    made.execute("SET check_constraint_checks = 0")
    made.insert(*(row(week, week=week) for week in range(1, 10)))
    made.execute("SET check_constraint_checks = 1")
    with reacting(list, (r"\d s so far, stage 1 of \d \d+ %$", list)) as met:
        assert phase_4_5.ensure(db.connect(made.url)) is True
    (message,) = met
    assert message.strip().startswith("change column week_number")


# -- how it is shown


SHOWN = f"""
import sys
import migrations.engines.session
import db
from migrations.phase_4_5 import phase

{INTERVAL} = 0.02
raise SystemExit(phase.main(sys.argv[1:]))
"""
REPORT = r"\S+ \S+ \| INFO     \|   [^\r\n]*: \d+ s so far[^\r\n]*"


def read_until(terminal, pattern):
    """Return what is written on a terminal until it has a pattern, or its end."""
    shown = ""
    while not re.search(pattern, shown):
        try:
            shown += os.read(terminal, 10_000).decode()
        except OSError:  # the other end is closed
            break
    return shown


def test_terminal_shows_each_report_over_the_previous_one(writers):
    made, first, second = writers
    terminal, other_end = pty.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 150, 0, 0))
    command = [sys.executable, "-c", SHOWN, "--database", made.url]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stderr=other_end)
    os.close(other_end)
    timer = threading.Timer(SECONDS, process.kill)
    timer.start()
    three = rf"\n{REPORT}\r\x1b\[K{REPORT}\r\x1b\[K{REPORT}"
    shown = read_until(terminal, three)
    first.rollback()
    rest = read_until(terminal, r"\[ok\]|migrated in")
    process.wait()
    timer.cancel()
    os.close(terminal)
    assert re.search(three, shown)
    assert re.search(r"\r\x1b\[K\S+ \S+ \| INFO     \| .*\n", rest)
    assert process.returncode == 0
