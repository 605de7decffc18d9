r"""Other drivers, pools and older versions of the SQLite library.

An older library is loaded in place of Python's by LD_LIBRARY_PATH. It can be compiled
from an npm package, for instance:

    npm pack better-sqlite3@7.0.0
    tar xzf better-sqlite3-7.0.0.tgz && tar xzf package/deps/sqlite3.tar.gz
    cc -O1 -shared -fPIC -DSQLITE_ENABLE_COLUMN_METADATA -DSQLITE_ENABLE_DESERIALIZE \
        -DSQLITE_ENABLE_FTS5 sqlite3.c -o old/libsqlite3.so.0 -lm -ldl -lpthread
    SQLITE_LIBRARIES=old pytest tests/test_sqlite_libraries.py

`SQLITE_LIBRARIES` lists folders with a `libsqlite3.so.0` in each, as PATH does.
"""

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import drivers
import peewee
import pytest
from engines.worlds import SQLite
from playhouse.pool import PooledSqliteDatabase
from states import REPAIRED, State, row

from migrations import phase_4_5

ROOT = Path(__file__).parents[1]
STATES = {
    "fresh": State("fresh", REPAIRED),
    "to be edited": State(
        "to be edited",
        REPAIRED,
        items={"week_number": "week_number INTEGER", "unique": None},
    ),
    "to be rebuilt": State(
        "to be rebuilt", REPAIRED, items={"week_number": "week_number TEXT NOT NULL"}
    ),
}
every_state = pytest.mark.parametrize("state", STATES.values(), ids=STATES)
ROWS = tuple(row(id, week=id) for id in range(1, 5))
PRAGMAS = {"foreign_keys": 1}


@pytest.fixture
def made(tmp_path, state):
    world = SQLite(tmp_path / "app.db").make(state)
    if state.items is not None:
        world.insert(*ROWS)
    yield world
    world.drop()


# -- other drivers


OLD = not hasattr(peewee, "QueryEvent")  # before 4.5


def require_peewee_errors(package):
    drivers.require_package(package)
    if OLD:
        pytest.skip("refused before Peewee 4.5")


def apsw(path):
    require_peewee_errors("apsw")
    from playhouse.apsw_ext import APSWDatabase

    return APSWDatabase(path, pragmas=PRAGMAS)


def cysqlite(path):
    require_peewee_errors("cysqlite")
    from playhouse.cysqlite_ext import CySqliteDatabase

    return CySqliteDatabase(path, pragmas=PRAGMAS)


def cysqlite_pool(path):
    require_peewee_errors("cysqlite")
    from playhouse.cysqlite_ext import PooledCySqliteDatabase

    return PooledCySqliteDatabase(path, pragmas=PRAGMAS)


def pool(path):
    return PooledSqliteDatabase(path, pragmas=PRAGMAS)


@every_state
@pytest.mark.parametrize("driver", [apsw, cysqlite, cysqlite_pool, pool])
def test_other_driver_migrates_checks_and_rolls_back(made, driver):
    before = made.rows() if made.columns() else {}
    database = driver(str(made.path))
    report = phase_4_5.run(database)
    assert report.status == "migrated"
    assert all(report.smoke_test.values())
    assert database.is_closed()
    made.assert_specified()
    assert made.rows() == before
    assert phase_4_5.check(database).status == "up_to_date"
    assert phase_4_5.rollback(database, force=True).status == "rolled_back"


@every_state
@pytest.mark.parametrize("driver", [apsw, cysqlite, pool])
def test_open_connection_of_another_driver_is_left_unchanged(made, driver):
    database = driver(str(made.path))
    with database.connection_context():
        connection = database.connection()
        before = [database.pragma(name) for name in ("foreign_keys", "busy_timeout")]
        assert phase_4_5.ensure(database) is True
        assert database.connection() is connection
        assert [
            database.pragma(name) for name in ("foreign_keys", "busy_timeout")
        ] == before


# In another process: two libraries in one process do not see each other's locks.
HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print(flush=True)
sys.stdin.read()
"""


@every_state
@pytest.mark.parametrize("driver", [apsw, cysqlite, pool])
def test_other_driver_obeys_the_lock_timeout(made, driver):
    command = [sys.executable, "-c", HOLDER, str(made.path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        holder.stdout.readline()
        with pytest.raises(phase_4_5.LockTimeout, match="lock-timeout"):
            phase_4_5.run(driver(str(made.path)), lock_timeout=0.1)
        holder.communicate()
    assert phase_4_5.ensure(driver(str(made.path))) is True


@every_state
def test_encrypted_file_is_migrated(made, tmp_path, state):
    drivers.require_package("sqlcipher3")
    from playhouse.sqlcipher_ext import SqlCipherDatabase

    def connect(pragmas=None):
        return SqlCipherDatabase(
            str(tmp_path / "secret.db"),
            passphrase="o'pen sesame",
            pragmas=pragmas or {},
        )

    copy = connect()
    with copy.connection_context():
        for statement in made.connection.iterdump():
            if "sqlite_sequence" not in statement:
                copy.execute_sql(statement)
    report = phase_4_5.run(connect(PRAGMAS))
    assert report.status == "migrated"
    assert all(report.smoke_test.values())
    assert "sesame" not in str(report)
    with copy.connection_context():
        counted = copy.execute_sql("SELECT count(*) FROM weekly_actuals").fetchone()
    assert counted == (0 if state.items is None else len(ROWS),)
    with pytest.raises(phase_4_5.DatabaseUnavailable) as refused:
        phase_4_5.run(
            SqlCipherDatabase(str(tmp_path / "secret.db"), passphrase="wrong")
        )
    assert "something else" in str(refused.value)


# -- unsupported drivers


def queue(path):
    from playhouse.sqliteq import SqliteQueueDatabase

    return SqliteQueueDatabase(path, autostart=False)


def asynchronous(path):
    pwasyncio = pytest.importorskip("playhouse.pwasyncio")
    return pwasyncio.AsyncSqliteDatabase(path)


def asynchronous_server(path):
    pwasyncio = pytest.importorskip("playhouse.pwasyncio")
    return pwasyncio.AsyncPostgresqlDatabase("nowhere")


@pytest.mark.parametrize(
    "call", [phase_4_5.ensure, phase_4_5.run, phase_4_5.check, phase_4_5.rollback]
)
@pytest.mark.parametrize(
    ("kind", "instead"),
    [
        (queue, "SqliteQueueDatabase .* pass a peewee.SqliteDatabase of the file"),
        (asynchronous, r"AsyncSqliteDatabase .* asyncio.to_thread\(ensure, database\)"),
        (
            asynchronous_server,
            r"AsyncPostgresqlDatabase .* asyncio.to_thread\(ensure, database\)",
        ),
    ],
)
def test_database_without_transactions_is_refused_by_name(
    tmp_path, kind, instead, call
):
    with pytest.raises(phase_4_5.MigrationError, match=instead):
        call(kind(str(tmp_path / "app.db")))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not OLD, reason="the drivers are refused before Peewee 4.5")
@pytest.mark.parametrize(
    ("module", "name"),
    [("apsw_ext", "APSWDatabase"), ("cysqlite_ext", "CySqliteDatabase")],
)
def test_driver_without_peewee_errors_is_refused_by_name(tmp_path, module, name):
    database = getattr(importlib.import_module(f"playhouse.{module}"), name)(
        str(tmp_path / "app.db")
    )
    with pytest.raises(
        phase_4_5.MigrationError, match=f"{name} raises .* pip install -U peewee"
    ):
        phase_4_5.run(database)


# -- older libraries

FOLDERS = [
    folder
    for folder in os.environ.get("SQLITE_LIBRARIES", "").split(os.pathsep)
    if folder
]
MIGRATES = """
import sqlite3, sys
import db
from db.models import MODELS
from migrations import phase_4_5
database = db.connect(sys.argv[1])
database.bind(MODELS)
report = phase_4_5.run(database)
assert report.status == "migrated" and all(report.smoke_test.values()), report
assert phase_4_5.check(database).status == "up_to_date"
print(sqlite3.sqlite_version)
"""


def in_library(folder, *command):
    environment = {**os.environ, "LD_LIBRARY_PATH": folder, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *command],
        env=environment,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    return done.stdout


@pytest.mark.skipif(
    not FOLDERS, reason="SQLITE_LIBRARIES names no folder of an older library"
)
@every_state
@pytest.mark.parametrize("folder", FOLDERS)
def test_older_library_migrates_and_checks(made, folder):
    before = made.rows() if made.columns() else {}
    version = tuple(map(int, in_library(folder, "-c", MIGRATES, made.url).split(".")))
    assert (3, 31) <= version < peewee.sqlite3.sqlite_version_info
    made.assert_specified()
    assert made.rows() == before


@pytest.mark.exhaustive
@pytest.mark.skipif(
    not FOLDERS, reason="SQLITE_LIBRARIES names no folder of an older library"
)
@pytest.mark.parametrize("folder", FOLDERS)
def test_older_library_passes_the_tests_of_states(folder):
    tests = (
        "engines/test_states.py",
        "engines/test_any_phase.py",
        "test_rebuild.py",
        "test_edit.py",
    )
    xdist = ["-n", "2"] if importlib.util.find_spec("xdist") else []
    paths = [str(ROOT / "tests" / name) for name in tests]
    servers = (
        "not postgresql and not mysql and not script_of_a_dry_run and not STRICT and "
        "not strict_table"
    )
    in_library(
        folder,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        servers,
        *xdist,
        *paths,
    )
