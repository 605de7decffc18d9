"""Fields and constraints that Peewee lacks, for SQLite, PostgreSQL, MariaDB and MySQL.

    class Upload(Model):
        id = AutoIncrementField()
        file_name = CharField(100)
        content = JSONField(null=True)
        created_at = DateTimeField(default=utc_now, constraints=[DefaultUtcNow()])

        class Meta:
            constraints = [UniqueConstraint("unique_file_name", "file_name")]

`RenamedFrom` says what a column, or a table, was called before, and `Backfill` which
value existing rows get; both are for a migration.

Each writes the DDL of the database that the table is created on. A model that uses them
need not be bound to a database.
"""

from __future__ import annotations

import datetime
import json

import peewee

# CURRENT_TIMESTAMP is in UTC on SQLite (https://sqlite.org/lang_createtable.html), but
# in the time zone of the session on the servers.
_UTC_NOW = {
    "sqlite": "CURRENT_TIMESTAMP",
    "postgresql": "(now() AT TIME ZONE 'utc')",
    "mysql": "(UTC_TIMESTAMP())",
}


def utc_now() -> datetime.datetime:
    """Return the current time in UTC, without a time zone and in whole seconds.

    The values of `DefaultUtcNow` on SQLite have the same form.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    return now.replace(tzinfo=None, microsecond=0)


class DefaultUtcNow(peewee.Node):
    """`DEFAULT` the current time in UTC, whatever the time zone of the server.

    For the `constraints` of a `DateTimeField`.
    """

    def __sql__(self, ctx: peewee.Context) -> peewee.Context:
        return ctx.literal("DEFAULT " + _UTC_NOW[_backend(ctx)])


class UniqueConstraint(peewee.Node):
    """A named UNIQUE constraint, for `Meta.constraints`.

    :param name: the name of the constraint.
    :param columns: names of columns, not of fields.
    """

    def __init__(self, name: str, *columns: str) -> None:
        self.name = name
        self.columns = columns

    def __sql__(self, ctx: peewee.Context) -> peewee.Context:
        ctx.literal("CONSTRAINT ").sql(peewee.Entity(self.name)).literal(" UNIQUE ")
        return ctx.sql(
            peewee.EnclosedNodeList([peewee.Entity(column) for column in self.columns])
        )


class _NoDDL(peewee.Node):
    """A constraint that says something to a migration, and writes nothing into DDL."""

    def __sql__(self, ctx: peewee.Context) -> peewee.Context:
        # Peewee joins the constraints of a table with commas. One that is followed by
        # nothing is a syntax error, so it is removed.
        if ctx._sql and ctx._sql[-1] in (", ", " "):
            ctx._sql.pop()
        return ctx


class RenamedFrom(_NoDDL):
    """The name that a column, or a table, had before.

    For the `constraints` of a field, or for `Meta.constraints`. A migration renames
    what still has the old name.

    :param name: the old name of the column or of the table.
    """

    def __init__(self, name: str) -> None:
        self.name = name


class Backfill(_NoDDL):
    """The value of existing rows, for the `constraints` of a field.

    A migration sets it when it adds the column, and where the column is NULL and has to
    become NOT NULL.

    :param expression: SQL; it may name other columns of the row.
    """

    def __init__(self, expression: str) -> None:
        self.expression = expression


class AutoIncrementField(peewee.AutoField):
    """An auto-increment primary key that never reuses a value, on SQLite too."""

    def ddl(self, ctx: peewee.Context) -> peewee.NodeList:
        ddl = super().ddl(ctx)
        if _backend(ctx) == "sqlite":
            return peewee.NodeList((ddl, peewee.SQL("AUTOINCREMENT")))
        return ddl


class FloatField(peewee.FloatField):
    """A column of type FLOAT: 8 bytes on SQLite and PostgreSQL, 4 bytes on MariaDB.

    Peewee's own `FloatField` is a REAL, which has 4 bytes on PostgreSQL.
    """

    def ddl_datatype(self, ctx: peewee.Context) -> peewee.SQL:
        return peewee.SQL("FLOAT")


class JSONField(peewee.Field):
    """Any JSON value, in a column of type JSON on every database.

    Peewee's own `JSONField` cannot be bound on an SQLite below 3.38, and writes a CAST
    that MariaDB does not have. This one has no operators for the parts of a value.

    :raises ValueError: when a float is stored that JSON does not have (NaN, Infinity).
    """

    field_type = "JSON"

    def ddl_datatype(self, ctx: peewee.Context) -> peewee.SQL:
        return peewee.SQL("JSON")  # by its field_type it would be JSONB on PostgreSQL

    def db_value(self, value: object) -> str | None:
        if value is None:
            return None
        return json.dumps(value, allow_nan=False)

    def python_value(self, value: object) -> object:
        if not isinstance(value, (str, bytes, bytearray)):
            return value
        database = self.model._meta.database
        if isinstance(database, peewee.Proxy):
            database = database.obj
        if isinstance(database, peewee.PostgresqlDatabase):
            return value  # its driver has decoded the JSON, and the value is a string
        try:
            return json.loads(value)
        except ValueError:
            # The model is not bound, and PostgreSQL's driver has decoded a JSON string.
            return value


def _backend(ctx: peewee.Context) -> str:
    """Return the name of the database that a context writes DDL for.

    A context does not hold its database, but it has the database's settings.
    """
    if ctx.state.quote == "``":
        return "mysql"
    if ctx.state.field_types["DATETIME"] == "TIMESTAMP":
        return "postgresql"
    return "sqlite"
