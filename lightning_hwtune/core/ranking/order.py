"""The total order of a rung: by front, and inside a front by a named strategy.

"farthest_first" is the epsilon-net order of Schmucker et al., "Multi-objective Asynchronous Successive Halving", 2021
(arXiv 2106.12639), after Clarkson: begin with the best point of the first objective, then always take the point that is
farthest from those taken. Differs from the authors' code in two ways: values are min-max-normalised over the rung's
finite points, so that no objective decides by its scale; and what is returned is an order, converted to ranks only by
`ranks_of` (their code reads the order as ranks).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.fronts import front_ranks
from lightning_hwtune.errors import ArgumentError, nearest

__all__ = ["STRATEGIES", "check_strategy", "farthest_first", "normalised", "ranks_of", "total_order"]

Floats = npt.NDArray[np.float64]
Order = npt.NDArray[np.intp]


def normalised(losses: Floats) -> Floats:
    """Returns `losses` scaled to [0, 1] per objective over the finite rows; a constant objective becomes 0."""
    finite = losses[np.isfinite(losses).all(axis=1)]
    if not len(finite):
        return np.zeros_like(losses)
    low, span = finite.min(axis=0), np.ptp(finite, axis=0)
    return (losses - low) / np.where(span > 0, span, 1.0)


def farthest_first(points: Floats) -> Order:
    """Returns the farthest-first order of a front, best first, shape `(n_points,)`; O(n^2).

    Args:
        points: normalised losses, shape `(n_points, n_objectives)`. Ties go to the lower row.
    """
    n = len(points)
    order = np.empty(n, dtype=np.intp)
    if n == 0:
        return order
    order[0] = np.lexsort((np.arange(n), *points.T[::-1]))[0]
    distance = np.full(n, np.inf)
    for i in range(1, n):
        taken = points[order[i - 1]]
        np.minimum(distance, ((points - taken) ** 2).sum(axis=1), out=distance)
        distance[order[:i]] = -1.0
        order[i] = distance.argmax()
    return order


STRATEGIES: dict[str, Callable[[Floats], Order]] = {"farthest_first": farthest_first}
"""Name -> order of one front's normalised points."""


def check_strategy(within: str) -> str:
    """Returns the name of an in-front order.

    Raises:
        ArgumentError: there is none of that name.
    """
    if within not in STRATEGIES:
        raise ArgumentError("within", within, f"one of {sorted(STRATEGIES)}{nearest(str(within), STRATEGIES)}")
    return within


def total_order(losses: npt.ArrayLike, within: str = "farthest_first") -> Order:
    """Returns the rows in order, best first, shape `(n_points,)`; rows that are not finite come last, by row.

    Args:
        losses: shape `(n_points, n_objectives)`, all minimised.
        within: the order inside a front.
    """
    matrix = np.asarray(losses, dtype=np.float64)
    is_finite = np.isfinite(matrix).all(axis=1)
    scaled, ranks = normalised(matrix), front_ranks(matrix)
    parts = []
    for rank in range(int(ranks[is_finite].max(initial=-1)) + 1):
        rows = np.flatnonzero(is_finite & (ranks == rank))
        parts.append(rows[STRATEGIES[within](scaled[rows])])
    return np.concatenate([*parts, np.flatnonzero(~is_finite)]).astype(np.intp)


def ranks_of(order: Order) -> Order:
    """Returns each row's place in the order: the inverse permutation."""
    places = np.empty(len(order), dtype=np.intp)
    places[order] = np.arange(len(order))
    return places
