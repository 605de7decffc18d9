"""PostgreSQL: a primary key that is replaced by one of another column."""

import peewee
import pytest
from engines.servers import NOTHING

import db
from migrations.phase import Phase


@pytest.fixture
def engine():
    return "postgresql"


class Member(peewee.Model):
    number = peewee.IntegerField(null=True)
    email = peewee.CharField(40, primary_key=True)

    class Meta:
        table_name = "member"


PHASE = Phase("Members", requires={}, manages=[Member])


@pytest.mark.parametrize("rows", [(), ("INSERT INTO member VALUES (1, 'a@b')",)])
@pytest.mark.parametrize("type_", ["int", "smallint"])
def test_column_of_the_replaced_key_becomes_nullable(world, rows, type_):
    made = world("postgresql").make(NOTHING)
    made.execute(
        f"CREATE TABLE member (number {type_} NOT NULL PRIMARY KEY, "
        "email varchar(40) NOT NULL)",
        *rows,
    )
    assert PHASE.check(db.connect(made.url)).status == "pending"
    assert PHASE.run(db.connect(made.url)).status == "migrated"
    unique = "conrelid = 'member'::regclass AND contype = 'u'"
    assert made.query(f"SELECT conname FROM pg_constraint WHERE {unique}") == [
        ("member_number_key",)
    ]
    made.execute("INSERT INTO member (email) VALUES ('c@d')")
    assert PHASE.run(db.connect(made.url)).status == "up_to_date"
