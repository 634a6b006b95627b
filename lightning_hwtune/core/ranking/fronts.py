"""Pareto fronts of a loss matrix.

A point dominates another if it is nowhere worse and somewhere better; exact duplicates do not dominate each other and
share a front. A row with a value that is not finite is worse than every finite row: such rows share the last front.
"""

from __future__ import annotations

import moocore
import numpy as np
import numpy.typing as npt

__all__ = ["front_ranks", "non_dominated_mask"]


def front_ranks(losses: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """Returns the front rank of each row, 0 = non-dominated; O(n log n) for two objectives.

    Args:
        losses: shape `(n_points, n_objectives)`, all minimised; NaN and infinity rank last.
    """
    matrix = np.asarray(losses, dtype=np.float64)
    is_finite = np.isfinite(matrix).all(axis=1)
    ranks = np.zeros(len(matrix), dtype=np.intp)
    if is_finite.any():
        ranks[is_finite] = moocore.pareto_rank(matrix[is_finite])
        ranks[~is_finite] = ranks[is_finite].max() + 1
    return ranks


def non_dominated_mask(losses: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Returns which rows no other row dominates; rows that are not finite never count, shape `(n_points,)`."""
    matrix = np.asarray(losses, dtype=np.float64)
    return (front_ranks(matrix) == 0) & np.isfinite(matrix).all(axis=1)
