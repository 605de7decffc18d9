"""What a rebuild of an SQLite table keeps in addition to its rows."""

import sqlite3

import pytest
from peewee import AutoField, CharField, IntegerField, Model

from migrations.errors import ChangeRefused
from migrations.phase import Phase


class Doc(Model):
    code = CharField(20, primary_key=True)
    body = CharField(200)
    amount = IntegerField()

    class Meta:
        table_name = "docs"


class NumberedDoc(Model):
    id = AutoField()
    code = CharField(20)

    class Meta:
        table_name = "docs"


DOCS = Phase("Docs", requires={}, manages=[Doc])
NUMBERED_DOCS = Phase("Docs", requires={}, manages=[NumberedDoc])
CREATE_DOCS = """
CREATE TABLE docs (code VARCHAR(20) NOT NULL PRIMARY KEY, body VARCHAR(200) NOT NULL,
                   amount TEXT NOT NULL);
INSERT INTO docs VALUES ('a', 'alpha', '1'), ('b', 'beta', '2'), ('c', 'gamma', '3');
DELETE FROM docs WHERE code = 'a'"""
SEARCH = """
SELECT d.code FROM docs_fts f JOIN docs d ON d.rowid = f.rowid
WHERE docs_fts MATCH 'gamma'"""


def test_rows_keep_their_rowids(file_and_database):
    connection, database = file_and_database
    connection.executescript(CREATE_DOCS)
    assert DOCS.run(database).status == "migrated"
    rows = connection.execute("SELECT rowid, code, amount FROM docs").fetchall()
    assert rows == [(2, "b", 2), (3, "c", 3)]


def test_full_text_index_finds_the_same_rows(file_and_database):
    connection, database = file_and_database
    connection.executescript(
        f"{CREATE_DOCS}; CREATE VIRTUAL TABLE docs_fts USING fts5 (body, "
        "content='docs'); INSERT INTO docs_fts (docs_fts) VALUES ('rebuild')"
    )
    DOCS.run(database)
    assert connection.execute(SEARCH).fetchall() == [("c",)]
    check = "INSERT INTO docs_fts (docs_fts, rank) VALUES ('integrity-check', 1)"
    connection.execute(check)


def test_rowid_is_kept_under_another_name(file_and_database):
    connection, database = file_and_database
    connection.executescript(
        f"{CREATE_DOCS}; ALTER TABLE docs ADD COLUMN rowid TEXT DEFAULT 'x'"
    )
    DOCS.run(database)
    rows = connection.execute("SELECT _rowid_, rowid FROM docs").fetchall()
    assert rows == [(2, "x"), (3, "x")]


def test_table_without_rowid_is_rebuilt(file_and_database):
    connection, database = file_and_database
    connection.executescript(
        "CREATE TABLE docs (code VARCHAR(20) NOT NULL PRIMARY KEY, "
        "body VARCHAR(200) NOT NULL, amount TEXT NOT NULL) WITHOUT ROWID; "
        "INSERT INTO docs VALUES ('a', 'alpha', '1')"
    )
    assert DOCS.run(database).status == "migrated"
    assert connection.execute("SELECT * FROM docs").fetchall() == [("a", "alpha", 1)]


def test_added_id_has_the_values_of_the_rowid(file_and_database):
    connection, database = file_and_database
    connection.executescript(
        "CREATE TABLE docs (code VARCHAR(20) NOT NULL); "
        "INSERT INTO docs (rowid, code) VALUES (3, 'c'), (7, 'g')"
    )
    assert NUMBERED_DOCS.run(database).status == "migrated"
    rows = connection.execute("SELECT id, code FROM docs").fetchall()
    assert rows == [(3, "c"), (7, "g")]


NOT_A_KEY = """
CREATE TABLE docs (id INTEGER NOT NULL, code VARCHAR(20) NOT NULL);
INSERT INTO docs (rowid, id, code) VALUES (1, {id}, 'gamma');
CREATE VIRTUAL TABLE docs_fts USING fts5 (code, content='docs'{option});
INSERT INTO docs_fts (docs_fts) VALUES ('rebuild')"""


def test_id_that_changes_the_rowids_of_an_fts_table_is_refused(file_and_database):
    connection, database = file_and_database
    connection.executescript(NOT_A_KEY.format(id=8, option=""))
    message = (
        "the virtual table docs_fts finds rows of docs by their rowid, which would "
        'become "id"; drop it, run again, then create it again'
    )
    for call in (NUMBERED_DOCS.check, NUMBERED_DOCS.run):
        with pytest.raises(ChangeRefused) as refused:
            call(database)
        assert str(refused.value) == message


@pytest.mark.parametrize(("id_value", "option"), [(1, ""), (8, ", content_rowid='id'")])
def test_id_that_an_fts_table_can_follow_is_made_the_key(
    file_and_database, id_value, option
):
    connection, database = file_and_database
    connection.executescript(NOT_A_KEY.format(id=id_value, option=option))
    assert NUMBERED_DOCS.run(database).status == "migrated"
    assert connection.execute(SEARCH).fetchall() == [("gamma",)]


def statistics_of(connection):
    return connection.execute("SELECT * FROM sqlite_stat1 ORDER BY idx").fetchall()


def test_statistics_stay(file_and_database):
    connection, database = file_and_database
    connection.executescript(
        f"{CREATE_DOCS}; CREATE INDEX by_body ON docs (body); ANALYZE"
    )
    before = statistics_of(connection)
    assert [index for _, index, _ in before] == ["by_body", "sqlite_autoindex_docs_1"]
    DOCS.run(database)
    assert statistics_of(connection) == before


def test_statistics_of_another_library_stay(file_and_database):
    connection, database = file_and_database
    connection.executescript(
        f"{CREATE_DOCS}; ANALYZE; PRAGMA writable_schema = ON; CREATE TABLE "
        "IF NOT EXISTS sqlite_stat4 (tbl, idx, neq, nlt, ndlt, sample); "
        "INSERT INTO sqlite_stat4 VALUES ('docs', 'x', '1', '1', '1', x'00')"
    )
    assert DOCS.run(database).status == "migrated"
    found = connection.execute("SELECT tbl, idx FROM sqlite_stat4 WHERE idx = 'x'")
    assert found.fetchall() == [("docs", "x")]


def test_statistics_of_a_changed_key_are_dropped(file_and_database):
    connection, database = file_and_database
    connection.executescript(
        "CREATE TABLE docs (code VARCHAR(20) NOT NULL UNIQUE, "
        "body VARCHAR(200) NOT NULL, amount INTEGER NOT NULL PRIMARY KEY); "
        "INSERT INTO docs VALUES ('a', 'alpha', 1); "
        "CREATE INDEX by_body ON docs (body); ANALYZE"
    )
    DOCS.run(database)
    assert statistics_of(connection) == [("docs", "by_body", "1 1")]


COMMENTED = """
CREATE TABLE docs /* what is said */ (
    code VARCHAR(20) NOT NULL, -- unique, (really) don't ask
    body VARCHAR(200) NOT NULL /* in Markdown, 'as it is' */,
    -- in cents
    amount {type} /* , */ NOT NULL CHECK (amount <> '--no comment'), /* of codes: */
    PRIMARY KEY (code) -- the key
)"""
COMMENTS = (
    "code VARCHAR(20) NOT NULL -- unique, (really) don't ask\n, ",
    "body VARCHAR(200) NOT NULL /* in Markdown, 'as it is' */, ",
    "CHECK (amount <> '--no comment') -- in cents\n /* , */ /* of codes: */, ",
    "PRIMARY KEY (code) /* what is said */ -- the key\n)",
)


@pytest.mark.parametrize("column_type", ["TEXT", "INTEGER NULL"])
def test_comments_stay_where_they_belong(file_and_database, column_type):
    connection, database = file_and_database
    create = COMMENTED.format(type=column_type)
    connection.execute(create.replace("NULL /* , */ NOT NULL", "/* , */"))
    assert DOCS.run(database).status == "migrated"
    (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL")
    for comment in COMMENTS:
        assert comment in sql[0]


def test_comments_of_indexes_stay(file_and_database):
    connection, database = file_and_database
    connection.executescript(
        f"{CREATE_DOCS}; CREATE INDEX by_body ON docs (body /* long */) -- rare\n;"
    )
    connection.execute("CREATE INDEX by_amount ON docs (amount) /* unclosed")
    script = DOCS.check(database).script
    assert [line for line in script if "INDEX" in line] == [
        "CREATE INDEX by_body ON docs (body /* long */) -- rare\n;",
        "CREATE INDEX by_amount ON docs (amount) /* unclosed */;",
    ]
    DOCS.run(database)
    assert len(connection.execute("PRAGMA index_list(docs)").fetchall()) == 3


def test_generated_column_becomes_an_ordinary_not_null_column(file_and_database):
    connection, database = file_and_database
    connection.executescript(
        "CREATE TABLE docs (code VARCHAR(20) NOT NULL PRIMARY KEY, "
        "body VARCHAR(200) NOT NULL, amount INTEGER AS (length(body))); "
        "INSERT INTO docs VALUES ('a', 'alpha')"
    )
    assert DOCS.run(database).status == "migrated"
    assert connection.execute("SELECT amount FROM docs").fetchall() == [(5,)]
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("INSERT INTO docs (code, body) VALUES ('b', 'beta')")
