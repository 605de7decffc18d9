"""MariaDB: settings of sessions, limits, interrupts, blocking and query plans."""

import contextlib
import shutil
import signal
import subprocess
import threading
import time
from urllib.parse import quote, urlsplit

import pymysql
import pytest
from engines.servers import (
    COMPLETE,
    HALF,
    NO_DATE_INDEX,
    NOTHING,
    command,
    new_connection,
    one_line_error,
    url_of,
    wait_for,
)
from states import REPAIRED, State, row

import db
from db.init_db import init_db
from db.models import StoreCluster
from migrations import phase_4_5
from migrations.engines import engine_for
from migrations.report import Change


def with_settings(world, settings):
    """Return a URL whose connections begin with these settings."""
    return url_of(world, query="init_command=" + quote(f"SET SESSION {settings}"))


def settings_of(database):
    # Only MariaDB executes what follows M!, and only MySQL what follows !80000.
    return database.execute_sql(
        "SELECT @@sql_mode, @@sql_quote_show_create, @@sql_select_limit, "
        "/*M! @@max_statement_time */ /*!80000 @@max_execution_time */, "
        "@@sql_big_selects LIMIT 9"
    ).fetchone()


# -- settings


@pytest.mark.mariadb_only
def test_script_sets_what_a_run_sets(fresh):
    engine = engine_for(db.connect(fresh.url), phase_4_5.phase.models, 10.0)
    own = Change("", "SELECT 'é'", settings=(("alter_algorithm", "'COPY'"),))
    with engine.session.connected():
        script = engine.session.script([Change("", "SELECT 1"), own])
    settings = [line for line in script if "wsrep_sync_wait = 9" not in line]
    mode = "STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION"
    assert sorted(settings[:9]) == [
        "SET SESSION alter_algorithm = 'DEFAULT';",
        "SET SESSION check_constraint_checks = 1;",
        "SET SESSION foreign_key_checks = 1;",
        "SET SESSION innodb_lock_wait_timeout = 1;",
        "SET SESSION lock_wait_timeout = 1;",
        "SET SESSION max_statement_time = 0;",
        f"SET SESSION sql_mode = '{mode}';",
        "SET SESSION time_zone = '+00:00';",
        "SET SESSION unique_checks = 1;",
    ]
    assert settings[9:] == [
        "SET NAMES utf8mb4;",
        "SELECT 1;",
        "SET SESSION alter_algorithm = 'COPY';",
        "SELECT 'é';",
        "SET SESSION alter_algorithm = 'DEFAULT';",
    ]


MODES = (
    "ANSI_QUOTES", "ORACLE", "NO_BACKSLASH_ESCAPES", "EMPTY_STRING_IS_NULL",
    "PAD_CHAR_TO_FULL_LENGTH", "NO_TABLE_OPTIONS", "NO_FIELD_OPTIONS", "TRADITIONAL",
    "",
)  # fmt: skip
UNUSUAL = [f"sql_mode = '{mode}'" for mode in MODES] + [
    "sql_quote_show_create = 0",
    "sql_select_limit = 1",
    "sql_select_limit = 0",
    "max_statement_time = 3600",
    "max_join_size = 1",
    "autocommit = 0",
    "sql_safe_updates = 1",
    "completion_type = CHAIN",
    "/*M! check_constraint_checks = 0, */ unique_checks = 0, foreign_key_checks = 0",
    "alter_algorithm = 'INSTANT'",
]
ONLY_ON_MARIADB = (
    "'ORACLE'", "EMPTY_STRING_IS_NULL", "NO_TABLE_OPTIONS", "NO_FIELD_OPTIONS",
    "max_statement_time", "alter_algorithm",
)  # fmt: skip
NULLS = State(
    "NOT NULL lost",
    REPAIRED,
    items={"week_number": "week_number INTEGER COMMENT 'undeclared'", "unique": None},
)
STATES = {"nothing": NOTHING, "half": HALF, "complete": COMPLETE, "nulls": NULLS}


def exists_on(world, settings):
    """Whether the server of a world has some settings."""
    return world.is_mariadb or not any(each in settings for each in ONLY_ON_MARIADB)


def settings_and_states():
    """Return each combination; one of four is for the quick run."""
    parameters = []
    for at, settings in enumerate(UNUSUAL):
        for number, state in enumerate(STATES):
            quick = at % 4 == number
            marks = [] if quick else [pytest.mark.exhaustive]
            parameters.append(pytest.param(settings, state, marks=marks))
    return parameters


@pytest.mark.parametrize(("settings", "state"), settings_and_states())
def test_run_does_the_same_under_any_session_settings(world, settings, state, engine):
    made = world(engine).make(STATES[state], filled=state != "nothing")
    if not exists_on(made, settings):
        pytest.skip("MySQL does not have it")
    before = made.rows() if state != "nothing" else {}
    database = db.connect(with_settings(made, settings))
    with database.connection_context():
        before_run = settings_of(database)
        assert phase_4_5.check(database).status == (
            "up_to_date" if state == "complete" else "pending"
        )
        report = phase_4_5.run(database)
        assert settings_of(database) == before_run
        assert report.status == ("up_to_date" if state == "complete" else "migrated")
        assert phase_4_5.run(database).status == "up_to_date"
    made.assert_specified()
    assert made.rows() == before
    assert (
        "'undeclared'" in str(made.query("SHOW CREATE TABLE weekly_actuals"))
        or state != "nulls"
    )


def test_created_table_is_the_same_under_any_session_settings(world, engine):
    texts = set()
    for settings in UNUSUAL:
        made = world(engine).make(NOTHING)
        if not exists_on(made, settings):
            continue
        phase_4_5.run(db.connect(with_settings(made, settings)))
        texts.add(made.query("SHOW CREATE TABLE weekly_actuals")[0][1])
    assert len(texts) == 1


@pytest.mark.parametrize("state", [NOTHING, HALF, COMPLETE])
def test_read_only_session_is_reported_as_the_cause(world, state, engine):
    made = world(engine).make(state, filled=state is not NOTHING)
    before, url = (
        made.dump(),
        with_settings(
            made, "/*M! tx_read_only */ /*!80000 transaction_read_only */ = 1"
        ),
    )
    assert "connect to the primary" in one_line_error(command(url))
    assert command(url, "--check").code == (state is not COMPLETE)
    assert made.dump() == before


ABORTED = "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'aborted'"


def variables_of(database):
    """Return the session variables that a smoke test sets."""
    return database.execute_sql(
        "SHOW SESSION VARIABLES WHERE Variable_name LIKE '%%check%%' "
        "OR Variable_name LIKE '%%lock_wait_timeout'"
    ).fetchall()


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_settings_are_restored_after_an_aborted_set(complete, at):
    """On a cluster, a change on another node aborts a transaction.

    The next statement fails with that error, even if it is a SET.
    """
    database, assignments = db.connect(complete.url), []

    class AbortsSet(type(database)):
        def execute_sql(self, sql, params=None):
            if sql.startswith("SET SESSION"):
                assignments.append(sql)
                if len(assignments) == at + 1:
                    sql = ABORTED
            return super().execute_sql(sql, params)

    database.__class__ = AbortsSet
    with database.connection_context():
        before = variables_of(database)
        assert all(phase_4_5.run(database).smoke_test.values())
        assert variables_of(database) == before
    assert len(assignments) > at


# -- limits


@pytest.fixture
def large(world, engine):
    """Return a function that makes a table of many rows, without some of its keys."""

    def make(rows):
        made = world(engine).make(HALF, filled=True)
        made.execute(
            "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, "
            "week_end_date, store_id, category_id, actual_units_sold) "
            "SELECT 'wf_1', 100 + seq, '2025-01-06', '2025-01-12', 'S001', 'dresses', "
            f"1 FROM seq_1_to_{rows}"
        )
        return made

    return make


@pytest.mark.mariadb_only
@pytest.mark.exhaustive
def test_max_statement_time_does_not_end_a_long_statement(large):
    made = large(150_000)
    with contextlib.closing(new_connection(made.url)) as limited:
        limited.cursor().execute("SET SESSION max_statement_time = 0.2")
        with pytest.raises(pymysql.MySQLError, match="max_statement_time"):
            limited.cursor().execute("ALTER TABLE weekly_actuals FORCE, ALGORITHM=COPY")
    assert (
        phase_4_5.run(
            db.connect(with_settings(made, "max_statement_time = 0.2"))
        ).status
        == "migrated"
    )
    made.assert_specified()


# -- interrupted


def running(world, words):
    """Return the statements in progress in the database that contain some words."""
    found = world.query(
        "SELECT info FROM information_schema.processlist WHERE db = database() "
        "AND info IS NOT NULL"
    )
    return [text for (text,) in found if words in text and "processlist" not in text]


@pytest.fixture
def interrupt():
    """Return a function that interrupts this process as a terminal does."""
    # Pytest-xdist sets another.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_interrupted_client_ends_its_statement_on_the_server(fresh, interrupt):
    database = db.connect(fresh.url)
    engine = engine_for(database, phase_4_5.phase.models, 10.0)

    def watch():
        assert wait_for(lambda: running(fresh, "SLEEP(31)"))
        interrupt()

    thread = threading.Thread(target=watch)
    thread.start()
    with pytest.raises(KeyboardInterrupt), engine.session.connected():
        engine.session.query("SELECT SLEEP(31)")
    thread.join()
    assert wait_for(lambda: not running(fresh, "SLEEP(31)"), 3)
    assert database.is_closed()


@pytest.mark.exhaustive
@pytest.mark.parametrize("words", ["ADD CONSTRAINT `fk_", "HAVING count(*) > 1"])
def test_interrupted_run_ends_its_statement_and_leaves_no_lock(large, interrupt, words):
    made = large(200_000)
    before = made.rows()

    def watch():
        if wait_for(lambda: running(made, words), 60):
            interrupt()

    thread = threading.Thread(target=watch)
    thread.start()
    database = db.connect(made.url)
    with pytest.raises(KeyboardInterrupt):
        phase_4_5.run(database)
    thread.join()
    assert wait_for(lambda: not running(made, words), 3)
    assert database.is_closed()
    assert phase_4_5.run(database).status == "migrated"
    assert made.rows() == before


# -- the lock


def test_server_without_get_lock_is_migrated(half):
    """Up to MariaDB 10.6.14 and 10.11.4, a node of a cluster answers error 1235."""
    half.execute(
        "CREATE FUNCTION NOT_LOCK(name TEXT, seconds INT) RETURNS INT BEGIN "
        "SIGNAL SQLSTATE '42000' SET MYSQL_ERRNO = 1235, "
        "MESSAGE_TEXT = 'not supported'; RETURN 1; END"
    )
    database, locks = db.connect(half.url), []

    class OldNode(type(database)):
        def execute_sql(self, sql, params=None):
            if "_LOCK(" in sql:
                locks.append(sql)
            return super().execute_sql(sql.replace(" GET_LOCK(", " NOT_LOCK("), params)

    database.__class__ = OldNode
    assert phase_4_5.run(database).status == "migrated"
    half.assert_specified()
    assert len(locks) == 1  # a lock that was not taken is not released


def test_name_of_the_lock_contains_no_table_name(half):
    database, locks = db.connect(half.url), []
    database.query_hooks.append(
        lambda event: locks.append(event.sql) if "GET_LOCK" in event.sql else None
    )
    phase_4_5.run(database)
    assert locks
    assert not any(
        name in sql for sql in locks for name in phase_4_5.phase.models.by_table
    )


# -- blocking

BLOCKING = {
    "idx_weekly_actuals_date": (NO_DATE_INDEX, (None,)),
    "UNIQUE": (State("", REPAIRED, items={"unique": None}), (None,)),
    "a foreign key": (State("", REPAIRED, items={"store": None}), ("writes",)),
    "NOT NULL": (
        State("", REPAIRED, items={"week_number": "week_number INTEGER"}),
        (None,),
    ),
    "a type": (
        State("", REPAIRED, items={"week_number": "week_number VARCHAR(20) NOT NULL"}),
        ("writes",),
    ),
    "a default": (
        State("", REPAIRED, items={"uploaded_at": "uploaded_at {datetime}"}),
        (None,),
    ),
    "a column": (State("", REPAIRED, items={"variance_pct": None}), (None,)),
    "a column with a default per row": (
        State("", REPAIRED, items={"uploaded_at": None}),
        ("writes",),
    ),
    "an id": (State("", REPAIRED, items={"id": None}), ("writes",)),
    "an id without AUTO_INCREMENT": (
        State("", REPAIRED, items={"id": "id INTEGER NOT NULL PRIMARY KEY"}),
        ("writes",),
    ),
}


@pytest.mark.parametrize("what", BLOCKING)
def test_reported_blocking_agrees_with_the_server(world, what, engine):
    state, expected = BLOCKING[what]
    made = world(engine).make(state)
    if "id" not in (state.items or {}):
        made.insert(row(1))
    else:
        made.insert(
            {
                name: value
                for name, value in row(1).items()
                if name != "id" or state.items["id"]
            }
        )
    changes = phase_4_5.check(db.connect(made.url)).changes
    assert tuple(change.blocks for change in changes) == expected
    for change in changes:
        if change.sql.startswith("ALTER TABLE"):
            bare = change.sql.partition(", ALGORITHM=")[0]
            online = f"{bare}, LOCK=NONE"
            if change.blocks:
                with pytest.raises(
                    pymysql.MySQLError, match="LOCK=NONE is not supported"
                ):
                    made.execute(online)
            made.execute(f"{bare}, LOCK=SHARED" if change.blocks else online)
    made.assert_specified()


@pytest.mark.parametrize("state", [HALF, NULLS])
def test_changes_of_an_empty_table_block_nothing(world, state, engine):
    made = world(engine).make(state)
    assert {
        change.blocks for change in phase_4_5.check(db.connect(made.url)).changes
    } == {None}


# -- the script

CLIENT = shutil.which("mariadb") or shutil.which("mysql")


@pytest.mark.skipif(not CLIENT, reason="it requires the client of the server")
@pytest.mark.parametrize("state", [NOTHING, HALF, NULLS], ids=lambda state: state.name)
def test_script_in_the_client_has_the_effect_of_a_run(world, state, engine):
    made = world(engine).make(state, filled=state is not NOTHING)
    assert piped(made, phase_4_5.check(db.connect(made.url)).script).returncode == 0
    by_hand = made.query("SHOW CREATE TABLE weekly_actuals"), made.rows()
    made = world(engine).make(state, filled=state is not NOTHING)
    phase_4_5.run(db.connect(made.url), smoke_test=False)
    assert (made.query("SHOW CREATE TABLE weekly_actuals"), made.rows()) == by_hand


@pytest.mark.skipif(not CLIENT, reason="it requires the client of the server")
def test_script_stops_at_a_locked_table(world, hold, engine):
    made = world(engine).make(HALF, filled=True)
    before, script = made.dump(), phase_4_5.check(db.connect(made.url)).script
    hold(made, "SELECT * FROM weekly_actuals")
    started = time.monotonic()
    assert "Lock wait timeout" in piped(made, script).stderr
    assert time.monotonic() - started < 5
    assert made.dump() == before


def piped(world, script):
    parts = urlsplit(world.url)
    call = [
        CLIENT,
        "-h",
        parts.hostname,
        "-P",
        str(parts.port or 3306),
        "-u",
        parts.username,
        world.name,
    ]
    return subprocess.run(
        call, input="\n".join(script), capture_output=True, text=True, timeout=60
    )


# -- no table scans


def rows_read(database):
    names = "'Handler_read_rnd_next', 'Handler_read_rnd'"
    return sum(
        int(value)
        for _, value in database.execute_sql(
            f"SHOW SESSION STATUS WHERE Variable_name IN ({names})"
        )
    )


@pytest.mark.parametrize("call", ["check", "run"])
def test_check_and_run_do_not_scan_a_large_table(large, call):
    made = large(120_000)
    database = db.connect(made.url)
    phase_4_5.run(database)
    with database.connection_context():
        before = rows_read(database)
        assert getattr(phase_4_5, call)(database).status == "up_to_date"
        assert rows_read(database) - before < 3_000


@pytest.mark.mariadb_only
def test_orphan_after_many_distinct_values_is_found(complete):
    """MariaDB ends a recursive query after max_recursive_iterations, with a warning."""
    complete.execute(
        "SET foreign_key_checks = 0",
        "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, "
        "week_end_date, store_id, category_id, "
        "actual_units_sold) SELECT 'wf_1', 100 + seq, '2025-01-06', '2025-01-12', "
        "concat('A', 10000 + seq), 'dresses', 1 FROM seq_1_to_1500",
        "INSERT INTO stores SELECT concat('A', 10000 + seq), store_name, cluster_id, "
        "store_size_sqft, location_tier, "
        "median_income, store_format, region, avg_weekly_sales_12mo, "
        "created_at FROM stores, seq_1_to_1500 "
        "WHERE store_id = 'S001'",
        "UPDATE weekly_actuals SET store_id = 'Z' WHERE week_number = 150",
        "SET foreign_key_checks = 1",
    )
    database = db.connect(complete.url)
    with database.connection_context():
        before_run = settings_of(database)
        messages = [each.message for each in phase_4_5.check(database).differences]
        assert settings_of(database) == before_run
    assert any(
        "weekly_actuals.store_id" in text and "1 row" in text for text in messages
    )


def test_distinct_values_are_found_by_a_loose_index_scan(large):
    """A recursive query without the index would scan it for each value."""
    made = large(120_000)
    made.execute("ANALYZE TABLE weekly_actuals")
    database, queries = db.connect(made.url), []
    database.query_hooks.append(
        lambda event: (
            queries.append(event.sql) if "(SELECT DISTINCT `" in event.sql else None
        )
    )
    phase_4_5.run(database)
    phase_4_5.check(database)
    assert queries
    for sql in queries:
        (walk,) = [
            step
            for step in made.query(f"EXPLAIN /*!80000 FORMAT=TRADITIONAL */ {sql}")
            if step[2] == "weekly_actuals"
        ]
        assert "Using index for group-by" in walk[-1], walk


@pytest.mark.exhaustive
@pytest.mark.parametrize("collation", ["latin1_swedish_ci", "utf8mb4_bin"])
def test_orphans_are_found_by_the_key_of_the_parent(world, collation, engine):
    """Also with different collations, rows are not compared pair by pair."""
    state = State(
        "another collation",
        REPAIRED,
        items={
            "store": None,
            "store_id": "store_id VARCHAR(50) COLLATE utf8mb4_bin NOT NULL",
        },
    )
    made = world(engine).make(state)
    made.execute(
        "SET foreign_key_checks = 0",
        "ALTER TABLE historical_sales DROP FOREIGN KEY historical_sales_ibfk_2",
        f"ALTER TABLE stores MODIFY store_id VARCHAR(50) COLLATE {collation} NOT NULL",
        "INSERT INTO stores SELECT concat('A', seq), store_name, cluster_id, "
        "store_size_sqft, location_tier, "
        "median_income, store_format, region, avg_weekly_sales_12mo, "
        "created_at FROM stores, seq_1_to_3000 "
        "WHERE store_id = 'S001'",
        "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, "
        "week_end_date, store_id, category_id, "
        "actual_units_sold) SELECT 'wf_1', 100 + seq, '2025-01-06', '2025-01-12', "
        "concat('A', seq), 'dresses', 1 "
        "FROM seq_1_to_3000",
        "ANALYZE TABLE stores, weekly_actuals",
        "SET foreign_key_checks = 1",
    )
    database, queries = db.connect(made.url), []
    database.query_hooks.append(
        lambda event: queries.append(event.sql) if "NOT EXISTS" in event.sql else None
    )
    phase_4_5.check(database)
    plans = [
        made.query(f"EXPLAIN /*!80000 FORMAT=TRADITIONAL */ {sql}")
        for sql in queries
        if "WITH RECURSIVE" not in sql
    ]
    assert plans
    for plan in plans:
        (parent,) = [step for step in plan if step[2] == "p"]
        once = parent[1] == "MATERIALIZED"
        access = parent[3 if made.is_mariadb else 4]
        by_key = access in ("eq_ref", "ref", "unique_subquery")
        assert once or by_key, plan
    assert phase_4_5.run(database).status == "migrated"


# -- privileges


def test_read_only_user_can_check(complete):
    complete.execute(
        "DROP USER IF EXISTS 'reader'@'127.0.0.1'",
        "CREATE USER 'reader'@'127.0.0.1'",
        f"GRANT SELECT ON {complete.name}.* TO 'reader'@'127.0.0.1'",
    )
    try:
        outcome = command(url_of(complete, user="reader"), "--check")
        assert (outcome.code, outcome.answer) == (0, "up_to_date")
    finally:
        complete.execute("DROP USER 'reader'@'127.0.0.1'")


# -- dependents of a table


@pytest.mark.parametrize("what", ["table", "view"])
def test_rollback_of_a_table_with_dependents_is_refused(complete, what):
    complete.execute(
        {
            "table": (
                "CREATE TABLE kid (w INT, FOREIGN KEY (w) "
                "REFERENCES weekly_actuals (id))"
            ),
            "view": "CREATE VIEW kid AS SELECT id FROM weekly_actuals",
        }[what]
    )
    before = complete.dump()
    assert f"the {what} kid depends on weekly_actuals" in one_line_error(
        command(complete.url, "--rollback", "--force")
    )
    assert complete.dump() == before


@pytest.mark.parametrize("call", ["check", "run", "rollback"])
def test_temporary_table_that_hides_a_required_one_is_refused(complete, call):
    database = db.connect(complete.url)
    with database.connection_context():
        database.execute_sql("CREATE TEMPORARY TABLE stores (store_id VARCHAR(50))")
        with pytest.raises(phase_4_5.ChangeRefused, match="temporary table stores"):
            getattr(phase_4_5, call)(database)


# -- uploads


def test_upload_stores_text_that_the_connection_cannot_encode(world, engine):
    made = world(engine)
    init_db(db.connect(made.url))
    database = db.connect(url_of(made, query="charset=latin1"))
    row = {"cluster_id": "jp", "cluster_name": "日本", "fashion_tier": "VALUE"}
    with database.connection_context():
        assert StoreCluster.bulk_insert([row], database=database) == 1
    assert made.query("SELECT cluster_name FROM store_clusters") == [("日本",)]
