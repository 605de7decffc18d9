"""Column types, as MariaDB, MySQL and Peewee write them."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal, localcontext

from migrations.schema import Type

# Categories that have a collation and are compared by it.
STRINGS = ("string", "fixed string")
# By the first word of a type: its category, and its size if the word alone tells it.
_CATEGORIES: dict[str, tuple[str, int | None]] = {
    "bool": ("integer", 1),
    "tinyint": ("integer", 1),
    "smallint": ("integer", 2),
    "mediumint": ("integer", 3),
    "int": ("integer", 4),
    "integer": ("integer", 4),
    "bigint": ("integer", 8),
    "float": ("float", 4),
    "double": ("float", 8),
    "decimal": ("decimal", 10),
    "numeric": ("decimal", 10),
    "varchar": ("string", None),
    "tinytext": ("string", 2**8 - 1),
    "text": ("string", 2**16 - 1),
    "mediumtext": ("string", 2**24 - 1),
    "longtext": ("string", 2**32 - 1),
    "char": ("fixed string", 1),
    "varbinary": ("blob", None),
    "binary": ("blob", 1),
    "tinyblob": ("blob", 2**8 - 1),
    "blob": ("blob", 2**16 - 1),
    "mediumblob": ("blob", 2**24 - 1),
    "longblob": ("blob", 2**32 - 1),
}
# Types whose first number is their size: that of an integer is a display width.
_WITH_SIZE = (*STRINGS, "blob", "decimal")
_WITH_SCALE = ("decimal", "float")
# By category, what CAST turns a literal into that a column of such a type would hold.
_NUMBER = re.compile(r"\s*[-+]?(\d{1,65}\.?\d{0,65}|\.\d{1,65})\s*")
_MAX_DIGITS = 65  # of a DECIMAL: https://mariadb.com/kb/en/decimal/
_LITERAL_CASTS = {
    "date": "DATE",
    "time": "TIME",
    "datetime": "DATETIME",
}


def parse_type(text: str) -> Type:
    """Return the meaning of a type.

    `INT(11)` is as wide as `INT`, and `FLOAT(7, 4)` keeps four digits behind the point.
    """
    text = text.removesuffix(" AUTO_INCREMENT")  # Peewee's; it is not part of the type
    word = re.split(r"\W", text.lower())[0]
    category, size = _CATEGORIES.get(word, (word, None))
    scale = None
    if category == "decimal":
        scale = 0
    in_parentheses = text.partition("(")[2]
    numbers = [int(number) for number in re.findall(r"\d+", in_parentheses)]
    if numbers and category in _WITH_SIZE:
        size = numbers[0]
    if len(numbers) > 1 and category in _WITH_SCALE:
        scale = numbers[1]
    return Type(text, category, size, scale)


def is_unsigned(type_: Type) -> bool:
    """Whether a type has no negative numbers; ZEROFILL implies it."""
    words = type_.text.lower().split()
    return "unsigned" in words or "zerofill" in words


def is_single_precision(type_: Type) -> bool:
    """Whether a type has the four bytes of a FLOAT."""
    return type_.category == "float" and type_.size == 4


def fit_together(child: Type, parent: Type) -> bool:
    """Whether a foreign key may have these types, as far as they tell it."""
    if child.category in STRINGS and parent.category in STRINGS:
        return True
    if child.category != parent.category:
        return False
    if child.category != "integer":
        return True
    return (child.size, is_unsigned(child)) == (parent.size, is_unsigned(parent))


def longest_text(type_: Type) -> int:
    """Return how many characters the text of a value has at most, or more.

    Called for types that become a VARCHAR on the way to another one. The members of an
    ENUM or a SET are counted with their quotes.
    """
    if type_.category not in ("enum", "set"):
        return 64
    members = type_.text.partition("(")[2]
    return max(1, len(members))


def literal_cast(type_: Type) -> str | None:
    """Return the type for CAST with which the server reads a literal for a column.

    None if the column holds the text of the literal as it is, if there is no such
    CAST, or if it would read a text that is no value: of 'seven' it makes the number 0.
    """
    return _LITERAL_CASTS.get(type_.category)


def rounded_number(default: str, type_: Type) -> str | None:
    """Return the number that a column of exact numbers has for a literal.

    None if the literal is no number, or one of too many digits: then the server refuses
    it. Whether an integer fits is left to the server, too.
    """
    text = {"TRUE": "1", "FALSE": "0"}.get(default.upper(), default.strip("'"))
    if not _NUMBER.fullmatch(text):
        return None
    scale = type_.scale or 0
    with localcontext() as context:
        context.prec = 3 * _MAX_DIGITS
        unit = Decimal(1).scaleb(-scale)
        rounded = Decimal(text).quantize(unit, rounding=ROUND_HALF_UP) + 0  # no -0
    digits = rounded.adjusted() + 1
    if type_.category == "decimal" and rounded and digits > (type_.size or 0) - scale:
        return None
    return f"{rounded:f}"


def text_with_collation(type_: Type, collation: str | None) -> str:
    """Return a type as a column definition has it."""
    if not collation or type_.category not in STRINGS:
        return type_.text
    if "_" not in collation:
        # An older server shows only the character set if the collation is its default.
        return f"{type_.text} CHARACTER SET {collation}"
    return f"{type_.text} COLLATE {collation}"
