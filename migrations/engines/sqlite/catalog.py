"""What an SQLite file says of its tables, read with PRAGMAs from the schema `main`.

Peewee's `get_indexes` does not tell a partial, descending or expression index from a
plain one, and its `get_columns` leaves generated columns out.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import peewee

from migrations.engines.catalog import Catalog, UnknownType
from migrations.engines.session import Row
from migrations.engines.sqlite.column_types import parse_type
from migrations.engines.sqlite.session import SQLiteSession
from migrations.engines.sqlite.table_text import (
    Clause,
    TableText,
    name_key,
    names_and_words,
    parse_create_table,
    without_comments,
)
from migrations.errors import ChangeRefused
from migrations.report import Difference, note, warning
from migrations.schema import (
    UTC_NOW,
    Check,
    Column,
    ForeignKey,
    Index,
    NameRule,
    Schema,
    Table,
    Type,
)
from migrations.sql_text import literal, literal_meaning, masked, one_line

# All of these are UTC: https://sqlite.org/lang_datefunc.html
_UTC_NOW = (
    r"[(\s]*((?i:current_timestamp)|(?i:datetime)\s*\(\s*'now'\s*\)"
    r"|(?i:strftime)\s*\(\s*'%Y-%m-%d %H:%M:%S'\s*,\s*'now'\s*\))[\s)]*"
)
# ABORT is the default: an error that undoes the statement.
_CONFLICT = r"(?i)\bON\s+CONFLICT\s+(?!ABORT)(\w+)"
# A type that SQLite accepts, whatever the words are.
_WORDS_WITH_LENGTH = r"[A-Za-z_ ]+(\(\d+(, ?\d+)?\))?"
_DEFERRED = "DEFERRABLE INITIALLY DEFERRED"
_INITIALLY_DEFERRED = r"(?i)\bDEFERRABLE\s+INITIALLY\s+DEFERRED\b"
_NOT_DEFERRABLE = r"(?i)\bNOT\s+DEFERRABLE\b"
# Options of a table.
_STRICT = "STRICT"
_WITHOUT_ROWID = "WITHOUT ROWID"
_STORED = (
    "SELECT CASE WHEN type = 'table' AND rootpage = 0 THEN 'virtual table' "
    "ELSE type END, name, sql"
)
# Each of these returns the rows of several tables at once; see `_rows_by_table`.
_COLUMNS = """
SELECT named.name, x.name, x.type, x."notnull", x.dflt_value, x.pk, x.hidden
FROM named, pragma_table_xinfo(named.name, 'main') x ORDER BY cid"""
_INDEX_PARTS = """
SELECT named.name, i.name, i."unique", origin, partial, lower(x.name), "desc", coll
FROM named, pragma_index_list(named.name, 'main') i,
     pragma_index_xinfo(i.name, 'main') x
WHERE key ORDER BY i.seq, seqno"""
# A foreign key that names no parent columns refers to the primary key.
_FOREIGN_KEY_PARTS = """
SELECT named.name, id, lower("from"), "table", on_delete, on_update,
       lower(coalesce("to", (SELECT name FROM pragma_table_info(f."table", 'main')
                             WHERE pk = f.seq + 1), ''))
FROM named, pragma_foreign_key_list(named.name, 'main') f ORDER BY id, seq"""
# The tables m that refer to one, each with its foreign keys f.
REFERRING_TABLES = """main.sqlite_master m, pragma_foreign_key_list(m.name, 'main') f
WHERE m.type = 'table' AND f."table" = ?1 COLLATE NOCASE"""
# The stored texts are all there is to an SQLite schema, so what they mean is worked out
# once per process: a test suite that creates a database in memory for each test takes
# half the time for it. By the texts, and the names of the tables as the phase declares
# them, of which the second tuple has the managed ones.
_SCHEMA_CACHE: dict[
    tuple[tuple[Row, ...], tuple[str, ...], tuple[str, ...]], Schema
] = {}
_SCHEMA_CACHE_SIZE = 64

# By the kind of a constraint ("NOT", "UNIQUE", "PRIMARY") and its columns, the
# " ON CONFLICT …" that it has.
_Conflicts = Mapping[tuple[str, tuple[str, ...]], str]
_NO_TEXT = TableText((), "", {})


class _ColumnRow(NamedTuple):
    """A row of `_COLUMNS`."""

    name: str
    type: str
    not_null: int
    default: str | None
    primary_key_position: int  # from 1; 0: not in the primary key
    hidden: int  # 2 or 3: generated


class _IndexPart(NamedTuple):
    """A row of `_INDEX_PARTS`, which is one column of an index, and the index's SQL."""

    index_name: str
    unique: int
    origin: str  # "pk", "u" (a UNIQUE constraint) or "c" (CREATE INDEX)
    partial: int
    column: str | None  # None: an expression
    descending: int
    collation: str
    sql: str | None  # the CREATE INDEX; None for that of a constraint

    @property
    def has_collation(self) -> bool:
        """Whether it has another collation than the usual one."""
        return self.collation.upper() != "BINARY"


class _ForeignKeyPart(NamedTuple):
    """A row of `_FOREIGN_KEY_PARTS`: one column of a foreign key."""

    id: int
    column: str
    parent: str
    on_delete: str
    on_update: str
    parent_column: str


class _StoredTable(NamedTuple):
    """What SQLite says of a table."""

    name: str
    columns: list[_ColumnRow]
    index_parts: list[_IndexPart]
    key_parts: list[_ForeignKeyPart]
    text: TableText


class _TableIndexes(NamedTuple):
    """The indexes of a table."""

    indexes: tuple[Index, ...]
    primary_key: tuple[str, ...]  # the columns of its index; () if it has none


class SQLiteCatalog(Catalog):
    """Reads the schema of an SQLite file."""

    session: SQLiteSession
    names = NameRule.IGNORE_ASCII_CASE
    table_names = NameRule.IGNORE_ASCII_CASE

    # -- tables

    def read(self) -> Schema:
        if _SCHEMA_CACHE:
            texts = self._stored_texts(self.models.tables_to_read)
            cached = _SCHEMA_CACHE.get(self._cache_key(texts))
            if cached is not None:
                return cached
        # Otherwise another run's change may come between a text and what PRAGMAs say.
        with self.session.read_transaction():
            texts = self._stored_texts(self.models.tables_to_read)
            schema = self._schema_of(texts)
        if not self._depends_on_texts_alone(schema):
            return schema
        if len(_SCHEMA_CACHE) >= _SCHEMA_CACHE_SIZE:
            _SCHEMA_CACHE.clear()
        _SCHEMA_CACHE[self._cache_key(texts)] = schema
        return schema

    def _depends_on_texts_alone(self, schema: Schema) -> bool:
        """Whether no managed table refers to the primary key of an unknown table.

        Foreign keys of required tables are not compared.
        """
        for name in self.models.managed_or_old:
            if name in schema:
                for key in schema[name].foreign_keys:
                    if key.parent not in self.models.tables_to_read:
                        return False
        return True

    def _cache_key(
        self, texts: Sequence[Row]
    ) -> tuple[tuple[Row, ...], tuple[str, ...], tuple[str, ...]]:
        models = self.models
        return tuple(texts), models.tables_to_read, models.managed_or_old

    def _stored_texts(self, tables: Iterable[str]) -> list[Row]:
        """Return kind, name and SQL of all that belongs to some tables."""
        conditions = [f"tbl_name = {literal(name)} COLLATE NOCASE" for name in tables]
        of_tables = " OR ".join(conditions)
        # A name without a schema means the temporary table, if there is one.
        return self.session.query(
            f"{_STORED} FROM main.sqlite_master WHERE {of_tables} "
            "UNION ALL SELECT 'temporary', name, sql FROM sqlite_temp_master "
            f"WHERE type IN ('table', 'view') AND ({of_tables})"
        )

    def _schema_of(self, texts: Sequence[Row]) -> Schema:
        for kind, name, _ in texts:
            if kind == "temporary":
                raise ChangeRefused(
                    f"the temporary table {name} hides the real one on this "
                    "connection; drop it, then run again"
                )
        tables = self._tables(texts, self._is_managed)
        return Schema({self.table_key(name): table for name, table in tables.items()})

    def tables(self, names: Iterable[str]) -> Schema:
        wanted = list(names)
        found = {}
        if wanted:
            texts = self._stored_texts(wanted)
            found = self._tables(texts, reads_text=lambda name: True)
        by_key = {name_key(name): table for name, table in found.items()}
        present = [name for name in wanted if name_key(name) in by_key]
        return Schema({name: by_key[name_key(name)] for name in present})

    def _is_managed(self, name: str) -> bool:
        names = {name_key(each) for each in self.models.managed_or_old}
        return name_key(name) in names

    def case_variants(self, table: str) -> list[str]:
        return []  # names are the same in any case

    # -- one table

    def _tables(
        self, texts: Iterable[Row], reads_text: Callable[[str], bool]
    ) -> dict[str, Table]:
        """Return the tables, and the views, of some stored texts by their names.

        :param reads_text: whether all is read of a table. Otherwise it lacks what is
            only in its text, unless that may belong to a key.
        """
        tables = {}
        table_texts = {}
        index_texts = {}
        for kind, name, sql in texts:
            if kind == "table":
                table_texts[name] = sql
            elif kind == "index":
                index_texts[name] = sql
            elif kind in ("view", "virtual table"):
                tables[name] = Table(name, kind)
        names = list(table_texts)
        columns = self._rows_by_table(_COLUMNS, names)
        index_parts = self._rows_by_table(_INDEX_PARTS, names)
        key_parts = self._rows_by_table(_FOREIGN_KEY_PARTS, names)
        for name, sql in table_texts.items():
            parts = [
                _IndexPart._make((*row, index_texts.get(row[0])))
                for row in index_parts[name]
            ]
            text = _NO_TEXT
            if reads_text(name) or any(part.has_collation for part in parts):
                text = parse_create_table(sql, name)
            stored = _StoredTable(
                name=name,
                columns=[_ColumnRow(*row) for row in columns[name]],
                index_parts=parts,
                key_parts=[_ForeignKeyPart(*row) for row in key_parts[name]],
                text=text,
            )
            tables[name] = self._table(stored)
        return tables

    def _rows_by_table(
        self, query: str, names: Sequence[str]
    ) -> dict[str, list[Sequence[Any]]]:
        """Return the rows of a query about tables, by the name that a row begins with.

        One question about all tables is answered faster than one about each.

        :param query: selects from `named`, which has the names.
        """
        found: dict[str, list[Sequence[Any]]] = {name: [] for name in names}
        if names:
            values = ", ".join(["(?)"] * len(names))
            sql = f"WITH named (name) AS (VALUES {values}) {query}"
            for name, *row in self.session.query(sql, names):
                found[name].append(row)
        return found

    def _table(self, stored: _StoredTable) -> Table:
        rows = stored.columns
        clauses = stored.text.clauses
        is_managed = self._is_managed(stored.name)
        conflicts = {}
        if is_managed:
            conflicts = _conflicts_of(clauses)
        key = _primary_key_of(rows)
        indexes = _indexes(stored.index_parts, clauses, conflicts)
        # A key of one column without an index of its own is another name of the rowid.
        is_rowid = len(key) == 1 and not indexes.primary_key
        reuses_ids = is_rowid and not _has_autoincrement(clauses)
        key_conflict = conflicts.get(("PRIMARY", key), "")
        key_columns = indexes.primary_key or key
        collations = _collations_of(clauses)
        columns = {}
        for row in rows:
            column = _column(row, is_managed, is_rowid, conflicts)
            column = column._replace(
                collation=collations.get(name_key(row.name)),
                reuses_ids=reuses_ids and column.auto_increment,
            )
            columns[name_key(row.name)] = column
        return Table(
            name=stored.name,
            columns=columns,
            primary_key=tuple(column + key_conflict for column in key_columns),
            indexes=indexes.indexes,
            foreign_keys=tuple(self._foreign_keys(stored)),
            checks=tuple(_checks(clauses)),
            names=self.names,
            options=_options_of(stored.text.options),
        )

    def _foreign_keys(self, stored: _StoredTable) -> list[ForeignKey]:
        clauses = stored.text.clauses
        names = {
            (clause.columns, name_key(clause.target)): clause.name
            for clause in clauses
            if clause.kind in ("FOREIGN", "REFERENCES")
        }
        deferred = _deferred_keys(clauses)
        parts_by_key: dict[int, list[_ForeignKeyPart]] = {}
        for part in stored.key_parts:
            parts_by_key.setdefault(part.id, []).append(part)
        keys = []
        for parts in parts_by_key.values():
            first = parts[0]
            columns = tuple(part.column for part in parts)
            key = ForeignKey(
                columns=columns,
                parent=self.table_key(first.parent),
                parent_columns=tuple(part.parent_column for part in parts),
                on_delete=first.on_delete,
                on_update=first.on_update,
                name=names.get((columns, name_key(first.parent))) or None,
            )
            if (columns, name_key(first.parent)) in deferred:
                key = key._replace(deferrable=_DEFERRED)
            keys.append(key)
        return keys

    # -- what depends on a table

    def dependents(self, table: str) -> list[str]:
        """Return what SQLite would leave broken: it drops the table all the same."""
        referring = self.session.query(
            "SELECT DISTINCT m.type, m.name, tbl_name, NULL FROM "
            f"{REFERRING_TABLES} AND m.tbl_name <> ?1 COLLATE NOCASE ORDER BY m.name",
            (table,),
        )
        others = self.session.query(
            "SELECT type, name, tbl_name, sql FROM main.sqlite_master "
            "WHERE type IN ('view', 'trigger') AND tbl_name <> ?1 COLLATE NOCASE "
            "ORDER BY type, name",
            (table,),
        )
        dependents = []
        for kind, name, of_table, sql in [*referring, *others]:
            is_dependent = sql is None or name_key(table) in names_and_words(sql)
            if is_dependent and not self._is_managed(of_table):
                dependents.append(f"{kind} {name}")
        return dependents

    # -- what models declare

    def parse_type(self, text: str) -> Type:
        return parse_type(text)

    def declared_type(self, text: str) -> Type:
        """Return the meaning of a type: SQLite takes any words for one."""
        if text and not re.fullmatch(_WORDS_WITH_LENGTH, text):
            try:
                self.session.query(f"EXPLAIN SELECT CAST(NULL AS {text})")
            except peewee.DatabaseError as error:
                raise UnknownType(one_line(error)) from None
        return parse_type(text)

    def same_condition(self, table: Table, declared: str, actual: str) -> bool:
        """Whether SQLite would evaluate two conditions by the same program.

        That says nothing about names in quotes, parentheses, or two notations of an
        operator: https://sqlite.org/opcode.html
        """
        if declared.strip() == actual.strip():
            return True
        try:
            return self._program_of(table, declared) == self._program_of(table, actual)
        except peewee.DatabaseError:
            # One of them refers to a column or a function that is not there.
            return False

    def _program_of(self, table: Table, condition: str) -> list[Row]:
        source = self.current_source(table)
        return self.session.query(f"EXPLAIN SELECT ({condition}) FROM {source}")

    def normalized_collation(self, collation: str) -> str:
        return collation.strip('"`[]').upper()

    def normalized_table(self, table: Table) -> Table:
        """Return a declared table with what SQLite makes of its options.

        Only the rowid, under whatever name, and a key WITHOUT ROWID refuse NULL:
        https://sqlite.org/lang_createtable.html#primkeyconst
        """
        (*others, name) = table.primary_key or ("",)
        is_rowid = not others and name and _is_rowid_type(table.columns[name].type)
        if is_rowid or _WITHOUT_ROWID in table.options:
            table = super().normalized_table(table)
        if _WITHOUT_ROWID in table.options:
            for column in table.columns.values():
                table = table.with_column(
                    column._replace(auto_increment=False, reuses_ids=False)
                )
        return table

    def normalized_key(self, key: ForeignKey) -> ForeignKey:
        key = super().normalized_key(key)
        if key.deferrable != _DEFERRED:  # it is checked at once all the same
            key = key._replace(deferrable="")
        return key

    def same_expression(self, type_: Type, declared: str, actual: str) -> bool:
        """Whether SQLite would evaluate both by the same program."""
        try:
            first = self.session.query(f"EXPLAIN SELECT ({declared})")
            second = self.session.query(f"EXPLAIN SELECT ({actual})")
        except peewee.DatabaseError:
            return False  # a function is not there
        return first == second

    def undeclared(self, expected: Table, actual: Table) -> Iterator[Difference]:
        """Yield other options of the table, and undeclared collations of columns.

        Every unique key of such a column compares by it.
        """
        if expected.options != actual.options:
            wanted = ", ".join(expected.options) or "no options"
            found = ", ".join(actual.options) or "no options"
            message = (
                f"{expected.name}: expected {wanted}, found {found}, which only a new "
                "table can have; copy the rows to one"
            )
            yield Difference("warning", expected.name, wanted, found, message)
        for name, column in expected.columns.items():
            existing = actual.columns.get(name)
            if existing is None or existing.collation in (None, "BINARY"):
                continue
            if column.collation == existing.collation:
                continue
            where = f"{expected.name}.{name}"
            found = f"COLLATE {existing.collation}"
            text = f"{found} is not in the model"
            keys = [key for key in actual.unique_keys() if name in key]
            if keys:
                text += f", and UNIQUE ({', '.join(keys[0])}) may reject rows by it"
                yield warning(where, "no collation", found, text)
            else:
                yield note(where, "no collation", found, text)

    def default_meaning(self, default: str) -> str:
        if default == "CURRENT_TIMESTAMP" or re.fullmatch(_UTC_NOW, default):
            return UTC_NOW
        return literal_meaning(default)


def _is_rowid_type(type_: Type) -> bool:
    """Whether a primary key of a type is another name of the rowid."""
    return type_.text.upper() == "INTEGER"


def _options_of(text: str) -> tuple[str, ...]:
    """Return the options that follow the parentheses of a CREATE TABLE."""
    words = " ".join(text.upper().replace(",", " ").split())
    return tuple(option for option in (_STRICT, _WITHOUT_ROWID) if option in words)


def _deferred_keys(clauses: Iterable[Clause]) -> set[tuple[tuple[str, ...], str]]:
    """Return columns and parent of each foreign key that is checked at COMMIT.

    All others are checked at once: https://sqlite.org/foreignkeys.html#fk_deferred
    """
    found = set()
    for clause in clauses:
        may_be_deferred = "DEFERRED" in clause.text.upper()
        if clause.kind in ("FOREIGN", "REFERENCES") and may_be_deferred:
            text = masked(clause.text)
            is_deferred = re.search(_INITIALLY_DEFERRED, text)
            if is_deferred and not re.search(_NOT_DEFERRABLE, text):
                found.add((clause.columns, name_key(clause.target)))
    return found


def _conflicts_of(clauses: Iterable[Clause]) -> dict[tuple[str, tuple[str, ...]], str]:
    """Return the ON CONFLICT of each constraint that does not refuse a row as usual.

    It becomes part of a type or of a key's columns, which then differ from the declared
    ones.
    """
    conflicts = {}
    for clause in clauses:
        found = None
        if "CONFLICT" in clause.text.upper():
            found = re.search(_CONFLICT, clause.text)
        if found:
            key = (clause.kind, clause.columns)
            conflicts[key] = f" ON CONFLICT {found[1].upper()}"
    return conflicts


def _primary_key_of(rows: Iterable[_ColumnRow]) -> tuple[str, ...]:
    """Return the keys of the columns of a primary key, in its order."""
    names = {
        row.primary_key_position: name_key(row.name)
        for row in rows
        if row.primary_key_position
    }
    return tuple(names[position] for position in sorted(names))


def _column(
    row: _ColumnRow, is_managed: bool, is_rowid: bool, conflicts: _Conflicts
) -> Column:
    """Return a column.

    :param is_rowid: whether the table's primary key is another name of the rowid.
    """
    type_ = parse_type(row.type)
    conflict = conflicts.get(("NOT", (name_key(row.name),)))
    if conflict:
        type_ = Type(row.type + conflict, conflict)
    # A primary key that is not the rowid accepts NULL, unless it is declared NOT NULL:
    # https://sqlite.org/lang_createtable.html#primkeyconst
    # A required table is compared loosely, and may have such a key.
    in_key = row.primary_key_position > 0
    refuses_null = bool(row.not_null) or (in_key and (is_rowid or not is_managed))
    default = row.default
    if default in ("NULL", "null"):
        default = None
    return Column(
        name=row.name,
        type=type_,
        null=not refuses_null,
        default=default,
        auto_increment=is_rowid and in_key,
        generated=row.hidden > 1,
    )


def _indexes(
    all_parts: Iterable[_IndexPart],
    clauses: Sequence[Clause],
    conflicts: _Conflicts,
) -> _TableIndexes:
    """Return the indexes of a table."""
    parts_by_index: dict[str, list[_IndexPart]] = {}
    for part in all_parts:
        parts_by_index.setdefault(part.index_name, []).append(part)
    indexes = []
    primary_key: tuple[str, ...] = ()
    for parts in parts_by_index.values():
        index = _index(parts, clauses, conflicts)
        if parts[0].origin == "pk":
            primary_key = index.columns
        else:
            indexes.append(index)
    return _TableIndexes(tuple(indexes), primary_key)


def _index(
    parts: Sequence[_IndexPart], clauses: Sequence[Clause], conflicts: _Conflicts
) -> Index:
    """Return the index of some parts; that of a UNIQUE constraint has its name."""
    collations = _collations_of(clauses)
    constraint_names = {
        clause.columns: clause.name for clause in clauses if clause.kind == "UNIQUE"
    }
    first = parts[0]
    is_constraint = first.origin == "u"
    plain_columns = tuple(part.column or "(expression)" for part in parts)
    columns = []
    for part in parts:
        text = _text_of_part(part, collations)
        if is_constraint:
            text += conflicts.get(("UNIQUE", plain_columns), "")
        columns.append(text)
    name = first.index_name
    if is_constraint:  # the index has a name that SQLite made up
        name = constraint_names.get(plain_columns, "")
    index = Index(
        name=name,
        columns=tuple(columns),
        unique=bool(first.unique),
        is_constraint=is_constraint,
    )
    names = [part.column for part in parts]
    if first.sql is None or (columns == names and not first.partial):
        return index
    return _with_definition(index, first)


def _text_of_part(part: _IndexPart, collations: Mapping[str, str]) -> str:
    """Return a part of an index as `schema.Index` has it.

    :param collations: of the columns, where it is not BINARY.
    """
    if part.column is None:
        text = "(expression)"
    else:
        text = part.column
        if part.collation.upper() != collations.get(part.column, "BINARY"):
            text += f" COLLATE {part.collation}"
    if part.descending and part.origin == "c":
        text += " DESC"
    return text


def _with_definition(index: Index, part: _IndexPart) -> Index:
    """Return an index that is more than one of columns with its CREATE INDEX."""
    # Imported only for indexes that are more than indexes of columns.
    from migrations.index_text import normalized_part, parse_create_index

    definition = without_comments(part.sql or "")
    text = parse_create_index(definition)
    condition = None
    if part.partial:
        condition = "an unreadable condition"
    if text is None:
        return index._replace(condition=condition, definition=definition)
    if part.partial:
        condition = text.condition
    columns = []
    for part_of_index, written in zip(index.columns, text.parts):
        if part_of_index.startswith("(expression)"):
            part_of_index = normalized_part(written)
        columns.append(part_of_index)
    return index._replace(
        columns=tuple(columns), condition=condition, definition=definition
    )


def _collations_of(clauses: Iterable[Clause]) -> dict[str, str]:
    """Return the collation of each column that names one."""
    return {
        clause.column: clause.target.upper()
        for clause in clauses
        if clause.kind == "COLLATE"
    }


def _has_autoincrement(clauses: Iterable[Clause]) -> bool:
    """Whether the ids of deleted rows are never used again."""
    for clause in clauses:
        words = clause.text.upper().split()
        if clause.kind == "PRIMARY" and words[-1] == "AUTOINCREMENT":
            return True
    return False


def _checks(clauses: Iterable[Clause]) -> list[Check]:
    """Return the CHECK constraints; the name of one may be ""."""
    return [
        Check(clause.name, clause.inner) for clause in clauses if clause.kind == "CHECK"
    ]
