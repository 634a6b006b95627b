"""The app's batch size, which is divided when the job's configuration is composed.

The devices of a trial share it. After the trial has run out of memory, so do the batches that are accumulated.

The batch size is known only then: it may be fixed, searched, part of a preset, or follow another value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from omegaconf import DictConfig, OmegaConf, flag_override

from lightning_hwtune.apps.batch_share import batch_share
from lightning_hwtune.training.context import ActiveSegment

__all__ = ["BatchSize"]

_NO_KEY = "no hydra.sweeper.hwtune.batch_size_key names the batch size of the app"


@final
@dataclass(frozen=True, slots=True)
class BatchSize:
    """How a segment divides the batch size.

    Attributes:
        key: the app's key for the batch size of one device's loader.
        num_devices: the number of devices that share a batch.
        share: returns the batch of each device.
    """

    key: str
    num_devices: int
    share: Callable[[int], int]

    @classmethod
    def of(cls, key: str | None, segment: ActiveSegment) -> BatchSize | None:
        """Return how a segment divides its batch size; None if every device uses the app's own batch size."""
        segment.batches.expect_app(_NO_KEY)
        order = segment.order
        return (
            cls(key, order.num_devices, segment.batches.share) if key is not None and order.batch == "global" else None
        )

    def divide(self, job: DictConfig) -> None:
        """Set each device's share of the batch size in the configuration of a job.

        Raises:
            ArgumentError: the batch size is not a positive integer, or is not divisible by the number of devices.
        """
        whole: Any = OmegaConf.select(job, self.key)
        batch_share(self.key, whole, self.num_devices)  # its errors name the key
        share = self.share(int(whole))
        with flag_override(job, "readonly", False):
            OmegaConf.update(job, self.key, share)
