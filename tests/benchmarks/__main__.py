"""Measures speed and memory, always against a reference of the same run.

    python -m tests.benchmarks [--full] [PART ...]
    python -m tests.benchmarks --plot FILE.svg

Each line has two medians and their ratio: this project against the reference. Servers
that cannot be reached are skipped; POSTGRESQL_URL, MARIADB_URL and MYSQL_URL name
others.
"""

import argparse
import logging
import tempfile
from typing import NamedTuple

from . import servers, sqlite
from .common import show


class Sizes(NamedTuple):
    rows: int  # of weekly_actuals
    history: int  # of historical_sales
    upload: int
    stall: int  # of weekly_actuals while an index is built
    rounds: int


QUICK = Sizes(rows=50_000, history=200_000, upload=20_000, stall=100_000, rounds=5)
FULL = Sizes(
    rows=1_000_000, history=10_000_000, upload=200_000, stall=2_000_000, rounds=3
)
# "mysql" is MariaDB, and "mysql97" MySQL, as in the tests.
SERVERS = ("postgresql", "mysql", "mysql97")
PARTS = ("sqlite", "command", "changes", "statistics", "uploads", *SERVERS)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="a million weekly rows, ten million historical ones",
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="draw the costs compared with other tools, and by rows, as SVG",
    )
    parser.add_argument("part", nargs="*", help=f"default all: {' '.join(PARTS)}")
    options = parser.parse_args()
    if unknown := set(options.part) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    parts = options.part or PARTS
    sizes = FULL if options.full else QUICK
    # Do not print each change.
    logging.getLogger("migrations").addHandler(logging.NullHandler())
    show("this project / reference", "project", "reference", "ratio", "goal")
    if options.plot:
        from .plot import plot  # it requires the extra `peers`

        plot(options.plot, options.full)
        return
    with tempfile.TemporaryDirectory() as folder:
        if {"sqlite", "command", "changes", "statistics"} & set(parts):
            small, long = sqlite.without_changes(folder, sizes)
            if "command" in parts:
                sqlite.command(small, 20)
            if "changes" in parts:
                sqlite.changes(folder, long, sizes.rows, sizes.rounds)
            if "statistics" in parts:
                sqlite.statistics_of(long, sizes.history, sizes.rounds)
        if "uploads" in parts:
            sqlite.uploads(folder, sizes.upload, sizes.rounds)
    for engine in SERVERS:
        if engine in parts:
            servers.measure(engine, sizes)


if __name__ == "__main__":
    main()
