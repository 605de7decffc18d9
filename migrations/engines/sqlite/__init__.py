"""SQLite: `BEGIN IMMEDIATE` is the lock; the text of a table is edited, or the table rebuilt."""

from migrations.engines.sqlite.engine import SQLite

__all__ = ["SQLite"]
