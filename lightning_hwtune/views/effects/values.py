"""The values by which the trials of a study are compared: those of one objective at one rung.

A trial that a rung stopped has no value at the higher rungs, and values of different rungs cannot be compared: a longer
training is better by itself. So all values are from the same rung: the one with the most trials, the highest of equals,
or the one that the user names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.objectives import Objective
from lightning_hwtune.core.ranking.scale import Scale
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.errors import ArgumentError, nearest
from lightning_hwtune.text import counted
from lightning_hwtune.views.front_points import Point, measured_at

__all__ = ["RungValues", "objective_named", "rung_values", "sensible", "shared_rung", "trials_at"]

Floats = npt.NDArray[np.float64]

_FAR_OFF, _LEAST_FAR_OFF = 4.0, 5


@final
@dataclass(frozen=True, slots=True)
class RungValues:
    """The values of one objective at a rung, one per trial, by trial id.

    Attributes:
        rung: the level.
        trials: the trials that reached it.
        values: in the user's direction, finite, shape `(n_trials,)`. A trial whose value is not finite, or whose
            loss exploded (`ranking.scale`), has the worst value of the others.
        replaced: whether the value of each trial was so replaced.
        n_measured: how many trials have any measurement.
    """

    objective: Objective
    rung: int
    trials: tuple[TrialRecord, ...]
    values: Floats
    replaced: npt.NDArray[np.bool_]
    n_measured: int

    def thinned(self, most: int) -> RungValues:
        """Returns the values of at most so many trials, evenly spread over the study."""
        every = -(-len(self.trials) // most)
        if every <= 1:
            return self
        kept = slice(None, None, every)
        return replace(self, trials=self.trials[kept], values=self.values[kept], replaced=self.replaced[kept])

    def note(self, unit: str) -> str:
        """Returns which values were compared, in words."""
        at = f"{unit.removesuffix('s')} {self.rung}"
        text = f"values at {at}, which {len(self.trials)} of {counted(self.n_measured, 'measured trials')} reached"
        n_replaced = int(self.replaced.sum())
        if n_replaced:
            text += f"; {counted(n_replaced, 'diverged trials')} counted with the worst value of the others"
        return text


def objective_named(state: StudyFacts, name: str | None) -> Objective:
    """Returns the objective with this name; the first one for None.

    Raises:
        ArgumentError: no objective has this name.
    """
    names = state.spec.objectives.names
    if name is not None and name not in names:
        raise ArgumentError("objective", name, f"one of {', '.join(names)}{nearest(name, names)}")
    found: Objective = state.spec.objectives[0 if name is None else names.index(name)]
    return found


def shared_rung(state: StudyFacts) -> int:
    """Returns the rung that the most trials have reached; the highest of equals."""
    return max(state.ladder.levels, key=lambda level: (len(trials_at(state, level)), level))


def trials_at(state: StudyFacts, level: int) -> list[Point]:
    """Returns the trials that reached a level, with their measurements there.

    Those that ended early by themselves are among them, and those that trained past the level without a decision there.
    """
    return [
        Point(trial, measured_at(trial, level), level)
        for trial in state.searched
        if trial.measurements and (level in trial.decided or trial.resource >= level)
    ]


def rung_values(state: StudyFacts, objective: str | None = None, at: int | None = None) -> RungValues:
    """Returns the values of an objective.

    Args:
        objective: its name; the first one for None.
        at: the level of a rung; None for the one that the most trials have reached.

    Raises:
        ArgumentError: there is no such objective, or no such rung.
    """
    item, levels = objective_named(state, objective), state.ladder.levels
    if at is not None and at not in levels:
        raise ArgumentError("at", at, f"a rung: {', '.join(map(str, levels))}")
    level = shared_rung(state) if at is None else at
    points = trials_at(state, level)
    values = np.array([float(point.measurement.values[item.name]) for point in points])
    sign = 1.0 if item.mode == "min" else -1.0
    kept, replaced = _without_exploded(sign * values)
    n_measured = sum(bool(trial.measurements) for trial in state.searched)
    return RungValues(item, level, tuple(point.trial for point in points), sign * kept, replaced, n_measured)


def _without_exploded(losses: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Returns losses in which those that diverged have the worst of the others, and which ones these are."""
    is_finite = np.isfinite(losses)
    if not is_finite.any():
        return np.zeros_like(losses), ~is_finite
    known = losses[is_finite]
    # the second column has the opposite order, so that no trial is the worst in every objective and left out
    far = Scale.of(np.column_stack([known, -known])).far[0]
    replaced = ~is_finite | (losses > far)
    return np.where(replaced, losses[~replaced].max(), losses), replaced


def sensible(objective: Objective, values: Sequence[float]) -> list[float]:
    """Returns the values that a picture should show: finite ones, without those that are much worse than most.

    A value is left out if it is more than `_FAR_OFF` times as far from the best value as three quarters of all are.
    """
    finite = np.array([value for value in values if math.isfinite(value)])
    if len(finite) < _LEAST_FAR_OFF:
        return [float(value) for value in finite] or [0.0, 1.0]
    away = finite - finite.min() if objective.mode == "min" else finite.max() - finite
    usual = float(np.quantile(away, 0.75))
    return [float(value) for value in (finite[away <= _FAR_OFF * usual] if usual > 0 else finite)]
