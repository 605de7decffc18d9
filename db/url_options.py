"""The options of a URL: what may stand after its question mark, for each database.

    convert("mysql", {"connect_timeout": "5"})  # {'connect_timeout': 5}

Everything that a driver would refuse only when it connects is refused here.
"""

from __future__ import annotations

import configparser
import ipaddress
import math
import re
from collections.abc import Callable
from typing import Any

import peewee

Texts = dict[str, str]  # the options of a URL, as they are written
Options = dict[str, Any]  # arguments of a Peewee database

_TRUE_WORDS = ("true", "1", "yes", "on")
_FALSE_WORDS = ("false", "0", "no", "off")
_MAX_PORT = 65_535
# FOUND_ROWS, LOCAL_FILES, IGNORE_SPACE, INTERACTIVE, MULTI_STATEMENTS, MULTI_RESULTS:
# https://mariadb.com/kb/en/connection/#capabilities
_CLIENT_FLAGS = 2 | 128 | 256 | 1024 | 65_536 | 131_072
# A server that no socket leads to, for libpq to check options and not to connect.
_NO_SERVER = "/nonexistent/server-of-no-database"


def convert(family: str, given: Texts) -> Options:
    """Return the options of a URL as arguments of a Peewee database.

    :param family: "sqlite", "mysql", or one of PostgreSQL's.
    :raises ValueError: one is unknown, or has a value that cannot be used. The text
        does not quote the values of unknown options.
    """
    types = _TYPES.get(family, _POSTGRESQL_TYPES)
    options: Options = {}
    for name, text in given.items():
        if name not in types:
            raise ValueError(_unknown_option(family, name))
        try:
            options[name] = types[name](text)
        except ValueError as error:
            raise ValueError(f"{name} must be {error}") from None
    return options


def printable(family: str, options: Options) -> Texts:
    """Return the options that a URL of a database can have, without secrets."""
    types = _TYPES.get(family, _POSTGRESQL_TYPES)
    texts = {}
    for name, value in options.items():
        if name not in types or value is None or is_secret(name):
            continue
        text = str(value)
        if isinstance(value, bool):
            text = text.lower()
        if "password" not in text.lower():
            texts[name] = text
    return texts


def is_secret(name: str) -> bool:
    """Whether an option holds a password or a key, by its name."""
    if name == "passfile":
        return False
    return any(word in name for word in ("pass", "secret", "scram"))


def _unknown_option(family: str, name: str) -> str:
    if name in _PYTHON_ONLY[family if family in _PYTHON_ONLY else "postgresql"]:
        return "it can be set in Python only"
    return f"{name} is unknown; remove it"


# -- types of options; each raises a ValueError that says what it expects


def _text(text: str) -> str:
    return text


def _integer(text: str) -> int:
    try:
        return int(text.replace("_", "x"))
    except ValueError:
        raise ValueError("an integer") from None


def _positive(text: str) -> int:
    number = _integer(text)
    if number < 1:
        raise ValueError("an integer above 0")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError("a number of seconds")
    if number == int(number):
        return int(number)
    return number


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE_WORDS:
        return True
    if text.lower() in _FALSE_WORDS:
        return False
    raise ValueError("true or false")


def _client_flag(text: str) -> int:
    number = _integer(text)
    if number < 0 or number & ~_CLIENT_FLAGS:
        raise ValueError("a sum of flags that change neither protocol nor login")
    return number


def _option_file(text: str) -> str:
    try:
        configparser.RawConfigParser(allow_no_value=True, strict=False).read(text)
    except (configparser.Error, ValueError):  # their texts quote the file
        raise ValueError("an option file of MySQL") from None
    return text


def _true(text: str) -> bool:
    if not _boolean(text):
        raise ValueError("true: texts are needed, not bytes")
    return True


def _ports(text: str) -> str:
    for port in text.split(","):
        if not (port.isdecimal() and 1 <= int(port) <= _MAX_PORT):
            raise ValueError("a number of a port, or several with commas")
    return text


def _port(text: str) -> int:
    return int(_ports(text.replace(",", "x")))


def _addresses(text: str) -> str:
    try:
        for address in text.split(","):
            ipaddress.ip_address(address)
    except ValueError:
        raise ValueError("an IP address") from None
    return text


def _one_of(*words: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return text

    return check


# -- options of each database

_POOL_TYPES: dict[str, Callable[[str], Any]] = {
    "max_connections": _positive,
    "stale_timeout": _seconds,
    "timeout": _seconds,
}
_SQLITE_TYPES: dict[str, Callable[[str], Any]] = {
    **_POOL_TYPES,
    "cached_statements": _integer,
    "check_same_thread": _boolean,
    "uri": _boolean,
}
# Those of SQLite itself, in the name of a file: https://sqlite.org/uri.html
SQLITE_URI_TYPES: dict[str, Callable[[str], Any]] = {
    "mode": _one_of("ro", "rw", "rwc", "memory"),
    "cache": _one_of("shared", "private"),
    "immutable": _boolean,
    "nolock": _boolean,
    "psow": _boolean,
    "vfs": _text,
}
_MYSQL_TYPES: dict[str, Callable[[str], Any]] = {
    **_POOL_TYPES,
    "bind_address": _text,
    "charset": _text,
    "client_flag": _client_flag,
    "collation": _text,
    "connect_timeout": _positive,
    "database": _text,
    "host": _text,
    "init_command": _text,
    "local_infile": _boolean,
    "mariadb": _boolean,
    "max_allowed_packet": _positive,
    "password": _text,
    "port": _port,
    "program_name": _text,
    "read_default_file": _option_file,
    "read_default_group": _text,
    "read_timeout": _positive,
    "sql_mode": _text,
    "ssl_ca": _text,
    "ssl_cert": _text,
    "ssl_disabled": _boolean,
    "ssl_key": _text,
    "ssl_key_password": _text,
    "ssl_verify_cert": _boolean,
    "ssl_verify_identity": _boolean,
    "unix_socket": _text,
    "use_unicode": _true,
    "user": _text,
    "write_timeout": _positive,
}
# libpq checks the values of the others itself:
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
_LIBPQ_TEXTS = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "database",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "host",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "options",
    "passfile",
    "password",
    "require_auth",
    "requirepeer",
    "scram_client_key",
    "scram_server_key",
    "service",
    "servicefile",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslkeylogfile",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
    "user",
]
_POSTGRESQL_TYPES: dict[str, Callable[[str], Any]] = {
    **_POOL_TYPES,
    **dict.fromkeys(_LIBPQ_TEXTS, _text),
    "connect_timeout": _integer,
    "hostaddr": _addresses,
    "isolation_level": _one_of(
        "READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"
    ),
    "keepalives": _integer,
    "keepalives_count": _integer,
    "keepalives_idle": _integer,
    "keepalives_interval": _integer,
    "port": _ports,
    "tcp_user_timeout": _integer,
}
_TYPES = {"sqlite": _SQLITE_TYPES, "mysql": _MYSQL_TYPES}
_PEEWEES = {
    "autoconnect",
    "autorollback",
    "field_types",
    "operations",
    "thread_safe",
}
# Arguments that a text cannot express, or that Peewee sets itself.
_PYTHON_ONLY = {
    "sqlite": _PEEWEES
    | {
        "detect_types",
        "factory",
        "isolation_level",
        "pragmas",
        "rank_functions",
        "regexp_function",
        "returning_clause",
    },
    "mysql": _PEEWEES
    | {
        "auth_plugin_map",
        "autocommit",
        "binary_prefix",
        "compress",
        "conv",
        "cursorclass",
        "defer_connect",
        "named_pipe",
        "server_public_key",
        "ssl",
    },
    "postgresql": _PEEWEES
    | {
        "autocommit",
        "connection_factory",
        "conninfo",
        "context",
        "cursor_factory",
        "dsn",
        "encoding",
        "prefer_psycopg3",
        "prepare_threshold",
        "register_unicode",
        "replication",
        "row_factory",
    },
}


# -- checks by the driver


def check_sqlite(name: str, options: Options) -> None:
    """Have sqlite3 check the options of a database with this name."""
    arguments = dict(options)
    place = ":memory:"
    if arguments.get("uri"):
        # Only SQLite knows its VFS modules.
        vfs = re.search("[?&]vfs=([^&]*)", name)
        if vfs:
            place = f"file::memory:?vfs={vfs[1]}"
    peewee.sqlite3.connect(place, **arguments).close()


def check_pymysql(options: Options) -> None:
    """Have PyMySQL check the options."""
    from pymysql.charset import charset_by_name

    try:
        known = charset_by_name(options["charset"])
    except LookupError:
        known = None
    if known is None:
        raise ValueError("charset must be one that the driver knows")
    if not any(name.startswith("ssl") for name in options):
        options = {**options, "ssl_disabled": True}  # reading certificates takes time
    peewee.mysql.connect(**options, defer_connect=True)


def check_libpq(options: Options, uses_psycopg3: bool) -> None:
    """Have libpq check the options; it does when it begins to connect.

    :raises ValueError: the text of the driver.
    """
    hosts = str(options.get("host", "")).split(",")
    ports = str(options.get("port", "")).split(",")
    if len(ports) not in (1, len(hosts)):
        raise ValueError(f"there are {len(ports)} ports and {len(hosts)} hosts")
    arguments = {
        name: value
        for name, value in options.items()
        if name not in ("host", "hostaddr", "port", "password")
    }
    driver = peewee.psycopg if uses_psycopg3 else peewee.psycopg2
    try:
        driver.connect(**arguments, host=_NO_SERVER, dbname="none").close()
    except driver.OperationalError as error:
        text = str(error).strip()
        if "connection to server" not in text:
            reason = text.removeprefix("connection is bad: ")
            raise ValueError(reason) from None
