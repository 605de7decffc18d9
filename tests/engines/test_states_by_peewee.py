"""A repaired `weekly_actuals` is what Peewee creates, as the server describes it.

Only states without undeclared objects; what the specification accepts as equivalent
is compared as equal.
"""

import re

import pytest
from drivers import server_of
from engines.cases import case
from engines.servers import NOTHING
from engines.worlds import SQLite
from oracle import definitions
from states import ENGINES, INDEXES, ORM, REPAIRED, TABLE, cases

import db
from db.models import MODELS, WeeklyActuals
from migrations import phase_4_5

# `uploaded_at` has two accepted forms, as has AUTOINCREMENT; a string may be longer and
# a float wider; MariaDB names the index of a foreign key without a name.
EQUIVALENT = {
    "sqlite": [(r"^uploaded_at .*", "uploaded_at"), (r"^AUTOINCREMENT$", "")],
    "postgresql": [
        (r"^uploaded_at .*", "uploaded_at"),
        (r"character varying\(50\)", "character varying"),
    ],
    "mysql": [
        (r"^`uploaded_at` .*", "uploaded_at"),
        ("`variance_pct` double", "`variance_pct` float"),
        (rf"^KEY `(?!{'|'.join(INDEXES)})\w+` ", "KEY "),
        (r"^KEY `idx_weekly_actuals_store` ", "KEY "),
    ],
}
_ORACLES = {}


def plain(engine, *verdicts):
    """Return the states whose tables have only specified objects, or those of an ORM.

    On the servers, which are slow, every second case and all cases without rows are for
    the exhaustive run.
    """
    offset = 1 if engine == "mysql" else 0
    for number, (state, filled) in enumerate(cases(engine, *verdicts), offset):
        items = state.items or {}
        undeclared = state.sql or not set(items) <= {*TABLE, *ORM}
        if undeclared or (engine == "sqlite" and "CONFLICT" in str(items)):
            continue
        has_rows = filled or True not in state.filled
        quick = engine == "sqlite" or (number % 2 == 0 and has_rows)
        yield case(engine, state, filled, exhaustive=not quick)


def words_of(world):
    words = definitions(world)["weekly_actuals"]
    for pattern, same in EQUIVALENT[world.engine]:
        words = [re.sub(pattern, same, word) for word in words]
    return {word for word in words if word}


@pytest.fixture
def oracle(world, engine, tmp_path):
    """What Peewee creates from the model, in the character set of the application."""
    server = server_of(engine)
    if server not in _ORACLES:
        target = SQLite(tmp_path / "oracle.db") if engine == "sqlite" else world(engine)
        target.make(NOTHING)
        database = db.connect(target.url)
        if engine == "mysql":
            target.execute(f"ALTER DATABASE {target.name} CHARACTER SET latin1")
        with database.bind_ctx(MODELS), database.connection_context():
            database.create_tables([WeeklyActuals])
            _ORACLES[server] = words_of(target)
            database.drop_tables([WeeklyActuals])
        if engine == "mysql":
            target.execute(f"ALTER DATABASE {target.name} CHARACTER SET utf8mb4")
    return _ORACLES[server]


PLAIN = [each for engine in ENGINES for each in plain(engine, REPAIRED)]


@pytest.mark.parametrize(("engine", "state", "filled"), PLAIN)
def test_repaired_table_equals_that_of_peewee(world, engine, state, filled, oracle):
    target = world(engine).make(state, filled)
    phase_4_5.run(db.connect(target.url), smoke_test=False, statistics=False)
    assert words_of(target) ^ oracle == set()
