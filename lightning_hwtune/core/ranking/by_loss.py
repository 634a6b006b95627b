"""The order of trials by one loss, in two sorted lists. An arrival costs a bisection and one shift."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container
from typing import final

from lightning_hwtune.core.ranking.finite import FiniteOrder, Span
from lightning_hwtune.core.ranking.front_sets import Loss

__all__ = ["ByLoss"]


@final
class ByLoss(FiniteOrder):
    """Orders by one loss, then by trial id.

    Args:
        index: the index of the loss that decides.
    """

    def __init__(self, index: int = 0) -> None:
        self._index = index
        self._sorted: list[tuple[float, int]] = []
        self._open: list[tuple[float, int]] = []

    def insert(self, trial_id: int, loss: Loss) -> None:
        """Adds a new, open trial."""
        insort(self._sorted, (loss[self._index], trial_id))
        insort(self._open, (loss[self._index], trial_id))

    def close(self, trial_id: int, loss: Loss) -> None:
        """Marks an open trial with this loss as no longer open."""
        del self._open[bisect_left(self._open, (loss[self._index], trial_id))]

    def arrival(self, trial_id: int, loss: Loss, k: int) -> Span:
        """Returns the place that this trial would have if it arrived now; has no effect."""
        return self.place(trial_id, loss, k)

    def place(self, trial_id: int, loss: Loss, k: int) -> Span:
        """Returns the place of a trial that has been added."""
        rank = bisect_left(self._sorted, (loss[self._index], trial_id))
        return Span(None, rank, rank, rank < k)

    def first_open(self, k: int, exclude: Container[int]) -> int | None:
        """Returns the best open trial among the first `k`, leaving out `exclude`; None if there is none."""
        for pair in self._open:
            if pair[1] not in exclude:
                return pair[1] if bisect_left(self._sorted, pair) < k else None
        return None

    def order(self) -> list[int]:
        """Returns all trial ids, best first."""
        return [trial_id for _, trial_id in self._sorted]
