"""From a URL to an unopened Peewee `Database`, and back to a text that can be printed.

    database = connect("postgresql+psycopg://app:secret@db.internal/fashion")
    describe(database)  # 'postgresql://app@db.internal/fashion'

`playhouse.db_url` of Peewee reads the URL. This module adds the schemes of SQLAlchemy,
enforced foreign keys, timeouts, a check of the options before connecting, and errors
that never quote a password.
"""

from __future__ import annotations

import os
import re

import peewee

# Type checkers take this name for the one of `typing`, which every worker would have to
# import: without a driver, Peewee needs no `typing`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_URL = "sqlite:///fashion_forecast.db"
CONNECT_TIMEOUT = 10  # seconds

_OLDEST_PEEWEE = 4  # the major version
_SERVERS = ("postgresql", "postgres", "cockroachdb", "mysql")
# Drivers that SQLAlchemy's URLs name after the database, as in postgresql+psycopg.
# Peewee's URLs do not, and Peewee chooses the driver.
_SQLALCHEMY_DRIVERS = {
    "sqlite": ("pysqlite", "aiosqlite"),
    "postgresql": ("psycopg", "psycopg2", "asyncpg"),
    "mysql": ("pymysql", "mysqldb", "aiomysql"),
}
# Arguments of SqliteDatabase that no text of a URL can express.
_PYTHON_ONLY = {
    "pragmas",
    "autoconnect",
    "thread_safe",
    "regexp_function",
    "rank_functions",
}


class UnusableURL(ValueError):
    """A URL does not name a database; the text says why and never quotes a password."""


class MissingDriver(UnusableURL):
    """A URL is valid, but a Python package that it needs is missing or too old."""


def connect(url: str | None = None) -> peewee.Database:
    """Return the unopened `Database` for a URL; it enforces foreign keys.

    :param url: of Peewee or SQLAlchemy; default `$DATABASE_URL`, else `DEFAULT_URL`.
    :raises UnusableURL: an unknown scheme or option, no name of a database, or no URL.
    :raises MissingDriver: names the package to install.
    """
    _check_peewee()
    url = url or os.environ.get("DATABASE_URL") or DEFAULT_URL
    scheme, separator, location = url.partition("://")
    if not separator:
        raise UnusableURL(
            f"the database URL has no scheme; write for example {DEFAULT_URL}"
        )
    scheme = scheme.lower()
    peewee_scheme = _peewee_scheme(scheme)
    try:
        if peewee_scheme in ("sqlite", "sqlite+pool"):
            database = _sqlite(peewee_scheme, location)
        else:
            database = _server(scheme, peewee_scheme, location)
        _check_options(database)
    except UnusableURL:
        raise
    except Exception as error:  # drivers raise many kinds for a bad option
        names = ", ".join(re.findall(r"[?&](\w+)=", location))
        reason = " ".join(str(error).split())
        raise UnusableURL(
            f"the {scheme} URL has an option that cannot be used ({names}): {reason}"
        ) from None
    return database


def _check_peewee() -> None:
    version = str(getattr(peewee, "__version__", "0"))
    major = int(version.partition(".")[0])
    if major < _OLDEST_PEEWEE:
        raise MissingDriver(
            f"Peewee 4.0 or newer is needed, not {version}; run: pip install -U peewee"
        )


def _peewee_scheme(scheme: str) -> str:
    """Return a scheme as Peewee knows it: "mysql" for "mariadb+pymysql"."""
    family, _, driver = scheme.replace("mariadb", "mysql").partition("+")
    if not driver or driver in _SQLALCHEMY_DRIVERS.get(family, ()):
        return family
    return f"{family}+{driver}"


# -- SQLite


def _sqlite(peewee_scheme: str, location: str) -> peewee.Database:
    path, _, query = location.partition("?")
    if path and not path.startswith("/"):
        raise UnusableURL(
            "the sqlite URL has no database name; "
            "a file takes three slashes: sqlite:///file.db"
        )
    name = path.removeprefix("/") or ":memory:"
    database_class = peewee.SqliteDatabase
    options: dict[str, Any] = {
        "timeout": CONNECT_TIMEOUT,
        "pragmas": {"foreign_keys": 1},
    }
    if query or peewee_scheme != "sqlite":
        # Imported here because it imports the drivers of all databases.
        from playhouse import db_url

        database_class = db_url.schemes[peewee_scheme]
        given = db_url.parse("//?" + query)
        if _PYTHON_ONLY & given.keys():
            raise ValueError("it can be set in Python only")
        if given.get("uri"):
            # SQLite reads the other options itself, from the name of the file.
            name = f"file:{name.removeprefix('file:')}?{query}"
            given = {key: given[key] for key in ("uri", "timeout") if key in given}
        options.update(given)
    options["database"] = name
    return database_class(**options)


# -- Servers


def _server(scheme: str, peewee_scheme: str, location: str) -> peewee.Database:
    from playhouse import db_url

    family = peewee_scheme.partition("+")[0]
    database_class = db_url.schemes.get(peewee_scheme)
    if database_class is None or family not in _SERVERS:
        raise UnusableURL(_unknown_scheme(scheme))
    _check_driver(family)
    given = _parse_server_url(scheme, location)
    options: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT}
    if family == "mysql":
        options.update(_mysql_options())
        if peewee.mysql.__name__ == "pymysql" and "read_timeout" not in given:
            database_class = _with_bounded_handshake(database_class)
            options["read_timeout"] = CONNECT_TIMEOUT
    else:
        # Ctrl-C does not interrupt a query of psycopg2.
        options["prefer_psycopg3"] = scheme != "postgresql+psycopg2"
    options.update(given)
    return database_class(**options)


def _unknown_scheme(scheme: str) -> str:
    shown = "***"  # the text may be user:password@host
    if scheme.replace("+", "").isalnum():
        shown = repr(scheme)
    known = ", ".join(("sqlite", *_SERVERS, "mariadb"))
    return f"unknown scheme {shown} in the database URL; known are {known}"


def _check_driver(family: str) -> None:
    if family == "mysql":
        driver = peewee.mysql
        package = "PyMySQL"
    else:
        driver = peewee.psycopg or peewee.psycopg2
        package = "psycopg[binary]"
    if driver is None:
        raise MissingDriver(
            f"no driver for {family}:// is installed; run: pip install '{package}'"
        )


def _parse_server_url(scheme: str, location: str) -> dict[str, Any]:
    """Return the parts of a URL as arguments of a Peewee database."""
    from urllib.parse import unquote

    from playhouse import db_url

    unreadable = (
        f"the {scheme} URL cannot be read; "
        f"write {scheme}://user:password@host:port/name "
        "and percent-encode special characters in the password"
    )
    try:
        given: dict[str, Any] = db_url.parse(
            "//" + location, unquote_password=True, unquote_user=True
        )
    except ValueError:  # its text may quote the password
        raise UnusableURL(unreadable) from None
    if "@" in given["database"]:
        # In user:1/2@host/name, the name would begin within the password.
        raise UnusableURL(unreadable)
    if not given["database"]:
        raise UnusableURL(
            f"the {scheme} URL has no database name; write {scheme}://host/name"
        )
    given["database"] = unquote(given["database"])
    return given


def _mysql_options() -> dict[str, Any]:
    """Return settings that an older Peewee lacks: a strict mode, and all of UTF-8."""
    if hasattr(peewee.MySQLDatabase, "use_concat_function"):
        return {}
    return {"sql_mode": "PIPES_AS_CONCAT,STRICT_TRANS_TABLES", "charset": "utf8mb4"}


class _BoundedHandshake:
    """A database whose read_timeout is in force only until it is connected.

    Without a read_timeout, PyMySQL waits forever for a server that accepts connections
    and does not greet. Afterwards the timeout would cut off long queries.
    """

    def _connect(self) -> Any:
        connection: Any = super()._connect()  # type: ignore[misc]
        connection._read_timeout = None
        return connection


def _with_bounded_handshake(database_class: Any) -> Any:
    return type(database_class.__name__, (_BoundedHandshake, database_class), {})


def _check_options(database: peewee.Database) -> None:
    """Have the driver check the options, as far as it does without connecting.

    :raises Exception: whatever the driver raises for an option that it does not accept.
    """
    options = database.connect_params
    if isinstance(database, peewee.SqliteDatabase):
        if options:
            peewee.sqlite3.connect(":memory:", **options).close()
    elif isinstance(database, peewee.MySQLDatabase):
        if peewee.mysql.__name__ == "pymysql":
            _check_pymysql_options(options)
    elif isinstance(database, peewee.PostgresqlDatabase) and peewee.psycopg:
        _check_psycopg_options(options)


def _check_pymysql_options(options: dict[str, Any]) -> None:
    if not any(name.startswith("ssl") for name in options):
        options = {**options, "ssl_disabled": True}  # reading certificates takes time
    peewee.mysql.connect(**options, defer_connect=True)


def _check_psycopg_options(options: dict[str, Any]) -> None:
    from inspect import signature

    arguments = signature(peewee.psycopg.connect).parameters
    libpq_options = {
        name: value for name, value in options.items() if name not in arguments
    }
    peewee.psycopg.conninfo.make_conninfo(**libpq_options)


# -- Texts without passwords


def describe(database: peewee.Database) -> str:
    """Return a URL of a database, to print, without its password and options.

    `connect` accepts it again, for the same database.
    """
    name = str(database.database)
    if isinstance(database, peewee.SqliteDatabase):
        return f"sqlite:///{name}"
    scheme = "postgresql"
    if isinstance(database, peewee.MySQLDatabase):
        scheme = "mysql"
    if "://" in name or "=" in name:  # a connection string of libpq
        return f"{scheme}://(connection string)"  # it may hold a password
    return f"{scheme}://{_location(name, database.connect_params)}"


def _location(name: str, options: dict[str, Any]) -> str:
    """Return what is after the scheme in the URL of a server."""
    from urllib.parse import quote

    host = str(options.get("host") or "")
    sockets = {"unix_socket": options.get("unix_socket")}  # MySQL's
    if host.startswith("/"):  # PostgreSQL's, which cannot be before the name
        sockets["host"] = host
        host = ""
    if ":" in host:
        host = f"[{host}]"  # of IPv6
    if options.get("user"):
        host = f"{quote(str(options['user']), safe='')}@{host}"
    if options.get("port"):
        host = f"{host}:{options['port']}"
    location = f"{host}/{quote(name, safe='')}"
    given = [f"{key}={quote(str(path))}" for key, path in sockets.items() if path]
    if given:
        location += "?" + "&".join(given)
    return location


def without_userinfo(text: str) -> str:
    """Return a text with *** in place of what is before the @ of a URL."""
    return re.sub(r"://\S*@", "://***@", text)


def without_password(database: peewee.Database, text: str) -> str:
    """Return a text, such as a driver's error, with *** in place of the password."""
    # Imported here because only errors need it.
    from urllib.parse import quote, unquote

    spellings: set[str] = set()
    for password in _passwords(database):
        spellings.update((password, unquote(password), quote(password, safe="")))
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, "***")
    return text


def _passwords(database: peewee.Database) -> list[str]:
    """Return the password of a database, as it is given."""
    options = database.connect_params
    passwords = [options.get("password"), options.get("passwd")]
    connection_string = str(database.database)  # of libpq, instead of a name
    passwords += re.findall(
        r"(?:\bpassword=|://[^:@]*:)'?([^\s'@]+)", connection_string
    )
    return [str(password) for password in passwords if password]
