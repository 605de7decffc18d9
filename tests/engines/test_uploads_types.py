"""Values of every type of field: inserted by `bulk_insert`, and read back."""

import datetime
import decimal
import re
import sqlite3
import uuid

import peewee
import pytest

import db
from db.fields import (
    AutoIncrementField,
    DefaultUtcNow,
    FloatField,
    JSONField,
    UniqueConstraint,
    utc_now,
)
from db.models import Uploadable
from db.uploads import UploadRefused
from db.url import describe, shell_word

EXISTS = "already exists or is given twice"
KEY = uuid.UUID("12345678-1234-5678-1234-567812345678")
UTC = datetime.timezone.utc


class Parcel(Uploadable):
    """A table whose names are keywords; its key is a text, and refers to itself."""

    key = peewee.CharField(20, primary_key=True)
    parent = peewee.ForeignKeyField("self", null=True, column_name="group")
    order = peewee.IntegerField(default=7)

    class Meta:
        table_name = "select"


class Depot(Uploadable):
    depot_id = peewee.UUIDField(primary_key=True, default=uuid.uuid4)
    name = peewee.CharField(20)


class Box(Uploadable):
    number = AutoIncrementField()
    depot = peewee.ForeignKeyField(Depot, null=True)
    parcel = peewee.ForeignKeyField(Parcel, null=True)
    small = peewee.SmallIntegerField(null=True)
    big = peewee.BigIntegerField(null=True)
    fixed = peewee.FixedCharField(4, null=True)
    text = peewee.TextField(null=True)
    truth = peewee.BooleanField(null=True)
    price = peewee.DecimalField(10, 2, null=True)
    rounded = peewee.DecimalField(10, 2, null=True, auto_round=True)
    float = FloatField(null=True)
    single = peewee.FloatField(null=True)
    double = peewee.DoubleField(null=True)
    day = peewee.DateField(null=True)
    hour = peewee.TimeField(null=True)
    moment = peewee.DateTimeField(null=True)
    uuid = peewee.UUIDField(null=True)
    uuid_bytes = peewee.BinaryUUIDField(null=True)
    blob = peewee.BlobField(null=True)
    json = JSONField(null=True)
    at = peewee.DateTimeField(default=utc_now, constraints=[DefaultUtcNow()])
    counted = peewee.IntegerField(constraints=[peewee.SQL("DEFAULT 5")])


class Place(Uploadable):
    """A composite primary key, and a unique constraint."""

    aisle = peewee.IntegerField()
    shelf = peewee.CharField(5)
    box = peewee.ForeignKeyField(Box, null=True)
    label = peewee.CharField(20, null=True)
    note = peewee.CharField(20, null=True)

    class Meta:
        primary_key = peewee.CompositeKey("aisle", "shelf")
        constraints = [
            UniqueConstraint("unique_label", "label"),
            peewee.SQL("CONSTRAINT check_aisle CHECK (aisle > 0)"),
        ]


class Slot(Uploadable):
    """A table that has only key columns."""

    aisle = peewee.IntegerField()
    shelf = peewee.CharField(5)

    class Meta:
        primary_key = peewee.CompositeKey("aisle", "shelf")


class Ticket(Uploadable):
    """A key for which only the database has a default."""

    series = peewee.CharField(
        10, primary_key=True, constraints=[peewee.SQL("DEFAULT 'first'")]
    )
    note = peewee.CharField(10, null=True)


class Shouted(peewee.CharField):
    def db_value(self, value):
        return value if value is None else value.upper()


class Sign(Uploadable):
    text = Shouted(20)


if hasattr(peewee, "JSONField"):  # not in every Peewee

    class Peewees(Uploadable):
        content = peewee.JSONField(null=True)


TABLES = (Depot, Parcel, Box, Place, Slot, Sign, Ticket)


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mysql"])
def made(request, servers, tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('types')}/app.db"
    if request.param != "sqlite":
        world = servers(request.param)
        world.clear()
        url = world.url
    database = db.connect(url)
    with database.connection_context(), database.bind_ctx(TABLES):
        database.create_tables(TABLES)
    return database


@pytest.fixture
def database(made):
    """Every table, empty, and the models bound to it."""
    with made.connection_context(), made.bind_ctx(TABLES):
        for table in reversed(TABLES):
            table.update(
                dict.fromkeys(table._meta.refs)
            ).execute() if table is Parcel else None
            table.delete().execute()
        yield made


def stored(field):
    return [row[0] for row in Box.select(field).order_by(Box.number).tuples()]


@pytest.mark.parametrize(
    ("name", "given", "meant"),
    [
        ("small", -32768, -32768),
        ("small", "12", 12),
        ("small", 3.0, 3),
        ("small", True, 1),
        ("big", 2**63 - 1, 2**63 - 1),
        ("fixed", "abcd", "abcd"),
        (
            "text",
            "%s \\t \\N \\. '\" \t\r\n \\' é ☃ 😀 ;--",
            "%s \\t \\N \\. '\" \t\r\n \\' é ☃ 😀 ;--",
        ),
        ("text", "", ""),
        ("text", b"bytes", "bytes"),
        ("text", 5, "5"),
        ("truth", True, True),
        ("truth", False, False),
        ("truth", "false", False),
        ("truth", "No", False),
        ("truth", "1", True),
        ("truth", 0, False),
        ("price", decimal.Decimal("12345678.91"), decimal.Decimal("12345678.91")),
        ("price", decimal.Decimal("1E+3"), decimal.Decimal("1000")),
        ("price", "-0.05", decimal.Decimal("-0.05")),
        ("price", 0.1, decimal.Decimal("0.1")),
        ("price", 0, decimal.Decimal(0)),
        ("rounded", "1.005", decimal.Decimal("1.00")),
        ("float", 0.25, 0.25),
        ("float", 7, 7.0),
        ("single", -0.5, -0.5),
        ("double", 0.1, 0.1),
        ("double", 5e-324, 5e-324),
        ("double", 1.7976931348623157e308, 1.7976931348623157e308),
        ("double", "2.5", 2.5),
        ("day", datetime.date(2025, 3, 3), datetime.date(2025, 3, 3)),
        ("day", datetime.datetime(2025, 3, 3), datetime.date(2025, 3, 3)),
        ("day", "2025-03-03", datetime.date(2025, 3, 3)),
        ("hour", datetime.time(23, 59, 58), datetime.time(23, 59, 58)),
        ("hour", "04:05", datetime.time(4, 5)),
        (
            "moment",
            datetime.datetime(2025, 3, 3, 4, 5, 6),
            datetime.datetime(2025, 3, 3, 4, 5, 6),
        ),
        ("moment", "2025-03-03 04:05:06", datetime.datetime(2025, 3, 3, 4, 5, 6)),
        (
            "moment",
            datetime.datetime(2025, 3, 3, 4, tzinfo=UTC),
            datetime.datetime(2025, 3, 3, 4),
        ),
        (
            "moment",
            datetime.datetime(
                2025, 3, 3, 4, tzinfo=datetime.timezone(datetime.timedelta(hours=-5))
            ),
            datetime.datetime(2025, 3, 3, 9),
        ),
        ("uuid", KEY, KEY),
        ("uuid", str(KEY), KEY),
        ("uuid", KEY.bytes, KEY),
        ("uuid_bytes", KEY, KEY),
        ("uuid_bytes", KEY.hex, KEY),
        ("blob", bytes(range(256)), bytes(range(256))),
        ("blob", b"", b""),
        ("blob", bytearray(b"\\x00'"), b"\\x00'"),
        ("blob", "é", "é".encode()),
        (
            "json",
            {"a": [1, None, "'\\"], "é": {"b": True}},
            {"a": [1, None, "'\\"], "é": {"b": True}},
        ),
        ("json", [1, 2], [1, 2]),
        ("json", "text", "text"),
        ("json", "12", "12"),
        ("json", 12, 12),
        ("json", False, False),
        ("depot", None, None),
    ],
)
def test_value_reads_back(database, name, given, meant):
    assert Box.bulk_insert([{name: given}, {name: None}]) == 2
    found = stored(getattr(Box, name))
    found = [
        value.tobytes() if isinstance(value, memoryview) else value for value in found
    ]
    assert found == [meant, None]
    assert type(found[0]) is type(meant)


@pytest.mark.parametrize(
    "name",
    [
        "small",
        "text",
        "truth",
        "price",
        "float",
        "day",
        "hour",
        "moment",
        "uuid",
        "uuid_bytes",
        "blob",
        "json",
    ],
)
def test_value_is_stored_as_by_peewee(database, name):
    value = {
        "small": 3,
        "text": "é",
        "truth": True,
        "price": decimal.Decimal("1.50"),
        "float": 0.5,
        "hour": "04:05:06",
        "day": datetime.date(2025, 3, 3),
        "moment": datetime.datetime(2025, 3, 3, 4, 5),
        "blob": b"\\x00",
        "uuid": KEY,
        "uuid_bytes": KEY,
        "json": {"a": [1]},
    }[name]
    Box.bulk_insert([{name: value}])
    Box.insert_many([{name: value, "counted": 5}]).execute()
    table, column = Box._meta.table_name, peewee.Entity(getattr(Box, name).column_name)
    rows = database.execute(
        peewee.Select([peewee.Table(table)], [column]).order_by(peewee.SQL("number"))
    ).fetchall()
    ours, peewees = (
        bytes(row[0]) if isinstance(row[0], memoryview) else row[0] for row in rows
    )
    assert (type(ours), ours) == (type(peewees), peewees)


@pytest.mark.parametrize(
    ("name", "bad", "says"),
    [
        ("small", "many", "small is 'many', expected an integer"),
        ("small", 3.7, "small is 3.7, expected an integer"),
        (
            "small",
            decimal.Decimal("0.5"),
            "small is Decimal..0.5.., expected an integer",
        ),
        (
            "small",
            " 5 x",
            "small is ' 5 x', with leading or trailing spaces, expected an integer",
        ),
        ("truth", "maybe", "truth is 'maybe', expected a boolean .true or false."),
        ("truth", 2, "truth is 2, expected a boolean .true or false."),
        ("price", "dear", "price is 'dear', expected a decimal number"),
        ("price", float("nan"), "price is nan, expected a decimal number"),
        ("float", "x", "float is 'x', expected a number"),
        ("day", "3rd of March", "day is '3rd of March', expected a date .YYYY-MM-DD."),
        (
            "day",
            " 2025-03-03 ",
            "day is ' 2025-03-03 ', with leading or trailing spaces, "
            "expected a date .YYYY-MM-DD.",
        ),
        ("hour", "noon", "hour is 'noon', expected a time .HH:MM:SS."),
        ("moment", 5, "moment is 5, expected a date and time .YYYY-MM-DD HH:MM:SS."),
        ("uuid", "x" * 32, "uuid is 'x{32}', expected a UUID"),
        ("uuid_bytes", 5, "uuid_bytes is 5, expected a UUID"),
        ("blob", 5, "blob is 5, expected bytes"),
        ("json", {1, 2}, "json is .1, 2., expected a JSON value"),
        ("json", float("nan"), "json is nan, expected a JSON value"),
        ("text", ["a"], "text is ..a.., expected a text"),
        ("depot", "x", "depot_id is 'x', expected a UUID"),
        ("counted", None, "counted is missing"),
    ],
)
def test_bad_value_is_refused_with_a_reason(database, name, bad, says):
    with pytest.raises(
        UploadRefused, match=f"^nothing was uploaded: row 2: {says}$"
    ) as refused:
        Box.bulk_insert([{name: None if name != "counted" else 1}, {name: bad}])
    assert refused.value.rows[0][0] == 2
    assert Box.select().count() == 0


def test_row_that_fails_a_check_is_found_among_many(database):
    rows = [{"aisle": n, "shelf": "a"} for n in range(1, 40)]
    with pytest.raises(UploadRefused, match="row 31: .*check_aisle") as refused:
        Place.bulk_insert([*rows[:30], {"aisle": 0, "shelf": "b"}, *rows[30:]])
    assert refused.value.rows[0][0] == 31
    assert Place.select().count() == 0


@pytest.mark.parametrize("at", [1, 2, 3, 7, 8])
def test_row_that_fails_a_check_is_found_at_any_position(database, at):
    rows = [{"aisle": 0 if n == at else n, "shelf": "a"} for n in range(1, 9)]
    with pytest.raises(UploadRefused, match=f"row {at}: "):
        Place.bulk_insert(rows)
    with pytest.raises(UploadRefused, match=f"row {at}: "):
        Place.bulk_insert(rows, batch_size=3)


def test_missing_values_get_the_defaults(database):
    Box.bulk_insert([{}, {"small": 1}])
    assert Box.select(Box.counted, Box.small).order_by(Box.number).tuples()[:] == [
        (5, None),
        (5, 1),
    ]
    assert len(set(stored(Box.at))) == 1
    Depot.bulk_insert([{"name": "a"}, {"name": "b"}])
    assert len({depot.depot_id for depot in Depot.select()}) == 2
    Parcel.bulk_insert([{"key": "a"}, {"key": "b", "order": 8}])
    assert Parcel.select(Parcel.order).order_by(Parcel.key).tuples()[:] == [(7,), (8,)]


def test_foreign_keys_of_all_types_are_stored(database):
    depot = Depot.create(name="a")
    Parcel.bulk_insert(
        [
            {"key": "root"},
            {"key": "leaf", "parent": "root"},
            {"key": "twig", "parent": "leaf"},
        ]
    )
    Box.bulk_insert(
        [
            {"depot": depot, "parcel": "leaf"},
            {"depot": str(depot.depot_id), "parcel": None},
        ]
    )
    assert [box.depot.name for box in Box.select()] == ["a", "a"]
    assert Parcel.get_by_id("twig").parent.parent.key == "root"
    with pytest.raises(UploadRefused, match="row 2: there is no parent 'nobody'$"):
        Parcel.bulk_insert([{"key": "x"}, {"key": "y", "parent": "nobody"}])
    with pytest.raises(UploadRefused, match=f"row 1: there is no depot '{KEY.hex}'$"):
        Box.bulk_insert([{"depot": KEY}])


def test_parent_in_the_same_batch_is_not_reported_missing(database):
    rows = [{"key": "a"}, {"key": "b", "parent": "a"}, {"key": "a"}]
    with pytest.raises(UploadRefused) as refused:
        Parcel.bulk_insert(rows)
    assert refused.value.rows == ((3, f"key a {EXISTS}"),)


def test_row_with_a_text_key_is_updated(database):
    Parcel.bulk_insert([{"key": "a", "order": 1}, {"key": "b"}])
    with pytest.raises(
        UploadRefused, match="row 2: key a already exists or is given twice$"
    ):
        Parcel.bulk_insert([{"key": "c"}, {"key": "a"}])
    Parcel.bulk_insert(
        [{"key": "a", "order": 3}, {"key": "c"}, {"key": "a", "order": 4}],
        on_conflict="update",
    )
    assert Parcel.select(Parcel.key, Parcel.order).order_by(Parcel.key).tuples()[:] == [
        ("a", 4),
        ("b", 7),
        ("c", 7),
    ]


def test_update_uses_the_unique_constraint_first(database):
    Place.bulk_insert([{"aisle": 1, "shelf": "a", "label": "x"}])
    Place.bulk_insert(
        [{"aisle": 2, "shelf": "b", "label": "x", "note": "moved"}],
        on_conflict="update",
    )
    assert [(place.aisle, place.shelf, place.note) for place in Place.select()] == [
        (2, "b", "moved")
    ]


def test_update_keeps_all_rows_without_a_key(database):
    rows = [{"aisle": n, "shelf": "a", "label": None} for n in (1, 2, 3)]
    assert Place.bulk_insert(rows, on_conflict="update") == 3
    assert Place.select().count() == 3


def test_duplicates_of_both_keys_are_named(database):
    Place.bulk_insert([{"aisle": 1, "shelf": "a", "label": "x"}])
    with pytest.raises(
        UploadRefused,
        match=f"row 1: label x {EXISTS}; row 2: aisle 1, shelf a {EXISTS}$",
    ):
        Place.bulk_insert(
            [{"aisle": 3, "shelf": "a", "label": "x"}, {"aisle": 1, "shelf": "a"}]
        )


def test_table_of_key_columns_can_be_updated(database):
    for _ in range(2):
        assert (
            Slot.bulk_insert(
                [{"aisle": 1, "shelf": "a"}, {"aisle": 1, "shelf": "b"}],
                on_conflict="update",
            )
            == 2
        )
    assert Slot.select().count() == 2


def test_update_without_a_unique_key_is_a_value_error(database):
    with pytest.raises(
        ValueError, match="Sign has no unique key to find existing rows by"
    ):
        Sign.bulk_insert([{"text": "a"}], on_conflict="update")


def test_key_with_a_default_of_the_database_may_be_missing(database):
    Ticket.bulk_insert([{"note": "a"}])
    assert Ticket.get().series == "first"
    with pytest.raises(UploadRefused, match="row 1: "):
        Ticket.bulk_insert([{"note": "b"}])
    with pytest.raises(UploadRefused, match="row 1: series is missing"):
        Ticket.bulk_insert([{"note": "b"}], on_conflict="update")


def test_custom_field_converts_its_values(database):
    Sign.bulk_insert([{"text": "exit"}])
    assert Sign.get().text == "EXIT"


@pytest.mark.parametrize("other", ["ab", 5])
def test_text_too_long_for_a_fixed_char_is_not_cut(database, other):
    """Peewee would cut it. SQLite has no limit for it."""
    rows = [{"fixed": other}, {"fixed": "abcdef"}]
    if isinstance(database, peewee.SqliteDatabase):
        Box.bulk_insert(rows)
        found = database.execute_sql("SELECT fixed FROM box ORDER BY number")
        assert found.fetchall() == [(str(other),), ("abcdef",)]
    else:
        with pytest.raises(UploadRefused, match="row 2: .*too long"):
            Box.bulk_insert(rows)


def test_list_for_a_custom_field_is_refused(database):
    expected = "row 1: text is ..exit.., expected a value of Shouted$"
    with pytest.raises(UploadRefused, match=expected):
        Sign.bulk_insert([{"text": ["exit"]}])


def test_batch_larger_than_a_statement_is_inserted(database):
    """MariaDB accepts 16 megabytes at a time."""
    assert Box.bulk_insert({"text": f"{n:04}" * 15_000} for n in range(400)) == 400
    assert sum(len(text) for text in stored(Box.text)) == 400 * 60_000


@pytest.mark.parametrize("made", ["mysql"], indirect=True)
def test_server_without_strict_mode_changes_no_value(database):
    database.execute_sql("SET sql_mode = 'PIPES_AS_CONCAT'")
    with pytest.raises(
        UploadRefused, match="row 2: Out of range value for column 'small'"
    ):
        Box.bulk_insert([{"small": 1}, {"small": 2**17}])
    Box.bulk_insert([{"small": 1}])
    assert database.execute_sql("SELECT @@sql_mode").fetchall() == (
        ("PIPES_AS_CONCAT",),
    )


@pytest.mark.parametrize("made", ["mysql"], indirect=True)
def test_connection_is_in_strict_mode(database):
    ((mode,),) = database.execute_sql("SELECT @@sql_mode").fetchall()
    assert "STRICT_TRANS_TABLES" in mode


@pytest.mark.skipif(
    not hasattr(peewee, "JSONField") or sqlite3.sqlite_version_info < (3, 38),
    reason="Peewee's own needs SQLite 3.38",
)
def test_json_field_of_peewee_reads_back(made):
    with made.connection_context(), made.bind_ctx([Peewees]):
        made.create_tables([Peewees])
        Peewees.bulk_insert([{"content": {"a": ["é", None]}}, {"content": "text"}, {}])
        found = [each.content for each in Peewees.select().order_by(Peewees.id)]
        assert found == [{"a": ["é", None]}, "text", None]


def hint_to_create(database, cause):
    """Return the pattern of a refusal whose cause goes with db.init_db."""
    url = re.escape(shell_word(describe(database)))
    return f"{cause}.*; run: python -m db.init_db --base-only --database {url}$"


def test_missing_table_names_the_command_to_run(database):
    class Nowhere(Uploadable):
        name = peewee.CharField()

    hint = hint_to_create(database, "nowhere")
    with pytest.raises(UploadRefused, match=hint) as refused:
        Nowhere.bulk_insert([{"name": "a"}], database=database)
    assert "\n" not in str(refused.value)


def test_missing_column_names_the_command_to_run(database):
    class Sign(Uploadable):
        text = peewee.CharField()
        colour = peewee.CharField()

        class Meta:
            table_name = "sign"

    with pytest.raises(UploadRefused, match=hint_to_create(database, "colour")):
        Sign.bulk_insert([{"text": "a", "colour": "red"}], database=database)


# MariaDB's ON DUPLICATE KEY UPDATE names no key, so it does not miss one.
@pytest.mark.parametrize("made", ["sqlite", "postgresql"], indirect=True)
def test_no_unique_key_for_an_update_says_what_makes_it(database):
    class Sign(Uploadable):
        text = peewee.CharField()

        class Meta:
            table_name = "sign"
            constraints = [UniqueConstraint("unique_text", "text")]

    with pytest.raises(UploadRefused, match=hint_to_create(database, "ON CONFLICT")):
        Sign.bulk_insert([{"text": "a"}], on_conflict="update", database=database)
