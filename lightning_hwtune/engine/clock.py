"""Time, passed in: the real clock, and the virtual one of the simulation."""

from __future__ import annotations

import time
from typing import Protocol, final

__all__ = ["Clock", "RealClock", "VirtualClock"]


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


@final
class VirtualClock:
    """A clock that stands still until it is told to move: begins at 0, and its seconds cost nothing."""

    __slots__ = ("_now",)

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        """Returns virtual seconds since the beginning."""
        return self._now

    def advance_to(self, at: float) -> None:
        """Moves on to `at`; an earlier time changes nothing."""
        self._now = max(self._now, at)
