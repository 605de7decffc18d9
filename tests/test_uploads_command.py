"""`python -m db.uploads`: a CSV file is uploaded, or its wrong lines are named."""

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

HEADER = (
    "workflow_id,week_number,week_start_date,week_end_date,store_id,category_id,"
    "actual_units_sold"
)
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
        return cli(
            file,
            "--database",
            f"sqlite:///{path}",
            *options,
            module="db.uploads",
            **more,
        )

    return upload


def refused(done, *says, status=1):
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    error = done.stderr.splitlines()[-1]
    assert [word for word in says if word not in error] == []
    assert done.stdout == ""
    return error


def test_file_is_uploaded(upload, path):
    done = upload("\n".join([HEADER, *(line(f"S{n:03}") for n in range(1, 51))]) + "\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "app.db: 50 rows of " in done.stdout
    assert fetch(path, COUNT) == [(50,)]


def test_header_gives_the_order_of_columns(upload, path):
    text = (
        "store_id,actual_units_sold,forecast_units_sold,week_number,"
        "week_start_date,week_end_date,category_id,workflow_id\r\n"
        "S001,120,100,9,2025-03-03,2025-03-09,womens_dresses,wf_spring_2025\r\n"
        "S002,120,,9,2025-03-03,2025-03-09,womens_dresses,wf_spring_2025\r\n"
    )
    assert upload(text).returncode == 0
    assert fetch(path, "SELECT store_id, variance_pct FROM weekly_actuals") == [
        ("S001", 0.2),
        ("S002", None),
    ]


def test_byte_order_mark_and_blank_lines_are_skipped(upload, path):
    assert (
        upload(f"\ufeff{HEADER}\r\n\r\n{line()}\r\n\r\n{line('S002')}").returncode == 0
    )
    assert fetch(path, COUNT) == [(2,)]


def test_standard_input_is_uploaded_and_called_so(cli, path):
    done = cli(
        "-",
        "--database",
        f"sqlite:///{path}",
        module="db.uploads",
        input=f"\ufeff{HEADER}\n{line()}\n",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"sqlite:///{path}: 1 row of standard input\n"
    assert fetch(path, COUNT) == [(1,)]


def test_errors_in_standard_input_name_it(cli, path):
    text = f"{HEADER}\n{line('S999')}\n"
    done = cli("-", "--database", f"sqlite:///{path}", module="db.uploads", input=text)
    expected = (
        f"error: sqlite:///{path}: standard input: "
        "nothing was uploaded: line 2: there is no store 'S999'"
    )
    assert refused(done) == expected


def test_second_upload_is_refused_or_updates(upload, path):
    text = f"{HEADER}\n{line('S001', '1')}\n{line('S002', '2')}\n"
    assert upload(text).returncode == 0
    refused(
        upload(text),
        "nothing was uploaded: line 2: workflow wf_spring_2025, week_number 9, ",
        "store S001 already exists or is given twice; line 3: ",
    )
    assert (
        upload(text.replace(",2\n", ",7\n"), "--on-conflict", "update").returncode == 0
    )
    assert fetch(path, "SELECT store_id, actual_units_sold FROM weekly_actuals") == [
        ("S001", 1),
        ("S002", 7),
    ]


# -- errors, and their lines


@pytest.mark.parametrize(
    ("lines", "errors"),
    [
        ([line(), line("S999")], "line 3: there is no store 'S999'"),
        (
            [line(), line(units="many")],
            "line 3: actual_units_sold is 'many', expected an integer",
        ),
        ([line(), line(units="")], "line 3: actual_units_sold is missing"),
        (
            [line(), line("S999"), line("S998")],
            "line 3: there is no store 'S999'; line 4: there is no store 'S998'",
        ),
        (["", line(), "", line("S999")], "line 5: there is no store 'S999'"),
        (
            [line(), "wf,9,surplus"],
            "line 3: expected 7 values, one for each column: ('wf', '9', 'surplus')",
        ),
        (
            [line(), "wf_spring_2025,9"],
            "line 3: expected 7 values, one for each column: ('wf_spring_2025', '9')",
        ),
        (
            [line(), line('"S\n1"'), line("S9")],
            "line 3: there is no store 'S\\n1'; line 5: there is no store 'S9'",
        ),
        (
            [line(week=" 9"), line(week=" nine")],
            "line 3: week_number is ' nine', with leading or trailing spaces, "
            "expected an integer",
        ),
        (
            [line(week="nine"), line(), line(units="many"), *[line(units="")] * 13],
            "line 2: week_number is 'nine', expected an integer; "
            "line 4: actual_units_sold is 'many', expected an integer; "
            "line 5: actual_units_sold is missing; "
            "line 6: actual_units_sold is missing; "
            "line 7: actual_units_sold is missing; and 10 more",
        ),
    ],
)
def test_errors_name_the_lines_of_the_file(upload, path, lines, errors):
    error = refused(upload("\n".join([HEADER, *lines]) + "\n"))
    assert error.endswith(f".csv: nothing was uploaded: {errors}")
    assert fetch(path, COUNT) == [(0,)]


@pytest.mark.parametrize(
    ("lines", "says"),
    [([line('"S001"x')], ": line 2: "), ([line(), line('"S002')], ": line 3: ")],
)
def test_line_that_is_not_csv_is_named(upload, path, lines, says):
    refused(upload("\n".join([HEADER, *lines]) + "\n"), says)
    assert fetch(path, COUNT) == [(0,)]


def test_line_in_a_later_batch_is_named(upload):
    lines = [
        line(f"S{store:03}", week=week)
        for week in range(9, 300)
        for store in range(1, 51)
    ]
    lines[7] = lines[7].replace("S008", '"S008"')
    lines[14_000] = line("S999")
    refused(upload("\n".join([HEADER, *lines])), "line 14002: there is no store 'S999'")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ["the file is empty; its first line must name the columns"]),
        (
            f"{HEADER},colour\n{line()},red\n",
            ["unknown column 'colour'; known are workflow_id"],
        ),
        *(
            (
                HEADER.replace(",", mark),
                [f"line 1: the file uses {mark!r} as delimiter, expected ','"],
            )
            for mark in (";", "\t", "|")
        ),
        (
            f"{HEADER},week_number\n{line()},9\n",
            ["the column week_number is given twice: week_number, week_number"],
        ),
        (
            HEADER.replace(",", ", ") + "\n",
            [
                "line 1: leading or trailing space in the column name ' week_number'; ",
                "remove it",
            ],
        ),
        (
            f"{HEADER}\n{line()}\n".encode() + b"wf_\xe9t\xe9\n",
            ["line 1 or one of the next is not UTF-8: invalid continuation byte"],
        ),
    ],
)
def test_unreadable_file_is_refused_with_a_reason(upload, path, text, says):
    refused(upload(text), *says)
    assert fetch(path, COUNT) == [(0,)]


def test_header_without_rows_is_reported(upload):
    done = upload(HEADER + "\n")
    assert done.returncode == 0
    assert done.stdout.endswith("week_09.csv; there are no rows after the header\n")
    assert ": 0 rows of " in done.stdout


def test_missing_file_is_an_error(cli, path):
    refused(
        cli("nowhere.csv", "--database", f"sqlite:///{path}", module="db.uploads"),
        "nowhere.csv",
        "No such file",
    )


def is_locked(connection):
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return True
    connection.rollback()
    return False


def test_interrupted_upload_inserts_nothing(path):
    command = [
        sys.executable,
        "-m",
        "db.uploads",
        "-",
        "--database",
        f"sqlite:///{path}",
    ]
    upload = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    upload.stdin.write(
        HEADER + "\n" + "".join(line(week=week) + "\n" for week in range(10, 20_000))
    )
    upload.stdin.flush()
    with contextlib.closing(sqlite3.connect(path, timeout=0)) as other:
        until = time.monotonic() + 60
        while not is_locked(other):
            assert time.monotonic() < until
    upload.send_signal(signal.SIGINT)
    _, error = upload.communicate(timeout=60)
    assert (upload.returncode, error.count("\n")) == (1, 1)
    assert "standard input: interrupted; nothing was uploaded" in error
    assert fetch(path, COUNT) == [(0,)]


def test_missing_table_names_the_command_to_run(upload, path):
    db.connect(f"sqlite:///{path}").execute_sql("DROP TABLE weekly_actuals")
    refused(
        upload(f"{HEADER}\n{line()}\n"),
        "no such table: weekly_actuals; run: python -m migrations.phase_4_5 "
        f"--database sqlite:///{path}",
    )


def test_file_is_uploaded_into_a_database_named_by_a_uri(upload, path):
    uri = f"sqlite:///file:{path}?mode=rw&uri=true"
    done = upload(f"{HEADER}\n{line()}\n", "--database", uri)
    assert (done.returncode, done.stderr) == (0, "")
    assert fetch(path, COUNT) == [(1,)]


def test_missing_database_is_not_created(upload, tmp_path):
    done = upload(
        f"{HEADER}\n{line()}\n", "--database", f"sqlite:///{tmp_path}/my fashon.db"
    )
    refused(
        done,
        "fashon.db: the database does not exist; check the URL, or create it: ",
        f"python -m db.init_db --database 'sqlite:///{tmp_path}/my fashon.db'",
    )
    assert not (tmp_path / "my fashon.db").exists()


def test_unreachable_server_is_named_without_its_password(upload):
    done = upload(
        f"{HEADER}\n{line()}\n",
        "--database",
        "postgresql://app:s3cr3t@127.0.0.1:1/shop",
    )
    text = refused(
        done,
        "postgresql://app@127.0.0.1:1/shop",
        "nothing was uploaded",
        "; check the URL, and that the server runs and can be reached",
    )
    assert "s3cr3t" not in text


@pytest.mark.parametrize(
    "options",
    [
        ["--database", "oracle://app:s3cr3t@host/shop"],
        ["--on-conflict", "ignore"],
        ["--colour"],
        ["postgresql://app:s3cr3t@host/shop"],
    ],
)
def test_usage_error_exits_with_2(upload, options):
    assert "s3cr3t" not in refused(upload(f"{HEADER}\n{line()}\n", *options), status=2)
