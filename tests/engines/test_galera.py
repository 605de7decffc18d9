"""A Galera cluster: a lock is local to its node, and DDL aborts transactions."""

import contextlib
import itertools
import threading
import time
import uuid

import drivers
import peewee
import pytest
from engines import galera
from engines.servers import (
    COMPLETE,
    HALF,
    NOTHING,
    STORE,
    command,
    finish,
    new_connection,
    run_concurrently,
    start,
    statuses,
)
from engines.worlds import MariaDB
from states import REPAIRED, State

import db
from migrations import phase_4_5

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.drivers("mysql"),
    pytest.mark.xdist_group("galera"),
]


@pytest.fixture(scope="module")
def cluster():
    if lacking := galera.missing():
        drivers.leave_out("galera", f"a cluster requires {', '.join(lacking)}")
    made = galera.Cluster()
    try:
        yield made.start()
    finally:
        made.stop()


class OnCluster(MariaDB):
    """A database on all nodes, with a connection to one of them."""

    def __init__(self, cluster, name=None, node=0):
        self.cluster, self.name = cluster, name or f"states_{uuid.uuid4().hex}"
        self.connection = new_connection(cluster.url(node, ""))
        if name is None:
            self.execute(f"CREATE DATABASE {self.name} CHARACTER SET utf8mb4")
        # Wait until it has arrived.
        self.execute("SET wsrep_sync_wait = 9", "SHOW DATABASES", f"USE {self.name}")
        self.urls = [cluster.url(each, self.name) for each in galera.NODES]
        self.url = self.urls[node]

    def on(self, node):
        return contextlib.closing(OnCluster(self.cluster, self.name, node))

    def wait_for_all_nodes(self):
        """Wait until every node has the tables."""
        for node in galera.NODES:
            with self.on(node) as target:
                target.query("SELECT count(*) FROM stores")

    def close(self):
        self.connection.close()


NO_KEY = State("a key is missing", REPAIRED, items={"store": None})
STATES = {"fresh": (NOTHING, False), "half": (HALF, True), "no key": (NO_KEY, True)}


@pytest.fixture(params=STATES)
def made(request, cluster):
    cluster.revive()
    world = OnCluster(cluster).make(*STATES[request.param])
    world.wait_for_all_nodes()
    yield world
    world.execute(f"DROP DATABASE {world.name}")
    world.close()


@pytest.fixture
def complete(cluster):
    cluster.revive()
    world = OnCluster(cluster).make(COMPLETE, filled=True)
    world.wait_for_all_nodes()
    yield world
    world.execute(f"DROP DATABASE {world.name}")
    world.close()


def assert_nodes_agree(world, nodes=galera.NODES):
    """Every node has the specified table, and all have the same."""
    definitions = set()
    for node in nodes:
        with world.on(node) as target:
            target.assert_specified()
            definitions.add(
                str((target.query("SHOW CREATE TABLE weekly_actuals"), target.rows()))
            )
    assert len(definitions) == 1


def test_concurrent_workers_on_all_nodes_succeed_and_nodes_agree(made, record_property):
    before = made.rows() if made.columns() else {}
    outcomes, seconds = run_concurrently(made.urls * 4)
    record_property("seconds", round(seconds, 2))
    assert [outcome.message for outcome in outcomes if outcome.code] == []
    assert "migrated" in statuses(outcomes)
    assert_nodes_agree(made)
    assert made.rows() == before


def test_later_run_on_another_node_has_nothing_to_do(made):
    assert command(made.urls[0]).answer == "migrated"
    assert [command(url).answer for url in made.urls[1:]] == ["up_to_date"] * 2


def test_concurrent_rollbacks_on_all_nodes_succeed(made):
    command(made.url)
    outcomes, _ = run_concurrently(made.urls * 2, "--rollback", "--force")
    assert [outcome.message for outcome in outcomes if outcome.code] == []
    assert made.columns() == []


def test_table_dropped_first_by_another_node_is_no_error(complete):
    database, dropped = db.connect(complete.url), []
    with complete.on(1) as other_node:

        class LosesRace(type(database)):
            def execute_sql(self, sql, *arguments, **options):
                if sql.startswith("DROP TABLE") and not dropped:
                    other_node.execute("DROP TABLE weekly_actuals")
                    dropped.append(sql)
                return super().execute_sql(sql, *arguments, **options)

        database.__class__ = LosesRace
        phase_4_5.rollback(database, force=True)
    assert len(dropped) == 1
    assert complete.columns() == []


@pytest.mark.parametrize("seconds", [0.3, 0.8])
def test_killed_node_fails_only_its_own_runs(made, cluster, seconds):
    processes = [
        (node, start(made.urls[node], "--lock-timeout", "30"))
        for node in galera.NODES * 2
    ]
    time.sleep(seconds)
    cluster.kill(2)
    outcomes = [(node, finish(process)) for node, process in processes]
    assert [
        outcome.message for node, outcome in outcomes if outcome.code and node != 2
    ] == []
    assert not any(
        "Traceback" in line for _, outcome in outcomes for line in outcome.lines
    )
    assert_nodes_agree(made, (0, 1))


def test_killed_run_is_completed_from_another_node(made):
    process = start(made.urls[0])
    time.sleep(0.5)
    process.kill()
    process.communicate()
    assert command(made.urls[1]).code == 0
    assert_nodes_agree(made)


def test_smoke_test_aborted_by_another_node_is_repeated(complete):
    """The abort may come at any statement; the next one gets the error."""
    expected, at, statements = None, 0, [""]
    with complete.on(1) as other_node:
        while at <= len(statements):
            at, statements = at + 1, []

            def abort(event, at=at, statements=statements):
                statements.append(event.sql)
                if len(statements) == at:
                    other_node.execute(
                        f"ALTER TABLE stores COMMENT = 'changed at {at}'"
                    )

            database = db.connect(complete.url)
            with database.connection_context():
                database.query_hooks.append(abort)
                report = phase_4_5.run(database)
                database.query_hooks.clear()
                settings = database.execute_sql(
                    "SHOW SESSION VARIABLES LIKE '%%check%%'"
                ).fetchall()
            expected = expected or settings
            assert (
                len(
                    complete.query(
                        "SELECT 1 FROM workflows UNION ALL SELECT 1 FROM stores"
                    )
                )
                == 6
            ), f"aborted at {at}"
            assert (report.status, all(report.smoke_test.values()), settings) == (
                "up_to_date",
                True,
                expected,
            )
    assert at > 30


def test_settings_are_restored_after_the_caller_is_aborted(complete):
    """The abort comes after each rollback to a savepoint; the next may be a SET."""
    show = "SHOW SESSION VARIABLES LIKE '%%check%%'"
    failed = []
    with complete.on(1) as other_node:
        for at in itertools.count(1):
            rollbacks = []

            def abort(event, at=at, rollbacks=rollbacks):
                if event.exception and event.sql.startswith("SET SESSION"):
                    failed.append(event.sql)
                if event.sql.startswith("ROLLBACK TO SAVEPOINT"):
                    rollbacks.append(event.sql)
                    if len(rollbacks) == at:
                        other_node.execute(
                            f"ALTER TABLE stores COMMENT = 'changed at {at}'"
                        )
                        complete.query("SELECT count(*) FROM stores")  # it has arrived

            database = db.connect(complete.url)
            with database.connection_context():
                before = database.execute_sql(show).fetchall()
                failures = phase_4_5.MigrationError, peewee.DatabaseError
                with contextlib.suppress(*failures), database.atomic():
                    database.execute_sql(STORE.format(f"new_{at}"))
                    database.query_hooks.append(abort)
                    phase_4_5.run(database)
                database.query_hooks.clear()
                assert database.execute_sql(show).fetchall() == before
            if len(rollbacks) < at:
                break
    assert failed


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_open_transaction_on_another_node_survives_an_idle_run(complete, arguments):
    with contextlib.closing(
        new_connection(complete.urls[1], autocommit=False)
    ) as client:
        client.cursor().execute(STORE.format("client"))
        client.cursor().execute("UPDATE weekly_actuals SET actual_units_sold = 7")
        assert [command(url, *arguments).answer for url in complete.urls[::2]] == [
            "up_to_date"
        ] * 2
        client.commit()
    assert complete.query("SELECT count(*) FROM stores WHERE store_id = 'client'") == [
        (1,)
    ]


def test_writers_on_every_node_lose_no_row_during_runs(complete):
    ended, lost, written = threading.Event(), [], []

    def write(node):
        with contextlib.closing(new_connection(complete.urls[node])) as connection:
            number = 0
            while not ended.is_set():
                number += 1
                name = f"node{node}_{number}"
                try:
                    connection.cursor().execute(STORE.format(name))
                    written.append(name)
                except Exception as error:
                    lost.append(error)

    threads = [threading.Thread(target=write, args=(node,)) for node in galera.NODES]
    for thread in threads:
        thread.start()
    outcomes, _ = run_concurrently(complete.urls)
    ended.set()
    for thread in threads:
        thread.join()
    assert [outcome.code for outcome in outcomes] == [0, 0, 0]
    assert lost == []
    assert complete.query("SELECT count(*) FROM stores WHERE store_name = 'New'") == [
        (len(written),)
    ]
