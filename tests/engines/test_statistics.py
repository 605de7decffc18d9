"""Row counts: exact, or on a server with very large tables the catalogue's estimate, marked as one."""

import logging

import pytest
from states import MENDED, State

import db
from migrations import phase_4_5, work

COMPLETE = State("complete", MENDED, items={})
ANALYZE = {"postgresql": "ANALYZE", "mysql": "ANALYZE TABLE stores", "sqlite": "ANALYZE stores"}


@pytest.fixture
def analyzed(world, monkeypatch):
    """Return a function that gives the URL of a database in which four stores are very many."""
    monkeypatch.setattr(work, "COUNTED_UP_TO", 2)

    def make(engine):
        made = world(engine).make(COMPLETE, True)
        made.cursor().execute(ANALYZE[engine])
        made.execute("DELETE FROM stores WHERE store_id = '7'")  # the catalogue does not know yet
        return db.connect(made.url)

    return make


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_a_very_large_table_is_estimated_and_marked(analyzed, caplog, engine):
    with caplog.at_level(logging.INFO):
        report = phase_4_5.run(analyzed(engine), smoke_test=False)
    assert "stores" in report.to_dict()["estimated"]
    assert "categories" not in report.to_dict()["estimated"]
    assert f"stores            ~{report.row_counts['stores']} rows" in caplog.messages


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_a_thorough_count_is_counted_whatever_the_catalogue_says(analyzed, engine):
    report = phase_4_5.run(analyzed(engine), smoke_test=False, thorough=True)
    assert report.row_counts["stores"] == 3
    assert "estimated" not in report.to_dict()


def test_a_file_is_always_counted(analyzed):
    assert phase_4_5.run(analyzed("sqlite"), smoke_test=False).row_counts["stores"] == 3
