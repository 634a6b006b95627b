"""The devices that a study may use, and the price of one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_call
from lightning_hwtune.forms.given import Given

__all__ = ["Pool"]


@final
@dataclass(frozen=True, slots=True, init=False)
class Pool(Given):
    """Devices of one kind on this host.

    Args:
        accelerator: "cpu", "gpu", or "auto": the visible GPUs if there are any, otherwise this process's CPU cores.
        devices: the number of devices, or "auto" for all of them.
        usd_per_device_hour: price of one device for one hour in US dollars; None for no price, which rules out `Cost`.
        threads_per_device: number of torch threads per rank.

    Examples:
        >>> pool = hwt.Pool("cpu", devices=4, usd_per_device_hour=0.05)
        >>> pool.devices
        4
    """

    accelerator: str
    devices: int | str
    usd_per_device_hour: float | None
    threads_per_device: int

    @checked_call("Pool", prefix="Pool.")
    def __init__(
        self,
        accelerator: str = "auto",
        devices: int | str = "auto",
        usd_per_device_hour: float | None = None,
        threads_per_device: int = 1,
    ) -> None:
        object.__setattr__(self, "accelerator", accelerator)
        object.__setattr__(self, "devices", devices)
        object.__setattr__(self, "usd_per_device_hour", usd_per_device_hour)
        object.__setattr__(self, "threads_per_device", threads_per_device)

    @property
    def size(self) -> int:
        """The number of devices.

        Raises:
            ArgumentError: the pool is still "auto"; the engine resolves it on the host where the study runs.
        """
        if not isinstance(self.devices, int):
            raise ArgumentError(
                "Pool.devices", self.devices, "a number; only a pool that was resolved on a host has a size"
            )
        return self.devices

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for the log."""
        return {
            "accelerator": self.accelerator,
            "devices": self.devices,
            "usd_per_device_hour": self.usd_per_device_hour,
            "threads_per_device": self.threads_per_device,
        }
