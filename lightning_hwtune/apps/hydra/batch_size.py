"""The app's batch size, which is divided among a trial's devices when the job's configuration is composed.

The batch size is known only then: it may be fixed, searched, part of a preset, or follow another value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from omegaconf import DictConfig, OmegaConf, flag_override

from lightning_hwtune.apps.batch_share import batch_share
from lightning_hwtune.training.channel import SegmentOrder

__all__ = ["BatchSize"]


@final
@dataclass(frozen=True, slots=True)
class BatchSize:
    """How a segment divides the batch size.

    Attributes:
        key: the app's key for the batch size of one device's loader.
        num_devices: the number of devices that share a batch.
    """

    key: str
    num_devices: int

    @classmethod
    def of(cls, key: str | None, order: SegmentOrder) -> BatchSize | None:
        """Return how a segment divides its batch size; None if every device uses the app's own batch size."""
        return cls(key, order.num_devices) if key is not None and order.batch == "global" else None

    def divide(self, job: DictConfig) -> None:
        """Set each device's share of the batch size in the configuration of a job.

        Raises:
            ArgumentError: the batch size is not a positive integer, or is not divisible by the number of devices.
        """
        whole: Any = OmegaConf.select(job, self.key)
        share = batch_share(self.key, whole, self.num_devices)
        with flag_override(job, "readonly", False):
            OmegaConf.update(job, self.key, share)
