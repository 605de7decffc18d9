"""The values that describe tables: what a database says of itself, and what a model declares.

Both sides of the comparison are a `Table`, so there is one language for them on every engine. Like
Peewee's own metadata they are `collections.namedtuple`s: `typing` takes longer to import than a
check of the schema takes.
"""

from __future__ import annotations

from collections import namedtuple
from functools import cache

import peewee

from db.models import WeeklyActuals

# What Peewee calls a type -> (family, smallest size that holds it: characters or bytes).
_FAMILIES = {
    "AUTO": ("integer", 4),
    "INT": ("integer", 4),
    "VARCHAR": ("string", None),
    "TEXT": ("string", None),
    "DATE": ("date", None),
    "DATETIME": ("datetime", None),
    "DOUBLE": ("float", 8),
}


# What the databases call their types, in lower case and without a length -> family. Another type is
# a family of its own.
_FAMILY_OF = {
    name: family
    for family, names in {
        "string": "varchar, char, text, nvarchar, nchar, character, clob, tinytext, mediumtext, longtext, "
        "character varying, varying character, native character",
        "integer": "int, integer, bigint, smallint, tinyint, mediumint, int2, int4, int8",
        "float": "float, real, double, double precision",
        "decimal": "decimal, numeric",
        "date": "date",
        "datetime": "datetime, timestamp, timestamp without time zone",
    }.items()
    for name in names.split(", ")
}


@cache
def family_of(type_name: str) -> str:
    """Return the family of a column's type as the database writes it."""
    bare = type_name.lower().partition("(")[0].strip()
    return _FAMILY_OF.get(bare, bare or "untyped")


class Column(
    namedtuple(
        "Column",
        "name type family size null default automatic generated collation",
        defaults=(None, True, None, False, False, None),
    )
):
    """A column: its declared `type` and that type's `family`; `size` in characters or bytes, None where
    the engine sets no limit; `default` as SQL; `automatic` if it counts by itself; `generated` if it is
    computed and cannot be written.
    """

    __slots__ = ()

    @property
    def optional(self) -> bool:
        """Whether a row can be inserted without a value for it."""
        return self.null or self.default is not None or self.automatic or self.generated


class Index(namedtuple("Index", "name columns unique partial valid constraint", defaults=(False, False, True, False))):
    """An index; its `columns` are in order, and an expression or a descending one is no plain name."""

    __slots__ = ()


class ForeignKey(namedtuple("ForeignKey", "columns table target on_delete name valid", defaults=(None, True))):
    """A foreign key; `valid` is False where the database never checked the rows that were there."""

    __slots__ = ()


class Table(
    namedtuple("Table", "name kind columns primary_key indexes foreign_keys", defaults=("table", {}, (), (), ()))
):
    """A table, or whatever else goes by its name: `kind` says what. `columns` are by lower-case name."""

    __slots__ = ()

    def is_unique(self, *columns: str) -> bool:
        """Whether the primary key or a full unique index covers just these columns."""
        return self.primary_key == columns or any(
            index.columns == columns and index.unique and not index.partial and index.valid for index in self.indexes
        )

    def wrong_keys(self, expected: ForeignKey) -> tuple[ForeignKey, ...] | None:
        """Return the foreign keys that stand where the expected one should; None where it is there.

        A key of the same column to another table is wrong only as long as the right one is missing.
        """
        of_column = [key for key in self.foreign_keys if key.columns == expected.columns]
        same = [key for key in of_column if (key.table, key.target) == (expected.table, expected.target)]
        wrong = tuple(key for key in same or of_column if key not in same or key.on_delete != expected.on_delete)
        return wrong if wrong or not same else None


Schema = dict[str, Table]  # by the table's lower-case name


def declared_key(column: str) -> ForeignKey:
    """Return the foreign key that the model of `weekly_actuals` declares for a column."""
    return next(key for key in declared(WeeklyActuals).foreign_keys if key.columns == (column,))


@cache
def declared(model: type[peewee.Model]) -> Table:
    """Return the table that a model declares."""
    meta = model._meta
    columns, foreign_keys = {}, []
    for field in meta.sorted_fields:
        family, size = _FAMILIES.get(field.field_type, (field.field_type.lower(), None))
        size = getattr(getattr(field, "rel_field", field), "max_length", size)
        columns[field.column_name] = Column(field.column_name, field.field_type, family, size, field.null)
        if isinstance(field, peewee.ForeignKeyField):
            foreign_keys.append(
                ForeignKey(
                    (field.column_name,),
                    field.rel_model._meta.table_name,
                    (field.rel_field.column_name,),
                    field.on_delete or "NO ACTION",
                )
            )
    indexes = tuple(
        Index(index._name, tuple(field.column_name for field in index._expressions), index._unique)
        for index in meta.fields_to_index()
    )
    if unique_key := getattr(meta, "unique_key", None):
        indexes += (Index(*unique_key, unique=True, constraint=True),)
    return Table(meta.table_name, "table", columns, (meta.primary_key.column_name,), indexes, tuple(foreign_keys))
