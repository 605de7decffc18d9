"""Values of rows, converted to what the columns of a table store.

    column = Column(WeeklyActuals.week_start_date)
    column.convert(["2025-03-03", datetime.date(2025, 3, 10)])  # two dates

A batch of rows is converted one column at a time. Values that have the Python type of
the column pass unchanged, at the cost of a look at their types. Equal values among the
others are converted once.
"""

from __future__ import annotations

import datetime
import json
import math
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

import peewee

from db.constraints import field_constraints

Columns = dict[str, Sequence[Any]]
"""The values of a batch: by the name of a column, one for each row."""


class RowProblem(NamedTuple):
    """What is wrong with a row."""

    position: int  # of the row in its batch, from 0
    reason: str


class BadValue(ValueError):
    """A column cannot store some of the values; `problems` has one entry for each."""

    def __init__(self, problems: list[RowProblem]) -> None:
        super().__init__(problems)
        self.problems = problems


# -- Conversions of a value for a field. They differ from Peewee's where that would
# change a value silently, and raise one of these errors instead.

_CONVERSION_ERRORS = (
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,  # of a field that expects another type
)
_TRUE_WORDS = ("true", "t", "yes", "y", "on", "1")
_FALSE_WORDS = ("false", "f", "no", "n", "off", "0")


def _by_peewee(field: Any, value: Any) -> Any:
    return field.db_value(value)


def _text(field: Any, value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, str):
        return value  # Peewee would cut what is too long for a FixedCharField
    return str(value)


def _integer(field: Any, value: Any) -> Any:
    if isinstance(value, (float, Decimal)) and value % 1:
        raise ValueError  # Peewee would cut the fraction
    _refuse_digit_groups(value)
    return field.db_value(value)


def _float(field: Any, value: Any) -> Any:
    _refuse_digit_groups(value)
    stored = field.db_value(value)
    _refuse_not_finite(stored)  # a text may say "nan" or "1e400"
    return stored


def _decimal(field: Any, value: Any) -> Any:
    _refuse_digit_groups(value)
    decimal = Decimal(str(value))
    _refuse_not_finite(decimal)
    return field.db_value(decimal)  # which rounds, if the field has auto_round


def _refuse_digit_groups(value: Any) -> None:
    """Refuse 1_000, which is a number in the source text of Python only."""
    if isinstance(value, (str, bytes)) and "_" in str(value):
        raise ValueError


def _refuse_not_finite(value: Any) -> None:
    """Refuse NaN and infinity: not every database has them, and none has them in all
    columns of numbers.
    """
    if isinstance(value, (float, Decimal)) and not math.isfinite(value):
        raise ValueError


def _boolean(field: Any, value: Any) -> bool:
    word = str(value).strip().lower()
    if word in _TRUE_WORDS:
        return True
    if word in _FALSE_WORDS:
        return False
    raise ValueError  # Peewee would store True


def _date(field: Any, value: Any) -> Any:
    stored = field.db_value(value)
    with_time = value
    if isinstance(value, str) and not _is_date(value):
        with_time = peewee.DateTimeField().db_value(value)
    if isinstance(with_time, datetime.datetime):
        midnight = datetime.datetime.combine(stored, datetime.time())
        if with_time != midnight:
            raise ValueError  # Peewee would cut the time of the day
    return stored


def _is_date(text: str) -> bool:
    return " " not in text and ":" not in text


def _time(field: Any, value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        raise ValueError  # Peewee would cut the date
    if isinstance(value, str) and " " in value.strip():
        raise ValueError  # a date and a time
    if isinstance(value, datetime.timedelta) and value.days:
        raise ValueError  # Peewee would cut the days
    stored = field.db_value(value)
    if isinstance(stored, datetime.time) and stored.tzinfo:
        raise ValueError  # a column of this type has no time zone
    return stored


def _date_and_time(field: Any, value: Any) -> Any:
    stored = field.db_value(value)
    if isinstance(stored, datetime.datetime) and stored.tzinfo:
        return stored.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    return stored


def _uuid(value: Any) -> uuid.UUID:
    if isinstance(value, bytes):
        return uuid.UUID(bytes=value)
    return uuid.UUID(str(value))


def _uuid_hex(field: Any, value: Any) -> str:
    return _uuid(value).hex


def _uuid_bytes(field: Any, value: Any) -> bytes:
    return _uuid(value).bytes


def _json(field: Any, value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _bytes(field: Any, value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return bytes(memoryview(value))  # bytes(5) would be five zeros


# -- Kinds of columns


class _Kind(NamedTuple):
    """What the columns of one kind store."""

    type: type
    """The Python type of a stored value."""
    description: str
    """What to call such a value in error messages."""
    convert: Callable[[Any, Any], Any] = _by_peewee
    """Returns the stored value, given the field and a value of another type."""
    passes_unchanged: bool = True
    """Whether a value of the type is stored as it is."""
    takes_unhashable: bool = False
    """Whether a value without a hash, such as a list, can be stored."""
    may_be_not_finite: bool = True
    """Whether a value may be NaN or infinity, which is refused."""


_TEXTS = _Kind(str, "a text", _text)
_INTEGERS = _Kind(int, "an integer", _integer)
_FLOATS = _Kind(float, "a number", _float)
_DATES = _Kind(datetime.date, "a date (YYYY-MM-DD)", _date)
_TIMES = _Kind(datetime.time, "a time (HH:MM:SS)", _time)
_DATES_AND_TIMES = _Kind(
    datetime.datetime, "a date and time (YYYY-MM-DD HH:MM:SS)", _date_and_time
)
_JSON_VALUES = _Kind(
    str,
    "a JSON value",
    _json,
    passes_unchanged=False,
    takes_unhashable=True,
    may_be_not_finite=False,  # json.dumps refuses it
)
_KINDS = {  # by the `field_type` of Peewee's fields
    "VARCHAR": _TEXTS,
    "CHAR": _TEXTS,
    "TEXT": _TEXTS,
    "INT": _INTEGERS,
    "BIGINT": _INTEGERS,
    "SMALLINT": _INTEGERS,
    "AUTO": _INTEGERS,
    "BIGAUTO": _INTEGERS,
    "FLOAT": _FLOATS,
    "DOUBLE": _FLOATS,
    "DECIMAL": _Kind(Decimal, "a decimal number", _decimal, passes_unchanged=False),
    "BOOL": _Kind(bool, "a boolean (true or false)", _boolean),
    "DATE": _DATES,
    "TIME": _TIMES,
    "DATETIME": _DATES_AND_TIMES,
    "UUID": _Kind(str, "a UUID", _uuid_hex, passes_unchanged=False),
    "UUIDB": _Kind(bytes, "a UUID", _uuid_bytes, passes_unchanged=False),
    "JSON": _JSON_VALUES,
    "JSONB": _JSON_VALUES,
    "BLOB": _Kind(
        bytes, "bytes", _bytes, takes_unhashable=True, may_be_not_finite=False
    ),
}


def _kind_of(field: Any) -> _Kind:
    """Return the kind of a column. A field that is not Peewee's has its own kind."""
    is_known = type(field).__module__ in ("peewee", "db.fields")
    if is_known or "JSON" in str(field.field_type):
        known = _KINDS.get(field.field_type)
        if known:
            return known
    return _Kind(
        object,
        f"a value of {type(field).__name__}",
        passes_unchanged=False,
        takes_unhashable=True,  # of an array or an HSTORE
    )


class Column:
    """A column that an upload fills.

    `optional` says that the database has a default for it and the model has none: a
    batch without values for this column leaves it out.
    """

    def __init__(self, field: peewee.Field) -> None:
        self.field: Any = field
        self.stored_field: Any = field  # the one whose values a foreign key stores
        while isinstance(self.stored_field, peewee.ForeignKeyField):
            self.stored_field = self.stored_field.rel_field
        self.kind = _kind_of(self.stored_field)
        self.default = field.default
        if callable(self.default) and self.kind in (_DATES, _TIMES, _DATES_AND_TIMES):
            self.default = self.default()  # all rows of an upload get the same time
        constraints = field_constraints(field)
        is_nullable = field.null and not constraints.not_null
        self.may_be_null = is_nullable and self.default is None
        has_database_default = constraints.default is not None
        self.optional = self.default is None and has_database_default

    def convert(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the values as the column stores them.

        The model's default takes the place of None.

        :raises BadValue: values cannot be converted, or are missing.
        """
        if self._stores_unchanged(values):
            return values
        convert_value = self._convert_value
        if not self.kind.takes_unhashable:
            # Equal values are converted once. The cache raises a TypeError for a value
            # without a hash, which refuses it.
            convert_value = lru_cache(maxsize=None, typed=True)(convert_value)
        try:
            return [convert_value(self._or_default(value)) for value in values]
        except _CONVERSION_ERRORS:
            raise BadValue(self._problems(values, convert_value)) from None

    def _stores_unchanged(self, values: Sequence[Any]) -> bool:
        """Whether the column stores all of the values as they are."""
        if not self.kind.passes_unchanged:
            return False
        types = set(map(type, values))
        if self.may_be_null:
            types.discard(type(None))
        if not types <= {self.kind.type}:
            return False
        distinct = set(values)
        distinct.discard(None)
        if self.kind in (_DATES_AND_TIMES, _TIMES):
            return not any(value.tzinfo for value in distinct)
        if self.kind is _FLOATS:
            return all(map(math.isfinite, distinct))
        return True

    def _or_default(self, value: Any) -> Any:
        if value is not None:
            return value
        if callable(self.default):
            return self.default()
        return self.default

    def _convert_value(self, value: Any) -> Any:
        """Return a value as the column stores it.

        :raises Exception: one of _CONVERSION_ERRORS, if that is impossible.
        """
        if isinstance(value, peewee.Model):
            value = self._key_of(value)
        if self.kind.may_be_not_finite:
            if value != value:  # NaN, also pandas' one of dates
                raise ValueError
            _refuse_not_finite(value)
        stored = None
        if value is not None:
            stored = self.kind.convert(self.stored_field, value)
        if stored is None:
            if not self.may_be_null:
                raise TypeError
        elif not isinstance(stored, self.kind.type):
            raise TypeError
        if isinstance(stored, str):
            return str.__str__(stored)  # an Enum's value; str() would give its name
        return stored

    def _key_of(self, instance: Any) -> Any:
        """Return what a foreign key to an instance stores."""
        if not isinstance(self.field, peewee.ForeignKeyField):
            raise TypeError
        return instance.__data__.get(self.field.rel_field.name)

    def _problems(
        self, values: Sequence[Any], convert_value: Callable[[Any], Any]
    ) -> list[RowProblem]:
        """Return what is wrong with the values that cannot be converted."""
        problems = []
        for position, given in enumerate(values):
            value = self._or_default(given)
            if not _succeeds(convert_value, value):
                problems.append(RowProblem(position, self._problem(value)))
        return problems

    def _problem(self, value: Any) -> str:
        name = self.field.column_name
        if value is None:
            return f"{name} is missing"
        shown = f"{value!r:.80}"
        if isinstance(value, str) and value != value.strip():
            shown += ", with leading or trailing spaces"
        return f"{name} is {shown}, expected {self.kind.description}"


def _succeeds(convert_value: Callable[[Any], Any], value: Any) -> bool:
    try:
        convert_value(value)
    except _CONVERSION_ERRORS:
        return False
    return True
