"""What can be met: each function takes a tool and a place, and returns in a few words what was seen."""

import collections
import re
from pathlib import Path
from urllib.parse import urlsplit

import db

from . import projects
from .tools import Project, at_once
from .worlds import execute, world

WORKERS, ROUNDS = 12, 3
ROW = (
    "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, week_end_date, store_id, category_id, "
    "actual_units_sold, forecast_units_sold, uploaded_at) VALUES ('wf_spring_2025', {week}, '2025-02-17', "
    "'2025-02-23', '{store}', 'womens_dresses', 100, 100, '2025-02-24 08:00:00')"
)
REASONS = re.compile(
    r"database is locked|UNIQUE constraint failed|duplicate key value|Duplicate (?:entry|key name)|NotImplementedError"
    r"|TypeError|[Dd]eadlock|(?:[Rr]elation|[Tt]able|index|type) \S+ already exists|invalid foreign key"
    r"|rows stand against the change, nothing was changed"
)
LOCKS = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
    "(SELECT oid FROM pg_database WHERE datname = current_database())"
)


def race(name, where):
    ended, missing = [], []
    for _ in range(ROUNDS):
        with world(where) as (folder, url, doors):
            made = [Project(name, Path(folder, str(number)), door) for number, door in enumerate(doors)]
            ended += at_once([made[number % len(made)].start() for number in range(WORKERS)])
            missing += lacking(url)
    return told(ended, missing)


def pooler(name, where):
    ended, missing, locks = [], [], 0
    for _ in range(ROUNDS):
        with world(where) as (folder, url, (door,)):
            rows = (ROW.format(week=week, store="S007") for week in range(12))
            project = before(name, folder, url, door, "keys", *rows)
            ended += [project.run(), project.run()]
            missing += lacking(url)
            locks += execute(url, LOCKS)
    return told(ended, missing) + f"; {locks} locks left in the pool" * bool(locks)


def found(name, where, change, marked=False):
    with world(where) as (folder, url, (door,)):
        execute(url, *projects.table(where, change).split(";"))
        project = Project(name, folder, door)
        if marked:
            project.mark()
        return told([project.run(None if marked else project.tool.adopt)], lacking(url))


def duplicate(name, where):
    with world(where) as (folder, url, (door,)):
        project = before(name, folder, url, door, "keys", *(ROW.format(week=w, store="S007") for w in (1, 2, 2)))
        first = project.run()
        kept = execute(url, "SELECT count(*) FROM weekly_actuals") == 3
        execute(url, "DELETE FROM weekly_actuals WHERE id = 3")
        text = told([first]) + "; names the row" * ("S007" in first[1]) + "; rows lost" * (not kept)
        return f"{text}; then {told([project.run()], lacking(url))}"


def orphan(name, where):
    with world(where) as (folder, url, (door,)):
        rows = (ROW.format(week=1, store=store) for store in ("S001", "S404"))
        run = before(name, folder, url, door, "parent", *rows).run()
        kept = execute(url, "SELECT count(*) FROM weekly_actuals WHERE store_id = 'S404'")
        text = told([run], lacking(url)) + "; names the row" * ("S404" in run[1])
        return text + ("; the orphan stays" if kept else "; row lost")


def rebuild(name, where):
    with world(where) as (folder, url, (door,)):
        project = before(
            name, folder, url, door, "type", *(ROW.format(week=week, store="S001") for week in (1, 2, 3)),
            "CREATE TABLE notes (id INTEGER PRIMARY KEY, actual_id REFERENCES weekly_actuals ON DELETE CASCADE)",
            "INSERT INTO notes (actual_id) SELECT id FROM weekly_actuals",
            "CREATE TRIGGER mine AFTER DELETE ON weekly_actuals BEGIN SELECT 1; END",
        )  # fmt: skip
        text = told([project.run()], lacking(url))
        if not execute(url, "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'"):
            text += "; trigger lost"
        if children := 3 - execute(url, "SELECT count(*) FROM notes"):
            text += f"; {children} of 3 child rows deleted"
        if execute(url, "SELECT max(typeof(actual_units_sold)) FROM weekly_actuals") != "integer":
            text += "; still text"
        return text


def before(name, folder, url, door, change, *statements):
    """Return the tool's project with the table as its first migration left it, and what happened since."""
    execute(url, *projects.table(urlsplit(url).scheme, change).split(";"), *statements)
    project = Project(name, folder, door, change)
    project.mark()
    return project


def lacking(url):
    """Return what weekly_actuals lacks, as Peewee's introspection tells."""
    database = db.connect(url)
    with database.connection_context():
        if "weekly_actuals" not in database.get_tables():
            return ["the table"]
        indexes = database.get_indexes("weekly_actuals")
        keys = {key.column for key in database.get_foreign_keys("weekly_actuals")}
    unique = any(each.unique and set(each.columns) == {"workflow_id", "week_number", "store_id"} for each in indexes)
    led = {each.columns[0] for each in indexes}
    return (
        [f"index on {name}" for name in ("workflow_id", "store_id", "week_start_date") if name not in led]
        + ["UNIQUE"] * (not unique)
        + [f"foreign key {name}" for name in ("workflow_id", "store_id", "category_id") if name not in keys]
    )


def told(ended, missing=()):
    """Return how many of the runs ended well, why the others did not, and what is missing after them."""
    failed = [reason(output) for code, output in ended if code]
    why = ", ".join(text for text, _ in collections.Counter(failed).most_common(2))
    if failed:
        text = f"{len(failed)} of {len(ended)} failed: {why}" if len(ended) > 1 else f"failed: {why}"
    else:
        text = "says done" if missing else "ok" if len(ended) == 1 else f"{len(ended)} ok"
    return text + f"; missing: {', '.join(dict.fromkeys(missing))}" * bool(missing)


def reason(output):
    match = REASONS.search(output)
    return (match[0] if match else output.strip().splitlines()[-1] if output.strip() else "no word")[:70]
