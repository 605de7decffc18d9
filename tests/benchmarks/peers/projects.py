"""The same table, and the same next step, written for each tool as its documentation has it.

A line that ends in `@-keys` is left out of the first migration where the next one adds the keys; one that ends
in `@+type` is there only where the next one changes that type. So every tool starts from the state it describes.
"""

import re

WORDS = {
    "sqlite": {"id": "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT", "float": "FLOAT", "time": "DATETIME",
               "now": "CURRENT_TIMESTAMP"},
    "postgresql": {"id": "SERIAL PRIMARY KEY", "float": "DOUBLE PRECISION", "time": "TIMESTAMP",
                   "now": "(now() AT TIME ZONE 'utc')"},
    "mysql": {"id": "INTEGER NOT NULL AUTO_INCREMENT PRIMARY KEY", "float": "DOUBLE", "time": "DATETIME",
              "now": "(UTC_TIMESTAMP())"},
}  # fmt: skip
# In SQL, for Alembic, for Django, for Peewee; when it is there.
COLUMNS = (
    ("workflow_id", "VARCHAR(50) NOT NULL", "sa.String(50)", 'to("Workflow")', "to(Workflow)", ""),
    ("week_number", "INTEGER NOT NULL", "sa.Integer()", "m.IntegerField()", "pw.IntegerField()", ""),
    ("week_start_date", "DATE NOT NULL", "sa.Date()", "m.DateField()", "pw.DateField()", ""),
    ("week_end_date", "DATE NOT NULL", "sa.Date()", "m.DateField()", "pw.DateField()", ""),
    ("store_id", "VARCHAR(50) NOT NULL", "sa.String(50)", 'to("Store")', "to(Store)", "@-parent"),
    ("store_id", "VARCHAR(50) NOT NULL", "sa.String(50)", 'm.CharField(max_length=50, db_column="store_id")',
     'pw.CharField(50, column_name="store_id")', "@+parent"),
    ("category_id", "VARCHAR(50) NOT NULL", "sa.String(50)", 'to("Category")', "to(Category)", ""),
    ("actual_units_sold", "INTEGER NOT NULL", "sa.Integer()", "m.IntegerField()", "pw.IntegerField()", "@-type"),
    ("actual_units_sold", "VARCHAR(20) NOT NULL", "sa.String(20)", "m.CharField(max_length=20)", "pw.CharField(20)",
     "@+type"),
    ("forecast_units_sold", "INTEGER", "sa.Integer()", "m.IntegerField(null=True)", "pw.IntegerField(null=True)", ""),
    ("variance_pct", "{float}", "sa.Float()", "m.FloatField(null=True)", "pw.DoubleField(null=True)", ""),
    ("uploaded_at", "{time} NOT NULL DEFAULT {now}", "sa.DateTime(), server_default=sa.func.now()",
     "m.DateTimeField(auto_now_add=True)", "pw.DateTimeField(default=datetime.datetime.now)", ""),
)  # fmt: skip
SQL = """
CREATE TABLE weekly_actuals (
    id {id},
    COLUMNS
    CONSTRAINT unique_workflow_week_store UNIQUE (workflow_id, week_number, store_id), @-keys
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
CREATE UNIQUE INDEX unique_workflow_week_store ON weekly_actuals (workflow_id, week_number, store_id);
"""
ALEMBIC_ENV = """
from alembic import context
from sqlalchemy import create_engine, event
url = {sqlalchemy_url!r}
engine = create_engine(url, connect_args={{"prepare_threshold": None}} if "psycopg" in url else {{}})
sqlite = engine.name == "sqlite"
if sqlite:  # so that DDL is transactional there
    event.listen(engine, "connect", lambda connection, record: setattr(connection, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
with engine.connect() as connection:
    context.configure(connection=connection, render_as_batch=True, transactional_ddl=True if sqlite else None)
    with context.begin_transaction():
        context.run_migrations()
"""
ALEMBIC_HEAD = """
import sqlalchemy as sa
from alembic import op
unique = "unique_workflow_week_store"
"""
ALEMBIC_FIRST = ALEMBIC_HEAD + """
revision, down_revision = "0001", None
def upgrade():
    op.create_table(
        "weekly_actuals",
        sa.Column("id", sa.Integer(), primary_key=True),
        COLUMNS
        sa.ForeignKeyConstraint(["workflow_id"], ["workflows.workflow_id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.store_id"], ondelete="CASCADE"), @-parent
        sa.ForeignKeyConstraint(["category_id"], ["categories.category_id"], ondelete="CASCADE"),
        sa.UniqueConstraint("workflow_id", "week_number", "store_id", name=unique), @-keys
    )
    op.create_index("idx_weekly_actuals_workflow", "weekly_actuals", ["workflow_id", "week_number"])
    op.create_index("idx_weekly_actuals_store", "weekly_actuals", ["store_id"])
    op.create_index("idx_weekly_actuals_date", "weekly_actuals", ["week_start_date"]) @-keys
"""  # fmt: skip
ALEMBIC_NEXT = ALEMBIC_HEAD + """
revision, down_revision = "0002", "0001"
def upgrade():
    with op.batch_alter_table("weekly_actuals") as batch:
        batch.create_index("idx_weekly_actuals_date", ["week_start_date"]) @+keys
        batch.create_unique_constraint(unique, ["workflow_id", "week_number", "store_id"]) @+keys
        batch.alter_column("actual_units_sold", existing_type=sa.String(20), type_=sa.Integer()) @+type
        batch.create_foreign_key("fk_store", "stores", ["store_id"], ["store_id"], ondelete="CASCADE") @+parent
"""  # fmt: skip
DJANGO_SETTINGS = """
INSTALLED_APPS, USE_TZ, DEFAULT_AUTO_FIELD = ["sales"], True, "django.db.models.AutoField"
DATABASES = {{"default": {django_database!r}}}
"""
DJANGO_MANAGE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
try:  # where mysqlclient, which has to be compiled, is not installed
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
    return migrations.AddConstraint("WeeklyActuals", m.UniqueConstraint(fields=fields, name=name))
"""
DJANGO_FIRST = DJANGO_HEAD + """
def parent(name, table):
    key = m.CharField(max_length=50, primary_key=True)
    return migrations.CreateModel(name, [(f"{name.lower()}_id", key)], {"managed": False, "db_table": table})
class Migration(migrations.Migration):
    initial = True
    operations = [
        parent("Workflow", "workflows"), parent("Store", "stores"), parent("Category", "categories"),
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
        migrations.AlterField("WeeklyActuals", "actual_units_sold", m.IntegerField()), @+type
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
W.add_index(W.workflow, W.week_number, W.store, unique=True, name="unique_workflow_week_store") @-keys
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
    migrator.migrate(migrator.add_index(T, ("workflow_id", "week_number", "store_id"), unique=True)) @+keys
    migrator.migrate(migrator.alter_column_type(T, "actual_units_sold", pw.IntegerField())) @+type
    migrator.migrate(migrator.add_foreign_key_constraint(T, "store_id", "stores", "store_id")) @+parent
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
    migrator.change_fields(T, store=pw.ForeignKeyField(Store, on_delete="CASCADE")) @+parent
"""
DATABASE = "import db\ndatabase = DATABASE = db.connect({url!r})\n"
SCRIPT = DATABASE + """
with database.connection_context():
    for statement in {script!r}.split(";"):
        if statement.strip():
            database.execute_sql(statement)
"""  # fmt: skip
# What lies in each tool's folder: its settings; its first migration, with the place of COLUMNS, and the next.
SETTINGS = {
    "alembic": {"alembic.ini": "[alembic]\nscript_location = %(here)s\n", "env.py": ALEMBIC_ENV},
    "django": {"settings.py": DJANGO_SETTINGS, "manage.py": DJANGO_MANAGE, "sales/__init__.py": "",
               "sales/migrations/__init__.py": ""},
    "peewee-migrate": {"steps/conf.py": DATABASE},
    "runner": {"app.py": DATABASE},
    "script": {"script.py": SCRIPT},
}  # fmt: skip
STEPS = {
    "alembic": {"versions/0001_first.py": ALEMBIC_FIRST, "versions/0002_next.py": ALEMBIC_NEXT},
    "django": {"sales/migrations/0001_first.py": DJANGO_FIRST, "sales/migrations/0002_next.py": DJANGO_NEXT},
    "peewee-migrate": {"steps/001_first.py": PW_FIRST, "steps/002_next.py": PW_NEXT},
    "runner": {"steps/0001_first.py": RUNNER_FIRST, "steps/0002_next.py": RUNNER_NEXT},
}


def files(tool, words, change):
    """Return the text of each file, by its path."""
    engine = words["engine"]
    script = table(engine) + SQL_KEYS * (change == "keys")
    words = words | {"script": re.sub(r"CREATE (TABLE|INDEX|UNIQUE INDEX) ", r"CREATE \1 IF NOT EXISTS ", script)}
    made = {path: text.format(**words) for path, text in SETTINGS.get(tool, {}).items()}
    steps = {path: drawn(text, tool, change) for path, text in STEPS.get(tool, {}).items()}
    if tool == "yoyo":
        following = SQL_KEYS if change == "keys" else rebuild(engine)
        steps = {"steps/0001.first.sql": table(engine, change),
                 "steps/0002.next.sql": "-- depends: 0001.first\n" + following}  # fmt: skip
    return made | dict(list(steps.items())[: 2 if change else 1])


def drawn(template, tool, change):
    """Write out the columns, and leave out what the next migration is going to bring."""
    text = re.sub(r"^( *)COLUMNS$", lambda at: "\n".join(at[1] + each for each in columns(tool)), template, flags=re.M)
    lines = (re.fullmatch(r"(.*?)(?: @([-+])(\w+))?", line).groups() for line in text.splitlines())
    return "\n".join(line for line, sign, name in lines if sign is None or (sign == "+") == (name == change)) + "\n"


def columns(tool):
    for name, sql, alembic, django, peewee, when in COLUMNS:
        field = name.removesuffix("_id")
        yield {
            "alembic": f'sa.Column("{name}", {alembic}, nullable={"NOT NULL" not in sql}), {when}',
            "django": f'("{field}", {django}), {when}',
            "peewee-migrate": f"{field} = {peewee} {when}",
            "runner": f"{field} = {peewee} {when}",
        }.get(tool, f"{name} {sql}, {when}").rstrip()


def table(engine, change=None):
    """Return the whole table in the engine's SQL, or as it is before the change."""
    return drawn(SQL, "sql", change).format(**WORDS[engine])


def rebuild(engine):
    """The procedure of SQLite's documentation, by who knows of no trigger; foreign keys are off in that connection."""
    created, indexes = table(engine).replace("TABLE weekly_actuals", "TABLE new_weekly_actuals").split(";\n", 1)
    return (
        f"{created};\nINSERT INTO new_weekly_actuals SELECT * FROM weekly_actuals;\nDROP TABLE weekly_actuals;\n"
        f"ALTER TABLE new_weekly_actuals RENAME TO weekly_actuals;\n{indexes}"
    )
