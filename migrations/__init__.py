"""Migrations of the forecasting application's database; see `migrations.phase`."""

import sys

__version__ = "3.0.0"


def _unusable_packages() -> str:
    """Return in one line what is wrong with the packages that this one needs, or ""."""
    import peewee

    version = str(getattr(peewee, "__version__", "0"))
    if int(version.partition(".")[0]) < 4:
        return (
            f"Peewee 4.0 or newer is needed, and {version} is installed; "
            "run: pip install -U peewee"
        )
    try:
        from db.url import connect  # noqa: F401
    except ImportError:
        found = sys.modules.get("db")
        path = getattr(found, "__file__", None)
        if path is None:  # a package without __init__.py
            path = next(iter(getattr(found, "__path__", ["nowhere"])))
        return (
            f"the package db that was found is not the one of migrations: {path}; run "
            "in a folder and an environment without it, or copy both packages under "
            "other names (CONTRIBUTING.md, Packages with these names)"
        )
    return ""


_problem = _unusable_packages()
if _problem:
    # A command: its user gets the line alone.
    if sys.argv[:1] == ["-m"] or sys.argv[0].endswith("phase-4-5"):
        raise SystemExit(f"error: {_problem}")
    raise ImportError(_problem)
