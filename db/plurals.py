"""Counts in messages."""


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: "1 row", "1,200 rows"."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}s"
