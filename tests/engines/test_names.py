"""Names of every kind, in every place where a name can stand."""

import peewee
import pytest
from engines.removals import removed_together
from engines.reports import dropped_tables
from engines.shapes import model
from oracle import definitions
from peewee import CharField, Check, ForeignKeyField, IntegerField
from states import ENGINES

import db
from db.fields import UniqueConstraint
from migrations.errors import ChangeRefused, UnsupportedModel
from migrations.phase import Phase

NAMES = [
    "lower", "UPPER", "MixedCase", "a b", 'say "it"', "it's", "`tick`", "100%", "%s",
    "%(x)s", "back\\slash", "a.b", "a:b", "?", "a,b", "(a)", "a(9)", "[a]", "{a}",
    "na\u00efve \u00c4\u00d6", "select", "node", "--a", "/*a*/", "a DESC", "$1",
]  # fmt: skip
# All kinds of characters in one name, and names that are something else as well.
EVERY_CHARACTER = "aZ \u00e4\"b\"'c'`d`%s%(x)s\\.:?,(9)[e]{f}--g/*h*/ DESC"
EVERYTHING = pytest.param([EVERY_CHARACTER, "node", "SELECT"], id="all characters")
ALONE = [pytest.param([each], marks=pytest.mark.exhaustive) for each in NAMES]


def quoted(name, world):
    """Return a name as SQL."""
    quote = "`" if world.engine == "mysql" else '"'
    return quote + name.replace(quote, 2 * quote) + quote


def models_of(name, number, world):
    """Return a parent and a child that have a name wherever they can."""
    parent = model(
        f"p{name}{number}",
        f"Parent{number}",
        key=peewee.AutoField(column_name=name),
        code=IntegerField(column_name=f"{name}!", unique=True),
    )
    condition = f"{quoted(name, world)} > 0"
    child = model(
        f"c{name}{number}",
        f"Child{number}",
        meta={
            "constraints": [
                UniqueConstraint(f"u{name}{number}", name, f"{name}?"),
                Check(condition, name=f"c{name}{number}"),
            ]
        },
        value=IntegerField(column_name=name),
        word=CharField(9, column_name=f"{name}?"),
        parent=ForeignKeyField(
            parent,
            column_name=f"{name}_",
            constraint_name=f"f{name}{number}",
            on_delete="CASCADE",
        ),
        code=ForeignKeyField(
            parent, field="code", column_name=f"{name}=", null=True, index=False
        ),
    )
    child.add_index(child.value, child.word, name=f"i{name}{number}")
    return [child, parent]


@pytest.mark.parametrize("names", [EVERYTHING, *ALONE])
@pytest.mark.parametrize("engine", ENGINES)
def test_name_of_any_kind_is_taken_everywhere(world, engine, names):
    target = world(engine)
    target.clear()
    models = [
        each
        for number, name in enumerate(names)
        for each in models_of(name, number, target)
    ]
    phase = Phase("Names", requires={}, manages=models)
    database = db.connect(target.url)

    created = phase.run(database)
    assert (created.status, created.differences) == ("migrated", ())
    assert set(created.smoke_test.values()) == {True}
    assert created.row_counts == {each._meta.table_name: 0 for each in models}
    assert up_to_date(phase, database)

    target.execute(*removed_together(target))
    assert phase.check(database).status == "pending"
    assert phase.run(database, smoke_test=False).status == "migrated"
    assert up_to_date(phase, database)

    # The same with rows: what they conflict with is refused.
    target.execute(*removed_together(target))
    for child, parent in zip(models[::2], models[1::2]):
        # Peewee does not escape percent signs in names.
        target.execute(
            f"INSERT INTO {table_of(parent, target)} VALUES (1, 1)",
            f"INSERT INTO {table_of(child, target)} VALUES (1, 1, 'a', 1, 1)",
            f"INSERT INTO {table_of(child, target)} VALUES (2, 1, 'a', 1, 1)",
        )
    before = definitions(target)
    with pytest.raises(ChangeRefused, match="rows conflict") as refusal:
        phase.run(database)
    for child in models[::2]:
        assert f"{child._meta.table_name}.u" in str(refusal.value)
    assert definitions(target) == before
    for child in models[::2]:
        column = quoted(child.value.column_name, target)
        target.execute(f"UPDATE {table_of(child, target)} SET {column} = id")
    assert set(phase.run(database).smoke_test.values()) == {True}
    assert up_to_date(phase, database)

    with pytest.raises(ChangeRefused, match="holds 2 rows"):
        phase.rollback(database)
    target.execute(f"CREATE VIEW v AS SELECT * FROM {table_of(models[0], target)}")
    with pytest.raises(ChangeRefused, match="the view v depends on"):
        phase.rollback(database, force=True)
    target.execute("DROP VIEW v")
    assert phase.rollback(database, force=True).status == "rolled_back"


def table_of(made, world):
    return quoted(made._meta.table_name, world)


def up_to_date(phase, database):
    report = phase.check(database, thorough=True)
    return (report.status, report.differences) == ("up_to_date", ())


@pytest.mark.parametrize(
    ("engine", "length"), [("postgresql", 63), ("mysql", 64), ("sqlite", 99)]
)
def test_name_is_as_long_as_the_database_allows(world, engine, length):
    target = world(engine)
    target.clear()
    database = db.connect(target.url)
    things = model("t" * length, **{"c" * length: CharField(9, unique=True)})
    things._meta.indexes.append(
        peewee.Index("i" * length, things._meta.table, [things._meta.sorted_fields[1]])
    )
    for field in things._meta.sorted_fields:
        field.index = field.unique = False
    phase = Phase("Long names", requires={}, manages=[things])
    assert phase.run(database).status == "migrated"
    assert up_to_date(phase, database)
    assert phase.rollback(database).status == "rolled_back"


@pytest.mark.parametrize(
    ("engine", "name", "says"),
    [
        ("postgresql", "n" * 64, "has 64 bytes, and PostgreSQL would cut it after 63"),
        ("postgresql", "\u00e4" * 32, "has 64 bytes, and PostgreSQL would cut it"),
        ("mysql", "n" * 65, "has 65 characters, and {} allows 64"),
    ],
)
def test_longer_name_is_refused(world, engine, name, says):
    target = world(engine)
    target.clear()
    if engine == "mysql":
        says = says.format("MariaDB" if target.is_mariadb else "MySQL")
    database = db.connect(target.url)
    for made in (model(name), model(column=IntegerField(column_name=name))):
        phase = Phase("Long names", requires={}, manages=[made])
        with pytest.raises(UnsupportedModel) as refusal:
            phase.check(database)
        assert f"Thing: the name {name!r} {says}" in str(refusal.value)


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_tables_that_differ_in_case_are_two(world, engine):
    target = world(engine)
    target.clear()
    database = db.connect(target.url)
    models = [
        model("Things", "Upper", a=IntegerField()),
        model("things", "Lower", b=IntegerField()),
    ]
    phase = Phase("Case", requires={}, manages=models)
    assert phase.run(database).status == "migrated"
    assert up_to_date(phase, database)
    assert dropped_tables(phase.rollback(database)) == ["things", "Things"]


def test_postgresql_compares_names_exactly(world):
    target = world("postgresql")
    target.clear()
    target.execute('CREATE TABLE things (id SERIAL PRIMARY KEY, "word" INTEGER)')
    database = db.connect(target.url)
    things = model(word=IntegerField(column_name="Word", null=True, index=True))
    phase = Phase("Case", requires={}, manages=[things])
    report = phase.run(database)
    assert [each.description for each in report.changes] == [
        "add column Word",
        "create index thing_Word",
    ]
    assert [each.object for each in report.differences] == ["things.word"]


@pytest.mark.parametrize("engine", ["sqlite", "mysql"])
def test_other_databases_ignore_the_case_of_columns_and_indexes(world, engine):
    target = world(engine)
    target.clear()
    database = db.connect(target.url)
    lower = model(word=CharField(9, index=True), number=IntegerField())
    assert Phase("Case", requires={}, manages=[lower]).ensure(database)
    upper = model(
        name="THING",
        Word=CharField(9, index=True),
        NUMBER=IntegerField(),
    )
    assert up_to_date(Phase("Case", requires={}, manages=[upper]), database)
