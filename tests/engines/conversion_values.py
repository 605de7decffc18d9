"""Which values are converted from which types to which: per server, as data."""

from functools import partial
from typing import NamedTuple

import peewee
from playhouse import mysql_ext, postgres_ext, sqlite_ext

from db.fields import JSONField


class Values(NamedTuple):
    """The values of one server."""

    key: str  # the column `id`
    sources: dict  # by type of a column: values of it, as SQL
    quick: tuple  # the sources of the quick run
    targets: dict  # by name: a function that makes a field
    text: str  # SQL of a value as people read it
    table: str = ""  # the options of the table
    texts: dict = {}  # the same, by the first word of a type for which that differs
    settings: tuple = ()  # statements before the table is created


def decimal(**options):
    return peewee.DecimalField(10, 3, **options)


def string(**options):
    return peewee.CharField(30, **options)


def fixed_string(**options):
    return peewee.FixedCharField(20, **options)


TARGETS = {
    "boolean": peewee.BooleanField,
    "small integer": peewee.SmallIntegerField,
    "integer": peewee.IntegerField,
    "big integer": peewee.BigIntegerField,
    "float": peewee.FloatField,
    "double": peewee.DoubleField,
    "decimal": decimal,
    "string": string,
    "fixed string": fixed_string,
    "text": peewee.TextField,
    "date": peewee.DateField,
    "time": peewee.TimeField,
    "datetime": peewee.DateTimeField,
    "blob": peewee.BlobField,
    "JSON": JSONField,
    "UUID": peewee.UUIDField,
}


def field_of(type_):
    """Return a class of fields of a type for which Peewee has none."""
    return type("OwnField", (peewee.Field,), {"field_type": type_})


def array_of(field, **settings):
    """Return a function that makes a field of arrays, without an index."""
    return partial(postgres_ext.ArrayField, field, settings, index=False)


# With the types that only PostgreSQL has. Their fields have a GIN index if not told
# otherwise.
POSTGRESQL_TARGETS = {
    **TARGETS,
    "JSONB": partial(postgres_ext.BinaryJSONField, index=False),
    "array of integers": array_of(peewee.IntegerField),
    "array of strings": array_of(peewee.CharField, max_length=3),
    "array of texts": array_of(peewee.TextField),
    "datetime with time zone": postgres_ext.DateTimeTZField,
    "interval": postgres_ext.IntervalField,
    "hstore": partial(postgres_ext.HStoreField, index=False),
    "text search": partial(postgres_ext.TSVectorField, index=False),
    "text in any case": field_of("CITEXT"),
    "short time with time zone": field_of("TIMESTAMPTZ(0)"),
    "MAC address": field_of("MACADDR"),
    "network": field_of("CIDR"),
    "bit string": field_of("BIT VARYING"),
}
MARIADB_TARGETS = {
    **TARGETS,
    "JSON of playhouse": mysql_ext.JSONField,
    "unsigned": field_of("INT UNSIGNED"),
    "year": field_of("YEAR"),
    "zoned datetime": field_of("TIMESTAMP"),
}
SQLITE_TARGETS = {
    **TARGETS,
    "JSON of playhouse": sqlite_ext.JSONField,
    "JSONB": sqlite_ext.JSONBField,
    "decimal as text": sqlite_ext.TDecimalField,
    "ISO datetime": sqlite_ext.ISODateTimeField,
    "any": peewee.AnyField,
}
UUID = "'6ccd780c-baba-1026-9564-5b8c656024db'"
TEXTS = (
    "'7'", "'07'", "'7.0'", "'-0'", "'+7'", "' 7'", "'7 '", "''", "'1e3'", "'1_000'",
    "'0x10'", "'abc'", "'true'", "'f'", "'NaN'", "'Infinity'", "'99999999999999999999'",
    "'0.1'", "'0.30000000000000004'", "'1e400'", "'1e-400'", "'2020-02-30'",
    "'2020-02-29'", "'2020-2-9'", "'02/29/2020'", "'today'", "'2020-02-29 10:11:12'",
    "'2020-02-29T10:11:12'", "'2020-02-29 10:11:12.5'", "'2020-02-29 00:00:00'",
    "'2020-02-29 10:11:12+02'", "'10:11:12'", "'10:11:12.25'", "'24:00:00'", "'10:11'",
    "'{\"a\": 1}'", "'[1, 2]'", "'äöü'", "'it''s'", "'a  b'", UUID,
    "'6CCD780CBABA102695645B8C656024DB'",
)  # fmt: skip

MARIADB = Values(
    key="INT AUTO_INCREMENT PRIMARY KEY",
    sources={
        "bit(1)": ("b'0'", "b'1'"),
        "bit(12)": ("b'0'", "b'110000'", "b'111111111111'"),
        "tinyint(1)": ("-128", "0", "1", "127"),
        "tinyint(4)": ("-128", "0", "127"),
        "int(10) unsigned": ("0", "2147483647", "2147483648", "4294967295"),
        "int(5) unsigned zerofill": ("0", "7", "12345"),
        "bigint(20)": ("-9223372036854775808", "9007199254740993", "20200131"),
        "bigint(20) unsigned": ("9223372036854775808", "18446744073709551615"),
        "float": (
            "0.1", "-2.5", "16777217", "0.333333333", "1e20", "1e-10", "123456.7",
        ),
        "float(7,4)": ("0.1", "123.4567"),
        "float unsigned": ("0.1", "16777217"),
        "double": ("0.1", "1e15", "9007199254740993", "1e300", "0.30000000000000004"),
        "decimal(20,4)": ("0.1", "123456789012345.6789", "-7"),
        "decimal(6,2) unsigned": ("0.1", "9999.99"),
        "varchar(60)": ("'7'", "'äöü'", "'€'"),
        "varchar(60) character set utf8mb4": TEXTS,
        "varchar(60) character set ucs2": ("'7'", "'äöü'", "'€'"),
        "char(40)": (*TEXTS, "'€'"),
        "text": (*TEXTS, "repeat('x', 300)"),
        "text character set utf8mb4": ("'7'", "'äöü'", "'€'"),
        "enum('0','1','2','10','x')": ("'0'", "'1'", "'2'", "'10'", "'x'"),
        "enum('2020-01-01','1.50','1.5')": ("'2020-01-01'", "'1.50'", "'1.5'"),
        "set('5','10','11')": ("'5'", "'10'", "'11'", "'5,11'", "''"),
        "date": ("'2020-02-29'", "'0000-00-00'", "'9999-12-31'"),
        "time(3)": ("'10:11:12'", "'10:11:12.500'", "'-01:00:00'", "'99:00:00'"),
        "datetime(6)": (
            "'2020-02-29 00:00:00'", "'2020-02-29 10:11:12'",
            "'2020-02-29 10:11:12.000001'",
        ),
        "timestamp": ("'2020-02-29 00:00:00'", "'2020-02-29 10:11:12'"),
        "year": ("2020", "1901"),
        "blob": ("'7'", "x'00ff'", "''", "'äöü'", "x'80'", "'it''s\\n'"),
        "binary(4)": ("'7'", "x'00ff'", "''"),
        "json": ("'{\"a\": 1}'", "'7'", "'\"7\"'"),
        "uuid": (UUID,),
        "inet6": ("'::1'", "'::10.0.0.1'"),
    },
    quick=("char(40)", "enum('0','1','2','10','x')"),
    targets=MARIADB_TARGETS,
    text="CAST(value AS CHAR)",
    texts={"bit": "CAST(value + 0 AS CHAR)"},
    settings=("SET sql_mode = 'STRICT_ALL_TABLES'",),
    table=" DEFAULT CHARACTER SET latin1",
)  # fmt: skip

_ONLY_MARIADB = ("uuid", "inet6")
MYSQL = MARIADB._replace(
    sources={
        **{
            type_: values
            for type_, values in MARIADB.sources.items()
            if type_ not in _ONLY_MARIADB
        },
        "json": (
            "'{\"a\": 1}'", "'7'", "'\"7\"'", "'7.0'", "'\"2020-02-29\"'", "'true'",
            "'null'", "CAST(CAST('2020-02-29' AS DATE) AS JSON)",
            "CAST(CAST(0.1 AS DECIMAL(5, 3)) AS JSON)", "'[1, 2]'",
        ),
        "point": ("ST_GeomFromText('POINT(1 2)')",),
        "vector(2)": ("string_to_vector('[1, 2]')",),
    },
    quick=(),
    # The text of bytes that are not UTF-8 is NULL.
    text="coalesce(CAST(value AS CHAR), HEX(value))",
    texts={
        "bit": "CAST(value + 0 AS CHAR)",
        "point": "ST_AsText(value)",
        "vector": "vector_to_string(value)",
    },
)  # fmt: skip

# A column of any type holds values of any type.
_ANY_VALUES = (
    *TEXTS, "0", "1", "7", "-7", "0.1", "2.0", "2.5", "9007199254740993", "1e15",
    "1e300", "9e999", "-9223372036854775808", "9223372036854775807", "1 / 3.0", "x'37'",
    "x'00ff'", "x''", "0.1 + 0.2", "123456789.123456789", "16777217", "20200229",
)  # fmt: skip
SQLITE = Values(
    key="INTEGER NOT NULL PRIMARY KEY",
    sources=dict.fromkeys(
        (
            "INTEGER", "REAL", "NUMERIC", "DECIMAL(10,3)", "VARCHAR(60)", "TEXT",
            "TEXT COLLATE NOCASE", "BLOB", "", "BOOLEAN", "DATE", "TIME", "DATETIME",
            "JSON", "UUID", "STRING",
        ),
        _ANY_VALUES,
    ),
    quick=("TEXT", "REAL", "BLOB"),
    targets=SQLITE_TARGETS,
    text="value",
)  # fmt: skip

POSTGRESQL = Values(
    key="SERIAL PRIMARY KEY",
    sources={
        "boolean": ("true", "false"),
        "smallint": ("-32768", "0", "1", "32767"),
        "integer": ("-2147483648", "0", "1", "16777217", "20200229"),
        "bigint": ("-9223372036854775808", "9007199254740993", "20200229"),
        "oid": ("0", "4294967295"),
        "numeric": (
            "0", "1", "1.0", "-0.1", "'NaN'", "0.30000000000000004", "12345678.123",
            "1234567.1235", "1e300", "1e-300", "9007199254740993", "1.5", "32767.5",
        ),
        "numeric(20,4)": ("0.1", "123456789012345.6789", "-7", "1.2340"),
        "real": (
            "0", "'-0'", "1", "0.1", "-2.5", "16777216", "0.333333333", "1e20", "1e-30",
            "123456.7", "'NaN'", "'Infinity'",
        ),
        "double precision": (
            "0", "'-0'", "1", "0.1", "1e15", "9007199254740993", "1e300", "1e-310",
            "0.30000000000000004", "'NaN'", "'-Infinity'", "1e22",
        ),
        "money": ("0", "12.34", "-1234.5"),
        "varchar(60)": TEXTS,
        "char(40)": TEXTS,
        "text": (*TEXTS, "repeat('x', 300)", "E'\\\\x3761'", "E'a\\nb'", "'\\x37'"),
        '"char"': ("'7'", "'x'"),
        "name": ("'7'", "'x'"),
        "date": ("'2020-02-29'", "'infinity'", "'0044-03-15 BC'", "'12345-01-01'"),
        "time": ("'10:11:12'", "'10:11:12.000001'", "'24:00:00'"),
        "timetz": ("'10:11:12+02'",),
        "interval": ("'1 day'", "'10:11:12'", "'1 month'"),
        "timestamp": (
            "'2020-02-29 00:00:00'", "'2020-02-29 10:11:12'",
            "'2020-02-29 10:11:12.000001'", "'infinity'", "'0044-03-15 10:00:00 BC'",
        ),
        "timestamptz": (
            "'2020-02-29 00:00:00+00'", "'2020-02-29 10:11:12+02'",
            "'2020-02-29 10:11:12.000001+00'", "'-infinity'",
        ),
        "bytea": ("'7'", "'\\x00ff'", "''", "'\\xc3a4'"),
        "json": (
            "'{\"a\": 1}'", "'{\"b\": 1, \"a\": [1, 2]}'", "'{\"a\": 1, \"a\": 2}'",
            "'7'", "'7.0'", "'\"7\"'", "'\"\\u0000\"'", "'1e400'", "'null'", "' 7 '",
        ),
        "jsonb": ("'{\"a\": 1}'", "'7'", "'7.0'", "'\"7\"'", "'null'"),
        "uuid": (UUID,),
        "inet": ("'10.0.0.1'", "'10.0.0.1/24'", "'::1'"),
        "cidr": ("'10.0.0.0/24'", "'10.0.0.1'"),
        "macaddr": ("'08:00:2b:01:02:03'",),
        "bit(8)": ("B'00000111'",),
        "bit varying": ("B'1'", "B'00000111'"),
        "integer[]": ("'{1,2}'", "'{}'"),
        "text[]": ("'{1,NULL}'",),
        "xml": ("'<a/>'",),
        "tsvector": ("'a b'",),
        "point": ("'(1,2)'",),
        "int4range": ("'[1,2)'",),
        "mood": ("'7'", "'true'", "'2020-02-29'", "'x'"),
        "plain_text": ("'7'", "'x'", "''"),
        "pair": ("'(1,x)'",),
        "varchar(20)[]": ("'{1,abcdef}'", "'{}'", "'{NULL}'"),
        "interval day to second(0)": ("'1 day'", "'10:11:12'"),
        "timestamptz(0)": ("'2020-02-29 10:11:12+02'",),
        "timestamp(3)": ("'2020-02-29 10:11:12.345'",),
        "hstore": ("'a=>1'", "'a=>NULL, b=>\"x y\"'", "''"),
        "citext": ("'7'", "'Ab'", "'ab'"),
        "macaddr8": ("'08:00:2b:01:02:03:04:05'", "'08:00:2b:ff:fe:02:03:04'"),
    },
    quick=("text", "numeric"),
    targets=POSTGRESQL_TARGETS,
    text="value::text",
    texts={"inet": "abbrev(value)"},
    settings=(
        "SET TimeZone = 'UTC'",
        "CREATE EXTENSION IF NOT EXISTS hstore",
        "CREATE EXTENSION IF NOT EXISTS citext",
        "CREATE TYPE mood AS ENUM ('7', 'true', '2020-02-29', 'x')",
        "CREATE DOMAIN plain_text AS text",
        "CREATE TYPE pair AS (number integer, word text)",
    ),
)  # fmt: skip

VALUES = {
    "sqlite": SQLITE,
    "postgresql": POSTGRESQL,
    "mysql": MARIADB,
    "mysql97": MYSQL,
}
