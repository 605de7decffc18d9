"""What MariaDB and MySQL do differently on a connection.

`Server` is the abstract base class; the session has one of a subclass, chosen once the
connection tells which server it leads to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from migrations.engines.session import Session
from migrations.sql_text import literal

# See what the other nodes of a Galera cluster have done, before reading (1) and before
# SHOW (8).
CLUSTER_SYNC_SETTINGS = {"wsrep_sync_wait": "9"}
# Values are neither truncated nor rounded silently, and an id of 0 stays 0.
SQL_MODE = literal("STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION")
# What a run sets before it changes anything, on both.
RUN_SETTINGS = {
    "sql_mode": SQL_MODE,
    "foreign_key_checks": "1",  # without it, a new foreign key accepts orphans
    "unique_checks": "1",
    "time_zone": "'+00:00'",  # for a TIMESTAMP that becomes a DATETIME
    "innodb_lock_wait_timeout": "1",
}


class Server(ABC):
    """The server of one session. All its methods are called once it is connected."""

    product: ClassVar[str]  # its name in messages
    # The session variable that limits the time of a statement; 0 is no limit.
    time_limit: ClassVar[str]
    # What a run sets before it changes anything, as far as the server knows it.
    run_settings: ClassVar[Mapping[str, str]]
    shortest_lock_wait: ClassVar[str]  # the lowest innodb_lock_wait_timeout, in seconds
    # With this, a change that the server cannot make without blocking writes fails,
    # instead of copying the table.
    online: ClassVar[str]

    def __init__(self, session: Session, connection_id: int) -> None:
        self.session = session
        self.connection_id = connection_id

    @abstractmethod
    def is_in_transaction(self) -> bool:
        """Ask the server whether a transaction is open.

        Called at any stage, if the driver does not know.
        """

    @abstractmethod
    def progress_query(self) -> str:
        """Return the query for the running statement's stage, and the share done.

        It is for a second connection. Called while executing.
        """

    def execute(self, sql: str) -> None:
        """Execute a statement of a change. Called while executing.

        :raises peewee.DatabaseError: a lock timeout if it waits for a metadata lock for
            more than a moment, as all other sessions queue up behind it.
        """
        self.session.execute_literally(sql)

    def reason_not_to_change(self) -> str:
        """Return why nothing may be changed on this server, or "".

        Called while planning, if there is something to change.
        """
        return ""

    def primary(self) -> str:
        """Return host and port of the server that accepts changes, as far as known.

        Called after a change was refused because the server is read-only.
        """
        return ""
