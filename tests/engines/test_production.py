"""Changes that administrators make: refused before any change, or kept."""

import contextlib
import locale

import peewee
import pytest
from engines.servers import COMPLETE, HALF, command, new_connection, one_line_error
from peewee import (
    SQL,
    CharField,
    DateField,
    DateTimeField,
    DecimalField,
    ForeignKeyField,
    IntegerField,
    Model,
    TimeField,
)
from states import ENGINES, REPAIRED, State, row

import db
from db.fields import AutoIncrementField
from migrations import phase_4_5
from migrations.phase import Phase

ORPHAN = (
    "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, "
    "week_end_date, store_id, category_id, "
    "actual_units_sold) VALUES ('wf_1', 77, '2025-01-06', '2025-01-12', 'NOPE', "
    "'dresses', 1)"
)
OFF = {
    "sqlite": "PRAGMA foreign_keys = OFF",
    "postgresql": "SET session_replication_role = replica",
    "mysql": "SET foreign_key_checks = 0",
}
ON = {
    "sqlite": "PRAGMA foreign_keys = ON",
    "postgresql": "SET session_replication_role = origin",
    "mysql": "SET foreign_key_checks = 1",
}
PADDED = State(
    "a padded key", REPAIRED, items={"store_id": "store_id CHAR(50) NOT NULL"}
)
on_servers = pytest.mark.parametrize("engine", ["postgresql", "mysql"])


def refused(made, *says):
    """A check and a run refuse, and change nothing."""
    refused_by(phase_4_5.phase, made, *says)


def refused_by(phase, made, *says):
    """A check and a run of a phase refuse, and change nothing."""
    before = made.dump()
    for call in (phase.check, phase.run):
        with pytest.raises(phase_4_5.ChangeRefused) as refusal:
            call(db.connect(made.url))
        assert [word for word in says if word not in str(refusal.value)] == []
    assert made.dump() == before


def warnings_of(report):
    """Return the warnings of a report, without the notes."""
    return [each for each in report.differences if each.severity == "warning"]


def orphaned(made, engine):
    made.execute(OFF[engine], ORPHAN, ON[engine])


# -- rows


@on_servers
def test_orphan_under_a_recreated_foreign_key_is_refused(world, engine):
    made = world(engine).make(PADDED, filled=True)
    orphaned(made, engine)
    refused(made, "store_id: the foreign key has to be recreated", "1 row", "NOPE")


def test_values_equal_in_the_new_collation_are_refused(world, engine):
    items = {
        "store": None,
        "store_id": "store_id VARCHAR(50) COLLATE utf8mb4_bin NOT NULL",
    }
    made = world(engine).make(
        State("another collation", REPAIRED, items=items), filled=True
    )
    made.execute(
        "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, "
        "week_end_date, store_id, category_id, "
        "actual_units_sold) SELECT workflow_id, week_number, week_start_date, "
        "week_end_date, lower(store_id), category_id, 1 FROM weekly_actuals LIMIT 1"
    )
    refused(made, "rows that become equal once they are converted", "2 rows")


def test_thorough_run_finds_orphans_under_a_validated_key(world):
    made = world("postgresql").make(COMPLETE, filled=True)
    orphaned(made, "postgresql")
    assert warnings_of(phase_4_5.check(db.connect(made.url))) == []
    report = phase_4_5.run(db.connect(made.url), thorough=True)
    (orphans,) = warnings_of(report)
    assert orphans.object == "weekly_actuals.store_id"
    assert "1 row" in orphans.message


@pytest.mark.parametrize("store", ["A", "S0015", "Z"], ids=["low", "middle", "high"])
@pytest.mark.parametrize("engine", ENGINES)
def test_orphan_is_found_wherever_its_value_is_in_the_index(world, engine, store):
    made = world(engine).make(COMPLETE, filled=True)
    made.execute(OFF[engine])
    made.insert(row(7, week=77, store=store))
    made.execute(ON[engine])
    report = phase_4_5.check(db.connect(made.url), thorough=True)
    (orphan,) = warnings_of(report)
    assert orphan.object == "weekly_actuals.store_id"
    assert f"1 row (id 7, workflow_id wf_1, week_number 77, store_id {store})" in (
        orphan.message
    )


class Owner(Model):
    code = CharField(9, primary_key=True)

    class Meta:
        table_name = "owners"


class Thing(Model):
    id = AutoIncrementField()
    owner = ForeignKeyField(Owner, null=True)

    class Meta:
        table_name = "things"


OWNERS = Phase("Owners", requires={}, manages=[Owner, Thing])


@pytest.fixture
def without_owners(world, engine):
    """Return a function that makes things with an owner, and no table of owners."""

    def make(owner):
        made = world(engine)
        made.clear()
        OWNERS.ensure(db.connect(made.url))
        made.execute(
            "DROP TABLE things",
            "DROP TABLE owners",
            "CREATE TABLE things (id INTEGER PRIMARY KEY, owner_id VARCHAR(9))",
            f"INSERT INTO things VALUES (1, {owner})",
        )
        return made

    return make


@pytest.mark.parametrize("engine", ENGINES)
def test_value_is_refused_while_the_parent_table_is_missing(without_owners):
    made = without_owners("'x'")
    refused_by(OWNERS, made, "things.owner_id", "1 row (id 1)")


@pytest.mark.parametrize("engine", ENGINES)
def test_null_is_migrated_while_the_parent_table_is_missing(without_owners):
    made = without_owners("NULL")
    assert OWNERS.run(db.connect(made.url)).status == "migrated"
    assert made.query("SELECT id, owner_id FROM things") == [(1, None)]
    assert OWNERS.check(db.connect(made.url)).status == "up_to_date"


# -- dependents of a managed table


@pytest.mark.parametrize(
    "state",
    [
        State(
            "a wrong index",
            REPAIRED,
            items={},
            without=("idx_weekly_actuals_date",),
            sql=(
                "CREATE UNIQUE INDEX idx_weekly_actuals_date ON weekly_actuals "
                "(week_start_date, id)",
            ),
        ),
    ],
)
@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (
            "ALTER TABLE weekly_actuals REPLICA IDENTITY USING INDEX "
            "idx_weekly_actuals_date",
            "the REPLICA IDENTITY depends",
        ),
        (
            "CREATE TABLE notes (at DATE, id INTEGER, FOREIGN KEY (at, "
            "id) REFERENCES weekly_actuals (week_start_date, id))",
            "the foreign key of notes depends",
        ),
    ],
)
def test_index_with_dependents_is_not_replaced(world, state, statement, says):
    made = world("postgresql").make(state, filled=True)
    made.execute(
        "ALTER TABLE weekly_actuals ALTER week_start_date SET NOT NULL", statement
    )
    refused(made, "idx_weekly_actuals_date has to be recreated", says)


def test_conversion_of_a_referenced_column_is_refused(world, engine):
    made = world(engine).make(COMPLETE, filled=True)
    made.execute(
        "ALTER TABLE weekly_actuals MODIFY id SMALLINT NOT NULL AUTO_INCREMENT",
        "CREATE TABLE notes (n INT PRIMARY KEY, id SMALLINT, "
        "FOREIGN KEY (id) REFERENCES weekly_actuals (id))",
    )
    refused(
        made,
        "weekly_actuals.id has to be converted",
        "the foreign key of the table notes",
    )


@pytest.mark.parametrize("what", ["view", "table"])
def test_rollback_is_refused_for_dependents_in_another_database(world, what, engine):
    made = world(engine).make(COMPLETE)
    made.execute(f"CREATE DATABASE {made.name}_other")
    table = f"{made.name}.weekly_actuals"
    try:
        made.execute(
            {
                "view": (
                    f"CREATE VIEW {made.name}_other.dependent AS SELECT * FROM {table}"
                ),
                "table": (
                    f"CREATE TABLE {made.name}_other.dependent (id INT, "
                    f"FOREIGN KEY (id) REFERENCES {table} (id))"
                ),
            }[what]
        )
        assert f"the {what} {made.name}_other.dependent depends" in one_line_error(
            command(made.url, "--rollback")
        )
    finally:
        made.execute(f"DROP DATABASE {made.name}_other")


# -- features of a server


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE weekly_actuals ADD note TEXT, ADD FULLTEXT (note)",
        "ALTER TABLE weekly_actuals ADD place POINT NOT NULL DEFAULT (POINT(0, 0)), "
        "ADD SPATIAL INDEX (place)",
        "ALTER TABLE weekly_actuals ADD v INT AS (week_number + 1) VIRTUAL, "
        "ADD INDEX (v)",
    ],
)
def test_column_is_added_to_a_table_with_any_index(world, statement, engine):
    state = State("a column is missing", REPAIRED, items={"forecast_units_sold": None})
    made = world(engine).make(state, filled=True)
    if "POINT" in statement and not made.is_mariadb:
        pytest.skip("MySQL adds no NOT NULL POINT to a table with rows (error 1138)")
    made.execute(statement)
    report = phase_4_5.run(db.connect(made.url))
    assert [change.blocks for change in report.changes] == ["writes"]
    assert phase_4_5.ensure(db.connect(made.url)) is False


def test_domain_is_accepted_in_place_of_its_type(world):
    made = world("postgresql").make(COMPLETE, filled=True)
    made.execute(
        "CREATE DOMAIN units AS integer CHECK (value >= 0)",
        "CREATE DOMAIN code AS varchar(50)",
        "ALTER TABLE weekly_actuals ALTER actual_units_sold TYPE units, "
        "ALTER store_id TYPE code",
    )
    report = phase_4_5.run(db.connect(made.url))
    assert (report.status, set(report.smoke_test.values())) == ("up_to_date", {True})


def test_domain_of_a_shorter_type_is_a_difference(world):
    made = world("postgresql").make(COMPLETE, filled=True)
    made.execute(
        "CREATE DOMAIN code AS varchar(9)",
        "ALTER TABLE weekly_actuals ALTER store_id TYPE code",
    )
    assert phase_4_5.check(db.connect(made.url)).status == "pending"


def test_published_table_without_identity_skips_the_cascade(world, request):
    made = world("postgresql").make(COMPLETE, filled=True)
    request.addfinalizer(lambda: made.execute("DROP PUBLICATION every"))
    made.execute(
        "ALTER TABLE stores REPLICA IDENTITY NOTHING",
        "CREATE PUBLICATION every FOR ALL TABLES",
    )
    report = phase_4_5.run(db.connect(made.url))
    assert report.smoke_test == {
        **dict.fromkeys(report.smoke_test, True),
        "cascade": None,
    }


def test_connection_limit_of_1_is_reported_as_the_cause(world, role):
    made = world("postgresql").make(HALF, filled=True)
    url = role(made, "ALL ON ALL TABLES IN SCHEMA public", "CREATE ON SCHEMA public")
    name = url.partition("://")[2].partition(":")[0]
    made.execute(
        f'ALTER TABLE weekly_actuals OWNER TO "{name}"',
        f'ALTER ROLE "{name}" CONNECTION LIMIT 1',
    )
    assert "a run uses up to two connections" in one_line_error(command(url))


@pytest.mark.exhaustive
def test_prepared_transaction_that_holds_a_lock_is_named(world):
    made = world("postgresql18").make(HALF, filled=True)
    with contextlib.closing(new_connection(made.url, autocommit=False)) as client:
        client.execute("LOCK TABLE stores IN SHARE MODE")
        client.execute("PREPARE TRANSACTION 'left'")
    try:
        assert "stores is held by a prepared transaction" in one_line_error(
            command(made.url, "--lock-timeout", "1")
        )
    finally:
        made.execute("ROLLBACK PREPARED 'left'")


def test_unknown_function_is_reported_as_the_applications(world):
    made = world("sqlite").make(COMPLETE, filled=True)
    with contextlib.closing(peewee.sqlite3.connect(made.path)) as connection:
        connection.create_function(
            "double", 1, lambda value: value and 2 * value, deterministic=True
        )
        connection.execute(
            "CREATE INDEX undeclared ON weekly_actuals (double(week_number))"
        )
    with pytest.raises(
        phase_4_5.DatabaseUnavailable,
        match="unknown function: double.*the application's own",
    ):
        phase_4_5.run(db.connect(made.url))


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (
            "CREATE TRIGGER undeclared AFTER INSERT ON weekly_actuals "
            "BEGIN SELECT double(NEW.week_number); END",
            "no such function: double",
        ),
        (
            "CREATE INDEX undeclared ON weekly_actuals (week_end_date COLLATE german)",
            "no such collation sequence: german",
        ),
    ],
    ids=["function", "collation"],
)
def test_unknown_function_or_collation_is_reported_with_its_fix(world, statement, says):
    made = world("sqlite").make(COMPLETE, filled=True)
    with contextlib.closing(peewee.sqlite3.connect(made.path)) as connection:
        connection.create_collation("german", locale.strcoll)
        connection.executescript(statement)
    with pytest.raises(phase_4_5.DatabaseUnavailable) as failure:
        phase_4_5.run(db.connect(made.url))
    assert f"{says}; it is the application's own: run there" in str(failure.value)


# -- notations of defaults


@pytest.mark.parametrize(
    ("engine", "field"),
    [
        (engine, field)
        for engine in ("postgresql", "mysql")
        for field in (
            TimeField(constraints=[SQL("DEFAULT '8:00'")]),
            DateField(constraints=[SQL("DEFAULT '2024-1-5'")]),
            DateTimeField(constraints=[SQL("DEFAULT '2024-01-05'")]),
            IntegerField(constraints=[SQL("DEFAULT 007")]),
            DateTimeField(constraints=[SQL("DEFAULT '2024-01-05T10:00:00'")]),
            IntegerField(constraints=[SQL("DEFAULT -0")]),
            DecimalField(8, 2, constraints=[SQL("DEFAULT 1.005")]),
            DecimalField(8, 2, constraints=[SQL("DEFAULT '1.50'")]),
            DecimalField(8, 2, constraints=[SQL("DEFAULT 1.5")]),
            CharField(9, constraints=[SQL("DEFAULT '1.0'")]),
            CharField(9, constraints=[SQL("DEFAULT 'true'")]),
        )
    ],
)
def test_default_in_any_notation_is_up_to_date_after_a_run(world, engine, field):
    class Thing(Model):
        id = AutoIncrementField()
        value = field.clone()

    phase = Phase("Defaults", requires={}, manages=[Thing])
    made = world(engine)
    made.clear()
    assert phase.run(db.connect(made.url)).status == "migrated"
    assert phase.run(db.connect(made.url)).status == "up_to_date"


@pytest.mark.parametrize(
    ("declared", "found"),
    [("1", "true"), ("1", "1.0"), ("0", "false"), ("1", "(1)"), ("a", "a ")],
)
@pytest.mark.parametrize("engine", ["postgresql", "mysql", "sqlite"])
def test_default_with_another_text_is_repaired(world, engine, declared, found):
    class Thing(Model):
        id = AutoIncrementField()
        value = CharField(9, constraints=[SQL(f"DEFAULT '{declared}'")])

    phase = Phase("Defaults", requires={}, manages=[Thing])
    made = world(engine)
    made.clear()
    phase.ensure(db.connect(made.url))
    if engine == "sqlite":
        with contextlib.closing(peewee.sqlite3.connect(made.path)) as connection:
            ((text,),) = connection.execute(
                "SELECT sql FROM sqlite_master WHERE name = 'thing'"
            ).fetchall()
            connection.execute("DROP TABLE thing")
            connection.execute(
                text.replace(f"DEFAULT '{declared}'", f"DEFAULT '{found}'")
            )
    else:
        made.execute(f"ALTER TABLE thing ALTER COLUMN value SET DEFAULT '{found}'")
    assert phase.run(db.connect(made.url)).status == "migrated"
    assert phase.ensure(db.connect(made.url)) is False
