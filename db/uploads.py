"""Upload a CSV file of weekly actuals: all rows or none.

    python -m db.uploads week_09.csv [--database URL] [--on-conflict update]

The file is in UTF-8, its first line has the names of the columns, and its delimiter is
the comma. An empty cell is no value. Errors name the lines of the file. `-` reads
standard input.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, TextIO

import peewee

from db.bulk_insert import (
    UnknownColumn,
    UploadRefused,
    UploadUncertain,
    describe_rows,
    progress,
)
from db.command import Command, connected
from db.models import WeeklyActuals
from db.plurals import plural
from db.refused_rows import error_text
from db.url import describe, shell_word

__all__ = ["UploadRefused", "main", "progress", "upload"]

_BATCH_SIZE = 10_000  # rows in memory at a time
_STANDARD_INPUT = 0  # its file descriptor


class _CSVRows:
    """The rows of an open CSV file without its blank lines, the header first."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.row_count = 0  # without the header
        # The number of a row, from 0 for the header, and the line on which it begins. A
        # refused row is one of the latest batch.
        self.latest: deque[tuple[int, int]] = deque(maxlen=_BATCH_SIZE)

    def __iter__(self) -> Iterator[tuple[str | None, ...]]:
        """Yield the cells of each row, None for an empty one.

        :raises UploadRefused: the file is not CSV or not in UTF-8.
        """
        reader = csv.reader(self.file, strict=True)
        row = 0
        line = 1
        try:
            for cells in reader:
                if cells:
                    self.latest.append((row, line))
                    self.row_count = row
                    yield tuple(cell or None for cell in cells)
                    row += 1
                line = reader.line_num + 1
        except csv.Error as error:
            raise _refused(f"line {line}: {error}") from None
        except UnicodeDecodeError as error:
            raise _refused(
                f"line {line} or one of the next is not UTF-8: {error.reason}"
            ) from None

    def line_names(self) -> dict[int, str]:
        """Return the lines on which the latest rows begin, by the number of the row."""
        return {row: f"line {line}" for row, line in self.latest}


class _Counts(NamedTuple):
    """The numbers of rows of an upload."""

    read: int
    stored: int


def upload(
    file: TextIO, database: peewee.Database, on_conflict: str | None = None
) -> int:
    """Upload an open CSV file and return the number of the rows that are stored.

    A trigger of the table may skip rows without an error.

    :param on_conflict: "update" replaces rows that exist already.
    :raises UploadRefused: with the lines that are wrong.
    """
    return _upload(file, database, on_conflict).stored


def _upload(
    file: TextIO, database: peewee.Database, on_conflict: str | None
) -> _Counts:
    csv_rows = _CSVRows(file)
    rows = iter(csv_rows)
    column_names = next(rows, ())
    _check_header(column_names)
    try:
        stored = WeeklyActuals.bulk_insert(
            progress(rows), column_names, on_conflict, database, _BATCH_SIZE
        )
    except UnknownColumn as error:
        raise _refused(f"line 1: {error.reason}") from error
    except UploadRefused as error:
        if not error.rows:
            raise
        line_names = csv_rows.line_names()
        lines = describe_rows(error.rows, error.more_rows, line_names.__getitem__)
        raise _refused(lines) from error
    return _Counts(csv_rows.row_count, stored)


def _refused(text: str) -> UploadRefused:
    return UploadRefused(f"nothing was uploaded: {text}")


def _check_header(names: tuple[str | None, ...]) -> None:
    """Refuse a header whose columns would not be recognized for a simple reason."""
    if not names:
        raise _refused("the file is empty; its first line must name the columns")
    if len(names) == 1:
        other_delimiter = re.search("[;\t|]", names[0] or "")
        if other_delimiter:
            raise _refused(
                f"line 1: the file uses {other_delimiter[0]!r} as delimiter, "
                "expected ','"
            )
    for number, name in enumerate(names, 1):
        if name is None:
            raise _refused(
                f"line 1: column {number} has no name; remove the comma, "
                "also from the other lines"
            )
        if name != name.strip():
            raise _refused(
                f"line 1: leading or trailing space in the column name {name!r}; "
                "remove it"
            )


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    command = Command(__doc__ or "")
    command.add_argument("file", help="a CSV file, or - for standard input")
    command.add_argument(
        "--on-conflict",
        choices=["update"],
        help="replace rows that exist already, instead of refusing the file",
    )
    return command.run(argv, _upload_file)


def _upload_file(database: peewee.Database, options: argparse.Namespace) -> str:
    _check_that_file_exists(database)
    source: str | int = options.file
    name = options.file
    if options.file == "-":
        source = _STANDARD_INPUT
        name = "standard input"
    try:
        with (
            open(source, encoding="utf-8-sig", newline="") as file,
            connected(database),
        ):
            counts = _upload(file, database, options.on_conflict)
    except KeyboardInterrupt:
        raise UploadRefused(f"{name}: interrupted; nothing was uploaded") from None
    except (UploadRefused, UploadUncertain) as error:
        raise UploadRefused(f"{name}: {error}") from None
    except peewee.PeeweeException as error:
        text = error_text(error)
        raise UploadRefused(f"{name}: nothing was uploaded: {text}") from None
    except OSError as error:
        text = str(error.strerror or error)
        raise UploadRefused(f"{name}: nothing was uploaded: {text}") from None
    result = f"{plural(counts.stored, 'row')} of {name}"
    skipped = counts.read - counts.stored
    if skipped:
        rows = plural(skipped, "row")
        result += f"; {rows} skipped by the database, see its triggers"
    elif counts.read == 0:
        result += "; there are no rows after the header"
    return result


def _check_that_file_exists(database: peewee.Database) -> None:
    """Refuse to create an SQLite database: the URL is probably mistyped."""
    is_sqlite = isinstance(database, peewee.SqliteDatabase)
    if not is_sqlite or database.connect_params.get("uri"):
        return
    if not os.path.exists(database.database):
        url = shell_word(describe(database))
        raise FileNotFoundError(
            "the database does not exist; check the URL, or create it: "
            f"python -m db.init_db --database {url}"
        )


if __name__ == "__main__":
    raise SystemExit(main())
