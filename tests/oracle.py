"""Definitions of tables by pg_dump, SHOW CREATE TABLE, sqlite_master and PRAGMAs.

    definitions(world) == {"order": ['"number" uuid NOT NULL', …], …}

Two databases with the same definitions have the same tables, except for what nobody
declared: the order of columns that were added later, the names that a server chooses,
and what it stores in addition to the definition.
"""

import re
import subprocess
from typing import NamedTuple

import db

_NAME = r'"(?:[^"]|"")*"|`(?:[^`]|``)*`|[\w$]+'
_PG_NOISE = re.compile(r"--.*|SET .*|SELECT pg_catalog\..*|\\(un)?restrict .*")


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def unquoted(name):
    """Return a name without the quotes that it may have."""
    quote = name[0]
    if quote not in '"`':
        return name
    return name[1:-1].replace(2 * quote, quote)


class Oracle(NamedTuple):
    """What Peewee creates from models: the `definitions`, and the `exact_schema`."""

    definitions: dict
    exact_schema: object


def created_by_peewee(world, models):
    """Return what Peewee creates from models in a world, which is empty afterwards."""
    world.clear()
    database = db.connect(world.url)
    with database.bind_ctx(models), database.connection_context():
        database.create_tables(models)
        oracle = Oracle(definitions(world), exact_schema(world))
        database.drop_tables(models)
    return oracle


def differing_definitions(world, oracle, tables, kept=()):
    """Return the definitions of tables that only the world or only the oracle has.

    :param kept: definitions that may differ: "table.text that the definition contains".
    """
    found = definitions(world)
    differing = set()
    for table in tables:
        for definition in set(found[table]) ^ set(oracle.definitions[table]):
            if not _is_kept(table, definition, kept):
                differing.add(f"{table}: {definition}")
    return differing


def _is_kept(table, definition, kept):
    unquoted = re.sub('[`"]', "", definition)
    for each in kept:
        name, _, text = each.partition(".")
        if name == table and text in unquoted:
            return True
    return False


def definitions(world):
    """Return the sorted definitions of each table of a world, by the table's name."""
    if world.engine == "sqlite":
        return _sqlite(world)
    if world.engine == "postgresql":
        return _postgresql(world)
    return _mariadb(world)


def exact_schema(world):
    """Return the whole schema as the database stores it, without AUTO_INCREMENT=n."""
    if world.engine == "postgresql":
        return _pg_dump(world)
    if world.engine == "mysql":
        shown = {name: _shown(world, name) for (name,) in world.query("SHOW TABLES")}
        # Keys are shown in the order of their creation.
        return {name: sorted(text.split("\n")) for name, text in shown.items()}
    return world.query(
        "SELECT type, name, tbl_name, sql FROM sqlite_master "
        "WHERE name NOT LIKE 'sqlite%' ORDER BY 1, 2"
    )


# -- SQLite: the text of a table depends on its author, its PRAGMAs do not


def _sqlite(world):
    tables = world.query(
        "SELECT name, sql FROM sqlite_master "
        "WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    )
    found = {}
    for name, sql in tables:
        found[name] = sorted(
            [
                *_sqlite_columns(world, name),
                *_sqlite_foreign_keys(world, name),
                *_sqlite_indexes(world, name, sql),
                *_sqlite_clauses(sql),
            ]
        )
    return found


def _sqlite_columns(world, table):
    # The rowid is never NULL, whether its definition says so or not.
    query = (
        "SELECT name, type, \"notnull\" OR pk AND type = 'INTEGER', dflt_value, pk, "
        f"hidden FROM pragma_table_xinfo({literal(table)})"
    )
    for column, type_, notnull, default, *rest in world.query(query):
        if default and not type_.startswith(("VARCHAR", "CHAR", "TEXT")):
            # The same number in any notation.
            default = {"TRUE": "1", "FALSE": "0"}.get(default, default.strip("'"))
        yield f"{column} {[type_, notnull, default, *rest]}"


def _sqlite_foreign_keys(world, table):
    query = (
        'SELECT "from", "table", coalesce("to", (SELECT name FROM '
        'pragma_table_info("table") WHERE pk = 1)), on_update, on_delete '
        f"FROM pragma_foreign_key_list({literal(table)})"
    )
    for column, *rest in world.query(query):
        yield f"FOREIGN KEY {column} {rest}"


def _sqlite_indexes(world, table, sql):
    # A missing UNIQUE is replaced by a unique index of its name. The name of a
    # constraint is only in the definition of the table.
    names = {}
    constraint = rf"CONSTRAINT\s+({_NAME})\s+UNIQUE\s*\(((?:{_NAME}|[, ])*)\)"
    for name, columns in re.findall(constraint, sql, re.IGNORECASE):
        key = [unquoted(column) for column in re.findall(_NAME, columns)]
        names[tuple(key)] = unquoted(name)
    query = (
        'SELECT name, "unique", origin, partial '
        f"FROM pragma_index_list({literal(table)}) WHERE origin <> 'pk'"
    )
    for name, unique, origin, partial in world.query(query):
        columns = world.query(
            'SELECT name, "desc", coll '
            f"FROM pragma_index_xinfo({literal(name)}) WHERE key ORDER BY seqno"
        )
        key = tuple(column[0] for column in columns)
        if origin == "u":
            name = names.get(key)
        if name == f"{table}_{'_'.join(map(str, key))}_key":
            name = None  # in place of a constraint that has no name
        definition = f"INDEX {name} {columns}"
        if unique:
            definition = f"UNIQUE {definition}"
        if partial:
            definition += " partial"
        yield definition


def _sqlite_clauses(sql):
    constraint = rf"CONSTRAINT\s+({_NAME})\s+CHECK"
    for name in re.findall(constraint, sql, re.IGNORECASE):
        yield f"CHECK {unquoted(name)}"
    clauses = r"\b(?:AUTOINCREMENT|COLLATE \w+|ON CONFLICT \w+)"
    yield from re.findall(clauses, sql, re.IGNORECASE)


# -- PostgreSQL: the functions that pg_dump uses, without a process each time

_PG_TABLES = """
SELECT c.oid, concat(nullif(nspname, 'public') || '.', relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE c.relkind = 'r' AND nspname !~ '^(pg_|information_schema)'"""
# A SERIAL column has a DEFAULT, an IDENTITY column has none; both own a sequence.
_PG_DEFINITIONS = """
SELECT attrelid, concat_ws(' ', quote_ident(attname), format_type(atttypid, atttypmod),
       'COLLATE ' || nullif(nullif(attcollation, 0), 100)::text,
       CASE WHEN attnotnull THEN 'NOT NULL' END, attgenerated,
       CASE WHEN attidentity <> '' OR pg_get_expr(adbin, adrelid) LIKE 'nextval(%'
            THEN 'auto-increment'
            ELSE 'DEFAULT ' || pg_get_expr(adbin, adrelid) END)
FROM pg_attribute a LEFT JOIN pg_attrdef d ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped
UNION ALL
SELECT conrelid, concat_ws(' ', CASE WHEN contype <> 'f' THEN conname END,
       pg_get_constraintdef(oid))
FROM pg_constraint WHERE conrelid <> 0
UNION ALL
SELECT indrelid, concat_ws(' ', pg_get_indexdef(indexrelid),
       CASE WHEN NOT indisvalid THEN 'INVALID' END)
FROM pg_index
UNION ALL
SELECT attrelid, concat_ws(' ', 'SEQUENCE OF', attname, format_type(seqtypid, NULL),
       seqincrement, seqmin, seqmax, seqcycle)
FROM pg_depend JOIN pg_sequence ON objid = seqrelid
     JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
WHERE deptype IN ('a', 'i')"""


def _postgresql(world):
    names = dict(world.query(_PG_TABLES))
    found = {name: [] for name in names.values()}
    for oid, definition in world.query(_PG_DEFINITIONS):
        if oid in names:
            # The server chooses the name of a CHECK that has none.
            text = re.sub(r"^\w+_check\d* CHECK", "CHECK", definition)
            found[names[oid]].append(text)
    return {name: sorted(texts) for name, texts in found.items()}


def _pg_dump(world):
    options = ["--schema-only", "--no-owner", "--no-privileges"]
    command = ["pg_dump", *options, "--dbname", world.url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [
        line for line in text.splitlines() if line and not _PG_NOISE.fullmatch(line)
    ]


# -- MariaDB


def _shown(world, name):
    quoted = name.replace("`", "``")
    ((_, text, *_),) = world.query(f"SHOW CREATE TABLE `{quoted}`")
    # MySQL shows RESTRICT, which is the same as nothing, if a key was created with it.
    text = text.replace(" ON DELETE RESTRICT", "").replace(" ON UPDATE RESTRICT", "")
    return re.sub(r" AUTO_INCREMENT=\d+", "", text)


def _mariadb(world):
    found = {}
    for name, kind in world.query("SHOW FULL TABLES"):
        if kind == "BASE TABLE":
            found[name] = sorted(_mariadb_table(_shown(world, name)))
    return found


def _mariadb_table(text):
    for line in text.split("\n")[1:]:
        definition = line.strip().rstrip(",")
        # The server numbers the foreign keys and the CHECKs that have no name.
        definition = re.sub(r"CONSTRAINT `\w+` FOREIGN KEY", "FOREIGN KEY", definition)
        definition = re.sub(r"CONSTRAINT `CONSTRAINT_\d+` ", "", definition)
        definition = re.sub(r"CONSTRAINT `\w+_chk_\d+` CHECK", "CHECK", definition)
        # A CHECK that belongs to a column does the same as one of the table.
        of_column = re.match(r"(`.*?) (CHECK \((?!json_valid).*\))$", definition)
        yield from of_column.groups() if of_column else [definition]
