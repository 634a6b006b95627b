"""The points of a scaling model that the segments of a study have measured.

Configurations differ in more than their devices and batch, so the seconds of two trials cannot be compared directly.
The logarithm of a segment's seconds per unit of resource is modelled as a sum (a linear mixed model: Henderson, Best
linear unbiased estimation and prediction under a selection model, 1975): the level of its number of devices and batch,
a linear effect of the other parameters, an effect of the trial, and noise. So two numbers of devices in one trial count
most, and where no trial has both, the other parameters are accounted for. The points are the levels, for a
configuration that is the mean of the study. Levels that are not known well enough relative to the others are left out.

Whether an epoch has many steps or few depends on the data. Of a study in epochs, the points are therefore seconds per
epoch times the batch divided by the largest one: a step at the largest batch stands for an epoch. Speed-ups are the
same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.batch_rule import is_batch_size
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.hardware.scaling import ScalingModel, ScalingPoint
from lightning_hwtune.core.record import TrialRecord, Unit
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.core.segment_paces import NOTHING_COMING, Coming, SegmentPace, segment_paces, spread_of
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.errors import ArgumentError

__all__ = [
    "KNOWN",
    "batch_keys",
    "fitted_scaling",
    "guessed_speed",
    "levels",
    "likely_speed",
    "measured_scaling",
    "relative_speed",
    "scaling_points",
    "speed_by",
    "unit_seconds",
]

KNOWN = 0.2
"""The largest standard deviation of the logarithm of seconds that count as known, relative to the best known ones."""

_TRIAL_SPREAD = 0.3  # of the logarithm of a trial's pace that its parameters do not explain
_SLOPE_SPREAD = 0.7  # of the change of this logarithm per standard deviation of a parameter
_GUESS = 0.8  # without measurements, the exponent of the number of devices in the speed-up
_SPEED_SPREAD = 0.5  # of the logarithm of a speed-up that nothing has shown, around the guess
_MOST_FITTED = 300  # trials, the newest ones

Array = npt.NDArray[np.float64]


def measured_scaling(
    state: StudyFacts, coming: Coming = NOTHING_COMING, segments: Sequence[Segment] | None = None
) -> ScalingModel:
    """Returns the scaling model of what the segments of a study have measured.

    Args:
        coming: reports that the state does not have yet; see `segment_paces`.
        segments: those to use; None for all.

    Raises:
        ArgumentError: the segments do not show how the training scales.
    """
    return fitted_scaling(state.spec, scaling_points(state, coming, segments))


def fitted_scaling(spec: StudySpec, points: Sequence[ScalingPoint]) -> ScalingModel:
    """Returns the model of the points of a study; raises as `measured_scaling`."""
    if len({point.devices for point in points}) < 2:
        hint = "Measure some steps on several numbers of devices: `study.profile(train)`, or `hwtune profile`."
        allowed = "a study that has trained comparable configurations on at least two numbers of devices"
        raise ArgumentError("study", spec.name, allowed, hint=hint)
    return ScalingModel.fit(points, spec.pool.size, global_batch=max(point.global_batch for point in points))


def relative_speed(
    state: StudyFacts, config: Mapping[str, Any], devices: int, reference: int, coming: Coming = NOTHING_COMING
) -> tuple[float, bool]:
    """Returns how many times faster a configuration trains on `devices` than on `reference` devices.

    If both sizes are points of the scaling model, it is the ratio of these points. Otherwise the model is fitted.

    Returns:
        The speed-up, and whether the model extrapolates for one of both counts.

    Raises:
        ArgumentError: the segments do not show how the training scales, or not up to such counts.
    """
    spec, points = state.spec, scaling_points(state, coming)
    counts = [point.devices for point in points]
    measured = {(point.devices, point.global_batch): point.seconds for point in points}
    old, new = ((count, _global_batch(spec, config, count, counts)) for count in (reference, devices))
    if old in measured and new in measured:
        return measured[old] / _units(spec, old[1], 1) / (measured[new] / _units(spec, new[1], 1)), False
    return speed_by(fitted_scaling(spec, points), spec, config, devices, reference)


def speed_by(
    model: ScalingModel, spec: StudySpec, config: Mapping[str, Any], devices: int, reference: int
) -> tuple[float, bool]:
    """Returns what `relative_speed` does, by a model that is known already."""
    counts = [point.devices for point in model.points]
    batches = {count: _global_batch(spec, config, count, counts) for count in (devices, reference)}
    steps = {count: model.predict(count, None, batch) for count, batch in batches.items()}
    paces = {count: step.seconds / _units(spec, batches[count], 1) for count, step in steps.items()}
    return paces[reference] / paces[devices], any(step.is_extrapolated for step in steps.values())


def guessed_speed(devices: int, reference: int) -> float:
    """Returns how many times faster a trial trains on `devices` than on `reference` devices, if nothing shows it."""
    return float((devices / reference) ** _GUESS)


def likely_speed(state: StudyFacts, devices: int, reference: int, coming: Coming = NOTHING_COMING) -> float:
    """Returns a guess of how many times faster a trial trains on `devices` than on `reference` devices.

    Before anything is measured, it is `guessed_speed`. It moves towards what the segments show, as far as they show it:
    the logarithm of the speed-up has a normal prior with this mean, and the difference of the levels of both counts in
    the mixed model is a measurement of it.
    """
    expected, seen = math.log(guessed_speed(devices, reference)), _Seen.of(state, coming)
    counts = [(pace.num_devices, 0) for _, pace in seen.rows]
    if not {(devices, 0), (reference, 0)} <= set(counts):
        return guessed_speed(devices, reference)
    names, found, covariance = _estimates(counts, seen.others(with_batch=True), seen.trials, seen.logs, seen.spread)
    new, old = names.index((devices, 0)), names.index((reference, 0))
    variance = float(covariance[new, new] + covariance[old, old] - 2 * covariance[new, old])
    weight = _SPEED_SPREAD**2 / (_SPEED_SPREAD**2 + max(variance, 0.0))
    return math.exp(expected + weight * (float(found[old] - found[new]) - expected))


def scaling_points(
    state: StudyFacts,
    coming: Coming = NOTHING_COMING,
    segments: Sequence[Segment] | None = None,
    *,
    most_sd: float = KNOWN,
) -> tuple[ScalingPoint, ...]:
    """Returns one point for each number of devices and batch whose seconds are known relative to the others.

    Args:
        most_sd: the largest standard deviation of the logarithm of these seconds.
    """
    spec, seen = state.spec, _Seen.of(state, coming, segments)
    if not seen.rows:
        return ()
    counts = sorted({pace.num_devices for _, pace in seen.rows})
    cells = [
        (pace.num_devices, _global_batch(spec, trial.config, pace.num_devices, counts)) for trial, pace in seen.rows
    ]
    known = levels(cells, seen.others(), seen.trials, seen.logs, seen.spread, most_sd)
    largest = max(batch for _, batch in cells)
    return tuple(
        ScalingPoint(devices, 1, batch, math.exp(level) * _units(spec, batch, largest))
        for (devices, batch), level in sorted(known.items())
        if batch % devices == 0
    )


@final
@dataclass(frozen=True, slots=True)
class _Seen:
    """The paces of the newest trials; one row per segment."""

    spec: StudySpec
    rows: Sequence[tuple[TrialRecord, SegmentPace]]
    spread: float

    @classmethod
    def of(cls, state: StudyFacts, coming: Coming, segments: Sequence[Segment] | None = None) -> _Seen:
        found = segment_paces(state, coming, segments)
        searched = [trial for trial in state.searched if trial.trial_id in found][-_MOST_FITTED:]
        rows = [(trial, pace) for trial in searched for pace in found[trial.trial_id]]
        return cls(state.spec, rows, spread_of(found))

    @property
    def trials(self) -> list[int]:
        return [trial.trial_id for trial, _ in self.rows]

    @property
    def logs(self) -> Array:
        return np.array([pace.log_pace for _, pace in self.rows])

    def others(self, *, with_batch: bool = False) -> Array:
        """Returns the coordinates of the other parameters of each row."""
        found = [_others(self.spec, trial.config, with_batch=with_batch) for trial, _ in self.rows]
        return np.array(found).reshape(len(self.rows), -1)


def levels(
    cells: Sequence[tuple[int, int]],
    others: Array,
    trials: Sequence[int],
    logs: Array,
    spread: float,
    most_sd: float = KNOWN,
) -> dict[tuple[int, int], float]:
    """Returns the levels of the linear mixed model that are known relative to the best known one.

    Args:
        cells: the number of devices and the batch of each segment.
        others: the other parameters, one row per segment.
        trials: the trial of each segment.
        logs: the logarithm of the seconds per unit of each segment.
        spread: the standard deviation of the noise.
        most_sd: the largest standard deviation of a known level, relative to the best known one.
    """
    names, found, own = _estimates(cells, others, trials, logs, spread)
    best = int(np.argmin(np.diag(own)))
    relative = np.sqrt(np.maximum(np.diag(own) + own[best, best] - 2 * own[best], 0.0))
    return {name: float(level) for name, level, sd in zip(names, found, relative, strict=True) if sd <= most_sd}


def _estimates(
    cells: Sequence[tuple[int, int]], others: Array, trials: Sequence[int], logs: Array, spread: float
) -> tuple[list[tuple[int, int]], Array, Array]:
    """Returns the cells of the linear mixed model, their levels, and the covariance of these levels."""
    cell_names, trial_names = list(dict.fromkeys(cells)), list(dict.fromkeys(trials))
    is_cell = np.array([[cell == name for name in cell_names] for cell in cells], dtype=np.float64)
    is_trial = np.array([[trial == name for name in trial_names] for trial in trials], dtype=np.float64)
    deviation = others.std(axis=0)
    slopes = (others - others.mean(axis=0))[:, deviation > 0] / deviation[deviation > 0]
    design = np.hstack([is_cell, slopes, is_trial])
    spreads = [math.inf] * len(cell_names) + [_SLOPE_SPREAD] * slopes.shape[1] + [_TRIAL_SPREAD] * len(trial_names)
    covariance = np.linalg.pinv(design.T @ design / spread**2 + np.diag(1 / np.square(spreads)), hermitian=True)
    found = covariance @ (design.T @ logs) / spread**2
    n = len(cell_names)
    return cell_names, found[:n], covariance[:n, :n]


def unit_seconds(spec: StudySpec, seconds: float, batch: int, largest: int) -> float:
    """Returns the seconds of a unit of resource, by those of a point of this batch; `largest` is that of all points."""
    return seconds / _units(spec, batch, largest)


def _units(spec: StudySpec, batch: int, largest: int) -> float:
    """Returns how many units of resource a step has; in epochs, as many as one at the largest batch has."""
    return {Unit.STEPS: 1.0, Unit.SAMPLES: float(batch)}.get(Unit(spec.scheduler.unit), batch / largest)


def batch_keys(spec: StudySpec, config: Mapping[str, Any]) -> list[str]:
    """Returns the names of the batch sizes that a configuration has."""
    keys = spec.space.batch_size_keys or [name for name in spec.space if is_batch_size(name)]
    return [key for key in keys if type(config.get(key)) is int]


def _global_batch(spec: StudySpec, config: Mapping[str, Any], devices: int, counts: Sequence[int]) -> int:
    """Returns the batch over all devices; without a batch size in the space, one that all device counts share."""
    keys = batch_keys(spec, config)
    if not keys:
        return math.lcm(*spec.allocator.counts, *counts)
    return int(config[keys[0]]) * (devices if spec.batch == "per_device" else 1)


def _others(spec: StudySpec, config: Mapping[str, Any], *, with_batch: bool) -> list[float]:
    """Returns the coordinates of the parameters that are not the number of devices and, by default, not the batch."""
    left_out = {spec.space.devices_key, *([] if with_batch else batch_keys(spec, config))}
    return [cell for name in spec.space if name not in left_out for cell in spec.space.cells(name, config)]
