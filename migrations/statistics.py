"""Row counts of a phase's tables; on a server, the catalogue's estimate where counting takes long."""

from __future__ import annotations

from collections.abc import Iterable

from migrations.engines.base import Engine

COUNTED_UP_TO = 10_000_000  # rows


def row_counts(engine: Engine, tables: Iterable[str], thorough: bool) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the number of rows by table, and the names of the tables whose number is an estimate.

    :param thorough: count whatever it takes.
    """
    counts, estimated = {}, []
    for name in tables:
        counts[name] = 0 if thorough else engine.estimate(name) or 0
        if counts[name] > COUNTED_UP_TO:
            estimated.append(name)
        else:
            counts[name] = engine.query(f"SELECT count(*) FROM {engine.quote(name)}")[0][0]
    return counts, tuple(estimated)
