"""What a prior expects of a configuration: mean and uncertainty of its scores, learned from encoded points.

Two models. `Trees`: extremely randomised trees (Geurts, Ernst and Wehenkel, "Extremely randomized trees", 2006, as
scikit-learn has them); the spread over the trees is the uncertainty. `Neighbours`: the mean of the nearest points with
weights 1 / (squared distance + `_NUGGET`), and their weighted spread. Trees did best on continuous spaces, neighbours
on small grids of hardware and batch sizes, so `fit_surrogate` takes neighbours where the parameters that are learned
from have at most `SMALL_GRID` combinations in all, and trees otherwise.

Equal points, of several tasks or for want of the parameters that made them differ, count as one point with their mean
score and their number as weight.
"""

from __future__ import annotations

import abc
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.errors import MissingDependencyError

__all__ = ["SMALL_GRID", "Neighbours", "Surrogate", "Trees", "fit_surrogate", "needs_trees", "require_scikit_learn"]

Floats = npt.NDArray[np.float64]

SMALL_GRID = 1000
"""Combinations up to which the neighbours of a configuration tell more than trees do."""

_N_TREES = 100
_N_NEIGHBOURS = 10
_NUGGET = 0.01  # squared distance in the unit cube below which neighbours count alike


class Surrogate(abc.ABC):
    """A fitted model of all objectives' scores."""

    @abc.abstractmethod
    def predict(self, points: Floats) -> tuple[Floats, Floats]:
        """Returns mean and standard deviation at encoded points `(n, n_dims)`, each of shape `(n, n_objectives)`."""


@final
class Neighbours(Surrogate):
    """Weighted nearest neighbours.

    Args:
        points: distinct, shape `(n, n_dims)`. scores: shape `(n, n_objectives)`. weights: how often each was seen.
    """

    def __init__(self, points: Floats, scores: Floats, weights: Floats) -> None:
        self._points, self._scores, self._weights = points, scores, weights

    def predict(self, points: Floats) -> tuple[Floats, Floats]:
        """Returns mean and spread of the nearest points."""
        away = ((points[:, None, :] - self._points) ** 2).sum(axis=2)
        nearest = np.argsort(away, axis=1, kind="stable")[:, :_N_NEIGHBOURS]
        weights = self._weights[nearest] / (np.take_along_axis(away, nearest, axis=1) + _NUGGET)
        shares = (weights / weights.sum(axis=1, keepdims=True))[:, :, None]
        scores = self._scores[nearest]
        means = (shares * scores).sum(axis=1)
        return means, np.sqrt((shares * (scores - means[:, None, :]) ** 2).sum(axis=1))


@final
class Trees(Surrogate):
    """Extremely randomised trees, one forest for each objective; arguments as for `Neighbours`."""

    def __init__(self, points: Floats, scores: Floats, weights: Floats) -> None:
        require_scikit_learn()
        from sklearn.ensemble import ExtraTreesRegressor

        self._forests = []
        for objective, column in enumerate(scores.T):
            forest = ExtraTreesRegressor(_N_TREES, min_samples_leaf=2, random_state=objective)
            forest.fit(points, column, sample_weight=weights)
            self._forests.append([tree.tree_ for tree in forest.estimators_])

    def predict(self, points: Floats) -> tuple[Floats, Floats]:
        """Returns mean and spread over the trees."""
        cells = points.astype(np.float32)
        each = np.array([[tree.predict(cells)[:, 0] for tree in trees] for trees in self._forests])
        return each.mean(axis=1).T, each.std(axis=1).T


def fit_surrogate(points: Floats, scores: Floats, n_combinations: int | None) -> Surrogate:
    """Returns the model that suits the parameters; see the module.

    Args:
        points: encoded, at least one, shape `(n, n_dims)`. scores: shape `(n, n_objectives)`.
        n_combinations: how many values all parameters have together, None if one of them is a `Float`.

    Raises:
        MissingDependencyError: trees are needed and scikit-learn is not installed.
    """
    distinct, places, counts = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    sums = np.zeros((len(distinct), scores.shape[1]))
    np.add.at(sums, places.reshape(-1), scores)
    kind = Trees if needs_trees(n_combinations) else Neighbours
    return kind(distinct, sums / counts[:, None], counts.astype(np.float64))


def needs_trees(n_combinations: int | None) -> bool:
    """Tells which model suits so many combinations; None = uncountably many."""
    return n_combinations is None or n_combinations > SMALL_GRID


def require_scikit_learn() -> None:
    """Does nothing if scikit-learn can be imported.

    Raises:
        MissingDependencyError: it cannot; names the extra.
    """
    try:
        import sklearn.ensemble  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "a prior on continuous parameters needs scikit-learn: pip install 'lightning_hwtune[prior]'"
        ) from error
