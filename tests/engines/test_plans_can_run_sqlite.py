"""On SQLite tables with drawn undeclared objects, a run does what check announces."""

import contextlib
import random
import sqlite3

import pytest
from peewee import (
    SQL,
    CharField,
    DateField,
    FloatField,
    ForeignKeyField,
    IntegerField,
    Model,
    SqliteDatabase,
)

from db.fields import AutoIncrementField, UniqueConstraint
from migrations.errors import ChangeRefused
from migrations.phase import Phase


class Owner(Model):
    code = CharField(20, primary_key=True)

    class Meta:
        table_name = "owners"


class Thing(Model):
    id = AutoIncrementField()
    owner = ForeignKeyField(Owner, on_delete="CASCADE")
    amount = IntegerField(constraints=[SQL("DEFAULT 1")])
    share = FloatField(null=True)
    day = DateField(null=True, index=True)
    label = CharField(20, null=True)

    class Meta:
        table_name = "things"
        constraints = [
            SQL("CONSTRAINT positive CHECK (amount > 0)"),
            UniqueConstraint("label_once", "owner_id", "label"),
        ]


THINGS = Phase("Things", requires={Owner: ()}, manages=[Thing])

# By column, its definitions: the right one first; None leaves it out.
COLUMNS = {
    "id": (
        "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT",
        "INTEGER PRIMARY KEY",
        "INTEGER NOT NULL",
        "BIGINT NOT NULL PRIMARY KEY",
        "TEXT UNIQUE",
        None,
    ),
    "owner_id": (
        "VARCHAR(20) NOT NULL REFERENCES owners (code) ON DELETE CASCADE",
        "VARCHAR(20) NOT NULL",
        "VARCHAR(20) REFERENCES owners DEFERRABLE INITIALLY DEFERRED",
        "VARCHAR(20) COLLATE NOCASE NOT NULL",
    ),
    "amount": (
        "INTEGER NOT NULL DEFAULT 1",
        "INTEGER",
        "TEXT DEFAULT '1' NOT NULL",
        "INTEGER NOT NULL ON CONFLICT REPLACE DEFAULT 3",
        "REAL CHECK (amount <> 7)",
        "INTEGER GENERATED ALWAYS AS (length(owner_id)) STORED",
        "INTEGER AS (1)",
        None,
    ),
    "share": (
        "REAL", "TEXT DEFAULT 'none'", "INTEGER DEFAULT 2", "REAL NOT NULL", None,
    ),
    "day": (
        "DATE", "TEXT /* of delivery */", "DATETIME DEFAULT CURRENT_TIMESTAMP", None,
    ),
    "label": (
        "VARCHAR(20)",
        "TEXT COLLATE NOCASE",
        "INTEGER",
        "VARCHAR(20) UNIQUE",
        None,
    ),
    "rowid": (None, "TEXT"),
    "extra": (
        None,
        "TEXT DEFAULT 'x' -- the user's own\n",
        "INTEGER AS (length(owner_id)) VIRTUAL",
        "NOT NULL DEFAULT (1 + 1) CHECK (extra)",
    ),
}  # fmt: skip
CONSTRAINTS = (
    "CONSTRAINT positive CHECK (amount > 0)",
    "CONSTRAINT positive CHECK ((amount) > 0)",
    "CONSTRAINT positive CHECK (amount >= 0)",
    "CONSTRAINT label_once UNIQUE (owner_id, label)",
    "CONSTRAINT label_once UNIQUE (label)",
    "UNIQUE (owner_id, amount) ON CONFLICT IGNORE",
    "CHECK (things.owner_id <> ',)')",
    "CONSTRAINT other FOREIGN KEY (label) REFERENCES owners (code)",
)
OBJECTS = (
    "CREATE INDEX thing_day ON things (day)",
    "CREATE INDEX thing_day ON things (day) WHERE day > '2024'",
    "CREATE UNIQUE INDEX by_amount ON things (amount, owner_id)",
    "CREATE INDEX by_text ON things (lower(label) DESC) -- as the user types it",
    "CREATE INDEX part ON things (share) WHERE amount > 5",
    "CREATE VIEW rich AS SELECT owner_id, amount FROM things WHERE amount > 2",
    "CREATE VIEW joined AS SELECT code, label FROM owners "
    "JOIN things ON code = owner_id",
    "CREATE VIEW all_things AS SELECT * FROM things JOIN notes",
    "CREATE VIEW ambiguous AS SELECT share FROM things JOIN notes ON thing = owner_id",
    "CREATE TRIGGER log AFTER UPDATE OF amount ON things BEGIN "
    "INSERT INTO notes VALUES (new.owner_id, new.amount); END",
    "CREATE TRIGGER whole AFTER INSERT ON things BEGIN "
    "INSERT INTO copies SELECT * FROM things WHERE owner_id = new.owner_id; END",
    "CREATE TABLE children (thing INTEGER REFERENCES things (id) ON DELETE SET NULL)",
    "CREATE TABLE others (thing REFERENCES things)",
    "CREATE VIRTUAL TABLE found USING fts5 (label, content='things')",
    "CREATE VIRTUAL TABLE found USING fts5 (label, content='things', "
    "content_rowid='id')",
    "CREATE TABLE things__new (a)",
    "CREATE INDEX thing_owner_id ON notes (share)",
    "ANALYZE",
)  # fmt: skip
BEFORE = """
CREATE TABLE owners (code VARCHAR(20) NOT NULL PRIMARY KEY);
INSERT INTO owners VALUES ('a'), ('b'), ('c'), ('d');
CREATE TABLE notes (thing, share)"""


def create(connection, draw):
    """Create a table with some rows, and undeclared objects around it."""
    connection.executescript(BEFORE)
    items = []
    for name, definitions in COLUMNS.items():
        definition = definitions[0]
        if draw.random() < 0.3:
            definition = draw.choice(definitions)
        if definition is not None:
            items.append(f"{name} {definition}")
    items += draw.sample(CONSTRAINTS, draw.randrange(4))
    options = draw.choice(["", "", "", " WITHOUT ROWID", " STRICT"])
    statements = [f"CREATE TABLE things ({', '.join(items)}){options}"]
    statements.append("CREATE TABLE copies AS SELECT * FROM things")
    for owner in "abcd":
        number = draw.randrange(1, 5)
        statements.append(f"INSERT INTO things (owner_id) VALUES ('{owner}')")
        values = {"amount": number, "label": f"'{number}'", "id": number + 3}
        for name, value in values.items():
            update = f"UPDATE things SET {name} = {value} WHERE owner_id = '{owner}'"
            statements.append(update)
    statements += draw.sample(OBJECTS, draw.randrange(5))
    statements.append("INSERT INTO found (found) VALUES ('rebuild')")
    for statement in statements:
        with contextlib.suppress(sqlite3.DatabaseError):  # SQLite does not take all
            connection.execute(statement)


def schema_of(connection):
    return connection.execute("SELECT * FROM sqlite_master ORDER BY 1, 2").fetchall()


def columns_of(connection):
    return [row[1] for row in connection.execute("PRAGMA table_xinfo(things)")]


def values_of(connection, columns):
    """Return what has to stay of each row, in a form that no type changes."""
    if not columns:  # SQLite did not take the table
        return []
    values = []
    for name in columns:
        kind = "INTEGER" if name in ("id", "amount") else "TEXT"
        if name not in ("share", "day", "rowid"):
            values.append(f"CAST({name} AS {kind})")
    return connection.execute(
        f"SELECT {', '.join(values)} FROM things ORDER BY owner_id"
    ).fetchall()


def full_text_is_intact(path):
    """Return whether a full-text index has the words of its rows."""
    check = "INSERT INTO found (found, rank) VALUES ('integrity-check', 1)"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        try:
            connection.execute(check)
        except sqlite3.DatabaseError:
            return False
        return True


def assert_announced_is_done(path, seed):
    """Return how a run on the table of a seed ends; `check` announces the same."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        create(connection, random.Random(seed))
    was_intact = full_text_is_intact(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        before = schema_of(connection)
        columns = columns_of(connection)
        rows = values_of(connection, columns)
        database = SqliteDatabase(str(path), pragmas={"foreign_keys": 1})
        announced, refusal = outcome_of(THINGS.check, database)
        report, refusal_of_run = outcome_of(THINGS.run, database)
        assert refusal_of_run == refusal
        if report is None:
            assert schema_of(connection) == before
            return "refused"
        executed = [each.sql for each in report.changes]
        assert executed == [each.sql for each in announced.changes]
        assert THINGS.check(database).status == "up_to_date"
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert values_of(connection, columns) == rows
        kept = {row[1] for row in before if not row[1].startswith("sqlite_")}
        assert kept <= {row[1] for row in schema_of(connection)}
    assert full_text_is_intact(path) or not was_intact
    return report.status


def outcome_of(call, database):
    """Return the report of a call and "", or None and why it was refused."""
    try:
        return call(database), ""
    except ChangeRefused as refused:
        return None, str(refused)


@pytest.mark.parametrize("seed", range(40))
def test_run_does_what_check_announces(tmp_path, seed):
    assert_announced_is_done(tmp_path / "app.db", seed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", range(20))
def test_run_does_what_check_announces_for_many_seeds(tmp_path, block):
    for seed in range(100 * block, 100 * (block + 1)):
        assert_announced_is_done(tmp_path / f"app{seed}.db", seed)
