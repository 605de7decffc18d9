"""What tables are, in the own words of `pg_dump`, `SHOW CREATE TABLE`, `sqlite_master` and PRAGMAs.

    in_words(world) == {"order": ['"number" uuid NOT NULL', …], …}

Two databases with the same words have the same tables, but for what nobody declared: the order of columns
that were added later, the names that a server gives, and what it keeps beside the definition.
"""

import re
import subprocess
from typing import NamedTuple

import db

_PG_NOISE = re.compile(r"--.*|SET .*|SELECT pg_catalog\..*|\\(un)?restrict .*")


class Oracle(NamedTuple):
    """What a database is that Peewee made from models: its tables' `words`, and all of it to the `letter`."""

    words: dict
    letter: object


def by_peewee(world, models):
    """Ask what Peewee makes of models in a world, which is empty before and after."""
    world.clear()
    database = db.connect(world.url)
    with database.bind_ctx(models), database.connection_context():
        database.create_tables(models)
        oracle = Oracle(in_words(world), to_the_letter(world))
        database.drop_tables(models)
    return oracle


def unlike(world, oracle, tables, kept=()):
    """Return the words of tables that a world and an oracle do not share.

    :param kept: what may be other, as good: "table.what the word holds".
    """
    words, kept = in_words(world), [each.partition(".")[::2] for each in kept]
    return {
        f"{table}: {word}" for table in tables for word in {*words[table]} ^ {*oracle.words[table]}
        if not any(table == name and what in re.sub('[`"]', "", word) for name, what in kept)
    }  # fmt: skip


def in_words(world):
    """Return the words of each table of a world, sorted, by the table's name."""
    return {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mariadb}[world.engine](world)


def to_the_letter(world):
    """Return the whole schema as the database tells it, nothing left out but AUTO_INCREMENT's next value."""
    if world.engine == "postgresql":
        return _pg_dump(world)
    if world.engine == "mysql":
        shown = {name: _shown(world, name) for (name,) in world.query("SHOW TABLES")}
        return {name: sorted(text.split("\n")) for name, text in shown.items()}  # keys are shown as they were made
    return world.query(
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%' ORDER BY 1, 2"
    )


# -- SQLite: the text of a table differs by who wrote it, its PRAGMAs do not


def _sqlite(world):
    tables = world.query("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    return {name: sorted(_sqlite_table(world, name, sql)) for name, sql in tables}


def _sqlite_table(world, name, sql):
    for column, type_, notnull, default, *rest in world.query(
        # A key that is the row's number is never NULL, whether its text says so or not.
        f"SELECT name, type, \"notnull\" OR pk AND type = 'INTEGER', dflt_value, pk, hidden "
        f"FROM pragma_table_xinfo('{name}')"
    ):
        if default and not type_.startswith(("VARCHAR", "CHAR", "TEXT")):  # the same number, however it is written
            default = {"TRUE": "1", "FALSE": "0"}.get(default, default.strip("'"))
        yield f"{column} {[type_, notnull, default, *rest]}"
    for column, *rest in world.query(
        f'SELECT "from", "table", coalesce("to", \'\'), on_update, on_delete FROM pragma_foreign_key_list(\'{name}\')'
    ):
        yield f"FOREIGN KEY {column} {rest}"
    # A missing UNIQUE is made good by a unique index of its name: the name of a constraint is in the text alone.
    names = {
        tuple(re.findall(r"\w+", columns)): key
        for key, columns in re.findall(r"CONSTRAINT\W+(\w+)\W+UNIQUE\s*\(([^)]*)\)", sql, re.IGNORECASE)
    }
    for index, unique, origin, partial in world.query(
        f"SELECT name, \"unique\", origin, partial FROM pragma_index_list('{name}') WHERE origin <> 'pk'"
    ):
        parts = world.query(f"SELECT name, \"desc\", coll FROM pragma_index_xinfo('{index}') WHERE key ORDER BY seqno")
        named = names.get(tuple(part[0] for part in parts)) if origin == "u" else index
        yield f"{'UNIQUE ' * unique}INDEX {named} {parts}{' partial' * partial}"
    yield from (f"CHECK {key}" for key in re.findall(r"CONSTRAINT\W+(\w+)\W+CHECK", sql, re.IGNORECASE))
    yield from re.findall(r"\b(?:AUTOINCREMENT|COLLATE \w+|ON CONFLICT \w+)", sql, re.IGNORECASE)


# -- PostgreSQL: by the functions that pg_dump asks, since it takes a process of its own each time

_PG_TABLES = """
SELECT c.oid, c.relname FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"""
_PG_WORDS = """
SELECT attrelid, concat_ws(' ', quote_ident(attname), format_type(atttypid, atttypmod),
       'COLLATE ' || nullif(nullif(attcollation, 0), 100)::text, CASE WHEN attnotnull THEN 'NOT NULL' END, attgenerated,
       CASE WHEN attidentity <> '' OR pg_get_expr(adbin, adrelid) LIKE 'nextval(%' THEN 'counts'
            ELSE 'DEFAULT ' || pg_get_expr(adbin, adrelid) END)
FROM pg_attribute a LEFT JOIN pg_attrdef d ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped
UNION ALL
SELECT conrelid, concat_ws(' ', CASE WHEN contype <> 'f' THEN conname END, pg_get_constraintdef(oid)) FROM pg_constraint
WHERE conrelid <> 0
UNION ALL
SELECT indrelid, concat_ws(' ', pg_get_indexdef(indexrelid), CASE WHEN NOT indisvalid THEN 'INVALID' END) FROM pg_index
UNION ALL
SELECT attrelid, concat_ws(' ', 'SEQUENCE OF', attname, format_type(seqtypid, NULL), seqincrement, seqmin, seqmax,
       seqcycle)
FROM pg_depend JOIN pg_sequence ON objid = seqrelid JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
WHERE deptype IN ('a', 'i')"""


def _postgresql(world):
    """A key that SERIAL made counts by a default, a newer one as IDENTITY: both by a sequence that is the column's."""
    names = dict(world.query(_PG_TABLES))
    tables = {name: [] for name in names.values()}
    for oid, words in world.query(_PG_WORDS):
        if oid in names:
            tables[names[oid]].append(words)
    return {name: sorted(words) for name, words in tables.items()}


def _pg_dump(world):
    command = ["pg_dump", "--schema-only", "--no-owner", "--no-privileges", "--dbname", world.url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line for line in text.splitlines() if line and not _PG_NOISE.fullmatch(line)]


# -- MariaDB


def _shown(world, name):
    ((_, text, *_),) = world.query(f"SHOW CREATE TABLE `{name}`")
    return re.sub(r" AUTO_INCREMENT=\d+", "", text)


def _mariadb(world):
    return {name: sorted(_mariadb_table(_shown(world, name)))
            for name, kind in world.query("SHOW FULL TABLES") if kind == "BASE TABLE"}  # fmt: skip


def _mariadb_table(text):
    for line in text.split("\n")[1:]:
        # A key that nobody named has the number that was free.
        yield re.sub(r"CONSTRAINT `\w+` FOREIGN KEY", "FOREIGN KEY", line.strip().rstrip(","))
