"""How a change is told: before it starts, while it takes long, and how long it took."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import peewee

from migrations.report import Change

_EVERY = 10.0  # seconds
logger = logging.getLogger("migrations")


@contextmanager
def told(change: Change, progress: Callable[[], tuple[str, float | None]]) -> Iterator[None]:
    """A context in which a change is made and told.

    :param progress: what the statement is at and the share done, asked in another thread.
    """
    waits = f"; {change.holds_up} wait{'s' * (change.holds_up == 'everybody')} until it is done" * bool(change.holds_up)
    logger.info("  %s: %s%s", change.description, change.sql, waits)
    started, done = time.monotonic(), threading.Event()

    def tell() -> None:
        while not done.wait(_EVERY):
            what, share = "", None
            with contextlib.suppress(peewee.PeeweeException):  # what it is for goes on without it
                what, share = progress()
            percent = f"{100 * share:.0f} %" if share is not None else ""
            so_far = f"{change.description}: {time.monotonic() - started:.0f} s so far, {what} {percent}".rstrip(", ")
            logger.info("  %s", so_far, extra={"progress": True})

    threading.Thread(target=tell, daemon=True).start()
    try:
        yield
    finally:
        done.set()
    if (seconds := time.monotonic() - started) >= 0.5:
        logger.info("  %s: done in %.1f s", change.description, seconds)
