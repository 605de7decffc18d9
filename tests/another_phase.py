"""A second phase for the tests: a warehouse with orders and its depots.

    PYTHONPATH=tests python -m another_phase --database sqlite:///warehouse.db

It has string keys, composite keys, a foreign key to its own table, every numeric type,
names that are keywords and every foreign key action. Its models are given in an order
that is not the order of their foreign keys.
"""

import uuid

import peewee
from peewee import (
    SQL,
    BigAutoField,
    BigIntegerField,
    BlobField,
    BooleanField,
    CharField,
    CompositeKey,
    DateField,
    DateTimeField,
    DecimalField,
    DoubleField,
    FixedCharField,
    FloatField,
    ForeignKeyField,
    IntegerField,
    SmallIntegerField,
    TextField,
    TimeField,
    UUIDField,
)

from db.fields import (
    AutoIncrementField,
    DefaultUtcNow,
    JSONField,
    UniqueConstraint,
    utc_now,
)
from migrations.phase import Phase


class Depot(peewee.Model):
    """A place with stock; the phase requires its table."""

    code = CharField(12, primary_key=True)
    place = CharField(80)
    opened = DateField(null=True)

    class Meta:
        table_name = "depots"


class Article(peewee.Model):
    """An article in stock, or a part of one."""

    sku = CharField(20, primary_key=True)
    whole = ForeignKeyField(
        "self", backref="parts", null=True, on_delete="SET NULL", on_update="CASCADE"
    )
    label = CharField(60)
    barcode = FixedCharField(13, null=True)
    price = DecimalField(10, 2, constraints=[SQL("DEFAULT 9.5")])
    weight = DecimalField(8, 3, null=True)
    volume = DoubleField(null=True)
    height = FloatField(null=True)
    active = BooleanField(constraints=[SQL("DEFAULT TRUE")])
    sold = BigIntegerField(constraints=[SQL("DEFAULT 0")])
    shelf = SmallIntegerField(null=True)
    about = TextField(null=True)
    picture = BlobField(null=True)
    details = JSONField(null=True)

    class Meta:
        table_name = "articles"
        indexes = ((("barcode",), True), (("label", "shelf"), False))
        constraints = [SQL("CONSTRAINT check_price CHECK (price >= 0)")]


class Order(peewee.Model):
    """An order to a depot; its table and two of its columns are named as keywords."""

    id = AutoIncrementField()
    number = UUIDField(unique=True, default=uuid.uuid4)
    depot = ForeignKeyField(
        Depot, backref="orders", on_delete="RESTRICT", on_update="CASCADE"
    )
    group = CharField(20, constraints=[SQL("DEFAULT 'it''s all'")])
    key = IntegerField()
    due = DateField(null=True)
    until = TimeField(null=True)
    placed_at = DateTimeField(default=utc_now, constraints=[DefaultUtcNow()])

    class Meta:
        table_name = "order"
        constraints = [UniqueConstraint("unique_order_of_depot", "depot_id", "key")]


class Line(peewee.Model):
    """A line of an order, with a composite key."""

    order = ForeignKeyField(Order, backref="lines", on_delete="CASCADE")
    position = SmallIntegerField()
    article = ForeignKeyField(
        Article, backref="lines", on_delete="RESTRICT", on_update="CASCADE"
    )
    instead = ForeignKeyField(
        Article, backref="instead_of", null=True, on_delete="SET NULL"
    )
    quantity = DecimalField(9, 3)

    class Meta:
        table_name = "order_lines"
        primary_key = CompositeKey("order", "position")
        constraints = [
            SQL("CONSTRAINT check_quantity CHECK (quantity > 0)"),
            SQL("CONSTRAINT check_position CHECK (position BETWEEN 1 AND 999)"),
        ]


class Movement(peewee.Model):
    """A movement of an article between two places; the table has many rows."""

    id = BigAutoField()
    article = ForeignKeyField(
        Article, backref="movements", on_delete="CASCADE", index=False
    )
    moved = BigIntegerField()
    at = DateTimeField()

    class Meta:
        table_name = "movements"


Movement.add_index(Movement.article, Movement.at, name="movements_of_article")
Movement.add_index(Movement.at, Movement.moved, unique=True, name="movements_at")

REQUIRED = (Depot,)
MANAGED = (Line, Movement, Order, Article)
MODELS = (*REQUIRED, *MANAGED)

phase = Phase("Warehouse", requires={Depot: ("code", "place")}, manages=MANAGED)

if __name__ == "__main__":
    raise SystemExit(phase.main())
