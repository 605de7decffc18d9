"""The command of a phase whose models are not supported: one line for each problem."""

import json
import os
import subprocess
import sys

import peewee
import pytest
from application import ROOT
from engines.servers import NOTHING
from states import ENGINES

import db
from db.fields import UniqueConstraint
from migrations.errors import UnsupportedModel
from migrations.phase import Phase

MODULE = """
import peewee
from migrations.phase import Phase

class Meta:
    table_name = "things"

class OddField(peewee.Field):
    field_type = "ODD(1)[]"

fields = {{f"field_{{n:02}}": OddField() for n in range({count})}}
Thing = type("Thing", (peewee.Model,), {{**fields, "Meta": Meta}})
phase = Phase("Phase 9", requires={{}}, manages=[Thing])
if __name__ == "__main__":
    raise SystemExit(phase.main())
"""
PROBLEM = (
    "Thing.field_{:02}: the type ODD(1)[] is not supported on SQLite: "
    'near "[]": syntax error'
)


@pytest.fixture
def run(tmp_path):
    """Return a function that runs the command of a phase with some problems."""

    def run(count, *arguments):
        (tmp_path / "phase_9.py").write_text(MODULE.format(count=count))
        path = tmp_path / "app.db"
        path.touch()
        command = [sys.executable, "-m", "phase_9", "--database", f"sqlite:///{path}"]
        return subprocess.run(
            [*command, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def messages(done):
    """Return the lines on standard error without their time and level."""
    return [line.rpartition(" | ")[2] for line in done.stderr.splitlines()]


@pytest.mark.parametrize("mode", [(), ("--check",), ("--dry-run",), ("--rollback",)])
def test_each_problem_is_a_line_of_a_usage_error(run, mode):
    done = run(2, "-q", *mode)
    assert done.returncode == 2
    assert messages(done) == [f"✗ {PROBLEM.format(0)}", PROBLEM.format(1)]
    assert done.stdout == ""


def test_one_problem_is_one_line(run):
    done = run(1, "-q")
    assert (done.returncode, messages(done)) == (2, [f"✗ {PROBLEM.format(0)}"])


@pytest.mark.parametrize(
    ("count", "last"),
    [(10, PROBLEM.format(9)), (11, "and 1 more problem"), (13, "and 3 more problems")],
)
def test_more_than_ten_problems_are_counted(run, count, last):
    lines = messages(run(count, "-q"))
    assert len(lines) == min(count, 11)
    assert lines[9] == PROBLEM.format(9)
    assert lines[-1] == last


def test_json_document_has_the_problems(run):
    done = run(2, "--json")
    assert done.returncode == 2
    report = json.loads(done.stdout)
    assert report["status"] == "failed"
    assert (report["backend"], report["changes"]) == ("sqlite", [])
    assert report["error"] == {
        "type": "UnsupportedModel",
        "message": f"{PROBLEM.format(0)}\n{PROBLEM.format(1)}",
    }


def test_help_is_printed_in_spite_of_problems(run):
    done = run(2, "--help")
    assert done.returncode == 0
    assert "Phase 9: create or repair things" in done.stdout


CALLS = pytest.mark.parametrize("name", ["ensure", "run", "check", "rollback"])


@CALLS
def test_what_no_database_supports_is_refused_before_one_is_opened(tmp_path, name):
    class Thing(peewee.Model):
        class Meta:
            temporary = True

    database = db.connect(f"sqlite:///{tmp_path}/app.db")
    phase = Phase("Thing", requires={}, manages=[Thing])
    for _ in range(2):
        with pytest.raises(UnsupportedModel, match="^Thing: a temporary table"):
            getattr(phase, name)(database)
    assert database.is_closed()
    assert list(tmp_path.iterdir()) == []


@CALLS
@pytest.mark.parametrize("engine", ENGINES)
def test_what_a_database_does_not_support_is_refused_there(world, engine, name):
    class Thing(peewee.Model):
        field = peewee.Field()
        field.field_type = "NO_SUCH_TYPE(1)[]"

    target = world(engine)
    target.clear()
    before = target.dump()
    database = db.connect(target.url)
    phase = Phase("Thing", requires={}, manages=[Thing])
    for _ in range(2):
        with pytest.raises(UnsupportedModel, match="^Thing.field: ") as refusal:
            getattr(phase, name)(database)
        report = refusal.value.report
        assert (report.status, report.changes) == ("failed", ())
    assert database.is_closed()
    assert target.dump() == before


def test_default_without_a_value_is_refused_on_sqlite(file_and_database):
    class Thing(peewee.Model):
        made = peewee.DateTimeField(constraints=[peewee.SQL("DEFAULT (now())")])

    _, database = file_and_database
    phase = Phase("Things", requires={}, manages=[Thing])
    with pytest.raises(UnsupportedModel) as refused:
        phase.check(database)
    assert str(refused.value) == (
        "Thing.made: DEFAULT (now()) has no value on SQLite: no such function: now"
    )


@pytest.mark.parametrize("engine", ["mysql"])
def test_foreign_key_with_the_name_of_another_index_is_refused(world, engine):
    class Parent(peewee.Model):
        pass

    class Child(peewee.Model):
        parent = peewee.ForeignKeyField(Parent, constraint_name="once")
        number = peewee.IntegerField()

        class Meta:
            constraints = [UniqueConstraint("once", "number", "parent_id")]

    phase = Phase("Children", requires={}, manages=[Parent, Child])
    with pytest.raises(UnsupportedModel, match="the name once is given twice on"):
        phase.check(db.connect(world(engine).make(NOTHING).url))


@pytest.mark.parametrize("engine", ["mysql"])
def test_foreign_key_may_have_the_name_of_its_index(world, engine):
    class Parent(peewee.Model):
        pass

    class Child(peewee.Model):
        parent = peewee.ForeignKeyField(Parent, constraint_name="child_parent_id")

    phase = Phase("Children", requires={}, manages=[Parent, Child])
    database = db.connect(world(engine).make(NOTHING).url)
    assert phase.run(database).status == "migrated"
    assert phase.run(database).status == "up_to_date"
