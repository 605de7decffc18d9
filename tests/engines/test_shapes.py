"""Each shape of a model: a phase makes of it what Peewee makes, and keeps it so."""

import pytest
from engines import shapes, shapes_by_database
from engines.removals import removals, removed_together
from oracle import definitions
from states import ENGINES

import db
from migrations.phase import Phase


def cases(exhaustive=False):
    """Return the shapes on each engine that has them.

    On the servers, which are slow, every third shape belongs to the quick run.
    """
    every = [*shapes.SHAPES, *shapes_by_database.SHAPES]
    for number, shape in enumerate(every):
        for offset, engine in enumerate(ENGINES):
            if engine not in shape.engines:
                continue
            quick = engine == "sqlite" or number % 3 == offset
            marks = [pytest.mark.mariadb_only] if shape.mariadb_only else []
            if exhaustive or not quick:
                marks.append(pytest.mark.exhaustive)
            name = f"{engine}-{shape.name}".replace(" ", "_")
            yield pytest.param(engine, shape, id=name, marks=marks)


@pytest.fixture
def tables(world, engine, shape):
    """The tables of a shape as Peewee creates them."""
    return Tables(world(engine), shape)


class Tables:
    """The tables of a shape in an empty database."""

    def __init__(self, world, shape):
        self.world = world
        self.models = shape.models
        self.phase = Phase(shape.name, requires={}, manages=self.models)
        world.clear()
        for schema in {each._meta.schema for each in self.models} - {None}:
            quoted = schema.replace('"', '""')
            world.execute(f'CREATE SCHEMA "{quoted}"')

    @property
    def database(self):
        return db.connect(self.world.url)

    def create_with_peewee(self):
        database = self.database
        with database.bind_ctx(self.models), database.connection_context():
            database.create_tables(self.models)
            for made in self.models:
                for field in made._meta.refs:
                    if field.deferred:  # Peewee never does it by itself
                        made._schema.create_foreign_key(field)

    def definitions(self):
        return definitions(self.world)

    def check(self):
        """Return the status and the messages of a check."""
        report = self.phase.check(self.database)
        return report.status, tuple(each.message for each in report.differences)

    def run(self, **options):
        report = self.phase.run(self.database, **options)
        assert [each for each in report.differences if each.severity != "note"] == []
        return report


@pytest.mark.parametrize(("engine", "shape"), cases())
def test_phase_makes_what_peewee_makes(tables, shape):
    tables.create_with_peewee()
    by_peewee = tables.definitions()
    assert tables.check() == ("up_to_date", shape.notes)
    everything = removed_together(tables.world)
    tables.phase.rollback(tables.database)
    assert tables.definitions() == {}

    created = tables.run()
    assert created.status == "migrated"
    assert False not in created.smoke_test.values()
    assert tables.definitions() == by_peewee
    assert tables.check() == ("up_to_date", shape.notes)

    tables.world.execute(*everything)
    repaired = tables.run()
    assert repaired.status == ("migrated" if everything else "up_to_date")
    assert tables.definitions() == by_peewee
    assert tables.check() == ("up_to_date", shape.notes)


@pytest.mark.parametrize(("engine", "shape"), cases(exhaustive=True))
def test_each_part_that_is_removed_comes_back(tables):
    tables.create_with_peewee()
    by_peewee = tables.definitions()
    for removal in removals(tables.world):
        try:
            tables.world.execute(*removal.statements)
        except Exception:
            continue  # something else needs it: `removed_together` removes that first
        repaired = tables.run(smoke_test=False, statistics=False)
        assert repaired.status == "migrated", removal
        assert tables.definitions() == by_peewee, removal
