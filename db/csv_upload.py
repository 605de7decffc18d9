"""Upload a CSV file of weekly actuals, whose first line names the columns: all rows or none.

    python -m db.uploads week_09.csv [--database URL] [--on-conflict update]

The file is UTF-8 with commas; `-` is standard input. An empty cell is no value. Errors name the file's lines.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import re
from collections import deque
from collections.abc import Iterator
from typing import TextIO

import peewee

from db.command import Command
from db.models import WeeklyActuals
from db.uploads import UploadRefused, progress

_BATCH = 10_000  # rows in memory at a time


def upload(file: TextIO, database: peewee.Database, on_conflict: str | None = None) -> int:
    """Upload an open CSV file and return the number of its rows; an UploadRefused names the lines to blame."""
    begins: deque[tuple[int, int]] = deque(maxlen=_BATCH)
    rows = _rows(file, begins)
    names = next(rows, ())
    if not names:
        raise UploadRefused("it is empty; its first line names the columns")
    if len(names) == 1 and (mark := re.search("[;\t|]", names[0] or "")):
        raise UploadRefused(f"line 1: {mark[0]!r} stands between the names; separate cells by commas")
    for name in names:
        if name and name != name.strip():
            raise UploadRefused(f"line 1: there is a blank beside {name!r}; put nothing but a comma between cells")
    try:
        return WeeklyActuals.bulk_insert(progress(rows), names, on_conflict, database, _BATCH)
    except UploadRefused as error:
        if not error.rows:
            raise
        line_of = dict(begins)
        blamed = "; ".join(f"line {line_of[row]}: {reason}" for row, reason in error.rows)
        raise UploadRefused(f"nothing was uploaded: {blamed}") from error


def _rows(file: TextIO, begins: deque[tuple[int, int]]) -> Iterator[tuple[str | None, ...]]:
    """Yield what is no blank line; note of each, with its number from 0, on which line it begins."""
    reader, row, line = csv.reader(file, strict=True), 0, 1
    try:
        for cells in reader:
            if cells:
                begins.append((row, line))
                yield tuple(cell or None for cell in cells)
                row += 1
            line = reader.line_num + 1
    except csv.Error as error:
        raise UploadRefused(f"line {line}: {error}") from None
    except UnicodeDecodeError as error:
        raise UploadRefused(f"line {line} or one below it is not UTF-8: {error.reason}") from None


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    command = Command(__doc__ or "")
    command.add_argument("file", help="a CSV file, or - for standard input")
    command.add_argument("--on-conflict", choices=["update"], help="replace rows that are there, instead of refusing")
    return command.run(argv, _act)


def _act(database: peewee.Database, options: argparse.Namespace) -> str:
    is_file = isinstance(database, peewee.SqliteDatabase) and not database.connect_params.get("uri")
    if is_file and not os.path.exists(database.database):  # a typing error must not create a database
        raise FileNotFoundError("there is no such database; python -m db.init_db creates one")
    name = 0 if options.file == "-" else options.file
    try:
        with open(name, encoding="utf-8-sig", newline="") as file, contextlib.closing(database):
            count = upload(file, database, options.on_conflict)
    except KeyboardInterrupt:
        raise UploadRefused(f"{options.file}: interrupted; nothing was uploaded") from None
    except (UploadRefused, OSError) as error:
        raise UploadRefused(f"{options.file}: {getattr(error, 'strerror', None) or error}") from None
    rows = f"{count:,} row{'s' * (count != 1)} of {options.file}"
    return rows if count else f"{rows}; there is nothing below its first line"
