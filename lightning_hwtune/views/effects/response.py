"""A model of an objective over the search space, learned from the trials, and how well it predicts trials left out.

Two models are compared by five-fold cross-validation, and the better one is used:

- `trees`: extremely randomised trees (Geurts, Ernst and Wehenkel, "Extremely randomized trees", 2006).
- `surface and trees`: a ridge regression on squares, cubes and products of pairs (Box and Wilson, "On the experimental
  attainment of optimum conditions", 1951), and the same trees on what it leaves. Trees alone need many trials for a
  smooth function: they see the strongest parameter first, and underestimate the others and the interactions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.searchers.surrogate import Trees
from lightning_hwtune.core.streams import stream

__all__ = ["Fit", "Response", "cross_validated"]

Floats = npt.NDArray[np.float64]

_N_TREES = 64
_N_FOLDS = 5
_PENALTIES = np.geomspace(1e-4, 1e2, 13)
_MOST_PAIRED = 24  # cells; with more, products of pairs are left out


@final
class Response:
    """A fitted model.

    Args:
        points: encoded configurations, shape `(n, n_dims)`; NaN in the cells of an inactive parameter.
        values: shape `(n,)`. weights: shape `(n,)`; all 1 by default.
        has_surface: whether the trees follow a surface.
    """

    def __init__(
        self,
        points: Floats,
        values: Floats,
        weights: Floats | None = None,
        *,
        has_surface: bool,
        n_trees: int = _N_TREES,
    ) -> None:
        weights = np.ones(len(values)) if weights is None else weights
        self._surface = _Surface(points, values, weights) if has_surface else None
        self._trees = Trees(_for_trees(points), (values - self._on_surface(points))[:, None], weights, n_trees)

    def predict(self, points: Floats) -> Floats:
        """Returns the predicted values, shape `(n,)`."""
        return np.asarray(self._on_surface(points) + self._trees.expect(_for_trees(points))[:, 0])

    def _on_surface(self, points: Floats) -> Floats:
        return self._surface.predict(points) if self._surface is not None else np.zeros(len(points))


class _Surface:
    """A weighted ridge regression; its penalty has the smallest error of leaving out each point."""

    def __init__(self, points: Floats, values: Floats, weights: Floats) -> None:
        shares, features = weights / weights.sum(), _features(points)
        self._mean, self._centre = shares @ features, float(shares @ values)
        self._scale = np.sqrt(shares @ (features - self._mean) ** 2)
        self._scale[self._scale < 1e-9] = np.inf  # a feature that does not vary has no effect
        roots = np.sqrt(shares)
        rest = (values - self._centre) * roots
        left, singular, right = np.linalg.svd(
            (features - self._mean) / self._scale * roots[:, None], full_matrices=False
        )
        singular = np.where(singular > 1e-9, singular, 0.0)
        turned, lowest = left.T @ rest, float(rest @ rest)
        self._slopes = np.zeros(features.shape[1])
        for penalty in _PENALTIES:
            kept = singular**2 / (singular**2 + penalty)
            leverage = np.minimum((left**2) @ kept + shares, 0.999)
            error = float(np.sum(((rest - left @ (kept * turned)) / (1.0 - leverage)) ** 2))
            if error < lowest:
                lowest, self._slopes = error, right.T @ (singular / (singular**2 + penalty) * turned)

    def predict(self, points: Floats) -> Floats:
        return np.asarray(self._centre + (_features(points) - self._mean) / self._scale @ self._slopes)


def _features(points: Floats) -> Floats:
    """Returns Legendre polynomials up to the third degree of each cell, and the products of pairs."""
    cells = 2.0 * np.where(np.isnan(points), 0.5, points) - 1.0
    parts = [cells, (3.0 * cells**2 - 1.0) / 2.0, (5.0 * cells**3 - 3.0 * cells) / 2.0]
    if cells.shape[1] <= _MOST_PAIRED:
        first, second = np.triu_indices(cells.shape[1], k=1)
        parts.append(cells[:, first] * cells[:, second])
    return np.hstack(parts)


def _for_trees(points: Floats) -> Floats:
    """Returns the points with a cell outside the cube for an inactive parameter, so that one split finds it."""
    return np.where(np.isnan(points), -1.0, points)


@final
class Fit:
    """The better of two models, fitted on all points.

    Attributes:
        model: the model. has_surface: which of the two it is.
        explained: the share of the variance of values left out that it predicts, at most 1; it may be negative.
        trust: how much each of the two models is trusted, without a surface and with one: the inverse of the squared
            errors of cross-validation, with sum 1.
    """

    def __init__(self, points: Floats, values: Floats, errors: Sequence[float]) -> None:
        self.has_surface = errors[1] < errors[0]
        self.model = Response(points, values, has_surface=self.has_surface)
        total = float(np.sum((values - values.mean()) ** 2))
        self.explained = 1.0 - min(errors) / total
        inverse = 1.0 / (np.array(errors) + 1e-9 * total)
        self.trust = inverse / inverse.sum()


def cross_validated(points: Floats, values: Floats) -> Fit:
    """Returns the better of both models.

    Args:
        points: as for `Response`, at least five. values: not all equal, shape `(n,)`.
    """
    order, errors = stream(0, "folds", len(values)).permutation(len(values)), [0.0, 0.0]
    for fold in range(_N_FOLDS):
        out = order[fold::_N_FOLDS]
        rest = np.setdiff1d(order, out)
        for index, has_surface in enumerate((False, True)):
            model = Response(points[rest], values[rest], has_surface=has_surface, n_trees=_N_TREES // 2)
            errors[index] += float(np.sum((values[out] - model.predict(points[out])) ** 2))
    return Fit(points, values, errors)
