"""MariaDB: sessions with settings of their own, limits, interrupts, and what a statement costs others."""

import contextlib
import shutil
import signal
import subprocess
import threading
import time
from urllib.parse import quote, urlsplit

import pymysql
import pytest
from engines.servers import COMPLETE, HALF, NO_DATE_INDEX, NOTHING, another, command, eventually, one_line, url_of
from states import REPAIRED, State, row

import db
from db.init_db import init_db
from db.models import StoreCluster
from migrations import phase_4_5
from migrations.engines import engine_for


@pytest.fixture
def engine():
    return "mysql"


def with_settings(world, settings):
    """Return a URL whose connections begin with settings of their own."""
    return url_of(world, query="init_command=" + quote(f"SET SESSION {settings}"))


def settings_of(database):
    names = "sql_mode", "sql_quote_show_create", "sql_select_limit", "max_statement_time", "sql_big_selects"
    return database.execute_sql(f"SELECT {', '.join(f'@@{name}' for name in names)} LIMIT 9").fetchone()


# -- settings of a user's own

MODES = ("ANSI_QUOTES", "ORACLE", "NO_BACKSLASH_ESCAPES", "EMPTY_STRING_IS_NULL", "PAD_CHAR_TO_FULL_LENGTH",
         "NO_TABLE_OPTIONS", "NO_FIELD_OPTIONS", "TRADITIONAL", "")  # fmt: skip
ODD = [f"sql_mode = '{mode}'" for mode in MODES] + [
    "sql_quote_show_create = 0", "sql_select_limit = 1", "sql_select_limit = 0", "max_statement_time = 3600",
    "max_join_size = 1", "autocommit = 0", "sql_safe_updates = 1", "completion_type = CHAIN",
    "check_constraint_checks = 0, unique_checks = 0, foreign_key_checks = 0", "alter_algorithm = 'INSTANT'",
]  # fmt: skip
NULLS = State("NOT NULL lost", REPAIRED, items={"week_number": "week_number INTEGER COMMENT 'mine'", "unique": None})
STATES = {"nothing": NOTHING, "half": HALF, "complete": COMPLETE, "nulls": NULLS}


@pytest.mark.parametrize(("settings", "state"), [
    pytest.param(settings, state, marks=[pytest.mark.exhaustive] * ((at - number) % 4 > 0))
    for at, settings in enumerate(ODD) for number, state in enumerate(STATES)
])  # fmt: skip
def test_whatever_a_session_has_set_a_run_does_the_same(world, settings, state):
    made = world("mysql").make(STATES[state], filled=state != "nothing")
    before = made.rows() if state != "nothing" else {}
    database = db.connect(with_settings(made, settings))
    with database.connection_context():
        own = settings_of(database)
        assert phase_4_5.check(database).status == ("up_to_date" if state == "complete" else "pending")
        report = phase_4_5.run(database)
        assert settings_of(database) == own
        assert report.status == ("up_to_date" if state == "complete" else "migrated")
        assert phase_4_5.run(database).status == "up_to_date"
    made.assert_specified()
    assert made.rows() == before
    assert "'mine'" in str(made.query("SHOW CREATE TABLE weekly_actuals")) or state != "nulls"


def test_what_is_made_is_the_same_whatever_the_session_has_set(world):
    texts = set()
    for settings in ODD:
        made = world("mysql").make(NOTHING)
        phase_4_5.run(db.connect(with_settings(made, settings)))
        texts.add(made.query("SHOW CREATE TABLE weekly_actuals")[0][1])
    assert len(texts) == 1


@pytest.mark.parametrize("state", [NOTHING, HALF, COMPLETE])
def test_a_session_that_may_only_read_is_told_so_and_the_table_not_accused(world, state):
    made = world("mysql").make(state, filled=state is not NOTHING)
    before, url = made.dump(), with_settings(made, "tx_read_only = 1")
    assert "connect to the primary" in one_line(command(url))
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
def test_settings_are_restored_where_a_set_is_answered_by_an_abort(complete, at):
    """On a cluster, a change on another node aborts a transaction.

    The answer to the next statement is that error, whatever the statement is.
    """
    database, assignments = db.connect(complete.url), []

    class Told(type(database)):
        def execute_sql(self, sql, params=None):
            if sql.startswith("SET SESSION"):
                assignments.append(sql)
                if len(assignments) == at + 1:
                    sql = ABORTED
            return super().execute_sql(sql, params)

    database.__class__ = Told
    with database.connection_context():
        before = variables_of(database)
        assert all(phase_4_5.run(database).smoke_test.values())
        assert variables_of(database) == before
    assert len(assignments) > at


# -- limits


@pytest.fixture
def large(world):
    """A table of many rows, whose foreign key on the store and whose index on the date are missing."""

    def make(rows):
        made = world("mysql").make(HALF, filled=True)
        made.execute(
            "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, week_end_date, store_id, "
            "category_id, actual_units_sold) "
            "SELECT 'wf_1', 100 + seq, '2025-01-06', '2025-01-12', 'S001', 'dresses', 1 "
            f"FROM seq_1_to_{rows}"
        )
        return made

    return make


@pytest.mark.exhaustive
def test_a_limit_on_a_statements_time_does_not_end_a_long_one(large):
    made = large(150_000)
    with contextlib.closing(another(made.url)) as limited:
        limited.cursor().execute("SET SESSION max_statement_time = 0.2")
        with pytest.raises(pymysql.MySQLError, match="max_statement_time"):
            limited.cursor().execute("ALTER TABLE weekly_actuals FORCE, ALGORITHM=COPY")
    assert phase_4_5.run(db.connect(with_settings(made, "max_statement_time = 0.2"))).status == "migrated"
    made.assert_specified()


# -- interrupted


def running(world, words):
    """Return the statements at work in the database that hold some words."""
    found = world.query("SELECT info FROM information_schema.processlist WHERE db = database() AND info IS NOT NULL")
    return [text for (text,) in found if words in text and "processlist" not in text]


@pytest.fixture
def interrupt():
    """Return a function that interrupts this process as a terminal does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a worker of pytest-xdist has another
    yield lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_an_interrupted_client_ends_its_statement_on_the_server(fresh, interrupt):
    database = db.connect(fresh.url)
    engine = engine_for(database, phase_4_5.phase.models, 10.0)

    def watch():
        assert eventually(lambda: running(fresh, "SLEEP(31)"))
        interrupt()

    thread = threading.Thread(target=watch)
    thread.start()
    with pytest.raises(KeyboardInterrupt), engine.session.connected():
        engine.session.query("SELECT SLEEP(31)")
    thread.join()
    assert eventually(lambda: not running(fresh, "SLEEP(31)"), 3)
    assert database.is_closed()


@pytest.mark.exhaustive
@pytest.mark.parametrize("words", ["ADD CONSTRAINT `fk_", "HAVING count(*) > 1"])
def test_an_interrupted_run_ends_its_statement_and_leaves_no_lock(large, interrupt, words):
    made = large(200_000)
    before = made.rows()

    def watch():
        if eventually(lambda: running(made, words), 60):
            interrupt()

    thread = threading.Thread(target=watch)
    thread.start()
    database = db.connect(made.url)
    with pytest.raises(KeyboardInterrupt):
        phase_4_5.run(database)
    thread.join()
    assert eventually(lambda: not running(made, words), 3)
    assert database.is_closed()
    assert phase_4_5.run(database).status == "migrated"
    assert made.rows() == before


# -- the lock


def test_a_server_without_get_lock_is_migrated_all_the_same(half):
    """A node of a cluster answers 1235 up to MariaDB 10.6.14 and 10.11.4; there the DDL keeps runs apart."""
    half.execute(
        "CREATE OR REPLACE FUNCTION NOT_LOCK(name TEXT, seconds INT) RETURNS INT BEGIN "
        "SIGNAL SQLSTATE '42000' SET MYSQL_ERRNO = 1235, MESSAGE_TEXT = 'not supported'; RETURN 1; END"
    )
    database, locks = db.connect(half.url), []

    class OldNode(type(database)):
        def execute_sql(self, sql, params=None):
            locks.extend([sql] * ("_LOCK(" in sql))
            return super().execute_sql(sql.replace(" GET_LOCK(", " NOT_LOCK("), params)

    database.__class__ = OldNode
    assert phase_4_5.run(database).status == "migrated"
    half.assert_specified()
    assert len(locks) == 1  # nothing is released that was not taken


def test_the_lock_names_no_table(half):
    database, locks = db.connect(half.url), []
    database.query_hooks.append(lambda event: locks.append(event.sql) if "GET_LOCK" in event.sql else None)
    phase_4_5.run(database)
    assert locks
    assert not any(name in sql for sql in locks for name in phase_4_5.phase.models.by_table)


# -- what a statement costs others

HOLDS_UP = {
    "idx_weekly_actuals_date": (NO_DATE_INDEX, (None,)),
    "UNIQUE": (State("", REPAIRED, items={"unique": None}), (None,)),
    "a foreign key": (State("", REPAIRED, items={"store": None}), ("writes",)),
    "NOT NULL": (State("", REPAIRED, items={"week_number": "week_number INTEGER"}), (None,)),
    "a type": (State("", REPAIRED, items={"week_number": "week_number VARCHAR(20) NOT NULL"}), ("writes",)),
    "a default": (State("", REPAIRED, items={"uploaded_at": "uploaded_at {datetime}"}), (None,)),
    "a column": (State("", REPAIRED, items={"variance_pct": None}), (None,)),
    "a column with a value a row": (State("", REPAIRED, items={"uploaded_at": None}), ("writes",)),
    "an id": (State("", REPAIRED, items={"id": None}), ("writes",)),
    "an id that counts": (State("", REPAIRED, items={"id": "id INTEGER NOT NULL PRIMARY KEY"}), ("writes",)),
}


@pytest.mark.parametrize("what", HOLDS_UP)
def test_a_statement_says_whom_it_holds_up_and_the_server_agrees(world, what):
    state, wanted = HOLDS_UP[what]
    made = world("mysql").make(state)
    if "id" not in (state.items or {}):
        made.insert(row(1))
    else:
        made.insert({name: value for name, value in row(1).items() if name != "id" or state.items["id"]})
    changes = phase_4_5.check(db.connect(made.url)).changes
    assert tuple(change.blocks for change in changes) == wanted
    for change in changes:
        if change.sql.startswith("ALTER TABLE"):
            bare = change.sql.partition(", ALGORITHM=")[0]
            beside = f"{bare}, LOCK=NONE"
            if change.blocks:
                with pytest.raises(pymysql.MySQLError, match="LOCK=NONE is not supported"):
                    made.execute(beside)
            made.execute(beside if not change.blocks else f"{bare}, LOCK=SHARED")
    made.assert_specified()


@pytest.mark.parametrize("state", [HALF, NULLS])
def test_without_rows_nobody_is_held_up(world, state):
    made = world("mysql").make(state)
    assert {change.blocks for change in phase_4_5.check(db.connect(made.url)).changes} == {None}


# -- the script

CLIENT = shutil.which("mariadb") or shutil.which("mysql")


@pytest.mark.skipif(not CLIENT, reason="it takes the server's own client")
@pytest.mark.parametrize("state", [NOTHING, HALF, NULLS], ids=lambda state: state.name)
def test_a_script_piped_into_the_client_gives_what_a_run_gives(world, state):
    made = world("mysql").make(state, filled=state is not NOTHING)
    assert piped(made, phase_4_5.check(db.connect(made.url)).script).returncode == 0
    by_hand = made.query("SHOW CREATE TABLE weekly_actuals"), made.rows()
    made = world("mysql").make(state, filled=state is not NOTHING)
    phase_4_5.run(db.connect(made.url), smoke_test=False)
    assert (made.query("SHOW CREATE TABLE weekly_actuals"), made.rows()) == by_hand


@pytest.mark.skipif(not CLIENT, reason="it takes the server's own client")
def test_a_script_waits_for_nobody_and_stops_there(world, hold):
    made = world("mysql").make(HALF, filled=True)
    before, script = made.dump(), phase_4_5.check(db.connect(made.url)).script
    hold(made, "SELECT * FROM weekly_actuals")
    started = time.monotonic()
    assert "Lock wait timeout" in piped(made, script).stderr
    assert time.monotonic() - started < 5
    assert made.dump() == before


def piped(world, script):
    parts = urlsplit(world.url)
    call = [CLIENT, "-h", parts.hostname, "-P", str(parts.port or 3306), "-u", parts.username, world.name]
    return subprocess.run(call, input="\n".join(script), capture_output=True, text=True, timeout=60)


# -- rows are not read one after the other


def rows_read(database):
    names = "'Handler_read_rnd_next', 'Handler_read_rnd'"
    return sum(int(value) for _, value in database.execute_sql(f"SHOW SESSION STATUS WHERE Variable_name IN ({names})"))


@pytest.mark.parametrize("look", ["check", "run"])
def test_looking_at_a_large_table_reads_no_row_after_the_other(large, look):
    made = large(120_000)
    database = db.connect(made.url)
    phase_4_5.run(database)
    with database.connection_context():
        before = rows_read(database)
        assert getattr(phase_4_5, look)(database).status == "up_to_date"
        assert rows_read(database) - before < 3_000


def test_orphans_are_found_however_many_values_come_before_them(complete):
    """A recursive query ends after a thousand values on MariaDB, and says so in a warning at most."""
    complete.execute(
        "SET foreign_key_checks = 0",
        "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, week_end_date, store_id, category_id, "
        "actual_units_sold) SELECT 'wf_1', 100 + seq, '2025-01-06', '2025-01-12', concat('A', 10000 + seq), 'dresses', "
        "1 FROM seq_1_to_1500",
        "INSERT INTO stores SELECT concat('A', 10000 + seq), store_name, cluster_id, store_size_sqft, location_tier, "
        "median_income, store_format, region, avg_weekly_sales_12mo, created_at FROM stores, seq_1_to_1500 "
        "WHERE store_id = 'S001'",
        "UPDATE weekly_actuals SET store_id = 'Z' WHERE week_number = 150",
        "SET foreign_key_checks = 1",
    )
    database = db.connect(complete.url)
    with database.connection_context():
        own = settings_of(database)
        messages = [each.message for each in phase_4_5.check(database).differences]
        assert settings_of(database) == own
    assert any("weekly_actuals.store_id" in text and "1 row" in text for text in messages)


def test_the_values_of_a_column_are_found_along_its_index(large):
    """Which a recursive query reads as a whole for each of them."""
    made = large(120_000)
    made.execute("ANALYZE TABLE weekly_actuals")
    database, looked = db.connect(made.url), []
    database.query_hooks.append(lambda event: looked.append(event.sql) if "AS (SELECT DISTINCT" in event.sql else None)
    phase_4_5.run(database)
    phase_4_5.check(database)
    assert looked
    for sql in looked:
        (walk,) = [step for step in made.query(f"EXPLAIN {sql}") if step[2] == "weekly_actuals"]
        assert "Using index for group-by" in walk[-1], walk


@pytest.mark.exhaustive
@pytest.mark.parametrize("collation", ["latin1_swedish_ci", "utf8mb4_bin"])
def test_rows_without_a_parent_are_looked_for_by_the_parents_key(world, collation):
    """In another collation than the column's, too: never a row of the one for each row of the other."""
    state = State("another collation", REPAIRED, items={
        "store": None, "store_id": "store_id VARCHAR(50) COLLATE utf8mb4_bin NOT NULL"})  # fmt: skip
    made = world("mysql").make(state)
    made.execute(
        "SET foreign_key_checks = 0", "ALTER TABLE historical_sales DROP FOREIGN KEY historical_sales_ibfk_2",
        f"ALTER TABLE stores MODIFY store_id VARCHAR(50) COLLATE {collation} NOT NULL",
        "INSERT INTO stores SELECT concat('A', seq), store_name, cluster_id, store_size_sqft, location_tier, "
        "median_income, store_format, region, avg_weekly_sales_12mo, created_at FROM stores, seq_1_to_3000 "
        "WHERE store_id = 'S001'",
        "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, week_end_date, store_id, category_id, "
        "actual_units_sold) SELECT 'wf_1', 100 + seq, '2025-01-06', '2025-01-12', concat('A', seq), 'dresses', 1 "
        "FROM seq_1_to_3000", "ANALYZE TABLE stores, weekly_actuals", "SET foreign_key_checks = 1",
    )  # fmt: skip
    database, looked = db.connect(made.url), []
    database.query_hooks.append(lambda event: looked.append(event.sql) if "NOT EXISTS" in event.sql else None)
    phase_4_5.check(database)
    plans = [made.query(f"EXPLAIN {sql}") for sql in looked if "WITH RECURSIVE" not in sql]
    assert plans
    for plan in plans:
        (parent,) = [step for step in plan if step[2] == "p"]
        once, by_key = parent[1] == "MATERIALIZED", parent[3] in ("eq_ref", "ref", "unique_subquery")
        assert once or by_key, plan
    assert phase_4_5.run(database).status == "migrated"


# -- rights


def test_a_role_that_may_only_read_sees_what_is_there(complete):
    complete.execute("DROP USER IF EXISTS 'reader'@'127.0.0.1'", "CREATE USER 'reader'@'127.0.0.1'",
                     f"GRANT SELECT ON {complete.name}.* TO 'reader'@'127.0.0.1'")  # fmt: skip
    try:
        outcome = command(url_of(complete, user="reader"), "--check")
        assert (outcome.code, outcome.answer) == (0, "up_to_date")
    finally:
        complete.execute("DROP USER 'reader'@'127.0.0.1'")


# -- a table that others stand on


@pytest.mark.parametrize("what", ["table", "view"])
def test_a_rollback_that_would_break_what_stands_on_the_table_is_refused_by_name(complete, what):
    complete.execute({
        "table": "CREATE TABLE kid (w INT, FOREIGN KEY (w) REFERENCES weekly_actuals (id))",
        "view": "CREATE VIEW kid AS SELECT id FROM weekly_actuals",
    }[what])  # fmt: skip
    before = complete.dump()
    assert f"the {what} kid depends on weekly_actuals" in one_line(command(complete.url, "--rollback", "--force"))
    assert complete.dump() == before


@pytest.mark.parametrize("look", ["check", "run", "rollback"])
def test_a_temporary_table_that_hides_one_is_refused(complete, look):
    database = db.connect(complete.url)
    with database.connection_context():
        database.execute_sql("CREATE TEMPORARY TABLE stores (store_id VARCHAR(50))")
        with pytest.raises(phase_4_5.ChangeRefused, match="temporary table stores"):
            getattr(phase_4_5, look)(database)


# -- uploads


def test_an_upload_stores_text_that_the_connection_cannot_encode(world):
    made = world("mysql")
    init_db(db.connect(made.url))
    database = db.connect(url_of(made, query="charset=latin1"))
    row = {"cluster_id": "jp", "cluster_name": "日本", "fashion_tier": "VALUE"}
    with database.connection_context():
        assert StoreCluster.bulk_insert([row], database=database) == 1
    assert made.query("SELECT cluster_name FROM store_clusters") == [("日本",)]
