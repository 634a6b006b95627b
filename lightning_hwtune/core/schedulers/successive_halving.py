"""Successive halving with barriers: brackets of one size, one after another.

Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", 2016
(arXiv 1502.07943), algorithm 1, with eta in place of 2 and for several objectives. The rule is in `brackets`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.schedulers.base import Race, RungScheduler
from lightning_hwtune.core.schedulers.brackets import Brackets, Plan, expected_of
from lightning_hwtune.core.schedulers.rungs import ceil_power
from lightning_hwtune.forms import checked_class

__all__ = ["SuccessiveHalving"]


@final
@checked_class(prefix="")
@dataclass(frozen=True, repr=False, kw_only=True)
class SuccessiveHalving(RungScheduler):
    """Waits until a rung is full, then promotes its best together.

    The settings are those of `RungScheduler`, and this one:

    Args:
        bracket_size: trials per bracket; None for the smallest number of which one trial reaches the last rung, such as
            27 for the rungs 1, 3, 9, 27.

    Examples:
        >>> hwt.SuccessiveHalving(max_epochs=27).expected(27)
        ((1, 27), (3, 9), (9, 3), (27, 1))
    """

    name: ClassVar[str] = "successive_halving"
    bracket_size: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bracket_size is None:
            object.__setattr__(self, "bracket_size", ceil_power(self.ladder.eta, len(self.levels) - 1))

    @property
    def plan(self) -> Plan:
        """The brackets of one round, which are all alike."""
        return [(0, self.bracket_size or 1)]

    def start(self, objectives: Objectives) -> Race:
        """Returns a race in which no bracket has begun."""
        return Brackets(self.ladder, self.plan, objectives)

    def expected(self, n_trials: int) -> tuple[tuple[int, int], ...]:
        """Returns `(level, number of trials that train to it)` for full brackets and a last one with the rest."""
        return expected_of(self.plan, self.ladder, n_trials)

    @property
    def bound(self) -> str:
        """Empty, as the expected numbers are exact."""
        return ""
