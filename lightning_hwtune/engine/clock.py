"""Clocks that are passed in as arguments: the real one, and the virtual one of a simulation."""

from __future__ import annotations

import time
from typing import Protocol, final

__all__ = ["Clock", "RealClock", "VirtualClock"]


class Clock(Protocol):
    """A source of the current time."""

    def now(self) -> float:
        """Returns seconds since the Unix epoch; never goes backwards within one process."""


@final
class RealClock:
    """The host's clock: starts at the wall time and advances with the monotonic clock, so that it never jumps."""

    __slots__ = ("_offset",)

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Returns seconds since the Unix epoch."""
        return self._offset + time.monotonic()


@final
class VirtualClock:
    """A clock that starts at 0 and moves only when `advance_to` is called."""

    __slots__ = ("_now",)

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        """Returns virtual seconds since the beginning."""
        return self._now

    def advance_to(self, at: float) -> None:
        """Moves the clock to `at`; an earlier time has no effect."""
        self._now = max(self._now, at)
