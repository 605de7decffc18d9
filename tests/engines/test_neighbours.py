"""Another ORM on the same table: what it makes is complete for us, and what we make is complete for it."""

import dataclasses
import datetime
import importlib.util

import pytest
from engines.servers import COMPLETE, NOTHING
from states import ENGINES, REPAIRED, ORM, State

import db
from migrations import phase_4_5

if not all(map(importlib.util.find_spec, ("sqlalchemy", "alembic"))):
    pytest.skip("it takes SQLAlchemy and Alembic, of the extra test", allow_module_level=True)

import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Date, DateTime, Float, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, mapped_column

SCHEMES = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}


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
    """The specification's model, as this ORM writes it."""

    __tablename__ = "weekly_actuals"
    id = mapped_column(Integer, primary_key=True, autoincrement=True)
    workflow_id = mapped_column(String(50), ForeignKey("workflows.workflow_id", ondelete="CASCADE"), nullable=False)
    week_number = mapped_column(Integer, nullable=False)
    week_start_date = mapped_column(Date, nullable=False)
    week_end_date = mapped_column(Date, nullable=False)
    store_id = mapped_column(String(50), ForeignKey("stores.store_id", ondelete="CASCADE"), nullable=False)
    category_id = mapped_column(String(50), ForeignKey("categories.category_id", ondelete="CASCADE"), nullable=False)
    actual_units_sold = mapped_column(Integer, nullable=False)
    forecast_units_sold = mapped_column(Integer)
    variance_pct = mapped_column(Float)
    uploaded_at = mapped_column(DateTime, nullable=False, default=datetime.datetime.utcnow)
    __table_args__ = (
        UniqueConstraint("workflow_id", "week_number", "store_id", name="unique_workflow_week_store"),
        Index("idx_weekly_actuals_workflow", "workflow_id", "week_number"),
        Index("idx_weekly_actuals_store", "store_id"),
        Index("idx_weekly_actuals_date", "week_start_date"),
        {"mysql_charset": "latin1"},  # the application's tables have it, and a key needs its parent's
    )


TABLE = WeeklyActuals.__table__


@pytest.fixture
def connected():
    """Return a function that gives a connection of the other ORM to a world."""
    engines = []

    def connect(world):
        scheme, _, rest = world.url.partition("://")
        engines.append(sqlalchemy.create_engine(f"{SCHEMES[world.engine]}://{rest}"))
        return engines[-1].connect()

    yield connect
    for engine in engines:
        engine.dispose()


def found_by(connection):
    """Return what the other ORM's autogenerate would change about the table, types and defaults included."""

    def only_ours(thing, name, kind, reflected, compared):
        return getattr(thing, "table", thing).name == "weekly_actuals"

    options = {"compare_type": True, "compare_server_default": True, "include_object": only_ours}
    differences = compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)
    return [each for group in differences for each in (group if isinstance(group, list) else [group])]


THEIRS = {**ORM, "variance_pct": "variance_pct FLOAT", "uploaded_at": "uploaded_at {datetime} NOT NULL"}
SERVERS = ENGINES[1:]  # SQLite has no lengths, and makes an index of a missing constraint
STATES = [
    NOTHING,
    State("theirs", REPAIRED, items=THEIRS),
    State("theirs, and half of it is missing", REPAIRED, items={**THEIRS, "store": None}, without=(
        "idx_weekly_actuals_store", "idx_weekly_actuals_date")),
    State("theirs, without their constraint", REPAIRED, items={**THEIRS, "unique": None}, engines=SERVERS),
    State("theirs, with wrong types and nullability", REPAIRED, items={
        **THEIRS, "week_number": "week_number INTEGER", "actual_units_sold": "actual_units_sold {string} NOT NULL"}),
    State("theirs, with a narrow key", REPAIRED, items={
        **THEIRS, "store": None, "store_id": "store_id VARCHAR(20)"}, engines=SERVERS),
    State("theirs, with a lost column", REPAIRED, items={**THEIRS, "variance_pct": None}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("engine", "state"),
    [(engine, state) for state in STATES for engine in state.engines],
    ids=lambda part: getattr(part, "name", part),
)
def test_it_finds_nothing_to_change_in_what_a_run_leaves_but_the_default(world, connected, engine, state):
    if engine == "sqlite" and state.items:  # where this ORM tells the two words apart
        state = dataclasses.replace(state, items={**state.items, "uploaded_at": "uploaded_at DATETIME NOT NULL"})
    made = world(engine).make(state)
    phase_4_5.run(db.connect(made.url))
    with connected(made) as connection:
        assert [(each[0], each[3]) for each in found_by(connection)] == [("modify_default", "uploaded_at")] * (
            state is NOTHING
        )


@pytest.mark.parametrize("engine", ENGINES)
def test_a_table_of_its_making_is_complete(world, connected, engine):
    made = world(engine).make(NOTHING)
    with connected(made) as connection:
        TABLE.create(connection)
        connection.commit()
        assert found_by(connection) == []
    before = made.dump()
    report = phase_4_5.run(db.connect(made.url))
    assert (report.status, report.changes, report.differences) == ("up_to_date", (), ())
    assert made.dump() == before


@pytest.mark.parametrize("engine", ENGINES)
def test_it_reads_a_number_as_it_was_written(world, connected, engine):
    made = world(engine).make(NOTHING)
    with connected(made) as connection:
        TABLE.create(connection)
        connection.execute(TABLE.insert().values(
            workflow_id="wf_1", week_number=1, week_start_date=datetime.date(2025, 1, 6),
            week_end_date=datetime.date(2025, 1, 12), store_id="S001", category_id="dresses", actual_units_sold=7,
            variance_pct=0.071,
        ))  # fmt: skip
        connection.commit()
        phase_4_5.run(db.connect(made.url))
        assert connection.execute(sqlalchemy.select(TABLE.c.variance_pct)).scalar_one() == 0.071


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_lost_is_found_by_both(world, connected, engine):
    """Or the tests above prove nothing."""
    made = world(engine).make(COMPLETE)
    made.execute("DROP INDEX idx_weekly_actuals_date" + " ON weekly_actuals" * (engine == "mysql"))
    with connected(made) as connection:
        assert "add_index" in {each[0] for each in found_by(connection)}
    assert phase_4_5.check(db.connect(made.url)).status == "pending"
