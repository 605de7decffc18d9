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
    from collections.abc import Callable
    from typing import Any

DEFAULT_URL = "sqlite:///fashion_forecast.db"
CONNECT_TIMEOUT = 10  # seconds
CRYPTOGRAPHY_ADVICE = "connect over TLS, or run: pip install 'PyMySQL[rsa]'"

_OLDEST_PEEWEE = 4  # the major version
_SERVERS = ("postgresql", "postgres", "cockroachdb", "mysql")
# Drivers that SQLAlchemy's URLs name after the database, as in postgresql+psycopg.
# Peewee's URLs do not, and Peewee chooses the driver.
_SQLALCHEMY_DRIVERS = {
    "sqlite": ("pysqlite", "aiosqlite"),
    "postgresql": ("psycopg", "psycopg2", "asyncpg"),
    "mysql": ("pymysql", "mysqldb", "aiomysql"),
}
# Other names of options; libpq and PyMySQL have them too.
_SYNONYMS = {"dbname": "database", "db": "database", "passwd": "password"}


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

        from db.url_options import check_sqlite

        database_class = db_url.schemes[peewee_scheme]
        given = _sqlite_options(query)
        if given.get("uri"):
            # SQLite reads the other options itself, from the name of the file.
            name = f"file:{name.removeprefix('file:')}?{query}"
        options.update(given)
        driver_options = {
            key: value
            for key, value in given.items()
            if key not in ("max_connections", "stale_timeout", "timeout")
        }
        check_sqlite(name, driver_options)
    options["database"] = name
    return database_class(**options)


def _sqlite_options(query: str) -> dict[str, Any]:
    from urllib.parse import parse_qsl

    from db.url_options import SQLITE_URI_TYPES, convert

    texts = dict(parse_qsl(query, keep_blank_values=True))
    if convert("sqlite", {"uri": texts.get("uri", "false")})["uri"]:
        for name in texts.keys() & SQLITE_URI_TYPES.keys():
            _check_uri_option(SQLITE_URI_TYPES[name], name, texts.pop(name))
    return convert("sqlite", texts)


def _check_uri_option(type_: Callable[[str], object], name: str, text: str) -> None:
    try:
        type_(text)
    except ValueError as error:
        raise ValueError(f"{name} must be {error}") from None


# -- Servers


def _server(scheme: str, peewee_scheme: str, location: str) -> peewee.Database:
    from playhouse import db_url

    from db.url_options import check_libpq, check_pymysql

    family = peewee_scheme.partition("+")[0]
    database_class = db_url.schemes.get(peewee_scheme)
    if database_class is None or family not in _SERVERS:
        raise UnusableURL(_unknown_scheme(scheme))
    _check_driver(family)
    given = _parse_server_url(scheme, family, location)
    options: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT}
    uses_psycopg3 = scheme != "postgresql+psycopg2" or peewee.psycopg2 is None
    if family == "mysql":
        options.update(_mysql_options())
        if peewee.mysql.__name__ == "pymysql":
            is_bounded = "read_timeout" not in given
            database_class = _with_handshake(database_class, is_bounded)
            if is_bounded:
                options["read_timeout"] = CONNECT_TIMEOUT
    else:
        # Ctrl-C does not interrupt a query of psycopg2.
        options["prefer_psycopg3"] = uses_psycopg3
    options.update(given)
    database = database_class(**options)
    if family == "mysql":
        if peewee.mysql.__name__ == "pymysql":
            check_pymysql(database.connect_params)
    elif "?" in location:
        check_libpq(database.connect_params, uses_psycopg3 and bool(peewee.psycopg))
    return database


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


def _parse_server_url(scheme: str, family: str, location: str) -> dict[str, Any]:
    """Return the parts of a URL as arguments of a Peewee database."""
    from urllib.parse import parse_qsl, unquote

    from playhouse import db_url

    from db.url_options import convert

    unreadable = (
        f"the {scheme} URL cannot be read; "
        f"write {scheme}://user:password@host:port/name "
        "and percent-encode special characters in the password"
    )
    authority_and_name, _, query = location.partition("?")
    try:
        given: dict[str, Any] = db_url.parse(
            "//" + authority_and_name, unquote_password=True, unquote_user=True
        )
    except ValueError:  # its text may quote the password
        raise UnusableURL(unreadable) from None
    if "@" in given["database"] or "@" in query and "@" not in authority_and_name:
        # In user:1/2@host/name, the name would begin within the password.
        raise UnusableURL(unreadable)
    given["database"] = unquote(given["database"])
    texts = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        texts[_SYNONYMS.get(name, name)] = text
    given.update(convert(family, texts))
    if not given["database"]:
        raise UnusableURL(
            f"the {scheme} URL has no database name; write {scheme}://host/name"
        )
    return given


def _mysql_options() -> dict[str, Any]:
    """Return settings that an older Peewee lacks: a strict mode, and all of UTF-8."""
    if hasattr(peewee.MySQLDatabase, "use_concat_function"):
        return {}
    return {"sql_mode": "PIPES_AS_CONCAT,STRICT_TRANS_TABLES", "charset": "utf8mb4"}


class _Handshake:
    """A database that PyMySQL connects to, within a time and with one kind of errors.

    Without a read_timeout, PyMySQL waits forever for a server that accepts connections
    and does not greet. So a handshake that is bounded has one, which is in force only
    until the database is connected: afterwards it would cut off long queries.
    """

    is_bounded: bool

    def _connect(self) -> Any:
        try:
            connection: Any = super()._connect()  # type: ignore[misc]
        except RuntimeError as error:
            # PyMySQL's, to send a password to MySQL without TLS.
            raise peewee.OperationalError(f"{error}; {CRYPTOGRAPHY_ADVICE}") from None
        if self.is_bounded:
            connection._read_timeout = None
        return connection


def _with_handshake(database_class: Any, is_bounded: bool) -> Any:
    attributes = {"is_bounded": is_bounded}
    return type(database_class.__name__, (_Handshake, database_class), attributes)


# -- Texts without passwords


def describe(database: peewee.Database) -> str:
    """Return a URL of a database, to print, without passwords.

    `connect` accepts it again, for the same database.
    """
    name = str(database.database)
    if isinstance(database, peewee.SqliteDatabase):
        return f"sqlite:///{name}"
    if isinstance(database, peewee.MySQLDatabase):
        return f"mysql://{_location('mysql', name, database.connect_params)}"
    scheme = "postgresql"
    if type(database).__name__.endswith("CockroachDatabase"):
        scheme = "cockroachdb"
    options = database.connect_params
    if name.startswith("postgresql://"):  # a connection string of libpq
        try:
            again = connect(name)
        except UnusableURL:
            return f"{scheme}://(connection string)"
        name = str(again.database)
        options = {**again.connect_params, **options}
    elif "://" in name or "=" in name:
        return f"{scheme}://(connection string)"  # it may hold a password
    return f"{scheme}://{_location('postgresql', name, options)}"


def shell_word(text: str) -> str:
    """Return a URL to be pasted into a shell, quoted where that is necessary."""
    from shlex import quote

    if re.search(r"[\s&;|<>()$`\\\"'*!#~]", text):
        return quote(text)
    return text


def what_to_check(database: peewee.Database) -> str:
    """Return what to look at if a connection to a database cannot be opened."""
    if isinstance(database, peewee.SqliteDatabase):
        return "check the path, and that its folder exists and can be written"
    return "check the URL, and that the server runs and can be reached"


def _location(family: str, name: str, options: dict[str, Any]) -> str:
    """Return what is after the scheme in the URL of a server."""
    from urllib.parse import quote

    from db.url_options import printable

    texts = printable(family, options)
    for option, value in _own_options(family).items():
        if texts.get(option) == str(value):
            del texts[option]
    texts.pop("database", None)
    user = texts.pop("user", "")
    authority = ""
    host = texts.get("host", "")
    if not re.search("[/@%]|,.*:|:.*,", host):  # others cannot be before the name
        authority = texts.pop("host", "")
        if ":" in authority:
            authority = f"[{authority}]"  # of IPv6
    if user:
        authority = f"{quote(user, safe='')}@{authority}"
    if texts.get("port", "").isdecimal():
        authority += f":{texts.pop('port')}"
    location = f"{authority}/{quote(name, safe='')}"
    if texts:
        given = [f"{option}={quote(text)}" for option, text in texts.items()]
        location += "?" + "&".join(given)
    return location


def _own_options(family: str) -> dict[str, Any]:
    """Return the options that `connect` or Peewee sets if a URL does not."""
    if family != "mysql":
        return {"connect_timeout": CONNECT_TIMEOUT}
    own: dict[str, Any] = {"charset": "utf8mb4", **_mysql_options()}
    own["sql_mode"] = own.get("sql_mode", peewee.MySQLDatabase.sql_mode)
    own.update(connect_timeout=CONNECT_TIMEOUT, read_timeout=CONNECT_TIMEOUT)
    own["use_unicode"] = "true"  # which Peewee sets before 4.5
    return own


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
    """Return the passwords and keys of a database, as they are given."""
    from db.url_options import is_secret

    options = database.connect_params
    passwords = [value for name, value in options.items() if is_secret(name)]
    connection_string = str(database.database)  # of libpq, instead of a name
    passwords += re.findall(
        r"(?:\bpassword=|://[^:@]*:)'?([^\s'@]+)", connection_string
    )
    return [str(password) for password in passwords if password]
