"""`python -m db.init_db` creates missing tables and inserts sample data."""

import json
import sqlite3

import peewee
import pytest
from application import APPLICATION_TABLES, OTHER_ORM_SHAPE, dump, execute, fetch

import db
from db.init_db import init_db, main
from migrations import phase_4_5

ALL = [
    "categories",
    "historical_sales",
    "store_clusters",
    "stores",
    "weekly_actuals",
    "workflows",
]
TABLES = (
    "SELECT name FROM sqlite_master "
    "WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
)
CHECK_PATH = "; check the path, and that its folder exists and can be written\n"
CHECK_SERVER = "; check the URL, and that the server runs and can be reached\n"


@pytest.fixture
def new(tmp_path):
    return tmp_path / "new.db"


@pytest.fixture
def make(new):
    return lambda **options: init_db(db.connect(f"sqlite:///{new}"), **options)


def tables(file):
    return [name for (name,) in fetch(file, TABLES)]


def counts(file):
    return {
        name: fetch(file, f"SELECT count(*) FROM {name}")[0][0] for name in tables(file)
    }


def test_all_tables_are_created_in_a_new_file(make, new):
    assert sorted(make()) == ALL
    assert tables(new) == ALL


def test_all_tables_are_created_in_an_empty_file(make, new):
    new.touch()
    make()
    assert tables(new) == ALL


def test_created_tables_need_no_migration(make, new):
    make()
    report = phase_4_5.check(db.connect(f"sqlite:///{new}"))
    assert (report.status, report.differences) == ("up_to_date", ())


@pytest.mark.parametrize("table", [name for name in ALL if name != "weekly_actuals"])
def test_created_table_has_the_columns_of_the_application(make, new, path, table):
    make()
    columns = f"SELECT name FROM pragma_table_info('{table}') ORDER BY name"
    assert fetch(new, columns) == fetch(path, columns)


def test_database_sets_the_time_of_creation(make, new):
    make()
    execute(new, "INSERT INTO store_clusters VALUES ('K1', 'One', 'VALUE', NULL, NULL)")
    insert = "INSERT INTO store_clusters (cluster_id, cluster_name, fashion_tier) "
    execute(new, f"{insert} VALUES ('K2', 'Two', 'VALUE')")
    times = "SELECT created_at >= datetime('now', '-5 minutes') FROM store_clusters"
    assert fetch(new, f"{times} ORDER BY cluster_id") == [(None,), (1,)]


def test_only_missing_tables_are_created(make, new):
    make(base_only=True)
    execute(new, "DROP TABLE historical_sales; DROP TABLE store_clusters")
    assert sorted(make()) == ["historical_sales", "store_clusters", "weekly_actuals"]
    assert tables(new) == ALL


@pytest.mark.parametrize("missing", [name for name in ALL if name != "weekly_actuals"])
def test_missing_table_is_created_for_the_application(path, missing):
    execute(path, f"DROP TABLE {missing}")
    database = db.connect(f"sqlite:///{path}")
    assert sorted(init_db(database)) == sorted([missing, "weekly_actuals"])
    assert phase_4_5.run(database, smoke_test=False).status == "up_to_date"


def test_base_only_leaves_out_weekly_actuals(make, new):
    make(base_only=True)
    assert "weekly_actuals" not in tables(new)
    assert phase_4_5.check(db.connect(f"sqlite:///{new}")).status == "pending"


def test_existing_tables_are_left_unchanged(path):
    definitions = "SELECT name, sql FROM sqlite_master ORDER BY rowid"
    before = fetch(path, definitions)
    assert init_db(db.connect(f"sqlite:///{path}")) == ["weekly_actuals"]
    assert fetch(path, definitions)[: len(before)] == before


def test_second_run_changes_nothing(make, new):
    make(sample_data=True)
    before = dump(new)
    assert make(sample_data=True) == []
    assert dump(new) == before


def test_indexes_and_checks_are_created(make, new):
    make(base_only=True)
    indexes = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql <> ''"
    names = [name for (name,) in fetch(new, indexes)]
    assert sorted(names) == [
        "idx_historical_sales_date",
        "idx_historical_sales_store_category",
        "ix_workflows_workflow_id",
    ]
    ((sql,),) = fetch(new, "SELECT group_concat(sql) FROM sqlite_master")
    for check in (
        "check_archetype",
        "check_fashion_tier",
        "check_location_tier",
        "check_units_sold",
    ):
        assert check in sql


def test_sample_data_is_inserted_into_all_tables(make, new):
    make(sample_data=True)
    assert counts(new) == {
        "categories": 1,
        "historical_sales": 600,
        "store_clusters": 3,
        "stores": 50,
        "weekly_actuals": 100,
        "workflows": 2,
    }


SEASON = {
    "categories": [
        ("womens_dresses", "Women's Dresses", "2025-02-17", "2025-05-11", 12)
        + ("FASHION_RETAIL", None)
    ],
    "store_clusters": [
        ("premium", "Premium Tier", "PREMIUM", None),
        ("mainstream", "Mainstream Tier", "MAINSTREAM", None),
        ("value", "Value Tier", "VALUE", None),
    ],
    "stores WHERE store_id IN ('S001', 'S010', 'S011', 'S035', 'S036')": [
        ("S001", "Store S001", "premium", 13300, "A", 134000)
        + ("STANDALONE", "NORTHEAST", 944.0),
        ("S010", "Store S010", "premium", 14400, "A", 134000)
        + ("SHOPPING_CENTER", "SOUTHEAST", 856.0),
        ("S011", "Store S011", "mainstream", 11700, "B", 87500)
        + ("OUTLET", "MIDWEST", 578.0),
        ("S035", "Store S035", "mainstream", 10300, "B", 100500)
        + ("OUTLET", "MIDWEST", 682.0),
        ("S036", "Store S036", "value", 7100, "C", 61500, "MALL", "WEST", 389.0),
    ],
    "historical_sales WHERE sale_id IN ('S001_01', 'S050_12')": [
        ("S001_01", "2024-02-19", "womens_dresses", "S001", 281),
        ("S050_12", "2024-05-06", "womens_dresses", "S050", 79),
    ],
    "weekly_actuals WHERE id IN (1, 100)": [
        (1, "wf_spring_2025", 1, "2025-02-17", "2025-02-23", "S001")
        + ("womens_dresses", 257, 222),
        (100, "wf_spring_2025", 2, "2025-02-24", "2025-03-02", "S050")
        + ("womens_dresses", 128, 122),
    ],
}
WORKFLOWS = (
    "SELECT workflow_id, workflow_type, category_id, status, forecast_horizon_weeks, "
    "season_start_date, replenishment_strategy, dc_holdback_percentage FROM workflows"
)


def test_sample_data_is_a_season(make, new):
    make(sample_data=True)
    for table, rows in SEASON.items():
        found = [row[: len(rows[0])] for row in fetch(new, f"SELECT * FROM {table}")]
        assert found == rows
    details = ("forecast", "womens_dresses"), (12, "2025-02-17", "weekly", 0.45)
    assert fetch(new, WORKFLOWS) == [
        ("wf_spring_2025", *details[0], "running", *details[1]),
        ("wf_autumn_2024", *details[0], "completed", *details[1]),
    ]
    sums = "sum(store_size_sqft), sum(median_income), sum(avg_weekly_sales_12mo)"
    assert fetch(new, f"SELECT {sums} FROM stores") == [(529000, 4561000, 31335.0)]


def test_sample_data_sells_most_in_the_fifth_week(make, new):
    make(sample_data=True)
    weeks = "SELECT sum(units_sold) FROM historical_sales GROUP BY substr(sale_id, 6)"
    assert [units for (units,) in fetch(new, weeks)] == [
        *(8830, 9641, 10466, 11011, 11995, 11582),
        *(10157, 9744, 8747, 7723, 7008, 5990),
    ]


def test_sample_data_violates_no_foreign_key(make, new):
    make(sample_data=True)
    assert fetch(new, "PRAGMA foreign_key_check") == []


def test_sample_data_is_the_same_every_time(make, new, tmp_path):
    make(sample_data=True)
    other = tmp_path / "other.db"
    init_db(db.connect(f"sqlite:///{other}"), sample_data=True)
    rows = (
        "SELECT store_id, week_number, actual_units_sold, variance_pct "
        "FROM weekly_actuals ORDER BY id"
    )
    assert fetch(new, rows) == fetch(other, rows)


def test_sample_data_has_the_right_variance(make, new):
    make(sample_data=True)
    variance = "(actual_units_sold - forecast_units_sold) * 1.0 / forecast_units_sold"
    wrong = f"abs(variance_pct - {variance}) > 1e-9"
    assert fetch(new, f"SELECT count(*) FROM weekly_actuals WHERE {wrong}") == [(0,)]


def test_sample_data_satisfies_the_checks_of_the_application(tmp_path):
    execute(tmp_path / "application.db", APPLICATION_TABLES)
    init_db(db.connect(f"sqlite:///{tmp_path}/application.db"), sample_data=True)
    assert counts(tmp_path / "application.db")["stores"] == 50


def test_sample_data_leaves_tables_with_rows_unchanged(path):
    names = [name for name in ALL if name != "weekly_actuals"]
    before = {name: fetch(path, f"SELECT * FROM {name}") for name in names}
    init_db(db.connect(f"sqlite:///{path}"), sample_data=True)
    assert {name: fetch(path, f"SELECT * FROM {name}") for name in names} == before


def test_sample_data_beside_other_rows_is_consistent(path):
    init_db(db.connect(f"sqlite:///{path}"), sample_data=True)
    assert fetch(path, "PRAGMA foreign_key_check") == []


def test_base_only_inserts_sample_data(make, new):
    make(base_only=True, sample_data=True)
    assert counts(new)["historical_sales"] == 600


def test_failure_creates_no_table(make, new):
    execute(new, "CREATE TABLE idx_historical_sales_date (x)")
    with pytest.raises(Exception, match="idx_historical_sales_date"):
        make()
    assert tables(new) == ["idx_historical_sales_date"]


def test_open_connection_stays_open(new):
    database = db.connect("sqlite:///:memory:")
    with database.connection_context():
        init_db(database, sample_data=True)
        assert database.execute_sql(
            "SELECT count(*) FROM weekly_actuals"
        ).fetchone() == (100,)


# -- the command


@pytest.fixture
def command(cli, new):
    """Run the command on the new file, or on the `--database` of the test."""

    def run(*arguments, **options):
        if "--database" not in arguments:
            arguments = ("--database", f"sqlite:///{new}", *arguments)
        return cli(*arguments, module="db.init_db", **options)

    return run


def test_command_names_the_created_tables(command, new):
    done = command()
    assert done.returncode == 0
    assert done.stdout.startswith(f"sqlite:///{new}: created ")
    assert all(name in done.stdout for name in ALL)


def test_command_without_work_says_that_all_tables_exist(command):
    command()
    assert command().stdout.endswith(": all tables exist\n")


def test_help_says_what_the_command_does(command):
    text = " ".join(command("--help").stdout.split())
    assert (
        "Create the application's tables that are missing, and insert sample data."
        in text
    )


def test_command_uses_the_database_of_the_environment(cli, new):
    assert (
        cli(module="db.init_db", env={"DATABASE_URL": f"sqlite:///{new}"}).returncode
        == 0
    )
    assert tables(new) == ALL


def test_migration_after_the_command_counts_its_rows(command, cli, new):
    command("--base-only", "--sample-data")
    done = cli("--json", "--database", f"sqlite:///{new}")
    assert json.loads(done.stdout)["row_counts"]["historical_sales"] == 600


@pytest.mark.drivers
@pytest.mark.parametrize(
    ("url", "status", "advice"),
    [
        ("oracle://app:s3cr3t@host/x", 2, "known are"),
        ("sqlite:////no/such/folder/x.db", 1, CHECK_PATH),
        ("sqlite:////tmp", 1, CHECK_PATH),
        ("postgresql://app:s3cr3t@127.0.0.1:1/x", 1, CHECK_SERVER),
        ("mysql://app:s3cr%333t@127.0.0.1:1/x", 1, CHECK_SERVER),
    ],
)
def test_failure_is_a_one_line_error_without_password(command, url, status, advice):
    done = command("--database", url)
    assert done.returncode == status
    assert len(done.stderr.splitlines()) == 1
    assert "s3cr" not in done.stderr
    assert advice in done.stderr


def test_error_names_the_database_once(command, new):
    sqlite3.connect(new).close()
    url = f"sqlite:///file:{new}?mode=ro&uri=true"
    execute(new, "CREATE TABLE other (id)")
    done = command("--database", url)
    assert done.stderr.count(str(new)) == 1
    assert done.stderr.endswith(
        "attempt to write a readonly database; "
        "give the file and its folder write permission\n"
    )


def test_full_disk_is_the_reason_of_the_error(new, monkeypatch, capsys):
    init_db(db.connect(f"sqlite:///{new}"))
    pages = fetch(new, "PRAGMA page_count")[0][0]
    full = peewee.SqliteDatabase(new, pragmas={"max_page_count": pages})
    monkeypatch.setattr("db.command.connect", lambda url: full)
    with pytest.raises(SystemExit) as exit_:
        main(["--sample-data"])
    assert exit_.value.code == 1
    text = "database or disk is full"
    assert capsys.readouterr().err == f"error: sqlite:///{new}: {text}\n"


def test_refused_table_is_a_one_line_error(command, new):
    execute(new, "CREATE VIEW weekly_actuals AS SELECT 1 AS id")
    done = command()
    assert done.returncode == 1
    assert "a view" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.exhaustive  # it waits for a lock until the timeout
def test_locked_database_is_a_one_line_error(command, new):
    command("--base-only")
    holder = sqlite3.connect(new, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    done = command("--database", f"sqlite:///{new}?timeout=0.1")
    holder.close()
    assert done.returncode == 1
    assert "locked" in done.stderr
    assert "Traceback" not in done.stderr


def test_other_shape_of_weekly_actuals_is_left_unchanged(path):
    execute(path, OTHER_ORM_SHAPE)
    before = dump(path)
    assert init_db(db.connect(f"sqlite:///{path}")) == []
    assert dump(path) == before
