"""What the commands share: `--database`, one-line errors, the exit status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import peewee

from db.url import (
    DEFAULT_URL,
    UnusableURL,
    connect,
    describe,
    what_to_check,
    without_password,
    without_userinfo,
)


class Command(argparse.ArgumentParser):
    """The command line of a module that is run with `python -m`."""

    def __init__(self, description: str, **options: Any) -> None:
        """Take the first line of a description; options are those of ArgumentParser."""
        super().__init__(
            prog=_program_name(), description=description.partition("\n")[0], **options
        )
        self.add_argument(
            "--database",
            metavar="URL",
            help=f"default $DATABASE_URL, else {DEFAULT_URL}",
        )

    def error(self, message: str) -> NoReturn:
        """Exit with status 2 and the message, without a password that it may quote."""
        super().error(without_userinfo(message))

    def run(
        self,
        argv: list[str] | None,
        action: Callable[[peewee.Database, argparse.Namespace], str],
        errors: tuple[type[Exception], ...] = (),
    ) -> int:
        """Call the action, print the text that it returns, and return 0.

        Exits with status 2 if the options or the URL are unusable, and with 1 if the
        action raises an error of Peewee, of the operating system, or one of `errors`.
        """
        options = self.parse_args(argv)
        try:
            database = connect(options.database)
        except UnusableURL as error:
            self.exit(2, f"error: {error}\n")
        try:
            print(f"{describe(database)}: {action(database, options)}")
        except (peewee.PeeweeException, OSError, *errors) as error:
            self.exit(1, f"error: {_message(database, error)}\n")
        except KeyboardInterrupt:
            message = "interrupted; run again, it continues from whatever is there"
            self.exit(1, f"error: {describe(database)}: {message}\n")
        return 0


@contextmanager
def connected(database: peewee.Database) -> Iterator[None]:
    """An open connection, which is closed at the end.

    :raises ConnectionError: it cannot be opened; the text says what to check.
    """
    try:
        database.connect()
    except (peewee.PeeweeException, OSError) as error:
        raise ConnectionError(f"{error}; {what_to_check(database)}") from error
    try:
        yield
    finally:
        database.close()


def _message(database: peewee.Database, error: BaseException) -> str:
    """Return where an error happened, and its text, in one line."""
    while "cannot rollback" in str(error) and error.__context__ is not None:
        # SQLite has rolled back already, for example because the disk is full.
        error = error.__context__
    where = describe(database)
    text = without_password(database, " ".join(str(error).split()))
    if text.startswith(where):  # an error of `migrations`
        return text
    return f"{where}: {text}"


def _program_name() -> str | None:
    """Return how the command is called, or None to let argparse find it."""
    # With `python -m`, only the spec of the main module has its full name.
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None:
        return None
    return f"python -m {spec.name}"
