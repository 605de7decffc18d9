"""What rows hold becomes what columns take, by the fields of a model, a batch of one column at a time.

    Column(WeeklyActuals.week_start_date).adapt(["2025-03-03", datetime.date(2025, 3, 10)])

Values that have the column's Python type pass as they are; others go through the field, equal ones once.
"""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

import peewee

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class BadValue(ValueError):
    """A value is not what its column takes: the position of its row in the batch, from 0, and what is wrong."""


class Column:
    """A column that rows can fill in; `optional` where the database does it for those that do not."""

    def __init__(self, field: peewee.Field) -> None:
        self.field: Any = field
        self.target: Any = field
        while isinstance(self.target, peewee.ForeignKeyField):
            self.target = self.target.rel_field
        self.type, self.convert = _KINDS.get(self.target.field_type, (object, _by_field))
        self.default = field.default
        if callable(self.default) and issubclass(self.type, (datetime.date, datetime.time)):
            self.default = self.default()  # one time for the whole of an upload
        self.may_be_null = field.null and self.default is None
        self.optional = self.default is None and bool(field.constraints)  # perhaps a DEFAULT of the database's
        self.plain: set[type] = set()  # of values that go in as they are
        if type(self.target).__module__ not in ("peewee", "db.fields"):
            self.convert = _by_field  # what such a field converts, only it knows
        elif self.convert in (_by_field, _whole, _boolean):
            self.plain = {self.type, type(None) if self.may_be_null else self.type}

    def adapt(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the values as the column takes them, its default where there is none.

        :raises BadValue: one cannot be converted, or is missing.
        """
        if self.plain.issuperset(map(type, values)):
            return values
        may_lack_a_hash = self.target.field_type in ("BLOB", "JSON", "JSONB")
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
        result = None if value is None else self.convert(self.target, value)
        if self.may_be_null if result is None else isinstance(result, self.type):
            return result
        raise TypeError

    def _fault(self, value: Any) -> str:
        name, kind = self.field.column_name, self.target.field_type[:4]
        if value is None:
            return f"{name} is missing"
        expected = kind if kind in ("JSON", "UUID") else self.type.__name__
        blanks = ", with blanks" if isinstance(value, str) and value != value.strip() else ""
        return f"{name} is {value!r:.80}{blanks}, expected {expected}"


def _by_field(field: Any, value: Any) -> Any:
    result = field.db_value(value)
    return str.__str__(result) if isinstance(result, str) else result  # an Enum's value, not its name


def _utc(field: Any, value: Any) -> Any:
    time = field.db_value(value)
    return time.astimezone(datetime.timezone.utc).replace(tzinfo=None) if getattr(time, "tzinfo", None) else time


def _whole(field: Any, value: Any) -> Any:
    if isinstance(value, (float, Decimal)) and value % 1:  # which Peewee would cut off
        raise ValueError
    return field.db_value(value)


def _boolean(field: Any, value: Any) -> bool:
    return _WORDS[str(value).strip().lower()]  # Peewee's bool("false") is True


def _decimal(field: Any, value: Any) -> Any:
    number = Decimal(str(value))
    if not number.is_finite():
        raise ValueError
    return field.db_value(number)


def _uuid(value: Any) -> uuid.UUID:
    return uuid.UUID(bytes=value) if isinstance(value, bytes) else uuid.UUID(str(value))


_KINDS: dict[str, tuple[type, Callable[[Any, Any], Any]]] = {  # by the type of a field of Peewee's or ours
    **dict.fromkeys(("VARCHAR", "CHAR", "TEXT"), (str, _by_field)),
    **dict.fromkeys(("INT", "BIGINT", "SMALLINT", "AUTO", "BIGAUTO"), (int, _whole)),
    **dict.fromkeys(("FLOAT", "DOUBLE"), (float, _by_field)),
    **dict.fromkeys(("JSON", "JSONB"), (str, lambda _, value: json.dumps(value, allow_nan=False))),
    "BOOL": (bool, _boolean),
    "DATE": (datetime.date, _by_field),
    "TIME": (datetime.time, _by_field),
    "DATETIME": (datetime.datetime, _utc),
    "DECIMAL": (Decimal, _decimal),
    "BLOB": (bytes, lambda _, value: value.encode() if isinstance(value, str) else bytes(memoryview(value))),
    "UUID": (str, lambda _, value: _uuid(value).hex),
    "UUIDB": (bytes, lambda _, value: _uuid(value).bytes),
}
