"""CONTRIBUTING.md names every module, and its recipe for other package names works."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from application import ROOT
from readme import CONTRIBUTING, blocks, code_in, tables

ENGINES = ("sqlite", "postgresql", "mysql")
SERVERS = ("mysql/mariadb", "mysql/mysql")
FOLDERS = (
    "db",
    "migrations",
    "migrations/engines",
    *(f"migrations/engines/{name}" for name in (*ENGINES, *SERVERS)),
)


def documented_modules():
    """Return the paths of the modules that the layout names."""
    of_db, of_migrations, of_engines, further, of_servers = [
        [name for row in rows[1:] for name in code_in(row[0])]
        for rows in tables("## Layout", CONTRIBUTING)
    ]
    paths = [f"db/{name}" for name in of_db] + [
        f"migrations/{name}" for name in of_migrations
    ]
    paths += [f"migrations/engines/{name}" for name in [*of_engines, *further]]
    paths += [
        f"migrations/engines/{engine}/{name}"
        for engine in ENGINES
        for name in of_engines
    ]
    paths += [
        f"migrations/engines/{server}/{name}"
        for server in SERVERS
        for name in of_servers
    ]
    return sorted(f"{path}.py" for path in paths)


def test_layout_names_every_module():
    modules = [
        path
        for folder in FOLDERS
        for path in (ROOT / folder).glob("*.py")
        if path.name != "__init__.py"
    ]
    assert documented_modules() == sorted(
        str(path.relative_to(ROOT)) for path in modules
    )


@pytest.mark.parametrize(
    "path",
    sorted(
        {
            name
            for name in code_in(CONTRIBUTING)
            if re.fullmatch(r"[\w/.-]+\.(py|md)", name)
        }
    ),
)
def test_files_that_are_named_exist(path):
    assert any(
        (ROOT / folder / path).exists()
        for folder in ("", "migrations", "migrations/engines")
    )


def has_gnu_sed():
    done = subprocess.run(["sed", "--version"], capture_output=True, text=True)
    return done.returncode == 0 and "GNU" in done.stdout


@pytest.mark.skipif(not has_gnu_sed(), reason="the recipe needs GNU sed")
def test_recipe_for_other_package_names_works(tmp_path):
    """The folder has no packages db and migrations."""
    (recipe,) = [
        block for block in blocks("sh", CONTRIBUTING) if "forecast_db" in block.text
    ]
    *copy, check = recipe.text.splitlines()
    for package in ("db", "migrations"):
        shutil.copytree(
            ROOT / package,
            tmp_path / package,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    (tmp_path / "app").mkdir()
    command = check.partition("#")[0].replace("python", sys.executable, 1).strip()
    create = f"{sys.executable} -m app.forecast_db.init_db"
    script = "\n".join([*copy, "rm -r db migrations", create, command])
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "DATABASE_URL")
    }
    done = subprocess.run(
        ["sh", "-ec", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, "nothing to do" in done.stderr) == (0, True), done.stderr
    assert "created categories" in done.stdout
