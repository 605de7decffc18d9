"""Uploads into PostgreSQL and MariaDB, read back with the drivers."""

import datetime

import peewee
import pytest

import db
from db.fields import utc_now
from db.init_db import init_db
from db.models import WeeklyActuals
from db.uploads import UploadRefused

MONDAY = datetime.date(2025, 3, 3)
FIELDS = [
    "workflow",
    "week_number",
    "week_start_date",
    "week_end_date",
    "store",
    "category",
    "actual_units_sold",
]
NEW = "SELECT {} FROM weekly_actuals WHERE week_number = 9 ORDER BY store_id"


def row(store="S001", week=9, **more):
    return {
        "workflow": "wf_spring_2025",
        "week_number": week,
        "week_start_date": MONDAY,
        "week_end_date": MONDAY + datetime.timedelta(days=6),
        "store": store,
        "category": "womens_dresses",
        "actual_units_sold": 120,
        "forecast_units_sold": 100,
        **more,
    }


THERE = row("S001", week=1)


@pytest.fixture(scope="module", params=["postgresql", "mysql"])
def season(request, servers):
    """A database on a server, with the sample data; created once per module."""
    world = servers(request.param)
    world.clear()
    init_db(db.connect(world.url), sample_data=True)
    return world


@pytest.fixture
def world(season):
    """A database with one row of weekly actuals: week 1, store S001."""
    season.execute(
        "DELETE FROM weekly_actuals",
        "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, "
        "week_end_date, store_id, category_id, actual_units_sold, forecast_units_sold, "
        "uploaded_at) VALUES ('wf_spring_2025', 1, '2025-03-03', '2025-03-09', 'S001', "
        "'womens_dresses', 5, 6, '2020-01-01')",
    )
    return season


@pytest.fixture
def database(world):
    database = db.connect(world.url)
    yield database
    if not database.is_closed():
        database.close()


@pytest.fixture
def upload(database):
    return lambda rows, **options: WeeklyActuals.bulk_insert(
        rows, database=database, **options
    )


def count(world):
    return world.query("SELECT count(*) FROM weekly_actuals")[0][0]


def test_dicts_are_stored(upload, world):
    assert upload(row(f"S{store:03}") for store in range(1, 51)) == 50
    stored = world.query(
        NEW.format(
            "workflow_id, week_start_date, category_id, actual_units_sold, variance_pct"
        )
    )
    assert stored == [("wf_spring_2025", MONDAY, "womens_dresses", 120, 0.2)] * 50


def test_tuples_are_stored(upload, world):
    assert upload([tuple(row().values())[:7]], fields=FIELDS) == 1
    assert world.query(NEW.format("store_id, forecast_units_sold, variance_pct")) == [
        ("S001", None, None)
    ]


def test_texts_are_converted_to_the_types_of_columns(upload, world):
    upload([{key: str(value) for key, value in row().items()}])
    assert world.query(NEW.format("week_end_date, actual_units_sold")) == [
        (datetime.date(2025, 3, 9), 120)
    ]


def test_text_with_placeholders_of_drivers_is_stored(upload, world):
    name = "%s \\t \\N \\. '\" \t é 7"
    world.cursor().execute(
        "INSERT INTO workflows (workflow_id, workflow_type, category_id, status, "
        "forecast_horizon_weeks, season_start_date, replenishment_strategy, "
        "dc_holdback_percentage) VALUES (%s, 'forecast', 'womens_dresses', 'running', "
        "12, '2025-02-17', 'weekly', 0.45)",
        (name,),
    )
    upload([row(workflow=name)])
    assert world.query(NEW.format("workflow_id")) == [(name,)]


def test_uploaded_at_is_in_utc(upload, world):
    upload([row()])
    ((stored,),) = world.query(NEW.format("uploaded_at"))
    assert abs(utc_now() - stored) < datetime.timedelta(seconds=60)


def test_error_in_a_later_batch_inserts_nothing(upload, world):
    with pytest.raises(UploadRefused, match="row 8: there is no store 'S999'"):
        upload([*(row(f"S{n:03}") for n in range(1, 8)), row("S999")], batch_size=3)
    assert count(world) == 1


def test_duplicates_refuse_the_upload_in_order(upload, world):
    with pytest.raises(
        UploadRefused,
        match="row 2: workflow wf_spring_2025, week_number 1, store S001 already exists"
        " or is given twice; row 4: .*store S005 already exists or is given twice$",
    ):
        upload([row("S005"), THERE, row("S006"), row("S005")])
    assert count(world) == 1


def test_update_replaces_a_row_and_keeps_its_id(upload, world):
    before = world.query("SELECT id FROM weekly_actuals")
    upload([{**THERE, "forecast_units_sold": None}, row("S002")], on_conflict="update")
    assert world.query("SELECT id FROM weekly_actuals WHERE week_number = 1") == before
    ((*units, time),) = world.query(
        "SELECT actual_units_sold, forecast_units_sold, uploaded_at "
        "FROM weekly_actuals WHERE week_number = 1"
    )
    assert units == [120, None]
    assert time.year > 2020
    assert count(world) == 2


def test_update_stores_the_last_of_equal_rows(upload, world):
    upload(
        [row(actual_units_sold=n) for n in range(1, 8)],
        on_conflict="update",
        batch_size=3,
    )
    assert world.query(NEW.format("actual_units_sold")) == [(7,)]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row("S" * 60), "S" * 60 + "|too long"),
        (row(week=2**40), "nothing was uploaded: row 2: .*[Oo]ut of range"),
        (row(week=None), "row 2: week_number is missing$"),
        (row(workflow="nowhere"), "row 2: there is no workflow 'nowhere'$"),
    ],
)
def test_bad_row_inserts_nothing(upload, world, bad, message):
    with pytest.raises(UploadRefused, match=message) as refused:
        upload([row("S010"), bad])
    assert "\n" not in str(refused.value)
    assert count(world) == 1


def test_failing_generator_inserts_nothing(upload, world):
    def rows():
        yield from (row(f"S{n:03}") for n in range(1, 31))
        raise RuntimeError("the file ends here")

    with pytest.raises(RuntimeError, match="ends here"):
        upload(rows(), batch_size=10)
    assert count(world) == 1


@pytest.mark.parametrize("on_conflict", [None, "update"])
def test_rollback_of_the_caller_undoes_the_upload(upload, database, world, on_conflict):
    with database.atomic() as transaction:
        upload([row("S002")], on_conflict=on_conflict)
        upload([row("S003")], on_conflict=on_conflict)
        transaction.rollback()
    assert count(world) == 1


@pytest.mark.parametrize("on_conflict", [None, "update"])
def test_refusal_leaves_the_transaction_of_the_caller_usable(
    upload, database, world, on_conflict
):
    with database.atomic():
        with pytest.raises(UploadRefused):
            upload([row("S003"), row("S999")], on_conflict=on_conflict)
        upload([row("S004")], on_conflict=on_conflict)
    assert world.query(NEW.format("store_id")) == [("S004",)]


def test_update_leaves_no_temporary_table(upload, database):
    upload([row()], on_conflict="update")
    assert not database.in_transaction()
    if isinstance(database, peewee.PostgresqlDatabase):
        temporary = "SELECT relname FROM pg_class WHERE relpersistence = 't'"
        assert database.execute_sql(temporary).fetchall() == []


def test_rows_may_be_read_from_the_same_database(upload, database, world):
    stores = database.execute_sql("SELECT store_id FROM stores").fetchall()
    assert upload(row(store) for (store,) in stores) == 50
    assert count(world) == 51
