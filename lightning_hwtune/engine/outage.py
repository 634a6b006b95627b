"""What a session does while its log cannot be written, because a server is away: it waits, and says for how long.

The first attempt after a lost connection comes at once, because a server that has ended one connection usually accepts
the next one. Later attempts come after longer and longer pauses.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from typing import final

from lightning_hwtune.core.events import Event
from lightning_hwtune.errors import StorageError
from lightning_hwtune.host.deferred_signals import is_signal_deferred
from lightning_hwtune.store.database_errors import LOST_CONNECTION
from lightning_hwtune.store.log import EventLog

__all__ = ["Outage", "append_patiently"]

_LIMIT_S = 600.0
_FULL_DISK_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_LOOK_S = 0.1  # how long a signal is not noticed


def append_patiently(log: EventLog, events: Sequence[Event], outage: Outage) -> None:
    """Appends events. It waits some minutes for a server that is away, and some seconds for space on a full disk.

    A failed checkpoint soon frees its space.

    Raises:
        StorageError, StudyLockedError: as for `EventLog.append`.
    """
    give_up_at = time.monotonic() + _FULL_DISK_S
    while True:
        try:
            log.append(events)
        except StorageError as error:
            if error.errno == LOST_CONNECTION:
                outage.wait(error)
            elif error.errno != errno.ENOSPC or time.monotonic() > give_up_at:
                raise
            else:
                time.sleep(0.05)
        else:
            outage.over()
            return


@final
class Outage:
    """The present outage of a server, if there is one.

    Args:
        say: prints a line for people.
        limit_s: how long a session waits for the server.
    """

    def __init__(self, say: Callable[[str], None], *, limit_s: float = _LIMIT_S) -> None:
        self._say, self._limit_s = say, limit_s
        self._since: float | None = None
        self._pause_s, self._is_said, self._is_given_up = 0.0, False, False

    def seen(self, error: StorageError) -> None:
        """Records that the server could not be reached.

        Raises:
            StorageError: the server has been away for too long, or a signal ends the wait.
        """
        now = time.monotonic()
        if self._since is None:
            self._since, self._pause_s = now, 0.0
        elif not self._is_said:
            self._is_said = True
            limit = f"{self._limit_s / 60:.3g} min"
            self._say(f"the study waits up to {limit} for the server of its log, and then continues: {error}")
        if self._is_given_up or now - self._since >= self._limit_s or is_signal_deferred():
            self._is_given_up = True
            raise StorageError(
                f"{error}. The study ends here after a wait of {now - self._since:.0f} s. What was stored before is "
                "kept: run the same command again when the server can be reached",
                LOST_CONNECTION,
            ) from error

    def wait(self, error: StorageError) -> None:
        """Waits until the next attempt, longer each time.

        Raises:
            StorageError: as for `seen`.
        """
        self.seen(error)
        end = time.monotonic() + self._pause_s
        while (left_s := end - time.monotonic()) > 0 and not is_signal_deferred():
            time.sleep(min(left_s, _LOOK_S))
        self._pause_s = min(max(2 * self._pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)

    def over(self) -> None:
        """Records that the server was reached."""
        if self._since is None:
            return
        away_s = time.monotonic() - self._since
        self._since, self._is_given_up = None, False
        if self._is_said:
            self._is_said = False
            self._say(f"the server of the study's log can be reached again, after {away_s:.0f} s")
