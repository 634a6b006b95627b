"""All combinations of some values of each parameter, accessed by number without building them all.

A combination lacks the parameters that its other values make inactive. So that each occurs once, they have their first
value in its number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, final, overload

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.conditions import Conditions
from lightning_hwtune.core.parameters.options import handed_out

__all__ = ["Combinations"]


@final
class Combinations(Sequence[dict[str, Any]]):
    """The product of `levels` (parameter name -> its values) as a sequence; the last parameter changes fastest.

    Args:
        levels: at least one value per name.
        numbers: ascending numbers of the members that belong, shape `(n_combinations,)`; None for all.
        conditions: which parameters a combination has; None for all.
    """

    __slots__ = ("_conditions", "_levels", "_numbers")

    def __init__(
        self,
        levels: Mapping[str, Sequence[Any]],
        numbers: npt.NDArray[np.int64] | None = None,
        conditions: Conditions | None = None,
    ) -> None:
        self._levels, self._conditions = dict(levels), conditions or None
        if numbers is None:
            sizes = {name: len(values) for name, values in self._levels.items()}
            numbers = conditions.numbers(sizes) if conditions else np.arange(math.prod(sizes.values()))
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Combinations: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | Combinations:
        if isinstance(index, slice):
            return Combinations(self._levels, self._numbers[index], self._conditions)
        number = int(self._numbers[index])
        places = {}
        for name in reversed(self._levels):
            number, places[name] = divmod(number, len(self._levels[name]))
        config = {name: values[places[name]] for name, values in self._levels.items()}
        kept = config if self._conditions is None else self._conditions.kept(config)
        return {name: handed_out(value) for name, value in kept.items()}

    def column(self, name: str, of_level: npt.ArrayLike) -> npt.NDArray[Any]:
        """Returns `of_level[place]` for the value that each combination has for `name`, shape `(n_combinations,)`.

        Args:
            name: the parameter.
            of_level: a number for each value of the parameter, shape `(n_levels,)`: e.g. the value or its probability.
        """
        return np.asarray(of_level)[self._places(name)]

    def n_levels(self, name: str) -> int:
        """Returns the number of values of a parameter."""
        return len(self._levels[name])

    def active(self, name: str) -> npt.NDArray[np.bool_]:
        """Returns which combinations have this parameter, shape `(n_combinations,)`."""
        if self._conditions is None:
            return np.ones(len(self), dtype=np.bool_)
        ancestors = {key: self._places(key) for key in self._conditions.ancestors(name)}
        return self._conditions.mask(name, ancestors, len(self))

    def _places(self, name: str) -> npt.NDArray[np.int64]:
        sizes = {key: len(values) for key, values in self._levels.items()}
        later = list(sizes)[list(sizes).index(name) + 1 :]
        places: npt.NDArray[np.int64] = self._numbers // math.prod(sizes[key] for key in later) % sizes[name]
        return places

    def places(self, of_values: Mapping[str, npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
        """Returns the position in this sequence of each combination of values; -1 for one that does not belong.

        Args:
            of_values: parameter name -> the position of each value among the parameter's levels, shape `(n,)`. The
                values of inactive parameters do not matter.
        """
        number = np.zeros(1, dtype=np.int64)
        for name, values in self._levels.items():
            place = of_values[name]
            if self._conditions is not None:
                place = np.where(self._conditions.mask(name, of_values, len(place)), place, 0)
            number = number * len(values) + place
        found = np.searchsorted(self._numbers, number).clip(0, max(len(self._numbers) - 1, 0))
        return np.where(self._numbers[found] == number, found, -1)

    def where(self, mask: npt.NDArray[np.bool_]) -> Combinations:
        """Returns the combinations for which `mask`, shape `(n_combinations,)`, is true."""
        return Combinations(self._levels, self._numbers[mask], self._conditions)
