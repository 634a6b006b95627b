"""Adaptive Parzen densities over the unit cube of a space, for TPE.

Bergstra, Bardenet, Bengio and Kegl, "Algorithms for hyper-parameter optimization", 2011, section 4.2: each point has a
kernel with its own bandwidth, and one more kernel is the prior, which covers the whole range. So a density never
vanishes anywhere, and no option is ever locked out, however close together the points are. A kernel is the product of
one factor per parameter:

- A number, or an ordered choice: a normal density cut to [0, 1]. Its bandwidth is the longer way to the neighbouring
  points in this coordinate, between 1 / min(100, n + 2) and 1, and at least half the distance between neighbouring
  values. The prior has its middle at 1/2 and the bandwidth 1.
- An unordered choice with k options: the point's own option counts 1 and each option `1 / (n + 1)` more, which is then
  normalised. The prior is uniform.
- A parameter that a point does not have, because its condition does not hold there: the prior. The factor at a
  configuration that does not have the parameter is 1.

Only numpy is used, because every study draws with these densities and the import of scipy would take a second.
"""

from __future__ import annotations

import abc
import math
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.searchers.cells import Cells

__all__ = ["Column", "Kernels", "Numbers", "Options"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

_ROOT_TAU = math.sqrt(2 * math.pi)
_ERF = np.frompyfunc(math.erf, 1, 1)
_MOST_BANDS = 100  # the least bandwidth is one in so many of the range


class Column(abc.ABC):
    """The factors of all kernels for one parameter; the last kernel is the prior."""

    @abc.abstractmethod
    def log_factors(self, cells: Floats) -> Floats:
        """Returns the logarithm of each kernel's factor at these cells, shape `(n_cells, n_kernels)`."""

    @abc.abstractmethod
    def sample(self, kernels: Places, rng: np.random.Generator) -> Floats:
        """Returns one cell drawn from each of these kernels."""


@final
class Numbers(Column):
    """Normal densities cut to [0, 1].

    Args:
        points: the coordinates; NaN for a point without the parameter.
        n_values: the number of values of the parameter; None if uncountable.
    """

    def __init__(self, points: Floats, n_values: int | None) -> None:
        least = max(1 / min(_MOST_BANDS, len(points) + 2), 0.5 / n_values if n_values is not None else 0.0)
        self._centres, self._widths = np.full(len(points) + 1, 0.5), np.ones(len(points) + 1)
        own = np.flatnonzero(~np.isnan(points))
        self._centres[own], self._widths[own] = points[own], _to_neighbours(points[own]).clip(least, 1.0)
        mass = _normal_cdf((1 - self._centres) / self._widths) - _normal_cdf(-self._centres / self._widths)
        self._log_scales = np.log(_ROOT_TAU * self._widths * mass)

    def log_factors(self, cells: Floats) -> Floats:
        """Returns the logarithm of each kernel's density at these cells."""
        distances: Floats = (cells[:, None] - self._centres) / self._widths
        return _where_present(-0.5 * distances**2 - self._log_scales, cells)

    def sample(self, kernels: Places, rng: np.random.Generator) -> Floats:
        """Returns one coordinate drawn from each of these kernels; draws outside [0, 1] are repeated."""
        centres, widths = self._centres[kernels], self._widths[kernels]
        drawn = np.full(len(kernels), -1.0)
        while len(outside := np.flatnonzero((drawn < 0) | (drawn > 1))):
            drawn[outside] = centres[outside] + widths[outside] * rng.standard_normal(len(outside))
        return drawn


@final
class Options(Column):
    """Probabilities of the options of an unordered choice.

    Args:
        places: the indices of the options; NaN for a point without the parameter.
        n_options: the number of options of the parameter.
    """

    def __init__(self, places: Floats, n_options: int) -> None:
        self._places, self._n_options = np.append(places, np.nan), n_options  # the prior does not prefer an option
        share = 1 / (len(places) + 1)
        self._elsewhere = n_options * share / (1 + n_options * share)  # the probability of a uniform option
        self._log_factors = np.log([self._elsewhere / n_options, self._elsewhere / n_options + 1 - self._elsewhere])

    def log_factors(self, cells: Floats) -> Floats:
        """Returns the logarithm of each kernel's probability of these options."""
        factors: Floats = self._log_factors[(cells[:, None] == self._places).astype(np.int64)]
        factors[:, np.isnan(self._places)] = -math.log(self._n_options)
        return _where_present(factors, cells)

    def sample(self, kernels: Places, rng: np.random.Generator) -> Floats:
        """Returns one option drawn from each of these kernels."""
        own, uniform = self._places[kernels], rng.integers(self._n_options, size=len(kernels))
        return np.where(np.isnan(own) | (rng.random(len(kernels)) < self._elsewhere), uniform, own)


@final
class Kernels:
    """A density: the mean of a product kernel at each point, and of the prior.

    Its *marginals*, the densities of each parameter alone, multiply to another density, in which parameters are
    independent.

    Args:
        rows: cells of the points, shape `(n_points, n_parameters)`; none gives the prior alone.
    """

    def __init__(self, cells: Cells, rows: Floats) -> None:
        self._n_kernels = len(rows) + 1
        kinds = zip(cells.n_options.values(), cells.n_values.values(), strict=True)
        self.columns: list[Column] = [
            Options(rows[:, place], n_options) if n_options else Numbers(rows[:, place], n_values)
            for place, (n_options, n_values) in enumerate(kinds)
        ]

    def log_density(self, rows: Floats) -> Floats:
        """Returns the logarithm of the density at rows of cells, shape `(n_rows,)`."""
        total = np.zeros((len(rows), self._n_kernels))
        for place, column in enumerate(self.columns):
            total += column.log_factors(rows[:, place])
        return _log_mean_exp(total)

    def log_marginals(self, rows: Floats) -> Floats:
        """Returns the logarithms of the marginals at rows of cells, shape `(n_rows, n_parameters)`."""
        columns = enumerate(self.columns)
        return np.column_stack([_log_mean_exp(column.log_factors(rows[:, place])) for place, column in columns])

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        """Returns rows of cells drawn from the density, shape `(n, n_parameters)`."""
        kernels = rng.integers(self._n_kernels, size=n)
        return np.column_stack([column.sample(kernels, rng) for column in self.columns])

    def sample_marginals(self, rng: np.random.Generator, n: int) -> Floats:
        """Returns rows of cells drawn from the marginals, in the same shape."""
        kernels = rng.integers(self._n_kernels, size=(len(self.columns), n))
        pairs = zip(self.columns, kernels, strict=True)
        return np.column_stack([column.sample(own, rng) for column, own in pairs])


def _log_mean_exp(logs: Floats) -> Floats:
    highest = logs.max(axis=1)
    found: Floats = highest + np.log(np.exp(logs - highest[:, None]).mean(axis=1))
    return found


def _where_present(factors: Floats, cells: Floats) -> Floats:
    """Returns the logarithms of factors, which are 1 where a configuration does not have the parameter."""
    is_absent = np.isnan(cells)
    if is_absent.any():
        factors[is_absent] = 0.0
    return factors


def _to_neighbours(points: Floats) -> Floats:
    """Returns the longer way from each point to its neighbours in sorted order; one at an end has one neighbour."""
    if len(points) < 2:
        return np.ones(len(points))
    order = np.argsort(points, kind="stable")
    gaps = np.diff(points[order])
    longer = np.maximum(np.append(gaps[0], gaps), np.append(gaps, gaps[-1]))
    widths = np.empty(len(points))
    widths[order] = longer
    return widths


def _normal_cdf(x: Floats) -> Floats:
    return 0.5 * (1 + np.asarray(_ERF(x / math.sqrt(2)), dtype=np.float64))
