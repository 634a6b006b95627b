"""The order within one front on a scale: the strategy's order, and behind it the trials with an exploded loss.

An exploded loss is a result that no user wants, although it may be on the front as the fastest. It is not an extreme
to which others are compared, so the others have the order that they would have without it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import ClassVar, final

import numpy as np

from lightning_hwtune.core.ranking.front_order import FrontOrder, Ids, Mask, Points
from lightning_hwtune.core.ranking.scale import Scale

__all__ = ["scaled_front"]


def scaled_front(strategy: type[FrontOrder], ids: Ids, losses: Points, scale: Scale) -> FrontOrder:
    """Returns the order of the members of one front.

    Args:
        ids: distinct, in any order, shape `(n,)`.
        losses: finite, where no member dominates another, shape `(n, n_objectives)`.
    """
    if not scale.is_any_exploded(losses):
        return strategy(ids, scale.unit(losses))
    exploded = scale.exploded(losses)
    return _ExplodedLast(strategy(ids[~exploded], scale.unit(losses[~exploded])), ids, exploded)


@final
class _ExplodedLast(FrontOrder):
    """An order of some members, followed by the exploded ones by id."""

    name: ClassVar[str] = "exploded_last"

    def __init__(self, order: FrontOrder, ids: Ids, exploded: Mask) -> None:
        self._order, self._ids, self._exploded = order, ids, exploded
        self._last: list[int] = np.sort(ids[exploded]).tolist()
        self._n = len(ids) - len(self._last)

    def __iter__(self) -> Iterator[int]:
        """Yields the ids, best first."""
        yield from self._order
        yield from self._last

    def position(self, trial_id: int, n: int) -> int | None:
        """Returns a member's position, from 0, if it is among the first `n`; otherwise None."""
        if trial_id not in self._last:
            return self._order.position(trial_id, n)
        position = self._n + self._last.index(trial_id)
        return position if position < n else None

    def best_of(self, is_candidate: Mask, exclude: Container[int], n: int) -> int | None:
        """Returns the best candidate among the first `n`, leaving out `exclude`; None if there is none."""
        best = self._order.best_of(is_candidate[~self._exploded], exclude, n) if self._n else None
        if best is not None:
            return best
        candidates = set(self._ids[is_candidate & self._exploded].tolist())
        last = self._last[: max(0, n - self._n)]
        return next((trial_id for trial_id in last if trial_id in candidates and trial_id not in exclude), None)
