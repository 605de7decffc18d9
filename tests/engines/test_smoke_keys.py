"""The smoke test of a phase with every kind of key, on every engine: what it tries, reads, waits for and leaves."""

import re

import pytest
from another_phase import MODELS, REQUIRED, phase
from engines.servers import COMPLETE, another

import db
from migrations import phase_4_5

STEPS = ("insert", "select", "unique", "foreign_keys", "cascade", "cleanup")
HELD = dict.fromkeys(STEPS, True)
ENGINES = ("sqlite", "postgresql", "mysql")
SERVERS = ("postgresql", "mysql")


@pytest.fixture
def bare(world):
    """Return a function that gives a world without a table."""

    def make(engine):
        made = world(engine)
        made.clear()
        return made

    return make


@pytest.fixture
def warehouse(bare):
    """Return a function that gives a world with all tables of the phase."""

    def make(engine):
        made = bare(engine)
        database = db.connect(made.url)
        with database.connection_context(), database.bind_ctx(MODELS):
            database.create_tables(REQUIRED)
        phase.ensure(database)
        return made

    return make


def steps(world):
    return phase.run(db.connect(world.url), statistics=False).smoke_test


def failed(world):
    with pytest.raises(phase_4_5.SmokeTestFailed) as caught:
        steps(world)
    return [step for step in STEPS if caught.value.report.smoke_test[step] is False]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_key_is_tried_and_holds_and_nothing_is_left(warehouse, engine):
    world = warehouse(engine)
    before = world.dump()
    assert steps(world) == HELD
    assert world.dump() == before


def statements(world):
    """Return the statements of a run."""
    database, seen = db.connect(world.url), []
    execute = database.execute_sql
    database.execute_sql = lambda sql, *rest: seen.append(re.sub('["`]', "", sql)) or execute(sql, *rest)
    assert phase.run(database, statistics=False).smoke_test == HELD
    return seen


@pytest.mark.parametrize("engine", ENGINES)
def test_each_parent_is_deleted_and_each_that_cascades_is_renamed(warehouse, engine):
    seen = statements(warehouse(engine))
    deleted = [sql.split()[2] for sql in seen if sql.startswith("DELETE FROM")]
    assert sorted(deleted) == ["articles"] * 4 + ["depots", "order"]
    assert {sql.split()[1] for sql in seen if sql.startswith("UPDATE")} == {"articles", "depots"}


# -- tables that lie

REFUSING = {  # a trigger that keeps a key from doing what it says, and the step that fails
    "a part stays with its whole": (
        "CREATE TRIGGER t BEFORE UPDATE ON articles WHEN OLD.whole_id IS NOT NULL AND NEW.whole_id IS NULL "
        "BEGIN SELECT RAISE(IGNORE); END", "cascade",
    ),
    "a depot goes with its orders": (
        'CREATE TRIGGER t BEFORE DELETE ON depots BEGIN DELETE FROM "order" WHERE depot_id = OLD.code; END',
        "foreign_keys",
    ),
    "a movement is doubled": (
        "CREATE TRIGGER t BEFORE INSERT ON movements BEGIN DELETE FROM movements WHERE at = NEW.at; END", "unique",
    ),
    "a depot's name does not reach its orders": (
        'CREATE TRIGGER t AFTER UPDATE ON depots BEGIN UPDATE "order" SET depot_id = OLD.code '
        "WHERE depot_id = NEW.code; END",
        "cascade",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("trigger", "step"), REFUSING.values(), ids=REFUSING)
def test_a_key_that_does_not_do_what_it_says_fails(warehouse, trigger, step):
    world = warehouse("sqlite")
    world.execute(trigger)
    assert failed(world) == [step]


def test_keys_whose_triggers_are_off_fail(warehouse):
    world = warehouse("postgresql")
    for name in ("articles", "order", "order_lines", "movements", "depots"):
        world.execute(f'ALTER TABLE "{name}" DISABLE TRIGGER ALL')
    assert failed(world) == ["foreign_keys", "cascade"]


# -- what it reads and waits for


@pytest.fixture
def long(world):
    """Return a function that gives the application's tables, with many more rows than a page has."""

    def make(engine):
        made = world(engine).make(COMPLETE, filled=True)
        made.execute(
            "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, week_end_date, store_id, "
            "category_id, actual_units_sold, uploaded_at) WITH RECURSIVE n (i) AS "
            "(SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 1900) "
            "SELECT w.workflow_id, n.i, w.week_start_date, w.week_end_date, w.store_id, w.category_id, 1, "
            "w.uploaded_at FROM (SELECT * FROM weekly_actuals LIMIT 1) w, n"
        )
        if engine == "postgresql":
            made.execute("ANALYZE")
        return made

    return make


@pytest.mark.parametrize("length", ["long", "short"])
def test_no_row_is_read_one_after_the_other_on_postgresql(request, world, length):
    if length == "long":
        world = request.getfixturevalue("long")("postgresql")
    else:
        world = world("postgresql").make(COMPLETE, filled=True)
        world.execute("CREATE INDEX own ON weekly_actuals (category_id)")

    def read(database):
        database.execute_sql("SELECT pg_stat_force_next_flush()")
        return world.query(
            "SELECT relname, seq_tup_read FROM pg_stat_user_tables WHERE relname IN ('weekly_actuals', "
            "'historical_sales') ORDER BY 1"
        )

    database = db.connect(world.url)
    with database.connection_context():
        world.execute("SELECT pg_stat_force_next_flush()")
        before = read(database)
        assert phase_4_5.run(database, statistics=False).smoke_test == HELD
        assert read(database) == before


def test_no_row_is_read_one_after_the_other_on_mariadb(long):
    database = db.connect(long("mysql").url)

    def read():
        rows = database.execute_sql("SELECT variable_value FROM information_schema.session_status "
                                    "WHERE variable_name = 'Handler_read_rnd_next'").fetchall()  # fmt: skip
        return int(rows[0][0])

    def cost(**options):
        before = read()
        phase_4_5.run(database, statistics=False, **options)
        return read() - before

    with database.connection_context():
        cost()
        assert cost() - cost(smoke_test=False) < 200  # of the catalogue's


@pytest.mark.parametrize("engine", ENGINES)
def test_a_key_without_an_index_is_not_followed_through_a_long_table(long, engine):
    world = long(engine)
    database, deleted = db.connect(world.url), []
    execute = database.execute_sql
    database.execute_sql = lambda sql, *rest: deleted.append(sql) or execute(sql, *rest)
    assert phase_4_5.run(database, statistics=False).smoke_test == HELD
    tables = {re.sub('["`]', "", sql).split()[2] for sql in deleted if sql.startswith("DELETE")}
    assert tables == {"workflows", "stores"} | ({"categories"} if engine == "mysql" else set())


@pytest.mark.parametrize("engine", SERVERS)
def test_rows_that_somebody_has_locked_are_not_waited_for(world, hold, engine):
    complete = world(engine).make(COMPLETE, filled=True)
    complete.execute("ALTER TABLE weekly_actuals ADD COLUMN note VARCHAR(20) DEFAULT 'x' NOT NULL",
                     "ALTER TABLE weekly_actuals ALTER COLUMN note DROP DEFAULT")  # fmt: skip
    hold(complete, "UPDATE weekly_actuals SET note = 'mine' WHERE id = 1")
    report = phase_4_5.run(db.connect(complete.url), statistics=False, lock_timeout=1)
    assert report.smoke_test == HELD


@pytest.mark.parametrize("engine", SERVERS)
def test_rows_are_free_for_others_afterwards(world, engine):
    complete = world(engine).make(COMPLETE, filled=True)
    database = db.connect(complete.url)
    with database.connection_context():
        assert phase_4_5.run(database, statistics=False).smoke_test == HELD
        other = another(complete.url)
        other.cursor().execute("UPDATE weekly_actuals SET actual_units_sold = 0")
        other.close()


# -- what a user may not see, or not for long


def level_of(caplog, text):
    """Return the level of the one message that holds a text."""
    (level,) = [each.levelname for each in caplog.records if text in each.getMessage()]
    return level


def test_rows_that_are_hidden_make_no_step_false(world, caplog):
    complete = world("postgresql").make(COMPLETE, filled=True)
    complete.execute(
        "ALTER TABLE stores ENABLE ROW LEVEL SECURITY", "ALTER TABLE stores FORCE ROW LEVEL SECURITY",
        "CREATE POLICY none ON stores FOR SELECT USING (false)",
        "DO $$ BEGIN CREATE ROLE smoke_tester LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO smoke_tester", "GRANT ALL ON SCHEMA public TO smoke_tester",
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO smoke_tester",
    )  # fmt: skip
    try:
        url = complete.url.replace("postgres@", "smoke_tester@")
        report = phase_4_5.run(db.connect(url), statistics=False)
    finally:
        complete.execute("DROP OWNED BY smoke_tester", "DROP ROLE smoke_tester")
    assert report.smoke_test == dict.fromkeys(STEPS)
    assert level_of(caplog, "row-level security hides rows of stores") == "WARNING"


@pytest.mark.parametrize("engine", SERVERS)
def test_no_counter_moves_in_a_parent_that_counts_either(bare, engine):
    made = bare(engine)
    serial = {"mysql": "INTEGER AUTO_INCREMENT", "postgresql": "SERIAL"}[engine]
    made.execute(*(
        f"CREATE TABLE depots (n {serial} PRIMARY KEY, code VARCHAR(12) NOT NULL UNIQUE, place VARCHAR(80) NOT NULL)",
    ))  # fmt: skip
    database = db.connect(made.url)
    assert phase.run(database, statistics=False).smoke_test == HELD
    made.execute("INSERT INTO depots (code, place) VALUES ('a', 'b')")
    assert made.query("SELECT n FROM depots") == [(1,)]


def test_a_parent_whose_own_parent_would_move_a_counter_for_good_is_not_tried(bare):
    made = bare("mysql")
    made.execute(
        "CREATE TABLE owners (id INTEGER UNSIGNED AUTO_INCREMENT PRIMARY KEY)",
        "CREATE TABLE depots (code VARCHAR(12) NOT NULL PRIMARY KEY, place VARCHAR(80) NOT NULL, "
        "owner INTEGER UNSIGNED NOT NULL, FOREIGN KEY (owner) REFERENCES owners (id))",
    )
    assert steps(made) == {**dict.fromkeys(STEPS), "cleanup": True}


@pytest.mark.parametrize("engine", SERVERS)
def test_a_parent_that_is_wider_than_its_child_gets_a_key_that_fits_both(bare, engine):
    made = bare(engine)
    made.execute("CREATE TABLE depots (code VARCHAR(90) NOT NULL PRIMARY KEY, place VARCHAR(80) NOT NULL)")
    assert steps(made) == HELD


@pytest.mark.parametrize("engine", ENGINES)
def test_a_condition_that_names_hundreds_of_values_is_met(bare, engine):
    made = bare(engine)
    zones = f"zone INTEGER NOT NULL CHECK (zone IN ({', '.join(map(str, range(1000, 1300)))}))"
    made.execute(f"CREATE TABLE depots (code VARCHAR(12) NOT NULL PRIMARY KEY, place VARCHAR(80) NOT NULL, {zones})")
    assert steps(made) == HELD


# -- rows that stay


def database_that_commits_rollbacks(url):
    """Return a database that commits where a transaction is rolled back."""
    database = db.connect(url)
    execute = database.execute_sql

    def execute_sql(sql, *arguments, **options):
        statement = "COMMIT" if sql == "ROLLBACK" else sql
        return execute(statement, *arguments, **options)

    database.execute_sql, database.rollback = execute_sql, database.commit
    return database


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_of_the_smoke_test_that_stay_fail_the_cleanup(world, engine):
    made = world(engine).make(COMPLETE)
    with pytest.raises(phase_4_5.SmokeTestFailed, match="cleanup") as failure:
        phase_4_5.run(database_that_commits_rollbacks(made.url))
    assert failure.value.report.smoke_test == {**HELD, "cleanup": False}
    assert made.query("SELECT count(*) FROM weekly_actuals") == [(1,)]
