"""The model of BOHB: one bandwidth per parameter, and at least as many good trials as there are parameters.

Falkner, Klein and Hutter, "BOHB: robust and efficient hyperparameter optimization at scale", ICML 2018 (arXiv
1807.01774), section 4. Differences: trials are ordered by fronts, farthest-first within a front, so that several
objectives need no weights, and the bandwidth for sampling is not multiplied by 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.order import total_order
from lightning_hwtune.core.searchers.base import History
from lightning_hwtune.core.searchers.cells import Cells
from lightning_hwtune.core.searchers.new_configs import Untried
from lightning_hwtune.core.searchers.reference_kernels import ReferenceKernels
from lightning_hwtune.core.space import SearchSpace

__all__ = ["BohbModel", "bohb_split"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@final
@dataclass(frozen=True, slots=True)
class BohbModel:
    """The densities of the good configurations and of the others."""

    cells: Cells
    good: ReferenceKernels
    others: ReferenceKernels

    @classmethod
    def of(cls, space: SearchSpace, history: History, rungs: str, good: float, min_points: int | None) -> Self | None:
        """Returns the model; None while not enough trials are judged. The arguments are those of `bohb_split`."""
        split = bohb_split(history, rungs, good, min_points or len(space) + 1)
        if split is None:
            return None
        cells, rows = history.memory.cells(space), history.memory.rows(space, history.results)
        return cls(cells, *(ReferenceKernels(cells, rows[places]) for places in split))

    def best(self, untried: Untried, n: int, rng: np.random.Generator) -> dict[str, Any] | None:
        """Returns the one with the greatest l / g of `n` candidates, drawn from l or from the rest of a list."""
        if untried.listed is not None:
            candidates = untried.some(rng, n)
        else:
            drawn = map(self.cells.config, self.good.sample(rng, n).tolist())
            candidates = [config for config in drawn if untried.may_draw(config)]
        if not candidates:
            return untried.one(rng)
        rows = self.cells.rows(candidates)
        return candidates[int((self.good.log_density(rows) - self.others.log_density(rows)).argmax())]


def bohb_split(history: History, rungs: str, good: float, min_points: int) -> tuple[Places, Places] | None:
    """Returns the places of the good trials and of the others, best first; None while there are not enough.

    Args:
        rungs: "highest" for the trials of the highest level that has judged enough, or "all" for the trials of all
            levels, deepest first, and within a level by fronts.
        good: the share of good trials. min_points: the least number of good trials, and of others.
    """
    ranked = _highest(history, 2 * min_points) if rungs == "highest" else _deepest_first(history)
    if len(ranked) < 2 * min_points:
        return None
    n_good = min(max(min_points, math.ceil(good * len(ranked))), len(ranked) - min_points)
    return ranked[:n_good], ranked[n_good:]


def _highest(history: History, n_points: int) -> Places:
    trials, losses = history.rung(n_points)
    places = {id(trial): place for place, trial in enumerate(history.results)}
    return _ordered([places[id(trial)] for trial in trials], losses)


def _deepest_first(history: History) -> Places:
    results = history.results
    levels = history.memory.rungs(results, history.objectives)
    deepest = {place: level for level, (places, _) in levels.items() for place in places.tolist()}
    found = [np.empty(0, dtype=np.int64)]
    for level in sorted(levels, reverse=True):
        places, losses = levels[level]
        there = [index for index, place in enumerate(places.tolist()) if deepest[place] == level]
        found.append(_ordered(places[there].tolist(), losses[there]))
    ranked = np.concatenate(found)
    # violators of a constraint come behind all feasible trials, whatever their level
    is_violating = [
        history.objectives.violation(results[place].measurements[-1].values) > 0 for place in ranked.tolist()
    ]
    return ranked[np.argsort(is_violating, kind="stable")]


def _ordered(places: Sequence[int], losses: Floats) -> Places:
    return np.array(places, dtype=np.int64)[total_order(losses, "farthest_first")] if len(places) else np.empty(0, int)
