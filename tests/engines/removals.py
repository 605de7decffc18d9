"""What somebody may remove from tables by hand, as statements.

    removals(world) == [Removal("NOT NULL of things.word", ["ALTER TABLE …"]), …]

They are read from the database, so they hold for tables of any shape. Whole columns,
primary keys and what a type implies are left out. They can be executed one by one, each
on complete tables, or all of them in this order.
"""

import re
from typing import NamedTuple

from migrations.sql_text import masked


class Removal(NamedTuple):
    subject: str
    statements: list


def removals(world):
    """Return what can be removed from the tables of a world."""
    return _REMOVALS[world.engine](world)


# -- PostgreSQL

_POSTGRESQL = """
SELECT CASE contype WHEN 'f' THEN 0 ELSE 1 END, c.oid, 'constraint ' || conname,
       format('ALTER TABLE %s DROP CONSTRAINT %I', c.oid::regclass, conname)
FROM pg_constraint k JOIN pg_class c ON c.oid = conrelid
WHERE contype IN ('c', 'f', 'u') AND connamespace NOT IN (
      'pg_catalog'::regnamespace, 'information_schema'::regnamespace)
UNION ALL
SELECT 2, c.oid, 'index ' || indexrelid::regclass,
       format('DROP INDEX %s', indexrelid::regclass)
FROM pg_index JOIN pg_class c ON c.oid = indrelid
WHERE c.oid >= 16384 AND c.relkind = 'r'
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
UNION ALL
SELECT 3, c.oid, 'NOT NULL of ' || attname,
       format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL', c.oid::regclass, attname)
FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
WHERE c.oid >= 16384 AND c.relkind = 'r' AND attnum > 0 AND attnotnull
  AND attidentity = ''
  AND NOT EXISTS (SELECT FROM pg_index
                  WHERE indrelid = c.oid AND indisprimary AND attnum = ANY (indkey))
UNION ALL
SELECT 4, c.oid, 'DEFAULT of ' || attname,
       format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT', c.oid::regclass, attname)
FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
JOIN pg_attrdef d ON adrelid = c.oid AND adnum = attnum
WHERE c.oid >= 16384 AND c.relkind = 'r' AND attgenerated = ''
  AND pg_get_expr(adbin, adrelid) NOT LIKE '%nextval(%'
ORDER BY 1, 2, 3"""


def _postgresql(world):
    rows = world.query(_POSTGRESQL)
    return [Removal(subject, [sql]) for _, _, subject, sql in rows]


# -- MariaDB

_QUOTED = r"'(?:[^'\\]|\\.|'')*'|`(?:[^`]|``)*`"
_NAME = r"`(?:[^`]|``)*`"
# Of the masked definition of a column.
_CLAUSES = {
    "NOT NULL": r" NOT NULL",
    "DEFAULT": r" DEFAULT (?!NULL)('x*'|\(x*\)|[^ (]+(\(x*\))?)",
    "ON UPDATE": r" ON UPDATE \w+(\(\))?",
    "COMMENT": r" COMMENT 'x*'",
    "CHECK": r" CHECK \(x*\)",
}


def _mysql(world):
    first, last = [], []
    for name, kind in world.query("SHOW FULL TABLES"):
        if kind != "BASE TABLE":
            continue
        table = "`" + name.replace("`", "``") + "`"
        ((_, text),) = world.query(f"SHOW CREATE TABLE {table}")
        lines = [line.strip().rstrip(",") for line in text.split("\n")[1:-1]]
        key = next((line for line in lines if line.startswith("PRIMARY KEY")), "")
        for line in lines:
            alter = f"ALTER TABLE {table}"
            found = re.match(rf"CONSTRAINT ({_NAME}) (FOREIGN KEY|CHECK)", line)
            if found:
                kind = "FOREIGN KEY" if found[2] == "FOREIGN KEY" else "CONSTRAINT"
                sql = f"{alter} DROP {kind} {found[1]}"
                first.append(Removal(f"{found[2]} {found[1]}", [sql]))
            found = re.match(rf"(?:UNIQUE |FULLTEXT )?KEY ({_NAME})", line)
            if found:
                sql = f"{alter} DROP INDEX {found[1]}"
                last.append(Removal(f"index {found[1]}", [sql]))
            if line.startswith("`"):
                last += _of_mysql_column(alter, line, key)
    first.sort(key=lambda removal: "DROP FOREIGN" not in removal.statements[0])
    return [*first, *last]


def _of_mysql_column(alter, line, primary_key):
    name = re.match(_NAME, line)[0]
    # Each removal is of the definition that the others have left.
    for clause, pattern in _CLAUSES.items():
        found = re.search(pattern, masked(line, _QUOTED))
        if not found or "AUTO_INCREMENT" in line or "json_valid" in line:
            continue
        if clause == "NOT NULL" and name in primary_key:
            continue
        without = line[: found.start()] + line[found.end() :]
        if clause != "CHECK":
            line = without
        yield Removal(f"{clause} of {name}", [f"{alter} MODIFY {without}"])
        line = without


# -- SQLite: a table without something is created again, as it has no rows

_SQLITE_QUOTED = r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\""
_SQLITE_CLAUSES = {
    "NOT NULL": r" NOT NULL(?! PRIMARY)",
    "DEFAULT": r" DEFAULT(?! NULL)\s*('x*'|\(x*\)|[^ ,(]+(\(x*\))?)",
    "CHECK": r"( CONSTRAINT \"x*\")? CHECK\s*\(x*\)",
    "UNIQUE": r" UNIQUE",
    "REFERENCES": r" REFERENCES \w+( \(x*\))?( ON \w+ (SET )?\w+)*",
}


def _sqlite(world):
    indexes = _sqlite_indexes(world)
    found = [
        Removal(f"index {index}", [f"DROP INDEX {_quoted(index)}"]) for index in indexes
    ]
    for table, sql in _sqlite_tables(world):
        for subject, items in _without_clauses(_sqlite_items(sql), sql):
            kept = [text for of, text in indexes.values() if of == table]
            statements = [*_recreated(table, sql, items), *kept]
            found.append(Removal(f"{subject} of {table}", statements))
    return found


def _sqlite_indexes(world):
    """Return the table and the text of each index that has a text."""
    stored = world.query(
        "SELECT name, tbl_name, sql FROM sqlite_master "
        "WHERE type = 'index' AND sql IS NOT NULL"
    )
    return {name: (table, sql) for name, table, sql in stored}


def _sqlite_tables(world):
    return world.query(
        "SELECT name, sql FROM sqlite_master "
        "WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )


def removed_together(world):
    """Return the statements that remove all of it at once."""
    if world.engine != "sqlite":
        return [sql for removal in removals(world) for sql in removal.statements]
    statements = [f"DROP INDEX {_quoted(index)}" for index in _sqlite_indexes(world)]
    for table, sql in _sqlite_tables(world):
        complete = items = _sqlite_items(sql)
        step = next(_without_clauses(items, sql), None)
        while step is not None:
            items = step[1]
            step = next(_without_clauses(items, sql), None)
        if items != complete:
            statements += _recreated(table, sql, items)
    return statements


def _quoted(name):
    return '"' + name.replace('"', '""') + '"'


def _sqlite_items(sql):
    text = masked(sql, _SQLITE_QUOTED)
    start, end = text.index("("), text.rindex(")")
    inner = sql[start + 1 : end]
    commas = [
        found.start() for found in re.finditer(",", masked(inner, _SQLITE_QUOTED))
    ]
    starts = [0, *(comma + 1 for comma in commas)]
    return [inner[a:b].strip() for a, b in zip(starts, [*commas, len(inner)])]


def _without_clauses(items, sql):
    """Yield each clause that can be left out, and the items without it."""
    implied = ""  # a key WITHOUT ROWID refuses NULL in any case
    if "WITHOUT ROWID" in sql:
        implied = next((each for each in items if each.startswith("PRIMARY KEY")), "")
    for number, item in enumerate(items):
        others = items[:number], items[number + 1 :]
        constraint = re.match(
            r"(CONSTRAINT \S+ )?(FOREIGN KEY|UNIQUE|CHECK)",
            masked(item, _SQLITE_QUOTED),
        )
        if constraint:
            yield item, [*others[0], *others[1]]
            continue
        for clause, pattern in _SQLITE_CLAUSES.items():
            found = re.search(pattern, masked(item, _SQLITE_QUOTED))
            is_implied = clause == "NOT NULL" and item.split()[0] in implied
            if found and "PRIMARY KEY" not in item and not is_implied:
                without = item[: found.start()] + item[found.end() :]
                yield f"{clause} of {item}", [*others[0], without, *others[1]]


def _recreated(table, sql, items):
    """Return the statements that create a table again, with other items."""
    options = sql[masked(sql, _SQLITE_QUOTED).rindex(")") + 1 :]
    create = f"CREATE TABLE {_quoted(table)} ({', '.join(items)}){options}"
    return [f"DROP TABLE {_quoted(table)}", create]


_REMOVALS = {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mysql}
