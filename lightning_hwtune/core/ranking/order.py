"""The total order of points: front by front, and inside a front by a named strategy.

- "farthest_first": begins with the best of the first objective, and goes on with the point that is farthest from all
  chosen ones (Gonzalez 1985; as order inside a front: Salinas et al., "A multi-objective perspective on jointly tuning
  hardware and hyperparameters", 2021, there called epsilon-net). Difference from the paper: losses are scaled to [0, 1]
  by the extremes of all finite points first, so that no unit decides.
- "hypervolume_contribution": most exclusive hypervolume first (plain, not greedy: all are measured against the whole
  front), on the same scale, with the reference at 1.1 in every objective. Of exact duplicates the first one gets the
  contribution of the place, the others get none.

Ties go to the lower index, so rows should come by trial id. An *order* lists indices, best first; a *rank* is a
position in it: `ranks_of` converts, and nothing here returns one for the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.fronts import front_ranks, loss_matrix
from lightning_hwtune.errors import ArgumentError, nearest

__all__ = [
    "WITHIN",
    "WithinFront",
    "farthest_first",
    "hypervolume_contribution",
    "ranks_of",
    "to_unit",
    "total_order",
    "within_front",
]

WithinFront = Callable[[npt.NDArray[np.float64]], Iterator[int]]

_TABLE_UP_TO = 256  # points; all distances at once are faster up to here, and cost more memory than time beyond
_REFERENCE = 1.1  # a little beyond the worst point, so that the ends of a front contribute too


def to_unit(
    losses: npt.NDArray[np.float64], low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Returns finite losses scaled so that `low` is 0 and `high` is 1; an objective with low == high becomes 0."""
    # halves, because the difference of two finite numbers may be infinite
    span = 0.5 * high - 0.5 * low
    return (0.5 * losses - 0.5 * low) / np.where(span > 0, span, np.inf)


def farthest_first(points: npt.NDArray[np.float64]) -> Iterator[int]:
    """Yields the indices of one front in farthest-first order; O(n_points) for each.

    Args:
        points: scaled to about [0, 1], finite, shape `(n_points, n_objectives)`.
    """
    if not len(points):
        return
    columns = np.ascontiguousarray(points.T)
    away = _squared_distances(columns, columns) if len(points) <= _TABLE_UP_TO else None
    nearest_chosen = np.full(len(points), np.inf)
    chosen = int(columns[0].argmin())
    for _ in range(len(points)):
        yield chosen
        row = away[chosen] if away is not None else _squared_distances(columns, columns[:, chosen : chosen + 1])[0]
        np.minimum(nearest_chosen, row, out=nearest_chosen)
        nearest_chosen[chosen] = -1.0  # below the 0 of its own duplicates
        chosen = int(nearest_chosen.argmax())


def _squared_distances(columns: npt.NDArray[np.float64], to: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns a row for each point of `to`; both have one row for each objective."""
    total: npt.NDArray[np.float64] = (to[0][:, None] - columns[0]) ** 2
    for column, others in zip(columns[1:], to[1:], strict=True):
        total += (others[:, None] - column) ** 2
    return total


def hypervolume_contribution(points: npt.NDArray[np.float64]) -> Iterator[int]:
    """Yields the indices of one front by falling exclusive hypervolume. Argument as `farthest_first`."""
    distinct, first = np.unique(points, axis=0, return_index=True)
    gains = np.full(len(points), -1.0)
    gains[first] = _contributions(distinct)
    yield from np.argsort(-gains, kind="stable").tolist()


def _contributions(front: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the exclusive hypervolumes of the distinct, lexicographically sorted points of one front."""
    if front.shape[1] == 2:
        to_right = np.diff(front[:, 0], append=_REFERENCE)
        to_upper = -np.diff(front[:, 1], prepend=_REFERENCE)
        gains: npt.NDArray[np.float64] = to_right * to_upper
        return gains
    if len(front) == 1 or front.shape[1] == 1:
        return np.ones(len(front))
    import moocore  # costs an import of 0.1 s that few studies need

    return np.asarray(moocore.hv_contributions(front, ref=np.full(front.shape[1], _REFERENCE)))


WITHIN: Mapping[str, WithinFront] = {
    "farthest_first": farthest_first,
    "hypervolume_contribution": hypervolume_contribution,
}


def within_front(name: str) -> WithinFront:
    """Returns the order inside a front that has this name.

    Raises:
        ArgumentError: there is none.
    """
    if name not in WITHIN:
        raise ArgumentError("within", name, f"{', '.join(map(repr, WITHIN))}{nearest(str(name), WITHIN)}")
    return WITHIN[name]


def total_order(losses: npt.ArrayLike, within: str = "farthest_first") -> npt.NDArray[np.int64]:
    """Returns the indices of all rows, best first, shape `(n_points,)`.

    Args:
        losses: minimised, shape `(n_points, n_objectives)`; rows that are not finite come last, by index.
        within: a key of `WITHIN`.
    """
    matrix, strategy = loss_matrix(losses), within_front(within)
    is_finite = np.isfinite(matrix).all(axis=1)
    finite, rest = np.flatnonzero(is_finite), np.flatnonzero(~is_finite)
    if not len(finite):
        return rest
    rows = matrix[finite]
    unit = to_unit(rows, rows.min(axis=0), rows.max(axis=0))
    ranks = front_ranks(rows)
    parts = []
    for front in range(int(ranks.max()) + 1):
        members = np.flatnonzero(ranks == front)
        parts.append(finite[members[list(strategy(unit[members]))]])
    return np.concatenate([*parts, rest])


def ranks_of(order: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Returns each index's position in `order`, the inverse permutation; 0 = best."""
    indices = np.asarray(order, dtype=np.int64)
    ranks = np.empty(len(indices), dtype=np.int64)
    ranks[indices] = np.arange(len(indices))
    return ranks
