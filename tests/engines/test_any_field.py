"""Every field of Peewee's own that the three engines store: made, and found as it is."""

import datetime
import decimal
import uuid

import peewee
import pytest
from peewee import SQL
from states import ENGINES

import db
from db.fields import AutoIncrementField, FloatField, JSONField
from migrations.phase import Phase

THEIRS = getattr(peewee, "JSONField", JSONField)  # Peewee 4.0 has none of its own


class Kept(peewee.Model):
    """What a table is that has a field of each kind."""

    id = peewee.BigAutoField()
    small, integer, big = peewee.SmallIntegerField(null=True), peewee.IntegerField(null=True), peewee.BigIntegerField()
    string, fixed = peewee.CharField(40), peewee.FixedCharField(8, null=True)
    text = peewee.TextField(null=True)
    truth = peewee.BooleanField(constraints=[SQL("DEFAULT FALSE")])
    decimal, whole = peewee.DecimalField(12, 4), peewee.DecimalField(9, 0, null=True)
    single, double = peewee.FloatField(null=True), peewee.DoubleField(null=True)
    wide = FloatField(null=True)
    date, time, at = peewee.DateField(null=True), peewee.TimeField(null=True), peewee.DateTimeField(null=True)
    uuid, bytes16 = peewee.UUIDField(unique=True), peewee.BinaryUUIDField(null=True)
    blob, json, their_json = peewee.BlobField(null=True), JSONField(null=True), THEIRS(null=True)
    stamp, address = peewee.TimestampField(null=True), peewee.IPField(null=True)
    flags, bits = peewee.BitField(null=True), peewee.BigBitField(null=True)

    class Meta:
        table_name = "kept"


class Counted(peewee.Model):
    """What a table is whose key counts, and lasts."""

    id = AutoIncrementField()
    kept = peewee.ForeignKeyField(Kept, null=True)
    word = peewee.CharField(20, constraints=[SQL("DEFAULT '100%; it''s'")])
    by_uuid = peewee.ForeignKeyField(Kept, field="uuid", null=True, on_delete="CASCADE")

    class Meta:
        table_name = "counted"
        constraints = [SQL("CONSTRAINT check_word CHECK (word NOT LIKE '%''; %' AND word <> '%s')")]


class Plain(peewee.Model):
    """What a table is with nothing but a number of its own."""

    id = peewee.AutoField()

    class Meta:
        table_name = "plain"


@pytest.mark.parametrize("engine", ENGINES)
def test_every_field_is_made_and_found_as_it_is(world, engine):
    there = world(engine)
    there.clear()
    phase = Phase("Fields", requires={}, manages=[Plain, Counted, Kept])
    assert phase.check(db.connect(there.url)).status == "pending"
    first = phase.run(db.connect(there.url))
    assert first.status == "migrated"
    assert {change.blocks for change in first.changes} == {None}
    assert False not in first.smoke_test.values()
    again = phase.run(db.connect(there.url))
    assert (again.status, again.changes, again.differences) == ("up_to_date", (), ())
    looked = phase.check(db.connect(there.url))
    assert (looked.status, looked.changes, looked.differences) == ("up_to_date", (), ())
    assert len(phase.rollback(db.connect(there.url)).changes) == 3


VALUES = {
    "small": -32_768, "integer": 2**31 - 1, "big": -(2**63), "string": "O'Neill, 100%", "fixed": "12345678",
    "text": "a\nb", "truth": True, "decimal": decimal.Decimal("12345678.1234"), "whole": decimal.Decimal("999999999"),
    "single": 0.5, "double": 0.1, "wide": 0.25, "date": datetime.date(2025, 2, 28), "time": datetime.time(23, 59, 58),
    "at": datetime.datetime(2025, 2, 28, 23, 59, 58), "uuid": uuid.UUID(int=7), "bytes16": uuid.UUID(int=9),
    "blob": b"\x00\xff", "json": {"a": [1, None, "b"]}, "address": "10.0.0.1", "flags": 5,
}  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
def test_every_field_keeps_its_value(world, engine):
    there = world(engine)
    there.clear()
    database = db.connect(there.url)
    Phase("Fields", requires={}, manages=[Kept]).run(database, smoke_test=False)
    with database.bind_ctx([Kept]), database.connection_context():
        made = Kept.create(**VALUES)
        read = Kept.get_by_id(made.id)
        found = {name: getattr(read, name) for name in VALUES}
    assert {**found, "blob": bytes(found["blob"])} == VALUES
