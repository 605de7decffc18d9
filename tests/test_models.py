"""The models: what they declare, and all of Peewee's ways of binding them."""

import datetime
import os
import subprocess
import sys

import peewee
import pytest
from application import ROOT, execute, fetch

from db.fields import utc_now
from db.models import (
    MODELS,
    Category,
    HistoricalSales,
    Store,
    StoreCluster,
    WeeklyActuals,
    Workflow,
)
from migrations import phase_4_5

ROW = {
    "workflow": "W1",
    "week_number": 1,
    "week_start_date": datetime.date(2025, 2, 17),
    "week_end_date": datetime.date(2025, 2, 23),
    "store": "S001",
    "category": "C1",
    "actual_units_sold": 90,
}

COLUMNS = {
    Category: (
        "category_id category_name season_start_date season_end_date "
        "season_length_weeks archetype description created_at"
    ),
    StoreCluster: "cluster_id cluster_name fashion_tier description created_at",
    Store: (
        "store_id store_name cluster_id store_size_sqft location_tier median_income "
        "store_format region avg_weekly_sales_12mo created_at"
    ),
    HistoricalSales: (
        "sale_id week_start_date category_id store_id units_sold created_at"
    ),
    Workflow: (
        "workflow_id workflow_type forecast_id category_id status current_agent "
        "progress_pct forecast_horizon_weeks season_start_date replenishment_strategy "
        "dc_holdback_percentage markdown_checkpoint_week input_data output_data "
        "error_message created_at started_at completed_at updated_at"
    ),
    WeeklyActuals: (
        "id workflow_id week_number week_start_date week_end_date store_id category_id "
        "actual_units_sold forecast_units_sold variance_pct uploaded_at"
    ),
}  # fmt: skip


@pytest.fixture
def migrated(database):
    phase_4_5.ensure(database)
    return database


@pytest.fixture
def row(migrated):
    with migrated.bind_ctx(MODELS):
        yield WeeklyActuals.create(**ROW, forecast_units_sold=100, variance_pct=-0.1)


# As Peewee writes it for SQLite, without quotes.
DEFINITIONS = """
CREATE TABLE categories (category_id VARCHAR(50) NOT NULL PRIMARY KEY, category_name
    VARCHAR(100) NOT NULL, season_start_date DATE NOT NULL, season_end_date DATE NOT
    NULL, season_length_weeks INTEGER NOT NULL, archetype VARCHAR(50) NOT NULL,
    description TEXT, created_at DATETIME DEFAULT CURRENT_TIMESTAMP, CONSTRAINT
    check_archetype CHECK (archetype IN ('FASHION_RETAIL', 'STABLE_CATALOG',
    'CONTINUOUS')));
CREATE TABLE store_clusters (cluster_id VARCHAR(50) NOT NULL PRIMARY KEY,
    cluster_name VARCHAR(100) NOT NULL, fashion_tier VARCHAR(20) NOT NULL,
    description TEXT, created_at DATETIME DEFAULT CURRENT_TIMESTAMP, CONSTRAINT
    check_fashion_tier CHECK (fashion_tier IN ('PREMIUM', 'MAINSTREAM', 'VALUE')));
CREATE TABLE stores (store_id VARCHAR(50) NOT NULL PRIMARY KEY, store_name
    VARCHAR(100) NOT NULL, cluster_id VARCHAR(50), store_size_sqft INTEGER NOT NULL,
    location_tier VARCHAR(20) NOT NULL, median_income INTEGER NOT NULL, store_format
    VARCHAR(50) NOT NULL, region VARCHAR(50) NOT NULL, avg_weekly_sales_12mo FLOAT
    NOT NULL, created_at DATETIME DEFAULT CURRENT_TIMESTAMP, FOREIGN KEY
    (cluster_id) REFERENCES store_clusters (cluster_id), CONSTRAINT
    check_location_tier CHECK (location_tier IN ('A', 'B', 'C')), CONSTRAINT
    check_store_format CHECK (store_format IN ('MALL', 'STANDALONE',
    'SHOPPING_CENTER', 'OUTLET')), CONSTRAINT check_region CHECK (region IN
    ('NORTHEAST', 'SOUTHEAST', 'MIDWEST', 'WEST')));
CREATE TABLE historical_sales (sale_id VARCHAR(100) NOT NULL PRIMARY KEY,
    week_start_date DATE NOT NULL, category_id VARCHAR(50) NOT NULL, store_id
    VARCHAR(50) NOT NULL, units_sold INTEGER NOT NULL, created_at DATETIME DEFAULT
    CURRENT_TIMESTAMP, FOREIGN KEY (category_id) REFERENCES categories
    (category_id), FOREIGN KEY (store_id) REFERENCES stores (store_id), CONSTRAINT
    check_units_sold CHECK (units_sold >= 0));
CREATE INDEX idx_historical_sales_store_category ON historical_sales (store_id,
    category_id);
CREATE INDEX idx_historical_sales_date ON historical_sales (week_start_date);
CREATE TABLE workflows (workflow_id VARCHAR(50) NOT NULL PRIMARY KEY, workflow_type
    VARCHAR(50) NOT NULL, forecast_id VARCHAR(50), category_id VARCHAR(50) NOT NULL,
    status VARCHAR(17) NOT NULL, current_agent VARCHAR(50), progress_pct INTEGER,
    forecast_horizon_weeks INTEGER NOT NULL, season_start_date VARCHAR(50) NOT NULL,
    replenishment_strategy VARCHAR(50) NOT NULL, dc_holdback_percentage FLOAT NOT
    NULL, markdown_checkpoint_week INTEGER, input_data JSON, output_data JSON,
    error_message TEXT, created_at DATETIME DEFAULT CURRENT_TIMESTAMP, started_at
    DATETIME, completed_at DATETIME, updated_at DATETIME, CONSTRAINT
    check_workflow_status CHECK (status IN ('pending', 'running', 'completed',
    'failed', 'awaiting_approval')));
CREATE INDEX ix_workflows_workflow_id ON workflows (workflow_id);
CREATE TABLE weekly_actuals (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    workflow_id VARCHAR(50) NOT NULL, week_number INTEGER NOT NULL, week_start_date
    DATE NOT NULL, week_end_date DATE NOT NULL, store_id VARCHAR(50) NOT NULL,
    category_id VARCHAR(50) NOT NULL, actual_units_sold INTEGER NOT NULL,
    forecast_units_sold INTEGER, variance_pct FLOAT, uploaded_at DATETIME NOT NULL
    DEFAULT CURRENT_TIMESTAMP, FOREIGN KEY (workflow_id) REFERENCES workflows
    (workflow_id) ON DELETE CASCADE, FOREIGN KEY (store_id) REFERENCES stores
    (store_id) ON DELETE CASCADE, FOREIGN KEY (category_id) REFERENCES categories
    (category_id) ON DELETE CASCADE, CONSTRAINT unique_workflow_week_store UNIQUE
    (workflow_id, week_number, store_id));
CREATE INDEX idx_weekly_actuals_workflow ON weekly_actuals (workflow_id,
    week_number);
CREATE INDEX idx_weekly_actuals_store ON weekly_actuals (store_id);
CREATE INDEX idx_weekly_actuals_date ON weekly_actuals (week_start_date);
"""


def test_tables_are_those_of_the_specification():
    database = peewee.SqliteDatabase(":memory:")
    with database.bind_ctx(MODELS), database.connection_context():
        database.create_tables(MODELS)
        texts = database.execute_sql(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL "
            "AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
        ).fetchall()
    made = " ".join(f"{text};" for (text,) in texts)
    assert made.replace('"', "").split() == DEFINITIONS.split()


@pytest.mark.parametrize("model", MODELS)
def test_every_column_of_the_specification_is_declared(model):
    assert list(model._meta.columns) == COLUMNS[model].split()


def test_only_forecast_and_variance_may_be_null():
    nullable = [
        name for name, field in WeeklyActuals._meta.columns.items() if field.null
    ]
    assert nullable == ["forecast_units_sold", "variance_pct"]


def test_exactly_three_indexes_are_declared():
    declared = {
        index._name: [field.column_name for field in index._expressions]
        for index in WeeklyActuals._meta.fields_to_index()
    }
    assert declared == {
        "idx_weekly_actuals_workflow": ["workflow_id", "week_number"],
        "idx_weekly_actuals_store": ["store_id"],
        "idx_weekly_actuals_date": ["week_start_date"],
    }


def test_created_by_is_the_command_that_creates_the_table():
    commands = {model: model.created_by for model in MODELS}
    assert commands.pop(WeeklyActuals) == "python -m migrations.phase_4_5"
    assert set(commands.values()) == {"python -m db.init_db --base-only"}


@pytest.mark.parametrize(
    ("relation", "model"),
    [("workflow", Workflow), ("store", Store), ("category", Category)],
)
def test_foreign_keys_refer_to_the_parents_and_cascade(relation, model):
    field = getattr(WeeklyActuals, relation)
    assert (field.rel_model, field.column_name, field.on_delete) == (
        model,
        f"{relation}_id",
        "CASCADE",
    )


def test_parents_have_the_backref_weekly_actuals(row):
    for parent in (row.workflow, row.store, row.category):
        assert list(parent.weekly_actuals) == [row]


def test_stores_and_categories_have_their_historical_sales(database):
    with database.bind_ctx(MODELS), database.connection_context():
        sales = list(HistoricalSales.select().where(HistoricalSales.store == "S001"))
        assert len(sales) == 617
        assert list(Store.get_by_id("S001").historical_sales) == sales
        assert Category.get_by_id("C1").historical_sales.count() == 1234


def test_store_cluster_has_its_stores(database):
    with database.bind_ctx(MODELS), database.connection_context():
        stores = StoreCluster.get_by_id("K1").stores
        assert sorted(store.store_id for store in stores) == ["S001", "S002"]


def test_row_reads_back(row):
    found = WeeklyActuals.get()
    assert (found.week_start_date, found.actual_units_sold) == (
        datetime.date(2025, 2, 17),
        90,
    )
    assert found.variance_pct == pytest.approx(-0.1)


def test_repr_names_workflow_week_store_and_actual(row):
    assert repr(row) == "<WeeklyActuals(workflow=W1, week=1, store=S001, actual=90)>"


def test_repr_makes_no_query():
    assert (
        repr(WeeklyActuals(**ROW))
        == "<WeeklyActuals(workflow=W1, week=1, store=S001, actual=90)>"
    )


def test_deleting_a_workflow_deletes_its_rows(row):
    Workflow.delete().where(Workflow.workflow_id == "W1").execute()
    assert WeeklyActuals.select().count() == 0


def test_duplicate_is_an_integrity_error(row):
    with pytest.raises(peewee.IntegrityError):
        WeeklyActuals.create(**ROW)


def test_id_is_never_reused(row):
    first = row.id
    row.delete_instance()
    assert WeeklyActuals.create(**ROW).id > first


def test_weekly_actuals_created_by_peewee_needs_no_migration(path):
    database = peewee.SqliteDatabase(path)
    with database.bind_ctx(MODELS), database.connection_context():
        database.create_tables(MODELS)
    assert phase_4_5.check(database).status == "up_to_date"


def test_tables_created_by_peewee_need_no_migration(tmp_path):
    database = peewee.SqliteDatabase(tmp_path / "new.db")
    with database.bind_ctx(MODELS), database.connection_context():
        database.create_tables(MODELS)
    assert phase_4_5.check(database).to_dict()["differences"] == []


@pytest.mark.parametrize(
    "model", [Category, StoreCluster, Store, HistoricalSales, Workflow]
)
def test_models_read_the_tables_of_the_application(database, model):
    with database.bind_ctx(MODELS), database.connection_context():
        assert model.select().first() is not None


def test_models_can_be_bound(migrated):
    migrated.bind(MODELS)
    try:
        WeeklyActuals.create(**ROW)
        assert (
            WeeklyActuals.select().join(Store).where(Store.region == "WEST").count()
            == 1
        )
    finally:
        for model in MODELS:
            model.bind(None)


def test_models_can_be_bound_to_a_proxy(migrated):
    proxy = peewee.DatabaseProxy()
    proxy.initialize(migrated)
    with proxy.bind_ctx(MODELS):
        assert WeeklyActuals.create(**ROW).store.store_name == "One"


def test_unbound_models_can_be_executed_with_a_database(migrated):
    WeeklyActuals.insert(**ROW).execute(migrated)
    assert fetch(migrated.database, "SELECT store_id FROM weekly_actuals") == [
        ("S001",)
    ]


def test_models_are_bound_to_no_database():
    assert [model._meta.database for model in MODELS] == [None] * len(MODELS)


# -- uploaded_at


def seconds_from_now(text):
    return abs((datetime.datetime.fromisoformat(text) - utc_now()).total_seconds())


@pytest.fixture
def both_defaults(migrated):
    """One row with the model's default, one with the database's, both in Tokyo."""
    script = f"""
import sqlite3, time, db
from db.models import MODELS, WeeklyActuals
time.tzset()
database = db.connect("sqlite:///{migrated.database}")
with database.bind_ctx(MODELS), database.connection_context():
    WeeklyActuals.create(
        workflow="W1",
        week_number=1,
        week_start_date="2025-02-17",
        week_end_date="2025-02-23",
        store="S001",
        category="C1",
        actual_units_sold=9,
    )
    database.execute_sql(
        "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, "
        "week_end_date, store_id, category_id, actual_units_sold) "
        "VALUES ('W1', 2, '2025-02-24', '2025-03-02', 'S001', 'C1', 9)"
    )
"""
    environment = {**os.environ, "TZ": "Asia/Tokyo", "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, timeout=60
    )
    return [
        text
        for (text,) in fetch(
            migrated.database, "SELECT uploaded_at FROM weekly_actuals ORDER BY id"
        )
    ]


def test_default_of_the_model_is_the_time_in_utc(both_defaults):
    assert seconds_from_now(both_defaults[0]) < 300


def test_default_of_the_database_is_the_time_in_utc(both_defaults):
    assert seconds_from_now(both_defaults[1]) < 300


def test_both_defaults_have_the_same_form(both_defaults):
    assert len(both_defaults[0]) == len(both_defaults[1]) == len("2025-01-05 10:00:00")


def test_connect_enforces_foreign_keys(path, migrated):
    execute(path, "DELETE FROM weekly_actuals")
    with migrated.bind_ctx(MODELS), pytest.raises(peewee.IntegrityError):
        WeeklyActuals.create(**{**ROW, "store": "nowhere"})
