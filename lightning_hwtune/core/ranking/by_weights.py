"""The order of trials by a weighted sum of their losses.

Losses are scaled (`ranking.scale`), so that units do not matter. A trial that changes the scale can thereby change the
whole order; one that is the worst in every objective, or whose loss has exploded, does not. An arrival costs a
bisection and a shift, or O(n log n) when the scale changes, which becomes rarer as trials are added.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container, Sequence
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.finite import FiniteOrder, Span
from lightning_hwtune.core.ranking.front_sets import Loss
from lightning_hwtune.core.ranking.scale import GrowingScale, Scale

__all__ = ["ByWeights"]

Matrix = npt.NDArray[np.float64]


@final
class ByWeights(FiniteOrder):
    """Orders by the weighted sum of the scaled losses, then by trial id.

    Args:
        weights: one non-negative weight per objective.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self._weights = tuple(weights)
        self._losses: dict[int, tuple[float, ...]] = {}
        self._growing, self._scale = GrowingScale(len(self._weights)), Scale((), (), ())
        self._sorted: list[tuple[float, int]] = []
        self._open: list[tuple[float, int]] = []

    def insert(self, trial_id: int, loss: Loss) -> None:
        """Adds a new, open trial."""
        self._losses[trial_id] = tuple(loss)
        scale = self._growing.add(loss)
        if scale != self._scale:
            is_open = {i for _, i in self._open} | {trial_id}
            self._scale = scale
            scores = self._scores(list(self._losses.values()), scale)
            self._sorted = sorted(zip(scores, self._losses, strict=True))
            self._open = [pair for pair in self._sorted if pair[1] in is_open]
        else:
            insort(self._sorted, self._pair(trial_id, loss))
            insort(self._open, self._pair(trial_id, loss))

    def close(self, trial_id: int, loss: Loss) -> None:
        """Marks an open trial with this loss as no longer open."""
        del self._open[bisect_left(self._open, self._pair(trial_id, loss))]

    def arrival(self, trial_id: int, loss: Loss, k: int) -> Span:
        """Returns the place that this trial would have if it arrived now; has no effect."""
        scale = self._growing.with_one_more(loss)
        if scale == self._scale:
            return self.place(trial_id, loss, k)
        *others, own = self._scores([*self._losses.values(), tuple(loss)], scale)
        rank = sum(pair < (own, trial_id) for pair in zip(others, self._losses, strict=True))
        return Span(None, rank, rank, rank < k)

    def place(self, trial_id: int, loss: Loss, k: int) -> Span:
        """Returns the place of a trial that has been added."""
        rank = bisect_left(self._sorted, self._pair(trial_id, loss))
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

    def _pair(self, trial_id: int, loss: Loss) -> tuple[float, int]:
        return self._scores([tuple(loss)], self._scale)[0], trial_id

    def _scores(self, losses: list[tuple[float, ...]], scale: Scale) -> list[float]:
        unit = scale.unit(np.array(losses))
        total: Matrix = self._weights[0] * unit[:, 0]
        for weight, column in zip(self._weights[1:], unit.T[1:], strict=True):
            total = total + weight * column  # one by one, as the rounding of a matrix product depends on its row count
        scores: list[float] = total.tolist()
        return scores
