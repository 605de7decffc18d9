"""Row counts: exact, or for very large tables the estimate of the catalog."""

import logging
import uuid

import pytest
from states import REPAIRED, State

import db
from migrations import phase_4_5, statistics

COMPLETE = State("complete", REPAIRED, items={})
ANALYZE = {
    "postgresql": "ANALYZE",
    "mysql": "ANALYZE TABLE stores",
    "sqlite": "ANALYZE stores",
}


@pytest.fixture
def analyzed(world, monkeypatch):
    """Return a function that gives a database whose four stores count as very many."""
    monkeypatch.setattr(statistics, "COUNTED_UP_TO", 2)

    def make(engine):
        made = world(engine).make(COMPLETE, True)
        made.cursor().execute(ANALYZE[engine])
        # The statistics are older.
        made.execute("DELETE FROM stores WHERE store_id = '7'")
        return db.connect(made.url)

    return make


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_very_large_table_is_estimated_and_marked(analyzed, caplog, engine):
    with caplog.at_level(logging.INFO):
        report = phase_4_5.run(analyzed(engine), smoke_test=False)
    assert "stores" in report.to_dict()["estimated_counts"]
    assert "categories" not in report.to_dict()["estimated_counts"]
    assert f"stores            ~{report.row_counts['stores']} rows" in caplog.messages


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_thorough_run_counts_every_row(analyzed, engine):
    report = phase_4_5.run(analyzed(engine), smoke_test=False, thorough=True)
    assert report.row_counts["stores"] == 3
    assert report.to_dict()["estimated_counts"] == []


def test_table_on_sqlite_is_always_counted(analyzed):
    assert phase_4_5.run(analyzed("sqlite"), smoke_test=False).row_counts["stores"] == 3


ELSEWHERE = {
    "postgresql": (
        "CREATE SCHEMA {name}",
        "CREATE TABLE {name}.stores AS SELECT n FROM generate_series(1, 500) n",
        "ANALYZE {name}.stores",
    ),
    "mysql": (
        "CREATE DATABASE {name}",
        "CREATE TABLE {name}.stores (n INT PRIMARY KEY)",
        "INSERT INTO {name}.stores SELECT seq FROM seq_1_to_500",
        "ANALYZE TABLE {name}.stores",
    ),
}
DROP = {"postgresql": "DROP SCHEMA {name} CASCADE", "mysql": "DROP DATABASE {name}"}


@pytest.fixture
def namesake(world, monkeypatch):
    """Return a function that gives a database of four stores.

    Another schema, or another database of the server, has a table stores of 500 rows.
    """
    monkeypatch.setattr(statistics, "COUNTED_UP_TO", 2)
    made = []

    def make(engine):
        four = world(engine).make(COMPLETE, True)
        four.execute(ANALYZE[engine])
        name = f"elsewhere_{uuid.uuid4().hex}"
        made.append((four, DROP[engine].format(name=name)))
        four.execute(*(statement.format(name=name) for statement in ELSEWHERE[engine]))
        return db.connect(four.url)

    yield make
    for four, drop in made:
        four.execute(drop)


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_estimate_is_of_the_table_in_its_own_schema(namesake, engine):
    report = phase_4_5.run(namesake(engine), smoke_test=False)
    assert "stores" in report.estimated_counts
    assert report.row_counts["stores"] == 4
