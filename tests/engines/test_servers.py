"""Repeated, concurrent, killed and rolled back runs on every server."""

import logging

import pytest
from drivers import SERVERS, exhaustive
from engines.servers import command, delayed, kill_after, run_concurrently, statuses

import db
from migrations import phase_4_5
from migrations.steps import PhaseCall


@pytest.fixture(params=SERVERS)
def engine(request):
    return request.param


def test_second_run_changes_nothing(fresh):
    command(fresh.url)
    before = fresh.dump()
    outcome = command(fresh.url)
    assert (outcome.code, outcome.answer, outcome.report["changes"]) == (
        0,
        "up_to_date",
        [],
    )
    assert fresh.dump() == before


def test_rollback_restores_the_previous_schema(fresh):
    before = fresh.dump()
    command(fresh.url)
    assert command(fresh.url, "--rollback").answer == "rolled_back"
    assert fresh.dump() == before


def test_one_of_twelve_concurrent_processes_migrates(incomplete, record_property):
    outcomes, seconds = run_concurrently([incomplete.url] * 12)
    record_property("seconds", round(seconds, 2))
    assert statuses(outcomes) == ["migrated"] + ["up_to_date"] * 11
    incomplete.assert_specified()


def test_concurrent_runs_lose_no_rows(half):
    before = half.rows()
    run_concurrently([half.url] * 4)
    assert half.rows() == before


def test_killed_run_loses_no_rows(half):
    before = half.rows()
    for moment in range(6):
        kill_after(moment * 0.02, half.url)
    assert half.rows() == before


def test_check_is_not_refused_if_a_run_changes_the_tables_meanwhile(
    no_date_index, monkeypatch
):
    plan_statements = PhaseCall._statements
    runs = []

    def statements_after_a_run(call, found):
        if not runs:
            runs.append("started")  # before it plans statements of its own
            phase_4_5.ensure(db.connect(no_date_index.url))
        return plan_statements(call, found)

    monkeypatch.setattr(PhaseCall, "_statements", statements_after_a_run)
    report = phase_4_5.check(db.connect(no_date_index.url))
    assert report.status in ("pending", "up_to_date")  # the answer before or after it


def test_wait_and_each_statement_are_logged_once(half, hold, caplog):
    holder = hold(half, "SELECT * FROM weekly_actuals", "SELECT * FROM stores")
    number = getattr(holder, "thread_id", lambda: holder.info.backend_pid)()
    with caplog.at_level(logging.INFO), delayed(2, holder.rollback):
        report = phase_4_5.run(db.connect(half.url))
    (waiting,) = [text for text in caplog.messages if "waiting for a lock" in text]
    assert waiting.startswith("  waiting for a lock, up to 10 s: ")
    assert str(number) in waiting
    for change in report.changes:
        assert sum(change.sql in text for text in caplog.messages) == 1


@pytest.mark.parametrize(
    "moment", [0, 3, 7, 12, *exhaustive(*{*range(16)} - {0, 3, 7, 12})]
)
def test_next_run_completes_after_a_kill(incomplete, moment):
    kill_after(moment * 0.012, incomplete.url)
    outcome = command(incomplete.url, "--lock-timeout", "5")
    assert outcome.answer in ("migrated", "up_to_date")
    incomplete.assert_specified()
