"""The log on standard error.

Colour, width and progress where that is a terminal, plain lines elsewhere.
"""

from __future__ import annotations

import logging
import os

_PLAIN_MARKS = {"✓": "[ok]", "✗": "[failed]", "──": "--", "…": "..."}
_COLOURS = {"✓": "\x1b[32m", "✗": "\x1b[31m", "!": "\x1b[33m"}
_RESET = "\x1b[0m"
_CLEAR_LINE = "\r\x1b[K"
_MIN_WIDTH = 20  # characters; a narrower terminal is not worth cutting lines for


class Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes log records on standard error, each line with time and level.

    On a terminal, marks are coloured (unless `NO_COLOR` is set), a line that is longer
    than the terminal is wide is cut, and a line about progress replaces the one before.

    :param whole_lines: do not cut lines.
    """

    def __init__(self, whole_lines: bool = False) -> None:
        super().__init__()
        line = "%(asctime)s | %(levelname)-8s | %(message)s"
        self.setFormatter(logging.Formatter(line, "%Y-%m-%d %H:%M:%S"))
        self.whole_lines = whole_lines
        is_a_terminal = getattr(self.stream, "isatty", None)
        self.terminal = is_a_terminal is not None and is_a_terminal()
        # Whether the line at the cursor is about progress, to be replaced.
        self.progress_shown = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; on a terminal, progress stays on its line."""
        is_progress = self.terminal and bool(getattr(record, "progress", False))
        self.terminator = "" if is_progress else "\n"
        super().emit(record)
        self.progress_shown = is_progress

    def format(self, record: logging.LogRecord) -> str:
        """Return a record's line or lines, each with the same beginning."""
        text = super().format(record)
        beginning = text.partition(record.message)[0]
        text = text.replace("\n", "\n" + beginning)
        if self.terminal:
            text = self._cut(text)
            text = self._coloured(text, record.message[:1])
        text = self._encodable(text)
        if self.progress_shown:
            text = _CLEAR_LINE + text
        return text

    def _cut(self, text: str) -> str:
        """Return lines that are not wider than the terminal."""
        if self.whole_lines:
            return text
        width = os.get_terminal_size(self.stream.fileno()).columns
        if width < _MIN_WIDTH:
            return text
        lines = []
        for line in text.split("\n"):
            if len(line) > width:
                line = line[: width - 1] + "…"
            lines.append(line)
        return "\n".join(lines)

    def _coloured(self, text: str, mark: str) -> str:
        if mark not in _COLOURS or os.environ.get("NO_COLOR"):
            return text
        return text.replace(mark, f"{_COLOURS[mark]}{mark}{_RESET}", 1)

    def _encodable(self, text: str) -> str:
        """Return text that the stream's encoding has, with plain marks if necessary."""
        encoding = getattr(self.stream, "encoding", None) or "ascii"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            for mark, plain in _PLAIN_MARKS.items():
                text = text.replace(mark, plain)
            text = text.encode(encoding, "backslashreplace").decode(encoding)
        return text
