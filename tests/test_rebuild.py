"""Rebuilds, where ALTER TABLE of SQLite is not enough: what a table keeps."""

import sqlite3

import peewee
import playhouse.migrate
import processes
import pytest
from engines.worlds import SQLite
from states import INDEXES, TABLE, State, row
from ways import EDITED, both_ways, connect

import db
from db.models import WeeklyActuals
from migrations import phase_4_5

TEXT = {"week_number": "week_number TEXT NOT NULL"}  # what only a rebuild can repair


def _weekly(items=None, sql=(), ids=(1, 2, 3)):
    return State(
        "",
        "repaired",
        items={**TEXT, **(items or {})},
        sql=sql,
        bad=tuple(row(id, week=id) for id in ids),
    )


@pytest.fixture
def make(tmp_path):
    """Return a function that creates a table that needs a rebuild."""
    worlds = []

    def make(items=None, sql=(), ids=(1, 2, 3)):
        worlds.append(
            SQLite(tmp_path / f"app{len(worlds)}.db").make(_weekly(items, sql, ids))
        )
        return worlds[-1]

    yield make
    for world in worlds:
        world.drop()


@pytest.fixture
def written(tmp_path):
    """Return a function that creates the table with a statement and repairs it."""
    worlds = []

    def make(create, *statements, way=EDITED):
        worlds.append(
            SQLite(tmp_path / "written.db").make(
                State("", "repaired", sql=(create, *statements))
            )
        )
        assert phase_4_5.run(connect(worlds[-1].path, way)).status == "migrated"
        worlds[-1].assert_specified()
        return worlds[-1]

    yield make
    for world in worlds:
        world.drop()


def _peewee_rebuild(world, database=None):
    """Rebuild the table with the migrator of Peewee."""
    database = database or db.connect(world.url)
    playhouse.migrate.migrate(
        playhouse.migrate.SqliteMigrator(database).add_not_null(
            "weekly_actuals", "week_number"
        )
    )


# -- rows of other tables

CHILD = (
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, actual_id INTEGER "
    "REFERENCES weekly_actuals(id) ON DELETE CASCADE)",
    "INSERT INTO notes VALUES (1, 1), (2, 3)",
)


def test_rows_that_refer_to_the_table_survive(make):
    world = make(sql=CHILD)
    phase_4_5.run(db.connect(world.url))
    assert world.query("SELECT * FROM notes") == [(1, 1), (2, 3)]
    assert world.query("SELECT \"table\" FROM pragma_foreign_key_list('notes')") == [
        ("weekly_actuals",)
    ]
    assert world.query("PRAGMA foreign_key_check") == []


@pytest.mark.skipif(
    not hasattr(playhouse.migrate.SqliteMigrator, "migration_context"),
    reason="migration_context requires Peewee 4.5",
)
def test_peewee_rebuild_in_a_transaction_deletes_referring_rows(
    make,
):
    world = make(sql=CHILD)
    database = db.connect(world.url)
    with database.atomic():
        migrator = playhouse.migrate.SqliteMigrator(database)
        with migrator.migration_context():
            playhouse.migrate.migrate(
                migrator.add_not_null("weekly_actuals", "week_number")
            )
    assert world.query("SELECT * FROM notes") == []


def test_rebuild_in_a_transaction_with_foreign_keys_on_is_refused(
    make,
):
    world = make(sql=CHILD)
    before = world.dump()
    database = db.connect(world.url)
    refusal = "PRAGMA foreign_keys = OFF before it begins"
    with database.atomic(), pytest.raises(phase_4_5.ChangeRefused, match=refusal):
        phase_4_5.run(database)
    assert world.dump() == before


def test_rebuild_in_a_transaction_with_foreign_keys_off_succeeds(make):
    world = make(sql=CHILD)
    database = peewee.SqliteDatabase(world.path, pragmas={"foreign_keys": 0})
    with database.atomic():
        assert phase_4_5.run(database).status == "migrated"
    world.assert_specified()
    assert world.query("SELECT * FROM notes") == [(1, 1), (2, 3)]


def test_rebuild_in_a_transaction_is_rolled_back_with_it(make):
    world = make(sql=CHILD)
    before = world.dump()
    database = peewee.SqliteDatabase(world.path, pragmas={"foreign_keys": 0})
    with database.atomic() as transaction:
        phase_4_5.run(database)
        transaction.rollback()
    assert world.dump() == before


@pytest.mark.parametrize("enforced", [0, 1])
@pytest.mark.parametrize("legacy", [0, 1])
def test_pragmas_of_the_caller_are_restored(make, enforced, legacy):
    pragmas = {"foreign_keys": enforced, "legacy_alter_table": legacy}
    database = peewee.SqliteDatabase(make(sql=CHILD).path, pragmas=pragmas)
    with database.connection_context():
        phase_4_5.run(database)
        assert {name: database.pragma(name) for name in pragmas} == pragmas


def test_existing_orphan_does_not_prevent_a_rebuild(make):
    world = make()
    world.insert(row(9, workflow="gone"))
    phase_4_5.run(db.connect(world.url))
    assert world.query("SELECT workflow_id FROM weekly_actuals WHERE id = 9") == [
        ("gone",)
    ]


# -- ids

USED_UP = ("INSERT INTO sqlite_sequence VALUES ('weekly_actuals', 900)",)


def test_id_of_a_deleted_row_is_not_reused(make):
    world = make(ids=(1, 2, 800))
    world.execute("DELETE FROM weekly_actuals WHERE id = 800")
    phase_4_5.run(db.connect(world.url))
    assert world.insert_without_id() == 801


def test_id_is_not_reused_if_every_row_was_deleted(make):
    world = make(ids=(1, 800))
    world.execute("DELETE FROM weekly_actuals")
    phase_4_5.run(db.connect(world.url))
    assert world.insert_without_id() == 801


def test_peewee_rebuild_loses_the_highest_id(make):
    world = make(ids=(1, 2, 800))
    world.execute("DELETE FROM weekly_actuals WHERE id = 800")
    _peewee_rebuild(world)
    assert world.insert_without_id() == 3


def test_sqlite_sequence_has_no_entry_of_the_replacement(make):
    world = make()
    phase_4_5.run(db.connect(world.url))
    assert world.query("SELECT name, seq FROM sqlite_sequence") == [
        ("weekly_actuals", 3)
    ]


# -- triggers, views, indexes

TRIGGERS = (
    "CREATE TABLE log (event)",
    "CREATE TRIGGER log_insert AFTER INSERT ON weekly_actuals BEGIN INSERT INTO log "
    "VALUES ('insert'); END",
    "CREATE TRIGGER log_delete BEFORE DELETE ON weekly_actuals WHEN old.id > 0 BEGIN\n"
    "  INSERT INTO log VALUES ('delete; END');\nEND",
    "CREATE TRIGGER elsewhere AFTER INSERT ON stores BEGIN DELETE FROM weekly_actuals "
    "WHERE id < 0; END",
)


def test_triggers_survive_a_rebuild_and_none_fires(make):
    world = make(sql=TRIGGERS, ids=())
    world.insert(row(1))
    world.execute("DELETE FROM log")
    before = world.query(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
    )
    phase_4_5.run(db.connect(world.url), smoke_test=False)
    assert (
        world.query(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
        )
        == before
    )
    assert world.query("SELECT * FROM log") == []


def test_triggers_fire_after_a_rebuild(make):
    world = make(sql=TRIGGERS, ids=())
    phase_4_5.run(db.connect(world.url))
    world.insert(row(1))
    world.execute("DELETE FROM weekly_actuals")
    assert world.query("SELECT * FROM log") == [("insert",), ("delete; END",)]


def test_temporary_triggers_of_the_connection_survive(make):
    database = db.connect(make(sql=("CREATE TABLE log (event TEXT)",), ids=()).url)
    with database.connection_context():
        for target in ("weekly_actuals", "main.weekly_actuals"):
            database.execute_sql(
                f'CREATE TEMP TRIGGER "on {target}" AFTER INSERT ON {target} '
                "BEGIN INSERT INTO log VALUES ('x'); END"
            )
        before = database.execute_sql(
            "SELECT name, sql FROM sqlite_temp_master"
        ).fetchall()
        assert phase_4_5.run(database).status == "migrated"
        assert (
            database.execute_sql("SELECT name, sql FROM sqlite_temp_master").fetchall()
            == before
        )
        given = {name: value for name, value in row(1).items() if name != "id"}
        WeeklyActuals.bulk_insert([given], database=database)
        assert database.execute_sql("SELECT count(*) FROM log").fetchone() == (2,)


def test_sqlite_drops_temporary_triggers_with_their_table():
    connection = sqlite3.connect(":memory:")
    connection.executescript(
        "CREATE TABLE t (a); CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN "
        "SELECT 1; END; DROP TABLE t"
    )
    assert connection.execute("SELECT * FROM sqlite_temp_master").fetchall() == []


def test_peewee_rebuild_loses_triggers(make):
    world = make(sql=TRIGGERS[:2])
    _peewee_rebuild(world)
    assert world.query("SELECT name FROM sqlite_master WHERE type = 'trigger'") == []


VIEWS = (
    "CREATE VIEW totals AS SELECT workflow_id, sum(actual_units_sold) AS units "
    "FROM weekly_actuals GROUP BY 1",
    "CREATE VIEW doubled AS SELECT units * 2 AS units FROM totals",
    "CREATE TRIGGER add_total INSTEAD OF INSERT ON totals BEGIN "
    "UPDATE weekly_actuals SET actual_units_sold = new.units "
    "WHERE workflow_id = new.workflow_id; END",
)


def test_views_and_their_triggers_survive_a_rebuild(make):
    world = make(sql=VIEWS)
    before = world.query("SELECT name, sql FROM sqlite_master WHERE type = 'view'")
    phase_4_5.run(db.connect(world.url))
    assert (
        world.query("SELECT name, sql FROM sqlite_master WHERE type = 'view'") == before
    )
    assert world.query("SELECT * FROM doubled") == [(612,)]
    world.execute("INSERT INTO totals VALUES ('wf_1', 5)")
    assert world.query("SELECT * FROM doubled") == [(30,)]


def test_sqlite_rename_fails_on_a_view_without_legacy_alter_table(
    make,
):
    world = make(sql=VIEWS)
    world.execute("CREATE TABLE another (id)", "DROP TABLE weekly_actuals")
    with pytest.raises(sqlite3.OperationalError, match="error in view"):
        world.execute("ALTER TABLE another RENAME TO weekly_actuals")


def test_broken_view_does_not_prevent_a_rebuild(make):
    world = make(sql=("CREATE VIEW broken AS SELECT * FROM nowhere",))
    assert phase_4_5.run(db.connect(world.url)).status == "migrated"


def test_partial_and_expression_indexes_survive(make):
    indexes = (
        "CREATE INDEX mine ON weekly_actuals (store_id) WHERE variance_pct > 0.2",
        'CREATE UNIQUE INDEX "it\'s mine" ON weekly_actuals '
        "(lower(store_id), week_number DESC)",
    )
    world = make(sql=indexes)
    phase_4_5.run(db.connect(world.url))
    assert {
        sql
        for (sql,) in world.query("SELECT sql FROM sqlite_master WHERE type = 'index'")
    } >= set(indexes)


def test_peewee_does_not_report_that_an_index_is_partial(make):
    world = make(
        sql=("CREATE INDEX mine ON weekly_actuals (store_id) WHERE variance_pct > 0.2",)
    )
    database = db.connect(world.url)
    with database.connection_context():
        (index,) = [
            each
            for each in database.get_indexes("weekly_actuals")
            if each.name == "mine"
        ]
    assert (index.columns, index.unique, hasattr(index, "partial")) == (
        ["store_id"],
        False,
        False,
    )


# -- the definition

EXTRAS = {
    "note": "note TEXT DEFAULT 'a, (b' COLLATE NOCASE",
    "rating": "rating INTEGER NOT NULL DEFAULT (1 + abs(-2)) CHECK (rating IN "
    "(1, 2, 3) OR rating > 5)",
    "select": '"select" TEXT DEFAULT NULL',
    "quoted": '"a ""quoted"", name" REAL',
    "bracketed": "[not null] BLOB DEFAULT x'00ff'",
    "backticked": "`default` NUMERIC DEFAULT -1.5e3",
    "untyped": "untyped",
    "total": "total INTEGER GENERATED ALWAYS AS "
    "(actual_units_sold + coalesce(forecast_units_sold, 0)) VIRTUAL",
    "kept": "kept TEXT AS (store_id || ')' || ',') STORED NOT NULL",
    "unique_note": "CONSTRAINT unique_note UNIQUE (note, id) ON CONFLICT REPLACE",
    "positive": 'CONSTRAINT "check (it)" CHECK (actual_units_sold >= 0 /* never, ever '
    "*/ "
    "AND note <> 'x)')",
}


def _extras(world):
    return world.query(
        'SELECT name, type, "notnull", dflt_value, pk, hidden '
        "FROM pragma_table_xinfo('weekly_actuals') "
        "WHERE cid > 10 ORDER BY name"
    )


@both_ways
def test_undeclared_columns_keep_their_clauses_and_values(make, way):
    world = make({**EXTRAS, "week_number": "week_number INTEGER"})
    world.execute(
        "UPDATE weekly_actuals SET note = 'n' || id, rating = 7, \"select\" = 's', "
        "[not null] = x'01'"
    )
    columns, rows = _extras(world), world.query("SELECT * FROM weekly_actuals")
    phase_4_5.run(connect(world.path, way))
    assert _extras(world) == columns
    assert world.query("SELECT * FROM weekly_actuals") == rows
    world.assert_specified()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE weekly_actuals SET rating = 4",
        "UPDATE weekly_actuals SET actual_units_sold = -1",
        "UPDATE weekly_actuals SET note = 'x)'",
        "UPDATE weekly_actuals SET rating = NULL",
    ],
)
def test_undeclared_checks_hold_after_a_rebuild(make, change):
    world = make(EXTRAS)
    phase_4_5.run(db.connect(world.url))
    with pytest.raises(sqlite3.IntegrityError):
        world.execute(change)


def test_undeclared_collation_and_conflict_clause_are_kept(make):
    world = make(EXTRAS)
    phase_4_5.run(db.connect(world.url))
    world.execute("UPDATE weekly_actuals SET note = 'Word'")
    assert world.query("SELECT count(*) FROM weekly_actuals WHERE note = 'WORD'") == [
        (3,)
    ]
    assert (
        "ON CONFLICT REPLACE"
        in world.query("SELECT sql FROM sqlite_master WHERE name = 'weekly_actuals'")[
            0
        ][0]
    )


REST = """
    week_start_date DATE NOT NULL, week_end_date DATE NOT NULL,
    store_id VARCHAR(50) NOT NULL REFERENCES stores(store_id) ON DELETE CASCADE,
    category_id VARCHAR(50) NOT NULL REFERENCES categories ON DELETE CASCADE
        ON UPDATE SET NULL,
    actual_units_sold INTEGER NOT NULL, forecast_units_sold INTEGER, variance_pct FLOAT,
    uploaded_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT unique_workflow_week_store UNIQUE (workflow_id, week_number, store_id)"""
WORKFLOW = (
    "workflow_id VARCHAR(50) NOT NULL REFERENCES workflows(workflow_id) "
    "ON DELETE CASCADE"
)
ID = "id INTEGER PRIMARY KEY AUTOINCREMENT"


@pytest.mark.parametrize(
    "create",
    [
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, week_number INTEGER DEFAULT "
        f"NULL, {REST})",
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, week_number INTEGER NULL, "
        f"{REST})",
        "CREATE TABLE [weekly_actuals]([id] INTEGER PRIMARY KEY "
        f"AUTOINCREMENT,{WORKFLOW}, [week_number] INTEGER, {REST})",
        f'CREATE TABLE "weekly_actuals"({ID}, {WORKFLOW}, "week_number" '
        f"INTEGER,{REST})",
        f"CREATE TABLE main.`weekly_actuals` ({ID}, {WORKFLOW}, `week_number` INTEGER, "
        f"{REST})",
        f"CREATE TABLE IF NOT EXISTS 'weekly_actuals' ({ID}, {WORKFLOW}, 'week_number' "
        f"INTEGER, {REST})",
        f"CREATE TABLE weekly_actuals /* (a, b) */ ({ID}, -- it's, "
        f"(the id\n {WORKFLOW}, week_number INTEGER, {REST})",
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, week_number INTEGER -- no NOT "
        f"NULL, yet\n, {REST} -- end )\n)",
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, week_number INTEGER /* ) , "
        f"NOT NULL */, {REST} /* ) */)",
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, WEEK_NUMBER INTEGER, {REST})",
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, week_number INTEGER DEFAULT "
        f"(nullif(1, 2)), {REST})",
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, week_number INTEGER DEFAULT "
        f"-1, {REST})",
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, week_number INTEGER "
        "CONSTRAINT named CHECK (week_number > 0) "
        f"CONSTRAINT other DEFAULT 5, {REST})",
        "CREATE TABLE weekly_actuals (id INTEGER CONSTRAINT pk PRIMARY KEY ASC ON "
        "CONFLICT ABORT AUTOINCREMENT, "
        f"{WORKFLOW}, week_number INTEGER, {REST})",
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW} NOT DEFERRABLE INITIALLY "
        f"IMMEDIATE, week_number INTEGER, {REST})",
        f"CREATE TABLE weekly_actuals ({ID}, workflow_id VARCHAR(50) "
        "REFERENCES workflows(workflow_id) ON DELETE SET NULL "
        f"NOT DEFERRABLE NOT NULL, week_number INTEGER, {REST})",
        f"CREATE TABLE weekly_actuals ({ID}, workflow_id VARCHAR(50) NOT NULL "
        "CONSTRAINT fk REFERENCES workflows "
        "ON UPDATE SET DEFAULT MATCH FULL ON DELETE RESTRICT DEFERRABLE INITIALLY "
        f"DEFERRED, week_number INTEGER, {REST})",
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, week_number INTEGER, {REST}, "
        'CHECK (weekly_actuals.week_number > 0 AND "Weekly_Actuals"."store_id" <> '
        "'weekly_actuals.'))",
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, week_number INTEGER, {REST} "
        "CHECK (weekly_actuals . id > 0)"
        " CONSTRAINT named CHECK (week_number > 0) CONSTRAINT dangling, CHECK (id > 0) "
        "CONSTRAINT conflict)",
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, week_number INTEGER, "
        "week_number$old TEXT DEFAULT conflict, "
        f"größe TEXT, {REST.replace('(workflow_id,', '(workflow_id COLLATE NOCASE,')})",
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, week_number INTEGER, {REST}, "
        "CONSTRAINT "
        "unique_workflow_week_store CHECK (week_number > 0)) /* unclosed",
        f"CREATE TABLE weekly_actuals (id INTEGER, {WORKFLOW}, week_number INTEGER, "
        f"{REST}, PRIMARY KEY (store_id, id)) "
        "WITHOUT /* not STRICT */ ROWID",
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, week_number UNSIGNED BIG INT, "
        f"{REST})",
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, week_number, {REST})",
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, week_number NOT NULL ON "
        f"CONFLICT IGNORE, {REST})",
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, week_number DECIMAL(10, 2) "
        f"NOT NULL DEFAULT 1, {REST})",
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, week_number INTEGER, {REST}, "
        "CONSTRAINT c CHECK (id > 0), "
        "CHECK (store_id <> ',)'), UNIQUE (id, store_id))",
        f"CREATE TABLE weekly_actuals (id INTEGER, {WORKFLOW}, week_number INTEGER, "
        f"{REST}, PRIMARY KEY (workflow_id, id))"
        " WITHOUT ROWID",
        f"CREATE TABLE weekly_actuals (id TEXT PRIMARY KEY, {WORKFLOW}, week_number "
        f"INTEGER NOT NULL, {REST})",
        "CREATE TABLE weekly_actuals AS SELECT 1 AS id, 'wf_1' AS workflow_id, 2 AS "
        "week_number, '2025-01-06' AS "
        "week_start_date, '2025-01-12' AS week_end_date, 'S001' AS store_id, 'dresses' "
        "AS category_id, 3 AS "
        "actual_units_sold, NULL AS forecast_units_sold, 0.5 AS variance_pct, "
        "'2025-01-13 08:30:00' AS uploaded_at",
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, week_number INTEGER AS "
        f"(actual_units_sold), {REST})",
    ],
)
@both_ways
def test_definition_in_any_notation_is_repaired(written, create, way):
    written(create, way=way)


@pytest.mark.parametrize("change", ["id = 1", "week_number = NULL", "week_number = 1"])
def test_conflict_clauses_no_longer_hide_conflicts_after_a_rebuild(make, change):
    world = make({
        "id": "id INTEGER PRIMARY KEY ON CONFLICT REPLACE AUTOINCREMENT",
        "week_number": "week_number INTEGER NOT NULL ON CONFLICT IGNORE",
        "unique": TABLE["unique"] + " ON CONFLICT FAIL",
    })  # fmt: skip
    phase_4_5.run(db.connect(world.url))
    with pytest.raises(sqlite3.IntegrityError):
        world.execute(f"UPDATE weekly_actuals SET {change} WHERE id = 3")
    assert world.query("SELECT id, week_number FROM weekly_actuals") == [
        (1, 1),
        (2, 2),
        (3, 3),
    ]


def test_constraints_without_a_comma_between_them_are_kept(make):
    items = {
        "category": TABLE["category"]
        + " CHECK (week_number > 0) UNIQUE (store_id, week_number)"
    }
    world = make(items)
    phase_4_5.run(db.connect(world.url))
    for change in ("week_number = 0", "week_number = 1"):
        with pytest.raises(sqlite3.IntegrityError):
            world.execute(f"UPDATE weekly_actuals SET {change} WHERE id = 3")
    world.assert_specified()


def test_comment_at_the_end_of_an_index_hides_no_statement(make):
    mine = "CREATE INDEX mine ON weekly_actuals (category_id) -- mine"
    mined = "CREATE INDEX mined ON weekly_actuals (category_id, store_id) /* mine"
    world = make(sql=(mine, mined))
    world.connection.executescript(script_of(world))
    indexes = world.query(
        "SELECT name FROM sqlite_master WHERE type = 'index' AND sql NOT NULL "
        "ORDER BY 1"
    )
    assert indexes == [(name,) for name in sorted([*INDEXES, "mine", "mined"])]
    assert phase_4_5.check(db.connect(world.url)).status == "up_to_date"


def script_of(world):
    """Return what --dry-run prints."""
    written = processes.run(processes.PHASE, "-q", "--dry-run", "--database", world.url)
    written.check_returncode()
    return written.stdout


KEYED = {
    "id": "id INTEGER NOT NULL UNIQUE",
    "code": "code TEXT DEFAULT (hex(randomblob(9))) PRIMARY KEY",
}


def test_undeclared_primary_key_stays_unique_and_referenced(make):
    world = make(
        KEYED,
        sql=(
            "CREATE TABLE kid (code TEXT REFERENCES weekly_actuals(code) "
            "ON DELETE CASCADE)",
        ),
    )
    world.execute("INSERT INTO kid SELECT code FROM weekly_actuals WHERE id = 1")
    phase_4_5.run(db.connect(world.url))
    with pytest.raises(sqlite3.IntegrityError):
        world.execute("UPDATE weekly_actuals SET code = 'same'")
    world.execute("PRAGMA foreign_keys = ON", "DELETE FROM weekly_actuals WHERE id = 1")
    assert world.query("SELECT * FROM kid") == []


def test_primary_key_that_is_referenced_implicitly_is_not_replaced(make):
    world = make(KEYED, sql=("CREATE TABLE kid (code TEXT REFERENCES weekly_actuals)",))
    before = world.dump()
    with pytest.raises(phase_4_5.ChangeRefused, match="the table kid refers to"):
        phase_4_5.run(db.connect(world.url))
    assert world.dump() == before


def test_table_with_added_columns_is_repaired(written):
    create = f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, {REST})".replace(
        ", CONSTRAINT", ", \nCONSTRAINT"
    )
    world = written(
        create.replace("week_number, store_id)", "store_id)"),
        "ALTER TABLE weekly_actuals ADD COLUMN week_number INTEGER DEFAULT 1 /* not "
        "(known, yet */",
        "ALTER TABLE weekly_actuals ADD COLUMN extra TEXT DEFAULT 'x'",
    )
    assert "extra" in world.columns()


def test_renamed_table_is_repaired(written):
    written(
        f"CREATE TABLE old ({ID}, {WORKFLOW}, week_number INTEGER, {REST})",
        "ALTER TABLE old RENAME TO weekly_actuals",
    )


def test_table_with_a_reference_to_itself_is_repaired(make):
    world = make(
        {"previous": "previous INTEGER REFERENCES weekly_actuals(id) ON DELETE CASCADE"}
    )
    world.execute("UPDATE weekly_actuals SET previous = id - 1 WHERE id > 1")
    phase_4_5.run(db.connect(world.url))
    world_keys = world.query(
        "SELECT \"table\" FROM pragma_foreign_key_list('weekly_actuals') "
        "WHERE \"from\" = 'previous'"
    )
    assert world_keys == [("weekly_actuals",)]
    assert world.query("SELECT previous FROM weekly_actuals") == [(None,), (1,), (2,)]


@pytest.mark.skipif(
    sqlite3.sqlite_version_info < (3, 37), reason="STRICT requires SQLite 3.37"
)
def test_strict_table_is_refused_and_left_unchanged(tmp_path):
    create = (
        f"CREATE TABLE weekly_actuals ({ID}, {WORKFLOW}, week_number INTEGER, {REST}) "
        "STRICT"
    )
    for word in ("VARCHAR(50)", "DATE", "FLOAT", "TIMESTAMP"):
        create = create.replace(f" {word} ", " TEXT ").replace(f" {word},", " TEXT,")
    world = SQLite(tmp_path / "strict.db").make(
        State("", "refused", sql=(create.replace("ON UPDATE SET NULL", ""),))
    )
    before = world.dump()
    with pytest.raises(phase_4_5.ChangeRefused) as refused:
        phase_4_5.run(db.connect(world.url))
    assert str(refused.value) == (
        "weekly_actuals is a STRICT table, which cannot have the declared types such "
        "as DATE; create it again without STRICT, or change it by hand, then run again"
    )
    assert world.dump() == before


# -- values

CONVERTED = [
    ("week_number", "TEXT", "'7'", 7),
    ("week_number", "REAL", "7.0", 7),
    ("week_number", "", "'7'", 7),
    ("variance_pct", "TEXT", "'0.5'", 0.5),
    ("variance_pct", "INTEGER", "2", 2.0),
    ("variance_pct", "", "1 << 53", 2.0**53),
    ("variance_pct", "TEXT", "'9007199254740992'", 2.0**53),
    ("variance_pct", "TEXT", "'0.056910569105691054'", 0.056910569105691054),
    ("variance_pct", "TEXT", "'0.50'", 0.5),
    ("variance_pct", "TEXT", "'-5.691056910569105e-05'", -5.691056910569105e-05),
    ("variance_pct", "TEXT", "'0.0'", 0.0),
    ("variance_pct", "TEXT", "'1e300'", 1e300),
    ("variance_pct", "BLOB", "0.1 + 0.2", 0.1 + 0.2),
    ("actual_units_sold", "TEXT", "'-3'", -3),
    ("actual_units_sold", "NUMERIC", "9223372036854775807", 2**63 - 1),
    ("week_start_date", "TEXT", "'2024-02-29'", "2024-02-29"),
    ("uploaded_at", "TEXT", "'2025-01-06T10:00:00.5'", "2025-01-06T10:00:00.5"),
]
LOST = [
    ("week_number", "TEXT", "'seven'"),
    ("week_number", "TEXT", "'07'"),
    ("week_number", "TEXT", "' 7'"),
    ("week_number", "REAL", "7.5"),
    ("week_number", "REAL", "9.3e18"),
    ("week_number", "", "x'37'"),
    ("week_number", "REAL", "9e999"),
    ("week_number", "TEXT", "'99999999999999999999'"),
    ("week_number", "TEXT", "''"),
    ("variance_pct", "TEXT", "'n/a'"),
    ("variance_pct", "TEXT", "''"),
    ("variance_pct", "", "(1 << 53) + 1"),
    ("variance_pct", "TEXT", "'9007199254740993'"),
    ("variance_pct", "TEXT", "'9007199254740993.0'"),
    ("variance_pct", "TEXT", "'0.1234567890123456789'"),
    ("variance_pct", "TEXT", "'9e999'"),
    ("variance_pct", "TEXT", "'1e-400'"),
    ("variance_pct", "TEXT", "'0.5 or so'"),
    ("variance_pct", "", "x'302e35'"),
    ("variance_pct", "", "-9223372036854775807 - 1"),
    ("week_start_date", "TEXT", "'2025-02-30'"),
    ("week_start_date", "TEXT", "'06.01.2025'"),
    ("week_start_date", "", "20250106"),
    ("week_start_date", "TEXT", "'now'"),
    ("uploaded_at", "TEXT", "'yesterday'"),
    ("uploaded_at", "TEXT", "'2025-01-06 10:00:00+05:00'"),
    ("uploaded_at", "INTEGER", "1736157600"),
]


def _typed(make, column, type_, value):
    world = make(
        {"week_number": "week_number INTEGER NOT NULL", column: f"{column} {type_}"},
        ids=(1,),
    )
    world.execute(f"UPDATE weekly_actuals SET {column} = {value}")
    return world


@pytest.mark.parametrize(("column", "type_", "value", "converted"), CONVERTED)
def test_convertible_value_is_converted(make, column, type_, value, converted):
    world = _typed(make, column, type_, value)
    phase_4_5.run(db.connect(world.url))
    ((found,),) = world.query(f"SELECT {column} FROM weekly_actuals")
    assert (found, type(found)) == (converted, type(converted))


@pytest.mark.parametrize(("column", "type_", "value"), LOST)
def test_value_that_would_change_silently_is_refused(make, column, type_, value):
    world = _typed(make, column, type_, value)
    before = world.dump()
    with pytest.raises(
        phase_4_5.ChangeRefused,
        match=f"{column}.*do not convert without loss: 1 row .id 1",
    ):
        phase_4_5.run(db.connect(world.url))
    assert world.dump() == before


@pytest.mark.parametrize("items", [{"unique": None}, {}])
def test_rows_that_would_become_duplicates_are_refused(make, items):
    world = make({"week_number": "week_number NOT NULL", **items}, ids=())
    world.insert(row(1, week=1), row(2, week="1"))
    with pytest.raises(phase_4_5.ChangeRefused, match="2 rows .id 1.*id 2"):
        phase_4_5.check(db.connect(world.url))


def test_index_under_the_name_of_another_is_replaced(
    make,
):
    swapped = (
        "DROP INDEX idx_weekly_actuals_store",
        "DROP INDEX idx_weekly_actuals_date",
        "CREATE INDEX idx_weekly_actuals_store ON weekly_actuals (week_start_date)",
    )
    world = make(sql=swapped)
    assert phase_4_5.run(db.connect(world.url)).status == "migrated"
    world.assert_specified()


def test_trigger_that_prevents_deletion_survives_and_fails_cascade(make):
    forbidden = (
        "CREATE TRIGGER kept BEFORE DELETE ON weekly_actuals BEGIN "
        "SELECT raise(ABORT, 'never'); END"
    )
    world = make(sql=(forbidden,))
    with pytest.raises(phase_4_5.SmokeTestFailed, match="cascade"):
        phase_4_5.run(db.connect(world.url))
    world.assert_specified()
    assert world.query("SELECT count(*) FROM weekly_actuals") == [(3,)]


def test_undeclared_unnamed_unique_key_is_reported_by_columns(make):
    world = make({"mine": "UNIQUE (store_id, week_number)"})
    messages = [
        each.message for each in phase_4_5.run(db.connect(world.url)).differences
    ]
    assert (
        "weekly_actuals.store_id, week_number: UNIQUE (store_id, week_number) rejects "
        "rows that the model allows; it is not in the model" in messages
    )


def test_constraint_and_index_of_one_name_are_both_replaced(make):
    name = "unique_workflow_week_store"
    constraint = f"CONSTRAINT {name} UNIQUE (workflow_id, store_id)"
    index = f"CREATE INDEX {name} ON weekly_actuals (workflow_id, week_number)"
    world = make({"unique": constraint}, sql=(index,), ids=(1,))
    before = world.rows()
    assert phase_4_5.run(db.connect(world.url)).status == "migrated"
    world.assert_specified()
    assert world.rows() == before


@pytest.mark.parametrize(
    "name", ["prix€", "🙂", "check$1", "unique$", "autoincrement_ok"]
)
@pytest.mark.parametrize(
    "wrong",
    ["week_number INTEGER", "week_number TEXT NOT NULL"],
    ids=["edited", "rebuilt"],
)
def test_unquoted_name_is_read(make, name, wrong):
    world = make(
        items={
            "id": "id INTEGER PRIMARY KEY",
            "week_number": wrong,
            "extra": f"{name} INT DEFAULT 7",
        }
    )
    before = world.rows()
    assert phase_4_5.run(db.connect(world.url)).status == "migrated"
    world.assert_specified()
    assert world.rows() == before
    assert world.query(f"SELECT DISTINCT {name} FROM weekly_actuals") == [(7,)]
    assert world.query("PRAGMA integrity_check") == [("ok",)]


def test_autoincrement_in_a_default_is_not_taken_for_the_keyword(make):
    extra = "note TEXT DEFAULT 'autoincrement'"
    world = make(
        items={
            "id": "id INTEGER PRIMARY KEY",
            "week_number": "week_number TEXT NOT NULL",
            "extra": extra,
        }
    )
    assert phase_4_5.run(db.connect(world.url)).status == "migrated"
    world.assert_specified()


def test_values_of_an_untyped_column_are_converted(
    make,
):
    world = make(
        items={"variance_pct": "variance_pct NOT NULL ON CONFLICT REPLACE DEFAULT 3"}
    )
    world.execute("PRAGMA foreign_keys = OFF")
    world.execute("UPDATE weekly_actuals SET variance_pct = '1.5'")
    phase_4_5.run(db.connect(world.url), smoke_test=False)
    assert {
        *world.query("SELECT typeof(variance_pct), variance_pct FROM weekly_actuals")
    } == {("real", 1.5)}
    assert world.query("PRAGMA integrity_check") == [("ok",)]
