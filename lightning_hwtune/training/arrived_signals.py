"""Whether a signal that ends a study has really arrived while user code ran.

User code can raise KeyboardInterrupt, or exit with the status of SIGTERM, by itself. That is an error like any other.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self, final

__all__ = ["ArrivedSignals"]

_WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@final
class ArrivedSignals:
    """Watches the handlers that are there while the block lasts; they act as before.

    Signals reach the main thread only. One that is ignored, as SIGINT in a rank, ends nothing.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._is_sure = True
        self._has_come = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _WATCHED:
                handler = signal.getsignal(number)
                if callable(handler):
                    self._before[number] = handler
                    signal.signal(number, self._take)
        return self

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._has_come = True
        self._before[signal.Signals(number)](number, frame)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            now = signal.getsignal(number)
            if now == self._take:
                signal.signal(number, handler)
            elif callable(now):
                self._is_sure = False  # user code has put its own handler there

    @property
    def may_have_come(self) -> bool:
        """Return whether one has arrived, or user code has replaced a handler so that nobody knows."""
        return self._has_come or not self._is_sure
