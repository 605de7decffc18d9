"""The fields that Peewee lacks, on each engine."""

import datetime

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


class Note(peewee.Model):
    """Its names are reserved words, so that an unquoted name fails."""

    number = AutoIncrementField()
    order = peewee.CharField(20, default="a")
    group = peewee.IntegerField(default=1)
    at = peewee.DateTimeField(default=utc_now, constraints=[DefaultUtcNow()])
    share = FloatField(null=True)
    content = JSONField(null=True)

    class Meta:
        table_name = "references"
        constraints = [UniqueConstraint("unique", "order", "group")]


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mysql"])
def made(request, servers, tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('fields')}/app.db"
    if request.param != "sqlite":
        world = servers(request.param)
        world.clear()
        url = world.url
    database = db.connect(url)
    with database.connection_context(), database.bind_ctx([Note]):
        database.create_tables([Note])
    return database


@pytest.fixture
def database(made):
    with made.connection_context(), made.bind_ctx([Note]):
        Note.delete().execute()
        yield made


JSON_VALUES = [
    {"a": [1, None, {"é☃😀": "'\\"}]},
    [1, 2],
    [],
    {},
    "text",
    "1",
    "null",
    1,
    1.5,
    True,
    False,
    "é",
    None,
]


@pytest.mark.parametrize("value", JSON_VALUES)
def test_json_reads_back_however_it_was_written(database, value):
    created = Note.create(content=value)
    rows = [{"content": value, "group": 2}, {"content": value, "group": 3}]
    Note.insert_many(rows).execute()
    Note.update(content=value).where(Note.group == 3).execute()
    created.save()
    found = [note.content for note in Note.select()]
    assert found == [value] * 3
    assert {type(each) for each in found} == {type(value)}
    nulls = Note.select().where(Note.content.is_null()).count()
    assert nulls == (3 if value is None else 0)


@pytest.mark.parametrize(
    "value", [value for value in JSON_VALUES if not isinstance(value, str)]
)
def test_json_of_an_unbound_model_reads_back(database, value):
    Note.create(content=value)
    Note.bind(None)
    assert [note.content for note in Note.select().execute(database)] == [value]


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {1, 2}, datetime.date(2025, 1, 1)]
)
def test_value_that_json_lacks_is_refused(database, value):
    with pytest.raises((ValueError, TypeError)):
        Note.create(content=value)
    assert Note.select().count() == 0


def test_json_column_has_the_type_json(database):
    columns = database.get_columns("references")
    (content,) = (column for column in columns if column.name == "content")
    # MariaDB's JSON is an alias of LONGTEXT.
    assert content.data_type.lower() in ("json", "longtext")


def test_unique_constraint_refuses_a_duplicate(database):
    Note.create()
    with pytest.raises(peewee.IntegrityError):
        Note.create()


def test_unique_constraint_has_its_name_and_columns(database):
    names = {
        # An older Peewee leaves PostgreSQL's quotes.
        index.name: [column.strip('"') for column in index.columns]
        for index in database.get_indexes("references")
        if index.unique
    }
    assert ["order", "group"] in names.values()
    # SQLite generates the name of the index of a constraint.
    if not isinstance(database, peewee.SqliteDatabase):
        assert names["unique"] == ["order", "group"]


def test_unique_constraint_keeps_its_name_and_columns():
    (unique,) = Note._meta.constraints
    assert (unique.name, unique.columns) == ("unique", ("order", "group"))


def test_default_utc_now_ignores_the_time_zone_of_the_session(database):
    if isinstance(database, peewee.PostgresqlDatabase):
        database.execute_sql("SET TIME ZONE 'Asia/Tokyo'")
    if isinstance(database, peewee.MySQLDatabase):
        database.execute_sql("SET time_zone = '+09:00'")
    insert = 'INSERT INTO "references" ("order", "group") VALUES (\'a\', 1)'
    database.execute_sql(insert.replace('"', database.quote[0]))
    assert abs(Note.get().at - utc_now()) < datetime.timedelta(minutes=5)


def test_auto_increment_never_reuses_a_value(database):
    first = Note.create()
    first.delete_instance()
    assert Note.create().number > first.number


def test_float_has_the_precision_of_the_server(database):
    Note.create(share=0.1)
    precision = 1e-6 if isinstance(database, peewee.MySQLDatabase) else 1e-16
    assert Note.get().share == pytest.approx(0.1, rel=precision)


@pytest.mark.parametrize("made", ["postgresql"], indirect=True)
def test_float_has_8_bytes_on_postgresql(database):
    Note.create(share=0.1)
    size = database.execute_sql('SELECT pg_column_size(share) FROM "references"')
    assert size.fetchall() == [(8,)]
