"""The search space: named parameters, what can be drawn from them, and their coordinates in the unit cube.

A configuration is a plain dict with a value for every parameter, in the space's order. It lacks the parameters whose
condition (`when`) does not hold; see `conditions`. A draw has a share for each parameter in any case, and the share of
an inactive one changes nothing.

The space also has the rule that a global batch size must be divisible by the number of devices. A combination that
breaks it is redrawn by `sample`, refused by `validate`, and left out of grids. If there is a `NumDevices`, the rule
applies to every parameter called `batch_size` (or `something.batch_size`). `constrained` names another parameter, or
lifts the rule.

Two spaces are equal if they have the same parameters in the same order under the same rule. The order matters because
each draw assigns its shares to the parameters by position.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.batch_rule import BatchRule, is_batch_size
from lightning_hwtune.core.combinations import Combinations
from lightning_hwtune.core.conditions import Conditions
from lightning_hwtune.core.parameters import (
    Choice,
    Float,
    InstanceChoice,
    Int,
    NumDevices,
    Parameter,
    TrainerChoice,
    parameter_from_dict,
    stored_form,
)
from lightning_hwtune.core.space_size import Counts, counts_of
from lightning_hwtune.errors import ArgumentError, nearest, shown
from lightning_hwtune.forms import FORMS, checked_call, elements, entries, one_of, reading
from lightning_hwtune.text import counted

__all__ = ["MAX_COMBINATIONS", "Choice", "Float", "Int", "NumDevices", "Parameter", "SearchSpace"]

MAX_COMBINATIONS = 1_000_000
"""The largest product that is ever listed; its arrays take some ten megabytes."""

_MAX_NUMBER = 2**62  # of a combination, so that 64 bits are enough
_CONFIGS = elements("a list of configurations", MAX_COMBINATIONS)


@final
class SearchSpace(Mapping[str, Parameter]):
    """The search space: a mapping from name to parameter.

    Args:
        params: name -> parameter; names with dots, such as "model.optimizer.lr", are allowed here.
        named: further parameters as keywords.

    Raises:
        ArgumentError: no parameter at all, a name given twice, a value that is not a parameter, two `NumDevices`, or a
            condition that cannot hold.

    Examples:
        >>> space = hwt.SearchSpace({"model.lr": hwt.Float(1e-4, 1e-1, log=True)}, layers=hwt.Int(1, 4))
        >>> space.names
        ('model.lr', 'layers')
        >>> space.validate({"model.lr": 0.01, "layers": 2})
        {'model.lr': 0.01, 'layers': 2}
    """

    __slots__ = (
        "_conditions",
        "_counts",
        "_devices_key",
        "_instance_key",
        "_n_combinations",
        "_params",
        "_rule",
        "_trainer_keys",
    )

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
        instances = [name for name, parameter in self._params.items() if isinstance(parameter, InstanceChoice)]
        if len(instances) > 1:
            allowed = f"only one Instance, and {instances[0]!r} is already one"
            raise ArgumentError(instances[1], self._params[instances[1]], allowed)
        self._trainer_keys = _trainer_keys(self._params)
        self._devices_key = devices[0] if devices else None
        self._instance_key = instances[0] if instances else None
        batch_sizes = tuple(name for name in self._params if is_batch_size(name))
        self._rule = BatchRule(devices[0], batch_sizes) if devices and batch_sizes else None
        self._conditions = Conditions.of(self._params)
        # computed when first needed, because `constrained(None)` must work on a space in which nothing divides
        self._counts: Counts | None = None
        self._n_combinations: int | None = None

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
    def instance_key(self) -> str | None:
        """The name of the `Instance` parameter; None if there is none."""
        return self._instance_key

    @property
    def trainer_keys(self) -> Mapping[str, str]:
        """The parameters that are arguments of the Trainer: name of the argument -> name of the parameter."""
        return self._trainer_keys

    def trainer_arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the arguments of the Trainer that a configuration decides."""
        return {argument: config[name] for argument, name in self._trainer_keys.items() if name in config}

    @property
    def usd_per_hour(self) -> Mapping[str, float]:
        """The price of each instance type; empty without an `Instance`."""
        parameter = self._params[self._instance_key] if self._instance_key is not None else None
        return parameter.column("usd_per_hour") if isinstance(parameter, InstanceChoice) else {}

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
        return None if self._is_uncountable() else self._count().allowed

    @property
    def n_combinations(self) -> int | None:
        """The number of configurations, including those that the batch rule rejects; None if they are uncountable."""
        if self._n_combinations is None and not self._is_uncountable():
            self._n_combinations = counts_of(self._params, self._conditions, None).all
        return self._n_combinations

    @property
    def is_conditional(self) -> bool:
        """Whether a parameter has a condition, so that configurations differ in their names."""
        return bool(self._conditions)

    @property
    def rejected_share(self) -> float:
        """The exact share of draws that are repeated because a batch size is not divisible by the number of devices.

        Raises:
            ArgumentError: no batch size is divisible by any device count.
        """
        return 1.0 - self._count().share

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
        other._count()
        return other

    def active(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Returns the names of the parameters that exist, given these values of the others, in the space's order."""
        return tuple(name for name in self._params if self._conditions.is_active(name, config))

    def is_active(self, name: str, values: Mapping[str, Any]) -> bool:
        """Returns whether a parameter exists, given these values of the others."""
        return self._conditions.is_active(name, values)

    def ancestors(self, name: str) -> tuple[str, ...]:
        """Returns the parameters whose values decide whether this one exists."""
        return self._conditions.ancestors(name)

    def kept(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns values without those of inactive parameters."""
        return self._conditions.kept(values)

    def absent(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Returns why a configuration lacks parameters: name -> the condition and the values that decide."""
        active = self.active(config)
        return {name: self._conditions.reason(name, config) for name in self._params if name not in active}

    def allows(self, config: Mapping[str, Any]) -> bool:
        """Returns whether each batch size that a configuration has is divisible by its number of devices."""
        if not isinstance(config, Mapping):
            raise ArgumentError("config", config, f"a mapping with {', '.join(self._params)}")
        if self._rule is None:
            return True
        with reading("config", config, f"a mapping with {self._rule.devices_key} and {', '.join(self._rule.keys)}"):
            return self._rule.allows(config)

    def at(self, shares: Sequence[float]) -> dict[str, Any]:
        """Returns the configuration in which each parameter has the value at its share of its distribution.

        Args:
            shares: from 0 to 1, one per parameter, in order. Those of inactive parameters have no effect.
        """
        pairs = zip(self._params.items(), shares, strict=True)
        return self.kept({name: parameter.quantile(share) for (name, parameter), share in pairs})

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """Returns a configuration drawn at random. Its values are plain Python objects.

        Raises:
            ArgumentError: no batch size is divisible by any device count.
        """
        self._count()  # raises instead of drawing forever
        if not isinstance(rng, np.random.Generator):
            raise ArgumentError("rng", rng, "a numpy.random.Generator such as numpy.random.default_rng(0)")
        while True:
            config = self.at(rng.random(len(self._params)).tolist())
            if self._rule is None or self._rule.allows(config):
                return config

    def encode(self, config: Mapping[str, Any]) -> npt.NDArray[np.float64]:
        """Returns the point of a valid configuration in the unit cube, shape `(n_dims,)`.

        Numbers and ordered choices have one coordinate each. An unordered choice has one per option: 1 for the chosen
        option, 0 for the others. An inactive parameter has the mean coordinates of its draws: 1/2, or 1/n for each of
        n options.
        """
        valid = self.validate(config)
        return np.array([cell for name in self._params for cell in self.cells(name, valid)])

    def cells(self, name: str, config: Mapping[str, Any]) -> list[float]:
        """Returns the coordinates of one parameter in a configuration, as `encode` does."""
        parameter = self._params[name]
        if name in config:
            return parameter.encode(config[name])
        is_unordered = isinstance(parameter, Choice) and not parameter.ordered
        return [1 / parameter.n_dims if is_unordered else 0.5] * parameter.n_dims

    def encode_many(self, configs: Iterable[Mapping[str, Any]]) -> npt.NDArray[np.float64]:
        """Returns the points of several valid configurations, shape `(n_configs, n_dims)`."""
        listed = _CONFIGS.read("configs", configs)
        return np.array([self.encode(config) for config in listed]).reshape(-1, self.n_dims)

    def decode(self, vector: npt.ArrayLike) -> dict[str, Any]:
        """Returns the configuration nearest to a point, shape `(n_dims,)`; coordinates are clipped to [0, 1].

        The coordinates of inactive parameters have no effect. The configuration may break the batch rule; see `allows`.

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
        return self.kept(config)

    def validate(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a configuration as a plain dict in the space's order.

        Raises:
            ArgumentError: an unknown or missing name, a value that its parameter does not have, a value of an inactive
                parameter, or a batch size that is not divisible by the number of devices.
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
        missing = [name for name in self._params if name not in config and self._params[name].when is None]
        if missing:
            raise ArgumentError("config", dict(config), f"a value for every parameter; missing: {', '.join(missing)}")
        checked = {}
        for name, parameter in self._params.items():
            if name in config:
                with reading(name, config[name], "a value of its parameter"):
                    checked[name] = parameter.check(name, config[name])
        if self._conditions:
            self._check_active(checked)
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
        n = counts_of(self._params, self._conditions, None, points_per_float).all
        if n > MAX_COMBINATIONS or math.prod(sizes.values()) > _MAX_NUMBER:
            product = " x ".join(f"{name} {size}" for name, size in sizes.items())
            less = ", less those with inactive values" if self._conditions else ""
            raise ArgumentError(
                "grid",
                f"{counted(n, 'combinations')} ({product}{less})",
                f"at most {MAX_COMBINATIONS}",
                hint="List fewer values with Choice, widen `step`, lower `points_per_float`, or use Random().",
            )
        grid = Combinations(
            {
                name: parameter.levels(points_per_float) if isinstance(parameter, Float) else parameter.levels()
                for name, parameter in self._params.items()
            },
            conditions=self._conditions,
        )
        if self._rule is None:
            return grid
        self._count()
        return grid.where(self._rule.mask(grid, self._params))

    def probabilities(self, grid: Combinations) -> npt.NDArray[np.float64]:
        """Returns the probability of drawing each combination, up to a common factor, shape `(len(grid),)`.

        The values of a `Float` are treated as equally likely. An inactive parameter has no effect.
        """
        if not isinstance(grid, Combinations):
            raise ArgumentError("grid", grid, "the result of `SearchSpace.grid`")
        product = np.ones(len(grid))
        for name, parameter in self._params.items():
            if isinstance(parameter, Float):
                masses = np.full(len(grid), 1.0 if parameter.when is None else 1.0 / grid.n_levels(name))
            else:
                masses = grid.column(name, parameter.masses())
            product *= masses if parameter.when is None else np.where(grid.active(name), masses, 1.0)
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

    @classmethod
    def from_stored(cls, data: Mapping[str, Any]) -> SearchSpace:
        """Returns the space that `to_dict` described in a log; today's defaults of the parameters have no effect."""
        return cls.from_dict({name: stored_form(form) for name, form in data.items()})

    def _identity(self) -> tuple[object, ...]:
        return tuple(self._params.items()), self._rule

    def _is_uncountable(self) -> bool:
        return any(parameter.n_values is None for parameter in self._params.values())

    def _count(self) -> Counts:
        """Returns the number of configurations, in which a `Float` counts as one value, and the share that is allowed.

        Raises:
            ArgumentError: no batch size is divisible by any device count.
        """
        if self._counts is None:
            counts = counts_of(self._params, self._conditions, self._rule)
            if counts.allowed == 0 and self._rule is not None:
                raise self._rule.refused(self._params)
            self._counts = counts
        return self._counts

    def _check_active(self, values: Mapping[str, Any]) -> None:
        """Refuses values of inactive parameters, and active parameters without a value."""
        for name, parameter in self._params.items():
            is_active, is_given = self._conditions.is_active(name, values), name in values
            if is_given and not is_active:
                allowed = f"no value here: {self._conditions.reason(name, values)}"
                raise ArgumentError(name, values[name], allowed, hint="Leave it out.")
            if is_active and not is_given:
                allowed = f"a value for every parameter; missing: {name}, which exists when {parameter.when}"
                raise ArgumentError("config", dict(values), allowed)

    def _unknown(self, argument: str, name: object) -> ArgumentError:
        near = nearest(name, self._params).removeprefix("; did")
        return ArgumentError(
            argument,
            name,
            f"only parameters of the space: {', '.join(self._params)}",
            hint=f"Did{near}" if near else "",
        )


def _name_of(name: object) -> str:
    found: str = FORMS["SearchSpace"]["name"].read("SearchSpace", name)
    return found


def _trainer_keys(params: Mapping[str, Parameter]) -> dict[str, str]:
    """Returns the parameters that are arguments of the Trainer, and refuses two for the same argument."""
    found: dict[str, str] = {}
    for name, parameter in params.items():
        if isinstance(parameter, TrainerChoice) and (first := found.setdefault(parameter.argument, name)) != name:
            allowed = f"only one {type(parameter).__name__}, and {first!r} is already one"
            raise ArgumentError(name, parameter, allowed)
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
