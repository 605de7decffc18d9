"""Random tables on a server: repaired with every row kept, or refused unchanged."""

import datetime
from decimal import Decimal

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from states import INDEXES, TABLE, WORDS
from test_property import settings as _  # noqa: F401  the profile of all property tests

import db
from migrations import phase_4_5

VALUES = {  # valid values come first
    "workflow_id": ["'wf_1'", "'wf_2'", "'gone'", "NULL"],
    "week_number": ["1", "2", "3", "4", "'5'", "2.5", "'many'", "70000", "NULL"],
    "week_start_date": [
        "'2025-01-06'",
        "'2025-01-13'",
        "'2025-01-06 08:30:00'",
        "'soon'",
        "NULL",
    ],
    "week_end_date": ["'2025-01-12'", "'2024-02-29'", "''", "NULL"],
    "store_id": ["'S001'", "'S002'", "'S003'", "'7'", "'nowhere'", "' 7'", "NULL"],
    "category_id": ["'dresses'", "'dresses'", "'shelf'", "NULL"],
    "actual_units_sold": [
        "0",
        "100",
        "'7'",
        "-1",
        "1.5",
        "'007'",
        "3000000000",
        "NULL",
    ],
    "forecast_units_sold": ["NULL", "90", "'90'", "90.25", "'ninety'"],
    "variance_pct": [
        "NULL",
        "0.25",
        "1",
        "'0.5'",
        "0.1",
        "'n/a'",
        "123456789.125",
        "9007199254740993",
    ],
    "uploaded_at": [
        "'2025-01-13 08:30:00'",
        "'2025-01-13'",
        "'2025-01-13 08:30:00.25'",
        "'now and then'",
        "NULL",
    ],
}
COLUMNS_BY_TYPE = {
    "string": ("workflow_id", "store_id", "category_id"),
    "integer": ("week_number", "actual_units_sold", "forecast_units_sold"),
    "date": ("week_start_date", "week_end_date"),
    "float": ("variance_pct",),
    "datetime": ("uploaded_at",),
}
TYPES = {
    "postgresql": {
        "string": [
            "VARCHAR(50)",
            "VARCHAR(9)",
            "TEXT",
            "CHAR(60)",
            "INTEGER",
            'VARCHAR(50) COLLATE "C"',
        ],
        "integer": [
            "INTEGER",
            "SMALLINT",
            "BIGINT",
            "TEXT",
            "NUMERIC(12, 2)",
            "DOUBLE PRECISION",
        ],
        "date": ["DATE", "TEXT", "TIMESTAMP", "TIMESTAMPTZ"],
        "float": ["DOUBLE PRECISION", "REAL", "NUMERIC", "TEXT", "INTEGER", "BIGINT"],
        "datetime": ["TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP(0)", "TEXT", "DATE"],
    },
    "mysql": {
        "string": [
            "VARCHAR(50)",
            "VARCHAR(9)",
            "VARCHAR(90)",
            "CHAR(60)",
            "INTEGER",
            "VARCHAR(50) CHARACTER SET utf8mb4",
        ],
        "integer": [
            "INTEGER",
            "SMALLINT",
            "BIGINT",
            "VARCHAR(30)",
            "DECIMAL(12, 2)",
            "DOUBLE",
            "INTEGER UNSIGNED",
        ],
        "date": ["DATE", "VARCHAR(30)", "DATETIME", "TIMESTAMP NULL"],
        "float": [
            "DOUBLE",
            "FLOAT",
            "DECIMAL(20, 6)",
            "VARCHAR(30)",
            "INTEGER",
            "BIGINT",
        ],
        "datetime": [
            "DATETIME",
            "TIMESTAMP NULL",
            "DATETIME(3)",
            "VARCHAR(30)",
            "DATE",
        ],
    },
}
KEYS = {
    "workflow": [
        TABLE["workflow"],
        None,
        "CONSTRAINT undeclared FOREIGN KEY (workflow_id) REFERENCES workflows "
        "(workflow_id)",
    ],
    "store": [
        TABLE["store"],
        None,
        "FOREIGN KEY (store_id) REFERENCES stores (store_id) ON DELETE RESTRICT",
    ],
    "category": [
        TABLE["category"],
        None,
        "FOREIGN KEY (category_id) REFERENCES shelves (category_id) ON DELETE CASCADE",
    ],
    "unique": [
        TABLE["unique"],
        None,
        "UNIQUE (workflow_id, week_number, store_id)",
        "UNIQUE (store_id, week_number)",
        "CONSTRAINT unique_workflow_week_store UNIQUE (workflow_id, store_id)",
    ],
}
IDS = {
    "postgresql": [
        "id SERIAL PRIMARY KEY", "id BIGSERIAL PRIMARY KEY", "id INTEGER PRIMARY KEY",
        "id INTEGER NOT NULL", "id INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "id TEXT PRIMARY KEY", None,
    ],
    "mysql": [
        "id INTEGER AUTO_INCREMENT PRIMARY KEY", "id BIGINT AUTO_INCREMENT PRIMARY KEY",
        "id INTEGER PRIMARY KEY", "id INTEGER NOT NULL",
        "id INTEGER AUTO_INCREMENT UNIQUE", "id VARCHAR(20) PRIMARY KEY", None,
    ],
}  # fmt: skip
EXTRAS = [
    "note VARCHAR(20) DEFAULT 'a, (b'",
    "region VARCHAR(9) CHECK (region IN ('it''s', 'b'))",
    "doubled INTEGER GENERATED ALWAYS AS (actual_units_sold * 2) STORED",
    "CHECK (actual_units_sold > -100)",
]
COVERED = [
    *INDEXES.values(),
    "week_number, workflow_id",
    "week_end_date",
    "store_id DESC",
    "workflow_id",
]
OTHERS = [
    "CREATE VIEW seen AS SELECT * FROM weekly_actuals",
    "CREATE VIEW counted AS SELECT count(*) AS n FROM weekly_actuals",
    "CREATE TABLE child (id INTEGER REFERENCES weekly_actuals (id) ON DELETE CASCADE)",
]


def draw_columns(draw, engine):
    """Draw the definition of each column; most are as specified."""
    drawn = {}
    for category, names in COLUMNS_BY_TYPE.items():
        for name in names:
            variant = draw(st.integers(0, 9))
            text = TABLE[name].format(**WORDS[engine])
            if variant == 0:
                type_ = draw(st.sampled_from(TYPES[engine][category]))
                text = f"{name} {type_} {draw(st.sampled_from(['NOT NULL', '']))}"
            elif variant == 1:
                text = text.replace(" NOT NULL", "")
            if variant != 2 or name == "actual_units_sold":
                drawn[name] = text
    return drawn


def draw_keys(draw, drawn):
    """Draw foreign keys and UNIQUE constraints of the columns."""
    chosen = [draw(st.sampled_from([key[0]] * 3 + key)) for key in KEYS.values()]
    return [key for key in chosen if key and are_drawn(key.partition("REF")[0], drawn)]


def are_drawn(text, drawn):
    """Return whether the table has every column that a text names."""
    return all(name in drawn for name in VALUES if name in text)


def draw_indexes(draw, drawn):
    """Draw the statements that create indexes."""
    for name in (*INDEXES, "undeclared"):
        specified = INDEXES.get(name)
        covered = draw(st.sampled_from([specified, specified, None, *COVERED]))
        if covered and are_drawn(covered, drawn):
            unique = draw(st.sampled_from(["", "", "", "UNIQUE "]))
            yield f"CREATE {unique}INDEX {name} ON weekly_actuals ({covered})"


def draw_rows(draw, drawn, id):
    """Draw the statements that insert rows."""
    valid = draw(st.booleans())
    for number in range(draw(st.integers(0, 4))):
        values = {}
        for name in drawn:
            candidates = VALUES[name][:2] if valid else VALUES[name]
            values[name] = draw(st.sampled_from(candidates))
        if valid and "week_number" in values:
            values["week_number"] = str(number)
        if id and "ALWAYS" not in id:
            ids = [f"'{number + 1}'", f"'{10 * number + 1}'"]
            values["id"] = draw(st.sampled_from(ids))
        yield (
            f"INSERT INTO weekly_actuals ({', '.join(values)}) "
            f"VALUES ({', '.join(values.values())})"
        )


@st.composite
def drawn_columns(draw, engine):
    """Draw the definitions of the declared columns that the table has, by name."""
    drawn = {}
    for family, names in COLUMNS_BY_TYPE.items():
        for name in names:
            odd = draw(st.integers(0, 9))
            text = TABLE[name].format(**WORDS[engine])
            if odd == 0:
                text = (
                    f"{name} {draw(st.sampled_from(TYPES[engine][family]))} "
                    f"{draw(st.sampled_from(['NOT NULL', '']))}"
                )
            elif odd == 1:
                text = text.replace(" NOT NULL", "")
            if odd != 2 or name == "actual_units_sold":
                drawn[name] = text
    return drawn


@st.composite
def drawn_indexes(draw, drawn):
    """Draw the statements that create the indexes of a table with these columns."""
    statements = []
    for name in (*INDEXES, "undeclared"):
        covered = draw(
            st.sampled_from([INDEXES.get(name), INDEXES.get(name), None, *COVERED])
        )
        if covered and all(column in drawn for column in VALUES if column in covered):
            unique = draw(st.sampled_from(["", "", "", "UNIQUE "]))
            statements.append(
                f"CREATE {unique}INDEX {name} ON weekly_actuals ({covered})"
            )
    return statements


@st.composite
def drawn_rows(draw, drawn, id):
    """Draw the statements that insert the rows of a table with these columns."""
    statements = []
    good = draw(st.booleans())
    for number in range(draw(st.integers(0, 4))):
        values = {
            name: draw(st.sampled_from(VALUES[name][: 2 if good else None]))
            for name in drawn
        }
        if good and "week_number" in values:
            values["week_number"] = str(number)
        if id and "ALWAYS" not in id:
            values["id"] = draw(
                st.sampled_from([f"'{number + 1}'", f"'{10 * number + 1}'"])
            )
        statements.append(
            f"INSERT INTO weekly_actuals ({', '.join(values)}) "
            f"VALUES ({', '.join(values.values())})"
        )
    return statements


@st.composite
def tables(draw, engine):
    """Draw the statements that create a table, its indexes, its rows and dependents.

    Most columns are as specified: a table with many errors is refused for the first.
    """
    drawn = draw(drawn_columns(engine))
    id = draw(st.sampled_from([IDS[engine][0]] * 8 + IDS[engine]))
    extras = draw(st.lists(st.sampled_from(EXTRAS), unique=True, max_size=2))
    keys = [draw(st.sampled_from([key[0]] * 3 + key)) for key in KEYS.values()]
    keys = [
        key
        for key in keys
        if key
        and all(name in drawn for name in VALUES if name in key.partition("REF")[0])
    ]
    items = [
        *([id] if id else []),
        *draw(st.permutations(list(drawn.values()))),
        *extras,
        *keys,
    ]
    return [
        f"CREATE TABLE weekly_actuals ({', '.join(items)}){WORDS[engine]['options']}",
        *draw(drawn_indexes(drawn)),
        *draw(drawn_rows(drawn, id)),
        *draw(st.lists(st.sampled_from(OTHERS), unique=True, max_size=2)),
    ]


def build(world, statements):
    """Execute what the server accepts; return whether there is a table."""
    world.used = True
    world.create_application_tables()
    for statement in statements:
        try:
            world.execute(statement)
        except Exception:
            if statement.startswith("CREATE TABLE weekly_actuals"):
                return False
    return True


def kept(world):
    """Return the normalized values of each row by column."""
    names = world.columns()
    return [
        dict(zip(names, map(normalized, row)))
        for row in world.query(f"SELECT {', '.join(names)} FROM weekly_actuals")
    ]


def normalized(value):
    """Return a value without its type: '7', 7 and 7.0 are equal."""
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, datetime.datetime):
        value = (
            value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
            if value.tzinfo
            else value
        )
        return str(value).removesuffix(" 00:00:00")
    if isinstance(value, datetime.date):
        return str(value)
    try:
        return float(value) if isinstance(value, (str, int, float, Decimal)) else value
    except ValueError:
        day, _, time = value.rstrip().partition(" ")
        return f"{day} {time.rstrip('0') if '.' in time else time}".removesuffix(
            " 00:00:00"
        ).strip()


def assert_repaired_or_refused(world, statements):
    if not build(world, statements):
        event("no table")
        return
    before, kept_rows, names = world.dump(), kept(world), world.columns()
    counted = (
        world.query("SELECT count(*) FROM workflows"),
        world.query("SELECT count(*) FROM shelves"),
    )
    try:
        report = phase_4_5.run(db.connect(world.url), smoke_test=False)
    except phase_4_5.ChangeRefused:
        event("refused")
        assert world.dump() == before, "refused after the first change"
        return
    event(report.status)
    world.assert_specified(by_name=False)
    assert {*world.columns()} >= {*names}
    after = [
        {name: value for name, value in row.items() if name in names}
        for row in kept(world)
    ]
    assert sorted(map(str, after)) == sorted(map(str, in_order(kept_rows, after)))
    assert (
        world.query("SELECT count(*) FROM workflows"),
        world.query("SELECT count(*) FROM shelves"),
    ) == counted
    assert phase_4_5.check(db.connect(world.url)).status == "up_to_date"


def in_order(rows, like):
    """Return rows with their columns in the order of other rows."""
    return [{name: row[name] for name in like[0]} for row in rows] if like else rows


@pytest.mark.parametrize("engine", TYPES)
def test_random_table_is_repaired_or_refused_unchanged(servers, engine):
    assert_repairs_random_tables(servers(engine), 10)


@pytest.mark.exhaustive
@pytest.mark.parametrize("engine", TYPES)
def test_many_random_tables_are_repaired_or_refused_unchanged(servers, engine):
    assert_repairs_random_tables(servers(engine), 200)


def assert_repairs_random_tables(world, examples):
    @settings(max_examples=examples)
    @given(tables(world.engine))
    def check(statements):
        assert_repaired_or_refused(world, statements)

    check()
