"""How an objective depends on one parameter, or on two: the trials, and what a model learned from them expects.

The expectation is the mean of the model over the trials, as if each had this value of the parameter and kept its others
(J. Friedman, "Greedy function approximation: a gradient boosting machine", 2001, section 8.2). The model does not see
how bad the values are that are much worse than most (`values.sensible`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.parameters import Float, Int, Parameter
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.errors import ArgumentError, MissingDependencyError, nearest
from lightning_hwtune.views.effects.importance import LEAST_TRIALS, MOST_TRIALS, importance_entries
from lightning_hwtune.views.effects.points import encoded
from lightning_hwtune.views.effects.response import Response, cross_validated
from lightning_hwtune.views.effects.values import RungValues, rung_values, sensible

__all__ = ["contour_entry", "options_of", "parameter_order", "scale_of", "slice_entries"]

Floats = npt.NDArray[np.float64]

_N_LINE, _N_SIDE = 40, 24  # places on a line, and on each side of a grid
_MOST_TRIALS = 100  # over which the expectation is a mean


def slice_entries(state: StudyFacts, objective: str | None = None, at: int | None = None) -> dict[str, Any]:
    """Returns the slices of an objective through all parameters, the most important first.

    Returns:
        objective, rung, note: as in `importance.importance_entries`.
        parameters: a list of `parameter`, `scale` ("linear", "log" or "options"), `options` (their order; None for a
            range), `trials`, `values` and `objectives` (one per trial that has the parameter), and the expectation of
            the model: `places` and `expected`, which are empty without a model.

    Raises:
        ArgumentError: there is no such objective or rung.
    """
    found = rung_values(state, objective, at)
    space = state.spec.space
    model = _Model.of(space, found)
    return {
        "objective": found.objective.name,
        "rung": found.rung,
        "note": found.note(state.ladder.unit),
        "parameters": [_slice(space, name, found, model) for name in parameter_order(state, objective, at)],
    }


def contour_entry(
    state: StudyFacts,
    objective: str | None = None,
    at: int | None = None,
    parameters: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Returns an objective over two parameters with ranges; by default, over the two most important ones.

    Returns:
        objective, rung, note: as in `importance.importance_entries`.
        parameters: the two names; empty if the space has fewer parameters with ranges. scales: "linear" or "log".
        trials, across, up, objectives: the trials that have both parameters.
        places_across, places_up, expected: the expectation of the model, one row per place up; empty without a model.

    Raises:
        ArgumentError: there is no such objective, rung or parameter, or one parameter decides whether the other exists.
    """
    found, space = rung_values(state, objective, at), state.spec.space
    names = _two_ranges(state, objective, at) if parameters is None else _checked(space, parameters)
    entry: dict[str, Any] = {
        "objective": found.objective.name,
        "rung": found.rung,
        "note": found.note(state.ladder.unit),
        "parameters": names,
        "scales": [scale_of(space[name]) for name in names],
        **{key: [] for key in ("trials", "across", "up", "objectives", "places_across", "places_up", "expected")},
    }
    if not names:
        return entry
    both = [(trial, value) for trial, value in zip(found.trials, found.values.tolist(), strict=True)
            if all(name in trial.config for name in names)]  # fmt: skip
    entry |= {
        "trials": [trial.trial_id for trial, _ in both],
        "across": [trial.config[names[0]] for trial, _ in both],
        "up": [trial.config[names[1]] for trial, _ in both],
        "objectives": [value for _, value in both],
    }
    model = _Model.of(space, found)
    if model is not None:
        across, up = (_places(space[name], _N_SIDE) for name in names)
        rows = model.expected([{names[0]: x, names[1]: y} for y in up for x in across])
        entry |= {"places_across": across, "places_up": up,
                  "expected": np.reshape(rows, (len(up), len(across))).tolist()}  # fmt: skip
    return entry


def parameter_order(state: StudyFacts, objective: str | None = None, at: int | None = None) -> list[str]:
    """Returns the parameters, the most important first; in the order of the space if importance is not known."""
    names = list(state.spec.space)
    try:
        [entry] = importance_entries(state, rung_values(state, objective, at).objective.name, at)
    except MissingDependencyError:
        return names
    return [row["parameter"] for row in entry["parameters"]] or names


@final
class _Model:
    """A model of an objective, and its mean over the trials."""

    def __init__(self, space: SearchSpace, model: Response, points: Floats) -> None:
        every = max(len(points) // _MOST_TRIALS, 1)
        self._space, self._model, self._points = space, model, points[::every]

    @classmethod
    def of(cls, space: SearchSpace, found: RungValues) -> _Model | None:
        """Returns a model of the values; None without enough trials, or without scikit-learn."""
        if len(found.trials) < LEAST_TRIALS or not np.ptp(found.values):
            return None
        found = found.thinned(MOST_TRIALS)
        points = encoded(space, [trial.config for trial in found.trials])
        kept = sensible(found.objective, found.values.tolist())
        try:
            return cls(space, cross_validated(points, np.clip(found.values, min(kept), max(kept))).model, points)
        except MissingDependencyError:
            return None

    def expected(self, fixed: Sequence[Mapping[str, Any]]) -> list[float]:
        """Returns the mean over the trials that have the fixed parameters, for each mapping of names to values."""
        names = fixed[0].keys()
        starts = np.cumsum([0, *(parameter.n_dims for parameter in self._space.values())])
        first_cells = dict(zip(self._space, starts.tolist(), strict=False))
        exist = ~np.isnan(self._points[:, [first_cells[name] for name in names]]).any(axis=1)
        points = self._points[exist]
        if not len(points):
            return [math.nan] * len(fixed)
        blocks = []
        for values in fixed:
            block = points.copy()
            for name, value in values.items():
                cells = self._space.cells(name, {name: value})
                block[:, first_cells[name] : first_cells[name] + len(cells)] = cells
            blocks.append(block)
        means = self._model.predict(np.vstack(blocks)).reshape(len(fixed), -1).mean(axis=1)
        return [float(mean) for mean in means]


def _slice(space: SearchSpace, name: str, found: RungValues, model: _Model | None) -> dict[str, Any]:
    parameter = space[name]
    pairs = zip(found.trials, found.values.tolist(), strict=True)
    having = [(trial, value) for trial, value in pairs if name in trial.config]
    places = _places(parameter, _N_LINE) if model is not None else []
    return {
        "parameter": name,
        "scale": scale_of(parameter),
        "options": options_of(parameter),
        "trials": [trial.trial_id for trial, _ in having],
        "values": [trial.config[name] for trial, _ in having],
        "objectives": [value for _, value in having],
        "places": places,
        "expected": model.expected([{name: place} for place in places]) if model is not None else [],
    }


def _places(parameter: Parameter, n: int) -> list[Any]:
    """Returns evenly spaced values of a range, or all options."""
    if not isinstance(parameter, Float | Int):
        return list(parameter.levels())
    return list(dict.fromkeys(parameter.quantile(share) for share in np.linspace(0.0, 1.0, n).tolist()))


def options_of(parameter: Parameter) -> list[Any] | None:
    """Returns the options of a parameter in their order; None if it has a range."""
    return None if isinstance(parameter, Float | Int) else list(parameter.levels())


def scale_of(parameter: Parameter) -> str:
    """Returns the scale of a parameter's axis: "linear", "log" or "options"."""
    if not isinstance(parameter, Float | Int):
        return "options"
    return "log" if parameter.log else "linear"


def _two_ranges(state: StudyFacts, objective: str | None, at: int | None) -> list[str]:
    """Returns the two most important parameters with ranges of which none decides whether the other exists."""
    space = state.spec.space
    names = [name for name in parameter_order(state, objective, at) if isinstance(space[name], Float | Int)]
    for i, second in enumerate(names):
        for first in names[:i]:
            if first not in space.ancestors(second) and second not in space.ancestors(first):
                return [first, second]
    return []


def _checked(space: SearchSpace, names: Sequence[str]) -> list[str]:
    ranges = [name for name in space if isinstance(space[name], Float | Int)]
    allowed = f"two of the parameters with ranges: {', '.join(ranges)}"
    if isinstance(names, str) or len(names) != 2 or names[0] == names[1]:
        raise ArgumentError("parameters", names, allowed)
    for name in names:
        if name not in ranges:
            raise ArgumentError("parameters", name, f"{allowed}{nearest(name, ranges)}")
    first, second = names
    if first in space.ancestors(second) or second in space.ancestors(first):
        raise ArgumentError("parameters", list(names), "parameters of which none decides whether the other exists")
    return [first, second]
