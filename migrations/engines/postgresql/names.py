"""Names that are short enough for PostgreSQL.

https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS:
of a longer name the rest is cut off.
"""

from __future__ import annotations

MAX_NAME_LENGTH = 63  # in bytes


def name_of_constraint(table: str, columns: str, suffix: str) -> str:
    """Return the name that PostgreSQL itself chooses for a constraint.

    The longer one of the two names is cut, see `makeObjectName` in its source.
    """
    room = MAX_NAME_LENGTH - len(suffix) - len("__")
    sizes = [len(table.encode()), len(columns.encode())]
    while sum(sizes) > room:
        longer = 0 if sizes[0] > sizes[1] else 1
        sizes[longer] -= 1
    parts = [
        shortened(table, length=sizes[0]),
        shortened(columns, length=sizes[1]),
        suffix,
    ]
    return "_".join(parts)


def shortened(name: str, suffix: str = "", length: int = MAX_NAME_LENGTH) -> str:
    """Return a name with a suffix, cut before it to the length that is allowed.

    :param length: in bytes; no character is cut in two.
    """
    room = length - len(suffix.encode())
    return name.encode()[:room].decode(errors="ignore") + suffix
