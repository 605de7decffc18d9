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

import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import (
    Date,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, mapped_column

SCHEMES = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
}


class Base(DeclarativeBase):
    pass


class Workflow(Base):
    __tablename__ = "workflows"
    workflow_id = mapped_column(String(50), primary_key=True)


class Store(Base):
    __tablename__ = "stores"
    store_id = mapped_column(String(50), primary_key=True)


class Category(Base):
    __tablename__ = "categories"
    category_id = mapped_column(String(50), primary_key=True)


class WeeklyActuals(Base):
    """The specified model, in SQLAlchemy."""

    __tablename__ = "weekly_actuals"
    id = mapped_column(Integer, primary_key=True, autoincrement=True)
    workflow_id = mapped_column(
        String(50),
        ForeignKey("workflows.workflow_id", ondelete="CASCADE"),
        nullable=False,
    )
    week_number = mapped_column(Integer, nullable=False)
    week_start_date = mapped_column(Date, nullable=False)
    week_end_date = mapped_column(Date, nullable=False)
    store_id = mapped_column(
        String(50), ForeignKey("stores.store_id", ondelete="CASCADE"), nullable=False
    )
    category_id = mapped_column(
        String(50),
        ForeignKey("categories.category_id", ondelete="CASCADE"),
        nullable=False,
    )
    actual_units_sold = mapped_column(Integer, nullable=False)
    forecast_units_sold = mapped_column(Integer)
    variance_pct = mapped_column(Float)
    uploaded_at = mapped_column(
        DateTime, nullable=False, default=datetime.datetime.utcnow
    )
    __table_args__ = (
        UniqueConstraint(
            "workflow_id", "week_number", "store_id", name="unique_workflow_week_store"
        ),
        Index("idx_weekly_actuals_workflow", "workflow_id", "week_number"),
        Index("idx_weekly_actuals_store", "store_id"),
        Index("idx_weekly_actuals_date", "week_start_date"),
        # As the application's tables, for the foreign keys.
        {"mysql_charset": "latin1"},
    )


TABLE = WeeklyActuals.__table__


@pytest.fixture
def connected():
    """Return a function that opens a connection of SQLAlchemy to a database."""
    engines = []

    def connect(world):
        scheme, _, rest = world.url.partition("://")
        engines.append(sqlalchemy.create_engine(f"{SCHEMES[world.engine]}://{rest}"))
        return engines[-1].connect()

    yield connect
    for engine in engines:
        engine.dispose()


def found_by(connection):
    """Return what autogenerate would change in the table, with types and defaults."""

    def is_of_the_table(thing, name, kind, reflected, compared):
        return getattr(thing, "table", thing).name == "weekly_actuals"

    options = {
        "compare_type": True,
        "compare_server_default": True,
        "include_object": is_of_the_table,
    }
    differences = compare_metadata(
        MigrationContext.configure(connection, opts=options), Base.metadata
    )
    return [
        each
        for group in differences
        for each in (group if isinstance(group, list) else [group])
    ]


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
def test_alembic_finds_at_most_the_default_different(world, connected, engine, state):
    # SQLAlchemy distinguishes DATETIME and TIMESTAMP there.
    if engine == "sqlite" and state.items:
        state = dataclasses.replace(
            state, items={**state.items, "uploaded_at": "uploaded_at DATETIME NOT NULL"}
        )
    made = world(engine).make(state)
    phase_4_5.run(db.connect(made.url))
    with connected(made) as connection:
        found = [(each[0], each[3]) for each in found_by(connection)]
    if state is NOTHING:
        assert found == [("modify_default", "uploaded_at")]
    else:
        assert found == []


@pytest.mark.parametrize("engine", ENGINES)
def test_table_created_by_sqlalchemy_is_up_to_date(world, connected, engine):
    made = world(engine).make(NOTHING)
    with connected(made) as connection:
        TABLE.create(connection)
        connection.commit()
        assert found_by(connection) == []
    before = made.dump()
    report = phase_4_5.run(db.connect(made.url))
    assert (report.status, report.changes) == ("up_to_date", ())
    assert {each.severity for each in report.differences} <= {"note"}
    assert made.dump() == before


@pytest.mark.parametrize("engine", ENGINES)
def test_sqlalchemy_reads_a_number_as_it_was_written(world, connected, engine):
    made = world(engine).make(NOTHING)
    with connected(made) as connection:
        TABLE.create(connection)
        connection.execute(
            TABLE.insert().values(
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
        assert (
            connection.execute(sqlalchemy.select(TABLE.c.variance_pct)).scalar_one()
            == 0.071
        )


@pytest.mark.parametrize("engine", ENGINES)
def test_missing_index_is_found_by_alembic_and_by_a_check(world, connected, engine):
    """The tests above depend on that."""
    made = world(engine).make(COMPLETE)
    table = " ON weekly_actuals" if engine == "mysql" else ""
    made.execute(f"DROP INDEX idx_weekly_actuals_date{table}")
    with connected(made) as connection:
        assert "add_index" in {each[0] for each in found_by(connection)}
    assert phase_4_5.check(db.connect(made.url)).status == "pending"
