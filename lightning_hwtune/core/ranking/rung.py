"""The trials of one rung in their total order, kept up to date as trials arrive.

The order is that of `order.total_order` on all trials by trial id: by fronts, within a front by a named strategy, ties
to the lower id; then violators of a constraint, the least violation first; and trials with a loss that is not finite
last. An arrival costs far less than sorting the whole rung again; see `by_loss` (one objective), `staircases` (two) and
`layers` (more).
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Container
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.feasibility import is_violator
from lightning_hwtune.core.ranking.by_loss import ByLoss
from lightning_hwtune.core.ranking.finite import FiniteOrder, Span
from lightning_hwtune.core.ranking.front_order import DEFAULT_WITHIN
from lightning_hwtune.core.ranking.rung_orders import finite_order
from lightning_hwtune.errors import ArgumentError, IllegalMoveError

__all__ = ["Place", "RungRanking"]


@final
@dataclass(frozen=True, slots=True)
class Place:
    """The place of a trial in a rung.

    Attributes:
        n_trials: the number of trials in the rung, including this one.
        is_finite: whether all losses are finite; if not, the trial is never `is_in`.
        front: the index of its front; None with a single objective, for a violator, or if a loss is not finite.
        first, last: bounds of its rank, from 0. They differ only in large rungs, for a rank that decides nothing.
        is_in: whether it is among the first `k`, with the given `k`.
        is_feasible: whether it violates no constraint.
    """

    n_trials: int
    is_finite: bool
    front: int | None
    first: int
    last: int
    is_in: bool
    is_feasible: bool = True

    @property
    def standing(self) -> tuple[int, int]:
        """Its best rank, from 1, and the number of trials."""
        return self.first + 1, self.n_trials


@final
class RungRanking:
    """The total order of a rung's trials. A trial is *open* until `shut` marks it as no longer a candidate.

    Args:
        within: the order, by its name in `rung_orders`.
        exact_up_to: in a rung with more trials than this, a rank that decides nothing is the range of its front.
    """

    def __init__(self, n_objectives: int, within: str = DEFAULT_WITHIN, *, exact_up_to: int = 200) -> None:
        if n_objectives < 1:
            raise ArgumentError("n_objectives", n_objectives, "a positive integer")
        self._n_objectives = n_objectives
        self._feasible: FiniteOrder = finite_order(within, n_objectives, exact_up_to)
        self._violating = ByLoss()
        self._n_feasible = 0
        self._losses: dict[int, tuple[float, ...]] = {}
        self._not_finite: list[int] = []
        self._open: set[int] = set()

    def __len__(self) -> int:
        return len(self._losses)

    def __contains__(self, trial_id: object) -> bool:
        return trial_id in self._losses

    def insert(self, trial_id: int, loss: npt.ArrayLike) -> None:
        """Adds a new, open trial.

        Raises:
            IllegalMoveError: the trial has been added already.
        """
        if trial_id in self._losses:
            raise IllegalMoveError(f"trial {trial_id} is already in this rung")
        vector = self._losses[trial_id] = self._vector(loss)
        if not _is_finite(vector):
            insort(self._not_finite, trial_id)
            return
        group = self._group(vector)
        self._n_feasible += group is self._feasible
        group.insert(trial_id, vector)
        self._open.add(trial_id)

    def shut(self, trial_id: int) -> None:
        """Marks a trial as no longer a candidate; it keeps its rank. No effect if it is unknown or already shut."""
        if trial_id in self._open:
            self._open.remove(trial_id)
            vector = self._losses[trial_id]
            self._group(vector).close(trial_id, vector)

    def arrival(self, trial_id: int, loss: npt.ArrayLike, k: int) -> Place:
        """Returns the place that this trial would have if it arrived now, and whether it is among the first `k`."""
        vector = self._vector(loss)
        if not _is_finite(vector):
            return self._last_place(trial_id, len(self) + 1)
        if is_violator(vector):
            return self._behind(len(self) + 1, self._violating.arrival(trial_id, vector, k - self._n_feasible))
        return _place(len(self) + 1, self._feasible.arrival(trial_id, vector, k))

    def place(self, trial_id: int, k: int) -> Place:
        """Returns the place of a trial that has been added, and whether it is among the first `k`."""
        vector = self._losses[trial_id]
        if not _is_finite(vector):
            return self._last_place(trial_id, len(self))
        if is_violator(vector):
            return self._behind(len(self), self._violating.place(trial_id, vector, k - self._n_feasible))
        return _place(len(self), self._feasible.place(trial_id, vector, k))

    def is_open_among(self, trial_id: int, k: int) -> bool:
        """Returns whether a trial has been added, is open and finite, and is among the first `k`."""
        return trial_id in self._open and self.place(trial_id, k).is_in

    def first_open(self, k: int, exclude: Container[int] = ()) -> int | None:
        """Returns the best open finite trial among the first `k`, leaving out `exclude`; None if there is none."""
        if not self._open or k < 1:
            return None
        best = self._feasible.first_open(k, exclude)
        return self._violating.first_open(k - self._n_feasible, exclude) if best is None else best

    def order(self) -> list[int]:
        """Returns the ids of all trials, best first; violators come after feasible ones, and not finite ones last."""
        return self._feasible.order() + self._violating.order() + self._not_finite

    def open_order(self) -> list[int]:
        """Returns the ids of the open finite trials, best first."""
        finite = self._feasible.order() + self._violating.order()
        return [trial_id for trial_id in finite if trial_id in self._open]

    def _group(self, vector: tuple[float, ...]) -> FiniteOrder:
        return self._violating if is_violator(vector) else self._feasible

    def _behind(self, n_trials: int, span: Span) -> Place:
        """Returns the place of a violator from its place among the violators."""
        first, last = span.first + self._n_feasible, span.last + self._n_feasible
        return Place(n_trials, True, None, first, last, span.is_in, is_feasible=False)

    def _vector(self, loss: npt.ArrayLike) -> tuple[float, ...]:
        vector = tuple(np.asarray(loss, dtype=np.float64).ravel().tolist())
        if len(vector) != self._n_objectives:
            raise ArgumentError("loss", vector, f"{self._n_objectives} numbers, one per objective")
        return vector

    def _last_place(self, trial_id: int, n_trials: int) -> Place:
        rank = len(self._losses) - len(self._not_finite) + bisect_left(self._not_finite, trial_id)
        return Place(n_trials, False, None, rank, rank, False)


def _is_finite(vector: tuple[float, ...]) -> bool:
    return all(map(math.isfinite, vector))


def _place(n_trials: int, span: Span) -> Place:
    return Place(n_trials, True, span.front, span.first, span.last, span.is_in)
