"""A phase whose tables are renamed, filled and lose columns; with its models before.

    python -m changing_phase [options]
    python -m changing_phase --kill NUMBER [options]

The second command ends itself with SIGKILL before its change of that number, from 0;
a batch of rows counts as a change.
"""

import itertools
import os
import signal
import sys

import peewee
from peewee import SQL, CharField, ForeignKeyField, IntegerField

from db.fields import AutoIncrementField, Backfill, RenamedFrom, UniqueConstraint
from migrations.engines import backfill
from migrations.engines.session import Session
from migrations.phase import Phase

ROWS = (
    "INSERT INTO shelves VALUES ('a'), ('b')",
    "INSERT INTO things (place, num, kind) VALUES ('a', 1, 'x'), ('a', 2, NULL), "
    "('b', 3, 'y'), ('b', 4, NULL), ('b', 5, NULL)",
)
DROPS = ["goods.unused", "goods.check_num"]


class _Before:
    """The models as they were."""

    class Shelf(peewee.Model):
        label = CharField(12, primary_key=True)

        class Meta:
            table_name = "shelves"

    class Thing(peewee.Model):
        id = AutoIncrementField()
        num = IntegerField()
        kind = CharField(20, null=True)
        unused = IntegerField(null=True, index=True)

        class Meta:
            table_name = "things"
            constraints = [
                SQL("CONSTRAINT check_num CHECK (num > 0)"),
                UniqueConstraint("unique_thing", "num", "kind"),
            ]

    Thing._meta.add_field(
        "place", ForeignKeyField(Shelf, column_name="place", on_delete="CASCADE")
    )


class Shelf(peewee.Model):
    code = CharField(12, primary_key=True, constraints=[RenamedFrom("label")])

    class Meta:
        table_name = "shelves"


class Goods(peewee.Model):
    id = AutoIncrementField()
    number = IntegerField(constraints=[RenamedFrom("num")])
    kind = CharField(20, constraints=[Backfill("'none'")])
    shelf = ForeignKeyField(
        Shelf, on_delete="CASCADE", constraints=[RenamedFrom("place")]
    )
    title = CharField(40, index=True, constraints=[Backfill("'title'")])
    note = CharField(40, null=True, constraints=[Backfill("kind")])

    class Meta:
        table_name = "goods"
        constraints = [
            RenamedFrom("things"),
            UniqueConstraint("unique_thing", "number", "kind"),
        ]


BEFORE = [_Before.Shelf, _Before.Thing]
AFTER = [Shelf, Goods]
phase = Phase("Changes", requires={}, manages=AFTER, drops=DROPS)


def _kill_before(number):
    """Let this process end before its change, or batch, of a number."""
    numbers = itertools.count()

    def counted(method):
        def call(*arguments):
            if next(numbers) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return method(*arguments)

        return call

    announce = "_announce"  # what each change does first, on every database
    setattr(Session, announce, counted(getattr(Session, announce)))
    fill_batch = "_fill_batch"
    setattr(backfill, fill_batch, counted(getattr(backfill, fill_batch)))


if __name__ == "__main__":
    backfill._BATCH_SIZE = 2
    arguments = sys.argv[1:]
    if arguments[:1] == ["--kill"]:
        _kill_before(int(arguments[1]))
        arguments = arguments[2:]
    raise SystemExit(phase.main(arguments))
