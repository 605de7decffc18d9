"""MariaDB and any model: every kind of column and key is recognized and repaired."""

import re

import peewee
import pytest
from engines.servers import COMPLETE
from peewee import SQL

import db
from db.fields import DefaultUtcNow, FloatField, JSONField, UniqueConstraint
from migrations import phase_4_5
from migrations.declaration import phase_models
from migrations.engines import engine_for
from migrations.phase import Phase


@pytest.fixture
def empty(world, engine):
    """A database without any table."""
    made = world(engine)
    made.clear()
    return made


class Region(peewee.Model):
    code = peewee.FixedCharField(3, primary_key=True)
    name = peewee.CharField(100, unique=True)


class Shelf(peewee.Model):
    id = peewee.BigAutoField()
    region = peewee.ForeignKeyField(Region, on_delete="RESTRICT", on_update="CASCADE")
    above = peewee.ForeignKeyField("self", null=True, on_delete="SET NULL")
    order = peewee.SmallIntegerField(constraints=[SQL("DEFAULT -1")])  # a reserved word
    price = peewee.DecimalField(12, 4, constraints=[SQL("DEFAULT 0.5")])
    active = peewee.BooleanField(constraints=[SQL("DEFAULT TRUE")])
    label = peewee.CharField(20, constraints=[SQL(r"DEFAULT 'it''s \ new'")])
    made = peewee.DateField(null=True)
    opens = peewee.TimeField(null=True)
    stamp = peewee.DateTimeField(constraints=[DefaultUtcNow()])
    ratio = peewee.DoubleField(null=True)
    weight = FloatField(null=True)
    note = peewee.TextField(null=True)
    picture = peewee.BlobField(null=True)
    uid = peewee.UUIDField(null=True, index=True)
    raw = peewee.BinaryUUIDField(null=True)
    data = JSONField(null=True)

    class Meta:
        constraints = [
            SQL("CONSTRAINT shelf_price CHECK (price >= 0)"),
            UniqueConstraint("shelf_place", "region_id", "order"),
        ]
        indexes = ((("made", "opens"), False),)


class Line(peewee.Model):
    shelf = peewee.ForeignKeyField(Shelf, on_delete="CASCADE")
    number = peewee.IntegerField()
    count = peewee.BigIntegerField(null=True)

    class Meta:
        primary_key = peewee.CompositeKey("shelf", "number")


MODELS = (Region, Shelf, Line)
SHELVES = Phase("Shelves", requires={}, manages=MODELS[::-1])
TABLES = ("region", "shelf", "line")


@pytest.fixture
def shelves(empty):
    """The tables of a phase with every kind of column, and the database."""
    database = db.connect(empty.url)
    assert SHELVES.run(database).status == "migrated"
    return empty, database


def shown(world, table):
    """Return SHOW CREATE TABLE, without names of foreign keys and AUTO_INCREMENT."""
    text = world.query(f"SHOW CREATE TABLE `{table}`")[0][1]
    text = re.sub(r" AUTO_INCREMENT=\d+|CONSTRAINT `\w+` (?=FOREIGN)", "", text)
    return sorted(line.strip(" ,") for line in text.splitlines())


def made_by_peewee(world):
    world.clear()
    database = db.connect(world.url)
    with database.connection_context(), database.bind_ctx(MODELS):
        database.create_tables(MODELS)
    return {table: shown(world, table) for table in TABLES}


def test_created_tables_equal_those_of_peewee(shelves):
    world, database = shelves
    created = {table: shown(world, table) for table in TABLES}
    literal, escaped = r"'it''s \ new'", r"'it''s \\ new'"
    expected = made_by_peewee(world)
    # Peewee does not escape the backslash.
    expected["shelf"] = [
        line.replace("'it''s  new'", escaped).replace(" ON DELETE RESTRICT", "")
        for line in expected["shelf"]
    ]
    assert literal in str(Shelf.label.constraints[0].sql)
    assert created == expected


def test_every_kind_of_column_is_recognized(shelves):
    world, database = shelves
    before = world.dump()
    report = SHELVES.run(database)
    assert (report.status, report.differences, report.changes) == ("up_to_date", (), ())
    assert all(report.smoke_test.values())
    assert world.dump() == before


@pytest.mark.parametrize("field", [peewee.CharField, peewee.TextField])
@pytest.mark.parametrize("text", ["it''s new", r"a \ b", r"''\''", ""])
def test_default_is_recognized_in_every_string_type(empty, field, text):
    """The server writes a quote in the DEFAULT of a TEXT as a backslash and a quote."""
    item = type(
        "Item", (peewee.Model,), {"text": field(constraints=[SQL(f"DEFAULT '{text}'")])}
    )
    phase, database = Phase("Items", requires={}, manages=[item]), db.connect(empty.url)
    assert phase.run(database).status == "migrated"
    assert phase.run(database).status == "up_to_date"
    empty.execute("INSERT INTO item VALUES (1, DEFAULT)")
    assert empty.query("SELECT text FROM item") == [(text.replace("''", "'"),)]


def test_rollback_drops_all_tables(shelves):
    world, database = shelves
    SHELVES.rollback(database)
    assert world.query("SHOW TABLES") == []


WRONG = {
    "a narrower integer": ("shelf", "MODIFY `order` TINYINT NOT NULL DEFAULT -1"),
    "a narrower decimal": ("shelf", "MODIFY price DECIMAL(8, 4) NOT NULL DEFAULT 0.5"),
    "a decimal of another scale": (
        "shelf",
        "MODIFY price DECIMAL(12, 2) NOT NULL DEFAULT 0.5",
    ),
    "a string that is not fixed": ("line", "MODIFY count VARCHAR(20)"),
    "a float for a double": ("shelf", "MODIFY ratio FLOAT"),
    "a rounded float": ("shelf", "MODIFY weight FLOAT(7, 4)"),
    "JSON without its check": ("shelf", "MODIFY data LONGTEXT"),
    "text for a blob": ("shelf", "MODIFY picture TEXT"),
    "a timestamp": (
        "shelf",
        "MODIFY stamp TIMESTAMP NOT NULL DEFAULT (UTC_TIMESTAMP())",
    ),
    "a time as text": ("shelf", "MODIFY opens VARCHAR(8)"),
    "a default of another value": ("shelf", "ALTER COLUMN price SET DEFAULT 0.25"),
    "a check missing": ("shelf", "DROP CONSTRAINT shelf_price"),
    "an index missing": ("shelf", "DROP INDEX shelf_made_opens"),
    "UNIQUE missing": ("shelf", "ADD INDEX (region_id), DROP INDEX shelf_place"),
    "a composite key in another order": (
        "line",
        "ADD INDEX (shelf_id), DROP PRIMARY KEY, ADD PRIMARY KEY (number, shelf_id)",
    ),
    "no primary key": ("line", "ADD INDEX (shelf_id), DROP PRIMARY KEY"),
    "a self-reference of another action": (
        "shelf",
        "DROP FOREIGN KEY shelf_ibfk_2, ADD FOREIGN KEY (above_id) "
        "REFERENCES shelf (id) ON DELETE CASCADE",
    ),
    "no ON UPDATE CASCADE": (
        "shelf",
        "DROP FOREIGN KEY shelf_ibfk_1, ADD FOREIGN KEY (region_id) "
        "REFERENCES region (code)",
    ),
}


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("wrong", WRONG)
def test_every_difference_is_repaired(shelves, wrong, rows):
    world, database = shelves
    expected = {table: shown(world, table) for table in TABLES}
    if rows:
        world.execute(
            "INSERT INTO region VALUES ('EU', 'Europe')",
            "INSERT INTO shelf (id, region_id, `order`, opens, ratio, weight, data, "
            "picture, stamp) VALUES (7, 'EU', 1, '08:30:00', 0.25, 0.5, '[1]', 'x', "
            "'2025-01-01 10:00:00')",
            "INSERT INTO line VALUES (7, 1, 12)",
        )
    before = {table: world.query(f"SELECT * FROM {table}") for table in TABLES}
    table, change = WRONG[wrong]
    world.execute("SET time_zone = '+00:00'", f"ALTER TABLE {table} {change}")
    assert SHELVES.check(database).status == "pending"
    report = SHELVES.run(database)
    assert (report.status, all(report.smoke_test.values())) == ("migrated", True)
    assert SHELVES.run(database).status == "up_to_date"
    again = {
        name: [line for line in shown(world, name) if "FOREIGN" not in line]
        for name in TABLES
    }
    assert _comparable(again, wrong) == _comparable(expected, wrong)
    assert {name: world.query(f"SELECT * FROM {name}") for name in TABLES} == before


def _comparable(shown, wrong):
    """A repair may leave an additional index or a wider type; ignore both."""
    words = {
        "a rounded float": ("float", "double"),
        "a composite key in another order": ("  ", " "),
    }
    old, new = words.get(wrong, ("", ""))
    extra = ("KEY `shelf_id`", "KEY `region_id`")
    return {
        name: sorted(
            line.replace(old, new)
            for line in lines
            if "FOREIGN" not in line and not line.startswith(extra)
        )
        for name, lines in shown.items()
    }


LOSSY = {
    "an integer": ("line", "count", "VARCHAR(30)", "'007'"),
    "a decimal": (
        "shelf",
        "price",
        "DECIMAL(20, 8) NOT NULL DEFAULT 0.5",
        "0.12345678",
    ),
    "a time": ("shelf", "opens", "VARCHAR(30)", "'half past'"),
    "a JSON": ("shelf", "data", "LONGTEXT", "'{'"),
    "a boolean": ("shelf", "active", "VARCHAR(10)", "'yes'"),
}


@pytest.mark.parametrize("what", LOSSY)
def test_value_lost_in_a_conversion_is_refused_by_name(shelves, what):
    world, database = shelves
    table, column, type_, value = LOSSY[what]
    world.execute(
        f"ALTER TABLE {table} MODIFY {column} {type_}",
        "INSERT INTO region VALUES ('EU', 'Europe')",
        "INSERT INTO shelf (id, region_id) VALUES (7, 'EU')",
        "INSERT INTO line VALUES (7, 1, NULL)",
        f"UPDATE {table} SET {column} = {value}",
    )
    before = world.dump()
    with pytest.raises(phase_4_5.ChangeRefused, match=rf"{table}\.{column}"):
        SHELVES.run(database)
    assert world.dump() == before


def test_default_that_the_new_type_rejects_is_refused_by_name(shelves):
    world, database = shelves
    world.execute("ALTER TABLE line MODIFY count VARCHAR(20) DEFAULT 'none'")
    before = world.dump()
    for call in (SHELVES.check, SHELVES.run):
        with pytest.raises(
            phase_4_5.ChangeRefused, match=r"line\.count.*DEFAULT 'none'"
        ):
            call(database)
    assert world.dump() == before


def test_invalid_default_date_is_refused_by_the_server(empty):
    class Season(peewee.Model):
        start = peewee.DateField(constraints=[SQL("DEFAULT '2024-02-30'")])

    phase = Phase("Seasons", requires={}, manages=[Season])
    message = "Invalid default value for 'start'"
    with pytest.raises(phase_4_5.MigrationError, match=message):
        phase.run(db.connect(empty.url))
    assert empty.query("SHOW TABLES") == []


# -- requirements of InnoDB for keys


def phase_with_parent(name, parent, **options):
    """Return a phase of one table, whose `parent` refers to a required table."""
    meta = type("Meta", (), {"table_name": "child"})
    child = type(
        "Child",
        (peewee.Model,),
        {"parent": peewee.ForeignKeyField(parent, **options), "Meta": meta},
    )
    return Phase(name, requires={parent: ()}, manages=[child])


class Owner(peewee.Model):
    id = peewee.AutoField()


class Code(peewee.Model):
    id = peewee.CharField(20, primary_key=True)


@pytest.mark.parametrize("type_", ["INT", "INT UNSIGNED", "BIGINT", "BIGINT UNSIGNED"])
def test_foreign_key_takes_size_and_sign_of_its_parent(empty, type_):
    empty.execute(
        f"CREATE TABLE owner (id {type_} AUTO_INCREMENT PRIMARY KEY)",
        "INSERT INTO owner VALUES (1)",
    )
    phase, database = phase_with_parent("Owners", Owner), db.connect(empty.url)
    assert phase.run(database).status == "migrated"
    assert phase.run(database).status == "up_to_date"
    empty.execute(
        "DROP TABLE child",
        "CREATE TABLE child (id INT AUTO_INCREMENT PRIMARY KEY, "
        "parent_id INT NOT NULL)",
        "INSERT INTO child VALUES (1, 1)",
    )
    assert phase.run(database).status == "migrated"
    assert empty.query("SELECT * FROM child") == [(1, 1)]
    assert phase.run(database).status == "up_to_date"


def test_parent_narrower_than_the_model_is_refused_by_name(empty):
    empty.execute("CREATE TABLE owner (id SMALLINT AUTO_INCREMENT PRIMARY KEY)")
    with pytest.raises(
        phase_4_5.ChangeRefused, match=r"child\.parent_id.*owner\.id.*smallint"
    ):
        phase_with_parent("Owners", Owner).check(db.connect(empty.url))


def test_foreign_key_to_a_partitioned_table_is_refused(empty):
    empty.execute(
        "CREATE TABLE owner (id INT AUTO_INCREMENT PRIMARY KEY) PARTITION BY HASH (id) "
        "PARTITIONS 2"
    )
    for call in ("check", "run"):
        with pytest.raises(
            phase_4_5.ChangeRefused, match=r"child\.parent_id.*owner.*partitioned"
        ):
            getattr(phase_with_parent("Owners", Owner), call)(db.connect(empty.url))
    assert empty.query("SHOW TABLES") == [("owner",)]


def test_required_table_without_a_key_may_be_partitioned(fresh):
    fresh.execute(
        "DROP TABLE historical_sales",
        "CREATE TABLE historical_sales (sale_id VARCHAR(50) NOT NULL, "
        "week_start_date DATE NOT NULL, category_id "
        "VARCHAR(50) NOT NULL, store_id VARCHAR(50) NOT NULL, "
        "units_sold INTEGER NOT NULL, PRIMARY KEY (sale_id)) "
        "PARTITION BY KEY (sale_id) PARTITIONS 4",
    )
    database = db.connect(fresh.url)
    assert phase_4_5.run(database).status == "migrated"
    assert phase_4_5.run(database).status == "up_to_date"


def indexed(field, **options):
    meta = type("Meta", (), {"table_name": "child"})
    child = type("Child", (peewee.Model,), {"value": field, "Meta": meta, **options})
    return Phase("Indexed", requires={}, manages=[child])


@pytest.mark.parametrize(
    "field",
    [peewee.CharField(1000, index=True), peewee.CharField(1000, primary_key=True)],
)
def test_key_that_exceeds_the_servers_length_is_refused_by_name(empty, field):
    for call in ("check", "run"):
        with pytest.raises(phase_4_5.ChangeRefused, match=r"child\.value.*too long"):
            getattr(indexed(field.clone()), call)(db.connect(empty.url))
    assert empty.query("SHOW TABLES") == []


@pytest.mark.mariadb_only  # as a hash
def test_unique_key_of_any_length_is_created(empty):
    phase = indexed(peewee.CharField(1000, unique=True))
    database = db.connect(empty.url)
    assert phase.run(database).status == "migrated"
    assert phase.run(database).status == "up_to_date"
    empty.execute(
        "ALTER TABLE child DROP INDEX child_value",
        "INSERT INTO child (value) VALUES ('a')",
    )
    assert phase.run(database).status == "migrated"


def test_second_auto_increment_column_is_refused_by_name(complete):
    complete.execute(
        "DELETE FROM weekly_actuals",
        "ALTER TABLE weekly_actuals DROP COLUMN id, "
        "ADD COLUMN code INT NOT NULL AUTO_INCREMENT PRIMARY KEY",
    )
    before = complete.dump()
    for call in (phase_4_5.check, phase_4_5.run):
        with pytest.raises(phase_4_5.ChangeRefused, match=r"weekly_actuals\.code"):
            call(db.connect(complete.url))
    assert complete.dump() == before


def test_plain_key_replaces_an_auto_increment_key(empty):
    class Thing(peewee.Model):
        code = peewee.CharField(20, primary_key=True)

    phase = Phase("Things", requires={}, manages=[Thing])
    database = db.connect(empty.url)
    empty.execute(
        "CREATE TABLE thing (id INT AUTO_INCREMENT PRIMARY KEY, "
        "code VARCHAR(20) NOT NULL)",
        "INSERT INTO thing (code) VALUES ('first')",
    )
    assert phase.run(database).status == "migrated"
    assert phase.run(database).status == "up_to_date"
    assert "PRIMARY KEY (`code`)" in shown(empty, "thing")
    assert "UNIQUE KEY `id` (`id`)" in shown(empty, "thing")
    empty.execute("INSERT INTO thing (code) VALUES ('second')")
    assert empty.query("SELECT id, code FROM thing ORDER BY id") == [
        (1, "first"),
        (2, "second"),
    ]


# -- generated columns


def test_virtual_column_is_refused_by_name_before_any_change(complete):
    complete.execute(
        "ALTER TABLE weekly_actuals DROP COLUMN variance_pct, "
        "DROP INDEX idx_weekly_actuals_date, "
        "ADD COLUMN variance_pct DOUBLE AS (actual_units_sold / 100) VIRTUAL"
    )
    before = complete.dump()
    for call in (phase_4_5.check, phase_4_5.run):
        with pytest.raises(phase_4_5.ChangeRefused, match=r"variance_pct.*VIRTUAL"):
            call(db.connect(complete.url))
    assert complete.dump() == before


def test_stored_generated_column_becomes_plain_with_its_values(complete):
    complete.execute(
        "ALTER TABLE weekly_actuals DROP COLUMN variance_pct, "
        "ADD COLUMN variance_pct DOUBLE AS (actual_units_sold / 100) STORED"
    )
    before = complete.query("SELECT id, variance_pct FROM weekly_actuals ORDER BY id")
    assert phase_4_5.run(db.connect(complete.url)).status == "migrated"
    assert (
        complete.query("SELECT id, variance_pct FROM weekly_actuals ORDER BY id")
        == before
    )
    complete.execute("UPDATE weekly_actuals SET variance_pct = 0.5")


# -- FLOAT


@pytest.mark.parametrize("type_", ["FLOAT", "DOUBLE"])
def test_float_of_either_size_is_up_to_date(complete, type_):
    complete.execute(f"ALTER TABLE weekly_actuals MODIFY variance_pct {type_}")
    complete.execute("UPDATE weekly_actuals SET variance_pct = 0.071")
    assert phase_4_5.run(db.connect(complete.url)).changes == ()
    assert complete.query("SELECT DISTINCT variance_pct FROM weekly_actuals") == [
        (0.071,)
    ]


def test_float_converted_from_text_keeps_every_digit(complete):
    complete.execute(
        "ALTER TABLE weekly_actuals MODIFY variance_pct VARCHAR(30)",
        "UPDATE weekly_actuals SET variance_pct = '0.056910569105691054'",
    )
    assert phase_4_5.run(db.connect(complete.url)).status == "migrated"
    assert complete.query("SELECT DISTINCT variance_pct FROM weekly_actuals") == [
        (0.056910569105691054,)
    ]


# -- undeclared attributes


TRICKY = "COMMENT 'NOT NULL DEFAULT 7, CHECK (it) COMMENT ''quoted'' \\\\ `x`'"

# From the form of MariaDB; the CHECK of a column is one of the table on MySQL.
AS_MYSQL_SHOWS_IT = {
    r"int\(\d+\)": "int",
    r" DEFAULT (\d) ": r" DEFAULT '\1' ",
    r" DEFAULT (\(3 \+ 4\)|utc_timestamp\(\)) ": r" DEFAULT (\1) ",
    "current_timestamp": "CURRENT_TIMESTAMP",
    r" CHECK \(`.*": "",
}


@pytest.mark.parametrize(
    ("column", "wrong", "right"),
    [
        (
            "week_number",
            f"INT NULL DEFAULT 5 {TRICKY} CHECK (week_number > 0 "
            "AND 'NOT NULL' <> ')')",
            f"int(11) NOT NULL DEFAULT 5 {TRICKY} CHECK (`week_number` > 0 and '"
            "NOT NULL' <> ')')",
        ),
        (
            "week_number",
            f"SMALLINT NULL DEFAULT (3 + 4) {TRICKY}",
            f"int(11) NOT NULL DEFAULT (3 + 4) {TRICKY}",
        ),
        (
            "forecast_units_sold",
            f"BIGINT NOT NULL DEFAULT 4 {TRICKY}",
            f"bigint(20) DEFAULT 4 {TRICKY}",
        ),
        (
            "uploaded_at",
            "DATETIME(3) NULL DEFAULT '2000-01-01' ON UPDATE CURRENT_TIMESTAMP(3) "
            f"{TRICKY}",
            "datetime(3) DEFAULT utc_timestamp() ON UPDATE current_timestamp(3) "
            f"{TRICKY}",
        ),
    ],
)
def test_modify_keeps_the_other_attributes_of_a_column(complete, column, wrong, right):
    if not complete.is_mariadb:
        for pattern, text in AS_MYSQL_SHOWS_IT.items():
            right = re.sub(pattern, text, right)
    complete.execute(
        "DELETE FROM weekly_actuals",
        f"ALTER TABLE weekly_actuals MODIFY {column} {wrong}",
    )
    phase_4_5.run(db.connect(complete.url), smoke_test=False)
    text = complete.query("SHOW CREATE TABLE weekly_actuals")[0][1]
    (line,) = [
        line.strip(" ,")
        for line in text.splitlines()
        if line.startswith(f"  `{column}`")
    ]
    assert line == f"`{column}` {right}"


def test_undeclared_collation_is_kept_without_a_foreign_key(empty):
    class Word(peewee.Model):
        text = peewee.CharField(50)

    phase, database = Phase("Words", requires={}, manages=[Word]), db.connect(empty.url)
    phase.run(database)
    empty.execute("ALTER TABLE word MODIFY text VARCHAR(20) COLLATE utf8mb4_bin")
    assert phase.run(database).status == "migrated"
    assert (
        "`text` varchar(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"
        in shown(empty, "word")
    )


def test_chain_of_keys_takes_the_collation_of_its_first_parent(empty):
    class Middle(peewee.Model):
        id = peewee.ForeignKeyField(Code, column_name="id", primary_key=True)

    class Last(peewee.Model):
        middle = peewee.ForeignKeyField(Middle)

    phase = Phase("Chain", requires={Code: ()}, manages=[Last, Middle])
    database = db.connect(empty.url)
    empty.execute("CREATE TABLE code (id VARCHAR(20) COLLATE latin1_bin PRIMARY KEY)")
    phase.run(database)
    assert (
        "`middle_id` varchar(20) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL"
        in shown(empty, "last")
    )
    empty.execute(
        "SET foreign_key_checks = 0",
        "ALTER TABLE last DROP FOREIGN KEY last_ibfk_1, "
        "MODIFY middle_id VARCHAR(20) COLLATE utf8mb4_bin NOT NULL",
    )
    assert phase.run(database).status == "migrated"
    assert phase.run(database).status == "up_to_date"


# -- parsing SHOW CREATE TABLE


ALTERS = (
    "ADD COLUMN z INT", "MODIFY v BIGINT", "MODIFY v INT UNSIGNED",
    "MODIFY v INT ZEROFILL", "MODIFY v INT NOT NULL", "MODIFY v INT DEFAULT 3",
    "ALTER COLUMN v SET DEFAULT 4", "ALTER COLUMN e DROP DEFAULT",
    "MODIFY v INT COMMENT 'x'", "MODIFY v INT INVISIBLE", "MODIFY v INT CHECK (v > 0)",
    "DROP COLUMN v, ADD COLUMN v INT AS (p + 1) VIRTUAL", "MODIFY s VARCHAR(60)",
    "MODIFY s VARCHAR(50) COLLATE utf8mb4_bin",
    "MODIFY s VARCHAR(50) CHARACTER SET latin1", "MODIFY s CHAR(50)", "MODIFY s TEXT",
    "MODIFY s JSON", "MODIFY s VARBINARY(50)", "MODIFY s ENUM('a', 'b')",
    "MODIFY t DATETIME(6)", "MODIFY t TIMESTAMP NULL",
    "MODIFY t DATETIME DEFAULT (UTC_TIMESTAMP())",
    "MODIFY t DATETIME DEFAULT CURRENT_TIMESTAMP",
    "MODIFY t DATETIME ON UPDATE CURRENT_TIMESTAMP", "MODIFY t DATE",
    "MODIFY d DECIMAL(12, 5)", "MODIFY d DECIMAL(10, 4)", "MODIFY f DOUBLE",
    "MODIFY f FLOAT(7, 4)", "MODIFY id INT NOT NULL",
    "MODIFY id BIGINT NOT NULL AUTO_INCREMENT", "CHANGE v w INT", "DROP COLUMN v",
    "MODIFY v INT AFTER s", "ADD INDEX (s)", "ADD INDEX (s(5))", "ADD INDEX (s DESC)",
    "ADD INDEX (s, v)", "ADD UNIQUE (v)", "ADD UNIQUE INDEX vs (v, s)",
    "DROP INDEX own", "DROP INDEX own, ADD INDEX own (v DESC)",
    "DROP INDEX own, ADD UNIQUE INDEX own (v)", "RENAME INDEX own TO other",
    "ALTER INDEX own IGNORED", "DROP PRIMARY KEY, ADD INDEX (id)",
    "DROP PRIMARY KEY, ADD PRIMARY KEY (id, v)", "ADD FULLTEXT (s)",
    "ADD CONSTRAINT c CHECK (v > 1)", "DROP CONSTRAINT own_check",
    "DROP CONSTRAINT own_check, ADD CONSTRAINT own_check CHECK (v > 2)",
    "DROP FOREIGN KEY own_key",
    "DROP FOREIGN KEY own_key, ADD CONSTRAINT k FOREIGN KEY (p) REFERENCES parent (id) "
    "ON DELETE CASCADE",
    "ADD CONSTRAINT k FOREIGN KEY (v) REFERENCES parent (`odd``name`) "
    "ON DELETE SET NULL ON UPDATE NO ACTION",
    "ADD CONSTRAINT k FOREIGN KEY (v) REFERENCES parent (id) ON UPDATE CASCADE",
    "CONVERT TO CHARACTER SET latin1", "DEFAULT CHARACTER SET latin1",
    "COLLATE utf8mb4_bin", "DROP FOREIGN KEY own_key; ENGINE=MyISAM",
    "DROP FOREIGN KEY own_key; ENGINE=Aria",
    "DROP FOREIGN KEY own_key; PARTITION BY HASH (id) PARTITIONS 2", "COMMENT = 'y'",
    "AUTO_INCREMENT = 1000", "ROW_FORMAT = COMPACT", "STATS_PERSISTENT = 1",
    "ADD SYSTEM VERSIONING",
)  # fmt: skip
IGNORED = {
    # no part of the comparison
    "COMMENT = 'y'", "MODIFY v INT INVISIBLE", "AUTO_INCREMENT = 1000",
    "ROW_FORMAT = COMPACT", "STATS_PERSISTENT = 1", "ADD SYSTEM VERSIONING",
    "MODIFY v INT AFTER s",
    "DEFAULT CHARACTER SET latin1", "COLLATE utf8mb4_bin",
}  # fmt: skip
ODD_TABLES = (
    "CREATE TABLE parent (id INT PRIMARY KEY, `odd``name` INT UNIQUE)",
    "CREATE TABLE target (id INT AUTO_INCREMENT PRIMARY KEY, v INT, s VARCHAR(50), "
    "t DATETIME, d DECIMAL(10, 5), "
    "f FLOAT, p INT, e INT DEFAULT 7, a DATE NOT NULL DEFAULT '2025-01-01', "
    "b DATE NOT NULL DEFAULT '2026-01-01', INDEX own (v), "
    "`NOT NULL, KEY ``x`` (``v``)` VARCHAR(99) DEFAULT ') ENGINE=x, "
    "CHECK (`v`) NOT NULL' COMMENT 'KEY `v` (`v`),', "
    "CONSTRAINT own_check CHECK (p > 0 AND s <> ') NOT ''NULL'), "
    "CONSTRAINT own_key FOREIGN KEY (p) REFERENCES parent (id)) COMMENT = ' PARTITI"
    "ON BY ENGINE=MyISAM, \n) COLLATE=x'",
)


def described_by_server(world):
    """Return what the information_schema says of the table, in the form of `parsed`."""
    columns = []
    for *before, default, auto_increment, expression, collation, extra in world.query(
        "SELECT column_name, column_type, is_nullable = 'YES', nullif(column_default, "
        "'NULL'), extra = 'auto_increment', nullif(generation_expression, ''), "
        "collation_name, extra FROM information_schema.columns "
        "WHERE table_schema = database() AND table_name = 'target' "
        "ORDER BY ordinal_position"
    ):
        if not world.is_mariadb and default is not None:
            default = as_shown(default, before[1], extra)
        generated = expression is not None
        columns.append((*before, default, auto_increment, generated, collation))
    indexes, keys = {}, {}
    for name, unique, column, part, order, kind, ignored in world.query(
        "SELECT index_name, 1 - non_unique, column_name, sub_part, collation, "
        f"index_type, {'ignored' if world.is_mariadb else 'is_visible'} "
        "FROM information_schema.statistics "
        "WHERE table_schema = database() "
        "AND table_name = 'target' "
        "ORDER BY index_name, seq_in_index"
    ):
        words = column.lower()
        if part:
            words += f"({part})"
        if order == "D":
            words += " DESC"
        if kind == "FULLTEXT":
            words += " FULLTEXT"
        if (ignored == "YES") == world.is_mariadb:
            words += " IGNORED"
        indexes.setdefault((name, bool(unique)), []).append(words)
    for name, column, table, target, *actions in world.query(
        "SELECT k.constraint_name, column_name, k.referenced_table_name, "
        "referenced_column_name, delete_rule, "
        "update_rule FROM information_schema.key_column_usage k "
        "JOIN information_schema.referential_constraints r "
        "ON r.table_name = 'target' AND r.constraint_schema = database() "
        "AND r.constraint_name = k.constraint_name "
        "WHERE table_schema = database() AND k.table_name = 'target' "
        "ORDER BY k.ordinal_position"
    ):
        actions = [action.replace("RESTRICT", "NO ACTION") for action in actions]
        keys.setdefault((name, table, *actions), []).append(
            (column.lower(), target.lower())
        )
    if world.is_mariadb:
        checks = world.query(
            "SELECT constraint_name, check_clause FROM "
            "information_schema.check_constraints "
            "WHERE constraint_schema = database() AND table_name = 'target' "
            "AND (level = 'Table' OR check_clause NOT LIKE 'json_valid(%')"
        )
    else:
        checks = [
            (name, re.sub(r"\\(.)", r"\1", clause).replace(r"\'", "''"))
            for name, clause in world.query(
                "SELECT constraint_name, check_clause FROM "
                "information_schema.check_constraints "
                "JOIN information_schema.table_constraints "
                "USING (constraint_schema, constraint_name) "
                "WHERE constraint_schema = database() AND table_name = 'target'"
            )
        ]
    return columns, indexes, keys, sorted(checks)


def as_shown(default, type_, extra):
    """Return a DEFAULT of MySQL's information_schema as the text of the table has it.

    A number has no quotes, as `parsed` has none.
    """
    if re.match("int|bigint|decimal|float|double", type_):
        return default
    if "DEFAULT_GENERATED" not in extra:
        quoted = default.replace("'", "''")
        return f"'{quoted}'"
    if default.startswith("CURRENT_TIMESTAMP"):
        return default
    return f"({default})"


def parsed(table):
    columns = [
        (
            column.name,
            column.type.text,
            column.null,
            column.default,
            column.auto_increment,
            column.generated,
            column.collation,
        )
        for column in table.columns.values()
    ]
    indexes = {
        (index.name, index.unique): list(index.columns) for index in table.indexes
    }
    if table.primary_key:
        indexes["PRIMARY", True] = list(table.primary_key)
    keys = {
        (key.name, key.parent, key.on_delete, key.on_update): list(
            zip(key.columns, key.parent_columns)
        )
        for key in table.foreign_keys
    }
    return (
        columns,
        indexes,
        keys,
        sorted((check.name, check.condition) for check in table.checks),
    )


@pytest.fixture
def reader(empty):
    """Return a function that reads and parses the table."""

    class Target(peewee.Model):
        pass

    engine = engine_for(db.connect(empty.url), phase_models([], [Target]), 1.0)

    def read():
        with engine.session.connected():
            return engine.catalog.read()["target"]

    return read


@pytest.mark.parametrize("alter", ALTERS)
def test_parsed_create_table_agrees_with_information_schema(empty, reader, alter):
    if not empty.is_mariadb:
        if "Aria" in alter or "VERSIONING" in alter:
            pytest.skip("MySQL does not have it")
        alter = alter.replace("IGNORED", "INVISIBLE")
    empty.execute(*ODD_TABLES)
    before = reader()
    empty.execute(*(f"ALTER TABLE target {each}" for each in alter.split("; ")))
    after = reader()
    assert parsed(after) == described_by_server(empty)
    ((kind,),) = empty.query(
        "SELECT engine FROM information_schema.tables WHERE table_schema = database() "
        "AND table_name = 'target'"
    )
    if "PARTITION" in alter:
        assert after.kind == "partitioned table"
    elif kind == "InnoDB":
        assert after.kind == "table"
    else:
        assert after.kind == f"{kind} table"
    assert (after != before) == (alter not in IGNORED)


def test_every_run_finds_changes_since_the_last_one(world, engine):
    made = world(engine).make(COMPLETE)
    database = db.connect(made.url)
    for _ in range(3):
        assert phase_4_5.run(database).status == "up_to_date"
        made.execute("ALTER TABLE weekly_actuals DROP INDEX idx_weekly_actuals_date")
        assert phase_4_5.run(database).status == "migrated"
    made.execute(
        "RENAME TABLE weekly_actuals TO kept",
        "CREATE VIEW weekly_actuals AS SELECT * FROM kept",
    )
    with pytest.raises(phase_4_5.ChangeRefused, match="view"):
        phase_4_5.run(database)
