"""Phases: supported and unsupported models, names, the log and the command."""

import logging
import subprocess
import sys
from pathlib import Path

import another_phase
import peewee
import pytest
from another_phase import Article, Depot, Line, Movement, Order
from engines.worlds import SQLite
from oracle import definitions
from peewee import SQL, Check
from playhouse.postgres_ext import ArrayField
from playhouse.sqlite_ext import FTSModel

import db
from db.fields import DefaultUtcNow, RenamedFrom, UniqueConstraint
from migrations.errors import MigrationError, UnsupportedModel
from migrations.phase import Phase

ROOT = Path(__file__).parents[1]


def model(name="Thing", base=peewee.Model, meta=(), **fields):
    """Return a model; its key is an AutoField, unless `fields` has another or None."""
    attributes = {
        "id": peewee.AutoField(),
        **fields,
        "Meta": type("Meta", (), {"table_name": "things", **dict(meta)}),
    }
    return type(
        name,
        (base,),
        {key: value for key, value in attributes.items() if value is not None},
    )


def checked(*constraints, **fields):
    return model(
        meta={"constraints": list(constraints)}, amount=peewee.IntegerField(), **fields
    )


def indexed(index, **options):
    thing = model(word=peewee.CharField(20), amount=peewee.IntegerField())
    thing.add_index(index(thing), **options)
    return thing


def refused(*models, requires=()):
    phase = Phase("Test", requires=dict(requires), manages=models)
    with pytest.raises(UnsupportedModel) as refusal:
        phase.check(db.connect("sqlite:///:memory:"))
    return str(refusal.value)


PARENT = model("Parent", meta={"table_name": "parents"}, number=peewee.IntegerField())
UNIQUE_PARENT = model(
    "UniqueParent",
    meta={"table_name": "parents"},
    number=peewee.IntegerField(unique=True),
)


# -- unsupported models


class OddField(peewee.Field):
    field_type = "ODD(1)[]"


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (
            lambda: ArrayField(peewee.CharField, {"max_length": 9}, index=False),
            "Thing.field: the type VARCHAR(9)[] is not supported on SQLite: near "
            '"[]": syntax error',
        ),
        (
            lambda: peewee.DecimalField(3, 4),
            "Thing.field: a decimal of (3, 4) is not supported on SQLite",
        ),
        (
            lambda: peewee.IntegerField(
                constraints=[SQL("DEFAULT 1"), SQL("DEFAULT 2")]
            ),
            "Thing.field: the constraint 'DEFAULT 2' is not supported here; a "
            "field takes one DEFAULT, CHECK (condition), UNIQUE, REFERENCES table "
            "(column), COLLATE name and NOT NULL",
        ),
        (
            lambda: peewee.IntegerField(constraints=[SQL("UNIQUE KEY")]),
            "Thing.field: the constraint 'UNIQUE KEY' is not supported here; a field "
            "takes one DEFAULT, CHECK (condition), UNIQUE, REFERENCES table (column), "
            "COLLATE name and NOT NULL",
        ),
        (
            lambda: peewee.DateField(constraints=[DefaultUtcNow()]),
            "Thing.field: DefaultUtcNow() is for a DateTimeField",
        ),
        (
            lambda: peewee.IntegerField(index=True, index_type="GIN"),
            "Thing: the index thing_field: SQLite has no USING gin; leave out using",
        ),
        (
            lambda: peewee.ForeignKeyField("self", null=True, on_update="explode"),
            "Thing.field: EXPLODE is not an action of a foreign key",
        ),
        (
            lambda: peewee.ForeignKeyField("self", on_delete="SET NULL"),
            "Thing.field: SET NULL needs null=True",
        ),
        (
            lambda: peewee.ForeignKeyField(PARENT),
            "Thing.field: it refers to Parent, which the phase neither requires "
            "nor manages",
        ),
        (
            lambda: peewee.DeferredForeignKey("NeverMade", null=True),
            "Thing: field refers to a model 'nevermade', which was never defined",
        ),
    ],
)
def test_unsupported_field_is_refused_by_name(field, message):
    assert refused(model(field=field())) == message


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: model(id=None, meta={"primary_key": False}),
            "Thing: it has no fields, and a table needs a column",
        ),
        (
            lambda: model(id=peewee.AutoField(sequence="counter")),
            "Thing.id: sequence is not supported on SQLite; use AutoField(), which "
            "takes a sequence that the table has as it is",
        ),
        (
            lambda: checked(SQL("CHECK (amount > 0) NO INHERIT")),
            "Thing: the constraint 'CHECK (amount > 0) NO INHERIT' is not supported; "
            'write UniqueConstraint(name, *columns), SQL("CONSTRAINT name CHECK '
            '(condition)") or Check("condition")',
        ),
        (
            lambda: checked(SQL("FOREIGN KEY (amount) REFERENCES others (id)")),
            "Thing: FOREIGN KEY (amount) refers to others, which the phase neither "
            "requires nor manages",
        ),
        (
            lambda: checked(UniqueConstraint("unique_things", "price")),
            "Thing: unique_things has no column price",
        ),
        (
            lambda: checked(UniqueConstraint("unique_things")),
            "Thing: unique_things has no columns",
        ),
        (
            lambda: checked(
                SQL("CONSTRAINT twice CHECK (amount > 0)"),
                SQL("CONSTRAINT twice CHECK (amount < 9)"),
            ),
            "the name twice is given twice on SQLite; rename or remove one of the two",
        ),
        (
            lambda: indexed(lambda thing: thing.word, using="HASH", name="hashed"),
            "Thing: the index hashed: SQLite has no USING hash; leave out using",
        ),
        (
            lambda: indexed(
                lambda thing: SQL("CREATE INDEX raw ON things (word) INCLUDE (id)")
            ),
            "Thing: the index raw: SQLite has no INCLUDE (id); leave it out",
        ),
        (
            lambda: indexed(lambda thing: SQL("CREATE INDEX raw ON other (word)")),
            "Thing: the index raw is one of another table, other",
        ),
        (
            lambda: indexed(lambda thing: SQL("REINDEX things")),
            "Thing: the index 'REINDEX things' cannot be read; write SQL('CREATE "
            "INDEX name ON table (columns)')",
        ),
        (
            lambda: indexed(lambda thing: thing.word, name="THINGS"),
            "the name things is given twice on SQLite; rename or remove one of the "
            "two\nthe name THINGS is given twice on SQLite; rename or remove one "
            "of the two",
        ),
        (
            lambda: model(meta={"table_name": "SQLite_things"}),
            "Thing: the name 'SQLite_things' is reserved for SQLite itself; use "
            "one that begins otherwise",
        ),
        (
            lambda: model(One=peewee.IntegerField(), one=peewee.IntegerField()),
            "Thing: two columns are named one on SQLite, which ignores the case; "
            "rename one of them",
        ),
        *(
            (
                lambda what=what, value=value: model(meta={what: value}),
                f"Thing: Meta.{what} is not supported on SQLite; {advice}",
            )
            for what, value, advice in (
                ("schema", "other", "remove it, and name the database in the URL"),
                ("options", {"a": "b"}, "it is for virtual tables; remove it"),
            )
        ),
        (
            lambda: model(meta={"temporary": True}),
            "Thing: a temporary table is gone with its connection; remove "
            "Meta.temporary",
        ),
        (
            lambda: model(base=FTSModel, id=None),
            "Thing: a virtual table (USING FTS4) is not supported; create it apart "
            "from the phase",
        ),
        (
            lambda: model(
                amount=peewee.TextField(),
                price=peewee.TextField(constraints=[RenamedFrom("amount")]),
            ),
            "Thing: price is renamed from amount, which is a column all the same",
        ),
        (
            lambda: model(
                cost=peewee.TextField(constraints=[RenamedFrom("amount")]),
                price=peewee.TextField(constraints=[RenamedFrom("amount")]),
            ),
            "Thing: two columns are renamed from amount",
        ),
        (
            lambda: checked(RenamedFrom("things")),
            "Thing: it is renamed from things, which is a table all the same",
        ),
        (
            lambda: model(meta={"indexes": ((("wrod",), True),)}),
            "Thing: Meta.indexes names the unknown field 'wrod'; it has id",
        ),
    ],
)
def test_unsupported_model_is_refused_by_name(make, message):
    assert refused(make()) == message


def test_all_unsupported_parts_are_named_in_one_error():
    text = refused(
        model(one=OddField(), two=peewee.DecimalField(3, 4)),
        model("Other", meta={"table_name": "others", "options": {"a": "b"}}),
    )
    assert all(part in text for part in ("Thing.one", "Thing.two", "Other: Meta"))


def test_required_column_that_no_model_has_is_refused():
    assert "Depot has no column city" in refused(
        Order, requires={Depot: ("code", "city")}
    )


def test_two_models_of_one_table_are_refused():
    assert refused(model("One"), model("Two")) == (
        "the name things is given twice, by One and Two; manage only one of them, or "
        "rename a table"
    )


def test_two_indexes_of_one_name_are_refused():
    one, two = (
        model("One", meta={"table_name": "ones"}),
        model("Two", meta={"table_name": "twos"}),
    )
    one.add_index(one.id, name="by_id")
    two.add_index(two.id, name="by_id")
    assert "by_id is given twice" in refused(one, two)


def test_model_both_required_and_managed_is_refused():
    assert "Depot is both required and managed" in refused(Depot, requires={Depot: ()})


def test_foreign_key_to_a_column_without_a_key_is_refused():
    child = model(
        "Child",
        meta={"table_name": "children"},
        parent=peewee.ForeignKeyField(PARENT, field="number"),
    )
    assert "Child.parent: it refers to Parent.number, which is not a key" in refused(
        PARENT, child
    )


def test_unsupported_model_is_a_migration_error_and_a_value_error():
    assert issubclass(UnsupportedModel, MigrationError)
    assert issubclass(UnsupportedModel, ValueError)


# -- supported models


@pytest.mark.parametrize(
    "managed",
    [
        [Line, Movement, Order, Article],
        [Article, Order, Line, Movement],
        [Order, Line, Article, Movement],
        [Movement, Line, Article, Order],
    ],
)
def test_every_order_of_the_models_gives_the_same_tables(tmp_path, managed):
    words = []
    for number, order in enumerate((managed, [Article, Order, Line, Movement])):
        world = SQLite(tmp_path / f"{number}.db")
        world.execute("CREATE TABLE depots (code VARCHAR(12) PRIMARY KEY)")
        phase = Phase("Warehouse", requires={Depot: ()}, manages=order)
        assert phase.run(db.connect(world.url)).status == "migrated"
        words.append(definitions(world))
        assert len(phase.rollback(db.connect(world.url)).changes) == 4
        world.drop()
    assert words[0] == words[1]


def test_phase_without_required_models_is_accepted(tmp_path):
    world = SQLite(tmp_path / "app.db")
    phase = Phase("Depots", requires={}, manages=[Depot])
    assert phase.run(db.connect(world.url)).row_counts == {"depots": 0}
    assert phase.run(db.connect(world.url)).status == "up_to_date"


def test_generator_of_models_is_accepted(tmp_path):
    phase = Phase("Depots", requires={}, manages=(each for each in [Depot]))
    SQLite(tmp_path / "app.db").drop()
    assert phase.ensure(db.connect(f"sqlite:///{tmp_path}/app.db")) is True
    assert phase.ensure(db.connect(f"sqlite:///{tmp_path}/app.db")) is False


@pytest.mark.parametrize(
    "make",
    [
        lambda: checked(SQL("CONSTRAINT positive CHECK (amount > 0)")),
        lambda: checked(Check("amount > 0", name="positive")),
        lambda: checked(UniqueConstraint("unique_things", "amount", "id")),
        lambda: model(field=peewee.IntegerField(constraints=[SQL("DEFAULT -1")])),
        lambda: model(
            field=peewee.DecimalField(5, 2, constraints=[SQL("DEFAULT 1.5")])
        ),
        lambda: model(
            field=peewee.CharField(9, constraints=[SQL("default '100% o''clock'")])
        ),
        lambda: model(field=peewee.BooleanField(constraints=[SQL("DEFAULT FALSE")])),
        lambda: model(field=peewee.IntegerField(column_name="f" * 63)),
        lambda: model(
            field=peewee.ForeignKeyField(
                "self", null=True, on_delete="set null", constraint_name="up"
            )
        ),
        lambda: model(
            id=peewee.ForeignKeyField(Depot, primary_key=True, column_name="code")
        ),
        lambda: model(
            "Child", parent=peewee.ForeignKeyField(UNIQUE_PARENT, field="number")
        ),
    ],
)
def test_supported_model_is_created_and_found_complete(tmp_path, make):
    world, thing = SQLite(tmp_path / "app.db"), make()
    parents = {field.rel_model for field in thing._meta.refs} - {thing}
    phase = Phase("Test", requires={}, manages=[*parents, thing])
    assert phase.run(db.connect(world.url)).status == "migrated"
    report = phase.run(db.connect(world.url))
    assert (report.status, report.differences) == ("up_to_date", ())


# -- names, log and command


def test_phase_names_its_tables():
    assert another_phase.phase.tables == "order_lines, movements, order, articles"
    assert (
        repr(another_phase.phase)
        == "<Phase('Warehouse', manages=order_lines, movements, order, articles)>"
    )


def test_log_begins_with_the_title(tmp_path, caplog):
    SQLite(tmp_path / "app.db").drop()
    with caplog.at_level(logging.INFO, logger="migrations"):
        Phase("Depots", requires={}, manages=[Depot]).run(
            db.connect(f"sqlite:///{tmp_path}/app.db")
        )
    first = caplog.records[0].getMessage()
    assert all(part in first for part in ("Depots", "depots", "app.db"))


def run(tmp_path, *arguments):
    command = [
        sys.executable,
        "-m",
        "another_phase",
        "--database",
        f"sqlite:///{tmp_path}/app.db",
        *arguments,
    ]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": ""}
    return subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_module_of_a_phase_is_its_command(tmp_path):
    SQLite(tmp_path / "app.db").execute(
        "CREATE TABLE depots (code VARCHAR(12) PRIMARY KEY, place VARCHAR(80))"
    )
    assert run(tmp_path, "--check").returncode == 1
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Warehouse" in done.stderr
    assert run(tmp_path, "--check").returncode == 0
    assert "Traceback" not in run(tmp_path, "--rollback").stderr


def test_help_of_a_phase_names_the_managed_tables(tmp_path):
    text = " ".join(run(tmp_path, "--help").stdout.split())
    assert "Warehouse: create or repair order_lines, movements, order, articles" in text
    assert "python -m another_phase" in text


def test_model_changed_after_the_phase_was_made_is_read_as_it_is(tmp_path):
    thing = model(amount=peewee.IntegerField())
    phase = Phase("Things", requires={}, manages=[thing])
    thing._meta.set_table_name("shop_things")  # a prefix from the settings
    world = SQLite(tmp_path / "shop.db")
    assert phase.ensure(db.connect(world.url)) is True
    assert list(definitions(world)) == ["shop_things"]


def test_new_phase_reads_a_model_again(tmp_path):
    thing = model(amount=peewee.IntegerField())
    world = SQLite(tmp_path / "shop.db")
    database = db.connect(world.url)
    Phase("Things", requires={}, manages=[thing]).ensure(database)

    thing._meta.add_field("note", peewee.TextField(null=True))
    assert Phase("Things", requires={}, manages=[thing]).ensure(database) is True
    assert "note ['TEXT', 0, None, 0, 0]" in definitions(world)["things"]

    thing._meta.set_table_name("things_2027")
    assert Phase("Things", requires={}, manages=[thing]).ensure(database) is True
    assert set(definitions(world)) == {"things", "things_2027"}
