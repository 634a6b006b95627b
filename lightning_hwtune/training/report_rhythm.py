"""How often a training reports, derived from its Trainer before the first batch if the loaders have a length."""

from __future__ import annotations

import math
from typing import Any

from lightning_hwtune.core.record import Unit
from lightning_hwtune.core.report_places import ReportPlaces
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.text import counted
from lightning_hwtune.training import lightning_internals as internals
from lightning_hwtune.training.channel import SegmentOrder

__all__ = ["check_rhythm", "report_places", "unvalidated_rungs", "useless_save_every"]


def report_places(trainer: Any, order: SegmentOrder, own: internals.OwnLimits) -> ReportPlaces:
    """Returns where a training in steps or samples reports; unknown for epochs, which report at each epoch's end."""
    per_batch = _per_batch(trainer, order)
    batches, interval = internals.batches_per_epoch(trainer, own), own.val_check_interval
    is_across = trainer.check_val_every_n_epoch is None
    if not trainer.enable_validation or not isinstance(interval, int | float):
        return ReportPlaces(batches * per_batch, batches * per_batch)
    if isinstance(interval, int):
        every_n_batches = float(interval)
    else:
        every_n_batches = math.floor(batches * interval + 1e-9) if math.isfinite(batches) else math.nan
    if not is_across:
        every_n_batches = min(every_n_batches, batches)
    return ReportPlaces(
        math.ceil(batches * per_batch - 1e-9) if math.isfinite(batches * per_batch) else math.nan,
        every_n_batches * per_batch,
        is_across,
        trainer.check_val_every_n_epoch or 1,
    )


def check_rhythm(trainer: Any, order: SegmentOrder, own: internals.OwnLimits) -> None:
    """Refuses a full training that ends before its first report.

    Raises:
        ArgumentError: the horizon lies inside the first validation interval.
    """
    places = report_places(trainer, order, own)
    if places.is_known and order.max_resource < places.first:
        raise ArgumentError(
            f"max_{order.unit}", order.max_resource,
            f"at least {places.first}, the {order.unit} up to the first validation",
            hint="There is no report before it. Train longer, or validate more often with "
            "Trainer(val_check_interval=...).",
        )  # fmt: skip


def useless_save_every(trainer: Any, order: SegmentOrder, own: internals.OwnLimits) -> str:
    """Returns a note if `save_every` epochs take longer than the full training; otherwise an empty text."""
    every, places = order.save_every, report_places(trainer, order, own)
    if every is None or order.unit == Unit.EPOCHS or not math.isfinite(places.per_epoch):
        return ""
    if every * places.per_epoch < order.max_resource:
        return ""
    return (
        f"`save_every={every}` has no effect: it counts epochs, an epoch has "
        f"{counted(f'{places.per_epoch:.0f}', order.unit)}, and the full training is "
        f"{counted(order.max_resource, order.unit)}"
    )


def unvalidated_rungs(trainer: Any, order: SegmentOrder, own: internals.OwnLimits) -> list[int]:
    """Returns the rungs, in epochs, without a validation in a full training because its interval spans epochs."""
    n, every = internals.batches_per_epoch(trainer, own), own.val_check_interval
    spans_epochs = trainer.check_val_every_n_epoch is None and isinstance(every, int)
    if order.unit != Unit.EPOCHS or not trainer.enable_validation or not spans_epochs or not math.isfinite(n):
        return []
    return [level for level in order.levels if level * n // every == (level - 1) * n // every]


def _per_batch(trainer: Any, order: SegmentOrder) -> float:
    """Returns by how much one batch on each rank increases the resource; NaN if that is unknown."""
    if order.unit == Unit.SAMPLES:
        return internals.samples_per_batch(trainer) * order.num_devices
    if order.unit == Unit.STEPS and trainer.lightning_module.automatic_optimization:
        return 1 / int(trainer.accumulate_grad_batches)
    return math.nan
