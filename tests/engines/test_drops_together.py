"""Columns, keys and constraints that belong together, dropped in one run."""

from typing import NamedTuple

import peewee
import pytest
from oracle import created_by_peewee, differing_definitions
from peewee import SQL, CharField, ForeignKeyField, IntegerField
from states import ENGINES

import db
from db.fields import AutoIncrementField, UniqueConstraint
from migrations.errors import ChangeRefused
from migrations.phase import Phase

on_every_engine = pytest.mark.parametrize("engine", ENGINES)
pytestmark = pytest.mark.drivers


class Region(peewee.Model):
    id = AutoIncrementField()

    class Meta:
        table_name = "regions"


class RegionWithCode(peewee.Model):
    id = AutoIncrementField()
    code = CharField(9, null=True)

    class Meta:
        table_name = "regions"
        constraints = [UniqueConstraint("unique_code", "code")]


def thing(*constraints, indexes=(), **fields):
    """Return the model of a table; with `up`, that refers to `code` of the table."""
    meta = {"table_name": "things", "constraints": list(constraints)}
    members = {"id": AutoIncrementField(), **fields, "Meta": type("Meta", (), meta)}
    model = type("Thing", (peewee.Model,), members)
    for name, *names in indexes:
        columns = [model._meta.columns[each] for each in names]
        model.add_index(*columns, name=name)
    return model


def text():
    return CharField(9, null=True)


def referring(**fields):
    """Return a model whose column `up` refers to its column `code`."""
    model = thing(UniqueConstraint("unique_code", "code"), code=text(), **fields)
    key = ForeignKeyField(
        model, field="code", null=True, column_name="up", index=False,
        constraint_name="fk_up",
    )  # fmt: skip
    model._meta.add_field("up", key)
    return model


def in_a_region(**options):
    return ForeignKeyField(
        RegionWithCode, field="code", null=True, column_name="region", index=False,
        constraint_name="fk_region", **options,
    )  # fmt: skip


class Case(NamedTuple):
    subject: str
    before: list
    drops: list
    after: list


CASES = [
    Case("a self-reference", [referring()], ["code", "up"], [thing()]),
    Case(
        "a self-reference and its key",
        [referring()],
        ["fk_up", "code", "unique_code"],
        [thing(up=text())],
    ),
    Case(
        "a column that refers to a key, and the key",
        [referring()],
        ["unique_code", "up"],
        [thing(code=text())],
    ),
    Case(
        "columns of two tables",
        [RegionWithCode, thing(region=in_a_region())],
        ["regions.code", "region"],
        [Region, thing()],
    ),
    Case(
        "a foreign key, its column and its index",
        [
            RegionWithCode,
            thing(region=in_a_region(), indexes=[("ix_region", "region")]),
        ],
        ["fk_region", "region", "ix_region"],
        [RegionWithCode, thing()],
    ),
    Case(
        "two columns of an index, and the index",
        [thing(a=text(), b=text(), indexes=[("ix_both", "a", "b")])],
        ["a", "ix_both", "b"],
        [thing()],
    ),
    Case(
        "a column, and an index of two",
        [thing(a=text(), b=text(), indexes=[("ix_both", "a", "b")])],
        ["a", "ix_both"],
        [thing(b=text())],
    ),
    Case(
        "two columns of a UNIQUE constraint",
        [thing(UniqueConstraint("unique_both", "a", "b"), a=text(), b=text())],
        ["a", "b"],
        [thing()],
    ),
    Case(
        "a column, and a UNIQUE constraint of two",
        [thing(UniqueConstraint("unique_both", "a", "b"), a=text(), b=text())],
        ["a", "unique_both"],
        [thing(b=text())],
    ),
    Case(
        "two columns of a CHECK, and the CHECK",
        [
            thing(
                SQL("CONSTRAINT check_both CHECK (a < b)"),
                a=IntegerField(null=True),
                b=IntegerField(null=True),
            )
        ],
        ["a", "check_both", "b"],
        [thing()],
    ),
    Case(
        "two columns of a CHECK without a name",
        [
            thing(
                SQL("CHECK (a < b)"),
                a=IntegerField(null=True),
                b=IntegerField(null=True),
            )
        ],
        ["a", "b"],
        [thing()],
    ),
]


def make(world, models, rows):
    database = db.connect(world.url)
    with database.connection_context(), database.bind_ctx(models):
        database.create_tables(models)
        if rows:
            models[-1].insert().execute()
    return database


def phase_of(case, drops):
    entries = [name if "." in name else f"things.{name}" for name in drops]
    return Phase("Things", requires={}, manages=case.after, drops=entries)


@on_every_engine
@pytest.mark.parametrize("rows", [False, True], ids=["empty", "rows"])
@pytest.mark.parametrize("backwards", [False, True], ids=["as listed", "backwards"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.subject)
def test_what_belongs_together_is_dropped_in_one_run(
    world, engine, case, backwards, rows
):
    world = world(engine)
    oracle = created_by_peewee(world, case.after)
    database = make(world, case.before, rows)
    phase = phase_of(case, case.drops[::-1] if backwards else case.drops)
    planned = phase.check(database)
    report = phase.run(database)
    assert [each.sql for each in report.changes] == [
        each.sql for each in planned.changes
    ]
    tables = [model._meta.table_name for model in case.after]
    # InnoDB has made an index for a foreign key, which stays.
    assert differing_definitions(world, oracle, tables, ("things.fk_up",)) == set()
    assert phase.run(database).status == "up_to_date"


@on_every_engine
def test_an_index_that_a_foreign_key_uses_is_replaced_once(world, engine):
    """Two of them are dropped; on MariaDB and MySQL it needs one."""
    world = world(engine)
    fields = {"region": in_a_region(), "b": text()}
    indexes = [("ix_one", "region"), ("ix_two", "region", "b")]
    case = Case(
        "", [RegionWithCode, thing(indexes=indexes, **fields)], [],
        [RegionWithCode, thing(region=in_a_region(), b=text())],
    )  # fmt: skip
    database = make(world, case.before, rows=True)
    phase = phase_of(case, ["ix_one", "ix_two"])
    assert phase.run(database).status == "migrated"
    assert phase.run(database).status == "up_to_date"


@on_every_engine
def test_a_column_that_is_referred_to_is_refused_by_name(world, engine):
    world = world(engine)
    case = Case("", [referring()], [], [thing(up=text())])
    database = make(world, case.before, rows=False)
    says = "things.code has to be dropped, and the foreign key of things.up depends"
    with pytest.raises(ChangeRefused, match=says):
        phase_of(case, ["code"]).check(database)


@on_every_engine
def test_a_referring_column_that_holds_a_value_stays_with_its_key(world, engine):
    world = world(engine)
    case = Case("", [referring()], [], [thing()])
    database = make(world, case.before, rows=False)
    world.execute("INSERT INTO things (code, up) VALUES ('a', 'a')")
    phase = phase_of(case, ["code", "up"])
    assert phase.run(database).status == "up_to_date"
    assert phase.run(database, force=True).status == "migrated"


@on_every_engine
def test_a_table_that_would_keep_no_column_is_refused(world, engine):
    world = world(engine)
    meta = type("Meta", (), {"table_name": "things", "primary_key": False})

    def model(**fields):
        return type("Thing", (peewee.Model,), {**fields, "Meta": meta})

    case = Case("", [model(a=text(), b=text())], [], [model(c=text())])
    database = make(world, case.before, rows=True)
    with pytest.raises(ChangeRefused, match="found an unrelated table with that name"):
        phase_of(case, ["a", "b"]).check(database)
