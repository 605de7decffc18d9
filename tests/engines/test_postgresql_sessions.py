"""PostgreSQL: settings of a run, row-level security, interrupts, limits of roles."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid

import peewee
import psycopg
import pytest
from engines.servers import (
    COMPLETE,
    HALF,
    NOTHING,
    command,
    delayed,
    one_line_error,
    run_reported_statement,
    url_of,
)
from processes import ROOT
from states import REPAIRED, TABLE, State, row

import db
from db.init_db import init_db
from migrations import phase_4_5
from migrations.engines import engine_for

PARENTS = (
    "SELECT, INSERT, DELETE, REFERENCES ON historical_sales, store_clusters, "
    "stores, categories, workflows"
)
USE = "CREATE, USAGE ON SCHEMA public"
DATE_AS_TEXT = State(
    "a date as text",
    REPAIRED,
    items={"week_start_date": "week_start_date {string} NOT NULL"},
)


@pytest.fixture
def engine():
    return "postgresql"


@pytest.fixture
def owner(role):
    """Return a function that gives the URL of a new owner of `weekly_actuals`."""

    def make(world, settings=()):
        url = role(world, PARENTS, USE, settings=settings)
        name = url.partition("://")[2].partition(":")[0]
        world.execute(f'ALTER TABLE weekly_actuals OWNER TO "{name}"')
        return url

    return make


# -- hidden rows


@pytest.fixture
def hidden(owner):
    """Return a function that hides every row from the owner; it returns the URL."""

    def make(world):
        url = owner(world)
        world.execute(
            "ALTER TABLE weekly_actuals ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE weekly_actuals FORCE ROW LEVEL SECURITY",
            "CREATE POLICY tenant ON weekly_actuals USING (false)",
        )
        return url

    return make


def test_rollback_of_a_table_with_hidden_rows_is_refused(complete, hidden):
    url = hidden(complete)
    assert "row-level security" in one_line_error(command(url, "--rollback"))
    assert len(complete.rows()) == 3


def test_reported_statement_shows_hidden_rows(complete, hidden):
    url = hidden(complete)
    run_reported_statement(complete, command(url, "--rollback"))
    assert "holds 3 rows" in one_line_error(command(url, "--rollback"))


@pytest.mark.parametrize("arguments", [(), ("--check",), ("--dry-run",)])
def test_hidden_conflicting_rows_stop_a_change(world, hidden, arguments):
    state = State(
        "NOT NULL lost",
        REPAIRED,
        items={"week_number": "week_number INTEGER"},
        bad=(row(20, week=None),),
    )
    made = world("postgresql").make(state, True)
    assert "row-level security" in command(hidden(made), *arguments).message
    assert made.catalogue()[0]["week_number"] == ("integer", True)


def test_complete_table_with_hidden_rows_is_up_to_date(complete, hidden):
    assert phase_4_5.ensure(db.connect(hidden(complete))) is False


def test_count_of_a_table_with_hidden_rows_is_an_estimate(complete, hidden):
    complete.execute("ANALYZE weekly_actuals")
    report = phase_4_5.run(db.connect(hidden(complete)))
    assert (report.row_counts["weekly_actuals"], report.row_counts["stores"]) == (3, 4)
    assert report.estimated_counts == ("weekly_actuals",)
    assert set(report.smoke_test.values()) == {None}


@pytest.mark.parametrize("opened", [False, True])
def test_statement_timeout_of_a_role_does_not_end_a_count(complete, owner, opened):
    database = db.connect(owner(complete, settings=("statement_timeout = '200ms'",)))
    complete.execute(
        "CREATE VIEW slow AS SELECT * FROM generate_series(1, 4000000)",
        "GRANT SELECT ON slow TO PUBLIC",
    )
    engine = engine_for(database, phase_4_5.phase.models, 10.0)
    if opened:
        database.connect()
    with engine.session.connected():
        with pytest.raises(peewee.OperationalError, match="statement timeout"):
            engine.session.query("SELECT count(*) FROM slow")
        assert engine.catalog.count("slow") == 4_000_000


def test_connection_prepares_statements_as_before(complete):
    database = db.connect(complete.url.replace("://", "+psycopg://"))
    with database.connection_context():
        database.connection().prepare_threshold = 7
        phase_4_5.check(database)
        assert database.connection().prepare_threshold == 7


def test_count_in_the_callers_transaction_keeps_its_settings(half):
    database = db.connect(half.url)
    with (
        database.connection_context(),
        database.atomic(),
        pytest.raises(phase_4_5.ChangeRefused),
    ):
        phase_4_5.rollback(database)
    with database.connection_context(), database.atomic():
        before = database.execute_sql(
            "SELECT name, setting FROM pg_settings ORDER BY 1"
        ).fetchall()
        with contextlib.suppress(phase_4_5.ChangeRefused):
            phase_4_5.rollback(database)
        with contextlib.suppress(phase_4_5.ChangeRefused):
            phase_4_5.run(database)
        assert (
            database.execute_sql(
                "SELECT name, setting FROM pg_settings ORDER BY 1"
            ).fetchall()
            == before
        )


# -- interrupts

WAITING = """
import signal, sys
import db
from migrations.engines import engine_for
from migrations.phase_4_5 import phase
# Another handler may be inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))
engine = engine_for(db.connect(sys.argv[1]), phase.models, 10.0)
with engine.session.connected(), engine.session.all_rows():
    print("waiting", flush=True)
    engine.session.query("SELECT pg_sleep(60)")
"""
SLEEPING = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
    "AND query LIKE '%pg_sleep(60)%' "
    "AND pid <> pg_backend_pid() AND state = 'active'"
)


# psycopg2 cannot be interrupted: Python handles a signal after the statement.
@pytest.mark.parametrize(
    ("driver", "number", "code"),
    [
        ("psycopg", signal.SIGINT, -signal.SIGINT),
        ("psycopg", signal.SIGTERM, 15),
        ("psycopg", signal.SIGKILL, -signal.SIGKILL),
        ("psycopg2", signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_statement_on_the_server_ends_with_the_process(complete, driver, number, code):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    url = complete.url.replace("://", f"+{driver}://")
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, url],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout.readline() == b"waiting\n"
    while not complete.query(SLEEPING):
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(20) == code
    process.stdout.close()
    deadline = time.monotonic() + 20
    while complete.query(SLEEPING):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_connection_can_be_used_after_an_interruption(complete):
    database = db.connect(complete.url.replace("://", "+psycopg://"))
    engine = engine_for(database, phase_4_5.phase.models, 10.0)

    def interrupt(*_):
        raise SystemExit

    before = signal.signal(signal.SIGALRM, interrupt)
    with database.connection_context():
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with (
            pytest.raises(SystemExit),
            engine.session.connected(),
            engine.session.all_rows(),
        ):
            engine.session.query("SELECT pg_sleep(60)")
        assert database.execute_sql(
            "SELECT current_setting('row_security')"
        ).fetchone() == ("on",)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("arguments", [(), ("--check",), ("--rollback",)])
@pytest.mark.parametrize("state", ["half", "complete"])
def test_wait_for_a_locked_table_ends_at_the_timeout(request, hold, state, arguments):
    made = request.getfixturevalue(state)
    holder = hold(made, "LOCK TABLE weekly_actuals, stores IN ACCESS EXCLUSIVE MODE")
    outcome = command(made.url, "--lock-timeout", "1", *arguments)
    assert str(holder.info.backend_pid) in one_line_error(outcome)
    assert outcome.report["duration_ms"] < 5000


# -- settings of a role and of a database

LIMITS = (
    "statement_timeout = '300ms'",
    "lock_timeout = '300ms'",
    "idle_in_transaction_session_timeout = '300ms'",
)


@pytest.mark.parametrize("limit", LIMITS)
def test_limits_of_a_role_do_not_end_an_index_build(half, owner, hold, limit):
    url = owner(half, settings=(limit,))
    holder = hold(half, "UPDATE weekly_actuals SET week_number = week_number")
    with delayed(1.5, holder.rollback):
        assert command(url).answer == "migrated"
    half.assert_specified()


@pytest.mark.parametrize("limit", LIMITS)
def test_limits_of_a_role_are_restored_after_a_run(half, owner, limit):
    url, name = owner(half, settings=(limit,)), limit.partition(" ")[0]
    database = db.connect(url)
    with database.connection_context():
        assert phase_4_5.ensure(database) is True
        assert database.execute_sql(f"SHOW {name}").fetchone() == ("300ms",)


QUICK_SETTINGS = (
    "quote_all_identifiers = on",
    "standard_conforming_strings = off",
    "DateStyle = 'German, DMY'",
    "default_transaction_isolation = 'repeatable read'",
)
SETTINGS = (
    *QUICK_SETTINGS, "DateStyle = 'SQL, MDY'", "extra_float_digits = -15",
    "default_transaction_isolation = serializable", "bytea_output = escape",
    "IntervalStyle = sql_standard", "row_security = off", "client_encoding = latin1",
    "enable_seqscan = off", "check_function_bodies = off", "timezone = 'Asia/Tokyo'",
    "array_nulls = off", "backslash_quote = off", "xmloption = document",
)  # fmt: skip


def states_and_settings():
    parameters = []
    for state in (NOTHING, COMPLETE, HALF, DATE_AS_TEXT):
        for setting in SETTINGS:
            quick = setting in QUICK_SETTINGS and state is DATE_AS_TEXT
            marks = [] if quick else [pytest.mark.exhaustive]
            name = f"{state.name}-{setting}"
            parameters.append(pytest.param(state, setting, id=name, marks=marks))
    return parameters


@pytest.mark.parametrize(("state", "setting"), states_and_settings())
def test_run_does_the_same_under_any_database_settings(second_database, state, setting):
    made = second_database.make(state, filled=state is not NOTHING)
    before = made.rows() if state is not NOTHING else {}
    made.execute(f"ALTER DATABASE {made.name} SET {setting}")
    outcome = command(made.url)
    assert outcome.answer == ("up_to_date" if state is COMPLETE else "migrated")
    made.assert_specified()
    assert made.rows() == before
    assert command(made.url, "--check").code == 0


@pytest.mark.parametrize("state", [NOTHING, HALF, COMPLETE])
def test_read_only_database_is_reported_as_the_cause(second_database, state):
    made = second_database.make(state, filled=state is not NOTHING)
    before = made.dump()
    made.execute(f"ALTER DATABASE {made.name} SET default_transaction_read_only = on")
    assert (
        'ALTER ROLE "postgres" SET default_transaction_read_only = off'
        in one_line_error(command(made.url))
    )
    assert command(made.url, "--check").code == (state is not COMPLETE)
    made.execute(
        "SET default_transaction_read_only = off",
        f"ALTER DATABASE {made.name} RESET ALL",
    )
    assert made.dump() == before


def test_database_in_sql_ascii_is_migrated(fresh):
    name = f"ascii_{uuid.uuid4().hex}"
    fresh.server.execute(
        f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LC_"
        "COLLATE 'C' LC_CTYPE 'C'"
    )
    try:
        url = url_of(fresh, name=name)
        init_db(db.connect(url), base_only=True)
        with psycopg.connect(
            url, autocommit=True, client_encoding="latin1"
        ) as connection:
            connection.execute(
                "CREATE TABLE weekly_actuals (week_number INTEGER, "
                "\"wóche\" TEXT DEFAULT 'für')"
            )
        assert command(url).answer == "migrated"
        assert command(url).answer == "up_to_date"
    finally:
        fresh.server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_float_converted_from_text_keeps_every_digit(second_database):
    items = {"variance_pct": TABLE["variance_pct"].replace("{float}", "VARCHAR(40)")}
    made = second_database.make(State("a float as text", REPAIRED, items=items))
    made.insert(
        row(1, variance_pct="0.056910569105691054"),
        row(2, week=2, variance_pct="-1.5e-10"),
    )
    made.execute(f"ALTER DATABASE {made.name} SET extra_float_digits = 0")
    assert command(made.url).answer == "migrated"
    made.execute("SET extra_float_digits = 1")
    assert made.query("SELECT variance_pct FROM weekly_actuals ORDER BY id") == [
        (0.056910569105691054,),
        (-1.5e-10,),
    ]
