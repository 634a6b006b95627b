"""Time, passed in: the real clock, and later the virtual one of the simulation."""

from __future__ import annotations

import time
from typing import Protocol, final

__all__ = ["Clock", "RealClock"]


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> float:
        """Returns seconds since the Unix epoch; never goes backwards within one process."""


@final
class RealClock:
    """The host's clock: begins at its wall time and goes on by its monotonic one, so that time never jumps."""

    __slots__ = ("_offset",)

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Returns seconds since the Unix epoch."""
        return self._offset + time.monotonic()
