"""Foreign keys: circular ones, SET DEFAULT, DEFERRABLE."""

import peewee
import pytest
from engines.shapes import model
from engines.shapes_by_database import LITE_AND_PG, SHAPES
from peewee import DeferredForeignKey, ForeignKeyField
from states import ENGINES

import db
from migrations.errors import ChangeRefused, UnsupportedModel
from migrations.phase import Phase


def circle(**options):
    town = model("towns", "Town", mayor=DeferredForeignKey("Mayor", **options))
    return [town, model("mayors", "Mayor", town=ForeignKeyField(town))]


def phase_of(models):
    return Phase("Keys", requires={}, manages=models)


@pytest.mark.parametrize("engine", ENGINES)
def test_circular_foreign_keys_are_created_and_dropped(target):
    phase = phase_of(circle(null=True))
    database = db.connect(target.url)
    assert phase.check(database).status == "pending"
    report = phase.run(database)
    assert report.status == "migrated"
    assert report.smoke_test["foreign_keys"] is True
    assert phase.check(database).differences == ()
    if target.engine == "sqlite":
        target.execute("PRAGMA foreign_keys = ON")
    target.execute(
        "INSERT INTO towns (id) VALUES (1)",
        "INSERT INTO mayors (id, town_id) VALUES (1, 1)",
        "UPDATE towns SET mayor_id = 1",
    )
    with pytest.raises(Exception, match="(?i)foreign key"):
        target.execute("UPDATE towns SET mayor_id = 2")
    with pytest.raises(ChangeRefused, match="holds 1 row"):
        phase.rollback(database)
    assert phase.rollback(database, force=True).status == "rolled_back"
    assert phase.rollback(database).changes == ()


@pytest.mark.parametrize("engine", ENGINES)
def test_circle_that_is_half_there_is_completed(target):
    models = circle(null=True)
    phase = phase_of(models)
    database = db.connect(target.url)
    with database.bind_ctx(models), database.connection_context():
        database.create_tables(models)  # without the key of the DeferredForeignKey
    report = phase.run(database)
    assert [each.object for each in report.repaired] == ["towns.mayor_id"]
    assert phase.check(database).differences == ()


@pytest.mark.parametrize("engine", ENGINES)
def test_circle_that_no_row_can_enter_is_not_tried(target):
    phase = phase_of(circle())
    report = phase.run(db.connect(target.url))
    assert report.smoke_test["insert"] is None


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_circle_without_a_deferred_foreign_key_is_refused_on_servers(target):
    leaf = model("leaves", "Leaf")
    one = model("ones", "One", leaf=ForeignKeyField(leaf))
    two = model("twos", "Two", one=ForeignKeyField(one), leaf=ForeignKeyField(leaf))
    one._meta.add_field("two", ForeignKeyField(two, null=True))
    child = model("children", "Child", two=ForeignKeyField(two))
    with pytest.raises(UnsupportedModel) as refused:
        phase_of([child, two, leaf, one]).check(db.connect(target.url))
    assert str(refused.value) == (
        "ones and twos have circular foreign keys; use a DeferredForeignKey for one of "
        "them"
    )


DEFERRED = "INITIALLY DEFERRED"


def parent_and_child(**options):
    parent = model("parents", "Parent")
    return [parent, model("children", "Child", up=ForeignKeyField(parent, **options))]


@pytest.mark.parametrize("engine", LITE_AND_PG)
def test_key_that_is_declared_deferrable_is_made_so(target):
    database = db.connect(target.url)
    phase_of(parent_and_child()).run(database, smoke_test=False)
    phase = phase_of(parent_and_child(deferrable=DEFERRED))
    report = phase.run(database, smoke_test=False)
    (repaired,) = report.repaired
    assert repaired.expected.endswith(f"DEFERRABLE {DEFERRED}")
    assert phase.check(database).differences == ()


@pytest.mark.parametrize("engine", LITE_AND_PG)
def test_key_that_is_checked_later_than_declared_is_a_note(target):
    database = db.connect(target.url)
    phase_of(parent_and_child(deferrable=DEFERRED)).run(database, smoke_test=False)
    report = phase_of(parent_and_child()).check(database)
    assert [each.severity for each in report.differences] == ["note"]
    assert report.differences[0].message.endswith("which is accepted")


@pytest.mark.parametrize("engine", ["sqlite"])
def test_key_that_could_be_deferred_is_checked_at_once_on_sqlite(target):
    """Nobody defers it there: SQLite has no SET CONSTRAINTS."""
    database = db.connect(target.url)
    phase_of(parent_and_child()).run(database, smoke_test=False)
    phase = phase_of(parent_and_child(deferrable="INITIALLY IMMEDIATE"))
    report = phase.check(database)
    assert (report.status, report.differences) == ("up_to_date", ())


@pytest.mark.parametrize("engine", LITE_AND_PG)
def test_set_default_is_tried_where_there_is_no_parent(target):
    options = {"on_delete": "SET DEFAULT", "null": True}
    report = phase_of(parent_and_child(**options)).run(db.connect(target.url))
    assert report.smoke_test["cascade"] is True
    options["constraints"] = [peewee.SQL("DEFAULT 5")]
    report = phase_of(parent_and_child(**options)).run(db.connect(target.url))
    assert report.smoke_test["cascade"] is None  # there is no parent 5


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"on_delete": "SET DEFAULT"},
            "^Child.up: SET DEFAULT is not supported on M[a-zA-Z]+; "
            "use SET NULL or CASCADE$",
        ),
        (
            {"deferrable": DEFERRED},
            "^Child.up: DEFERRABLE is not supported on M[a-zA-Z]+; "
            "leave out deferrable$",
        ),
    ],
)
@pytest.mark.parametrize("engine", ["mysql"])
def test_what_innodb_lacks_is_refused_with_the_remedy(target, options, says):
    with pytest.raises(UnsupportedModel, match=says):
        phase_of(parent_and_child(**options)).check(db.connect(target.url))


@pytest.mark.parametrize("engine", ENGINES)
def test_column_that_is_to_be_converted_is_not_checked_for_orphans(target):
    """PostgreSQL could not compare its values with those of the parent."""
    target.execute(
        "CREATE TABLE parents (id integer PRIMARY KEY)",
        "CREATE TABLE children (id integer PRIMARY KEY, up_id varchar(9) NOT NULL)",
    )
    report = phase_of(parent_and_child()).check(db.connect(target.url), thorough=True)
    assert report.status == "pending"
    assert report.orphan_checks_skipped == ()


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_without_a_parent_of_two_columns_are_refused(target):
    shape = next(each for each in SHAPES if each.name == "a foreign key of two columns")
    phase = phase_of(shape.models)
    target.execute(
        "CREATE TABLE parents (a integer, b integer, PRIMARY KEY (a, b))",
        "CREATE TABLE children (id integer PRIMARY KEY, x integer, y integer)",
        "INSERT INTO parents (a, b) VALUES (1, 2)",
        "INSERT INTO children VALUES (1, 1, 2), (2, 1, NULL), (3, 2, 1)",
    )
    with pytest.raises(ChangeRefused, match=r"children.x, y: .*1 row \(id 3\)"):
        phase.check(db.connect(target.url))
    target.execute("DELETE FROM children WHERE id = 3")
    phase.run(db.connect(target.url), smoke_test=False)
    report = phase.run(db.connect(target.url), thorough=True)
    assert (report.status, report.orphan_checks_skipped) == ("up_to_date", ())
