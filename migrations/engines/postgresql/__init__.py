"""PostgreSQL: an advisory lock, short waits for table locks, and nothing that blocks a writer for long."""

from migrations.engines.postgresql.engine import PostgreSQL

__all__ = ["PostgreSQL"]
