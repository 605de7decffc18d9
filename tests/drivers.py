"""Drivers and servers that a test requires: without them it is skipped and reported."""

import importlib.util
import os

import pytest


def exhaustive(*values):
    """Return values for `parametrize` that are for the exhaustive run."""
    return [pytest.param(value, marks=pytest.mark.exhaustive) for value in values]


def is_quick(config):
    """Return whether a run deselects the exhaustive tests, and names none by its id."""
    by_id = any("::" in argument for argument in config.args)
    return config.option.markexpr == "not exhaustive" and not by_id


def quick_values(argvalues, ids, is_exhaustive):
    """Return the values and ids for `parametrize` that a quick run needs.

    There are as many tests that it would make and deselect, in each of its processes.
    Where all are for the exhaustive run, one stays, and is deselected.

    :param is_exhaustive: the whole test is for the exhaustive run.
    """
    values = list(argvalues)
    names = list(ids) if isinstance(ids, (list, tuple)) else ids
    wanted = []
    for number, value in enumerate(values):
        marks = {mark.name for mark in getattr(value, "marks", ())}
        if not is_exhaustive and "exhaustive" not in marks:
            wanted.append(number)
    if values and not wanted:
        wanted = [0]
    if isinstance(names, list):
        names = [names[number] for number in wanted]
    return [values[number] for number in wanted], names


class Variant(str):
    """The name of an engine, on another server than the usual one.

    It equals the engine's name, so tests that know the engine know the variant.
    """

    def __new__(cls, engine, server):
        variant = super().__new__(cls, engine)
        variant.server = server
        return variant


MYSQL97 = Variant("mysql", "mysql97")


def server_of(engine):
    """Return the name of the server that an engine, or a variant of one, runs on.

    What is kept per server has this key: a variant equals its engine.
    """
    return getattr(engine, "server", engine)


def only_on(server):
    """Return the engine of a server, and marks of a parameter for that server alone.

    MySQL is tested in the exhaustive run. A parameter of MariaDB has no variant for it.
    """
    if server == "mysql97":
        return MYSQL97, [pytest.mark.exhaustive]
    if server == "mysql":
        return server, [pytest.mark.mariadb_only]
    return server, []


SERVERS = ["postgresql", "mysql", *exhaustive("postgresql18")]
DRIVERS = {
    "postgresql": "psycopg",
    "mysql": "pymysql",
    "mysql97": "pymysql",
    "postgresql18": "psycopg",
    "alone": "psycopg",
}
_SCHEMES = {
    "postgres": "postgresql",
    "cockroach": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
}
_LEFT_OUT = "left out: "


def with_variants(argnames, argvalues, ids):
    """Return values and ids for `parametrize`, with those of MySQL.

    Each test with a parameter "mysql", which is MariaDB, runs on MySQL as well, in the
    exhaustive run.
    """
    if isinstance(argnames, str):
        argnames = argnames.split(",")
    values = list(argvalues)
    names = list(ids) if isinstance(ids, (list, tuple)) else ids
    for number, value in enumerate(list(values)):
        parts, marks, name = _parts_of_parameter(value, len(argnames))
        if not any(type(part) is str and part == "mysql" for part in parts):
            continue
        if any(mark.name == "mariadb_only" for mark in marks):
            continue
        on_mysql = [
            MYSQL97 if isinstance(part, str) and part == "mysql" else part
            for part in parts
        ]
        if name:
            name = f"{name}-mysql97"
        elif len(parts) == 1:
            name = "mysql97"
        values.append(
            pytest.param(*on_mysql, marks=[*marks, pytest.mark.exhaustive], id=name)
        )
        if isinstance(names, list):
            names.append(f"{names[number]}-mysql97")
    return values, names


def _parts_of_parameter(value, count):
    """Return the values, the marks and the id of an element of `parametrize`."""
    if hasattr(value, "marks"):  # a pytest.param
        return list(value.values), value.marks, value.id
    if count == 1:
        return [value], (), None
    return list(value), (), None


def leave_out(engine, why):
    """Skip the test of an engine; in CI it fails, as nothing is skipped there."""
    message = f"{_LEFT_OUT}{engine}, {why}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def require(engine):
    """Skip the test if the driver of an engine is not installed."""
    if engine in DRIVERS:
        require_package(DRIVERS[engine], engine)


def require_package(name, what=None):
    """Skip the test if a package is not installed."""
    if importlib.util.find_spec(name):
        return
    if what:
        leave_out(what, f"{name} is not installed")
    leave_out(name, "it is not installed")


def required(item):
    """Return the engines of a test: those of its marker, or of its parameters.

    A parameter names an engine by a URL or a scheme.
    """
    markers = list(item.iter_markers("drivers"))
    engines = {engine for marker in markers for engine in marker.args}
    if any(not marker.args for marker in markers) and hasattr(item, "callspec"):
        for value in item.callspec.params.values():
            if isinstance(value, str):
                engines |= _engines_of(value)
    return engines


def _engines_of(text):
    return {
        engine for scheme, engine in _SCHEMES.items() if text.lower().startswith(scheme)
    }


def summary(skipped):
    """Return a line with what was skipped, and the number of tests of each."""
    counts = {}
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        if _LEFT_OUT in reason:
            what = reason.partition(_LEFT_OUT)[2]
            counts[what] = counts.get(what, 0) + 1
    parts = []
    for what, number in counts.items():
        tests = "1 test" if number == 1 else f"{number} tests"
        parts.append(f"{what} ({tests})")
    return "; ".join(parts)
