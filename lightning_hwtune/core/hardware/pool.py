"""The devices a study may use, and what one of them costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self, final

from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.names import refuse_unknown

__all__ = ["Pool"]

_ARGUMENTS = ("accelerator", "devices", "usd_per_device_hour", "threads_per_device")


@final
@dataclass(frozen=True, slots=True)
class Pool:
    """Devices of one kind on this host.

    Args:
        accelerator: "cpu", "gpu", or "auto": the visible GPUs if there are any, else the CPU cores of this process.
        devices: how many, or "auto": all of them.
        usd_per_device_hour: price of one device for one hour in US dollars; None = no price, and then no `Cost`.
        threads_per_device: torch threads of one rank.
    """

    accelerator: str = "auto"
    devices: int | str = "auto"
    usd_per_device_hour: float | None = None
    threads_per_device: int = 1

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        """Answers names of other tools; everything else is the constructor's business."""
        refuse_unknown("Pool", [name for name in kwargs if name not in _ARGUMENTS], _ARGUMENTS)
        return object.__new__(cls)

    def __post_init__(self) -> None:
        if self.accelerator not in ("auto", "cpu", "gpu", "cuda"):
            raise ArgumentError("Pool.accelerator", self.accelerator, "'auto', 'cpu' or 'gpu'")
        if self.accelerator == "cuda":
            object.__setattr__(self, "accelerator", "gpu")
        if self.devices != "auto" and (
            isinstance(self.devices, bool) or not isinstance(self.devices, int) or self.devices < 1
        ):
            raise ArgumentError("Pool.devices", self.devices, "'auto' or a whole number from 1: how many, never which")
        price = self.usd_per_device_hour
        if price is not None and not (isinstance(price, int | float) and math.isfinite(price) and price >= 0):
            raise ArgumentError("Pool.usd_per_device_hour", price, "a price from 0, in US dollars, or None")
        if not isinstance(self.threads_per_device, int) or self.threads_per_device < 1:
            raise ArgumentError("Pool.threads_per_device", self.threads_per_device, "a whole number from 1")

    @property
    def usd_per_device_s(self) -> float:
        """Price of one device for one second; 0 without a price."""
        return (self.usd_per_device_hour or 0.0) / 3600.0

    @property
    def size(self) -> int:
        """Number of devices.

        Raises:
            ArgumentError: the pool is still "auto": the engine resolves it on the host where the study runs.
        """
        if not isinstance(self.devices, int):
            raise ArgumentError("Pool.devices", self.devices, "a number, once the pool is resolved on a host")
        return self.devices

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for the log."""
        return {
            "accelerator": self.accelerator,
            "devices": self.devices,
            "usd_per_device_hour": self.usd_per_device_hour,
            "threads_per_device": self.threads_per_device,
        }
