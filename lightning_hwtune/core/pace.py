"""How long the work of a study takes: start-ups and epochs, from its log, or from a check before it has a log.

A segment of n epochs (or steps, or samples) takes `startup + n * epoch` seconds.

- `epoch` of a trial is the mean over its epochs without the first one of each segment, in which libraries and caches
  warm up. If a trial has only first epochs, it is their mean less `warm_up`, but at least half of their mean.
  `warm_up` is the median, over all other segments, of the time by which their first epoch exceeded their trial's
  `epoch`.
- `startup` is the median of `wall - n * epoch` over the ended segments with this device count, so it contains the
  warm-up. Before one has ended, it is the median over all device counts. Of two middle values it is the lower one,
  because the first segment of a process imports what later ones find in memory.
- `epoch` of a new trial is that of a known trial with as many devices. The paces of configurations can differ by any
  factor, so their mean says little about the configurations that a scheduler promotes. If the pace depends on the
  configuration (`core.pace_model`), the known trial is one of those with the nearest predicted pace, and its own pace
  is multiplied by the ratio of both predictions.

A check counts as one more trial and one more segment.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.pace_model import Array, PaceModel
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.core.segment import Segment

__all__ = ["Pace", "SeenPaces"]

_LEAST_SHARE = 0.5  # least share of a first epoch that is not warm-up
_SPREAD = 0.5  # spread of the logarithm of a new trial's pace, around that of the only known trial
_MOST_FITTED = 300  # number of trials, the newest ones, that the model is fitted to
_NEAR_SHARE, _LEAST_NEAR = 0.25, 3  # the trials with the nearest predicted pace: share of the known ones, least number


@final
@dataclass(frozen=True, slots=True)
class Pace:
    """The times that a check has measured.

    Attributes:
        epochs_s: device count -> seconds of one epoch (or step, or sample).
        startup_s: seconds of a segment outside its training.
        warm_up_s: seconds by which the first epoch of a trial exceeds the others.
    """

    epochs_s: Mapping[int, float]
    startup_s: float
    warm_up_s: float = 0.0

    @property
    def epoch_s(self) -> float:
        """The mean seconds of one epoch over the device counts."""
        return statistics.fmean(self.epochs_s.values())


@final
class SeenPaces:
    """The paces from a state and a check together.

    Attributes:
        epochs_s: trial id -> seconds of one unit of resource, for trials with a report.
    """

    def __init__(self, state: StudyFacts, checked: Pace | None = None) -> None:
        self._state, self._checked = state, checked
        parts = {trial.trial_id: _Parts(trial) for trial in state.trials if trial.resource > 0}
        for segment in state.segments:
            if segment.trial_id in parts:
                parts[segment.trial_id].split(segment)
        warm_ups = [seconds for part in parts.values() for seconds in part.warm_ups_s()]
        if checked is not None:
            warm_ups.append(checked.warm_up_s)
        warm_up_s = max(statistics.median(warm_ups), 0.0) if warm_ups else 0.0
        self.epochs_s = {trial_id: part.epoch_s(warm_up_s) for trial_id, part in parts.items()}
        self._startups_s = self._all_startups_s()
        fitted = [trial_id for trial_id, epoch_s in self.epochs_s.items() if 0.0 < epoch_s < math.inf][-_MOST_FITTED:]
        points = self._points([state.trials[trial_id] for trial_id in fitted])
        self._model = PaceModel(points, np.log([self.epochs_s[trial_id] for trial_id in fitted]))
        self._log_paces: dict[int | None, float] = dict(zip(fitted, self._model.log_pace(points).tolist(), strict=True))

    def __bool__(self) -> bool:
        return bool(self.epochs_s) or self._checked is not None

    def donors(self, num_devices: int) -> Sequence[tuple[int | None, float]]:
        """Returns the trials that a new one may resemble, with their paces; None stands for the check."""
        trials = self._state.trials
        found: list[tuple[int | None, float]] = [
            pair for pair in self.epochs_s.items() if trials[pair[0]].num_devices == num_devices
        ]
        if self._checked is not None and (not found or num_devices in self._checked.epochs_s):
            found.append((None, self._checked.epochs_s.get(num_devices, self._checked.epoch_s)))
        return found or list(self.epochs_s.items())

    def draw(self, trial: TrialRecord, rng: np.random.Generator) -> tuple[int | None, float]:
        """Returns a trial that a new one may resemble (None stands for the check), and the pace of the new one."""
        donors = self.donors(trial.num_devices)
        spread = math.exp(_SPREAD / math.sqrt(len(donors)) * float(rng.standard_normal()))
        fitted = [(log_pace, pair) for pair in donors if (log_pace := self._log_paces.get(pair[0])) is not None]
        if not self._model.is_useful or not fitted:
            like, epoch_s = donors[int(rng.integers(len(donors)))]
            return like, epoch_s * spread
        own = float(self._model.log_pace(self._points([trial]))[0])
        fitted.sort(key=lambda donor: abs(donor[0] - own))
        n_near = min(max(math.ceil(_NEAR_SHARE * len(fitted)), _LEAST_NEAR), len(fitted))
        log_pace, (like, epoch_s) = fitted[int(rng.integers(n_near))]
        return like, epoch_s * math.exp(own - log_pace) * spread

    def _points(self, trials: Sequence[TrialRecord]) -> Array:
        """Returns one row per trial: its configuration as a point of the unit cube, and the log of its device count."""
        space = self._state.spec.space
        configs = space.encode_many([trial.config for trial in trials])
        return np.column_stack([configs, np.log([float(trial.num_devices) for trial in trials])])

    def startup_s(self, num_devices: int) -> float:
        """Returns the seconds of a segment outside its training."""
        known = self._startups_s.get(num_devices) or [s for each in self._startups_s.values() for s in each]
        if self._checked is not None:
            known = [*known, self._checked.startup_s]
        return statistics.median_low(known) if known else 0.0

    def _all_startups_s(self) -> dict[int, list[float]]:
        found: dict[int, list[float]] = {}
        for segment in self._state.segments:
            if segment.ended_at is not None and segment.epochs > 0:
                trained_s = segment.epochs * self.epochs_s[segment.trial_id]
                found.setdefault(segment.num_devices, []).append(max(segment.wall_s - trained_s, 0.0))
        return found


class _Parts:
    """The epochs of one trial, divided into those that are first in a segment and the others."""

    def __init__(self, trial: TrialRecord) -> None:
        self._trial = trial
        self._firsts_s: list[float] = []  # seconds per unit of resource up to the first report of a segment
        self._others_s, self._n_others = 0.0, 0

    def split(self, segment: Segment) -> None:
        """Adds the epochs of one segment."""
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
        """Returns the seconds of one unit of resource."""
        if self._n_others > 0:
            return self._others_s / self._n_others
        last = self._trial.last
        if not self._firsts_s:  # a report whose segment is unknown, as in a damaged or very old log
            return last.train_s / last.resource if last is not None else math.nan
        mean_s = statistics.fmean(self._firsts_s)
        return max(mean_s - warm_up_s, _LEAST_SHARE * mean_s)
