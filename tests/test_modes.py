"""The modes --check, --dry-run and --rollback on SQLite."""

import json
import shutil
from pathlib import Path

import processes
import pytest
from engines.worlds import SQLite
from states import REFUSED, REPAIRED, UNTOUCHED, State, cases, row

import db
from migrations import phase_4_5

COMPLETE = State("complete", UNTOUCHED, items={})
NOTHING = State("nothing", REPAIRED)
TO_REBUILD = State(
    "to be rebuilt", REPAIRED, items={"week_number": "week_number TEXT NOT NULL"}
)
DRIFTED = State(
    "drifted",
    REPAIRED,
    items={"week_number": "week_number INTEGER"},
    without=("idx_weekly_actuals_date",),
)


@pytest.fixture
def make(tmp_path):
    """Return a function that creates a file in one of the states."""
    worlds = []

    def make(state, *rows):
        world = SQLite(tmp_path / f"app{len(worlds)}.db").make(state)
        worlds.append(world)
        if rows:
            world.insert(*rows)
        return world

    yield make
    for world in worlds:
        world.drop()


def twin(world):
    """Return another database with the same contents, times of creation included."""
    shutil.copy(world.path, f"{world.path}.twin")
    return SQLite(f"{world.path}.twin")


def command(world, *options):
    return processes.run(processes.PHASE, "--database", world.url, *options)


def schema(world):
    """Return the catalog without the internal tables of SQLite."""
    return world.query(
        "SELECT type, name, tbl_name, sql FROM sqlite_master "
        "WHERE name NOT LIKE 'sqlite_%' ORDER BY 2"
    )


def everything(world):
    return schema(world), list(world.connection.iterdump())


# -- --check


@pytest.mark.parametrize(
    ("state", "status"), [(COMPLETE, 0), (NOTHING, 1), (DRIFTED, 1), (TO_REBUILD, 1)]
)
def test_check_exits_with_1_if_changes_are_pending(make, state, status):
    assert command(make(state), "--check").returncode == status


@pytest.mark.parametrize("option", ["--check", "--dry-run"])
@pytest.mark.parametrize("state", [COMPLETE, NOTHING, DRIFTED, TO_REBUILD])
def test_read_only_modes_leave_the_bytes_unchanged(make, option, state):
    world = make(state)
    before = Path(world.path).read_bytes()
    command(world, option)
    assert Path(world.path).read_bytes() == before
    assert [each.name for each in Path(world.path).parent.iterdir()] == [
        Path(world.path).name
    ]


def test_check_works_while_a_writer_holds_the_lock(make):
    world = make(DRIFTED)
    world.execute("BEGIN IMMEDIATE")
    assert phase_4_5.check(db.connect(world.url), lock_timeout=0).status == "pending"


def test_check_works_on_a_read_only_database(make):
    world = make(DRIFTED)
    database = db.connect(f"sqlite:///{world.path}?mode=ro&uri=1")
    assert phase_4_5.check(database).status == "pending"


def test_check_fails_if_a_run_would_be_refused(make):
    world = make(DRIFTED, row(1, week=None))
    checked = command(world, "--check", "--json")
    assert checked.returncode == 1
    assert json.loads(checked.stdout)["error"]["type"] == "ChangeRefused"


def test_check_lists_the_changes_of_the_next_run(make):
    world = make(DRIFTED, row(1))
    assert (
        phase_4_5.check(db.connect(world.url)).changes
        == phase_4_5.run(db.connect(world.url)).changes
    )


# -- --dry-run


def test_dry_run_of_a_complete_table_prints_nothing(make):
    written = command(make(COMPLETE), "--dry-run")
    assert (written.returncode, written.stdout) == (0, "")


def test_dry_run_succeeds_if_a_run_would_succeed(make):
    assert command(make(DRIFTED), "--dry-run").returncode == 0


def test_dry_run_fails_if_a_run_would_be_refused(make):
    written = command(make(DRIFTED, row(1, week=None)), "--dry-run")
    assert (written.returncode, written.stdout) == (1, "")


@pytest.mark.parametrize("state", [NOTHING, DRIFTED, TO_REBUILD])
def test_script_of_a_dry_run_gives_the_result_of_a_run(make, state):
    by_run = make(state)
    by_hand = twin(by_run)
    script = command(by_hand, "--dry-run").stdout
    by_hand.connection.executescript(script)
    assert command(by_run).returncode == 0
    assert everything(by_hand) == everything(by_run)


def test_script_of_a_rebuild_restores_the_pragmas(make):
    world = make(TO_REBUILD, row(1))
    world.execute("PRAGMA foreign_keys = ON", "PRAGMA legacy_alter_table = OFF")
    world.connection.executescript(command(world, "--dry-run").stdout)
    world.assert_specified()
    assert world.query("PRAGMA foreign_keys") == [(1,)]
    assert world.query("PRAGMA legacy_alter_table") == [(0,)]


def _by_name(case):
    state, filled = case
    return f"{state.name} with rows" if filled else state.name


@pytest.mark.parametrize("case", cases("sqlite", REPAIRED), ids=_by_name)
def test_statements_of_a_check_give_the_result_of_a_run(tmp_path, case):
    by_run = SQLite(tmp_path / "run.db").make(*case)
    by_hand = twin(by_run)
    for change in phase_4_5.check(db.connect(by_hand.url)).changes:
        by_hand.execute(change.sql)
    phase_4_5.run(db.connect(by_run.url))
    assert everything(by_hand) == everything(by_run)


@pytest.mark.parametrize("case", cases("sqlite", REPAIRED), ids=_by_name)
def test_statements_of_a_check_work_with_foreign_keys_enforced(tmp_path, case):
    world = SQLite(tmp_path / "hand.db").make(*case)
    before = world.rows()
    world.execute("PRAGMA foreign_keys = ON")
    for change in phase_4_5.check(db.connect(world.url)).changes:
        world.execute(change.sql)
    world.assert_specified()
    assert world.rows().keys() == before.keys()


# -- --rollback


def test_rollback_restores_the_exact_schema(make):
    world = make(NOTHING)
    before = schema(world)
    assert phase_4_5.run(db.connect(world.url)).status == "migrated"
    assert command(world, "--rollback").returncode == 0
    assert schema(world) == before


def test_rollback_without_a_table_changes_nothing(make):
    world = make(NOTHING)
    before = everything(world)
    assert phase_4_5.rollback(db.connect(world.url)).status == "up_to_date"
    assert everything(world) == before


def test_rollback_of_rows_is_refused_with_their_count(make):
    world = make(COMPLETE, row(1), row(2, week=2))
    before = everything(world)
    refused = command(world, "--rollback")
    assert refused.returncode == 1
    assert "2 rows" in refused.stderr
    assert everything(world) == before


def test_rollback_by_force_drops_the_rows(make):
    world = make(COMPLETE, row(1))
    assert command(world, "--rollback", "--force").returncode == 0
    assert world.columns() == []
    assert world.query("SELECT count(*) FROM workflows") == [(2,)]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE notes (actual_id INTEGER REFERENCES weekly_actuals(id))",
        "CREATE TABLE notes (actual_id INTEGER REFERENCES Weekly_Actuals "
        "ON DELETE CASCADE)",
        "CREATE VIEW notes AS SELECT * FROM weekly_actuals",
        "CREATE VIEW notes AS SELECT * FROM WEEKLY_ACTUALS",
        "CREATE TRIGGER notes AFTER DELETE ON stores BEGIN DELETE FROM weekly_actuals "
        "WHERE store_id = old.store_id; END",
    ],
)
def test_rollback_of_a_table_with_dependent_objects_is_refused(make, statement):
    world = make(COMPLETE)
    world.execute(statement)
    before = everything(world)
    with pytest.raises(phase_4_5.ChangeRefused, match="notes"):
        phase_4_5.rollback(db.connect(world.url), force=True)
    assert everything(world) == before


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE notes (previous INTEGER REFERENCES notes, other INTEGER "
        "REFERENCES stores)",
        "CREATE VIEW notes AS SELECT * FROM weekly_actuals_archive",
        "CREATE INDEX notes ON weekly_actuals (actual_units_sold)",
        "CREATE TRIGGER notes AFTER INSERT ON weekly_actuals BEGIN SELECT 1; END",
    ],
)
def test_rollback_ignores_independent_objects(make, statement):
    world = make(COMPLETE)
    world.execute("CREATE TABLE weekly_actuals_archive (id)", statement)
    assert phase_4_5.rollback(db.connect(world.url)).status == "rolled_back"


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in cases("sqlite", REFUSED)
        if case[0].name
        in ("a view", "a virtual table", "an unrelated table", "a name in another case")
    ],
    ids=_by_name,
)
def test_rollback_leaves_an_unmanaged_object_unchanged(tmp_path, case):
    world = SQLite(tmp_path / "app.db").make(*case)
    before = everything(world)
    with pytest.raises(phase_4_5.ChangeRefused):
        phase_4_5.rollback(db.connect(world.url), force=True)
    assert everything(world) == before


def test_rollback_drops_a_table_that_differs_from_the_model(make):
    world = make(DRIFTED)
    assert phase_4_5.rollback(db.connect(world.url)).status == "rolled_back"
    assert world.columns() == []


def test_rollback_inside_a_transaction_can_be_undone(make):
    world = make(COMPLETE)
    before = everything(world)
    database = db.connect(world.url)
    with database.atomic() as transaction:
        phase_4_5.rollback(database)
        transaction.rollback()
    assert everything(world) == before


def test_table_can_be_created_again_after_a_rollback(make):
    world = make(NOTHING)
    phase_4_5.run(db.connect(world.url))
    made = schema(world)
    phase_4_5.rollback(db.connect(world.url))
    assert phase_4_5.run(db.connect(world.url)).status == "migrated"
    assert schema(world) == made


@pytest.mark.parametrize(
    "options",
    [
        ("--check", "--dry-run"),
        ("--check", "--rollback"),
        ("--check", "--dry-run", "--rollback"),
    ],
)
def test_incompatible_options_are_a_usage_error(make, options):
    world = make(COMPLETE)
    before = everything(world)
    assert command(world, *options).returncode == 2
    assert everything(world) == before


def test_rollback_obeys_the_lock_timeout(make):
    world = make(COMPLETE)
    world.execute("BEGIN IMMEDIATE")
    with pytest.raises(phase_4_5.LockTimeout, match="lock-timeout"):
        phase_4_5.rollback(db.connect(world.url), lock_timeout=0.1)
    world.execute("ROLLBACK")
    assert world.columns()
