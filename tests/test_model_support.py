"""What a server supports of a model, as far as no server is needed to tell."""

from types import SimpleNamespace

import peewee
import pytest

import db
from migrations import phase_4_5
from migrations.engines import engine_for
from migrations.engines.mysql.column_types import parse_type
from migrations.engines.mysql.mariadb.model_support import MariaDBModelSupport
from migrations.engines.mysql.mysql.model_support import MySQLModelSupport
from migrations.index_text import parse_create_index
from migrations.schema import Check, ForeignKey, Index, NameRule, Table

INDEX = "CREATE {} INDEX i ON things {} ({}) {}"


class Thing(peewee.Model):
    word = peewee.TextField(unique=True)
    data = peewee.BlobField()
    text = peewee.CharField(9)
    number = peewee.IntegerField()

    class Meta:
        table_name = "things"


def index(kind="", method="", part="word", end=""):
    text = parse_create_index(INDEX.format(kind, method, part, end))
    assert text is not None
    return text


def field_of(field):
    """Return a field of a model of its own."""
    return type("Thing", (peewee.Model,), {"a": field}).a


@pytest.fixture(params=["MariaDB", "MySQL"])
def family(request):
    """What MariaDB and MySQL support."""
    session = SimpleNamespace(
        product=request.param, database=peewee.MySQLDatabase("shop")
    )
    catalog = SimpleNamespace(
        session=session,
        models=phase_4_5.phase.models,
        names=NameRule.IGNORE_CASE,
        parse_type=parse_type,
        declared_type=parse_type,
    )
    classes = {"MariaDB": MariaDBModelSupport, "MySQL": MySQLModelSupport}
    return classes[request.param](catalog)


@pytest.fixture
def postgresql():
    database = db.connect("postgresql://host/shop")
    return engine_for(database, phase_4_5.phase.models, 1.0).model_support


# -- MariaDB and MySQL


@pytest.mark.drivers("mysql")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (index(), None),
        (index("UNIQUE", "USING HASH", "word(10) DESC"), None),
        (index("FULLTEXT"), None),
        (index(end="WHERE word > 'a'"), "{} has no partial indexes; leave out where"),
        (index(end="INCLUDE (id)"), "{} has no INCLUDE (id); leave it out"),
        (index(method="USING gin"), "{} has no USING gin; leave out using"),
    ],
)
def test_index_on_mariadb_and_mysql(family, text, problem):
    expected = [problem.format(family.product)] if problem else []
    assert list(family.problems_of_index(text)) == expected


@pytest.mark.drivers("mysql")
def test_expression_index_on_mariadb_and_mysql(family):
    expected = []
    if family.product == "MariaDB":
        expected = [
            "MariaDB has no expression indexes, such as (lower(word)); "
            "index a generated column, or a column with that value"
        ]
    assert list(family.problems_of_index(index(part="lower(word)"))) == expected


@pytest.mark.drivers("mysql")
@pytest.mark.parametrize(
    ("field", "key", "problem"),
    [
        (Thing.text, "the primary key", ""),
        (Thing.number, "i", ""),
        (
            Thing.word,
            "the primary key",
            "TEXT has no length for a key on {}; use CharField(n)",
        ),
        (
            Thing.data,
            "i",
            "BLOB has no length for a key on {}; use CharField(n), or an index of its "
            "beginning in Meta.indexes: "
            "SQL('CREATE INDEX name ON things (data(100))')",
        ),
    ],
)
def test_column_of_a_key_on_mariadb_and_mysql(family, field, key, problem):
    expected = problem.format(family.product)
    assert family.problem_of_key_column(field, key) == expected


@pytest.mark.drivers("mysql")
def test_text_of_any_length_may_be_unique_on_mariadb(family):
    problem = family.problem_of_key_column(Thing.word, "thing_word")
    assert bool(problem) == (family.product == "MySQL")


@pytest.mark.drivers("mysql")
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("n" * 64, ""),
        ("é" * 64, ""),
        ("n" * 65, "has 65 characters, and {} allows 64; give it a shorter one"),
        ("name ", "ends with a blank, which {} does not allow"),
        ("na me", ""),
    ],
)
def test_name_on_mariadb_and_mysql(family, name, problem):
    assert family.problem_of_name(name) == problem.format(family.product)


@pytest.mark.drivers("mysql")
def test_text_without_a_length_on_mariadb_and_mysql(family):
    field = field_of(peewee.CharField(max_length=None))
    assert list(family.problems_of_type(field)) == [
        f"it needs a length on {family.product}; use CharField(n)"
    ]


@pytest.mark.drivers("mysql")
@pytest.mark.parametrize(
    ("digits", "places", "supported"),
    [(65, 30, True), (66, 2, False), (5, 5, True), (5, 6, False), (5, 0, True)],
)
def test_decimal_on_mariadb_and_mysql(family, digits, places, supported):
    field = field_of(peewee.DecimalField(digits, places))
    problem = f"a decimal of {digits, places} is not supported on {family.product}"
    expected = [] if supported else [problem]
    assert list(family.problems_of_type(field)) == expected


@pytest.mark.drivers("mysql")
def test_names_that_must_differ_on_mariadb_and_mysql(family):
    one = Table(
        "one",
        indexes=(Index("i", ("a",)), Index("f", ("b",)), Index("same", ("a",))),
        checks=(Check("c", "1"),),
        foreign_keys=(
            ForeignKey(("a",), "p", ("id",), name="f"),
            ForeignKey(("a",), "p", ("id",), name="same"),
            ForeignKey(("a",), "p", ("id",)),
        ),
    )
    assert list(family.exclusive_names([one, Table("two")])) == [
        ["i", "f", "same", "f"],
        ["c"],
        [],
        [],
        ["f", "same"],
    ]


# -- PostgreSQL


@pytest.mark.drivers("postgresql")
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("n" * 63, ""),
        (
            "n" * 64,
            "has 64 bytes, and PostgreSQL would cut it after 63; give it a shorter one",
        ),
        (
            "é" * 32,
            "has 64 bytes, and PostgreSQL would cut it after 63; give it a shorter one",
        ),
    ],
)
def test_name_on_postgresql(postgresql, name, problem):
    assert postgresql.problem_of_name(name) == problem


@pytest.mark.drivers("postgresql")
@pytest.mark.parametrize(
    ("kind", "problems"),
    [
        ("UNIQUE", []),
        ("", []),
        ("FULLTEXT", ["PostgreSQL has no FULLTEXT index; use USING gin or gist"]),
    ],
)
def test_kind_of_an_index_on_postgresql(postgresql, kind, problems):
    assert list(postgresql.problems_of_index(index(kind))) == problems


@pytest.mark.drivers("postgresql")
@pytest.mark.parametrize(
    ("field", "default", "is_refused"),
    [
        (peewee.BooleanField, "TRUE", False),
        (peewee.BooleanField, "0", True),
        (peewee.BooleanField, "NULL", False),
        (peewee.IntegerField, "false", True),
        (peewee.IntegerField, "1", False),
        (peewee.IntegerField, "length('a')", False),
    ],
)
def test_default_of_a_boolean_on_postgresql(postgresql, field, default, is_refused):
    made = field_of(field(constraints=[peewee.SQL(f"DEFAULT {default}")]))
    problem = (
        "TRUE and FALSE are the DEFAULT of a BooleanField on PostgreSQL, and of no "
        "other"
    )
    expected = [problem] if is_refused else []
    assert list(postgresql.problems_of_field_constraints(made)) == expected


@pytest.mark.drivers("postgresql")
def test_json_is_no_key_on_postgresql(postgresql):
    json_field = peewee.Field()
    json_field.field_type = "json"
    made = field_of(json_field)
    problem = "JSON cannot be compared; use JSONB"
    assert postgresql.problem_of_key_column(made, "i") == problem
    assert postgresql.problem_of_key_column(Thing.text, "i") == ""


@pytest.mark.drivers("postgresql")
def test_models_of_two_schemas_on_postgresql(postgresql):
    other = type("Other", (Thing,), {"Meta": type("Meta", (), {"schema": "app"})})
    assert list(postgresql.problems_of_options(other, Table("things"))) == [
        "Meta.schema is 'app', and that of another managed model is ''; "
        "make a phase for each schema"
    ]


@pytest.mark.drivers("postgresql")
def test_names_that_must_differ_on_postgresql(postgresql):
    one = Table(
        "one",
        indexes=(
            Index("i", ("a",)),
            Index("u", ("b",), unique=True, is_constraint=True),
        ),
        checks=(Check("c", "1"),),
        foreign_keys=(
            ForeignKey(("a",), "p", ("id",), name="f"),
            ForeignKey(("a",), "p", ("id",)),
        ),
    )
    assert list(postgresql.exclusive_names([one, Table("two")])) == [
        ["c", "f", "u"],
        [],
        ["one", "i", "u", "two"],
    ]
