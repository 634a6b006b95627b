"""Hypervolume: the volume of the loss space that a set of points dominates, up to a reference point.

A hypervolume means nothing without its reference, so every figure that uses one must state the reference.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.fronts import loss_matrix
from lightning_hwtune.errors import ArgumentError

__all__ = ["hypervolume"]


def hypervolume(losses: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Returns the volume that the rows dominate below `reference`; 0.0 if no row lies below it.

    Args:
        losses: minimised, shape `(n_points, n_objectives)`; rows that are not finite are ignored.
        reference: finite, shape `(n_objectives,)`.
    """
    matrix, corner = loss_matrix(losses), np.asarray(reference, dtype=np.float64)
    if corner.shape != (matrix.shape[1],) or not np.isfinite(corner).all():
        raise ArgumentError("reference", reference, f"{matrix.shape[1]} finite numbers, one per objective")
    below = matrix[np.isfinite(matrix).all(axis=1) & (matrix < corner).all(axis=1)]
    if not len(below):
        return 0.0
    if matrix.shape[1] == 1:
        return float(corner[0] - below.min())
    import moocore  # takes 0.1 s to import, and the decisions do not need it

    return float(moocore.hypervolume(below, ref=corner))
