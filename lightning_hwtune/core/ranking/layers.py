"""Fronts of three and more objectives: one matrix of all losses, and each row's front.

The front of a newcomer is one behind the last front that has a point dominating it. Members of its own front that it
dominates move one front back; they push out members of the next front, and so on. All of these lie in the region that
the newcomer dominates, so only its rows are looked at.

Cost of an arrival: a few vectorised passes over the n rows, then small steps; about 60 us at 10,000 rows.
"""

from __future__ import annotations

from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.front_sets import FrontSets, Loss, Members

__all__ = ["Layers"]

_FIRST_CAPACITY = 64


@final
class Layers(FrontSets):
    """The fronts of trials with `n_objectives` finite losses each."""

    def __init__(self, n_objectives: int) -> None:
        super().__init__()
        self._n = 0
        self._row: dict[int, int] = {}
        self._columns = np.empty((n_objectives, _FIRST_CAPACITY))
        self._ids = np.empty(_FIRST_CAPACITY, dtype=np.int64)
        self._fronts = np.empty(_FIRST_CAPACITY, dtype=np.int32)
        self._is_open = np.zeros(_FIRST_CAPACITY, dtype=np.bool_)

    def insert(self, trial_id: int, loss: Loss, front: int) -> range:
        """A trial arrives, open, in its front; returns the fronts whose members changed."""
        start = front
        region = self._region(loss)
        self._append(trial_id, loss, start)
        self._add(start, 1, 1)
        pushed = self._front_in(region, start)
        while len(pushed):
            behind = self._front_in(region, front + 1)
            moved, n_open = len(pushed), int(self._is_open[pushed].sum())
            self._fronts[pushed] = front + 1
            self._add(front, -moved, -n_open)
            self._add(front + 1, moved, n_open)
            pushed = behind[self._is_weakly_dominated(behind, pushed)]
            front += 1
        return range(start, front + 1)

    def _region(self, loss: Loss) -> npt.NDArray[np.intp]:
        """Returns the rows that a point with this loss dominates."""
        columns = self._columns[:, : self._n]
        weakly = columns[0] >= loss[0]
        for column, value in zip(columns[1:], loss[1:], strict=True):
            weakly &= column >= value
        rows = weakly.nonzero()[0]
        is_duplicate = np.asarray(columns[0][rows] == loss[0])
        for column, value in zip(columns[1:], loss[1:], strict=True):
            is_duplicate &= column[rows] == value
        return np.asarray(rows[~is_duplicate])

    def _front_in(self, region: npt.NDArray[np.intp], front: int) -> npt.NDArray[np.intp]:
        return np.asarray(region[self._fronts[region] == front])

    def _is_weakly_dominated(self, rows: npt.NDArray[np.intp], by: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        """Tells of each of `rows` whether one of `by` is nowhere worse; no duplicates, as these share a front."""
        first = self._columns[0]
        nowhere_worse = np.asarray(first[by][:, None] <= first[rows])
        for column in self._columns[1:]:
            nowhere_worse &= column[by][:, None] <= column[rows]
        return np.asarray(nowhere_worse.any(axis=0))

    def _append(self, trial_id: int, loss: Loss, front: int) -> None:
        if self._n == len(self._ids):
            self._columns = np.concatenate([self._columns, np.empty_like(self._columns)], axis=1)
            self._ids = np.concatenate([self._ids, np.empty_like(self._ids)])
            self._fronts = np.concatenate([self._fronts, np.empty_like(self._fronts)])
            self._is_open = np.concatenate([self._is_open, np.zeros_like(self._is_open)])
        row = self._row[trial_id] = self._n
        self._columns[:, row] = loss
        self._ids[row], self._fronts[row], self._is_open[row] = trial_id, front, True
        self._n += 1

    def _add(self, front: int, n: int, n_open: int) -> None:
        if front == len(self._sizes):
            self._sizes.append(0)
            self._n_open.append(0)
        self._sizes[front] += n
        self._n_open[front] += n_open

    def close(self, trial_id: int, loss: Loss) -> None:
        """An open trial of this loss is no longer open."""
        row = self._row[trial_id]
        self._is_open[row] = False
        self._n_open[self._fronts[row]] -= 1

    def front_of(self, loss: Loss) -> int:
        """Returns the front of a trial with this loss, whether it is here or would arrive now."""
        columns = self._columns[:, : self._n]
        weakly = columns[0] <= loss[0]
        for column, value in zip(columns[1:], loss[1:], strict=True):
            weakly &= column <= value
        rows = weakly.nonzero()[0]
        if not len(rows):
            return 0
        fronts = self._fronts[rows]
        last = fronts.max()
        # the last of them may be the point's own duplicates, which share its front
        rows = rows[fronts == last]
        has_duplicate = bool(np.all(loss == self._columns[:, rows].T, axis=1).any())
        return int(last) + (not has_duplicate)

    def members(self, front: int) -> Members:
        """Returns a front's trial ids, in order of arrival, and their losses, shape `(n, n_objectives)`."""
        rows = self._rows_of(front)
        return self._ids[rows], self._columns[:, rows].T

    def members_with(self, trial_id: int, loss: Loss, front: int) -> Members:
        """Returns what `members` of this front would be after such an `insert`."""
        ids, losses = self.members(front)
        is_staying = (losses < loss).any(axis=1) | (losses == loss).all(axis=1)
        return np.append(ids[is_staying], trial_id), np.concatenate([losses[is_staying], [loss]])

    def is_open(self, front: int) -> npt.NDArray[np.bool_]:
        """Tells of each member of a front whether it is open, shape `(n,)`."""
        return self._is_open[self._rows_of(front)]

    def _rows_of(self, front: int) -> npt.NDArray[np.intp]:
        return np.asarray((self._fronts[: self._n] == front).nonzero()[0])
