"""A database on whatever engine a test names, empty at its beginning."""

import os

import pytest
from engines.worlds import WORLDS, SQLite


@pytest.fixture(scope="session")
def servers():
    """Return a function that gives the one database of this session on a server, dropped at its end."""
    made = {}

    def get(engine):
        if engine not in made:
            try:
                made[engine] = WORLDS[engine]()
            except Exception as error:
                made[engine] = f"no {engine} server can be reached: {' '.join(str(error).split())}"
        if isinstance(made[engine], str):
            (pytest.fail if os.environ.get("CI") else pytest.skip)(made[engine])
        made[engine].clear()
        return made[engine]

    yield get
    for each in made.values():
        if not isinstance(each, str):
            each.drop()


@pytest.fixture
def world(servers, tmp_path):
    """Return a function that gives an empty database of an engine."""
    return lambda engine: SQLite(tmp_path / "app.db") if engine == "sqlite" else servers(engine)
