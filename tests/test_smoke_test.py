"""The smoke test: what it proves, and that it leaves nothing behind whatever it meets."""

import contextlib

import pytest
from application import OTHER_ORM_SHAPE, SPECIFICATION_SHAPE, dump, execute, fetch

import db
from db.init_db import init_db
from migrations import phase_4_5

STEPS = ("insert", "select", "unique", "foreign_keys", "cascade", "cleanup")
ALL_HOLD = dict.fromkeys(STEPS, True)
UPLOAD = """INSERT INTO weekly_actuals (id, workflow_id, week_number, week_start_date, week_end_date, store_id,
    category_id, actual_units_sold, uploaded_at)
    VALUES ({}, 'W1', {}, '2025-02-17', '2025-02-23', 'S001', 'C1', 7, '2025-02-24 08:00:00');"""


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


# -- where it holds


def test_on_tables_with_data(migrated):
    assert smoke_test(migrated) == ALL_HOLD


def test_on_tables_without_a_row(empty_path):
    assert smoke_test(empty_path) == ALL_HOLD


def test_on_tables_that_init_db_made(tmp_path):
    init_db(db.connect(f"sqlite:///{tmp_path}/new.db"))
    assert smoke_test(tmp_path / "new.db") == ALL_HOLD


DEMANDING = {
    "NOT NULL": "ALTER TABLE workflows ADD COLUMN tenant VARCHAR NOT NULL DEFAULT ''",
    "NOT NULL without a default": "DROP TABLE workflows; CREATE TABLE workflows (workflow_id TEXT PRIMARY KEY, "
    "tenant TEXT NOT NULL, number INTEGER NOT NULL, day DATE NOT NULL, amount NUMERIC NOT NULL, raw BLOB NOT NULL)",
    "CHECK": "DROP TABLE workflows; CREATE TABLE workflows (workflow_id TEXT PRIMARY KEY, "
    "kind TEXT NOT NULL CHECK (kind IN ('a', 'b')), share REAL NOT NULL CHECK (share BETWEEN 2 AND 3), "
    "CHECK (length(kind) = 1))",
    "UNIQUE": "DROP TABLE categories; CREATE TABLE categories (category_id TEXT PRIMARY KEY, "
    "slug TEXT NOT NULL UNIQUE, position INTEGER NOT NULL UNIQUE, day DATE NOT NULL)",
    "own foreign key": "CREATE TABLE tenants (tenant_id TEXT PRIMARY KEY, name TEXT NOT NULL); DROP TABLE workflows;"
    "CREATE TABLE workflows (workflow_id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL REFERENCES tenants)",
    "own foreign key to a number": "CREATE TABLE tenants (n INTEGER PRIMARY KEY, name TEXT NOT NULL);"
    "DROP TABLE workflows;"
    "CREATE TABLE workflows (workflow_id TEXT PRIMARY KEY, t INTEGER NOT NULL REFERENCES tenants)",
    "a chain of foreign keys": "CREATE TABLE a (a TEXT PRIMARY KEY); CREATE TABLE b (b TEXT PRIMARY KEY, a TEXT NOT "
    "NULL REFERENCES a); DROP TABLE workflows;"
    "CREATE TABLE workflows (workflow_id TEXT PRIMARY KEY, b TEXT NOT NULL REFERENCES b)",
    "a parent of itself": "DROP TABLE categories; CREATE TABLE categories (category_id TEXT PRIMARY KEY, "
    "parent TEXT REFERENCES categories)",
    "a surrogate key": "DROP TABLE workflows; CREATE TABLE workflows (n INTEGER PRIMARY KEY AUTOINCREMENT, "
    "workflow_id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL)",
    "a generated column": "ALTER TABLE workflows ADD COLUMN short TEXT AS (substr(workflow_id, 1, 3))",
    "capitals": "DROP TABLE workflows; CREATE TABLE Workflows (WORKFLOW_ID TEXT PRIMARY KEY, KIND TEXT NOT NULL)",
    "a name that needs quoting": 'ALTER TABLE stores ADD COLUMN "order "" by" TEXT NOT NULL DEFAULT \'x\'',
    "another table's NO ACTION": "CREATE TABLE logs (workflow_id TEXT NOT NULL REFERENCES workflows)",
    "WITHOUT ROWID": "DROP TABLE workflows; CREATE TABLE workflows (workflow_id TEXT PRIMARY KEY) WITHOUT ROWID",
    "STRICT": "DROP TABLE workflows; CREATE TABLE workflows (workflow_id TEXT PRIMARY KEY, n INT NOT NULL, "
    "r REAL NOT NULL, t TEXT NOT NULL, b BLOB NOT NULL) STRICT",
    "a trigger that logs": "CREATE TABLE log (id INTEGER PRIMARY KEY AUTOINCREMENT, what);"
    "CREATE TRIGGER t AFTER INSERT ON workflows BEGIN INSERT INTO log (what) VALUES (NEW.workflow_id); END",
}


@pytest.mark.parametrize("script", DEMANDING.values(), ids=DEMANDING)
@pytest.mark.parametrize("rows", ["with data", "without a row"])
def test_on_parents_with_what_no_model_knows(path, empty_path, rows, script):
    file = path if rows == "with data" else empty_path
    execute(file, script)
    assert smoke_test(file) == ALL_HOLD


@pytest.mark.parametrize("script", DEMANDING.values(), ids=DEMANDING)
def test_nothing_is_left_behind_by_what_no_model_knows(path, script):
    execute(path, script)
    phase_4_5.ensure(db.connect(f"sqlite:///{path}"))
    before = dump(path)
    smoke_test(path)
    assert dump(path) == before


def test_on_parents_with_a_unique_column_and_rows(path):
    execute(path, "ALTER TABLE workflows ADD COLUMN slug TEXT; UPDATE workflows SET slug = workflow_id;"
                  "CREATE UNIQUE INDEX u ON workflows (slug, category_id)")  # fmt: skip
    assert smoke_test(path) == ALL_HOLD


@pytest.mark.parametrize("extra", ["note TEXT NOT NULL", "note TEXT NOT NULL CHECK (note IN ('a', 'b'))",
                                   "note INTEGER NOT NULL UNIQUE"])  # fmt: skip
def test_on_a_table_with_a_column_of_the_users_own(path, extra):
    execute(path, SPECIFICATION_SHAPE.replace("variance_pct FLOAT", f"variance_pct FLOAT, {extra}"))
    assert smoke_test(path) == ALL_HOLD


def test_on_a_table_in_another_shape(path):
    execute(path, OTHER_ORM_SHAPE)
    assert smoke_test(path) == ALL_HOLD


# -- what is in use is untouched


def test_ids_in_use_are_untouched(migrated):
    execute(migrated, UPLOAD.format(2**63 - 1, 1) + UPLOAD.format(-1, 2) + UPLOAD.format(-(2**31), 3))
    before = dump(migrated)
    assert smoke_test(migrated) == ALL_HOLD
    assert dump(migrated) == before


@pytest.mark.parametrize("name", ["test_workflow", "smoke_test", "TEST", "smoke_test_workflow"])
def test_a_workflow_with_a_tests_name_keeps_its_rows(migrated, name):
    execute(migrated, f"UPDATE workflows SET workflow_id = '{name}';" + UPLOAD.replace("W1", name).format(1, 1))
    before = dump(migrated)
    smoke_test(migrated)
    assert dump(migrated) == before


def test_nothing_is_left_behind(migrated):
    before = dump(migrated)
    smoke_test(migrated)
    assert dump(migrated) == before


def test_nothing_is_left_behind_in_sqlite_sequence(migrated):
    execute(migrated, UPLOAD.format(41, 1))
    smoke_test(migrated)
    assert fetch(migrated, "SELECT name, seq FROM sqlite_sequence") == [("weekly_actuals", 41)]


def test_a_failure_leaves_nothing_behind_either(migrated):
    execute(migrated, "CREATE TRIGGER t BEFORE DELETE ON workflows BEGIN SELECT RAISE(IGNORE); END")
    before = dump(migrated)
    assert failed(migrated) == ["cascade"]
    assert dump(migrated) == before


def test_a_trigger_that_rolls_back_leaves_nothing_behind(migrated):
    execute(migrated, "CREATE TRIGGER t AFTER INSERT ON weekly_actuals BEGIN SELECT RAISE(ROLLBACK, 'no'); END")
    before = dump(migrated)
    with pytest.raises(phase_4_5.MigrationError):
        smoke_test(migrated)
    assert dump(migrated) == before


@pytest.mark.parametrize("table", ["workflows", "stores", "categories"])
def test_a_parents_trigger_that_rolls_back_leaves_nothing_behind(migrated, table):
    execute(migrated, f"CREATE TRIGGER t AFTER INSERT ON {table} BEGIN SELECT RAISE(ROLLBACK, 'no'); END")
    before = dump(migrated)
    with contextlib.suppress(phase_4_5.MigrationError):
        smoke_test(migrated)
    assert dump(migrated) == before


# -- what cannot be tried does not pass


def test_a_parent_that_takes_no_row_leaves_every_step_untried(migrated):
    execute(migrated, "CREATE TRIGGER t BEFORE INSERT ON workflows BEGIN SELECT RAISE(ABORT, 'closed'); END")
    assert smoke_test(migrated) == {**dict.fromkeys(STEPS), "cleanup": True}


def test_a_parent_with_a_foreign_key_of_two_columns_is_made(path):
    execute(
        path,
        "CREATE TABLE a (x TEXT, y TEXT, PRIMARY KEY (x, y)); DROP TABLE workflows; CREATE TABLE workflows "
        "(workflow_id TEXT PRIMARY KEY, x TEXT NOT NULL, y TEXT NOT NULL, FOREIGN KEY (x, y) REFERENCES a)",
    )
    assert smoke_test(path) == ALL_HOLD


def test_the_log_says_why_a_step_was_not_tried(cli, migrated):
    execute(migrated, "CREATE TRIGGER t BEFORE INSERT ON workflows BEGIN SELECT RAISE(ABORT, 'closed'); END")
    done = cli()
    assert "workflows: closed" in done.stderr
    assert "✓ insert" not in done.stderr


def test_foreign_keys_off_in_the_callers_transaction_are_not_tried(migrated):
    database = db.connect(f"sqlite:///{migrated}")
    with database.connection_context():
        database.pragma("foreign_keys", 0)
        with database.atomic():
            steps = phase_4_5.run(database).smoke_test
    assert steps == {**ALL_HOLD, "foreign_keys": None, "cascade": None}


def test_foreign_keys_that_lead_to_another_key_are_found(path):
    execute(path, SPECIFICATION_SHAPE.replace("workflows(workflow_id)", "workflows") + "DROP TABLE workflows;"
                  "CREATE TABLE workflows (n INTEGER PRIMARY KEY, workflow_id TEXT NOT NULL UNIQUE)")  # fmt: skip
    assert phase_4_5.check(db.connect(f"sqlite:///{path}")).status == "pending"


def test_foreign_keys_off_outside_a_transaction_are_tried_all_the_same(migrated):
    database = db.connect(f"sqlite:///{migrated}")
    with database.connection_context():
        database.pragma("foreign_keys", 0)
        assert phase_4_5.run(database).smoke_test == ALL_HOLD
        assert database.pragma("foreign_keys") == 0


def test_deferred_foreign_keys_of_the_callers_transaction_are_no_failure(migrated):
    database = db.connect(f"sqlite:///{migrated}")
    with database.atomic():
        database.pragma("defer_foreign_keys", 1)
        assert phase_4_5.run(database).smoke_test["foreign_keys"] is not False
        assert database.pragma("defer_foreign_keys") == 1


def test_a_foreign_key_that_is_checked_at_commit_is_no_failure(path):
    execute(path, SPECIFICATION_SHAPE.replace("ON DELETE CASCADE", "ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"))
    assert smoke_test(path)["foreign_keys"] is not False


# -- a table that lies: its schema reads well, its behaviour does not

LIES = {
    "insert": "CREATE TRIGGER t BEFORE INSERT ON weekly_actuals BEGIN SELECT RAISE(ABORT, 'no'); END",
    "select": "CREATE TRIGGER t AFTER INSERT ON weekly_actuals BEGIN DELETE FROM weekly_actuals WHERE id = NEW.id; END",
    "unique": "CREATE TRIGGER t BEFORE INSERT ON weekly_actuals BEGIN DELETE FROM weekly_actuals WHERE "
    "workflow_id = NEW.workflow_id AND week_number = NEW.week_number AND store_id = NEW.store_id; END",
    "cascade": "CREATE TRIGGER t BEFORE DELETE ON workflows BEGIN SELECT RAISE(IGNORE); END",
}


@pytest.mark.parametrize("step", LIES)
def test_the_step_that_does_not_hold_fails(migrated, step):
    execute(migrated, LIES[step])
    assert failed(migrated)[0] == step


def test_a_missing_table_that_is_called_after_a_disk_is_no_news_of_one(migrated):
    execute(migrated, "CREATE TRIGGER t AFTER INSERT ON weekly_actuals BEGIN INSERT INTO disk_usage VALUES (1); END")
    assert failed(migrated)[0] == "insert"


def answering(raised):
    """A trigger that answers for the unique key."""
    same = "workflow_id = NEW.workflow_id AND week_number = NEW.week_number AND store_id = NEW.store_id"
    return (f"CREATE TRIGGER t BEFORE INSERT ON weekly_actuals WHEN EXISTS (SELECT 1 FROM weekly_actuals WHERE {same}) "
            f"BEGIN SELECT RAISE({raised}); END")  # fmt: skip


def test_a_duplicate_that_is_dropped_in_silence_fails(migrated):
    execute(migrated, answering("IGNORE"))
    assert failed(migrated) == ["unique"]


def test_a_trigger_that_rolls_back_never_loses_the_callers_work(migrated):
    execute(migrated, answering("ROLLBACK, 'there already'"))
    before = dump(migrated)
    with pytest.raises(phase_4_5.MigrationError):
        smoke_test(migrated)
    assert dump(migrated) == before


def test_orphans_let_in_fail(migrated):
    execute(migrated, "CREATE TRIGGER t BEFORE INSERT ON weekly_actuals BEGIN INSERT OR IGNORE INTO workflows "
                      "VALUES (NEW.workflow_id, 'x', NULL, 'C1', 'x', NULL, NULL, 1, 'x', 'x', 1, NULL, NULL, NULL, "
                      "NULL, NULL, NULL, NULL, NULL); END")  # fmt: skip
    assert failed(migrated) == ["foreign_keys"]


def test_a_failed_step_is_named_and_makes_the_command_fail(cli, migrated):
    execute(migrated, LIES["unique"])
    done = cli("-q")
    assert done.returncode == 1
    assert "✗ unique" in done.stderr
    assert "Traceback" not in done.stderr


def test_steps_after_a_failed_one_do_not_pass(migrated):
    execute(migrated, LIES["insert"])
    with pytest.raises(phase_4_5.SmokeTestFailed) as caught:
        smoke_test(migrated)
    assert caught.value.report.smoke_test == {**dict.fromkeys(STEPS), "insert": False, "cleanup": True}


def test_checks_are_enforced_again_afterwards(migrated):
    database = db.connect(f"sqlite:///{migrated}")
    with database.connection_context():
        phase_4_5.run(database)
        assert database.pragma("ignore_check_constraints") == 0
