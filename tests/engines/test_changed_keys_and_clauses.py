"""Changes of keys and clauses that need a hand, each refused in one clear line."""

import peewee
import pytest
from peewee import SQL, CharField, IntegerField
from states import ENGINES

import db
from db.fields import AutoIncrementField
from migrations.errors import ChangeRefused, UnsupportedModel
from migrations.phase import Phase

on_every_engine = pytest.mark.parametrize("engine", ENGINES)
on_servers = pytest.mark.parametrize("engine", ["postgresql", "mysql"])
pytestmark = pytest.mark.drivers


def thing(has_id=True, settings=(), **fields):
    meta = {"table_name": "things", "table_settings": list(settings)}
    known = {"id": AutoIncrementField()} if has_id else {}
    members = {**known, **fields, "Meta": type("Meta", (), meta)}
    return type("Thing", (peewee.Model,), members)


def make(world, model, *statements):
    database = db.connect(world.url)
    with database.connection_context(), database.bind_ctx([model]):
        database.create_tables([model])
    world.execute(*statements)
    return database


def phase(model, *drops):
    entries = [f"things.{name}" for name in drops]
    return Phase("Things", requires={}, manages=[model], drops=entries)


def refused(phase, database):
    """Return the message of a check, which is that of a run."""
    messages = []
    for call in (phase.check, phase.run):
        with pytest.raises(ChangeRefused) as error:
            call(database)
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    return messages[0]


# -- generated columns


GENERATED = "ALTER TABLE things ADD COLUMN twice INTEGER GENERATED ALWAYS AS (num * 2) "


def with_generated_column(world):
    kind = "STORED" if world.engine == "postgresql" else "VIRTUAL"
    return make(world, thing(num=IntegerField(null=True)), GENERATED + kind)


@on_every_engine
def test_the_base_of_a_generated_column_is_not_dropped(world, engine):
    world = world(engine)
    database = with_generated_column(world)
    text = refused(phase(thing(), "num"), database)
    assert "things.num has to be dropped, and the " in text
    assert "column twice" in text
    assert "depends on it; drop it, then run again" in text


@on_every_engine
@pytest.mark.parametrize("drops", [("num", "twice"), ("twice", "num")])
def test_a_generated_column_is_dropped_with_its_base(world, engine, drops):
    world = world(engine)
    database = with_generated_column(world)
    there = phase(thing(), *drops)
    assert there.run(database).status == "migrated"
    assert there.run(database).status == "up_to_date"


# -- keys


@on_every_engine
def test_an_auto_increment_key_becomes_a_text(world, engine):
    """On the servers after it has become a plain number, which the refusal shows."""
    world = world(engine)
    database = make(
        world, thing(num=IntegerField()), "INSERT INTO things (num) VALUES (7), (8)"
    )
    after = thing(has_id=False, id=CharField(9, primary_key=True), num=IntegerField())
    there = phase(after)
    if engine != "sqlite":
        text = refused(there, database)
        assert "things.id has to be converted to VARCHAR(9), and " in text
        world.execute(text.partition("run first: ")[2])
    assert there.run(database).status == "migrated"
    assert there.run(database).status == "up_to_date"
    assert world.query("SELECT id, num FROM things ORDER BY id") == [
        ("1", 7),
        ("2", 8),
    ]


@on_every_engine
@pytest.mark.parametrize("rows", [0, 1])
def test_a_new_column_becomes_the_key(world, engine, rows):
    world = world(engine)
    inserts = ["INSERT INTO things (num) VALUES (7)"] * rows
    database = make(world, thing(num=IntegerField(null=True)), *inserts)
    code = CharField(9, primary_key=True, constraints=[SQL("DEFAULT 'x'")])
    there = phase(thing(has_id=False, code=code, num=IntegerField(null=True)))
    assert there.run(database, smoke_test=False).status == "migrated"
    assert there.run(database, smoke_test=False).status == "up_to_date"
    with database.connection_context():
        assert database.get_primary_keys("things") == ["code"]
    assert world.query("SELECT code, num FROM things") == [("x", 7)] * rows


@on_every_engine
def test_a_new_key_with_the_same_value_in_two_rows_is_refused(world, engine):
    world = world(engine)
    inserts = ["INSERT INTO things (num) VALUES (7)"] * 2
    database = make(world, thing(num=IntegerField()), *inserts)
    code = CharField(9, primary_key=True, constraints=[SQL("DEFAULT 'x'")])
    text = refused(phase(thing(False, code=code, num=IntegerField())), database)
    assert "2 rows" in text


# -- collations and options


@on_servers
@pytest.mark.parametrize("exists", [False, True])
def test_an_unknown_collation_is_named_with_its_field(world, engine, exists):
    world = world(engine)
    database = db.connect(world.url)
    if exists:
        database = make(world, thing(word=CharField(9)))
    there = phase(thing(word=CharField(9, collation="nowhere_ci")))
    for call in (there.check, there.run):
        with pytest.raises(UnsupportedModel) as error:
            call(database)
        assert "Thing.word: there is no collation 'nowhere_ci' on " in str(error.value)
        assert "; choose one of: S" in str(error.value)


@pytest.mark.parametrize(
    ("engine", "name"),
    [("postgresql", '"C"'), ("postgresql", '"POSIX"'), ("mysql", "utf8mb4_bin")],
)
def test_a_collation_that_exists_is_found(world, engine, name):
    world = world(engine)
    there = phase(thing(word=CharField(9, collation=name)))
    assert there.run(db.connect(world.url)).status == "migrated"


@on_servers
def test_wrong_table_settings_are_named(world, engine):
    world = world(engine)
    database = db.connect(world.url)
    text = refused(phase(thing(settings=["NOWHERE = 1"])), database)
    assert "correct Meta.table_settings 'NOWHERE = 1'" in text
    assert "create table things" in text
