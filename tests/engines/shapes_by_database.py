"""Shapes with indexes, types and foreign keys that not every database has.

They have the notation of `engines.shapes`, and belong to its list.
"""

import peewee
from engines.shapes import Shape, model, one, with_meta
from peewee import (
    SQL,
    CharField,
    CompositeKey,
    DateTimeField,
    DeferredForeignKey,
    ForeignKeyField,
    IntegerField,
    TextField,
    fn,
)
from playhouse import postgres_ext

LITE_AND_PG = ("sqlite", "postgresql")
PG = ("postgresql",)
MARIA = ("mysql",)


def indexed(add, **fields):
    """Return a function that makes one model with an index.

    :param add: takes the model and returns an index of Peewee's.
    """

    def make():
        made = model(**fields)
        made.add_index(add(made))
        return [made]

    return make


def raw(*statements, **fields):
    """Return a function that makes one model with indexes that are written as SQL."""
    return with_meta({"indexes": [SQL(each) for each in statements]}, **fields)


def types(**names):
    """Return a function that makes one model with a column of each type."""

    def make():
        fields = {}
        for column, name in names.items():
            kind = type("Kind", (peewee.Field,), {"field_type": name})
            fields[column] = kind()
            fields[f"{column}_null"] = kind(null=True)
        return [model(**fields)]

    return make


def _circle():
    """Two tables that refer to each other."""
    town = model("towns", "Town", mayor=DeferredForeignKey("Mayor", null=True))
    mayor = model("mayors", "Mayor", town=ForeignKeyField(town, on_delete="CASCADE"))
    return [mayor, town]


def _circle_without_deferred_key():
    """Two tables that refer to each other, and one that refers to them."""
    town = model("towns", "Town")
    mayor = model("mayors", "Mayor", town=ForeignKeyField(town, on_delete="CASCADE"))
    town._meta.add_field("mayor", ForeignKeyField(mayor, null=True))
    street = model("streets", "Street", town=ForeignKeyField(town), n=IntegerField())
    return [street, mayor, town]


def _parent_and_child(parent_fields, **options):
    """Return a function that makes a table and one that refers to it."""

    def make():
        parent = model("parents", "Parent", **parent_fields)
        return [
            parent,
            model("children", "Child", up=ForeignKeyField(parent, **options)),
        ]

    return make


def _with_constraint(sql):
    """Return a function that makes a table with a foreign key of two columns."""

    def make():
        parent = model(
            "parents",
            "Parent",
            meta={"primary_key": CompositeKey("a", "b")},
            a=IntegerField(),
            b=IntegerField(),
        )
        child = model(
            "children",
            "Child",
            meta={"constraints": [SQL(sql)], "depends_on": [parent]},
            x=IntegerField(null=True),
            y=IntegerField(null=True),
        )
        return [child, parent]

    return make


def _reference(sql):
    """Return a function that makes a table and one with a REFERENCES in a field."""

    def make():
        parent = model("parents", "Parent", n=IntegerField())
        up = IntegerField(null=True, index=True, constraints=[SQL(sql)])
        child = model("children", "Child", meta={"depends_on": [parent]}, up=up)
        return [child, parent]

    return make


def _collation(name):
    """Return a function that makes a table with a COLLATE in its constraints."""
    sql = f"DEFAULT 'x' COLLATE {name}"
    return one(
        word=CharField(9, unique=True, constraints=[SQL(sql)]),
        other=TextField(null=True, constraints=[SQL(f"COLLATE {name}")]),
    )


_SETTINGS_NOTE = "things: Meta.table_settings is written once and never compared"
_TWO_COLUMNS = "FOREIGN KEY (x, y) REFERENCES parents (a, b)"


class GeneratedUUIDField(peewee.UUIDField):
    """A UUID that the database generates; Peewee asks for it after an INSERT."""

    auto_increment = True


SHAPES = [
    Shape(
        "a key that is a generated UUID",
        one(
            id=GeneratedUUIDField(
                primary_key=True, constraints=[SQL("DEFAULT gen_random_uuid()")]
            ),
            n=IntegerField(),
        ),
        PG,
    ),
    Shape(
        "an index whose name PostgreSQL cuts",
        with_meta(
            {"indexes": ((("a" * 30, "b" * 30), True),)},
            **{"a" * 30: IntegerField(), "b" * 30: IntegerField(index=True)},
        ),
    ),
    Shape(
        "an index that is declared twice",
        with_meta(
            {"indexes": ((("n",), False), (("n", "word"), True))},
            n=IntegerField(index=True),
            word=CharField(9),
        ),
        LITE_AND_PG,
    ),
    Shape("a foreign key of two columns", _with_constraint(_TWO_COLUMNS), LITE_AND_PG),
    Shape(
        "a foreign key of two columns with a name and an action",
        _with_constraint(f"CONSTRAINT fk_pair {_TWO_COLUMNS} ON DELETE CASCADE"),
    ),
    Shape(
        "UNIQUE constraints without a name",
        with_meta(
            {
                "constraints": [
                    SQL("UNIQUE (a, b)"),
                    SQL("UNIQUE (b)"),
                    SQL("CONSTRAINT unique_c UNIQUE (c)"),
                ]
            },
            a=IntegerField(),
            b=CharField(9),
            c=IntegerField(null=True),
            d=IntegerField(constraints=[SQL("UNIQUE")]),
            e=CharField(9, constraints=[SQL("DEFAULT 'e' UNIQUE")]),
        ),
    ),
    Shape(
        "a foreign key in the constraints of a field",
        _reference("REFERENCES parents (id) ON DELETE CASCADE"),
    ),
    Shape(
        "a foreign key that names no column",
        _reference("REFERENCES parents ON UPDATE SET NULL"),
        LITE_AND_PG,
    ),
    Shape(
        "a primary key in Meta.constraints",
        with_meta(
            {"primary_key": False, "constraints": [SQL("PRIMARY KEY (b, a)")]},
            a=IntegerField(),
            b=CharField(9),
        ),
    ),
    Shape(
        "percent signs, as drivers of servers want them",
        with_meta(
            {"constraints": [SQL("CONSTRAINT ends CHECK (word LIKE '%%a%%')")]},
            word=CharField(9, constraints=[SQL("DEFAULT '10%%a'")]),
            n=IntegerField(constraints=[SQL("CHECK (n %% 2 = 0)")]),
        ),
        ("postgresql", "mysql"),
    ),
    Shape(
        "percent signs in the condition of an index",
        raw("CREATE INDEX i ON things (word) WHERE word LIKE '10%%'", word=TextField()),
        PG,
    ),
    Shape(
        "a UNIQUE on the primary key",
        with_meta(
            {"constraints": [SQL("UNIQUE (id)"), SQL("UNIQUE (id, n)")]},
            id=IntegerField(primary_key=True),
            n=IntegerField(),
        ),
        PG,
    ),
    Shape(
        "NULL and NOT NULL in the constraints",
        one(
            a=IntegerField(null=True, constraints=[SQL("NOT NULL")]),
            b=IntegerField(null=True, constraints=[SQL("NULL")]),
        ),
    ),
    Shape("COLLATE in the constraints on SQLite", _collation("NOCASE"), ("sqlite",)),
    Shape("COLLATE in the constraints on PostgreSQL", _collation('"C"'), PG),
    Shape(
        "COLLATE in the constraints on MariaDB",
        one(word=CharField(9, constraints=[SQL("COLLATE utf8mb4_bin")])),
        MARIA,
    ),
    Shape(
        "AUTOINCREMENT in the constraints",
        one(id=peewee.AutoField(constraints=[SQL("AUTOINCREMENT")]), n=IntegerField()),
        ("sqlite",),
    ),
    Shape(
        "ON UPDATE and COMMENT",
        one(
            at=DateTimeField(
                constraints=[
                    SQL("DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP")
                ]
            ),
            seen=DateTimeField(null=True, constraints=[SQL("ON UPDATE NOW()")]),
            n=IntegerField(
                constraints=[SQL("DEFAULT 3"), SQL("COMMENT 'it''s (a), `b`'")]
            ),
            word=CharField(9, constraints=[SQL("COMMENT 'a word' UNIQUE")]),
        ),
        MARIA,
    ),
    Shape("tables that refer to each other", _circle, ("postgresql", "mysql")),
    Shape(
        "a circle without a DeferredForeignKey",
        _circle_without_deferred_key,
        ("sqlite",),
    ),
    Shape(
        "a foreign key that sets a DEFAULT",
        _parent_and_child(
            {},
            on_delete="SET DEFAULT",
            on_update="SET DEFAULT",
            constraints=[SQL("DEFAULT 1")],
        ),
        LITE_AND_PG,
    ),
    Shape(
        "a foreign key without a DEFAULT to set",
        _parent_and_child({}, on_delete="SET DEFAULT", null=True),
        LITE_AND_PG,
    ),
    Shape(
        "a foreign key that is checked at COMMIT",
        _parent_and_child({}, deferrable="INITIALLY DEFERRED", on_delete="CASCADE"),
        LITE_AND_PG,
    ),
    Shape(
        "a foreign key that may be checked at COMMIT",
        _parent_and_child({}, deferrable="INITIALLY IMMEDIATE"),
        LITE_AND_PG,
    ),
    Shape(
        "a foreign key to a unique text",
        _parent_and_child({"code": TextField(unique=True)}, field="code"),
        LITE_AND_PG,
    ),
    Shape(
        "a unique key of the rows that are not deleted",
        indexed(
            lambda thing: thing.index(
                thing.email, unique=True, where=thing.deleted.is_null(), name="live"
            ),
            email=CharField(80),
            deleted=DateTimeField(null=True),
        ),
        LITE_AND_PG,
    ),
    Shape(
        "a partial index with two columns in its condition",
        indexed(
            lambda thing: thing.index(
                thing.a,
                thing.state,
                unique=True,
                where=SQL("state IN ('new', 'open') AND a > 5"),
                name="some",
            ),
            a=IntegerField(),
            state=CharField(9),
        ),
        LITE_AND_PG,
    ),
    Shape(
        "a unique key of an expression",
        indexed(
            lambda thing: thing.index(fn.lower(thing.email), unique=True, name="low"),
            email=CharField(80),
        ),
        LITE_AND_PG,
    ),
    Shape(
        "a descending index",
        indexed(
            lambda thing: thing.index(thing.a.desc(), thing.b, name="down"),
            a=IntegerField(),
            b=IntegerField(),
        ),
    ),
    Shape(
        "an index that is written as SQL",
        raw(
            "CREATE INDEX IF NOT EXISTS raw_plain ON things (a, b)",
            "create unique index raw_part on things (a desc) where b > 0 or a = 5",
            a=IntegerField(),
            b=IntegerField(),
        ),
        LITE_AND_PG,
    ),
    Shape(
        "expressions with functions and operators",
        raw(
            "CREATE INDEX raw_sum ON things ((a + b) DESC, (abs(a)))",
            "CREATE INDEX raw_case ON things ((CASE WHEN a > 0 THEN b ELSE 0 END))",
            a=IntegerField(),
            b=IntegerField(),
        ),
        LITE_AND_PG,
    ),
    Shape(
        "texts and binaries in keys",
        one(
            title=TextField(unique=True),
            note=TextField(index=True),
            data=peewee.BlobField(null=True, unique=True),
        ),
        LITE_AND_PG,
    ),
    Shape(
        "a text as the key",
        one(code=TextField(primary_key=True), n=IntegerField()),
        LITE_AND_PG,
    ),
    Shape(
        "unique texts and binaries",
        one(title=TextField(unique=True), data=peewee.BlobField(unique=True)),
        mariadb_only=True,
    ),
    Shape(
        "the beginning of a text in keys",
        raw(
            "CREATE INDEX raw_start ON things (title(20), n)",
            "CREATE UNIQUE INDEX raw_unique ON things (title(30))",
            "CREATE FULLTEXT INDEX raw_words ON things (title)",
            title=TextField(),
            n=IntegerField(),
        ),
        MARIA,
    ),
    Shape(
        "an index by hash",
        indexed(
            lambda thing: thing.index(thing.a, using="HASH", name="by_hash"),
            a=IntegerField(),
        ),
        ("postgresql", "mysql"),
    ),
    Shape(
        "fields of playhouse.postgres_ext",
        one(
            data=postgres_ext.BinaryJSONField(),
            tags=postgres_ext.ArrayField(CharField, {"max_length": 20}),
            grid=postgres_ext.ArrayField(IntegerField, dimensions=2, index=False),
            words=postgres_ext.TSVectorField(),
            at=postgres_ext.DateTimeTZField(index=True),
            length=postgres_ext.IntervalField(null=True),
        ),
        PG,
    ),
    Shape(
        "arrays of numbers and of truths",
        one(
            shares=postgres_ext.ArrayField(
                peewee.DecimalField,
                {"max_digits": 9, "decimal_places": 2},
                dimensions=2,
            ),
            flags=postgres_ext.ArrayField(
                peewee.BooleanField, constraints=[SQL("DEFAULT '{}'")]
            ),
        ),
        PG,
    ),
    Shape(
        "a foreign key with a DEFAULT and a CHECK",
        _parent_and_child({}, constraints=[SQL("DEFAULT 1 CHECK (up_id > 0)")]),
    ),
    Shape(
        "a foreign key that restricts",
        _parent_and_child({}, on_delete="RESTRICT", on_update="RESTRICT"),
    ),
    Shape(
        "indexes of PostgreSQL's kinds",
        raw(
            "CREATE INDEX raw_brin ON things USING brin (at) WITH (pages_per_range=9)",
            "CREATE INDEX raw_ops ON things (title varchar_pattern_ops)",
            "CREATE INDEX raw_more ON things (title) INCLUDE (at)",
            "CREATE INDEX raw_last ON things (title DESC NULLS LAST)",
            'CREATE INDEX raw_order ON things (title COLLATE "C")',
            "CREATE INDEX raw_words ON things USING gin (to_tsvector('simple', title))",
            title=CharField(80),
            at=DateTimeField(),
        ),
        PG,
    ),
    Shape(
        "numbers, addresses and bits of Peewee",
        one(
            stamp=peewee.TimestampField(),
            address=peewee.IPField(),
            flags=peewee.BitField(),
            bits=peewee.BigBitField(),
            number=peewee.BigIntegerField(unique=True),
            short=peewee.SmallIntegerField(null=True, index=True),
            key=peewee.BinaryUUIDField(unique=True),
        ),
    ),
    Shape(
        "a storage engine without transactions",
        with_meta(
            {
                "table_settings": ["ENGINE=myisam"],
                "indexes": ((("a", "b"), True),),
                "constraints": [SQL("CONSTRAINT positive CHECK (a > 0)")],
            },
            a=IntegerField(index=True),
            b=CharField(9, constraints=[SQL("DEFAULT 'x'")]),
        ),
        MARIA,
        notes=(
            _SETTINGS_NOTE,
            "things: MyISAM has no transactions: a statement that fails keeps the rows "
            "that it has written",
        ),
    ),
    Shape(
        "settings of a table of InnoDB",
        with_meta(
            {"table_settings": ["ENGINE=InnoDB", "ROW_FORMAT=COMPRESSED"]},
            a=IntegerField(index=True),
        ),
        MARIA,
        notes=(_SETTINGS_NOTE,),
    ),
    Shape(
        "types of MariaDB",
        types(
            a="LONGTEXT",
            b="MEDIUMBLOB",
            c="TINYINT",
            d="ENUM('a','b''c')",
            e="SET('x','y')",
            f="BIT(3)",
            g="YEAR",
            h="TIMESTAMP(3)",
            i="INT UNSIGNED",
            j="DOUBLE(9,3)",
            k="DATETIME(6)",
            l="VARBINARY(20)",
            m="TINYTEXT",
            n="TIME(3)",
        ),
        MARIA,
    ),
    Shape(
        "types of PostgreSQL",
        types(
            a="MONEY",
            b="INET",
            c="INT4RANGE",
            d="BIT(3)",
            e="TIME WITH TIME ZONE",
            f="INTERVAL DAY TO SECOND(2)",
            g="NUMERIC(9,2)[][]",
            h="POINT",
            i="VARCHAR",
            j="NAME",
            k="TSQUERY",
            l="TIMESTAMPTZ(3)",
            m="CHAR(3)[]",
            n="FLOAT(10)",
        ),
        PG,
    ),
    Shape(
        "types of SQLite",
        types(a="ANY", b="UNSIGNED BIG INT", c="CLOB", d="NUMBER(9, 2)", e="MONEY"),
        ("sqlite",),
    ),
    Shape("a text without a length", one(word=CharField(None)), LITE_AND_PG),
    Shape(
        "an identity column",
        one(id=peewee.IdentityField(), word=CharField(9)),
        PG,
    ),
    Shape(
        "a column without a type", one(word=peewee.BareField(null=True)), ("sqlite",)
    ),
]
