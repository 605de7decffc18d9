"""What it costs, always beside something known that was measured in the same run.

    python -m tests.benchmarks [--full] [sqlite command changes statistics uploads postgresql mysql]
    python -m tests.benchmarks --plot FILE.svg

Each line gives two medians and their ratio: ours against the reference. Servers that cannot be
reached are left out; POSTGRESQL_URL and MARIADB_URL name others.
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


PARTS = ("sqlite", "command", "changes", "statistics", "uploads", "postgresql", "mysql")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="a million weekly rows, ten million historical ones")
    parser.add_argument("--plot", metavar="FILE", help="draw what it costs, beside other tools and over rows, as SVG")
    parser.add_argument("part", nargs="*", help=f"default all: {' '.join(PARTS)}")
    options = parser.parse_args()
    if unknown := set(options.part) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    parts = options.part or PARTS
    sizes = Sizes(1_000_000, 10_000_000, 200_000, 2_000_000, 3) if options.full else Sizes(
        50_000, 200_000, 20_000, 100_000, 5)  # fmt: skip
    logging.getLogger("migrations").addHandler(logging.NullHandler())  # or each change is a line
    show("ours / reference", "ours", "reference", "ratio", "goal")
    if options.plot:
        from .plot import plot  # it takes what the extra `peers` has

        plot(options.plot, options.full)
        return
    with tempfile.TemporaryDirectory() as folder:
        if {"sqlite", "command", "changes", "statistics"} & set(parts):
            small, long = sqlite.nothing_to_do(folder, sizes)
            if "command" in parts:
                sqlite.command(small, 20)
            if "changes" in parts:
                sqlite.changes(folder, long, sizes.rows, sizes.rounds)
            if "statistics" in parts:
                sqlite.statistics_of(long, sizes.history, sizes.rounds)
        if "uploads" in parts:
            sqlite.uploads(folder, sizes.upload, sizes.rounds)
    for engine in ("postgresql", "mysql"):
        if engine in parts:
            servers.measure(engine, sizes)


if __name__ == "__main__":
    main()
