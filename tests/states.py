"""States of `weekly_actuals` before a run, and the expected outcome of each.

One list for every engine. A state is created by DDL: the items of the specified
`CREATE TABLE` with some replaced, removed (None) or added, then further statements,
then rows.
"""

from __future__ import annotations

import dataclasses

ENGINES = ("sqlite", "postgresql", "mysql")
UNTOUCHED, REPAIRED, REFUSED = "untouched", "repaired", "refused"

# The types and defaults of the specification in each dialect; strings as the
# application declares them there.
WORDS = {
    "sqlite": {
        "id": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "string": "VARCHAR(50)",
        "float": "FLOAT",
        "datetime": "TIMESTAMP",
        "now": "CURRENT_TIMESTAMP",
        "options": "",
        "orm_id": "INTEGER NOT NULL",
    },
    "postgresql": {
        "id": "SERIAL PRIMARY KEY",
        "string": "VARCHAR",
        "float": "DOUBLE PRECISION",
        "datetime": "TIMESTAMP",
        "now": "(now() AT TIME ZONE 'utc')",
        "options": "",
        "orm_id": "SERIAL NOT NULL",
    },
    "mysql": {
        "id": "INTEGER AUTO_INCREMENT PRIMARY KEY",
        "string": "VARCHAR(50)",
        "float": "DOUBLE",
        "datetime": "DATETIME",
        "now": "(UTC_TIMESTAMP())",
        "options": " DEFAULT CHARACTER SET latin1 COLLATE latin1_swedish_ci",
        "orm_id": "INTEGER NOT NULL AUTO_INCREMENT",
    },
}

BASE = (
    "CREATE TABLE categories (category_id {string} NOT NULL, category_name {string} "
    "NOT NULL, season_start_date DATE NOT NULL, season_end_date DATE NOT NULL, "
    "season_length_weeks INTEGER NOT NULL, archetype {string} NOT NULL, description "
    "TEXT, created_at {datetime} DEFAULT {now}, PRIMARY KEY (category_id), CONSTRAINT "
    "check_archetype CHECK (archetype IN ('FASHION_RETAIL', 'STABLE_CATALOG', "
    "'CONTINUOUS'))){options}",
    "CREATE TABLE store_clusters (cluster_id {string} NOT NULL, cluster_name {string} "
    "NOT NULL, fashion_tier {string} NOT NULL, description TEXT, created_at {datetime} "
    "DEFAULT {now}, PRIMARY KEY (cluster_id), CONSTRAINT check_fashion_tier CHECK "
    "(fashion_tier IN ('PREMIUM', 'MAINSTREAM', 'VALUE'))){options}",
    "CREATE TABLE stores (store_id {string} NOT NULL, store_name {string} NOT NULL, "
    "cluster_id {string} NOT NULL, store_size_sqft INTEGER NOT NULL, location_tier "
    "{string} NOT NULL, median_income INTEGER NOT NULL, store_format {string} NOT "
    "NULL, region {string} NOT NULL, avg_weekly_sales_12mo {float} NOT NULL, "
    "created_at {datetime} DEFAULT {now}, PRIMARY KEY (store_id), FOREIGN KEY "
    "(cluster_id) REFERENCES store_clusters(cluster_id), CONSTRAINT "
    "check_location_tier CHECK (location_tier IN ('A', 'B', 'C'))){options}",
    "CREATE TABLE historical_sales (sale_id {string} NOT NULL, week_start_date DATE "
    "NOT NULL, category_id {string} NOT NULL, store_id {string} NOT NULL, units_sold "
    "INTEGER NOT NULL, created_at {datetime} DEFAULT {now}, PRIMARY KEY (sale_id), "
    "FOREIGN KEY (category_id) REFERENCES categories(category_id), FOREIGN KEY "
    "(store_id) REFERENCES stores(store_id), CONSTRAINT check_units_sold CHECK "
    "(units_sold >= 0)){options}",
    "CREATE TABLE workflows (workflow_id {string} NOT NULL, workflow_type {string} NOT "
    "NULL, forecast_id {string}, category_id {string} NOT NULL, status VARCHAR(17) NOT "
    "NULL, current_agent {string}, progress_pct INTEGER, forecast_horizon_weeks "
    "INTEGER NOT NULL, season_start_date {string} NOT NULL, replenishment_strategy "
    "{string} NOT NULL, dc_holdback_percentage {float} NOT NULL, "
    "markdown_checkpoint_week INTEGER, input_data JSON, output_data JSON, "
    "error_message TEXT, created_at {datetime} DEFAULT {now}, started_at {datetime}, "
    "completed_at {datetime}, updated_at {datetime}, PRIMARY KEY (workflow_id), "
    "CONSTRAINT check_status CHECK (status IN ('pending', 'running', 'completed', "
    "'failed', 'awaiting_approval'))){options}",
    # The parent of a wrong foreign key.
    "CREATE TABLE shelves (category_id {string} NOT NULL PRIMARY KEY){options}",
    "INSERT INTO shelves VALUES ('dresses'), ('shelf')",
    "INSERT INTO categories (category_id, category_name, season_start_date, "
    "season_end_date, season_length_weeks, archetype) VALUES ('dresses', 'Dresses', "
    "'2025-01-06', '2025-03-30', 12, 'FASHION_RETAIL')",
    "INSERT INTO store_clusters (cluster_id, cluster_name, fashion_tier) VALUES "
    "('value', 'Value', 'VALUE')",
    *(
        "INSERT INTO stores (store_id, store_name, cluster_id, store_size_sqft, "
        "location_tier, median_income, store_format, region, avg_weekly_sales_12mo) "
        f"VALUES ('{store}', 'Store {store}', 'value', 10000, 'A', 80000, 'MALL', "
        "'WEST', 500.5)"
        for store in ("S001", "S002", "S003", "7")
    ),
    *(
        "INSERT INTO workflows (workflow_id, workflow_type, category_id, status, "
        "forecast_horizon_weeks, season_start_date, replenishment_strategy, "
        f"dc_holdback_percentage) VALUES ('{workflow}', 'forecast', 'dresses', "
        "'running', 12, '2025-01-06', 'weekly', 0.45)"
        for workflow in ("wf_1", "wf_2")
    ),
)

TABLE = {
    "id": "id {id}",
    "workflow_id": "workflow_id {string} NOT NULL",
    "week_number": "week_number INTEGER NOT NULL",
    "week_start_date": "week_start_date DATE NOT NULL",
    "week_end_date": "week_end_date DATE NOT NULL",
    "store_id": "store_id {string} NOT NULL",
    "category_id": "category_id {string} NOT NULL",
    "actual_units_sold": "actual_units_sold INTEGER NOT NULL",
    "forecast_units_sold": "forecast_units_sold INTEGER",
    "variance_pct": "variance_pct {float}",
    "uploaded_at": "uploaded_at {datetime} DEFAULT {now}",
    "unique": "CONSTRAINT unique_workflow_week_store "
    "UNIQUE (workflow_id, week_number, store_id)",
    "workflow": "FOREIGN KEY (workflow_id) REFERENCES workflows(workflow_id) "
    "ON DELETE CASCADE",
    "store": "FOREIGN KEY (store_id) REFERENCES stores(store_id) ON DELETE CASCADE",
    "category": "FOREIGN KEY (category_id) REFERENCES categories(category_id) "
    "ON DELETE CASCADE",
}
ORM = {
    "id": "id {orm_id}",
    "uploaded_at": "uploaded_at {datetime} NOT NULL",
    "key": "PRIMARY KEY (id)",
}
INDEXES = {
    "idx_weekly_actuals_workflow": "workflow_id, week_number",
    "idx_weekly_actuals_store": "store_id",
    "idx_weekly_actuals_date": "week_start_date",
}

# What the catalog returns of a table that is as specified.
COLUMNS = {
    "id": ("integer", False),
    "workflow_id": ("string", False),
    "week_number": ("integer", False),
    "week_start_date": ("date", False),
    "week_end_date": ("date", False),
    "store_id": ("string", False),
    "category_id": ("string", False),
    "actual_units_sold": ("integer", False),
    "forecast_units_sold": ("integer", True),
    "variance_pct": ("float", True),
}
UNIQUE = ("workflow_id", "week_number", "store_id")
FOREIGN_KEYS = {
    ("workflow_id", "workflows", "workflow_id", "CASCADE"),
    ("store_id", "stores", "store_id", "CASCADE"),
    ("category_id", "categories", "category_id", "CASCADE"),
}


def row(id, workflow="wf_1", week=1, store="S001", **others):
    """Return a row of `weekly_actuals`; None is a NULL."""
    return {
        "id": id,
        "workflow_id": workflow,
        "week_number": week,
        "week_start_date": "2025-01-06",
        "week_end_date": "2025-01-12",
        "store_id": store,
        "category_id": "dresses",
        "actual_units_sold": 100 + id,
        "forecast_units_sold": 90,
        "variance_pct": 0.25,
        "uploaded_at": "2025-01-13 08:30:00",
        **others,
    }


ROWS = (
    row(1),
    row(2, store="S002"),
    row(5, workflow="wf_2", week=2, forecast_units_sold=None, variance_pct=None),
)


@dataclasses.dataclass(frozen=True)
class State:
    """A state of the table: how it is created, and the expected outcome of a run.

    `says` are texts that the refusal, or the warning, must contain. `filled` says
    whether it is tested with ROWS, without, or both; `bad` are additional rows. `sql`
    may differ by engine.
    """

    name: str
    verdict: str
    says: tuple[str, ...] = ()
    items: dict | None = None  # None: the table is not created
    without: tuple[str, ...] = ()  # indexes that are not created
    sql: tuple | dict = ()
    filled: tuple[bool, ...] = (False, True)
    bad: tuple[dict, ...] = ()
    engines: tuple[str, ...] = ENGINES

    def statements(self, engine):
        """Return the DDL of the state, executed after that of the base tables."""
        statements = []
        if self.items is not None:
            items = [item for item in {**TABLE, **self.items}.values() if item]
            items.sort(key=is_constraint)
            create = f"CREATE TABLE weekly_actuals ({', '.join(items)}){{options}}"
            statements.append(create.format(**WORDS[engine]))
            for name, columns in INDEXES.items():
                if name not in self.without:
                    statements.append(
                        f"CREATE INDEX {name} ON weekly_actuals ({columns})"
                    )
        if isinstance(self.sql, dict):
            statements += self.sql.get(engine, ())
        else:
            statements += self.sql
        return statements


def is_constraint(item):
    """Return whether an item of CREATE TABLE is a constraint, not a column."""
    return item.startswith(("CONSTRAINT ", "FOREIGN ", "PRIMARY ", "CHECK ", "UNIQUE "))


def _on(table, *statements):
    return tuple(statement.replace("@", table) for statement in statements)


_LOGGED = {
    "sqlite": (
        "CREATE TABLE log (event VARCHAR(20))",
        "CREATE TRIGGER log_insert AFTER INSERT ON weekly_actuals "
        "BEGIN INSERT INTO log VALUES ('insert'); END",
        "CREATE TRIGGER log_delete AFTER DELETE ON weekly_actuals "
        "BEGIN INSERT INTO log VALUES ('delete'); END",
    ),
    "postgresql": (
        "CREATE TABLE log (event VARCHAR(20))",
        "CREATE FUNCTION log_event() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT "
        "INTO log VALUES (TG_OP); RETURN NULL; END'",
        "CREATE TRIGGER log_change AFTER INSERT OR DELETE ON weekly_actuals FOR EACH "
        "ROW EXECUTE FUNCTION log_event()",
    ),
    "mysql": (
        "CREATE TABLE log (event VARCHAR(20))",
        "CREATE TRIGGER log_insert AFTER INSERT ON weekly_actuals FOR EACH ROW INSERT "
        "INTO log VALUES ('insert')",
        "CREATE TRIGGER log_delete AFTER DELETE ON weekly_actuals FOR EACH ROW INSERT "
        "INTO log VALUES ('delete')",
    ),
}
_VIEW = (
    "CREATE VIEW weekly_totals AS SELECT workflow_id, sum(actual_units_sold) AS units "
    "FROM weekly_actuals GROUP BY 1"
)
_EXTRA_INDEXES = {
    "sqlite": (
        "CREATE INDEX mine_partial ON weekly_actuals (store_id) "
        "WHERE variance_pct > 0.2",
        "CREATE INDEX mine_expression ON weekly_actuals "
        "(lower(store_id), week_number DESC)",
    ),
    "postgresql": (
        "CREATE INDEX mine_partial ON weekly_actuals (store_id) "
        "WHERE variance_pct > 0.2",
        "CREATE INDEX mine_expression ON weekly_actuals "
        "(lower(store_id), week_number DESC)",
        "CREATE INDEX mine_including ON weekly_actuals (category_id) INCLUDE "
        "(actual_units_sold)",
    ),
    "mysql": ("CREATE INDEX mine_prefix ON weekly_actuals (category_id(5))",),
}
_EXTRAS = {
    "note": "note {string} DEFAULT 'none, yet'",
    "rating": "rating INTEGER NOT NULL DEFAULT 3",
    "positive": "CONSTRAINT positive CHECK (actual_units_sold >= 0)",
}
_USED = {
    engine: _LOGGED[engine] + _EXTRA_INDEXES[engine] + (_VIEW,) for engine in ENGINES
}
_NO_KEY = {"workflow": None, "store": None, "category": None}

_CAPITALS = (
    "ALTER TABLE weekly_actuals RENAME TO other",
    "ALTER TABLE other RENAME TO Weekly_Actuals",
)

_COMPLETE = [
    State("a name in another case", UNTOUCHED, items={}, sql=_CAPITALS,
        engines=("sqlite",)),
    State("as specified", UNTOUCHED, items={}),
    State("as another ORM makes it", UNTOUCHED, items=ORM),
    State("with a FLOAT, which is a synonym on MariaDB", UNTOUCHED,
        items={"variance_pct": "variance_pct FLOAT"}, engines=("mysql",)),
    State("with extra columns and a check", UNTOUCHED, items=_EXTRAS),
    State("with extra indexes, triggers and a view", UNTOUCHED, items={}, sql=_USED),
    State("another ORM's, with extras of every kind", UNTOUCHED,
        items={**ORM, **_EXTRAS}, sql=_USED),
    State("an equivalent index of another name", UNTOUCHED,
        ("mine", "idx_weekly_actuals_date"), {}, without=("idx_weekly_actuals_date",),
        sql=("CREATE INDEX mine ON weekly_actuals (week_start_date)",)),
    State("an equivalent unique index of another name", UNTOUCHED,
        ("mine", "unique_workflow_week_store"), {"unique": None},
        sql=("CREATE UNIQUE INDEX mine ON weekly_actuals "
             "(workflow_id, week_number, store_id)",)),
    State("an additional NOT NULL column without a default", UNTOUCHED,
        ("inserts will fail", "rating"), {"rating": "rating INTEGER NOT NULL"},
        filled=(False,)),
    State("orphans inserted without enforcement", UNTOUCHED,
        ("workflow_id", "2 rows", "id 11"), ORM,
        bad=(row(11, "test_workflow", 1), row(12, "test_workflow", 2)),
        engines=("sqlite",)),
    State("a unique index of the right name", UNTOUCHED, items={"unique": None},
        sql=("CREATE UNIQUE INDEX unique_workflow_week_store ON weekly_actuals "
             "(workflow_id, week_number, store_id)",)),
]  # fmt: skip

_INDEXES = [
    State("one index missing", REPAIRED, items={},
        without=("idx_weekly_actuals_date",)),
    State("some indexes missing", REPAIRED, items={},
        without=("idx_weekly_actuals_date", "idx_weekly_actuals_workflow")),
    State("all indexes missing", REPAIRED, items={}, without=tuple(INDEXES)),
    State("indexes missing, with extras of every kind", REPAIRED, items=_EXTRAS,
        without=tuple(INDEXES)[::2], sql=_USED),
    State("orphans, and an index missing", REPAIRED, items=ORM,
        without=("idx_weekly_actuals_date",), bad=(row(11, "test_workflow", 1),),
        engines=("sqlite",)),
    *(
        State(f"an index {what}", REPAIRED, items={}, without=(name,), sql=(statement,),
            engines=engines)
        for what, name, statement, engines in (
            ("on another column", "idx_weekly_actuals_date",
                "CREATE INDEX idx_weekly_actuals_date ON weekly_actuals "
                "(week_end_date)", ENGINES),
            ("in another order", "idx_weekly_actuals_workflow",
                "CREATE INDEX idx_weekly_actuals_workflow ON weekly_actuals "
                "(week_number, workflow_id)", ENGINES),
            ("on too few columns", "idx_weekly_actuals_workflow",
                "CREATE INDEX idx_weekly_actuals_workflow ON weekly_actuals "
                "(workflow_id)", ENGINES),
            ("on too many columns", "idx_weekly_actuals_store",
                "CREATE INDEX idx_weekly_actuals_store ON weekly_actuals "
                "(store_id, week_number)", ENGINES),
            ("that is partial", "idx_weekly_actuals_store",
                "CREATE INDEX idx_weekly_actuals_store ON weekly_actuals (store_id) "
                "WHERE variance_pct > 0", ("sqlite", "postgresql")),
            ("on an expression", "idx_weekly_actuals_store",
                "CREATE INDEX idx_weekly_actuals_store ON weekly_actuals "
                "(lower(store_id))", ("sqlite", "postgresql")),
            ("on a prefix of a column", "idx_weekly_actuals_workflow",
                "CREATE INDEX idx_weekly_actuals_workflow ON weekly_actuals "
                "(workflow_id(5), week_number)", ("mysql",)),
            ("that is unique", "idx_weekly_actuals_workflow",
                "CREATE UNIQUE INDEX idx_weekly_actuals_workflow ON weekly_actuals "
                "(workflow_id, week_number, store_id)", ENGINES),
        )
    ),
    *(
        State(f"an index of another {what}", REPAIRED, items={},
            without=("idx_weekly_actuals_store",), engines=(engine,),
            sql=("CREATE INDEX idx_weekly_actuals_store ON weekly_actuals "
                 f"(store_id {how})",))
        for what, engine, how in (
            ("collation", "sqlite", "COLLATE NOCASE"),
            ("collation, on PostgreSQL", "postgresql", 'COLLATE "C"'),
            ("operator class", "postgresql", "varchar_pattern_ops"),
        )
    ),
    State("a unique index that ignores case", REPAIRED, items={"unique": None},
        engines=("sqlite",),
        sql=("CREATE UNIQUE INDEX unique_workflow_week_store ON weekly_actuals "
             "(workflow_id COLLATE NOCASE, week_number, store_id)",)),
    State("UNIQUE that is deferred", REPAIRED, engines=("postgresql",),
        items={"unique": TABLE["unique"] + " DEFERRABLE INITIALLY DEFERRED"}),
    State("UNIQUE under which a duplicate replaces the row", REPAIRED,
        engines=("sqlite",),
        items={"unique": TABLE["unique"] + " ON CONFLICT REPLACE"}),
    State("UNIQUE without a name, under which a duplicate is dropped", REPAIRED,
        engines=("sqlite",),
        items={"unique": "UNIQUE "
                         "(workflow_id, week_number, store_id) ON CONFLICT IGNORE"}),
    State("keys and NOT NULL under which a row is replaced or dropped", REPAIRED,
        engines=("sqlite",),
        items={**ORM, "key": "PRIMARY KEY (id) ON CONFLICT REPLACE",
            "week_number": "week_number INTEGER NOT NULL ON CONFLICT IGNORE"}),
    State("an index that is unique, without rows", REPAIRED, items={},
        without=("idx_weekly_actuals_date",),
        sql=("CREATE UNIQUE INDEX idx_weekly_actuals_date ON weekly_actuals "
             "(week_start_date)",), filled=(False,)),
    State("an index in capitals on another column", REPAIRED, items={},
        without=("idx_weekly_actuals_date",),
        sql=(
            "CREATE INDEX IDX_Weekly_Actuals_DATE ON weekly_actuals (week_end_date)",)),
    State("an invalid index", REPAIRED, items={},
        sql=("UPDATE pg_index SET indisvalid = false "
             "WHERE indexrelid = 'idx_weekly_actuals_date'::regclass",),
        engines=("postgresql",)),
]  # fmt: skip

_DIFFERENT = [
    *(
        State(f"{what}, under a name in another case", REPAIRED, items=items,
            sql=_CAPITALS, engines=("sqlite",))
        for what, items in (
            ("NOT NULL lost", {"week_number": "week_number INTEGER"}),
            ("a wrong type", {"week_number": "week_number TEXT NOT NULL"}),
            ("a column, a foreign key and UNIQUE missing",
                {"variance_pct": None, "store": None, "unique": None}),
        )
    ),
    State("UNIQUE missing", REPAIRED, items={"unique": None}),
    State("UNIQUE on other columns", REPAIRED,
        items={"unique": "CONSTRAINT unique_workflow_week_store UNIQUE "
                         "(workflow_id, store_id)"}, filled=(False, True)),
    State("UNIQUE replaced by a plain index of its name", REPAIRED,
        items={"unique": None},
        sql=("CREATE INDEX unique_workflow_week_store ON weekly_actuals "
             "(workflow_id, week_number, store_id)",)),
    State("UNIQUE replaced by a partial index of its name", REPAIRED,
        items={"unique": None},
        sql=("CREATE UNIQUE INDEX unique_workflow_week_store ON weekly_actuals "
             "(workflow_id, week_number, store_id) WHERE week_number > 1",),
        engines=("sqlite", "postgresql")),
    State("a foreign key missing", REPAIRED, items={"store": None}),
    State("all foreign keys missing", REPAIRED, items=_NO_KEY),
    State("a foreign key to another table", REPAIRED,
        items={"category": "FOREIGN KEY (category_id) REFERENCES shelves(category_id) "
                           "ON DELETE CASCADE"}),
    State("a foreign key without CASCADE", REPAIRED,
        items={
            "workflow": "FOREIGN KEY (workflow_id) REFERENCES workflows(workflow_id)"}),
    State("a foreign key that sets NULL", REPAIRED,
        items={"store_id": "store_id {string}",
            "store": "FOREIGN KEY (store_id) REFERENCES stores(store_id) "
                     "ON DELETE SET NULL"}),
    State("a foreign key twice, once without CASCADE", REPAIRED,
        items={"second": "CONSTRAINT second FOREIGN KEY (store_id) "
                         "REFERENCES stores(store_id)"}),
    State("a foreign key that is NOT VALID", REPAIRED, items={"store": None},
        sql=("ALTER TABLE weekly_actuals ADD CONSTRAINT later FOREIGN KEY (store_id) "
             "REFERENCES stores(store_id) ON DELETE CASCADE NOT VALID",),
        engines=("postgresql",)),
    State("NOT NULL lost", REPAIRED, items={"week_number": "week_number INTEGER"}),
    State("NOT NULL lost on a key", REPAIRED,
        items={"workflow_id": "workflow_id {string}"}),
    State("NOT NULL lost everywhere", REPAIRED,
        items={name: TABLE[name].replace(" NOT NULL", "")
            for name in COLUMNS if name != "id"}),
    State("the default lost", REPAIRED,
        items={"uploaded_at": "uploaded_at {datetime}"}),
    State("a default of another time", REPAIRED,
        items={"uploaded_at": "uploaded_at {datetime} DEFAULT '2000-01-01'"}),
    State("a default of local time", REPAIRED,
        items={"uploaded_at": "uploaded_at {datetime} DEFAULT CURRENT_TIMESTAMP"},
        engines=("postgresql", "mysql")),
    State("NOT NULL where NULL must be allowed", REPAIRED,
        items={"variance_pct": "variance_pct {float} NOT NULL"}, filled=(False,)),
    State("a nullable column missing", REPAIRED, items={"variance_pct": None}),
    State("both nullable columns missing", REPAIRED,
        items={"variance_pct": None, "forecast_units_sold": None}),
    State("a NOT NULL column missing", REPAIRED, items={"week_end_date": None},
        filled=(False,)),
    State("uploaded_at missing", REPAIRED, items={"uploaded_at": None},
        filled=(False,)),
    State("a referring column missing", REPAIRED,
        items={"category_id": None, "category": None}, filled=(False,)),
    State("a wrong type, empty or convertible", REPAIRED,
        items={"week_number": "week_number {string} NOT NULL"}),
    State("a date as text, empty or convertible", REPAIRED,
        items={"week_start_date": "week_start_date {string} NOT NULL"}),
    State("units as a float, with a view", REPAIRED, sql=(_VIEW,),
        engines=("sqlite", "mysql"),
        items={"actual_units_sold": "actual_units_sold {float} NOT NULL"}),
    State("a number as text, empty or convertible", REPAIRED,
        items={"variance_pct": "variance_pct {string}"}),
    State("units as a float, empty or convertible", REPAIRED,
        items={"actual_units_sold": "actual_units_sold {float} NOT NULL"}),
    State("a time as text, empty or convertible", REPAIRED,
        items={"uploaded_at": "uploaded_at {string} NOT NULL"}),
    State("a key as a number, empty", REPAIRED,
        items={"store_id": "store_id INTEGER NOT NULL", "store": None},
        filled=(False,)),
    State("a key as a number, convertible", REPAIRED,
        items={"store_id": "store_id INTEGER NOT NULL", "store": None}, filled=(False,),
        bad=(row(1, store=7), row(2, week=2, store=7))),
    State("a float of four bytes", REPAIRED,
        items={"variance_pct": "variance_pct REAL"}, engines=("postgresql",)),
    State("keys that are too short", REPAIRED,
        items={"workflow_id": "workflow_id VARCHAR(10) NOT NULL",
            "store_id": "store_id VARCHAR(10) NOT NULL"},
        engines=("postgresql", "mysql")),
    State("an id without auto-increment", REPAIRED,
        items={"id": "id INT NOT NULL PRIMARY KEY"}),
    State("an id without a primary key", REPAIRED, items={"id": "id INTEGER NOT NULL"}),
    State("everything lost except the columns", REPAIRED,
        items={**{name: TABLE[name].replace(" NOT NULL", "") for name in COLUMNS},
            "id": "id INTEGER", "uploaded_at": "uploaded_at {datetime}", "unique": None,
            **_NO_KEY}, without=tuple(INDEXES)),
    State("another ORM's, NOT NULL lost", REPAIRED,
        items={**ORM, "week_number": "week_number INTEGER"}),
    State("NOT NULL lost, with extras of every kind", REPAIRED,
        items={**_EXTRAS, "week_number": "week_number INTEGER"}, sql=_USED),
    State("orphans, and NOT NULL lost", REPAIRED,
        items={**ORM, "week_number": "week_number INTEGER"},
        bad=(row(11, "test_workflow", 1),), engines=("sqlite",)),
]  # fmt: skip

_TWICE = tuple(
    row(20 + number, week=number % 3 + 1, store="S003") for number in range(9)
)
_ORPHANS = tuple(
    row(20 + number, workflow="gone", week=number + 1) for number in range(7)
)
_REFUSED = [
    State("UNIQUE missing, with duplicates", REFUSED,
        ("unique_workflow_week_store", "9 rows", "id 20", "SELECT"), {"unique": None},
        bad=_TWICE),
    State("a foreign key missing, with orphans", REFUSED,
        ("workflow_id", "7 rows", "id 20", "gone", "; ...", "SELECT"),
        {"workflow": None}, bad=_ORPHANS),
    State("a foreign key to another table, with orphans", REFUSED,
        ("category_id", "1 row ", "id 20"),
        {"category": "FOREIGN KEY (category_id) REFERENCES shelves(category_id)"},
        bad=(row(20, week=9, category_id="shelf"),)),
    State("NOT NULL lost, with NULLs", REFUSED, ("week_number", "6 rows", "id 20"),
        {"week_number": "week_number INTEGER"},
        bad=tuple(row(20 + number, week=None, store="S003") for number in range(6))),
    State("a wrong type, with values that do not convert", REFUSED,
        ("week_number", "2 rows", "id 20", "first"),
        {"week_number": "week_number {string} NOT NULL"},
        bad=(row(20, week="first"), row(21, week="2.5"))),
    State("a date as text, with values that do not convert", REFUSED,
        ("week_end_date", "1 row ", "id 20"),
        {"week_end_date": "week_end_date {string} NOT NULL"},
        bad=(row(20, week=8, week_end_date="12.01.2025"),)),
    State("units as a float, with fractions", REFUSED,
        ("actual_units_sold", "1 row ", "id 20"),
        {"actual_units_sold": "actual_units_sold {float} NOT NULL"},
        bad=(row(20, week=8, actual_units_sold=1.5),)),
    State("a key as a number, with orphans", REFUSED, ("store_id", "1 row ", "id 20"),
        {"store_id": "store_id INTEGER NOT NULL", "store": None}, filled=(False,),
        bad=(row(20, store=8),)),
    State("a NOT NULL column missing, with rows", REFUSED,
        ("week_end_date", "3 rows", "Backfill"), {"week_end_date": None},
        filled=(True,)),
    State("an id without a primary key, with duplicates", REFUSED,
        ("weekly_actuals.id", "2 rows", "id 20"), {"id": "id INTEGER"},
        bad=(row(20, week=7), row(20, week=8))),
    State("several at once, repairable and not", REFUSED,
        ("week_number", "unique_workflow_week_store"),
        {"week_number": "week_number INTEGER", "unique": None, "variance_pct": None},
        without=tuple(INDEXES),
        bad=(row(20, week=None), row(21, week=3), row(22, week=3))),
    *(
        State(name, REFUSED, says, None, filled=(False,), engines=engines,
            sql=statements)
        for name, says, engines, statements in (
            ("a name in another case", ("Weekly_Actuals",), ("postgresql", "mysql"),
                {"postgresql": _on('"Weekly_Actuals"',
                        "CREATE TABLE @ (id INTEGER PRIMARY KEY, workflow_id TEXT)"),
                    "mysql": _on("Weekly_Actuals",
                        "CREATE TABLE @ (id INTEGER PRIMARY KEY, workflow_id TEXT)")}),
            ("a view", ("view",), ENGINES,
                ("CREATE VIEW weekly_actuals AS SELECT store_id, week_start_date FROM "
                 "historical_sales",)),
            ("a materialized view", ("view",), ("postgresql",),
                ("CREATE MATERIALIZED VIEW weekly_actuals AS SELECT store_id FROM "
                 "historical_sales",)),
            ("a virtual table", ("virtual table",), ("sqlite",),
                ("CREATE VIRTUAL TABLE weekly_actuals USING fts5(workflow_id, "
                 "store_id)",)),
            ("an unrelated table", ("an unrelated table",), ENGINES,
                ("CREATE TABLE weekly_actuals "
                 "(code INTEGER PRIMARY KEY, title VARCHAR(50), body TEXT)",
                    "INSERT INTO weekly_actuals (code, title) VALUES (1, 'x')")),
        )
    ),
    State("an id without a primary key, with words and fractions", REFUSED,
        ("weekly_actuals.id", "2 rows", "id 1.5", "id one"),
        {"id": "id INT PRIMARY KEY"},
        bad=({**row(20, week=7), "id": 1.5}, {**row(21, week=8), "id": "one"}),
        engines=("sqlite",)),
    State("a wrong type, and a view on it", REFUSED,
        ("actual_units_sold", "weekly_totals", "drop the view"),
        {"actual_units_sold": "actual_units_sold {float} NOT NULL"}, sql=(_VIEW,),
        engines=("postgresql",)),
    State("a partitioned table", REFUSED, ("partitioned table",), None, filled=(False,),
        sql={"postgresql": ("CREATE TABLE weekly_actuals "
                            "(id INTEGER, store_id VARCHAR) PARTITION BY HASH (id)",),
            "mysql": ("CREATE TABLE weekly_actuals "
                      "(id INTEGER, store_id VARCHAR(50)) PARTITION BY HASH (id)",)},
        engines=("postgresql", "mysql")),
    State("an index's name is another table's", REFUSED,
        ("idx_weekly_actuals_date", "rename or drop it first"), {},
        without=("idx_weekly_actuals_date",), engines=("sqlite", "postgresql"),
        sql=("CREATE INDEX idx_weekly_actuals_date ON historical_sales "
             "(week_start_date)",)),
    State("the name of the replacement is taken", REFUSED, ("weekly_actuals__new",),
        {"week_number": "week_number TEXT NOT NULL"},
        sql=("CREATE TABLE weekly_actuals__new (x)",), engines=("sqlite",)),
    State("a view has the name of the replacement", REFUSED, ("weekly_actuals__new",),
        {"week_number": "week_number TEXT NOT NULL"},
        sql=("CREATE VIEW weekly_actuals__new AS SELECT 1",), engines=("sqlite",)),
]  # fmt: skip

STATES = tuple(_COMPLETE + _INDEXES + _DIFFERENT + _REFUSED)


def cases(engine, *verdicts):
    """Return every (state, filled) of an engine with one of the verdicts."""
    return [
        (state, filled)
        for state in STATES
        if engine in state.engines and state.verdict in verdicts
        for filled in state.filled
    ]
