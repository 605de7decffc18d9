"""The URL that a message advises reaches the database that the message is about."""

import processes
import pytest
from engines.servers import url_of


@pytest.fixture
def empty(world, engine):
    made = world(engine)
    made.clear()
    return made


def advised(url):
    """Return the arguments of the command that a run on an empty database advises."""
    done = processes.run(processes.PHASE, "-q", "--database", url)
    assert done.returncode == 1
    command = done.stderr.partition("create what is missing with: ")[2].split()
    assert command[:3] == ["python", "-m", "db.init_db"]
    return command[2:]


@pytest.mark.parametrize("engine", ["postgresql"])
def test_advised_command_creates_tables_in_the_search_path(empty):
    empty.execute("DROP SCHEMA IF EXISTS app CASCADE", "CREATE SCHEMA app")
    url = url_of(empty, query="options=-csearch_path%3Dapp")
    assert processes.run(*advised(url)).returncode == 0
    schemas = "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename = 'stores'"
    assert empty.query(schemas) == [("app",)]
    assert processes.run(processes.PHASE, "-q", "--database", url).returncode == 0
    empty.execute("DROP SCHEMA app CASCADE")


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_advised_command_reaches_a_database_among_the_options(empty):
    name = empty.url.rpartition("/")[2]
    url = url_of(empty, name="no_such_database", query=f"database={name}")
    assert processes.run(*advised(url)).returncode == 0
    assert processes.run(processes.PHASE, "-q", "--database", url).returncode == 0
