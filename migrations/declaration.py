"""What a model declares, as a `Table`.

    table = declared_table(Order, database, parse_type)

The types are those of the DDL that Peewee writes for the fields on that database, and
are parsed as the catalog's are. Whether a phase supports a model is the matter of
`migrations.model_support`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import peewee

from db.constraints import (
    ForeignKeyConstraint,
    TableConstraints,
    as_executed,
    field_constraints,
    table_constraints,
)
from db.fields import AutoIncrementField
from migrations.accepts import AcceptedColumn
from migrations.drops import names_to_drop
from migrations.schema import (
    Check,
    Column,
    ForeignKey,
    Index,
    NameRule,
    Table,
    Type,
)
from migrations.sql_text import unquoted, value_literal

if TYPE_CHECKING:
    from migrations.index_text import IndexText

Model = type[peewee.Model]
_PARAMETER = "\0"  # stands for a value in SQL
# The action of a foreign key, in its SQL.
_ACTION = r"ON (DELETE|UPDATE) (CASCADE|RESTRICT|NO ACTION|SET \w+)"
_AUTOINCREMENT = "AUTOINCREMENT"
_SHORT_NAME = 60  # characters that no database cuts
# A database that is never opened, for what a model declares on every database alike.
NO_DATABASE = peewee.Database(None)


class PhaseModels(NamedTuple):
    """The models of a phase."""

    by_table: Mapping[str, Model]  # required and managed ones
    managed: tuple[str, ...]  # names of tables, each after those that it refers to
    # What models declare, by database product and model; worked out once per phase: an
    # application may change a model, for example its table's name, and make a new one.
    declared: dict[tuple[str, Model], Table]
    accepts: tuple[AcceptedColumn, ...] = ()
    # By the old name of a managed table that its model renames, the new one.
    old_names: Mapping[str, str] = {}
    # By the name of a managed table, the names of what is dropped of it.
    drops: Mapping[str, tuple[str, ...]] = {}

    @property
    def tables_to_read(self) -> tuple[str, ...]:
        """The names of all tables, and those that some of them may still have."""
        return (*self.by_table, *self.old_names)

    @property
    def managed_or_old(self) -> tuple[str, ...]:
        """The names of the managed tables, and those that some may still have."""
        return (*self.managed, *self.old_names)

    @property
    def required(self) -> tuple[str, ...]:
        """The names of the required tables."""
        return tuple(name for name in self.by_table if name not in self.managed)

    @property
    def managed_schema(self) -> str:
        """`Meta.schema` of the managed models, which have the same one; or ""."""
        for name in self.managed:
            if self.by_table[name]._meta.schema:
                return str(self.by_table[name]._meta.schema)
        return ""

    @property
    def schemas(self) -> tuple[str, ...]:
        """All `Meta.schema` of the models, that of the managed ones first."""
        found = [self.managed_schema]
        found += [model._meta.schema for model in self.by_table.values()]
        return tuple(dict.fromkeys(schema for schema in found if schema))

    def creation_command(self, tables: Iterable[str]) -> str | None:
        """Return the command that creates some tables, if their models name one."""
        commands = {getattr(self.by_table[name], "created_by", None) for name in tables}
        if len(commands) == 1:
            return commands.pop()
        return None


def phase_models(
    required: Iterable[Model],
    managed: Iterable[Model],
    accepts: Iterable[AcceptedColumn] = (),
    drops: Iterable[str] = (),
) -> PhaseModels:
    """Return the models of a phase, the managed ones in the order of their creation."""
    ordered = in_reference_order(managed)
    by_table = {table_name(model): model for model in [*required, *managed]}
    names = tuple(table_name(model) for model in ordered)
    old_names = {}
    for model in ordered:
        old_name = table_constraints(model).renamed_from
        if old_name is not None:
            old_names[old_name] = table_name(model)
    dropped = names_to_drop(drops, names)
    return PhaseModels(
        by_table=by_table,
        managed=names,
        declared={},
        accepts=tuple(accepts),
        old_names=old_names,
        drops=dropped,
    )


def table_name(model: Model) -> str:
    """Return the name of a model's table."""
    name: str = model._meta.table_name
    return name


def sql_of(node: peewee.Node, database: peewee.Database = NO_DATABASE) -> str:
    """Return a node of Peewee's as SQL for a database."""
    text: str = database.get_sql_context().sql(node).query()[0]
    return text


def type_without_meaning(text: str) -> Type:
    """Return a type that has only its text, if no database is at hand to parse it."""
    return Type(text, "")


def declared_table(
    model: Model,
    database: peewee.Database = NO_DATABASE,
    parse_type: Callable[[str], Type] = type_without_meaning,
    names: NameRule = NameRule.EXACT,
) -> Table:
    """Return the table that a model declares on a database.

    :param parse_type: returns the meaning of a type as that database writes it.
    :param names: when two names are the same on that database.
    """
    meta = model._meta
    columns = {}
    for field in meta.sorted_fields:
        column = _column(field, database, parse_type)
        columns[names.key(column.name)] = column
    foreign_keys = [
        declared_foreign_key(field, names)
        for field in meta.sorted_fields
        if isinstance(field, peewee.ForeignKeyField)
    ]
    constraints = table_constraints(model, database)
    foreign_keys += [_foreign_key(each, names) for each in constraints.foreign_keys]
    unique_fields = []
    checks = [Check(each.name, each.condition) for each in constraints.checks]
    for field in meta.sorted_fields:
        key = names.key(field.column_name)
        declared = field_constraints(field, database)
        for name, condition in declared.checks:
            checks += [Check(name, condition, column=key)]
        for each in declared.foreign_keys:
            of_column = each._replace(columns=(field.column_name,))
            foreign_keys.append(_foreign_key(of_column, names))
        unique_fields += [_unique_constraint(name, (key,)) for name in declared.unique]
    primary_key = [names.key(field.column_name) for field in meta.get_primary_keys()]
    if not primary_key:
        primary_key = [names.key(column) for column in constraints.primary_key]
    return Table(
        name=table_name(model),
        columns=columns,
        primary_key=tuple(primary_key),
        indexes=(
            *_indexes(model, database, names),
            *_unique_constraints(constraints, names),
            *unique_fields,
        ),
        foreign_keys=tuple(foreign_keys),
        checks=tuple(checks),
        renamed_from=constraints.renamed_from,
        names=names,
        options=_options(model),
        settings=_settings(model, database),
    )


def _options(model: Model) -> tuple[str, ...]:
    """Return the options that `Meta` has attributes for, as SQL."""
    options = []
    if model._meta.strict_tables:
        options.append("STRICT")
    if model._meta.without_rowid:
        options.append("WITHOUT ROWID")
    return tuple(options)


def _settings(model: Model, database: peewee.Database) -> tuple[str, ...]:
    """Return what Peewee writes behind the parentheses of a table, as it is."""
    settings = model._meta.table_settings or ()
    if isinstance(settings, str):
        settings = (settings,)
    return tuple(as_executed(each, database) for each in settings)


def _column(
    field: peewee.Field, database: peewee.Database, parse_type: Callable[[str], Type]
) -> Column:
    type_ = parse_type(type_of(field, database))
    constraints = field_constraints(field, database)
    # A field of another type has it so that Peewee asks for the value of its DEFAULT.
    auto_increment = bool(field.auto_increment) and type_.category == "integer"
    default = constraints.default
    if default is not None and default.upper() == "NULL":
        default = None  # it is the same as no DEFAULT
    return Column(
        name=field.column_name,
        type=type_,
        null=field.null and not constraints.not_null,
        default=default,
        auto_increment=auto_increment,
        reuses_ids=auto_increment and not _never_reuses_ids(field, database),
        collation=field.collation or constraints.collation or None,
        renamed_from=constraints.renamed_from,
        backfill=constraints.backfill,
        attributes=tuple(
            text for text in constraints.attributes if text.upper() != _AUTOINCREMENT
        ),
    )


def _never_reuses_ids(field: peewee.Field, database: peewee.Database) -> bool:
    """Whether a field is declared AUTOINCREMENT, in whatever way."""
    if isinstance(field, AutoIncrementField):
        return True
    context = database.get_sql_context(scope=peewee.SCOPE_VALUES)
    sql = str(context.sql(field.ddl(context)).query()[0])
    return sql.upper().endswith(f" {_AUTOINCREMENT}")


def type_of(field: peewee.Field, database: peewee.Database) -> str:
    """Return the type of a field as Peewee writes it; "" if it writes none."""
    context = database.get_sql_context()
    datatype = field.ddl_datatype(context)
    if datatype is None:
        return ""
    text: str = context.sql(datatype).query()[0]
    return text


def _indexes(model: Model, database: peewee.Database, names: NameRule) -> list[Index]:
    found = []
    for node in model._meta.fields_to_index():
        index = declared_index(node, database, names)
        # Peewee creates it once if a field and Meta.indexes declare the same.
        if index is not None and index not in found:
            found.append(index)
    return found


def declared_index(
    node: peewee.Node, database: peewee.Database, names: NameRule = NameRule.EXACT
) -> Index | None:
    """Return the index that a model declares; None if it cannot be read.

    :param node: an index of Peewee's, or SQL("CREATE INDEX …").
    :param names: when two names are the same.
    """
    if has_plain_columns(node):
        columns = [names.key(field.column_name) for field in node._expressions]
        return Index(node._name, tuple(columns), unique=bool(node._unique))
    text = index_text(node, database)
    if text is None:
        return None
    definition = ""
    if not text.is_plain:
        definition = text.definition(text.table)
    return Index(
        name=unquoted(text.name),
        columns=text.normalized_parts(),
        unique=text.kind == "UNIQUE",
        condition=text.condition,
        definition=definition,
    )


def index_text(node: peewee.Node, database: peewee.Database) -> "IndexText | None":
    """Return the parts of the CREATE INDEX of a declared index; None if it is none.

    Values in its condition are written into it, as no database has parameters there.
    Peewee's own way to do that, ValueLiterals, leaves quotes in a text as they are
    before Peewee 4.5.
    """
    # Imported only for indexes that are more than indexes of columns.
    from migrations.index_text import parse_create_index

    context = database.get_sql_context(param=_PARAMETER)
    sql, values = context.sql(node).query()
    first, *others = as_executed(sql, database).split(_PARAMETER)
    for value, text in zip(values, others):
        first += f"{value_literal(value)}{text}"
    return parse_create_index(first)


def _unique_constraints(constraints: TableConstraints, names: NameRule) -> list[Index]:
    found = []
    for each in constraints.unique:
        columns = tuple(names.key(name) for name in each.columns)
        found.append(_unique_constraint(each.name, columns))
    return found


def _unique_constraint(name: str, columns: tuple[str, ...]) -> Index:
    return Index(name, columns, unique=True, is_constraint=True)


def declared_foreign_key(
    field: peewee.ForeignKeyField, names: NameRule = NameRule.EXACT
) -> ForeignKey:
    """Return the foreign key that a field declares.

    :param names: when two names are the same.
    """
    deferrable = ""
    if field.deferrable:
        deferrable = deferrable_clause(f"DEFERRABLE {field.deferrable}")
    return ForeignKey(
        columns=(names.key(field.column_name),),
        parent=table_name(field.rel_model),
        parent_columns=(names.key(field.rel_field.column_name),),
        on_delete=(field.on_delete or "NO ACTION").upper(),
        on_update=(field.on_update or "NO ACTION").upper(),
        name=_key_name(field),
        deferrable=deferrable,
    )


def _foreign_key(constraint: ForeignKeyConstraint, names: NameRule) -> ForeignKey:
    """Return a foreign key of `Meta.constraints`."""
    actions = dict(re.findall(_ACTION, constraint.options))
    return ForeignKey(
        columns=tuple(names.key(name) for name in constraint.columns),
        parent=constraint.parent,
        parent_columns=tuple(names.key(name) for name in constraint.parent_columns),
        on_delete=actions.get("DELETE", "NO ACTION"),
        on_update=actions.get("UPDATE", "NO ACTION"),
        name=constraint.name or None,
        deferrable=deferrable_clause(constraint.options),
    )


def _key_name(field: peewee.ForeignKeyField) -> str | None:
    """Return the name of a foreign key; None if the database chooses it.

    The key of a DeferredForeignKey has the name that Peewee would create it with.
    """
    if field.constraint_name:
        return str(field.constraint_name)
    if field.deferred and len(field.get_constraint_name()) <= _SHORT_NAME:
        return str(field.get_constraint_name())
    return None


def deferrable_clause(text: str) -> str:
    """Return when a foreign key is checked, in the words of `schema.ForeignKey`."""
    words = text.upper().split()
    if "DEFERRABLE" not in words or words[0] == "NOT":
        return ""
    if words[-2:] == ["INITIALLY", "DEFERRED"]:
        return "DEFERRABLE INITIALLY DEFERRED"
    return "DEFERRABLE"


def has_plain_columns(index: peewee.Node) -> bool:
    """Whether an index is one of whole columns, for every row, of the usual kind."""
    parts = getattr(index, "_expressions", None)
    if not parts or index._where is not None or index._using:
        return False
    if getattr(index, "_nulls_distinct", None) is not None:
        return False
    return all(isinstance(part, peewee.Field) for part in parts)


def in_reference_order(models: Iterable[Model]) -> list[Model]:
    """Return models so that each comes after those that it refers to.

    Where they refer to each other, the one with a DeferredForeignKey comes first, or
    any of them.
    """
    left = {table_name(model): model for model in models}
    ordered: list[Model] = []
    while left:
        name = _first_without_reference(left)
        if name is None:
            name = _in_circles(left)[0]
        ordered.append(left.pop(name))
    return ordered


def circular_tables(models: Iterable[Model]) -> tuple[str, ...]:
    """Return tables of which none can be created first, as they refer to each other."""
    left = {table_name(model): model for model in models}
    while left:
        name = _first_without_reference(left)
        if name is None:
            return tuple(sorted(_in_circles(left)))
        del left[name]
    return ()


def _first_without_reference(models: Mapping[str, Model]) -> str | None:
    """Return the first table that can be created before the other ones, or None."""
    for with_deferred in (True, False):
        for name, model in models.items():
            others = models.keys() - {name}
            if _parents(model, with_deferred).isdisjoint(others):
                return name
    return None


def _in_circles(models: Mapping[str, Model]) -> list[str]:
    """Return the tables without those that no other one of them refers to."""
    left = dict(models)
    while True:
        referred: set[str] = set()
        for name, model in left.items():
            referred |= _parents(model, with_deferred=False) - {name}
        inside = {name: model for name, model in left.items() if name in referred}
        if len(inside) == len(left):
            return list(inside)
        left = inside


def _parents(model: Model, with_deferred: bool) -> set[str]:
    """Return the tables that a model refers to.

    :param with_deferred: by a DeferredForeignKey, too.
    """
    parents = {
        table_name(field.rel_model)
        for field in model._meta.refs
        if with_deferred or not field.deferred
    }
    parents.update(key.parent for key in table_constraints(model).foreign_keys)
    for field in model._meta.sorted_fields:
        parents.update(key.parent for key in field_constraints(field).foreign_keys)
    return parents
