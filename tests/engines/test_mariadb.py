"""MariaDB: every statement commits by itself, a foreign key is fussy, and a session has settings to restore."""

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
    another,
    closed_port,
    command,
    granted,
    later,
    listener,
    near,
    one_line,
    url_of,
)
from hooks import failed_statements
from states import REPAIRED, ROWS, State

import db
from db.init_db import init_db
from db.models import WeeklyActuals
from migrations import phase_4_5

pytestmark = pytest.mark.drivers("mysql")
STEPS = dict.fromkeys(("insert", "select", "unique", "foreign_keys", "cascade", "cleanup"), True)


@pytest.fixture
def engine():
    return "mysql"


@pytest.fixture
def user():
    """Return a function that makes a user of a world with some rights, and gives its URL."""
    made = []

    def make(world, *grants):
        name = f"app-{uuid.uuid4().hex[:20]}"
        made.append((world, name))
        world.execute(f"CREATE USER '{name}'@'127.0.0.1' IDENTIFIED BY 'hunter2'")
        world.execute(*(f"GRANT {grant.format(world.name)} TO '{name}'@'127.0.0.1'" for grant in grants))
        return url_of(world, user=name, password="hunter2")

    yield make
    for world, name in made:
        world.execute(f"DROP USER '{name}'@'127.0.0.1'")


# -- the whole chain


def test_the_command_creates_and_proves_the_table(fresh):
    outcome = command(fresh.url)
    assert (outcome.code, outcome.answer, outcome.report["smoke_test"]) == (0, "migrated", STEPS)
    assert outcome.report["row_counts"]["stores"] == 4
    fresh.assert_specified()


@pytest.mark.parametrize("state", [NOTHING, HALF])
def test_the_dry_run_by_hand_gives_what_a_run_gives(world, state):
    made = world("mysql").make(state, filled=state is HALF)
    for change in phase_4_5.check(db.connect(made.url)).changes:
        made.execute(change.sql)
    by_hand = made.query("SHOW CREATE TABLE weekly_actuals"), made.rows()
    made = world("mysql").make(state, filled=state is HALF)
    phase_4_5.run(db.connect(made.url))
    assert (made.query("SHOW CREATE TABLE weekly_actuals"), made.rows()) == by_hand


@pytest.mark.parametrize("name", ['a "b" `c`', "Täglich 50%", *exhaustive("it's", "semi;colon", "sl/ash", "Select")])
def test_a_database_whose_name_needs_quoting(fresh, name):
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
    return dict(world.query(
        "SELECT column_name, collation_name FROM information_schema.columns "
        "WHERE table_schema = database() AND table_name = 'weekly_actuals' AND collation_name IS NOT NULL"
    ))  # fmt: skip


@pytest.fixture(params=["fresh", "half"])
def of_two_collations(request, fresh):
    """The parents differ from the database's default and from each other."""
    fresh.execute("ALTER TABLE workflows CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    if request.param == "half":
        fresh.execute(
            "CREATE TABLE weekly_actuals (id INTEGER AUTO_INCREMENT PRIMARY KEY, workflow_id VARCHAR(50) NOT NULL)"
        )
    return fresh


def test_each_key_has_the_collation_of_its_own_parent(of_two_collations):
    assert command(of_two_collations.url).answer == "migrated"
    latin = "latin1_swedish_ci"
    assert collations(of_two_collations) == {"workflow_id": "utf8mb4_bin", "store_id": latin, "category_id": latin}
    of_two_collations.assert_specified()


def test_a_key_whose_name_holds_a_percent_sign_is_replaced(world):
    key = "CONSTRAINT `50%s` FOREIGN KEY (store_id) REFERENCES stores(store_id)"
    made = world("mysql").make(State("an odd name", REPAIRED, items={"store": key}))
    assert command(made.url).answer == "migrated"
    made.assert_specified()


# -- races and crashes


NO_KEY = State("a key is missing", REPAIRED, items={"store": None})
WRONG_KEY = State(
    "a key of another rule", REPAIRED, items={"store": "FOREIGN KEY (store_id) REFERENCES stores(store_id)"}
)


@pytest.mark.parametrize("state", [NOTHING, HALF, NO_KEY, WRONG_KEY], ids=lambda state: state.name)
def test_a_peer_that_makes_each_change_first_is_no_error(world, state):
    made = world("mysql").make(state, filled=state is not NOTHING)
    database = db.connect(made.url)
    changes = [change.sql for change in phase_4_5.check(database).changes]

    class Overtaken(type(database)):
        def execute_sql(self, sql, *arguments, **options):
            if changes and sql.startswith(("CREATE TABLE", "ALTER TABLE")):
                made.execute(changes.pop(0))
            return super().execute_sql(sql, *arguments, **options)

    database.__class__ = Overtaken
    phase_4_5.run(database, lock_timeout=5)
    assert changes == []
    made.assert_specified()


def test_a_table_that_another_run_drops_first_is_no_error(complete):
    database = db.connect(complete.url)
    dropped = []

    class Overtaken(type(database)):
        def execute_sql(self, sql, *arguments, **options):
            if sql.startswith("DROP TABLE") and not dropped:
                complete.execute("DROP TABLE weekly_actuals")
                dropped.append(sql)
            return super().execute_sql(sql, *arguments, **options)

    database.__class__ = Overtaken
    phase_4_5.rollback(database, force=True, lock_timeout=5)
    assert len(dropped) == 1
    assert complete.columns() == []


# -- others who hold locks

ROW = (
    "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, week_end_date, store_id, category_id, "
    "actual_units_sold) VALUES ('wf_2', {}, '2025-01-06', '2025-01-12', 'S001', 'dresses', 1)"
)
READ = "SELECT * FROM weekly_actuals"


@pytest.mark.parametrize("statement", [READ, ROW.format(40)])
def test_a_busy_table_is_waited_for_no_longer_than_asked(half, hold, statement):
    holder = hold(half, statement)
    outcome = command(half.url, "--lock-timeout", "2")
    line = one_line(outcome)
    assert "weekly_actuals" in line
    assert str(holder.thread_id()) in line
    assert 1900 < outcome.report["duration_ms"] < 4500


def test_a_run_that_gives_up_has_changed_nothing(half, hold):
    before = half.dump()
    hold(half, READ)
    command(half.url, "--lock-timeout", "0.5")
    assert half.dump() == before


def test_no_patience_at_all_is_one_short_try(half, hold):
    hold(half, READ)
    outcome = command(half.url, "--lock-timeout", "0")
    assert outcome.code == 1
    assert outcome.report["duration_ms"] < 1500


def test_what_lasts_an_instant_is_waited_for_without_patience(half, hold, monkeypatch):
    """The server's own threads, of which nobody knows when they come, have a table for as long."""
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
def test_writers_behind_a_waiting_run_are_never_held_up_for_long(half, hold, arguments):
    hold(half, READ)
    with Writer(half, ROW.replace("'wf_2', {}", "'wf_2', substr('{}', 5)")) as writer:
        outcome = command(half.url, "--lock-timeout", "4", *arguments)
    assert outcome.code == 1
    assert writer.error is None
    assert writer.longest <= 1.0


def test_writers_of_a_parent_are_never_held_up_for_long(fresh):
    with Writer(fresh) as writer:
        assert command(fresh.url).answer == "migrated"
    assert writer.error is None
    assert writer.longest < 1


def test_a_waiting_run_completes_once_the_writer_commits(half, hold):
    holder = hold(half, ROW.format(40))
    with later(2, holder.commit):
        assert command(half.url).answer == "migrated"
    assert len(half.rows()) == 4
    half.assert_specified()


def test_a_rollback_behind_an_open_reader_gives_up_and_names_it(complete, hold):
    holder = hold(complete, READ)
    line = one_line(command(complete.url, "--rollback", "--force", "--lock-timeout", "1"))
    assert str(holder.thread_id()) in line
    assert len(complete.rows()) == 3


def test_a_rollback_completes_once_the_reader_ends(complete, hold):
    holder = hold(complete, READ)
    with later(1, holder.rollback):
        assert command(complete.url, "--rollback", "--force").answer == "rolled_back"


def test_another_run_at_work_is_waited_for_and_named(half, hold):
    database, locks = db.connect(half.url), []
    database.query_hooks.append(lambda event: locks.append(event.sql) if "GET_LOCK" in event.sql else None)
    phase_4_5.run(database)
    half.execute("ALTER TABLE weekly_actuals DROP INDEX idx_weekly_actuals_date")
    peer = hold(half, locks[0])
    assert str(peer.thread_id()) in one_line(command(half.url, "--lock-timeout", "0.5"))


# -- rights

PARENTS = "SELECT, INSERT, DELETE, REFERENCES ON {}.*"


@pytest.mark.parametrize("grants", [(PARENTS,), ("SELECT ON {}.*",)])
def test_a_right_to_create_that_is_missing_is_told_with_the_statement_that_grants_it(fresh, user, grants):
    url = user(fresh, *grants)
    granted(fresh, command(url))
    assert command(url).answer == "migrated"
    fresh.assert_specified()


def test_a_right_to_alter_that_is_missing_is_told_likewise(half, user):
    url = user(half, PARENTS)
    granted(half, command(url))
    assert command(url).answer == "migrated"
    half.assert_specified()


def test_a_change_that_is_not_permitted_is_attempted_once(half, user):
    database = db.connect(user(half, PARENTS))
    failed = failed_statements(database)
    with pytest.raises(phase_4_5.MigrationError, match="ALTER command denied"):
        phase_4_5.run(database, lock_timeout=1)
    assert len(failed) == 1


def test_rows_that_may_not_be_read_are_asked_for_once(complete, user):
    parents = ("categories", "historical_sales", "stores", "workflows")
    grants = ["INSERT ON {}.weekly_actuals"]
    grants += [f"SELECT ON {{}}.{name}" for name in parents]
    database = db.connect(user(complete, *grants))
    failed = failed_statements(database)
    with pytest.raises(phase_4_5.MigrationError, match="SELECT command denied"):
        phase_4_5.check(database, lock_timeout=1)
    assert len(failed) == 1


def test_a_rollback_without_the_right_to_it_is_told_likewise(complete, user):
    url = user(complete, PARENTS)
    granted(complete, command(url, "--rollback", "--force"))
    assert command(url, "--rollback", "--force").answer == "rolled_back"


def test_a_user_who_may_only_upload_can_still_check(complete, user):
    assert command(user(complete, "SELECT, INSERT ON {}.*"), "--check").code == 0


def test_a_user_without_the_process_privilege_is_told_of_a_busy_table(half, user, hold):
    url = user(half, "ALL ON {}.*")
    hold(half, READ)
    assert "weekly_actuals" in one_line(command(url, "--lock-timeout", "0.5"))


# -- a server that is not there, or goes away


@pytest.mark.parametrize("at", ["GET_LOCK", "ALTER TABLE", "SHOW SESSION"])
def test_a_connection_that_is_cut_in_the_middle_is_one_line(half, at):
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
def test_a_wrong_password_is_one_line_that_does_not_hold_it(fresh, user, password):
    outcome = command(url_of(fresh, user=urlsplit(user(fresh)).username, password=password))
    assert "check the user and the password" in one_line(outcome)
    assert password not in str(outcome)
    assert unquote(password) not in str(outcome)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "127.0.0.1"])
def test_a_server_that_cannot_be_reached_is_one_line(host):
    outcome = command(f"mysql+pymysql://app:hunter2@{host}:{closed_port()}/shop")
    assert "hunter2" not in str(outcome)
    assert "check that the server runs" in one_line(outcome)


def test_a_server_that_never_answers_is_given_up_on():
    with listener() as port:
        outcome = command(f"mysql://app:hunter2@127.0.0.1:{port}/shop?connect_timeout=1&read_timeout=1")
    assert "hunter2" not in str(outcome)
    assert "check that the server runs" in one_line(outcome)


def test_a_database_that_does_not_exist_is_one_line(fresh, user):
    url = user(fresh, "ALL ON *.*")
    line = one_line(command(url_of(fresh, user=urlsplit(url).username, password="hunter2", name="no_such_shop")))
    assert "no_such_shop" in line
    assert "create the database" in line
    assert "hunter2" not in line


def test_a_user_that_does_not_exist_is_one_line(fresh):
    outcome = command(url_of(fresh, user="nobody_here", password="hunter2"))
    assert "nobody_here" in one_line(outcome)
    assert "hunter2" not in str(outcome)


# -- nothing left behind

FLEETING = {"timestamp", "last_insert_id", "identity", "error_count", "warning_count", "last_gtid", "rand_seed1",
            "rand_seed2", "pseudo_thread_id", "in_transaction"}  # fmt: skip
OWN = (
    "SET foreign_key_checks = 0, time_zone = '+09:00', sql_mode = 'ANSI_QUOTES', lock_wait_timeout = 77, "
    "innodb_lock_wait_timeout = 33, check_constraint_checks = 0"
)


def settings(database):
    variables = database.execute_sql("SHOW SESSION VARIABLES").fetchall()
    return {name: value for name, value in variables if name not in FLEETING}


@pytest.fixture(params=["default", "own"])
def caller(request):
    """A function that opens a connection of a caller, with settings of its own or without."""
    opened = []

    def connect(world):
        opened.append(db.connect(world.url))
        opened[-1].connect()
        if request.param == "own":
            opened[-1].execute_sql(OWN.replace("ANSI_QUOTES", "NO_ZERO_DATE"))
        return opened[-1]

    yield connect
    for database in opened:
        database.close()


@pytest.fixture(params=["migrated", "up_to_date", "refused", "timeout"])
def used(request, world, caller, hold):
    """A caller's open connection on which a run has ended in every way that there is, and what it was before."""
    made = world("mysql").make(COMPLETE if request.param == "up_to_date" else HALF, filled=True)
    database = caller(made)
    before, statements = settings(database), []
    if request.param == "refused":
        made.execute(
            "INSERT INTO weekly_actuals SELECT 99, workflow_id, week_number, week_start_date, week_end_date, "
            "store_id, category_id, 1, 1, 1, uploaded_at FROM weekly_actuals WHERE id = 1"
        )
    if request.param == "timeout":
        hold(made, READ)
    database.query_hooks.append(lambda event: statements.append(event.sql))
    with contextlib.suppress(phase_4_5.ChangeRefused, phase_4_5.LockTimeout):
        assert phase_4_5.run(database, lock_timeout=0.5).status == request.param
    database.query_hooks.clear()
    return made, database, before, [sql for sql in statements if "GET_LOCK" in sql]


def test_the_callers_connection_has_the_settings_it_had(used):
    _, database, before, _ = used
    assert not database.is_closed()
    assert settings(database) == before


def test_no_lock_and_no_transaction_is_left(used):
    made, database, _, locks = used
    for lock in locks:
        assert made.query(lock) == [(1,)]
    made.execute("DO RELEASE_ALL_LOCKS()")
    assert database.execute_sql("SELECT @@in_transaction").fetchone() == (0,)


@pytest.mark.parametrize("make", [NOTHING, HALF, COMPLETE])
def test_a_closed_database_is_closed_again(world, make):
    database = db.connect(world("mysql").make(make).url)
    phase_4_5.run(database)
    assert database.is_closed()


def test_a_closed_database_is_closed_again_after_a_timeout(half, hold):
    database = db.connect(half.url)
    hold(half, READ)
    with pytest.raises(phase_4_5.LockTimeout):
        phase_4_5.run(database, lock_timeout=0.3)
    assert database.is_closed()


def test_a_smoke_test_that_waits_in_vain_is_one_line_and_leaves_nothing_open(complete, hold):
    database = db.connect(complete.url)
    holder = hold(complete, "SELECT * FROM stores FOR UPDATE")
    with pytest.raises(phase_4_5.LockTimeout, match=str(holder.thread_id())):
        phase_4_5.run(database, lock_timeout=1)
    assert database.is_closed()


def auto_increment(world):
    return world.query(
        "SELECT table_name, auto_increment FROM information_schema.tables WHERE table_schema = database()"
    )


def test_a_run_with_nothing_to_do_moves_no_counter(complete):
    before = auto_increment(complete)
    assert command(complete.url).report["smoke_test"] == STEPS
    assert auto_increment(complete) == before


@pytest.mark.parametrize("begin", ["atomic", "plain"])
def test_a_change_in_the_callers_transaction_is_refused_and_its_work_survives(unfinished, begin):
    before = unfinished.dump()
    database = db.connect(unfinished.url)
    with database.connection_context():
        database.begin() if begin == "atomic" else database.execute_sql("START TRANSACTION")
        database.execute_sql(STORE.format("mine"))
        with pytest.raises(phase_4_5.ChangeRefused, match="transaction"):
            phase_4_5.run(database)
        assert database.execute_sql("SELECT @@in_transaction").fetchone() == (1,)
        assert database.execute_sql("SELECT count(*) FROM stores WHERE store_id = 'mine'").fetchone() == (1,)
        database.rollback()
    assert unfinished.dump() == before


def test_a_run_with_nothing_to_do_in_the_callers_transaction_leaves_it_open(complete):
    before = complete.dump()
    database = db.connect(complete.url)
    with database.connection_context():
        database.begin()
        database.execute_sql(STORE.format("mine"))
        assert phase_4_5.run(database).smoke_test == STEPS
        assert database.execute_sql("SELECT @@in_transaction").fetchone() == (1,)
        database.rollback()
    assert complete.dump() == before


# -- time


GIVEN = {key: value for key, value in ROWS[0].items() if key not in ("id", "uploaded_at")}


@pytest.fixture
def in_tokyo(fresh):
    """A migrated database, and a connection of one whose clock is nine hours ahead."""
    url = url_of(fresh, query="init_command=" + quote("SET time_zone = '+09:00'"))
    command(url)
    database = db.connect(url)
    with database.connection_context(), database.bind_ctx([WeeklyActuals]):
        assert database.execute_sql("SELECT @@time_zone").fetchone() == ("+09:00",)
        yield fresh, database


def test_uploaded_at_is_utc_by_the_databases_default(in_tokyo):
    made, database = in_tokyo
    marks = ", ".join(["%s"] * len(GIVEN))
    database.execute_sql(f"INSERT INTO weekly_actuals ({', '.join(GIVEN)}) VALUES ({marks})", list(GIVEN.values()))
    assert near(made.query("SELECT uploaded_at FROM weekly_actuals")[0][0])


def test_uploaded_at_is_utc_by_the_model(in_tokyo):
    made, _ = in_tokyo
    WeeklyActuals.create(**GIVEN)
    assert near(made.query("SELECT uploaded_at FROM weekly_actuals")[0][0])


@pytest.mark.parametrize("type_", ["DATETIME", "TIMESTAMP"])
def test_a_default_of_local_time_is_corrected(complete, type_):
    complete.execute(f"ALTER TABLE weekly_actuals MODIFY uploaded_at {type_} NOT NULL DEFAULT CURRENT_TIMESTAMP")
    assert command(complete.url).answer == "migrated"
    assert complete.default()


def test_timestamps_are_converted_to_utc(complete):
    before = complete.rows()
    complete.execute(
        "SET time_zone = '+00:00'",
        "ALTER TABLE weekly_actuals MODIFY uploaded_at TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP",
    )
    url = url_of(complete, query="init_command=" + quote("SET time_zone = '+09:00'"))
    assert command(url).answer == "migrated"
    assert complete.rows() == before


# -- statements


def executed(world):
    return [change["sql"] for change in command(world.url).report["changes"]]


def test_the_table_is_made_by_one_statement(fresh):
    (statement,) = executed(fresh)
    assert statement.startswith("CREATE TABLE")


def test_indexes_and_the_unique_key_are_added_beside_writers(half):
    statements = executed(half)
    for name in ("idx_weekly_actuals_store", "idx_weekly_actuals_date", "unique_workflow_week_store"):
        (statement,) = [each for each in statements if f"`{name}`" in each]
        assert statement.endswith("ALGORITHM=INPLACE, LOCK=NONE")


def test_writers_of_the_table_go_on_while_it_is_repaired(half):
    half.execute("INSERT INTO workflows (workflow_id, workflow_type, category_id, status, forecast_horizon_weeks, "
                 "season_start_date, replenishment_strategy, dc_holdback_percentage) SELECT concat('new_', seq), "
                 "'forecast', 'dresses', 'running', 12, '2025-01-06', 'weekly', 0.4 FROM seq_0_to_3000")  # fmt: skip
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
def test_an_index_that_a_foreign_key_leans_on_is_replaced(complete, name, columns, wrong):
    kind = "UNIQUE INDEX" if name.startswith("unique") else "INDEX"
    complete.execute(f"ALTER TABLE weekly_actuals DROP INDEX {name}, ADD {kind} {name} ({wrong})")
    if "store" in wrong and name != "idx_weekly_actuals_store":
        complete.execute("ALTER TABLE weekly_actuals DROP INDEX idx_weekly_actuals_store")
    before = complete.rows()
    assert command(complete.url).answer == "migrated"
    complete.assert_specified()
    assert complete.rows() == before


def test_the_lock_of_a_database_does_not_keep_another_database_waiting(half):
    with contextlib.closing(another(half.url)) as peer:
        peer.cursor().execute("SELECT GET_LOCK(CONCAT('migrations:', MD5('another')), 0)")
        assert command(half.url, "--lock-timeout", "0").answer == "migrated"


# -- nothing to do


def test_nothing_to_do_takes_at_most_four_round_trips(complete):
    parts = urlsplit(complete.url)
    with Relay(parts.hostname, parts.port or 3306) as relay:
        database = db.connect(url_of(complete, host="127.0.0.1", port=relay.port))
        database.connect()
        relay.trips = 0
        assert phase_4_5.ensure(database) is False
        assert 1 <= relay.trips <= 4
        database.close()


def commands(database):
    status = database.execute_sql("SHOW SESSION STATUS LIKE 'Com\\_%%'").fetchall()
    return {name: int(value) for name, value in status if value.isdigit()}


def test_nothing_to_do_only_looks(complete):
    database, statements = db.connect(complete.url), []
    with database.connection_context():
        before = commands(database)
        database.query_hooks.append(lambda event: statements.append(event.sql))
        assert phase_4_5.ensure(database) is False
        database.query_hooks.clear()
        changed = {name for name, count in commands(database).items() if count != before[name]}
        assert database.execute_sql("SELECT @@in_transaction").fetchone() == (0,)
    assert changed == {"Com_select", "Com_show_status", "Com_compound_sql", "Com_show_create_table"}
    assert not any("LOCK" in sql for sql in statements)


def test_looking_opens_no_table_but_the_phases_own(complete):
    """The information_schema opens those of the whole server, if it is not asked in its own way."""
    database, statements = db.connect(complete.url), []
    database.query_hooks.append(lambda event: statements.append(event.sql))
    phase_4_5.ensure(database)
    assert len(statements) == 2
    assert not any("information_schema" in sql for sql in statements)
