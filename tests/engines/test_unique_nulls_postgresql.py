"""PostgreSQL: UNIQUE NULLS NOT DISTINCT, which no model can declare."""

import peewee
import pytest
from engines.servers import NOTHING

import db
from db.fields import AutoIncrementField, UniqueConstraint
from migrations.phase import Phase

DECLARED = [UniqueConstraint("once", "a", "b")]


@pytest.fixture
def engine():
    return "postgresql"


def phase_of(constraints):
    class Item(peewee.Model):
        id = AutoIncrementField()
        a = peewee.IntegerField()
        b = peewee.IntegerField(null=True)

    Item._meta.set_table_name("item")
    Item._meta.constraints = constraints
    return Phase("Items", requires={}, manages=[Item])


def item(world, columns):
    made = world("postgresql").make(NOTHING)
    if made.connection.info.server_version < 150000:
        pytest.skip("NULLS NOT DISTINCT is new in PostgreSQL 15")
    made.execute(
        "CREATE TABLE item (id serial PRIMARY KEY, a integer NOT NULL, b integer, "
        f"CONSTRAINT once UNIQUE NULLS NOT DISTINCT ({columns}))",
        "INSERT INTO item (a) VALUES (1)",
    )
    return made


def test_declared_unique_constraint_makes_nulls_distinct(world):
    made = item(world, "a, b")
    phase = phase_of(DECLARED)
    assert phase.run(db.connect(made.url)).status == "migrated"
    made.execute("INSERT INTO item (a) VALUES (1)")
    assert phase.run(db.connect(made.url)).status == "up_to_date"


def test_undeclared_nulls_not_distinct_is_a_warning(world):
    report = phase_of([]).run(db.connect(item(world, "a, b").url))
    assert report.status == "up_to_date"
    assert [
        (each.severity, each.object, each.actual) for each in report.differences
    ] == [("warning", "item.once", "UNIQUE (a, b NULLS NOT DISTINCT)")]


def test_without_nulls_the_key_is_as_declared(world):
    made = item(world, "a")
    report = phase_of([UniqueConstraint("once", "a")]).run(db.connect(made.url))
    assert (report.status, report.differences) == ("up_to_date", ())


def test_nulls_that_become_possible_make_the_key_another_one(world):
    made = item(world, "a")
    made.execute("UPDATE item SET a = 1")
    field = peewee.IntegerField(null=True, unique=True)
    meta = type("Meta", (), {"table_name": "item"})
    model = type("Item", (peewee.Model,), {"a": field, "Meta": meta})
    phase = Phase("Items", requires={}, manages=[model])
    assert phase.run(db.connect(made.url)).status == "migrated"
    assert phase.check(db.connect(made.url)).status == "up_to_date"
