"""The command line: exit statuses, JSON, logs, terminals."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from application import (
    ORPHAN,
    OTHER_ORM_SHAPE,
    ROOT,
    SPECIFICATION_SHAPE,
    dump,
    execute,
    fetch,
)

import migrations
from migrations.phase_4_5 import phase

LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \| (DEBUG   |INFO    |WARNING |ERROR   ) \| .+"
)
KEYS = [
    "status",
    "backend",
    "database",
    "changes",
    "differences",
    "repaired",
    "smoke_test",
    "row_counts",
    "estimated_counts",
    "orphan_checks_skipped",
    "error",
    "duration_ms",
]


def messages(done):
    return [
        line.partition(" | ")[2].partition(" | ")[2]
        for line in done.stderr.splitlines()
    ]


def test_first_run_migrates_and_exits_with_0(cli, path):
    assert cli().returncode == 0
    assert fetch(path, "SELECT count(*) FROM weekly_actuals") == [(0,)]


def test_second_run_leaves_the_dump_unchanged(cli, path):
    cli()
    before = dump(path)
    assert cli().returncode == 0
    assert dump(path) == before


def test_environment_variable_names_the_database(cli, path):
    done = cli("--json", "--database", "", env={"DATABASE_URL": f"sqlite:///{path}"})
    assert json.loads(done.stdout)["status"] == "migrated"


def test_default_database_is_in_the_working_directory(tmp_path, path):
    path.rename(tmp_path / "fashion_forecast.db")
    command = [sys.executable, "-m", "migrations.phase_4_5", "--json"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout)["database"] == "sqlite:///fashion_forecast.db"


# -- exit statuses


def test_check_exits_with_1_before_and_0_after(cli):
    assert cli("--check").returncode == 1
    cli()
    assert cli("--check").returncode == 0


def test_dry_run_exits_with_0_if_a_run_would_succeed(cli):
    assert cli("--dry-run").returncode == 0
    cli()
    assert cli("--dry-run").returncode == 0


@pytest.mark.parametrize("mode", [[], ["--check"], ["--dry-run"]])
def test_every_mode_exits_with_1_if_a_run_would_be_refused(cli, path, mode):
    execute(path, "DROP TABLE stores")
    assert cli(*mode).returncode == 1


def test_rollback_exits_with_0_with_and_without_a_table(cli):
    cli()
    assert [cli("--rollback").returncode for _ in range(2)] == [0, 0]


def test_rollback_of_a_table_with_rows_needs_force(cli, path):
    execute(path, SPECIFICATION_SHAPE + ORPHAN)
    refused = cli("--rollback")
    assert refused.returncode == 1
    assert "1 row;" in refused.stderr
    assert cli("--rollback", "--force").returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-such-option"],
        ["--check", "--dry-run"],
        ["--check", "--rollback"],
        ["--lock-timeout", "soon"],
        ["--lock-timeout", "-1"],
        ["--lock-timeout", "nan"],
        ["--lock-timeout", "inf"],
        ["--lock-timeout"],
        ["--chec"],
        ["a_file.db"],
        ["--database", "oracle://host/shop"],
    ],
)
def test_usage_error_reports_a_one_line_error_and_status_2(cli, path, arguments):
    before = path.read_bytes()
    done = cli(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert LINE.fullmatch(done.stderr.rstrip("\n"))
    assert path.read_bytes() == before


@pytest.mark.parametrize("arguments", [
    ["postgresql://app:s3cr3t@host/shop"],
    ["--databse", "postgresql://app:s3cr3t@host/shop"],
    ["--databse=postgresql://app:s3cr3t@host/shop"],
    ["--lock-timeout", "mysql://app:s3cr3t@host/shop"],
    ["--check=mysql://app:s3cr3t@host/shop"],
])  # fmt: skip
@pytest.mark.parametrize("module", ["migrations.phase_4_5", "db.init_db"])
def test_usage_error_does_not_repeat_a_password(cli, module, arguments):
    done = cli(*arguments, module=module)
    assert done.returncode == 2
    assert "s3cr3t" not in done.stderr + done.stdout


def test_version_and_help_exit_with_0(cli):
    assert cli("--version").stdout.strip() == migrations.__version__
    helped = cli("--help")
    assert helped.returncode == 0
    assert "exit status:\n0 done" in helped.stdout


HELP = """
Phase 4.5: create or repair weekly_actuals, and verify the result.
options:
-h, --help show this help message and exit
--database URL default $DATABASE_URL, else sqlite:///fashion_forecast.db
--check change nothing; exit 1 if a run would change something or fail
--dry-run change nothing; print the SQL that a run, or a rollback, would execute;
exit 1 if it would be refused
--rollback drop weekly_actuals; refused while there are rows, or objects that depend
on what is dropped
--force drop the columns listed in `drops` that still hold values;
with --rollback: drop the rows, too
--no-smoke-test skip the smoke test
--no-statistics skip the row counts
--thorough read every row, however long it takes: exact counts, and orphans in columns
without an index
--lock-timeout SECONDS total time to wait for locks before giving up (default 10)
--json print one JSON document on standard output; the log is on standard error
-v, --verbose log every query
-q, --quiet log warnings and errors only
--version show program's version number and exit
exit status:
0 done, or nothing to do; 1 not possible, or --check found work;
2 usage error: unknown option, unusable URL, missing driver, unsupported model
"""


def test_help_says_what_every_option_does(capsys):
    with pytest.raises(SystemExit):
        phase.main(["--help"])
    usage, _, rest = capsys.readouterr().out.partition("\n\n")
    assert usage.startswith("usage: ")
    assert rest.split() == HELP.split()
    assert "\n0 done, or nothing to do; 1 not possible" in rest  # lines of their own


@pytest.mark.parametrize(
    "option",
    [
        "--database",
        "--check",
        "--dry-run",
        "--rollback",
        "--force",
        "--no-smoke-test",
        "--no-statistics",
        "--lock-timeout",
        "--json",
        "--version",
    ],
)
def test_help_names_every_option(cli, option):
    assert option in cli("--help").stdout


# -- older versions of Peewee


@pytest.fixture
def older_peewee(tmp_path):
    """Return the environment of a process that imports Peewee 3.17."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "peewee.py").write_text('__version__ = "3.17.0"\n')
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def run_python(environment, *arguments):
    command = [sys.executable, *map(str, arguments)]
    options = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": 60}
    return subprocess.run(command, env=environment, **options)


NEEDED = "Peewee 4.0 or newer is needed, and 3.17.0 is installed"
TOO_OLD = f"{NEEDED}; run: pip install -U peewee\n"


@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_older_peewee_is_a_one_line_error_of_the_module(older_peewee, arguments):
    done = run_python(older_peewee, "-m", "migrations.phase_4_5", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {TOO_OLD}"


def test_older_peewee_is_a_one_line_error_of_the_script(older_peewee, tmp_path):
    script = tmp_path / "phase-4-5"
    script.write_text("from migrations.phase_4_5 import phase\nphase.main()\n")
    done = run_python(older_peewee, script)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {TOO_OLD}"


def test_older_peewee_is_an_import_error_of_the_package(older_peewee):
    done = run_python(older_peewee, "-c", "import migrations")
    assert done.returncode == 1
    assert done.stderr.endswith(f"\nImportError: {TOO_OLD}")


# -- JSON


def test_standard_output_holds_the_json_document_alone(cli):
    document = json.loads(cli("--json").stdout)
    assert list(document) == KEYS
    assert (document["status"], document["backend"], document["error"]) == (
        "migrated",
        "sqlite",
        None,
    )


def test_json_of_a_second_run_is_up_to_date(cli):
    cli()
    document = json.loads(cli("--json").stdout)
    assert (document["status"], document["changes"], document["differences"]) == (
        "up_to_date",
        [],
        [],
    )
    assert set(document["smoke_test"].values()) == {True}


def test_json_of_a_change_contains_its_sql(cli):
    changes = json.loads(cli("--json").stdout)["changes"]
    assert changes[0]["description"] == "create table weekly_actuals"
    assert changes[0]["sql"].startswith('CREATE TABLE "weekly_actuals" (')


@pytest.mark.parametrize(
    ("mode", "status"),
    [("--check", "pending"), ("--dry-run", "pending"), ("--rollback", "up_to_date")],
)
def test_json_of_each_mode_has_its_status(cli, mode, status):
    assert json.loads(cli(mode, "--json").stdout)["status"] == status


def test_json_of_disabled_steps_is_null(cli):
    document = json.loads(cli("--json", "--no-smoke-test", "--no-statistics").stdout)
    assert (document["smoke_test"], document["row_counts"]) == (None, None)


def test_json_of_an_orphan_is_a_warning(cli, path):
    execute(path, OTHER_ORM_SHAPE + ORPHAN)
    *notes, difference = json.loads(cli("--json").stdout)["differences"]
    assert {note["severity"] for note in notes} == {"note"}
    assert list(difference) == ["severity", "object", "expected", "actual", "message"]
    assert difference["severity"] == "warning"


def test_json_of_a_failure_names_the_error(cli, path):
    execute(path, "DROP TABLE stores")
    document = json.loads(cli("--json").stdout)
    assert list(document) == KEYS
    assert (document["status"], document["error"]["type"]) == (
        "failed",
        "MissingTables",
    )
    assert "stores" in document["error"]["message"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-such-option"],
        ["--database", "oracle://host/shop"],
        ["--database", "sqlite:////no/such.db"],
    ],
)
def test_json_is_written_for_a_usage_error(cli, arguments):
    document = json.loads(cli("--json", *arguments).stdout)
    assert list(document) == KEYS
    assert document["status"] == "failed"
    assert document["error"]["message"]


def test_json_leaves_the_log_on_standard_error(cli):
    assert LINE.match(cli("--json").stderr)


# -- the dry run


def test_script_of_a_dry_run_gives_the_schema_of_a_run(cli, path, tmp_path):
    script = cli("--dry-run").stdout
    twin = tmp_path / "twin.db"
    twin.write_bytes(path.read_bytes())
    execute(twin, script)
    cli("--no-smoke-test")
    assert dump(twin) == dump(path)


def test_dry_run_without_changes_prints_nothing(cli):
    cli()
    assert cli("--dry-run").stdout == ""


@pytest.mark.parametrize("mode", ["--check", "--dry-run"])
def test_read_only_modes_leave_the_file_unchanged(cli, path, mode):
    before = path.read_bytes()
    cli(mode)
    assert path.read_bytes() == before


# -- the log


def test_every_line_of_the_log_has_the_same_form(cli):
    lines = cli().stderr.splitlines()
    assert len(lines) > 10
    assert [line for line in lines if not LINE.fullmatch(line)] == []


def test_standard_output_is_empty_without_json(cli):
    assert cli().stdout == ""


def test_every_change_is_logged_with_its_sql(cli):
    done = cli("--json")
    for change in json.loads(done.stdout)["changes"]:
        assert f"{change['description']}: {change['sql']}" in done.stderr


def test_sections_of_the_log_are_in_order(cli):
    sections = [text for text in messages(cli()) if text.startswith("──")]
    assert sections == ["── Validate", "── Migrate", "── Smoke test", "── Statistics"]


def test_log_of_a_rollback_has_one_section(cli):
    cli()
    log = messages(cli("--rollback"))
    assert [text for text in log if text.startswith("──")] == ["── Roll back"]


def test_passed_steps_are_marked_with_a_tick(cli):
    ticked = [text for text in messages(cli()) if text.startswith("✓")]
    assert ticked[-7:-1] == [
        "✓ insert",
        "✓ select",
        "✓ unique",
        "✓ foreign_keys",
        "✓ cascade",
        "✓ cleanup",
    ]


def test_last_line_of_the_log_sums_up_the_run(cli, path):
    assert re.fullmatch(r"✓ migrated in \d+\.\d s: 4 statements", messages(cli())[-1])
    assert messages(cli())[-1] == "✓ nothing to do"
    execute(
        path, "DROP TABLE weekly_actuals; CREATE VIEW weekly_actuals AS SELECT 1 AS id"
    )
    assert messages(cli())[-1].startswith("✗ refused: ")


def test_row_counts_have_thousands_separators(cli):
    assert "historical_sales  1,234 rows" in cli().stderr


def test_error_is_marked_with_a_cross(cli, path):
    execute(path, "DROP TABLE stores")
    assert messages(cli("-q"))[-1].startswith("✗ ")


def test_quiet_run_without_problems_writes_nothing(cli):
    assert cli("-q").stderr == ""
    assert cli("--quiet").stderr == ""


def test_quiet_run_writes_warnings(cli, path):
    execute(path, OTHER_ORM_SHAPE + ORPHAN)
    assert "| WARNING  |" in cli("-q").stderr


def test_verbose_run_logs_queries_in_the_same_form(cli):
    lines = cli("-v").stderr.splitlines()
    assert any("SAVEPOINT" in line for line in lines)
    assert [line for line in lines if not LINE.fullmatch(line)] == []


def test_sql_of_a_rebuild_keeps_the_form_of_the_log(cli, path):
    execute(
        path,
        SPECIFICATION_SHAPE.replace(
            "week_number INTEGER NOT NULL", "week_number TEXT NOT NULL"
        ),
    )
    lines = cli().stderr.splitlines()
    assert any("rebuild" in line for line in lines)
    assert [line for line in lines if not LINE.fullmatch(line)] == []


# -- the level of each line

BOTH = OTHER_ORM_SHAPE.replace("week_number INTEGER NOT NULL", "week_number INTEGER")
BOTH = BOTH.replace("INDEX idx_weekly_actuals_date", "INDEX ix_date")
WRONG = "weekly_actuals.week_number: expected NOT NULL, found NULL allowed"
EQUIVALENT = (
    "weekly_actuals.idx_weekly_actuals_date: ix_date is equivalent and is accepted in "
    "its place"
)


def levels(done):
    """Return the level of each message."""
    lines = [line.split(" | ", 2) for line in done.stderr.splitlines()]
    return {message: level.strip() for _, level, message in lines}


def test_run_logs_repaired_differences_as_information(cli, path):
    execute(path, BOTH)
    logged = levels(cli())
    assert logged[f"✗ {WRONG}"] == "INFO"
    assert logged[f"- {EQUIVALENT}"] == "INFO"


def test_check_logs_differences_as_warnings(cli, path):
    execute(path, BOTH)
    logged = levels(cli("--check"))
    assert logged[f"✗ {WRONG}"] == "WARNING"
    assert logged[f"- {EQUIVALENT}"] == "INFO"


def test_run_without_differences_logs_information_only(cli):
    cli()
    assert set(levels(cli()).values()) == {"INFO"}


def test_smoke_test_step_is_logged_at_the_level_of_its_outcome(cli, path):
    cli()
    closed = "BEGIN SELECT RAISE(ABORT, 'closed'); END"
    execute(path, f"CREATE TRIGGER t BEFORE DELETE ON workflows {closed}")
    logged = levels(cli())
    assert logged["✓ insert"] == "INFO"
    assert logged["✗ cascade"] == "ERROR"
    execute(path, f"CREATE TRIGGER u BEFORE INSERT ON workflows {closed}")
    logged = levels(cli())
    assert logged["- insert: not tried"] == "WARNING"
    reason = "  the smoke test cannot insert a row of workflows: closed"
    assert logged[reason] == "WARNING"


# -- terminals

ASCII = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}


def test_ascii_terminal_gets_ascii_signs(cli):
    done = cli(env=ASCII)
    assert done.returncode == 0
    assert "[ok] insert" in done.stderr
    assert "| INFO     | -- Validate" in done.stderr
    assert done.stderr.isascii()


def test_ascii_terminal_gets_the_error(cli, path):
    execute(path, "DROP TABLE stores")
    done = cli(env=ASCII)
    assert "| ERROR    | [failed] " in done.stderr
    assert "Traceback" not in done.stderr


def test_latin1_terminal_gets_ascii_signs(cli):
    done = cli(env={"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"})
    assert "[ok] insert" in done.stderr


@pytest.mark.parametrize(
    "mode", [["--dry-run"], ["--dry-run", "--json"], ["--json"], []]
)
def test_names_outside_the_encoding_are_escaped(cli, path, mode):
    execute(
        path,
        SPECIFICATION_SHAPE.replace(
            "week_number INTEGER NOT NULL", "week_number INTEGER, größe TEXT"
        ),
    )
    done = cli(*mode, env=ASCII)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert (done.stdout + done.stderr).isascii()


def test_path_with_invalid_utf8_is_accepted(cli, path):
    odd = path.with_name("caf\udce9.db")
    path.rename(odd)
    done = cli("--json", "--database", f"sqlite:///{odd}", text=False)
    assert done.returncode == 0
    assert json.loads(done.stdout)["status"] == "migrated"


def test_closed_pipe_does_not_disturb_the_run(cli, path):
    done = subprocess.run(
        f"{sys.executable} -m migrations.phase_4_5 --database sqlite:///{path} --json "
        "| true",
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert fetch(path, "SELECT count(*) FROM weekly_actuals") == [(0,)]


def test_full_standard_output_fails_without_a_traceback(cli, path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "migrations.phase_4_5",
                "--database",
                f"sqlite:///{path}",
                "--json",
                "-q",
            ],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


def test_closed_standard_streams_do_not_disturb_the_run(path):
    command = (
        f"{sys.executable} -m migrations.phase_4_5 --database sqlite:///{path} --json "
        ">&- 2>&-"
    )
    assert subprocess.run(command, shell=True, cwd=ROOT, timeout=60).returncode == 0


def test_interrupted_run_creates_nothing(path):
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import sqlite3, sys; c = sqlite3.connect({str(path)!r}); "
            "c.execute('BEGIN IMMEDIATE'); print(flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    holder.stdout.readline()
    run = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "migrations.phase_4_5",
            "--database",
            f"sqlite:///{path}",
            "--lock-timeout",
            "3",
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    while "Migrate" not in run.stderr.readline():
        pass
    run.send_signal(signal.SIGINT)
    text = run.communicate(timeout=60)[1]
    holder.communicate(b"", timeout=60)
    assert run.returncode == 1
    assert "Traceback" not in text
    assert (
        fetch(path, "SELECT name FROM sqlite_master WHERE name LIKE '%weekly_actuals%'")
        == []
    )


# -- in the same process


def test_main_returns_the_exit_status(path, capsys):
    assert phase.main(["--database", f"sqlite:///{path}", "--check", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["status"] == "pending"


def test_count_of_one_row_is_singular(cli):
    assert re.search(r"workflows +1 row$", cli().stderr, re.MULTILINE)


# -- the whole log

BEGINNING = ["Phase 4.5: weekly_actuals in URL"]
VALIDATE = ["── Validate", "✓ historical_sales, stores, categories, workflows"]
MISSING = "✗ weekly_actuals: expected a table, found nothing"
CREATED = [
    "── Migrate",
    "  create table weekly_actuals: SQL",
    "  create index idx_weekly_actuals_workflow: SQL",
    "  create index idx_weekly_actuals_store: SQL",
    "  create index idx_weekly_actuals_date: SQL",
]
COMPLETE = "✓ weekly_actuals is as declared"
SMOKE_TEST = [
    "── Smoke test",
    "  category_id ON DELETE CASCADE: not tried, it would read all of historical_sales",
    *("✓ insert", "✓ select", "✓ unique", "✓ foreign_keys", "✓ cascade", "✓ cleanup"),
]
STATISTICS = [
    "── Statistics",
    "historical_sales  1,234 rows",
    "stores            2 rows",
    "categories        1 row",
    "workflows         1 row",
    "weekly_actuals    0 rows",
]


def log_of(cli, *arguments):
    """Return the messages of the log, without durations, SQL and the URL."""
    lines = []
    for line in messages(cli(*arguments)):
        text = re.sub(r"sqlite:///\S+", "URL", line)
        text = re.sub(r": (CREATE|DROP) .*", ": SQL", text)
        lines.append(re.sub(r"\d+\.\d+ s", "0.0 s", text))
    return lines


def test_log_of_a_run_says_what_is_done(cli):
    assert log_of(cli) == [
        *BEGINNING,
        *VALIDATE,
        MISSING,
        *CREATED,
        COMPLETE,
        *SMOKE_TEST,
        *STATISTICS,
        "✓ migrated in 0.0 s: 4 statements",
    ]
    again = [*BEGINNING, *VALIDATE, COMPLETE, *SMOKE_TEST, *STATISTICS]
    assert log_of(cli) == [*again, "✓ nothing to do"]


def test_log_of_a_check_says_what_a_run_would_do(cli):
    found = [*BEGINNING, *VALIDATE, MISSING, "a run would execute 4 statements"]
    assert log_of(cli, "--check") == found
    assert log_of(cli, "--dry-run") == found
    cli("-q")
    complete = [*BEGINNING, *VALIDATE, "✓ nothing to do"]
    assert log_of(cli, "--check") == complete


def test_log_of_a_run_without_its_last_steps(cli):
    done = log_of(cli, "--no-smoke-test", "--no-statistics")
    assert done[-2:] == [COMPLETE, "✓ migrated in 0.0 s: 4 statements"]
    assert len(done) == len(BEGINNING + VALIDATE + CREATED) + 3


def test_log_of_a_rollback_says_what_is_dropped(cli):
    cli("-q")
    beginning = [*BEGINNING, "── Roll back"]
    planned = log_of(cli, "--rollback", "--dry-run")
    assert planned == [*beginning, "a run would execute 1 statement"]
    assert log_of(cli, "--rollback") == [
        *beginning,
        "  drop table weekly_actuals: SQL",
        "✓ dropped weekly_actuals",
    ]
    nothing = [*beginning, "there is no weekly_actuals"]
    assert log_of(cli, "--rollback") == [*nothing, "✓ nothing to do"]
    assert log_of(cli, "--rollback", "--dry-run") == [*nothing, "✓ nothing to do"]
