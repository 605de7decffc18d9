"""Tables without a primary key, keys that accept NULL, and options of a table."""

import peewee
import pytest
from engines.shapes import model
from peewee import CharField, Check, IntegerField, TextField
from states import ENGINES

import db
from migrations.errors import ChangeRefused, UnsupportedModel
from migrations.phase import Phase

WITHOUT_KEY = {"primary_key": False}


def phase_of(*models):
    return Phase("Things", requires={}, manages=models)


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_without_a_key_are_counted_and_can_be_selected(target):
    checked = {**WITHOUT_KEY, "constraints": [Check("word <> 'a'")]}
    plain = model(meta=WITHOUT_KEY, word=CharField(9))
    other = model(meta=checked, word=CharField(9))
    database = db.connect(target.url)
    phase_of(plain).ensure(database)
    target.execute("INSERT INTO things VALUES ('a'), ('a'), ('b')")
    with pytest.raises(ChangeRefused, match=r"no such CHECK: 2 rows; see: SELECT \*"):
        phase_of(other).run(database)
    target.execute("DELETE FROM things WHERE word = 'a'")
    assert phase_of(other).run(database).status == "migrated"


@pytest.mark.parametrize("engine", ENGINES)
def test_smoke_test_says_why_it_cannot_select_without_a_key(target, caplog):
    plain = model(meta=WITHOUT_KEY, word=CharField(9))
    report = phase_of(plain).run(db.connect(target.url))
    assert (report.smoke_test["insert"], report.smoke_test["select"]) == (True, None)
    assert "no unique key finds the row again" in caplog.text


@pytest.mark.parametrize("engine", ENGINES)
def test_undeclared_primary_key_is_reported_and_stays(target):
    database = db.connect(target.url)
    phase_of(model(word=CharField(9))).ensure(database)
    report = phase_of(model(meta=WITHOUT_KEY, word=CharField(9))).run(database)
    assert report.status == "up_to_date"
    (message,) = [
        each.message for each in report.differences if each.actual.startswith("PRIMARY")
    ]
    assert message == (
        "things: PRIMARY KEY (id) rejects rows that the model allows; it is not in the "
        "model"
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_required_table_without_a_key_is_accepted(target):
    required = model(meta=WITHOUT_KEY, word=CharField(9))
    database = db.connect(target.url)
    phase_of(required).ensure(database)
    other = model("others", "Other", n=IntegerField())
    phase = Phase("Others", requires={required: ()}, manages=[other])
    assert phase.run(database).status == "migrated"


@pytest.mark.parametrize("engine", ["sqlite"])
def test_key_that_accepts_null_is_made_of_columns_with_nulls(target):
    target.execute(
        "CREATE TABLE things (code VARCHAR(9), n INTEGER NOT NULL)",
        "INSERT INTO things VALUES (NULL, 1), ('a', 2)",
    )
    made = model(code=CharField(9, primary_key=True, null=True), n=IntegerField())
    database = db.connect(target.url)
    assert phase_of(made).run(database).status == "migrated"
    assert phase_of(made).check(database).differences == ()
    assert target.query("SELECT * FROM things ORDER BY n") == [(None, 1), ("a", 2)]


SETTINGS = {"postgresql": "WITH (fillfactor=70)", "mysql": "COMMENT='50% of it'"}


@pytest.mark.parametrize("engine", list(SETTINGS))
def test_settings_of_a_table_are_written_and_not_compared(target, engine):
    made = model(meta={"table_settings": SETTINGS[engine]}, n=IntegerField())
    database = db.connect(target.url)
    report = phase_of(made).run(database)
    assert SETTINGS[engine] in report.changes[0].sql
    (difference,) = phase_of(made).check(database).differences
    assert (difference.severity, difference.actual) == ("note", "not compared")
    if engine == "postgresql":
        query = "SELECT reloptions::text FROM pg_class WHERE relname = 'things'"
        assert target.query(query) == [("{fillfactor=70}",)]


@pytest.mark.parametrize(
    ("engine", "settings", "problem"),
    [
        (
            "sqlite",
            "STRICT",
            "Meta.table_settings 'STRICT' is not supported on SQLite; "
            "use Meta.strict_tables and Meta.without_rowid",
        ),
        (
            "mysql",
            ["CHARSET=utf8mb4", "engine = Steam"],
            "the server has no storage engine steam; use ENGINE=InnoDB",
        ),
    ],
)
def test_other_settings_are_refused(target, settings, problem):
    made = model(meta={"table_settings": settings}, n=IntegerField())
    with pytest.raises(UnsupportedModel) as refused:
        phase_of(made).check(db.connect(target.url))
    assert str(refused.value) == f"Thing: {problem}"


@pytest.mark.parametrize("engine", ["sqlite"])
@pytest.mark.parametrize("option", ["strict_tables", "without_rowid"])
def test_other_options_of_a_table_are_reported(target, option):
    database = db.connect(target.url)
    fields = {"code": TextField(primary_key=True), "n": IntegerField()}
    plain, special = model(**fields), model(meta={option: True}, **fields)
    phase_of(special).ensure(database)
    (difference,) = phase_of(plain).run(database).differences
    assert (difference.severity, difference.expected) == ("warning", "no options")
    phase_of(special).rollback(database)
    phase_of(plain).ensure(database)
    (difference,) = phase_of(special).run(database).differences
    assert (difference.severity, difference.actual) == ("warning", "no options")


@pytest.mark.parametrize("engine", ["sqlite"])
def test_strict_table_is_changed_with_its_rows(target):
    database = db.connect(target.url)
    first = model(meta={"strict_tables": True}, n=TextField())
    phase_of(first).ensure(database)
    target.execute("INSERT INTO things (n) VALUES ('7')")
    second = model(
        meta={"strict_tables": True},
        n=IntegerField(),
        data=peewee.AnyField(null=True),
        word=TextField(unique=True, null=True),
    )
    assert phase_of(second).run(database).status == "migrated"
    assert phase_of(second).check(database).differences == ()
    assert target.query("SELECT n, typeof(n) FROM things") == [(7, "integer")]
