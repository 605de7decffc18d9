"""Each state of the table is kept, repaired with every row, or refused unchanged."""

import pytest
from engines.cases import case
from engines.reports import assert_as_recorded
from states import ENGINES, REFUSED, REPAIRED, UNTOUCHED, cases

import db
from migrations import phase_4_5


def every(*verdicts):
    """Parametrize by engine, state with one of the verdicts, with and without rows.

    On the servers, which are slow, every second case and all cases without rows are for
    the exhaustive run, as is PostgreSQL 18.
    """

    parameters = []
    for engine in (*ENGINES, "postgresql18"):
        dialect = engine.removesuffix("18")
        for number, (state, filled) in enumerate(cases(dialect, *verdicts)):
            every_second = number % 2 != ENGINES.index(dialect) % 2
            has_rows = filled or True not in state.filled
            quick = engine == "sqlite" or (
                engine != "postgresql18" and every_second and has_rows
            )
            parameters.append(case(engine, state, filled, exhaustive=not quick))
    return pytest.mark.parametrize(("engine", "state", "filled"), parameters)


@pytest.fixture
def made(world, engine, state, filled):
    return world(engine).make(state, filled)


@pytest.fixture
def planned(made, request):
    """The changes or the error of a check, which changes nothing."""
    before = made.dump()
    try:
        outcome = phase_4_5.check(db.connect(made.url))
        result = [change.sql for change in outcome.changes]
    except phase_4_5.MigrationError as error:
        outcome = error
        result = str(error)
    assert made.dump() == before
    assert_as_recorded(request, "weekly_actuals", outcome)
    return result


@every(UNTOUCHED)
def test_complete_table_is_not_changed(made, state, planned):
    before = made.dump()
    report = phase_4_5.run(db.connect(made.url))
    assert (report.status, report.changes) == ("up_to_date", ())
    assert made.dump() == before
    assert _match([each.message for each in report.differences], state.says)
    assert planned == []


@every(REPAIRED)
def test_differing_table_is_repaired_with_every_row(made, planned):
    before = made.rows()
    report = phase_4_5.run(db.connect(made.url))
    assert report.status == "migrated"
    assert [change.sql for change in report.changes] == planned
    made.assert_specified()
    after = made.rows()
    assert {
        id: {name: after[id][name] for name in kept} for id, kept in before.items()
    } == before
    assert len(after) == len(before)
    repaired = made.dump()
    assert phase_4_5.run(db.connect(made.url)).status == "up_to_date"
    assert made.dump() == repaired
    assert made.insert_without_id() > max([*after, 0])
    assert made.refuses_a_duplicate()


@every(REFUSED)
def test_irreparable_state_is_refused_and_changes_nothing(made, state, planned):
    before = made.dump()
    with pytest.raises(phase_4_5.MigrationError) as refusal:
        phase_4_5.run(db.connect(made.url))
    assert _match([str(refusal.value)], state.says)
    assert made.dump() == before
    assert planned == str(refusal.value)


def _match(messages, fragments):
    return not fragments or any(
        all(part in message for part in fragments) for message in messages
    )
