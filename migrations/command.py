"""The command line of a phase, `python -m migrations.phase_…`.

It is the only place of the migrations that prints, configures logging or decides about
an exit status.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import math
import os
import sys
from typing import NoReturn, Protocol

import peewee

from db.command import Command
from db.plurals import plural
from db.url import UnusableURL, connect, without_userinfo
from migrations import __version__
from migrations.errors import ChangeRefused, MigrationError, UnsupportedModel
from migrations.report import Report
from migrations.terminal import Handler

_EPILOG = """exit status:
0 done, or nothing to do; 1 not possible, or --check found work;
2 usage error: unknown option, unusable URL, missing driver, unsupported model"""
logger = logging.getLogger("migrations")


class RunnablePhase(Protocol):
    """What the command line needs of a phase."""

    title: str

    @property
    def tables(self) -> str: ...

    def run(
        self,
        database: peewee.Database,
        smoke_test: bool = True,
        statistics: bool = True,
        lock_timeout: float = 10.0,
        thorough: bool = False,
        force: bool = False,
    ) -> Report: ...

    def check(
        self,
        database: peewee.Database,
        lock_timeout: float = 10.0,
        thorough: bool = False,
        force: bool = False,
    ) -> Report: ...

    def rollback(
        self,
        database: peewee.Database,
        force: bool = False,
        lock_timeout: float = 10.0,
    ) -> Report: ...

    def check_rollback(
        self,
        database: peewee.Database,
        force: bool = False,
        lock_timeout: float = 10.0,
    ) -> Report: ...


class UsageError(Exception):
    """The command was called in a way that it does not understand."""


class _PhaseCommand(Command):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{without_userinfo(message)}; see --help")


def main(phase: RunnablePhase, argv: list[str] | None = None) -> int:
    """Run the command and return its exit status.

    No exception leaves it, except the SystemExit of `--help` and `--version`.
    """
    if argv is None:
        argv = sys.argv[1:]
    status = 1
    # What is known of the options before they are parsed.
    options = argparse.Namespace(json="--json" in argv, dry_run=False)
    _configure_logging(logging.INFO)
    try:
        options = _parse(phase, argv)
        _configure_logging(_log_level(options))
        report = _call(phase, options)
        found_work = options.check and report.status == "pending"
        status = 1 if found_work else 0
    except (UsageError, UnusableURL) as error:
        status = 2
        report = _failed(error)
    except UnsupportedModel as error:
        status = 2
        report = error.report or _failed(error)
    except MigrationError as error:
        report = error.report or _failed(error)
    except KeyboardInterrupt:
        message = "interrupted; run again, it continues from whatever is there"
        report = _failed(MigrationError(message))
    except Exception as error:  # a defect: still one line, and the rest with -v
        logger.debug("unexpected", exc_info=True)
        message = f"unexpected {type(error).__name__}; run with -v for the details"
        report = _failed(MigrationError(message))
    _log_result(report)
    if not _print(report, options):
        return 1
    return status


def _parse(phase: RunnablePhase, argv: list[str]) -> argparse.Namespace:
    tables = phase.tables
    parser = _PhaseCommand(
        f"{phase.title}: create or repair {tables}, and verify the result.",
        epilog=_EPILOG,
        # With a fixed width argparse does not import shutil to ask the terminal.
        formatter_class=functools.partial(
            argparse.RawDescriptionHelpFormatter, width=100
        ),
        allow_abbrev=False,
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="change nothing; exit 1 if a run would change something or fail",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="change nothing; print the SQL that a run, or a rollback, would execute; "
        "exit 1 if it would be refused",
    )
    parser.add_argument(
        "--rollback",
        action="store_true",
        help=f"drop {tables}; refused while there are rows, or objects that depend on "
        "what is dropped",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="drop the columns listed in `drops` that still hold values; "
        "with --rollback: drop the rows, too",
    )
    parser.add_argument(
        "--no-smoke-test",
        dest="smoke_test",
        action="store_false",
        help="skip the smoke test",
    )
    parser.add_argument(
        "--no-statistics",
        dest="statistics",
        action="store_false",
        help="skip the row counts",
    )
    parser.add_argument(
        "--thorough",
        action="store_true",
        help="read every row, however long it takes: exact counts, and orphans in "
        "columns without an index",
    )
    parser.add_argument(
        "--lock-timeout",
        metavar="SECONDS",
        type=seconds,
        default=10.0,
        help="total time to wait for locks before giving up (default 10)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON document on standard output; the log is on standard error",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log every query")
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="log warnings and errors only"
    )
    parser.add_argument("--version", action="version", version=__version__)
    options = parser.parse_args(argv)
    if options.check and (options.dry_run or options.rollback):
        other = "--dry-run" if options.dry_run else "--rollback"
        parser.error(f"--check and {other} cannot be used together")
    return options


def seconds(text: str) -> float:
    """Return a number of seconds; argparse puts this function's name in its message."""
    number = float(text)
    if not 0 <= number < math.inf:
        raise ValueError
    return number


def _call(phase: RunnablePhase, options: argparse.Namespace) -> Report:
    database = connect(options.database)
    timeout = options.lock_timeout
    if options.rollback and options.dry_run:
        return phase.check_rollback(database, options.force, timeout)
    if options.rollback:
        return phase.rollback(database, options.force, timeout)
    if options.check or options.dry_run:
        return phase.check(
            database,
            lock_timeout=timeout,
            thorough=options.thorough,
            force=options.force,
        )
    return phase.run(
        database,
        smoke_test=options.smoke_test,
        statistics=options.statistics,
        lock_timeout=timeout,
        thorough=options.thorough,
        force=options.force,
    )


def _failed(error: Exception) -> Report:
    """Return the report of a call that did not get as far as a database."""
    text = {"type": type(error).__name__, "message": str(error)}
    return Report("failed", "", "", error=text)


def _log_level(options: argparse.Namespace) -> int:
    if options.verbose:
        return logging.DEBUG
    if options.quiet:
        return logging.WARNING
    return logging.INFO


def _configure_logging(level: int) -> None:
    """Log on standard error from a level on; with DEBUG, log every query, too."""
    handler = Handler(whole_lines=level == logging.DEBUG)
    names = [logger.name]
    if level == logging.DEBUG:
        names.append("peewee")
    for name in names:
        target = logging.getLogger(name)
        target.handlers[:] = [handler]
        target.propagate = False
        target.setLevel(level)


def _log_result(report: Report) -> None:
    """Log the outcome in a last line."""
    if report.error:
        prefix = ""
        if report.error["type"] == ChangeRefused.__name__:
            prefix = "refused: "
        logger.error("✗ %s%s", prefix, report.error["message"])
    elif report.status == "migrated":
        duration = report.duration_ms / 1000
        number = plural(len(report.changes), "statement")
        logger.info("✓ migrated in %.1f s: %s", duration, number)
    elif report.status == "up_to_date":
        logger.info("✓ nothing to do")


def _print(report: Report, options: argparse.Namespace) -> bool:
    """Print what was asked for; return whether it could be written."""
    if options.json:
        text = json.dumps(report.to_dict(), indent=2, default=str)
    elif options.dry_run:
        text = "\n".join(report.script)
    else:
        text = ""
    if not text:
        return True
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError as error:
        # Otherwise Python fails once more when it flushes standard output at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader had enough
            return True
        logger.error("✗ standard output: %s", error.strerror)
        return False
    return True
