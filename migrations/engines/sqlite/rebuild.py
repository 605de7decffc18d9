"""The two ways of changing what `ALTER TABLE` cannot: the edit of a table's text, and the rebuild.

    edit:    open the schema -> replace the text -> close it -> tell every connection
    rebuild: create new -> copy the rows -> drop old -> rename new -> indexes, triggers, sequence

An edit is for what the stored rows know nothing of, and costs the same however many there are. What it
demands of them was proven before, under the same lock: once the text says NOT NULL, SQLite no longer looks.
See https://sqlite.org/lang_altertable.html#otheralter. Peewee's rebuild loses triggers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from migrations import operations as do
from migrations.engines.sqlite.definition import Definition, new_key
from migrations.engines.sqlite.text import without_last_comment
from migrations.operations import Operation
from migrations.report import Change, Refused
from migrations.schema import Table, literal

if TYPE_CHECKING:
    from migrations.engines.sqlite.statements import SQLiteStatements

NEW = "__new"
KEYS_HOLD = ", if its foreign keys still hold"
_EDIT = "UPDATE main.sqlite_master SET sql = "
_FURTHER = 100  # than one: whoever runs a script later finds no connection that knows the schema by this number


def edit(statements: SQLiteStatements, table: Table, operations: Sequence[Operation], changes: int) -> Iterator[Change]:
    """Yield the statements that replace a table's text.

    :param changes: the number of those before.
    """
    engine = statements.engine
    text = f"CREATE TABLE {engine.quote(table.name)} {Definition(statements, table, engine.text_of(table), operations)}"
    version = engine.database.pragma("schema_version") + _FURTHER + changes
    what = ", ".join(dict.fromkeys(statements.words_for(each) for each in operations))
    for how, sql in (
        ("open the schema", "PRAGMA writable_schema = ON"),
        (what, f"{_EDIT}{literal(text)} WHERE type = 'table' AND name = {literal(table.name)}"),
        ("close the schema", "PRAGMA writable_schema = OFF"),
        ("tell every connection", f"PRAGMA schema_version = {version}"),
    ):
        yield Change(f"edit {table.name}: {how}", sql)


def rebuild(statements: SQLiteStatements, table: Table, operations: Sequence[Operation]) -> Iterator[Change]:
    """Yield the statements that rebuild a table without the differences.

    :raises Refused: inside a transaction with enforcement on, where dropping the old table would delete the
        rows of tables that refer to it; what else forbids it.
    """
    engine, name = statements.engine, table.name
    _refuse(statements, table, operations)
    new, old = engine.quote(name + NEW), engine.quote(name)
    retyped = {each.column.name for each in operations if isinstance(each, do.AlterColumn) and "type" in each.what}
    copied = [each.name for key, each in table.columns.items() if not each.generated or key in retyped]
    names, rows = ", ".join(map(engine.quote, copied)), engine.count(name)
    added = any(isinstance(each, do.AddForeignKey) for each in operations)
    at_stake = added or any(retyped & {*key.columns} for key in table.foreign_keys)  # else what held before holds
    for what, sql in (
        ("create its replacement",
         f"CREATE TABLE {new} {Definition(statements, table, engine.text_of(table), operations)}"),
        (f"copy {rows:,} rows", f"INSERT OR ABORT INTO {new} ({names}) SELECT {names} FROM {old}"),
        ("drop the old table" + KEYS_HOLD * at_stake, f"DROP TABLE {old}"),
        ("give the replacement its name", f"ALTER TABLE {new} RENAME TO {old}"),
        *_kept(statements, table, operations),
        *_sequence(statements, table),
    ):  # fmt: skip
        yield Change(f"rebuild {name}: {what}", sql, statements.rebuild_holds_up if rows else None)


def _refuse(statements: SQLiteStatements, table: Table, operations: Sequence[Operation]) -> None:
    engine, name = statements.engine, table.name
    if engine.in_transaction() and engine.enforced and engine.database.pragma("foreign_keys"):
        raise Refused(
            f"{name} has to be rebuilt, which is not safe inside a transaction that enforces foreign "
            "keys; run the migration outside of it, or execute PRAGMA foreign_keys = OFF before it begins"
        )
    taken = "SELECT type, name FROM main.sqlite_master UNION ALL SELECT type, name FROM sqlite_temp_master"
    for (kind,) in engine.query(f"SELECT type FROM ({taken}) WHERE name = ? COLLATE NOCASE", (name + NEW,)):
        raise Refused(f"{name} has to be rebuilt, and a {kind} has the name {name + NEW}; drop that first")
    if table.primary_key and new_key(operations) not in ((), table.primary_key):
        for (other,) in engine.query(
            "SELECT m.name FROM main.sqlite_master m, pragma_foreign_key_list(m.name) f "
            "WHERE m.type = 'table' AND f.\"table\" = ? COLLATE NOCASE AND f.\"to\" IS NULL", (name,)
        ):  # fmt: skip
            raise Refused(
                f"the primary key of {name} has to become {', '.join(new_key(operations))}, and the table {other} "
                "refers to the one that it has; name the column in that reference first"
            )


def _kept(statements: SQLiteStatements, table: Table, operations: Sequence[Operation]) -> Iterator[tuple[str, str]]:
    """Yield the indexes and triggers that go with the old table and stay as they are, temporary ones too."""
    mended = {each.wanted.name for each in operations if isinstance(each, do.AddIndex)}
    for kind, name, sql in statements.engine.query(
        "SELECT type, name, sql FROM (SELECT * FROM main.sqlite_master UNION ALL "  # which does not say TEMP
        "SELECT type, name, tbl_name, rootpage, replace(substr(sql, 1, 6), 'CREATE', 'CREATE TEMP') || "
        "substr(sql, 7) FROM sqlite_temp_master) "
        "WHERE tbl_name = ? COLLATE NOCASE AND type IN ('index', 'trigger') AND sql IS NOT NULL", (table.name,)
    ):  # fmt: skip
        if name.lower() not in mended:
            yield f"restore {kind} {name}", without_last_comment(sql)


def _sequence(statements: SQLiteStatements, table: Table) -> Iterator[tuple[str, str]]:
    """The highest id ever given out; copying the rows restores only the highest that is left."""
    engine, name = statements.engine, literal(table.name)
    if engine.query("SELECT 1 FROM main.sqlite_master WHERE name = 'sqlite_sequence'"):
        for (highest,) in engine.query(
            "SELECT seq FROM main.sqlite_sequence WHERE name = ? AND seq IS NOT NULL", (table.name,)
        ):
            yield "forget the copied sequence", f"DELETE FROM sqlite_sequence WHERE name = {name}"
            yield "restore the sequence", f"INSERT INTO sqlite_sequence (name, seq) VALUES ({name}, {highest})"
