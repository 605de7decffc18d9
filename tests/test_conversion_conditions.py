"""The SQL that tells values which do not fit into a type, without a database."""

import pytest

import db
from migrations import phase_4_5
from migrations.engines import engine_for
from migrations.schema import Type


@pytest.fixture
def conversions():
    database = db.connect("postgresql://host/shop")
    return engine_for(database, phase_4_5.phase.models, 1.0).conversions


@pytest.mark.drivers("postgresql")
@pytest.mark.parametrize(
    ("type_", "condition"),
    [
        (Type("", "integer"), "1 = 0"),
        (Type("", "string", 9), "char_length(CAST(v AS text)) > 9"),
        (Type("", "fixed string", 2), "char_length(CAST(v AS text)) > 2"),
        (
            Type("", "integer", 2),
            "v NOT BETWEEN -32768 AND 32767 OR v <> round(v)",
        ),
        (
            Type("", "integer", 4),
            "v NOT BETWEEN -2147483648 AND 2147483647 OR v <> round(v)",
        ),
        (
            Type("", "integer", 8),
            "v NOT BETWEEN -9223372036854775808 AND 9223372036854775807 "
            "OR v <> round(v)",
        ),
        (Type("", "blob", 9), "1 = 0"),
    ],
)
def test_condition_of_values_that_do_not_fit(conversions, type_, condition):
    assert conversions.unfit_condition("v", type_) == condition
