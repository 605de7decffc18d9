"""MariaDB, on one server or a Galera cluster: every DDL statement commits."""
