"""A real pooler in transaction mode: each transaction may be another session's, and none is left changed."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import drivers
import psycopg
import pytest
from engines.servers import command, kill_after, later, one_line, start, statuses, together, url_of

import db
from migrations import phase_4_5

PROGRAM = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
USER = "nobody" if os.geteuid() == 0 else None  # it does not run as root
SESSIONS = 5
CONFIGURATION = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 100
ignore_startup_parameters = extra_float_digits
logfile = {folder}/log
"""
LEFT = (
    "SELECT current_setting('lock_timeout'), current_setting('statement_timeout'), current_setting('row_security'), "
    "current_setting('idle_in_transaction_session_timeout'), current_setting('client_connection_check_interval'), "
    "current_setting('extra_float_digits'), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' "
    "AND pid = pg_backend_pid())"
)


@pytest.fixture
def engine():
    return "postgresql"


@pytest.fixture(scope="module")
def pooler(servers):
    """A pooler before the server, which goes through one of SESSIONS for each transaction: its port, users, process."""
    if not PROGRAM:
        drivers.leave_out("pgbouncer", "it is not installed")
    server = urlsplit(servers("postgresql").url)
    with tempfile.TemporaryDirectory(prefix="pgbouncer_") as folder:
        if USER:
            shutil.chown(folder, USER)
        with socket.create_server(("127.0.0.1", 0)) as free:
            own = free.getsockname()[1]
        written, users = Path(folder, "pgbouncer.ini"), Path(folder, "users")
        users.write_text('"postgres" ""\n')
        written.write_text(CONFIGURATION.format(
            host=server.hostname, port=server.port or 5432, own=own, sessions=SESSIONS, folder=folder
        ))  # fmt: skip
        process = subprocess.Popen([PROGRAM, "-q", str(written)], user=USER, cwd=folder)
        try:
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", own)):
                    break
                time.sleep(0.05)
            yield own, users, process
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def pooled(pooler):
    """Return a function that gives the URL of a world's database through the pooler."""

    port, users, process = pooler

    def through(world, user=None):
        user = user or urlsplit(world.url).username
        if user not in users.read_text():
            users.write_text(f'{users.read_text()}"{user}" ""\n')
            process.send_signal(signal.SIGHUP)
            time.sleep(0.2)
        return urlsplit(world.url)._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()

    return through


def left(url):
    """What is set and held in each of the pooler's sessions; a transaction in each keeps them apart."""
    with contextlib.ExitStack() as opened:
        found = []
        for _ in range(SESSIONS):
            connection = opened.enter_context(psycopg.connect(url, prepare_threshold=None))
            found.append(connection.execute(LEFT).fetchone())
        return found


def test_a_run_that_repairs_beside_rows_leaves_nothing_in_any_session(half, pooled):
    url = pooled(half)
    before = left(url)
    for _ in range(3):
        assert command(url).code == 0
    half.assert_specified()
    assert left(url) == before


@pytest.mark.parametrize("arguments", [(), ("--check",), ("--rollback", "--force")])
@pytest.mark.parametrize("state", ["fresh", "complete"])
def test_the_ordinary_run_leaves_nothing_in_any_session(request, pooled, state, arguments):
    url = pooled(request.getfixturevalue(state))
    before = left(url)
    assert command(url, *arguments).code == (arguments == ("--check",) and state == "fresh")
    assert left(url) == before


@pytest.mark.parametrize("moment", ["fresh", "half", "complete"])
def test_twelve_at_once_and_one_of_them_migrates(request, pooled, moment):
    made = request.getfixturevalue(moment)
    url = pooled(made)
    before = left(url)
    outcomes, _ = together([url] * 12, "--lock-timeout", "60")
    assert statuses(outcomes) == ["migrated"] * (moment != "complete") + ["up_to_date"] * (11 + (moment == "complete"))
    made.assert_specified()
    assert left(url) == before


def test_a_killed_run_gives_its_lock_back(half, pooled, hold):
    url = pooled(half)
    holder = hold(half, "UPDATE weekly_actuals SET week_number = week_number")  # a build waits for its end
    process = start(url)
    while not half.query("SELECT 1 FROM pg_stat_progress_create_index"):
        time.sleep(0.01)
    process.kill()
    process.wait()
    with later(1, holder.rollback):
        assert command(url, "--lock-timeout", "60").answer == "migrated"
    half.assert_specified()


@pytest.mark.parametrize("moment", [1, 4, *drivers.exhaustive(0, 2, 3, 5)])
def test_killed_at_any_moment_a_rerun_completes(unfinished, pooled, moment):
    url = pooled(unfinished)
    kill_after(moment * 0.03, url)
    assert command(url, "--lock-timeout", "30").code == 0
    unfinished.assert_specified()


def test_an_open_connection_of_the_callers_is_left_as_it_was(half, pooled):
    database = db.connect(pooled(half))
    with database.connection_context():
        assert phase_4_5.ensure(database) is True
        assert phase_4_5.ensure(database) is False
        assert not database.in_transaction()


def test_a_busy_table_is_waited_for_and_its_holder_named(fresh, pooled, hold):
    url = pooled(fresh)
    before, holder = left(url), hold(fresh, "LOCK TABLE stores IN SHARE MODE")
    line = one_line(command(url, "--lock-timeout", "1"))
    assert str(holder.info.backend_pid) in line
    with later(1, holder.rollback):
        assert command(url).answer == "migrated"
    assert left(url) == before


def test_a_role_whose_limit_ends_a_build_is_told_what_helps(half, pooled, role, hold):
    rights = "SELECT, INSERT, DELETE, REFERENCES ON ALL TABLES IN SCHEMA public"
    url = role(half, rights, "CREATE, USAGE ON SCHEMA public", settings=("statement_timeout = '300ms'",))
    name = urlsplit(url).username
    half.execute(f'ALTER TABLE weekly_actuals OWNER TO "{name}"')
    holder = hold(half, "UPDATE weekly_actuals SET week_number = week_number")
    line = one_line(command(pooled(half, user=name)))
    holder.rollback()
    assert "connect to the server itself" in line
    assert f'ALTER ROLE "{name}" SET statement_timeout = 0' in line
    assert command(url_of(half, user=name, password="hunter2")).answer == "migrated"
    half.assert_specified()
