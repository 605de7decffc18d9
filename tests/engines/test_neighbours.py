"""SQLAlchemy and Alembic on the same table: each accepts what the other creates."""

import dataclasses
import datetime
import importlib.util

import pytest
from engines.servers import COMPLETE, NOTHING
from states import ENGINES, ORM, REPAIRED, State

import db
from migrations import phase_4_5

if not all(map(importlib.util.find_spec, ("sqlalchemy", "alembic"))):
    pytest.skip(
        "it requires SQLAlchemy and Alembic, of the extra test", allow_module_level=True
    )


@pytest.fixture
def alchemy():
    """The module with the model of SQLAlchemy, whose import takes long."""
    from engines import sqlalchemy_model

    return sqlalchemy_model


SQLALCHEMY = {
    **ORM,
    "variance_pct": "variance_pct FLOAT",
    "uploaded_at": "uploaded_at {datetime} NOT NULL",
}
SERVERS = ENGINES[1:]  # on SQLite, these differences do not exist
STATES = [
    NOTHING,
    State("SQLAlchemy's", REPAIRED, items=SQLALCHEMY),
    State(
        "SQLAlchemy's, half of it missing",
        REPAIRED,
        items={**SQLALCHEMY, "store": None},
        without=("idx_weekly_actuals_store", "idx_weekly_actuals_date"),
    ),
    State(
        "SQLAlchemy's, without their constraint",
        REPAIRED,
        items={**SQLALCHEMY, "unique": None},
        engines=SERVERS,
    ),
    State(
        "SQLAlchemy's, with wrong types and nullability",
        REPAIRED,
        items={
            **SQLALCHEMY,
            "week_number": "week_number INTEGER",
            "actual_units_sold": "actual_units_sold {string} NOT NULL",
        },
    ),
    State(
        "SQLAlchemy's, with a narrow key",
        REPAIRED,
        items={**SQLALCHEMY, "store": None, "store_id": "store_id VARCHAR(20)"},
        engines=SERVERS,
    ),
    State(
        "SQLAlchemy's, with a lost column",
        REPAIRED,
        items={**SQLALCHEMY, "variance_pct": None},
    ),
]


@pytest.mark.parametrize(
    ("engine", "state"),
    [(engine, state) for state in STATES for engine in state.engines],
    ids=lambda part: getattr(part, "name", part),
)
def test_alembic_finds_at_most_the_default_different(world, alchemy, engine, state):
    # SQLAlchemy distinguishes DATETIME and TIMESTAMP there.
    if engine == "sqlite" and state.items:
        state = dataclasses.replace(
            state, items={**state.items, "uploaded_at": "uploaded_at DATETIME NOT NULL"}
        )
    made = world(engine).make(state)
    phase_4_5.run(db.connect(made.url))
    with alchemy.connected(made) as connection:
        found = [(each[0], each[3]) for each in alchemy.found_by(connection)]
    if state is NOTHING:
        assert found == [("modify_default", "uploaded_at")]
    else:
        assert found == []


@pytest.mark.parametrize("engine", ENGINES)
def test_table_created_by_sqlalchemy_is_up_to_date(world, alchemy, engine):
    made = world(engine).make(NOTHING)
    with alchemy.connected(made) as connection:
        alchemy.TABLE.create(connection)
        connection.commit()
        assert alchemy.found_by(connection) == []
    before = made.dump()
    report = phase_4_5.run(db.connect(made.url))
    assert (report.status, report.changes) == ("up_to_date", ())
    assert {each.severity for each in report.differences} <= {"note"}
    assert made.dump() == before


@pytest.mark.parametrize("engine", ENGINES)
def test_sqlalchemy_reads_a_number_as_it_was_written(world, alchemy, engine):
    made = world(engine).make(NOTHING)
    with alchemy.connected(made) as connection:
        alchemy.TABLE.create(connection)
        connection.execute(
            alchemy.TABLE.insert().values(
                workflow_id="wf_1",
                week_number=1,
                week_start_date=datetime.date(2025, 1, 6),
                week_end_date=datetime.date(2025, 1, 12),
                store_id="S001",
                category_id="dresses",
                actual_units_sold=7,
                variance_pct=0.071,
            )
        )
        connection.commit()
        phase_4_5.run(db.connect(made.url))
        assert alchemy.stored_variance(connection) == 0.071


@pytest.mark.parametrize("engine", ENGINES)
def test_missing_index_is_found_by_alembic_and_by_a_check(world, alchemy, engine):
    """The tests above depend on that."""
    made = world(engine).make(COMPLETE)
    table = " ON weekly_actuals" if engine == "mysql" else ""
    made.execute(f"DROP INDEX idx_weekly_actuals_date{table}")
    with alchemy.connected(made) as connection:
        assert "add_index" in {each[0] for each in alchemy.found_by(connection)}
    assert phase_4_5.check(db.connect(made.url)).status == "pending"
