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

from db import fields

_PLAIN: dict[type, type] = {  # fields whose values go in as they are where they have this type
    peewee.CharField: str, peewee.FixedCharField: str, peewee.TextField: str,
    peewee.IntegerField: int, peewee.BigIntegerField: int, peewee.SmallIntegerField: int,
    peewee.AutoField: int, peewee.BigAutoField: int, fields.LastingAutoField: int,
    peewee.FloatField: float, peewee.DoubleField: float, fields.FloatField: float,
    peewee.BooleanField: bool, peewee.DateField: datetime.date, peewee.DateTimeField: datetime.datetime,
}  # fmt: skip
_TYPES: dict[type, type] = {
    **_PLAIN, peewee.TimeField: datetime.time, peewee.DecimalField: Decimal, peewee.BlobField: bytes,
    peewee.UUIDField: str, peewee.BinaryUUIDField: bytes,
}  # fmt: skip
_WORDS = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}


class BadValue(ValueError):
    """A value is not what its column takes; `position` is that of its row in the batch, from 0."""

    def __init__(self, position: int, text: str) -> None:
        super().__init__(text)
        self.position = position


class Column:
    """A column that rows can fill in; `optional` where the database does it for those that do not."""

    def __init__(self, field: peewee.Field) -> None:
        self.field: Any = field
        self.target: Any = field
        self.name: str = field.column_name
        while isinstance(self.target, peewee.ForeignKeyField):
            self.target = self.target.rel_field
        kinds = type(self.target).__mro__
        self.json = self.target.field_type in ("JSON", "JSONB")  # Peewee's own as well as ours
        self.type: type = next((_TYPES[kind] for kind in kinds if kind in _TYPES), str if self.json else object)
        self.plain = type(self.target) in _PLAIN
        own = type(self.target).__module__ not in ("peewee", "db.fields")  # what it converts, only it knows
        by_kind = next((_CONVERTERS[kind] for kind in kinds if kind in _CONVERTERS and not own), _by_field)
        self.convert = _json if self.json else by_kind
        self.default = field.default
        if callable(self.default) and issubclass(self.type, (datetime.date, datetime.time)):
            self.default = self.default()  # one time for the whole of an upload
        self.may_be_null = field.null and self.default is None
        self.optional = self.default is None and any(map(_is_default, field.constraints or ()))

    def adapt(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the values as the column takes them, its default where there is none.

        :raises BadValue: one cannot be converted, or is missing.
        """
        types = set(map(type, values))
        plain = self.plain and types <= {self.type, type(None) if self.may_be_null else self.type}
        if plain and not (self.type is datetime.datetime and any(value and value.tzinfo for value in set(values))):
            return values
        hashable = self.type is not bytes and not self.json
        adapt = lru_cache(maxsize=None, typed=True)(self._adapted) if hashable else self._adapted
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
        if isinstance(result, self.type) or (result is None and self.may_be_null):
            return result
        raise TypeError

    def _fault(self, value: Any) -> str:
        if value is None:
            return f"{self.name} is missing"
        shown = f"{value!r:.80}" + (", with blanks" if isinstance(value, str) and value != value.strip() else "")
        kind = self.target.field_type[:4]
        return f"{self.name} is {shown}, expected {kind if kind in ('JSON', 'UUID') else self.type.__name__}"


def _is_default(constraint: peewee.Node) -> bool:
    sql = getattr(constraint, "sql", "")
    return isinstance(constraint, fields.UtcNow) or str(sql).lstrip().upper().startswith("DEFAULT")


def _by_field(field: Any, value: Any) -> Any:
    """Convert a value as Peewee does, but for what that would lose in silence."""
    if _PLAIN.get(type(field)) is int and isinstance(value, (float, Decimal)) and value % 1:
        raise ValueError
    result = field.db_value(value)
    if isinstance(result, datetime.datetime) and result.tzinfo:
        return result.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    return str.__str__(result) if isinstance(result, str) else result


def _boolean(field: Any, value: Any) -> bool:
    return _WORDS[str(value).strip().lower()]  # Peewee's bool("false") is True


def _decimal(field: Any, value: Any) -> Any:
    number = Decimal(str(value))
    if not number.is_finite():
        raise ValueError
    return field.db_value(number)


def _bytes(field: Any, value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else memoryview(value).tobytes()


def _uuid(field: Any, value: Any) -> str | bytes:
    key = uuid.UUID(bytes=value) if isinstance(value, bytes) else uuid.UUID(str(value))
    return key.bytes if isinstance(field, peewee.BinaryUUIDField) else key.hex


def _json(field: Any, value: Any) -> str:
    return json.dumps(value, allow_nan=False)


_CONVERTERS: dict[type, Callable[[Any, Any], Any]] = {
    peewee.BooleanField: _boolean, peewee.DecimalField: _decimal, peewee.BlobField: _bytes,
    peewee.UUIDField: _uuid, peewee.BinaryUUIDField: _uuid,
}  # fmt: skip
