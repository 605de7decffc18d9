"""The smoke test on SQLite tables with undeclared foreign keys."""

import sqlite3

import pytest
from peewee import CharField, IntegerField, Model, SqliteDatabase

from db.fields import UniqueConstraint
from migrations.phase import Phase


class Seat(Model):
    hall = CharField(20, null=True)
    number = IntegerField(null=True)

    class Meta:
        table_name = "seats"
        constraints = [UniqueConstraint("seat_once", "hall", "number")]


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
