"""README.md and CONTRIBUTING.md as data: their blocks of code and their tables."""

import re
from typing import NamedTuple

from application import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")


class Block(NamedTuple):
    """A fenced block of code."""

    language: str
    text: str
    line: int  # of the document, from 1
    before: str  # the document above it


class Command(NamedTuple):
    """A command of a ```console block, and the lines below it."""

    text: str
    output: list[str]


def blocks(language=None, document=TEXT):
    """Return the blocks of code in order, or those of one language."""
    found = []
    for match in _BLOCK.finditer(document):
        before = document[: match.start()]
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


def section(heading, document=TEXT):
    """Return the prose below a heading, up to the next of its level or a higher one."""
    level = heading.partition(" ")[0]
    # A comment in a block of code looks like a heading.
    prose = _BLOCK.sub("", document)
    after = prose.partition(f"\n{heading}\n")[2]
    assert after, f"there is no heading {heading!r}"
    return re.split(rf"^#{{1,{len(level)}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]


def tables(heading, document=TEXT):
    """Return the tables below a heading as rows of cells, the header row first."""
    found = []
    for text in re.findall(r"(?:^\|.*\n)+", section(heading, document), re.MULTILINE):
        rows = [
            [cell.strip() for cell in line.strip("|").split(" | ")]
            for line in text.splitlines()
        ]
        del rows[1]  # | --- | --- |
        found.append(rows)
    return found


def table(heading, document=TEXT):
    """Return the rows of the first table below a heading, without the titles."""
    return tables(heading, document)[0][1:]


def code_in(text):
    """Return what a text has in backquotes."""
    return _CODE.findall(text)
