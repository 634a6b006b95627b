"""Rungs: at which resources trials are compared, and who stands there.

Levels come from exact arithmetic: `first * eta^k` below the maximum, then the maximum. (`int(log(243, 3))` is 4.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.fronts import front_ranks
from lightning_hwtune.core.ranking.order import total_order
from lightning_hwtune.errors import ArgumentError, IllegalMoveError

__all__ = ["Rung", "Standing", "rung_levels"]


def rung_levels(first: int, maximum: int, eta: Fraction) -> tuple[int, ...]:
    """Returns `first`, `first * eta`, ... below `maximum`, rounded down and without repetition, then `maximum`.

    Raises:
        ArgumentError: `first` exceeds `maximum`.
    """
    if first > maximum:
        raise ArgumentError("first_rung", first, f"at most the maximum, {maximum}")
    levels, level = [], Fraction(first)
    while level < maximum:
        levels.append(int(level))
        level *= eta
    return (*dict.fromkeys(levels), maximum)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a trial stands in a rung: 0-based place among `n`, its front, and whether its values are finite."""

    place: int
    n: int
    front: int
    is_finite: bool


@final
@dataclass(slots=True)
class Rung:
    """The trials that reported at one level, and which of them were promoted. Nobody stands in it twice."""

    level: int
    within: str
    trial_ids: list[int] = field(default_factory=list)
    losses: list[npt.NDArray[np.float64]] = field(default_factory=list)
    promoted: set[int] = field(default_factory=set)
    withdrawn: set[int] = field(default_factory=set)
    _order: list[int] | None = None

    def __len__(self) -> int:
        return len(self.trial_ids)

    def insert(self, trial_id: int, loss: npt.NDArray[np.float64]) -> None:
        """Adds a trial.

        Raises:
            IllegalMoveError: it stands here already.
        """
        if trial_id in self.trial_ids:
            raise IllegalMoveError(f"trial {trial_id} stands at rung {self.level} already")
        self.trial_ids.append(trial_id)
        self.losses.append(np.asarray(loss, dtype=np.float64))
        self._order = None

    def order(self) -> list[int]:
        """Returns the trial ids, best first; ties go to the lower id."""
        if self._order is None:
            self._order = _order(self.trial_ids, self.losses, self.within)
        return self._order

    def standing(self, trial_id: int, loss: npt.NDArray[np.float64]) -> Standing:
        """Returns where a trial would stand if it arrived now; changes nothing."""
        ids, losses = [*self.trial_ids, trial_id], [*self.losses, np.asarray(loss, dtype=np.float64)]
        place = _order(ids, losses, self.within).index(trial_id)
        front = int(front_ranks(np.stack(losses))[-1])
        return Standing(place, len(ids), front, bool(np.isfinite(losses[-1]).all()))

    def is_finite(self, trial_id: int) -> bool:
        """Tells whether all of a standing trial's values are finite."""
        return bool(np.isfinite(self.losses[self.trial_ids.index(trial_id)]).all())


def _order(trial_ids: list[int], losses: list[npt.NDArray[np.float64]], within: str) -> list[int]:
    by_id = np.argsort(trial_ids)
    matrix = np.stack([losses[i] for i in by_id]) if losses else np.empty((0, 1))
    return [trial_ids[by_id[row]] for row in total_order(matrix, within)]
