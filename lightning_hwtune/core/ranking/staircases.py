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
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.front_sets import FrontSets, Loss, Members

__all__ = ["Staircases"]


class _Run(NamedTuple):
    """Neighbours on a staircase, or all of it. The fields are arrays, so that numpy copies them fast."""

    firsts: array[float]
    seconds: array[float]  # negated, so that they rise as well
    ids: array[int]
    is_open: array[int]


@final
class Staircases(FrontSets):
    """The fronts of trials with two finite losses each; the members of a front are in the order of its steps."""

    def __init__(self) -> None:
        super().__init__()
        self._stairs: list[_Run] = []

    def insert(self, trial_id: int, loss: Loss, front: int) -> range:
        """Adds a new, open trial to its `front_of(loss)`; returns the fronts whose members changed."""
        start = front
        x, y = loss[0], -loss[1]
        run, n_open = _Run(array("d", [x]), array("d", [y]), array("q", [trial_id]), array("b", [1])), 1
        at, end = self._pushed_out(front, x, y)
        while front < len(self._stairs):
            xs, ys, ids, is_open = self._stairs[front]
            out = _Run(xs[at:end], ys[at:end], ids[at:end], is_open[at:end])
            xs[at:end], ys[at:end], ids[at:end], is_open[at:end] = run
            n_out_open = sum(out.is_open)
            self._sizes[front] += len(run.ids) - len(out.ids)
            self._n_open[front] += n_open - n_out_open
            if not out.ids:
                return range(start, front + 1)
            run, n_open = out, n_out_open
            front += 1
            if front < len(self._stairs):
                next_front = self._stairs[front]
                at, end = (
                    bisect_left(next_front.firsts, run.firsts[0]),
                    bisect_right(next_front.seconds, run.seconds[-1]),
                )
        self._stairs.append(run)
        self._sizes.append(len(run.ids))
        self._n_open.append(n_open)
        return range(start, front + 1)

    def _pushed_out(self, front: int, x: float, y: float) -> tuple[int, int]:
        """Returns the run of this front, as (from, to), that a new member dominates; its duplicates stay."""
        if front == len(self._stairs):
            return 0, 0
        xs, ys = self._stairs[front].firsts, self._stairs[front].seconds
        at = bisect_left(xs, x)
        if at < len(xs) and xs[at] == x and ys[at] == y:
            at = bisect_right(xs, x, at)
        return at, bisect_right(ys, y, at)

    def close(self, trial_id: int, loss: Loss) -> None:
        """Marks an open trial with this loss as no longer open."""
        front = self.front_of(loss)
        stairs = self._stairs[front]
        stairs.is_open[stairs.ids.index(trial_id, bisect_left(stairs.firsts, loss[0]))] = 0
        self._n_open[front] -= 1

    def front_of(self, loss: Loss) -> int:
        """Returns the front of a trial with this loss, whether it has been added or would arrive now."""
        x, y = loss[0], -loss[1]
        low, high = 0, len(self._stairs)
        while low < high:
            middle = (low + high) // 2
            stairs = self._stairs[middle]
            before = bisect_right(stairs.firsts, x) - 1
            if (
                before >= 0
                and stairs.seconds[before] >= y
                and (stairs.firsts[before] != x or stairs.seconds[before] != y)
            ):
                low = middle + 1
            else:
                high = middle
        return low

    def members(self, front: int) -> Members:
        """Returns a front's trial ids, shape `(n,)`, and their losses, shape `(n, 2)`."""
        stairs = self._stairs[front]
        # copies, as an array that numpy views cannot grow
        return np.array(stairs.ids), np.stack([np.array(stairs.firsts), -np.array(stairs.seconds)]).T

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
        return np.array(self._stairs[front].is_open, dtype=np.bool_)
