"""What one earlier task says about any configuration: scores learned from encoded points.

There are two models. `Trees`: extremely randomised trees (Geurts, Ernst and Wehenkel, "Extremely randomized trees",
2006, as in scikit-learn), with all objectives in one forest. `Neighbours`: the mean of the nearest points with weights
1 / (squared distance + `_NUGGET`). Trees did best on continuous spaces, neighbours on small grids of hardware and batch
sizes. So `fit_surrogate` uses neighbours if the parameters to learn from have at most `SMALL_GRID` combinations in
total, and trees otherwise.

Both give an expectation and *samples*: whole functions that could be the true one, so that similar configurations get
similar scores. If scores were sampled independently, the luckiest configurations would stand out, and the front would
consist of them. A sample of `Trees` is the mean of a few of them. A sample of `Neighbours` gives every known
point a random weight (D. B. Rubin, "The Bayesian bootstrap", 1981).

Points that are equal, because they differed only in parameters not used here, count as one point. It has their mean
score, and their number as its weight.
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
"""Number of combinations up to which neighbours predict better than trees."""

_N_TREES = 100
_N_SAMPLED = 5  # number of trees in one sample
_N_NEIGHBOURS = 10
_NUGGET = 0.01  # squared distance in the unit cube below which neighbours have about equal weights


class Surrogate(abc.ABC):
    """A fitted model of the scores of all objectives."""

    @abc.abstractmethod
    def expect(self, points: Floats) -> Floats:
        """Returns the expected scores at encoded points `(n, n_dims)`, shape `(n, n_objectives)`."""

    @abc.abstractmethod
    def sample(self, points: Floats, rng: np.random.Generator) -> Floats:
        """Returns the scores of one function that could be the true one, at the same points in the same shape."""


@final
class Neighbours(Surrogate):
    """Weighted nearest neighbours.

    Args:
        points: distinct, shape `(n, n_dims)`. scores: shape `(n, n_objectives)`. weights: how often each occurred.
    """

    def __init__(self, points: Floats, scores: Floats, weights: Floats) -> None:
        self._points, self._scores, self._weights = points, scores, weights

    def expect(self, points: Floats) -> Floats:
        """Returns the weighted mean of the nearest points."""
        return self._mean(points, self._weights)

    def sample(self, points: Floats, rng: np.random.Generator) -> Floats:
        """Returns their weighted mean, with a random weight for every known point."""
        return self._mean(points, self._weights * rng.standard_exponential(len(self._weights)))

    def _mean(self, points: Floats, weights: Floats) -> Floats:
        away = ((points[:, None, :] - self._points) ** 2).sum(axis=2)
        nearest = np.argsort(away, axis=1, kind="stable")[:, :_N_NEIGHBOURS]
        counted = weights[nearest] / (np.take_along_axis(away, nearest, axis=1) + _NUGGET)
        shares = counted / counted.sum(axis=1, keepdims=True)
        means: Floats = (shares[:, :, None] * self._scores[nearest]).sum(axis=1)
        return means


@final
class Trees(Surrogate):
    """Extremely randomised trees; the arguments are those of `Neighbours`, and the number of trees."""

    def __init__(self, points: Floats, scores: Floats, weights: Floats, n_trees: int = _N_TREES) -> None:
        require_scikit_learn()
        from sklearn.ensemble import ExtraTreesRegressor

        forest = ExtraTreesRegressor(n_trees, min_samples_leaf=2, random_state=0)
        forest.fit(points, scores[:, 0] if scores.shape[1] == 1 else scores, sample_weight=weights)
        self._trees = [tree.tree_ for tree in forest.estimators_]
        self._n_objectives = scores.shape[1]

    def expect(self, points: Floats) -> Floats:
        """Returns the mean of all trees."""
        return self._mean(points, range(len(self._trees)))

    def sample(self, points: Floats, rng: np.random.Generator) -> Floats:
        """Returns the mean of a few trees."""
        return self._mean(points, rng.integers(len(self._trees), size=_N_SAMPLED).tolist())

    def _mean(self, points: Floats, chosen: range | list[int]) -> Floats:
        cells = points.astype(np.float32)
        found = [self._trees[index].predict(cells).reshape(len(points), self._n_objectives) for index in chosen]
        means: Floats = np.mean(found, axis=0)
        return means


def fit_surrogate(points: Floats, scores: Floats, n_combinations: int | None, n_trees: int = _N_TREES) -> Surrogate:
    """Returns the model that suits the parameters; see the module's docstring.

    Args:
        points: encoded, at least one, shape `(n, n_dims)`. scores: shape `(n, n_objectives)`.
        n_combinations: the number of combinations of all parameters' values; None if one of them is a `Float`.
        n_trees: the number of trees, if trees are used.

    Raises:
        MissingDependencyError: trees are needed and scikit-learn is not installed.
    """
    distinct, places, counts = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    sums = np.zeros((len(distinct), scores.shape[1]))
    np.add.at(sums, places.reshape(-1), scores)
    means, weights = sums / counts[:, None], counts.astype(np.float64)
    if needs_trees(n_combinations):
        return Trees(distinct, means, weights, n_trees)
    return Neighbours(distinct, means, weights)


def needs_trees(n_combinations: int | None) -> bool:
    """Returns whether trees suit so many combinations better; None means uncountably many."""
    return n_combinations is None or n_combinations > SMALL_GRID


def require_scikit_learn(what: str = "a prior on continuous parameters", extra: str = "prior") -> None:
    """Does nothing if scikit-learn can be imported.

    Args:
        what: what needs it. extra: the extra of this package to install.

    Raises:
        MissingDependencyError: it cannot be imported; the message names the extra to install.
    """
    try:
        import sklearn.ensemble  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f"{what} needs scikit-learn: pip install 'lightning_hwtune[{extra}]'") from error
