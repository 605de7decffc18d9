"""`--rollback --dry-run`: what a rollback would execute, or why it would be refused."""

import json

import pytest
from application import dump, execute

ROW = (
    "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, "
    "week_end_date, store_id, category_id, actual_units_sold) SELECT workflow_id, 1, "
    "'2025-01-06', '2025-01-12', store_id, category_id, 5 FROM workflows, "
    "stores LIMIT 1"
)


@pytest.fixture
def migrated(cli, path):
    """A migrated file, and what it contains."""
    cli()
    return path


def test_dry_run_of_a_rollback_prints_its_statements(cli, migrated):
    before = dump(migrated)
    done = cli("--rollback", "--dry-run", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert 'DROP TABLE "weekly_actuals";' in done.stdout.splitlines()
    assert dump(migrated) == before


def test_dry_run_of_a_rollback_executes_what_it_printed(cli, migrated):
    planned = json.loads(cli("--rollback", "--dry-run", "--json").stdout)
    executed = json.loads(cli("--rollback", "--json").stdout)
    assert planned["status"] == "pending"
    assert executed["status"] == "rolled_back"
    assert planned["changes"] == executed["changes"]


def test_dry_run_of_a_rollback_is_refused_as_the_rollback(cli, migrated):
    execute(migrated, ROW)
    before = dump(migrated)
    planned = cli("--rollback", "--dry-run", "-q")
    assert planned.returncode == 1
    assert planned.stdout == ""
    assert planned.stderr.rstrip().endswith(
        "✗ refused: weekly_actuals holds 1 row; "
        "save them, or drop them too with --force (force=True)"
    )
    assert (
        cli("--rollback", "-q").stderr.partition("|")[2]
        == (planned.stderr.partition("|")[2])
    )
    assert dump(migrated) == before


def test_forced_dry_run_of_a_rollback_prints_the_drop(cli, migrated):
    execute(migrated, ROW)
    done = cli("--rollback", "--dry-run", "--force", "-q")
    assert done.returncode == 0
    assert 'DROP TABLE "weekly_actuals";' in done.stdout


def test_dry_run_of_a_rollback_without_tables_prints_nothing(cli):
    done = cli("--rollback", "--dry-run", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("other", ["--dry-run", "--rollback"])
def test_check_cannot_be_combined_with_another_mode(cli, other):
    done = cli("--check", other)
    assert done.returncode == 2
    assert f"--check and {other} cannot be used together" in done.stderr
