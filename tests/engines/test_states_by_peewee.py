"""A repaired `weekly_actuals` is what Peewee makes from the model, in the server's own words.

Only where a state has no additions of a user's; what the specification calls as good is read as the same.
"""

import re

import pytest
from engines.servers import NOTHING
from engines.worlds import SQLite
from oracle import definitions
from states import ENGINES, INDEXES, REPAIRED, ORM, TABLE, cases

import db
from db.models import MODELS, WeeklyActuals
from migrations import phase_4_5

# Both shapes of `uploaded_at` that are met are complete, with AUTOINCREMENT or without; a string may be
# longer and a float wider; and MariaDB names the index of a foreign key that nobody named.
AS_GOOD = {
    "sqlite": [(r"^uploaded_at .*", "uploaded_at"), (r"^AUTOINCREMENT$", "")],
    "postgresql": [(r"^uploaded_at .*", "uploaded_at"), (r"character varying\(50\)", "character varying")],
    "mysql": [(r"^`uploaded_at` .*", "uploaded_at"), ("`variance_pct` double", "`variance_pct` float"),
              (rf"^KEY `(?!{'|'.join(INDEXES)})\w+` ", "KEY "), (r"^KEY `idx_weekly_actuals_store` ", "KEY ")],
}  # fmt: skip
_ORACLES = {}


def plain(engine, *verdicts):
    """The states whose tables hold nothing but what is specified, or another ORM's way to say it.

    On the servers, which take their time, every other one is for the exhaustive run, and all without rows.
    """
    for number, (state, filled) in enumerate(cases(engine, *verdicts), engine == "mysql"):
        items = state.items or {}
        if not state.sql and set(items) <= {*TABLE, *ORM} and not (engine == "sqlite" and "CONFLICT" in str(items)):
            yield pytest.param(
                engine, state, filled, id=f"{engine}-{state.name}{'-with rows' * filled}".replace(" ", "_"),
                marks=[pytest.mark.exhaustive] * (
                    engine != "sqlite" and (number % 2 or not filled and True in state.filled)
                ),
            )  # fmt: skip


def words_of(world):
    words = definitions(world)["weekly_actuals"]
    for pattern, same in AS_GOOD[world.engine]:
        words = [re.sub(pattern, same, word) for word in words]
    return {word for word in words if word}


@pytest.fixture
def oracle(world, engine, tmp_path):
    """What Peewee makes of the model beside the application's tables, in their character set."""
    if engine not in _ORACLES:
        there = SQLite(tmp_path / "oracle.db") if engine == "sqlite" else world(engine)
        there.make(NOTHING)
        database = db.connect(there.url)
        if engine == "mysql":
            there.execute(f"ALTER DATABASE {there.name} CHARACTER SET latin1")
        with database.bind_ctx(MODELS), database.connection_context():
            database.create_tables([WeeklyActuals])
            _ORACLES[engine] = words_of(there)
            database.drop_tables([WeeklyActuals])
        if engine == "mysql":
            there.execute(f"ALTER DATABASE {there.name} CHARACTER SET utf8mb4")
    return _ORACLES[engine]


@pytest.mark.parametrize(("engine", "state", "filled"), [case for engine in ENGINES for case in plain(engine, REPAIRED)])
def test_a_repaired_table_is_what_peewee_makes(world, engine, state, filled, oracle):
    there = world(engine).make(state, filled)
    phase_4_5.run(db.connect(there.url), smoke_test=False, statistics=False)
    assert words_of(there) ^ oracle == set()
