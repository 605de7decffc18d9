"""The README as data: its blocks of code and its tables, each with the heading above it."""

import re
from typing import NamedTuple

from application import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")


class Block(NamedTuple):
    """A fenced block of code."""

    language: str
    text: str
    line: int  # of the README, from 1
    before: str  # the README above it


class Command(NamedTuple):
    """A command of a ```console block, and the lines below it."""

    text: str
    output: list[str]


def blocks(language=None):
    """Return the README's blocks of code in order, or those of one language."""
    found = []
    for match in _BLOCK.finditer(TEXT):
        before = TEXT[: match.start()]
        found.append(Block(match[1], match[2], before.count("\n") + 1, before))
    return [block for block in found if language in (None, block.language)]


def commands(block):
    """Return the commands of a ```console block, each with the output that is shown."""
    found = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], []))
        else:
            found[-1].output.append(line)
    return found


def section(heading):
    """Return the prose below a heading, up to the next one of its level or a higher one."""
    level = heading.partition(" ")[0]
    prose = _BLOCK.sub("", TEXT)  # a comment in a block of code looks like a heading
    after = prose.partition(f"\n{heading}\n")[2]
    assert after, f"README.md has no heading {heading!r}"
    return re.split(rf"^#{{1,{len(level)}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]


def table(heading):
    """Return the rows of the first table below a heading, without its first row."""
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    rows = []
    for line in lines[2:]:
        cells = line.strip("|").split(" | ")
        rows.append([cell.strip() for cell in cells])
    return rows


def code_in(text):
    """Return what a text has in backquotes."""
    return _CODE.findall(text)
