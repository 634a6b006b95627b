"""The order of trials with several losses: front by front, and within a front by a named strategy.

Usually only the front of a trial matters. The order within a front is needed only for the one front that is partly
among the first k. It is therefore computed for that front alone, only as far as needed, and kept until the front or
the scale changes. The answers are those of `order.total_order` on all trials by trial id.
"""

from __future__ import annotations

from collections.abc import Container
from typing import final

from lightning_hwtune.core.ranking.finite import FiniteOrder, Span
from lightning_hwtune.core.ranking.front_order import FrontOrder, within_front
from lightning_hwtune.core.ranking.front_sets import FrontSets, Loss, Members
from lightning_hwtune.core.ranking.layers import Layers
from lightning_hwtune.core.ranking.scale import GrowingScale, Scale
from lightning_hwtune.core.ranking.scaled_front import scaled_front
from lightning_hwtune.core.ranking.staircases import Staircases

__all__ = ["ByFronts"]

_N_KEPT = 8  # orders; one decision needs one or two, and each may contain a table of distances


@final
class ByFronts(FiniteOrder):
    """Orders by front, then by the strategy `within`, then by trial id.

    Args:
        exact_up_to: in a rung with more trials than this, a rank that decides nothing is the range of its front.
    """

    def __init__(self, n_objectives: int, within: str, exact_up_to: int) -> None:
        self._strategy, self._exact_up_to = within_front(within), exact_up_to
        self._fronts: FrontSets = Staircases() if n_objectives == 2 else Layers(n_objectives)
        self._n = 0
        self._growing = GrowingScale(n_objectives)
        self._scale = Scale((), (), ())
        self._orders: dict[int, FrontOrder] = {}
        self._asked: tuple[Loss, int] | None = None
        self._foreseen: tuple[int, Loss, int, FrontOrder] | None = None

    def insert(self, trial_id: int, loss: Loss) -> None:
        """Adds a new, open trial."""
        changed = self._fronts.insert(trial_id, loss, self._front_of(loss))
        self._asked = None
        self._n += 1
        scale = self._growing.add(loss)
        if scale != self._scale:
            self._scale = scale
            self._orders.clear()
        for front in [front for front in self._orders if front in changed]:
            del self._orders[front]
        foreseen, self._foreseen = self._foreseen, None
        if foreseen is not None and foreseen[:2] == (trial_id, loss):
            self._keep(foreseen[2], foreseen[3])

    def close(self, trial_id: int, loss: Loss) -> None:
        """Marks an open trial with this loss as no longer open."""
        self._fronts.close(trial_id, loss)

    def arrival(self, trial_id: int, loss: Loss, k: int) -> Span:
        """Returns the place that this trial would have if it arrived now; has no visible effect."""
        front = self._front_of(loss)
        span = Span(front, *self._bounds(front, self._fronts.size(front) + 1, k))  # if it pushes no trial out
        if not self._is_exact_rank_due(span, k):
            return span
        order = self._new_order(self._fronts.members_with(trial_id, loss, front), self._growing.with_one_more(loss))
        self._foreseen = (trial_id, loss, front, order)
        return _exact(span, trial_id, k, order, self._n_looked_at(span, k))

    def place(self, trial_id: int, loss: Loss, k: int) -> Span:
        """Returns the place of a trial that has been added."""
        front = self._fronts.front_of(loss)
        span = Span(front, *self._bounds(front, self._fronts.size(front), k))
        if not self._is_exact_rank_due(span, k):
            return span
        return _exact(span, trial_id, k, self._order_of(front), self._n_looked_at(span, k))

    def first_open(self, k: int, exclude: Container[int]) -> int | None:
        """Returns the best open trial among the first `k`, leaving out `exclude`; None if there is none."""
        partly_in, n_in = self._fronts.split(k)
        for front in self._fronts.fronts_with_open(partly_in):
            best = self._best_open(front, exclude, self._fronts.size(front))
            if best is not None:
                return best
        return self._best_open(partly_in, exclude, n_in) if n_in and self._fronts.has_open(partly_in) else None

    def _best_open(self, front: int, exclude: Container[int], n: int) -> int | None:
        return self._order_of(front).best_of(self._fronts.is_open(front), exclude, n)

    def order(self) -> list[int]:
        """Returns all trial ids, best first."""
        return [
            i
            for front in range(self._fronts.n_fronts)
            for i in self._new_order(self._fronts.members(front), self._scale)
        ]

    def _bounds(self, front: int, size: int, k: int) -> tuple[int, int, bool]:
        """Returns the first and last rank in a front of this size, and whether all of it is among the first `k`."""
        first = self._fronts.n_ahead(front)
        return first, first + size - 1, first + size <= k

    def _is_exact_rank_due(self, span: Span, k: int) -> bool:
        """Returns whether the order within the front decides, or the rung is small enough for an exact rank anyway."""
        return self._n <= self._exact_up_to or span.first < k <= span.last

    def _n_looked_at(self, span: Span, k: int) -> int:
        """Returns how far into its front a trial is searched for: in a large rung, only as far as is needed."""
        return (span.last + 1 if self._n <= self._exact_up_to else k) - span.first

    def _front_of(self, loss: Loss) -> int:
        """Returns the front of a new trial; cached, as a trial is usually added right after a question about it."""
        if self._asked is None or self._asked[0] != loss:
            self._asked = loss, self._fronts.front_of(loss)
        return self._asked[1]

    def _order_of(self, front: int) -> FrontOrder:
        if front not in self._orders:
            self._keep(front, self._new_order(self._fronts.members(front), self._scale))
        return self._orders[front]

    def _keep(self, front: int, order: FrontOrder) -> None:
        while len(self._orders) >= _N_KEPT:
            del self._orders[next(iter(self._orders))]
        self._orders[front] = order

    def _new_order(self, members: Members, scale: Scale) -> FrontOrder:
        return scaled_front(self._strategy, *members, scale)


def _exact(span: Span, trial_id: int, k: int, order: FrontOrder, n: int) -> Span:
    """Returns the span narrowed to the trial's rank, or to the ranks after the first `n` of its front."""
    position = order.position(trial_id, n)
    if position is None:
        return Span(span.front, span.first + n, span.last, False)
    rank = span.first + position
    return Span(span.front, rank, rank, rank < k)
