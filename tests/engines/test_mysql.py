"""What MySQL does differently from MariaDB, and what its operators are spared.

The tests of MariaDB run on MySQL as well, in the exhaustive run.
"""

import contextlib
import logging
import os
import socket
import threading
import time

import drivers
import peewee
import pymysql
import pytest
from drivers import MYSQL97
from engines.mysql_server import MySQLServer
from engines.servers import COMPLETE, HALF, NOTHING, STORE, new_connection, url_of
from peewee import SQL, CharField, DateField, IntegerField, TextField
from states import REPAIRED, State, row

import db
from db.fields import JSONField
from db.init_db import init_db
from migrations import phase_4_5
from migrations.engines import engine_for
from migrations.errors import ChangeRefused, DatabaseUnavailable, LockTimeout
from migrations.phase import Phase

pytestmark = [
    pytest.mark.drivers("mysql97"),
    pytest.mark.xdist_group("mysql97"),  # with loadgroup, one process starts a server
]
STEPS = dict.fromkeys(
    ("insert", "select", "unique", "foreign_keys", "cascade", "cleanup"), True
)


@pytest.fixture
def engine():
    return MYSQL97


@pytest.fixture
def empty(world, engine):
    made = world(engine)
    made.clear()
    return made


def items(constraints=(), **fields):
    """Return a phase of a table `item`."""
    meta = type("Meta", (), {"table_name": "item", "constraints": list(constraints)})
    model = type("Item", (peewee.Model,), {**fields, "Meta": meta})
    return Phase("Items", requires={}, manages=[model])


# -- the main job


@pytest.mark.parametrize("state", [NOTHING, HALF, COMPLETE], ids=lambda each: each.name)
def test_table_is_created_or_repaired_once(world, engine, state):
    made = world(engine).make(state, filled=state is not NOTHING)
    database = db.connect(made.url)
    expected = "up_to_date" if state is COMPLETE else "migrated"
    report = phase_4_5.run(database)
    assert (report.status, report.smoke_test) == (expected, STEPS)
    assert report.backend == "mysql"
    assert phase_4_5.run(database).status == "up_to_date"
    made.assert_specified()
    assert phase_4_5.rollback(database, force=True).status == "rolled_back"


@pytest.mark.parametrize("dropped", ["text", "data"])
def test_text_and_json_have_their_defaults(empty, dropped):
    """They are expressions on MySQL, and so a column that is added is copied."""
    phase = items(
        text=TextField(constraints=[SQL("DEFAULT 'it''s new'")]),
        data=JSONField(constraints=[SQL("DEFAULT '[1]'")]),
    )
    database = db.connect(empty.url)
    assert phase.run(database).status == "migrated"
    assert phase.check(database).status == "up_to_date"
    empty.execute(
        "INSERT INTO item () VALUES ()", f"ALTER TABLE item DROP COLUMN {dropped}"
    )
    report = phase.run(database)
    assert [change.blocks for change in report.changes] == ["writes"]
    assert empty.query("SELECT text, data FROM item") == [("it's new", "[1]")]
    assert phase.check(database).status == "up_to_date"


def test_column_is_added_without_a_copy(empty):
    phase = items(number=IntegerField(null=True))
    empty.execute("CREATE TABLE item (id INT AUTO_INCREMENT PRIMARY KEY)")
    (change,) = phase.run(db.connect(empty.url)).changes
    assert change.sql.endswith("ADD COLUMN `number` INTEGER, LOCK=NONE")


# -- CHECK constraints

POSITIVE = SQL("CONSTRAINT positive CHECK (price > 0 AND label LIKE 'no. %')")


@pytest.fixture
def priced(empty):
    """A table with a CHECK, and its phase."""
    phase = items([POSITIVE], price=IntegerField(), label=CharField(20))
    phase.run(db.connect(empty.url), smoke_test=False)
    return empty, phase


def test_smoke_test_makes_rows_that_a_check_accepts(priced):
    made, phase = priced
    report = phase.run(db.connect(made.url))
    assert report.status == "up_to_date"
    assert report.smoke_test["insert"] is True


def test_check_that_is_not_enforced_is_enforced_again(priced):
    made, phase = priced
    database = db.connect(made.url)
    made.execute(
        "ALTER TABLE item ALTER CHECK positive NOT ENFORCED",
        "INSERT INTO item (price, label) VALUES (-1, 'no. 1')",
    )
    with pytest.raises(ChangeRefused, match=r"positive.*1 row"):
        phase.check(database)
    made.execute("UPDATE item SET price = 1")
    assert phase.run(database).status == "migrated"
    assert phase.check(database).status == "up_to_date"


def test_name_of_a_check_of_another_table_is_refused(empty):
    empty.execute("CREATE TABLE other (a INT, CONSTRAINT positive CHECK (a > 0))")
    phase = items([POSITIVE], price=IntegerField(), label=CharField(20))
    with pytest.raises(ChangeRefused, match="DROP CHECK `positive`"):
        phase.check(db.connect(empty.url))


# -- values that MySQL would change without an error


@pytest.mark.parametrize("text", ["12.0", "007", "+7", "7 ", r"7\n", "1e1"])
def test_text_that_is_no_number_is_refused(empty, text):
    empty.execute(
        "CREATE TABLE item (id INT AUTO_INCREMENT PRIMARY KEY, number VARCHAR(9))",
        f"INSERT INTO item (number) VALUES ('{text}')",
    )
    phase = items(number=IntegerField(null=True))
    with pytest.raises(ChangeRefused, match=r"item\.number: .*: 1 row \(id 1\)"):
        phase.check(db.connect(empty.url))


def test_check_allows_a_date_of_zeros_in_a_condition(empty):
    empty.execute(
        "CREATE TABLE item (id INT AUTO_INCREMENT PRIMARY KEY, day DATE)",
        "INSERT INTO item (day) VALUES ('2026-12-01')",
    )
    known = peewee.SQL("CONSTRAINT known CHECK (day > '0000-00-00')")
    phase = items([known], day=DateField(null=True))
    database = db.connect(empty.url)
    assert phase.check(database).status == "pending"
    assert phase.run(database).status == "migrated"


def test_column_that_a_check_compares_with_zero_becomes_no_date(empty):
    """MySQL would write DATE'0000-00-00', and nobody could read the table."""
    empty.execute(
        "CREATE TABLE item (id INT AUTO_INCREMENT PRIMARY KEY, day BIT(1), n INT, "
        "CONSTRAINT own CHECK (day > 0 OR n = 10))"
    )
    phase = items(day=DateField(null=True, index=True), n=IntegerField(null=True))
    with pytest.raises(ChangeRefused) as refused:
        phase.check(db.connect(empty.url))
    assert str(refused.value) == (
        "item.day has to become a date, and the CHECK own (((`day` > 0) or (`n` = "
        "10))) compares with 0, of which MySQL would make a zero date that most "
        "sessions cannot read; drop it, then run again"
    )
    empty.execute("ALTER TABLE item DROP CHECK own")
    empty.execute("ALTER TABLE item ADD CONSTRAINT own CHECK (n <> 10)")
    database = db.connect(empty.url)
    assert phase.run(database).status == "migrated"
    assert phase.check(database).status == "up_to_date"


# -- locks

READ = "SELECT * FROM stores"


def longest_read(world, stop):
    """Return the seconds that the slowest of repeated reads of a parent took."""
    longest = 0
    with contextlib.closing(new_connection(world.url)) as reader:
        cursor = reader.cursor()
        while not stop.is_set():
            started = time.monotonic()
            cursor.execute(READ)
            cursor.fetchall()
            longest = max(longest, time.monotonic() - started)
    return longest


def test_readers_of_a_parent_do_not_wait_for_a_run_that_waits(world, engine, hold):
    """MySQL's shortest lock_wait_timeout would hold them up for a second."""
    made = world(engine).make(NOTHING)
    hold(made, READ)
    stop, longest = threading.Event(), []
    thread = threading.Thread(target=lambda: longest.append(longest_read(made, stop)))
    thread.start()
    with pytest.raises(LockTimeout, match="waited for a metadata lock and was ended"):
        phase_4_5.run(db.connect(made.url), lock_timeout=1)
    stop.set()
    thread.join()
    assert 0.05 < longest[0] < 0.8


def test_run_that_waited_continues(world, engine, hold):
    made = world(engine).make(NOTHING)
    reader = hold(made, READ)
    timer = threading.Timer(0.5, reader.rollback)
    timer.start()
    assert phase_4_5.run(db.connect(made.url), smoke_test=False).status == "migrated"
    timer.join()


# -- foreign keys of a table that is copied

WIDE = State(
    "a wrong type",
    REPAIRED,
    items={"actual_units_sold": "actual_units_sold VARCHAR(9) NOT NULL"},
)


def test_copy_that_touches_no_key_does_not_open_the_parents(world, engine):
    made = world(engine).make(WIDE, filled=True)
    database = db.connect(made.url)
    (statement,) = phase_4_5.check(database).changes
    assert statement.settings == (("foreign_key_checks", "0"),)
    with database.connection_context():
        phase_4_5.run(database, smoke_test=False)
        checks = database.execute_sql("SELECT @@foreign_key_checks").fetchone()
    assert checks == (1,)
    with pytest.raises(pymysql.IntegrityError):
        made.insert({**row(90, week=50), "store_id": "nowhere"})


def test_script_sets_the_checks_for_one_statement(world, engine):
    made = world(engine).make(WIDE, filled=True)
    *_, before, _, after = phase_4_5.check(db.connect(made.url)).script
    assert before == "SET SESSION foreign_key_checks = 0;"
    assert after == "SET SESSION foreign_key_checks = 1;"


def test_new_foreign_key_announces_that_its_parent_is_blocked(world, engine, caplog):
    made = world(engine).make(HALF, filled=True)
    with caplog.at_level(logging.INFO, "migrations"):
        report = phase_4_5.run(db.connect(made.url), smoke_test=False)
    assert report.changes[-1].blocks == "writes"
    assert "checks each row, and blocks writes to stores as well" in caplog.text


# -- servers that are refused


def answering(database, answers):
    """Return a database in whose queries some texts are replaced."""

    class Answering(type(database)):
        def execute_sql(self, sql, params=None):
            for text, other in answers.items():
                sql = sql.replace(text, other)
            return super().execute_sql(sql, params)

    database.__class__ = Answering
    return database


@pytest.mark.parametrize("version", ["5.7.44-log", "8.0.15", "8.0.11-TiDB-v7.5.1"])
def test_older_server_is_refused_by_name(world, engine, version):
    made = world(engine).make(NOTHING)
    database = answering(db.connect(made.url), {"@@version": f"'{version}'"})
    with pytest.raises(DatabaseUnavailable) as refused:
        phase_4_5.run(database)
    assert f"is MySQL {version}; MySQL 8.0.16 or newer is needed" in str(refused.value)


SEVERAL_PRIMARIES = {
    "SHOW GLOBAL VARIABLES LIKE 'group_replication_single_primary_mode'": (
        "SELECT 'group_replication_single_primary_mode', 'OFF'"
    ),
    "FROM performance_schema.replication_group_members WHERE member_state IN "
    "('ONLINE', 'RECOVERING')": (
        "FROM (SELECT 'a' AS member_host, 3306 AS member_port, 'PRIMARY' AS "
        "member_role) AS members"
    ),
}


@pytest.mark.parametrize("call", [phase_4_5.check, phase_4_5.run])
def test_group_of_several_primaries_is_refused(world, engine, call):
    made = world(engine).make(HALF, filled=True)
    before = made.dump()
    database = answering(db.connect(made.url), SEVERAL_PRIMARIES)
    with pytest.raises(ChangeRefused, match="with several primaries"):
        call(database)
    assert made.dump() == before


def test_nothing_to_do_is_no_problem_with_several_primaries(world, engine):
    made = world(engine).make(COMPLETE, filled=True)
    database = answering(db.connect(made.url), SEVERAL_PRIMARIES)
    assert phase_4_5.ensure(database) is False


def test_read_only_server_names_the_primary(world, engine):
    made = world(engine).make(HALF, filled=True)
    answers = {**SEVERAL_PRIMARIES, "'OFF'": "'ON'"}
    url = url_of(made, query="init_command=SET%20transaction_read_only=1")
    with pytest.raises(DatabaseUnavailable, match="connect to the primary, a:3306"):
        phase_4_5.run(answering(db.connect(url), answers))


# -- the connection


def test_missing_package_is_named_in_one_line(world, engine, monkeypatch):
    """PyMySQL raises a RuntimeError, which is no error of a database."""
    made = world(engine)
    made.execute(
        "DROP USER IF EXISTS with_password",
        "CREATE USER with_password IDENTIFIED BY 'hunter2'",
        "FLUSH PRIVILEGES",  # and what is cached of them
    )
    monkeypatch.setattr("pymysql._auth._have_cryptography", False)
    url = url_of(
        made, user="with_password", password="hunter2", query="ssl_disabled=true"
    )
    options = db.connect(url).connect_params
    for database in (db.connect(url), peewee.MySQLDatabase(made.name, **options)):
        with pytest.raises(DatabaseUnavailable) as refused:
            phase_4_5.check(database)
        assert "run: pip install 'PyMySQL[rsa]'" in str(refused.value)
        assert "hunter2" not in str(refused.value)
    with pytest.raises(peewee.OperationalError, match="PyMySQL"):
        db.connect(url).connect()
    made.execute("DROP USER with_password")


@pytest.mark.parametrize("begin", [True, False])
def test_server_is_asked_for_an_open_transaction(world, engine, begin):
    """For a driver that does not know it, as mysqlclient."""
    made = world(engine).make(COMPLETE)
    database = db.connect(made.url)
    session = engine_for(database, phase_4_5.phase.models, 1.0).session
    with session.connected():
        if begin:
            database.execute_sql("START TRANSACTION")
            database.execute_sql(STORE.format("new"))
        assert session.server.is_in_transaction() is begin
        database.rollback()


# -- Group Replication

GROUP = "8a94f357-aab4-11df-86ab-c80aa9429562"


@pytest.fixture
def group(engine):
    """A server of its own that is the only member of a group, with one primary."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    try:
        server = MySQLServer(
            os.environ.get("MYSQL97", ""),
            "--log-bin",
            "--server-id=1",
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
            "--plugin-load-add=group_replication.so",
            f"--group-replication-group-name={GROUP}",
            f"--group-replication-local-address=127.0.0.1:{port}",
            "--group-replication-start-on-boot=OFF",
        )
    except LookupError as error:
        drivers.leave_out("mysql97", error)
    with contextlib.closing(new_connection(server.url)) as connection:
        cursor = connection.cursor()
        cursor.execute("SET GLOBAL group_replication_bootstrap_group = ON")
        cursor.execute("START GROUP_REPLICATION")
        cursor.execute("CREATE DATABASE shop")
        yield f"{server.url}shop", cursor
    server.stop()


@pytest.mark.exhaustive
def test_group_with_one_primary_is_migrated_and_with_several_refused(group):
    url, cursor = group
    init_db(db.connect(url), base_only=True)
    report = phase_4_5.run(db.connect(url))
    assert (report.status, report.smoke_test) == ("migrated", STEPS)
    cursor.execute("ALTER TABLE shop.weekly_actuals DROP INDEX idx_weekly_actuals_date")
    cursor.execute("SELECT group_replication_switch_to_multi_primary_mode()")
    for call in (phase_4_5.check, phase_4_5.run):
        with pytest.raises(ChangeRefused, match="with several primaries"):
            call(db.connect(url))
    cursor.execute("SELECT group_replication_switch_to_single_primary_mode()")
    assert phase_4_5.run(db.connect(url)).status == "migrated"
    assert phase_4_5.rollback(db.connect(url)).status == "rolled_back"
