"""The seconds of every trial's epochs, divided into those that are first in a segment and the others.

Libraries and caches warm up in the first epoch of a segment, so it says less about the pace than the others. If the
number of a trial's devices has changed, its pace is that of the segments with the number that it has now.
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
class _Epochs:
    """The epochs of one trial on one number of devices.

    Attributes:
        firsts_s: seconds per unit of resource up to the first report of each segment.
        others_s, n_others: seconds and resource after these reports.
    """

    def __init__(self) -> None:
        self.firsts_s: list[float] = []
        self.others_s, self.n_others = 0.0, 0

    def warm_ups_s(self) -> list[float]:
        """Returns the seconds by which first epochs exceeded the others; empty without others."""
        if self.n_others == 0:
            return []
        return [first_s - self.others_s / self.n_others for first_s in self.firsts_s]

    def epoch_s(self, warm_up_s: float) -> float:
        """Returns the seconds of one unit of resource."""
        if self.n_others > 0:
            return self.others_s / self.n_others
        mean_s = statistics.fmean(self.firsts_s)
        return max(mean_s - warm_up_s, _LEAST_SHARE * mean_s)


@final
class TrialEpochs:
    """The epochs of one trial."""

    def __init__(self, trial: TrialRecord, segments: list[Segment]) -> None:
        self._trial = trial
        self._on: dict[int, _Epochs] = {}  # by number of devices, that of the newest report last
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
        epochs = self._on[segment.num_devices] = self._on.pop(segment.num_devices, _Epochs())
        epochs.firsts_s.append((first.train_s - base_s) / (first.resource - base))
        epochs.others_s += last.train_s - first.train_s
        epochs.n_others += last.resource - first.resource

    @property
    def counts(self) -> tuple[int, ...]:
        """The numbers of devices that it has reported on, that of the newest report last."""
        return tuple(self._on)

    def warm_ups_s(self) -> list[float]:
        """Returns the seconds by which first epochs exceeded the others; empty if the trial has no others."""
        return [seconds for epochs in self._on.values() for seconds in epochs.warm_ups_s()]

    def epoch_s(self, warm_up_s: float, num_devices: int | None = None) -> float:
        """Returns the seconds of one unit of resource; NaN without a report.

        Args:
            warm_up_s: by which a first epoch takes longer.
            num_devices: None for the devices that the trial has now. Without a report on so many devices, it is the
                pace on those of the newest report.
        """
        last = self._trial.last
        if not self._on:  # a report whose segment is unknown, as in a damaged or very old log
            return last.train_s / last.resource if last is not None else float("nan")
        wanted = self._trial.num_devices if num_devices is None else num_devices
        return self._on.get(wanted, next(reversed(self._on.values()))).epoch_s(warm_up_s)


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
