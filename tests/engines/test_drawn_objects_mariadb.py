"""MariaDB: a run does what a check announces, whatever else the table has.

Each case is drawn from a number, so a failure can be repeated: it is in the test's id.
"""

import random

import peewee
import pytest
from drivers import exhaustive
from peewee import SQL

import db
from db.fields import JSONField, UniqueConstraint
from migrations.errors import ChangeRefused, UnsupportedModel
from migrations.phase import Phase

pytestmark = pytest.mark.drivers("mysql")

CASES_OF_A_TEST = 10
TYPES = {
    "int(11)": ("1", "2", "-3"),
    "int(10) unsigned": ("1", "2", "3000000000"),
    "bigint(20)": ("1", "9007199254740993"),
    "varchar(20)": ("'1'", "'2'", "'x'", "''"),
    "varchar(400)": ("'1'", "'2'"),
    "char(5)": ("'1'", "'a'"),
    "text": ("'1'", "'x'"),
    "enum('1','2','7')": ("'7'", "'2'"),
    "set('1','2')": ("'2'", "'1'"),
    "bit(1)": ("b'0'", "b'1'"),
    "tinyint(1)": ("0", "1"),
    "float": ("0.1", "2"),
    "double": ("0.1", "2"),
    "decimal(8,3)": ("0.1", "2"),
    "date": ("'2020-01-02'",),
    "datetime": ("'2020-01-02 00:00:00'", "'2020-01-02 10:11:12'"),
    "timestamp": ("'2020-01-02 00:00:00'", "'2020-01-02 10:11:12'"),
    "time": ("'10:11:12'",),
    "uuid": ("'6ccd780c-baba-1026-9564-5b8c656024db'",),
    "blob": ("'1'", "x'ff'"),
    "json": ("'{}'", "'1'"),
}  # fmt: skip
FIELDS = (
    peewee.IntegerField,
    peewee.BigIntegerField,
    peewee.BooleanField,
    lambda **options: peewee.CharField(20, **options),
    lambda **options: peewee.CharField(60, **options),
    lambda **options: peewee.FixedCharField(5, **options),
    peewee.FloatField,
    peewee.DoubleField,
    lambda **options: peewee.DecimalField(8, 3, **options),
    peewee.DateField,
    peewee.DateTimeField,
    peewee.TimeField,
    peewee.BlobField,
    peewee.TextField,
    peewee.UUIDField,
    JSONField,
)
# Undeclared parts of the table, and statements about it.
PARTS = (
    "CONSTRAINT own_check CHECK ({a} <> 'x')",
    "CONSTRAINT own_check CHECK ({a} > 0 OR {b} IS NULL)",
    "CONSTRAINT item_a CHECK (char_length({a}) < 300)",
    "KEY own_key ({a}, {b})",
    "KEY item_a ({a})",
    "KEY item_a ({a}, {b}) IGNORED",
    "UNIQUE own_unique ({a}, {b})",
    "UNIQUE item_b ({b})",
    "KEY own_prefix ({a}(3))",
    "KEY item_b ({b} DESC)",
    "FULLTEXT own_words ({a})",
    "own_virtual INT AS (char_length({a})) VIRTUAL",
    "own_stored VARCHAR(20) AS (concat({a}, 'x')) STORED",
    "own_virtual INT AS ({a} + 1) VIRTUAL, KEY own_generated (own_virtual)",
    "own_needed INT NOT NULL DEFAULT 5",
    "CONSTRAINT own_reference FOREIGN KEY ({a}) REFERENCES par (number)",
    "CONSTRAINT once FOREIGN KEY ({b}) REFERENCES par (id)",
)
STATEMENTS = (
    "CREATE VIEW own_view AS SELECT a, b FROM item",
    "CREATE TRIGGER own_trigger BEFORE INSERT ON item FOR EACH ROW SET @seen = NEW.{a}",
    "CREATE TABLE kid (k INT, KEY (k), CONSTRAINT own FOREIGN KEY (k) "
    "REFERENCES item ({a}))",
    "CREATE TABLE kid (k INT, m INT, CONSTRAINT once FOREIGN KEY (k, m) "
    "REFERENCES item ({a}, {b}))",
    "ALTER TABLE item ALTER COLUMN {a} SET DEFAULT '1'",
    "ALTER TABLE item COMMENT 'kept', ROW_FORMAT=DYNAMIC",
)
KEYS = (
    "id INT AUTO_INCREMENT PRIMARY KEY",
    "id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY",
    "id INT PRIMARY KEY",
    "id BIGINT AUTO_INCREMENT, KEY (id), PRIMARY KEY ({a}, {b})",
    "id INT",
    "other INT AUTO_INCREMENT PRIMARY KEY",
)


class Case:
    """A table and a model that were drawn."""

    def __init__(self, seed):
        self.draw = random.Random(seed)
        self.types = {name: self.draw.choice(list(TYPES)) for name in "ab"}
        if self.draw.random() < 0.3:
            self.types["a"] = "int(11)"
        self.parts = self.draw.sample(PARTS, self.draw.randrange(4))
        self.statements = self.draw.sample(STATEMENTS, self.draw.randrange(3))

    def named(self, text):
        first, second = self.draw.sample("ab", 2)
        return text.format(a=first, b=second)

    def create(self, world):
        """Create the table, as far as the server takes its parts."""
        world.execute(
            "CREATE TABLE par (id INT AUTO_INCREMENT PRIMARY KEY, "
            "number VARCHAR(20) UNIQUE)"
        )
        world.execute("INSERT INTO par (id, number) VALUES (1, '1'), (2, '2')")
        columns = [
            f"{name} {type_} {self.draw.choice(('NULL', 'NOT NULL'))}"
            for name, type_ in self.types.items()
        ]
        key = self.draw.choice((KEYS[0], KEYS[0], *KEYS))
        if not attempt(
            world, f"CREATE TABLE item ({self.named(key)}, {', '.join(columns)})"
        ):
            world.execute(f"CREATE TABLE item ({KEYS[0]}, {', '.join(columns)})")
        for part in self.parts:
            attempt(
                world,
                "ALTER TABLE item ADD "
                f"{self.named(part).replace(', KEY', ', ADD KEY')}",
            )
        for statement in self.statements:
            attempt(world, self.named(statement))
        for _ in range(self.draw.randrange(4)):
            values = [self.draw.choice(TYPES[type_]) for type_ in self.types.values()]
            attempt(world, f"INSERT INTO item (a, b) VALUES ({', '.join(values)})")

    def phase(self):
        """Return the phase of a model that is supported."""
        while True:
            try:
                return self._phase()
            except UnsupportedModel:
                continue

    def _phase(self):
        fields = {}
        for name in "ab":
            options = {"null": self.draw.random() < 0.6}
            options.update(
                self.draw.choice(({}, {}, {"index": True}, {"unique": True}))
            )
            fields[name] = self.draw.choice(FIELDS)(**options)
        if self.draw.random() < 0.3:
            parent = type(
                "Par", (peewee.Model,), {"number": peewee.CharField(20, null=True)}
            )
            fields["b"] = peewee.ForeignKeyField(
                parent, column_name="b", null=True, constraint_name="once"
            )
        constraints = self.draw.choice(
            (
                [],
                [UniqueConstraint("once", "a", "b")],
                [SQL("CONSTRAINT own_check CHECK (b IS NOT NULL OR a = 1)")],
            )
        )
        requires = {
            field.rel_model: ()
            for field in fields.values()
            if isinstance(field, peewee.ForeignKeyField)
        }
        meta = type("Meta", (), {"table_name": "item", "constraints": constraints})
        return Phase(
            "Items",
            requires=requires,
            manages=[type("Item", (peewee.Model,), {**fields, "Meta": meta})],
        )


def attempt(world, statement):
    try:
        world.execute(statement)
    except world.connection.Error:  # the case is drawn without what the server refuses
        return False
    return True


def outcome(call, url, **options):
    try:
        return call(db.connect(url), **options).status
    except (ChangeRefused, UnsupportedModel) as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("batch", [1, 2, *exhaustive(*range(3, 201))])
def test_run_does_what_a_check_announces(world, batch):
    there = world("mysql")
    for seed in range(batch * CASES_OF_A_TEST, (batch + 1) * CASES_OF_A_TEST):
        there.clear()
        case = Case(seed)
        case.create(there)
        phase = case.phase()
        try:
            announced = outcome(phase.check, there.url)
            done = outcome(phase.run, there.url, smoke_test=False, statistics=False)
            expected = {"pending": "migrated"}.get(announced, announced)
            assert done == expected
            if done == "migrated":
                assert outcome(phase.check, there.url) == "up_to_date"
        except Exception as error:
            table = there.query("SHOW CREATE TABLE item")
            raise AssertionError(f"case {seed}: {error}: {table}") from error
