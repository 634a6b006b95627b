"""Grid search: every combination once, in an order shuffled by the study's seed.

The order is shuffled because a study may end early: any prefix is then a fair sample of the whole grid. A combination
that was enqueued is skipped.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.combinations import Combinations
from lightning_hwtune.core.searchers.base import History, Searcher
from lightning_hwtune.core.searchers.new_configs import next_of
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.streams import stream
from lightning_hwtune.forms import checked_class

__all__ = ["Grid"]


@checked_class()
@final
@dataclass(frozen=True, slots=True)
class Grid(Searcher):
    """Tries all values of `Int`, `Choice` and `NumDevices`, and a few of each `Float`, in every combination.

    Args:
        points_per_float: number of evenly spaced values of a `Float`, including both ends; in the logarithm if `log`.

    Examples:
        >>> from lightning_hwtune.core.objectives import Objectives
        >>> history = hwt.History([], Objectives([hwt.Metric("val_loss", "min")]))
        >>> space = hwt.SearchSpace(lr=hwt.Float(0.001, 0.1, log=True), layers=hwt.Int(1, 2))
        >>> grid = hwt.Grid(points_per_float=3)
        >>> grid.propose(space, 0, seed=0, history=history)
        {'lr': 0.01, 'layers': 1}
        >>> [draw for draw in range(9) if grid.propose(space, draw, seed=0, history=history) is None]
        [6, 7, 8]
    """

    points_per_float: int = 5
    name: ClassVar[str] = "grid"

    def check(self, space: SearchSpace) -> None:
        """Refuses a grid of more than a million combinations, or one in which no batch size is divisible.

        Raises:
            ArgumentError: one of these is the case; the message gives the numbers.
        """
        space.grid(self.points_per_float)

    def propose(self, space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
        """Returns draw number `draw`; None once the grid is exhausted."""
        grid, order = _shuffled(space, self.points_per_float, seed)
        return next_of(grid, order, draw, history)


@functools.lru_cache(maxsize=2)
def _shuffled(space: SearchSpace, points_per_float: int, seed: int) -> tuple[Combinations, npt.NDArray[np.int64]]:
    """Returns the grid and the order of its draws."""
    grid = space.grid(points_per_float)
    # sorted random numbers, because numpy does not guarantee the algorithm of `permutation`
    return grid, np.argsort(stream(seed, Grid.name, 0).random(len(grid)), kind="stable")
