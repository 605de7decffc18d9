"""What the application shares: `connect(url)`, its models, `python -m db.init_db`."""

from db.url import MissingDriver, UnusableURL, connect

__all__ = ["MissingDriver", "UnusableURL", "connect"]
