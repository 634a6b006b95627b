"""Fronts of three or more objectives: a matrix of all losses, and the rows of each front.

As with two objectives, the front of a point is found by bisection over fronts; here each step tests all members of a
front at once. Members of a front that a new trial dominates move one front back. There they push out the members that
they dominate, and so on.

Cost of an arrival: O(log(n_fronts) * n_in_a_front) for the search, and a few vectorised steps for each changed front.
"""

from __future__ import annotations

import functools
import operator
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.front_sets import FrontSets, Loss, Members

__all__ = ["Layers"]

Rows = npt.NDArray[np.intp]

_FIRST_CAPACITY = 64


@final
class Layers(FrontSets):
    """The fronts of trials with `n_objectives` finite losses each."""

    def __init__(self, n_objectives: int) -> None:
        super().__init__()
        self._row: dict[int, int] = {}
        self._columns = np.empty((n_objectives, _FIRST_CAPACITY))
        self._ids = np.empty(_FIRST_CAPACITY, dtype=np.int64)
        self._front = np.empty(_FIRST_CAPACITY, dtype=np.int64)
        self._is_open = np.zeros(_FIRST_CAPACITY, dtype=np.bool_)
        self._rows: list[Rows] = []

    def insert(self, trial_id: int, loss: Loss, front: int) -> range:
        """Adds a new, open trial to its `front_of(loss)`; returns the fronts whose members changed."""
        start, moving = front, self._append(trial_id, loss)
        while front < len(self._rows):
            rows = self._rows[front]
            is_out = self._is_dominated(rows, moving)
            out = rows[is_out]
            self._move(moving, rows[~is_out], front)
            if not len(out):
                return range(start, front + 1)
            moving, front = out, front + 1
        self._rows.append(moving[:0])
        self._sizes.append(0)
        self._n_open.append(0)
        self._move(moving, moving[:0], front)
        return range(start, front + 1)

    def _points(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Returns the losses of these rows, shape `(n_objectives, n)`."""
        return self._columns.take(rows, axis=1)  # several times faster than indexing

    def _append(self, trial_id: int, loss: Loss) -> Rows:
        row = self._row[trial_id] = len(self._row)
        if row == len(self._ids):
            self._columns = np.concatenate([self._columns, np.empty_like(self._columns)], axis=1)
            self._ids = np.concatenate([self._ids, np.empty_like(self._ids)])
            self._front = np.concatenate([self._front, np.empty_like(self._front)])
            self._is_open = np.concatenate([self._is_open, np.zeros_like(self._is_open)])
        self._columns[:, row], self._ids[row], self._is_open[row] = loss, trial_id, True
        return np.array([row])

    def _is_dominated(self, rows: Rows, by: Rows) -> npt.NDArray[np.bool_]:
        """Returns, for each of `rows`, whether one of `by` dominates it; only a new trial can have duplicates here."""
        points, others = self._points(rows), self._points(by)
        if len(by) == 1:
            is_dominated = _in_all(points >= others)
            if is_dominated.any():
                is_dominated &= (points != others).any(axis=0)
            return is_dominated
        return np.asarray(_in_all(points[:, None, :] >= others[:, :, None]).any(axis=0))

    def _move(self, moving: Rows, staying: Rows, front: int) -> None:
        """Sets the members of a front to those that stay and those that move into it."""
        self._rows[front] = np.concatenate([staying, moving])
        self._front[moving] = front
        self._sizes[front] = len(self._rows[front])
        self._n_open[front] = int(np.count_nonzero(self._is_open[self._rows[front]]))

    def close(self, trial_id: int, loss: Loss) -> None:
        """Marks an open trial with this loss as no longer open."""
        row = self._row[trial_id]
        self._is_open[row] = False
        self._n_open[self._front[row]] -= 1

    def front_of(self, loss: Loss) -> int:
        """Returns the front of a trial with this loss, whether it has been added or would arrive now."""
        point = np.array(loss)[:, None]
        low, high = 0, len(self._rows)
        while low < high:
            middle = (low + high) // 2
            if self._has_dominator(self._rows[middle], point):
                low = middle + 1
            else:
                high = middle
        return low

    def _has_dominator(self, rows: Rows, point: npt.NDArray[np.float64]) -> bool:
        """Returns whether a front dominates a point; it does not if it contains a duplicate of the point."""
        points = self._points(rows)
        nowhere_worse = _in_all(points <= point)
        if not nowhere_worse.any():
            return False
        return not (points[:, nowhere_worse] == point).all(axis=0).any()

    def members(self, front: int) -> Members:
        """Returns a front's trial ids, shape `(n,)`, and their losses, shape `(n, n_objectives)`."""
        rows = self._rows[front]
        return self._ids[rows], self._points(rows).T

    def members_with(self, trial_id: int, loss: Loss, front: int) -> Members:
        """Returns the `members` that this front would have after such an `insert`."""
        if front == len(self._rows):
            return np.array([trial_id]), np.array([loss])
        rows, point = self._rows[front], np.array(loss)[:, None]
        points = self._points(rows)
        is_staying = ~_in_all(points >= point)
        if not is_staying.all():
            is_staying |= _in_all(points == point)
        staying = np.concatenate([points[:, is_staying], point], axis=1)
        return np.concatenate([self._ids[rows[is_staying]], [trial_id]]), staying.T

    def is_open(self, front: int) -> npt.NDArray[np.bool_]:
        """Returns whether each member of a front is open, shape `(n,)`."""
        return self._is_open[self._rows[front]]


def _in_all(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Returns `mask.all(axis=0)`, computed faster for few rows, one per objective."""
    return functools.reduce(operator.and_, mask)
