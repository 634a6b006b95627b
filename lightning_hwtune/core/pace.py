"""How long the work of a study takes: start-ups and epochs, from its log, or from a check before it has a log.

A segment of n epochs (or steps, or samples) takes `startup + n * epoch` seconds.

- `epoch` of a trial is the mean over its epochs without the first one of each segment, in which libraries and caches
  warm up. If its number of devices has changed, only segments with the present number count. If a trial has only
  first epochs, it is their mean less `warm_up`, but at least half of their mean.
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

import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from lightning_hwtune.core.epoch_times import EpochTimes, TrialEpochs
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.pace_model import Array, PaceModel
from lightning_hwtune.core.record import TrialRecord

__all__ = ["Pace", "SeenPaces"]

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

    Args:
        times: remembers the epochs of trials from one state of the study to the next; by default, it begins empty.

    Attributes:
        epochs_s: trial id -> seconds of one unit of resource, for trials with a report.
    """

    def __init__(self, state: StudyFacts, checked: Pace | None = None, times: EpochTimes | None = None) -> None:
        self._state, self._checked, self._times = state, checked, times if times is not None else EpochTimes()
        parts = self._times.of(state)
        warm_ups = [seconds for part in parts.values() for seconds in part.warm_ups_s()]
        if checked is not None:
            warm_ups.append(checked.warm_up_s)
        warm_up_s = max(statistics.median(warm_ups), 0.0) if warm_ups else 0.0
        self._parts, self._warm_up_s = parts, warm_up_s
        self.epochs_s = {trial_id: part.epoch_s(warm_up_s) for trial_id, part in parts.items()}
        self._startups_s = self._all_startups_s(parts, warm_up_s)
        # answers for the state as it is now
        self._donors: dict[int, Sequence[tuple[int | None, float]]] = {}
        self._fitted: dict[int, list[tuple[float, tuple[int | None, float]]]] = {}
        self._usual_startups_s: dict[tuple[int, bool | None], float] = {}

    def __bool__(self) -> bool:
        return bool(self.epochs_s) or self._checked is not None

    def own_epochs_s(self, trial_id: int) -> dict[int, float]:
        """Returns the seconds of one unit of a trial by number of devices, that of its newest report last."""
        part = self._parts.get(trial_id)
        return {} if part is None else {count: part.epoch_s(self._warm_up_s, count) for count in part.counts}

    def donors(self, num_devices: int) -> Sequence[tuple[int | None, float]]:
        """Returns the trials that a new one may resemble, with their paces; None stands for the check."""
        if num_devices not in self._donors:
            self._donors[num_devices] = self._all_donors(num_devices)
        return self._donors[num_devices]

    def _all_donors(self, num_devices: int) -> Sequence[tuple[int | None, float]]:
        trials = self._state.trials
        found: list[tuple[int | None, float]] = [
            pair for pair in self.epochs_s.items() if trials[pair[0]].num_devices == num_devices
        ]
        if self._checked is not None and (not found or num_devices in self._checked.epochs_s):
            found.append((None, self._checked.epochs_s.get(num_devices, self._checked.epoch_s)))
        return found or list(self.epochs_s.items())

    @functools.cached_property
    def _model(self) -> tuple[PaceModel, dict[int | None, float]]:
        """The model of the paces, and what it says of the trials that it was fitted to; fitted when first needed."""
        fitted = [trial_id for trial_id, epoch_s in self.epochs_s.items() if 0.0 < epoch_s < math.inf][-_MOST_FITTED:]
        points = self._points([self._state.trials[trial_id] for trial_id in fitted])
        model = PaceModel(points, np.log([self.epochs_s[trial_id] for trial_id in fitted]))
        return model, dict(zip(fitted, model.log_pace(points).tolist(), strict=True))

    def draw(self, trial: TrialRecord, rng: np.random.Generator) -> tuple[int | None, float]:
        """Returns a trial that a new one may resemble (None stands for the check), and the pace of the new one."""
        donors = self.donors(trial.num_devices)
        spread = math.exp(_SPREAD / math.sqrt(len(donors)) * float(rng.standard_normal()))
        near = self._near(trial)
        like, epoch_s = near[int(rng.integers(len(near)))]
        return like, epoch_s * spread

    def expected_epoch_s(self, trial: TrialRecord) -> float:
        """Returns the seconds of one unit of resource: a trial's own, those expected of a new one, or 0 if unknown."""
        own = self.epochs_s.get(trial.trial_id, math.nan)
        if math.isfinite(own):
            return own
        near = self._near(trial) if self else []
        known = [epoch_s for _, epoch_s in near if math.isfinite(epoch_s)]
        return statistics.median(known) if known else 0.0

    def _near(self, trial: TrialRecord) -> Sequence[tuple[int | None, float]]:
        """Returns the donors with the nearest predicted pace, and the pace of the new trial according to each."""
        (model, _), donors = self._model, self._fitted_donors(trial.num_devices)
        if not model.is_useful or not donors:
            return self.donors(trial.num_devices)
        own = float(model.log_pace(self._points([trial]))[0])
        n_near = min(max(math.ceil(_NEAR_SHARE * len(donors)), _LEAST_NEAR), len(donors))
        nearest = sorted(donors, key=lambda donor: abs(donor[0] - own))[:n_near]
        return [(like, epoch_s * math.exp(own - log_pace)) for log_pace, (like, epoch_s) in nearest]

    def _fitted_donors(self, num_devices: int) -> list[tuple[float, tuple[int | None, float]]]:
        """Returns the donors that the model was fitted to, with what it says of them."""
        if num_devices not in self._fitted:
            (_, log_paces), donors = self._model, self.donors(num_devices)
            known = [(log_paces.get(pair[0]), pair) for pair in donors]
            self._fitted[num_devices] = [(log_pace, pair) for log_pace, pair in known if log_pace is not None]
        return self._fitted[num_devices]

    def _points(self, trials: Sequence[TrialRecord]) -> Array:
        """Returns one row per trial: its configuration as a point of the unit cube, and the log of its device count."""
        n_columns = self._state.spec.space.n_dims + 1
        return np.array([self._times.point(self._state, trial) for trial in trials]).reshape(-1, n_columns)

    def startup_s(self, num_devices: int, *, is_resumed: bool | None = None) -> float:
        """Returns the seconds of a segment outside its training.

        Args:
            is_resumed: whether it begins from a checkpoint; None for the median over both kinds.
        """
        key = num_devices, is_resumed
        if key not in self._usual_startups_s:
            self._usual_startups_s[key] = self._usual_startup_s(num_devices, is_resumed)
        return self._usual_startups_s[key]

    def _usual_startup_s(self, num_devices: int, is_resumed: bool | None) -> float:
        alike = [s for devices, resumed, s in self._startups_s if devices == num_devices and resumed == is_resumed]
        known = alike or [s for devices, _, s in self._startups_s if devices == num_devices]
        known = known or [s for _, _, s in self._startups_s]
        if self._checked is not None:
            known = [*known, self._checked.startup_s]
        return statistics.median_low(known) if known else 0.0

    def _all_startups_s(self, parts: Mapping[int, TrialEpochs], warm_up_s: float) -> list[tuple[int, bool, float]]:
        """Returns the device count of each ended segment, whether it was resumed, and its seconds outside training."""
        ended = [s for s in self._state.segments if s.ended_at is not None and s.epochs > 0 and s.trial_id in parts]
        epochs_s = [s.epochs * parts[s.trial_id].epoch_s(warm_up_s, s.num_devices) for s in ended]
        pairs = zip(ended, epochs_s, strict=True)
        return [(s.num_devices, s.resource > 0, max(s.wall_s - train_s, 0.0)) for s, train_s in pairs]
