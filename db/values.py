"""What rows hold becomes what columns take, by the fields of a model, a batch of one column at a time.

    Column(WeeklyActuals.week_start_date).adapt(["2025-03-03", datetime.date(2025, 3, 10)])

Values that have the column's Python type pass as they are; others go through the field, equal ones once.
"""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

import peewee

_TYPES: dict[str, type] = {  # of what goes into a column, by the type of its field
    **dict.fromkeys(("VARCHAR", "CHAR", "TEXT", "JSON", "JSONB", "UUID"), str),
    **dict.fromkeys(("INT", "BIGINT", "SMALLINT", "AUTO", "BIGAUTO"), int),
    **dict.fromkeys(("FLOAT", "DOUBLE"), float),
    **dict.fromkeys(("BLOB", "UUIDB"), bytes),
    **{"BOOL": bool, "DECIMAL": Decimal},
    **{"DATE": datetime.date, "TIME": datetime.time, "DATETIME": datetime.datetime},
}
_FORMED = {"JSON", "JSONB", "UUID", "UUIDB", "DECIMAL"}  # no value of that type goes in as it is
_WORDS = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}


class BadValue(ValueError):
    """A value is not what its column takes: the position of its row in the batch, from 0, and what is wrong."""


class Column:
    """A column that rows can fill in; `optional` where the database does it for those that do not."""

    def __init__(self, field: peewee.Field) -> None:
        self.field: Any = field
        self.target: Any = field
        while isinstance(self.target, peewee.ForeignKeyField):
            self.target = self.target.rel_field
        # What a field of another make converts, only it knows.
        known = type(self.target).__module__ in ("peewee", "db.fields") or "JSON" in self.target.field_type
        self.kind = self.target.field_type if known else "OWN"
        self.type: type = _TYPES.get(self.kind, object)
        self.default = field.default
        if callable(self.default) and issubclass(self.type, (datetime.date, datetime.time)):
            self.default = self.default()  # one time for the whole of an upload
        self.may_be_null = field.null and self.default is None
        self.optional = self.default is None and bool(field.constraints)  # perhaps a DEFAULT of the database's

    def adapt(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the values as the column takes them, its default where there is none.

        :raises BadValue: one cannot be converted, or is missing.
        """
        plain = {self.type, type(None) if self.may_be_null else self.type}
        fit = self.kind not in _FORMED and plain.issuperset(map(type, values))
        if fit and not (self.kind == "DATETIME" and any(value and value.tzinfo for value in set(values))):
            return values
        may_lack_a_hash = self.kind in ("JSON", "JSONB", "BLOB")
        adapt = self._adapted if may_lack_a_hash else lru_cache(maxsize=None, typed=True)(self._adapted)
        adapted = []
        for position, value in enumerate(values):
            if value is None:
                value = self.default() if callable(self.default) else self.default
            try:
                adapted.append(adapt(value))
            except (TypeError, ValueError, ArithmeticError, LookupError):
                raise BadValue(position, self._fault(value)) from None
        return adapted

    def _adapted(self, value: Any) -> Any:
        if isinstance(value, peewee.Model):
            value = value.__data__.get(self.field.rel_field.name)
        result = None if value is None else self._converted(value)
        if self.may_be_null if result is None else isinstance(result, self.type):
            return result
        raise TypeError

    def _converted(self, value: Any) -> Any:
        """Convert a value as Peewee does, but for what that would bend or let pass."""
        if self.kind in ("JSON", "JSONB"):
            return json.dumps(value, allow_nan=False)
        if self.kind in ("UUID", "UUIDB"):
            key = uuid.UUID(bytes=value) if isinstance(value, bytes) else uuid.UUID(str(value))
            return key.hex if self.kind == "UUID" else key.bytes
        if self.kind == "BLOB":
            return value.encode() if isinstance(value, str) else bytes(memoryview(value))
        if self.kind == "BOOL":
            return _WORDS[str(value).strip().lower()]
        if self.kind == "DECIMAL":
            value = Decimal(str(value))
            if not value.is_finite():
                raise ValueError
        if self.type is int and isinstance(value, (float, Decimal)) and value % 1:
            raise ValueError
        result = self.target.db_value(value)
        if isinstance(result, datetime.datetime) and result.tzinfo:
            return result.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return str.__str__(result) if isinstance(result, str) else result  # an Enum's value, not its name

    def _fault(self, value: Any) -> str:
        name = self.field.column_name
        if value is None:
            return f"{name} is missing"
        blanks = ", with blanks" if isinstance(value, str) and value != value.strip() else ""
        expected = self.kind[:4] if self.kind[:4] in ("JSON", "UUID") else self.type.__name__
        return f"{name} is {value!r:.80}{blanks}, expected {expected}"
