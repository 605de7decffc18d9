"""The tools: the files and the commands of each."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from . import projects

ROOT = Path(__file__).parents[3]
# A worker imports its modules, and waits for the others before it runs its command.
WORKER = """
import importlib, runpy, sys
sys.path.insert(1, sys.argv.pop(1))
for name in sys.argv.pop(1).split():
    importlib.import_module(name)
print("ready", flush=True)
sys.stdin.readline()
del sys.argv[0]
if sys.argv[0].endswith(".py"):
    runpy.run_path(sys.argv[0], run_name="__main__")
else:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


class Tool(NamedTuple):
    """A migration tool and its commands.

    `requires` are modules; `mark` adds the first migration to the history; `adopt` is
    the documented command for a database that has the tables, but no history.
    """

    title: str
    requires: str
    up: str
    mark: str = ""
    adopt: str = ""

    def missing(self):
        return [
            name
            for name in self.requires.split()
            if importlib.util.find_spec(name) is None
        ]


TOOLS = {
    "project": Tool(
        "this project", "peewee", "migrations.phase_4_5 -q --database {url}"
    ),
    "alembic": Tool(
        "Alembic", "alembic sqlalchemy", "alembic upgrade head", "alembic stamp 0001"
    ),
    "django": Tool(
        "Django",
        "django",
        "manage.py migrate",
        "manage.py migrate sales 0001 --fake",
        "manage.py migrate --fake-initial",
    ),
    "peewee-migrate": Tool(
        "peewee-migrate",
        "peewee_migrate",
        "peewee_migrate migrate --directory steps",
        "peewee_migrate migrate --directory steps --name 001_first --fake",
    ),
    "runner": Tool(
        "playhouse.migrations",
        "playhouse.migrations",
        "playhouse.migrations app.database up -d steps",
        "playhouse.migrations app.database fake -d steps 0001_first",
    ),
    "script": Tool("script", "peewee", "script.py"),
    "yoyo": Tool(
        "yoyo",
        "yoyo",
        "yoyo apply --batch --database {url} steps",
        "yoyo mark --batch --database {url} -r 0001.first steps",
    ),
}


class Project:
    """The folder of a tool for one database: its first migration, maybe the next."""

    def __init__(self, name, folder, url, change=None):
        self.tool, self.folder, self.words = TOOLS[name], Path(folder), names_of(url)
        self.folder.mkdir(exist_ok=True)
        for path, text in projects.files(name, self.words, change).items():
            path = self.folder / path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def start(self, command=None):
        words = (command or self.tool.up).format(**self.words).split()
        arguments = [
            sys.executable,
            "-c",
            WORKER,
            str(ROOT),
            self.tool.requires,
            *words,
        ]
        return subprocess.Popen(
            arguments,
            cwd=self.folder,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, command=None):
        return at_once([self.start(command)])[0]

    def mark(self):
        if self.tool.mark:
            failed, output = self.run(self.tool.mark)
            assert not failed, output


def at_once(workers):
    """Start all workers at the same moment; return exit code and output of each."""
    for worker in workers:
        worker.stdout.readline()
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    ended = []
    for worker in workers:
        try:
            output, _ = worker.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            worker.kill()
            output = "no end after 120 s"
        ended.append((worker.returncode, output))
    return ended


def names_of(url):
    """Return the names of that database for each tool."""
    parts = urlsplit(url)
    engine = parts.scheme
    driver = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}.get(
        engine, engine
    )
    named = {
        "USER": parts.username,
        "PASSWORD": parts.password,
        "HOST": parts.hostname,
        "PORT": parts.port,
    }
    server = {key: unquote(str(value)) for key, value in named.items() if value}
    django = {
        "ENGINE": f"django.db.backends.{engine.replace('sqlite', 'sqlite3')}",
        "NAME": unquote(parts.path[1:]),
    }
    return {
        "url": url,
        "engine": engine,
        "sqlalchemy_url": url.replace(engine, driver, 1),
        "django_database": django | server,
    }
