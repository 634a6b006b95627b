"""The knee of a front: the compromise that is near the best of every objective at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.fronts import front_ranks, loss_matrix

__all__ = ["knee"]


def knee(losses: npt.ArrayLike) -> int:
    """Returns the row on the first front that is nearest to the best of every objective; of equal rows, the first.

    Distances are Euclidean, on the front's own range in each objective. An objective that does not vary on the front
    does not count.

    Args:
        losses: minimised and finite, shape `(n_points, n_objectives)`, at least one row.
    """
    matrix = loss_matrix(losses)
    front = np.flatnonzero(np.asarray(front_ranks(matrix)) == 0)
    low, high = matrix[front].min(axis=0), matrix[front].max(axis=0)
    unit = (matrix[front] - low) / np.where(high > low, high - low, np.inf)
    return int(front[np.argmin(np.square(unit).sum(axis=1))])
