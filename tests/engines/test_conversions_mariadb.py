"""MariaDB: a converted value means what it meant before, or the run is refused."""

import datetime
import decimal

import peewee
import pytest

import db
from db.fields import JSONField
from migrations.errors import ChangeRefused
from migrations.phase import Phase

pytestmark = pytest.mark.drivers("mysql")

# By type of a column, values of it as SQL.
SOURCES = {
    "bit(1)": ("b'0'", "b'1'"),
    "bit(12)": ("b'0'", "b'110000'", "b'111111111111'"),
    "tinyint(4)": ("-128", "0", "127"),
    "int(10) unsigned": ("0", "2147483647", "2147483648", "4294967295"),
    "int(5) unsigned zerofill": ("0", "7", "12345"),
    "bigint(20)": ("-9223372036854775808", "9007199254740993", "20200131"),
    "float": ("0.1", "-2.5", "16777217", "0.333333333", "1e20", "1e-10", "123456.7"),
    "float(7,4)": ("0.1", "123.4567"),
    "float unsigned": ("0.1", "16777217"),
    "double": ("0.1", "1e15", "9007199254740993", "1e300", "0.30000000000000004"),
    "decimal(20,4)": ("0.1", "123456789012345.6789", "-7"),
    "decimal(6,2) unsigned": ("0.1", "9999.99"),
    "varchar(60)": (
        "'7'", "'07'", "'7.0'", "' 7'", "'7 '", "''", "'1e3'", "'abc'", "'2020-02-30'",
        "'2020-02-29'", "'2020-02-29 10:11:12'", "'2020-02-29 10:11:12.5'",
        "'10:11:12'", "'{\"a\": 1}'", "'äöü'", "'it''s'",
    ),
    "char(20)": ("'7'", "'7.50'", "'x'", "''"),
    "text": ("'7'", "repeat('x', 300)", "'2020-01-01'"),
    "enum('0','1','2','10','x')": ("'0'", "'1'", "'2'", "'10'", "'x'"),
    "enum('2020-01-01','1.50','1.5')": ("'2020-01-01'", "'1.50'", "'1.5'"),
    "set('5','10','11')": ("'5'", "'10'", "'11'", "'5,11'", "''"),
    "date": ("'2020-02-29'", "'0000-00-00'", "'9999-12-31'"),
    "time(3)": ("'10:11:12'", "'10:11:12.500'", "'-01:00:00'", "'99:00:00'"),
    "datetime(6)": (
        "'2020-02-29 00:00:00'", "'2020-02-29 10:11:12'",
        "'2020-02-29 10:11:12.000001'",
    ),
    "timestamp": ("'2020-02-29 00:00:00'", "'2020-02-29 10:11:12'"),
    "year": ("2020", "1901"),
    "blob": ("'7'", "x'00ff'", "''"),
    "json": ("'{\"a\": 1}'", "'7'", "'\"7\"'"),
    "uuid": ("'6ccd780c-baba-1026-9564-5b8c656024db'",),
    "inet6": ("'::1'",),
}  # fmt: skip
TARGETS = {
    "boolean": peewee.BooleanField,
    "small integer": peewee.SmallIntegerField,
    "integer": peewee.IntegerField,
    "big integer": peewee.BigIntegerField,
    "float": peewee.FloatField,
    "double": peewee.DoubleField,
    "decimal": lambda **options: peewee.DecimalField(10, 3, **options),
    "string": lambda **options: peewee.CharField(30, **options),
    "fixed string": lambda **options: peewee.FixedCharField(20, **options),
    "text": peewee.TextField,
    "date": peewee.DateField,
    "time": peewee.TimeField,
    "datetime": peewee.DateTimeField,
    "blob": peewee.BlobField,
    "JSON": JSONField,
    "UUID": peewee.UUIDField,
}


def phase_of(field):
    class Item(peewee.Model):
        value = field

        class Meta:
            table_name = "item"

    return Phase("Items", requires={}, manages=[Item])


def run(world, phase):
    return phase.run(db.connect(world.url), smoke_test=False, statistics=False)


def run_without_conflicting_rows(world, phase):
    """Run a phase until the rows that its refusal names are deleted.

    Types between which the server has no conversion are left as they are.
    """
    for _ in range(2):
        try:
            return run(world, phase)
        except ChangeRefused as refusal:
            text = str(refusal)
            if "the server refuses this: Cannot cast" in text:
                return None
            condition = text.partition("see: SELECT * FROM `item` w WHERE ")[2]
            world.execute(f"DELETE w FROM item w WHERE {condition}")
    return run(world, phase)


def texts(world):
    """Return the value of each row as people read it."""
    columns = world.query("SHOW COLUMNS FROM item LIKE 'value'")
    value = "value + 0" if columns[0][1].startswith("bit") else "value"
    return dict(world.query(f"SELECT id, CAST({value} AS CHAR) FROM item ORDER BY id"))


def same(before, after):
    if before == after:
        return True
    for read in (
        decimal.Decimal,
        datetime.datetime.fromisoformat,
        datetime.time.fromisoformat,
    ):
        try:
            return read(before) == read(after)
        except (ValueError, decimal.InvalidOperation):
            continue
    return False


@pytest.mark.parametrize("source", SOURCES)
def test_converted_values_are_the_same_or_refused(world, source):
    made = world("mysql")
    changed = []
    for name, field in TARGETS.items():
        made.clear()
        made.execute(
            "SET sql_mode = 'STRICT_ALL_TABLES'",
            "CREATE TABLE item (id INT AUTO_INCREMENT PRIMARY KEY, "
            f"value {source} NULL)",
            *(
                f"INSERT INTO item (value) VALUES ({value})"
                for value in SOURCES[source]
            ),
            "INSERT INTO item (value) VALUES (NULL)",
        )
        before = texts(made)
        run_without_conflicting_rows(made, phase_of(field(null=True)))
        for row, text in texts(made).items():
            if not (text is before[row] is None or same(before[row], text)):
                changed.append((name, before[row], text))
    assert changed == []
