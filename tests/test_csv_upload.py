"""`python -m db.uploads`: a CSV file goes in as it is, or the lines to blame are named."""

import contextlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from application import ROOT, fetch

import db
from db.init_db import init_db
from db.models import MODELS

HEADER = "workflow_id,week_number,week_start_date,week_end_date,store_id,category_id,actual_units_sold"
COUNT = "SELECT count(*) FROM weekly_actuals"


def line(store="S001", units="120", week="9"):
    return f"wf_spring_2025,{week},2025-03-03,2025-03-09,{store},womens_dresses,{units}"


@pytest.fixture(scope="module")
def season(tmp_path_factory):
    path = tmp_path_factory.mktemp("season") / "app.db"
    database = db.connect(f"sqlite:///{path}")
    with database.connection_context(), database.bind_ctx(MODELS):
        database.create_tables(MODELS)
        init_db(database, sample_data=True)
        database.execute_sql("DELETE FROM weekly_actuals")
    return path


@pytest.fixture
def path(season, tmp_path):
    return shutil.copy(season, tmp_path)


@pytest.fixture
def upload(cli, path, tmp_path):
    """Run the command on the text of a file."""

    def upload(text, *options, name="week_09.csv", **more):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return cli(file, "--database", f"sqlite:///{path}", *options, module="db.uploads", **more)

    return upload


def refused(done, *says, status=1):
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    error = done.stderr.splitlines()[-1]
    assert [word for word in says if word not in error] == []
    assert done.stdout == ""
    return error


def test_a_file_goes_in(upload, path):
    done = upload("\n".join([HEADER, *(line(f"S{n:03}") for n in range(1, 51))]) + "\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "app.db: 50 rows of " in done.stdout
    assert fetch(path, COUNT) == [(50,)]


def test_the_order_of_columns_is_the_headers_own_and_an_empty_cell_is_none(upload, path):
    text = "store_id,actual_units_sold,forecast_units_sold,week_number,week_start_date,week_end_date,category_id,"
    text += "workflow_id\r\nS001,120,100,9,2025-03-03,2025-03-09,womens_dresses,wf_spring_2025\r\n"
    text += "S002,120,,9,2025-03-03,2025-03-09,womens_dresses,wf_spring_2025\r\n"
    assert upload(text).returncode == 0
    assert fetch(path, "SELECT store_id, variance_pct FROM weekly_actuals ORDER BY id") == [
        ("S001", 0.2),
        ("S002", None),
    ]


def test_a_byte_order_mark_blank_lines_and_no_last_newline_do_no_harm(upload, path):
    assert upload(f"\ufeff{HEADER}\r\n\r\n{line()}\r\n\r\n{line('S002')}").returncode == 0
    assert fetch(path, COUNT) == [(2,)]


def test_standard_input(cli, path):
    done = cli("-", "--database", f"sqlite:///{path}", module="db.uploads", input=f"\ufeff{HEADER}\n{line()}\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert fetch(path, COUNT) == [(1,)]


def test_a_second_time_is_refused_or_replaces(upload, path):
    text = f"{HEADER}\n{line('S001', '1')}\n{line('S002', '2')}\n"
    assert upload(text).returncode == 0
    refused(
        upload(text), "nothing was uploaded: line 2: workflow wf_spring_2025, week_number 9, store S001", "line 3: "
    )
    assert upload(text.replace(",2\n", ",7\n"), "--on-conflict", "update").returncode == 0
    assert fetch(path, "SELECT store_id, actual_units_sold FROM weekly_actuals") == [("S001", 1), ("S002", 7)]


# -- what is wrong, and on which line


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([line(), line("S999")], ["line 3: there is no store 'S999'"]),
        ([line(), line(units="many")], ["line 3: actual_units_sold is 'many', expected int"]),
        ([line(), line(units="")], ["line 3: actual_units_sold is missing"]),
        ([line(), line("S999"), line("S998")], ["line 3: there is no store 'S999'; line 4: there is no store 'S998'"]),
        (["", line(), "", line("S999")], ["line 5: there is no store 'S999'"]),
        ([line(), line() + ",surplus"], ["line 3: expected 7 values, as columns are named", "'surplus'"]),
        ([line(), "wf_spring_2025,9"], ["line 3: expected 7 values, as columns are named"]),
        ([line(), line('"S\n1"'), line("S9")], ["line 3: there is no store 'S\\n1'; line 5: there is no store 'S9'"]),
        ([line('"S001"x')], ["line 2: "]),
        ([line(), line('"S002')], ["line 3: "]),
        ([line(week=" 9"), line(week=" nine")], ["line 3: week_number is ' nine', with blanks, expected int"]),
    ],
)  # fmt: skip
def test_errors_name_the_line(upload, path, lines, says):
    error = refused(upload("\n".join([HEADER, *lines]) + "\n"), *says)
    assert "row" not in error
    assert fetch(path, COUNT) == [(0,)]


def test_a_line_far_down_is_named(upload):
    texts = [line(f"S{n:03}") for n in range(1, 51)]
    lines = [*texts, *(text.replace(",9,", f",{week},") for week in range(10, 300) for text in texts)]
    lines[7] = lines[7].replace("S008", '"S008"')
    lines[14_000] = line("S999")
    refused(upload("\n".join([HEADER, *lines])), "line 14002: there is no store 'S999'")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ["it is empty; its first line names the columns"]),
        (f"{HEADER},colour\n{line()},red\n", ["unknown column 'colour'; known are workflow_id"]),
        *(
            (HEADER.replace(",", mark), [f"line 1: {mark!r} stands between the names; separate cells by commas"])
            for mark in (";", "\t", "|")
        ),
        (f"{HEADER},week_number\n{line()},9\n", ["the column week_number is given twice"]),
        (HEADER.replace(",", ", ") + "\n", ["line 1: there is a blank beside ' week_number'", "comma"]),
        (f"{HEADER}\n{line()}\n".encode() + b"wf_\xe9t\xe9\n", ["not UTF-8"]),
    ],
)
def test_a_file_that_cannot_be_read_says_why(upload, path, text, says):
    refused(upload(text), *says)
    assert fetch(path, COUNT) == [(0,)]


def test_a_header_alone_gets_a_word(upload):
    done = upload(HEADER + "\n")
    assert done.returncode == 0
    assert "0 rows of " in done.stdout
    assert "; there is nothing below its first line" in done.stdout


def test_a_file_that_is_not_there(cli, path):
    refused(cli("nowhere.csv", "--database", f"sqlite:///{path}", module="db.uploads"), "nowhere.csv", "No such file")


def test_an_interruption_leaves_nothing(path):
    command = [sys.executable, "-m", "db.uploads", "-", "--database", f"sqlite:///{path}"]
    upload = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    upload.stdin.write(HEADER + "\n" + "".join(line(week=week) + "\n" for week in range(10, 20_000)))
    upload.stdin.flush()
    with contextlib.closing(sqlite3.connect(path, timeout=0)) as other:
        until = time.monotonic() + 60
        while time.monotonic() < until:  # until it writes
            try:
                other.execute("BEGIN IMMEDIATE")
                other.rollback()
            except sqlite3.OperationalError:
                break
    upload.send_signal(signal.SIGINT)
    _, error = upload.communicate(timeout=60)
    assert (upload.returncode, error.count("\n")) == (1, 1)
    assert "interrupted; nothing was uploaded" in error
    assert fetch(path, COUNT) == [(0,)]


def test_before_the_migration_it_names_the_command(upload, path):
    db.connect(f"sqlite:///{path}").execute_sql("DROP TABLE weekly_actuals")
    refused(upload(f"{HEADER}\n{line()}\n"), "no such table: weekly_actuals; run: python -m migrations.phase_4_5")


def test_a_file_goes_into_a_database_named_by_a_uri(upload, path):
    uri = f"sqlite:///file:{path}?mode=rw&uri=true"
    done = upload(f"{HEADER}\n{line()}\n", "--database", uri)
    assert (done.returncode, done.stderr) == (0, "")
    assert fetch(path, COUNT) == [(1,)]


def test_no_database_is_made_by_a_typing_error(upload, tmp_path):
    done = upload(f"{HEADER}\n{line()}\n", "--database", f"sqlite:///{tmp_path}/fashon.db")
    refused(done, "fashon.db", "no such database")
    assert not (tmp_path / "fashon.db").exists()


def test_a_server_that_is_not_there_tells_no_password(upload):
    done = upload(f"{HEADER}\n{line()}\n", "--database", "postgresql://app:s3cr3t@127.0.0.1:1/shop")
    assert "s3cr3t" not in refused(done, "postgresql://app@127.0.0.1:1/shop")


@pytest.mark.parametrize(
    "options",
    [["--database", "oracle://app:s3cr3t@host/shop"], ["--on-conflict", "ignore"], ["--colour"], ["postgresql://app:s3cr3t@host/shop"]],
)  # fmt: skip
def test_a_wrong_call_is_2(upload, options):
    assert "s3cr3t" not in refused(upload(f"{HEADER}\n{line()}\n", *options), status=2)
