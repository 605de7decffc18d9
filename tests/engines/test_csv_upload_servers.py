"""`python -m db.uploads` with a database on every engine."""

import processes
import pytest
from engines.servers import COMPLETE
from engines.worlds import WORLDS

FILE = """\
workflow_id,week_number,week_start_date,week_end_date,store_id,category_id,\
actual_units_sold
wf_1,1,2025-01-06,2025-01-12,S001,dresses,110
wf_1,1,2025-01-06,2025-01-12,S002,dresses,95
"""
STORED = "SELECT store_id, actual_units_sold FROM weekly_actuals ORDER BY store_id"


@pytest.fixture
def complete_table(world, engine):
    """A database whose weekly_actuals is as specified, without rows."""
    return world(engine).make(COMPLETE)


@pytest.mark.parametrize("engine", WORLDS)
def test_command_uploads_a_file(complete_table, tmp_path, engine):
    file = tmp_path / "week_01.csv"
    file.write_text(FILE)
    done = processes.run("db.uploads", file, "--database", complete_table.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert f": 2 rows of {file}" in done.stdout
    assert complete_table.query(STORED) == [("S001", 110), ("S002", 95)]
