"""Documented exceptions: columns that a phase accepts although its models differ.

    accepts=[AcceptedColumn("orders.placed_at", null=True, has_default=True)]

says that `orders.placed_at` is left as it is where it allows NULL and has its declared
DEFAULT, whatever the model says about NULL. What is accepted is reported as a note.
"""

from typing import NamedTuple

from migrations.schema import Column


class AcceptedColumn(NamedTuple):
    """A shape of a column that is accepted; what is None has to be as declared."""

    column: str  # "table.column"
    null: bool | None = None  # whether it allows NULL
    has_default: bool | None = None  # whether it has its declared DEFAULT
    reuses_ids: bool | None = None  # whether a deleted id may be given out again

    def may_be(self, actual: Column) -> bool:
        """Whether a column can have this shape; "no DEFAULT" means none at all."""
        return self.has_default is not False or actual.default is None

    def applied_to(self, declared: Column) -> Column:
        """Return a declared column as it looks in the accepted shape."""
        column = declared
        if self.null is not None:
            column = column._replace(null=self.null)
        if self.has_default is False:
            column = column._replace(default=None)
        if self.reuses_ids is not None:
            column = column._replace(reuses_ids=self.reuses_ids)
        return column
