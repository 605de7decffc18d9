"""From a URL to an unopened Peewee `Database`, and back to a text that is safe to print.

    database = connect("postgresql+psycopg://app:secret@db.internal/fashion")
    describe(database)  # 'postgresql://app@db.internal/fashion'

Peewee's own `playhouse.db_url` builds the object; this module adds the schemes of SQLAlchemy,
foreign key enforcement, timeouts, and errors that never quote a password.
"""

from __future__ import annotations

import os
import re

import peewee

DEFAULT_URL = "sqlite:///fashion_forecast.db"
CONNECT_TIMEOUT = 10  # seconds
_DISTRIBUTION = "fashion-forecast-migrations"

# SQLAlchemy's scheme -> (Peewee's scheme, further arguments). Peewee's own pass through.
_ALIASES = {
    "postgresql+psycopg": ("postgresql", {"prefer_psycopg3": True}),
    "postgresql+psycopg2": ("postgresql", {}),
    "mysql+pymysql": ("mysql", {}),
    "mariadb": ("mysql", {}),
    "mariadb+pymysql": ("mysql", {}),
}
_SQLITE_OPTIONS = {"cached_statements", "check_same_thread", "detect_types", "timeout", "uri"}
_POOL_OPTIONS = {"max_connections", "stale_timeout"}


class UnusableURL(ValueError):
    """The URL cannot name a database; the text says why and never holds a password."""


class MissingDriver(UnusableURL):
    """The URL is sound, but the Python driver that it needs is not installed."""


def connect(url: str | None = None) -> peewee.Database:
    """Return the unopened `Database` for a URL, with foreign keys enforced and timeouts set.

    :param url: Peewee's or SQLAlchemy's form; default `$DATABASE_URL`, else `DEFAULT_URL`.
    :raises UnusableURL: unknown scheme, no database name, malformed.
    :raises MissingDriver: names the extra to install.
    """
    url = url or os.environ.get("DATABASE_URL") or DEFAULT_URL
    scheme, separator, _ = url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise UnusableURL("the database URL has no scheme; write for example " + DEFAULT_URL)
    if scheme in ("sqlite", "sqlite+pool"):
        return _sqlite(url, scheme)
    return _server(url, scheme)


def _sqlite(url: str, scheme: str) -> peewee.SqliteDatabase:
    location = url[len(scheme) + len("://") :]
    path, _, query = location.partition("?")
    if path and not path.startswith("/"):
        raise UnusableURL("the sqlite URL has no database name; a file takes three slashes: sqlite:///file.db")
    options: dict = {}
    if query:
        from playhouse import db_url  # only here: it imports every other driver

        options = db_url.parse(url)
        options.pop("database")
        if options.pop("uri", False):
            known = {key: options.pop(key) for key in ("timeout",) if key in options}
            path = "/file:" + path[1:].removeprefix("file:")
            path += "?" + "&".join(f"{key}={value}" for key, value in options.items())
            options = {"uri": True, **known}
        known_here = _SQLITE_OPTIONS | (_POOL_OPTIONS if scheme == "sqlite+pool" else set())
        if unknown := options.keys() - known_here:
            raise UnusableURL(f"the sqlite URL has the unknown option {', '.join(sorted(unknown))}")
    options.setdefault("timeout", CONNECT_TIMEOUT)
    database_class = peewee.SqliteDatabase
    if scheme == "sqlite+pool":
        from playhouse.pool import PooledSqliteDatabase as database_class
    return database_class(path[1:] or ":memory:", pragmas={"foreign_keys": 1}, **options)


def _server(url: str, scheme: str) -> peewee.Database:
    peewee_scheme, options = _ALIASES.get(scheme, (scheme, {}))
    family = peewee_scheme.partition("+")[0]
    if family in ("postgres", "postgresql", "cockroachdb"):
        _require(peewee.psycopg or peewee.psycopg2, family, "postgresql")
        timeouts = {"connect_timeout": CONNECT_TIMEOUT}
    elif family == "mysql":
        _require(peewee.mysql, family, "mysql")
        timeouts = {"connect_timeout": CONNECT_TIMEOUT, "read_timeout": CONNECT_TIMEOUT}
    else:
        raise _unknown(scheme)
    from urllib.parse import unquote, urlsplit

    from playhouse import db_url

    if peewee_scheme not in db_url.schemes:
        raise _unknown(scheme)
    rest = url.partition("://")[2]
    try:
        name = urlsplit(url).path[1:]
        if not name:  # before db_url.connect, whose message quotes the URL with its password
            raise UnusableURL(f"the {scheme} URL has no database name; write {scheme}://host/name")
        if "@" in name:  # user:1/2@host/name: half a password would go for a database's name
            raise ValueError
        given = db_url.parse(f"{peewee_scheme}://{rest}", unquote_password=True, unquote_user=True)
        given["database"] = unquote(name)
        database_class = db_url.schemes[peewee_scheme]
        if family == "mysql":
            lifted = {"lifted": "read_timeout" not in given}
            database_class = type(database_class.__name__, (_BoundedHandshake, database_class), lifted)
        return database_class(**{**timeouts, **options, **given})
    except UnusableURL:
        raise
    except (ValueError, TypeError):  # whose text may quote the password
        raise UnusableURL(
            f"the {scheme} URL cannot be read; write {scheme}://user:password@host:port/name "
            "and percent-encode special characters in the password"
        ) from None


class _BoundedHandshake:
    """PyMySQL waits for ever for a server that accepts and never greets, unless it has a read_timeout;
    but that would cut off any long query, so it is lifted once connected.
    """

    def _connect(self) -> object:
        connection = super()._connect()
        if self.lifted and hasattr(connection, "_read_timeout"):
            connection._read_timeout = None
        return connection


def _unknown(scheme: str) -> UnusableURL:
    shown = repr(scheme) if scheme.replace("+", "").isalnum() else "***"  # it may be user:password@host
    return UnusableURL(
        f"unknown scheme {shown} in the database URL; known are sqlite, sqlite+pool, postgresql, postgres, "
        "postgresql+psycopg, postgresql+psycopg2, mysql, mysql+pymysql, mariadb, mariadb+pymysql, cockroachdb"
    )


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
