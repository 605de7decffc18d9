"""The README is true: its blocks are executed in one folder, from top to bottom.

A ```console block has commands after "$ " and, below each, what it prints; a line
"..." stands for one or more lines. A ```python block that begins with a path is
written to that file, another one is executed. A ```diff changes the file that was
written last, ```sql is executed in the database, and ```csv is written to the file
that is named before it. Commands that make an environment are not executed again.
"""

import importlib
import os
import re
import subprocess
import sys

import pytest
from application import ROOT
from readme import TEXT, blocks, code_in, commands, section, table

import db
from migrations import phase_4_5
from migrations.errors import MigrationError
from migrations.report import Change, Difference, Report

_MAKES_AN_ENVIRONMENT = re.compile(
    r"(git|cd|python3? -m venv|(\S+/)?pip|(\S+/)?python3? -m pip|source|\.) "
)
_VARIES = [
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<time>"),
    (r"\d+(\.\d+)? (ms|s)\b", "<duration>"),
    (r'("duration_ms": )[\d.]+', r"\1<duration>"),
]
_FIXTURE_TEST = """

def test_sample_data(database):
    from db.models import WeeklyActuals

    assert WeeklyActuals.select().count() == 100
"""


# -- executing the README


def normalised(text):
    for pattern, word in _VARIES:
        text = re.sub(pattern, word, text)
    return [line.rstrip() for line in text.splitlines()]


def is_shown(lines, shown):
    """Return whether the lines equal those shown; "..." is one or more lines."""
    expected = [
        r"(?:.*\n)+?" if line == "..." else re.escape(line) + r"\n"
        for line in normalised("\n".join(shown))
    ]
    return (
        re.fullmatch("".join(expected), "".join(f"{line}\n" for line in lines))
        is not None
    )


def own_parts(command):
    """Return the parts of a command to execute, with this interpreter."""
    parts = [part.strip() for part in command.split("&&")]
    own = [part for part in parts if not _MAKES_AN_ENVIRONMENT.match(part + " ")]
    own = [re.sub(r"^(\S*/)?python3?(?= )", sys.executable, part) for part in own]
    if any(
        "-m pytest" in part for part in own
    ):  # the whole suite is not executed by one of its tests
        own = [
            f"{part} --collect-only {ROOT / 'tests' / 'test_readme.py'} > collected"
            for part in own
        ]
    return " && ".join(own)


class Folder:
    """The folder that the README's blocks are executed in."""

    def __init__(self, path):
        self.path = path
        self.last_file = None

    def execute(self, block):
        """Execute a block; return the problem that it has, or ""."""
        action = getattr(self, f"_{block.language}", None)
        assert action, (
            f"```{block.language} in line {block.line} of README.md is not executed"
        )
        return action(block)

    def _run(self, command):
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONIOENCODING": "utf-8",
        }
        environment.pop("DATABASE_URL", None)
        return subprocess.run(
            command, shell=isinstance(command, str), cwd=self.path, env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, encoding="utf-8", timeout=120,
        )  # fmt: skip

    def _console(self, block):
        for command, shown in commands(block):
            done = self._run(own_parts(command))
            if done.returncode or not is_shown(normalised(done.stdout), shown):
                return f"$ {command}\nexit status {done.returncode}\n{done.stdout}"
        return ""

    def _python(self, block):
        first_line = block.text.partition("\n")[0]
        if first_line.startswith("# ") and first_line.endswith(".py"):
            self.last_file = self.path / first_line[2:]
            self.last_file.parent.mkdir(exist_ok=True)
            self.last_file.write_text(block.text, encoding="utf-8")
            return ""
        arguments = ["-c", block.text]
        if "@pytest.fixture" in block.text:
            (self.path / "test_fixture.py").write_text(
                block.text + _FIXTURE_TEST, encoding="utf-8"
            )
            arguments = [
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                "test_fixture.py",
            ]
        done = self._run([sys.executable, *arguments])
        return done.stdout if done.returncode else ""

    def _diff(self, block):
        lines = block.text.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if not line.startswith("+"))
        new = "".join(line[1:] for line in lines if not line.startswith("-"))
        text = self.last_file.read_text(encoding="utf-8")
        if text.count(old) != 1:
            return f"{self.last_file.name} does not have these lines once:\n{old}"
        self.last_file.write_text(text.replace(old, new), encoding="utf-8")
        return ""

    def _sql(self, block):
        database = db.connect(f"sqlite:///{self.path / 'fashion_forecast.db'}")
        with database.connection_context():
            for statement in block.text.split(";"):
                database.execute_sql(re.sub("--.*", "", statement))
        return ""

    def _csv(self, block):
        name = code_in(block.before)[-1]
        (self.path / name).write_text(block.text, encoding="utf-8")
        return ""


def test_blocks_of_the_readme_do_what_it_shows(tmp_path):
    folder = Folder(tmp_path)
    for block in blocks():
        problem = folder.execute(block)
        assert not problem, f"README.md, line {block.line}: {problem}"


# -- the comparison of output


@pytest.mark.parametrize("lines", [["a", "b", "c"], ["a", "x", "y", "c"]])
def test_dots_stand_for_one_or_more_lines(lines):
    assert is_shown(lines, ["a", "...", "c"])


@pytest.mark.parametrize(
    "lines", [["a", "c"], ["a", "b"], ["a", "b", "c", "d"], ["b", "c"], ["a b c"]]
)
def test_output_that_differs_from_what_is_shown_is_found(lines):
    assert not is_shown(lines, ["a", "...", "c"])


# -- the quick start


def test_both_commands_are_in_the_first_forty_lines():
    first, second = blocks("console")[:2]
    assert first.line <= 30
    assert second.line + second.text.count("\n") + 1 <= 40
    assert len(commands(first)) == len(commands(second)) == 1


def test_first_command_does_the_main_job():
    (command,) = commands(blocks("console")[0])
    assert "migrations.phase_4_5" in command.text


def test_second_command_runs_the_tests():
    (command,) = commands(blocks("console")[1])
    assert "python -m pytest" in command.text


def test_extras_that_are_installed_exist():
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    extras = set(
        re.findall(
            r"^(\w+) =",
            setup.partition("[options.extras_require]")[2].partition("[tool")[0],
            re.M,
        )
    )
    named = [
        name
        for names in re.findall(r"'\.\[([\w,]+)\]'", TEXT)
        for name in names.split(",")
    ]
    assert {"test", "postgresql", "mysql"} <= set(named) <= extras


# -- the reference


def option_names(text):
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", text))


def help_of(capsys, main):
    with pytest.raises(SystemExit):
        main(["--help"])
    return capsys.readouterr().out.partition("options:")[2].partition("exit status")[0]


def test_command_reference_has_every_option(capsys):
    documented = option_names(" ".join(row[0] for row in table("## Command reference")))
    short_forms = {"-h", "--verbose", "--quiet"}
    assert documented | short_forms == option_names(
        help_of(capsys, phase_4_5.phase.main)
    )


def usage_lines(module):
    return [text for text in code_in(TEXT) if text.startswith(f"python -m {module}")]


def test_usage_of_init_db_has_every_option(capsys):
    main = importlib.import_module("db.init_db").main
    (usage,) = usage_lines("db.init_db")
    assert option_names(usage) | {"-h", "--help"} == option_names(
        help_of(capsys, main)
    ) | {"-m"}


def test_documented_option_of_an_upload_exists(capsys):
    main = importlib.import_module("db.uploads").main
    (option,) = [
        text
        for text in code_in(section("## Phase 4.5"))
        if text.startswith("--on-conflict")
    ]
    name, value = option.split()
    assert f"{name} {{{value}}}" in help_of(capsys, main)


def test_json_report_has_the_keys_of_the_table():
    documented = [name for row in table("## JSON report") for name in code_in(row[0])]
    assert documented == list(Report("up_to_date", "", "").to_dict())


@pytest.mark.parametrize(("key", "value"), [
    ("changes", Change("", "")), ("differences", Difference("note", "", "", "", "")),
])  # fmt: skip
def test_documented_json_report_names_the_keys_of_an_entry(key, value):
    (row,) = [row for row in table("## JSON report") if f"`{key}`" in row[0]]
    assert set(value.to_dict()) <= set(code_in(row[1]))


def test_every_error_is_named():
    named = set(code_in(section("### In a worker"))) | set(
        code_in(section("## Define your tables"))
    )
    assert {each.__name__ for each in MigrationError.__subclasses__()} <= named


@pytest.mark.parametrize(
    "url", [text for row in table("## Databases and URLs") for text in code_in(row[0])]
)
@pytest.mark.drivers
def test_urls_of_the_table_are_accepted(url):
    if url.endswith("://"):
        url += "/file.db" if url.startswith("sqlite") else "app@127.0.0.1/fashion"
    assert db.connect(url).is_closed()


@pytest.mark.drivers("postgresql")
def test_example_url_is_accepted():
    (url,) = [
        text for text in code_in(section("## Databases and URLs")) if "sslmode" in text
    ]
    assert "p%40ss" in url
    assert db.connect(url).connect_params["password"] == "p@ss"


# -- links


def anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize(
    "name",
    ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "tests/benchmarks/README.md"],
)
def test_links_within_the_repository_exist(name):
    document = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        path, _, fragment = target.partition("#")
        if "://" in target:
            continue
        linked = document.parent / path if path else document
        assert linked.exists(), target
        if fragment:
            headings = re.findall(
                r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.M
            )
            assert fragment in map(anchor, headings), target
