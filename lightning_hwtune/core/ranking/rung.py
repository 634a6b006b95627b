"""The trials of one rung in their total order, kept up to date while trials arrive.

The order is that of `order.total_order` on all trials by trial id: fronts, inside a front a named strategy, ties to the
lower id, trials with a loss that is not finite last. An arrival costs far less than sorting the rung anew; see
`by_loss` (one objective), `staircases` (two) and `layers` (more).
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Container
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.finite import FiniteOrder, Span
from lightning_hwtune.core.ranking.rung_orders import finite_order
from lightning_hwtune.core.ranking.within import DEFAULT_WITHIN
from lightning_hwtune.errors import ArgumentError, IllegalMoveError

__all__ = ["Place", "RungRanking"]


@final
@dataclass(frozen=True, slots=True)
class Place:
    """Where a trial stands in a rung.

    Attributes:
        n_trials: in the rung, this one included.
        is_finite: False if a loss is not; such a trial is never `is_in`.
        front: index of its front; None with one objective, where it would say nothing, and if it is not finite.
        first, last: bounds of its rank, from 0. Equal, except where it decides nothing and is costly: in large rungs.
        is_in: True if it is among the first `k` that were asked for.
    """

    n_trials: int
    is_finite: bool
    front: int | None
    first: int
    last: int
    is_in: bool

    @property
    def standing(self) -> tuple[int, int]:
        """Its best rank, from 1, and among how many."""
        return self.first + 1, self.n_trials


@final
class RungRanking:
    """The total order of a rung's trials; a trial is *open* until `shut` says that it is no candidate any more.

    Args:
        within: the order, as `rung_orders` names them.
        exact_up_to: trials; in larger rungs a rank that decides nothing is given as the range of its front.
    """

    def __init__(self, n_objectives: int, within: str = DEFAULT_WITHIN, *, exact_up_to: int = 200) -> None:
        if n_objectives < 1:
            raise ArgumentError("n_objectives", n_objectives, "a whole number from 1")
        self._n_objectives = n_objectives
        self._finite: FiniteOrder = finite_order(within, n_objectives, exact_up_to)
        self._losses: dict[int, tuple[float, ...]] = {}
        self._not_finite: list[int] = []
        self._open: set[int] = set()

    def __len__(self) -> int:
        return len(self._losses)

    def __contains__(self, trial_id: object) -> bool:
        return trial_id in self._losses

    def insert(self, trial_id: int, loss: npt.ArrayLike) -> None:
        """A trial arrives, open.

        Raises:
            IllegalMoveError: it is here already.
        """
        if trial_id in self._losses:
            raise IllegalMoveError(f"trial {trial_id} is in this rung already")
        vector = self._losses[trial_id] = self._vector(loss)
        if _is_finite(vector):
            self._finite.insert(trial_id, vector)
            self._open.add(trial_id)
        else:
            insort(self._not_finite, trial_id)

    def shut(self, trial_id: int) -> None:
        """A trial is no candidate any more; it keeps its rank. Nothing happens if it is not here, or shut already."""
        if trial_id in self._open:
            self._open.remove(trial_id)
            self._finite.close(trial_id, self._losses[trial_id])

    def arrival(self, trial_id: int, loss: npt.ArrayLike, k: int) -> Place:
        """Returns the place that this trial would have if it arrived now, and whether it is among the first `k`."""
        vector = self._vector(loss)
        if not _is_finite(vector):
            return self._last_place(trial_id, len(self) + 1)
        return _place(len(self) + 1, self._finite.arrival(trial_id, vector, k))

    def place(self, trial_id: int, k: int) -> Place:
        """Returns the place of a trial that is here, and whether it is among the first `k`."""
        vector = self._losses[trial_id]
        if not _is_finite(vector):
            return self._last_place(trial_id, len(self))
        return _place(len(self), self._finite.place(trial_id, vector, k))

    def is_open_among(self, trial_id: int, k: int) -> bool:
        """Tells whether a trial is here, open, finite and among the first `k`."""
        return trial_id in self._open and self.place(trial_id, k).is_in

    def first_open(self, k: int, exclude: Container[int] = ()) -> int | None:
        """Returns the best open finite trial among the first `k` that is not excluded, or None."""
        return self._finite.first_open(k, exclude)

    def order(self) -> list[int]:
        """Returns the ids of all trials, best first; those that are not finite last."""
        return self._finite.order() + self._not_finite

    def open_order(self) -> list[int]:
        """Returns the ids of the open finite trials, best first."""
        return [trial_id for trial_id in self._finite.order() if trial_id in self._open]

    def _vector(self, loss: npt.ArrayLike) -> tuple[float, ...]:
        vector = tuple(np.asarray(loss, dtype=np.float64).ravel().tolist())
        if len(vector) != self._n_objectives:
            raise ArgumentError("loss", vector, f"{self._n_objectives} numbers, one an objective")
        return vector

    def _last_place(self, trial_id: int, n_trials: int) -> Place:
        rank = len(self._losses) - len(self._not_finite) + bisect_left(self._not_finite, trial_id)
        return Place(n_trials, False, None, rank, rank, False)


def _is_finite(vector: tuple[float, ...]) -> bool:
    return all(map(math.isfinite, vector))


def _place(n_trials: int, span: Span) -> Place:
    return Place(n_trials, True, span.front, span.first, span.last, span.is_in)
