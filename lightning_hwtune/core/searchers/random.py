"""Random search: each draw has its own random stream.

A space with a float is drawn from independently, as in Bergstra and Bengio, "Random Search for Hyper-Parameter
Optimization", 2012. A finite space of at most a million configurations is drawn from *without replacement*, because
training a configuration twice gives little new information. So a study on twelve configurations ends after twelve
trials, including enqueued ones, whatever `max_trials` is. The order is that of successive weighted draws from the
remaining configurations (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006): they are sorted
by exponential variates divided by the weights. Larger finite spaces are drawn from independently, as repetitions are
rare there. A space with conditions has rare and frequent configurations, so known ones are drawn again there.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.combinations import Combinations
from lightning_hwtune.core.searchers.base import History, Searcher
from lightning_hwtune.core.searchers.expert import expert_draw
from lightning_hwtune.core.searchers.new_configs import Untried, is_small, next_of
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.streams import stream
from lightning_hwtune.forms import checked_class

__all__ = ["Random"]


@checked_class()
@final
@dataclass(frozen=True, slots=True)
class Random(Searcher):
    """Draws at random; never repeats a configuration if the space is finite and small (see the module).

    Examples:
        >>> from lightning_hwtune.core.objectives import Objectives
        >>> history = hwt.History([], Objectives([hwt.Metric("val_loss", "min")]))
        >>> space, searcher = hwt.SearchSpace(optimizer=hwt.Choice(["adam", "sgd"])), hwt.Random()
        >>> sorted(searcher.propose(space, draw, seed=0, history=history)["optimizer"] for draw in range(2))
        ['adam', 'sgd']
    """

    name: ClassVar[str] = "random"
    uses_expert: ClassVar[bool] = True

    def propose(self, space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
        """Returns draw number `draw`; None once a small finite space is exhausted."""
        if not is_small(space):
            if (expected := expert_draw(space, draw, seed, history)) is not None:
                return expected
            rng = stream(seed, self.name, draw)
            if not space.is_conditional:
                return space.sample(rng)
            return history.once(self, lambda: Untried.of(space, None, history.trials)).one(rng)
        grid, order = _shuffled(space, seed)
        return next_of(grid, order, draw, history)


@functools.lru_cache(maxsize=2)
def _shuffled(space: SearchSpace, seed: int) -> tuple[Combinations, npt.NDArray[np.int64]]:
    """Returns all configurations, and the order in which they are drawn."""
    grid = space.grid()
    weights = space.probabilities(grid)
    waits = -np.log1p(-stream(seed, Random.name, 0).random(len(grid))) / weights
    return grid, np.argsort(waits, kind="stable")
