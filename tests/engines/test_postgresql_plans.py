"""PostgreSQL: whom a plan holds up, what its script takes, what a look at the rows costs, and what it refuses."""

import json
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import another_phase
import another_states
import drivers
import peewee
import pytest
from engines.servers import COMPLETE, HALF, NOTHING, command, eventually
from engines.worlds import World
from states import INDEXES, REPAIRED, REFUSED, ROWS, TABLE, WORDS, State, cases

import db
from migrations import phase_4_5
from migrations.engines import engine_for
from migrations.phase import Phase
from migrations.errors import MigrationError

LOST = State("everything lost but the columns", REPAIRED, items={
    **{name: item.replace(" NOT NULL", "") for name, item in TABLE.items() if not item.startswith("FOREIGN")},
    "id": "id INTEGER", "unique": None, "workflow": None, "store": None, "category": None,
    "uploaded_at": "uploaded_at {datetime}"}, without=tuple(INDEXES))  # fmt: skip
NO_ID = State("no id", REPAIRED, items={"id": None})
AS_TEXT = State("a number as text", REPAIRED, items={"week_number": "week_number {string} NOT NULL"})
TOO_SHORT = State("too short", REPAIRED, items={"store_id": "store_id VARCHAR(10) NOT NULL"})
NULLABLE = State("NOT NULL lost", REPAIRED, items={"week_number": "week_number INTEGER"})
NO_CASCADE = State("no CASCADE", REPAIRED, items={
    "store": "CONSTRAINT mine FOREIGN KEY (store_id) REFERENCES stores(store_id)"})  # fmt: skip
OTHER_KEY = State("another key", REPAIRED, items={
    "id": "id INTEGER NOT NULL", "key": "PRIMARY KEY (workflow_id, week_number)"})  # fmt: skip
PROVEN = (
    "ALTER TABLE weekly_actuals ADD CONSTRAINT not_null_week_number CHECK (week_number IS NOT NULL){}",
    "CREATE UNIQUE INDEX weekly_actuals_pkey_new ON weekly_actuals (id)",
)


def name_of(state):
    return state.name if isinstance(state, State) else None


@pytest.fixture
def engine():
    return "postgresql"


def planned(world):
    return phase_4_5.check(db.connect(world.url)).changes


def statements(world):
    return [change.sql for change in planned(world)]


def filled(world, state, without=()):
    """Make a state with a row for each of three weeks."""
    made = world("postgresql").make(state)
    for number, each in enumerate(ROWS if state is not NOTHING else ()):
        names = each.keys() - {*without, *(["id"] if state is NO_ID else [])}
        World.insert(made, {**{name: each[name] for name in each if name in names}, "week_number": number})
    return made


# -- whom it holds up


@pytest.mark.parametrize("state", [HALF, LOST, NULLABLE, NO_CASCADE, OTHER_KEY, TOO_SHORT], ids=name_of)
@pytest.mark.parametrize("make", [filled, lambda world, state: world("postgresql").make(state)])
def test_nobody_is_held_up_where_there_is_a_way(world, state, make):
    made = make(world, state)
    assert {change.blocks for change in planned(made)} == {None}
    phase_4_5.run(db.connect(made.url))
    made.assert_specified()


@pytest.mark.parametrize(("state", "what"), [(NO_ID, "add column id"), (AS_TEXT, "convert week_number to INTEGER")])
def test_what_holds_everybody_up_is_told(world, state, what):
    made = filled(world, state)
    assert [(change.description, change.blocks) for change in planned(made) if change.blocks] == [
        (what, "reads and writes")
    ]  # fmt: skip
    made.execute("TRUNCATE weekly_actuals")
    assert {change.blocks for change in planned(made)} == {None}


def test_not_null_beside_rows_rests_on_a_check_that_was_validated(world):
    made = world("postgresql").make(NULLABLE, True)
    assert [re.sub(r'^ALTER TABLE "weekly_actuals" ', "", statement) for statement in statements(made)] == [
        'ADD CONSTRAINT "not_null_week_number" CHECK ("week_number" IS NOT NULL) NOT VALID',
        'VALIDATE CONSTRAINT "not_null_week_number"',
        'ALTER COLUMN "week_number" SET NOT NULL',
        'DROP CONSTRAINT "not_null_week_number"',
    ]
    phase_4_5.run(db.connect(made.url))
    assert made.query("SELECT conname FROM pg_constraint WHERE conname LIKE 'not\\_null\\_%'") == []


def test_a_primary_key_beside_rows_rests_on_an_index_that_was_built_concurrently(world):
    made = world("postgresql").make(LOST, True)
    found = statements(made)
    built = 'CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "weekly_actuals_pkey_new" ON "weekly_actuals" ("id")'
    added = 'ADD CONSTRAINT "weekly_actuals_pkey" PRIMARY KEY USING INDEX "weekly_actuals_pkey_new"'
    (number,) = [number for number, statement in enumerate(found) if statement.endswith(added)]
    assert found.index(built) < number
    phase_4_5.run(db.connect(made.url))
    assert made.query(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = 'weekly_actuals'::regclass AND contype = 'p'"
    ) == [("weekly_actuals_pkey", "PRIMARY KEY (id)")]


def test_a_users_own_key_gives_way_and_stays_unique_without_a_look_under_a_lock(world):
    found = statements(filled(world, OTHER_KEY))
    assert sum("CREATE UNIQUE INDEX CONCURRENTLY" in statement for statement in found) == 2
    assert not any(re.search(r"ADD (PRIMARY KEY|UNIQUE) \(", statement) for statement in found)


@pytest.mark.parametrize("rows", [False, True])
def test_a_replaced_primary_key_becomes_a_unique_constraint(world, rows):
    made = filled(world, OTHER_KEY) if rows else world("postgresql").make(OTHER_KEY)
    phase_4_5.run(db.connect(made.url))
    constraints = made.query(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = 'weekly_actuals'::regclass AND contype = 'u'"
    )
    assert ("UNIQUE (workflow_id, week_number)",) in constraints


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("left", [
    (PROVEN[0].format(" NOT VALID"),), (PROVEN[0].format(""),), (PROVEN[1],), (PROVEN[0].format(""), PROVEN[1]),
    (PROVEN[1], "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'weekly_actuals_pkey_new'::regclass"),
])  # fmt: skip
def test_what_a_killed_run_has_left_is_a_state_like_any(world, left, rows):
    made = world("postgresql").make(LOST, rows)
    made.execute(*left)
    assert phase_4_5.run(db.connect(made.url)).status == "migrated"
    made.assert_specified()
    assert phase_4_5.run(db.connect(made.url)).status == "up_to_date"
    names = made.query("SELECT conname FROM pg_constraint UNION SELECT relname FROM pg_class")
    assert not {("not_null_week_number",), ("weekly_actuals_pkey_new",)} & {*names}


# -- its script

SCRIPTS = [NOTHING, HALF, LOST, NULLABLE, NO_CASCADE, OTHER_KEY, NO_ID, AS_TEXT, TOO_SHORT]
# What a linter says of the types that are specified, and of what is meant to change.
SPECIFIED = {"prefer-bigint-over-int", "prefer-identity", "prefer-text-field", "prefer-timestamp-tz",
             "ban-drop-not-null", "ban-alter-identity"}  # fmt: skip
REPLACED = re.compile(r'DROP CONSTRAINT "(not_null_\w+|mine|weekly_actuals_pkey)"')


def script_of(world):
    return phase_4_5.check(db.connect(world.url)).script


@pytest.mark.parametrize("state", SCRIPTS, ids=name_of)
def test_a_linter_finds_nothing_in_it_but_what_is_specified_or_marked(world, state, tmp_path):
    squawk = Path(sysconfig.get_path("scripts"), "squawk")
    if not squawk.exists():
        drivers.leave_out("squawk", "squawk-cli is not installed")
    lines = script_of(filled(world, state))
    written = tmp_path / "script.sql"
    written.write_text("\n".join(lines))
    told = subprocess.run([squawk, "--reporter", "json", "--pg-version", "15", written], capture_output=True, text=True)
    for each in json.loads(told.stdout):
        statement, before = lines[each["line"]], lines[each["line"] - 1]
        replaced = each["rule_name"] == "ban-drop-constraint" and REPLACED.search(statement)
        grows = "TYPE VARCHAR" in statement and " USING " not in statement  # no row is written anew
        assert each["rule_name"] in SPECIFIED or replaced or grows or before.startswith("-- blocks "), each


@pytest.mark.parametrize("state", SCRIPTS, ids=name_of)
def test_every_statement_has_its_limits(world, state):
    lines, limited = script_of(filled(world, state)), False
    for line in lines:
        if re.match(r"SET (LOCAL )?(lock|statement)_timeout = ", line):
            limited = True
        elif line == "COMMIT;" or line.startswith("RESET"):
            limited = False
        elif line not in ("BEGIN;", r"\set ON_ERROR_STOP on") and not line.startswith("--"):
            assert limited, line


def test_changes_of_an_empty_table_share_one_transaction(world):
    script = script_of(world("postgresql").make(HALF))
    assert (script.count("BEGIN;"), script.count("COMMIT;")) == (1, 1)


@pytest.mark.parametrize("state", SCRIPTS, ids=name_of)
def test_a_script_that_is_piped_into_psql_does_what_a_run_does(world, alone, state):
    if not shutil.which("psql"):
        drivers.leave_out("psql", "it is not installed")
    by_run, by_script = filled(world, state), filled(lambda engine: alone, state)
    script = "\n".join(script_of(by_script))
    done = subprocess.run(["psql", "-X", "-q", by_script.url], input=script, capture_output=True, text=True)
    assert (done.returncode, "ERROR" in done.stderr) == (0, False)
    assert phase_4_5.ensure(db.connect(by_run.url)) is True
    assert phase_4_5.check(db.connect(by_script.url)).status == "up_to_date"
    by_script.assert_specified()
    assert by_script.catalogue() == by_run.catalogue()


class Label(peewee.Model):
    text = peewee.CharField(20, constraints=[peewee.SQL(r"DEFAULT 'a\b'")])


def test_a_script_keeps_a_backslash_in_any_string_mode(alone):
    """With standard_conforming_strings off, a backslash begins an escape sequence."""
    made = alone.make(NOTHING)
    phase, database = Phase("Labels", requires={}, manages=[Label]), db.connect(made.url)
    first, *script = phase.check(database).script
    assert first == r"\set ON_ERROR_STOP on"
    made.execute("SET standard_conforming_strings = off", *script)
    assert phase.check(database).status == "up_to_date"
    assert made.query("INSERT INTO label DEFAULT VALUES RETURNING text") == [(r"a\b",)]


def test_a_script_stops_at_the_first_failure(alone):
    made = filled(lambda engine: alone, NULLABLE)
    script = "\n".join(script_of(made))
    made.execute("ALTER TABLE weekly_actuals ADD CONSTRAINT not_null_week_number CHECK (true)")
    done = subprocess.run(["psql", "-X", "-q", made.url], input=script, capture_output=True, text=True)
    assert done.returncode == 3
    assert made.catalogue()[0]["week_number"] == ("integer", True)


# -- what a look at the rows costs


ASKED_AGAIN = re.compile(r"SubPlan \d+\n +->  (?!Result)")  # a Result reads nothing


def looks(database, phase):
    """Return the queries that a check asks of the rows."""
    seen = []
    database.query_hooks.append(lambda event: seen.append((event.sql, event.params)))
    try:
        phase.check(database)
    except MigrationError:
        pass
    finally:
        database.query_hooks.clear()
    return [(sql, params) for sql, params in seen if " w WHERE " in sql]


def explained(database, queries):
    with database.connection_context():
        for sql, params in queries:
            yield sql, "\n".join(line for (line,) in database.execute_sql(f"EXPLAIN {sql}", params).fetchall())


def states():
    for state, rows in cases("postgresql", REPAIRED, REFUSED):
        yield pytest.param(phase_4_5.phase, lambda world, state=state, rows=rows: world.make(state, rows),
                           id=f"{state.name}{'-with rows' * rows}")  # fmt: skip
    for state, rows in another_states.cases("postgresql", REPAIRED, REFUSED):
        yield pytest.param(another_phase.phase, lambda world, state=state, rows=rows: state.make(world, rows),
                           id=f"another-{state.name}{'-with rows' * rows}")  # fmt: skip


@pytest.mark.exhaustive
@pytest.mark.parametrize(("phase", "make"), [*states()])
def test_no_look_at_the_rows_asks_for_each_row_anew(world, phase, make):
    database = db.connect(make(world("postgresql")).url)
    for sql, plan in explained(database, looks(database, phase)):
        assert not ASKED_AGAIN.search(plan), f"{sql}\n{plan}"


@pytest.mark.parametrize("retyped", [False, True])
def test_a_look_at_many_rows_is_linear(world, retyped):
    items = {
        **LOST.items,
        **({"store_id": "store_id {string}", "week_number": "week_number {string}"} if retyped else {}),
    }
    made = world("postgresql").make(State("lost", REPAIRED, items=items, without=tuple(INDEXES)))
    made.execute(
        "INSERT INTO weekly_actuals (id, workflow_id, week_number, week_start_date, week_end_date, store_id, "
        "category_id, actual_units_sold) SELECT n, 'wf_1', n, '2025-01-06', '2025-01-12', 'S001', 'dresses', 1 "
        "FROM generate_series(1, 200000) n", "ANALYZE weekly_actuals",
    )  # fmt: skip
    database = db.connect(made.url)
    queries = looks(database, phase_4_5.phase)
    assert len(queries) >= 10
    for sql, plan in explained(database, queries):
        assert not ASKED_AGAIN.search(plan), f"{sql}\n{plan}"
        assert "Nested Loop" not in plan, f"{sql}\n{plan}"


def test_neither_a_check_nor_a_run_reads_rows_of_the_built_table(alone):
    made = alone.make(COMPLETE)
    made.execute(
        "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, week_end_date, store_id, category_id, "
        "actual_units_sold) SELECT 'wf_1', n, '2025-01-06', '2025-01-12', 'S001', 'dresses', 1 "
        "FROM generate_series(1, 5000) n", "ANALYZE weekly_actuals",
    )  # fmt: skip

    def read():
        made.execute("SELECT pg_stat_force_next_flush()")
        ((rows,),) = made.query("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'weekly_actuals'")
        return rows

    before = read()
    database = db.connect(made.url)
    phase_4_5.check(database)
    phase_4_5.run(database, statistics=False)
    assert read() - before <= 10  # a row to copy, perhaps
    phase_4_5.run(database, smoke_test=False)
    assert read() - before <= 5010  # counted


# -- what it refuses, and what it takes


@pytest.mark.parametrize("kind", ["{float}", "REAL", "NUMERIC"])
def test_a_stored_generated_column_becomes_a_plain_one_with_its_values(world, kind):
    generated = f"variance_pct {kind} GENERATED ALWAYS AS ((actual_units_sold - 90) / 90.0) STORED"
    made = filled(world, State("generated", REPAIRED, items={"variance_pct": generated}), without=("variance_pct",))
    before = made.rows()
    foreseen = statements(made)
    assert [change.sql for change in phase_4_5.run(db.connect(made.url)).changes] == foreseen
    assert made.rows() == before
    made.assert_specified()


@pytest.mark.parametrize(("what", "statement"), [
    ("trigger mine", "CREATE TRIGGER mine AFTER UPDATE OF week_number ON weekly_actuals FOR EACH ROW "
                     "EXECUTE FUNCTION suppress_redundant_updates_trigger()"),
    ("policy mine", "CREATE POLICY mine ON weekly_actuals USING (week_number <> '9')"),
    ("column twice", "ALTER TABLE weekly_actuals ADD twice VARCHAR GENERATED ALWAYS AS (week_number || '0') STORED"),
    ("view mine", "CREATE MATERIALIZED VIEW mine AS SELECT week_number FROM weekly_actuals"),
])  # fmt: skip
def test_what_rests_on_a_type_is_named_before_it_would_fail(world, what, statement):
    made = world("postgresql").make(AS_TEXT)
    made.execute(statement)
    with pytest.raises(phase_4_5.ChangeRefused, match=f"{what}.* depends on it; drop the {what.split()[0]}, run again"):
        phase_4_5.check(db.connect(made.url))


@pytest.mark.parametrize("state", [HALF, COMPLETE, NO_CASCADE], ids=name_of)
@pytest.mark.parametrize("rows", [False, True])
def test_a_parent_may_be_partitioned(world, state, rows):
    made = world("postgresql").make(NOTHING)
    for table, key in (("stores", "store_id"), ("historical_sales", "sale_id")):
        parts = (f"CREATE TABLE {table}_{part} PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER {part})"
                 for part in (0, 1))  # fmt: skip
        made.execute(f"CREATE TABLE parted (LIKE {table} INCLUDING ALL) PARTITION BY HASH ({key})", *parts,
                     f"INSERT INTO parted SELECT * FROM {table}", f"DROP TABLE {table} CASCADE",
                     f"ALTER TABLE parted RENAME TO {table}")  # fmt: skip
    made.execute(*(statement.format(**WORDS["postgresql"]) for statement in state.statements("postgresql")))
    if rows:
        made.insert(*ROWS)
    report = phase_4_5.run(db.connect(made.url))
    assert (report.status, report.row_counts["stores"]) == ("up_to_date" if state is COMPLETE else "migrated", 4)
    assert made.query(
        "SELECT confrelid::regclass::text, confdeltype::text, convalidated FROM pg_constraint "
        "WHERE conrelid = 'weekly_actuals'::regclass AND contype = 'f' AND conparentid = 0 ORDER BY 1"
    ) == [("categories", "c", True), ("stores", "c", True), ("workflows", "c", True)]
    assert phase_4_5.ensure(db.connect(made.url)) is False
    assert phase_4_5.rollback(db.connect(made.url), force=True).status == "rolled_back"


def test_names_of_63_characters(world):
    class Long(peewee.Model):
        value = peewee.IntegerField(column_name="a" * 63)
        other = peewee.IntegerField()

        class Meta:
            table_name = "b" * 63
            primary_key = peewee.CompositeKey("value", "other")

    made = world("postgresql").make(NOTHING)
    phase, database = Phase("long names", requires={}, manages=[Long]), db.connect(made.url)
    assert phase.ensure(database) is True
    made.execute(f"ALTER TABLE {'b' * 63} DROP CONSTRAINT {'b' * 58}_pkey, ALTER {'a' * 63} DROP NOT NULL",
                 f"INSERT INTO {'b' * 63} VALUES (1, 1)")  # fmt: skip
    assert phase.ensure(database) is True
    assert phase.ensure(database) is False


def test_one_engine_asks_for_rows_once(world):
    """What a plan asks of the rows does not grow with its statements."""
    made = world("postgresql").make(LOST, True)
    database, seen = db.connect(made.url), []
    engine = engine_for(database, phase_4_5.phase.models, 1.0)
    with engine.session.connected():
        database.query_hooks.append(lambda event: seen.append(event.sql))
        phase_4_5.check(database)
    assert sum("LIMIT 1) AS t" in sql for sql in seen) == 1


# -- PostgreSQL 18


@pytest.fixture
def newest(world):
    return world("postgresql18")


@pytest.mark.exhaustive
def test_a_virtual_generated_column_is_refused_by_name(newest):
    generated = "variance_pct {float} GENERATED ALWAYS AS ((actual_units_sold - 90) / 90.0) VIRTUAL"
    made = newest.make(State("generated", REPAIRED, items={"variance_pct": generated}))
    with pytest.raises(phase_4_5.ChangeRefused, match="weekly_actuals.variance_pct is a virtual generated column"):
        phase_4_5.check(db.connect(made.url))


SLOWLY = {  # so that what autovacuum has begun does not end
    "autovacuum_naptime": "1s", "autovacuum_vacuum_threshold": 1, "autovacuum_vacuum_scale_factor": 0,
    "autovacuum_vacuum_cost_delay": "100ms", "autovacuum_vacuum_cost_limit": 1,
    "vacuum_cost_page_hit": 100, "vacuum_cost_page_miss": 100, "vacuum_cost_page_dirty": 100,
}  # fmt: skip
VACUUMED = """
SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE relation = 'stores'::regclass AND granted AND backend_type = 'autovacuum worker'"""


@pytest.mark.exhaustive
@pytest.mark.parametrize("state", [COMPLETE, NOTHING, NO_CASCADE])
def test_an_autovacuum_of_a_parent_gives_way(newest, state, request):
    """To who waits until deadlocks are looked for, which a short wait never does."""
    made = newest.make(state, state is not NOTHING)
    made.execute(*(f"ALTER SYSTEM SET {name} = '{value}'" for name, value in SLOWLY.items()))
    request.addfinalizer(lambda: made.execute("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()"))
    made.execute("SELECT pg_reload_conf()", "ALTER TABLE stores ADD filler text",
                 "ALTER TABLE stores ALTER filler SET STORAGE PLAIN")  # fmt: skip
    made.execute(*["UPDATE stores SET filler = repeat('x', 7000)"] * 20)
    (vacuuming,) = eventually(lambda: made.query(VACUUMED), 30)
    arguments = ["--rollback", "--force"] if state is COMPLETE else []
    outcome = command(made.url, "--lock-timeout", "5", *arguments)
    assert outcome.answer == ("rolled_back" if arguments else "migrated")
    assert outcome.report["duration_ms"] < 4000
    assert vacuuming not in made.query(VACUUMED)


@pytest.mark.exhaustive
@pytest.mark.parametrize("rows", [False, True])
def test_not_null_that_was_never_validated_is_validated(newest, rows):
    made = newest.make(NULLABLE, rows)
    made.execute("ALTER TABLE weekly_actuals ADD CONSTRAINT mine NOT NULL week_number NOT VALID")
    report = phase_4_5.run(db.connect(made.url))
    assert [change.sql for change in report.changes] == ['ALTER TABLE "weekly_actuals" VALIDATE CONSTRAINT "mine"']
    assert phase_4_5.ensure(db.connect(made.url)) is False


@pytest.mark.exhaustive
def test_not_null_with_a_null_under_it_is_not_up_to_date(newest):
    made = newest.make(NULLABLE, True)
    made.execute("UPDATE weekly_actuals SET week_number = NULL WHERE id = 1",
                 "ALTER TABLE weekly_actuals ADD CONSTRAINT mine NOT NULL week_number NOT VALID")  # fmt: skip
    with pytest.raises(phase_4_5.ChangeRefused, match="week_number: expected NOT NULL, found NULL allowed: 1 row"):
        phase_4_5.run(db.connect(made.url))


@pytest.mark.exhaustive
@pytest.mark.parametrize("rows", [False, True])
def test_a_foreign_key_that_is_not_enforced_is_repaired(newest, rows):
    made = newest.make(State("no key", REPAIRED, items={"store": None}), rows)
    made.execute("ALTER TABLE weekly_actuals ADD CONSTRAINT mine FOREIGN KEY (store_id) REFERENCES stores (store_id) "
                 "ON DELETE CASCADE NOT ENFORCED")  # fmt: skip
    assert phase_4_5.check(db.connect(made.url)).status == "pending"
    assert phase_4_5.run(db.connect(made.url)).status == "migrated"
    assert made.query("SELECT conenforced, convalidated FROM pg_constraint WHERE conname = 'mine'") == [(True, True)]


@pytest.mark.exhaustive
@pytest.mark.parametrize("rows", [False, True])
def test_a_check_that_is_not_enforced_is_repaired(newest, rows):
    state = another_states.State("not enforced", REPAIRED, {"articles": {"check": None}})
    made = state.make(newest, rows)
    made.execute("ALTER TABLE articles ADD CONSTRAINT check_price CHECK (price >= 0) NOT ENFORCED")
    assert another_phase.phase.run(db.connect(made.url)).status == "migrated"
    assert made.query("SELECT conenforced FROM pg_constraint WHERE conname = 'check_price'") == [(True,)]


@pytest.mark.parametrize("how", ["DEFERRABLE INITIALLY DEFERRED", ""])
def test_a_foreign_key_that_was_never_validated_stays_as_it_is_otherwise(world, how):
    made = filled(world, State("no key", REPAIRED, items={"store": None}))
    made.execute(
        'ALTER TABLE weekly_actuals ADD CONSTRAINT "Own" FOREIGN KEY (store_id) REFERENCES stores (store_id) '
        f"MATCH FULL ON DELETE CASCADE {how} NOT VALID"
    )
    phase_4_5.run(db.connect(made.url))
    ((text, valid),) = made.query(
        "SELECT pg_get_constraintdef(oid), convalidated FROM pg_constraint WHERE conname = 'Own'"
    )
    assert valid
    assert "MATCH FULL" in text
    assert how in text
