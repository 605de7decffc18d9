"""Models of many shapes: what Peewee can create, a phase has to manage.

A shape is data. `tests/engines/test_shapes.py` creates each one on every engine that
has it, by Peewee and by a phase, compares the two, and takes parts of it away.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

from peewee import (
    SQL,
    AnyField,
    AutoField,
    BlobField,
    BooleanField,
    CharField,
    Check,
    CompositeKey,
    DateField,
    DateTimeField,
    DecimalField,
    DoubleField,
    FloatField,
    ForeignKeyField,
    IntegerField,
    TextField,
    TimeField,
    UUIDField,
)
from states import ENGINES

from db.fields import AutoIncrementField, DefaultUtcNow, JSONField, UniqueConstraint
from db.models import Uploadable


class Shape(NamedTuple):
    """Models that belong together.

    :param make: returns the models, in any order. It is called once.
    :param engines: those on which Peewee can create them.
    :param mariadb_only: whether MySQL lacks what MariaDB has.
    :param notes: the messages about tables that are as declared.
    """

    name: str
    make: Callable
    engines: tuple = ENGINES
    mariadb_only: bool = False
    notes: tuple = ()

    @property
    def models(self):
        return _models(self.make)


@functools.cache
def _models(make):
    return make()


def model(table_name="things", name="Thing", base=Uploadable, meta=None, **fields):
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


def _parent_and_child(**meta):
    code = CharField(9, unique=True)
    parent = model("parents", "Parent", meta=meta, code=code)
    child = model(
        "children",
        "Child",
        meta=meta,
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
        "names in capitals, and with blanks and quotes",
        with_meta(
            {
                "table_name": "The 'best' Things",
                "constraints": [UniqueConstraint("Unique Word", "Word", "a.b")],
                "indexes": ((("node", "select"), False),),
            },
            Id=AutoField(column_name="ID"),
            word=CharField(9, column_name="Word", index=True),
            dotted=IntegerField(column_name="a.b", constraints=[SQL("DEFAULT 1")]),
            node=IntegerField(index=True),
            select=CharField(9, unique=True),
        ),
    ),
    Shape(
        "CHECK constraints without a name",
        with_meta(
            {"constraints": [Check("a < 9"), SQL("CHECK (a <> b)")]},
            a=IntegerField(constraints=[Check("a > 0")]),
            b=IntegerField(null=True),
        ),
    ),
    Shape(
        "DEFAULT and CHECK of one field",
        one(
            a=IntegerField(constraints=[SQL("DEFAULT 5 CHECK (a > 0)")]),
            b=CharField(9, constraints=[SQL("DEFAULT 'x'"), Check("b <> 'a, b (c)'")]),
            c=IntegerField(constraints=[SQL("DEFAULT 1"), Check("c IN (1, 2)")]),
        ),
    ),
    Shape("DEFAULT NULL", one(a=IntegerField(null=True, **default("NULL")))),
    Shape(
        "DEFAULT CURRENT_TIMESTAMP",
        one(at=DateTimeField(**default("CURRENT_TIMESTAMP")), n=IntegerField()),
    ),
    Shape(
        "DEFAULT CURRENT_DATE",
        one(on=DateField(**default("CURRENT_DATE")), n=IntegerField()),
        engines=("sqlite", "postgresql"),
    ),
    Shape(
        "DEFAULT of an expression",
        one(
            two=IntegerField(**default("(1 + 1)")),
            word=CharField(40, **default("(lower('ABC'))")),
            at=DateTimeField(null=True, **default("(CURRENT_TIMESTAMP)")),
        ),
    ),
    Shape(
        "DEFAULT of a random number",
        one(n=IntegerField(**default("(abs(random()) % 100)"))),
        engines=("sqlite",),
    ),
    Shape(
        "DEFAULT of a function of PostgreSQL",
        one(
            token=CharField(40, **default("md5(random()::text)")),
            key=UUIDField(**default("gen_random_uuid()")),
            at=DateTimeField(**default("now()")),
            share=DoubleField(**default("(random() * 2)")),
        ),
        engines=("postgresql",),
    ),
    Shape(
        "DEFAULT of a function of MariaDB",
        one(
            token=CharField(40, **default("(uuid())")),
            at=DateTimeField(**default("NOW()")),
            share=DoubleField(**default("(rand() * 2)")),
        ),
        engines=("mysql",),
    ),
    Shape(
        "a number as the DEFAULT of a BooleanField",
        one(truth=BooleanField(**default("0")), other=BooleanField(**default("1"))),
        engines=("sqlite", "mysql"),
    ),
    Shape(
        "no primary key",
        with_meta(
            {"primary_key": False, "indexes": ((("a",), True), (("b",), False))},
            a=IntegerField(constraints=[SQL("DEFAULT 1")]),
            b=CharField(9, null=True),
            c=IntegerField(null=True, constraints=[Check("c > 0")]),
        ),
    ),
    Shape(
        "nothing that is unique",
        with_meta({"primary_key": False}, a=IntegerField(), b=TextField(null=True)),
    ),
    Shape(
        "NULL in the primary key",
        one(code=CharField(9, primary_key=True, null=True), n=IntegerField()),
    ),
    Shape(
        "NULL in a number that is the primary key",
        one(number=IntegerField(primary_key=True, null=True), n=IntegerField()),
    ),
    Shape(
        "NULL in a primary key of two columns",
        with_meta(
            {"primary_key": CompositeKey("a", "b")},
            a=IntegerField(null=True),
            b=CharField(9),
        ),
    ),
    Shape(
        "without rowid",
        with_meta(
            {"without_rowid": True},
            code=CharField(9, primary_key=True),
            n=IntegerField(index=True, constraints=[SQL("DEFAULT 3")]),
            up=ForeignKeyField("self", null=True, on_delete="CASCADE"),
        ),
        engines=("sqlite",),
    ),
    Shape(
        "without rowid, with a number as the key",
        with_meta(
            {"without_rowid": True},
            number=IntegerField(primary_key=True),
            word=CharField(9, unique=True),
        ),
        engines=("sqlite",),
    ),
    Shape(
        "strict",
        with_meta(
            {"strict_tables": True},
            n=IntegerField(constraints=[Check("n > 0"), SQL("DEFAULT 3")]),
            word=TextField(null=True, index=True),
            share=FloatField(unique=True),
            data=BlobField(null=True),
        ),
        engines=("sqlite",),
    ),
    Shape(
        "strict and without rowid",
        with_meta(
            {
                "strict_tables": True,
                "without_rowid": True,
                "primary_key": CompositeKey("a", "b"),
            },
            a=IntegerField(),
            b=TextField(),
            c=AnyField(null=True),
        ),
        engines=("sqlite",),
    ),
    Shape(
        "a schema of its own",
        lambda: _parent_and_child(schema='The "Shop"'),
        engines=("postgresql",),
    ),
    Shape(
        "a collation of SQLite",
        one(
            word=CharField(9, collation="NOCASE", unique=True, **default("'x'")),
            other=TextField(collation="RTRIM", null=True, index=True),
        ),
        engines=("sqlite",),
    ),
    Shape(
        "a collation of PostgreSQL",
        one(
            word=CharField(9, collation='"C"', unique=True, **default("'x'")),
            other=TextField(collation='"POSIX"', null=True, index=True),
        ),
        engines=("postgresql",),
    ),
    Shape(
        "a collation of MariaDB",
        one(
            word=CharField(9, collation="utf8mb4_bin", unique=True, **default("'x'")),
            other=TextField(collation="utf8mb4_unicode_ci", null=True),
        ),
        engines=("mysql",),
    ),
    Shape(
        "JSON and a column that may be NULL",
        one(data=JSONField(), other=JSONField(null=True), id=AutoField()),
    ),
]
