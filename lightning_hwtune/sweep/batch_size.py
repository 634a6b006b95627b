"""The app's batch size, divided among a trial's devices where the job's own configuration is composed.

Only there is it known: it may be fixed, searched, part of a preset, or follow another value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from omegaconf import DictConfig, OmegaConf, flag_override

from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.training.channel import SegmentOrder

__all__ = ["BatchSize"]


@final
@dataclass(frozen=True, slots=True)
class BatchSize:
    """How a segment divides it. `key`: the app's, for one device's loader. `num_devices`: among how many."""

    key: str
    num_devices: int

    @classmethod
    def of(cls, key: str | None, order: SegmentOrder) -> BatchSize | None:
        """Return what a segment divides; None if every device takes the app's own batch size."""
        return cls(key, order.num_devices) if key is not None and order.batch == "global" else None

    def divide(self, job: DictConfig) -> None:
        """Give each device its share in the configuration of a job.

        Raises:
            ArgumentError: it is no positive integer, or the devices do not divide it.
        """
        whole: Any = OmegaConf.select(job, self.key)
        is_integer = isinstance(whole, int) and not isinstance(whole, bool)
        if not is_integer or whole < 1 or whole % self.num_devices:
            raise ArgumentError(self.key, whole, f"a positive multiple of {self.num_devices}, the devices")
        with flag_override(job, "readonly", False):
            OmegaConf.update(job, self.key, whole // self.num_devices)
