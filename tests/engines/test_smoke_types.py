"""The smoke test with an undeclared NOT NULL column of each type of a server.

The column is in a parent or in the managed table, which are empty or have rows.
"""

import re

import peewee
import pytest
from drivers import only_on, server_of
from engines.worlds import SQLite

import db
from migrations.phase import Phase

PASSED = dict.fromkeys(
    ("insert", "select", "unique", "foreign_keys", "cascade", "cleanup"), True
)


class Owner(peewee.Model):
    name = peewee.CharField(40, primary_key=True)

    class Meta:
        table_name = "owners"


class Thing(peewee.Model):
    owner = peewee.ForeignKeyField(Owner, on_delete="CASCADE")
    label = peewee.CharField(40, unique=True)

    class Meta:
        table_name = "things"


PHASE = Phase("Types", requires={Owner: ()}, manages=[Thing])

# Types, and a value of each for an existing row.
POSTGRESQL = {
    "bool": "true", "int2": "7", "int4": "7", "int8": "7", "numeric": "7.5",
    "numeric(3,3)": "0.25", "numeric(2,0)": "42", "numeric(3,5)": "0.001",
    "float4": "0.1", "float8": "0.1", "money": "1.50", "oid": "7", "text": "it's 100%",
    "varchar(3)": "abc", "bpchar": "x", "char(2)": "ab", "name": "x", '"char"': "x",
    "bytea": "\\x00ff", "date": "infinity", "timestamp": "2020-01-01 10:00",
    "timestamptz": "-infinity", "time": "24:00", "timetz": "10:00+02",
    "interval": "1 year", "interval year to month": "2 years", "uuid": "0" * 32,
    "inet": "::1", "cidr": "10.0.0.0/8", "macaddr": "08:00:2b:01:02:03",
    "macaddr8": "08:00:2b:01:02:03:04:05", "bit": "1", "bit(9)": "101010101",
    "varbit": "10", "varbit(3)": "101", "json": '{"a": "b"}', "jsonb": "[1, null]",
    "xml": "<a/>", "tsvector": "a b", "tsquery": "a & b", "jsonpath": "$.a",
    "point": "(1,2)", "line": "{1,2,3}", "lseg": "[(0,0),(1,2)]", "box": "(1,2),(0,0)",
    "path": "[(0,0),(1,1)]", "polygon": "((0,0),(1,1),(1,0))", "circle": "<(0,0),5>",
    "pg_lsn": "0/7", "pg_snapshot": "1:1:", "txid_snapshot": "1:1:", "tid": "(0,7)",
    "xid": "7", "xid8": "7", "cid": "7", "int2vector": "1 2", "oidvector": "1 2",
    "refcursor": "x", "aclitem": "=r/postgres", "regclass": "pg_class",
    "regtype": "int4", "regproc": "now", "regprocedure": "now()", "regoper": "||/",
    "regoperator": "+(int4,int4)", "regrole": "postgres", "regnamespace": "pg_catalog",
    "regconfig": "simple", "regdictionary": "simple", "regcollation": '"C"',
    "int4range": "[1,5)", "int8range": "empty", "numrange": "(,5)",
    "daterange": "[2020-01-01,2020-02-01)", "tsrange": "empty", "tstzrange": "empty",
    "int4multirange": "{[1,3)}", "int8multirange": "{}", "nummultirange": "{}",
    "datemultirange": "{}", "tsmultirange": "{}", "tstzmultirange": "{}",
    "text[]": '{a,"b c"}', "jsonb[]": '{"{}"}', "int4[][]": "{{1}}", "uuid[]": "{}",
    "mood[]": "{sad}", "mood": "happy", "pair": "(1,x)", "percent": "50",
    "code": "AB12", "shade": "#00ff00", "mood_domain": "sad", "span": "[a,b)",
}  # fmt: skip
MARIADB = {
    "bool": "1", "tinyint": "-7", "tinyint unsigned": "255", "smallint": "7",
    "mediumint": "7", "int": "7", "int(5) unsigned zerofill": "7", "bigint": "7",
    "bigint unsigned": "18446744073709551615", "decimal": "7", "decimal(3,3)": "0.25",
    "decimal(2,0) unsigned": "42", "decimal(65,30)": "1.5", "float": "0.1",
    "double": "0.1", "float(5,2)": "1.25", "bit": "1", "bit(9)": "5", "bit(64)": "5",
    "char": "x", "char(2)": "ab", "varchar(3)": "abc",
    "varchar(9) character set latin1": "é", "varchar(9) collate utf8mb4_bin": "it's",
    "tinytext": "x", "text": "100%", "mediumtext": "x", "longtext": "x", "binary": "x",
    "binary(16)": "x", "varbinary(3)": "abc", "tinyblob": "x", "blob": "x",
    "mediumblob": "x", "longblob": "x", "enum('a','b')": "b",
    "enum('it''s','a,b','(')": "a,b", "set('x','y')": "x,y", "json": '{"a": 1}',
    "date": "2020-01-01", "time": "-838:59:59", "time(6)": "10:00:00.123456",
    "datetime": "2020-01-01 10:00:00", "datetime(6)": "2020-01-01 10:00:00.123456",
    "timestamp": "2020-01-01 10:00:00", "year": "2020",
    "uuid": "00000000-0000-0000-0000-000000000007", "inet6": "::1", "inet4": "10.0.0.1",
    "geometry": "POINT(1 2)", "point": "POINT(1 2)",
    "linestring": "LINESTRING(0 0,1 2)", "polygon": "POLYGON((0 0,0 1,1 1,0 0))",
    "multipoint": "MULTIPOINT(1 2,3 4)",
    "multilinestring": "MULTILINESTRING((0 0,1 2))",
    "multipolygon": "MULTIPOLYGON(((0 0,0 1,1 1,0 0)))",
    "geometrycollection": "GEOMETRYCOLLECTION(POINT(1 2))",
}  # fmt: skip
# What MariaDB has and MySQL does not; and the other way round.
ONLY_MARIADB = ("uuid", "inet6", "inet4")
MYSQL = {type_: MARIADB[type_] for type_ in MARIADB if type_ not in ONLY_MARIADB}
# The bytes of these numbers are ASCII, as which PyMySQL reads a vector.
MYSQL.update({"vector(2)": "[0.5, 2]", "varchar(9) collate utf8mb4_0900_as_cs": "it's"})
SQLITE = {
    **dict.fromkeys(
        [
            "",
            "INTEGER",
            "INT",
            "TINYINT(1)",
            "UNSIGNED BIG INT",
            "BOOLEAN",
            "YEAR",
            "SERIAL",
        ],
        "7",
    ),
    **dict.fromkeys(
        ["REAL", "DOUBLE PRECISION", "FLOAT", "NUMERIC", "DECIMAL(3,3)", "MONEY"], "0.5"
    ),
    **dict.fromkeys(
        [
            "TEXT",
            "VARCHAR(3)",
            "NVARCHAR",
            "CHARACTER(2)",
            "CLOB",
            "UUID",
            "JSON",
            "ENUM",
        ],
        "x",
    ),
    **dict.fromkeys(["BLOB", "VARBINARY(9)", "BYTEA", "GEOMETRY"], "x"),
    **dict.fromkeys(
        ["DATE", "DATETIME", "TIMESTAMP WITH TIME ZONE", "TIME", "INTERVAL"],
        "2020-01-01",
    ),
}
STRICT = {
    "INT": "7",
    "INTEGER": "7",
    "REAL": "0.5",
    "TEXT": "x",
    "BLOB": "x",
    "ANY": "x",
}
TYPES = {
    "postgresql": POSTGRESQL,
    "mysql": MARIADB,
    "mysql97": MYSQL,
    "sqlite": SQLITE,
}
OWN_TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'it''s fine', 'happy');
CREATE TYPE pair AS (n int, t text);
CREATE DOMAIN percent AS numeric(5,2) NOT NULL
    CHECK (VALUE > 0 AND VALUE < 1 OR VALUE = 50);
CREATE DOMAIN code AS varchar(4) CHECK (length(VALUE) = 4) CHECK (upper(VALUE) = VALUE);
CREATE DOMAIN shade AS text CHECK (VALUE IN ('#ff0000', '#00ff00'));
CREATE DOMAIN mood_domain AS mood;
CREATE TYPE span AS RANGE (subtype = text)"""
# Columns with a CHECK, and a value that satisfies it.
CHECKED = {
    "share {number} NOT NULL CHECK (share > 0 AND share < 1)": "0.25",
    "share {number} NOT NULL CHECK (share > 0.5 AND share <= 0.75)": "0.6",
    "n INTEGER NOT NULL CHECK (n BETWEEN 2000 AND 2100)": "2020",
    "n INTEGER NOT NULL CHECK (n < -5)": "-9",
    "code {string} NOT NULL CHECK (length(code) = 10)": "'0123456789'",
    "code {string} NOT NULL "
    "CHECK (length(code) BETWEEN 5 AND 8 AND upper(code) = code)": "'ABCDE'",
    "kind {string} NOT NULL CHECK (kind IN ('a', 'it''s'))": "'a'",
    "kind {string} NOT NULL CHECK (kind LIKE 'A%' AND length(kind) > 1)": "'Ab'",
    "mail {string} NOT NULL CHECK (mail LIKE '%_@_%')": "'a@b'",
    "low INTEGER NOT NULL, high INTEGER NOT NULL, CHECK (low < high)": "1, 2",
    "low INTEGER NOT NULL CHECK (low > 3), high INTEGER NOT NULL CHECK (high < 9), "
    "CHECK (high - low = 4)": "4, 8",
    "since DATE NOT NULL CHECK (since >= '2024-01-01'), till DATE NOT NULL, "
    "CHECK (till > since)": "'2024-01-01', '2024-01-02'",
    "maybe INTEGER CHECK (maybe IS NOT NULL AND maybe > 10)": "11",
    "state {string} DEFAULT 'new' NOT NULL, done DATE, "
    "CHECK (state <> 'new' OR done IS NOT NULL)": "'old', '2020-01-01'",
}
WORDS = {
    "sqlite": {"number": "REAL", "string": "TEXT"},
    "postgresql": {"number": "numeric(3,2)", "string": "varchar(20)"},
    "mysql": {"number": "decimal(3,2)", "string": "varchar(20)"},
}
# Types for a UNIQUE column of a table that has a row.
UNIQUE = {
    "postgresql": [
        "int2", "int4", "int8", "numeric(4,2)", "float8", "text", "varchar(2)",
        "char(3)", "uuid", "date", "timestamp", "timestamptz", "time", "timetz",
        "interval", "inet", "cidr", "macaddr", "bytea", "bit(9)", "varbit", "mood",
        "int4range", "daterange", "int4[]", "jsonb", "money", "oid", "pg_lsn",
        "tsvector", "name", '"char"', "pair", "code",
    ],
    "mysql": [
        "tinyint", "smallint", "smallint unsigned", "int", "bigint unsigned",
        "decimal(4,2)", "double", "varchar(2)", "char(3)", "binary(16)", "uuid", "date",
        "datetime", "timestamp", "time", "year", "bit(9)", "enum('a','b','c')", "inet6",
    ],
    "sqlite": [
        "INTEGER", "SMALLINT", "REAL", "DECIMAL(4,2)", "TEXT", "VARCHAR(2)", "BLOB",
        "DATE", "DATETIME", "UUID",
    ],
}  # fmt: skip

UNIQUE["mysql97"] = [type_ for type_ in UNIQUE["mysql"] if type_ not in ONLY_MARIADB]
UNIQUE_VALUES = {
    "numeric(4,2)": "1", "decimal(4,2)": "1", "DECIMAL(4,2)": "1", "varchar(2)": "a",
    "VARCHAR(2)": "a", "char(3)": "a", "int4[]": "{1}", "smallint unsigned": "1",
    "SMALLINT": "1", "enum('a','b','c')": "a",
}  # fmt: skip
KEYS = {"sqlite": "INTEGER", "mysql": "INTEGER AUTO_INCREMENT", "postgresql": "SERIAL"}


@pytest.fixture(scope="module")
def opened(servers, tmp_path_factory):
    """Return a function that gives the shared database of an engine, open."""
    made = {}

    def get(engine):
        server = server_of(engine)
        if server not in made:
            world = (
                SQLite(tmp_path_factory.mktemp("types") / "types.db")
                if engine == "sqlite"
                else servers(engine)
            )
            world.clear()
            world.execute(
                *(OWN_TYPES.split(";") if engine == "postgresql" else ()),
                "CREATE TABLE owners (x INTEGER)",
            )
            made[server] = world, db.connect(world.url)
            made[server][1].connect()
        return made[server]

    yield get
    for _, database in made.values():
        database.close()


def steps(opened, engine, place, columns, value=None, options="", string="VARCHAR(40)"):
    """Return the smoke test of a run on two tables, one of them with more columns.

    :param place: the table with those columns.
    :param value: SQL of their values in a row of each table; None for empty tables.
    """
    world, database = opened(engine)
    more = {"owners": "", "things": "", place: f"{columns}, "}
    world.execute(
        "DROP TABLE IF EXISTS things",
        "DROP TABLE owners",
        f"CREATE TABLE owners (name {string} NOT NULL, {more['owners']}PRIMARY KEY "
        f"(name)) {options}",
        f"CREATE TABLE things (id {KEYS[engine]} PRIMARY KEY, "
        f"owner_id {string} NOT NULL, label {string} NOT NULL, "
        f"{more['things']}FOREIGN KEY (owner_id) REFERENCES owners (name) "
        f"ON DELETE CASCADE) {options}",
        "CREATE UNIQUE INDEX things_label ON things (label)",
        "CREATE INDEX things_owner_id ON things (owner_id)",
    )
    if value is not None:
        given = {"owners": "", "things": "", place: f", {value}"}
        world.execute(f"INSERT INTO owners VALUES ('me'{given['owners']})")
        # By the table's own id, so that its next one is not behind.
        next_id = "NULL" if engine == "sqlite" else "DEFAULT"
        values = f"{next_id}, 'me', 'label'{given['things']}"
        world.execute(f"INSERT INTO things VALUES ({values})")
    before = rows(world)
    report = PHASE.run(database, statistics=False)
    assert report.changes == ()
    assert rows(world) == before
    return report.smoke_test


def rows(world):
    """Return the rows of both tables; as text where the driver lacks types."""
    what = "{0}::text" if world.engine == "postgresql" else "*"
    return [
        world.query(f"SELECT {what.format(name)} FROM {name}")
        for name in ("owners", "things")
    ]


SPATIAL = "(multi)?(geometry|point|linestring|polygon)"


def quoted(engine, kind, value):
    text = "'" + value.replace("'", "''") + "'"
    if engine == "mysql" and "bit" in kind:
        return value
    if engine == "mysql" and re.match(SPATIAL, kind):
        return f"ST_GeomFromText({text})"
    if engine == "mysql" and kind.startswith("vector"):
        return f"string_to_vector({text})"
    return text


ROWS = ["empty", "with rows"]
PLACES = ["owners", "things"]


def engines():
    """Return the engine of each server that has its own types."""
    found = []
    for server in TYPES:
        engine, marks = only_on(server)
        found.append(pytest.param(engine, id=server, marks=marks))
    return found


def each(kinds_by_server):
    """Return the engine and a type, for each type of each server."""
    found = []
    for server, kinds in kinds_by_server.items():
        engine, marks = only_on(server)
        found += [
            pytest.param(engine, kind, id=f"{server}-{kind}", marks=marks)
            for kind in kinds
        ]
    return found


def value_of(engine, kind, rows):
    known = {**TYPES[server_of(engine)], **UNIQUE_VALUES}
    return quoted(engine, kind, known[kind]) if rows == "with rows" else None


def at_once(engine, kinds_by_server, rows, options=""):
    kinds = kinds_by_server[server_of(engine)]
    columns = ", ".join(
        f"extra_{number} {kind} NOT NULL {options}" for number, kind in enumerate(kinds)
    )
    values = [value_of(engine, kind, rows) for kind in kinds]
    return columns, ", ".join(values) if rows == "with rows" else None


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("engine", engines())
def test_smoke_test_passes_with_columns_of_all_types(opened, engine, rows, place):
    assert steps(opened, engine, place, *at_once(engine, TYPES, rows)) == PASSED


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("engine", engines())
def test_smoke_test_passes_with_unique_columns_of_all_types(
    opened, engine, rows, place
):
    assert (
        steps(opened, engine, place, *at_once(engine, UNIQUE, rows, "UNIQUE")) == PASSED
    )


@pytest.mark.exhaustive
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("engine", "kind"), each(TYPES))
def test_smoke_test_passes_with_a_column_of_each_type(
    opened, engine, kind, rows, place
):
    assert (
        steps(
            opened,
            engine,
            place,
            f"extra {kind} NOT NULL",
            value_of(engine, kind, rows),
        )
        == PASSED
    )


@pytest.mark.exhaustive
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("engine", "kind"), each(UNIQUE))
def test_smoke_test_passes_with_a_unique_column_of_each_type(
    opened, engine, kind, rows, place
):
    assert (
        steps(
            opened,
            engine,
            place,
            f"extra {kind} NOT NULL UNIQUE",
            value_of(engine, kind, rows),
        )
        == PASSED
    )


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("rows", ROWS)
def test_smoke_test_passes_with_a_strict_table(opened, rows, place):
    columns = ", ".join(f"extra_{kind} {kind} NOT NULL" for kind in STRICT)
    values = ", ".join(f"CAST('{value}' AS {kind})" for kind, value in STRICT.items())
    value = values if rows == "with rows" else None
    assert steps(opened, "sqlite", place, columns, value, "STRICT", "TEXT") == PASSED


def test_every_built_in_type_of_postgresql_is_tested(opened):
    world, _ = opened("postgresql")
    has_no_values = (
        "pg_node_tree", "pg_ndistinct", "pg_dependencies", "pg_mcv_list",
        "pg_brin_bloom_summary", "pg_brin_minmax_multi_summary", "gtsvector",
    )  # fmt: skip
    known = world.query(
        "SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace "
        "AND typtype IN ('b', 'r', 'm') "
        "AND typcategory <> 'A' AND typname !~ '^_'"
    )
    tested = {"varchar", *(name.strip('"') for name in POSTGRESQL)}
    assert {name for (name,) in known} - {*has_no_values} <= tested


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "rows", ["empty", pytest.param("with rows", marks=pytest.mark.exhaustive)]
)
@pytest.mark.parametrize("columns", CHECKED)
@pytest.mark.parametrize("engine", WORDS)
def test_smoke_test_passes_with_a_check(opened, engine, columns, rows, place):
    value = CHECKED[columns] if rows == "with rows" else None
    assert (
        steps(opened, engine, place, columns.format(**WORDS[engine]), value) == PASSED
    )
