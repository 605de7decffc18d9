"""Create the application's tables that are missing, and insert sample data.

    python -m db.init_db [--database URL] [--base-only] [--sample-data]

Existing tables are left unchanged, whatever they look like; sample data is inserted
into empty ones only. It is safe to run this again, and in several processes at once.
"""

from __future__ import annotations

import argparse
import contextlib

import peewee

from db.command import Command, connected
from db.models import MODELS, WeeklyActuals


def init_db(
    database: peewee.Database, base_only: bool = False, sample_data: bool = False
) -> list[str]:
    """Create the tables that are missing and return their names.

    :param base_only: do not create `weekly_actuals`, as before the migration.
    :param sample_data: insert sample data into the tables that are empty.
    :raises migrations.report.MigrationError: a table cannot be created.
    """
    # Imported here because only this command of `db` needs `migrations`.
    from migrations.phase import Phase

    models = list(MODELS)
    if base_only:
        models.remove(WeeklyActuals)
    with _connection(database):
        phase = Phase("Application", requires={}, manages=models)
        created = phase.create_missing(database)
        if sample_data:
            # Imported here because uploads are needed for nothing else.
            from db.sample_data import insert_sample_data

            with database.atomic():
                insert_sample_data(database, models)
    return created


def _connection(
    database: peewee.Database,
) -> contextlib.AbstractContextManager[object]:
    """Return a context that closes the connection if it was not open before."""
    connection: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
    if database.is_closed():
        # On an open database this would close the connection of the caller.
        connection = database.connection_context()
    return connection


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    from migrations.errors import MigrationError

    command = Command(__doc__ or "")
    command.add_argument(
        "--base-only", action="store_true", help="do not create weekly_actuals"
    )
    command.add_argument(
        "--sample-data",
        action="store_true",
        help="insert sample data into the tables that are empty",
    )
    return command.run(argv, _create_tables, errors=(MigrationError,))


def _create_tables(database: peewee.Database, options: argparse.Namespace) -> str:
    with connected(database):
        created = init_db(database, options.base_only, options.sample_data)
    if not created:
        return "all tables exist"
    return f"created {', '.join(created)}"


if __name__ == "__main__":
    raise SystemExit(main())
