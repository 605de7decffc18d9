"""Parameters of the tests that run in each state of a table."""

import pytest


def case(engine, state, filled, exhaustive):
    """Return the parameters of one case.

    :param filled: the table has rows.
    :param exhaustive: it belongs to the exhaustive run.
    """
    name = f"{engine}-{state.name}"
    if filled:
        name += "-with rows"
    marks = [pytest.mark.exhaustive] if exhaustive else []
    return pytest.param(engine, state, filled, id=name.replace(" ", "_"), marks=marks)
