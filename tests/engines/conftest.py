"""Fixtures: an empty database on the engine that a test names."""

import contextlib
import sqlite3
import uuid

import drivers
import pytest
from engines.mysql_server import MySQL
from engines.postgresql18 import PostgreSQL18
from engines.servers import (
    COMPLETE,
    HALF,
    NO_DATE_INDEX,
    NOTHING,
    new_connection,
    url_of,
)
from engines.worlds import WORLDS, PostgreSQL, SQLite, sqlite_database


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc):
    """Add the variants of engines to all parameters of tests and of fixtures.

    A quick run, which deselects them, does without them.
    """
    is_quick = drivers.is_quick(metafunc.config)
    mariadb_only = metafunc.definition.get_closest_marker("mariadb_only")
    is_exhaustive = metafunc.definition.get_closest_marker("exhaustive")
    parametrize = metafunc.parametrize

    def with_other_values(argnames, argvalues, indirect=False, ids=None, **options):
        if is_quick:
            argvalues, ids = drivers.quick_values(argvalues, ids, is_exhaustive)
        elif not mariadb_only:
            argvalues, ids = drivers.with_variants(argnames, argvalues, ids)
        parametrize(argnames, argvalues, indirect=indirect, ids=ids, **options)

    metafunc.parametrize = with_other_values


@pytest.fixture(scope="session")
def servers():
    """Return a function that gives an empty database on a server.

    The session has one database per server, and drops it at its end.
    """
    made = {}

    def get(engine):
        engine = drivers.server_of(engine)
        drivers.require(engine)
        if engine not in made:
            try:
                made[engine] = {
                    **WORLDS,
                    "alone": PostgreSQL,
                    "postgresql18": PostgreSQL18,
                    "mysql97": MySQL,
                }[engine]()
            except Exception as error:
                made[engine] = (
                    f"no server can be reached: {' '.join(str(error).split())}"
                )
        if isinstance(made[engine], str):
            drivers.leave_out(engine, made[engine])
        made[engine].used = True
        return made[engine]

    yield get
    for each in made.values():
        if not isinstance(each, str):
            each.drop()


@pytest.fixture
def world(servers, tmp_path):
    """Return a function that gives an empty database of an engine."""
    return lambda engine: (
        SQLite(tmp_path / "app.db") if engine == "sqlite" else servers(engine)
    )


@pytest.fixture
def file(tmp_path):
    """Return a connection to an empty SQLite file, and its path."""
    path = tmp_path / "app.db"
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection, path
    connection.close()


@pytest.fixture
def file_and_database(file):
    """Return a connection to an empty SQLite file, and its Peewee database."""
    connection, path = file
    return connection, sqlite_database(path)


# -- for tests with a parameter or a fixture `engine`


@pytest.fixture(params=["mysql"])
def engine(request):
    """The engine of tests that name none: MariaDB, and MySQL in the exhaustive run."""
    return request.param


@pytest.fixture
def target(world, engine):
    """Return a database without any table."""
    made = world(engine)
    made.clear()
    return made


@pytest.fixture
def fresh(world, engine):
    return world(engine).make(NOTHING)


@pytest.fixture
def half(world, engine):
    return world(engine).make(HALF, filled=True)


@pytest.fixture
def complete(world, engine):
    return world(engine).make(COMPLETE, filled=True)


@pytest.fixture
def no_date_index(world, engine):
    return world(engine).make(NO_DATE_INDEX, filled=True)


@pytest.fixture(params=["fresh", "half"])
def incomplete(request, engine):
    return request.getfixturevalue(request.param)


@pytest.fixture
def hold():
    """Return a function that executes statements in an open transaction."""
    with contextlib.ExitStack() as opened:

        def transaction(world, *statements):
            connection = opened.enter_context(
                contextlib.closing(new_connection(world.url, autocommit=False))
            )
            for statement in statements:
                connection.cursor().execute(statement)
            return connection

        yield transaction


# -- for PostgreSQL


@pytest.fixture
def second_database(servers):
    """A second database on PostgreSQL, for settings of a whole database."""
    made = servers("alone")
    yield made
    made.reset()


@pytest.fixture
def role():
    """Return a function that creates a user with privileges, and returns its URL."""
    made = []

    def make(world, *grants, settings=()):
        name = f"app-{uuid.uuid4().hex}"
        world.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
        made.append((world, name))
        world.execute(f"CREATE ROLE \"{name}\" LOGIN PASSWORD 'hunter2'")
        world.execute(*(f'GRANT {grant} TO "{name}"' for grant in grants))
        world.execute(*(f'ALTER ROLE "{name}" SET {setting}' for setting in settings))
        return url_of(world, user=name, password="hunter2")

    yield make
    for world, name in made:
        world.execute(
            f'REASSIGN OWNED BY "{name}" TO CURRENT_USER',
            f'DROP OWNED BY "{name}"',
            f'DROP ROLE "{name}"',
        )
