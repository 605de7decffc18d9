"""What MySQL does differently from MariaDB on a connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import peewee

from migrations.engines.mysql.server import RUN_SETTINGS, Server
from migrations.engines.mysql.server_errors import (
    IN_TRANSACTION,
    INTERRUPTED,
    LOCK_WAIT_TIMEOUT,
    NO_RIGHT,
    error_code,
)

# How often a second connection looks whether a statement waits for a metadata lock, in
# seconds. One that waits at two looks in a row is ended.
_LOOK_INTERVAL = 0.1
_WAITS_FOR_METADATA_LOCK = (
    "SELECT count(*) FROM information_schema.processlist "
    "WHERE id = {} AND state = 'Waiting for table metadata lock'"
)
# The variable exists if the plugin for Group Replication is loaded.
_SINGLE_PRIMARY_MODE = (
    "SHOW GLOBAL VARIABLES LIKE 'group_replication_single_primary_mode'"
)
_MEMBERS = (
    "SELECT member_host, member_port, member_role "
    "FROM performance_schema.replication_group_members "
    "WHERE member_state IN ('ONLINE', 'RECOVERING')"
)


class MySQLServer(Server):
    """A MySQL server, or a member of a group."""

    product = "MySQL"
    time_limit = "max_execution_time"  # of a SELECT only
    shortest_lock_wait = "1"
    run_settings = {
        **RUN_SETTINGS,
        "lock_wait_timeout": "1",  # the lowest value; see execute()
        "max_execution_time": "0",
    }
    # Without an ALGORITHM: INPLACE would rebuild the table for a new column, and
    # INSTANT is not accepted with a LOCK.
    # https://dev.mysql.com/doc/refman/8.0/en/innodb-online-ddl-operations.html
    online = "LOCK=NONE"

    def is_in_transaction(self) -> bool:
        """Set what the next transaction has anyway; inside of one, that is an error.

        Nothing else tells it without a privilege.
        """
        ((level,),) = self.session.query("SELECT @@transaction_isolation LIMIT 1")
        level = level.replace("-", " ")
        try:
            self.session.database.execute_sql(
                f"SET TRANSACTION ISOLATION LEVEL {level}"
            )
        except peewee.DatabaseError as error:
            if error_code(error) != IN_TRANSACTION:
                raise
            return True
        return False

    def progress_query(self) -> str:
        # Nothing, unless the consumers of stages are enabled in performance_schema.
        return (
            "SELECT SUBSTRING_INDEX(event_name, '/', -1), "
            "LEAST(work_completed / work_estimated, 1) "
            "FROM performance_schema.events_stages_current "
            "JOIN performance_schema.threads USING (thread_id) "
            f"WHERE processlist_id = {self.connection_id} AND work_estimated > 0"
        )

    def execute(self, sql: str) -> None:
        """Execute a statement that waits a moment only for a metadata lock.

        All other sessions queue up behind an ALTER TABLE that waits for one; behind
        that of a foreign key, those that read its parent, too. MySQL's shortest
        lock_wait_timeout is a second. So a second connection ends the statement.
        """
        with self._ended_if_it_waits():
            self.session.execute_literally(sql)

    @contextmanager
    def _ended_if_it_waits(self) -> Iterator[None]:
        done = threading.Event()
        ended = threading.Event()
        watcher = threading.Thread(
            target=self._end_if_it_waits, args=(done, ended), daemon=True
        )
        watcher.start()
        try:
            yield
        except peewee.DatabaseError as error:
            if ended.is_set() and error_code(error) in INTERRUPTED:
                raise peewee.OperationalError(
                    LOCK_WAIT_TIMEOUT,
                    "The statement waited for a metadata lock and was ended, as other "
                    "sessions would wait behind it",
                ) from None
            raise
        finally:
            done.set()
            watcher.join()

    def _end_if_it_waits(self, done: threading.Event, ended: threading.Event) -> None:
        """Look until the statement is done; end it if it waits.

        Without a second connection, it waits for lock_wait_timeout.
        """
        if done.wait(_LOOK_INTERVAL):
            return
        with suppress(peewee.PeeweeException, OSError):
            second_connection = self.session.unopened_copy()
            waited = False
            with second_connection.connection_context():
                while not done.wait(_LOOK_INTERVAL):
                    query = _WAITS_FOR_METADATA_LOCK.format(self.connection_id)
                    ((found,),) = second_connection.execute_sql(query).fetchall()
                    if found and waited and not done.is_set():
                        ended.set()
                        second_connection.execute_sql(
                            f"KILL QUERY {self.connection_id}"
                        )
                        return
                    waited = bool(found)

    def reason_not_to_change(self) -> str:
        """Return a reason in a group of several primaries.

        Migration locks are each member's own there. If two members execute the same
        DDL, both succeed, and then leave the group.
        """
        for _, value in self.session.query(_SINGLE_PRIMARY_MODE):
            if value == "OFF" and self._is_in_group():
                return (
                    "the server is in a replication group with several primaries, in "
                    "which the same change on two of them ends the group; run the "
                    "migration in single-primary mode: SELECT "
                    "group_replication_switch_to_single_primary_mode()"
                )
        return ""

    def _is_in_group(self) -> bool:
        try:
            return bool(self.session.query(_MEMBERS))
        except peewee.DatabaseError as error:
            if error_code(error) not in NO_RIGHT:
                raise
            return True  # this user cannot see it

    def primary(self) -> str:
        with suppress(peewee.PeeweeException):
            for host, port, role in self.session.query(_MEMBERS):
                if role == "PRIMARY":
                    return f"{host}:{port}"
        return ""
