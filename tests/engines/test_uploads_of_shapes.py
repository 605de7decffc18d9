"""Uploads into tables of each shape, and their creation by `create_missing`."""

import datetime
import decimal
import uuid

import peewee
import pytest
from engines.test_shapes import Tables, cases

import db

_NOW = datetime.datetime(2025, 3, 3, 12, 30, 15)
# By the type of a column: a value that an application would upload, for the row n.
_VALUES = {
    "BOOL": lambda n: n % 2 == 0,
    "DATE": lambda n: _NOW.date() + datetime.timedelta(n),
    "TIME": lambda n: datetime.time(8, n),
    "DATETIME": lambda n: _NOW + datetime.timedelta(n),
    "TIMESTAMPTZ": lambda n: _NOW.replace(tzinfo=datetime.timezone.utc),
    "DECIMAL": lambda n: decimal.Decimal(n) / 4,
    "UUID": lambda n: uuid.UUID(int=n),
    "UUIDB": lambda n: uuid.UUID(int=n),
    "BLOB": lambda n: bytes([n, 0, 255]),
    "JSON": lambda n: {"n": [n, None]},
    "JSONB": lambda n: {"n": [n, None]},
    "VARCHAR": lambda n: f'a{n}\\"',
    "CHAR": lambda n: f"b{n}",
    "TEXT": lambda n: f"it's {n}\t100%",
    "TSVECTOR": lambda n: f"word{n}",
    "INTERVAL": lambda n: datetime.timedelta(n, 5, 250_000),
}
# Of the shapes with types of one database.
_OTHERS = {
    "MONEY": "1.50",
    "INET": "10.0.0.1",
    "INT4RANGE": "[1,5)",
    "TIME WITH TIME ZONE": "08:00:00+00",
    "INTERVAL DAY TO SECOND(2)": datetime.timedelta(1, 5),
    "NUMERIC(9,2)[][]": [[decimal.Decimal("1.50")], [None]],
    "POINT": "(1,2)",
    "NAME": "me",
    "TSQUERY": "a & b",
    "TIMESTAMPTZ(3)": _NOW.replace(tzinfo=datetime.timezone.utc),
    "CHAR(3)[]": ["a", 'b"\\', None],
    "FLOAT(10)": 0.5,
    "LONGTEXT": "long",
    "TINYTEXT": "tiny",
    "MEDIUMBLOB": b"\x00\xff",
    "VARBINARY(20)": b"\x00\xff",
    "ENUM('a','b''c')": "b'c",
    "SET('x','y')": "x,y",
    "YEAR": 2025,
    "BIT(3)": "101",  # on MariaDB a number: see value_of
    "TIMESTAMP(3)": _NOW,
    "DATETIME(6)": _NOW,
    "TIME(3)": datetime.time(8, 5),
}


# Shapes with a CHECK that these values violate.
_WITH_OTHER_VALUES = (
    "CHECK constraints without a name",
    "DEFAULT and CHECK of one field",
    "percent signs, as drivers of servers want them",
)
# Uploads into them are refused, see test_storage_engines.py.
_WITHOUT_UPLOADS = ("a storage engine without transactions",)


def _types_of(model):
    return {field.field_type for field in model._meta.sorted_fields}


def array_of(field, number):
    """Return a value of an ArrayField, whose type is that of its elements."""
    if field.field_type == "DECIMAL":
        return [[decimal.Decimal(number) / 4, decimal.Decimal(2)], [None, None]]
    if field.field_type == "BOOL":
        return [number == 1, None]
    if field.dimensions == 2:
        return [[number, 2], [3, None]]
    return [f"t{number}", 'a "b", \\c', None]


def value_of(field, number):
    """Return what an application would upload into a column."""
    if isinstance(field, peewee.TimestampField):
        return _NOW + datetime.timedelta(number)
    if isinstance(field, peewee.IPField):
        return f"10.0.0.{number}"
    if isinstance(field, peewee.BigBitField):
        return bytes([number])
    if hasattr(field, "dimensions"):
        return array_of(field, number)
    if field.field_type == "BIT(3)" and "YEAR" in _types_of(field.model):
        return 5
    if field.field_type in _OTHERS:
        return _OTHERS[field.field_type]
    make = _VALUES.get(field.field_type, lambda n: n)
    value = make(number)
    if isinstance(value, str) and getattr(field, "max_length", None):
        return value[: field.max_length]
    return value


def select(model, *fields):
    """Return a query; a model may have a field called `select`."""
    return peewee.Model.select.__func__(model, *fields)


def needs_parents(model):
    """Whether each row of a model refers to another one; a circle begins elsewhere."""
    return any(not field.null for field in model._meta.refs)


def rows_of(model, database):
    """Return three rows; those of parents are in the database already."""
    rows = []
    for number in (1, 2, 3):
        row = {}
        for field in model._meta.sorted_fields:
            if field.auto_increment:
                continue
            if not isinstance(field, peewee.ForeignKeyField):
                row[field.name] = value_of(field, number)
                continue
            if field.rel_model is model or field.deferred:
                row[field.name] = None
                continue
            keys = list(select(field.rel_model, field.rel_field).tuples())
            row[field.name] = None
            if keys or not field.null:
                row[field.name] = keys[number - 1][0]
        rows.append(row)
    return rows


@pytest.mark.parametrize(
    ("engine", "shape"),
    [
        case
        for case in cases()
        if case.values[1].name not in (*_WITH_OTHER_VALUES, *_WITHOUT_UPLOADS)
    ],
)
def test_rows_of_each_shape_are_uploaded(world, engine, shape):
    tables = Tables(world(engine), shape)
    tables.create_with_peewee()
    by_peewee = tables.definitions()
    tables.phase.rollback(tables.database)
    database = tables.database
    tables.phase.create_missing(database)
    assert tables.definitions() == by_peewee

    models = [
        tables.phase.models.by_table[name] for name in tables.phase.models.managed
    ]
    models.sort(key=needs_parents)
    with database.connection_context(), database.bind_ctx(models):
        for model in models:
            rows = rows_of(model, database)
            assert model.bulk_insert(rows) == 3
            assert select(model).count() == 3
            read = list(select(model).dicts())
            assert [row.keys() - read[0].keys() for row in rows] == [set()] * 3
    assert database.is_closed()
    assert db.connect(tables.world.url).is_closed()
