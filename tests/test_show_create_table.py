"""What the texts of SHOW CREATE TABLE mean on MariaDB and MySQL, without a server."""

import pytest

from migrations.engines.mysql import show_create_table as texts
from migrations.engines.mysql.mariadb.show_create_table import MariaDBTableText
from migrations.engines.mysql.mysql.catalog import _without_introducers
from migrations.engines.mysql.mysql.show_create_table import MySQLTableText
from migrations.errors import ChangeRefused
from migrations.schema import Check, ForeignKey, Index

BOTH = pytest.mark.parametrize("text_class", [MariaDBTableText, MySQLTableText])


def text_of(*items, options="ENGINE=InnoDB DEFAULT CHARSET=utf8mb4", name="t"):
    lines = ",\n".join(f"  {item}" for item in items)
    return f"CREATE TABLE `{name}` (\n{lines}\n) {options}"


def column_of(text_class, definition):
    return text_class(text_of(definition)).table("t").columns["a"]


def details(column):
    return (
        column.type.text,
        column.type.category,
        column.null,
        column.default,
        column.auto_increment,
        column.generated,
    )


@BOTH
@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("`a` int(11)", ("int(11)", "integer", True, None, False, False)),
        (
            "`A` int(11) NOT NULL AUTO_INCREMENT",
            ("int(11)", "integer", False, None, True, False),
        ),
        (
            "`a` int(10) unsigned DEFAULT NULL",
            ("int(10) unsigned", "integer", True, None, False, False),
        ),
        (
            "`a` varchar(9) NOT NULL DEFAULT 'NOT NULL' COMMENT 'it''s CHECK'",
            ("varchar(9)", "string", False, "'NOT NULL'", False, False),
        ),
        (
            "`a` text CHARACTER SET latin1 COLLATE latin1_bin DEFAULT 'x'",
            ("text", "string", True, "'x'", False, False),
        ),
        (
            "`a` timestamp NULL DEFAULT current_timestamp() ON UPDATE now()",
            ("timestamp", "timestamp", True, "current_timestamp()", False, False),
        ),
        (
            "`a` int(11) GENERATED ALWAYS AS (`b` + 1) VIRTUAL",
            ("int(11)", "integer", True, None, False, True),
        ),
        (
            "`a` enum('a','b c') NOT NULL",
            ("enum('a','b c')", "enum", False, None, False, False),
        ),
    ],
)
def test_column(text_class, definition, expected):
    assert details(column_of(text_class, definition)) == expected


@BOTH
@pytest.mark.parametrize(
    ("shown", "default"),
    [
        (r"'it\'s'", "'it''s'"),
        ("'it''s'", "'it''s'"),
        (r"'a\nb'", "'a\nb'"),
        (r"'a\rb'", "'a\rb'"),
    ],
)
def test_default_of_a_text(text_class, shown, default):
    column = column_of(text_class, f"`a` varchar(9) DEFAULT {shown}")
    assert column.default == default


@pytest.mark.parametrize(
    ("type_text", "default"),
    [
        ("int", "5"),
        ("double", "5"),
        ("decimal(5,2)", "5"),
        ("year", "5"),
        ("varchar(9)", "'5'"),
        ("date", "'5'"),
    ],
)
def test_default_of_a_number_on_mysql(type_text, default):
    assert column_of(MySQLTableText, f"`a` {type_text} DEFAULT '5'").default == default


@BOTH
@pytest.mark.parametrize(
    ("definition", "collation"),
    [
        ("`a` varchar(9) COLLATE utf8mb4_bin", "utf8mb4_bin"),
        ("`a` char(9) CHARACTER SET latin1 COLLATE latin1_bin", "latin1_bin"),
        ("`a` enum('a') COLLATE utf8mb4_bin", "utf8mb4_bin"),
        ("`a` set('a') COLLATE utf8mb4_bin", "utf8mb4_bin"),
        ("`a` int", None),
        ("`a` blob", None),
    ],
)
def test_collation_of_a_column(text_class, definition, collation):
    assert column_of(text_class, definition).collation == collation


@pytest.mark.parametrize(
    ("text_class", "options", "collation"),
    [
        (MariaDBTableText, "DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_x", "utf8mb4_x"),
        (MariaDBTableText, "DEFAULT CHARSET=latin1", "latin1"),
        (MySQLTableText, "DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_x", "utf8mb4_x"),
        (MySQLTableText, "DEFAULT CHARSET=utf8mb3", "utf8mb3_general_ci"),
        (MySQLTableText, "COMMENT='CHARSET=latin1'", ""),
        *(
            (MySQLTableText, f"DEFAULT CHARSET={charset}", collation)
            for charset, collation in (
                ("big5", "big5_chinese_ci"),
                ("binary", "binary"),
                ("cp932", "cp932_japanese_ci"),
                ("dec8", "dec8_swedish_ci"),
                ("eucjpms", "eucjpms_japanese_ci"),
                ("euckr", "euckr_korean_ci"),
                ("gb18030", "gb18030_chinese_ci"),
                ("gb2312", "gb2312_chinese_ci"),
                ("gbk", "gbk_chinese_ci"),
                ("latin1", "latin1_swedish_ci"),
                ("sjis", "sjis_japanese_ci"),
                ("swe7", "swe7_swedish_ci"),
                ("tis620", "tis620_thai_ci"),
                ("ujis", "ujis_japanese_ci"),
            )
        ),
    ],
)
def test_usual_collation_of_a_table(text_class, options, collation):
    text = text_class(text_of("`a` varchar(9)", options=f"ENGINE=InnoDB {options}"))
    assert text.usual_collation() == collation
    assert text.table("t").columns["a"].collation == collation


def test_json_is_a_type_of_mysql_and_a_check_of_mariadb():
    mysql = MySQLTableText(text_of("`a` json DEFAULT NULL")).table("t")
    assert mysql.columns["a"].type.category == "json"
    assert mysql.columns["a"].collation is None
    mariadb = MariaDBTableText(
        text_of(
            "`a` longtext COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(`a`))",
            "`b` int(11) DEFAULT 1 CHECK (`b` > 0)",
        )
    ).table("t")
    assert mariadb.columns["a"].type.category == "json"
    assert mariadb.columns["a"].type.size is None
    assert mariadb.columns["a"].collation == "utf8mb4_bin"
    assert mariadb.checks == (Check("b", "`b` > 0"),)


@BOTH
@pytest.mark.parametrize(
    ("item", "index"),
    [
        ("KEY `i` (`A`,`b`)", Index("i", ("a", "b"))),
        ("UNIQUE KEY `I` (`a`)", Index("I", ("a",), unique=True)),
        (
            "KEY `i` (`a`(10),`b` DESC)",
            Index("i", ("a(10)", "b DESC"), definition="KEY `i` (`a`(10),`b` DESC)"),
        ),
        (
            "FULLTEXT KEY `i` (`a`)",
            Index("i", ("a FULLTEXT",), definition="FULLTEXT KEY `i` (`a`)"),
        ),
        (
            "SPATIAL KEY `i` (`a`)",
            Index("i", ("a SPATIAL",), definition="SPATIAL KEY `i` (`a`)"),
        ),
        (
            "KEY `i` (`a`) IGNORED",
            Index("i", ("a IGNORED",), definition="KEY `i` (`a`) IGNORED"),
        ),
        (
            "KEY `i` (`a`) /*!80000 INVISIBLE */",
            Index(
                "i", ("a IGNORED",), definition="KEY `i` (`a`) /*!80000 INVISIBLE */"
            ),
        ),
    ],
)
def test_index(text_class, item, index):
    table = text_class(text_of("`a` int", "`b` int", item)).table("t")
    assert table.indexes == (index,)
    assert table.primary_key == ()


@BOTH
def test_keys_and_checks(text_class):
    table = text_class(
        text_of(
            "`id` int NOT NULL",
            "`Ref` int",
            "PRIMARY KEY (`id`,`Ref`)",
            "CONSTRAINT `f` FOREIGN KEY (`Ref`) REFERENCES `p` (`Id`)",
            "CONSTRAINT `g` FOREIGN KEY (`id`, `Ref`) REFERENCES `o`.`p` (`x`, `y`) "
            "ON DELETE SET NULL ON UPDATE CASCADE",
            "CONSTRAINT `ON DELETE CASCADE` FOREIGN KEY (`id`) REFERENCES `p` (`id`)",
            "CONSTRAINT `c` CHECK (`id` > 0 and 'x,y' <> ')')",
        )
    ).table("t")
    assert table.primary_key == ("id", "ref")
    assert table.foreign_keys == (
        ForeignKey(("ref",), "p", ("id",), name="f"),
        ForeignKey(("id", "ref"), "o.p", ("x", "y"), "SET NULL", "CASCADE", "g"),
        ForeignKey(("id",), "p", ("id",), name="ON DELETE CASCADE"),
    )
    assert table.checks == (Check("c", "`id` > 0 and 'x,y' <> ')'"),)
    assert table.indexes == ()


def test_check_that_is_not_enforced_on_mysql():
    table = MySQLTableText(
        text_of("`a` int", "CONSTRAINT `c` CHECK ((`a` > 0)) /*!80016 NOT ENFORCED */")
    ).table("t")
    assert table.checks == (Check("c", "(`a` > 0)", valid=False),)


@BOTH
@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ("ENGINE=InnoDB", "table"),
        ("ENGINE=InnoDB DEFAULT CHARSET=utf8mb4", "table"),
        ("ENGINE=MyISAM DEFAULT CHARSET=utf8mb4", "MyISAM table"),
        ("ENGINE=InnoDB\n PARTITION BY HASH (`a`)", "partitioned table"),
        ("ENGINE=InnoDB COMMENT='PARTITION BY'", "table"),
    ],
)
def test_kind_of_a_table(text_class, options, kind):
    assert text_class(text_of("`a` int", options=options)).table("t").kind == kind


@BOTH
def test_view_and_temporary_table(text_class):
    assert text_class("CREATE VIEW `v` AS select 1").table("v").kind == "view"
    text = text_of("`a` int").replace("CREATE", "CREATE TEMPORARY")
    with pytest.raises(ChangeRefused) as refused:
        text_class(text).table("t")
    assert str(refused.value) == (
        "the temporary table t hides the real one on this connection; "
        "drop it, then run again"
    )


@BOTH
def test_clauses_of_a_column(text_class):
    text = text_class(
        text_of("`a` int", "`B` varchar(9) NOT NULL DEFAULT 'x' COMMENT 'NOT NULL'")
    )
    assert text.clauses("b") == {
        "": "varchar(9)",
        "NOT": "NOT NULL",
        "DEFAULT": "DEFAULT 'x'",
        "COMMENT": "COMMENT 'NOT NULL'",
    }
    with pytest.raises(KeyError):
        text.clauses("c")


def test_next_number_is_left_out():
    text = text_of("`a` int", options="ENGINE=InnoDB AUTO_INCREMENT=7 COMMENT='x'")
    assert texts.without_next_number(text).endswith("ENGINE=InnoDB COMMENT='x'")


def test_statement_of_a_temporary_table():
    text = text_of(
        "`a` int",
        "KEY `i` (`a`)",
        "FULLTEXT KEY `t` (`a`)",
        "CONSTRAINT `f` FOREIGN KEY (`a`) REFERENCES `p` (`a`)",
        "CONSTRAINT `c` CHECK (`a` > 0)",
        options="ENGINE=InnoDB ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8 COMMENT='x'",
    )
    assert texts.statement_of_temporary_table(text, "`copy`", "KEY `j` (`a`)") == (
        "CREATE TEMPORARY TABLE `copy` (`a` int, KEY `i` (`a`), "
        "CONSTRAINT `c` CHECK (`a` > 0), KEY `j` (`a`)) ENGINE=InnoDB COMMENT='x'"
    )


def test_create_table_for_a_temporary_table():
    sql = (
        "CREATE TABLE `t` (`a` INT, CONSTRAINT `c` CHECK (a > 0), "
        "CONSTRAINT `f` FOREIGN KEY (`a`) REFERENCES `p` (`a`), "
        "FOREIGN KEY (`a`) REFERENCES `p` (`a`), FULLTEXT INDEX `i` (`a`)) "
        "ROW_FORMAT=COMPRESSED ENGINE=InnoDB"
    )
    assert texts.for_temporary_table(sql) == (
        "CREATE TABLE `t` (`a` INT, CONSTRAINT `c` CHECK (a > 0)) ENGINE=InnoDB"
    )


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("_utf8mb4'a' = `b`", "'a' = `b`"),
        ("`_utf8mb4'` <> '_latin1''x'", "`_utf8mb4'` <> '_latin1''x'"),
        ("my_utf8mb4'a'", "my_utf8mb4'a'"),
        ("_LATIN1'a' or _latin1", "'a' or _latin1"),
    ],
)
def test_character_sets_of_texts_are_left_out(expression, expected):
    assert _without_introducers(expression) == expected
