"""MariaDB and MySQL, on one server or a Galera cluster: every DDL statement commits by itself.

A crash can leave some statements done and others not, which is one more state to mend. `GET_LOCK`
keeps runs on one server apart; on a cluster it holds on one node only, and there the DDL itself is
the mutex: who comes second gets "already exists", and looks again.

Three queries read the catalogue. Peewee's introspection takes several per table, and tells neither a
prefix or descending index from a plain one nor a column's collation, which a foreign key depends on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

import peewee

from db.models import WeeklyActuals
from migrations.engines.base import INDEXES, READ, TABLE, Busy, Engine, column_ddl, literal, own_key
from migrations.report import Change, Difference, MigrationError, Refused
from migrations.schema import Column, ForeignKey, Index, Schema, Table, declared, declared_key, family_of

_SIZES = {"tinyint": 1, "smallint": 2, "mediumint": 3, "int": 4, "bigint": 8, "float": 4, "double": 8}
_ONLINE = ", ALGORITHM=INPLACE, LOCK=NONE"
# One SELECT a table: the catalogue opens a table directly only by a constant name.
_COLUMNS = """
SELECT table_name, 0, IF(create_options LIKE '%%partitioned%%', 'partitioned table', table_type), NULL,
       engine, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = {0} UNION ALL
SELECT table_name, ordinal_position, NULL, column_name, data_type, column_type,
       character_maximum_length, is_nullable, column_default, extra, collation_name, column_key
FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = {0}"""
_INDEXES = """
SELECT table_name, index_name, seq_in_index, non_unique, column_name, sub_part, collation
FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = {0}"""
_FOREIGN_KEYS = """
SELECT k.table_name, k.constraint_name, k.ordinal_position, k.column_name, k.referenced_table_schema = DATABASE(),
       k.referenced_table_schema, k.referenced_table_name, k.referenced_column_name, r.delete_rule
FROM information_schema.key_column_usage k JOIN information_schema.referential_constraints r
     ON r.constraint_name = k.constraint_name AND r.constraint_schema = DATABASE() AND r.table_name = {0}
WHERE k.table_schema = DATABASE() AND k.table_name = {0} AND k.referenced_table_name IS NOT NULL"""
_SESSION = {  # what a run sets for itself, where the server knows it
    "foreign_key_checks": "1",  # without it a new key lets orphans in
    "time_zone": "'+00:00'",  # a TIMESTAMP that becomes a DATETIME
    "wsrep_sync_wait": "1",  # see what the other nodes have done
    "sql_mode": "CONCAT(@@sql_mode, ',STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO')",  # bend no value, keep an id of 0
    "innodb_lock_wait_timeout": "1",
    "lock_wait_timeout": "0",  # behind an ALTER TABLE that waits, everybody else queues up: try again instead
}
_LOCK = "CONCAT('weekly_actuals:', MD5(DATABASE()))"  # server-wide, and of at most 64 characters
_BUSY = {1205, 1213}  # lock timeout; aborted for a peer's change
_SAME_KEY = "errno: 121"  # how MariaDB says that a foreign key exists, behind a 1005 that means anything
_RACED = {1050, 1051, 1146, 1060, 1061, 1091, 1826, 1022}  # a peer was faster: it exists, or is gone
_KINDS = ("missing_column", "type", "default", "null", "not_null", "primary_key", "unique", "index", "foreign_key")


class MySQL(Engine):
    """A MariaDB or MySQL database."""

    backend = "mysql"

    # -- the connection

    @contextmanager
    def settings(self) -> Iterator[None]:
        yield  # nothing is set where there is nothing to do

    @contextmanager
    def _session(self, wanted: dict[str, str]) -> Iterator[None]:
        """Set session variables, those that this server knows, and restore them."""
        names = ", ".join(map(literal, wanted))
        before = dict(self.query(f"SHOW SESSION VARIABLES WHERE Variable_name IN ({names})"))
        if not before:
            yield
            return
        self._set({name: value for name, value in wanted.items() if name in before})
        try:
            yield
        finally:
            restored = {name: value if value.isdigit() else literal(value) for name, value in before.items()}
            try:  # Peewee's is_connection_usable() asks the server, and swallows an answer that is about us
                self._set(restored)
            except peewee.PeeweeException as error:
                if _code(error) == 1213:  # the news that the transaction was aborted, and nothing was set
                    self._set(restored)
                if _code(error) not in _AWAY:
                    raise

    def _set(self, values: dict[str, str]) -> None:
        self.database.execute_sql("SET " + ", ".join(f"SESSION {name} = {value}" for name, value in values.items()))

    def in_transaction(self) -> bool:
        status = getattr(self.database.connection(), "server_status", 0)  # PyMySQL's, of the last answer
        return self.database.in_transaction() or bool(status & 1)

    # -- reading

    def read(self) -> Schema:
        schema = self._tables(READ, (TABLE,))
        if not schema.keys() >= {*READ[1:]}:  # or it is on its way from another node of a cluster
            with self._session({"wsrep_sync_wait": "1"}):
                schema = self._tables(READ, (TABLE,))
        return schema

    def table(self, name: str) -> Table | None:
        return self._tables((name,), (name,)).get(name)

    def _tables(self, names: tuple[str, ...], with_keys: tuple[str, ...]) -> Schema:
        tables: Schema = {}
        for row in self._each(_COLUMNS, names):
            name, _, kind, column, type_, full, length, null, default, extra, collation, key = row
            if kind is None and name.lower() not in tables or kind and kind != "VIEW" and not type_:
                continue  # made by a peer between the SELECTs, which have no snapshot in common, or just dropped
            if kind in ("BASE TABLE", "SYSTEM VERSIONED"):  # no other engine keeps foreign keys
                kind = "table" if type_.lower() == "innodb" else f"{type_} table"
            elif kind:
                kind = kind.lower()
            table = tables.setdefault(name.lower(), Table(name, kind, {}))
            if column:
                extra = (extra or "").lower()
                table.columns[column.lower()] = Column(
                    column, full, "timestamp" if type_ == "timestamp" else family_of(type_),
                    _SIZES.get(type_, length and int(length)),  # a UNION makes it a decimal
                    null == "YES", None if default == "NULL" else default, "auto_increment" in extra,
                    "generated" in extra.replace("default_generated", ""), collation,
                )  # fmt: skip
            if key == "PRI":  # the primary key, or where there is none a unique one that is NOT NULL
                tables[name.lower()] = table._replace(primary_key=(*table.primary_key, column.lower()))
        unsure = tuple(name for name, table in tables.items() if len(table.primary_key) != 1)
        for name, index, _, non_unique, column, part, collation in self._each(_INDEXES, {*with_keys, *unsure}):
            text = "(expression)" if column is None else column.lower() + f"({part})" * bool(part)
            _extend(tables, name, "indexes", Index(index, (text + " DESC" * (collation == "D"),), not non_unique))
        for name, key, _, column, here, schema, parent, target, rule in self._each(_FOREIGN_KEYS, with_keys):
            parent = parent.lower() if here else f"{schema}.{parent}"
            _extend(tables, name, "foreign_keys", ForeignKey((column.lower(),), parent, (target.lower(),), rule, key))
        for name in {*with_keys, *unsure} & tables.keys():
            primary = [index.columns for index in tables[name].indexes if index.name == "PRIMARY"]
            indexes = tuple(index for index in tables[name].indexes if index.name != "PRIMARY")
            tables[name] = tables[name]._replace(primary_key=primary[0] if primary else (), indexes=indexes)
        return {
            name: table
            for name, table in tables.items()
            if table.columns or table.kind != "table"  # else dropped by a peer in between
        }

    def _each(self, select: str, names: Iterable[str]) -> list[tuple]:
        """Return the rows for all tables, in the order of their first three columns."""
        sql = " UNION ALL ".join(select.format(literal(name)) for name in names)
        return sorted(self.query(sql), key=lambda row: (row[0], row[1] or 0, row[2])) if sql else []

    def is_utc_now(self, default: str) -> bool:
        return default.lower().strip("()") == "utc_timestamp"

    def as_text(self, expression: str) -> str:
        return f"CAST({expression} AS CHAR)"

    def unconvertible(self, column: str, family: str, source: str) -> str:
        text, tail = self.as_text(column), "" if source == "string" else "([.]0*)?"
        exact = f"CAST({text} AS DECIMAL(65, 30))"
        date, time = "[0-9]{4}-[0-9]{2}-[0-9]{2}", "[ T][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?"
        form, value = {
            "integer": (
                "-?(0|[1-9][0-9]{0,9})" + tail,
                f"CAST({text} AS DECIMAL(20)) BETWEEN -2147483648 AND 2147483647",
            ),
            "float": (
                "-?[0-9]{1,15}([.][0-9]*)?(e[+-]?[0-9]{1,2})?",
                f"CAST(CAST({text} AS DOUBLE) AS DECIMAL(65, 30)) = {exact}",
            ),
            "string": (".{0,50}", "TRUE"),
            "date": (f"{date}( 00:00:00)?", f"DAYOFYEAR({text}) > 0"),
            "datetime": (f"{date}({time})?", f"DAYOFYEAR({text}) > 0 AND SECOND({text}) IS NOT NULL"),
        }[family]
        return f"{column} IS NOT NULL AND NOT coalesce({text} REGEXP '^({form})$' AND {value}, FALSE)"

    def no_parent(self, value: str, key: ForeignKey, table: Table) -> str:
        collation, wanted = table.columns[key.columns[0]].collation, self._collations()[key.columns[0]]
        if wanted and collation != wanted:  # they cannot be compared as they are
            value = f"CONVERT({value} USING {wanted.partition('_')[0]}) COLLATE {wanted}"
        return super().no_parent(value, key, table)

    def estimate(self, table: str) -> int | None:
        return self.query(
            "SELECT max(table_rows) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s",
            (table,),
        )[0][0]

    def lookalikes(self) -> list[tuple[str]]:
        return self.query(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND lower(table_name) = %s AND BINARY table_name <> %s", (TABLE, TABLE)
        )  # fmt: skip

    # -- planning

    def create_table(self) -> list[Change]:
        """One complete statement: a crash leaves all of the table or nothing of it."""
        collations, meta = self._collations(), WeeklyActuals._meta
        keys = [meta.columns[key.columns[0]].foreign_key_constraint() for key in declared(WeeklyActuals).foreign_keys]
        parts = [self._ddl(name, collations) for name in meta.columns]
        parts += [f"INDEX {self.quote(name)} {self._names(columns)}" for name, columns in INDEXES.items()]
        parts += [self.sql_of(constraint) for constraint in [*keys, *meta.constraints]]
        return [Change(f"create table {TABLE}", f"CREATE TABLE {self.quote(TABLE)} ({', '.join(parts)}) ENGINE=InnoDB")]

    def _names(self, columns: Iterable[str]) -> str:
        return f"({', '.join(map(self.quote, columns))})"

    def _collations(self) -> dict[str, str | None]:
        """By our column: a foreign key needs its parent's character set and collation, to the letter."""
        keys = declared(WeeklyActuals).foreign_keys
        parents = self._tables(tuple(key.table for key in keys), ())
        return {key.columns[0]: parents[key.table].columns[key.target[0]].collation for key in keys}

    def _ddl(self, name: str, collations: dict[str, str | None], null: bool | None = None) -> str:
        return column_ddl(self, name, null) + (f" COLLATE {collations[name]}" if collations.get(name) else "")

    def plan(self, table: Table | None, differences: Iterable[Difference], rows: int) -> list[Change]:
        if table is None:
            return self.create_table()
        of = {kind: [each.name for each in differences if each.kind == kind] for kind in _KINDS}
        collations, alter = self._collations(), f"ALTER TABLE {self.quote(TABLE)}"
        # A column takes another type or collation only while no foreign key holds it.
        if "id" in of["type"]:
            of["primary_key"] = [of["type"].pop(of["type"].index("id"))]
        recast = of["type"] + [
            name for name in of["foreign_key"]
            if name in table.columns and table.columns[name].collation != collations[name]
        ]  # fmt: skip
        bound = [key for key in table.foreign_keys if key.columns[0] in recast]
        wrong = [key for name in of["foreign_key"] for key in table.wrong_keys(declared_key(name)) or ()]
        renewed = dict.fromkeys(of["foreign_key"] + [key.columns[0] for key in bound if key.columns[0] in collations])
        changes = [Change("read timestamps as UTC", _AS_UTC)] * any(
            table.columns[name].family == "timestamp" for name in of["type"]
        )
        changes += [
            Change(f"drop the foreign key {key.name}", f"{alter} DROP FOREIGN KEY {self.quote(key.name)}")
            for key in dict.fromkeys(wrong + bound)
        ]
        for name in of["missing_column"]:
            online = _ONLINE if declared(WeeklyActuals).columns[name].null else ""
            drop = self._drop_primary_key(table) if name == "id" else ""
            changes.append(
                Change(f"add column {name}", f"{alter} {drop}ADD COLUMN {self._ddl(name, collations)}{online}")
            )
        own = self._definitions() if recast or of["null"] or of["not_null"] else {}
        for name in dict.fromkeys(recast + of["null"] + of["not_null"]):
            null = name in of["not_null"] or table.columns[name].null and name not in of["null"]
            if name in recast:
                definition = self._recast(table.columns[name], null, own[name], collations)
            else:
                definition = _with_null(own[name], null)
            changes.append(Change(f"correct {name}", f"{alter} MODIFY {definition}"))
        for name in of["default"]:
            if name not in recast:
                default = column_ddl(self, name).partition(" DEFAULT ")[2]
                changes.append(
                    Change(
                        f"correct the default of {name}",
                        f"{alter} ALTER COLUMN {self.quote(name)} SET DEFAULT {default}",
                    )
                )
        changes += [self._index(table, name, alter) for name in of["unique"] + of["index"]]
        if of["primary_key"]:
            changes += [Change("keep an id of 0", _ZERO), self._primary_key(table, alter)]
        for key in map(declared_key, renewed):
            name = f"fk_{TABLE}_{key.columns[0]}"
            reference = f"{self._names(key.columns)} REFERENCES {self.quote(key.table)} {self._names(key.target)}"
            statement = f"{alter} ADD CONSTRAINT {self.quote(name)} FOREIGN KEY {reference} ON DELETE CASCADE"
            changes.append(Change(f"add the foreign key of {key.columns[0]}", statement))
        return changes

    def _definitions(self) -> dict[str, str]:
        """Return the columns' definitions by name, as the server writes them: one a line."""
        lines = map(str.strip, self.query(f"SHOW CREATE TABLE {self.quote(TABLE)}")[0][1].splitlines())
        return {line.split("`")[1].lower(): line.rstrip(",") for line in lines if line.startswith("`")}

    def _recast(self, column: Column, null: bool, own: str, collations: dict[str, str | None]) -> str:
        """Return our definition of a column with the user's default, comment and CHECK, and fractions of seconds."""
        ours = self._ddl(column.name.lower(), collations, null)
        if column.family in ("timestamp", "datetime") and "(" in column.type:
            ours = ours.replace("DATETIME", "DATETIME(" + column.type.partition("(")[2], 1)
        elif column.default and column.name.lower() != "uploaded_at":  # which has ours
            ours += f" DEFAULT {column.default}"
        _, tail = _split_definition(own, " COMMENT ", " CHECK ")
        return ours + tail

    def _drop_primary_key(self, table: Table) -> str:
        keep = f"ADD UNIQUE {self._names(own_key(table))}, " if own_key(table) else ""
        return f"DROP PRIMARY KEY, {keep}" if table.primary_key else ""

    def _primary_key(self, table: Table, alter: str) -> Change:
        column = table.columns["id"]
        type_ = column.type if column.family == "integer" and (column.size or 0) >= 4 else "INTEGER"
        drop = self._drop_primary_key(table)
        statement = f"{alter} {drop}MODIFY `id` {type_} NOT NULL AUTO_INCREMENT, ADD PRIMARY KEY (`id`)"
        return Change("correct the primary key", statement)

    def _index(self, table: Table, name: str, alter: str) -> Change:
        """Replace or add an index in one statement; a foreign key that leaned on the old one gets its own."""
        unique, columns = WeeklyActuals._meta.unique_key
        columns = columns if name == unique else INDEXES[name]
        parts = [f"ADD {'UNIQUE ' * (name == unique)}INDEX {self.quote(name)} {self._names(columns)}"]
        there = next((index for index in table.indexes if index.name.lower() == name), None)
        if there:
            parts.insert(0, f"DROP INDEX {self.quote(there.name)}")
            lead = there.columns[0]
            leaders = [index.columns[0] for index in table.indexes if index is not there] + [columns[0]]
            if lead not in leaders and any(key.columns[0] == lead for key in table.foreign_keys):
                parts.append(f"ADD INDEX {self._names([lead])}")
        return Change(f"{'replace' if there else 'add'} index {name}", f"{alter} {', '.join(parts)}{_ONLINE}")

    # -- changing

    def exclusively(self, work: Callable[[], object]) -> object:
        if self.in_transaction():
            raise Refused(
                "weekly_actuals has to be changed, and every change commits the transaction that it finds itself in; "
                "run the migration outside of the caller's transaction"
            )

        for name in () if self.opened else READ:  # a connection of the caller's may have tables of its own
            with suppress(peewee.ProgrammingError):  # it is not there
                if self.query(f"SHOW CREATE TABLE {self.quote(name)}")[0][1].startswith("CREATE TEMPORARY"):
                    raise Refused(f"the temporary table {name} hides the real one on this connection; drop it first")

        def attempt() -> object:
            if not self.query(f"SELECT GET_LOCK({_LOCK}, 0)")[0][0]:
                raise Busy
            try:
                return work()
            finally:
                self.query(f"SELECT RELEASE_LOCK({_LOCK})")

        with self._session(_SESSION):
            return self.patiently(attempt, lambda error: _code(error) in _RACED | _BUSY or _SAME_KEY in str(error))

    def progress(self) -> str:
        for stage, stages, percent in self.ask_beside(
            "SELECT stage, max_stage, progress FROM information_schema.processlist "
            "WHERE db = DATABASE() AND max_stage > 0"
        ):
            return f", stage {stage} of {stages} ({percent:.0f} %)"
        return ""

    def execute(self, change: Change) -> None:
        self.patiently(lambda: super(MySQL, self).execute(change), lambda error: _code(error) in _BUSY)

    # -- the smoke test

    @contextmanager
    def trial(self) -> Iterator[bool]:
        wait = str(max(1, int(self.patience.left)))
        wanted = {"lock_wait_timeout": wait, "innodb_lock_wait_timeout": wait}
        if not self.in_transaction():
            wanted["foreign_key_checks"] = "1"
        with self._session(wanted), super().trial() as enforced:
            yield enforced

    def trial_id(self, column: Column) -> int | None:
        if "unsigned" in column.type:
            return None
        return -super().trial_id(column)  # a positive one would move AUTO_INCREMENT for good

    def without_checks(self) -> AbstractContextManager[None]:
        return self._session({"check_constraint_checks": "0"})

    def enforces_keys(self) -> bool:
        return bool(self.query("SELECT @@foreign_key_checks")[0][0])

    # -- errors

    def is_lock_timeout(self, error: Exception) -> bool:
        return _code(error) in _BUSY

    def was_aborted(self, error: Exception) -> bool:
        # On a cluster the DDL of another node does that to whatever is open on this one; undoing what is undone
        # already fails with another error, and the only sign may be that a savepoint is gone.
        while _code(error) not in (1213, 1305) and error.__context__:
            error = error.__context__
        return _code(error) in (1213, 1305) and not self.in_transaction()

    def holders(self) -> str:
        try:
            ((run,),) = self.query(f"SELECT IS_USED_LOCK({_LOCK})")
            open_ = self.query(
                "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx "
                "WHERE trx_mysql_thread_id NOT IN (0, CONNECTION_ID()) ORDER BY trx_started LIMIT 5"
            )
        except peewee.DatabaseError:  # it takes the PROCESS privilege
            return "who holds it is not told to this user"
        told = [f"another run is connection {run}"] * bool(run)
        told += [f"an open transaction is of connection {thread}" for (thread,) in open_]
        return ", ".join(told) or "who held it is gone by now"

    def explain(self, error: Exception) -> MigrationError:
        while _code(error) == 0 and error.__context__:  # undoing the work of a lost connection fails, and hides why
            error = error.__context__
        return super().explain(error)

    def _account(self, text: str) -> str:
        """Return the account as a GRANT names it; a connection that was refused is named by the text."""
        if self.database.is_closed():
            return text.partition("for user ")[2].partition(" to ")[0]
        name, _, host = self.query("SELECT CURRENT_USER()")[0][0].rpartition("@")
        return f"{literal(name)}@{literal(host)}"

    def advice(self, error: Exception, text: str) -> str:
        code = _code(error)
        if code in (1142, 1044, 1227):
            rights = "SELECT, INSERT, DELETE, CREATE, ALTER, INDEX, DROP, REFERENCES"
            where = f"{self.quote(str(self.database.database))}.*"
            return f"; an administrator has to run: GRANT {rights} ON {where} TO {self._account(text)}"
        return {
            1045: "; check the user and the password in the URL",
            1049: "; check the name in the URL, or create the database",
        }.get(code, "; check that the server runs and can be reached, then run again" if code in _AWAY else "")


_AWAY = {0, 2003, 2006, 2013}
_AS_UTC = "SET time_zone = '+00:00'"
_ZERO = "SET sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')"


def _split_definition(definition: str, *words: str) -> tuple[str, str]:
    """Return a column's definition before and from the first of some words."""
    at = min((definition.find(word) for word in words if word in definition), default=len(definition))
    return definition[:at], definition[at:]


def _with_null(definition: str, null: bool) -> str:
    """Return a column's own definition with another nullability and all else as it is."""
    head, tail = _split_definition(definition, " DEFAULT ", " ON UPDATE ", " COMMENT ", " CHECK ")
    head = head.replace(" NOT NULL", "").removesuffix(" NULL")
    return f"{head} NULL{tail}" if null else f"{head} NOT NULL{tail.replace(' DEFAULT NULL', '', 1)}"


def _extend(tables: Schema, name: str, what: str, one: Index | ForeignKey) -> None:
    """Add a key to a table, or its next column to the key that came last."""
    table = tables.get(name.lower())
    if table is None:  # made by a peer in between
        return
    keys = getattr(table, what)
    if keys and keys[-1].name == one.name:
        last = keys[-1]._replace(columns=keys[-1].columns + one.columns)
        if isinstance(one, ForeignKey):
            last = last._replace(target=keys[-1].target + one.target)
        keys = keys[:-1] + (last,)
    else:
        keys += (one,)
    tables[name.lower()] = table._replace(**{what: keys})


def _code(error: Exception) -> int:
    """Return the server's error number behind Peewee's exception."""
    original = error.args[0] if error.args else error
    code = original.args[0] if getattr(original, "args", None) else original
    return code if isinstance(code, int) else 0
