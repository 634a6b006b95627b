"""The trials of one rung in their total order."""

from __future__ import annotations

import bisect
from collections.abc import Container
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.fronts import front_ranks
from lightning_hwtune.core.ranking.order import total_order, within_front
from lightning_hwtune.errors import IllegalMoveError

__all__ = ["Place", "RungRanking"]


@final
@dataclass(frozen=True, slots=True)
class Place:
    """Where a trial stands in a rung.

    Attributes:
        n_trials: in the rung, this one included.
        front: index of its front; None if a loss is not finite.
        first, last: bounds of its rank, from 0; equal where the rank is known exactly.
        is_in: True if it is finite and among the first `k` that were asked for.
    """

    n_trials: int
    front: int | None
    first: int
    last: int
    is_in: bool


@final
class RungRanking:
    """The total order of a rung's trials; a trial is *open* until `shut` says that it is no candidate any more."""

    def __init__(self, n_objectives: int, within: str = "farthest_first") -> None:
        self._within = within
        within_front(within)
        self._n_objectives = n_objectives
        self._ids: list[int] = []
        self._losses: list[npt.NDArray[np.float64]] = []
        self._shut: set[int] = set()
        self._order: list[int] | None = None

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, trial_id: int) -> bool:
        index = bisect.bisect_left(self._ids, trial_id)
        return index < len(self._ids) and self._ids[index] == trial_id

    def insert(self, trial_id: int, loss: npt.ArrayLike) -> None:
        """A trial arrives, open.

        Raises:
            IllegalMoveError: it is here already.
        """
        if trial_id in self:
            raise IllegalMoveError(f"trial {trial_id} is in this rung already")
        index = bisect.bisect_left(self._ids, trial_id)
        self._ids.insert(index, trial_id)
        self._losses.insert(index, np.asarray(loss, dtype=np.float64))
        self._order = None

    def shut(self, trial_id: int) -> None:
        """A trial is no candidate any more; it keeps its rank. Nothing happens if it is not here."""
        self._shut.add(trial_id)

    def order(self) -> list[int]:
        """Returns the ids of all trials, best first; those that are not finite last."""
        if self._order is None:
            matrix = np.array(self._losses).reshape(-1, self._n_objectives)
            self._order = [self._ids[i] for i in total_order(matrix, self._within)]
        return self._order

    def open_order(self) -> list[int]:
        """Returns the ids of the open finite trials, best first."""
        return [i for i in self.order() if i not in self._shut and self._is_finite(i)]

    def arrival(self, trial_id: int, loss: npt.ArrayLike, k: int) -> Place:
        """Returns the place that this trial would have if it arrived now; changes nothing."""
        after = RungRanking(self._n_objectives, self._within)
        after._ids, after._losses = self._ids.copy(), self._losses.copy()
        after.insert(trial_id, loss)
        return after.place(trial_id, k)

    def place(self, trial_id: int, k: int) -> Place:
        """Returns the place of a trial that is here, and whether it is among the first `k`."""
        rank = self.order().index(trial_id)
        if not self._is_finite(trial_id):
            return Place(len(self), None, rank, rank, False)
        front = int(front_ranks(np.array(self._losses))[bisect.bisect_left(self._ids, trial_id)])
        return Place(len(self), front, rank, rank, rank < k)

    def is_open_among(self, trial_id: int, k: int) -> bool:
        """Tells whether a trial is here, open, finite and among the first `k`."""
        return trial_id in self and trial_id not in self._shut and self.place(trial_id, k).is_in

    def first_open(self, k: int, exclude: Container[int] = ()) -> int | None:
        """Returns the best open finite trial among the first `k` that is not excluded, or None."""
        first = (i for i in self.order()[:k] if i not in self._shut and i not in exclude and self._is_finite(i))
        return next(first, None)

    def _is_finite(self, trial_id: int) -> bool:
        return bool(np.isfinite(self._losses[bisect.bisect_left(self._ids, trial_id)]).all())
