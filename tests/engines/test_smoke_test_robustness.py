"""The smoke test on correct tables: it does not fail, and uses up no id."""

import random

import peewee
import pytest

import db
from db.fields import UniqueConstraint
from migrations.engines import engine_for, sample_rows
from migrations.phase import Phase
from migrations.smoke_test import STEPS

ENGINES = ("sqlite", "postgresql", "mysql")
SERVERS = ("postgresql", "mysql")
ID = {
    "sqlite": "id integer PRIMARY KEY",
    "postgresql": "id serial PRIMARY KEY",
    "mysql": "id int AUTO_INCREMENT PRIMARY KEY",
}


class Seat(peewee.Model):
    hall = peewee.CharField(20, null=True)
    number = peewee.IntegerField(null=True)

    class Meta:
        table_name = "seat"
        constraints = [UniqueConstraint("seat_once", "hall", "number")]


class Thing(peewee.Model):
    class Meta:
        table_name = "thing"


class Note(peewee.Model):
    text = peewee.CharField(20, unique=True)

    class Meta:
        table_name = "note"


class Code(peewee.Model):
    code = peewee.CharField(1, primary_key=True)

    class Meta:
        table_name = "code"


class Use(peewee.Model):
    code = peewee.ForeignKeyField(Code, on_delete="CASCADE", on_update="CASCADE")

    class Meta:
        table_name = "uses"


SEATS = Phase("Seats", requires={}, manages=[Seat])
THINGS = Phase("Things", requires={}, manages=[Thing])
NOTES = Phase("Notes", requires={}, manages=[Note])
USES = Phase("Uses", requires={}, manages=[Code, Use])


@pytest.fixture
def empty(world, engine):
    """A database without a table."""
    made = world(engine)
    made.clear() if engine != "sqlite" else None
    return made


def steps(world, phase):
    report = phase.run(db.connect(world.url), statistics=False)
    assert report.status == "up_to_date"
    return report.smoke_test


def reasons(caplog):
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("hall", [None, "big"])
@pytest.mark.parametrize("engine", ENGINES)
def test_undeclared_key_of_a_nullable_unique_column_is_filled(empty, engine, hall):
    empty.execute(
        "CREATE TABLE hall (code varchar(20) PRIMARY KEY)",
        f"CREATE TABLE seat ({ID[engine]}, hall varchar(20), number int, "
        "CONSTRAINT own FOREIGN KEY (hall) REFERENCES hall (code), "
        "CONSTRAINT seat_once UNIQUE (hall, number))",
    )
    if hall:
        empty.execute(f"INSERT INTO hall VALUES ('{hall}')")
    tried = steps(empty, SEATS)
    assert (tried["insert"], tried["unique"], tried["cleanup"]) == (True, True, True)


@pytest.mark.parametrize("engine", ENGINES)
def test_undeclared_key_with_a_default_gets_a_parent(empty, engine):
    empty.execute(
        "CREATE TABLE hall (code varchar(20) PRIMARY KEY)",
        f"CREATE TABLE note ({ID[engine]}, text varchar(20) NOT NULL UNIQUE, "
        "hall varchar(20) DEFAULT 'none', "
        "CONSTRAINT own FOREIGN KEY (hall) REFERENCES hall (code))",
    )
    tried = steps(empty, NOTES)
    assert (tried["insert"], tried["select"], tried["unique"]) == (True, True, True)


@pytest.mark.parametrize("engine", ["postgresql"])
def test_a_check_of_the_whole_row_is_fulfilled(empty, engine):
    empty.execute(
        "CREATE TABLE note (id serial PRIMARY KEY, text varchar(20) NOT NULL UNIQUE, "
        "number integer, CHECK (note IS NOT NULL))"
    )
    assert steps(empty, NOTES)["insert"] is True


@pytest.mark.parametrize("engine", ["mysql"])
def test_table_of_an_unsigned_id_alone_is_no_failure(empty, engine):
    empty.execute("CREATE TABLE thing (id int unsigned AUTO_INCREMENT PRIMARY KEY)")
    tried = steps(empty, THINGS)
    assert (tried["insert"], tried["select"], tried["cleanup"]) == (True, True, True)
    empty.execute("INSERT INTO thing VALUES ()")
    assert empty.query("SELECT id FROM thing") == [(1,)]


@pytest.mark.parametrize("engine", ["mysql"])
def test_no_unsigned_id_is_used_up_where_lower_ones_are_free(empty, engine):
    empty.execute(
        "CREATE TABLE note (id int unsigned AUTO_INCREMENT PRIMARY KEY, "
        "text varchar(20) NOT NULL UNIQUE)",
        "INSERT INTO note VALUES (2, 'a'), (3, 'b')",
    )
    tried = steps(empty, NOTES)
    assert (tried["insert"], tried["unique"], tried["cleanup"]) == (True, True, True)
    empty.execute("INSERT INTO note (text) VALUES ('c')")
    assert empty.query("SELECT max(id) FROM note") == [(4,)]


@pytest.mark.mariadb_only
@pytest.mark.parametrize("engine", SERVERS)
def test_no_value_of_a_sequence_is_used_up(empty, engine):
    empty.execute(
        "DROP SEQUENCE IF EXISTS own",
        "CREATE SEQUENCE own",
        f"CREATE TABLE note ({ID[engine]}, text varchar(20) NOT NULL UNIQUE, "
        "number bigint DEFAULT nextval({}))".format(
            "own" if engine == "mysql" else "'own'"
        ),
    )
    tried = steps(empty, NOTES)
    assert (tried["insert"], tried["unique"], tried["cleanup"]) == (True, True, True)
    empty.execute("INSERT INTO note (text) VALUES ('c')")
    assert empty.query("SELECT id, number FROM note") == [(1, 1)]
    empty.execute("DROP TABLE note", "DROP SEQUENCE own")


@pytest.mark.parametrize("engine", ENGINES)
def test_more_than_500_rows_are_looked_for(empty, engine):
    empty.execute(f"CREATE TABLE note ({ID[engine]}, text varchar(20) NOT NULL UNIQUE)")
    database = db.connect(empty.url)
    with database.connection_context():
        session_engine = engine_for(database, NOTES.models, 1.0)
        with session_engine.session.connected():
            rows = session_engine.sample_rows()
            rows._leftover_queries += [
                f"SELECT 1 FROM note WHERE text = '{number}'" for number in range(600)
            ]
            assert not rows.has_leftovers()
            empty.execute("INSERT INTO note (text) VALUES ('599')")
            assert rows.has_leftovers()


UNKNOWN_VALUES = {
    "of one column": "number integer NOT NULL, CHECK (number * 7 = 7777777)",
    "of two columns": "low integer NOT NULL, high integer NOT NULL, "
    "CONSTRAINT rare CHECK (low * high = 1234567 AND low > 9 AND high > 9)",
}


@pytest.mark.parametrize("case", UNKNOWN_VALUES)
@pytest.mark.parametrize("engine", ENGINES)
def test_check_that_no_known_value_satisfies_is_no_failure(empty, engine, case, caplog):
    columns = UNKNOWN_VALUES[case]
    empty.execute(
        f"CREATE TABLE note ({ID[engine]}, text varchar(20) NOT NULL UNIQUE, {columns})"
    )
    caplog.set_level("WARNING", "migrations")
    tried = steps(empty, NOTES)
    if engine == "sqlite" or getattr(empty, "is_mariadb", False):
        assert tried["insert"] is True  # CHECKs are ignored
        return
    assert (tried["insert"], tried["unique"], tried["cleanup"]) == (None, None, True)
    reason = "  the smoke test cannot insert a row of note: no "
    (found,) = [text for text in reasons(caplog) if text.startswith(reason)]
    if case == "of one column":
        assert found == (
            f"{reason}value for number was found that its CHECK constraints accept"
        )


@pytest.mark.parametrize("engine", SERVERS)
def test_value_that_a_generated_column_refuses_is_no_failure(empty, engine, caplog):
    empty.execute(
        f"CREATE TABLE note ({ID[engine]}, text varchar(20) NOT NULL UNIQUE, "
        "number integer NOT NULL, "
        "more integer GENERATED ALWAYS AS (number * 3000000000) STORED)"
    )
    caplog.set_level("WARNING", "migrations")
    tried = steps(empty, NOTES)
    assert (tried["insert"], tried["unique"], tried["cleanup"]) == (None, None, True)
    reason = "  the smoke test cannot insert a row of note: no row was found that it "
    assert any(text.startswith(reason) for text in reasons(caplog))


@pytest.mark.parametrize("engine", ENGINES)
def test_keys_with_few_values_are_no_failure(empty, engine, monkeypatch):
    drawn = random.Random(5)
    monkeypatch.setattr(
        sample_rows,
        "random_string",
        lambda size, alphabet: "".join(drawn.choice("ghijk") for _ in range(size)),
    )
    database = db.connect(empty.url)
    USES.ensure(database)
    outcomes = [
        USES.run(database, statistics=False).smoke_test["foreign_keys"]
        for _ in range(20)
    ]
    assert False not in outcomes
    assert True in outcomes


LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("free", "inserted"), [("0", True), ("", None)], ids=["a free one", "none"]
)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_key_that_exists_is_drawn_again(empty, engine, free, inserted, caplog):
    phase = Phase("Codes", requires={}, manages=[Code])
    database = db.connect(empty.url)
    phase.ensure(database)
    used = [each for each in (*LETTERS, *"0123456789") if each != free]
    rows = ", ".join(f"('{each}')" for each in used)
    empty.execute(f"INSERT INTO code VALUES {rows}")
    tried = phase.run(database, statistics=False).smoke_test
    assert False not in tried.values()
    if engine != "sqlite":  # which knows no length, and takes a longer key
        assert tried["insert"] is inserted
        reason = "  the smoke test cannot insert a row of code: each key that was tried"
        assert f"{reason} exists already" in reasons(caplog)


# -- keys that are checked at COMMIT

DEFERRED = " DEFERRABLE INITIALLY DEFERRED"


class Child(peewee.Model):
    note = peewee.ForeignKeyField(Note, column_name="note_id")

    class Meta:
        table_name = "child"


CHILDREN = Phase("Children", requires={}, manages=[Note, Child])


def create_children(made):
    made.execute(
        f"CREATE TABLE note ({ID[made.engine]}, text varchar(20) NOT NULL UNIQUE)",
        f"CREATE TABLE child ({ID[made.engine]}, note_id integer NOT NULL "
        f"REFERENCES note (id){DEFERRED})",
        "CREATE INDEX child_note_id ON child (note_id)",
    )


@pytest.mark.parametrize(("engine", "held"), [("sqlite", None), ("postgresql", True)])
def test_a_deferred_key_without_an_action_is_no_failure(empty, engine, held):
    create_children(empty)
    tried = steps(empty, CHILDREN)
    assert (tried["insert"], tried["foreign_keys"]) == (True, held)


@pytest.mark.parametrize("engine", ["postgresql"])
def test_rows_that_the_caller_completes_later_are_no_failure(empty, engine):
    create_children(empty)
    database = db.connect(empty.url)
    with database.atomic():
        database.execute_sql("INSERT INTO child (note_id) VALUES (7)")
        tried = CHILDREN.run(database, statistics=False).smoke_test
        assert (tried["insert"], tried["foreign_keys"]) == (True, None)
        database.execute_sql("INSERT INTO note (id, text) VALUES (7, 'x')")
    assert empty.query("SELECT count(*) FROM child") == [(1,)]


# -- tables without transactions

INSERT = "INSERT INTO audit VALUES (new.id)"
WAYS = {
    "trigger": ["CREATE TRIGGER t AFTER INSERT ON note FOR EACH ROW " + INSERT],
    "procedure": [
        "CREATE PROCEDURE save(n int) INSERT INTO audit VALUES (n)",
        "CREATE TRIGGER t AFTER INSERT ON note FOR EACH ROW CALL save(new.id)",
    ],
    "view": [
        "CREATE VIEW seen AS SELECT n FROM audit",
        "CREATE TRIGGER t AFTER INSERT ON note FOR EACH ROW "
        "INSERT INTO seen VALUES (new.id)",
    ],
    "another table": [
        "CREATE TABLE middle (id int)",
        "CREATE TRIGGER t AFTER INSERT ON note FOR EACH ROW "
        "INSERT INTO middle VALUES (new.id)",
        "CREATE TRIGGER u AFTER INSERT ON middle FOR EACH ROW " + INSERT,
    ],
}


@pytest.fixture
def audited(empty):
    """Return a function that gives a database with a trigger that writes an audit."""

    def make(way, storage_engine):
        if storage_engine == "Aria" and not empty.is_mariadb:
            pytest.skip("MySQL does not have it")
        empty.execute(
            f"CREATE TABLE note ({ID['mysql']}, text varchar(20) NOT NULL UNIQUE)",
            f"CREATE TABLE audit (n int) ENGINE={storage_engine}",
            *WAYS[way],
        )
        return empty

    yield make
    empty.execute("DROP PROCEDURE IF EXISTS save", "DROP VIEW IF EXISTS seen")


@pytest.mark.parametrize("storage_engine", ["MyISAM", "Aria"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("engine", ["mysql"])
def test_audit_without_transactions_is_not_written_to(
    audited, way, storage_engine, caplog
):
    made = audited(way, storage_engine)
    caplog.set_level("INFO", "migrations")
    assert steps(made, NOTES) == dict.fromkeys(STEPS)
    assert made.query("SELECT * FROM audit") == []
    name = made.url.rpartition("/")[2]
    reason = (
        f"  the smoke test is not tried: {name}.audit: rows would stay, because its "
        "storage engine has no transactions"
    )
    assert reason in reasons(caplog)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("engine", ["mysql"])
def test_audit_with_transactions_is_tried_and_left_empty(audited, way):
    made = audited(way, "InnoDB")
    tried = steps(made, NOTES)
    assert (tried["insert"], tried["unique"], tried["cleanup"]) == (True, True, True)
    assert made.query("SELECT * FROM audit") == []


@pytest.mark.parametrize("engine", ["mysql"])
def test_audit_in_another_database_is_found_by_its_path(audited, engine):
    made = audited("trigger", "InnoDB")
    name = f"{made.url.rpartition('/')[2]}_audits"
    made.execute(f"CREATE DATABASE {name}")
    try:
        made.execute(f"CREATE TABLE {name}.audit (n int) ENGINE=MyISAM")
        assert steps(made, NOTES)["insert"] is True
        made.execute(
            "DROP TRIGGER t",
            "CREATE TRIGGER t AFTER INSERT ON note FOR EACH ROW "
            f"INSERT INTO {name}.audit VALUES (new.id)",
        )
        assert steps(made, NOTES) == dict.fromkeys(STEPS)
        assert made.query(f"SELECT count(*) FROM {name}.audit") == [(0,)]
    finally:
        made.execute(f"DROP DATABASE {name}")


# -- reasons


@pytest.mark.parametrize("engine", ENGINES)
def test_each_step_that_is_not_tried_has_a_reason(empty, engine, caplog):
    empty.execute(f"CREATE TABLE thing ({ID[engine]})")
    caplog.set_level("INFO", "migrations")
    tried = steps(empty, THINGS)
    not_tried = [step for step, outcome in tried.items() if outcome is None]
    assert not_tried == ["unique", "foreign_keys", "cascade"]
    logged = reasons(caplog)
    assert "  unique: no table of the phase has a unique key except its id" in logged
    assert "  foreign_keys: no table of the phase has a foreign key" in logged
    assert "  cascade: no table of the phase has a foreign key with an action" in logged
