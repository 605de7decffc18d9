"""Databases for the tools: on each engine, on a cluster, behind a pooler."""

import atexit
import contextlib
import functools
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import peewee

import db
from db.init_db import init_db
from tests.engines import galera

from ..servers import SERVERS


class Skipped(Exception):
    """A requirement of a situation is not installed."""


@contextlib.contextmanager
def world(where):
    """Yield a folder, the URL of a database with the base tables, and worker URLs."""
    with (
        tempfile.TemporaryDirectory(prefix="peers_") as folder,
        contextlib.ExitStack() as stack,
    ):
        if where == "sqlite":
            url = f"sqlite:///{folder}/peers.db"
        elif where == "galera":
            url = stack.enter_context(database_on(cluster().url(0, "mysql")))
        else:
            url = stack.enter_context(
                database_on(SERVERS["postgresql" if where == "pooler" else where])
            )
        init_db(db.connect(url), base_only=True, sample_data=True)
        urls = [url]
        if where == "galera":
            urls = [
                cluster().url(node, urlsplit(url).path[1:]) for node in galera.NODES
            ]
        elif where == "pooler":
            urls = [stack.enter_context(pgbouncer(url))]
            stack.enter_context(traffic(urls[0]))
        yield folder, url, urls


@contextlib.contextmanager
def database_on(server):
    name = f"peers_{uuid.uuid4().hex[:12]}"
    try:
        execute(server, f"CREATE DATABASE {name}")
    except peewee.OperationalError as error:
        raise Skipped(" ".join(str(error).split())[:100]) from None
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        force = " WITH (FORCE)" if server.startswith("postgres") else ""
        execute(server, f"DROP DATABASE {name}{force}")


def execute(url, *statements):
    """Execute statements without foreign keys on SQLite; return the last value."""
    database = db.connect(url)
    with database.connection_context():
        if url.startswith("sqlite"):
            database.pragma("foreign_keys", 0)
        for statement in filter(str.strip, statements):
            cursor = database.execute_sql(statement)
        return cursor.fetchone()[0] if statement.startswith("SELECT") else None


@functools.cache
def cluster():
    if missing := galera.missing():
        raise Skipped(f"not installed: {', '.join(missing)}")
    made = galera.Cluster()
    atexit.register(made.stop)
    return made.start()


@contextlib.contextmanager
def pgbouncer(url):
    """Yield the URL through a pooler of three connections, in transaction mode."""
    if not shutil.which("pgbouncer"):
        raise Skipped("pgbouncer is not installed")
    parts, folder = urlsplit(url), tempfile.mkdtemp(prefix="pgbouncer_")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    password = f" password={parts.password}" if parts.password else ""
    Path(folder, "ini").write_text(
        f"[databases]\n* = host={parts.hostname} port={parts.port or 5432} "
        f"user={parts.username}{password}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir "
        "=\nauth_type = any\n"
        f"pool_mode = transaction\ndefault_pool_size = 3\nlogfile = {folder}/log\n"
    )
    # Pgbouncer does not run as root.
    subprocess.run(["chmod", "-R", "a+rwX", folder], check=True)
    process = subprocess.Popen(
        [
            "setpriv", "--reuid=nobody", "--clear-groups", "pgbouncer", "-q",
            f"{folder}/ini",
        ], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(100):
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port)),
            ):
                break
            time.sleep(0.05)
        yield parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}").geturl()
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


@contextlib.contextmanager
def traffic(url):
    """Run two clients, so that a statement gets any free connection of the pool."""
    stop = threading.Event()

    def query():
        database = db.connect(url.replace("postgresql:", "postgresql+psycopg:", 1))
        with database.connection_context():
            # The pooler changes the session between transactions.
            database.connection().prepare_threshold = None
            while not stop.wait(0.002):
                database.execute_sql("SELECT pg_sleep(0.003)")

    clients = [threading.Thread(target=query) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        stop.set()
        for client in clients:
            client.join()
