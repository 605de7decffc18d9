"""The value of existing rows: `Backfill("SQL expression")`."""

import sqlite3
from decimal import Decimal

import peewee
import pytest
from drivers import exhaustive
from oracle import created_by_peewee, differing_definitions
from peewee import (
    SQL,
    CharField,
    CompositeKey,
    DecimalField,
    ForeignKeyField,
    IntegerField,
)
from states import ENGINES

import db
from db.fields import AutoIncrementField, Backfill, FloatField, RenamedFrom
from migrations.engines import backfill
from migrations.errors import ChangeRefused, DatabaseUnavailable
from migrations.phase import Phase

on_every_engine = pytest.mark.parametrize("engine", ENGINES)
on_servers = pytest.mark.parametrize("engine", ["postgresql", "mysql"])
pytestmark = pytest.mark.drivers


class Region(peewee.Model):
    code = CharField(10, primary_key=True)

    class Meta:
        table_name = "regions"


def supplier(*constraints, **fields):
    """Return a model with some fields in addition to three that it always has."""
    meta = type(
        "Meta", (), {"table_name": "suppliers", "constraints": list(constraints)}
    )
    known = {
        "id": AutoIncrementField(),
        "name": CharField(40),
        "grade": IntegerField(null=True),
    }
    return type("Supplier", (peewee.Model,), {**known, **fields, "Meta": meta})


ROWS = (
    "INSERT INTO regions VALUES ('north')",
    "INSERT INTO suppliers (name, grade) VALUES ('a', 1), ('b', 2), ('c', NULL), "
    "('100 %', NULL), ('e', 5)",
)


def make(world, *statements, model=None):
    """Create the tables as Peewee does, then execute statements."""
    models = [Region, model or supplier()]
    database = db.connect(world.url)
    with database.connection_context(), database.bind_ctx(models):
        database.create_tables(models)
    world.execute(*statements)
    return database


def phase(model):
    return Phase("Suppliers", requires={Region: ()}, manages=[model])


def migrate(model, database):
    """Run as a check says before; a second run has nothing to do."""
    expected = phase(model).check(database)
    report = phase(model).run(database)
    statements = [each.sql for each in report.changes]
    assert statements == [each.sql for each in expected.changes]
    assert report.status == "migrated"
    again = phase(model).run(database)
    assert again.status == "up_to_date"
    assert [each.message for each in again.differences] == []
    return report


def values(world, column):
    query = f"SELECT {column} FROM suppliers ORDER BY id"
    return [value for (value,) in world.query(query)]


def code(value, *constraints, **options):
    return CharField(20, constraints=[*constraints, Backfill(value)], **options)


BOTH = "CASE WHEN grade IS NULL THEN 'none' ELSE name END"
FIELDS = {
    "not_null": (code("name"), ["a", "b", "c", "100 %", "e"]),
    "nullable": (code("'100 %'", null=True), ["100 %"] * 5),
    "default": (code("'old'", SQL("DEFAULT 'new'")), ["old"] * 5),
    "nullable_default": (code("'old'", SQL("DEFAULT 'new'"), null=True), ["old"] * 5),
    "check": (code("name", SQL("CHECK (code <> 'z')")), ["a", "b", "c", "100 %", "e"]),
    "nullable_check": (
        code("'x'", SQL("CHECK (code <> 'z')"), null=True),
        ["x"] * 5,
    ),
    "expression": (code(BOTH), ["a", "b", "none", "none", "e"]),
    "names_the_table": (
        code(
            "coalesce((SELECT max(r.code) FROM regions r "
            "WHERE length(r.code) > length(suppliers.name)), '-')"
        ),
        ["north", "north", "north", "-", "north"],
    ),
    "a_count": (code("(SELECT count(*) FROM regions)"), ["1"] * 5),
}


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(backfill, "_BATCH_SIZE", 2)


# -- columns that are added


@on_every_engine
@pytest.mark.parametrize("rows", [(), ROWS], ids=["empty", "rows"])
@pytest.mark.parametrize("kind", FIELDS)
def test_an_added_column_has_its_value_in_existing_rows(
    world, engine, kind, rows, small_batches
):
    world = world(engine)
    field, expected = FIELDS[kind]
    model = supplier(code=field)
    oracle = created_by_peewee(world, [Region, model])
    migrate(model, make(world, *rows))
    assert values(world, "code") == (expected if rows else [])
    assert differing_definitions(world, oracle, ["suppliers"]) == set()
    if "default" in kind:  # later rows get that
        world.execute("INSERT INTO suppliers (name) VALUES ('f')")
        assert values(world, "code")[-1] == "new"


@on_every_engine
def test_an_added_foreign_key_has_its_value_in_existing_rows(world, engine):
    world = world(engine)
    region = ForeignKeyField(Region, constraints=[Backfill("'north'")])
    migrate(supplier(region=region), make(world, *ROWS))
    assert values(world, "region_id") == ["north"] * 5


# -- columns that become NOT NULL


@on_every_engine
def test_nulls_are_filled_where_a_column_becomes_not_null(world, engine, small_batches):
    world = world(engine)
    model = supplier(grade=IntegerField(constraints=[Backfill("length(name)")]))
    migrate(model, make(world, *ROWS))
    assert values(world, "grade") == [1, 2, 1, 5, 5]


@on_every_engine
def test_nulls_are_filled_where_the_type_changes_as_well(world, engine):
    world = world(engine)
    model = supplier(grade=CharField(9, constraints=[Backfill("'none'")]))
    migrate(model, make(world, *ROWS))
    assert values(world, "grade") == ["1", "2", "none", "none", "5"]


@on_every_engine
def test_a_backfill_of_a_complete_column_is_nothing_to_do(world, engine):
    model = supplier(name=CharField(40, constraints=[Backfill("'x'")]))
    assert phase(model).run(make(world(engine))).status == "up_to_date"


# -- refused


REFUSED = {
    "null": (supplier(code=code("nullif(name, 'b')")), "1 row (id 2)"),
    "unknown": (supplier(code=code("nowhere.y")), "cannot be evaluated, nothing was"),
    "unique": (supplier(code=code("'x'", unique=True)), "5 rows"),
    "check": (
        supplier(SQL("CONSTRAINT ck CHECK (code <> 'b')"), code=code("name")),
        "1 row (id 2)",
    ),
    "orphan": (
        supplier(region=ForeignKeyField(Region, constraints=[Backfill("'south'")])),
        "5 rows",
    ),
    "null_left": (
        supplier(
            grade=IntegerField(
                constraints=[Backfill("CASE WHEN name = 'c' THEN 1 END")]
            )
        ),
        "1 row (id 4)",
    ),
    "unknown_function": (
        supplier(code=code("nowhere(name)")),
        "cannot be evaluated, nothing was",
    ),
    "of_another_kind": (
        supplier(age=IntegerField(constraints=[Backfill("'old'")])),
        "nothing was changed",
    ),
    "rounded": (
        supplier(age=IntegerField(constraints=[Backfill("2.5")])),
        "gives values that",
    ),
    "rounded_decimal": (
        supplier(price=DecimalField(5, 2, constraints=[Backfill("2.555")])),
        "price: Backfill('2.555') gives values that ",
    ),
    "rounded_text": (
        supplier(price=DecimalField(5, 2, constraints=[Backfill("'2.555'")])),
        "gives values that ",
    ),
    "rounded_rows": (
        supplier(price=DecimalField(5, 2, constraints=[Backfill("id / 8.0")])),
        "gives values that ",
    ),
    "rounded_where_it_is_null": (
        supplier(grade=DecimalField(5, 2, constraints=[Backfill("2.555")])),
        "gives values that ",
    ),
    "large_decimal": (
        supplier(price=DecimalField(5, 2, constraints=[Backfill("id * 1000")])),
        "nothing was changed",
    ),
    "no_decimal": (
        supplier(price=DecimalField(5, 2, constraints=[Backfill("name")])),
        "nothing was changed",
    ),
    "too_long": (
        supplier(code=CharField(3, constraints=[Backfill("'longer'")])),
        "gives values that",
    ),
}


@on_every_engine
def test_a_refused_not_null_says_what_to_add(world, engine):
    world = world(engine)
    database = make(world, *ROWS)
    advice = 'add to the constraints of {}: Backfill("SQL expression")'
    with pytest.raises(ChangeRefused) as error:
        phase(supplier(grade=IntegerField())).check(database)
    says = (
        f"2 rows (id 3; id 4); fill or delete them, or {advice.format('grade')}; see:"
    )
    assert says in str(error.value)
    with pytest.raises(ChangeRefused) as error:
        phase(supplier(age=IntegerField())).check(database)
    says = f"5 rows would have no value; declare a DEFAULT in the model, or {advice}"
    assert says.format("age") in str(error.value)


@on_every_engine
@pytest.mark.parametrize("column", ["grade", "age"])
def test_a_backfill_that_is_null_itself_is_named(world, engine, column):
    world = world(engine)
    database = make(world, *ROWS)
    field = IntegerField(constraints=[Backfill("nullif(id, 3)")])
    with pytest.raises(ChangeRefused) as error:
        phase(supplier(**{column: field})).check(database)
    says = "1 row (id 3); Backfill('nullif(id, 3)') is NULL there; correct it; see:"
    assert says in str(error.value)


# What a type of SQLite does not limit: the digits and characters of a value.
LIMITS = {
    "too_long", "large_decimal", "rounded_decimal", "rounded_text", "rounded_rows",
    "rounded_where_it_is_null",
}  # fmt: skip


@on_every_engine
@pytest.mark.parametrize(
    "value",
    ["0.1", "'0.1'", "rate", "round(rate, 2)", "CASE WHEN id > 1 THEN 0.10 END", "-1"],
)
def test_a_decimal_is_filled_with_what_it_holds(world, engine, value):
    world = world(engine)
    before = supplier(rate=FloatField(default=0.1))
    database = make(world, model=before)
    with database.bind_ctx([before]):
        before.create(name="a", grade=1, rate=0.1)
    price = DecimalField(5, 2, null=True, constraints=[Backfill(value)])
    after = supplier(rate=FloatField(), price=price)
    if engine == "postgresql" and value == "round(rate, 2)":
        value = "round(rate::numeric, 2)"
        price.constraints = [Backfill(value)]
    migrate(after, database)
    with database.bind_ctx([after]):
        expected = {"CASE WHEN id > 1 THEN 0.10 END": None, "-1": Decimal(-1)}
        assert after.get().price == expected.get(value, Decimal("0.1"))


@on_every_engine
@pytest.mark.parametrize("reason", REFUSED)
def test_a_value_that_is_not_possible_is_refused_before_the_first_statement(
    world, engine, reason
):
    if engine == "sqlite" and reason in LIMITS:
        pytest.skip("SQLite stores it as it is")
    world = world(engine)
    model, says = REFUSED[reason]
    database = make(world, *ROWS)
    for call in (phase(model).check, phase(model).run):
        with pytest.raises(ChangeRefused) as error:
            call(database)
        assert says in str(error.value)
    with database.connection_context():
        columns = [each.name for each in database.get_columns("suppliers")]
    assert columns == ["id", "name", "grade"]


def test_a_character_that_the_connection_lacks_is_reported(world, monkeypatch):
    database = make(world("postgresql"), *ROWS)
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    model = supplier(code=code("'€'"))
    for call in (phase(model).check, phase(model).run):
        with pytest.raises(DatabaseUnavailable, match="use one that has it"):
            call(database)


# -- names


MORE_NAMES = ['we"ird', "back\\slash", "bl ank", "Grösse", "quo'te", "tick`s", "order"]


@on_every_engine
@pytest.mark.parametrize("name", ["UPPER", "per%cent", *exhaustive(*MORE_NAMES)])
def test_any_name_is_renamed_filled_and_dropped(world, engine, name):
    """Peewee itself cannot create a table with a percent sign on the servers."""
    world = world(engine)

    def model(table, column, *constraints, dropped=None, **options):
        fields = {
            "id": AutoIncrementField(),
            "f": CharField(9, column_name=column, index=True, **options),
        }
        if dropped is not None:
            fields["g"] = CharField(10, null=True, column_name=dropped)
        meta = {"table_name": table, "constraints": list(constraints)}
        return type(
            "Thing", (peewee.Model,), {**fields, "Meta": type("Meta", (), meta)}
        )

    before = model("t_plain", "plain", dropped="g_plain", null=True)
    database = make(
        world, "INSERT INTO t_plain (plain) VALUES ('1'), (NULL)", model=before
    )
    constraints = [RenamedFrom("plain"), Backfill("'7 %s'")]
    table = f"t_{name}"
    named = model(table, name, RenamedFrom("t_plain"), constraints=constraints)
    drops = [f"{table}.g_plain"]
    there = Phase("Names", requires={}, manages=[named], drops=drops)
    assert there.run(database).status == "migrated"
    assert there.run(database).status == "up_to_date"
    constraints = [RenamedFrom(name)]
    plain = model("t_again", "plain", RenamedFrom(table), constraints=constraints)
    back = Phase("Names", requires={}, manages=[plain])
    assert back.run(database).status == "migrated"
    assert back.run(database).status == "up_to_date"
    assert world.query("SELECT plain FROM t_again ORDER BY id") == [("1",), ("7 %s",)]


# -- batches


@on_servers
@pytest.mark.parametrize("null", [False, True])
def test_an_interrupted_backfill_is_continued(
    world, engine, null, monkeypatch, small_batches
):
    world = world(engine)
    database = make(world, *ROWS)
    model = supplier(code=code("name", null=null))
    fill_batch = backfill._fill_batch
    filled = []

    def interrupted(session, batches, after, last):
        if len(filled) == 2:
            raise KeyboardInterrupt
        filled.append(fill_batch(session, batches, after, last))
        return filled[-1]

    with monkeypatch.context() as patch:
        patch.setattr(backfill, "_fill_batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            phase(model).run(database)
    assert filled == [2, 2]
    expected = phase(model).check(database)
    assert not any("ADD COLUMN" in each.sql for each in expected.changes)
    assert phase(model).run(database).status == "migrated"
    assert values(world, "code") == ["a", "b", "c", "100 %", "e"]
    assert phase(model).run(database).differences == ()


@on_servers
def test_an_interrupted_backfill_of_another_type_begins_again(world, engine):
    world = world(engine)
    database = make(world, *ROWS)
    world.execute("ALTER TABLE suppliers ADD COLUMN code__fill DATE")
    migrate(supplier(code=code("name", null=True)), database)
    assert values(world, "code") == ["a", "b", "c", "100 %", "e"]


@on_servers
def test_rows_that_others_write_meanwhile_are_filled(world, engine, monkeypatch):
    world = world(engine)
    database = make(world, *ROWS)
    fill = backfill.fill_in_batches

    def fill_while_others_write(session, batches):
        fill(session, batches)
        world.execute("INSERT INTO suppliers (name) VALUES ('late')")

    monkeypatch.setattr(backfill, "fill_in_batches", fill_while_others_write)
    model = supplier(code=code("name"))
    assert phase(model).run(database).status == "migrated"
    assert values(world, "code") == ["a", "b", "c", "100 %", "e", "late"]


@on_servers
def test_a_key_of_two_columns_is_read_in_batches(world, engine, small_batches):
    world = world(engine)

    def place(**fields):
        known = {"a": IntegerField(), "b": CharField(9)}
        meta = {"table_name": "places", "primary_key": CompositeKey("a", "b")}
        meta = type("Meta", (), meta)
        return type("Place", (peewee.Model,), {**known, **fields, "Meta": meta})

    rows = ", ".join(f"({a}, '{b}')" for a in (1, 2, 3) for b in "xyz")
    database = make(world, f"INSERT INTO places VALUES {rows}", model=place())
    model = place(code=code("b"))
    Phase("Places", requires={}, manages=[model]).run(database)
    assert world.query("SELECT a, b FROM places WHERE code <> b") == []


@on_servers
def test_a_table_without_a_key_is_filled_in_one_statement(world, engine):
    world = world(engine)
    database = make(world, *ROWS)
    types = "BIGINT PRIMARY KEY" if engine == "postgresql" else "INT PRIMARY KEY"
    keyed = supplier(id=IntegerField(primary_key=True), code=code("name"))
    world.execute("DROP TABLE suppliers")
    world.execute(
        f"CREATE TABLE suppliers (id {types.split()[0]} NOT NULL, "
        "name VARCHAR(40) NOT NULL, grade INTEGER)",
        "INSERT INTO suppliers VALUES (1, 'a', 1), (2, 'b', NULL)",
    )
    report = phase(keyed).run(database)
    (fill,) = [each for each in report.changes if each.description == "fill code"]
    assert fill.blocks == "writes"
    assert values(world, "code") == ["a", "b"]


# -- transactions and scripts


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
@pytest.mark.parametrize("null", [False, True])
def test_a_backfill_is_a_part_of_the_callers_transaction(world, engine, null):
    if engine == "sqlite" and not null and sqlite3.sqlite_version_info < (3, 34):
        pytest.skip("NOT NULL needs a rebuild there")
    world = world(engine)
    database = make(world, *ROWS)
    model = supplier(code=code("name", null=null))
    with database.connection_context():
        with database.atomic() as transaction:
            assert phase(model).ensure(database)
            transaction.rollback()
        assert [each.name for each in database.get_columns("suppliers")][-1] == "grade"
        with database.atomic():
            assert phase(model).ensure(database)
    assert values(world, "code") == ["a", "b", "c", "100 %", "e"]
    assert phase(model).run(database).status == "up_to_date"


@on_every_engine
@pytest.mark.parametrize("kind", ["not_null", "nullable_default"])
def test_a_script_fills(world, engine, kind):
    world = world(engine)
    database = make(world, *ROWS)
    field, expected = FIELDS[kind]
    model = supplier(code=field)
    script = phase(model).check(database).script
    world.execute(*(line for line in script if line[0] not in "\\-"))
    assert values(world, "code") == expected
    assert phase(model).run(database).status == "up_to_date"
