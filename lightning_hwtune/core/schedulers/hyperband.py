"""Hyperband: brackets that begin at different levels, so that slow starters have a race of their own.

Li et al., "Hyperband: a novel bandit-based approach to hyperparameter optimization", JMLR 2018 (arXiv 1603.06560),
algorithm 1: bracket s with s more levels above its first begins with n = ceil((s_max + 1) / (s + 1) * eta**s) trials.

type "synchronous": the paper's, rung by rung with barriers; the bracket with the lowest first level comes first, then
the others, then the first again (`brackets`).
type "asynchronous": `ASHA` with as many brackets; a trial's bracket is drawn in the proportion of those sizes, and no
rung waits (Li et al., 2020, arXiv 1810.05934, section 4.2).

Differences from the paper: levels ascend from `first_rung` and the last step may be a shorter one, where the paper
descends from R; losses of several objectives; devices never wait, a new bracket begins instead.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, ClassVar, final

from lightning_hwtune.core.ranking.rung_orders import checked_order
from lightning_hwtune.core.ranking.within import DEFAULT_WITHIN
from lightning_hwtune.core.schedulers.asha import ASHA
from lightning_hwtune.core.schedulers.brackets import Brackets
from lightning_hwtune.core.schedulers.forwarding import Forwarding
from lightning_hwtune.core.schedulers.rungs import exact_eta, horizon, plain_eta, rung_levels
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_call

__all__ = ["Hyperband", "hyperband_size"]


@final
class Hyperband(Forwarding):
    """Successive halving from several first levels at once.

    Args:
        max_epochs, max_steps, max_samples: the full training, in exactly one of these units.
        first_rung: the lowest level, in the same unit; no trial is judged before it.
        eta: one in eta goes on at each rung. A fraction is allowed and exact: 2.5, Fraction(5, 2) or "5/2".
        brackets: how many first levels there are, from the lowest; None = every level, the full training included.
        type: "synchronous" (a rung waits until it is full) or "asynchronous".
        within: the order of a rung: by fronts, inside them "farthest_first", "hypervolume_contribution" or
            "crowding"; without fronts "weighted", "weighted:2,1" or "objective:NAME".
    """

    name: ClassVar[str] = "hyperband"

    @checked_call("Hyperband")
    def __init__(
        self,
        max_epochs: int | None = None,
        *,
        max_steps: int | None = None,
        max_samples: int | None = None,
        first_rung: int = 1,
        eta: int | float | str | Fraction = 3,
        brackets: int | None = None,
        type: str = "synchronous",  # noqa: A002 - the word that ASHA has
        within: str = DEFAULT_WITHIN,
    ) -> None:
        self.unit, last = horizon(max_epochs, max_steps, max_samples)
        self.eta = exact_eta(eta)
        self.levels = rung_levels(first_rung, last, self.eta)
        n_levels = len(self.levels)
        if brackets is None:
            brackets = n_levels
        if brackets > n_levels:
            raise ArgumentError("brackets", brackets, f"an integer from 1 to {n_levels}, one per rung level, or None")
        checked_order(within)
        self.brackets, self.type, self.within = brackets, type, within
        if type == "synchronous":
            plan = [(first, hyperband_size(self.eta, n_levels, first)) for first in range(brackets)]
            self._rule = Brackets(self.unit, self.levels, self.eta, plan, within)
        else:
            given: dict[str, Any] = {f"max_{self.unit}": last}
            self._rule = ASHA(**given, first_rung=first_rung, eta=self.eta, brackets=brackets, within=within)

    def settings(self) -> dict[str, Any]:
        """Returns plain data for the log."""
        return {
            "name": self.name,
            f"max_{self.unit}": self.max_resource,
            "first_rung": self.levels[0],
            "eta": plain_eta(self.eta),
            "brackets": self.brackets,
            "type": self.type,
            "within": self.within,
        }


def hyperband_size(eta: Fraction, n_levels: int, first: int) -> int:
    """Returns the trials of the bracket that begins at level number `first` (from 0) of `n_levels`."""
    n_above = n_levels - 1 - first
    return math.ceil(Fraction(n_levels, n_above + 1) * eta**n_above)
