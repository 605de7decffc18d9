"""A change without effect is never reported as a success, on every engine."""

import json

import peewee
import pytest
from engines.servers import COMPLETE, NO_DATE_INDEX
from states import ENGINES

from migrations import phase_4_5

INDEX = "idx_weekly_actuals_date"


@pytest.fixture
def without_effect(monkeypatch):
    """Return a function that lets statements do nothing, by beginning and content."""
    execute_sql = peewee.Database.execute_sql

    def ignore(beginning, word):
        def execute(database, sql, *arguments, **options):
            ignored = sql.lstrip().startswith(beginning) and word in sql
            statement = "SELECT 1" if ignored else sql
            return execute_sql(database, statement, *arguments, **options)

        monkeypatch.setattr(peewee.Database, "execute_sql", execute)

    return ignore


def failure_of(world, capsys, *options):
    """Run the command; return the error of its JSON document."""
    status = phase_4_5.phase.main(["--database", world.url, "--json", "-q", *options])
    report = json.loads(capsys.readouterr().out)
    assert (status, report["status"]) == (1, "failed")
    return report["error"]


@pytest.mark.parametrize("engine", ENGINES)
def test_index_that_is_not_created_fails_the_run(
    no_date_index, without_effect, capsys, engine
):
    without_effect(("CREATE", "ALTER"), INDEX)
    error = failure_of(no_date_index, capsys)
    if engine == "mysql":  # the rehearsal misses the index already
        assert error["type"] == "ChangeRefused"
        assert INDEX in error["message"]
    else:
        assert error["type"] == "VerificationFailed"
        assert f"weekly_actuals.{INDEX}: expected (week_start_date)" in error["message"]


@pytest.mark.parametrize("engine", ENGINES)
def test_table_that_is_not_dropped_fails_the_rollback(
    world, engine, without_effect, capsys
):
    made = world(engine).make(COMPLETE)
    without_effect("DROP TABLE", "weekly_actuals")
    error = failure_of(made, capsys, "--rollback")
    assert error["type"] == "VerificationFailed"
    assert error["message"] == "weekly_actuals is still there after the drop"
    assert made.columns()


def test_index_that_the_server_drops_again_fails_the_run(world, request, capsys):
    made = world("postgresql").make(NO_DATE_INDEX)
    made.execute(
        "CREATE FUNCTION drop_index() RETURNS event_trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN DROP INDEX {INDEX}; END $$",
        "CREATE EVENT TRIGGER no_index ON ddl_command_end WHEN TAG IN ('CREATE INDEX') "
        "EXECUTE FUNCTION drop_index()",
    )
    request.addfinalizer(lambda: made.execute("DROP EVENT TRIGGER no_index"))
    assert failure_of(made, capsys)["type"] == "VerificationFailed"
