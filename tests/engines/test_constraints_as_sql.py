"""Constraints of models that are written as SQL, with a name or without one."""

import re

import pytest
from engines.shapes import model
from peewee import (
    SQL,
    AutoField,
    CharField,
    DateTimeField,
    IdentityField,
    IntegerField,
)
from states import ENGINES

import db
from migrations.errors import UnsupportedModel
from migrations.phase import Phase

UNIQUE_A_B = {"constraints": [SQL("UNIQUE (a, b)")]}
TWO_COLUMNS = (
    "CREATE TABLE things (id INTEGER PRIMARY KEY, a INTEGER NOT NULL, "
    "b INTEGER NOT NULL)"
)
TWO_ROWS = "INSERT INTO things (id, a, b) VALUES (1, 1, 1), (2, 1, 2)"
# Of an index on (a, b).
INDEX_NAMES = {
    "postgresql": (
        "SELECT indexrelid::regclass::text FROM pg_index "
        "WHERE indrelid = 'things'::regclass AND NOT indisprimary ORDER BY 1"
    ),
    "mysql": (
        "SELECT DISTINCT index_name FROM information_schema.statistics "
        "WHERE table_schema = DATABASE() AND index_name <> 'PRIMARY' ORDER BY 1"
    ),
    "sqlite": (
        "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL "
        "ORDER BY 1"
    ),
}


def phase_of(**fields):
    fields.setdefault("id", IntegerField(primary_key=True))
    return Phase("Things", requires={}, manages=[model(**fields)])


def unique_a_b():
    return phase_of(meta=UNIQUE_A_B, a=IntegerField(), b=IntegerField())


def index_names(target):
    return [name for (name,) in target.query(INDEX_NAMES[target.engine])]


def messages(report):
    return [each.message for each in report.differences]


@pytest.mark.parametrize("engine", ENGINES)
def test_unique_index_of_any_name_is_accepted_without_a_note(target):
    target.execute(TWO_COLUMNS, "CREATE UNIQUE INDEX anything ON things (a, b)")
    assert messages(unique_a_b().check(db.connect(target.url))) == []


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rows", [[], [TWO_ROWS]])
def test_unique_without_a_name_gets_the_next_free_name(target, rows):
    first, second = {
        "postgresql": ("things_a_b_key", "things_a_b_key1"),
        "mysql": ("a", "a_2"),
        "sqlite": ("things_a_b_key", "things_a_b_key1"),
    }[target.engine]
    target.execute(TWO_COLUMNS, *rows, f"CREATE INDEX {first} ON things (b)")
    database = db.connect(target.url)
    assert unique_a_b().run(database).status == "migrated"
    assert index_names(target) == [first, second]
    assert messages(unique_a_b().check(database)) == [
        f"things.{first}: the index (b) is not in the model"
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_that_violate_a_unique_without_a_name_are_named(target):
    target.execute(TWO_COLUMNS, TWO_ROWS, "UPDATE things SET b = 1")
    with pytest.raises(Exception, match=r"things\.UNIQUE \(a, b\): 1 group|2 rows"):
        unique_a_b().run(db.connect(target.url))


@pytest.mark.parametrize("engine", ["postgresql"])
def test_long_names_are_cut_as_postgresql_cuts_them(target):
    table, column = "t" * 50, "c" * 40
    made = model(
        table_name=table,
        meta={"constraints": [SQL(f"UNIQUE ({column}, a)")]},
        a=IntegerField(),
        **{column: IntegerField()},
    )
    database = db.connect(target.url)
    with database.bind_ctx([made]), database.connection_context():
        database.create_tables([made])
    name = (
        "SELECT conname FROM pg_constraint "
        f"WHERE contype = 'u' AND conrelid = '{table}'::regclass"
    )
    by_peewee = target.query(name)
    target.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{by_peewee[0][0]}"')
    Phase("Things", requires={}, manages=[made]).run(database)
    assert target.query(name) == by_peewee


@pytest.mark.parametrize("engine", ENGINES)
def test_column_is_added_to_rows_with_its_unique_and_its_reference(target):
    phase = phase_of(
        a=IntegerField(),
        b=IntegerField(null=True, constraints=[SQL("REFERENCES things (id) UNIQUE")]),
    )
    target.execute(
        "CREATE TABLE things (id INTEGER PRIMARY KEY, a INTEGER NOT NULL)",
        "INSERT INTO things (id, a) VALUES (1, 1), (2, 2)",
    )
    database = db.connect(target.url)
    assert phase.run(database).status == "migrated"
    assert messages(phase.check(database)) == []
    target.execute("UPDATE things SET b = 1 WHERE id = 2")
    if target.engine == "sqlite":
        target.execute("PRAGMA foreign_keys = 1")
    for wrong in ("UPDATE things SET b = 1", "UPDATE things SET b = 9 WHERE id = 2"):
        with pytest.raises(Exception, match="(?i)unique|duplicate|foreign key"):
            target.execute(wrong)


# -- clauses that only MariaDB and MySQL have


def times():
    return phase_of(
        at=DateTimeField(
            constraints=[SQL("DEFAULT NOW() ON UPDATE NOW() COMMENT 'it''s changed'")]
        ),
        n=IntegerField(constraints=[SQL("COMMENT 'a number'")]),
    )


@pytest.mark.parametrize("engine", ["mysql"])
def test_on_update_and_comment_are_replaced_and_other_clauses_are_kept(target):
    target.execute(
        "CREATE TABLE things (id INTEGER NOT NULL PRIMARY KEY, at DATETIME NOT NULL "
        "DEFAULT CURRENT_TIMESTAMP COMMENT 'old', n INTEGER NOT NULL DEFAULT 7 "
        "COMMENT 'b number')",
        "INSERT INTO things (id, at) VALUES (1, '2025-01-02')",
    )
    database = db.connect(target.url)
    report = times().run(database)
    assert [each.message for each in report.repaired] == [
        "things.at: expected ON UPDATE NOW(), found no such clause",
        "things.at: expected COMMENT 'it''s changed', found COMMENT 'old'",
        "things.n: expected COMMENT 'a number', found COMMENT 'b number'",
    ]
    assert [each.blocks for each in report.changes] == [None, None]
    ((_, text),) = target.query("SHOW CREATE TABLE things")
    assert "COMMENT 'it''s changed'" in text
    assert "COMMENT 'a number'" in text
    assert "DEFAULT 7" in text.replace("'", "")
    assert messages(times().check(database)) == [
        "things.n: DEFAULT 7 is not in the model"
    ]
    target.execute("UPDATE things SET n = 8")
    assert target.query("SELECT at > '2025-01-03' FROM things") == [(1,)]


@pytest.mark.parametrize("engine", ["mysql"])
def test_undeclared_on_update_is_a_note(target):
    target.execute(
        "CREATE TABLE things (id INTEGER PRIMARY KEY, "
        "at DATETIME NULL ON UPDATE CURRENT_TIMESTAMP)"
    )
    report = phase_of(at=DateTimeField(null=True)).check(db.connect(target.url))
    (difference,) = report.differences
    assert difference.severity == "note"
    assert difference.message.startswith("things.at: ON UPDATE ")
    assert difference.message.endswith(" is not in the model")


@pytest.mark.parametrize("engine", ["mysql"])
def test_added_column_has_its_clauses_from_the_beginning(target):
    target.execute(
        "CREATE TABLE things (id INTEGER PRIMARY KEY, n INTEGER NOT NULL "
        "COMMENT 'a number')",
        "INSERT INTO things VALUES (1, 2)",
    )
    database = db.connect(target.url)
    assert times().run(database).status == "migrated"
    assert messages(times().check(database)) == []


# -- what stays refused

INDEX_ADVICE = (
    "write it in Meta.indexes: SQL('CREATE INDEX name ON table (columns)'), or "
    "CREATE UNIQUE INDEX"
)
REFUSED_IN_META = {
    "UNIQUE KEY u (a)": INDEX_ADVICE,
    "CONSTRAINT u UNIQUE (a DESC)": INDEX_ADVICE,
    "UNIQUE NULLS NOT DISTINCT (a)": INDEX_ADVICE,
    "FULLTEXT KEY (b)": INDEX_ADVICE,
    "EXCLUDE USING gist (a WITH =)": "add it after a run, by hand: it stays there",
    "CHECK (a > 0) NO INHERIT": (
        'write UniqueConstraint(name, *columns), SQL("CONSTRAINT name CHECK '
        '(condition)") or Check("condition")'
    ),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sql", REFUSED_IN_META)
def test_refused_constraint_of_a_table_says_what_to_write(target, sql):
    phase = phase_of(meta={"constraints": [SQL(sql)]}, a=IntegerField(), b=CharField(9))
    with pytest.raises(UnsupportedModel) as refused:
        phase.check(db.connect(target.url))
    assert str(refused.value) == (
        f"Thing: the constraint {sql!r} is not supported; {REFUSED_IN_META[sql]}"
    )


@pytest.mark.parametrize(
    ("engine", "sql", "says"),
    [
        ("sqlite", "COMMENT 'x'", "is not supported on SQLite; leave it out"),
        ("sqlite", "ON CONFLICT FAIL", "is not supported on SQLite; leave it out"),
        (
            "sqlite",
            "AUTOINCREMENT",
            "is for an AutoField; use db.fields.AutoIncrementField",
        ),
        ("postgresql", "COMMENT 'x'", "is not supported on PostgreSQL; leave it out"),
        ("mysql", "ON UPDATE NOW()", "is for a DateTimeField"),
        ("mysql", "ON CONFLICT FAIL", "is not supported on PRODUCT; leave it out"),
        ("mysql", "AUTOINCREMENT", "is not supported on PRODUCT; leave it out"),
    ],
)
def test_refused_clause_of_a_field_says_what_to_do(target, sql, says):
    phase = phase_of(a=IntegerField(constraints=[SQL(sql)]))
    with pytest.raises(UnsupportedModel) as refused:
        phase.check(db.connect(target.url))
    text = re.sub("on (MariaDB|MySQL)", "on PRODUCT", str(refused.value))
    assert text == f"Thing.a: {sql} {says}"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("sql", "advice"),
    [
        ("AUTO_INCREMENT", "use AutoField()"),
        ("PRIMARY KEY", "use primary_key=True"),
        ("GENERATED BY DEFAULT AS IDENTITY", "use IdentityField()"),
        (
            "GENERATED ALWAYS AS (id + 1) STORED",
            "leave out the field, and add the column by hand: it stays there",
        ),
        (
            "as (id + 1)",
            "leave out the field, and add the column by hand: it stays there",
        ),
        (
            "UNIQUE KEY",
            "a field takes one DEFAULT, CHECK (condition), UNIQUE, REFERENCES table "
            "(column), COLLATE name and NOT NULL",
        ),
    ],
)
def test_refused_constraint_of_a_field_says_what_to_write(target, sql, advice):
    phase = phase_of(a=IntegerField(null=True, constraints=[SQL(sql)]))
    with pytest.raises(UnsupportedModel) as refused:
        phase.check(db.connect(target.url))
    assert str(refused.value) == (
        f"Thing.a: the constraint {sql!r} is not supported here; {advice}"
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_generated_column_without_a_field_stays(target):
    target.execute(
        "CREATE TABLE things (id INTEGER PRIMARY KEY, a INTEGER NOT NULL, "
        "next INTEGER GENERATED ALWAYS AS (a + 1) STORED)"
    )
    phase = phase_of(a=IntegerField())
    database = db.connect(target.url)
    report = phase.run(database)
    assert report.status == "up_to_date"
    assert report.smoke_test["insert"] is True
    (difference,) = report.differences
    assert (difference.severity, difference.object) == ("note", "things.next")


@pytest.mark.parametrize("engine", ["postgresql"])
def test_key_with_a_sequence_of_its_own_is_an_auto_field(target):
    made = model(id=IntegerField(primary_key=True, sequence="numbers"))
    database = db.connect(target.url)
    with database.bind_ctx([made]), database.connection_context():
        database.create_tables([made])
    with pytest.raises(UnsupportedModel) as refused:
        phase_of(meta={}, id=made.id).check(database)
    assert str(refused.value) == (
        "Thing.id: sequence is not supported on PostgreSQL; use AutoField(), which "
        "takes a sequence that the table has as it is"
    )
    report = phase_of(id=AutoField()).run(database)
    assert (report.status, report.differences) == ("up_to_date", ())
    assert report.smoke_test["insert"] is True


@pytest.mark.parametrize("engine", ["sqlite", "mysql"])
def test_identity_column_is_refused_where_there_are_none(target):
    with pytest.raises(UnsupportedModel) as refused:
        phase_of(id=IdentityField()).check(db.connect(target.url))
    text = re.sub("^Thing.id: (SQLite|MariaDB|MySQL) ", "", str(refused.value))
    assert text == "has no identity columns; use AutoField()"


@pytest.mark.parametrize("engine", ENGINES)
def test_options_of_virtual_tables_are_refused(target):
    phase = phase_of(meta={"options": {"tokenize": "porter"}})
    with pytest.raises(UnsupportedModel) as refused:
        phase.check(db.connect(target.url))
    text = re.sub("on (SQLite|PostgreSQL|MariaDB|MySQL);", "on X;", str(refused.value))
    assert text == (
        "Thing: Meta.options is not supported on X; it is for virtual tables; remove it"
    )
