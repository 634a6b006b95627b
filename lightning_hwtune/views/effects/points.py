"""Configurations as points for a model: the cells of `SearchSpace.encode`, but NaN where a parameter does not exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt
from scipy.stats import qmc

from lightning_hwtune.core.space import SearchSpace

__all__ = ["Draws", "encoded"]

Floats = npt.NDArray[np.float64]


def encoded(space: SearchSpace, configs: Sequence[Mapping[str, Any]]) -> Floats:
    """Returns the points of configurations, shape `(n, n_dims)`."""
    return np.array([_point(space, config) for config in configs]).reshape(-1, space.n_dims)


def _point(space: SearchSpace, config: Mapping[str, Any]) -> list[float]:
    cells: list[float] = []
    for name, parameter in space.items():
        cells += parameter.encode(config[name]) if name in config else [np.nan] * parameter.n_dims
    return cells


@final
class Draws:
    """Two samples of the space, and for each parameter the first sample with that parameter from the second.

    The shares of all parameters are a scrambled Sobol sequence.

    Attributes:
        points: first sample, second sample, then one mixed sample per parameter, each of `n` rows, with shape
            `((n_parameters + 2) * n, n_dims)`.
    """

    def __init__(self, space: SearchSpace, n: int) -> None:
        self._space, self.n_parameters = space, len(space)
        shares = qmc.Sobol(2 * len(space), rng=np.random.default_rng(0)).random(n)
        sides = np.split(shares.T, 2)  # one row per parameter
        self._values = [
            {name: _quantiles(space[name], row) for name, row in zip(space, side, strict=True)} for side in sides
        ]
        self._cells = [{name: _cells(space[name], column) for name, column in side.items()} for side in self._values]
        mixes = [{name: int(name == other) for name in space} for other in space]
        sources = [dict.fromkeys(space, 0), dict.fromkeys(space, 1), *mixes]
        self.points = np.vstack([self._sample(source) for source in sources])

    def _sample(self, source: Mapping[str, int]) -> Floats:
        """Returns a sample that takes each parameter from one of both; NaN where it does not exist."""
        parts = []
        for name, side in source.items():
            part = self._cells[side][name]
            if parents := self._space.ancestors(name):
                rows = zip(*(self._values[source[parent]][parent] for parent in parents), strict=True)
                is_active = [self._space.is_active(name, dict(zip(parents, row, strict=True))) for row in rows]
                part = np.where(np.array(is_active)[:, None], part, np.nan)
            parts.append(part)
        return np.hstack(parts)


def _quantiles(parameter: Any, shares: Floats) -> list[Any]:
    return [parameter.quantile(share) for share in shares.tolist()]


def _cells(parameter: Any, values: Sequence[Any]) -> Floats:
    return np.array([parameter.encode(value) for value in values])
