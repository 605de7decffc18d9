"""PostgreSQL: what a run sets and undoes, which rows it counts, and that nothing of it goes on without it."""

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
from engines.servers import COMPLETE, HALF, NOTHING, command, granted, later, one_line, url_of
from processes import ROOT
from states import REPAIRED, TABLE, State, row

import db
from db.init_db import init_db
from migrations import phase_4_5
from migrations.engines import engine_for

PARENTS = "SELECT, INSERT, DELETE, REFERENCES ON historical_sales, store_clusters, stores, categories, workflows"
USE = "CREATE, USAGE ON SCHEMA public"
NO_RIGHT_TIME = State("a time as text", REPAIRED, items={"week_start_date": "week_start_date {string} NOT NULL"})


@pytest.fixture
def engine():
    return "postgresql"


@pytest.fixture
def owner(role):
    """Return a function that makes a user of a world who owns `weekly_actuals`, and gives its URL."""

    def make(world, settings=()):
        url = role(world, PARENTS, USE, settings=settings)
        name = url.partition("://")[2].partition(":")[0]
        world.execute(f'ALTER TABLE weekly_actuals OWNER TO "{name}"')
        return url

    return make


# -- rows that are there and not seen


@pytest.fixture
def hidden(owner):
    """Return a function that hides every row of a world's table from its owner, and gives the owner's URL."""

    def make(world):
        url = owner(world)
        world.execute(
            "ALTER TABLE weekly_actuals ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE weekly_actuals FORCE ROW LEVEL SECURITY",
            "CREATE POLICY tenant ON weekly_actuals USING (false)",
        )  # fmt: skip
        return url

    return make


def test_a_table_whose_rows_a_role_does_not_see_is_not_rolled_back(complete, hidden):
    url = hidden(complete)
    assert "row-level security" in one_line(command(url, "--rollback"))
    assert len(complete.rows()) == 3


def test_what_is_told_about_hidden_rows_helps(complete, hidden):
    url = hidden(complete)
    granted(complete, command(url, "--rollback"))
    assert "holds 3 rows" in one_line(command(url, "--rollback"))


@pytest.mark.parametrize("arguments", [(), ("--check",), ("--dry-run",)])
def test_rows_against_a_change_that_a_role_does_not_see_stop_it(world, hidden, arguments):
    state = State("NOT NULL lost", REPAIRED, items={"week_number": "week_number INTEGER"}, bad=(row(20, week=None),))
    made = world("postgresql").make(state, True)
    assert "row-level security" in command(hidden(made), *arguments).message
    assert made.catalogue()[0]["week_number"] == ("integer", True)


def test_a_complete_table_whose_rows_a_role_does_not_see_is_complete(complete, hidden):
    assert phase_4_5.ensure(db.connect(hidden(complete))) is False


def test_of_a_table_whose_rows_a_role_does_not_see_the_count_is_an_estimate(complete, hidden):
    complete.execute("ANALYZE weekly_actuals")
    report = phase_4_5.run(db.connect(hidden(complete)))
    assert (report.row_counts["weekly_actuals"], report.row_counts["stores"]) == (3, 4)
    assert report.estimated_counts == ("weekly_actuals",)
    assert set(report.smoke_test.values()) == {None}


@pytest.mark.parametrize("opened", [False, True])
def test_a_roles_limit_does_not_end_a_count(complete, owner, opened):
    database = db.connect(owner(complete, settings=("statement_timeout = '200ms'",)))
    complete.execute("CREATE VIEW slow AS SELECT * FROM generate_series(1, 4000000)", "GRANT SELECT ON slow TO PUBLIC")
    engine = engine_for(database, phase_4_5.phase.models, 10.0)
    if opened:
        database.connect()
    with engine.session.connected():
        with pytest.raises(peewee.OperationalError, match="statement timeout"):
            engine.session.query("SELECT count(*) FROM slow")
        assert engine.catalog.count("slow") == 4_000_000


def test_what_a_run_counts_in_the_callers_transaction_leaves_row_security_as_it_was(half):
    database = db.connect(half.url)
    with database.connection_context(), database.atomic(), pytest.raises(phase_4_5.ChangeRefused):
        phase_4_5.rollback(database)
    with database.connection_context(), database.atomic():
        before = database.execute_sql("SELECT name, setting FROM pg_settings ORDER BY 1").fetchall()
        with contextlib.suppress(phase_4_5.ChangeRefused):
            phase_4_5.rollback(database)
        with contextlib.suppress(phase_4_5.ChangeRefused):
            phase_4_5.run(database)
        assert database.execute_sql("SELECT name, setting FROM pg_settings ORDER BY 1").fetchall() == before


# -- an end before the end

WAITING = """
import signal, sys
import db
from migrations.engines import engine_for
from migrations.phase_4_5 import phase
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever is inherited
signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))
engine = engine_for(db.connect(sys.argv[1]), phase.models, 10.0)
with engine.session.connected(), engine.session.all_rows():
    print("waiting", flush=True)
    engine.session.query("SELECT pg_sleep(60)")
"""
SLEEPING = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(60)%' "
    "AND pid <> pg_backend_pid() AND state = 'active'"
)


# What psycopg2 is at cannot be interrupted: Python hears of a signal once it is done.
@pytest.mark.parametrize(("driver", "number", "code"), [
    ("psycopg", signal.SIGINT, -signal.SIGINT), ("psycopg", signal.SIGTERM, 15),
    ("psycopg", signal.SIGKILL, -signal.SIGKILL), ("psycopg2", signal.SIGKILL, -signal.SIGKILL),
])  # fmt: skip
def test_the_server_does_not_go_on_without_us(complete, driver, number, code):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    url = complete.url.replace("://", f"+{driver}://")
    process = subprocess.Popen([sys.executable, "-c", WAITING, url], env=environment,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
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


def test_a_connection_can_be_used_after_an_interruption(complete):
    database = db.connect(complete.url.replace("://", "+psycopg://"))
    engine = engine_for(database, phase_4_5.phase.models, 10.0)

    def interrupt(*_):
        raise SystemExit

    before = signal.signal(signal.SIGALRM, interrupt)
    with database.connection_context():
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(SystemExit), engine.session.connected(), engine.session.all_rows():
            engine.session.query("SELECT pg_sleep(60)")
        assert database.execute_sql("SELECT current_setting('row_security')").fetchone() == ("on",)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("arguments", [(), ("--check",), ("--rollback",)])
@pytest.mark.parametrize("state", ["half", "complete"])
def test_a_table_that_is_locked_is_waited_for_as_long_as_asked(request, hold, state, arguments):
    made = request.getfixturevalue(state)
    holder = hold(made, "LOCK TABLE weekly_actuals, stores IN ACCESS EXCLUSIVE MODE")
    outcome = command(made.url, "--lock-timeout", "1", *arguments)
    assert str(holder.info.backend_pid) in one_line(outcome)
    assert outcome.report["duration_ms"] < 5000


# -- limits and habits of a role, and of a database

LIMITS = ("statement_timeout = '300ms'", "lock_timeout = '300ms'", "idle_in_transaction_session_timeout = '300ms'")


@pytest.mark.parametrize("limit", LIMITS)
def test_a_roles_limits_do_not_end_a_build(half, owner, hold, limit):
    url = owner(half, settings=(limit,))
    holder = hold(half, "UPDATE weekly_actuals SET week_number = week_number")
    with later(1.5, holder.rollback):
        assert command(url).answer == "migrated"
    half.assert_specified()


@pytest.mark.parametrize("limit", LIMITS)
def test_a_roles_limits_are_what_they_were_after_a_run(half, owner, limit):
    url, name = owner(half, settings=(limit,)), limit.partition(" ")[0]
    database = db.connect(url)
    with database.connection_context():
        assert phase_4_5.ensure(database) is True
        assert database.execute_sql(f"SHOW {name}").fetchone() == ("300ms",)


TELLING = ("quote_all_identifiers = on", "standard_conforming_strings = off", "DateStyle = 'German, DMY'",
           "default_transaction_isolation = 'repeatable read'")  # fmt: skip
SETTINGS = (
    *TELLING, "DateStyle = 'SQL, MDY'", "extra_float_digits = -15", "default_transaction_isolation = serializable",
    "bytea_output = escape", "IntervalStyle = sql_standard", "row_security = off", "client_encoding = latin1",
    "enable_seqscan = off", "check_function_bodies = off", "timezone = 'Asia/Tokyo'", "array_nulls = off",
    "backslash_quote = off", "xmloption = document",
)  # fmt: skip


@pytest.mark.parametrize(("state", "setting"), [
    pytest.param(state, setting, id=f"{state.name}-{setting}",
                 marks=[pytest.mark.exhaustive] * (setting not in TELLING or state is not NO_RIGHT_TIME))
    for state in (NOTHING, COMPLETE, HALF, NO_RIGHT_TIME) for setting in SETTINGS
])  # fmt: skip
def test_whatever_a_database_sets_a_run_does_the_same(alone, state, setting):
    made = alone.make(state, filled=state is not NOTHING)
    before = made.rows() if state is not NOTHING else {}
    made.execute(f"ALTER DATABASE {made.name} SET {setting}")
    outcome = command(made.url)
    assert outcome.answer == ("up_to_date" if state is COMPLETE else "migrated")
    made.assert_specified()
    assert made.rows() == before
    assert command(made.url, "--check").code == 0


@pytest.mark.parametrize("state", [NOTHING, HALF, COMPLETE])
def test_a_database_that_may_only_be_read_is_told_so_and_the_table_not_accused(alone, state):
    made = alone.make(state, filled=state is not NOTHING)
    before = made.dump()
    made.execute(f"ALTER DATABASE {made.name} SET default_transaction_read_only = on")
    assert 'ALTER ROLE "postgres" SET default_transaction_read_only = off' in one_line(command(made.url))
    assert command(made.url, "--check").code == (state is not COMPLETE)
    made.execute("SET default_transaction_read_only = off", f"ALTER DATABASE {made.name} RESET ALL")
    assert made.dump() == before


def test_a_database_that_knows_no_encoding(fresh):
    name = f"ascii_{uuid.uuid4().hex}"
    fresh.server.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        url = url_of(fresh, name=name)
        init_db(db.connect(url), base_only=True)
        with psycopg.connect(url, autocommit=True, client_encoding="latin1") as connection:
            connection.execute("CREATE TABLE weekly_actuals (week_number INTEGER, \"wóche\" TEXT DEFAULT 'für')")
        assert command(url).answer == "migrated"
        assert command(url).answer == "up_to_date"
    finally:
        fresh.server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_default_of_float_text_is_read_to_the_last_digit(alone):
    items = {"variance_pct": TABLE["variance_pct"].replace("{float}", "VARCHAR(40)")}
    made = alone.make(State("a float as text", REPAIRED, items=items))
    made.insert(row(1, variance_pct="0.056910569105691054"), row(2, week=2, variance_pct="-1.5e-10"))
    made.execute(f"ALTER DATABASE {made.name} SET extra_float_digits = 0")
    assert command(made.url).answer == "migrated"
    made.execute("SET extra_float_digits = 1")
    assert made.query("SELECT variance_pct FROM weekly_actuals ORDER BY id") == [
        (0.056910569105691054,), (-1.5e-10,)
    ]  # fmt: skip
