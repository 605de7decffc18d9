"""Reading: what MariaDB and MySQL say of their tables."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import ClassVar, NamedTuple

import peewee

from db.url import describe
from migrations.declaration import declared_table
from migrations.engines.catalog import Catalog, UnknownType
from migrations.engines.mysql.column_types import (
    is_unsigned,
    literal_cast,
    parse_type,
    rounded_number,
)
from migrations.engines.mysql.server import CLUSTER_SYNC_SETTINGS
from migrations.engines.mysql.server_errors import (
    DISCONNECTED,
    LOCKED,
    NO_RIGHT,
    READ_ONLY,
    error_code,
)
from migrations.engines.mysql.session import MySQLFamilySession
from migrations.engines.mysql.show_create_table import (
    NAMES,
    CreateTableText,
    attribute_meaning,
    kind_of_table,
    parsed_table,
    statement_of_temporary_table,
)
from migrations.report import Difference, note, warning
from migrations.schema import UTC_NOW, Column, Index, Schema, Table, Type
from migrations.sql_text import is_literal, literal, literal_meaning, one_line

_WITH_EXPONENT = r"(?i)-?\d+([.]\d+)?e[+-]?\d+"
# The name of the temporary table with which the server is asked how it writes a type or
# an index, and of that index.
_TEMPORARY_TABLE = "part of a model"
# By database and type as a model declares it: the type as the server writes it.
_DECLARED_TYPES: dict[tuple[str, str], str] = {}
# By database, table, CREATE INDEX and the table's text: the parts of the index as the
# server writes them.
_STORED_PARTS: dict[object, tuple[str, ...] | None] = {}
# The number of the note with the query in the server's form, and that note.
_EXPLAINED = 1003
_NORMAL_FORMS = (
    r"(?s)(/\*.*?\*/ )?select (?P<declared>.*) AS `declared`,"
    r"(?P<actual>.*) AS `actual`( from|$)"
)
# The name of a table, with its database if that is another one.
_PATH = (
    "IF(table_schema = DATABASE(), table_name, CONCAT(table_schema, '.', table_name))"
)
# Parameter: the table referred to.
_REFERRING_TABLES = (
    f"SELECT 'table', {_PATH} FROM information_schema.key_column_usage "
    "WHERE referenced_table_schema = DATABASE() AND referenced_table_name = %s"
)
# A row for each column of each foreign key to a table: its table, its name, and the
# column referred to. Parameter: the table referred to.
_REFERRING_KEYS = (
    f"SELECT {_PATH}, constraint_name, "
    "referenced_column_name "
    "FROM information_schema.key_column_usage "
    "WHERE referenced_table_schema = DATABASE() AND referenced_table_name = %s "
    "ORDER BY table_schema, table_name, constraint_name, ordinal_position"
)
# Names of foreign keys of a database are unique in it. Parameter: the name.
_FOREIGN_KEYS_NAMED = (
    "SELECT table_name FROM information_schema.referential_constraints "
    "WHERE constraint_schema = DATABASE() AND constraint_name = %s"
)
# Parameter: the quoted name of the table that the view selects from.
_VIEWS = (
    f"SELECT 'view', {_PATH} FROM information_schema.views "
    "WHERE LOCATE(CONCAT('`', REPLACE(DATABASE(), '`', '``'), '`.', %s), "
    "view_definition)"
)
# Parameters, quoted: the table that the view selects from, and twice the column that
# it names.
_VIEWS_OF_COLUMN = (
    _VIEWS.replace("'view', ", "")
    + " AND (%s IS NULL OR LOCATE(CONCAT('.', %s), view_definition))"
)
# The text of a routine is NULL if this user may not see it.
_ROUTINES = (
    "SELECT LOWER(routine_type), routine_name, routine_definition "
    "FROM information_schema.routines WHERE routine_schema = DATABASE() ORDER BY 2"
)
_ENGINE = re.compile(r"\b(?:ENGINE|TYPE)\s*=?\s*(\w+)", re.IGNORECASE)
_TRIGGERS = (
    "SELECT trigger_name, event_object_table, action_statement "
    "FROM information_schema.triggers WHERE trigger_schema = DATABASE() ORDER BY 1"
)


class UnknownEngine(Exception):
    """The server has no storage engine of a name."""


class StorageEngine(NamedTuple):
    """A storage engine other than InnoDB."""

    name: str
    has_transactions: bool


def declared_engine(table: Table) -> str:
    """Return the storage engine of a declared table in lower case, or ""."""
    found = _ENGINE.findall(" ".join(table.settings))
    return found[-1].lower() if found else ""


class ReferringKey(NamedTuple):
    """A foreign key to a table."""

    table: str  # that has it
    name: str
    parent_columns: tuple[str, ...]


class MySQLFamilyCatalog(Catalog):
    """Reads the catalog."""

    session: MySQLFamilySession
    names = NAMES
    text_class: ClassVar[type[CreateTableText]]
    # The words before a query that make the server note the query in its own form.
    explain: ClassVar[str]
    # InnoDB checks both at once, never at the end of the statement:
    # https://mariadb.com/kb/en/foreign-keys/
    equivalent_actions = {"RESTRICT": "NO ACTION"}

    def __init__(self, session: MySQLFamilySession) -> None:
        super().__init__(session)
        self.table_names = session.table_names
        self._last_texts: dict[str, str] = {}
        self._last_read = Schema()

    # -- tables

    def read(self) -> Schema:
        schema = self.tables(self.models.tables_to_read)
        required = self.models.by_table.keys() - set(self.models.managed)
        if not required <= schema.keys():
            # Perhaps it was created on another node of a cluster a moment ago.
            with self.session.variables(CLUSTER_SYNC_SETTINGS):
                schema = self.tables(self.models.tables_to_read)
        self._last_read = self.under_new_names(schema).schema
        return schema

    def tables(self, names: Iterable[str]) -> Schema:
        tables = {}
        texts = self._texts(names)
        for name, text in texts.items():
            tables[name] = self.parse_table(name, text)
        self._last_texts.update(texts)
        return Schema(tables)

    def parse_table(self, name: str, text: str) -> Table:
        """Return the table of a text of SHOW CREATE TABLE."""
        table = parsed_table(self.text_class, name, text)
        foreign_keys = [
            key._replace(parent=self.table_key(key.parent))
            for key in table.foreign_keys
        ]
        return table._replace(foreign_keys=tuple(foreign_keys))

    def table_text(self, name: str) -> CreateTableText:
        """Return the text of a table that exists."""
        return self.text_class(self._texts([name])[name])

    def text_of(self, name: str) -> str:
        """Return the text of a table as it was when the phase's tables were read."""
        return self._last_texts[name]

    def temporary_table(self, name: str) -> Table:
        """Return the temporary table that hides the table of a name."""
        text = self._texts([name])[name]
        return self.parse_table(name, text.replace("CREATE TEMPORARY", "CREATE", 1))

    def new_key_names(self, table: Table, name: str) -> tuple[tuple[str, str], ...]:
        """The names that InnoDB itself gave begin with the name of the table."""
        pairs = []
        for key in table.foreign_keys:
            old_name = key.name or ""
            number = old_name.removeprefix(f"{table.name}_ibfk_")
            if number != old_name:
                pairs.append((old_name, f"{name}_ibfk_{number}"))
        return tuple(pairs)

    @abstractmethod
    def _texts(self, names: Iterable[str]) -> dict[str, str]:
        """Return the texts of tables, as far as they exist and this user may see them.

        Without the next number of an auto-increment column.
        """

    def case_variants(self, table: str) -> list[str]:
        rows = self.session.query(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND lower(table_name) = lower(%s)",
            (table,),
        )
        return [name for (name,) in rows if self.table_key(name) != table]

    def dependents(self, table: str) -> list[str]:
        """Views would stay without the table, and fail.

        Another table's foreign key would keep it from being dropped.
        """
        quoted = self.session.quote(table)
        rows = self.session.query(
            f"{_REFERRING_TABLES} UNION {_VIEWS}", (table, quoted)
        )
        return [
            f"{kind} {name}"
            for kind, name in rows
            if self.table_key(name) not in self.models.managed_or_old
        ]

    def referring_tables(self, table: str, column: str) -> list[str]:
        """Return the tables with a foreign key to a column.

        What the phase manages itself is left out.
        """
        rows = self.session.query(
            f"{_REFERRING_TABLES} AND referenced_column_name = %s", (table, column)
        )
        names = dict.fromkeys(name for _, name in rows)
        return [
            name
            for name in names
            if self.table_key(name) not in self.models.managed_or_old
        ]

    def breaks_if_renamed(self, table: str, column: str | None = None) -> list[str]:
        """Return the views and triggers whose text names a table, or a column of it.

        The server changes the text of neither. The trigger of the table itself follows
        the table.
        """
        quoted = self.session.quote(table)
        quoted_column = None if column is None else self.session.quote(column)
        parameters = (quoted, quoted_column, quoted_column)
        found = []
        for (view,) in self.session.query(_VIEWS_OF_COLUMN, parameters):
            found.append(f"view {view}")
        for trigger, owner, text in self.session.query(_TRIGGERS):
            words = [table] if column is None else [column]
            if owner != table:
                words.append(table)
            elif column is None:
                continue
            stored = self._stored_text("trigger", trigger, text, words)
            if all(_has_word(stored, word) for word in words):
                found.append(f"trigger {trigger}")
        return found

    def routines_that_name(self, *words: str) -> list[str]:
        """Return the stored routines whose text has all of some words.

        Those whose text this user may not see are left out.
        """
        found = []
        for kind, name, text in self.session.query(_ROUTINES):
            stored = self._stored_text(kind, name, text, words)
            if all(_has_word(stored, word) for word in words):
                found.append(f"{kind} {name}")
        return found

    def _stored_text(
        self, kind: str, name: str, text: str | None, words: Sequence[str]
    ) -> str:
        """Return the text of a trigger or a routine, to look for words in it.

        Of a name with a backtick, information_schema of MySQL 9.7 has other letters:
        `ttick`ss` in place of `tick``s`. SHOW CREATE has it as it was written.

        :param text: what information_schema says; None if this user may not see it.
        """
        if text is None or not any("`" in word for word in words):
            return text or ""
        ((_, _, statement, *_),) = self.session.query(
            f"SHOW CREATE {kind} {self.session.quote(name)}"
        )
        return statement or ""

    def referring_keys(self, table: str) -> list[ReferringKey]:
        """Return the foreign keys to a table, those of the phase among them."""
        columns: dict[tuple[str, str], list[str]] = {}
        for name, key, column in self.session.query(_REFERRING_KEYS, (table,)):
            columns.setdefault((name, key), []).append(self.names.key(column))
        return [
            ReferringKey(name, key, tuple(names))
            for (name, key), names in columns.items()
        ]

    def tables_with_foreign_key(self, name: str) -> list[str]:
        """Return the table that has a foreign key of a name, if there is one."""
        rows = self.session.query(_FOREIGN_KEYS_NAMED, (name,))
        return [self.table_key(table) for (table,) in rows]

    def estimated_count(self, table: str) -> int | None:
        ((count,),) = self.session.query(
            "SELECT max(table_rows) FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND table_name = %s",
            (table,),
        )
        if count is None:
            return None
        return int(count)

    # -- what models declare

    def parse_type(self, text: str) -> Type:
        return parse_type(text)

    def declared_type(self, text: str) -> Type:
        type_ = parse_type(text)
        if type_.category in self.known_categories:
            return type_
        key = (describe(self.session.database), text)
        if key not in _DECLARED_TYPES:
            _DECLARED_TYPES[key] = self._stored_type(text)
        return parse_type(_DECLARED_TYPES[key])

    def _stored_type(self, text: str) -> str:
        """Return a type as the server writes it, which it does for a temporary table.

        To create one commits no transaction.

        :raises UnknownType: there is no such type.
        """
        name = self.session.quote(_TEMPORARY_TABLE)
        try:
            self.session.execute_literally(f"CREATE TEMPORARY TABLE {name} (t {text})")
        except peewee.DatabaseError as error:
            code = error_code(error)
            if code in LOCKED | DISCONNECTED:
                raise
            if code in NO_RIGHT | READ_ONLY:
                return text
            raise UnknownType(one_line(error.args[-1])) from None
        try:
            table = self.temporary_table(_TEMPORARY_TABLE)
        finally:
            self.session.execute_literally(f"DROP TEMPORARY TABLE {name}")
        return table.columns["t"].type.text

    def same_condition(self, table: Table, declared: str, actual: str) -> bool:
        """Ask the server for both in its own form; EXPLAIN executes nothing.

        A condition that it cannot explain, as it is about a column that does not exist
        yet, is compared as text.
        """
        if super().same_condition(table, declared, actual):
            return True
        source = self.current_source(table)
        return self._reads_the_same(declared, actual, f" FROM {source} AS t")

    def same_expression(self, type_: Type, declared: str, actual: str) -> bool:
        return self._reads_the_same(declared, actual)

    def _reads_the_same(self, declared: str, actual: str, source: str = "") -> bool:
        """Whether the server writes two expressions in the same form.

        :param source: FROM, with the table that has their columns.
        """
        try:
            self.session.query(
                f"{self.explain} SELECT ({declared}) AS declared, ({actual}) AS actual"
                f"{source}"
            )
            rows = self.session.query("SHOW WARNINGS")
        except peewee.DatabaseError as error:
            if error_code(error) in LOCKED | DISCONNECTED:
                raise
            return False
        for _, number, text in rows:
            if number == _EXPLAINED:
                found = re.match(_NORMAL_FORMS, text)
                if found:
                    return found["declared"] == found["actual"]
        return False

    def same_index(self, table: Table, declared: Index, actual: Index) -> bool:
        """Whether both are of the same parts.

        InnoDB has indexes of one kind only, so it does not matter which one is named:
        https://mariadb.com/kb/en/storage-engine-index-types/
        """
        if declared.unique != actual.unique:
            return False
        if _comparable_parts(declared) == _comparable_parts(actual):
            return True
        has_expression = any(part.startswith("(") for part in declared.columns)
        if not has_expression or table.name not in self._last_texts:
            return False
        question = (describe(self.session.database), table.name, declared.definition)
        key = (question, self._last_texts[table.name])
        if key not in _STORED_PARTS:
            _STORED_PARTS[key] = self._stored_parts(table, declared)
        return _STORED_PARTS[key] == actual.columns

    def _stored_parts(self, table: Table, declared: Index) -> tuple[str, ...] | None:
        """Return the parts of a declared index as the server writes them.

        It does so for a temporary table. None if it cannot create that.
        """
        # Imported only for indexes that are more than indexes of columns.
        from migrations.index_text import parse_create_index

        text = parse_create_index(declared.definition)
        if text is None:
            return None
        name = self.session.quote(_TEMPORARY_TABLE)
        index = text._replace(name=self.session.quote(_TEMPORARY_TABLE)).clause()
        sql = statement_of_temporary_table(self._last_texts[table.name], name, index)
        try:
            self.session.execute_literally(sql)
        except peewee.DatabaseError as error:
            if error_code(error) in LOCKED | DISCONNECTED:
                raise
            return None
        try:
            made = self.temporary_table(_TEMPORARY_TABLE)
        finally:
            self.session.execute_literally(f"DROP TEMPORARY TABLE {name}")
        stored = made.index_named(_TEMPORARY_TABLE)
        return None if stored is None else stored.columns

    def is_equivalent(self, table: Table, index: Index, candidate: Index) -> bool:
        """An index of columns is the same with USING and without."""
        if not index.is_plain and candidate.is_plain:
            return self.same_index(table, index, candidate)
        return super().is_equivalent(table, index, candidate)

    def same_attribute(self, declared: str, actual: str) -> bool:
        return attribute_meaning(declared) == attribute_meaning(actual)

    def type_is_accepted(self, table: Table, expected: Column, actual: Column) -> bool:
        """Whether a type has the size and the sign that a column is declared with.

        An id counts upwards, so it may be unsigned, and so may what refers to one.
        """
        if not self.is_known(expected.type):
            return actual.type.text.lower() == expected.type.text.lower()
        if actual.type == expected.type:  # as planned: the server writes it otherwise
            return True
        if not super().type_is_accepted(table, expected, actual):
            return False
        return is_unsigned(actual.type) == self._will_be_unsigned(table, expected)

    def normalized_table(self, table: Table) -> Table:
        """Return a declared table as its storage engine makes it.

        One that has no foreign keys ignores them without a word:
        https://dev.mysql.com/doc/refman/8.4/en/ansi-diff-foreign-keys.html
        """
        table = super().normalized_table(table)
        engine = self.storage_engine(table)
        if engine is None:
            return table
        return table._replace(kind=kind_of_table(engine.name), foreign_keys=())

    def storage_engine(self, table: Table) -> StorageEngine | None:
        """Return the storage engine of a declared table; None if it is InnoDB.

        :raises UnknownEngine: the server does not have it.
        """
        name = declared_engine(table)
        if name in ("", "innodb"):
            return None
        rows = self.session.query(
            "SELECT engine, transactions FROM information_schema.engines "
            "WHERE engine = %s AND support IN ('YES', 'DEFAULT')",
            (name,),
        )
        for engine, transactions in rows:
            return StorageEngine(engine, transactions == "YES")
        raise UnknownEngine(name)

    def undeclared(self, expected: Table, actual: Table) -> Iterator[Difference]:
        """Yield a note for each column that may be unsigned although it is not so.

        And for each one that changes with every UPDATE, and is not declared to.
        """
        yield from self._missing_guarantees(expected)
        for name, column in expected.columns.items():
            existing = actual.columns.get(name)
            if existing is None:
                continue
            found = existing.attribute_like("ON UPDATE")
            if found and not column.attribute_like(found):
                where = f"{expected.name}.{name}"
                yield note(where, "no ON UPDATE", found, f"{found} is not in the model")
            if is_unsigned(column.type):
                continue
            if not is_unsigned(existing.type):
                continue
            if self.type_is_accepted(expected, column, existing):
                where = f"{expected.name}.{name}"
                found = existing.type.text
                text = (
                    f"expected {column.type}, found {found}, which has no negative "
                    "numbers and is accepted for an id and what refers to one"
                )
                yield note(where, column.type, found, text)

    def _missing_guarantees(self, expected: Table) -> Iterator[Difference]:
        """Yield what the storage engine of a declared table does not guarantee."""
        engine = self.storage_engine(expected)
        if engine is None:
            return
        name = expected.name
        if not engine.has_transactions:
            text = (
                f"{engine.name} has no transactions: a statement that fails keeps the "
                "rows that it has written"
            )
            yield note(name, "a table of InnoDB", f"a {expected.kind}", text)
        model = self.models.by_table[name]
        declared = declared_table(model, self.session.database, names=self.names)
        for key in declared.foreign_keys:
            where = f"{name}.{', '.join(key.columns)}"
            text = (
                f"{engine.name} ignores this foreign key, so rows may have no parent; "
                "use ENGINE=InnoDB"
            )
            yield warning(where, key, "no foreign key", text)

    def _will_be_unsigned(self, table: Table, column: Column) -> bool:
        """Whether a declared column will be unsigned once the phase is complete."""
        existing = None
        if table.name in self._last_read:
            existing = self._last_read[table.name].column_named(column.name)
        stays = column.auto_increment or table.name not in self.models.managed
        if existing is not None and stays:
            return is_unsigned(existing.type)
        for key in table.foreign_keys:
            if key.columns == (self.names.key(column.name),):
                parent = self.declared_by_name(key.parent)
                parent_column = parent.columns[key.parent_columns[0]]
                return self._will_be_unsigned(parent, parent_column)
        return is_unsigned(column.type)

    def default_meaning(self, default: str) -> str:
        call = default.lower().replace("()", "").strip("()")
        if call == "utc_timestamp":
            return UTC_NOW
        if re.fullmatch(_WITH_EXPONENT, default):
            default = format(Decimal(default), "f")
        return literal_meaning(default).replace("\\\\", "\\")

    def normalized_collation(self, collation: str) -> str:
        return collation.lower()

    def normalized_default(self, column: Column) -> Column:
        default = (column.default or "").strip()
        if not is_literal(default):
            return column
        if column.type.category in ("integer", "decimal"):
            number = rounded_number(default, column.type)
            return column if number is None else column._replace(default=number)
        cast = literal_cast(column.type)
        if cast is None:
            return column
        ((text,),) = self.session.query(
            f"SELECT CAST(CAST({column.default} AS {cast}) AS CHAR)"
        )
        if not text:  # not a value of that type
            return column
        return column._replace(default=literal(text))


def _has_word(text: str, name: str) -> bool:
    """Whether a text has a name as a word, in whatever case.

    In quotes, the quotes in a name are doubled.
    """
    spellings = {name, *(name.replace(quote, 2 * quote) for quote in '`"')}
    pattern = "|".join(re.escape(spelling) for spelling in spellings)
    return bool(re.search(rf"(?<![\w$])({pattern})(?![\w$])", text, re.IGNORECASE))


def _comparable_parts(index: Index) -> list[str]:
    """Return the parts of an index without letter case, blanks, quotes and USING."""
    parts = []
    for part in index.columns:
        text = re.sub(r" USING \w+$", "", part)
        parts.append(re.sub(r"[\s`]", "", text).lower())
    return parts
