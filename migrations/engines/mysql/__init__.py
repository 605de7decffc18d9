"""MariaDB, on one server or on a Galera cluster."""

from migrations.engines.mysql.engine import MySQL

__all__ = ["MySQL"]
