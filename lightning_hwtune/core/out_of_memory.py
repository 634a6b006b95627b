"""Where a trial continues that ran out of memory: with smaller batches that are accumulated, or on more devices.

Both keep the global batch. The choice is the one with fewer device-seconds per optimiser step, by the scaling model of
the study. As long as nothing is measured, that is accumulation: more devices are rarely used as well as fewer.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import final

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.hardware.scaling.points import accumulation, per_device
from lightning_hwtune.core.measured_scaling import batch_keys, measured_scaling, relative_speed
from lightning_hwtune.core.record import TrialRecord, Unit
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import ArgumentError

__all__ = ["NextAttempt", "after_out_of_memory"]


@final
@dataclass(frozen=True, slots=True)
class NextAttempt:
    """Where a trial continues.

    Attributes:
        allocation: its devices.
        max_per_device_batch: the most samples per device and batch; None for no limit.
    """

    allocation: Allocation
    max_per_device_batch: int | None


def after_out_of_memory(
    state: StudyState, trial: TrialRecord, segment: Segment, global_batch: int
) -> NextAttempt | None:
    """Returns where a trial continues whose segment had its devices to itself; None if it fits nowhere.

    Args:
        global_batch: the batch that can be divided further; 0 if it cannot.
    """
    limit, same = trial.max_per_device_batch, segment.moves_to or trial.allocation
    smaller = _smaller(trial, segment, global_batch) if _may_accumulate(state, trial) else None
    larger = state.spec.allocator.larger(trial.config, trial.allocation)
    if larger is not None and same.devices > larger.devices:
        larger = same
    if larger is not None and larger.devices > state.spec.pool.size:
        larger = None
    if smaller is None:
        return None if larger is None else NextAttempt(larger, limit)
    if larger is not None and _is_cheaper(state, trial, larger, global_batch, smaller):
        return NextAttempt(larger, smaller)
    return NextAttempt(same, smaller)


def _may_accumulate(state: StudyState, trial: TrialRecord) -> bool:
    """Returns whether a trial can change its batches; inside an epoch, a checkpoint counts those that it has seen."""
    return trial.checkpoint is None or state.ladder.unit == Unit.EPOCHS


def _smaller(trial: TrialRecord, segment: Segment, global_batch: int) -> int | None:
    """Returns the next smaller batch per device; None if there is none."""
    if not global_batch:
        return None
    devices = segment.num_devices
    share = per_device(global_batch, devices, accumulation(global_batch, devices, trial.max_per_device_batch))
    return max((part for part in range(1, share // 2 + 1) if share % part == 0), default=None)


def _is_cheaper(state: StudyState, trial: TrialRecord, larger: Allocation, global_batch: int, limit: int) -> bool:
    """Returns whether more devices take fewer device-seconds than accumulation, as far as the study has measured it."""
    devices, slowdown = trial.allocation.devices, 1.0
    try:
        speed, _ = relative_speed(state, trial.config, larger.devices, devices)
        if batch_keys(state.spec, trial.config):  # otherwise, the model does not know how the batch changes the time
            model = measured_scaling(state)
            accumulated = dataclasses.replace(model, max_per_device_batch=limit)
            whole_s, parts_s = (item.seconds_per_step(devices, None, global_batch) for item in (model, accumulated))
            slowdown = parts_s / whole_s
    except ArgumentError:
        return False
    return speed * slowdown > larger.devices / devices
