"""What a prior learns from: earlier tasks as plain data, and what they say about the parameters of another space."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.parameters.options import plain_options
from lightning_hwtune.core.searchers.copula import copula_scores
from lightning_hwtune.core.searchers.new_configs import config_key
from lightning_hwtune.core.searchers.surrogate import Surrogate, fit_surrogate
from lightning_hwtune.core.space import MAX_COMBINATIONS, Choice, SearchSpace
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import FORMS, elements, entries, plain, reading

__all__ = ["EarlierTask", "Lesson", "n_combinations", "shared_names", "shared_values", "usable_rows"]

Floats = npt.NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class EarlierTask:
    """One task that was tuned before: its configurations and their losses.

    Attributes:
        name: shown in messages.
        values: parameter name -> one value per configuration; None if the configuration does not have the parameter.
        losses: minimised, one row per configuration and one entry per objective of the prior; NaN means diverged. Only
            their order within the task counts, separately for each objective.
    """

    name: str
    values: Mapping[str, Sequence[Any]]
    losses: Sequence[Sequence[float]]

    def __post_init__(self) -> None:
        for field in ("name", "values", "losses"):
            object.__setattr__(self, field, _READ[field](getattr(self, field)))
        lengths = {len(column) for column in self.values.values()}
        if not self.losses or not self.values or lengths != {len(self.losses)}:
            received = {**{name: len(column) for name, column in self.values.items()}, "losses": len(self.losses)}
            raise ArgumentError(f"task {self.name!r}", received, "at least one configuration, each with its losses")

    @classmethod
    def of(cls, name: str, configs: Sequence[Mapping[str, Any]], losses: npt.ArrayLike) -> Self:
        """Returns the task with these configurations and losses `(n, n_objectives)`; None where one lacks a value."""
        names = dict.fromkeys(name for config in configs for name in config)
        values = {name: [config.get(name) for config in configs] for name in names}
        return cls(name, values, np.asarray(losses, dtype=np.float64).tolist())

    @classmethod
    def read(cls, task: EarlierTask | Mapping[str, Any]) -> EarlierTask:
        """Returns a task unchanged, or builds it from its plain form.

        Raises:
            ArgumentError: the argument is neither.
        """
        if isinstance(task, EarlierTask):
            return task
        allowed = "earlier tasks with name, values and losses"
        with reading("ParetoPrior.tasks", task, allowed):
            given = entries(task) if isinstance(task, Mapping) else {}
            if set(given) == {"name", "values", "losses"}:
                return cls(**given)
        hint = "ParetoPrior.from_studies(...) and ParetoPrior.from_table(...) create them."
        raise ArgumentError("ParetoPrior.tasks", task, allowed, hint=hint)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data: the constructor's arguments."""
        return {
            "name": self.name,
            "values": {key: list(column) for key, column in self.values.items()},
            "losses": [list(row) for row in self.losses],
        }

    def __len__(self) -> int:
        return len(self.losses)


_VALUES = "a mapping from names to lists of values"
_LOSSES = elements("a list of rows of numbers", MAX_COMBINATIONS)


def _name(name: Any) -> str:
    found: str = FORMS["EarlierTask"]["name"].read("name of an earlier task", name)
    return found


def _values(values: Any) -> dict[str, list[Any]]:
    """Returns the plain values of each parameter; each value could be an option of a `Choice`."""
    argument = "values of an earlier task"
    if not isinstance(values, Mapping):
        raise ArgumentError(argument, values, _VALUES)
    with reading(argument, values, _VALUES):
        columns = {FORMS["SearchSpace"]["name"].read(argument, key): column for key, column in entries(values).items()}
    form = elements(_VALUES, MAX_COMBINATIONS)
    return {key: plain_options(form.read(argument, column), argument) for key, column in columns.items()}


def _losses(losses: Any) -> list[list[float]]:
    """Returns rows of numbers; a number that is not finite means that training diverged."""
    argument = "losses of an earlier task"
    rows = [_LOSSES.read(argument, row) for row in _LOSSES.read(argument, losses)]
    with reading(argument, losses, _LOSSES.allowed):
        cells = [[cell if type(cell) is float else plain(cell) for cell in row] for row in rows]
        for cell in itertools.chain.from_iterable(cells):
            if isinstance(cell, bool) or not isinstance(cell, int | float):
                raise ArgumentError(argument, cell, _LOSSES.allowed)
        return [list(map(float, row)) for row in cells]


_READ: Mapping[str, Callable[[Any], Any]] = {"name": _name, "values": _values, "losses": _losses}


@final
class Lesson:
    """What each earlier task says about a space: scores of its configurations, where low is good.

    A parameter is shared if every task has it under the same name; the other parameters of the space are ignored here.
    A point is left out if the space does not allow its value of a shared parameter. This happens after the scores of
    its task are computed, so scores mean the same for every space. A task without remaining points is ignored.

    Args:
        columns: the indices of the objectives to use, in order.

    Raises:
        ArgumentError: no parameter is shared, or no point is left.
    """

    def __init__(self, tasks: Sequence[EarlierTask], space: SearchSpace, columns: Sequence[int]) -> None:
        self.space, self.shared = space, shared_names(tasks, space)
        self._known: dict[str, Floats] = {}
        self._encoded: dict[str, list[float]] = {}
        rows = usable_rows(tasks, space)
        self.n_points = {task.name: len(kept) for task, kept in zip(tasks, rows, strict=True)}
        pairs = [(task, kept) for task, kept in zip(tasks, rows, strict=True) if kept]
        found = [self._rows(task, kept) for task, kept in pairs]
        configs = list(itertools.chain.from_iterable(found))
        self._coders = {
            name: _coder(space, name, [each[name] for each in configs if name in each]) for name in self.shared
        }
        points = [np.array([self._encode(config) for config in rows_of_task]) for rows_of_task in found]
        scores = [copula_scores(np.array(task.losses)[:, columns])[kept] for task, kept in pairs]
        n_trees = min(max(_TREES // len(pairs), _TREES_EACH[0]), _TREES_EACH[1])
        count = n_combinations(space, self.shared)
        self.models = [fit_surrogate(*task, count, n_trees) for task in zip(points, scores, strict=True)]
        self.points, self.scores = np.concatenate(points), np.concatenate(scores)

    @property
    def model(self) -> Surrogate:
        """The model of the first task; all are of the same class."""
        return self.models[0]

    def expect(self, configs: Sequence[Mapping[str, Any]]) -> tuple[Floats, Floats]:
        """Returns the mean and standard deviation over the tasks, each of shape `(n_configs, n_objectives)`."""
        each = self.expect_each(configs)
        return each.mean(axis=0), each.std(axis=0)

    def expect_each(self, configs: Sequence[Mapping[str, Any]]) -> Floats:
        """Returns the scores that each task predicts, shape `(n_tasks, n_configs, n_objectives)`."""
        keys = [self._key(config) for config in configs]
        new = {key: config for key, config in zip(keys, configs, strict=True) if key not in self._known}
        if new:
            points = self._points(list(new.values()))
            found = np.stack([model.expect(points) for model in self.models], axis=1)
            self._known.update(zip(new, found, strict=True))
        each = np.array([self._known[key] for key in keys]).reshape(-1, len(self.models), self.scores.shape[1])
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        return each.transpose(1, 0, 2)

    def sample(self, configs: Sequence[Mapping[str, Any]], tasks: Sequence[int], rng: np.random.Generator) -> Floats:
        """Returns the mean of one sample from each of these tasks, shape `(n_configs, n_objectives)`."""
        points = self._points(configs)
        found: Floats = np.mean([self.models[task].sample(points, rng) for task in tasks], axis=0)
        return found

    def _key(self, config: Mapping[str, Any]) -> str:
        return config_key({name: config[name] for name in self.shared if name in config})

    def _points(self, configs: Sequence[Mapping[str, Any]]) -> Floats:
        """Returns the encoded configurations; cached, as the draws of a batch have the same candidates."""
        keys = [self._key(config) for config in configs]
        for key, config in zip(keys, configs, strict=True):
            if key not in self._encoded:
                self._encoded[key] = self._encode(config)
        points = np.array([self._encoded[key] for key in keys])
        if len(self._encoded) > _REMEMBERED:
            self._encoded.clear()
        return points

    def _encode(self, config: Mapping[str, Any]) -> list[float]:
        return [cell for encode in self._coders.values() for cell in encode(config)]

    def _rows(self, task: EarlierTask, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Returns the values of the shared parameters that exist, in the form used by the space."""
        return [shared_values(task, row, self.space, self.shared) for row in rows]


_TREES = 400  # of all tasks together
_TREES_EACH = (10, 100)  # minimum and maximum per task
_MAX_COLUMNS = 1000  # of one choice
_REMEMBERED = 20_000  # configurations whose prediction or encoding is cached


def _coder(space: SearchSpace, name: str, seen: Iterable[Any]) -> Callable[[Mapping[str, Any]], list[float]]:
    """Returns the function that encodes a configuration's value of a parameter.

    For many options, those that no task has seen share one coordinate.
    """
    parameter = space[name]
    if not isinstance(parameter, Choice) or parameter.n_dims <= _MAX_COLUMNS:
        return functools.partial(space.cells, name)
    columns = {place: column for column, place in enumerate(sorted({parameter.place(value) for value in seen}))}
    other, place_of = len(columns), parameter.place

    def encode(config: Mapping[str, Any]) -> list[float]:
        if name not in config:
            return [1 / (other + 1)] * (other + 1)
        taken = columns.get(place_of(config[name]), other)
        return [float(column == taken) for column in range(other + 1)]

    return encode


def shared_names(tasks: Sequence[EarlierTask], space: SearchSpace) -> tuple[str, ...]:
    """Returns the parameters of a space that every task has, in the space's order.

    Raises:
        ArgumentError: there are none.
    """
    shared = tuple(name for name in space if all(name in task.values for task in tasks))
    if not shared:
        seen = sorted({name for task in tasks for name in task.values})
        raise ArgumentError("prior", seen, f"tasks that share a parameter with the space: {', '.join(space)}")
    return shared


def usable_rows(tasks: Sequence[EarlierTask], space: SearchSpace) -> list[list[int]]:
    """Returns, for each task, the rows whose shared values the space allows.

    Raises:
        ArgumentError: no parameter is shared, or no row is left.
    """
    shared = shared_names(tasks, space)
    rows = [[row for row in range(len(task)) if _is_allowed(task, row, space, shared)] for task in tasks]
    if not any(rows):
        names = [task.name for task in tasks]
        raise ArgumentError("prior", names, f"tasks with configurations inside the ranges of {', '.join(shared)}")
    return rows


def n_combinations(space: SearchSpace, names: Sequence[str]) -> int | None:
    """Returns the number of combinations of these parameters' values; None if one of them is a `Float`."""
    counts = [space[name].n_values for name in names]
    return None if None in counts else math.prod(count for count in counts if count is not None)


def shared_values(task: EarlierTask, row: int, space: SearchSpace, names: Sequence[str]) -> dict[str, Any]:
    """Returns the values that a row has of these parameters, in the form used by the space.

    The conditions of the space decide which of them exist. A parameter that depends on one that is not among these
    names exists if the row has a value for it.

    Raises:
        ArgumentError: the space does not allow a value, or a parameter that exists has none.
    """
    values = {name: task.values[name][row] for name in names}
    depending = [name for name in names if not set(space.ancestors(name)) <= set(names)]
    values = {name: value for name, value in values.items() if value is not None or name not in depending}
    kept = {name: value for name, value in values.items() if name in depending or space.is_active(name, values)}
    return {name: space[name].check(name, value) for name, value in kept.items()}


def _is_allowed(task: EarlierTask, row: int, space: SearchSpace, names: Sequence[str]) -> bool:
    try:
        shared_values(task, row, space, names)
    except ArgumentError:
        return False
    return True
