"""The knee of a front: the compromise that is near the best of every objective at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.ranking.fronts import front_ranks, loss_matrix
from lightning_hwtune.core.ranking.scale import Scale

__all__ = ["knee"]


def knee(losses: npt.ArrayLike) -> int:
    """Returns the row on the first front that is nearest to the best of every objective; of equal rows, the first.

    Distances are Euclidean, on the scale of the front (`ranking.scale`), so that one exploded loss does not matter. An
    objective that does not vary on the front does not count.

    Args:
        losses: minimised and finite, shape `(n_points, n_objectives)`, at least one row.
    """
    matrix = loss_matrix(losses)
    front = np.flatnonzero(np.asarray(front_ranks(matrix)) == 0)
    scale = Scale.of(matrix[front])
    away = np.square(scale.unit(matrix[front])).sum(axis=1)
    return int(front[np.lexsort((away, scale.exploded(matrix[front])))[0]])
