"""The cost of devices. Only this module multiplies device-seconds by the price in a pool."""

from __future__ import annotations

from lightning_hwtune.core.hardware.pool import Pool

__all__ = ["usd_of"]


def usd_of(pool: Pool, device_s: float) -> float:
    """Returns what `device_s` device-seconds of a pool cost, in US dollars; 0 if the pool has no price."""
    return device_s * ((pool.usd_per_device_hour or 0.0) / 3600.0)
