"""A run does what a check announces, whatever else the tables have.

Each case is drawn from a number, so a failure can be repeated: the message has it.
"""

import random

import peewee
import pytest
from drawn_objects import COMMON_FIELDS, OBJECTS
from drivers import exhaustive, only_on
from peewee import SQL

import db
from db.fields import UniqueConstraint
from migrations.errors import ChangeRefused, UnsupportedModel
from migrations.phase import Phase

CASES_OF_A_TEST = 10


class Case:
    """A table and a model that were drawn."""

    def __init__(self, objects, seed):
        self.objects = objects
        self.draw = random.Random(seed)
        types = list(objects.types)
        self.types = {name: self.draw.choice(types) for name in "ab"}
        if self.draw.random() < 0.3:
            self.types["a"] = types[0]
        self.parts = self.draw.sample(objects.parts, self.draw.randrange(4))
        self.statements = self.draw.sample(objects.statements, self.draw.randrange(3))

    def named(self, text):
        first, second = self.draw.sample("ab", 2)
        return text.replace("{a}", first).replace("{b}", second)

    def create(self, world):
        """Create the table, as far as the server accepts its parts."""
        world.execute(*self.objects.before)
        columns = ", ".join(
            f"{name} {type_} {self.draw.choice(('NULL', 'NOT NULL'))}"
            for name, type_ in self.types.items()
        )
        usual, *others = self.objects.keys
        key = self.named(self.draw.choice((usual, usual, usual, *others)))
        if not attempt(world, f"CREATE TABLE item ({columns}, {key})"):
            world.execute(f"CREATE TABLE item ({columns}, {usual})")
        for part in self.parts:
            attempt(world, f"ALTER TABLE item ADD {self.named(part)}")
        for statement in self.statements:
            for each in self.named(statement).split("; "):
                attempt(world, each)
        for _ in range(self.draw.randrange(4)):
            values = ", ".join(
                self.draw.choice(self.objects.types[type_])
                for type_ in self.types.values()
            )
            attempt(world, f"INSERT INTO item (a, b) VALUES ({values})")

    def phase(self):
        fields = {}
        for name in "ab":
            options = {"null": self.draw.random() < 0.6}
            options.update(
                self.draw.choice(({}, {}, {"index": True}, {"unique": True}))
            )
            fields[name] = self.draw.choice(COMMON_FIELDS)(**options)
        requires = {}
        if self.draw.random() < 0.3:
            parent = type(
                "Par", (peewee.Model,), {"number": peewee.CharField(20, null=True)}
            )
            requires[parent] = ()
            fields["b"] = peewee.ForeignKeyField(
                parent, column_name="b", null=True, constraint_name="once"
            )
        constraints = self.draw.choice(
            (
                [],
                [UniqueConstraint("once", "a", "b")],
                [SQL("CONSTRAINT own_check CHECK (b IS NOT NULL OR a = 1)")],
            )
        )
        meta = type("Meta", (), {"table_name": "item", "constraints": constraints})
        item = type("Item", (peewee.Model,), {**fields, "Meta": meta})
        return Phase("Items", requires=requires, manages=[item])


def attempt(world, statement):
    try:
        world.execute(statement)
    except Exception:  # the case is drawn without what the server refuses
        return False
    return True


def outcome(call, url, **options):
    try:
        return call(db.connect(url), **options).status
    except (ChangeRefused, UnsupportedModel) as error:
        return f"{type(error).__name__}: {error}"


def run_does_what_a_check_announces(world, phase):
    announced = outcome(phase.check, world.url)
    done = outcome(phase.run, world.url, smoke_test=False, statistics=False)
    expected = {"pending": "migrated"}.get(announced, announced)
    assert done == expected
    if done == "migrated":
        assert outcome(phase.check, world.url) == "up_to_date"


def engines():
    """Return each server's engine and what its tables are drawn of."""
    found = []
    for server, objects in OBJECTS.items():
        engine, marks = only_on(server)
        found.append(pytest.param(engine, objects, id=server, marks=marks))
    return found


@pytest.mark.drivers
@pytest.mark.parametrize(("engine", "objects"), engines())
@pytest.mark.parametrize("batch", [1, *exhaustive(*range(2, 202))])
def test_run_does_what_a_check_announces(world, engine, objects, batch):
    made = world(engine)
    for seed in range(batch * CASES_OF_A_TEST, (batch + 1) * CASES_OF_A_TEST):
        made.clear()
        case = Case(objects, seed)
        case.create(made)
        phase = case.phase()
        while outcome(phase.check, made.url).startswith("UnsupportedModel"):
            phase = case.phase()
        try:
            run_does_what_a_check_announces(made, phase)
        except Exception as error:
            table = ", ".join(f"{name} {text}" for name, text in case.types.items())
            parts = [table, *case.parts, *case.statements]
            raise AssertionError(f"case {seed}: {error}: {parts}") from error
