"""Migrations of the forecasting application's database: a phase is a page; see `migrations.phase`."""

import sys

__version__ = "2.0.0"


def _unfit() -> str:
    """Return what is wrong with the packages that this one stands on, in one line."""
    import peewee

    version = str(getattr(peewee, "__version__", "0"))
    if int(version.partition(".")[0]) < 4:
        return f"Peewee 4.0 or newer is needed, and {version} is installed; run: pip install -U peewee"
    try:
        from db.url import connect  # noqa: F401
    except ImportError:
        found = sys.modules.get("db")
        where = getattr(found, "__file__", None) or next(iter(getattr(found, "__path__", ["nowhere"])))
        return (
            f"the package db that was found is not the one that belongs to migrations: {where}; run in a folder and "
            "an environment without it, or take both packages in under other names (README, Packages of these names)"
        )
    return ""


if _wrong := _unfit():
    if sys.argv[:1] == ["-m"] or sys.argv[0].endswith("phase-4-5"):  # a command: its user gets the line alone
        raise SystemExit(f"error: {_wrong}")
    raise ImportError(_wrong)
