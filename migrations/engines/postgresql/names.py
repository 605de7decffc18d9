"""Names that are short enough for PostgreSQL.

https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS:
of a longer name the rest is cut off.
"""

from __future__ import annotations

MAX_NAME_LENGTH = 63  # in bytes


def shortened(name: str, suffix: str = "", length: int = MAX_NAME_LENGTH) -> str:
    """Return a name with a suffix, cut before it to the length that is allowed.

    :param length: in bytes; no character is cut in two.
    """
    room = length - len(suffix.encode())
    return name.encode()[:room].decode(errors="ignore") + suffix
