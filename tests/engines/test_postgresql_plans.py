"""PostgreSQL: blocking, scripts, costs of the preflight, and refusals of a plan."""

import json
import re
import shutil
import subprocess
import sysconfig
from functools import partial
from pathlib import Path

import another_phase
import another_states
import drivers
import peewee
import pytest
from engines.servers import COMPLETE, HALF, NOTHING, command, wait_for
from engines.worlds import World
from states import INDEXES, REFUSED, REPAIRED, ROWS, TABLE, WORDS, State, cases

import db
from migrations import phase_4_5
from migrations.engines import engine_for
from migrations.errors import MigrationError
from migrations.phase import Phase

NULLABLE_COLUMNS = {
    name: item.replace(" NOT NULL", "")
    for name, item in TABLE.items()
    if not item.startswith("FOREIGN")
}
LOST_ITEMS = {
    **NULLABLE_COLUMNS, "id": "id INTEGER", "uploaded_at": "uploaded_at {datetime}",
    "unique": None, "workflow": None, "store": None, "category": None,
}  # fmt: skip
LOST = State("only columns", REPAIRED, items=LOST_ITEMS, without=tuple(INDEXES))
NO_ID = State("no id", REPAIRED, items={"id": None})
AS_TEXT = State(
    "a number as text", REPAIRED, items={"week_number": "week_number {string} NOT NULL"}
)
TOO_SHORT = State(
    "too short", REPAIRED, items={"store_id": "store_id VARCHAR(10) NOT NULL"}
)
NULLABLE = State(
    "NOT NULL lost", REPAIRED, items={"week_number": "week_number INTEGER"}
)
NO_CASCADE = State(
    "no CASCADE",
    REPAIRED,
    items={
        "store": (
            "CONSTRAINT undeclared FOREIGN KEY (store_id) REFERENCES stores(store_id)"
        )
    },
)
OTHER_KEY = State(
    "another key",
    REPAIRED,
    items={
        "id": "id INTEGER NOT NULL",
        "key": "PRIMARY KEY (workflow_id, week_number)",
    },
)
LEFTOVERS = (
    "ALTER TABLE weekly_actuals ADD CONSTRAINT not_null_week_number CHECK (week_number "
    "IS NOT NULL){}",
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
    if state is NOTHING:
        return made
    missing = {*without, "id"} if state is NO_ID else set(without)
    for number, each in enumerate(ROWS):
        values = {name: value for name, value in each.items() if name not in missing}
        World.insert(made, {**values, "week_number": number})
    return made


# -- blocking


@pytest.mark.parametrize(
    "state", [HALF, LOST, NULLABLE, NO_CASCADE, OTHER_KEY, TOO_SHORT], ids=name_of
)
@pytest.mark.parametrize(
    "make", [filled, lambda world, state: world("postgresql").make(state)]
)
def test_changes_with_an_online_form_block_nothing(world, state, make):
    made = make(world, state)
    assert {change.blocks for change in planned(made)} == {None}
    phase_4_5.run(db.connect(made.url))
    made.assert_specified()


@pytest.mark.parametrize(
    ("state", "what"),
    [(NO_ID, "add column id"), (AS_TEXT, "convert week_number to INTEGER")],
)
def test_blocking_changes_are_reported(world, state, what):
    made = filled(world, state)
    assert [
        (change.description, change.blocks) for change in planned(made) if change.blocks
    ] == [(what, "reads and writes")]
    made.execute("TRUNCATE weekly_actuals")
    assert {change.blocks for change in planned(made)} == {None}


def test_not_null_with_rows_is_set_after_a_validated_check(world):
    made = world("postgresql").make(NULLABLE, True)
    assert [
        re.sub(r'^ALTER TABLE "weekly_actuals" ', "", statement)
        for statement in statements(made)
    ] == [
        'ADD CONSTRAINT "not_null_week_number" CHECK ("week_number" IS NOT NULL) '
        "NOT VALID",
        'VALIDATE CONSTRAINT "not_null_week_number"',
        'ALTER COLUMN "week_number" SET NOT NULL',
        'DROP CONSTRAINT "not_null_week_number"',
    ]
    phase_4_5.run(db.connect(made.url))
    assert (
        made.query(
            "SELECT conname FROM pg_constraint WHERE conname LIKE 'not\\_null\\_%'"
        )
        == []
    )


def test_primary_key_uses_an_index_built_concurrently(world):
    made = world("postgresql").make(LOST, True)
    found = statements(made)
    built = (
        'CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "weekly_actuals_pkey_new" '
        'ON "weekly_actuals" ("id")'
    )
    added = (
        'ADD CONSTRAINT "weekly_actuals_pkey" PRIMARY KEY USING INDEX '
        '"weekly_actuals_pkey_new"'
    )
    (number,) = [
        number for number, statement in enumerate(found) if statement.endswith(added)
    ]
    assert found.index(built) < number
    phase_4_5.run(db.connect(made.url))
    assert made.query(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = 'weekly_actuals'::regclass AND contype = 'p'"
    ) == [("weekly_actuals_pkey", "PRIMARY KEY (id)")]


def test_replaced_key_stays_unique_by_a_concurrent_build(world):
    found = statements(filled(world, OTHER_KEY))
    assert (
        sum("CREATE UNIQUE INDEX CONCURRENTLY" in statement for statement in found) == 2
    )
    assert not any(
        re.search(r"ADD (PRIMARY KEY|UNIQUE) \(", statement) for statement in found
    )


@pytest.mark.parametrize("rows", [False, True])
def test_replaced_primary_key_becomes_a_unique_constraint(world, rows):
    made = filled(world, OTHER_KEY) if rows else world("postgresql").make(OTHER_KEY)
    phase_4_5.run(db.connect(made.url))
    constraints = made.query(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = 'weekly_actuals'::regclass AND contype = 'u'"
    )
    assert ("UNIQUE (workflow_id, week_number)",) in constraints


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize(
    "left",
    [
        (LEFTOVERS[0].format(" NOT VALID"),),
        (LEFTOVERS[0].format(""),),
        (LEFTOVERS[1],),
        (LEFTOVERS[0].format(""), LEFTOVERS[1]),
        (
            LEFTOVERS[1],
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = "
            "'weekly_actuals_pkey_new'::regclass",
        ),
    ],
)
def test_leftovers_of_a_killed_run_are_completed(world, left, rows):
    made = world("postgresql").make(LOST, rows)
    made.execute(*left)
    assert phase_4_5.run(db.connect(made.url)).status == "migrated"
    made.assert_specified()
    assert phase_4_5.run(db.connect(made.url)).status == "up_to_date"
    names = made.query(
        "SELECT conname FROM pg_constraint UNION SELECT relname FROM pg_class"
    )
    assert not {("not_null_week_number",), ("weekly_actuals_pkey_new",)} & {*names}


# -- the script

SCRIPTS = [
    NOTHING,
    HALF,
    LOST,
    NULLABLE,
    NO_CASCADE,
    OTHER_KEY,
    NO_ID,
    AS_TEXT,
    TOO_SHORT,
]
# Rules of the linter that specified types and intended changes violate.
SPECIFIED = {
    "prefer-bigint-over-int",
    "prefer-identity",
    "prefer-text-field",
    "prefer-timestamp-tz",
    "ban-drop-not-null",
    "ban-alter-identity",
}
REPLACED = re.compile(
    r'DROP CONSTRAINT "(not_null_\w+|undeclared|weekly_actuals_pkey)"'
)


def script_of(world):
    return phase_4_5.check(db.connect(world.url)).script


@pytest.mark.parametrize("state", SCRIPTS, ids=name_of)
def test_linter_finds_only_specified_or_marked_statements(world, state, tmp_path):
    squawk = Path(sysconfig.get_path("scripts"), "squawk")
    if not squawk.exists():
        drivers.leave_out("squawk", "squawk-cli is not installed")
    lines = script_of(filled(world, state))
    written = tmp_path / "script.sql"
    written.write_text("\n".join(lines))
    result = subprocess.run(
        [squawk, "--reporter", "json", "--pg-version", "15", written],
        capture_output=True,
        text=True,
    )
    for each in json.loads(result.stdout):
        statement, before = lines[each["line"]], lines[each["line"] - 1]
        replaced = each["rule_name"] == "ban-drop-constraint" and REPLACED.search(
            statement
        )
        # No rewrite of the table.
        grows = "TYPE VARCHAR" in statement and " USING " not in statement
        assert (
            each["rule_name"] in SPECIFIED
            or replaced
            or grows
            or before.startswith("-- blocks ")
        ), each


@pytest.mark.parametrize("state", SCRIPTS, ids=name_of)
def test_every_statement_has_timeouts(world, state):
    lines, limited = script_of(filled(world, state)), False
    for line in lines:
        if re.match(r"SET (LOCAL )?(lock|statement)_timeout = ", line):
            limited = True
        elif line == "COMMIT;" or line.startswith("RESET"):
            limited = False
        elif line not in ("BEGIN;", r"\set ON_ERROR_STOP on") and not line.startswith(
            "--"
        ):
            assert limited, line


def test_changes_of_an_empty_table_share_one_transaction(world):
    script = script_of(world("postgresql").make(HALF))
    assert (script.count("BEGIN;"), script.count("COMMIT;")) == (1, 1)


@pytest.mark.parametrize("state", SCRIPTS, ids=name_of)
def test_script_in_psql_has_the_effect_of_a_run(world, second_database, state):
    if not shutil.which("psql"):
        drivers.leave_out("psql", "it is not installed")
    by_run = filled(world, state)
    by_script = filled(lambda engine: second_database, state)
    script = "\n".join(script_of(by_script))
    done = subprocess.run(
        ["psql", "-X", "-q", by_script.url],
        input=script,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "ERROR" in done.stderr) == (0, False)
    assert phase_4_5.ensure(db.connect(by_run.url)) is True
    assert phase_4_5.check(db.connect(by_script.url)).status == "up_to_date"
    by_script.assert_specified()
    assert by_script.catalogue() == by_run.catalogue()


class Label(peewee.Model):
    text = peewee.CharField(20, constraints=[peewee.SQL(r"DEFAULT 'a\b'")])


def test_script_keeps_a_backslash_in_any_string_mode(second_database):
    """With standard_conforming_strings off, a backslash begins an escape sequence."""
    made = second_database.make(NOTHING)
    phase = Phase("Labels", requires={}, manages=[Label])
    database = db.connect(made.url)
    first, *script = phase.check(database).script
    assert first == r"\set ON_ERROR_STOP on"
    made.execute("SET standard_conforming_strings = off", *script)
    assert phase.check(database).status == "up_to_date"
    assert made.query("INSERT INTO label DEFAULT VALUES RETURNING text") == [(r"a\b",)]


def test_script_stops_at_the_first_failure(second_database):
    made = filled(lambda engine: second_database, NULLABLE)
    script = "\n".join(script_of(made))
    made.execute(
        "ALTER TABLE weekly_actuals ADD CONSTRAINT not_null_week_number CHECK (true)"
    )
    done = subprocess.run(
        ["psql", "-X", "-q", made.url], input=script, capture_output=True, text=True
    )
    assert done.returncode == 3
    assert made.catalogue()[0]["week_number"] == ("integer", True)


# -- costs of the preflight


# A Result reads no table.
SUBPLAN_PER_ROW = re.compile(r"SubPlan \d+\n +->  (?!Result)")


def preflight_queries(database, phase):
    """Return the queries of a check that read rows."""
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
            yield (
                sql,
                "\n".join(
                    line
                    for (line,) in database.execute_sql(
                        f"EXPLAIN {sql}", params
                    ).fetchall()
                ),
            )


def make_state(world, state, rows):
    return world.make(state, rows)


def states():
    for state, rows in cases("postgresql", REPAIRED, REFUSED):
        name = f"{state.name}-with rows" if rows else state.name
        make = partial(make_state, state=state, rows=rows)
        yield pytest.param(phase_4_5.phase, make, id=name)
    for state, rows in another_states.cases("postgresql", REPAIRED, REFUSED):
        name = f"another-{state.name}-with rows" if rows else f"another-{state.name}"
        make = partial(state.make, filled=rows)
        yield pytest.param(another_phase.phase, make, id=name)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("phase", "make"), [*states()])
def test_no_preflight_query_has_a_subplan_per_row(world, phase, make):
    database = db.connect(make(world("postgresql")).url)
    for sql, plan in explained(database, preflight_queries(database, phase)):
        assert not SUBPLAN_PER_ROW.search(plan), f"{sql}\n{plan}"


@pytest.mark.parametrize("retyped", [False, True])
def test_preflight_of_many_rows_is_linear(world, retyped):
    items = dict(LOST.items)
    if retyped:
        items["store_id"] = "store_id {string}"
        items["week_number"] = "week_number {string}"
    made = world("postgresql").make(
        State("lost", REPAIRED, items=items, without=tuple(INDEXES))
    )
    made.execute(
        "INSERT INTO weekly_actuals (id, workflow_id, week_number, week_start_date, "
        "week_end_date, store_id, "
        "category_id, actual_units_sold) SELECT n, 'wf_1', n, '2025-01-06', "
        "'2025-01-12', 'S001', 'dresses', 1 "
        "FROM generate_series(1, 200000) n",
        "ANALYZE weekly_actuals",
    )
    database = db.connect(made.url)
    queries = preflight_queries(database, phase_4_5.phase)
    assert len(queries) >= 10
    for sql, plan in explained(database, queries):
        assert not SUBPLAN_PER_ROW.search(plan), f"{sql}\n{plan}"
        assert "Nested Loop" not in plan, f"{sql}\n{plan}"


def test_no_query_of_a_plan_starts_the_jit_compiler(world):
    """It takes a hundred times as long as to answer the query."""
    made = filled(world, AS_TEXT)
    made.execute("VACUUM ANALYZE pg_class, pg_attribute, pg_type, pg_inherits")
    database = db.connect(made.url)
    plans = []

    def explain(event):
        if event.sql.lstrip().startswith(("SELECT", "WITH")):
            cursor = database.connection().cursor()
            cursor.execute(f"EXPLAIN {event.sql}", event.params)
            plan = "\n".join(line for (line,) in cursor.fetchall())
            plans.append((event.sql, plan))

    database.query_hooks.append(explain)
    assert phase_4_5.check(database).status == "pending"
    assert any("reltype" in sql for sql, plan in plans)
    assert [sql for sql, plan in plans if "JIT" in plan] == []


def test_check_and_run_do_not_scan_the_managed_table(second_database):
    made = second_database.make(COMPLETE)
    made.execute(
        "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, "
        "week_end_date, store_id, category_id, "
        "actual_units_sold) SELECT 'wf_1', n, '2025-01-06', '2025-01-12', 'S001', "
        "'dresses', 1 FROM generate_series(1, 5000) n",
        "ANALYZE weekly_actuals",
    )

    def read():
        made.execute("SELECT pg_stat_force_next_flush()")
        ((rows,),) = made.query(
            "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = "
            "'weekly_actuals'"
        )
        return rows

    before = read()
    database = db.connect(made.url)
    phase_4_5.check(database)
    phase_4_5.run(database, statistics=False)
    assert read() - before <= 10  # the smoke test may copy a row
    phase_4_5.run(database, smoke_test=False)
    assert read() - before <= 5010  # counting reads every row


# -- refused and accepted tables


@pytest.mark.parametrize("kind", ["{float}", "REAL", "NUMERIC"])
def test_stored_generated_column_becomes_plain_with_its_values(world, kind):
    generated = (
        f"variance_pct {kind} GENERATED ALWAYS AS ((actual_units_sold - 90) / "
        "90.0) STORED"
    )
    made = filled(
        world,
        State("generated", REPAIRED, items={"variance_pct": generated}),
        without=("variance_pct",),
    )
    before = made.rows()
    expected = statements(made)
    assert [
        change.sql for change in phase_4_5.run(db.connect(made.url)).changes
    ] == expected
    assert made.rows() == before
    made.assert_specified()


@pytest.mark.parametrize(
    ("what", "statement"),
    [
        (
            "trigger dependent",
            "CREATE TRIGGER dependent AFTER UPDATE OF week_number ON weekly_actuals "
            "FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        ),
        (
            "policy dependent",
            "CREATE POLICY dependent ON weekly_actuals USING (week_number <> '9')",
        ),
        (
            "column twice",
            "ALTER TABLE weekly_actuals ADD twice VARCHAR GENERATED ALWAYS "
            "AS (week_number || '0') STORED",
        ),
        (
            "view dependent",
            "CREATE MATERIALIZED VIEW dependent AS SELECT week_number "
            "FROM weekly_actuals",
        ),
    ],
)
def test_dependents_of_a_converted_column_are_reported(world, what, statement):
    made = world("postgresql").make(AS_TEXT)
    made.execute(statement)
    with pytest.raises(
        phase_4_5.ChangeRefused,
        match=f"{what}.* depends on it; drop the {what.split()[0]}, run again",
    ):
        phase_4_5.check(db.connect(made.url))


@pytest.mark.parametrize("state", [HALF, COMPLETE, NO_CASCADE], ids=name_of)
@pytest.mark.parametrize("rows", [False, True])
def test_parent_may_be_partitioned(world, state, rows):
    made = world("postgresql").make(NOTHING)
    for table, key in (("stores", "store_id"), ("historical_sales", "sale_id")):
        parts = (
            f"CREATE TABLE {table}_{part} PARTITION OF parted FOR "
            f"VALUES WITH (MODULUS 2, REMAINDER {part})"
            for part in (0, 1)
        )
        made.execute(
            f"CREATE TABLE parted (LIKE {table} INCLUDING ALL) PARTITION BY HASH "
            f"({key})",
            *parts,
            f"INSERT INTO parted SELECT * FROM {table}",
            f"DROP TABLE {table} CASCADE",
            f"ALTER TABLE parted RENAME TO {table}",
        )
    made.execute(
        *(
            statement.format(**WORDS["postgresql"])
            for statement in state.statements("postgresql")
        )
    )
    if rows:
        made.insert(*ROWS)
    report = phase_4_5.run(db.connect(made.url))
    assert (report.status, report.row_counts["stores"]) == (
        "up_to_date" if state is COMPLETE else "migrated",
        4,
    )
    assert made.query(
        "SELECT confrelid::regclass::text, confdeltype::text, "
        "convalidated FROM pg_constraint "
        "WHERE conrelid = 'weekly_actuals'::regclass AND contype = 'f' "
        "AND conparentid = 0 ORDER BY 1"
    ) == [("categories", "c", True), ("stores", "c", True), ("workflows", "c", True)]
    assert phase_4_5.ensure(db.connect(made.url)) is False
    assert phase_4_5.rollback(db.connect(made.url), force=True).status == "rolled_back"


def test_names_of_63_characters_are_supported(world):
    class Long(peewee.Model):
        value = peewee.IntegerField(column_name="a" * 63)
        other = peewee.IntegerField()

        class Meta:
            table_name = "b" * 63
            primary_key = peewee.CompositeKey("value", "other")

    made = world("postgresql").make(NOTHING)
    phase = Phase("long names", requires={}, manages=[Long])
    database = db.connect(made.url)
    assert phase.ensure(database) is True
    made.execute(
        f"ALTER TABLE {'b' * 63} DROP CONSTRAINT {'b' * 58}_pkey, "
        f"ALTER {'a' * 63} DROP NOT NULL",
        f"INSERT INTO {'b' * 63} VALUES (1, 1)",
    )
    assert phase.ensure(database) is True
    assert phase.ensure(database) is False


def test_tables_with_rows_are_queried_once_per_engine(world):
    """The number of queries does not grow with the number of changes."""
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
def test_virtual_generated_column_is_refused_by_name(newest):
    generated = (
        "variance_pct {float} GENERATED ALWAYS AS ((actual_units_sold - 90) / "
        "90.0) VIRTUAL"
    )
    made = newest.make(State("generated", REPAIRED, items={"variance_pct": generated}))
    with pytest.raises(
        phase_4_5.ChangeRefused,
        match="weekly_actuals.variance_pct is a virtual generated column",
    ):
        phase_4_5.check(db.connect(made.url))


SLOW_AUTOVACUUM = {  # it does not end during the test
    "autovacuum_naptime": "1s",
    "autovacuum_vacuum_threshold": 1,
    "autovacuum_vacuum_scale_factor": 0,
    "autovacuum_vacuum_cost_delay": "100ms",
    "autovacuum_vacuum_cost_limit": 1,
    "vacuum_cost_page_hit": 100,
    "vacuum_cost_page_miss": 100,
    "vacuum_cost_page_dirty": 100,
}
VACUUMED = """
SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE relation = 'stores'::regclass AND granted
AND backend_type = 'autovacuum worker'"""


@pytest.mark.exhaustive
@pytest.mark.parametrize("state", [COMPLETE, NOTHING, NO_CASCADE])
def test_autovacuum_of_a_parent_is_cancelled(newest, state, request):
    """The server cancels it for a client that waits longer than deadlock_timeout."""
    made = newest.make(state, state is not NOTHING)
    made.execute(
        *(
            f"ALTER SYSTEM SET {name} = '{value}'"
            for name, value in SLOW_AUTOVACUUM.items()
        )
    )
    request.addfinalizer(
        lambda: made.execute("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")
    )
    made.execute(
        "SELECT pg_reload_conf()",
        "ALTER TABLE stores ADD filler text",
        "ALTER TABLE stores ALTER filler SET STORAGE PLAIN",
    )
    made.execute(*["UPDATE stores SET filler = repeat('x', 7000)"] * 20)
    (vacuuming,) = wait_for(lambda: made.query(VACUUMED), 30)
    arguments = ["--rollback", "--force"] if state is COMPLETE else []
    outcome = command(made.url, "--lock-timeout", "5", *arguments)
    assert outcome.answer == ("rolled_back" if arguments else "migrated")
    assert outcome.report["duration_ms"] < 4000
    assert vacuuming not in made.query(VACUUMED)


@pytest.mark.exhaustive
@pytest.mark.parametrize("rows", [False, True])
def test_not_null_that_is_not_valid_is_validated(newest, rows):
    made = newest.make(NULLABLE, rows)
    made.execute(
        "ALTER TABLE weekly_actuals ADD CONSTRAINT undeclared NOT NULL week_number "
        "NOT VALID"
    )
    report = phase_4_5.run(db.connect(made.url))
    assert [change.sql for change in report.changes] == [
        'ALTER TABLE "weekly_actuals" VALIDATE CONSTRAINT "undeclared"'
    ]
    assert phase_4_5.ensure(db.connect(made.url)) is False


@pytest.mark.exhaustive
def test_null_under_a_not_valid_not_null_is_refused(newest):
    made = newest.make(NULLABLE, True)
    made.execute(
        "UPDATE weekly_actuals SET week_number = NULL WHERE id = 1",
        "ALTER TABLE weekly_actuals ADD CONSTRAINT undeclared NOT NULL week_number "
        "NOT VALID",
    )
    with pytest.raises(
        phase_4_5.ChangeRefused,
        match="week_number: expected NOT NULL, found NULL allowed: 1 row",
    ):
        phase_4_5.run(db.connect(made.url))


@pytest.mark.exhaustive
@pytest.mark.parametrize("rows", [False, True])
def test_foreign_key_that_is_not_enforced_is_repaired(newest, rows):
    made = newest.make(State("no key", REPAIRED, items={"store": None}), rows)
    made.execute(
        "ALTER TABLE weekly_actuals ADD CONSTRAINT undeclared FOREIGN KEY (store_id) "
        "REFERENCES stores (store_id) "
        "ON DELETE CASCADE NOT ENFORCED"
    )
    assert phase_4_5.check(db.connect(made.url)).status == "pending"
    assert phase_4_5.run(db.connect(made.url)).status == "migrated"
    assert made.query(
        "SELECT conenforced, convalidated FROM pg_constraint "
        "WHERE conname = 'undeclared'"
    ) == [(True, True)]


@pytest.mark.exhaustive
@pytest.mark.parametrize("rows", [False, True])
def test_check_that_is_not_enforced_is_repaired(newest, rows):
    state = another_states.State(
        "not enforced", REPAIRED, {"articles": {"check": None}}
    )
    made = state.make(newest, rows)
    made.execute(
        "ALTER TABLE articles ADD CONSTRAINT check_price CHECK (price >= 0) "
        "NOT ENFORCED"
    )
    assert another_phase.phase.run(db.connect(made.url)).status == "migrated"
    assert made.query(
        "SELECT conenforced FROM pg_constraint WHERE conname = 'check_price'"
    ) == [(True,)]


@pytest.mark.parametrize("how", ["DEFERRABLE INITIALLY DEFERRED", ""])
def test_validated_foreign_key_keeps_its_other_options(world, how):
    made = filled(world, State("no key", REPAIRED, items={"store": None}))
    made.execute(
        'ALTER TABLE weekly_actuals ADD CONSTRAINT "Added" FOREIGN KEY (store_id) '
        f"REFERENCES stores (store_id) MATCH FULL ON DELETE CASCADE {how} NOT VALID"
    )
    phase_4_5.run(db.connect(made.url))
    ((text, valid),) = made.query(
        "SELECT pg_get_constraintdef(oid), convalidated FROM pg_constraint "
        "WHERE conname = 'Added'"
    )
    assert valid
    assert "MATCH FULL" in text
    assert how in text
