"""PostgreSQL, MariaDB, MySQL: round trips, uploads, stalls during an index build."""

import contextlib
import multiprocessing
import os
import tempfile
import time
import uuid
from functools import partial
from urllib.parse import urlsplit

import peewee

import db
from db.init_db import init_db
from db.models import HistoricalSales, WeeklyActuals
from migrations import phase_4_5

from .common import (
    FIELDS,
    SALES,
    SEASON,
    actuals,
    compare,
    medians,
    parents,
    readable,
    sales,
    show,
    upload,
)
from .first_call import first_call, write_migration


def server_url(variable, default):
    """Return the URL of a server; the tests need no name of a database in theirs."""
    parts = urlsplit(os.environ.get(variable, default))
    name = parts.path.strip("/") or urlsplit(default).path.strip("/")
    return parts._replace(path=f"/{name}").geturl()


SERVERS = {
    "postgresql": server_url(
        "POSTGRESQL_URL", "postgresql://postgres@127.0.0.1:5432/postgres"
    ),
    "mysql": server_url("MARIADB_URL", "mysql://root@127.0.0.1:3306/mysql"),
    "mysql97": server_url("MYSQL_URL", "mysql://root@127.0.0.1:33306/mysql"),
}


def measure(engine, sizes):
    try:
        with database_on(SERVERS[engine]) as url:
            first_call(engine, url)
            database = db.connect(url)
            round_trips(engine, database)
            uploads(engine, database, sizes.upload, sizes.rounds)
            if engine == "postgresql":
                stalls(database, sizes.stall)
            database.close()
    except (peewee.OperationalError, db.UnusableURL) as error:
        show(f"{engine}: skipped, {' '.join(str(error).split())}"[:74], "", "", "")


@contextlib.contextmanager
def database_on(server):
    """Yield the URL of a new database on a server, with the sample data."""
    name = f"benchmark_{uuid.uuid4().hex}"
    admin = db.connect(server)
    admin.execute_sql(f"CREATE DATABASE {name}")
    try:
        parts = urlsplit(server)._replace(path=f"/{name}")
        if parts.scheme == "postgresql":
            # Its COPY is the reference.
            parts = parts._replace(scheme="postgresql+psycopg")
        if parts.scheme == "mysql":
            parts = parts._replace(query="local_infile=1")
        database = db.connect(parts.geturl())
        init_db(database, sample_data=True)
        with database.connection_context():
            database.execute_sql("DELETE FROM weekly_actuals")
        yield parts.geturl()
    finally:
        admin.execute_sql(f"DROP DATABASE {name}")
        admin.close()


@contextlib.contextmanager
def counted(engine):
    """Yield a list of the round trips of the driver."""
    if engine == "postgresql":
        from psycopg import Connection as connection

        method = "wait"
    else:
        from pymysql.connections import Connection as connection

        method = "_execute_command"
    original, calls = getattr(connection, method), []

    def counting(*arguments, **options):
        calls.append(arguments)
        return original(*arguments, **options)

    setattr(connection, method, counting)
    try:
        yield calls
    finally:
        setattr(connection, method, original)


def round_trips(engine, database):
    for what, context in (
        ("open", database.connection_context()),
        ("closed", contextlib.nullcontext()),
    ):
        with context, counted(engine) as calls:
            phase_4_5.ensure(database)
        show(
            f"{engine}: round trips of ensure(), no changes, connection {what}",
            len(calls),
            "",
            "",
            "<= 4",
        )
    with database.connection_context():
        compare(
            f"{engine}: ensure(), connection open",
            medians(
                100,
                {
                    "ensure": lambda: phase_4_5.ensure(database),
                    "SELECT 1": lambda: database.execute_sql("SELECT 1").fetchall(),
                },
            ),
        )
    without_changes(engine, database)


def without_changes(engine, database):
    """Compare with Peewee's runner, which only reads the history of one migration."""
    from playhouse.migrations import Runner

    with tempfile.TemporaryDirectory() as folder:
        write_migration(folder)

        def runner():
            if database.is_closed():
                with database.connection_context():
                    Runner(database, folder).up()
            else:
                Runner(database, folder).up()

        runner()
        for what, goal, context in (
            ("open", "<= 1.5", database.connection_context()),
            ("closed", "<= 1.0", contextlib.nullcontext()),
        ):
            with context:
                ensure = partial(phase_4_5.ensure, database)
                times = medians(100, {"ensure": ensure, "Runner.up()": runner})
            compare(
                f"{engine}: second ensure(), no changes, connection {what}",
                times,
                **{"Runner.up()": goal},
            )
        with database.connection_context():
            database.execute_sql(
                f"DROP TABLE {Runner(database, folder).History._meta.table_name}"
            )


def uploads(engine, database, count, rounds):
    parents(database, count)
    database.connect()
    for model, fields, rows in (
        (WeeklyActuals, FIELDS, list(actuals(count))),
        (HistoricalSales, SALES, list(sales(min(count, SEASON)))),
    ):
        table = model._meta.table_name
        with tempfile.TemporaryDirectory() as folder:
            known = references(engine, database, model, fields, rows, folder)
            truncate = partial(database.execute_sql, f"TRUNCATE TABLE {table}")
            title = f"{engine}: speed of an upload, {len(rows):,} of {table}"
            insert = partial(model.bulk_insert, rows, fields, database=database)
            times = medians(rounds, {"upload": insert, **known}, before=truncate)
            goals = {"COPY": ">= 0.7", "LOAD": ">= 0.7"}
            compare(title, times, speed=True, **goals)
            # It takes several times as long as the others.
            del known["insert_many of 1,000"]
            update = partial(insert, on_conflict="update")
            times = medians(rounds, {"upload": update, **known}, before=truncate)
            compare(f'{title}, on_conflict="update"', times, speed=True, **goals)
        database.execute_sql(f"TRUNCATE TABLE {table}")
    database.close()


def references(engine, database, model, fields, rows, folder):
    """Return the references of an upload, by name."""
    table = model._meta.table_name
    names = ", ".join(fields)
    file = os.path.join(folder, "rows")

    def copy():
        with (
            database.atomic(),
            database.cursor().copy(f"COPY {table} ({names}) FROM STDIN") as writer,
        ):
            for row in rows:
                writer.write_row(row)

    def load(ready):
        if not ready:
            with open(file, "w") as lines:
                lines.writelines("\t".join(map(str, row)) + "\n" for row in rows)
        with database.atomic():
            database.cursor().execute(
                f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE {table} ({names})"
            )

    def many():
        with database.atomic():
            database.cursor().executemany(
                f"INSERT INTO {table} ({names}) VALUES "
                f"({', '.join(['%s'] * len(fields))})",
                rows,
            )

    def insert_many():
        with database.atomic():
            for batch in peewee.chunked(rows, 1_000):
                model.insert_many(batch, fields).execute(database)

    if engine == "postgresql":
        known = {"COPY": copy}
    elif engine == "mysql97":  # refuses LOAD DATA LOCAL unless it is configured
        known = {"executemany of PyMySQL": many}
    else:
        known = {
            "LOAD DATA and its file": partial(load, False),
            "LOAD DATA of an existing file": partial(load, True),
            "executemany of PyMySQL": many,
        }
    return {**known, "insert_many of 1,000": insert_many}


def _writer(url, first, ready, stop, result):
    """Insert rows, each in its own transaction; put the longest and their number."""
    database = db.connect(url)
    database.connect()
    statement = (
        f"INSERT INTO weekly_actuals ({', '.join(FIELDS)}) "
        f"VALUES ({', '.join(['%s'] * len(FIELDS))})"
    )
    longest, number = 0.0, 0
    for number, row in enumerate(actuals(10**9, first)):  # noqa: B007
        started = time.perf_counter()
        database.execute_sql(statement, row)
        if number > 100:
            ready.set()
            longest = max(longest, time.perf_counter() - started)
        if stop.is_set():
            break
    result.put((longest, number))


def stalls(database, rows):
    """Measure the longest INSERT while an index is added."""
    upload(database, rows)
    parameters = database.connect_params
    host = f"{parameters.get('host')}:{parameters.get('port', 5432)}"
    url = f"postgresql://{parameters.get('user')}@{host}/{database.database}"
    context, first = multiprocessing.get_context("spawn"), rows

    def stalled(work):
        nonlocal first
        ready, stop, result = context.Event(), context.Event(), context.Queue()
        writer = context.Process(target=_writer, args=(url, first, ready, stop, result))
        writer.start()
        ready.wait(60)
        started = time.perf_counter()
        try:
            work()
        finally:
            taken = time.perf_counter() - started
            stop.set()
            longest, number = result.get(timeout=60)
            writer.join()
        first += number + 1
        return longest, taken

    def execute(sql):
        with database.connection_context():
            database.execute_sql(sql)

    drop = "DROP INDEX IF EXISTS idx_weekly_actuals_date"
    works = {
        "ensure()": lambda: phase_4_5.ensure(database),
        "CREATE INDEX": lambda: execute(
            "CREATE INDEX idx_weekly_actuals_date ON weekly_actuals (week_start_date)"
        ),
        "nothing": lambda: time.sleep(2),
    }
    found = {}
    for name, work in works.items():
        execute(drop)
        found[name] = stalled(work)
    for name in ("CREATE INDEX", "nothing"):
        ratio = f"{found['ensure()'][0] / found[name][0]:.2f}"
        show(
            f"postgresql: a writer's longest stall, {rows:,} rows, ensure() / {name}",
            readable(found["ensure()"][0]),
            readable(found[name][0]),
            ratio,
            "< 100 ms",
        )
    show(
        "postgresql: the index itself, ensure() / CREATE INDEX",
        readable(found["ensure()"][1]),
        readable(found["CREATE INDEX"][1]),
        f"{found['ensure()'][1] / found['CREATE INDEX'][1]:.2f}",
    )
