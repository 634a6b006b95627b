"""Non-dominated fronts of a loss matrix.

A point dominates another if it is nowhere worse and somewhere better. Front 0 contains the points that no other point
dominates, front 1 those that only points of front 0 dominate, and so on (Goldberg's non-dominated sorting, as in Deb et
al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", 2002). Exact duplicates never dominate each other
and share a front. Rows with a value that is not finite share one last front, behind all finite rows.

Cost of the ranks: O(n log n) for one and two objectives, O(n^2) vectorised steps for more.
"""

from __future__ import annotations

import bisect

import numpy as np
import numpy.typing as npt

from lightning_hwtune.errors import ArgumentError

__all__ = ["front_ranks", "is_dominated", "loss_matrix", "non_dominated_mask"]

_FEW = 256  # rows of three or more objectives for which the ranks are quick enough


def loss_matrix(losses: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Returns `losses` as a float matrix.

    Raises:
        ArgumentError: it does not have two dimensions, or has no objective.
    """
    matrix = np.asarray(losses, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise ArgumentError("losses", f"shape {matrix.shape}", "a matrix (n_points, n_objectives)")
    return matrix


def front_ranks(losses: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Returns the front of each row, shape `(n_points,)`; 0 means non-dominated.

    Args:
        losses: minimised, shape `(n_points, n_objectives)`; rows that are not finite get the last front.
    """
    matrix = loss_matrix(losses)
    is_finite = np.isfinite(matrix).all(axis=1)
    ranks = np.zeros(len(matrix), dtype=np.int64)
    if is_finite.any():
        # sorted by the first objective, then by the next ones, so every row comes after those that dominate it
        distinct, copies = np.unique(matrix[is_finite], axis=0, return_inverse=True)
        ranks[is_finite] = _ranks_of_sorted(distinct)[copies.reshape(-1)]
        ranks[~is_finite] = ranks.max() + 1
    return ranks


def non_dominated_mask(losses: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Returns True for the finite rows that no other row dominates, shape `(n_points,)`."""
    matrix = loss_matrix(losses)
    mask: npt.NDArray[np.bool_] = np.asarray(np.isfinite(matrix).all(axis=1))
    if matrix.shape[1] <= 2:
        mask[mask] = _is_first(matrix[mask])
    elif np.count_nonzero(mask) <= _FEW:
        mask[mask] = front_ranks(matrix[mask]) == 0
    else:
        import moocore  # takes 0.1 s to import, and is faster only for many rows

        mask[mask] = moocore.is_nondominated(matrix[mask], keep_weakly=True)
    return mask


def is_dominated(loss: npt.ArrayLike, losses: npt.ArrayLike) -> bool:
    """Returns whether any row of `losses` dominates the vector `loss`, shape `(n_objectives,)`.

    Every finite row dominates a vector that is not finite. A row that is not finite dominates nothing.
    """
    matrix, point = loss_matrix(losses), np.asarray(loss, dtype=np.float64)
    rows = matrix[np.isfinite(matrix).all(axis=1)]
    if not np.isfinite(point).all():
        return len(rows) > 0
    return bool(((rows <= point).all(axis=1) & (rows < point).any(axis=1)).any())


def _is_first(finite: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Returns which finite rows of one or two objectives no other row dominates."""
    if finite.shape[1] == 1 or not len(finite):
        return np.asarray(finite[:, 0] == finite[:, 0].min(initial=np.inf))
    order = np.lexsort((finite[:, 1], finite[:, 0]))
    rows = finite[order]
    is_new = np.ones(len(rows), dtype=np.bool_)
    is_new[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    distinct = rows[is_new, 1]
    is_below = np.append(True, distinct[1:] < np.minimum.accumulate(distinct)[:-1])
    mask = np.empty(len(rows), dtype=np.bool_)
    mask[order] = is_below[np.cumsum(is_new) - 1]
    return mask


def _ranks_of_sorted(distinct: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Returns the fronts of distinct finite rows in lexicographic order."""
    if distinct.shape[1] == 1:
        return np.arange(len(distinct))
    if distinct.shape[1] == 2:
        return _ranks_by_tails(distinct[:, 1])
    ranks = np.zeros(len(distinct), dtype=np.int64)
    for i in range(1, len(distinct)):
        dominators = (distinct[:i] <= distinct[i]).all(axis=1)
        ranks[i] = ranks[:i].max(where=dominators, initial=-1) + 1
    return ranks


def _ranks_by_tails(second: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Returns fronts for two objectives: in sorted order, a front dominates a row if its lowest second loss does."""
    ranks = np.empty(len(second), dtype=np.int64)
    tails: list[float] = []
    for i, value in enumerate(second.tolist()):
        ranks[i] = front = bisect.bisect_right(tails, value)
        tails[front : front + 1] = [value]
    return ranks
