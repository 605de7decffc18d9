"""Partial and expression indexes, and types that the project does not know."""

import peewee
import pytest
from engines.shapes import model
from engines.shapes_by_database import LITE_AND_PG
from peewee import SQL, CharField, IntegerField, TextField
from playhouse import postgres_ext
from states import ENGINES

import db
from db.fields import RenamedFrom
from migrations.errors import ChangeRefused, UnsupportedModel
from migrations.phase import Phase


def thing(*statements, **fields):
    """Return a model of two columns with indexes that are written as SQL."""
    fields = fields or {"a": IntegerField(), "title": CharField(40)}
    return model(meta={"indexes": [SQL(each) for each in statements]}, **fields)


@pytest.fixture
def tables(world):
    """Return a function that creates tables of a model, and their phase."""

    def make(engine, made, *statements):
        target = world(engine)
        target.clear()
        columns = "id integer primary key, a integer not null, title varchar(40)"
        target.execute(f"CREATE TABLE things ({columns} not null)", *statements)
        phase = Phase("Things", requires={}, manages=[made])
        return target, phase, db.connect(target.url)

    return make


UNIQUE = "CREATE UNIQUE INDEX live ON things (lower(title)) WHERE a > 0"
PARTIAL = "CREATE INDEX part ON things (title) WHERE a > 0 AND title <> 'A b'"
NOTATIONS = {
    "the same": (PARTIAL, PARTIAL),
    "letter case, blanks, quotes, parentheses": (
        PARTIAL,
        'create index "part" on things("title") WHERE ((A>0) and (title <> \'A b\'))',
    ),
    "the usual direction": (
        "CREATE INDEX part ON things (title ASC) WHERE a > 0",
        "CREATE INDEX part ON things (title) WHERE a > 0",
    ),
}
OTHERS = {
    "another value": PARTIAL.replace("0", "1"),
    "a value in another case": PARTIAL.replace("'A b'", "'a b'"),
    "other parentheses": (
        "CREATE INDEX part ON things (title) WHERE a > 0 AND (title <> 'x' OR a = 5)",
        "CREATE INDEX part ON things (title) WHERE (a > 0 AND title <> 'x') OR a = 5",
    ),
    "no condition": "CREATE INDEX part ON things (title)",
    "another direction": PARTIAL.replace("(title)", "(title DESC)"),
    "unique": PARTIAL.replace("INDEX", "UNIQUE INDEX"),
    "an expression": PARTIAL.replace("(title)", "(lower(title))"),
    "one column more": PARTIAL.replace("(title)", "(title, a)"),
}
IDS = pytest.mark.parametrize("engine", LITE_AND_PG)


@IDS
@pytest.mark.parametrize("notation", NOTATIONS)
def test_index_in_another_notation_is_the_same(tables, engine, notation):
    declared, existing = NOTATIONS[notation]
    _, phase, database = tables(engine, thing(declared), existing)
    differences = phase.check(database).differences
    assert [each for each in differences if "part" in each.object] == []


@IDS
@pytest.mark.parametrize("other", OTHERS)
def test_another_index_of_its_name_is_replaced(tables, engine, other):
    declared, existing = PARTIAL, OTHERS[other]
    if isinstance(existing, tuple):
        declared, existing = existing
    target, phase, database = tables(engine, thing(declared), existing)
    target.execute("INSERT INTO things (id, a, title) VALUES (1, 1, 'one')")
    report = phase.run(database, smoke_test=False)
    assert "things.part" in [each.object for each in report.repaired]
    assert phase.check(database).status == "up_to_date"


@IDS
def test_index_under_another_name_is_accepted(tables, engine):
    existing = PARTIAL.replace("part", "other")
    _, phase, database = tables(engine, thing(PARTIAL), existing)
    phase.run(database, smoke_test=False)
    (note,) = phase.check(database).differences
    assert note.message == (
        "things.part: other is equivalent and is accepted in its place"
    )


@IDS
def test_unique_index_under_another_name_is_accepted(tables, engine):
    declared = "CREATE UNIQUE INDEX part ON things (title) WHERE a > 0"
    existing = declared.replace("part", "other")
    _, phase, database = tables(engine, thing(declared), existing)
    phase.run(database, smoke_test=False)
    differences = phase.check(database).differences
    assert [each.severity for each in differences] == ["note"]


def test_index_is_compared_without_the_right_to_create_temporary_tables(
    world, role, tables
):
    made = thing(UNIQUE, PARTIAL, "CREATE INDEX down ON things (title DESC, (a + 1))")
    target, phase, database = tables("postgresql", made)
    phase.run(database, smoke_test=False)
    url = role(target, "ALL ON things", "ALL ON things_id_seq")
    target.execute(f"REVOKE TEMPORARY ON DATABASE {target.name} FROM PUBLIC")
    try:
        assert phase.check(db.connect(url)).differences == ()
    finally:
        target.execute(f"GRANT TEMPORARY ON DATABASE {target.name} TO PUBLIC")


@IDS
def test_special_indexes_follow_a_renamed_column(tables, engine):
    target, phase, database = tables(engine, thing(UNIQUE, PARTIAL))
    phase.run(database, smoke_test=False)
    statements = [each.replace("title", "label") for each in (UNIQUE, PARTIAL)]
    label = CharField(40, constraints=[RenamedFrom("title")])
    renamed = thing(*statements, a=IntegerField(), label=label)
    phase = Phase("Things", requires={}, manages=[renamed])
    assert len(phase.check(database).changes) == 1
    assert phase.run(database).smoke_test["unique"] is True
    assert phase.check(database).differences == ()


@IDS
def test_duplicates_under_the_condition_are_refused(tables, engine):
    target, phase, database = tables(engine, thing(UNIQUE))
    rows = "(1, 1, 'Tea'), (2, 2, 'tea'), (3, 0, 'TEA'), (4, -1, 'tea')"
    target.execute(f"INSERT INTO things (id, a, title) VALUES {rows}")
    with pytest.raises(ChangeRefused, match=r"things.live.*2 rows \(id 1; id 2\)"):
        phase.check(database)
    target.execute("UPDATE things SET a = 0 WHERE id = 2")
    report = phase.run(database)
    assert report.status == "migrated"
    assert report.smoke_test["unique"] is True


@IDS
def test_values_in_a_condition_are_written_into_it(tables, engine):
    made = thing()
    values = ["it's", 'a "b" 100%', None, 5, 1.5]
    for number, value in enumerate(values):
        part = made.a if isinstance(value, (int, float)) else made.title
        condition = SQL("a > 0") & (part == value)
        made.add_index(made.index(made.a, where=condition, name=f"part_{number}"))
    _, phase, database = tables(engine, made)
    assert phase.run(database).status == "migrated"
    assert phase.check(database).differences == ()


def test_rows_with_null_are_duplicates_where_the_index_says_so(tables):
    fields = {"a": IntegerField(null=True), "title": CharField(40)}
    unique = "CREATE UNIQUE INDEX part ON things (a, lower(title)) NULLS NOT DISTINCT"
    target, phase, database = tables("postgresql", thing(unique, **fields))
    target.execute(
        "ALTER TABLE things ALTER a DROP NOT NULL",
        "INSERT INTO things (id, a, title) VALUES (1, NULL, 'x'), (2, NULL, 'X')",
    )
    with pytest.raises(ChangeRefused, match=r"things.part.*2 rows \(id 1, a None; "):
        phase.check(database)
    target.execute("DELETE FROM things WHERE id = 2")
    phase.run(database)
    assert phase.check(database).differences == ()


@pytest.mark.mariadb_only
@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (UNIQUE, "the index live: MariaDB has no partial indexes; leave out where"),
        (UNIQUE, r"MariaDB has no expression indexes, such as \(lower\(title\)\)"),
        (
            "CREATE INDEX raw ON things USING gin (title)",
            "the index raw: MariaDB has no USING gin; leave out using",
        ),
    ],
)
def test_what_mariadb_lacks_is_refused_with_the_remedy(tables, statement, says, engine):
    _, phase, database = tables(engine, thing(statement))
    with pytest.raises(UnsupportedModel, match=says):
        phase.check(database)


@pytest.mark.mariadb_only
@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"title": TextField(index=True)},
            r"TEXT has no length for a key on MariaDB; use CharField\(n\), or an index "
            r"of its beginning.*CREATE INDEX name ON things \(title\(100\)\)",
        ),
        (
            {"title": TextField(primary_key=True)},
            r"the primary key cannot contain title: TEXT.*use CharField\(n\)$",
        ),
        ({"title": CharField(None)}, r"needs a length on MariaDB; use CharField\(n\)"),
    ],
)
def test_text_without_a_length_is_refused_on_mariadb(tables, fields, says, engine):
    _, phase, database = tables(engine, thing(**fields))
    with pytest.raises(UnsupportedModel, match=says):
        phase.check(database)


@pytest.mark.exhaustive
@pytest.mark.parametrize("engine", ["mysql97"])
def test_expression_indexes_of_mysql_are_compared_and_repaired(tables, engine):
    statements = [
        "CREATE UNIQUE INDEX low ON things ((lower(title)))",
        "CREATE INDEX summed ON things ((a + 1) DESC, title(5))",
        "CREATE INDEX other ON things (((CASE WHEN a > 0 THEN 'x' ELSE title END)))",
    ]
    target, phase, database = tables(engine, thing(*statements), statements[0])
    assert phase.run(database).smoke_test["unique"] is True
    assert phase.check(database).differences == ()
    target.execute("DROP INDEX low ON things", "DROP INDEX other ON things")
    target.execute("CREATE UNIQUE INDEX low ON things ((upper(title)))")
    repaired = [each.object for each in phase.run(database).repaired]
    assert repaired == ["things.low", "things.other"]
    assert phase.check(database).differences == ()


@pytest.mark.exhaustive
@pytest.mark.parametrize("engine", ["mysql97"])
def test_unique_text_is_refused_on_mysql(tables, engine):
    _, phase, database = tables(engine, thing(title=TextField(unique=True)))
    says = r"TEXT has no length for a key on MySQL; use CharField\(n\), or an index"
    with pytest.raises(UnsupportedModel, match=says):
        phase.check(database)


# -- types


@pytest.mark.parametrize("engine", ENGINES)
def test_type_that_is_not_known_is_compared_by_its_name(tables, engine):
    class Odd(peewee.Field):
        field_type = {
            "sqlite": "INET",
            "postgresql": "INET",
            "mysql": "ENUM('a','b')",
        }[engine]

    made = thing(a=IntegerField(), title=CharField(40), odd=Odd(null=True))
    target, phase, database = tables(engine, made)
    assert phase.run(database).status == "migrated"
    assert phase.check(database).differences == ()
    target.query("SELECT odd FROM things")  # this connection reads the schema again
    target.execute("ALTER TABLE things DROP COLUMN odd")
    other = {"mysql": "ENUM('a','c')"}.get(engine, "VARCHAR(40)")
    target.execute(f"ALTER TABLE things ADD COLUMN odd {other}")
    with pytest.raises(ChangeRefused, match="things.odd: expected .*does not convert"):
        phase.check(database)


def test_type_is_looked_up_as_postgresql_stores_it(tables):
    made = thing(
        a=IntegerField(),
        title=CharField(40),
        at=postgres_ext.DateTimeTZField(null=True),
        tags=postgres_ext.ArrayField(TextField, dimensions=2, index=False, null=True),
    )
    columns = "at timestamp(6) with time zone", "tags text[]"
    alter = ", ".join(f"ADD COLUMN {each}" for each in columns)
    _, phase, database = tables("postgresql", made, f"ALTER TABLE things {alter}")
    objects = [each.object for each in phase.check(database).differences]
    assert "things.tags" not in objects


def test_types_and_operators_of_extensions_are_taken(world):
    made = model(
        meta={
            "indexes": [SQL("CREATE INDEX trg ON things USING gin (w gin_trgm_ops)")]
        },
        w=CharField(40),
        data=postgres_ext.HStoreField(),
    )
    target = world("postgresql")
    target.clear()
    extensions = "SELECT name FROM pg_available_extensions"
    if not {("hstore",), ("pg_trgm",)} <= set(target.query(extensions)):
        pytest.skip("the server has neither hstore nor pg_trgm")
    target.execute("CREATE EXTENSION hstore", "CREATE EXTENSION pg_trgm")
    phase = Phase("Things", requires={}, manages=[made])
    database = db.connect(target.url)
    try:
        report = phase.run(database)
        assert (report.status, report.smoke_test["insert"]) == ("migrated", True)
        assert phase.check(database).differences == ()
        values = {"a": 'b "c"', "d": None}
        with database.bind_ctx([made]), database.connection_context():
            made.bulk_insert([{"w": "x", "data": values}])
        stored = target.query("SELECT data -> 'a', data -> 'd' FROM things")
        assert stored == [tuple(values.values())]
        phase.rollback(database, force=True)
    finally:
        target.execute(
            "DROP EXTENSION hstore CASCADE", "DROP EXTENSION pg_trgm CASCADE"
        )


def test_type_of_a_missing_extension_is_refused_by_name(tables):
    made = thing(a=IntegerField(), data=postgres_ext.HStoreField(index=False))
    _, phase, database = tables("postgresql", made)
    with pytest.raises(
        UnsupportedModel, match="data: the type HSTORE is not .*CREATE EXTENSION"
    ):
        phase.check(database)


# -- limits of MariaDB

A_AND_B = {"indexes": ((("a", "b"), False),)}
LIMITS = {
    "a column": (model(a=CharField(70_000)), r"^things.a VARCHAR\(70000\): the server"),
    "a row": (
        model(a=CharField(15_000), b=CharField(14_000), long=peewee.TextField()),
        r"^things.a VARCHAR\(15000\), b VARCHAR\(14000\), id INT.*: Row size",
    ),
    "a key": (
        model(meta=A_AND_B, a=CharField(500), b=CharField(400)),
        r"^things.a VARCHAR\(500\), b VARCHAR\(400\): the server refuses this: Spec",
    ),
    "a primary key": (
        model(
            meta={"primary_key": peewee.CompositeKey("a", "b")},
            a=CharField(500),
            b=CharField(400),
        ),
        r"^things.a VARCHAR\(500\), b VARCHAR\(400\): the server refuses this: Spec",
    ),
    "a column of a key": (
        model(a=CharField(900, index=True)),
        r"^things.a: VARCHAR\(900\) is too long for thing_a; .* at most 768$",
    ),
}


@pytest.mark.mariadb_only
@pytest.mark.parametrize("limit", LIMITS)
def test_what_is_too_long_on_mariadb_is_named_by_a_check(world, limit):
    made, says = LIMITS[limit]
    target = world("mysql")
    target.clear()
    with pytest.raises(ChangeRefused, match=says):
        Phase("Things", requires={}, manages=[made]).check(db.connect(target.url))
