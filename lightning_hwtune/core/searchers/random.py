"""Random search: each draw has a random stream of its own.

A space with a float is drawn from independently, as in Bergstra and Bengio, "Random Search for Hyper-Parameter
Optimization", 2012. A finite space of at most a million configurations is drawn from *without replacement*: training a
configuration twice tells little, so a study on twelve configurations ends after twelve trials, enqueued ones included,
whatever `max_trials` says. The order is that of successive draws, by probability, from those that are left (Efraimidis
and Spirakis, "Weighted random sampling with a reservoir", 2006): sorted by exponential variates over the weights.
Larger finite spaces are drawn from independently; there a repetition is rare.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.combinations import Combinations
from lightning_hwtune.core.searchers.base import History, Searcher
from lightning_hwtune.core.searchers.untried import is_small, next_of
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.streams import stream
from lightning_hwtune.forms import checked_class

__all__ = ["Random"]


@checked_class()
@final
@dataclass(frozen=True, slots=True)
class Random(Searcher):
    """Draws at random; never the same configuration twice where the space is finite and small (see above)."""

    name: ClassVar[str] = "random"

    def check(self, space: SearchSpace) -> None:
        """Refuses a space in which no batch size divides by any device count.

        Raises:
            ArgumentError: there is nothing to draw.
        """
        _ = space.rejected_share

    def propose(self, space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
        """Returns draw number `draw`; None once a small finite space is exhausted."""
        if not is_small(space):
            return space.sample(stream(seed, self.name, draw))
        grid, order = _shuffled(space, seed)
        return next_of(grid, order, draw, history)


@functools.lru_cache(maxsize=2)
def _shuffled(space: SearchSpace, seed: int) -> tuple[Combinations, npt.NDArray[np.int64]]:
    """All configurations, and the order in which they are drawn."""
    grid = space.grid()
    weights = space.probabilities(grid)
    waits = -np.log1p(-stream(seed, Random.name, 0).random(len(grid))) / weights
    return grid, np.argsort(waits, kind="stable")
