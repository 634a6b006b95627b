"""What earlier tasks say about the parameters of a space: one model per task, and what to expect of them together."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.searchers.copula import copula_scores
from lightning_hwtune.core.searchers.earlier_studies import (
    EarlierTask,
    n_combinations,
    shared_names,
    shared_values,
    usable_rows,
)
from lightning_hwtune.core.searchers.evidence import rank_correlation
from lightning_hwtune.core.searchers.left_out import left_out_predictions
from lightning_hwtune.core.searchers.new_configs import config_key
from lightning_hwtune.core.searchers.surrogate import Surrogate, fit_surrogate
from lightning_hwtune.core.space import Choice, SearchSpace

__all__ = ["USELESS", "Lesson"]

Floats = npt.NDArray[np.float64]

USELESS = 5
"""Number of known configurations up to which nothing is believed of a single task: even a perfect relation could be
chance, because two standard errors of a rank correlation are 1 with five points."""

_COMPARED = 32  # points of a task for which the others' predictions are compared
_FEW = 50  # number of points from which half of what they show is believed
_TREES = 400  # of all tasks together
_TREES_EACH = (10, 100)  # minimum and maximum per task
_MAX_COLUMNS = 1000  # of one choice
_REMEMBERED = 20_000  # configurations whose prediction or encoding is cached


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
        self._sizes = [len(task) for task in points]

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

    def sample(
        self, configs: Sequence[Mapping[str, Any]], tasks: Sequence[Sequence[int]], rng: np.random.Generator
    ) -> Floats:
        """Returns, per objective, the mean of one sample from each of its tasks, shape `(n_configs, n_objectives)`."""
        points = self._points(configs)
        columns = [
            np.mean([self.models[task].sample(points, rng)[:, column] for task in of_column], axis=0)
            for column, of_column in enumerate(tasks)
        ]
        return np.stack(columns, axis=1)

    @functools.cached_property
    def belief(self) -> Floats:
        """The rank correlation to expect between the tasks and a new one, before its first result, per objective.

        How well the tasks predict each other, or how well a single one predicts points from its other points, less two
        standard errors, times n / (n + `_FEW`) for n points in total, from 0 to 0.5.
        """
        if len(self.models) == 1:
            pairs = [(left_out_predictions(self.points, self.scores), self.scores)] if len(self.points) > 1 else []
        else:
            pairs = [self._by_others(task) for task in range(len(self.models))]
        r = np.array([[rank_correlation(*columns) for columns in zip(a.T, b.T, strict=True)] for a, b in pairs])
        n = sum(len(actual) for _, actual in pairs)
        if n < 2:
            return np.zeros(self.scores.shape[1])
        found: Floats = ((np.nan_to_num(r).mean(axis=0) - 2 / math.sqrt(n - 1)) * n / (n + _FEW)).clip(0.0, 0.5)
        return found

    def _by_others(self, task: int) -> tuple[Floats, Floats]:
        """Returns what the other tasks together predict for some points of a task, and its scores there."""
        start = sum(self._sizes[:task])
        rows = start + np.unique(np.linspace(0, self._sizes[task] - 1, _COMPARED).astype(int))
        others = [model.expect(self.points[rows]) for place, model in enumerate(self.models) if place != task]
        return np.mean(others, axis=0), self.scores[rows]

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
