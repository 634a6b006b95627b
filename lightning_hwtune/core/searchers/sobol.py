"""Sobol search: points that fill the space more evenly than random ones, scrambled by the study's seed.

Sobol, "On the distribution of points in a cube and the approximate evaluation of integrals", 1967; scrambling by Owen,
"Scrambling Sobol' and Niederreiter-Xing points", 1998, as in `scipy.stats.qmc.Sobol`. A configuration takes one
coordinate for each parameter. Points that break the batch-size rule are skipped, so draw n is the n-th allowed point.
In a finite space of at most a million configurations, repeated and enqueued configurations are skipped as well.
Configurations that none of the points has met, after eight points per configuration, come last, in a random order. In
a space with conditions, the coordinate of an inactive parameter has no effect, and points that repeat a configuration
are skipped.

The sequence is the same in every process. Another release of scipy may scramble it differently.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final, overload

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.combinations import Combinations
from lightning_hwtune.core.searchers.base import History, Searcher
from lightning_hwtune.core.searchers.new_configs import config_key, is_small, next_of
from lightning_hwtune.core.space import Float, Int, Parameter, SearchSpace
from lightning_hwtune.core.streams import stream
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_class
from lightning_hwtune.text import counted

__all__ = ["Sobol"]

_FIRST = 64
_POINTS_PER_CONFIG = 8
_MAX_PARAMETERS = 21_201  # number of coordinates for which direction numbers are known


@checked_class()
@final
@dataclass(frozen=True, slots=True)
class Sobol(Searcher):
    """Draws evenly spread points; never repeats a configuration if the space is finite and small.

    Examples:
        >>> from lightning_hwtune.core.objectives import Objectives
        >>> history = hwt.History([], Objectives([hwt.Metric("val_loss", "min")]))
        >>> space, searcher = hwt.SearchSpace(lr=hwt.Float(0, 1)), hwt.Sobol()
        >>> sorted(int(4 * searcher.propose(space, draw, seed=0, history=history)["lr"]) for draw in range(4))
        [0, 1, 2, 3]
    """

    name: ClassVar[str] = "sobol"

    def check(self, space: SearchSpace) -> None:
        """Refuses a space with too many parameters.

        Raises:
            ArgumentError: the sequence does not have enough coordinates.
        """
        if len(space) > _MAX_PARAMETERS:
            received = counted(len(space), "parameters")
            raise ArgumentError("space", received, f"at most {_MAX_PARAMETERS} with Sobol()", hint="Use Random().")

    def propose(self, space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
        """Returns draw number `draw`; None once a small finite space is exhausted."""
        if is_small(space):
            return next_of(*_whole(space, seed), draw, history)
        n_points = _FIRST
        while len(numbers := _allowed(space, seed, n_points)) <= draw:
            n_points *= 2
        if not space.is_conditional:
            return space.at(_points(len(space), seed, n_points)[numbers[draw]].tolist())
        while (config := next_of(_Configs(space, seed, n_points), numbers, draw, history)) is None:
            n_points *= 2
            numbers = _allowed(space, seed, n_points)
        return config


@functools.lru_cache(maxsize=4)
def _points(n_dims: int, seed: int, n_points: int) -> npt.NDArray[np.float64]:
    """Returns the first points of the sequence; `n_points` is a power of two. Longer sequences extend shorter ones."""
    from scipy.stats import qmc  # takes 0.3 s to import, and few studies need it

    sequence = qmc.Sobol(n_dims, scramble=True, rng=stream(seed, Sobol.name, 0))
    return np.asarray(sequence.random_base2(n_points.bit_length() - 1))


@functools.lru_cache(maxsize=4)
def _allowed(space: SearchSpace, seed: int, n_points: int) -> range | list[int]:
    """Returns the numbers of the points that give an allowed configuration, and a new one if there are conditions."""
    if not space.batch_size_keys and not space.is_conditional:
        return range(n_points)
    configs = map(space.at, _points(len(space), seed, n_points).tolist())
    allowed = {number: config for number, config in enumerate(configs) if space.allows(config)}
    if not space.is_conditional:
        return list(allowed)
    first = {config_key(config): number for number, config in reversed(allowed.items())}
    return sorted(first.values())


@final
class _Configs(Sequence[dict[str, Any]]):
    """The configurations of the first points."""

    def __init__(self, space: SearchSpace, seed: int, n_points: int) -> None:
        self._space, self._points = space, _points(len(space), seed, n_points)

    def __len__(self) -> int:
        return len(self._points)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        points = self._points[index].tolist()
        return list(map(self._space.at, points)) if isinstance(index, slice) else self._space.at(points)


@functools.lru_cache(maxsize=2)
def _whole(space: SearchSpace, seed: int) -> tuple[Combinations, npt.NDArray[np.int64]]:
    """Returns all configurations of a small finite space, in the order of the first point that meets each."""
    grid = space.grid()
    n_points = 2 ** math.ceil(math.log2(_POINTS_PER_CONFIG * len(grid)))
    points = _points(len(space), seed, n_points)
    met = grid.places({name: _places(space[name], points[:, column]) for column, name in enumerate(space)})
    rest = stream(seed, "sobol-rest", 0).permutation(len(grid))
    order, first = np.unique(np.concatenate([met[met >= 0], rest]), return_index=True)
    return grid, order[np.argsort(first)]


def _places(parameter: Parameter, shares: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Returns the index, among the parameter's values, of the one that each share falls into."""
    assert not isinstance(parameter, Float)
    if isinstance(parameter, Int):
        values = np.array([parameter.quantile(share) for share in shares.tolist()])
        return (values - parameter.low) // parameter.step
    return (shares * parameter.n_values).astype(np.int64).clip(0, parameter.n_values - 1)
