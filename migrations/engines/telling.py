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
_WAITS = {"writers": "; writers wait until it is done", "everybody": "; everybody waits until it is done"}
logger = logging.getLogger("migrations")


@contextmanager
def told(change: Change, progress: Callable[[], tuple[str, float | None]]) -> Iterator[None]:
    """A context in which a change is made and told.

    :param progress: what the statement is at and the share done, asked in another thread.
    """
    logger.info("  %s: %s%s", change.description, change.sql, _WAITS.get(change.holds_up or "", ""))
    started, done = time.monotonic(), threading.Event()
    teller = threading.Timer(_EVERY, _tell, (change, started, done, progress))
    teller.daemon = True
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.cancel()
    if (seconds := time.monotonic() - started) >= 0.5:
        logger.info("  %s: done in %.1f s", change.description, seconds)


def _tell(
    change: Change, started: float, done: threading.Event, progress: Callable[[], tuple[str, float | None]]
) -> None:
    while not done.is_set():
        what, share = "", None
        with contextlib.suppress(peewee.PeeweeException):  # what it is for goes on without it
            what, share = progress()
        so_far = f"{change.description}: {time.monotonic() - started:.0f} s so far"
        percent = f"{100 * share:.0f} %" if share is not None else ""
        told = ", ".join(text for text in (so_far, " ".join(text for text in (what, percent) if text)) if text)
        logger.info("  %s", told, extra={"progress": True})
        done.wait(_EVERY)
