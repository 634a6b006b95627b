"""Kernel densities with one bandwidth per parameter, for the estimator of BOHB.

A number, or an ordered choice, has a normal kernel truncated to [0, 1]. Its bandwidth follows the normal reference rule
for the n points (Silverman, "Density estimation", 1986: n ** (-1 / (d + 4)) times the standard deviation, for d
parameters), but is at least `MIN_BANDWIDTH` and at least half the distance between neighbouring values. An unordered
choice has the kernel of Aitchison and Aitken ("Multivariate binary discrimination by the kernel method", 1976): the
option itself has the probability 1 - h, and the others share h, with h from the same rule.
"""

from __future__ import annotations

import math
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.searchers.cells import Cells

__all__ = ["MIN_BANDWIDTH", "ReferenceKernels"]

Floats = npt.NDArray[np.float64]

_ROOT_TAU = math.sqrt(2 * math.pi)

MIN_BANDWIDTH = 0.02
"""In units of the unit interval, so that points with the same coordinate do not make it certain."""


@final
class ReferenceKernels:
    """A density: the mean of a product kernel at each point.

    Args:
        rows: cells of the points, at least one, shape `(n_points, n_parameters)`.
    """

    def __init__(self, cells: Cells, rows: Floats) -> None:
        self._points, self._shrink = _filled(cells, rows), len(rows) ** (-1.0 / (4 + len(cells.space)))
        self._cells = cells
        self._columns = [
            (column, n_options, self._bandwidth(column, n_options, cells.n_values[name]))
            for column, (name, n_options) in enumerate(cells.n_options.items())
            if n_options != 1  # a choice with a single option carries no information
        ]

    def log_density(self, rows: Floats) -> Floats:
        """Returns the logarithm of the density at rows of cells, shape `(n_rows,)`."""
        from scipy.special import logsumexp, ndtr  # takes a quarter of a second to import, and few studies need it

        at, points = _filled(self._cells, rows), self._points
        total = np.zeros((len(at), len(points)))
        for column, n_options, bandwidth in self._columns:
            centres = points[:, column]
            if n_options:
                is_same = at[:, column, None] == centres
                total += np.log(np.where(is_same, 1 - bandwidth, bandwidth / (n_options - 1)))
            else:
                mass = ndtr((1 - centres) / bandwidth) - ndtr(-centres / bandwidth)
                squares = ((at[:, column, None] - centres) / bandwidth) ** 2
                total -= 0.5 * squares + np.log(_ROOT_TAU * bandwidth * mass)
        density: Floats = logsumexp(total, axis=1) - np.log(len(points))
        return density

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        """Returns rows of cells drawn from the density, shape `(n, n_parameters)`."""
        from scipy.special import ndtr, ndtri

        drawn = self._points[rng.integers(len(self._points), size=n)].copy()
        for column, n_options, bandwidth in self._columns:
            centres = drawn[:, column]
            if n_options:
                shift = np.where(rng.random(n) < bandwidth, rng.integers(1, n_options, size=n), 0)
                drawn[:, column] = (centres + shift) % n_options
            else:
                low, high = ndtr(-centres / bandwidth), ndtr((1 - centres) / bandwidth)
                drawn[:, column] = (centres + bandwidth * ndtri(low + rng.random(n) * (high - low))).clip(0, 1)
        return drawn

    def _bandwidth(self, column: int, n_options: int, n_values: int | None) -> float:
        cells = self._points[:, column]
        if n_options:
            mode_share = float(np.unique(cells, return_counts=True)[1].max()) / len(cells)
            spread = self._shrink * (1 - mode_share)
            return float(min(max(spread, MIN_BANDWIDTH), 1 - 1 / n_options))
        apart = 0.5 / n_values if n_values is not None else 0.0
        return float(max(self._shrink * cells.std(), MIN_BANDWIDTH, apart))


def _filled(cells: Cells, rows: Floats) -> Floats:
    """Returns rows in which a parameter that a configuration does not have is in the middle, or the first option."""
    return np.where(np.isnan(rows), [0.0 if n_options else 0.5 for n_options in cells.n_options.values()], rows)
