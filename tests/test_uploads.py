"""Uploads into SQLite, read back through plain sqlite3."""

import contextlib
import csv
import datetime
import fcntl
import gc
import os
import pickle
import pty
import shutil
import sqlite3
import struct
import subprocess
import sys
import termios
import tracemalloc
from pathlib import Path

import peewee
import pytest

import db
from db.init_db import init_db
from db.models import MODELS, Store, StoreCluster, WeeklyActuals, Workflow
from db.uploads import UploadRefused, progress

ROOT = Path(__file__).parents[1]
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


@pytest.fixture(scope="module")
def season(tmp_path_factory):
    path = tmp_path_factory.mktemp("season") / "app.db"
    database = db.connect(f"sqlite:///{path}")
    with database.connection_context(), database.bind_ctx(MODELS):
        database.create_tables(MODELS)
        init_db(database, sample_data=True)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as plain:
        plain.execute(
            "DELETE FROM weekly_actuals WHERE week_number <> 1 OR store_id <> 'S001'"
        )
    return path


@pytest.fixture
def path(season, tmp_path):
    """An application database with one row of weekly actuals: week 1, store S001."""
    return shutil.copy(season, tmp_path)


@pytest.fixture
def database(path):
    database = db.connect(f"sqlite:///{path}")
    yield database
    if not database.is_closed():
        database.close()


@pytest.fixture
def upload(database):
    def upload(rows, **options):
        return WeeklyActuals.bulk_insert(rows, database=database, **options)

    return upload


@pytest.fixture
def read(path):
    """The answer of plain sqlite3, a single value as itself."""

    def read(sql="SELECT count(*) FROM weekly_actuals"):
        with contextlib.closing(sqlite3.connect(path)) as plain:
            rows = plain.execute(sql).fetchall()
        return rows[0][0] if len(rows) == 1 and len(rows[0]) == 1 else rows

    return read


NEW = "SELECT {} FROM weekly_actuals WHERE week_number = 9 ORDER BY id"


# -- rows that are inserted


def test_generator_of_dicts_is_stored(upload, read):
    assert upload(row(f"S{store:03}") for store in range(1, 51)) == 50
    assert read(NEW.format("count(DISTINCT store_id)")) == 50
    stored = read(
        NEW.format(
            "workflow_id, week_start_date, week_end_date, category_id, "
            "actual_units_sold"
        )
    )
    assert set(stored) == {
        ("wf_spring_2025", "2025-03-03", "2025-03-09", "womens_dresses", 120)
    }


def test_dict_keys_may_be_column_names(upload, read):
    renamed = {
        f"{key}_id" if key in ("workflow", "store", "category") else key: v
        for key, v in row().items()
    }
    upload([renamed])
    assert read(NEW.format("store_id")) == "S001"


def test_dict_keys_may_be_fields(upload, read):
    upload([{getattr(WeeklyActuals, key): value for key, value in row().items()}])
    assert read(NEW.format("store_id")) == "S001"


def test_tuples_are_in_the_order_of_fields(upload, read):
    assert (
        upload((tuple(row(f"S{n:03}").values())[:7] for n in (1, 2)), fields=FIELDS)
        == 2
    )
    assert read(NEW.format("store_id, actual_units_sold, forecast_units_sold")) == [
        ("S001", 120, None), ("S002", 120, None),
    ]  # fmt: skip


def test_rows_may_leave_out_different_columns(upload, read):
    upload(
        [
            row("S001"),
            {**dict(list(row("S002").items())[:7])},
            row("S003", uploaded_at=None),
        ]
    )
    assert read(NEW.format("forecast_units_sold")) == [(100,), (None,), (100,)]


def test_upload_of_no_rows_inserts_none(upload, read):
    assert upload(iter(())) == 0
    assert read() == 1


def test_all_batches_are_inserted(upload, read):
    assert upload((row(f"S{n:03}") for n in range(1, 51)), batch_size=7) == 50
    assert read() == 51


def test_instances_are_stored_as_their_keys(upload, read):
    upload(
        [row(Store(store_id="S007"), workflow=Workflow(workflow_id="wf_autumn_2024"))]
    )
    assert read(NEW.format("workflow_id, store_id")) == [("wf_autumn_2024", "S007")]


def test_texts_are_converted_to_the_types_of_columns(upload, read):
    upload([{key: str(value) for key, value in row().items()}])
    types = read(
        NEW.format(
            "typeof(week_number), typeof(actual_units_sold), typeof(variance_pct), "
            "week_start_date"
        )
    )
    assert types == [("integer", "integer", "real", "2025-03-03")]


def test_dates_are_stored_as_by_peewee(upload, database, read):
    upload([row("S001")])
    WeeklyActuals.insert_many([row("S002", variance_pct=0.2)]).execute(database)
    types = read(
        NEW.format(
            "typeof(week_start_date), length(week_end_date), length(uploaded_at)"
        )
    )
    assert types[0] == types[1]


# -- values that rows leave out


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({}, 0.2),
        ({"forecast_units_sold": None}, None),
        ({"forecast_units_sold": 0}, None),
        ({"actual_units_sold": 50}, -0.5),
        ({"variance_pct": 0.75}, 0.75),
        ({"variance_pct": 0.0}, 0.0),
    ],
)
def test_missing_variance_is_computed(upload, read, given, stored):
    upload([row(**given)])
    assert read(NEW.format("variance_pct")) == stored


def test_all_rows_get_the_same_time_in_utc(upload, read):
    before = read("SELECT datetime('now')")
    upload((row(f"S{n:03}") for n in range(1, 51)), batch_size=10)
    (times,) = read(NEW.format("min(uploaded_at), max(uploaded_at), datetime('now')"))
    assert before <= times[0] == times[1] <= times[2]


def test_time_of_creation_is_now_in_utc(database, read):
    row = {"cluster_id": "new", "cluster_name": "New", "fashion_tier": "VALUE"}
    before = read("SELECT datetime('now')")
    StoreCluster.bulk_insert([row], database=database)
    created = read("SELECT created_at FROM store_clusters WHERE cluster_id = 'new'")
    assert before <= created <= read("SELECT datetime('now')")


def test_given_time_is_stored(upload, read):
    upload([row(uploaded_at=datetime.datetime(2024, 1, 2, 3, 4, 5))])
    assert read(NEW.format("uploaded_at")) == "2024-01-02 03:04:05"


# -- conflicts

THERE = row("S001", week=1)
KEY = "workflow wf_spring_2025, week_number {}, store {}"
EXISTS = "already exists or is given twice"


def test_existing_row_refuses_the_upload(upload, read):
    with pytest.raises(
        UploadRefused,
        match=f"^nothing was uploaded: row 2: {KEY.format(1, 'S001')} {EXISTS}$",
    ):
        upload([row("S005"), THERE, row("S006")])
    assert read() == 1


def test_row_given_twice_refuses_the_upload(upload, read):
    with pytest.raises(
        UploadRefused,
        match=f"^nothing was uploaded: row 3: {KEY.format(9, 'S005')} {EXISTS}$",
    ):
        upload([row("S005"), row("S006"), row("S005")])
    assert read() == 1


def test_row_given_twice_is_found_across_batches(upload, read):
    with pytest.raises(
        UploadRefused,
        match=f"^nothing was uploaded: row 4: {KEY.format(9, 'S001')} {EXISTS}$",
    ):
        upload([row("S001"), row("S002"), row("S003"), row("S001")], batch_size=3)
    assert read() == 1


def test_refusal_names_the_first_five_duplicates(upload):
    upload(row(f"S{n:03}") for n in range(1, 51))
    with pytest.raises(UploadRefused) as refused:
        upload(row(f"S{n:03}") for n in range(1, 51))
    text = str(refused.value)
    assert [f"S{n:03}" in text for n in (1, 2, 3, 4, 5, 6)] == [True] * 5 + [False]
    assert text.endswith(f"; row 5: {KEY.format(9, 'S005')} {EXISTS}; and more")
    assert [number for number, _ in refused.value.rows] == [1, 2, 3, 4, 5]
    assert refused.value.more_rows is None


def test_five_duplicates_are_all_named(upload):
    upload(row(f"S{n:03}") for n in range(1, 6))
    with pytest.raises(UploadRefused) as refused:
        upload(row(f"S{n:03}") for n in range(1, 51))
    assert str(refused.value).endswith(f"row 5: {KEY.format(9, 'S005')} {EXISTS}")
    assert refused.value.more_rows == 0


def test_conflicts_of_all_kinds_are_in_the_order_of_rows(upload, read):
    with pytest.raises(UploadRefused) as refused:
        upload([row("S002"), row("S002"), row("S999"), THERE, row(category="none")])
    assert refused.value.rows == (
        (2, f"{KEY.format(9, 'S002')} {EXISTS}"),
        (3, "there is no store 'S999'"),
        (4, f"{KEY.format(1, 'S001')} {EXISTS}"),
        (5, "there is no category 'none'"),
    )
    assert read() == 1


def test_missing_parent_is_named_once(upload):
    with pytest.raises(UploadRefused) as refused:
        upload([row("S001"), row("S999"), row("S999", week=10), row("S998")])
    assert refused.value.rows == (
        (2, "there is no store 'S999'"),
        (4, "there is no store 'S998'"),
    )


def test_update_replaces_a_row_and_keeps_its_id(upload, read):
    before = read("SELECT id, uploaded_at FROM weekly_actuals")
    given = datetime.datetime(2030, 1, 1)
    upload(
        [
            {
                **THERE,
                "actual_units_sold": 7,
                "forecast_units_sold": None,
                "uploaded_at": given,
            }
        ],
        on_conflict="update",
    )
    after = read(
        "SELECT id, actual_units_sold, forecast_units_sold, variance_pct, uploaded_at "
        "FROM weekly_actuals"
    )
    assert after == [(before[0][0], 7, None, None, "2030-01-01 00:00:00")]


def test_update_sets_the_current_time(upload, read):
    upload(
        [{**THERE, "uploaded_at": datetime.datetime(2020, 1, 1)}], on_conflict="update"
    )
    upload([THERE], on_conflict="update")
    assert read("SELECT uploaded_at FROM weekly_actuals") > "2025"


def test_update_inserts_new_rows(upload, read):
    assert upload([THERE, row("S002")], on_conflict="update") == 2
    assert read() == 2


def test_update_stores_the_last_of_equal_rows(upload, read):
    upload([row(actual_units_sold=n) for n in (1, 2, 3)], on_conflict="update")
    assert read(NEW.format("actual_units_sold")) == 3


def test_unknown_on_conflict_is_a_value_error(upload):
    with pytest.raises(
        ValueError, match="on_conflict is None or \"update\", not 'ignore'"
    ):
        upload([row()], on_conflict="ignore")


# -- rows that are refused


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row("S999"), "row 2: there is no store 'S999'$"),
        (row(workflow="nowhere"), "row 2: there is no workflow 'nowhere'"),
        (row(week=None), "row 2: week_number is missing$"),
        (
            {key: value for key, value in row().items() if key != "store"},
            "row 2: store_id is missing$",
        ),
        (
            row(actual_units_sold="many"),
            "row 2: actual_units_sold is 'many', expected an integer$",
        ),
        (row(week=float("inf")), "row 2: week_number is inf, expected an integer$"),
        (
            row(week_start_date="3rd of March"),
            "row 2: week_start_date is '3rd of March', expected a date .YYYY-MM-DD.$",
        ),
        (row(variance_pct=[]), "row 2: variance_pct is .., expected a number$"),
        (
            row(colour="red"),
            "unknown column 'colour'; known are workflow_id, week_number",
        ),
        (row(id=7), "unknown column 'id'"),
        (
            row(store_id="S002"),
            "the column store_id is given twice: store, store_id$",
        ),
        (("S001", 9), "row 2: expected a dict: .'S001', 9.$"),
        (None, "row 2: expected a dict: None$"),
    ],
)
def test_bad_row_is_named_and_nothing_is_inserted(upload, read, bad, message):
    with pytest.raises(UploadRefused, match=message) as refused:
        upload([row("S010"), bad])
    assert "\n" not in str(refused.value)
    assert read() == 1


def test_bad_values_of_all_columns_are_in_the_order_of_rows(upload):
    with pytest.raises(UploadRefused) as refused:
        upload(
            [
                row("S001", variance_pct="much"),
                row("S002"),
                row(week="nine", week_end_date="soon"),
                row(actual_units_sold=None),
                row(week="ten"),
            ]
        )
    assert refused.value.rows == (
        (1, "variance_pct is 'much', expected a number"),
        (3, "week_number is 'nine', expected an integer"),
        (3, "week_end_date is 'soon', expected a date (YYYY-MM-DD)"),
        (4, "actual_units_sold is missing"),
        (5, "week_number is 'ten', expected an integer"),
    )
    assert refused.value.more_rows == 0


def test_further_bad_values_are_counted(upload):
    with pytest.raises(
        UploadRefused, match="; row 6: [^;]*; and 1,234 more$"
    ) as refused:
        upload([row("S001"), *[row(week="nine")] * 1_239])
    assert [number for number, _ in refused.value.rows] == [2, 3, 4, 5, 6]
    assert refused.value.more_rows == 1_234


def test_bad_values_are_not_counted_if_rows_are_left(upload):
    with pytest.raises(UploadRefused, match="; row 5: [^;]*; and more$") as refused:
        upload([row(week="nine")] * 9, batch_size=8)
    assert refused.value.more_rows is None


def test_all_malformed_rows_are_named(upload):
    with pytest.raises(UploadRefused) as refused:
        upload([row("S001"), ("S002", 9), row("S003"), None])
    assert refused.value.rows == (
        (2, "expected a dict: ('S002', 9)"),
        (4, "expected a dict: None"),
    )


def test_instance_where_no_key_is_expected_is_refused(upload):
    with pytest.raises(UploadRefused, match="row 1: week_number is <Store: S001>, exp"):
        upload([row(week=Store(store_id="S001"))])


def test_batch_size_below_one_is_a_value_error(upload, read):
    with pytest.raises(ValueError, match="batch_size must be at least 1, not 0"):
        upload([row()], batch_size=0)
    assert read() == 1


def test_tuples_without_fields_are_refused(upload):
    with pytest.raises(
        UploadRefused, match="row 1: expected a dict, or fields=..... for tuples: "
    ):
        upload([tuple(row().values())])


def test_empty_tuple_needs_fields_too(upload):
    with pytest.raises(UploadRefused, match="row 1: expected a dict, or fields="):
        upload([()])


def test_tuple_of_another_length_is_refused(upload):
    with pytest.raises(
        UploadRefused, match="row 2: expected 7 values, one for each column: .'wf',.$"
    ):
        upload([tuple(row().values())[:7], ("wf",)], fields=FIELDS)


def test_row_with_more_values_than_columns_is_refused(upload):
    lines = ["store_id,week_number", "S001,9", "S002,9,surplus"]
    with pytest.raises(
        UploadRefused, match="row 2: more values than columns: .*surplus"
    ):
        upload(csv.DictReader(lines))


def test_text_is_not_taken_for_a_row(upload):
    with pytest.raises(UploadRefused, match="row 1: expected 4 values"):
        upload(["S001"], fields=["store", "week_number", "category", "workflow"])


def test_missing_table_names_the_command_to_run(upload, database):
    database.execute_sql("DROP TABLE weekly_actuals")
    with pytest.raises(
        UploadRefused,
        match="no such table: weekly_actuals; run: python -m migrations.phase_4_5 "
        f"--database sqlite:///{database.database}$",
    ):
        upload([row()])


def test_refusal_can_be_pickled(upload):
    with pytest.raises(UploadRefused) as refused:
        upload([row(), row("S999")])
    sent = pickle.loads(pickle.dumps(refused.value))
    assert (str(sent), sent.rows) == (
        str(refused.value),
        ((2, "there is no store 'S999'"),),
    )


def test_rows_are_numbered_across_batches(upload, read):
    with pytest.raises(UploadRefused, match="row 8: there is no store 'S999'"):
        upload([*(row(f"S{n:03}") for n in range(1, 8)), row("S999")], batch_size=3)
    assert read() == 1


def test_integer_beyond_64_bits_is_refused(upload, read):
    with pytest.raises(UploadRefused, match="nothing was uploaded"):
        upload([row("S002"), row(week=2**70)])
    assert read() == 1


def test_refusal_is_an_integrity_error_and_a_value_error():
    assert issubclass(UploadRefused, peewee.IntegrityError)
    assert issubclass(UploadRefused, ValueError)


# -- transactions and connections


def test_failing_generator_inserts_nothing(upload, read):
    def rows():
        yield from (row(f"S{n:03}") for n in range(1, 31))
        raise RuntimeError("the file ends here")

    with pytest.raises(RuntimeError, match="ends here"):
        upload(rows(), batch_size=10)
    assert read() == 1


def test_rollback_of_the_caller_undoes_the_upload(upload, database, read):
    with database.atomic() as transaction:
        upload([row()])
        transaction.rollback()
    assert read() == 1


def test_refusal_leaves_the_transaction_of_the_caller_usable(upload, database, read):
    with database.atomic():
        upload([row("S002")])
        with pytest.raises(UploadRefused):
            upload([row("S003"), row("S999")])
        upload([row("S004")])
    assert read(NEW.format("store_id")) == [("S002",), ("S004",)]


def test_open_connection_stays_open(upload, database):
    database.connect()
    connection = database.connection()
    upload([row()])
    assert database.connection() is connection


def test_closed_database_without_autoconnect_is_an_error(path):
    database = peewee.SqliteDatabase(path, autoconnect=False)
    with pytest.raises(peewee.InterfaceError):
        WeeklyActuals.bulk_insert([row()], database=database)


def test_default_database_is_that_of_the_model(database, read):
    with database.bind_ctx(MODELS):
        WeeklyActuals.bulk_insert([row()])
    assert read() == 2


def test_proxy_is_resolved_to_its_database(database, read):
    proxy = peewee.DatabaseProxy()
    proxy.initialize(database)
    WeeklyActuals.bulk_insert([row()], database=proxy)
    assert read() == 2


def test_unbound_model_without_database_is_an_error():
    with pytest.raises(peewee.InterfaceError, match="bound to no database"):
        WeeklyActuals.bulk_insert([row()])


def test_rows_may_be_read_from_the_same_database(upload, database, read):
    stores = (
        Store.select(Store.store_id)
        .order_by(Store.store_id)
        .tuples()
        .iterator(database)
    )
    assert upload((row(store) for (store,) in stores), batch_size=10) == 50
    assert read() == 51


def test_rows_that_read_the_database_keep_other_writers_out(upload, database, path):
    """A deferred transaction that has read cannot write once another has written."""
    other = sqlite3.connect(path, timeout=0)

    def rows():
        database.execute_sql("SELECT count(*) FROM stores").fetchall()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("DELETE FROM weekly_actuals")
        yield row()

    assert upload(rows()) == 1
    other.close()


def test_memory_does_not_grow_with_the_number_of_rows(upload):
    def peak(count):
        gc.collect()
        tracemalloc.start()
        upload(
            (row(f"S{n % 50 + 1:03}", week=week + n // 50) for n in range(count)),
            batch_size=500,
        )
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    week = 100
    small = peak(1_000)
    week = 200
    assert peak(10_000) < small * 1.5


# -- CSV files and the progress bar


def test_example_of_the_readme_uploads_a_csv_file(database, tmp_path, read, capsys):
    path = tmp_path / "week_09.csv"
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(row()))
        writer.writeheader()
        writer.writerows(
            row(f"S{n:03}", forecast_units_sold=None if n == 50 else 100)
            for n in range(1, 51)
        )

    with open(path, newline="") as file:
        rows = (
            {key: value or None for key, value in row.items()}
            for row in csv.DictReader(file)
        )
        count = WeeklyActuals.bulk_insert(progress(rows), database=database)

    assert count == 50
    assert read(NEW.format("count(forecast_units_sold)")) == 49
    assert capsys.readouterr().err == ""  # no bar where standard error is no terminal


SHOW_PROGRESS = """
import sys
{}
from db.uploads import progress
print(list(progress(iter(range(3)))))
"""


def in_a_terminal(code):
    """Return what a process writes on standard output and on standard error.

    Its standard error is a terminal.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=theirs,
        timeout=60,
    )
    os.write(theirs, b"end")
    shown = b""
    while not shown.endswith(b"end"):
        shown += os.read(ours, 10_000)
    return done.stdout, shown


def test_progress_shows_a_bar_in_a_terminal():
    pytest.importorskip("tqdm")
    out, shown = in_a_terminal(SHOW_PROGRESS.format(""))
    assert out == b"[0, 1, 2]\n"
    assert b"3 rows" in shown


def test_progress_without_tqdm_shows_nothing():
    assert in_a_terminal(SHOW_PROGRESS.format("sys.modules['tqdm'] = None")) == (
        b"[0, 1, 2]\n",
        b"end",
    )
