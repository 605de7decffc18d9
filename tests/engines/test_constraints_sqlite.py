"""Constraints of an SQLite table that differ from the model's."""

import sqlite3

import pytest
from engines.worlds import sqlite_database
from peewee import (
    SQL,
    AutoField,
    CharField,
    ForeignKeyField,
    IntegerField,
    Model,
)
from ways import both_ways, connect

from db.fields import AutoIncrementField, UniqueConstraint
from migrations.engines import engine_for
from migrations.errors import ChangeRefused
from migrations.phase import Phase

CONDITION = "state IN ('todo', 'busy')"


class Task(Model):
    state = CharField(10)
    size = IntegerField(null=True)

    class Meta:
        table_name = "tasks"
        constraints = [SQL(f"CONSTRAINT known_state CHECK ({CONDITION})")]


TASKS = Phase("Tasks", requires={}, manages=[Task])


def text_of(connection, table):
    sql = "SELECT sql FROM sqlite_master WHERE name = ?"
    return connection.execute(sql, (table,)).fetchone()[0]


def create_tasks(connection, condition):
    check = f"CONSTRAINT known_state CHECK ({condition})"
    connection.execute(
        "CREATE TABLE tasks (id INTEGER NOT NULL PRIMARY KEY, "
        f"state VARCHAR(10) NOT NULL, size INTEGER, {check})"
    )


# -- CHECK

SAME = [
    CONDITION,
    "state  in\n('todo','busy')",
    "\"state\" IN ('todo', 'busy')",
    "((tasks.state) IN ('todo', 'busy'))",
    "[STATE] IN ('todo', 'busy')",
]
DIFFERENT = [
    "state IN ('todo')",
    "state IN ('todo', 'Busy')",
    "state NOT IN ('todo', 'busy')",
    "state IN ('todo', 'busy') OR size > 1",
    "lower(state) IN ('todo', 'busy')",
]


@pytest.mark.parametrize("condition", SAME)
def test_same_condition_in_another_form_is_as_declared(file, condition):
    connection, path = file
    create_tasks(connection, condition)
    report = TASKS.check(sqlite_database(path))
    assert (report.status, report.differences) == ("up_to_date", ())


@pytest.mark.parametrize("condition", DIFFERENT)
@both_ways
def test_check_of_another_condition_is_replaced(file, condition, way):
    connection, path = file
    create_tasks(connection, condition)
    report = TASKS.run(connect(path, way))
    assert report.status == "migrated"
    assert text_of(connection, "tasks").count("CHECK") == 1
    connection.execute("INSERT INTO tasks (state) VALUES ('busy')")
    with pytest.raises(sqlite3.IntegrityError, match="known_state"):
        connection.execute("INSERT INTO tasks (state) VALUES ('done')")


@pytest.mark.parametrize(
    ("declared", "actual", "same"),
    [
        ("size <> 1", "size != 1", True),
        ("size = 1", "size == 1", True),
        ("size > 1 AND state <> 'a'", "(size > 1) AND (state <> 'a')", True),
        (
            "size > 1 OR size < 0 AND state = 'a'",
            "size > 1 OR (size < 0 AND state = 'a')",
            True,
        ),
        (
            "size > 1 OR size < 0 AND state = 'a'",
            "(size > 1 OR size < 0) AND state = 'a'",
            False,
        ),
        ("size > 1", "size >= 1", False),
        ("size > 1", "size > 1.5", False),
        ("state = 'a b'", "state = 'a  b'", False),
        ("state = 'a'", "state = 'A'", False),
        ("state LIKE 'a%'", "state LIKE 'a_%'", False),
        ("size > 1", "missing > 1", False),
    ],
)  # fmt: skip
def test_conditions_are_compared_by_their_meaning(file, declared, actual, same):
    connection, path = file
    create_tasks(connection, CONDITION)
    database = sqlite_database(path)
    engine = engine_for(database, TASKS.models, 1.0)
    with engine.session.connected():
        table = engine.catalog.read()["tasks"]
        assert engine.catalog.same_condition(table, declared, actual) is same


def test_check_of_a_column_is_replaced(file):
    connection, path = file
    connection.execute(
        "CREATE TABLE tasks (id INTEGER NOT NULL PRIMARY KEY, state VARCHAR(10) "
        "NOT NULL CONSTRAINT Known_State CHECK (state = 'todo'), size INTEGER)"
    )
    TASKS.run(sqlite_database(path))
    connection.execute("INSERT INTO tasks (state) VALUES ('busy')")


def test_rows_that_conflict_with_the_new_condition_are_reported(file):
    connection, path = file
    create_tasks(connection, "state <> ''")
    connection.execute("INSERT INTO tasks (state) VALUES ('done')")
    with pytest.raises(ChangeRefused, match=r"1 row \(id 1\); see: SELECT"):
        TASKS.check(sqlite_database(path))


def test_check_without_a_name_is_reported(file):
    connection, path = file
    connection.execute(
        "CREATE TABLE tasks (id INTEGER NOT NULL PRIMARY KEY, state VARCHAR(10) "
        f"NOT NULL, size INTEGER CHECK (size > 0), CONSTRAINT known_state "
        f"CHECK ({CONDITION}))"
    )
    (difference,) = TASKS.check(sqlite_database(path)).differences
    assert (difference.severity, difference.message) == (
        "warning",
        "tasks: CHECK (size > 0) may reject rows that the model allows; "
        "it is not in the model",
    )


# -- foreign keys


class Part(Model):
    task = ForeignKeyField(Task, on_delete="CASCADE")

    class Meta:
        table_name = "parts"


PARTS = Phase("Parts", requires={Task: ()}, manages=[Part])


@both_ways
def test_replaced_foreign_key_keeps_its_name_and_deferrable(file, way):
    connection, path = file
    create_tasks(connection, CONDITION)
    connection.executescript(
        "CREATE TABLE parts (id INTEGER NOT NULL PRIMARY KEY, task_id INTEGER NOT NULL "
        "CONSTRAINT of_task REFERENCES tasks (id) DEFERRABLE INITIALLY DEFERRED); "
        "CREATE INDEX part_task_id ON parts (task_id)"
    )
    assert PARTS.run(connect(path, way)).status == "migrated"
    assert text_of(connection, "parts").endswith(
        'CONSTRAINT "of_task" FOREIGN KEY ("task_id") REFERENCES "tasks" ("id") '
        "ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED)"
    )


# -- ids


class Ticket(Model):
    id = AutoIncrementField()
    name = CharField(20, null=True)

    class Meta:
        table_name = "tickets"


class PlainTicket(Model):
    id = AutoField()
    name = CharField(20, null=True)

    class Meta:
        table_name = "tickets"


TICKETS = Phase("Tickets", requires={}, manages=[Ticket])
PLAIN_TICKETS = Phase("Tickets", requires={}, manages=[PlainTicket])


def test_missing_autoincrement_is_added(file):
    connection, path = file
    connection.executescript(
        "CREATE TABLE tickets (id INTEGER PRIMARY KEY, name VARCHAR(20)); "
        "INSERT INTO tickets VALUES (4, 'a'), (7, 'b')"
    )
    report = TICKETS.run(sqlite_database(path))
    (repaired,) = report.repaired
    assert repaired.message == (
        "tickets.id: expected an auto-increment PRIMARY KEY (id) that never reuses an "
        "id, found PRIMARY KEY (id) without AUTOINCREMENT"
    )
    connection.executescript(
        "DELETE FROM tickets WHERE id = 7; INSERT INTO tickets (name) VALUES ('c')"
    )
    rows = connection.execute("SELECT * FROM tickets").fetchall()
    assert rows == [(4, "a"), (8, "c")]
    assert TICKETS.check(sqlite_database(path)).status == "up_to_date"


def test_autoincrement_that_is_not_declared_stays(file):
    connection, path = file
    connection.execute(
        "CREATE TABLE tickets (id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR(20))"
    )
    assert PLAIN_TICKETS.check(sqlite_database(path)).status == "up_to_date"


# -- collations


class Item(Model):
    code = CharField(20, null=True)
    label = CharField(20, null=True)

    class Meta:
        table_name = "items"
        constraints = [UniqueConstraint("code_once", "code")]


ITEMS = Phase("Items", requires={}, manages=[Item])


def test_unique_key_over_another_collation_is_a_warning(file):
    connection, path = file
    connection.execute(
        "CREATE TABLE items (id INTEGER PRIMARY KEY, code VARCHAR(20) COLLATE NOCASE, "
        "label VARCHAR(20) COLLATE rtrim, CONSTRAINT code_once UNIQUE (code))"
    )
    report = ITEMS.run(sqlite_database(path))
    assert report.status == "up_to_date"
    assert [(each.severity, each.message) for each in report.differences] == [
        (
            "warning",
            "items.code: COLLATE NOCASE is not in the model, "
            "and UNIQUE (code) may reject rows by it",
        ),
        ("note", "items.label: COLLATE RTRIM is not in the model"),
    ]


def test_binary_collation_is_as_declared(file):
    connection, path = file
    connection.execute(
        "CREATE TABLE items (id INTEGER PRIMARY KEY, code VARCHAR(20) COLLATE BINARY, "
        "label VARCHAR(20), CONSTRAINT code_once UNIQUE (code))"
    )
    assert ITEMS.check(sqlite_database(path)).differences == ()


def test_key_of_a_table_outside_of_the_phase_is_read_again(file_and_database):
    connection, database = file_and_database
    TASKS.ensure(database)
    connection.executescript(
        "CREATE TABLE people (name TEXT PRIMARY KEY, number INT UNIQUE);"
        "ALTER TABLE tasks ADD COLUMN owner REFERENCES people"
    )

    def parent_columns():
        with database.connection_context():
            schema = engine_for(database, TASKS.models, 10).catalog.read()
        return [key.parent_columns for key in schema["tasks"].foreign_keys]

    assert parent_columns() == [("name",)]
    connection.executescript(
        "DROP TABLE people; CREATE TABLE people (name TEXT, number INT PRIMARY KEY)"
    )
    assert parent_columns() == [("number",)]


def players_of(table):
    """Return a phase that requires a table of some name, and refers to it."""

    class Team(Model):
        name = CharField(9, primary_key=True)

        class Meta:
            table_name = table

    class Player(Model):
        team = ForeignKeyField(Team, index=False)

        class Meta:
            table_name = "players"

    return Phase("Players", requires={Team: ("name",)}, manages=[Player])


def test_phases_may_spell_a_required_table_in_their_own_way(file):
    connection, path = file
    connection.execute("CREATE TABLE Team (name VARCHAR(9) NOT NULL PRIMARY KEY)")
    assert players_of("Team").ensure(sqlite_database(path)) is True
    for table in ("Team", "team", "TEAM"):
        assert players_of(table).ensure(sqlite_database(path)) is False


def test_required_key_with_a_collation_is_accepted(file):
    connection, path = file
    connection.execute("CREATE TABLE team (name VARCHAR(9) COLLATE NOCASE PRIMARY KEY)")
    assert players_of("team").ensure(sqlite_database(path)) is True
    assert players_of("team").check(sqlite_database(path)).differences == ()
