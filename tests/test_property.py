"""Any table is repaired with all its rows, or refused without changing a byte."""

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
    "week_number": (
        "integer",
        ["1", "2", "3", "4", "'5'", "2.0", "2.5", "'many'", "NULL"],
    ),
    "week_start_date": (
        "date",
        ["'2025-01-06'", "'2025-02-30'", "'soon'", "20250106", "NULL"],
    ),
    "week_end_date": ("date", ["'2025-01-12'", "'2024-02-29'", "''", "NULL"]),
    "store_id": (
        "string",
        ["'S001'", "'S002'", "'S003'", "'7'", "7", "'nowhere'", "NULL"],
    ),
    "category_id": ("string", ["'dresses'", "'shelf'", "NULL"]),
    "actual_units_sold": (
        "integer",
        ["0", "100", "'7'", "-1", "1.5", "x'07'", "9223372036854775807", "NULL"],
    ),
    "forecast_units_sold": ("integer", ["NULL", "90", "'90'", "90.25", "'ninety'"]),
    "variance_pct": (
        "float",
        [
            "NULL",
            "0.25",
            "1",
            "'0.5'",
            "'n/a'",
            "9007199254740993",
            "-9223372036854775807",
        ],
    ),
    "uploaded_at": (
        "datetime",
        [
            "'2025-01-13 08:30:00'",
            "'2025-01-13'",
            "CURRENT_TIMESTAMP",
            "1736757000",
            "NULL",
        ],
    ),
}
TYPES = {
    "string": ["VARCHAR(50)", "VARCHAR", "TEXT", "INTEGER", "BLOB", ""],
    "integer": ["INTEGER", "INT", "BIGINT", "TEXT", "REAL", "NUMERIC", ""],
    "date": ["DATE", "TEXT", "DATETIME", ""],
    "float": ["FLOAT", "REAL", "DOUBLE PRECISION", "TEXT", "INTEGER", ""],
    "datetime": ["TIMESTAMP", "DATETIME", "TEXT", "INTEGER", ""],
}
KEYS = {
    "workflow": [
        TABLE["workflow"],
        None,
        "FOREIGN KEY (workflow_id) REFERENCES workflows(workflow_id)",
        "CONSTRAINT mine FOREIGN KEY (workflow_id) REFERENCES stores ON DELETE CASCADE",
    ],
    "store": [
        TABLE["store"],
        None,
        "FOREIGN KEY (store_id) REFERENCES stores ON DELETE SET NULL NOT DEFERRABLE",
    ],
    "category": [
        TABLE["category"],
        None,
        "FOREIGN KEY (category_id) REFERENCES shelves ON DELETE CASCADE",
    ],
    "unique": [
        TABLE["unique"],
        None,
        "UNIQUE (workflow_id, week_number, store_id)",
        "UNIQUE (store_id, week_number)",
        "CONSTRAINT unique_workflow_week_store UNIQUE (workflow_id, store_id)",
    ],
}
IDS = [
    "id INTEGER PRIMARY KEY AUTOINCREMENT",
    "id INTEGER PRIMARY KEY",
    "id INTEGER NOT NULL PRIMARY KEY ASC",
    "id INTEGER",
    "id INT PRIMARY KEY",
    "id BIGINT NOT NULL UNIQUE",
    "id TEXT PRIMARY KEY",
    None,
]
EXTRAS = [
    "note TEXT DEFAULT 'a, (b'",
    '"select" INTEGER CHECK ("select" IN (1, 2))',
    "[a b] NOT NULL DEFAULT (1 + 2)",
    "doubled AS (actual_units_sold * 2)",
    "word VARCHAR(9) COLLATE NOCASE /* , ) */",
    "lost REFERENCES shelves",
]
INDEX_COLUMNS = [
    *INDEXES.values(),
    "week_number, workflow_id",
    "week_end_date",
    "store_id DESC",
    "lower(store_id)",
    "store_id) WHERE (week_number > 1",
    "workflow_id, week_number, store_id",
]
OTHERS = [
    "CREATE TRIGGER fired AFTER INSERT ON weekly_actuals BEGIN INSERT INTO shelves "
    "VALUES (hex(randomblob(9))); END",
    "CREATE TRIGGER erased BEFORE DELETE ON weekly_actuals BEGIN "
    "SELECT raise(ABORT, 'a row was deleted'); END",
    "CREATE VIEW seen AS SELECT * FROM weekly_actuals",
    "CREATE TABLE child (id INTEGER REFERENCES weekly_actuals(id) ON DELETE CASCADE)",
]


@st.composite
def columns(draw, typed):
    """Draw columns, most of them as specified.

    A table with many errors would always be refused because of the first one.

    :param typed: whether all columns have their specified types.
    """
    drawn = {}
    for name, (category, _) in COLUMNS.items():
        odd = draw(st.integers(0, 9))
        text = TABLE[name].format(**WORDS["sqlite"])
        if odd == 0:
            types = TYPES[category]
            type_ = types[0] if typed else draw(st.sampled_from(types))
            null = draw(st.sampled_from(["NOT NULL", "NULL", ""]))
            clauses = ["", " DEFAULT NULL", " CONSTRAINT c CHECK (1 NOT NULL)"]
            text = f"{name} {type_} {null}{draw(st.sampled_from(clauses))}"
        elif odd == 1:
            text = text.replace(" NOT NULL", "")
        if odd != 2 or name == "actual_units_sold":
            drawn[name] = text
    return drawn


@st.composite
def constraints(draw, columns, editable):
    """Draw table constraints of the columns, most of them as specified.

    :param editable: without the last variant of each, which needs a rebuild.
    """
    drawn = []
    for variants in KEYS.values():
        allowed = variants[:-1] if editable else variants
        specified = variants[0]
        text = draw(st.sampled_from([specified, specified, specified, *allowed]))
        if text and _has_columns(text.partition("REF")[0], columns):
            drawn.append(text)
    return drawn


def _has_columns(text, columns):
    """Return whether all columns that a text names have been drawn."""
    return all(name in columns for name in COLUMNS if name in text)


@st.composite
def indexes(draw, columns):
    """Draw the statements that create indexes on the columns."""
    statements = []
    for name in (*INDEXES, "unique_workflow_week_store", "mine"):
        specified = INDEXES.get(name)
        covered = draw(st.sampled_from([specified, specified, None, *INDEX_COLUMNS]))
        if covered and _has_columns(covered, columns):
            unique = draw(st.sampled_from(["", "", "", "UNIQUE "]))
            create = f"CREATE {unique}INDEX {name} ON weekly_actuals ({covered})"
            statements.append(create)
    return statements


@st.composite
def inserts(draw, columns, has_id):
    """Draw the statements that insert rows, with valid values only or with any."""
    valid = draw(st.booleans())
    statements = []
    for number in range(draw(st.integers(0, 4))):
        row = {}
        for name in columns:
            _, values = COLUMNS[name]
            row[name] = draw(st.sampled_from(values[:2] if valid else values))
        if valid and "week_number" in row:
            row["week_number"] = str(number)
        if has_id:
            ids = [str(number + 1), str(10 * number + 1)]
            if not valid:
                ids.append("NULL")
            row["id"] = draw(st.sampled_from(ids))
        names, values = ", ".join(row), ", ".join(row.values())
        statements.append(f"INSERT INTO weekly_actuals ({names}) VALUES ({values})")
    return statements


@st.composite
def tables(draw):
    """Draw statements that create a table, its indexes, rows and dependent objects."""
    editable = draw(st.booleans())
    drawn = draw(columns(typed=editable))
    id = draw(st.sampled_from(IDS[:3] if editable else [IDS[0]] * 12 + IDS))
    items = [
        *draw(st.permutations(list(drawn.values()))),
        *draw(st.lists(st.sampled_from(EXTRAS), unique=True, max_size=3)),
        *draw(constraints(drawn, editable)),
    ]
    if id:
        items.insert(0, id)
    statements = [
        f"CREATE TABLE weekly_actuals ({', '.join(items)})",
        *draw(indexes(drawn)),
        *draw(inserts(drawn, has_id=id is not None)),
    ]
    dependents = draw(st.lists(st.sampled_from(OTHERS), unique=True))
    if id is None or "KEY" not in id:
        dependents = [each for each in dependents if "child" not in each]
    return [*statements, *dependents]


def build(path, statements):
    """Create the file, without the rows that the drawn table rejects."""
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
    """Return the columns except id, and the values of each row with its id or rowid."""
    columns = world.columns()
    names = sorted(name for name in columns if name != "id")
    key = "id" if "id" in columns else "rowid"
    rows = world.query(
        f"SELECT {key}, "
        + ", ".join(f'"{name}"' for name in names)
        + " FROM weekly_actuals"
    )
    return names, sorted((tuple(map(normalized, row)) for row in rows), key=str)


def extras(world):
    return world.query(
        'SELECT name, type, "notnull", dflt_value, hidden '
        "FROM pragma_table_xinfo('weekly_actuals') "
        f"WHERE name NOT IN ('id', {', '.join(map(repr, COLUMNS))}) ORDER BY name"
    )


def others(world):
    return world.query(
        "SELECT type, name, sql FROM sqlite_master WHERE type IN ('trigger', 'view') "
        "ORDER BY name"
    )


WAYS = st.sampled_from([EDITED, EDITED, REBUILT])  # where an edit is possible


@settings(max_examples=80)
@given(tables(), WAYS)
def test_any_table_is_repaired_with_its_rows_or_refused_unchanged(statements, way):
    assert_repaired_or_refused(statements, way)


@pytest.mark.exhaustive
@settings(max_examples=600)
@given(tables(), WAYS)
def test_many_tables_are_repaired_with_rows_or_refused_unchanged(statements, way):
    assert_repaired_or_refused(statements, way)


def assert_repaired_or_refused(statements, way):
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        world = build(Path(folder) / "app.db", statements)
        try:
            run_and_compare(world, way)
        finally:
            world.drop()


def run_and_compare(world, way):
    before = Path(world.path).read_bytes()
    names, rows = kept(world)
    around, mine = others(world), extras(world)
    shelves = world.query("SELECT count(*) FROM shelves")
    orphans = orphaned(world)
    database, statements = connect(world.path, way), []
    database.query_hooks.append(lambda event: statements.append(event.sql))
    try:
        report = phase_4_5.run(database, smoke_test=False)
    except phase_4_5.ChangeRefused:
        event("refused")
        assert not written(statements), "refused after the first write"
        assert Path(world.path).read_bytes() == before
        return
    words = {change.description.partition(" ")[0] for change in report.changes}
    event(f"{report.status} {' '.join(words & {'edit', 'rebuild'})}")
    world.assert_specified(by_name=False)
    after_names, after = kept(world)
    positions = [0, *(after_names.index(name) + 1 for name in names)]
    remaining = [tuple(row[position] for position in positions) for row in after]
    assert sorted(remaining, key=str) == rows
    assert others(world) == around
    assert extras(world) == mine
    assert world.query("SELECT count(*) FROM shelves") == shelves
    assert orphaned(world) <= orphans
    assert world.query("PRAGMA integrity_check") == [("ok",)]
    assert phase_4_5.run(db.connect(world.url), smoke_test=False).status == "up_to_date"


def written(statements):
    return [
        sql
        for sql in statements
        if sql.startswith(("CREATE", "INSERT", "UPDATE", "ALTER", "DROP", "DELETE"))
    ]


def orphaned(world):
    return world.query("SELECT count(*) FROM pragma_foreign_key_check")


def normalized(value):
    """Return a value without its type: '7', 7 and 7.0 are the same number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
