"""How the pace of a trial depends on its configuration: a linear model of the logarithm of the seconds per epoch.

The columns are those of the configuration as a point of the unit cube (`SearchSpace.encode`), and the logarithm of the
device count. They are standardised, and the weights are fitted by ridge regression. The penalty is the one with the
smallest leave-one-out error. Ridge regression gives it in closed form: residual / (1 - leverage) (Hastie, Tibshirani
and Friedman, The Elements of Statistical Learning, 2009, section 7.10, equation 7.64). If no penalty reduces the mean
squared error to `_USEFUL` of that of the mean, the model is the mean: the pace does not depend on the configuration.
"""

from __future__ import annotations

from typing import final

import numpy as np
import numpy.typing as npt

__all__ = ["PaceModel"]

_LEAST_TRIALS = 6
_PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)
_USEFUL = 0.7

Array = npt.NDArray[np.float64]


@final
class PaceModel:
    """The fitted model.

    Args:
        points: one row per trial, shape `(n_trials, n_columns)`.
        logs: logarithm of the seconds per epoch, shape `(n_trials,)`.
    """

    def __init__(self, points: Array, logs: Array) -> None:
        n_trials, n_columns = points.shape
        self._weights = np.zeros(n_columns)
        if n_trials < _LEAST_TRIALS:
            return
        scale = points.std(axis=0)
        scale[scale == 0.0] = np.inf  # a column that never varies says nothing
        left, sizes, right = np.linalg.svd((points - points.mean(axis=0)) / scale, full_matrices=False)
        centred = logs - logs.mean()
        best = _USEFUL * float(np.square(centred * n_trials / (n_trials - 1)).mean())
        for penalty in _PENALTIES:
            kept = sizes**2 / (sizes**2 + penalty)
            leverage = 1 / n_trials + (left**2 * kept).sum(axis=1)
            left_out = (centred - left @ (kept * (left.T @ centred))) / np.maximum(1 - leverage, 1e-9)
            error = float(np.square(left_out).mean())
            if error < best:
                best = error
                self._weights = (right.T @ (sizes / (sizes**2 + penalty) * (left.T @ centred))) / scale

    @property
    def is_useful(self) -> bool:
        """Whether the pace depends on the configuration, as far as these trials show."""
        return bool(self._weights.any())

    def log_pace(self, points: Array) -> Array:
        """Returns the predicted logarithm up to a constant, shape `(n_points,)`: only differences have a meaning."""
        return np.asarray(points @ self._weights, dtype=np.float64)
