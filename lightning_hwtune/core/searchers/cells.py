"""Configurations as rows of numbers, one cell per parameter, for models that work on each parameter separately.

A cell is the coordinate of a number, or of an ordered choice, in the unit interval. For an unordered choice it is the
index of the option. One column per option would take gigabytes if there are many. The cell of a parameter that a
configuration does not have, because its condition does not hold, is NaN.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.space import Choice, Parameter, SearchSpace

__all__ = ["Cells"]

Floats = npt.NDArray[np.float64]

_FEW_VALUES = 256


@final
class Cells:
    """The translation between the configurations of a space and rows of cells.

    Attributes:
        n_options: parameter name -> the number of options of an unordered choice; 0 for other parameters.
        n_values: parameter name -> the number of values; None for a `Float`.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.n_options = {name: _n_options(parameter) for name, parameter in space.items()}
        self.n_values = {name: parameter.n_values for name, parameter in space.items()}
        self._listed: tuple[Sequence[Mapping[str, Any]], dict[int, list[float]]] = (), {}

    def row(self, config: Mapping[str, Any]) -> list[float]:
        """Returns the cells of a valid configuration."""
        return [
            math.nan
            if name not in config
            else float(parameter.place(config[name]))
            if isinstance(parameter, Choice) and not parameter.ordered
            else parameter.encode(config[name])[0]
            for name, parameter in self.space.items()
        ]

    def rows(self, configs: Sequence[Mapping[str, Any]]) -> Floats:
        """Returns the cells of valid configurations, shape `(n_configs, n_parameters)`."""
        return np.array([self.row(config) for config in configs], dtype=np.float64).reshape(-1, len(self.space))

    def rows_at(self, listed: Sequence[Mapping[str, Any]], places: Sequence[int]) -> Floats:
        """Returns the cells of some configurations of a list, given by their places; remembered for the last list."""
        if self._listed[0] is not listed:
            self._listed = listed, {}
        known = self._listed[1]
        for place in places:
            if place not in known:
                known[place] = self.row(listed[place])
        return np.array([known[place] for place in places], dtype=np.float64).reshape(-1, len(self.space))

    def snapped(self, rows: Floats) -> Floats:
        """Returns rows in which each coordinate of a countable parameter is that of its nearest value."""
        found = rows.copy()
        for place, (name, parameter) in enumerate(self.space.items()):
            if self.n_values[name] is not None and not self.n_options[name]:
                cells = found[:, place].tolist()
                found[:, place] = [_snapped(parameter, cell) for cell in cells]
        return found

    def near(self, rows: Floats) -> Floats:
        """Returns rows in which each coordinate of a parameter with few values is the nearest one of its values.

        This is quick, and leaves parameters with many values as they are.
        """
        found = rows.copy()
        for place, levels in self._levels.items():
            between = (levels[1:] + levels[:-1]) / 2
            found[:, place] = levels[np.searchsorted(between, found[:, place])]
        return found

    @functools.cached_property
    def _levels(self) -> dict[int, Floats]:
        """Returns place -> the coordinates of all values, ascending, of the parameters with few values."""
        parameters: list[tuple[int, tuple[str, Any]]] = [*enumerate(self.space.items())]
        return {
            place: np.array([parameter.encode(value)[0] for value in parameter.levels()])
            for place, (name, parameter) in parameters
            if not self.n_options[name] and (self.n_values[name] or math.inf) <= _FEW_VALUES
        }

    def active(self, rows: Floats) -> Floats:
        """Returns rows without the cells of parameters whose condition does not hold there."""
        return self.rows([self.config(row) for row in rows.tolist()]) if self.space.is_conditional else rows

    def config(self, row: Sequence[float]) -> dict[str, Any]:
        """Returns the configuration with these cells, which are numbers; it may break the batch-size rule."""
        parameters = zip(self.space.items(), self.n_options.values(), row, strict=True)
        values = {
            name: parameter.quantile((cell + 0.5) / n_options) if n_options else parameter.decode([cell])
            for (name, parameter), n_options, cell in parameters
        }
        return self.space.kept(values)


def _snapped(parameter: Any, cell: float) -> float:
    coordinate: float = parameter.encode(parameter.decode([cell]))[0]
    return coordinate


def _n_options(parameter: Parameter) -> int:
    """Returns the number of options of an unordered choice; 0 for other parameters."""
    return len(parameter.options) if isinstance(parameter, Choice) and not parameter.ordered else 0
