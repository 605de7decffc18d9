"""What errors of databases are taken for, and what their messages advise to do.

The errors are made here: not every one of them can be provoked in a test.
"""

import peewee
import pytest

import db
from db import refused_rows
from migrations import phase_4_5
from migrations.engines import engine_for
from migrations.engines.mysql.server_errors import error_code

PSYCOPG = pytest.mark.drivers("postgresql")
PYMYSQL = pytest.mark.drivers("mysql")


def translated(error):
    """Return the exception that Peewee raises for one of a driver."""
    with pytest.raises(peewee.PeeweeException) as caught, peewee.__exception_wrapper__:
        raise error
    return caught.value


def of_postgresql(name, text="no"):
    import psycopg

    return translated(getattr(psycopg.errors, name)(text))


def of_mysql(code, text="no", kind="OperationalError"):
    import pymysql

    return translated(getattr(pymysql.err, kind)(code, text))


def message(url, error):
    """Return what a call of a phase says about an error, without the database."""
    engine = engine_for(db.connect(url), phase_4_5.phase.models, 10.0)
    made = engine.session.translate_error(error)
    return f"{type(made).__name__}: {made}"


# -- uploads


@PSYCOPG
@pytest.mark.parametrize(
    "name",
    [
        "CheckViolation",
        "InsufficientPrivilege",  # also of a row that row-level security refuses
        "NumericValueOutOfRange",
        "RaiseException",
        "UniqueViolation",
    ],
)
def test_error_of_postgresql_about_a_row(name):
    assert refused_rows.is_row_error(of_postgresql(name))


@PSYCOPG
@pytest.mark.parametrize(
    "name",
    [
        "AdminShutdown",
        "ConnectionFailure",
        "DeadlockDetected",
        "DiskFull",
        "FeatureNotSupported",
        "InternalError_",
        "InvalidCatalogName",
        "InvalidPassword",
        "IoError",
        "LockNotAvailable",
        "ReadOnlySqlTransaction",
        "UndefinedFunction",
    ],
)
def test_error_of_postgresql_about_no_row(name):
    assert not refused_rows.is_row_error(of_postgresql(name))


@PYMYSQL
@pytest.mark.parametrize("code", [1062, 1264, 1406, 1452, 1644, 3819, 4025])
def test_error_of_mysql_about_a_row(code):
    assert refused_rows.is_row_error(of_mysql(code))


@PYMYSQL
@pytest.mark.parametrize(
    "code",
    [
        *(0, 2000, 2006, 2013, 2999),  # of the client
        *(1021, 1114),  # the disk or a table is full
        *(1036, 1290, 1792, 1836),  # read-only
        *(1037, 1038, 1040, 1041, 1206, 1226),  # memory, connections, limits
        *(1044, 1045, 1142, 1143, 1227, 1370),  # rights
        *(1030, 1178, 1180),  # storage engine
        *(1046, 1049, 1064),  # no database, syntax
        *(1205, 1213),  # locks
        *(1047, 1053, 1317, 1927, 1969, 3024),  # shutdown, interruption, timeout
        *(1153, 1158, 1159, 1160, 1161),  # connection
    ],
)
def test_error_of_mysql_about_no_row(code):
    assert not refused_rows.is_row_error(of_mysql(code))


@PYMYSQL
@pytest.mark.parametrize("code", [0, 1053, 1927, 2006, 2013, 2055, 4031])
def test_connection_to_mysql_is_lost(code):
    assert refused_rows.is_connection_lost(of_mysql(code))


@PYMYSQL
@pytest.mark.parametrize("code", [1, 1062, 2003, 2005])
def test_connection_to_mysql_is_not_lost(code):
    assert not refused_rows.is_connection_lost(of_mysql(code))


@PYMYSQL
@PSYCOPG
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: of_postgresql("UndefinedTable"), True),
        (lambda: of_postgresql("UndefinedColumn"), True),
        (lambda: of_postgresql("InvalidColumnReference"), True),
        (lambda: of_postgresql("UndefinedFunction"), False),
        (lambda: of_mysql(1146), True),
        (lambda: of_mysql(1054), True),
        (lambda: of_mysql(1051), False),
        (lambda: peewee.OperationalError("no such table: t"), True),
        (lambda: peewee.OperationalError("table t has no column named x"), True),
        (
            lambda: peewee.OperationalError(
                "ON CONFLICT clause does not match any PRIMARY KEY"
            ),
            True,
        ),
        (lambda: peewee.OperationalError("there is no such table: t"), False),
    ],
)
def test_table_that_is_not_the_models(make, expected):
    assert refused_rows.is_schema_error(make()) == expected


@PYMYSQL
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: of_mysql(1264, "Out of range value for column 'n' at row 12"),
            "Out of range value for column 'n'",
        ),
        (lambda: peewee.OperationalError("one\ntwo"), "one"),
        (lambda: peewee.OperationalError(), "OperationalError"),
        (lambda: OverflowError("too large"), "too large"),
    ],
)
def test_text_of_an_error_is_its_first_line(make, text):
    assert refused_rows.error_text(make()) == text


# -- calls of a phase

ADMINISTRATOR = "an administrator has to run: "


@PSYCOPG
@pytest.mark.parametrize(
    ("name", "text", "advice"),
    [
        (
            "InsufficientPrivilege",
            'query would be affected by row-level security policy for table "stores"',
            f'{ADMINISTRATOR}ALTER ROLE "app" BYPASSRLS',
        ),
        (
            "InsufficientPrivilege",
            "permission denied for schema public LINE 1: CREATE TABLE",
            f'{ADMINISTRATOR}GRANT CREATE, USAGE ON SCHEMA "public" TO "app"',
        ),
        (
            "InsufficientPrivilege",
            "must be owner of table weekly_actuals",
            f'{ADMINISTRATOR}ALTER TABLE "weekly_actuals" OWNER TO "app"',
        ),
        (
            "InsufficientPrivilege",
            "permission denied for table stores",
            f"{ADMINISTRATOR}GRANT SELECT, INSERT, DELETE, REFERENCES ON "
            '"stores", "historical_sales", "categories", "workflows" TO "app"',
        ),
        (
            "InsufficientPrivilege",
            "permission denied for table weekly_actuals",
            f"{ADMINISTRATOR}GRANT SELECT, INSERT, DELETE, REFERENCES ON "
            '"weekly_actuals", "historical_sales", "stores", "categories", '
            '"workflows" TO "app"',
        ),
        (
            "QueryCanceled",
            "canceling statement due to statement timeout",
            "connect to the server itself, not to a pooler, or run: "
            'ALTER ROLE "app" SET statement_timeout = 0',
        ),
        (
            "ReadOnlySqlTransaction",
            "cannot execute CREATE TABLE in a read-only transaction",
            "connect to the primary, or run: "
            'ALTER ROLE "app" SET default_transaction_read_only = off',
        ),
        (
            "TooManyConnections",
            "remaining connection slots are reserved",
            "a run uses up to two connections; close some, or raise the limit",
        ),
        (
            "TooManyConnections",
            'too many connections for role "app"',
            "a run uses up to two connections; close some, or raise the limit",
        ),
        (
            "InvalidTableDefinition",
            "constraints on permanent tables may reference only permanent tables",
            "run ALTER TABLE … SET LOGGED on the table referred to",
        ),
        (
            "InvalidAuthorizationSpecification",
            'role "app" does not exist',
            "check the user in the URL, or create it with createuser",
        ),
        (
            "InvalidCatalogName",
            'database "shop" does not exist',
            "check the name in the URL, or create it with createdb",
        ),
        (
            "InvalidPassword",
            "no password supplied",
            "check the user and the password in the URL",
        ),
        (
            "ConnectionFailure",
            "server closed the connection unexpectedly",
            "check that the server runs and can be reached, then run again",
        ),
        (
            "DiskFull",
            "could not extend file",
            "check that the server runs and can be reached, then run again",
        ),
        (
            "AdminShutdown",
            "terminating connection",
            "check that the server runs and can be reached, then run again",
        ),
        ("FeatureNotSupported", "not so", None),
    ],
)
def test_error_of_postgresql_says_what_to_do(name, text, advice):
    expected = f"DatabaseUnavailable: postgresql://app@host/shop: {text}"
    if advice:
        expected += f"; {advice}"
    found = message("postgresql://app@host/shop", of_postgresql(name, text))
    assert found == expected


@PSYCOPG
@pytest.mark.parametrize(
    "name", ["SyntaxError", "UndefinedColumn", "UndefinedFunction"]
)
def test_invalid_sql_of_a_model_is_refused_on_postgresql(name):
    assert message("postgresql://app@host/shop", of_postgresql(name, "what?")) == (
        "ChangeRefused: postgresql://app@host/shop: a CHECK or a DEFAULT of the model "
        "is not valid here: what?; correct the model, then run again"
    )


@PSYCOPG
def test_advice_without_a_user_in_the_url():
    error = of_postgresql("InsufficientPrivilege", "must be owner of index i")
    assert message("postgresql://host/shop", error).endswith(
        'ALTER TABLE "weekly_actuals" OWNER TO "the_user"'
    )


@PYMYSQL
@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (1045, "check the user and the password in the URL"),
        (1049, "check the name in the URL, or create the database"),
        (
            4119,
            "remove the system versioning, or run: "
            "SET GLOBAL system_versioning_alter_history = KEEP",
        ),
        *(
            (code, "check that the server runs and can be reached, then run again")
            for code in (0, 2003, 2006, 2013)
        ),
        *(
            (code, "connect to the primary, or end what makes it read-only")
            for code in (1290, 1792, 1836)
        ),
        *(
            (
                code,
                f"{ADMINISTRATOR}GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, "
                "INDEX, DROP, REFERENCES ON `shop`.* TO 'app'@'%'",
            )
            for code in (1044, 1142, 1227)
        ),
        (1005, None),
    ],
)
def test_error_of_mysql_says_what_to_do(code, advice):
    text = "Access denied for user 'app'@'%' to database 'shop'"
    found = message("mysql://app@host/shop", of_mysql(code, text))
    beginning, separator, end = found.partition(text)
    assert separator
    assert beginning.startswith("DatabaseUnavailable: mysql://app@host/shop: ")
    assert end.removeprefix('")').removeprefix(")") == (f"; {advice}" if advice else "")


@PYMYSQL
def test_number_of_an_error_of_mysql():
    assert error_code(of_mysql(1064)) == 1064
    assert error_code(peewee.OperationalError("no number")) == 0
    assert error_code(peewee.OperationalError()) == 0


APPLICATIONS_OWN = "it is the application's own: run there, by ensure(database)"


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (
            "unable to open database file",
            "check that the path is a file in a folder that can be read and written",
        ),
        (
            "file is not a database",
            "check the path: this file is something else",
        ),
        (
            "attempt to write a readonly database",
            "give the file and its folder write permission",
        ),
        (
            "database or disk is full",
            "free some space and run again: nothing was changed",
        ),
        ("disk I/O error", "check the disk and run again: nothing was changed"),
        ("database disk image is malformed", "restore the file from a backup"),
        ("no such function: f", APPLICATIONS_OWN),
        ("unknown function: f()", APPLICATIONS_OWN),
        ("no such collation sequence: c", APPLICATIONS_OWN),
        ("near x: syntax error", None),
    ],
)
def test_error_of_sqlite_says_what_to_do(text, advice):
    expected = f"DatabaseUnavailable: sqlite:///app.db: {text}"
    if advice:
        expected += f"; {advice}"
    assert message("sqlite:///app.db", peewee.OperationalError(text)) == expected


@pytest.mark.parametrize("kind", [peewee.IntegrityError, peewee.DataError])
def test_error_about_rows_is_a_refusal(kind):
    assert message("sqlite:///app.db", kind("UNIQUE failed")) == (
        "ChangeRefused: sqlite:///app.db: rows conflict with the change "
        "(UNIQUE failed); nothing was changed"
    )


def test_error_about_rows_says_what_was_done_before():
    database = db.connect("sqlite:///app.db")
    session = engine_for(database, phase_4_5.phase.models, 10.0).session
    session.executed.append("a statement")
    assert str(session.translate_error(peewee.IntegrityError("no"))) == (
        "sqlite:///app.db: rows conflict with the change (no); "
        "what was done before it stays; fix the rows, then run again"
    )


def test_character_without_an_encoding_is_an_error():
    error = UnicodeEncodeError("latin-1", "€", 0, 1, "ordinal not in range(256)")
    assert message("sqlite:///app.db", error) == (
        "DatabaseUnavailable: sqlite:///app.db: the encoding of the connection lacks "
        f"a character of the tables ({error}); use one that has it, such as UTF-8"
    )


@pytest.mark.parametrize("text", ["database is locked", "database table is locked: t"])
def test_lock_of_sqlite_is_a_timeout(text):
    found = message("sqlite:///app.db", peewee.OperationalError(text))
    beginning, _, end = found.partition(": waited ")
    assert beginning == "LockTimeout: sqlite:///app.db is locked"
    assert end.startswith("0.0 s of 10 for weekly_actuals, or a table referred to (")
    assert end.endswith("); try again, or raise --lock-timeout")
    assert f"({text}; " in end
