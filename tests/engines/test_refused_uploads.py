"""Uploads that a trigger, a policy or a constraint of the table refuses or changes."""

import io
import sqlite3

import peewee
import processes
import pytest
from engines.servers import COMPLETE, new_connection

import db
from db.models import Uploadable, WeeklyActuals
from db.uploads import UploadRefused, upload

ENGINES = ("sqlite", "postgresql", "mysql")
HEADER = (
    "workflow_id,week_number,week_start_date,week_end_date,store_id,category_id,"
    "actual_units_sold\n"
)
FILE = (
    HEADER
    + "wf_1,5,2025-03-17,2025-03-23,S001,dresses,10\n"
    + "wf_1,6,2025-03-24,2025-03-30,S001,dresses,20\n"
)
COUNT = "SELECT count(*) FROM weekly_actuals"
ROWS = [
    {
        "workflow": "wf_1",
        "week_number": week,
        "week_start_date": "2025-03-17",
        "week_end_date": "2025-03-23",
        "store": "S001",
        "category": "dresses",
        "actual_units_sold": units,
    }
    for week, units in ((5, 10), (6, 20))
]


@pytest.fixture
def complete_table(world, engine):
    """A database whose weekly_actuals is as specified, without rows."""
    return world(engine).make(COMPLETE)


def count(world):
    return world.query(COUNT)[0][0]


def upload_text(world, text=FILE, on_conflict=None):
    database = db.connect(world.url)
    with database.connection_context():
        return upload(io.StringIO(text), database, on_conflict)


def run_command(world, tmp_path, text=FILE, *arguments, url=None):
    file = tmp_path / "c.csv"
    file.write_text(text)
    url = url or world.url
    done = processes.run("db.uploads", file, "--database", url, *arguments)
    assert "Traceback" not in done.stderr
    return done


def add_trigger(world, on_bad_row):
    """Have a trigger do something before a row of 20 units is inserted."""
    if world.engine == "postgresql":
        world.execute(
            "CREATE FUNCTION of_test() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF new.actual_units_sold = 20 THEN {on_bad_row}; END IF; "
            "RETURN new; END $$",
            "CREATE TRIGGER of_test BEFORE INSERT ON weekly_actuals "
            "FOR EACH ROW EXECUTE FUNCTION of_test()",
        )
    elif world.engine == "mysql":
        world.execute(
            "CREATE TRIGGER of_test BEFORE INSERT ON weekly_actuals FOR EACH ROW "
            f"IF new.actual_units_sold = 20 THEN {on_bad_row}; END IF"
        )
    else:
        world.execute(
            "CREATE TRIGGER of_test BEFORE INSERT ON weekly_actuals "
            f"WHEN new.actual_units_sold = 20 BEGIN SELECT {on_bad_row}; END"
        )


# -- rows are counted as stored

SKIP = {"sqlite": "RAISE(IGNORE)", "postgresql": "RETURN NULL"}


@pytest.mark.parametrize("on_conflict", [None, "update"])
@pytest.mark.parametrize("engine", SKIP)
def test_row_that_a_trigger_skips_is_not_counted(complete_table, engine, on_conflict):
    add_trigger(complete_table, SKIP[engine])
    assert upload_text(complete_table, on_conflict=on_conflict) == 1
    assert count(complete_table) == 1


@pytest.mark.parametrize("engine", SKIP)
def test_command_says_how_many_rows_were_skipped(complete_table, tmp_path, engine):
    add_trigger(complete_table, SKIP[engine])
    done = run_command(complete_table, tmp_path)
    assert done.returncode == 0
    assert done.stdout.endswith(
        f": 1 row of {tmp_path}/c.csv; 1 row skipped by the database, see its "
        "triggers\n"
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_of_several_batches_are_counted(complete_table, engine):
    database = db.connect(complete_table.url)
    with database.connection_context():
        assert WeeklyActuals.bulk_insert(ROWS, database=database, batch_size=1) == 2
    assert count(complete_table) == 2


@pytest.mark.parametrize("engine", ["sqlite"])
@pytest.mark.parametrize("action", ["IGNORE", "REPLACE", "ROLLBACK"])
def test_conflict_clause_of_the_table_is_not_obeyed(complete_table, engine, action):
    complete_table.execute(
        "ALTER TABLE weekly_actuals RENAME TO old_table",
        "CREATE TABLE weekly_actuals AS SELECT * FROM old_table WHERE 0",
        "DROP TABLE weekly_actuals",
    )
    ((sql,),) = complete_table.query(
        "SELECT sql FROM sqlite_schema WHERE name = 'old_table'"
    )
    key = "UNIQUE (workflow_id, week_number, store_id)"
    assert key in sql
    sql = sql.replace(key, f"{key} ON CONFLICT {action}")
    sql = sql.replace('"old_table"', "weekly_actuals")
    complete_table.execute("DROP TABLE old_table", sql)
    upload_text(complete_table)
    with pytest.raises(UploadRefused, match="line 2: .* already exists or is given"):
        upload_text(complete_table)
    assert count(complete_table) == 2


# -- every refusal names the line

REFUSE = [
    ("sqlite", "RAISE(ABORT, 'looks wrong')"),
    ("sqlite", "RAISE(FAIL, 'looks wrong')"),
    ("sqlite", "RAISE(ROLLBACK, 'looks wrong')"),
    ("postgresql", "RAISE EXCEPTION 'looks wrong'"),
    ("postgresql", "RAISE EXCEPTION 'looks wrong' USING ERRCODE = 'U0001'"),
    ("postgresql", "RAISE EXCEPTION 'looks wrong' USING ERRCODE = '23514'"),
    ("mysql", "SIGNAL SQLSTATE '45000' SET message_text = 'looks wrong'"),
    ("mysql", "SIGNAL SQLSTATE 'U0001' SET message_text = 'looks wrong'"),
    (
        "mysql",
        "SIGNAL SQLSTATE '45000' SET mysql_errno = 9999, message_text = 'looks wrong'",
    ),
]


@pytest.mark.parametrize("on_conflict", [None, "update"])
@pytest.mark.parametrize(("engine", "refuse"), REFUSE)
def test_refusal_of_a_trigger_names_the_line(complete_table, refuse, on_conflict):
    add_trigger(complete_table, refuse)
    with pytest.raises(
        UploadRefused, match="^nothing was uploaded: line 3: looks wrong$"
    ):
        upload_text(complete_table, on_conflict=on_conflict)
    assert count(complete_table) == 0


@pytest.mark.parametrize("engine", ["sqlite"])
def test_rollback_by_a_trigger_in_a_later_batch_is_reported(complete_table, engine):
    add_trigger(complete_table, "RAISE(ROLLBACK, 'looks wrong')")
    database = db.connect(complete_table.url)
    with database.connection_context():
        with pytest.raises(UploadRefused, match="uploaded: row 2: looks wrong"):
            WeeklyActuals.bulk_insert(ROWS, database=database, batch_size=1)
        assert not database.in_transaction()
    assert count(complete_table) == 0


@pytest.mark.parametrize("engine", ["mysql"])
def test_end_of_the_ids_is_reported_with_a_line(complete_table, engine):
    complete_table.execute("ALTER TABLE weekly_actuals AUTO_INCREMENT = 2147483647")
    with pytest.raises(UploadRefused, match="uploaded: line [23]: .*(range|increment)"):
        upload_text(complete_table)
    assert count(complete_table) == 0


@pytest.mark.parametrize("engine", ["postgresql"])
def test_end_of_a_sequence_is_reported_with_a_line(complete_table, engine):
    complete_table.execute("ALTER SEQUENCE weekly_actuals_id_seq MAXVALUE 2")
    upload_text(complete_table)
    text = FILE.replace(",5,2025", ",7,2025").replace(",6,2025", ",8,2025")
    with pytest.raises(
        UploadRefused, match="uploaded: line 2: .*reached maximum value"
    ):
        upload_text(complete_table, text)
    assert count(complete_table) == 2


class Node(Uploadable):
    """A row may refer to one that comes later, until the transaction is committed."""

    name = peewee.CharField(20, primary_key=True)
    parent = peewee.ForeignKeyField("self", null=True)

    class Meta:
        table_name = "nodes"


@pytest.fixture
def nodes(world, engine):
    made = world(engine)
    made.clear() if engine != "sqlite" else None
    made.execute(
        "CREATE TABLE nodes (name varchar(20) PRIMARY KEY, parent_id varchar(20) "
        "REFERENCES nodes DEFERRABLE INITIALLY DEFERRED)"
    )
    database = db.connect(made.url)
    with database.connection_context(), database.bind_ctx([Node]):
        yield database


@pytest.mark.parametrize("engine", SKIP)
def test_deferred_constraint_allows_rows_in_any_order(nodes):
    rows = [{"name": "a", "parent": "b"}, {"name": "b"}]
    assert Node.bulk_insert(rows, batch_size=1) == 2


@pytest.mark.parametrize("engine", SKIP)
def test_refusal_at_commit_names_the_row(nodes):
    rows = [{"name": "a"}, {"name": "b", "parent": "x"}]
    with pytest.raises(
        UploadRefused, match="^nothing was uploaded: row 2: there is no parent 'x'"
    ):
        Node.bulk_insert(rows)
    assert Node.select().count() == 0


@pytest.mark.parametrize("engine", SKIP)
def test_refusal_at_commit_of_an_earlier_batch_is_reported(nodes):
    rows = [{"name": "b", "parent": "x"}, {"name": "a"}]
    with pytest.raises(
        UploadRefused, match="^nothing was uploaded: .*(?i:foreign key)"
    ):
        Node.bulk_insert(rows, batch_size=1)
    assert Node.select().count() == 0


# -- rights

RIGHTS = "SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public"
SEQUENCES = "USAGE ON ALL SEQUENCES IN SCHEMA public"


@pytest.fixture
def policy(complete_table, role):
    """Return a function that puts a policy in force, and gives the URL of a user."""

    def make(check):
        complete_table.execute(
            "ALTER TABLE weekly_actuals ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY of_test ON weekly_actuals USING (true) "
            f"WITH CHECK ({check})",
        )
        return role(complete_table, RIGHTS, SEQUENCES)

    return make


@pytest.mark.parametrize("arguments", [(), ("--on-conflict", "update")])
@pytest.mark.parametrize("engine", ["postgresql"])
def test_role_under_row_level_security_uploads(
    complete_table, policy, tmp_path, engine, arguments
):
    url = policy("true")
    done = run_command(complete_table, tmp_path, FILE, *arguments, url=url)
    assert (done.returncode, done.stderr) == (0, "")
    assert count(complete_table) == 2


@pytest.mark.parametrize("engine", ["postgresql"])
def test_row_that_a_policy_refuses_is_named(complete_table, policy, tmp_path, engine):
    url = policy("actual_units_sold < 15")
    done = run_command(complete_table, tmp_path, url=url)
    assert done.returncode == 1
    assert "c.csv: nothing was uploaded: line 3: new row violates row-level" in (
        done.stderr
    )
    assert count(complete_table) == 0


@pytest.mark.parametrize("engine", ["postgresql"])
def test_missing_right_is_not_blamed_on_a_line(complete_table, role, tmp_path, engine):
    url = role(complete_table, "SELECT ON ALL TABLES IN SCHEMA public")
    done = run_command(complete_table, tmp_path, url=url)
    assert done.returncode == 1
    reason = "c.csv: nothing was uploaded: permission denied for table weekly_actuals"
    assert done.stderr.endswith(f"{reason}\n")


# -- other connections, other tables


@pytest.mark.parametrize("engine", ["sqlite"])
def test_locked_database_is_reported_as_nothing_uploaded(
    complete_table, tmp_path, engine
):
    other = sqlite3.connect(complete_table.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    url = f"{complete_table.url}?timeout=0"
    done = run_command(complete_table, tmp_path, url=url)
    other.close()
    assert done.returncode == 1
    assert done.stderr.endswith("c.csv: nothing was uploaded: database is locked\n")


@pytest.mark.parametrize("engine", ["mysql"])
def test_lock_timeout_is_not_blamed_on_a_line(complete_table, engine):
    upload_text(complete_table)
    database = db.connect(complete_table.url)
    other = new_connection(complete_table.url, autocommit=False)
    other.cursor().execute("UPDATE weekly_actuals SET actual_units_sold = 1")
    with database.connection_context():
        database.execute_sql("SET innodb_lock_wait_timeout = 1")
        with pytest.raises(peewee.OperationalError, match="Lock wait timeout"):
            upload(io.StringIO(FILE), database, "update")
    other.rollback()
    other.close()


@pytest.mark.parametrize("on_conflict", [None, "update"])
@pytest.mark.parametrize("engine", ENGINES)
def test_temporary_table_of_the_caller_is_left_alone(
    complete_table, engine, on_conflict
):
    database = db.connect(complete_table.url)
    with database.connection_context():
        database.execute_sql("CREATE TEMPORARY TABLE uploaded_rows (note varchar(9))")
        database.execute_sql("INSERT INTO uploaded_rows VALUES ('mine')")
        for _ in range(2):
            stored = WeeklyActuals.bulk_insert(
                ROWS, database=database, batch_size=1, on_conflict=on_conflict
            )
            assert stored == 2
            if on_conflict is None:
                break
        cursor = database.execute_sql("SELECT note FROM uploaded_rows")
        assert cursor.fetchall() in ([("mine",)], (("mine",),))
    assert count(complete_table) == 2


# -- the file


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the file is empty; its first line must name the columns"),
        (
            "workflow_id,\na,\n",
            "line 1: column 2 has no name; remove the comma, also from the other lines",
        ),
        ("a;b\n", "line 1: the file uses ';' as delimiter, expected ','"),
        (
            " week_number,b\n",
            "line 1: leading or trailing space in the column name ' week_number'; "
            "remove it",
        ),
        ("week_number,week_number\n1,1\n", "line 1: the column week_number is given"),
        (
            "week_number,wrong\n1,1\n",
            "line 1: unknown column 'wrong'; known are w",
        ),
        (HEADER + 'wf_1,"5\n', "line 2: unexpected end of data"),
        (HEADER + "wf_1,5\n", "line 2: expected 7 values, one for each column"),
    ],
)
@pytest.mark.parametrize("engine", ["sqlite"])
def test_refusal_of_the_file_names_the_line(complete_table, text, reason):
    with pytest.raises(UploadRefused) as refused:
        upload_text(complete_table, text)
    assert str(refused.value).startswith(f"nothing was uploaded: {reason}")


@pytest.mark.parametrize("engine", ["sqlite"])
def test_missing_file_is_reported_as_nothing_uploaded(complete_table, engine):
    done = processes.run("db.uploads", "/no/file.csv", "--database", complete_table.url)
    assert done.returncode == 1
    assert done.stderr.endswith(
        ": /no/file.csv: nothing was uploaded: No such file or directory\n"
    )
