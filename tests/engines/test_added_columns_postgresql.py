"""PostgreSQL: rows that conflict with a new or converted column."""

from typing import NamedTuple

import peewee
import pytest
from peewee import SQL

import db
from db.fields import DefaultUtcNow, UniqueConstraint
from migrations.errors import ChangeRefused
from migrations.phase import Phase

pytestmark = pytest.mark.drivers("postgresql")


@pytest.fixture
def two_rows(world):
    """A database with a table `item` of two rows."""
    made = world("postgresql")
    made.clear()
    made.execute(
        "CREATE TABLE item (id SERIAL PRIMARY KEY, number INTEGER NOT NULL)",
        "INSERT INTO item (number) VALUES (1), (2)",
    )
    return made


def default(sql):
    return {"constraints": [SQL(f"DEFAULT {sql}")]}


def model(name, meta=None, **fields):
    """A model whose table has its name in lower case."""
    options = type("Meta", (), {"table_name": name.lower(), **(meta or {})})
    return type(name, (peewee.Model,), {**fields, "Meta": options})


def phase_with(*constraints, **fields):
    """A phase of the table `item`, which has a column `number` and some more."""
    meta = {"constraints": list(constraints)}
    item = model("Item", meta, number=peewee.IntegerField(), **fields)
    return Phase("Items", requires={}, manages=[item])


def assert_refused(phase, world, *words):
    """`check` and a run are refused with these words, and nothing is changed."""
    before = world.dump()
    for call in (phase.check, phase.run):
        with pytest.raises(ChangeRefused) as refusal:
            call(db.connect(world.url))
        assert [word for word in words if word not in str(refusal.value)] == []
        assert "nothing was changed" in str(refusal.value)
        assert world.dump() == before


def assert_migrated(phase, world):
    database = db.connect(world.url)
    assert phase.check(database).status == "pending"
    assert phase.run(database).status == "migrated"
    assert phase.run(database).status == "up_to_date"


# -- UNIQUE

UNIQUE_FIELDS = {
    "integer": lambda: peewee.IntegerField(unique=True, **default("7")),
    "string": lambda: peewee.CharField(20, unique=True, **default("'x'")),
    "decimal": lambda: peewee.DecimalField(8, 2, unique=True, **default("1.5")),
    "date": lambda: peewee.DateField(unique=True, **default("'2025-01-06'")),
    "time": lambda: peewee.TimeField(unique=True, **default("'8:00'")),
    "boolean": lambda: peewee.BooleanField(unique=True, **default("TRUE")),
    "now": lambda: peewee.DateTimeField(unique=True, constraints=[DefaultUtcNow()]),
}


@pytest.mark.parametrize("name", UNIQUE_FIELDS)
def test_default_in_a_unique_column_is_refused_for_two_rows(two_rows, name):
    phase = phase_with(code=UNIQUE_FIELDS[name]())
    assert_refused(phase, two_rows, "item_code", "2 rows (id 1; id 2)")


@pytest.mark.parametrize("name", UNIQUE_FIELDS)
def test_default_in_a_unique_column_is_added_to_one_row(two_rows, name):
    two_rows.execute("DELETE FROM item WHERE number = 2")
    assert_migrated(phase_with(code=UNIQUE_FIELDS[name]()), two_rows)


def with_unique_pair():
    pair = UniqueConstraint("unique_item", "number", "code")
    return phase_with(pair, code=peewee.CharField(20, **default("'x'")))


def test_default_in_a_unique_pair_is_refused_for_equal_rows(two_rows):
    two_rows.execute("INSERT INTO item (number) VALUES (1)")
    assert_refused(with_unique_pair(), two_rows, "unique_item", "2 rows (id 1", "id 3")


def test_default_in_a_unique_pair_is_added_to_different_rows(two_rows):
    assert_migrated(with_unique_pair(), two_rows)


def test_unique_column_without_a_default_is_added_to_any_rows(two_rows):
    code = peewee.CharField(20, null=True, unique=True)
    assert_migrated(phase_with(code=code), two_rows)


# -- foreign keys


class Parent(NamedTuple):
    """A table `owner` with a row, and two values: of no row of it, and of that row."""

    statements: tuple
    id: peewee.Field
    orphan: str
    existing: str


PARENTS = {
    "integer": Parent(
        (
            "CREATE TABLE owner (id SERIAL PRIMARY KEY)",
            "INSERT INTO owner VALUES (7)",
        ),
        peewee.AutoField(),
        orphan="8",
        existing="7",
    ),
    "bigint in place of integer": Parent(
        (
            "CREATE TABLE owner (id BIGINT PRIMARY KEY)",
            "INSERT INTO owner VALUES (7)",
        ),
        peewee.IntegerField(primary_key=True),
        orphan="8",
        existing="7",
    ),
    "string": Parent(
        (
            "CREATE TABLE owner (id VARCHAR(20) PRIMARY KEY)",
            "INSERT INTO owner VALUES ('a')",
        ),
        peewee.CharField(20, primary_key=True),
        orphan="'A'",
        existing="'a'",
    ),
    "fixed string": Parent(
        (
            "CREATE TABLE owner (id CHAR(9) PRIMARY KEY)",
            "INSERT INTO owner VALUES ('a')",
        ),
        peewee.FixedCharField(9, primary_key=True),
        orphan="'b'",
        existing="'a   '",  # blanks at the end do not count
    ),
}


def phase_with_key(parent, **options):
    """A phase of `item`, whose column `owner_id` refers to the table of a parent."""
    owner = model("Owner", id=parent.id.clone())
    item = model(
        "Item",
        number=peewee.IntegerField(),
        owner=peewee.ForeignKeyField(owner, **options),
    )
    return Phase("Owners", requires={owner: ()}, manages=[item])


@pytest.fixture
def parent(two_rows, name):
    two_rows.execute(*PARENTS[name].statements)
    return PARENTS[name]


@pytest.mark.parametrize("name", PARENTS)
def test_default_without_a_parent_is_refused(two_rows, parent):
    phase = phase_with_key(parent, **default(parent.orphan))
    assert_refused(phase, two_rows, "item.owner_id", "2 rows (id 1; id 2)")


@pytest.mark.parametrize("name", PARENTS)
def test_default_with_a_parent_is_added(two_rows, parent):
    phase = phase_with_key(parent, **default(parent.existing))
    assert_migrated(phase, two_rows)
    joined = "SELECT count(*) FROM item JOIN owner ON owner_id = owner.id"
    assert two_rows.query(joined) == [(2,)]


@pytest.mark.parametrize("name", PARENTS)
def test_nullable_foreign_key_is_added_to_any_rows(two_rows, parent):
    assert_migrated(phase_with_key(parent, null=True), two_rows)


@pytest.mark.parametrize("rows", ["no rows", "two rows"])
def test_default_for_a_created_parent_is_refused_with_rows(two_rows, rows):
    """It has no rows yet, so there must be none that refer to it."""
    if rows == "no rows":
        two_rows.execute("TRUNCATE item")
    owner = model("Owner", id=peewee.AutoField())
    key = peewee.ForeignKeyField(owner, **default("7"))
    item = model("Item", number=peewee.IntegerField(), owner=key)
    phase = Phase("Both", requires={}, manages=[item, owner])
    if rows == "no rows":
        assert_migrated(phase, two_rows)
    else:
        assert_refused(phase, two_rows, "item.owner_id", "2 rows (id 1; id 2)")


@pytest.mark.parametrize("sql", ["1", "9"])
def test_default_may_refer_to_a_row_of_its_own_table(two_rows, sql):
    phase = phase_with(above=peewee.ForeignKeyField("self", null=True, **default(sql)))
    if sql == "1":
        assert_migrated(phase, two_rows)
    else:
        assert_refused(phase, two_rows, "item.above_id", "2 rows (id 1; id 2)")


# -- CHECK


@pytest.mark.parametrize(("sql", "refused"), [("0", True), ("3", False)])
def test_check_is_evaluated_on_the_default_of_a_new_column(two_rows, sql, refused):
    check = SQL("CONSTRAINT check_low CHECK (low > 0 AND low > number)")
    phase = phase_with(check, low=peewee.IntegerField(**default(sql)))
    if refused:
        assert_refused(phase, two_rows, "check_low", "2 rows (id 1; id 2)")
    else:
        assert_migrated(phase, two_rows)


# -- converted columns


@pytest.mark.parametrize("name", ["integer"])
def test_string_converted_to_an_integer_is_compared_as_integer(two_rows, parent):
    two_rows.execute(
        "ALTER TABLE item ADD COLUMN owner_id VARCHAR(20) NOT NULL DEFAULT '7'",
        "UPDATE item SET owner_id = '70' WHERE id = 2",
    )
    phase = phase_with_key(parent)
    assert_refused(phase, two_rows, "item.owner_id", "1 row (id 2)")
    two_rows.execute("INSERT INTO owner VALUES (70)")
    assert_migrated(phase, two_rows)


@pytest.mark.parametrize("name", ["string"])
def test_integer_converted_to_a_string_is_compared_as_string(two_rows, parent):
    two_rows.execute(
        "ALTER TABLE item ADD COLUMN owner_id INTEGER NOT NULL DEFAULT 5",
        "UPDATE item SET owner_id = 6 WHERE id = 2",
        "INSERT INTO owner VALUES ('5'), ('06')",
    )
    phase = phase_with_key(parent)
    assert_refused(phase, two_rows, "item.owner_id", "1 row (id 2)")
    two_rows.execute("INSERT INTO owner VALUES ('6')")
    assert_migrated(phase, two_rows)


def test_both_columns_of_a_foreign_key_are_converted_to_strings(two_rows):
    """They are compared as strings; their present types cannot be compared."""
    two_rows.execute(
        "CREATE TABLE place (code INTEGER PRIMARY KEY)",
        "INSERT INTO place VALUES (1)",
        "ALTER TABLE item ADD COLUMN place_id UUID",
        "UPDATE item SET place_id = '00000000-0000-0000-0000-000000000001'",
    )
    place = model("Place", code=peewee.CharField(40, primary_key=True))
    key = peewee.ForeignKeyField(place, null=True)
    item = model("Item", number=peewee.IntegerField(), place=key)
    phase = Phase("Places", requires={}, manages=[item, place])
    assert_refused(phase, two_rows, "item.place_id", "2 rows (id 1; id 2)")
    two_rows.execute("UPDATE item SET place_id = NULL")
    assert_migrated(phase, two_rows)


def test_values_equal_after_conversion_are_duplicates(two_rows):
    two_rows.execute(
        "ALTER TABLE item ADD COLUMN price VARCHAR(20)",
        "UPDATE item SET price = CASE id WHEN 1 THEN '1.5' ELSE '1.50' END",
    )
    phase = phase_with(price=peewee.DecimalField(8, 2, null=True, unique=True))
    assert_refused(phase, two_rows, "item_price", "2 rows (id 1", "id 2")
    two_rows.execute("UPDATE item SET price = '1.51' WHERE id = 2")
    assert_migrated(phase, two_rows)


def test_check_of_strings_converted_to_integers_compares_integers(two_rows):
    """As strings, '9' is more than '10'."""
    two_rows.execute(
        "ALTER TABLE item ADD COLUMN low VARCHAR(20), ADD COLUMN high VARCHAR(20)",
        "UPDATE item SET low = '9', high = '10'",
    )
    phase = phase_with(
        SQL("CONSTRAINT check_range CHECK (low <= high)"),
        low=peewee.IntegerField(null=True),
        high=peewee.IntegerField(null=True),
    )
    two_rows.execute("UPDATE item SET low = '11' WHERE id = 2")
    assert_refused(phase, two_rows, "check_range", "1 row (id 2)")
    two_rows.execute("UPDATE item SET low = '9' WHERE id = 2")
    assert_migrated(phase, two_rows)
