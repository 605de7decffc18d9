"""A converted value means what it meant before, or the run is refused.

Every type of an engine is converted to every type that a field can have, with the
values of `conversion_values`.
"""

import contextlib
import datetime
import decimal
import json
import re
import uuid

import peewee
import pytest
from conversion_values import VALUES
from drivers import only_on, server_of

import db
from migrations.errors import ChangeRefused, MigrationError
from migrations.phase import Phase

pytestmark = pytest.mark.drivers


def cases():
    found = []
    for server, values in VALUES.items():
        engine, server_marks = only_on(server)
        for source in values.sources:
            marks = list(server_marks)
            if source not in values.quick:
                marks.append(pytest.mark.exhaustive)
            name = f"{server}-{source or 'no type'}".replace(" ", "_")
            found.append(pytest.param(engine, source, id=name, marks=marks))
    return found


def phase_of(fields):
    meta = type("Meta", (), {"table_name": "item"})
    item = type("Item", (peewee.Model,), {**fields, "Meta": meta})
    return Phase("Items", requires={}, manages=[item])


def fields_of(made, values, unique):
    """Return a field of each type, without those that the database does not have."""
    fields = {}
    for name, field in values.targets.items():
        column = f"as_{name.replace(' ', '_').lower()}"
        fields[column] = field(null=True, unique=unique)
        if unique:
            with contextlib.suppress(MigrationError):
                phase_of({column: fields[column]}).check(db.connect(made.url))
                continue
            del fields[column]
            fields[column] = field(null=True)
    return fields


def create(made, values, source, fields):
    """Create a table whose columns all have the same values.

    :return: whether the database can do that.
    """
    made.execute("DROP TABLE IF EXISTS item", *values.settings)
    columns = list(fields)
    unique = [name for name in columns if fields[name].unique]
    items = [f"id {values.key}", *(f"{name} {source} NULL" for name in columns)]
    items += [f"UNIQUE ({name})" for name in unique]
    if not attempt(made, f"CREATE TABLE item ({', '.join(items)}){values.table}"):
        return False
    rows = [
        f"({', '.join([value] * len(columns))})"
        for value in (*values.sources[source], "NULL")
    ]
    insert = f"INSERT INTO item ({', '.join(columns)}) VALUES "
    if not unique:
        made.execute(insert + ", ".join(rows))
        return True
    for row in rows:
        attempt(made, insert + row)
    return True


def attempt(made, statement):
    try:
        made.execute(statement)
    except Exception:
        return False
    return True


def texts(made, values, column, type_):
    """Return the value of each row of a type as people read it."""
    text = values.texts.get(type_.partition("(")[0], values.text)
    text = text.replace("value", column)
    return dict(made.query(f"SELECT id, {text} FROM item ORDER BY id"))


def convertible(made, fields):
    """Return the fields to whose types a phase converts at all.

    If rows conflict with that, empty what the refusal names.
    """
    refusal = refusal_of_check(made, phase_of(fields))
    not_converted = re.findall(r"item[.](\w+): expected [^;]* does not conv", refusal)
    if not_converted:
        fields = {name: fields[name] for name in fields if name not in not_converted}
        refusal = refusal_of_check(made, phase_of(fields))
    if not refusal:
        return fields
    conflicts = re.findall(
        r"item[.](?:item_)?(\w+?)(?:_key)?: .*see: SELECT [*] (FROM .*)", refusal
    )
    assert conflicts, refusal
    for column, rows in conflicts:
        # MySQL accepts the casts of the condition in a SELECT only.
        for (row,) in made.query(f"SELECT w.id {rows}"):
            made.execute(f"UPDATE item SET {column} = NULL WHERE id = {row}")
    return fields


def refusal_of_check(made, phase):
    """Return why a run would be refused, or ""."""
    try:
        phase.check(db.connect(made.url))
    except ChangeRefused as error:
        return str(error)
    return ""


# -- what a text means


def number(text):
    if re.search("^[+-]?0[0-9]|^[+]|[_nN ]", text):
        raise ValueError(f"no number reads as {text}")
    return decimal.Decimal(text)


def point_in_time(text):
    return datetime.datetime.fromisoformat(re.sub("[+]00$", "", text))


def truth(text):
    meanings = {"true": True, "t": True, "1": True}
    meanings.update({"false": False, "f": False, "0": False})
    return meanings[text]


def document(text):
    return json.loads(text, parse_float=decimal.Decimal)


MEANINGS = (
    number,
    point_in_time,
    datetime.time.fromisoformat,
    truth,
    document,
    uuid.UUID,
)


def same(before, after):
    """Whether two texts, of a value before and after its conversion, mean the same."""
    if isinstance(before, bytes) or isinstance(after, bytes):
        return before == after
    if before is None or after is None:
        return False
    before, after = str(before), str(after)
    if after in (before, f"\\x{before.encode().hex()}"):
        return True
    for meaning in MEANINGS:
        with contextlib.suppress(ValueError, ArithmeticError, KeyError):
            if meaning(before) == meaning(after):
                return True
    return False


@pytest.mark.parametrize(("engine", "source"), cases())
def test_converted_values_are_the_same_or_refused(world, engine, source):
    assert_same_or_refused(world(engine), VALUES[server_of(engine)], source)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("engine", "source"), cases())
def test_unique_values_are_the_same_or_refused(world, engine, source):
    assert_same_or_refused(
        world(engine), VALUES[server_of(engine)], source, unique=True
    )


def assert_same_or_refused(made, values, source, unique=False):
    has_members = source.startswith(("enum", "set"))
    if unique and has_members and not getattr(made, "is_mariadb", True):
        # In latin1, 1062 "Duplicate entry '1'" for '1' and '10': the run is refused.
        pytest.skip("MySQL 9.7 cannot convert an ENUM or a SET with a unique index")
    made.clear()
    fields = fields_of(made, values, unique)
    if not create(made, values, source, fields):
        assert unique, "the table cannot be created"
        return  # the type has no index
    converted = convertible(made, fields)
    before = {name: texts(made, values, name, source) for name in fields}
    phase = phase_of(converted)
    phase.run(db.connect(made.url), smoke_test=False, statistics=False)
    changed = []
    for name in fields:
        type_now = "" if name in converted else source
        for row, text in texts(made, values, name, type_now).items():
            old = before[name][row]
            if "zerofill" in source:
                old = old and old.lstrip("0")
                text = text and text.lstrip("0")
            if text is not old and not same(old, text):
                changed.append((name, old, text))
    assert not changed, "\n".join(map(str, changed))
