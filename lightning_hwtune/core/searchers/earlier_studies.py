"""What a prior learns from: earlier tasks as plain data, and which of their points a space allows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.parameters.options import plain_options
from lightning_hwtune.core.space import MAX_COMBINATIONS, SearchSpace
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import FORMS, elements, entries, plain, reading

__all__ = ["EarlierTask", "n_combinations", "shared_names", "shared_values", "usable_rows"]

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
