"""This project and other migration tools in situations that they do not expect.

    python -m tests.benchmarks.peers [--list] [--tool TOOL] [SITUATION ...]

Each tool runs in real processes on real databases, set up as its documentation says.
A tool, a server or a pooler that is not installed is skipped; POSTGRESQL_URL,
MARIADB_URL and MYSQL_URL name other servers.
"""

import argparse

from .situations import duplicate, found, orphan, pooler, race, rebuild
from .tools import TOOLS
from .worlds import Skipped

RACE = "Twelve workers start at once, three times, and the table is missing"
HALF = "The table lacks an index and its UNIQUE"
DUPLICATE = (
    "A migration adds an index, then UNIQUE; a duplicate conflicts with it, and is "
    "removed before the second run"
)
SITUATIONS = {
    "race-sqlite": (f"{RACE}: SQLite.", race, "sqlite"),
    "race-postgresql": (f"{RACE}: PostgreSQL.", race, "postgresql"),
    "race-mariadb": (f"{RACE}: MariaDB.", race, "mysql"),
    "race-mysql": (f"{RACE}: MySQL.", race, "mysql97"),
    "race-galera": (
        f"{RACE}: Galera, four workers on each of three nodes.",
        race,
        "galera",
    ),
    "race-pooler": (
        f"{RACE}: PostgreSQL behind pgbouncer in transaction mode.",
        race,
        "pooler",
    ),
    "pooler": (
        "Behind the same pooler, with rows: an index and UNIQUE are added; run twice, "
        "three times.",
        pooler,
        "pooler",
    ),
    "half": (f"{HALF}; the tool has no history of it.", found, "sqlite", "keys"),
    "half-done": (
        f"{HALF}; the tool's history says that all is done.",
        found,
        "sqlite",
        "keys",
        True,
    ),
    "by-hand": (
        "The table is complete, made by hand; the tool has no history of it.",
        found,
        "sqlite",
        None,
    ),
    "duplicate-sqlite": (f"{DUPLICATE}: SQLite.", duplicate, "sqlite"),
    "duplicate-mariadb": (f"{DUPLICATE}: MariaDB.", duplicate, "mysql"),
    "orphan": (
        "A migration adds a foreign key; a row has no parent: SQLite.",
        orphan,
        "sqlite",
    ),
    "rebuild": (
        "A column's type changes; the table has a trigger and a child: SQLite.",
        rebuild,
        "sqlite",
    ),
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--list", action="store_true", help="print the situations, and run nothing"
    )
    parser.add_argument(
        "--tool",
        action="append",
        choices=TOOLS,
        help="only this one; may be given again",
    )
    parser.add_argument(
        "situation", nargs="*", help=f"default all: {' '.join(SITUATIONS)}"
    )
    options = parser.parse_args()
    if unknown := set(options.situation) - set(SITUATIONS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    tools = []
    for name in options.tool or TOOLS:
        if missing := TOOLS[name].missing():
            print(f"{name}: skipped, {', '.join(missing)} not installed")
        else:
            tools.append(name)
    for name in options.situation or SITUATIONS:
        text, *cell = SITUATIONS[name]
        print(f"\n{name}: {text}")
        if not options.list:
            show(tools, *cell)


def show(tools, situation, *arguments):
    for name in tools:
        try:
            print(f"  {TOOLS[name].title:<22}{situation(name, *arguments)}", flush=True)
        except Skipped as reason:
            print(f"  skipped: {reason}")
            break


if __name__ == "__main__":
    main()
