"""A table that is dropped while another session writes a row to it."""

import contextlib

import peewee
import pytest
from engines.servers import second_connection
from peewee import CharField, ForeignKeyField
from states import ENGINES

import db
from db.fields import AutoIncrementField
from migrations.engines.session import Session
from migrations.errors import ChangeRefused
from migrations.phase import Phase
from migrations.steps import PhaseCall

on_every_engine = pytest.mark.parametrize("engine", ENGINES)
pytestmark = pytest.mark.drivers


class Kind(peewee.Model):
    id = CharField(9, primary_key=True)

    class Meta:
        table_name = "kinds"


class Thing(peewee.Model):
    id = AutoIncrementField()
    kind = ForeignKeyField(Kind, null=True)

    class Meta:
        table_name = "things"


phase = Phase("Things", requires={}, manages=[Kind, Thing])
WRITE = {
    "kinds": "INSERT INTO kinds (id) VALUES ('a')",
    "things": "INSERT INTO things (kind_id) VALUES (NULL)",
}


def make(world):
    database = db.connect(world.url)
    phase.run(database)
    return database


def write(world, table):
    """Write a row as another process does; return whether it was accepted."""
    with contextlib.closing(second_connection(world)) as connection:
        try:
            connection.cursor().execute(WRITE[table])
        except Exception:
            return False
    return True


def call_before_change(monkeypatch, number, call):
    """Call a function right before the change of a number, once."""
    changes = iter(range(100))
    announce = Session._announce

    def call_first(session, change):
        if next(changes) == number:
            call()
        announce(session, change)

    monkeypatch.setattr(Session, "_announce", call_first)


def interrupt_rollback(monkeypatch, database, number):
    """Begin a rollback that ends right before the change of a number, if it has one."""

    def interrupt():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        call_before_change(patch, number, interrupt)
        phase.rollback(database)


def rows(world, table):
    ((number,),) = world.query(f"SELECT count(*) FROM {table}")
    return number


def tables(database):
    with database.connection_context():
        return set(database.get_tables())


@on_every_engine
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("table", WRITE)
def test_a_row_that_is_written_before_a_drop_stays(
    world, engine, monkeypatch, table, number
):
    world = world(engine)
    database = make(world)
    accepted = []
    call_before_change(
        monkeypatch, number, lambda: accepted.append(write(world, table))
    )
    refusal = None
    try:
        phase.rollback(database)
    except ChangeRefused as error:
        refusal = str(error)
    if refusal is None:
        assert accepted in ([], [False])
        assert tables(database).isdisjoint(WRITE)
        return
    assert accepted == [True]
    assert refusal == (
        f"{table} holds 1 row; save them, or drop them too with --force (force=True)"
    )
    # Nothing was dropped, and nothing is left of the attempt.
    assert rows(world, table) == 1
    report = phase.check(database)
    assert (report.status, report.differences) == ("up_to_date", ())
    others = WRITE.keys() - {table}
    assert [write(world, other) for other in others] == [True]


@on_every_engine
@pytest.mark.parametrize("number", range(4))
def test_what_an_interrupted_rollback_leaves_goes(world, engine, monkeypatch, number):
    world = world(engine)
    database = make(world)
    interrupt_rollback(monkeypatch, database, number)
    phase.run(database)
    assert phase.check(database).status == "up_to_date"
    for table in WRITE:
        assert write(world, table)
        world.execute(f"DELETE FROM {table}")
    phase.rollback(database)
    assert tables(database).isdisjoint(WRITE)


@on_every_engine
@pytest.mark.parametrize("number", range(4))
def test_an_interrupted_rollback_is_continued(world, engine, monkeypatch, number):
    world = world(engine)
    database = make(world)
    interrupt_rollback(monkeypatch, database, number)
    phase.rollback(database)
    assert tables(database).isdisjoint(WRITE)


@on_every_engine
def test_force_drops_rows_without_looking_for_them(world, engine):
    world = world(engine)
    database = make(world)
    assert write(world, "kinds")
    report = phase.rollback(database, force=True)
    assert "no row" not in " ".join(each.description for each in report.changes)
    assert tables(database).isdisjoint(WRITE)


@pytest.mark.parametrize("engine", [each for each in ENGINES if each != "sqlite"])
def test_a_rollback_gives_up_while_others_write(world, engine, monkeypatch):
    """As if each row was deleted again by the time that it is counted."""
    world = world(engine)
    database = make(world)
    assert write(world, "things")
    monkeypatch.setattr(PhaseCall, "_refuse_to_drop_rows", lambda call, present: None)
    with pytest.raises(ChangeRefused) as refused:
        phase.rollback(database)
    assert str(refused.value) == (
        "kinds, things: other sessions write to it; stop them, then run again, or drop "
        "it with its rows with --force (force=True)"
    )
    assert rows(world, "things") == 1
    assert phase.check(database).status == "up_to_date"
