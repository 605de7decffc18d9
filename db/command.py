"""What commands have in common: their names, `--database`, one line for what went wrong, the exit status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import peewee

from db.url import DEFAULT_URL, UnusableURL, connect, describe, without_password, without_userinfo


class Command(argparse.ArgumentParser):
    """The options of a command; `run` does what it is for."""

    def __init__(self, description: str, **more: Any) -> None:
        spec = getattr(sys.modules["__main__"], "__spec__", None)  # which knows the package's name in an application
        super().__init__(prog=spec and f"python -m {spec.name}", description=description.partition("\n")[0], **more)
        self.add_argument("--database", metavar="URL", help=f"default $DATABASE_URL, else {DEFAULT_URL}")

    def error(self, message: str) -> NoReturn:
        """Tell of a wrong call, but no password."""
        super().error(without_userinfo(message))

    def run(
        self, argv: list[str] | None, act: Callable[[peewee.Database, argparse.Namespace], str], *fails: type[Exception]
    ) -> int:
        """Act, print what came of it and return 0; exits with 1 if it could not be done, 2 if the call is wrong."""
        options = self.parse_args(argv)
        try:
            database = connect(options.database)
        except UnusableURL as error:
            self.exit(2, f"error: {error}\n")
        try:
            print(f"{describe(database)}: {act(database, options)}")
        except (peewee.PeeweeException, OSError, *fails) as error:
            text = " ".join(without_password(database, str(error)).split())
            self.exit(1, f"error: {describe(database)}: {text}\n")
        return 0
