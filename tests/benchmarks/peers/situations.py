"""Situations: each function takes a tool and a place, and returns a short result."""

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
    "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, "
    "week_end_date, store_id, category_id, "
    "actual_units_sold, forecast_units_sold, uploaded_at) "
    "VALUES ('wf_spring_2025', {week}, '2025-02-17', "
    "'2025-02-23', '{store}', 'womens_dresses', 100, 100, '2025-02-24 08:00:00')"
)
REASONS = re.compile(
    r"database is locked|UNIQUE constraint failed|duplicate key value|Duplicate "
    r"(?:entry|key name)|NotImplementedError"
    r"|TypeError|[Dd]eadlock|(?:[Rr]elation|[Tt]able|index|type) \S+ already "
    r"exists|invalid foreign key"
    r"|rows conflict with the changes?, nothing was changed"
)
LOCKS = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
    "(SELECT oid FROM pg_database WHERE datname = current_database())"
)


def race(name, where):
    ended, missing = [], []
    for _ in range(ROUNDS):
        with world(where) as (folder, url, urls):
            made = [
                Project(name, Path(folder, str(number)), tool_url)
                for number, tool_url in enumerate(urls)
            ]
            ended += at_once(
                [made[number % len(made)].start() for number in range(WORKERS)]
            )
            missing += lacking(url)
    return summary(ended, missing)


def pooler(name, where):
    ended, missing, locks = [], [], 0
    for _ in range(ROUNDS):
        with world(where) as (folder, url, (tool_url,)):
            rows = (ROW.format(week=week, store="S007") for week in range(12))
            project = before(name, folder, url, tool_url, "keys", *rows)
            ended += [project.run(), project.run()]
            missing += lacking(url)
            locks += execute(url, LOCKS)
    text = summary(ended, missing)
    if locks:
        text += f"; {locks} locks left in the pool"
    return text


def found(name, where, change, marked=False):
    with world(where) as (folder, url, (tool_url,)):
        execute(url, *projects.table(where, change).split(";"))
        project = Project(name, folder, tool_url)
        if marked:
            project.mark()
        return summary(
            [project.run(None if marked else project.tool.adopt)], lacking(url)
        )


def duplicate(name, where):
    with world(where) as (folder, url, (tool_url,)):
        project = before(
            name,
            folder,
            url,
            tool_url,
            "keys",
            *(ROW.format(week=w, store="S007") for w in (1, 2, 2)),
        )
        first = project.run()
        kept = execute(url, "SELECT count(*) FROM weekly_actuals") == 3
        execute(url, "DELETE FROM weekly_actuals WHERE id = 3")
        text = summary([first])
        if "S007" in first[1]:
            text += "; names the row"
        if not kept:
            text += "; rows lost"
        return f"{text}; then {summary([project.run()], lacking(url))}"


def orphan(name, where):
    with world(where) as (folder, url, (tool_url,)):
        rows = (ROW.format(week=1, store=store) for store in ("S001", "S404"))
        run = before(name, folder, url, tool_url, "parent", *rows).run()
        kept = execute(
            url, "SELECT count(*) FROM weekly_actuals WHERE store_id = 'S404'"
        )
        text = summary([run], lacking(url))
        if "S404" in run[1]:
            text += "; names the row"
        return text + ("; the orphan remains" if kept else "; row lost")


def rebuild(name, where):
    with world(where) as (folder, url, (tool_url,)):
        project = before(
            name,
            folder,
            url,
            tool_url,
            "type",
            *(ROW.format(week=week, store="S001") for week in (1, 2, 3)),
            "CREATE TABLE notes (id INTEGER PRIMARY KEY, actual_id "
            "REFERENCES weekly_actuals ON DELETE CASCADE)",
            "INSERT INTO notes (actual_id) SELECT id FROM weekly_actuals",
            "CREATE TRIGGER added AFTER DELETE ON weekly_actuals BEGIN SELECT 1; END",
        )
        text = summary([project.run()], lacking(url))
        if not execute(
            url, "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'"
        ):
            text += "; trigger lost"
        if children := 3 - execute(url, "SELECT count(*) FROM notes"):
            text += f"; {children} of 3 child rows deleted"
        if (
            execute(url, "SELECT max(typeof(actual_units_sold)) FROM weekly_actuals")
            != "integer"
        ):
            text += "; still text"
        return text


def before(name, folder, url, tool_url, change, *statements):
    """Return the tool's project after its first migration and the statements."""
    execute(url, *projects.table(urlsplit(url).scheme, change).split(";"), *statements)
    project = Project(name, folder, tool_url, change)
    project.mark()
    return project


def lacking(url):
    """Return what weekly_actuals lacks, by Peewee's introspection."""
    database = db.connect(url)
    with database.connection_context():
        if "weekly_actuals" not in database.get_tables():
            return ["the table"]
        indexes = database.get_indexes("weekly_actuals")
        keys = {key.column for key in database.get_foreign_keys("weekly_actuals")}
    unique = any(
        each.unique and set(each.columns) == {"workflow_id", "week_number", "store_id"}
        for each in indexes
    )
    led = {each.columns[0] for each in indexes}
    indexed = ("workflow_id", "store_id", "week_start_date")
    referring = ("workflow_id", "store_id", "category_id")
    missing = [f"index on {name}" for name in indexed if name not in led]
    if not unique:
        missing.append("UNIQUE")
    return missing + [f"foreign key {name}" for name in referring if name not in keys]


def summary(ended, missing=()):
    """Return how many runs succeeded, why others failed, and what is missing."""
    failed = [reason(output) for code, output in ended if code]
    why = ", ".join(text for text, _ in collections.Counter(failed).most_common(2))
    if failed:
        text = f"failed: {why}"
        if len(ended) > 1:
            text = f"{len(failed)} of {len(ended)} {text}"
    elif missing:
        text = "reports success"
    elif len(ended) > 1:
        text = f"{len(ended)} ok"
    else:
        text = "ok"
    if missing:
        text += f"; missing: {', '.join(dict.fromkeys(missing))}"
    return text


def reason(output):
    match = REASONS.search(output)
    if match:
        return match[0][:70]
    lines = output.strip().splitlines()
    return lines[-1][:70] if lines else "no output"
