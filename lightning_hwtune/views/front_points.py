"""Which trials are on a front: the same selection for tables, figures and the live view.

    "full"  compares fully trained trials
    "rung"  compares, at every rung level, all trials that were measured there
    "any"   compares every trial's last measurement, whatever its resource

A point with a value that is not finite, or that violates a constraint, is never on a front. Nor is a replicate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.feasibility import violator_mask
from lightning_hwtune.core.ranking.fronts import non_dominated_mask
from lightning_hwtune.core.record import Measurement, TrialRecord, TrialState
from lightning_hwtune.errors import ArgumentError

__all__ = ["Point", "candidates", "ended_early", "front_points", "measured_at", "non_dominated", "rung_points"]


@dataclass(frozen=True, slots=True)
class Point:
    """A trial with the measurement that is compared. `rung`: the level of the measurement; None outside rungs."""

    trial: TrialRecord
    measurement: Measurement
    rung: int | None = None

    @property
    def is_partial(self) -> bool:
        """Whether the trial is not fully trained."""
        return self.trial.state is not TrialState.COMPLETED


def ended_early(trial: TrialRecord, max_resource: int) -> bool:
    """Return whether the trial's own code, such as an EarlyStopping, ended a complete training before the horizon.

    The last validation of a full training may come some steps or samples before its end; its checkpoint is at the end.
    """
    return trial.state is TrialState.COMPLETED and trial.trained_to < max_resource


def front_points(state: StudyFacts, at: str = "full") -> list[Point]:
    """Returns the non-dominated points, best in the first objective first; with "rung", the highest level comes first.

    Raises:
        ArgumentError: `at` is not "full", "rung" or "any".
    """
    if at == "rung":
        levels = reversed(state.ladder.levels)
        return [point for level in levels for point in non_dominated(state, rung_points(state, level))]
    return non_dominated(state, candidates(state, at))


def candidates(state: StudyFacts, at: str) -> list[Point]:
    """Returns all points that compete for the front "full" or "any", by trial id."""
    if at not in ("full", "any"):
        raise ArgumentError("at", at, "'full', 'rung' or 'any'")
    trials = (trial for trial in state.searched if at == "any" or trial.state is TrialState.COMPLETED)
    return [Point(trial, trial.last) for trial in trials if trial.last is not None]


def rung_points(state: StudyFacts, level: int) -> list[Point]:
    """Returns all trials compared at a rung level, with their measurements there, by trial id; for all brackets."""
    return [
        Point(trial, measured_at(trial, level), level)
        for trial in state.searched
        if level in trial.decided and trial.measurements
    ]


def measured_at(trial: TrialRecord, level: int) -> Measurement:
    """Returns the first measurement at or past the level; the last one if the trial's own code ended it before."""
    return next((m for m in trial.measurements if m.resource >= level), trial.measurements[-1])


def non_dominated(state: StudyFacts, points: Sequence[Point]) -> list[Point]:
    """Returns the points that no other dominates, best in the first objective first; ties by trial id, ascending."""
    losses = np.array([state.spec.objectives.loss(point.measurement.values) for point in points])
    if not len(points):
        return []
    finite = np.flatnonzero(np.isfinite(losses).all(axis=1) & ~violator_mask(losses))
    if not len(finite):
        return []
    front = finite[non_dominated_mask(losses[finite])]
    order = sorted(front.tolist(), key=lambda i: (*losses[i].tolist(), points[i].trial.trial_id))
    return [points[i] for i in order]
