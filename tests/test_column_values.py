"""From the values of an upload to those of a column, without a database."""

import datetime
import uuid
from decimal import Decimal

import peewee
import pytest

from db.column_values import BadValue, Column
from db.fields import JSONField

DAY = datetime.date(2025, 3, 3)
NOON = datetime.time(12)
MOMENT = datetime.datetime(2025, 3, 3, 12)
UTC = datetime.timezone.utc
KEY = uuid.UUID("12345678123456781234567812345678")


class Parent(peewee.Model):
    code = peewee.CharField(9, primary_key=True)


FIELDS = {
    "text": peewee.CharField(9),
    "fixed": peewee.FixedCharField(2),
    "integer": peewee.IntegerField(),
    "float": peewee.FloatField(),
    "decimal": peewee.DecimalField(9, 2),
    "rounded": peewee.DecimalField(9, 2, auto_round=True),
    "boolean": peewee.BooleanField(),
    "date": peewee.DateField(),
    "time": peewee.TimeField(),
    "datetime": peewee.DateTimeField(),
    "uuid": peewee.UUIDField(),
    "binary_uuid": peewee.BinaryUUIDField(),
    "json": JSONField(),
    "blob": peewee.BlobField(),
    "parent": peewee.ForeignKeyField(Parent),
}
Row = type("Row", (peewee.Model,), dict(FIELDS))


def column(name):
    return Column(getattr(Row, name))


def stored(name, value):
    (result,) = column(name).convert([value])
    return result


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("text", "a", "a"),
        ("text", b"a", "a"),
        ("text", 7, "7"),
        ("fixed", "long", "long"),
        ("integer", 7, 7),
        ("integer", "7", 7),
        ("integer", 7.0, 7),
        ("integer", Decimal("7"), 7),
        ("float", 7, 7.0),
        ("float", "7.5", 7.5),
        ("decimal", "7.5", Decimal("7.5")),
        ("decimal", 7, Decimal(7)),
        ("rounded", "7.555", Decimal("7.56")),
        *(("boolean", word, True) for word in ("true", " T ", "YES", "y", "on", "1")),
        *(("boolean", word, False) for word in ("false", "f", "No", "n", "off", "0")),
        ("boolean", True, True),
        ("boolean", 0, False),
        ("date", "2025-03-03", DAY),
        ("date", DAY, DAY),
        ("date", datetime.datetime(2025, 3, 3), DAY),
        ("date", "2025-03-03 00:00:00", DAY),
        ("time", "12:00:00", NOON),
        ("time", "12:00", NOON),
        ("time", datetime.timedelta(hours=12), NOON),
        ("datetime", "2025-03-03 12:00:00", MOMENT),
        ("datetime", MOMENT.replace(tzinfo=UTC), MOMENT),
        (
            "datetime",
            MOMENT.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
            MOMENT.replace(hour=10),
        ),
        ("uuid", KEY, KEY.hex),
        ("uuid", str(KEY), KEY.hex),
        ("uuid", KEY.bytes, KEY.hex),
        ("binary_uuid", str(KEY), KEY.bytes),
        ("json", {"a": [1, None]}, '{"a": [1, null]}'),
        ("json", "a", '"a"'),
        ("blob", b"a", b"a"),
        ("blob", "é", b"\xc3\xa9"),
        ("blob", bytearray(b"a"), b"a"),
        ("parent", "a", "a"),
        ("parent", Parent(code="a"), "a"),
    ],
)
def test_value_is_stored_as(name, value, expected):
    result = stored(name, value)
    assert result == expected
    assert type(result) is type(expected)


TEXTS = {
    "integer": "an integer",
    "float": "a number",
    "decimal": "a decimal number",
    "boolean": "a boolean (true or false)",
    "date": "a date (YYYY-MM-DD)",
    "time": "a time (HH:MM:SS)",
    "datetime": "a date and time (YYYY-MM-DD HH:MM:SS)",
    "uuid": "a UUID",
    "binary_uuid": "a UUID",
    "json": "a JSON value",
    "blob": "bytes",
    "text": "a text",
    "parent": "a text",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", b"\xff"),
        ("text", ["a"]),
        ("text", float("nan")),
        ("integer", "many"),
        ("integer", 7.5),
        ("integer", Decimal("7.5")),
        ("integer", "1_000"),
        ("integer", float("inf")),
        ("float", "much"),
        ("float", "1_000.5"),
        ("float", "nan"),
        ("float", "1e400"),
        ("float", float("-inf")),
        ("float", Decimal("NaN")),
        ("decimal", "1_000"),
        ("decimal", "Infinity"),
        ("decimal", "x"),
        ("boolean", "maybe"),
        ("boolean", 2),
        ("date", "soon"),
        ("date", "2025-03-03 12:00:00"),
        ("date", MOMENT),
        ("time", MOMENT),
        ("time", "2025-03-03 12:00:00"),
        ("time", datetime.timedelta(days=1)),
        ("time", NOON.replace(tzinfo=UTC)),
        ("datetime", "soon"),
        ("uuid", "x"),
        ("binary_uuid", b"x"),
        ("json", {1, 2}),
        ("json", float("nan")),
        ("blob", 5),
        ("parent", FIELDS),
    ],
)
def test_value_that_cannot_be_stored(name, value):
    with pytest.raises(BadValue) as bad:
        stored(name, value)
    (problem,) = bad.value.problems
    where = column(name).field.column_name
    assert problem == (0, f"{where} is {value!r:.80}, expected {TEXTS[name]}")


def test_every_bad_value_of_a_column_is_named():
    with pytest.raises(BadValue) as bad:
        column("integer").convert([1, "x", None, " 2 ", " y"])
    assert bad.value.problems == [
        (1, "integer is 'x', expected an integer"),
        (2, "integer is missing"),
        (4, "integer is ' y', with leading or trailing spaces, expected an integer"),
    ]


def test_long_value_is_cut_in_the_message():
    with pytest.raises(BadValue) as bad:
        stored("integer", "x" * 100)
    assert bad.value.problems[0].reason == (
        f"integer is '{'x' * 79}, expected an integer"
    )


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("text", ["a", "b"]),
        ("integer", [1, 2]),
        ("float", [1.5]),
        ("boolean", [True]),
        ("date", [DAY]),
        ("datetime", [MOMENT]),
        ("time", [NOON]),
        ("parent", ["a"]),
    ],
)
def test_values_of_the_right_type_are_not_copied(name, values):
    assert column(name).convert(values) is values


def test_default_takes_the_place_of_none():
    numbers = iter(range(9))
    Given = type(
        "Given",
        (peewee.Model,),
        {
            "none": peewee.IntegerField(null=True),
            "five": peewee.IntegerField(default=5),
            "counted": peewee.IntegerField(default=lambda: next(numbers)),
            "made": peewee.DateTimeField(default=datetime.datetime.now),
        },
    )
    values = [None, None]
    assert Column(Given.none).convert(values) is values
    assert Column(Given.five).convert([None, 1]) == [5, 1]
    assert Column(Given.counted).convert(values) == [0, 1]
    first, second = Column(Given.made).convert(values)
    assert first is second


def test_column_with_a_default_of_the_database_may_be_left_out():
    default = [peewee.SQL("DEFAULT 5")]
    Given = type(
        "Given",
        (peewee.Model,),
        {
            "plain": peewee.IntegerField(),
            "database": peewee.IntegerField(constraints=default),
            "both": peewee.IntegerField(default=5, constraints=default),
        },
    )
    optional = [Column(each).optional for each in Given._meta.sorted_fields[1:]]
    assert optional == [False, True, False]


def test_field_of_another_package_stores_what_it_makes():
    class OddField(peewee.Field):
        field_type = "ODD"

        def db_value(self, value):
            return list(value)

    Given = type("Given", (peewee.Model,), {"odd": OddField()})
    assert Column(Given.odd).convert(["ab", ["c"]]) == [["a", "b"], ["c"]]
    with pytest.raises(BadValue) as bad:
        Column(Given.odd).convert([5])
    assert bad.value.problems == [(0, "odd is 5, expected a value of OddField")]


@pytest.mark.parametrize("field_type", ["ODDJSON", "ANY"])
def test_type_that_is_not_known_has_a_kind_of_its_own(field_type):
    field = peewee.BareField()
    field.field_type = field_type
    Given = type("Given", (peewee.Model,), {"odd": field})
    assert Column(Given.odd).kind.description == "a value of BareField"


def test_field_of_another_package_may_have_a_known_type():
    class OddField(peewee.Field):
        field_type = "VARCHAR"

    Given = type("Given", (peewee.Model,), {"odd": OddField()})
    assert Column(Given.odd).kind.description == "a value of OddField"
