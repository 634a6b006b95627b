"""Values that trials could show at a rung level, drawn so that no trial is favoured.

The values of the trials at one level are treated as exchangeable: a further trial ranks with equal probability before
all of them, between any two of them, or after all of them. The expected number of promotions is therefore that of
trials whose order is unknown beforehand. The values of several objectives are drawn together: each lies near the value
of the same known trial, so that they depend on each other as they do in the study.

For n known values, a draw starts at one of them, of rank r, and picks the gap `floor((r + u) (n + 1) / n)` of the n + 1
gaps between and around them, with u uniform on [0, 1). All gaps are equally probable. If nothing is known at a level,
all draws are uniform on [0, 1).

New trials of a searcher that learns rank before known ones more often; see `core.learning_gain`.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from typing import final

import numpy as np

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.record import Measurement, TrialRecord

__all__ = ["LikelyValues"]


@final
class LikelyValues:
    """Draws values of what trainings report from those that a state has at each level."""

    def __init__(self, state: StudyFacts, rng: np.random.Generator) -> None:
        objectives = state.spec.objectives
        self._names, self._rng = (*objectives.metrics, *objectives.measured_in_training), rng
        self._maximised = {item.name for item in objectives if item.mode == "max"}
        self._known: dict[int, dict[int, Mapping[str, float]]] = {}
        for level in state.ladder.levels:
            at = {trial.trial_id: _first_from(trial, level) for trial in state.searched}
            self._known[level] = {trial_id: found.values for trial_id, found in at.items() if found is not None}
        self._ids = {level: list(known) for level, known in self._known.items()}
        self._sorted: dict[tuple[int, str], list[float]] = {}

    def draw(self, level: int, like: int | None = None, rank_factor: float = 1.0) -> Mapping[str, float]:
        """Returns a value for each metric and each quantity that trainings measure, over the whole trial.

        Args:
            like: a known trial that the drawn one resembles; ignored if that trial has not reached this level.
            rank_factor: the factor of its rank among the known trials, from the best one.
        """
        known = self._known.get(level)
        if not known:
            return {name: self._ahead(name, float(self._rng.random()), rank_factor) for name in self._names}
        ids = self._ids[level]
        donor = like if like in known else ids[int(self._rng.integers(len(ids)))]
        return {name: self._near(level, name, known[donor][name], rank_factor) for name in self._names}

    def _ahead(self, name: str, place: float, factor: float) -> float:
        """Returns a place from 0 to 1 in ascending order of the values, nearer to the best one."""
        return 1.0 - (1.0 - place) * factor if name in self._maximised else place * factor

    def _near(self, level: int, name: str, value: float, rank_factor: float) -> float:
        """Returns a value near a known one; a value that is not finite is returned as it is."""
        if not math.isfinite(value):
            return value
        known = self._in_order(level, name)
        first, last = bisect.bisect_left(known, value), bisect.bisect_right(known, value)
        rank, n = int(self._rng.integers(first, last)), len(known)
        gap = int(self._ahead(name, (rank + self._rng.random()) / n, rank_factor) * (n + 1))
        margin = (known[-1] - known[0]) / n or 1.0
        low = known[gap - 1] if gap > 0 else known[0] - margin
        high = known[gap] if gap < n else known[-1] + margin
        return low + (high - low) * float(self._rng.random())

    def _in_order(self, level: int, name: str) -> list[float]:
        key = (level, name)
        if key not in self._sorted:
            values = (found[name] for found in self._known[level].values())
            self._sorted[key] = sorted(value for value in values if math.isfinite(value))
        return self._sorted[key]


def _first_from(trial: TrialRecord, level: int) -> Measurement | None:
    """Returns the measurement that decided a level: in steps and samples, it may lie beyond the level."""
    place = bisect.bisect_left(trial.measurements, level, key=lambda measurement: measurement.resource)
    return trial.measurements[place] if place < len(trial.measurements) else None
