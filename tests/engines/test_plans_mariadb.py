"""MariaDB: a check refuses what a run cannot do, and announces what it does."""

import logging
from urllib.parse import urlsplit

import peewee
import pytest
from peewee import (
    SQL,
    BlobField,
    BooleanField,
    CharField,
    DateField,
    DateTimeField,
    ForeignKeyField,
    IntegerField,
)

import db
from db.fields import UniqueConstraint
from migrations.errors import ChangeRefused
from migrations.phase import Phase

pytestmark = pytest.mark.drivers("mysql")
ID = "id INT AUTO_INCREMENT PRIMARY KEY"


@pytest.fixture
def made(world, engine):
    """Return a function that executes statements in an empty database."""

    def make(*statements):
        there = world(engine)
        there.clear()
        there.execute(*statements)
        return there

    return make


def model_of(table, constraints=(), **fields):
    meta = type("Meta", (), {"table_name": table, "constraints": list(constraints)})
    return type(table.title(), (peewee.Model,), {**fields, "Meta": meta})


def phase_of(*models, requires=()):
    return Phase("Items", requires=dict.fromkeys(requires, ()), manages=list(models))


def items(constraints=(), **fields):
    return phase_of(model_of("item", constraints, **fields))


def check(world, phase):
    return phase.check(db.connect(world.url))


def run(world, phase):
    return phase.run(db.connect(world.url), smoke_test=False, statistics=False)


def shown(world, text):
    """Return a part of SHOW CREATE TABLE as the server of a world writes it."""
    if world.is_mariadb:
        return text
    text = text.replace("int(11)", "int").replace("DROP CONSTRAINT", "DROP CHECK")
    return text.replace("current_timestamp()", "CURRENT_TIMESTAMP")


def refusal(world, phase):
    """Return the message of check and run; both refuse and nothing is changed."""
    before = world.dump()
    with pytest.raises(ChangeRefused) as checked:
        check(world, phase)
    with pytest.raises(ChangeRefused) as refused:
        run(world, phase)
    assert world.dump() == before
    assert str(checked.value) == str(refused.value)
    return str(refused.value)


def assert_migrated(world, phase):
    assert check(world, phase).status == "pending"
    assert run(world, phase).status == "migrated"
    assert run(world, phase).status == "up_to_date"


def column(world, name, table="item"):
    """Return a column's definition as the server shows it."""
    ((_, text),) = world.query(f"SHOW CREATE TABLE {table}")
    (line,) = [
        line.strip().rstrip(",")
        for line in text.split("\n")
        if line.startswith(f"  `{name}`")
    ]
    return line.partition("` ")[2]


# -- values that have no text


@pytest.mark.parametrize(
    ("field", "wanted"),
    [(CharField, "string"), (IntegerField, "integer"), (BlobField, "blob")],
)
def test_value_without_a_text_is_not_converted(made, field, wanted):
    """CAST refuses a POINT, and its bytes mean something to the server only."""
    there = made(
        f"CREATE TABLE item ({ID}, a POINT)",
        "INSERT INTO item (a) VALUES (ST_GeomFromText('POINT(1 2)')), (NULL)",
    )
    assert refusal(there, items(a=field(null=True))) == (
        "rows conflict with the change, nothing was changed: item.a: expected "
        f"{wanted}, found point, and values that do not convert without loss: 1 row "
        "(id 1); see: SELECT * FROM `item` w WHERE w.`a` IS NOT NULL"
    )


# -- foreign keys, which a rehearsal does not have


def test_primary_key_that_another_table_refers_to_is_not_replaced(made):
    there = made(
        "CREATE TABLE item (number INT, depot INT, PRIMARY KEY (number, depot))",
        "CREATE TABLE scan (n INT, d INT, CONSTRAINT own FOREIGN KEY (n, d) "
        "REFERENCES item (number, depot))",
    )
    phase = items(number=IntegerField(primary_key=True), depot=IntegerField())
    assert refusal(there, phase) == (
        "item: an index on (number, depot) has to be replaced, "
        "and the foreign key own of the table scan refers to "
        "it; drop that foreign key, run again, then create it again"
    )


@pytest.mark.mariadb_only
def test_primary_key_is_replaced_if_another_index_is_sufficient(made):
    there = made(
        "CREATE TABLE item (number INT, depot INT, PRIMARY KEY (number, depot), "
        "KEY own (number, depot))",
        "CREATE TABLE scan (n INT, d INT, CONSTRAINT own FOREIGN KEY (n, d) "
        "REFERENCES item (number, depot))",
        "INSERT INTO item VALUES (1, 7)",
    )
    assert_migrated(
        there, items(number=IntegerField(primary_key=True), depot=IntegerField())
    )
    there.execute("INSERT INTO scan VALUES (1, 7)")
    with pytest.raises(Exception, match="foreign key constraint fails"):
        there.execute("DELETE FROM item")


@pytest.mark.mariadb_only
def test_index_that_another_table_refers_to_is_not_replaced(made):
    there = made(
        f"CREATE TABLE item ({ID}, a INT, b INT, KEY item_a (a, b))",
        "CREATE TABLE kid (a INT, b INT, CONSTRAINT own FOREIGN KEY (a, b) "
        "REFERENCES item (a, b))",
    )
    phase = items(a=IntegerField(null=True, index=True), b=IntegerField(null=True))
    message = refusal(there, phase)
    assert (
        "(a, b) has to be replaced, "
        "and the foreign key own of the table kid refers to it" in message
    )


PARENT = model_of("par", x=IntegerField(null=True))


def children():
    return phase_of(
        model_of("item", par=ForeignKeyField(PARENT, constraint_name="fk_par")),
        requires=[PARENT],
    )


def test_foreign_key_name_of_another_table_is_refused(made):
    there = made(
        f"CREATE TABLE par ({ID}, x INT)",
        "CREATE TABLE other (id INT, CONSTRAINT fk_par FOREIGN KEY (id) "
        "REFERENCES par (id))",
        f"CREATE TABLE item ({ID}, par_id INT NOT NULL)",
    )
    assert refusal(there, children()) == (
        "item: a foreign key has to be named fk_par, "
        "and a foreign key of the table other has that name; drop it, "
        "and add it under another name: ALTER TABLE `other` DROP FOREIGN KEY `fk_par`"
    )


def test_new_table_with_another_tables_foreign_key_name_is_refused(made):
    there = made(
        f"CREATE TABLE par ({ID}, x INT)",
        "CREATE TABLE other (id INT, CONSTRAINT fk_par FOREIGN KEY (id) "
        "REFERENCES par (id))",
    )
    assert "a foreign key of the table other has that name" in refusal(
        there, children()
    )


@pytest.mark.parametrize(
    ("items_of_table", "says"),
    [
        (
            "CONSTRAINT fk_par FOREIGN KEY (old_id) REFERENCES par (id)",
            "another foreign key of this table",
        ),
        ("CONSTRAINT fk_par CHECK (old_id > 0)", "a CHECK of the table"),
    ],
)
def test_foreign_key_with_another_constraints_name_is_refused(
    made, items_of_table, says
):
    there = made(
        f"CREATE TABLE par ({ID}, x INT)",
        f"CREATE TABLE item ({ID}, old_id INT, par_id INT NOT NULL, {items_of_table})",
    )
    assert f"has to be named fk_par, and {says} has that name" in refusal(
        there, children()
    )


def test_undeclared_foreign_key_of_another_type_is_refused_by_name(made):
    there = made(
        f"CREATE TABLE par ({ID}, x INT)",
        f"CREATE TABLE item ({ID}, n INT NULL, CONSTRAINT own FOREIGN KEY (n) "
        "REFERENCES par (id))",
    )
    assert refusal(there, items(n=peewee.DoubleField(null=True))) == shown(
        there,
        "item.n has to become DOUBLE PRECISION, "
        "and its foreign key own refers to par.id, which is int(11); drop it, "
        "then run again: ALTER TABLE `item` DROP FOREIGN KEY `own`",
    )


def test_second_foreign_key_with_a_recreated_ones_name_is_refused(made):
    there = made(
        f"CREATE TABLE par ({ID}, x INT)",
        f"CREATE TABLE item ({ID}, n INT UNSIGNED, par_id INT NOT NULL)",
        "CREATE TABLE ids (id INT UNSIGNED PRIMARY KEY)",
        "ALTER TABLE item ADD CONSTRAINT fk_par FOREIGN KEY (n) REFERENCES ids (id)",
    )
    child = model_of(
        "item",
        n=IntegerField(null=True),
        par=ForeignKeyField(PARENT, constraint_name="fk_par"),
    )
    message = refusal(there, phase_of(child, requires=[PARENT]))
    assert "item: two foreign keys have to be named fk_par, of n and par_id" in message


def test_foreign_key_of_the_same_name_is_replaced(made):
    there = made(
        f"CREATE TABLE par ({ID}, x INT)",
        f"CREATE TABLE item ({ID}, par_id INT NOT NULL, "
        "CONSTRAINT fk_par FOREIGN KEY (par_id) REFERENCES par (id) ON DELETE CASCADE)",
    )
    assert_migrated(there, children())


def test_unique_constraint_with_the_name_of_a_check_is_refused(made):
    there = made(f"CREATE TABLE item ({ID}, n INT NULL, CONSTRAINT once CHECK (n > 0))")
    phase = items([UniqueConstraint("once", "n")], n=IntegerField(null=True))
    assert refusal(there, phase) == shown(
        there,
        "item: a unique index has to be named once, "
        "and a CHECK of the table has that name; drop it, and add it "
        "under another name: ALTER TABLE `item` DROP CONSTRAINT `once`",
    )


# -- keys


def test_column_of_the_old_primary_key_becomes_nullable(made):
    there = made(
        "CREATE TABLE item (number INT PRIMARY KEY, email VARCHAR(40) NOT NULL)",
        "INSERT INTO item VALUES (1, 'a@b')",
    )
    assert_migrated(
        there,
        items(number=IntegerField(null=True), email=CharField(40, primary_key=True)),
    )
    assert column(there, "number") == shown(there, "int(11) DEFAULT NULL")
    assert there.query("SELECT number, email FROM item") == [(1, "a@b")]


def test_primary_key_of_a_prefix_is_replaced_and_stays_unique(made):
    there = made("CREATE TABLE item (a VARCHAR(100), n INT, PRIMARY KEY (a(10)))")
    assert_migrated(
        there, items(a=CharField(100, primary_key=True), n=IntegerField(null=True))
    )
    keys = {(row[2], row[7]) for row in there.query("SHOW INDEX FROM item")}
    assert keys == {("PRIMARY", None), ("a", 10)}


def test_ignored_index_is_used_again(made, world, engine):
    unused = "IGNORED" if world(engine).is_mariadb else "INVISIBLE"
    there = made(
        f"CREATE TABLE item ({ID}, n INT, KEY item_n (n) COMMENT 'kept' {unused})"
    )
    phase = items(n=IntegerField(null=True, index=True))
    (difference,) = check(there, phase).differences
    assert difference.message == "item.item_n: expected (n), found (n IGNORED)"
    assert_migrated(there, phase)
    (_, index) = there.query("SHOW INDEX FROM item")
    used = "NO" if there.is_mariadb else "YES"  # "ignored", "visible"
    assert (index[2], index[12], index[13]) == ("item_n", "kept", used)


# -- statements that the server refuses


def test_check_that_is_invalid_for_the_new_type_is_named(made):
    there = made(
        f"CREATE TABLE item ({ID}, n VARCHAR(20) NULL, "
        "CONSTRAINT known CHECK (n <> 'x'))",
        "INSERT INTO item (n) VALUES ('7')",
    )
    reason = "Truncated incorrect DECIMAL value: 'x'"
    if not there.is_mariadb:
        reason = "Check constraint 'known' is violated."
    assert refusal(there, items(n=IntegerField(null=True))) == (
        f"change column n: the server refuses this: {reason}; "
        "if the reason is the CHECK known, drop it; "
        "nothing was changed: ALTER TABLE `item` MODIFY `n` INTEGER NULL"
    )


@pytest.mark.mariadb_only
def test_uuid_without_values_becomes_a_date(made):
    there = made(
        f"CREATE TABLE item ({ID}, at UUID)", "INSERT INTO item (at) VALUES (NULL)"
    )
    assert_migrated(there, items(at=DateField(null=True)))


@pytest.mark.mariadb_only
def test_uuid_is_not_compared_with_ids_of_parents(made):
    there = made(
        f"CREATE TABLE par ({ID}, x INT)",
        f"CREATE TABLE item ({ID}, par_id UUID NOT NULL)",
        "INSERT INTO item (par_id) VALUES ('6ccd780c-baba-1026-9564-5b8c656024db')",
    )
    assert "values that do not convert without loss: 1 row (id 1)" in refusal(
        there, children()
    )


@pytest.mark.mariadb_only
def test_unique_index_stored_as_hashes_is_replaced(made):
    there = made(
        f"CREATE TABLE item ({ID}, a TEXT, b INT, UNIQUE item_b (a))",
        "INSERT INTO item (a, b) VALUES ('x', 1)",
    )
    phase = items(a=peewee.TextField(null=True), b=IntegerField(null=True, unique=True))
    assert_migrated(there, phase)


@pytest.mark.mariadb_only
def test_not_null_invisible_column_without_a_default_is_refused(made):
    there = made(f"CREATE TABLE item ({ID}, n INT INVISIBLE NULL)")
    assert "Invisible column `n` must have a default value" in refusal(
        there, items(n=IntegerField())
    )


def test_fulltext_index_on_a_converted_column_is_refused_by_name(made):
    there = made(f"CREATE TABLE item ({ID}, n VARCHAR(20) NULL, FULLTEXT words (n))")
    assert refusal(there, items(n=IntegerField(null=True))) == (
        "item.n is in the FULLTEXT index words, which is for texts; drop it, "
        "then run again: "
        "ALTER TABLE `item` DROP INDEX `words`"
    )


@pytest.mark.mariadb_only
def test_table_with_a_fulltext_index_is_rehearsed(made):
    there = made(
        f"CREATE TABLE item ({ID}, n INT INVISIBLE NULL, words TEXT, "
        "FULLTEXT own (words))",
        "INSERT INTO item (words) VALUES ('some words')",
        "UPDATE item SET n = 1",
    )
    assert "Invisible column `n` must have a default value" in refusal(
        there, items(n=IntegerField())
    )


# -- the rehearsal leaves nothing


def test_rehearsal_leaves_no_temporary_table(made):
    there = made(
        f"CREATE TABLE item ({ID}, n VARCHAR(20) NULL)",
        "INSERT INTO item (n) VALUES ('7')",
    )
    database = db.connect(there.url)
    with database.connection_context():
        assert items(n=IntegerField(null=True)).check(database).status == "pending"
        ((_, text),) = database.execute_sql("SHOW CREATE TABLE item").fetchall()
        assert text.startswith("CREATE TABLE")
        assert database.execute_sql("SELECT n FROM item").fetchall() == (("7",),)


def test_check_does_not_commit_the_callers_transaction(made, caplog):
    there = made(f"CREATE TABLE item ({ID}, n VARCHAR(20) NULL)")
    database = db.connect(there.url)
    with (
        caplog.at_level(logging.INFO, "migrations"),
        database.connection_context(),
        database.atomic() as transaction,
    ):
        database.execute_sql("INSERT INTO item (n) VALUES ('7')")
        with pytest.raises(ChangeRefused, match="outside of a transaction"):
            items(n=IntegerField(null=True)).check(database)
        transaction.rollback()
    assert there.query("SELECT n FROM item") == []
    assert "the plan was not rehearsed inside the open transaction" in caplog.text


def test_rows_of_an_open_transaction_do_not_stop_a_check(made, hold):
    there = made(
        f"CREATE TABLE item ({ID}, n VARCHAR(20) NULL)",
        "INSERT INTO item (n) VALUES ('7')",
    )
    hold(there, "UPDATE item SET n = '8'")
    assert check(there, items(n=IntegerField(null=True))).status == "pending"


# -- types


def test_unsigned_number_becomes_a_signed_one(made):
    there = made(
        f"CREATE TABLE item ({ID}, n INT UNSIGNED, d DECIMAL(8,2) UNSIGNED, "
        "x FLOAT UNSIGNED)",
        "INSERT INTO item (n, d, x) VALUES (7, 1.5, 0.1)",
    )
    phase = items(
        n=IntegerField(null=True),
        d=peewee.DecimalField(8, 2, null=True),
        x=peewee.FloatField(null=True),
    )
    assert_migrated(there, phase)
    there.execute("INSERT INTO item (n, d, x) VALUES (-7, -1.5, -0.1)")
    texts = there.query(
        "SELECT n, CAST(d AS CHAR), CAST(x AS CHAR) FROM item ORDER BY id"
    )
    assert texts == [(7, "1.50", "0.1"), (-7, "-1.50", "-0.1")]


def test_unsigned_id_is_accepted(made):
    there = made(
        "CREATE TABLE item (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, n INT)"
    )
    report = check(there, items(n=IntegerField(null=True)))
    assert report.status == "up_to_date"
    assert [(each.severity, each.message) for each in report.differences] == [
        (
            "note",
            "item.id: expected integer of 4, found "
            f"{'int(10)' if there.is_mariadb else 'int'} unsigned, which has no "
            "negative numbers and is accepted for an id and what refers to one",
        )
    ]


@pytest.mark.parametrize("parent", ["INT UNSIGNED", "INT"])
@pytest.mark.parametrize("child", ["INT UNSIGNED", "INT"])
def test_foreign_key_has_the_sign_of_its_parent(made, parent, child):
    there = made(
        f"CREATE TABLE par (id {parent} AUTO_INCREMENT PRIMARY KEY, x INT)",
        f"CREATE TABLE item ({ID}, par_id {child} NOT NULL)",
    )
    assert_migrated(there, children())
    assert column(there, "par_id").startswith(
        column(there, "id", "par").partition(" NOT")[0]
    )


def test_bit_becomes_a_boolean_with_its_default(made):
    there = made(
        f"CREATE TABLE item ({ID}, active BIT(1) NOT NULL DEFAULT b'1')",
        "INSERT INTO item (active) VALUES (0), (1)",
    )
    assert_migrated(there, items(active=BooleanField()))
    there.execute("INSERT INTO item () VALUES ()")
    assert there.query("SELECT active FROM item ORDER BY id") == [(0,), (1,), (1,)]


@pytest.mark.parametrize("unfinished", [False, True])
def test_enum_of_numbers_is_converted_by_its_text(made, unfinished):
    there = made(
        f"CREATE TABLE item ({ID}, n ENUM('0','1','3') NOT NULL DEFAULT '3')",
        "INSERT INTO item (n) VALUES ('0'), ('1'), ('3')",
    )
    phase = items(n=IntegerField())
    if unfinished:  # the run ended between two statements
        there.execute(check(there, phase).changes[0].sql)
    assert_migrated(there, phase)
    there.execute("INSERT INTO item () VALUES ()")
    assert there.query("SELECT n FROM item ORDER BY id") == [(0,), (1,), (3,), (3,)]


def test_enum_is_compared_with_parents_by_its_text(made):
    there = made(
        f"CREATE TABLE par ({ID}, x INT)",
        "INSERT INTO par (id) VALUES (1), (2)",
        f"CREATE TABLE item ({ID}, par_id ENUM('7','2') NOT NULL)",
        "INSERT INTO item (par_id) VALUES ('7'), ('2')",
    )
    assert "1 row (id 1)" in refusal(there, children())


# -- times


def test_timestamp_keeps_the_moment_of_its_default(made):
    there = made(
        "SET time_zone = '-05:00'",
        f"CREATE TABLE item ({ID}, at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, "
        "since TIMESTAMP NOT NULL DEFAULT '2020-01-01 00:00:00')",
        "INSERT INTO item () VALUES ()",
    )
    phase = items(at=DateTimeField(), since=DateTimeField())
    database = peewee.MySQLDatabase(
        there.name,
        host="127.0.0.1",
        port=urlsplit(there.url).port or 3306,
        user="root",
        init_command="SET time_zone = '-05:00'",
    )
    script = phase.check(database).changes
    assert phase.run(database, smoke_test=False, statistics=False).changes == script
    there.execute("INSERT INTO item () VALUES ()")
    off = there.query(
        "SELECT ABS(TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), at)) < 600, "
        "CAST(since AS CHAR) FROM item"
    )
    there.execute("SET time_zone = DEFAULT")
    assert off == [(1, "2020-01-01 05:00:00")] * 2


def test_timestamp_updated_in_local_time_is_refused(made):
    there = made(
        f"CREATE TABLE item ({ID}, at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP "
        "ON UPDATE CURRENT_TIMESTAMP)"
    )
    assert refusal(there, items(at=DateTimeField())) == shown(
        there,
        "item.at has ON UPDATE CURRENT_TIMESTAMP, which is local time in a DATETIME, "
        "and its values will be in UTC; remove it, then run again: "
        "ALTER TABLE `item` MODIFY `at` timestamp NOT NULL DEFAULT current_timestamp()",
    )


# -- CHECKs and defaults


STATES = "CONSTRAINT task_state CHECK (state IN ('todo', 'busy') AND price != 3)"


def tasks():
    return items([SQL(STATES)], state=CharField(10), price=IntegerField(null=True))


@pytest.mark.parametrize(
    "condition",
    [
        "state in('todo','busy') and price<>3",
        "`STATE` IN ('todo', 'busy') AND NOT price = 3",
        "(((state IN ('todo', 'busy')))) AND (price <> 3)",
    ],
)
def test_same_condition_in_another_form_is_accepted(made, condition):
    there = made(
        f"CREATE TABLE item ({ID}, state VARCHAR(10) NOT NULL, price INT, "
        f"CONSTRAINT task_state CHECK ({condition}))"
    )
    assert check(there, tasks()).status == "up_to_date"


@pytest.mark.parametrize(
    "condition",
    [
        "state IN ('todo', 'done') AND price <> 3",
        "state IN ('TODO', 'BUSY') AND price <> 3",
        "price <> 3",
    ],
)
def test_another_condition_of_that_name_is_replaced(made, condition):
    there = made(
        f"CREATE TABLE item ({ID}, state VARCHAR(10) NOT NULL, price INT, "
        f"CONSTRAINT task_state CHECK ({condition}))"
    )
    assert_migrated(there, tasks())
    there.execute("INSERT INTO item (state) VALUES ('busy')")
    with pytest.raises(Exception, match="task_state"):
        there.execute("INSERT INTO item (state) VALUES ('done')")


def test_condition_about_a_missing_column_is_replaced_with_it(made):
    there = made(
        f"CREATE TABLE item ({ID}, state VARCHAR(10) NOT NULL, "
        "CONSTRAINT task_state CHECK (state <> ''))"
    )
    assert_migrated(there, tasks())


@pytest.mark.mariadb_only
def test_column_check_is_reported(made):
    there = made(f"CREATE TABLE item ({ID}, n INT CHECK (n > 0))")
    (difference,) = check(there, items(n=IntegerField(null=True))).differences
    assert (difference.severity, difference.object) == ("warning", "item.n")
    assert difference.message.startswith("item.n: CHECK (`n` > 0) may reject rows")


@pytest.mark.parametrize(
    ("field", "default"),
    [
        (peewee.TextField, "'it''s'"),
        (peewee.CharField, "'it''s'"),
        (peewee.TextField, r"'a\b'"),
        (peewee.TextField, "'two\nlines'"),
        (peewee.CharField, r"'a\n'"),
        (peewee.CharField, "'50%'"),
        (peewee.DoubleField, "100000000000000000000"),
        (peewee.TimeField, "'8:00'"),
        (peewee.DateField, "'2020-1-2'"),
        (BooleanField, "TRUE"),
    ],
)
def test_default_is_recognised_in_the_servers_form(made, field, default):
    there = made("SET sql_mode = DEFAULT")
    phase = items(value=field(null=True, constraints=[SQL(f"DEFAULT {default}")]))
    assert_migrated(there, phase)
    there.execute("ALTER TABLE item ALTER COLUMN value DROP DEFAULT")
    assert_migrated(there, phase)


def test_default_that_the_server_changes_is_refused(made):
    there = made(f"CREATE TABLE item ({ID}, value FLOAT)")
    phase = items(
        value=peewee.FloatField(null=True, constraints=[SQL("DEFAULT 123456789.5")])
    )
    message = refusal(there, phase)
    assert "the server makes DEFAULT 123457000 of 123456789.5" in message


# -- the next id


def test_next_id_is_advanced_by_an_update(made):
    """The next id cannot exist already, so reading the catalog need not check it."""
    there = made(
        f"CREATE TABLE item ({ID}, n INT)", "INSERT INTO item (n) VALUES (1), (2)"
    )
    there.execute(
        "UPDATE item SET id = id + 90 ORDER BY id DESC",
        "INSERT INTO item (n) VALUES (3)",
    )
    assert there.query("SELECT id FROM item ORDER BY id") == [(91,), (92,), (93,)]


@pytest.mark.mariadb_only  # MySQL has no unique index of a TEXT
def test_foreign_key_keeps_an_index_beside_a_hash(made):
    there = made(
        "CREATE TABLE parents (id INT PRIMARY KEY)",
        f"CREATE TABLE item ({ID}, a INT, b TEXT NOT NULL, KEY once (a), "
        "CONSTRAINT own FOREIGN KEY (a) REFERENCES parents (id))",
    )
    phase = items(
        [UniqueConstraint("once", "a", "b")],
        a=IntegerField(null=True),
        b=peewee.TextField(),
    )
    assert check(there, phase).status == "pending"
    assert run(there, phase).status == "migrated"
    assert check(there, phase).status == "up_to_date"
