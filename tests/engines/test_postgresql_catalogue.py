"""PostgreSQL's catalog: parsing of types and defaults, and reading after changes."""

import pytest
from engines.servers import COMPLETE, NOTHING

import db
from migrations import phase_4_5
from migrations.engines.postgresql import catalog, column_types
from migrations.schema import UTC_NOW, Type

NAMES = list(phase_4_5.phase.models.by_table)


@pytest.fixture
def engine():
    return "postgresql"


def query_function(world):
    """Return a function that queries a database as an engine does."""
    return lambda sql, params: world.connection.execute(sql, params).fetchall()


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("SERIAL", ("integer", 4)), ("BIGSERIAL", ("integer", 8)),
        ("bigint", ("integer", 8)), ("SMALLINT", ("integer", 2)),
        ("VARCHAR(50)", ("string", 50)), ("character varying(50)", ("string", 50)),
        ("character varying", ("string",)), ("TEXT", ("string",)),
        ("CHAR(5)", ("fixed string", 5)), ("character(5)", ("fixed string", 5)),
        ("character", ("fixed string", 1)), ('"char"', ('"char"',)),
        ("bpchar", ("fixed string",)), ("NUMERIC(10, 5)", ("decimal", 10, 5)),
        ("numeric(10,5)", ("decimal", 10, 5)), ("numeric(10)", ("decimal", 10, 0)),
        ("numeric", ("decimal",)), ("numeric(3,-2)", ("decimal", 3, -2)),
        ("REAL", ("float", 4)), ("FLOAT", ("float", 8)), ("FLOAT(24)", ("float", 4)),
        ("DOUBLE PRECISION", ("float", 8)), ("BOOLEAN", ("boolean",)),
        ("DATE", ("date",)), ("TIME", ("time",)),
        ("time(3) without time zone", ("time", 3)), ("TIMESTAMP", ("datetime",)),
        ("timestamp(0) without time zone", ("datetime", 0)),
        ("timestamp(6) without time zone", ("datetime",)),
        ("timestamp(3) with time zone", ("timestamp with time zone",)),
        ("UUID", ("uuid",)), ("BYTEA", ("blob",)), ("JSON", ("json",)),
        ("JSONB", ("jsonb",)), ("integer[]", ("integer[]",)),
        ("character varying(9)[]", ("character varying[]",)),
    ],
)  # fmt: skip
def test_type_is_parsed_alike_from_peewee_and_the_catalog(text, meaning):
    assert column_types.parse_type(text) == Type(text, *meaning)


@pytest.mark.parametrize(
    ("type_", "default", "meaning"),
    [
        ("TIMESTAMP", "(now() AT TIME ZONE 'utc')", UTC_NOW),
        ("TIMESTAMP", "timezone('UTC', now())", UTC_NOW),
        ("TIMESTAMP", "(CURRENT_TIMESTAMP AT TIME ZONE 'utc')", UTC_NOW),
        ("VARCHAR(9)", "'it''s, all'", "it's, all"),
        ("VARCHAR(9)", "'x::text'", "x::text"),
        ("CHAR(3)", "'a'", "a"),
        ("VARCHAR(9)", "'0.50'", "0.50"),
        ("INTEGER", "3", "3"),
        ("INTEGER", "-3", "-3"),
        ("SMALLINT", "'4'", "4"),
        ("BIGINT", "-9000000000", "-9000000000"),
        ("NUMERIC(9,2)", "9.50", "9.5"),
        ("NUMERIC(9,2)", "-0.50", "-0.5"),
        ("DOUBLE PRECISION", "-0.5", "-0.5"),
        ("REAL", "0.10", "0.1"),
        ("BOOLEAN", "TRUE", "1"),
        ("BOOLEAN", "false", "0"),
        ("DATE", "'2000-01-01'", "2000-01-01"),
        ("TIME", "'08:00:00'", "08:00:00"),
        ("TEXT", "'back\\slash'", "back\\slash"),
    ],
)
@pytest.mark.parametrize("quoted", ["off", "on"])
def test_default_keeps_its_meaning_in_the_catalog(
    world, type_, default, meaning, quoted
):
    made = world("postgresql").make(NOTHING)
    made.execute(
        f"CREATE TABLE item (value {type_} DEFAULT {default})",
        f"SET quote_all_identifiers = {quoted}",
    )
    found = catalog.read_tables(
        query_function(made), ["item"], {"quote_all_identifiers": "off"}, (), {}
    )["item"]
    made.execute("RESET quote_all_identifiers")
    assert column_types.default_meaning(found.columns["value"].default) == meaning
    assert column_types.default_meaning(default) == meaning


@pytest.mark.parametrize(
    "default",
    [
        "now()",
        "CURRENT_TIMESTAMP",
        "LOCALTIMESTAMP",
        "clock_timestamp()",
        "(now() AT TIME ZONE 'Asia/Tokyo')",
        "'now'",
    ],
)
def test_default_of_another_time_is_not_utc_now(default):
    assert column_types.default_meaning(default) != UTC_NOW


# Each of these changes the catalog.
CHANGES = """
ALTER TABLE weekly_actuals ADD COLUMN note VARCHAR(20)
ALTER TABLE weekly_actuals ALTER note TYPE VARCHAR(30)
ALTER TABLE weekly_actuals ALTER note TYPE TEXT COLLATE "C"
ALTER TABLE weekly_actuals ALTER note SET DEFAULT 'a'
ALTER TABLE weekly_actuals ALTER note SET DEFAULT 'b'
ALTER TABLE weekly_actuals ALTER note DROP DEFAULT
ALTER TABLE weekly_actuals ALTER note SET NOT NULL
ALTER TABLE weekly_actuals ALTER note DROP NOT NULL
ALTER TABLE weekly_actuals RENAME note TO remark
ALTER TABLE weekly_actuals ADD COLUMN twice INTEGER \
    GENERATED ALWAYS AS (week_number * 2) STORED
ALTER TABLE weekly_actuals ALTER twice DROP EXPRESSION
ALTER TABLE weekly_actuals ALTER twice SET NOT NULL
ALTER TABLE weekly_actuals ALTER twice ADD GENERATED ALWAYS AS IDENTITY
ALTER TABLE weekly_actuals ALTER twice DROP IDENTITY
ALTER TABLE weekly_actuals DROP COLUMN twice
CREATE DOMAIN code AS VARCHAR(9)
ALTER TABLE weekly_actuals ADD COLUMN code code
ALTER DOMAIN code RENAME TO cipher
CREATE TYPE mood AS ENUM ('good', 'bad')
ALTER TABLE weekly_actuals ADD COLUMN mood mood
ALTER TYPE mood RENAME TO temper
CREATE INDEX notes ON weekly_actuals (remark)
ALTER INDEX notes RENAME TO remarks
ALTER TABLE weekly_actuals RENAME remark TO note
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'remarks'::regclass
REINDEX INDEX remarks
DROP INDEX remarks
CREATE UNIQUE INDEX remarks ON weekly_actuals (lower(note), week_number DESC) \
    WHERE week_number > 1
ALTER TABLE weekly_actuals ADD CONSTRAINT rule CHECK (week_number > 0) NOT VALID
ALTER TABLE weekly_actuals VALIDATE CONSTRAINT rule
ALTER TABLE weekly_actuals RENAME CONSTRAINT rule TO law
ALTER TABLE weekly_actuals DROP CONSTRAINT law
ALTER TABLE weekly_actuals DROP CONSTRAINT weekly_actuals_store_id_fkey
ALTER TABLE weekly_actuals ADD CONSTRAINT key FOREIGN KEY (store_id) \
    REFERENCES stores ON DELETE CASCADE NOT VALID
ALTER TABLE weekly_actuals VALIDATE CONSTRAINT key
ALTER TABLE weekly_actuals ALTER CONSTRAINT key DEFERRABLE
ALTER TABLE weekly_actuals DROP CONSTRAINT key, \
    ADD CONSTRAINT key FOREIGN KEY (store_id) REFERENCES stores
ALTER TABLE weekly_actuals ADD CONSTRAINT other FOREIGN KEY (category_id) \
    REFERENCES shelves
ALTER TABLE shelves RENAME TO racks
ALTER TABLE weekly_actuals DROP CONSTRAINT unique_workflow_week_store
ALTER TABLE weekly_actuals ADD CONSTRAINT one \
    UNIQUE (workflow_id, week_number, store_id) DEFERRABLE
ALTER TABLE weekly_actuals RENAME CONSTRAINT one TO another
ALTER TABLE weekly_actuals DROP CONSTRAINT weekly_actuals_pkey
ALTER TABLE weekly_actuals ADD PRIMARY KEY (id) INCLUDE (note)
ALTER SEQUENCE weekly_actuals_id_seq RENAME TO counter
ALTER TABLE weekly_actuals ALTER id DROP DEFAULT
ALTER TABLE stores RENAME region TO area
ALTER TABLE stores RENAME TO shops
CREATE VIEW stores AS SELECT * FROM shops
DROP VIEW stores
ALTER TABLE shops RENAME TO stores
CREATE TABLE child () INHERITS (weekly_actuals)
ALTER TABLE child NO INHERIT weekly_actuals
CREATE SCHEMA elsewhere
ALTER TABLE categories SET SCHEMA elsewhere
SET search_path = elsewhere, public
ALTER TABLE elsewhere.categories SET SCHEMA public
CREATE TEMPORARY TABLE weekly_actuals (id INTEGER)
DROP TABLE pg_temp.weekly_actuals
SET search_path = public
ALTER TABLE weekly_actuals SET UNLOGGED
CLUSTER weekly_actuals USING weekly_actuals_pkey
TRUNCATE weekly_actuals
VACUUM FULL weekly_actuals
DROP TABLE workflows CASCADE
DROP TABLE weekly_actuals
CREATE TABLE weekly_actuals (id SERIAL PRIMARY KEY) PARTITION BY HASH (id)
"""


def test_tables_are_read_after_every_change_of_the_schema(second_database):
    made = second_database.make(COMPLETE)
    ask = query_function(made)
    schema = catalog.read_tables(ask, NAMES, {}, (), {})
    changed = 0
    for statement in CHANGES.strip().splitlines():
        made.execute(statement)
        after = catalog.read_tables(ask, NAMES, {}, (), {})
        if after != schema:
            changed += 1
        schema = after
    assert changed >= 50


def test_copy_of_a_database_is_not_taken_for_the_original(second_database):
    made = second_database.make(COMPLETE)
    name = f"{made.name}_copy"
    made.connection.close()
    made.server.execute(f"CREATE DATABASE {name} TEMPLATE {made.name}")
    try:
        original = db.connect(made.url)
        copy = db.connect(made.url.replace(made.name, name))
        for _ in range(3):
            assert phase_4_5.ensure(original) is False
        with copy.connection_context():
            copy.execute_sql("DROP INDEX idx_weekly_actuals_date")
        assert phase_4_5.ensure(copy) is True
        assert phase_4_5.ensure(original) is False
    finally:
        made.server.execute(f"DROP DATABASE {name}")


def test_schema_is_read_again_after_each_change(complete):
    database = db.connect(complete.url)
    for statement in (
        "DROP INDEX idx_weekly_actuals_date",
        "ALTER TABLE weekly_actuals ALTER week_number DROP NOT NULL",
    ):
        for _ in range(3):
            assert phase_4_5.ensure(database) is False
        complete.execute(statement)
        assert phase_4_5.ensure(database) is True


def test_schema_is_read_again_inside_a_transaction(world):
    database = db.connect(world("postgresql").make(COMPLETE).url)
    with database.connection_context(), database.atomic() as transaction:
        for index in ("idx_weekly_actuals_date", "idx_weekly_actuals_store"):
            database.execute_sql(f"DROP INDEX {index}")
            assert len(phase_4_5.check(database).changes) == 1
            assert phase_4_5.ensure(database) is True
        transaction.rollback()
    assert phase_4_5.ensure(database) is False


def test_run_without_changes_takes_two_queries(complete):
    database, seen = db.connect(complete.url), []
    database.query_hooks.append(lambda event: seen.append(event.sql))
    assert phase_4_5.ensure(database) is False
    assert len(seen) == 2  # the tables, and the next ids
