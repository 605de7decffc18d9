"""The log on standard error: colour, width and progress where that is a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import os

_PLAIN = {"✓": "[ok]", "✗": "[failed]", "──": "--", "…": "..."}
_COLOURS = {"✓": "\x1b[32m", "✗": "\x1b[31m", "!": "\x1b[33m"}
_CLEAR_LINE = "\r\x1b[K"


class Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """Each line in the same form; plain signs where the stream's encoding lacks ours.

    On a terminal, signs are coloured (not where `NO_COLOR` is set), a line that is longer than the terminal
    is wide is cut (not with `whole`), and one that tells progress is drawn over the one before.
    """

    def __init__(self, whole: bool = False) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s | %(levelname)-8s | %(message)s", "%Y-%m-%d %H:%M:%S"))
        self.whole = whole
        self.terminal = bool(getattr(self.stream, "isatty", bool)())
        self.drawn = False  # whether the line at the cursor is progress, to be drawn over

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; on a terminal, progress stays on its line."""
        progress = self.terminal and bool(getattr(record, "progress", False))
        self.terminator = "" if progress else "\n"
        super().emit(record)
        self.drawn = progress

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line or lines, each with the same beginning."""
        text = super().format(record)
        text = text.replace("\n", "\n" + text.partition(record.message)[0])
        sign = record.message[:1]
        if self.terminal and not self.whole and (width := os.get_terminal_size(self.stream.fileno()).columns) >= 20:
            text = "\n".join(line if len(line) <= width else line[: width - 1] + "…" for line in text.split("\n"))
        if self.terminal and sign in _COLOURS and not os.environ.get("NO_COLOR"):
            text = text.replace(sign, f"{_COLOURS[sign]}{sign}\x1b[0m", 1)
        encoding = getattr(self.stream, "encoding", None) or "ascii"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            for special, plain in _PLAIN.items():
                text = text.replace(special, plain)
            text = text.encode(encoding, "backslashreplace").decode(encoding)
        return _CLEAR_LINE * self.drawn + text
