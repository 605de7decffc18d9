"""The fields that Peewee lacks, as each engine takes them."""

import datetime

import peewee
import pytest

import db
from db.fields import FloatField, JSONField, LastingAutoField, UniqueKey, UtcNow, utc_now


class Note(peewee.Model):
    """Words of SQL for names, so that what is not quoted fails."""

    number = LastingAutoField()
    order = peewee.CharField(20, default="a")
    group = peewee.IntegerField(default=1)
    at = peewee.DateTimeField(default=utc_now, constraints=[UtcNow()])
    share = FloatField(null=True)
    content = JSONField(null=True)

    class Meta:
        table_name = "references"
        constraints = [UniqueKey("unique", "order", "group")]


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


def insert(database, sql):
    quote = "`{}`" if isinstance(database, peewee.MySQLDatabase) else '"{}"'
    database.execute_sql(sql.format(**{name: quote.format(name) for name in ("references", "order", "group")}))


ANY = [{"a": [1, None, {"é☃😀": "'\\"}]}, [1, 2], [], {}, "text", "1", "null", 1, 1.5, True, False, "é", None]


@pytest.mark.parametrize("value", ANY)
def test_json_reads_back_however_it_was_written(database, value):
    created = Note.create(content=value)
    Note.insert_many([{"content": value, "group": 2}, {"content": value, "group": 3}]).execute()
    Note.update(content=value).where(Note.group == 3).execute()
    created.save()
    found = [note.content for note in Note.select()]
    assert found == [value] * 3
    assert {type(each) for each in found} == {type(value)}
    assert Note.select().where(Note.content.is_null()).count() == (3 if value is None else 0)


@pytest.mark.parametrize("value", [value for value in ANY if not isinstance(value, str)])
def test_json_reads_back_where_the_database_is_passed(database, value):
    Note.create(content=value)
    Note.bind(None)
    assert [note.content for note in Note.select().execute(database)] == [value]


def test_what_json_lacks_is_no_value(database):
    for value in (float("nan"), float("inf"), {1, 2}, datetime.date(2025, 1, 1)):
        with pytest.raises((ValueError, TypeError)):
            Note.create(content=value)
    assert Note.select().count() == 0


def test_json_is_the_engines_own_type(database):
    ((column,),) = ([each.data_type for each in database.get_columns("references") if each.name == "content"],)
    assert column.lower() in ("json", "longtext")  # MariaDB's JSON is another word for it


def test_the_unique_key_refuses_by_its_name(database):
    Note.create()
    with pytest.raises(peewee.IntegrityError):
        Note.create()
    names = {
        index.name: [column.strip('"') for column in index.columns]  # an older Peewee leaves PostgreSQL's quotes
        for index in database.get_indexes("references")
        if index.unique
    }
    assert ["order", "group"] in names.values()
    if not isinstance(database, peewee.SqliteDatabase):  # which gives constraints' indexes names of its own
        assert names["unique"] == ["order", "group"]


def test_the_unique_key_tells_its_name_and_columns():
    (key,) = Note._meta.constraints
    assert (key.name, key.columns) == ("unique", ("order", "group"))


def test_now_is_utc_wherever_the_session_is(database):
    if isinstance(database, peewee.PostgresqlDatabase):
        database.execute_sql("SET TIME ZONE 'Asia/Tokyo'")
    if isinstance(database, peewee.MySQLDatabase):
        database.execute_sql("SET time_zone = '+09:00'")
    insert(database, "INSERT INTO {references} ({order}, {group}) VALUES ('a', 1)")
    assert abs(Note.get().at - utc_now()) < datetime.timedelta(minutes=5)


def test_a_key_is_never_given_out_twice(database):
    first = Note.create()
    first.delete_instance()
    assert Note.create().number > first.number


def test_float_is_what_the_server_understands_by_it(database):
    Note.create(share=0.1)
    width = 4 if isinstance(database, peewee.MySQLDatabase) else 8
    assert Note.get().share == pytest.approx(0.1, rel=1e-6 if width == 4 else 1e-16)
    if isinstance(database, peewee.PostgresqlDatabase):
        assert database.execute_sql('SELECT pg_column_size(share) FROM "references"').fetchall() == [(8,)]
