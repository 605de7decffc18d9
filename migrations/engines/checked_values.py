"""Values for columns with CHECK constraints, where a database cannot ignore those.

    for rule in rules(table):
        rule.columns, rule.condition
    suggested_values(conditions, "CAST({} AS integer)")

The values are what a condition may demand; the database says which of them it accepts.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from typing import NamedTuple

from migrations.engines.sample_rows import random_string, random_text
from migrations.schema import Table
from migrations.sql_text import literal


class Candidate(NamedTuple):
    """A value that a column may accept."""

    name: str  # remains the same when a random value is drawn again
    sql: str
    is_random: bool = False


class Rule(NamedTuple):
    """A CHECK constraint."""

    columns: set[str]
    condition: str  # true where the constraint accepts a row


def constant(sql: str) -> Candidate:
    """Return a candidate that is the same each time."""
    return Candidate(name=sql, sql=sql)


def rules(table: Table) -> list[Rule]:
    """Return the CHECK constraints of a table.

    Without those that name a generated column, whose value only the table knows.
    """
    found = []
    for check in table.checks:
        words = set(re.findall(r"\w+", check.condition))
        for quote in ('"', "`"):
            pattern = f"{quote}((?:[^{quote}]|{quote}{quote})+){quote}"
            for name in re.findall(pattern, check.condition):
                words.add(name.replace(2 * quote, quote))
        columns = {table.names.key(word) for word in words} & table.columns.keys()
        if not any(table.columns[name].generated for name in columns):
            found.append(Rule(columns, f"({check.condition}) IS NOT FALSE"))
    return found


def checked_columns(table: Table) -> set[str]:
    """Return the columns that the rules of a table name."""
    columns: set[str] = set()
    for rule in rules(table):
        columns |= rule.columns
    return columns


def suggested_values(conditions: Iterable[str], cast: str) -> list[Candidate]:
    """Return values that conditions may demand.

    The literals they name, what is next to those, and texts of the patterns and of the
    lengths they name.

    :param cast: makes a value of the column's type of a literal, which stands for `{}`.
    """
    text = " ".join(conditions)
    literals = re.findall("'(?:[^']|'')*'", text)
    numbers = re.findall(r"(?<![\w.])\d+(?:\.\d+)?", text)
    negative = re.findall(r"-\((\d+(?:\.\d+)?)\)", text)  # as MySQL writes -5
    named = [cast.format(each) for each in literals] + numbers
    named += [f"-{number}" for number in negative]
    neighbours = []
    for value in named:
        neighbours += [f"{value} + 1", f"{value} - 1", f"{value} + 0.01"]
    constants = [constant(value) for value in (*named, *neighbours)]
    matching = [_matching(each) for each in literals if "%" in each]
    return [*constants, *matching, *_texts_of_lengths(numbers)]


def _matching(pattern: str) -> Candidate:
    """Return a random text that a pattern of LIKE, a literal, matches."""
    text = pattern.replace("_", "a").replace("%", random_text(8))
    return Candidate(f"text like {pattern}", text)


def _texts_of_lengths(numbers: Iterable[str]) -> list[Candidate]:
    """Return strings as long as the numbers say, and of one character more."""
    texts = []
    for number in numbers:
        if number.isdigit() and int(number) < 256:
            texts += _texts_of_length(int(number))
            texts += _texts_of_length(int(number) + 1)
    return texts


def _texts_of_length(size: int) -> list[Candidate]:
    alphabets = {
        "digits": string.digits,
        "capitals": string.ascii_uppercase,
        "small letters": string.ascii_lowercase,
    }
    candidates = []
    for name, alphabet in alphabets.items():
        text = literal(random_string(size, alphabet))
        candidates.append(Candidate(f"{size} {name}", text))
    return candidates
