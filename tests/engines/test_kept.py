"""What a repair keeps: values, ids, and undeclared parts of a table."""

import peewee
import pytest
from engines.servers import NOTHING
from engines.worlds import World
from states import ENGINES, INDEXES, REPAIRED, ROWS, TABLE, WORDS, State, row

import db
from db.init_db import init_db
from migrations import phase_4_5
from migrations.phase import Phase

COMPLETE = State("complete", REPAIRED, items={})
NO_KEYS = {"workflow": None, "store": None, "category": None, "unique": None}


@pytest.fixture
def changed(world):
    """Return a function that makes a complete table with rows, and changes it."""

    def make(engine, *statements, state=COMPLETE, rows=True):
        made = world(engine).make(state, rows)
        made.execute(*statements)
        return made, db.connect(made.url)

    return make


@pytest.mark.parametrize(
    "type_",
    [
        "DATETIME(6) NULL",
        "DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6)",
        "TIMESTAMP(6) NULL",
    ],
)
def test_fractions_of_a_second_are_kept(changed, type_, engine):
    made, database = changed(
        engine, f"ALTER TABLE weekly_actuals MODIFY uploaded_at {type_}"
    )
    made.execute(
        "SET time_zone = '+00:00'",
        "UPDATE weekly_actuals SET uploaded_at = '2025-01-01 00:00:00.123456'",
    )
    phase_4_5.run(database)
    assert {
        str(value) for (value,) in made.query("SELECT uploaded_at FROM weekly_actuals")
    } == {"2025-01-01 00:00:00.123456"}


def test_id_of_0_is_kept(changed, engine):
    made, database = changed(
        engine,
        "ALTER TABLE weekly_actuals MODIFY id INT NOT NULL",
        "UPDATE weekly_actuals SET id = 0 WHERE id = 5",
    )
    phase_4_5.run(database)
    assert sorted(made.rows()) == [0, 1, 2]


@pytest.mark.mariadb_only  # MySQL has a CHECK of the table
def test_type_default_comment_and_check_of_a_column_are_kept(changed, engine):
    made, database = changed(
        engine,
        "ALTER TABLE weekly_actuals MODIFY forecast_units_sold BIGINT NOT NULL DEFAULT "
        "4 COMMENT 'added, not null' CHECK (forecast_units_sold >= 0)",
        rows=False,
    )
    phase_4_5.run(database)
    (line,) = [
        line
        for line in made.query("SHOW CREATE TABLE weekly_actuals")[0][1].splitlines()
        if "`forecast_units" in line
    ]
    assert line.strip().startswith(
        "`forecast_units_sold` bigint(20) DEFAULT 4 COMMENT 'added, not null' CHECK"
    )


@pytest.mark.parametrize("type_", ["INT UNSIGNED", "BIGINT"])
def test_unsigned_or_wide_id_is_up_to_date(changed, type_, engine):
    _, database = changed(
        engine, f"ALTER TABLE weekly_actuals MODIFY id {type_} NOT NULL AUTO_INCREMENT"
    )
    assert phase_4_5.run(database).status == "up_to_date"


@pytest.mark.parametrize(
    "type_", ["SMALLINT NOT NULL AUTO_INCREMENT", "VARCHAR(20) NOT NULL"]
)
def test_id_of_another_type_is_repaired(changed, type_, engine):
    made, database = changed(engine, f"ALTER TABLE weekly_actuals MODIFY id {type_}")
    assert phase_4_5.run(database).status == "migrated"
    made.assert_specified()


def test_missing_foreign_key_gets_the_collation_of_its_parent(changed, engine):
    made, database = changed(
        engine,
        "ALTER TABLE weekly_actuals DROP FOREIGN KEY weekly_actuals_ibfk_2",
        "ALTER TABLE weekly_actuals MODIFY store_id VARCHAR(50) NOT NULL "
        "COLLATE utf8mb4_unicode_ci",
    )
    assert phase_4_5.run(database).status == "migrated"
    made.assert_specified()


def test_nullable_key_column_keeps_its_greater_length(changed, engine):
    long = WORDS["mysql"]["string"].replace("50", "255")
    state = State("long", REPAIRED, items={"store_id": f"store_id {long} NULL"})
    made, database = changed(engine, state=state)
    assert phase_4_5.run(database).status == "migrated"
    assert made.query(
        "SELECT character_maximum_length FROM information_schema.columns "
        "WHERE table_schema = DATABASE() "
        "AND table_name = 'weekly_actuals' AND column_name = 'store_id'"
    ) == [(255,)]


def test_table_of_an_engine_without_foreign_keys_is_refused(changed, engine):
    _, database = changed(
        engine,
        "DROP TABLE weekly_actuals",
        "CREATE TABLE weekly_actuals (id INT PRIMARY KEY, "
        "workflow_id VARCHAR(50)) ENGINE=MyISAM",
        rows=False,
    )
    with pytest.raises(phase_4_5.ChangeRefused, match="MyISAM"):
        phase_4_5.check(database)


@pytest.mark.parametrize(
    ("engine", "type_", "value"),
    [
        ("postgresql", "VARCHAR(40)", "2025-01-01 00:00:00+02"),
        ("mysql", "VARCHAR(40)", "2025-01-01 00:00:00+02"),
    ],
)
def test_text_with_a_utc_offset_is_not_converted_to_a_time(
    changed, engine, type_, value
):
    alter = (
        f"ALTER COLUMN uploaded_at TYPE {type_}"
        if engine == "postgresql"
        else f"MODIFY uploaded_at {type_}"
    )
    default = ("ALTER TABLE weekly_actuals ALTER COLUMN uploaded_at DROP DEFAULT",)
    _, database = changed(
        engine,
        *default,
        f"ALTER TABLE weekly_actuals {alter}",
        f"UPDATE weekly_actuals SET uploaded_at = '{value}'",
    )
    with pytest.raises(phase_4_5.ChangeRefused, match="uploaded_at"):
        phase_4_5.run(database)


@pytest.mark.parametrize("value", ["007", "12.0"])
@pytest.mark.parametrize("engine", ["sqlite", "postgresql", "mysql"])
def test_text_that_changes_as_a_number_is_refused(changed, engine, value):
    state = State(
        "text",
        REPAIRED,
        items={"week_number": TABLE["week_number"].replace("INTEGER", "VARCHAR(20)")},
    )
    _, database = changed(
        engine,
        f"UPDATE weekly_actuals SET week_number = '{value}' WHERE id = 1",
        state=state,
    )
    with pytest.raises(phase_4_5.ChangeRefused, match="week_number"):
        phase_4_5.check(database)


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_digits_beyond_the_precision_of_a_float_are_refused(changed, engine):
    alter = (
        "ALTER COLUMN variance_pct TYPE"
        if engine == "postgresql"
        else "MODIFY variance_pct"
    )
    _, database = changed(
        engine,
        f"ALTER TABLE weekly_actuals {alter} DECIMAL(40,25)",
        "UPDATE weekly_actuals SET variance_pct = 123456789012.1234567890123456789 "
        "WHERE id = 1",
    )
    with pytest.raises(phase_4_5.ChangeRefused, match="variance_pct"):
        phase_4_5.check(database)


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_decimal_that_a_float_can_hold_is_converted(changed, engine):
    alter = (
        "ALTER COLUMN variance_pct TYPE"
        if engine == "postgresql"
        else "MODIFY variance_pct"
    )
    made, database = changed(
        engine, f"ALTER TABLE weekly_actuals {alter} DECIMAL(40,25)"
    )
    before = made.rows()
    assert phase_4_5.run(database).status == "migrated"
    assert made.rows() == before


def with_text_values(world, engine, field, values):
    """Return a database with values in a text column, and a phase with a field."""

    class Thing(peewee.Model):
        id = peewee.IntegerField(primary_key=True)
        value = field()

    made = world(engine).make(NOTHING)
    made.execute(
        "CREATE TABLE thing (id INTEGER PRIMARY KEY, value VARCHAR(30) NOT NULL)"
    )
    for number, value in enumerate(values):
        made.execute(f"INSERT INTO thing VALUES ({number}, '{value}')")
    return made, Phase("Things", requires={}, manages=[Thing])


INTEGERS = [
    pytest.param(peewee.SmallIntegerField, 2**15, id="SMALLINT"),
    pytest.param(peewee.IntegerField, 2**31, id="INTEGER"),
    pytest.param(peewee.BigIntegerField, 2**63, id="BIGINT"),
]


@pytest.mark.parametrize(("field", "limit"), INTEGERS)
@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_limits_of_an_integer_type_are_converted(world, engine, field, limit):
    made, phase = with_text_values(world, engine, field, [-limit, limit - 1])
    assert phase.run(db.connect(made.url)).status == "migrated"
    values = made.query("SELECT value FROM thing ORDER BY id")
    assert values == [(-limit,), (limit - 1,)]


@pytest.mark.parametrize("side", ["below", "above"])
@pytest.mark.parametrize(("field", "limit"), INTEGERS)
@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_number_beyond_an_integer_type_is_refused(world, engine, field, limit, side):
    value = -limit - 1 if side == "below" else limit
    made, phase = with_text_values(world, engine, field, [value])
    with pytest.raises(phase_4_5.ChangeRefused, match=r"thing\.value.*1 row"):
        phase.run(db.connect(made.url))
    assert made.query("SELECT value FROM thing") == [(str(value),)]


class Measure(peewee.Model):
    """Columns with more digits than those of the existing table."""

    id = peewee.IntegerField(primary_key=True)
    taken_at = peewee.DateTimeField()
    until = peewee.TimeField()
    amount = peewee.DecimalField(12, 2)


def test_infinity_and_nan_are_kept_when_a_type_is_widened(world):
    made = world("postgresql").make(NOTHING)
    made.execute(
        "CREATE TABLE measure (id INTEGER PRIMARY KEY, taken_at TIMESTAMP(0) NOT NULL, "
        "until TIME(0) NOT NULL, amount NUMERIC(8, 2) NOT NULL)",
        "INSERT INTO measure VALUES (1, 'infinity', '24:00:00', 'NaN'), "
        "(2, '-infinity', '00:00:00', 1.5)",
    )
    query = "SELECT taken_at::text, until::text, amount::text FROM measure ORDER BY id"
    before = made.query(query)
    phase = Phase("Measures", requires={}, manages=[Measure])
    assert phase.run(db.connect(made.url)).status == "migrated"
    assert made.query(query) == before


def test_collation_is_kept_when_a_string_is_widened(changed):
    made, database = changed(
        "postgresql",
        "ALTER TABLE weekly_actuals ALTER COLUMN workflow_id TYPE VARCHAR(20) "
        'COLLATE "C"',
    )
    assert phase_4_5.run(database).status == "migrated"
    assert made.query(
        "SELECT collation_name FROM information_schema.columns "
        "WHERE table_name = 'weekly_actuals' "
        "AND column_name = 'workflow_id'"
    ) == [("C",)]


def test_sequence_of_a_smallserial_continues_past_its_limit(changed):
    state = State("smallserial", REPAIRED, items={"id": "id SMALLSERIAL PRIMARY KEY"})
    made, database = changed("postgresql", state=state, rows=False)
    assert phase_4_5.run(database).status == "migrated"
    made.execute("SELECT setval(pg_get_serial_sequence('weekly_actuals', 'id'), 40000)")
    assert made.insert_without_id() == 40001


def test_names_taken_by_a_renamed_backup_are_reported(changed):
    _, database = changed(
        "postgresql", "ALTER TABLE weekly_actuals RENAME TO weekly_actuals_backup"
    )
    with pytest.raises(phase_4_5.ChangeRefused, match="unique_workflow_week_store"):
        phase_4_5.check(database)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql", "mysql"])
def test_other_primary_key_is_replaced_by_a_missing_id(changed, engine):
    state = State(
        "keyed by columns",
        REPAIRED,
        items={
            "id": None,
            "unique": None,
            "key": "PRIMARY KEY (workflow_id, week_number, store_id)",
        },
    )
    made, database = changed(engine, state=state, rows=False)
    assert phase_4_5.run(database).status == "migrated"
    made.assert_specified()


@pytest.mark.parametrize("engine", ["sqlite", "postgresql", "mysql"])
def test_temporary_table_that_hides_the_managed_one_is_refused(world, engine):
    made = world(engine).make(COMPLETE, True)
    database = db.connect(made.url)
    with database.connection_context():
        database.execute_sql(
            "CREATE TEMPORARY TABLE weekly_actuals (id INTEGER, "
            "workflow_id VARCHAR(50))"
        )
        with pytest.raises(phase_4_5.ChangeRefused, match="temporary"):
            phase_4_5.rollback(database)
    assert sorted(made.rows()) == [1, 2, 5]


@pytest.mark.parametrize("engine", ["sqlite", "postgresql", "mysql"])
def test_init_db_leaves_an_open_connection_open(world, engine):
    database = db.connect(world(engine).make(COMPLETE).url)
    database.connect()
    init_db(database)
    assert not database.is_closed()
    database.close()


def test_rebuild_keeps_rows_under_on_conflict_replace(changed):
    state = State(
        "replacing",
        REPAIRED,
        items={
            **NO_KEYS,
            "week_start_date": "week_start_date DATE",
            "undeclared": "UNIQUE (actual_units_sold) ON CONFLICT REPLACE",
        },
        without=tuple(INDEXES),
    )
    made, database = changed("sqlite", state=state)
    assert phase_4_5.run(database, smoke_test=False).status == "migrated"
    assert sorted(made.rows()) == [1, 2, 5]


def test_values_made_equal_for_an_undeclared_key_are_refused(changed):
    state = State(
        "replacing",
        REPAIRED,
        items={
            **NO_KEYS,
            "week_number": "week_number BLOB",
            "undeclared": "UNIQUE (week_number, week_start_date) ON CONFLICT REPLACE",
        },
    )
    made, database = changed("sqlite", state=state, rows=False)
    made.insert(row(1, week=3), row(2, week="3", store="S002"))
    with pytest.raises(phase_4_5.ChangeRefused):
        phase_4_5.run(database)
    assert made.query("SELECT count(*) FROM weekly_actuals") == [(2,)]


def test_rebuild_keeps_a_second_foreign_key_of_a_column(changed):
    state = State(
        "two keys",
        REPAIRED,
        items={
            "store_id": "store_id VARCHAR(50) NOT NULL REFERENCES notes(store_id)",
            "store": "FOREIGN KEY (store_id) REFERENCES stores(store_id)",
        },
    )
    made, database = changed(
        "sqlite",
        "CREATE TABLE notes (store_id VARCHAR(50) PRIMARY KEY)",
        state=state,
        rows=False,
    )
    phase_4_5.ensure(database)
    assert {
        row[2] for row in made.query("PRAGMA foreign_key_list(weekly_actuals)")
    } == {"workflows", "stores", "categories", "notes"}


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_without_an_id_are_kept_and_numbered(world, engine):
    made = world(engine).make(State("no id", REPAIRED, items={"id": None}))
    World.insert(made, *ROWS)
    query = (
        "SELECT store_id, week_number, actual_units_sold FROM weekly_actuals "
        "ORDER BY 1, 2"
    )
    before = made.query(query)
    assert phase_4_5.run(db.connect(made.url)).status == "migrated"
    assert made.query(query) == before
    World.insert(
        made, {name: value for name, value in row(9, week=9).items() if name != "id"}
    )
    assert made.query("SELECT id FROM weekly_actuals ORDER BY id") == [
        (1,),
        (2,),
        (3,),
        (4,),
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_replaced_primary_key_stays_unique(world, engine):
    items = {
        "id": "id INTEGER NOT NULL",
        "key": "PRIMARY KEY (workflow_id, week_number)",
    }
    made = world(engine).make(State("another key", REPAIRED, items=items))
    made.insert(row(1), row(2, week=2))
    before = made.rows()
    assert phase_4_5.run(db.connect(made.url)).status == "migrated"
    assert made.rows() == before
    _, primary_key, unique, _, _ = made.catalogue()
    assert (primary_key, ("workflow_id", "week_number") in unique) == (["id"], True)


def test_referenced_primary_key_is_not_replaced_on_postgresql(world):
    items = {"id": "id INTEGER NOT NULL", "key": "code VARCHAR(9) PRIMARY KEY"}
    made = world("postgresql").make(State("another key", REPAIRED, items=items))
    made.execute("CREATE TABLE kid (code VARCHAR REFERENCES weekly_actuals(code))")
    with pytest.raises(
        phase_4_5.ChangeRefused, match="a foreign key of kid depends on"
    ):
        phase_4_5.check(db.connect(made.url))
