"""Small functions on SQL as text, and the parts of a CREATE INDEX."""

from decimal import Decimal

import pytest

from migrations import index_text, sql_text


@pytest.mark.parametrize(
    ("value", "sql"),
    [
        (None, "NULL"),
        (True, "TRUE"),
        (False, "FALSE"),
        (3, "3"),
        (2.5, "2.5"),
        (Decimal("1.50"), "1.50"),
        ("o'clock", "'o''clock'"),
    ],
)
def test_value_as_sql(value, sql):
    assert sql_text.value_literal(value) == sql


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("CHECK (a > 'b')", "CHECK (xxxxxxx)"),
        ("a, 'b, c', \"d\"", "a, 'xxxx', \"x\""),
        ("`a``b` [c d]", "`xxxx` [xxx]"),
        ("f(g(x), y) + (z)", "f(xxxxxxx) + (x)"),
        ("a) b (c", "a) b (x"),
    ],
)
def test_masked_text(sql, expected):
    assert sql_text.masked(sql) == expected
    assert len(expected) == len(sql)


def test_list_is_split_outside_of_quotes_and_parentheses():
    parts = sql_text.split_sql("a, f(b, c) , 'd,e', \"f,g\"", "[^,]+")
    assert parts == ["a", "f(b, c)", "'d,e'", '"f,g"']


@pytest.mark.parametrize(
    ("default", "meaning"),
    [
        ("'it''s'", "it's"),
        ("( ('a') )", "a"),
        ("''", ""),
        ("'", "'"),
        ("TRUE", "1"),
        ("false", "0"),
        ("1.50", "1.5"),
        ("-2.0", "-2"),
        ("10", "10"),
        ("100.", "100"),
        (".50", ".5"),
        ("now()", "now()"),
        (" CURRENT_DATE ", "CURRENT_DATE"),
    ],
)
def test_meaning_of_a_literal(default, meaning):
    assert sql_text.literal_meaning(default) == meaning


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        ("1", True),
        (" -1.5 ", True),
        ("'it''s'", True),
        ("true", True),
        ("FALSE", True),
        ("Null", True),
        ("1 + 1", False),
        ("now()", False),
        ("'a' || 'b'", False),
    ],
)
def test_default_that_is_a_literal(default, expected):
    assert sql_text.is_literal(default) is expected


def test_comparable_text_keeps_literals():
    assert sql_text.comparable("`A` > 'B c' AND  \"d\"") == "a>'B c'andd"
    assert sql_text.comparable("(A)") == "(a)"
    assert sql_text.comparable_condition("([A] > 'B (c)')") == "a>'B (c)'"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ('"a""b"', 'a"b'),
        ("`a``b`", "a`b"),
        ("[a b]", "a b"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_name_without_quotes(name, expected):
    assert sql_text.unquoted(name) == expected


def test_words_of_sql_are_names_and_no_texts():
    sql = 'lower("My ""Name""") > \'text\' AND `b``c` = D$1'
    assert sql_text.words_of(sql) == {"lower", 'my "name"', "and", "b`c", "d$1"}
    assert sql_text.mentions(sql, "B`C")
    assert not sql_text.mentions(sql, "text")
    assert sql_text.mentioned_names(sql, ["d$1", "other", "Lower"]) == ("d$1", "Lower")


def test_error_in_one_line():
    assert sql_text.one_line(ValueError(" one\n  two ")) == "one two"


@pytest.mark.parametrize(
    ("sql", "new", "expected"),
    [
        ("num > 1", "n", "n > 1"),
        ("NUM > 1", "n", "n > 1"),
        ("num > 1", "N m", '"N m" > 1'),
        ("num > 1", 'a"b', '"a""b" > 1'),
        ('"num" > 1', 'a"b', '"a""b" > 1'),
        ("`num` > num", "a`b", "`a``b` > num"),
        ("[num] > 1", "n", "[n] > 1"),
        ("'num' = num", "n", "'num' = n"),
        ("num(num)", "n", "num(n)"),
        ("t.num + number", "n", "t.num + number"),
        ("1 AS num", "n", "1 AS num"),
    ],
)
def test_column_of_another_name(sql, new, expected):
    assert sql_text.with_renamed_column(sql, "num", new) == expected


# -- CREATE INDEX


def parsed(sql):
    text = index_text.parse_create_index(sql)
    assert text is not None
    return text


def test_parts_of_a_create_index():
    text = parsed(
        'CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "s"."i" ON ONLY "s"."t" '
        'USING GIN ("a", lower("b") DESC NULLS LAST) NULLS  NOT DISTINCT '
        "WHERE \"c\" > 'WHERE' ;"
    )
    assert text == index_text.IndexText(
        kind="UNIQUE",
        name='"i"',
        table='"s"."t"',
        method="gin",
        parts=('"a"', 'lower("b") DESC NULLS LAST'),
        suffix="NULLS  NOT DISTINCT",
        condition="\"c\" > 'WHERE'",
    )
    assert text.nulls_are_equal
    assert not text.is_plain
    assert text.definition("t") == (
        'CREATE UNIQUE INDEX "i" ON t USING gin ("a", lower("b") DESC NULLS LAST) '
        "NULLS  NOT DISTINCT WHERE \"c\" > 'WHERE'"
    )


def test_parts_of_the_shortest_create_index():
    text = parsed("create index i on t(a)")
    assert text == index_text.IndexText("", "i", "t", "", ("a",), "", None)
    assert text.is_plain
    assert not text.nulls_are_equal
    assert text.definition("u") == "CREATE INDEX i ON u (a)"
    assert text.clause() == "INDEX i (a)"


def test_method_may_stand_before_the_table():
    text = parsed("CREATE FULLTEXT INDEX i USING HASH ON t (a) COMMENT 'x'")
    assert (text.kind, text.method, text.suffix) == ("FULLTEXT", "hash", "COMMENT 'x'")
    assert text.clause() == "FULLTEXT INDEX i USING hash (a) COMMENT 'x'"


@pytest.mark.parametrize(
    "sql", ["CREATE TABLE t (a)", "CREATE INDEX ON t (a)", "REINDEX t", ""]
)
def test_text_that_is_no_create_index(sql):
    assert index_text.parse_create_index(sql) is None


@pytest.mark.parametrize(
    ("sql", "plain"),
    [
        ("CREATE UNIQUE INDEX i ON t USING btree (a ASC, b)", True),
        ("CREATE INDEX i ON t (a DESC)", False),
        ("CREATE INDEX i ON t (a) WHERE b", False),
        ("CREATE INDEX i ON t (a) INCLUDE (b)", False),
        ("CREATE INDEX i ON t USING hash (a)", False),
        ("CREATE SPATIAL INDEX i ON t (a)", False),
    ],
)
def test_index_of_plain_columns(sql, plain):
    assert parsed(sql).is_plain is plain


@pytest.mark.parametrize(
    ("sql", "parts"),
    [
        ("CREATE INDEX i ON t (a, b ASC)", ("a", "b")),
        ("CREATE FULLTEXT INDEX i ON t (a)", ("a FULLTEXT",)),
        ("CREATE SPATIAL INDEX i ON t (a)", ("a SPATIAL",)),
        ("CREATE INDEX i ON t USING gin (a)", ("a USING gin",)),
        ("CREATE INDEX i ON t USING BTREE (a)", ("a",)),
    ],
)
def test_parts_as_those_of_a_table(sql, parts):
    assert parsed(sql).normalized_parts() == parts


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ('"a"', "a"),
        ('"a" ASC', "a"),
        ('"a" DESC', "a DESC"),
        ("`a`(10)", "a(10)"),
        ("a(10) DESC", "a(10) DESC"),
        ("a COLLATE nocase", "a COLLATE nocase"),
        ('lower("a")', '(lower("a"))'),
        ('lower("a") DESC', '(lower("a")) DESC'),
        ("(a + 1) NULLS FIRST", "(a + 1) NULLS FIRST"),
        ("a + 1 DESC NULLS LAST", "(a + 1) DESC NULLS LAST"),
    ],
)
def test_part_of_an_index(part, expected):
    assert index_text.normalized_part(part) == expected


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("a text_pattern_ops", "a"),
        ("lower(a) COLLATE c text_ops DESC", "lower(a) COLLATE c"),
        ("(a || b) gin_trgm_ops", "(a || b)"),
        ("'x'", "'x'"),
    ],
)
def test_part_without_its_operator_class(part, expected):
    assert index_text.without_operator_class(part) == expected


def never(one, other):
    return False


@pytest.mark.parametrize(
    ("second", "same"),
    [
        ('CREATE INDEX j ON u ("a", b ASC) WHERE c > 1', True),
        ("CREATE INDEX i ON t USING btree (a, b) WHERE C>1", True),
        ("CREATE UNIQUE INDEX i ON t (a, b) WHERE c > 1", False),
        ("CREATE INDEX i ON t USING hash (a, b) WHERE c > 1", False),
        ("CREATE INDEX i ON t (a, b) INCLUDE (d) WHERE c > 1", False),
        ("CREATE INDEX i ON t (a) WHERE c > 1", False),
        ("CREATE INDEX i ON t (b, a) WHERE c > 1", False),
        ("CREATE INDEX i ON t (a, b DESC) WHERE c > 1", False),
        ("CREATE INDEX i ON t (a, b COLLATE x) WHERE c > 1", False),
        ("CREATE INDEX i ON t (a, b)", False),
        ("CREATE INDEX i ON t (a, b) WHERE c > 2", False),
    ],
)
def test_same_definition_of_an_index(second, same):
    first = parsed("CREATE INDEX i ON t (a, b) WHERE c > 1")
    assert index_text.same_definition(first, parsed(second), never) is same
    assert index_text.same_definition(parsed(second), first, never) is same


def test_expressions_are_compared_by_the_database():
    first, second = (
        parsed(f"CREATE INDEX i ON t ({part}) WHERE {condition}")
        for part, condition in (("a + 1 ASC", "c = 1"), ("1 + a", "1 = c"))
    )
    asked = []

    def same(one, other):
        asked.append((one, other))
        return True

    assert index_text.same_definition(first, second, same)
    assert asked == [("a + 1", "1 + a"), ("c = 1", "1 = c")]
