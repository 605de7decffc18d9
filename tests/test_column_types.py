"""What the texts of types and defaults mean on each database, without one."""

import pytest

from migrations.engines.mysql import column_types as mysql
from migrations.engines.postgresql import column_types as postgresql
from migrations.engines.sqlite import column_types as sqlite
from migrations.schema import UTC_NOW, Type

# -- MariaDB and MySQL


@pytest.mark.parametrize(
    ("text", "category", "size", "scale"),
    [
        ("BOOL", "integer", 1, None),
        ("tinyint(1)", "integer", 1, None),
        ("smallint(6)", "integer", 2, None),
        ("mediumint", "integer", 3, None),
        ("int(11) unsigned", "integer", 4, None),
        ("INTEGER", "integer", 4, None),
        ("INTEGER AUTO_INCREMENT", "integer", 4, None),
        ("bigint(20)", "integer", 8, None),
        ("float", "float", 4, None),
        ("FLOAT(7, 4)", "float", 4, 4),
        ("double", "float", 8, None),
        ("decimal", "decimal", 10, 0),
        ("DECIMAL(5)", "decimal", 5, 0),
        ("numeric(5,2)", "decimal", 5, 2),
        ("NUMERIC", "decimal", 10, 0),
        ("varchar(20)", "string", 20, None),
        ("tinytext", "string", 255, None),
        ("TEXT", "string", 65_535, None),
        ("mediumtext", "string", 16_777_215, None),
        ("longtext", "string", 4_294_967_295, None),
        ("char", "fixed string", 1, None),
        ("char(9)", "fixed string", 9, None),
        ("varbinary(16)", "blob", 16, None),
        ("binary", "blob", 1, None),
        ("binary(16)", "blob", 16, None),
        ("tinyblob", "blob", 255, None),
        ("BLOB", "blob", 65_535, None),
        ("mediumblob", "blob", 16_777_215, None),
        ("longblob", "blob", 4_294_967_295, None),
        ("DATE", "date", None, None),
        ("datetime(6)", "datetime", None, None),
        ("enum('a','b')", "enum", None, None),
    ],
)
def test_type_of_mysql(text, category, size, scale):
    type_ = mysql.parse_type(text)
    assert type_.text == text.removesuffix(" AUTO_INCREMENT")
    assert (type_.category, type_.size, type_.scale) == (category, size, scale)


@pytest.mark.parametrize(
    ("child", "parent", "fit"),
    [
        ("varchar(9)", "varchar(20)", True),
        ("char(9)", "text", True),
        ("int", "int(11)", True),
        ("int", "bigint", False),
        ("int unsigned", "int", False),
        ("int unsigned", "int zerofill", True),
        ("int", "varchar(9)", False),
        ("date", "date", True),
        ("float", "double", True),
        ("date", "datetime", False),
    ],
)
def test_types_that_a_foreign_key_may_have_on_mysql(child, parent, fit):
    assert mysql.fit_together(mysql.parse_type(child), mysql.parse_type(parent)) is fit


@pytest.mark.parametrize(
    ("text", "single"), [("float", True), ("double", False), ("int", False)]
)
def test_single_precision_of_mysql(text, single):
    assert mysql.is_single_precision(mysql.parse_type(text)) is single


@pytest.mark.parametrize(
    ("text", "length"),
    [("int", 64), ("datetime(6)", 64), ("enum('a','bb')", 9), ("set('a')", 4)],
)
def test_longest_text_of_mysql(text, length):
    assert mysql.longest_text(mysql.parse_type(text)) == length


@pytest.mark.parametrize(
    ("text", "cast"),
    [
        ("int", None),
        ("decimal(5,2)", None),
        ("date", "DATE"),
        ("time", "TIME"),
        ("datetime", "DATETIME"),
        ("varchar(9)", None),
        ("float", None),
    ],
)
def test_cast_of_a_literal_on_mysql(text, cast):
    assert mysql.literal_cast(mysql.parse_type(text)) == cast


@pytest.mark.parametrize(
    ("text", "collation", "expected"),
    [
        ("varchar(9)", "utf8mb4_bin", "varchar(9) COLLATE utf8mb4_bin"),
        ("char(9)", "latin1", "char(9) CHARACTER SET latin1"),
        ("varchar(9)", None, "varchar(9)"),
        ("int", "utf8mb4_bin", "int"),
    ],
)
def test_collation_of_a_type_on_mysql(text, collation, expected):
    type_ = mysql.parse_type(text)
    assert mysql.text_with_collation(type_, collation) == expected


# -- PostgreSQL


@pytest.mark.parametrize(
    ("text", "category", "size", "scale"),
    [
        *((text, "integer", 2, None) for text in ("smallint", "int2", "SMALLSERIAL")),
        *((text, "integer", 4, None) for text in ("integer", "INT", "int4", "SERIAL")),
        *((text, "integer", 8, None) for text in ("bigint", "int8", "BIGSERIAL")),
        *((text, "float", 4, None) for text in ("real", "float4")),
        *(
            (text, "float", 8, None)
            for text in ("DOUBLE PRECISION", "float8", "float", "float(25)")
        ),
        ("float(24)", "float", 4, None),
        *((text, "decimal", None, None) for text in ("numeric", "DECIMAL")),
        ("numeric(5,2)", "decimal", 5, 2),
        ("NUMERIC(5)", "decimal", 5, 0),
        *(
            (text, "string", None, None)
            for text in ("character varying", "VARCHAR", "text")
        ),
        ("character varying(20)", "string", 20, None),
        ("bpchar", "fixed string", None, None),
        *((text, "fixed string", 1, None) for text in ("character", "char")),
        ("CHAR(9)", "fixed string", 9, None),
        *((text, "boolean", None, None) for text in ("boolean", "BOOL")),
        ("date", "date", None, None),
        *((text, "time", None, None) for text in ("time", "time without time zone")),
        ("time(6) without time zone", "time", None, None),
        ("time(3) without time zone", "time", 3, None),
        *(
            (text, "datetime", None, None)
            for text in ("TIMESTAMP", "timestamp without time zone", "timestamp(6)")
        ),
        ("timestamp(0) without time zone", "datetime", 0, None),
        ("bytea", "blob", None, None),
        ("timestamp with time zone", "timestamp with time zone", None, None),
        ("bit(3)", "bit", None, None),
        ("odd(1)", "odd", None, None),
    ],
)
def test_type_of_postgresql(text, category, size, scale):
    type_ = postgresql.parse_type(text)
    assert type_.text == text
    assert (type_.category, type_.size, type_.scale) == (category, size, scale)


def test_type_of_an_identity_column():
    text = "INTEGER GENERATED BY DEFAULT AS IDENTITY"
    assert postgresql.parse_type(text) == Type("INTEGER", "integer", 4)


@pytest.mark.parametrize(
    ("default", "meaning"),
    [
        ("now() AT TIME ZONE 'utc'", UTC_NOW),
        ("(now() AT TIME ZONE 'utc'::text)", UTC_NOW),
        ("timezone('utc'::text, now())", UTC_NOW),
        ("CURRENT_TIMESTAMP AT TIME ZONE 'UTC'", UTC_NOW),
        ("timezone('utc', CURRENT_TIMESTAMP)", UTC_NOW),
        ("now()", "now()"),
        ("'a::b'::character varying(9)", "a::b"),
        ("'-0.50'::numeric", "-0.5"),
        ("'-3'::integer", "-3"),
        ("'0.50'::text", "0.50"),
        ("'2020-01-01 00:00:00'::timestamp without time zone", "2020-01-01 00:00:00"),
        ("true", "1"),
        ("'{}'::integer[]", "{}"),
    ],
)
def test_meaning_of_a_default_of_postgresql(default, meaning):
    assert postgresql.default_meaning(default) == meaning


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        ("'a'", True),
        ("'a'::character varying", True),
        ("('a'::text)", True),
        ("3", True),
        ("'-3'::integer", True),
        ("TRUE", True),
        ("NULL::character varying", True),
        ("now()", False),
        ("'seq'::regclass", False),
        ("1 + 1", False),
    ],
)
def test_default_that_is_a_literal_of_postgresql(default, expected):
    assert postgresql.is_literal(default) is expected


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        (None, False),
        ("1", False),
        ("now()", False),
        ("timezone('utc', NOW())", False),
        ("gen_random_uuid()", True),
        ("coalesce(now(), random())", True),
    ],
)
def test_default_that_differs_by_row(default, expected):
    assert postgresql.is_volatile(default) is expected


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("varchar(9)", "varchar(20)", True),
        ("varchar(9)", "text", True),
        ("varchar(20)", "varchar(9)", False),
        ("numeric(5,2)", "numeric(9,2)", True),
        ("numeric(5,2)", "numeric(9,3)", False),
        ("time(3)", "time", True),
        ("timestamp(3)", "timestamp(4)", True),
        ("integer", "integer", False),
        ("char(9)", "char(20)", False),
    ],
)
def test_change_of_type_that_keeps_stored_rows(source, target, expected):
    types = postgresql.parse_type(source), postgresql.parse_type(target)
    assert postgresql.keeps_stored_rows(*types) is expected


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("integer", "bigint", True),
        ("integer", "integer", True),
        ("bigint", "integer", False),
        ("smallint", "numeric", True),
        ("smallint", "numeric(5,2)", False),
        ("numeric", "bigint", False),
        ("integer", "text", False),
    ],
)
def test_larger_type_of_number(source, target, expected):
    types = postgresql.parse_type(source), postgresql.parse_type(target)
    assert postgresql.is_larger(*types) is expected


@pytest.mark.parametrize(
    ("type_", "default", "expected"),
    [
        ("integer", "nextval('s'::regclass)", True),
        ("bigint", '"Own"()', True),
        ("integer", "(1 + 1)", False),
        ("integer", None, False),
        ("text", "own()", False),
    ],
)
def test_default_that_numbers_rows(type_, default, expected):
    assert postgresql.is_generator(type_, default) is expected


@pytest.mark.parametrize(
    ("actual", "declared", "expected"),
    [
        ("numeric", "numeric(5,2)", True),
        ("numeric(5,2)", "numeric", False),
        ("numeric", "numeric", True),
        ("numeric", "integer", False),
        ("text", "varchar(9)", True),
    ],
)
def test_type_that_holds_the_values_of_another(actual, declared, expected):
    types = postgresql.parse_type(actual), postgresql.parse_type(declared)
    assert postgresql.holds_values(*types) is expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("timestamp(6) with time zone", "timestamp with time zone", True),
        ("time(6) with time zone", "time with time zone", True),
        ("timestamp(3) with time zone", "timestamp with time zone", False),
        ("bit(6)", "bit", False),
    ],
)
def test_same_name_of_a_type(one, other, expected):
    types = Type(one, "other"), Type(other, "other")
    assert postgresql.same_name(*types) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SERIAL", "INTEGER"),
        ("bigserial", "BIGINT"),
        ("SMALLSERIAL", "SMALLINT"),
        ("TEXT", "TEXT"),
    ],
)
def test_type_of_an_existing_column(text, expected):
    type_ = postgresql.parse_type(text)
    assert postgresql.type_of_existing_column(type_) == expected


# -- SQLite


@pytest.mark.parametrize(
    ("text", "affinity", "category"),
    [
        ("INTEGER", "integer", "integer"),
        ("BIGINT", "integer", "integer"),
        ("POINT", "integer", "integer"),  # it contains INT
        ("VARCHAR(20)", "text", "string"),
        ("NATIVE CHARACTER(70)", "text", "string"),
        ("CLOB", "text", "string"),
        ("TEXT", "text", "string"),
        ("BLOB", "none", "blob"),
        ("", "none", "untyped"),
        ("REAL", "real", "float"),
        ("FLOAT", "real", "float"),
        ("double precision", "real", "float"),
        ("DECIMAL(10, 5)", "numeric", "decimal"),
        ("NUMERIC", "numeric", "decimal"),
        ("BOOLEAN", "numeric", "integer"),
        ("bool", "numeric", "integer"),
        ("TIMESTAMP", "numeric", "datetime"),
        ("DATETIME", "numeric", "datetime"),
        ("DATE", "numeric", "date"),
        ("UNSIGNED  BIG INT", "integer", "integer"),
        ("STRING", "numeric", "string"),
    ],
)
def test_type_of_sqlite(text, affinity, category):
    assert sqlite.affinity(text) == affinity
    assert sqlite.parse_type(text) == Type(text, category)


def test_affinity_is_that_of_the_type_alone():
    assert sqlite.affinity("DATE ON CONFLICT REPLACE INTEGER") == "numeric"


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ([], "rowid"),
        (["rowid"], "_rowid_"),
        (["_rowid_", "rowid"], "oid"),
        (["oid", "_rowid_", "rowid"], ""),
    ],
)
def test_name_of_the_rowid(columns, name):
    assert sqlite.rowid_name(columns) == name
