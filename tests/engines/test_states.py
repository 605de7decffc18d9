"""Whatever state the table is in: untouched, repaired with every row, or refused and as it was."""

import pytest
from states import ENGINES, REPAIRED, REFUSED, UNTOUCHED, cases

import db
from migrations import phase_4_5


def every(*verdicts):
    """Parametrise over each engine, each of its states with one of the verdicts, with rows and without.

    On the servers, which take their time, every other one is for the exhaustive run, and all without rows, as is
    PostgreSQL 18.
    """

    def exhaustive(engine, state, filled, number):
        others = number % 2 == ENGINES.index(engine.removesuffix("18")) % 2
        return engine == "postgresql18" or (engine != "sqlite" and (others or not filled and True in state.filled))

    return pytest.mark.parametrize(("engine", "state", "filled"), [
        pytest.param(engine, state, filled, id=f"{engine}-{state.name}{'-with rows' * filled}".replace(" ", "_"),
                     marks=[pytest.mark.exhaustive] * exhaustive(engine, state, filled, number))
        for engine in (*ENGINES, "postgresql18")
        for number, (state, filled) in enumerate(cases(engine.removesuffix("18"), *verdicts))
    ])  # fmt: skip


@pytest.fixture
def made(world, engine, state, filled):
    return world(engine).make(state, filled)


@pytest.fixture
def foreseen(made):
    """What a look says that a run will do; it changes nothing."""
    before = made.dump()
    outcome = _outcome(phase_4_5.check, made)
    assert made.dump() == before
    return outcome


@every(UNTOUCHED)
def test_a_complete_table_is_left_as_it_is(made, state, foreseen):
    before = made.dump()
    report = phase_4_5.run(db.connect(made.url))
    assert (report.status, report.changes) == ("up_to_date", ())
    assert made.dump() == before
    assert _hold([each.message for each in report.differences], state.says)
    assert foreseen == []


@every(REPAIRED)
def test_a_table_that_differs_is_repaired_with_every_row_and_takes_uploads(made, foreseen):
    before = made.rows()
    report = phase_4_5.run(db.connect(made.url))
    assert report.status == "migrated"
    assert [change.sql for change in report.changes] == foreseen
    made.assert_specified()
    after = made.rows()
    assert {id: {name: after[id][name] for name in kept} for id, kept in before.items()} == before
    assert len(after) == len(before)
    repaired = made.dump()
    assert phase_4_5.run(db.connect(made.url)).status == "up_to_date"
    assert made.dump() == repaired
    assert made.insert_without_id() > max([*after, 0])
    assert made.refuses_what_is_there()


@every(REFUSED)
def test_what_cannot_be_repaired_is_refused_by_name_and_nothing_changes(made, state, foreseen):
    before = made.dump()
    with pytest.raises(phase_4_5.MigrationError) as refusal:
        phase_4_5.run(db.connect(made.url))
    assert _hold([str(refusal.value)], state.says)
    assert made.dump() == before
    assert foreseen == str(refusal.value)


def _outcome(function, world):
    try:
        report = function(db.connect(world.url))
    except phase_4_5.MigrationError as error:
        return str(error)
    return [change.sql for change in report.changes]


def _hold(messages, fragments):
    return not fragments or any(all(part in message for part in fragments) for message in messages)
