"""The devices a study may use, and what one of them costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.names import refuse_unknown

__all__ = ["Pool"]


@final
@dataclass(frozen=True, slots=True, init=False)
class Pool:
    """Devices of one kind on this host.

    Args:
        accelerator: "cpu", "gpu", or "auto": the visible GPUs if there are any, else the CPU cores of this process.
        devices: how many, or "auto": all of them.
        usd_per_device_hour: price of one device for one hour in US dollars; None = no price, and then no `Cost`.
        threads_per_device: torch threads of one rank.
    """

    accelerator: str
    devices: int | str
    usd_per_device_hour: float | None
    threads_per_device: int

    def __init__(
        self,
        accelerator: str = "auto",
        devices: int | str = "auto",
        usd_per_device_hour: float | None = None,
        threads_per_device: int = 1,
        **wrong_habits: object,
    ) -> None:
        refuse_unknown("Pool", wrong_habits, self.__slots__)
        if accelerator not in ("auto", "cpu", "gpu", "cuda"):
            raise ArgumentError("Pool.accelerator", accelerator, "'auto', 'cpu' or 'gpu'")
        if devices != "auto" and (isinstance(devices, bool) or not isinstance(devices, int) or devices < 1):
            raise ArgumentError("Pool.devices", devices, "'auto' or a whole number from 1: how many, never which")
        price = usd_per_device_hour
        if price is not None and not (isinstance(price, int | float) and math.isfinite(price) and price >= 0):
            raise ArgumentError("Pool.usd_per_device_hour", price, "a price from 0, in US dollars, or None")
        if not isinstance(threads_per_device, int) or threads_per_device < 1:
            raise ArgumentError("Pool.threads_per_device", threads_per_device, "a whole number from 1")
        object.__setattr__(self, "accelerator", "gpu" if accelerator == "cuda" else accelerator)
        object.__setattr__(self, "devices", devices)
        object.__setattr__(self, "usd_per_device_hour", usd_per_device_hour)
        object.__setattr__(self, "threads_per_device", threads_per_device)

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
