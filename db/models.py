"""Peewee models of the forecasting application's tables, bound to no database.

    from db.models import MODELS, WeeklyActuals

    with database.bind_ctx(MODELS):
        WeeklyActuals.select().where(WeeklyActuals.week_number == 1)

`WeeklyActuals` is the only description of `weekly_actuals` that there is: the migration creates,
checks and mends the table by what is declared here.
"""

from __future__ import annotations

from peewee import SQL, CharField, DateField, DateTimeField, ForeignKeyField, IntegerField, Model, TextField

from db.fields import AutoIncrementField, DefaultUtcNow, FloatField, JSONField, UniqueConstraint, utc_now

TYPE_CHECKING = False  # as typing has it, whose import takes longer than a check of the schema
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from peewee import Database, Field

    from db.values import Columns


class Uploadable(Model):
    """A model whose table takes rows at the speed of the database."""

    _made_by = "python -m db.init_db"  # the command that makes the table

    @classmethod
    def bulk_insert(
        cls, rows: Iterable[Mapping[Any, Any] | Sequence[Any]], fields: Sequence[str | Field] = (),
        on_conflict: str | None = None, database: Database | None = None, batch_size: int = 10_000,
    ) -> int:  # fmt: skip
        """Insert rows, all or none, in one transaction (the caller's, if there is one); return their number.

        :param rows: any iterable of dicts by field or column name, or of tuples in the order of `fields`.
            A column that a row leaves out, or gives as None, gets the model's default.
        :param on_conflict: "update" replaces the rows that have the same unique key (the model's `UniqueConstraint`,
            else its primary key), but for an id that counts by itself; None refuses all.
        :param database: default the one that the model is bound to.
        :param batch_size: rows held in memory at a time.
        :raises db.uploads.UploadRefused: a row is malformed, is there already, or points at nothing; or the
            table is not there, and the text says what makes it.
        """
        from db.uploads import Upload  # workers that only migrate need none of it

        return Upload(cls, fields, on_conflict, database).insert(rows, batch_size)

    @classmethod
    def _fill_in(cls, columns: Columns) -> None:
        """Complete a batch of an upload: values by the column's name, one for each row."""


def _created_at() -> DateTimeField:
    return DateTimeField(null=True, default=utc_now, constraints=[DefaultUtcNow()])


def _one_of(name: str, column: str, *values: str) -> SQL:
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
        constraints = [_one_of("check_archetype", "archetype", "FASHION_RETAIL", "STABLE_CATALOG", "CONTINUOUS")]


class StoreCluster(Uploadable):
    cluster_id = CharField(50, primary_key=True)
    cluster_name = CharField(100)
    fashion_tier = CharField(20)
    description = TextField(null=True)
    created_at = _created_at()

    class Meta:
        table_name = "store_clusters"
        constraints = [_one_of("check_fashion_tier", "fashion_tier", "PREMIUM", "MAINSTREAM", "VALUE")]


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
            _one_of("check_location_tier", "location_tier", "A", "B", "C"),
            _one_of("check_store_format", "store_format", "MALL", "STANDALONE", "SHOPPING_CENTER", "OUTLET"),
            _one_of("check_region", "region", "NORTHEAST", "SOUTHEAST", "MIDWEST", "WEST"),
        ]


class HistoricalSales(Uploadable):
    """Units sold of a category in a store and a week, as the forecast was trained on."""

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
            _one_of("check_workflow_status", "status", "pending", "running", "completed", "failed", "awaiting_approval")
        ]


class WeeklyActuals(Uploadable):
    """Actual sales of a store in a week of a workflow, for variance monitoring."""

    _made_by = "python -m migrations.phase_4_5"

    id = AutoIncrementField()
    workflow = ForeignKeyField(Workflow, backref="weekly_actuals", on_delete="CASCADE", index=False)
    week_number = IntegerField()
    week_start_date = DateField()
    week_end_date = DateField()
    store = ForeignKeyField(Store, backref="weekly_actuals", on_delete="CASCADE", index=False)
    category = ForeignKeyField(Category, backref="weekly_actuals", on_delete="CASCADE", index=False)
    actual_units_sold = IntegerField()
    forecast_units_sold = IntegerField(null=True)
    variance_pct = FloatField(null=True)
    uploaded_at = DateTimeField(default=utc_now, constraints=[DefaultUtcNow()])

    class Meta:
        table_name = "weekly_actuals"
        constraints = [UniqueConstraint("unique_workflow_week_store", "workflow_id", "week_number", "store_id")]

    @classmethod
    def _fill_in(cls, columns: Columns) -> None:
        given = zip(columns["variance_pct"], columns["actual_units_sold"], columns["forecast_units_sold"])
        columns["variance_pct"] = [
            (actual - forecast) / forecast if variance is None and forecast else variance
            for variance, actual, forecast in given
        ]

    def __repr__(self) -> str:
        return (
            f"<WeeklyActuals(workflow={self.workflow_id}, week={self.week_number}, "
            f"store={self.store_id}, actual={self.actual_units_sold})>"
        )


HistoricalSales.add_index(HistoricalSales.store, HistoricalSales.category, name="idx_historical_sales_store_category")
HistoricalSales.add_index(HistoricalSales.week_start_date, name="idx_historical_sales_date")
Workflow.add_index(Workflow.workflow_id, name="ix_workflows_workflow_id")
WeeklyActuals.add_index(WeeklyActuals.workflow, WeeklyActuals.week_number, name="idx_weekly_actuals_workflow")
WeeklyActuals.add_index(WeeklyActuals.store, name="idx_weekly_actuals_store")
WeeklyActuals.add_index(WeeklyActuals.week_start_date, name="idx_weekly_actuals_date")

MODELS = (Category, StoreCluster, Store, HistoricalSales, Workflow, WeeklyActuals)
