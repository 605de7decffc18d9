"""PostgreSQL: values, defaults and domains that a new type would lose or change."""

import peewee
import pytest
from engines.servers import NOTHING, url_of

import db
from db.fields import AutoIncrementField, JSONField
from migrations import phase_4_5
from migrations.errors import ChangeRefused
from migrations.phase import Phase


@pytest.fixture
def engine():
    return "postgresql"


def phase_of(field):
    class Item(peewee.Model):
        id = AutoIncrementField()
        value = field

        class Meta:
            table_name = "item"

    return Phase("Items", requires={}, manages=[Item])


def item(world, definition, *values):
    made = world("postgresql").make(NOTHING)
    made.execute(f"CREATE TABLE item (id serial PRIMARY KEY, value {definition})")
    made.execute(*(f"INSERT INTO item (value) VALUES ({value})" for value in values))
    return made


def run(made, field, **options):
    return phase_of(field).run(db.connect(made.url), **options)


def refusal(made, field):
    """Return the message with which both check and run refuse."""
    database = db.connect(made.url)
    with pytest.raises(ChangeRefused) as checked:
        phase_of(field).check(database)
    with pytest.raises(ChangeRefused) as refused:
        phase_of(field).run(database)
    assert str(refused.value) == str(checked.value)
    return str(refused.value)


# -- values


def test_a_row_is_named_whatever_values_its_key_has(world):
    made = item(world, "date UNIQUE", "'infinity'")
    field = peewee.CharField(3, null=True, unique=True)
    assert "1 row (id 1, value infinity); see: " in refusal(made, field)


NEEDS_JSONB = pytest.mark.skipif(
    not hasattr(peewee, "JSONField"), reason="Peewee 4.0 has no JSONField of its own"
)


@NEEDS_JSONB
@pytest.mark.parametrize("value", [
    """'{"a": 1, "a": 2}'""", """'[1, [{"b": {"a": 1, "a": 1}}]]'""",
    r"""'"\u0000"'""", r"""'"\ud83d"'""", r"""'["\ude00"]'""", "'1e200000'",
])  # fmt: skip
def test_json_that_jsonb_would_change_is_refused(world, value):
    made = item(world, "json", """'{"a": [{}, [], null, "a", {"a": 2}]}'""", value)
    assert "1 row (id 2)" in refusal(made, peewee.JSONField(null=True))


@NEEDS_JSONB
def test_json_becomes_jsonb(world):
    made = item(
        world,
        "json",
        "NULL",
        """'{"a": {"a": [1, null]}, "b": 1e3}'""",
        r"""'"\ud83d\ude00\u00e9"'""",
    )
    assert run(made, peewee.JSONField(null=True)).status == "migrated"
    assert made.query("SELECT value::text FROM item ORDER BY id") == [
        (None,), ('{"a": {"a": [1, null]}, "b": 1000}',), ('"😀é"',)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value", ["10.0.0.1", "10.1.0.0/16", "::1", "2001:db8::/32", "::ffff:1.2.3.4"]
)
def test_address_becomes_its_usual_text(world, value):
    made = item(world, "inet", f"'{value}'")
    assert run(made, peewee.CharField(50, null=True)).status == "migrated"
    assert made.query("SELECT value FROM item") == [(value,)]


@pytest.mark.parametrize("type_", ["integer", "bigint", "numeric(8,2)"])
@pytest.mark.parametrize("field", [
    peewee.DateField, peewee.DateTimeField, peewee.TimeField, peewee.UUIDField,
    peewee.BlobField, JSONField,
])  # fmt: skip
def test_numbers_without_a_value_become_any_type(world, type_, field):
    made = item(world, type_, "NULL")
    assert run(made, field(null=True)).status == "migrated"


def test_unlimited_numeric_is_accepted_with_a_note(world):
    made = item(world, "numeric", "1.123456789")
    report = run(made, peewee.DecimalField(10, 5, null=True))
    assert report.status == "up_to_date"
    assert [(each.severity, each.object) for each in report.differences] == [
        ("note", "item.value")
    ]
    assert made.query("SELECT value::text FROM item") == [("1.123456789",)]


# -- defaults


def test_default_of_a_moment_stays_the_same_moment(world):
    made = item(world, "timestamptz NOT NULL DEFAULT now()", "DEFAULT")
    made.execute(
        f"ALTER DATABASE {made.name} SET timezone = 'America/New_York'",
        "SET timezone = 'America/New_York'",
    )
    assert run(made, peewee.DateTimeField(), smoke_test=False).status == "migrated"
    made.execute("INSERT INTO item DEFAULT VALUES")
    hours = made.query(
        "SELECT round(extract(epoch FROM value - (now() AT TIME ZONE 'utc')) / 3600) "
        "FROM item"
    )
    assert hours == [(0,), (0,)]


@pytest.mark.parametrize(("definition", "field", "default"), [
    ("text DEFAULT 'none'", peewee.IntegerField, "'none'::text"),
    ("text DEFAULT '1.5'", peewee.IntegerField, "'1.5'::text"),
    ("numeric(12,2) DEFAULT 1.5", peewee.IntegerField, "1.5"),
    ("numeric(12,0) DEFAULT 3000000000", peewee.IntegerField, "'3000000000'::bigint"),
    ("text DEFAULT upper('a')", peewee.IntegerField, "upper('a'::text)"),
])  # fmt: skip
def test_default_that_cannot_be_converted_is_refused(world, definition, field, default):
    made = item(world, definition)
    message = refusal(made, field(null=True))
    assert f"its DEFAULT {default}" in message
    assert message.endswith('ALTER TABLE "item" ALTER COLUMN "value" DROP DEFAULT')
    made.execute(message.partition("then run again: ")[2])
    assert run(made, field(null=True)).status == "migrated"


@pytest.mark.parametrize(("definition", "field", "stored"), [
    ("text DEFAULT '7'", peewee.IntegerField, 7),
    ("integer DEFAULT 7", peewee.BigIntegerField, 7),
    ("integer DEFAULT (3 + 4)", peewee.BigIntegerField, 7),
    ("integer DEFAULT 7", peewee.TextField, "7"),
    ("smallint DEFAULT length('1234567')", peewee.IntegerField, 7),
    ("boolean DEFAULT true", peewee.IntegerField, 1),
    ("varchar(3) DEFAULT upper('a')", peewee.TextField, "A"),
    ("text DEFAULT NULL", peewee.IntegerField, None),
])  # fmt: skip
def test_default_is_converted_with_its_column(world, definition, field, stored):
    made = item(world, definition)
    assert run(made, field(null=True), smoke_test=False).status == "migrated"
    made.execute("INSERT INTO item DEFAULT VALUES")
    assert made.query("SELECT value FROM item") == [(stored,)]


# -- domains


@pytest.mark.parametrize("rule", ["CHECK (VALUE > 0)", "NOT NULL", "DEFAULT 5"])
def test_domain_that_restricts_values_is_not_replaced(world, rule):
    made = world("postgresql").make(NOTHING)
    made.execute(
        f"CREATE DOMAIN whole AS integer {rule}", "CREATE DOMAIN amount AS whole"
    )
    made.execute("CREATE TABLE item (id serial PRIMARY KEY, value amount)")
    message = refusal(made, peewee.BigIntegerField(null=True))
    assert "the domain amount, which restricts" in message
    made.execute(message.partition("run first: ")[2])
    assert run(made, peewee.BigIntegerField(null=True)).status == "up_to_date"


def test_domain_without_rules_becomes_a_plain_type(world):
    made = world("postgresql").make(NOTHING)
    made.execute(
        "CREATE DOMAIN whole AS integer",
        "CREATE TABLE item (id serial PRIMARY KEY, value whole)",
    )
    assert run(made, peewee.BigIntegerField(null=True)).status == "migrated"


# -- reserved names


def test_check_under_a_reserved_name_is_not_dropped(world):
    made = item(world, "integer, CONSTRAINT not_null_value CHECK (value <> 7)", "1")
    message = refusal(made, peewee.IntegerField())
    assert "another one has it: CHECK ((value <> 7))" in message
    assert made.query(
        "SELECT count(*) FROM pg_constraint WHERE conname = 'not_null_value'"
    ) == [(1,)]


@pytest.mark.parametrize("index", ["(value)", "(id) WHERE id > 1", "(id DESC)"])
def test_index_under_a_reserved_name_is_not_dropped(world, index):
    made = item(world, "integer", "1")
    made.execute(
        "ALTER TABLE item DROP CONSTRAINT item_pkey",
        f"CREATE INDEX item_pkey_new ON item {index}",
    )
    assert 'ALTER INDEX "item_pkey_new" RENAME TO' in refusal(
        made, peewee.IntegerField(null=True)
    )
    assert made.query(
        "SELECT count(*) FROM pg_class WHERE relname = 'item_pkey_new'"
    ) == [(1,)]


# -- tables of another application in a later schema


def test_another_schemas_table_is_left_alone(world):
    made = world("postgresql").make(NOTHING)
    database = db.connect(made.url)
    phase_4_5.run(database)
    made.execute("CREATE SCHEMA app")
    for table in ("stores", "categories", "workflows", "historical_sales"):
        made.execute(f"CREATE TABLE app.{table} (LIKE public.{table} INCLUDING ALL)")
    before = made.query(
        "SELECT oid, confrelid FROM pg_constraint "
        "WHERE conrelid = 'public.weekly_actuals'::regclass"
    )
    both = db.connect(url_of(made, query="options=-csearch_path%3Dapp,public"))
    assert phase_4_5.check(both).changes[0].description == "create table weekly_actuals"
    assert phase_4_5.rollback(both).status == "up_to_date"
    assert phase_4_5.run(both).status == "migrated"
    assert phase_4_5.run(both).status == "up_to_date"
    after = made.query(
        "SELECT oid, confrelid FROM pg_constraint "
        "WHERE conrelid = 'public.weekly_actuals'::regclass"
    )
    assert sorted(after) == sorted(before)
    assert made.query("SELECT to_regclass('app.weekly_actuals') IS NOT NULL") == [
        (True,)
    ]


def test_tables_of_one_later_schema_belong_together(world):
    made = world("postgresql").make(NOTHING)
    phase_4_5.run(db.connect(made.url))
    made.execute("CREATE SCHEMA app")
    both = db.connect(url_of(made, query="options=-csearch_path%3Dapp,public"))
    assert phase_4_5.run(both).status == "up_to_date"
