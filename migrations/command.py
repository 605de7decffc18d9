"""The command line of a phase, `python -m migrations.phase_…`: the only place that prints or exits."""

from __future__ import annotations

import argparse
import functools
import json
import logging
import math
import os
import sys
from typing import NoReturn

from db.command import Command
from db.url import UnusableURL, connect, without_userinfo
from migrations import __version__
from migrations.phase import Phase
from migrations.report import MigrationError, Refused, Report
from migrations.terminal import Handler

_EPILOG = """exit status: 0 done, or nothing to do; 1 it could not be done, or --check found work to do;
2 the call is wrong: unknown option, unusable URL, missing driver"""
logger = logging.getLogger("migrations")


class UsageError(Exception):
    pass


class _Command(Command):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{without_userinfo(message)}; see --help")


def main(phase: Phase, argv: list[str] | None = None) -> int:
    """Run the command; return its exit status and let no exception out but that of `--help`."""
    argv = sys.argv[1:] if argv is None else argv
    status, options = 1, argparse.Namespace(json="--json" in argv, dry_run=False)
    _log_from(logging.INFO)
    try:
        options = _parse(phase, argv)
        _log_from(logging.DEBUG if options.verbose else logging.WARNING if options.quiet else logging.INFO)
        report = _call(phase, options)
        status = int(options.check and report.status == "pending")
    except (UsageError, UnusableURL) as error:
        status, report = 2, _failed(error)
    except MigrationError as error:
        report = error.report or _failed(error)
    except KeyboardInterrupt:
        report = _failed(MigrationError("interrupted; run again, it goes on from whatever is there"))
    except Exception as error:  # a defect of ours: still one line, and the rest with -v
        logger.debug("unexpected", exc_info=True)
        report = _failed(MigrationError(f"unexpected {type(error).__name__}; run with -v for the details"))
    _sum_up(report)
    return status if _print(report, options) else 1


def _parse(phase: Phase, argv: list[str]) -> argparse.Namespace:
    builds = ", ".join(phase.names)
    parser = _Command(
        f"{phase.title}: create or mend {builds}, whatever state the database is in, and prove it.",
        epilog=_EPILOG,
        formatter_class=functools.partial(argparse.RawDescriptionHelpFormatter, width=100),  # or it imports shutil
        allow_abbrev=False,
    )
    add, mode = parser.add_argument, parser.add_mutually_exclusive_group()
    look = mode.add_argument
    look("--check", action="store_true", help="change nothing; exit 1 where a run would change something or fail")
    look("--dry-run", action="store_true", help="change nothing; print the SQL that a run would execute")
    look("--rollback", action="store_true", help=f"drop {builds}, unless rows are there or others depend on it")
    add("--force", action="store_true", help="with --rollback: drop the rows too")
    add("--no-smoke-test", dest="smoke_test", action="store_false", help="leave the smoke test out")
    add("--no-statistics", dest="statistics", action="store_false", help="leave the row counts out")
    thorough = "look at every row, however long it takes: exact counts, orphans in columns without an index"
    add("--thorough", action="store_true", help=thorough)
    patience = "how long to wait for locks, in all (default 10)"
    add("--lock-timeout", metavar="SECONDS", type=seconds, default=10.0, help=patience)
    add("--json", action="store_true", help="print one JSON document on standard output")
    add("-v", "--verbose", action="store_true", help="log every query")
    add("-q", "--quiet", action="store_true", help="log warnings and errors only")
    add("--version", action="version", version=__version__)
    options = parser.parse_args(argv)
    if options.force and not options.rollback:
        parser.error("--force goes with --rollback")
    return options


def seconds(text: str) -> float:
    """Return a number of seconds; its name is in argparse's message."""
    if not 0 <= float(text) < math.inf:
        raise ValueError
    return float(text)


def _call(phase: Phase, given: argparse.Namespace) -> Report:
    database = connect(given.database)
    if given.rollback:
        return phase.rollback(database, given.force, given.lock_timeout)
    if given.check or given.dry_run:
        return phase.check(database, given.lock_timeout, given.thorough)
    return phase.run(database, given.smoke_test, given.statistics, given.lock_timeout, given.thorough)


def _failed(error: Exception) -> Report:
    return Report("failed", "", "", error={"type": type(error).__name__, "message": str(error)})


def _log_from(level: int) -> None:
    """Log what is of a level or a higher one on standard error; from DEBUG on, every query."""
    handler = Handler(whole=level == logging.DEBUG)
    for name in (logger.name, *(["peewee"] if level == logging.DEBUG else [])):
        target = logging.getLogger(name)
        target.handlers[:], target.propagate = [handler], False
        target.setLevel(level)


def _sum_up(report: Report) -> None:
    """Say in a last line what became of it."""
    if report.error:
        refused = "refused: " * (report.error["type"] == Refused.__name__)
        logger.error("✗ %s%s", refused, report.error["message"])
    elif report.status == "migrated":
        count = len(report.changes)
        logger.info("✓ migrated in %.1f s: %d statement%s", report.duration_ms / 1000, count, "s" * (count != 1))
    elif report.status == "up_to_date":
        logger.info("✓ nothing to do")


def _print(report: Report, options: argparse.Namespace) -> bool:
    """Print what was asked for; return whether it could be written."""
    text = json.dumps(report.to_dict(), indent=2, default=str) if options.json else "\n".join(report.script)
    if not (options.json or options.dry_run) or not text:
        return True
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
        return True
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # else the reader had enough
            logger.error("✗ standard output: %s", error.strerror)
        return isinstance(error, BrokenPipeError)
