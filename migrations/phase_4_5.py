"""Phase 4.5: make the database ready for uploads of weekly actual sales.

    from migrations import phase_4_5

    phase_4_5.ensure(database)          # in a worker: True if something was changed
    report = phase_4_5.run(database)    # everything, with smoke test and statistics
    report = phase_4_5.check(database)  # changes nothing

It manages the table `weekly_actuals` and requires four tables that must exist and are
never changed; `migrations.phase` says how. The command line is
`python -m migrations.phase_4_5`.
"""

from __future__ import annotations

from db.models import Category, HistoricalSales, Store, WeeklyActuals, Workflow
from migrations.accepts import AcceptedColumn
from migrations.errors import (
    ChangeRefused,
    DatabaseUnavailable,
    IncompatibleTables,
    LockTimeout,
    MigrationError,
    MissingTables,
    SmokeTestFailed,
    UnsupportedModel,
    VerificationFailed,
)
from migrations.phase import Phase
from migrations.report import Report

__all__ = [
    "ChangeRefused",
    "DatabaseUnavailable",
    "IncompatibleTables",
    "LockTimeout",
    "MigrationError",
    "MissingTables",
    "Report",
    "SmokeTestFailed",
    "UnsupportedModel",
    "VerificationFailed",
    "check",
    "ensure",
    "phase",
    "rollback",
    "run",
]

phase = Phase(
    "Phase 4.5",
    requires={
        HistoricalSales: (
            "sale_id",
            "week_start_date",
            "category_id",
            "store_id",
            "units_sold",
        ),
        Store: (
            "store_id",
            "store_name",
            "cluster_id",
            "store_size_sqft",
            "location_tier",
            "median_income",
            "store_format",
            "region",
            "avg_weekly_sales_12mo",
        ),
        Category: (),
        Workflow: (),
    },
    manages=[WeeklyActuals],
    accepts=[
        # Created by the SQL of the specification.
        AcceptedColumn("weekly_actuals.uploaded_at", null=True, has_default=True),
        # Created by another ORM.
        AcceptedColumn("weekly_actuals.uploaded_at", null=False, has_default=False),
        AcceptedColumn("weekly_actuals.id", reuses_ids=True),
    ],
)
ensure = phase.ensure
run = phase.run
check = phase.check
rollback = phase.rollback

if __name__ == "__main__":
    raise SystemExit(phase.main())
