"""From a URL to a database and back, without showing a password."""

import subprocess
import sys

import peewee
import pytest
from application import ROOT, execute, fetch

import db
from db.url import describe, without_password

SERVERS = [
    ("postgresql://app:pw@host:5433/shop", peewee.PostgresqlDatabase),
    ("postgres://app:pw@host:5433/shop", peewee.PostgresqlDatabase),
    ("postgresql+psycopg://app:pw@host:5433/shop", peewee.PostgresqlDatabase),
    ("postgresql+psycopg2://app:pw@host:5433/shop", peewee.PostgresqlDatabase),
    ("postgresql+asyncpg://app:pw@host:5433/shop", peewee.PostgresqlDatabase),
    ("postgresql+pool://app:pw@host:5433/shop", peewee.PostgresqlDatabase),
    ("mysql://app:pw@host:5433/shop", peewee.MySQLDatabase),
    ("mysql+pymysql://app:pw@host:5433/shop", peewee.MySQLDatabase),
    ("mysql+mysqldb://app:pw@host:5433/shop", peewee.MySQLDatabase),
    ("mysql+aiomysql://app:pw@host:5433/shop", peewee.MySQLDatabase),
    ("mysql+pool://app:pw@host:5433/shop", peewee.MySQLDatabase),
    ("mariadb://app:pw@host:5433/shop", peewee.MySQLDatabase),
    ("mariadb+pymysql://app:pw@host:5433/shop", peewee.MySQLDatabase),
    ("mariadb+mysqldb://app:pw@host:5433/shop", peewee.MySQLDatabase),
    ("mariadb+aiomysql://app:pw@host:5433/shop", peewee.MySQLDatabase),
    ("cockroachdb://app:pw@host:5433/shop", peewee.PostgresqlDatabase),
]


@pytest.mark.drivers
@pytest.mark.parametrize(("url", "kind"), SERVERS)
def test_scheme_selects_the_database_class(url, kind):
    database = db.connect(url)
    assert isinstance(database, kind)
    assert database.database == "shop"


@pytest.mark.drivers
@pytest.mark.parametrize(("url", "kind"), SERVERS)
def test_user_host_port_and_password_are_read(url, kind):
    params = db.connect(url).connect_params
    secret = params.get("password", params.get("passwd"))
    assert (params["user"], params["host"], params["port"], secret) == (
        "app",
        "host",
        5433,
        "pw",
    )


@pytest.mark.drivers("postgresql")
def test_scheme_may_be_in_capitals():
    assert isinstance(db.connect("POSTGRESQL://host/shop"), peewee.PostgresqlDatabase)


@pytest.mark.drivers("postgresql")
def test_cockroachdb_has_the_class_of_peewee():
    assert type(db.connect("cockroachdb://host/shop")).__name__ == "CockroachDatabase"


def test_relative_path_has_three_slashes():
    assert db.connect("sqlite:///some/file.db").database == "some/file.db"


def test_absolute_path_has_four_slashes():
    assert db.connect("sqlite:////some/file.db").database == "/some/file.db"


@pytest.mark.parametrize(
    "scheme", ["sqlite", "sqlite+pysqlite", "sqlite+aiosqlite", "SQLite+AIOSQLite"]
)
def test_all_schemes_of_sqlite_open_the_same_file(scheme):
    assert db.connect(f"{scheme}:///some/file.db").database == "some/file.db"
    assert (
        db.connect(f"{scheme}:////some/file.db?timeout=3").database == "/some/file.db"
    )


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+pysqlite://"]
)
def test_url_without_a_path_is_an_in_memory_database(url):
    assert db.connect(url).database == ":memory:"


def test_percent_sign_in_a_file_name_is_not_decoded():
    assert db.connect("sqlite:////data/50%25.db").database == "/data/50%25.db"


def test_default_url_is_that_of_the_environment(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "sqlite:///from_environment.db")
    assert db.connect().database == "from_environment.db"


@pytest.mark.parametrize("value", [None, ""])
def test_default_url_without_environment_is_a_file(monkeypatch, value):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    if value is not None:
        monkeypatch.setenv("DATABASE_URL", value)
    assert db.connect().database == "fashion_forecast.db"


def test_database_is_not_opened_and_no_file_is_created(tmp_path):
    database = db.connect(f"sqlite:///{tmp_path}/new.db")
    assert database.is_closed()
    assert list(tmp_path.iterdir()) == []


def test_connection_enforces_foreign_keys(database):
    with database.connection_context():
        assert database.pragma("foreign_keys") == 1


def test_connection_has_a_busy_timeout(database):
    with database.connection_context():
        assert database.pragma("busy_timeout") >= 1000


def test_timeout_of_the_url_replaces_the_default(path):
    database = db.connect(f"sqlite:///{path}?timeout=3")
    with database.connection_context():
        assert database.pragma("busy_timeout") == 3000


def test_read_only_uri_cannot_write(path):
    database = db.connect(f"sqlite:///file:{path}?mode=ro&uri=true")
    with (
        database.connection_context(),
        pytest.raises(peewee.OperationalError, match="readonly"),
    ):
        database.execute_sql("CREATE TABLE t (x)")


@pytest.mark.drivers("postgresql", "mysql")
def test_options_of_a_server_are_passed_on():
    assert (
        db.connect("postgresql://host/shop?sslmode=require").connect_params["sslmode"]
        == "require"
    )
    assert (
        db.connect("mysql+pymysql://host/shop?charset=utf8mb4").connect_params[
            "charset"
        ]
        == "utf8mb4"
    )


# -- URLs that cannot be used


@pytest.mark.drivers
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("oracle://host/shop", "unknown scheme 'oracle' in "),
        ("postgresql+nodriver://host/shop", "unknown scheme 'postgresql+nodriver' in "),
        ("sqlite+nodriver:///shop.db", "unknown scheme 'sqlite+nodriver' in "),
        ("shop.db", "the database URL has no scheme; "),
        ("postgresql://app:secret@host", "the postgresql URL has no database name; "),
        ("postgresql://app:secret@host/", "the postgresql URL has no database name; "),
        (
            "mysql://app:secret@host/?charset=utf8",
            "the mysql URL has no database name; ",
        ),
        ("sqlite://file.db", "the sqlite URL has no database name; "),
        (
            "postgresql://app:secret@host:port/shop",
            "the postgresql URL cannot be read; ",
        ),
        ("postgresql://app:secret@[host/shop", "the postgresql URL cannot be read; "),
    ],
)
def test_unusable_url_says_what_is_wrong(url, says):
    with pytest.raises(db.UnusableURL) as caught:
        db.connect(url)
    text = str(caught.value)
    assert text.startswith(says)
    assert "secret" not in text
    assert "\n" not in text


@pytest.mark.drivers
@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "oracle://host/shop",
            "unknown scheme 'oracle' in the database URL; "
            "known are sqlite, postgresql, postgres, cockroachdb, mysql, mariadb",
        ),
        (
            "app:secret@host://shop",
            "unknown scheme *** in the database URL; "
            "known are sqlite, postgresql, postgres, cockroachdb, mysql, mariadb",
        ),
        (
            "shop.db",
            "the database URL has no scheme; "
            "write for example sqlite:///fashion_forecast.db",
        ),
        (
            "sqlite://file.db",
            "the sqlite URL has no database name; "
            "a file takes three slashes: sqlite:///file.db",
        ),
        (
            "mariadb://app:secret@host",
            "the mariadb URL has no database name; write mariadb://host/name",
        ),
        (
            "postgresql://app:secret@host:port/shop",
            "the postgresql URL cannot be read; "
            "write postgresql://user:password@host:port/name "
            "and percent-encode special characters in the password",
        ),
    ],
)
def test_unusable_url_says_how_to_write_it(url, message):
    with pytest.raises(db.UnusableURL) as caught:
        db.connect(url)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("url", "missing", "message"),
    [
        (
            "mysql://host/shop",
            ["mysql"],
            "no driver for mysql:// is installed; run: pip install 'PyMySQL'",
        ),
        (
            "postgres://host/shop",
            ["psycopg", "psycopg2"],
            "no driver for postgres:// is installed; "
            "run: pip install 'psycopg[binary]'",
        ),
    ],
)
def test_missing_driver_names_the_package(url, missing, message, monkeypatch):
    for driver in missing:
        monkeypatch.setattr(peewee, driver, None)
    with pytest.raises(db.url.MissingDriver) as caught:
        db.connect(url)
    assert str(caught.value) == message


@pytest.mark.drivers
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:///file.db?no_such_option=1", "(no_such_option): "),
        ("sqlite+aiosqlite:///file.db?no_such_option=1", "(no_such_option): "),
        (
            "postgresql://app:secret@host/shop?no_such_option=secret",
            "(no_such_option): ",
        ),
        ("postgresql+asyncpg://app:secret@host/shop?ssl=require", "(ssl): "),
        ("postgresql+pool://host/shop?max_connection=2", "(max_connection): "),
        ("mysql://app:secret@host/shop?no_such_option=secret", "(no_such_option): "),
        ("mariadb://app:secret@host/shop?ssl_mode=1", "(ssl_mode): "),
        ("mysql://app:secret@host/shop?charset=none_such", "(charset): "),
        ("mysql://app:secret@host/shop?connect_timeout=soon", "(connect_timeout): "),
        (
            "mysql://app:secret@host/shop?ssl_ca=/none/such",
            "(ssl_ca): [Errno 2] No such file or directory",
        ),
    ],
)
def test_unusable_option_is_named(url, says):
    with pytest.raises(db.UnusableURL) as caught:
        db.connect(url)
    text = str(caught.value)
    scheme = url.partition(":")[0]
    beginning = f"the {scheme} URL has an option that cannot be used {says}"
    assert text.startswith(beginning)
    assert "secret" not in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "name",
    ["autoconnect", "pragmas", "rank_functions", "regexp_function", "thread_safe"],
)
def test_arguments_of_peewees_class_are_no_options_of_a_url(name):
    says = rf"cannot be used \({name}\): it can be set in Python only$"
    with pytest.raises(db.UnusableURL, match=says):
        db.connect(f"sqlite:///app.db?{name}=1")


def test_unknown_option_in_the_url_is_a_usage_error(cli):
    done = cli("--check", "--database", "postgresql://127.0.0.1/shop?no_such_option=1")
    assert done.returncode == 2
    assert "no_such_option" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("scheme", ["postgresql+pool", "mysql+pool"])
def test_options_of_a_pool_are_not_passed_to_the_driver(scheme):
    database = db.connect(
        f"{scheme}://host/shop?max_connections=3&stale_timeout=4&timeout=5"
    )
    assert (
        not {"max_connections", "stale_timeout", "timeout"}
        & database.connect_params.keys()
    )


def test_older_peewee_is_refused_in_one_line():
    script = (
        "import peewee, db; peewee.__version__ = '3.19.0'; "
        "db.connect('sqlite:///shop.db')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (
        "Peewee 4.0 or newer is needed, not 3.19.0; run: pip install -U peewee"
        in done.stderr.splitlines()[-1]
    )


# A password in all the places where a URL may be malformed.
MALFORMED = [
    "postgresql://app:s3cr3t@host",
    "postgresql://app:s3cr3t@host:port/shop",
    "postgresql://app:1/s3cr3t@host/shop",
    "mysql://app:s3cr3t?x@host/shop",
    "mysql://app:s3cr3t#x@host/shop",
    "sqlite://app:s3cr3t@host/shop",
    "oracle://app:s3cr3t@host/shop",
    "app:s3cr3t@host://shop",
    "postgresql:app:s3cr3t@host/shop",
    "host=db password=s3cr3t dbname=shop",
    "mysql://app:s3cr3t@[::1/shop",
]


@pytest.mark.drivers
@pytest.mark.parametrize("url", MALFORMED)
def test_error_of_an_unusable_url_has_no_password(url):
    with pytest.raises(db.UnusableURL) as caught:
        db.connect(url)
    assert "s3cr3t" not in str(caught.value) + repr(caught.value)


@pytest.mark.drivers("postgresql")
def test_error_hides_its_cause_that_quotes_the_password():
    with pytest.raises(db.UnusableURL) as caught:
        db.connect("postgresql://app:s3cr3t@host:port/shop")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


# -- passwords


@pytest.mark.drivers
@pytest.mark.parametrize("scheme", ["postgresql", "mysql+pymysql"])
@pytest.mark.parametrize(
    ("written", "meant"),
    [("p%40s%2Fs%3A%25", "p@s/s:%"), ("a+b", "a+b"), ("%C3%A9", "é")],
)
def test_percent_encoded_password_is_decoded(scheme, written, meant):
    params = db.connect(f"{scheme}://app:{written}@host/shop").connect_params
    assert params.get("password", params.get("passwd")) == meant


@pytest.mark.drivers("postgresql")
def test_percent_encoded_user_and_name_are_decoded():
    database = db.connect("postgresql://a%40b:pw@host/my%20shop")
    assert (database.connect_params["user"], database.database) == ("a@b", "my shop")


@pytest.mark.drivers
@pytest.mark.parametrize(("url", "kind"), SERVERS)
def test_describe_shows_all_except_the_password(url, kind):
    text = describe(db.connect(url))
    assert text.endswith("://app@host:5433/shop")
    assert "pw" not in text


@pytest.mark.drivers
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://host/shop",
        "postgresql://a%40b%2Fc@host/my%20shop%3F%23%2F%25",
        "postgresql://app@[::1]:5433/shop",
        "postgresql:///shop?host=/var/run/postgresql",
        "postgresql://app@:5433/shop?host=/tmp/a%20b%26c",
        "mysql://app@host/caf%C3%A9",
        "mysql://app@/shop?unix_socket=/run/mysqld/mysqld.sock",
        "sqlite:///some/file.db",
        "sqlite:////some/50%.db",
        "sqlite:///:memory:",
        "sqlite:///file:some/file.db?mode=ro&uri=true",
    ],
)
def test_described_url_opens_the_same_database(url):
    database = db.connect(url)
    described = describe(database)
    assert described == url
    again = db.connect(described)
    assert again.database == database.database
    assert again.connect_params == database.connect_params


@pytest.mark.drivers("postgresql")
def test_describe_leaves_out_options():
    assert "hush" not in describe(
        db.connect("postgresql://app@host/shop?password=hush&sslpassword=hush")
    )


def test_describe_hides_a_connection_string():
    for name in ("postgresql://app:hush@host/shop", "host=x password=hush dbname=shop"):
        assert "hush" not in describe(peewee.PostgresqlDatabase(name))


@pytest.mark.drivers
@pytest.mark.parametrize(
    ("connect", "name", "options"),
    [
        (db.connect, "postgresql://app:hu%2Fsh@host/shop", {}),
        (db.connect, "mysql://app:hu%2Fsh@host/shop", {}),
        (peewee.PostgresqlDatabase, "shop", {"password": "hu/sh"}),
        (peewee.MySQLDatabase, "shop", {"passwd": "hu/sh"}),
        (peewee.PostgresqlDatabase, "postgresql://app:hu%2Fsh@host/shop", {}),
        (peewee.PostgresqlDatabase, "host=x password='hu/sh' dbname=shop", {}),
    ],
)
def test_password_in_the_text_of_a_driver_is_replaced(connect, name, options):
    text = without_password(
        connect(name, **options), 'connection to "hu/sh" failed, also hu%2Fsh'
    )
    assert "hu/sh" not in text
    assert "hu%2Fsh" not in text


# -- missing drivers

BLOCKER = """
import sys
drivers = ("psycopg", "psycopg2", "pymysql", "MySQLdb", "mysql", "cymysql")
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in drivers:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
from migrations.phase_4_5 import phase
raise SystemExit(phase.main(sys.argv[1:]))
"""


def without_drivers(*arguments):
    command = [sys.executable, "-c", BLOCKER, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("scheme", "package"),
    [
        ("postgresql", "psycopg[binary]"),
        ("postgresql+psycopg2", "psycopg[binary]"),
        ("cockroachdb", "psycopg[binary]"),
        ("mysql", "PyMySQL"),
        ("mariadb", "PyMySQL"),
    ],
)
def test_missing_driver_names_the_package_to_install(scheme, package):
    done = without_drivers("--database", f"{scheme}://app:s3cr3t@host/shop")
    assert done.returncode == 2
    assert f"pip install '{package}'" in done.stderr
    assert "s3cr3t" not in done.stderr
    assert "Traceback" not in done.stderr


def test_sqlite_needs_no_driver(path):
    assert without_drivers("--database", f"sqlite:///{path}").returncode == 0


def test_models_need_no_driver(path):
    execute(path, "UPDATE stores SET store_name = 'Uno' WHERE store_id = 'S001'")
    script = (
        BLOCKER.partition("from migrations")[0]
        + f"""
import db
from db.models import MODELS, Store
with db.connect("sqlite:///{path}").bind_ctx(MODELS):
    Store.update(store_name="Eins").where(Store.store_name == "Uno").execute()
"""
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)
    assert fetch(path, "SELECT store_name FROM stores WHERE store_id = 'S001'") == [
        ("Eins",)
    ]


def test_url_of_an_sqlite_pool_is_a_pooled_database(path):
    database = db.connect(f"sqlite+pool:///{path}?max_connections=3")
    assert type(database).__name__ == "PooledSqliteDatabase"
    assert (
        fetch(path, "SELECT count(*) FROM stores")
        == database.execute_sql("SELECT count(*) FROM stores").fetchall()
    )
    database.close_all()
