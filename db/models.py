"""Peewee models of the forecasting application's tables, bound to no database.

    from db.models import MODELS, WeeklyActuals

    with database.bind_ctx(MODELS):
        WeeklyActuals.select().where(WeeklyActuals.week_number == 1)

These are the only description of the tables: the migration creates, checks and repairs
`weekly_actuals` by what `WeeklyActuals` declares.
"""

from __future__ import annotations

from peewee import (
    SQL,
    CharField,
    DateField,
    DateTimeField,
    ForeignKeyField,
    IntegerField,
    Model,
    TextField,
)

from db.fields import (
    AutoIncrementField,
    DefaultUtcNow,
    FloatField,
    JSONField,
    UniqueConstraint,
    utc_now,
)

# Type checkers take this name for the one of `typing`, which every worker would have to
# import: without a driver, Peewee needs no `typing`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from peewee import Database, Field

    from db.column_values import Columns


class Uploadable(Model):
    """A model whose table takes uploads at the speed of the database."""

    created_by = "python -m db.init_db --base-only"
    """The command that creates the table, for messages that say it is missing."""

    @classmethod
    def bulk_insert(
        cls,
        rows: Iterable[Mapping[Any, Any] | Sequence[Any]],
        fields: Sequence[str | Field] = (),
        on_conflict: str | None = None,
        database: Database | None = None,
        batch_size: int = 10_000,
    ) -> int:
        """Insert rows, all or none, and return their number.

        They are inserted in one transaction, the caller's if there is one.

        :param rows: dicts by field or by the names of fields or columns, or tuples in
            the order of `fields`. A column that a row leaves out, or that is None, gets
            the model's default.
        :param on_conflict: "update" replaces existing rows that have the same values in
            the columns of the model's first `UniqueConstraint`, else of its primary
            key, else of its first unique index; an auto-increment id is kept. None
            refuses the upload.
        :param database: default the one that the model is bound to.
        :param batch_size: the number of rows held in memory at a time.
        :raises db.uploads.UploadRefused: a row is malformed, exists already, or refers
            to a row that does not exist; or the table does not exist, and the text says
            which command creates it.
        :raises ValueError: an unknown `on_conflict`, no unique key to update by, or a
            `batch_size` below 1.
        :raises peewee.InterfaceError: there is no database.
        """
        # Imported here because workers that only migrate do not upload.
        from db.bulk_insert import BulkInsert

        return BulkInsert(cls, fields, on_conflict, database).insert(rows, batch_size)

    @classmethod
    def compute_columns(cls, columns: Columns) -> None:
        """Complete a batch of an upload with values that depend on others.

        :param columns: by the name of a column, a value for each row; changed in place.
        """


def _created_at() -> DateTimeField:
    return DateTimeField(null=True, default=utc_now, constraints=[DefaultUtcNow()])


def _check_one_of(name: str, column: str, *values: str) -> SQL:
    """Return a CHECK that a column has one of some values."""
    quoted = ", ".join(f"'{value}'" for value in values)
    return SQL(f"CONSTRAINT {name} CHECK ({column} IN ({quoted}))")


class Category(Uploadable):
    category_id = CharField(50, primary_key=True)
    category_name = CharField(100)
    season_start_date = DateField()
    season_end_date = DateField()
    season_length_weeks = IntegerField()
    archetype = CharField(50)
    description = TextField(null=True)
    created_at = _created_at()

    class Meta:
        table_name = "categories"
        constraints = [
            _check_one_of(
                "check_archetype",
                "archetype",
                "FASHION_RETAIL",
                "STABLE_CATALOG",
                "CONTINUOUS",
            )
        ]


class StoreCluster(Uploadable):
    cluster_id = CharField(50, primary_key=True)
    cluster_name = CharField(100)
    fashion_tier = CharField(20)
    description = TextField(null=True)
    created_at = _created_at()

    class Meta:
        table_name = "store_clusters"
        constraints = [
            _check_one_of(
                "check_fashion_tier", "fashion_tier", "PREMIUM", "MAINSTREAM", "VALUE"
            )
        ]


class Store(Uploadable):
    store_id = CharField(50, primary_key=True)
    store_name = CharField(100)
    cluster = ForeignKeyField(StoreCluster, backref="stores", null=True, index=False)
    store_size_sqft = IntegerField()
    location_tier = CharField(20)
    median_income = IntegerField()
    store_format = CharField(50)
    region = CharField(50)
    avg_weekly_sales_12mo = FloatField()
    created_at = _created_at()

    class Meta:
        table_name = "stores"
        constraints = [
            _check_one_of("check_location_tier", "location_tier", "A", "B", "C"),
            _check_one_of(
                "check_store_format",
                "store_format",
                "MALL",
                "STANDALONE",
                "SHOPPING_CENTER",
                "OUTLET",
            ),
            _check_one_of(
                "check_region", "region", "NORTHEAST", "SOUTHEAST", "MIDWEST", "WEST"
            ),
        ]


class HistoricalSales(Uploadable):
    """Units sold of a category in a store and a week; the forecast is based on them."""

    sale_id = CharField(100, primary_key=True)
    week_start_date = DateField()
    category = ForeignKeyField(Category, backref="historical_sales", index=False)
    store = ForeignKeyField(Store, backref="historical_sales", index=False)
    units_sold = IntegerField()
    created_at = _created_at()

    class Meta:
        table_name = "historical_sales"
        constraints = [SQL("CONSTRAINT check_units_sold CHECK (units_sold >= 0)")]


class Workflow(Uploadable):
    """A run of the forecast; `weekly_actuals` are the actual sales uploaded for it."""

    workflow_id = CharField(50, primary_key=True)
    workflow_type = CharField(50)
    forecast_id = CharField(50, null=True)
    category_id = CharField(50)
    status = CharField(17)
    current_agent = CharField(50, null=True)
    progress_pct = IntegerField(null=True)
    forecast_horizon_weeks = IntegerField()
    season_start_date = CharField(50)
    replenishment_strategy = CharField(50)
    dc_holdback_percentage = FloatField()
    markdown_checkpoint_week = IntegerField(null=True)
    input_data = JSONField(null=True)
    output_data = JSONField(null=True)
    error_message = TextField(null=True)
    created_at = _created_at()
    started_at = DateTimeField(null=True)
    completed_at = DateTimeField(null=True)
    updated_at = DateTimeField(null=True)

    class Meta:
        table_name = "workflows"
        constraints = [
            _check_one_of(
                "check_workflow_status",
                "status",
                "pending",
                "running",
                "completed",
                "failed",
                "awaiting_approval",
            )
        ]


class WeeklyActuals(Uploadable):
    """Actual sales of a store in a week of a workflow, for variance monitoring."""

    created_by = "python -m migrations.phase_4_5"

    id = AutoIncrementField()
    workflow = ForeignKeyField(
        Workflow, backref="weekly_actuals", on_delete="CASCADE", index=False
    )
    week_number = IntegerField()
    week_start_date = DateField()
    week_end_date = DateField()
    store = ForeignKeyField(
        Store, backref="weekly_actuals", on_delete="CASCADE", index=False
    )
    category = ForeignKeyField(
        Category, backref="weekly_actuals", on_delete="CASCADE", index=False
    )
    actual_units_sold = IntegerField()
    forecast_units_sold = IntegerField(null=True)
    variance_pct = FloatField(null=True)
    uploaded_at = DateTimeField(default=utc_now, constraints=[DefaultUtcNow()])

    class Meta:
        table_name = "weekly_actuals"
        constraints = [
            UniqueConstraint(
                "unique_workflow_week_store", "workflow_id", "week_number", "store_id"
            )
        ]

    @classmethod
    def compute_columns(cls, columns: Columns) -> None:
        """Compute `variance_pct` where it is not given and there is a forecast."""
        columns["variance_pct"] = [
            _variance(actual, forecast) if variance is None else variance
            for variance, actual, forecast in zip(
                columns["variance_pct"],
                columns["actual_units_sold"],
                columns["forecast_units_sold"],
            )
        ]

    def __repr__(self) -> str:
        return (
            f"<WeeklyActuals(workflow={self.workflow_id}, week={self.week_number}, "
            f"store={self.store_id}, actual={self.actual_units_sold})>"
        )


def _variance(actual: int, forecast: int | None) -> float | None:
    """Return the relative difference from a forecast that is neither missing nor 0."""
    if not forecast:
        return None
    try:
        return (actual - forecast) / forecast
    except OverflowError:
        return None  # the database refuses such a number of units


HistoricalSales.add_index(
    HistoricalSales.store,
    HistoricalSales.category,
    name="idx_historical_sales_store_category",
)
HistoricalSales.add_index(
    HistoricalSales.week_start_date, name="idx_historical_sales_date"
)
Workflow.add_index(Workflow.workflow_id, name="ix_workflows_workflow_id")
WeeklyActuals.add_index(
    WeeklyActuals.workflow,
    WeeklyActuals.week_number,
    name="idx_weekly_actuals_workflow",
)
WeeklyActuals.add_index(WeeklyActuals.store, name="idx_weekly_actuals_store")
WeeklyActuals.add_index(WeeklyActuals.week_start_date, name="idx_weekly_actuals_date")

MODELS = (Category, StoreCluster, Store, HistoricalSales, Workflow, WeeklyActuals)
