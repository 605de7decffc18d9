"""What holds on every server alike: repeating, rolling back, racing and dying."""

import logging

import pytest
from drivers import SERVERS, exhaustive
from engines.servers import command, kill_after, later, statuses, together

import db
from migrations import phase_4_5


@pytest.fixture(params=SERVERS)
def engine(request):
    return request.param


def test_a_second_run_changes_nothing(fresh):
    command(fresh.url)
    before = fresh.dump()
    outcome = command(fresh.url)
    assert (outcome.code, outcome.answer, outcome.report["changes"]) == (0, "up_to_date", [])
    assert fresh.dump() == before


def test_rolling_back_leaves_what_was_there_before(fresh):
    before = fresh.dump()
    command(fresh.url)
    assert command(fresh.url, "--rollback").answer == "rolled_back"
    assert fresh.dump() == before


def test_twelve_processes_at_once_and_one_of_them_migrates(unfinished, record_property):
    outcomes, seconds = together([unfinished.url] * 12)
    record_property("seconds", round(seconds, 2))
    assert statuses(outcomes) == ["migrated"] + ["up_to_date"] * 11
    unfinished.assert_specified()


def test_a_race_loses_no_rows(half):
    before = half.rows()
    together([half.url] * 4)
    assert half.rows() == before


def test_a_killed_run_loses_no_rows(half):
    before = half.rows()
    for moment in range(6):
        kill_after(moment * 0.02, half.url)
    assert half.rows() == before


def test_who_is_waited_for_is_told_once_and_no_statement_twice(half, hold, caplog):
    holder = hold(half, "SELECT * FROM weekly_actuals", "SELECT * FROM stores")
    number = getattr(holder, "thread_id", lambda: holder.info.backend_pid)()
    with caplog.at_level(logging.INFO), later(2, holder.rollback):
        report = phase_4_5.run(db.connect(half.url))
    (waiting,) = [text for text in caplog.messages if "waiting for a lock" in text]
    assert waiting.startswith("  waiting for a lock, up to 10 s: ")
    assert str(number) in waiting
    for change in report.changes:
        assert sum(change.sql in text for text in caplog.messages) == 1


@pytest.mark.parametrize("moment", [0, 3, 7, 12, *exhaustive(*{*range(16)} - {0, 3, 7, 12})])
def test_a_killed_run_leaves_no_lock_and_a_rerun_completes(unfinished, moment):
    kill_after(moment * 0.012, unfinished.url)
    outcome = command(unfinished.url, "--lock-timeout", "5")
    assert outcome.answer in ("migrated", "up_to_date")
    unfinished.assert_specified()
