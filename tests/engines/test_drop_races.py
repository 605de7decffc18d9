"""A column that is dropped while another session writes a value to it."""

import contextlib

import peewee
import pytest
from engines.servers import second_connection
from oracle import created_by_peewee, differing_definitions
from peewee import CharField, ForeignKeyField
from states import ENGINES

import db
from db.fields import AutoIncrementField
from migrations.engines.session import Session
from migrations.errors import ChangeRefused
from migrations.phase import Phase
from migrations.steps import PhaseCall

SERVERS = [each for each in ENGINES if each != "sqlite"]
on_every_engine = pytest.mark.parametrize("engine", ENGINES)
pytestmark = pytest.mark.drivers


class Kind(peewee.Model):
    id = CharField(9, primary_key=True)

    class Meta:
        table_name = "kinds"


def thing(**fields):
    meta = type("Meta", (), {"table_name": "things"})
    return type(
        "Thing", (peewee.Model,), {"id": AutoIncrementField(), **fields, "Meta": meta}
    )


BEFORE = [
    Kind,
    thing(
        note=CharField(9, null=True, index=True),
        kind=ForeignKeyField(Kind, null=True, on_delete="SET NULL"),
    ),
]
AFTER = [Kind, thing()]
DROPS = ["things.note", "things.kind_id"]
ROWS = ("INSERT INTO things (note) VALUES (NULL)",)
WRITE = {
    "note": "INSERT INTO things (note) VALUES ('x')",
    "kind_id": "INSERT INTO things (kind_id) VALUES ('a')",
}
phase = Phase("Things", requires={}, manages=AFTER, drops=DROPS)


def make(world, rows):
    database = db.connect(world.url)
    with database.connection_context(), database.bind_ctx(BEFORE):
        database.create_tables(BEFORE)
    world.execute("INSERT INTO kinds VALUES ('a')", *rows)
    return database


def write(world, column):
    """Write a value as another process does; return whether it was accepted."""
    with contextlib.closing(second_connection(world)) as connection:
        try:
            connection.cursor().execute(WRITE[column])
        except Exception:
            return False
    return True


def columns(world):
    database = db.connect(world.url)
    with database.connection_context():
        return {each.name for each in database.get_columns("things")}


def written_before_change(monkeypatch, world, column, number):
    """Let a value be written right before the change of a number.

    Return a list that gets whether it was accepted, once it was tried.
    """
    accepted = []
    changes = iter(range(100))
    announce = Session._announce

    def write_first(session, change):
        if next(changes) == number:
            accepted.append(write(world, column))
        announce(session, change)

    monkeypatch.setattr(Session, "_announce", write_first)
    return accepted


@on_every_engine
@pytest.mark.parametrize("rows", [(), ROWS], ids=["empty", "rows"])
@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("column", WRITE)
def test_a_value_that_is_written_before_a_change_stays(
    world, engine, monkeypatch, column, number, rows
):
    world = world(engine)
    database = make(world, rows)
    accepted = written_before_change(monkeypatch, world, column, number)
    report = phase.run(database)
    monkeypatch.undo()
    if number == 0:
        assert accepted == [world.engine != "sqlite"]
    if accepted == [True]:
        found = world.query(f"SELECT count(*) FROM things WHERE {column} IS NOT NULL")
        assert found == [(1,)]
        warnings = [each.object for each in report.differences]
        assert f"things.{column}" in warnings
        assert f"things.{column}" not in [each.object for each in report.repaired]
    else:
        assert column not in columns(world)
    assert phase.check(database).status == "up_to_date"
    assert phase.run(database, force=True).status in ("migrated", "up_to_date")
    assert columns(world) == {"id"}


@on_every_engine
def test_a_value_that_is_written_before_the_lock_is_found(world, engine, monkeypatch):
    world = world(engine)
    database = make(world, ROWS)
    create_or_repair = PhaseCall.create_or_repair

    def write_first(call, found):
        assert write(world, "note")
        create_or_repair(call, found)

    monkeypatch.setattr(PhaseCall, "create_or_repair", write_first)
    phase.run(database)
    assert columns(world) == {"id", "note"}


@pytest.mark.parametrize("engine", SERVERS)
def test_values_that_are_written_again_and_again_end_the_run(
    world, engine, monkeypatch
):
    """Each is deleted before the run looks again."""
    world = world(engine)
    database = make(world, ROWS)
    announce = Session._announce

    def write_first(session, change):
        if "hold no value" in change.description:
            write(world, "note")
        if change.description.startswith("drop the check"):
            world.execute("DELETE FROM things WHERE note IS NOT NULL")
        announce(session, change)

    def delete(call):
        world.execute("DELETE FROM things WHERE note IS NOT NULL")
        return compare(call)

    compare = PhaseCall._compare
    monkeypatch.setattr(Session, "_announce", write_first)
    monkeypatch.setattr(PhaseCall, "_compare", delete)
    with pytest.raises(ChangeRefused) as error:
        phase.run(database)
    monkeypatch.undo()
    assert "things, kinds: " in str(error.value) or "kinds, things: " in str(
        error.value
    )
    assert "other sessions write to a column that is in drops; stop" in str(error.value)
    assert phase.run(database, force=True).status == "migrated"


class _Killed(BaseException):
    pass


def interrupted_at(monkeypatch, database, number):
    """Interrupt a run before its change of a number."""
    changes = iter(range(100))
    announce = Session._announce

    def interrupt(session, change):
        if next(changes) == number:
            raise _Killed
        announce(session, change)

    monkeypatch.setattr(Session, "_announce", interrupt)
    with contextlib.suppress(_Killed):
        phase.run(database)
    monkeypatch.undo()


@pytest.mark.parametrize("engine", SERVERS)
@pytest.mark.parametrize("number", range(1, 6))
def test_an_interrupted_drop_is_continued(world, engine, monkeypatch, number):
    world = world(engine)
    oracle = created_by_peewee(world, AFTER)
    database = make(world, ROWS)
    interrupted_at(monkeypatch, database, number)
    phase.run(database)
    assert differing_definitions(world, oracle, ["kinds", "things"]) == set()


@pytest.mark.parametrize("engine", SERVERS)
def test_what_an_interrupted_drop_has_left_goes_if_the_column_stays(
    world, engine, monkeypatch
):
    world = world(engine)
    oracle = created_by_peewee(world, BEFORE)
    database = make(world, ROWS)
    interrupted_at(monkeypatch, database, 1)
    kept = Phase("Things", requires={}, manages=BEFORE)
    report = kept.check(database)
    message = "which a run that was interrupted has left"
    assert message in " ".join(each.message for each in report.differences)
    assert kept.run(database).status == "migrated"
    assert differing_definitions(world, oracle, ["kinds", "things"]) == set()
    assert write(world, "note")


def test_what_is_left_beside_a_value_goes_and_the_column_stays(world):
    world = world("postgresql")
    database = make(world, ROWS)
    world.execute(
        WRITE["note"],
        "ALTER TABLE things ADD CONSTRAINT things_note__empty "
        "CHECK (note IS NULL) NOT VALID",
    )
    report = phase.run(database)
    assert "things.things_note__empty" in [each.object for each in report.repaired]
    assert columns(world) == {"id", "note"}
    assert write(world, "note")
    assert phase.run(database, force=True).status == "migrated"


def test_a_column_is_dropped_in_the_transaction_of_the_caller(world):
    world = world("postgresql")
    database = make(world, ROWS)
    with database.connection_context(), database.atomic() as transaction:
        phase.run(database)
        transaction.rollback()
    assert columns(world) == {"id", "note", "kind_id"}
    with database.connection_context(), database.atomic():
        phase.run(database)
    assert columns(world) == {"id"}


@on_every_engine
def test_with_force_nothing_is_looked_for(world, engine):
    world = world(engine)
    database = make(world, ROWS)
    report = phase.run(database, force=True)
    assert "CHECK" not in " ".join(each.sql for each in report.changes)


@pytest.mark.parametrize("engine", SERVERS)
def test_the_script_stops_where_a_value_was_written(world, engine):
    world = world(engine)
    database = make(world, ROWS)
    statements = [each.sql for each in phase.check(database).changes]
    assert write(world, "note")
    with database.connection_context(), pytest.raises(peewee.DatabaseError):
        list(map(database.execute_sql, statements))
    assert "note" in columns(world)
