"""The command in processes of its own, and others who are at work on the same server meanwhile."""

import contextlib
import datetime
import json
import select
import signal
import socket
import threading
import time
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import processes
from states import REPAIRED, UNTOUCHED, State

NOTHING = State("no table", REPAIRED)
COMPLETE = State("complete", UNTOUCHED, items={})
HALF = State(
    "half of it is missing", REPAIRED, items={"unique": None, "store": None},
    without=("idx_weekly_actuals_store", "idx_weekly_actuals_date"),
)  # fmt: skip
NO_DATE_INDEX = State("no index on the date", REPAIRED, items={}, without=("idx_weekly_actuals_date",))
STORE = (
    "INSERT INTO stores (store_id, store_name, cluster_id, store_size_sqft, location_tier, median_income, "
    "store_format, region, avg_weekly_sales_12mo) "
    "VALUES ('{}', 'New', 'value', 10000, 'A', 80000, 'MALL', 'WEST', 500.5)"
)


def another(url, autocommit=True):
    """Return one more connection, by the driver itself."""
    parts = urlsplit(url)
    if parts.scheme.startswith("postgres"):
        import psycopg

        return psycopg.connect(url, autocommit=autocommit)
    import pymysql

    return pymysql.connect(
        host=parts.hostname, port=parts.port or 3306, user=unquote(parts.username or "root"), connect_timeout=10,
        password=unquote(parts.password or ""), database=unquote(parts.path[1:]) or None, autocommit=autocommit,
        ssl_disabled=True,  # to prepare for it takes longer than to connect
    )  # fmt: skip


def url_of(world, **parts):
    """Return the URL of a world's database with another user, password, host, port, name or query."""
    old = urlsplit(world.url)
    user, password = parts.get("user", old.username), parts.get("password", old.password)
    login = f"{user}{':' * bool(password)}{password or ''}@"
    port = parts.get("port", old.port)
    netloc = f"{login}{parts.get('host', old.hostname)}{f':{port}' if port else ''}"
    return old._replace(
        netloc=netloc, path=f"/{parts.get('name', old.path[1:])}", query=parts.get("query", old.query)
    ).geturl()


class Outcome(NamedTuple):
    """What a run of the command left: its exit status, its JSON document, its lines on standard error."""

    code: int
    report: dict
    lines: list

    @property
    def answer(self):
        """The status, or why there is none."""
        return self.message if self.report["error"] else self.report["status"]

    @property
    def message(self):
        return self.report["error"]["message"]


def _quietly(url, *arguments):
    """The call of the command; it logs warnings and errors only, so that a failure is just its one line."""
    return [processes.PHASE, "--database", url, "--json", "-q", *arguments]


def start(url, *arguments):
    return processes.Run(*_quietly(url, *arguments))


def finish(process):
    out, err = process.communicate()
    return Outcome(process.returncode, json.loads(out), err.splitlines())


def command(url, *arguments):
    return finish(start(url, *arguments))


def together(urls, *arguments):
    """Run the command on all at once; return the outcomes and the seconds until the last one's end."""
    started = time.monotonic()
    outcomes = [finish(process) for process in processes.at_once([_quietly(url, *arguments) for url in urls])]
    return outcomes, time.monotonic() - started


def statuses(outcomes):
    return sorted(outcome.answer for outcome in outcomes)


def granted(world, outcome):
    """Run the statement that the failure asks an administrator for."""
    line = one_line(outcome)
    assert "hunter2" not in line
    world.execute(line.partition("an administrator has to run: ")[2])


def near(stored):
    """Whether a time in the database is the time now in UTC."""
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    return abs(now - stored) < datetime.timedelta(minutes=5)


def one_line(outcome):
    """The failure is one line that the JSON document has too; return it."""
    (line,) = outcome.lines
    assert outcome.code in (1, 2)
    assert outcome.report["status"] == "failed"
    assert line.endswith(outcome.message)
    assert "unexpected" not in line
    return line


def kill_after(seconds, url, *arguments):
    """SIGKILL a run; the clock starts when it is past importing and reports its first step."""
    process = processes.Run(processes.PHASE, "--database", url, *arguments)
    process.first_line()
    time.sleep(seconds)
    process.kill()
    process.communicate()
    return process.returncode == -signal.SIGKILL


class Writer(threading.Thread):
    """Inserts row after row through a connection of its own; `longest` is its longest stall in seconds."""

    def __init__(self, world, statement=STORE):
        super().__init__(daemon=True)
        self.world, self.statement = world, statement
        self.longest, self.rows, self.error, self.ended = 0.0, 0, None, threading.Event()

    def __enter__(self):
        self.connection = another(self.world.url)
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


def eventually(condition, seconds=10):
    """Return what a condition gives once it holds, or after a while."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@contextlib.contextmanager
def later(seconds, action):
    """Do something from another thread after a while; leaving waits for it."""
    timer = threading.Timer(seconds, action)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@contextlib.contextmanager
def listener(answer=lambda client: None):
    """Yield the port of a server that accepts; `answer` is what it does then, and without it stays silent."""
    server = socket.create_server(("127.0.0.1", 0))
    clients = []

    def serve():
        with contextlib.suppress(OSError):  # closed: the test is over
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
    """Stands between client and server and counts the round trips: what is sent after an answer."""

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
                    self.trips += source is client and answered
                    answered = source is target
                    (target if source is client else client).sendall(data)
