"""Successive halving with barriers: one size of bracket, one after another.

Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", 2016
(arXiv 1502.07943), algorithm 1, with eta in place of 2 and losses of several objectives. The rule is in `brackets`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, ClassVar, final

from lightning_hwtune.core.ranking.rung_orders import checked_order
from lightning_hwtune.core.ranking.within import DEFAULT_WITHIN
from lightning_hwtune.core.schedulers.brackets import Brackets
from lightning_hwtune.core.schedulers.forwarding import Forwarding
from lightning_hwtune.core.schedulers.rungs import ceil_power, exact_eta, horizon, plain_eta, rung_levels
from lightning_hwtune.forms import checked_call

__all__ = ["SuccessiveHalving"]


@final
class SuccessiveHalving(Forwarding):
    """Waits until a rung is full, then its best go on together.

    Args:
        max_epochs, max_steps, max_samples: the full training, in exactly one of these units.
        first_rung: the lowest level, in the same unit; no trial is judged before it.
        eta: one in eta goes on at each rung. A fraction is allowed and exact: 2.5, Fraction(5, 2) or "5/2".
        bracket_size: trials of a bracket; None = as few as leave one for the last rung, e.g. 27 for 1, 3, 9, 27.
        within: the order of a rung: by fronts, inside them "farthest_first", "hypervolume_contribution" or
            "crowding"; without fronts "weighted", "weighted:2,1" or "objective:NAME".
    """

    name: ClassVar[str] = "successive_halving"

    @checked_call("SuccessiveHalving")
    def __init__(
        self,
        max_epochs: int | None = None,
        *,
        max_steps: int | None = None,
        max_samples: int | None = None,
        first_rung: int = 1,
        eta: int | float | str | Fraction = 3,
        bracket_size: int | None = None,
        within: str = DEFAULT_WITHIN,
    ) -> None:
        self.unit, last = horizon(max_epochs, max_steps, max_samples)
        self.eta = exact_eta(eta)
        self.levels = rung_levels(first_rung, last, self.eta)
        if bracket_size is None:
            bracket_size = ceil_power(self.eta, len(self.levels) - 1)
        checked_order(within)
        self.bracket_size, self.within = bracket_size, within
        self._rule = Brackets(self.unit, self.levels, self.eta, [(0, bracket_size)], within)

    def settings(self) -> dict[str, Any]:
        """Returns plain data for the log."""
        return {
            "name": self.name,
            f"max_{self.unit}": self.max_resource,
            "first_rung": self.levels[0],
            "eta": plain_eta(self.eta),
            "bracket_size": self.bracket_size,
            "within": self.within,
        }
