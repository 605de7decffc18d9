"""Phase 4.5: make the database ready for uploads of weekly actual sales.

    from migrations import phase_4_5

    phase_4_5.ensure(database)        # in a worker: True if something had to be changed
    report = phase_4_5.run(database)  # the whole chain, with a smoke test and statistics
    report = phase_4_5.check(database)  # looks, changes nothing

It builds `weekly_actuals`, upon four tables that must be there and are never changed. How, says
`migrations.phase`; the command line is `python -m migrations.phase_4_5`.
"""

from __future__ import annotations

from db.models import Category, HistoricalSales, Store, WeeklyActuals, Workflow
from migrations.phase import Phase
from migrations.report import (
    DatabaseUnavailable,
    LockTimeout,
    MigrationError,
    MissingTables,
    Refused,
    Report,
    SmokeTestFailed,
    UnfitTables,
    VerificationFailed,
)

__all__ = [
    "DatabaseUnavailable", "LockTimeout", "MigrationError", "MissingTables", "Refused", "Report", "SmokeTestFailed",
    "UnfitTables", "VerificationFailed", "check", "ensure", "phase", "rollback", "run",
]  # fmt: skip

phase = Phase(
    "Phase 4.5",
    upon={
        HistoricalSales: ("sale_id", "week_start_date", "category_id", "store_id", "units_sold"),
        Store: (
            "store_id", "store_name", "cluster_id", "store_size_sqft", "location_tier", "median_income",
            "store_format", "region", "avg_weekly_sales_12mo",
        ),
        Category: (),
        Workflow: (),
    },
    builds=[WeeklyActuals],
)  # fmt: skip
ensure, run, check, rollback = phase.ensure, phase.run, phase.check, phase.rollback

if __name__ == "__main__":
    raise SystemExit(phase.main())
