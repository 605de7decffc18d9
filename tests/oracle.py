"""What tables are, in the database's own words: by `pg_dump`, `SHOW CREATE TABLE`, `sqlite_master` and PRAGMAs.

    in_words(world) == {"order": ['"number" uuid NOT NULL', …], …}

Two databases with the same words have the same tables, but for what nobody declared: the order of columns
that were added later, the names that a server gives, and what it keeps beside the definition.
"""

import re
import subprocess

_PG_NOISE = re.compile(r"--.*|SET .*|SELECT pg_catalog\..*|\\(un)?restrict .*")


def in_words(world):
    """Return the words of each table of a world, sorted, by the table's name."""
    return {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mariadb}[world.engine](world)


def to_the_letter(world):
    """Return the whole schema as the database tells it, nothing left out but AUTO_INCREMENT's next value."""
    if world.engine == "postgresql":
        return _pg_dump(world)
    if world.engine == "mysql":
        return [_shown(world, name) for (name,) in world.query("SHOW TABLES")]
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


# -- PostgreSQL


def _pg_dump(world):
    command = ["pg_dump", "--schema-only", "--no-owner", "--no-privileges", "--dbname", world.url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = (line for line in text.splitlines() if line and not _PG_NOISE.fullmatch(line))
    return [each.strip() for each in "\n".join(lines).split(";\n")]


def _postgresql(world):
    tables = {}
    for statement in _pg_dump(world):
        named = re.match(r'CREATE TABLE public\.("?\w+"?) \(\n(.*)\n\)', statement, re.DOTALL)
        if named:  # columns in whatever order
            words = tables.setdefault(named[1].strip('"'), [])
            words += [line.strip().rstrip(",") for line in named[2].split("\n")]
        else:
            table = re.search(r'(?:TABLE ONLY| ON|OWNED BY) public\.("\w+"|\w+)', statement)
            # A key that nobody named has the name that was free.
            words = re.sub(r"ADD CONSTRAINT \w+ FOREIGN KEY", "ADD FOREIGN KEY", " ".join(statement.split()))
            tables.setdefault(table[1].strip('"') if table else "", []).append(words)
    return {name: sorted(words) for name, words in tables.items()}


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
