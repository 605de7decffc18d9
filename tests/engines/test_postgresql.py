"""PostgreSQL: locks, online changes, privileges, and errors of the connection."""

import contextlib
import re
import threading
import time
import uuid
from urllib.parse import quote, unquote, urlsplit

import pytest
from drivers import exhaustive
from engines.servers import (
    COMPLETE,
    HALF,
    NO_DATE_INDEX,
    NOTHING,
    Relay,
    Writer,
    closed_port,
    command,
    delayed,
    finish,
    is_now_in_utc,
    listener,
    new_connection,
    one_line_error,
    run_reported_statement,
    start,
    url_of,
)
from hooks import failed_statements
from states import REPAIRED, ROWS, State

import db
from db.init_db import init_db
from db.models import WeeklyActuals
from migrations import phase_4_5
from migrations.engines import engine_for

with contextlib.suppress(ImportError):
    import psycopg

pytestmark = pytest.mark.drivers("postgresql")
STORE = (
    "INSERT INTO stores (store_id, store_name, cluster_id, store_size_sqft, "
    "location_tier, median_income, "
    "store_format, region, avg_weekly_sales_12mo) VALUES ('busy', 'Busy', 'value', 1, "
    "'A', 1, 'MALL', 'WEST', 1)"
)


@pytest.fixture
def engine():
    return "postgresql"


PARENTS = (
    "SELECT, INSERT, DELETE, REFERENCES ON historical_sales, stores, "
    "categories, workflows"
)
USE = "CREATE, USAGE ON SCHEMA public"
STEPS = dict.fromkeys(
    ("insert", "select", "unique", "foreign_keys", "cascade", "cleanup"), True
)


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


def catalogue(world):
    """Return the catalog of all objects, without the numbers in generated names."""
    return sorted(re.sub(r"\d{4,}", "", str(each)) for each in world.dump()[0])


@pytest.mark.parametrize("state", [NOTHING, HALF])
def test_statements_of_a_check_have_the_effect_of_a_run(world, second_database, state):
    by_hand = world("postgresql").make(state, filled=state is HALF)
    by_run = second_database.make(state, filled=state is HALF)
    for change in phase_4_5.check(db.connect(by_hand.url)).changes:
        by_hand.execute(change.sql)
    phase_4_5.run(db.connect(by_run.url))
    assert catalogue(by_hand) == catalogue(by_run)


@pytest.mark.parametrize(
    "name",
    ['a "b" c', "Täglich 50%", *exhaustive("it's", "semi;colon", "sl/ash", "Select")],
)
def test_database_whose_name_needs_quoting_is_migrated(fresh, name):
    name = f"{name} {uuid.uuid4().hex[:8]}"
    quoted = '"' + name.replace('"', '""') + '"'
    fresh.server.execute(f"CREATE DATABASE {quoted} TEMPLATE template0")
    try:
        url = url_of(fresh, name=quote(name, safe=""))
        init_db(db.connect(url), base_only=True)
        assert command(url).answer == "migrated"
    finally:
        fresh.server.execute(f"DROP DATABASE {quoted} WITH (FORCE)")


@pytest.fixture
def in_shop(second_database):
    """The application's tables in another schema, and an unrelated table in public."""
    fresh = second_database.make(NOTHING)
    fresh.execute('CREATE SCHEMA "the shop"')
    for table in (
        "categories",
        "store_clusters",
        "stores",
        "historical_sales",
        "workflows",
        "shelves",
    ):
        fresh.execute(f'ALTER TABLE {table} SET SCHEMA "the shop"')
    fresh.execute(
        "CREATE TABLE public.weekly_actuals (id INTEGER PRIMARY KEY, title TEXT)"
    )
    return fresh


@pytest.fixture(params=["url", "database"])
def shop_url(request, in_shop):
    if request.param == "url":
        return url_of(in_shop, query="options=" + quote(r'-csearch_path="the\ shop"'))
    in_shop.execute(f'ALTER DATABASE {in_shop.name} SET search_path = "the shop"')
    return in_shop.url


def test_table_is_created_in_the_schema_of_the_search_path(in_shop, shop_url):
    outcome = command(shop_url)
    assert outcome.answer == "migrated"
    found = in_shop.query(
        "SELECT table_schema FROM information_schema.tables "
        "WHERE table_name = 'weekly_actuals'"
    )
    assert sorted(found) == [("public",), ("the shop",)]


def test_second_run_in_another_schema_changes_nothing(in_shop, shop_url):
    command(shop_url)
    assert command(shop_url).answer == "up_to_date"


def test_table_is_repaired_and_rolled_back_in_another_schema(in_shop, shop_url):
    command(shop_url)
    in_shop.execute('DROP INDEX "the shop".idx_weekly_actuals_date')
    assert command(shop_url).answer == "migrated"
    assert command(shop_url, "--rollback").answer == "rolled_back"
    found = in_shop.query(
        "SELECT table_schema FROM information_schema.tables "
        "WHERE table_name = 'weekly_actuals'"
    )
    assert found == [("public",)]


def test_key_with_a_percent_sign_in_its_name_is_replaced(world):
    key = 'CONSTRAINT "50%s" FOREIGN KEY (store_id) REFERENCES stores(store_id)'
    made = world("postgresql").make(
        State("percent sign", REPAIRED, items={"store": key})
    )
    assert command(made.url).answer == "migrated"
    made.assert_specified()


# -- races and crashes


def test_table_created_by_another_run_is_no_case_variant(complete):
    database = db.connect(complete.url)
    with database.connection_context():
        engine = engine_for(database, phase_4_5.phase.models, 1.0)
        assert engine.catalog.case_variants("weekly_actuals") == []


# -- locks of other clients


def test_wait_for_a_busy_parent_ends_at_the_timeout(fresh, hold):
    holder = hold(fresh, STORE)
    outcome = command(fresh.url, "--lock-timeout", "1.5")
    line = one_line_error(outcome)
    assert "stores" in line
    assert str(holder.info.backend_pid) in line
    assert 1400 < outcome.report["duration_ms"] < 4000


def test_run_that_times_out_has_created_nothing(fresh, hold):
    before = fresh.dump()
    hold(fresh, STORE)
    command(fresh.url, "--lock-timeout", "0.5")
    assert fresh.dump() == before


def test_lock_timeout_of_0_is_one_short_attempt(fresh, hold):
    hold(fresh, STORE)
    outcome = command(fresh.url, "--lock-timeout", "0")
    assert outcome.code == 1
    assert outcome.report["duration_ms"] < 1500


@pytest.mark.parametrize("state", ["fresh", "half"])
def test_waiting_run_blocks_writers_only_briefly(request, state, hold):
    made = request.getfixturevalue(state)
    hold(made, STORE)
    with Writer(made) as writer:
        outcome = command(made.url, "--lock-timeout", "4")
    assert outcome.code == 1
    assert writer.error is None
    assert writer.longest < 1


def test_waiting_run_completes_after_the_writer_commits(incomplete, hold):
    holder = hold(incomplete, STORE)
    with delayed(2, holder.commit):
        outcome = command(incomplete.url)
    assert outcome.answer == "migrated"
    assert incomplete.query("SELECT count(*) FROM stores WHERE store_id = 'busy'") == [
        (1,)
    ]
    incomplete.assert_specified()


def test_rollback_blocked_by_a_reader_times_out_and_names_it(complete, hold):
    holder = hold(complete, "SELECT * FROM stores")
    with Writer(complete) as writer:
        outcome = command(complete.url, "--rollback", "--force", "--lock-timeout", "2")
    line = one_line_error(outcome)
    assert "stores" in line
    assert str(holder.info.backend_pid) in line
    assert writer.error is None
    assert writer.longest < 1
    assert len(complete.rows()) == 3


def test_rollback_completes_after_the_reader_ends(complete, hold):
    holder = hold(complete, "SELECT * FROM stores")
    with delayed(1, holder.rollback):
        assert command(complete.url, "--rollback", "--force").answer == "rolled_back"


def test_concurrent_run_is_waited_for_and_named(no_date_index):
    with psycopg.connect(no_date_index.url) as other_run:
        other_run.execute("SELECT pg_advisory_xact_lock(450000045)")
        line = one_line_error(command(no_date_index.url, "--lock-timeout", "0.5"))
        assert str(other_run.info.backend_pid) in line


def test_advisory_lock_of_the_application_is_not_named(no_date_index, hold):
    other_run = hold(no_date_index, "SELECT pg_advisory_xact_lock(450000045)")
    hold(no_date_index, "SELECT pg_advisory_xact_lock(7)")
    line = one_line_error(command(no_date_index.url, "--lock-timeout", "0.5"))
    assert re.findall(r"held by process (\d+)", line) == [
        str(other_run.info.backend_pid)
    ]


# -- privileges


@pytest.mark.parametrize(
    ("grants", "reason"),
    [
        ((PARENTS,), "schema public"),
        ((USE, PARENTS.replace("REFERENCES", "UPDATE")), "stores"),
    ],
)
def test_missing_create_privilege_is_reported_with_its_grant(
    fresh, role, grants, reason
):
    url = role(fresh, *grants)
    outcome = command(url)
    assert reason.split()[0] in outcome.message
    run_reported_statement(fresh, outcome)
    assert command(url).answer == "migrated"
    fresh.assert_specified()


@pytest.mark.parametrize(
    "grants", [(PARENTS, USE), (PARENTS, USE, "SELECT ON weekly_actuals")]
)
def test_missing_ownership_is_reported_with_its_statement(half, role, grants):
    url = role(half, *grants)
    for _ in range(3):
        if (outcome := command(url)).code:
            run_reported_statement(half, outcome)
    assert outcome.code == 0
    half.assert_specified()


def test_change_without_privilege_is_attempted_once(half, role):
    database = db.connect(role(half, PARENTS, USE, "SELECT ON weekly_actuals"))
    failed = failed_statements(database)
    with pytest.raises(phase_4_5.MigrationError, match="must be owner"):
        phase_4_5.run(database, lock_timeout=1)
    assert len(failed) == 1


def test_missing_drop_privilege_is_reported_with_its_grant(complete, role):
    url = role(complete, PARENTS, USE, "SELECT ON weekly_actuals")
    run_reported_statement(complete, command(url, "--rollback", "--force"))
    assert command(url, "--rollback", "--force").answer == "rolled_back"


def test_reported_grant_quotes_the_name_of_the_schema(in_shop, role):
    url = role(
        in_shop, 'USAGE ON SCHEMA "the shop"', settings=('search_path = "the shop"',)
    )
    in_shop.execute('SET search_path = "the shop"')
    in_shop.execute(f'GRANT {PARENTS} TO "{url.partition("://")[2].partition(":")[0]}"')
    run_reported_statement(in_shop, command(url))
    assert command(url).answer == "migrated"


def test_read_only_user_can_check(complete, role):
    assert command(role(complete), "--check").code == 0


# -- errors of the connection


def test_lost_connection_reports_a_one_line_error(half):
    database, killer = db.connect(half.url), new_connection(half.url)

    def cut(event):
        if event.sql.startswith("CREATE"):
            killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND application_name <> 'test' "
                "AND query LIKE 'CREATE%'"
            )

    database.query_hooks.append(cut)
    with (
        killer,
        pytest.raises(phase_4_5.DatabaseUnavailable, match="run again") as failure,
    ):
        phase_4_5.run(database)
    assert "\n" not in str(failure.value)
    database.query_hooks.clear()
    assert phase_4_5.run(database).status == "migrated"
    half.assert_specified()


def test_connection_lost_while_waiting_reports_a_one_line_error(fresh, hold):
    hold(fresh, STORE)
    process = start(fresh.url)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not fresh.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND query LIKE 'CREATE TABLE%' "
        "AND wait_event_type = 'Lock'"
    ):
        time.sleep(0.01)
    assert "stores" not in one_line_error(finish(process)).split(";")[0]


def refuse_password(client):
    """Ask for a password, and refuse it with an error that contains it."""
    client.recv(8)
    client.sendall(b"N")  # no encryption
    client.recv(4096)
    client.sendall(b"R\0\0\0\x08\0\0\0\x03")
    password = client.recv(4096)[5:].rstrip(b"\0")
    fields = [
        b"SFATAL",
        b"C28P01",
        b'Mpassword authentication failed for user "app" with "' + password + b'"',
    ]
    body = b"\0".join(fields) + b"\0\0"
    client.sendall(b"E" + (len(body) + 4).to_bytes(4, "big") + body)
    client.close()


@pytest.mark.parametrize("password", ["hunter2", "p%40ss%2Fword", "%22quo%27ted%20"])
def test_wrong_password_reports_a_one_line_error_without_it(password):
    with listener(refuse_password) as port:
        outcome = command(f"postgresql://app:{password}@127.0.0.1:{port}/shop")
    assert "check the user and the password" in one_line_error(outcome)
    text = str(outcome)
    assert password not in text
    assert unquote(password) not in text


@pytest.mark.parametrize("host", ["no-such-host.invalid", "127.0.0.1"])
def test_unreachable_server_reports_a_one_line_error(host):
    outcome = command(f"postgresql://app:hunter2@{host}:{closed_port()}/shop")
    assert "hunter2" not in str(outcome)
    assert "check that the server runs" in one_line_error(outcome)


def test_silent_server_reports_a_one_line_error():
    with listener() as port:
        outcome = command(
            f"postgresql://app:hunter2@127.0.0.1:{port}/shop?connect_timeout=2"
        )
    assert "hunter2" not in str(outcome)
    assert "check that the server runs" in one_line_error(outcome)


def test_missing_database_reports_a_one_line_error(fresh):
    line = one_line_error(
        command(url_of(fresh, name="no_such_shop", password="hunter2"))
    )
    assert "no_such_shop" in line
    assert "createdb" in line
    assert "hunter2" not in line


def test_unknown_user_reports_a_one_line_error(fresh):
    outcome = command(url_of(fresh, user="nobody_here", password="hunter2"))
    assert "nobody_here" in one_line_error(outcome)
    assert "hunter2" not in str(outcome)


# -- the session after a run


# PL/pgSQL adds settings once it is loaded, and stays loaded.
SETTINGS = (
    "SELECT name, setting FROM pg_settings WHERE name NOT LIKE 'plpgsql.%%' "
    "ORDER BY name"
)
ADVISORY = (
    "SELECT pid, objid FROM pg_locks WHERE locktype = 'advisory' AND database = "
    + ("(SELECT oid FROM pg_database WHERE datname = current_database())")
)
IDLE_IN_TRANSACTION = (
    "SELECT pid FROM pg_stat_activity WHERE datname = "
    "current_database() AND state LIKE 'idle in transaction%'"
)


@pytest.fixture(params=["migrated", "up_to_date", "refused", "timeout"])
def used(request, world):
    """A database and an open connection after a run of each result."""
    made = world("postgresql").make(
        COMPLETE if request.param == "up_to_date" else HALF, filled=True
    )
    database = db.connect(made.url)
    database.connect()
    database.execute_sql("SET lock_timeout = '7s'")
    database.execute_sql("SET TIME ZONE 'Asia/Tokyo'")
    before = database.execute_sql(SETTINGS).fetchall()
    with (
        contextlib.ExitStack() as others,
        contextlib.suppress(phase_4_5.MigrationError),
    ):
        if request.param == "refused":
            made.execute(
                "INSERT INTO weekly_actuals SELECT 99, workflow_id, week_number, "
                "week_start_date, week_end_date, store_id, category_id, 1, 1, "
                "1 FROM weekly_actuals WHERE id = 1"
            )
        if request.param == "timeout":
            holder = others.enter_context(
                contextlib.closing(new_connection(made.url, False))
            )
            # A rollback is immediate; the end of a connection is not.
            others.callback(holder.rollback)
            holder.execute("SELECT * FROM weekly_actuals")
        assert phase_4_5.run(database, lock_timeout=1).status == request.param
    yield made, database, before
    database.close()


def test_settings_of_the_callers_connection_are_restored(used):
    _, database, before = used
    assert not database.is_closed()
    assert database.execute_sql(SETTINGS).fetchall() == before


def test_run_leaves_no_lock_and_no_transaction(used):
    made, database, _ = used
    assert made.query(ADVISORY) == made.query(IDLE_IN_TRANSACTION) == []
    assert not database.in_transaction()


def test_closed_database_is_closed_again_after_a_run(incomplete):
    database = db.connect(incomplete.url)
    phase_4_5.run(database)
    assert database.is_closed()


def test_run_without_changes_keeps_the_sequence(complete):
    before = complete.query("SELECT last_value, is_called FROM weekly_actuals_id_seq")
    command(complete.url)
    assert (
        complete.query("SELECT last_value, is_called FROM weekly_actuals_id_seq")
        == before
    )


@pytest.mark.parametrize(
    "repair",
    [
        "ALTER COLUMN id DROP DEFAULT",
        "ALTER COLUMN id TYPE TEXT, ALTER id DROP DEFAULT",
    ],
)
def test_recreated_sequence_is_owned_by_its_column(complete, repair):
    complete.execute(
        f"ALTER TABLE weekly_actuals {repair}", "DROP SEQUENCE weekly_actuals_id_seq"
    )
    assert command(complete.url).answer == "migrated"
    ((sequence,),) = complete.query(
        "SELECT pg_get_serial_sequence('weekly_actuals', 'id')"
    )
    assert complete.insert_without_id() == 6
    command(complete.url, "--rollback", "--force")
    assert complete.query(f"SELECT to_regclass('{sequence}')") == [(None,)]


def test_smoke_test_that_times_out_closes_the_connection(complete, hold):
    database = db.connect(complete.url)
    holder = hold(complete, "LOCK TABLE stores IN EXCLUSIVE MODE")
    with pytest.raises(
        phase_4_5.LockTimeout,
        match=f"stores is held by process {holder.info.backend_pid}",
    ):
        phase_4_5.run(database, lock_timeout=0.5)
    assert database.is_closed()


@pytest.mark.parametrize("begin", ["atomic", "plain"])
def test_run_in_the_callers_transaction_is_rolled_back_with_it(fresh, begin):
    before = fresh.dump()
    database = db.connect(fresh.url)
    with database.connection_context():
        database.begin() if begin == "atomic" else database.execute_sql("BEGIN")
        database.execute_sql(STORE)
        assert phase_4_5.run(database).status == "migrated"
        assert database.execute_sql(
            "SELECT count(*) FROM stores WHERE store_id = 'busy'"
        ).fetchone() == (1,)
        database.rollback()
    assert fresh.dump() == before


def test_work_of_the_caller_is_committed_with_the_run(fresh):
    database = db.connect(fresh.url)
    with database.connection_context(), database.atomic():
        database.execute_sql(STORE)
        phase_4_5.run(database)
    assert fresh.query("SELECT count(*) FROM stores WHERE store_id = 'busy'") == [(1,)]
    fresh.assert_specified()


def test_refused_run_keeps_the_callers_transaction(half):
    database = db.connect(half.url)
    with database.connection_context(), database.atomic():
        database.execute_sql(STORE)
        for call in (phase_4_5.check, phase_4_5.run):
            with pytest.raises(phase_4_5.ChangeRefused, match="inside a transaction"):
                call(database)
        assert database.execute_sql(
            "SELECT current_setting('lock_timeout')"
        ).fetchone() == ("0",)
    assert half.query("SELECT count(*) FROM stores WHERE store_id = 'busy'") == [(1,)]


def test_changes_of_an_empty_table_are_rolled_back_with_the_caller(world):
    made = world("postgresql").make(HALF)
    before = made.dump()
    database = db.connect(made.url)
    with database.connection_context(), database.atomic() as transaction:
        assert phase_4_5.ensure(database) is True
        transaction.rollback()
    assert made.dump() == before


def test_lock_timeout_keeps_the_callers_transaction(fresh, hold):
    holder = hold(fresh, STORE)
    database = db.connect(fresh.url)
    with database.connection_context(), database.atomic():
        database.execute_sql(STORE.replace("busy", "caller"))
        with pytest.raises(phase_4_5.LockTimeout, match=str(holder.info.backend_pid)):
            phase_4_5.run(database, lock_timeout=0.5)
    assert fresh.query("SELECT count(*) FROM stores WHERE store_id = 'caller'") == [
        (1,)
    ]


# -- time


@pytest.fixture(params=["database", "role", "session"])
def in_tokyo(request, second_database, role):
    """A migrated database, and a connection with the time zone of Tokyo."""
    fresh = second_database.make(NOTHING)
    url = url_of(fresh, query="options=-ctimezone%3DAsia%2FTokyo")
    if request.param == "database":
        fresh.execute(f"ALTER DATABASE {fresh.name} SET timezone = 'Asia/Tokyo'")
        url = fresh.url
    if request.param == "role":
        url = role(fresh, PARENTS, USE, settings=("timezone = 'Asia/Tokyo'",))
    command(url)
    database = db.connect(url)
    with database.connection_context(), database.bind_ctx([WeeklyActuals]):
        assert database.execute_sql("SHOW timezone").fetchone() == ("Asia/Tokyo",)
        yield fresh, database


GIVEN = {
    key: value for key, value in ROWS[0].items() if key not in ("id", "uploaded_at")
}


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


def test_default_in_local_time_is_repaired(complete):
    complete.execute(
        "ALTER TABLE weekly_actuals ALTER uploaded_at SET DEFAULT current_timestamp"
    )
    assert command(complete.url).answer == "migrated"
    assert complete.default()


def test_times_with_a_zone_are_converted_to_utc(second_database):
    complete = second_database.make(COMPLETE, filled=True)
    before = complete.rows()
    complete.execute(
        f"ALTER DATABASE {complete.name} SET timezone = 'Asia/Tokyo'",
        "ALTER TABLE weekly_actuals ALTER uploaded_at TYPE timestamptz "
        "USING uploaded_at AT TIME ZONE 'utc'",
    )
    assert command(complete.url).answer == "migrated"
    assert complete.rows() == before


# -- changes of a table with rows


def executed(world):
    return [change["sql"] for change in command(world.url).report["changes"]]


def test_index_of_a_table_with_rows_is_built_concurrently(no_date_index):
    (statement,) = executed(no_date_index)
    assert statement.startswith("CREATE INDEX CONCURRENTLY")
    no_date_index.assert_specified()


def test_index_of_an_empty_table_is_built_in_a_transaction(world):
    (statement,) = executed(world("postgresql").make(NO_DATE_INDEX))
    assert statement.startswith("CREATE INDEX ")
    assert "CONCURRENTLY" not in statement


def test_unique_key_of_a_table_with_rows_is_built_concurrently(half):
    statements = [
        statement
        for statement in executed(half)
        if "unique_workflow_week_store" in statement
    ]
    assert [statement.partition(' "')[0] for statement in statements] == [
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS",
        "ALTER TABLE",
    ]
    assert "USING INDEX" in statements[1]
    assert half.query(
        "SELECT contype::text FROM pg_constraint WHERE conname = "
        "'unique_workflow_week_store'"
    ) == [("u",)]


def test_foreign_key_is_added_not_valid_and_then_validated(half):
    statements = [
        statement
        for statement in executed(half)
        if "weekly_actuals_store_id" in statement
    ]
    assert "NOT VALID" in statements[0]
    assert "VALIDATE CONSTRAINT" in statements[1]
    assert half.query("SELECT conname FROM pg_constraint WHERE NOT convalidated") == []


def test_foreign_key_that_is_not_valid_is_validated(complete):
    complete.execute(
        "ALTER TABLE weekly_actuals DROP CONSTRAINT weekly_actuals_store_id_fkey, "
        "ADD CONSTRAINT late "
        "FOREIGN KEY (store_id) REFERENCES stores ON DELETE CASCADE NOT VALID"
    )
    assert command(complete.url, "--check").code == 1
    assert executed(complete) == [
        'ALTER TABLE "weekly_actuals" VALIDATE CONSTRAINT "late"'
    ]
    assert complete.query(
        "SELECT convalidated FROM pg_constraint WHERE conname = 'late'"
    ) == [(True,)]


@pytest.mark.parametrize(
    "kind", ["INDEX idx_weekly_actuals_date", "UNIQUE INDEX unique_workflow_week_store"]
)
def test_invalid_index_of_a_failed_build_is_rebuilt(half, kind):
    columns = (
        "(workflow_id, week_number, store_id)"
        if "UNIQUE" in kind
        else "(week_start_date)"
    )
    with contextlib.closing(new_connection(half.url, False)) as holder:
        # A concurrent build waits for this snapshot.
        holder.execute("SELECT * FROM stores")
        holder.execute("UPDATE weekly_actuals SET week_number = week_number")
        half.execute("SET statement_timeout = 500")
        with pytest.raises(psycopg.errors.QueryCanceled):
            half.execute(
                f"CREATE {kind.replace('INDEX', 'INDEX CONCURRENTLY')} "
                f"ON weekly_actuals {columns}"
            )
    half.execute("SET statement_timeout = 0")
    assert half.query("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(1,)]
    assert any(
        statement.startswith("DROP INDEX CONCURRENTLY") for statement in executed(half)
    )
    half.assert_specified()


@pytest.fixture
def building(no_date_index, hold):
    """Another run builds the missing index, and waits for an open transaction."""
    holder = hold(no_date_index, "UPDATE weekly_actuals SET week_number = week_number")
    other_run = new_connection(no_date_index.url)
    statement = (
        "CREATE INDEX CONCURRENTLY idx_weekly_actuals_date ON weekly_actuals "
        "(week_start_date)"
    )
    thread = threading.Thread(target=other_run.execute, args=(statement,))
    thread.start()
    while not no_date_index.query(
        "SELECT pid FROM pg_stat_progress_create_index WHERE command LIKE "
        "'%CONCURRENTLY'"
    ):
        time.sleep(0.01)
    yield no_date_index, holder, other_run
    holder.rollback()
    thread.join()
    other_run.close()


def test_index_that_another_run_builds_is_waited_for(building):
    made, holder, _ = building
    with delayed(1.5, holder.rollback):
        outcome = command(made.url)
    assert (outcome.code, outcome.report["changes"]) == (0, [])
    made.assert_specified()


def test_run_that_builds_an_index_for_too_long_is_named(building):
    made, _, other_run = building
    assert str(other_run.info.backend_pid) in one_line_error(
        command(made.url, "--lock-timeout", "0.5")
    )


@pytest.mark.parametrize("arguments", [("--check",), ("--rollback", "--force")])
def test_check_and_rollback_name_a_run_that_builds_an_index(building, arguments):
    made, _, other_run = building
    outcome = command(made.url, "--lock-timeout", "0.5", *arguments)
    assert str(other_run.info.backend_pid) in one_line_error(outcome)


def test_index_is_built_after_an_open_transaction_ends(no_date_index, hold):
    holder = hold(no_date_index, "UPDATE weekly_actuals SET week_number = week_number")
    with delayed(1.5, holder.rollback):
        assert command(no_date_index.url).answer == "migrated"
    no_date_index.assert_specified()


def test_writers_continue_during_a_repair(half):
    half.execute(
        "INSERT INTO workflows SELECT 'new_' || n, workflow_type, forecast_id, "
        "category_id, status, NULL, "
        "NULL, 12, season_start_date, replenishment_strategy, 0.4 "
        "FROM workflows, generate_series(0, 3000) n "
        "WHERE workflow_id = 'wf_1'"
    )
    insert = (
        "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, "
        "week_end_date, store_id, category_id, "
        "actual_units_sold) VALUES ('{}', 1, '2025-01-06', '2025-01-12', 'S001', "
        "'dresses', 1)"
    )
    with Writer(half, insert) as writer:
        assert command(half.url).answer == "migrated"
    assert writer.error is None
    assert len(half.rows()) == 3 + writer.rows


@pytest.fixture
def identity(world):
    items = {"id": "id INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY"}
    return world("postgresql").make(
        State(
            "an identity", REPAIRED, items=items, without=("idx_weekly_actuals_date",)
        )
    )


def test_identity_generated_always_passes_the_smoke_test(identity):
    outcome = command(identity.url)
    assert (outcome.code, outcome.report["smoke_test"]) == (0, STEPS)
    assert identity.insert_without_id() == 1


# -- runs without changes


def test_run_without_changes_takes_at_most_four_round_trips(complete):
    parts = urlsplit(complete.url)
    with Relay(parts.hostname, parts.port or 5432) as relay:
        database = db.connect(url_of(complete, host="127.0.0.1", port=relay.port))
        database.connect()
        relay.trips = 0
        assert phase_4_5.ensure(database) is False
        assert 1 <= relay.trips <= 4
        database.close()


def test_run_without_changes_takes_no_lock_and_writes_nothing(complete):
    database, seen = db.connect(complete.url), []

    def read_locks(event):
        seen.append(complete.query(ADVISORY))
        seen.append(
            complete.query(
                "SELECT relation FROM pg_locks JOIN pg_class c ON c.oid = relation "
                "WHERE c.relname IN "
                "('weekly_actuals', 'stores', 'workflows', 'categories') OR locktype = "
                "'transactionid'"
            )
        )

    database.query_hooks.append(read_locks)
    assert phase_4_5.ensure(database) is False
    assert seen
    assert not any(seen)


def test_run_without_changes_works_on_a_read_only_server(second_database):
    complete = second_database.make(COMPLETE, filled=True)
    complete.execute(
        f"ALTER DATABASE {complete.name} SET default_transaction_read_only = on"
    )
    assert phase_4_5.ensure(db.connect(complete.url)) is False


def test_run_on_a_read_only_server_reports_a_one_line_error(second_database):
    half = second_database.make(HALF, filled=True)
    half.execute(f"ALTER DATABASE {half.name} SET default_transaction_read_only = on")
    assert "read-only" in one_line_error(command(half.url))
