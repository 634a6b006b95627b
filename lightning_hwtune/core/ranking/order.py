"""The total order of points: front by front, within a front by a named strategy (`within`); then violators of a
constraint, the least violation first; non-finite points last.

Ties go to the lower index, so rows should be sorted by trial id. An order is a list of indices, best first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.feasibility import violator_mask
from lightning_hwtune.core.ranking.front_order import DEFAULT_WITHIN, within_front
from lightning_hwtune.core.ranking.fronts import front_ranks, loss_matrix
from lightning_hwtune.core.ranking.scale import Scale
from lightning_hwtune.core.ranking.scaled_front import scaled_front

__all__ = ["total_order"]


def total_order(losses: npt.ArrayLike, within: str = DEFAULT_WITHIN) -> npt.NDArray[np.int64]:
    """Returns the indices of all rows, best first, shape `(n_points,)`.

    Args:
        losses: minimised, shape `(n_points, n_objectives)`; rows that are not finite come last, by index.
        within: the order within a front, a key of `front_order.WITHIN`.
    """
    matrix, strategy = loss_matrix(losses), within_front(within)
    is_finite = np.isfinite(matrix).all(axis=1)
    is_violating = violator_mask(matrix)
    finite, rest = np.flatnonzero(is_finite & ~is_violating), np.flatnonzero(~is_finite)
    if is_violating.any():
        violating = np.flatnonzero(is_violating)
        rest = np.concatenate([violating[matrix[violating, 0].argsort(kind="stable")], rest])
    if not len(finite):
        return rest
    rows = matrix[finite]
    scale, ranks = Scale.of(rows), front_ranks(rows)
    order: list[int] = []
    for front in range(int(ranks.max()) + 1):
        members = np.flatnonzero(ranks == front)
        order += scaled_front(strategy, finite[members], rows[members], scale)
    return np.concatenate([np.array(order, dtype=np.int64), rest])
