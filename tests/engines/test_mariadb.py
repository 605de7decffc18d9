"""MariaDB: implicit commits, foreign keys, and settings of the session."""

import contextlib
import logging
import threading
import uuid
from urllib.parse import quote, unquote, urlsplit

import pytest
from drivers import exhaustive
from engines.servers import (
    COMPLETE,
    HALF,
    NOTHING,
    STORE,
    Relay,
    Writer,
    closed_port,
    command,
    delayed,
    is_now_in_utc,
    listener,
    new_connection,
    one_line_error,
    run_reported_statement,
    url_of,
)
from hooks import failed_statements
from states import REPAIRED, ROWS, State

import db
from db.init_db import init_db
from db.models import WeeklyActuals
from migrations import phase_4_5

pytestmark = pytest.mark.drivers("mysql")
STEPS = dict.fromkeys(
    ("insert", "select", "unique", "foreign_keys", "cascade", "cleanup"), True
)


@pytest.fixture
def user():
    """Return a function that creates a user with privileges, and returns its URL."""
    made = []

    def make(world, *grants):
        name = f"app-{uuid.uuid4().hex[:20]}"
        made.append((world, name))
        world.execute(f"CREATE USER '{name}'@'127.0.0.1' IDENTIFIED BY 'hunter2'")
        world.execute(
            *(
                f"GRANT {grant.format(world.name)} TO '{name}'@'127.0.0.1'"
                for grant in grants
            )
        )
        return url_of(world, user=name, password="hunter2")

    yield make
    for world, name in made:
        world.execute(f"DROP USER '{name}'@'127.0.0.1'")


# -- the whole command


def test_command_creates_and_tests_the_table(fresh):
    outcome = command(fresh.url)
    assert (outcome.code, outcome.answer, outcome.report["smoke_test"]) == (
        0,
        "migrated",
        STEPS,
    )
    assert outcome.report["row_counts"]["stores"] == 4
    fresh.assert_specified()


@pytest.mark.parametrize("state", [NOTHING, HALF])
def test_statements_of_a_check_have_the_effect_of_a_run(world, state, engine):
    made = world(engine).make(state, filled=state is HALF)
    for change in phase_4_5.check(db.connect(made.url)).changes:
        made.execute(change.sql)
    by_hand = made.query("SHOW CREATE TABLE weekly_actuals"), made.rows()
    made = world(engine).make(state, filled=state is HALF)
    phase_4_5.run(db.connect(made.url))
    assert (made.query("SHOW CREATE TABLE weekly_actuals"), made.rows()) == by_hand


@pytest.mark.parametrize(
    "name",
    ['a "b" `c`', "Täglich 50%", *exhaustive("it's", "semi;colon", "sl/ash", "Select")],
)
def test_database_whose_name_needs_quoting_is_migrated(fresh, name):
    name = f"{name} {uuid.uuid4().hex[:8]}"
    quoted = "`" + name.replace("`", "``") + "`"
    fresh.execute(f"CREATE DATABASE {quoted}")
    try:
        url = url_of(fresh, name=quote(name, safe=""))
        init_db(db.connect(url), base_only=True)
        assert command(url).answer == "migrated"
        assert command(url).answer == "up_to_date"
    finally:
        fresh.execute(f"DROP DATABASE {quoted}")


def collations(world):
    return dict(
        world.query(
            "SELECT column_name, collation_name FROM information_schema.columns "
            "WHERE table_schema = database() AND table_name = 'weekly_actuals' "
            "AND collation_name IS NOT NULL"
        )
    )


@pytest.fixture(params=["fresh", "half"])
def of_two_collations(request, fresh):
    """The collations of the parents differ from each other and from the default."""
    fresh.execute(
        "ALTER TABLE workflows CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    )
    if request.param == "half":
        fresh.execute(
            "CREATE TABLE weekly_actuals (id INTEGER AUTO_INCREMENT PRIMARY KEY, "
            "workflow_id VARCHAR(50) NOT NULL)"
        )
    return fresh


def test_each_key_has_the_collation_of_its_own_parent(of_two_collations):
    assert command(of_two_collations.url).answer == "migrated"
    latin = "latin1_swedish_ci"
    assert collations(of_two_collations) == {
        "workflow_id": "utf8mb4_bin",
        "store_id": latin,
        "category_id": latin,
    }
    of_two_collations.assert_specified()


def test_key_with_a_percent_sign_in_its_name_is_replaced(world, engine):
    key = "CONSTRAINT `50%s` FOREIGN KEY (store_id) REFERENCES stores(store_id)"
    made = world(engine).make(State("percent sign", REPAIRED, items={"store": key}))
    assert command(made.url).answer == "migrated"
    made.assert_specified()


# -- races and crashes


NO_KEY = State("a key is missing", REPAIRED, items={"store": None})
WRONG_KEY = State(
    "a key of another action",
    REPAIRED,
    items={"store": "FOREIGN KEY (store_id) REFERENCES stores(store_id)"},
)


@pytest.mark.parametrize(
    "state", [NOTHING, HALF, NO_KEY, WRONG_KEY], ids=lambda state: state.name
)
def test_changes_made_first_by_another_run_are_no_error(world, state, engine):
    made = world(engine).make(state, filled=state is not NOTHING)
    database = db.connect(made.url)
    changes = [change.sql for change in phase_4_5.check(database).changes]

    class LosesRace(type(database)):
        def execute_sql(self, sql, *arguments, **options):
            if changes and sql.startswith(("CREATE TABLE", "ALTER TABLE")):
                made.execute(changes.pop(0))
            return super().execute_sql(sql, *arguments, **options)

    database.__class__ = LosesRace
    phase_4_5.run(database, lock_timeout=5)
    assert changes == []
    made.assert_specified()


def test_table_dropped_first_by_another_run_is_no_error(complete):
    database = db.connect(complete.url)
    dropped = []

    class LosesRace(type(database)):
        def execute_sql(self, sql, *arguments, **options):
            if sql.startswith("DROP TABLE") and not dropped:
                complete.execute("DROP TABLE weekly_actuals")
                dropped.append(sql)
            return super().execute_sql(sql, *arguments, **options)

    database.__class__ = LosesRace
    phase_4_5.rollback(database, force=True, lock_timeout=5)
    assert len(dropped) == 1
    assert complete.columns() == []


# -- locks of other clients

ROW = (
    "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, "
    "week_end_date, store_id, category_id, "
    "actual_units_sold) VALUES ('wf_2', {}, '2025-01-06', '2025-01-12', 'S001', "
    "'dresses', 1)"
)
READ = "SELECT * FROM weekly_actuals"


@pytest.mark.parametrize("statement", [READ, ROW.format(40)])
def test_wait_for_a_busy_table_ends_at_the_timeout(half, hold, statement):
    holder = hold(half, statement)
    outcome = command(half.url, "--lock-timeout", "2")
    line = one_line_error(outcome)
    assert "weekly_actuals" in line
    assert str(holder.thread_id()) in line
    assert 1900 < outcome.report["duration_ms"] < 4500


def test_run_that_times_out_has_changed_nothing(half, hold):
    before = half.dump()
    hold(half, READ)
    command(half.url, "--lock-timeout", "0.5")
    assert half.dump() == before


def test_lock_timeout_of_0_is_one_short_attempt(half, hold):
    hold(half, READ)
    outcome = command(half.url, "--lock-timeout", "0")
    assert outcome.code == 1
    assert outcome.report["duration_ms"] < 1500


def test_lock_of_an_instant_is_waited_for_with_timeout_0(half, hold, monkeypatch):
    """A background thread of the server may hold a table for that long."""
    holder = hold(half, READ)

    class Releasing(logging.Handler):
        def emit(self, record):
            if record.getMessage().startswith("  "):
                threading.Timer(0.05, holder.commit).start()
                self.setLevel(logging.CRITICAL)

    logger = logging.getLogger("migrations")
    monkeypatch.setattr(logger, "handlers", [Releasing()])
    logger.setLevel(logging.INFO)
    assert phase_4_5.ensure(db.connect(half.url), lock_timeout=0) is True


@pytest.mark.parametrize("arguments", [(), ("--rollback", "--force")])
def test_waiting_run_blocks_writers_only_briefly(half, hold, arguments):
    hold(half, READ)
    with Writer(half, ROW.replace("'wf_2', {}", "'wf_2', substr('{}', 5)")) as writer:
        outcome = command(half.url, "--lock-timeout", "4", *arguments)
    assert outcome.code == 1
    assert writer.error is None
    assert writer.longest <= 1.0


def test_run_blocks_writers_of_a_parent_only_briefly(fresh):
    with Writer(fresh) as writer:
        assert command(fresh.url).answer == "migrated"
    assert writer.error is None
    assert writer.longest < 1


def test_waiting_run_completes_after_the_writer_commits(half, hold):
    holder = hold(half, ROW.format(40))
    with delayed(2, holder.commit):
        assert command(half.url).answer == "migrated"
    assert len(half.rows()) == 4
    half.assert_specified()


def test_rollback_blocked_by_a_reader_times_out_and_names_it(complete, hold):
    holder = hold(complete, READ)
    line = one_line_error(
        command(complete.url, "--rollback", "--force", "--lock-timeout", "1")
    )
    assert str(holder.thread_id()) in line
    assert len(complete.rows()) == 3


def test_rollback_completes_after_the_reader_ends(complete, hold):
    holder = hold(complete, READ)
    with delayed(1, holder.rollback):
        assert command(complete.url, "--rollback", "--force").answer == "rolled_back"


def test_concurrent_run_is_waited_for_and_named(half, hold):
    database, locks = db.connect(half.url), []
    database.query_hooks.append(
        lambda event: locks.append(event.sql) if "GET_LOCK" in event.sql else None
    )
    phase_4_5.run(database)
    half.execute("ALTER TABLE weekly_actuals DROP INDEX idx_weekly_actuals_date")
    other_run = hold(half, locks[0])
    assert str(other_run.thread_id()) in one_line_error(
        command(half.url, "--lock-timeout", "0.5")
    )


# -- privileges

PARENTS = "SELECT, INSERT, DELETE, REFERENCES ON {}.*"


@pytest.mark.parametrize("grants", [(PARENTS,), ("SELECT ON {}.*",)])
def test_missing_create_privilege_is_reported_with_its_grant(fresh, user, grants):
    url = user(fresh, *grants)
    run_reported_statement(fresh, command(url))
    assert command(url).answer == "migrated"
    fresh.assert_specified()


def test_missing_alter_privilege_is_reported_with_its_grant(half, user):
    url = user(half, PARENTS)
    run_reported_statement(half, command(url))
    assert command(url).answer == "migrated"
    half.assert_specified()


def test_change_without_privilege_is_attempted_once(half, user):
    database = db.connect(user(half, PARENTS))
    failed = failed_statements(database)
    with pytest.raises(phase_4_5.MigrationError, match="ALTER command denied"):
        phase_4_5.run(database, lock_timeout=1)
    # The rehearsal is not permitted either, and does not prevent the run.
    rehearsal, change = failed
    assert rehearsal.startswith("CREATE TEMPORARY TABLE")
    assert change.startswith("ALTER TABLE")


def test_rows_without_privilege_are_queried_once(complete, user):
    parents = ("categories", "historical_sales", "stores", "workflows")
    grants = ["INSERT ON {}.weekly_actuals"]
    grants += [f"SELECT ON {{}}.{name}" for name in parents]
    database = db.connect(user(complete, *grants))
    failed = failed_statements(database)
    with pytest.raises(phase_4_5.MigrationError, match="SELECT command denied"):
        phase_4_5.check(database, lock_timeout=1)
    assert len(failed) == 1


def test_missing_drop_privilege_is_reported_with_its_grant(complete, user):
    url = user(complete, PARENTS)
    run_reported_statement(complete, command(url, "--rollback", "--force"))
    assert command(url, "--rollback", "--force").answer == "rolled_back"


def test_user_who_may_only_upload_can_check(complete, user):
    assert command(user(complete, "SELECT, INSERT ON {}.*"), "--check").code == 0


def test_busy_table_is_named_without_the_process_privilege(half, user, hold):
    url = user(half, "ALL ON {}.*")
    hold(half, READ)
    assert "weekly_actuals" in one_line_error(command(url, "--lock-timeout", "0.5"))


# -- errors of the connection


@pytest.mark.parametrize("at", ["GET_LOCK", "ALTER TABLE", "SHOW SESSION"])
def test_lost_connection_reports_a_one_line_error(half, at):
    database = db.connect(half.url)

    def cut(event):
        if at in event.sql and not event.exception:
            half.execute(f"KILL {database.connection().thread_id()}")

    database.query_hooks.append(cut)
    with pytest.raises(phase_4_5.DatabaseUnavailable, match="run again") as failure:
        phase_4_5.run(database)
    assert "\n" not in str(failure.value)
    database.query_hooks.clear()
    assert phase_4_5.run(database).status == "migrated"
    half.assert_specified()


@pytest.mark.parametrize("password", ["hunter3", "p%40ss%2Fword", "%22quo%27ted%20"])
def test_wrong_password_reports_a_one_line_error_without_it(fresh, user, password):
    outcome = command(
        url_of(fresh, user=urlsplit(user(fresh)).username, password=password)
    )
    assert "check the user and the password" in one_line_error(outcome)
    assert password not in str(outcome)
    assert unquote(password) not in str(outcome)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "127.0.0.1"])
def test_unreachable_server_reports_a_one_line_error(host):
    outcome = command(f"mysql+pymysql://app:hunter2@{host}:{closed_port()}/shop")
    assert "hunter2" not in str(outcome)
    assert "check that the server runs" in one_line_error(outcome)


def test_silent_server_reports_a_one_line_error():
    with listener() as port:
        outcome = command(
            f"mysql://app:hunter2@127.0.0.1:{port}/shop"
            "?connect_timeout=1&read_timeout=1"
        )
    assert "hunter2" not in str(outcome)
    assert "check that the server runs" in one_line_error(outcome)


def test_missing_database_reports_a_one_line_error(fresh, user):
    url = user(fresh, "ALL ON *.*")
    line = one_line_error(
        command(
            url_of(
                fresh,
                user=urlsplit(url).username,
                password="hunter2",
                name="no_such_shop",
            )
        )
    )
    assert "no_such_shop" in line
    assert "create the database" in line
    assert "hunter2" not in line


def test_unknown_user_reports_a_one_line_error(fresh):
    outcome = command(url_of(fresh, user="nobody_here", password="hunter2"))
    assert "nobody_here" in one_line_error(outcome)
    assert "hunter2" not in str(outcome)


# -- the session after a run

CHANGING = {
    "timestamp", "last_insert_id", "identity", "error_count", "warning_count",
    "last_gtid", "rand_seed1", "rand_seed2", "pseudo_thread_id", "in_transaction",
    "statement_id",
}  # fmt: skip
SETTINGS = (
    "SET foreign_key_checks = 0, time_zone = '+09:00', sql_mode = 'ANSI_QUOTES', "
    "lock_wait_timeout = 77, innodb_lock_wait_timeout = 33 "
    "/*M! , check_constraint_checks = 0 */"  # of MariaDB only
)


def in_transaction(database):
    """Return what the server says in its answer to the last statement."""
    return bool(database.connection().server_status & 1)


def settings(database):
    variables = database.execute_sql("SHOW SESSION VARIABLES").fetchall()
    return {name: value for name, value in variables if name not in CHANGING}


@pytest.fixture(params=["default", "changed"])
def caller(request):
    """Return a function that opens a connection, with changed settings or without."""
    opened = []

    def connect(world):
        opened.append(db.connect(world.url))
        opened[-1].connect()
        if request.param == "changed":
            opened[-1].execute_sql(SETTINGS.replace("ANSI_QUOTES", "NO_ZERO_DATE"))
        return opened[-1]

    yield connect
    for database in opened:
        database.close()


@pytest.fixture(params=["migrated", "up_to_date", "refused", "timeout"])
def used(request, world, caller, hold, engine):
    """An open connection after a run of each result, with its settings before."""
    made = world(engine).make(
        COMPLETE if request.param == "up_to_date" else HALF, filled=True
    )
    database = caller(made)
    before, statements = settings(database), []
    if request.param == "refused":
        made.execute(
            "INSERT INTO weekly_actuals SELECT 99, workflow_id, week_number, "
            "week_start_date, week_end_date, "
            "store_id, category_id, 1, 1, 1, uploaded_at FROM weekly_actuals "
            "WHERE id = 1"
        )
    if request.param == "timeout":
        hold(made, READ)
    database.query_hooks.append(lambda event: statements.append(event.sql))
    with contextlib.suppress(phase_4_5.ChangeRefused, phase_4_5.LockTimeout):
        assert phase_4_5.run(database, lock_timeout=0.5).status == request.param
    database.query_hooks.clear()
    return made, database, before, [sql for sql in statements if "GET_LOCK" in sql]


def test_settings_of_the_callers_connection_are_restored(used):
    _, database, before, _ = used
    assert not database.is_closed()
    assert settings(database) == before


def test_run_leaves_no_lock_and_no_transaction(used):
    made, database, _, locks = used
    for lock in locks:
        assert made.query(lock) == [(1,)]
    made.execute("DO RELEASE_ALL_LOCKS()")
    assert not in_transaction(database)


@pytest.mark.parametrize("make", [NOTHING, HALF, COMPLETE])
def test_closed_database_is_closed_again_after_a_run(world, make, engine):
    database = db.connect(world(engine).make(make).url)
    phase_4_5.run(database)
    assert database.is_closed()


def test_closed_database_is_closed_again_after_a_timeout(half, hold):
    database = db.connect(half.url)
    hold(half, READ)
    with pytest.raises(phase_4_5.LockTimeout):
        phase_4_5.run(database, lock_timeout=0.3)
    assert database.is_closed()


def test_smoke_test_that_times_out_closes_the_connection(complete, hold):
    database = db.connect(complete.url)
    holder = hold(complete, "SELECT * FROM stores FOR UPDATE")
    with pytest.raises(phase_4_5.LockTimeout, match=str(holder.thread_id())):
        phase_4_5.run(database, lock_timeout=1)
    assert database.is_closed()


def auto_increment(world):
    return world.query(
        "SELECT table_name, auto_increment FROM information_schema.tables "
        "WHERE table_schema = database()"
    )


def test_run_without_changes_keeps_auto_increment(complete):
    before = auto_increment(complete)
    assert command(complete.url).report["smoke_test"] == STEPS
    assert auto_increment(complete) == before


@pytest.mark.parametrize("begin", ["atomic", "plain"])
def test_refused_change_keeps_the_callers_transaction(incomplete, begin):
    before = incomplete.dump()
    database = db.connect(incomplete.url)
    with database.connection_context():
        database.begin() if begin == "atomic" else database.execute_sql(
            "START TRANSACTION"
        )
        database.execute_sql(STORE.format("caller"))
        for call in (phase_4_5.check, phase_4_5.run):
            with pytest.raises(phase_4_5.ChangeRefused, match="transaction"):
                call(database)
        assert in_transaction(database)
        assert database.execute_sql(
            "SELECT count(*) FROM stores WHERE store_id = 'caller'"
        ).fetchone() == (1,)
        database.rollback()
    assert incomplete.dump() == before


def test_run_without_changes_keeps_the_callers_transaction(complete):
    before = complete.dump()
    database = db.connect(complete.url)
    with database.connection_context():
        database.begin()
        database.execute_sql(STORE.format("caller"))
        assert phase_4_5.run(database).smoke_test == STEPS
        assert in_transaction(database)
        database.rollback()
    assert complete.dump() == before


# -- time


GIVEN = {
    key: value for key, value in ROWS[0].items() if key not in ("id", "uploaded_at")
}


@pytest.fixture
def in_tokyo(fresh):
    """A migrated database, and a connection with the time zone of Tokyo."""
    url = url_of(fresh, query="init_command=" + quote("SET time_zone = '+09:00'"))
    command(url)
    database = db.connect(url)
    with database.connection_context(), database.bind_ctx([WeeklyActuals]):
        assert database.execute_sql("SELECT @@time_zone").fetchone() == ("+09:00",)
        yield fresh, database


def test_default_of_uploaded_at_in_the_database_is_utc(in_tokyo):
    made, database = in_tokyo
    marks = ", ".join(["%s"] * len(GIVEN))
    database.execute_sql(
        f"INSERT INTO weekly_actuals ({', '.join(GIVEN)}) VALUES ({marks})",
        list(GIVEN.values()),
    )
    assert is_now_in_utc(made.query("SELECT uploaded_at FROM weekly_actuals")[0][0])


def test_default_of_uploaded_at_in_the_model_is_utc(in_tokyo):
    made, _ = in_tokyo
    WeeklyActuals.create(**GIVEN)
    assert is_now_in_utc(made.query("SELECT uploaded_at FROM weekly_actuals")[0][0])


@pytest.mark.parametrize("type_", ["DATETIME", "TIMESTAMP"])
def test_default_in_local_time_is_repaired(complete, type_):
    complete.execute(
        f"ALTER TABLE weekly_actuals MODIFY uploaded_at {type_} NOT NULL DEFAULT "
        "CURRENT_TIMESTAMP"
    )
    assert command(complete.url).answer == "migrated"
    assert complete.default()


def test_timestamps_are_converted_to_utc(complete):
    before = complete.rows()
    complete.execute(
        "SET time_zone = '+00:00'",
        "ALTER TABLE weekly_actuals MODIFY uploaded_at TIMESTAMP NULL DEFAULT "
        "CURRENT_TIMESTAMP",
    )
    url = url_of(complete, query="init_command=" + quote("SET time_zone = '+09:00'"))
    assert command(url).answer == "migrated"
    assert complete.rows() == before


# -- statements


def executed(world):
    return [change["sql"] for change in command(world.url).report["changes"]]


def test_table_is_created_by_one_statement(fresh):
    (statement,) = executed(fresh)
    assert statement.startswith("CREATE TABLE")


def test_indexes_and_the_unique_key_are_added_online(half):
    # MySQL chooses the algorithm itself: INPLACE would keep it from a quicker one.
    online = "ALGORITHM=INPLACE, LOCK=NONE" if half.is_mariadb else ", LOCK=NONE"
    statements = executed(half)
    for name in (
        "idx_weekly_actuals_store",
        "idx_weekly_actuals_date",
        "unique_workflow_week_store",
    ):
        (statement,) = [each for each in statements if f"`{name}`" in each]
        assert statement.endswith(online)


def test_writers_continue_during_a_repair(half):
    half.execute(
        "INSERT INTO workflows (workflow_id, workflow_type, category_id, status, "
        "forecast_horizon_weeks, "
        "season_start_date, replenishment_strategy, dc_holdback_percentage) "
        "SELECT concat('new_', seq), "
        "'forecast', 'dresses', 'running', 12, '2025-01-06', 'weekly', "
        "0.4 FROM seq_0_to_3000"
    )
    with Writer(half, ROW.replace("'wf_2', {}", "'{}', 1")) as writer:
        assert command(half.url).answer == "migrated"
    assert writer.error is None
    assert len(half.rows()) == 3 + writer.rows


@pytest.mark.parametrize(
    ("name", "columns", "wrong"),
    [
        ("idx_weekly_actuals_store", "store_id", "store_id, week_number"),
        ("idx_weekly_actuals_date", "week_start_date", "store_id"),
        ("idx_weekly_actuals_date", "week_start_date", "category_id, week_number"),
        ("unique_workflow_week_store", "", "store_id, week_number, workflow_id"),
    ],
)
def test_index_required_by_a_foreign_key_is_replaced(complete, name, columns, wrong):
    kind = "UNIQUE INDEX" if name.startswith("unique") else "INDEX"
    complete.execute(
        f"ALTER TABLE weekly_actuals DROP INDEX {name}, ADD {kind} {name} ({wrong})"
    )
    if "store" in wrong and name != "idx_weekly_actuals_store":
        complete.execute(
            "ALTER TABLE weekly_actuals DROP INDEX idx_weekly_actuals_store"
        )
    before = complete.rows()
    assert command(complete.url).answer == "migrated"
    complete.assert_specified()
    assert complete.rows() == before


def test_lock_of_another_database_is_not_waited_for(half):
    with contextlib.closing(new_connection(half.url)) as other:
        other.cursor().execute(
            "SELECT GET_LOCK(CONCAT('migrations:', LEFT(SHA2('another', 256), 32)), 0)"
        )
        assert command(half.url, "--lock-timeout", "0").answer == "migrated"


# -- runs without changes


def test_run_without_changes_takes_few_round_trips(complete):
    limit = 4
    if not complete.is_mariadb:  # which has a query for each table
        limit = 8
    parts = urlsplit(complete.url)
    with Relay(parts.hostname, parts.port or 3306) as relay:
        database = db.connect(url_of(complete, host="127.0.0.1", port=relay.port))
        database.connect()
        relay.trips = 0
        assert phase_4_5.ensure(database) is False
        assert 1 <= relay.trips <= limit
        database.close()


def commands(database):
    status = database.execute_sql("SHOW SESSION STATUS LIKE 'Com\\_%%'").fetchall()
    return {name: int(value) for name, value in status if value.isdigit()}


def test_run_without_changes_only_reads(complete):
    database, statements = db.connect(complete.url), []
    with database.connection_context():
        before = commands(database)
        database.query_hooks.append(lambda event: statements.append(event.sql))
        assert phase_4_5.ensure(database) is False
        database.query_hooks.clear()
        changed = {
            name for name, count in commands(database).items() if count != before[name]
        }
        assert not in_transaction(database)
    expected = {"Com_select", "Com_show_status", "Com_show_create_table"}
    if complete.is_mariadb:
        expected.add("Com_compound_sql")
    assert changed == expected
    assert not any("LOCK" in sql for sql in statements)


def test_reading_opens_only_the_tables_of_the_phase(complete):
    """Some queries of the information_schema open every table of the server."""
    database, statements = db.connect(complete.url), []
    database.query_hooks.append(lambda event: statements.append(event.sql))
    phase_4_5.ensure(database)
    assert len(statements) == (2 if complete.is_mariadb else 6)
    assert not any("information_schema" in sql for sql in statements)
