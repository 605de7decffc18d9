"""Whatever table is drawn: the specified schema with every row kept, or refused and not a byte changed."""

import os
import tempfile
from pathlib import Path

import pytest
from application import MEMORY
from engines.worlds import SQLite
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from states import BASE, INDEXES, TABLE, WORDS
from ways import EDITED, REBUILT, connect

import db
from migrations import phase_4_5

settings.register_profile(
    "here", derandomize=bool(os.environ.get("CI")), deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
settings.load_profile("here")

COLUMNS = {
    "workflow_id": ("string", ["'wf_1'", "'wf_2'", "'gone'", "NULL"]),
    "week_number": ("integer", ["1", "2", "3", "4", "'5'", "2.0", "2.5", "'many'", "NULL"]),
    "week_start_date": ("date", ["'2025-01-06'", "'2025-02-30'", "'soon'", "20250106", "NULL"]),
    "week_end_date": ("date", ["'2025-01-12'", "'2024-02-29'", "''", "NULL"]),
    "store_id": ("string", ["'S001'", "'S002'", "'S003'", "'7'", "7", "'nowhere'", "NULL"]),
    "category_id": ("string", ["'dresses'", "'shelf'", "NULL"]),
    "actual_units_sold": ("integer", ["0", "100", "'7'", "-1", "1.5", "x'07'", "9223372036854775807", "NULL"]),
    "forecast_units_sold": ("integer", ["NULL", "90", "'90'", "90.25", "'ninety'"]),
    "variance_pct": ("float", ["NULL", "0.25", "1", "'0.5'", "'n/a'", "9007199254740993", "-9223372036854775807"]),
    "uploaded_at": ("datetime", ["'2025-01-13 08:30:00'", "'2025-01-13'", "CURRENT_TIMESTAMP", "1736757000", "NULL"]),
}
TYPES = {
    "string": ["VARCHAR(50)", "VARCHAR", "TEXT", "INTEGER", "BLOB", ""],
    "integer": ["INTEGER", "INT", "BIGINT", "TEXT", "REAL", "NUMERIC", ""],
    "date": ["DATE", "TEXT", "DATETIME", ""],
    "float": ["FLOAT", "REAL", "DOUBLE PRECISION", "TEXT", "INTEGER", ""],
    "datetime": ["TIMESTAMP", "DATETIME", "TEXT", "INTEGER", ""],
}
KEYS = {
    "workflow": [TABLE["workflow"], None, "FOREIGN KEY (workflow_id) REFERENCES workflows(workflow_id)",
                 "CONSTRAINT mine FOREIGN KEY (workflow_id) REFERENCES stores ON DELETE CASCADE"],
    "store": [TABLE["store"], None, "FOREIGN KEY (store_id) REFERENCES stores ON DELETE SET NULL NOT DEFERRABLE"],
    "category": [TABLE["category"], None, "FOREIGN KEY (category_id) REFERENCES shelves ON DELETE CASCADE"],
    "unique": [TABLE["unique"], None, "UNIQUE (workflow_id, week_number, store_id)", "UNIQUE (store_id, week_number)",
               "CONSTRAINT unique_workflow_week_store UNIQUE (workflow_id, store_id)"],
}  # fmt: skip
IDS = [
    "id INTEGER PRIMARY KEY AUTOINCREMENT", "id INTEGER PRIMARY KEY", "id INTEGER NOT NULL PRIMARY KEY ASC",
    "id INTEGER", "id INT PRIMARY KEY", "id BIGINT NOT NULL UNIQUE", "id TEXT PRIMARY KEY", None,
]  # fmt: skip
EXTRAS = [
    "note TEXT DEFAULT 'a, (b'", '"select" INTEGER CHECK ("select" IN (1, 2))', "[a b] NOT NULL DEFAULT (1 + 2)",
    "doubled AS (actual_units_sold * 2)", "word VARCHAR(9) COLLATE NOCASE /* , ) */", "lost REFERENCES shelves",
]  # fmt: skip
INDEX_COLUMNS = [
    *INDEXES.values(), "week_number, workflow_id", "week_end_date", "store_id DESC", "lower(store_id)",
    "store_id) WHERE (week_number > 1", "workflow_id, week_number, store_id",
]  # fmt: skip
OTHERS = [
    "CREATE TRIGGER fired AFTER INSERT ON weekly_actuals BEGIN INSERT INTO shelves VALUES (hex(randomblob(9))); END",
    "CREATE TRIGGER erased BEFORE DELETE ON weekly_actuals BEGIN SELECT raise(ABORT, 'a row was deleted'); END",
    "CREATE VIEW seen AS SELECT * FROM weekly_actuals",
    "CREATE TABLE child (id INTEGER REFERENCES weekly_actuals(id) ON DELETE CASCADE)",
]


@st.composite
def columns(draw, typed):
    """Draw most columns as specified: a table where everything is wrong is refused for the first thing.

    :param typed: as to their types, all of them.
    """
    drawn = {}
    for name, (family, _) in COLUMNS.items():
        odd = draw(st.integers(0, 9))
        text = TABLE[name].format(**WORDS["sqlite"])
        if odd == 0:
            type_ = TYPES[family][0] if typed else draw(st.sampled_from(TYPES[family]))
            text = f"{name} {type_} {draw(st.sampled_from(['NOT NULL', 'NULL', '']))}"
            text += draw(st.sampled_from(["", " DEFAULT NULL", " CONSTRAINT c CHECK (1 NOT NULL)"]))
        elif odd == 1:
            text = text.replace(" NOT NULL", "")
        if odd != 2 or name == "actual_units_sold":
            drawn[name] = text
    return drawn


@st.composite
def tables(draw):
    """Draw the statements that make a table, its indexes, its rows and what hangs on it."""
    editable = draw(st.booleans())
    drawn = draw(columns(typed=editable))
    id = draw(st.sampled_from(IDS[:3] if editable else [IDS[0]] * 12 + IDS))
    extras = draw(st.lists(st.sampled_from(EXTRAS), unique=True, max_size=3))
    keys = [draw(st.sampled_from([key[0]] * 3 + key[: -1 if editable else None])) for key in KEYS.values()]
    keys = [key for key in keys if key and all(name in drawn for name in COLUMNS if name in key.partition("REF")[0])]
    items = [*([id] if id else []), *draw(st.permutations(list(drawn.values()))), *extras, *keys]
    statements = [f"CREATE TABLE weekly_actuals ({', '.join(items)})"]
    for name in (*INDEXES, "unique_workflow_week_store", "mine"):
        covered = draw(st.sampled_from([INDEXES.get(name), INDEXES.get(name), None, *INDEX_COLUMNS]))
        if covered and all(column in drawn for column in COLUMNS if column in covered):
            unique = draw(st.sampled_from(["", "", "", "UNIQUE "]))
            statements.append(f"CREATE {unique}INDEX {name} ON weekly_actuals ({covered})")
    good = draw(st.booleans())
    for number in range(draw(st.integers(0, 4))):
        values = {
            name: draw(st.sampled_from(COLUMNS[name][1][: 2 if good else None])) for name in drawn
        }  # fmt: skip
        if good and "week_number" in values:
            values["week_number"] = str(number)
        if id:
            values["id"] = draw(st.sampled_from([str(number + 1), str(10 * number + 1), *["NULL"] * (not good)]))
        statements.append(f"INSERT INTO weekly_actuals ({', '.join(values)}) VALUES ({', '.join(values.values())})")
    others = draw(st.lists(st.sampled_from(OTHERS), unique=True))
    return statements + [other for other in others if "child" not in other or id and "KEY" in id]


def build(path, statements):
    """Make the file; a row that the drawn table itself does not take is left out."""
    world = SQLite(path)
    world.execute(*(statement.format(**WORDS["sqlite"]) for statement in BASE))
    for statement in statements:
        try:
            world.execute(statement)
        except Exception:
            if not statement.startswith(("INSERT", "CREATE UNIQUE")):
                raise
    return world


def kept(world):
    """Return the columns but the id, and by its id, or in its place, what each row holds."""
    columns = world.columns()
    names = sorted(name for name in columns if name != "id")
    key = "id" if "id" in columns else "rowid"
    rows = world.query(f"SELECT {key}, " + ", ".join(f'"{name}"' for name in names) + " FROM weekly_actuals")
    return names, sorted((tuple(map(meaning, row)) for row in rows), key=str)


def extras(world):
    return world.query(
        "SELECT name, type, \"notnull\", dflt_value, hidden FROM pragma_table_xinfo('weekly_actuals') "
        f"WHERE name NOT IN ('id', {', '.join(map(repr, COLUMNS))}) ORDER BY name"
    )


def others(world):
    return world.query("SELECT type, name, sql FROM sqlite_master WHERE type IN ('trigger', 'view') ORDER BY name")


WAYS = st.sampled_from([EDITED, EDITED, REBUILT])  # where an edit would do


@settings(max_examples=80)
@given(tables(), WAYS)
def test_any_table_ends_as_specified_with_every_row_or_is_refused_as_it_was(statements, way):
    ends_well(statements, way)


@pytest.mark.exhaustive
@settings(max_examples=600)
@given(tables(), WAYS)
def test_any_of_many_tables_ends_as_specified_with_every_row_or_is_refused_as_it_was(statements, way):
    ends_well(statements, way)


def ends_well(statements, way):
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        world = build(Path(folder) / "app.db", statements)
        try:
            hold_the_invariant(world, way)
        finally:
            world.drop()


def hold_the_invariant(world, way):
    before = Path(world.path).read_bytes()
    names, rows = kept(world)
    around, mine = others(world), extras(world)
    shelves, orphans = world.query("SELECT count(*) FROM shelves"), orphaned(world)
    database, statements = connect(world.path, way), []
    database.query_hooks.append(lambda event: statements.append(event.sql))
    try:
        report = phase_4_5.run(database, smoke_test=False)
    except phase_4_5.ChangeRefused:
        event("refused")
        assert not written(statements), "it was refused, but not before the first write"
        assert Path(world.path).read_bytes() == before
        return
    words = {change.description.partition(" ")[0] for change in report.changes}
    event(f"{report.status} {' '.join(words & {'edit', 'rebuild'})}")
    world.assert_specified(by_name=False)
    after_names, after = kept(world)
    positions = [0, *(after_names.index(name) + 1 for name in names)]
    assert sorted((tuple(row[position] for position in positions) for row in after), key=str) == rows
    assert (others(world), extras(world), world.query("SELECT count(*) FROM shelves")) == (around, mine, shelves)
    assert orphaned(world) <= orphans
    assert world.query("PRAGMA integrity_check") == [("ok",)]
    assert phase_4_5.run(db.connect(world.url), smoke_test=False).status == "up_to_date"


def written(statements):
    return [sql for sql in statements if sql.startswith(("CREATE", "INSERT", "UPDATE", "ALTER", "DROP", "DELETE"))]


def orphaned(world):
    return world.query("SELECT count(*) FROM pragma_foreign_key_check")


def meaning(value):
    """A value however it was typed: '7', 7 and 7.0 are the same number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
