"""Reading PostgreSQL's catalog."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import peewee

from db.url import describe
from migrations.engines.catalog import Catalog, UnknownType, UnusableDefault
from migrations.engines.postgresql import catalog_queries, column_types
from migrations.engines.postgresql.names import shortened
from migrations.engines.postgresql.session import PostgreSQLSession
from migrations.engines.session import MigrationLockHeld
from migrations.schema import (
    Check,
    Column,
    Exclusion,
    ForeignKey,
    Index,
    NameRule,
    Schema,
    Table,
    Type,
)
from migrations.sql_text import (
    is_literal,
    literal,
    literal_meaning,
    one_line,
    with_renamed_column,
)

if TYPE_CHECKING:
    from migrations.index_text import IndexText

Query = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
Place = tuple[str, str]  # a table, and a column of it
Parts = list[str]  # each the JSON object of one column, index or constraint


# What a model rarely declares of an index, and somebody may have set.
_STORAGE = r"\s*(?:WITH \([^)]*\)|TABLESPACE \S+)"
# By database and type as a model declares it: the type as the server writes it.
_DECLARED_TYPES: dict[tuple[str, str], str] = {}
_ACTIONS = {
    "a": "NO ACTION",
    "r": "RESTRICT",
    "c": "CASCADE",
    "n": "SET NULL",
    "d": "SET DEFAULT",
}
_LITERAL_STARTS = "'-0123456789"


class _StoredType(NamedTuple):
    """A declared type as PostgreSQL writes it."""

    text: str
    is_built_in: bool  # so that it cannot be dropped


class PostgreSQLCatalog(Catalog):
    """PostgreSQL's catalog."""

    session: PostgreSQLSession
    known_categories = Catalog.known_categories | {"jsonb"}
    names = NameRule.EXACT
    table_names = NameRule.EXACT

    def __init__(self, session: PostgreSQLSession) -> None:
        super().__init__(session)
        self.managed = list(self.models.managed_or_old)
        # What the server answered in this call. In the next one it may answer something
        # else: a function or an operator may be another one by then.
        #
        # By table, its columns, and two conditions, or by type and two DEFAULTs:
        # whether these are the same.
        self._same_conditions: dict[object, bool] = {}
        # By table, its columns, and the CREATE INDEX of a declared index: the text that
        # the server writes of it; None if it cannot create it.
        self._index_definitions: dict[object, str | None] = {}

    # -- declared tables

    def normalized_table(self, table: Table) -> Table:
        """Cut names of indexes as the server does.

        Peewee makes names of up to 64 characters of the names of the columns. A UNIQUE
        without a name on the columns of the primary key makes no index of its own.
        """
        table = super().normalized_table(table)
        indexes = [
            index._replace(name=shortened(index.name))
            for index in table.indexes
            if index.name or index.columns != table.primary_key
        ]
        return table._replace(indexes=tuple(indexes))

    # -- tables

    def read(self) -> Schema:
        schema = self.tables(self.models.tables_to_read)
        if self._has_unfinished_index(schema):
            query = catalog_queries.INDEXES_BEING_BUILT
            if self.session.query(query, (self.managed,)):
                # CREATE INDEX CONCURRENTLY IF NOT EXISTS would be satisfied with an
                # index that another run is building at this moment.
                raise MigrationLockHeld
        for table, column in self._ids_behind(schema):
            marked = schema[table].columns[column]._replace(ids_behind=True)
            schema = schema.with_table(table, schema[table].with_column(marked))
        return schema

    def _ids_behind(self, schema: Schema) -> list[Place]:
        """Return the managed columns whose next id exists already."""
        existing = [name for name in self.managed if name in schema]
        if not existing:
            return []
        if self.session.in_transaction():
            # IDS_BEHIND sets settings until the transaction ends. In the caller's they
            # would stay, so restore them.
            with self.session.settings_transaction():
                return self._query_ids_behind(existing)
        return self._query_ids_behind(existing)

    def _query_ids_behind(self, tables: list[str]) -> list[Place]:
        settings = self.session.server_settings()
        parameters = (list(settings), list(settings.values()), tables)
        rows = self.session.query(catalog_queries.IDS_BEHIND, parameters)
        return [(table, column) for table, column in rows]

    def _has_unfinished_index(self, schema: Schema) -> bool:
        for name in self.managed:
            if name in schema and any(not each.valid for each in schema[name].indexes):
                return True
        return False

    def tables(self, names: Iterable[str]) -> Schema:
        if self.session.in_transaction():
            # TABLES sets settings until the transaction ends. In the caller's they
            # would stay, so restore them.
            with self.session.settings_transaction():
                return self._read_now(names)
        return self._read_now(names)

    def _read_now(self, names: Iterable[str]) -> Schema:
        settings = self.session.server_settings()
        tables = read_tables(
            self.session.query,
            list(names),
            settings,
            managed=set(self.managed),
            renames=self.models.old_names,
        )
        if not self.models.schemas:
            return tables
        return tables.without(self._names_of_other_schemas(tables))

    def _names_of_other_schemas(self, tables: Iterable[str]) -> list[str]:
        """Return the names under which the search path finds other tables.

        That of a model with a schema is in that one; that of another model is not in a
        schema that only the models have brought into the search path.
        """
        others = []
        query = catalog_queries.SCHEMAS_OF_TABLES
        for name, schema in self.session.query(query, (list(tables),)):
            model = self.models.by_table.get(self.models.old_names.get(name, name))
            if model is None:
                continue
            declared = model._meta.schema
            if declared:
                elsewhere = schema != declared
            else:
                elsewhere = schema in self.session.added_schemas
            if elsewhere:
                others.append(name)
        return others

    def case_variants(self, table: str) -> list[str]:
        return self.session.query_texts(catalog_queries.CASE_VARIANTS, table, table)

    def dependents(self, table: str) -> list[str]:
        query = catalog_queries.DEPENDENTS_OF_TABLE
        return self.session.query_texts(query, table, self.managed)

    def exclusions(self, table: Table) -> list[Exclusion]:
        query = catalog_queries.EXCLUSIONS
        exclusions = []
        for row in self.session.query(query, (table.current_name,)):
            name, parts, operators, condition = row
            for column in table.columns.values():
                if not column.old_name:
                    continue
                old, new = column.old_name, column.name
                parts = [with_renamed_column(part, old, new) for part in parts]
                if condition is not None:
                    condition = with_renamed_column(condition, old, new)
            exclusion = Exclusion(name, tuple(parts), tuple(operators), condition)
            exclusions.append(exclusion)
        return exclusions

    def dependents_of_column(self, table: str, column: str) -> list[str]:
        """Return what would prevent that a column changes its type."""
        query = catalog_queries.DEPENDENTS_OF_COLUMN
        return self.session.query_texts(query, self.managed, table, column)

    def uses_of_row_type(self, table: str) -> list[str]:
        """Return what would prevent that the rows of a table are written again."""
        return self.session.query_texts(catalog_queries.USES_OF_ROW_TYPE, table)

    def dependents_of_primary_key(self, table: str) -> list[str]:
        """Return what would break if a primary key were dropped."""
        query = catalog_queries.DEPENDENTS_OF_PRIMARY_KEY
        return self.session.query_texts(query, table, [])

    # -- rows

    def estimated_count(self, table: str) -> int | None:
        query = catalog_queries.ESTIMATED_ROWS
        ((rows,),) = self.session.query(query, (table, table))
        return None if rows is None else int(rows)

    def may_hold_orphans(self) -> bool:
        # Only rows that were loaded while triggers were off can be orphans. A foreign
        # key that was never validated is a difference.
        return False

    # -- what models declare

    def parse_type(self, text: str) -> Type:
        return column_types.parse_type(text)

    def declared_type(self, text: str) -> Type:
        type_ = column_types.parse_type(text)
        if type_.category in self.known_categories:
            return type_
        key = (describe(self.session.database), text)
        if key not in _DECLARED_TYPES:
            stored = self._stored_type(text)
            if not stored.is_built_in:
                return column_types.parse_type(stored.text)
            _DECLARED_TYPES[key] = stored.text
        return column_types.parse_type(_DECLARED_TYPES[key])

    def _stored_type(self, text: str) -> _StoredType:
        """Return how PostgreSQL writes a type, of a domain the one that it is made of.

        EXPLAIN writes a type with its length and precision, and executes nothing.

        :raises UnknownType: there is no such type.
        """
        explain = f"EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) SELECT NULL::{text}"
        try:
            with self.session.settings_transaction():
                ((answer,),) = self.session.query(explain)
        except peewee.ProgrammingError as error:
            raise UnknownType(one_line(error).partition(" LINE 1:")[0]) from None
        plans = json.loads(answer) if isinstance(answer, str) else answer
        (output,) = plans[0]["Plan"]["Output"]
        stored = str(output).rpartition("NULL::")[2]
        query = catalog_queries.DETAILS_OF_TYPE
        for base, is_built_in in self.session.query(query, (stored,)):
            return _StoredType(base or stored, is_built_in)
        return _StoredType(stored, is_built_in=False)

    def type_is_accepted(self, table: Table, expected: Column, actual: Column) -> bool:
        if not self.is_known(expected.type):
            return column_types.same_name(actual.type, expected.type)
        return column_types.holds_values(actual.type, expected.type)

    def domain_of_column(self, table: str, column: str) -> str | None:
        """Return the domain that a column has as its type, if that restricts values."""
        domains = self.session.query_texts(catalog_queries.DOMAIN, table, column)
        return domains[0] if domains else None

    def same_condition(self, table: Table, declared: str, actual: str) -> bool:
        """Whether PostgreSQL reads two CHECK conditions as the same expression."""
        if declared == actual:
            return True
        columns = tuple(table.columns.values())
        question = (table.name, columns, declared, actual)
        if question not in self._same_conditions:
            source = self.current_source(table)
            sql = f"SELECT ({declared}), ({actual}) FROM {source} AS t"
            self._same_conditions[question] = self._reads_the_same(sql)
        return self._same_conditions[question]

    def same_expression(self, type_: Type, declared: str, actual: str) -> bool:
        text = column_types.type_of_existing_column(type_)
        question = (text, declared, actual)
        if question not in self._same_conditions:
            values = [f"CAST(({each}) AS {text})" for each in (declared, actual)]
            sql = f"SELECT {', '.join(values)}"
            self._same_conditions[question] = self._reads_the_same(sql)
        return self._same_conditions[question]

    def _reads_the_same(self, sql: str) -> bool:
        """Whether PostgreSQL reads both columns of a query as the same expression.

        EXPLAIN writes them in normal form. It executes nothing.
        """
        explain = f"EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) {sql}"
        try:
            with self.session.settings_transaction():
                ((answer,),) = self.session.query(explain)
        except peewee.DatabaseError as error:
            if self.session.was_aborted(error):
                raise
            # The declared one has a column that is missing, for example.
            return False
        plans = json.loads(answer) if isinstance(answer, str) else answer
        first, second = plans[0]["Plan"]["Output"]
        return bool(first == second)

    def same_index(self, table: Table, declared: Index, actual: Index) -> bool:
        """Whether PostgreSQL writes a declared index as it writes an existing one.

        The declared one is created on an empty temporary table, which is rolled back.
        """
        if declared.definition == actual.definition:
            return True
        columns = tuple(table.columns.values())
        question = (table.name, columns, declared.definition)
        if question not in self._index_definitions:
            written = self._as_written_by_server(table, declared)
            self._index_definitions[question] = written
        written = self._index_definitions[question]
        if written is None:
            return super().same_index(table, declared, actual)
        return _without_names(written) == _without_names(actual.definition)

    def _as_written_by_server(self, table: Table, declared: Index) -> str | None:
        """Return the server's text of a declared index; None if it cannot create it."""
        # Imported only for indexes that are more than indexes of columns.
        from migrations.index_text import parse_create_index

        text = parse_create_index(declared.definition)
        if text is None:
            return None
        copy = f"pg_temp.{self.session.quote(table.name)}"
        rows = f"SELECT * FROM {self.current_source(table)} AS t"
        try:
            with self.session.rolled_back():
                self.session.execute_literally(
                    f"CREATE TEMPORARY TABLE {copy} AS {rows} WITH NO DATA"
                )
                self.session.execute_literally(text.definition(copy))
                query = catalog_queries.INDEX_OF_COPY
                ((written,),) = self.session.query(query, (table.name,))
        except peewee.DatabaseError as error:
            if self.session.is_interruption(error):
                raise
            # A column is missing, or the user may not create temporary tables.
            return None
        return str(written)

    def default_meaning(self, default: str) -> str:
        return column_types.default_meaning(default)

    def normalized_default(self, column: Column) -> Column:
        default = column.default or ""
        if not is_literal(default) or default[0] not in _LITERAL_STARTS:
            return column
        if "string" in column.type.category:
            size = column.type.size
            if size and len(literal_meaning(default)) > size:
                raise UnusableDefault(f"it is longer than {size} characters")
            return column
        type_ = column_types.type_of_existing_column(column.type)
        stored = type_
        if column.type.category == "decimal":
            # PostgreSQL keeps all digits of the default, and rounds in each row.
            stored = "numeric"
        is_quoted = default.startswith("'")
        # PostgreSQL keeps a number without quotes as it is, and casts it in each row.
        kept = f"CAST({default} AS {stored})" if is_quoted else f"({default})"
        # The second value is what a row gets.
        sql = f"SELECT {kept}::text, CAST({default} AS {type_})"
        try:
            with self.session.settings_transaction():
                ((text, _),) = self.session.query(sql)
        except (peewee.DataError, peewee.ProgrammingError) as error:
            raise UnusableDefault(str(error).splitlines()[0]) from None
        if is_quoted:
            text = f"{literal(text)}::{stored}"
        return column._replace(default=text)


def read_tables(
    query: Query,
    names: Sequence[str],
    settings: Mapping[str, str],
    managed: Collection[str],
    renames: Mapping[str, str],
) -> Schema:
    """Return the tables of some names, and whatever else has these names.

    :param settings: settings that hold for the query.
    :param managed: those that are left out where they are found in a later schema of
        the search path than all others: there they belong to another application, and
        a new one is created in an earlier schema.
    :param renames: by the old name of a table, the new one. What has the old name is
        left out where the table of the new name is in another schema.
    """
    parameters = (list(settings), list(settings.values()), names)
    rows = query(catalog_queries.TABLES, parameters)
    positions = {name: position for name, _, _, position, *_ in rows}
    others = [positions[name] for name in positions if name not in managed]
    tables = {}
    for name, kind, part, position, columns, indexes, keys, checks in rows:
        if positions.get(renames.get(name, ""), position) != position:
            continue
        if name in managed:
            if others and position > max(others):
                continue
            if part:  # its columns and keys are those of another table
                kind = f"{part} of another table"
        key = _primary_key(indexes)
        tables[name] = Table(
            name=name,
            kind=kind,
            columns=_columns(columns, key),
            primary_key=key,
            indexes=_indexes(indexes),
            foreign_keys=_foreign_keys(keys),
            checks=_checks(checks),
            names=NameRule.EXACT,
        )
    return Schema(tables)


def _columns(parts: Parts, key: tuple[str, ...]) -> dict[str, Column]:
    """Return the columns.

    :param key: the primary key.
    """
    columns = {}
    for text in parts:
        part = json.loads(text)
        name = part["name"]
        default = part["default"]
        has_sequence = default is not None and default.startswith("nextval(")
        is_key = (name,) == key
        has_generator = is_key and column_types.is_generator(part["type"], default)
        if has_sequence:
            default = "nextval()"  # whatever the sequence's name is
        if part["generated"]:
            default = None  # it is the expression
        columns[name] = Column(
            name=name,
            type=column_types.parse_type(part["type"]),
            null=part["null"],
            default=default,
            auto_increment=has_sequence or has_generator or part["is_identity"],
            generated=part["generated"],
            collation=part["collation"],
        )
    return columns


def _indexes(parts: Parts) -> tuple[Index, ...]:
    """Return the indexes except the primary key's."""
    indexes = []
    for text in parts:
        part = json.loads(text)
        if part["primary"]:
            continue
        indexes.append(
            Index(
                name=part["name"],
                columns=tuple(part["columns"]),
                unique=part["unique"],
                condition=part["condition"],
                definition=part["definition"] or "",
                valid=part["valid"],
                is_constraint=part["is_constraint"],
            )
        )
    return tuple(indexes)


def _primary_key(parts: Parts) -> tuple[str, ...]:
    for text in parts:
        part = json.loads(text)
        if part["primary"]:
            return tuple(part["columns"])
    return ()


def _foreign_keys(parts: Parts) -> tuple[ForeignKey, ...]:
    keys = []
    for text in parts:
        part = json.loads(text)
        keys.append(
            ForeignKey(
                columns=tuple(part["columns"]),
                parent=part["parent"],
                parent_columns=tuple(part["parent_columns"]),
                on_delete=_ACTIONS[part["on_delete"]],
                on_update=_ACTIONS[part["on_update"]],
                name=part["name"],
                valid=part["valid"],
                deferrable=part["deferrable"],
            )
        )
    return tuple(keys)


def _checks(parts: Parts) -> tuple[Check, ...]:
    checks = []
    for text in parts:
        part = json.loads(text)
        checks.append(Check(part["name"], part["condition"], part["valid"]))
    return tuple(checks)


def _without_names(definition: str) -> IndexText | None:
    """Return the parts of the server's CREATE INDEX that make it what it does."""
    from migrations.index_text import parse_create_index

    text = parse_create_index(definition)
    if text is None:
        return None
    return text._replace(name="", table="", suffix=re.sub(_STORAGE, "", text.suffix))
