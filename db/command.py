"""What the commands of this package have in common: `--database`, one line for what went wrong, the exit status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

import peewee

from db.url import DEFAULT_URL, UnusableURL, connect, describe, without_password, without_userinfo


class Command(argparse.ArgumentParser):
    """The options of a command; `run` does what it is for."""

    def __init__(self, module: str, description: str) -> None:
        super().__init__(prog=f"python -m {module}", description=description.partition("\n")[0])
        self.add_argument("--database", metavar="URL", help=f"default $DATABASE_URL, else {DEFAULT_URL}")

    def error(self, message: str) -> NoReturn:
        """Tell of a wrong call, but no password."""
        super().error(without_userinfo(message))

    def run(
        self, argv: list[str] | None, act: Callable[[peewee.Database, argparse.Namespace], str], *fails: type[Exception]
    ) -> int:
        """Act and print what came of it; 0 done, 1 it could not be done, 2 the call is wrong."""
        options = self.parse_args(argv)
        try:
            database = connect(options.database)
        except UnusableURL as error:
            return _failed(str(error), 2)
        try:
            print(f"{describe(database)}: {act(database, options)}")
        except (peewee.PeeweeException, OSError, *fails) as error:
            return _failed(f"{describe(database)}: {' '.join(without_password(database, str(error)).split())}", 1)
        return 0


def _failed(text: str, status: int) -> int:
    print(f"error: {text}", file=sys.stderr)
    return status
