"""Whether two rungs have the same order, up to the noise of the curves.

Bohdal et al., "PASHA: efficient HPO and NAS with progressive resource allocation", ICLR 2023 (arXiv 2207.06940): soft
ranking, and its tolerance epsilon from curves that cross back and forth, as in the authors' code. Differences from it
are marked.

- Noise (`CrissCross`). For each pair of trials, take the highest resource that both have reported, if it is above a
  given one. If at some lower resource the pair was in the opposite order, and at a still lower one in the present
  order, its curves cross by noise, and the distance of its two values is collected. epsilon is the 90th percentile of
  all collected distances (linear interpolation). Differences: the trial with the lower id always comes first in a pair,
  so each pair counts once (in the authors' code, a pair may be met in both orders and count twice). A pair is only
  updated when one of its trials reports. Values that are not finite are skipped. With several objectives, each has its
  own epsilon.
- One objective (`orders_agree`): the trials of the upper rung, in its order, are compared with the same trials in the
  order of the lower rung. At each position, the two trials must be within epsilon of each other at the lower rung.
- Several objectives (ours; the paper has one): each trial's front at the upper rung must be one that it could have had
  at the lower rung if its losses there had been up to epsilon better or worse, with the others unchanged. With one
  objective this is the same test. Fronts that change only because of other objectives, such as costs that are known
  exactly, therefore count fully, whereas errors count only beyond their noise.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.fronts import front_ranks, loss_matrix
from lightning_hwtune.errors import ArgumentError

__all__ = ["CrissCross", "orders_agree"]

Array = npt.NDArray[np.float64]
_SHARE = 0.9  # the authors use the 90th percentile


@dataclass(slots=True)
class _Gaps:
    """One objective's pairs that cross back and forth, each with the distance at its highest common resource.

    Attributes:
        at: pair -> (resource, distance). order: the distances beyond the resource `above`, ascending.
    """

    at: dict[tuple[int, int], tuple[int, float]] = field(default_factory=dict)
    above: int = 0
    order: list[float] = field(default_factory=list)

    def put(self, pair: tuple[int, int], resource: int, gap: float) -> None:
        """Sets the distance of a pair, at a higher resource than before."""
        before, old = self.at.get(pair, (0, 0.0))
        if before > self.above:
            del self.order[bisect.bisect_left(self.order, old)]
        if resource > self.above:
            bisect.insort(self.order, gap)
        self.at[pair] = resource, gap

    def percentile(self, above: int) -> float:
        """Returns the 90th percentile beyond a resource, linearly interpolated; NaN if there is no such pair."""
        if above != self.above:
            self.above, self.order = above, sorted(gap for at, gap in self.at.values() if at > above)
        if not self.order:
            return float("nan")
        place = _SHARE * (len(self.order) - 1)
        low, high = self.order[int(place)], self.order[min(int(place) + 1, len(self.order) - 1)]
        return low + (high - low) * (place - int(place))


@final
class CrissCross:
    """Collects the curves of all trials and estimates their noise.

    Cost of a report: one vectorised step over the trials that reached its resource, times the resources that they
    reported, and a binary search for each pair whose distance changes. Reading the noise adds no further cost.
    """

    def __init__(self, n_objectives: int) -> None:
        self._n_objectives = n_objectives
        self._resources: list[int] = []  # every reported resource, ascending: the columns of the curves
        self._rows: dict[int, int] = {}
        self._ids = np.empty(0, dtype=np.int64)
        self._curves = np.full((n_objectives, 0, 0), np.nan)  # objective, trial, resource
        self._noisy = [_Gaps() for _ in range(n_objectives)]
        self._last: dict[int, int] = {}

    def observe(self, trial_id: int, resource: int, loss: npt.ArrayLike) -> None:
        """Records a loss that a trial reported. A resource that the trial has already reported or passed is ignored."""
        vector = np.asarray(loss, dtype=np.float64).ravel()
        if len(vector) != self._n_objectives:
            raise ArgumentError("loss", loss, f"{self._n_objectives} numbers, one per objective")
        if resource <= self._last.get(trial_id, 0):
            return
        self._last[trial_id] = resource
        row, column = self._row(trial_id), self._column(resource)
        self._curves[:, row, column] = vector
        for objective, value in enumerate(vector):
            if np.isfinite(value):
                self._compare(objective, row, column)

    def noise(self, above: int) -> Array:
        """Returns epsilon per objective, from pairs with a common resource above this one; NaN if there are none."""
        return np.array([gaps.percentile(above) for gaps in self._noisy])

    def _compare(self, objective: int, row: int, column: int) -> None:
        """Updates all pairs of this trial and another one that has reported at this resource."""
        curves = self._curves[objective, : len(self._rows), : column + 1]
        others = np.flatnonzero(np.isfinite(curves[:, column]))
        others = others[others != row]
        if not len(others) or column < 2:
            return
        is_first = (self._ids[row] < self._ids[others])[:, None]
        own, theirs = curves[row], curves[others]
        is_above = np.where(is_first, own > theirs, theirs > own)
        is_crossed = _n_swaps(is_above, np.isfinite(own) & np.isfinite(theirs)) >= 2
        gaps, resource, noisy = np.abs(own[column] - theirs[:, column]), self._resources[column], self._noisy[objective]
        for other, gap in zip(others[is_crossed].tolist(), gaps[is_crossed].tolist(), strict=True):
            noisy.put((min(row, other), max(row, other)), resource, gap)

    def _row(self, trial_id: int) -> int:
        if trial_id not in self._rows:
            row = self._rows[trial_id] = len(self._rows)
            if row == self._curves.shape[1]:
                self._curves = _grown(self._curves, axis=1)
                self._ids = np.append(self._ids, np.full(self._curves.shape[1] - row, -1))
            self._ids[row] = trial_id
        return self._rows[trial_id]

    def _column(self, resource: int) -> int:
        column = int(np.searchsorted(self._resources, resource))
        if column == len(self._resources) or self._resources[column] != resource:
            if len(self._resources) == self._curves.shape[2]:
                self._curves = _grown(self._curves, axis=2)
            self._curves[:, :, column + 1 :] = self._curves[:, :, column:-1].copy()
            self._curves[:, :, column] = np.nan
            self._resources.insert(column, resource)
        return column


def _grown(curves: Array, axis: int) -> Array:
    """Returns a copy with twice the capacity along an axis."""
    more = list(curves.shape)
    more[axis] = max(curves.shape[axis], 8)
    return np.concatenate([curves, np.full(more, np.nan)], axis=axis)


def _n_swaps(is_above: npt.NDArray[np.bool_], is_known: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Returns how often the order in each row changes along its known columns."""
    if is_known.all():
        return np.asarray(np.count_nonzero(is_above[:, 1:] != is_above[:, :-1], axis=1))
    sign = np.where(is_known, np.where(is_above, 1, -1), 0)
    newest = np.maximum.accumulate(np.where(is_known, np.arange(sign.shape[1]), 0), axis=1)
    filled = np.take_along_axis(sign, newest, axis=1)
    return np.asarray(np.count_nonzero((filled[:, 1:] != filled[:, :-1]) & (filled[:, :-1] != 0), axis=1))


def orders_agree(lower: npt.ArrayLike, upper: npt.ArrayLike, epsilon: npt.ArrayLike) -> bool:
    """Returns whether the same trials have the same order at two rungs, up to noise.

    Args:
        lower: losses at the lower rung, shape `(n_trials, n_objectives)`, rows sorted by trial id. upper: those of the
            same trials at the upper one. A trial is ignored if a loss is not finite at either, as it is not promoted.
        epsilon: the noise of each objective, not negative, shape `(n_objectives,)`; inclusive.
    """
    before, after, noise = loss_matrix(lower), loss_matrix(upper), np.asarray(epsilon, dtype=np.float64).ravel()
    if before.shape != after.shape or noise.shape != (before.shape[1],):
        raise ArgumentError(
            "upper",
            f"shapes {before.shape}, {after.shape}, {noise.shape}",
            "the same shape twice, and one epsilon per objective",
        )
    is_finite = (np.isfinite(before) & np.isfinite(after)).all(axis=1)
    before, after = before[is_finite], after[is_finite]
    if len(before) < 2:
        return True
    if before.shape[1] == 1:
        values = before[:, 0]
        placed = values[np.argsort(after[:, 0], kind="stable")]
        return bool((np.abs(placed - np.sort(values)) <= noise[0]).all())
    return _fronts_agree(before, front_ranks(after), noise)


def _fronts_agree(before: Array, fronts_after: npt.NDArray[np.int64], noise: Array) -> bool:
    """Returns whether each trial's front at the upper rung is one that noise could have given it at the lower one."""
    fronts = front_ranks(before)
    better, worse = before - noise, before + noise
    for index in np.flatnonzero(fronts_after < fronts).tolist():
        if fronts_after[index] < _front_among(better[index], before, fronts, index):
            return False
    doubtful = []
    for index in np.flatnonzero(fronts_after > fronts).tolist():
        last = _front_among(worse[index], before, fronts, index)
        if fronts_after[index] > last:
            return False
        if fronts_after[index] == last:
            doubtful.append(index)
    # while a trial keeps its place, those that it dominates may be one front lower than without it
    return all(fronts_after[index] <= _front_without(worse[index], before, index) for index in doubtful)


def _front_among(loss: Array, others: Array, fronts: npt.NDArray[np.int64], but: int) -> int:
    """Returns the front of a loss behind those that dominate it, ignoring the one at index `but`."""
    dominates = np.asarray((others <= loss).all(axis=1) & (others < loss).any(axis=1))
    dominates[but] = False
    return int(fronts[dominates].max(initial=-1)) + 1


def _front_without(loss: Array, others: Array, but: int) -> int:
    moved = others.copy()
    moved[but] = loss
    return int(front_ranks(moved)[but])
