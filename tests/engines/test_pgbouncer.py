"""pgbouncer in transaction mode: each transaction may run in another session."""

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
from engines.servers import (
    command,
    delayed,
    kill_after,
    one_line_error,
    run_concurrently,
    start,
    statuses,
    url_of,
)

import db
from migrations import phase_4_5

PROGRAM = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
USER = "nobody" if os.geteuid() == 0 else None  # pgbouncer does not run as root
SESSIONS = 5
CONFIGURATION = """
[databases]
* = host={host} port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 100
ignore_startup_parameters = extra_float_digits
logfile = {folder}/log
"""
SESSION_STATE = (
    "SELECT current_setting('lock_timeout'), current_setting('statement_timeout'), "
    "current_setting('row_security'), "
    "current_setting('idle_in_transaction_session_timeout'), "
    "current_setting('client_connection_check_interval'), "
    "current_setting('extra_float_digits'), (SELECT count(*) FROM pg_locks "
    "WHERE locktype = 'advisory' "
    "AND pid = pg_backend_pid())"
)


@pytest.fixture
def engine():
    return "postgresql"


@pytest.fixture(scope="module")
def pooler(servers):
    """A pooler with SESSIONS sessions of the server: its port, users and process."""
    if not PROGRAM:
        drivers.leave_out("pgbouncer", "it is not installed")
    server = urlsplit(servers("postgresql").url)
    with tempfile.TemporaryDirectory(prefix="pgbouncer_") as folder:
        if USER:
            shutil.chown(folder, USER)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        written, users = Path(folder, "pgbouncer.ini"), Path(folder, "users")
        users.write_text('"postgres" ""\n')
        written.write_text(
            CONFIGURATION.format(
                host=server.hostname,
                server_port=server.port or 5432,
                port=port,
                sessions=SESSIONS,
                folder=folder,
            )
        )
        process = subprocess.Popen([PROGRAM, "-q", str(written)], user=USER, cwd=folder)
        try:
            for _ in range(100):
                with (
                    contextlib.suppress(OSError),
                    socket.create_connection(("127.0.0.1", port)),
                ):
                    break
                time.sleep(0.05)
            yield port, users, process
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def pooled(pooler):
    """Return a function that gives the URL of a database through the pooler."""
    port, users, process = pooler

    def through(world, user=None):
        user = user or urlsplit(world.url).username
        if user not in users.read_text():
            users.write_text(f'{users.read_text()}"{user}" ""\n')
            process.send_signal(signal.SIGHUP)
            time.sleep(0.2)
        return urlsplit(world.url)._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()

    return through


def session_states(url):
    """Return settings and locks of each session; open transactions keep them apart."""
    with contextlib.ExitStack() as opened:
        found = []
        for _ in range(SESSIONS):
            connection = opened.enter_context(
                psycopg.connect(url, prepare_threshold=None)
            )
            found.append(connection.execute(SESSION_STATE).fetchone())
        return found


def test_repair_with_rows_leaves_nothing_in_any_session(half, pooled):
    url = pooled(half)
    before = session_states(url)
    for _ in range(3):
        assert command(url).code == 0
    half.assert_specified()
    assert session_states(url) == before


@pytest.mark.parametrize("arguments", [(), ("--check",), ("--rollback", "--force")])
@pytest.mark.parametrize("state", ["fresh", "complete"])
def test_command_leaves_nothing_in_any_session(request, pooled, state, arguments):
    url = pooled(request.getfixturevalue(state))
    before = session_states(url)
    assert command(url, *arguments).code == (
        arguments == ("--check",) and state == "fresh"
    )
    assert session_states(url) == before


@pytest.mark.parametrize("state", ["fresh", "half", "complete"])
def test_one_of_twelve_concurrent_runs_migrates(request, pooled, state):
    made = request.getfixturevalue(state)
    url = pooled(made)
    before = session_states(url)
    outcomes, _ = run_concurrently([url] * 12, "--lock-timeout", "60")
    first = "up_to_date" if state == "complete" else "migrated"
    assert statuses(outcomes) == [first, *["up_to_date"] * 11]
    made.assert_specified()
    assert session_states(url) == before


def test_killed_run_releases_its_lock(half, pooled, hold):
    url = pooled(half)
    # An index build waits for its end.
    holder = hold(half, "UPDATE weekly_actuals SET week_number = week_number")
    process = start(url)
    while not half.query("SELECT 1 FROM pg_stat_progress_create_index"):
        time.sleep(0.01)
    process.kill()
    process.wait()
    with delayed(1, holder.rollback):
        assert command(url, "--lock-timeout", "60").answer == "migrated"
    half.assert_specified()


@pytest.mark.parametrize("moment", [1, 4, *drivers.exhaustive(0, 2, 3, 5)])
def test_next_run_completes_after_a_kill_at_any_moment(incomplete, pooled, moment):
    url = pooled(incomplete)
    kill_after(moment * 0.03, url)
    assert command(url, "--lock-timeout", "30").code == 0
    incomplete.assert_specified()


def test_open_connection_of_the_caller_is_left_open(half, pooled):
    database = db.connect(pooled(half))
    with database.connection_context():
        assert phase_4_5.ensure(database) is True
        assert phase_4_5.ensure(database) is False
        assert not database.in_transaction()


def test_busy_table_is_waited_for_and_its_holder_named(fresh, pooled, hold):
    url = pooled(fresh)
    before, holder = session_states(url), hold(fresh, "LOCK TABLE stores IN SHARE MODE")
    line = one_line_error(command(url, "--lock-timeout", "1"))
    assert str(holder.info.backend_pid) in line
    with delayed(1, holder.rollback):
        assert command(url).answer == "migrated"
    assert session_states(url) == before


def test_statement_timeout_of_a_role_is_reported_with_its_fix(half, pooled, role, hold):
    rights = "SELECT, INSERT, DELETE, REFERENCES ON ALL TABLES IN SCHEMA public"
    url = role(
        half,
        rights,
        "CREATE, USAGE ON SCHEMA public",
        settings=("statement_timeout = '300ms'",),
    )
    name = urlsplit(url).username
    half.execute(f'ALTER TABLE weekly_actuals OWNER TO "{name}"')
    holder = hold(half, "UPDATE weekly_actuals SET week_number = week_number")
    line = one_line_error(command(pooled(half, user=name)))
    holder.rollback()
    assert "connect to the server itself" in line
    assert f'ALTER ROLE "{name}" SET statement_timeout = 0' in line
    assert command(url_of(half, user=name, password="hunter2")).answer == "migrated"
    half.assert_specified()
