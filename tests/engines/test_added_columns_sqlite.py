"""SQLite: rows that conflict with a new or converted column."""

import time
from typing import NamedTuple

import peewee
import pytest
from peewee import SQL

import db
from db.fields import DefaultUtcNow, UniqueConstraint
from migrations.errors import ChangeRefused
from migrations.phase import Phase


@pytest.fixture
def empty(world):
    """A database without any table."""
    return world("sqlite")


@pytest.fixture
def two_rows(empty):
    empty.execute(
        "CREATE TABLE item (id INTEGER NOT NULL PRIMARY KEY, number INTEGER NOT NULL)",
        "INSERT INTO item (number) VALUES (1), (2)",
    )
    return empty


def default(sql):
    return {"constraints": [SQL(f"DEFAULT {sql}")]}


def model(name, *constraints, **fields):
    meta = type("Meta", (), {"table_name": name, "constraints": list(constraints)})
    return type(name, (peewee.Model,), {**fields, "Meta": meta})


def phase_with(*constraints, **fields):
    """A phase of one table `item` with some fields."""
    return Phase("Items", requires={}, manages=[model("item", *constraints, **fields)])


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
    assert world.query("PRAGMA foreign_key_check") == []
    assert world.query("PRAGMA integrity_check") == [("ok",)]


# -- UNIQUE

UNIQUE_FIELDS = {
    "integer": lambda: peewee.IntegerField(unique=True, **default("7")),
    "string": lambda: peewee.CharField(20, unique=True, **default("'x'")),
    "decimal": lambda: peewee.DecimalField(8, 2, unique=True, **default("1.5")),
    "date": lambda: peewee.DateField(unique=True, **default("'2025-01-06'")),
    "boolean": lambda: peewee.BooleanField(unique=True, **default("TRUE")),
    "now": lambda: peewee.DateTimeField(unique=True, constraints=[DefaultUtcNow()]),
}


@pytest.mark.parametrize("name", UNIQUE_FIELDS)
def test_default_in_a_unique_column_is_refused_for_two_rows(two_rows, name):
    phase = phase_with(number=peewee.IntegerField(), code=UNIQUE_FIELDS[name]())
    assert_refused(phase, two_rows, "item_code", "2 rows (id 1", "id 2")


@pytest.mark.parametrize("name", UNIQUE_FIELDS)
def test_default_in_a_unique_column_is_added_to_one_row(two_rows, name):
    two_rows.execute("DELETE FROM item WHERE number = 2")
    phase = phase_with(number=peewee.IntegerField(), code=UNIQUE_FIELDS[name]())
    assert_migrated(phase, two_rows)


def unique_pair():
    return phase_with(
        UniqueConstraint("unique_item", "number", "code"),
        number=peewee.IntegerField(),
        code=peewee.CharField(20, **default("'x'")),
    )


def test_default_in_a_unique_pair_is_refused_for_equal_rows(two_rows):
    two_rows.execute("INSERT INTO item (number) VALUES (1)")
    assert_refused(unique_pair(), two_rows, "unique_item", "2 rows (id 1", "id 3")


def test_default_in_a_unique_pair_is_added_to_different_rows(two_rows):
    assert_migrated(unique_pair(), two_rows)


def test_unique_column_without_a_default_is_added_to_any_rows(two_rows):
    code = peewee.CharField(20, null=True, unique=True)
    assert_migrated(phase_with(number=peewee.IntegerField(), code=code), two_rows)


# -- foreign keys


class Parent(NamedTuple):
    """A table `owner` with a row, and two values: of no row of it, and of that row."""

    key: str
    row: str
    field: peewee.Field
    orphan: str
    existing: str


PARENTS = {
    "integer": Parent(
        "INTEGER PRIMARY KEY", "7", peewee.AutoField(), orphan="8", existing="7"
    ),
    "string": Parent(
        "TEXT PRIMARY KEY",
        "'a'",
        peewee.CharField(20, primary_key=True),
        orphan="'A'",
        existing="'a'",
    ),
    "string of another collation": Parent(
        "TEXT COLLATE NOCASE PRIMARY KEY",
        "'a'",
        peewee.CharField(20, primary_key=True),
        orphan="'b'",
        existing="'A'",
    ),
}


def phase_with_owner(key_field, **options):
    """A phase of `item`, whose column `owner_id` refers to the table `owner`."""
    owner = model("owner", id=key_field.clone())
    reference = peewee.ForeignKeyField(owner, **options)
    item = model("item", number=peewee.IntegerField(), owner=reference)
    return Phase("Owners", requires={owner: ()}, manages=[item])


@pytest.mark.parametrize("name", PARENTS)
def test_default_of_a_foreign_key_needs_a_parent(two_rows, name):
    parent = PARENTS[name]
    two_rows.execute(
        f"CREATE TABLE owner (id {parent.key})",
        f"INSERT INTO owner VALUES ({parent.row})",
    )
    phase = phase_with_owner(parent.field, **default(parent.orphan))
    assert_refused(phase, two_rows, "item.owner_id", "2 rows (id 1; id 2)")
    phase = phase_with_owner(parent.field, **default(parent.existing))
    assert_migrated(phase, two_rows)


def test_default_is_refused_while_the_parent_table_is_missing(two_rows):
    owner = model("owner", id=peewee.AutoField())
    reference = peewee.ForeignKeyField(owner, **default("7"))
    item = model("item", number=peewee.IntegerField(), owner=reference)
    phase = Phase("Owners", requires={}, manages=[owner, item])
    assert_refused(phase, two_rows, "item.owner_id", "2 rows (id 1; id 2)")


def test_nullable_foreign_key_is_added_to_any_rows(two_rows):
    two_rows.execute("CREATE TABLE owner (id INTEGER PRIMARY KEY)")
    assert_migrated(phase_with_owner(peewee.AutoField(), null=True), two_rows)


def test_default_may_refer_to_a_row_of_its_own_table(two_rows):
    def phase(sql):
        above = peewee.ForeignKeyField("self", null=True, **default(sql))
        return phase_with(number=peewee.IntegerField(), above=above)

    assert_refused(phase("9"), two_rows, "item.above_id", "2 rows (id 1; id 2)")
    assert_migrated(phase("1"), two_rows)


# -- CHECK


def test_default_that_violates_a_check_is_refused(two_rows):
    def phase(condition):
        return phase_with(
            SQL(f"CONSTRAINT check_code CHECK ({condition})"),
            number=peewee.IntegerField(),
            code=peewee.CharField(20, **default("'x'")),
        )

    assert_refused(phase("code <> 'x'"), two_rows, "check_code", "2 rows")
    assert_migrated(phase("code = 'x'"), two_rows)


# -- converted columns


def test_values_equal_after_conversion_are_duplicates(two_rows):
    two_rows.execute(
        "ALTER TABLE item ADD COLUMN price TEXT",
        "UPDATE item SET price = CASE id WHEN 1 THEN '1.5' ELSE '1.50' END",
    )
    price = peewee.DecimalField(8, 2, null=True, unique=True)
    phase = phase_with(number=peewee.IntegerField(), price=price)
    assert_refused(phase, two_rows, "item_price", "2 rows (id 1", "id 2")
    two_rows.execute("UPDATE item SET price = '1.51' WHERE id = 2")
    assert_migrated(phase, two_rows)


def test_converted_values_are_compared_in_the_columns_collation(two_rows):
    two_rows.execute(
        "ALTER TABLE item ADD COLUMN code BLOB COLLATE NOCASE",
        "UPDATE item SET code = CASE id WHEN 1 THEN 'a' ELSE 'A' END",
    )
    code = peewee.CharField(20, null=True, unique=True)
    phase = phase_with(number=peewee.IntegerField(), code=code)
    assert_refused(phase, two_rows, "item_code", "2 rows (id 1", "id 2")
    two_rows.execute("UPDATE item SET code = 'b' WHERE id = 2")
    assert_migrated(phase, two_rows)


def test_string_converted_to_an_integer_is_compared_as_integer(two_rows):
    two_rows.execute(
        "CREATE TABLE owner (id INTEGER PRIMARY KEY)",
        "INSERT INTO owner VALUES (7)",
        "ALTER TABLE item ADD COLUMN owner_id TEXT NOT NULL DEFAULT '7'",
        "UPDATE item SET owner_id = '70' WHERE id = 2",
    )
    phase = phase_with_owner(peewee.AutoField())
    assert_refused(phase, two_rows, "item.owner_id", "1 row (id 2)")
    two_rows.execute("INSERT INTO owner VALUES (70)")
    assert_migrated(phase, two_rows)


def place_and_stay():
    place = model("place", code=peewee.CharField(20, primary_key=True))
    stay = model("stay", place=peewee.ForeignKeyField(place))
    return Phase("Stays", requires={}, manages=[stay, place])


@pytest.mark.parametrize("child_type", ["INTEGER", "VARCHAR(20)", "BLOB"])
def test_parent_converted_to_a_string_is_compared_as_string(empty, child_type):
    empty.execute(
        "CREATE TABLE place (code INTEGER NOT NULL PRIMARY KEY)",
        "INSERT INTO place VALUES (1)",
        f"CREATE TABLE stay (id INTEGER PRIMARY KEY, place_id {child_type} NOT NULL)",
        "INSERT INTO stay (place_id) VALUES ('1'), ('2')",
    )
    assert_refused(place_and_stay(), empty, "stay.place_id", "1 row (id 2)")
    empty.execute("INSERT INTO place VALUES (2)")
    assert_migrated(place_and_stay(), empty)


def test_parent_converted_to_a_string_keeps_its_collation(empty):
    empty.execute(
        "CREATE TABLE place (code BLOB NOT NULL COLLATE NOCASE PRIMARY KEY)",
        "INSERT INTO place VALUES ('a')",
        "CREATE TABLE stay (id INTEGER PRIMARY KEY, place_id VARCHAR(20) NOT NULL)",
        "INSERT INTO stay (place_id) VALUES ('A')",
    )
    assert_migrated(place_and_stay(), empty)


def test_converted_parents_are_not_read_once_per_child(empty):
    numbers = (
        "WITH RECURSIVE n (i) AS "
        "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
    )
    empty.execute(
        "CREATE TABLE place (code INTEGER NOT NULL PRIMARY KEY)",
        "CREATE TABLE stay (id INTEGER PRIMARY KEY, place_id VARCHAR(20) NOT NULL)",
        f"{numbers} INSERT INTO place SELECT i FROM n",
        "INSERT INTO stay SELECT code, code FROM place",
    )
    started = time.monotonic()
    assert place_and_stay().check(db.connect(empty.url)).status == "pending"
    assert time.monotonic() - started < 5  # 20,000 times 20,000 rows take a minute
