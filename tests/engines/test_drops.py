"""What a phase drops: `Phase(…, drops=["table.name"])`."""

import peewee
import pytest
from oracle import created_by_peewee, differing_definitions
from peewee import SQL, CharField, ForeignKeyField, IntegerField
from states import ENGINES

import db
from db.fields import AutoIncrementField, RenamedFrom, UniqueConstraint
from migrations.errors import ChangeRefused, UnsupportedModel
from migrations.phase import Phase

on_every_engine = pytest.mark.parametrize("engine", ENGINES)
pytestmark = pytest.mark.drivers


class Region(peewee.Model):
    code = CharField(10, primary_key=True)

    class Meta:
        table_name = "regions"


def supplier(*constraints, indexes=(), **fields):
    """Return a model with some fields in addition to two that it always has."""
    meta = type(
        "Meta", (), {"table_name": "suppliers", "constraints": list(constraints)}
    )
    known = {"id": AutoIncrementField(), "country": CharField(40, null=True)}
    model = type("Supplier", (peewee.Model,), {**known, **fields, "Meta": meta})
    for name, *names in indexes:
        columns = [model._meta.columns[each] for each in names]
        model.add_index(*columns, name=name)
    return model


def before():
    return supplier(
        UniqueConstraint("unique_notes", "notes", "country"),
        SQL("CONSTRAINT check_notes CHECK (notes <> 'x')"),
        SQL("CONSTRAINT check_items CHECK (items > 0)"),
        indexes=[("ix_notes", "notes"), ("ix_both", "country", "notes")],
        notes=CharField(40, null=True),
        items=IntegerField(constraints=[SQL("DEFAULT 1")]),
        region=ForeignKeyField(
            Region, null=True, index=False, constraint_name="fk_region"
        ),
    )


ROWS = (
    "INSERT INTO suppliers (country) VALUES ('Norway')",
    "INSERT INTO suppliers (country) VALUES ('Chile')",
)


def make(world, *statements, model=None):
    """Create the tables as Peewee does, then execute statements."""
    models = [Region, model or before()]
    database = db.connect(world.url)
    with database.connection_context(), database.bind_ctx(models):
        database.create_tables(models)
    world.execute(*statements)
    return database


def phase(*drops, model=None):
    return Phase(
        "Suppliers", requires={Region: ()}, manages=[model or supplier()], drops=drops
    )


def migrate(phase, database, force=False):
    """Run as a check says before; a second run has nothing to do."""
    expected = phase.check(database, force=force)
    report = phase.run(database, force=force)
    statements = [each.sql for each in report.changes]
    assert statements == [each.sql for each in expected.changes]
    assert report.status == "migrated"
    assert phase.run(database).status == "up_to_date"
    return report


def messages(report, severity):
    return [each.message for each in report.differences if each.severity == severity]


def columns(database):
    with database.connection_context():
        return [each.name for each in database.get_columns("suppliers")]


ALL = ("suppliers.notes", "suppliers.items", "suppliers.region_id")


@on_every_engine
@pytest.mark.parametrize("rows", [(), ROWS], ids=["empty", "rows"])
def test_columns_are_dropped_with_what_belongs_to_them(world, engine, rows):
    world = world(engine)
    oracle = created_by_peewee(world, [Region, supplier()])
    database = make(world, *rows)
    report = migrate(phase(*ALL), database, force=True)
    assert differing_definitions(world, oracle, ["suppliers"]) == set()
    described = " ".join(each.description for each in report.changes)
    for name in ("ix_notes", "ix_both", "unique_notes", "check_notes", "check_items"):
        assert name in described
    assert world.query("SELECT count(*) FROM suppliers") == [(len(rows),)]


@on_every_engine
def test_column_with_values_is_dropped_with_force_only(world, engine):
    database = make(world(engine), *ROWS)
    one = phase("suppliers.notes", "suppliers.items", model=supplier())
    report = one.run(database)
    # That of `items` is its DEFAULT, which is a value as well.
    warning = (
        "suppliers.items: 2 rows hold a value, so the column is not dropped; save what "
        "is needed, then drop it with --force (force=True)"
    )
    assert warning in messages(report, "warning")
    assert "items" in columns(database)
    assert "notes" not in columns(database)
    assert one.check(database).status == "up_to_date"
    assert one.check(database, force=True).status == "pending"
    assert one.run(database, force=True).status == "migrated"
    assert "items" not in columns(database)
    assert one.run(database).status == "up_to_date"


@on_every_engine
def test_indexes_and_constraints_are_dropped_by_name(world, engine):
    world = world(engine)
    fields = {
        "notes": CharField(40, null=True),
        "items": IntegerField(constraints=[SQL("DEFAULT 1")]),
        "region_id": CharField(10, null=True),
    }
    oracle = created_by_peewee(world, [Region, supplier(**fields)])
    database = make(world, *ROWS)
    names = (
        "ix_notes", "ix_both", "unique_notes", "check_notes", "check_items", "fk_region"
    )  # fmt: skip
    drops = phase(*(f"suppliers.{name}" for name in names), model=supplier(**fields))
    migrate(drops, database)
    assert differing_definitions(world, oracle, ["suppliers"]) == set()
    assert world.query("SELECT count(*) FROM suppliers") == [(2,)]


@on_every_engine
def test_column_that_something_depends_on_is_not_dropped(world, engine):
    world = world(engine)
    database = make(world, "CREATE VIEW busy AS SELECT notes FROM suppliers")
    try:
        with pytest.raises(ChangeRefused) as error:
            phase("suppliers.notes", model=supplier()).check(database)
    finally:
        world.execute("DROP VIEW busy")
    assert "busy" in str(error.value)
    assert "drop" in str(error.value)


@on_every_engine
def test_column_that_another_table_refers_to_is_not_dropped(world, engine):
    world = world(engine)
    parent = supplier(code=CharField(10, null=True, unique=True))
    database = make(
        world,
        "CREATE TABLE orders (code VARCHAR(10), "
        "FOREIGN KEY (code) REFERENCES suppliers (code))",
        model=parent,
    )
    with pytest.raises(ChangeRefused) as error:
        phase("suppliers.code").check(database)
    world.execute("DROP TABLE orders")
    assert "suppliers.code has to be dropped, and the" in str(error.value)
    assert "orders" in str(error.value)


@on_every_engine
def test_column_of_the_primary_key_is_not_dropped(world, engine):
    database = make(world(engine))
    other = type(
        "Supplier", (peewee.Model,),
        {
            "country": CharField(40, primary_key=True),
            "Meta": type("Meta", (), {"table_name": "suppliers"}),
        },
    )  # fmt: skip
    with pytest.raises(ChangeRefused) as refused:
        phase("suppliers.id", model=other).check(database)
    assert str(refused.value) == (
        "suppliers.id: it is in drops and in the primary key; "
        "take it out of drops until a run has changed the key, then run again"
    )


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_partial_and_expression_indexes_are_dropped_with_a_column(world, engine):
    model = before()
    model.add_index(
        model.country, name="ix_partial", where=SQL("items > 1 AND notes IS NOT NULL")
    )
    model.add_index(SQL("CREATE INDEX ix_lower ON suppliers (lower(notes))"))
    database = make(world(engine), *ROWS, model=model)
    report = migrate(phase(*ALL), database, force=True)
    described = " ".join(each.description for each in report.changes)
    assert "ix_partial" in described
    assert "ix_lower" in described


@on_every_engine
def test_what_does_not_exist_is_nothing_to_do(world, engine):
    database = make(world(engine), model=supplier())
    report = phase("suppliers.notes", "suppliers.ix_notes").run(database)
    assert report.status == "up_to_date"


@on_every_engine
def test_the_old_one_of_two_columns_is_dropped(world, engine):
    """After its values were moved by hand, which is the remedy if both exist."""
    world = world(engine)
    fields = {"notes": CharField(40, null=True), "remarks": CharField(40, null=True)}
    database = make(world, model=supplier(**fields))
    renamed = CharField(40, null=True, constraints=[RenamedFrom("notes")])
    migrate(phase("suppliers.notes", model=supplier(remarks=renamed)), database)
    assert sorted(columns(database)) == ["country", "id", "remarks"]


@on_every_engine
def test_column_is_dropped_from_a_renamed_table_that_changes(world, engine):
    world = world(engine)
    database = make(world, *ROWS)
    vendor = type(
        "Vendor", (peewee.Model,),
        {
            "id": AutoIncrementField(),
            "land": CharField(40, constraints=[RenamedFrom("country")]),
            "items": CharField(9, constraints=[SQL("DEFAULT '1'")]),
            "Meta": type(
                "Meta", (),
                {"table_name": "vendors", "constraints": [RenamedFrom("suppliers")]},
            ),
        },
    )  # fmt: skip
    drops = ["notes", "region_id", "check_items"]
    migrate(phase(*(f"vendors.{name}" for name in drops), model=vendor), database)
    assert world.query("SELECT land, items FROM vendors ORDER BY id") == [
        ("Norway", "1"),
        ("Chile", "1"),
    ]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("suppliers.country", "which suppliers declares"),
        ("suppliers.COUNTRY", "which suppliers declares"),
        (
            "supplier.notes",
            "which names no managed table; write 'table.name', with one of suppliers",
        ),
        (
            "notes",
            "which names no managed table; write 'table.name', with one of suppliers",
        ),
    ],
)
def test_entry_that_cannot_be_meant_is_an_error(entry, problem):
    with pytest.raises(UnsupportedModel) as refused:
        phase(entry).check(db.connect("sqlite:///:memory:"))
    assert str(refused.value) == f"drops has {entry!r}, {problem}"


NO_VALUE = "let region_id hold no value until it is dropped"
REBUILD = [
    "create the new table, drop column region_id with foreign key fk_region",
    "copy 2 rows",
    "keep the highest id ever used",
    "drop the old table",
    "rename the new table",
    "restore index ix_notes",
    "restore index ix_both",
]
STATEMENTS = {
    "sqlite": [
        *[("prepare the rebuild", None)] * 2,
        *((f"rebuild suppliers: {text}", "reads and writes") for text in REBUILD),
        *[("finish the rebuild", None)] * 2,
    ],
    "postgresql": [
        (NO_VALUE, None),
        ("validate the check suppliers_region_id__empty", None),
        ("drop column region_id with foreign key fk_region", None),
    ],
    "mysql": [
        (NO_VALUE, "writes"),
        ("drop column region_id with index fk_region, foreign key fk_region", None),
    ],
}


@pytest.mark.mariadb_only
@on_every_engine
def test_each_statement_of_a_drop_says_what_it_does(world, engine):
    database = make(world(engine), *ROWS)
    report = phase("suppliers.region_id", model=supplier()).check(database)
    described = [(each.description, each.blocks) for each in report.changes]
    assert described == STATEMENTS[engine]
