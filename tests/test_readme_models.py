"""The README's table "Define your tables" is true.

A model that it calls supported makes a phase; one that it calls unsupported is refused.
"""

import peewee
import pytest
from peewee import SQL, CharField, ForeignKeyField, IntegerField, TextField
from playhouse.postgres_ext import ArrayField, BinaryJSONField
from readme import table

from db.fields import (
    AutoIncrementField,
    DefaultUtcNow,
    FloatField,
    JSONField,
    UniqueConstraint,
)
from migrations.errors import UnsupportedModel
from migrations.phase import Phase


class Region(peewee.Model):
    class Meta:
        table_name = "regions"


def model(indexes=(), meta=None, **fields):
    made = type(
        "Supplier",
        (peewee.Model,),
        {
            **fields,
            "Meta": type("Meta", (), {"table_name": "suppliers", **(meta or {})}),
        },
    )
    for arguments, options in indexes:
        made.add_index(
            *(getattr(made, name) for name in arguments), name="ix", **options
        )
    return made


def field(made):
    return model(item=made)


def to_region(**options):
    return field(ForeignKeyField(Region, **options))


def constraint(made):
    return model(code=CharField(9), number=IntegerField(), meta={"constraints": [made]})


def index(*names, **options):
    return model(
        [(names, options)], code=CharField(9), number=IntegerField(), text=TextField()
    )


def circle():
    first = model()
    second = type(
        "Second", (peewee.Model,), {"first": ForeignKeyField(first, null=True)}
    )
    first._meta.add_field("second", ForeignKeyField(second, null=True))
    return first, second


NO_KEY = {"primary_key": False}
TWO_COLUMNS = {"primary_key": peewee.CompositeKey("code", "number")}
DESCENDING = peewee.Index("ix", peewee.Table("suppliers"), [SQL("code DESC")])
HASHED = peewee.Index("ix", peewee.Table("suppliers"), [SQL("code")], using="hash")
RAW = SQL("CREATE INDEX ix ON suppliers (lower(code))")
# By the first cell of a row of the README's table.
SUPPORTED = {
    "fields": [field(each) for each in (
        CharField(9), peewee.FixedCharField(9), TextField(), IntegerField(),
        peewee.BigIntegerField(), peewee.SmallIntegerField(),
        peewee.DecimalField(9, 2), peewee.FloatField(), peewee.DoubleField(),
        peewee.DateField(), peewee.TimeField(), peewee.DateTimeField(),
        peewee.BooleanField(), peewee.BlobField(), peewee.UUIDField(),
        peewee.BinaryUUIDField(), JSONField(), FloatField(),
        BinaryJSONField(index=False),
        CharField(None),
    )],
    "primary key": [
        model(), field(AutoIncrementField()), field(CharField(9, primary_key=True)),
        model(code=CharField(9), number=IntegerField(), meta=TWO_COLUMNS),
        model(code=CharField(9), meta=NO_KEY),
    ],
    "foreign keys": [
        *(
            to_region(on_delete=action, null=True)
            for action in ("CASCADE", "SET NULL", "RESTRICT", "NO ACTION")
        ),
        to_region(on_delete="SET DEFAULT"), to_region(deferrable="INITIALLY DEFERRED"),
        field(ForeignKeyField("self", null=True)), circle(),
    ],
    "indexes": [
        field(CharField(9, index=True)), field(CharField(9, unique=True)),
        index("code", "number"),
        model(code=CharField(9), meta={"indexes": ((("code",), True),)}),
        index("code", where=SQL("number > 0")),
        model(code=CharField(9), meta={"indexes": [DESCENDING]}),
        index("text"), field(TextField(unique=True)),
        model(code=CharField(9), meta={"indexes": [RAW]}),
    ],
    "`Meta.constraints`": [
        constraint(SQL("FOREIGN KEY (number) REFERENCES suppliers (id)")),
        constraint(UniqueConstraint("unique_code", "code")),
        constraint(SQL("CONSTRAINT name CHECK (number > 0)")),
        constraint(SQL("CHECK (number > 0)")), constraint(peewee.Check("number > 0")),
        constraint(SQL("UNIQUE (number)")),
        constraint(SQL("CONSTRAINT u UNIQUE (code, number)")),
        model(code=CharField(9), meta={
            "constraints": [SQL("PRIMARY KEY (code)")], **NO_KEY
        }),
    ],
    "`constraints` of a field": [
        field(IntegerField(constraints=[peewee.Check("item > 0")])),
        field(IntegerField(constraints=[SQL("UNIQUE")])),
        field(IntegerField(constraints=[SQL("REFERENCES suppliers (id) NOT NULL")])),
        field(CharField(9, constraints=[SQL("COLLATE NOCASE")])),
        field(IntegerField(constraints=[SQL("DEFAULT 0")])),
        field(peewee.DateTimeField(constraints=[DefaultUtcNow()])),
        field(IntegerField(constraints=[SQL("DEFAULT (1 + 1)")])),
        field(peewee.DateTimeField(constraints=[SQL("DEFAULT CURRENT_TIMESTAMP")])),
        field(IntegerField(null=True, constraints=[SQL("DEFAULT NULL")])),
    ],
    "names, options": [
        model(), model(meta={"table_name": "a" * 63}),
        model(meta={"table_name": 'The "best" suppliers, 100%'}),
        model(code=CharField(9, primary_key=True), meta={"without_rowid": True}),
        field(CharField(9, column_name="a_1$")),
    ],
}  # fmt: skip
UNSUPPORTED = {
    "fields": [
        field(each) for each in (
            ArrayField(CharField, {"max_length": 9}, index=False),
        )
    ],
    "primary key": [field(IntegerField(primary_key=True, sequence="numbers"))],
    "foreign keys": [
        to_region(on_delete="explode"),
    ],
    "indexes": [
        model(code=CharField(9), meta={"indexes": [HASHED]}),
    ],
    "`Meta.constraints`": [
        constraint(SQL("UNIQUE (number DESC)")),
        constraint(SQL("EXCLUDE USING gist (number WITH =)")),
    ],
    "`constraints` of a field": [
        field(IntegerField(constraints=[SQL("DEFAULT 1 ON CONFLICT FAIL")]))
    ],
    "names, options": [
        model(meta={"schema": "other"}),
        model(meta={"table_settings": "ENGINE=InnoDB"}),
        model(meta={"table_settings": "PARTITION BY RANGE (id)"}),
    ],
}  # fmt: skip


def numbered(cases):
    """Return the models for `parametrize`; the id names the row of the table."""
    return [
        pytest.param(made, id=f"{row.strip('`').replace(' ', '_')}-{number}")
        for row, several in cases.items() for number, made in enumerate(several, 1)
    ]  # fmt: skip


def phase_of(made):
    return Phase(
        "Suppliers",
        requires={Region: ()},
        manages=made if isinstance(made, tuple) else [made],
    )


@pytest.mark.parametrize("made", numbered(SUPPORTED))
def test_model_that_the_readme_calls_supported_makes_a_phase(made):
    database = peewee.SqliteDatabase(":memory:")
    with database.connection_context():
        with database.bind_ctx([Region]):
            Region.create_table()
        assert phase_of(made).run(database).status == "migrated"


@pytest.mark.parametrize("made", numbered(UNSUPPORTED))
def test_model_that_the_readme_calls_unsupported_is_refused(made):
    database = peewee.SqliteDatabase(":memory:")
    with pytest.raises(UnsupportedModel):
        phase_of(made).check(database)


def test_every_row_of_the_readme_has_models():
    rows = [row[0] for row in table("## Define your tables")]
    assert rows == list(SUPPORTED) == list(UNSUPPORTED)
