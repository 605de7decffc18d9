"""Plans are executed on a copy of an SQLite schema in memory before they are shown."""

import logging

import pytest
from peewee import (
    CharField,
    Check,
    ForeignKeyField,
    IntegerField,
    Model,
    SqliteDatabase,
    TextField,
)

from migrations.engines import engine_for
from migrations.engines.sqlite.rehearsal import rehearse
from migrations.errors import ChangeRefused, VerificationFailed
from migrations.operations import AddColumn
from migrations.phase import Phase
from migrations.plan import Plan
from migrations.report import Change
from migrations.schema import Schema


class Item(Model):
    code = CharField(20, unique=True)
    amount = IntegerField()
    note = TextField(null=True)

    class Meta:
        table_name = "items"


ITEMS = Phase("Items", requires={}, manages=[Item])
WITHOUT_NOTE = """
CREATE TABLE items (id INTEGER NOT NULL PRIMARY KEY, code VARCHAR(20) NOT NULL,
                    amount INTEGER NOT NULL);
CREATE UNIQUE INDEX item_code ON items (code);
INSERT INTO items VALUES (1, 'a', 5);"""
REBUILT = WITHOUT_NOTE.replace("amount INTEGER", "amount TEXT")


def refusal_of(database, error=ChangeRefused):
    """Return the text with which both check and run are refused."""
    with pytest.raises(error) as checked:
        ITEMS.check(database)
    with pytest.raises(error) as run:
        ITEMS.run(database)
    assert str(run.value) == str(checked.value)
    return str(run.value)


def schema_of(connection):
    return connection.execute("SELECT * FROM sqlite_master ORDER BY name").fetchall()


# -- what a plan would break

REFUSED = {
    "the view notes": (
        "CREATE TABLE remarks (item_id INTEGER, note TEXT); CREATE VIEW notes AS "
        "SELECT code, note FROM items JOIN remarks ON item_id = items.id",
        "ambiguous column name: note",
    ),
    "the view found": (
        "CREATE VIRTUAL TABLE search USING fts5 (note); CREATE VIEW found AS "
        "SELECT code, note FROM items JOIN search",
        "ambiguous column name: note",
    ),
    "the trigger copy_items of items": (
        "CREATE TABLE copies (id, code, amount); CREATE TRIGGER copy_items "
        "AFTER INSERT ON items BEGIN INSERT INTO copies "
        "SELECT * FROM items WHERE id = new.id; END",
        "table copies has 3 columns but 4 values were supplied",
    ),
    "the trigger copy_others of others": (
        "CREATE TABLE others (id); CREATE TRIGGER copy_others "
        "AFTER UPDATE OF id ON others BEGIN INSERT INTO items "
        "SELECT new.id, 'x', 1; END",
        "table items has 4 columns but 3 values were supplied",
    ),
    "the trigger of_view of codes": (
        "CREATE VIEW codes AS SELECT code FROM items; CREATE TRIGGER of_view "
        "INSTEAD OF DELETE ON codes BEGIN INSERT INTO items SELECT 7, 'x', 1; END",
        "table items has 4 columns but 3 values were supplied",
    ),
}


@pytest.mark.parametrize("subject", REFUSED)
@pytest.mark.parametrize("create", [WITHOUT_NOTE, REBUILT], ids=["added", "rebuilt"])
def test_plan_that_breaks_something_is_refused_by_name(
    file_and_database, subject, create
):
    connection, database = file_and_database
    statements, reason = REFUSED[subject]
    connection.executescript(create + statements)
    before = schema_of(connection)
    assert refusal_of(database) == (
        f"{subject} could not be used after the change ({reason}), nothing was "
        "changed; change or drop it, then run again"
    )
    assert schema_of(connection) == before


def test_view_that_is_broken_already_is_no_reason(file_and_database):
    connection, database = file_and_database
    connection.executescript(WITHOUT_NOTE + "CREATE VIEW v AS SELECT * FROM missing")
    assert ITEMS.run(database).status == "migrated"


def test_views_and_triggers_that_keep_working_are_no_reason(file_and_database):
    connection, database = file_and_database
    connection.executescript(
        REBUILT + "CREATE VIEW v AS SELECT code, amount FROM items; "
        "CREATE TRIGGER t AFTER UPDATE ON items BEGIN "
        "UPDATE items SET amount = 1 WHERE code = new.code; END; "
        "CREATE VIRTUAL TABLE search USING fts5 (code); "
        "CREATE VIEW found AS SELECT * FROM search JOIN items USING (code); ANALYZE"
    )
    assert ITEMS.check(database).status == "pending"
    assert ITEMS.run(database).status == "migrated"


# -- functions of the application


def test_function_of_the_application_is_known_to_the_rehearsal(
    file_and_database, caplog
):
    connection, database = file_and_database
    database.register_function(str.upper, "shout", 1, deterministic=True)
    connection.create_function("shout", 1, str.upper, deterministic=True)
    connection.executescript(REBUILT + "CREATE INDEX loud ON items (shout(code))")
    with caplog.at_level(logging.INFO, "migrations"):
        assert ITEMS.run(database).status == "migrated"
    assert "not rehearsed" not in caplog.text


def test_function_of_the_connection_alone_is_not_rehearsed(file_and_database, caplog):
    connection, database = file_and_database
    connection.create_function("shout", 1, str.upper, deterministic=True)
    connection.executescript(REBUILT + "CREATE INDEX loud ON items (shout(code))")
    with database.connection_context():
        raw = database.connection()
        raw.create_function("shout", 1, str.upper, deterministic=True)
        with caplog.at_level(logging.INFO, "migrations"):
            assert ITEMS.run(database).status == "migrated"
    reason = "the plan was not rehearsed: no such function: shout"
    assert reason in caplog.text


def test_function_that_is_not_there_is_refused(file_and_database):
    connection, database = file_and_database
    connection.create_function("shout", 1, str.upper, deterministic=True)
    connection.executescript(REBUILT + "CREATE INDEX loud ON items (shout(code))")
    assert refusal_of(database) == (
        "rebuild items: restore index loud would fail (no such function: shout), "
        "nothing was changed; it is the application's own: run there, by "
        "ensure(database)"
    )


# -- database classes of the application


def test_database_class_with_its_own_parameters_is_rehearsed(file_and_database, caplog):
    connection, database = file_and_database
    connection.executescript(WITHOUT_NOTE)
    path = database.database

    class OwnDatabase(SqliteDatabase):
        def __init__(self):
            super().__init__(path)

    with caplog.at_level(logging.INFO, "migrations"):
        assert ITEMS.run(OwnDatabase()).status == "migrated"
    assert "not rehearsed" not in caplog.text


def test_database_class_with_a_fixed_file_is_not_rehearsed(file_and_database, caplog):
    connection, database = file_and_database
    connection.executescript(WITHOUT_NOTE)
    path = database.database

    class OwnDatabase(SqliteDatabase):
        def __init__(self, *_, **options):
            super().__init__(path, **options)

    before = schema_of(connection)
    with caplog.at_level(logging.INFO, "migrations"):
        assert ITEMS.check(OwnDatabase()).status == "pending"
    assert "the plan was not rehearsed: a database in memory became" in caplog.text
    assert schema_of(connection) == before
    assert ITEMS.run(OwnDatabase()).status == "migrated"


# -- what the statements lead to


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT 1", "items.note: expected string, found no such column"),
        (
            "ALTER TABLE items ADD COLUMN note INTEGER DEFAULT 5",
            "items.note: expected string, found integer DEFAULT 5",
        ),
    ],
)
def test_statements_that_do_not_do_what_is_planned_are_refused(
    file_and_database, sql, message
):
    connection, database = file_and_database
    connection.executescript(WITHOUT_NOTE)
    engine = engine_for(database, ITEMS.models, 1.0)
    with engine.session.connected():
        current = engine.catalog.read()
        note = engine.catalog.declared_by_name("items").columns["note"]
        planned = Schema({"items": current["items"].with_column(note)})
        plan = Plan((AddColumn("items", note),), current, planned)
        with pytest.raises(VerificationFailed) as refused:
            rehearse(engine.catalog, plan, [Change("add column note", sql)])
    assert str(refused.value) == (
        f"the plan would leave differences, nothing was changed: {message}"
    )


class Shelf(Model):
    item = ForeignKeyField(Item, on_delete="CASCADE", index=False)
    number = IntegerField(index=True)
    note = TextField(null=True)

    class Meta:
        table_name = "shelves"
        constraints = [Check("number > 0", name="positive")]


SHELVES = Phase("Shelves", requires={Item: ()}, manages=[Shelf])


def test_everything_that_is_still_missing_is_named(file_and_database):
    connection, database = file_and_database
    connection.executescript(
        WITHOUT_NOTE + "CREATE TABLE shelves (id INTEGER, item_id INTEGER, "
        "number INTEGER NOT NULL DEFAULT 1, note TEXT)"
    )
    engine = engine_for(database, SHELVES.models, 1.0)
    with engine.session.connected():
        current = engine.catalog.read()
        declared = engine.catalog.declared_by_name("shelves")
        planned = current.with_table("shelves", declared)
        plan = Plan((AddColumn("shelves", declared.columns["note"]),), current, planned)
        with pytest.raises(VerificationFailed) as refused:
            rehearse(engine.catalog, plan, [Change("nothing", "SELECT 1")])
    assert str(refused.value).split("; ") == [
        "the plan would leave differences, nothing was changed: "
        "shelves: expected PRIMARY KEY ('id',), found ()",
        "shelves.id: expected integer NOT NULL, found integer",
        "shelves.item_id: expected integer NOT NULL, found integer",
        "shelves.number: expected integer NOT NULL, found integer NOT NULL DEFAULT 1",
        "shelves.shelf_number: expected (number), found no such index",
        "shelves.item_id: expected REFERENCES items (id) ON DELETE CASCADE",
        "shelves.positive: expected CHECK (number > 0)",
    ]
