"""Columns and tables that had another name before: `RenamedFrom`."""

import peewee
import pytest
from oracle import created_by_peewee, differing_definitions
from peewee import SQL, BigIntegerField, CharField, ForeignKeyField, IntegerField
from states import ENGINES

import db
from db.fields import AutoIncrementField, RenamedFrom, UniqueConstraint
from migrations.errors import ChangeRefused
from migrations.phase import Phase

on_every_engine = pytest.mark.parametrize("engine", ENGINES)
pytestmark = pytest.mark.drivers


def model(name, table, *constraints, **fields):
    """Return a model of a table."""
    meta = type("Meta", (), {"table_name": table, "constraints": list(constraints)})
    return type(name, (peewee.Model,), {**fields, "Meta": meta})


def default(value):
    return SQL(f"DEFAULT {value}")


def shelves_before():
    """A parent whose key other tables refer to, and two children of it."""
    shelf = model("Shelf", "shelves", label=CharField(12, primary_key=True))
    thing = model(
        "Thing", "things",
        UniqueConstraint("unique_thing", "num", "kind"),
        SQL("CONSTRAINT check_num CHECK (num > 0)"),
        id=AutoIncrementField(),
        place=ForeignKeyField(shelf, column_name="place", on_delete="CASCADE"),
        num=IntegerField(constraints=[default(7)]),
        kind=CharField(20, null=True, index=True),
    )  # fmt: skip
    return [shelf, thing]


def shelves_after(num=None, kind=None, table="things"):
    """The same with other names; `num` and `kind` may be other fields, too."""
    shelf = model(
        "Shelf", "shelves",
        code=CharField(12, primary_key=True, constraints=[RenamedFrom("label")]),
    )  # fmt: skip
    old_table = [RenamedFrom("things")] if table != "things" else []
    number = num or IntegerField(constraints=[RenamedFrom("num"), default(7)])
    thing = model(
        "Thing", table,
        *old_table,
        UniqueConstraint("unique_thing", "number", "sort"),
        SQL("CONSTRAINT check_num CHECK (number > 0)"),
        id=AutoIncrementField(),
        shelf=ForeignKeyField(
            shelf, on_delete="CASCADE", constraints=[RenamedFrom("place")]
        ),
        number=number,
        sort=kind or CharField(
            20, null=True, index=True, constraints=[RenamedFrom("kind")]
        ),
    )  # fmt: skip
    return [shelf, thing]


ROWS = (
    "INSERT INTO shelves VALUES ('a')",
    "INSERT INTO things (place, num, kind) VALUES ('a', 1, 'x')",
    "INSERT INTO things (place, num, kind) VALUES ('a', 2, NULL)",
)


def make(world, models, *statements):
    """Create tables as Peewee does, then execute statements."""
    database = db.connect(world.url)
    with database.connection_context(), database.bind_ctx(models):
        database.create_tables(models)
    world.execute(*statements)
    return database


def migrate(database, models, force=False):
    """Run as a check says before; a second run has nothing to do."""
    phase = Phase("Renames", requires={}, manages=models)
    expected = phase.check(database)
    report = phase.run(database)
    assert [each.sql for each in report.changes] == [
        each.sql for each in expected.changes
    ]
    assert report.status == "migrated"
    again = phase.run(database)
    assert again.status == "up_to_date", again.changes
    assert phase.check(database).changes == ()
    return expected


def refused(database, models):
    """Return why a check and a run are refused."""
    phase = Phase("Renames", requires={}, manages=models)
    with pytest.raises(ChangeRefused) as error:
        phase.check(database)
    with pytest.raises(ChangeRefused) as of_run:
        phase.run(database)
    assert str(of_run.value) == str(error.value)
    return str(error.value)


def descriptions(report):
    return [each.description.partition(";")[0] for each in report.changes]


# -- renames alone


@on_every_engine
@pytest.mark.parametrize("table", ["things", "goods"])
@pytest.mark.parametrize("rows", [(), ROWS], ids=["empty", "rows"])
def test_tables_are_as_peewee_creates_them_under_the_new_names(
    world, engine, table, rows
):
    world = world(engine)
    after = shelves_after(table=table)
    oracle = created_by_peewee(world, after)
    world.clear()
    report = migrate(make(world, shelves_before(), *rows), after)
    expected = ["rename table things to goods"] if table == "goods" else []
    expected += [
        "rename column label to code",
        "rename column place to shelf_id",
        "rename column num to number",
        "rename column kind to sort",
    ]
    assert sorted(descriptions(report)) == sorted(expected)
    # The names of Peewee's indexes are made of old names.
    kept = [f"{name}.INDEX" for name in ("things", "goods")]
    kept += [f"{name}.KEY" for name in ("things", "goods")]
    kept += [f"{name}.things_" for name in ("things", "goods")]
    kept += ["goods.goods_"]
    tables = ["shelves", table]
    assert differing_definitions(world, oracle, tables, kept) == set()
    if rows:
        values = f"SELECT shelf_id, number, sort FROM {table} ORDER BY id"
        assert world.query(values) == [("a", 1, "x"), ("a", 2, None)]


@on_every_engine
def test_a_rename_is_a_difference_that_says_what_it_breaks(world, engine):
    database = make(world(engine), shelves_before())
    report = Phase("Renames", requires={}, manages=shelves_after()).check(database)
    messages = [each.message for each in report.differences]
    assert (
        "things.number: expected number, found its old name num; processes of the old "
        "release fail from then on" in messages
    )
    assert all("old release fail" in each.description for each in report.changes)


def partial_index(thing, column):
    """Add a partial index and one of an expression to a model."""
    field = thing._meta.columns[column]
    thing.add_index(field, name="ix_large", where=SQL(f"{column} > 1"))
    thing.add_index(SQL(f"CREATE INDEX ix_square ON things (({column} * {column}))"))


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
@pytest.mark.parametrize("change", ["none", "text"])
def test_partial_and_expression_indexes_follow(world, engine, change):
    before = shelves_before()
    after = shelves_after()
    partial_index(before[1], "num")
    partial_index(after[1], "number")
    if change == "text":  # SQLite rebuilds the table, and restores its indexes
        kind = CharField(30, null=True, index=True, constraints=[RenamedFrom("kind")])
        after = shelves_after(kind=kind)
        before[1]._meta.constraints.pop()
        partial_index(after[1], "number")
    database = make(world(engine), before, *ROWS)
    phase = Phase("Renames", requires={}, manages=after)
    done = [each.description for each in phase.run(database).changes]
    assert "create index ix_large" not in done
    assert "create index ix_square" not in done
    assert phase.run(database).status == "up_to_date"


@on_every_engine
def test_a_script_renames(world, engine):
    world = world(engine)
    database = make(world, shelves_before(), *ROWS)
    phase = Phase("Renames", requires={}, manages=shelves_after(table="goods"))
    script = phase.check(database).script
    world.execute(*[line for line in script if "RENAME" in line])
    assert phase.run(database).status == "up_to_date"


# -- renamed and changed in one run


CHANGES = {
    "wider": {"num": BigIntegerField(constraints=[RenamedFrom("num"), default(7)])},
    "text": {"num": CharField(9, constraints=[RenamedFrom("num"), default("'7'")])},
    "default": {"num": IntegerField(constraints=[RenamedFrom("num"), default(8)])},
    "nullable": {
        "num": IntegerField(null=True, constraints=[RenamedFrom("num"), default(7)])
    },
    "unique": {
        "kind": CharField(20, null=True, unique=True, constraints=[RenamedFrom("kind")])
    },
}


@on_every_engine
@pytest.mark.parametrize("table", ["things", "goods"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_renamed_column_is_changed_in_the_same_run(world, engine, change, table):
    world = world(engine)
    before = shelves_before()
    if change == "text":  # a CHECK that compares it with a number
        before[1]._meta.constraints.pop()
    database = make(world, before, *ROWS)
    after = shelves_after(**CHANGES[change], table=table)
    if change == "text":
        after[1]._meta.constraints.pop()
    migrate(database, after)
    values = f"SELECT shelf_id, number, sort FROM {table} ORDER BY id"
    assert [(a, int(b), c) for a, b, c in world.query(values)] == [
        ("a", 1, "x"),
        ("a", 2, None),
    ]


@on_every_engine
def test_rows_that_conflict_are_shown_under_the_new_name(world, engine):
    world = world(engine)
    database = make(world, shelves_before(), *ROWS)
    kind = CharField(20, constraints=[RenamedFrom("kind")])
    text = refused(database, shelves_after(kind=kind))
    assert "things.sort: expected NOT NULL, found NULL allowed: 1 row (id 2" in text
    # The query that it shows can be executed.
    query = text.partition("see: ")[2]
    assert len(world.query(query)) == 1
    assert world.query("SELECT count(kind) FROM things") == [(1,)]


@pytest.mark.mariadb_only
def test_clauses_of_another_column_follow_on_mariadb(world, engine):
    """MODIFY repeats them."""
    world = world(engine)
    before = model("Box", "boxes", num=IntegerField(), label=CharField(9))
    after = model(
        "Box", "boxes",
        number=IntegerField(constraints=[RenamedFrom("num")]),
        label=CharField(20),
    )  # fmt: skip
    check = "CHECK (`label` <> 'x' or `num` > 0)"
    statement = f"ALTER TABLE boxes MODIFY label varchar(9) NOT NULL {check}"
    database = make(world, [before], statement)
    assert Phase("Boxes", requires={}, manages=[after]).run(database).changes
    ((_, text),) = world.query("SHOW CREATE TABLE boxes")
    assert "`label` varchar(20) NOT NULL" in text
    assert "CHECK (`label` <> 'x' or `number` > 0)" in text


# -- refused


@on_every_engine
def test_both_columns_are_refused(world, engine):
    world = world(engine)
    before = shelves_before()
    before[1]._meta.add_field("number", IntegerField(null=True))
    text = refused(make(world, before), shelves_after())
    assert text == (
        "things.number: the column exists, and so does num, which it is renamed from; "
        "move the values (UPDATE things SET number = num WHERE number IS NULL), "
        "list things.num in drops, then run again"
    )


@on_every_engine
def test_table_with_both_columns_is_rolled_back(world, engine):
    world = world(engine)
    before = shelves_before()
    before[1]._meta.add_field("number", IntegerField(null=True))
    database = make(world, before)
    report = Phase("R", requires={}, manages=shelves_after()).rollback(database)
    assert report.status == "rolled_back"


@on_every_engine
def test_both_tables_are_refused(world, engine):
    world = world(engine)
    before = shelves_before()
    goods = model("Goods", "goods", id=AutoIncrementField(), number=IntegerField())
    text = refused(make(world, [*before, goods]), shelves_after(table="goods"))
    assert text == (
        "goods: the table exists, and so does things, which it is renamed from; "
        "move the rows, drop or rename the table that is not needed, then run again"
    )


VIEW = "CREATE VIEW busy AS SELECT num FROM things"


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
@pytest.mark.parametrize("table", ["things", "goods"])
def test_a_view_follows(world, engine, table):
    world = world(engine)
    database = make(world, shelves_before(), *ROWS, VIEW)
    migrate(database, shelves_after(table=table))
    assert world.query("SELECT * FROM busy ORDER BY 1") == [(1,), (2,)]


@pytest.mark.parametrize("table", ["things", "goods"])
def test_a_view_that_does_not_follow_is_refused(world, table, engine):
    world = world(engine)
    database = make(world, shelves_before(), VIEW)
    try:
        text = refused(database, shelves_after(table=table))
    finally:
        world.execute("DROP VIEW busy")
    assert text.endswith(
        "and the view busy names the old name; "
        "drop it, run again, then create it with the new name"
    )


def test_a_trigger_that_does_not_follow_is_refused_on_mariadb(world, engine):
    world = world(engine)
    database = make(
        world,
        shelves_before(),
        "CREATE TRIGGER cut BEFORE INSERT ON things FOR EACH ROW SET NEW.num = 1",
    )
    text = refused(database, shelves_after())
    assert "things.num has to become number, and the trigger cut names" in text


def test_a_function_that_does_not_follow_is_named_on_postgresql(world):
    world = world("postgresql")
    database = make(
        world,
        shelves_before(),
        "CREATE FUNCTION busy() RETURNS integer LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN (SELECT count(num) FROM things); END $$",
        "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.num := 1; RETURN NEW; END $$",
        "CREATE TRIGGER cut BEFORE INSERT ON things FOR EACH ROW "
        "EXECUTE FUNCTION cut()",
    )
    after = shelves_after()
    text = refused(database, after)
    assert "the trigger cut calls cut(), whose text names num; drop the trigger" in text
    world.execute("DROP TRIGGER cut ON things")
    report = migrate(database, after)
    described = [each.description for each in report.changes]
    assert any("busy(), whose text names num" in each for each in described)


# -- SQLite


def test_triggers_and_children_follow_on_sqlite(world):
    world = world("sqlite")
    database = make(
        world,
        shelves_before(),
        *ROWS,
        "CREATE TABLE child (place TEXT REFERENCES shelves (label))",
        "CREATE TABLE seen (num)",
        "CREATE TRIGGER look AFTER INSERT ON things WHEN new.num > 5 BEGIN "
        "INSERT INTO seen SELECT num FROM things WHERE place = new.place; END",
    )
    text = CharField(9, constraints=[RenamedFrom("num"), default("'7'")])
    migrate(database, shelves_after(num=text, table="goods"))
    world.execute("INSERT INTO goods (shelf_id, number, sort) VALUES ('a', '6', 'y')")
    assert world.query("SELECT count(*) FROM seen") == [(3,)]
    ((child,),) = world.query("SELECT sql FROM sqlite_master WHERE name = 'child'")
    assert 'REFERENCES shelves ("code")' in child


def test_a_broken_view_is_refused_before_a_rename_on_sqlite(world):
    world = world("sqlite")
    database = make(world, shelves_before(), "CREATE VIEW broken AS SELECT x FROM y")
    text = refused(database, shelves_after())
    assert "would fail" in text
    assert "broken" in text


def test_an_index_of_full_texts_refuses_a_rename(world):
    world = world("sqlite")
    database = make(
        world,
        shelves_before(),
        "CREATE VIRTUAL TABLE found USING fts5 (kind, content='things')",
    )
    text = refused(database, shelves_after())
    assert text.endswith(
        " has to be renamed, and the virtual table found reads its content "
        "by the old name; drop it, run again, then create it again"
    )


# -- names


@on_every_engine
def test_a_key_that_refers_to_its_own_table(world, engine):
    world = world(engine)
    before = model(
        "Box", "boxes",
        label=CharField(12, primary_key=True),
        within=ForeignKeyField("self", null=True, column_name="within"),
        kilos=IntegerField(),
    )  # fmt: skip
    after = model(
        "Box", "crates",
        RenamedFrom("boxes"),
        code=CharField(12, primary_key=True, constraints=[RenamedFrom("label")]),
        inside=ForeignKeyField("self", null=True, constraints=[RenamedFrom("within")]),
        weight=CharField(20, constraints=[RenamedFrom("kilos")]),
    )  # fmt: skip
    rows = [
        "INSERT INTO boxes VALUES ('a', NULL, 7)",
        "INSERT INTO boxes VALUES ('b', 'a', 8)",
    ]
    migrate(make(world, [before], *rows), [after])
    assert world.query("SELECT code, inside_id, weight FROM crates ORDER BY 1") == [
        ("a", None, "7"),
        ("b", "a", "8"),
    ]


@on_every_engine
def test_a_name_in_another_case(world, engine):
    world = world(engine)
    before = model("Box", "boxes", id=AutoIncrementField(), Kilos=IntegerField())
    after = model(
        "Box", "boxes",
        id=AutoIncrementField(),
        kilos=IntegerField(constraints=[RenamedFrom("Kilos")]),
    )  # fmt: skip
    database = make(world, [before])
    status = Phase("Renames", requires={}, manages=[after]).run(database).status
    expected = "migrated" if engine == "postgresql" else "up_to_date"
    assert status == expected


@on_every_engine
def test_create_missing_leaves_a_table_under_its_old_name(world, engine):
    world = world(engine)
    database = make(world, shelves_before())
    phase = Phase("Renames", requires={}, manages=shelves_after(table="goods"))
    assert phase.create_missing(database) == []


def test_a_statement_to_run_first_has_the_names_of_before(world):
    made = world("postgresql")
    before = [model("Thing", "things", word=CharField(9, null=True))]
    number = CharField(20, primary_key=True, constraints=[RenamedFrom("id")])
    word = CharField(9, null=True)
    renamed = [model("Thing", "goods", RenamedFrom("things"), number=number, word=word)]
    database = make(made, before, "INSERT INTO things (word) VALUES ('a')")
    made.execute(refused(database, renamed).partition("run first: ")[2])
    migrate(database, renamed)
    assert made.query("SELECT number, word FROM goods") == [("1", "a")]
