"""PostgreSQL: conditions of CHECK constraints are compared by the server."""

import peewee
import pytest
from engines.servers import NOTHING

import db
from db.fields import AutoIncrementField
from migrations.phase import Phase

PAIRS = [
    ("state IN ('todo', 'done')", "state = 'todo' OR state = 'done'", False),
    ("state IN ('todo', 'done')", "state = ANY (ARRAY['todo', 'done'])", True),
    ("state <> 'lost'", "state != 'lost'", True),
    ("state LIKE 'a%'", "state ~~ 'a%'", True),
    ("hours BETWEEN 1 AND 8", "hours >= 1 AND hours <= 8", True),
    ("hours > 0", "hours >= 0", False),
    ("hours > 0", "HOURS>0", True),
    ("state = 'A'", "state = 'a'", False),
    ("hours < 2 + 3", "hours < 5", True),
    (
        "(hours > 8 OR hours < 0) AND state = 'a'",
        "hours > 8 OR (hours < 0 AND state = 'a')",
        False,
    ),
]


@pytest.fixture
def engine():
    return "postgresql"


def phase_of(condition):
    class Task(peewee.Model):
        id = AutoIncrementField()
        state = peewee.CharField(10)
        hours = peewee.IntegerField()

        class Meta:
            table_name = "task"
            constraints = (peewee.SQL(f"CONSTRAINT task_rule CHECK ({condition})"),)

    return Phase("Tasks", requires={}, manages=[Task])


def task(world, condition, *rows):
    made = world("postgresql").make(NOTHING)
    made.execute(
        "CREATE TABLE task (id serial PRIMARY KEY, state varchar(10) NOT NULL, "
        "hours integer NOT NULL, "
        f"CONSTRAINT task_rule CHECK ({condition}))"
    )
    made.execute(*(f"INSERT INTO task (state, hours) VALUES {row}" for row in rows))
    return made


@pytest.mark.parametrize(("declared", "actual", "same"), PAIRS)
def test_conditions_are_compared_in_normal_form(world, declared, actual, same):
    made = task(world, actual)
    report = phase_of(declared).check(db.connect(made.url))
    assert report.status == ("up_to_date" if same else "pending")


@pytest.mark.parametrize("rows", [(), ("('todo', 1)",)])
def test_another_condition_is_replaced(world, rows):
    made = task(world, "state IN ('todo', 'done')", *rows)
    phase = phase_of("state IN ('todo', 'busy', 'done')")
    assert phase.run(db.connect(made.url)).status == "migrated"
    made.execute("INSERT INTO task (state, hours) VALUES ('busy', 1)")
    assert phase.run(db.connect(made.url)).status == "up_to_date"


def test_function_that_was_replaced_makes_another_condition(world):
    made = world("postgresql").make(NOTHING)
    function = (
        "CREATE OR REPLACE FUNCTION positive(number integer) RETURNS boolean "
        "LANGUAGE sql IMMUTABLE AS 'SELECT number > {}'"
    )
    made.execute(
        function.format(0),
        "CREATE TABLE task (id serial PRIMARY KEY, state varchar(10) NOT NULL, "
        "hours integer NOT NULL, CONSTRAINT task_rule CHECK (positive(hours)))",
    )
    phase = phase_of("hours > 0")
    assert phase.check(db.connect(made.url)).differences == ()
    made.execute(function.format(1))
    (difference,) = phase.check(db.connect(made.url)).differences
    assert difference.actual == "CHECK (positive(hours))"
