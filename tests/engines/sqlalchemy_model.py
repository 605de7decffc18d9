"""The specified model in SQLAlchemy, and what Alembic finds different from it."""

import contextlib
import datetime

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


@contextlib.contextmanager
def connected(world):
    """Connect to a database for a block of code."""
    scheme, _, rest = world.url.partition("://")
    engine = sqlalchemy.create_engine(f"{SCHEMES[world.engine]}://{rest}")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
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


def stored_variance(connection):
    """Return the value of the only row."""
    return connection.execute(sqlalchemy.select(TABLE.c.variance_pct)).scalar_one()
