"""From a URL to an unopened Peewee `Database`, and back to a text that is safe to print.

    database = connect("postgresql+psycopg://app:secret@db.internal/fashion")
    describe(database)  # 'postgresql://app@db.internal/fashion'

Peewee's own `playhouse.db_url` reads the URL; this module adds the schemes of SQLAlchemy, foreign key
enforcement, timeouts, options tried before connecting, and errors that never quote a password.
"""

from __future__ import annotations

import os
import re

import peewee

TYPE_CHECKING = False  # as typing has it, whose import takes longer than a check of the schema
if TYPE_CHECKING:
    from typing import Any

DEFAULT_URL = "sqlite:///fashion_forecast.db"
CONNECT_TIMEOUT = 10  # seconds
_SQLALCHEMYS = {  # drivers that its URLs name beside the database, and Peewee's do not
    "sqlite": ("pysqlite", "aiosqlite"),
    "postgresql": ("psycopg", "psycopg2", "asyncpg"),
    "mysql": ("pymysql", "mysqldb", "aiomysql"),
}
_SERVERS = ("postgresql", "postgres", "cockroachdb", "mysql")


class UnusableURL(ValueError):
    """The URL cannot name a database; the text says why and never holds a password."""


class MissingDriver(UnusableURL):
    """The URL is sound, but what it needs of Python's packages is not installed."""


def connect(url: str | None = None) -> peewee.Database:
    """Return the unopened `Database` for a URL, with foreign keys enforced and timeouts set.

    :param url: Peewee's or SQLAlchemy's form; default `$DATABASE_URL`, else `DEFAULT_URL`.
    :raises UnusableURL: unknown scheme or option, no database name, malformed.
    :raises MissingDriver: names the package to install, or the Peewee that is too old.
    """
    version = str(getattr(peewee, "__version__", "0"))
    if int(version.partition(".")[0]) < 4:
        raise MissingDriver(f"Peewee 4.0 or newer is needed, not {version}; run: pip install -U peewee")
    url = url or os.environ.get("DATABASE_URL") or DEFAULT_URL
    scheme, separator, location = url.partition("://")
    if not separator:
        raise UnusableURL("the database URL has no scheme; write for example " + DEFAULT_URL)
    scheme = scheme.lower()
    family, _, driver = scheme.replace("mariadb", "mysql").partition("+")
    peewees = family if driver in ("", *_SQLALCHEMYS.get(family, ())) else f"{family}+{driver}"
    try:
        database = (_sqlite if peewees in ("sqlite", "sqlite+pool") else _server)(scheme, peewees, location)
        _try_options(database)
    except UnusableURL:
        raise
    except Exception as error:  # whatever a driver makes of them
        named, text = ", ".join(re.findall(r"[?&](\w+)=", location)), " ".join(str(error).split())
        raise UnusableURL(f"the {scheme} URL has an option that cannot be used ({named}): {text}") from None
    return database


def _sqlite(scheme: str, peewees: str, location: str) -> peewee.Database:
    path, _, query = location.partition("?")
    if path and not path.startswith("/"):
        raise UnusableURL("the sqlite URL has no database name; a file takes three slashes: sqlite:///file.db")
    name, database_class = path[1:] or ":memory:", peewee.SqliteDatabase
    options: dict[str, Any] = {"timeout": CONNECT_TIMEOUT, "pragmas": {"foreign_keys": 1}}
    if query or peewees != "sqlite":
        from playhouse import db_url  # only here: it imports every other driver

        database_class = db_url.schemes[peewees]
        given = db_url.parse("//?" + query)
        if given.keys() & {"pragmas", "autoconnect", "thread_safe", "regexp_function", "rank_functions"}:
            raise ValueError("it is for Peewee in Python")
        if given.get("uri"):  # whose other options are SQLite's own
            name = f"file:{name.removeprefix('file:')}?{query}"
            given = {key: given[key] for key in ("uri", "timeout") if key in given}
        options |= given
    return database_class(**{**options, "database": name})


def _server(scheme: str, peewees: str, location: str) -> peewee.Database:
    from playhouse import db_url

    family = peewees.partition("+")[0]
    database_class = db_url.schemes.get(peewees)
    if database_class is None or family not in _SERVERS:
        shown = repr(scheme) if scheme.replace("+", "").isalnum() else "***"  # it may be user:password@host
        known = ", ".join(("sqlite", *_SERVERS, "mariadb"))
        raise UnusableURL(f"unknown scheme {shown} in the database URL; known are {known}")
    driver = peewee.mysql if family == "mysql" else peewee.psycopg or peewee.psycopg2
    if driver is None:
        wanted = "PyMySQL" if family == "mysql" else "psycopg[binary]"
        raise MissingDriver(f"no driver for {family}:// is installed; run: pip install '{wanted}'")
    given = _parsed(scheme, location)
    options: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT}
    if family != "mysql":
        options["prefer_psycopg3"] = scheme != "postgresql+psycopg2"  # which cannot be interrupted
    elif not hasattr(peewee.MySQLDatabase, "use_concat_function"):  # an older Peewee: its mode is not strict,
        options |= {"sql_mode": "PIPES_AS_CONCAT,STRICT_TRANS_TABLES", "charset": "utf8mb4"}  # its UTF-8 cut short
    if driver.__name__ == "pymysql" and "read_timeout" not in given:
        database_class = type(database_class.__name__, (_BoundedHandshake, database_class), {})
        options["read_timeout"] = CONNECT_TIMEOUT
    return database_class(**{**options, **given})


def _parsed(scheme: str, location: str) -> dict[str, Any]:
    """Return what the URL of a server says, as arguments of a Peewee database."""
    from urllib.parse import unquote

    from playhouse import db_url

    try:
        given: dict[str, Any] = db_url.parse("//" + location, unquote_password=True, unquote_user=True)
        if "@" in given["database"]:  # user:1/2@host/name: half a password would go for a database's name
            raise ValueError
    except ValueError:  # whose text may quote the password
        raise UnusableURL(
            f"the {scheme} URL cannot be read; write {scheme}://user:password@host:port/name "
            "and percent-encode special characters in the password"
        ) from None
    if not given["database"]:
        raise UnusableURL(f"the {scheme} URL has no database name; write {scheme}://host/name")
    return {**given, "database": unquote(given["database"])}


def _try_options(database: peewee.Database) -> None:
    """Let the driver refuse an option, as far as it does without connecting."""
    given = database.connect_params
    if isinstance(database, peewee.SqliteDatabase):
        if given:
            peewee.sqlite3.connect(":memory:", **given).close()
    elif isinstance(database, peewee.MySQLDatabase) and peewee.mysql.__name__ == "pymysql":
        plain = {} if any(name.startswith("ssl") for name in given) else {"ssl_disabled": True}  # or it reads them all
        peewee.mysql.connect(**given, **plain, defer_connect=True)
    elif isinstance(database, peewee.PostgresqlDatabase) and peewee.psycopg:
        from inspect import signature

        its_own = signature(peewee.psycopg.connect).parameters
        peewee.psycopg.conninfo.make_conninfo(**{key: given[key] for key in given if key not in its_own})


class _BoundedHandshake:
    """PyMySQL waits for ever for a server that accepts and never greets, unless it has a read_timeout;
    but that would cut off any long query, so it has none once connected, where the URL gives none.
    """

    def _connect(self) -> Any:
        connection: Any = super()._connect()  # type: ignore[misc]
        connection._read_timeout = None
        return connection


def describe(database: peewee.Database) -> str:
    """Return a URL of the database without its password or options, for people to read."""
    name, params = str(database.database), database.connect_params
    if isinstance(database, peewee.SqliteDatabase):
        return "sqlite:///" + name
    scheme = "mysql" if isinstance(database, peewee.MySQLDatabase) else "postgresql"
    if "://" in name or "=" in name:  # a libpq connection string, which may hold a password
        return f"{scheme}://(connection string)"
    user, host, port = params.get("user"), params.get("host", ""), params.get("port")
    return f"{scheme}://{user + '@' if user else ''}{host}{f':{port}' if port else ''}/{name}"


def without_userinfo(text: str) -> str:
    """Return a text in which whatever stands before the @ of a URL is starred out."""
    return re.sub(r"://\S*@", "://***@", text)


def without_password(database: peewee.Database, text: str) -> str:
    """Return a text, perhaps a driver's, in which the database's password is starred out."""
    from urllib.parse import quote, unquote  # an error's: SQLite's run does without

    params, name = database.connect_params, str(database.database)
    of_string = re.findall(r"(?:\bpassword=|://[^:@]*:)'?([^\s'@]+)", name)  # a libpq connection string
    given = [str(each) for each in (params.get("password"), params.get("passwd"), *of_string) if each]
    spellings = {each for password in given for each in (password, unquote(password), quote(password, safe=""))}
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, "***")
    return text
