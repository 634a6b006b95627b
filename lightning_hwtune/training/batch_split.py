"""How a segment divides its global batch: among its devices, and into batches that are accumulated.

A trial that ran out of memory may get a limit for the batch of each device. Then the rest of the global batch is
accumulated, so the optimiser's steps stay the same. This works if the training asks the study for the batch of a
device, and if the Trainer is one that the study has made, or that of an app whose configuration has the batch size;
`fixed_because` says what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.text import counted
from lightning_hwtune.training.channel import SegmentOrder

__all__ = ["BatchSplit"]

_ACCUMULATION = "accumulate_grad_batches"
_IN_BATCHES = ("limit_train_batches", "overfit_batches", "val_check_interval")


@final
class BatchSplit:
    """The split of one segment, on the rank that trains it.

    Attributes:
        accumulate: how many batches make one optimiser step because of the limit; 1 if nothing is accumulated for it.
    """

    def __init__(self, order: SegmentOrder) -> None:
        self._order = order
        self._sizes: set[int] = set()
        self._made: list[tuple[Any, str]] = []
        self._fixed_because: str | None = None
        self._app_without_size: str | None = None
        self.accumulate = 1

    def expect_app(self, without_size: str) -> None:
        """Allows a Trainer that an app makes; `without_size` says why the batch of an app is fixed that has no size."""
        self._app_without_size = without_size

    def share(self, global_batch: int) -> int:
        """Returns the batch of each device.

        Raises:
            ArgumentError: the batch is not divisible by the devices and the accumulated batches.
        """
        order = self._order
        if order.batch == "per_device":
            return global_batch
        n_batches = int(order.trainer.get(_ACCUMULATION, 1)) * self.accumulate
        parts = order.num_devices * n_batches
        share, rest = divmod(global_batch, parts)
        if rest or share < 1:
            devices = counted(order.num_devices, "devices")
            allowed = f"a positive multiple of {order.num_devices}, the number of devices"
            if n_batches > 1:
                batches = counted(n_batches, "accumulated batches")
                allowed = f"a positive multiple of {parts}: {devices} x {batches}"
            raise ArgumentError("global_batch", global_batch, allowed)
        if not self._sizes and order.max_per_device_batch is not None and _ACCUMULATION not in order.trainer:
            from lightning_hwtune.core.hardware.scaling.points import accumulation

            self.accumulate = accumulation(global_batch, order.num_devices, order.max_per_device_batch)
            share //= self.accumulate
        self._sizes.add(global_batch)
        return share

    @property
    def arguments(self) -> dict[str, int]:
        """The arguments of a Trainer that the limit requires."""
        return {_ACCUMULATION: self.accumulate} if self.accumulate > 1 else {}

    def made(self, trainer: Any, given: Mapping[str, Any]) -> None:
        """Remembers a Trainer that the study has made with these arguments of the user."""
        counting = [name for name in _IN_BATCHES if type(given.get(name)) is int]
        why = f"its Trainer counts batches: {counting[0]}={given[counting[0]]}" if counting else ""
        self._made.append((trainer, f"its code passes {_ACCUMULATION}" if _ACCUMULATION in given else why))

    def begin_fit(self, trainer: Any) -> None:
        """Looks at the Trainer of the fit that reports, and gives it the accumulation.

        Raises:
            ArgumentError: the Trainer would not accumulate the batches that were divided.
        """
        found = [why for made, why in self._made if made is trainer]
        if found:
            why = found[0]
        elif self._app_without_size is not None:
            why = self._why_not(trainer)
        else:
            why = "its Trainer does not come from trial.fit or trial.trainer"
        if not getattr(trainer.lightning_module, "automatic_optimization", True):
            why = "its model optimises by hand"
        self._fixed_because = why
        if self.accumulate > 1 and trainer.accumulate_grad_batches != self.accumulate:
            if why:
                allowed = f"{self.accumulate}, since the trial ran out of memory with a larger batch"
                raise ArgumentError(f"Trainer({_ACCUMULATION}=...)", trainer.accumulate_grad_batches, allowed)
            trainer.accumulate_grad_batches = self.accumulate  # it was made before the batch was divided

    def _why_not(self, trainer: Any) -> str:
        """Returns why the Trainer of an app cannot accumulate batches that are divided; empty if it can."""
        given = {name: getattr(trainer, name, None) for name in _IN_BATCHES}
        counting = [f"{name}={value}" for name, value in given.items() if type(value) is int and value]
        if counting:
            return f"its Trainer counts batches: {counting[0]}"
        if any(type(callback).__name__ == "GradientAccumulationScheduler" for callback in trainer.callbacks):
            return "its callback GradientAccumulationScheduler sets the number of accumulated batches"
        if trainer.accumulate_grad_batches not in (1, self.accumulate):
            return f"its Trainer has {_ACCUMULATION}={trainer.accumulate_grad_batches}"
        return ""

    def weight(self, trainer: Any, batch_idx: int) -> float:
        """Returns the factor for the loss of a batch with which the last step of an epoch is that of one batch.

        Lightning divides each loss by the number of accumulated batches. At the end of an epoch there may be fewer of
        them, or a smaller one.
        """
        if self.accumulate == 1:
            return 1.0
        from lightning_hwtune.training.lightning_internals import sized_loader

        loader = sized_loader(trainer)
        if loader is None or not isinstance(trainer.num_training_batches, int):
            return 1.0
        size = loader.batch_size
        try:
            rest = min(len(loader.sampler), trainer.num_training_batches * size) - batch_idx * size
        except TypeError:  # a stream has no length
            return 1.0
        in_step = rest + batch_idx % self.accumulate * size
        weight: float = self.accumulate * min(size, rest) / min(self.accumulate * size, in_step) if rest > 0 else 1.0
        return weight

    @property
    def text(self) -> str | None:
        """What the limit changes, in words; None if it changes nothing."""
        if self.accumulate == 1:
            return None
        return f"{counted(self.accumulate, 'batches')} per device are accumulated, since it ran out of memory before"

    @property
    def global_batch(self) -> int:
        """The global batch, if it can be divided further; 0 if not."""
        return 0 if self.fixed_because else next(iter(self._sizes))

    @property
    def fixed_because(self) -> str:
        """Why the batch of a device cannot be made smaller; empty if it can."""
        if self._order.batch == "per_device":
            return "the batch size is that of each device (batch='per_device')"
        if _ACCUMULATION in self._order.trainer:
            return "the search space has the number of accumulated batches"
        if not self._sizes:
            return self._app_without_size or "its code does not divide the batch with trial.per_device_batch_size"
        if len(self._sizes) > 1:
            return f"its code divides several batch sizes: {', '.join(map(str, sorted(self._sizes)))}"
        return "it ran out of memory before its fit began" if self._fixed_because is None else self._fixed_because
