"""The model of TPE: which trials are good and which are the others, and the draws that resemble only the good ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.parameters.options import copied
from lightning_hwtune.core.ranking.fronts import non_dominated_mask
from lightning_hwtune.core.ranking.hypervolume import hypervolume
from lightning_hwtune.core.searchers.base import History
from lightning_hwtune.core.searchers.cells import Cells
from lightning_hwtune.core.searchers.copula import chained, light_scores, violators_behind
from lightning_hwtune.core.searchers.kernels import Kernels
from lightning_hwtune.core.searchers.new_configs import Untried
from lightning_hwtune.core.space import SearchSpace

__all__ = ["ParzenModel", "evenly", "first_by_fronts", "parzen_split", "unit_range"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

_MIN_POINTS = 5  # twice as many judged trials are needed
_MAX_GOOD = 25
_MAX_OTHERS = 250  # of those that are judged, and as many that are not; more cost time and change little
_JOINT, _JOINT_OF_SEVERAL = 0.8, 0.1  # share of draws by joint densities, for one and for several objectives


@final
@dataclass(frozen=True, slots=True)
class ParzenModel:
    """The densities l of the good configurations and g of the others; `joint` is the share of draws by joint ones.

    `good_places` are the places of the good ones among the results, and `known` is what the levels have judged.
    """

    cells: Cells
    good: Kernels
    others: Kernels
    joint: float
    good_places: Places
    known: Mapping[int, tuple[Places, Floats]]

    @classmethod
    def of(cls, space: SearchSpace, history: History, rungs: str, good: float, min_points: int | None) -> Self | None:
        """Returns the model; None while not enough trials are judged. The arguments are those of `parzen_split`."""
        known = _judged_rungs(history, rungs, min_points or _MIN_POINTS)
        split = _split(history, known, good, min_points or _MIN_POINTS)
        if split is None:
            return None
        cells, rows = history.memory.cells(space), history.memory.rows(space, history.results)
        good_ones, others = (Kernels(cells, rows[places]) for places in split)
        joint = _JOINT if len(history.objectives) == 1 else _JOINT_OF_SEVERAL
        return cls(cells, good_ones, others, joint, split[0], known)

    def best(self, untried: Untried, n: int, rng: np.random.Generator) -> dict[str, Any] | None:
        """Returns the one with the greatest l / g of `n` candidates, drawn from l or from the rest of a list."""
        is_joint = rng.random() < self.joint
        if not untried.is_given:
            for row in self._drawn(n, rng, is_joint=is_joint).tolist():
                if untried.may_draw(config := self.cells.config(row)):
                    return config
        if untried.listed is None:
            return untried.one(rng)
        places = untried.some_places(rng, n)
        if not places:
            return None
        ratios = self._ratios(self.cells.rows_at(untried.listed, places), is_joint=is_joint)
        return copied(untried.listed[places[int(ratios.argmax())]])

    def _drawn(self, n: int, rng: np.random.Generator, *, is_joint: bool) -> Floats:
        """Returns rows drawn from l, by l / g, the greatest first."""
        if is_joint:
            rows = self.cells.snapped(self.good.sample(rng, n))
            at = self.cells.active(rows)
            return rows[np.argsort(-self._ratios(at, is_joint=True), kind="stable")]
        rows = self.cells.snapped(self.good.sample_marginals(rng, n))
        ratios = self.good.log_marginals(rows) - self.others.log_marginals(rows)
        return np.take_along_axis(rows, np.argsort(-ratios, axis=0, kind="stable"), axis=0)

    def _ratios(self, rows: Floats, *, is_joint: bool) -> Floats:
        """Returns the logarithms of l / g at rows of cells, of the joint densities or of the marginals' products."""
        if is_joint:
            return self.good.log_density(rows) - self.others.log_density(rows)
        ratios: Floats = (self.good.log_marginals(rows) - self.others.log_marginals(rows)).sum(axis=1)
        return ratios


def parzen_split(history: History, rungs: str, good: float, min_points: int) -> tuple[Places, Places] | None:
    """Returns the places of the good results and of the others; None while fewer than `2 * min_points` are judged.

    A trial that no level has judged is one of the others: it is running, or it failed. A trial that diverged is never
    good; None if all did.

    Args:
        rungs: "all", or "highest" for the highest level that has judged enough trials.
        good: the share of the judged trials that is good.
    """
    return _split(history, _judged_rungs(history, rungs, min_points), good, min_points)


def _split(
    history: History, known: Mapping[int, tuple[Places, Floats]], good: float, min_points: int
) -> tuple[Places, Places] | None:
    trials = history.results
    scores = chained(known, len(trials), len(history.objectives), light_scores)
    judged = np.flatnonzero(~np.isnan(scores[:, 0]))
    if len(judged) < 2 * min_points:
        return None
    scores[judged] = violators_behind([trials[place] for place in judged.tolist()], history.objectives, scores[judged])
    diverged = np.concatenate([places[~np.isfinite(losses).all(axis=1)] for places, losses in known.values()])
    able = np.setdiff1d(judged, diverged)
    if not len(able):
        return None
    n_good = min(max(math.ceil(good * len(judged)), 1), _MAX_GOOD)
    best = able[first_by_fronts(scores[able], n_good)]
    pending = [place for place, trial in enumerate(trials) if not trial.is_judged]
    rest = np.setdiff1d(judged, best)
    return best, np.concatenate([evenly(rest, _MAX_OTHERS), np.array(pending[-_MAX_OTHERS:], dtype=np.int64)])


def _judged_rungs(history: History, rungs: str, min_points: int) -> dict[int, tuple[Places, Floats]]:
    """Returns what the levels have judged, as `Memory.rungs`; only one level for the rungs "highest"."""
    known = history.memory.rungs(history.results, history.objectives)
    if rungs != "highest":
        return known
    return dict([pair for pair in known.items() if len(pair[1][0]) >= 2 * min_points][-1:])


def first_by_fronts(losses: Floats, n: int) -> Places:
    """Returns the first `n` rows by fronts; of the last front, those that add most hypervolume, one after the other.

    Args:
        losses: finite and without exploded values, such as scores, at least one row, shape `(n_points, n_objectives)`.
    """
    first, left = np.empty(0, dtype=np.int64), np.arange(len(losses))
    while len(first) < n and len(left):
        is_front = non_dominated_mask(losses[left])
        members, left = left[is_front], left[~is_front]
        if len(first) + len(members) > n:
            members = members[_most_volume(unit_range(losses[members]), n - len(first))]
        first = np.append(first, members)
    return first


def _most_volume(points: Floats, n: int) -> list[int]:
    """Returns the indices of `n` points, each the one that adds most hypervolume to those before it.

    Args:
        points: scaled to [0, 1], shape `(n_points, n_objectives)`. The reference is 1.1 in each objective.
    """
    reference = np.full(points.shape[1], 1.1)
    gains = np.prod(reference - points, axis=1)
    chosen: list[int] = []
    volume, seen_at = 0.0, np.zeros(len(points), dtype=np.int64)  # gains only shrink, so old ones are upper bounds
    while len(chosen) < n:
        best = int(gains.argmax())
        if seen_at[best] < len(chosen):
            gains[best] = hypervolume(points[[*chosen, best]], reference) - volume
            seen_at[best] = len(chosen)
            continue
        volume += float(gains[best])
        chosen.append(best)
        gains[best] = -1.0
    return chosen


def unit_range(scores: Floats) -> Floats:
    """Returns scores or losses on the scale of their range; an objective with one value becomes 0."""
    low, span = scores.min(axis=0), np.ptp(scores, axis=0)
    return np.asarray((scores - low) / np.where(span > 0, span, 1.0))


def evenly(places: Places, most: int) -> Places:
    """Returns at most so many of the places, evenly spread."""
    return places if len(places) <= most else places[np.linspace(0, len(places) - 1, most).astype(np.int64)]
