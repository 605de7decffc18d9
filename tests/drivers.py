"""What a test takes that may not be here, an engine's driver or its server: it is left out then, and named."""

import importlib.util
import os

import pytest


def exhaustive(*values):
    """Return values for `parametrize` that are for the exhaustive run."""
    return [pytest.param(value, marks=pytest.mark.exhaustive) for value in values]


SERVERS = ["postgresql", "mysql", *exhaustive("postgresql18")]
DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql", "postgresql18": "psycopg", "alone": "psycopg"}
_SCHEMES = {"postgres": "postgresql", "cockroach": "postgresql", "mysql": "mysql", "mariadb": "mysql"}
_LEFT_OUT = "left out: "


def leave_out(engine, why):
    """End the test that takes an engine; in CI it fails, as nothing is left out there."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{_LEFT_OUT}{engine}, {why}")


def require(engine):
    """Go on where the driver of an engine is installed."""
    if engine in DRIVERS:
        require_package(DRIVERS[engine], engine)


def require_package(name, what=None):
    """Go on where a package is installed."""
    if not importlib.util.find_spec(name):
        leave_out(what or name, f"{name} is not installed" if what else "it is not installed")


def required(item):
    """Return the engines that a test's marker names, or else the URLs and schemes among its parameters."""
    params = getattr(item, "callspec", None)
    texts = [text for text in params.params.values() if isinstance(text, str)] if params else []
    named = {engine for text in texts for scheme, engine in _SCHEMES.items() if text.lower().startswith(scheme)}
    markers = list(item.iter_markers("drivers"))
    return {engine for marker in markers for engine in marker.args or named}


def summary(skipped):
    """Return a line of what the skipped reports say was left out, with the number of tests."""
    counts = {}
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        if _LEFT_OUT in reason:
            what = reason.partition(_LEFT_OUT)[2]
            counts[what] = counts.get(what, 0) + 1
    return "; ".join(f"{what} ({number} test{'s'[: number != 1]})" for what, number in counts.items())
