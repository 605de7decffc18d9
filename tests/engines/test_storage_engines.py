"""Tables of storage engines other than InnoDB, and settings that are not supported."""

import pytest
from engines.shapes import model
from peewee import CharField, ForeignKeyField, IntegerField

import db
from db.bulk_insert import UploadRefused
from db.fields import RenamedFrom
from migrations.errors import ChangeRefused, UnsupportedModel
from migrations.phase import Phase

MYISAM = {"table_settings": "ENGINE = MyISAM"}
NO_TRANSACTIONS = (
    "things: MyISAM has no transactions: a statement that fails keeps the rows that it "
    "has written"
)
NOT_COMPARED = "things: Meta.table_settings is written once and never compared"


def phase_of(*models):
    return Phase("Things", requires={}, manages=models)


def messages(report):
    return [each.message for each in report.differences]


def test_foreign_key_that_the_storage_engine_ignores_is_a_warning(target):
    parent = model("parents", "Parent")
    child = model(meta=MYISAM, parent=ForeignKeyField(parent, on_delete="CASCADE"))
    phase = phase_of(parent, child)
    database = db.connect(target.url)
    report = phase.run(database)
    warning = (
        "things.parent_id: MyISAM ignores this foreign key, so rows may have no "
        "parent; use ENGINE=InnoDB"
    )
    assert messages(report) == [NOT_COMPARED, NO_TRANSACTIONS, warning]
    assert [each.severity for each in report.differences] == ["note", "note", "warning"]
    assert set(report.smoke_test.values()) == {None}
    assert phase.run(database).status == "up_to_date"
    assert phase.rollback(database).status == "rolled_back"


def test_reason_for_no_smoke_test_names_the_table(target, caplog):
    phase_of(model(meta=MYISAM)).run(db.connect(target.url))
    assert "rows would stay, because its storage engine has no transactions" in (
        caplog.text
    )


def test_foreign_key_to_a_table_without_foreign_keys_is_refused(target):
    parent = model("parents", "Parent", meta=MYISAM)
    child = model(parent=ForeignKeyField(parent))
    with pytest.raises(UnsupportedModel) as refused:
        phase_of(parent, child).check(db.connect(target.url))
    assert str(refused.value) == (
        "Thing: FOREIGN KEY (parent_id) refers to parents, whose storage engine has no "
        "foreign keys; use ENGINE=InnoDB there"
    )


def test_unknown_storage_engine_is_refused(target):
    phase = phase_of(model(meta={"table_settings": "ENGINE=Steam"}))
    with pytest.raises(UnsupportedModel) as refused:
        phase.check(db.connect(target.url))
    assert str(refused.value) == (
        "Thing: the server has no storage engine steam; use ENGINE=InnoDB"
    )


@pytest.mark.parametrize(
    ("declared", "actual", "says"),
    [
        (MYISAM, "InnoDB", "expected a MyISAM table, found a table"),
        ({}, "MyISAM", "expected a table, found a MyISAM table"),
    ],
)
def test_table_of_another_storage_engine_is_refused(target, declared, actual, says):
    target.execute(f"CREATE TABLE things (id INTEGER PRIMARY KEY) ENGINE={actual}")
    phase = phase_of(model(meta=declared, id=IntegerField(primary_key=True)))
    with pytest.raises(ChangeRefused, match=f"^things: {says}; rename, convert or"):
        phase.check(db.connect(target.url))


def test_change_that_is_not_possible_online_is_announced(target):
    target.execute(
        "CREATE TABLE things (id INTEGER PRIMARY KEY, number INTEGER NOT NULL) "
        "ENGINE=MyISAM",
        "INSERT INTO things VALUES (1, 2), (2, 3)",
    )
    changed = model(
        meta=MYISAM,
        id=IntegerField(primary_key=True),
        n=IntegerField(unique=True, constraints=[RenamedFrom("number")]),
        word=CharField(9, null=True),
    )
    report = phase_of(changed).run(db.connect(target.url))
    assert report.status == "migrated"
    assert {each.blocks for each in report.changes[1:]} == {"writes"}
    assert "LOCK=NONE" not in str(report.changes)
    assert target.query("SELECT n, word FROM things ORDER BY n") == [
        (2, None),
        (3, None),
    ]


def test_upload_into_a_table_without_transactions_is_refused(target):
    made = model(meta=MYISAM, n=IntegerField())
    database = db.connect(target.url)
    phase_of(made).run(database)
    with pytest.raises(UploadRefused) as refused:
        made.bulk_insert([{"n": 1}], database=database)
    assert str(refused.value) == (
        "nothing was uploaded: the storage engine of things is MyISAM, which has no "
        "transactions and would keep some rows of an upload that fails; run first: "
        "ALTER TABLE things ENGINE=InnoDB"
    )


@pytest.mark.parametrize(
    ("engine", "setting", "words"),
    [
        ("mysql", "PARTITION BY HASH (id) PARTITIONS 2", "PARTITION BY"),
        ("postgresql", "partition  by RANGE (id)", "PARTITION BY"),
        ("postgresql", "INHERITS (others)", "INHERITS"),
    ],
)
def test_table_of_several_parts_is_refused(target, setting, words):
    phase = phase_of(model(meta={"table_settings": setting}))
    with pytest.raises(UnsupportedModel) as refused:
        phase.check(db.connect(target.url))
    assert str(refused.value) == (
        f"Thing: {words} in Meta.table_settings is not supported; remove it"
    )
