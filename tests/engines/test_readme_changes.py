"""Each row of the README's table "Change an existing table" is true on every engine."""

from typing import NamedTuple

import peewee
import pytest
from peewee import SQL, BigIntegerField, CharField, IntegerField
from readme import code_in, table
from states import ENGINES

import db
from db.fields import AutoIncrementField, Backfill, RenamedFrom, UniqueConstraint
from migrations.errors import ChangeRefused
from migrations.phase import Phase

ROWS = (
    "INSERT INTO suppliers (country, notes, items) VALUES ('Norway', 'a', 5)",
    "INSERT INTO suppliers (country, notes, items) VALUES ('Norway', NULL, 7)",
)
MIGRATED, UNCHANGED, REFUSED = "migrated", "up_to_date", "refused"


class Region(peewee.Model):
    name = CharField(20, primary_key=True)

    class Meta:
        table_name = "regions"


def supplier(*constraints, table_name="suppliers", indexes=(), **fields):
    """Return a model; None leaves out one of its fields."""
    known = {
        "id": AutoIncrementField(),
        "country": CharField(40),
        "notes": CharField(40, null=True),
        "items": IntegerField(null=True),
        **fields,
    }
    given = {name: field for name, field in known.items() if field is not None}
    meta = type(
        "Meta", (), {"table_name": table_name, "constraints": list(constraints)}
    )
    model = type("Supplier", (peewee.Model,), {**given, "Meta": meta})
    for name, field in indexes:
        model.add_index(getattr(model, field), name=name)
    return model


def check(name, condition):
    return SQL(f"CONSTRAINT {name} CHECK ({condition})")


def with_default(value):
    return CharField(40, constraints=[SQL(f"DEFAULT '{value}'")])


def region(on_delete):
    return peewee.ForeignKeyField(Region, null=True, on_delete=on_delete)


class Case(NamedTuple):
    """A change of the model, and what a run does."""

    after: type
    outcome: str
    says: str = ""  # a part of a message
    before: type = supplier()
    rows: tuple = ROWS
    drops: tuple = ()
    force: bool = False
    on_sqlite: str = ""  # the outcome there, if it is another one


# By the first cell of a row of the README's table: cases that it covers.
CASES = {
    "a new column with `null=True` or a DEFAULT": [
        Case(supplier(code=CharField(10, null=True)), MIGRATED),
        Case(supplier(code=with_default("x")), MIGRATED),
    ],
    """a new column with `constraints=[Backfill("'none'")]`""": [
        Case(
            supplier(code=CharField(10, constraints=[Backfill("'none'")])), MIGRATED
        ),
        Case(
            supplier(code=CharField(10, null=True, constraints=[Backfill("notes")])),
            MIGRATED,
        ),
        Case(
            supplier(code=CharField(10, constraints=[Backfill("notes")])), REFUSED
        ),
    ],
    "a new NOT NULL column without a DEFAULT": [
        Case(supplier(code=CharField(10)), REFUSED, "2 rows would have no value"),
        Case(supplier(code=CharField(10)), MIGRATED, rows=()),
    ],
    'a renamed column with `constraints=[RenamedFrom("country")]`': [
        Case(
            supplier(
                country=None,
                land=CharField(40, constraints=[RenamedFrom("country")]),
            ), MIGRATED, "processes of the old release fail from then on",
        ),
    ],
    'a renamed table with `RenamedFrom("suppliers")` in `Meta.constraints`': [
        Case(supplier(RenamedFrom("suppliers"), table_name="vendors"), MIGRATED),
    ],
    "a renamed column without that": [
        Case(
            supplier(notes=None, remarks=CharField(40, null=True)), MIGRATED,
            "if it was renamed, add to the constraints of remarks",
        ),
        Case(supplier(country=None, land=CharField(40)), REFUSED),
    ],
    "a removed column": [
        Case(supplier(notes=None), UNCHANGED, "is not in the model"),
        Case(supplier(country=None), UNCHANGED, "inserts will fail"),
    ],
    "`null=True` removed": [
        Case(supplier(notes=CharField(40)), REFUSED, "1 row (id 2)"),
        Case(supplier(items=IntegerField()), MIGRATED),
    ],
    """`null=True` removed, and `Backfill("'none'")` added""": [
        Case(
            supplier(notes=CharField(40, constraints=[Backfill("'none'")])), MIGRATED
        ),
    ],
    "`null=True` added": [
        Case(supplier(country=CharField(40, null=True)), MIGRATED),
    ],
    "a larger type (`CharField(80)`, `BigIntegerField`)": [
        Case(supplier(country=CharField(80)), MIGRATED, on_sqlite=UNCHANGED),
        Case(supplier(items=BigIntegerField(null=True)), MIGRATED, on_sqlite=UNCHANGED),
    ],
    "a smaller type (`CharField(5)`)": [
        Case(supplier(country=CharField(5)), UNCHANGED),
    ],
    "another type (`IntegerField`)": [
        Case(
            supplier(country=IntegerField()), REFUSED,
            "values that do not convert without loss",
        ),
        Case(supplier(items=CharField(20, null=True)), MIGRATED),
    ],
    "a new CHECK, foreign key, index or `UniqueConstraint`": [
        Case(supplier(check("ck_items", "items > 0")), MIGRATED),
        Case(supplier(check("ck_items", "items > 5")), REFUSED),
        Case(
            supplier(region=region("CASCADE")), MIGRATED,
            before=supplier(region_id=CharField(20, null=True)),
        ),
        Case(
            supplier(region=region("CASCADE")), REFUSED,
            before=supplier(region_id=CharField(20, null=True)),
            rows=(
                "INSERT INTO suppliers (country, region_id) VALUES ('Norway', 'north')",
            ),
        ),
        Case(supplier(indexes=[("ix_country", "country")]), MIGRATED),
        Case(supplier(UniqueConstraint("unique_items", "items")), MIGRATED),
        Case(supplier(UniqueConstraint("unique_country", "country")), REFUSED),
    ],
    "a DEFAULT of a column that has none": [
        Case(
            supplier(notes=CharField(40, null=True, constraints=[SQL("DEFAULT 'x'")])),
            MIGRATED,
        ),
        Case(supplier(country=with_default("x")), MIGRATED),
    ],
    "another condition of a CHECK": [
        Case(
            supplier(check("ck", "items > 1")), MIGRATED,
            before=supplier(check("ck", "items > 0")),
        ),
        Case(
            supplier(check("ck_2", "items > 1")), MIGRATED,
            before=supplier(check("ck", "items > 0")),
        ),
    ],
    'a removed column in `drops=["suppliers.notes"]`': [
        Case(
            supplier(notes=None), UNCHANGED, "so the column is not dropped",
            drops=("suppliers.notes",),
        ),
        Case(
            supplier(notes=None), MIGRATED, drops=("suppliers.notes",),
            rows=("INSERT INTO suppliers (country) VALUES ('Norway')",),
        ),
    ],
    "the same with `--force` (`force=True`)": [
        Case(
            supplier(notes=None), MIGRATED, drops=("suppliers.notes",), force=True,
        ),
    ],
    'a removed CHECK, index or foreign key in `drops=["suppliers.ck"]`': [
        Case(
            supplier(), MIGRATED, drops=("suppliers.ck",),
            before=supplier(check("ck", "items > 0")),
        ),
        Case(
            supplier(), MIGRATED, drops=("suppliers.ix_country",),
            before=supplier(indexes=[("ix_country", "country")]),
        ),
    ],
    "a removed CHECK, DEFAULT, index or foreign key": [
        Case(
            supplier(), UNCHANGED, "is not in the model",
            before=supplier(check("ck", "items > 0")),
        ),
        Case(
            supplier(), UNCHANGED, "is not in the model",
            before=supplier(country=with_default("x")),
        ),
        Case(
            supplier(), UNCHANGED, "is not in the model",
            before=supplier(indexes=[("ix_country", "country")]),
        ),
        Case(
            supplier(region_id=CharField(20, null=True)), UNCHANGED,
            before=supplier(region=region("CASCADE")),
        ),
    ],
    "a removed `UniqueConstraint`": [
        Case(
            supplier(), UNCHANGED, "rejects rows that the model allows",
            before=supplier(UniqueConstraint("unique_items", "items")),
        ),
    ],
    "a renamed index": [
        Case(
            supplier(indexes=[("ix_land", "country")]), UNCHANGED,
            "is equivalent and is accepted in its place",
            before=supplier(indexes=[("ix_country", "country")]),
        ),
    ],
    "another DEFAULT, other columns of an index, another ON DELETE": [
        Case(
            supplier(country=with_default("y")), MIGRATED,
            before=supplier(country=with_default("x")),
        ),
        Case(
            supplier(indexes=[("ix", "items")]), MIGRATED,
            before=supplier(indexes=[("ix", "country")]),
        ),
        Case(
            supplier(region=region("SET NULL")), MIGRATED,
            before=supplier(region=region("CASCADE")),
        ),
    ],
}  # fmt: skip
README = dict(table("## Change an existing table"))
BY_NAME = {
    f"{change.replace(' ', '_')}-{number}": case
    for change, cases in CASES.items()
    for number, case in enumerate(cases, 1)
}


def make(world, case):
    """Create the table before its change, with rows; return the unopened database."""
    database = db.connect(world.url)
    models = [Region, case.before]
    with database.connection_context(), database.bind_ctx(models):
        database.create_tables(models)
        for row in case.rows:
            database.execute_sql(row)
    return database


def run(database, case):
    """Return what a run does, and what it and a check before it report."""
    phase = Phase(
        "Suppliers", requires={Region: ()}, manages=[case.after], drops=case.drops
    )
    try:
        checked = phase.check(database, force=case.force)
        report = phase.run(
            database, smoke_test=False, statistics=False, force=case.force
        )
    except ChangeRefused as error:
        return REFUSED, str(error)
    differences = (*checked.differences, *report.differences)
    return report.status, "; ".join(each.message for each in differences)


@pytest.mark.drivers
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", BY_NAME.values(), ids=BY_NAME)
def test_run_does_what_the_readme_says(world, engine, case):
    database = make(world(engine), case)
    outcome, text = run(database, case)
    expected = case.outcome
    if engine == "sqlite" and case.on_sqlite:
        expected = case.on_sqlite
    assert outcome == expected, text
    assert case.says in text


def test_every_row_of_the_readme_has_a_case():
    assert list(README) == list(CASES)


@pytest.mark.parametrize("change", CASES)
def test_messages_that_the_readme_quotes_have_a_case(change):
    quoted = [text for text in code_in(README[change]) if " " in text]
    says = [case.says for case in CASES[change] if case.says]
    assert list(dict.fromkeys(says)) == quoted


@pytest.mark.drivers
@pytest.mark.parametrize("engine", ENGINES)
def test_table_renamed_by_hand_is_up_to_date(world, engine):
    """A column with its index and UNIQUE, and the table."""
    unique, index = (
        UniqueConstraint("unique_country", "country"),
        ("ix_country", "country"),
    )
    database = make(
        world(engine), Case(None, "", before=supplier(unique, indexes=[index]), rows=())
    )
    with database.connection_context():
        database.execute_sql("ALTER TABLE suppliers RENAME COLUMN country TO land")
        database.execute_sql("ALTER TABLE suppliers RENAME TO vendors")
    renamed = supplier(
        UniqueConstraint("unique_country", "land"), table_name="vendors",
        indexes=[("ix_country", "land")],
        country=None, land=CharField(40),
    )  # fmt: skip
    assert run(database, Case(renamed, UNCHANGED)) == (UNCHANGED, "")
