"""What is a difference: tables created by DDL, and the report of `check`."""

import sqlite3

import peewee
import pytest
from application import OTHER_ORM_SHAPE, SPECIFICATION_SHAPE, execute, fetch

import db
from migrations import phase_4_5
from migrations.phase import Phase

# Everything as the model declares it.
DECLARED_SHAPE = SPECIFICATION_SHAPE.replace(
    "TIMESTAMP DEFAULT CURRENT_TIMESTAMP",
    "TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP",
)
UPLOADED_AT = "weekly_actuals.uploaded_at"
ACCEPTED = {
    "specification": (
        SPECIFICATION_SHAPE,
        [f"{UPLOADED_AT}: expected NOT NULL, found NULL allowed, which is accepted"],
    ),
    "other ORM": (
        OTHER_ORM_SHAPE,
        [
            f"{UPLOADED_AT}: expected a default of now in UTC, found no default, "
            "which is accepted",
            "weekly_actuals.id: expected an auto-increment PRIMARY KEY (id) that never "
            "reuses an id, found PRIMARY KEY (id) without AUTOINCREMENT, which is "
            "accepted",
        ],
    ),
}


@pytest.fixture
def compared(path):
    """Return a function that creates weekly_actuals with a part of its DDL replaced.

    The function returns the report of a check.
    """

    def compare(old="", new="", shape=DECLARED_SHAPE, script=""):
        assert old in shape
        execute(path, shape.replace(old, new, 1) if old else shape)
        execute(path, script)
        return phase_4_5.check(db.connect(f"sqlite:///{path}"))

    return compare


def test_declared_definition_is_no_difference(compared):
    report = compared()
    assert (report.status, report.changes, report.differences) == ("up_to_date", (), ())


@pytest.mark.parametrize(("shape", "notes"), ACCEPTED.values(), ids=ACCEPTED)
def test_both_existing_definitions_are_accepted_with_notes(compared, shape, notes):
    report = compared(shape=shape)
    assert (report.status, report.changes) == ("up_to_date", ())
    assert {each.severity for each in report.differences} == {"note"}
    assert [each.message for each in report.differences] == notes


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("week_number INTEGER", "week_number VARCHAR(9)", "weekly_actuals.week_number"),
        (
            "week_start_date DATE",
            "week_start_date TEXT",
            "weekly_actuals.week_start_date",
        ),
        (
            "week_start_date DATE",
            "week_start_date DATETIME",
            "weekly_actuals.week_start_date",
        ),
        ("variance_pct FLOAT", "variance_pct INTEGER", "weekly_actuals.variance_pct"),
        ("variance_pct FLOAT", "variance_pct", "weekly_actuals.variance_pct"),
        ("uploaded_at TIMESTAMP", "uploaded_at DATE", "weekly_actuals.uploaded_at"),
        ("store_id VARCHAR(50)", "store_id BLOB", "weekly_actuals.store_id"),
        (
            "actual_units_sold INTEGER NOT NULL",
            "actual_units_sold INTEGER",
            "weekly_actuals.actual_units_sold",
        ),
        (
            "category_id VARCHAR(50) NOT NULL",
            "category_id VARCHAR(50)",
            "weekly_actuals.category_id",
        ),
        (
            "forecast_units_sold INTEGER",
            "forecast_units_sold INTEGER NOT NULL",
            "weekly_actuals.forecast_units_sold",
        ),
        ("    variance_pct FLOAT,\n", "", "weekly_actuals.variance_pct"),
        (
            "TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP",
            "TIMESTAMP",
            "weekly_actuals.uploaded_at",
        ),
        (
            "CURRENT_TIMESTAMP",
            "(datetime('now', 'localtime'))",
            "weekly_actuals.uploaded_at",
        ),
        ("CURRENT_TIMESTAMP", "'2025-01-01'", "weekly_actuals.uploaded_at"),
        ("CURRENT_TIMESTAMP", "'CURRENT_TIMESTAMP'", "weekly_actuals.uploaded_at"),
        ("CURRENT_TIMESTAMP", "CURRENT_DATE", "weekly_actuals.uploaded_at"),
        ("id INTEGER PRIMARY KEY AUTOINCREMENT", "id INTEGER", "weekly_actuals.id"),
        (
            "id INTEGER PRIMARY KEY AUTOINCREMENT",
            "id INT PRIMARY KEY",
            "weekly_actuals.id",
        ),
        (
            "id INTEGER PRIMARY KEY AUTOINCREMENT",
            "id INTEGER PRIMARY KEY DESC",
            "weekly_actuals.id",
        ),
        (
            "(workflow_id, week_number, store_id)\n",
            "(workflow_id, week_number)\n",
            "weekly_actuals.unique_workflow_week_store",
        ),
        (
            ",\n    CONSTRAINT unique_workflow_week_store UNIQUE "
            "(workflow_id, week_number, store_id)",
            "",
            "weekly_actuals.unique_workflow_week_store",
        ),
        (
            "REFERENCES stores(store_id) ON DELETE CASCADE",
            "REFERENCES stores(store_id)",
            "weekly_actuals.store_id",
        ),
        (
            "stores(store_id) ON DELETE CASCADE",
            "stores(store_id) ON DELETE SET NULL",
            "weekly_actuals.store_id",
        ),
        (
            "REFERENCES stores(store_id)",
            "REFERENCES store_clusters(cluster_id)",
            "weekly_actuals.store_id",
        ),
        (
            "REFERENCES stores(store_id)",
            "REFERENCES stores(store_name)",
            "weekly_actuals.store_id",
        ),
        (
            "    FOREIGN KEY (category_id) REFERENCES categories(category_id) "
            "ON DELETE CASCADE,\n",
            "",
            "weekly_actuals.category_id",
        ),
        (
            "CREATE INDEX idx_weekly_actuals_store ON weekly_actuals(store_id);",
            "",
            "weekly_actuals.idx_weekly_actuals_store",
        ),
        (
            "weekly_actuals(workflow_id, week_number);",
            "weekly_actuals(week_number, workflow_id);",
            "weekly_actuals.idx_weekly_actuals_workflow",
        ),
        (
            "weekly_actuals(workflow_id, week_number);",
            "weekly_actuals(workflow_id);",
            "weekly_actuals.idx_weekly_actuals_workflow",
        ),
        (
            "weekly_actuals(week_start_date);",
            "weekly_actuals(week_start_date DESC);",
            "weekly_actuals.idx_weekly_actuals_date",
        ),
        (
            "weekly_actuals(week_start_date);",
            "weekly_actuals(date(week_start_date));",
            "weekly_actuals.idx_weekly_actuals_date",
        ),
        (
            "CURRENT_TIMESTAMP",
            "(strftime('%Y-%m-%d %H:%m:%S', 'now'))",
            "weekly_actuals.uploaded_at",
        ),
        (
            "CURRENT_TIMESTAMP",
            "(strftime('%Y-%m-%d%H:%M:%S', 'now'))",
            "weekly_actuals.uploaded_at",
        ),
        (
            "weekly_actuals(store_id);",
            "weekly_actuals(store_id COLLATE NOCASE);",
            "weekly_actuals.idx_weekly_actuals_store",
        ),
        (
            "week_number, store_id)\n",
            "week_number, store_id) ON CONFLICT IGNORE\n",
            "weekly_actuals.unique_workflow_week_store",
        ),
        (
            "week_number INTEGER NOT NULL",
            "week_number INTEGER NOT NULL ON CONFLICT REPLACE",
            "weekly_actuals.week_number",
        ),
        (
            "PRIMARY KEY AUTOINCREMENT",
            "PRIMARY KEY ON CONFLICT REPLACE AUTOINCREMENT",
            "weekly_actuals.id",
        ),
        (
            "weekly_actuals(store_id);",
            "weekly_actuals(store_id) WHERE week_number > 1;",
            "weekly_actuals.idx_weekly_actuals_store",
        ),
        (
            "CREATE INDEX idx_weekly_actuals_store",
            "CREATE UNIQUE INDEX idx_weekly_actuals_store",
            "weekly_actuals.idx_weekly_actuals_store",
        ),
    ],
)
def test_differing_definition_is_an_error_with_its_object(compared, old, new, where):
    report = compared(old, new)
    assert report.status == "pending"
    assert {each.object for each in report.differences if each.severity == "error"} == {
        where
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("VARCHAR(50)", "VARCHAR(255)"),
        ("VARCHAR(50)", "TEXT"),
        ("INTEGER NOT NULL", "BIGINT NOT NULL"),
        ("FLOAT", "DOUBLE PRECISION"),
        ("FLOAT", "REAL"),
        ("TIMESTAMP", "DATETIME"),
        ("CURRENT_TIMESTAMP", "(datetime('now'))"),
        ("CURRENT_TIMESTAMP", "(((CURRENT_TIMESTAMP)))"),
        ("CURRENT_TIMESTAMP", "(strftime('%Y-%m-%d %H:%M:%S', 'now'))"),
        ("workflow_id VARCHAR", "WORKFLOW_ID VARCHAR"),
        ("workflow_id VARCHAR", "[workflow_id] VARCHAR"),
        ("REFERENCES workflows(workflow_id)", "REFERENCES workflows"),
        ("REFERENCES workflows(workflow_id)", "REFERENCES Workflows(Workflow_Id)"),
        (
            "CREATE INDEX idx_weekly_actuals_store",
            "CREATE INDEX IDX_Weekly_Actuals_Store",
        ),
        ("CONSTRAINT unique_workflow_week_store UNIQUE", "UNIQUE"),
        ("variance_pct FLOAT", "variance_pct FLOAT DEFAULT NULL"),
        (
            "week_number INTEGER NOT NULL",
            "week_number INTEGER NOT NULL ON CONFLICT ABORT",
        ),
        ("week_number, store_id)\n", "week_number, store_id) CONSTRAINT conflict\n"),
        (
            "week_number INTEGER NOT NULL",
            "week_number INTEGER CONSTRAINT conflict NOT NULL",
        ),
        ("week_number INTEGER NOT NULL", "week_number UNSIGNED BIG INT NOT NULL"),
    ],
)
def test_equivalent_definition_is_no_difference(compared, old, new):
    assert compared(old, new).to_dict()["differences"] == []


def test_unique_index_is_accepted_in_place_of_the_constraint(compared):
    report = compared(
        ",\n    CONSTRAINT unique_workflow_week_store UNIQUE "
        "(workflow_id, week_number, store_id)",
        script="CREATE UNIQUE INDEX unique_workflow_week_store ON weekly_actuals "
        "(workflow_id, week_number, store_id)",
    )
    assert report.to_dict()["differences"] == []


def test_partial_unique_index_is_a_difference(compared):
    report = compared(
        ",\n    CONSTRAINT unique_workflow_week_store UNIQUE "
        "(workflow_id, week_number, store_id)",
        script="CREATE UNIQUE INDEX unique_workflow_week_store ON weekly_actuals "
        "(workflow_id, week_number, store_id) WHERE week_number > 1",
    )
    assert [each.object for each in report.differences] == [
        "weekly_actuals.unique_workflow_week_store"
    ]


def test_equivalent_index_of_another_name_is_a_note(compared):
    (difference,) = compared("idx_weekly_actuals_date ON", "ix_date ON").differences
    assert (difference.severity, difference.object) == (
        "note",
        "weekly_actuals.idx_weekly_actuals_date",
    )
    assert "ix_date" in difference.message


def test_undeclared_additions_are_no_difference(compared):
    report = compared(script="""
        ALTER TABLE weekly_actuals ADD COLUMN note TEXT;
        CREATE INDEX mine ON weekly_actuals (note) WHERE note IS NOT NULL;
        CREATE VIEW late AS SELECT * FROM weekly_actuals;
        CREATE TRIGGER t AFTER INSERT ON weekly_actuals BEGIN SELECT 1; END;
    """)  # fmt: skip
    assert report.status == "up_to_date"
    assert {each.severity for each in report.differences} == {"note"}
    assert [each.message for each in report.differences] == [
        "weekly_actuals.note: TEXT is not in the model",
        "weekly_actuals.mine: the index (note) WHERE note IS NOT NULL is not in the "
        "model",
    ]


@pytest.mark.parametrize(
    "column",
    [
        "note TEXT NOT NULL ON CONFLICT IGNORE DEFAULT 'x' UNIQUE",
        "note TEXT DEFAULT conflict REFERENCES conflict",
    ],
)
def test_undeclared_column_changes_nothing_of_the_others(compared, column):
    report = compared("variance_pct FLOAT", f"variance_pct FLOAT, {column}")
    assert report.status == "up_to_date"
    assert {each.object for each in report.differences} == {"weekly_actuals.note"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "variance_pct FLOAT",
            "variance_pct FLOAT CHECK (actual_units_sold > '/* ON CONFLICT')",
            "weekly_actuals: CHECK (actual_units_sold > '/* ON CONFLICT') may reject "
            "rows that the model allows; it is not in the model",
        ),
        (
            "store_id VARCHAR(50) NOT NULL",
            "store_id VARCHAR(50) COLLATE nocase NOT NULL",
            "weekly_actuals.store_id: COLLATE NOCASE is not in the model, and "
            "UNIQUE (workflow_id, week_number, store_id) may reject rows by it",
        ),
        (
            "week_number, store_id)\n",
            "week_number, store_id), CHECK (week_number > 0) ON CONFLICT IGNORE\n",
            "weekly_actuals: CHECK (week_number > 0) may reject rows that the model "
            "allows; it is not in the model",
        ),
    ],
    ids=["a CHECK of a column", "a collation", "a CHECK of the table"],
)
def test_undeclared_part_that_may_reject_rows_is_a_warning(compared, old, new, message):
    report = compared(old, new)
    assert report.status == "up_to_date"
    assert [(each.severity, each.message) for each in report.differences] == [
        ("warning", message)
    ]


def test_missing_default_of_a_nullable_column_is_repaired_alone(compared):
    report = compared("TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP", "TIMESTAMP")
    assert [(each.severity, each.message) for each in report.differences] == [
        (
            "error",
            "weekly_actuals.uploaded_at: expected a default of now in UTC, "
            "found no default",
        ),
        (
            "note",
            "weekly_actuals.uploaded_at: expected NOT NULL, found NULL allowed, "
            "which is accepted",
        ),
    ]


def test_rejected_default_of_a_not_null_column_is_an_error(compared):
    report = compared("CURRENT_TIMESTAMP", "'2025-01-01'")
    (difference,) = report.differences
    assert difference.severity == "error"
    assert difference.actual == "DEFAULT '2025-01-01'"


def test_undeclared_not_null_column_without_default_is_a_warning(compared):
    (difference,) = compared(
        "variance_pct FLOAT", "variance_pct FLOAT, note TEXT NOT NULL"
    ).differences
    assert (difference.severity, difference.object) == (
        "warning",
        "weekly_actuals.note",
    )


def test_undeclared_unique_index_is_a_warning(compared):
    (difference,) = compared(
        script="CREATE UNIQUE INDEX one ON weekly_actuals (store_id, week_number)"
    ).differences
    assert (difference.severity, difference.object) == ("warning", "weekly_actuals.one")


def test_undeclared_unique_key_that_ignores_rows_is_a_warning(compared):
    more = ", UNIQUE (store_id, week_number, workflow_id) ON CONFLICT IGNORE\n"
    (difference,) = compared(
        "week_number, store_id)\n", f"week_number, store_id){more}"
    ).differences
    assert difference.severity == "warning"
    assert "ON CONFLICT IGNORE" in difference.message


UNIQUE_KEY = "UNIQUE (workflow_id, week_number, store_id)"
STORE_KEY = "REFERENCES stores (store_id) ON DELETE CASCADE"
AUTO_INCREMENT_KEY = "an auto-increment PRIMARY KEY (id)"
ERRORS = {
    "no table": (
        "", "", "DROP TABLE weekly_actuals",
        "", "a table", "nothing",
    ),
    "a view": (
        "", "",
        "DROP TABLE weekly_actuals; CREATE VIEW weekly_actuals AS SELECT 1 AS id",
        "", "a table", "a view",
    ),
    "an unrelated table": (
        "", "", "DROP TABLE weekly_actuals; CREATE TABLE weekly_actuals (title TEXT)",
        "", "the columns of weekly_actuals", "an unrelated table with that name",
    ),
    "no column": (
        "    variance_pct FLOAT,\n", "", "",
        ".variance_pct", "float", "no such column",
    ),
    "another type": (
        "week_number INTEGER", "week_number VARCHAR(9)", "",
        ".week_number", "integer", "VARCHAR(9)",
    ),
    "no type": (
        "variance_pct FLOAT", "variance_pct", "",
        ".variance_pct", "float", "no type",
    ),
    "a generated column": (
        "variance_pct FLOAT", "variance_pct FLOAT AS (week_number * 0.5)", "",
        ".variance_pct", "float", "a generated column",
    ),
    "NULL allowed": (
        "week_number INTEGER NOT NULL", "week_number INTEGER", "",
        ".week_number", "NOT NULL", "NULL allowed",
    ),
    "NOT NULL": (
        "forecast_units_sold INTEGER", "forecast_units_sold INTEGER NOT NULL", "",
        ".forecast_units_sold", "NULL allowed", "NOT NULL",
    ),
    "another default": (
        "CURRENT_TIMESTAMP", "'2025-01-01'", "",
        ".uploaded_at", "a default of now in UTC", "DEFAULT '2025-01-01'",
    ),
    "no primary key": (
        "id INTEGER PRIMARY KEY AUTOINCREMENT", "id INTEGER", "",
        ".id", AUTO_INCREMENT_KEY, "no primary key",
    ),
    "another primary key": (
        "id INTEGER PRIMARY KEY AUTOINCREMENT,", "id INTEGER,", "",
        ".id", AUTO_INCREMENT_KEY, "no primary key",
    ),
    "a key without auto-increment": (
        "id INTEGER PRIMARY KEY AUTOINCREMENT", "id INT PRIMARY KEY", "",
        ".id", AUTO_INCREMENT_KEY,
        "PRIMARY KEY (id), INT without auto-increment",
    ),
    "no unique key": (
        ",\n    CONSTRAINT unique_workflow_week_store " + UNIQUE_KEY, "", "",
        ".unique_workflow_week_store", UNIQUE_KEY, "no such index",
    ),
    "another unique key": (
        UNIQUE_KEY, "UNIQUE (workflow_id, store_id)", "",
        ".unique_workflow_week_store", UNIQUE_KEY, "UNIQUE (workflow_id, store_id)",
    ),
    "no index": (
        "", "", "DROP INDEX idx_weekly_actuals_date",
        ".idx_weekly_actuals_date", "(week_start_date)", "no such index",
    ),
    "a partial index": (
        "weekly_actuals(store_id);", "weekly_actuals(store_id) WHERE id > 1;", "",
        ".idx_weekly_actuals_store", "(store_id)", "(store_id) WHERE id > 1",
    ),
    "a descending index": (
        "weekly_actuals(store_id);", "weekly_actuals(store_id DESC);", "",
        ".idx_weekly_actuals_store", "(store_id)", "(store_id DESC)",
    ),
    "no foreign key": (
        "    FOREIGN KEY (store_id) REFERENCES stores(store_id) ON DELETE CASCADE,\n",
        "", "",
        ".store_id", STORE_KEY, "no foreign key",
    ),
    "a foreign key without an action": (
        "REFERENCES stores(store_id) ON DELETE CASCADE", "REFERENCES stores(store_id)",
        "",
        ".store_id", STORE_KEY, "REFERENCES stores (store_id) ON DELETE NO ACTION",
    ),
    "a foreign key to another table": (
        "REFERENCES stores(store_id) ON DELETE CASCADE",
        "REFERENCES categories(category_id) ON DELETE SET NULL ON UPDATE CASCADE",
        "",
        ".store_id", STORE_KEY,
        "REFERENCES categories (category_id) ON DELETE SET NULL ON UPDATE CASCADE",
    ),
}  # fmt: skip
WARNINGS_AND_NOTES = {
    "an equivalent index": (
        "note",
        "idx_weekly_actuals_date ON",
        "ix_date ON",
        "",
        ".idx_weekly_actuals_date",
        "(week_start_date)",
        "ix_date",
        "weekly_actuals.idx_weekly_actuals_date: ix_date is equivalent and is accepted "
        "in its place",
    ),
    "a column to be filled": (
        "warning",
        "variance_pct FLOAT",
        "variance_pct FLOAT, note TEXT NOT NULL",
        "",
        ".note",
        "NULL allowed or a default",
        "NOT NULL without a default",
        "weekly_actuals.note: inserts will fail; the column is NOT NULL, has no "
        "default and is not in the model",
    ),
    "another unique index": (
        "warning",
        "",
        "",
        "CREATE UNIQUE INDEX one ON weekly_actuals (store_id, week_number)",
        ".one",
        "no further unique key",
        "UNIQUE (store_id, week_number)",
        "weekly_actuals.one: UNIQUE (store_id, week_number) rejects rows that the "
        "model allows; it is not in the model",
    ),
}
BASE_ERRORS = {
    "no table": (
        "DROP TABLE stores",
        "stores", "a table", "nothing",
    ),
    "a view": (
        "DROP TABLE stores; CREATE VIEW stores AS SELECT 'S001' AS store_id",
        "stores", "a table", "a view",
    ),
    "no column": (
        "ALTER TABLE stores DROP COLUMN median_income",
        "stores.median_income", "integer", "no such column",
    ),
    "another type": (
        "DROP TABLE workflows; CREATE TABLE workflows (workflow_id INT PRIMARY KEY)",
        "workflows.workflow_id", "string", "INT",
    ),
    "no key": (
        "DROP TABLE workflows; CREATE TABLE workflows (workflow_id VARCHAR NOT NULL)",
        "workflows.workflow_id", "a primary or unique key", "no key",
    ),
}  # fmt: skip


def difference_of(severity, where, expected, actual, message=None):
    """Return a difference as the JSON document has it."""
    return {
        "severity": severity,
        "object": where,
        "expected": expected,
        "actual": actual,
        "message": message or f"{where}: expected {expected}, found {actual}",
    }


def found(call, *arguments):
    """Return the differences that a call reports, whether it succeeds or fails."""
    try:
        report = call(*arguments)
    except phase_4_5.MigrationError as error:
        report = error.report
    return report.to_dict()["differences"]


@pytest.mark.parametrize(
    ("old", "new", "script", "where", "expected", "actual"), ERRORS.values(), ids=ERRORS
)
def test_error_is_reported_in_full(compared, old, new, script, where, expected, actual):
    differences = found(compared, old, new, DECLARED_SHAPE, script)
    assert differences == [
        difference_of("error", f"weekly_actuals{where}", expected, actual)
    ]


@pytest.mark.parametrize(
    ("severity", "old", "new", "script", "where", "expected", "actual", "message"),
    WARNINGS_AND_NOTES.values(),
    ids=WARNINGS_AND_NOTES,
)
def test_warning_or_note_is_reported_in_full(
    compared, severity, old, new, script, where, expected, actual, message
):
    difference = difference_of(
        severity, f"weekly_actuals{where}", expected, actual, message
    )
    assert found(compared, old, new, DECLARED_SHAPE, script) == [difference]


@pytest.mark.parametrize(
    ("script", "where", "expected", "actual"), BASE_ERRORS.values(), ids=BASE_ERRORS
)
def test_error_of_a_base_table_is_reported_in_full(
    compared, script, where, expected, actual
):
    differences = found(compared, "", "", DECLARED_SHAPE, script)
    assert differences == [difference_of("error", where, expected, actual)]


def test_difference_contains_the_expected_and_the_actual(compared):
    (difference,) = compared("week_number INTEGER", "week_number VARCHAR(9)").to_dict()[
        "differences"
    ]
    assert difference == {
        "severity": "error",
        "object": "weekly_actuals.week_number",
        "expected": "integer",
        "actual": "VARCHAR(9)",
        "message": "weekly_actuals.week_number: expected integer, found VARCHAR(9)",
    }


def test_all_differences_are_found_in_one_check(compared):
    report = compared("week_number INTEGER NOT NULL", "week_number VARCHAR(9)",
                      script="DROP INDEX idx_weekly_actuals_date")  # fmt: skip
    assert [each.object for each in report.differences] == [
        "weekly_actuals.week_number",
        "weekly_actuals.week_number",
        "weekly_actuals.idx_weekly_actuals_date",
    ]


# -- a table with a composite primary key


class Pair(peewee.Model):
    first = peewee.IntegerField()
    second = peewee.IntegerField()

    class Meta:
        table_name = "pairs"
        primary_key = peewee.CompositeKey("second", "first")
        constraints = [peewee.SQL("CONSTRAINT positive CHECK (first > 0)")]


PAIRS = Phase("Pairs", requires={}, manages=[Pair])
PAIRS_TABLE = """
CREATE TABLE pairs (first INTEGER NOT NULL, second INTEGER NOT NULL, {},
                    CONSTRAINT positive CHECK (first > 0))
"""


@pytest.fixture
def pairs(tmp_path):
    """Return a function that creates the table with a key and returns its database."""

    def make(key, table=PAIRS_TABLE):
        execute(tmp_path / "pairs.db", table.format(key))
        return db.connect(f"sqlite:///{tmp_path}/pairs.db")

    return make


def test_key_in_another_order_than_its_columns_is_complete(pairs):
    report = PAIRS.check(pairs("PRIMARY KEY (second, first)"))
    assert (report.status, report.differences) == ("up_to_date", ())


@pytest.mark.parametrize(
    ("key", "actual"),
    [
        ("PRIMARY KEY (first, second)", "PRIMARY KEY (first, second)"),
        (
            "PRIMARY KEY (second, first) ON CONFLICT REPLACE",
            "PRIMARY KEY (second ON CONFLICT REPLACE, first ON CONFLICT REPLACE)",
        ),
    ],
    ids=["another order", "a conflict clause"],
)
def test_differing_composite_key_is_reported_in_full(pairs, key, actual):
    expected = "PRIMARY KEY (second, first)"
    (difference,) = found(PAIRS.check, pairs(key))
    assert difference == difference_of("error", "pairs.second, first", expected, actual)


def test_missing_check_is_reported_in_full(pairs):
    table = PAIRS_TABLE.replace("CONSTRAINT positive", "CONSTRAINT other")
    database = pairs("PRIMARY KEY (second, first)", table)
    missing, undeclared = found(PAIRS.check, database)
    expected = "CHECK (first > 0)"
    assert missing == difference_of(
        "error", "pairs.positive", expected, "no such CHECK"
    )
    assert undeclared == difference_of(
        "warning",
        "pairs.other",
        "no such CHECK",
        expected,
        "pairs.other: CHECK (first > 0) may reject rows that the model allows; "
        "it is not in the model",
    )


def test_key_that_replaced_rows_rejects_them_after_a_run(tmp_path, pairs):
    database = pairs("PRIMARY KEY (second, first) ON CONFLICT REPLACE")
    assert PAIRS.run(database).status == "migrated"
    execute(tmp_path / "pairs.db", "INSERT INTO pairs VALUES (1, 2)")
    with pytest.raises(sqlite3.IntegrityError):
        execute(tmp_path / "pairs.db", "INSERT INTO pairs VALUES (1, 2)")
    assert fetch(tmp_path / "pairs.db", "SELECT first, second FROM pairs") == [(1, 2)]


# -- the tables that weekly_actuals requires


@pytest.mark.parametrize(
    ("script", "where"),
    [
        (
            "ALTER TABLE historical_sales RENAME COLUMN units_sold TO sold",
            "historical_sales.units_sold",
        ),
        ("ALTER TABLE stores DROP COLUMN median_income", "stores.median_income"),
        ("ALTER TABLE stores RENAME COLUMN store_id TO id", "stores.store_id"),
        (
            "ALTER TABLE categories RENAME COLUMN category_id TO id",
            "categories.category_id",
        ),
        (
            "ALTER TABLE workflows RENAME COLUMN workflow_id TO id",
            "workflows.workflow_id",
        ),
        (
            "DROP TABLE stores; CREATE VIEW stores AS SELECT 'S001' AS store_id",
            "stores",
        ),
        (
            "DROP TABLE workflows; CREATE TABLE workflows "
            "(workflow_id VARCHAR NOT NULL)",
            "workflows.workflow_id",
        ),
        (
            "DROP TABLE workflows; CREATE TABLE workflows "
            "(workflow_id INTEGER PRIMARY KEY)",
            "workflows.workflow_id",
        ),
        (
            "DROP TABLE categories; CREATE TABLE categories "
            "(category_id VARCHAR, x, PRIMARY KEY (category_id, x))",
            "categories.category_id",
        ),
        (
            "DROP TABLE categories; CREATE TABLE categories (category_id VARCHAR);"
            "CREATE UNIQUE INDEX u ON categories (category_id) WHERE category_id > 'C'",
            "categories.category_id",
        ),
        (
            "DROP TABLE categories; CREATE TABLE categories (category_id VARCHAR);"
            "CREATE UNIQUE INDEX u ON categories (category_id COLLATE NOCASE)",
            "categories.category_id",
        ),
    ],
)
def test_incompatible_base_table_is_named_with_its_column(
    path, database, script, where
):
    execute(path, script)
    with pytest.raises(phase_4_5.IncompatibleTables, match=where):
        phase_4_5.check(database)


@pytest.mark.parametrize("script", [
    "ALTER TABLE stores RENAME TO s; ALTER TABLE s RENAME TO Stores",
    "DROP TABLE store_clusters",
    "ALTER TABLE stores ADD COLUMN opened DATE",
    "DROP INDEX idx_historical_sales_date",
    "DROP TABLE categories; CREATE TABLE categories (category_id TEXT UNIQUE)",
])  # fmt: skip
def test_other_differences_of_a_base_table_are_accepted(path, database, script):
    execute(path, script)
    assert phase_4_5.run(database, smoke_test=False).status == "migrated"


def test_sqlite_rejects_a_parent_key_of_another_collation():
    connection = sqlite3.connect(":memory:")
    connection.executescript("""
        PRAGMA foreign_keys = ON;
        CREATE TABLE parents (name TEXT);
        CREATE UNIQUE INDEX u ON parents (name COLLATE NOCASE);
        CREATE TABLE children (name TEXT REFERENCES parents (name));
    """)
    with pytest.raises(sqlite3.OperationalError, match="foreign key mismatch"):
        connection.execute("INSERT INTO children VALUES ('a')")


def test_missing_column_that_is_not_required_is_no_warning(path, database):
    execute(
        path,
        "ALTER TABLE workflows DROP COLUMN current_agent; ALTER TABLE stores "
        "DROP COLUMN created_at",
    )
    assert [
        each
        for each in phase_4_5.check(database).differences
        if each.severity == "warning"
    ] == []


def test_unique_column_is_accepted_as_a_parent_key(path, database):
    execute(
        path,
        "DROP TABLE workflows; CREATE TABLE workflows "
        "(n INTEGER PRIMARY KEY, workflow_id TEXT UNIQUE)",
    )
    assert phase_4_5.run(database).smoke_test["cascade"] is True
