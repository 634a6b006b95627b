"""Detects whether a signal that ends a study has really arrived while user code was running.

User code can also raise KeyboardInterrupt itself, or exit with the status of SIGTERM. That is an ordinary error.
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
    """A context manager that watches the installed signal handlers; they act as before.

    Signals reach only the main thread. An ignored signal, such as SIGINT in a rank, has no effect.
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
                self._is_sure = False  # user code has installed its own handler

    @property
    def may_have_come(self) -> bool:
        """Return whether a signal has arrived, or may have arrived because user code replaced a handler."""
        return self._has_come or not self._is_sure
