"""CHECK constraints without a name, DEFAULTs of any kind, collations: with rows."""

import peewee
import pytest
from engines.shapes import model
from oracle import definitions
from peewee import (
    SQL,
    BooleanField,
    CharField,
    Check,
    DateField,
    DateTimeField,
    DecimalField,
    IntegerField,
    SmallIntegerField,
    UUIDField,
)
from states import ENGINES

import db
from migrations.errors import ChangeRefused, MigrationError
from migrations.phase import Phase

pytestmark = pytest.mark.parametrize("engine", ENGINES)
PLAIN = model(word=CharField(9))


def phase_of(*models):
    return Phase("Things", requires={}, manages=models)


@pytest.fixture
def target(world, engine):
    """A database with the table of PLAIN, and two rows."""
    made = world(engine)
    made.clear()
    phase_of(PLAIN).ensure(db.connect(made.url))
    made.execute("INSERT INTO things (word) VALUES ('a'), ('b')")
    return made


def assert_complete(target, made):
    report = phase_of(made).check(db.connect(target.url))
    assert (report.status, report.differences) == ("up_to_date", ())


CHECKED = model(word=CharField(9), meta={"constraints": [Check("word <> 'x'")]})


def test_check_without_a_name_is_added_once(target):
    report = phase_of(CHECKED).run(db.connect(target.url))
    assert report.status == "migrated"
    assert [each.object for each in report.repaired] == ["things"]
    assert_complete(target, CHECKED)
    with pytest.raises(Exception, match=r"(?i)check|constraint"):
        target.execute("INSERT INTO things (word) VALUES ('x')")


def test_rows_that_violate_a_check_without_a_name_are_shown(target):
    target.execute("INSERT INTO things (word) VALUES ('x')")
    with pytest.raises(ChangeRefused, match=r"CHECK \(word <> 'x'\).* 1 row \(id 3\)"):
        phase_of(CHECKED).run(db.connect(target.url))


def test_other_check_is_reported_and_stays(target):
    target.execute("ALTER TABLE things ADD COLUMN n INTEGER CHECK (n <> 7)")
    report = phase_of(CHECKED).run(db.connect(target.url))
    warnings = [each for each in report.differences if each.severity == "warning"]
    assert ["7" in each.actual for each in warnings] == [True]


def test_column_is_added_with_its_default_and_check(target):
    added = model(
        word=CharField(9),
        n=IntegerField(constraints=[SQL("DEFAULT 5"), Check("n > 1")]),
    )
    report = phase_of(added).run(db.connect(target.url))
    assert report.status == "migrated"
    assert target.query("SELECT n FROM things") == [(5,), (5,)]
    assert_complete(target, added)
    with pytest.raises(Exception, match=r"(?i)check|constraint"):
        target.execute("INSERT INTO things (word, n) VALUES ('y', 0)")


def test_column_whose_default_violates_its_check_is_refused(target):
    added = model(
        word=CharField(9),
        n=IntegerField(constraints=[SQL("DEFAULT 1"), Check("n > 1")]),
    )
    before = target.dump()
    with pytest.raises(ChangeRefused, match="rows conflict with the change"):
        phase_of(added).run(db.connect(target.url))
    assert target.dump() == before


def test_column_with_an_expression_for_a_default_is_added(target):
    added = model(
        word=CharField(9),
        n=IntegerField(constraints=[SQL("DEFAULT (40 + 2)")]),
        at=DateTimeField(constraints=[SQL("DEFAULT CURRENT_TIMESTAMP")]),
    )
    assert phase_of(added).run(db.connect(target.url)).status == "migrated"
    assert target.query("SELECT n FROM things") == [(42,), (42,)]
    assert_complete(target, added)


def test_other_expression_is_replaced(target):
    first, second = (
        model(
            word=CharField(9), n=IntegerField(constraints=[SQL(f"DEFAULT ({value})")])
        )
        for value in ("40 + 2", "40 + 3")
    )
    phase_of(first).run(db.connect(target.url))
    report = phase_of(second).run(db.connect(target.url))
    assert [each.object for each in report.repaired] == ["things.n"]
    assert_complete(target, second)
    target.execute("INSERT INTO things (word) VALUES ('c')")
    assert target.query("SELECT n FROM things ORDER BY id")[-1] == (43,)


def test_plan_of_a_check_blocks_no_writes_on_postgresql(target, engine):
    if engine != "postgresql":
        pytest.skip("the others block writes")
    report = phase_of(CHECKED).run(db.connect(target.url))
    assert [each.description for each in report.changes] == [
        "add the check things_check",
        "validate the check things_check",
    ]
    assert {each.blocks for each in report.changes} == {None}


IGNORING_CASE = {"sqlite": "NOCASE", "mysql": "utf8mb4_unicode_ci"}
EXACT = {"sqlite": "BINARY", "postgresql": '"C"', "mysql": "utf8mb4_bin"}


def collated(collation):
    return model(word=CharField(9, collation=collation, unique=True))


def test_collation_is_changed_with_the_rows(target, engine):
    exact = collated(EXACT[engine.partition(" ")[0]])
    report = phase_of(exact).run(db.connect(target.url))
    assert "things.word" in [each.object for each in report.repaired]
    assert_complete(target, exact)
    assert target.query("SELECT word FROM things ORDER BY id") == [("a",), ("b",)]
    assert phase_of(exact).run(db.connect(target.url)).status == "up_to_date"


def test_rows_that_a_collation_makes_equal_are_shown(target, engine):
    if engine not in IGNORING_CASE:
        pytest.skip("PostgreSQL has no such collation from the start")
    phase_of(collated(EXACT[engine])).run(db.connect(target.url))
    target.execute("INSERT INTO things (word) VALUES ('A')")
    with pytest.raises(ChangeRefused, match="rows that become equal.* 2 rows"):
        phase_of(collated(IGNORING_CASE[engine])).run(db.connect(target.url))
    target.execute("DELETE FROM things WHERE id = 3")
    ignoring = collated(IGNORING_CASE[engine])
    assert phase_of(ignoring).run(db.connect(target.url)).status == "migrated"
    assert_complete(target, ignoring)
    with pytest.raises(Exception, match="(?i)unique|duplicate"):
        target.execute("INSERT INTO things (word) VALUES ('A')")


# -- DEFAULTs that are no value of their column


def made_by_peewee(target, made):
    """Return the definitions of Peewee's table, or None if it takes no DEFAULT."""
    database = db.connect(target.url)
    try:
        with database.bind_ctx([made]), database.connection_context():
            database.create_tables([made])
            made.insert(word="a").execute()
        return definitions(target)
    except peewee.DatabaseError:
        return None
    finally:
        target.execute("DROP TABLE IF EXISTS things")


@pytest.mark.parametrize(
    ("field", "default"),
    [
        (IntegerField, "'seven'"),
        (IntegerField, "'7 apples'"),
        (IntegerField, "99999999999"),
        (IntegerField, "'12.5'"),
        (IntegerField, "-0.4"),
        (IntegerField, "12.5"),
        (SmallIntegerField, "70000"),
        (BooleanField, "'maybe'"),
        (lambda **options: DecimalField(4, 2, **options), "12345.6"),
        (lambda **options: DecimalField(4, 2, **options), "99.996"),
        (lambda **options: DecimalField(4, 2, **options), "1.005"),
        (lambda **options: CharField(3, **options), "'long'"),
        (DateField, "'2024-02-30'"),
        (UUIDField, "'x'"),
    ],
)
def test_default_is_refused_where_no_row_can_have_it(target, field, default):
    made = model(word=CharField(9), n=field(constraints=[SQL(f"DEFAULT {default}")]))
    target.execute("DROP TABLE things")
    by_peewee = made_by_peewee(target, made)
    phase = phase_of(made)
    if by_peewee is None:
        with pytest.raises(MigrationError, match=r"\.n: .*DEFAULT|'n'"):
            phase.check(db.connect(target.url))
        return
    phase.run(db.connect(target.url))
    assert definitions(target) == by_peewee
    assert_complete(target, made)
