"""The order within one front, by a named strategy.

- "farthest_first": begins with the best point of the first objective, and continues with the point that is farthest
  from all chosen ones (Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985; within a front:
  Salinas et al., "A multi-objective perspective on jointly tuning hardware and hyperparameters", 2021, there an
  epsilon-net). Difference from the paper: losses are first scaled (`ranking.scale`), so that units do not matter.
- "hypervolume_contribution": the largest exclusive hypervolume first (plain, not greedy: each is measured against the
  whole front), on the same scale, with the reference at 1.1 in every objective. Of exact duplicates, the one with the
  lowest id gets the contribution, and the others come last.
- "crowding": the largest crowding distance first (Deb et al., "A fast and elitist multiobjective genetic algorithm:
  NSGA-II", 2002, section III-B): the sum over objectives of the gap between a point's two neighbours, divided by the
  range of the front. A point that is the best or worst of the front in an objective comes before all others.
  Duplicates are treated as above.

Ties go to the lower id. A strategy is a `FrontOrder`. Some are computed step by step, others give each point a score,
so that a rank is found without sorting.
"""

from __future__ import annotations

import abc
from collections.abc import Container, Iterator, Mapping
from itertools import islice
from typing import ClassVar, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.errors import ArgumentError, nearest

__all__ = [
    "DEFAULT_WITHIN",
    "WITHIN",
    "Crowding",
    "FarthestFirst",
    "FrontOrder",
    "HypervolumeContribution",
    "ScoredOrder",
    "crowding_distances",
    "farthest_first",
    "hypervolume_contributions",
    "within_front",
]

Ids = npt.NDArray[np.int64]
Points = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

DEFAULT_WITHIN = "hypervolume_contribution"
"""Chosen by measurements (`benchmarks/replay_choose.py`); also cheap if a whole rung is one front."""

_TABLE_UP_TO = 256  # points; up to here a table of all distances is faster, beyond it costs too much memory
_REFERENCE = 1.1  # a little beyond the worst point, so that the ends of a front contribute as well


class FrontOrder(abc.ABC):
    """The order of the members of one front.

    Args:
        ids: distinct, in any order, shape `(n,)`.
        points: their losses, scaled, where no point dominates another, shape `(n, n_objectives)`.
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def __init__(self, ids: Ids, points: Points) -> None: ...

    @abc.abstractmethod
    def __iter__(self) -> Iterator[int]:
        """Yields the ids, best first."""

    @abc.abstractmethod
    def position(self, trial_id: int, n: int) -> int | None:
        """Returns a member's position, from 0, if it is among the first `n`; otherwise None."""

    @abc.abstractmethod
    def best_of(self, is_candidate: Mask, exclude: Container[int], n: int) -> int | None:
        """Returns the best candidate among the first `n`, leaving out `exclude`; None if there is none.

        Args:
            is_candidate: one value per id, in the order of `ids`, shape `(n,)`.
        """


@final
class FarthestFirst(FrontOrder):
    """The farthest-first order, computed only as far as needed; O(n) for each step."""

    name: ClassVar[str] = "farthest_first"

    def __init__(self, ids: Ids, points: Points) -> None:
        by_id = ids.argsort()
        self._given_ids = ids
        self._ids: list[int] = ids[by_id].tolist()
        self._rest = farthest_first(points[by_id])
        self._taken: list[int] = []

    def __iter__(self) -> Iterator[int]:
        """Yields the ids, best first; the computation resumes where the last reader stopped."""
        yield from self._taken
        for index in self._rest:
            self._taken.append(self._ids[index])
            yield self._taken[-1]

    def position(self, trial_id: int, n: int) -> int | None:
        """Returns a member's position, from 0, if it is among the first `n`; otherwise None."""
        return next((i for i, other in enumerate(islice(self, n)) if other == trial_id), None)

    def best_of(self, is_candidate: Mask, exclude: Container[int], n: int) -> int | None:
        """Returns the best candidate among the first `n`, leaving out `exclude`; None if there is none."""
        candidates = {i for i in self._given_ids[is_candidate].tolist() if i not in exclude}
        if not candidates:
            return None
        return next((trial_id for trial_id in islice(self, n) if trial_id in candidates), None)


class ScoredOrder(FrontOrder):
    """The order by a score of each point, highest first; ties go to the lower id."""

    def __init__(self, ids: Ids, points: Points) -> None:
        self._ids, self._scores = ids, self.scores(ids, points)

    @staticmethod
    @abc.abstractmethod
    def scores(ids: Ids, points: Points) -> npt.NDArray[np.float64]:
        """Returns the score of each point, shape `(n,)`."""

    def __iter__(self) -> Iterator[int]:
        """Yields the ids, best first."""
        yield from self._ids[np.lexsort((self._ids, -self._scores))].tolist()

    def position(self, trial_id: int, n: int) -> int | None:
        """Returns a member's position, from 0, if it is among the first `n`; otherwise None."""
        position = self._position(int((self._ids == trial_id).argmax()))
        return position if position < n else None

    def best_of(self, is_candidate: Mask, exclude: Container[int], n: int) -> int | None:
        """Returns the best candidate among the first `n`, leaving out `exclude`; None if there is none."""
        left = is_candidate.nonzero()[0]
        while len(left):
            scores = self._scores[left]
            best = left[scores == scores.max()]
            index = int(best[self._ids[best].argmin()])
            if self._ids[index] not in exclude:
                return int(self._ids[index]) if self._position(index) < n else None
            left = left[left != index]
        return None

    def _position(self, index: int) -> int:
        score, trial_id = self._scores[index], self._ids[index]
        is_ahead = self._scores > score
        is_ahead |= (self._scores == score) & (self._ids < trial_id)
        return int(np.count_nonzero(is_ahead))


@final
class HypervolumeContribution(ScoredOrder):
    """The largest exclusive hypervolume first; O(n log n) for two and three objectives, O(n) if sorted."""

    name: ClassVar[str] = "hypervolume_contribution"

    @staticmethod
    def scores(ids: Ids, points: Points) -> npt.NDArray[np.float64]:
        """Returns the exclusive hypervolume of each point."""
        return hypervolume_contributions(ids, points)


@final
class Crowding(ScoredOrder):
    """The largest crowding distance first; O(n log n)."""

    name: ClassVar[str] = "crowding"

    @staticmethod
    def scores(ids: Ids, points: Points) -> npt.NDArray[np.float64]:
        """Returns the crowding distance of each point."""
        return crowding_distances(ids, points)


WITHIN: Mapping[str, type[FrontOrder]] = {cls.name: cls for cls in (FarthestFirst, HypervolumeContribution, Crowding)}


def within_front(name: str) -> type[FrontOrder]:
    """Returns the strategy of this name.

    Raises:
        ArgumentError: the name is unknown.
    """
    if name not in WITHIN:
        raise ArgumentError("within", name, f"{', '.join(map(repr, WITHIN))}{nearest(str(name), WITHIN)}")
    return WITHIN[name]


def farthest_first(points: Points) -> Iterator[int]:
    """Yields the indices of `points` in farthest-first order; ties go to the lower index.

    Args:
        points: finite, shape `(n_points, n_objectives)`; distances are not scaled.
    """
    if not len(points):
        return
    columns = np.ascontiguousarray(points.T)
    table = _squared_distances(columns) if len(points) <= _TABLE_UP_TO else None
    apart, away = np.empty_like(columns), np.empty(len(points))
    nearest_chosen = np.full(len(points), np.inf)
    chosen = int(columns[0].argmin())
    for _ in range(len(points)):
        yield chosen
        if table is not None:
            away = table[chosen]
        else:
            np.subtract(columns, columns[:, chosen : chosen + 1], out=apart)
            np.multiply(apart, apart, out=apart)
            np.add.reduce(apart, axis=0, out=away)
        np.minimum(nearest_chosen, away, out=nearest_chosen)
        nearest_chosen[chosen] = -1.0  # below 0, the distance of its own duplicates
        chosen = int(nearest_chosen.argmax())


def _squared_distances(columns: Points) -> Points:
    """Returns the squared distances of all pairs; `columns` has one row per objective."""
    table: Points = np.subtract.outer(columns[0], columns[0]) ** 2
    for column in columns[1:]:
        table += np.subtract.outer(column, column) ** 2
    return table


def hypervolume_contributions(ids: Ids, points: Points) -> npt.NDArray[np.float64]:
    """Returns what each point adds to the hypervolume of all, up to 1.1 in every objective; -1 for later duplicates.

    Args:
        ids: of several duplicates, the one with the lowest id counts as the first, shape `(n,)`.
        points: no point dominates another, shape `(n, n_objectives)`.
    """
    if points.shape[1] == 2 and (points[1:, 0] > points[:-1, 0]).all():  # sorted and distinct, as a staircase mostly is
        return _contributions(points)
    order = np.lexsort((ids, *points.T[::-1]))
    front = points[order]
    is_first = np.ones(len(front), dtype=np.bool_)
    is_first[1:] = (front[1:] != front[:-1]).any(axis=1)
    scores = np.full(len(points), -1.0)
    scores[order[is_first]] = _contributions(front[is_first])
    return scores


def _contributions(front: Points) -> npt.NDArray[np.float64]:
    """Returns the exclusive hypervolumes of distinct, lexicographically sorted points."""
    if front.shape[1] == 2:
        right, upper = np.append(front[1:, 0], _REFERENCE), np.append(_REFERENCE, front[:-1, 1])
        gains: npt.NDArray[np.float64] = (right - front[:, 0]) * (upper - front[:, 1])
        return gains
    if len(front) < 2 or front.shape[1] == 1:
        return np.ones(len(front))
    import moocore  # takes 0.1 s to import, and few studies need it

    return np.asarray(moocore.hv_contributions(front, ref=np.full(front.shape[1], _REFERENCE)))


def crowding_distances(ids: Ids, points: Points) -> npt.NDArray[np.float64]:
    """Returns the crowding distance of each point, infinite at the ends of the front; -1 for later duplicates.

    Args:
        ids: of several duplicates, the one with the lowest id counts as the first, shape `(n,)`.
        points: no point dominates another, shape `(n, n_objectives)`.
    """
    by_id = np.argsort(ids, kind="stable")
    distinct, first = np.unique(points[by_id], axis=0, return_index=True)
    distances = np.zeros(len(distinct))
    for column in distinct.T if len(distinct) else ():
        order = np.argsort(column, kind="stable")
        sorted_column, span = column[order], np.ptp(column)
        if span > 0:
            distances[order[1:-1]] += (sorted_column[2:] - sorted_column[:-2]) / span
            distances[(column == sorted_column[0]) | (column == sorted_column[-1])] = np.inf
    scores = np.full(len(points), -1.0)
    scores[by_id[first]] = distances
    return scores
