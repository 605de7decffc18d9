"""What SHOW CREATE TABLE means on MySQL."""

from __future__ import annotations

from migrations.engines.mysql.show_create_table import (
    CreateTableText,
    standard_strings,
)
from migrations.schema import Check, Type
from migrations.sql_text import unquoted

# Categories of types whose DEFAULT is shown as a text.
_NUMBERS = ("integer", "float", "decimal", "year")
# Character sets whose usual collation, which is not shown, is not the general one.
_USUAL_COLLATIONS = {
    "big5": "big5_chinese_ci",
    "binary": "binary",
    "cp932": "cp932_japanese_ci",
    "dec8": "dec8_swedish_ci",
    "eucjpms": "eucjpms_japanese_ci",
    "euckr": "euckr_korean_ci",
    "gb18030": "gb18030_chinese_ci",
    "gb2312": "gb2312_chinese_ci",
    "gbk": "gbk_chinese_ci",
    "latin1": "latin1_swedish_ci",
    "sjis": "sjis_japanese_ci",
    "swe7": "swe7_swedish_ci",
    "tis620": "tis620_thai_ci",
    "ujis": "ujis_japanese_ci",
}


class MySQLTableText(CreateTableText):
    """A text of MySQL."""

    def default(self, shown: str, type_: Type) -> str:
        """Return a DEFAULT as standard SQL; MySQL shows that of a number as a text."""
        if type_.category in _NUMBERS and shown.startswith("'"):
            return shown[1:-1]
        return standard_strings(shown)

    def has_collation(self, type_: Type) -> bool:
        return type_.category != "json" and super().has_collation(type_)

    def collation(self, sql: str) -> str:
        """Return the last collation; the usual one of a character set is not shown."""
        found = super().collation(sql)
        if not found or "_" in found:
            return found
        return _USUAL_COLLATIONS.get(found, f"{found}_general_ci")

    def check(self, words: list[str]) -> Check:
        _, name, _, condition, *rest = words
        # /*!80016 NOT ENFORCED */
        return Check(
            unquoted(name), standard_strings(condition[1:-1]), valid="NOT" not in rest
        )
