"""Models of many shapes: what Peewee can create, a phase has to manage.

A shape is data. `tests/engines/test_shapes.py` creates each one on every engine that
has it, by Peewee and by a phase, compares the two, and takes parts of it away.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import peewee
from peewee import (
    SQL,
    AutoField,
    BooleanField,
    CharField,
    Check,
    CompositeKey,
    DateField,
    DateTimeField,
    DecimalField,
    ForeignKeyField,
    IntegerField,
    TextField,
    TimeField,
)
from states import ENGINES

from db.fields import AutoIncrementField, DefaultUtcNow, JSONField, UniqueConstraint


class Shape(NamedTuple):
    """Models that belong together.

    :param make: returns the models, in any order. It is called once.
    :param engines: those on which Peewee can create them.
    :param differs: by engine, parts of definitions that may differ from Peewee's.
    """

    name: str
    make: Callable
    engines: tuple = ENGINES

    @property
    def models(self):
        return _models(self.make)


@functools.cache
def _models(make):
    return make()


def model(table_name="things", name="Thing", base=peewee.Model, meta=None, **fields):
    """Return a model; `meta` is what its `Meta` has."""
    options = {"table_name": table_name, **(meta or {})}
    attributes = {**fields, "Meta": type("Meta", (), options)}
    return type(name, (base,), attributes)


def one(**fields):
    """Return a function that makes one model of some fields."""
    return lambda: [model(**fields)]


def with_meta(meta, **fields):
    """Return a function that makes one model with options."""
    return lambda: [model(meta=meta, **fields)]


def default(sql):
    return {"constraints": [SQL(f"DEFAULT {sql}")]}


def _parent_and_child():
    parent = model("parents", "Parent", code=CharField(9, unique=True))
    child = model(
        "children",
        "Child",
        parent=ForeignKeyField(parent, on_delete="CASCADE", on_update="CASCADE"),
        code=ForeignKeyField(parent, field="code", null=True, on_delete="SET NULL"),
        up=ForeignKeyField("self", null=True, constraint_name="fk_up"),
    )
    return [child, parent]


SHAPES = [
    Shape("an id alone", one()),
    Shape(
        "an id that is never reused", one(id=AutoIncrementField(), word=CharField(9))
    ),
    Shape(
        "a word as the key", one(code=CharField(9, primary_key=True), n=IntegerField())
    ),
    Shape(
        "a key of two columns",
        with_meta(
            {"primary_key": CompositeKey("b", "a")},
            a=IntegerField(),
            b=CharField(9),
            c=TextField(null=True),
        ),
    ),
    Shape("foreign keys of every kind", _parent_and_child),
    Shape(
        "indexes of one and of two columns",
        with_meta(
            {"indexes": ((("a", "b"), True), (("b", "c"), False))},
            a=IntegerField(index=True),
            b=CharField(9, unique=True),
            c=DateField(null=True, index=True),
        ),
    ),
    Shape(
        "named constraints",
        with_meta(
            {
                "constraints": [
                    UniqueConstraint("unique_a_b", "a", "b"),
                    SQL("CONSTRAINT check_a CHECK (a > 0)"),
                    Check("b <> 'x'", name="check_b"),
                ]
            },
            a=IntegerField(),
            b=CharField(9),
        ),
    ),
    Shape(
        "literal defaults",
        one(
            number=IntegerField(**default("-1")),
            share=DecimalField(6, 3, **default("0.5")),
            word=CharField(9, **default("'it''s'")),
            truth=BooleanField(**default("TRUE")),
            day=DateField(**default("'2025-01-31'")),
            hour=TimeField(**default("'8:00'")),
            at=DateTimeField(constraints=[DefaultUtcNow()]),
        ),
    ),
    Shape(
        "JSON and a column that may be NULL",
        one(data=JSONField(), other=JSONField(null=True), id=AutoField()),
    ),
]
