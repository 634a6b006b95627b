"""The cumulative resource of a trial, in the unit of the study."""

from __future__ import annotations

from typing import Any, final

from lightning_hwtune.core.record import Unit
from lightning_hwtune.training import lightning_internals as internals

__all__ = ["ResourceCount"]


@final
class ResourceCount:
    """Counts the resource on one rank of one segment. Lightning counts epochs and steps; samples are counted here.

    Args:
        unit: the unit of the resource.
        base: the resource at which the segment began.
        horizon: the resource of the full training. Epochs that a callback adds after it count as part of the last one.
    """

    def __init__(self, unit: Unit = Unit.EPOCHS, base: int = 0, horizon: int = 1) -> None:
        self._unit, self._base, self._horizon = unit, base, horizon
        self._n_samples = 0  # on this rank, in this segment

    def add(self, trainer: Any, batch: Any) -> None:
        """Counts a training batch."""
        if self._unit == Unit.SAMPLES:
            self._n_samples += internals.batch_size(trainer, batch)

    def after(self, trainer: Any, n_epochs: int) -> int:
        """Returns the current resource over all ranks, if `n_epochs` complete epochs have been trained so far."""
        if self._unit == Unit.STEPS:
            return int(trainer.global_step)
        if self._unit == Unit.SAMPLES:
            return self._base + internals.sum_over_ranks(trainer, self._n_samples)
        return min(n_epochs, self._horizon)
