"""How often trials end by themselves before their full training, as with EarlyStopping.

Between two levels, the chance to end is the same at each unit of resource: the number of trials that ended there,
divided by the resource trained there by all trials. Where no trial has trained yet, the deepest known rate is used.
"""

from __future__ import annotations

import math
from typing import final

import numpy as np

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.record import TrialState

__all__ = ["EarlyEnds"]


@final
class EarlyEnds:
    """Draws whether and where a trial ends by itself."""

    def __init__(self, state: StudyFacts, rng: np.random.Generator) -> None:
        self._rng, self._rates = rng, dict[int, float]()  # level -> chance per unit of resource below it
        ended_at = [
            trial.resource
            for trial in state.searched
            if trial.state is TrialState.COMPLETED and trial.trained_to < state.ladder.top
        ]
        rate, below = 0.0, 0
        for level in state.ladder.levels:
            n_trained = sum(min(max(trial.resource - below, 0), level - below) for trial in state.searched)
            n_ended = sum(below < resource <= level for resource in ended_at)
            rate = n_ended / n_trained if n_trained else rate
            self._rates[level], below = rate, level

    def draw(self, resource: int, level: int) -> int | None:
        """Returns the resource at which a trial ends on its way to `level`; None if it reaches the level."""
        rate = self._rates.get(level, 0.0)
        if rate <= 0.0:
            return None
        n = 1 if rate >= 1.0 else 1 + int(math.log(1.0 - self._rng.random()) / math.log1p(-rate))
        return resource + n if resource + n < level else None
