"""The ladder of a study: where its trials are judged, and how many of a rung are promoted."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import final

from lightning_hwtune.core.decisions import Reason, Rule, Stop
from lightning_hwtune.core.ranking.front_order import DEFAULT_WITHIN
from lightning_hwtune.core.record import Unit
from lightning_hwtune.core.schedulers.rungs import quota
from lightning_hwtune.text import counted

__all__ = ["Ladder"]


@final
@dataclass(frozen=True, slots=True)
class Ladder:
    """The levels, and the rule by which a rung is ordered and divided.

    Attributes:
        unit: the unit of the resource.
        levels: every resource at which something may be decided, ascending; the last one is the full training.
        eta: one in eta trials of a rung is promoted, if the rule uses such a quota.
        within: the order of a rung; see `ranking.rung_orders`.
    """

    unit: Unit
    levels: tuple[int, ...]
    eta: Fraction = Fraction(3)
    within: str = DEFAULT_WITHIN

    @property
    def top(self) -> int:
        """The resource of a full training."""
        return self.levels[-1]

    def above(self, level: int) -> int:
        """Returns the level after `level`; the full training if there is none."""
        return next((higher for higher in self.levels if higher > level), self.top)

    def quota(self, n_trials: int) -> int:
        """Returns n // eta, exactly."""
        return quota(n_trials, self.eta)

    def end(self) -> Stop:
        """Returns the verdict on a trial that is fully trained."""
        return Stop(Reason(Rule.MAX_RESOURCE, f"trained to the full {counted(self.top, self.unit)}"))
