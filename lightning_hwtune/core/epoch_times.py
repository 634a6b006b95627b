"""The seconds of every trial's epochs, divided into those that are first in a segment and the others.

Libraries and caches warm up in the first epoch of a segment, so it says less about the pace than the others.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.core.segment import Segment

__all__ = ["EpochTimes", "TrialEpochs"]

_LEAST_SHARE = 0.5  # least share of a first epoch that is not warm-up


@final
class TrialEpochs:
    """The epochs of one trial."""

    def __init__(self, trial: TrialRecord, segments: list[Segment]) -> None:
        self._trial = trial
        self._firsts_s: list[float] = []  # seconds per unit of resource up to the first report of a segment
        self._others_s, self._n_others = 0.0, 0
        for segment in segments:
            self._split(segment)

    def _split(self, segment: Segment) -> None:
        found = [m for m in self._trial.measurements if segment.resource <= m.resource <= segment.reached]
        before = found[0] if found and found[0].resource == segment.resource else None
        reports = found[1:] if before is not None else found
        if not reports:
            return
        first, last = reports[0], reports[-1]
        base_s, base = (segment.base_train_s, segment.resource) if segment.resource else (0.0, 0)
        self._firsts_s.append((first.train_s - base_s) / (first.resource - base))
        self._others_s += last.train_s - first.train_s
        self._n_others += last.resource - first.resource

    def warm_ups_s(self) -> list[float]:
        """Returns the seconds by which first epochs exceeded the others; empty if the trial has no others."""
        if self._n_others == 0:
            return []
        return [first_s - self._others_s / self._n_others for first_s in self._firsts_s]

    def epoch_s(self, warm_up_s: float) -> float:
        """Returns the seconds of one unit of resource; NaN without a report."""
        if self._n_others > 0:
            return self._others_s / self._n_others
        last = self._trial.last
        if not self._firsts_s:  # a report whose segment is unknown, as in a damaged or very old log
            return last.train_s / last.resource if last is not None else float("nan")
        mean_s = statistics.fmean(self._firsts_s)
        return max(mean_s - warm_up_s, _LEAST_SHARE * mean_s)


@final
class EpochTimes:
    """The epochs of all trials of a state, remembered from one call to the next. What is remembered decides nothing."""

    def __init__(self) -> None:
        self._segments: dict[int, list[Segment]] = {}
        self._n_segments = 0
        self._trials: dict[int, tuple[tuple[int, ...], TrialEpochs]] = {}
        self._points: dict[tuple[int, int], npt.NDArray[np.float64]] = {}

    def of(self, state: StudyFacts) -> Mapping[int, TrialEpochs]:
        """Returns the epochs of each trial of the search that has a report, by trial id."""
        for segment in state.segments[self._n_segments :]:
            self._segments.setdefault(segment.trial_id, []).append(segment)
        self._n_segments = len(state.segments)
        return {trial.trial_id: self._epochs(trial) for trial in state.searched if trial.resource > 0}

    def point(self, state: StudyFacts, trial: TrialRecord) -> npt.NDArray[np.float64]:
        """Returns the configuration as a point of the unit cube, and the logarithm of the device count."""
        key = trial.trial_id, trial.num_devices
        if (point := self._points.get(key)) is None:
            point = np.append(state.spec.space.encode(trial.config), np.log(float(trial.num_devices)))
            if trial.resource > 0:  # the number of a trial that has not begun may still get another configuration
                self._points[key] = point
        return point

    def _epochs(self, trial: TrialRecord) -> TrialEpochs:
        segments = self._segments.get(trial.trial_id, [])
        key = (len(segments), segments[-1].reached if segments else 0, trial.resource, len(trial.measurements))
        known = self._trials.get(trial.trial_id)
        if known is None or known[0] != key:
            known = self._trials[trial.trial_id] = key, TrialEpochs(trial, segments)
        return known[1]
