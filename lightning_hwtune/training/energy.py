"""The energy of one rank's training: what its counter shows while the clock of the training runs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import final

from lightning_hwtune.host.energy import Counter, gpu_counter, rapl_counter
from lightning_hwtune.training.channel import SegmentOrder

__all__ = ["EnergyMeter", "energy_meter"]

_SAMPLED_EVERY_S = 60.0  # a counter of a CPU must be read before it has begun again at 0 twice


@final
class EnergyMeter:
    """Counts joules between `start` and `stop`.

    Args:
        counter: makes the counter at the first start, when the training has its device.
        now: the seconds of a monotonic clock.
    """

    def __init__(self, counter: Callable[[], Counter], now: Callable[[], float] = time.monotonic) -> None:
        self._make, self._now = counter, now
        self._counter: Counter | None = None
        self._total_j, self._since_j, self._read_at = 0.0, 0.0, 0.0
        self._is_running = False

    def start(self) -> None:
        """Counts from now on; no effect if it is counting.

        Raises:
            ArgumentError, MissingDependencyError: this machine has no such counter.
        """
        if not self._is_running:
            self._since_j, self._is_running = self._read(), True

    def stop(self) -> None:
        """Stops counting; no effect if it has stopped."""
        if self._is_running:
            self._total_j, self._is_running = self.joules, False

    def sample(self) -> None:
        """Reads the counter if that is due; to be called at every step."""
        if self._is_running and self._now() - self._read_at > _SAMPLED_EVERY_S:
            self._read()

    @property
    def joules(self) -> float:
        """The joules so far."""
        return self._total_j + (max(self._read() - self._since_j, 0.0) if self._is_running else 0.0)

    def _read(self) -> float:
        if self._counter is None:
            self._counter = self._make()
        self._read_at = self._now()
        return self._counter.joules()


def energy_meter(order: SegmentOrder) -> EnergyMeter | None:
    """Returns the meter for a rank of a segment; None if the study does not ask for the energy."""
    if "energy_j" not in order.measured:
        return None
    return EnergyMeter(rapl_counter if order.accelerator == "cpu" else lambda: gpu_counter(_own_gpu()))


def _own_gpu() -> str:
    """Returns the name of this rank's GPU, for NVML: its UUID or, if torch does not give it, its number."""
    cuda = sys.modules["torch"].cuda
    index = int(cuda.current_device())
    uuid = getattr(cuda.get_device_properties(index), "uuid", None)
    if uuid is not None:
        return f"GPU-{uuid}"
    names = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return names[index] if names else str(index)
