"""One SVG of two plots: runs without changes by tool, and the command by rows."""

import contextlib
import functools
import math
import statistics
import subprocess
import sys

import db
from migrations import phase_4_5

from .common import medians, readable, show, upload
from .peers.tools import ROOT, TOOLS, Project
from .peers.worlds import Skipped, world

ENGINES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MariaDB"}
ROWS = (1_000, 100_000, 1_500_000)
# The call of an application at its start, each time with a new connection.
CALLS = {
    "project": (
        "import db\nfrom migrations import phase_4_5\ndef call(): "
        "phase_4_5.ensure(db.connect(url))"
    ),
    "runner": """import db\nfrom playhouse.migrations import Runner
def call():
    database = db.connect(url)
    with database.connection_context(): Runner(database, 'steps').up()""",
    "peewee-migrate": """import db\nfrom peewee_migrate import Router
def call():
    database = db.connect(url)
    with database.connection_context(): Router(database, 'steps').run()""",
    "yoyo": """from yoyo import get_backend, read_migrations
def call():
    with get_backend(url) as backend, backend.lock():
        backend.apply_migrations(backend.to_apply(read_migrations('steps')))""",
    "alembic": """from alembic import command\nfrom alembic.config import Config
def call(): command.upgrade(Config('alembic.ini'), 'head')""",
    "django": """import os\nos.environ['DJANGO_SETTINGS_MODULE'] = 'settings'
try:
    import pymysql\n    pymysql.install_as_MySQLdb()
except ImportError: pass
import django\ndjango.setup()
from django.core.management import call_command\nfrom django.db import connections
def call():
    call_command('migrate', verbosity=0)
    connections.close_all()""",
}
TIMER = """
import logging, sys, time
sys.path.insert(1, sys.argv[1])
url = sys.argv[2]
logging.disable()
exec(sys.argv[3])
for line in sys.stdin:
    started = time.perf_counter()
    call()
    print('took', time.perf_counter() - started, flush=True)
"""


def plot(path, full=False):
    """Measure and draw.

    :param full: also by rows on the servers, which takes minutes to fill.
    """
    tools, commands = {}, {}
    for engine in ENGINES:
        try:
            tools[engine] = by_tool(engine, rounds=30)
            if full or engine == "sqlite":
                commands[engine] = by_rows(engine)
        except Skipped as reason:
            show(f"{engine}: skipped, {reason}"[:74], "", "", "")
    with open(path, "w", encoding="utf-8") as file:
        file.write(drawing(tools, commands))


# -- measuring


def by_tool(engine, rounds):
    """Return the median seconds of a call of each tool, without changes."""
    names = [name for name in CALLS if not TOOLS[name].missing()]
    with contextlib.ExitStack() as stack:
        workers = {name: stack.enter_context(_caller(name, engine)) for name in names}
        taken = {name: [] for name in names}
        for turn in range(rounds + 3):
            for name, worker in workers.items():
                worker.stdin.write("\n")
                worker.stdin.flush()
                line = next(line for line in worker.stdout if line.startswith("took"))
                if turn > 2:  # the first turns warm up
                    taken[name].append(float(line.split()[1]))
    found = {name: statistics.median(times) for name, times in taken.items()}
    for name in names[1:]:
        show(
            f"{ENGINES[engine]}: no changes, with its connection, "
            f"ensure() / {TOOLS[name].title}",
            readable(found["project"]),
            readable(found[name]),
            f"{found['project'] / found[name]:.2f}",
        )
    return found


@contextlib.contextmanager
def _caller(name, engine):
    """Yield a process that makes the tool's call for each line, without changes."""
    with world(engine) as (folder, url, _):
        failed, output = Project(name, folder, url).run()
        assert not failed, output
        command = [sys.executable, "-c", TIMER, str(ROOT), url, CALLS[name]]
        with subprocess.Popen(
            command,
            cwd=folder,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as worker:
            yield worker


def by_rows(engine):
    """Return the median seconds of the command as a process, for each of ROWS."""
    runs = {}
    with contextlib.ExitStack() as stack:
        for rows in ROWS:
            _, url, _ = stack.enter_context(world(engine))
            phase_4_5.ensure(database := db.connect(url))
            upload(database, rows)
            command = [
                sys.executable,
                "-m",
                "migrations.phase_4_5",
                "-q",
                "--database",
                url,
            ]
            for name, more in (("the whole command", []), ("--check", ["--check"])):
                runs[name, rows] = functools.partial(
                    subprocess.run, [*command, *more], cwd=ROOT, check=True
                )
        times = medians(5, runs)
    for (name, rows), seconds in times.items():
        show(
            f"{ENGINES[engine]}: {name}, a whole process, {rows:,} rows / {ROWS[0]:,}",
            readable(seconds),
            readable(times[name, ROWS[0]]),
            f"{seconds / times[name, ROWS[0]]:.2f}",
        )
    return {name: [times[name, rows] for rows in ROWS] for name, _ in times}


# -- drawing

LIGHT = {
    "back": "#ffffff",
    "text": "#1f2328",
    "soft": "#59636e",
    "grid": "#d8dee4",
    "engines": ("#0969da", "#bc4c00", "#1a7f37"),
}
DARK = {
    "back": "#0d1117",
    "text": "#f0f6fc",
    "soft": "#9198a1",
    "grid": "#2f353d",
    "engines": ("#58a6ff", "#f0883e", "#3fb950"),
}
WIDTH, HEIGHT, TOP, BOTTOM = 980, 370, 92, 310


def drawing(tools, commands):
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'role="img">',
        "<title>Costs of a run without changes by tool, "
        "and of the command by rows</title>",
        "<style>",
        'text { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif }',
        ".title { font-size: 15px }",
        ".title, .project { font-weight: 600 }",
        ".end { text-anchor: end }",
        ".mid { text-anchor: middle }",
        "polyline { fill: none; stroke-width: 2 }",
        ".dashed { stroke-dasharray: 5 4 }",
        *_colours(LIGHT),
        "@media (prefers-color-scheme: dark) {",
        *_colours(DARK),
        "}",
        "</style>",
        f'<rect class="back" width="{WIDTH}" height="{HEIGHT}" rx="8"/>',
        *_dots(tools),
        *_lines(commands),
    ]
    for number, engine in enumerate(tools):
        x = 176 + 115 * number
        parts += [
            _mark(x, HEIGHT - 19, engine),
            text(x + 11, HEIGHT - 14.5, ENGINES[engine]),
        ]
    return "\n".join([*parts, "</svg>\n"])


def _colours(scheme):
    yield (
        f"text {{ fill: {scheme['text']} }} .soft {{ fill: {scheme['soft']} }} "
        f".back {{ fill: {scheme['back']} }}"
    )
    yield f".grid {{ stroke: {scheme['grid']} }}"
    for engine, colour in zip(ENGINES, scheme["engines"]):
        yield (
            f".{engine} {{ fill: {colour} }} polyline.{engine} {{ fill: none; "
            f"stroke: {colour} }}"
        )


def _dots(tools):
    """Yield a row for each tool, a mark for each engine, on a logarithmic scale."""
    left, right = 176, 500
    every = [seconds for taken in tools.values() for seconds in taken.values()]
    low, high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every)))
    names = [name for name in CALLS if any(name in taken for taken in tools.values())]

    def place(seconds):
        return left + (math.log10(seconds) - low) / (high - low) * (right - left)

    yield text(24, 34, "Without changes: the start of a worker", "title")
    yield text(
        24,
        54,
        "a call in a running process, with its connection; further left is better",
        "soft",
    )
    for power in range(low, high + 1):
        yield _grid(place(10**power), TOP, place(10**power), BOTTOM)
        yield text(
            place(10**power), BOTTOM + 20, f"{10 ** (power + 3):g} ms", "soft mid"
        )
    for row, name in enumerate(names):
        y = TOP + (row + 0.5) * (BOTTOM - TOP) / len(names)
        yield _grid(left, y, right, y)
        yield text(
            left - 14,
            y + 4.5,
            TOOLS[name].title,
            "end project" if name == "project" else "end",
        )
        yield from (
            _mark(place(taken[name]), y, engine) for engine, taken in tools.items()
        )


def _lines(engines):
    """Yield a line for each engine and command; the rows are on a logarithmic scale."""
    left, right = 610, WIDTH - 52
    highest = max(
        seconds
        for taken in engines.values()
        for times in taken.values()
        for seconds in times
    )
    step = next(
        step
        for step in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
        if highest / step <= 5
    )
    top = step * math.ceil(highest / step)

    def place(rows, seconds):
        x = math.log10(rows / ROWS[0]) / math.log10(ROWS[-1] / ROWS[0])
        return left + x * (right - left), BOTTOM - seconds / top * (BOTTOM - TOP)

    yield text(left - 50, 34, "The command by rows", "title")
    yield text(
        left - 50,
        54,
        "a whole process; solid: the whole command, dashed: --check",
        "soft",
    )
    for number in range(round(top / step) + 1):
        y = place(1, number * step)[1]
        yield _grid(left, y, right, y)
        yield text(left - 12, y + 4.5, f"{number * step:g} s", "soft end")
    for rows in ROWS:
        yield text(place(rows, 0)[0], BOTTOM + 20, f"{rows:,}", "soft mid")
    yield text((left + right) / 2, BOTTOM + 42, "rows of weekly_actuals", "soft mid")
    for engine, taken in engines.items():
        for name, times in taken.items():
            points = [place(rows, seconds) for rows, seconds in zip(ROWS, times)]
            kind = f"{engine} dashed" if name == "--check" else engine
            yield (
                f'<polyline class="{kind}" '
                f'points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'
            )
            yield from (_mark(x, y, engine) for x, y in points)


def text(x, y, words, kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{words}</text>'


def _grid(x1, y1, x2, y2):
    return (
        f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
    )


def _mark(x, y, engine):
    """Return a circle, a square or a diamond: they differ without colours, too."""
    if engine == "sqlite":
        return f'<circle class="{engine}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
    turned = ""
    if engine == "mysql":
        turned = f' transform="rotate(45 {x:.1f} {y:.1f})"'
    return (
        f'<rect class="{engine}" x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" '
        f'height="9"{turned}/>'
    )
