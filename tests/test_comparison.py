"""What counts as a difference: the tables are plain DDL, the answer is `check`'s."""

import sqlite3

import pytest
from application import OTHER_ORM_SHAPE, SPECIFICATION_SHAPE, execute

import db
from migrations import phase_4_5

SHAPES = {"specification": SPECIFICATION_SHAPE, "other ORM": OTHER_ORM_SHAPE}


@pytest.fixture
def compared(path):
    """Make weekly_actuals with a part of its DDL replaced, and return what is found wrong with it."""

    def compare(old="", new="", shape=SPECIFICATION_SHAPE, script=""):
        assert old in shape
        execute(path, shape.replace(old, new, 1) if old else shape)
        execute(path, script)
        return phase_4_5.check(db.connect(f"sqlite:///{path}"))

    return compare


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_both_shapes_in_the_field_are_complete(compared, shape):
    report = compared(shape=shape)
    assert (report.status, report.changes, report.differences) == ("up_to_date", (), ())


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("week_number INTEGER", "week_number VARCHAR(9)", "weekly_actuals.week_number"),
        ("week_start_date DATE", "week_start_date TEXT", "weekly_actuals.week_start_date"),
        ("week_start_date DATE", "week_start_date DATETIME", "weekly_actuals.week_start_date"),
        ("variance_pct FLOAT", "variance_pct INTEGER", "weekly_actuals.variance_pct"),
        ("variance_pct FLOAT", "variance_pct", "weekly_actuals.variance_pct"),
        ("uploaded_at TIMESTAMP", "uploaded_at DATE", "weekly_actuals.uploaded_at"),
        ("store_id VARCHAR(50)", "store_id BLOB", "weekly_actuals.store_id"),
        ("actual_units_sold INTEGER NOT NULL", "actual_units_sold INTEGER", "weekly_actuals.actual_units_sold"),
        ("category_id VARCHAR(50) NOT NULL", "category_id VARCHAR(50)", "weekly_actuals.category_id"),
        ("forecast_units_sold INTEGER", "forecast_units_sold INTEGER NOT NULL", "weekly_actuals.forecast_units_sold"),
        ("    variance_pct FLOAT,\n", "", "weekly_actuals.variance_pct"),
        (" DEFAULT CURRENT_TIMESTAMP", "", "weekly_actuals.uploaded_at"),
        ("CURRENT_TIMESTAMP", "(datetime('now', 'localtime'))", "weekly_actuals.uploaded_at"),
        ("CURRENT_TIMESTAMP", "'2025-01-01'", "weekly_actuals.uploaded_at"),
        ("CURRENT_TIMESTAMP", "'CURRENT_TIMESTAMP'", "weekly_actuals.uploaded_at"),
        ("CURRENT_TIMESTAMP", "CURRENT_DATE", "weekly_actuals.uploaded_at"),
        ("id INTEGER PRIMARY KEY AUTOINCREMENT", "id INTEGER", "weekly_actuals.id"),
        ("id INTEGER PRIMARY KEY AUTOINCREMENT", "id INT PRIMARY KEY", "weekly_actuals.id"),
        ("id INTEGER PRIMARY KEY AUTOINCREMENT", "id INTEGER PRIMARY KEY DESC", "weekly_actuals.id"),
        ("(workflow_id, week_number, store_id)\n", "(workflow_id, week_number)\n",
         "weekly_actuals.unique_workflow_week_store"),
        (",\n    CONSTRAINT unique_workflow_week_store UNIQUE (workflow_id, week_number, store_id)", "",
         "weekly_actuals.unique_workflow_week_store"),
        ("REFERENCES stores(store_id) ON DELETE CASCADE", "REFERENCES stores(store_id)", "weekly_actuals.store_id"),
        ("stores(store_id) ON DELETE CASCADE", "stores(store_id) ON DELETE SET NULL", "weekly_actuals.store_id"),
        ("REFERENCES stores(store_id)", "REFERENCES store_clusters(cluster_id)", "weekly_actuals.store_id"),
        ("REFERENCES stores(store_id)", "REFERENCES stores(store_name)", "weekly_actuals.store_id"),
        ("    FOREIGN KEY (category_id) REFERENCES categories(category_id) ON DELETE CASCADE,\n", "",
         "weekly_actuals.category_id"),
        ("CREATE INDEX idx_weekly_actuals_store ON weekly_actuals(store_id);", "",
         "weekly_actuals.idx_weekly_actuals_store"),
        ("weekly_actuals(workflow_id, week_number);", "weekly_actuals(week_number, workflow_id);",
         "weekly_actuals.idx_weekly_actuals_workflow"),
        ("weekly_actuals(workflow_id, week_number);", "weekly_actuals(workflow_id);",
         "weekly_actuals.idx_weekly_actuals_workflow"),
        ("weekly_actuals(week_start_date);", "weekly_actuals(week_start_date DESC);",
         "weekly_actuals.idx_weekly_actuals_date"),
        ("weekly_actuals(week_start_date);", "weekly_actuals(date(week_start_date));",
         "weekly_actuals.idx_weekly_actuals_date"),
        ("CURRENT_TIMESTAMP", "(strftime('%Y-%m-%d %H:%m:%S', 'now'))", "weekly_actuals.uploaded_at"),
        ("CURRENT_TIMESTAMP", "(strftime('%Y-%m-%d%H:%M:%S', 'now'))", "weekly_actuals.uploaded_at"),
        ("weekly_actuals(store_id);", "weekly_actuals(store_id COLLATE NOCASE);",
         "weekly_actuals.idx_weekly_actuals_store"),
        ("week_number, store_id)\n", "week_number, store_id) ON CONFLICT IGNORE\n",
         "weekly_actuals.unique_workflow_week_store"),
        ("week_number INTEGER NOT NULL", "week_number INTEGER NOT NULL ON CONFLICT REPLACE",
         "weekly_actuals.week_number"),
        ("PRIMARY KEY AUTOINCREMENT", "PRIMARY KEY ON CONFLICT REPLACE AUTOINCREMENT", "weekly_actuals.id"),
        ("weekly_actuals(store_id);", "weekly_actuals(store_id) WHERE week_number > 1;",
         "weekly_actuals.idx_weekly_actuals_store"),
        ("CREATE INDEX idx_weekly_actuals_store", "CREATE UNIQUE INDEX idx_weekly_actuals_store",
         "weekly_actuals.idx_weekly_actuals_store"),
    ],
)  # fmt: skip
def test_a_difference_is_an_error_that_names_its_object(compared, old, new, where):
    report = compared(old, new)
    assert report.status == "pending"
    assert {each.object for each in report.differences if each.severity == "error"} == {where}


@pytest.mark.parametrize(("old", "new"), [
    ("VARCHAR(50)", "VARCHAR(255)"),
    ("VARCHAR(50)", "TEXT"),
    ("INTEGER NOT NULL", "BIGINT NOT NULL"),
    ("FLOAT", "DOUBLE PRECISION"),
    ("FLOAT", "REAL"),
    ("TIMESTAMP", "DATETIME"),
    ("CURRENT_TIMESTAMP", "(datetime('now'))"),
    ("CURRENT_TIMESTAMP", "(((CURRENT_TIMESTAMP)))"),
    ("CURRENT_TIMESTAMP", "(strftime('%Y-%m-%d %H:%M:%S', 'now'))"),
    ("TIMESTAMP DEFAULT CURRENT_TIMESTAMP", "TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP"),
    ("workflow_id VARCHAR", "WORKFLOW_ID VARCHAR"),
    ("workflow_id VARCHAR", "[workflow_id] VARCHAR"),
    ("REFERENCES workflows(workflow_id)", "REFERENCES workflows"),
    ("REFERENCES workflows(workflow_id)", "REFERENCES Workflows(Workflow_Id)"),
    ("CREATE INDEX idx_weekly_actuals_store", "CREATE INDEX IDX_Weekly_Actuals_Store"),
    ("CONSTRAINT unique_workflow_week_store UNIQUE", "UNIQUE"),
    ("variance_pct FLOAT", "variance_pct FLOAT DEFAULT NULL"),
    ("variance_pct FLOAT", "variance_pct FLOAT, note TEXT NOT NULL ON CONFLICT IGNORE DEFAULT 'x' UNIQUE"),
    ("variance_pct FLOAT", "variance_pct FLOAT CHECK (actual_units_sold > '/* ON CONFLICT')"),
    ("week_number INTEGER NOT NULL", "week_number INTEGER NOT NULL ON CONFLICT ABORT"),
    ("variance_pct FLOAT", "variance_pct FLOAT, note TEXT DEFAULT conflict REFERENCES conflict"),
    ("week_number, store_id)\n", "week_number, store_id) CONSTRAINT conflict\n"),
    ("week_number INTEGER NOT NULL", "week_number INTEGER CONSTRAINT conflict NOT NULL"),
    ("week_number INTEGER NOT NULL", "week_number UNSIGNED BIG INT NOT NULL"),
    ("store_id VARCHAR(50) NOT NULL", "store_id VARCHAR(50) COLLATE nocase NOT NULL"),
    ("week_number, store_id)\n", "week_number, store_id), CHECK (week_number > 0) ON CONFLICT IGNORE\n"),
])  # fmt: skip
def test_the_same_thing_in_other_words_is_no_difference(compared, old, new):
    assert compared(old, new).to_dict()["differences"] == []


def test_a_unique_index_of_the_name_is_as_good_as_the_constraint(compared):
    report = compared(
        ",\n    CONSTRAINT unique_workflow_week_store UNIQUE (workflow_id, week_number, store_id)",
        script="CREATE UNIQUE INDEX unique_workflow_week_store ON weekly_actuals (workflow_id, week_number, store_id)",
    )
    assert report.to_dict()["differences"] == []


def test_a_partial_unique_index_is_not(compared):
    report = compared(
        ",\n    CONSTRAINT unique_workflow_week_store UNIQUE (workflow_id, week_number, store_id)",
        script="CREATE UNIQUE INDEX unique_workflow_week_store ON weekly_actuals "
        "(workflow_id, week_number, store_id) WHERE week_number > 1",
    )
    assert [each.object for each in report.differences] == ["weekly_actuals.unique_workflow_week_store"]


def test_an_index_of_another_name_that_does_the_work_is_a_warning(compared):
    (difference,) = compared("idx_weekly_actuals_date ON", "ix_date ON").differences
    assert (difference.severity, difference.object) == ("warning", "weekly_actuals.idx_weekly_actuals_date")
    assert "ix_date" in difference.message


def test_additions_of_a_users_own_are_no_difference(compared):
    report = compared(script="""
        ALTER TABLE weekly_actuals ADD COLUMN note TEXT;
        CREATE INDEX mine ON weekly_actuals (note) WHERE note IS NOT NULL;
        CREATE VIEW late AS SELECT * FROM weekly_actuals;
        CREATE TRIGGER t AFTER INSERT ON weekly_actuals BEGIN SELECT 1; END;
    """)  # fmt: skip
    assert (report.status, report.differences) == ("up_to_date", ())


def test_an_additional_column_that_every_upload_must_fill_is_a_warning(compared):
    (difference,) = compared("variance_pct FLOAT", "variance_pct FLOAT, note TEXT NOT NULL").differences
    assert (difference.severity, difference.object) == ("warning", "weekly_actuals.note")


def test_a_further_unique_key_is_a_warning(compared):
    (difference,) = compared(script="CREATE UNIQUE INDEX one ON weekly_actuals (store_id, week_number)").differences
    assert (difference.severity, difference.object) == ("warning", "weekly_actuals.one")


def test_a_further_unique_key_that_drops_rows_in_silence_is_a_warning(compared):
    more = ", UNIQUE (store_id, week_number, workflow_id) ON CONFLICT IGNORE\n"
    (difference,) = compared("week_number, store_id)\n", f"week_number, store_id){more}").differences
    assert difference.severity == "warning"
    assert "ON CONFLICT IGNORE" in difference.message


def test_a_difference_says_what_is_expected_and_what_is_there(compared):
    (difference,) = compared("week_number INTEGER", "week_number VARCHAR(9)").to_dict()["differences"]
    assert difference == {
        "severity": "error",
        "object": "weekly_actuals.week_number",
        "expected": "integer",
        "actual": "VARCHAR(9)",
        "message": "weekly_actuals.week_number: expected integer, found VARCHAR(9)",
    }


def test_all_differences_are_found_at_once(compared):
    report = compared("week_number INTEGER NOT NULL", "week_number VARCHAR(9)",
                      script="DROP INDEX idx_weekly_actuals_date")  # fmt: skip
    assert [each.object for each in report.differences] == [
        "weekly_actuals.week_number", "weekly_actuals.week_number", "weekly_actuals.idx_weekly_actuals_date",
    ]  # fmt: skip


# -- the tables that weekly_actuals builds upon


@pytest.mark.parametrize(
    ("script", "where"),
    [
        ("ALTER TABLE historical_sales RENAME COLUMN units_sold TO sold", "historical_sales.units_sold"),
        ("ALTER TABLE stores DROP COLUMN median_income", "stores.median_income"),
        ("ALTER TABLE stores RENAME COLUMN store_id TO id", "stores.store_id"),
        ("ALTER TABLE categories RENAME COLUMN category_id TO id", "categories.category_id"),
        ("ALTER TABLE workflows RENAME COLUMN workflow_id TO id", "workflows.workflow_id"),
        ("DROP TABLE stores; CREATE VIEW stores AS SELECT 'S001' AS store_id", "stores"),
        ("DROP TABLE workflows; CREATE TABLE workflows (workflow_id VARCHAR NOT NULL)", "workflows.workflow_id"),
        ("DROP TABLE workflows; CREATE TABLE workflows (workflow_id INTEGER PRIMARY KEY)", "workflows.workflow_id"),
        ("DROP TABLE categories; CREATE TABLE categories (category_id VARCHAR, x, PRIMARY KEY (category_id, x))",
         "categories.category_id"),
        ("DROP TABLE categories; CREATE TABLE categories (category_id VARCHAR);"
         "CREATE UNIQUE INDEX u ON categories (category_id) WHERE category_id > 'C'", "categories.category_id"),
        ("DROP TABLE categories; CREATE TABLE categories (category_id VARCHAR);"
         "CREATE UNIQUE INDEX u ON categories (category_id COLLATE NOCASE)", "categories.category_id"),
    ],
)  # fmt: skip
def test_a_base_table_that_is_not_fit_is_named_with_its_column(path, database, script, where):
    execute(path, script)
    with pytest.raises(phase_4_5.UnfitTables, match=where):
        phase_4_5.check(database)


@pytest.mark.parametrize("script", [
    "ALTER TABLE stores RENAME TO s; ALTER TABLE s RENAME TO Stores",
    "DROP TABLE store_clusters",
    "ALTER TABLE stores ADD COLUMN opened DATE",
    "DROP INDEX idx_historical_sales_date",
    "DROP TABLE categories; CREATE TABLE categories (category_id TEXT UNIQUE)",
])  # fmt: skip
def test_what_else_differs_in_a_base_table_stops_nothing(path, database, script):
    execute(path, script)
    assert phase_4_5.run(database, smoke_test=False).status == "migrated"


def test_sqlite_itself_takes_no_parent_by_a_unique_index_of_another_collation():
    connection = sqlite3.connect(":memory:")
    connection.executescript("""
        PRAGMA foreign_keys = ON;
        CREATE TABLE parents (name TEXT);
        CREATE UNIQUE INDEX u ON parents (name COLLATE NOCASE);
        CREATE TABLE children (name TEXT REFERENCES parents (name));
    """)
    with pytest.raises(sqlite3.OperationalError, match="foreign key mismatch"):
        connection.execute("INSERT INTO children VALUES ('a')")


def test_a_column_that_no_one_needs_is_not_worth_a_warning(path, database):
    execute(path, "ALTER TABLE workflows DROP COLUMN current_agent; ALTER TABLE stores DROP COLUMN created_at")
    assert [each for each in phase_4_5.check(database).differences if each.severity == "warning"] == []


def test_foreign_keys_need_only_a_unique_parent_not_a_primary_key(path, database):
    execute(path, "DROP TABLE workflows; CREATE TABLE workflows (n INTEGER PRIMARY KEY, workflow_id TEXT UNIQUE)")
    assert phase_4_5.run(database).smoke_test["cascade"] is True
