"""Calls inside an application: its connections, settings and logging are restored."""

import contextlib
import gc
import json
import logging
import os
import sqlite3
import subprocess
import sys
import threading

import peewee
import pytest
from application import (
    APPLICATION_DATA,
    APPLICATION_TABLES,
    ORPHAN,
    OTHER_ORM_SHAPE,
    ROOT,
    SPECIFICATION_SHAPE,
    dump,
    execute,
    fetch,
)
from playhouse.pool import PooledSqliteDatabase

import db
from db.models import MODELS, WeeklyActuals
from migrations import phase_4_5

CALLS = {
    "ensure": phase_4_5.ensure,
    "run": phase_4_5.run,
    "check": phase_4_5.check,
    "rollback": phase_4_5.rollback,
}
EVERY_CALL = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
REPAIRED = SPECIFICATION_SHAPE.replace(
    "week_number INTEGER NOT NULL", "week_number INTEGER"
)
REBUILT = SPECIFICATION_SHAPE.replace(
    "week_number INTEGER NOT NULL", "week_number TEXT NOT NULL"
)


def has_table(file):
    return bool(
        fetch(file, "SELECT 1 FROM sqlite_master WHERE name = 'weekly_actuals'")
    )


@pytest.fixture
def memory():
    database = peewee.SqliteDatabase(":memory:", pragmas={"foreign_keys": 1})
    database.connect()
    database.connection().executescript(APPLICATION_TABLES + APPLICATION_DATA)
    yield database
    database.close()


# -- connections


@EVERY_CALL
def test_open_connection_stays_open_and_is_the_same(memory, call):
    connection = memory.connection()
    call(memory)
    assert memory.connection() is connection


def test_in_memory_database_survives_a_run(memory):
    assert phase_4_5.ensure(memory) is True
    assert phase_4_5.ensure(memory) is False
    assert memory.execute_sql("SELECT count(*) FROM historical_sales").fetchone() == (
        1234,
    )


@pytest.mark.parametrize("shape", [REPAIRED, REBUILT], ids=["edited", "rebuilt"])
def test_in_memory_database_survives_a_repair(memory, shape):
    memory.connection().executescript(shape)
    assert phase_4_5.run(memory).status == "migrated"


@EVERY_CALL
def test_closed_database_is_closed_afterwards(database, call):
    call(database)
    assert database.is_closed()


@EVERY_CALL
def test_closed_database_is_closed_after_a_failure(path, database, call):
    execute(path, "DROP TABLE stores; CREATE VIEW weekly_actuals AS SELECT 1 AS id")
    with pytest.raises(phase_4_5.MigrationError):
        call(database)
    assert database.is_closed()


def test_open_connection_stays_open_after_a_failure(path, database):
    execute(path, "DROP TABLE stores")
    with database.connection_context():
        with pytest.raises(phase_4_5.MissingTables):
            phase_4_5.run(database)
        assert database.execute_sql("SELECT count(*) FROM categories").fetchone() == (
            1,
        )


def test_database_without_autoconnect_is_migrated(path):
    database = peewee.SqliteDatabase(path, autoconnect=False)
    assert phase_4_5.run(database).status == "migrated"
    assert database.is_closed()


def test_path_object_names_the_file(path):
    assert phase_4_5.ensure(peewee.SqliteDatabase(path)) is True


def test_subclass_of_sqlite_database_is_migrated(path):
    class Mine(peewee.SqliteDatabase):
        pass

    assert phase_4_5.run(Mine(path)).smoke_test["cascade"] is True


def test_database_in_a_with_statement_is_migrated(path, database):
    with database:
        phase_4_5.ensure(database)
    assert has_table(path)


# -- the caller's transaction


@pytest.mark.parametrize(
    "shape", ["", REPAIRED, REBUILT], ids=["created", "edited", "rebuilt"]
)
def test_rollback_of_peewees_transaction_undoes_the_run(path, shape):
    execute(path, shape)
    before = dump(path)
    # Without foreign keys: with them, a rebuild inside a transaction is refused.
    database = peewee.SqliteDatabase(path)
    with database.atomic() as transaction:
        assert phase_4_5.ensure(database) is True
        transaction.rollback()
    assert dump(path) == before


def test_exception_in_the_callers_transaction_undoes_the_run(path, database):
    def fail():
        with database.atomic():
            phase_4_5.ensure(database)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not has_table(path)


def test_rollback_of_a_plain_transaction_undoes_the_run(path, database):
    before = dump(path)
    with database.connection_context():
        database.execute_sql("BEGIN")
        assert phase_4_5.run(database).status == "migrated"
        database.execute_sql("ROLLBACK")
    assert dump(path) == before


def test_commit_of_a_plain_transaction_keeps_the_run(path, database):
    with database.connection_context():
        database.execute_sql("BEGIN")
        database.execute_sql("UPDATE stores SET region = 'SOUTHEAST'")
        phase_4_5.run(database)
        database.execute_sql("COMMIT")
    assert has_table(path)
    assert fetch(path, "SELECT DISTINCT region FROM stores") == [("SOUTHEAST",)]


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN IMMEDIATE", "SAVEPOINT mine"])
def test_transaction_of_the_caller_stays_open(database, begin):
    with database.connection_context():
        database.execute_sql(begin)
        phase_4_5.run(database)
        assert database.connection().in_transaction
        database.execute_sql("ROLLBACK")


def test_rollback_of_a_nested_transaction_undoes_the_run(path, database):
    with database.atomic():
        with database.atomic() as inner:
            phase_4_5.run(database)
            inner.rollback()
        database.execute_sql("UPDATE stores SET region = 'WEST'")
    assert not has_table(path)


def test_failed_run_keeps_earlier_changes_of_the_transaction(path, database):
    execute(path, "CREATE TABLE idx_weekly_actuals_date (x)")
    with database.atomic():
        database.execute_sql("UPDATE stores SET region = 'WEST'")
        with pytest.raises(phase_4_5.MigrationError):
            phase_4_5.run(database)
    assert fetch(path, "SELECT DISTINCT region FROM stores") == [("WEST",)]
    assert not has_table(path)


def test_uncommitted_rows_of_the_caller_are_counted(database):
    with database.atomic() as transaction:
        database.execute_sql("DELETE FROM historical_sales")
        assert phase_4_5.run(database).row_counts["historical_sales"] == 0
        transaction.rollback()


def test_rollback_inside_a_transaction_can_be_undone(path, database):
    phase_4_5.ensure(database)
    with database.atomic() as transaction:
        assert phase_4_5.rollback(database).status == "rolled_back"
        transaction.rollback()
    assert has_table(path)


def test_unsafe_rebuild_inside_a_transaction_is_refused(path, database):
    execute(path, REBUILT)
    with (
        database.atomic(),
        pytest.raises(phase_4_5.ChangeRefused, match="not safe inside a transaction"),
    ):
        phase_4_5.run(database)


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_edit_inside_a_transaction_ends_with_it(path, database, end):
    execute(path, REPAIRED + ORPHAN.replace("test_workflow", "W1"))
    before = dump(path)
    with database.connection_context():
        database.execute_sql("BEGIN")
        assert phase_4_5.run(database).status == "migrated"
        database.execute_sql(end)
        refused = (
            contextlib.nullcontext()
            if end == "ROLLBACK"
            else pytest.raises(peewee.IntegrityError)
        )
        with refused:
            database.execute_sql("UPDATE weekly_actuals SET week_number = NULL")
    if end == "ROLLBACK":
        execute(path, "UPDATE weekly_actuals SET week_number = 1")
        assert dump(path) == before


def test_smoke_test_inside_a_transaction_keeps_the_rows(database):
    with database.atomic() as transaction:
        phase_4_5.ensure(database)
        database.execute_sql(
            "INSERT INTO categories SELECT 'C2', 'x', 'x', 'x', 1, archetype, 'x', 'x' "
            "FROM categories"
        )
        assert phase_4_5.run(database).smoke_test["cascade"] is True
        assert database.execute_sql("SELECT count(*) FROM categories").fetchone() == (
            2,
        )
        transaction.rollback()


# -- proxies and pools


def test_initialised_proxy_is_accepted(path, database):
    proxy = peewee.DatabaseProxy()
    proxy.initialize(database)
    assert phase_4_5.run(proxy).status == "migrated"
    assert database.is_closed()


@pytest.mark.parametrize(
    "nothing", [peewee.DatabaseProxy(), None, "sqlite:///file.db", object()]
)
def test_object_that_is_no_database_is_refused(nothing):
    with pytest.raises(
        phase_4_5.MigrationError, match="expected an initialised Peewee database"
    ):
        phase_4_5.run(nothing)


def test_uninitialised_database_is_refused():
    with pytest.raises(phase_4_5.MigrationError):
        phase_4_5.run(peewee.SqliteDatabase(None))


@pytest.fixture
def pool(path):
    pool = PooledSqliteDatabase(
        str(path), max_connections=1, pragmas={"foreign_keys": 1, "busy_timeout": 1234}
    )
    yield pool
    pool.close_all()


@EVERY_CALL
def test_pooled_connection_returns_to_the_pool(pool, call):
    for _ in range(3):
        call(pool)
    assert pool.is_closed()
    assert len(pool._in_use) == 0


def test_pooled_connection_keeps_its_pragmas(pool):
    phase_4_5.run(pool)
    with pool.connection_context():
        assert (pool.pragma("foreign_keys"), pool.pragma("busy_timeout")) == (1, 1234)


def test_open_pooled_connection_stays_open(pool):
    with pool.connection_context():
        phase_4_5.run(pool)
        assert not pool.is_closed()


# -- threads


def all_at_once(work, items):
    """Run `work(item)` in threads that start together, and return the results."""
    barrier, answers = threading.Barrier(len(items)), {}

    def start(item):
        barrier.wait()
        try:
            answers[item] = work(item)
        except Exception as error:
            answers[item] = error

    threads = [threading.Thread(target=start, args=(item,)) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answers[item] for item in items]


def test_run_leaves_no_cursor_to_the_garbage_collector(database):
    """The collector may run in another thread, where Python 3.10 waits for ever."""
    gc.collect()
    before = {id(each) for each in gc.get_objects() if isinstance(each, sqlite3.Cursor)}
    gc.disable()
    try:
        phase_4_5.run(database)
        assert not [
            each
            for each in gc.get_objects()
            if isinstance(each, sqlite3.Cursor) and id(each) not in before
        ]
    finally:
        gc.enable()


def test_eight_threads_migrate_eight_databases_at_once(tmp_path, path):
    files = [tmp_path / f"{number}.db" for number in range(8)]
    for file in files:
        file.write_bytes(path.read_bytes())
    answers = all_at_once(
        lambda file: phase_4_5.run(db.connect(f"sqlite:///{file}")).to_dict(), files
    )
    assert [answer["status"] for answer in answers] == ["migrated"] * 8
    assert {dump(file) for file in files} == {dump(files[0])}


def test_eight_threads_on_different_databases_are_independent(tmp_path, path):
    missing = "DROP TABLE stores"
    scripts = [
        "",
        SPECIFICATION_SHAPE,
        REPAIRED,
        missing,
        "",
        SPECIFICATION_SHAPE,
        REBUILT,
        missing,
    ]
    files = [tmp_path / f"{number}.db" for number in range(8)]
    for file, script in zip(files, scripts):
        file.write_bytes(path.read_bytes())
        execute(file, script)
    answers = all_at_once(
        lambda file: phase_4_5.ensure(db.connect(f"sqlite:///{file}")), files
    )
    assert answers[:3] == answers[4:7] == [True, False, True]
    assert isinstance(answers[3], phase_4_5.MissingTables)


def test_eight_threads_on_one_database_object_migrate_once(path, database):
    answers = all_at_once(lambda _: phase_4_5.ensure(database), range(8))
    assert sorted(answers) == [False] * 7 + [True]


def test_eight_threads_migrate_eight_in_memory_databases():
    def work(_):
        database = peewee.SqliteDatabase(":memory:", pragmas={"foreign_keys": 1})
        with database.connection_context():
            database.connection().executescript(APPLICATION_TABLES)
            return all(phase_4_5.run(database).smoke_test.values())

    assert all_at_once(work, range(8)) == [True] * 8


# -- models


def test_bound_models_keep_their_binding(path, database, tmp_path):
    elsewhere = peewee.PostgresqlDatabase("elsewhere")
    with elsewhere.bind_ctx(MODELS):
        phase_4_5.run(database)
        phase_4_5.rollback(database)
        assert {model._meta.database for model in MODELS} == {elsewhere}


def test_binding_of_the_models_does_not_change_the_plan(path, database):
    with peewee.PostgresqlDatabase("elsewhere").bind_ctx(MODELS):
        bound = [each.sql for each in phase_4_5.check(database).changes]
    assert bound == [each.sql for each in phase_4_5.check(database).changes]


def test_unbound_models_stay_unbound(database):
    phase_4_5.run(database)
    assert WeeklyActuals._meta.database is None


# -- PRAGMAs

CHANGED_PRAGMAS = (
    "foreign_keys",
    "busy_timeout",
    "legacy_alter_table",
    "ignore_check_constraints",
    "recursive_triggers",
)
PRAGMAS = (
    *CHANGED_PRAGMAS,
    "defer_foreign_keys",
    "writable_schema",
    "synchronous",
    "query_only",
    "cache_size",
)


@EVERY_CALL
@pytest.mark.parametrize("shape", ["", REPAIRED, REBUILT, SPECIFICATION_SHAPE], ids=[
    "missing", "to edit", "to rebuild", "complete"])  # fmt: skip
@pytest.mark.parametrize("value", [0, 1])
def test_pragmas_are_restored(path, call, shape, value):
    execute(path, shape)
    database = peewee.SqliteDatabase(path)
    with database.connection_context():
        for name in CHANGED_PRAGMAS:
            database.pragma(name, value)
        before = [database.pragma(name) for name in PRAGMAS]
        call(database)
        assert [database.pragma(name) for name in PRAGMAS] == before


@EVERY_CALL
def test_pragmas_are_restored_after_a_failure(path, call):
    execute(path, "DROP TABLE stores; CREATE VIEW weekly_actuals AS SELECT 1 AS id")
    database = peewee.SqliteDatabase(
        path, pragmas={"busy_timeout": 77, "legacy_alter_table": 1}
    )
    with database.connection_context():
        before = [database.pragma(name) for name in PRAGMAS]
        with pytest.raises(phase_4_5.MigrationError):
            call(database)
        assert [database.pragma(name) for name in PRAGMAS] == before


def test_pragmas_are_restored_after_a_lock_timeout(path):
    database = peewee.SqliteDatabase(
        path, pragmas={"busy_timeout": 77, "foreign_keys": 1}
    )
    other = peewee.SqliteDatabase(path)
    with database.connection_context(), other.atomic("IMMEDIATE"):
        before = [database.pragma(name) for name in PRAGMAS]
        with pytest.raises(phase_4_5.LockTimeout):
            phase_4_5.run(database, lock_timeout=0.1)
        assert [database.pragma(name) for name in PRAGMAS] == before


def test_table_of_an_attached_database_is_not_the_managed_one(
    path, empty_path, database
):
    phase_4_5.ensure(db.connect(f"sqlite:///{empty_path}"))
    with database.connection_context():
        database.attach(str(empty_path), "other")
        assert phase_4_5.run(database).status == "migrated"
    assert has_table(path)


def test_temporary_table_of_the_name_is_not_the_managed_one(path, database):
    with database.connection_context():
        database.execute_sql("CREATE TEMPORARY TABLE weekly_actuals (x)")
        try:
            phase_4_5.run(database)
        except phase_4_5.MigrationError:
            return
    assert has_table(path)


def test_temporary_table_does_not_hide_a_dependent_table(path, database):
    phase_4_5.ensure(database)
    execute(path, "CREATE TABLE child (parent REFERENCES weekly_actuals (id))")
    with database.connection_context():
        database.execute_sql("CREATE TEMPORARY TABLE child (parent)")
        with pytest.raises(
            phase_4_5.MigrationError, match="the table child depends on weekly_actuals"
        ):
            phase_4_5.rollback(database)
    assert has_table(path)


# -- errors


def test_missing_tables_raise_an_exception(path, database):
    execute(path, "DROP TABLE stores")
    with pytest.raises(phase_4_5.MissingTables):
        phase_4_5.ensure(database)


def test_driver_error_is_raised_without_its_chain(tmp_path):
    (tmp_path / "no.db").write_text("x" * 5000)
    with pytest.raises(phase_4_5.DatabaseUnavailable) as caught:
        phase_4_5.run(db.connect(f"sqlite:///{tmp_path}/no.db"))
    assert caught.value.__suppress_context__


# -- logging, files, imports


@EVERY_CALL
def test_call_configures_no_logging(database, call):
    def state():
        loggers = [
            logging.getLogger(),
            *map(
                logging.getLogger,
                ("migrations", "migrations.phase_4_5", "peewee", "db"),
            ),
        ]
        return [
            (each.level, list(each.handlers), each.propagate, each.disabled)
            for each in loggers
        ]

    before = state()
    call(database)
    assert state() == before


def test_handlers_of_the_caller_get_the_log(database, caplog):
    with caplog.at_level(logging.INFO, "migrations"):
        phase_4_5.ensure(database)
    assert any("CREATE TABLE" in message for message in caplog.messages)


def test_call_writes_no_other_files(path, database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for call in CALLS.values():
        call(database)
    assert sorted(tmp_path.rglob("*")) == before


@EVERY_CALL
def test_call_prints_nothing(path, call):
    execute(path, OTHER_ORM_SHAPE + ORPHAN)
    name = call.__name__
    extra = ", force=True" if name == "rollback" else ""
    script = (
        "import db; from migrations import phase_4_5; "
        f"phase_4_5.{name}(db.connect('sqlite:///{path}'){extra})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


IMPORTS = """
import sys, logging
opened = []
CONNECTING = {"sqlite3.connect", "socket.connect", "socket.bind", "subprocess.Popen"}
def hook(event, args):
    if event in CONNECTING:
        opened.append((event, args))
    if event == "open" and set(args[1] or "") & set("wax+"):
        if "__pycache__" not in str(args[0]):
            opened.append((event, args))
sys.addaudithook(hook)
import db, db.models, db.init_db, db.url
import migrations, migrations.phase_4_5, migrations.command
import migrations.engines.sqlite.engine, migrations.smoke_test, migrations.preflight
names = (None, "migrations", "migrations.phase_4_5")
loggers = [logging.getLogger(name) for name in names]
handlers = [handler for each in loggers for handler in each.handlers]
assert not any(isinstance(each, logging.StreamHandler) for each in handlers), loggers
assert [each.level for each in loggers] == [logging.WARNING, 0, 0]
assert not opened, opened
"""


def test_import_configures_nothing_and_opens_nothing(tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": f"sqlite:///{tmp_path}/new.db",
    }
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


# -- the report


def test_report_has_the_documented_attributes(database):
    report = phase_4_5.run(
        database, smoke_test=True, statistics=True, lock_timeout=10.0
    )
    for part in ("status", "changes", "differences", "smoke_test", "row_counts"):
        assert hasattr(report, part)
    assert report.to_dict()["status"] == "migrated"


def test_report_is_immutable(database):
    report = phase_4_5.check(database)
    with pytest.raises(AttributeError):
        report.status = "migrated"


def test_report_as_a_dictionary_can_be_written_as_json(database):
    document = phase_4_5.run(database).to_dict()
    assert json.loads(json.dumps(document)) == document
