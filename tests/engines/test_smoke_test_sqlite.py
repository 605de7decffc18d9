"""The smoke test on SQLite tables with undeclared foreign keys."""

import sqlite3

import pytest
from peewee import (
    CharField,
    ForeignKeyField,
    IntegerField,
    Model,
    SqliteDatabase,
)

from db.fields import UniqueConstraint
from migrations.phase import Phase


class Seat(Model):
    hall = CharField(20, null=True)
    number = IntegerField(null=True)

    class Meta:
        table_name = "seats"
        constraints = [UniqueConstraint("seat_once", "hall", "number")]


class Hall(Model):
    code = CharField(20, primary_key=True)

    class Meta:
        table_name = "halls"


class Ticket(Model):
    hall = ForeignKeyField(Hall, on_delete="CASCADE")

    class Meta:
        table_name = "tickets"


TICKETS = Phase("Tickets", requires={Hall: ()}, manages=[Ticket])
SEATS = Phase("Seats", requires={}, manages=[Seat])


@pytest.mark.parametrize("rows", ["", "INSERT INTO halls VALUES ('big')"])
def test_unique_key_over_an_undeclared_foreign_key_is_tested(tmp_path, rows):
    path = tmp_path / "app.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(
        "CREATE TABLE halls (code VARCHAR(20) PRIMARY KEY); "
        "CREATE TABLE seats (id INTEGER PRIMARY KEY, hall VARCHAR(20) "
        "REFERENCES halls (code), number INTEGER, "
        f"CONSTRAINT seat_once UNIQUE (hall, number)); {rows}"
    )
    report = SEATS.run(SqliteDatabase(str(path)))
    assert (report.status, report.smoke_test["unique"]) == ("up_to_date", True)
    assert connection.execute("SELECT * FROM seats").fetchall() == []
    connection.close()


@pytest.mark.parametrize(
    ("type_text", "stored"),
    [
        ("DATE", "text"),
        ("datetime", "text"),
        ("TIME", "text"),
        ("TIMESTAMP", "text"),
        ("VARCHAR(20)", "text"),
        ("BLOB", "blob"),
        ("INTEGER", "integer"),
        ("NUMERIC", "integer"),
        ("REAL", "real"),
    ],
)
def test_column_gets_a_value_of_its_type(file_and_database, type_text, stored):
    connection, database = file_and_database
    is_date = "1 = 1"
    if "TIM" in type_text.upper() or "DATE" in type_text.upper():
        is_date = "datetime(new.made) IS NOT NULL"
    connection.executescript(
        "CREATE TABLE seats (id INTEGER PRIMARY KEY, hall VARCHAR(20), number INTEGER, "
        f"made {type_text} NOT NULL, CONSTRAINT seat_once UNIQUE (hall, number)); "
        "CREATE TRIGGER of_another_type BEFORE INSERT ON seats "
        f"WHEN typeof(new.made) <> '{stored}' OR NOT ({is_date}) "
        "BEGIN SELECT RAISE(ABORT, 'of another type'); END"
    )
    report = SEATS.run(database)
    assert (report.status, report.smoke_test["insert"]) == ("up_to_date", True)


@pytest.mark.parametrize(
    ("columns", "outcome"), [("rowid", True), ("rowid, _rowid_, oid", None)]
)
def test_deferred_key_is_tested_whatever_columns_are_called(tmp_path, columns, outcome):
    path = tmp_path / "app.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(
        "CREATE TABLE halls (code VARCHAR(20) PRIMARY KEY); "
        "CREATE TABLE tickets (id INTEGER PRIMARY KEY, hall_id VARCHAR(20) NOT NULL "
        "REFERENCES halls (code) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, "
        f"{columns}); "
        "CREATE INDEX ticket_hall_id ON tickets (hall_id)"
    )
    report = TICKETS.run(SqliteDatabase(str(path)))
    assert report.status == "up_to_date"
    assert report.smoke_test["foreign_keys"] is None
    connection.close()
