"""Kernel densities over the unit cube of a space, for TPE.

A number, or an ordered choice, has a normal kernel truncated to [0, 1]. Its bandwidth follows the normal reference rule
for the n points (Silverman, "Density estimation", 1986: n ** (-1 / (d + 4)) times the standard deviation, for d
parameters), but is at least `MIN_BANDWIDTH` and at least half the distance between neighbouring values. An unordered
choice has the kernel of Aitchison and Aitken ("Multivariate binary discrimination by the kernel method", 1976): the
option itself has the probability 1 - h, and the others share h, with h from the same rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.space import Choice, Parameter, SearchSpace

__all__ = ["MIN_BANDWIDTH", "Kernels"]

Floats = npt.NDArray[np.float64]

_ROOT_TAU = math.sqrt(2 * math.pi)

MIN_BANDWIDTH = 0.02
"""In units of the unit interval, so that points with the same coordinate do not make it certain."""


@final
class Kernels:
    """A density: the mean of a product kernel at each configuration.

    Internally, a configuration is a row with one cell per parameter: a coordinate of the unit interval, or the index of
    the option of an unordered choice. One column per option would take gigabytes if there are many.

    Args:
        configs: valid configurations of the space, at least one.
    """

    def __init__(self, space: SearchSpace, configs: Sequence[Mapping[str, Any]]) -> None:
        self._space = space
        self._points, self._shrink = _rows(space, configs), len(configs) ** (-1.0 / (4 + len(space)))
        self._n_options = {name: _n_options(parameter) for name, parameter in space.items()}
        self._columns = [
            (column, n_options, self._bandwidth(name, column, n_options))
            for column, (name, n_options) in enumerate(self._n_options.items())
            if not _is_constant(space[name])
        ]

    def log_density(self, configs: Sequence[Mapping[str, Any]]) -> Floats:
        """Returns the logarithm of the density at valid configurations, shape `(n,)`."""
        from scipy.special import logsumexp, ndtr  # takes a quarter of a second to import, and only TPE needs it

        at, points = _rows(self._space, configs), self._points
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

    def sample(self, rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
        """Returns configurations drawn from the density; they may break the batch-size rule."""
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
        return [self._config(row) for row in drawn.tolist()]

    def _bandwidth(self, name: str, column: int, n_options: int) -> float:
        cells, parameter = self._points[:, column], self._space[name]
        if n_options:
            mode_share = float(np.unique(cells, return_counts=True)[1].max()) / len(cells)
            spread = self._shrink * (1 - mode_share)
            return float(min(max(spread, MIN_BANDWIDTH), 1 - 1 / n_options))
        apart = 0.5 / parameter.n_values if parameter.n_values is not None else 0.0
        return float(max(self._shrink * cells.std(), MIN_BANDWIDTH, apart))

    def _config(self, row: Sequence[float]) -> dict[str, Any]:
        config = {
            name: parameter.quantile((cell + 0.5) / n_options) if n_options else parameter.decode([cell])
            for (name, parameter), n_options, cell in zip(
                self._space.items(), self._n_options.values(), row, strict=True
            )
        }
        return self._space.kept(config)


def _n_options(parameter: Parameter) -> int:
    """Returns the number of options of an unordered choice; 0 for other parameters."""
    return len(parameter.options) if isinstance(parameter, Choice) and not parameter.ordered else 0


def _is_constant(parameter: Parameter) -> bool:
    """Returns whether a parameter is a choice with a single option, which carries no information."""
    return isinstance(parameter, Choice) and len(parameter.options) == 1


def _rows(space: SearchSpace, configs: Sequence[Mapping[str, Any]]) -> Floats:
    columns = [
        [parameter.place(config[name]) if name in config else 0 for config in configs]
        if isinstance(parameter, Choice) and not parameter.ordered
        else [space.cells(name, config)[0] for config in configs]
        for name, parameter in space.items()
    ]
    return np.array(columns, dtype=np.float64).T.reshape(len(configs), len(space))
