"""Builds the order that an executor gets for a segment, from the study's settings and the segment's own facts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.core.trainer_choices import trainer_arguments
from lightning_hwtune.training.channel import SegmentOrder

__all__ = ["segment_order"]


def segment_order(
    spec: StudySpec,
    *,
    trial_id: int,
    segment: int,
    config: Mapping[str, Any],
    seed: int,
    slots: tuple[int, ...],
    folder: Path,
    resource: int,
    checkpoint: str | None,
    per_device: int | None = None,
    **special: Any,
) -> SegmentOrder:
    """Returns the order for one segment of a trial; see `SegmentOrder` for the arguments.

    Args:
        folder: the trial's folder.
        per_device: how many segments share the device; None for as many as the pool says.
        special: fields of the order that only some segments have.
    """
    shared_by = spec.pool.first_per_device if per_device is None else per_device
    return SegmentOrder(
        study=spec.name,
        trial_id=trial_id,
        segment=segment,
        config=config,
        seed=seed,
        num_devices=len(slots),
        slots=slots,
        accelerator=spec.pool.accelerator,
        threads_per_device=spec.pool.threads(shared_by),
        per_device=shared_by,
        trial_dir=str(folder),
        resource=resource,
        checkpoint=checkpoint,
        unit=spec.scheduler.unit,
        max_resource=spec.scheduler.max_resource,
        levels=spec.scheduler.levels,
        metrics=spec.objectives.metrics,
        across_ranks=spec.objectives.across_ranks,
        batch=spec.batch,
        absent=spec.space.absent(config),
        trainer=trainer_arguments(spec.space, config, len(slots)),
        **special,
    )
