"""What a table has and its model does not must not stop a run that was announced."""

import peewee
import pytest
from states import ENGINES, WORDS

import db
from db.fields import Backfill
from migrations.errors import ChangeRefused
from migrations.phase import Phase

pytestmark = pytest.mark.drivers

# More rows than any rehearsal copies; the last one is the one that conflicts.
MANY = 40


def phase_of(**fields):
    meta = type("Meta", (), {"table_name": "item"})
    item = type("Item", (peewee.Model,), {**fields, "Meta": meta})
    return Phase("Items", requires={}, manages=[item])


PRICE = phase_of(value=peewee.DecimalField(10, 2, null=True))


@pytest.fixture(params=ENGINES)
def item(world, request):
    """Return a function that creates a table with undeclared items and rows."""

    def make(*items, rows, before=()):
        made = world(request.param)
        made.clear()
        columns = ", ".join([f"id {WORDS[request.param]['id']}", *items])
        made.execute(f"CREATE TABLE item ({columns})", *before)
        made.execute(f"INSERT INTO item (value) VALUES {', '.join(rows)}")
        return made

    return make


def refusal(made, phase):
    """Return the message of a refusal by check and run."""
    before = made.dump()
    with pytest.raises(ChangeRefused) as checked:
        phase.check(db.connect(made.url))
    with pytest.raises(ChangeRefused) as refused:
        phase.run(db.connect(made.url))
    assert str(refused.value) == str(checked.value)
    assert made.dump() == before
    return str(refused.value)


def test_a_check_on_a_converted_column_is_asked_of_every_row(item):
    made = item(
        "value VARCHAR(20)",
        "CONSTRAINT own CHECK (value <> '7.00')",
        rows=[*["('1')"] * (MANY - 1), "('7')"],
    )
    message = refusal(made, PRICE)
    assert "item: rows that violate the CHECK own once they are converted: 1 row " in (
        message
    )
    assert "(id 40); see: SELECT * FROM " in message


# On PostgreSQL and MySQL no row violates a valid CHECK.
@pytest.mark.mariadb_only
@pytest.mark.parametrize("item", ["sqlite", "mysql"], indirect=True)
def test_rows_that_violate_a_check_already_are_refused_before_they_are_copied(item):
    made = item(
        "value VARCHAR(20)",
        "number INTEGER",
        "CONSTRAINT own CHECK (number > 0)",
        rows=["('1')"],
    )
    ignore, enforce = {
        "sqlite": ("PRAGMA ignore_check_constraints = 1", "SELECT 1"),
        "mysql": ("SET check_constraint_checks = 0", "SET check_constraint_checks = 1"),
    }[made.engine]
    made.execute(ignore, "UPDATE item SET number = -1", enforce)
    assert "rows that violate the CHECK own: 1 row (id 1); see: SELECT * FROM " in (
        refusal(made, PRICE)
    )


@pytest.mark.parametrize(
    ("items", "before"),
    [
        (["CONSTRAINT own UNIQUE (value)"], []),
        (["UNIQUE (value)"], []),
        ([], ["CREATE UNIQUE INDEX own ON item (value DESC)"]),
    ],
    ids=["constraint", "constraint without a name", "descending index"],
)
def test_undeclared_unique_values_that_become_equal_are_refused(item, items, before):
    made = item(
        "value VARCHAR(20)",
        *items,
        before=before,
        rows=[*[f"('{number}')" for number in range(MANY - 1)], "('1.0')"],
    )
    message = refusal(made, PRICE)
    assert "rows that become equal once they are converted or filled: 2 rows (" in (
        message
    )
    assert "item.: " not in message


# MariaDB and MySQL have no partial indexes.
@pytest.mark.parametrize("item", ["sqlite", "postgresql"], indirect=True)
def test_filled_rows_that_come_into_a_unique_partial_index_are_refused(item):
    made = item(
        "value INTEGER",
        "kind INTEGER DEFAULT 7",
        before=["CREATE UNIQUE INDEX own ON item (kind) WHERE value IS NOT NULL"],
        rows=["(1)", "(NULL)"],
    )
    value = peewee.IntegerField(constraints=[Backfill("2")])
    message = refusal(made, phase_of(value=value))
    assert "item.own: rows that become equal once they are converted or filled: " in (
        message
    )
