"""Ctrl-C, SIGTERM and SIGHUP while a study runs: they never interrupt the opening or the closing of its session.

Python raises KeyboardInterrupt between any two instructions, for example between taking a lease and storing it, or
halfway through releasing it. Here a signal takes effect only while segments train. At any other time it is deferred
until the trainings begin, or until everything is closed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Self, final

__all__ = ["ENDING", "PAUSE_WITHIN", "Signals", "cause_of", "pause_within_s"]

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Signals that end a process at once by default; here they cause an orderly exit with status 128 + number."""

PAUSE_WITHIN = "HWTUNE_PAUSE_WITHIN"
"""The environment variable with the seconds that a session has after such a signal. A job of a batch system has more
than a session that ends when a terminal is closed."""

_PAUSE_WITHIN_S, _MOST_S = 1.0, 86400.0


def pause_within_s() -> float:
    """Returns how long a session that got a signal waits for reports, at which its trials can pause: 1 s by default."""
    try:
        return min(max(float(os.environ.get(PAUSE_WITHIN, "")), _PAUSE_WITHIN_S), _MOST_S)
    except ValueError:
        return _PAUSE_WITHIN_S


def cause_of(error: BaseException) -> str:
    """Returns what ended a session, in words, if it was Ctrl-C, a signal or an exit; otherwise an empty text."""
    if isinstance(error, KeyboardInterrupt):
        return "ended by Ctrl-C"
    if not isinstance(error, SystemExit):
        return ""
    names = {128 + number: number.name for number in ENDING}
    if error.code in names:
        return f"ended by {names[error.code]}"
    if error.code is None or isinstance(error.code, int):
        return f"the program exited with status {error.code or 0}"
    return f"the program exited: {error.code}"


@final
class Signals:
    """A context manager around a whole session; inside it, use `acting()` around the code that a signal may end.

    Outside the main thread, where no signal arrives, it does nothing. A signal that is ignored, such as SIGHUP under
    nohup, stays ignored. The previous handlers are restored at the end.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._is_acting = False
        self._late: signal.Signals | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *ENDING):
                handler = signal.getsignal(number)
                if callable(handler) or (handler is signal.SIG_DFL and number in ENDING):
                    self._before[number] = handler
                    signal.signal(number, self._take)
        return self

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._is_acting:
            self._act(signal.Signals(number), frame)
        else:
            self._late = signal.Signals(number)

    def _act(self, number: signal.Signals, frame: FrameType | None = None) -> None:
        """Calls the signal's previous handler; SIGTERM or SIGHUP without a handler becomes an orderly exit."""
        handler = self._before[number]
        if callable(handler):
            handler(number, frame)
        else:
            sys.exit(128 + number)

    @contextlib.contextmanager
    def acting(self) -> Iterator[None]:
        """Lets signals take effect inside the block; a deferred signal takes effect at its start."""
        try:
            self._is_acting = True
            late, self._late = self._late, None
            if late is not None:
                self._act(late)
            yield
        finally:
            self._is_acting = False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._late is not None and error is None:
            self._act(self._late)
