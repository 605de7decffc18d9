"""MariaDB: rows that conflict with a new or converted column."""

from typing import NamedTuple

import peewee
import pytest
from peewee import SQL

import db
from db.fields import DefaultUtcNow, UniqueConstraint
from migrations.errors import ChangeRefused
from migrations.phase import Phase

pytestmark = pytest.mark.drivers("mysql")


@pytest.fixture
def empty(world, engine):
    """A database without any table."""
    made = world(engine)
    made.clear()
    return made


def default(sql):
    return {"constraints": [SQL(f"DEFAULT {sql}")]}


def phase_with(*constraints, **fields):
    """A phase of one table `item` with some fields."""
    meta = type("Meta", (), {"table_name": "item", "constraints": list(constraints)})
    return Phase(
        "Items",
        requires={},
        manages=[type("Item", (peewee.Model,), {**fields, "Meta": meta})],
    )


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
    "boolean": lambda: peewee.BooleanField(unique=True, **default("TRUE")),
    "now": lambda: peewee.DateTimeField(unique=True, constraints=[DefaultUtcNow()]),
}


@pytest.fixture
def two_rows(empty):
    empty.execute(
        "CREATE TABLE item (id INT AUTO_INCREMENT PRIMARY KEY, number INT NOT NULL)",
        "INSERT INTO item (number) VALUES (1), (2)",
    )
    return empty


@pytest.mark.parametrize("name", UNIQUE_FIELDS)
def test_default_in_a_unique_column_is_refused_for_two_rows(two_rows, name):
    phase = phase_with(number=peewee.IntegerField(), code=UNIQUE_FIELDS[name]())
    assert_refused(phase, two_rows, "item_code", "2 rows (id 1", "id 2")


@pytest.mark.parametrize("name", UNIQUE_FIELDS)
def test_default_in_a_unique_column_is_added_to_one_row(two_rows, name):
    two_rows.execute("DELETE FROM item WHERE number = 2")
    phase = phase_with(number=peewee.IntegerField(), code=UNIQUE_FIELDS[name]())
    assert_migrated(phase, two_rows)


def test_default_in_a_unique_pair_is_refused_for_equal_rows(two_rows):
    two_rows.execute("INSERT INTO item (number) VALUES (1)")
    phase = phase_with(
        UniqueConstraint("unique_item", "number", "code"),
        number=peewee.IntegerField(),
        code=peewee.CharField(20, **default("'x'")),
    )
    assert_refused(phase, two_rows, "unique_item", "2 rows (id 1", "id 3")


def test_default_in_a_unique_pair_is_added_to_different_rows(two_rows):
    phase = phase_with(
        UniqueConstraint("unique_item", "number", "code"),
        number=peewee.IntegerField(),
        code=peewee.CharField(20, **default("'x'")),
    )
    assert_migrated(phase, two_rows)


def test_unique_column_without_a_default_is_added_to_any_rows(two_rows):
    code = peewee.CharField(20, null=True, unique=True)
    assert_migrated(phase_with(number=peewee.IntegerField(), code=code), two_rows)


# -- CHECK


def test_backslash_in_a_default_is_escaped_for_the_preflight(two_rows):
    """MariaDB reads a backslash in a literal as an escape."""
    fields = {
        "number": peewee.IntegerField(),
        "code": peewee.CharField(20, **default(r"'a\b'")),
    }
    three = SQL("CONSTRAINT check_code CHECK (CHAR_LENGTH(code) <> 3)")
    assert_refused(phase_with(three, **fields), two_rows, "check_code", "2 rows")
    two = SQL("CONSTRAINT check_code CHECK (CHAR_LENGTH(code) <> 2)")
    assert_migrated(phase_with(two, **fields), two_rows)


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
            "CREATE TABLE owner (id INT AUTO_INCREMENT PRIMARY KEY)",
            "INSERT INTO owner VALUES (7)",
        ),
        peewee.AutoField(),
        orphan="8",
        existing="7",
    ),
    "unsigned integer": Parent(
        (
            "CREATE TABLE owner (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY)",
            "INSERT INTO owner VALUES (7)",
        ),
        peewee.AutoField(),
        orphan="8",
        existing="7",
    ),
    "string": Parent(
        (
            "CREATE TABLE owner (id VARCHAR(20) PRIMARY KEY)",
            "INSERT INTO owner VALUES ('a')",
        ),
        peewee.CharField(20, primary_key=True),
        orphan="'b'",
        existing="'A'",  # which is equal in the usual collation
    ),
    "string of a binary collation": Parent(
        (
            "CREATE TABLE owner (id VARCHAR(20) COLLATE latin1_bin PRIMARY KEY)",
            "INSERT INTO owner VALUES ('a')",
        ),
        peewee.CharField(20, primary_key=True),
        orphan="'A'",
        existing="'a'",
    ),
}


def phase_with_key(parent, **options):
    """A phase of `item`, whose column `owner_id` refers to the table of a parent."""
    owner = type(
        "Owner",
        (peewee.Model,),
        {
            "id": parent.id.clone(),
            "Meta": type("Meta", (), {"table_name": "owner"}),
        },
    )
    item = type(
        "Item",
        (peewee.Model,),
        {
            "number": peewee.IntegerField(),
            "owner": peewee.ForeignKeyField(owner, **options),
            "Meta": type("Meta", (), {"table_name": "item"}),
        },
    )
    return Phase("Owners", requires={owner: ()}, manages=[item])


@pytest.fixture
def parent_of_rows(two_rows, name):
    two_rows.execute(*PARENTS[name].statements)
    return PARENTS[name]


@pytest.mark.parametrize("name", PARENTS)
def test_default_without_a_parent_is_refused(two_rows, parent_of_rows):
    phase = phase_with_key(parent_of_rows, **default(parent_of_rows.orphan))
    assert_refused(phase, two_rows, "item.owner_id", "2 rows (id 1; id 2)")


@pytest.mark.parametrize("name", PARENTS)
def test_default_with_a_parent_is_added(two_rows, parent_of_rows):
    phase = phase_with_key(parent_of_rows, **default(parent_of_rows.existing))
    assert_migrated(phase, two_rows)
    assert two_rows.query(
        "SELECT count(*) FROM item JOIN owner ON owner_id = owner.id"
    ) == [(2,)]


@pytest.mark.parametrize("name", PARENTS)
def test_nullable_foreign_key_is_added_to_any_rows(two_rows, parent_of_rows):
    assert_migrated(phase_with_key(parent_of_rows, null=True), two_rows)


@pytest.mark.parametrize("sql", ["1", "9"])
def test_default_may_refer_to_a_row_of_its_own_table(two_rows, sql):
    above = peewee.ForeignKeyField("self", null=True, **default(sql))
    phase = phase_with(number=peewee.IntegerField(), above=above)
    if sql == "9":
        assert_refused(phase, two_rows, "item.above_id", "2 rows (id 1; id 2)")
    else:
        assert_migrated(phase, two_rows)


# -- converted columns


@pytest.mark.parametrize("name", ["string", "string of a binary collation"])
def test_integer_converted_to_a_string_is_compared_as_string(two_rows, parent_of_rows):
    two_rows.execute(
        "ALTER TABLE item ADD COLUMN owner_id INT NOT NULL DEFAULT 5",
        "UPDATE item SET owner_id = 6 WHERE id = 2",
        "INSERT INTO owner VALUES ('5'), ('06')",
    )
    phase = phase_with_key(parent_of_rows)
    assert_refused(phase, two_rows, "item.owner_id", "1 row (id 2)")
    two_rows.execute("INSERT INTO owner VALUES ('6')")
    assert_migrated(phase, two_rows)


def test_string_converted_to_an_integer_is_compared_as_integer(two_rows):
    parent = PARENTS["integer"]
    two_rows.execute(
        *parent.statements,
        "ALTER TABLE item ADD COLUMN owner_id VARCHAR(20) NOT NULL DEFAULT '7'",
        "UPDATE item SET owner_id = '70' WHERE id = 2",
    )
    assert_refused(phase_with_key(parent), two_rows, "item.owner_id", "1 row (id 2)")
    two_rows.execute("INSERT INTO owner VALUES (70)")
    assert_migrated(phase_with_key(parent), two_rows)


class Place(peewee.Model):
    code = peewee.CharField(20, primary_key=True)


class Stay(peewee.Model):
    place = peewee.ForeignKeyField(Place)


def test_both_columns_of_a_foreign_key_are_converted_to_strings(empty):
    """Values of two collations cannot be compared unless one of them is named."""
    empty.execute(
        "CREATE TABLE place (code INT PRIMARY KEY)",
        "INSERT INTO place VALUES (1)",
        "CREATE TABLE stay (id INT AUTO_INCREMENT PRIMARY KEY, "
        "place_id VARCHAR(20) COLLATE utf8mb4_unicode_ci NOT NULL)",
        "INSERT INTO stay (place_id) VALUES ('1'), ('2')",
    )
    phase = Phase("Stays", requires={}, manages=[Stay, Place])
    assert_refused(phase, empty, "stay.place_id", "1 row (id 2)")
    empty.execute("INSERT INTO place VALUES (2)")
    assert_migrated(phase, empty)


def test_values_equal_after_conversion_are_duplicates(two_rows):
    two_rows.execute(
        "ALTER TABLE item ADD COLUMN price VARCHAR(20)",
        "UPDATE item SET price = IF(id = 1, '1.5', '1.50')",
    )
    price = peewee.DecimalField(8, 2, null=True, unique=True)
    phase = phase_with(number=peewee.IntegerField(), price=price)
    assert_refused(phase, two_rows, "item_price", "2 rows (id 1", "id 2")
    two_rows.execute("UPDATE item SET price = '1.51' WHERE id = 2")
    assert_migrated(phase, two_rows)


def test_times_that_differ_in_fractions_are_no_duplicates(two_rows):
    two_rows.execute(
        "ALTER TABLE item ADD COLUMN seen TIMESTAMP(6) NULL",
        "UPDATE item SET seen = IF(id = 1, '2025-01-06 10:00:00.1', "
        "'2025-01-06 10:00:00.2')",
    )
    seen = peewee.DateTimeField(null=True, unique=True)
    phase = phase_with(number=peewee.IntegerField(), seen=seen)
    assert_migrated(phase, two_rows)


def test_check_is_evaluated_on_the_converted_value(two_rows):
    """As a string, '9' is more than '10'."""
    two_rows.execute(
        "ALTER TABLE item ADD COLUMN low VARCHAR(20), ADD COLUMN high VARCHAR(20)",
        "UPDATE item SET low = '9', high = '10'",
    )
    phase = phase_with(
        SQL("CONSTRAINT check_range CHECK (low <= high)"),
        number=peewee.IntegerField(),
        low=peewee.IntegerField(null=True),
        high=peewee.IntegerField(null=True),
    )
    assert_migrated(phase, two_rows)
    two_rows.execute(
        "ALTER TABLE item DROP CONSTRAINT check_range, MODIFY low VARCHAR(20), "
        "MODIFY high VARCHAR(20)",
        "UPDATE item SET low = '10', high = '9' WHERE id = 1",
    )
    assert_refused(phase, two_rows, "check_range", "1 row (id 1)")


def test_check_of_integers_converted_to_strings_compares_strings(two_rows):
    two_rows.execute(
        "ALTER TABLE item ADD COLUMN low INT, ADD COLUMN high INT",
        "UPDATE item SET low = 9, high = 10 WHERE id = 2",
    )
    phase = phase_with(
        SQL("CONSTRAINT check_range CHECK (low <= high)"),
        number=peewee.IntegerField(),
        low=peewee.CharField(20, null=True),
        high=peewee.CharField(20, null=True),
    )
    assert_refused(phase, two_rows, "check_range", "1 row (id 2)")
    two_rows.execute("UPDATE item SET low = 10 WHERE id = 2")
    assert_migrated(phase, two_rows)
