"""How exactly the seconds of a trial are known: the same training takes longer on another day or another machine.

- `spread` is the standard deviation of the logarithm of a segment's seconds. It is estimated from trials with several
  segments: the pace of a segment relative to that of the segment before it. The median ratio of trials that paused at
  the same resources is not noise but, for example, a warm-up, and is removed. Ratios beyond three deviations are cut.
  The prior of 5 %, which counts as `_PRIOR_RATIOS` ratios, is also the lower bound, because differences between
  machines are not visible in a trial that always trained on the same one.
- The measured seconds of a trial are denoised with the regression of `core.pace_model` on the logarithm of the pace.
  The expected logarithm lies between the predicted and the measured one. Both are weighted by the inverse of their
  variances: that of the residuals, which contains the noise, and that of the noise (the posterior mean of two normal
  distributions).
"""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass
from typing import final

import numpy as np

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.pace_model import PaceModel
from lightning_hwtune.core.record import Measurement, TrialRecord

__all__ = ["LEAST_SPREAD", "LogSeconds", "PaceNoise"]

LEAST_SPREAD = 0.05
"""The spread that is assumed at least."""

_PRIOR_RATIOS = 4
_MOST_FITTED = 300  # the newest trials
_MAD = 1.4826  # standard deviation of a normal distribution, in median absolute deviations
_CUT = 3.0


@final
@dataclass(frozen=True, slots=True)
class LogSeconds:
    """What is known about the true seconds of a measurement.

    Attributes:
        shift: the expected logarithm of the true seconds less that of the measured ones.
        deviation: the standard deviation of the logarithm of the true seconds.
    """

    shift: float
    deviation: float


@final
class PaceNoise:
    """The noise of the seconds in a study.

    Attributes:
        spread: the standard deviation of the logarithm of a segment's seconds.
    """

    def __init__(self, state: StudyFacts) -> None:
        self._parts = _parts(state)
        self.spread = _spread(self._parts)
        fitted = [trial for trial in state.searched if trial.last is not None and trial.last.train_s > 0]
        fitted = fitted[-_MOST_FITTED:]
        logs = np.array([_log_pace(trial) for trial in fitted])
        configs = state.spec.space.encode_many([trial.config for trial in fitted])
        sizes = [[math.log(trial.num_devices), math.log(trial.resource)] for trial in fitted]
        points = np.column_stack([configs, np.array(sizes).reshape(-1, 2)])
        residuals = logs - PaceModel(points, logs).log_pace(points)
        residuals = residuals - residuals.mean() if len(fitted) else residuals
        self._residuals = dict(zip((trial.trial_id for trial in fitted), residuals.tolist(), strict=True))
        self._variance = float(np.square(residuals).mean()) if len(fitted) else 0.0

    def log_seconds(self, trial: TrialRecord, measurement: Measurement) -> LogSeconds:
        """Returns what is known about the true seconds of a trial's measurement."""
        noise = self._noise(trial, measurement) ** 2
        explained = max(self._variance - noise, 0.0)
        share = explained / (explained + noise)  # the weight of the measured seconds
        residual = self._residuals.get(trial.trial_id)
        if residual is None or len(self._residuals) < 2:
            return LogSeconds(0.0, math.sqrt(noise))
        return LogSeconds((share - 1) * residual, math.sqrt(share * noise))

    def _noise(self, trial: TrialRecord, measurement: Measurement) -> float:
        """Returns the standard deviation of the noise in a measurement: less if it has several segments."""
        parts = self._parts.get(trial.trial_id, [])
        seconds = [min(part.end_s, measurement.train_s) - part.begin_s for part in parts]
        seconds = [s for s in seconds if s > 0]
        return self.spread * (math.hypot(*seconds) / math.fsum(seconds) if seconds else 1.0)


@dataclass(slots=True)
class _Part:
    """The useful work of one segment: from and to which resource, and the trial's seconds there."""

    begin: int
    end: int
    begin_s: float
    end_s: float

    @property
    def log_pace(self) -> float:
        return math.log((self.end_s - self.begin_s) / (self.end - self.begin))


def _parts(state: StudyFacts) -> dict[int, list[_Part]]:
    """Returns the useful work of each trial, by segment; what a later segment repeated is left out."""
    found: dict[int, list[_Part]] = {}
    for segment in state.segments:
        parts = found.setdefault(segment.trial_id, [])
        if parts and segment.resource < parts[-1].end:
            parts[-1].end, parts[-1].end_s = segment.resource, segment.base_train_s
        parts[:] = [part for part in parts if part.end > part.begin and part.end_s > part.begin_s]
        parts.append(_Part(segment.resource, segment.reached, segment.base_train_s, segment.train_s))
    return {
        trial_id: [part for part in parts if part.end > part.begin and part.end_s > part.begin_s]
        for trial_id, parts in found.items()
    }


def _spread(parts: dict[int, list[_Part]]) -> float:
    """Returns the standard deviation of the logarithm of a segment's seconds."""
    groups: dict[tuple[int, int, int], list[float]] = {}
    for of_trial in parts.values():
        for before, after in itertools.pairwise(of_trial):
            key = (before.begin, before.end, after.end)
            groups.setdefault(key, []).append(after.log_pace - before.log_pace)
    ratios = [ratio - statistics.median(group) for group in groups.values() for ratio in group]
    n = len(ratios) - len(groups)  # a median is estimated in each group
    if n < 1:
        return LEAST_SPREAD
    deviation = _MAD * statistics.median(map(abs, ratios))
    most = _CUT * deviation if deviation > 0 else math.inf
    total = math.fsum(min(abs(ratio), most) ** 2 for ratio in ratios) / 2  # a ratio has the noise of two segments
    return max(math.sqrt((_PRIOR_RATIOS * LEAST_SPREAD**2 + total) / (_PRIOR_RATIOS + n)), LEAST_SPREAD)


def _log_pace(trial: TrialRecord) -> float:
    last = trial.last
    assert last is not None
    return math.log(last.train_s / last.resource)
