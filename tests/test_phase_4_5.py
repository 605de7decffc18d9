"""Phase 4.5 on SQLite: validate, create, verify, smoke test, statistics, rollback."""

import pytest
from application import (
    ORPHAN,
    OTHER_ORM_SHAPE,
    SPECIFICATION_SHAPE,
    dump,
    execute,
    fetch,
)

import db
from migrations import orphans, phase_4_5

STEPS = ("insert", "select", "unique", "foreign_keys", "cascade", "cleanup")
SHAPES = pytest.mark.parametrize(
    "shape", [SPECIFICATION_SHAPE, OTHER_ORM_SHAPE], ids=["specification", "other ORM"]
)


def warnings_of(report):
    """Return the warnings of a report, without what is accepted."""
    return [each for each in report.differences if each.severity == "warning"]


def row(number, workflow="W1"):
    return (
        "INSERT INTO weekly_actuals (workflow_id, week_number, week_start_date, "
        "week_end_date, store_id, category_id, "
        "actual_units_sold, uploaded_at) VALUES "
        f"('{workflow}', {number}, '2025-02-17', '2025-02-23', 'S001', 'C1', 7, "
        "'2025-02-24 08:00:00');"
    )


@pytest.fixture
def report(database):
    return phase_4_5.run(database)


@pytest.fixture
def migrated(path, report):
    return path


# -- what is created


def test_created_columns_are_as_specified(migrated):
    sql = 'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info(?)'
    assert fetch(migrated, sql, "weekly_actuals") == [
        ("id", "INTEGER", 1, None, 1),
        ("workflow_id", "VARCHAR(50)", 1, None, 0),
        ("week_number", "INTEGER", 1, None, 0),
        ("week_start_date", "DATE", 1, None, 0),
        ("week_end_date", "DATE", 1, None, 0),
        ("store_id", "VARCHAR(50)", 1, None, 0),
        ("category_id", "VARCHAR(50)", 1, None, 0),
        ("actual_units_sold", "INTEGER", 1, None, 0),
        ("forecast_units_sold", "INTEGER", 0, None, 0),
        ("variance_pct", "FLOAT", 0, None, 0),
        ("uploaded_at", "DATETIME", 1, "CURRENT_TIMESTAMP", 0),
    ]  # fmt: skip


def test_created_indexes_are_as_specified(migrated):
    found = fetch(
        migrated,
        'SELECT l.name, l."unique", l.origin, group_concat(i.name) '
        "FROM pragma_index_list(?) l, "
        "pragma_index_info(l.name) i GROUP BY l.name ORDER BY l.name",
        "weekly_actuals",
    )
    assert found == [
        ("idx_weekly_actuals_date", 0, "c", "week_start_date"),
        ("idx_weekly_actuals_store", 0, "c", "store_id"),
        ("idx_weekly_actuals_workflow", 0, "c", "workflow_id,week_number"),
        (
            "sqlite_autoindex_weekly_actuals_1",
            1,
            "u",
            "workflow_id,week_number,store_id",
        ),
    ]


def test_created_foreign_keys_cascade(migrated):
    found = fetch(
        migrated,
        'SELECT "from", "table", "to", on_delete FROM pragma_foreign_key_list(?)',
        "weekly_actuals",
    )
    assert sorted(found) == [
        ("category_id", "categories", "category_id", "CASCADE"),
        ("store_id", "stores", "store_id", "CASCADE"),
        ("workflow_id", "workflows", "workflow_id", "CASCADE"),
    ]


def test_created_unique_constraint_has_its_name(migrated):
    ((sql,),) = fetch(
        migrated, "SELECT sql FROM sqlite_master WHERE name = 'weekly_actuals'"
    )
    assert (
        'CONSTRAINT "unique_workflow_week_store" UNIQUE ("workflow_id", "week_number", '
        '"store_id")' in sql
    )


def test_ids_are_never_reused(migrated):
    execute(migrated, row(1) + "DELETE FROM weekly_actuals;" + row(2))
    assert fetch(migrated, "SELECT id FROM weekly_actuals") == [(2,)]


def test_run_adds_only_the_table_and_its_indexes(path, database):
    before = set(dump(path).splitlines())
    phase_4_5.run(database)
    added = set(dump(path).splitlines()) - before
    assert all("weekly_actuals" in line or "sqlite_sequence" in line for line in added)
    assert before <= set(dump(path).splitlines())


# -- the report


def test_report_of_a_first_run_lists_the_changes(report):
    assert report.status == "migrated"
    assert [each.description for each in report.changes] == [
        "create table weekly_actuals", "create index idx_weekly_actuals_workflow",
        "create index idx_weekly_actuals_store", "create index idx_weekly_actuals_date",
    ]  # fmt: skip


def test_every_step_of_the_smoke_test_passes(report):
    assert report.smoke_test == dict.fromkeys(STEPS, True)


def test_rows_of_all_five_tables_are_counted(report):
    assert report.row_counts == {
        "historical_sales": 1234,
        "stores": 2,
        "categories": 1,
        "workflows": 1,
        "weekly_actuals": 0,
    }


def test_smoke_test_and_statistics_can_be_disabled(database):
    report = phase_4_5.run(database, smoke_test=False, statistics=False)
    assert (report.smoke_test, report.row_counts) == (None, None)


def test_reported_changes_create_the_same_table(path, empty_path, report):
    other = empty_path
    execute(other, ";".join(each.sql for each in report.changes))
    own = (
        "SELECT name, sql FROM sqlite_master WHERE tbl_name = 'weekly_actuals' "
        "ORDER BY name"
    )
    assert fetch(other, own) == fetch(path, own)


# -- second runs


def test_second_run_leaves_the_dump_unchanged(migrated, database):
    before = dump(migrated)
    assert phase_4_5.run(database).status == "up_to_date"
    assert dump(migrated) == before


def test_second_run_with_uploaded_rows_leaves_the_dump_unchanged(migrated, database):
    execute(
        migrated, row(1) + row(2) + "DELETE FROM weekly_actuals WHERE week_number = 2"
    )
    before = dump(migrated)
    report = phase_4_5.run(database)
    assert (report.status, report.changes) == ("up_to_date", ())
    assert dump(migrated) == before


def test_second_run_of_ensure_and_check_writes_no_byte(migrated, database):
    before = migrated.read_bytes()
    phase_4_5.ensure(database)
    phase_4_5.check(database)
    assert migrated.read_bytes() == before


@SHAPES
def test_complete_table_is_left_unchanged(path, database, shape):
    execute(path, shape + row(1))
    before = dump(path)
    report = phase_4_5.run(database)
    assert (report.status, report.changes) == ("up_to_date", ())
    assert {each.severity for each in report.differences} == {"note"}
    assert report.smoke_test == dict.fromkeys(STEPS, True)
    assert dump(path) == before


# -- orphans


@SHAPES
def test_orphan_is_a_warning_with_an_example_and_a_count(path, database, shape):
    execute(path, shape + ORPHAN)
    (warning,) = warnings_of(phase_4_5.run(database))
    assert (warning.severity, warning.object) == (
        "warning",
        "weekly_actuals.workflow_id",
    )
    assert "1 row (" in warning.message
    assert "workflow_id test_workflow" in warning.message


@SHAPES
def test_orphan_is_not_deleted(path, database, shape):
    execute(path, shape + ORPHAN)
    before = dump(path)
    phase_4_5.run(database)
    assert dump(path) == before


def test_many_orphans_are_counted_and_five_are_shown(path, database):
    execute(
        path,
        SPECIFICATION_SHAPE
        + f"BEGIN; {''.join(row(each, 'gone') for each in range(1, 1201))} COMMIT",
    )
    (warning,) = warnings_of(phase_4_5.check(database))
    assert "1,200 rows" in warning.message
    assert warning.message.count("workflow_id gone") == 5


@pytest.mark.parametrize(("number", "more"), [(5, False), (6, True)])
def test_rows_after_the_fifth_are_shown_as_an_ellipsis(path, database, number, more):
    rows = "".join(row(week, "gone") for week in range(1, number + 1))
    execute(path, SPECIFICATION_SHAPE + rows)
    (warning,) = warnings_of(phase_4_5.check(database))
    assert f"{number} rows (" in warning.message
    assert warning.message.count("workflow_id gone") == 5
    assert ("; ...); see: " in warning.message) is more


def test_query_in_the_warning_finds_the_orphans(path, database):
    execute(path, SPECIFICATION_SHAPE + row(1) + row(1, "gone") + row(2, "gone"))
    (warning,) = warnings_of(phase_4_5.check(database))
    found = fetch(path, warning.message.partition("see: ")[2])
    assert [each[1] for each in found] == ["gone", "gone"]


def test_check_of_many_parents_reads_the_rows_once(path, database):
    numbers = """
        WITH RECURSIVE n(i) AS
            (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})"""
    stores = """
        INSERT INTO stores SELECT 'T' || i, 'x', min(cluster_id), 1, 'A', 1, 'x', 'x',
            1, NULL
        FROM store_clusters, n GROUP BY i;"""
    actuals = """
        INSERT INTO weekly_actuals SELECT i, 'W1', i, '2025-01-06', '2025-01-12',
            'T' || (i % 200 + 1), 'C1', i, i, 0.5, '2025-01-13'
        FROM n;"""
    execute(
        path,
        SPECIFICATION_SHAPE
        + "PRAGMA ignore_check_constraints = 1;"
        + numbers.format(200)
        + stores
        + numbers.format(4000)
        + actuals,
    )
    thousands = []
    with database.connection_context():
        database.connection().set_progress_handler(lambda: thousands.append(1), 1000)
        assert warnings_of(phase_4_5.check(database)) == []
    assert len(thousands) < 4 * 50  # thousands of virtual machine instructions


def test_orphans_of_each_parent_are_reported_separately(path, database):
    execute(
        path,
        SPECIFICATION_SHAPE
        + row(1)
        + "DELETE FROM stores; DELETE FROM categories; DELETE FROM workflows",
    )
    assert [each.object for each in warnings_of(phase_4_5.check(database))] == [
        "weekly_actuals.workflow_id",
        "weekly_actuals.store_id",
        "weekly_actuals.category_id",
    ]


def test_thorough_check_finds_orphans_that_a_check_skips(path, database, monkeypatch):
    monkeypatch.setattr(orphans, "SMALL", 1)
    execute(path, SPECIFICATION_SHAPE + row(1) + row(2, "wf_gone"))
    report = phase_4_5.check(database)
    assert warnings_of(report) == []
    assert "weekly_actuals.workflow_id" in report.orphan_checks_skipped
    report = phase_4_5.check(database, thorough=True)
    assert [each.object for each in warnings_of(report)] == [
        "weekly_actuals.workflow_id"
    ]
    assert report.orphan_checks_skipped == ()


# -- ensure


def test_ensure_returns_whether_it_changed_something(database):
    assert phase_4_5.ensure(database) is True
    assert phase_4_5.ensure(database) is False


def test_ensure_creates_missing_indexes(migrated, database):
    execute(
        migrated,
        "DROP INDEX idx_weekly_actuals_date; DROP INDEX idx_weekly_actuals_store",
    )
    assert phase_4_5.ensure(database) is True
    assert phase_4_5.check(database).status == "up_to_date"


# -- check


def test_check_reports_the_changes_of_a_run_and_makes_none(path, database):
    before = path.read_bytes()
    report = phase_4_5.check(database)
    assert report.status == "pending"
    assert path.read_bytes() == before
    assert report.changes == phase_4_5.run(database).changes


def test_check_after_a_run_is_up_to_date(migrated, database):
    report = phase_4_5.check(database)
    assert (report.status, report.changes, report.differences) == ("up_to_date", (), ())


def test_check_reports_orphans(path, database):
    execute(path, OTHER_ORM_SHAPE + ORPHAN)
    (warning,) = warnings_of(phase_4_5.check(database))
    assert "test_workflow" in warning.message


def test_check_works_if_a_column_of_an_empty_table_is_missing(path, database):
    execute(
        path,
        SPECIFICATION_SHAPE.replace(
            "    category_id VARCHAR(50) NOT NULL,\n", ""
        ).replace(
            "    FOREIGN KEY (category_id) REFERENCES categories(category_id) "
            "ON DELETE CASCADE,\n",
            "",
        ),
    )
    assert phase_4_5.check(database).status == "pending"


# -- rollback


def test_rollback_drops_an_empty_table(migrated, database):
    report = phase_4_5.rollback(database)
    assert (report.status, len(report.changes)) == ("rolled_back", 1)
    assert (
        fetch(
            migrated,
            "SELECT name FROM sqlite_master WHERE name LIKE '%weekly_actuals%'",
        )
        == []
    )


def test_rollback_restores_the_exact_schema(path, database):
    schema = (
        "SELECT type, name, sql FROM sqlite_master WHERE name <> 'sqlite_sequence' "
        "ORDER BY rowid"
    )
    before = fetch(path, schema)
    phase_4_5.run(database)
    phase_4_5.rollback(database)
    assert fetch(path, schema) == before


def test_rollback_without_a_table_changes_nothing(path, database):
    before = path.read_bytes()
    assert phase_4_5.rollback(database).status == "up_to_date"
    assert path.read_bytes() == before


def test_rollback_of_rows_is_refused_with_their_count(migrated, database):
    execute(migrated, f"BEGIN; {''.join(map(row, range(1, 1101)))} COMMIT")
    with pytest.raises(phase_4_5.ChangeRefused, match="1,100 rows"):
        phase_4_5.rollback(database)
    assert fetch(migrated, "SELECT count(*) FROM weekly_actuals") == [(1100,)]


def test_rollback_by_force_drops_no_rows_of_other_tables(migrated, database):
    execute(migrated, row(1))
    assert phase_4_5.rollback(database, force=True).status == "rolled_back"
    assert fetch(migrated, "SELECT count(*) FROM workflows") == [(1,)]


def test_run_after_a_rollback_creates_the_table_again(migrated, database):
    phase_4_5.rollback(database)
    assert phase_4_5.run(database).status == "migrated"


def test_rollback_needs_no_base_tables(migrated, database):
    execute(migrated, "DROP TABLE historical_sales")
    assert phase_4_5.rollback(database).status == "rolled_back"


# -- refusals


def test_all_missing_tables_are_named_with_the_command(tmp_path):
    file = tmp_path / "some.db"
    execute(file, "CREATE TABLE stores (store_id VARCHAR PRIMARY KEY)")
    with pytest.raises(phase_4_5.MissingTables) as caught:
        phase_4_5.run(db.connect(f"sqlite:///{file}"))
    assert "historical_sales, categories, workflows" in str(caught.value)
    assert "python -m db.init_db" in str(caught.value)


def test_run_with_missing_tables_creates_nothing(path, database):
    execute(path, "DROP TABLE historical_sales")
    before = dump(path)
    with pytest.raises(phase_4_5.MissingTables):
        phase_4_5.run(database)
    assert dump(path) == before


def test_missing_tables_are_refused_if_weekly_actuals_is_complete(migrated, database):
    execute(migrated, "DROP TABLE historical_sales")
    with pytest.raises(phase_4_5.MissingTables):
        phase_4_5.check(database)


def test_error_has_the_report_of_the_run(path, database):
    execute(path, "DROP TABLE workflows")
    with pytest.raises(phase_4_5.MigrationError) as caught:
        phase_4_5.run(database)
    report = caught.value.report.to_dict()
    assert (report["status"], report["changes"], report["error"]["type"]) == (
        "failed",
        [],
        "MissingTables",
    )


@pytest.mark.parametrize(
    "kind",
    [
        "MissingTables",
        "IncompatibleTables",
        "ChangeRefused",
        "LockTimeout",
        "DatabaseUnavailable",
        "VerificationFailed",
        "SmokeTestFailed",
    ],
)
def test_every_error_is_a_migration_error(kind):
    assert issubclass(getattr(phase_4_5, kind), phase_4_5.MigrationError)


@pytest.mark.parametrize(
    "statement", ["CREATE INDEX {} ON stores (region)", "CREATE TABLE {} (x)"]
)
def test_index_name_in_use_is_refused_before_any_statement(path, database, statement):
    execute(path, statement.format("idx_weekly_actuals_date"))
    before = dump(path)
    with pytest.raises(
        phase_4_5.ChangeRefused, match="idx_weekly_actuals_date.*rename or drop"
    ):
        phase_4_5.run(database)
    assert dump(path) == before


def test_check_is_refused_if_a_run_would_be_refused(path, database):
    execute(path, "CREATE INDEX idx_weekly_actuals_date ON stores (region)")
    with pytest.raises(phase_4_5.ChangeRefused):
        phase_4_5.check(database)
