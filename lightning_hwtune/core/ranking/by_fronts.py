"""The order of trials with several losses: front by front, inside a front by a named strategy.

Which front a trial is in decides nearly always. The order inside a front is needed only for the one front of which a
part is among the first k, so it is computed for that front alone, no further than asked, and kept until the front or
the scale changes. The answers are those of `order.total_order` on all trials by trial id.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from itertools import islice
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.finite import FiniteOrder, Span
from lightning_hwtune.core.ranking.front_sets import FrontSets, Loss
from lightning_hwtune.core.ranking.layers import Layers
from lightning_hwtune.core.ranking.order import WithinFront, to_unit, within_front
from lightning_hwtune.core.ranking.staircases import Staircases

__all__ = ["ByFronts"]


@final
class ByFronts(FiniteOrder):
    """By front, then by the strategy `within`, then by trial id.

    Args:
        exact_up_to: trials; beyond them a rank that decides nothing is given as the range of its front.
    """

    def __init__(self, n_objectives: int, within: str, exact_up_to: int) -> None:
        self._strategy, self._exact_up_to = within_front(within), exact_up_to
        self._fronts: FrontSets = Staircases() if n_objectives == 2 else Layers(n_objectives)
        self._n = 0
        self._low: tuple[float, ...] = (np.inf,) * n_objectives
        self._high: tuple[float, ...] = (-np.inf,) * n_objectives
        self._orders: dict[int, _FrontOrder] = {}
        self._foreseen: tuple[int, Loss, int, _FrontOrder] | None = None

    def insert(self, trial_id: int, loss: Loss) -> None:
        """A trial arrives, open."""
        changed = self._fronts.insert(trial_id, loss)
        self._n += 1
        if self._has_wider_scale(loss):
            self._low, self._high = self._scale_with(loss)
            self._orders.clear()
        for front in [front for front in self._orders if front in changed]:
            del self._orders[front]
        foreseen, self._foreseen = self._foreseen, None
        if foreseen is not None and foreseen[:2] == (trial_id, loss):
            self._orders[foreseen[2]] = foreseen[3]

    def close(self, trial_id: int, loss: Loss) -> None:
        """An open trial of this loss is no longer open."""
        self._fronts.close(trial_id, loss)

    def arrival(self, trial_id: int, loss: Loss, k: int) -> Span:
        """Returns the place that this trial would have if it arrived now; changes nothing that can be seen."""
        front = self._fronts.front_of(loss)
        n_ahead = self._fronts.n_ahead(front)
        if n_ahead >= k and self._n > self._exact_up_to:
            return Span(front, n_ahead, n_ahead + self._fronts.size(front), False)
        ids, losses = self._fronts.members(front)
        is_staying = ~((losses >= loss).all(axis=1) & (losses > loss).any(axis=1))
        ids, losses = ids[is_staying], losses[is_staying]
        at = int(ids.searchsorted(trial_id))
        ids, losses = np.insert(ids, at, trial_id), np.insert(losses, at, loss, axis=0)
        low, high = self._scale_with(loss)
        order = _FrontOrder(ids, losses, low, high, self._strategy)
        self._foreseen = (trial_id, loss, front, order)
        return self._span(trial_id, front, n_ahead, k, order)

    def place(self, trial_id: int, loss: Loss, k: int) -> Span:
        """Returns the place of a trial that is here."""
        front = self._fronts.front_of(loss)
        return self._span(trial_id, front, self._fronts.n_ahead(front), k, self._order_of(front))

    def first_open(self, k: int, exclude: Container[int]) -> int | None:
        """Returns the best open trial among the first `k` that is not excluded, or None."""
        partly_in, n_in = self._fronts.split(k)
        for front in self._fronts.fronts_with_open(partly_in):
            free = [i for i in self._fronts.open_members(front) if i not in exclude]
            if free:
                return free[0] if len(free) == 1 else self._order_of(front).best_of(set(free))
        if n_in and self._fronts.has_open(partly_in):
            free = [i for i in self._fronts.open_members(partly_in) if i not in exclude]
            return self._order_of(partly_in).best_of(set(free), n_in)
        return None

    def order(self) -> list[int]:
        """Returns all trial ids, best first."""
        return [i for front in range(self._fronts.n_fronts) for i in self._order_of(front)]

    def _span(self, trial_id: int, front: int, n_ahead: int, k: int, order: _FrontOrder) -> Span:
        last = n_ahead + len(order) - 1
        is_needed = n_ahead < k <= last
        if not is_needed and self._n > self._exact_up_to:
            return Span(front, n_ahead, last, last < k)
        position = order.position(trial_id, len(order) if self._n <= self._exact_up_to else k - n_ahead)
        if position is None:
            return Span(front, k, last, False)
        return Span(front, n_ahead + position, n_ahead + position, n_ahead + position < k)

    def _order_of(self, front: int) -> _FrontOrder:
        if front not in self._orders:
            ids, losses = self._fronts.members(front)
            self._orders[front] = _FrontOrder(ids, losses, self._low, self._high, self._strategy)
        return self._orders[front]

    def _has_wider_scale(self, loss: Loss) -> bool:
        return any(x < low or x > high for x, low, high in zip(loss, self._low, self._high, strict=True))

    def _scale_with(self, loss: Loss) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return tuple(map(min, self._low, loss)), tuple(map(max, self._high, loss))


class _FrontOrder:
    """The order inside one front, computed as far as it was asked for."""

    __slots__ = ("_ids", "_losses", "_rest", "_scale", "_strategy", "_taken")

    def __init__(
        self,
        ids: npt.NDArray[np.int64],
        losses: npt.NDArray[np.float64],
        low: tuple[float, ...],
        high: tuple[float, ...],
        strategy: WithinFront,
    ) -> None:
        self._ids: list[int] = ids.tolist()
        self._losses, self._scale, self._strategy = losses, (low, high), strategy
        self._taken: list[int] = []
        self._rest: Iterator[int] | None = None

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[int]:
        """Yields the trial ids, best first; the order goes on where the last reader stopped."""
        yield from self._taken
        if self._rest is None:
            self._rest = self._strategy(to_unit(self._losses, np.array(self._scale[0]), np.array(self._scale[1])))
        for index in self._rest:
            self._taken.append(self._ids[index])
            yield self._taken[-1]

    def position(self, trial_id: int, n: int) -> int | None:
        """Returns a member's position if it is among the first `n`, otherwise None."""
        return next((i for i, other in enumerate(islice(self, n)) if other == trial_id), None)

    def best_of(self, trial_ids: set[int], n: int | None = None) -> int | None:
        """Returns the first of `trial_ids` in the order, looking at no more than `n` members."""
        return next((trial_id for trial_id in islice(self, n) if trial_id in trial_ids), None)
