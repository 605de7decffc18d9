"""The same table and the same next migration, written for each tool.

A line that ends in `@-keys` is not part of the first migration if the next one adds the
keys; one that ends in `@+type` is only part of it if the next one changes the type. So
every tool starts from the state that it describes.
"""

import re

WORDS = {
    "sqlite": {
        "id": "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT",
        "float": "FLOAT",
        "time": "DATETIME",
        "now": "CURRENT_TIMESTAMP",
    },
    "postgresql": {
        "id": "SERIAL PRIMARY KEY",
        "float": "DOUBLE PRECISION",
        "time": "TIMESTAMP",
        "now": "(now() AT TIME ZONE 'utc')",
    },
    "mysql": {
        "id": "INTEGER NOT NULL AUTO_INCREMENT PRIMARY KEY",
        "float": "DOUBLE",
        "time": "DATETIME",
        "now": "(UTC_TIMESTAMP())",
    },
}
# In SQL, for Alembic, for Django, for Peewee; the condition.
COLUMNS = (
    (
        "workflow_id", "VARCHAR(50) NOT NULL", "sa.String(50)", 'to("Workflow")',
        "to(Workflow)", "",
    ),
    (
        "week_number", "INTEGER NOT NULL", "sa.Integer()", "m.IntegerField()",
        "pw.IntegerField()", "",
    ),
    (
        "week_start_date", "DATE NOT NULL", "sa.Date()", "m.DateField()",
        "pw.DateField()", "",
    ),
    (
        "week_end_date", "DATE NOT NULL", "sa.Date()", "m.DateField()",
        "pw.DateField()", "",
    ),
    (
        "store_id", "VARCHAR(50) NOT NULL", "sa.String(50)", 'to("Store")', "to(Store)",
        "@-parent",
    ),
    (
        "store_id", "VARCHAR(50) NOT NULL", "sa.String(50)",
        'm.CharField(max_length=50, db_column="store_id")',
        'pw.CharField(50, column_name="store_id")', "@+parent",
    ),
    (
        "category_id", "VARCHAR(50) NOT NULL", "sa.String(50)", 'to("Category")',
        "to(Category)", "",
    ),
    (
        "actual_units_sold", "INTEGER NOT NULL", "sa.Integer()", "m.IntegerField()",
        "pw.IntegerField()", "@-type",
    ),
    (
        "actual_units_sold", "VARCHAR(20) NOT NULL", "sa.String(20)",
        "m.CharField(max_length=20)", "pw.CharField(20)", "@+type",
    ),
    (
        "forecast_units_sold", "INTEGER", "sa.Integer()", "m.IntegerField(null=True)",
        "pw.IntegerField(null=True)", "",
    ),
    (
        "variance_pct", "{float}", "sa.Float()", "m.FloatField(null=True)",
        "pw.DoubleField(null=True)", "",
    ),
    (
        "uploaded_at", "{time} NOT NULL DEFAULT {now}",
        "sa.DateTime(), server_default=sa.func.now()",
        "m.DateTimeField(auto_now_add=True)",
        "pw.DateTimeField(default=datetime.datetime.now)", "",
    ),
)  # fmt: skip
SQL = """
CREATE TABLE weekly_actuals (
    id {id},
    COLUMNS
    CONSTRAINT unique_workflow_week_store @-keys
        UNIQUE (workflow_id, week_number, store_id), @-keys
    FOREIGN KEY (store_id) REFERENCES stores (store_id) ON DELETE CASCADE, @-parent
    FOREIGN KEY (category_id) REFERENCES categories (category_id) ON DELETE CASCADE,
    FOREIGN KEY (workflow_id) REFERENCES workflows (workflow_id) ON DELETE CASCADE
);
CREATE INDEX idx_weekly_actuals_workflow ON weekly_actuals (workflow_id, week_number);
CREATE INDEX idx_weekly_actuals_store ON weekly_actuals (store_id);
CREATE INDEX idx_weekly_actuals_date ON weekly_actuals (week_start_date); @-keys
"""
SQL_KEYS = """
CREATE INDEX idx_weekly_actuals_date ON weekly_actuals (week_start_date);
CREATE UNIQUE INDEX unique_workflow_week_store
    ON weekly_actuals (workflow_id, week_number, store_id);
"""
ALEMBIC_ENV = """
from alembic import context
from sqlalchemy import create_engine, event
url = {sqlalchemy_url!r}
options = {{"prepare_threshold": None}} if "psycopg" in url else {{}}
engine = create_engine(url, connect_args=options)
sqlite = engine.name == "sqlite"
def connected(connection, record):
    connection.isolation_level = None
def begun(connection):
    connection.exec_driver_sql("BEGIN")
if sqlite:  # make DDL transactional
    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
with engine.connect() as connection:
    context.configure(
        connection=connection,
        render_as_batch=True,
        transactional_ddl=True if sqlite else None,
    )
    with context.begin_transaction():
        context.run_migrations()
"""
ALEMBIC_HEAD = """
import sqlalchemy as sa
from alembic import op
table, unique = "weekly_actuals", "unique_workflow_week_store"
columns = ["workflow_id", "week_number", "store_id"]
"""
ALEMBIC_FIRST = ALEMBIC_HEAD + """
revision, down_revision = "0001", None
def key(column, parent):
    return sa.ForeignKeyConstraint([column], [parent], ondelete="CASCADE")
def upgrade():
    op.create_table(
        "weekly_actuals",
        sa.Column("id", sa.Integer(), primary_key=True),
        COLUMNS
        key("workflow_id", "workflows.workflow_id"),
        key("store_id", "stores.store_id"), @-parent
        key("category_id", "categories.category_id"),
        sa.UniqueConstraint(*columns, name=unique), @-keys
    )
    op.create_index("idx_weekly_actuals_workflow", table, columns[:2])
    op.create_index("idx_weekly_actuals_store", table, ["store_id"])
    op.create_index("idx_weekly_actuals_date", table, ["week_start_date"]) @-keys
"""  # fmt: skip
ALEMBIC_NEXT = ALEMBIC_HEAD + """
revision, down_revision = "0002", "0001"
def upgrade():
    with op.batch_alter_table("weekly_actuals") as batch:
        batch.create_index("idx_weekly_actuals_date", ["week_start_date"]) @+keys
        batch.create_unique_constraint(unique, columns) @+keys
        batch.alter_column( @+type
            "actual_units_sold", existing_type=sa.String(20), type_=sa.Integer() @+type
        ) @+type
        key = ["store_id"] @+parent
        batch.create_foreign_key("fk", "stores", key, key, ondelete="CASCADE") @+parent
"""  # fmt: skip
DJANGO_SETTINGS = """
INSTALLED_APPS, USE_TZ = ["sales"], True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
DATABASES = {{"default": {django_database!r}}}
"""
DJANGO_MANAGE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
try:  # in place of mysqlclient, which would have to be compiled
    import pymysql
    pymysql.install_as_MySQLdb()
except ImportError:
    pass
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
DJANGO_HEAD = """
from django.db import migrations, models as m
def to(name):
    return m.ForeignKey("sales." + name, m.CASCADE, db_index=False)
def index(name, *fields):
    return migrations.AddIndex("WeeklyActuals", m.Index(fields=fields, name=name))
def unique(name, *fields):
    constraint = m.UniqueConstraint(fields=fields, name=name)
    return migrations.AddConstraint("WeeklyActuals", constraint)
"""
DJANGO_FIRST = DJANGO_HEAD + """
def parent(name, table):
    key = m.CharField(max_length=50, primary_key=True)
    fields = [(f"{name.lower()}_id", key)]
    return migrations.CreateModel(name, fields, {"managed": False, "db_table": table})
class Migration(migrations.Migration):
    initial = True
    operations = [
        parent("Workflow", "workflows"),
        parent("Store", "stores"),
        parent("Category", "categories"),
        migrations.CreateModel("WeeklyActuals", [
            ("id", m.AutoField(primary_key=True)),
            COLUMNS
        ], {"db_table": "weekly_actuals"}),
        index("idx_weekly_actuals_workflow", "workflow", "week_number"),
        index("idx_weekly_actuals_store", "store"),
        index("idx_weekly_actuals_date", "week_start_date"), @-keys
        unique("unique_workflow_week_store", "workflow", "week_number", "store"), @-keys
    ]
"""  # fmt: skip
DJANGO_NEXT = DJANGO_HEAD + """
class Migration(migrations.Migration):
    dependencies = [("sales", "0001_first")]
    operations = [
        index("idx_weekly_actuals_date", "week_start_date"), @+keys
        unique("unique_workflow_week_store", "workflow", "week_number", "store"), @+keys
        migrations.AlterField( @+type
            "WeeklyActuals", "actual_units_sold", m.IntegerField() @+type
        ), @+type
        migrations.AlterField("WeeklyActuals", "store", to("Store")), @+parent
    ]
"""  # fmt: skip
PEEWEE_MODEL = """
import datetime
import peewee as pw
from db.models import Category, Store, Workflow
def to(model):
    return pw.ForeignKeyField(model, on_delete="CASCADE", index=False)
class WeeklyActuals(pw.Model):
    COLUMNS
    class Meta: table_name = "weekly_actuals"
W = WeeklyActuals
W.add_index(W.workflow, W.week_number, name="idx_weekly_actuals_workflow")
W.add_index(W.store, name="idx_weekly_actuals_store")
W.add_index(W.week_start_date, name="idx_weekly_actuals_date") @-keys
unique = dict(unique=True, name="unique_workflow_week_store") @-keys
W.add_index(W.workflow, W.week_number, W.store, **unique) @-keys
"""
RUNNER_FIRST = PEEWEE_MODEL + """
def up(migrator, db):
    with db.bind_ctx([Workflow, Store, Category, WeeklyActuals]):
        db.create_tables([WeeklyActuals])
"""  # fmt: skip
RUNNER_NEXT = """
import peewee as pw
T = "weekly_actuals"
def up(migrator, db):
    migrator.migrate(migrator.add_index(T, ("week_start_date",))) @+keys
    columns = ("workflow_id", "week_number", "store_id") @+keys
    migrator.migrate(migrator.add_index(T, columns, unique=True)) @+keys
    integer = pw.IntegerField() @+type
    migrator.migrate(migrator.alter_column_type(T, "actual_units_sold", integer)) @+type
    key = ("store_id", "stores", "store_id") @+parent
    migrator.migrate(migrator.add_foreign_key_constraint(T, *key)) @+parent
"""
PW_FIRST = PEEWEE_MODEL + """
def migrate(migrator, database, *, fake=False):
    migrator.create_model(WeeklyActuals)
"""  # fmt: skip
PW_NEXT = """
import peewee as pw
from db.models import Store
T = "weekly_actuals"
def migrate(migrator, database, *, fake=False):
    migrator.add_index(T, "week_start_date") @+keys
    migrator.add_index(T, "workflow", "week_number", "store", unique=True) @+keys
    migrator.change_fields(T, actual_units_sold=pw.IntegerField()) @+type
    key = pw.ForeignKeyField(Store, on_delete="CASCADE") @+parent
    migrator.change_fields(T, store=key) @+parent
"""
DATABASE = "import db\ndatabase = DATABASE = db.connect({url!r})\n"
SCRIPT = DATABASE + """
with database.connection_context():
    for statement in {script!r}.split(";"):
        if statement.strip():
            database.execute_sql(statement)
"""  # fmt: skip
# The files of each tool: its settings; its first migration, with COLUMNS, and the next.
SETTINGS = {
    "alembic": {
        "alembic.ini": "[alembic]\nscript_location = %(here)s\n",
        "env.py": ALEMBIC_ENV,
    },
    "django": {
        "settings.py": DJANGO_SETTINGS,
        "manage.py": DJANGO_MANAGE,
        "sales/__init__.py": "",
        "sales/migrations/__init__.py": "",
    },
    "peewee-migrate": {"steps/conf.py": DATABASE},
    "runner": {"app.py": DATABASE},
    "script": {"script.py": SCRIPT},
}
STEPS = {
    "alembic": {
        "versions/0001_first.py": ALEMBIC_FIRST,
        "versions/0002_next.py": ALEMBIC_NEXT,
    },
    "django": {
        "sales/migrations/0001_first.py": DJANGO_FIRST,
        "sales/migrations/0002_next.py": DJANGO_NEXT,
    },
    "peewee-migrate": {"steps/001_first.py": PW_FIRST, "steps/002_next.py": PW_NEXT},
    "runner": {"steps/0001_first.py": RUNNER_FIRST, "steps/0002_next.py": RUNNER_NEXT},
}


def files(tool, words, change):
    """Return the text of each file, by its path."""
    engine = words["engine"]
    script = table(engine)
    if change == "keys":
        script += SQL_KEYS
    words = words | {
        "script": re.sub(
            r"CREATE (TABLE|INDEX|UNIQUE INDEX) ", r"CREATE \1 IF NOT EXISTS ", script
        )
    }
    made = {path: text.format(**words) for path, text in SETTINGS.get(tool, {}).items()}
    steps = {
        path: rendered(text, tool, change) for path, text in STEPS.get(tool, {}).items()
    }
    if tool == "yoyo":
        following = SQL_KEYS if change == "keys" else rebuild(engine)
        steps = {
            "steps/0001.first.sql": table(engine, change),
            "steps/0002.next.sql": "-- depends: 0001.first\n" + following,
        }
    return made | dict(list(steps.items())[: 2 if change else 1])


def rendered(template, tool, change):
    """Insert the columns, and remove the lines that belong to the next migration."""
    text = re.sub(
        r"^( *)COLUMNS$",
        lambda at: "\n".join(at[1] + each for each in columns(tool)),
        template,
        flags=re.M,
    )
    lines = (
        re.fullmatch(r"(.*?)(?: @([-+])(\w+))?", line).groups()
        for line in text.splitlines()
    )
    return (
        "\n".join(
            line
            for line, sign, name in lines
            if sign is None or (sign == "+") == (name == change)
        )
        + "\n"
    )


def columns(tool):
    for name, sql, alembic, django, peewee, when in COLUMNS:
        field = name.removesuffix("_id")
        yield {
            "alembic": (
                f'sa.Column("{name}", {alembic}, '
                f"nullable={'NOT NULL' not in sql}), {when}"
            ),
            "django": f'("{field}", {django}), {when}',
            "peewee-migrate": f"{field} = {peewee} {when}",
            "runner": f"{field} = {peewee} {when}",
        }.get(tool, f"{name} {sql}, {when}").rstrip()


def table(engine, change=None):
    """Return the whole table in the engine's SQL, or as it is before the change."""
    return rendered(SQL, "sql", change).format(**WORDS[engine])


def rebuild(engine):
    """Return SQLite's procedure, without triggers and without foreign keys."""
    created, indexes = (
        table(engine)
        .replace("TABLE weekly_actuals", "TABLE new_weekly_actuals")
        .split(";\n", 1)
    )
    return (
        f"{created};\nINSERT INTO new_weekly_actuals SELECT * "
        "FROM weekly_actuals;\nDROP TABLE weekly_actuals;\n"
        f"ALTER TABLE new_weekly_actuals RENAME TO weekly_actuals;\n{indexes}"
    )
