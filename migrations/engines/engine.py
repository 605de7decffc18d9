"""A database engine at work for one call of a phase, composed of its parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from migrations.declaration import PhaseModels
from migrations.engines.catalog import Catalog
from migrations.engines.model_support import ModelSupport
from migrations.engines.session import Session
from migrations.report import Change
from migrations.schema import Schema

if TYPE_CHECKING:
    from migrations.engines.conversions import Conversions
    from migrations.engines.ddl import DDL
    from migrations.engines.sample_rows import SampleRows
    from migrations.plan import Plan


class Engine(ABC):
    """The parts of an engine. One engine serves one call on one connection.

    `session` connects, locks, executes and explains errors; `model_support` says what
    the database supports of the models; `catalog` reads; `conversions` writes SQL about
    values; `ddl` turns operations into statements; `sample_rows` makes the rows of the
    smoke test. The last three are made, and imported, only by the calls that need them:
    most calls have nothing to change.
    """

    session: Session

    @property
    @abstractmethod
    def model_support(self) -> ModelSupport:
        """Return what knows which models the database supports.

        Called once the session is connected.
        """

    @property
    @abstractmethod
    def catalog(self) -> Catalog:
        """Return what reads the catalog. Called once the session is connected."""

    @property
    @abstractmethod
    def conversions(self) -> Conversions:
        """Return what writes SQL about values. Called once the session is connected."""

    @property
    def models(self) -> PhaseModels:
        """The models of the phase."""
        return self.session.models

    @abstractmethod
    def ddl(self, schema: Schema) -> DDL:
        """Return what writes the statements of a plan. Called while planning.

        :param schema: the tables as they are before the plan.
        """

    @abstractmethod
    def sample_rows(self) -> SampleRows:
        """Return what makes the rows of the smoke test, before its transaction."""

    @abstractmethod
    def rehearse(self, plan: Plan, changes: Sequence[Change]) -> None:
        """Execute a plan's statements where they change nothing. Called while planning.

        :raises ChangeRefused: a statement fails; the text names it and the reason.
        """
