"""Uploads: no other row is overwritten, and no value is stored otherwise than given."""

import datetime
import decimal
import math

import peewee
import pytest

import db
from db.fields import AutoIncrementField, UniqueConstraint
from db.models import Uploadable
from db.uploads import UploadRefused

ENGINES = ("sqlite", "postgresql", "mysql")
NOTHING = "^nothing was uploaded: "


class Price(Uploadable):
    """Two unique keys: an upload updates by shop and week, not by code."""

    code = peewee.CharField(20, primary_key=True)
    shop = peewee.CharField(20, null=True)
    week = peewee.IntegerField()
    amount = peewee.IntegerField()

    class Meta:
        table_name = "prices"
        constraints = [UniqueConstraint("unique_shop_week", "shop", "week")]


class Reading(Uploadable):
    """A value of each type that a database may truncate."""

    number = AutoIncrementField()
    count = peewee.IntegerField(null=True)
    weight = peewee.DoubleField(null=True)
    label = peewee.CharField(4, null=True)
    price = peewee.DecimalField(10, 2, null=True)
    day = peewee.DateField(null=True)
    hour = peewee.TimeField(null=True)
    moment = peewee.DateTimeField(null=True)

    class Meta:
        table_name = "readings"


TABLES = (Price, Reading)
A = {"code": "A", "shop": "s", "week": 1, "amount": 1}
B = {"code": "B", "shop": "s", "week": 2, "amount": 2}


@pytest.fixture(scope="module", params=ENGINES)
def tables(request, servers, tmp_path_factory):
    """A database with the tables, and the world that it is in."""
    url = f"sqlite:///{tmp_path_factory.mktemp('safe')}/app.db"
    if request.param != "sqlite":
        world = servers(request.param)
        world.clear()
        url = world.url
    database = db.connect(url)
    database.engine = request.param
    with database.connection_context(), database.bind_ctx(TABLES):
        database.create_tables(TABLES)
    return database


@pytest.fixture
def database(tables):
    """The database, with the prices A and B."""
    with tables.connection_context(), tables.bind_ctx(TABLES):
        for model in TABLES:
            model.delete().execute()
        Price.bulk_insert([A, B])
        yield tables


def prices():
    rows = Price.select().order_by(Price.code, Price.week).tuples()
    return [tuple(row) for row in rows]


BOTH = [("A", "s", 1, 1), ("B", "s", 2, 2)]


def update(*rows):
    return Price.bulk_insert(rows, on_conflict="update")


# -- updates find rows by the declared key only


def test_update_changes_the_row_with_the_same_key(database):
    assert update({**A, "amount": 10}, {**B, "code": "C", "week": 3}) == 2
    assert prices() == [("A", "s", 1, 10), BOTH[1], ("C", "s", 3, 2)]


def test_update_does_not_overwrite_the_row_of_another_key(database):
    with pytest.raises(UploadRefused, match=f"{NOTHING}row 2: ") as refused:
        update({**A, "amount": 10}, {**A, "week": 3, "amount": 99})
    assert refused.value.rows[0][0] == 2
    assert prices() == BOTH


def test_update_does_not_take_the_other_key_of_a_row(database):
    with pytest.raises(UploadRefused, match=f"{NOTHING}row 1: "):
        update({**B, "code": "A"})
    assert prices() == BOTH


def test_update_with_a_missing_key_value_does_not_overwrite(database):
    Price.bulk_insert([{**A, "code": "N", "shop": None}])
    with pytest.raises(UploadRefused, match=f"{NOTHING}row 1: "):
        update({**A, "code": "N", "shop": None, "amount": 99})
    assert prices() == [*BOTH, ("N", None, 1, 1)]


def test_later_row_may_take_a_key_value_that_an_update_frees(database):
    assert update({**A, "code": "X"}, {**A, "week": 3}) == 2
    assert prices() == [("A", "s", 3, 1), BOTH[1], ("X", "s", 1, 1)]


def test_update_obeys_an_undeclared_unique_key(database):
    database.execute_sql("CREATE UNIQUE INDEX own ON prices (shop, amount)")
    try:
        with pytest.raises(UploadRefused, match=f"{NOTHING}row 1: ") as refused:
            update({**A, "code": "C", "week": 3, "amount": 2})
    finally:
        on_table = " ON prices" if database.engine == "mysql" else ""
        database.execute_sql(f"DROP INDEX own{on_table}")
    if database.engine == "mysql":
        assert "in the unique key PRIMARY (code) or own (shop, amount)" in str(
            refused.value
        )
    assert prices() == BOTH


@pytest.fixture
def without_key(database):
    """The table of prices without the key that an update finds rows by."""
    database.drop_tables([Price])
    sql = (
        "CREATE TABLE prices (code varchar(20) PRIMARY KEY, shop varchar(20), "
        "week int NOT NULL, amount int NOT NULL)"
    )
    database.execute_sql(sql)
    yield database
    database.drop_tables([Price])
    database.create_tables([Price])


def test_update_is_refused_without_the_unique_key(without_key):
    with pytest.raises(UploadRefused, match=f"{NOTHING}.*; run: python -m ") as refused:
        update(A)
    if without_key.engine == "mysql":
        reason = "prices has no unique key on (shop, week) to find existing rows by"
        assert reason in str(refused.value)
    assert prices() == []


def test_key_of_a_prefix_is_not_the_unique_key(without_key):
    if without_key.engine != "mysql":
        pytest.skip("only MySQL and MariaDB have keys of prefixes")
    without_key.execute_sql("CREATE UNIQUE INDEX part ON prices (shop(1), week)")
    with pytest.raises(UploadRefused, match="has no unique key on"):
        update(A)
    assert prices() == []


def test_order_of_the_columns_in_the_key_does_not_matter(without_key):
    without_key.execute_sql("CREATE UNIQUE INDEX turned ON prices (week, shop)")
    assert update(A) == 1
    assert update({**A, "amount": 7}) == 1
    assert prices() == [("A", "s", 1, 7)]


# -- values


@pytest.mark.parametrize("name", ["weight", "label", "price", "count", "moment"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_number_that_is_not_finite_is_refused(database, name, value):
    with pytest.raises(UploadRefused, match=f"{NOTHING}row 1: {name} is -?(nan|inf), "):
        Reading.bulk_insert([{name: value}])
    assert Reading.select().count() == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("weight", "nan"),
        ("weight", "-Infinity"),
        ("weight", "1e400"),
        ("weight", "1_0.5"),
        ("price", "NaN"),
        ("price", "1_000"),
        ("count", "1_000"),
        ("day", "2025-03-17 23:59:59"),
        ("day", "2025-03-17 00:00:00.000001"),
        ("day", datetime.datetime(2025, 3, 17, 1)),
        ("hour", "2025-03-17 10:00:00"),
        ("hour", "10:00:00+02:00"),
        ("hour", datetime.datetime(2025, 3, 17, 1)),
        ("hour", datetime.time(1, tzinfo=datetime.timezone.utc)),
        ("hour", datetime.timedelta(days=1)),
    ],
)
def test_value_that_would_be_read_otherwise_is_refused(database, name, text):
    with pytest.raises(UploadRefused, match=f"{NOTHING}row 2: {name} is .*, expected"):
        Reading.bulk_insert([{name: None}, {name: text}])
    assert Reading.select().count() == 0


@pytest.mark.parametrize(
    ("name", "given", "stored"),
    [
        ("weight", "1e300", 1e300),
        ("price", "12.500", decimal.Decimal("12.5")),
        ("day", "2025-03-17 00:00:00", datetime.date(2025, 3, 17)),
        ("hour", datetime.timedelta(hours=3), datetime.time(3)),
        ("label", "abc ", "abc "),
        (
            "moment",
            "2025-03-24 10:00:00.000000",
            datetime.datetime(2025, 3, 24, 10),
        ),
    ],
)
def test_value_that_loses_nothing_is_stored(database, name, given, stored):
    assert Reading.bulk_insert([{name: given}]) == 1
    assert [getattr(row, name) for row in Reading.select()] == [stored]


TRUNCATED = {
    "moment": datetime.datetime(2025, 3, 24, 10, 0, 0, 987654),
    "hour": datetime.time(10, 0, 0, 500000),
    "price": decimal.Decimal("1.005"),
    "label": "abc   ",
}


KEPT = {"sqlite": set(TRUNCATED), "postgresql": {"moment", "hour"}, "mysql": set()}


@pytest.mark.parametrize("name", TRUNCATED)
def test_value_is_stored_whole_or_refused(database, name):
    value = TRUNCATED[name]
    rows = [{name: None}, {name: value}]
    if name in KEPT[database.engine]:
        assert Reading.bulk_insert(rows) == 2
        assert [getattr(row, name) for row in Reading.select()] == [None, value]
        return
    with pytest.raises(UploadRefused) as refused:
        Reading.bulk_insert(rows)
    text = str(refused.value)
    assert text.startswith(f"nothing was uploaded: row 2: {name} is {value}, which ")
    assert text.endswith(" does not keep")
    assert Reading.select().count() == 0


@pytest.fixture
def exact(database):
    """The table of readings with columns that keep other fractions than usual."""
    types = {
        "sqlite": ("time", "datetime", "numeric", "varchar(9)"),
        "postgresql": ("time(1)", "timestamp(3)", "numeric(10,3)", "varchar(9)"),
        "mysql": ("time(1)", "datetime(3)", "decimal(10,3)", "varchar(9)"),
    }[database.engine]
    database.drop_tables([Reading])
    database.execute_sql(
        "CREATE TABLE readings (number int, count int, weight float, day date, "
        "hour {}, moment {}, price {}, label {})".format(*types)
    )
    yield database
    database.drop_tables([Reading])
    database.create_tables([Reading])


def test_types_of_the_table_decide_what_is_kept(exact):
    moment = datetime.datetime(2025, 3, 24, 10, 0, 0, 987000)
    hour = TRUNCATED["hour"]
    row = {**TRUNCATED, "moment": moment}
    assert Reading.bulk_insert([row]) == 1
    values = Reading.select(Reading.moment, Reading.hour, Reading.price, Reading.label)
    assert [tuple(row) for row in values.tuples()] == [
        (moment, hour, decimal.Decimal("1.005"), "abc   ")
    ]
    if exact.engine != "sqlite":
        with pytest.raises(UploadRefused, match="row 1: hour is 10:00:00.55"):
            Reading.bulk_insert([{"hour": datetime.time(10, 0, 0, 550000)}])


def test_text_that_is_too_long_is_refused_by_servers(database):
    if database.engine == "sqlite":
        pytest.skip("SQLite has no limit of length")
    with pytest.raises(UploadRefused, match=f"{NOTHING}row 1: .*(too long|label)"):
        Reading.bulk_insert([{"label": "abcdef"}])


def test_units_without_limit_are_refused_with_their_line(database):
    with pytest.raises(UploadRefused, match=f"{NOTHING}row 1: "):
        Reading.bulk_insert([{"count": 10**400}])
