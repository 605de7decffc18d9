"""Columns of an SQLite table whose type, NULL or DEFAULT changes."""

import sqlite3

import pytest
from engines.worlds import sqlite_database
from peewee import (
    SQL,
    CharField,
    DateField,
    FloatField,
    IntegerField,
    Model,
)
from ways import both_ways, connect

from migrations.errors import ChangeRefused
from migrations.phase import Phase


class Entry(Model):
    amount = IntegerField(null=True)
    share = FloatField(null=True)
    day = DateField(null=True)
    label = CharField(20, null=True)

    class Meta:
        table_name = "entries"


class Ticket(Model):
    state = CharField(20, constraints=[SQL("DEFAULT 'open'")])

    class Meta:
        table_name = "tickets"


class LooseTicket(Model):
    state = CharField(20, null=True, constraints=[SQL("DEFAULT 'open'")])

    class Meta:
        table_name = "tickets"


class Member(Model):
    number = IntegerField(null=True)
    email = CharField(40, primary_key=True)

    class Meta:
        table_name = "members"


ENTRIES = Phase("Entries", requires={}, manages=[Entry])
TICKETS = Phase("Tickets", requires={}, manages=[Ticket])
LOOSE_TICKETS = Phase("Tickets", requires={}, manages=[LooseTicket])
MEMBERS = Phase("Members", requires={}, manages=[Member])


# -- an undeclared DEFAULT of a column that changes its type


def create_entries(connection, **types):
    types = {
        "amount": "INTEGER",
        "share": "REAL",
        "day": "DATE",
        "label": "VARCHAR(20)",
        **types,
    }
    columns = ", ".join(f"{name} {type_}" for name, type_ in types.items())
    connection.execute(f"CREATE TABLE entries (id INTEGER PRIMARY KEY, {columns})")


@pytest.mark.parametrize(
    ("column", "default", "type_"),
    [
        ("amount", "'none'", "INTEGER"),
        ("amount", "'1.5'", "INTEGER"),
        ("amount", "CURRENT_TIMESTAMP", "INTEGER"),
        ("amount", "'no' || 'ne'", "INTEGER"),
        ("share", "'half'", "REAL"),
        ("day", "'yesterday'", "DATE"),
        ("day", "'2024-02-30'", "DATE"),
    ],
)
def test_default_that_the_new_type_cannot_store_is_refused(
    file, column, default, type_
):
    connection, path = file
    create_entries(connection, **{column: f"TEXT DEFAULT ({default})"})
    for call in (ENTRIES.check, ENTRIES.run):
        with pytest.raises(ChangeRefused) as refused:
            call(sqlite_database(path))
        assert str(refused.value) == (
            f"entries.{column} has DEFAULT {default}, which is not a value of {type_}; "
            "declare a DEFAULT in the model, or remove this one by hand, then run again"
        )


def test_default_of_a_number_that_is_a_text_is_refused(file):
    connection, path = file
    create_entries(connection, amount="TEXT DEFAULT none")
    with pytest.raises(ChangeRefused, match="entries.amount has DEFAULT none, which"):
        ENTRIES.check(sqlite_database(path))


@pytest.mark.parametrize(
    ("column", "default", "stored"),
    [
        ("amount", "'5'", 5),
        ("amount", "-7", -7),
        ("amount", "(2 + 3)", 5),
        ("amount", "NULL", None),
        ("amount", "true", 1),
        ("share", "'1.5'", 1.5),
        ("day", "'2024-02-29'", "2024-02-29"),
        ("day", "CURRENT_DATE", None),
    ],
)
def test_default_that_is_a_value_of_the_new_type_stays(file, column, default, stored):
    connection, path = file
    create_entries(connection, **{column: f"TEXT DEFAULT {default}"})
    assert ENTRIES.run(sqlite_database(path)).status == "migrated"
    connection.execute("INSERT INTO entries (label) VALUES ('x')")
    ((found,),) = connection.execute(f"SELECT {column} FROM entries")
    if default == "CURRENT_DATE":
        assert len(found) == len("2024-02-29")
    else:
        assert (found, type(found)) == (stored, type(stored))


# -- NULL and a declared DEFAULT

NULLS = (
    "rows conflict with the change, nothing was changed: tickets.state: expected NOT "
    "NULL, found NULL allowed: 1 row (); fill or delete them, or add to the "
    'constraints of state: Backfill("SQL expression"); see: SELECT * FROM "tickets" w '
    'WHERE w."state" IS NULL'
)


@pytest.mark.parametrize("default", [" DEFAULT 'open'", ""])
def test_null_in_a_column_with_a_default_is_reported(file, default):
    connection, path = file
    connection.executescript(
        f"CREATE TABLE tickets (id INTEGER PRIMARY KEY, state VARCHAR(20){default}); "
        "INSERT INTO tickets (state) VALUES (NULL), ('shut')"
    )
    for call in (TICKETS.check, TICKETS.run):
        with pytest.raises(ChangeRefused) as refused:
            call(sqlite_database(path))
        assert str(refused.value) == NULLS.replace("1 row ()", "1 row (id 1)")


@pytest.mark.parametrize("found", ["", " NOT NULL", " DEFAULT 'open'"])
@both_ways
def test_not_null_and_default_are_set_together(file, found, way):
    connection, path = file
    connection.execute(
        f"CREATE TABLE tickets (id INTEGER PRIMARY KEY, state VARCHAR(20){found})"
    )
    assert TICKETS.run(connect(path, way)).status == "migrated"
    connection.execute("INSERT INTO tickets (id) VALUES (1)")
    assert connection.execute("SELECT state FROM tickets").fetchall() == [("open",)]
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("INSERT INTO tickets (state) VALUES (NULL)")


@both_ways
def test_null_is_allowed_and_default_set_together(file, way):
    connection, path = file
    connection.execute(
        "CREATE TABLE tickets (id INTEGER PRIMARY KEY, state VARCHAR(20) NOT NULL)"
    )
    assert LOOSE_TICKETS.run(connect(path, way)).status == "migrated"
    connection.execute("INSERT INTO tickets VALUES (1, NULL)")
    connection.execute("INSERT INTO tickets (id) VALUES (2)")
    states = connection.execute("SELECT state FROM tickets").fetchall()
    assert states == [(None,), ("open",)]


# -- keys


def test_primary_key_moves_to_another_column(file):
    connection, path = file
    connection.executescript(
        "CREATE TABLE members (number INT NOT NULL PRIMARY KEY, "
        "email VARCHAR(40) NOT NULL); INSERT INTO members VALUES (1, 'a@b')"
    )
    assert MEMBERS.run(sqlite_database(path)).status == "migrated"
    assert MEMBERS.check(sqlite_database(path)).status == "up_to_date"
    connection.execute("INSERT INTO members VALUES (NULL, 'c@d')")


def test_table_with_nothing_but_the_declared_id_is_completed(file):
    connection, path = file
    connection.execute("CREATE TABLE entries (id INTEGER PRIMARY KEY, old_name TEXT)")
    assert ENTRIES.run(sqlite_database(path)).status == "migrated"
    assert ENTRIES.check(sqlite_database(path)).status == "up_to_date"


# -- names that are taken


class IndexedSeat(Model):
    hall = CharField(20, null=True, index=True)

    class Meta:
        table_name = "seats"


INDEXED_SEATS = Phase("Seats", requires={}, manages=[IndexedSeat])


@pytest.mark.parametrize(
    ("create", "owner"),
    [
        ("CREATE INDEX indexedseat_hall ON others (a)", "index of others"),
        ("CREATE TABLE indexedseat_hall (a)", "table of indexedseat_hall"),
        (
            "CREATE VIEW indexedseat_hall AS SELECT 1 AS a",
            "view of indexedseat_hall",
        ),
    ],
)
def test_name_of_an_index_that_is_taken_is_refused_at_once(file, create, owner):
    connection, path = file
    connection.executescript(f"CREATE TABLE others (a); {create}")
    for call in (INDEXED_SEATS.check, INDEXED_SEATS.run):
        with pytest.raises(ChangeRefused) as refused:
            call(sqlite_database(path))
        assert str(refused.value) == (
            f"the name indexedseat_hall belongs to the {owner}; "
            "rename or drop it first, then run again"
        )


def test_name_of_the_new_table_that_is_taken_is_refused(file):
    connection, path = file
    create_entries(connection, amount="TEXT")
    connection.executescript(
        "CREATE TABLE entries__new (a); INSERT INTO entries__new VALUES (1)"
    )
    with pytest.raises(ChangeRefused) as refused:
        ENTRIES.run(sqlite_database(path))
    assert str(refused.value) == (
        "the name entries__new belongs to the table of entries__new; "
        "rename or drop it first, then run again"
    )
    assert connection.execute("SELECT * FROM entries__new").fetchall() == [(1,)]
