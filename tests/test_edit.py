"""Changes that do not affect stored rows rewrite the stored definition of a table."""

import contextlib
import os
import re
import sqlite3

import drivers
import peewee
import pytest
from engines.worlds import SQLite
from states import REPAIRED, TABLE, State, cases, row
from ways import EDITED, REBUILT, both_ways, connect, way_of

import db
from db.models import Workflow
from migrations import phase_4_5
from migrations.comparison import compare, errors_of
from migrations.engines import engine_for
from migrations.engines.sqlite.table_rewrite import NewDefinition
from migrations.phase import Phase
from migrations.planning import make_plan

pytestmark = pytest.mark.skipif(
    sqlite3.sqlite_version_info < (3, 34),
    reason="SQLite before 3.34 rebuilds the table",
)
NULLABLE = {"week_number": "week_number INTEGER"}
EDITABLE = {
    "NOT NULL lost": NULLABLE,
    "NOT NULL where NULL must be allowed": {
        "variance_pct": "variance_pct FLOAT NOT NULL"
    },
    "the default lost": {"uploaded_at": "uploaded_at TIMESTAMP"},
    "another default": {
        "uploaded_at": "uploaded_at TIMESTAMP DEFAULT '2000-01-01' CHECK "
        "(uploaded_at > '1999')"
    },
    "a foreign key missing": {"store": None},
    "a foreign key without CASCADE": {
        "workflow": "FOREIGN KEY (workflow_id) REFERENCES workflows(workflow_id)"
    },
    "a foreign key to another table": {
        "category": "CONSTRAINT mine FOREIGN KEY (category_id) REFERENCES shelves "
        "ON DELETE SET NULL DEFERRABLE"
    },
    "a compatible type": {"week_start_date": "week_start_date DATETIME NOT NULL"},
    "a conflict clause that ignores the row": {
        "week_number": "week_number INTEGER NOT NULL ON CONFLICT IGNORE"
    },
    "several at once, with keys of every kind": {
        **NULLABLE,
        "store": None,
        "uploaded_at": "uploaded_at TIMESTAMP",
        "code": "code TEXT UNIQUE DEFAULT (hex(randomblob(9)))",
        "first": "UNIQUE (store_id, id)",
        "named": "CONSTRAINT named UNIQUE (week_number, id, category_id)",
        "kept": "kept TEXT AS (store_id) STORED",
    },
}
editable = pytest.mark.parametrize("items", EDITABLE.values(), ids=EDITABLE)
ROWS = tuple(row(id, week=id) for id in range(1, 4))
MANY = """
WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO weekly_actuals SELECT i, 'wf_1', i, '2025-01-06', '2025-01-12', 'S001',
    'dresses', i, i, 0.5, '2025-01-13'
FROM n"""


@pytest.fixture
def make(tmp_path):
    """Return a function that creates a table in a new file."""
    worlds = []

    def make(items, *rows, sql=()):
        world = SQLite(tmp_path / f"app{len(worlds)}.db").make(
            State("", REPAIRED, items=items, sql=sql)
        )
        worlds.append(world)
        world.insert(*rows)
        return world

    yield make
    for world in worlds:
        world.drop()


def ensured(world, **options):
    return phase_4_5.run(db.connect(world.url), smoke_test=False, **options)


def places(world):
    """Return the root page of each table and index."""
    return world.query("SELECT type, name, rootpage FROM sqlite_master ORDER BY 1, 2")


def pages(world):
    """Return the pages of the file."""
    with open(world.path, "rb") as file:
        return list(iter(lambda: file.read(4096), b""))


# -- edits


@editable
def test_editable_difference_is_repaired_without_moving_rows(make, items):
    world = make(items, *ROWS)
    before, where = world.query("SELECT * FROM weekly_actuals"), places(world)
    assert way_of(ensured(world).changes) == EDITED
    world.assert_specified()
    assert world.query("SELECT * FROM weekly_actuals") == before
    assert places(world) == where
    assert world.query("PRAGMA integrity_check") == [("ok",)]


def test_edit_does_not_write_the_pages_of_the_rows(make):
    world = make({**NULLABLE, "workflow": None})
    world.execute(MANY)
    before = pages(world)
    ensured(world)
    after = pages(world)
    assert len(after) == len(before) > 500
    changed = [number for number, page in enumerate(before) if page != after[number]]
    assert len(changed) <= 3  # the header and the definition


def _repaired_cases():
    for state, filled in cases("sqlite", REPAIRED):
        if state.items is not None:
            name = f"{state.name} with rows" if filled else state.name
            yield pytest.param(state, filled, id=name)


@pytest.mark.parametrize(("state", "filled"), list(_repaired_cases()))
def test_edit_and_rebuild_give_the_same_schema(tmp_path, state, filled):
    schemas = []
    for way in (EDITED, REBUILT):
        world = SQLite(tmp_path / f"{way}.db").make(state, filled)
        phase_4_5.run(connect(world.path, way), smoke_test=False)
        schemas.append(normalized_schema(world))
        world.drop()
    assert schemas[0] == schemas[1]


def normalized_schema(world):
    """Return the schema without spaces, quotes and the UNIQUE constraint.

    The constraint may be an index instead.
    """
    schema = {}
    for *names, sql in world.query(
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql NOT NULL"
    ):
        if names[1] != "unique_workflow_week_store":
            text = re.sub(r'[\s"]+', "", sql).lower()
            schema[tuple(names)] = re.sub(
                r",constraintunique_workflow_week_storeunique\([^)]*\)", "", text
            )
    return schema


@pytest.mark.parametrize(("items", "statement"), [
    (NULLABLE, "UPDATE weekly_actuals SET week_number = NULL"),
    ({"store": None}, "UPDATE weekly_actuals SET store_id = 'nowhere'"),
    ({"unique": None}, "UPDATE weekly_actuals SET week_number = 1"),
])  # fmt: skip
def test_added_constraint_holds_on_the_same_connection(make, items, statement):
    world = make(items, *ROWS)
    database = db.connect(world.url)
    with database.connection_context():
        database.execute_sql(
            "SELECT count(*) FROM weekly_actuals WHERE week_number IS NULL"
        ).fetchall()
        phase_4_5.run(database, smoke_test=False)
        with pytest.raises(peewee.IntegrityError):
            database.execute_sql(statement)


def test_edited_foreign_key_cascades(make):
    world = make(
        {"workflow": "FOREIGN KEY (workflow_id) REFERENCES workflows(workflow_id)"},
        *ROWS,
    )
    ensured(world)
    world.execute(
        "PRAGMA foreign_keys = ON", "DELETE FROM workflows WHERE workflow_id = 'wf_1'"
    )
    assert world.query("SELECT count(*) FROM weekly_actuals") == [(0,)]


def test_missing_unique_constraint_becomes_an_index_of_its_name(make):
    world = make({"unique": None}, *ROWS)
    assert [change.description for change in ensured(world).changes] == [
        "create unique index unique_workflow_week_store"]  # fmt: skip


def test_missing_column_is_added_before_the_definition_is_edited(make):
    world = make({"variance_pct": None, "store": None}, *ROWS)
    assert [
        change.description.partition(":")[0] for change in ensured(world).changes
    ] == ["add column variance_pct", *["edit the definition of weekly_actuals"] * 4]
    world.assert_specified()


def test_missing_column_with_a_utc_default_is_added_by_a_rebuild(make):
    world = make({"uploaded_at": None}, *ROWS)
    assert way_of(ensured(world).changes) == REBUILT
    assert world.query(
        "SELECT count(*) FROM weekly_actuals WHERE uploaded_at > '2025-01-14'"
    ) == [(3,)]


# -- another model: a named CHECK, a STRICT table


class Note(peewee.Model):
    workflow = peewee.ForeignKeyField(Workflow, index=False)
    stars = peewee.IntegerField(constraints=[peewee.SQL("DEFAULT 3")])
    text = peewee.TextField()

    class Meta:
        table_name = "notes"
        constraints = [peewee.SQL("CONSTRAINT few_stars CHECK (stars BETWEEN 1 AND 5)")]


NOTES = Phase("Notes", requires={Workflow: ("workflow_id",)}, manages=[Note])


@pytest.fixture
def notes(make):
    """Return a function that creates the table of notes with columns and options."""

    def notes(columns, options="", *rows):
        world = make(
            {},
            sql=(f"CREATE TABLE notes (id INTEGER PRIMARY KEY, {columns}){options}",),
        )
        for each in rows:
            world.execute(f"INSERT INTO notes VALUES ({each})")
        return world

    return notes


WORKFLOW = "workflow_id VARCHAR(50) NOT NULL REFERENCES workflows"


def test_missing_check_is_added_by_an_edit_and_holds(notes):
    world = notes(
        f"{WORKFLOW}, stars INTEGER DEFAULT 3, text TEXT NOT NULL",
        "",
        "1, 'wf_1', 5, 'x'",
    )
    report = NOTES.run(db.connect(world.url), smoke_test=False)
    assert way_of(report.changes) == EDITED
    with pytest.raises(sqlite3.IntegrityError, match="few_stars"):
        world.execute("INSERT INTO notes VALUES (2, 'wf_1', 6, 'x')")


def test_missing_check_with_conflicting_rows_is_refused(notes):
    world = notes(
        f"{WORKFLOW}, stars INTEGER DEFAULT 3, text TEXT NOT NULL",
        "",
        "1, 'wf_1', 6, 'x'",
    )
    before = world.dump()
    with pytest.raises(phase_4_5.ChangeRefused, match="few_stars.*1 row "):
        NOTES.run(db.connect(world.url))
    assert world.dump() == before


def test_check_in_a_comment_is_not_taken_for_the_declared_one(notes):
    world = notes(
        f"{WORKFLOW}, stars INTEGER DEFAULT 3 /* CONSTRAINT few_stars CHECK "
        "(1) */, text TEXT NOT NULL"
    )
    assert way_of(NOTES.run(db.connect(world.url)).changes) == EDITED


@pytest.mark.skipif(
    sqlite3.sqlite_version_info < (3, 37), reason="STRICT requires SQLite 3.37"
)
def test_strict_table_is_edited(notes):
    words = (
        "workflow_id TEXT NOT NULL REFERENCES workflows, stars INT DEFAULT 3, text TEXT"
    )
    world = notes(
        f"{words}, CONSTRAINT few_stars CHECK (stars BETWEEN 1 AND 5)",
        " STRICT",
        "1, 'wf_1', 5, 'x'",
    )
    assert way_of(NOTES.run(db.connect(world.url), smoke_test=False).changes) == EDITED
    (sql,) = world.query("SELECT sql FROM sqlite_master WHERE name = 'notes'")[0]
    assert sql.endswith(" STRICT")
    with pytest.raises(sqlite3.IntegrityError):
        world.execute("UPDATE notes SET text = NULL")


# -- what other connections have open

INSERT = (
    "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, "
    "week_end_date, store_id, category_id, "
    "actual_units_sold) VALUES ('wf_2', ?, '2025-01-06', '2025-01-12', 'S001', "
    "'dresses', 1)"
)
wal_or_not = pytest.mark.parametrize("journal", ["delete", "wal"])


@wal_or_not
@both_ways
def test_prepared_statement_of_another_connection_sees_the_change(make, journal, way):
    world = make(NULLABLE, *ROWS)
    world.query(f"PRAGMA journal_mode = {journal}")
    with contextlib.closing(sqlite3.connect(world.path, isolation_level=None)) as other:
        other.execute(INSERT, (None,))  # a prepared statement, in Python's cache
        other.execute("DELETE FROM weekly_actuals WHERE week_number IS NULL")
        assert way_of(phase_4_5.run(connect(world.path, way)).changes) == way
        with pytest.raises(sqlite3.IntegrityError, match="NOT NULL"):
            other.execute(INSERT, (None,))


@both_ways
def test_open_reader_blocks_the_change_and_reads_all_rows(make, way):
    world = make(NULLABLE, *ROWS)
    before = world.dump()
    reader = world.connection.execute("SELECT id FROM weekly_actuals ORDER BY id")
    assert reader.fetchone() == (1,)
    with pytest.raises(phase_4_5.LockTimeout):
        phase_4_5.run(connect(world.path, way), lock_timeout=0.2)
    assert reader.fetchall() == [(2,), (3,)]
    assert world.dump() == before
    assert phase_4_5.run(connect(world.path, way)).status == "migrated"


@both_ways
def test_open_reader_in_wal_mode_keeps_its_snapshot(make, way):
    not_null = (
        "SELECT \"notnull\" FROM pragma_table_info('weekly_actuals') "
        "WHERE name = 'week_number'"
    )
    world = make(NULLABLE, *ROWS)
    world.query("PRAGMA journal_mode = wal")
    world.execute("BEGIN")
    reader = world.connection.execute("SELECT id FROM weekly_actuals ORDER BY id")
    assert reader.fetchone() == (1,)
    assert phase_4_5.run(connect(world.path, way)).status == "migrated"
    assert reader.fetchall() == [(2,), (3,)]
    assert world.query(not_null) == [(0,)]
    world.execute("COMMIT")
    assert world.query(not_null) == [(1,)]


def test_script_executed_later_is_seen_by_other_connections(make):
    world = make(NULLABLE, *ROWS)
    script = "\n".join(phase_4_5.check(db.connect(world.url)).script)
    with contextlib.closing(sqlite3.connect(world.path, isolation_level=None)) as other:
        for number in range(5):  # increases schema_version
            other.execute(f"CREATE TABLE later_{number} (id)")
            other.execute(INSERT, (None,))
            other.execute("DELETE FROM weekly_actuals WHERE week_number IS NULL")
        world.connection.executescript(script)
        with pytest.raises(sqlite3.IntegrityError, match="NOT NULL"):
            other.execute(INSERT, (None,))


# -- what SQLite does


@pytest.mark.skipif(
    sqlite3.sqlite_version_info < (3, 35), reason="SQLite before 3.35 reads the rows"
)
def test_sqlite_trusts_not_null_in_an_edited_definition(make):
    world = make(NULLABLE, *ROWS, row(9, week=None))
    assert world.query(
        "SELECT count(*) FROM weekly_actuals WHERE week_number IS NULL"
    ) == [(1,)]
    world.execute(
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = replace(sql, 'week_number INTEGER', "
        "'week_number INTEGER NOT NULL')",
        "PRAGMA schema_version = 9999",
        "PRAGMA writable_schema = OFF",
    )
    assert world.query(
        "SELECT count(*) FROM weekly_actuals WHERE week_number IS NULL"
    ) == [(0,)]


def test_definition_that_disagrees_with_the_catalog_is_not_edited(make):
    database = db.connect(make(NULLABLE, *ROWS).url)
    engine = engine_for(database, phase_4_5.phase.models, 1)
    with engine.session.connected():
        schema = engine.catalog.read()
        table = schema["weekly_actuals"]
        fewer = {
            name: column
            for name, column in table.columns.items()
            if name != "variance_pct"
        }
        ddl = engine.ddl(schema)
        errors = errors_of(compare(schema, engine.catalog, {}))
        operations = make_plan(errors, schema, ddl, engine.catalog).operations
        definition = NewDefinition(ddl, table, operations, engine.session)
        assert definition.sql().startswith("(id INTEGER")
        table = table._replace(columns=fewer)
        with pytest.raises(phase_4_5.ChangeRefused) as refused:
            NewDefinition(ddl, table, operations, engine.session)
    assert str(refused.value) == (
        "the definition of weekly_actuals cannot be read; change the table by hand, "
        "then run again"
    )


# -- connections that may not write to the schema


def defensive_sqlite3():
    """Return a class of databases whose connections are in defensive mode."""
    if not hasattr(sqlite3.Connection, "setconfig"):
        pytest.skip("setconfig requires Python 3.12")

    class Defensive(peewee.SqliteDatabase):
        def _connect(self):
            connection = super()._connect()
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
            return connection

    return Defensive


def defensive_apsw():
    drivers.require_package("apsw")
    if not hasattr(peewee, "QueryEvent"):
        pytest.skip("refused before Peewee 4.5")
    import apsw
    from playhouse.apsw_ext import APSWDatabase

    class Defensive(APSWDatabase):
        def _connect(self):
            connection = super()._connect()
            connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
            return connection

    return Defensive


@pytest.mark.parametrize("defensive", [defensive_sqlite3, defensive_apsw])
def test_table_is_rebuilt_in_defensive_mode(make, defensive):
    world = make(NULLABLE, *ROWS)
    database = defensive()(str(world.path), pragmas={"foreign_keys": 1})
    before = pages(world)
    assert way_of(phase_4_5.check(database).changes) == REBUILT
    assert pages(world) == before
    assert way_of(phase_4_5.run(database, smoke_test=False).changes) == REBUILT
    world.assert_specified()


@pytest.mark.parametrize("value", [0, 1])
def test_test_of_writable_schema_leaves_no_trace(make, value):
    world = make(NULLABLE, *ROWS)
    before, changed = pages(world), os.stat(world.path).st_mtime_ns
    database = db.connect(world.url)
    with database.connection_context():
        database.pragma("writable_schema", value)
        assert way_of(phase_4_5.check(database).changes) == EDITED
        assert database.pragma("writable_schema") == value
        assert database.connection().total_changes == 0
    assert (pages(world), os.stat(world.path).st_mtime_ns) == (before, changed)


# -- descriptions


@pytest.mark.parametrize(
    ("items", "journal", "blocked"),
    [
        (NULLABLE, "delete", {None}),
        (
            TABLE | {"week_number": "week_number TEXT NOT NULL"},
            "delete",
            {"reads and writes", None},
        ),
        (TABLE | {"week_number": "week_number TEXT NOT NULL"}, "wal", {"writes", None}),
        ({"unique": None}, "delete", {"writes"}),
    ],
)
def test_change_of_a_table_with_rows_names_what_it_blocks(
    make, items, journal, blocked
):
    world = make(items, *ROWS)
    world.query(f"PRAGMA journal_mode = {journal}")
    assert {
        change.blocks for change in phase_4_5.check(db.connect(world.url)).changes
    } == blocked
    world.execute("DELETE FROM weekly_actuals")
    assert {
        change.blocks for change in phase_4_5.check(db.connect(world.url)).changes
    } == {None}


def test_statements_of_an_edit_are_described(make):
    changes = phase_4_5.check(db.connect(make({**NULLABLE, "store": None}).url)).changes
    assert [change.description for change in changes] == [
        "edit the definition of weekly_actuals: set writable_schema",
        "edit the definition of weekly_actuals: replace it",
        "edit the definition of weekly_actuals: reset writable_schema",
        "edit the definition of weekly_actuals: increase schema_version",
    ]
