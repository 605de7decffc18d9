"""What a plan is; `migrations.planning` makes it."""

from __future__ import annotations

from typing import NamedTuple

from migrations.operations import Operation
from migrations.schema import Schema


class Plan(NamedTuple):
    """Operations in order of execution, and the schema before and after them.

    Both have the names that the plan gives; see `Table.current_name`.
    """

    operations: tuple[Operation, ...]
    current: Schema
    planned: Schema
