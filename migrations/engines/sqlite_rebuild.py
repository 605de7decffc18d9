"""The rebuild of an SQLite table, for what `ALTER TABLE` cannot do.

    create new -> copy the rows -> drop old -> rename new -> indexes, triggers, sequence

The new definition is the old one's own text, in which only what differs is replaced, so that a
user's columns, defaults, CHECKs and collations survive. Peewee's rebuild reads `CREATE TABLE` with
regular expressions and loses triggers and AUTOINCREMENT; this one splits it into tokens.
See https://sqlite.org/lang_altertable.html#otheralter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from db.models import WeeklyActuals
from migrations.engines.base import TABLE, Engine, column_ddl, literal
from migrations.engines.sqlite_text import (
    CONSTRAINTS,
    Tokens,
    clauses_of,
    columns_of,
    split,
    text_of,
    unquoted,
    without_last_comment,
    words_of,
)
from migrations.report import Change, Difference, Refused
from migrations.schema import Table, declared, declared_key

NEW = "weekly_actuals__new"


def rebuild(engine: Engine, table: Table, errors: Sequence[Difference], rows: int, enforced: bool) -> list[Change]:
    """Return the statements that rebuild `weekly_actuals` without the differences.

    :raises Refused: inside a transaction with enforcement on, where dropping the old table would
        delete the rows of tables that refer to it; for a STRICT table.
    """
    if engine.in_transaction() and enforced and engine.database.pragma("foreign_keys"):
        raise Refused(
            "weekly_actuals has to be rebuilt, which is not safe inside a transaction that enforces foreign "
            "keys; run the migration outside of it, or execute PRAGMA foreign_keys = OFF before it begins"
        )
    new, old = engine.quote(NEW), engine.quote(TABLE)
    names = "SELECT type, name FROM main.sqlite_master UNION ALL SELECT type, name FROM sqlite_temp_master"
    if taken := engine.query(f"SELECT type FROM ({names}) WHERE name = ? COLLATE NOCASE", (NEW,)):
        raise Refused(f"weekly_actuals has to be rebuilt, and a {taken[0][0]} has the name {NEW}; drop that first")
    if table.primary_key not in ((), ("id",)):
        for (name,) in engine.query(
            "SELECT m.name FROM main.sqlite_master m, pragma_foreign_key_list(m.name) f "
            "WHERE m.type = 'table' AND f.\"table\" = ? COLLATE NOCASE AND f.\"to\" IS NULL", (TABLE,)
        ):  # fmt: skip
            raise Refused(
                f"the primary key of weekly_actuals has to become id, and the table {name} refers to the one that "
                "it has; name the column in that reference first"
            )
    mended = {each.name for each in errors if each.kind in ("index", "unique")}
    kept = [
        (kind, name, without_last_comment(sql))
        for kind, name, sql in engine.query(
            "SELECT type, name, sql FROM (SELECT * FROM main.sqlite_master UNION ALL "  # which does not say TEMP
            "SELECT type, name, tbl_name, rootpage, replace(substr(sql, 1, 6), 'CREATE', 'CREATE TEMP') || "
            "substr(sql, 7) FROM sqlite_temp_master) "
            "WHERE tbl_name = ? COLLATE NOCASE AND type IN ('index', 'trigger') AND sql IS NOT NULL", (TABLE,)
        )
        if name.lower() not in mended
    ]  # fmt: skip
    copied = [column for column in table.columns.values() if not _computed(column.name, table)]
    names = ", ".join(engine.quote(column.name) for column in copied)
    steps = [
        ("create its replacement", f"CREATE TABLE {new} {definition(engine, table, errors)}"),
        (f"copy {rows:,} rows", f"INSERT OR ABORT INTO {new} ({names}) SELECT {names} FROM {old}"),
        ("drop the old table", f"DROP TABLE {old}"),
        ("give the replacement its name", f"ALTER TABLE {new} RENAME TO {old}"),
        *((f"restore {kind} {name}", sql) for kind, name, sql in kept),
        *_sequence(engine),
    ]
    around = [("foreign_keys", "OFF", "ON")] if enforced else []
    around.append(("legacy_alter_table", "ON", "OFF"))
    return [
        *(Change("prepare the rebuild", f"PRAGMA {name} = {on}", alone=True) for name, on, _ in around),
        *(Change(f"rebuild weekly_actuals: {what}", sql) for what, sql in steps),
        *(Change("end the rebuild", f"PRAGMA {name} = {off}", alone=True) for name, _, off in around),
    ]


def _computed(name: str, table: Table) -> bool:
    return table.columns[name.lower()].generated and name.lower() not in declared(WeeklyActuals).columns


def _sequence(engine: Engine) -> Iterator[tuple[str, str]]:
    """The highest id ever given out; copying the rows restores only the highest that is left."""
    if engine.query("SELECT 1 FROM main.sqlite_master WHERE name = 'sqlite_sequence'"):
        for (highest,) in engine.query(
            "SELECT seq FROM main.sqlite_sequence WHERE name = ? AND seq IS NOT NULL", (TABLE,)
        ):
            yield "forget the copied sequence", f"DELETE FROM sqlite_sequence WHERE name = {literal(TABLE)}"
            yield (
                "restore the sequence",
                f"INSERT INTO sqlite_sequence (name, seq) VALUES ({literal(TABLE)}, {highest})",
            )


def definition(engine: Engine, table: Table, errors: Sequence[Difference]) -> str:
    """Return the body of the new `CREATE TABLE`: the old text with the differences mended."""
    expected = declared(WeeklyActuals)
    unique = {each.name for each in errors if each.kind == "unique"}
    keyless = "id" not in table.columns or any(
        each.kind == "primary_key" or (each.kind, each.name) == ("type", "id") for each in errors
    )
    missing = [each.name for each in errors if each.kind == "foreign_key"]
    wrong = {name: {key.table for key in table.wrong_keys(declared_key(name)) or ()} for name in missing}
    changed = {each.name: set() for each in errors}
    for each in errors:
        changed[each.name].add(each.kind)
    sql = engine.query("SELECT sql FROM main.sqlite_master WHERE name = ? AND type = 'table'", (table.name,))[0][0]
    items, options = split(sql)
    columns, constraints = [], []
    for item in items:
        if words_of(item)[0].upper() in CONSTRAINTS:
            constraints += _constraint(item, unique, keyless, wrong)
        else:
            columns.append(_column(engine, table, item, changed, keyless, wrong))
    columns += [column_ddl(engine, name) for name in expected.columns if name not in table.columns]
    fields = WeeklyActuals._meta.columns
    constraints += [engine.sql_of(fields[name].foreign_key_constraint()) for name in missing]
    if unique:
        constraints += [engine.sql_of(each) for each in WeeklyActuals._meta.constraints]
    if "STRICT" in options.upper().replace(",", " ").split():
        raise Refused(
            "weekly_actuals is a STRICT table, which has no DATE; mend it by hand or create it without STRICT"
        )
    if keyless:
        options = ""  # WITHOUT ROWID has no AUTOINCREMENT
    return f"({', '.join([*columns, *constraints])}){options}"


def _column(
    engine: Engine, table: Table, item: Tokens, changed: dict[str, set[str]], keyless: bool, wrong: dict[str, set[str]]
) -> str:
    """Return a column's definition: its own text, or ours with the clauses of a user's kept."""
    name = unquoted(words_of(item)[0]).lower()
    kinds = changed.get(name, set()) - {"index", "unique", "foreign_key"}
    head, clauses = clauses_of(item)
    clauses = [
        (kind, clause)
        for kind, clause in clauses
        if not (kind == "REFERENCES" and _referenced(clause) in wrong.get(name, ()))
        and not (kind == "PRIMARY" and keyless and name == "id")
    ]
    if keyless:  # a primary key of a user's own stays unique
        clauses = [("UNIQUE", ["UNIQUE"]) if kind == "PRIMARY" else (kind, clause) for kind, clause in clauses]
    if not kinds:
        return text_of(head) + "".join(" " + text_of(clause) for _, clause in clauses)
    keep = {"CHECK", "COLLATE", "UNIQUE", "REFERENCES"}
    if name != "uploaded_at":
        keep.add("DEFAULT")
    null = None if kinds & {"null", "not_null"} or name == "id" else table.columns[name].null
    ours = column_ddl(engine, name, null)
    return ours + "".join(" " + text_of(clause) for kind, clause in clauses if kind in keep)


def _referenced(tokens: Tokens) -> str:
    words = words_of(tokens)
    return unquoted(words[[word.upper() for word in words].index("REFERENCES") + 1]).lower()


def _constraint(item: Tokens, unique: set[str], keyless: bool, wrong: dict[str, set[str]]) -> list[str]:
    """Return a table's constraint: its own text, or nothing where it gives way to one of ours."""
    words = words_of(item)
    named = unquoted(words[1]).lower() if words[0].upper() == "CONSTRAINT" else ""
    kind = next((word.upper() for word in words if word.upper() in CONSTRAINTS - {"CONSTRAINT"}), "")
    columns, ours = columns_of(item), WeeklyActuals._meta.unique_key[1]
    if kind == "FOREIGN" and len(columns) == 1 and _referenced(item) in wrong.get(columns[0], ()):
        return []
    if kind == "UNIQUE" and unique and (columns == ours or named in unique):
        return []
    if kind == "PRIMARY" and keyless:  # one of a user's own stays unique
        return [f"UNIQUE {text_of(item[item.index('(') :])}"] * (columns not in (("id",), ours))
    return [text_of(item)]
