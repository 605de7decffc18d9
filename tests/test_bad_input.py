"""Bad input: a one-line error says what, where and what to do next; exit statuses."""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

import pytest
from application import (
    APPLICATION_TABLES,
    ROOT,
    SPECIFICATION_SHAPE,
    dump,
    execute,
    fetch,
)
from hooks import failed_statements

import db
from migrations import phase_4_5

MODES = pytest.mark.parametrize(
    "mode",
    [[], ["--check"], ["--dry-run"], ["--rollback"]],
    ids=lambda mode: str(*mode),
)


@pytest.fixture
def complain(cli):
    """Return a function that runs the command, expects an error and returns it."""

    def run(*arguments, status=1, **options):
        done = cli("-q", *arguments, **options)
        assert done.returncode == status, done.stderr
        (line,) = done.stderr.splitlines()
        assert "| ERROR    | ✗ " in line
        return line

    return run


# -- files


@MODES
@pytest.mark.parametrize("suffix", ["", "?timeout=1"])
def test_missing_file_is_not_created(complain, tmp_path, mode, suffix):
    url = f"sqlite:///{tmp_path}/typo.db"
    line = complain("--database", f"{url}{suffix}", *mode)
    assert line.endswith(
        f"✗ {url}: there is no such file; check the path, or create the tables with: "
        f"python -m db.init_db --base-only --database {url}"
    )
    assert list(tmp_path.glob("typo*")) == []


@MODES
@pytest.mark.parametrize("name", ["file:{}/typo.db", "file://{}/typo.db", "{}/typo.db"])
def test_uri_of_a_missing_file_does_not_create_it(complain, tmp_path, mode, name):
    complain("--database", f"sqlite:///{name.format(tmp_path)}?uri=true", *mode)
    assert list(tmp_path.glob("typo*")) == []


def test_uri_of_an_existing_file_works(cli, path):
    assert cli("--database", f"sqlite:///file:{path}?uri=true").returncode == 0


def test_missing_file_is_named_as_a_shell_reads_it(complain, tmp_path):
    url = f"sqlite:///{tmp_path}/my typo.db"
    line = complain("--database", url)
    assert line.endswith(f"python -m db.init_db --base-only --database '{url}'")


def test_file_in_a_missing_folder_is_not_found(complain, tmp_path):
    assert "there is no such file" in complain(
        "--database", f"sqlite:///{tmp_path}/no/such/folder.db"
    )


def test_dangling_link_creates_no_file(complain, tmp_path):
    (tmp_path / "link.db").symlink_to(tmp_path / "nowhere.db")
    complain("--database", f"sqlite:///{tmp_path}/link.db")
    assert not (tmp_path / "nowhere.db").exists()


def test_library_call_does_not_create_a_missing_file(tmp_path):
    with pytest.raises(phase_4_5.DatabaseUnavailable, match="no such file"):
        phase_4_5.ensure(db.connect(f"sqlite:///{tmp_path}/typo.db"))
    assert list(tmp_path.iterdir()) == []


@MODES
def test_folder_is_reported_as_not_a_file(complain, tmp_path, mode):
    url = f"sqlite:///{tmp_path}"
    assert complain("--database", url, *mode).endswith(
        f"✗ {url}: unable to open database file; check that the path is a file in a "
        "folder that can be read and written"
    )


@MODES
def test_text_file_is_reported_and_left_unchanged(complain, tmp_path, mode):
    (tmp_path / "sales.csv").write_text("store,week,units\n" * 100)
    url = f"sqlite:///{tmp_path}/sales.csv"
    assert complain("--database", url, *mode).endswith(
        f"✗ {url}: file is not a database; check the path: this file is something else"
    )
    assert (tmp_path / "sales.csv").read_text() == "store,week,units\n" * 100


def test_text_file_is_read_once(tmp_path):
    (tmp_path / "sales.csv").write_text("week,units\n" * 200)
    database = db.connect(f"sqlite:///{tmp_path / 'sales.csv'}")
    failed = failed_statements(database)
    with pytest.raises(phase_4_5.MigrationError, match="file is not a database"):
        phase_4_5.check(database, lock_timeout=1)
    assert len(failed) == 1


def test_empty_file_stays_empty(complain, tmp_path):
    (tmp_path / "empty.db").touch()
    assert "lacks the tables" in complain(
        "--database", f"sqlite:///{tmp_path}/empty.db"
    )
    assert (tmp_path / "empty.db").stat().st_size == 0


def test_damaged_file_reports_a_one_line_error(complain, path):
    content = bytearray(path.read_bytes())
    content[100:2000] = b"\xff" * 1900
    path.write_bytes(content)
    assert "application.db: " in complain()


def test_truncated_file_advises_a_restore(complain, path):
    path.write_bytes(path.read_bytes()[:8192])
    assert "malformed; restore the file from a backup" in complain()


@pytest.fixture
def as_nobody(tmp_path):
    return lambda *arguments: run_as_nobody(tmp_path, *arguments)


def run_as_nobody(tmp_path, path, *arguments):
    """Run the command without the rights that root has on every file."""
    # The first call imports every module, which another user may be unable to read.
    script = """
import os, sys
import playhouse.migrate
import migrations.engines.sqlite.engine, migrations.engines.sqlite.ddl
import migrations.engines.sqlite.sample_rows, migrations.planning
import migrations.preflight, migrations.smoke_test
from migrations.phase_4_5 import phase
phase.main(["-q", "--database", "sqlite:///" + sys.argv[1]])
if os.getuid() == 0:
    os.setuid(65534)
raise SystemExit(phase.main(sys.argv[2:]))
"""
    other = tmp_path / "other.db"
    if not other.exists():
        execute(other, APPLICATION_TABLES)
    arguments = ["-q", "--database", f"sqlite:///{path}", *arguments]
    command = [sys.executable, "-c", script, str(other), *arguments]
    options = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": 60}
    return subprocess.run(command, **options)


@pytest.fixture
def public(path):
    """Yield the database in a folder that everybody can read and nobody can write."""
    folder = tempfile.mkdtemp(prefix="readable", dir="/tmp")
    shutil.copy(path, folder)
    os.chmod(folder, 0o555)
    os.chmod(f"{folder}/application.db", 0o444)
    yield f"{folder}/application.db"
    os.chmod(folder, 0o755)
    shutil.rmtree(folder)


def test_read_only_file_reports_a_one_line_error(public, as_nobody):
    done = as_nobody(public)
    assert done.returncode == 1
    assert (
        "attempt to write a readonly database; give the file and its folder write "
        "permission" in done.stderr
    )
    assert len(done.stderr.splitlines()) == 1


def test_read_only_file_can_be_checked(public, as_nobody):
    assert as_nobody(public, "--check").returncode == 1
    done = as_nobody(public, "--dry-run")
    assert done.returncode == 0
    assert "CREATE TABLE" in done.stdout


def test_unreadable_file_is_reported(public, as_nobody):
    os.chmod(public, 0o000)
    done = as_nobody(public)
    assert done.returncode == 1
    assert "unable to open database file; check that" in done.stderr


def test_database_opened_read_only_is_left_unchanged(complain, path):
    before = path.read_bytes()
    line = complain("--database", f"sqlite:///file:{path}?mode=ro&uri=true")
    assert "readonly" in line
    assert path.read_bytes() == before


# -- locks


@pytest.fixture
def locked(path):
    """Yield a function that takes a lock on another connection, until the test ends."""
    holders = []

    def lock(how):
        holder = sqlite3.connect(path, isolation_level=None)
        holders.append(holder)
        holder.execute(how)
        if how == "BEGIN":
            holder.execute("SELECT * FROM stores").fetchone()

    yield lock
    for holder in holders:
        holder.close()


def test_wait_for_a_lock_is_logged_once(path, locked, cli):
    locked("BEGIN IMMEDIATE")
    lines = cli("--lock-timeout", "1.5").stderr.splitlines()
    logged = [line for line in lines if "waiting for a lock" in line]
    assert [line.partition("waiting ")[2] for line in logged] == [
        "for a lock, up to 1.5 s: another connection holds it, or an unfinished "
        "statement of this one"
    ]


def duration_of(run):
    started = time.monotonic()
    run()
    return time.monotonic() - started


@pytest.mark.parametrize("how", ["BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_locked_database_reports_a_one_line_error(complain, path, locked, how):
    locked(how)
    line = complain("--lock-timeout", "0.3")
    assert f"sqlite:///{path} is locked: waited 0.3 s" in line
    assert "--lock-timeout" in line


@pytest.mark.parametrize("how", ["BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_lock_timeout_changes_nothing_and_closes_the_connection(
    path, database, locked, how
):
    before = dump(path)
    locked(how)
    with pytest.raises(phase_4_5.LockTimeout):
        phase_4_5.run(database, lock_timeout=0.2)
    assert database.is_closed()
    if how != "BEGIN EXCLUSIVE":
        assert dump(path) == before


@pytest.mark.parametrize("how", ["BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_run_waits_for_the_lock_timeout_once(database, locked, how):
    locked(how)

    def run():
        with pytest.raises(phase_4_5.LockTimeout):
            phase_4_5.run(database, lock_timeout=2.0)

    assert 1.9 < duration_of(run) < 3.9  # not for each statement again


def test_lock_timeout_holds_on_an_open_connection(database, locked):
    """It may have a busy timeout, and may not have read anything yet."""
    database.connect()
    locked("BEGIN EXCLUSIVE")

    def run():
        with pytest.raises(phase_4_5.LockTimeout):
            phase_4_5.run(database, lock_timeout=0.5)

    assert duration_of(run) < 5  # the default busy timeout is 10 seconds


def test_change_larger_than_the_cache_waits_for_a_reader_once(path, database, locked):
    """SQLite writes a full cache before COMMIT, and would wait each time."""
    execute(
        path,
        SPECIFICATION_SHAPE.replace(
            "week_number INTEGER NOT NULL", "week_number INTEGER"
        ),
    )
    execute(
        path,
        "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, "
        "week_end_date, store_id, "
        "category_id, actual_units_sold) WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL "
        "SELECT n + 1 FROM n "
        "WHERE n < 40000) SELECT w, n, '2025-01-06', '2025-01-12', s, c, n FROM n, "
        "(SELECT "
        "min(workflow_id) w FROM workflows), (SELECT min(store_id) s FROM stores), "
        "(SELECT min(category_id) "
        "c FROM categories)",
    )
    before = dump(path)
    locked("BEGIN")
    started = time.monotonic()
    with pytest.raises(phase_4_5.LockTimeout):
        phase_4_5.run(database, lock_timeout=1.0)
    # With the busy timeout of SQLite it takes more than ten seconds.
    assert time.monotonic() - started < 5
    assert dump(path) == before


def test_lock_timeout_of_zero_does_not_wait(database, locked):
    locked("BEGIN EXCLUSIVE")

    def run():
        with pytest.raises(phase_4_5.LockTimeout):
            phase_4_5.run(database, lock_timeout=0)

    assert duration_of(run) < 5  # the default busy timeout is 10 seconds


def test_lock_released_in_time_lets_the_run_migrate(path, database):
    script = (
        f"import sqlite3, time; c = sqlite3.connect({str(path)!r}); c.execute('BEGIN "
        "EXCLUSIVE'); "
        "print(flush=True); time.sleep(0.5)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE
    ) as holder:
        holder.stdout.readline()
        assert phase_4_5.run(database, lock_timeout=30).status == "migrated"


def test_rollback_obeys_the_lock_timeout(path, database, locked):
    execute(path, SPECIFICATION_SHAPE)
    locked("BEGIN IMMEDIATE")
    with pytest.raises(phase_4_5.LockTimeout):
        phase_4_5.rollback(database, lock_timeout=0.2)
    assert fetch(path, "SELECT count(*) FROM weekly_actuals") == [(0,)]


def test_check_needs_no_lock(path, database, locked):
    locked("BEGIN IMMEDIATE")
    assert phase_4_5.check(database, lock_timeout=0).status == "pending"


# -- full disks


def test_full_disk_reports_a_one_line_error_and_changes_nothing(complain, path):
    before = path.read_bytes()
    size = len(before)
    line = complain(
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    )
    advice = ("free some space", "check the disk")
    assert line.endswith(
        tuple(f"; {what} and run again: nothing was changed" for what in advice)
    )
    assert fetch(path, "PRAGMA integrity_check") == [("ok",)]
    assert path.read_bytes() == before


def test_database_at_max_page_count_is_reported_as_full(path, database):
    before = dump(path)
    with database.connection_context():
        database.pragma("max_page_count", database.pragma("page_count"))
        with pytest.raises(phase_4_5.DatabaseUnavailable) as full:
            phase_4_5.run(database)
    assert str(full.value) == (
        f"sqlite:///{path}: database or disk is full; "
        "free some space and run again: nothing was changed"
    )
    assert dump(path) == before


# -- URLs


@pytest.mark.drivers
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("oracle://app:s3cr3t@host/shop", "unknown scheme 'oracle'"),
        (
            "postgresql://app:s3cr3t@host",
            "no database name; write postgresql://host/name",
        ),
        ("mysql://app:s3cr3t@host/", "no database name; write mysql://host/name"),
        ("sqlite://app:s3cr3t@host/shop", "three slashes: sqlite:///file.db"),
        ("postgresql://app:1/s3cr3t@host/shop", "percent-encode"),
        ("shop.db", "no scheme; write for example sqlite:///"),
        ("sqlite:///shop.db?nope=1", "an option that cannot be used (nope)"),
    ],
)
def test_unusable_url_reports_a_one_line_error_and_status_2(complain, url, says):
    line = complain("--database", url, status=2)
    assert says in line
    assert "s3cr3t" not in line


@pytest.mark.drivers
@pytest.mark.parametrize("scheme", ["postgresql", "mysql", "cockroachdb"])
@pytest.mark.parametrize("arguments", [["-v"], ["--json", "-v"], ["-q"]], ids=" ".join)
@pytest.mark.parametrize(
    ("written", "meant"), [("s3cr3t", "s3cr3t"), ("s3%2Fcr%403t", "s3/cr@3t")]
)
def test_password_reaches_no_output(cli, scheme, arguments, written, meant):
    done = cli("--database", f"{scheme}://app:{written}@127.0.0.1:1/shop", *arguments)
    assert done.returncode == 1
    assert "app@127.0.0.1:1/shop" in done.stderr
    assert written not in done.stdout + done.stderr
    assert meant not in done.stdout + done.stderr


@pytest.mark.drivers
@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_password_is_hidden_if_the_host_is_unknown(cli, scheme):
    done = cli("--database", f"{scheme}://app:s3cr3t@no.such.host.invalid/shop", "-v")
    assert done.returncode == 1
    assert "s3cr3t" not in done.stdout + done.stderr


@pytest.mark.drivers("postgresql")
def test_unreachable_server_reports_a_one_line_error(complain):
    line = complain("--database", "postgresql://app:s3cr3t@127.0.0.1:1/shop")
    assert "postgresql://app@127.0.0.1:1/shop" in line


# -- other objects with the name of the table


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "CREATE VIEW weekly_actuals AS SELECT * FROM stores",
            "weekly_actuals: expected a table, found a view; "
            "rename, convert or remove it, then run again",
        ),
        (
            "CREATE VIRTUAL TABLE weekly_actuals USING fts5(workflow_id, store_id)",
            "weekly_actuals: expected a table, found a virtual table; "
            "rename, convert or remove it, then run again",
        ),
        (
            "CREATE INDEX weekly_actuals ON stores (region)",
            "the name weekly_actuals belongs to the index of stores; "
            "rename or drop it first, then run again",
        ),
        (
            "CREATE TABLE weekly_actuals (name TEXT, price REAL)",
            "weekly_actuals: expected the columns of weekly_actuals, "
            "found an unrelated table with that name; "
            "rename, convert or remove it, then run again",
        ),
    ],
)
@pytest.mark.parametrize(
    "mode", [[], ["--check"], ["--dry-run"]], ids=lambda mode: str(*mode)
)
def test_other_object_named_weekly_actuals_is_left_unchanged(
    complain, path, script, reason, mode
):
    execute(path, script)
    before = path.read_bytes()
    line = complain("--no-smoke-test", *mode)
    assert line.endswith(f"✗ refused: {reason}")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "CREATE VIEW weekly_actuals AS SELECT * FROM stores",
            "weekly_actuals: expected a table, found a view",
        ),
        (
            "CREATE TABLE weekly_actuals (name TEXT, price REAL)",
            "weekly_actuals: expected the columns of weekly_actuals, "
            "found an unrelated table with that name",
        ),
        (
            "CREATE TABLE weekly_actuals (id INTEGER PRIMARY KEY, price REAL)",
            "weekly_actuals has no column of its model, except the id",
        ),
        (
            "CREATE VIRTUAL TABLE weekly_actuals USING fts5(workflow_id, store_id)",
            "weekly_actuals: expected a table, found a virtual table",
        ),
    ],
)
def test_rollback_refuses_an_unmanaged_object(complain, path, script, reason):
    execute(path, script)
    before = path.read_bytes()
    assert complain("--rollback", "--force").endswith(
        f"✗ refused: {reason}; it is not managed by this phase"
    )
    assert path.read_bytes() == before


def test_rollback_leaves_an_index_of_that_name_unchanged(cli, path):
    execute(path, "CREATE INDEX weekly_actuals ON stores (region)")
    before = path.read_bytes()
    assert cli("--rollback").returncode == 0
    assert path.read_bytes() == before


def test_trigger_named_weekly_actuals_does_not_block_a_run(cli, path):
    execute(
        path, "CREATE TRIGGER weekly_actuals AFTER INSERT ON stores BEGIN SELECT 1; END"
    )
    assert cli().returncode == 0


def test_base_table_without_a_column_is_refused(complain, path):
    execute(path, "ALTER TABLE stores DROP COLUMN median_income")
    assert complain().endswith(
        f"✗ sqlite:///{path}: weekly_actuals cannot be created or checked: "
        "stores.median_income: expected integer, found no such column; "
        "fix that by hand, then run again"
    )


def test_view_in_place_of_a_base_table_is_refused(complain, path):
    execute(
        path,
        "ALTER TABLE stores RENAME TO shops; CREATE VIEW stores AS SELECT * FROM shops",
    )
    assert "stores: expected a table, found a view" in complain()


def test_all_missing_tables_are_named_in_one_error(complain, tmp_path):
    execute(tmp_path / "other.db", "CREATE TABLE t (x)")
    url = f"sqlite:///{tmp_path}/other.db"
    assert complain("--database", url).endswith(
        f"✗ {url} lacks the tables historical_sales, stores, categories, workflows; "
        "check the URL, or create what is missing with: "
        f"python -m db.init_db --base-only --database {url}"
    )


def test_command_in_the_error_creates_the_missing_tables(complain, cli, tmp_path):
    execute(tmp_path / "other.db", "CREATE TABLE t (x)")
    line = complain("--database", f"sqlite:///{tmp_path}/other.db")
    arguments = line.partition("python -m db.init_db ")[2].split()
    assert cli(*arguments, module="db.init_db").returncode == 0
    assert cli("--database", f"sqlite:///{tmp_path}/other.db").returncode == 0


def test_all_incompatible_columns_are_named_in_one_error(complain, path):
    execute(
        path,
        "ALTER TABLE stores DROP COLUMN median_income; ALTER TABLE historical_sales "
        "RENAME units_sold TO u",
    )
    line = complain()
    assert "stores.median_income" in line
    assert "historical_sales.units_sold" in line


def test_text_with_invalid_utf8_gives_no_traceback(cli, path):
    execute(
        path,
        SPECIFICATION_SHAPE
        + "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, "
        "week_end_date, store_id, category_id, actual_units_sold) VALUES "
        "(CAST(x'ff' AS TEXT), 1, '', '', 'S001', "
        "'C1', 1)",
    )
    done = cli("-q")
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
