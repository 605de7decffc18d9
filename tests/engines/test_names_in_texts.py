"""Views, triggers and routines whose text names what is renamed or dropped."""

import peewee
import pytest
from drivers import exhaustive
from peewee import IntegerField

import db
from db.fields import AutoIncrementField, RenamedFrom
from migrations.errors import ChangeRefused
from migrations.phase import Phase

SERVERS = ["postgresql", "mysql"]
OTHERS = ["Num", "bl ank", "per%cent", "Grösse", "quo'te", "a.b", "(x)", "order"]
NAMES = ["num", 'we"ird', "tick`s", "%lead", "back\\slash", *exhaustive(*OTHERS)]
pytestmark = pytest.mark.drivers


def thing(table="things", constraints=(), **fields):
    meta = {"table_name": table, "constraints": list(constraints)}
    members = {"id": AutoIncrementField(), **fields, "Meta": type("Meta", (), meta)}
    return type("Thing", (peewee.Model,), members)


def phase(model, drops=()):
    return Phase("Things", requires={}, manages=[model], drops=drops)


def quoted(world, name):
    quote = "`" if world.engine == "mysql" else '"'
    return quote + name.replace(quote, 2 * quote) + quote


@pytest.fixture
def make(world):
    """Return a function that makes a table, and objects whose texts name it."""
    made = []

    def create(engine, column="num", table="things"):
        there = world(engine)
        made.append(there)
        name, of = quoted(there, column), quoted(there, table)
        database = db.connect(there.url)
        plain = thing(num=IntegerField(null=True))
        with database.connection_context(), database.bind_ctx([plain]):
            database.create_tables([plain])
        if column != "num":
            there.execute(f"ALTER TABLE things RENAME COLUMN num TO {name}")
        if table != "things":
            there.execute(f"ALTER TABLE things RENAME TO {of}")
        return there, database, name, of

    yield create
    for there in made:
        drop_objects(there)


def drop_objects(world):
    if world.engine == "mysql":
        world.execute("DROP VIEW IF EXISTS busy", "DROP TRIGGER IF EXISTS cut")
        world.execute(
            "DROP FUNCTION IF EXISTS total", "DROP PROCEDURE IF EXISTS delete_all"
        )


def create_trigger(world, name, of):
    if world.engine == "mysql":
        body = f"FOR EACH ROW SET NEW.{name} = 1"
        world.execute(f"CREATE TRIGGER cut BEFORE INSERT ON {of} {body}")
        return
    world.execute(
        "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN NEW.{name} := 1; RETURN NEW; END $$",
        f"CREATE TRIGGER cut BEFORE INSERT ON {of} FOR EACH ROW EXECUTE FUNCTION cut()",
    )


def drop_trigger(world, of):
    if world.engine == "mysql":
        world.execute("DROP TRIGGER cut")
    else:
        world.execute(f"DROP TRIGGER cut ON {of}", "DROP FUNCTION cut")


def create_routines(world, name, of):
    """Create one that names the column, and one that names something like it."""
    query = f"SELECT max({name}) FROM {of}"
    if world.engine == "mysql":
        world.execute(
            f"CREATE FUNCTION total() RETURNS INT READS SQL DATA RETURN ({query})",
            f"CREATE PROCEDURE delete_all() DELETE FROM {of}",
        )
        return "function total"
    world.execute(
        "CREATE FUNCTION total() RETURNS integer LANGUAGE plpgsql AS "
        f"$$ BEGIN RETURN ({query}); END $$",
        "CREATE PROCEDURE delete_all() LANGUAGE plpgsql AS "
        f"$$ BEGIN DELETE FROM {of}; END $$",
    )
    return "total()"


def refused(phase, database):
    with pytest.raises(ChangeRefused) as error:
        phase.check(database)
    return str(error.value)


def descriptions(phase, database):
    planned = [each.description for each in phase.check(database).changes]
    assert phase.run(database).status == "migrated"
    return " ".join(planned)


@pytest.mark.parametrize("engine", SERVERS)
@pytest.mark.parametrize("name", NAMES)
def test_what_names_a_renamed_column_is_found(make, engine, name):
    world, database, column, of = make(engine, name)
    renamed = IntegerField(null=True, constraints=[RenamedFrom(name)])
    there = phase(thing(new_name=renamed))
    create_trigger(world, column, of)
    assert "the trigger cut" in refused(there, database)
    drop_trigger(world, of)
    if engine == "mysql":
        world.execute(f"CREATE VIEW busy AS SELECT {column} FROM {of}")
        assert "the view busy" in refused(there, database)
        world.execute("DROP VIEW busy")
    routine = create_routines(world, column, of)
    text = descriptions(there, database)
    assert f"and so does {routine}, whose text names {name}" in text
    assert "delete_all" not in text


@pytest.mark.parametrize("engine", SERVERS)
@pytest.mark.parametrize("name", NAMES)
def test_what_names_a_dropped_column_is_found(make, engine, name):
    world, database, column, of = make(engine, name)
    there = phase(thing(), drops=[f"things.{name}"])
    create_trigger(world, column, of)
    assert "the trigger cut" in refused(there, database)
    drop_trigger(world, of)
    world.execute(f"CREATE VIEW busy AS SELECT {column} FROM {of}")
    assert "the view busy" in refused(there, database)
    world.execute("DROP VIEW busy")
    routine = create_routines(world, column, of)
    text = descriptions(there, database)
    assert f"; {routine}, whose text names {name}, fails from then on" in text
    assert "delete_all" not in text


@pytest.mark.parametrize("engine", SERVERS)
@pytest.mark.parametrize("name", NAMES)
def test_what_names_a_renamed_table_is_found(make, engine, name):
    world, database, column, of = make(engine, table=name)
    fields = {"num": IntegerField(null=True)}
    there = phase(thing("new_name", constraints=[RenamedFrom(name)], **fields))
    if engine == "mysql":
        world.execute(f"CREATE VIEW busy AS SELECT {column} FROM {of}")
        assert "the view busy" in refused(there, database)
        world.execute("DROP VIEW busy")
    routine = create_routines(world, column, of)
    text = descriptions(there, database)
    assert routine in text
    assert "delete_all" in text
    assert f"whose text names {name}" in text


@pytest.mark.parametrize("engine", SERVERS)
def test_a_longer_name_is_another_one(make, engine):
    world, database, column, of = make(engine)
    world.execute("ALTER TABLE things ADD COLUMN num$ber INTEGER")
    world.execute("ALTER TABLE things ADD COLUMN _num INTEGER")
    name = quoted(world, "num$ber")
    create_trigger(world, name, of)
    create_routines(world, "_num", of)
    there = phase(thing(), drops=["things.num"])
    assert "whose text" not in descriptions(there, database)
