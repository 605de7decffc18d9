"""`Meta.schema` on PostgreSQL: the tables of a phase are those of that schema."""

import subprocess

import peewee
import pytest
from engines.shapes import model
from peewee import CharField, ForeignKeyField, IntegerField

import db
from db.fields import RenamedFrom
from migrations.errors import ChangeRefused, MissingTables, UnsupportedModel
from migrations.phase import Phase

SHOP = {"schema": "shop"}
THINGS = model(meta=SHOP, word=CharField(9, index=True))
MORE = model(
    meta=SHOP,
    word=CharField(9, unique=True),
    n=IntegerField(null=True, constraints=[peewee.Check("n > 0")]),
)


def phase_of(*models, requires=()):
    return Phase("Shop", requires=dict.fromkeys(requires, ()), manages=models)


@pytest.fixture
def target(world):
    made = world("postgresql")
    made.clear()
    made.execute("CREATE SCHEMA shop")
    return made


def test_table_of_that_name_in_another_schema_is_left_alone(target):
    target.execute("CREATE TABLE public.things (id INTEGER, other TEXT)")
    database = db.connect(target.url)
    report = phase_of(THINGS).run(database)
    assert report.status == "migrated"
    assert report.row_counts == {"things": 0}
    assert phase_of(THINGS).check(database).differences == ()
    assert phase_of(THINGS).rollback(database).status == "rolled_back"
    assert target.query("SELECT schemaname FROM pg_tables WHERE tablename = 'things'")
    assert target.query("SELECT count(*) FROM public.things") == [(0,)]


def test_table_with_rows_is_changed_in_its_schema(target):
    database = db.connect(target.url)
    phase_of(THINGS).ensure(database)
    target.execute("INSERT INTO shop.things (word) VALUES ('a'), ('a')")
    with pytest.raises(ChangeRefused, match="rows conflict with the change"):
        phase_of(MORE).run(database)
    target.execute("UPDATE shop.things SET word = id")
    report = phase_of(MORE).run(database)
    assert (report.status, set(report.smoke_test.values())) == (
        "migrated",
        {True, None},
    )
    assert report.row_counts == {"things": 2}
    with pytest.raises(ChangeRefused, match="things holds 2 rows"):
        phase_of(MORE).rollback(database)


@pytest.mark.parametrize("meta", [SHOP, {}], ids=["Meta.schema", "search path"])
def test_table_of_the_old_name_in_another_schema_is_left_alone(target, meta):
    target.execute("CREATE TABLE public.things (id serial PRIMARY KEY, word text)")
    renamed = model(
        "goods",
        meta={**meta, "constraints": [RenamedFrom("things")]},
        word=CharField(9, index=True),
    )
    database = db.connect(f"{target.url}?options=-csearch_path%3Dshop,public")
    if meta:
        created = phase_of(renamed).run(database)
        assert created.changes[0].description == "create table goods"
        assert phase_of(renamed).rollback(database).status == "rolled_back"
    shop = db.connect(f"{target.url}?options=-csearch_path%3Dshop")
    phase_of(model(meta=meta, word=CharField(9, index=True))).run(shop)
    target.execute("INSERT INTO shop.things (word) VALUES ('a')")
    assert phase_of(renamed).run(database).row_counts == {"goods": 1}
    assert phase_of(renamed).run(database).status == "up_to_date"
    assert target.query("SELECT count(*) FROM public.things") == [(0,)]


def test_search_path_of_the_caller_is_restored(target):
    database = db.connect(target.url)
    with database.connection_context():
        database.execute_sql("SET search_path = public, shop")
        assert phase_of(THINGS).ensure(database)
        shown = database.execute_sql("SHOW search_path").fetchone()
    assert shown == ("public, shop",)


def test_tables_of_two_schemas_can_refer_to_each_other(target):
    parent = model("parents", "Parent", code=CharField(9, unique=True))
    child = model("children", "Child", meta=SHOP, parent=ForeignKeyField(parent))
    database = db.connect(target.url)
    with pytest.raises(MissingTables, match="lacks the table parents"):
        phase_of(child, requires=[parent]).run(database)
    phase_of(parent).ensure(database)
    phase = phase_of(child, requires=[parent])
    assert set(phase.run(database).smoke_test.values()) <= {True, None}
    assert phase.check(database).differences == ()
    with pytest.raises(ChangeRefused, match="foreign key|constraint"):
        phase_of(parent).rollback(database)


def test_schema_that_does_not_exist_is_refused(target):
    lost = model(meta={"schema": "Lost"}, word=CharField(9))
    with pytest.raises(UnsupportedModel) as refusal:
        phase_of(lost).run(db.connect(target.url))
    assert str(refusal.value) == (
        "Thing: there is no schema 'Lost'; run first: CREATE SCHEMA \"Lost\""
    )


def test_managed_models_of_two_schemas_are_refused(target):
    other = model("others", "Other", word=CharField(9))
    with pytest.raises(UnsupportedModel, match="Other: Meta.schema is '', and that of"):
        phase_of(THINGS, other).check(db.connect(target.url))


def test_script_creates_the_tables_in_their_schema(target):
    report = phase_of(THINGS).check(db.connect(target.url))
    subprocess.run(
        ["psql", "-qX", target.url],
        input="\n".join(report.script),
        text=True,
        check=True,
        capture_output=True,
    )
    assert phase_of(THINGS).check(db.connect(target.url)).status == "up_to_date"


@pytest.mark.parametrize("engine", ["sqlite", "mysql"])
def test_other_databases_have_no_schemas(world, engine):
    target = world(engine)
    target.clear()
    with pytest.raises(
        UnsupportedModel, match="Thing: Meta.schema is not supported on"
    ):
        phase_of(THINGS).check(db.connect(target.url))
