"""Kernel densities over the unit cube of a space, for TPE.

A number, or an ordered choice, has a normal kernel truncated to [0, 1]; its bandwidth is the normal reference rule for
the n points (Silverman, "Density estimation", 1986: n ** (-1 / (d + 4)) times the standard deviation, d parameters),
at least `MIN_BANDWIDTH` and at least half the distance of neighbouring values. An unordered choice has the kernel of
Aitchison and Aitken ("Multivariate binary discrimination by the kernel method", 1976): the option itself has the
probability 1 - h, the others share h, with h from the same rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.space import Choice, SearchSpace

__all__ = ["MIN_BANDWIDTH", "Kernels"]

Floats = npt.NDArray[np.float64]

_ROOT_TAU = math.sqrt(2 * math.pi)

MIN_BANDWIDTH = 0.02
"""Of the unit interval, so that points which agree in a coordinate do not make it certain."""


@final
class Kernels:
    """One density: the mean of a product kernel at each point.

    Args:
        points: encoded configurations of the space, at least one, shape `(n_points, n_dims)`.
    """

    def __init__(self, space: SearchSpace, points: Floats) -> None:
        self._points, self._shrink = points, len(points) ** (-1.0 / (4 + len(space)))
        self._blocks = [
            (start, stop, self._bandwidth(space, name, start, stop)) for name, start, stop in _places(space)
        ]

    def log_density(self, at: Floats) -> Floats:
        """Returns the logarithm of the density at encoded configurations, shape `(n,)` for `(n, n_dims)`."""
        from scipy.special import logsumexp, ndtr  # a quarter of a second to import: only where TPE is at work

        total = np.zeros((len(at), len(self._points)))
        for start, stop, bandwidth in self._blocks:
            if stop - start > 1:
                is_same = at[:, start:stop] @ self._points[:, start:stop].T > 0.5
                total += np.log(np.where(is_same, 1 - bandwidth, bandwidth / (stop - start - 1)))
            else:
                centres = self._points[:, start]
                mass = ndtr((1 - centres) / bandwidth) - ndtr(-centres / bandwidth)
                total -= 0.5 * ((at[:, start, None] - centres) / bandwidth) ** 2 + np.log(_ROOT_TAU * bandwidth * mass)
        density: Floats = logsumexp(total, axis=1) - np.log(len(self._points))
        return density

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        """Returns points drawn from the density, shape `(n, n_dims)`; of an unordered choice the option has a one."""
        from scipy.special import ndtr, ndtri

        drawn = self._points[rng.integers(len(self._points), size=n)].copy()
        for start, stop, bandwidth in self._blocks:
            if stop - start > 1:
                self._change(rng, drawn[:, start:stop], bandwidth)
            else:
                centres = drawn[:, start]
                low, high = ndtr(-centres / bandwidth), ndtr((1 - centres) / bandwidth)
                drawn[:, start] = (centres + bandwidth * ndtri(low + rng.random(n) * (high - low))).clip(0, 1)
        return drawn

    def _change(self, rng: np.random.Generator, cells: Floats, probability: float) -> None:
        """Gives each row another option with this probability, in place."""
        n, n_options = cells.shape
        shift = np.where(rng.random(n) < probability, rng.integers(1, n_options, size=n), 0)
        taken = (cells.argmax(axis=1) + shift) % n_options
        cells[:] = np.eye(n_options)[taken]

    def _bandwidth(self, space: SearchSpace, name: str, start: int, stop: int) -> float:
        cells, parameter = self._points[:, start:stop], space[name]
        if stop - start > 1:
            mode_share = float(cells.mean(axis=0).max())
            spread = self._shrink * (1 - mode_share)
            return float(min(max(spread, MIN_BANDWIDTH), 1 - 1 / (stop - start)))
        apart = 0.5 / parameter.n_values if parameter.n_values is not None else 0.0
        return float(max(self._shrink * cells.std(), MIN_BANDWIDTH, apart))


def _places(space: SearchSpace) -> Iterator[tuple[str, int, int]]:
    """Yields each parameter with its coordinates; an unordered choice of one option tells nothing and is left out."""
    start = 0
    for name, parameter in space.items():
        stop = start + parameter.n_dims
        if not (isinstance(parameter, Choice) and len(parameter.options) == 1):
            yield name, start, stop
        start = stop
