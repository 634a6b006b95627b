"""Seconds at a trial's reference count of devices, so that a rung never ranks which devices a trial happened to get.

The reference count of a trial is the number of devices of its first segment. Seconds of segments with another count are
multiplied by `s(g) / s(g0)`: how many times faster the trial trains on g devices than on the reference count g0. The
speed-up s is that of the scaling model of the study's own segments (`core.measured_scaling`), the report itself
included, for the trial's batch size. If the segments do not show it well enough, it is a guess: the number of devices
to the power of 0.8, as far as nothing is known. The factor is found at the first report of a segment and wherever a
rung is decided. The log keeps it, so a later model never changes a recorded value.

Which numbers are at the reference count, and which are real:

- At the reference count: `train_s`, `device_s`, `cost_usd` and `energy_j` in `Measurement.values`, and all that uses
  these values: rungs, fronts, bounds, searchers, priors from earlier studies, tables, plots of objectives, exports.
- Real: `Measurement.train_s` and `device_s`, and all that counts what was used: paces, forecasts, the limits of time
  and money, the ledger, bills, nodes, the timeline of devices.

Energy is converted like device-seconds, so devices are assumed to need the same power on both counts. The peak of the
memory is not converted. As long as a trial has not changed its count, both are exactly the same numbers.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import final

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.measured_scaling import likely_speed, relative_speed
from lightning_hwtune.core.objective_kinds import Cost, DeviceSeconds, Energy, TrainSeconds
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.errors import ArgumentError

__all__ = ["CONVERTED", "Basis", "Conversion", "conversion"]

CONVERTED = (TrainSeconds.name, DeviceSeconds.name, Cost.name, Energy.name)
"""The values that are given at the reference count."""


class Basis(enum.StrEnum):
    """Where a factor comes from. The log has the value."""

    NONE = ""  # there is nothing to convert
    MODEL = "model"
    EXTRAPOLATED = "extrapolated"  # by the model, for a size outside what was measured
    GUESS = "guess"


@final
@dataclass(frozen=True, slots=True)
class Conversion:
    """How the seconds of a segment become seconds at the reference count.

    Attributes:
        factor: seconds at the reference count per second of the segment.
        devices: the reference count; of a segment with a share of a device, this share.
        basis: where the factor comes from.
    """

    factor: float
    devices: float
    basis: Basis = Basis.NONE

    def per_device_second(self, segment: Segment) -> float:
        """Returns device-seconds at the reference count per device-second of a segment; energy is assumed to agree."""
        return self.factor * self.devices / segment.share

    def seconds(self, segment: Segment, train_s: float) -> float:
        """Returns the trial's training seconds after `train_s` seconds of this segment."""
        return segment.base_reference_s + train_s * self.factor

    def device_seconds(self, segment: Segment, train_s: float) -> float:
        """Returns the trial's device-seconds after `train_s` seconds of this segment."""
        return segment.base_reference_device_s + train_s * self.factor * self.devices


def conversion(
    state: StudyFacts, segment: Segment, resource: int, train_s: float, *, is_decided: bool = False
) -> Conversion:
    """Returns the conversion for a report of a running segment that is not in the state yet.

    Args:
        resource: of the report.
        train_s: the training seconds of the segment.
        is_decided: whether a rung is decided by the report.
    """
    trial = state.trials[segment.trial_id]
    reference = trial.reference_devices
    is_measured = state.has_reference_count and any(name in CONVERTED for name in state.spec.objectives.recorded)
    if segment.num_devices == reference or not is_measured:
        return Conversion(1.0, segment.share)
    if segment.reference_basis and not is_decided:
        return Conversion(segment.reference_factor, reference, Basis(segment.reference_basis))
    coming = {segment.trial_id: (resource, segment.base_train_s + train_s)}
    try:
        factor, is_extrapolated = relative_speed(state, trial.config, segment.num_devices, reference, coming)
    except ArgumentError:
        factor = math.nan
    if not (math.isfinite(factor) and factor > 0):
        return Conversion(likely_speed(state, segment.num_devices, reference, coming), reference, Basis.GUESS)
    return Conversion(factor, reference, Basis.EXTRAPOLATED if is_extrapolated else Basis.MODEL)
