"""Measures a profile: a few warm steps per number of devices, in the study's own rank processes.

Each measurement is a segment of a check (`check_segment`), which trains shortened epochs until it has enough batches.
The first batches after the start of a process are dropped: they allocate memory and tune kernels. The time of a batch
includes the wait for it. The time of an optimiser step is the median over groups of as many consecutive batches as are
accumulated.
"""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path

from lightning_hwtune.core.hardware.scaling.points import ScalingPoint
from lightning_hwtune.core.hardware.scaling.profile import ScalingProfile
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.engine.check import succeeded
from lightning_hwtune.engine.check_segment import AUTO_STILL_S, CheckSegment, train_segment
from lightning_hwtune.engine.check_segment_orders import check_configs
from lightning_hwtune.engine.counted_fit import CountedFit
from lightning_hwtune.engine.executor import Executor
from lightning_hwtune.engine.profile_sizes import ProfileSize, profile_sizes
from lightning_hwtune.engine.segment_orders import segment_order
from lightning_hwtune.errors import TrialError
from lightning_hwtune.text import counted
from lightning_hwtune.training.channel import Report, SegmentOrder

__all__ = ["run_profile", "step_s"]

_DROPPED = 5  # batches after the start of a process


def run_profile(
    spec: StudySpec,
    executor: Executor,
    folder: Path,
    *,
    devices: Sequence[int] | None,
    steps: int,
    global_batch: int | None,
) -> ScalingProfile:
    """Trains a few steps per number of devices and batch; `folder` is emptied.

    Args:
        executor: one that can check; see `Abilities`.
        devices: the numbers of devices; None for those of the study.
        steps: how many batches to measure each time, after the dropped ones.
        global_batch: the batch over all devices; None for that of the study's first configuration.

    Raises:
        ArgumentError: the devices cannot share the batch, or are not in the pool.
        MetricError, TrialError: the training code failed, or trains without a Trainer.
    """
    config = check_configs(spec)[0]
    counted_fit, measured, notes, too_large = CountedFit(), list[tuple[ProfileSize, ScalingPoint]](), list[str](), False
    try:
        for size in profile_sizes(spec, config, devices, global_batch):
            where = counted(size.devices, "devices") + ("" if size.is_whole else " at a smaller batch")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            found = _trained(spec, executor, size, folder, steps, counted_fit)
            if found is None:
                too_large = True
                notes.append(f"not measured on {where}: it ran out of memory")
                continue
            point, n_steps = _point(size, found)
            measured.append((size, point))
            if n_steps < steps:
                notes.append(f"on {where}: the training ended after {counted(n_steps, 'batches')} that count")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not measured:
        raise TrialError("every batch ran out of memory, so nothing was measured: choose a smaller `global_batch`")
    points = {(point.devices, point.global_batch, point.accumulate): point for _, point in reversed(measured)}
    if len(points) < len(measured):
        notes.append("the training does not use the parameter batch_size, so fewer batches were measured than planned")
    whole = [(size.config, point.global_batch) for size, point in measured if size.is_whole] or [(config, 0)]
    return ScalingProfile(
        study=spec.name,
        config=whole[0][0],
        accelerator=spec.pool.accelerator,
        devices_per_node=spec.pool.size,
        global_batch=whole[0][1] or max(point.global_batch for point in points.values()),
        steps=steps,
        points=tuple(sorted(points.values(), key=lambda point: (point.devices, -point.global_batch))),
        max_per_device_batch=max(point.per_device_batch for point in points.values()) if too_large else None,
        notes=tuple(notes),
    )


def _trained(
    spec: StudySpec, executor: Executor, size: ProfileSize, folder: Path, steps: int, counted_fit: CountedFit
) -> CheckSegment | None:
    """Returns a segment that has trained enough batches; None if it ran out of memory."""
    order = segment_order(
        spec,
        trial_id=0,
        segment=1,
        config=size.config,
        seed=spec.seed,
        slots=tuple(range(size.devices)),
        folder=(folder / "trial").resolve(),
        resource=0,
        checkpoint=None,
        probe_batches=_DROPPED + steps,
    )

    def is_enough(report: Report) -> bool:
        n_batches = len(report.probe.batches_s) if report.probe is not None else 0
        is_last = report.resource >= spec.scheduler.max_resource
        return report.probe is None or not report.probe.batches_s or n_batches >= _DROPPED + steps or is_last

    def train(order: SegmentOrder) -> CheckSegment:
        return train_segment(executor, order, is_enough, lambda: None, AUTO_STILL_S)

    found = counted_fit.train(order, train)
    if found.end is not None and found.end.outcome == Outcome.OUT_OF_MEMORY:
        return None
    return succeeded(spec, order, found)


def _point(size: ProfileSize, found: CheckSegment) -> tuple[ScalingPoint, int]:
    """Returns the point of a segment, and the number of batches that count.

    Raises:
        TrialError: the training does not show its steps, or it has only one batch per epoch.
    """
    probe = found.reports[-1].probe
    if probe is None or math.isnan(probe.batch_size):
        raise TrialError(
            "a profile needs the steps of a Trainer and a loader with a batch size: train with trial.fit(model, data), "
            "or with a Trainer that has RungCallback(). A loop that calls trial.report(...) cannot be profiled"
        )
    seconds, n_batches = step_s(probe.batches_s, probe.accumulate)
    if not n_batches:
        raise TrialError(
            f"an epoch of {dict(size.config)} has too few batches to measure a step: a profile needs at least "
            f"{counted(1 + probe.accumulate, 'batches')} per epoch. Choose a smaller `global_batch`"
        )
    batch = int(probe.batch_size) * size.devices * probe.accumulate
    return ScalingPoint(size.devices, 1, batch, seconds, probe.accumulate), n_batches


def step_s(batches_s: Sequence[float], accumulate: int) -> tuple[float, int]:
    """Returns the seconds of an optimiser step, and the number of batches that they come from; NaN and 0 for none.

    The first batches are dropped, but never more than half of them.

    Args:
        batches_s: the seconds of each batch, in order.
        accumulate: how many batches make one optimiser step.
    """
    kept = batches_s[min(_DROPPED, len(batches_s) // 2) :]
    n_steps = len(kept) // accumulate
    if not n_steps:
        return math.nan, 0
    steps = [sum(kept[number * accumulate : (number + 1) * accumulate]) for number in range(n_steps)]
    return statistics.median(steps), n_steps * accumulate
