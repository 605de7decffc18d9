"""The smoke test: the outcome of its steps, and that it leaves no rows."""

import contextlib

import pytest
from application import OTHER_ORM_SHAPE, SPECIFICATION_SHAPE, dump, execute, fetch

import db
from db.init_db import init_db
from migrations import phase_4_5

STEPS = ("insert", "select", "unique", "foreign_keys", "cascade", "cleanup")
ALL_PASSED = dict.fromkeys(STEPS, True)
UPLOAD = """INSERT INTO weekly_actuals (id, workflow_id, week_number, week_start_date,
        week_end_date, store_id, category_id, actual_units_sold, uploaded_at)
    VALUES ({}, 'W1', {}, '2025-02-17', '2025-02-23', 'S001', 'C1', 7,
        '2025-02-24 08:00:00');"""


@pytest.fixture
def migrated(path, database):
    phase_4_5.ensure(database)
    return path


def smoke_test(file):
    return phase_4_5.run(db.connect(f"sqlite:///{file}"), statistics=False).smoke_test


def failed(file):
    with pytest.raises(phase_4_5.SmokeTestFailed) as caught:
        smoke_test(file)
    steps = caught.value.report.smoke_test
    return [step for step in STEPS if steps[step] is False]


# -- all steps pass


def test_all_steps_pass_on_tables_with_data(migrated):
    assert smoke_test(migrated) == ALL_PASSED


def test_all_steps_pass_on_tables_without_rows(empty_path):
    assert smoke_test(empty_path) == ALL_PASSED


def test_all_steps_pass_on_tables_created_by_init_db(tmp_path):
    init_db(db.connect(f"sqlite:///{tmp_path}/new.db"))
    assert smoke_test(tmp_path / "new.db") == ALL_PASSED


UNDECLARED = {
    "NOT NULL": "ALTER TABLE workflows ADD COLUMN tenant VARCHAR NOT NULL DEFAULT ''",
    "NOT NULL without a default": "DROP TABLE workflows; CREATE TABLE workflows "
    "(workflow_id TEXT PRIMARY KEY, "
    "tenant TEXT NOT NULL, number INTEGER NOT NULL, day DATE NOT NULL, amount NUMERIC "
    "NOT NULL, raw BLOB NOT NULL)",
    "CHECK": "DROP TABLE workflows; CREATE TABLE workflows "
    "(workflow_id TEXT PRIMARY KEY, "
    "kind TEXT NOT NULL CHECK (kind IN ('a', 'b')), share REAL NOT NULL CHECK "
    "(share BETWEEN 2 AND 3), "
    "CHECK (length(kind) = 1))",
    "UNIQUE": "DROP TABLE categories; CREATE TABLE categories "
    "(category_id TEXT PRIMARY KEY, "
    "slug TEXT NOT NULL UNIQUE, position INTEGER NOT NULL UNIQUE, day DATE NOT NULL)",
    "an additional foreign key": "CREATE TABLE tenants "
    "(tenant_id TEXT PRIMARY KEY, name TEXT "
    "NOT NULL); "
    "DROP TABLE workflows;"
    "CREATE TABLE workflows (workflow_id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL "
    "REFERENCES tenants)",
    "an additional foreign key to a number": "CREATE TABLE tenants "
    "(n INTEGER PRIMARY KEY, name TEXT NOT NULL);"
    "DROP TABLE workflows;"
    "CREATE TABLE workflows (workflow_id TEXT PRIMARY KEY, t INTEGER NOT NULL "
    "REFERENCES tenants)",
    "a chain of foreign keys": "CREATE TABLE a (a TEXT PRIMARY KEY); CREATE TABLE b "
    "(b TEXT PRIMARY KEY, a TEXT NOT "
    "NULL REFERENCES a); DROP TABLE workflows;"
    "CREATE TABLE workflows (workflow_id TEXT PRIMARY KEY, b TEXT NOT NULL "
    "REFERENCES b)",
    "a foreign key to the parent itself": "DROP TABLE categories; "
    "CREATE TABLE categories "
    "(category_id TEXT PRIMARY KEY, "
    "parent TEXT REFERENCES categories)",
    "a surrogate key": "DROP TABLE workflows; CREATE TABLE workflows "
    "(n INTEGER PRIMARY KEY AUTOINCREMENT, "
    "workflow_id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL)",
    "a generated column": "ALTER TABLE workflows ADD COLUMN short TEXT AS "
    "(substr(workflow_id, 1, 3))",
    "capitals": "DROP TABLE workflows; CREATE TABLE Workflows "
    "(WORKFLOW_ID TEXT PRIMARY KEY, "
    "KIND TEXT NOT NULL)",
    "a name that needs quoting": 'ALTER TABLE stores ADD COLUMN "order "" by" TEXT NOT '
    "NULL DEFAULT 'x'",
    "another table's NO ACTION": "CREATE TABLE logs (workflow_id TEXT NOT NULL "
    "REFERENCES workflows)",
    "WITHOUT ROWID": "DROP TABLE workflows; CREATE TABLE workflows "
    "(workflow_id TEXT PRIMARY KEY) "
    "WITHOUT ROWID",
    "STRICT": "DROP TABLE workflows; CREATE TABLE workflows "
    "(workflow_id TEXT PRIMARY KEY, "
    "n "
    "INT NOT NULL, "
    "r REAL NOT NULL, t TEXT NOT NULL, b BLOB NOT NULL) STRICT",
    "a trigger that logs": "CREATE TABLE log (id INTEGER PRIMARY KEY AUTOINCREMENT, "
    "what);"
    "CREATE TRIGGER t AFTER INSERT ON workflows BEGIN INSERT INTO log (what) VALUES "
    "(NEW.workflow_id); END",
}


@pytest.mark.parametrize("script", UNDECLARED.values(), ids=UNDECLARED)
@pytest.mark.parametrize("rows", ["with data", "without a row"])
def test_all_steps_pass_on_parents_with_undeclared_parts(
    path, empty_path, rows, script
):
    file = path if rows == "with data" else empty_path
    execute(file, script)
    assert smoke_test(file) == ALL_PASSED


@pytest.mark.parametrize("script", UNDECLARED.values(), ids=UNDECLARED)
def test_undeclared_parts_of_parents_leave_no_rows(path, script):
    execute(path, script)
    phase_4_5.ensure(db.connect(f"sqlite:///{path}"))
    before = dump(path)
    smoke_test(path)
    assert dump(path) == before


def test_all_steps_pass_on_parents_with_a_unique_index(path):
    execute(
        path,
        "ALTER TABLE workflows ADD COLUMN slug TEXT; UPDATE workflows SET slug = "
        "workflow_id;"
        "CREATE UNIQUE INDEX u ON workflows (slug, category_id)",
    )
    assert smoke_test(path) == ALL_PASSED


@pytest.mark.parametrize(
    "extra",
    [
        "note TEXT NOT NULL",
        "note TEXT NOT NULL CHECK (note IN ('a', 'b'))",
        "note INTEGER NOT NULL UNIQUE",
    ],
)
def test_all_steps_pass_on_a_table_with_an_undeclared_column(path, extra):
    execute(
        path,
        SPECIFICATION_SHAPE.replace(
            "variance_pct FLOAT", f"variance_pct FLOAT, {extra}"
        ),
    )
    assert smoke_test(path) == ALL_PASSED


def test_all_steps_pass_on_a_table_of_another_orm(path):
    execute(path, OTHER_ORM_SHAPE)
    assert smoke_test(path) == ALL_PASSED


# -- rows in use are untouched


def test_ids_in_use_are_untouched(migrated):
    execute(
        migrated,
        UPLOAD.format(2**63 - 1, 1) + UPLOAD.format(-1, 2) + UPLOAD.format(-(2**31), 3),
    )
    before = dump(migrated)
    assert smoke_test(migrated) == ALL_PASSED
    assert dump(migrated) == before


@pytest.mark.parametrize(
    "name", ["test_workflow", "smoke_test", "TEST", "smoke_test_workflow"]
)
def test_workflow_with_the_name_of_a_test_keeps_its_rows(migrated, name):
    execute(
        migrated,
        f"UPDATE workflows SET workflow_id = '{name}';"
        + UPLOAD.replace("W1", name).format(1, 1),
    )
    before = dump(migrated)
    smoke_test(migrated)
    assert dump(migrated) == before


def test_smoke_test_leaves_no_rows(migrated):
    before = dump(migrated)
    smoke_test(migrated)
    assert dump(migrated) == before


def test_smoke_test_leaves_sqlite_sequence_unchanged(migrated):
    execute(migrated, UPLOAD.format(41, 1))
    smoke_test(migrated)
    assert fetch(migrated, "SELECT name, seq FROM sqlite_sequence") == [
        ("weekly_actuals", 41)
    ]


def test_failed_smoke_test_leaves_no_rows(migrated):
    execute(
        migrated,
        "CREATE TRIGGER t BEFORE DELETE ON workflows BEGIN SELECT RAISE(IGNORE); END",
    )
    before = dump(migrated)
    assert failed(migrated) == ["cascade"]
    assert dump(migrated) == before


def test_trigger_that_rolls_back_leaves_no_rows(migrated):
    execute(
        migrated,
        "CREATE TRIGGER t AFTER INSERT ON weekly_actuals BEGIN "
        "SELECT RAISE(ROLLBACK, 'no'); END",
    )
    before = dump(migrated)
    with pytest.raises(phase_4_5.MigrationError):
        smoke_test(migrated)
    assert dump(migrated) == before


@pytest.mark.parametrize("table", ["workflows", "stores", "categories"])
def test_trigger_of_a_parent_that_rolls_back_leaves_no_rows(migrated, table):
    execute(
        migrated,
        f"CREATE TRIGGER t AFTER INSERT ON {table} BEGIN SELECT RAISE(ROLLBACK, 'no'); "
        "END",
    )
    before = dump(migrated)
    with contextlib.suppress(phase_4_5.MigrationError):
        smoke_test(migrated)
    assert dump(migrated) == before


# -- steps that cannot be attempted do not pass


def test_parent_that_rejects_rows_leaves_every_step_unattempted(migrated):
    execute(
        migrated,
        "CREATE TRIGGER t BEFORE INSERT ON workflows BEGIN "
        "SELECT RAISE(ABORT, 'closed'); END",
    )
    assert smoke_test(migrated) == {**dict.fromkeys(STEPS), "cleanup": True}


def test_parent_with_a_composite_foreign_key_is_inserted(path):
    execute(
        path,
        "CREATE TABLE a (x TEXT, y TEXT, PRIMARY KEY (x, y)); DROP TABLE workflows; "
        "CREATE TABLE workflows "
        "(workflow_id TEXT PRIMARY KEY, x TEXT NOT NULL, y TEXT NOT NULL, FOREIGN KEY "
        "(x, y) REFERENCES a)",
    )
    assert smoke_test(path) == ALL_PASSED


def test_reason_of_an_unattempted_step_is_logged(cli, migrated):
    execute(
        migrated,
        "CREATE TRIGGER t BEFORE INSERT ON workflows BEGIN "
        "SELECT RAISE(ABORT, 'closed'); END",
    )
    done = cli()
    assert "workflows: closed" in done.stderr
    assert "✓ insert" not in done.stderr


def test_foreign_keys_off_in_a_transaction_are_not_attempted(migrated):
    database = db.connect(f"sqlite:///{migrated}")
    with database.connection_context():
        database.pragma("foreign_keys", 0)
        with database.atomic():
            steps = phase_4_5.run(database).smoke_test
    assert steps == {**ALL_PASSED, "foreign_keys": None, "cascade": None}


def test_foreign_key_to_another_key_is_found(path):
    execute(
        path,
        SPECIFICATION_SHAPE.replace("workflows(workflow_id)", "workflows")
        + "DROP TABLE workflows;"
        "CREATE TABLE workflows (n INTEGER PRIMARY KEY, workflow_id TEXT NOT NULL "
        "UNIQUE)",
    )
    assert phase_4_5.check(db.connect(f"sqlite:///{path}")).status == "pending"


def test_foreign_keys_off_outside_a_transaction_are_attempted(migrated):
    database = db.connect(f"sqlite:///{migrated}")
    with database.connection_context():
        database.pragma("foreign_keys", 0)
        assert phase_4_5.run(database).smoke_test == ALL_PASSED
        assert database.pragma("foreign_keys") == 0


def test_deferred_foreign_keys_of_the_transaction_are_no_failure(migrated):
    database = db.connect(f"sqlite:///{migrated}")
    with database.atomic():
        database.pragma("defer_foreign_keys", 1)
        assert phase_4_5.run(database).smoke_test["foreign_keys"] is not False
        assert database.pragma("defer_foreign_keys") == 1


def test_deferred_foreign_key_of_the_table_is_no_failure(path):
    execute(
        path,
        SPECIFICATION_SHAPE.replace(
            "ON DELETE CASCADE", "ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"
        ),
    )
    assert smoke_test(path)["foreign_keys"] is not False


# -- triggers that break what the schema promises

BREAKING_TRIGGERS = {
    "insert": "CREATE TRIGGER t BEFORE INSERT ON weekly_actuals BEGIN "
    "SELECT RAISE(ABORT, 'no'); END",
    "select": "CREATE TRIGGER t AFTER INSERT ON weekly_actuals BEGIN DELETE "
    "FROM weekly_actuals WHERE id = NEW.id; END",
    "unique": "CREATE TRIGGER t BEFORE INSERT ON weekly_actuals BEGIN DELETE "
    "FROM weekly_actuals WHERE "
    "workflow_id = NEW.workflow_id AND week_number = NEW.week_number "
    "AND store_id = NEW.store_id; END",
    "cascade": "CREATE TRIGGER t BEFORE DELETE ON workflows BEGIN "
    "SELECT RAISE(IGNORE); END",
}


@pytest.mark.parametrize("step", BREAKING_TRIGGERS)
def test_trigger_that_breaks_a_step_makes_it_fail(migrated, step):
    execute(migrated, BREAKING_TRIGGERS[step])
    assert failed(migrated)[0] == step


def test_missing_table_named_disk_usage_is_not_a_full_disk(migrated):
    execute(
        migrated,
        "CREATE TRIGGER t AFTER INSERT ON weekly_actuals BEGIN INSERT INTO disk_usage "
        "VALUES (1); END",
    )
    assert failed(migrated)[0] == "insert"


def trigger_on_duplicates(raised):
    """Return a trigger that raises for a duplicate before the UNIQUE constraint."""
    same = (
        "workflow_id = NEW.workflow_id AND week_number = NEW.week_number "
        "AND store_id = NEW.store_id"
    )
    return (
        "CREATE TRIGGER t BEFORE INSERT ON weekly_actuals "
        f"WHEN EXISTS (SELECT 1 FROM weekly_actuals WHERE {same}) "
        f"BEGIN SELECT RAISE({raised}); END"
    )


def test_silently_ignored_duplicate_fails_the_unique_step(migrated):
    execute(migrated, trigger_on_duplicates("IGNORE"))
    assert failed(migrated) == ["unique"]


def test_trigger_that_rolls_back_on_a_duplicate_changes_nothing(migrated):
    execute(migrated, trigger_on_duplicates("ROLLBACK, 'there already'"))
    before = dump(migrated)
    with pytest.raises(phase_4_5.MigrationError):
        smoke_test(migrated)
    assert dump(migrated) == before


def test_accepted_orphan_fails_the_foreign_keys_step(migrated):
    execute(
        migrated,
        "CREATE TRIGGER t BEFORE INSERT ON weekly_actuals "
        "BEGIN INSERT OR IGNORE INTO workflows "
        "VALUES (NEW.workflow_id, 'x', NULL, 'C1', 'x', NULL, NULL, 1, 'x', 'x', 1, "
        "NULL, NULL, NULL, "
        "NULL, NULL, NULL, NULL, NULL); END",
    )
    assert failed(migrated) == ["foreign_keys"]


def test_failed_step_is_named_and_fails_the_command(cli, migrated):
    execute(migrated, BREAKING_TRIGGERS["unique"])
    done = cli("-q")
    assert done.returncode == 1
    assert "✗ unique" in done.stderr
    assert "Traceback" not in done.stderr


def test_steps_after_a_failed_one_do_not_pass(migrated):
    execute(migrated, BREAKING_TRIGGERS["insert"])
    with pytest.raises(phase_4_5.SmokeTestFailed) as caught:
        smoke_test(migrated)
    assert caught.value.report.smoke_test == {
        **dict.fromkeys(STEPS),
        "insert": False,
        "cleanup": True,
    }


def test_checks_are_enforced_after_the_smoke_test(migrated):
    database = db.connect(f"sqlite:///{migrated}")
    with database.connection_context():
        phase_4_5.run(database)
        assert database.pragma("ignore_check_constraints") == 0
