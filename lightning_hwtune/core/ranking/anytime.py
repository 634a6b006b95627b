"""Hypervolume as points arrive one by one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.fronts import loss_matrix
from lightning_hwtune.core.ranking.hypervolume import hypervolume

__all__ = ["hypervolume_curve"]


def hypervolume_curve(losses: npt.ArrayLike, reference: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Returns the hypervolume of the first 1, 2, ... rows, shape `(n_points,)`; it never decreases.

    A hypervolume of the current front is computed only for a row that no earlier one dominates. Any other row costs a
    comparison.

    Args:
        losses, reference: as for `hypervolume`.
    """
    matrix, corner = loss_matrix(losses), np.asarray(reference, dtype=np.float64)
    front, value = matrix[:0], 0.0
    curve = np.empty(len(matrix))
    for index, row in enumerate(matrix):
        # NaN compares as False, so such a row is never below the corner
        if (row < corner).all() and not (front <= row).all(axis=1).any():
            front = np.vstack([front[~(row <= front).all(axis=1)], row])
            value = hypervolume(front, corner)
        curve[index] = value
    return curve
