"""The command in separate processes, and other clients of the same server."""

import contextlib
import datetime
import json
import select
import signal
import socket
import sqlite3
import threading
import time
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import processes
from states import REPAIRED, UNTOUCHED, State

NOTHING = State("no table", REPAIRED)
COMPLETE = State("complete", UNTOUCHED, items={})
HALF = State(
    "half of it is missing",
    REPAIRED,
    items={"unique": None, "store": None},
    without=("idx_weekly_actuals_store", "idx_weekly_actuals_date"),
)
NO_DATE_INDEX = State(
    "no index on the date", REPAIRED, items={}, without=("idx_weekly_actuals_date",)
)
STORE = (
    "INSERT INTO stores (store_id, store_name, cluster_id, store_size_sqft, "
    "location_tier, median_income, store_format, region, avg_weekly_sales_12mo) "
    "VALUES ('{}', 'New', 'value', 10000, 'A', 80000, 'MALL', 'WEST', 500.5)"
)


def new_connection(url, autocommit=True):
    """Return a new connection of the driver, without Peewee."""
    parts = urlsplit(url)
    if parts.scheme.startswith("postgres"):
        import psycopg

        return psycopg.connect(url, autocommit=autocommit)
    import pymysql

    return pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=unquote(parts.username or "root"),
        connect_timeout=10,
        password=unquote(parts.password or ""),
        database=unquote(parts.path[1:]) or None,
        autocommit=autocommit,
        ssl_disabled=True,  # its setup takes longer than the connection
    )


def second_connection(world):
    """Return a connection that waits for no lock."""
    if world.engine == "sqlite":
        return sqlite3.connect(world.path, timeout=0, isolation_level=None)
    connection = new_connection(world.url)
    limits = {
        "postgresql": "SET lock_timeout = '100ms'",
        "mysql": "SET lock_wait_timeout = 1, innodb_lock_wait_timeout = 1",
    }
    connection.cursor().execute(limits[world.engine])
    return connection


def url_of(world, **parts):
    """Return the URL of a database with some parts replaced.

    :param parts: user, password, host, port, name, query.
    """
    old = urlsplit(world.url)
    user = parts.get("user", old.username)
    password = parts.get("password", old.password)
    login = f"{user}:{password}@" if password else f"{user}@"
    netloc = login + parts.get("host", old.hostname)
    port = parts.get("port", old.port)
    if port:
        netloc += f":{port}"
    return old._replace(
        netloc=netloc,
        path=f"/{parts.get('name', old.path[1:])}",
        query=parts.get("query", old.query),
    ).geturl()


class Outcome(NamedTuple):
    """The result of a command: exit status, JSON document, lines on standard error."""

    code: int
    report: dict
    lines: list

    @property
    def answer(self):
        """The status, or the message of the error."""
        return self.message if self.report["error"] else self.report["status"]

    @property
    def message(self):
        return self.report["error"]["message"]


def _arguments(url, *arguments):
    """Return the command line; `-q` logs warnings and errors only."""
    return [processes.PHASE, "--database", url, "--json", "-q", *arguments]


def start(url, *arguments):
    return processes.Run(*_arguments(url, *arguments))


def finish(process):
    out, err = process.communicate()
    return Outcome(process.returncode, json.loads(out), err.splitlines())


def command(url, *arguments):
    return finish(start(url, *arguments))


def run_concurrently(urls, *arguments):
    """Run the command on all URLs concurrently; return the outcomes and the seconds."""
    started = time.monotonic()
    outcomes = [
        finish(process)
        for process in processes.at_once([_arguments(url, *arguments) for url in urls])
    ]
    return outcomes, time.monotonic() - started


def statuses(outcomes):
    return sorted(outcome.answer for outcome in outcomes)


def run_reported_statement(world, outcome):
    """Execute the statement that the error asks an administrator to run."""
    line = one_line_error(outcome)
    assert "hunter2" not in line
    world.execute(line.partition("an administrator has to run: ")[2])


def is_now_in_utc(stored):
    """Return whether a time of the database is the current time in UTC."""
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    return abs(now - stored) < datetime.timedelta(minutes=5)


def one_line_error(outcome):
    """Return the error; it is one line, the same as in the JSON document."""
    (line,) = outcome.lines
    assert outcome.code in (1, 2)
    assert outcome.report["status"] == "failed"
    assert line.endswith(outcome.message)
    assert "unexpected" not in line
    return line


def kill_after(seconds, url, *arguments):
    """SIGKILL a run, so many seconds after it reports its first step."""
    process = processes.Run(processes.PHASE, "--database", url, *arguments)
    process.first_line()
    time.sleep(seconds)
    process.kill()
    process.communicate()
    return process.returncode == -signal.SIGKILL


class Writer(threading.Thread):
    """Inserts rows through its own connection; `longest` is the slowest, in seconds."""

    def __init__(self, world, statement=STORE):
        super().__init__(daemon=True)
        self.world, self.statement = world, statement
        self.longest = 0.0
        self.rows = 0
        self.error = None
        self.ended = threading.Event()

    def __enter__(self):
        self.connection = new_connection(self.world.url)
        self.start()
        while not self.rows and self.is_alive():
            time.sleep(0.01)
        return self

    def __exit__(self, *exception):
        self.ended.set()
        self.join()
        self.connection.close()

    def run(self):
        cursor = self.connection.cursor()
        while not self.ended.is_set():
            started = time.monotonic()
            try:
                cursor.execute(self.statement.format(f"new_{self.rows}"))
            except Exception as error:
                self.error = error
                return
            self.longest = max(self.longest, time.monotonic() - started)
            self.rows += 1
            time.sleep(0.005)


def wait_for(condition, seconds=10):
    """Return the value of a condition once it is true, or at the timeout."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@contextlib.contextmanager
def delayed(seconds, action):
    """Call an action in another thread after some seconds; the exit waits for it."""
    timer = threading.Timer(seconds, action)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@contextlib.contextmanager
def listener(answer=lambda client: None):
    """Yield the port of a server that calls `answer` with each client."""
    server = socket.create_server(("127.0.0.1", 0))
    clients = []

    def serve():
        with contextlib.suppress(OSError):  # closed at the end of the test
            while True:
                clients.append(server.accept()[0])
                answer(clients[-1])

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.close()
        for client in clients:
            client.close()


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Relay:
    """A proxy that counts round trips: messages of the client after an answer."""

    def __init__(self, host, port):
        self.target, self.trips = (host, port), 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self.server.close()

    def _serve(self):
        client = self.server.accept()[0]
        answered = True
        with client, socket.create_connection(self.target) as target:
            while True:
                for source in select.select([client, target], [], [])[0]:
                    if not (data := source.recv(65536)):
                        return
                    if source is client:
                        if answered:
                            self.trips += 1
                        answered = False
                        target.sendall(data)
                    else:
                        answered = True
                        client.sendall(data)
