"""States of the warehouse's tables before a run, and the expected outcome of each.

One list for every engine. The tables are written by hand, as a reader of the models
would write them; a state replaces some of their items, removes some (None) or adds
some, then executes further statements.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import json
import uuid

from states import ENGINES, REFUSED, REPAIRED, UNTOUCHED, is_constraint

SERVERS = ("postgresql", "mysql")
SQLITE, POSTGRESQL, MARIADB = ("sqlite",), ("postgresql",), ("mysql",)

# The types and defaults of the models in each dialect; `q` quotes a name that is a
# keyword.
WORDS = {
    "sqlite": {
        "q": '"',
        "auto": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "big_auto": "INTEGER PRIMARY KEY",
        "uuid": "TEXT",
        "bool": "INTEGER",
        "blob": "BLOB",
        "datetime": "DATETIME",
        "now": "CURRENT_TIMESTAMP",
        "single": "REAL",
        "double": "REAL",
        "big": "INTEGER",
        "small": "INTEGER",
        "decimal": "DECIMAL",
    },
    "postgresql": {
        "q": '"',
        "auto": "SERIAL PRIMARY KEY",
        "big_auto": "BIGSERIAL PRIMARY KEY",
        "uuid": "UUID",
        "bool": "BOOLEAN",
        "blob": "BYTEA",
        "datetime": "TIMESTAMP",
        "now": "(now() AT TIME ZONE 'utc')",
        "single": "REAL",
        "double": "DOUBLE PRECISION",
        "big": "BIGINT",
        "small": "SMALLINT",
        "decimal": "NUMERIC",
    },
    "mysql": {
        "q": "`",
        "auto": "INTEGER AUTO_INCREMENT PRIMARY KEY",
        "big_auto": "BIGINT AUTO_INCREMENT PRIMARY KEY",
        "uuid": "VARCHAR(40)",
        "bool": "BOOL",
        "blob": "BLOB",
        "datetime": "DATETIME",
        "now": "(UTC_TIMESTAMP())",
        "single": "FLOAT",
        "double": "DOUBLE",
        "big": "BIGINT",
        "small": "SMALLINT",
        "decimal": "NUMERIC",
    },
}

# Each table comes after those that it refers to.
TABLES = {
    "depots": {
        "code": "code VARCHAR(12) NOT NULL PRIMARY KEY",
        "place": "place VARCHAR(80) NOT NULL",
        "opened": "opened DATE",
    },
    "articles": {
        "sku": "sku VARCHAR(20) NOT NULL",
        "whole_id": "whole_id VARCHAR(20)",
        "label": "label VARCHAR(60) NOT NULL",
        "barcode": "barcode CHAR(13)",
        "price": "price {decimal}(10, 2) NOT NULL DEFAULT 9.5",
        "weight": "weight {decimal}(8, 3)",
        "volume": "volume {double}",
        "height": "height {single}",
        "active": "active {bool} NOT NULL DEFAULT TRUE",
        "sold": "sold {big} NOT NULL DEFAULT 0",
        "shelf": "shelf {small}",
        "about": "about TEXT",
        "picture": "picture {blob}",
        "details": "details JSON",
        "key": "PRIMARY KEY (sku)",
        "whole": "FOREIGN KEY (whole_id) REFERENCES articles (sku) "
        "ON DELETE SET NULL ON UPDATE CASCADE",
        "check": "CONSTRAINT check_price CHECK (price >= 0)",
    },
    "order": {
        "id": "id {auto}",
        "number": "number {uuid} NOT NULL",
        "depot_id": "depot_id VARCHAR(12) NOT NULL",
        "group": "{q}group{q} VARCHAR(20) NOT NULL DEFAULT 'it''s all'",
        "key": "{q}key{q} INTEGER NOT NULL",
        "due": "due DATE",
        "until": "until TIME",
        "placed_at": "placed_at {datetime} NOT NULL DEFAULT {now}",
        "unique": "CONSTRAINT unique_order_of_depot UNIQUE (depot_id, {q}key{q})",
        "depot": "FOREIGN KEY (depot_id) REFERENCES depots (code) "
        "ON DELETE RESTRICT ON UPDATE CASCADE",
    },
    "order_lines": {
        "order_id": "order_id INTEGER NOT NULL",
        "position": "position {small} NOT NULL",
        "article_id": "article_id VARCHAR(20) NOT NULL",
        "instead_id": "instead_id VARCHAR(20)",
        "quantity": "quantity {decimal}(9, 3) NOT NULL",
        "primary": "PRIMARY KEY (order_id, position)",
        "order": "FOREIGN KEY (order_id) REFERENCES {q}order{q} (id) ON DELETE CASCADE",
        "article": "FOREIGN KEY (article_id) REFERENCES articles (sku) "
        "ON DELETE RESTRICT ON UPDATE CASCADE",
        "instead": "FOREIGN KEY (instead_id) REFERENCES articles (sku) "
        "ON DELETE SET NULL",
        "check": "CONSTRAINT check_quantity CHECK (quantity > 0)",
        "check_position": "CONSTRAINT check_position "
        "CHECK (position BETWEEN 1 AND 999)",
    },
    "movements": {
        "id": "id {big_auto}",
        "article_id": "article_id VARCHAR(20) NOT NULL",
        "moved": "moved {big} NOT NULL",
        "at": "{q}at{q} {datetime} NOT NULL",
        "article": "FOREIGN KEY (article_id) REFERENCES articles (sku) "
        "ON DELETE CASCADE",
    },
}
INDEXES = {
    "article_whole_id": ("articles", "INDEX", "whole_id"),
    "article_barcode": ("articles", "UNIQUE INDEX", "barcode"),
    "article_label_shelf": ("articles", "INDEX", "label, shelf"),
    "order_number": ("order", "UNIQUE INDEX", "number"),
    "order_depot_id": ("order", "INDEX", "depot_id"),
    "line_order_id": ("order_lines", "INDEX", "order_id"),
    "line_article_id": ("order_lines", "INDEX", "article_id"),
    "line_instead_id": ("order_lines", "INDEX", "instead_id"),
    "movements_of_article": ("movements", "INDEX", "article_id, {q}at{q}"),
    "movements_at": ("movements", "UNIQUE INDEX", "{q}at{q}, moved"),
}


def article(sku, whole=None, label="Leg", **others):
    return {
        "sku": sku,
        "whole_id": whole,
        "label": label,
        "barcode": None,
        "price": 1.25,
        "weight": None,
        "volume": None,
        "height": None,
        "active": 1,
        "sold": 0,
        "shelf": 3,
        "about": None,
        "picture": None,
        "details": None,
        **others,
    }


def order(id, key, **others):
    return {
        "id": id,
        "number": f"0b9f3c1e-5a7d-4c1b-8f7e-{id:012}",
        "depot_id": "north",
        "group": "retail",
        "key": key,
        "due": "2025-03-01",
        "until": "18:30:00",
        "placed_at": "2025-02-17 08:30:00",
        **others,
    }


def line(order, position, article="A-1", **others):
    return {
        "order_id": order,
        "position": position,
        "article_id": article,
        "instead_id": None,
        "quantity": 2.125,
        **others,
    }


def movement(id, moved=4, **others):
    return {
        "id": id,
        "article_id": "A-2",
        "moved": moved,
        "at": f"2025-02-18 09:00:{id:02}",
        **others,
    }


ROWS = {
    "depots": (
        {"code": "north", "place": "Kiel", "opened": "1999-05-03"},
        {"code": "south", "place": "Ulm"},
    ),
    "articles": (
        article(
            "A-1",
            None,
            "Table",
            barcode="4006381333931",
            price=129.5,
            weight=12.345,
            volume=0.75,
            height=0.5,
            sold=7_000_000,
            about="Round\nand 'brown', 100%",
            picture=b"\x00\xff'",
            details='{"a": [1, null]}',
        ),
        article("A-2", "A-1", "Leg", active=0),
        article("A-3", "A-1", "Top", shelf=None, height=0.25),
    ),
    "order": (
        order(1, 1),
        order(2, 2, due=None, until=None),
        order(7, 1, depot_id="south", group="it's all"),
    ),
    "order_lines": (
        line(1, 1),
        line(1, 2, "A-2", instead_id="A-3"),
        line(7, 1, "A-3", quantity=1),
    ),
    "movements": (movement(1), movement(2), movement(9, moved=-3)),
}


@dataclasses.dataclass(frozen=True)
class State:
    """A state of the tables: how it is created, and the expected outcome of a run.

    `tables` replaces items of some tables, or names tables that are not created (None).
    `says` are texts that the refusal, or the warning, must contain. `filled` says
    whether it is tested with ROWS, without, or both; `bad` are additional rows. `kept`
    names the columns that may stay different from the model, as compatible ones.
    """

    name: str
    verdict: str
    tables: dict = dataclasses.field(default_factory=dict)
    says: tuple[str, ...] = ()
    without: tuple[str, ...] = ()  # indexes that are not created
    sql: tuple = ()
    filled: tuple[bool, ...] = (False, True)
    bad: dict = dataclasses.field(default_factory=dict)
    kept: tuple[str, ...] = ()
    engines: tuple[str, ...] = ENGINES

    def make(self, world, filled):
        """Clear the world and create the state in it."""
        world.clear()
        words = WORDS[world.engine]
        tables = self.items_by_table()
        for name, items in tables.items():
            items = sorted((item for item in items.values() if item), key=is_constraint)
            create = f"CREATE TABLE {{q}}{name}{{q}} ({', '.join(items)})"
            world.execute(create.format(**words))
        for name, (table, kind, columns) in INDEXES.items():
            if table in tables and name not in self.without:
                create = f"CREATE {kind} {name} ON {{q}}{table}{{q}} ({columns})"
                world.execute(create.format(**words))
        world.execute(*(statement.format(**words) for statement in self.sql))
        for name in tables:
            if filled:
                insert(world, name, ROWS[name])
            insert(world, name, self.bad.get(name, ()))
        return world

    def items_by_table(self):
        """Return the items of each table that is created."""
        tables = {}
        for name, items in TABLES.items():
            replaced = self.tables.get(name, {})
            if replaced is not None:
                tables[name] = {**items, **replaced}
        return tables


def insert(world, table, rows):
    """Insert rows with plain SQL, without the values of columns that do not exist."""
    q, columns = WORDS[world.engine]["q"], columns_of(world, table)
    for row in rows:
        given = {
            f"{q}{name}{q}": _literal(value, world.engine)
            for name, value in row.items()
            if name in columns
        }
        names, values = ", ".join(given), ", ".join(given.values())
        world.execute(f"INSERT INTO {q}{table}{q} ({names}) VALUES ({values})")
    if rows and world.engine == "postgresql" and "id" in columns:
        sequence = f"pg_get_serial_sequence('\"{table}\"', 'id')"
        world.query(f'SELECT setval({sequence}, (SELECT max(id) FROM "{table}"))')


def columns_of(world, table):
    """Return the names of a table's columns."""
    cursor = world.cursor()
    cursor.execute(
        "SELECT * FROM {q}{}{q} LIMIT 0".format(table, **WORDS[world.engine])
    )
    return [column[0] for column in cursor.description]


def _literal(value, engine):
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'" if engine == "postgresql" else f"x'{value.hex()}'"
    text = str(value).replace("'", "''")
    if engine == "mysql":
        text = text.replace("\\", "\\\\")
    return f"'{text}'"


def rows_of(world):
    """Return the rows of each existing table as normalized values by column."""
    there = {}
    for name in TABLES:
        try:
            columns = columns_of(world, name)
        except Exception:
            continue
        rows = world.query("SELECT * FROM {q}{}{q}".format(name, **WORDS[world.engine]))
        there[name] = [
            {column: normalized(value) for column, value in zip(columns, row)}
            for row in rows
        ]
    return there


def normalized(value):
    """Return a value that is the same for every engine, driver and type."""
    if value is None:
        return None
    if isinstance(value, (bytes, memoryview)):
        return bytes(value)
    if isinstance(value, (int, float, decimal.Decimal)):
        return float(value)
    if isinstance(value, datetime.timedelta):
        value = (datetime.datetime.min + value).time()
    if isinstance(value, (dict, list)):
        value = json.dumps(value)
    return _parsed(str(value).rstrip())


def _parsed(text):
    for read in (float, uuid.UUID, json.loads):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def held(before, after):
    """Return whether each row is unchanged, in the columns that it had before."""
    for name, rows in before.items():
        kept = after[name]
        if rows:
            columns = list(rows[0])
            kept = [{column: row[column] for column in columns} for row in kept]
        if sorted(kept, key=str) != sorted(rows, key=str):
            return False
    return True


_COMPLETE = [
    State("as declared", UNTOUCHED),
    State("with wider types", UNTOUCHED,
        {"articles": {"sku": "sku VARCHAR(40) NOT NULL",
                "price": "price {decimal}(12, 2) NOT NULL DEFAULT 9.5",
                "shelf": "shelf INTEGER", "height": "height {double}",
                "label": "label TEXT NOT NULL"},
            "order": {"key": "{q}key{q} BIGINT NOT NULL"}},
        engines=("sqlite", "postgresql")),
    State("with wider types, on MariaDB", UNTOUCHED,
        {"articles": {"sku": "sku VARCHAR(40) NOT NULL",
                "price": "price {decimal}(12, 2) NOT NULL DEFAULT 9.5",
                "shelf": "shelf INTEGER", "height": "height {double}",
                "picture": "picture LONGBLOB"},
            "order": {"key": "{q}key{q} BIGINT NOT NULL"}}, engines=MARIADB),
    State("with an undeclared column, index and CHECK", UNTOUCHED,
        {"order_lines": {"note": "note VARCHAR(50) DEFAULT 'none, yet'",
                "own": "CONSTRAINT own CHECK (note <> 'x')"},
            "depots": {"note": "note TEXT"}},
        sql=("CREATE INDEX own_index ON order_lines (note, quantity)",)),
    State("with an undeclared view and an undeclared child table", UNTOUCHED,
        sql=("CREATE VIEW totals AS SELECT article_id, sum(quantity) AS quantity FROM "
             "order_lines GROUP BY article_id",
            "CREATE TABLE invoices (id INTEGER PRIMARY KEY, order_id INTEGER "
            "REFERENCES {q}order{q} (id))")),
    State("columns in another order", UNTOUCHED,
        {"order_lines": {"order_id": None, "first": "quantity {decimal}(9, 3) NOT NULL",
                "quantity": "order_id INTEGER NOT NULL"}}),
    State("a unique index where a UNIQUE constraint should be", UNTOUCHED,
        {"order": {"unique": None}},
        sql=("CREATE UNIQUE INDEX unique_order_of_depot ON {q}order{q} "
             "(depot_id, {q}key{q})",)),
    State("a UNIQUE constraint where a unique index should be", UNTOUCHED,
        {"articles": {"barcode_key": "CONSTRAINT article_barcode UNIQUE (barcode)"}},
        without=("article_barcode",)),
    State("a unique index of another name", UNTOUCHED, {"order": {"unique": None}},
        ("unique_order_of_depot: mine is equivalent",),
        sql=("CREATE UNIQUE INDEX mine ON {q}order{q} (depot_id, {q}key{q})",)),
    State("foreign keys of other names", UNTOUCHED,
        {"articles": {"whole": "CONSTRAINT part_of " + TABLES["articles"]["whole"]},
            "order_lines": {
                "order": "CONSTRAINT line_of " + TABLES["order_lines"]["order"]}}),
    State("a column's own PRIMARY KEY", UNTOUCHED,
        {"articles": {"sku": "sku VARCHAR(20) NOT NULL PRIMARY KEY", "key": None}}),
    State("defaults in another notation", UNTOUCHED,
        {"articles": {"price": "price {decimal}(10, 2) NOT NULL DEFAULT 9.50",
                "sold": "sold {big} NOT NULL DEFAULT '0'"}}),
    State("no default, but NOT NULL", REPAIRED,
        {"articles": {"price": "price {decimal}(10, 2) NOT NULL",
                "active": "active {bool} NOT NULL"},
            "order": {"placed_at": "placed_at {datetime} NOT NULL"}}),
    State("a default where none is declared", UNTOUCHED,
        {"articles": {"label": "label VARCHAR(60) NOT NULL DEFAULT 'thing'"}}),
    State("a CHECK of another condition", REPAIRED,
        {"articles": {"check": "CONSTRAINT check_price CHECK (price > -1)"}}),
    State("names in capitals", UNTOUCHED,
        {"movements": {"moved": "MOVED {big} NOT NULL",
                "article_id": "Article_Id VARCHAR(20) NOT NULL"},
            "articles": {"check": "CONSTRAINT CHECK_Price CHECK (price >= 0)"}},
        filled=(False,)),
    State("a table in capitals", UNTOUCHED, {"movements": None},
        sql=("CREATE TABLE Movements (ID INTEGER PRIMARY KEY, article_id VARCHAR(20) "
             "NOT NULL REFERENCES Articles (SKU) "
             "ON DELETE CASCADE, moved INTEGER NOT NULL, At DATETIME NOT NULL)",
            "CREATE INDEX movements_of_article ON movements (article_id, AT)",
            "CREATE UNIQUE INDEX Movements_At ON movements (at, moved)"),
        engines=SQLITE),
    State("a required table with a unique column for a key", UNTOUCHED,
        {"depots": {"code": "code VARCHAR(12) NOT NULL UNIQUE"}}),
    State("RESTRICT where nothing is declared", UNTOUCHED,
        {"order_lines": {
                "order": TABLES["order_lines"]["order"] + " ON UPDATE RESTRICT"}},
        engines=MARIADB),
    State("an additional NOT NULL column without a default", UNTOUCHED,
        {"movements": {"who": "who VARCHAR(20) NOT NULL"}},
        ("movements", "inserts will fail", "who"), filled=(False,)),
    State("orphans inserted without enforcement", UNTOUCHED,
        says=("movements.article_id", "1 row ", "id 20"), filled=(True,),
        bad={"movements": (movement(20, article_id="gone"),)}, engines=SQLITE),
    State("an orphan in a reference to its own table", UNTOUCHED,
        says=("articles.whole_id", "1 row ", "sku B-1"), filled=(True,),
        bad={"articles": (article("B-1", "gone"),)}, engines=SQLITE),
]  # fmt: skip

_NONE = dict.fromkeys(("articles", "order", "order_lines", "movements"))
_HALF = [
    State("no table", REPAIRED, _NONE),
    State("one table of four", REPAIRED, {**_NONE, "articles": {}}),
    State("the other three tables", REPAIRED, {"movements": None}),
    State("two tables of four", REPAIRED, {"order_lines": None, "movements": None}),
    State("the table in the middle missing", REPAIRED,
        {"order": None, "order_lines": {"order": None}}, filled=(False,)),
    State("half of everything", REPAIRED,
        {"articles": {"whole": None, "check": None, "height": None,
                "sold": "sold {big}"}, "movements": None,
            "order": {"unique": None, "due": None},
            "order_lines": {"instead": None, "check": None}},
        without=("article_label_shelf", "order_number", "line_instead_id"),
        kept=("articles.sold",)),
    State("everything lost except the columns", REPAIRED,
        {"articles": {"whole": None, "check": None, "key": None,
                "sku": "sku VARCHAR(20)", "label": "label VARCHAR(60)"},
            "order": {"unique": None, "depot": None, "id": "id INTEGER",
                "number": "number {uuid}", "depot_id": "depot_id VARCHAR(12)",
                "key": "{q}key{q} INTEGER"},
            "order_lines": {
                **dict.fromkeys(("primary", "order", "article", "instead")),
                "check": None, "check_position": None,
                "order_id": "order_id INTEGER", "position": "position {small}",
                "article_id": "article_id VARCHAR(20)",
                "quantity": "quantity {decimal}(9, 3)"},
            "movements": {"id": "id {big}", "article_id": "article_id VARCHAR(20)",
                "moved": "moved {big}", "at": "{q}at{q} {datetime}", "article": None}},
        without=tuple(INDEXES)),
]  # fmt: skip

_COLUMNS = [
    *(
        State(f"{what} missing", REPAIRED, {table: dict.fromkeys(items)},
            without=indexes, filled=filled)
        for what, table, items, indexes, filled in (
            ("a column that may be NULL", "articles", ("height",), (), (False, True)),
            ("a column with a default", "articles", ("active",), (), (False, True)),
            ("a column with a default of a text", "order", ("group",), (),
                (False, True)),
            ("a decimal with a default", "articles", ("price", "check"), (),
                (False, True)),
            ("a decimal", "articles", ("weight",), (), (False, True)),
            ("a fixed string", "articles", ("barcode",), ("article_barcode",),
                (False, True)),
            ("a small integer", "articles", ("shelf",), ("article_label_shelf",),
                (False, True)),
            ("a text, a blob and a JSON", "articles", ("about", "picture", "details"),
                (), (False, True)),
            ("a date and a time", "order", ("due", "until"), (), (False, True)),
            ("a time with a default", "order", ("placed_at",), (), (False, True)),
            ("a UUID", "order", ("number",), ("order_number",), (False,)),
            ("a column whose name is a keyword", "order", ("key", "unique"), (),
                (False,)),
            ("a referring column that may be NULL", "order_lines",
                ("instead_id", "instead"), ("line_instead_id",), (False, True)),
            ("the referring column to its own table", "articles", ("whole_id", "whole"),
                ("article_whole_id",), (False, True)),
            ("a part of the primary key", "order_lines",
                ("position", "primary", "check_position"), (), (False,)),
            ("a big auto-increment key", "movements", ("id",), (), (False, True)),
        )
    ),
]  # fmt: skip

_TYPES = [
    *(
        State(f"{what}", REPAIRED, {table: {name: item}}, engines=engines,
            without=without, sql=sql)
        for what, table, name, item, engines, without, sql in (
            ("a decimal of a larger scale", "articles", "price",
                "price {decimal}(12, 4) NOT NULL DEFAULT 9.5", SERVERS, (), ()),
            ("a decimal of fewer digits before the point", "articles", "weight",
                "weight {decimal}(8, 4)", SERVERS, (), ()),
            ("a decimal of a smaller precision", "articles", "price",
                "price {decimal}(6, 2) NOT NULL DEFAULT 9.5", SERVERS, (), ()),
            ("a decimal as a double", "articles", "weight", "weight {double}", ENGINES,
                (), ()),
            ("a decimal as a text", "articles", "weight", "weight VARCHAR(20)", ENGINES,
                (), ()),
            ("a double as a text", "articles", "volume", "volume VARCHAR(20)", ENGINES,
                (), ()),
            ("a float as a decimal", "articles", "height", "height {decimal}(6, 3)",
                ("sqlite", "postgresql"), (), ()),
            ("a double as a float", "articles", "volume", "volume {single}", SERVERS,
                (), ()),
            ("a big integer that is an integer", "articles", "sold",
                "sold INTEGER NOT NULL DEFAULT 0", SERVERS, (), ()),
            ("a big integer as a text", "movements", "moved",
                "moved VARCHAR(20) NOT NULL", ENGINES, (), ()),
            ("an integer that is small", "order", "key", "{q}key{q} SMALLINT NOT NULL",
                SERVERS, (), ()),
            ("a small integer as a text", "articles", "shelf", "shelf VARCHAR(9)",
                ENGINES, (), ()),
            ("a string that is too short", "articles", "label",
                "label VARCHAR(10) NOT NULL", SERVERS, (), ()),
            ("a fixed string that is none", "articles", "barcode",
                "barcode VARCHAR(13)", SERVERS, (), ()),
            ("a fixed string that is too short", "order", "group",
                "{q}group{q} CHAR(8) NOT NULL DEFAULT 'it''s all'", SERVERS, (), ()),
            ("a date as a text", "order", "due", "due VARCHAR(10)", ENGINES, (), ()),
            ("a time as a text", "order", "until", "until VARCHAR(10)", ENGINES, (),
                ()),
            ("a date and time as a text", "movements", "at",
                "{q}at{q} VARCHAR(30) NOT NULL", ENGINES, (), ()),
            ("a UUID as a text", "order", "number", "number VARCHAR(36) NOT NULL",
                POSTGRESQL, (), ()),
            ("a UUID that is too short", "order", "number",
                "number VARCHAR(36) NOT NULL", MARIADB, (), ()),
            ("a boolean as an integer", "articles", "active",
                "active INTEGER NOT NULL DEFAULT 1", POSTGRESQL, (), ()),
            ("a boolean as a text", "articles", "active",
                "active VARCHAR(5) NOT NULL DEFAULT '1'", ENGINES, (), ()),
            ("a text that is a string", "articles", "about", "about VARCHAR(80)",
                SERVERS, (), ()),
            ("a referring column that is too short", "order_lines", "instead_id",
                "instead_id VARCHAR(9)", SERVERS, (), ()),
            ("a referenced key that is too short", "articles", "sku",
                "sku VARCHAR(10) NOT NULL", SERVERS, (), ()),
            ("a big key that is an integer", "movements", "id", "id {auto}", SERVERS,
                (), ()),
        )
    ),
]  # fmt: skip

_RULES = [
    State("a float as a decimal, which a double holds exactly", REPAIRED,
        {"articles": {"height": "height {decimal}(6, 3)"}}, engines=MARIADB,
        kept=("articles.height",)),
    State("a key that is too short, with its foreign keys", REPAIRED,
        {"articles": {"sku": "sku VARCHAR(10) NOT NULL",
                "whole_id": "whole_id VARCHAR(9)"},
            "order_lines": {"article_id": "article_id VARCHAR(9) NOT NULL",
                "instead_id": "instead_id VARCHAR(9)"},
            "movements": {"article_id": "article_id VARCHAR(9) NOT NULL"}},
        engines=SERVERS),
    State("types of several columns of several tables", REPAIRED,
        {"articles": {"shelf": "shelf VARCHAR(9)", "volume": "volume VARCHAR(20)",
                "check": None},
            "order": {"due": "due VARCHAR(10)", "until": "until VARCHAR(10)",
                "unique": None}, "movements": {"moved": "moved VARCHAR(20)"}},
        without=("article_label_shelf", "movements_at")),
    State("a JSON as a text, empty", REPAIRED,
        {"articles": {"details": "details TEXT"}}, filled=(False,), engines=POSTGRESQL),
    State("NOT NULL lost", REPAIRED, {"articles": {"label": "label VARCHAR(60)"}}),
    State("NOT NULL lost on a foreign key", REPAIRED,
        {"order_lines": {"article_id": "article_id VARCHAR(20)"}}),
    State("NOT NULL lost in the primary key", REPAIRED,
        {"order_lines": {"order_id": "order_id INTEGER"}}, engines=SQLITE),
    State("NOT NULL lost in two tables", REPAIRED,
        {"order": {"key": "{q}key{q} INTEGER"},
            "movements": {"at": "{q}at{q} {datetime}"}}),
    State("NOT NULL where NULL must be allowed", REPAIRED,
        {"articles": {"shelf": "shelf {small} NOT NULL"}}, filled=(False,)),
    *(
        State(f"a default {what}", REPAIRED, {table: {name: item}}, engines=engines,
            kept=kept)
        for what, table, name, item, engines, kept in (
            ("of a number lost", "articles", "sold", "sold {big}", ENGINES,
                ("articles.sold",)),
            ("of another number", "articles", "price",
                "price {decimal}(10, 2) NOT NULL DEFAULT 9.25", ENGINES, ()),
            ("of a boolean lost", "articles", "active", "active {bool}", ENGINES,
                ("articles.active",)),
            ("of another boolean", "articles", "active",
                "active {bool} NOT NULL DEFAULT FALSE", ENGINES, ()),
            ("of another text", "order", "group",
                "{q}group{q} VARCHAR(20) NOT NULL DEFAULT 'its all'", ENGINES, ()),
            ("of another time", "order", "placed_at",
                "placed_at {datetime} NOT NULL DEFAULT '2000-01-01'", ENGINES, ()),
            ("of local time", "order", "placed_at",
                "placed_at {datetime} NOT NULL DEFAULT CURRENT_TIMESTAMP", SERVERS, ()),
        )
    ),
    State("a CHECK missing", REPAIRED, {"articles": {"check": None}}),
    State("one CHECK of two missing", REPAIRED,
        {"order_lines": {"check_position": None}}),
    State("a CHECK of another name", REPAIRED,
        {"articles": {"check": "CONSTRAINT mine CHECK (price >= 0)"}},
        kept=("articles.mine",)),
    State("a CHECK missing, and its column is a text", REPAIRED,
        {"articles": {"check": None,
                "price": "price VARCHAR(20) NOT NULL DEFAULT '9.5'"}}),
    State("a CHECK that is NOT VALID", REPAIRED, {"articles": {"check": None}},
        sql=("ALTER TABLE articles ADD CONSTRAINT check_price CHECK "
             "(price >= 0) NOT VALID",), engines=POSTGRESQL),
]  # fmt: skip

# MariaDB creates an index for each foreign key.
_OF_KEYS = ("article_whole_id", "line_article_id", "line_instead_id")
_INDEXED = [
    *(
        State(f"{name} missing", REPAIRED, without=(name,))
        for name in INDEXES
        if name not in _OF_KEYS
    ),
    *(
        State(f"{name} missing", REPAIRED, without=(name,),
            engines=("sqlite", "postgresql"))
        for name in _OF_KEYS
    ),
    *(
        State(f"{name} missing, which the server created", UNTOUCHED, without=(name,),
            engines=MARIADB)
        for name in _OF_KEYS
    ),
    State("UNIQUE missing, and the index of a foreign key", REPAIRED,
        {"order": {"unique": None}}, without=("order_depot_id",)),
    *(
        State(f"an index {what}", REPAIRED, without=(name,), sql=(statement,),
            engines=engines)
        for what, name, statement, engines in (
            ("in another order", "article_label_shelf",
                "CREATE INDEX article_label_shelf ON articles (shelf, label)", ENGINES),
            ("on too few columns", "article_label_shelf",
                "CREATE INDEX article_label_shelf ON articles (label)", ENGINES),
            ("that should be unique", "article_barcode",
                "CREATE INDEX article_barcode ON articles (barcode)", ENGINES),
            ("that should not be unique", "article_label_shelf",
                "CREATE UNIQUE INDEX article_label_shelf ON articles (label, shelf)",
                ENGINES),
            ("that is unique on other columns", "movements_at",
                "CREATE UNIQUE INDEX movements_at ON movements "
                "(article_id, moved, {q}at{q})", ENGINES),
            ("that is unique in another order", "movements_at",
                "CREATE UNIQUE INDEX movements_at ON movements (moved, {q}at{q})",
                ENGINES),
            ("that is unique and partial", "order_number",
                'CREATE UNIQUE INDEX order_number ON "order" (number) '
                "WHERE due IS NOT NULL", ("sqlite", "postgresql")),
        )
    ),
    State("UNIQUE missing", REPAIRED, {"order": {"unique": None}}),
    State("UNIQUE on other columns", REPAIRED,
        {"order": {"unique": "CONSTRAINT unique_order_of_depot UNIQUE "
                             "(depot_id, {q}key{q}, number)"}}),
]  # fmt: skip

_REFERENCES = [
    *(
        State(f"a foreign key {what}", REPAIRED, {table: {name: item}}, engines=engines)
        for what, table, name, item, engines in (
            ("missing", "order_lines", "order", None, ENGINES),
            ("to its own table missing", "articles", "whole", None, ENGINES),
            ("with RESTRICT missing", "order", "depot", None, ENGINES),
            ("to its own table that does not set NULL", "articles", "whole",
                "FOREIGN KEY (whole_id) REFERENCES articles (sku) ON UPDATE CASCADE",
                ENGINES),
            ("that cascades instead of restricting", "order_lines", "article",
                "FOREIGN KEY (article_id) REFERENCES articles (sku) "
                "ON DELETE CASCADE ON UPDATE CASCADE", ENGINES),
            ("that does not restrict", "order_lines", "article",
                "FOREIGN KEY (article_id) REFERENCES articles (sku) ON UPDATE CASCADE",
                ("sqlite", "postgresql")),
            ("that sets NULL instead of cascading", "articles", "whole",
                "FOREIGN KEY (whole_id) REFERENCES articles (sku) "
                "ON DELETE SET NULL ON UPDATE SET NULL", ENGINES),
            ("without ON UPDATE", "order", "depot",
                "FOREIGN KEY (depot_id) REFERENCES depots (code) ON DELETE RESTRICT",
                ENGINES),
            ("with an additional ON UPDATE", "order_lines", "instead",
                TABLES["order_lines"]["instead"] + " ON UPDATE CASCADE", ENGINES),
            ("with RESTRICT where nothing is declared", "order_lines", "order",
                TABLES["order_lines"]["order"] + " ON UPDATE RESTRICT",
                ("sqlite", "postgresql")),
            ("twice, once without its action", "movements", "second",
                "CONSTRAINT second FOREIGN KEY (article_id) REFERENCES articles (sku)",
                ENGINES),
        )
    ),
    State("a foreign key to another table", REPAIRED,
        {"order": {"depot": "FOREIGN KEY (depot_id) REFERENCES places (code) "
                            "ON DELETE RESTRICT ON UPDATE CASCADE"},
            "depots": {"place": "place VARCHAR(80) NOT NULL"}}, engines=SQLITE,
        sql=("CREATE TABLE places (code VARCHAR(12) PRIMARY KEY)",)),
    State("a foreign key to a required table", REPAIRED,
        {"movements": {"article": "FOREIGN KEY (article_id) REFERENCES depots (code) "
                                  "ON DELETE CASCADE"}}, filled=(False,)),
    State("every foreign key missing", REPAIRED,
        {"articles": {"whole": None}, "order": {"depot": None},
            "movements": {"article": None},
            "order_lines": dict.fromkeys(("order", "article", "instead"))}),
    State("a foreign key that is NOT VALID", REPAIRED,
        {"order_lines": {"article": None}},
        sql=(f"ALTER TABLE order_lines ADD {TABLES['order_lines']['article']} "
             "NOT VALID",),
        engines=POSTGRESQL),
]  # fmt: skip

_KEYS = [
    State("the composite key missing", REPAIRED, {"order_lines": {"primary": None}}),
    State("the composite key in another order", REPAIRED,
        {"order_lines": {"primary": "PRIMARY KEY (position, order_id)"}}),
    State("another composite key", REPAIRED,
        {"order_lines": {"primary": "PRIMARY KEY (order_id, article_id)"}},
        kept=("order_lines.UNIQUE INDEX None",
            "order_lines.UNIQUE (order_id, article_id)", "order_lines.UNIQUE KEY",
            "order_lines.CREATE UNIQUE INDEX order_lines_order_id_article_id_key")),
    State("the string key missing", REPAIRED,
        {"articles": {"key": None, "whole": None}, "movements": {"article": None},
            "order_lines": {"article": None, "instead": None}}),
    State("a key without auto-increment", REPAIRED,
        {"movements": {"id": "id {big} NOT NULL PRIMARY KEY"}}, engines=SERVERS),
    State("a referenced key without auto-increment", REPAIRED,
        {"order": {"id": "id INTEGER NOT NULL PRIMARY KEY"}}, engines=SERVERS),
    State("a key without auto-increment", REPAIRED,
        {"movements": {"id": "id INT NOT NULL PRIMARY KEY"}}, engines=SQLITE),
    State("a referenced key without auto-increment", REPAIRED,
        {"order": {"id": "id INT NOT NULL PRIMARY KEY"}}, engines=SQLITE),
    State("an id without a primary key", REPAIRED,
        {"movements": {"id": "id {big} NOT NULL"}}),
]  # fmt: skip

_REFUSED = [
    State("UNIQUE missing, with duplicates", REFUSED, {"order": {"unique": None}},
        ("unique_order_of_depot", "2 rows", "id 20", "SELECT"),
        bad={"order": (order(20, 5), order(21, 5))}, filled=(True,)),
    State("a unique index missing, with duplicates", REFUSED,
        says=("movements_at", "2 rows", "id 20"), without=("movements_at",),
        filled=(True,),
        bad={"movements": (movement(20, at="2025-03-01 10:00:00"),
                movement(21, at="2025-03-01 10:00:00"))}),
    State("a foreign key missing, with an orphan", REFUSED,
        {"order_lines": {"article": None}},
        ("order_lines.article_id", "1 row ", "position 9", "SELECT"),
        bad={"order_lines": (line(1, 9, "gone"),)}, filled=(True,)),
    State("a foreign key to its own table missing, with an orphan", REFUSED,
        {"articles": {"whole": None}}, ("articles.whole_id", "1 row ", "sku B-1"),
        bad={"articles": (article("B-1", "gone"),)}, filled=(True,)),
    State("NOT NULL lost, with a NULL", REFUSED,
        {"articles": {"label": "label VARCHAR(60)"}},
        ("articles.label", "1 row ", "sku B-1"),
        bad={"articles": (article("B-1", label=None),)}),
    State("a CHECK missing, with a conflicting row", REFUSED,
        {"order_lines": {"check": None}}, ("check_quantity", "1 row ", "position 9"),
        bad={"order_lines": (line(1, 9, quantity=0),)}, filled=(True,)),
    State("a CHECK missing on a text, with a conflicting number", REFUSED,
        {"articles": {"check": None,
                "price": "price VARCHAR(20) NOT NULL DEFAULT '9.5'"}},
        ("check_price", "1 row ", "sku B-1"),
        bad={"articles": (article("B-1", price="-1"),)}),
    State("a decimal with digits that would be lost", REFUSED,
        {"articles": {"weight": "weight {decimal}(9, 5)"}},
        ("articles.weight", "1 row ", "sku B-1"),
        bad={"articles": (article("B-1", weight="1.23456"),)}, engines=SERVERS),
    State("a decimal that is too large", REFUSED,
        {"articles": {"weight": "weight {decimal}(12, 4)"}},
        ("articles.weight", "1 row ", "sku B-1"),
        bad={"articles": (article("B-1", weight="1234567.5"),)}, engines=SERVERS),
    State("a small integer that is too large", REFUSED,
        {"articles": {"shelf": "shelf VARCHAR(9)"}},
        ("articles.shelf", "1 row ", "sku B-1"),
        bad={"articles": (article("B-1", shelf="40000"),)}, engines=SERVERS),
    State("a number as a text, with a word", REFUSED,
        {"movements": {"moved": "moved VARCHAR(20) NOT NULL"}},
        ("movements.moved", "1 row ", "id 20"),
        bad={"movements": (movement(20, moved="many"),)}, filled=(True,)),
    State("a fixed string that is too long", REFUSED,
        {"articles": {"barcode": "barcode VARCHAR(20)"}},
        ("articles.barcode", "1 row ", "sku B-1"),
        bad={"articles": (article("B-1", barcode="12345678901234"),)}, engines=SERVERS),
    State("a date as a text, in another notation", REFUSED,
        {"order": {"due": "due VARCHAR(10)"}}, ("order.due", "1 row ", "id 20"),
        bad={"order": (order(20, 9, due="1.3.2025"),)}, filled=(True,)),
    State("a time as a text, with a word", REFUSED,
        {"order": {"until": "until VARCHAR(10)"}}, ("order.until", "1 row ", "id 20"),
        bad={"order": (order(20, 9, until="noonish"),)}, filled=(True,)),
    State("a UUID as a text, with a word", REFUSED,
        {"order": {"number": "number VARCHAR(36) NOT NULL"}},
        ("order.number", "1 row ", "id 20"),
        bad={"order": (order(20, 9, number="none"),)}, filled=(True,),
        engines=POSTGRESQL),
    State("a boolean as a text, with a word", REFUSED,
        {"articles": {"active": "active VARCHAR(9)"}},
        ("articles.active", "1 row ", "sku B-1"),
        bad={"articles": (article("B-1", active="perhaps"),)}),
    State("a JSON as a text, with invalid JSON", REFUSED,
        {"articles": {"details": "details TEXT"}}, ("articles.details", "sku B-1"),
        bad={"articles": (article("B-1", details="{"),)}, engines=POSTGRESQL),
    State("numbers as texts that would become duplicates", REFUSED,
        {"movements": {"moved": "moved VARCHAR(20) NOT NULL"}},
        ("movements.moved", "id 21"), filled=(True,),
        bad={"movements": (movement(20, "7"),
                movement(21, "07", at=movement(20)["at"]))}),
    State("the composite key missing, with duplicates", REFUSED,
        {"order_lines": {"primary": None}},
        ("order_lines.order_id, position", "2 rows", "order_id 1, position 9"),
        filled=(True,), bad={"order_lines": (line(1, 9), line(1, 9))}),
    State("a NOT NULL column missing, with rows", REFUSED,
        {"order_lines": {"quantity": None, "check": None}},
        ("order_lines.quantity", "3 rows", "Backfill"), filled=(True,)),
    State("a NOT NULL column named as a keyword missing, with rows", REFUSED,
        {"order": {"key": None, "unique": None}},
        ("order.key", "3 rows", "Backfill"), filled=(True,)),
    State("conflicting rows of two tables", REFUSED,
        {"articles": {"label": "label VARCHAR(60)"}, "order_lines": {"check": None}},
        ("articles.label", "check_quantity"), filled=(True,),
        bad={"articles": (article("B-1", label=None),),
            "order_lines": (line(1, 9, quantity=0),)}),
    State("a view in place of a table", REFUSED, {"movements": None},
        ("movements", "a view"),
        sql=("CREATE VIEW movements AS SELECT sku AS article_id FROM articles",)),
    State("an unrelated table", REFUSED, {"movements": None},
        ("movements", "an unrelated table"),
        sql=("CREATE TABLE movements (code INTEGER PRIMARY KEY, title VARCHAR(50))",)),
    State("an index's name is another table's", REFUSED, {"movements": None},
        ("movements_at", "rename or drop it"),
        sql=("CREATE INDEX movements_at ON articles (label)",),
        engines=("sqlite", "postgresql")),
    State("a required table missing", REFUSED, {**_NONE, "depots": None}, ("depots",),
        filled=(False,)),
    State("a required table without a column", REFUSED, {"depots": {"place": None}},
        ("depots.place", "no such column"), filled=(False,)),
    State("a required table with a column of another type", REFUSED,
        {"depots": {"place": "place DATE"}}, ("depots.place", "string"),
        filled=(False,)),
    State("a required table without a key", REFUSED,
        {"depots": {"code": "code VARCHAR(12) NOT NULL"}, "order": {"depot": None}},
        ("depots.code", "unique key")),
    State("a view in place of a required table", REFUSED,
        {"depots": None, "order": {"depot": None}}, ("depots", "a view"),
        sql=("CREATE VIEW depots AS SELECT sku AS code, label AS place FROM articles",),
        filled=(False,)),
]  # fmt: skip

STATES = tuple(
    _COMPLETE
    + _HALF
    + _COLUMNS
    + _TYPES
    + _RULES
    + _INDEXED
    + _REFERENCES
    + _KEYS
    + _REFUSED
)


def cases(engine, *verdicts):
    """Return every (state, filled) of an engine with one of the verdicts."""
    return [
        (state, filled)
        for state in STATES
        if engine in state.engines and state.verdict in verdicts
        for filled in state.filled
    ]
