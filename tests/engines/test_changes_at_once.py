"""Renames, drops and backfills: started a dozen times at once, and killed anywhere."""

import json
import signal

import pytest
from changing_phase import AFTER, BEFORE, ROWS, phase
from oracle import created_by_peewee, differing_definitions
from processes import at_once, run
from states import ENGINES

import db

pytestmark = pytest.mark.drivers
on_every_engine = pytest.mark.parametrize("engine", ENGINES)
MODULE = "changing_phase"
PROCESSES = 12
# Indexes keep the names that Peewee made of the old ones.
KEPT = ("goods.INDEX", "goods.KEY", "goods.things_", "goods.goods_")


def make(world):
    """Create the tables as they were, with rows."""
    database = db.connect(world.url)
    with database.connection_context(), database.bind_ctx(BEFORE):
        database.create_tables(BEFORE)
    world.execute(*ROWS)


def assert_complete(world, oracle):
    assert differing_definitions(world, oracle, ["shelves", "goods"], KEPT) == set()
    columns = "number, kind, shelf_id, title, note"
    assert world.query(f"SELECT {columns} FROM goods ORDER BY id") == [
        (1, "x", "a", "title", "x"),
        (2, "none", "a", "title", None),
        (3, "y", "b", "title", "y"),
        (4, "none", "b", "title", None),
        (5, "none", "b", "title", None),
    ]
    assert phase.check(db.connect(world.url)).status == "up_to_date"


def test_the_command_drops_values_with_force_only(world):
    world = world("sqlite")
    make(world)
    world.execute("UPDATE things SET unused = 1")
    call = [MODULE, "--database", world.url, "-q"]
    done = run(*call)
    assert done.returncode == 0
    assert "goods.unused: 5 rows hold a value, so the column is not" in done.stderr
    assert run(*call, "--check").returncode == 0
    assert run(*call, "--check", "--force").returncode == 1
    script = run(*call, "--dry-run", "--force").stdout
    assert 'ALTER TABLE "goods" DROP COLUMN "unused";' in script
    assert run(*call, "--force").returncode == 0
    assert phase.check(db.connect(world.url)).status == "up_to_date"


@on_every_engine
def test_twelve_at_once_change_the_tables_once(world, engine):
    world = world(engine)
    oracle = created_by_peewee(world, AFTER)
    make(world)
    call = [MODULE, "--database", world.url, "--json", "--lock-timeout", "60"]
    reports = []
    for started in at_once([call] * PROCESSES):
        out, err = started.communicate()
        assert started.returncode == 0, err
        reports.append(json.loads(out))
    assert [each["status"] for each in reports].count("migrated") == 1
    assert_complete(world, oracle)


def killed_at(world, number):
    """Kill a run before its change of a number; return whether it came that far."""
    make(world)
    done = run(MODULE, "--kill", str(number), "--database", world.url, "-q")
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


@on_every_engine
@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param((5, 13, 21), id="some"),
        pytest.param(range(60), id="all", marks=pytest.mark.exhaustive),
    ],
)
def test_a_run_that_was_killed_is_continued(world, engine, numbers):
    world = world(engine)
    oracle = created_by_peewee(world, AFTER)
    for number in numbers:
        getattr(world, "clear", lambda: None)()
        if engine == "sqlite":
            world.execute("DROP TABLE IF EXISTS goods", "DROP TABLE IF EXISTS things")
            world.execute("DROP TABLE IF EXISTS shelves")
        if not killed_at(world, number):
            break
        done = run(MODULE, "--database", world.url, "-q")
        assert done.returncode == 0, (number, done.stderr)
        assert_complete(world, oracle)
    else:
        assert len(numbers) < 60
