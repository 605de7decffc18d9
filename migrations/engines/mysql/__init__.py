"""MariaDB and MySQL, on one server or on a Galera cluster."""

from __future__ import annotations

from migrations.engines.mysql.engine import MySQL

__all__ = ["MySQL"]
