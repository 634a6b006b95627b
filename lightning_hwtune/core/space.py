"""The search space: named parameters, what can be drawn from them, and their coordinates in the unit cube.

A configuration is a plain dict with a value for every parameter, in the space's order. The space also has the rule that
a global batch size must be divisible by the number of devices. A combination that breaks it is redrawn by `sample`,
refused by `validate`, and left out of grids. If there is a `NumDevices`, the rule applies to every parameter called
`batch_size` (or `something.batch_size`). `constrained` names another parameter, or lifts the rule.

Two spaces are equal if they have the same parameters in the same order under the same rule. The order matters because
each draw assigns its shares to the parameters by position.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.batch_rule import BatchRule
from lightning_hwtune.core.combinations import Combinations
from lightning_hwtune.core.parameters import Choice, Float, Int, NumDevices, Parameter, parameter_from_dict
from lightning_hwtune.errors import ArgumentError, nearest, shown
from lightning_hwtune.forms import FORMS, checked_call, elements, entries, one_of, reading

__all__ = ["MAX_COMBINATIONS", "Choice", "Float", "Int", "NumDevices", "Parameter", "SearchSpace"]

MAX_COMBINATIONS = 1_000_000
"""The largest product that is ever listed; its arrays take some ten megabytes."""

_CONFIGS = elements("a list of configurations", MAX_COMBINATIONS)


@final
class SearchSpace(Mapping[str, Parameter]):
    """The search space: a mapping from name to parameter.

    Args:
        params: name -> parameter; names with dots, such as "model.optimizer.lr", are allowed here.
        named: further parameters as keywords.

    Raises:
        ArgumentError: no parameter at all, a name given twice, a value that is not a parameter, two `NumDevices`.

    Examples:
        >>> space = hwt.SearchSpace({"model.lr": hwt.Float(1e-4, 1e-1, log=True)}, layers=hwt.Int(1, 4))
        >>> space.names
        ('model.lr', 'layers')
        >>> space.validate({"model.lr": 0.01, "layers": 2})
        {'model.lr': 0.01, 'layers': 2}
    """

    __slots__ = ("_devices_key", "_dividing", "_params", "_rule")

    @checked_call("SearchSpace")
    def __init__(self, params: Mapping[str, Parameter] | None = None, /, **named: Parameter) -> None:
        given: Mapping[str, Parameter] = {} if params is None else params
        if not isinstance(given, Mapping):
            raise ArgumentError("params", given, "a mapping from names to parameters")
        if not isinstance(given, SearchSpace):
            with reading("params", given, "a mapping from names to parameters"):
                given = {_name_of(name): parameter for name, parameter in entries(given).items()}
        twice = sorted(given.keys() & named.keys())
        if twice:
            raise ArgumentError(
                twice[0], named[twice[0]], "each name once", hint="It is in the mapping and in the keywords."
            )
        self._params: dict[str, Parameter] = {**given, **named}
        if not self._params:
            raise ArgumentError(
                "SearchSpace", {}, "at least one parameter", hint="For example lr=Float(1e-4, 1e-1, log=True)."
            )
        for name, parameter in self._params.items():
            _name_of(name)
            _check_parameter(name, parameter)
        devices = [name for name, parameter in self._params.items() if isinstance(parameter, NumDevices)]
        if len(devices) > 1:
            raise ArgumentError(
                devices[1], self._params[devices[1]], f"only one NumDevices, and {devices[0]!r} is already one"
            )
        self._devices_key = devices[0] if devices else None
        batch_sizes = tuple(name for name in self._params if name.rpartition(".")[2] == "batch_size")
        self._rule = BatchRule(devices[0], batch_sizes) if devices and batch_sizes else None
        # computed when first needed, because `constrained(None)` must work on a space in which nothing divides
        self._dividing: tuple[int, float] | None = None

    def __getitem__(self, name: str) -> Parameter:
        return self._params[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._params)

    def __len__(self) -> int:
        return len(self._params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SearchSpace) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        return f"SearchSpace({self._params!r})"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters, in order."""
        return tuple(self._params)

    @property
    def n_dims(self) -> int:
        """The number of coordinates of a configuration in the unit cube; an unordered choice has one per option."""
        return sum(parameter.n_dims for parameter in self._params.values())

    @property
    def devices_key(self) -> str | None:
        """The name of the `NumDevices` parameter; None if there is none."""
        return self._devices_key

    @property
    def device_counts(self) -> tuple[int, ...]:
        """The possible device counts, ascending; empty without a `NumDevices`."""
        parameter = self._params[self._devices_key] if self._devices_key is not None else None
        return parameter.counts if isinstance(parameter, NumDevices) else ()

    @property
    def batch_size_keys(self) -> tuple[str, ...]:
        """Names of the parameters that must be divisible by the device count; empty if the rule does not apply."""
        return self._rule.keys if self._rule else ()

    @property
    def size(self) -> int | None:
        """The number of configurations; None if a `Float` makes them uncountable.

        Raises:
            ArgumentError: no batch size is divisible by any device count.
        """
        tied = {self._rule.devices_key, *self._rule.keys} if self._rule else set()
        counts = [parameter.n_values for name, parameter in self._params.items() if name not in tied]
        if None in counts:
            return None
        return math.prod(count for count in counts if count is not None) * self._find_dividing()[0]

    @property
    def rejected_share(self) -> float:
        """The exact share of draws that are repeated because a batch size is not divisible by the number of devices.

        Raises:
            ArgumentError: no batch size is divisible by any device count.
        """
        return 1.0 - self._find_dividing()[1]

    def constrained(self, batch_size_key: str | None) -> SearchSpace:
        """Returns the space with the rule that this parameter is divisible by the device count; None lifts the rule.

        Raises:
            ArgumentError: there is no such parameter, or none of its values is divisible.
        """
        if batch_size_key is not None:
            batch_size_key = one_of(*self._params).read("batch_size_key", batch_size_key)
        other = SearchSpace(self._params)
        has_rule = batch_size_key is not None and self._devices_key is not None
        other._rule = BatchRule(str(self._devices_key), (str(batch_size_key),)) if has_rule else None
        other._find_dividing()
        return other

    def allows(self, config: Mapping[str, Any]) -> bool:
        """Returns whether every batch size of a complete configuration is divisible by its number of devices."""
        if not isinstance(config, Mapping):
            raise ArgumentError("config", config, f"a mapping with {', '.join(self._params)}")
        if self._rule is None:
            return True
        with reading("config", config, f"a mapping with {self._rule.devices_key} and {', '.join(self._rule.keys)}"):
            return self._rule.allows(config)

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """Returns a configuration drawn at random. Its values are plain Python objects.

        Raises:
            ArgumentError: no batch size is divisible by any device count.
        """
        self._find_dividing()  # raises instead of drawing forever
        if not isinstance(rng, np.random.Generator):
            raise ArgumentError("rng", rng, "a numpy.random.Generator such as numpy.random.default_rng(0)")
        while True:
            shares = rng.random(len(self._params)).tolist()
            draws = zip(self._params.items(), shares, strict=True)
            config = {name: parameter.quantile(share) for (name, parameter), share in draws}
            if self._rule is None or self._rule.allows(config):
                return config

    def encode(self, config: Mapping[str, Any]) -> npt.NDArray[np.float64]:
        """Returns the point of a valid configuration in the unit cube, shape `(n_dims,)`.

        Numbers and ordered choices have one coordinate each. An unordered choice has one per option: 1 for the chosen
        option, 0 for the others.
        """
        valid = self.validate(config)
        return np.array([cell for name, parameter in self._params.items() for cell in parameter.encode(valid[name])])

    def encode_many(self, configs: Iterable[Mapping[str, Any]]) -> npt.NDArray[np.float64]:
        """Returns the points of several valid configurations, shape `(n_configs, n_dims)`."""
        listed = _CONFIGS.read("configs", configs)
        return np.array([self.encode(config) for config in listed]).reshape(-1, self.n_dims)

    def decode(self, vector: npt.ArrayLike) -> dict[str, Any]:
        """Returns the configuration nearest to a point, shape `(n_dims,)`; coordinates are clipped to [0, 1].

        It may break the batch rule; see `allows`.

        Raises:
            ArgumentError: the shape is wrong, or a coordinate is NaN.
        """
        allowed = f"{self.n_dims} numbers from 0 to 1"
        with reading("vector", vector, allowed):
            cells = np.array(elements(allowed, self.n_dims).read("vector", vector), dtype=np.float64)
        if cells.shape != (self.n_dims,) or np.isnan(cells).any():
            raise ArgumentError("vector", vector, allowed)
        rest = cells.clip(0.0, 1.0).tolist()
        config = {}
        for name, parameter in self._params.items():
            config[name], rest = parameter.decode(rest[: parameter.n_dims]), rest[parameter.n_dims :]
        return config

    def validate(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a configuration as a plain dict in the space's order.

        Raises:
            ArgumentError: an unknown or missing name, a value that its parameter does not have, or a batch size that
                is not divisible by the number of devices.
        """
        allowed = f"a mapping with {', '.join(self._params)}"
        if not isinstance(config, Mapping):
            raise ArgumentError("config", config, allowed)
        if not isinstance(config, dict):
            with reading("config", config, allowed):
                config = entries(config)
        for name in config:
            if not isinstance(name, str) or str.__str__(name) not in self._params:
                raise self._unknown("config", name)
        missing = [name for name in self._params if name not in config]
        if missing:
            raise ArgumentError("config", dict(config), f"a value for every parameter; missing: {', '.join(missing)}")
        checked = {}
        for name, parameter in self._params.items():
            with reading(name, config[name], "a value of its parameter"):
                checked[name] = parameter.check(name, config[name])
        if self._rule is not None:
            self._rule.check(checked)
        return checked

    def grid(self, points_per_float: int = 5) -> Combinations:
        """Returns every combination of all values; each `Float` has `points_per_float` evenly spaced ones.

        Raises:
            ArgumentError: there are more than a million combinations, or no batch size is divisible.
        """
        points_per_float = FORMS["Grid"]["points_per_float"].read("points_per_float", points_per_float)
        sizes = {name: parameter.n_values or points_per_float for name, parameter in self._params.items()}
        if math.prod(sizes.values()) > MAX_COMBINATIONS:
            product = " x ".join(f"{name} {size}" for name, size in sizes.items())
            raise ArgumentError(
                "grid",
                f"{math.prod(sizes.values())} combinations ({product})",
                f"at most {MAX_COMBINATIONS}",
                hint="List fewer values with Choice, widen `step`, lower `points_per_float`, or use Random().",
            )
        grid = Combinations(
            {
                name: parameter.levels(points_per_float) if isinstance(parameter, Float) else parameter.levels()
                for name, parameter in self._params.items()
            }
        )
        if self._rule is None:
            return grid
        self._find_dividing()
        return grid.where(self._rule.mask(grid, self._params))

    def probabilities(self, grid: Combinations) -> npt.NDArray[np.float64]:
        """Returns the probability of drawing each combination, up to a common factor, shape `(len(grid),)`.

        The values of a `Float` are treated as equally likely.
        """
        if not isinstance(grid, Combinations):
            raise ArgumentError("grid", grid, "the result of `SearchSpace.grid`")
        product = np.ones(len(grid))
        for name, parameter in self._params.items():
            if not isinstance(parameter, Float):
                product *= grid.column(name, parameter.masses())
        return product

    def differences(self, other: SearchSpace) -> dict[str, tuple[object, object]]:
        """Returns the differences: parameter name -> (here, in `other`); empty if the spaces are equal."""
        if not isinstance(other, SearchSpace):
            raise ArgumentError("other", other, "a SearchSpace")
        names = [*self, *(name for name in other if name not in self)]
        found: dict[str, tuple[object, object]] = {
            name: (self.get(name, "absent"), other.get(name, "absent"))
            for name in names
            if self.get(name) != other.get(name)
        }
        if not found and self.names != other.names:
            found["order"] = (list(self.names), list(other.names))
        if self.batch_size_keys != other.batch_size_keys:
            found["global batch sizes"] = (list(self.batch_size_keys), list(other.batch_size_keys))
        return found

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Returns the form used in study files: name -> parameter. A rule set by `constrained` is not part of it."""
        return {name: parameter.to_dict() for name, parameter in self._params.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SearchSpace:
        """Returns the space that `to_dict` or a study file describes.

        Raises:
            ArgumentError: see `parameter_from_dict`.
            RenamedArgumentError: a kind or key has another tool's name.
        """
        if not isinstance(data, Mapping):
            raise ArgumentError("space", data, "a mapping from names to parameters")
        return cls({name: parameter_from_dict(name, form) for name, form in data.items()})

    def _identity(self) -> tuple[object, ...]:
        return tuple(self._params.items()), self._rule

    def _find_dividing(self) -> tuple[int, float]:
        """Returns how many combinations of batch sizes and devices satisfy the rule, and their share of all draws."""
        if self._dividing is None:
            self._dividing = (1, 1.0) if self._rule is None else self._rule.dividing(self._params)
        return self._dividing

    def _unknown(self, argument: str, name: object) -> ArgumentError:
        near = nearest(name, self._params).removeprefix("; did")
        return ArgumentError(
            argument, name, f"the parameters {', '.join(self._params)}", hint=f"Did{near}" if near else ""
        )


def _name_of(name: object) -> str:
    found: str = FORMS["SearchSpace"]["name"].read("SearchSpace", name)
    return found


def _check_parameter(name: str, value: object) -> None:
    if isinstance(value, Float | Int | Choice | NumDevices):
        return
    if isinstance(value, Mapping):
        hint = f"Write a nested name with dots, {name + '.lr'!r}; SearchSpace.from_dict reads the form of study files."
    elif isinstance(value, list | tuple | range) or (isinstance(value, np.ndarray) and value.ndim):
        hint = f"Use Choice({shown(list(value[:20]))}) for a list, or Float(low, high) or Int(low, high) for a range."
    elif value is None or isinstance(value, str | int | float):
        hint = f"Use Choice([{shown(value)}]) for a constant, or Float(low, high) for a range."
    else:
        hint = "For example Float(low, high)."
    raise ArgumentError(name, value, "a Float, Int, Choice or NumDevices", hint=hint)
