"""The README's first screen is true: its commands are run and its output is compared.

The first ```console block after the first "## " holds lines that begin with "$ " and, below each,
what it prints. What sets up the machine (git, pip, a virtual environment) is not run again here.
"""

import os
import re
import subprocess
import sys

import pytest
from application import ROOT

_SETS_UP = re.compile(r"(git|cd|python3? -m venv|(\S+/)?pip|(\S+/)?python3? -m pip|source|\.) ")
_VARIES = [
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<time>"),
    (r"\d+(\.\d+)? (ms|s)\b", "<duration>"),
    (r'("duration_ms": )[\d.]+', r"\1<duration>"),
]


def first_screen():
    """Return the commands of the first console block with the output that is shown for each."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^## .*?^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert block, "README.md has no ```console block after its first heading"
    commands = []
    for line in block[1].splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], []))
        else:
            commands[-1][1].append(line)
    return commands


def normalised(text):
    for pattern, word in _VARIES:
        text = re.sub(pattern, word, text)
    return [line.rstrip() for line in text.splitlines()]


def essential(command):
    """Return the parts of a command that are this project's own, with this interpreter."""
    parts = [part.strip() for part in command.split("&&")]
    own = [part for part in parts if not _SETS_UP.match(part + " ")]
    return " && ".join(re.sub(r"^(\S*/)?python3?(?= )", sys.executable, part) for part in own)


@pytest.fixture
def shell(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    environment.pop("DATABASE_URL", None)
    return lambda command: subprocess.run(
        command, shell=True, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, encoding="utf-8", timeout=120,
    )  # fmt: skip


def test_the_first_screen_shows_two_commands_at_most():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("```console") for line in lines[:30])
    assert 1 <= len(first_screen()) <= 2


def test_the_first_command_does_the_main_job():
    assert "migrations.phase_4_5" in first_screen()[0][0]


def test_the_output_shown_is_what_the_first_command_prints(shell):
    command, shown = first_screen()[0]
    done = shell(essential(command))
    assert done.returncode == 0, done.stdout
    assert normalised(done.stdout) == normalised("\n".join(shown))


def test_every_option_of_the_command_is_in_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for option in ("--check", "--dry-run", "--rollback", "--force", "--json", "--lock-timeout"):
        assert option in text
