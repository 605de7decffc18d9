"""The command line of `python -m migrations.phase_4_5`: the only place that prints or exits."""

from __future__ import annotations

import argparse
import functools
import json
import logging
import math
import os
import sys

import db
from db.url import DEFAULT_URL, without_userinfo
from migrations import __version__, phase_4_5
from migrations.report import MigrationError, Report

_EPILOG = """exit status: 0 done, or nothing to do; 1 it could not be done, or --check found work to do;
2 the call is wrong: unknown option, unusable URL, missing driver"""
_PLAIN = {"✓": "[ok]", "✗": "[failed]", "──": "--", "…": "..."}
logger = logging.getLogger("migrations.phase_4_5")


class _UsageError(Exception):
    """The call is wrong."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise _UsageError(f"{without_userinfo(message)}; see --help")


class _Handler(logging.StreamHandler):
    """Standard error: each line in the same form, plain signs where the terminal's encoding lacks ours."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        text = text.replace("\n", "\n" + text.partition(record.message)[0])
        encoding = getattr(self.stream, "encoding", None) or "ascii"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            for sign, plain in _PLAIN.items():
                text = text.replace(sign, plain)
            text = text.encode(encoding, "backslashreplace").decode(encoding)
        return text


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status and let no exception out but that of `--help`."""
    argv = sys.argv[1:] if argv is None else argv
    status, options = 1, argparse.Namespace(json="--json" in argv, dry_run=False)
    try:
        options = _parse(argv)
        _configure_logging(logging.DEBUG if options.verbose else logging.WARNING if options.quiet else logging.INFO)
        report = _call(options)
        status = int(options.check and report.status == "pending")
    except (_UsageError, db.UnusableURL) as error:
        status, report = 2, _failed(error)
    except MigrationError as error:
        report = error.report or _failed(error)
    except KeyboardInterrupt:
        report = _failed(MigrationError("interrupted; run again, it goes on from whatever is there"))
    except Exception as error:  # a defect of ours: still one line, and the rest with -v
        logger.debug("unexpected", exc_info=True)
        report = _failed(MigrationError(f"unexpected {type(error).__name__}; run with -v for the details"))
    _configure_logging(logging.INFO, only_if_missing=True)
    if report.error:
        logger.error("✗ %s", report.error["message"])
    return status if _print(report, options) else 1


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="python -m migrations.phase_4_5",
        description=phase_4_5.__doc__.partition("\n")[0],
        epilog=_EPILOG,
        formatter_class=functools.partial(argparse.RawDescriptionHelpFormatter, width=100),  # or it imports shutil
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--database", metavar="URL", help=f"default $DATABASE_URL, else {DEFAULT_URL}")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 where a run would change something or fail"
    )
    mode.add_argument("--dry-run", action="store_true", help="change nothing; print the SQL that a run would execute")
    mode.add_argument(
        "--rollback", action="store_true", help="drop weekly_actuals, unless it holds rows or others depend on it"
    )
    add("--force", action="store_true", help="with --rollback: drop the rows too")
    add("--no-smoke-test", dest="smoke_test", action="store_false", help="leave the smoke test out")
    add("--no-statistics", dest="statistics", action="store_false", help="leave the row counts out")
    add("--exact-counts", action="store_true", help="count large tables on a server, rather than estimate")
    add(
        "--lock-timeout",
        metavar="SECONDS",
        type=seconds,
        default=10.0,
        help="how long to wait for locks, in all (default 10)",
    )
    add("--json", action="store_true", help="print one JSON document on standard output")
    add("-v", "--verbose", action="store_true", help="log every query")
    add("-q", "--quiet", action="store_true", help="log warnings and errors only")
    add("--version", action="version", version=__version__)
    options = parser.parse_args(argv)
    if options.force and not options.rollback:
        parser.error("--force goes with --rollback")
    return options


def seconds(text: str) -> float:
    seconds = float(text)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError
    return seconds


def _call(options: argparse.Namespace) -> Report:
    database = db.connect(options.database)
    if options.rollback:
        return phase_4_5.rollback(database, options.force, options.lock_timeout)
    if options.check or options.dry_run:
        return phase_4_5.check(database, options.lock_timeout)
    return phase_4_5.run(database, options.smoke_test, options.statistics, options.lock_timeout, options.exact_counts)


def _failed(error: Exception) -> Report:
    return Report("failed", "", "", error={"type": type(error).__name__.lstrip("_"), "message": str(error)})


def _configure_logging(level: int, only_if_missing: bool = False) -> None:
    if only_if_missing and any(isinstance(handler, _Handler) for handler in logger.handlers):
        return
    handler = _Handler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s | %(levelname)-8s | %(message)s", "%Y-%m-%d %H:%M:%S"))
    for name in ("migrations.phase_4_5", *(["peewee"] if level == logging.DEBUG else [])):
        target = logging.getLogger(name)
        target.handlers[:], target.propagate = [handler], False
        target.setLevel(level)


def _print(report: Report, options: argparse.Namespace) -> bool:
    """Print what was asked for; return whether it could be written."""
    if options.json:
        text = json.dumps(report.to_dict(), indent=2, default=str)
    elif options.dry_run and report.changes:
        text = "\n".join(_script(report))
    else:
        return True
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # else the reader had enough
            logger.error("✗ standard output: %s", error.strerror)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return isinstance(error, BrokenPipeError)
    return True


def _script(report: Report) -> list[str]:
    """Return the changes with the transactions that a run puts around them."""
    begin = {"sqlite": "BEGIN IMMEDIATE;", "postgresql": "BEGIN;"}.get(report.backend)
    lines, within = [], False
    for change in report.changes:
        together = bool(begin) and not change.alone
        if together != within:
            lines.append(begin if together else "COMMIT;")
            within = together
        lines.append(f"{change.sql};")
    return lines + ["COMMIT;"] * within
