"""Upload a CSV file whose first line names the columns: all rows or none.

    python -m db.uploads week_09.csv [--database URL] [--on-conflict update] [--table weekly_actuals]

The file is UTF-8 with commas; `-` is standard input. An empty cell is no value. Errors name the file's lines.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import sys
from bisect import bisect_right
from collections.abc import Iterator
from typing import NoReturn, TextIO

import peewee

from db.fields import JSONField
from db.models import MODELS, Uploadable
from db.uploads import UploadRefused, progress
from db.url import DEFAULT_URL, UnusableURL, connect, describe, without_password, without_userinfo

_TABLES = {model._meta.table_name: model for model in MODELS}


class UnusableFile(ValueError):
    """The file is not what can be uploaded; the text says where and why."""


class _Rows:
    """The rows of an open file as tuples in the order of `names`, its first line."""

    def __init__(self, file: TextIO, model: type[Uploadable]) -> None:
        self._reader = csv.reader(file, strict=True)
        self._starts: list[tuple[int, int]] = []  # (row, line less row) where that changes: cells of several lines
        self._records = self._read()
        self.names: list[str] = next(self._records, (1, []))[1]
        if not self.names:
            raise UnusableFile("it is empty; its first line names the columns")
        for name in self.names:
            if name != name.strip():
                raise UnusableFile(f"line 1: there is a blank beside {name!r}; put nothing but a comma between cells")
            if self.names.count(name) > 1:
                raise UnusableFile(f"line 1: the column {name!r} is named twice")
        fields = enumerate(map(model._meta.combined.get, self.names))
        self._json = [position for position, field in fields if isinstance(field, JSONField)]

    def __iter__(self) -> Iterator[tuple[object, ...]]:
        many, row = len(self.names), 0
        for row, (line, cells) in enumerate(self._records, 1):
            if not self._starts or self._starts[-1][1] != line - row:
                self._starts.append((row, line - row))
            if len(cells) != many:
                surplus = f": {cells[many]!r:.80} is under no name" if len(cells) > many else ""
                raise UnusableFile(f"line {line} has {len(cells)} cells where line 1 names {many} columns{surplus}")
            values: list[object] = [cell or None for cell in cells]
            for position in self._json:
                values[position] = self._parsed(line, self.names[position], cells[position])
            yield tuple(values)

    def _parsed(self, line: int, name: str, cell: str) -> object:
        try:
            return json.loads(cell) if cell else None
        except ValueError:
            raise UnusableFile(f"line {line}: {name} is {cell!r:.80}, expected JSON") from None

    def line(self, row: int) -> int:
        """Return the line of the file on which a row begins that was read."""
        return row + self._starts[bisect_right(self._starts, (row, sys.maxsize)) - 1][1]

    def _read(self) -> Iterator[tuple[int, list[str]]]:
        """Yield what is no blank line, with the number of the line on which it begins."""
        line = 1
        try:
            for cells in self._reader:
                if cells:
                    yield line, cells
                line = self._reader.line_num + 1
        except csv.Error as error:
            raise UnusableFile(f"line {line}: {error}") from None
        except UnicodeDecodeError as error:
            raise UnusableFile(f"line {line} or one below it is not UTF-8: {error.reason}") from None


def upload(file: TextIO, model: type[Uploadable], database: peewee.Database, on_conflict: str | None = None) -> int:
    """Upload an open CSV file and return the number of its rows.

    :raises UnusableFile: it is empty, or a line has too many cells or too few.
    :raises UploadRefused: a row cannot go in; the text names the lines.
    """
    rows = _Rows(file, model)
    try:
        return model.bulk_insert(progress(rows), rows.names, on_conflict, database)
    except UploadRefused as error:
        if not error.rows:
            raise
        blamed = "; ".join(f"line {rows.line(row)}: {reason}" for row, reason in error.rows)
        raise UploadRefused(f"nothing was uploaded: {blamed}") from error


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(without_userinfo(message))


def main(argv: list[str] | None = None) -> int:
    """Run the command: 0 done, 1 it could not be done, 2 the call is wrong."""
    parser = _Parser(prog="python -m db.uploads", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", help="a CSV file, or - for standard input")
    parser.add_argument("--database", metavar="URL", help=f"default $DATABASE_URL, else {DEFAULT_URL}")
    parser.add_argument("--on-conflict", choices=["update"], help="replace rows that are there, instead of refusing")
    parser.add_argument("--table", choices=list(_TABLES), default="weekly_actuals", help="default weekly_actuals")
    options = parser.parse_args(argv)
    try:
        database = connect(options.database)
    except UnusableURL as error:
        return _failed(str(error), 2)
    place = f"{options.file} into {options.table} in {describe(database)}"
    try:
        _demand_file(database)
        with _opened(options.file) as file, contextlib.closing(database):
            count = upload(file, _TABLES[options.table], database, options.on_conflict)
    except (peewee.PeeweeException, UnusableFile, OSError) as error:
        return _failed(f"{place}: {' '.join(without_password(database, str(error)).split())}", 1)
    except KeyboardInterrupt:
        return _failed(f"{place}: interrupted; nothing was uploaded", 1)
    print(f"{place}: {count:,} rows" + ("" if count else "; there is nothing below its first line"))
    return 0


def _failed(text: str, status: int) -> int:
    print(f"error: {text}", file=sys.stderr)
    return status


def _demand_file(database: peewee.Database) -> None:
    """A typing error must not create a database."""
    file = isinstance(database, peewee.SqliteDatabase) and not database.connect_params.get("uri")
    if file and not os.path.exists(database.database):
        raise FileNotFoundError("there is no such database; python -m db.init_db creates one")


def _opened(name: str) -> TextIO:
    return open(0 if name == "-" else name, encoding="utf-8-sig", newline="")
