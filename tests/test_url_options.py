"""The options of a URL: each is valid for the driver, or refused in one line."""

import inspect
import re
import shlex

import peewee
import processes
import pytest

import db
from db.url import describe, shell_word, without_password
from db.url_options import convert

COMMANDS = ("db.init_db", "db.uploads", "migrations.phase_4_5")
UNUSABLE = [
    ("sqlite:///{}?timeout=x", "timeout must be a number of seconds"),
    ("sqlite:///{}?timeout=-1", "timeout must be a number of seconds"),
    ("sqlite:///{}?timeout=nan", "timeout must be a number of seconds"),
    ("sqlite:///{}?uri=perhaps", "uri must be true or false"),
    ("sqlite:///{}?cached_statements=x", "cached_statements must be an integer"),
    ("sqlite:///{}?cached_statements=1_0", "cached_statements must be an integer"),
    ("sqlite:///{}?isolation_level=x", "it can be set in Python only"),
    ("sqlite:///{}?factory=x", "it can be set in Python only"),
    ("sqlite:///{}?uri=true&mode=x", "mode must be one of ro, rw, rwc, memory"),
    ("sqlite:///{}?uri=true&cache=x", "cache must be one of shared, private"),
    ("sqlite:///{}?uri=true&vfs=x", "no such vfs: x"),
    (
        "sqlite+pool:///{}?max_connections=0",
        "max_connections must be an integer above 0",
    ),
    (
        "mysql://h/d?use_unicode=0",
        "use_unicode must be true: texts are needed, not bytes",
    ),
    ("mysql://h/d?cursorclass=x", "it can be set in Python only"),
    ("mysql://h/d?conv=x", "it can be set in Python only"),
    ("mysql://h/d?autocommit=0", "it can be set in Python only"),
    ("mysql://h/d?defer_connect=1", "it can be set in Python only"),
    ("mysql://h/d?connect_timeout=x", "connect_timeout must be an integer"),
    ("mysql://h/d?read_timeout=0", "read_timeout must be an integer above 0"),
    ("mysql://h/d?client_flag=x", "client_flag must be an integer"),
    (
        "mysql://h/d?client_flag=32",
        "client_flag must be a sum of flags that change neither protocol nor login",
    ),
    ("mysql://h/d?port=0", "port must be a number of a port, or several with commas"),
    ("mysql://h/d?local_infile=x", "local_infile must be true or false"),
    ("mysql://h/d?charset=x", "charset must be one that the driver knows"),
    ("postgresql://h/d?row_factory=x", "it can be set in Python only"),
    ("postgresql://h/d?prepare_threshold=x", "it can be set in Python only"),
    ("postgresql://h/d?replication=true", "it can be set in Python only"),
    ("postgresql://h/d?conninfo=x", "it can be set in Python only"),
    ("postgresql://h/d?connect_timeout=x", "connect_timeout must be an integer"),
    ("postgresql://h/d?keepalives=x", "keepalives must be an integer"),
    ("postgresql://h/d?hostaddr=x", "hostaddr must be an IP address"),
    (
        "postgresql://h/d?port=70000",
        "port must be a number of a port, or several with commas",
    ),
    ("postgresql://h/d?port=1,2", "there are 2 ports and 1 hosts"),
    ("postgresql://h/d?sslmode=x", 'invalid sslmode value: "x"'),
    ("postgresql://h/d?target_session_attrs=x", "invalid target_session_attrs value"),
    ("postgresql://h/d?service=none_such", 'definition of service "none_such" not'),
    (
        "postgresql://h/d?isolation_level=x",
        "isolation_level must be one of READ UNCOMMITTED, READ COMMITTED, "
        "REPEATABLE READ, SERIALIZABLE",
    ),
    ("postgresql+psycopg2://h/d?sslmode=x", 'invalid sslmode value: "x"'),
    (
        "postgresql+pool://h/d?stale_timeout=x",
        "stale_timeout must be a number of seconds",
    ),
]

# Beginnings of what a driver says in its own words.
DRIVERS_WORDS = [
    "invalid target_session_attrs value",
    'definition of service "none_such" not',
]


@pytest.mark.drivers
@pytest.mark.parametrize(("url", "reason"), UNUSABLE)
def test_option_that_a_driver_cannot_use_is_refused(url, reason):
    with pytest.raises(db.UnusableURL) as caught:
        db.connect(url.format("app.db"))
    text = str(caught.value)
    beginning, _, end = text.partition("): ")
    scheme = url.partition(":")[0]
    assert beginning.startswith(f"the {scheme} URL has an option that cannot be used (")
    assert end.startswith(reason)
    if end != reason:  # the text of a driver, or a list of what is allowed
        assert reason in DRIVERS_WORDS
    assert "\n" not in text


@pytest.mark.drivers
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///{}?timeout=x",
        "mysql://h/d?charset=utf8&use_unicode=0",
        "mysql://h/d?cursorclass=x",
        "postgresql://h/d?row_factory=x",
        "postgresql://h/d?sslmode=x",
    ],
)
def test_unusable_option_is_a_usage_error_of_each_command(path, tmp_path, command, url):
    arguments = ["--database", url.format(path)]
    if command == "db.uploads":
        file = tmp_path / "c.csv"
        file.write_text("week_number\n")
        arguments.insert(0, file)
    done = processes.run(command, *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "URL has an option that cannot be used (" in line


# What a text cannot express, or Peewee sets itself.
PYTHON_ONLY = {
    "sqlite": ["detect_types", "factory", "isolation_level"],
    "mysql": [
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
    ],
    "postgresql": [
        "autocommit",
        "conninfo",
        "context",
        "cursor_factory",
        "prepare_threshold",
        "replication",
        "row_factory",
    ],
}
VALUES = {"client_flag": "2", "hostaddr": "127.0.0.1,::1", "sslmode": "require"}


def _parameters(function):
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    found = inspect.signature(function).parameters.values()
    return {each.name for each in found if each.kind not in variadic} - {"self"}


def _options_of_the_driver(family):
    if family == "mysql":
        # The others are other names of `password` and `database`.
        connection = pytest.importorskip("pymysql").connections.Connection
        return _parameters(connection.__init__) - {"passwd", "db"}
    psycopg = pytest.importorskip("psycopg")
    options = psycopg.pq.Conninfo.get_defaults()
    names = {option.keyword.decode() for option in options} - {"dbname"}
    return names | _parameters(psycopg.Connection.connect)


@pytest.mark.drivers("mysql", "postgresql")
@pytest.mark.parametrize("family", ["mysql", "postgresql"])
def test_every_option_of_the_driver_is_accepted_or_for_python_only(family):
    refused = {}
    for name in _options_of_the_driver(family):
        try:
            convert(family, {name: VALUES.get(name, "1")})
        except ValueError as error:
            refused[name] = str(error)
    refused.pop("read_default_file", None)
    assert refused == dict.fromkeys(PYTHON_ONLY[family], "it can be set in Python only")


@pytest.mark.parametrize("family", ["sqlite", "mysql", "postgresql"])
@pytest.mark.parametrize(
    "name",
    ["autoconnect", "autorollback", "field_types", "operations", "thread_safe"],
)
def test_arguments_of_every_class_of_peewee_are_for_python_only(family, name):
    with pytest.raises(ValueError, match="^it can be set in Python only$"):
        convert(family, {name: "1"})


@pytest.mark.parametrize(
    ("family", "name"),
    [
        *(("sqlite", name) for name in PYTHON_ONLY["sqlite"]),
        *(
            ("sqlite", name)
            for name in [
                "pragmas",
                "rank_functions",
                "regexp_function",
                "returning_clause",
            ]
        ),
        *(
            ("postgresql", name)
            for name in [
                "connection_factory",
                "dsn",
                "encoding",
                "prefer_psycopg3",
                "register_unicode",
            ]
        ),
    ],
)
def test_arguments_of_a_class_are_for_python_only(family, name):
    with pytest.raises(ValueError, match="^it can be set in Python only$"):
        convert(family, {name: "1"})


@pytest.mark.parametrize(
    ("family", "name", "text", "value"),
    [
        ("sqlite", "check_same_thread", "No", False),
        ("sqlite", "check_same_thread", "YES", True),
        ("sqlite", "check_same_thread", "off", False),
        ("sqlite", "check_same_thread", "0", False),
        ("sqlite", "timeout", "0", 0),
        ("sqlite", "timeout", "2.0", 2),
        ("sqlite", "max_connections", "1", 1),
        ("mysql", "port", "1", 1),
        ("mysql", "port", "65535", 65535),
        ("mysql", "client_flag", "0", 0),
        ("mysql", "client_flag", "198018", 198018),  # all that are allowed
        ("postgresql", "port", "1,65535", "1,65535"),
        ("postgresql", "hostaddr", "::1,10.0.0.1", "::1,10.0.0.1"),
    ],
)
def test_value_of_an_option_is_read(family, name, text, value):
    options = convert(family, {name: text})
    assert repr(options) == repr({name: value})


@pytest.mark.parametrize(
    ("family", "name", "text", "message"),
    [
        ("sqlite", "colour", "red", "colour is unknown; remove it"),
        ("mysql", "port", "65536", "a number of a port, or several with commas"),
        ("mysql", "client_flag", "-2", "a sum of flags that change neither protocol"),
        ("sqlite", "timeout", "inf", "a number of seconds"),
        ("postgresql", "hostaddr", "::1,x", "an IP address"),
    ],
)
def test_value_that_is_no_such_option_is_refused(family, name, text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        convert(family, {name: text})


USABLE = [
    ("sqlite:///{}?timeout=2.5&cached_statements=5&check_same_thread=false", {}),
    ("sqlite:///{}?uri=true&mode=ro&cache=private", {}),
    ("mysql://h/d?use_unicode=1", {"use_unicode": True}),
    ("mysql://h/d?client_flag=2", {"client_flag": 2}),
    ("mysql://h/d?program_name=5", {"program_name": "5"}),
    ("mysql://h/d?local_infile=on", {"local_infile": True}),
    ("postgresql://h/d?application_name=007", {"application_name": "007"}),
    ("postgresql://h/d?connect_timeout=3", {"connect_timeout": 3}),
    ("postgresql://h/d?options=-csearch_path%3Da", {"options": "-csearch_path=a"}),
    ("postgresql://h/d?sslmode=require&sslrootcert=/x", {"sslmode": "require"}),
    ("postgresql:///d?host=a,b&port=1,2", {"host": "a,b", "port": "1,2"}),
    ("postgresql://h/d?target_session_attrs=any", {"target_session_attrs": "any"}),
]


@pytest.mark.drivers
@pytest.mark.parametrize(("url", "expected"), USABLE)
def test_option_of_the_driver_is_passed_on(path, url, expected):
    params = db.connect(url.format(path)).connect_params
    assert expected.items() <= params.items()


@pytest.mark.drivers("mysql")
def test_content_of_an_option_file_is_not_shown(tmp_path):
    file = tmp_path / "my.cnf"
    file.write_text("password hush\n")
    with pytest.raises(
        db.UnusableURL, match="must be an option file of MySQL$"
    ) as told:
        db.connect(f"mysql://h/d?read_default_file={file}")
    assert "hush" not in str(told.value)


# -- the name of the database


@pytest.mark.drivers
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app@host/other?dbname=shop",
        "postgresql://app@host/?dbname=shop",
        "mysql://app@host/other?db=shop",
        "mysql://app@host/?database=shop",
    ],
)
def test_name_among_the_options_is_the_name_that_is_shown(url):
    database = db.connect(url)
    assert database.database == "shop"
    assert not {"dbname", "db", "database"} & database.connect_params.keys()
    assert describe(database).endswith("://app@host/shop")


@pytest.mark.drivers("mysql")
def test_password_among_the_options_is_not_shown():
    database = db.connect("mysql://app@host/shop?passwd=hush")
    assert database.connect_params["password"] == "hush"
    assert describe(database) == "mysql://app@host/shop"


# -- printed URLs


@pytest.mark.drivers
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app@host/shop?options=-csearch_path%3Dapp%2Cpublic",
        "postgresql://host/shop?sslmode=require&application_name=my%20app",
        "postgresql://a,b/shop?target_session_attrs=read-write",
        "postgresql:///shop?host=/tmp,/run",
        "postgresql:///shop?host=fe80%3A%3A1%25eth0",
        "postgresql://app@/shop?host=a%2C%3A%3A1&port=5432%2C5433",
        "cockroachdb://app@host/shop",
        "mysql://app@[::1]:3307/shop?charset=latin1",
        "mysql://app@host/shop?local_infile=true",
    ],
)
def test_printed_url_has_the_same_options(url):
    database = db.connect(url)
    again = db.connect(describe(database))
    assert describe(again) == describe(database)
    assert type(again).__name__ == type(database).__name__
    assert again.database == database.database
    assert again.connect_params == database.connect_params


@pytest.mark.drivers
@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("postgresql://app:hush@host/shop?sslpassword=hush1", ["sslpassword"]),
        ("postgresql://host/shop?scram_client_key=hush", ["scram_client_key"]),
        ("mysql://host/shop?ssl_key_password=hush", ["ssl_key_password"]),
        (
            "mysql://host/shop?init_command=SET%20PASSWORD%3D%27hush%27",
            ["init_command"],
        ),
    ],
)
def test_printed_url_has_no_secrets(url, names):
    try:
        database = db.connect(url)
    except db.UnusableURL:  # an older libpq
        database = peewee.PostgresqlDatabase("shop", scram_client_key="hush")
    described = describe(database)
    assert "hush" not in described
    assert not any(name in described for name in names)


@pytest.mark.drivers("postgresql")
def test_secret_option_is_replaced_in_the_text_of_a_driver():
    database = db.connect("postgresql://host/shop?sslpassword=hush")
    assert without_password(database, "bad key hush") == "bad key ***"


@pytest.mark.drivers("postgresql")
def test_connection_string_is_printed_without_its_password():
    database = peewee.PostgresqlDatabase(
        "postgresql://app:hush@host:5433/shop?options=-csearch_path%3Dapp"
    )
    described = "postgresql://app@host:5433/shop?options=-csearch_path%3Dapp"
    assert describe(database) == described


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("sqlite:///app.db", "sqlite:///app.db"),
        ("postgresql://h/d?host=/run", "postgresql://h/d?host=/run"),
        ("postgresql://h/d?a=1&b=2", "'postgresql://h/d?a=1&b=2'"),
        ("sqlite:///my app.db", "'sqlite:///my app.db'"),
    ],
)
def test_url_is_quoted_for_a_shell_where_that_is_necessary(url, word):
    assert shell_word(url) == word
    assert shlex.split(word) == [url]
