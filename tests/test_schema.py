"""The values that describe tables: names, columns, indexes, keys and CHECKs."""

import pytest

from migrations.schema import (
    NO_ROW,
    Check,
    Column,
    ForeignKey,
    Index,
    NameRule,
    Schema,
    Table,
    Type,
    name_of_guard,
    name_while_filled,
    no_value,
)

INTEGER = Type("INTEGER", "integer", 4)


def table(*columns, **parts):
    found = {name.lower(): Column(name, INTEGER) for name in columns}
    return Table("t", columns=found, **parts)


# -- names


@pytest.mark.parametrize(
    ("rule", "keys"),
    [
        (NameRule.EXACT, ["Aé", "AÉ", "aé"]),
        (NameRule.IGNORE_ASCII_CASE, ["aé", "aÉ", "aé"]),
        (NameRule.IGNORE_CASE, ["aé", "aé", "aé"]),
    ],
)
def test_names_that_are_the_same(rule, keys):
    assert [rule.key(name) for name in ("Aé", "AÉ", "aé")] == keys


def test_name_while_a_column_is_filled_has_a_limit():
    assert name_while_filled("a") == "a__fill"
    assert name_while_filled("a" * 60) == "a" * 50 + "__fill"


def test_name_of_a_guard_has_a_limit_in_bytes():
    assert name_of_guard("t", "a") == "t_a__empty"
    name = name_of_guard("t", "é" * 40)
    assert name == "t_" + "é" * 27 + "__empty"
    assert name_of_guard("t", "a" * 60) == "t_" + "a" * 54 + "__empty"
    assert len(name.encode()) == len(name_of_guard("t", "a" * 60)) == 63


# -- types and columns


@pytest.mark.parametrize(
    ("one", "other", "covers"),
    [
        (("string", 20), ("string", 9), True),
        (("string", 9), ("string", 9), True),
        (("string", 9), ("string", 20), False),
        (("string", None), ("string", 20), True),
        (("string", 20), ("string", None), False),
        (("string", 20), ("blob", 9), False),
        (("decimal", 9, 2), ("decimal", 5, 2), True),
        (("decimal", 9, 3), ("decimal", 5, 2), False),
    ],
)
def test_type_that_covers_another(one, other, covers):
    assert Type("", *one).covers(Type("", *other)) is covers


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (Type("", "decimal", 5, 2), "decimal of (5, 2)"),
        (Type("", "decimal", 5, 0), "decimal of (5, 0)"),
        (Type("", "string", 9), "string of 9"),
        (Type("", "datetime", 0), "datetime of 0"),
        (Type("", "date"), "date"),
    ],
)
def test_text_of_a_type(type_, text):
    assert str(type_) == text


@pytest.mark.parametrize(
    ("options", "optional"),
    [
        ({}, False),
        ({"null": True}, True),
        ({"default": "NULL"}, True),
        ({"auto_increment": True}, True),
        ({"generated": True}, True),
    ],
)
def test_column_that_needs_a_value(options, optional):
    column = Column("a", INTEGER, **{"null": False, **options})
    assert column.optional is optional


def test_current_name_is_the_old_one_until_it_is_renamed():
    assert Column("a", INTEGER).current_name == "a"
    assert Column("a", INTEGER, old_name="b").current_name == "b"
    assert Table("a").current_name == "a"
    assert Table("a", old_name="b").current_name == "b"


def test_table_with_old_names():
    assert not table("a").has_old_names
    assert Table("t", old_name="s").has_old_names
    renamed = table("a").with_column(Column("A", INTEGER, old_name="b"))
    assert renamed.has_old_names
    assert renamed.columns == {"a": Column("A", INTEGER, old_name="b")}


# -- indexes


@pytest.mark.parametrize(
    ("index", "plain", "all_rows", "text"),
    [
        (Index("i", ("a", "b")), True, True, "(a, b)"),
        (Index("i", ("a",), unique=True), True, True, "UNIQUE (a)"),
        (Index("i", ("a",), valid=False), True, False, "INVALID (a)"),
        (Index("i", ("a",), condition="b > 0"), False, False, "(a) WHERE b > 0"),
        (Index("i", ("a",), condition=""), False, False, "(a) WHERE "),
        (Index("i", ("(a)",), definition="CREATE"), False, True, "((a))"),
    ],
)
def test_index(index, plain, all_rows, text):
    assert (index.is_plain, index.covers_all_rows) == (plain, all_rows)
    assert str(index) == text


def test_columns_of_an_index():
    names = ["a", "b", "c"]
    assert Index("i", ("b", "a")).columns_among(names) == ("b", "a")
    expression = Index("i", ("(lower(c))", "a DESC"), definition="CREATE")
    assert expression.columns_among(names) == ("a", "c")
    assert Index("i", ("b", "x")).columns_among(names) == ("b",)


@pytest.mark.parametrize(
    ("part", "column"),
    [
        ("a", "a"),
        ("a DESC", "a"),
        ("a(10)", "a"),
        ("ab DESC", "ab"),
        ("a b", "a b"),
        ("a b DESC", "a b"),
        ("(lower(a))", ""),
        ("abc", ""),
    ],
)
def test_column_of_a_part_of_an_index(part, column):
    assert table("a", "ab", "a b").column_of_part(part) == column


def test_unique_keys_are_those_of_all_rows():
    made = table(
        "a",
        primary_key=("id",),
        indexes=(
            Index("one", ("a",), unique=True),
            Index("two", ("a",), unique=True),
            Index("plain", ("b",)),
            Index("part", ("c",), unique=True, condition="c > 0"),
            Index("broken", ("d",), unique=True, valid=False),
            Index("id", ("id",), unique=True),
        ),
    )
    assert made.unique_keys() == (("id",), ("a",))


# -- foreign keys

KEY = ForeignKey(("a",), "p", ("id",))


@pytest.mark.parametrize(
    ("other", "same", "equivalent", "as_declared"),
    [
        (KEY, True, True, True),
        (KEY._replace(name="other", valid=False), True, True, True),
        (KEY._replace(columns=("b",)), False, False, False),
        (KEY._replace(parent="q"), False, False, False),
        (KEY._replace(parent_columns=("b",)), False, False, False),
        (KEY._replace(on_delete="CASCADE"), True, False, False),
        (KEY._replace(on_update="CASCADE"), True, False, False),
        (KEY._replace(deferrable="DEFERRABLE"), True, True, False),
    ],
)
def test_foreign_keys_that_do_the_same(other, same, equivalent, as_declared):
    assert KEY.same_reference(other) is same
    assert KEY.equivalent(other) is equivalent
    assert KEY.is_as_declared(other) is as_declared


def test_key_that_is_checked_later_than_declared_is_accepted():
    assert KEY._replace(deferrable="DEFERRABLE").is_as_declared(KEY)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (KEY, "REFERENCES p (id) ON DELETE NO ACTION"),
        (
            KEY._replace(on_update="RESTRICT", on_delete="CASCADE"),
            "REFERENCES p (id) ON DELETE CASCADE",
        ),
        (
            ForeignKey(
                ("a", "b"), "p", ("x", "y"), "SET NULL", "CASCADE", "n", False, "D"
            ),
            "REFERENCES p (x, y) ON DELETE SET NULL ON UPDATE CASCADE D, not validated",
        ),
    ],
)
def test_text_of_a_foreign_key(key, text):
    assert str(key) == text


# -- tables


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("table", True),
        ("partitioned table", True),
        ("view", False),
        ("materialized view", False),
    ],
)
def test_kind_of_a_table(kind, expected):
    assert Table("t", kind).is_table is expected


def test_objects_are_found_whatever_the_case_is():
    index, check = Index("By_A", ("a",)), Check("Positive", "a > 0")
    made = table("A", indexes=(Index("x", ()), index), checks=(Check("", "1"), check))
    assert made.column_named("a") == made.column_named("A") == made.columns["a"]
    assert made.index_named("by_a") is index
    assert made.check_named("positive") is check
    assert (made.column_named("b"), made.index_named("b")) == (None, None)
    assert made.check_named("b") is None
    exact = made._replace(names=NameRule.EXACT)
    assert exact.index_named("by_a") is None
    assert exact.index_named("By_A") is index


def test_column_is_dropped_with_what_belongs_to_it():
    left = (
        Index("left", ("b",)),
        Index("named_a", ("b",), definition="CREATE INDEX a ON a (b)"),
    )
    made = table(
        "a",
        "b",
        indexes=(
            left[0],
            Index("plain", ("b", "a DESC")),
            left[1],
            Index("expression", ("(x)",), definition="CREATE INDEX i ON t (lower(A))"),
            Index("part", ("b",), definition="CREATE INDEX i ON t (b) WHERE a > 0"),
        ),
        checks=(Check("one", "a > 0"), Check("two", "b > 0"), Check("", "A < b")),
        foreign_keys=(
            ForeignKey(("b",), "p", ("id",)),
            ForeignKey(("b", "a"), "p", ("x", "y")),
        ),
    )
    assert [each.name for each in made.indexes_with("A")] == [
        "plain",
        "expression",
        "part",
    ]
    assert [each.name for each in made.checks_with("a")] == ["one", ""]
    assert made.foreign_keys_with("A") == made.foreign_keys[1:]
    dropped = made.with_column_dropped("a")
    assert list(dropped.columns) == ["b"]
    assert dropped.indexes == left
    assert dropped.checks == (Check("two", "b > 0"),)
    assert dropped.foreign_keys == made.foreign_keys[:1]


def test_guards_that_an_interrupted_run_has_left():
    guard = Check("t_a__empty", '("a" IS NULL)')
    made = table(
        "a",
        checks=(
            Check("own", '"a" IS NULL'),
            guard,
            Check("t_b__empty", '"b" IS NULL'),
            Check("t_a2__empty", '"a" IS NOT NULL'),
        ),
    )
    assert made.left_guards(no_value("a")) == (guard,)


def test_guard_that_an_interrupted_rollback_has_left():
    guard = Check("t__empty", "(1 = 0)")
    made = table("a", checks=(Check("own", "1 = 0"), guard))
    assert made.left_guards(NO_ROW) == (guard,)
    assert made.left_guards(no_value("a")) == ()


def test_schema_is_a_mapping_that_does_not_change():
    schema = Schema({"a": Table("a")})
    assert (len(schema), list(schema), schema["a"]) == (1, ["a"], Table("a"))
    added = schema.with_table("b", Table("b"))
    assert (len(schema), sorted(added)) == (1, ["a", "b"])
    assert len(Schema()) == 0


def test_schema_with_and_without_tables():
    one = Table("a", foreign_keys=(KEY,))
    schema = Schema({"a": one, "b": Table("b")})
    assert repr(schema) == "Schema(a, b)"
    assert list(schema.without(["b", "c"])) == ["a"]
    changed = schema.with_changed_keys(lambda key: key._replace(parent="q"))
    assert changed["a"].foreign_keys == (KEY._replace(parent="q"),)
    assert changed["b"] == Table("b")
    assert schema["a"] == one
