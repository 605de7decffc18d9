"""What a type can take: texts that fit it, texts that no row has, and texts that a CHECK suggests."""

from __future__ import annotations

import datetime
import re
import string
import uuid
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import NamedTuple

Maker = Callable[[int], str]  # makes a random text; of what size, where that matters: 0 for any


def below(limit: int) -> int:
    """Return a random number from 0 on."""
    return uuid.uuid4().int % limit  # its last 62 bits are random, and `random` takes long to import


def token(size: int = 0) -> str:
    """Return a random text of at most `size` characters."""
    text = uuid.uuid4().hex
    return text[:size] if 0 < size < 20 else f"smoke_test_{text}"[: size or None]


def spelt(size: int, alphabet: str) -> str:
    """Return a random text of just `size` characters."""
    return "".join(alphabet[below(len(alphabet))] for _ in range(size))


def number(size: int = 0) -> str:
    """Return a random number that fits into `size` bytes and is none of the small ones."""
    half = 2 ** (8 * min(size or 4, 4) - 2)
    return str(half + below(half))


def moment(size: int = 0) -> str:
    """Return a random time of a random day."""
    return str(datetime.datetime(1971, 1, 1) + datetime.timedelta(below(24_000), below(86_400)))


def address(size: int = 0) -> str:
    """Return a random address of a private network."""
    return f"10.{below(256)}.{below(256)}.{below(256)}"


class Kind(NamedTuple):
    """What a column can take: `texts` that fit, the best first, and `makers` of such that no row has;
    `size` is in characters, or of a number in bytes, 0 without a limit."""

    texts: tuple[str, ...] = ("x", "")
    makers: tuple[Maker, ...] = (token,)
    size: int = 0
    numeric: bool = False


NUMBER = Kind(("1", "2", "0", "0.5"), (number,), numeric=True)
MOMENT = Kind(("2000-01-03 08:00:00", "2000-01-09 17:00:00"), (moment,))
DAY = Kind(("2000-01-03", "2000-01-09"), (lambda size: moment()[:10],))
TIME = Kind(("08:00:00", "17:00:00"), (lambda size: moment()[11:],))
UUID = Kind(("00000000-0000-0000-0000-000000000001",), (lambda size: str(uuid.uuid4()),))


def named(conditions: Iterable[str], kind: Kind, size: int) -> list[str]:
    """Return texts that conditions suggest: the values that they name, what is next to them and between
    them, and strings of the lengths and patterns named."""
    text = " ".join(conditions)
    numbers = sorted({Decimal(each) for each in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", text)})
    if kind.numeric:
        near = [sign * each + step for each in numbers for sign in (1, -1) for step in (0, 1, -1)]
        near += [(one + other) / 2 for one, other in zip([Decimal(0), *numbers], numbers)]
        return [f"{each:f}" for each in near]
    texts = [each.replace("''", "'") for each in re.findall(r"'((?:[^']|'')*)'", text)]
    patterns = [each for each in texts if "%" in each or "_" in each]
    texts += [each.replace("_", "a").replace("%", part) for each in patterns for part in ("", token(8))]
    days = [each for each in texts if re.match(r"\d{4}-\d\d-\d\d", each)]
    texts += [_later(each, step) for each in days for step in (1, -1, 6)]
    lengths = sorted({int(each) + more for each in numbers for more in (0, 1) if each < 256})
    alphabets = string.ascii_lowercase, string.ascii_uppercase, string.digits
    texts += [spelt(length, alphabet) for length in lengths for alphabet in alphabets]
    return [each for each in texts if not size or len(each) <= size]


def _later(day: str, days: int) -> str:
    try:
        return str(datetime.date.fromisoformat(day[:10]) + datetime.timedelta(days))
    except (ValueError, OverflowError):
        return day
