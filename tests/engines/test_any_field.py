"""Every field of Peewee that all engines support: created, recognized, stored."""

import datetime
import decimal
import uuid

import peewee
import pytest
from engines.reports import dropped_tables
from peewee import SQL
from states import ENGINES

import db
from db.fields import AutoIncrementField, FloatField, JSONField
from migrations.phase import Phase

PeeweeJSONField = getattr(peewee, "JSONField", JSONField)  # Peewee 4.0 has none


class Item(peewee.Model):
    """A field of each kind."""

    id = peewee.BigAutoField()
    small = peewee.SmallIntegerField(null=True)
    integer = peewee.IntegerField(null=True)
    big = peewee.BigIntegerField()
    string, fixed = peewee.CharField(40), peewee.FixedCharField(8, null=True)
    text = peewee.TextField(null=True)
    truth = peewee.BooleanField(constraints=[SQL("DEFAULT FALSE")])
    decimal, whole = peewee.DecimalField(12, 4), peewee.DecimalField(9, 0, null=True)
    single, double = peewee.FloatField(null=True), peewee.DoubleField(null=True)
    wide = FloatField(null=True)
    date = peewee.DateField(null=True)
    time = peewee.TimeField(null=True)
    at = peewee.DateTimeField(null=True)
    uuid, bytes16 = peewee.UUIDField(unique=True), peewee.BinaryUUIDField(null=True)
    blob = peewee.BlobField(null=True)
    json = JSONField(null=True)
    peewee_json = PeeweeJSONField(null=True)
    stamp, address = peewee.TimestampField(null=True), peewee.IPField(null=True)
    flags, bits = peewee.BitField(null=True), peewee.BigBitField(null=True)

    class Meta:
        table_name = "items"


class Word(peewee.Model):
    """A key with AUTOINCREMENT, foreign keys and a CHECK."""

    id = AutoIncrementField()
    item = peewee.ForeignKeyField(Item, null=True)
    word = peewee.CharField(20, constraints=[SQL("DEFAULT '100%; it''s'")])
    by_uuid = peewee.ForeignKeyField(Item, field="uuid", null=True, on_delete="CASCADE")

    class Meta:
        table_name = "words"
        constraints = [
            SQL("CONSTRAINT check_word CHECK (word NOT LIKE '%''; %' AND word <> '%s')")
        ]


class Plain(peewee.Model):
    """Nothing but an id."""

    id = peewee.AutoField()

    class Meta:
        table_name = "plain"


@pytest.mark.parametrize("engine", ENGINES)
def test_every_field_is_created_and_recognized(world, engine):
    target = world(engine)
    target.clear()
    phase = Phase("Fields", requires={}, manages=[Plain, Word, Item])
    assert phase.check(db.connect(target.url)).status == "pending"
    first = phase.run(db.connect(target.url))
    assert first.status == "migrated"
    assert {change.blocks for change in first.changes} == {None}
    assert False not in first.smoke_test.values()
    again = phase.run(db.connect(target.url))
    assert (again.status, again.changes, again.differences) == ("up_to_date", (), ())
    checked = phase.check(db.connect(target.url))
    assert checked.status == "up_to_date"
    assert (checked.changes, checked.differences) == ((), ())
    assert len(dropped_tables(phase.rollback(db.connect(target.url)))) == 3


VALUES = {
    "small": -32_768, "integer": 2**31 - 1, "big": -(2**63), "string": "O'Neill, 100%",
    "fixed": "12345678", "text": "a\nb", "truth": True,
    "decimal": decimal.Decimal("12345678.1234"), "whole": decimal.Decimal("999999999"),
    "single": 0.5, "double": 0.1, "wide": 0.25, "date": datetime.date(2025, 2, 28),
    "time": datetime.time(23, 59, 58), "at": datetime.datetime(2025, 2, 28, 23, 59, 58),
    "uuid": uuid.UUID(int=7), "bytes16": uuid.UUID(int=9), "blob": b"\x00\xff",
    "json": {"a": [1, None, "b"]}, "address": "10.0.0.1", "flags": 5,
}  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
def test_every_field_keeps_its_value(world, engine):
    target = world(engine)
    target.clear()
    database = db.connect(target.url)
    Phase("Fields", requires={}, manages=[Item]).run(database, smoke_test=False)
    with database.bind_ctx([Item]), database.connection_context():
        made = Item.create(**VALUES)
        read = Item.get_by_id(made.id)
        found = {name: getattr(read, name) for name in VALUES}
    assert {**found, "blob": bytes(found["blob"])} == VALUES
