"""How long a study has been running: the sum of what the clocks of its sessions show.

The clocks of two sessions may differ by any amount, because of another host or a clock that was corrected. So no
duration is ever computed from the times of two sessions, and the time between sessions does not count. A session that
was killed lasted until its last event. A session without a segment does not count: opening a finished study again adds
no time to it.
"""

from __future__ import annotations

from typing import final

__all__ = ["StudyClock"]


@final
class StudyClock:
    """A clock that advances with the events of a log.

    Attributes:
        last_at: latest time of an event of the newest session, by that session's clock.
        is_open: whether that session has not been closed.
    """

    __slots__ = ("_counted_s", "_has_trained", "_since", "is_open", "last_at")

    def __init__(self) -> None:
        self.last_at, self.is_open = 0.0, False
        self._since: float | None = None  # the current session counts from here; before it: _counted_s
        self._counted_s, self._has_trained = 0.0, False

    def seen(self, at: float) -> None:
        """Records that an event happened at `at`."""
        self.last_at = at if self._since is None else max(self.last_at, at)
        self._since = at if self._since is None else self._since

    def opened(self, at: float) -> None:
        """Records that a session began at `at`."""
        self._count()
        self._since = self.last_at = at
        self.is_open, self._has_trained = True, False

    def began_segment(self) -> None:
        """Records that the session trains, so that it counts from its beginning."""
        self._has_trained = True

    def closed(self) -> None:
        """Records that the session ended with the last event seen."""
        self._count()
        self._since, self.is_open = None, False

    def _count(self) -> None:
        if self.is_open and self._has_trained and self._since is not None:
            self._counted_s += self.last_at - self._since

    def reached(self) -> float:
        """Seconds up to the last event."""
        return self.at(self.last_at)

    def at(self, now: float) -> float:
        """Seconds up to `now` on the current session's clock."""
        return self._counted_s + (max(now - self._since, 0.0) if self._since is not None else 0.0)

    def driven_s(self, now: float) -> float:
        """Seconds during which some process ran the study, up to `now`."""
        return self.at(now) if self.is_open and self._has_trained else self._counted_s

    def session_s(self, now: float) -> float:
        """Seconds since the current session began; 0 if none is open."""
        return max(now - self._since, 0.0) if self.is_open and self._since is not None else 0.0
