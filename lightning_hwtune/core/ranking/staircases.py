"""Fronts of two objectives as staircases: rising in the first loss, falling in the second.

The fronts lie behind one another, so the front of a point is found by bisection over fronts, each tested by bisection
along its steps. A newcomer pushes a run of neighbours out of its front; that run takes the place of a run of the next
front, and so on, until nobody is pushed out. (That each of these is one run without gaps: a point of the next front
between two neighbours of the run would be dominated by neither, hence by no one of this front, and would be in it.)

Cost of an arrival: O(log(n_fronts) * log(n)) comparisons, and one slice for each front on the way.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.front_sets import FrontSets, Loss

__all__ = ["Staircases"]


@final
class Staircases(FrontSets):
    """The fronts of trials with two finite losses each."""

    def __init__(self) -> None:
        super().__init__()
        # one list a front, in the same order; the second loss is negated, so that it rises too
        self._firsts: list[list[float]] = []
        self._seconds: list[list[float]] = []
        self._ids: list[list[int]] = []
        self._open: set[int] = set()

    def insert(self, trial_id: int, loss: Loss) -> range:
        """A trial arrives, open; returns the fronts whose members changed."""
        x, y = loss[0], -loss[1]
        start = front = self.front_of(loss)
        self._open.add(trial_id)
        if front < len(self._ids):
            at, end = self._pushed_out(front, x, y)
        run_x, run_y, run_ids, n_open = [x], [y], [trial_id], 1
        while front < len(self._ids):
            if front > start:
                at, end = bisect_left(self._firsts[front], run_x[0]), bisect_right(self._seconds[front], run_y[-1])
            xs, ys, ids = self._firsts[front], self._seconds[front], self._ids[front]
            out_x, out_y, out_ids = xs[at:end], ys[at:end], ids[at:end]
            xs[at:end], ys[at:end], ids[at:end] = run_x, run_y, run_ids
            n_out = sum(map(self._open.__contains__, out_ids))
            self._sizes[front] += len(run_ids) - len(out_ids)
            self._n_open[front] += n_open - n_out
            if not out_ids:
                return range(start, front + 1)
            run_x, run_y, run_ids, n_open = out_x, out_y, out_ids, n_out
            front += 1
        self._append(run_x, run_y, run_ids, n_open)
        return range(start, front + 1)

    def _append(self, xs: list[float], ys: list[float], ids: list[int], n_open: int) -> None:
        self._firsts.append(xs)
        self._seconds.append(ys)
        self._ids.append(ids)
        self._sizes.append(len(ids))
        self._n_open.append(n_open)

    def _pushed_out(self, front: int, x: float, y: float) -> tuple[int, int]:
        """Returns the run of this front that a newcomer to it dominates: from, to. Its own duplicates stay."""
        xs, ys = self._firsts[front], self._seconds[front]
        at = bisect_left(xs, x)
        if at < len(xs) and xs[at] == x and ys[at] == y:
            at = bisect_right(xs, x, at)
        return at, bisect_right(ys, y, at)

    def close(self, trial_id: int, loss: Loss) -> None:
        """An open trial of this loss is no longer open."""
        self._open.remove(trial_id)
        self._n_open[self.front_of(loss)] -= 1

    def front_of(self, loss: Loss) -> int:
        """Returns the front of a trial with this loss, whether it is here or would arrive now."""
        x, y = loss[0], -loss[1]
        low, high = 0, len(self._ids)
        while low < high:
            middle = (low + high) // 2
            xs, ys = self._firsts[middle], self._seconds[middle]
            before = bisect_right(xs, x) - 1
            if before >= 0 and ys[before] >= y and (xs[before] != x or ys[before] != y):
                low = middle + 1
            else:
                high = middle
        return low

    def members(self, front: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Returns a front's trial ids, ascending, and their losses, shape `(n, 2)`."""
        if front >= len(self._ids):
            return np.empty(0, dtype=np.int64), np.empty((0, 2))
        ids = np.array(self._ids[front], dtype=np.int64)
        losses = np.array([self._firsts[front], self._seconds[front]]).T
        losses[:, 1] *= -1
        order = ids.argsort()
        return ids[order], losses[order]

    def open_members(self, front: int) -> list[int]:
        """Returns the ids of a front's open trials."""
        return [trial_id for trial_id in self._ids[front] if trial_id in self._open]
