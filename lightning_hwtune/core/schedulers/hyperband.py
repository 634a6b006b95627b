"""Hyperband: brackets that begin at different levels, so that slow starters compete with each other.

Li et al., "Hyperband: a novel bandit-based approach to hyperparameter optimization", JMLR 2018 (arXiv 1603.06560),
algorithm 1: bracket s with s more levels above its first begins with n = ceil((s_max + 1) / (s + 1) * eta**s) trials.

type "synchronous": the paper's version, rung by rung with barriers. The bracket with the lowest first level comes
first, then the others, then the first again (`brackets`).
type "asynchronous": `ASHA` with the same number of brackets. A trial's bracket is drawn in proportion to those sizes,
and no rung waits (Li et al., 2020, arXiv 1810.05934, section 4.2).

Differences from the paper: levels ascend from `first_rung` and the last step may be shorter, where the paper descends
from R. Several objectives are supported. Devices never wait; a new bracket begins instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, final

from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.schedulers.asha import ASHA
from lightning_hwtune.core.schedulers.base import Race, RungScheduler
from lightning_hwtune.core.schedulers.brackets import Brackets, Plan, expected_of
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_class

__all__ = ["Hyperband", "hyperband_size"]


@final
@checked_class(prefix="")
@dataclass(frozen=True, repr=False, kw_only=True)
class Hyperband(RungScheduler):
    """Successive halving that starts from several first levels at once.

    The settings are those of `RungScheduler`, and these:

    Args:
        brackets: the number of different first rungs, lowest first; None for every level, including the full training.
        type: "synchronous" (a rung waits until it is full) or "asynchronous".

    Examples:
        >>> hwt.Hyperband(max_epochs=27).brackets
        4
        >>> hwt.Hyperband(max_epochs=27).expected(40)
        ((1, 40), (3, 22), (9, 8), (27, 3))
    """

    name: ClassVar[str] = "hyperband"
    brackets: int | None = None
    type: str = "synchronous"

    def __post_init__(self) -> None:
        super().__post_init__()
        n_levels = len(self.levels)
        if self.brackets is None:
            object.__setattr__(self, "brackets", n_levels)
        elif self.brackets > n_levels:
            allowed = f"an integer from 1 to {n_levels}, one per rung level, or None"
            raise ArgumentError("brackets", self.brackets, allowed)

    @property
    def plan(self) -> Plan:
        """The brackets of one round: the index of the first level of each, and the number of trials there."""
        eta, n_levels = self.ladder.eta, len(self.levels)
        return [(first, hyperband_size(eta, n_levels, first)) for first in range(self.brackets or n_levels)]

    def start(self, objectives: Objectives) -> Race:
        """Returns a race in which no bracket has begun."""
        if self.type == "asynchronous":
            return self._asynchronous().start(objectives)
        return Brackets(self.ladder, self.plan, objectives)

    def expected(self, n_trials: int) -> tuple[tuple[int, int], ...]:
        """Returns `(level, number of trials that train to it)`."""
        if self.type == "asynchronous":
            return self._asynchronous().expected(n_trials)
        return expected_of(self.plan, self.ladder, n_trials)

    @property
    def bound(self) -> str:
        """How the expected numbers relate to the real ones; see `Scheduler.bound`."""
        return self._asynchronous().bound if self.type == "asynchronous" else ""

    def _asynchronous(self) -> ASHA:
        given: dict[str, Any] = {f"max_{self.unit}": self.max_resource}
        return ASHA(**given, first_rung=self.first_rung, eta=self.eta, within=self.within, brackets=self.brackets or 1)


def hyperband_size(eta: Fraction, n_levels: int, first: int) -> int:
    """Returns the number of trials in the bracket that begins at level number `first` (from 0) of `n_levels`."""
    n_above = n_levels - 1 - first
    return math.ceil(Fraction(n_levels, n_above + 1) * eta**n_above)
