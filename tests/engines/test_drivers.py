"""Every driver and pool that a Peewee database may use on a server."""

import datetime
import re
from urllib.parse import unquote, urlsplit

import drivers
import peewee
import pytest
from engines.servers import HALF, NO_DATE_INDEX, NOTHING
from engines.worlds import WORLDS
from playhouse.pool import PooledMySQLDatabase, PooledPostgresqlDatabase
from states import ROWS

import db
from db.models import WeeklyActuals
from db.uploads import UploadRefused
from db.url import describe, shell_word
from migrations import phase_4_5


def psycopg3_pool(name, **options):
    return PooledPostgresqlDatabase(name, prefer_psycopg3=True, **options)


def psycopg2(name, **options):
    drivers.require_package("psycopg2")
    return peewee.PostgresqlDatabase(name, prefer_psycopg3=False, **options)


def psycopg2_pool(name, **options):
    drivers.require_package("psycopg2")
    return PooledPostgresqlDatabase(name, prefer_psycopg3=False, **options)


def postgresql_extensions(name, **options):
    from playhouse.postgres_ext import PostgresqlExtDatabase

    return PostgresqlExtDatabase(name, prefer_psycopg3=True, **options)


def mysql_connector(name, **options):
    drivers.require_package("mysql")
    from playhouse.mysql_ext import MySQLConnectorDatabase

    return MySQLConnectorDatabase(name, ssl_disabled=True, **options)


DRIVERS = {
    "postgresql": [psycopg3_pool, psycopg2, psycopg2_pool, postgresql_extensions],
    "mysql": [PooledMySQLDatabase, mysql_connector],
}
every_driver = pytest.mark.parametrize(
    ("engine", "driver"),
    [(engine, driver) for engine, names in DRIVERS.items() for driver in names],
    ids=lambda each: getattr(each, "__name__", each),
)


@pytest.fixture
def database(servers, engine, driver):
    """The empty database of the engine, with the driver."""
    parts = urlsplit(servers(engine).url)
    options = {
        "host": parts.hostname,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
    }
    if parts.port:
        options["port"] = parts.port
    made = driver(parts.path[1:], **options)
    yield made
    made.close()
    getattr(made, "close_all", lambda: None)()


@every_driver
@pytest.mark.parametrize(
    "state", [NOTHING, HALF, NO_DATE_INDEX], ids=lambda state: state.name
)
@pytest.mark.parametrize("opened", [False, True], ids=["closed", "open"])
def test_every_driver_migrates_and_verifies(servers, database, engine, state, opened):
    world = servers(engine).make(state, filled=state is not NOTHING)
    before = world.rows() if state is not NOTHING else {}
    if opened:
        database.connect()
    assert phase_4_5.check(database).status == "pending"
    report = phase_4_5.run(database)
    assert report.status == "migrated"
    assert set(report.smoke_test.values()) == {True}
    assert report.row_counts["weekly_actuals"] == len(before)
    assert not phase_4_5.ensure(database)
    assert database.is_closed() is not opened
    world.assert_specified()
    assert world.rows() == before


@every_driver
def test_every_driver_uploads_and_updates(servers, database, engine):
    world = servers(engine).make(NOTHING)
    phase_4_5.ensure(database)
    row = {
        "workflow": "wf_1",
        "week_start_date": datetime.date(2025, 1, 6),
        "week_end_date": "2025-01-12",
        "store": "S001",
        "category": "dresses",
        "actual_units_sold": 110,
        "forecast_units_sold": 100,
    }
    rows = [{**row, "week_number": week} for week in (1, 2)]
    assert WeeklyActuals.bulk_insert(rows, database=database) == 2
    rows[0]["actual_units_sold"] = 75
    assert (
        WeeklyActuals.bulk_insert(rows[:1], on_conflict="update", database=database)
        == 1
    )
    found = {row["week_number"]: row["variance_pct"] for row in world.rows().values()}
    assert found == {1: pytest.approx(-0.25), 2: pytest.approx(0.1)}


@every_driver
def test_missing_table_names_the_command_with_every_driver(servers, database, engine):
    servers(engine).make(NOTHING)
    row = {
        "workflow": "wf_1",
        "week_number": 1,
        "week_start_date": datetime.date(2025, 1, 6),
        "week_end_date": datetime.date(2025, 1, 12),
        "store": "S001",
        "category": "dresses",
        "actual_units_sold": 110,
    }
    url = re.escape(shell_word(describe(database)))
    command = f"python -m migrations.phase_4_5 --database {url}"
    hint = f"weekly_actuals.*; run: {command}$"
    with pytest.raises(UploadRefused, match=hint):
        WeeklyActuals.bulk_insert([row], database=database)


@every_driver
def test_conflicting_rows_are_reported_with_every_driver(servers, database, engine):
    world = servers(engine).make(HALF, filled=True)
    world.insert({**ROWS[0], "id": 9})
    before = world.dump()
    with pytest.raises(phase_4_5.ChangeRefused, match="2 rows"):
        phase_4_5.run(database)
    assert world.dump() == before


@every_driver
def test_rollback_needs_an_empty_table_with_every_driver(servers, database, engine):
    world = servers(engine).make(NO_DATE_INDEX, filled=True)
    with pytest.raises(phase_4_5.ChangeRefused, match="holds 3 rows"):
        phase_4_5.rollback(database)
    world.execute("DELETE FROM weekly_actuals")
    assert phase_4_5.rollback(database).status == "rolled_back"
    assert world.columns() == []


def test_every_server_has_other_drivers():
    assert {*DRIVERS} == {*WORLDS} - {"sqlite"}


@pytest.mark.parametrize(
    ("scheme", "package"),
    [
        ("postgresql", "psycopg"),
        ("postgres", "psycopg"),
        ("postgresql+psycopg", "psycopg"),
        ("postgresql+asyncpg", "psycopg"),
        ("postgresql+psycopg2", "psycopg2"),
    ],
)
def test_interruptible_driver_is_used_unless_the_url_names_one(
    servers, scheme, package
):
    drivers.require_package("psycopg2")
    made = db.connect(f"{scheme}://{servers('postgresql').url.partition('://')[2]}")
    with made.connection_context():
        assert type(made.connection()).__module__.partition(".")[0] == package
