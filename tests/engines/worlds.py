"""A database on each engine, and its catalog as read without the project's code."""

import contextlib
import itertools
import os
import sqlite3
import uuid
from urllib.parse import unquote, urlsplit

import peewee
from states import BASE, COLUMNS, FOREIGN_KEYS, INDEXES, ROWS, UNIQUE, WORDS, row

TYPE_CATEGORIES = {
    "int": "integer", "integer": "integer", "bigint": "integer",
    "unsigned big int": "integer", "varchar": "string", "text": "string",
    "character varying": "string", "date": "date", "float": "float", "double": "float",
    "double precision": "float",
}  # fmt: skip

APPLICATION = {
    statement.split()[2] for statement in BASE if statement.startswith("CREATE TABLE")
}

# Every row of PostgreSQL's catalog about a schema, without flags that stay set.
_OF_A_TABLE = {
    "pg_attribute": "attrelid",
    "pg_attrdef": "adrelid",
    "pg_index": "indrelid",
    "pg_trigger": "tgrelid",
    "pg_policy": "polrelid",
    "pg_rewrite": "ev_class",
    "pg_statistic_ext": "stxrelid",
}
_OF_A_SCHEMA = {
    "pg_class": "relnamespace",
    "pg_constraint": "connamespace",
    "pg_type": "typnamespace",
    "pg_proc": "pronamespace",
}
CATALOGUE = [
    "SELECT to_jsonb(n) FROM pg_namespace n WHERE nspname !~ '^pg_'",
    *(
        f"SELECT to_jsonb(c) - 'relhastriggers' - 'relhasrules' FROM {table} c "
        f"WHERE {key} = 'public'::regnamespace"
        for table, key in _OF_A_SCHEMA.items()
    ),
    *(
        f"SELECT to_jsonb(c) FROM {table} c JOIN pg_class t ON t.oid = {key} "
        "WHERE t.relnamespace = 'public'::regnamespace"
        for table, key in _OF_A_TABLE.items()
    ),
]


def sqlite_database(path):
    """Return the Peewee database of an SQLite file, with enforced foreign keys."""
    return peewee.SqliteDatabase(str(path), pragmas={"foreign_keys": 1})


class World:
    """A database with the application's tables, its URL and a connection."""

    engine: str

    def make(self, state, filled=False):
        self.create_application_tables()
        self.execute(*state.statements(self.engine))
        if filled or state.bad:
            self.insert(*(ROWS if filled else ()), *state.bad)
        return self

    def create_application_tables(self):
        """Create the application's tables in an empty database."""
        self.execute(*(statement.format(**WORDS[self.engine]) for statement in BASE))

    def execute(self, *statements):
        for statement in statements:
            self.cursor().execute(statement)

    def query(self, sql):
        cursor = self.cursor()
        cursor.execute(sql)
        return [tuple(row) for row in cursor.fetchall()]

    def cursor(self):
        return self.connection.cursor()

    def insert(self, *rows):
        columns = self.columns()
        known = [
            {name: value for name, value in each.items() if name in columns}
            for each in rows
        ]
        # One statement for many rows: each waits for the disk.
        for names, alike in itertools.groupby(known, tuple):
            values = ", ".join(
                f"({', '.join(map(_literal, each.values()))})" for each in alike
            )
            self.execute(
                f"INSERT INTO weekly_actuals ({', '.join(names)}) VALUES {values}"
            )

    def insert_without_id(self):
        """Insert a row as an upload does; return its generated id."""
        given = row(0, workflow="wf_2", week=50)
        del given["id"]
        self.insert(given)
        return self.query("SELECT id FROM weekly_actuals WHERE week_number = 50")[0][0]

    def refuses_a_duplicate(self):
        """Return whether the row of `insert_without_id` is refused a second time."""
        try:
            self.insert_without_id()
        except Exception as error:
            return any(word in str(error).lower() for word in ("unique", "duplicate"))
        return False

    def rows(self):
        """Return every row by its id, without columns that are not specified."""
        names = [
            name for name in self.columns() if name in {**COLUMNS, "uploaded_at": ()}
        ]
        return {
            record[0]: dict(zip(names[1:], map(_plain, record[1:])))
            for record in self.query(
                f"SELECT {', '.join(names)} FROM weekly_actuals ORDER BY id"
            )
        }

    def assert_specified(self, by_name=True):
        """The catalog has every column, key and index of the specification.

        :param by_name: false accepts an equivalent index with another name.
        """
        columns, primary_key, unique, foreign_keys, indexes = self.catalogue()
        assert {name: columns.get(name) for name in COLUMNS} == COLUMNS
        type_, nullable = columns["uploaded_at"]
        if nullable:
            assert type_ == "datetime"
            assert self.default()
        assert primary_key == ["id"]
        assert UNIQUE in unique
        assert {key for key in foreign_keys if key[0] in COLUMNS} == FOREIGN_KEYS
        if by_name:
            assert {name: indexes.get(name) for name in INDEXES} == INDEXES
        else:
            assert {*indexes.values(), *map(", ".join, unique)} >= {*INDEXES.values()}


class SQLite(World):
    engine = "sqlite"

    def __init__(self, path):
        self.path, self.url = path, f"sqlite:///{path}"
        self.connection = sqlite3.connect(path, isolation_level=None)

    def columns(self):
        return [
            name
            for (name,) in self.query(
                "SELECT name FROM pragma_table_info('weekly_actuals')"
            )
        ]

    def catalogue(self):
        table = self.query(
            'SELECT name, type, "notnull", pk FROM '
            "pragma_table_info('weekly_actuals')"
        )
        columns = {
            name: (self._category(type_), not (notnull or pk))
            for name, type_, notnull, pk in table
        }
        keys = self.query(
            'SELECT "from", "table", coalesce("to", (SELECT name '
            'FROM pragma_table_info("table") WHERE pk)), on_delete '
            "FROM pragma_foreign_key_list('weekly_actuals')"
        )
        unique, indexes = set(), {}
        for name, is_unique, origin, partial in self.query(
            'SELECT name, "unique", origin, partial '
            "FROM pragma_index_list('weekly_actuals')"
        ):
            covered = self.query(
                "SELECT name, \"desc\" OR coll <> 'BINARY' "
                f"FROM pragma_index_xinfo('{name}') WHERE key ORDER BY seqno"
            )
            plain = not partial and all(
                column and not special for column, special in covered
            )
            if is_unique and plain:
                unique.add(tuple(column for column, _ in covered))
            elif origin == "c" and plain:
                indexes[name] = ", ".join(column for column, _ in covered)
        return (
            columns,
            [name for name, _, _, pk in table if pk],
            unique,
            set(keys),
            indexes,
        )

    def _category(self, type_):
        type_ = type_.lower().partition("(")[0]
        if type_ == "timestamp":
            return "datetime"
        if type_ == "real":
            return "float"  # of 8 bytes in SQLite
        return TYPE_CATEGORIES.get(type_, type_)

    def default(self):
        found = self.query(
            "SELECT dflt_value FROM pragma_table_info('weekly_actuals') "
            "WHERE name = 'uploaded_at'"
        )
        return found == [("CURRENT_TIMESTAMP",)]

    def dump(self):
        """Return the whole content of the database."""
        return [
            *self.connection.iterdump(),
            *self.query("SELECT type, name, tbl_name, sql FROM sqlite_master"),
        ]

    def clear(self):
        pass

    def drop(self):
        self.connection.close()


class Server(World):
    """A database that one test after the other uses; it is cleared for each.

    `make` keeps the application's tables while they are unchanged: a server compares
    them in a tenth of the time that it needs to create them.
    """

    used = False  # by an earlier test: clear it first
    initial_state = None  # after the application's tables were created
    _url = ""

    @property
    def url(self):
        self._begin()
        return self._url

    @url.setter
    def url(self, url):
        self._url = url

    def cursor(self):
        self._begin()
        return super().cursor()

    def _begin(self):
        if self.used:
            self.used = False
            self.clear()

    def create_application_tables(self):
        self.used = False
        if self.initial_state:
            self.drop_tables(keep=APPLICATION)
        if not self.initial_state or self.state() != self.initial_state:
            self.clear()
            super().create_application_tables()
            self.initial_state = self.state()

    def clear(self):
        """Drop all objects of the database."""
        self.drop_tables()

    def state(self):
        """Return a value that changes with every change of the database."""
        return self.dump()


class PostgreSQL(Server):
    engine = "postgresql"

    def __init__(self, server=None):
        import psycopg

        server = server or os.environ.get(
            "POSTGRESQL_URL", "postgresql://postgres@127.0.0.1:5432/postgres"
        )
        self.server = psycopg.connect(server, autocommit=True, connect_timeout=5)
        self.name = f"states_{uuid.uuid4().hex}"
        self.server.execute(f"CREATE DATABASE {self.name}")
        self.url = urlsplit(server)._replace(path=f"/{self.name}").geturl()
        self.connection = None
        self.reset()

    def reset(self):
        """Undo the settings of the database and of the test's connection."""
        self.server.execute(f"ALTER DATABASE {self.name} RESET ALL")
        # For the speed of the tests.
        self.server.execute(f"ALTER DATABASE {self.name} SET synchronous_commit = off")
        if self.connection:
            self.connection.close()
        self.connection = type(self.server).connect(
            self._url, autocommit=True, prepare_threshold=None
        )

    def clear(self):
        schemas = self.query(
            "SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname !~ '^pg_' "
            "AND nspname <> 'information_schema'"
        )
        self.execute(
            *(f"DROP SCHEMA {name} CASCADE" for (name,) in schemas),
            "CREATE SCHEMA public",
        )

    def drop_tables(self, keep=()):
        kinds = {
            "r": "TABLE",
            "p": "TABLE",
            "v": "VIEW",
            "m": "MATERIALIZED VIEW",
            "S": "SEQUENCE",
        }
        for kind, name in self.query(
            "SELECT relkind::text, quote_ident(relname) FROM pg_class "
            "WHERE relnamespace = to_regnamespace('public') ORDER BY relkind = 'S'"
        ):
            if kind in kinds and name not in keep:
                self.execute(f"DROP {kinds[kind]} IF EXISTS public.{name} CASCADE")

    def state(self):
        tables = self.query(
            "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"
        )
        rows = [f"SELECT to_jsonb(t) FROM public.{name} t" for (name,) in tables]
        parts = " UNION ALL ".join([*CATALOGUE, *rows])
        return self.query(
            "SELECT md5(string_agg(part::text, ' ' ORDER BY part)) "
            f"FROM ({parts}) each(part)"
        )

    def insert(self, *rows):
        super().insert(*rows)
        sequence = "pg_get_serial_sequence('weekly_actuals', 'id')"
        if self.query(f"SELECT {sequence}") != [(None,)]:
            self.query(
                f"SELECT setval({sequence}, (SELECT max(id) FROM weekly_actuals))"
            )

    def columns(self):
        return [
            name
            for (name,) in self.query(
                "SELECT column_name FROM information_schema.columns "
                "WHERE table_name = 'weekly_actuals' "
                "ORDER BY column_name <> 'id', ordinal_position"
            )
        ]

    def catalogue(self):
        columns = {
            name: (
                "datetime"
                if type_.startswith("timestamp without")
                else TYPE_CATEGORIES.get(type_, type_),
                null == "YES",
            )
            for name, type_, null in self.query(
                "SELECT column_name, data_type, is_nullable "
                "FROM information_schema.columns "
                "WHERE table_name = 'weekly_actuals'"
            )
        }
        constraints = self.query(
            "SELECT contype::text, pg_get_constraintdef(oid), "
            "convalidated FROM pg_constraint "
            "WHERE conrelid = 'weekly_actuals'::regclass"
        )
        key = [
            text.partition("(")[2][:-1] for kind, text, _ in constraints if kind == "p"
        ]
        foreign_keys = {
            _reference(text)
            for kind, text, valid in constraints
            if kind == "f" and valid
        }
        unique, indexes = set(), {}
        for name, definition, is_unique in self.query(
            "SELECT c.relname, pg_get_indexdef(i.indexrelid), "
            "i.indisunique FROM pg_index i "
            "JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = "
            "'weekly_actuals'::regclass "
            "AND i.indisvalid AND i.indimmediate"
        ):
            covered = definition.partition(" USING btree (")[2]
            if covered.endswith(")") and is_unique:
                unique.add(tuple(covered[:-1].split(", ")))
            elif covered.endswith(")"):
                indexes[name] = covered[:-1]
        return columns, key, unique, foreign_keys, indexes

    def default(self):
        ((text,),) = self.query(
            "SELECT column_default FROM information_schema.columns "
            "WHERE table_name = 'weekly_actuals' AND column_name = 'uploaded_at'"
        )
        return text is not None and "now()" in text and "utc" in text.lower()

    def dump(self):
        catalogue = self.query(
            "SELECT table_name, column_name, data_type, is_nullable, column_default, "
            "ordinal_position "
            "FROM information_schema.columns WHERE table_schema = 'public' "
            "ORDER BY 1, 2"
        )
        catalogue += self.query(
            "SELECT conname, pg_get_constraintdef(oid), convalidated "
            "FROM pg_constraint ORDER BY 1"
        )
        catalogue += self.query(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), "
            "indisvalid FROM pg_index WHERE indrelid >= 16384 ORDER BY 1"
        )
        catalogue += self.query(
            "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal "
            "ORDER BY 1"
        )
        tables = self.query(
            "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' "
            "ORDER BY 1"
        )
        return [
            catalogue,
            *(
                (table, sorted(map(str, self.query(f"TABLE {table}"))))
                for (table,) in tables
            ),
        ]

    def drop(self):
        self.connection.close()
        self.server.execute(f"DROP DATABASE {self.name} WITH (FORCE)")
        self.server.close()


class MariaDB(Server):
    engine = "mysql"
    is_mariadb = True

    def __init__(self, server=None):
        import pymysql

        server = server or os.environ.get("MARIADB_URL", "mysql://root@127.0.0.1:3306/")
        parts = urlsplit(server)
        self.server = pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=unquote(parts.username or "root"),
            password=unquote(parts.password or ""),
            autocommit=True,
            connect_timeout=5,
            ssl_disabled=True,
        )
        self.connection = self.server
        self.name = f"states_{uuid.uuid4().hex}"
        self.execute(
            f"CREATE DATABASE {self.name} CHARACTER SET utf8mb4", f"USE {self.name}"
        )
        self.url = parts._replace(path=f"/{self.name}").geturl()

    def drop_tables(self, keep=()):
        found = [
            (kind, name)
            for name, kind in self.query("SHOW FULL TABLES")
            if name not in keep
        ]
        found += self.query(
            "SELECT routine_type, routine_name FROM information_schema.routines "
            "WHERE routine_schema = database()"
        )
        self.execute(
            "SET foreign_key_checks = 0",
            *(
                f"DROP {'TABLE' if 'TABLE' in kind else kind} "
                f"`{name.replace('`', '``')}`"
                for kind, name in found
            ),
            "SET foreign_key_checks = 1",
        )

    def columns(self):
        return [
            name
            for (name,) in self.query(
                "SELECT column_name FROM information_schema.columns "
                "WHERE table_schema = database() "
                "AND table_name = 'weekly_actuals' ORDER BY column_name <> 'id', "
                "ordinal_position"
            )
        ]

    def catalogue(self):
        columns = {
            name: (TYPE_CATEGORIES.get(type_, type_), null == "YES")
            for name, type_, null in self.query(
                "SELECT column_name, data_type, is_nullable "
                "FROM information_schema.columns "
                "WHERE table_schema = database() AND table_name = 'weekly_actuals'"
            )
        }
        covered = {}
        for name, column, is_unique, part in self.query(
            "SELECT index_name, column_name, 1 - non_unique, "
            "sub_part FROM information_schema.statistics "
            "WHERE table_schema = database() AND table_name = 'weekly_actuals' "
            "ORDER BY index_name, seq_in_index"
        ):
            covered.setdefault((name, is_unique), []).append(
                column if part is None else f"{column}({part})"
            )
        key = covered.pop(("PRIMARY", 1), [])
        indexes = {
            name: ", ".join(parts)
            for (name, is_unique), parts in covered.items()
            if not is_unique
        }
        # The implied index of a foreign key is equivalent.
        for name, parts in INDEXES.items():
            if name not in indexes and parts in indexes.values():
                indexes[name] = parts
        foreign_keys = set(
            self.query(
                "SELECT k.column_name, k.referenced_table_name, "
                "k.referenced_column_name, r.delete_rule "
                "FROM information_schema.key_column_usage k "
                "JOIN information_schema.referential_constraints r "
                "ON r.constraint_schema = k.constraint_schema "
                "AND r.constraint_name = k.constraint_name "
                "AND r.table_name = k.table_name WHERE k.table_schema = database() "
                "AND k.table_name = 'weekly_actuals'"
            )
        )
        unique = {
            tuple(parts) for (_, is_unique), parts in covered.items() if is_unique
        }
        return columns, key, unique, foreign_keys, indexes

    def default(self):
        ((text,),) = self.query(
            "SELECT column_default FROM information_schema.columns "
            "WHERE table_schema = database() "
            "AND table_name = 'weekly_actuals' AND column_name = 'uploaded_at'"
        )
        return text is not None and text.lower().strip("()") == "utc_timestamp"

    def dump(self):
        dumped = []
        for name, kind in self.query("SHOW FULL TABLES"):
            (shown,) = self.query(f"SHOW CREATE TABLE `{name}`")
            dumped.append(shown[1])
            if kind == "BASE TABLE":
                dumped.append(sorted(map(str, self.query(f"SELECT * FROM `{name}`"))))
        return dumped + self.query(
            "SELECT trigger_name, action_statement FROM information_schema.triggers "
            "WHERE trigger_schema = database() ORDER BY 1"
        )

    def drop(self):
        with contextlib.closing(self.server):
            self.execute(f"DROP DATABASE {self.name}")


WORLDS = {"sqlite": SQLite, "postgresql": PostgreSQL, "mysql": MariaDB}


def _reference(text):
    """Return the parts of a foreign key from its definition in PostgreSQL."""
    column, rest = text.removeprefix("FOREIGN KEY (").split(") REFERENCES ")
    target, _, action = rest.partition(")")
    return (column, *target.split("("), action.removeprefix(" ON DELETE "))


def _literal(value):
    if value is None:
        return "NULL"
    if isinstance(value, (int, float)):
        return str(value)
    return "'" + value.replace("'", "''") + "'"


def _plain(value):
    """Return a value in one form for all engines and types."""
    if isinstance(value, (int, float)):
        return float(value)
    with contextlib.suppress(TypeError, ValueError):
        return float(value)
    return None if value is None else str(value)
