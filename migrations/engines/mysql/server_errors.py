"""The error numbers of MariaDB and MySQL.

https://mariadb.com/kb/en/mariadb-error-code-reference/
"""

from __future__ import annotations

from collections.abc import Iterator

LOCK_WAIT_TIMEOUT = 1205
# Aborted because of a deadlock, or of another node's change.
DEADLOCK = 1213
LOCKED = {LOCK_WAIT_TIMEOUT, DEADLOCK}
# The only sign of a transaction that was aborted may be a savepoint that does not exist
# any more. The same number is that of a function that does not exist.
DOES_NOT_EXIST = 1305
# By PyMySQL (0, 2003, 2006, 2013): the connection failed or was lost.
DISCONNECTED = {0, 2003, 2006, 2013}
# The server is read-only, or the transaction, or InnoDB.
READ_ONLY = {1290, 1792, 1836}
# A table, column, index, key or CHECK exists already, or does not exist any more.
RACE_LOST = {1022, 1050, 1051, 1060, 1061, 1068, 1091, 1146, 1826, 3821, 3822}
# No such table; no right to see it.
NOT_VISIBLE = {1142, 1146}
# A right is missing: on a table, on a database, or a global one.
NO_RIGHT = {1044, 1142, 1227}
# Of lengths in bytes: of a key, of a column, of all columns of a row.
KEY_TOO_LONG = 1071
COLUMN_TOO_LONG = 1074
ROW_TOO_LONG = 1118
# Not supported: GET_LOCK on a node of a cluster, up to MariaDB 10.6.14 and 10.11.4.
NOT_SUPPORTED_YET = 1235
# A change cannot be made with the ALGORITHM or the LOCK that the statement asks for.
NOT_ONLINE = {1845, 1846}
UNKNOWN_COLUMN = 1054
# A column cannot become NOT NULL, as it is NULL in a row.
NULL_FOUND = {1048, 1138, 1265}
# An unknown character set or collation, or one of another character set.
NO_COLLATION = {1115, 1253, 1273}
CHECK_VIOLATED = {3819, 4025}  # of MySQL, of MariaDB
# A value is out of range, of the wrong kind, too long, or that of a division by 0.
VALUE_ERRORS = {1264, 1292, 1365, 1366, 1406, 1690}
# The text of the error 1005, which may mean anything, if it means that a foreign key of
# that name exists.
FOREIGN_KEY_EXISTS = "errno: 121"
# A characteristic of the next transaction is set inside of a transaction.
IN_TRANSACTION = 1568
# An interrupted statement, or one that took longer than the server allows.
INTERRUPTED = {1317, 1969, 3024}


def error_code(error: BaseException) -> int:
    """Return the server's error number behind Peewee's exception; 0 if it has none."""
    original = error.args[0] if error.args else error
    number = original
    if getattr(original, "args", None):
        number = original.args[0]
    if isinstance(number, int):
        return number
    return 0


def is_about_aborted_transaction(error: BaseException) -> bool:
    """Whether an error says that the transaction was aborted before the statement."""
    code = error_code(error)
    if code == DOES_NOT_EXIST:
        return "SAVEPOINT" in str(error)
    return code == DEADLOCK


def with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and the errors during whose handling it was raised."""
    while error is not None:
        yield error
        error = error.__context__
