"""How long a call waits, and how: holding nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Busy(Exception):
    def __str__(self) -> str:
        return "another run is at work"


class Patience:
    def __init__(self, seconds: float) -> None:
        self.seconds = self.left = seconds  # for waiting; work itself costs none

    @contextmanager
    def spent(self) -> Iterator[None]:
        """A context whose time is taken off what is left."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.left = max(0.0, self.left - (time.monotonic() - started))

    def pause(self) -> None:
        """Sleep a moment, of a random length so that those who wait do not meet again."""
        import random  # where nobody waits, its import would be a good part of the run

        with self.spent():
            time.sleep(min(random.uniform(0.05, 0.25), self.left))
