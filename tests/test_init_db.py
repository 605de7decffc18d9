"""`python -m db.init_db`: all tables, where they are missing; sample data, where there is none."""

import json
import sqlite3

import pytest
from application import APPLICATION_TABLES, OTHER_ORM_SHAPE, dump, execute, fetch

import db
from db.init_db import init_db
from migrations import phase_4_5

ALL = ["categories", "historical_sales", "store_clusters", "stores", "weekly_actuals", "workflows"]
TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"


@pytest.fixture
def new(tmp_path):
    return tmp_path / "new.db"


@pytest.fixture
def make(new):
    return lambda **options: init_db(db.connect(f"sqlite:///{new}"), **options)


def tables(file):
    return [name for (name,) in fetch(file, TABLES)]


def counts(file):
    return {name: fetch(file, f"SELECT count(*) FROM {name}")[0][0] for name in tables(file)}


def test_all_tables_are_created_on_a_file_that_does_not_exist(make, new):
    assert sorted(make()) == ALL
    assert tables(new) == ALL


def test_all_tables_are_created_on_an_empty_file(make, new):
    new.touch()
    make()
    assert tables(new) == ALL


def test_what_is_created_needs_no_migration(make, new):
    make()
    report = phase_4_5.check(db.connect(f"sqlite:///{new}"))
    assert (report.status, report.differences) == ("up_to_date", ())


@pytest.mark.parametrize("table", [name for name in ALL if name != "weekly_actuals"])
def test_what_is_created_has_the_applications_columns(make, new, path, table):
    make()
    columns = f"SELECT name FROM pragma_table_info('{table}') ORDER BY name"
    assert fetch(new, columns) == fetch(path, columns)


def test_the_database_sets_the_time_of_creation(make, new):
    make()
    execute(new, "INSERT INTO store_clusters VALUES ('K1', 'One', 'VALUE', NULL, NULL)")
    insert = "INSERT INTO store_clusters (cluster_id, cluster_name, fashion_tier) "
    execute(new, f"{insert} VALUES ('K2', 'Two', 'VALUE')")
    times = "SELECT created_at >= datetime('now', '-5 minutes') FROM store_clusters"
    assert fetch(new, f"{times} ORDER BY cluster_id") == [(None,), (1,)]


def test_a_half_filled_database_is_completed(make, new):
    make(base_only=True)
    execute(new, "DROP TABLE historical_sales; DROP TABLE store_clusters")
    assert sorted(make()) == ["historical_sales", "store_clusters", "weekly_actuals"]
    assert tables(new) == ALL


@pytest.mark.parametrize("missing", [name for name in ALL if name != "weekly_actuals"])
def test_any_missing_table_is_made_beside_the_applications_own(path, missing):
    execute(path, f"DROP TABLE {missing}")
    database = db.connect(f"sqlite:///{path}")
    assert sorted(init_db(database)) == sorted([missing, "weekly_actuals"])
    assert phase_4_5.run(database, smoke_test=False).status == "up_to_date"


def test_base_only_stops_before_weekly_actuals(make, new):
    make(base_only=True)
    assert "weekly_actuals" not in tables(new)
    assert phase_4_5.check(db.connect(f"sqlite:///{new}")).status == "pending"


def test_the_applications_tables_are_left_as_they_are(path):
    before = fetch(path, "SELECT name, sql FROM sqlite_master ORDER BY rowid")
    assert init_db(db.connect(f"sqlite:///{path}")) == ["weekly_actuals"]
    assert fetch(path, "SELECT name, sql FROM sqlite_master ORDER BY rowid")[: len(before)] == before


def test_a_second_time_nothing_happens_byte_for_byte(make, new):
    make(sample_data=True)
    before = dump(new)
    assert make(sample_data=True) == []
    assert dump(new) == before


def test_the_indexes_and_checks_of_the_application_are_made(make, new):
    make(base_only=True)
    names = [name for (name,) in fetch(new, "SELECT name FROM sqlite_master WHERE type = 'index' AND sql <> ''")]
    assert sorted(names) == ["idx_historical_sales_date", "idx_historical_sales_store_category",
                             "ix_workflows_workflow_id"]  # fmt: skip
    ((sql,),) = fetch(new, "SELECT group_concat(sql) FROM sqlite_master")
    for check in ("check_archetype", "check_fashion_tier", "check_location_tier", "check_units_sold"):
        assert check in sql


def test_sample_data_is_a_small_season(make, new):
    make(sample_data=True)
    assert counts(new) == {"categories": 1, "historical_sales": 600, "store_clusters": 3, "stores": 50,
                           "weekly_actuals": 100, "workflows": 2}  # fmt: skip


def test_sample_data_violates_no_key(make, new):
    make(sample_data=True)
    assert fetch(new, "PRAGMA foreign_key_check") == []


def test_sample_data_is_the_same_every_time(make, new, tmp_path):
    make(sample_data=True)
    other = tmp_path / "other.db"
    init_db(db.connect(f"sqlite:///{other}"), sample_data=True)
    columns = "SELECT store_id, week_number, actual_units_sold, variance_pct FROM weekly_actuals ORDER BY id"
    assert fetch(new, columns) == fetch(other, columns)


def test_the_variance_of_sample_data_is_what_it_says(make, new):
    make(sample_data=True)
    wrong = "abs(variance_pct - (actual_units_sold - forecast_units_sold) * 1.0 / forecast_units_sold) > 1e-9"
    assert fetch(new, f"SELECT count(*) FROM weekly_actuals WHERE {wrong}") == [(0,)]


def test_sample_data_fits_the_applications_checks(tmp_path):
    execute(tmp_path / "application.db", APPLICATION_TABLES)
    init_db(db.connect(f"sqlite:///{tmp_path}/application.db"), sample_data=True)
    assert counts(tmp_path / "application.db")["stores"] == 50


def test_sample_data_does_not_touch_tables_with_rows(path):
    before = {name: fetch(path, f"SELECT * FROM {name}") for name in ALL if name != "weekly_actuals"}
    try:
        init_db(db.connect(f"sqlite:///{path}"), sample_data=True)
    finally:
        assert {name: fetch(path, f"SELECT * FROM {name}") for name in before} == before


def test_sample_data_on_a_database_with_data_is_no_error(path):
    init_db(db.connect(f"sqlite:///{path}"), sample_data=True)
    assert fetch(path, "PRAGMA foreign_key_check") == []


def test_base_only_with_sample_data_fills_the_base(make, new):
    make(base_only=True, sample_data=True)
    assert counts(new)["historical_sales"] == 600


def test_a_failure_half_way_leaves_no_table(make, new):
    execute(new, "CREATE TABLE idx_historical_sales_date (x)")
    with pytest.raises(Exception, match="idx_historical_sales_date"):
        make()
    assert tables(new) == ["idx_historical_sales_date"]


def test_an_open_connection_stays_open(new):
    database = db.connect("sqlite:///:memory:")
    with database.connection_context():
        init_db(database, sample_data=True)
        assert database.execute_sql("SELECT count(*) FROM weekly_actuals").fetchone() == (100,)


# -- the command


@pytest.fixture
def command(cli, new):
    return lambda *arguments, **options: cli(
        *(arguments if "--database" in arguments else ("--database", f"sqlite:///{new}", *arguments)),
        module="db.init_db", **options,
    )  # fmt: skip


def test_the_command_names_what_it_created(command, new):
    done = command()
    assert done.returncode == 0
    assert done.stdout.startswith(f"sqlite:///{new}: created ")
    assert all(name in done.stdout for name in ALL)


def test_the_command_says_where_there_was_nothing_to_do(command):
    command()
    assert "every table is there" in command().stdout


def test_help_says_what_the_command_does(command):
    text = " ".join(command("--help").stdout.split())
    assert "Create the application's tables where they are missing; fill empty" in text


def test_the_environment_names_the_database(cli, new):
    assert cli(module="db.init_db", env={"DATABASE_URL": f"sqlite:///{new}"}).returncode == 0
    assert tables(new) == ALL


def test_the_command_then_the_migration(command, cli, new):
    command("--base-only", "--sample-data")
    done = cli("--json", "--database", f"sqlite:///{new}")
    assert json.loads(done.stdout)["row_counts"]["historical_sales"] == 600


@pytest.mark.drivers
@pytest.mark.parametrize(
    ("url", "status"),
    [("oracle://app:s3cr3t@host/x", 2), ("sqlite:////no/such/folder/x.db", 1), ("sqlite:////tmp", 1),
     ("postgresql://app:s3cr3t@127.0.0.1:1/x", 1), ("mysql://app:s3cr%333t@127.0.0.1:1/x", 1)],
)  # fmt: skip
def test_a_failure_is_one_line(command, url, status):
    done = command("--database", url)
    assert done.returncode == status
    assert len(done.stderr.splitlines()) == 1
    assert "s3cr" not in done.stderr


def test_a_table_that_the_migration_refuses_is_one_line(command, new):
    execute(new, "CREATE VIEW weekly_actuals AS SELECT 1 AS id")
    done = command()
    assert done.returncode == 1
    assert "a view" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.exhaustive  # a lock is waited for as long as ever
def test_a_locked_database_is_one_line(command, new):
    command("--base-only")
    holder = sqlite3.connect(new, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    done = command("--database", f"sqlite:///{new}?timeout=0.1")
    holder.close()
    assert done.returncode == 1
    assert "locked" in done.stderr
    assert "Traceback" not in done.stderr


def test_both_shapes_of_weekly_actuals_are_left_alone(path):
    execute(path, OTHER_ORM_SHAPE)
    before = dump(path)
    assert init_db(db.connect(f"sqlite:///{path}")) == []
    assert dump(path) == before
