"""PostgreSQL: rows on trial. The server reads an untyped literal as whatever type it is cast to."""

from __future__ import annotations

import re
import string
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from migrations.engines.base import Engine
from migrations.engines.samples import Samples as Base
from migrations.engines.samples import Values, address, below, moment, number, spelt, token
from migrations.schema import Column, Table, literal

# A domain is what it is made of, too, and has CHECKs of its own.
_TYPES = """
WITH RECURSIVE t (name, text, oid) AS (
    SELECT attname, format_type(atttypid, atttypmod), atttypid FROM pg_attribute
    WHERE attrelid = to_regclass(quote_ident(%s)) AND attnum > 0 AND NOT attisdropped
    UNION ALL SELECT name, text, typbasetype FROM t JOIN pg_type y ON y.oid = t.oid WHERE typtype = 'd')
SELECT t.name, t.text,
       ARRAY(SELECT pg_get_constraintdef(c.oid)
             FROM t d JOIN pg_constraint c ON c.contypid = d.oid WHERE d.name = t.name),
       ARRAY(SELECT enumlabel::text FROM t d JOIN pg_enum ON enumtypid = d.oid WHERE d.name = t.name
             ORDER BY enumsortorder)
       || ARRAY(SELECT '(' || repeat(',', relnatts - 1) || ')' FROM pg_class WHERE oid = max(typrelid))
       || format('=r/%%I', current_user)
FROM t JOIN pg_type y ON y.oid = t.oid GROUP BY t.name, t.text"""
_HIDDEN = """
SELECT name FROM unnest(%s::text[]) AS t (name) WHERE row_security_active(to_regclass(quote_ident(name)))"""
_SEARCHED = """
SELECT DISTINCT k.conrelid::regclass::text FROM pg_constraint k
WHERE k.contype = 'f' AND k.confrelid = to_regclass(quote_ident(%s)) AND pg_relation_size(k.conrelid) > 65536
  AND NOT EXISTS (SELECT FROM pg_index x WHERE x.indrelid = k.conrelid AND x.indisvalid AND x.indpred IS NULL
                  AND x.indkey[0] = ANY (k.conkey))"""
# In a short table, too; the price of what has no index would wake the compiler of expressions.
_BY_INDEX = "SELECT set_config(name, 'off', true) FROM pg_settings WHERE name IN ('enable_seqscan', 'jit')"
# Which of some expressions are no error, without a line in the server's log for each that is.
_USABLE = """
DO $smoke_test$
DECLARE expression text; usable text[] := '{{}}';
BEGIN
    FOREACH expression IN ARRAY ARRAY[{}]::text[] LOOP
        BEGIN
            EXECUTE 'SELECT ' || expression || ' IS NULL';
            usable := usable || expression;
        EXCEPTION WHEN OTHERS THEN NULL;  -- none of which is a cancellation
        END;
    END LOOP;
    PERFORM set_config('smoke_test.usable', usable::text, true);
END $smoke_test$"""
# Texts of which, with random ones, one or more fit any type of the server's own; the server says which.
_FIXED = (
    "1", "0", "0.5", "{}", "1:1:", "$", "<x/>", "(0,0)", "{1,1,1}", "[(0,0),(1,1)]", "(1,1),(0,0)", "((0,0))",
    "<(0,0),1>",
)  # fmt: skip
_COMBINATIONS = 50_000  # that the server looks through


class _Type(NamedTuple):
    """What the catalogue says of a column's type."""

    text: str
    checks: list[str]  # of its domain
    others: list[str]  # texts that may fit


class Samples(Base):
    """The rows that a smoke test makes in a PostgreSQL database."""

    override = " OVERRIDING SYSTEM VALUE"

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._types: dict[str, dict[str, _Type]] = {}
        self._fit: dict[tuple[object, ...], list[int]] = {}  # which options a kind of column takes

    @contextmanager
    def trial(self) -> Iterator[bool]:
        with super().trial() as enforced:
            self.query(_BY_INDEX)
            yield enforced

    def _type(self, table: Table, column: Column) -> _Type:
        if table.name not in self._types:
            rows = self.engine.query(_TYPES, (table.name,))
            self._types[table.name] = {name.lower(): _Type(*told) for name, *told in rows}
        return self._types[table.name][column.name.lower()]

    def options(self, table: Table, column: Column, size: int) -> list[str]:
        type_ = self._type(table, column)
        conditions = [
            *type_.checks,
            *(sql for names, of in _bound(table) if column.name.lower() in names for sql in of),
        ]
        random = _random(size)
        texts = [f"CAST({literal(text)} AS {type_.text})" for text in (*random, *_FIXED, *type_.others)]
        every = [*_suggested(conditions, type_.text), *texts, *[f"CAST(NULL AS {type_.text})"] * column.null]
        kind = (type_.text, size, column.null, *conditions)
        if kind not in self._fit:
            usable = self._usable(every)
            fit = [place for place, value in enumerate(every) if value in usable]
            enough = [place for place in fit if place < len(random)] if not conditions else []
            self._fit[kind] = enough or fit
        return [every[place] for place in self._fit[kind]]

    def _usable(self, values: Iterable[str]) -> set[str]:
        """Return the values that their types take."""
        self.execute(_USABLE.format(", ".join(map(literal, values))))
        rows = self.query("SELECT unnest(current_setting('smoke_test.usable')::text[])")
        return {str(value) for (value,) in rows}

    def bound(self, table: Table) -> set[str]:
        return {name for names, _ in _bound(table) for name in names}

    def picked(self, table: Table, given: Values, choices: Mapping[str, list[str]], attempt: int) -> Values:
        """Of what CHECKs bind together, the server picks a combination that they take."""
        row = super().picked(table, given, choices, attempt)
        for names, conditions in _bound(table):
            options = {name: [given[name]] if name in given else choices.get(name) or ["NULL"] for name in names}
            most = int(_COMBINATIONS ** (1 / len(options)))
            sources: list[str] = []
            for name, values in options.items():
                alias = f"smoke_test_{len(sources)}"
                rows = ", ".join(f"({place}, {value})" for place, value in enumerate(values[:most]))
                sources.append(f"(VALUES {rows}) AS {alias} (smoke_test_place, {self.quoted(table, name)})")
            places = ", ".join(f"smoke_test_{number}.smoke_test_place" for number in range(len(sources)))
            sql = f"SELECT {places} FROM {' CROSS JOIN '.join(sources)} WHERE {' AND '.join(conditions)}"
            found, _ = self.tried(partial(self.query, f"{sql}{' ORDER BY random()' if attempt else ''} LIMIT 1"))
            for picked in found or []:
                row |= {name: options[name][int(str(place))] for name, place in zip(options, picked)}
        return row

    def hidden(self) -> list[str]:
        return [name for (name,) in self.engine.query(_HIDDEN, (list(self.tables),))]

    def searched(self, table: str) -> list[str]:
        return [name for (name,) in self.engine.query(_SEARCHED, (table,))]


def _random(size: int) -> list[str]:
    one, day, low = number(), moment(), below(2**30)
    return [
        token(size), str(uuid.uuid4()), number(size), number(2), day, address(), f"{low % 100}.{low // 100 % 100:02}",
        f"0.{low:010}", f"{low:060b}"[::-1], f'"{token()}"', f"[{one},{one}]", f"[{day},{day}]", f"{{{one}}}",
        f"{low:X}/{low:X}", f"({low},1)", f"{low} {one}", f"02{low % 2**16:04x}:{low % 2**24:06x}",
    ]  # fmt: skip


def _suggested(conditions: Iterable[str], type_: str) -> list[str]:
    """Return values that conditions suggest: those that they name, what is next to them, and strings of the
    lengths and patterns named. Not all are of the type."""
    text = " ".join(conditions)
    words = re.findall("'(?:[^']|'')*'", text)
    numbers = re.findall(r"(?<![\w.])\d+(?:\.\d+)?", text)
    named = [*(f"CAST({each} AS {type_})" for each in words), *numbers]
    near = [f"{each} {step}" for each in named for step in ("+ 1", "- 1", "+ 0.01")]
    patterns = [each.replace("_", "a").replace("%", token(8)) for each in words if "%" in each]
    lengths = [int(each) + more for each in numbers for more in (0, 1) if each.isdigit() and int(each) < 256]
    alphabets = string.digits, string.ascii_uppercase, string.ascii_lowercase
    texts = [literal(spelt(length, alphabet)) for length in lengths for alphabet in alphabets]
    return [f"CAST({each} AS {type_})" for each in (*named, *near, *patterns, *texts)]


def _bound(table: Table) -> list[tuple[set[str], list[str]]]:
    """Return the columns that CHECKs bind together, and the conditions; of those that are computed, only the
    table knows what they would be."""
    bound: list[tuple[set[str], list[str]]] = []
    for check in table.checks:
        words = {*re.findall(r"\w+", check.sql.lower()), *re.findall('"([^"]+)"', check.sql.lower())}
        names, conditions = words & table.columns.keys(), [f"({check.sql})"]
        if names and not any(table.columns[name].generated for name in names):
            for near in [each for each in bound if each[0] & names]:
                bound.remove(near)
                names, conditions = names | near[0], conditions + near[1]
            bound.append((names, conditions))
    return bound
