"""Fields, defaults and constraints that Peewee lacks, the same on SQLite, PostgreSQL, MariaDB and MySQL.

    class Upload(Model):
        id = LastingAutoField()
        file_name = CharField(100)
        content = JSONField(null=True)
        at = DateTimeField(default=utc_now, constraints=[UtcNow()])

        class Meta:
            constraints = [UniqueKey("unique_file_name", "file_name")]

The DDL is written for the database at hand; a model that uses them stays bound to none.
"""

from __future__ import annotations

import datetime
import json

import peewee
from peewee import SQL, AutoField, Context, EnclosedNodeList, Entity, Field, Node, NodeList, PostgresqlDatabase

_UTC_NOW = {
    "sqlite": "CURRENT_TIMESTAMP",  # UTC: https://sqlite.org/lang_createtable.html
    "postgresql": "(now() AT TIME ZONE 'utc')",  # CURRENT_TIMESTAMP would be the session's local time
    "mysql": "(UTC_TIMESTAMP())",  # CURRENT_TIMESTAMP would be the session's local time
}


def _backend(ctx: Context) -> str:
    """DDL is written from a context that does not name the database; its settings give it away."""
    if ctx.state.quote == "``":
        return "mysql"
    return "postgresql" if ctx.state.field_types["DATETIME"] == "TIMESTAMP" else "sqlite"


def utc_now() -> datetime.datetime:
    """Return the time now in UTC, naive and in whole seconds, as the database's default gives it."""
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, microsecond=0)


class UtcNow(Node):
    """`DEFAULT` of a column, for a field's `constraints`: now, in UTC, whatever the time zone of the server."""

    def __sql__(self, ctx: Context) -> Context:
        return ctx.literal("DEFAULT " + _UTC_NOW[_backend(ctx)])


class UniqueKey(Node):
    """A named UNIQUE constraint, for `Meta.constraints`; `columns` are names of columns, not of fields."""

    def __init__(self, name: str, *columns: str) -> None:
        self.name, self.columns = name, columns

    def __sql__(self, ctx: Context) -> Context:
        columns = EnclosedNodeList([Entity(column) for column in self.columns])
        return ctx.literal("CONSTRAINT ").sql(Entity(self.name)).literal(" UNIQUE ").sql(columns)


class LastingAutoField(AutoField):
    """An auto-increment key whose values are never given out twice, on SQLite too."""

    def ddl(self, ctx: Context) -> NodeList:
        ddl = super().ddl(ctx)
        return NodeList((ddl, SQL("AUTOINCREMENT"))) if _backend(ctx) == "sqlite" else ddl


class FloatField(peewee.FloatField):
    """FLOAT as each server understands the word: 8 bytes on SQLite and PostgreSQL, where Peewee's own field
    is a REAL of 4, and 4 on MariaDB.
    """

    def ddl_datatype(self, ctx: Context) -> SQL:
        return SQL("FLOAT")


class JSONField(Field):
    """Any value that JSON has, stored as its text: a column of type JSON on every database.

    Peewee's own field cannot be bound on an SQLite below 3.38 and writes a CAST that MariaDB does not know.
    This one has no operators of its own. A float that JSON lacks (NaN, Infinity) is a ValueError.
    """

    field_type = "JSON"

    def ddl_datatype(self, ctx: Context) -> SQL:
        return SQL("JSON")  # Peewee would make it JSONB on PostgreSQL

    def db_value(self, value: object) -> str | None:
        return None if value is None else json.dumps(value, allow_nan=False)

    def python_value(self, value: object) -> object:
        database = self.model._meta.database
        decoded = isinstance(database.obj if isinstance(database, peewee.Proxy) else database, PostgresqlDatabase)
        if decoded or not isinstance(value, (str, bytes, bytearray)):  # PostgreSQL's driver reads JSON by itself
            return value
        try:
            return json.loads(value)
        except ValueError:  # a string that PostgreSQL's driver has decoded, and the model is not bound
            return value
