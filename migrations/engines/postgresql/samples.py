"""PostgreSQL: values for rows on trial. The server reads an untyped literal as whatever type it is cast to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from migrations.engines.base import Engine
from migrations.engines.kinds import UUID, Kind, Maker, address, below, moment, number, spelt, token
from migrations.engines.postgresql.engine import code_of
from migrations.engines.samples import Samples as Base
from migrations.schema import Column, Table, literal

# A domain is what it is made of, too, and has CHECKs of its own.
_TYPES = """
WITH RECURSIVE t (name, text, oid, modifier) AS (
    SELECT attname, format_type(atttypid, atttypmod), atttypid, atttypmod FROM pg_attribute
    WHERE attrelid = to_regclass(quote_ident(%s)) AND attnum > 0 AND NOT attisdropped
    UNION ALL SELECT name, text, typbasetype, typtypmod FROM t JOIN pg_type y ON y.oid = t.oid WHERE typtype = 'd')
SELECT t.name, t.text, bool_or(typcategory = 'N'),
       max(CASE WHEN typname = 'char' THEN 1 WHEN typname IN ('varchar', 'bpchar') THEN modifier - 4 END),
       ARRAY(SELECT pg_get_constraintdef(c.oid)
             FROM t d JOIN pg_constraint c ON c.contypid = d.oid WHERE d.name = t.name),
       ARRAY(SELECT enumlabel::text FROM t d JOIN pg_enum ON enumtypid = d.oid WHERE d.name = t.name
             ORDER BY enumsortorder),
       ARRAY(SELECT '(' || repeat(',', relnatts - 1) || ')' FROM pg_class WHERE oid = max(typrelid))
       || format('=r/%%I', current_user)
FROM t JOIN pg_type y ON y.oid = t.oid GROUP BY t.name, t.text"""
_HIDDEN = """
SELECT name FROM unnest(%s::text[]) AS t (name) WHERE row_security_active(to_regclass(quote_ident(name)))"""
_SEARCHED = """
SELECT DISTINCT k.conrelid::regclass::text FROM pg_constraint k
WHERE k.contype = 'f' AND k.confrelid = to_regclass(quote_ident(%s)) AND pg_relation_size(k.conrelid) > 65536
  AND NOT EXISTS (SELECT FROM pg_index x WHERE x.indrelid = k.conrelid AND x.indisvalid AND x.indpred IS NULL
                  AND x.indkey[0] = ANY (k.conkey))"""
_NEWS = ("", "08", "40", "53", "55", "57", "58")  # no answer, connection, retry, resources, locks, operator, system
# In a short table, too; the price of what has no index would wake the compiler of expressions.
_BY_INDEX = "SELECT set_config(name, 'off', true) FROM pg_settings WHERE name IN ('enable_seqscan', 'jit')"
# Which of some expressions are no error, without a line in the server's log for each that is.
_USABLE = """
DO $smoke_test$
DECLARE given text[] := ARRAY[{}]; usable text := ','; missing boolean;
BEGIN
    FOR position IN 1 .. cardinality(given) LOOP
        BEGIN
            EXECUTE 'SELECT ' || given[position] || ' IS NULL' INTO missing;
            usable := usable || position || ',';
        EXCEPTION WHEN OTHERS THEN NULL;  -- none of which is a cancellation
        END;
    END LOOP;
    PERFORM set_config('smoke_test.usable', usable, true);
END $smoke_test$"""
# One or more of them fit any type; the server says which.
_TEXTS = (
    "x", "{}", "1", "0.5", "2000-01-03 08:00:00", "2000-01-09 17:00:00", "192.0.2.0", "empty", "2", "0", "0/1", "1:1:",
    "$", "<x/>", "08:00:2b:01:02:03", "08:00:2b:01:02:03:04:05", "00000000-0000-0000-0000-000000000001", "(0,0)",
    "{1,1,1}", "[(0,0),(1,1)]", "(1,1),(0,0)", "((0,0))", "<(0,0),1>", "",
)  # fmt: skip
_MAKERS: tuple[Maker, ...] = (
    token, UUID.makers[0], number, lambda size: number(2), moment, lambda size: address(),
    lambda size: f"{below(100)}.{below(100):02}", lambda size: f"0.{below(10**9):09}", lambda size: spelt(60, "01"),
    lambda size: f'"{token()}"', lambda size: f"[{(n := number())},{n}]", lambda size: f"[{(t := moment())},{t}]",
    lambda size: f"02{''.join(f':{below(256):02x}' for _ in range(5))}", lambda size: f"{{{number()}}}",
    lambda size: f"{below(2**30):X}/{below(2**30):X}", lambda size: f"({below(2**30)},1)",
    lambda size: f"{below(2**30)} {below(2**30)}",
)  # fmt: skip


class _Type(NamedTuple):
    """What the catalogue says of a column's type."""

    text: str
    numeric: bool
    size: int | None
    checks: list[str]  # of its domain
    labels: list[str]
    others: list[str]  # texts that may fit


class Samples(Base):
    """Values for the rows of a PostgreSQL database."""

    override = " OVERRIDING SYSTEM VALUE"

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._types: dict[str, dict[str, _Type]] = {}
        self._kinds: dict[str, Kind] = {}

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

    def kind(self, table: Table, column: Column) -> Kind:
        type_ = self._type(table, column)
        if type_.text not in self._kinds:
            size = type_.size or 0
            texts = {self.literal(table, column, each): each for each in (*type_.labels, *_TEXTS, *type_.others)}
            makers = {self.literal(table, column, maker(size)): maker for maker in _MAKERS}
            fit = self.usable([*texts, *makers])
            self._kinds[type_.text] = Kind(
                tuple(text for sql, text in texts.items() if sql in fit),
                tuple(maker for sql, maker in makers.items() if sql in fit), size, type_.numeric,
            )  # fmt: skip
        return self._kinds[type_.text]

    def typed(self, table: Table, column: Column, sql: str) -> str:
        return f"CAST({sql} AS {self._type(table, column).text})"

    def literal(self, table: Table, column: Column, text: str) -> str:
        return self.typed(table, column, literal(text))

    def hints(self, table: Table, column: Column) -> list[str]:
        return self._type(table, column).checks

    def usable(self, values: Sequence[str]) -> Sequence[str]:
        told: list[tuple[object, ...]] = []

        def ask() -> None:
            self.execute(_USABLE.format(", ".join(map(literal, values))))
            told.extend(self.query("SELECT current_setting('smoke_test.usable')"))

        if not values or self.tried(ask):
            return values
        positions = str(told[0][0]).split(",")
        return [value for position, value in enumerate(values, 1) if str(position) in positions]

    def refuses(self, error: Exception) -> bool:
        return code_of(error)[:2] not in _NEWS

    def denied(self, error: Exception) -> bool:
        return code_of(error) == "42501"

    def hidden(self, tables: Iterable[str]) -> list[str]:
        return [name for (name,) in self.engine.query(_HIDDEN, (list(tables),))]

    def searched(self, table: str) -> list[str]:
        return [name for (name,) in self.engine.query(_SEARCHED, (table,))]
