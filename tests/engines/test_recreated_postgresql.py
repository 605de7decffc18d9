"""PostgreSQL: a recreated object keeps every property that the model does not name."""

import peewee
import pytest
from engines.servers import NOTHING

import db
from db.fields import AutoIncrementField, UniqueConstraint
from migrations.phase import Phase


@pytest.fixture
def engine():
    return "postgresql"


class Country(peewee.Model):
    code = peewee.CharField(20, primary_key=True)

    class Meta:
        table_name = "country"


class City(peewee.Model):
    id = AutoIncrementField()
    country = peewee.ForeignKeyField(
        Country, on_delete="CASCADE", column_name="country", index=False
    )
    name = peewee.CharField(20, null=True, index=True)

    class Meta:
        table_name = "city"
        constraints = (
            peewee.SQL("CONSTRAINT long CHECK (name <> '')"),
            UniqueConstraint("once", "country", "name"),
        )


PHASE = Phase("Cities", requires={Country: ("code",)}, manages=[City])
COMMENTS = """
SELECT coalesce(obj_description(oid, 'pg_constraint'), 'none') FROM pg_constraint
WHERE conrelid = 'city'::regclass AND conname = '{}'"""
DEFINITION = (
    "SELECT pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE conrelid = 'city'::regclass AND conname = '{}'"
)


@pytest.fixture(
    params=[(), ("INSERT INTO city (country, name) VALUES ('fr', 'Paris')",)],
    ids=["empty", "filled"],
)
def city(world, request):
    """Return a function that makes both tables, and changes them by statements."""

    def make(*statements, country="varchar(20)"):
        made = world("postgresql").make(NOTHING)
        made.execute(
            "CREATE TABLE country (code varchar(20) PRIMARY KEY)",
            "INSERT INTO country VALUES ('fr')",
        )
        made.execute(
            f"CREATE TABLE city (id serial PRIMARY KEY, country {country} NOT NULL, "
            "name varchar(20), CONSTRAINT of_country FOREIGN KEY (country) "
            "REFERENCES country (code) ON DELETE CASCADE, "
            "CONSTRAINT long CHECK (name <> ''), "
            "CONSTRAINT once UNIQUE (country, name))",
            "CREATE INDEX city_name ON city (name)",
        )
        made.execute(*request.param, *statements)
        return made

    return make


def run(made):
    assert PHASE.run(db.connect(made.url), smoke_test=False).status == "migrated"
    assert PHASE.run(db.connect(made.url), smoke_test=False).status == "up_to_date"


@pytest.mark.parametrize(
    "deferral", ["", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED"]
)
def test_replaced_foreign_key_keeps_name_comment_and_deferral(city, deferral):
    made = city(
        "ALTER TABLE city DROP CONSTRAINT of_country",
        "ALTER TABLE city ADD CONSTRAINT mine FOREIGN KEY (country) "
        f"REFERENCES country{deferral}",
        "COMMENT ON CONSTRAINT mine ON city IS 'it''s 100 % ours'",
    )
    run(made)
    assert made.query(DEFINITION.format("mine")) == [
        (f"FOREIGN KEY (country) REFERENCES country(code) ON DELETE CASCADE{deferral}",)
    ]
    assert made.query(COMMENTS.format("mine")) == [("it's 100 % ours",)]


@pytest.mark.parametrize("suffix", ["", " DEFERRABLE INITIALLY DEFERRED", " NOT VALID"])
def test_undeclared_foreign_key_is_kept_by_a_change_of_type(city, suffix):
    own = (
        f"FOREIGN KEY (name) REFERENCES own(name) MATCH FULL ON UPDATE SET NULL{suffix}"
    )
    made = city(
        "CREATE TABLE own (name varchar(20) PRIMARY KEY)",
        "INSERT INTO own VALUES ('Paris')",
        "ALTER TABLE city ALTER name TYPE char(20)",
        f"ALTER TABLE city ADD CONSTRAINT own {own}",
        "COMMENT ON CONSTRAINT own ON city IS 'mine'",
    )  # fmt: skip
    run(made)
    assert made.query(DEFINITION.format("own")) == [(own,)]
    assert made.query(COMMENTS.format("own")) == [("mine",)]


def test_replaced_check_keeps_its_comment(city):
    made = city(
        "ALTER TABLE city DROP CONSTRAINT long",
        "ALTER TABLE city ADD CONSTRAINT long CHECK (name <> 'x')",
        "COMMENT ON CONSTRAINT long ON city IS 'mine'",
    )  # fmt: skip
    run(made)
    assert made.query(COMMENTS.format("long")) == [("mine",)]


def test_replaced_unique_constraint_keeps_its_comment(city):
    made = city(
        "ALTER TABLE city DROP CONSTRAINT once",
        "ALTER TABLE city ADD CONSTRAINT once UNIQUE (country)",
        "COMMENT ON CONSTRAINT once ON city IS 'mine'",
    )  # fmt: skip
    run(made)
    assert made.query(COMMENTS.format("once")) == [("mine",)]


def test_replaced_index_keeps_its_comment_and_storage_parameters(city):
    made = city(
        "DROP INDEX city_name",
        "CREATE INDEX city_name ON city (name, id) WITH (fillfactor = 70)",
        "COMMENT ON INDEX city_name IS 'mine'",
    )  # fmt: skip
    run(made)
    assert made.query(
        "SELECT reloptions, obj_description(oid, 'pg_class') FROM pg_class "
        "WHERE relname = 'city_name'"
    ) == [(["fillfactor=70"], "mine")]


def test_converted_column_keeps_storage_statistics_and_comment(city):
    made = city(
        "ALTER TABLE city ALTER name TYPE varchar(10)",
        "ALTER TABLE city ALTER name SET STORAGE EXTERNAL, "
        "ALTER name SET STATISTICS 7, "
        "ALTER name SET (n_distinct = 5)", "COMMENT ON COLUMN city.name IS 'mine'",
    )  # fmt: skip
    run(made)
    assert made.query(
        "SELECT attstorage::text, attstattarget, 'n_distinct=5' = ANY (attoptions), "
        "col_description(attrelid, attnum) "
        "FROM pg_attribute WHERE attrelid = 'city'::regclass AND attname = 'name'"
    ) == [("e", 7, True, "mine")]


# -- statistics


@pytest.fixture
def analyzed(world):
    """A table with settings for ANALYZE, and what that found out."""
    made = world("postgresql").make(NOTHING)
    made.execute(
        "CREATE TABLE measure (id serial PRIMARY KEY, value varchar(20), unit integer)",
        "INSERT INTO measure (value, unit) SELECT i % 7, i % 3 "
        "FROM generate_series(1, 100) AS i",
        "CREATE INDEX own ON measure ((value::text))",
        "ALTER INDEX own ALTER COLUMN 1 SET STATISTICS 77",
        "CREATE STATISTICS pair ON value, unit FROM measure",
        "ALTER STATISTICS pair SET STATISTICS 300",
        "CREATE STATISTICS other ON value, unit FROM measure",
        "ALTER TABLE measure ALTER value SET STATISTICS 500, "
        "ALTER value SET (n_distinct = 5), ALTER value SET STORAGE EXTERNAL",
        "ANALYZE measure",
    )
    return made


def measures(field):
    meta = type("Meta", (), {"table_name": "measure"})
    fields = {"value": field, "unit": peewee.IntegerField(null=True), "Meta": meta}
    model = type("Measure", (peewee.Model,), fields)
    return Phase("Measures", requires={}, manages=[model])


STATISTICS = (
    "SELECT attname, attstattarget, array_to_string(attoptions, ' ') ~ 'n_distinct=5' "
    "FROM pg_attribute WHERE attrelid = 'measure'::regclass AND attname = 'value'",
    "SELECT attstattarget FROM pg_attribute WHERE attrelid = 'own'::regclass",
    "SELECT stxname, coalesce(to_jsonb(s) ->> 'stxstattarget', '-1'), "
    "(SELECT count(*) FROM pg_statistic_ext_data d WHERE d.stxoid = s.oid) "
    "FROM pg_statistic_ext s ORDER BY 1",
    "SELECT tablename, attname FROM pg_stats WHERE tablename IN ('measure', 'own') "
    "ORDER BY 1, 2",
)


def statistics(made):
    return [made.query(sql) for sql in STATISTICS]


@pytest.mark.parametrize(
    "field",
    [peewee.CharField(40, null=True), peewee.IntegerField(null=True)],
    ids=["longer", "a number"],
)
def test_statistics_are_kept_and_made_again(analyzed, field):
    before = statistics(analyzed)
    report = measures(field).run(db.connect(analyzed.url))
    assert [change.sql for change in report.changes][-3:] == [
        "ALTER INDEX own ALTER COLUMN 1 SET STATISTICS 77",
        "ALTER STATISTICS public.pair SET STATISTICS 300",
        'ANALYZE "measure"',
    ]
    assert statistics(analyzed) == before


def test_statistics_are_made_again_in_the_transaction_of_the_caller(analyzed):
    before = statistics(analyzed)
    database = db.connect(analyzed.url)
    with database.atomic():
        measures(peewee.CharField(40, null=True)).run(database)
    assert statistics(analyzed) == before


def test_compression_is_kept(analyzed):
    if analyzed.connection.info.server_version < 140000:
        pytest.skip("SET COMPRESSION is new in PostgreSQL 14")
    analyzed.execute("ALTER TABLE measure ALTER value SET COMPRESSION pglz")
    measures(peewee.CharField(40, null=True)).run(db.connect(analyzed.url))
    assert analyzed.query(
        "SELECT attcompression::text, attstorage::text FROM pg_attribute "
        "WHERE attrelid = 'measure'::regclass AND attname = 'value'"
    ) == [("p", "e")]
