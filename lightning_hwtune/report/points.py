"""Which trials stand on a front: the one selection behind tables, figures and the live view.

    "full"  fully trained trials against each other
    "rung"  at every rung level, all trials that were measured there
    "any"   every trial's last measurement, however far it came

A value that is not finite keeps a point off every front.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightning_hwtune.core.ranking.fronts import non_dominated_mask
from lightning_hwtune.core.record import Measurement, TrialRecord, TrialState
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import ArgumentError

__all__ = ["Point", "candidates", "ended_early", "front_points", "non_dominated", "rung_points"]


@dataclass(frozen=True, slots=True)
class Point:
    """A trial with the measurement that it is judged by. `rung`: the level it was taken at, None outside rungs."""

    trial: TrialRecord
    measurement: Measurement
    rung: int | None = None

    @property
    def is_partial(self) -> bool:
        """True if the trial is not fully trained."""
        return self.trial.state is not TrialState.COMPLETED


def ended_early(trial: TrialRecord, max_resource: int) -> bool:
    """Returns whether the trial's own code, such as an EarlyStopping, ended a complete training before the horizon.

    The last validation of a full training may come some steps or samples before its end, where its checkpoint stands.
    """
    return trial.state is TrialState.COMPLETED and trial.trained_to < max_resource


def front_points(state: StudyState, at: str = "full") -> list[Point]:
    """Returns the non-dominated points, best in the first objective first; with "rung" the deepest level comes first.

    Raises:
        ArgumentError: `at` is something else than "full", "rung" or "any".
    """
    if at == "rung":
        levels = reversed(state.race.levels)
        return [point for level in levels for point in non_dominated(state, rung_points(state, level))]
    return non_dominated(state, candidates(state, at))


def candidates(state: StudyState, at: str) -> list[Point]:
    """Returns all points that compete for the front "full" or "any", by trial id."""
    if at not in ("full", "any"):
        raise ArgumentError("at", at, "'full', 'rung' or 'any'")
    points = [Point(trial, trial.last) for trial in state.trials if trial.last is not None]
    return [point for point in points if at == "any" or not point.is_partial]


def rung_points(state: StudyState, level: int) -> list[Point]:
    """Returns all trials that a rung level compared, with what it saw, by trial id; brackets share their levels."""
    return [
        Point(trial, _measured_at(trial, level), level)
        for trial in state.trials
        if level in trial.decided and trial.measurements
    ]


def _measured_at(trial: TrialRecord, level: int) -> Measurement:
    """The first measurement at or past the level; the last one of a trial that ended early of its own accord."""
    return next((m for m in trial.measurements if m.resource >= level), trial.measurements[-1])


def non_dominated(state: StudyState, points: Sequence[Point]) -> list[Point]:
    """Returns those that no other dominates, best in the first objective first; ties go to the lower trial id."""
    losses = np.array([state.spec.objectives.loss(point.measurement.values) for point in points])
    finite = np.flatnonzero(np.isfinite(losses).all(axis=1)) if len(points) else np.array([], dtype=int)
    if not len(finite):
        return []
    front = finite[non_dominated_mask(losses[finite])]
    order = sorted(front.tolist(), key=lambda i: (*losses[i].tolist(), points[i].trial.trial_id))
    return [points[i] for i in order]
