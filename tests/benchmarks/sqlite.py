"""SQLite: runs without changes, the command, rebuilds, statistics, uploads."""

import contextlib
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from functools import partial
from unittest import mock

import peewee

import db
from db.init_db import init_db
from db.models import MODELS, HistoricalSales, WeeklyActuals
from migrations import phase_4_5
from migrations.engines import engine_for
from migrations.engines.sqlite import catalog
from migrations.steps import PhaseCall

from .common import (
    FIELDS,
    SALES,
    SEASON,
    actuals,
    compare,
    compiled_environment,
    history,
    medians,
    parents,
    sales,
    show,
    upload,
)
from .first_call import first_call, write_migration

SPECIFICATION = """
CREATE TABLE IF NOT EXISTS weekly_actuals (
    id INTEGER PRIMARY KEY AUTOINCREMENT, workflow_id VARCHAR(50) NOT NULL,
    week_number INTEGER NOT NULL, week_start_date DATE NOT NULL,
    week_end_date DATE NOT NULL, store_id VARCHAR(50) NOT NULL,
    category_id VARCHAR(50) NOT NULL, actual_units_sold INTEGER NOT NULL,
    forecast_units_sold INTEGER,
    variance_pct FLOAT, uploaded_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (workflow_id) REFERENCES workflows(workflow_id) ON DELETE CASCADE,
    FOREIGN KEY (store_id) REFERENCES stores(store_id) ON DELETE CASCADE,
    FOREIGN KEY (category_id) REFERENCES categories(category_id) ON DELETE CASCADE,
    CONSTRAINT unique_workflow_week_store UNIQUE (workflow_id, week_number, store_id));
CREATE INDEX IF NOT EXISTS idx_weekly_actuals_workflow
    ON weekly_actuals(workflow_id, week_number);
CREATE INDEX IF NOT EXISTS idx_weekly_actuals_store ON weekly_actuals(store_id);
CREATE INDEX IF NOT EXISTS idx_weekly_actuals_date ON weekly_actuals(week_start_date)"""
# The peak memory of a child is at least that of its parent; this parent is small.
LAUNCHER = """
import os, sys, time
started = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print(status, time.perf_counter() - started, usage.ru_maxrss)
"""


@contextlib.contextmanager
def plain(path):
    """Yield a connection of sqlite3 in autocommit mode that enforces foreign keys."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = 1")
        yield connection


def application(folder, name="application.db"):
    path = os.path.join(folder, name)
    init_db(db.connect(f"sqlite:///{path}"), sample_data=True)
    with plain(path) as connection:
        connection.execute("DELETE FROM weekly_actuals")
    return path


def without_changes(folder, sizes):
    from playhouse.migrations import Runner

    migrations = os.path.join(folder, "migrations")
    os.mkdir(migrations)
    write_migration(migrations)
    small = application(folder)
    first_call("sqlite", f"sqlite:///{small}")
    wide = application(folder, "wide.db")
    long = application(folder, "long.db")
    with plain(wide) as connection:
        connection.execute("BEGIN")
        for number in range(1_000):
            connection.execute(
                f"CREATE TABLE other_{number} (id INTEGER PRIMARY KEY, a TEXT UNIQUE, "
                "b TEXT)"
            )
        connection.execute("COMMIT")
    upload(db.connect(f"sqlite:///{long}"), sizes.rows)
    history(db.connect(f"sqlite:///{long}"), sizes.history)

    def ensure(path):
        database = db.connect(f"sqlite:///{path}")
        phase_4_5.ensure(database)

    def runner(path):
        database = db.connect(f"sqlite:///{path}")
        with database.connection_context():
            Runner(database, migrations).up()

    def specification(path):
        with plain(path) as connection:
            for statement in SPECIFICATION.split(";\n"):
                connection.execute(statement)

    what = f"{sizes.rows:,} weekly and {sizes.history:,} historical rows"
    for name, path in (
        ("", small),
        (", 1,000 other tables", wide),
        (f", {what}", long),
    ):
        times = medians(
            200,
            {
                "ensure": lambda path=path: ensure(path),
                "Runner.up()": lambda path=path: runner(path),
                "CREATE IF NOT EXISTS": lambda path=path: specification(path),
            },
        )
        compare(
            f"second ensure(){name}",
            times,
            **{"Runner.up()": "<= 0.7", "CREATE": "<= 2.5"},
        )
    open_connection(small)
    test_suite()
    return small, long


def open_connection(path):
    """Compare `ensure` over an open connection with the SQL that reads the schema."""
    database = db.connect(f"sqlite:///{path}")
    tables = list(phase_4_5.phase.models.by_table)

    def read():
        for table in tables:
            for sql in READS_OF_A_TABLE:
                connection.execute(sql, (table,)).fetchall()

    with database.connection_context(), plain(path) as connection:
        ensure = partial(phase_4_5.ensure, database)
        times = medians(200, {"ensure": ensure, "raw SQL": read})
    compare("second ensure(), connection open", times, raw="<= 2.5")


def test_suite():
    """Measure what remembering a schema saves to tests with a database in memory each.

    The tables of the application are there, and `ensure` creates the one of its phase.
    """

    class NothingRemembered(dict):
        def get(self, key, default=None):
            return default

    def test(remembered):
        database = db.connect("sqlite:///:memory:")
        with (
            database.connection_context(),
            mock.patch.object(catalog, "_SCHEMA_CACHE", remembered),
        ):
            with database.bind_ctx(MODELS):
                database.create_tables(set(MODELS) - {WeeklyActuals})
            started = time.perf_counter()
            phase_4_5.ensure(database)
            return time.perf_counter() - started

    remembered = {}
    ways = {"remembered": remembered, "nothing remembered": NothingRemembered()}
    taken = {name: [] for name in ways}
    for _ in range(101):
        for name, schemas in ways.items():
            taken[name].append(test(schemas))
    # The first turn warms up.
    times = {name: statistics.median(each[1:]) for name, each in taken.items()}
    compare("a test's ensure() on a database in memory, schemas remembered", times)


def command(path, rounds):
    """Measure whole processes: seconds, and peak memory."""
    run = ["-m", "migrations.phase_4_5", "-q", "--database", f"sqlite:///{path}"]
    commands = {
        "the command": run,
        "the command, --check": [*run, "--check"],
        "the command without smoke test, statistics": [
            *run,
            "--no-smoke-test",
            "--no-statistics",
        ],
        "import peewee": ["-c", "import peewee"],
    }
    taken = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, arguments in commands.items():
            launched = [sys.executable, "-ISc", LAUNCHER, sys.executable, *arguments]
            status, *figures = subprocess.run(
                launched,
                env=compiled_environment(),
                stdout=subprocess.PIPE,
                text=True,
            ).stdout.split()
            assert status == "0", name
            taken[name].append((float(figures[0]), int(figures[1]) / 1024))
    seconds, memory = {}, {}
    for name, measured in taken.items():
        # The first turn warms up.
        seconds[name] = statistics.median(each for each, _ in measured[1:])
        memory[name] = statistics.median(each for _, each in measured[1:])
    reference = "import peewee"
    for name in list(commands)[:-1]:
        compare(
            name,
            {name: seconds[name], reference: seconds[reference]},
            **{"import": "<= 1.15" if name.endswith("--check") else "<= 1.25"},
        )
        more = memory[name] - memory[reference]
        show(
            f"{name} / {reference}, peak memory",
            f"{memory[name]:.1f} MiB",
            f"{memory[reference]:.1f} MiB",
            f"{memory[name] / memory[reference]:.2f}",
            f"{more:+.1f} MiB, <= 5",
        )


# Damages: a part of the stored definition, its replacement, more statements.
DAMAGES = {
    "edit: NOT NULL": ('"week_number" INTEGER NOT NULL', '"week_number" INTEGER', ()),
    "edit: CASCADE": (" ON DELETE CASCADE", "", ()),
    "edit: a foreign key": (
        ', FOREIGN KEY ("store_id") REFERENCES "stores" ("store_id") ON DELETE CASCADE',
        "",
        (),
    ),
    "rebuild: a type": (
        '"week_number" INTEGER',
        '"week_number" TEXT',
        ("UPDATE weekly_actuals SET week_number = week_number",),
    ),
    "rebuild: a float": (
        '"variance_pct" FLOAT',
        '"variance_pct" TEXT',
        ("UPDATE weekly_actuals SET variance_pct = variance_pct",),
    ),
    "rebuild: ON CONFLICT": ('"store_id"))', '"store_id") ON CONFLICT REPLACE)', ()),
}
# By hand, what says all that there is to know of a table.
READS_OF_A_TABLE = (
    "SELECT type, name, sql FROM sqlite_master WHERE tbl_name = ?",
    "SELECT * FROM pragma_table_xinfo(?)",
    "SELECT * FROM pragma_index_list(?) AS i, pragma_index_xinfo(i.name)",
    "SELECT * FROM pragma_foreign_key_list(?)",
)
TEXT = "SELECT sql FROM sqlite_master WHERE name = 'weekly_actuals'"


def damage(path, old, new, statements):
    """Replace a part of the stored definition of the table; then execute statements."""
    with plain(path) as connection:
        ((text,),) = connection.execute(TEXT).fetchall()
        assert old in text, old
        connection.execute("PRAGMA writable_schema = 1")
        replaced = "UPDATE sqlite_master SET sql = ? WHERE name = 'weekly_actuals'"
        connection.execute(replaced, (text.replace(old, new),))
    with plain(path) as connection:
        for statement in statements:
            connection.execute(statement)


def rebuilt_by_hand(path, text):
    """Rebuild the table as https://sqlite.org/lang_altertable.html#otheralter says."""
    with plain(path) as connection:
        indexes = connection.execute(
            "SELECT sql FROM sqlite_master WHERE type = 'index' "
            "AND tbl_name = 'weekly_actuals' AND sql NOT NULL"
        ).fetchall()
        for sql in (
            "PRAGMA foreign_keys = OFF",
            "BEGIN IMMEDIATE",
            text.replace('"weekly_actuals"', "replacement", 1),
            "INSERT INTO replacement SELECT * FROM weekly_actuals",
            "DROP TABLE weekly_actuals",
            "ALTER TABLE replacement RENAME TO weekly_actuals",
            *(sql for (sql,) in indexes),
        ):
            connection.execute(sql)
        connection.execute("PRAGMA foreign_key_check(weekly_actuals)").fetchall()
        connection.execute("COMMIT")


def changes(folder, source, rows, rounds):
    """Compare edits and rebuilds with a rebuild by hand, each on a copy of the file."""
    damaged, path = os.path.join(folder, "damaged.db"), os.path.join(folder, "copy.db")

    def measure(what, by_hand, goal):
        ensure = {"ensure": lambda: phase_4_5.ensure(db.connect(f"sqlite:///{path}"))}
        copy = partial(shutil.copy, damaged, path)
        times = medians(rounds, ensure | by_hand, before=copy)
        compare(f"{what}, {rows:,} rows", times, **goal)

    with plain(source) as connection:
        ((text,),) = connection.execute(TEXT).fetchall()
    for what, (old, new, statements) in DAMAGES.items():
        shutil.copy(source, damaged)
        damage(damaged, old, new, statements)
        goal = {"a": "<= 0.35"} if what.startswith("edit") else {"a": "<= 1.0"}
        measure(what, {"a rebuild by hand": lambda: rebuilt_by_hand(path, text)}, goal)
    unique = (
        ', CONSTRAINT "unique_workflow_week_store" UNIQUE ("workflow_id", '
        '"week_number", "store_id")'
    )
    shutil.copy(source, damaged)
    rebuilt_by_hand(damaged, text.replace(unique, ""))
    measure(
        "edit: UNIQUE",
        {"a rebuild by hand": lambda: rebuilt_by_hand(path, text)},
        {"a": "<= 0.6"},
    )
    shutil.copy(source, damaged)
    with plain(damaged) as connection:
        connection.execute("DROP INDEX idx_weekly_actuals_date")

    def indexed():
        with plain(path) as connection:
            connection.execute(
                "CREATE INDEX idx_weekly_actuals_date ON weekly_actuals "
                "(week_start_date)"
            )

    measure(
        "add a missing index", {"CREATE INDEX by hand": indexed}, {"CREATE": "<= 1.2"}
    )


def statistics_of(path, rows, rounds):
    database, models = db.connect(f"sqlite:///{path}"), phase_4_5.phase.models

    def run():
        with database.connection_context():
            PhaseCall(engine_for(database, models, 10), {}).count_rows(exact=False)

    def count():
        with plain(path) as connection:
            connection.execute("SELECT count(*) FROM historical_sales").fetchone()

    times = medians(rounds, {"run": run, "count(*)": count})
    compare(f"statistics, {rows:,} historical rows", times, **{"count(*)": "<= 1.1"})


def as_text(value):
    return value if isinstance(value, (int, float)) else str(value)


def uploads(folder, count, rounds):
    path = application(folder, "uploads.db")
    database = db.connect(f"sqlite:///{path}")
    parents(database, count)
    database.connect()

    def executemany(rows, table="weekly_actuals", fields=FIELDS):
        marks = ", ".join("?" * len(fields))
        with database.atomic():
            database.cursor().executemany(
                f"INSERT INTO {table} ({', '.join(fields)}) VALUES ({marks})", rows
            )

    def insert_many(rows):
        with database.atomic():
            for batch in peewee.chunked(rows, 1_000):
                WeeklyActuals.insert_many(batch, FIELDS).execute(database)

    for size, turns in ((50, 50), (count, rounds)):
        rows = list(actuals(size))
        named = [dict(zip(FIELDS, row)) for row in rows]
        texts = [tuple(map(as_text, row)) for row in rows]
        references = {
            "executemany": lambda rows=rows: executemany(rows),
            "executemany of dates as text": lambda texts=texts: executemany(texts),
            "insert_many of 1,000": lambda rows=rows: insert_many(rows),
        }
        for what, given, fields in (("tuples", rows, FIELDS), ("dicts", named, ())):
            if what == "dicts":
                # It takes five times as long as the others.
                del references["insert_many of 1,000"]
            upload = partial(
                WeeklyActuals.bulk_insert, given, fields, database=database
            )
            clear = partial(database.execute_sql, "DELETE FROM weekly_actuals")
            times = medians(turns, {"upload": upload, **references}, before=clear)
            compare(
                f"speed of an upload, {size:,} {what}",
                times,
                speed=True,
                executemany=">= 0.8",
            )
    rows = list(sales(min(count, SEASON)))
    times = medians(
        rounds,
        {
            "upload": lambda: HistoricalSales.bulk_insert(
                rows, SALES, database=database
            ),
            "executemany": lambda: executemany(rows, "historical_sales", SALES),
        },
        before=lambda: database.execute_sql("DELETE FROM historical_sales"),
    )
    compare(
        f"speed of an upload, {len(rows):,} of historical_sales",
        times,
        speed=True,
        executemany=">= 0.8",
    )
    database.close()
