"""From a URL to an unopened Peewee `Database`, and back to a text that is safe to print.

    database = connect("postgresql+psycopg://app:secret@db.internal/fashion")
    describe(database)  # 'postgresql://app@db.internal/fashion'

Peewee's own `playhouse.db_url` builds the object; this module adds the schemes of SQLAlchemy,
foreign key enforcement, timeouts, options checked before connecting, and errors that never quote a password.
"""

from __future__ import annotations

import os
import re

import peewee

TYPE_CHECKING = False  # as typing has it, whose import takes longer than a check of the schema
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

DEFAULT_URL = "sqlite:///fashion_forecast.db"
CONNECT_TIMEOUT = 10  # seconds
_DISTRIBUTION = "fashion-forecast-migrations"

_SCHEMES = {  # SQLAlchemy's, with the driver of the application -> Peewee's, whose own pass through
    "sqlite+pysqlite": "sqlite",
    "sqlite+aiosqlite": "sqlite",
    "postgresql+psycopg": "postgresql",
    "postgresql+psycopg2": "postgresql",
    "postgresql+asyncpg": "postgresql",
    "mysql+pymysql": "mysql",
    "mysql+mysqldb": "mysql",
    "mysql+aiomysql": "mysql",
    "mariadb": "mysql",
    "mariadb+pymysql": "mysql",
    "mariadb+mysqldb": "mysql",
    "mariadb+aiomysql": "mysql",
}
_SQLITE_OPTIONS = {"cached_statements", "check_same_thread", "detect_types", "timeout", "uri"}
_POOL_OPTIONS = {"max_connections", "stale_timeout"}


class UnusableURL(ValueError):
    """The URL cannot name a database; the text says why and never holds a password."""


class MissingDriver(UnusableURL):
    """The URL is sound, but what it needs of Python's packages is not installed."""


def connect(url: str | None = None) -> peewee.Database:
    """Return the unopened `Database` for a URL, with foreign keys enforced and timeouts set.

    :param url: Peewee's or SQLAlchemy's form; default `$DATABASE_URL`, else `DEFAULT_URL`.
    :raises UnusableURL: unknown scheme or option, no database name, malformed.
    :raises MissingDriver: names the extra to install, or the Peewee that is too old.
    """
    version = str(getattr(peewee, "__version__", "0"))
    if int(version.partition(".")[0]) < 4:
        raise MissingDriver(f"Peewee 4.0 or newer is needed, not {version}; run: pip install -U peewee")
    url = url or os.environ.get("DATABASE_URL") or DEFAULT_URL
    scheme, separator, _ = url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise UnusableURL("the database URL has no scheme; write for example " + DEFAULT_URL)
    peewee_scheme = _SCHEMES.get(scheme, scheme)
    if peewee_scheme in ("sqlite", "sqlite+pool"):
        return _sqlite(url, scheme, pooled=peewee_scheme == "sqlite+pool")
    return _server(url, scheme, peewee_scheme)


def _sqlite(url: str, scheme: str, pooled: bool) -> peewee.SqliteDatabase:
    location = url[len(scheme) + len("://") :]
    path, _, query = location.partition("?")
    if path and not path.startswith("/"):
        raise UnusableURL("the sqlite URL has no database name; a file takes three slashes: sqlite:///file.db")
    options: dict[str, Any] = {}
    if query:
        from playhouse import db_url  # only here: it imports every other driver

        options = db_url.parse("sqlite:///?" + query)
        options.pop("database")
        if options.pop("uri", False):
            known = {key: options.pop(key) for key in ("timeout",) if key in options}
            path = "/file:" + path[1:].removeprefix("file:")
            path += "?" + "&".join(f"{key}={value}" for key, value in options.items())
            options = {"uri": True, **known}
        _demand_known(options, _SQLITE_OPTIONS | (_POOL_OPTIONS if pooled else set()), "sqlite")
    options.setdefault("timeout", CONNECT_TIMEOUT)
    database_class = peewee.SqliteDatabase
    if pooled:
        from playhouse.pool import PooledSqliteDatabase

        database_class = PooledSqliteDatabase
    return database_class(path[1:] or ":memory:", pragmas={"foreign_keys": 1}, **options)


def _server(url: str, scheme: str, peewee_scheme: str) -> peewee.Database:
    family = peewee_scheme.partition("+")[0]
    options: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT}
    if family in ("postgres", "postgresql", "cockroachdb"):
        psycopg2 = _driver("psycopg2")
        _require(_driver("psycopg") or psycopg2, family, "postgresql")
        options["prefer_psycopg3"] = scheme == "postgresql+psycopg" or psycopg2 is None
    elif family == "mysql":
        _require(_driver("mysql"), family, "mysql")
        options |= {"read_timeout": CONNECT_TIMEOUT, "charset": "utf8mb4"}  # an older Peewee's has three bytes
    else:
        raise _unknown(scheme)
    from playhouse import db_url

    database_class = db_url.schemes.get(peewee_scheme)
    if database_class is None:
        raise _unknown(scheme)
    given = _parsed(url, scheme, peewee_scheme)
    if family == "mysql":
        if not hasattr(peewee.MySQLDatabase, "use_concat_function"):  # an older Peewee's mode, which is not strict
            options["sql_mode"] = "PIPES_AS_CONCAT,STRICT_TRANS_TABLES"
        lifted = {"lifted": "read_timeout" not in given}
        database_class = type(database_class.__name__, (_BoundedHandshake, database_class), lifted)
    try:
        database: peewee.Database = database_class(**{**options, **given})
        _check_options(database, scheme)
    except UnusableURL:
        raise
    except (AttributeError, LookupError, OSError, TypeError, ValueError) as error:  # whatever a driver makes of them
        named = ", ".join(sorted(given.keys() - {"database", "user", "password", "passwd", "host", "port"}))
        raise UnusableURL(f"the {scheme} URL has an option that cannot be used ({named}): {error}") from None
    return database


def _parsed(url: str, scheme: str, peewee_scheme: str) -> dict[str, Any]:
    """Return what the URL of a server says, as arguments of a Peewee database."""
    from urllib.parse import unquote, urlsplit

    from playhouse import db_url

    rest = url.partition("://")[2]
    try:
        name = urlsplit(f"{peewee_scheme}://{rest}").path[1:]
        if not name:
            raise UnusableURL(f"the {scheme} URL has no database name; write {scheme}://host/name")
        if "@" in name:  # user:1/2@host/name: half a password would go for a database's name
            raise ValueError
        given: dict[str, Any] = db_url.parse(f"{peewee_scheme}://{rest}", unquote_password=True, unquote_user=True)
    except UnusableURL:
        raise
    except ValueError:  # whose text may quote the password
        raise UnusableURL(
            f"the {scheme} URL cannot be read; write {scheme}://user:password@host:port/name "
            "and percent-encode special characters in the password"
        ) from None
    if "passwd" in given:  # a name that the drivers have given up
        given["password"] = given.pop("passwd")
    return {**given, "database": unquote(name)}


def _check_options(database: peewee.Database, scheme: str) -> None:
    """Refuse an option that the driver does not know, as far as it tells without connecting."""
    from inspect import signature

    given, mysql, psycopg = database.connect_params, _driver("mysql"), _driver("psycopg")
    if isinstance(database, peewee.PostgresqlDatabase) and psycopg:
        of_libpq = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
        _demand_known(given, of_libpq | signature(psycopg.connect).parameters.keys(), scheme)
    elif isinstance(database, peewee.MySQLDatabase) and mysql.__name__ == "pymysql":
        _demand_known(given, set(signature(mysql.connect).parameters), scheme)
        mysql.connect(**given, defer_connect=True)  # for their values


def _demand_known(given: Iterable[str], known: set[str], scheme: str) -> None:
    if unknown := sorted(set(given) - known):
        from difflib import get_close_matches

        near = get_close_matches(unknown[0], sorted(known), 5)
        hint = f"; near it are {', '.join(near)}" if near else ""
        raise UnusableURL(f"the {scheme} URL has the unknown option {unknown[0]!r}{hint}")


class _BoundedHandshake:
    """PyMySQL waits for ever for a server that accepts and never greets, unless it has a read_timeout;
    but that would cut off any long query, so it is lifted once connected.
    """

    lifted: bool

    def _connect(self) -> object:
        connection: object = super()._connect()  # type: ignore[misc]
        if self.lifted and hasattr(connection, "_read_timeout"):
            connection._read_timeout = None
        return connection


def _unknown(scheme: str) -> UnusableURL:
    shown = repr(scheme) if scheme.replace("+", "").isalnum() else "***"  # it may be user:password@host
    others = ("sqlite+pool", "postgresql", "postgres", "mysql", "cockroachdb")
    return UnusableURL(
        f"unknown scheme {shown} in the database URL; known are sqlite, {', '.join(sorted({*_SCHEMES, *others}))}"
    )


def _driver(name: str) -> Any:
    """Return the driver that Peewee has found: psycopg, psycopg2 or mysql; None where it is not installed."""
    return getattr(peewee, name, None)


def _require(driver: object, family: str, extra: str) -> None:
    if driver is None:
        raise MissingDriver(f"no driver for {family}:// is installed; run: pip install '{_DISTRIBUTION}[{extra}]'")


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
    from urllib.parse import quote, unquote, urlsplit  # an error's: SQLite's run does without

    params, name = database.connect_params, str(database.database)
    passwords = {params.get("password"), params.get("passwd")}
    if "://" in name:
        secret = urlsplit(name).password
        passwords |= {secret, unquote(secret or "")}
    elif "=" in name:  # key=value pairs
        passwords |= {part.partition("=")[2].strip("'") for part in name.split() if part.startswith("password")}
    passwords = {str(password) for password in passwords if password}
    passwords |= {quote(password, safe="") for password in passwords}
    for password in sorted(passwords, key=len, reverse=True):
        text = text.replace(password, "***")
    return text
