"""The log on standard error: colour, width and progress where that is a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, TextIO

_PLAIN = {"✓": "[ok]", "✗": "[failed]", "──": "--", "…": "..."}
_COLOURS = {"✓": "\x1b[32m", "✗": "\x1b[31m", "!": "\x1b[33m"}
_CLEAR_LINE = "\r\x1b[K"


if TYPE_CHECKING:
    _Stream = logging.StreamHandler[TextIO]
else:
    _Stream = logging.StreamHandler  # which takes no parameter before Python 3.11


class Handler(_Stream):
    """Each line in the same form; plain signs where the stream's encoding lacks ours.

    On a terminal, signs are coloured (not where `NO_COLOR` is set), a line that is longer than the terminal
    is wide is cut (not with `whole`), and one that tells progress is drawn over the one before.
    """

    def __init__(self, whole: bool = False) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter("%(asctime)s | %(levelname)-8s | %(message)s", "%Y-%m-%d %H:%M:%S"))
        self.whole, self.terminal = whole, bool(getattr(self.stream, "isatty", bool)())
        self.coloured = self.terminal and not os.environ.get("NO_COLOR")
        self.drawn = False  # whether the line at the cursor is progress, to be drawn over

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; on a terminal, progress stays on its line."""
        progress = self.terminal and getattr(record, "progress", False)
        if self.drawn:
            self.stream.write(_CLEAR_LINE)
        self.drawn, self.terminator = bool(progress), "" if progress else "\n"
        super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line or lines, each with the same beginning."""
        text = super().format(record)
        beginning = text.partition(record.message)[0]
        text = text.replace("\n", "\n" + beginning)
        encoding = getattr(self.stream, "encoding", None) or "ascii"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            for sign, plain in _PLAIN.items():
                text = text.replace(sign, plain)
            text = text.encode(encoding, "backslashreplace").decode(encoding)
        if not self.terminal:
            return text
        if not self.whole:
            text = "\n".join(map(self._cut, text.split("\n")))
        colour = _COLOURS.get(record.message[:1]) if self.coloured else None
        at = len(beginning)
        return f"{text[:at]}{colour}{text[at : at + 1]}\x1b[0m{text[at + 1 :]}" if colour else text

    def _cut(self, line: str) -> str:
        try:
            width = os.get_terminal_size(self.stream.fileno()).columns
        except (OSError, ValueError):
            return line
        return line if len(line) <= width or width < 20 else line[: width - 1] + "…"
