"""Predictions for each known point from all the others, by which a study's own trials compete with earlier tasks.

The model is ridge regression on the coordinates and their squares, so one optimum per parameter can be described. Its
prediction without a point follows from the fit with all points: y - (y - fitted) / (1 - h), where h is the point's
entry in the diagonal of the hat matrix (D. M. Allen, "The relationship between variable selection and data
augmentation and a method for prediction", Technometrics 1974). Cost: O(n d^2 + d^3) for n points with d features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["left_out_predictions"]

Floats = npt.NDArray[np.float64]

_RIDGE = 0.3  # added to the diagonal; the features have variance 1


def left_out_predictions(points: Floats, scores: Floats) -> Floats:
    """Returns the score of each point as predicted from the others, in the shape of `scores`.

    Args:
        points: encoded, shape `(n, n_dims)`, at least two. scores: shape `(n, n_objectives)`.
    """
    features = np.concatenate([points, (points - 0.5) ** 2], axis=1)
    spread = features.std(axis=0)
    varied = spread > 1e-9
    columns = (features[:, varied] - features[:, varied].mean(axis=0)) / spread[varied]
    design = np.concatenate([np.ones((len(points), 1)), columns], axis=1)
    penalty = np.full(design.shape[1], _RIDGE)
    penalty[0] = 1e-9
    solved = np.linalg.solve(design.T @ design + np.diag(penalty), design.T)
    fitted = design @ (solved @ scores)
    leverage = np.einsum("ij,ji->i", design, solved).clip(None, 1 - 1e-6)
    predicted: Floats = scores - (scores - fitted) / (1 - leverage)[:, None]
    return predicted
