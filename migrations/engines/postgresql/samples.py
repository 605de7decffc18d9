"""PostgreSQL: rows on trial. The server reads an untyped literal as whatever type it is cast to."""

from __future__ import annotations

import re
import string
import uuid
from collections.abc import Iterable

from migrations.engines.base import Engine
from migrations.engines.postgresql.engine import code_of
from migrations.engines.samples import Samples as Base
from migrations.engines.samples import Values, address, below, moment, number, spelt, token
from migrations.schema import Column, Table, literal

# A column's type, the CHECKs of its domain, which is what it is made of, too, and texts that may fit.
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
# Which of some values a type and conditions take, without a line in the server's log for each that is an error.
_FIT = """
DO $smoke_test$
DECLARE given text[] := ARRAY[{}]; fit int[] := '{{}}'; fits boolean;
BEGIN
    FOR at IN 1 .. cardinality(given) LOOP
        BEGIN
            EXECUTE 'SELECT EXISTS (SELECT FROM (SELECT ' || given[at] || {} || ')' INTO fits;
            IF fits THEN fit := fit || (at - 1); END IF;
        EXCEPTION WHEN OTHERS THEN NULL;  -- none of which is a cancellation
        END;
    END LOOP;
    PERFORM set_config('smoke_test.fit', fit::text, true);
END $smoke_test$"""
# Texts of which, with the random ones, some fit any type of the server's own; the server says which.
_FIXED = (
    "1", "0", "0.5", "{}", "1:1:", "$", "<x/>", "(0,0)", "{1,1,1}", "[(0,0),(1,1)]", "(1,1),(0,0)", "((0,0))",
    "<(0,0),1>", "2000-01-03 08:00:00", "2000-01-09 17:00:00",
)  # fmt: skip


class Samples(Base):
    """The rows that a smoke test makes in a PostgreSQL database."""

    override = " OVERRIDING SYSTEM VALUE"

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._types: dict[str, dict[str, tuple[str, list[str], list[str]]]] = {}
        self._fit: dict[tuple[object, ...], list[int]] = {}  # which values a kind of column takes, by their places

    def bound(self, table: Table) -> set[str]:
        return {name for names, _ in _rules(table) for name in names}

    def options(self, table: Table, column: Column, size: int, row: Values) -> list[str]:
        name, quoted = column.name.lower(), self.engine.quote(column.name)
        if table.name not in self._types:
            rows = self.engine.query(_TYPES, (table.name,))
            self._types[table.name] = {each.lower(): (text, checks, texts) for each, text, checks, texts in rows}
        type_, checks, texts = self._types[table.name][name]
        rules = _rules(table) if name in self.bound(table) else []
        suggested = _suggested([*checks, *(sql for _, sql in rules)], type_)

        def draw() -> list[str]:
            every = [*suggested, *map(literal, (*_random(size), *_FIXED, *texts)), *["NULL"] * column.null]
            return [f"CAST({value} AS {type_})" for value in every]

        others = {each: value for each, value in row.items() if any({each, name} <= names for names, _ in rules)}
        known = "".join(f", {value} AS {self.quoted(table, each)}" for each, value in others.items())
        holds = [sql for names, sql in rules if name in names and names <= {name, *others}]
        where = " AND ".join([f" AS {quoted}{known}) AS t WHERE num_nulls({quoted}) < 2", *holds])
        kind, values = (type_, size, column.null, where if rules else ""), draw()
        if kind not in self._fit:
            draws = [*values, *draw()]  # one number in thirty reads as a date, too
            self.execute(_FIT.format(", ".join(map(literal, draws)), literal(where)))
            found = self.query("SELECT unnest(current_setting('smoke_test.fit')::int[])")
            fit = [at for at in range(len(values)) if {*range(at, len(draws), len(values))} <= {at for (at,) in found}]
            random = len(_random(size))
            self._fit[kind] = [at for at in fit if not suggested and at < random] or fit
        return [values[at] for at in self._fit[kind]]

    def refuses(self, error: Exception) -> bool:
        code = code_of(error)  # 25006: who may only read; 55000: a published table without a REPLICA IDENTITY
        return code == "55000" or (super().refuses(error) and code != "25006")

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


def _rules(table: Table) -> list[tuple[set[str], str]]:
    """Return the columns that a CHECK names, and its condition; not of computed ones, which only the table knows."""
    rules = []
    for check in table.checks:
        words = {*re.findall(r"\w+", check.sql.lower()), *re.findall('"([^"]+)"', check.sql.lower())}
        names = words & table.columns.keys()
        if not any(table.columns[name].generated for name in names):
            rules.append((names, f"({check.sql}) IS NOT FALSE"))
    return rules


def _suggested(conditions: Iterable[str], type_: str) -> list[str]:
    """Return what conditions name, what is next to it, and strings of the lengths and patterns named."""
    text = " ".join(conditions)
    words = re.findall("'(?:[^']|'')*'", text)
    numbers = re.findall(r"(?<![\w.])\d+(?:\.\d+)?", text)
    named = [*(f"CAST({each} AS {type_})" for each in words), *numbers]
    near = [f"{each} {step}" for each in named for step in ("+ 1", "- 1", "+ 0.01")]
    patterns = [each.replace("_", "a").replace("%", token(8)) for each in words if "%" in each]
    lengths = [int(each) + more for each in numbers for more in (0, 1) if each.isdigit() and int(each) < 256]
    alphabets = string.digits, string.ascii_uppercase, string.ascii_lowercase
    return [*named, *near, *patterns, *(literal(spelt(size, each)) for size in lengths for each in alphabets)]
