"""What MariaDB does differently from MySQL on a connection."""

from __future__ import annotations

from migrations.engines.mysql.server import (
    CLUSTER_SYNC_SETTINGS,
    RUN_SETTINGS,
    Server,
)


class MariaDBServer(Server):
    """A MariaDB server, or a node of a Galera cluster."""

    product = "MariaDB"
    time_limit = "max_statement_time"
    shortest_lock_wait = "0"
    run_settings = {
        **CLUSTER_SYNC_SETTINGS,
        **RUN_SETTINGS,
        "check_constraint_checks": "1",
        "alter_algorithm": "'DEFAULT'",  # others refuse a change that copies the table
        "max_statement_time": "0",
        # All other sessions queue up behind an ALTER TABLE that waits for its metadata
        # lock. So it does not wait, but is tried again.
        "lock_wait_timeout": "0",
    }
    # https://mariadb.com/kb/en/innodb-online-ddl-overview/
    online = "ALGORITHM=INPLACE, LOCK=NONE"

    def is_in_transaction(self) -> bool:
        ((status,),) = self.session.query("SELECT @@in_transaction LIMIT 1")
        return bool(status)

    def progress_query(self) -> str:
        return (
            "SELECT CONCAT('stage ', stage, ' of ', max_stage), "
            "(stage - 1 + progress / 100) / max_stage "
            "FROM information_schema.processlist "
            f"WHERE id = {self.connection_id} AND max_stage > 0"
        )
