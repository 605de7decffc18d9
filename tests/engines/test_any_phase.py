"""A phase with other tables than the application's, in every state, on every engine.

The expected result is the database that Peewee creates from the models, as the
server describes it.
"""

import decimal
import subprocess

import another_phase
import peewee
import pytest
from another_phase import MANAGED, MODELS, phase
from another_states import ROWS, TABLES, State, cases, held, insert, rows_of
from drivers import server_of
from engines.cases import case
from engines.reports import assert_as_recorded, dropped_tables
from oracle import created_by_peewee, definitions, differing_definitions, exact_schema
from states import ENGINES, REFUSED, REPAIRED, UNTOUCHED

import db
from db.fields import Backfill
from migrations.errors import ChangeRefused, MigrationError, SmokeTestFailed
from migrations.phase import Phase

STEPS = ("insert", "select", "unique", "foreign_keys", "cascade", "cleanup")
NAMES = [model._meta.table_name for model in MANAGED]
on_every_engine = pytest.mark.parametrize("engine", ENGINES)
_ORACLES = {}


def every(*verdicts, of=cases):
    """Parametrize by engine, state with one of the verdicts, with and without rows.

    On the servers, which are slow, three of four cases and all cases without rows are
    for the exhaustive run.
    """
    parameters = []
    for offset, engine in enumerate(ENGINES):
        for number, (state, filled) in enumerate(of(engine, *verdicts), offset):
            quick = engine == "sqlite" or (number % 4 == 0 and filled)
            parameters.append(case(engine, state, filled, exhaustive=not quick))
    return pytest.mark.parametrize(("engine", "state", "filled"), parameters)


@pytest.fixture
def made(world, engine, state, filled, made_by_peewee):  # noqa: ARG001
    # Peewee's tables are read first: both use the same database.
    return state.make(world(engine), filled)


@pytest.fixture
def made_by_peewee(world, engine):
    """What Peewee creates from the models on this engine's server, read once."""
    server = server_of(engine)
    if server not in _ORACLES:
        _ORACLES[server] = created_by_peewee(world(engine), MODELS)
    return _ORACLES[server]


def connect(world):
    return db.connect(world.url)


# -- the states


@every(UNTOUCHED)
def test_complete_tables_are_not_changed(made, state, request):
    before = made.dump()
    report = phase.run(connect(made))
    assert_as_recorded(request, "warehouse", report)
    assert (report.status, report.changes) == ("up_to_date", ())
    assert made.dump() == before
    assert False not in report.smoke_test.values()
    messages = [each.message for each in report.differences]
    assert not state.says or any(
        all(part in text for part in state.says) for text in messages
    ), messages


@every(REPAIRED)
def test_differing_tables_are_repaired_as_peewee_creates_them(
    made, made_by_peewee, state, request
):
    rows, before = rows_of(made), made.dump()
    checked = phase.check(connect(made))
    assert_as_recorded(request, "warehouse", checked)
    assert (checked.status, made.dump()) == ("pending", before)
    report = phase.run(connect(made))
    assert report.status == "migrated"
    assert report.changes == checked.changes
    assert differing_definitions(made, made_by_peewee, NAMES, state.kept) == set()
    assert held(rows, rows_of(made))
    assert False not in report.smoke_test.values()
    again = phase.check(connect(made))
    assert (again.status, again.changes) == ("up_to_date", ())
    assert [each for each in again.differences if each.severity == "error"] == []


@every(REFUSED)
def test_irreparable_state_is_refused_and_changes_nothing(made, state, request):
    before = made.dump()
    with pytest.raises(MigrationError) as checked:
        phase.check(connect(made))
    assert_as_recorded(request, "warehouse", checked.value)
    with pytest.raises(MigrationError) as refusal:
        phase.run(connect(made))
    assert made.dump() == before
    assert str(checked.value) == str(refusal.value)
    assert all(part in str(refusal.value) for part in state.says), refusal.value


# -- creating


@pytest.fixture
def empty(world, engine, made_by_peewee):  # noqa: ARG001
    return State("nothing", REPAIRED, dict.fromkeys(NAMES)).make(
        world(engine), filled=False
    )


@pytest.fixture
def complete(empty):
    phase.run(connect(empty), smoke_test=False, statistics=False)
    return empty


@pytest.fixture
def filled(complete):
    fill(complete)
    return complete


def fill(world):
    for name in TABLES:
        insert(world, name, ROWS[name])


@on_every_engine
def test_created_tables_are_exactly_those_of_peewee(world, engine, made_by_peewee):
    target = world(engine)
    target.clear()
    database = connect(target)
    with database.bind_ctx(another_phase.REQUIRED):
        database.create_tables(another_phase.REQUIRED)
    phase.run(database)
    assert exact_schema(target) == made_by_peewee.exact_schema


@on_every_engine
def test_smoke_test_attempts_every_step_on_empty_tables(complete):
    assert phase.run(connect(complete)).smoke_test == dict.fromkeys(STEPS, True)


@on_every_engine
def test_smoke_test_attempts_every_step_on_tables_with_rows(filled):
    before = filled.dump()
    assert phase.run(connect(filled)).smoke_test == dict.fromkeys(STEPS, True)
    assert filled.dump() == before


@pytest.mark.parametrize("engine", ["sqlite"])
@pytest.mark.parametrize(
    ("step", "trigger"),
    [
        (
            "unique",
            'BEFORE INSERT ON "order" BEGIN DELETE FROM "order" '
            "WHERE number = new.number; END",
        ),
        (
            "unique",
            "BEFORE INSERT ON movements BEGIN DELETE FROM movements "
            "WHERE moved = new.moved; END",
        ),
        (
            "foreign_keys",
            "BEFORE DELETE ON articles BEGIN DELETE FROM order_lines "
            "WHERE article_id = old.sku; END",
        ),
        ("cascade", 'BEFORE DELETE ON "order" BEGIN SELECT raise(IGNORE); END'),
        (
            "cascade",
            "BEFORE DELETE ON articles BEGIN DELETE FROM order_lines "
            "WHERE instead_id = old.sku; END",
        ),
        (
            "cascade",
            "AFTER DELETE ON articles BEGIN UPDATE articles SET label = 'x' "
            "WHERE whole_id IS NULL; DELETE FROM articles WHERE whole_id IS NULL; END",
        ),
    ],
)
def test_trigger_that_breaks_a_constraint_fails_the_smoke_test(filled, step, trigger):
    filled.execute(f"CREATE TRIGGER breaking {trigger}")
    before = filled.dump()
    with pytest.raises(SmokeTestFailed, match=step) as failure:
        phase.run(connect(filled))
    assert failure.value.report.smoke_test[step] is False
    assert filled.dump() == before


@on_every_engine
def test_rows_are_written_and_read_through_the_models(complete):
    fill(complete)
    database = connect(complete)
    with database.bind_ctx(MODELS), database.connection_context():
        given = {
            "price": decimal.Decimal("1.10"),
            "active": True,
            "sold": 2**40,
            "picture": b"\x00\xff",
        }
        made = another_phase.Article.create(
            sku="N-1", label="New", details={"a": [1]}, **given
        )
        read = another_phase.Article.get(sku=made.sku)
        assert (read.price, read.sold, bytes(read.picture)) == (
            decimal.Decimal("1.10"),
            2**40,
            b"\x00\xff",
        )
        assert (read.active, read.details) == (True, {"a": [1]})
        sent = another_phase.Order.create(depot="north", group="x", key=9)
        assert sent.id > 7
        assert (
            another_phase.Order.get(another_phase.Order.number == sent.number).key == 9
        )


@on_every_engine
def test_ensure_returns_whether_it_changed_something(empty):
    assert phase.ensure(connect(empty)) is True
    before = empty.dump()
    assert phase.ensure(connect(empty)) is False
    assert empty.dump() == before


@on_every_engine
def test_rows_of_each_table_are_counted(filled):
    assert phase.run(connect(filled)).row_counts == {
        name: len(rows) for name, rows in ROWS.items()
    }


@on_every_engine
def test_create_missing_creates_missing_tables_only(world, engine):
    made = State(
        "other than declared",
        REPAIRED,
        {
            "articles": {"label": "label VARCHAR(60)"},
            "movements": None,
            "order_lines": None,
        },
    ).make(world(engine), filled=True)
    before = {
        name: words for name, words in definitions(made).items() if name == "articles"
    }
    assert sorted(phase.create_missing(connect(made))) == ["movements", "order_lines"]
    assert definitions(made)["articles"] == before["articles"]
    assert phase.create_missing(connect(made)) == []


# -- scripts


SCRIPTS = [
    State("nothing", REPAIRED, dict.fromkeys(NAMES)),
    State(
        "rules and keys",
        REPAIRED,
        {
            "articles": {"label": "label VARCHAR(60)", "check": None, "whole": None},
            "movements": None,
            "order_lines": {"primary": None, "instead": None},
            "order": {"unique": None},
        },
        without=("order_depot_id",),
    ),
    State(
        "types",
        REPAIRED,
        {
            "articles": {
                "volume": "volume VARCHAR(20)",
                "active": "active VARCHAR(5) NOT NULL DEFAULT '1'",
            },
            "order": {"due": "due VARCHAR(10)", "group": None},
            "movements": {"id": None},
        },
    ),
]


def execute_by_hand(world, script):
    """Execute a script with the command-line client, as an administrator does."""
    shells = {
        "sqlite": ["sqlite3", "-bail", str(getattr(world, "path", ""))],
        "postgresql": ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", world.url],
        "mysql": ["mariadb", *_login(world)],
    }
    done = subprocess.run(
        shells[world.engine],
        input=script,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 0, done.stderr + script


def _login(world):
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(world.url)
    login = [
        f"--host={parts.hostname}",
        f"--port={parts.port or 3306}",
        f"--user={unquote(parts.username or 'root')}",
    ]
    return [
        *login,
        *([f"--password={unquote(parts.password)}"] if parts.password else []),
        parts.path[1:],
    ]


@every(
    REPAIRED,
    of=lambda engine, *_: [
        (state, filled) for state in SCRIPTS for filled in (False, True)
    ],
)
def test_script_of_a_dry_run_has_the_effect_of_a_run(
    made, made_by_peewee, state, capsys
):
    assert_script_has_the_effect_of_a_run(made, made_by_peewee, state, capsys)


def assert_script_has_the_effect_of_a_run(made, made_by_peewee, state, capsys):
    rows = rows_of(made)
    assert phase.main(["--database", made.url, "--dry-run", "-q"]) == 0
    execute_by_hand(made, capsys.readouterr().out)
    assert differing_definitions(made, made_by_peewee, NAMES, state.kept) == set()
    assert held(rows, rows_of(made))
    assert phase.check(connect(made)).status == "up_to_date"


@pytest.mark.exhaustive
@every(REPAIRED)
def test_script_of_every_dry_run_has_the_effect_of_a_run(
    made, made_by_peewee, state, capsys
):
    assert_script_has_the_effect_of_a_run(made, made_by_peewee, state, capsys)


@on_every_engine
def test_script_of_a_dry_run_says_its_encoding(world, engine, monkeypatch):
    made = world(engine)

    def thing(**fields):
        meta = type("Meta", (), {"table_name": "things"})
        return type("Thing", (peewee.Model,), {**fields, "Meta": meta})

    before = [thing(word=peewee.CharField(9))]
    database = connect(made)
    with database.bind_ctx(before), database.connection_context():
        database.create_tables(before)
    made.execute("INSERT INTO things (word) VALUES ('a')")
    given = peewee.CharField(9, constraints=[Backfill("'é😀'")])
    other = Phase(
        "Things", requires={}, manages=[thing(word=peewee.CharField(9), given=given)]
    )
    script = "\n".join(other.check(connect(made)).script)
    with monkeypatch.context() as client:
        client.setenv("LC_ALL", "C")
        client.setenv("PGCLIENTENCODING", "LATIN1")
        execute_by_hand(made, script)
    assert made.query("SELECT given FROM things") == [("é😀",)]
    assert other.check(connect(made)).status == "up_to_date"


# -- rolling back


@on_every_engine
def test_tables_are_dropped_in_the_order_of_their_references(complete):
    report = phase.rollback(connect(complete))
    assert report.status == "rolled_back"
    dropped = dropped_tables(report)
    assert sorted(dropped) == sorted(NAMES)
    for child, parent in (
        ("order_lines", "order"),
        ("order_lines", "articles"),
        ("movements", "articles"),
    ):
        assert dropped.index(child) < dropped.index(parent)
    assert set(definitions(complete)) <= {"depots", ""}


@on_every_engine
def test_tables_with_rows_are_named_and_not_dropped(filled):
    before = filled.dump()
    with pytest.raises(ChangeRefused) as refusal:
        phase.rollback(connect(filled))
    assert all(f"{name} holds 3 rows" in str(refusal.value) for name in NAMES)
    assert filled.dump() == before


@on_every_engine
def test_force_drops_tables_with_rows_and_no_others(filled):
    assert phase.rollback(connect(filled), force=True).status == "rolled_back"
    assert set(definitions(filled)) <= {"depots", ""}
    assert filled.query("SELECT count(*) FROM depots") == [(2,)]


@on_every_engine
def test_rollback_drops_an_incomplete_set_of_tables(complete):
    complete.execute("DROP TABLE order_lines")
    report = phase.rollback(connect(complete))
    assert sorted(dropped_tables(report)) == sorted(set(NAMES) - {"order_lines"})
    assert phase.rollback(connect(complete)).status == "up_to_date"


@on_every_engine
def test_run_after_a_rollback_creates_the_tables_again(complete, made_by_peewee):
    phase.rollback(connect(complete))
    assert phase.run(connect(complete)).status == "migrated"
    assert differing_definitions(complete, made_by_peewee, NAMES) == set()


@on_every_engine
@pytest.mark.parametrize(
    ("what", "statement"),
    [
        (
            "table invoices",
            "CREATE TABLE invoices (article VARCHAR(20), FOREIGN KEY (article) "
            "REFERENCES articles (sku))",
        ),
        (
            "view totals",
            "CREATE VIEW totals AS SELECT sum(quantity) AS quantity FROM order_lines",
        ),
    ],
)
def test_tables_that_others_depend_on_are_not_dropped(complete, what, statement):
    complete.execute(statement)
    before = complete.dump()
    with pytest.raises(ChangeRefused, match=what):
        phase.rollback(connect(complete), force=True)
    assert complete.dump() == before


# -- in the caller's transaction


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_run_in_the_callers_transaction_is_rolled_back_with_it(empty):
    before, database = empty.dump(), connect(empty)
    with database.connection_context():
        with database.atomic() as transaction:
            assert phase.run(database).status == "migrated"
            transaction.rollback()
        assert empty.dump() == before
        with database.atomic():
            assert phase.ensure(database) is True
    assert phase.check(connect(empty)).status == "up_to_date"


@pytest.mark.parametrize("engine", ["mysql"])
def test_run_that_would_commit_the_callers_transaction_is_refused(empty):
    before, database = empty.dump(), connect(empty)
    with (
        database.connection_context(),
        database.atomic(),
        pytest.raises(ChangeRefused, match="transaction"),
    ):
        phase.run(database)
    assert empty.dump() == before


@on_every_engine
def test_complete_database_is_accepted_in_a_transaction(filled):
    database = connect(filled)
    with database.connection_context(), database.atomic():
        assert phase.run(database).status == "up_to_date"
