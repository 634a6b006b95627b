"""A rung with a barrier: which trials it waits for, which of them have arrived, and their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.rung import RungRanking

__all__ = ["BarrierRung"]


@final
class BarrierRung:
    """One level of one bracket: which trials are expected, which have arrived, and the order of the expected ones."""

    __slots__ = ("entrants", "level", "losses", "ranking", "settled")

    def __init__(self, level: int, ranking: RungRanking) -> None:
        self.level, self.ranking = level, ranking
        self.entrants: set[int] = set()
        self.settled: set[int] = set()  # entrants that have arrived, or never will
        self.losses: dict[int, npt.NDArray[np.float64]] = {}  # of all that arrived, including those not yet entrants

    def enter(self, trial_ids: Sequence[int]) -> None:
        """Sets the expected trials; some may have arrived already."""
        self.entrants = set(trial_ids)
        for trial_id in sorted(self.entrants & self.losses.keys()):
            self._settle(trial_id)

    def arrive(self, trial_id: int, loss: npt.NDArray[np.float64]) -> None:
        """Records that a trial has reached this level or passed it; only its first loss counts."""
        if trial_id not in self.losses:
            self.losses[trial_id] = loss
            if trial_id in self.entrants:
                self._settle(trial_id)

    def withdraw(self, trial_id: int) -> None:
        """Records that a trial ended for good: it is not waited for and is no longer a candidate."""
        self.ranking.shut(trial_id)
        if trial_id in self.entrants:
            self.settled.add(trial_id)

    def _settle(self, trial_id: int) -> None:
        self.settled.add(trial_id)
        self.ranking.insert(trial_id, self.losses[trial_id])
