"""Fronts of two objectives as staircases: rising in the first loss, falling in the second.

The fronts lie behind one another. So the front of a point is found by bisection over fronts, each of which is tested by
bisection along its steps. A new trial pushes a run of neighbours out of its front. That run replaces a run of the next
front, and so on, until no trial is pushed out. (Each of these is one run without gaps: a point of the next front
between two neighbours of the run would be dominated by neither, hence by no point of this front, and would be in it.)

Cost of an arrival: O(log(n_fronts) * log(n)) comparisons, and a few slices for each changed front.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.front_sets import FrontSets, Loss, Members

__all__ = ["Staircases"]


_Run = tuple["array[float]", "array[float]", "array[int]", "array[int]"]
"""Neighbours on a staircase, or all of it: their first losses, their second losses, negated so that they rise as well,
their ids, and whether they are open. These are arrays, so that numpy copies them fast."""


@final
class Staircases(FrontSets):
    """The fronts of trials with two finite losses each; the members of a front are in the order of its steps."""

    def __init__(self) -> None:
        super().__init__()
        self._stairs: list[_Run] = []

    def insert(self, trial_id: int, loss: Loss, front: int) -> range:
        """Adds a new, open trial to its `front_of(loss)`; returns the fronts whose members changed."""
        start, (x, y) = front, (loss[0], -loss[1])
        run: _Run = array("d", [x]), array("d", [y]), array("q", [trial_id]), array("b", [1])
        n_run, n_open = 1, 1
        at, end = self._pushed_out(front, x, y)
        while front < len(self._stairs):
            xs, ys, ids, is_open = self._stairs[front]
            n_out = end - at
            out = (xs[at:end], ys[at:end], ids[at:end], is_open[at:end]) if n_out else None
            xs[at:end], ys[at:end], ids[at:end], is_open[at:end] = run
            self._sizes[front] += n_run - n_out
            if out is None:
                self._n_open[front] += n_open
                return range(start, front + 1)
            n_out_open = sum(out[3]) if self._n_open[front] else 0
            self._n_open[front] += n_open - n_out_open
            run, n_run, n_open = out, n_out, n_out_open
            front += 1
            if front < len(self._stairs):
                firsts, seconds, _, _ = self._stairs[front]
                at, end = bisect_left(firsts, run[0][0]), bisect_right(seconds, run[1][-1])
        self._stairs.append(run)
        self._sizes.append(n_run)
        self._n_open.append(n_open)
        return range(start, front + 1)

    def _pushed_out(self, front: int, x: float, y: float) -> tuple[int, int]:
        """Returns the run of this front, as (from, to), that a new member dominates; its duplicates stay."""
        if front == len(self._stairs):
            return 0, 0
        xs, ys, _, _ = self._stairs[front]
        at = bisect_left(xs, x)
        if at < len(xs) and xs[at] == x and ys[at] == y:
            at = bisect_right(xs, x, at)
        return at, bisect_right(ys, y, at)

    def close(self, trial_id: int, loss: Loss) -> None:
        """Marks an open trial with this loss as no longer open."""
        front = self.front_of(loss)
        firsts, _, ids, is_open = self._stairs[front]
        is_open[ids.index(trial_id, bisect_left(firsts, loss[0]))] = 0
        self._n_open[front] -= 1

    def front_of(self, loss: Loss) -> int:
        """Returns the front of a trial with this loss, whether it has been added or would arrive now."""
        x, y = loss[0], -loss[1]
        low, high = 0, len(self._stairs)
        while low < high:
            middle = (low + high) // 2
            firsts, seconds, _, _ = self._stairs[middle]
            before = bisect_right(firsts, x) - 1
            if before >= 0 and seconds[before] >= y and (firsts[before] != x or seconds[before] != y):
                low = middle + 1
            else:
                high = middle
        return low

    def members(self, front: int) -> Members:
        """Returns a front's trial ids, shape `(n,)`, and their losses, shape `(n, 2)`."""
        firsts, seconds, ids, _ = self._stairs[front]
        losses = np.empty((2, len(ids)))
        losses[0] = firsts
        np.negative(seconds, out=losses[1])
        return np.array(ids), losses.T  # copies, as an array that numpy views cannot grow

    def members_with(self, trial_id: int, loss: Loss, front: int) -> Members:
        """Returns the `members` that this front would have after such an `insert`."""
        if front == len(self._stairs):
            return np.array([trial_id]), np.array([loss])
        at, end = self._pushed_out(front, loss[0], -loss[1])
        ids, losses = self.members(front)
        return (
            np.concatenate([ids[:at], [trial_id], ids[end:]]),
            np.concatenate([losses[:at], [loss], losses[end:]]),
        )

    def is_open(self, front: int) -> npt.NDArray[np.bool_]:
        """Returns whether each member of a front is open, shape `(n,)`."""
        return np.array(self._stairs[front][3], dtype=np.bool_)
