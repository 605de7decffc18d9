"""Tests of the architecture.

The core names nothing of the application, engines do not know each other, and imports
point one way, without cycles.
"""

import ast
import re
from pathlib import Path

import pytest

from db.models import MODELS

ROOT = Path(__file__).parents[1]
MIGRATIONS = sorted((ROOT / "migrations").rglob("*.py"))
PHASES = sorted((ROOT / "migrations").glob("phase_*.py"))
CORE = [path for path in MIGRATIONS if path not in PHASES]
SHARED = sorted((ROOT / "db").rglob("*.py"))
ENGINES = ("sqlite", "postgresql", "mysql")
SERVERS = ("mariadb", "mysql")  # in the package mysql
ENGINE_REGISTRY = ROOT / "migrations" / "engines" / "__init__.py"
OUTSIDE_ENGINES = [
    path for path in CORE if path.parent.name in ("migrations", "engines")
]

# English words that are names of the application as well: the id of a row, the status
# of a report, the description of a change, a cluster of servers, a type category.
ENGLISH = {"id", "status", "description", "cluster", "category"}
ENGINE_NAMES = re.compile(r"sqlite|postgres|psycopg|mysql|maria|galera", re.IGNORECASE)
# Each layer, with the layers that it may import.
LAYERS = {
    "phase module": ("phase", "values", "db"),
    "phase": ("phase", "steps", "engines", "values", "db"),
    "steps": ("steps", "engines", "values", "db"),
    "engines": ("engines", "values", "db"),
    "values": ("values", "db"),
}
VALUES = {
    "accepts",
    "declaration",
    "drops",
    "errors",
    "index_text",
    "operations",
    "plan",
    "renames",
    "report",
    "schema",
    "sql_text",
}
# The commands of db that call a phase; nothing of migrations imports them.
COMMANDS_THAT_MIGRATE = {"db.init_db"}


def in_files(paths):
    """Parametrize over files."""
    names = [str(path.relative_to(ROOT)) for path in paths]
    return pytest.mark.parametrize("path", paths, ids=names)


# -- the core and the application


def names_of_the_application():
    """Yield all names of models, tables, columns, fields, keys and indexes."""
    for model in MODELS:
        meta = model._meta
        yield from (model.__name__, meta.table_name, *meta.columns, *meta.fields)
        yield from (index._name for index in meta.fields_to_index())
        for constraint in meta.constraints or ():
            text = getattr(constraint, "sql", None) or constraint.name
            yield from re.findall(r"\b(?:check|unique)_\w+", text)


NAMES = set(names_of_the_application()) - ENGLISH


def names_in(text):
    return set(re.findall(r"\w+", text)) & NAMES


def test_names_of_the_application_are_found_in_its_models():
    assert {"WeeklyActuals", "weekly_actuals", "uploaded_at", "check_region"} <= NAMES
    assert {"unique_workflow_week_store", "idx_weekly_actuals_date"} <= NAMES
    assert names_in((ROOT / "db" / "models.py").read_text()) == NAMES


@in_files(CORE)
def test_core_names_nothing_of_the_application(path):
    text = path.read_text()
    assert names_in(text) == set()
    # Not as a part of a longer word either.
    assert {name for name in NAMES if "_" in name and name in text} == set()


# -- engines


def test_engines_are_packages_of_the_same_parts():
    parts = {"engine", "session", "catalog", "conversions", "ddl", "sample_rows"}
    for engine in ENGINES:
        folder = ROOT / "migrations" / "engines" / engine
        assert parts <= {path.stem for path in folder.glob("*.py")}
    folders = {path.parent.name for path in CORE if path not in OUTSIDE_ENGINES}
    assert folders == {*ENGINES, *SERVERS}


@pytest.mark.parametrize("server", SERVERS)
def test_parts_of_a_server_do_not_know_those_of_another_one(server, graph):
    package = "migrations.engines.mysql"
    others = tuple(f"{package}.{other}." for other in SERVERS if other != server)
    for module, imported in graph.items():
        if module.startswith(f"{package}.{server}."):
            assert [name for name in imported if name.startswith(others)] == []


@in_files([path for path in OUTSIDE_ENGINES if path != ENGINE_REGISTRY])
def test_no_code_outside_the_engines_names_one(path):
    """Comments and docstrings may name an engine; code may not test for one."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)
    }
    words = []
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings:
            words.append(node.value)
        words += [getattr(node, name, None) for name in ("id", "attr", "module")]
        if isinstance(node, ast.Import | ast.ImportFrom):
            words += [alias.name for alias in node.names]
    found = [word for word in words if word and ENGINE_NAMES.search(word)]
    assert found == []


# -- imports


def module_name(path):
    """Return the dotted name of a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts)


MODULES = {module_name(path): path for path in [*MIGRATIONS, *SHARED]}


def imports_of(path):
    """Return what a file imports of the project, at whatever time.

    Imports in functions and under TYPE_CHECKING count like all others.
    """
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used"
            for alias in node.names:
                # A module of a package, or a name in a module.
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in MODULES else node.module)
    return found & MODULES.keys()


@pytest.fixture(scope="module")
def graph():
    """Return each module with what it imports."""
    return {name: imports_of(path) for name, path in MODULES.items()}


def cycle_from(start, graph):
    """Return the modules of an import cycle through a module, or []."""
    paths = [[start]]
    seen = set()
    while paths:
        path = paths.pop()
        for name in graph[path[-1]]:
            if name == start:
                return [*path, start]
            if name not in seen:
                seen.add(name)
                paths.append([*path, name])
    return []


def test_import_cycles_are_found(graph):
    cyclic = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}
    assert cycle_from("a", cyclic) == ["a", "b", "c", "a"]
    assert cycle_from("d", cyclic) == []
    assert "db.constraints" in graph["migrations.declaration"]
    assert graph["db.uploads"] >= {"db.models", "db.bulk_insert"}


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_part_of_an_import_cycle(module, graph):
    assert cycle_from(module, graph) == []


def layer_of(module):
    if module.startswith("db"):
        return "db"
    if module.startswith("migrations.engines"):
        return "engines"
    name = module.rpartition(".")[2]
    if name.startswith("phase_"):
        return "phase module"
    if name in VALUES:
        return "values"
    if name in ("phase", "command", "terminal", "migrations"):
        return "phase"
    return "steps"


@pytest.mark.parametrize("module", [name for name in MODULES if layer_of(name) != "db"])
def test_migrations_import_only_lower_layers(module, graph):
    layer = layer_of(module)
    for imported in graph[module]:
        assert imported not in COMMANDS_THAT_MIGRATE
        assert layer_of(imported) in LAYERS[layer]


@pytest.mark.parametrize("module", [name for name in MODULES if layer_of(name) == "db"])
def test_shared_package_imports_no_migrations(module, graph):
    above = {name for name in graph[module] if layer_of(name) != "db"}
    if module not in COMMANDS_THAT_MIGRATE:
        assert above == set()


@pytest.mark.parametrize("engine", ENGINES)
def test_engine_imports_no_other_engine(engine, graph):
    package = f"migrations.engines.{engine}"
    others = tuple(
        f"migrations.engines.{other}" for other in ENGINES if other != engine
    )
    for module, imported in graph.items():
        if module.startswith(package):
            assert [name for name in imported if name.startswith(others)] == []
